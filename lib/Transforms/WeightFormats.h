//===- WeightFormats.h - Matrices in fewer bits -----------------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Private to rwkvc-quantize-weights: what the elements of a matrix become.
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_LIB_TRANSFORMS_WEIGHTFORMATS_H
#define RWKVC_LIB_TRANSFORMS_WEIGHTFORMATS_H

#include "mlir/IR/BuiltinTypes.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/STLFunctionalExtras.h"

namespace rwkvc {

/// A matrix of K rows, which a product sums over, and N columns, in memory with
/// any strides.
struct MatrixView {
  llvm::ArrayRef<char> bytes;
  mlir::Type element; ///< f16, bf16, f32 or f64
  int64_t rows, columns;
  int64_t rowStride, columnStride; ///< in elements

  /// Writes row \p row to \p values, which has room for all columns.
  void readRow(int64_t row, llvm::MutableArrayRef<float> values) const;
  /// The largest magnitude; infinite where an element is no number.
  float findLargest() const;
};

/// Elements of a column, one below another, that share a scale.
inline constexpr int64_t kBlockRows = 32;

/// Writes \p matrix, row-major, in elements of 16 bits of type \p element.
void encode16(const MatrixView &matrix, mlir::Type element,
              llvm::MutableArrayRef<char> target);

/// Writes blocks of 32 rows as signed numbers of 8 bits, [K/32, 32, N], and
/// their scales, bf16 [K/32, N]: an element is number * scale.
void encode8(const MatrixView &matrix, llvm::MutableArrayRef<char> numbers,
             llvm::MutableArrayRef<char> scales);

/// The same with signed numbers of 4 bits, [K/32, 16, N]: byte j of a block has
/// row j in its low and row 16 + j in its high half.
void encode4(const MatrixView &matrix, llvm::MutableArrayRef<char> numbers,
             llvm::MutableArrayRef<char> scales);

} // namespace rwkvc

#endif // RWKVC_LIB_TRANSFORMS_WEIGHTFORMATS_H
