//===- WeightUses.h - What reads a constant matrix --------------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Private to the passes on weights: products with a matrix and reads of rows of
// a table, and how they change when numbers take the place of its elements.
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_LIB_TRANSFORMS_WEIGHTUSES_H
#define RWKVC_LIB_TRANSFORMS_WEIGHTUSES_H

#include "WeightFormats.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

namespace rwkvc {

/// A product with a matrix, which is one of its two inputs.
struct Product {
  mlir::linalg::LinalgOp op;
  unsigned matrix;      ///< number of the operand
  unsigned sum, column; ///< loops over its rows and its columns

  mlir::Value getMatrix() const { return op->getOperand(matrix); }
  mlir::Value getOther() const { return op->getOperand(1 - matrix); }
  /// The axes of the matrix that are summed over, and that the result has.
  unsigned getSumAxis() const;
  unsigned getColumnAxis() const;
};

/// \p op as a product with its input \p matrix , summed in f32.
std::optional<Product> matchProduct(mlir::linalg::LinalgOp op, unsigned matrix);

/// The operand by which \p op , a tensor.extract or tensor.extract_slice, reads
/// a row of a table, or an element of it, that the data chooses; null if it
/// does not.
mlir::OpOperand *matchTableRead(mlir::Operation *op);

/// A constant and where in it the part of a matrix's element lies: \p map leads
/// there from (block, row of the block, column).
struct EncodedPart {
  mlir::ElementsAttr value;
  mlir::AffineMap map;
};

/// A matrix as numbers, of 16 bits in floating point or, with scales, of 8 or 4
/// bits in blocks of rows. Zero points may be absent.
struct EncodedMatrix {
  int64_t blockRows = 1; ///< without scales 1: a row is a block
  bool isUnsigned = false;
  bool hasNibbles = false; ///< byte j has rows j and blockRows / 2 + j
  EncodedPart numbers, scales, zeros;
};

/// Makes \p product read \p matrix .
void rewriteProduct(const Product &product, const EncodedMatrix &matrix);

/// Makes \p read , one that matchTableRead matches, read \p table , whose
/// columns are the table's rows; not of nibbles.
void rewriteTableRead(mlir::Operation *read, const EncodedMatrix &table);

} // namespace rwkvc

#endif // RWKVC_LIB_TRANSFORMS_WEIGHTUSES_H
