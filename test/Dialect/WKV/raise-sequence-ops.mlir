// RUN: rwkv-opt %s --wkv-raise-sequence-ops --canonicalize | FileCheck %s

// The operator reads the new state: the receptance takes the decay, the present token is added.
// CHECK-LABEL: @gated
// CHECK: %[[D:.*]] = "onnx.Exp"
// CHECK: %[[R:.*]] = "onnx.Mul"(%{{.*}}, %[[D]])
// CHECK: wkv.wkv6 receptance(%[[R]]) {{.*}} decay(%[[D]])
// CHECK: onnx.ReduceSum
func.func @gated(%q: tensor<1x3x8xf32>, %s: tensor<1x2x4x4xf32>, %g: tensor<1x3x8xf32>) -> (tensor<1x3x8xf32>, tensor<1x2x4x4xf32>) {
  %n = "onnx.NoValue"() : () -> none
  %y, %p = "onnx.LinearAttention"(%q, %q, %q, %s, %g, %n) <{kv_num_heads = 2 : i64, q_num_heads = 2 : i64, update_rule = "gated"}> : (tensor<1x3x8xf32>, tensor<1x3x8xf32>, tensor<1x3x8xf32>, tensor<1x2x4x4xf32>, tensor<1x3x8xf32>, none) -> (tensor<1x3x8xf32>, tensor<1x2x4x4xf32>)
  return %y, %p : tensor<1x3x8xf32>, tensor<1x2x4x4xf32>
}

// CHECK-LABEL: @gated_delta
// CHECK: "onnx.Transpose"(%arg1) <{perm = array<i64: 0, 1, 3, 2>}>
// CHECK: wkv.wkv7
// CHECK: onnx.Transpose
func.func @gated_delta(%q: tensor<1x3x8xf32>, %s: tensor<1x2x4x4xf32>, %g: tensor<1x3x2xf32>) -> (tensor<1x3x8xf32>, tensor<1x2x4x4xf32>) {
  %y, %p = "onnx.LinearAttention"(%q, %q, %q, %s, %g, %g) <{kv_num_heads = 2 : i64, q_num_heads = 2 : i64}> : (tensor<1x3x8xf32>, tensor<1x3x8xf32>, tensor<1x3x8xf32>, tensor<1x2x4x4xf32>, tensor<1x3x2xf32>, tensor<1x3x2xf32>) -> (tensor<1x3x8xf32>, tensor<1x2x4x4xf32>)
  return %y, %p : tensor<1x3x8xf32>, tensor<1x2x4x4xf32>
}

// A gated rule without a decay is none: it stays, to be refused with its name.
// CHECK-LABEL: @no_decay
// CHECK: onnx.LinearAttention
func.func @no_decay(%q: tensor<1x3x8xf32>) -> tensor<1x3x8xf32> {
  %n = "onnx.NoValue"() : () -> none
  %y, %p = "onnx.LinearAttention"(%q, %q, %q, %n, %n, %n) <{kv_num_heads = 2 : i64, q_num_heads = 2 : i64, update_rule = "gated"}> : (tensor<1x3x8xf32>, tensor<1x3x8xf32>, tensor<1x3x8xf32>, none, none, none) -> (tensor<1x3x8xf32>, tensor<1x2x4x4xf32>)
  return %y : tensor<1x3x8xf32>
}

// CHECK-LABEL: @shift
// CHECK: %[[S:.*]], %[[N:.*]] = wkv.token_shift %[[T:.*]] state(%{{.*}}) : (tensor<1x3x2xf32>, tensor<1x2xf32>)
// CHECK: wkv.mix %[[T]], %[[S]] by %{{.*}} : tensor<1x3x2xf32>, tensor<2xf32>
func.func @shift(%x: tensor<1x2x3xf32>, %s: tensor<1x2x1xf32>) -> (tensor<1x2x3xf32>, tensor<1x2x1xf32>) {
  %n = "onnx.NoValue"() : () -> none
  %w = "onnx.Constant"() <{value = dense<[[[0.25, 0.75]], [[0.5, 0.5]]]> : tensor<2x1x2xf32>}> : () -> tensor<2x1x2xf32>
  %y, %p = "onnx.CausalConvWithState"(%x, %w, %n, %s) : (tensor<1x2x3xf32>, tensor<2x1x2xf32>, none, tensor<1x2x1xf32>) -> (tensor<1x2x3xf32>, tensor<1x2x1xf32>)
  return %y, %p : tensor<1x2x3xf32>, tensor<1x2x1xf32>
}

// Weights that do not add up to one are no interpolation.
// CHECK-LABEL: @no_mix
// CHECK: wkv.token_shift
// CHECK-NOT: wkv.mix
func.func @no_mix(%x: tensor<1x2x3xf32>, %s: tensor<1x2x1xf32>) -> (tensor<1x2x3xf32>, tensor<1x2x1xf32>) {
  %n = "onnx.NoValue"() : () -> none
  %w = "onnx.Constant"() <{value = dense<[[[0.25, 0.75]], [[0.5, 0.75]]]> : tensor<2x1x2xf32>}> : () -> tensor<2x1x2xf32>
  %y, %p = "onnx.CausalConvWithState"(%x, %w, %n, %s) : (tensor<1x2x3xf32>, tensor<2x1x2xf32>, none, tensor<1x2x1xf32>) -> (tensor<1x2x3xf32>, tensor<1x2x1xf32>)
  return %y, %p : tensor<1x2x3xf32>, tensor<1x2x1xf32>
}

// CHECK-LABEL: @longer
// CHECK: onnx.Concat
// CHECK-COUNT-3: onnx.Mul
// CHECK-NOT: wkv.
func.func @longer(%x: tensor<1x2x3xf32>, %w: tensor<2x1x3xf32>, %s: tensor<1x2x2xf32>) -> (tensor<1x2x3xf32>, tensor<1x2x2xf32>) {
  %n = "onnx.NoValue"() : () -> none
  %y, %p = "onnx.CausalConvWithState"(%x, %w, %n, %s) : (tensor<1x2x3xf32>, tensor<2x1x3xf32>, none, tensor<1x2x2xf32>) -> (tensor<1x2x3xf32>, tensor<1x2x2xf32>)
  return %y, %p : tensor<1x2x3xf32>, tensor<1x2x2xf32>
}
