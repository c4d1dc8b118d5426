// RUN: rwkv-opt %s -allow-unregistered-dialect -cpu-prefetch-rows | FileCheck %s

// The rows of the next token, a line at a time; the last token asks for its own again.
// CHECK-LABEL: @tokens
// CHECK-SAME: %[[K:[a-z0-9]+]]: memref<64x12x32xf32>
// CHECK: scf.for %[[T:.*]] = %{{.*}} to %[[N:.*]] step %[[C1:.*]] {
// CHECK:   %[[T1:.*]] = arith.addi %[[T]], %[[C1]]
// CHECK:   %[[PAST:.*]] = arith.cmpi sge, %[[T1]], %[[N]]
// CHECK:   %[[NEXT:.*]] = arith.select %[[PAST]], %[[T]], %[[T1]]
// CHECK:   memref.prefetch %[[K]][%[[NEXT]], %{{.*}}, %{{.*}}], read, locality<3>, data
// CHECK:   %[[LINE:.*]] = arith.addi
// CHECK:   memref.prefetch %[[K]][%[[NEXT]], %{{.*}}, %[[LINE]]], read
// CHECK-NOT: memref.prefetch
// CHECK:   memref.subview
// At a distance that the loop does not change.
// CHECK: scf.for
// CHECK:   %[[P:.*]] = arith.addi %{{.*}}, %{{.*}}
// CHECK:   memref.prefetch %[[K]][%{{.*}}, %{{.*}}, %{{.*}}]
func.func @tokens(%k: memref<64x12x32xf32>, %h: index, %n: index, %first: index, %sum: memref<f32>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  scf.for %t = %c0 to %n step %c1 {
    %row = memref.subview %k[%t, %h, 0] [1, 1, 32] [1, 1, 1] : memref<64x12x32xf32> to memref<32xf32, strided<[1], offset: ?>>
    "test.use"(%row) : (memref<32xf32, strided<[1], offset: ?>>) -> ()
  }
  scf.for %t = %c0 to %n step %c1 {
    %at = arith.addi %first, %t : index
    %row = memref.subview %k[%at, %h, 0] [1, 1, 32] [1, 1, 1] : memref<64x12x32xf32> to memref<32xf32, strided<[1], offset: ?>>
    "test.use"(%row) : (memref<32xf32, strided<[1], offset: ?>>) -> ()
  }
  return
}

// Rows one after the other are foreseen by hardware; a long row is fetched as it is read; a place that the loop computes
// is not known ahead.
// CHECK-LABEL: @refused
// CHECK-NOT: memref.prefetch
func.func @refused(%k: memref<64x32xf32>, %wide: memref<64x2x4096xf32>, %n: index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  scf.for %t = %c0 to %n step %c1 {
    %row = memref.subview %k[%t, 0] [1, 32] [1, 1] : memref<64x32xf32> to memref<32xf32, strided<[1], offset: ?>>
    "test.use"(%row) : (memref<32xf32, strided<[1], offset: ?>>) -> ()
    %long = memref.subview %wide[%t, 0, 0] [1, 1, 4096] [1, 1, 1] : memref<64x2x4096xf32> to memref<4096xf32, strided<[1], offset: ?>>
    "test.use"(%long) : (memref<4096xf32, strided<[1], offset: ?>>) -> ()
    %at = arith.muli %t, %c2 : index
    %other = memref.subview %k[%at, 0] [1, 16] [1, 1] : memref<64x32xf32> to memref<16xf32, strided<[1], offset: ?>>
    "test.use"(%other) : (memref<16xf32, strided<[1], offset: ?>>) -> ()
  }
  return
}
