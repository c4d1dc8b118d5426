// RUN: rwkv-opt %s --gpu-sink-scalars --canonicalize --split-input-file --verify-diagnostics | FileCheck %s

// The token says which row a kernel reads: the kernel finds out itself.
// CHECK-LABEL: func.func @main
// CHECK:         scf.execute_region no_inline {
// CHECK-NEXT:      %[[TOKEN:.*]] = memref.load %{{.*}}[%c0]
// CHECK-NEXT:      %[[ROW:.*]] = arith.index_cast %[[TOKEN]]
// CHECK-NEXT:      %[[X:.*]] = memref.subview %{{.*}}[%[[ROW]], 0]
// CHECK-NEXT:      linalg.exp ins(%[[X]]
// CHECK:         }
// What depends on no token stays a kernel.
// CHECK-NEXT:    linalg.exp ins(%{{.*}} : memref<8xf32>)
func.func @main(%tokens: memref<1xi32>, %table: memref<16x8xf32>, %y: memref<8xf32>, %z: memref<8xf32>) {
  %c0 = arith.constant 0 : index
  %token = memref.load %tokens[%c0] : memref<1xi32>
  %row = arith.index_cast %token : i32 to index
  %x = memref.subview %table[%row, 0] [1, 8] [1, 1] : memref<16x8xf32> to memref<8xf32, strided<[1], offset: ?>>
  linalg.exp ins(%x : memref<8xf32, strided<[1], offset: ?>>) outs(%y : memref<8xf32>)
  linalg.exp ins(%y : memref<8xf32>) outs(%z : memref<8xf32>)
  return
}

// -----

// A constant number of iterations is unrolled, another one left to the device.
// CHECK-LABEL: func.func @main
// CHECK-COUNT-3: linalg.exp
// CHECK:         scf.execute_region no_inline {
// CHECK-NEXT:      %[[N:.*]] = memref.load
// CHECK-NEXT:      %[[END:.*]] = arith.index_cast %[[N]]
// CHECK-NEXT:      scf.for %{{.*}} = %c0 to %[[END]]
// CHECK-NEXT:        linalg.tanh
func.func @main(%length: memref<i64>, %y: memref<8xf32>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c3 = arith.constant 3 : index
  scf.for %i = %c0 to %c3 step %c1 {
    linalg.exp ins(%y : memref<8xf32>) outs(%y : memref<8xf32>)
  }
  %n = memref.load %length[] : memref<i64>
  %end = arith.index_cast %n : i64 to index
  scf.for %i = %c0 to %end step %c1 {
    linalg.tanh ins(%y : memref<8xf32>) outs(%y : memref<8xf32>)
  }
  return
}

// -----

// So is a condition on what the device computes.
// CHECK-LABEL: func.func @main
// CHECK:         scf.execute_region no_inline {
// CHECK-NEXT:      %[[FLAG:.*]] = memref.load
// CHECK-NEXT:      scf.if %[[FLAG]] {
// CHECK-NEXT:        linalg.exp
func.func @main(%flag: memref<i1>, %y: memref<8xf32>) {
  %isWanted = memref.load %flag[] : memref<i1>
  scf.if %isWanted {
    linalg.exp ins(%y : memref<8xf32>) outs(%y : memref<8xf32>)
  }
  return
}

// -----

// Memory that is written in between, but elsewhere in the workspace.
// CHECK-LABEL: func.func @main
// CHECK:         linalg.fill
// CHECK:         scf.execute_region
// CHECK-NEXT:      memref.load
func.func @main(%table: memref<16x8xf32>, %y: memref<8xf32>, %workspace: memref<128xi8>) {
  %c0 = arith.constant 0 : index
  %c64 = arith.constant 64 : index
  %one = arith.constant 1 : i32
  %places = memref.view %workspace[%c0][] : memref<128xi8> to memref<4xi32>
  %others = memref.view %workspace[%c64][] : memref<128xi8> to memref<4xi32>
  %place = memref.load %places[%c0] : memref<4xi32>
  linalg.fill ins(%one : i32) outs(%others : memref<4xi32>)
  %row = arith.index_cast %place : i32 to index
  %x = memref.subview %table[%row, 0] [1, 8] [1, 1] : memref<16x8xf32> to memref<8xf32, strided<[1], offset: ?>>
  linalg.exp ins(%x : memref<8xf32, strided<[1], offset: ?>>) outs(%y : memref<8xf32>)
  return
}

// -----

func.func @main(%places: memref<4xi32>, %table: memref<16x8xf32>, %y: memref<8xf32>) {
  %c0 = arith.constant 0 : index
  %one = arith.constant 1 : i32
  // expected-error @+1 {{is of memory that is written before the kernel which needs it}}
  %place = memref.load %places[%c0] : memref<4xi32>
  linalg.fill ins(%one : i32) outs(%places : memref<4xi32>)
  %row = arith.index_cast %place : i32 to index
  %x = memref.subview %table[%row, 0] [1, 8] [1, 1] : memref<16x8xf32> to memref<8xf32, strided<[1], offset: ?>>
  linalg.exp ins(%x : memref<8xf32, strided<[1], offset: ?>>) outs(%y : memref<8xf32>)
  return
}
