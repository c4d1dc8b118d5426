//===- Passes.td - Conversions between dialects ---------------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_CONVERSION_PASSES_TD
#define RWKVC_CONVERSION_PASSES_TD

include "mlir/Pass/PassBase.td"

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
