// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// RUN: rwkv-opt %s --convert-onnx-to-linalg | FileCheck %s

// CHECK-LABEL: func.func @reshape
// CHECK-NEXT: tensor.collapse_shape
// CHECK-NEXT: return
func.func @reshape(%a: tensor<1x4x8xf32>) -> tensor<32xf32> {
  %s = "onnx.Constant"() <{value = dense<-1> : tensor<1xi64>}> : () -> tensor<1xi64>
  %0 = "onnx.Reshape"(%a, %s) : (tensor<1x4x8xf32>, tensor<1xi64>) -> tensor<32xf32>
  return %0 : tensor<32xf32>
}

// CHECK-LABEL: func.func @concat
// CHECK: tensor.insert_slice %{{.*}} into %{{.*}}[0] [3] [1]
// CHECK: tensor.insert_slice %{{.*}} into %{{.*}}[3] [5] [1]
func.func @concat(%a: tensor<3xf32>, %b: tensor<5xf32>) -> tensor<8xf32> {
  %0 = "onnx.Concat"(%a, %b) <{axis = 0 : i64}> : (tensor<3xf32>, tensor<5xf32>) -> tensor<8xf32>
  return %0 : tensor<8xf32>
}

// CHECK-LABEL: func.func @slice
// CHECK: tensor.extract_slice %{{.*}}[1, 2] [2, 3] [1, 2]
func.func @slice(%a: tensor<4x8xf32>) -> tensor<2x3xf32> {
  %s = "onnx.Constant"() <{value = dense<[1, 2]> : tensor<2xi64>}> : () -> tensor<2xi64>
  %e = "onnx.Constant"() <{value = dense<[-1, 8]> : tensor<2xi64>}> : () -> tensor<2xi64>
  %x = "onnx.Constant"() <{value = dense<[0, 1]> : tensor<2xi64>}> : () -> tensor<2xi64>
  %t = "onnx.Constant"() <{value = dense<[1, 2]> : tensor<2xi64>}> : () -> tensor<2xi64>
  %0 = "onnx.Slice"(%a, %s, %e, %x, %t) : (tensor<4x8xf32>, tensor<2xi64>, tensor<2xi64>, tensor<2xi64>, tensor<2xi64>) -> tensor<2x3xf32>
  return %0 : tensor<2x3xf32>
}

// A negative pad cuts: the token shift of some exporters.
// CHECK-LABEL: func.func @pad_shift
// CHECK: tensor.extract_slice %{{.*}}[0, 0] [3, 8] [1, 1]
// CHECK: tensor.insert_slice %{{.*}} into %{{.*}}[1, 0] [3, 8] [1, 1]
func.func @pad_shift(%a: tensor<4x8xf32>) -> tensor<4x8xf32> {
  %none = "onnx.NoValue"() : () -> none
  %p = "onnx.Constant"() <{value = dense<[1, 0, -1, 0]> : tensor<4xi64>}> : () -> tensor<4xi64>
  %0 = "onnx.Pad"(%a, %p, %none, %none) : (tensor<4x8xf32>, tensor<4xi64>, none, none) -> tensor<4x8xf32>
  return %0 : tensor<4x8xf32>
}

// Bytes of large constants are not copied.
// CHECK-LABEL: func.func @resource
// CHECK: arith.constant dense_resource<weights> : tensor<4xi8>
func.func @resource() -> tensor<4xui8> {
  %0 = "onnx.Constant"() <{value = dense_resource<weights> : tensor<4xui8>}> : () -> tensor<4xui8>
  return %0 : tensor<4xui8>
}

{-#
  dialect_resources: {
    builtin: {
      weights: "0x0100000001020304"
    }
  }
#-}
