//===- Loops.h - Iterations of loops ----------------------------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_SUPPORT_LOOPS_H
#define RWKVC_SUPPORT_LOOPS_H

#include "mlir/Dialect/SCF/IR/SCF.h"
#include <optional>

namespace rwkvc {

/// Iterations between constant bounds; none where one is not known.
std::optional<int64_t> countIterations(mlir::OpFoldResult from,
                                       mlir::OpFoldResult to,
                                       mlir::OpFoldResult step);

/// The same along each axis of \p loop.
std::optional<llvm::SmallVector<int64_t>>
countIterations(mlir::scf::ForallOp loop);

/// Scalar operations of \p op and the linalg ops in it, with a guess where
/// lengths or iterations are not known.
int64_t estimateWork(mlir::Operation *op);

} // namespace rwkvc

#endif // RWKVC_SUPPORT_LOOPS_H
