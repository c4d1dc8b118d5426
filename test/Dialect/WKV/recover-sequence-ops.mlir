// RUN: rwkv-opt %s --wkv-recover-sequence-ops | FileCheck %s

// Roles are found by value: here the key comes first, and the query is scaled.
// CHECK-LABEL: @linear
// CHECK-NOT: onnx.Scan
// CHECK: %[[Q:.*]] = "onnx.Transpose"(%arg2)
// CHECK: "onnx.LinearAttention"{{.*}}kv_num_heads = 2 : i64, q_num_heads = 2 : i64, scale = 2.500000e-01 : f32, update_rule = "linear"
func.func @linear(%s: tensor<1x2x4x4xf32>, %k: tensor<3x1x2x4xf32>, %q: tensor<3x1x2x4xf32>, %v: tensor<3x1x2x4xf32>) -> (tensor<1x2x4x4xf32>, tensor<3x1x2x4xf32>) {
  %last = "onnx.Constant"() <{value = dense<-1> : tensor<1xi64>}> : () -> tensor<1xi64>
  %row = "onnx.Constant"() <{value = dense<-2> : tensor<1xi64>}> : () -> tensor<1xi64>
  %scale = "onnx.Constant"() <{value = dense<0.25> : tensor<f32>}> : () -> tensor<f32>
  %n, %y = "onnx.Scan"(%s, %k, %q, %v) <{num_scan_inputs = 3 : i64}> ({
  ^bb0(%old: tensor<1x2x4x4xf32>, %kt: tensor<1x2x4xf32>, %qt: tensor<1x2x4xf32>, %vt: tensor<1x2x4xf32>):
    %0 = "onnx.Unsqueeze"(%kt, %last) : (tensor<1x2x4xf32>, tensor<1xi64>) -> tensor<1x2x4x1xf32>
    %1 = "onnx.Unsqueeze"(%vt, %row) : (tensor<1x2x4xf32>, tensor<1xi64>) -> tensor<1x2x1x4xf32>
    %2 = "onnx.Mul"(%0, %1) : (tensor<1x2x4x1xf32>, tensor<1x2x1x4xf32>) -> tensor<1x2x4x4xf32>
    %3 = "onnx.Add"(%2, %old) : (tensor<1x2x4x4xf32>, tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32>
    %4 = "onnx.Mul"(%qt, %scale) : (tensor<1x2x4xf32>, tensor<f32>) -> tensor<1x2x4xf32>
    %5 = "onnx.Unsqueeze"(%4, %row) : (tensor<1x2x4xf32>, tensor<1xi64>) -> tensor<1x2x1x4xf32>
    %6 = "onnx.MatMul"(%5, %3) : (tensor<1x2x1x4xf32>, tensor<1x2x4x4xf32>) -> tensor<1x2x1x4xf32>
    %7 = "onnx.Squeeze"(%6, %row) : (tensor<1x2x1x4xf32>, tensor<1xi64>) -> tensor<1x2x4xf32>
    "onnx.Yield"(%3, %7) : (tensor<1x2x4x4xf32>, tensor<1x2x4xf32>) -> ()
  }) : (tensor<1x2x4x4xf32>, tensor<3x1x2x4xf32>, tensor<3x1x2x4xf32>, tensor<3x1x2x4xf32>) -> (tensor<1x2x4x4xf32>, tensor<3x1x2x4xf32>)
  return %n, %y : tensor<1x2x4x4xf32>, tensor<3x1x2x4xf32>
}

// A tanh on the way is another law.
// CHECK-LABEL: @other
// CHECK: onnx.Scan
func.func @other(%s: tensor<1x2x4x4xf32>, %k: tensor<3x1x2x4xf32>, %q: tensor<3x1x2x4xf32>, %v: tensor<3x1x2x4xf32>) -> tensor<3x1x2x4xf32> {
  %last = "onnx.Constant"() <{value = dense<-1> : tensor<1xi64>}> : () -> tensor<1xi64>
  %row = "onnx.Constant"() <{value = dense<-2> : tensor<1xi64>}> : () -> tensor<1xi64>
  %n, %y = "onnx.Scan"(%s, %k, %q, %v) <{num_scan_inputs = 3 : i64}> ({
  ^bb0(%old: tensor<1x2x4x4xf32>, %kt: tensor<1x2x4xf32>, %qt: tensor<1x2x4xf32>, %vt: tensor<1x2x4xf32>):
    %0 = "onnx.Unsqueeze"(%kt, %last) : (tensor<1x2x4xf32>, tensor<1xi64>) -> tensor<1x2x4x1xf32>
    %1 = "onnx.Unsqueeze"(%vt, %row) : (tensor<1x2x4xf32>, tensor<1xi64>) -> tensor<1x2x1x4xf32>
    %2 = "onnx.Mul"(%0, %1) : (tensor<1x2x4x1xf32>, tensor<1x2x1x4xf32>) -> tensor<1x2x4x4xf32>
    %3 = "onnx.Add"(%2, %old) : (tensor<1x2x4x4xf32>, tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32>
    %4 = "onnx.Tanh"(%3) : (tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32>
    %5 = "onnx.Unsqueeze"(%qt, %row) : (tensor<1x2x4xf32>, tensor<1xi64>) -> tensor<1x2x1x4xf32>
    %6 = "onnx.MatMul"(%5, %4) : (tensor<1x2x1x4xf32>, tensor<1x2x4x4xf32>) -> tensor<1x2x1x4xf32>
    %7 = "onnx.Squeeze"(%6, %row) : (tensor<1x2x1x4xf32>, tensor<1xi64>) -> tensor<1x2x4xf32>
    "onnx.Yield"(%4, %7) : (tensor<1x2x4x4xf32>, tensor<1x2x4xf32>) -> ()
  }) : (tensor<1x2x4x4xf32>, tensor<3x1x2x4xf32>, tensor<3x1x2x4xf32>, tensor<3x1x2x4xf32>) -> (tensor<1x2x4x4xf32>, tensor<3x1x2x4xf32>)
  return %y : tensor<3x1x2x4xf32>
}

// CHECK-LABEL: @causal
// CHECK: %[[Y:.*]], %[[N:.*]] = "onnx.CausalConvWithState"(%arg1, %arg2, %{{.*}}, %arg0)
// CHECK: return %[[Y]], %[[N]]
func.func @causal(%past: tensor<1x2x1xf32>, %x: tensor<1x2x3xf32>, %w: tensor<2x1x2xf32>) -> (tensor<1x2x3xf32>, tensor<1x2x1xf32>) {
  %none = "onnx.NoValue"() : () -> none
  %start = "onnx.Constant"() <{value = dense<3> : tensor<1xi64>}> : () -> tensor<1xi64>
  %end = "onnx.Constant"() <{value = dense<4> : tensor<1xi64>}> : () -> tensor<1xi64>
  %axis = "onnx.Constant"() <{value = dense<2> : tensor<1xi64>}> : () -> tensor<1xi64>
  %p = "onnx.Concat"(%past, %x) <{axis = 2 : i64}> : (tensor<1x2x1xf32>, tensor<1x2x3xf32>) -> tensor<1x2x4xf32>
  %y = "onnx.Conv"(%p, %w, %none) <{group = 2 : i64}> : (tensor<1x2x4xf32>, tensor<2x1x2xf32>, none) -> tensor<1x2x3xf32>
  %n = "onnx.Slice"(%p, %start, %end, %axis, %none) : (tensor<1x2x4xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, none) -> tensor<1x2x1xf32>
  return %y, %n : tensor<1x2x3xf32>, tensor<1x2x1xf32>
}

// Neither mixing channels nor a step of two is causal.
// CHECK-LABEL: @others
// CHECK-NOT: onnx.CausalConvWithState
func.func @others(%past: tensor<1x2x1xf32>, %x: tensor<1x2x3xf32>, %w: tensor<2x2x2xf32>, %u: tensor<2x1x2xf32>) -> (tensor<1x2x3xf32>, tensor<1x2x2xf32>) {
  %none = "onnx.NoValue"() : () -> none
  %p = "onnx.Concat"(%past, %x) <{axis = 2 : i64}> : (tensor<1x2x1xf32>, tensor<1x2x3xf32>) -> tensor<1x2x4xf32>
  %y = "onnx.Conv"(%p, %w, %none) : (tensor<1x2x4xf32>, tensor<2x2x2xf32>, none) -> tensor<1x2x3xf32>
  %z = "onnx.Conv"(%p, %u, %none) <{group = 2 : i64, strides = array<i64: 2>}> : (tensor<1x2x4xf32>, tensor<2x1x2xf32>, none) -> tensor<1x2x2xf32>
  return %y, %z : tensor<1x2x3xf32>, tensor<1x2x2xf32>
}
