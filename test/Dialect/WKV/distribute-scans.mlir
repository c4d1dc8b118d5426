// RUN: rwkv-opt %s --split-input-file --wkv-distribute-scans --canonicalize | FileCheck %s

// The recurrence takes all tokens; what is computed for each of them gets a
// leading axis.
// CHECK-LABEL: @carried
// CHECK-SAME: %[[S:[a-z0-9]+]]: tensor<1x2x4x4xf32>, %[[R:[a-z0-9]+]]: tensor<1x3x2x4xf32>, %[[K:[a-z0-9]+]]: tensor<1x3x2x4xf32>
// CHECK-NOT: onnx.Scan
// CHECK: %[[SCALED:.*]] = "onnx.Mul"(%{{.*}}, %{{.*}}) : (tensor<3x1x2x4xf32>, tensor<f32>) -> tensor<3x1x2x4xf32>
// CHECK: %[[INIT:.*]] = tensor.empty() : tensor<1x3x2x4xf32>
// CHECK: %[[Y:.*]], %[[N:.*]] = wkv.wkv6 receptance(%{{.*}}) key(%{{.*}}) value(%{{.*}}) decay(%{{.*}}) bonus(%{{.*}}) init(%[[INIT]]) state(%[[S]])
// CHECK-SAME: (tensor<1x3x2x4xf32>, tensor<1x3x2x4xf32>, tensor<1x3x2x4xf32>, tensor<1x1x2x4xf32>,
// CHECK: return %[[N]], %{{.*}} : tensor<1x2x4x4xf32>, tensor<3x2x4xf32>
func.func @carried(%s: tensor<1x2x4x4xf32>, %r: tensor<1x3x2x4xf32>, %k: tensor<1x3x2x4xf32>, %w: tensor<1x1x2x4xf32>, %u: tensor<2x4xf32>) -> (tensor<1x2x4x4xf32>, tensor<3x2x4xf32>) {
  %half = "onnx.Constant"() <{value = dense<0.5> : tensor<f32>}> : () -> tensor<f32>
  %0:2 = "onnx.Scan"(%s, %r, %k) <{num_scan_inputs = 2 : i64, scan_input_axes = array<i64: 1, 1>, scan_output_axes = array<i64: 0>}> ({
  ^bb0(%a: tensor<1x2x4x4xf32>, %rt: tensor<1x2x4xf32>, %kt: tensor<1x2x4xf32>):
    %row = "onnx.Constant"() <{value = dense<[1, 1, 2, 4]> : tensor<4xi64>}> : () -> tensor<4xi64>
    %flat = "onnx.Constant"() <{value = dense<[2, 4]> : tensor<2xi64>}> : () -> tensor<2xi64>
    %r1 = "onnx.Reshape"(%rt, %row) : (tensor<1x2x4xf32>, tensor<4xi64>) -> tensor<1x1x2x4xf32>
    %k0 = "onnx.Mul"(%kt, %half) : (tensor<1x2x4xf32>, tensor<f32>) -> tensor<1x2x4xf32>
    %k1 = "onnx.Reshape"(%k0, %row) : (tensor<1x2x4xf32>, tensor<4xi64>) -> tensor<1x1x2x4xf32>
    %e = tensor.empty() : tensor<1x1x2x4xf32>
    %y, %n = wkv.wkv6 receptance(%r1) key(%k1) value(%k1) decay(%w) bonus(%u) init(%e) state(%a) : (tensor<1x1x2x4xf32>, tensor<1x1x2x4xf32>, tensor<1x1x2x4xf32>, tensor<1x1x2x4xf32>, tensor<2x4xf32>, tensor<1x1x2x4xf32>, tensor<1x2x4x4xf32>) -> (tensor<1x1x2x4xf32>, tensor<1x2x4x4xf32>)
    %o = "onnx.Reshape"(%y, %flat) : (tensor<1x1x2x4xf32>, tensor<2xi64>) -> tensor<2x4xf32>
    "onnx.Yield"(%n, %o) : (tensor<1x2x4x4xf32>, tensor<2x4xf32>) -> ()
  }) : (tensor<1x2x4x4xf32>, tensor<1x3x2x4xf32>, tensor<1x3x2x4xf32>) -> (tensor<1x2x4x4xf32>, tensor<3x2x4xf32>)
  return %0#0, %0#1 : tensor<1x2x4x4xf32>, tensor<3x2x4xf32>
}

// -----

// A factor before and behind the recurrence is that of the loop's state, where it
// ends as it began.
// CHECK-LABEL: @scaled
// CHECK-SAME: %[[S:[a-z0-9]+]]: tensor<1x1x4x4xf32>
// CHECK-NOT: onnx.Scan
// CHECK: %[[OLD:.*]] = "onnx.Mul"(%[[S]], %[[TWO:.*]]) :
// CHECK: %{{.*}}, %[[N:.*]] = wkv.wkv6 {{.*}} state(%[[OLD]])
// CHECK: %[[NEW:.*]] = "onnx.Div"(%[[N]], %[[TWO]])
// CHECK: return %[[NEW]]
func.func @scaled(%s: tensor<1x1x4x4xf32>, %x: tensor<3x1x1x4xf32>, %u: tensor<1x4xf32>) -> (tensor<1x1x4x4xf32>, tensor<3x1x1x1x4xf32>) {
  %two = "onnx.Constant"() <{value = dense<2.0> : tensor<f32>}> : () -> tensor<f32>
  %row = "onnx.Constant"() <{value = dense<[1, 1, 1, 4]> : tensor<4xi64>}> : () -> tensor<4xi64>
  %0:2 = "onnx.Scan"(%s, %x) <{num_scan_inputs = 1 : i64}> ({
  ^bb0(%a: tensor<1x1x4x4xf32>, %xt: tensor<1x1x4xf32>):
    %r = "onnx.Reshape"(%xt, %row) : (tensor<1x1x4xf32>, tensor<4xi64>) -> tensor<1x1x1x4xf32>
    %b = "onnx.Mul"(%a, %two) : (tensor<1x1x4x4xf32>, tensor<f32>) -> tensor<1x1x4x4xf32>
    %e = tensor.empty() : tensor<1x1x1x4xf32>
    %y, %n = wkv.wkv6 receptance(%r) key(%r) value(%r) decay(%r) bonus(%u) init(%e) state(%b) : (tensor<1x1x1x4xf32>, tensor<1x1x1x4xf32>, tensor<1x1x1x4xf32>, tensor<1x1x1x4xf32>, tensor<1x4xf32>, tensor<1x1x1x4xf32>, tensor<1x1x4x4xf32>) -> (tensor<1x1x1x4xf32>, tensor<1x1x4x4xf32>)
    %c = "onnx.Div"(%n, %two) : (tensor<1x1x4x4xf32>, tensor<f32>) -> tensor<1x1x4x4xf32>
    "onnx.Yield"(%c, %y) : (tensor<1x1x4x4xf32>, tensor<1x1x1x4xf32>) -> ()
  }) : (tensor<1x1x4x4xf32>, tensor<3x1x1x4xf32>) -> (tensor<1x1x4x4xf32>, tensor<3x1x1x1x4xf32>)
  return %0#0, %0#1 : tensor<1x1x4x4xf32>, tensor<3x1x1x1x4xf32>
}

// -----

// Otherwise there is no recurrence over all tokens.
// CHECK-LABEL: @scaled_once
// CHECK: onnx.Scan
func.func @scaled_once(%s: tensor<1x1x4x4xf32>, %x: tensor<3x1x1x4xf32>, %u: tensor<1x4xf32>) -> (tensor<1x1x4x4xf32>, tensor<3x1x1x1x4xf32>) {
  %two = "onnx.Constant"() <{value = dense<2.0> : tensor<f32>}> : () -> tensor<f32>
  %row = "onnx.Constant"() <{value = dense<[1, 1, 1, 4]> : tensor<4xi64>}> : () -> tensor<4xi64>
  %0:2 = "onnx.Scan"(%s, %x) <{num_scan_inputs = 1 : i64}> ({
  ^bb0(%a: tensor<1x1x4x4xf32>, %xt: tensor<1x1x4xf32>):
    %r = "onnx.Reshape"(%xt, %row) : (tensor<1x1x4xf32>, tensor<4xi64>) -> tensor<1x1x1x4xf32>
    %b = "onnx.Mul"(%a, %two) : (tensor<1x1x4x4xf32>, tensor<f32>) -> tensor<1x1x4x4xf32>
    %e = tensor.empty() : tensor<1x1x1x4xf32>
    %y, %n = wkv.wkv6 receptance(%r) key(%r) value(%r) decay(%r) bonus(%u) init(%e) state(%b) : (tensor<1x1x1x4xf32>, tensor<1x1x1x4xf32>, tensor<1x1x1x4xf32>, tensor<1x1x1x4xf32>, tensor<1x4xf32>, tensor<1x1x1x4xf32>, tensor<1x1x4x4xf32>) -> (tensor<1x1x1x4xf32>, tensor<1x1x4x4xf32>)
    "onnx.Yield"(%n, %y) : (tensor<1x1x4x4xf32>, tensor<1x1x1x4xf32>) -> ()
  }) : (tensor<1x1x4x4xf32>, tensor<3x1x1x4xf32>) -> (tensor<1x1x4x4xf32>, tensor<3x1x1x1x4xf32>)
  return %0#0, %0#1 : tensor<1x1x4x4xf32>, tensor<3x1x1x1x4xf32>
}

// -----

// Without states, a scan is a map. A matrix that all tokens share is read once.
// CHECK-LABEL: @map
// CHECK-SAME: %[[X:[a-z0-9]+]]: tensor<5x3x8xf32>, %[[W:[a-z0-9]+]]: tensor<8x4xf32>
// CHECK: %[[FRONT:.*]] = "onnx.Transpose"(%[[X]]) <{perm = array<i64: 1, 0, 2>}>
// CHECK: %[[P:.*]] = "onnx.MatMul"(%[[FRONT]], %[[W]]) : (tensor<3x5x8xf32>, tensor<8x4xf32>) -> tensor<3x5x4xf32>
// CHECK: %[[Q:.*]] = "onnx.Tanh"(%[[P]])
// CHECK: return %[[Q]]
func.func @map(%x: tensor<5x3x8xf32>, %w: tensor<8x4xf32>) -> tensor<3x5x4xf32> {
  %0 = "onnx.Scan"(%x) <{num_scan_inputs = 1 : i64, scan_input_axes = array<i64: 1>}> ({
  ^bb0(%a: tensor<5x8xf32>):
    %p = "onnx.MatMul"(%a, %w) : (tensor<5x8xf32>, tensor<8x4xf32>) -> tensor<5x4xf32>
    %q = "onnx.Tanh"(%p) : (tensor<5x4xf32>) -> tensor<5x4xf32>
    "onnx.Yield"(%q) : (tensor<5x4xf32>) -> ()
  }) : (tensor<5x3x8xf32>) -> tensor<3x5x4xf32>
  return %0 : tensor<3x5x4xf32>
}

// -----

// A state that no recurrence carries keeps the scan.
// CHECK-LABEL: @sum
// CHECK: onnx.Scan
func.func @sum(%s: tensor<4xf32>, %x: tensor<3x4xf32>) -> tensor<4xf32> {
  %0 = "onnx.Scan"(%s, %x) <{num_scan_inputs = 1 : i64}> ({
  ^bb0(%a: tensor<4xf32>, %b: tensor<4xf32>):
    %n = "onnx.Add"(%a, %b) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
    "onnx.Yield"(%n) : (tensor<4xf32>) -> ()
  }) : (tensor<4xf32>, tensor<3x4xf32>) -> tensor<4xf32>
  return %0 : tensor<4xf32>
}

// -----

// So does an op without a form over several tokens.
// CHECK-LABEL: @no_form
// CHECK: onnx.Scan
func.func @no_form(%x: tensor<3x4xf32>) -> tensor<3x4xf32> {
  %0 = "onnx.Scan"(%x) <{num_scan_inputs = 1 : i64}> ({
  ^bb0(%a: tensor<4xf32>):
    %axis = "onnx.Constant"() <{value = dense<0> : tensor<i64>}> : () -> tensor<i64>
    %n = "onnx.CumSum"(%a, %axis) : (tensor<4xf32>, tensor<i64>) -> tensor<4xf32>
    "onnx.Yield"(%n) : (tensor<4xf32>) -> ()
  }) : (tensor<3x4xf32>) -> tensor<3x4xf32>
  return %0 : tensor<3x4xf32>
}

// -----

// And one that goes through the tokens backwards.
// CHECK-LABEL: @backwards
// CHECK: onnx.Scan
func.func @backwards(%x: tensor<3x4xf32>) -> tensor<3x4xf32> {
  %0 = "onnx.Scan"(%x) <{num_scan_inputs = 1 : i64, scan_input_directions = array<i64: 1>}> ({
  ^bb0(%a: tensor<4xf32>):
    %n = "onnx.Tanh"(%a) : (tensor<4xf32>) -> tensor<4xf32>
    "onnx.Yield"(%n) : (tensor<4xf32>) -> ()
  }) : (tensor<3x4xf32>) -> tensor<3x4xf32>
  return %0 : tensor<3x4xf32>
}

// -----

// The states of all tokens are wanted: the recurrence gives the last one only.
// CHECK-LABEL: @stacked
// CHECK: onnx.Scan
func.func @stacked(%s: tensor<1x2x4x4xf32>, %r: tensor<3x1x2x4xf32>, %w: tensor<1x1x2x4xf32>, %u: tensor<2x4xf32>) -> (tensor<1x2x4x4xf32>, tensor<3x2x4x4xf32>) {
  %0:2 = "onnx.Scan"(%s, %r) <{num_scan_inputs = 1 : i64}> ({
  ^bb0(%a: tensor<1x2x4x4xf32>, %rt: tensor<1x2x4xf32>):
    %row = "onnx.Constant"() <{value = dense<[1, 1, 2, 4]> : tensor<4xi64>}> : () -> tensor<4xi64>
    %flat = "onnx.Constant"() <{value = dense<[2, 4, 4]> : tensor<3xi64>}> : () -> tensor<3xi64>
    %r1 = "onnx.Reshape"(%rt, %row) : (tensor<1x2x4xf32>, tensor<4xi64>) -> tensor<1x1x2x4xf32>
    %e = tensor.empty() : tensor<1x1x2x4xf32>
    %y, %n = wkv.wkv6 receptance(%r1) key(%r1) value(%r1) decay(%w) bonus(%u) init(%e) state(%a) : (tensor<1x1x2x4xf32>, tensor<1x1x2x4xf32>, tensor<1x1x2x4xf32>, tensor<1x1x2x4xf32>, tensor<2x4xf32>, tensor<1x1x2x4xf32>, tensor<1x2x4x4xf32>) -> (tensor<1x1x2x4xf32>, tensor<1x2x4x4xf32>)
    %o = "onnx.Reshape"(%n, %flat) : (tensor<1x2x4x4xf32>, tensor<3xi64>) -> tensor<2x4x4xf32>
    "onnx.Yield"(%n, %o) : (tensor<1x2x4x4xf32>, tensor<2x4x4xf32>) -> ()
  }) : (tensor<1x2x4x4xf32>, tensor<3x1x2x4xf32>) -> (tensor<1x2x4x4xf32>, tensor<3x2x4x4xf32>)
  return %0#0, %0#1 : tensor<1x2x4x4xf32>, tensor<3x2x4x4xf32>
}
