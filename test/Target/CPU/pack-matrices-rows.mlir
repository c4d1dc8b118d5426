// RUN: rwkv-opt %s -cpu-pack-matrices="columns=2 rows=4 min-iterations=1" -split-input-file | FileCheck %s
// RUN: rwkv-opt %s -cpu-pack-matrices="columns=2 rows=4 min-iterations=100" -split-input-file | FileCheck %s --check-prefixes=CHECK,HALF
// RUN: rwkv-opt %s -cpu-pack-matrices="columns=2" -split-input-file | FileCheck %s --check-prefix=ALL

// An iteration has a part of the matrix and four of the rows, or two where that
// makes few iterations.
// CHECK-LABEL: func.func @divided(
// CHECK:         scf.forall (%[[P:.*]], %[[R:.*]]) = (0, 0) to (3, 8) step (1, {{[24]}}) shared_outs(%[[OUT:.*]] = %
// HALF:          tensor<2x2xf32>
// CHECK:         linalg.generic
// CHECK:         tensor.parallel_insert_slice %{{.*}} into %[[OUT]][%[[R]], %[[P]], 0]
// ALL-LABEL:   func.func @divided(
// ALL:           scf.forall (%{{.*}}) in (3)
func.func @divided(%x: tensor<8x2xf32>, %y: tensor<8x6xf32>) -> tensor<8x6xf32> {
  %w = arith.constant dense<[[0.0, 1.0, 2.0, 3.0, 4.0, 5.0], [10.0, 11.0, 12.0, 13.0, 14.0, 15.0]]> : tensor<2x6xf32>
  %0 = linalg.matmul ins(%x, %w : tensor<8x2xf32>, tensor<2x6xf32>) outs(%y : tensor<8x6xf32>) -> tensor<8x6xf32>
  return %0 : tensor<8x6xf32>
}

// -----

// Rows that nothing divides stay together.
// CHECK-LABEL: func.func @prime(
// CHECK:         scf.forall (%{{.*}}) in (3)
func.func @prime(%x: tensor<7x2xf32>, %y: tensor<7x6xf32>) -> tensor<7x6xf32> {
  %w = arith.constant dense<[[0.0, 1.0, 2.0, 3.0, 4.0, 5.0], [10.0, 11.0, 12.0, 13.0, 14.0, 15.0]]> : tensor<2x6xf32>
  %0 = linalg.matmul ins(%x, %w : tensor<7x2xf32>, tensor<2x6xf32>) outs(%y : tensor<7x6xf32>) -> tensor<7x6xf32>
  return %0 : tensor<7x6xf32>
}
