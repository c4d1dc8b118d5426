//===- Quantization.cpp - Lowering of onnx quantisation -------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Support.h"

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::lowering;

namespace {

/// Where a scale or zero point belongs: the shape that the data is seen in and
/// the shape of the parameter that broadcasts to it.
struct Granularity {
  SmallVector<int64_t> data, parameter;
};

/// One parameter for all, one for each position of an axis, or one for each
/// block of positions.
FailureOr<Granularity> getGranularity(Lowering &b, RankedTensorType data,
                                      RankedTensorType scale, int64_t axisAttr,
                                      int64_t block) {
  Granularity result{SmallVector<int64_t>(data.getShape()), {}};
  if (block == 0 && scale.getNumElements() == 1)
    return result;
  std::optional<int64_t> axis = normalizeAxis(axisAttr, data.getRank());
  if (!axis)
    return b.refuse("axis " + Twine(axisAttr) + " is out of range for rank " +
                    Twine(data.getRank()));
  if (block == 0) {
    result.parameter.assign(data.getRank(), 1);
    result.parameter[*axis] = data.getDimSize(*axis);
    if (scale.getNumElements() != data.getDimSize(*axis))
      return b.refuse("it has " + Twine(scale.getNumElements()) +
                      " scales for " + Twine(data.getDimSize(*axis)) +
                      " positions");
    return result;
  }
  SmallVector<int64_t> blocks(data.getShape());
  // A last block may be longer than what is left, also where it is the only.
  if (block > blocks[*axis] && blocks[*axis] > 0)
    block = blocks[*axis];
  if (block < 0 || blocks[*axis] % block != 0)
    return b.refuse("blocks of " + Twine(block) + " do not divide axis " +
                    Twine(*axis) + " of size " + Twine(blocks[*axis]));
  blocks[*axis] /= block;
  if (ArrayRef<int64_t>(blocks) != scale.getShape())
    return b.refuse("its scales do not fit its blocks");
  result.data = blocks;
  result.data.insert(result.data.begin() + *axis + 1, block);
  result.parameter = blocks;
  result.parameter.insert(result.parameter.begin() + *axis + 1, 1);
  return result;
}

FailureOr<Value> lowerQuantize(Lowering &b, onnx::QuantizeLinearOp op,
                               onnx::QuantizeLinearOp::Adaptor in) {
  RankedTensorType type = b.resultType();
  auto shapes =
      getGranularity(b, tensorType(in.getX()), tensorType(in.getYScale()),
                     op.getAxis(), op.getBlockSize());
  if (failed(shapes))
    return failure();
  bool hasZero = !onnx::isNone(op.getYZeroPoint());
  SmallVector<Value> inputs{reshape(b, in.getX(), shapes->data),
                            reshape(b, in.getYScale(), shapes->parameter)};
  if (hasZero)
    inputs.push_back(reshape(b, in.getYZeroPoint(), shapes->parameter));
  bool toUnsigned = isUnsigned(op.getY());
  Type element = type.getElementType();
  Value result = elementwise(
      b, inputs, RankedTensorType::get(shapes->data, element),
      [&](ImplicitLocOpBuilder &b, ValueRange x) {
        Arith a{b};
        auto wide = [&](Value v, bool isUnsigned) {
          return castScalar(b, v, b.getF32Type(), isUnsigned, false);
        };
        Value quotient = a.div(wide(x[0], false), wide(x[1], false));
        Value y = math::RoundEvenOp::create(b, quotient);
        if (hasZero)
          y = a.add(y, wide(x[2], toUnsigned));
        return castScalar(b, y, element, false, toUnsigned);
      });
  return reshape(b, result, type.getShape());
}

FailureOr<Value> lowerDequantize(Lowering &b, onnx::DequantizeLinearOp op,
                                 onnx::DequantizeLinearOp::Adaptor in) {
  RankedTensorType type = b.resultType();
  auto shapes =
      getGranularity(b, tensorType(in.getX()), tensorType(in.getXScale()),
                     op.getAxis(), op.getBlockSize());
  if (failed(shapes))
    return failure();
  bool hasZero = !onnx::isNone(op.getXZeroPoint());
  SmallVector<Value> inputs{reshape(b, in.getX(), shapes->data),
                            reshape(b, in.getXScale(), shapes->parameter)};
  if (hasZero)
    inputs.push_back(reshape(b, in.getXZeroPoint(), shapes->parameter));
  bool fromUnsigned = isUnsigned(op.getX());
  Type element = type.getElementType();
  Value result = elementwise(
      b, inputs, RankedTensorType::get(shapes->data, element),
      [&](ImplicitLocOpBuilder &b, ValueRange x) {
        Arith a{b};
        // The difference of two 8- or 16-bit numbers is exact in 32 bits.
        auto wide = [&](Value v) {
          return castScalar(b, v, b.getI32Type(), fromUnsigned, false);
        };
        Value number = wide(x[0]);
        if (hasZero)
          number = a.sub(number, wide(x[2]));
        number = castScalar(b, number, b.getF32Type(), false, false);
        return castFloat(b, a.mul(number, castFloat(b, x[1], b.getF32Type())),
                         element);
      });
  return reshape(b, result, type.getShape());
}

} // namespace

DynamicQuantized lowering::dynamicQuantize(ImplicitLocOpBuilder &b,
                                           Value input) {
  RankedTensorType type = tensorType(input);
  auto axes = llvm::to_vector(llvm::seq<int64_t>(0, type.getRank()));
  // The range includes 0, which so has an exact code.
  Value zero = constant(b, b.getF32Type(), 0);
  Value low = reduce(b, input, axes, zero, false,
                     [](ImplicitLocOpBuilder &b, ValueRange x) {
                       return Arith{b}.min(x[1], x[0]);
                     });
  Value high = reduce(b, input, axes, zero, false,
                      [](ImplicitLocOpBuilder &b, ValueRange x) {
                        return Arith{b}.max(x[1], x[0]);
                      });
  auto scalar = RankedTensorType::get({}, b.getF32Type());
  Value scale = elementwise(
      b, {low, high}, scalar, [](ImplicitLocOpBuilder &b, ValueRange x) {
        Arith a{b};
        Value equal = a.compare(Arith::Equal, x[0], x[1]);
        Value range = a.select(equal, a.constant(x[0], 1), a.sub(x[1], x[0]));
        return a.div(range, a.constant(x[0], 255));
      });
  auto saturate = [](ImplicitLocOpBuilder &b, Value value) {
    return castScalar(b, value, b.getI8Type(), false, true);
  };
  Value zeroPoint =
      elementwise(b, {low, scale}, scalar.clone(b.getI8Type()),
                  [&](ImplicitLocOpBuilder &b, ValueRange x) {
                    Arith a{b};
                    Value place = a.sub(a.constant(x[0], 0), a.div(x[0], x[1]));
                    return saturate(b, math::RoundEvenOp::create(b, place));
                  });
  Value values = elementwise(
      b, {input, scale, zeroPoint}, type.clone(b.getI8Type()),
      [&](ImplicitLocOpBuilder &b, ValueRange x) {
        Arith a{b};
        Value code = math::RoundEvenOp::create(b, a.div(x[0], x[1]));
        Value offset = castScalar(b, x[2], b.getF32Type(), true, false);
        return saturate(b, a.add(code, offset));
      });
  return {values, scale, zeroPoint};
}

void lowering::addQuantizationLowerings(LoweringSet &set) {
  set.add<onnx::QuantizeLinearOp>(lowerQuantize);
  set.add<onnx::DequantizeLinearOp>(lowerDequantize);
  set.add<onnx::DynamicQuantizeLinearOp>(
      [](Lowering &b, onnx::DynamicQuantizeLinearOp,
         onnx::DynamicQuantizeLinearOp::Adaptor in)
          -> FailureOr<SmallVector<Value>> {
        DynamicQuantized result = dynamicQuantize(b, in.getX());
        return SmallVector<Value>{result.values, result.scale,
                                  result.zeroPoint};
      });
}
