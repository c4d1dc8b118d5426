//===- Passes.td - Passes of the dnnl dialect -----------------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_DIALECT_DNNL_TRANSFORMS_PASSES_TD
#define RWKVC_DIALECT_DNNL_TRANSFORMS_PASSES_TD

include "mlir/Pass/PassBase.td"

def FuseEpilogues : Pass<"dnnl-fuse-epilogues"> {
  let summary = "Let oneDNN apply what follows a matrix product";
  let description = [{
    An elementwise `linalg.generic` that is the only user of a `dnnl.matmul`, perhaps
    behind reshapes, becomes the product's `post`, if its body is a chain of functions
    that the op has: ReLU, square, logistic, tanh, swish, and sum and product with a
    tensor of the same shape or with a row. The values then are finished while they are
    in a register.

    ```mlir
    %0 = dnnl.matmul ins(%x, %w) outs(%c)
    %1 = linalg.generic ins(%0) outs(%e) { arith.maximumf with 0, arith.mulf with itself }
    // after
    %1 = dnnl.matmul ins(%x, %w) outs(%c) post(relu, square)
    ```

    All of the body must fit: half an epilogue would not save a pass over memory. A
    product whose epilogue has other operands moves down to it. Products that others read as
    well, bodies that change the type, transposed operands and ones that are not f32 stay.
  }];
  let dependentDialects = ["::mlir::tensor::TensorDialect"];
  let statistics = [
    Statistic<"numFused", "num-fused", "Elementwise ops that became post-ops">
  ];
}

#endif // RWKVC_DIALECT_DNNL_TRANSFORMS_PASSES_TD
