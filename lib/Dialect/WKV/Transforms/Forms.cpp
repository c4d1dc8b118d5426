//===- Forms.cpp - What the derived forms have in common ------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Forms.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/ReshapeOpsUtils.h"

using namespace mlir;

Value rwkvc::wkv::reshapeTensor(OpBuilder &b, Location loc, Value value,
                                RankedTensorType type) {
  auto from = cast<RankedTensorType>(value.getType());
  if (from == type)
    return value;
  // Shapes that differ in axes of size one meet where these are left out.
  auto squeeze = [](RankedTensorType type) {
    SmallVector<int64_t> shape(llvm::make_filter_range(
        type.getShape(), [](int64_t size) { return size != 1; }));
    return type.clone(shape);
  };
  RankedTensorType core = squeeze(from);
  if (core == squeeze(type) && core != from && core != type)
    return reshapeTensor(b, loc, reshapeTensor(b, loc, value, core), type);
  bool shrinks = from.getRank() > type.getRank();
  if (std::optional<SmallVector<ReassociationIndices>> groups =
          getReassociationIndicesForReshape(from, type)) {
    if (shrinks)
      return tensor::CollapseShapeOp::create(b, loc, type, value, *groups);
    return tensor::ExpandShapeOp::create(b, loc, type, value, *groups);
  }
  // By way of one axis.
  auto all = [](int64_t rank) {
    return SmallVector<ReassociationIndices>{
        llvm::to_vector<2>(llvm::seq<int64_t>(0, rank))};
  };
  if (from.getRank() > 1)
    value = tensor::CollapseShapeOp::create(b, loc, value, all(from.getRank()));
  if (type.getRank() > 1)
    value =
        tensor::ExpandShapeOp::create(b, loc, type, value, all(type.getRank()));
  return value;
}

void rwkvc::wkv::eraseDeadOps(Block &block) {
  for (Operation &op : llvm::make_early_inc_range(llvm::reverse(block)))
    if (isOpTriviallyDead(&op))
      op.erase();
}
