// RUN: rwkv-opt %s -pass-pipeline="builtin.module(func.func(cpu-pad-rows))" | FileCheck %s

// Rows 4 KB apart get a line more, those of parts and of one text too.
// CHECK-LABEL: func.func @padded(
// CHECK:         %[[A:.*]] = bufferization.alloc_tensor() : tensor<64x1040xf32>
// CHECK:         tensor.extract_slice %[[A]][0, 0] [64, 1024] [1, 1] : tensor<64x1040xf32> to tensor<64x1024xf32>
// CHECK:         %[[B:.*]] = bufferization.alloc_tensor() : tensor<1x64x129x32xf32>
// CHECK:         tensor.extract_slice %[[B]][0, 0, 0, 0] [1, 64, 128, 32] [1, 1, 1, 1]
// CHECK:         %[[C:.*]] = bufferization.alloc_tensor() : tensor<8x1056xi16>
// CHECK:         tensor.extract_slice %[[C]][0, 0] [8, 1024] [1, 1]
func.func @padded() -> (tensor<64x1024xf32>, tensor<1x64x128x32xf32>, tensor<8x1024xi16>) {
  %a = bufferization.alloc_tensor() : tensor<64x1024xf32>
  %b = bufferization.alloc_tensor() : tensor<1x64x128x32xf32>
  %c = bufferization.alloc_tensor() : tensor<8x1024xi16>
  return %a, %b, %c : tensor<64x1024xf32>, tensor<1x64x128x32xf32>, tensor<8x1024xi16>
}

// Not a few rows, not rows that go on in other sets, not what is copied from or has no size yet.
// CHECK-LABEL: func.func @left(
// CHECK-NOT:     tensor.extract_slice
// CHECK:         return
func.func @left(%from: tensor<64x1024xf32>, %n: index)
    -> (tensor<4x1024xf32>, tensor<64x768xf32>, tensor<1x1024xf32>, tensor<f32>, tensor<64x1024xf32>, tensor<?x1024xf32>) {
  %a = bufferization.alloc_tensor() : tensor<4x1024xf32>
  %b = bufferization.alloc_tensor() : tensor<64x768xf32>
  %c = bufferization.alloc_tensor() : tensor<1x1024xf32>
  %d = bufferization.alloc_tensor() : tensor<f32>
  %e = bufferization.alloc_tensor() copy(%from) : tensor<64x1024xf32>
  %f = bufferization.alloc_tensor(%n) : tensor<?x1024xf32>
  return %a, %b, %c, %d, %e, %f : tensor<4x1024xf32>, tensor<64x768xf32>, tensor<1x1024xf32>, tensor<f32>, tensor<64x1024xf32>, tensor<?x1024xf32>
}
