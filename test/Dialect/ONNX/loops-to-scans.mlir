// RUN: rwkv-opt %s --split-input-file --onnx-loops-to-scans --canonicalize | FileCheck %s

// Tokens are taken by the counter from outside; one state collects an output.
// CHECK-LABEL: @collects
// CHECK-SAME: %[[S:[a-z0-9]+]]: tensor<4xf32>, %[[X:[a-z0-9]+]]: tensor<2x3x4xf32>
// CHECK-NOT: onnx.Loop
// CHECK: %[[R:.*]]:2 = "onnx.Scan"(%[[S]], %[[X]], %{{.*}}) <{num_scan_inputs = 2 : i64, scan_input_axes = array<i64: 1, 0>, scan_output_axes = array<i64: 0>}>
// CHECK-NEXT: ^bb0(%[[A:[a-z0-9]+]]: tensor<4xf32>, %[[XT:[a-z0-9]+]]: tensor<2x4xf32>, %{{.*}}: tensor<i64>):
// CHECK-NOT: onnx.Gather
// CHECK-NOT: onnx.ScatterND
// CHECK: %[[N:.*]] = "onnx.Add"(%[[A]],
// CHECK: "onnx.Yield"(%[[N]],
// CHECK: return %[[R]]#0, %[[R]]#1
func.func @collects(%s: tensor<4xf32>, %x: tensor<2x3x4xf32>) -> (tensor<4xf32>, tensor<3x4xf32>) {
  %count = "onnx.Constant"() <{value = dense<3> : tensor<i64>}> : () -> tensor<i64>
  %true = "onnx.Constant"() <{value = dense<true> : tensor<i1>}> : () -> tensor<i1>
  %zeros = "onnx.Constant"() <{value = dense<0.0> : tensor<3x4xf32>}> : () -> tensor<3x4xf32>
  %first = "onnx.Constant"() <{value = dense<0> : tensor<1xi64>}> : () -> tensor<1xi64>
  %shape = "onnx.Constant"() <{value = dense<1> : tensor<2xi64>}> : () -> tensor<2xi64>
  %0:2 = "onnx.Loop"(%count, %true, %s, %zeros) ({
  ^bb0(%i: tensor<i64>, %c: tensor<i1>, %a: tensor<4xf32>, %o: tensor<3x4xf32>):
    %xt = "onnx.Gather"(%x, %i) <{axis = 1 : i64}> : (tensor<2x3x4xf32>, tensor<i64>) -> tensor<2x4xf32>
    %sum = "onnx.ReduceSum"(%xt, %first) <{keepdims = 0 : i64, noop_with_empty_axes = 0 : i64}> : (tensor<2x4xf32>, tensor<1xi64>) -> tensor<4xf32>
    %n = "onnx.Add"(%a, %sum) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
    %at = "onnx.Reshape"(%i, %shape) <{allowzero = 0 : i64}> : (tensor<i64>, tensor<2xi64>) -> tensor<1x1xi64>
    %row = "onnx.Unsqueeze"(%n, %first) : (tensor<4xf32>, tensor<1xi64>) -> tensor<1x4xf32>
    %o1 = "onnx.ScatterND"(%o, %at, %row) <{reduction = "none"}> : (tensor<3x4xf32>, tensor<1x1xi64>, tensor<1x4xf32>) -> tensor<3x4xf32>
    "onnx.Yield"(%c, %n, %o1) : (tensor<i1>, tensor<4xf32>, tensor<3x4xf32>) -> ()
  }) : (tensor<i64>, tensor<i1>, tensor<4xf32>, tensor<3x4xf32>) -> (tensor<4xf32>, tensor<3x4xf32>)
  return %0#0, %0#1 : tensor<4xf32>, tensor<3x4xf32>
}

// -----

// A stacked output stays one. A state that is read as well is a state.
// CHECK-LABEL: @stacks
// CHECK: "onnx.Scan"(%{{.*}}, %{{.*}}, %{{.*}}) <{num_scan_inputs = 1 : i64, scan_input_axes = array<i64: 0>, scan_output_axes = array<i64: 0>}>
func.func @stacks(%s: tensor<4xf32>, %o: tensor<3x4xf32>) -> (tensor<3x4xf32>, tensor<3x4xf32>) {
  %count = "onnx.Constant"() <{value = dense<3> : tensor<i64>}> : () -> tensor<i64>
  %none = "onnx.NoValue"() : () -> none
  %first = "onnx.Constant"() <{value = dense<0> : tensor<1xi64>}> : () -> tensor<1xi64>
  %shape = "onnx.Constant"() <{value = dense<1> : tensor<2xi64>}> : () -> tensor<2xi64>
  %0:3 = "onnx.Loop"(%count, %none, %s, %o) ({
  ^bb0(%i: tensor<i64>, %c: tensor<i1>, %a: tensor<4xf32>, %b: tensor<3x4xf32>):
    %old = "onnx.Gather"(%b, %i) <{axis = 0 : i64}> : (tensor<3x4xf32>, tensor<i64>) -> tensor<4xf32>
    %n = "onnx.Add"(%a, %old) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
    %at = "onnx.Reshape"(%i, %shape) <{allowzero = 0 : i64}> : (tensor<i64>, tensor<2xi64>) -> tensor<1x1xi64>
    %row = "onnx.Unsqueeze"(%n, %first) : (tensor<4xf32>, tensor<1xi64>) -> tensor<1x4xf32>
    %b1 = "onnx.ScatterND"(%b, %at, %row) <{reduction = "none"}> : (tensor<3x4xf32>, tensor<1x1xi64>, tensor<1x4xf32>) -> tensor<3x4xf32>
    "onnx.Yield"(%c, %n, %b1, %n) : (tensor<i1>, tensor<4xf32>, tensor<3x4xf32>, tensor<4xf32>) -> ()
  }) : (tensor<i64>, none, tensor<4xf32>, tensor<3x4xf32>) -> (tensor<4xf32>, tensor<3x4xf32>, tensor<3x4xf32>)
  return %0#1, %0#2 : tensor<3x4xf32>, tensor<3x4xf32>
}

// -----

// What ends when a computed value says so is no count through tokens.
// CHECK-LABEL: @until
// CHECK: onnx.Loop
func.func @until(%s: tensor<f32>) -> tensor<f32> {
  %count = "onnx.Constant"() <{value = dense<3> : tensor<i64>}> : () -> tensor<i64>
  %true = "onnx.Constant"() <{value = dense<true> : tensor<i1>}> : () -> tensor<i1>
  %one = "onnx.Constant"() <{value = dense<1.0> : tensor<f32>}> : () -> tensor<f32>
  %0 = "onnx.Loop"(%count, %true, %s) ({
  ^bb0(%i: tensor<i64>, %c: tensor<i1>, %a: tensor<f32>):
    %n = "onnx.Add"(%a, %one) : (tensor<f32>, tensor<f32>) -> tensor<f32>
    %more = "onnx.Less"(%n, %one) : (tensor<f32>, tensor<f32>) -> tensor<i1>
    "onnx.Yield"(%more, %n) : (tensor<i1>, tensor<f32>) -> ()
  }) : (tensor<i64>, tensor<i1>, tensor<f32>) -> tensor<f32>
  return %0 : tensor<f32>
}
