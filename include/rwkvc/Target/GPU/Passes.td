//===- Passes.td - Code generation for GPUs -------------------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_TARGET_GPU_PASSES_TD
#define RWKVC_TARGET_GPU_PASSES_TD

include "mlir/Pass/PassBase.td"

def DistributeRecurrences : Pass<"gpu-distribute-recurrences", "::mlir::ModuleOp"> {
  let summary = "Give each value element of a recurrence to a thread";
  let description = [{
    The value elements of a head, and v4's channels, never interact: a thread that has one of them
    runs over all tokens without waiting for others, and what it knows of the state fits its
    registers. A recurrence over at least `min-tokens` tokens, one after the other, becomes a parallel loop
    over threads, which work on copies of their part of the state in memory of their own.
    Recurrences in chunks stay, and those of which a thread would have more than `max-elements` elements
    of the state.

    ```mlir
    %y, %new = wkv.wkv7 ... state(%s) : ... tensor<1x64x1x64xf32>, tensor<1x1x64x64xf32>
    // after
    %r:2 = scf.forall (%j) in (64) shared_outs(%o = %init, %n = %s) {
      %part = tensor.extract_slice %n[0, 0, %j, 0] [1, 1, 1, 64] [1, 1, 1, 1]
      %own = bufferization.alloc_tensor() copy(%part) {memory_space = #gpu.address_space<private>}
      %y, %new = wkv.wkv7 ... state(%own) : ... tensor<1x64x1x1xf32>, tensor<1x1x1x64xf32>
      scf.forall.in_parallel { tensor.parallel_insert_slice ... }
    } {mapping = [#gpu.thread<linear_dim_0>]}
    ```
  }];
  let dependentDialects = [
    "::mlir::affine::AffineDialect", "::mlir::bufferization::BufferizationDialect",
    "::mlir::gpu::GPUDialect", "::mlir::scf::SCFDialect", "::mlir::tensor::TensorDialect"
  ];
  let options = [
    Option<"minTokens", "min-tokens", "int64_t", /*default=*/"2",
           "Fewest tokens of a recurrence that threads share so">,
    Option<"maxElements", "max-elements", "int64_t", /*default=*/"128",
           "Most elements of the state that a thread has">
  ];
  let statistics = [
    Statistic<"numDistributed", "distributed", "Recurrences given to threads">
  ];
}

def PrivatizeTensors : Pass<"gpu-privatize-tensors", "::mlir::func::FuncOp"> {
  let summary = "Give threads memory of their own for what they compute meanwhile";
  let description = [{
    What an iteration of a loop over threads writes for itself need not be in memory that others see.
    Destinations in it of at most `max-elements` elements are allocated in private memory.

    ```mlir
    scf.forall (%j) in (64) ... {
      %e = tensor.empty() : tensor<1x1x1xf32>
      %sum = linalg.fill ... outs(%e)
    } {mapping = [#gpu.thread<linear_dim_0>]}
    // after
      %e = bufferization.alloc_tensor() {memory_space = #gpu.address_space<private>} : tensor<1x1x1xf32>
    ```
  }];
  let dependentDialects = ["::mlir::bufferization::BufferizationDialect",
                           "::mlir::gpu::GPUDialect"];
  let options = [
    Option<"maxElements", "max-elements", "int64_t", /*default=*/"128",
           "Most elements of a tensor in private memory">
  ];
  let statistics = [
    Statistic<"numPrivatized", "privatized", "Tensors in private memory">
  ];
}

def ShareTensors : Pass<"gpu-share-tensors", "::mlir::func::FuncOp"> {
  let summary = "Keep what a workgroup computes in loops in memory that it shares";
  let description = [{
    An iteration of a parallel loop is a workgroup, and what it computes in a loop over chunks of tokens,
    one chunk after the other, is written by some of its threads and read by others. As long as they
    take no more than `max-bytes` together, destinations are allocated in memory that a workgroup shares: first what
    a loop carries from iteration to iteration, the state of a recurrence, then what is
    computed in the loop. What loops update in place, a slice of the function's state, is copied there
    before them and back after the last. A loop over threads keeps its own (`gpu-privatize-tensors`).

    ```mlir
    scf.forall (%head) in (12) ... {
      %e = tensor.empty() : tensor<64x64xf32>
      %s = linalg.copy ins(%state : ...) outs(%e : ...)
      %t = scf.for %chunk = ... iter_args(%carried = %s) -> (tensor<64x64xf32>) {
    // after
      %e = bufferization.alloc_tensor() {memory_space = #gpu.address_space<workgroup>} : tensor<64x64xf32>
    ```
  }];
  let dependentDialects = ["::mlir::bufferization::BufferizationDialect",
                           "::mlir::gpu::GPUDialect"];
  let options = [
    Option<"maxBytes", "max-bytes", "int64_t", /*default=*/"16384",
           "Bytes of a workgroup's tensors at most: all devices have 32 KB, and products need some">
  ];
  let statistics = [
    Statistic<"numShared", "shared", "Tensors in memory that a workgroup shares">
  ];
}

def SinkScalars : Pass<"gpu-sink-scalars", "::mlir::ModuleOp"> {
  let summary = "Let kernels read the scalars that they depend on";
  let description = [{
    A function's inputs are in the device's memory, so the processor cannot read the token that
    says which row of a table a kernel takes. Reads of memory and what is computed from
    them move into the kernels, which then are the same in every call: launches can be recorded once.

    ```mlir
    %token = memref.load %tokens[%c0] : memref<1xi32>
    %row = arith.index_cast %token : i32 to index
    %x = memref.subview %table[%row, 0] [1, 64] [1, 1] : ...
    linalg.generic ins(%x : ...) outs(%y : ...) { ... }
    // after
    scf.execute_region no_inline {
      %token = memref.load %tokens[%c0] : memref<1xi32>
      ...
      linalg.generic ins(%x : ...) outs(%y : ...) { ... }
    }
    ```

    Loops of the function with a constant number of iterations are unrolled first. Others,
    and conditions on values that the device computes, are kernels as a whole, of one workgroup.
    A read of memory that may be written before the kernel starts is an error.
  }];
  let dependentDialects = ["::mlir::scf::SCFDialect"];
  let statistics = [
    Statistic<"numSunk", "sunk", "Operations copied into kernels">,
    Statistic<"numUnrolled", "unrolled", "Loops unrolled">
  ];
}

def ChainKernels : Pass<"gpu-chain-kernels", "::mlir::ModuleOp"> {
  let summary = "Run small kernels that follow each other in one workgroup";
  let description = [{
    To launch a kernel takes some microseconds; a norm's sums, its root and what is
    done with them take less. Kernels in a row become one `scf.execute_region` (attribute `gpu.chain`), which one workgroup runs
    from end to end, if each takes at most `max-work` scalar operations and has no sums or at most
    `max-sums`; products with matrices stay apart, since more than one workgroup should
    read the matrix. Groups of independent kernels (`rwkvc-group-kernels`) that are as small belong to it.

    ```mlir
    linalg.generic ins(%x) outs(%sum) ...
    linalg.generic ins(%x, %sum) outs(%y) ...
    // after
    scf.execute_region no_inline {
      linalg.generic ins(%x) outs(%sum) ...
      linalg.generic ins(%x, %sum) outs(%y) ...
    } {gpu.chain}
    ```
  }];
  let dependentDialects = ["::mlir::scf::SCFDialect"];
  let options = [
    Option<"maxWork", "max-work", "int64_t", /*default=*/"1 << 17",
           "Scalar operations of a kernel that one workgroup runs">,
    Option<"maxSums", "max-sums", "int64_t", /*default=*/"8",
           "Elements of its output, if they are sums">
  ];
  let statistics = [
    Statistic<"numChains", "chains", "Chains made">,
    Statistic<"numChained", "chained", "Kernels in them">
  ];
}

def AppendChains : Pass<"gpu-append-chains", "::mlir::ModuleOp"> {
  let summary = "Let a kernel's last workgroup run the chain that follows";
  let description = [{
    A chain (`gpu-chain-kernels`) after a kernel of many workgroups need not be a launch: the
    workgroup that is done last runs it. Which one that is, a counter in the function's workspace tells,
    which its first kernel clears; there is one for each chain.

    ```mlir
    scf.execute_region no_inline {
      linalg.matvec ins(%w, %x) outs(%y)
      scf.yield
    } {rwkvc.independent}
    scf.execute_region no_inline {
      linalg.exp ins(%y) outs(%z)
    } {gpu.chain}
    // after
    linalg.fill ins(%c0) outs(%counters)
    scf.execute_region no_inline {
      linalg.matvec ins(%w, %x) outs(%y)
      scf.execute_region no_inline {
        %before = memref.atomic_rmw addi %c1, %counter[%c0] : (i32, memref<1xi32>) -> i32
        linalg.exp ins(%y) outs(%z)
      } {gpu.chain}
    } {rwkvc.independent}
    ```
  }];
  let dependentDialects = ["::mlir::linalg::LinalgDialect",
                           "::mlir::memref::MemRefDialect",
                           "::mlir::scf::SCFDialect"];
  let statistics = [Statistic<"numAppended", "appended", "Chains appended">];
}

def DistributeKernels : Pass<"gpu-distribute-kernels", "::mlir::ModuleOp"> {
  let summary = "Share kernels among workgroups and threads";
  let description = [{
    Private functions of kernels (`rwkvc-outline-kernels{keep-regions}`) become functions
    of a `gpu.module`, and calls of them launches.

    An iteration of a function's `scf.forall` is a workgroup. The threads of a workgroup share
    each linalg op in it and wait for each other before the next. The elements of a linalg op's
    output go to neighbouring threads so that these read neighbouring elements of the largest operand;
    where there are more threads than elements, several share a sum and add their parts
    through memory that the workgroup shares. Large sums of products are computed by tiles
    (see below). Kernels of a group (`rwkvc.independent`) have workgroups of their own
    in one launch, each in the else branch of the one before. Kernels that follow each other in a function are run by one workgroup; a chain at
    the end of others (`gpu-append-chains`) by that which finds all others done.

    ```mlir
    func.func @step(...) {
      call @kernel_0(%x, %y) : (memref<768xf32>, memref<768xf32>) -> ()
    func.func private @kernel_0(%x: memref<768xf32>, %y: memref<768xf32>) {
      linalg.generic ins(%x) outs(%y) { exp }
    // after
    func.func @step(...) {
      %0 = memref.memory_space_cast %x : memref<768xf32> to memref<768xf32, #gpu.address_space<global>>
      gpu.launch_func @kernels::@kernel_0 blocks in (%c3, %c1, %c1) threads in (%c256, %c1, %c1) args(%0, %1)
    gpu.module @kernels {
      gpu.func @kernel_0(%x: memref<768xf32, #gpu.address_space<global>>, %y: ...) kernel {
        %i = 256 * gpu.block_id x + gpu.thread_id x
        scf.if %i < 768 { memref.store exp(memref.load %x[%i]), %y[%i] }
    ```

    In a product each input depends on the rows of the output or on its columns, and not on
    both. Where each thread has four elements at least, a workgroup computes a tile and
    each thread four columns of up to eight rows of it. What depends on a row or on a column
    alone, a dequantised weight for instance, is computed once for the tile and kept in memory
    that the workgroup shares, for up to 32 terms of the sums at a time, while the operands
    of the next ones are read. Factors in the body are regrouped for that, `(x * w) * scale`
    becomes `x * (w * scale)`; terms are added in the order of the op.

    ```mlir
    linalg.generic ins(%x, %w) outs(%y)  // y[m, n] += x[m, k] * w[k, n]: 64 x 32 elements, 128 threads
    // after
    %sums:16, %next:24 = scf.for %k = 0 to 736 step 32 iter_args(...) {
      ... // %next to %xs[32, 64] and %ws[32, 32] in shared memory
      gpu.barrier
      ... // %next: 16 elements of %x and 8 of %w for k + 32
      scf.for %t = 0 to 32 iter_args(...) {
        ... // 4 of %xs[t] and 4 of %ws[t]: 16 products
      }
      gpu.barrier
    }
    ```

    With `matrix-units`, a product whose body only adds products of a row's and a column's factor, all f32, is
    left to units that multiply a 16x8 matrix by an 8x16 one for a subgroup of threads, which has up to 32 rows and 32 columns; where a tile has fewer than
    subgroups, several have parts of one sum, which are added in shared memory at the end. Rows, columns or terms below 16 are left to threads.

    | units | subgroup | factors | sums |
    |---|---|---|---|
    | `tf32` | 32 threads | TF32 numbers, floats with 11 bits of precision | cut off |
    | `mfma` | 64 threads | floats | rounded |

    With `tf32`, a factor is kept as the nearest TF32 number and the rest of it,
    `x * w` is `rest(x) * w + x * rest(w) + x * w`, and an error of about 2^-22 remains. Of an f16, a bf16 or an
    integer of at most 11 bits there is no rest, and its product is left out. A factor that is infinite yields NaN. Since sums are cut off
    instead of rounded, each stage of up to 32 terms starts from zero and is added as floats are.

    ```mlir
    linalg.generic ins(%x, %w) outs(%y)  // y[m, n] += x[m, k] * w[k, n], w of bf16: 64 x 32 elements, 256 threads
    // after, with matrix-units=tf32
    %sums:4, %next:12 = scf.for %k = 0 to 736 step 32 iter_args(...) {
      %high = arith.bitcast ((arith.bitcast %x + 4096) & -8192)
      %low = arith.bitcast (arith.bitcast (%x - %high) & -8192)
      ... // to %xs[2, 32, 72] and, of %w, %ws[32, 40] in shared memory
      gpu.barrier
      ... // %next, for k + 32
      %a = gpu.subgroup_mma_load_matrix %xs[...] {leadDimension = 72 : index, transpose} : ... -> !gpu.mma_matrix<16x8xf32, "AOp">
      %b = gpu.subgroup_mma_load_matrix %ws[...] {leadDimension = 40 : index} : ... -> !gpu.mma_matrix<8x16xf32, "BOp">
      %c = gpu.subgroup_mma_compute %a, %b, %zero {a_transpose} : ... -> !gpu.mma_matrix<16x16xf32, "COp">
      ... // 8 of these
      %sum = gpu.subgroup_mma_elementwise addf %sums, %c
      gpu.barrier
    }
    // after, with matrix-units=mfma
    %sums:4, %next:12 = scf.for %k = 0 to 736 step 32 iter_args(...) {
      ... // %next to %xs[32, 72] and %ws[32, 40] in shared memory
      gpu.barrier
      ... // %next, for k + 32
      %a = gpu.subgroup_mma_load_matrix %xs[...] ...
      %b = gpu.subgroup_mma_load_matrix %ws[...] ...
      %c = gpu.subgroup_mma_compute %a, %b, %sums {a_transpose} : ...
      ... // 8 of these
      gpu.barrier
    }
    ```

    An iteration of an `scf.forall` with the mapping `gpu.thread` is one thread's, which computes all that
    is in it by itself; buffers in private memory become `memref.alloca`. Others of the kernel wait
    behind the loop.

    ```mlir
    scf.forall (%j) in (64) {
      %s = memref.alloc() : memref<64xf32, #gpu.address_space<private>>
      scf.for %t = %c0 to %length step %c1 { ... }
    } {mapping = [#gpu.thread<linear_dim_0>]}
    // after
    %s = memref.alloca() : memref<64xf32, #gpu.address_space<private>>
    scf.if %thread < 64 {
      scf.for %t = %c0 to %length step %c1 { ... }
    }
    gpu.barrier
    ```

    Sizes must be static.
  }];
  let dependentDialects = [
    "::mlir::affine::AffineDialect", "::mlir::arith::ArithDialect",
    "::mlir::gpu::GPUDialect", "::mlir::linalg::LinalgDialect",
    "::mlir::memref::MemRefDialect", "::mlir::scf::SCFDialect"
  ];
  let options = [
    Option<"groupSize", "group-size", "int64_t", /*default=*/"256",
           "Most threads of a workgroup, a power of two">,
    Option<"minThreads", "min-threads", "int64_t", /*default=*/"1 << 15",
           "Threads below which several share the sum of an element">,
    Option<"matrixUnits", "matrix-units", "std::string", /*default=*/"",
           "Units for small matrices that multiply large ones: tf32 or mfma; none: threads do">
  ];
  let statistics = [
    Statistic<"numKernels", "kernels", "Kernels made">,
    Statistic<"numLaunches", "launches", "Launches of them">,
    Statistic<"numShared", "shared", "Linalg ops whose sums threads share">,
    Statistic<"numTiled", "tiled", "Products computed by tiles">,
    Statistic<"numUnitTiled", "unit-tiled", "Those of them by matrix units">,
    Statistic<"numThreadLoops", "thread-loops", "Loops whose iterations are threads">
  ];
}

def UnrollReductions : Pass<"gpu-unroll-reductions", "::mlir::gpu::GPUFuncOp"> {
  let summary = "Let threads fetch several terms of a sum before they add them";
  let description = [{
    Few threads run at once where a matrix is multiplied by one vector, and what each of them
    fetches ahead decides how busy memory is kept. Innermost loops that only read memory and sum
    up take several terms per iteration, as many as divide their number. The order of the sum
    stays. Loops over what a workgroup shares stay: it is near, and tiles of products take several
    terms already.

    ```mlir
    %sum = scf.for %i = %c0 to %c96 step %c1 iter_args(%s = %zero) -> (f32) {
      %x = memref.load %a[%i] : ...
      %t = arith.addf %s, %x : f32
      scf.yield %t : f32
    }
    // after, with max-terms=2
    %sum = scf.for %i = %c0 to %c96 step %c2 iter_args(%s = %zero) -> (f32) {
      %x0 = memref.load %a[%i] : ...
      %t0 = arith.addf %s, %x0 : f32
      %i1 = arith.addi %i, %c1 : index
      %x1 = memref.load %a[%i1] : ...
      %t1 = arith.addf %t0, %x1 : f32
      scf.yield %t1 : f32
    }
    ```
  }];
  let options = [Option<"maxTerms", "max-terms", "uint64_t", /*default=*/"16",
                        "Terms per iteration at most">];
  let statistics = [Statistic<"numUnrolled", "unrolled", "Loops unrolled">];
  let dependentDialects = ["::mlir::arith::ArithDialect"];
}

def UnrollPrivateLoops : Pass<"gpu-unroll-private-loops", "::mlir::gpu::GPUFuncOp"> {
  let summary = "Unroll loops over a thread's own memory, so that it can be registers";
  let description = [{
    Registers have no addresses. Loops of at most `max-iterations` in which the element of
    private memory that is read or written depends on the iteration are unrolled.

    ```mlir
    %s = memref.alloca() : memref<64xf32, #gpu.address_space<private>>
    scf.for %i = %c0 to %c64 step %c1 {
      %x = memref.load %s[%i] : ...
      memref.store %f, %s[%i] : ...
    }
    // after
    %x = memref.load %s[%c0] : ...
    memref.store %f, %s[%c0] : ...
    %x1 = memref.load %s[%c1] : ...
    memref.store %f1, %s[%c1] : ...
    ...
    ```
  }];
  let options = [
    Option<"maxIterations", "max-iterations", "uint64_t", /*default=*/"128",
           "Iterations of a loop at most">
  ];
  let statistics = [Statistic<"numUnrolled", "unrolled", "Loops unrolled">];
  let dependentDialects = ["::mlir::arith::ArithDialect"];
}

def RematerializeIndices
    : Pass<"gpu-rematerialize-indices", "::mlir::gpu::GPUFuncOp"> {
  let summary = "Compute indices anew after each barrier";
  let description = [{
    Processors that are OpenCL devices run the threads of a workgroup in a loop from one barrier to the
    next; what a thread knows on both sides is kept in memory for each thread. Which elements are its
    own is computed sooner than fetched. So integers that are computed from the thread's number and the
    like are computed again in each stretch of code between barriers.

    ```mlir
    %i = gpu.thread_id x
    %j = arith.addi %i, %c32 : index
    memref.store %v, %shared[%j] : ...
    gpu.barrier
    %w = memref.load %shared[%j] : ...
    // after
    ...
    gpu.barrier
    %i1 = gpu.thread_id x
    %j1 = arith.addi %i1, %c32 : index
    %w = memref.load %shared[%j1] : ...
    ```
  }];
  let statistics = [Statistic<"numCopies", "copies", "Operations copied">];
}

def AnnotateArguments : Pass<"gpu-annotate-arguments", "::mlir::ModuleOp"> {
  let summary = "Tell kernels how their buffers are aligned and which are weights";
  let description = [{
    The lists of launches (`rwkvc-record-launches`) say which addresses a kernel is given. What all of them are
    multiples of is its argument's alignment: code generators then read several numbers at once.
    Weights are never written, so that they can be read through caches that nobody keeps coherent, and in any order.

    ```mlir
    func.func private @step(...) attributes {rwkvc.launches = [{arguments = array<i64: 0, 0, 256, 1, 0, 16>, kernel = "kernel_0", ...}, ...]
    gpu.func @kernel_0(%w: memref<64xf32>, %x: memref<64xf32>) kernel
    // after
    gpu.func @kernel_0(%w: memref<64xf32> {llvm.align = 64, llvm.noalias, llvm.readonly}, %x: memref<64xf32> {llvm.align = 16}) kernel
    ```
  }];
  let statistics = [
    Statistic<"numAligned", "aligned", "Arguments whose alignment is known">,
    Statistic<"numConstant", "constant", "Arguments that are weights">
  ];
}

def LowerKernels : Pass<"gpu-lower-kernels", "::mlir::ModuleOp"> {
  let summary = "Make kernels functions for a kind of device";
  let description = [{
    A `gpu.module` becomes a module of functions that MLIR's lowerings to LLVM know: which
    thread and workgroup it is, and to wait for the others, are the target's
    intrinsics or library functions; what a workgroup shares is a global variable. Memory spaces get
    the numbers that LLVM's GPU targets agree on: 1 for all memory of the device, 3 for a workgroup's; that
    of a thread's own memory is the target's.

    ```mlir
    gpu.module @kernels {
      gpu.func @kernel(%x: memref<64xf32, #gpu.address_space<global>>) workgroup(%s: memref<32xf32, #gpu.address_space<workgroup>>) kernel {
        %i = gpu.thread_id x
        gpu.barrier
    // after
    module @kernels {
      memref.global "private" @kernel_0 : memref<32xf32, 3> = uninitialized
      func.func @kernel(%x: memref<64xf32, 1>) attributes {gpu.shared_bytes = 128, gpu.threads = 64} {
        %s = memref.get_global @kernel_0 : memref<32xf32, 3>
        %0 = llvm.call_intrinsic "llvm.nvvm.read.ptx.sreg.tid.x"() : () -> i32
        %i = arith.index_castui %0 : i32 to index
        llvm.call_intrinsic "llvm.nvvm.barrier.cta.sync.aligned.all"(%c0) : (i32) -> ()
    ```

    Matrices that a subgroup has (`gpu.subgroup_mma_*`, of f32, at one index of shared memory) become what a thread has of
    them. `matrix-units` says which units' they are, and `has-matrix-units` that the device has these. Other devices imitate them, for checks.

    - `tf32`: structs, which LLVM's `nvvm.wmma` intrinsics fill, multiply and write. Imitated, a thread computes eight
      neighbouring elements of a product in a loop; it reads the factors when they are multiplied, so shared memory must still have them, and takes no
      more bits of them than TF32 has.
    - `mfma`: vectors. Of 64 threads, thread t has terms 2(t/16) and 2(t/16)+1 of row, or column, t mod 16 of the factors, and rows 4(t/16) to
      4(t/16)+3 of column t mod 16 of sums. An `amdgcn.mfma` intrinsic multiplies one term of each thread, so there are two. Imitated, threads write their
      numbers of the factors to memory of the workgroup, wait, and each reads those that the intrinsic would take for it; all else is the same.
      All threads of a workgroup must be there, and their number known (`known_block_size`).

    ```mlir
    %d = gpu.subgroup_mma_compute %a, %b, %c : !gpu.mma_matrix<16x8xf32, "AOp">, ...
    // after, with has-matrix-units
    %d = llvm.call_intrinsic "llvm.nvvm.wmma.m16n16k8.mma.col.row.tf32"(%a0, ..., %b0, ..., %c0, ...)
    // after, with matrix-units=mfma has-matrix-units
    %c1 = llvm.call_intrinsic "llvm.amdgcn.mfma.f32.16x16x4f32"(%a0, %b0, %c, %0, %0, %0) : (f32, f32, vector<4xf32>, i32, i32, i32) -> vector<4xf32>
    %d = llvm.call_intrinsic "llvm.amdgcn.mfma.f32.16x16x4f32"(%a1, %b1, %c1, %0, %0, %0)
    // after, with neither
    %sums:8 = scf.for %k = %c0 to %c8 step %c1 iter_args(...) {
      %x = memref.load %s[...]
      ...
    }
    %d = vector.from_elements %sums#0, ... : vector<8xf32>
    ```
  }];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::func::FuncDialect",
    "::mlir::LLVM::LLVMDialect", "::mlir::memref::MemRefDialect",
    "::mlir::scf::SCFDialect", "::mlir::vector::VectorDialect"
  ];
  let options = [
    Option<"target", "target", "std::string", /*default=*/"\"spirv\"",
           "Kind of device: spirv, nvptx or amdgpu">,
    Option<"matrixUnits", "matrix-units", "std::string", /*default=*/"\"tf32\"",
           "Units for small matrices that kernels are for: tf32 or mfma; none: as tf32">,
    Option<"hasMatrixUnits", "has-matrix-units", "bool", /*default=*/"false",
           "Whether the device has these; otherwise they are imitated">
  ];
}

#endif // RWKVC_TARGET_GPU_PASSES_TD
