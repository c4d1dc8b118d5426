// RUN: rwkv-opt %s --gpu-distribute-kernels=matrix-units=tf32 --canonicalize --cse --split-input-file | FileCheck %s
// RUN: rwkv-opt %s --gpu-distribute-kernels=matrix-units=mfma --canonicalize --cse --split-input-file | FileCheck %s --check-prefix=MFMA

// A part of a matrix for 64 tokens: 8 warps, each with 32 rows, 32 columns and a
// quarter of the terms. A float is two TF32 numbers, a bf16 is one, so that a
// small matrix is two products. What 32 terms yield is added as floats are.
// CHECK-LABEL: func.func @main
// CHECK:         gpu.launch_func @kernels::@product blocks in (%c24, %c1, %c1) threads in (%c256, %c1, %c1)
// CHECK:         gpu.func @product({{.*}}) workgroup(%[[SHARED:.*]] : memref<5888xf32, #gpu.address_space<workgroup>>) kernel
// CHECK-DAG:       %[[MASK:.*]] = arith.constant -8192 : i32
// CHECK-DAG:       %[[HALF:.*]] = arith.constant 4096 : i32
// CHECK:           %[[ZERO:.*]] = gpu.subgroup_mma_constant_matrix
// CHECK:           %[[OUTER:.*]]:16 = scf.for %{{.*}} = %c0 to %c736 step %c32 iter_args(%[[SUM:[^ ]*]] = %[[ZERO]]
// CHECK:             %[[BITS:.*]] = arith.bitcast %[[X:.*]] : f32 to i32
// CHECK-NEXT:        %[[ROUNDED:.*]] = arith.addi %[[BITS]], %[[HALF]]
// CHECK-NEXT:        %[[KEPT:.*]] = arith.andi %[[ROUNDED]], %[[MASK]]
// CHECK-NEXT:        %[[HIGH:.*]] = arith.bitcast %[[KEPT]] : i32 to f32
// CHECK-NEXT:        %[[REST:.*]] = arith.subf %[[X]], %[[HIGH]]
// CHECK-NEXT:        arith.bitcast %[[REST]]
// CHECK-NEXT:        arith.andi %{{.*}}, %[[MASK]]
// CHECK-NEXT:        %[[LOW:.*]] = arith.bitcast
// CHECK:             memref.store %[[HIGH]], %[[SHARED]]
// CHECK:             memref.store %[[LOW]], %[[SHARED]]
// CHECK:             %[[W:.*]] = arith.extf %{{.*}} : bf16 to f32
// CHECK-NOT:         arith.bitcast
// CHECK:             memref.store %[[W]], %[[SHARED]]
// CHECK:             gpu.barrier
// CHECK:             memref.load {{.*}}xbf16, {{.*}}global
// CHECK-COUNT-4:     gpu.subgroup_mma_load_matrix %[[SHARED]][%{{.*}}] {leadDimension = 72 : index, transpose} {{.*}}"AOp">
// CHECK:             %[[B:.*]] = gpu.subgroup_mma_load_matrix %[[SHARED]][%{{.*}}] {leadDimension = 40 : index} {{.*}}"BOp">
// CHECK-NEXT:        %[[C:.*]] = gpu.subgroup_mma_compute %{{.*}}, %[[B]], %[[ZERO]] {a_transpose}
// CHECK-NEXT:        %[[D:.*]] = gpu.subgroup_mma_compute %{{.*}}, %[[B]], %[[C]] {a_transpose}
// CHECK-NEXT:        gpu.subgroup_mma_compute %{{.*}}, %[[B]], %[[ZERO]] {a_transpose}
// CHECK-NEXT:        gpu.subgroup_mma_compute %{{.*}}, %[[B]],
// CHECK-NEXT:        gpu.subgroup_mma_elementwise addf %[[SUM]], %[[D]]
// CHECK-NEXT:        gpu.subgroup_mma_elementwise addf
// CHECK:             gpu.subgroup_mma_load_matrix {{.*}}"BOp">
// CHECK-COUNT-4:     gpu.subgroup_mma_compute
// CHECK-COUNT-2:     gpu.subgroup_mma_elementwise addf
// CHECK-NOT:         gpu.subgroup_mma
// CHECK:             gpu.barrier
// CHECK:             scf.yield
// CHECK:           %[[Y:.*]] = memref.load %{{.*}} : memref<64x1x32xf32
// Two warps with parts of one sum write, two add theirs, and threads add the
// rest to the output.
// CHECK:           gpu.barrier
// CHECK:           scf.if
// CHECK-COUNT-4:     gpu.subgroup_mma_store_matrix
// CHECK:           gpu.barrier
// CHECK:           scf.if
// CHECK:             %[[OTHER:.*]] = gpu.subgroup_mma_load_matrix %[[SHARED]][%[[AT:.*]]] {{.*}}"COp">
// CHECK-NEXT:        %[[WHOLE:.*]] = gpu.subgroup_mma_elementwise addf %[[OTHER]],
// CHECK-NEXT:        gpu.subgroup_mma_store_matrix %[[WHOLE]], %[[SHARED]][%[[AT]]]
// CHECK:           gpu.barrier
// CHECK:           %[[P:.*]] = memref.load %[[SHARED]]
// CHECK:           %[[Q:.*]] = memref.load %[[SHARED]]
// CHECK:           %[[PQ:.*]] = arith.addf %[[P]], %[[Q]]
// CHECK:           %[[R:.*]] = arith.addf %[[Y]], %[[PQ]]
// CHECK:           memref.store %[[R]], %{{.*}} : memref<64x1x32xf32
// CHECK:           gpu.return

// Four subgroups of 64 threads take floats as they are, and add to the sums of
// all terms.
// MFMA-LABEL: func.func @main
// MFMA:         gpu.launch_func @kernels::@product blocks in (%c24, %c1, %c1) threads in (%c256, %c1, %c1)
// MFMA:         gpu.func @product({{.*}}) workgroup(%[[SHARED:.*]] : memref<3584xf32, #gpu.address_space<workgroup>>) kernel
// MFMA:           scf.for %{{.*}} = %c0 to %c736 step %c32 iter_args(%[[SUM:[^ ]*]] =
// MFMA-NOT:         arith.bitcast
// MFMA:             memref.store %{{.*}}, %[[SHARED]]
// MFMA:             gpu.barrier
// MFMA-COUNT-4:     gpu.subgroup_mma_load_matrix {{.*}}"AOp">
// MFMA:             %[[B:.*]] = gpu.subgroup_mma_load_matrix {{.*}}"BOp">
// MFMA-NEXT:        %[[C:.*]] = gpu.subgroup_mma_compute %{{.*}}, %[[B]], %[[SUM]] {a_transpose}
// MFMA-NEXT:        gpu.subgroup_mma_compute %{{.*}}, %[[B]],
// MFMA-NOT:         gpu.subgroup_mma_elementwise
// MFMA:             scf.yield
#x = affine_map<(p, m, b, k, n) -> (m, b, k)>
#w = affine_map<(p, m, b, k, n) -> (p, b, k, n)>
#y = affine_map<(p, m, b, k, n) -> (m, p, n)>
func.func @main(%x: memref<64x24x32xf32>, %w: memref<24x24x32x32xbf16>, %y: memref<64x24x32xf32>) {
  call @product(%x, %w, %y) : (memref<64x24x32xf32>, memref<24x24x32x32xbf16>, memref<64x24x32xf32>) -> ()
  return
}
func.func private @product(%x: memref<64x24x32xf32>, %w: memref<24x24x32x32xbf16>, %y: memref<64x24x32xf32>) {
  scf.forall (%p) in (24) {
    %part = memref.subview %w[%p, 0, 0, 0] [1, 24, 32, 32] [1, 1, 1, 1] : memref<24x24x32x32xbf16> to memref<1x24x32x32xbf16, strided<[24576, 1024, 32, 1], offset: ?>>
    %out = memref.subview %y[0, %p, 0] [64, 1, 32] [1, 1, 1] : memref<64x24x32xf32> to memref<64x1x32xf32, strided<[768, 32, 1], offset: ?>>
    linalg.generic {indexing_maps = [#x, #w, #y], iterator_types = ["parallel", "parallel", "reduction", "reduction", "parallel"]}
        ins(%x, %part : memref<64x24x32xf32>, memref<1x24x32x32xbf16, strided<[24576, 1024, 32, 1], offset: ?>>)
        outs(%out : memref<64x1x32xf32, strided<[768, 32, 1], offset: ?>>) {
    ^bb0(%a: f32, %b: bf16, %sum: f32):
      %0 = arith.extf %b : bf16 to f32
      %1 = arith.mulf %a, %0 : f32
      %2 = arith.addf %sum, %1 : f32
      linalg.yield %2 : f32
    }
  }
  return
}

// -----

// Rows, columns and terms that fill no whole tile: terms behind the last are
// zero on both sides, and only elements that are there are written. Floats with
// floats are three products.
// CHECK-LABEL: func.func @main
// CHECK:         gpu.func @ragged
// CHECK-DAG:       arith.minui %{{.*}}, %c49
// CHECK-DAG:       arith.minui %{{.*}}, %c29
// CHECK:           scf.for
// CHECK-NOT:         arith.select
// CHECK-COUNT-12:    gpu.subgroup_mma_compute
// CHECK-NOT:         gpu.subgroup_mma_compute
// CHECK:           }
// CHECK:           %[[IS:.*]] = arith.cmpi ult, %{{.*}}, %c13
// CHECK:           arith.select %[[IS]], %{{.*}}, %{{.*}} : f32
// CHECK-COUNT-12:  gpu.subgroup_mma_compute
// CHECK-DAG:       %[[ROW:.*]] = arith.cmpi ult, %{{.*}}, %c50
// CHECK-DAG:       %[[COLUMN:.*]] = arith.cmpi ult, %{{.*}}, %c30
// CHECK:           %[[BOTH:.*]] = arith.andi %[[ROW]], %[[COLUMN]]
// CHECK-NEXT:      scf.if %[[BOTH]] {
// CHECK-NEXT:        memref.store
func.func @main(%x: memref<50x77xf32>, %w: memref<77x30xf32>, %y: memref<4x50x30xf32>) {
  call @ragged(%x, %w, %y) : (memref<50x77xf32>, memref<77x30xf32>, memref<4x50x30xf32>) -> ()
  return
}
func.func private @ragged(%x: memref<50x77xf32>, %w: memref<77x30xf32>, %y: memref<4x50x30xf32>) {
  scf.forall (%i) in (4) {
    %out = memref.subview %y[%i, 0, 0] [1, 50, 30] [1, 1, 1] : memref<4x50x30xf32> to memref<50x30xf32, strided<[30, 1], offset: ?>>
    linalg.matmul ins(%x, %w : memref<50x77xf32>, memref<77x30xf32>) outs(%out : memref<50x30xf32, strided<[30, 1], offset: ?>>)
  }
  return
}

// -----

// Left to threads: few rows, few terms, sums that are no floats, and a body that does more than to add products.
#left = affine_map<(m, n, k) -> (m, k)>
#right = affine_map<(m, n, k) -> (k, n)>
#sum = affine_map<(m, n, k) -> (m, n)>
// CHECK-LABEL: func.func @main
// CHECK-COUNT-4: gpu.func
// CHECK-NOT:     gpu.subgroup_mma
func.func @main(%x: memref<64x64xf32>, %h: memref<64x64xf64>, %y: memref<4x64x64xf32>, %z: memref<4x64x64xf64>) {
  call @rows(%x, %y) : (memref<64x64xf32>, memref<4x64x64xf32>) -> ()
  call @terms(%x, %y) : (memref<64x64xf32>, memref<4x64x64xf32>) -> ()
  call @doubles(%h, %z) : (memref<64x64xf64>, memref<4x64x64xf64>) -> ()
  call @largest(%x, %y) : (memref<64x64xf32>, memref<4x64x64xf32>) -> ()
  return
}
func.func private @rows(%x: memref<64x64xf32>, %y: memref<4x64x64xf32>) {
  scf.forall (%i) in (4) {
    %a = memref.subview %x[0, 0] [8, 64] [1, 1] : memref<64x64xf32> to memref<8x64xf32, strided<[64, 1]>>
    %out = memref.subview %y[%i, 0, 0] [1, 8, 64] [1, 1, 1] : memref<4x64x64xf32> to memref<8x64xf32, strided<[64, 1], offset: ?>>
    linalg.matmul ins(%a, %x : memref<8x64xf32, strided<[64, 1]>>, memref<64x64xf32>) outs(%out : memref<8x64xf32, strided<[64, 1], offset: ?>>)
  }
  return
}
func.func private @terms(%x: memref<64x64xf32>, %y: memref<4x64x64xf32>) {
  scf.forall (%i) in (4) {
    %a = memref.subview %x[0, 0] [64, 8] [1, 1] : memref<64x64xf32> to memref<64x8xf32, strided<[64, 1]>>
    %b = memref.subview %x[0, 0] [8, 64] [1, 1] : memref<64x64xf32> to memref<8x64xf32, strided<[64, 1]>>
    %out = memref.subview %y[%i, 0, 0] [1, 64, 64] [1, 1, 1] : memref<4x64x64xf32> to memref<64x64xf32, strided<[64, 1], offset: ?>>
    linalg.matmul ins(%a, %b : memref<64x8xf32, strided<[64, 1]>>, memref<8x64xf32, strided<[64, 1]>>) outs(%out : memref<64x64xf32, strided<[64, 1], offset: ?>>)
  }
  return
}
func.func private @doubles(%x: memref<64x64xf64>, %y: memref<4x64x64xf64>) {
  scf.forall (%i) in (4) {
    %out = memref.subview %y[%i, 0, 0] [1, 64, 64] [1, 1, 1] : memref<4x64x64xf64> to memref<64x64xf64, strided<[64, 1], offset: ?>>
    linalg.matmul ins(%x, %x : memref<64x64xf64>, memref<64x64xf64>) outs(%out : memref<64x64xf64, strided<[64, 1], offset: ?>>)
  }
  return
}
func.func private @largest(%x: memref<64x64xf32>, %y: memref<4x64x64xf32>) {
  scf.forall (%i) in (4) {
    %out = memref.subview %y[%i, 0, 0] [1, 64, 64] [1, 1, 1] : memref<4x64x64xf32> to memref<64x64xf32, strided<[64, 1], offset: ?>>
    linalg.generic {indexing_maps = [#left, #right, #sum], iterator_types = ["parallel", "parallel", "reduction"]}
        ins(%x, %x : memref<64x64xf32>, memref<64x64xf32>) outs(%out : memref<64x64xf32, strided<[64, 1], offset: ?>>) {
    ^bb0(%a: f32, %b: f32, %c: f32):
      %0 = arith.mulf %a, %b : f32
      %1 = arith.maximumf %c, %0 : f32
      linalg.yield %1 : f32
    }
  }
  return
}
