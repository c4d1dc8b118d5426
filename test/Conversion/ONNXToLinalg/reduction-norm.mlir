// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// RUN: rwkv-opt %s --convert-onnx-to-linalg | FileCheck %s

// CHECK-LABEL: func.func @reduce_mean_half
// CHECK: linalg.generic {{.*}} iterator_types = ["parallel", "reduction"]
// CHECK: arith.extf {{.*}} : f16 to f32
// CHECK: arith.addf {{.*}} : f32
// CHECK: arith.divf {{.*}} : f32
// CHECK: arith.truncf {{.*}} : f32 to f16
func.func @reduce_mean_half(%a: tensor<4x8xf16>) -> tensor<4x1xf16> {
  %x = "onnx.Constant"() <{value = dense<-1> : tensor<1xi64>}> : () -> tensor<1xi64>
  %0 = "onnx.ReduceMean"(%a, %x) : (tensor<4x8xf16>, tensor<1xi64>) -> tensor<4x1xf16>
  return %0 : tensor<4x1xf16>
}

// CHECK-LABEL: func.func @layer_norm
// CHECK-SAME: %[[X:[a-z0-9]*]]: tensor<1x8xf32>
// CHECK: %[[EPS:.*]] = arith.constant 9.99999974E-6 : f32
// CHECK: arith.addf %{{.*}}, %[[EPS]]
// CHECK: math.sqrt
func.func @layer_norm(%x: tensor<1x8xf32>, %s: tensor<8xf32>, %b: tensor<8xf32>) -> tensor<1x8xf32> {
  %0:3 = "onnx.LayerNormalization"(%x, %s, %b) : (tensor<1x8xf32>, tensor<8xf32>, tensor<8xf32>) -> (tensor<1x8xf32>, none, none)
  return %0#0 : tensor<1x8xf32>
}

// CHECK-LABEL: func.func @skip_layer_norm
// CHECK: arith.addf
// CHECK: math.sqrt
func.func @skip_layer_norm(%x: tensor<1x8xf32>, %k: tensor<1x8xf32>, %s: tensor<8xf32>, %b: tensor<8xf32>) -> tensor<1x8xf32> {
  %0 = "onnx.Custom"(%x, %k, %s, %b) <{domain = "com.microsoft", op_type = "SkipLayerNormalization", attrs = {epsilon = 1.000000e-05 : f32}}> : (tensor<1x8xf32>, tensor<1x8xf32>, tensor<8xf32>, tensor<8xf32>) -> tensor<1x8xf32>
  return %0 : tensor<1x8xf32>
}

// CHECK-LABEL: func.func @dynamic_quantize
// CHECK-SAME: -> (tensor<4xi8>, tensor<f32>, tensor<i8>)
// CHECK: arith.minimumf
// CHECK: arith.maximumf
// CHECK: math.roundeven
// CHECK: arith.fptoui
func.func @dynamic_quantize(%x: tensor<4xf32>) -> (tensor<4xui8>, tensor<f32>, tensor<ui8>) {
  %0:3 = "onnx.DynamicQuantizeLinear"(%x) : (tensor<4xf32>) -> (tensor<4xui8>, tensor<f32>, tensor<ui8>)
  return %0#0, %0#1, %0#2 : tensor<4xui8>, tensor<f32>, tensor<ui8>
}
