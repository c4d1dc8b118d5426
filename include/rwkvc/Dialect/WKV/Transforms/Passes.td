//===- Passes.td - Passes of the wkv dialect ------------------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_DIALECT_WKV_TRANSFORMS_PASSES_TD
#define RWKVC_DIALECT_WKV_TRANSFORMS_PASSES_TD

include "mlir/Pass/PassBase.td"

def PairStates : Pass<"wkv-pair-states", "::mlir::ModuleOp"> {
  let summary = "Find which graph output is the next value of which input";
  let description = [{
    Sets the argument attribute `wkv.state` to the number of the result that is
    the state's next value, by name where the names tell (`x_in`/`x_out`,
    `x`/`new_x`, ...), otherwise by type and order, and marks the token input and
    the logits output. A state that enters a running maximum from an empty
    history gets `wkv.initial = -1e30`.

    ```mlir
    func.func @main(%t: tensor<1xi64> {onnx.name = "token"},
                    %s: tensor<64xf32> {onnx.name = "s_in"})
        -> (tensor<256xf32> {onnx.name = "out"}, tensor<64xf32> {onnx.name = "s_out"})
    // after: %s: tensor<64xf32> {onnx.name = "s_in", wkv.state = 1 : i64}
    ```
  }];
  let statistics = [Statistic<"numPaired", "paired", "State pairs found">];
}

def RaiseRecurrence : Pass<"wkv-raise-recurrence", "::mlir::ModuleOp"> {
  let summary = "Recognise the WKV recurrences by what they compute";
  let description = [{
    Every value that depends linearly on a state is written as a sum of products
    of factors with index lists; reshapes, transposes, broadcasts, casts and
    slices only change the lists. A sum that equals the law of `wkv.wkv6` or
    `wkv.wkv7`, with its output, becomes that op. Both sides are evaluated in
    float64 on random values before anything is replaced. v4's stabilised form
    is found by evaluating the elementwise region between its three states under
    each assignment of roles to the values that enter it.

    ```mlir
    %kv = onnx.MatMul(%k, %v)      // [H,N,1] x [H,1,N]
    %y  = onnx.MatMul(%r, %s + %u * %kv)
    %s1 = %s * %w + %kv
    // after
    %y, %s1 = wkv.wkv6 receptance(%r) key(%k) value(%v) decay(%w) bonus(%u) state(%s)
    ```

    What differs from every law is left as it is.
  }];
  let dependentDialects = ["::rwkvc::wkv::WKVDialect",
                           "::rwkvc::onnx::ONNXDialect"];
  let statistics = [
    Statistic<"numRecurrences", "recurrences", "Recurrences raised">,
    Statistic<"numRejected", "rejected", "Matches refused by evaluation">
  ];
}

def RaiseNorm : Pass<"wkv-raise-norm", "::mlir::ModuleOp"> {
  let summary = "Recognise normalisations by what they compute";
  let description = [{
    A region that maps one value to one of the same type through a reduction of
    its last axis is evaluated in float64. If it is layer norm or L2
    normalisation, with an epsilon read off the values, it becomes
    `wkv.layer_norm` or `wkv.l2_norm`.
  }];
  let dependentDialects = ["::rwkvc::wkv::WKVDialect",
                           "::rwkvc::onnx::ONNXDialect"];
  let statistics = [Statistic<"numNorms", "norms", "Norms raised">];
}

def RaiseDecay : Pass<"wkv-raise-decay", "::mlir::ModuleOp"> {
  let summary = "Recognise the law of each recurrence's decay";
  let description = [{
    Follows the decay operand of a recurrence through unary functions to its
    logit, samples that chain in float64 and replaces it by `wkv.decay` where the
    samples follow one of its laws.
  }];
  let dependentDialects = ["::rwkvc::wkv::WKVDialect",
                           "::rwkvc::onnx::ONNXDialect"];
  let statistics = [Statistic<"numDecays", "decays", "Decays raised">];
}

#endif // RWKVC_DIALECT_WKV_TRANSFORMS_PASSES_TD
