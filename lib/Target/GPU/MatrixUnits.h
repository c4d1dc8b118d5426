//===- MatrixUnits.h - Products by matrix units -----------------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Units multiply a 16x8 matrix by an 8x16 one and add the 16x16 result to one
// of floats. A subgroup, 32 or 64 neighbouring threads, does that together:
// `gpu.subgroup_mma_*`. What else differs between units, MatrixUnits of
// DeviceInfo.h says.
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_LIB_TARGET_GPU_MATRIXUNITS_H
#define RWKVC_LIB_TARGET_GPU_MATRIXUNITS_H

#include "ProductEmitter.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace rwkvc::gpu {

/// Rows and columns of the result, and terms, of a unit.
inline constexpr int64_t kUnitSide = 16, kUnitTerms = 8;
/// Bits of a float's significand, with that which is not stored.
inline constexpr unsigned kFloatPrecision = 24;

/// Chooses tiles for \p units , if these can compute \p op , whose factors are
/// grouped.
bool chooseUnitTiles(mlir::linalg::GenericOp op, const Dependences &deps,
                     const MatrixUnits &units, int64_t numThreads,
                     ProductTiles &tiles);

/// As `emitTiles`, for tiles that have `units`.
void emitUnitTiles(mlir::linalg::GenericOp op, const ProductTiles &tiles,
                   Threads &threads, mlir::Value tile);

/// Lowers `gpu.subgroup_mma_*` in \p kernel , which is for \p units : to LLVM's
/// intrinsics if these \p areThere , or else to what imitates them.
mlir::LogicalResult lowerMatrixUnits(mlir::func::FuncOp kernel,
                                     const MatrixUnits &units, bool areThere);

} // namespace rwkvc::gpu

#endif // RWKVC_LIB_TARGET_GPU_MATRIXUNITS_H
