// RUN: rwkv-opt %s --gpu-append-chains --canonicalize --split-input-file | FileCheck %s

// The counters are cleared by the function's first chain, which follows nothing.
// CHECK-LABEL: func.func @main
// CHECK-SAME:      %[[WORKSPACE:[a-z0-9]+]]: memref<72xi8>)
// CHECK-SAME:      rwkvc.workspace_size = 72 : i64
// CHECK-DAG:     %[[ALL:.*]] = memref.view %[[WORKSPACE]][%c64][] : memref<72xi8> to memref<2xi32>
// CHECK-DAG:     %[[FIRST:.*]] = memref.view %[[WORKSPACE]][%c64][] : memref<72xi8> to memref<1xi32>
// CHECK-DAG:     %[[SECOND:.*]] = memref.view %[[WORKSPACE]][%c68][] : memref<72xi8> to memref<1xi32>
// CHECK:         scf.execute_region no_inline {
// CHECK-NEXT:      linalg.fill ins(%c0_i32 : i32) outs(%[[ALL]]
// CHECK-NEXT:      linalg.exp
// CHECK-NEXT:      scf.yield
// CHECK-NEXT:    } {gpu.chain}
// CHECK-NEXT:    scf.execute_region no_inline {
// CHECK-NEXT:      linalg.matvec
// CHECK-NEXT:      scf.execute_region no_inline {
// CHECK-NEXT:        memref.atomic_rmw addi %c1_i32, %[[FIRST]][%c0]
// CHECK-NEXT:        linalg.exp
// CHECK-NEXT:        scf.yield
// CHECK-NEXT:      } {gpu.chain}
// CHECK-NEXT:      scf.yield
// CHECK-NEXT:    }
// A group stays one.
// CHECK-NEXT:    scf.execute_region no_inline {
// CHECK-NEXT:      linalg.matvec
// CHECK-NEXT:      linalg.matvec
// CHECK-NEXT:      scf.execute_region no_inline {
// CHECK-NEXT:        memref.atomic_rmw addi %c1_i32, %[[SECOND]][%c0]
// CHECK-NEXT:        linalg.tanh
// CHECK:         } {rwkvc.independent}
// CHECK-NEXT:    return
func.func @main(%x: memref<64xf32>, %y: memref<64xf32>, %z: memref<64xf32>, %w: memref<64x64xf32>, %workspace: memref<16xi8>) attributes {rwkvc.workspace_size = 16 : i64} {
  scf.execute_region no_inline {
    linalg.exp ins(%x : memref<64xf32>) outs(%x : memref<64xf32>)
    scf.yield
  } {gpu.chain}
  linalg.matvec ins(%w, %x : memref<64x64xf32>, memref<64xf32>) outs(%y : memref<64xf32>)
  scf.execute_region no_inline {
    linalg.exp ins(%y : memref<64xf32>) outs(%y : memref<64xf32>)
    scf.yield
  } {gpu.chain}
  scf.execute_region no_inline {
    linalg.matvec ins(%w, %y : memref<64x64xf32>, memref<64xf32>) outs(%x : memref<64xf32>)
    linalg.matvec ins(%w, %y : memref<64x64xf32>, memref<64xf32>) outs(%z : memref<64xf32>)
    scf.yield
  } {rwkvc.independent}
  scf.execute_region no_inline {
    linalg.tanh ins(%z : memref<64xf32>) outs(%z : memref<64xf32>)
    scf.yield
  } {gpu.chain}
  return
}

// -----

// Without a workspace there is no room for a counter.
// CHECK-LABEL: func.func @main
// CHECK-NEXT:    linalg.matvec
// CHECK-NEXT:    scf.execute_region
func.func @main(%x: memref<64xf32>, %y: memref<64xf32>, %w: memref<64x64xf32>) {
  linalg.matvec ins(%w, %x : memref<64x64xf32>, memref<64xf32>) outs(%y : memref<64xf32>)
  scf.execute_region no_inline {
    linalg.exp ins(%y : memref<64xf32>) outs(%y : memref<64xf32>)
    scf.yield
  } {gpu.chain}
  return
}
