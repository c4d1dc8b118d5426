// RUN: rwkv-opt %s -cpu-round-activations -split-input-file -allow-unregistered-dialect | FileCheck %s

#x = affine_map<(m, n, k) -> (m, k)>
#w = affine_map<(m, n, k) -> (k, n)>
#y = affine_map<(m, n, k) -> (m, n)>

// Activations are rounded, and rows go in pairs.
// CHECK-DAG: #[[X:.*]] = affine_map<(d0, d1, d2, d3) -> (d0, d2, d3)>
// CHECK-DAG: #[[W:.*]] = affine_map<(d0, d1, d2, d3) -> (d2, d3, d1)>
// CHECK-DAG: #[[Y:.*]] = affine_map<(d0, d1, d2, d3) -> (d0, d1)>
// CHECK-LABEL: func.func @product(
// CHECK-SAME:    %[[IN:[^:]*]]: tensor<3x4xf32>, %[[OUT:[^:]*]]: tensor<3x2xf32>
// CHECK:       %[[ROUNDED:.*]] = linalg.generic {{.*}} ins(%[[IN]] : tensor<3x4xf32>) outs(%{{.*}} : tensor<3x4xbf16>)
// CHECK:         arith.truncf %{{.*}} : f32 to bf16
// CHECK:       %[[PAIRS:.*]] = tensor.expand_shape %[[ROUNDED]] {{.*}} : tensor<3x4xbf16> into tensor<3x2x2xbf16>
// CHECK:       %[[ROWS:.*]] = arith.constant dense<{{\[\[\[}}1.000000e+00, 2.000000e+00], [3.000000e+00, 4.000000e+00]], {{.*}}> : tensor<2x2x2xbf16>
// CHECK:       linalg.generic {indexing_maps = [#[[X]], #[[W]], #[[Y]]], iterator_types = ["parallel", "parallel", "reduction", "reduction"]}
// CHECK-SAME:    ins(%[[PAIRS]], %[[ROWS]] : tensor<3x2x2xbf16>, tensor<2x2x2xbf16>) outs(%[[OUT]] : tensor<3x2xf32>)
// CHECK:       ^bb0(%[[A:.*]]: bf16, %[[B:.*]]: bf16, %[[C:.*]]: f32):
// CHECK-DAG:     %[[WIDE_A:.*]] = arith.extf %[[A]] : bf16 to f32
// CHECK-DAG:     %[[WIDE_B:.*]] = arith.extf %[[B]] : bf16 to f32
// CHECK:         %[[TERM:.*]] = arith.mulf %[[WIDE_A]], %[[WIDE_B]]
// CHECK:         arith.addf %[[C]], %[[TERM]]
func.func @product(%x: tensor<3x4xf32>, %y: tensor<3x2xf32>) -> tensor<3x2xf32> {
  %w = arith.constant dense<[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]]> : tensor<4x2xbf16>
  %0 = linalg.generic {indexing_maps = [#x, #w, #y], iterator_types = ["parallel", "parallel", "reduction"]}
      ins(%x, %w : tensor<3x4xf32>, tensor<4x2xbf16>) outs(%y : tensor<3x2xf32>) {
  ^bb0(%a: f32, %b: bf16, %c: f32):
    %wide = arith.extf %b : bf16 to f32
    %term = arith.mulf %a, %wide : f32
    %sum = arith.addf %c, %term : f32
    linalg.yield %sum : f32
  } -> tensor<3x2xf32>
  return %0 : tensor<3x2xf32>
}

// -----

// Not those of an odd number of rows.
// CHECK-LABEL: func.func @odd(
// CHECK-NOT:     arith.truncf
// CHECK:         return
func.func @odd(%x: tensor<3xf32>, %y: tensor<2xf32>) -> tensor<2xf32> {
  %w = arith.constant dense<[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]> : tensor<3x2xbf16>
  %0 = linalg.generic {indexing_maps = [affine_map<(n, k) -> (k)>, affine_map<(n, k) -> (k, n)>, affine_map<(n, k) -> (n)>],
                       iterator_types = ["parallel", "reduction"]}
      ins(%x, %w : tensor<3xf32>, tensor<3x2xbf16>) outs(%y : tensor<2xf32>) {
  ^bb0(%a: f32, %b: bf16, %c: f32):
    %wide = arith.extf %b : bf16 to f32
    %term = arith.mulf %a, %wide : f32
    %sum = arith.addf %c, %term : f32
    linalg.yield %sum : f32
  } -> tensor<2xf32>
  return %0 : tensor<2xf32>
}

// -----

// Nor of weights in another format.
// CHECK-LABEL: func.func @half(
// CHECK-NOT:     arith.truncf
// CHECK:         return
func.func @half(%x: tensor<4xf32>, %y: tensor<2xf32>) -> tensor<2xf32> {
  %w = arith.constant dense<[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]]> : tensor<4x2xf16>
  %0 = linalg.generic {indexing_maps = [affine_map<(n, k) -> (k)>, affine_map<(n, k) -> (k, n)>, affine_map<(n, k) -> (n)>],
                       iterator_types = ["parallel", "reduction"]}
      ins(%x, %w : tensor<4xf32>, tensor<4x2xf16>) outs(%y : tensor<2xf32>) {
  ^bb0(%a: f32, %b: f16, %c: f32):
    %wide = arith.extf %b : f16 to f32
    %term = arith.mulf %a, %wide : f32
    %sum = arith.addf %c, %term : f32
    linalg.yield %sum : f32
  } -> tensor<2xf32>
  return %0 : tensor<2xf32>
}

// -----

// Nor of a matrix that something else reads: it would be there twice.
// CHECK-LABEL: func.func @shared(
// CHECK-NOT:     arith.truncf
// CHECK:         return
func.func @shared(%x: tensor<4xf32>, %y: tensor<2xf32>) -> tensor<2xf32> {
  %w = arith.constant dense<[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]]> : tensor<4x2xbf16>
  "test.reads"(%w) : (tensor<4x2xbf16>) -> ()
  %0 = linalg.generic {indexing_maps = [affine_map<(n, k) -> (k)>, affine_map<(n, k) -> (k, n)>, affine_map<(n, k) -> (n)>],
                       iterator_types = ["parallel", "reduction"]}
      ins(%x, %w : tensor<4xf32>, tensor<4x2xbf16>) outs(%y : tensor<2xf32>) {
  ^bb0(%a: f32, %b: bf16, %c: f32):
    %wide = arith.extf %b : bf16 to f32
    %term = arith.mulf %a, %wide : f32
    %sum = arith.addf %c, %term : f32
    linalg.yield %sum : f32
  } -> tensor<2xf32>
  return %0 : tensor<2xf32>
}
