//===- RaiseSupport.cpp - Shared by the raising passes --------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "RaiseRecurrence.h"
#include "rwkvc/Dialect/ONNX/IR/ONNX.h"
#include "rwkvc/Dialect/WKV/IR/WKV.h"
#include <cmath>

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::wkv;

static onnx::HostTensor emptyTensor(Value value) {
  auto type = cast<RankedTensorType>(value.getType());
  onnx::HostTensor tensor;
  tensor.shape.assign(type.getShape().begin(), type.getShape().end());
  tensor.elementType = type.getElementType();
  tensor.data.resize(type.getNumElements());
  return tensor;
}

void RandomLeaves::add(Value value) {
  if (!value || tensors.contains(value) ||
      value.getDefiningOp<onnx::ConstantOp>())
    return;
  onnx::HostTensor tensor = emptyTensor(value);
  std::uniform_real_distribution<double> uniform(-1.0, 1.0);
  for (double &x : tensor.data)
    x = uniform(engine);
  tensors[value] = std::move(tensor);
}

void RandomLeaves::set(Value value, const Array &data) {
  onnx::HostTensor tensor = emptyTensor(value);
  tensor.data.assign(data.begin(), data.end());
  tensors[value] = std::move(tensor);
}

bool rwkvc::wkv::agree(ArrayRef<double> x, ArrayRef<double> y) {
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

SmallVector<Value> rwkvc::wkv::findStateUpdates(func::FuncOp func) {
  SmallVector<Value> updates;
  SmallVector<Value> worklist;
  Operation *terminator = func.getBody().front().getTerminator();
  for (unsigned i = 0; i < func.getNumArguments(); ++i)
    if (auto result = func.getArgAttrOfType<IntegerAttr>(i, kStateAttr))
      worklist.push_back(terminator->getOperand(result.getInt()));
  llvm::SmallDenseSet<Value> seen;
  while (!worklist.empty()) {
    Value value = worklist.pop_back_val();
    if (!seen.insert(value).second)
      continue;
    Operation *op = value.getDefiningOp();
    if (!op)
      continue;
    if (isa<onnx::IdentityOp, onnx::CastOp, onnx::ReshapeOp, onnx::SqueezeOp,
            onnx::UnsqueezeOp, onnx::TransposeOp, onnx::FlattenOp>(op)) {
      worklist.push_back(op->getOperand(0));
    } else if (isa<onnx::ScatterNDOp, onnx::ScatterElementsOp>(op)) {
      worklist.push_back(op->getOperand(0)); // data: earlier writes
      worklist.push_back(op->getOperand(2)); // updates
    } else if (isa<onnx::ConcatOp>(op)) {
      llvm::append_range(worklist, op->getOperands());
    } else {
      updates.push_back(value);
    }
  }
  return updates;
}
