//===- Passes.td - Conversions between dialects ---------------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_CONVERSION_PASSES_TD
#define RWKVC_CONVERSION_PASSES_TD

include "mlir/Pass/PassBase.td"

def ConvertONNXToLinalgPass
    : Pass<"convert-onnx-to-linalg", "::mlir::ModuleOp"> {
  let summary = "Lower the onnx dialect to linalg on tensors";
  let description = [{
    Every op of the onnx dialect becomes linalg, tensor, arith, math and scf.
    Unsigned element types become signless, in signatures as well; operands that
    say a shape, axes or bounds must be constants. Shapes must be static.

    Each node that cannot be lowered is reported with the reason; ops of other
    dialects are left alone.

    ```mlir
    %c = onnx.Add %a, %b : (tensor<4x8xf32>, tensor<8xf32>) -> tensor<4x8xf32>
    // after: a linalg.generic with the maps (i, j) -> (i, j) and (i, j) -> (j)
    ```
  }];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::bufferization::BufferizationDialect",
    "::mlir::linalg::LinalgDialect", "::mlir::math::MathDialect",
    "::mlir::scf::SCFDialect", "::mlir::tensor::TensorDialect"
  ];
}

def ConvertWKVToLinalgPass : Pass<"convert-wkv-to-linalg", "::mlir::ModuleOp"> {
  let summary = "Lower the wkv dialect to linalg on tensors";
  let description = [{
    A recurrence becomes its steps: one, or a loop over the tokens; the other ops
    become elementwise and reducing linalg ops.
  }];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::linalg::LinalgDialect",
    "::mlir::math::MathDialect", "::mlir::scf::SCFDialect",
    "::mlir::tensor::TensorDialect"
  ];
}

#endif // RWKVC_CONVERSION_PASSES_TD
