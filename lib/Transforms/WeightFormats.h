//===- WeightFormats.h - Matrices in fewer bits -----------------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Private to the passes on weights: what the elements of a matrix become.
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_LIB_TRANSFORMS_WEIGHTFORMATS_H
#define RWKVC_LIB_TRANSFORMS_WEIGHTFORMATS_H

#include "mlir/IR/BuiltinTypes.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include <optional>

namespace rwkvc {

enum class WeightFormat { BF16, F16, Int8, Int4, UInt8, UInt4 };

/// Its name on the command line.
llvm::StringRef stringifyWeightFormat(WeightFormat format);
std::optional<WeightFormat> symbolizeWeightFormat(llvm::StringRef name);

/// Whether blocks of elements share a scale.
bool hasBlocks(WeightFormat format);
/// Whether they share a zero point too, and numbers have no sign.
bool hasZeros(WeightFormat format);
/// Whether two numbers share a byte.
bool hasNibbles(WeightFormat format);

/// A matrix of K rows, which a product sums over, and N columns, in memory with
/// any strides. Of a table, a row is a column: its elements follow one another.
struct MatrixView {
  llvm::ArrayRef<char> bytes;
  mlir::Type element; ///< f16, bf16, f32 or f64
  int64_t rows, columns;
  int64_t rowStride, columnStride; ///< in elements
};

/// The largest magnitude of elements of such a type; infinite where one is no
/// number.
float findLargest(llvm::ArrayRef<char> bytes, mlir::Type element);

/// Elements of a column, one below another, that share a scale.
inline constexpr int64_t kBlockRows = 32;

/// The order of what is written: for kernels that compute many columns at once,
/// or for reading single columns, which are rows of a table.
enum class Layout { ColumnsLast, ColumnsFirst };

/// Writes \p matrix in elements of 16 bits of type \p element , [K, N] or, with
/// columns first, [N, K].
void encode16(const MatrixView &matrix, mlir::Type element, Layout layout,
              llvm::MutableArrayRef<char> target);

/// Writes blocks of 32 rows as numbers of 8 bits, [K/32, 32, N] or [N, K/32,
/// 32], and their scales, bf16 [K/32, N] or [N, K/32]: an element is number *
/// scale. With zero points, numbers have no sign and an element is (number -
/// zero) * scale.
///
/// Numbers of 4 bits are [K/32, 16, N] or [N, K/32, 16]: byte j of a block has
/// row j in its low and row 16 + j in its high half. Their zero points have a
/// sign, as all elements of a block may lie on one side of 0.
///
/// What has no room is not computed.
void encodeBlocks(const MatrixView &matrix, WeightFormat format, Layout layout,
                  llvm::MutableArrayRef<char> numbers,
                  llvm::MutableArrayRef<char> scales,
                  llvm::MutableArrayRef<char> zeros);

/// Sums of squares of elements and of what a format changes of them.
struct WeightError {
  double squares = 0.0, errors = 0.0;

  void operator+=(const WeightError &other) {
    squares += other.squares;
    errors += other.errors;
  }
  /// The length of the difference by that of the matrix, as vectors.
  double relative() const;
};

WeightError measureError(const MatrixView &matrix, WeightFormat format);

} // namespace rwkvc

#endif // RWKVC_LIB_TRANSFORMS_WEIGHTFORMATS_H
