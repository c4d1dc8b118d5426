//===- ThreadShares.h - How threads share a linalg op -----------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_LIB_TARGET_GPU_THREADSHARES_H
#define RWKVC_LIB_TARGET_GPU_THREADSHARES_H

#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"

namespace rwkvc::gpu {

/// How the threads of a workgroup share a linalg op. An element of the parallel
/// loops is one thread's, or `ways` threads' of which each has a part of the
/// sum.
struct Shares {
  llvm::SmallVector<int64_t> ranges;
  /// Outermost first; neighbouring threads have neighbours of the last.
  llvm::SmallVector<unsigned> parallel, reductions;
  int64_t numElements = 1; ///< iterations of the parallel loops
  int64_t ways = 1;        ///< a power of two
  unsigned split = 0;      ///< the reduction that `ways` threads divide
  /// Whether neighbouring threads have parts of one sum, and not neighbouring
  /// elements.
  bool areNeighboursOfSum = false;
  /// How each output is combined with a new value, if `ways` is not 1.
  llvm::SmallVector<mlir::Operation *> combiners;

  /// Elements that \p numThreads have at once.
  int64_t elementsOf(int64_t numThreads) const { return numThreads / ways; }
};

/// How \p numThreads threads, a power of two, of each workgroup share \p op ;
/// several share a sum if that makes no more than \p maxThreads threads.
Shares chooseShares(mlir::linalg::GenericOp op, int64_t numThreads,
                    int64_t maxThreads);

/// The function that code is made for, and what its threads are.
struct Threads {
  mlir::gpu::GPUFuncOp func;
  int64_t count;     ///< of a workgroup
  mlir::Value index; ///< of this one
  /// Memory of the workgroup for one number of each thread.
  llvm::SmallVector<std::pair<mlir::Type, mlir::Value>> exchange;
};

/// Lets the threads compute \p op before it: the elements from \p first on that
/// they have at once, or all if \p first is null. Erases \p op.
void emitShares(mlir::linalg::GenericOp op, const Shares &shares,
                Threads &threads, mlir::Value first);

} // namespace rwkvc::gpu

#endif // RWKVC_LIB_TARGET_GPU_THREADSHARES_H
