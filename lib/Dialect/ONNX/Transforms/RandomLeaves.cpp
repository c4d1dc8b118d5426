//===- RandomLeaves.cpp - Comparison on random values ---------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "rwkvc/Dialect/ONNX/Transforms/RandomLeaves.h"
#include "rwkvc/Dialect/ONNX/IR/ONNX.h"
#include <cmath>

using namespace mlir;
using namespace rwkvc::onnx;

static HostTensor emptyTensor(Value value) {
  auto type = cast<RankedTensorType>(value.getType());
  HostTensor tensor;
  tensor.shape.assign(type.getShape().begin(), type.getShape().end());
  tensor.elementType = type.getElementType();
  tensor.data.resize(type.getNumElements());
  return tensor;
}

void RandomLeaves::add(Value value) {
  if (!value || tensors.contains(value) || value.getDefiningOp<ConstantOp>())
    return;
  HostTensor tensor = emptyTensor(value);
  for (double &x : tensor.data)
    x = next();
  tensors[value] = std::move(tensor);
}

double RandomLeaves::next() {
  return std::uniform_real_distribution<double>(-1.0, 1.0)(engine);
}

void RandomLeaves::set(Value value, ArrayRef<double> data) {
  HostTensor tensor = emptyTensor(value);
  tensor.data.assign(data.begin(), data.end());
  tensors[value] = std::move(tensor);
}

bool rwkvc::onnx::agree(ArrayRef<double> x, ArrayRef<double> y) {
  // Weights may be in 16 bits and constants in float32, but both sides use the
  // same ones: only the order of float64 operations differs.
  constexpr double kTolerance = 1e-6;
  if (x.size() != y.size())
    return false;
  for (auto [a, b] : llvm::zip(x, y))
    if (!(std::abs(a - b) <= kTolerance * std::max(1.0, std::abs(a))))
      return false;
  return true;
}
