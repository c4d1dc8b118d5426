//===- RaiseSequenceOps.cpp - ONNX's linear attention and causal conv -----===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The causal convolution is here; RaiseLinearAttention.cpp has the other.
//
//===----------------------------------------------------------------------===//

#include "RaiseSequenceOps.h"
#include "mlir/Dialect/Traits.h"
#include "rwkvc/Dialect/WKV/IR/WKV.h"
#include "rwkvc/Dialect/WKV/Transforms/Passes.h"
#include <cmath>

namespace rwkvc::wkv {
#define GEN_PASS_DEF_RAISESEQUENCEOPS
#include "rwkvc/Dialect/WKV/Transforms/Passes.h.inc"
} // namespace rwkvc::wkv

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::wkv;

RankedTensorType wkv::typeOf(Value value) {
  return cast<RankedTensorType>(value.getType());
}

Value wkv::slice(ImplicitLocOpBuilder &b, Value value, int64_t axis,
                 int64_t start, int64_t end) {
  RankedTensorType type = typeOf(value);
  SmallVector<int64_t> shape(type.getShape());
  if (start == 0 && end == shape[axis])
    return value;
  shape[axis] = end - start;
  OperationState s(b.getLoc(), onnx::SliceOp::getOperationName());
  s.addOperands({value, intConstant(b, start), intConstant(b, end),
                 intConstant(b, axis), intConstant(b, 1)});
  s.addTypes(type.clone(shape));
  return b.create(s)->getResult(0);
}

Value wkv::concat(ImplicitLocOpBuilder &b, ArrayRef<Value> values,
                  int64_t axis) {
  SmallVector<int64_t> shape(typeOf(values[0]).getShape());
  for (Value value : values.drop_front())
    shape[axis] += typeOf(value).getDimSize(axis);
  OperationState s(b.getLoc(), onnx::ConcatOp::getOperationName());
  s.addOperands(values);
  s.addTypes(typeOf(values[0]).clone(shape));
  s.addAttribute("axis", b.getI64IntegerAttr(axis));
  return b.create(s)->getResult(0);
}

Value wkv::multiply(ImplicitLocOpBuilder &b, Value x, Value y) {
  SmallVector<int64_t> shape;
  OpTrait::util::getBroadcastedShape(typeOf(x).getShape(), typeOf(y).getShape(),
                                     shape);
  return onnx::MulOp::create(b, typeOf(x).clone(shape), x, y);
}

Value wkv::add(ImplicitLocOpBuilder &b, Value x, Value y) {
  return onnx::AddOp::create(b, x.getType(), x, y);
}

Value wkv::splat(ImplicitLocOpBuilder &b, ArrayRef<int64_t> shape, Type element,
                 double number) {
  auto type = RankedTensorType::get(shape, element);
  return floatConstant(b, type, Array(type.getNumElements(), number));
}

//===----------------------------------------------------------------------===//
// CausalConvWithState
//===----------------------------------------------------------------------===//

namespace {

class CausalConvRaiser {
public:
  explicit CausalConvRaiser(onnx::CausalConvWithStateOp op)
      : op(op), b(op.getLoc(), op) {}

  /// Whether the shapes are those of the operator.
  bool check();
  /// Returns whether it became a token shift.
  bool run();

private:
  /// The weights of row \p number of the kernel, the oldest first, [C].
  Value getWeights(int64_t number) {
    if (std::optional<Array> all = readConstant(op.getWeight())) {
      Array own;
      for (int64_t c = 0; c < channels; ++c)
        own.push_back((*all)[c * kernel + number]);
      return floatConstant(b, typeOf(op.getWeight()).clone({channels}), own);
    }
    Value row = slice(b, op.getWeight(), 2, number, number + 1);
    return reshapeTo(b, row, {channels});
  }
  Value activate(Value y);
  /// Output, [B, T, C], and new state, [B, C].
  std::pair<Value, Value> shiftAndMix();
  std::pair<Value, Value> sumOfSlices();

  onnx::CausalConvWithStateOp op;
  ImplicitLocOpBuilder b;
  int64_t batch = 0, channels = 0, length = 0, kernel = 0;
};

bool CausalConvRaiser::check() {
  auto x = getFloatShape(op.getInput()), w = getFloatShape(op.getWeight());
  if (!x || !w || x->size() != 3 || w->size() != 3)
    return false;
  batch = (*x)[0], channels = (*x)[1], length = (*x)[2], kernel = (*w)[2];
  auto is = [](Value value, ArrayRef<int64_t> shape) {
    auto own = getFloatShape(value);
    return onnx::isNone(value) || (own && *own == shape);
  };
  StringRef activation = op.getActivation();
  return kernel >= 1 && length >= 1 &&
         is(op.getWeight(), {channels, 1, kernel}) &&
         is(op.getBias(), {channels}) &&
         is(op.getPastState(), {batch, channels, kernel - 1}) &&
         is(op.getOutput(), *x) &&
         is(op.getPresentState(), {batch, channels, kernel - 1}) &&
         (activation == "none" || activation == "silu" ||
          activation == "swish");
}

Value CausalConvRaiser::activate(Value y) {
  if (op.getActivation() == "none")
    return y;
  OperationState s(b.getLoc(), onnx::SigmoidOp::getOperationName());
  s.addOperands(y);
  s.addTypes(y.getType());
  return multiply(b, y, b.create(s)->getResult(0));
}

std::pair<Value, Value> CausalConvRaiser::shiftAndMix() {
  Value x = transposeTo(b, op.getInput(), {0, 2, 1});
  Value state = onnx::isNone(op.getPastState())
                    ? splat(b, {batch, channels}, typeOf(x).getElementType(), 0)
                    : reshapeTo(b, op.getPastState(), {batch, channels});
  auto shift = TokenShiftOp::create(b, x.getType(), state.getType(), x, state);
  Value before = getWeights(0), now = getWeights(1);
  Value y;
  std::optional<Array> weights = readConstant(op.getWeight());
  bool isMix = weights.has_value();
  // One minus a weight is rounded to the elements' type.
  double tolerance = typeOf(x).getElementTypeBitWidth() < 32 ? 0x1p-8 : 0x1p-22;
  for (int64_t c = 0; isMix && c < channels; ++c)
    isMix = std::abs((*weights)[2 * c] + (*weights)[2 * c + 1] - 1) < tolerance;
  if (isMix)
    y = MixOp::create(b, x.getType(), x, shift.getShifted(), before);
  else
    y = add(b, multiply(b, shift.getShifted(), before), multiply(b, x, now));
  if (!onnx::isNone(op.getBias()))
    y = add(b, y, op.getBias());
  return {transposeTo(b, activate(y), {0, 2, 1}), shift.getNewState()};
}

std::pair<Value, Value> CausalConvRaiser::sumOfSlices() {
  Value rows = op.getInput(), present;
  Type element = typeOf(rows).getElementType();
  if (kernel > 1) {
    Value past = onnx::isNone(op.getPastState())
                     ? splat(b, {batch, channels, kernel - 1}, element, 0)
                     : op.getPastState();
    rows = concat(b, {past, rows}, 2);
    present = slice(b, rows, 2, length, length + kernel - 1);
  } else {
    present = splat(b, {batch, channels, 0}, element, 0);
  }
  // Products of 16 bits are summed up in float32.
  Type wide = element.getIntOrFloatBitWidth() < 32 ? b.getF32Type() : element;
  auto column = [&](Value value) {
    return reshapeTo(b, castTo(b, value, wide), {channels, 1});
  };
  Value y;
  for (int64_t i = 0; i < kernel; ++i) {
    Value row = castTo(b, slice(b, rows, 2, i, i + length), wide);
    Value product = multiply(b, row, column(getWeights(i)));
    y = y ? add(b, y, product) : product;
  }
  if (!onnx::isNone(op.getBias()))
    y = add(b, y, column(op.getBias()));
  return {castTo(b, activate(y), element), present};
}

bool CausalConvRaiser::run() {
  bool isShift = kernel == 2;
  auto [y, present] = isShift ? shiftAndMix() : sumOfSlices();
  op.getOutput().replaceAllUsesWith(y);
  RankedTensorType type = typeOf(op.getPresentState());
  op.getPresentState().replaceAllUsesWith(
      castTo(b, reshapeTo(b, present, type.getShape()), type.getElementType()));
  op.erase();
  return isShift;
}

struct RaiseSequenceOpsPass
    : wkv::impl::RaiseSequenceOpsBase<RaiseSequenceOpsPass> {
  void runOnOperation() override {
    SmallVector<onnx::LinearAttentionOp> attentions;
    SmallVector<onnx::CausalConvWithStateOp> convolutions;
    getOperation().walk([&](Operation *op) {
      if (auto attention = dyn_cast<onnx::LinearAttentionOp>(op))
        attentions.push_back(attention);
      else if (auto conv = dyn_cast<onnx::CausalConvWithStateOp>(op))
        convolutions.push_back(conv);
    });
    for (onnx::LinearAttentionOp op : attentions)
      numRecurrences += raiseLinearAttention(op);
    for (onnx::CausalConvWithStateOp op : convolutions) {
      CausalConvRaiser raiser(op);
      if (!raiser.check())
        continue;
      if (raiser.run())
        ++numShifts;
      else
        ++numConvolutions;
    }
  }
};

} // namespace
