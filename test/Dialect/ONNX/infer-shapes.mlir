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

// -----

// Shapes go into the body of a scan and come out with what it yields; the axis of the steps is put back.
// CHECK-LABEL: func.func @scan
// CHECK-SAME: -> (tensor<2x8xf32>, tensor<2x5x1xf32>)
func.func @scan(%s: tensor<2x8xf32>, %x: tensor<2x5x8xf32>) -> (tensor<2x?xf32>, tensor<*xf32>) {
  %axes = "onnx.Constant"() {value = dense<1> : tensor<1xi64>} : () -> tensor<1xi64>
  // CHECK: ^bb0(%{{.*}}: tensor<2x8xf32>, %{{.*}}: tensor<2x8xf32>):
  %0:2 = "onnx.Scan"(%s, %x) <{num_scan_inputs = 1 : i64, scan_input_axes = array<i64: 1>, scan_output_axes = array<i64: -2>}> ({
  ^bb0(%a: tensor<2x?xf32>, %b: tensor<*xf32>):
    %1 = "onnx.Add"(%a, %b) : (tensor<2x?xf32>, tensor<*xf32>) -> tensor<*xf32>
    %2 = "onnx.ReduceSum"(%1, %axes) : (tensor<*xf32>, tensor<1xi64>) -> tensor<*xf32>
    "onnx.Yield"(%1, %2) : (tensor<*xf32>, tensor<*xf32>) -> ()
  }) : (tensor<2x8xf32>, tensor<2x5x8xf32>) -> (tensor<2x?xf32>, tensor<*xf32>)
  return %0#0, %0#1 : tensor<2x?xf32>, tensor<*xf32>
}

// -----

// Outputs of a loop that only counts have an axis for its steps.
// CHECK-LABEL: func.func @loop
// CHECK-SAME: -> (tensor<8xf32>, tensor<3x8xf32>)
func.func @loop(%s: tensor<8xf32>) -> (tensor<*xf32>, tensor<*xf32>) {
  %none = "onnx.NoValue"() : () -> none
  %m = "onnx.Constant"() {value = dense<3> : tensor<i64>} : () -> tensor<i64>
  %0:2 = "onnx.Loop"(%m, %none, %s) ({
  ^bb0(%i: tensor<i64>, %c: tensor<i1>, %a: tensor<*xf32>):
    %1 = "onnx.Exp"(%a) : (tensor<*xf32>) -> tensor<*xf32>
    "onnx.Yield"(%c, %1, %1) : (tensor<i1>, tensor<*xf32>, tensor<*xf32>) -> ()
  }) : (tensor<i64>, none, tensor<8xf32>) -> (tensor<*xf32>, tensor<*xf32>)
  return %0#0, %0#1 : tensor<*xf32>, tensor<*xf32>
}

// -----

// The number of steps is open where a condition may end the loop; a state that grows has no static shape.
// CHECK-LABEL: func.func @open_loops
// CHECK-SAME: -> (tensor<*xf32>, tensor<*xf32>)
func.func @open_loops(%s: tensor<8xf32>, %go: tensor<i1>) -> (tensor<*xf32>, tensor<*xf32>) {
  %none = "onnx.NoValue"() : () -> none
  %m = "onnx.Constant"() {value = dense<3> : tensor<i64>} : () -> tensor<i64>
  %0:2 = "onnx.Loop"(%m, %go, %s) ({
  ^bb0(%i: tensor<i64>, %c: tensor<i1>, %a: tensor<*xf32>):
    %1 = "onnx.Exp"(%a) : (tensor<*xf32>) -> tensor<*xf32>
    "onnx.Yield"(%c, %1, %1) : (tensor<i1>, tensor<*xf32>, tensor<*xf32>) -> ()
  }) : (tensor<i64>, tensor<i1>, tensor<8xf32>) -> (tensor<*xf32>, tensor<*xf32>)
  %2 = "onnx.Loop"(%m, %none, %s) ({
  ^bb0(%i: tensor<i64>, %c: tensor<i1>, %a: tensor<*xf32>):
    %3 = "onnx.Concat"(%a, %a) {axis = 0 : i64} : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
    "onnx.Yield"(%c, %3) : (tensor<i1>, tensor<*xf32>) -> ()
  }) : (tensor<i64>, none, tensor<8xf32>) -> tensor<*xf32>
  return %0#1, %2 : tensor<*xf32>, tensor<*xf32>
}

// -----

// A loop may take a slice at its step number, where all steps stay inside of the data; the last of five would not.
// CHECK-LABEL: func.func @step_slice
// CHECK-SAME: -> (tensor<4x2x3xf32>, tensor<*xf32>)
func.func @step_slice(%x: tensor<5x3xf32>) -> (tensor<*xf32>, tensor<*xf32>) {
  %none = "onnx.NoValue"() : () -> none
  %four = "onnx.Constant"() {value = dense<4> : tensor<i64>} : () -> tensor<i64>
  %five = "onnx.Constant"() {value = dense<5> : tensor<i64>} : () -> tensor<i64>
  %two = "onnx.Constant"() {value = dense<2> : tensor<i64>} : () -> tensor<i64>
  %axes = "onnx.Constant"() {value = dense<0> : tensor<1xi64>} : () -> tensor<1xi64>
  %0 = "onnx.Loop"(%four, %none) ({
  ^bb0(%i: tensor<i64>, %c: tensor<i1>):
    %1 = "onnx.Add"(%i, %two) : (tensor<i64>, tensor<i64>) -> tensor<i64>
    %2 = "onnx.Unsqueeze"(%i, %axes) : (tensor<i64>, tensor<1xi64>) -> tensor<1xi64>
    %3 = "onnx.Unsqueeze"(%1, %axes) : (tensor<i64>, tensor<1xi64>) -> tensor<1xi64>
    %4 = "onnx.Slice"(%x, %2, %3, %axes, %none) : (tensor<5x3xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, none) -> tensor<*xf32>
    "onnx.Yield"(%c, %4) : (tensor<i1>, tensor<*xf32>) -> ()
  }) : (tensor<i64>, none) -> tensor<*xf32>
  %5 = "onnx.Loop"(%five, %none) ({
  ^bb0(%i: tensor<i64>, %c: tensor<i1>):
    %1 = "onnx.Add"(%i, %two) : (tensor<i64>, tensor<i64>) -> tensor<i64>
    %2 = "onnx.Unsqueeze"(%i, %axes) : (tensor<i64>, tensor<1xi64>) -> tensor<1xi64>
    %3 = "onnx.Unsqueeze"(%1, %axes) : (tensor<i64>, tensor<1xi64>) -> tensor<1xi64>
    %4 = "onnx.Slice"(%x, %2, %3, %axes, %none) : (tensor<5x3xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, none) -> tensor<*xf32>
    "onnx.Yield"(%c, %4) : (tensor<i1>, tensor<*xf32>) -> ()
  }) : (tensor<i64>, none) -> tensor<*xf32>
  return %0, %5 : tensor<*xf32>, tensor<*xf32>
}

// -----

// A loop that grows its output: as many rows as it has steps.
// CHECK-LABEL: @grows
// CHECK: "onnx.Loop"
// CHECK: -> tensor<8x4xf32>
// CHECK: return %{{.*}} : tensor<8x4xf32>
func.func @grows(%row: tensor<1x4xf32>) -> tensor<?x4xf32> {
  %count = "onnx.Constant"() <{value = dense<7> : tensor<i64>}> : () -> tensor<i64>
  %none = "onnx.NoValue"() : () -> none
  %0 = "onnx.Loop"(%count, %none, %row) ({
  ^bb0(%i: tensor<i64>, %c: tensor<i1>, %p: tensor<?x4xf32>):
    %p1 = "onnx.Concat"(%p, %row) <{axis = 0 : i64}> : (tensor<?x4xf32>, tensor<1x4xf32>) -> tensor<?x4xf32>
    "onnx.Yield"(%c, %p1) : (tensor<i1>, tensor<?x4xf32>) -> ()
  }) : (tensor<i64>, none, tensor<1x4xf32>) -> tensor<?x4xf32>
  return %0 : tensor<?x4xf32>
}
