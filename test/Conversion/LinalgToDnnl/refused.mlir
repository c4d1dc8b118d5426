// RUN: rwkv-opt %s --split-input-file --pass-pipeline='builtin.module(func.func(convert-linalg-to-dnnl{min-flops=0 min-rows=0}))' | FileCheck %s

// What is not exactly a product of large matrices stays as it is.
// CHECK-NOT: dnnl.
// CHECK: return

func.func @one_row(%a: tensor<1x4xf32>, %b: tensor<4x6xf32>, %c: tensor<1x6xf32>) -> tensor<1x6xf32> {
  %r = linalg.matmul ins(%a, %b : tensor<1x4xf32>, tensor<4x6xf32>) outs(%c : tensor<1x6xf32>) -> tensor<1x6xf32>
  return %r : tensor<1x6xf32>
}

// -----

// CHECK-NOT: dnnl.
// CHECK: return
func.func @one_column(%a: tensor<8x4xf32>, %b: tensor<4x1xf32>, %c: tensor<8x1xf32>) -> tensor<8x1xf32> {
  %r = linalg.matmul ins(%a, %b : tensor<8x4xf32>, tensor<4x1xf32>) outs(%c : tensor<8x1xf32>) -> tensor<8x1xf32>
  return %r : tensor<8x1xf32>
}

// -----

// CHECK-NOT: dnnl.
// CHECK: return
func.func @vector(%a: tensor<8x4xf32>, %b: tensor<4xf32>, %c: tensor<8xf32>) -> tensor<8xf32> {
  %r = linalg.matvec ins(%a, %b : tensor<8x4xf32>, tensor<4xf32>) outs(%c : tensor<8xf32>) -> tensor<8xf32>
  return %r : tensor<8xf32>
}

// -----

// CHECK-NOT: dnnl.
// CHECK: return
func.func @dynamic(%a: tensor<?x4xf32>, %b: tensor<4x6xf32>, %c: tensor<?x6xf32>) -> tensor<?x6xf32> {
  %r = linalg.matmul ins(%a, %b : tensor<?x4xf32>, tensor<4x6xf32>) outs(%c : tensor<?x6xf32>) -> tensor<?x6xf32>
  return %r : tensor<?x6xf32>
}

// -----

// CHECK-NOT: dnnl.
// CHECK: return
func.func @empty(%a: tensor<8x0xf32>, %b: tensor<0x6xf32>, %c: tensor<8x6xf32>) -> tensor<8x6xf32> {
  %r = linalg.matmul ins(%a, %b : tensor<8x0xf32>, tensor<0x6xf32>) outs(%c : tensor<8x6xf32>) -> tensor<8x6xf32>
  return %r : tensor<8x6xf32>
}

// -----

// CHECK-NOT: dnnl.
// CHECK: return
func.func @double(%a: tensor<8x4xf64>, %b: tensor<4x6xf64>, %c: tensor<8x6xf64>) -> tensor<8x6xf64> {
  %r = linalg.matmul ins(%a, %b : tensor<8x4xf64>, tensor<4x6xf64>) outs(%c : tensor<8x6xf64>) -> tensor<8x6xf64>
  return %r : tensor<8x6xf64>
}

// -----

// CHECK-NOT: dnnl.
// CHECK: return
func.func @integer(%a: tensor<8x4xi8>, %b: tensor<4x6xi8>, %c: tensor<8x6xi32>) -> tensor<8x6xi32> {
  %r = linalg.matmul ins(%a, %b : tensor<8x4xi8>, tensor<4x6xi8>) outs(%c : tensor<8x6xi32>) -> tensor<8x6xi32>
  return %r : tensor<8x6xi32>
}

// -----

// CHECK-NOT: dnnl.
// CHECK: return
func.func @mixed(%a: tensor<8x4xf32>, %b: tensor<4x6xbf16>, %c: tensor<8x6xf32>) -> tensor<8x6xf32> {
  %r = linalg.matmul ins(%a, %b : tensor<8x4xf32>, tensor<4x6xbf16>) outs(%c : tensor<8x6xf32>) -> tensor<8x6xf32>
  return %r : tensor<8x6xf32>
}

// -----

// CHECK-NOT: dnnl.
// CHECK: return
func.func @buffers(%a: memref<8x4xf32>, %b: memref<4x6xf32>, %c: memref<8x6xf32>) {
  linalg.matmul ins(%a, %b : memref<8x4xf32>, memref<4x6xf32>) outs(%c : memref<8x6xf32>)
  return
}

// -----

// Batches that are not outermost in the left operand.
// CHECK-NOT: dnnl.
// CHECK: return
func.func @inner_batch(%a: tensor<8x3x4xf32>, %b: tensor<3x4x6xf32>, %c: tensor<3x8x6xf32>) -> tensor<3x8x6xf32> {
  %r = linalg.contract indexing_maps = [affine_map<(b, m, n, k) -> (m, b, k)>, affine_map<(b, m, n, k) -> (b, k, n)>, affine_map<(b, m, n, k) -> (b, m, n)>]
    ins(%a, %b : tensor<8x3x4xf32>, tensor<3x4x6xf32>) outs(%c : tensor<3x8x6xf32>) -> tensor<3x8x6xf32>
  return %r : tensor<3x8x6xf32>
}

// -----

// One matrix for all batches: two row loops.
// CHECK-NOT: dnnl.
// CHECK: return
func.func @broadcast(%a: tensor<3x8x4xf32>, %b: tensor<4x6xf32>, %c: tensor<3x8x6xf32>) -> tensor<3x8x6xf32> {
  %r = linalg.contract indexing_maps = [affine_map<(b, m, n, k) -> (b, m, k)>, affine_map<(b, m, n, k) -> (k, n)>, affine_map<(b, m, n, k) -> (b, m, n)>]
    ins(%a, %b : tensor<3x8x4xf32>, tensor<4x6xf32>) outs(%c : tensor<3x8x6xf32>) -> tensor<3x8x6xf32>
  return %r : tensor<3x8x6xf32>
}

// -----

// Two summed loops.
// CHECK-NOT: dnnl.
// CHECK: return
func.func @two_sums(%a: tensor<8x3x4xf32>, %b: tensor<3x4x6xf32>, %c: tensor<8x6xf32>) -> tensor<8x6xf32> {
  %r = linalg.contract indexing_maps = [affine_map<(m, n, k, l) -> (m, k, l)>, affine_map<(m, n, k, l) -> (k, l, n)>, affine_map<(m, n, k, l) -> (m, n)>]
    ins(%a, %b : tensor<8x3x4xf32>, tensor<3x4x6xf32>) outs(%c : tensor<8x6xf32>) -> tensor<8x6xf32>
  return %r : tensor<8x6xf32>
}

// -----

// Reads one row of a for all rows of the result.
#A = affine_map<(m, n, k) -> (0, k)>
#B = affine_map<(m, n, k) -> (k, n)>
#C = affine_map<(m, n, k) -> (m, n)>
// CHECK-NOT: dnnl.
// CHECK: return
func.func @constant_map(%a: tensor<1x4xf32>, %b: tensor<4x6xf32>, %c: tensor<8x6xf32>) -> tensor<8x6xf32> {
  %r = linalg.generic {indexing_maps = [#A, #B, #C], iterator_types = ["parallel", "parallel", "reduction"]}
    ins(%a, %b : tensor<1x4xf32>, tensor<4x6xf32>) outs(%c : tensor<8x6xf32>) {
  ^bb0(%x: f32, %y: f32, %z: f32):
    %p = arith.mulf %x, %y : f32
    %s = arith.addf %z, %p : f32
    linalg.yield %s : f32
  } -> tensor<8x6xf32>
  return %r : tensor<8x6xf32>
}

// -----

// Bodies of another meaning: the difference, the square, the maximum, a
// function of an operand, sums rounded after each product.
#A = affine_map<(m, n, k) -> (m, k)>
#B = affine_map<(m, n, k) -> (k, n)>
#C = affine_map<(m, n, k) -> (m, n)>
// CHECK-NOT: dnnl.
// CHECK: return
func.func @bodies(%a: tensor<8x4xf32>, %b: tensor<4x6xf32>, %c: tensor<8x6xf32>) -> tensor<8x6xf32> {
  %0 = linalg.generic {indexing_maps = [#A, #B, #C], iterator_types = ["parallel", "parallel", "reduction"]}
    ins(%a, %b : tensor<8x4xf32>, tensor<4x6xf32>) outs(%c : tensor<8x6xf32>) {
  ^bb0(%x: f32, %y: f32, %z: f32):
    %p = arith.mulf %x, %y : f32
    %s = arith.subf %z, %p : f32
    linalg.yield %s : f32
  } -> tensor<8x6xf32>
  %1 = linalg.generic {indexing_maps = [#A, #B, #C], iterator_types = ["parallel", "parallel", "reduction"]}
    ins(%a, %b : tensor<8x4xf32>, tensor<4x6xf32>) outs(%0 : tensor<8x6xf32>) {
  ^bb0(%x: f32, %y: f32, %z: f32):
    %p = arith.mulf %x, %x : f32
    %s = arith.addf %z, %p : f32
    linalg.yield %s : f32
  } -> tensor<8x6xf32>
  %2 = linalg.generic {indexing_maps = [#A, #B, #C], iterator_types = ["parallel", "parallel", "reduction"]}
    ins(%a, %b : tensor<8x4xf32>, tensor<4x6xf32>) outs(%1 : tensor<8x6xf32>) {
  ^bb0(%x: f32, %y: f32, %z: f32):
    %p = arith.addf %x, %y : f32
    %s = arith.maximumf %z, %p : f32
    linalg.yield %s : f32
  } -> tensor<8x6xf32>
  %3 = linalg.generic {indexing_maps = [#A, #B, #C], iterator_types = ["parallel", "parallel", "reduction"]}
    ins(%a, %b : tensor<8x4xf32>, tensor<4x6xf32>) outs(%2 : tensor<8x6xf32>) {
  ^bb0(%x: f32, %y: f32, %z: f32):
    %e = math.exp %x : f32
    %p = arith.mulf %e, %y : f32
    %s = arith.addf %z, %p : f32
    linalg.yield %s : f32
  } -> tensor<8x6xf32>
  return %3 : tensor<8x6xf32>
}

// -----

#A = affine_map<(m, n, k) -> (m, k)>
#B = affine_map<(m, n, k) -> (k, n)>
#C = affine_map<(m, n, k) -> (m, n)>
// CHECK-NOT: dnnl.
// CHECK: return
func.func @rounded_products(%a: tensor<8x4xf16>, %b: tensor<4x6xf16>, %c: tensor<8x6xf32>) -> tensor<8x6xf32> {
  %r = linalg.generic {indexing_maps = [#A, #B, #C], iterator_types = ["parallel", "parallel", "reduction"]}
    ins(%a, %b : tensor<8x4xf16>, tensor<4x6xf16>) outs(%c : tensor<8x6xf32>) {
  ^bb0(%x: f16, %y: f16, %z: f32):
    %p = arith.mulf %x, %y : f16
    %w = arith.extf %p : f16 to f32
    %s = arith.addf %z, %w : f32
    linalg.yield %s : f32
  } -> tensor<8x6xf32>
  return %r : tensor<8x6xf32>
}
