// RUN: rwkv-opt %s -rwkvc-batch-products -split-input-file | FileCheck %s
// RUN: rwkv-opt %s -rwkvc-batch-products=max-bytes=24 -split-input-file | FileCheck %s --check-prefix=SMALL

// Rows of [in, out] matrices are side by side. A function in which the products come in another order shares the
// joined matrix.
// CHECK-LABEL: func.func @columns(
// CHECK-SAME:    %[[X:[^:]*]]: tensor<1x2xf32>
// CHECK:       %[[W:.*]] = arith.constant dense<{{\[\[}}1.000000e+00, 2.000000e+00, 5.000000e+00], [3.000000e+00, 4.000000e+00, 6.000000e+00]]>
// CHECK:       %[[START:.*]] = linalg.fill {{.*}} -> tensor<1x3xf32>
// CHECK:       %[[P:.*]] = linalg.matmul ins(%[[X]], %[[W]] : tensor<1x2xf32>, tensor<2x3xf32>) outs(%[[START]]
// CHECK-DAG:   %[[A:.*]] = tensor.extract_slice %[[P]][0, 0] [1, 2] [1, 1]
// CHECK-DAG:   %[[B:.*]] = tensor.extract_slice %[[P]][0, 2] [1, 1] [1, 1]
// CHECK-NOT:   linalg.matmul
// CHECK:       return %[[A]], %[[B]]
// SMALL-LABEL: func.func @columns(
// SMALL:         linalg.matmul {{.*}} -> tensor<1x3xf32>
func.func @columns(%x: tensor<1x2xf32>) -> (tensor<1x2xf32>, tensor<1x1xf32>) {
  %zero = arith.constant 0.0 : f32
  %a = arith.constant dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>
  %b = arith.constant dense<[[5.0], [6.0]]> : tensor<2x1xf32>
  %e2 = tensor.empty() : tensor<1x2xf32>
  %e1 = tensor.empty() : tensor<1x1xf32>
  %f2 = linalg.fill ins(%zero : f32) outs(%e2 : tensor<1x2xf32>) -> tensor<1x2xf32>
  %f1 = linalg.fill ins(%zero : f32) outs(%e1 : tensor<1x1xf32>) -> tensor<1x1xf32>
  %0 = linalg.matmul ins(%x, %a : tensor<1x2xf32>, tensor<2x2xf32>) outs(%f2 : tensor<1x2xf32>) -> tensor<1x2xf32>
  %1 = linalg.matmul ins(%x, %b : tensor<1x2xf32>, tensor<2x1xf32>) outs(%f1 : tensor<1x1xf32>) -> tensor<1x1xf32>
  return %0, %1 : tensor<1x2xf32>, tensor<1x1xf32>
}

// CHECK-LABEL: func.func @other_order(
// CHECK:       %[[W:.*]] = arith.constant dense<{{\[\[}}1.000000e+00, 2.000000e+00, 5.000000e+00], [3.000000e+00, 4.000000e+00, 6.000000e+00]]>
// CHECK:       %[[P:.*]] = linalg.matmul {{.*}} -> tensor<4x3xf32>
// CHECK-DAG:   %[[A:.*]] = tensor.extract_slice %[[P]][0, 0] [4, 2] [1, 1]
// CHECK-DAG:   %[[B:.*]] = tensor.extract_slice %[[P]][0, 2] [4, 1] [1, 1]
// CHECK:       return %[[B]], %[[A]]
func.func @other_order(%x: tensor<4x2xf32>) -> (tensor<4x1xf32>, tensor<4x2xf32>) {
  %zero = arith.constant 0.0 : f32
  %a = arith.constant dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>
  %b = arith.constant dense<[[5.0], [6.0]]> : tensor<2x1xf32>
  %e2 = tensor.empty() : tensor<4x2xf32>
  %e1 = tensor.empty() : tensor<4x1xf32>
  %f2 = linalg.fill ins(%zero : f32) outs(%e2 : tensor<4x2xf32>) -> tensor<4x2xf32>
  %f1 = linalg.fill ins(%zero : f32) outs(%e1 : tensor<4x1xf32>) -> tensor<4x1xf32>
  %0 = linalg.matmul ins(%x, %b : tensor<4x2xf32>, tensor<2x1xf32>) outs(%f1 : tensor<4x1xf32>) -> tensor<4x1xf32>
  %1 = linalg.matmul ins(%x, %a : tensor<4x2xf32>, tensor<2x2xf32>) outs(%f2 : tensor<4x2xf32>) -> tensor<4x2xf32>
  return %0, %1 : tensor<4x1xf32>, tensor<4x2xf32>
}

// -----

#x = affine_map<(n, k) -> (k)>
#w = affine_map<(n, k) -> (n, k)>
#y = affine_map<(n, k) -> (n)>

// Matrices [out, in] of half precision follow one another; the body that widens them is the same for all. With room for
// 24 bytes only, they stay.
// CHECK-LABEL: func.func @rows(
// CHECK:       arith.constant dense<{{\[\[}}1.000000e+00, 2.000000e+00], [3.000000e+00, 4.000000e+00], [5.000000e+00, 6.000000e+00],
// CHECK:       linalg.generic {{.*}} outs(%{{.*}} : tensor<7xf32>)
// CHECK:         arith.extf
// CHECK-NOT:   linalg.generic
// SMALL-LABEL: func.func @rows(
// SMALL:         linalg.generic {{.*}} outs(%{{.*}} : tensor<2xf32>)
// SMALL:         linalg.generic {{.*}} outs(%{{.*}} : tensor<5xf32>)
func.func @rows(%x: tensor<2xf32>) -> (tensor<2xf32>, tensor<5xf32>) {
  %zero = arith.constant 0.0 : f32
  %a = arith.constant dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf16>
  %b = arith.constant dense<[[5.0, 6.0], [0.0, 1.0], [0.0, 2.0], [0.0, 3.0], [0.0, 4.0]]> : tensor<5x2xf16>
  %e2 = tensor.empty() : tensor<2xf32>
  %e1 = tensor.empty() : tensor<5xf32>
  %f2 = linalg.fill ins(%zero : f32) outs(%e2 : tensor<2xf32>) -> tensor<2xf32>
  %f1 = linalg.fill ins(%zero : f32) outs(%e1 : tensor<5xf32>) -> tensor<5xf32>
  %0 = linalg.generic {indexing_maps = [#w, #x, #y], iterator_types = ["parallel", "reduction"]}
      ins(%a, %x : tensor<2x2xf16>, tensor<2xf32>) outs(%f2 : tensor<2xf32>) {
  ^bb0(%p: f16, %q: f32, %s: f32):
    %wide = arith.extf %p : f16 to f32
    %m = arith.mulf %wide, %q : f32
    %r = arith.addf %m, %s : f32
    linalg.yield %r : f32
  } -> tensor<2xf32>
  %1 = linalg.generic {indexing_maps = [#w, #x, #y], iterator_types = ["parallel", "reduction"]}
      ins(%b, %x : tensor<5x2xf16>, tensor<2xf32>) outs(%f1 : tensor<5xf32>) {
  ^bb0(%p: f16, %q: f32, %s: f32):
    %wide = arith.extf %p : f16 to f32
    %m = arith.mulf %wide, %q : f32
    %r = arith.addf %m, %s : f32
    linalg.yield %r : f32
  } -> tensor<5xf32>
  return %0, %1 : tensor<2xf32>, tensor<5xf32>
}

// -----

// A matrix that is used elsewhere by itself would be kept twice.
// CHECK-LABEL: func.func @shared(
// CHECK-COUNT-2: linalg.matmul {{.*}} -> tensor<1x2xf32>
func.func @shared(%x: tensor<1x2xf32>) -> (tensor<1x2xf32>, tensor<1x2xf32>) {
  %zero = arith.constant 0.0 : f32
  %a = arith.constant dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>
  %b = arith.constant dense<[[5.0, 6.0], [7.0, 8.0]]> : tensor<2x2xf32>
  %e = tensor.empty() : tensor<1x2xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<1x2xf32>) -> tensor<1x2xf32>
  %0 = linalg.matmul ins(%x, %a : tensor<1x2xf32>, tensor<2x2xf32>) outs(%f : tensor<1x2xf32>) -> tensor<1x2xf32>
  %1 = linalg.matmul ins(%x, %b : tensor<1x2xf32>, tensor<2x2xf32>) outs(%f : tensor<1x2xf32>) -> tensor<1x2xf32>
  return %0, %1 : tensor<1x2xf32>, tensor<1x2xf32>
}

func.func @alone(%x: tensor<1x2xf32>) -> tensor<1x2xf32> {
  %zero = arith.constant 0.0 : f32
  %a = arith.constant dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>
  %e = tensor.empty() : tensor<1x2xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<1x2xf32>) -> tensor<1x2xf32>
  %0 = linalg.matmul ins(%x, %a : tensor<1x2xf32>, tensor<2x2xf32>) outs(%f : tensor<1x2xf32>) -> tensor<1x2xf32>
  return %0 : tensor<1x2xf32>
}

// -----

// Different inputs, different starts, and a matrix that is no constant.
// CHECK-LABEL: func.func @different(
// CHECK-COUNT-4: linalg.matmul {{.*}} -> tensor<1x2xf32>
func.func @different(%x: tensor<1x2xf32>, %y: tensor<1x2xf32>, %w: tensor<2x2xf32>)
    -> (tensor<1x2xf32>, tensor<1x2xf32>, tensor<1x2xf32>, tensor<1x2xf32>) {
  %zero = arith.constant 0.0 : f32
  %one = arith.constant 1.0 : f32
  %a = arith.constant dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>
  %b = arith.constant dense<[[5.0, 6.0], [7.0, 8.0]]> : tensor<2x2xf32>
  %c = arith.constant dense<[[9.0, 6.0], [7.0, 8.0]]> : tensor<2x2xf32>
  %e = tensor.empty() : tensor<1x2xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<1x2xf32>) -> tensor<1x2xf32>
  %g = linalg.fill ins(%one : f32) outs(%e : tensor<1x2xf32>) -> tensor<1x2xf32>
  %0 = linalg.matmul ins(%x, %a : tensor<1x2xf32>, tensor<2x2xf32>) outs(%f : tensor<1x2xf32>) -> tensor<1x2xf32>
  %1 = linalg.matmul ins(%y, %b : tensor<1x2xf32>, tensor<2x2xf32>) outs(%f : tensor<1x2xf32>) -> tensor<1x2xf32>
  %2 = linalg.matmul ins(%x, %c : tensor<1x2xf32>, tensor<2x2xf32>) outs(%g : tensor<1x2xf32>) -> tensor<1x2xf32>
  %3 = linalg.matmul ins(%x, %w : tensor<1x2xf32>, tensor<2x2xf32>) outs(%f : tensor<1x2xf32>) -> tensor<1x2xf32>
  return %0, %1, %2, %3 : tensor<1x2xf32>, tensor<1x2xf32>, tensor<1x2xf32>, tensor<1x2xf32>
}
