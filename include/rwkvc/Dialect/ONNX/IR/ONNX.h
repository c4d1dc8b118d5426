//===- ONNX.h - The onnx dialect --------------------------------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_DIALECT_ONNX_IR_ONNX_H
#define RWKVC_DIALECT_ONNX_IR_ONNX_H

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include <optional>

#include "rwkvc/Dialect/ONNX/IR/ONNXOpsDialect.h.inc"

#define GET_OP_CLASSES
#include "rwkvc/Dialect/ONNX/IR/ONNXOps.h.inc"

namespace rwkvc::onnx {

/// Whether \p value stands for an operand that the ONNX node leaves out.
inline bool isNone(mlir::Value value) {
  return mlir::isa<mlir::NoneType>(value.getType());
}

/// The name of the ONNX node that \p op was imported from, or its op name.
llvm::StringRef getNodeName(mlir::Operation *op);

/// Whether \p op changes the shape alone: its result has the elements of its
/// first operand, in their order. Null does not.
bool isShapeView(mlir::Operation *op);
/// What \p value is such a view of, or itself.
mlir::Value skipShapeViews(mlir::Value value);

/// \p axis, which may count from the end, from the start; nothing where it is
/// out of range.
std::optional<int64_t> normalizeAxis(int64_t axis, int64_t rank);

/// The axis along which \p scan takes its scanned input \p number, states not
/// counted, of \p rank; nothing where it is out of range.
std::optional<int64_t> getInputAxis(ScanOp scan, size_t number, int64_t rank);
/// The same of a scanned output.
std::optional<int64_t> getOutputAxis(ScanOp scan, size_t number, int64_t rank);

/// Whether step 0 is at the end of this scanned input or output.
bool isInputReversed(ScanOp scan, size_t number);
bool isOutputReversed(ScanOp scan, size_t number);
/// Whether step 0 is at the start of all.
bool isForward(ScanOp scan);

/// One spatial axis of a convolution: element o of the result is a sum over k
/// of data[o * stride + k * dilation - before].
struct ConvAxis {
  int64_t kernel, before, after, stride, dilation, size;
};
/// The axes of \p op for data [N, C, ...] and weights [M, C / group, ...];
/// nothing where they and its attributes contradict each other.
std::optional<llvm::SmallVector<ConvAxis>>
getConvAxes(ConvOp op, llvm::ArrayRef<int64_t> data,
            llvm::ArrayRef<int64_t> weights);

/// The attribute that keeps an imported node's name.
inline constexpr llvm::StringLiteral kNodeNameAttr = "onnx_node_name";

} // namespace rwkvc::onnx

#endif // RWKVC_DIALECT_ONNX_IR_ONNX_H
