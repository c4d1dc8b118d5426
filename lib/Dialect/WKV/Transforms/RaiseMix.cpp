//===- RaiseMix.cpp - Recognise interpolation with the predecessor --------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// With x, its predecessor s and everything else that enters at random values,
// an interpolation is what is 0 at x = s = 0, has weights a and b of x and s
// with a + b = 1, and equals a x + b s elsewhere. How it is written does not
// matter.
//
//===----------------------------------------------------------------------===//

#include "RaiseRecurrence.h"
#include "rwkvc/Dialect/ONNX/IR/ONNX.h"
#include "rwkvc/Dialect/WKV/IR/WKV.h"
#include "rwkvc/Dialect/WKV/Transforms/Passes.h"
#include "llvm/ADT/SetVector.h"
#include <cmath>

namespace rwkvc::wkv {
#define GEN_PASS_DEF_RAISEMIX
#include "rwkvc/Dialect/WKV/Transforms/Passes.h.inc"
} // namespace rwkvc::wkv

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::wkv;

/// An interpolation takes a handful of ops; one that needs more is not looked
/// for.
static constexpr unsigned kMaxRegion = 32;

static int64_t countElements(Value value) {
  return cast<RankedTensorType>(value.getType()).getNumElements();
}

static bool isView(Operation *op) {
  if (isa<onnx::CastOp>(op))
    return getFloatShape(op->getOperand(0)) && getFloatShape(op->getResult(0));
  return onnx::isShapeView(op) || isa<onnx::ExpandOp>(op);
}

static bool isLinear(Operation *op) {
  return isView(op) || isa<onnx::AddOp, onnx::SubOp, onnx::MulOp, onnx::NegOp,
                           onnx::DivOp, onnx::SumOp>(op);
}

namespace {

/// What one candidate is computed from.
struct Region {
  llvm::SetVector<Value> inner;  // from the candidate on, outermost first
  llvm::SetVector<Value> leaves; // neither x, s, nor constant
};

/// A value of the graph, or a constant, that is the weight of the predecessor.
struct Weight {
  Value value;
  bool complement = false; // 1 - value is the weight
  Array constant;
  SmallVector<int64_t> shape; // [.., batch, tokens, width], 1 where repeated
};

class Mixes {
public:
  explicit Mixes(TokenShiftOp shift) : shift(shift) {}
  void run();
  unsigned raised = 0, rejected = 0;

private:
  /// Values that are \p value but for its shape or element type.
  static llvm::SetVector<Value> collectViews(Value value);
  bool collect(Value candidate, Region &region);
  std::optional<Array> evaluate(Value value, const RandomLeaves &leaves,
                                const Array &x, const Array &s);
  Array random();
  void raise(Value candidate);
  std::optional<Weight> findWeight(const Region &region,
                                   const RandomLeaves &leaves,
                                   const Array &weight, int64_t targets);

  TokenShiftOp shift;
  llvm::SetVector<Value> xs, shifteds;
  int64_t size = 0;
  RandomLeaves source;
};

} // namespace

llvm::SetVector<Value> Mixes::collectViews(Value value) {
  llvm::SetVector<Value> views;
  views.insert(value);
  // Views above it, then below all of them.
  while (Operation *op = value.getDefiningOp()) {
    if (!isView(op) || !getFloatShape(op->getOperand(0)) ||
        countElements(op->getOperand(0)) != countElements(value))
      break;
    value = op->getOperand(0);
    views.insert(value);
  }
  for (unsigned i = 0; i < views.size(); ++i)
    for (Operation *user : views[i].getUsers())
      if (isView(user) && user->getOperand(0) == views[i] &&
          getFloatShape(user->getResult(0)) &&
          countElements(user->getResult(0)) == countElements(views[0]))
        views.insert(user->getResult(0));
  return views;
}

bool Mixes::collect(Value candidate, Region &region) {
  SmallVector<Value> worklist{candidate};
  bool hasX = false, hasS = false;
  while (!worklist.empty()) {
    Value value = worklist.pop_back_val();
    if (xs.contains(value) || shifteds.contains(value)) {
      hasX |= xs.contains(value);
      hasS |= shifteds.contains(value);
      continue;
    }
    Operation *op = value.getDefiningOp();
    if (op && isa<onnx::ConstantOp>(op))
      continue;
    if (!op || !isLinear(op) || !getFloatShape(value)) {
      if (!getFloatShape(value))
        return false;
      region.leaves.insert(value);
      continue;
    }
    if (!region.inner.insert(value))
      continue;
    if (region.inner.size() > kMaxRegion)
      return false;
    llvm::append_range(worklist, isView(op) ? op->getOperands().take_front(1)
                                            : op->getOperands());
  }
  return hasX && hasS;
}

Array Mixes::random() {
  Array numbers(size);
  for (double &number : numbers)
    number = source.next();
  return numbers;
}

std::optional<Array> Mixes::evaluate(Value value, const RandomLeaves &leaves,
                                     const Array &x, const Array &s) {
  RandomLeaves all = leaves;
  for (Value view : xs)
    all.set(view, x);
  for (Value view : shifteds)
    all.set(view, s);
  auto result = onnx::evaluateRegion({value}, all.get());
  if (failed(result))
    return std::nullopt;
  return std::move((*result)[0].data);
}

/// Element \p i of \p shape, row-major, in a tensor of shape \p from that is
/// repeated where its axes are 1.
static int64_t broadcastIndex(int64_t i, ArrayRef<int64_t> shape,
                              ArrayRef<int64_t> from) {
  int64_t index = 0, stride = 1;
  for (auto [size, own] :
       llvm::zip(llvm::reverse(shape), llvm::reverse(from))) {
    if (own != 1)
      index += i % size * stride;
    stride *= own;
    i /= size;
  }
  return index;
}

std::optional<Weight> Mixes::findWeight(const Region &region,
                                        const RandomLeaves &leaves,
                                        const Array &weight, int64_t targets) {
  ArrayRef<int64_t> rows = *getFloatShape(shift.getX());
  SmallVector<int64_t> full{targets};
  llvm::append_range(full, rows);
  // From the smallest form to the full one.
  SmallVector<SmallVector<int64_t>> shapes{{1, 1, 1, rows[2]},
                                           {targets, 1, 1, rows[2]},
                                           {1, 1, 1, 1},
                                           {1, rows[0], rows[1], rows[2]},
                                           full};
  auto fits = [&](const Array &data, ArrayRef<int64_t> shape) {
    if (static_cast<int64_t>(data.size()) != ShapedType::getNumElements(shape))
      return false;
    for (auto [i, expected] : llvm::enumerate(weight))
      if (!(std::abs(data[broadcastIndex(i, full, shape)] - expected) <= 1e-9))
        return false;
    return true;
  };
  if (region.leaves.empty()) {
    for (ArrayRef<int64_t> shape : shapes) {
      Array data(ShapedType::getNumElements(shape));
      for (auto [i, w] : llvm::enumerate(weight))
        data[broadcastIndex(i, full, shape)] = w;
      if (fits(data, shape))
        return Weight{{}, false, data, SmallVector<int64_t>(shape)};
    }
    return std::nullopt;
  }
  SmallVector<Value> candidates(region.leaves.begin(), region.leaves.end());
  for (Value value : region.inner) {
    Region own;
    if (!collect(value, own) && llvm::none_of(own.inner, [&](Value v) {
          return llvm::any_of(v.getDefiningOp()->getOperands(), [&](Value o) {
            return xs.contains(o) || shifteds.contains(o);
          });
        }))
      candidates.push_back(value);
  }
  // A value that is the weight is better than one to be subtracted from 1.
  std::optional<Weight> complement;
  for (Value value : candidates) {
    auto data = evaluate(value, leaves, random(), random());
    if (!data)
      continue;
    for (ArrayRef<int64_t> shape : shapes)
      if (fits(*data, shape))
        return Weight{value, false, {}, SmallVector<int64_t>(shape)};
    for (double &number : *data)
      number = 1.0 - number;
    for (ArrayRef<int64_t> shape : shapes)
      if (fits(*data, shape) && !complement)
        complement = Weight{value, true, {}, SmallVector<int64_t>(shape)};
  }
  return complement;
}

void Mixes::raise(Value candidate) {
  Region region;
  if (!collect(candidate, region))
    return;
  int64_t total = countElements(candidate);
  if (total == 0 || total % size != 0)
    return;
  int64_t targets = total / size;
  RandomLeaves leaves;
  for (Value leaf : region.leaves)
    leaves.add(leaf);
  Array zero(size, 0.0), one(size, 1.0);
  auto atZero = evaluate(candidate, leaves, zero, zero);
  auto ofX = evaluate(candidate, leaves, one, zero);
  auto ofS = evaluate(candidate, leaves, zero, one);
  if (!atZero || !ofX || !ofS)
    return;
  // A folded 1 - m is rounded to the element type of the weights.
  Type element = getElementTypeOrSelf(candidate.getType());
  double tolerance = element.isF64()   ? 1e-12
                     : element.isF32() ? 1e-6
                     : element.isF16() ? 1e-3
                                       : 8e-3;
  for (auto [z, a, b] : llvm::zip(*atZero, *ofX, *ofS))
    if (!(std::abs(z) <= 1e-12 && std::abs(a + b - 1.0) <= tolerance))
      return;
  std::optional<Weight> weight = findWeight(region, leaves, *ofS, targets);
  if (!weight)
    return;
  // Other numbers for all that enters.
  RandomLeaves others;
  Array x = random(), s = random();
  for (Value leaf : region.leaves) {
    Array data(countElements(leaf));
    for (double &number : data)
      number = source.next();
    others.set(leaf, data);
  }
  auto original = evaluate(candidate, others, x, s);
  std::optional<Array> mu = weight->constant;
  if (weight->value)
    mu = evaluate(weight->value, others, x, s);
  SmallVector<int64_t> full{targets};
  llvm::append_range(full, *getFloatShape(shift.getX()));
  bool same = original && mu;
  for (int64_t i = 0; same && i < total; ++i) {
    double m = (*mu)[broadcastIndex(i, full, weight->shape)];
    m = weight->complement ? 1.0 - m : m;
    double expected = x[i % size] + (s[i % size] - x[i % size]) * m;
    same = std::abs((*original)[i] - expected) <= tolerance;
  }
  if (!same) {
    ++rejected;
    return;
  }
  Operation *op = candidate.getDefiningOp();
  OpBuilder builder(op);
  ImplicitLocOpBuilder b(op->getLoc(), builder);
  ArrayRef<int64_t> shape(weight->shape);
  Value muValue = weight->value;
  // Without targets, and without axes that are only repeated.
  if (targets == 1)
    shape = shape.drop_front();
  while (shape.size() > 1 && shape.front() == 1)
    shape = shape.drop_front();
  if (muValue)
    muValue = castTo(b, reshapeTo(b, muValue, shape), element);
  else
    muValue = floatConstant(b, RankedTensorType::get(shape, element),
                            weight->constant);
  if (!muValue)
    return;
  if (weight->complement) {
    Value one = floatConstant(b, RankedTensorType::get({}, element), {1.0});
    muValue = onnx::SubOp::create(b, muValue.getType(), one, muValue);
  }
  Value row = castTo(b, shift.getX(), element);
  Value shifted = castTo(b, shift.getShifted(), element);
  ArrayRef<int64_t> yShape(full);
  if (targets == 1)
    yShape = yShape.drop_front();
  Value y = MixOp::create(b, RankedTensorType::get(yShape, element), row,
                          shifted, muValue);
  candidate.replaceAllUsesWith(reshapeTo(b, y, *getFloatShape(candidate)));
  ++raised;
}

void Mixes::run() {
  xs = collectViews(shift.getX());
  shifteds = collectViews(shift.getShifted());
  size = countElements(shift.getX());
  // Forward from the shifted row through what may be part of a weighted sum.
  llvm::SetVector<Value> reached(shifteds);
  for (unsigned i = 0; i < reached.size() && reached.size() < 256; ++i) {
    SmallVector<Operation *> users(reached[i].getUsers());
    for (Operation *user : llvm::reverse(users)) {
      if (!isLinear(user) || user->getNumResults() != 1 ||
          !getFloatShape(user->getResult(0)) ||
          !reached.insert(user->getResult(0)))
        continue;
      Value value = user->getResult(0);
      if (isa<onnx::AddOp, onnx::SubOp, onnx::SumOp>(user))
        raise(value);
    }
  }
}

namespace {

struct RaiseMixPass : wkv::impl::RaiseMixBase<RaiseMixPass> {
  void runOnOperation() override {
    SmallVector<TokenShiftOp> shifts;
    getOperation().walk([&](TokenShiftOp op) { shifts.push_back(op); });
    for (TokenShiftOp shift : shifts) {
      if (!getFloatShape(shift.getX()))
        continue;
      Mixes mixes(shift);
      mixes.run();
      numMixes += mixes.raised;
      numRejected += mixes.rejected;
    }
  }
};

} // namespace
