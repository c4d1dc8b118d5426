// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// RUN: rwkv-opt %s --convert-onnx-to-linalg | FileCheck %s

// CHECK-LABEL: func.func @vector_matrix
// CHECK-SAME: (%[[X:.*]]: tensor<4xf32>, %[[W:.*]]: tensor<4x8xf32>)
// CHECK: %[[ROW:.*]] = tensor.expand_shape %[[X]]
// CHECK: linalg.matmul ins(%[[ROW]], %[[W]] : tensor<1x4xf32>, tensor<4x8xf32>)
// CHECK: tensor.collapse_shape
func.func @vector_matrix(%x: tensor<4xf32>, %w: tensor<4x8xf32>) -> tensor<8xf32> {
  %0 = "onnx.MatMul"(%x, %w) : (tensor<4xf32>, tensor<4x8xf32>) -> tensor<8xf32>
  return %0 : tensor<8xf32>
}

// Rows of all batches are rows of one matrix.
// CHECK-LABEL: func.func @shared_weights
// CHECK: linalg.matmul ins({{.*}} : tensor<6x4xf32>, tensor<4x8xf32>)
func.func @shared_weights(%x: tensor<2x3x4xf32>, %w: tensor<4x8xf32>) -> tensor<2x3x8xf32> {
  %0 = "onnx.MatMul"(%x, %w) : (tensor<2x3x4xf32>, tensor<4x8xf32>) -> tensor<2x3x8xf32>
  return %0 : tensor<2x3x8xf32>
}

// CHECK-LABEL: func.func @batched
// CHECK: linalg.batch_matmul ins({{.*}} : tensor<6x4x5xf32>, tensor<6x5x7xf32>)
func.func @batched(%a: tensor<2x3x4x5xf32>, %b: tensor<2x3x5x7xf32>) -> tensor<2x3x4x7xf32> {
  %0 = "onnx.MatMul"(%a, %b) : (tensor<2x3x4x5xf32>, tensor<2x3x5x7xf32>) -> tensor<2x3x4x7xf32>
  return %0 : tensor<2x3x4x7xf32>
}

// A transposed weight is read where it is.
// CHECK-LABEL: func.func @transposed_weights
// CHECK-SAME: %[[W:[a-z0-9]+]]: tensor<8x4xf32>
// CHECK: linalg.matmul indexing_maps
// CHECK-SAME: ins(%{{.*}}, %[[W]] : tensor<1x4xf32>, tensor<8x4xf32>)
func.func @transposed_weights(%x: tensor<1x4xf32>, %w: tensor<8x4xf32>) -> tensor<1x8xf32> {
  %t = "onnx.Transpose"(%w) <{perm = array<i64: 1, 0>}> : (tensor<8x4xf32>) -> tensor<4x8xf32>
  %0 = "onnx.MatMul"(%x, %t) : (tensor<1x4xf32>, tensor<4x8xf32>) -> tensor<1x8xf32>
  return %0 : tensor<1x8xf32>
}

// 16-bit products are summed in f32.
// CHECK-LABEL: func.func @half
// CHECK: linalg.matmul {{.*}} outs(%{{.*}} : tensor<1x8xf32>)
// CHECK: arith.truncf {{.*}} : f32 to f16
func.func @half(%x: tensor<1x4xf16>, %w: tensor<4x8xf16>) -> tensor<1x8xf16> {
  %0 = "onnx.MatMul"(%x, %w) : (tensor<1x4xf16>, tensor<4x8xf16>) -> tensor<1x8xf16>
  return %0 : tensor<1x8xf16>
}

// CHECK-LABEL: func.func @integer
// CHECK: linalg.generic
// CHECK: arith.extui {{.*}} : i8 to i32
// CHECK: arith.extsi {{.*}} : i8 to i32
// CHECK: arith.muli
func.func @integer(%x: tensor<1x4xui8>, %w: tensor<4x8xi8>, %z: tensor<ui8>) -> tensor<1x8xi32> {
  %none = "onnx.NoValue"() : () -> none
  %0 = "onnx.MatMulInteger"(%x, %w, %z, %none) : (tensor<1x4xui8>, tensor<4x8xi8>, tensor<ui8>, none) -> tensor<1x8xi32>
  return %0 : tensor<1x8xi32>
}

// CHECK-LABEL: func.func @einsum
// CHECK: linalg.generic
// CHECK-SAME: iterator_types = ["parallel", "parallel", "reduction"]
func.func @einsum(%a: tensor<2x3xf32>, %b: tensor<2x3x4xf32>) -> tensor<2x4xf32> {
  %0 = "onnx.Einsum"(%a, %b) <{equation = "hn,hnm->hm"}> : (tensor<2x3xf32>, tensor<2x3x4xf32>) -> tensor<2x4xf32>
  return %0 : tensor<2x4xf32>
}
