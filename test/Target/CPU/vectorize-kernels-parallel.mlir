// RUN: rwkv-opt %s -cpu-vectorize-kernels=min-parallel-work=256 -canonicalize -cse | FileCheck %s
// RUN: rwkv-opt %s -cpu-vectorize-kernels=min-parallel-work=0 | FileCheck %s --check-prefix=NEVER

#v = affine_map<(d0) -> (d0)>

// NEVER-NOT: cpu.parallel_units

// A large kernel gets the range of its outermost loop to run.
// CHECK-LABEL: func.func private @large(
// CHECK-SAME:    %[[BEGIN:[^:]*]]: index, %[[END:[^:]*]]: index, %{{.*}}: memref<264xf32>, %{{.*}}: memref<264xf32>)
// CHECK-SAME:    attributes {cpu.parallel_units = 33 : i64}
// CHECK:         scf.for %{{.*}} = %[[BEGIN]] to %[[END]] step %c1
func.func private @large(%x: memref<264xf32>, %y: memref<264xf32>) {
  linalg.generic {indexing_maps = [#v, #v], iterator_types = ["parallel"]}
      ins(%x : memref<264xf32>) outs(%y : memref<264xf32>) {
  ^bb0(%a: f32, %o: f32):
    %r = arith.mulf %a, %a : f32
    linalg.yield %r : f32
  }
  return
}

// Where vectors do not fill the last unit, that unit runs what is left.
// CHECK-LABEL: func.func private @odd(
// CHECK-SAME:    cpu.parallel_units = 34 : i64
// CHECK:         arith.cmpi ult, %{{.*}}, %c33
// CHECK:         scf.if
// CHECK:           vector.store
// CHECK:         } else {
// CHECK:           memref.store
func.func private @odd(%x: memref<265xf32>, %y: memref<265xf32>) {
  linalg.generic {indexing_maps = [#v, #v], iterator_types = ["parallel"]}
      ins(%x : memref<265xf32>) outs(%y : memref<265xf32>) {
  ^bb0(%a: f32, %o: f32):
    %r = arith.mulf %a, %a : f32
    linalg.yield %r : f32
  }
  return
}

// Too little work; and a function that others may call keeps its signature.
// CHECK-LABEL: func.func private @small(%{{.*}}: memref<64xf32>, %{{.*}}: memref<64xf32>) {
func.func private @small(%x: memref<64xf32>, %y: memref<64xf32>) {
  linalg.copy ins(%x : memref<64xf32>) outs(%y : memref<64xf32>)
  return
}
// CHECK-LABEL: func.func @public(%{{.*}}: memref<264xf32>, %{{.*}}: memref<264xf32>) {
func.func @public(%x: memref<264xf32>, %y: memref<264xf32>) {
  linalg.copy ins(%x : memref<264xf32>) outs(%y : memref<264xf32>)
  return
}

// CHECK-LABEL: func.func @main
// CHECK-DAG:     %[[C0:.*]] = arith.constant 0 : index
// CHECK-DAG:     %[[C33:.*]] = arith.constant 33 : index
// CHECK:         call @large(%[[C0]], %[[C33]], %{{.*}}, %{{.*}})
// CHECK:         call @large(%[[C0]], %[[C33]], %{{.*}}, %{{.*}})
// CHECK:         call @small(%{{[^,]*}}, %{{[^,]*}}) :
func.func @main(%x: memref<264xf32>, %y: memref<264xf32>, %z: memref<64xf32>) {
  call @large(%x, %y) : (memref<264xf32>, memref<264xf32>) -> ()
  call @large(%y, %x) : (memref<264xf32>, memref<264xf32>) -> ()
  call @small(%z, %z) : (memref<64xf32>, memref<64xf32>) -> ()
  return
}

// A parallel loop hands out its iterations, the last axis fastest; where there is little to do it is sequential.
// CHECK-LABEL: func.func private @loop(
// CHECK-SAME:    %[[BEGIN:[^:]*]]: index, %[[END:[^:]*]]: index, %{{.*}}: memref<2x3x64xf32>)
// CHECK-SAME:    attributes {cpu.parallel_units = 6 : i64}
// CHECK:         scf.for %[[UNIT:.*]] = %[[BEGIN]] to %[[END]] step %c1
// CHECK:           arith.remui %[[UNIT]], %c3
// CHECK:           arith.divui %[[UNIT]], %c3
// CHECK:           vector.store
// NEVER-LABEL: func.func private @loop(%{{.*}}: memref<2x3x64xf32>) {
// NEVER-COUNT-3: scf.for
func.func private @loop(%x: memref<2x3x64xf32>) {
  scf.forall (%i, %j) in (2, 3) {
    %p = memref.subview %x[%i, %j, 0] [1, 1, 64] [1, 1, 1] : memref<2x3x64xf32> to memref<64xf32, strided<[1], offset: ?>>
    linalg.exp ins(%p : memref<64xf32, strided<[1], offset: ?>>) outs(%p : memref<64xf32, strided<[1], offset: ?>>)
  }
  return
}
// CHECK-LABEL: func.func private @short_loop(%{{.*}}: memref<2x8xf32>) {
func.func private @short_loop(%x: memref<2x8xf32>) {
  scf.forall (%i) in (2) {
    %p = memref.subview %x[%i, 0] [1, 8] [1, 1] : memref<2x8xf32> to memref<8xf32, strided<[1], offset: ?>>
    linalg.exp ins(%p : memref<8xf32, strided<[1], offset: ?>>) outs(%p : memref<8xf32, strided<[1], offset: ?>>)
  }
  return
}
