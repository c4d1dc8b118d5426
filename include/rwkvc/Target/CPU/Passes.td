//===- Passes.td - Code generation for CPUs -------------------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_TARGET_CPU_PASSES_TD
#define RWKVC_TARGET_CPU_PASSES_TD

include "mlir/Pass/PassBase.td"

def QuantizeActivations
    : Pass<"cpu-quantize-activations", "::mlir::ModuleOp"> {
  let summary = "Multiply integer weights with integer activations";
  let description = [{
    A product with a matrix of integers that share a scale by blocks of rows widens
    each of them to floating point. Here the activations of a block become integers
    of 16 bits too, times a unit, the block's largest magnitude by 32767, so that
    processors multiply and add pairs of integers in one instruction and only the
    sum of a block is widened. The error is 2^-16 of the block's largest activation,
    far below that of the weights.

    ```mlir
    %y = linalg.generic  // y[n] += scale[b, n] * (x[b, k] * w[b, k, n])
        ins(%x, %w, %scale : tensor<24x32xf32>, tensor<24x32x768xi8>, tensor<24x768xbf16>)
    // after
    %units = linalg.generic    // max of |x[b, k]| / 32767, as the bits of a float
    %numbers = linalg.generic  // round(x[b, k] / units[b])
    %y = linalg.generic  // y[n] += scale[b, n] * units[b]
                         //         * float(numbers[b, k, two] * w[b, k, two, n])
        ins(%numbers, %w, %scale, %units
            : tensor<24x16x2xi16>, tensor<24x16x2x768xi8>, tensor<24x768xbf16>, tensor<24xi32>)
    ```

    The largest of floats without signs is found as that of their bits: in one
    instruction, and what is no number makes all results none.

    Numbers may be without a sign, and a block's zero point subtracted from them; that
    is done in 16 bits.

    With `bits=8` activations have 8 bits, a unit is the largest magnitude by 127, and rows
    go in groups of four. The error is 2^-8 of the block's largest activation then, as
    that of weights of 8 bits. Processors multiply such integers with numbers without
    a sign: weights that have one become such numbers less a zero point. What zero
    points are multiplied with, the sums of a block's integers, is a further operand,
    of which the attribute `cpu.block_sums` has the number. Weights that do not fit 8 bits
    and blocks that are no multiple of four rows have activations of 16 bits as before.

    ```mlir
    %sums = linalg.generic  // sum over k of numbers[b, k]
    %y = linalg.generic {cpu.block_sums = 4}
                         // y[n] += scale[b, n] * units[b]
                         //         * float(numbers[b, k, four] * ((w[b, k, four, n] + 128) - 128))
        ins(%numbers, %w, %scale, %units, %sums
            : tensor<24x8x4xi8>, tensor<24x8x4x768xi8>, tensor<24x768xbf16>, tensor<24xi32>, tensor<24xi16>)
    ```

    Applies to matrices that only such products read, and not within parallel loops.
    A block whose largest activation is below 1e-30 counts as zero.
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect",
                           "::mlir::linalg::LinalgDialect",
                           "::mlir::math::MathDialect",
                           "::mlir::tensor::TensorDialect"];
  let options = [Option<"bits", "bits", "int64_t", /*default=*/"16",
                        "Of an activation: 8 or 16">];
  let statistics = [Statistic<"numProducts", "products", "Products rewritten">];
}

def SkipZeroRows : Pass<"cpu-skip-zero-rows", "::mlir::ModuleOp"> {
  let summary = "Mark products of rectified rows, whose zeros need no rows of the matrix";
  let description = [{
    A channel mix multiplies a squared ReLU, of trained models mostly zeros, with its
    value matrix. The rows of the matrix that zeros multiply need not be read. This
    marks such products of one row with a constant matrix, of 16 bits or more per
    element or of integers that are multiplied in groups. `cpu-vectorize-kernels` then
    makes a list of the row's elements that are not zero, or of groups, and visits
    those; groups only if three fifths of them are zero, because memory is read more
    slowly by a list than from end to end. `cpu-pack-matrices` makes the parts of such
    matrices wide enough that reading some rows saves memory traffic. Sums have the
    same terms in the same order but for the zeros, so that results are to the bit those
    of visiting all (where all weights are finite numbers).

    ```mlir
    %r = linalg.generic // max(%k, 0) * max(%k, 0)
    %y = linalg.generic ins(%r, %w : tensor<1x3072xf32>, tensor<3072x768xf32>)
    // after
    %y = linalg.generic ins(%r, %w : tensor<1x3072xf32>, tensor<3072x768xf32>) {cpu.skip_zeros = 0 : i64}
    ```
  }];
  let statistics = [Statistic<"numProducts", "products", "Products marked">];
}

def PackMatrices : Pass<"cpu-pack-matrices", "::mlir::ModuleOp"> {
  let summary = "Lay constant matrices out in the order in which kernels read them";
  let description = [{
    A product with a constant matrix takes some columns at a time and sums over all rows.
    In a matrix that is stored by parts of so many columns, one part after another,
    a kernel reads memory from end to end, as hardware fetches ahead best, and threads
    have a range of it each. The same is done to what a product's body reads beside the
    matrix, the scales of quantised ones for instance.

    ```mlir
    %y = linalg.generic  // y[m, n] += x[m, k] * w[k, n]
        ins(%x, %w : tensor<1x768xf32>, tensor<768x3072xbf16>)
    // after
    %y = scf.forall (%p) in (96) {
      linalg.generic  // y[m, p, n] += x[m, k] * w[p, k, n]
          ins(%x, %part : tensor<1x768xf32>, tensor<1x768x32xbf16>)
    }
    ```

    Where products of small integers are summed over groups of two or four rows, those
    lie side by side within a part, as instructions that add them need it.

    The product becomes a parallel loop over more than two parts, into which
    `rwkvc-fuse-into-parallel-loops` takes what follows it. What the sums start from
    is filled in there too, and not in memory before. For devices with many processors
    an iteration takes `rows` rows at most, or half of them where there would be fewer
    than `min-iterations`, if these divide the rows there are.

    Iterations of a parallel loop that each read some columns of a constant have those
    one behind another as well: a part is as wide as what an iteration reads, and
    products outside loops take the same parts.

    ```mlir
    %part = tensor.extract_slice %w[0, %n64] [128, 64] [1, 1] : tensor<128x768xf32>
    // after
    %part = tensor.extract_slice %w[%n, 0, 0] [1, 128, 64] [1, 1, 1] : tensor<12x128x64xf32>
    ```

    Parts of a matrix of which `cpu.skip_zeros` lets rows be skipped are up to `row-bytes`
    wide, or `group-columns` columns where groups of rows are, so that memory is read in
    longer runs, but there are `min-parts` of them at least.

    Columns that are left beyond the parts are a product of their own, with a part as
    wide as the next multiple of eight; its last columns are zeros, and what they
    yield is dropped.

    ```mlir
    %main = tensor.extract_slice %y[0, 0] [1, 50272] [1, 1]
    ... // with tensor<1571x768x32xbf16>
    %rest = tensor.extract_slice %y[0, 50272] [1, 5] [1, 1]
    ... // with tensor<1x768x8xbf16>
    ```

    Constants that are needed in their own order too, by an op of another kind or in
    another function, stay, and so do those of fewer than eight columns and of no
    whole part. Large ones are computed when their bytes are needed,
    or now in a temporary file without a name (Support/Constants.h); where that fails, they
    stay and a warning says why.
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect",
                           "::mlir::linalg::LinalgDialect",
                           "::mlir::scf::SCFDialect",
                           "::mlir::tensor::TensorDialect"];
  let options = [Option<"columns", "columns", "int64_t", /*default=*/"32",
                        "Columns of a part">,
                 Option<"rowBytes", "row-bytes", "int64_t", /*default=*/"512",
                        "Bytes of a part's row where rows may be skipped">,
                 Option<"groupColumns", "group-columns", "int64_t",
                        /*default=*/"128",
                        "Columns of a part where groups of rows may be skipped">,
                 Option<"minParts", "min-parts", "int64_t", /*default=*/"4",
                        "Parts there are then at least, for threads to share">,
                 Option<"rows", "rows", "int64_t", /*default=*/"0",
                        "Rows of an iteration at most; 0: all of them">,
                 Option<"minIterations", "min-iterations", "int64_t",
                        /*default=*/"128",
                        "Iterations below which they have half as many">];
  let statistics = [Statistic<"numProducts", "products", "Products rewritten">,
                    Statistic<"numSlices", "slices",
                              "Slices of constants rewritten">];
}

def RoundActivations : Pass<"cpu-round-activations", "::mlir::ModuleOp"> {
  let summary = "Multiply weights of bf16 with activations of bf16";
  let description = [{
    A product with a constant matrix of bf16 widens each weight to f32. Here activations
    are rounded to bf16 and rows go in pairs, so that processors with AVX512-BF16
    multiply two of each and add them to a sum of f32 in one instruction. The
    error is 2^-9 of each activation.

    ```mlir
    %y = linalg.generic  // y[n] += x[k] * extf(w[k, n])
        ins(%x, %w : tensor<768xf32>, tensor<768x3072xbf16>)
    // after
    %rounded = linalg.generic  // truncf(x[k])
    %y = linalg.generic  // y[n] += extf(rounded[k, two]) * extf(w[k, two, n])
        ins(%rounded, %w : tensor<384x2xbf16>, tensor<384x2x3072xbf16>)
    ```

    Applies to matrices that only such products read, with an even number of rows,
    and not within parallel loops.
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect",
                           "::mlir::linalg::LinalgDialect",
                           "::mlir::tensor::TensorDialect"];
  let statistics = [Statistic<"numProducts", "products", "Products rewritten">];
}

def VectorizeKernels : Pass<"cpu-vectorize-kernels", "::mlir::ModuleOp"> {
  let summary = "Lower the linalg op of each kernel to loops over vectors";
  let description = [{
    One loop of the op is put into vector lanes, the one whose operands lie
    contiguous. A reduction over another loop keeps vector accumulators in
    registers, and where these are few, several partial sums of each; a reduction over the lanes itself ends with one horizontal sum.
    A matrix that one vector is multiplied by is fetched some KB ahead to the first-level cache, and so are the
    rows of it that `cpu.skip_zeros` leaves. Where the model has weights of `streamed-bytes` and more
    (`rwkvc.weights_size` of the outermost module), the matrix is fetched past the other caches.
    Products of integers of at most 16 bits that are summed over pairs of rows, which
    lie side by side, are added in lanes (`vector.deinterleave`), which LLVM makes one
    instruction. Of integers of 8 bits, those of the matrix without a sign, four rows
    are; as LLVM sees no such instruction in a loop, the pass calls those that
    `dot-products` says: `vpdpbusd`, or `vpmaddubsw` with numbers of 4 bits, or
    magnitudes of 8 bits while the activations take the sign, for the sum of a pair must
    fit 16 bits. Of bf16, pairs are, by `vdpbf16ps` where `dot-products` says `bf16`. Where it says `amx`,
    rows of a product with a matrix of either kind go into tiles of 16 x 16 sums, those of bf16 two by two where there are
    as many, and what is left of rows as without tiles. A factor that the innermost sum does not depend on leaves it, and so
    does the conversion of its integers to floating point; and where there is one row, a
    zero point that all terms subtract from their weights does, times the sum of what it
    multiplies, which is computed where the kernel begins, for each range of its units.
    Where an operand does not depend on a further parallel loop, several of that
    loop's iterations share its loads. While all of them go over one part of a matrix,
    the part that follows in memory is fetched to the second-level cache. A loop that
    `rwkvc.needed` limits ends with the iterations that are needed, or with the tile
    that has the last of them, unless it is in the lanes. What cannot be vectorised (a body with
    control flow, an index map that is not linear, boolean buffers) becomes
    scalar loops.

    A kernel whose work is at least `min-parallel-work` scalar operations gets two
    leading arguments, the range of its outermost loop to run; the attribute
    `cpu.parallel_units` says how many iterations there are, and calls pass all.
    The iterations of a kernel that is a `scf.forall` are those of that loop.

    ```mlir
    func.func private @kernel(%x: memref<64xf32>, %w: memref<64x32xf32>, %y: memref<32xf32>)
      linalg.generic // y[n] += x[k] * w[k, n]
    // after
    %acc:4 = scf.for %k = ... iter_args(...)  // 4 vectors of 8 columns
      %b = vector.broadcast %xk
      %w0 = vector.load ...
      vector arithmetic
    vector.store ...
    ```
  }];
  let dependentDialects = [
    "::mlir::amx::AMXDialect", "::mlir::arith::ArithDialect",
    "::mlir::func::FuncDialect", "::mlir::LLVM::LLVMDialect",
    "::mlir::memref::MemRefDialect", "::mlir::scf::SCFDialect",
    "::mlir::vector::VectorDialect"
  ];
  let options = [
    Option<"vectorBits", "vector-bits", "int64_t", /*default=*/"256",
           "Width of a vector register; a module's attribute cpu.vector_bits "
           "says otherwise">,
    Option<"dotProducts", "dot-products", "std::string",
           /*default=*/"\"generic\"",
           "Instructions that add products of four integers of 8 bits: generic, "
           "avx2, avx512bw or vnni; or bf16: vnni, and one for pairs of bf16; "
           "or amx: these, and tiles of both; a module's attribute "
           "cpu.dot_products says otherwise">,
    Option<"streamedBytes", "streamed-bytes", "int64_t", /*default=*/"0",
           "Bytes of all weights from which they are fetched past the larger "
           "caches; 0: never; a module's attribute cpu.streamed_bytes says "
           "otherwise">,
    Option<"minParallelWork", "min-parallel-work", "int64_t",
           /*default=*/"1 << 18",
           "Scalar operations from which a kernel is split over threads; 0: "
           "never">
  ];
  let statistics = [
    Statistic<"numVectorized", "vectorized", "Kernels that use vectors">,
    Statistic<"numScalar", "scalar", "Kernels that became scalar loops">,
    Statistic<"numParallel", "parallel", "Kernels split over threads">
  ];
}

def PadRows : Pass<"cpu-pad-rows", "::mlir::func::FuncOp"> {
  let summary = "Keep rows of buffers from having the same place in a cache";
  let description = [{
    A product reads a dozen rows side by side. Where they lie a multiple of 2 KB
    apart, all of them belong into the same few lines of the first-level cache and
    evict each other before a line is used up, which takes up to half of the
    speed. Works on `bufferization.alloc_tensor`: those of at least `min-rows` such rows
    become the beginning of rows that are a line longer.

    ```mlir
    %0 = bufferization.alloc_tensor() : tensor<64x1024xf32>
    // after
    %1 = bufferization.alloc_tensor() : tensor<64x1040xf32>
    %0 = tensor.extract_slice %1[0, 0] [64, 1024] [1, 1]
    ```
  }];
  let dependentDialects = ["::mlir::bufferization::BufferizationDialect",
                           "::mlir::tensor::TensorDialect"];
  let options = [
    Option<"minRows", "min-rows", "int64_t", /*default=*/"8",
           "Rows that a first-level cache has no place for">
  ];
  let statistics = [Statistic<"numPadded", "padded", "Buffers made longer">];
}

def PrefetchRows : Pass<"cpu-prefetch-rows", "::mlir::ModuleOp"> {
  let summary = "Fetch the rows of the next iteration of a loop early";
  let description = [{
    A loop over tokens reads a short row of each operand per iteration, from places
    that lie a token apart. Hardware does not foresee the next row, and the misses
    come one by one as the row is read; asked for an iteration ahead they cost
    little. Applies to `memref.subview` ops of at most `max-row-bytes` contiguous
    bytes that follow the loop's induction variable.

    ```mlir
    scf.for %t = %c0 to %c64 step %c1 {
      %row = memref.subview %k[0, %t, %h, 0] [1, 1, 1, 64] [1, 1, 1, 1]
    // after
    scf.for %t = %c0 to %c64 step %c1 {
      %next = arith.select %isPast, %t, %t1
      memref.prefetch %k[0, %next, %h, 0], read, locality<3>, data
      ... // a line each
      %row = memref.subview %k[0, %t, %h, 0] [1, 1, 1, 64] [1, 1, 1, 1]
    ```
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect",
                           "::mlir::memref::MemRefDialect"];
  let options = [
    Option<"maxRowBytes", "max-row-bytes", "int64_t", /*default=*/"1024",
           "Longest row that is fetched ahead">
  ];
  let statistics = [Statistic<"numRows", "rows", "Rows fetched ahead">];
}

def CloneKernels : Pass<"cpu-clone-kernels", "::mlir::ModuleOp"> {
  let summary = "Set kernels apart for several kinds of processors";
  let description = [{
    What follows depends on the width of vector registers. Private functions without
    results that refer to no other function are copied into a module for each of
    `levels`, named as the level is; only declarations stay where they were.

    ```mlir
    func.func @main(%x: memref<64xf32>) {
      call @kernel_0(%x)
    func.func private @kernel_0(%x: memref<64xf32>) { ... }
    // after
    func.func @main(%x: memref<64xf32>) {
      call @kernel_0(%x)
    func.func private @kernel_0(memref<64xf32>)
    module @"x86-64-v3" attributes {cpu.dot_products = "avx2", cpu.vector_bits = 256 : i64} {
      func.func private @kernel_0(%x: memref<64xf32>) { ... }
    }
    module @"x86-64-v4" attributes {cpu.dot_products = "avx512bw", cpu.vector_bits = 512 : i64} { ... }
    ```

    A level may have a base, an earlier one than which its processors are better only
    where products of integers or of bf16 are added. It gets the kernels that do so, and those of the base
    serve it for the rest (attribute `cpu.base`).

    `cpu-dispatch-kernels` joins the modules again.
  }];
  let dependentDialects = ["::mlir::func::FuncDialect"];
  let options = [
    ListOption<"levels", "levels", "std::string", "Names of the levels">,
    ListOption<"vectorBits", "vector-bits", "int64_t",
               "Width of each level's vector registers">,
    ListOption<"bases", "bases", "int64_t",
               "Number of each level's base, counted from 0, or -1; none: no "
               "level has one">,
    ListOption<"dotProducts", "dot-products", "std::string",
               "Instructions of each level for products of integers of 8 bits, "
               "as for cpu-vectorize-kernels; none given: generic">,
    ListOption<"streamedBytes", "streamed-bytes", "int64_t",
               "Bytes of weights from which each level fetches them past the "
               "larger caches; 0 or none given: never">
  ];
  let statistics = [Statistic<"numKernels", "kernels", "Kernels copied">];
}

def DispatchKernels : Pass<"cpu-dispatch-kernels", "::mlir::ModuleOp"> {
  let summary = "Call kernels of several threads or levels through tasks";
  let description = [{
    Works on the LLVM dialect. A call of a function that has `cpu.parallel_units`
    becomes a call of `rwkvrt_parallel_for` with a task that unpacks the arguments,
    of those that the kernel reads.

    ```mlir
    llvm.call @kernel(%c0, %c16, %x, %y) : (i64, i64, !llvm.ptr, !llvm.ptr) -> ()
    // after
    llvm.store ..., %context
    llvm.call @rwkvrt_parallel_for(@kernel_task, %context, %c16)
    ```

    Kernels that are defined in the modules of levels (`cpu-clone-kernels`) get a task
    in each of them, and each such module a table of tasks and numbers of iterations,
    `rwkvc_kernels`. The functions that callers know have a last argument, the table
    to use.

    ```mlir
    llvm.func @main(%x: !llvm.ptr)
      llvm.call @kernel(%x) : (!llvm.ptr) -> ()
    // after
    llvm.func @main(%x: !llvm.ptr, %code: !llvm.ptr)
      llvm.store ..., %context
      %task = llvm.load (llvm.getelementptr %code[0][0])
      %units = llvm.load (llvm.getelementptr %code[0][1])
      llvm.call @rwkvrt_parallel_for(%task, %context, %units)
    ```

    What no level runs on several threads is called directly, not through the runtime.
    A level's table leads to its base (`cpu.base`) where it has no kernel of its own.

    A call of a group of kernels (`rwkvc.independent`, see `rwkvc-group-kernels`) of which
    one is parallel becomes one call of `rwkvrt_parallel_loops` for them all.
  }];
  let dependentDialects = ["::mlir::LLVM::LLVMDialect"];
  let statistics = [
    Statistic<"numCalls", "calls", "Calls dispatched">,
    Statistic<"numRegions", "regions", "Calls of the runtime or of a task">
  ];
}

#endif // RWKVC_TARGET_CPU_PASSES_TD
