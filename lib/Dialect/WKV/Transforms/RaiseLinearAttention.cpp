//===- RaiseLinearAttention.cpp - Raise ONNX's LinearAttention ------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The operator reads the new state, S = exp(g) S + ... and o = scale S^T q.
// For the gated rule that is
//
//   o = (scale q exp(g))^T S_old + scale (q k) v,
//
// a recurrence without bonus and a term of the present token: no division by a
// decay, which may be tiny. The delta rules write
//
//   S^T = S^T diag(w) - (S^T (w k)) (beta k)^T + v (beta k)^T,  w = exp(g),
//
// which is the generalised delta rule on the transposed state.
//
//===----------------------------------------------------------------------===//

#include "RaiseSequenceOps.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "rwkvc/Dialect/WKV/IR/WKV.h"
#include <algorithm>
#include <cmath>

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::wkv;

namespace {

class LinearAttentionRaiser {
public:
  explicit LinearAttentionRaiser(onnx::LinearAttentionOp op)
      : op(op), b(op.getLoc(), op), element(b.getF32Type()) {}

  bool check();
  void run();

private:
  /// A packed operand [B, T, heads * size] as [B, T, heads, size]; in float32.
  Value unpack(Value packed, int64_t ownHeads, int64_t size);
  /// Such a value as [B, T, H, size], each of its heads for all that share it.
  Value expand(Value value, int64_t size);
  Value exponential(Value value);
  /// The state [B, kvHeads, K, V] for all query heads, and back.
  Value getState();
  void setState(Value state);
  void setOutput(Value y);

  /// The source of keys, values and decays that stand behind a token of zeros,
  /// and the users of the output, if all is written for v5 or v6.
  bool matchLate();
  void buildLate();
  /// Makes what is added to the output \p y of \p law its bonus, if it is one.
  void foldBonus(Wkv6Op law, Value y);
  std::optional<Array> readBonus(Value added);
  void buildGated();
  void buildDelta();

  onnx::LinearAttentionOp op;
  ImplicitLocOpBuilder b;
  Type element;
  int64_t B = 0, T = 0, H = 0, kvHeads = 0, K = 0, V = 0;
  double scale = 1;
  Value lateQuery, lateKey, lateValue, lateDecay;
  SmallVector<onnx::SliceOp> lateOutputs;
};

} // namespace

bool LinearAttentionRaiser::check() {
  auto q = getFloatShape(op.getQuery()), k = getFloatShape(op.getKey());
  auto v = getFloatShape(op.getValue());
  H = op.getQNumHeads(), kvHeads = op.getKvNumHeads();
  if (!q || !k || !v || q->size() != 3 || k->size() != 3 || v->size() != 3 ||
      kvHeads < 1 || H < 1 || H % kvHeads != 0 || (*k)[2] % kvHeads != 0 ||
      (*v)[2] % kvHeads != 0)
    return false;
  B = (*q)[0], T = (*q)[1], K = (*k)[2] / kvHeads, V = (*v)[2] / kvHeads;
  if (B * T * K * V == 0 || (*q)[2] != H * K)
    return false;
  auto is = [&](Value value, std::initializer_list<int64_t> lastSizes) {
    auto own = getFloatShape(value);
    return own && own->size() == 3 && (*own)[0] == B && (*own)[1] == T &&
           llvm::is_contained(lastSizes, own->back());
  };
  auto isState = [&](Value value) {
    auto own = getFloatShape(value);
    return own && *own == ArrayRef<int64_t>{B, kvHeads, K, V};
  };
  StringRef rule = op.getUpdateRule();
  bool gated = rule == "gated" || rule == "gated_delta";
  bool delta = rule == "delta" || rule == "gated_delta";
  scale = op.getScale().convertToFloat();
  if (scale == 0)
    scale = 1 / std::sqrt(static_cast<double>(K));
  return (gated || delta || rule == "linear") &&
         is(op.getKey(), {kvHeads * K}) && is(op.getValue(), {kvHeads * V}) &&
         (onnx::isNone(op.getPastState()) || isState(op.getPastState())) &&
         (gated ? is(op.getDecay(), {kvHeads, kvHeads * K})
                : onnx::isNone(op.getDecay())) &&
         (delta ? is(op.getBeta(), {kvHeads, 1})
                : onnx::isNone(op.getBeta())) &&
         is(op.getOutput(), {H * V}) && isState(op.getPresentState());
}

//===----------------------------------------------------------------------===//
// Operands and results
//===----------------------------------------------------------------------===//

Value LinearAttentionRaiser::expand(Value value, int64_t size) {
  RankedTensorType type = typeOf(value);
  int64_t tokens = type.getDimSize(1), ownHeads = type.getDimSize(2);
  if (ownHeads == H && type.getDimSize(3) == size)
    return value;
  // Query heads h * group to (h + 1) * group - 1 share key head h.
  SmallVector<int64_t> shape{B, tokens, ownHeads, H / ownHeads, size};
  value = reshapeTo(b, value, {B, tokens, ownHeads, 1, type.getDimSize(3)});
  OperationState s(b.getLoc(), onnx::ExpandOp::getOperationName());
  s.addOperands({value, intConstant(b, shape)});
  s.addTypes(type.clone(shape));
  return reshapeTo(b, b.create(s)->getResult(0), {B, tokens, H, size});
}

Value LinearAttentionRaiser::unpack(Value packed, int64_t ownHeads,
                                    int64_t size) {
  int64_t tokens = typeOf(packed).getDimSize(1);
  return reshapeTo(b, castTo(b, packed, element), {B, tokens, ownHeads, size});
}

Value LinearAttentionRaiser::exponential(Value value) {
  OperationState s(b.getLoc(), onnx::ExpOp::getOperationName());
  s.addOperands(value);
  s.addTypes(value.getType());
  return b.create(s)->getResult(0);
}

Value LinearAttentionRaiser::getState() {
  if (onnx::isNone(op.getPastState()))
    return splat(b, {B, H, K, V}, element, 0);
  Value state = castTo(b, op.getPastState(), element);
  if (kvHeads == H)
    return state;
  SmallVector<int64_t> shape{B, kvHeads, H / kvHeads, K, V};
  state = reshapeTo(b, state, {B, kvHeads, 1, K, V});
  OperationState s(b.getLoc(), onnx::ExpandOp::getOperationName());
  s.addOperands({state, intConstant(b, shape)});
  s.addTypes(typeOf(state).clone(shape));
  return reshapeTo(b, b.create(s)->getResult(0), {B, H, K, V});
}

void LinearAttentionRaiser::setState(Value state) {
  Value old = op.getPresentState();
  if (kvHeads != H) {
    // All copies of a state are equal.
    state = reshapeTo(b, state, {B, kvHeads, H / kvHeads, K, V});
    state = slice(b, state, 2, 0, 1);
  }
  state = reshapeTo(b, state, typeOf(old).getShape());
  old.replaceAllUsesWith(castTo(b, state, typeOf(old).getElementType()));
}

void LinearAttentionRaiser::setOutput(Value y) {
  Value old = op.getOutput();
  y = reshapeTo(b, y, typeOf(old).getShape());
  old.replaceAllUsesWith(castTo(b, y, typeOf(old).getElementType()));
}

//===----------------------------------------------------------------------===//
// Laws
//===----------------------------------------------------------------------===//

void LinearAttentionRaiser::buildGated() {
  bool hasDecay = op.getUpdateRule() == "gated";
  Value factor = splat(b, {}, element, scale);
  Value q = multiply(b, unpack(op.getQuery(), H, K), factor);
  Value k = expand(unpack(op.getKey(), kvHeads, K), K);
  Value v = expand(unpack(op.getValue(), kvHeads, V), V);
  Value decay, r = q;
  if (hasDecay) {
    int64_t size = typeOf(op.getDecay()).getDimSize(2) / kvHeads;
    decay = expand(exponential(unpack(op.getDecay(), kvHeads, size)), K);
    r = multiply(b, q, decay);
  } else {
    decay = splat(b, {1, 1, H, K}, element, 1);
  }
  Value state = getState();
  Value init = tensor::EmptyOp::create(b, typeOf(v).getShape(), element);
  Value bonus = splat(b, {H, K}, element, hasDecay ? 0 : 1);
  auto law = Wkv6Op::create(b, v.getType(), state.getType(), r, k, v, decay,
                            bonus, init, state);
  Value y = law.getY();
  if (hasDecay) {
    OperationState s(b.getLoc(), onnx::ReduceSumOp::getOperationName());
    s.addOperands({multiply(b, q, k), intConstant(b, -1)});
    s.addTypes(RankedTensorType::get({B, T, H, 1}, element));
    y = add(b, y, multiply(b, v, b.create(s)->getResult(0)));
  }
  setOutput(y);
  setState(law.getNewState());
}

void LinearAttentionRaiser::buildDelta() {
  Value factor = splat(b, {}, element, scale);
  // What is computed of keys is the same for all heads that share one: it is
  // seen there that their states are, too.
  Value q = multiply(b, unpack(op.getQuery(), H, K), factor);
  Value k = unpack(op.getKey(), kvHeads, K);
  Value v = expand(unpack(op.getValue(), kvHeads, V), V);
  int64_t betas = typeOf(op.getBeta()).getDimSize(2);
  Value written = multiply(b, k, unpack(op.getBeta(), betas, 1));
  Value decay, removed = k;
  if (op.getUpdateRule() == "gated_delta") {
    int64_t size = typeOf(op.getDecay()).getDimSize(2) / kvHeads;
    decay = exponential(unpack(op.getDecay(), kvHeads, size));
    removed = multiply(b, k, decay);
    decay = expand(decay, K);
  } else {
    decay = splat(b, {B, T, H, K}, element, 1);
  }
  Value negated = onnx::NegOp::create(b, removed.getType(), removed);
  negated = expand(negated, K);
  written = expand(written, K);
  Value state = transposeTo(b, getState(), {0, 1, 3, 2});
  Value init = tensor::EmptyOp::create(b, typeOf(v).getShape(), element);
  auto law = Wkv7Op::create(b, v.getType(), state.getType(), q, decay, written,
                            v, negated, written, init, state);
  setOutput(law.getY());
  setState(transposeTo(b, law.getNewState(), {0, 1, 3, 2}));
}

//===----------------------------------------------------------------------===//
// Written one token late
//===----------------------------------------------------------------------===//

static bool isZero(Value value) {
  std::optional<Array> data = readConstant(value);
  return data && llvm::all_of(*data, [](double x) { return x == 0; });
}

/// \p value without the one row that stands before it in axis 1, or behind it;
/// null where there is none. The row before must be zero.
static Value dropPadding(Value value, bool before) {
  Operation *def = value.getDefiningOp();
  if (auto join = dyn_cast_or_null<onnx::ConcatOp>(def)) {
    auto parts = join->getOperands();
    auto axis = static_cast<int64_t>(join.getAxis());
    if (parts.size() != 2 || (axis != 1 && axis != -2))
      return {};
    Value row = parts[before ? 0 : 1], rest = parts[before ? 1 : 0];
    auto shape = getFloatShape(row);
    if (!shape || shape->size() != 3 || (*shape)[1] != 1 ||
        !getFloatShape(rest) || (before && !isZero(row)))
      return {};
    return rest;
  }
  if (auto pad = dyn_cast_or_null<onnx::PadOp>(def)) {
    auto pads = readInts(pad.getPads());
    bool isConstant =
        pad.getMode() == "constant" && onnx::isNone(pad.getAxes());
    bool isZeros =
        onnx::isNone(pad.getConstantValue()) || isZero(pad.getConstantValue());
    Array expected{0, before ? 1.0 : 0.0, 0, 0, before ? 0.0 : 1.0, 0};
    if (!isConstant || !pads || *pads != expected || (before && !isZeros))
      return {};
    return pad.getData();
  }
  return {};
}

bool LinearAttentionRaiser::matchLate() {
  if (op.getUpdateRule() != "gated" || T < 2)
    return false;
  lateQuery = dropPadding(op.getQuery(), /*before=*/false);
  lateKey = dropPadding(op.getKey(), /*before=*/true);
  lateValue = dropPadding(op.getValue(), /*before=*/true);
  lateDecay = dropPadding(op.getDecay(), /*before=*/true);
  if (!lateQuery || !lateKey || !lateValue || !lateDecay)
    return false;
  for (Operation *user : op.getOutput().getUsers()) {
    auto part = dyn_cast<onnx::SliceOp>(user);
    if (!part)
      return false;
    auto starts = readInts(part.getStarts()), ends = readInts(part.getEnds());
    auto axes = readInts(part.getAxes()), steps = readInts(part.getSteps());
    auto shape = getFloatShape(part.getOutput());
    if (!starts || *starts != Array{0} || !ends || ends->size() != 1 || !axes ||
        (*axes != Array{1} && *axes != Array{-2}) ||
        (steps && *steps != Array{1}) || !shape || (*shape)[1] != T - 1)
      return false;
    lateOutputs.push_back(part);
  }
  return true;
}

void LinearAttentionRaiser::buildLate() {
  Value q = unpack(lateQuery, H, K);
  if (scale != 1)
    q = multiply(b, q, splat(b, {}, element, scale));
  Value k = expand(unpack(lateKey, kvHeads, K), K);
  Value v = expand(unpack(lateValue, kvHeads, V), V);
  int64_t size = typeOf(lateDecay).getDimSize(2) / kvHeads;
  Value decay = expand(exponential(unpack(lateDecay, kvHeads, size)), K);
  Value state = getState();
  Value init = tensor::EmptyOp::create(b, typeOf(v).getShape(), element);
  Value bonus = splat(b, {H, K}, element, 0);
  auto law = Wkv6Op::create(b, v.getType(), state.getType(), q, k, v, decay,
                            bonus, init, state);
  setState(law.getNewState());
  Value y = reshapeTo(b, law.getY(), {B, T - 1, H * V});
  y = castTo(b, y, typeOf(op.getOutput()).getElementType());
  for (onnx::SliceOp part : lateOutputs) {
    part.getOutput().replaceAllUsesWith(y);
    part.erase();
  }
  foldBonus(law, y);
}

/// Gives \p value, and what it is a reshape of, the numbers \p data.
static void setLeaf(RandomLeaves &leaves, Value value, const Array &data) {
  leaves.set(value, data);
  while (Operation *op = value.getDefiningOp()) {
    if (!onnx::isShapeView(op) || !getFloatShape(op->getOperand(0)))
      break;
    value = op->getOperand(0);
    leaves.set(value, data);
  }
}

/// The bonus u, [H, K], if \p added is (sum over K of q u k) v: read off with
/// one key element at a time, and compared on random numbers.
std::optional<Array> LinearAttentionRaiser::readBonus(Value added) {
  int64_t rows = B * (T - 1);
  auto shape = getFloatShape(added);
  if (!shape || typeOf(added).getNumElements() != rows * H * V)
    return std::nullopt;
  auto evaluate = [&](const Array &q, const Array &k, const Array &v) {
    RandomLeaves leaves;
    setLeaf(leaves, lateQuery, q);
    setLeaf(leaves, lateKey, k);
    setLeaf(leaves, lateValue, v);
    return onnx::evaluateRegion({added}, leaves.get());
  };
  Array bonus(H * K), q(rows * H * K), k(q), v(rows * H * V, 1.0);
  for (int64_t first = 0; first < K; first += rows) {
    auto each = [&](auto fn) {
      for (int64_t row = 0; row < rows && first + row < K; ++row)
        for (int64_t h = 0; h < H; ++h)
          fn(row * H + h, h * K + first + row, first + row);
    };
    std::fill(q.begin(), q.end(), 0.0);
    std::fill(k.begin(), k.end(), 1.0);
    each([&](int64_t head, int64_t, int64_t i) { q[head * K + i] = 1; });
    auto found = evaluate(q, k, v);
    if (failed(found))
      return std::nullopt;
    each([&](int64_t head, int64_t at, int64_t) {
      bonus[at] = (*found)[0].data[head * V];
    });
  }
  RandomLeaves random;
  for (Array *values : {&q, &k, &v})
    for (double &x : *values)
      x = random.next();
  Array expected(v);
  for (int64_t head = 0; head < rows * H; ++head) {
    double sum = 0;
    for (int64_t i = 0; i < K; ++i)
      sum += q[head * K + i] * bonus[head % H * K + i] * k[head * K + i];
    for (int64_t i = 0; i < V; ++i)
      expected[head * V + i] *= sum;
  }
  auto found = evaluate(q, k, v);
  if (failed(found) || !agree((*found)[0].data, expected))
    return std::nullopt;
  return bonus;
}

void LinearAttentionRaiser::foldBonus(Wkv6Op law, Value y) {
  if (kvHeads != H)
    return;
  while (y.hasOneUse() && (onnx::isShapeView(*y.user_begin()) ||
                           isa<onnx::CastOp>(*y.user_begin())))
    y = (*y.user_begin())->getResult(0);
  auto sum = y.hasOneUse() ? dyn_cast<onnx::AddOp>(*y.user_begin()) : nullptr;
  if (!sum || sum.getType() != y.getType() || sum.getA() == sum.getB())
    return;
  std::optional<Array> bonus =
      readBonus(sum.getA() == y ? sum.getB() : sum.getA());
  if (!bonus)
    return;
  // The law's receptance has the scale, the summand has not.
  for (double &x : *bonus)
    x /= scale;
  b.setInsertionPoint(law);
  Value constant =
      floatConstant(b, RankedTensorType::get({H, K}, element), *bonus);
  law.getBonusMutable().assign(constant);
  sum.replaceAllUsesWith(y);
  sum.erase();
}

void LinearAttentionRaiser::run() {
  if (matchLate())
    buildLate();
  else if (op.getUpdateRule() == "linear" || op.getUpdateRule() == "gated")
    buildGated();
  else
    buildDelta();
  op.erase();
}

bool wkv::raiseLinearAttention(onnx::LinearAttentionOp op) {
  LinearAttentionRaiser raiser(op);
  if (!raiser.check())
    return false;
  raiser.run();
  return true;
}
