// RUN: rwkv-opt %s '-cpu-vectorize-kernels=vector-bits=256 min-parallel-work=0' -canonicalize | FileCheck %s
// RUN: rwkv-opt %s '-cpu-vectorize-kernels=vector-bits=256 min-parallel-work=1' -canonicalize | FileCheck %s --check-prefix=UNITS

// Rows of a product, six at a time and what is left four at a time, end with the tile that has the last one needed.
// CHECK-LABEL: func.func private @product(
// CHECK-SAME:    %[[N:[^:]*]]: index
// CHECK:         %[[LEFT:.*]] = arith.remui %[[N]], %c6
// CHECK:         %[[FULL:.*]] = arith.subi %[[N]], %[[LEFT]]
// CHECK:         scf.for %{{.*}} = %c0 to %[[FULL]] step %c6
// CHECK:         scf.for %{{.*}} = %[[FULL]] to %[[N]] step %c4
// CHECK-NOT:     to %c64 step %c6
func.func private @product(%x: memref<64x24xf32>, %w: memref<2x24x32xf32>, %y: memref<64x2x32xf32>, %n: index) {
  linalg.generic {indexing_maps = [affine_map<(p, m, k, c) -> (m, k)>, affine_map<(p, m, k, c) -> (p, k, c)>, affine_map<(p, m, k, c) -> ()>, affine_map<(p, m, k, c) -> (m, p, c)>],
      iterator_types = ["parallel", "parallel", "reduction", "parallel"], rwkvc.needed = array<i64: 1, 2>}
      ins(%x, %w, %n : memref<64x24xf32>, memref<2x24x32xf32>, index) outs(%y : memref<64x2x32xf32>) {
  ^bb0(%a: f32, %b: f32, %i: index, %o: f32):
    %p = arith.mulf %a, %b : f32
    %q = arith.addf %o, %p : f32
    linalg.yield %q : f32
  }
  return
}

// Threads leave out their rows.
// CHECK-LABEL: func.func private @elementwise(
// CHECK-SAME:    %[[N:[^:]*]]: index
// CHECK:         scf.for %{{.*}} = %c0 to %[[N]] step %c1
// UNITS-LABEL: func.func private @elementwise(
// UNITS-SAME:    %{{[^:]*}}: index, %[[END:[^:]*]]: index, {{.*}}, %[[N:[^:]*]]: index) attributes {cpu.parallel_units = 64
// UNITS:         %[[LAST:.*]] = arith.minui %[[END]], %[[N]]
// UNITS:         scf.for %{{.*}} = %{{.*}} to %[[LAST]] step
func.func private @elementwise(%x: memref<64x32xf32>, %y: memref<64x32xf32>, %n: index) {
  linalg.generic {indexing_maps = [affine_map<(m, c) -> (m, c)>, affine_map<(m, c) -> ()>, affine_map<(m, c) -> (m, c)>],
      iterator_types = ["parallel", "parallel"], rwkvc.needed = array<i64: 0, 1>}
      ins(%x, %n : memref<64x32xf32>, index) outs(%y : memref<64x32xf32>) {
  ^bb0(%a: f32, %i: index, %o: f32):
    %p = arith.addf %a, %a : f32
    linalg.yield %p : f32
  }
  return
}

// A loop in the lanes is done to its end.
// CHECK-LABEL: func.func private @lanes(
// CHECK-NOT:     to %arg2
// CHECK:         return
func.func private @lanes(%x: memref<64xf32>, %y: memref<64xf32>, %n: index) {
  linalg.generic {indexing_maps = [affine_map<(m) -> (m)>, affine_map<(m) -> ()>, affine_map<(m) -> (m)>], iterator_types = ["parallel"], rwkvc.needed = array<i64: 0, 1>}
      ins(%x, %n : memref<64xf32>, index) outs(%y : memref<64xf32>) {
  ^bb0(%a: f32, %i: index, %o: f32):
    %p = arith.addf %a, %a : f32
    linalg.yield %p : f32
  }
  return
}
