//===- ThreadShares.h - How threads share a linalg op -----------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_LIB_TARGET_GPU_THREADSHARES_H
#define RWKVC_LIB_TARGET_GPU_THREADSHARES_H

#include "Products.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

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
  /// How a product is computed instead, if it is large.
  std::optional<ProductTiles> tiles;

  /// Elements that \p numThreads have at once.
  int64_t elementsOf(int64_t numThreads) const { return numThreads / ways; }
  /// Workgroups of \p numThreads that compute all.
  int64_t groupsOf(int64_t numThreads) const {
    return tiles ? tiles->numTiles()
                 : llvm::divideCeil(numElements, elementsOf(numThreads));
  }
};

/// Elements between two that follow each other along \p loop in \p operand .
int64_t getStride(mlir::linalg::GenericOp op, mlir::OpOperand &operand,
                  unsigned loop);

/// Where \p operand of \p op has its element, in iteration \p ivs .
llvm::SmallVector<mlir::Value> getIndices(mlir::ImplicitLocOpBuilder &b,
                                          mlir::linalg::GenericOp op,
                                          mlir::OpOperand &operand,
                                          llvm::ArrayRef<mlir::Value> ivs);

/// How \p numThreads threads, a power of two, of each workgroup share \p op ;
/// several share a sum if that makes no more than \p maxThreads threads.
/// Products are left to \p units , if there are any.
Shares chooseShares(mlir::linalg::GenericOp op, int64_t numThreads,
                    int64_t maxThreads, const MatrixUnits *units);

/// The function that code is made for, and what its threads are.
struct Threads {
  mlir::gpu::GPUFuncOp func;
  int64_t count;     ///< of a workgroup
  mlir::Value index; ///< of this one
  /// Memory of the workgroup for one number of each thread.
  llvm::SmallVector<std::pair<mlir::Type, mlir::Value>> exchange;
  /// Memory of the workgroup for factors of products, one for each type.
  llvm::SmallVector<mlir::Value> factors;
};

/// Lets the threads compute \p op before it: what workgroup \p group has of it,
/// or all if that is null. Erases \p op.
void emitShares(mlir::linalg::GenericOp op, const Shares &shares,
                Threads &threads, mlir::Value group);

} // namespace rwkvc::gpu

#endif // RWKVC_LIB_TARGET_GPU_THREADSHARES_H
