//===- SumOfProducts.h - Tensors as sums of indexed products ----*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The normal form in which recurrences are recognised. A value is written as
//
//   value[d...] = sum over terms of  coefficient * sum over s... of product of
//                 atom[offset + sum of stride * index]
//
// where an atom is a tensor the analysis does not look into, addressed by its
// row-major element number. Every dimension of the value is a list of digits,
// an index split by size, so that reshapes and transposes only move digits.
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_DIALECT_WKV_TRANSFORMS_SUMOFPRODUCTS_H
#define RWKVC_DIALECT_WKV_TRANSFORMS_SUMOFPRODUCTS_H

#include "mlir/IR/Value.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/DenseSet.h"
#include "llvm/ADT/SmallVector.h"
#include <map>
#include <optional>

namespace rwkvc::wkv {

/// The digit that counts the tokens of the Scan in whose body a value is. It
/// belongs to no dimension there; outside it is a digit like any other.
inline constexpr unsigned kTokenDigit = 1u << 30;

/// The stride of a factor that is a body's value, chosen by token.
inline constexpr int64_t kTokenStride = int64_t(1) << 40;

/// One tensor element chosen by the digits of a term.
struct Factor {
  mlir::Value atom;
  int64_t offset = 0;
  std::map<unsigned, int64_t> strides; ///< digit -> stride in atom, not 0
};

struct Term {
  double coefficient = 1.0;
  llvm::SmallVector<Factor, 4> factors;
  llvm::SmallVector<unsigned, 2> sums; ///< digits that are summed over
};

/// A value in normal form. Digits are local to it.
struct SumOfProducts {
  llvm::SmallVector<llvm::SmallVector<unsigned, 2>, 4> dims;
  llvm::SmallVector<Term, 4> terms;
  llvm::DenseMap<unsigned, int64_t> sizes; ///< digit -> number of values

  /// Splits \p digit in two, the low one of \p lowSize, in place.
  void split(unsigned digit, int64_t lowSize);
  /// All digits of the value's own dimensions, outermost first.
  llvm::SmallVector<unsigned> outputDigits() const;
};

/// Computes normal forms of onnx values on demand. What goes into a Scan by
/// token is seen as the tensor outside, with kTokenDigit for its axis; what it
/// collects is seen as the body's value, for each token.
class SumOfProductsAnalysis {
public:
  /// Values of \p roots are atoms; a sum is opened only where it depends on
  /// one.
  explicit SumOfProductsAnalysis(llvm::ArrayRef<mlir::Value> roots);

  /// The normal form of \p value: in the worst case an atom. None where the
  /// value is no float tensor of static shape.
  const std::optional<SumOfProducts> &get(mlir::Value value);

  /// Whether the normal form of \p value has a root among its factors.
  bool isLive(mlir::Value value);

  /// Index of the first root factor in \p term, or none.
  std::optional<unsigned> findRoot(const Term &term) const;

private:
  std::optional<SumOfProducts> compute(mlir::Value value);
  std::optional<SumOfProducts> computeScanInput(mlir::BlockArgument argument);
  std::optional<SumOfProducts> computeScanOutput(mlir::OpResult result);
  SumOfProducts atom(mlir::Value value);

  llvm::DenseSet<mlir::Value> roots;
  llvm::DenseMap<mlir::Value, std::optional<SumOfProducts>> forms;
};

} // namespace rwkvc::wkv

#endif // RWKVC_DIALECT_WKV_TRANSFORMS_SUMOFPRODUCTS_H
