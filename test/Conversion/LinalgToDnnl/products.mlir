// RUN: rwkv-opt %s --split-input-file --pass-pipeline='builtin.module(func.func(convert-linalg-to-dnnl{min-flops=1 min-rows=2}))' | FileCheck %s
// RUN: rwkv-opt %s --split-input-file --pass-pipeline='builtin.module(func.func(convert-linalg-to-dnnl{min-flops=1 min-rows=2 pack-constants=false}))' | FileCheck %s --check-prefix=PLAIN

// PLAIN-NOT: constant_b

// A destination of zeros is overwritten where the zeros would have gone.
// CHECK-LABEL: func @zeros
// CHECK-NOT: accumulate
// CHECK: dnnl.matmul ins(%arg0, %arg1 : tensor<8x4xf32>, tensor<4x6xf32>) outs(%arg2 : tensor<8x6xf32>)
func.func @zeros(%a: tensor<8x4xf32>, %b: tensor<4x6xf32>, %c: tensor<8x6xf32>) -> tensor<8x6xf32> {
  %zero = arith.constant -0.0 : f32
  %init = linalg.fill ins(%zero : f32) outs(%c : tensor<8x6xf32>) -> tensor<8x6xf32>
  %r = linalg.matmul ins(%a, %b : tensor<8x4xf32>, tensor<4x6xf32>) outs(%init : tensor<8x6xf32>) -> tensor<8x6xf32>
  return %r : tensor<8x6xf32>
}

// -----

// The same, written otherwise.
// CHECK-LABEL: func @generic_zeros
// CHECK-NOT: accumulate
// CHECK: dnnl.matmul ins(%arg0, %arg1 : tensor<8x4xf32>, tensor<4x6xf32>) outs(%arg2 : tensor<8x6xf32>)
func.func @generic_zeros(%a: tensor<8x4xf32>, %b: tensor<4x6xf32>, %c: tensor<8x6xf32>) -> tensor<8x6xf32> {
  %zero = arith.constant 0.0 : f32
  %init = linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (d0, d1)>], iterator_types = ["parallel", "parallel"]} outs(%c : tensor<8x6xf32>) {
  ^bb0(%old: f32):
    linalg.yield %zero : f32
  } -> tensor<8x6xf32>
  %r = linalg.matmul ins(%a, %b : tensor<8x4xf32>, tensor<4x6xf32>) outs(%init : tensor<8x6xf32>) -> tensor<8x6xf32>
  return %r : tensor<8x6xf32>
}

// -----

// CHECK-LABEL: func @constant_zeros
// CHECK: %[[NEW:.*]] = tensor.empty
// CHECK: dnnl.matmul ins({{.*}}) outs(%[[NEW]]
func.func @constant_zeros(%a: tensor<8x4xf32>, %b: tensor<4x6xf32>) -> tensor<8x6xf32> {
  %init = arith.constant dense<0.0> : tensor<8x6xf32>
  %r = linalg.matmul ins(%a, %b : tensor<8x4xf32>, tensor<4x6xf32>) outs(%init : tensor<8x6xf32>) -> tensor<8x6xf32>
  return %r : tensor<8x6xf32>
}

// -----

// CHECK-LABEL: func @accumulated
// CHECK: dnnl.matmul accumulate ins({{.*}}) outs(%arg2
func.func @accumulated(%a: tensor<8x4xf32>, %b: tensor<4x6xf32>, %c: tensor<8x6xf32>) -> tensor<8x6xf32> {
  %r = linalg.matmul ins(%a, %b : tensor<8x4xf32>, tensor<4x6xf32>) outs(%c : tensor<8x6xf32>) -> tensor<8x6xf32>
  return %r : tensor<8x6xf32>
}

// -----

// CHECK-LABEL: func @filled_with_one
// CHECK: %[[ONES:.*]] = linalg.fill
// CHECK: dnnl.matmul accumulate ins({{.*}}) outs(%[[ONES]]
func.func @filled_with_one(%a: tensor<8x4xf32>, %b: tensor<4x6xf32>, %c: tensor<8x6xf32>) -> tensor<8x6xf32> {
  %one = arith.constant 1.0 : f32
  %init = linalg.fill ins(%one : f32) outs(%c : tensor<8x6xf32>) -> tensor<8x6xf32>
  %r = linalg.matmul ins(%a, %b : tensor<8x4xf32>, tensor<4x6xf32>) outs(%init : tensor<8x6xf32>) -> tensor<8x6xf32>
  return %r : tensor<8x6xf32>
}

// -----

// CHECK-LABEL: func @transposed
// CHECK: dnnl.matmul transpose_b accumulate ins(%arg0, %arg1
// CHECK: dnnl.matmul transpose_a accumulate ins(%arg1, %arg0
func.func @transposed(%a: tensor<8x4xf32>, %b: tensor<8x4xf32>, %c: tensor<8x8xf32>, %d: tensor<4x4xf32>) -> (tensor<8x8xf32>, tensor<4x4xf32>) {
  %r = linalg.matmul indexing_maps = [affine_map<(m, n, k) -> (m, k)>, affine_map<(m, n, k) -> (n, k)>, affine_map<(m, n, k) -> (m, n)>]
    ins(%a, %b : tensor<8x4xf32>, tensor<8x4xf32>) outs(%c : tensor<8x8xf32>) -> tensor<8x8xf32>
  %s = linalg.contract indexing_maps = [affine_map<(m, n, k) -> (k, m)>, affine_map<(m, n, k) -> (k, n)>, affine_map<(m, n, k) -> (m, n)>]
    ins(%b, %a : tensor<8x4xf32>, tensor<8x4xf32>) outs(%d : tensor<4x4xf32>) -> tensor<4x4xf32>
  return %r, %s : tensor<8x8xf32>, tensor<4x4xf32>
}

// -----

// The result's rows decide which operand is the left one.
// CHECK-LABEL: func @result_transposed
// CHECK: dnnl.matmul transpose_a transpose_b accumulate ins(%arg1, %arg0 : tensor<4x6xf32>, tensor<8x4xf32>) outs(%arg2 : tensor<6x8xf32>)
func.func @result_transposed(%a: tensor<8x4xf32>, %b: tensor<4x6xf32>, %c: tensor<6x8xf32>) -> tensor<6x8xf32> {
  %r = linalg.contract indexing_maps = [affine_map<(m, n, k) -> (m, k)>, affine_map<(m, n, k) -> (k, n)>, affine_map<(m, n, k) -> (n, m)>]
    ins(%a, %b : tensor<8x4xf32>, tensor<4x6xf32>) outs(%c : tensor<6x8xf32>) -> tensor<6x8xf32>
  return %r : tensor<6x8xf32>
}

// -----

// CHECK-LABEL: func @batched
// CHECK: dnnl.matmul accumulate ins(%arg0, %arg1 : tensor<3x8x4xf32>, tensor<3x4x6xf32>)
func.func @batched(%a: tensor<3x8x4xf32>, %b: tensor<3x4x6xf32>, %c: tensor<3x8x6xf32>) -> tensor<3x8x6xf32> {
  %r = linalg.batch_matmul ins(%a, %b : tensor<3x8x4xf32>, tensor<3x4x6xf32>) outs(%c : tensor<3x8x6xf32>) -> tensor<3x8x6xf32>
  return %r : tensor<3x8x6xf32>
}

// -----

// A generic op with its loops and its body in another order, widening bf16.
#A = affine_map<(k, n, b, m, h) -> (b, h, m, k)>
#B = affine_map<(k, n, b, m, h) -> (b, h, n, k)>
#C = affine_map<(k, n, b, m, h) -> (b, h, m, n)>
// CHECK-LABEL: func @generic
// CHECK: dnnl.matmul transpose_b accumulate ins(%arg0, %arg1 : tensor<2x3x8x4xbf16>, tensor<2x3x6x4xbf16>) outs(%arg2 : tensor<2x3x8x6xf32>)
func.func @generic(%a: tensor<2x3x8x4xbf16>, %b: tensor<2x3x6x4xbf16>, %c: tensor<2x3x8x6xf32>) -> tensor<2x3x8x6xf32> {
  %r = linalg.generic {indexing_maps = [#A, #B, #C], iterator_types = ["reduction", "parallel", "parallel", "parallel", "parallel"]}
    ins(%a, %b : tensor<2x3x8x4xbf16>, tensor<2x3x6x4xbf16>) outs(%c : tensor<2x3x8x6xf32>) {
  ^bb0(%x: bf16, %y: bf16, %z: f32):
    %u = arith.extf %x : bf16 to f32
    %v = arith.extf %y : bf16 to f32
    %p = arith.mulf %v, %u : f32
    %s = arith.addf %p, %z : f32
    linalg.yield %s : f32
  } -> tensor<2x3x8x6xf32>
  return %r : tensor<2x3x8x6xf32>
}

// -----

// CHECK-LABEL: func @half
// CHECK: dnnl.matmul accumulate ins({{.*}} : tensor<8x4xf16>, tensor<4x6xf16>) outs({{.*}} : tensor<8x6xf32>)
// CHECK: dnnl.matmul accumulate ins({{.*}} : tensor<8x4xf16>, tensor<4x6xf16>) outs({{.*}} : tensor<8x6xf16>)
func.func @half(%a: tensor<8x4xf16>, %b: tensor<4x6xf16>, %c: tensor<8x6xf32>, %d: tensor<8x6xf16>) -> (tensor<8x6xf32>, tensor<8x6xf16>) {
  %r = linalg.matmul ins(%a, %b : tensor<8x4xf16>, tensor<4x6xf16>) outs(%c : tensor<8x6xf32>) -> tensor<8x6xf32>
  %s = linalg.matmul ins(%a, %b : tensor<8x4xf16>, tensor<4x6xf16>) outs(%d : tensor<8x6xf16>) -> tensor<8x6xf16>
  return %r, %s : tensor<8x6xf32>, tensor<8x6xf16>
}

// -----

// Constants stay where they are through views, not through computation.
// CHECK-LABEL: func @constant
// CHECK: dnnl.matmul accumulate constant_b ins(%arg0
// CHECK: dnnl.matmul accumulate constant_b ins(%arg0
// CHECK: dnnl.matmul accumulate ins(%arg0
// CHECK: dnnl.matmul accumulate ins(%arg0
func.func @constant(%a: tensor<8x4xf32>, %c: tensor<8x6xf32>, %i: index) -> (tensor<8x6xf32>, tensor<8x6xf32>, tensor<8x6xf32>, tensor<8x6xf32>) {
  %w = arith.constant dense<2.5> : tensor<4x6xf32>
  %big = arith.constant dense<1.5> : tensor<2x4x6xf32>
  %r = linalg.matmul ins(%a, %w : tensor<8x4xf32>, tensor<4x6xf32>) outs(%c : tensor<8x6xf32>) -> tensor<8x6xf32>
  %second = tensor.extract_slice %big[1, 0, 0] [1, 4, 6] [1, 1, 1] : tensor<2x4x6xf32> to tensor<4x6xf32>
  %s = linalg.matmul ins(%a, %second : tensor<8x4xf32>, tensor<4x6xf32>) outs(%c : tensor<8x6xf32>) -> tensor<8x6xf32>
  %any = tensor.extract_slice %big[%i, 0, 0] [1, 4, 6] [1, 1, 1] : tensor<2x4x6xf32> to tensor<4x6xf32>
  %t = linalg.matmul ins(%a, %any : tensor<8x4xf32>, tensor<4x6xf32>) outs(%c : tensor<8x6xf32>) -> tensor<8x6xf32>
  %double = arith.addf %w, %w : tensor<4x6xf32>
  %u = linalg.matmul ins(%a, %double : tensor<8x4xf32>, tensor<4x6xf32>) outs(%c : tensor<8x6xf32>) -> tensor<8x6xf32>
  return %r, %s, %t, %u : tensor<8x6xf32>, tensor<8x6xf32>, tensor<8x6xf32>, tensor<8x6xf32>
}
