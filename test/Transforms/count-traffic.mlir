// RUN: rwkv-opt %s -split-input-file -rwkvc-count-traffic=unknown-trips=10 -o /dev/null 2>&1 | FileCheck %s

#v = affine_map<(d0) -> (d0)>

// An argument is copied to the workspace (32 bytes each), a product with a weight updates it (32 + 2 * 32), and what a
// body ignores does not move. The loop runs its kernel ten times, the parallel one four times as one kernel;
// what its iterations fill and read in places of their own (3 * 8 bytes, four times) counts apart.
// CHECK: remark: @main: 13 kernels; bytes moved: 32 of weights, 480 of workspace, 32 of arguments, 96 within iterations of
// CHECK-SAME: parallel loops
func.func @main(%x: memref<8xf32>, %n: index, %weights: memref<32xi8>, %workspace: memref<32xi8>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %zero = arith.constant 0.0 : f32
  %w = memref.view %weights[%c0][] : memref<32xi8> to memref<8xf32>
  %y = memref.view %workspace[%c0][] : memref<32xi8> to memref<8xf32>
  %shares = memref.subview %workspace[0] [32] [1] : memref<32xi8> to memref<32xi8>
  memref.copy %x, %y : memref<8xf32> to memref<8xf32>
  linalg.generic {indexing_maps = [#v, #v, #v], iterator_types = ["parallel"]}
      ins(%w, %x : memref<8xf32>, memref<8xf32>) outs(%y : memref<8xf32>) {
  ^bb0(%a: f32, %ignored: f32, %b: f32):
    %p = arith.mulf %a, %b : f32
    linalg.yield %p : f32
  }
  scf.for %i = %c0 to %n step %c1 {
    linalg.fill ins(%zero : f32) outs(%y : memref<8xf32>)
  }
  scf.forall (%i) in (4) {
    %e = memref.subview %y[%i] [2] [1] : memref<8xf32> to memref<2xf32, strided<[1], offset: ?>>
    linalg.fill ins(%zero : f32) outs(%e : memref<2xf32, strided<[1], offset: ?>>)
    linalg.fill ins(%zero : f32) outs(%e : memref<2xf32, strided<[1], offset: ?>>)
    %own = memref.view %shares[%i][] : memref<32xi8> to memref<2xf32>
    linalg.fill ins(%zero : f32) outs(%own : memref<2xf32>)
    linalg.exp ins(%own : memref<2xf32>) outs(%own : memref<2xf32>)
  }
  return
}

// -----

// A library's product updates its destination only where it accumulates: 64 bytes for each operand, but 128 for it then.
// CHECK: remark: @main: 2 kernels; bytes moved: 128 of weights, 320 of workspace, 0 of arguments
func.func @main(%weights: memref<64xi8>, %workspace: memref<192xi8>) {
  %c0 = arith.constant 0 : index
  %c64 = arith.constant 64 : index
  %w = memref.view %weights[%c0][] : memref<64xi8> to memref<4x4xf32>
  %x = memref.view %workspace[%c0][] : memref<192xi8> to memref<4x4xf32>
  %y = memref.view %workspace[%c64][] : memref<192xi8> to memref<4x4xf32>
  dnnl.matmul ins(%x, %w : memref<4x4xf32>, memref<4x4xf32>) outs(%y : memref<4x4xf32>)
  dnnl.matmul accumulate ins(%x, %w : memref<4x4xf32>, memref<4x4xf32>) outs(%y : memref<4x4xf32>)
  return
}
