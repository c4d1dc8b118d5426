//===- Reshapes.cpp - Chains of reshapes ----------------------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "rwkvc/Support/Reshapes.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/DialectResourceBlobManager.h"

using namespace mlir;

bool rwkvc::isReshape(Operation *op) {
  return isa_and_nonnull<tensor::ExpandShapeOp, tensor::CollapseShapeOp>(op);
}

Value rwkvc::getReshapeSource(Value value) {
  while (isReshape(value.getDefiningOp()))
    value = value.getDefiningOp()->getOperand(0);
  return value;
}

Operation *rwkvc::skipReshapes(Value value,
                               SmallVectorImpl<Operation *> &reshapes) {
  Operation *op = value.getDefiningOp();
  while (isReshape(op) && op->hasOneUse()) {
    reshapes.push_back(op);
    op = op->getOperand(0).getDefiningOp();
  }
  std::reverse(reshapes.begin(), reshapes.end());
  return op;
}

Value rwkvc::undoReshapes(OpBuilder &builder, ArrayRef<Operation *> reshapes,
                          Value value) {
  for (Operation *op : llvm::reverse(reshapes)) {
    Type type = op->getOperand(0).getType();
    if (auto expand = dyn_cast<tensor::ExpandShapeOp>(op))
      value = tensor::CollapseShapeOp::create(
          builder, op->getLoc(), type, value, expand.getReassociationIndices());
    else
      value = tensor::ExpandShapeOp::create(
          builder, op->getLoc(), type, value,
          cast<tensor::CollapseShapeOp>(op).getReassociationIndices());
  }
  return value;
}

Value rwkvc::splitAxis(ImplicitLocOpBuilder &b, Value value, unsigned axis,
                       ArrayRef<int64_t> inside) {
  auto type = cast<RankedTensorType>(value.getType());
  SmallVector<int64_t> shape;
  SmallVector<ReassociationIndices> groups;
  for (auto [i, size] : llvm::enumerate(type.getShape())) {
    ReassociationIndices &group = groups.emplace_back();
    group.push_back(shape.size());
    shape.push_back(size);
    if (i != axis)
      continue;
    for (int64_t part : inside) {
      shape[group.front()] /= part;
      group.push_back(shape.size());
      shape.push_back(part);
    }
  }
  return tensor::ExpandShapeOp::create(b, type.clone(shape), value, groups);
}

ElementsAttr rwkvc::splitAxis(ElementsAttr constant, unsigned axis,
                              int64_t inside) {
  auto type = cast<RankedTensorType>(constant.getType());
  SmallVector<int64_t> shape(type.getShape());
  shape[axis] /= inside;
  shape.insert(shape.begin() + axis + 1, inside);
  if (auto resource = dyn_cast<DenseResourceElementsAttr>(constant))
    return DenseResourceElementsAttr::get(type.clone(shape),
                                          resource.getRawHandle());
  return cast<DenseElementsAttr>(constant).reshape(type.clone(shape));
}

bool rwkvc::hoistReshapes(Value value, Operation *op) {
  Operation *def = value.getDefiningOp();
  if (!def)
    return value.getParentBlock() == op->getBlock();
  if (def->getBlock() != op->getBlock())
    return false;
  if (def->isBeforeInBlock(op))
    return true;
  if (!isReshape(def) || !hoistReshapes(def->getOperand(0), op))
    return false;
  def->moveBefore(op);
  return true;
}
