//===- Passes.td - Passes of the onnx dialect -----------------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_DIALECT_ONNX_TRANSFORMS_PASSES_TD
#define RWKVC_DIALECT_ONNX_TRANSFORMS_PASSES_TD

include "mlir/Pass/PassBase.td"

defvar maxBytesOption =
    Option<"maxBytes", "max-bytes", "int64_t", /*default=*/"1 << 20",
           "Largest folded result, in bytes; larger ones stay ops">;
defvar foldedStatistic =
    Statistic<"numFolded", "folded", "Ops replaced by constants">;
defvar refinedStatistic =
    Statistic<"numRefined", "refined", "Results given a static shape">;
defvar erasedStatistic =
    Statistic<"numErased", "erased", "Dead ops erased">;

def FoldConstants : Pass<"onnx-fold-constants", "::mlir::ModuleOp"> {
  let summary = "Replace ops on constants by their results";
  let description = [{
    Evaluates, in float64 with one rounding to the element type at the end of each
    op, every op whose operands are all constants, and `Shape` and `Size` of
    statically shaped tensors. A float result above 4 KiB that is larger than
    what it is computed from (a tiled or dequantised weight) is left, unless all
    its elements are equal: the generated code should read the small form. An `If`
    on a constant becomes the branch that it takes.

    ```mlir
    %0 = "onnx.Shape"(%x) : (tensor<1x4x8xf32>) -> tensor<3xi64>
    %1 = "onnx.Gather"(%0, %two) {axis = 0 : i64} : (tensor<3xi64>, tensor<1xi64>) -> tensor<1xi64>
    // after
    %1 = "onnx.Constant"() {value = dense<8> : tensor<1xi64>} : () -> tensor<1xi64>
    ```
  }];
  let dependentDialects = ["::rwkvc::onnx::ONNXDialect"];
  let options = [maxBytesOption];
  let statistics = [foldedStatistic, erasedStatistic];
}

def InferShapes : Pass<"onnx-infer-shapes", "::mlir::ModuleOp"> {
  let summary = "Give results the static shapes that follow from the operands";
  let description = [{
    Walks forward once. A result that is unranked or has a dynamic dimension gets
    its shape from the operands' shapes and, for ops as `Reshape`, from the value
    of constant operands. Results of functions follow.
  }];
  let dependentDialects = ["::rwkvc::onnx::ONNXDialect"];
  let statistics = [refinedStatistic];
}

def SimplifyShapes : Pass<"onnx-simplify-shapes", "::mlir::ModuleOp"> {
  let summary = "Infer shapes and fold shape arithmetic in one forward walk";
  let description = [{
    For each op in order: infers its shape, drops it if it does nothing (`Cast` to
    its own type, `Identity`, `Reshape`, `Transpose`, `Expand`, `Dropout`, `Slice`,
    ... whose result is its operand), and folds it if its operands are constants.
    Operands come first, so one walk resolves chains such as
    `Shape -> Gather -> Unsqueeze -> Concat -> Reshape` and index arithmetic such
    as `ConstantOfShape -> Mul -> Equal -> Where -> Expand -> ScatterND`.
  }];
  let dependentDialects = ["::rwkvc::onnx::ONNXDialect"];
  let options = [maxBytesOption];
  let statistics = [
    foldedStatistic, refinedStatistic,
    Statistic<"numNoOps", "no-ops", "Ops dropped as without effect">,
    erasedStatistic
  ];
}

def ExpandBlockQuantized : Pass<"onnx-expand-block-quantized", "::mlir::ModuleOp"> {
  let summary = "Write onnxruntime's operators on quantised blocks as ONNX";
  let description = [{
    `MatMulNBits` and `GatherBlockQuantized` of the domain com.microsoft, which onnxruntime's quantisers write,
    have a matrix in blocks of numbers of 2, 4 or 8 bits. They become a product with, and a gather of, what
    `DequantizeLinear` gives; packed numbers have a byte each until
    `rwkvc-keep-quantized` packs them.

    ```mlir
    %y = "onnx.Custom"(%x, %b, %scales) <{domain = "com.microsoft", op_type = "MatMulNBits", ...}>
    // after
    %w = "onnx.DequantizeLinear"(%numbers, %scales, %zeros) <{axis = 1 : i64, block_size = 32 : i64}>
    %t = "onnx.Transpose"(%w)
    %y = "onnx.MatMul"(%x, %t)
    ```

    Not taken, with an error: matrices that are no constants, zero points in floating point,
    groups of rows (`g_idx`), and tables of other ranks or whose blocks are not along the gathered rows.
  }];
  let dependentDialects = ["::rwkvc::onnx::ONNXDialect"];
  let statistics = [Statistic<"numProducts", "products", "Products rewritten">,
                    Statistic<"numGathers", "gathers", "Gathers rewritten">];
}

def GatherQuantized : Pass<"onnx-gather-quantized", "::mlir::ModuleOp"> {
  let summary = "Gather rows of quantised tables before they are dequantised";
  let description = [{
    A file may dequantise a whole table, of which a token needs one row.

    ```mlir
    %w = "onnx.DequantizeLinear"(%table, %scale, %zero)
    %row = "onnx.Gather"(%w, %token) <{axis = 0 : i64}>
    // after
    %numbers = "onnx.Gather"(%table, %token) <{axis = 0 : i64}>
    %row = "onnx.DequantizeLinear"(%numbers, %scale, %zero)
    ```

    Scales of rows, and of blocks of a row, are gathered as well. Not taken: tables of other
    ranks, and scales for blocks of rows.
  }];
  let dependentDialects = ["::rwkvc::onnx::ONNXDialect"];
  let statistics = [Statistic<"numGathers", "gathers", "Gathers moved">];
}

def InlineSingleTrips : Pass<"onnx-inline-single-trips", "::mlir::ModuleOp"> {
  let summary = "Replace scans over one element by their bodies";
  let description = [{
    A sequence model compiled for one token runs each `Scan` once. Without the
    loop, what carries the state is visible to the passes that follow. Scans of
    another length, or of unknown shapes, stay.

    ```mlir
    %s1, %y = onnx.Scan(%s, %x) { ^bb0(%a, %b): ... Yield(%n, %o) }   // %x: 1x8
    // after
    %b = onnx.Reshape(%x, [8])
    ...                                                              // %n, %o
    %y = onnx.Reshape(%o, [1, 8])
    ```
  }];
  let dependentDialects = ["::rwkvc::onnx::ONNXDialect"];
  let statistics = [Statistic<"numInlined", "inlined", "Scans replaced">];
}

def HoistFromScans : Pass<"onnx-hoist-from-scans", "::mlir::ModuleOp"> {
  let summary = "Compute for all tokens at once what no state of a scan reaches";
  let description = [{
    A function of the tokens, such as a decay `exp(-exp(x))`, and what it is
    computed from leave the body of a `Scan` and become an input of it. Sums,
    products and movements of tokens stay unless a function needs them: the passes
    that recognise recurrences look through them.

    ```mlir
    onnx.Scan(%s, %x) { ^bb0(%a, %b): %w = onnx.Exp(%b)
                                      %n = onnx.Mul(%a, %w) ... }
    // after
    %all = onnx.Exp(%x)
    onnx.Scan(%s, %x, %all) { ^bb0(%a, %b, %w): %n = onnx.Mul(%a, %w) ... }
    ```
  }];
  let dependentDialects = ["::rwkvc::onnx::ONNXDialect"];
  let statistics = [Statistic<"numHoisted", "hoisted", "Ops hoisted">];
}

def LowerSequences : Pass<"onnx-lower-sequences", "::mlir::ModuleOp"> {
  let summary = "Replace sequences of tensors by tensors";
  let description = [{
    An exporter of a scripted model keeps a list of tensors as an ONNX sequence,
    which no type stands for: its operators are imported as `onnx.Custom` on
    unranked tensors. A sequence that each step of a loop appends to becomes an
    output of the loop; a join of tensors known one by one is a
    `Concat`; an element of a split tensor is a `Gather`. Others are errors.

    ```mlir
    %s = onnx.Custom() {SequenceEmpty}
    %r = onnx.Loop(%n, %true, %s) { ^bb0(%i, %c, %q): ...
      %q1 = onnx.Custom(%q, %y) {SequenceInsert}
      onnx.Yield(%c, %q1) }
    %y = onnx.Custom(%r) {ConcatFromSequence, axis = 1, new_axis = 1}
    // after
    %r = onnx.Loop(%n, %true) { ^bb0(%i, %c): ... onnx.Yield(%c, %y) }
    %y = onnx.Transpose(%r, [1, 0])
    ```

    Runs before shapes are inferred, and infers them where such a join needs them.
  }];
  let dependentDialects = ["::rwkvc::onnx::ONNXDialect"];
  let statistics = [
    Statistic<"numLowered", "lowered", "States and nodes replaced">
  ];
}

def LoopsToScans : Pass<"onnx-loops-to-scans", "::mlir::ModuleOp"> {
  let summary = "Turn loops that count through tokens into scans";
  let description = [{
    A `Loop` that runs a known number of times and takes `x[i]`, or `x[i + 1]`, of
    tensors from outside becomes a `Scan` over these tensors. Two kinds of states are
    outputs of the scan: one of which every step writes its own index only, and one
    that every step concatenates the same number of rows to, at one end and along one
    axis, while nothing else in the body reads it. What the latter starts with is
    concatenated outside. The counter becomes one more input.

    ```mlir
    %s, %y = onnx.Loop(%n, %true, %s0, %zeros) { ^bb0(%i, %c, %a, %o):
      %xi = onnx.Gather(%x, %i)
      %an = onnx.Add(%a, %xi)
      %on = onnx.ScatterND(%o, %i, %an)
      onnx.Yield(%c, %an, %on) }
    // after
    %s, %y = onnx.Scan(%s0, %x) { ^bb0(%a, %xi): %an = onnx.Add(%a, %xi)
                                                 onnx.Yield(%an, %an) }
    ```

    A loop whose end depends on what it computes stays, as does one with a state that
    changes its shape otherwise, which the lowering refuses.
  }];
  let dependentDialects = ["::rwkvc::onnx::ONNXDialect"];
  let statistics = [Statistic<"numConverted", "converted", "Loops replaced">];
}

def UnrollSteps : Pass<"onnx-unroll-steps", "::mlir::ModuleOp"> {
  let summary = "Unroll scans that take several tokens in each step";
  let description = [{
    A loop that an exporter unrolled by a factor hides that each token does the
    same. Where each output of a `Scan` concatenates as many pieces in each step,
    its steps are written out, with each token taken from all tokens, so that
    `onnx-reroll-scans` can make a scan over tokens of them. The scan stays unless
    the tokens do the same, each after the one before it.

    ```mlir
    onnx.Scan(%s, %pairs) { ^bb0(%a, %p): %x0 = onnx.Gather(%p, 0)
                                          %n0 = onnx.Add(%a, %x0)
                                          %x1 = onnx.Gather(%p, 1)
                                          %n1 = onnx.Add(%n0, %x1)
                                          onnx.Yield(%n1, Concat(%n0, %n1)) }
    // after
    %x = onnx.Reshape(%pairs)
    %x0 = onnx.Gather(%x, 0)
    %n0 = onnx.Add(%s, %x0)
    %x1 = onnx.Gather(%x, 1)
    ...
    %y = onnx.Concat(%n0, %n1, ...)
    ```
  }];
  let dependentDialects = ["::rwkvc::onnx::ONNXDialect"];
  let statistics = [Statistic<"numUnrolled", "unrolled", "Scans replaced">];
}

def RerollScans : Pass<"onnx-reroll-scans", "::mlir::ModuleOp"> {
  let summary = "Turn code that an exporter unrolled over tokens back into scans";
  let description = [{
    Starts where one value per token is collected: a `Concat`, or a chain of
    scatters. The values are walked backwards side by side. What is the same op for
    every token becomes one op of a `Scan` body; slices of one tensor at each token
    become an input of the scan, also slices at the token before; what the token
    before computed becomes a state. The time is linear in the number of nodes.

    The first token may differ where an exporter folded what it does to the empty
    state: then both forms of it are compared in float64 on random values. Loops of
    fewer than three tokens, and loops whose tokens do not depend on each other,
    stay.

    ```mlir
    %k0 = onnx.Gather(%k, 0)
    %s1 = onnx.Add(%s0, %k0)
    %k1 = onnx.Gather(%k, 1)
    %s2 = onnx.Add(%s1, %k1)
    ...
    %y = onnx.Concat(%s1, %s2, ...)
    // after
    %s, %y = onnx.Scan(%s0, %k) { ^bb0(%a, %b): %n = onnx.Add(%a, %b)
                                                onnx.Yield(%n, %n) }
    ```
  }];
  let dependentDialects = ["::rwkvc::onnx::ONNXDialect"];
  let statistics = [Statistic<"numRerolled", "rerolled", "Scans made">];
}

#endif // RWKVC_DIALECT_ONNX_TRANSFORMS_PASSES_TD
