// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// RUN: rwkv-opt %s --convert-onnx-to-linalg | FileCheck %s

// One index is a slice, inside the data whatever the index is.
// CHECK-LABEL: func.func @token
// CHECK: arith.maxsi
// CHECK: arith.minsi
// CHECK: tensor.extract_slice %{{.*}}[%{{.*}}, 0] [1, 64] [1, 1]
func.func @token(%emb: tensor<256x64xf32>, %t: tensor<1x1xi32>) -> tensor<1x1x64xf32> {
  %0 = "onnx.Gather"(%emb, %t) : (tensor<256x64xf32>, tensor<1x1xi32>) -> tensor<1x1x64xf32>
  return %0 : tensor<1x1x64xf32>
}

// CHECK-LABEL: func.func @tokens
// CHECK: linalg.generic
// CHECK: arith.maxsi
// CHECK: arith.minsi
// CHECK: tensor.extract
func.func @tokens(%emb: tensor<256x64xf32>, %t: tensor<8xi64>) -> tensor<8x64xf32> {
  %0 = "onnx.Gather"(%emb, %t) : (tensor<256x64xf32>, tensor<8xi64>) -> tensor<8x64xf32>
  return %0 : tensor<8x64xf32>
}

// Constant indices that form a box are one slice.
// CHECK-LABEL: func.func @scatter_rows
// CHECK-NOT: scf.for
// CHECK: tensor.insert_slice %{{.*}} into %{{.*}}[0, 1, 0] [1, 2, 4] [1, 1, 1]
func.func @scatter_rows(%d: tensor<1x6x4xf32>, %u: tensor<2x4xf32>) -> tensor<1x6x4xf32> {
  %i = "onnx.Constant"() <{value = dense<[[0, 1], [0, 2]]> : tensor<2x2xi64>}> : () -> tensor<2x2xi64>
  %0 = "onnx.ScatterND"(%d, %i, %u) : (tensor<1x6x4xf32>, tensor<2x2xi64>, tensor<2x4xf32>) -> tensor<1x6x4xf32>
  return %0 : tensor<1x6x4xf32>
}

// CHECK-LABEL: func.func @scatter_column
// CHECK-NOT: scf.for
// CHECK: tensor.insert_slice %{{.*}} into %{{.*}}[0, 2] [3, 1] [1, 1]
func.func @scatter_column(%d: tensor<3x4xf32>, %u: tensor<3x1xf32>) -> tensor<3x4xf32> {
  %i = "onnx.Constant"() <{value = dense<2> : tensor<3x1xi64>}> : () -> tensor<3x1xi64>
  %0 = "onnx.ScatterElements"(%d, %i, %u) <{axis = 1 : i64}> : (tensor<3x4xf32>, tensor<3x1xi64>, tensor<3x1xf32>) -> tensor<3x4xf32>
  return %0 : tensor<3x4xf32>
}

// CHECK-LABEL: func.func @scatter_add
// CHECK: scf.for
// CHECK: arith.addf
// CHECK: tensor.insert_slice
func.func @scatter_add(%d: tensor<6x4xf32>, %i: tensor<2x1xi64>, %u: tensor<2x4xf32>) -> tensor<6x4xf32> {
  %0 = "onnx.ScatterND"(%d, %i, %u) <{reduction = "add"}> : (tensor<6x4xf32>, tensor<2x1xi64>, tensor<2x4xf32>) -> tensor<6x4xf32>
  return %0 : tensor<6x4xf32>
}
