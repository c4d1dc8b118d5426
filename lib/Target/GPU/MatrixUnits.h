//===- MatrixUnits.h - Products by matrix units -----------------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Units multiply a 16x8 matrix of TF32 numbers, floats with 11 bits of
// precision, by an 8x16 matrix, and add the 16x16 result to one of floats. A
// warp, 32 neighbouring threads, does that together: `gpu.subgroup_mma_*`.
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_LIB_TARGET_GPU_MATRIXUNITS_H
#define RWKVC_LIB_TARGET_GPU_MATRIXUNITS_H

#include "ProductEmitter.h"

namespace rwkvc::gpu {

inline constexpr int64_t kWarpSize = 32;
/// Rows and columns of the result, and terms, of a unit.
inline constexpr int64_t kUnitSide = 16, kUnitTerms = 8;

/// Chooses tiles for matrix units, if these can compute \p op , whose factors
/// are grouped.
bool chooseUnitTiles(mlir::linalg::GenericOp op, const Dependences &deps,
                     int64_t numThreads, ProductTiles &tiles);

/// As `emitTiles`, for tiles that have `units`.
void emitUnitTiles(mlir::linalg::GenericOp op, const ProductTiles &tiles,
                   Threads &threads, mlir::Value tile);

/// Lowers `gpu.subgroup_mma_*` in \p kernel : to LLVM's nvvm.wmma if the units
/// \p areThere , or else to loops.
mlir::LogicalResult lowerMatrixUnits(mlir::Operation *kernel, bool areThere);

} // namespace rwkvc::gpu

#endif // RWKVC_LIB_TARGET_GPU_MATRIXUNITS_H
