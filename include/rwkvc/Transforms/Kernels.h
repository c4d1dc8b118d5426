//===- Kernels.h - What becomes a function of its own -----------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_TRANSFORMS_KERNELS_H
#define RWKVC_TRANSFORMS_KERNELS_H

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

/// Moves \p op , or what is in it if it is a region of kernels, before \p end.
inline void moveKernelsBefore(mlir::Operation *op, mlir::Operation *end) {
  auto region = llvm::dyn_cast<mlir::scf::ExecuteRegionOp>(op);
  if (!region)
    return op->moveBefore(end);
  mlir::Block &block = region.getRegion().front();
  end->getBlock()->getOperations().splice(end->getIterator(),
                                          block.getOperations(), block.begin(),
                                          std::prev(block.end()));
  region.erase();
}

} // namespace rwkvc

#endif // RWKVC_TRANSFORMS_KERNELS_H
