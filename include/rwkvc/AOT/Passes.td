//===- Passes.td - Passes that shape the compiled artefact ----------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_AOT_PASSES_TD
#define RWKVC_AOT_PASSES_TD

include "mlir/Pass/PassBase.td"

def DescribeInterface : Pass<"rwkvc-describe-interface", "::mlir::ModuleOp"> {
  let summary = "Record the names and types by which callers know the model";
  let description = [{
    Writes what `@main` and each derived form (attribute `wkv.form`) take and give,
    with the ONNX names and element types, into the function's attribute
    `rwkvc.interface`. Later phases change the signatures; the artefact describes
    itself from these attributes.

    ```mlir
    func.func @main(%t: tensor<1xi64> {onnx.name = "token"}, ...) -> ...
    // after, on the function:
    rwkvc.interface = {
      kind = "graph",
      inputs = [{name = "token", type = tensor<1xi64>, index_limit = 256}, ...],
      outputs = [...], states = [{input = 1, output = 1, initial = 0.0}, ...],
      token_input = 0, length_input = -1, logits_output = 0}
    ```

    `@main` keeps a description that it has, since conversions lose what only ONNX
    knows; forms are described anew. A form whose inputs, shapes or states are not
    as rwkvc-rt/abi.h says is reported, and so are forms with different states.
  }];
}

def SelectForms : Pass<"rwkvc-select-forms", "::mlir::ModuleOp"> {
  let summary = "Remove the functions that the artefact is not to hold";
  let description = [{
    Removes `@main` and derived forms (attribute `wkv.form`) that `forms` does not
    name: `original` is `@main`, the others are named as the attribute does. That
    nothing would be left is an error. `@unpack` and `@pack` stay where both `@main`
    and a derived form do.

    ```mlir
    // forms=step
    func.func @main(...) -> ...
    func.func @step(...) -> ... attributes {wkv.form = "step"}
    // after
    func.func @step(...) -> ... attributes {wkv.form = "step"}
    ```
  }];
  let options = [
    ListOption<"forms", "forms", "std::string",
               "Functions to keep: original, step, prefill; none: all">
  ];
  let statistics = [Statistic<"numRemoved", "removed", "Functions removed">];
}

def MergeForms : Pass<"rwkvc-merge-forms", "::mlir::ModuleOp"> {
  let summary = "Let a step serve callers of the file's own function";
  let description = [{
    `@step` computes what `@main` does between `@unpack` and `@pack`. Where these two do no
    more than give each state another shape, and both take one token and give logits
    and states alone, the elements in memory are the same: `@main` goes, and its
    description is kept by `@step` with the inputs and outputs in their order there.
    Callers see both functions, and all that follows compiles one.

    ```mlir
    func.func @main(%token: tensor<1x1xi64>, %s: tensor<64xf32>) -> ...
        attributes {rwkvc.interface = {kind = "graph", ...}}
    func.func @step(%tokens: tensor<1xi64>, %s: tensor<1x64xf32>) -> ...
        attributes {rwkvc.interface = {kind = "step", ...}, wkv.form = "step"}
    // after
    func.func @step(%tokens: tensor<1xi64>, %s: tensor<1x64xf32>) -> ...
        attributes {rwkvc.interface = {kind = "step", ...},
                    rwkvc.served_interface = {kind = "graph", ...},
                    rwkvc.served_inputs = array<i64: 0, 1>,
                    rwkvc.served_outputs = array<i64: 0, 1>, wkv.form = "step"}
    ```
  }];
  let statistics = [
    Statistic<"numMerged", "merged", "Functions that another one serves">
  ];
}

def EntryABI : Pass<"rwkvc-entry-abi", "::mlir::ModuleOp"> {
  let summary = "Give the model's functions caller-owned buffers";
  let description = [{
    Arguments and results of `@main` and of derived forms become memref arguments:
    first the inputs, then the outputs. A state is read from and written to its output's buffer, so
    that an update in place needs no copy; its input argument is dropped. A
    result that may come to lie in another state's buffer is copied first; one that
    is reshaped at the end is written to a view of its buffer in the shape before.

    ```mlir
    func.func @main(%t: tensor<1xi64>, %s: tensor<64xf32>)
        -> (tensor<256xf32>, tensor<64xf32>)
    // after
    func.func @main(%t: memref<1xi64>, %logits: memref<256xf32>, %s: memref<64xf32>)
      %0 = bufferization.to_tensor %t restrict
      %1 = bufferization.to_tensor %s restrict writable
      ...
      bufferization.materialize_in_destination %r0 in restrict writable %logits
      bufferization.materialize_in_destination %r1 in writable %s
    ```
  }];
  let dependentDialects = ["::mlir::bufferization::BufferizationDialect",
                           "::mlir::func::FuncDialect",
                           "::mlir::memref::MemRefDialect"];
  let statistics = [
    Statistic<"numStates", "states", "States updated in place">,
    Statistic<"numCopies", "copies", "Results copied before the states change">
  ];
}

def SkipUnwantedLogits
    : Pass<"rwkvc-skip-unwanted-logits", "::mlir::ModuleOp"> {
  let summary = "Compute logits only for callers that give room for them";
  let description = [{
    All tokens of a prompt but the last are there for their states: the head, a
    fifth to a third of a small model, is computed for nothing. Whatever only the
    logits depend on is done where their buffer's address is not null. Runs after
    `rwkvc-entry-abi`.

    ```mlir
    %x = linalg.generic ... // norm of the last layer's output
    %y = linalg.generic ... // times the head
    bufferization.materialize_in_destination %y in restrict writable %logits
    // after
    %place = memref.extract_aligned_pointer_as_index %logits
    %is_wanted = arith.cmpi ne, %place, %c0
    scf.if %is_wanted {
      %x = linalg.generic ...
      %y = linalg.generic ...
      bufferization.materialize_in_destination %y in restrict writable %logits
    }
    ```
  }];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::linalg::LinalgDialect",
    "::mlir::memref::MemRefDialect", "::mlir::scf::SCFDialect",
    "::mlir::tensor::TensorDialect"
  ];
  let statistics = [Statistic<"numGuarded", "guarded",
                              "Operations done for the logits alone">];
}

def SkipPadding : Pass<"rwkvc-skip-padding", "::mlir::ModuleOp"> {
  let summary = "Compute a block's tokens only as far as its length says";
  let description = [{
    A prefill's block has room for more tokens than a call may give it. What becomes
    of the rest nobody reads: recurrences and token shifts end where the length says.
    From the tokens' input on, axes along the block are followed through the function;
    each `linalg.generic` with a parallel loop along one gets the length as a last
    input, and an attribute with the numbers of both (`rwkvc.needed`). It allows to
    leave out iterations, and demands nothing. Runs after `rwkvc-entry-abi`. Blocks of
    several texts, whose tokens are not the first ones, stay as they are. The interface
    tells callers (`skips_padding`), unless something else is done with the tokens, a
    product by a library for instance, which takes as long as a full block.

    ```mlir
    %x = linalg.generic ... ins(%tokens, %table : tensor<64x8xf32>, tensor<8x16xf32>)
    // after
    %n = memref.load %length[] : memref<i64>
    %length = arith.index_cast %n : i64 to index
    %x = linalg.generic ... ins(%tokens, %table, %length : ..., index)
           attrs = {rwkvc.needed = array<i64: 0, 2>}
    ```
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect",
                           "::mlir::memref::MemRefDialect"];
  let statistics = [
    Statistic<"numLimited", "limited", "Operations that may end at the length">
  ];
}

def ExternalizeWeights : Pass<"rwkvc-externalize-weights", "::mlir::ModuleOp"> {
  let summary = "Read large constants from the weights file";
  let description = [{
    Constants of at least `min-bytes` leave the code: `@main` and each derived form
    get a last argument, the data section of the weights file, and views into it.
    The module attribute `rwkvc.weights` lists name, byte offset and value of each;
    equal values share their bytes, also those of different functions or shapes.
    Offsets are multiples of 64.

    ```mlir
    %w = arith.constant dense_resource<w> : tensor<64x64xf32>
    // after
    %v = memref.view %weights[%c4096][] : memref<20480xi8> to memref<64x64xf32>
    %w = bufferization.to_tensor %v restrict
    ```
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect",
                           "::mlir::bufferization::BufferizationDialect",
                           "::mlir::memref::MemRefDialect"];
  let options = [
    Option<"minBytes", "min-bytes", "int64_t", /*default=*/"256",
           "Smallest constant that is moved">,
    Option<"splats", "splats", "bool", /*default=*/"false",
           "Move those of one value too, which code may as well have">
  ];
  let statistics = [
    Statistic<"numMoved", "moved", "Constants moved to the weights file">,
    Statistic<"numBytes", "bytes", "Bytes of the weights file's data">
  ];
}

def RecordLaunches : Pass<"rwkvc-record-launches", "::mlir::ModuleOp"> {
  let summary = "Describe a device's functions by the kernels that they launch";
  let description = [{
    A function that callers know is, on a device, a list of launches that is the same in
    every call. It becomes an attribute, of the kernel's name, the number of workgroups,
    and what the kernel is given: for each argument its kind (0: the weights, 1: the workspace,
    2: an input, 3: an output, 4: a number), which input or output, and the bytes from there or the number.
    Launches under the condition that logits are wanted (`rwkvc-skip-unwanted-logits`)
    are marked so. The function keeps its type and becomes a declaration.

    ```mlir
    func.func @step(%token: memref<1xi32>, ..., %workspace: memref<512xi8>) {
      %x = memref.view %workspace[%c256][] : memref<512xi8> to memref<64xf32>
      %0 = memref.memory_space_cast %x : ...
      gpu.launch_func @kernels::@kernel_0 blocks in (%c3, %c1, %c1) threads in (%c256, %c1, %c1) args(%0)
    // after
    func.func private @step(...) attributes {
      rwkvc.launches = [{arguments = array<i64: 1, 0, 256>, groups = 3, kernel = "kernel_0"} ]
    }
    ```

    Anything else than views, numbers and launches in the function is an error.
  }];
  let statistics = [Statistic<"numLaunches", "launches", "Launches recorded">];
}

#endif // RWKVC_AOT_PASSES_TD
