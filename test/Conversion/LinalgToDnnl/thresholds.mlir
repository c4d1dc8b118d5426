// RUN: rwkv-opt %s --pass-pipeline='builtin.module(func.func(convert-linalg-to-dnnl))' | FileCheck %s --check-prefixes=CHECK,DEFAULT
// RUN: rwkv-opt %s --pass-pipeline='builtin.module(func.func(convert-linalg-to-dnnl{min-rows=33}))' | FileCheck %s --check-prefixes=CHECK,ROWS
// RUN: rwkv-opt %s --pass-pipeline='builtin.module(func.func(convert-linalg-to-dnnl{min-flops=1048577}))' | FileCheck %s --check-prefixes=CHECK,FLOPS

// 2 * 32 * 128 * 128 = 1048576 operations.
// CHECK-LABEL: func @at_the_default
// DEFAULT: dnnl.matmul
// ROWS: linalg.matmul
// FLOPS: linalg.matmul
func.func @at_the_default(%a: tensor<32x128xf32>, %b: tensor<128x128xf32>, %c: tensor<32x128xf32>) -> tensor<32x128xf32> {
  %r = linalg.matmul ins(%a, %b : tensor<32x128xf32>, tensor<128x128xf32>) outs(%c : tensor<32x128xf32>) -> tensor<32x128xf32>
  return %r : tensor<32x128xf32>
}

// CHECK-LABEL: func @below
// CHECK: linalg.matmul
func.func @below(%a: tensor<31x128xf32>, %b: tensor<128x128xf32>, %c: tensor<31x128xf32>) -> tensor<31x128xf32> {
  %r = linalg.matmul ins(%a, %b : tensor<31x128xf32>, tensor<128x128xf32>) outs(%c : tensor<31x128xf32>) -> tensor<31x128xf32>
  return %r : tensor<31x128xf32>
}

// CHECK-LABEL: func @few_rows
// CHECK: linalg.matmul
func.func @few_rows(%a: tensor<3x2048xf32>, %b: tensor<2048x2048xf32>, %c: tensor<3x2048xf32>) -> tensor<3x2048xf32> {
  %r = linalg.matmul ins(%a, %b : tensor<3x2048xf32>, tensor<2048x2048xf32>) outs(%c : tensor<3x2048xf32>) -> tensor<3x2048xf32>
  return %r : tensor<3x2048xf32>
}
