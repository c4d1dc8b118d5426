//===- Kernels.h - What becomes a function of its own -----------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_LIB_TRANSFORMS_KERNELS_H
#define RWKVC_LIB_TRANSFORMS_KERNELS_H

#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

namespace rwkvc {

/// Whether \p op, on buffers, is a kernel: a linalg op, or a parallel loop with
/// all that it computes.
inline bool isKernel(mlir::Operation *op) {
  if (auto loop = llvm::dyn_cast<mlir::scf::ForallOp>(op))
    return loop->getNumResults() == 0;
  auto linalg = llvm::dyn_cast<mlir::linalg::LinalgOp>(op);
  return linalg && linalg.hasPureBufferSemantics();
}

} // namespace rwkvc

#endif // RWKVC_LIB_TRANSFORMS_KERNELS_H
