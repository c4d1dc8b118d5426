// RUN: rwkv-opt %s -rwkvc-unshare-destinations | FileCheck %s

// A filled tensor with two users: the second gets a fill of its own, over a tensor of its own.
// CHECK-LABEL: func.func @fills
// CHECK:       %[[E0:.*]] = tensor.empty
// CHECK:       %[[F0:.*]] = linalg.fill {{.*}} outs(%[[E0]]
// CHECK:       linalg.matmul {{.*}} outs(%[[F0]]
// CHECK:       %[[E1:.*]] = tensor.empty
// CHECK:       %[[F1:.*]] = linalg.fill {{.*}} outs(%[[E1]]
// CHECK:       linalg.matmul {{.*}} outs(%[[F1]]
func.func @fills(%a: tensor<4x4xf32>, %b: tensor<4x4xf32>) -> (tensor<4x4xf32>, tensor<4x4xf32>) {
  %z = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<4x4xf32>
  %f = linalg.fill ins(%z : f32) outs(%e : tensor<4x4xf32>) -> tensor<4x4xf32>
  %0 = linalg.matmul ins(%a, %b : tensor<4x4xf32>, tensor<4x4xf32>) outs(%f : tensor<4x4xf32>) -> tensor<4x4xf32>
  %1 = linalg.matmul ins(%b, %a : tensor<4x4xf32>, tensor<4x4xf32>) outs(%f : tensor<4x4xf32>) -> tensor<4x4xf32>
  return %0, %1 : tensor<4x4xf32>, tensor<4x4xf32>
}

// The same behind reshapes.
// CHECK-LABEL: func.func @reshapes
// CHECK:       %[[E0:.*]] = tensor.empty
// CHECK:       %[[R0:.*]] = tensor.expand_shape %[[E0]]
// CHECK:       %[[F0:.*]] = linalg.fill {{.*}} outs(%[[R0]]
// CHECK:       linalg.exp {{.*}} outs(%[[F0]]
// CHECK:       %[[E1:.*]] = tensor.empty
// CHECK:       %[[R1:.*]] = tensor.expand_shape %[[E1]]
// CHECK:       %[[F1:.*]] = linalg.fill {{.*}} outs(%[[R1]]
// CHECK:       linalg.abs {{.*}} outs(%[[F1]]
func.func @reshapes(%a: tensor<2x4xf32>) -> (tensor<2x4xf32>, tensor<2x4xf32>) {
  %z = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<8xf32>
  %r = tensor.expand_shape %e [[0, 1]] output_shape [2, 4] : tensor<8xf32> into tensor<2x4xf32>
  %f = linalg.fill ins(%z : f32) outs(%r : tensor<2x4xf32>) -> tensor<2x4xf32>
  %0 = linalg.exp ins(%a : tensor<2x4xf32>) outs(%f : tensor<2x4xf32>) -> tensor<2x4xf32>
  %1 = linalg.abs ins(%a : tensor<2x4xf32>) outs(%f : tensor<2x4xf32>) -> tensor<2x4xf32>
  return %0, %1 : tensor<2x4xf32>, tensor<2x4xf32>
}

// Two destinations of one op are two tensors.
// CHECK-LABEL: func.func @outputs
// CHECK:       %[[E0:.*]] = tensor.empty
// CHECK:       %[[E1:.*]] = tensor.empty
// CHECK:       linalg.generic {{.*}} outs(%[[E0]], %[[E1]] :
#id = affine_map<(d0) -> (d0)>
func.func @outputs(%a: tensor<8xf32>) -> (tensor<8xf32>, tensor<8xf32>) {
  %e = tensor.empty() : tensor<8xf32>
  %0:2 = linalg.generic {indexing_maps = [#id, #id, #id], iterator_types = ["parallel"]}
      ins(%a : tensor<8xf32>) outs(%e, %e : tensor<8xf32>, tensor<8xf32>) {
  ^bb0(%x: f32, %o0: f32, %o1: f32):
    %n = arith.negf %x : f32
    linalg.yield %x, %n : f32, f32
  } -> (tensor<8xf32>, tensor<8xf32>)
  return %0#0, %0#1 : tensor<8xf32>, tensor<8xf32>
}

// What holds a value that somebody computed is not cloned, and a single use keeps its tensor.
// CHECK-LABEL: func.func @kept
// CHECK-SAME:    %[[X:[^:]*]]: tensor<4xf32>
// CHECK-COUNT-1: tensor.empty
// CHECK-NOT:     tensor.empty
// CHECK:         linalg.exp {{.*}} outs(%[[X]]
// CHECK:         linalg.negf {{.*}} outs(%[[X]]
func.func @kept(%x: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>) {
  %e = tensor.empty() : tensor<4xf32>
  %0 = linalg.abs ins(%x : tensor<4xf32>) outs(%e : tensor<4xf32>) -> tensor<4xf32>
  %1 = linalg.exp ins(%0 : tensor<4xf32>) outs(%x : tensor<4xf32>) -> tensor<4xf32>
  %2 = linalg.negf ins(%0 : tensor<4xf32>) outs(%x : tensor<4xf32>) -> tensor<4xf32>
  return %0, %1, %2 : tensor<4xf32>, tensor<4xf32>, tensor<4xf32>
}
