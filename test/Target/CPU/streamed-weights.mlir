// RUN: rwkv-opt %s -cpu-vectorize-kernels | FileCheck %s --check-prefix=KEPT
// RUN: rwkv-opt %s -cpu-vectorize-kernels=streamed-bytes=32769 | FileCheck %s --check-prefix=KEPT
// RUN: rwkv-opt %s -cpu-vectorize-kernels=streamed-bytes=32768 | FileCheck %s --check-prefix=PAST
// RUN: rwkv-opt %s -pass-pipeline='builtin.module(cpu-clone-kernels{levels=kept,past vector-bits=256,256 streamed-bytes=0,32768},builtin.module(cpu-vectorize-kernels))' \
// RUN:   | FileCheck %s --check-prefixes=LEVELS

// A matrix that is read once is fetched past the larger caches if all weights together are too many for these.
// KEPT:   memref.prefetch %{{.*}}, read, locality<3>, data : memref<4096xf32>
// KEPT:   memref.prefetch %{{.*}}, read, locality<3>, data : memref<4096xf32>
// PAST:   memref.prefetch %{{.*}}, read, locality<0>, data : memref<4096xf32>
// A list of rows, too.
// PAST:   memref.prefetch %{{.*}}, read, locality<0>, data : memref<4096xf32>
// LEVELS: module @kept
// LEVELS:   memref.prefetch %{{.*}}, read, locality<3>, data : memref<4096xf32>
// LEVELS: module @past
// LEVELS:   memref.prefetch %{{.*}}, read, locality<0>, data : memref<4096xf32>
module attributes {rwkvc.weights_size = 32768 : i64} {
  func.func private @product(%x: memref<256xf32>, %w: memref<256x16xf32>, %y: memref<16xf32>) {
    linalg.vecmat ins(%x, %w : memref<256xf32>, memref<256x16xf32>) outs(%y : memref<16xf32>)
    return
  }

  func.func private @zeros(%x: memref<256xf32>, %w: memref<256x16xf32>, %y: memref<16xf32>) {
    linalg.generic {indexing_maps = [affine_map<(n, k) -> (k)>, affine_map<(n, k) -> (k, n)>, affine_map<(n, k) -> (n)>],
                    iterator_types = ["parallel", "reduction"], cpu.skip_zeros = 0 : i64}
        ins(%x, %w : memref<256xf32>, memref<256x16xf32>) outs(%y : memref<16xf32>) {
    ^bb0(%a: f32, %b: f32, %sum: f32):
      %product = arith.mulf %a, %b : f32
      %next = arith.addf %sum, %product : f32
      linalg.yield %next : f32
    }
    return
  }
}
