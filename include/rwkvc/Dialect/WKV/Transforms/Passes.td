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

def ChooseChunk : Pass<"wkv-choose-chunk", "::mlir::ModuleOp"> {
  let summary = "Choose the form of each recurrence: token by token, or in chunks";
  let description = [{
    Sets `chunk` on the recurrences that are to compute so many tokens at once, as
    matrix products; the others go one token after the other. Both forms give the
    same function for any operands, decays outside (0, 1] included, so that only
    cost decides. `RecurrenceOpInterface::estimateWork` counts the operations of
    passes over vectors and the state, and the multiply-adds of products;
    `product-rate` weighs the one against the other.

    Measured on one core with AVX2, float32, 12 heads of 64 or 768 channels, in
    nanoseconds per token and head (or 64 channels), blocks of 64 and 512 tokens:

    |      | recurrent | 16         | 32        | 64         | 128      |
    |------|-----------|------------|-----------|------------|----------|
    | wkv7 | 600, 690  | 790, 980   | 910, 1220 | 1230, 1510 | -, 2470  |
    | wkv6 | 365, 440  | 340, 530   | 390, 510  | 435, 720   | -, 750   |
    | wkv4 | 172, 175  | 1400, 1490 |           | 5620, 5620 |          |

    This follows the counted work at a product rate of 1: a pass over a state in
    the first-level cache is as fast as a product of that size. The recurrent form
    is the choice there. Chunks pay where products are faster, on matrix units, or
    where sequences and heads do not fill the device.

    With `form=auto` the cheaper form is taken, with the cheapest of the lengths
    16, 32, 64 and 128, or with `chunk-length`. Recurrences of fewer tokens than a
    chunk stay recurrent. A length that is not a multiple of what the law needs
    (16 where the state is a matrix) is an error.

    ```mlir
    %y, %s1 = wkv.wkv7 ... state(%s) : ...
    // after, with form=chunked chunk-length=64
    %y, %s1 = wkv.wkv7 ... state(%s) {chunk = 64 : i64} : ...
    ```
  }];
  let options = [
    Option<"form", "form", "std::string", /*default=*/"\"auto\"",
           "auto, recurrent or chunked">,
    Option<"chunkLength", "chunk-length", "int64_t", /*default=*/"0",
           "Tokens of a chunk; 0: by cost">,
    Option<"productRate", "product-rate", "double", /*default=*/"1.0",
           "Multiply-adds of matrix products in the time of one operation of a "
           "pass over the state: what the target's registers or matrix units gain">
  ];
  let statistics = [
    Statistic<"numChunked", "chunked", "Recurrences in chunks">,
    Statistic<"numRecurrent", "recurrent", "Recurrences token by token">,
    Statistic<"numShort", "short", "Recurrences too short for a chunk">
  ];
}

def TileRecurrences : Pass<"wkv-tile-recurrences", "::mlir::ModuleOp"> {
  let summary = "Split recurrences over sequences, heads and channels";
  let description = [{
    Sequences and heads never interact, nor do the value elements of a head or
    v4's channels. Each recurrence of more than one token becomes a parallel loop
    over tiles of one sequence, one head and at most `columns` value elements or
    channels, so that a tile's state stays in the first-level cache over all
    tokens, and tiles can be given to threads. Where there would be more than
    `max-tiles` of them, which each need memory of their own, a tile of that loop
    is split further by sequential loops.

    The value elements of a head stay together in the chunked form: its scores are
    common to all.

    ```mlir
    %y, %s1 = wkv.wkv7 ... state(%s) : ... tensor<1x64x12x64xf32>, tensor<1x12x64x64xf32>
    // after
    %r:2 = scf.forall (%h) in (12) shared_outs(%o = %init, %n = %s)
      ... tensor.extract_slice
      %y, %s1 = wkv.wkv7 ... : ... tensor<1x64x1x64xf32>, tensor<1x1x64x64xf32>
      scf.forall.in_parallel { tensor.parallel_insert_slice ... }
    ```
  }];
  let dependentDialects = ["::mlir::affine::AffineDialect",
                           "::mlir::scf::SCFDialect",
                           "::mlir::tensor::TensorDialect"];
  let options = [
    Option<"columns", "columns", "int64_t", /*default=*/"64",
           "Value elements or channels of a tile at most">,
    Option<"maxTiles", "max-tiles", "int64_t", /*default=*/"64",
           "Iterations of the parallel loop at most">,
    Option<"minTokens", "min-tokens", "int64_t", /*default=*/"2",
           "Fewest tokens of a recurrence that is split">
  ];
  let statistics = [Statistic<"numTiled", "tiled", "Recurrences split">];
}

def PadTokenShifts : Pass<"wkv-pad-token-shifts", "::mlir::ModuleOp"> {
  let summary = "Make the tokens' predecessors a view of the tokens";
  let description = [{
    A token shift of several tokens copies all rows but the last, to put the state's
    row before them. In a tensor of one more row, of which the state's is the first, both the
    tokens and their predecessors are parts, one row apart, and nothing is copied: what computes the tokens'
    rows writes them there.

    ```mlir
    %x = wkv.layer_norm ... : tensor<1x64x768xf32>
    %shifted, %kept = wkv.token_shift %x state(%old)
    // after
    %0 = tensor.insert_slice %old into %empty[0, 0, 0] [1, 1, 768] [1, 1, 1]
    %x = wkv.layer_norm ... : tensor<1x64x768xf32>
    %1 = tensor.insert_slice %x into %0[0, 1, 0] [1, 64, 768] [1, 1, 1]
    %tokens = tensor.extract_slice %1[0, 1, 0] [1, 64, 768] [1, 1, 1]
    %shifted = tensor.extract_slice %1[0, 0, 0] [1, 64, 768] [1, 1, 1]
    %kept = tensor.extract_slice %1[0, 64, 0] [1, 1, 768] [1, 1, 1]
    ```

    Shifts of one token need no copy as they are. Shifts of several texts stay, as their
    tokens' rows would no longer be a matrix, and so do those whose state has another
    element type or is computed after the tokens' rows.
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect",
                           "::mlir::tensor::TensorDialect"];
  let statistics = [Statistic<"numPadded", "padded", "Shifts that became views">];
}

def TileNorms : Pass<"wkv-tile-norms", "::mlir::ModuleOp"> {
  let summary = "Split layer norms over tokens";
  let description = [{
    A layer norm reads its rows three times: for the mean, for the variance and to
    normalise. Over `rows` tokens at a time they stay in the first-level cache, so each norm
    of several tokens becomes a parallel loop, which `rwkvc-fuse-into-parallel-loops` then
    extends to what surrounds it. Norms of heads are left to the recurrence's loop.

    ```mlir
    %y = wkv.layer_norm %x ... : tensor<64x768xf32>
    // after
    %y = scf.forall (%t) = (0) to (64) step (8) shared_outs(%o = %empty) {
      %part = tensor.extract_slice %x[%t, 0] [8, 768] [1, 1]
      %n = wkv.layer_norm %part ... : tensor<8x768xf32>
      scf.forall.in_parallel { tensor.parallel_insert_slice %n into %o[%t, 0] [8, 768] [1, 1] }
    }
    ```
  }];
  let dependentDialects = ["::mlir::scf::SCFDialect",
                           "::mlir::tensor::TensorDialect"];
  let options = [Option<"rows", "rows", "int64_t", /*default=*/"8",
                        "Tokens of a tile at most">];
  let statistics = [Statistic<"numTiled", "tiled", "Norms split">];
}

def TileTokenShifts : Pass<"wkv-tile-token-shifts", "::mlir::ModuleOp"> {
  let summary = "Split norm, token shift and interpolations over tokens together";
  let description = [{
    A layer norm, the token shift of its result and the interpolations between both
    become one parallel loop over texts and `rows` tokens at a time: the tokens are read
    once, and what is between lies in the first-level cache. The predecessor of a part's first
    token is the state's row or is normalised again, so that no part waits for another.

    ```mlir
    %n = wkv.layer_norm %x ... : tensor<1x64x768xf32>
    %shifted, %kept = wkv.token_shift %n state(%old)
    %r = wkv.mix %n, %shifted by %mu
    // after
    %r = scf.forall (%t) = (0) to (64) step (8) shared_outs(%o = %empty) {
      %before = arith.maxsi (%t - 1), 0
      %0 = tensor.extract_slice %x[0, %before, 0] [1, 1, 768] [1, 1, 1]
      %1 = wkv.layer_norm %0 ... : tensor<1x768xf32>
      %first = linalg.generic ... select(%t == 0, %old, %1)
      %2 = tensor.extract_slice %x[0, %t, 0] [1, 8, 768] [1, 1, 1]
      %3 = wkv.layer_norm %2 ... : tensor<1x8x768xf32>
      %4, %5 = wkv.token_shift %3 state(%first)
      %6 = wkv.mix %3, %4 by %mu : tensor<1x8x768xf32>
      scf.forall.in_parallel { tensor.parallel_insert_slice %6 into %o[0, %t, 0] ... }
    }
    %last = wkv.layer_norm %x[0, 63, 0] ...   // a row, for the new state
    ```

    Where something else reads the norm's result (v6), the loop gives it too. Not taken are
    interpolations by weights that depend on the token, and shifts whose state is
    computed after the norm or whose tokens have no divisor up to `rows`.
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect",
                           "::mlir::linalg::LinalgDialect",
                           "::mlir::scf::SCFDialect",
                           "::mlir::tensor::TensorDialect"];
  let options = [Option<"rows", "rows", "int64_t", /*default=*/"8",
                        "Tokens of a tile at most">];
  let statistics = [Statistic<"numTiled", "tiled", "Shifts split">];
}

def FoldEmbeddingNorm : Pass<"wkv-fold-embedding-norm", "::mlir::ModuleOp"> {
  let summary = "Normalise the embedding table instead of the rows read from it";
  let description = [{
    A `wkv.layer_norm` of rows that are gathered from a constant table, which
    nothing else reads, and neither the rows, is computed for every row of the
    table at compile time, in float64, and rounded once to the table's type. The
    table may be read by a slice or by a `linalg.generic` that extracts elements,
    and reshapes may lie between.

    ```mlir
    %row = tensor.extract_slice %table[%i, 0] [1, 64] [1, 1]
    %x = wkv.layer_norm %row scale(%w) bias(%b) {epsilon = 1.0e-5 : f64}
    // after
    %x = tensor.extract_slice %normalised[%i, 0] [1, 64] [1, 1]
    ```

    A table that the head reads too stays, and so does one whose rows are converted
    before the norm: the new one would be larger. Tables of more than 64 KiB are
    computed when their bytes are needed, or now in a temporary file without a name
    (Support/Constants.h), so that the compiler's own memory does not grow with them;
    where that fails, a warning says so and the norm stays.
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect"];
  let options = [Option<"maxBytes", "max-bytes", "int64_t",
                        /*default=*/"int64_t(4) << 30",
                        "Largest table in bytes that is rewritten">];
  let statistics = [
    Statistic<"numFolded", "folded", "Norms folded into a table">,
    Statistic<"numBytes", "bytes", "Bytes of tables rewritten">
  ];
}

def FuseTokenShift : Pass<"wkv-fuse-token-shift", "::mlir::ModuleOp"> {
  let summary = "Compute all interpolations of a token shift in one kernel";
  let description = [{
    The `wkv.mix` ops of one `wkv.token_shift` become one `linalg.generic` with so
    many results, which reads the token and its predecessor once. Their difference
    is common.

    ```mlir
    %shifted, %kept = wkv.token_shift %x state(%old)
    %r = wkv.mix %x, %shifted by %mu_r
    %k = wkv.mix %x, %shifted by %mu_k
    // after
    %rk:2 = linalg.generic ins(%x, %shifted, %mu_r, %mu_k) {
      %d = arith.subf %s, %x
      ... arith.mulf %d, %mu_r ... arith.mulf %d, %mu_k
    }
    ```

    A mix whose weights are computed from another mix (v6) is not joined with
    that one, and ops that give several targets already stay.
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect",
                           "::mlir::linalg::LinalgDialect",
                           "::mlir::tensor::TensorDialect"];
  let options = [Option<"maxTargets", "max-targets", "int64_t", /*default=*/"8",
                        "Targets of one kernel at most">];
  let statistics = [
    Statistic<"numGroups", "groups", "Kernels made">,
    Statistic<"numMixes", "mixes", "Interpolations joined">
  ];
}

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

#endif // RWKVC_DIALECT_WKV_TRANSFORMS_PASSES_TD
