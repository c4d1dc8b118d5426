//===- Passes.td - Target-independent passes on buffers -------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_TRANSFORMS_PASSES_TD
#define RWKVC_TRANSFORMS_PASSES_TD

include "mlir/Pass/PassBase.td"

def FuseElementwise : Pass<"rwkvc-fuse-elementwise", "::mlir::ModuleOp"> {
  let summary = "Fuse elementwise linalg ops where nothing is computed twice";
  let description = [{
    Named ops but `linalg.fill` become generic first.
    An elementwise op is fused into its only user when the user runs over as many
    points: a decay of N elements is not recomputed for each of N x N state
    elements. A reshape between two of them, as between channels and heads, moves
    behind or before them. Casts are fused into anything, so that half-precision weights are
    widened where they are read.

    ```mlir
    %1 = linalg.generic ... { arith.subf }
    %2 = linalg.generic ins(%1, ...) { arith.mulf }
    // after
    %2 = linalg.generic ... { arith.subf, arith.mulf }
    ```
  }];
  let dependentDialects = ["::mlir::linalg::LinalgDialect"];
}

def FuseIntoParallelLoops
    : Pass<"rwkvc-fuse-into-parallel-loops", "::mlir::ModuleOp"> {
  let summary = "Move what computes a parallel loop's operands, and what uses its "
                "results, into the loop";
  let description = [{
    An iteration of a `scf.forall` reads and writes parts of tensors. Where an op
    needs only parts that belong to one iteration, that iteration computes its part of
    the op; so one loop runs over memory once and its intermediate values stay in
    the cache. The loop over the heads of a recurrence takes in so the decay's law and
    the normalised keys before it, and the group norm, the bonus and the gate behind
    it.

    Elementwise ops and sums move in, and reshapes between them. Nothing is computed
    twice. Products with matrices of more than `max-product-size` multiplications stay
    outside, and so do ops that need the parts of other iterations, or of which something
    outside is needed inside.

    ```mlir
    %w = linalg.generic ins(%lora : tensor<64x12x64xf32>) ...  { math.exp }
    %y = scf.forall (%h) in (12) shared_outs(%o = %init) {
      %part = tensor.extract_slice %w[0, %h, 0] [64, 1, 64] [1, 1, 1]
      ...
    }
    %g = linalg.generic ins(%y, %gate : tensor<64x12x64xf32>, ...) { arith.mulf }
    // after
    %g = scf.forall (%h) in (12) shared_outs(%o = %empty) {
      %0 = tensor.extract_slice %lora[0, %h, 0] [64, 1, 64] [1, 1, 1]
      %part = linalg.generic ins(%0 : tensor<64x1x64xf32>) ... { math.exp }
      ...
      %2 = tensor.extract_slice %gate[0, %h, 0] [64, 1, 64] [1, 1, 1]
      linalg.generic ins(%1, %2 : tensor<64x1x64xf32>, ...) { arith.mulf }
      ...
    }
    ```
    Loops whose iterations are mapped to threads already do not grow.
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect",
                           "::mlir::linalg::LinalgDialect",
                           "::mlir::tensor::TensorDialect"];
  let options = [Option<"maxProductSize", "max-product-size", "int64_t",
                        /*default=*/"0",
                        "Multiplications up to which a product with a matrix moves in">];
  let statistics = [Statistic<"numLoops", "loops", "Loops that grew">,
                    Statistic<"numFused", "fused", "Ops moved into a loop">];
}

def BatchProducts : Pass<"rwkvc-batch-products", "::mlir::ModuleOp"> {
  let summary = "Make one matrix product of those that read the same tensor";
  let description = [{
    Products of one tensor with several constant matrices become one product with a
    matrix that has the rows of all of them, so that the tensor is read once and one
    kernel runs; in RWKV-7 the value projection and the first low-rank one of the value's
    residual. The products may differ in nothing else, and each matrix must be used in
    this way wherever it is used, in all functions, since it would be kept
    twice otherwise.

    ```mlir
    %0 = linalg.matmul ins(%x, %v : tensor<1x768xf32>, tensor<768x768xf32>) ...
    %1 = linalg.matmul ins(%x, %a : tensor<1x768xf32>, tensor<768x32xf32>) ...
    // after
    %2 = linalg.matmul ins(%x, %va : tensor<1x768xf32>, tensor<768x800xf32>) ...
    %0 = tensor.extract_slice %2[0, 0] [1, 768] [1, 1]
    %1 = tensor.extract_slice %2[0, 768] [1, 32] [1, 1]
    ```

    The joined matrix, if it is large, is computed when its bytes are needed, or now in a
    temporary file without a name (Support/Constants.h). Where that cannot be written, the
    products stay and a warning says why.
  }];
  let options = [Option<"maxBytes", "max-bytes", "int64_t",
                        /*default=*/"int64_t(1) << 26",
                        "Size up to which a joined matrix is computed">];
  let dependentDialects = ["::mlir::arith::ArithDialect",
                           "::mlir::linalg::LinalgDialect",
                           "::mlir::tensor::TensorDialect"];
  let statistics = [Statistic<"numBatches", "batches", "Batches made">,
                    Statistic<"numProducts", "products",
                              "Products that are part of one">];
}

def KeepQuantized : Pass<"rwkvc-keep-quantized", "::mlir::ModuleOp"> {
  let summary = "Read quantised weights of the model's file as they are";
  let description = [{
    What the file dequantises (`DequantizeLinear` of a constant) and products or
    reads of rows use is not computed any more: they read the numbers themselves and
    widen them in their bodies, in the form of `rwkvc-quantize-weights`.

    ```mlir
    %w = linalg.generic  // w[k, n] = (q[k, n] - z[n]) * s[n]
        ins(%q, %s, %z : tensor<768x768xi8>, tensor<1x768xf32>, tensor<1x768xi8>) ...
    %y = linalg.matmul ins(%x, %w : tensor<1x768xf32>, tensor<768x768xf32>) ...
    // after
    %xb = tensor.expand_shape %x [[0], [1, 2]] : tensor<1x768xf32> into tensor<1x24x32xf32>
    %y = linalg.generic  // y[m, n] += x[m, k, j] * (q[k, j, n] - z[n]) * s[n]
        ins(%xb, %q, %s, %z : tensor<1x24x32xf32>, tensor<24x32x768xi8>, tensor<768xf32>, tensor<768xi8>)
    ```

    Numbers, scales and zero points are those of the file. One zero point for all numbers
    is subtracted from them at compile time, where they still fit 8 bits, and numbers that
    fit 4 bits are packed in pairs. Blocks of the file that are longer than 32 rows repeat their
    scales. Left as they are: matrices with scales for fewer than 8 rows, that are summed
    over different axes, or that something else uses.
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect",
                           "::mlir::linalg::LinalgDialect",
                           "::mlir::tensor::TensorDialect"];
  let statistics = [Statistic<"numMatrices", "matrices", "Matrices kept">];
}

def QuantizeWeights : Pass<"rwkvc-quantize-weights", "::mlir::ModuleOp"> {
  let summary = "Keep constant matrices and tables in fewer bits";
  let description = [{
    A constant matrix by which something is multiplied, and a table of which rows are read
    by their number, as of an embedding, are rewritten at compile time. What reads them
    widens elements in its body, so that sums are of f32 as before:

    - `bf16`, `fp16`: elements, rounded;
    - `int8`: 32 elements of a column, which are summed one after another, or of a table's
      row, share a scale; an element is a signed number of 8 bits times the scale;
    - `int4`: the same with signed numbers of 4 bits. Byte j of a block holds rows j and
      16 + j;
    - `uint8`, `uint4`: numbers without a sign, and a block has a zero point as well:
      an element is (number - zero) * scale.

    ```mlir
    %y = linalg.matmul ins(%x, %w : tensor<1x768xf32>, tensor<768x768xf32>) ...
    // after, with format=int8
    %xb = tensor.expand_shape %x [[0], [1, 2]] : tensor<1x768xf32> into tensor<1x24x32xf32>
    %y = linalg.generic  // y[m, n] += x[m, k, j] * q[k, j, n] * s[k, n]
        ins(%xb, %q, %s : tensor<1x24x32xf32>, tensor<24x32x768xi8>, tensor<24x768xbf16>)

    %row = tensor.extract_slice %table[%token, 0] [1, 768] [1, 1]
    // after
    %q = tensor.extract_slice %numbers[%token, 0, 0] [1, 24, 32] [1, 1, 1]
    %s = tensor.extract_slice %scales[%token, 0] [1, 24] [1, 1]
    %b = linalg.generic ins(%q, %s : ...) -> tensor<1x24x32xf32>
    %row = tensor.collapse_shape %b
    ```

    Scales are bf16: they have the range of f32, and numbers are chosen for the
    rounded scale. Of int8 the largest element of a block becomes 127 or less; of int4 it
    becomes -8, or slightly beyond if the others fit better then. Zero points of uint4 have a
    sign, since all elements of a block may be far from 0.

    `format` is a format's name or the file of a recipe (docs/WeightFormats.md), which
    decides by names. A name is short for a recipe too: with formats of 4 bits, tables and
    low-rank matrices have 8.

    All that reads a constant changes, or nothing: functions stay the same. A
    table that products read as well, as the head of a tied model, is one constant for both.
    Not taken are constants of fewer than `min-elements` elements, with elements that are not
    finite or beyond the format's range, with a number of summed rows that is no multiple of
    32 (formats with blocks), and products whose sums are not f32.

    With `report`, a file in JSON lists all of them, with bits and relative error.
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect",
                           "::mlir::linalg::LinalgDialect",
                           "::mlir::tensor::TensorDialect"];
  let options = [
    Option<"format", "format", "std::string", /*default=*/"",
           "bf16, fp16, int8, int4, uint8, uint4 or a recipe's file, .json">,
    Option<"report", "report", "std::string", /*default=*/"",
           "File for the format and error of each weight; empty: none">,
    Option<"minElements", "min-elements", "int64_t", /*default=*/"4096",
           "Elements from which a constant is rewritten">
  ];
  let statistics = [Statistic<"numMatrices", "matrices", "Matrices rewritten">,
                    Statistic<"numTables", "tables", "Tables rewritten">];
}

def FoldAddIntoDest : Pass<"rwkvc-fold-add-into-dest", "::mlir::ModuleOp"> {
  let summary = "Let a matrix product add to the tensor that is added to it";
  let description = [{
    A sum of a matrix product and a tensor, say of a layer's output and the residual
    stream, need not be a pass over memory of its own: the product's sums begin at the
    tensor's values, in its memory, instead of at zero. Reshapes may lie between
    product and sum.

    ```mlir
    %0 = linalg.fill ins(%zero) outs(%e)
    %1 = linalg.matmul ins(%x, %w) outs(%0)
    %2 = linalg.generic ins(%1, %r) outs(%e) { arith.addf }
    // after
    %2 = linalg.matmul ins(%x, %w) outs(%r)
    ```

    The tensor is overwritten, so its last use must lie before the product, and it must be
    the result of a linalg op of the same block: to keep arguments, constants and what is
    read later would take a copy, which costs what the sum did. A product that comes before
    the tensor moves down to the sum. Only sums of f32 or f64 are taken; narrower ones
    would lose precision when they begin at a large value.
    Upstream's patterns for this know named ops only and do not ask who else reads the
    tensor.
  }];
  let dependentDialects = ["::mlir::linalg::LinalgDialect",
                           "::mlir::tensor::TensorDialect"];
  let statistics = [Statistic<"numFolded", "folded", "Sums folded">];
}

def UnshareDestinations : Pass<"rwkvc-unshare-destinations", "::mlir::ModuleOp"> {
  let summary = "Give every op a destination tensor of its own";
  let description = [{
    Common subexpression elimination leaves one `tensor.empty` or one filled tensor
    as the destination of many ops; in memory each but one of them would then
    start with a copy of it, or wait until the one before is done with it. Reshapes of such
    a tensor are cloned with it.

    ```mlir
    %0 = linalg.fill ins(%zero) outs(%e)
    %1 = linalg.matmul ins(%a, %b) outs(%0)
    %2 = linalg.matmul ins(%c, %d) outs(%0)
    // after
    %0 = linalg.fill ins(%zero) outs(%e)
    %1 = linalg.matmul ins(%a, %b) outs(%0)
    %3 = linalg.fill ins(%zero) outs(%e1)
    %2 = linalg.matmul ins(%c, %d) outs(%3)
    ```
  }];
  let dependentDialects = ["::mlir::linalg::LinalgDialect",
                           "::mlir::tensor::TensorDialect"];
  let statistics = [Statistic<"numCloned", "cloned", "Destinations cloned">];
}

def GroupKernels : Pass<"rwkvc-group-kernels", "::mlir::ModuleOp"> {
  let summary = "Collect kernels that can run at the same time";
  let description = [{
    A kernel is a linalg op on buffers or a `scf.forall` without results. Where two
    depend on each other, through a buffer, they stay in order; apart from that, large
    ones move up to the first place at which what they depend on is done, and small ones
    down to where their results are needed. Kernels that then have the same place
    become a `scf.execute_region` with the attribute `rwkvc.independent`: threads may
    share them all without waiting in between.

    ```mlir
    linalg.matmul ins(%x, %wr) outs(%r)
    linalg.generic ins(%r) outs(%gate)
    linalg.matmul ins(%x, %wk) outs(%k)
    // after
    scf.execute_region no_inline {
      linalg.matmul ins(%x, %wr) outs(%r)
      linalg.matmul ins(%x, %wk) outs(%k)
      scf.yield
    } {rwkvc.independent}
    linalg.generic ins(%r) outs(%gate)
    ```

    The arguments of the functions that callers know are buffers of their own. An
    operation with unknown effects on memory stays where it is between the others.
    Groups keep more buffers in use, so blocks stay as they are if their kernels take
    so long on the average that waiting at their ends does not matter.
  }];
  let dependentDialects = ["::mlir::scf::SCFDialect"];
  let options = [
    Option<"minLargeWork", "min-large-work", "int64_t", /*default=*/"1 << 15",
           "Scalar operations of a kernel that moves up">,
    Option<"maxMeanWork", "max-mean-work", "int64_t", /*default=*/"1 << 23",
           "Scalar operations per kernel of a block that has groups">
  ];
  let statistics = [
    Statistic<"numGroups", "groups", "Groups made">,
    Statistic<"numGrouped", "grouped", "Kernels in them">
  ];
}

def PlanMemory : Pass<"rwkvc-plan-memory", "::mlir::ModuleOp"> {
  let summary = "Place every buffer of a function in one caller-owned workspace";
  let description = [{
    `@main` and each derived form get a last argument, the workspace, whose bytes
    the function's attribute `rwkvc.workspace_size` tells. Each `memref.alloc` becomes a view
    of it at an offset such that buffers that are in use at the same time do not
    overlap. Offsets are multiples of 64.

    ```mlir
    %a = memref.alloc() : memref<64xf32>
    // after
    %a = memref.view %workspace[%c256][] : memref<512xi8> to memref<64xf32>
    ```

    Allocations of dynamic size, and ones that a loop carries into its next
    iteration, have no place in a plan and are reported. Each iteration of a
    `scf.forall` has a share of its own for the buffers allocated in it.
    Buffers in a memory space of their own, a thread's for instance, stay.
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect",
                           "::mlir::memref::MemRefDialect"];
  let statistics = [
    Statistic<"numBuffers", "buffers", "Buffers placed">,
    Statistic<"numBytes", "bytes", "Bytes of the workspace">,
    Statistic<"numUnsharedBytes", "unshared-bytes", "Bytes without reuse">
  ];
}

def OutlineKernels : Pass<"rwkvc-outline-kernels", "::mlir::ModuleOp"> {
  let summary = "Move each linalg op or parallel loop into a function of its own";
  let description = [{
    Layers repeat: as functions their kernels can be merged (by
    `duplicate-function-elimination`), so that code size and compile time depend
    on the number of distinct kernels and not on the number of layers or forms. Static
    offsets become dynamic, since they are all that tells such kernels apart.
    A copy between buffers that are not contiguous is a kernel too; so is a
    `scf.forall` with everything in it. A group of independent kernels
    (`rwkvc-group-kernels`) becomes a function that calls them and has the attribute
    `rwkvc.independent`.

    ```mlir
    linalg.generic ... ins(%x : memref<64xf32>) outs(%y : memref<64xf32>)
    // after
    call @kernel_0(%x, %y) : (memref<64xf32>, memref<64xf32>) -> ()
    ```
  }];
  let dependentDialects = ["::mlir::func::FuncDialect",
                           "::mlir::linalg::LinalgDialect",
                           "::mlir::memref::MemRefDialect"];
  let options = [
    Option<"keepRegions", "keep-regions", "bool", /*default=*/"false",
           "A `scf.execute_region` is one function with all that is in it, as on "
           "devices, and every copy is a kernel">
  ];
  let statistics = [Statistic<"numKernels", "kernels", "Kernels outlined">];
}

def ExpandMath : Pass<"rwkvc-expand-math"> {
  let summary = "Expand exp, tanh and the like into arithmetic";
  let description = [{
    Functions that vector code would otherwise call once per lane become
    polynomials of single precision; half types are computed in single
    precision. Double precision keeps calling the C library. Casts between bf16
    and double precision go by way of single precision.

    Where there is no library (`has-library=false`), sin, cos, tan and pow are
    expanded too, and what is left, such as functions in double precision, is
    an error.

    ```mlir
    %1 = math.powf %x, %y : f32
    // becomes, has-library=false, besides special cases:
    %0 = math.log %x : f32        // and these, polynomials
    %1 = arith.mulf %0, %y : f32
    %2 = math.exp %1 : f32
    ```
  }];
  let options = [Option<"hasLibrary", "has-library", "bool", /*default=*/"true",
                        "Whether code can call functions for what stays">];
  let statistics = [Statistic<"numLeft", "left", "Functions not expanded">];
  let dependentDialects = ["::mlir::arith::ArithDialect",
                           "::mlir::math::MathDialect",
                           "::mlir::vector::VectorDialect"];
}

def CountTraffic : Pass<"rwkvc-count-traffic", "::mlir::ModuleOp"> {
  let summary = "Report how many kernels a function runs and bytes they move";
  let description = [{
    For IR after bufferization. One remark for each function that callers know:
    every linalg op, copy and library call outside a parallel loop is a kernel, and
    so is a parallel loop; each moves its operands once, and twice those that it
    updates. Caches are not modelled, but what an iteration of a parallel loop keeps
    to itself is counted apart: it stays in a core's cache. Changes nothing.

    ```
    remark: @step: 1036 kernels; bytes moved: 562855936 of weights, 7340032 of
    workspace, 4718592 of arguments, 1769472 within iterations of parallel loops
    ```

    `rwkvc model.onnx --insert-pass=after-bufferize:rwkvc-count-traffic`
  }];
  let options = [Option<"unknownTrips", "unknown-trips", "int64_t",
                        /*default=*/"64",
                        "Iterations of loops whose number is not known">];
  let statistics = [
    Statistic<"numKernels", "kernels", "Kernels run">,
    Statistic<"numWeightBytes", "weight-bytes", "Bytes of weights read">,
    Statistic<"numWorkspaceBytes", "workspace-bytes",
              "Bytes of the workspace read and written">,
    Statistic<"numArgumentBytes", "argument-bytes",
              "Bytes of states, inputs and outputs read and written">,
    Statistic<"numLocalBytes", "local-bytes",
              "Bytes that iterations of parallel loops read and write for "
              "themselves">
  ];
}

#endif // RWKVC_TRANSFORMS_PASSES_TD
