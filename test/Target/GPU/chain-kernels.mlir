// RUN: rwkv-opt %s --gpu-chain-kernels --split-input-file | FileCheck %s
// RUN: rwkv-opt %s --gpu-chain-kernels=max-work=4 --split-input-file | FileCheck %s --check-prefix=NONE
// NONE:     linalg.generic
// NONE-NOT: scf.execute_region
// NONE:     memref.copy
// NONE-NEXT: scf.execute_region no_inline {
// NONE-NEXT:  linalg.fill
// NONE-NEXT:  scf.yield
// NONE-NEXT: } {rwkvc.independent}
// NONE-NEXT: linalg.matvec

#row = affine_map<(d0) -> (d0)>
#one = affine_map<(d0) -> ()>

// A norm's sum and what is done with it; a view between them moves ahead. The
// product keeps workgroups of its own.
// CHECK-LABEL: func.func @main
// CHECK:         memref.view
// CHECK-NEXT:    scf.execute_region no_inline {
// CHECK-NEXT:      linalg.generic
// CHECK:           linalg.generic
// CHECK:           memref.copy
// CHECK-NEXT:      linalg.fill
// CHECK-NEXT:      scf.yield
// CHECK-NEXT:    } {gpu.chain}
// CHECK-NEXT:    linalg.matvec
// CHECK-NEXT:    scf.execute_region no_inline {
// CHECK-NEXT:      linalg.exp
// CHECK-NEXT:      scf.yield
// CHECK-NEXT:    } {gpu.chain}
// CHECK-NEXT:    return
func.func @main(%x: memref<64xf32>, %sum: memref<f32>, %w: memref<64x64xf32>, %z: memref<64xf32>, %workspace: memref<256xi8>) {
  %c0 = arith.constant 0 : index
  %zero = arith.constant 0.0 : f32
  linalg.generic {indexing_maps = [#row, #one], iterator_types = ["reduction"]} ins(%x : memref<64xf32>) outs(%sum : memref<f32>) {
  ^bb0(%in: f32, %out: f32):
    %0 = arith.addf %in, %out : f32
    linalg.yield %0 : f32
  }
  %y = memref.view %workspace[%c0][] : memref<256xi8> to memref<64xf32>
  linalg.generic {indexing_maps = [#row, #one, #row], iterator_types = ["parallel"]} ins(%x, %sum : memref<64xf32>, memref<f32>) outs(%y : memref<64xf32>) {
  ^bb0(%in: f32, %s: f32, %out: f32):
    %0 = arith.divf %in, %s : f32
    linalg.yield %0 : f32
  }
  memref.copy %y, %x : memref<64xf32> to memref<64xf32>
  scf.execute_region no_inline {
    linalg.fill ins(%zero : f32) outs(%z : memref<64xf32>)
    scf.yield
  } {rwkvc.independent}
  linalg.matvec ins(%w, %y : memref<64x64xf32>, memref<64xf32>) outs(%z : memref<64xf32>)
  linalg.exp ins(%z : memref<64xf32>) outs(%z : memref<64xf32>)
  return
}
