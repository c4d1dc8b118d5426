// RUN: rwkv-opt %s -rwkvc-group-kernels=min-large-work=16 | FileCheck %s
// RUN: rwkv-opt %s -rwkvc-group-kernels="min-large-work=16 max-mean-work=16" | FileCheck %s --check-prefix=ALONE
// RUN: not rwkv-opt %S/Inputs/no-entry.mlir -rwkvc-group-kernels 2>&1 | FileCheck %s --check-prefix=ERROR

// ERROR: error: {{.*}}main

// Not where the kernels do too much for it, as those of @main do here.
// ALONE-LABEL: func.func @main(
// ALONE-NOT:     execute_region
// ALONE-LABEL: func.func @step(

// Both products, right before them their views and fills. The gate needs the first product, and the copy overwrites
// what both have read.
// CHECK-LABEL: func.func @main(
// CHECK-SAME:    %[[X:.*]]: memref<8xf32>, %[[W:.*]]: memref<1024xi8>, %[[OUT:.*]]: memref<4xf32>)
// CHECK:         %[[R:.*]] = memref.alloc
// CHECK:         %[[K:.*]] = memref.alloc
// CHECK:         scf.execute_region no_inline {
// CHECK-NEXT:      linalg.fill ins(%{{.*}}) outs(%[[R]]
// CHECK-NEXT:      linalg.fill ins(%{{.*}}) outs(%[[K]]
// CHECK-NEXT:      scf.yield
// CHECK-NEXT:    } {rwkvc.independent}
// CHECK-DAG:     %[[WR:.*]] = memref.view %[[W]][%{{.*}}]
// CHECK-DAG:     %[[WK:.*]] = memref.view %[[W]][%{{.*}}]
// CHECK:         scf.execute_region no_inline {
// CHECK-NEXT:      linalg.matvec ins(%[[WR]], %[[X]] {{.*}} outs(%[[R]]
// CHECK-NEXT:      linalg.matvec ins(%[[WK]], %[[X]] {{.*}} outs(%[[K]]
// CHECK-NEXT:      scf.yield
// CHECK:         %[[G:.*]] = memref.alloc
// CHECK:         scf.execute_region no_inline {
// CHECK-NEXT:      linalg.exp ins(%[[R]] {{.*}} outs(%[[G]]
// CHECK-NEXT:      linalg.copy ins(%[[K]] {{.*}} outs(%{{.*}}
// CHECK-NEXT:      scf.yield
// CHECK:         linalg.add ins(%[[G]], %[[K]]
// CHECK-NEXT:    return
func.func @main(%x: memref<8xf32>, %w: memref<1024xi8>, %out: memref<4xf32>) {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %c128 = arith.constant 128 : index
  %r = memref.alloc() : memref<4xf32>
  %wr = memref.view %w[%c0][] : memref<1024xi8> to memref<4x8xf32>
  linalg.fill ins(%zero : f32) outs(%r : memref<4xf32>)
  linalg.matvec ins(%wr, %x : memref<4x8xf32>, memref<8xf32>) outs(%r : memref<4xf32>)
  %g = memref.alloc() : memref<4xf32>
  linalg.exp ins(%r : memref<4xf32>) outs(%g : memref<4xf32>)
  %k = memref.alloc() : memref<4xf32>
  linalg.fill ins(%zero : f32) outs(%k : memref<4xf32>)
  %wk = memref.view %w[%c128][] : memref<1024xi8> to memref<4x8xf32>
  linalg.matvec ins(%wk, %x : memref<4x8xf32>, memref<8xf32>) outs(%k : memref<4xf32>)
  %half = memref.subview %x[0] [4] [1] : memref<8xf32> to memref<4xf32>
  linalg.copy ins(%k : memref<4xf32>) outs(%half : memref<4xf32>)
  linalg.add ins(%g, %k : memref<4xf32>, memref<4xf32>) outs(%out : memref<4xf32>)
  return
}

// Kernels of a loop's body too. What may do anything to memory is passed by nothing.
// CHECK-LABEL: func.func @step(
// CHECK:         scf.for
// CHECK:           scf.execute_region no_inline {
// CHECK-NEXT:        linalg.exp ins(%[[A:.*]] : memref<4xf32>) outs(%[[B:.*]] : memref<4xf32>)
// CHECK-NEXT:        linalg.exp ins(%[[A]] : memref<4xf32>) outs(%[[C:.*]] : memref<4xf32>)
// CHECK-NEXT:        scf.yield
// CHECK:         linalg.exp ins(%[[A]] : memref<4xf32>) outs(%[[B]] : memref<4xf32>)
// CHECK-NEXT:    call @anything()
// CHECK-NEXT:    linalg.exp ins(%[[A]] : memref<4xf32>) outs(%[[C]] : memref<4xf32>)
// CHECK-NEXT:    return
func.func private @anything()
func.func @step(%a: memref<4xf32>, %b: memref<4xf32>, %c: memref<4xf32>) attributes {wkv.form = "step"} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c4 = arith.constant 4 : index
  scf.for %i = %c0 to %c4 step %c1 {
    linalg.exp ins(%a : memref<4xf32>) outs(%b : memref<4xf32>)
    linalg.exp ins(%a : memref<4xf32>) outs(%c : memref<4xf32>)
  }
  linalg.exp ins(%a : memref<4xf32>) outs(%b : memref<4xf32>)
  func.call @anything() : () -> ()
  linalg.exp ins(%a : memref<4xf32>) outs(%c : memref<4xf32>)
  return
}
