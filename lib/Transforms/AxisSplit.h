//===- AxisSplit.h - How loops split the axes of tensors --------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Private to the passes on parallel loops: which part of a tensor belongs to an
// iteration, followed through reshapes and linalg ops.
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_LIB_TRANSFORMS_AXISSPLIT_H
#define RWKVC_LIB_TRANSFORMS_AXISSPLIT_H

#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "llvm/ADT/SmallVector.h"
#include <optional>

namespace rwkvc {

/// How one axis is split: along which induction variable, and how many
/// elements belong to each of its values.
struct AxisSplit {
  static constexpr int kWhole = -1;
  int loop = kWhole;
  int64_t block = 1;

  bool isWhole() const { return loop == kWhole; }
  bool operator==(const AxisSplit &other) const {
    return loop == other.loop && (isWhole() || block == other.block);
  }
};

/// One entry per axis of a tensor, or per loop of a linalg op.
using Split = llvm::SmallVector<AxisSplit>;

/// The shape of \p value , a ranked tensor.
llvm::ArrayRef<int64_t> shapeOf(mlir::Value value);

/// The split of the other end of reshape \p op, given that of its source, with
/// \p forward, or of its result; none where a part would not be one range of an
/// axis.
std::optional<Split> carryOver(mlir::Operation *op,
                               llvm::ArrayRef<AxisSplit> split, bool forward);

/// The loops of \p op, given the split of the tensor that \p map indexes.
std::optional<Split> getLoopSplit(mlir::linalg::LinalgOp op,
                                  mlir::AffineMap map,
                                  llvm::ArrayRef<AxisSplit> split);

/// The split of the tensor that \p map indexes, given that of the loops.
std::optional<Split> getOperandSplit(mlir::AffineMap map,
                                     llvm::ArrayRef<AxisSplit> loops);

} // namespace rwkvc

#endif // RWKVC_LIB_TRANSFORMS_AXISSPLIT_H
