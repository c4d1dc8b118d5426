// RUN: rwkv-opt %s --split-input-file --verify-diagnostics --wkv-raise-custom-ops --canonicalize | FileCheck %s

// The exporter's shapes: rows of [T, H, N], a state with a leading axis.
// CHECK-LABEL: @wkv6
// CHECK: %[[B:.*]] = "onnx.Reshape"(%arg4, {{.*}} -> tensor<2x4xf32>
// CHECK: %[[Y:.*]], %[[S:.*]] = wkv.wkv6 receptance({{.*}}) key({{.*}}) value({{.*}}) decay({{.*}}) bonus({{.*}}) init({{.*}}) state(%arg3) : (tensor<1x3x2x4xf32>, {{.*}}) -> (tensor<1x3x2x4xf32>, tensor<1x2x4x4xf32>)
// CHECK: %[[R:.*]] = "onnx.Reshape"(%[[Y]], {{.*}} -> tensor<3x2x1x4xf32>
// CHECK: return %[[R]], %[[S]]
func.func @wkv6(%k: tensor<3x2x4xf32>, %v: tensor<3x2x4xf32>, %r: tensor<6x4xf32>, %s: tensor<1x2x4x4xf32>, %u: tensor<2x4x1xf32>, %w: tensor<3x2x4x1xf32>) -> (tensor<3x2x1x4xf32>, tensor<1x2x4x4xf32>) {
  %y, %n = "onnx.Custom"(%k, %v, %r, %s, %u, %w) <{domain = "rwkv", op_type = "wkv6", attrs = {}}> : (tensor<3x2x4xf32>, tensor<3x2x4xf32>, tensor<6x4xf32>, tensor<1x2x4x4xf32>, tensor<2x4x1xf32>, tensor<3x2x4x1xf32>) -> (tensor<3x2x1x4xf32>, tensor<1x2x4x4xf32>)
  return %y, %n : tensor<3x2x1x4xf32>, tensor<1x2x4x4xf32>
}

// -----

// Output and state in one tensor, taken apart by nodes: neither is built.
// CHECK-LABEL: @packed
// CHECK: %[[Y:.*]], %[[S:.*]] = wkv.wkv7
// CHECK-NOT: onnx.Concat
// CHECK-NOT: onnx.Slice
// CHECK: %[[R:.*]] = "onnx.Reshape"(%[[Y]]
// CHECK: return %[[R]], %[[S]]
func.func @packed(%x: tensor<3x2x4xf32>, %s: tensor<1x2x4x4xf32>) -> (tensor<3x2x1x4xf32>, tensor<1x2x4x4xf32>) {
  %p = "onnx.Custom"(%x, %x, %x, %x, %x, %x, %s) <{domain = "rwkv", op_type = "wkv7", attrs = {}}> : (tensor<3x2x4xf32>, tensor<3x2x4xf32>, tensor<3x2x4xf32>, tensor<3x2x4xf32>, tensor<3x2x4xf32>, tensor<3x2x4xf32>, tensor<1x2x4x4xf32>) -> tensor<1x2x7x4xf32>
  %y = "onnx.Custom"(%p) <{domain = "rwkv", op_type = "wkv7_output_x", attrs = {}}> : (tensor<1x2x7x4xf32>) -> tensor<3x2x1x4xf32>
  %n = "onnx.Custom"(%p) <{domain = "rwkv", op_type = "wkv7_output_state", attrs = {}}> : (tensor<1x2x7x4xf32>) -> tensor<1x2x4x4xf32>
  return %y, %n : tensor<3x2x1x4xf32>, tensor<1x2x4x4xf32>
}

// -----

// Recurrences are computed in float32.
// CHECK-LABEL: @half
// CHECK: wkv.wkv6 {{.*}} -> (tensor<1x1x2x4xf32>, tensor<1x2x4x4xf32>)
// CHECK: "onnx.Cast"{{.*}} -> tensor<1x2x4x4xf16>
func.func @half(%x: tensor<1x2x4xf16>, %s: tensor<1x2x4x4xf16>, %u: tensor<2x4xf16>) -> (tensor<1x2x1x4xf16>, tensor<1x2x4x4xf16>) {
  %y, %n = "onnx.Custom"(%x, %x, %x, %s, %u, %x) <{domain = "rwkv", op_type = "wkv6", attrs = {}}> : (tensor<1x2x4xf16>, tensor<1x2x4xf16>, tensor<1x2x4xf16>, tensor<1x2x4x4xf16>, tensor<2x4xf16>, tensor<1x2x4xf16>) -> (tensor<1x2x1x4xf16>, tensor<1x2x4x4xf16>)
  return %y, %n : tensor<1x2x1x4xf16>, tensor<1x2x4x4xf16>
}

// -----

// Neither another operator of the domain nor another number of operands.
// CHECK-LABEL: @others
// CHECK-COUNT-2: onnx.Custom
func.func @others(%x: tensor<1x2x4xf32>) -> (tensor<1x2x4xf32>, tensor<1x2x4xf32>) {
  %y = "onnx.Custom"(%x) <{domain = "rwkv", op_type = "wkv6", attrs = {}}> : (tensor<1x2x4xf32>) -> tensor<1x2x4xf32>
  %z = "onnx.Custom"(%x) <{domain = "rwkv", op_type = "norm", attrs = {}}> : (tensor<1x2x4xf32>) -> tensor<1x2x4xf32>
  return %y, %z : tensor<1x2x4xf32>, tensor<1x2x4xf32>
}

// -----

func.func @operand(%x: tensor<3x2x4xf32>, %w: tensor<3x4x2xf32>, %s: tensor<1x2x4x4xf32>, %u: tensor<2x4xf32>) -> tensor<3x2x1x4xf32> {
  // expected-error @+1 {{operator 'wkv6' of domain 'rwkv': operand 'decay' has shape [3, 4, 2], expected [B=1, T=3, H=2, K=4] or [H=2, K=4] or [H=2] or the same with axes merged or split, by the registry of custom ops}}
  %y, %n = "onnx.Custom"(%x, %x, %x, %s, %u, %w) <{domain = "rwkv", op_type = "wkv6", attrs = {}}> : (tensor<3x2x4xf32>, tensor<3x2x4xf32>, tensor<3x2x4xf32>, tensor<1x2x4x4xf32>, tensor<2x4xf32>, tensor<3x4x2xf32>) -> (tensor<3x2x1x4xf32>, tensor<1x2x4x4xf32>)
  return %y : tensor<3x2x1x4xf32>
}

// -----

func.func @result(%x: tensor<3x2x4xf32>, %s: tensor<1x2x4x4xf32>, %u: tensor<2x4xf32>) -> tensor<3x2x2x4xf32> {
  // expected-error @+1 {{result 'output' has shape [3, 2, 2, 4]}}
  %y, %n = "onnx.Custom"(%x, %x, %x, %s, %u, %x) <{domain = "rwkv", op_type = "wkv6", attrs = {}}> : (tensor<3x2x4xf32>, tensor<3x2x4xf32>, tensor<3x2x4xf32>, tensor<1x2x4x4xf32>, tensor<2x4xf32>, tensor<3x2x4xf32>) -> (tensor<3x2x2x4xf32>, tensor<1x2x4x4xf32>)
  return %y : tensor<3x2x2x4xf32>
}

// -----

func.func @unknown(%x: tensor<?x2x4xf32>, %s: tensor<1x2x4x4xf32>, %u: tensor<2x4xf32>) -> tensor<3x2x1x4xf32> {
  // expected-error @+1 {{operand 'key' must be a float tensor of known shape}}
  %y, %n = "onnx.Custom"(%x, %x, %x, %s, %u, %x) <{domain = "rwkv", op_type = "wkv6", attrs = {}}> : (tensor<?x2x4xf32>, tensor<?x2x4xf32>, tensor<?x2x4xf32>, tensor<1x2x4x4xf32>, tensor<2x4xf32>, tensor<?x2x4xf32>) -> (tensor<3x2x1x4xf32>, tensor<1x2x4x4xf32>)
  return %y : tensor<3x2x1x4xf32>
}

// -----

func.func @packed_operand(%p: tensor<1x2x4x4xf32>) -> tensor<3x2x1x4xf32> {
  // expected-error @+1 {{operand 'packed' has shape [1, 2, 4, 4], expected [H, T+V, K] or [B, H, T+V, K] with V = K and at least one token}}
  %y = "onnx.Custom"(%p) <{domain = "rwkv", op_type = "wkv7_output_x", attrs = {}}> : (tensor<1x2x4x4xf32>) -> tensor<3x2x1x4xf32>
  return %y : tensor<3x2x1x4xf32>
}
