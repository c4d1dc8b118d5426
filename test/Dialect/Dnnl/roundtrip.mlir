// RUN: rwkv-opt %s --verify-roundtrip | FileCheck %s

// CHECK-LABEL: func @tensors
// CHECK: dnnl.matmul ins(%{{.*}}, %{{.*}} : tensor<8x4xf32>, tensor<4x6xf32>) outs(%{{.*}} : tensor<8x6xf32>) -> tensor<8x6xf32>
func.func @tensors(%a: tensor<8x4xf32>, %b: tensor<4x6xf32>, %c: tensor<8x6xf32>) -> tensor<8x6xf32> {
  %r = dnnl.matmul ins(%a, %b : tensor<8x4xf32>, tensor<4x6xf32>) outs(%c : tensor<8x6xf32>) -> tensor<8x6xf32>
  return %r : tensor<8x6xf32>
}

// CHECK-LABEL: func @memrefs
// CHECK: dnnl.matmul transpose_a transpose_b accumulate constant_b ins(%{{.*}}, %{{.*}} : memref<2x4x8xbf16>, memref<2x6x4xbf16>) outs(%{{.*}} : memref<2x8x6xf32, strided<[96, 12, 1], offset: ?>>){{$}}
func.func @memrefs(%a: memref<2x4x8xbf16>, %b: memref<2x6x4xbf16>, %c: memref<2x8x6xf32, strided<[96, 12, 1], offset: ?>>) {
  dnnl.matmul constant_b accumulate transpose_b transpose_a ins(%a, %b : memref<2x4x8xbf16>, memref<2x6x4xbf16>)
    outs(%c : memref<2x8x6xf32, strided<[96, 12, 1], offset: ?>>)
  return
}

// CHECK-LABEL: func @dynamic
// CHECK: dnnl.matmul ins
func.func @dynamic(%a: tensor<?x4xf16>, %b: tensor<4x?xf16>, %c: tensor<?x6xf16>) -> tensor<?x6xf16> {
  %r = dnnl.matmul ins(%a, %b : tensor<?x4xf16>, tensor<4x?xf16>) outs(%c : tensor<?x6xf16>) -> tensor<?x6xf16>
  return %r : tensor<?x6xf16>
}

// CHECK-LABEL: func @post
// CHECK: dnnl.matmul accumulate ins({{.*}}) outs({{.*}}) post(relu, square, mul %arg3 : tensor<6xf32>, logistic, add %arg2 : tensor<8x6xf32>, tanh, swish) -> tensor<8x6xf32>
func.func @post(%a: tensor<8x4xf32>, %b: tensor<4x6xf32>, %c: tensor<8x6xf32>, %row: tensor<6xf32>) -> tensor<8x6xf32> {
  %r = dnnl.matmul accumulate ins(%a, %b : tensor<8x4xf32>, tensor<4x6xf32>) outs(%c : tensor<8x6xf32>)
    post(relu, square, mul %row : tensor<6xf32>, logistic, add %c : tensor<8x6xf32>, tanh, swish) -> tensor<8x6xf32>
  return %r : tensor<8x6xf32>
}
