//===- RecoverSequenceOps.cpp - From function bodies back to operators ----===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Tools inline operators that ONNX defines as functions. LinearAttention is
// then a Scan: which of its inputs is query, key, value, decay or rate, and
// which rule it follows, is found by evaluating the body on random values and
// comparing with each possibility.
//
//===----------------------------------------------------------------------===//

#include "RaiseSequenceOps.h"
#include "rwkvc/Dialect/WKV/IR/WKV.h"
#include "rwkvc/Dialect/WKV/Transforms/Passes.h"
#include <algorithm>
#include <cmath>

namespace rwkvc::wkv {
#define GEN_PASS_DEF_RECOVERSEQUENCEOPS
#include "rwkvc/Dialect/WKV/Transforms/Passes.h.inc"
} // namespace rwkvc::wkv

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::wkv;

static bool isElementOfOperator(Value value) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  return type && type.hasStaticShape() &&
         isa<Float32Type, Float16Type, BFloat16Type>(type.getElementType());
}

//===----------------------------------------------------------------------===//
// LinearAttention
//===----------------------------------------------------------------------===//

namespace {

class LinearAttentionFinder {
public:
  explicit LinearAttentionFinder(onnx::ScanOp scan) : scan(scan) {}

  /// Whether the scan has one state [B, H, K, V] and from three to five inputs
  /// [T, B, heads, size], forwards along their first axes.
  bool check();
  bool match();
  void replace();

private:
  enum Role { Query, Key, Written, Decay, Rate, NumRoles };

  Value getInput(Role role) { return scan->getOperand(1 + inputs[role]); }
  ArrayRef<int64_t> getShape(unsigned input) {
    return typeOf(body->getArgument(1 + input)).getShape();
  }
  /// Whether each input has a shape that its role allows.
  bool fits();
  /// One step with the present roles: the new state and the output.
  std::pair<Array, Array> step(const Array &state, ArrayRef<Array> values);

  onnx::ScanOp scan;
  Block *body = nullptr;
  int64_t B = 0, T = 0, H = 0, queryHeads = 0, K = 0, V = 0;
  bool hasDecay = false, hasRate = false;
  double scale = 1;
  /// The number of the input with each role.
  std::array<unsigned, NumRoles> inputs{};
};

} // namespace

bool LinearAttentionFinder::check() {
  unsigned count = scan->getNumOperands() - 1;
  body = &scan.getBody().front();
  auto isPlain = [](const std::optional<ArrayRef<int64_t>> &list) {
    return !list || llvm::all_of(*list, [](int64_t x) { return x == 0; });
  };
  if (scan.getNumScanInputs() != count || count < 3 || count > 5 ||
      scan->getNumResults() != 2 || body->getNumArguments() != count + 1 ||
      body->getTerminator()->getNumOperands() != 2 ||
      !isPlain(scan.getScanInputAxes()) || !isPlain(scan.getScanOutputAxes()) ||
      !onnx::isForward(scan))
    return false;
  for (Value value :
       llvm::concat<Value>(scan->getOperands(), scan->getResults()))
    if (!isElementOfOperator(value) || typeOf(value).getRank() != 4)
      return false;
  for (BlockArgument argument : body->getArguments())
    if (!isElementOfOperator(argument))
      return false;
  for (Value value : body->getTerminator()->getOperands())
    if (!isElementOfOperator(value))
      return false;
  ArrayRef<int64_t> state = typeOf(body->getArgument(0)).getShape();
  if (state.size() != 4)
    return false;
  B = state[0], H = state[1], K = state[2], V = state[3];
  T = typeOf(scan->getOperand(1)).getDimSize(0);
  ArrayRef<int64_t> y = typeOf(scan->getResult(1)).getShape();
  queryHeads = y[2];
  if (T < 1 || y != ArrayRef<int64_t>{T, B, queryHeads, V} || H < 1 ||
      queryHeads % H != 0)
    return false;
  for (unsigned i = 0; i < count; ++i)
    if (getShape(i).size() != 3 || getShape(i)[0] != B ||
        typeOf(scan->getOperand(1 + i)).getDimSize(0) != T)
      return false;
  return true;
}

bool LinearAttentionFinder::fits() {
  auto is = [&](Role role, int64_t heads, int64_t size) {
    ArrayRef<int64_t> shape = getShape(inputs[role]);
    return shape[1] == heads && shape[2] == size;
  };
  return is(Query, queryHeads, K) && is(Key, H, K) && is(Written, H, V) &&
         (!hasDecay || is(Decay, H, K) || is(Decay, H, 1)) &&
         (!hasRate || is(Rate, H, 1) || is(Rate, 1, 1));
}

std::pair<Array, Array> LinearAttentionFinder::step(const Array &state,
                                                    ArrayRef<Array> values) {
  Array next(state), y(B * queryHeads * V, 0.0);
  const Array &q = values[inputs[Query]], &k = values[inputs[Key]];
  const Array &v = values[inputs[Written]];
  for (int64_t head = 0; head < B * H; ++head) {
    double *s = next.data() + head * K * V;
    if (hasDecay) {
      const Array &g = values[inputs[Decay]];
      int64_t size = getShape(inputs[Decay])[2];
      for (int64_t i = 0; i < K * V; ++i)
        s[i] *= std::exp(g[head * size + i / V % size]);
    }
    for (int64_t j = 0; j < V; ++j) {
      double written = v[head * V + j];
      if (hasRate) {
        const Array &rate = values[inputs[Rate]];
        for (int64_t i = 0; i < K; ++i)
          written -= s[i * V + j] * k[head * K + i];
        written *= rate[getShape(inputs[Rate])[1] == 1 ? head / H : head];
      }
      for (int64_t i = 0; i < K; ++i)
        s[i * V + j] += k[head * K + i] * written;
    }
  }
  int64_t group = queryHeads / H;
  for (int64_t head = 0; head < B * queryHeads; ++head)
    for (int64_t i = 0; i < K; ++i)
      for (int64_t j = 0; j < V; ++j)
        y[head * V + j] +=
            q[head * K + i] * next[(head / group * K + i) * V + j];
  return {std::move(next), std::move(y)};
}

bool LinearAttentionFinder::match() {
  unsigned count = scan->getNumOperands() - 1;
  RandomLeaves leaves;
  for (BlockArgument argument : body->getArguments())
    leaves.add(argument);
  auto found = onnx::evaluateRegion({body->getTerminator()->getOperand(0),
                                     body->getTerminator()->getOperand(1)},
                                    leaves.get());
  if (failed(found))
    return false;
  const Array &newState = (*found)[0].data, &output = (*found)[1].data;
  const Array &state = leaves.get().lookup(body->getArgument(0)).data;
  std::vector<Array> values;
  for (unsigned i = 0; i < count; ++i)
    values.push_back(leaves.get().lookup(body->getArgument(1 + i)).data);
  auto order = llvm::to_vector(llvm::seq<unsigned>(0, count));
  do {
    // With four inputs the last is a decay or a rate.
    for (bool lastIsRate : {false, true}) {
      hasDecay = count == 5 || (count == 4 && !lastIsRate);
      hasRate = count == 5 || (count == 4 && lastIsRate);
      if (count != 4 && lastIsRate)
        break;
      inputs = {order[0], order[1], order[2], hasDecay ? order[3] : 0,
                hasRate ? order[count - 1] : 0};
      if (!fits())
        continue;
      auto [next, y] = step(state, values);
      if (!agree(newState, next))
        continue;
      size_t at = std::max_element(y.begin(), y.end()) - y.begin();
      scale = output[at] / y[at];
      for (double &x : y)
        x *= scale;
      if (std::isfinite(scale) && scale != 0 && agree(output, y))
        return true;
    }
  } while (std::next_permutation(order.begin(), order.end()));
  return false;
}

void LinearAttentionFinder::replace() {
  ImplicitLocOpBuilder b(scan.getLoc(), scan);
  Value none = onnx::NoValueOp::create(b, b.getNoneType());
  auto pack = [&](Role role) {
    Value rows = transposeTo(b, getInput(role), {1, 0, 2, 3});
    ArrayRef<int64_t> shape = typeOf(rows).getShape();
    return reshapeTo(b, rows, {B, T, shape[2] * shape[3]});
  };
  RankedTensorType type = typeOf(scan->getResult(1));
  OperationState s(b.getLoc(), onnx::LinearAttentionOp::getOperationName());
  s.addOperands({pack(Query), pack(Key), pack(Written), scan->getOperand(0),
                 hasDecay ? pack(Decay) : none, hasRate ? pack(Rate) : none});
  s.addTypes(
      {type.clone({B, T, queryHeads * V}), scan->getResult(0).getType()});
  s.addAttribute("kv_num_heads", b.getI64IntegerAttr(H));
  s.addAttribute("q_num_heads", b.getI64IntegerAttr(queryHeads));
  s.addAttribute("scale", b.getF32FloatAttr(static_cast<float>(scale)));
  StringRef rule = hasRate ? (hasDecay ? "gated_delta" : "delta")
                           : (hasDecay ? "gated" : "linear");
  s.addAttribute("update_rule", b.getStringAttr(rule));
  s.addAttribute(onnx::kNodeNameAttr, b.getStringAttr(onnx::getNodeName(scan)));
  Operation *attention = b.create(s);
  Value y = reshapeTo(b, attention->getResult(0), {B, T, queryHeads, V});
  scan->getResult(0).replaceAllUsesWith(attention->getResult(1));
  scan->getResult(1).replaceAllUsesWith(transposeTo(b, y, {1, 0, 2, 3}));
  scan.erase();
}

//===----------------------------------------------------------------------===//
// CausalConvWithState
//===----------------------------------------------------------------------===//

/// Whether \p part is the last \p count columns of a tensor with \p size.
static bool isTail(onnx::SliceOp part, int64_t size, int64_t count) {
  auto starts = readInts(part.getStarts()), ends = readInts(part.getEnds());
  auto axes = readInts(part.getAxes()), steps = readInts(part.getSteps());
  auto shape = getFloatShape(part.getOutput());
  return starts && ends && axes && starts->size() == 1 && shape &&
         (*axes == Array{2} || *axes == Array{-1}) &&
         (!steps || *steps == Array{1}) && shape->back() == count &&
         (starts->front() == static_cast<double>(size - count) ||
          starts->front() == -static_cast<double>(count));
}

/// A depthwise convolution of a state and what follows it: the operator again,
/// with the columns that are kept as its state.
static bool recoverCausalConv(onnx::ConvOp conv) {
  auto join = conv.getX().getDefiningOp<onnx::ConcatOp>();
  if (!join || join->getNumOperands() != 2 ||
      (join.getAxis() != 2 && static_cast<int64_t>(join.getAxis()) != -1))
    return false;
  Value past = join->getOperand(0), x = join->getOperand(1);
  for (Value value : {past, x, Value(conv.getW()), Value(conv.getY())})
    if (!isElementOfOperator(value) || typeOf(value).getRank() != 3)
      return false;
  ArrayRef<int64_t> data = typeOf(conv.getX()).getShape();
  ArrayRef<int64_t> w = typeOf(conv.getW()).getShape();
  auto axes = onnx::getConvAxes(conv, data, w);
  int64_t keep = w[2] - 1;
  if (!axes || keep < 1 || w[0] != data[1] || w[1] != 1 ||
      axes->front().before != 0 || axes->front().after != 0 ||
      axes->front().stride != 1 || axes->front().dilation != 1 ||
      typeOf(past).getDimSize(2) != keep)
    return false;
  ImplicitLocOpBuilder b(conv.getLoc(), conv);
  OperationState s(b.getLoc(), onnx::CausalConvWithStateOp::getOperationName());
  s.addOperands({x, conv.getW(), conv.getB(), past});
  s.addTypes({conv.getY().getType(), past.getType()});
  s.addAttribute(onnx::kNodeNameAttr, b.getStringAttr(onnx::getNodeName(conv)));
  Operation *causal = b.create(s);
  for (Operation *user : llvm::make_early_inc_range(join->getUsers())) {
    auto part = dyn_cast<onnx::SliceOp>(user);
    if (!part || part.getData() != join->getResult(0) ||
        !isTail(part, data[2], keep) || part->getBlock() != conv->getBlock())
      continue;
    if (part->isBeforeInBlock(causal))
      continue;
    part.getOutput().replaceAllUsesWith(causal->getResult(1));
    part.erase();
  }
  conv.getY().replaceAllUsesWith(causal->getResult(0));
  conv.erase();
  return true;
}

namespace {

struct RecoverSequenceOpsPass
    : wkv::impl::RecoverSequenceOpsBase<RecoverSequenceOpsPass> {
  void runOnOperation() override {
    SmallVector<onnx::ScanOp> scans;
    SmallVector<onnx::ConvOp> convolutions;
    getOperation().walk([&](Operation *op) {
      if (auto scan = dyn_cast<onnx::ScanOp>(op))
        scans.push_back(scan);
      else if (auto conv = dyn_cast<onnx::ConvOp>(op))
        convolutions.push_back(conv);
    });
    // Innermost first: the walk is in post-order.
    for (onnx::ScanOp scan : scans) {
      LinearAttentionFinder finder(scan);
      if (!finder.check() || !finder.match())
        continue;
      finder.replace();
      ++numAttentions;
    }
    for (onnx::ConvOp conv : convolutions)
      numConvolutions += recoverCausalConv(conv);
  }
};

} // namespace
