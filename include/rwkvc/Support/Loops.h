//===- Loops.h - Iterations of loops ----------------------------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_SUPPORT_LOOPS_H
#define RWKVC_SUPPORT_LOOPS_H

#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/PatternMatch.h"
#include <optional>

namespace rwkvc {

/// Iterations between constant bounds; none where one is not known.
std::optional<int64_t> countIterations(mlir::OpFoldResult from,
                                       mlir::OpFoldResult to,
                                       mlir::OpFoldResult step);

/// The same along each axis of \p loop.
std::optional<llvm::SmallVector<int64_t>>
countIterations(mlir::scf::ForallOp loop);

/// Replaces \p loop, whose bounds are constant, by its iteration \p number, at
/// the insertion point. The last axis runs fastest.
void inlineIteration(mlir::RewriterBase &rewriter, mlir::scf::ForallOp loop,
                     mlir::Value number);

/// The op that adds a new value to each output of \p op, where that is all that
/// its body does with the output and there is a neutral element; none where an
/// output has no such op.
std::optional<llvm::SmallVector<mlir::Operation *>>
findCombiners(mlir::linalg::GenericOp op);

/// Scalar operations of \p op and the linalg ops in it, with a guess where
/// lengths or iterations are not known.
int64_t estimateWork(mlir::Operation *op);

} // namespace rwkvc

#endif // RWKVC_SUPPORT_LOOPS_H
