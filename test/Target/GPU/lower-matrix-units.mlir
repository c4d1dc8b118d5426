// RUN: rwkv-opt %s --gpu-lower-kernels="target=nvptx matrix-units" | FileCheck %s --check-prefixes=CHECK,UNITS
// RUN: rwkv-opt %s --gpu-lower-kernels=target=spirv | FileCheck %s --check-prefixes=CHECK,LOOPS
// RUN: not rwkv-opt %s --gpu-lower-kernels="target=amdgpu matrix-units" 2>&1 | FileCheck %s --check-prefix=NONE
// NONE: target=amdgpu: rwkvc makes no code for matrix units of this kind of device

#shared = #gpu.address_space<workgroup>
!a = !gpu.mma_matrix<16x8xf32, "AOp">
!b = !gpu.mma_matrix<8x16xf32, "BOp">
!c = !gpu.mma_matrix<16x16xf32, "COp">

// Warps have intrinsics, which take addresses.
// UNITS:         %[[S:.*]] = memref.get_global
// UNITS:         %[[ZERO:.*]] = llvm.insertvalue %{{.*}}, %{{.*}}[7] : !llvm.struct<(f32, f32, f32, f32, f32, f32, f32, f32)>
// UNITS:         %[[SUM:.*]] = scf.for {{.*}} iter_args(%[[C:.*]] = %[[ZERO]]) -> (!llvm.struct<(f32, f32, f32, f32, f32, f32, f32, f32)>)
// UNITS:           %[[MEMORY:.*]] = builtin.unrealized_conversion_cast %[[S]] : memref<512xf32, 3> to !llvm.struct<(ptr<3>, ptr<3>, i64, array<1 x i64>, array<1 x i64>)>
// UNITS:           %[[FIRST:.*]] = llvm.extractvalue %[[MEMORY]][1]
// UNITS:           %[[AT:.*]] = llvm.getelementptr inbounds %[[FIRST]][%{{.*}}] : (!llvm.ptr<3>, i64) -> !llvm.ptr<3>, f32
// UNITS:           %[[A:.*]] = llvm.call_intrinsic "llvm.nvvm.wmma.m16n16k8.load.a.col.stride.tf32"(%[[AT]], %{{.*}}) : (!llvm.ptr<3>, i32) -> !llvm.struct<(i32, i32, i32, i32)>
// UNITS:           %[[B:.*]] = llvm.call_intrinsic "llvm.nvvm.wmma.m16n16k8.load.b.row.stride.tf32"
// UNITS:           %[[A0:.*]] = llvm.extractvalue %[[A]][0]
// UNITS:           %[[PRODUCT:.*]] = llvm.call_intrinsic "llvm.nvvm.wmma.m16n16k8.mma.col.row.tf32"(%[[A0]],
// UNITS:           %[[D:.*]] = llvm.call_intrinsic "llvm.nvvm.wmma.m16n16k8.load.c.row.stride.f32"
// UNITS-COUNT-8:   llvm.fadd
// UNITS:         llvm.call_intrinsic "llvm.nvvm.wmma.m16n16k8.store.d.row.stride.f32"

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
// CHECK:         return
gpu.module @kernels {
  gpu.func @kernel(%i: index) workgroup(%s: memref<512xf32, #shared>) kernel attributes {known_block_size = array<i32: 32, 1, 1>} {
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
