// RUN: rwkv-opt %s --gpu-lower-kernels="target=nvptx has-matrix-units" | FileCheck %s --check-prefixes=CHECK,WMMA
// RUN: rwkv-opt %s --gpu-lower-kernels=target=spirv | FileCheck %s --check-prefixes=CHECK,LOOPS
// RUN: rwkv-opt %s --gpu-lower-kernels="target=amdgpu matrix-units=mfma has-matrix-units" --canonicalize --cse | FileCheck %s --check-prefixes=CHECK,MFMA
// RUN: rwkv-opt %s --gpu-lower-kernels="target=spirv matrix-units=mfma" --canonicalize --cse | FileCheck %s --check-prefixes=CHECK,IMITATED
// RUN: not rwkv-opt %s --gpu-lower-kernels="target=amdgpu has-matrix-units" 2>&1 | FileCheck %s --check-prefix=MISMATCH
// MISMATCH: target=amdgpu: no device of this kind has 'tf32' as matrix units
// RUN: not rwkv-opt %s --gpu-lower-kernels="matrix-units=wmma" 2>&1 | FileCheck %s --check-prefix=UNKNOWN
// RUN: not rwkv-opt %s --gpu-distribute-kernels="matrix-units=wmma" 2>&1 | FileCheck %s --check-prefix=UNKNOWN
// UNKNOWN: matrix-units=wmma: expected tf32, mfma

#shared = #gpu.address_space<workgroup>
!a = !gpu.mma_matrix<16x8xf32, "AOp">
!b = !gpu.mma_matrix<8x16xf32, "BOp">
!c = !gpu.mma_matrix<16x16xf32, "COp">

// Warps have opaque intrinsics, which take addresses.
// WMMA:         %[[S:.*]] = memref.get_global
// WMMA:         %[[ZERO:.*]] = llvm.insertvalue %{{.*}}, %{{.*}}[7] : !llvm.struct<(f32, f32, f32, f32, f32, f32, f32, f32)>
// WMMA:         %[[SUM:.*]] = scf.for {{.*}} iter_args(%[[C:.*]] = %[[ZERO]]) -> (!llvm.struct<(f32, f32, f32, f32, f32, f32, f32, f32)>)
// WMMA:           %[[MEMORY:.*]] = builtin.unrealized_conversion_cast %[[S]] : memref<512xf32, 3> to !llvm.struct<(ptr<3>, ptr<3>, i64, array<1 x i64>, array<1 x i64>)>
// WMMA:           %[[FIRST:.*]] = llvm.extractvalue %[[MEMORY]][1]
// WMMA:           %[[AT:.*]] = llvm.getelementptr inbounds %[[FIRST]][%{{.*}}] : (!llvm.ptr<3>, i64) -> !llvm.ptr<3>, f32
// WMMA:           %[[A:.*]] = llvm.call_intrinsic "llvm.nvvm.wmma.m16n16k8.load.a.col.stride.tf32"(%[[AT]], %{{.*}}) : (!llvm.ptr<3>, i32) -> !llvm.struct<(i32, i32, i32, i32)>
// WMMA:           %[[B:.*]] = llvm.call_intrinsic "llvm.nvvm.wmma.m16n16k8.load.b.row.stride.tf32"
// WMMA:           %[[A0:.*]] = llvm.extractvalue %[[A]][0]
// WMMA:           %[[PRODUCT:.*]] = llvm.call_intrinsic "llvm.nvvm.wmma.m16n16k8.mma.col.row.tf32"(%[[A0]],
// WMMA:           %[[D:.*]] = llvm.call_intrinsic "llvm.nvvm.wmma.m16n16k8.load.c.row.stride.f32"
// WMMA-COUNT-8:   llvm.fadd
// WMMA:         llvm.call_intrinsic "llvm.nvvm.wmma.m16n16k8.store.d.row.stride.f32"

// A thread computes eight neighbours, from the bits of factors that units take.
// LOOPS:         %[[S:.*]] = memref.get_global
// LOOPS:         vector.broadcast %{{.*}} : f32 to vector<8xf32>
// LOOPS:         %[[SUM:.*]] = scf.for {{.*}} -> (vector<8xf32>)
// LOOPS:           %[[SUMS:.*]]:8 = scf.for %{{.*}} = %c0{{.*}} to %c8{{.*}} step %c1{{.*}} iter_args(
// LOOPS:             %[[X:.*]] = memref.load %[[S]]
// LOOPS-NEXT:        arith.bitcast %[[X]] : f32 to i32
// LOOPS:             arith.andi %{{.*}}, %c-8192_i32
// LOOPS:             arith.mulf
// LOOPS-NEXT:        arith.addf
// LOOPS:           vector.from_elements %[[SUMS]]#0
// LOOPS:           arith.addf %{{.*}} : vector<8xf32>
// LOOPS:         vector.extract %[[SUM]][0]
// LOOPS:         memref.store

// Of 64 threads, each 16 have two terms of 16 rows and columns, one for each
// intrinsic, and four rows of the sums.
// MFMA-DAG:      %[[C0:.*]] = llvm.mlir.constant(0 : i32) : i32
// MFMA-DAG:      %[[S:.*]] = memref.get_global @kernel_shared_0
// MFMA:          %[[SUM:.*]] = scf.for %[[T:.*]] = {{.*}} iter_args(%[[C:.*]] = %{{.*}}) -> (vector<4xf32>)
// MFMA:            %[[ID:.*]] = llvm.call_intrinsic "llvm.amdgcn.workitem.id.x"
// MFMA-NEXT:       %[[THREAD:.*]] = arith.index_castui %[[ID]]
// MFMA-NEXT:       %[[LANE:.*]] = arith.remui %[[THREAD]], %c64
// MFMA-NEXT:       %[[INGROUP:.*]] = arith.remui %[[LANE]], %c16
// MFMA-NEXT:       %[[GROUP:.*]] = arith.divui %[[LANE]], %c16
// MFMA-NEXT:       %[[OFFSET0:.*]] = arith.muli %[[GROUP]], %c48
// MFMA-NEXT:       %[[IN0:.*]] = arith.addi %[[OFFSET0]], %[[INGROUP]]
// MFMA-NEXT:       %[[AT0:.*]] = arith.addi %arg0, %[[IN0]]
// MFMA-NEXT:       %[[A0:.*]] = memref.load %[[S]][%[[AT0]]]
// MFMA:            %[[TERM:.*]] = arith.muli %{{.*}}, %c2
// MFMA-NEXT:       %[[TERM1:.*]] = arith.addi %[[TERM]], %c1
// MFMA-NEXT:       %[[OFFSET1:.*]] = arith.muli %[[TERM1]], %c24
// MFMA:            %[[A1:.*]] = memref.load
// MFMA:            %[[B0:.*]] = memref.load
// MFMA:            %[[B1:.*]] = memref.load
// MFMA-NEXT:       %[[D:.*]] = llvm.call_intrinsic "llvm.amdgcn.mfma.f32.16x16x4f32"(%[[A0]], %[[B0]], %[[C]], %[[C0]], %[[C0]], %[[C0]])
// MFMA-NEXT:       %[[E:.*]] = llvm.call_intrinsic "llvm.amdgcn.mfma.f32.16x16x4f32"(%[[A1]], %[[B1]], %[[D]], %[[C0]], %[[C0]], %[[C0]])
// MFMA:            arith.muli %{{.*}}, %c96
// MFMA-COUNT-4:    memref.load
// MFMA:            %[[OTHER:.*]] = vector.from_elements {{.*}} : vector<4xf32>
// MFMA-NEXT:       arith.addf %[[E]], %[[OTHER]] : vector<4xf32>
// MFMA:          vector.extract %[[SUM]][0]
// MFMA:          memref.store
// MFMA:          vector.extract %[[SUM]][3]
// MFMA:          memref.store

// The same places; numbers of other threads come from memory that 64 of them
// share, four each.
// IMITATED:      memref.global "private" @kernel_fragments : memref<256xf32, 3>
// IMITATED:      gpu.shared_bytes = 3072
// IMITATED:      %[[F:.*]] = memref.get_global @kernel_fragments
// IMITATED:      scf.for {{.*}} -> (vector<4xf32>)
// IMITATED-COUNT-4: memref.load %{{.*}} : memref<512xf32, 3>
// IMITATED:        memref.store %{{.*}}, %[[F]]
// IMITATED-COUNT-3: memref.store %{{.*}}, %[[F]]
// IMITATED-NEXT:   @_Z7barrierj
// IMITATED:        %[[B:.*]] = memref.load %[[F]]
// IMITATED:        %[[A:.*]] = memref.load %[[F]]
// IMITATED-NEXT:   arith.mulf %[[A]], %[[B]]
// IMITATED-COUNT-31: arith.mulf
// IMITATED-NOT:    arith.mulf
// IMITATED:        @_Z7barrierj
// IMITATED:        vector.from_elements {{.*}} : vector<4xf32>
// CHECK:         return
gpu.module @kernels {
  gpu.func @kernel(%i: index) workgroup(%s: memref<512xf32, #shared>) kernel attributes {known_block_size = array<i32: 64, 1, 1>} {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %c4 = arith.constant 4 : index
    %zero = arith.constant 0.0 : f32
    %start = gpu.subgroup_mma_constant_matrix %zero : !c
    %sum = scf.for %t = %c0 to %c4 step %c1 iter_args(%c = %start) -> (!c) {
      %a = gpu.subgroup_mma_load_matrix %s[%i] {leadDimension = 24 : index, transpose} : memref<512xf32, #shared> -> !a
      %b = gpu.subgroup_mma_load_matrix %s[%t] {leadDimension = 24 : index} : memref<512xf32, #shared> -> !b
      %p = gpu.subgroup_mma_compute %a, %b, %c {a_transpose} : !a, !b -> !c
      %d = gpu.subgroup_mma_load_matrix %s[%i] {leadDimension = 24 : index} : memref<512xf32, #shared> -> !c
      %q = gpu.subgroup_mma_elementwise addf %p, %d : (!c, !c) -> !c
      scf.yield %q : !c
    }
    gpu.subgroup_mma_store_matrix %sum, %s[%c0] {leadDimension = 24 : index} : !c, memref<512xf32, #shared>
    gpu.return
  }
}
