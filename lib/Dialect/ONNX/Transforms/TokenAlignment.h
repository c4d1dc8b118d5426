//===- TokenAlignment.h - One program per token, side by side ---*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A loop over tokens that an exporter unrolled computes one value per token and
// collects them. Here such values are walked backwards side by side, so that
// what is the same for every token becomes one op of a loop body.
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_LIB_DIALECT_ONNX_TRANSFORMS_TOKENALIGNMENT_H
#define RWKVC_LIB_DIALECT_ONNX_TRANSFORMS_TOKENALIGNMENT_H

#include "mlir/IR/Operation.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/SmallVector.h"
#include <optional>

namespace rwkvc::onnx {

/// A tensor that holds one value per token along an axis, nothing else.
struct TokenCollection {
  mlir::Value result;
  int64_t axis = 0;
  llvm::SmallVector<mlir::Value> pieces; ///< each of extent 1 along the axis
};

/// The collection that \p op completes: a Concat of pieces, or the last of a
/// chain of scatters that write one piece each. At least three pieces.
std::optional<TokenCollection> findCollection(mlir::Operation *op);

/// The index of \p axis at which a scatter of \p data with the given indices
/// writes everything, and nothing elsewhere; none if it writes otherwise.
std::optional<int64_t> getWrittenIndex(mlir::Operation *scatter,
                                       llvm::ArrayRef<int64_t> indices,
                                       int64_t axis);

/// The values that play the same part for every token.
struct AlignedValue {
  enum class Kind {
    Invariant, ///< the same value for all tokens
    Slice,     ///< token t of a tensor
    Shifted,   ///< token t-1 of a tensor, and another value before the first
    Carried,   ///< what the previous token computed
    Op         ///< results of one op per token
  };
  Kind kind = Kind::Op;
  /// By token; null where the graph does not compute it.
  llvm::SmallVector<mlir::Value> values;
  mlir::Value source;             ///< Slice, Shifted: the tensor
  int64_t axis = 0;               ///< Slice, Shifted: its axis of tokens
  std::optional<unsigned> update; ///< Carried: the value for the next token
  llvm::SmallVector<std::optional<unsigned>> operands; ///< Op; none: left out
  /// Op: the first token's value is computed otherwise; an exporter folded it.
  bool firstDiffers = false;

  mlir::Operation *getExample() const { return values[1].getDefiningOp(); }
};

/// Aligns the tokens of a collection within one block.
class TokenAlignment {
public:
  explicit TokenAlignment(int64_t numTokens) : numTokens(numTokens) {}

  /// Aligns \p pieces. Returns the number of their aligned value, or none where
  /// the tokens differ in more than the tensors that they read.
  std::optional<unsigned> align(llvm::ArrayRef<mlir::Value> pieces);

  llvm::ArrayRef<AlignedValue> getValues() const { return values; }
  /// Whether a token uses anything of the one before it.
  bool hasDependence() const;
  /// The last token's value of \p number, looked for in the graph where it does
  /// not follow from the pieces (a final state). Null where there is none.
  mlir::Value findLast(unsigned number);

private:
  int64_t getLevel(mlir::Value value);
  std::optional<unsigned> visit(llvm::SmallVector<mlir::Value> tuple);
  bool visitOperands(unsigned number);
  bool isPreviousUnary(llvm::ArrayRef<mlir::Value> tuple);

  int64_t numTokens;
  /// The latest token whose slice a value is computed from; -1: none, or what
  /// the first token is computed from already.
  llvm::DenseMap<mlir::Value, int64_t> levels;
  bool inFirstToken = false;
  llvm::SmallVector<AlignedValue, 0> values;
  llvm::DenseMap<mlir::Value, unsigned>
      numbers; ///< by the second token's value
  llvm::SmallVector<unsigned> pendingCarried;
  llvm::DenseMap<unsigned, mlir::Value> lasts;
};

} // namespace rwkvc::onnx

#endif // RWKVC_LIB_DIALECT_ONNX_TRANSFORMS_TOKENALIGNMENT_H
