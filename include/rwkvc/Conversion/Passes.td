//===- Passes.td - Conversions between dialects ---------------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_CONVERSION_PASSES_TD
#define RWKVC_CONVERSION_PASSES_TD

include "mlir/Pass/PassBase.td"

def ConvertLinalgToDnnlPass : Pass<"convert-linalg-to-dnnl"> {
  let summary = "Hand large matrix products to oneDNN";
  let description = [{
    A linalg op on tensors that is a matrix product, by its maps and body and not
    by its name, becomes `dnnl.matmul` if it is large enough: at least `min-rows`
    rows and columns in the result, and `min-flops` floating-point operations.
    Matrix-vector products always stay: they read each weight once, and
    generated code does that as fast as memory allows.

    Taken: f32, bf16 or f16 operands of one type, a result of that type or f32
    (then with arith.extf of both operands), static shapes, any number of
    leading batch dimensions up to a total rank of 6, either operand transposed,
    operands in either order. Everything else is left as it is.

    A destination that is filled with zeros is overwritten; any other is
    accumulated into. A right operand that is a constant, or a view of one, is
    marked `constant_b`, unless `pack-constants` is off: oneDNN then keeps a
    rearranged copy of it, as large as the constant.

    ```mlir
    %zero = arith.constant 0.0 : f32
    %init = linalg.fill ins(%zero : f32) outs(%out : tensor<512x1024xf32>)
    %r = linalg.matmul ins(%x, %w : tensor<512x1024xf32>, tensor<1024x1024xf32>)
                       outs(%init : tensor<512x1024xf32>) -> tensor<512x1024xf32>
    // after
    %r = dnnl.matmul ins(%x, %w : tensor<512x1024xf32>, tensor<1024x1024xf32>)
                     outs(%out : tensor<512x1024xf32>) -> tensor<512x1024xf32>
    ```

    Run it late, before bufferization, when fusion has taken what it wants.
  }];
  let dependentDialects = [
    "::rwkvc::dnnl::DnnlDialect", "::mlir::tensor::TensorDialect"
  ];
  let options = [
    Option<"minFlops", "min-flops", "int64_t", "1048576",
           "Smallest work, 2 M N K times batches, that is handed over">,
    Option<"minRows", "min-rows", "int64_t", "4",
           "Fewest rows and columns of the result; at least 2">,
    Option<"packConstants", "pack-constants", "bool", "true",
           "Let oneDNN keep a rearranged copy of constant right operands">
  ];
  let statistics = [
    Statistic<"numConverted", "num-converted", "Products handed to oneDNN">,
    Statistic<"numSmall", "num-small", "Products left because they are small">
  ];
}

def ConvertDnnlToRuntimePass
    : Pass<"convert-dnnl-to-runtime", "::mlir::ModuleOp"> {
  let summary = "Turn dnnl ops on memrefs into calls of librwkvc-rt-dnnl";
  let description = [{
    Each `dnnl.matmul` becomes a call of `rwkvrt_dnnl_matmul`
    (rwkvc-rt/dnnl.h) with a slot, in which the runtime keeps the primitive and
    the rearranged constant operand of this call site, a constant description of
    the three matrices and the functions applied to the result, and five
    pointers: the matrices and the operands of such functions, null where there
    are fewer. A destructor of the module releases the slots when the model is
    unloaded.

    The status is not looked at, for a call deep in a loop nest cannot return:
    the runtime records the thread's first failure. Who writes the model's entry
    function ends it with `rwkvrt_dnnl_take_status`.

    Shapes must be static. An operand whose strides are not static, or that is
    not contiguous in one of its last two dimensions, is copied around the call, and so
    is an operand of a function that is not dense;
    so run this after buffer deallocation or memory planning.

    ```mlir
    dnnl.matmul constant_b ins(%x, %w : memref<8x4xf32>, memref<4x6xf32>)
                outs(%c : memref<8x6xf32>)
    // after
    %slot = llvm.mlir.addressof @rwkvrt_dnnl_slot_0 : !llvm.ptr
    %desc = llvm.mlir.addressof @rwkvrt_dnnl_desc_0 : !llvm.ptr
    ... // pointers of %x, %w, %c
    func.call @rwkvrt_dnnl_matmul(%slot, %desc, %px, %pw, %pc, %null, %null)
        : (!llvm.ptr, !llvm.ptr, !llvm.ptr, !llvm.ptr, !llvm.ptr, !llvm.ptr,
           !llvm.ptr) -> i32
    ```
  }];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::func::FuncDialect",
    "::mlir::LLVM::LLVMDialect", "::mlir::memref::MemRefDialect"
  ];
  let statistics = [
    Statistic<"numCalls", "num-calls", "Calls written">,
    Statistic<"numCopies", "num-copies", "Operands copied for their strides">
  ];
}

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
  let options = [Option<"keepRecurrences", "keep-recurrences", "bool",
                        /*default=*/"false",
                        "Leave recurrences for passes that split them">];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::linalg::LinalgDialect",
    "::mlir::math::MathDialect", "::mlir::scf::SCFDialect",
    "::mlir::tensor::TensorDialect"
  ];
}

#endif // RWKVC_CONVERSION_PASSES_TD
