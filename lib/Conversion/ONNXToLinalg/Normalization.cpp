//===- Normalization.cpp - Lowering of onnx normalisations ----------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Support.h"
#include <limits>

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::lowering;

Value lowering::normalize(ImplicitLocOpBuilder &b, Value input,
                          ArrayRef<int64_t> axes, double epsilon, bool centre,
                          Value *meanResult, Value *invStdDev) {
  RankedTensorType type = tensorType(input);
  Type compute = computeType(type.getElementType());
  double count = 1;
  for (int64_t axis : axes)
    count *= double(type.getDimSize(axis));
  SmallVector<Value> inputs{input};
  if (centre)
    inputs.push_back(mean(b, input, axes));
  auto deviation = [](Arith &a, ValueRange x, bool centre) {
    return centre ? a.sub(x[0], x[1]) : x[0];
  };
  Value squares = reduce(b, inputs, axes, constant(b, compute, 0), true,
                         [&](ImplicitLocOpBuilder &b, ValueRange x) {
                           Arith a{b};
                           Value d = deviation(a, x, centre);
                           return a.add(x.back(), a.mul(d, d));
                         });
  Value inverse =
      elementwise(b, squares, tensorType(squares),
                  [&](ImplicitLocOpBuilder &b, ValueRange x) {
                    Arith a{b};
                    Value variance = a.div(x[0], a.constant(x[0], count));
                    Value root =
                        a.sqrt(a.add(variance, a.constant(x[0], epsilon)));
                    return a.div(a.constant(x[0], 1), root);
                  });
  if (meanResult && centre)
    *meanResult = inputs[1];
  if (invStdDev)
    *invStdDev = inverse;
  inputs.push_back(inverse);
  return floatElementwise(b, inputs, type.clone(compute),
                          [&](ImplicitLocOpBuilder &b, ValueRange x) {
                            Arith a{b};
                            return a.mul(deviation(a, x, centre), x.back());
                          });
}

Value lowering::scaleAndShift(ImplicitLocOpBuilder &b, Value input, Value scale,
                              Value bias, RankedTensorType type) {
  SmallVector<Value> inputs{input};
  if (scale)
    inputs.push_back(scale);
  if (bias)
    inputs.push_back(bias);
  return floatElementwise(b, inputs, type,
                          [&](ImplicitLocOpBuilder &b, ValueRange x) {
                            Arith a{b};
                            Value y = x[0];
                            if (scale)
                              y = a.mul(y, x[1]);
                            return bias ? a.add(y, x.back()) : y;
                          });
}

namespace {

/// The axes from \p axis on, or a refusal.
FailureOr<SmallVector<int64_t>> trailingAxes(Lowering &b, Value input,
                                             int64_t axis) {
  int64_t rank = tensorType(input).getRank();
  std::optional<int64_t> first = normalizeAxis(axis, rank);
  if (!first)
    return b.refuse("axis " + Twine(axis) + " is out of range for rank " +
                    Twine(rank));
  return llvm::to_vector(llvm::seq<int64_t>(*first, rank));
}

/// A parameter for each channel, shaped to broadcast over axis 1.
Value perChannel(ImplicitLocOpBuilder &b, Value parameter, int64_t rank) {
  SmallVector<int64_t> shape(rank - 1, 1);
  shape[0] = tensorType(parameter).getNumElements();
  return reshape(b, parameter, shape);
}

FailureOr<SmallVector<Value>>
lowerLayerNorm(Lowering &b, onnx::LayerNormalizationOp op,
               onnx::LayerNormalizationOp::Adaptor in) {
  auto axes = trailingAxes(b, in.getX(), op.getAxis());
  if (failed(axes))
    return failure();
  Value mean, inverse;
  Value normal =
      normalize(b, in.getX(), *axes, op.getEpsilon().convertToDouble(), true,
                &mean, &inverse);
  Value bias = onnx::isNone(op.getB()) ? Value() : in.getB();
  auto statistic = [&](Value value, unsigned index) {
    if (op->getResult(index).use_empty())
      return Value();
    RankedTensorType type = b.resultType(index);
    return reshape(b, castElements(b, value, type.getElementType()),
                   type.getShape());
  };
  return SmallVector<Value>{
      scaleAndShift(b, normal, in.getScale(), bias, b.resultType(0)),
      statistic(mean, 1), statistic(inverse, 2)};
}

FailureOr<Value> lowerRMSNorm(Lowering &b, onnx::RMSNormalizationOp op,
                              onnx::RMSNormalizationOp::Adaptor in) {
  auto axes = trailingAxes(b, in.getX(), op.getAxis());
  if (failed(axes))
    return failure();
  Value normal =
      normalize(b, in.getX(), *axes, op.getEpsilon().convertToDouble(), false);
  return scaleAndShift(b, normal, in.getScale(), Value(), b.resultType());
}

FailureOr<Value> lowerInstanceNorm(Lowering &b,
                                   onnx::InstanceNormalizationOp op,
                                   onnx::InstanceNormalizationOp::Adaptor in) {
  RankedTensorType type = b.resultType();
  if (type.getRank() < 2)
    return b.refuse("its input needs rank 2 or more");
  auto axes = llvm::to_vector(llvm::seq<int64_t>(2, type.getRank()));
  Value normal =
      normalize(b, in.getInput(), axes, op.getEpsilon().convertToDouble());
  return scaleAndShift(b, normal, perChannel(b, in.getScale(), type.getRank()),
                       perChannel(b, in.getB(), type.getRank()), type);
}

FailureOr<Value> lowerGroupNorm(Lowering &b, onnx::GroupNormalizationOp op,
                                onnx::GroupNormalizationOp::Adaptor in) {
  RankedTensorType type = b.resultType();
  int64_t groups = op.getNumGroups();
  if (type.getRank() < 2 || groups < 1 || type.getDimSize(1) % groups != 0)
    return b.refuse(Twine(groups) + " groups do not divide its channels");
  if (type.getNumElements() == 0)
    return emptyTensor(b, type);
  int64_t batch = type.getDimSize(0), channels = type.getDimSize(1);
  Value grouped = reshape(
      b, in.getX(), {batch, groups, type.getNumElements() / batch / groups});
  Value normal = normalize(b, grouped, {2}, op.getEpsilon().convertToDouble());
  normal = reshape(b, normal, type.getShape());
  auto parameter = [&](Value value) {
    // Before opset 21 there was one number for each group.
    int64_t size = tensorType(value).getNumElements();
    if (size == groups && size != channels)
      value = reshape(b,
                      broadcastTo(b, reshape(b, value, {groups, 1}),
                                  {groups, channels / groups}),
                      channels);
    return perChannel(b, value, type.getRank());
  };
  return scaleAndShift(b, normal, parameter(in.getScale()),
                       parameter(in.getBias()), type);
}

FailureOr<SmallVector<Value>>
lowerBatchNorm(Lowering &b, onnx::BatchNormalizationOp op,
               onnx::BatchNormalizationOp::Adaptor in) {
  if (op.getTrainingMode())
    return b.refuse("it is in training mode; export the model for inference");
  RankedTensorType type = b.resultType(0);
  int64_t rank = type.getRank();
  if (rank < 2)
    return b.refuse("its input needs rank 2 or more");
  double epsilon = op.getEpsilon().convertToDouble();
  Type compute = computeType(type.getElementType());
  SmallVector<Value> inputs{in.getX()};
  for (Value parameter : in.getOperands().drop_front())
    inputs.push_back(perChannel(b, parameter, rank));
  Value y = elementwise(
      b, inputs, type, [&](ImplicitLocOpBuilder &b, ValueRange args) {
        Arith a{b};
        SmallVector<Value> x;
        for (Value arg : args)
          x.push_back(castFloat(b, arg, compute));
        Value root = a.sqrt(a.add(x[4], a.constant(x[4], epsilon)));
        Value normal = a.div(a.sub(x[0], x[3]), root);
        return castFloat(b, a.add(a.mul(normal, x[1]), x[2]),
                         type.getElementType());
      });
  return SmallVector<Value>{y, Value(), Value()};
}

FailureOr<Value>
lowerMeanVariance(Lowering &b, onnx::MeanVarianceNormalizationOp op,
                  onnx::MeanVarianceNormalizationOp::Adaptor in) {
  RankedTensorType type = b.resultType();
  Type compute = computeType(type.getElementType());
  SmallVector<int64_t> axes;
  for (int64_t axis : op.getAxes()) {
    std::optional<int64_t> normal = normalizeAxis(axis, type.getRank());
    if (!normal)
      return b.refuse("axis " + Twine(axis) + " is out of range for rank " +
                      Twine(type.getRank()));
    axes.push_back(*normal);
  }
  Value average = mean(b, in.getX(), axes);
  Value centred = floatElementwise(b, {in.getX(), average}, type.clone(compute),
                                   [](ImplicitLocOpBuilder &b, ValueRange x) {
                                     return Arith{b}.sub(x[0], x[1]);
                                   });
  Value squares = elementwise(b, centred, tensorType(centred),
                              [](ImplicitLocOpBuilder &b, ValueRange x) {
                                return Arith{b}.mul(x[0], x[0]);
                              });
  return floatElementwise(b, {centred, mean(b, squares, axes)}, type,
                          [](ImplicitLocOpBuilder &b, ValueRange x) {
                            Arith a{b};
                            Value root = a.sqrt(x[1]);
                            return a.div(x[0],
                                         a.add(root, a.constant(root, 1e-9)));
                          });
}

FailureOr<Value> lowerLpNorm(Lowering &b, onnx::LpNormalizationOp op,
                             onnx::LpNormalizationOp::Adaptor in) {
  RankedTensorType type = b.resultType();
  std::optional<int64_t> axis = normalizeAxis(op.getAxis(), type.getRank());
  if (!axis || (op.getP() != 1 && op.getP() != 2))
    return b.refuse("its axis is out of range or p is neither 1 nor 2");
  bool squared = op.getP() == 2;
  Type compute = computeType(type.getElementType());
  Value sum =
      reduce(b, in.getInput(), *axis, constant(b, compute, 0), true,
             [&](ImplicitLocOpBuilder &b, ValueRange x) {
               Arith a{b};
               return a.add(x[1], squared ? a.mul(x[0], x[0]) : a.abs(x[0]));
             });
  Value norm = squared ? elementwise(b, sum, tensorType(sum),
                                     [](ImplicitLocOpBuilder &b, ValueRange x) {
                                       return Arith{b}.sqrt(x[0]);
                                     })
                       : sum;
  // A zero vector stays zero.
  return floatElementwise(b, {in.getInput(), norm}, type,
                          [](ImplicitLocOpBuilder &b, ValueRange x) {
                            Arith a{b};
                            Value zero = a.constant(x[0], 0);
                            return a.select(a.compare(Arith::Equal, x[1], zero),
                                            zero, a.div(x[0], x[1]));
                          });
}

/// Softmax along one axis, or its logarithm.
template <typename OpT>
FailureOr<Value> lowerSoftmax(Lowering &b, OpT op, typename OpT::Adaptor in,
                              bool logarithm) {
  RankedTensorType type = b.resultType();
  std::optional<int64_t> axis = normalizeAxis(op.getAxis(), type.getRank());
  if (!axis)
    return b.refuse("axis " + Twine(op.getAxis()) +
                    " is out of range for rank " + Twine(type.getRank()));
  Type compute = computeType(type.getElementType());
  double inf = std::numeric_limits<double>::infinity();
  Value top = reduce(b, in.getInput(), *axis, constant(b, compute, -inf), true,
                     [](ImplicitLocOpBuilder &b, ValueRange x) {
                       return Arith{b}.max(x[1], x[0]);
                     });
  if (logarithm) {
    Value sum = reduce(b, {in.getInput(), top}, *axis, constant(b, compute, 0),
                       true, [](ImplicitLocOpBuilder &b, ValueRange x) {
                         Arith a{b};
                         return a.add(x[2], a.exp(a.sub(x[0], x[1])));
                       });
    return floatElementwise(b, {in.getInput(), top, sum}, type,
                            [](ImplicitLocOpBuilder &b, ValueRange x) {
                              Arith a{b};
                              Value log = math::LogOp::create(b, x[2]);
                              return a.sub(a.sub(x[0], x[1]), log);
                            });
  }
  Value powers = floatElementwise(b, {in.getInput(), top}, type.clone(compute),
                                  [](ImplicitLocOpBuilder &b, ValueRange x) {
                                    Arith a{b};
                                    return a.exp(a.sub(x[0], x[1]));
                                  });
  Value sum = reduce(b, powers, *axis, constant(b, compute, 0), true,
                     [](ImplicitLocOpBuilder &b, ValueRange x) {
                       return Arith{b}.add(x[1], x[0]);
                     });
  return floatElementwise(b, {powers, sum}, type,
                          [](ImplicitLocOpBuilder &b, ValueRange x) {
                            return Arith{b}.div(x[0], x[1]);
                          });
}

} // namespace

void lowering::addNormalizationLowerings(LoweringSet &set) {
  set.add<onnx::BatchNormalizationOp>(lowerBatchNorm);
  set.add<onnx::GroupNormalizationOp>(lowerGroupNorm);
  set.add<onnx::InstanceNormalizationOp>(lowerInstanceNorm);
  set.add<onnx::LayerNormalizationOp>(lowerLayerNorm);
  set.add<onnx::LpNormalizationOp>(lowerLpNorm);
  set.add<onnx::MeanVarianceNormalizationOp>(lowerMeanVariance);
  set.add<onnx::RMSNormalizationOp>(lowerRMSNorm);
  set.add<onnx::SoftmaxOp>(
      [](Lowering &b, onnx::SoftmaxOp op, onnx::SoftmaxOp::Adaptor in) {
        return lowerSoftmax(b, op, in, false);
      });
  set.add<onnx::LogSoftmaxOp>(
      [](Lowering &b, onnx::LogSoftmaxOp op, onnx::LogSoftmaxOp::Adaptor in) {
        return lowerSoftmax(b, op, in, true);
      });
}
