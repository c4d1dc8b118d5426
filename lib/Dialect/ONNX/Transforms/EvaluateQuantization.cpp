//===- EvaluateQuantization.cpp - Evaluation of (de)quantisation ----------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "EvaluatorSupport.h"
#include <cmath>

using namespace mlir;
using namespace rwkvc::onnx;
using namespace rwkvc::onnx::evaluation;

namespace {

/// Which element of the scale belongs to each element of the data.
class ScaleIndex {
public:
  ScaleIndex(const HostTensor &data, const HostTensor &scale, int64_t axis,
             int64_t blockSize) {
    if (scale.getNumElements() == 1 && blockSize == 0)
      return; // one for all
    view = viewAxis(data.shape, *normalizeAxis(axis, data.getRank()));
    block = blockSize;
    blocks = blockSize ? (view.size + blockSize - 1) / blockSize : 0;
    isScalar = false;
  }

  int64_t operator()(int64_t i) const {
    if (isScalar)
      return 0;
    int64_t along = i / view.inner % view.size;
    if (block == 0)
      return along;
    int64_t outer = i / (view.inner * view.size);
    return (outer * blocks + along / block) * view.inner + i % view.inner;
  }

private:
  AxisView view;
  int64_t block = 0, blocks = 0;
  bool isScalar = true;
};

LogicalResult evaluateDequantize(DequantizeLinearOp op, Evaluation &e) {
  ScaleIndex index(e.in(0), e.in(1), op.getAxis(), op.getBlockSize());
  const HostTensor *zeroPoint = e.getOptional(2);
  for (auto [i, x] : llvm::enumerate(e.in(0).data)) {
    int64_t at = index(i);
    double zero = zeroPoint ? zeroPoint->data[at] : 0.0;
    e.out().data[i] = (x - zero) * e.in(1).data[at];
  }
  return success();
}

LogicalResult evaluateQuantize(QuantizeLinearOp op, Evaluation &e) {
  Type type = e.out().elementType;
  if (!isa<IntegerType>(type))
    return failure();
  ScaleIndex index(e.in(0), e.in(1), op.getAxis(), op.getBlockSize());
  const HostTensor *zeroPoint = e.getOptional(2);
  for (auto [i, x] : llvm::enumerate(e.in(0).data)) {
    int64_t at = index(i);
    double zero = zeroPoint ? zeroPoint->data[at] : 0.0;
    double scaled = std::nearbyint(x / e.in(1).data[at]) + zero;
    if (std::isnan(scaled))
      return failure();
    e.out().data[i] = saturate(scaled, type);
  }
  return success();
}

LogicalResult evaluateDynamicQuantize(DynamicQuantizeLinearOp, Evaluation &e) {
  // The op is defined in float32 alone, step by step; in float64 a quotient at
  // half of two integers would go the other way.
  constexpr float kLevels = 255.0f;
  float lowest = 0.0f, highest = 0.0f; // zero is always representable
  for (double x : e.in(0).data) {
    if (!std::isfinite(x))
      return failure();
    lowest = std::min(lowest, static_cast<float>(x));
    highest = std::max(highest, static_cast<float>(x));
  }
  float scale = highest == lowest ? 1.0f : (highest - lowest) / kLevels;
  Type type = e.out(0).elementType;
  double zeroPoint = saturate(-lowest / scale, type);
  for (auto [x, y] : llvm::zip(e.in(0).data, e.out(0).data))
    y = saturate(std::nearbyint(static_cast<float>(x) / scale) + zeroPoint,
                 type);
  e.out(1).data.front() = scale;
  e.out(2).data.front() = zeroPoint;
  return success();
}

} // namespace

void evaluation::addQuantizationEvaluations(EvaluationTable &table) {
  table.add<DequantizeLinearOp>(evaluateDequantize);
  table.add<DynamicQuantizeLinearOp>(evaluateDynamicQuantize);
  table.add<QuantizeLinearOp>(evaluateQuantize);
}
