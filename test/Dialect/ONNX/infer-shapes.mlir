// RUN: rwkv-opt %s --onnx-infer-shapes --split-input-file | FileCheck %s

// CHECK-LABEL: func.func @block
// CHECK-SAME: -> (tensor<1x2x32xf32>, tensor<2x1xf32>)
func.func @block(%x: tensor<1x64xf32>, %w: tensor<64x64xf32>) -> (tensor<*xf32>, tensor<*xf32>) {
  %shape = "onnx.Constant"() {value = dense<[0, 2, -1]> : tensor<3xi64>} : () -> tensor<3xi64>
  %axes = "onnx.Constant"() {value = dense<[0, 2]> : tensor<2xi64>} : () -> tensor<2xi64>
  %last = "onnx.Constant"() {value = dense<-1> : tensor<1xi64>} : () -> tensor<1xi64>
  // CHECK: "onnx.MatMul"({{.*}}) : (tensor<1x64xf32>, tensor<64x64xf32>) -> tensor<1x64xf32>
  %0 = "onnx.MatMul"(%x, %w) : (tensor<1x64xf32>, tensor<64x64xf32>) -> tensor<?x?xf32>
  // CHECK: "onnx.Reshape"({{.*}}) {{.*}} -> tensor<1x2x32xf32>
  %1 = "onnx.Reshape"(%0, %shape) : (tensor<?x?xf32>, tensor<3xi64>) -> tensor<*xf32>
  // CHECK: "onnx.Exp"({{.*}}) : (tensor<1x2x32xf32>) -> tensor<1x2x32xf32>
  %2 = "onnx.Exp"(%1) : (tensor<*xf32>) -> tensor<*xf32>
  // CHECK: "onnx.ReduceSum"({{.*}}) {{.*}} -> tensor<2xf32>
  %3 = "onnx.ReduceSum"(%2, %axes) {keepdims = 0 : i64} : (tensor<*xf32>, tensor<2xi64>) -> tensor<*xf32>
  // CHECK: "onnx.Unsqueeze"({{.*}}) {{.*}} -> tensor<2x1xf32>
  %4 = "onnx.Unsqueeze"(%3, %last) : (tensor<*xf32>, tensor<1xi64>) -> tensor<*xf32>
  return %2, %4 : tensor<*xf32>, tensor<*xf32>
}

// -----

// CHECK-LABEL: func.func @pieces
// CHECK-SAME: -> (tensor<1x3xf32>, tensor<4x7x2xf32>, tensor<5x2xf32>)
func.func @pieces(%x: tensor<2x5xf32>, %i: tensor<4x7xi64>) -> (tensor<*xf32>, tensor<*xf32>, tensor<*xf32>) {
  %none = "onnx.NoValue"() : () -> none
  %pads = "onnx.Constant"() {value = dense<[-1, 0, 0, -2]> : tensor<4xi64>} : () -> tensor<4xi64>
  %0 = "onnx.Pad"(%x, %pads, %none, %none) : (tensor<2x5xf32>, tensor<4xi64>, none, none) -> tensor<*xf32>
  %1 = "onnx.Transpose"(%x) : (tensor<2x5xf32>) -> tensor<*xf32>
  %2 = "onnx.Gather"(%1, %i) {axis = 0 : i64} : (tensor<*xf32>, tensor<4x7xi64>) -> tensor<*xf32>
  return %0, %2, %1 : tensor<*xf32>, tensor<*xf32>, tensor<*xf32>
}

// -----

// Operands that contradict each other leave the type as it is.
// CHECK-LABEL: func.func @contradiction
// CHECK-SAME: -> tensor<*xf32>
func.func @contradiction(%x: tensor<2x5xf32>, %y: tensor<3x5xf32>) -> tensor<*xf32> {
  %0 = "onnx.Add"(%x, %y) : (tensor<2x5xf32>, tensor<3x5xf32>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}
