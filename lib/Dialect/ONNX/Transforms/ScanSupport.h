//===- ScanSupport.h - Shared by the passes on loops over tokens *- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_LIB_DIALECT_ONNX_TRANSFORMS_SCANSUPPORT_H
#define RWKVC_LIB_DIALECT_ONNX_TRANSFORMS_SCANSUPPORT_H

#include "EvaluatorSupport.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace rwkvc::onnx {

/// The type of \p value if its shape is static, else null.
mlir::RankedTensorType getStaticType(mlir::Value value);

/// The integers of a constant.
std::optional<evaluation::Shape> getConstantIntegers(mlir::Value value);

/// A constant [number of values] of int64.
mlir::Value createIntegers(mlir::ImplicitLocOpBuilder &b,
                           llvm::ArrayRef<int64_t> values);

/// \p value, static, with \p shape; itself where it has it.
mlir::Value createReshape(mlir::ImplicitLocOpBuilder &b, mlir::Value value,
                          llvm::ArrayRef<int64_t> shape);

/// The first \p size of \p value along \p axis.
mlir::Value createPrefix(mlir::ImplicitLocOpBuilder &b, mlir::Value value,
                         int64_t axis, int64_t size);

/// \p type with \p size along \p axis, or without the axis.
mlir::RankedTensorType resize(mlir::RankedTensorType type, int64_t axis,
                              std::optional<int64_t> size);

} // namespace rwkvc::onnx

#endif // RWKVC_LIB_DIALECT_ONNX_TRANSFORMS_SCANSUPPORT_H
