// RUN: rwkv-opt %s --split-input-file --onnx-hoist-from-scans --canonicalize | FileCheck %s

// A function of the tokens is computed for all of them; the input that only it
// used is gone.
// CHECK-LABEL: @decay
// CHECK-SAME: %[[S:[a-z0-9]+]]: tensor<4xf32>, %[[X:[a-z0-9]+]]: tensor<3x4xf32>, %[[V:[a-z0-9]+]]: tensor<3x4xf32>
// CHECK: %[[E:.*]] = "onnx.Exp"(%[[X]]) : (tensor<3x4xf32>) -> tensor<3x4xf32>
// CHECK: %[[M:.*]] = "onnx.Neg"(%[[E]])
// CHECK: %[[W:.*]] = "onnx.Exp"(%[[M]])
// CHECK: "onnx.Scan"(%[[S]], %[[V]], %[[W]]) <{num_scan_inputs = 2 : i64, scan_input_axes = array<i64: 0, 0>}>
// CHECK-NEXT: ^bb0(%[[A:.*]]: tensor<4xf32>, %[[VT:.*]]: tensor<4xf32>, %[[WT:.*]]: tensor<4xf32>):
// CHECK-NEXT: "onnx.Mul"(%[[A]], %[[WT]])
// CHECK-NEXT: "onnx.Add"
// CHECK-NEXT: "onnx.Yield"
func.func @decay(%s: tensor<4xf32>, %x: tensor<3x4xf32>, %v: tensor<3x4xf32>) -> tensor<4xf32> {
  %0 = "onnx.Scan"(%s, %x, %v) <{num_scan_inputs = 2 : i64}> ({
  ^bb0(%a: tensor<4xf32>, %b: tensor<4xf32>, %c: tensor<4xf32>):
    %e = "onnx.Exp"(%b) : (tensor<4xf32>) -> tensor<4xf32>
    %m = "onnx.Neg"(%e) : (tensor<4xf32>) -> tensor<4xf32>
    %w = "onnx.Exp"(%m) : (tensor<4xf32>) -> tensor<4xf32>
    %d = "onnx.Mul"(%a, %w) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
    %n = "onnx.Add"(%d, %c) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
    "onnx.Yield"(%n) : (tensor<4xf32>) -> ()
  }) : (tensor<4xf32>, tensor<3x4xf32>, tensor<3x4xf32>) -> tensor<4xf32>
  return %0 : tensor<4xf32>
}

// -----

// An outer product alone stays: all of them at once take more memory than
// their factors. So does what a state reaches.
// CHECK-LABEL: @stays
// CHECK-NOT: onnx.MatMul
// CHECK: onnx.Scan
// CHECK: onnx.MatMul
// CHECK: onnx.Tanh
func.func @stays(%s: tensor<4x4xf32>, %k: tensor<3x4x1xf32>, %v: tensor<3x1x4xf32>) -> tensor<4x4xf32> {
  %0 = "onnx.Scan"(%s, %k, %v) <{num_scan_inputs = 2 : i64}> ({
  ^bb0(%a: tensor<4x4xf32>, %b: tensor<4x1xf32>, %c: tensor<1x4xf32>):
    %kv = "onnx.MatMul"(%b, %c) : (tensor<4x1xf32>, tensor<1x4xf32>) -> tensor<4x4xf32>
    %t = "onnx.Tanh"(%a) : (tensor<4x4xf32>) -> tensor<4x4xf32>
    %n = "onnx.Add"(%t, %kv) : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
    "onnx.Yield"(%n) : (tensor<4x4xf32>) -> ()
  }) : (tensor<4x4xf32>, tensor<3x4x1xf32>, tensor<3x1x4xf32>) -> tensor<4x4xf32>
  return %0 : tensor<4x4xf32>
}

// -----

// Several matrices that all tokens share, as for the mixes of v6: the tokens are
// rows of one product with each.
// CHECK-LABEL: @matrices
// CHECK-SAME: %[[S:[a-z0-9]+]]: tensor<4xf32>, %[[X:[a-z0-9]+]]: tensor<3x5x1x2xf32>, %[[W:[a-z0-9]+]]: tensor<5x2x4xf32>
// CHECK: %[[ROWS:.*]] = "onnx.Transpose"(%[[X]]) <{perm = array<i64: 1, 0, 2, 3>}> : (tensor<3x5x1x2xf32>) -> tensor<5x3x1x2xf32>
// CHECK: %[[FLAT:.*]] = "onnx.Reshape"(%[[ROWS]], {{.*}} -> tensor<5x3x2xf32>
// CHECK: %[[ALL:.*]] = "onnx.MatMul"(%[[FLAT]], %[[W]]) : (tensor<5x3x2xf32>, tensor<5x2x4xf32>) -> tensor<5x3x4xf32>
// CHECK: %[[SPLIT:.*]] = "onnx.Reshape"(%[[ALL]], {{.*}} -> tensor<5x3x1x4xf32>
// CHECK: %[[BACK:.*]] = "onnx.Transpose"(%[[SPLIT]]) <{perm = array<i64: 1, 0, 2, 3>}> : (tensor<5x3x1x4xf32>) -> tensor<3x5x1x4xf32>
// CHECK: "onnx.Tanh"(%[[BACK]])
// CHECK: onnx.Scan
// CHECK-NOT: onnx.MatMul
func.func @matrices(%s: tensor<4xf32>, %x: tensor<3x5x1x2xf32>, %w: tensor<5x2x4xf32>) -> tensor<4xf32> {
  %axes = "onnx.Constant"() <{value = dense<[0, 1]> : tensor<2xi64>}> : () -> tensor<2xi64>
  %0 = "onnx.Scan"(%s, %x) <{num_scan_inputs = 1 : i64}> ({
  ^bb0(%a: tensor<4xf32>, %b: tensor<5x1x2xf32>):
    %m = "onnx.MatMul"(%b, %w) : (tensor<5x1x2xf32>, tensor<5x2x4xf32>) -> tensor<5x1x4xf32>
    %t = "onnx.Tanh"(%m) : (tensor<5x1x4xf32>) -> tensor<5x1x4xf32>
    %r = "onnx.ReduceSum"(%t, %axes) <{keepdims = 0 : i64, noop_with_empty_axes = 0 : i64}> : (tensor<5x1x4xf32>, tensor<2xi64>) -> tensor<4xf32>
    %n = "onnx.Mul"(%a, %r) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
    "onnx.Yield"(%n) : (tensor<4xf32>) -> ()
  }) : (tensor<4xf32>, tensor<3x5x1x2xf32>) -> tensor<4xf32>
  return %0 : tensor<4xf32>
}
