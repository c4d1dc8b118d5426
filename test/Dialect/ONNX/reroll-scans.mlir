// RUN: rwkv-opt %s --split-input-file --onnx-reroll-scans --canonicalize | FileCheck %s

// What each token adds to is the state; the last one is found as well.
// CHECK-LABEL: @running_sum
// CHECK-SAME: %[[X:[a-z0-9]+]]: tensor<3x4xf32>, %[[S:[a-z0-9]+]]: tensor<4xf32>
// CHECK: %[[SCAN:.*]]:2 = "onnx.Scan"(%[[S]], %[[X]]) <{num_scan_inputs = 1 : i64, scan_input_axes = array<i64: 0>, scan_output_axes = array<i64: 0>}>
// CHECK-NEXT: ^bb0(%[[A:.*]]: tensor<4xf32>, %[[B:.*]]: tensor<4xf32>):
// CHECK-NEXT: %[[N:.*]] = "onnx.Add"(%[[A]], %[[B]])
// CHECK: "onnx.Yield"(%[[N]], %{{.*}})
// CHECK: return %[[SCAN]]#1, %[[SCAN]]#0
func.func @running_sum(%x: tensor<3x4xf32>, %s: tensor<4xf32>) -> (tensor<3x4xf32>, tensor<4xf32>) {
  %zero = "onnx.Constant"() <{value = dense<0> : tensor<1xi64>}> : () -> tensor<1xi64>
  %i0 = "onnx.Constant"() <{value = dense<0> : tensor<i64>}> : () -> tensor<i64>
  %i1 = "onnx.Constant"() <{value = dense<1> : tensor<i64>}> : () -> tensor<i64>
  %i2 = "onnx.Constant"() <{value = dense<2> : tensor<i64>}> : () -> tensor<i64>
  %x0 = "onnx.Gather"(%x, %i0) <{axis = 0 : i64}> : (tensor<3x4xf32>, tensor<i64>) -> tensor<4xf32>
  %s0 = "onnx.Add"(%s, %x0) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %y0 = "onnx.Unsqueeze"(%s0, %zero) : (tensor<4xf32>, tensor<1xi64>) -> tensor<1x4xf32>
  %x1 = "onnx.Gather"(%x, %i1) <{axis = 0 : i64}> : (tensor<3x4xf32>, tensor<i64>) -> tensor<4xf32>
  %s1 = "onnx.Add"(%s0, %x1) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %y1 = "onnx.Unsqueeze"(%s1, %zero) : (tensor<4xf32>, tensor<1xi64>) -> tensor<1x4xf32>
  %x2 = "onnx.Gather"(%x, %i2) <{axis = 0 : i64}> : (tensor<3x4xf32>, tensor<i64>) -> tensor<4xf32>
  %s2 = "onnx.Add"(%s1, %x2) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %y2 = "onnx.Unsqueeze"(%s2, %zero) : (tensor<4xf32>, tensor<1xi64>) -> tensor<1x4xf32>
  %y = "onnx.Concat"(%y0, %y1, %y2) <{axis = 0 : i64}> : (tensor<1x4xf32>, tensor<1x4xf32>, tensor<1x4xf32>) -> tensor<3x4xf32>
  return %y, %s2 : tensor<3x4xf32>, tensor<4xf32>
}

// -----

// Tokens written one after the other into a tensor. An exporter has folded the
// product with the empty state.
// CHECK-LABEL: @folded_start
// CHECK-DAG: %[[Z:.*]] = "onnx.Constant"() <{value = dense<0.000000e+00> : tensor<4xf32>}>
// CHECK: "onnx.Scan"(%[[Z]], %{{.*}}) <{num_scan_inputs = 1 : i64
// CHECK-NEXT: ^bb0
// CHECK-NEXT: "onnx.Mul"
// CHECK-NEXT: "onnx.Add"
// CHECK-NOT: onnx.ScatterND
func.func @folded_start(%x: tensor<3x4xf32>, %w: tensor<4xf32>) -> tensor<3x4xf32> {
  %out = "onnx.Constant"() <{value = dense<0.0> : tensor<3x4xf32>}> : () -> tensor<3x4xf32>
  %zero = "onnx.Constant"() <{value = dense<0> : tensor<1xi64>}> : () -> tensor<1xi64>
  %i0 = "onnx.Constant"() <{value = dense<0> : tensor<i64>}> : () -> tensor<i64>
  %i1 = "onnx.Constant"() <{value = dense<1> : tensor<i64>}> : () -> tensor<i64>
  %i2 = "onnx.Constant"() <{value = dense<2> : tensor<i64>}> : () -> tensor<i64>
  %s0 = "onnx.Gather"(%x, %i0) <{axis = 0 : i64}> : (tensor<3x4xf32>, tensor<i64>) -> tensor<4xf32>
  %y0 = "onnx.Unsqueeze"(%s0, %zero) : (tensor<4xf32>, tensor<1xi64>) -> tensor<1x4xf32>
  %at0 = "onnx.Constant"() <{value = dense<0> : tensor<1x1xi64>}> : () -> tensor<1x1xi64>
  %o0 = "onnx.ScatterND"(%out, %at0, %y0) <{reduction = "none"}> : (tensor<3x4xf32>, tensor<1x1xi64>, tensor<1x4xf32>) -> tensor<3x4xf32>
  %x1 = "onnx.Gather"(%x, %i1) <{axis = 0 : i64}> : (tensor<3x4xf32>, tensor<i64>) -> tensor<4xf32>
  %d1 = "onnx.Mul"(%s0, %w) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %s1 = "onnx.Add"(%d1, %x1) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %y1 = "onnx.Unsqueeze"(%s1, %zero) : (tensor<4xf32>, tensor<1xi64>) -> tensor<1x4xf32>
  %at1 = "onnx.Constant"() <{value = dense<1> : tensor<1x1xi64>}> : () -> tensor<1x1xi64>
  %o1 = "onnx.ScatterND"(%o0, %at1, %y1) <{reduction = "none"}> : (tensor<3x4xf32>, tensor<1x1xi64>, tensor<1x4xf32>) -> tensor<3x4xf32>
  %x2 = "onnx.Gather"(%x, %i2) <{axis = 0 : i64}> : (tensor<3x4xf32>, tensor<i64>) -> tensor<4xf32>
  %d2 = "onnx.Mul"(%s1, %w) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %s2 = "onnx.Add"(%d2, %x2) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %y2 = "onnx.Unsqueeze"(%s2, %zero) : (tensor<4xf32>, tensor<1xi64>) -> tensor<1x4xf32>
  %at2 = "onnx.Constant"() <{value = dense<2> : tensor<1x1xi64>}> : () -> tensor<1x1xi64>
  %o2 = "onnx.ScatterND"(%o1, %at2, %y2) <{reduction = "none"}> : (tensor<3x4xf32>, tensor<1x1xi64>, tensor<1x4xf32>) -> tensor<3x4xf32>
  return %o2 : tensor<3x4xf32>
}

// -----

// The first token is not what the others do with an empty state.
// CHECK-LABEL: @other_start
// CHECK-NOT: onnx.Scan
func.func @other_start(%x: tensor<3x4xf32>, %w: tensor<4xf32>) -> tensor<3x4xf32> {
  %out = "onnx.Constant"() <{value = dense<0.0> : tensor<3x4xf32>}> : () -> tensor<3x4xf32>
  %zero = "onnx.Constant"() <{value = dense<0> : tensor<1xi64>}> : () -> tensor<1xi64>
  %i0 = "onnx.Constant"() <{value = dense<0> : tensor<i64>}> : () -> tensor<i64>
  %i1 = "onnx.Constant"() <{value = dense<1> : tensor<i64>}> : () -> tensor<i64>
  %i2 = "onnx.Constant"() <{value = dense<2> : tensor<i64>}> : () -> tensor<i64>
  %x0 = "onnx.Gather"(%x, %i0) <{axis = 0 : i64}> : (tensor<3x4xf32>, tensor<i64>) -> tensor<4xf32>
  %s0 = "onnx.Add"(%x0, %w) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %y0 = "onnx.Unsqueeze"(%s0, %zero) : (tensor<4xf32>, tensor<1xi64>) -> tensor<1x4xf32>
  %at0 = "onnx.Constant"() <{value = dense<0> : tensor<1x1xi64>}> : () -> tensor<1x1xi64>
  %o0 = "onnx.ScatterND"(%out, %at0, %y0) <{reduction = "none"}> : (tensor<3x4xf32>, tensor<1x1xi64>, tensor<1x4xf32>) -> tensor<3x4xf32>
  %x1 = "onnx.Gather"(%x, %i1) <{axis = 0 : i64}> : (tensor<3x4xf32>, tensor<i64>) -> tensor<4xf32>
  %d1 = "onnx.Mul"(%s0, %w) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %s1 = "onnx.Add"(%d1, %x1) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %y1 = "onnx.Unsqueeze"(%s1, %zero) : (tensor<4xf32>, tensor<1xi64>) -> tensor<1x4xf32>
  %at1 = "onnx.Constant"() <{value = dense<1> : tensor<1x1xi64>}> : () -> tensor<1x1xi64>
  %o1 = "onnx.ScatterND"(%o0, %at1, %y1) <{reduction = "none"}> : (tensor<3x4xf32>, tensor<1x1xi64>, tensor<1x4xf32>) -> tensor<3x4xf32>
  %x2 = "onnx.Gather"(%x, %i2) <{axis = 0 : i64}> : (tensor<3x4xf32>, tensor<i64>) -> tensor<4xf32>
  %d2 = "onnx.Mul"(%s1, %w) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %s2 = "onnx.Add"(%d2, %x2) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %y2 = "onnx.Unsqueeze"(%s2, %zero) : (tensor<4xf32>, tensor<1xi64>) -> tensor<1x4xf32>
  %at2 = "onnx.Constant"() <{value = dense<2> : tensor<1x1xi64>}> : () -> tensor<1x1xi64>
  %o2 = "onnx.ScatterND"(%o1, %at2, %y2) <{reduction = "none"}> : (tensor<3x4xf32>, tensor<1x1xi64>, tensor<1x4xf32>) -> tensor<3x4xf32>
  return %o2 : tensor<3x4xf32>
}

// -----

// The token before: no state, but a shifted input.
// CHECK-LABEL: @shifted
// CHECK-SAME: %[[X:[a-z0-9]+]]: tensor<3x4xf32>, %[[S:[a-z0-9]+]]: tensor<4xf32>
// CHECK-DAG: %[[FIRST:.*]] = "onnx.Reshape"(%[[S]],
// CHECK-DAG: %[[REST:.*]] = "onnx.Slice"(%[[X]], {{.*}} -> tensor<2x4xf32>
// CHECK: %[[OLD:.*]] = "onnx.Concat"(%[[FIRST]], %[[REST]])
// CHECK: "onnx.Scan"(%[[OLD]], %[[X]]) <{num_scan_inputs = 2
func.func @shifted(%x: tensor<3x4xf32>, %s: tensor<4xf32>) -> tensor<3x4xf32> {
  %zero = "onnx.Constant"() <{value = dense<0> : tensor<1xi64>}> : () -> tensor<1xi64>
  %i0 = "onnx.Constant"() <{value = dense<0> : tensor<i64>}> : () -> tensor<i64>
  %i1 = "onnx.Constant"() <{value = dense<1> : tensor<i64>}> : () -> tensor<i64>
  %i2 = "onnx.Constant"() <{value = dense<2> : tensor<i64>}> : () -> tensor<i64>
  %x0 = "onnx.Gather"(%x, %i0) <{axis = 0 : i64}> : (tensor<3x4xf32>, tensor<i64>) -> tensor<4xf32>
  %x1 = "onnx.Gather"(%x, %i1) <{axis = 0 : i64}> : (tensor<3x4xf32>, tensor<i64>) -> tensor<4xf32>
  %x2 = "onnx.Gather"(%x, %i2) <{axis = 0 : i64}> : (tensor<3x4xf32>, tensor<i64>) -> tensor<4xf32>
  %d0 = "onnx.Sub"(%s, %x0) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %y0 = "onnx.Unsqueeze"(%d0, %zero) : (tensor<4xf32>, tensor<1xi64>) -> tensor<1x4xf32>
  %d1 = "onnx.Sub"(%x0, %x1) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %y1 = "onnx.Unsqueeze"(%d1, %zero) : (tensor<4xf32>, tensor<1xi64>) -> tensor<1x4xf32>
  %d2 = "onnx.Sub"(%x1, %x2) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %y2 = "onnx.Unsqueeze"(%d2, %zero) : (tensor<4xf32>, tensor<1xi64>) -> tensor<1x4xf32>
  %y = "onnx.Concat"(%y0, %y1, %y2) <{axis = 0 : i64}> : (tensor<1x4xf32>, tensor<1x4xf32>, tensor<1x4xf32>) -> tensor<3x4xf32>
  return %y : tensor<3x4xf32>
}

// -----

// Tokens that do not depend on each other are left to others.
// CHECK-LABEL: @independent
// CHECK-NOT: onnx.Scan
func.func @independent(%x: tensor<3x4xf32>, %w: tensor<4xf32>) -> tensor<3x4xf32> {
  %zero = "onnx.Constant"() <{value = dense<0> : tensor<1xi64>}> : () -> tensor<1xi64>
  %i0 = "onnx.Constant"() <{value = dense<0> : tensor<i64>}> : () -> tensor<i64>
  %i1 = "onnx.Constant"() <{value = dense<1> : tensor<i64>}> : () -> tensor<i64>
  %i2 = "onnx.Constant"() <{value = dense<2> : tensor<i64>}> : () -> tensor<i64>
  %x0 = "onnx.Gather"(%x, %i0) <{axis = 0 : i64}> : (tensor<3x4xf32>, tensor<i64>) -> tensor<4xf32>
  %d0 = "onnx.Mul"(%x0, %w) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %y0 = "onnx.Unsqueeze"(%d0, %zero) : (tensor<4xf32>, tensor<1xi64>) -> tensor<1x4xf32>
  %x1 = "onnx.Gather"(%x, %i1) <{axis = 0 : i64}> : (tensor<3x4xf32>, tensor<i64>) -> tensor<4xf32>
  %d1 = "onnx.Mul"(%x1, %w) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %y1 = "onnx.Unsqueeze"(%d1, %zero) : (tensor<4xf32>, tensor<1xi64>) -> tensor<1x4xf32>
  %x2 = "onnx.Gather"(%x, %i2) <{axis = 0 : i64}> : (tensor<3x4xf32>, tensor<i64>) -> tensor<4xf32>
  %d2 = "onnx.Mul"(%x2, %w) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %y2 = "onnx.Unsqueeze"(%d2, %zero) : (tensor<4xf32>, tensor<1xi64>) -> tensor<1x4xf32>
  %y = "onnx.Concat"(%y0, %y1, %y2) <{axis = 0 : i64}> : (tensor<1x4xf32>, tensor<1x4xf32>, tensor<1x4xf32>) -> tensor<3x4xf32>
  return %y : tensor<3x4xf32>
}

// -----

// One token that does something else.
// CHECK-LABEL: @different
// CHECK-NOT: onnx.Scan
func.func @different(%x: tensor<3x4xf32>, %s: tensor<4xf32>) -> tensor<3x4xf32> {
  %zero = "onnx.Constant"() <{value = dense<0> : tensor<1xi64>}> : () -> tensor<1xi64>
  %i0 = "onnx.Constant"() <{value = dense<0> : tensor<i64>}> : () -> tensor<i64>
  %i1 = "onnx.Constant"() <{value = dense<1> : tensor<i64>}> : () -> tensor<i64>
  %i2 = "onnx.Constant"() <{value = dense<2> : tensor<i64>}> : () -> tensor<i64>
  %x0 = "onnx.Gather"(%x, %i0) <{axis = 0 : i64}> : (tensor<3x4xf32>, tensor<i64>) -> tensor<4xf32>
  %s0 = "onnx.Add"(%s, %x0) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %y0 = "onnx.Unsqueeze"(%s0, %zero) : (tensor<4xf32>, tensor<1xi64>) -> tensor<1x4xf32>
  %x1 = "onnx.Gather"(%x, %i1) <{axis = 0 : i64}> : (tensor<3x4xf32>, tensor<i64>) -> tensor<4xf32>
  %s1 = "onnx.Add"(%s0, %x1) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %y1 = "onnx.Unsqueeze"(%s1, %zero) : (tensor<4xf32>, tensor<1xi64>) -> tensor<1x4xf32>
  %x2 = "onnx.Gather"(%x, %i2) <{axis = 0 : i64}> : (tensor<3x4xf32>, tensor<i64>) -> tensor<4xf32>
  %s2 = "onnx.Sub"(%s1, %x2) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %y2 = "onnx.Unsqueeze"(%s2, %zero) : (tensor<4xf32>, tensor<1xi64>) -> tensor<1x4xf32>
  %y = "onnx.Concat"(%y0, %y1, %y2) <{axis = 0 : i64}> : (tensor<1x4xf32>, tensor<1x4xf32>, tensor<1x4xf32>) -> tensor<3x4xf32>
  return %y : tensor<3x4xf32>
}

// -----

// Layers look alike, but each has its own weights: no loop over them.
// CHECK-LABEL: @layers
// CHECK-NOT: onnx.Scan
func.func @layers(%h: tensor<4xf32>, %state: tensor<3x4xf32>) -> tensor<3x4xf32> {
  %zero = "onnx.Constant"() <{value = dense<0> : tensor<1xi64>}> : () -> tensor<1xi64>
  %i0 = "onnx.Constant"() <{value = dense<0> : tensor<i64>}> : () -> tensor<i64>
  %i1 = "onnx.Constant"() <{value = dense<1> : tensor<i64>}> : () -> tensor<i64>
  %i2 = "onnx.Constant"() <{value = dense<2> : tensor<i64>}> : () -> tensor<i64>
  %w0 = "onnx.Constant"() <{value = dense<[0.0, 1.0, 2.0, 3.0]> : tensor<4xf32>}> : () -> tensor<4xf32>
  %x0 = "onnx.Gather"(%state, %i0) <{axis = 0 : i64}> : (tensor<3x4xf32>, tensor<i64>) -> tensor<4xf32>
  %p0 = "onnx.Mul"(%h, %w0) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %s0 = "onnx.Add"(%p0, %x0) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %y0 = "onnx.Unsqueeze"(%s0, %zero) : (tensor<4xf32>, tensor<1xi64>) -> tensor<1x4xf32>
  %w1 = "onnx.Constant"() <{value = dense<[1.0, 1.0, 2.0, 3.0]> : tensor<4xf32>}> : () -> tensor<4xf32>
  %x1 = "onnx.Gather"(%state, %i1) <{axis = 0 : i64}> : (tensor<3x4xf32>, tensor<i64>) -> tensor<4xf32>
  %p1 = "onnx.Mul"(%s0, %w1) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %s1 = "onnx.Add"(%p1, %x1) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %y1 = "onnx.Unsqueeze"(%s1, %zero) : (tensor<4xf32>, tensor<1xi64>) -> tensor<1x4xf32>
  %w2 = "onnx.Constant"() <{value = dense<[2.0, 1.0, 2.0, 3.0]> : tensor<4xf32>}> : () -> tensor<4xf32>
  %x2 = "onnx.Gather"(%state, %i2) <{axis = 0 : i64}> : (tensor<3x4xf32>, tensor<i64>) -> tensor<4xf32>
  %p2 = "onnx.Mul"(%s1, %w2) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %s2 = "onnx.Add"(%p2, %x2) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %y2 = "onnx.Unsqueeze"(%s2, %zero) : (tensor<4xf32>, tensor<1xi64>) -> tensor<1x4xf32>
  %y = "onnx.Concat"(%y0, %y1, %y2) <{axis = 0 : i64}> : (tensor<1x4xf32>, tensor<1x4xf32>, tensor<1x4xf32>) -> tensor<3x4xf32>
  return %y : tensor<3x4xf32>
}

// -----

// Two tokens are no evidence.
// CHECK-LABEL: @two
// CHECK-NOT: onnx.Scan
func.func @two(%x: tensor<2x4xf32>, %s: tensor<4xf32>) -> tensor<2x4xf32> {
  %zero = "onnx.Constant"() <{value = dense<0> : tensor<1xi64>}> : () -> tensor<1xi64>
  %i0 = "onnx.Constant"() <{value = dense<0> : tensor<i64>}> : () -> tensor<i64>
  %i1 = "onnx.Constant"() <{value = dense<1> : tensor<i64>}> : () -> tensor<i64>
  %x0 = "onnx.Gather"(%x, %i0) <{axis = 0 : i64}> : (tensor<2x4xf32>, tensor<i64>) -> tensor<4xf32>
  %s0 = "onnx.Add"(%s, %x0) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %y0 = "onnx.Unsqueeze"(%s0, %zero) : (tensor<4xf32>, tensor<1xi64>) -> tensor<1x4xf32>
  %x1 = "onnx.Gather"(%x, %i1) <{axis = 0 : i64}> : (tensor<2x4xf32>, tensor<i64>) -> tensor<4xf32>
  %s1 = "onnx.Add"(%s0, %x1) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %y1 = "onnx.Unsqueeze"(%s1, %zero) : (tensor<4xf32>, tensor<1xi64>) -> tensor<1x4xf32>
  %y = "onnx.Concat"(%y0, %y1) <{axis = 0 : i64}> : (tensor<1x4xf32>, tensor<1x4xf32>) -> tensor<2x4xf32>
  return %y : tensor<2x4xf32>
}

// -----

// What the tokens read needs the final state itself: that one is computed apart.
// CHECK-LABEL: @total
// CHECK: onnx.Scan
// CHECK: return
func.func @total(%x: tensor<3x4xf32>, %s: tensor<4xf32>) -> tensor<3x4xf32> {
  %zero = "onnx.Constant"() <{value = dense<0> : tensor<1xi64>}> : () -> tensor<1xi64>
  %i0 = "onnx.Constant"() <{value = dense<0> : tensor<i64>}> : () -> tensor<i64>
  %i1 = "onnx.Constant"() <{value = dense<1> : tensor<i64>}> : () -> tensor<i64>
  %i2 = "onnx.Constant"() <{value = dense<2> : tensor<i64>}> : () -> tensor<i64>
  %x0 = "onnx.Gather"(%x, %i0) <{axis = 0 : i64}> : (tensor<3x4xf32>, tensor<i64>) -> tensor<4xf32>
  %s0 = "onnx.Add"(%s, %x0) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %x1 = "onnx.Gather"(%x, %i1) <{axis = 0 : i64}> : (tensor<3x4xf32>, tensor<i64>) -> tensor<4xf32>
  %s1 = "onnx.Add"(%s0, %x1) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %x2 = "onnx.Gather"(%x, %i2) <{axis = 0 : i64}> : (tensor<3x4xf32>, tensor<i64>) -> tensor<4xf32>
  %s2 = "onnx.Add"(%s1, %x2) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %z = "onnx.Mul"(%x, %s2) : (tensor<3x4xf32>, tensor<4xf32>) -> tensor<3x4xf32>
  %z0 = "onnx.Gather"(%z, %i0) <{axis = 0 : i64}> : (tensor<3x4xf32>, tensor<i64>) -> tensor<4xf32>
  %d0 = "onnx.Sub"(%s0, %z0) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %y0 = "onnx.Unsqueeze"(%d0, %zero) : (tensor<4xf32>, tensor<1xi64>) -> tensor<1x4xf32>
  %z1 = "onnx.Gather"(%z, %i1) <{axis = 0 : i64}> : (tensor<3x4xf32>, tensor<i64>) -> tensor<4xf32>
  %d1 = "onnx.Sub"(%s1, %z1) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %y1 = "onnx.Unsqueeze"(%d1, %zero) : (tensor<4xf32>, tensor<1xi64>) -> tensor<1x4xf32>
  %z2 = "onnx.Gather"(%z, %i2) <{axis = 0 : i64}> : (tensor<3x4xf32>, tensor<i64>) -> tensor<4xf32>
  %d2 = "onnx.Sub"(%s2, %z2) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %y2 = "onnx.Unsqueeze"(%d2, %zero) : (tensor<4xf32>, tensor<1xi64>) -> tensor<1x4xf32>
  %y = "onnx.Concat"(%y0, %y1, %y2) <{axis = 0 : i64}> : (tensor<1x4xf32>, tensor<1x4xf32>, tensor<1x4xf32>) -> tensor<3x4xf32>
  return %y : tensor<3x4xf32>
}
