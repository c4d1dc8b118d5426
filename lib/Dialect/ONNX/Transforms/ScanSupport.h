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

/// Those of \p value from \p start along \p axis, \p size of them.
mlir::Value createSlice(mlir::ImplicitLocOpBuilder &b, mlir::Value value,
                        int64_t axis, int64_t start, int64_t size);

/// \p value backwards along \p axis.
mlir::Value createReverse(mlir::ImplicitLocOpBuilder &b, mlir::Value value,
                          int64_t axis);

/// \p values, static, one after the other along \p axis; one stays itself.
mlir::Value createConcat(mlir::ImplicitLocOpBuilder &b, mlir::ValueRange values,
                         int64_t axis);

/// \p type with \p size along \p axis, or without the axis.
mlir::RankedTensorType resize(mlir::RankedTensorType type, int64_t axis,
                              std::optional<int64_t> size);

/// The number d of a \p value in the body of \p loop that is i + d in step i.
std::optional<int64_t> getStepOffset(LoopOp loop, mlir::Value value);

/// A state of a loop that each step adds to along one axis.
struct LoopGrowth {
  int64_t axis = 0, extent = 0; ///< extent: what a step adds along the axis
  bool atFront = false;         ///< a step adds before what is there
  llvm::SmallVector<mlir::Value> pieces;        ///< what a step adds, in order
  llvm::SmallVector<mlir::Operation *> concats; ///< that do nothing else
};

/// How state \p number of \p loop grows, if nothing else in the body reads it.
std::optional<LoopGrowth> getGrowth(LoopOp loop, unsigned number);

} // namespace rwkvc::onnx

#endif // RWKVC_LIB_DIALECT_ONNX_TRANSFORMS_SCANSUPPORT_H
