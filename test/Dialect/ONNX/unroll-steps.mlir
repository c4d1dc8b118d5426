// RUN: rwkv-opt %s --split-input-file --onnx-unroll-steps --canonicalize | FileCheck %s
// RUN: rwkv-opt %s --split-input-file --onnx-unroll-steps --onnx-reroll-scans --canonicalize | FileCheck %s --check-prefix=TOKENS

// Two tokens in each step, one by the number of the step and one of a pair.
// CHECK-LABEL: @pairs
// CHECK-SAME: %[[S:[a-z0-9]+]]: tensor<4xf32>, %[[P:[a-z0-9]+]]: tensor<3x2x4xf32>, %[[X:[a-z0-9]+]]: tensor<6x4xf32>
// CHECK-NOT: onnx.Scan
// CHECK: %[[ALL:.*]] = "onnx.Reshape"(%[[P]], {{.*}} -> tensor<6x4xf32>
// CHECK: %[[P0:.*]] = "onnx.Gather"(%[[ALL]]
// CHECK: %[[Q0:.*]] = "onnx.Gather"(%[[X]]
// CHECK: %[[K0:.*]] = "onnx.Mul"(%[[P0]], %[[Q0]])
// CHECK: %[[N0:.*]] = "onnx.Add"(%[[S]], %[[K0]])
// CHECK: %[[N1:.*]] = "onnx.Add"(%[[N0]],
// CHECK: onnx.Concat
// CHECK-SAME: tensor<6x4xf32>
// TOKENS-LABEL: @pairs
// TOKENS: %[[R:.*]]:2 = "onnx.Scan"(%{{.*}}, %{{.*}}, %{{.*}}) <{num_scan_inputs = 2 : i64
// TOKENS-NEXT: ^bb0
// TOKENS-NEXT: "onnx.Mul"
// TOKENS-NEXT: "onnx.Add"
// TOKENS-NOT: onnx.Add
// TOKENS: return %[[R]]#0, %[[R]]#1 : tensor<4xf32>, tensor<6x4xf32>
func.func @pairs(%s: tensor<4xf32>, %p: tensor<3x2x4xf32>, %x: tensor<6x4xf32>) -> (tensor<4xf32>, tensor<6x4xf32>) {
  %steps = "onnx.Constant"() <{value = dense<[0, 1, 2]> : tensor<3xi64>}> : () -> tensor<3xi64>
  %zero = "onnx.Constant"() <{value = dense<0> : tensor<i64>}> : () -> tensor<i64>
  %one = "onnx.Constant"() <{value = dense<1> : tensor<i64>}> : () -> tensor<i64>
  %two = "onnx.Constant"() <{value = dense<2> : tensor<i64>}> : () -> tensor<i64>
  %first = "onnx.Constant"() <{value = dense<0> : tensor<1xi64>}> : () -> tensor<1xi64>
  %shape = "onnx.Constant"() <{value = dense<[6, 4]> : tensor<2xi64>}> : () -> tensor<2xi64>
  %0:2 = "onnx.Scan"(%s, %p, %steps) <{num_scan_inputs = 2 : i64}> ({
  ^bb0(%a: tensor<4xf32>, %pair: tensor<2x4xf32>, %i: tensor<i64>):
    %i0 = "onnx.Mul"(%i, %two) : (tensor<i64>, tensor<i64>) -> tensor<i64>
    %i1 = "onnx.Add"(%i0, %one) : (tensor<i64>, tensor<i64>) -> tensor<i64>
    %p0 = "onnx.Gather"(%pair, %zero) <{axis = 0 : i64}> : (tensor<2x4xf32>, tensor<i64>) -> tensor<4xf32>
    %q0 = "onnx.Gather"(%x, %i0) <{axis = 0 : i64}> : (tensor<6x4xf32>, tensor<i64>) -> tensor<4xf32>
    %k0 = "onnx.Mul"(%p0, %q0) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
    %n0 = "onnx.Add"(%a, %k0) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
    %p1 = "onnx.Gather"(%pair, %one) <{axis = 0 : i64}> : (tensor<2x4xf32>, tensor<i64>) -> tensor<4xf32>
    %q1 = "onnx.Gather"(%x, %i1) <{axis = 0 : i64}> : (tensor<6x4xf32>, tensor<i64>) -> tensor<4xf32>
    %k1 = "onnx.Mul"(%p1, %q1) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
    %n1 = "onnx.Add"(%n0, %k1) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
    %r0 = "onnx.Unsqueeze"(%n0, %first) : (tensor<4xf32>, tensor<1xi64>) -> tensor<1x4xf32>
    %r1 = "onnx.Unsqueeze"(%n1, %first) : (tensor<4xf32>, tensor<1xi64>) -> tensor<1x4xf32>
    %rows = "onnx.Concat"(%r0, %r1) <{axis = 0 : i64}> : (tensor<1x4xf32>, tensor<1x4xf32>) -> tensor<2x4xf32>
    "onnx.Yield"(%n1, %rows) : (tensor<4xf32>, tensor<2x4xf32>) -> ()
  }) : (tensor<4xf32>, tensor<3x2x4xf32>, tensor<3xi64>) -> (tensor<4xf32>, tensor<3x2x4xf32>)
  %y = "onnx.Reshape"(%0#1, %shape) : (tensor<3x2x4xf32>, tensor<2xi64>) -> tensor<6x4xf32>
  return %0#0, %y : tensor<4xf32>, tensor<6x4xf32>
}

// -----

// The two pieces are not computed alike.
// CHECK-LABEL: @differ
// CHECK: onnx.Scan
// CHECK: onnx.Exp
// CHECK-NOT: onnx.Exp
// CHECK: return
func.func @differ(%s: tensor<4xf32>, %p: tensor<3x4xf32>) -> (tensor<4xf32>, tensor<3x2x4xf32>) {
  %first = "onnx.Constant"() <{value = dense<0> : tensor<1xi64>}> : () -> tensor<1xi64>
  %0:2 = "onnx.Scan"(%s, %p) <{num_scan_inputs = 1 : i64}> ({
  ^bb0(%a: tensor<4xf32>, %x: tensor<4xf32>):
    %n = "onnx.Add"(%a, %x) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
    %e = "onnx.Exp"(%n) : (tensor<4xf32>) -> tensor<4xf32>
    %r0 = "onnx.Unsqueeze"(%n, %first) : (tensor<4xf32>, tensor<1xi64>) -> tensor<1x4xf32>
    %r1 = "onnx.Unsqueeze"(%e, %first) : (tensor<4xf32>, tensor<1xi64>) -> tensor<1x4xf32>
    %rows = "onnx.Concat"(%r0, %r1) <{axis = 0 : i64}> : (tensor<1x4xf32>, tensor<1x4xf32>) -> tensor<2x4xf32>
    "onnx.Yield"(%n, %rows) : (tensor<4xf32>, tensor<2x4xf32>) -> ()
  }) : (tensor<4xf32>, tensor<3x4xf32>) -> (tensor<4xf32>, tensor<3x2x4xf32>)
  return %0#0, %0#1 : tensor<4xf32>, tensor<3x2x4xf32>
}
