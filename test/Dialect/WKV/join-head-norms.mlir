// RUN: rwkv-opt %s --split-input-file --wkv-join-head-norms --canonicalize | FileCheck %s

// CHECK-LABEL: @heads
// CHECK-SAME: %[[X:[a-z0-9]+]]: tensor<1x4xf32>
// CHECK-DAG: %[[S:.*]] = "onnx.Constant"() <{value = dense<{{\[\[}}1.000000e+00, 2.000000e+00], [1.000000e+00, 1.000000e+00]]> : tensor<2x2xf32>}>
// CHECK: %[[R:.*]] = "onnx.Reshape"(%[[X]],
// CHECK: %[[N:.*]] = wkv.layer_norm %[[R]] scale(%[[S]] : tensor<2x2xf32>) {epsilon = 1.000000e-05 : f64} : tensor<1x1x2x2xf32>
// CHECK: %[[Y:.*]] = "onnx.Reshape"(%[[N]],
// CHECK: return %[[Y]]
func.func @heads(%x: tensor<1x4xf32>) -> tensor<1x4xf32> {
  %sizes = "onnx.Constant"() <{value = dense<2> : tensor<2xi64>}> : () -> tensor<2xi64>
  %w = "onnx.Constant"() <{value = dense<[1.0, 2.0]> : tensor<2xf32>}> : () -> tensor<2xf32>
  %h:2 = "onnx.Split"(%x, %sizes) <{axis = 1 : i64}> : (tensor<1x4xf32>, tensor<2xi64>) -> (tensor<1x2xf32>, tensor<1x2xf32>)
  %0 = wkv.layer_norm %h#0 scale(%w : tensor<2xf32>) {epsilon = 1.0e-5 : f64} : tensor<1x2xf32>
  %1 = wkv.layer_norm %h#1 {epsilon = 1.0e-5 : f64} : tensor<1x2xf32>
  %y = "onnx.Concat"(%0, %1) <{axis = 1 : i64}> : (tensor<1x2xf32>, tensor<1x2xf32>) -> tensor<1x4xf32>
  return %y : tensor<1x4xf32>
}

// -----

// In another order than the heads have, and with another epsilon.
// CHECK-LABEL: @refused
// CHECK-COUNT-2: onnx.Concat
func.func @refused(%x: tensor<1x4xf32>) -> (tensor<1x4xf32>, tensor<1x4xf32>) {
  %sizes = "onnx.Constant"() <{value = dense<2> : tensor<2xi64>}> : () -> tensor<2xi64>
  %h:2 = "onnx.Split"(%x, %sizes) <{axis = 1 : i64}> : (tensor<1x4xf32>, tensor<2xi64>) -> (tensor<1x2xf32>, tensor<1x2xf32>)
  %0 = wkv.layer_norm %h#0 {epsilon = 1.0e-5 : f64} : tensor<1x2xf32>
  %1 = wkv.layer_norm %h#1 {epsilon = 1.0e-5 : f64} : tensor<1x2xf32>
  %2 = wkv.layer_norm %h#1 {epsilon = 1.0e-4 : f64} : tensor<1x2xf32>
  %y = "onnx.Concat"(%1, %0) <{axis = 1 : i64}> : (tensor<1x2xf32>, tensor<1x2xf32>) -> tensor<1x4xf32>
  %z = "onnx.Concat"(%0, %2) <{axis = 1 : i64}> : (tensor<1x2xf32>, tensor<1x2xf32>) -> tensor<1x4xf32>
  return %y, %z : tensor<1x4xf32>, tensor<1x4xf32>
}
