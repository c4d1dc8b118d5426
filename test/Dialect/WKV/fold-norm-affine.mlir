// RUN: rwkv-opt %s --split-input-file --wkv-fold-norm-affine --canonicalize | FileCheck %s

// Through a reshape, with what the norm has already: ((2 n + 1) w) + b.
// CHECK-LABEL: @heads
// CHECK-DAG: %[[S:.*]] = "onnx.Constant"() <{value = dense<{{\[\[}}2.000000e+00, 4.000000e+00], [6.000000e+00, 8.000000e+00]]> : tensor<2x2xf32>}>
// CHECK-DAG: %[[B:.*]] = "onnx.Constant"() <{value = dense<{{\[\[}}2.000000e+00, 3.000000e+00], [4.000000e+00, 5.000000e+00]]> : tensor<2x2xf32>}>
// CHECK: wkv.layer_norm %{{.*}} scale(%[[S]] : tensor<2x2xf32>) bias(%[[B]] : tensor<2x2xf32>) {epsilon = 1.000000e-05 : f64} : tensor<1x1x2x2xf32>
// CHECK-NOT: onnx.Mul
func.func @heads(%x: tensor<1x2x1x2xf32>) -> tensor<1x4xf32> {
  %two = "onnx.Constant"() <{value = dense<2.0> : tensor<2xf32>}> : () -> tensor<2xf32>
  %one = "onnx.Constant"() <{value = dense<1.0> : tensor<2xf32>}> : () -> tensor<2xf32>
  %shape = "onnx.Constant"() <{value = dense<[1, 4]> : tensor<2xi64>}> : () -> tensor<2xi64>
  %w = "onnx.Constant"() <{value = dense<[1.0, 2.0, 3.0, 4.0]> : tensor<4xf32>}> : () -> tensor<4xf32>
  %b = "onnx.Constant"() <{value = dense<[1.0, 1.0, 1.0, 1.0]> : tensor<4xf32>}> : () -> tensor<4xf32>
  %n = wkv.layer_norm %x scale(%two : tensor<2xf32>) bias(%one : tensor<2xf32>) {epsilon = 1.0e-5 : f64} : tensor<1x2x1x2xf32>
  %r = "onnx.Reshape"(%n, %shape) : (tensor<1x2x1x2xf32>, tensor<2xi64>) -> tensor<1x4xf32>
  %m = "onnx.Mul"(%r, %w) : (tensor<1x4xf32>, tensor<4xf32>) -> tensor<1x4xf32>
  %y = "onnx.Add"(%b, %m) : (tensor<4xf32>, tensor<1x4xf32>) -> tensor<1x4xf32>
  return %y : tensor<1x4xf32>
}

// -----

// A parameter of the channels is as small for many tokens.
// CHECK-LABEL: @tokens
// CHECK: wkv.layer_norm %{{.*}} scale(%{{.*}} : tensor<4xf32>) {epsilon = 1.000000e-05 : f64} : tensor<1x3x4xf32>
func.func @tokens(%x: tensor<1x3x4xf32>) -> tensor<1x3x4xf32> {
  %w = "onnx.Constant"() <{value = dense<[1.0, 2.0, 3.0, 4.0]> : tensor<4xf32>}> : () -> tensor<4xf32>
  %n = wkv.layer_norm %x {epsilon = 1.0e-5 : f64} : tensor<1x3x4xf32>
  %y = "onnx.Mul"(%n, %w) : (tensor<1x3x4xf32>, tensor<4xf32>) -> tensor<1x3x4xf32>
  return %y : tensor<1x3x4xf32>
}

// -----

// The bare norm is used, or the factor is no constant.
// CHECK-LABEL: @refused
// CHECK-NOT: scale(
// CHECK: return
func.func @refused(%x: tensor<1x4xf32>, %g: tensor<1x4xf32>) -> (tensor<1x4xf32>, tensor<1x4xf32>, tensor<1x4xf32>) {
  %w = "onnx.Constant"() <{value = dense<[1.0, 2.0, 3.0, 4.0]> : tensor<4xf32>}> : () -> tensor<4xf32>
  %n = wkv.layer_norm %x {epsilon = 1.0e-5 : f64} : tensor<1x4xf32>
  %y = "onnx.Mul"(%n, %w) : (tensor<1x4xf32>, tensor<4xf32>) -> tensor<1x4xf32>
  %m = wkv.layer_norm %g {epsilon = 1.0e-5 : f64} : tensor<1x4xf32>
  %z = "onnx.Mul"(%m, %x) : (tensor<1x4xf32>, tensor<1x4xf32>) -> tensor<1x4xf32>
  return %n, %y, %z : tensor<1x4xf32>, tensor<1x4xf32>, tensor<1x4xf32>
}
