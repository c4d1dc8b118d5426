//===- StepBuilder.h - Tokens of a recurrence as linalg ---------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_LIB_DIALECT_WKV_IR_STEPBUILDER_H
#define RWKVC_LIB_DIALECT_WKV_IR_STEPBUILDER_H

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace rwkvc::wkv {

inline llvm::ArrayRef<int64_t> shapeOf(mlir::Value value) {
  return mlir::cast<mlir::RankedTensorType>(value.getType()).getShape();
}

/// Builds the linalg ops of one or more tokens; all arithmetic is in the type
/// of the state.
class StepBuilder {
public:
  using Body = llvm::function_ref<llvm::SmallVector<mlir::Value>(
      mlir::ImplicitLocOpBuilder &, mlir::ValueRange)>;
  using Dims = llvm::SmallVector<unsigned>;

  StepBuilder(mlir::OpBuilder &builder, mlir::Location loc, mlir::Value state)
      : builder(builder), loc(loc),
        element(mlir::cast<mlir::RankedTensorType>(state.getType())
                    .getElementType()) {}

  /// Row \p token of a [B, T, ...] tensor, without the T axis; row 0 where T is
  /// 1, since all tokens then share it.
  mlir::Value row(mlir::Value tensor, mlir::OpFoldResult token);
  /// \p count rows of a [B, T, ...] tensor from \p first on.
  mlir::Value rows(mlir::Value tensor, mlir::OpFoldResult first, int64_t count);
  /// Writes \p row, without its T axis, as row \p token of \p into.
  mlir::Value insertRow(mlir::Value row, mlir::Value into,
                        mlir::OpFoldResult token);
  /// Writes \p rows over those of \p into from \p first on.
  mlir::Value insertRows(mlir::Value rows, mlir::Value into,
                         mlir::OpFoldResult first);

  /// A generic over \p numDims loops, those in \p reduced being reductions. The
  /// loops of each operand and of \p inits are \p maps, the inits' last. The
  /// body sees every operand in the state's type, the inits last. An init may
  /// have the loops of a reduction: it is then updated in each of its steps.
  llvm::SmallVector<mlir::Value>
  generic(mlir::ValueRange inputs, mlir::ValueRange inits,
          llvm::ArrayRef<Dims> maps, unsigned numDims,
          llvm::ArrayRef<unsigned> reduced, Body body);

  mlir::Value empty(llvm::ArrayRef<int64_t> shape);
  mlir::Value filled(llvm::ArrayRef<int64_t> shape, double value);
  mlir::Value zeros(llvm::ArrayRef<int64_t> shape) { return filled(shape, 0); }
  mlir::Value constant(double value);
  mlir::Value index(int64_t value);

  mlir::OpBuilder &builder;
  mlir::Location loc;
  mlir::Type element;
};

inline mlir::Value add(mlir::ImplicitLocOpBuilder &b, mlir::Value x,
                       mlir::Value y) {
  return mlir::arith::AddFOp::create(b, x, y);
}
inline mlir::Value sub(mlir::ImplicitLocOpBuilder &b, mlir::Value x,
                       mlir::Value y) {
  return mlir::arith::SubFOp::create(b, x, y);
}
inline mlir::Value mul(mlir::ImplicitLocOpBuilder &b, mlir::Value x,
                       mlir::Value y) {
  return mlir::arith::MulFOp::create(b, x, y);
}
inline mlir::Value exp(mlir::ImplicitLocOpBuilder &b, mlir::Value x) {
  return mlir::math::ExpOp::create(b, x);
}
inline mlir::Value maximum(mlir::ImplicitLocOpBuilder &b, mlir::Value x,
                           mlir::Value y) {
  return mlir::arith::MaximumFOp::create(b, x, y);
}

} // namespace rwkvc::wkv

#endif // RWKVC_LIB_DIALECT_WKV_IR_STEPBUILDER_H
