//===- FormPasses.td - Passes that derive step and prefill ----------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_DIALECT_WKV_TRANSFORMS_FORMPASSES_TD
#define RWKVC_DIALECT_WKV_TRANSFORMS_FORMPASSES_TD

include "mlir/Pass/PassBase.td"

def ExplainStates : Pass<"wkv-explain-states", "::mlir::ModuleOp"> {
  let summary = "Remark on every state that was left as plain ONNX, and why";
  let description = [{
    One remark for each argument with `wkv.state` that neither a recurrence nor a
    token shift reads: where its update stops being linear, or how it differs from
    the nearest law. Changes nothing.

    ```
    remark: state 's_in' tensor<2x4x4xf32>: onnx.Tanh on the way to its new value
    is not linear in the old one, ...
    ```
  }];
}

def ExposeStates : Pass<"wkv-expose-states", "::mlir::ModuleOp"> {
  let summary = "Build a step over the states that recurrences and shifts have";
  let description = [{
    Files split, pack, stack, transpose, reshape, scale or convert the states. From
    `@main` this builds `@step`, whose arguments are the tokens and, for each
    recurrence and token shift, the state of that op; what packed and unpacked
    the file's own states is gone from it. `@main` stays as it is.

    ```mlir
    func.func @main(%t: tensor<1xi64>, %packed: tensor<1x30x64xf32> {wkv.state = 1})
      %row = tensor.extract_slice %packed[0, 1, 0] [1, 1, 64] [1, 1, 1]
      %shifted, %kept = wkv.token_shift %x state(%row)
      %next = tensor.insert_slice %kept into %packed[0, 1, 0] [1, 1, 64] [1, 1, 1]
    // and after
    func.func @step(%t: tensor<1xi64> {wkv.tokens},
                    %row: tensor<1x64xf32> {onnx.name = "shift.0", wkv.state = 1}, ...)
        attributes {wkv.form = "step"}
      %shifted, %kept = wkv.token_shift %x state(%row)
    ```

    It is built only where these hold, which are checked element by element:
    every state of an op is moved from state inputs, or is one constant, which
    becomes the state's `wkv.initial`; at the place that it was moved from, the
    output that continues the input holds the op's new state, divided by what it
    was multiplied by on the way in, or the one of another head that is its copy,
    by what its keys, values and decays are; nothing else reads a
    state input; there are no inputs but the token and states. Otherwise a remark
    says which input and op are in the way.

    Over several tokens the function has the form "sequence" and the file's axes of
    tokens and logits: see `wkv-restrict-to-step`.

    Beside `@step`, where the file has state inputs, there are then `@unpack`, from
    these to the states of `@step`, and `@pack`, from them to the file's state
    outputs. They consist of copies of what moves or scales elements in `@main`; elements of
    the file's states that no op has as its state are 0.

    ```mlir
    func.func @unpack(%packed: tensor<1x30x64xf32>) -> (tensor<1x64xf32> {onnx.name = "shift.0"}, ...)
        attributes {wkv.form = "unpack", wkv.texts = 1}
      %row = tensor.extract_slice %packed[0, 1, 0] [1, 1, 64] [1, 1, 1]
    ```
  }];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::linalg::LinalgDialect",
    "::mlir::tensor::TensorDialect", "::rwkvc::wkv::WKVDialect"
  ];
  let statistics = [Statistic<"numStates", "states", "States exposed">];
}

def RestrictToStep : Pass<"wkv-restrict-to-step", "::mlir::ModuleOp"> {
  let summary = "Build the form for one token from that for a fixed number";
  let description = [{
    Takes the `@step` that `wkv-expose-states` builds from a file over several
    tokens (form "sequence") and follows the tokens' axis through every op, by the
    maps of linalg ops, the groups of reshapes and the bounds of slices. Then the
    function is built again with one token; recurrences and token shifts go on
    from their states.

    ```mlir
    func.func @step(%t: tensor<1x8xi64>, %s: tensor<1x4x16x16xf32>, ...)
        attributes {wkv.form = "sequence"}
      %r = linalg.matmul ins(%x, %w : tensor<8x64xf32>, tensor<64x64xf32>) ...
      %last = tensor.extract_slice %h[7, 0] [1, 64] [1, 1]
    // after
    func.func @step(%t: tensor<1xi64>, %s: tensor<1x4x16x16xf32>, ...)
        attributes {wkv.form = "step"}
      %r = linalg.matmul ins(%x, %w : tensor<1x64xf32>, tensor<64x64xf32>) ...
    ```

    The last token may be taken out; any other use of a position, a sum over
    tokens, or parameters that differ from position to position, is in the way: a
    remark names the op, and there is no step.
  }];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::func::FuncDialect",
    "::mlir::linalg::LinalgDialect", "::mlir::tensor::TensorDialect",
    "::rwkvc::wkv::WKVDialect"
  ];
  let statistics = [Statistic<"numSteps", "steps", "Functions restricted">];
}

def RestrictToText : Pass<"wkv-restrict-to-text", "::mlir::ModuleOp"> {
  let summary = "Build the step of one text from that of several";
  let description = [{
    Takes a `@step` that computes a token of each of several texts, as a file of
    that batch size gives, and follows the texts' axis through every op, as
    `wkv-restrict-to-step` does the tokens' axis. Then the function is built again
    with one text, from which `wkv-lift-to-sequence` builds any number.

    ```mlir
    func.func @step(%t: tensor<3xi64>, %s: tensor<3x4x16x16xf32>, ...)
        attributes {wkv.form = "step"}
      %r = linalg.matmul ins(%x, %w : tensor<3x64xf32>, tensor<64x64xf32>) ...
    // after
    func.func @step(%t: tensor<1xi64>, %s: tensor<1x4x16x16xf32>, ...)
        attributes {wkv.form = "step", wkv.texts = 3}
      %r = linalg.matmul ins(%x, %w : tensor<1x64xf32>, tensor<64x64xf32>) ...
    ```

    `wkv.texts` tells the lifting how many there were. In `@unpack` and `@pack` the
    texts become the first axis of every state of `@step`. Where an op combines texts,
    treats one apart or has a parameter that differs from text to text, a remark
    names it and `@step` stays as it is; so it does beside a `@prefill`.
  }];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::func::FuncDialect",
    "::mlir::linalg::LinalgDialect", "::mlir::tensor::TensorDialect",
    "::rwkvc::wkv::WKVDialect"
  ];
  let statistics = [Statistic<"numRestricted", "steps",
                              "Functions restricted">];
}

def LiftToSequence : Pass<"wkv-lift-to-sequence", "::mlir::ModuleOp"> {
  let summary = "Build the form for a block of tokens from that for one";
  let description = [{
    From `@step` this builds `@prefill`, which takes `block` tokens of each of
    `batch` sequences and the number of those that count. Every value that depends
    on the token gets a leading axis over all tokens of all sequences; others, the
    weights first of all, stay as they are. So matrices times a vector become
    matrix products. A token shift is of the whole block then, and a recurrence
    runs over its tokens.

    ```mlir
    func.func @step(%t: tensor<1xi64> {wkv.tokens}, %s: tensor<1x4x16x16xf32>, ...)
      %r = linalg.matmul ins(%x, %w : tensor<1x64xf32>, tensor<64x64xf32>) ...
      %y, %n = wkv.wkv7 ... state(%s) : (tensor<1x1x4x16xf32>, ...
    // and after, for block=32
    func.func @prefill(%t: tensor<1x32xi64> {wkv.tokens}, %length: tensor<i64> {wkv.length},
                       %s: tensor<1x4x16x16xf32>, ...) attributes {wkv.form = "prefill"}
      %r = linalg.generic ... ins(%x, %w : tensor<32x64xf32>, tensor<64x64xf32>) ...
      %y, %n = wkv.wkv7 ... length(%length) state(%s) : (tensor<1x32x4x16xf32>, ...
    ```

    The logits are those after the last token that counts, and what only they need
    is computed for the one or two tokens it takes; with `all-logits` they are those
    of all tokens. For more than one sequence `@step` is lifted likewise.

    What an op becomes is up to `LiftingDialectInterface`, by which dialects add
    rules. Where there is none, or where what an op does depends on the token (the
    condition of a branch, the bounds of a loop, the place of an insertion), a
    remark names the op and no function is added.
  }];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::func::FuncDialect",
    "::mlir::linalg::LinalgDialect", "::mlir::scf::SCFDialect",
    "::mlir::tensor::TensorDialect", "::rwkvc::wkv::WKVDialect"
  ];
  let options = [
    Option<"batch", "batch", "int64_t", /*default=*/"0",
           "Sequences; 0: as many as the file computes">,
    Option<"block", "block", "int64_t", /*default=*/"64",
           "Tokens of a block; 0: no form for blocks">,
    Option<"allLogits", "all-logits", "bool", /*default=*/"false",
           "Give the logits after every token of a block">
  ];
  let statistics = [Statistic<"numForms", "forms", "Functions built">];
}

#endif // RWKVC_DIALECT_WKV_TRANSFORMS_FORMPASSES_TD
