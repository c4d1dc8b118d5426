//===- RaiseSequenceOps.h - Shared by the raising of ONNX's ops -*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_LIB_DIALECT_WKV_TRANSFORMS_RAISESEQUENCEOPS_H
#define RWKVC_LIB_DIALECT_WKV_TRANSFORMS_RAISESEQUENCEOPS_H

#include "RaiseRecurrence.h"
#include "rwkvc/Dialect/ONNX/IR/ONNX.h"

namespace rwkvc::wkv {

mlir::RankedTensorType typeOf(mlir::Value value);

/// Rows \p start to \p end - 1 of an axis.
mlir::Value slice(mlir::ImplicitLocOpBuilder &b, mlir::Value value,
                  int64_t axis, int64_t start, int64_t end);
mlir::Value concat(mlir::ImplicitLocOpBuilder &b,
                   llvm::ArrayRef<mlir::Value> values, int64_t axis);
/// The product with numpy's broadcasting.
mlir::Value multiply(mlir::ImplicitLocOpBuilder &b, mlir::Value x,
                     mlir::Value y);
/// The sum, of the type of \p x.
mlir::Value add(mlir::ImplicitLocOpBuilder &b, mlir::Value x, mlir::Value y);
/// A constant of one number.
mlir::Value splat(mlir::ImplicitLocOpBuilder &b, llvm::ArrayRef<int64_t> shape,
                  mlir::Type element, double number);

/// Replaces \p op by a recurrence. Returns false, and changes nothing, where
/// its shapes are not known or not those of the operator.
bool raiseLinearAttention(onnx::LinearAttentionOp op);

} // namespace rwkvc::wkv

#endif // RWKVC_LIB_DIALECT_WKV_TRANSFORMS_RAISESEQUENCEOPS_H
