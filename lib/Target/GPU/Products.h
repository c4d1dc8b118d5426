//===- Products.h - Tiles of products for a workgroup -----------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_LIB_TARGET_GPU_PRODUCTS_H
#define RWKVC_LIB_TARGET_GPU_PRODUCTS_H

#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "rwkvc/Target/DeviceInfo.h"
#include <array>
#include <optional>

namespace rwkvc::gpu {

struct Threads;

/// One of the two sides of a product: each input depends on the parallel loops
/// of one side at most.
struct ProductSide {
  llvm::SmallVector<unsigned> loops; ///< outermost first
  int64_t size = 1;                  ///< iterations of them
  int64_t ofThread = 1;              ///< neighbours that a thread computes
  int64_t threads = 1;               ///< of a workgroup along this side
  /// Inputs from which this side's values are computed.
  llvm::SmallVector<mlir::OpOperand *> inputs;
  /// Values of the body that depend on this side alone and are used with what
  /// depends on the other: the factors.
  llvm::SmallVector<mlir::Value> factors;
  /// Whether memory has terms of the sum side by side, and not elements.
  bool areTermsNeighbours = false;

  /// Elements of a workgroup's tile.
  int64_t inTile() const { return ofThread * threads; }
  int64_t numTiles() const { return llvm::divideCeil(size, inTile()); }
};

/// How the subgroups of a workgroup share a tile that matrix units compute.
struct UnitTiles {
  const MatrixUnits *units;
  int64_t rows, columns; ///< of a subgroup, in small matrices of the units
  int64_t ways;          ///< subgroups of a sum, which have terms of their own
};

/// A sum of products, whose output's elements are computed tile by tile: each
/// thread has some rows and some columns, and multiplies all with all.
struct ProductTiles {
  ProductSide rows, columns;
  llvm::SmallVector<unsigned> reductions;
  int64_t numTerms = 1; ///< of a sum
  int64_t atOnce = 1;   ///< terms that a workgroup keeps in shared memory
  /// Not threads, but matrix units multiply; a side's elements are then all of
  /// one thread.
  std::optional<UnitTiles> units;

  int64_t numTiles() const { return rows.numTiles() * columns.numTiles(); }
};

/// Threads of a workgroup that should compute tiles of \p op ; 0 if it is no
/// product, or too small to leave \p wantedThreads some elements each.
int64_t countProductThreads(mlir::linalg::GenericOp op, int64_t wantedThreads,
                            const MatrixUnits *units);

/// The tiles of \p op for workgroups of \p numThreads , if it is such a
/// product; for \p units , if there are any and they can. Groups the factors in
/// the op's body.
std::optional<ProductTiles> chooseTiles(mlir::linalg::GenericOp op,
                                        int64_t numThreads,
                                        int64_t wantedThreads,
                                        const MatrixUnits *units);

/// Chooses how many terms are in shared memory at once, where one takes
/// \p numbers of at most \p maxNumbers . Returns whether all threads then fetch
/// some.
bool chooseTerms(ProductTiles &tiles, int64_t numbers, int64_t maxNumbers,
                 int64_t numThreads);

/// Lets the threads compute tile \p tile of \p op , or all tiles if that is
/// null, before the op.
void emitTiles(mlir::linalg::GenericOp op, const ProductTiles &tiles,
               Threads &threads, mlir::Value tile);

} // namespace rwkvc::gpu

#endif // RWKVC_LIB_TARGET_GPU_PRODUCTS_H
