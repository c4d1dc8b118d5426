//===- AxisSplit.cpp - How loops split the axes of tensors ----------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "AxisSplit.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace rwkvc;

/// The split of the axes that \p groups collapses into one each; none where a
/// part would not be one range of the collapsed axis.
static std::optional<Split> collapse(ArrayRef<AxisSplit> split,
                                     ArrayRef<int64_t> shape,
                                     ArrayRef<ReassociationIndices> groups) {
  Split result;
  for (const ReassociationIndices &group : groups) {
    AxisSplit merged;
    int64_t before = 1;
    for (int64_t axis : group) {
      if (!split[axis].isWhole()) {
        if (!merged.isWhole() || before != 1)
          return std::nullopt;
        merged = split[axis];
      } else if (!merged.isWhole()) {
        merged.block *= shape[axis];
      }
      before *= shape[axis];
    }
    result.push_back(merged);
  }
  return result;
}

/// The split of the axes of \p shape that each axis is expanded into; none
/// where a part is not whole in all but one of them.
static std::optional<Split> expand(ArrayRef<AxisSplit> split,
                                   ArrayRef<int64_t> shape,
                                   ArrayRef<ReassociationIndices> groups) {
  Split result(shape.size());
  for (auto [axis, group] : llvm::zip_equal(split, groups)) {
    if (axis.isWhole())
      continue;
    int64_t inner = 1;
    for (int64_t i : group)
      inner *= shape[i];
    // The first axis with several elements is the one that moves slowest.
    for (int64_t i : group) {
      inner /= shape[i];
      if (shape[i] == 1)
        continue;
      if (axis.block % inner != 0)
        return std::nullopt;
      result[i] = {axis.loop, axis.block / inner};
      break;
    }
  }
  return result;
}

ArrayRef<int64_t> rwkvc::shapeOf(Value value) {
  return cast<RankedTensorType>(value.getType()).getShape();
}

std::optional<Split> rwkvc::carryOver(Operation *op, ArrayRef<AxisSplit> split,
                                      bool forward) {
  Value longer = op->getResult(0);
  SmallVector<ReassociationIndices> groups;
  bool collapses = false;
  if (auto reshape = dyn_cast<tensor::CollapseShapeOp>(op)) {
    groups = reshape.getReassociationIndices();
    longer = reshape.getSrc();
    collapses = true;
  } else {
    groups = cast<tensor::ExpandShapeOp>(op).getReassociationIndices();
  }
  return collapses == forward ? collapse(split, shapeOf(longer), groups)
                              : expand(split, shapeOf(longer), groups);
}

std::optional<Split> rwkvc::getLoopSplit(linalg::LinalgOp op, AffineMap map,
                                         ArrayRef<AxisSplit> split) {
  Split loops(op.getNumLoops());
  for (auto [expr, axis] : llvm::zip_equal(map.getResults(), split)) {
    if (axis.isWhole())
      continue;
    auto dim = dyn_cast<AffineDimExpr>(expr);
    if (!dim || !loops[dim.getPosition()].isWhole())
      return std::nullopt;
    loops[dim.getPosition()] = axis;
  }
  return loops;
}

std::optional<Split> rwkvc::getOperandSplit(AffineMap map,
                                            ArrayRef<AxisSplit> loops) {
  Split split;
  for (AffineExpr expr : map.getResults()) {
    if (auto dim = dyn_cast<AffineDimExpr>(expr)) {
      split.push_back(loops[dim.getPosition()]);
      continue;
    }
    for (auto [i, loop] : llvm::enumerate(loops))
      if (!loop.isWhole() && expr.isFunctionOfDim(i))
        return std::nullopt;
    split.emplace_back();
  }
  return split;
}
