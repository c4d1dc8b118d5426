//===- Passes.td - Passes of the wkv dialect ------------------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_DIALECT_WKV_TRANSFORMS_PASSES_TD
#define RWKVC_DIALECT_WKV_TRANSFORMS_PASSES_TD

include "mlir/Pass/PassBase.td"

include "rwkvc/Dialect/WKV/Transforms/FormPasses.td"
include "rwkvc/Dialect/WKV/Transforms/RaisePasses.td"

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

#endif // RWKVC_DIALECT_WKV_TRANSFORMS_PASSES_TD
