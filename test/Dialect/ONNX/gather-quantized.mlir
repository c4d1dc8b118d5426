// RUN: rwkv-opt %s -onnx-gather-quantized | FileCheck %s

// One scale for all.
// CHECK-LABEL: func.func @one(
// CHECK-SAME:    %[[I:.*]]: tensor<2xi64>
// CHECK:       %[[Q:.*]] = "onnx.Gather"(%{{.*}}, %[[I]]) <{axis = 0 : i64}> : (tensor<3x4xui8>, tensor<2xi64>) -> tensor<2x4xui8>
// CHECK:       "onnx.DequantizeLinear"(%[[Q]], %{{.*}}, %{{.*}}) <{axis = 1 : i64, block_size = 0 : i64
func.func @one(%i: tensor<2xi64>) -> tensor<2x4xf32> {
  %q = "onnx.Constant"() <{value = dense<7> : tensor<3x4xui8>}> : () -> tensor<3x4xui8>
  %s = "onnx.Constant"() <{value = dense<0.5> : tensor<f32>}> : () -> tensor<f32>
  %z = "onnx.Constant"() <{value = dense<3> : tensor<ui8>}> : () -> tensor<ui8>
  %w = "onnx.DequantizeLinear"(%q, %s, %z) : (tensor<3x4xui8>, tensor<f32>, tensor<ui8>) -> tensor<3x4xf32>
  %0 = "onnx.Gather"(%w, %i) <{axis = 0 : i64}> : (tensor<3x4xf32>, tensor<2xi64>) -> tensor<2x4xf32>
  return %0 : tensor<2x4xf32>
}

// A scale for each row: gathered too. And for each column, which all rows share.
// CHECK-LABEL: func.func @rows(
// CHECK-SAME:    %[[I:.*]]: tensor<i64>
// CHECK:       %[[COLUMN:.*]] = "onnx.Reshape"(%{{.*}}, %{{.*}}) {{.*}} -> tensor<3x1xf32>
// CHECK:       %[[S:.*]] = "onnx.Gather"(%[[COLUMN]], %[[I]])
// CHECK:       %[[Q:.*]] = "onnx.Gather"(%{{.*}}, %[[I]]) {{.*}} -> tensor<4xi8>
// CHECK:       "onnx.DequantizeLinear"(%[[Q]], %[[S]], %{{.*}}) <{axis = 0 : i64, block_size = 4 : i64
// CHECK:       "onnx.DequantizeLinear"(%{{.*}}, %{{.*}}, %{{.*}}) <{axis = 0 : i64, block_size = 0 : i64
func.func @rows(%i: tensor<i64>) -> (tensor<4xf32>, tensor<4xf32>) {
  %none = "onnx.NoValue"() : () -> none
  %q = "onnx.Constant"() <{value = dense<7> : tensor<3x4xi8>}> : () -> tensor<3x4xi8>
  %s = "onnx.Constant"() <{value = dense<[0.5, 0.25, 1.0]> : tensor<3xf32>}> : () -> tensor<3xf32>
  %w = "onnx.DequantizeLinear"(%q, %s, %none) <{axis = 0 : i64}> : (tensor<3x4xi8>, tensor<3xf32>, none) -> tensor<3x4xf32>
  %0 = "onnx.Gather"(%w, %i) <{axis = 0 : i64}> : (tensor<3x4xf32>, tensor<i64>) -> tensor<4xf32>
  %t = "onnx.Constant"() <{value = dense<[0.5, 0.25, 1.0, 2.0]> : tensor<4xf32>}> : () -> tensor<4xf32>
  %v = "onnx.DequantizeLinear"(%q, %t, %none) <{axis = -1 : i64}> : (tensor<3x4xi8>, tensor<4xf32>, none) -> tensor<3x4xf32>
  %1 = "onnx.Gather"(%v, %i) <{axis = 0 : i64}> : (tensor<3x4xf32>, tensor<i64>) -> tensor<4xf32>
  return %0, %1 : tensor<4xf32>, tensor<4xf32>
}

// Of columns, and of what is no constant: as they are.
// CHECK-LABEL: func.func @stay(
// CHECK:       "onnx.DequantizeLinear"
// CHECK-NEXT:  "onnx.Gather"
// CHECK:       "onnx.DequantizeLinear"
// CHECK-NEXT:  "onnx.Gather"
func.func @stay(%x: tensor<3x4xi8>, %i: tensor<i64>) -> (tensor<3xf32>, tensor<4xf32>) {
  %none = "onnx.NoValue"() : () -> none
  %q = "onnx.Constant"() <{value = dense<7> : tensor<3x4xi8>}> : () -> tensor<3x4xi8>
  %s = "onnx.Constant"() <{value = dense<0.5> : tensor<f32>}> : () -> tensor<f32>
  %w = "onnx.DequantizeLinear"(%q, %s, %none) : (tensor<3x4xi8>, tensor<f32>, none) -> tensor<3x4xf32>
  %0 = "onnx.Gather"(%w, %i) <{axis = 1 : i64}> : (tensor<3x4xf32>, tensor<i64>) -> tensor<3xf32>
  %v = "onnx.DequantizeLinear"(%x, %s, %none) : (tensor<3x4xi8>, tensor<f32>, none) -> tensor<3x4xf32>
  %1 = "onnx.Gather"(%v, %i) <{axis = 0 : i64}> : (tensor<3x4xf32>, tensor<i64>) -> tensor<4xf32>
  return %0, %1 : tensor<3xf32>, tensor<4xf32>
}
