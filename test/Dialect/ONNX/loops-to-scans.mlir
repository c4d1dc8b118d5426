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

// -----

// A state that each step adds rows to is an output, with what it started with
// concatenated outside; rows may be added in several steps, and in front.
// CHECK-LABEL: @grows
// CHECK-SAME: %[[S:[a-z0-9]+]]: tensor<4xf32>, %[[X:[a-z0-9]+]]: tensor<6x4xf32>, %[[O:[a-z0-9]+]]: tensor<4x1xf32>
// The counter is off by one: tokens 1 to 5.
// CHECK: %[[LATER:.*]] = "onnx.Slice"(%[[X]], {{.*}} -> tensor<5x4xf32>
// CHECK: %[[R:.*]]:3 = "onnx.Scan"(%[[S]], %[[LATER]], %{{.*}}) <{num_scan_inputs = 2 : i64, scan_input_axes = array<i64: 0, 0>, scan_output_axes = array<i64: 1, 0>}>
// CHECK-NEXT: ^bb0(%[[A:[a-z0-9]+]]: tensor<4xf32>, %[[XT:[a-z0-9]+]]: tensor<4xf32>
// CHECK: %[[N:.*]] = "onnx.Add"(%[[A]], %[[XT]])
// CHECK: %[[TWO:.*]] = "onnx.Concat"(%{{.*}}, %{{.*}}) <{axis = 0 : i64}> : (tensor<1x4xf32>, tensor<1x4xf32>) -> tensor<2x4xf32>
// CHECK: "onnx.Yield"(%[[N]], %{{.*}}, %[[TWO]])
// CHECK: (tensor<4xf32>, tensor<4x5xf32>, tensor<5x2x4xf32>)
// CHECK: %[[P:.*]] = "onnx.Concat"(%[[O]], %[[R]]#1) <{axis = 1 : i64}> : (tensor<4x1xf32>, tensor<4x5xf32>) -> tensor<4x6xf32>
// CHECK: %[[BACK:.*]] = "onnx.Slice"(%[[R]]#2
// CHECK: %[[Q:.*]] = "onnx.Reshape"(%[[BACK]], %{{.*}} -> tensor<10x4xf32>
// CHECK: return %[[P]], %[[Q]]
func.func @grows(%s: tensor<4xf32>, %x: tensor<6x4xf32>, %o: tensor<4x1xf32>) -> (tensor<4x6xf32>, tensor<10x4xf32>) {
  %count = "onnx.Constant"() <{value = dense<5> : tensor<i64>}> : () -> tensor<i64>
  %none = "onnx.NoValue"() : () -> none
  %empty = "onnx.Constant"() <{value = dense<> : tensor<0x4xf32>}> : () -> tensor<0x4xf32>
  %first = "onnx.Constant"() <{value = dense<0> : tensor<1xi64>}> : () -> tensor<1xi64>
  %second = "onnx.Constant"() <{value = dense<1> : tensor<1xi64>}> : () -> tensor<1xi64>
  %one = "onnx.Constant"() <{value = dense<1> : tensor<i64>}> : () -> tensor<i64>
  %0:3 = "onnx.Loop"(%count, %none, %s, %o, %empty) ({
  ^bb0(%i: tensor<i64>, %c: tensor<i1>, %a: tensor<4xf32>, %p: tensor<4x1xf32>, %q: tensor<0x4xf32>):
    %next = "onnx.Add"(%one, %i) : (tensor<i64>, tensor<i64>) -> tensor<i64>
    %xt = "onnx.Gather"(%x, %next) <{axis = 0 : i64}> : (tensor<6x4xf32>, tensor<i64>) -> tensor<4xf32>
    %n = "onnx.Add"(%a, %xt) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
    %column = "onnx.Unsqueeze"(%n, %second) : (tensor<4xf32>, tensor<1xi64>) -> tensor<4x1xf32>
    %row = "onnx.Unsqueeze"(%n, %first) : (tensor<4xf32>, tensor<1xi64>) -> tensor<1x4xf32>
    %old = "onnx.Unsqueeze"(%a, %first) : (tensor<4xf32>, tensor<1xi64>) -> tensor<1x4xf32>
    %p1 = "onnx.Concat"(%p, %column) <{axis = -1 : i64}> : (tensor<4x1xf32>, tensor<4x1xf32>) -> tensor<4x2xf32>
    %q1 = "onnx.Concat"(%old, %q) <{axis = 0 : i64}> : (tensor<1x4xf32>, tensor<0x4xf32>) -> tensor<1x4xf32>
    %q2 = "onnx.Concat"(%row, %q1) <{axis = 0 : i64}> : (tensor<1x4xf32>, tensor<1x4xf32>) -> tensor<2x4xf32>
    "onnx.Yield"(%c, %n, %p1, %q2) : (tensor<i1>, tensor<4xf32>, tensor<4x2xf32>, tensor<2x4xf32>) -> ()
  }) : (tensor<i64>, none, tensor<4xf32>, tensor<4x1xf32>, tensor<0x4xf32>) -> (tensor<4xf32>, tensor<4x6xf32>, tensor<10x4xf32>)
  return %0#1, %0#2 : tensor<4x6xf32>, tensor<10x4xf32>
}

// -----

// The body reads what it grows, so that a step needs all rows before it.
// CHECK-LABEL: @reads
// CHECK: onnx.Loop
func.func @reads(%x: tensor<3x4xf32>, %o: tensor<1x4xf32>) -> tensor<4x4xf32> {
  %count = "onnx.Constant"() <{value = dense<3> : tensor<i64>}> : () -> tensor<i64>
  %none = "onnx.NoValue"() : () -> none
  %first = "onnx.Constant"() <{value = dense<0> : tensor<1xi64>}> : () -> tensor<1xi64>
  %0 = "onnx.Loop"(%count, %none, %o) ({
  ^bb0(%i: tensor<i64>, %c: tensor<i1>, %p: tensor<1x4xf32>):
    %row = "onnx.ReduceSum"(%p, %first) <{keepdims = 1 : i64, noop_with_empty_axes = 0 : i64}> : (tensor<1x4xf32>, tensor<1xi64>) -> tensor<1x4xf32>
    %p1 = "onnx.Concat"(%p, %row) <{axis = 0 : i64}> : (tensor<1x4xf32>, tensor<1x4xf32>) -> tensor<2x4xf32>
    "onnx.Yield"(%c, %p1) : (tensor<i1>, tensor<2x4xf32>) -> ()
  }) : (tensor<i64>, none, tensor<1x4xf32>) -> tensor<4x4xf32>
  return %0 : tensor<4x4xf32>
}

// -----

// Rows on either side, or along two axes, are no output of a scan.
// CHECK-LABEL: @both_ends
// CHECK: onnx.Loop
func.func @both_ends(%row: tensor<1x4xf32>, %o: tensor<1x4xf32>) -> tensor<7x4xf32> {
  %count = "onnx.Constant"() <{value = dense<3> : tensor<i64>}> : () -> tensor<i64>
  %none = "onnx.NoValue"() : () -> none
  %0 = "onnx.Loop"(%count, %none, %o) ({
  ^bb0(%i: tensor<i64>, %c: tensor<i1>, %p: tensor<1x4xf32>):
    %p1 = "onnx.Concat"(%p, %row) <{axis = 0 : i64}> : (tensor<1x4xf32>, tensor<1x4xf32>) -> tensor<2x4xf32>
    %p2 = "onnx.Concat"(%row, %p1) <{axis = 0 : i64}> : (tensor<1x4xf32>, tensor<2x4xf32>) -> tensor<3x4xf32>
    "onnx.Yield"(%c, %p2) : (tensor<i1>, tensor<3x4xf32>) -> ()
  }) : (tensor<i64>, none, tensor<1x4xf32>) -> tensor<7x4xf32>
  return %0 : tensor<7x4xf32>
}
