// RUN: rwkv-opt %s --gpu-distribute-kernels --canonicalize --cse --split-input-file | FileCheck %s

// A part of a matrix for 64 tokens: 128 threads with four rows and four columns
// each, 32 terms of the sums at once. The next ones are read while these are
// multiplied; what shares a scale with the column is multiplied once for it.
// CHECK-LABEL: func.func @main
// CHECK:         gpu.launch_func @kernels::@product blocks in (%c24, %c1, %c1) threads in (%c128, %c1, %c1)
// CHECK:         gpu.func @product({{.*}}) workgroup(%[[SHARED:.*]] : memref<3200xf32, #gpu.address_space<workgroup>>) kernel
// CHECK:           %[[OUTER:.*]]:48 = scf.for %{{.*}} = %c0 to %c736 step %c32
// CHECK:             arith.sitofp
// CHECK:             %[[SCALE:.*]] = arith.extf
// CHECK:             %[[W:.*]] = arith.mulf %{{.*}}, %[[SCALE]]
// CHECK:             memref.store %[[W]], %[[SHARED]]
// CHECK:             gpu.barrier
// CHECK:             memref.load {{.*}}xi8, {{.*}}global
// CHECK:             %[[INNER:.*]]:16 = scf.for %{{.*}} = %c0 to %c32 step %c4
// CHECK-COUNT-8:       memref.load %[[SHARED]]
// CHECK-NOT:           memref.load
// CHECK:               arith.mulf
// CHECK-NEXT:          arith.addf
// CHECK:             gpu.barrier
// CHECK:             scf.yield %[[INNER]]#0
// CHECK:           gpu.barrier
// CHECK-COUNT-16:  memref.store %{{.*}}, %{{.*}} : memref<64x1x32xf32
// CHECK-NOT:       memref.store
// CHECK:           gpu.return
#x = affine_map<(p, m, b, k, n) -> (m, b, k)>
#w = affine_map<(p, m, b, k, n) -> (p, b, k, n)>
#s = affine_map<(p, m, b, k, n) -> (p, b, n)>
#y = affine_map<(p, m, b, k, n) -> (m, p, n)>
func.func @main(%x: memref<64x24x32xf32>, %w: memref<24x24x32x32xi8>, %s: memref<24x24x32xbf16>, %y: memref<64x24x32xf32>) {
  call @product(%x, %w, %s, %y) : (memref<64x24x32xf32>, memref<24x24x32x32xi8>, memref<24x24x32xbf16>, memref<64x24x32xf32>) -> ()
  return
}
func.func private @product(%x: memref<64x24x32xf32>, %w: memref<24x24x32x32xi8>, %s: memref<24x24x32xbf16>, %y: memref<64x24x32xf32>) {
  scf.forall (%p) in (24) {
    %part = memref.subview %w[%p, 0, 0, 0] [1, 24, 32, 32] [1, 1, 1, 1] : memref<24x24x32x32xi8> to memref<1x24x32x32xi8, strided<[24576, 1024, 32, 1], offset: ?>>
    %scales = memref.subview %s[%p, 0, 0] [1, 24, 32] [1, 1, 1] : memref<24x24x32xbf16> to memref<1x24x32xbf16, strided<[768, 32, 1], offset: ?>>
    %out = memref.subview %y[0, %p, 0] [64, 1, 32] [1, 1, 1] : memref<64x24x32xf32> to memref<64x1x32xf32, strided<[768, 32, 1], offset: ?>>
    linalg.generic {indexing_maps = [#x, #w, #s, #y], iterator_types = ["parallel", "parallel", "reduction", "reduction", "parallel"]}
        ins(%x, %part, %scales : memref<64x24x32xf32>, memref<1x24x32x32xi8, strided<[24576, 1024, 32, 1], offset: ?>>, memref<1x24x32xbf16, strided<[768, 32, 1], offset: ?>>)
        outs(%out : memref<64x1x32xf32, strided<[768, 32, 1], offset: ?>>) {
    ^bb0(%a: f32, %b: i8, %c: bf16, %sum: f32):
      %0 = arith.sitofp %b : i8 to f32
      %1 = arith.mulf %a, %0 : f32
      %2 = arith.extf %c : bf16 to f32
      %3 = arith.mulf %1, %2 : f32
      %4 = arith.addf %sum, %3 : f32
      linalg.yield %4 : f32
    }
  }
  return
}

// -----

// Rows, columns and terms that fill no whole tile: the last ones are read again,
// and only what is there is written.
// CHECK-LABEL: func.func @main
// CHECK:         gpu.func @ragged
// CHECK:           scf.for %{{.*}} = %c0 to %c3 step %c1 {
// CHECK:             arith.minui %{{.*}}, %c69
// CHECK:             arith.minui %{{.*}}, %c129
// CHECK:             scf.for %{{.*}} = %c0 to %c32 step %c4
// CHECK:             scf.for %{{.*}} = %c0 to %c13 step %c1
// CHECK-DAG:         %[[ROW:.*]] = arith.cmpi ult, %{{.*}}, %c70
// CHECK-DAG:         %[[COLUMN:.*]] = arith.cmpi ult, %{{.*}}, %c130
// CHECK:             %[[BOTH:.*]] = arith.andi %[[ROW]], %[[COLUMN]]
// CHECK-NEXT:        scf.if %[[BOTH]] {
// CHECK-NEXT:          memref.store
func.func @main(%x: memref<70x45xf32>, %w: memref<45x130xf32>, %y: memref<4x70x130xf32>) {
  call @ragged(%x, %w, %y) : (memref<70x45xf32>, memref<45x130xf32>, memref<4x70x130xf32>) -> ()
  return
}
func.func private @ragged(%x: memref<70x45xf32>, %w: memref<45x130xf32>, %y: memref<4x70x130xf32>) {
  scf.forall (%i) in (4) {
    %out = memref.subview %y[%i, 0, 0] [1, 70, 130] [1, 1, 1] : memref<4x70x130xf32> to memref<70x130xf32, strided<[130, 1], offset: ?>>
    linalg.matmul ins(%x, %w : memref<70x45xf32>, memref<45x130xf32>) outs(%out : memref<70x130xf32, strided<[130, 1], offset: ?>>)
  }
  return
}

// -----

// Two terms with one scale: the columns get it, and each is one product and one
// sum.
// CHECK-LABEL: func.func @main
// CHECK:         gpu.func @pairs
// CHECK:           scf.for
// CHECK:             scf.for %{{.*}} iter_args(%[[SUM:[^ ]*]] =
// CHECK:               %[[P:.*]] = arith.mulf
// CHECK-NEXT:          %[[Q:.*]] = arith.mulf
// CHECK-NEXT:          %[[S:.*]] = arith.addf %[[SUM]], %[[P]]
// CHECK-NEXT:          arith.addf %[[S]], %[[Q]]
#row0 = affine_map<(m, n, k) -> (m, 0, k)>
#row1 = affine_map<(m, n, k) -> (m, 1, k)>
#column = affine_map<(m, n, k) -> (k, n)>
#out = affine_map<(m, n, k) -> (m, n)>
func.func @main(%x: memref<64x2x64xf32>, %w: memref<64x32xf32>, %s: memref<64x32xf32>, %y: memref<4x64x32xf32>) {
  call @pairs(%x, %w, %s, %y) : (memref<64x2x64xf32>, memref<64x32xf32>, memref<64x32xf32>, memref<4x64x32xf32>) -> ()
  return
}
func.func private @pairs(%x: memref<64x2x64xf32>, %w: memref<64x32xf32>, %s: memref<64x32xf32>, %y: memref<4x64x32xf32>) {
  scf.forall (%i) in (4) {
    %part = memref.subview %y[%i, 0, 0] [1, 64, 32] [1, 1, 1] : memref<4x64x32xf32> to memref<64x32xf32, strided<[32, 1], offset: ?>>
    linalg.generic {indexing_maps = [#row0, #row1, #column, #column, #out], iterator_types = ["parallel", "parallel", "reduction"]}
        ins(%x, %x, %w, %s : memref<64x2x64xf32>, memref<64x2x64xf32>, memref<64x32xf32>, memref<64x32xf32>)
        outs(%part : memref<64x32xf32, strided<[32, 1], offset: ?>>) {
    ^bb0(%a: f32, %b: f32, %c: f32, %d: f32, %sum: f32):
      %0 = arith.mulf %a, %c : f32
      %1 = arith.mulf %b, %c : f32
      %2 = arith.addf %0, %1 : f32
      %3 = arith.mulf %2, %d : f32
      %4 = arith.addf %sum, %3 : f32
      linalg.yield %4 : f32
    }
  }
  return
}

// -----

// No tiles: one row, a product for each of a batch, what depends on where it is,
// and so few elements that the device's threads would have none.
// CHECK-LABEL: func.func @main
// CHECK-NOT:     scf.for {{.*}} iter_args({{.*}}) -> (f32, f32
#rowOnly = affine_map<(h, m, n, k) -> (h, m, k)>
#columnOnly = affine_map<(h, m, n, k) -> (h, k, n)>
#both = affine_map<(h, m, n, k) -> (h, m, n)>
#left = affine_map<(m, n, k) -> (m, k)>
#right = affine_map<(m, n, k) -> (k, n)>
#sum = affine_map<(m, n, k) -> (m, n)>
func.func @main(%x: memref<64x64xf32>, %h: memref<4x64x64xf32>, %y: memref<64x64xf32>, %z: memref<4x64x64xf32>) {
  call @row(%x, %y) : (memref<64x64xf32>, memref<64x64xf32>) -> ()
  call @batch(%h, %z) : (memref<4x64x64xf32>, memref<4x64x64xf32>) -> ()
  call @position(%x, %y) : (memref<64x64xf32>, memref<64x64xf32>) -> ()
  call @few(%x, %y) : (memref<64x64xf32>, memref<64x64xf32>) -> ()
  return
}
func.func private @row(%x: memref<64x64xf32>, %y: memref<64x64xf32>) {
  scf.forall (%i) in (64) {
    %a = memref.subview %x[%i, 0] [1, 64] [1, 1] : memref<64x64xf32> to memref<1x64xf32, strided<[64, 1], offset: ?>>
    %b = memref.subview %y[%i, 0] [1, 64] [1, 1] : memref<64x64xf32> to memref<1x64xf32, strided<[64, 1], offset: ?>>
    linalg.matmul ins(%a, %x : memref<1x64xf32, strided<[64, 1], offset: ?>>, memref<64x64xf32>) outs(%b : memref<1x64xf32, strided<[64, 1], offset: ?>>)
  }
  return
}
func.func private @batch(%h: memref<4x64x64xf32>, %z: memref<4x64x64xf32>) {
  scf.forall (%i) in (1) {
    linalg.generic {indexing_maps = [#rowOnly, #columnOnly, #both], iterator_types = ["parallel", "parallel", "parallel", "reduction"]}
        ins(%h, %h : memref<4x64x64xf32>, memref<4x64x64xf32>) outs(%z : memref<4x64x64xf32>) {
    ^bb0(%a: f32, %b: f32, %c: f32):
      %0 = arith.mulf %a, %b : f32
      %1 = arith.addf %c, %0 : f32
      linalg.yield %1 : f32
    }
  }
  return
}
func.func private @position(%x: memref<64x64xf32>, %y: memref<64x64xf32>) {
  scf.forall (%i) in (1) {
    linalg.generic {indexing_maps = [#left, #right, #sum], iterator_types = ["parallel", "parallel", "reduction"]}
        ins(%x, %x : memref<64x64xf32>, memref<64x64xf32>) outs(%y : memref<64x64xf32>) {
    ^bb0(%a: f32, %b: f32, %c: f32):
      %m = linalg.index 0 : index
      %k = linalg.index 2 : index
      %is = arith.cmpi ule, %k, %m : index
      %0 = arith.mulf %a, %b : f32
      %1 = arith.addf %c, %0 : f32
      %2 = arith.select %is, %1, %c : f32
      linalg.yield %2 : f32
    }
  }
  return
}
func.func private @few(%x: memref<64x64xf32>, %y: memref<64x64xf32>) {
  linalg.matmul ins(%x, %x : memref<64x64xf32>, memref<64x64xf32>) outs(%y : memref<64x64xf32>)
  return
}
