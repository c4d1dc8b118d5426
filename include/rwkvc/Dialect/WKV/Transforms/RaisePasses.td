//===- RaisePasses.td - Passes that recognise RWKV in ONNX ----------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_DIALECT_WKV_TRANSFORMS_RAISEPASSES_TD
#define RWKVC_DIALECT_WKV_TRANSFORMS_RAISEPASSES_TD

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
    each assignment of roles to the values that enter it. Constant factors of keys,
    and of values in v4, leave the op: its state is the file's divided by them.

    ```mlir
    %kv = onnx.MatMul(%k, %v)      // [H,N,1] x [H,1,N]
    %y  = onnx.MatMul(%r, %s + %u * %kv)
    %s1 = %s * %w + %kv
    // after
    %y, %s1 = wkv.wkv6 receptance(%r) key(%k) value(%v) decay(%w) bonus(%u) state(%s)
    ```

    Sequences that run side by side are raised as so many times the heads: both
    have states of their own.

    What differs from every law is left as it is.
  }];
  let dependentDialects = ["::rwkvc::wkv::WKVDialect",
                           "::rwkvc::onnx::ONNXDialect",
                           "::mlir::tensor::TensorDialect"];
  let statistics = [
    Statistic<"numRecurrences", "recurrences", "Recurrences raised">,
    Statistic<"numRejected", "rejected", "Matches refused by evaluation">
  ];
}

def RaiseCustomOps : Pass<"wkv-raise-custom-ops", "::mlir::ModuleOp"> {
  let summary = "Replace WKV operators of other domains, by the registry";
  let description = [{
    A node of another domain that the registry of custom ops knows (CustomOps.h)
    computes one of the laws; the registry says which operand plays which part, in
    which order its elements are, and in what form it takes the decay. The shapes
    of operands and results are checked against that: a node that does not fit is
    an error that names it. A result that holds output and state in one tensor is
    taken apart with the operators that do so.

    ```mlir
    %y, %s1 = onnx.Custom(%k, %v, %r, %s, %u, %w) {domain = "rwkv", op_type = "wkv6"}
    // after
    %y, %s1 = wkv.wkv6 receptance(%r) key(%k) value(%v) decay(%w) bonus(%u) state(%s)
    ```

    Other nodes of other domains stay, and are refused when they are lowered.
  }];
  let dependentDialects = ["::rwkvc::wkv::WKVDialect",
                           "::rwkvc::onnx::ONNXDialect",
                           "::mlir::tensor::TensorDialect"];
  let statistics = [Statistic<"numRecurrences", "recurrences",
                              "Recurrences raised">];
}

def RecoverSequenceOps : Pass<"wkv-recover-sequence-ops", "::mlir::ModuleOp"> {
  let summary = "Recognise the inlined bodies of LinearAttention and CausalConvWithState";
  let description = [{
    A `Scan` with one state [B, H, K, V] whose body, evaluated in float64 on random
    values, computes a rule of `LinearAttention` for some assignment of query, key,
    value, decay and rate to its inputs, becomes that operator. A depthwise `Conv` of
    a concatenation of the columns before and the input becomes
    `CausalConvWithState`, with the last columns as its state.

    ```mlir
    %p = onnx.Concat(%past, %x)                // [B, C, k - 1], [B, C, T]
    %y = onnx.Conv(%p, %w) {group = C}
    %n = onnx.Slice(%p)                        // the last k - 1 columns
    // after
    %y, %n = onnx.CausalConvWithState(%x, %w, %none, %past)
    ```

    Other scans and convolutions stay.
  }];
  let dependentDialects = ["::rwkvc::onnx::ONNXDialect"];
  let statistics = [
    Statistic<"numAttentions", "attentions", "LinearAttention recognised">,
    Statistic<"numConvolutions", "convolutions",
              "CausalConvWithState recognised">
  ];
}

def RaiseSequenceOps : Pass<"wkv-raise-sequence-ops", "::mlir::ModuleOp"> {
  let summary = "Write ONNX's linear attention and causal convolution in wkv ops";
  let description = [{
    `LinearAttention` of every update rule is a recurrence of the dialect. It reads
    the new state, with the heads' sizes dk = K and dv = V and the decay w = exp(g):

    | rule | as |
    |---|---|
    | linear | `wkv.wkv6`, decay 1, bonus 1 |
    | gated | `wkv.wkv6`, receptance q w, bonus 0, and (q k) v added |
    | delta | `wkv.wkv7`, decay 1, key and b = beta k, a = -k |
    | gated_delta | `wkv.wkv7`, key and b = beta k, a = -w k |

    The state is transposed for `wkv.wkv7`. Query heads that share a key head have
    their own copy of the state, of which the operator gets the first. v5 and v6 are written for the operator with keys,
    values and decays one token late, behind a token of zeros, so that the output
    reads the old state: of this the recurrence without that token is made.

    `CausalConvWithState` with a kernel of two is `wkv.token_shift`, and with weights
    that add up to one in every channel also `wkv.mix`; any other kernel is a sum of
    products with slices of what the state and the input hold together.

    ```mlir
    %y, %p1 = onnx.CausalConvWithState(%x, %weight, %none, %p)   // [B, C, 1, 2]: mu, 1 - mu
    // after
    %shifted, %kept = wkv.token_shift %t state(%old)             // t: x as [B, T, C]
    %mixed = wkv.mix %t, %shifted by %mu
    ```
  }];
  let dependentDialects = ["::rwkvc::wkv::WKVDialect",
                           "::rwkvc::onnx::ONNXDialect",
                           "::mlir::tensor::TensorDialect"];
  let statistics = [
    Statistic<"numRecurrences", "recurrences", "Recurrences raised">,
    Statistic<"numShifts", "shifts", "Token shifts raised">,
    Statistic<"numConvolutions", "convolutions",
              "Causal convolutions written as sums">
  ];
}

def DistributeScans : Pass<"wkv-distribute-scans", "::mlir::ModuleOp"> {
  let summary = "Turn scans over one-token recurrences into recurrences over all tokens";
  let description = [{
    Where every state of a `Scan` is carried by a recurrence of one token, the
    recurrence takes over the loop: it gets all tokens, and so does every other op
    of the body, along a new leading axis. A scan without states, which only maps
    tokens, becomes plain ops.

    ```mlir
    %s1, %y = onnx.Scan(%s, %r, %k, %v) { ^bb0(...): wkv.wkv6 ... 1x1x4x16 }
    // after
    %y, %s1 = wkv.wkv6 receptance(%r) ... 1x7x4x16
    ```

    A factor before the recurrence and its inverse behind it are then around all
    tokens. A scan that carries a state in any other way, or has an op in its body
    that has no form over several tokens, stays.
  }];
  let dependentDialects = ["::rwkvc::onnx::ONNXDialect",
                           "::mlir::tensor::TensorDialect"];
  let statistics = [Statistic<"numDistributed", "distributed",
                              "Scans replaced">];
}

def RaiseTokenShift : Pass<"wkv-raise-token-shift", "::mlir::ModuleOp"> {
  let summary = "Recognise token shift by where elements go";
  let description = [{
    Traces every element of every state output, through any op that only moves
    elements, to the value x that it is a row of, and every value read from the
    state to the element of the state that it is. Where the same part of a state
    is read and then replaced by x, that is a token shift. Over several tokens
    the value read is that part followed by x without its last row; a sequence
    without state starts from zeros. The state may be x times a number, where what
    is read of it is divided by that.

    ```mlir
    %old = onnx.Gather(%packed, %i)               // row i of a packed state
    %d   = onnx.Sub(%old, %x)
    %new = onnx.ScatterND(%packed, %at_i, %x)
    // after
    %old = onnx.Gather(%packed, %i)
    %shifted, %kept = wkv.token_shift %x state(%old)
    %d   = onnx.Sub(%shifted, %x)
    %new = onnx.ScatterND(%packed, %at_i, %kept)
    ```

    A state whose new value is computed from its own old one is none.
  }];
  let dependentDialects = ["::rwkvc::wkv::WKVDialect",
                           "::rwkvc::onnx::ONNXDialect"];
  let statistics = [Statistic<"numShifts", "shifts", "Token shifts raised">];
}

def RaiseMix : Pass<"wkv-raise-mix", "::mlir::ModuleOp"> {
  let summary = "Recognise interpolations between a token and its predecessor";
  let description = [{
    For each `wkv.token_shift`, every elementwise function of x and the shifted x
    is evaluated: where it is a weighted sum whose weights add up to one, it
    becomes `wkv.mix`, in whatever form it was written. The weight of the
    predecessor is a constant, or a value of the graph that equals it (the computed
    weights of v6). Several targets at once are one op.

    ```mlir
    %0 = onnx.Mul(%x, %m)            // or x + (s - x) m, s + (x - s) m, ...
    %1 = onnx.Sub(%one, %m)
    %2 = onnx.Mul(%shifted, %1)
    %y = onnx.Add(%0, %2)
    // after
    %y = wkv.mix %x, %shifted by %1
    ```

    The op and the original are compared in float64 on further random values.
  }];
  let dependentDialects = ["::rwkvc::wkv::WKVDialect",
                           "::rwkvc::onnx::ONNXDialect"];
  let statistics = [
    Statistic<"numMixes", "mixes", "Interpolations raised">,
    Statistic<"numRejected", "rejected", "Matches refused by evaluation">
  ];
}

def RaiseLora : Pass<"wkv-raise-lora", "::mlir::ModuleOp"> {
  let summary = "Recognise projections through a space of low rank";
  let description = [{
    Two products with constant matrices, with tanh, a sigmoid or nothing between
    them, where the vector between them is narrower than both ends and has no
    other use, become `wkv.lora`; a constant that is added goes with them. The
    products may be `MatMul` or `Gemm`, and the matrices transposed. Both sides are
    evaluated in float64 before they are replaced.

    ```mlir
    %0 = onnx.MatMul(%x, %w1)     // 64 -> 16
    %1 = onnx.Tanh(%0)
    %2 = onnx.MatMul(%1, %w2)     // 16 -> 64
    %y = onnx.Add(%w0, %2)
    // after
    %y = wkv.lora tanh %x, %w1, %w2 bias(%w0)
    ```

    v6's five chains that share one first product stay a product and a batched
    product.
  }];
  let dependentDialects = ["::rwkvc::wkv::WKVDialect",
                           "::rwkvc::onnx::ONNXDialect"];
  let statistics = [
    Statistic<"numLoras", "loras", "Low-rank projections raised">,
    Statistic<"numRejected", "rejected", "Matches refused by evaluation">
  ];
}

def RaiseNorm : Pass<"wkv-raise-norm", "::mlir::ModuleOp"> {
  let summary = "Recognise normalisations by what they compute";
  let description = [{
    A region that maps one value to one of as many elements through a reduction of
    its last axis is evaluated in float64. If it is layer norm or L2
    normalisation, with an epsilon read off the values, it becomes
    `wkv.layer_norm` or `wkv.l2_norm`; a constant factor before it goes into the
    epsilon. `LayerNormalization`, `InstanceNormalization` and
    `GroupNormalization` become `wkv.layer_norm` with their scale and bias. Both
    sides are compared on further values.

    ```mlir
    %c = onnx.Sub(%x, %mean)
    %v = onnx.ReduceMean(%c * %c)
    %y = onnx.Div(%c, %sqrt_of_v_plus_epsilon)
    // after
    %y = wkv.layer_norm %x {epsilon = 1.0e-5 : f64}
    ```
  }];
  let dependentDialects = ["::rwkvc::wkv::WKVDialect",
                           "::rwkvc::onnx::ONNXDialect"];
  let statistics = [
    Statistic<"numNorms", "norms", "Norms raised">,
    Statistic<"numRejected", "rejected", "Matches refused by evaluation">
  ];
}

def FoldNormAffine : Pass<"wkv-fold-norm-affine", "::mlir::ModuleOp"> {
  let summary = "Make constant factors and sums behind a norm its scale and bias";
  let description = [{
    Follows the only use of a `wkv.layer_norm` through reshapes, multiplications
    and additions of constants. What they do together is read off by evaluating
    them, and becomes the operands `scale` and `bias`, [N] or [H, N].

    ```mlir
    %n = wkv.layer_norm %x {epsilon = 6.4e-4 : f64} : tensor<1x1x4x16xf32>
    %r = onnx.Reshape(%n, %d)                      // to 1x64
    %m = onnx.Mul(%r, %weight)
    %y = onnx.Add(%m, %bias)
    // after
    %n = wkv.layer_norm %x scale(%w : tensor<4x16xf32>) bias(%b : tensor<4x16xf32>)
    %y = onnx.Reshape(%n, %d)
    ```

    The whole is compared in float64 on random values.
  }];
  let dependentDialects = ["::rwkvc::wkv::WKVDialect",
                           "::rwkvc::onnx::ONNXDialect"];
  let statistics = [
    Statistic<"numFolded", "folded", "Norms given a scale or bias">,
    Statistic<"numRejected", "rejected", "Refused by evaluation">
  ];
}

def JoinHeads : Pass<"wkv-join-heads", "::mlir::ModuleOp"> {
  let summary = "One recurrence for those of a layer's heads or groups of heads";
  let description = [{
    Recurrences of one law, over the same tokens and with heads of one size, that do
    not depend on each other are one recurrence over all of their heads, in the
    order of their rows in the tensors that these are parts of, or else of their
    states in the file. Where the operands were parts of one
    tensor, and where the results are put together again, the whole takes the place
    of the parts.

    ```mlir
    %k:2 = onnx.Split(%keys)                                   // and so the others
    %y0, %n0 = wkv.wkv6 ... key(%k#0) ... state(%s#0)          // 1x1x2x8, 1x2x8x8
    %y1, %n1 = wkv.wkv6 ... key(%k#1) ... state(%s#1)
    %y = onnx.Concat(%y0, %y1)
    // after
    %y, %n = wkv.wkv6 ... key(%keys) ... state(%states)        // 1x1x4x8, 1x4x8x8
    ```

    Vector recurrences have no heads and stay.
  }];
  let dependentDialects = ["::rwkvc::wkv::WKVDialect",
                           "::rwkvc::onnx::ONNXDialect",
                           "::mlir::tensor::TensorDialect"];
  let statistics = [Statistic<"numJoined", "joined", "Recurrences formed">];
}

def JoinHeadNorms : Pass<"wkv-join-head-norms", "::mlir::ModuleOp"> {
  let summary = "One norm for those that were written out for each head";
  let description = [{
    A concatenation of layer norms of consecutive parts of one value is a group
    norm of it: `wkv.layer_norm` on [.., H, N].

    ```mlir
    %0 = wkv.layer_norm %x0 scale(%s0) bias(%b0)     // x0 = x[0:8]
    %1 = wkv.layer_norm %x1 scale(%s1) bias(%b1)     // x1 = x[8:16]
    %y = onnx.Concat(%0, %1)
    // after
    %h = onnx.Reshape(%x, %d)                        // 1x1x2x8
    %n = wkv.layer_norm %h scale(%s) bias(%b)
    %y = onnx.Reshape(%n, %e)
    ```
  }];
  let dependentDialects = ["::rwkvc::wkv::WKVDialect",
                           "::rwkvc::onnx::ONNXDialect"];
  let statistics = [Statistic<"numJoined", "joined", "Group norms formed">];
}

def RaiseDecay : Pass<"wkv-raise-decay", "::mlir::ModuleOp"> {
  let summary = "Recognise the law of each recurrence's decay";
  let description = [{
    Follows the decay operand of a recurrence through unary functions to its
    logit, samples that chain in float64 and replaces it by `wkv.decay` where the
    samples follow one of its laws, at random points as well.

    ```mlir
    %0 = onnx.Exp(%logit)
    %1 = onnx.Neg(%0)
    %w = onnx.Exp(%1)
    // after
    %w = wkv.decay exp_exp %logit {scale = 1.0 : f64, ...}
    ```
  }];
  let dependentDialects = ["::rwkvc::wkv::WKVDialect",
                           "::rwkvc::onnx::ONNXDialect"];
  let statistics = [
    Statistic<"numDecays", "decays", "Decays raised">,
    Statistic<"numRejected", "rejected", "Matches refused by evaluation">
  ];
}

#endif // RWKVC_DIALECT_WKV_TRANSFORMS_RAISEPASSES_TD
