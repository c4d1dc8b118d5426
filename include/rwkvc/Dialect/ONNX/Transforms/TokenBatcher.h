//===- TokenBatcher.h - One op for all tokens -------------------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Rebuilds ops that compute one token's values so that they compute those of
// all tokens, along a new leading axis.
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_DIALECT_ONNX_TRANSFORMS_TOKENBATCHER_H
#define RWKVC_DIALECT_ONNX_TRANSFORMS_TOKENBATCHER_H

#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "llvm/ADT/DenseMap.h"

namespace rwkvc::onnx {

class TokenBatcher {
public:
  TokenBatcher(mlir::ImplicitLocOpBuilder &builder, int64_t numTokens)
      : b(builder), numTokens(numTokens) {}

  /// Says that \p batched, of shape [T, shape of value...], holds \p value for
  /// every token.
  void set(mlir::Value value, mlir::Value batched) { values[value] = batched; }
  /// [T, shape of value...], or null where all tokens share \p value.
  mlir::Value lookup(mlir::Value value) const { return values.lookup(value); }
  /// [T, shape of value...] in any case.
  mlir::Value get(mlir::Value value);

  /// Rebuilds \p op, whose operands are known or shared by all tokens. Fails,
  /// without a diagnostic, for an op that has no form over several tokens.
  mlir::LogicalResult batch(mlir::Operation *op);

  /// Takes axis \p axis of \p value to the front, and back.
  mlir::Value moveToFront(mlir::Value value, int64_t axis);
  mlir::Value moveFromFront(mlir::Value value, int64_t axis);

  mlir::Value reshape(mlir::Value value, llvm::ArrayRef<int64_t> shape);
  int64_t getNumTokens() const { return numTokens; }

private:
  mlir::Value transpose(mlir::Value value, llvm::ArrayRef<int64_t> perm);
  mlir::Value alignRank(mlir::Value value, int64_t rank);
  mlir::Operation *rebuild(mlir::Operation *op, mlir::ValueRange operands);
  mlir::LogicalResult batchElementwise(mlir::Operation *op);
  mlir::LogicalResult batchMatMul(mlir::Operation *op);
  bool batchRows(mlir::Operation *op);
  mlir::LogicalResult batchAlongAxis(mlir::Operation *op);

  mlir::ImplicitLocOpBuilder &b;
  int64_t numTokens;
  llvm::DenseMap<mlir::Value, mlir::Value> values;
};

} // namespace rwkvc::onnx

#endif // RWKVC_DIALECT_ONNX_TRANSFORMS_TOKENBATCHER_H
