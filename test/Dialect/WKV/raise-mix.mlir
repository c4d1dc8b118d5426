// RUN: rwkv-opt %s --split-input-file --wkv-raise-mix --canonicalize | FileCheck %s

// The forms that exporters write, with constant and with live weights. A weight
// of x becomes its complement.
// CHECK-LABEL: @forms
// CHECK-SAME: %[[X:[a-z0-9]+]]: tensor<1x1x4xf32>, %{{.*}}: tensor<1x4xf32>, %[[M:[a-z0-9]+]]: tensor<4xf32>, %[[L:[a-z0-9]+]]: tensor<4xf32>
// CHECK-DAG: %[[MU:.*]] = "onnx.Constant"() <{value = dense<[2.500000e-01, 5.000000e-01, 7.500000e-01, 1.000000e+00]> : tensor<4xf32>}>
// CHECK-DAG: %[[NU:.*]] = "onnx.Constant"() <{value = dense<[7.500000e-01, 5.000000e-01, 2.500000e-01, 0.000000e+00]> : tensor<4xf32>}>
// CHECK: %[[S:.*]], %{{.*}} = wkv.token_shift %[[X]]
// CHECK: %[[A:.*]] = wkv.mix %[[X]], %[[S]] by %[[MU]]
// CHECK: %[[B:.*]] = wkv.mix %[[X]], %[[S]] by %[[NU]]
// CHECK: %[[C:.*]] = wkv.mix %[[X]], %[[S]] by %[[NU]]
// CHECK: %[[N:.*]] = "onnx.Sub"(%{{.*}}, %[[M]])
// CHECK: %[[D:.*]] = wkv.mix %[[X]], %[[S]] by %[[N]]
// CHECK: %[[E:.*]] = wkv.mix %[[X]], %[[S]] by %[[M]]
// CHECK: %[[H:.*]] = "onnx.Sub"(%{{.*}}, %[[L]])
// CHECK: %[[G:.*]] = wkv.mix %[[X]], %[[S]] by %[[H]]
// CHECK: return %[[A]], %[[B]], %[[C]], %[[D]], %[[E]], %[[G]]
func.func @forms(%x: tensor<1x1x4xf32>, %s: tensor<1x4xf32>, %m: tensor<4xf32>, %l: tensor<4xf32>) -> (tensor<1x1x4xf32>, tensor<1x1x4xf32>, tensor<1x1x4xf32>, tensor<1x1x4xf32>, tensor<1x1x4xf32>, tensor<1x1x4xf32>) {
  %one = "onnx.Constant"() <{value = dense<1.0> : tensor<f32>}> : () -> tensor<f32>
  %mu = "onnx.Constant"() <{value = dense<[0.25, 0.5, 0.75, 1.0]> : tensor<4xf32>}> : () -> tensor<4xf32>
  %nu = "onnx.Constant"() <{value = dense<[0.75, 0.5, 0.25, 0.0]> : tensor<4xf32>}> : () -> tensor<4xf32>
  %p, %n = wkv.token_shift %x state(%s) : (tensor<1x1x4xf32>, tensor<1x4xf32>) -> (tensor<1x1x4xf32>, tensor<1x4xf32>)
  // x + (s - x) mu
  %d = "onnx.Sub"(%p, %x) : (tensor<1x1x4xf32>, tensor<1x1x4xf32>) -> tensor<1x1x4xf32>
  %dm = "onnx.Mul"(%mu, %d) : (tensor<4xf32>, tensor<1x1x4xf32>) -> tensor<1x1x4xf32>
  %a = "onnx.Add"(%x, %dm) : (tensor<1x1x4xf32>, tensor<1x1x4xf32>) -> tensor<1x1x4xf32>
  // s + (x - s) mu
  %e = "onnx.Sub"(%x, %p) : (tensor<1x1x4xf32>, tensor<1x1x4xf32>) -> tensor<1x1x4xf32>
  %em = "onnx.Mul"(%e, %mu) : (tensor<1x1x4xf32>, tensor<4xf32>) -> tensor<1x1x4xf32>
  %b = "onnx.Add"(%em, %p) : (tensor<1x1x4xf32>, tensor<1x1x4xf32>) -> tensor<1x1x4xf32>
  // x mu + s nu, nu folded
  %xm = "onnx.Mul"(%x, %mu) : (tensor<1x1x4xf32>, tensor<4xf32>) -> tensor<1x1x4xf32>
  %sn = "onnx.Mul"(%p, %nu) : (tensor<1x1x4xf32>, tensor<4xf32>) -> tensor<1x1x4xf32>
  %c = "onnx.Add"(%xm, %sn) : (tensor<1x1x4xf32>, tensor<1x1x4xf32>) -> tensor<1x1x4xf32>
  // x m + s (1 - m)
  %lm = "onnx.Sub"(%one, %m) : (tensor<f32>, tensor<4xf32>) -> tensor<4xf32>
  %xl = "onnx.Mul"(%x, %m) : (tensor<1x1x4xf32>, tensor<4xf32>) -> tensor<1x1x4xf32>
  %sl = "onnx.Mul"(%p, %lm) : (tensor<1x1x4xf32>, tensor<4xf32>) -> tensor<1x1x4xf32>
  %f = "onnx.Add"(%xl, %sl) : (tensor<1x1x4xf32>, tensor<1x1x4xf32>) -> tensor<1x1x4xf32>
  // x - (x - s) m
  %gm = "onnx.Mul"(%e, %m) : (tensor<1x1x4xf32>, tensor<4xf32>) -> tensor<1x1x4xf32>
  %g = "onnx.Sub"(%x, %gm) : (tensor<1x1x4xf32>, tensor<1x1x4xf32>) -> tensor<1x1x4xf32>
  // s + (x - s) l: the weight of s is no value of the graph
  %hl = "onnx.Mul"(%e, %l) : (tensor<1x1x4xf32>, tensor<4xf32>) -> tensor<1x1x4xf32>
  %h = "onnx.Add"(%p, %hl) : (tensor<1x1x4xf32>, tensor<1x1x4xf32>) -> tensor<1x1x4xf32>
  return %a, %b, %c, %f, %g, %h : tensor<1x1x4xf32>, tensor<1x1x4xf32>, tensor<1x1x4xf32>, tensor<1x1x4xf32>, tensor<1x1x4xf32>, tensor<1x1x4xf32>
}

// -----

// v6: weights that depend on the token, for two targets at once.
// CHECK-LABEL: @targets
// CHECK: %[[W:.*]] = "onnx.Add"(%{{.*}}, %{{.*}}) : (tensor<2x1x4xf32>, tensor<2x1x4xf32>)
// CHECK: %[[MU:.*]] = "onnx.Reshape"(%[[W]], %{{.*}}) {{.*}} -> tensor<2x1x1x4xf32>
// CHECK: wkv.mix %{{.*}}, %{{.*}} by %[[MU]] : tensor<1x1x4xf32>, tensor<2x1x1x4xf32> -> tensor<2x1x1x4xf32>
func.func @targets(%x: tensor<1x1x4xf32>, %s: tensor<1x4xf32>, %z: tensor<2x1x4xf32>, %maa: tensor<2x1x4xf32>) -> tensor<2x1x4xf32> {
  %p, %n = wkv.token_shift %x state(%s) : (tensor<1x1x4xf32>, tensor<1x4xf32>) -> (tensor<1x1x4xf32>, tensor<1x4xf32>)
  %d = "onnx.Sub"(%p, %x) : (tensor<1x1x4xf32>, tensor<1x1x4xf32>) -> tensor<1x1x4xf32>
  %w = "onnx.Add"(%z, %maa) : (tensor<2x1x4xf32>, tensor<2x1x4xf32>) -> tensor<2x1x4xf32>
  %m = "onnx.Mul"(%d, %w) : (tensor<1x1x4xf32>, tensor<2x1x4xf32>) -> tensor<2x1x4xf32>
  %y = "onnx.Add"(%x, %m) : (tensor<1x1x4xf32>, tensor<2x1x4xf32>) -> tensor<2x1x4xf32>
  return %y : tensor<2x1x4xf32>
}

// -----

// Several tokens of rank 2, one weight for each channel.
// CHECK-LABEL: @tokens
// CHECK: wkv.mix %{{.*}}, %{{.*}} by %{{.*}} : tensor<1x3x4xf32>, tensor<4xf32> -> tensor<1x3x4xf32>
// CHECK-NOT: onnx.Mul
func.func @tokens(%x: tensor<1x3x4xf32>, %s: tensor<1x4xf32>) -> tensor<3x4xf32> {
  %mu = "onnx.Constant"() <{value = dense<[0.25, 0.5, 0.75, 1.0]> : tensor<4xf32>}> : () -> tensor<4xf32>
  %shape = "onnx.Constant"() <{value = dense<[3, 4]> : tensor<2xi64>}> : () -> tensor<2xi64>
  %p, %n = wkv.token_shift %x state(%s) : (tensor<1x3x4xf32>, tensor<1x4xf32>) -> (tensor<1x3x4xf32>, tensor<1x4xf32>)
  %x2 = "onnx.Reshape"(%x, %shape) : (tensor<1x3x4xf32>, tensor<2xi64>) -> tensor<3x4xf32>
  %p2 = "onnx.Reshape"(%p, %shape) : (tensor<1x3x4xf32>, tensor<2xi64>) -> tensor<3x4xf32>
  %d = "onnx.Sub"(%p2, %x2) : (tensor<3x4xf32>, tensor<3x4xf32>) -> tensor<3x4xf32>
  %m = "onnx.Mul"(%d, %mu) : (tensor<3x4xf32>, tensor<4xf32>) -> tensor<3x4xf32>
  %y = "onnx.Add"(%x2, %m) : (tensor<3x4xf32>, tensor<3x4xf32>) -> tensor<3x4xf32>
  return %y : tensor<3x4xf32>
}

// -----

// In half precision a folded 1 - m is rounded.
// CHECK-LABEL: @half
// CHECK: wkv.mix {{.*}} : tensor<1x1x2xf16>, tensor<2xf16>
func.func @half(%x: tensor<1x1x2xf16>, %s: tensor<1x2xf16>) -> tensor<1x1x2xf16> {
  %mu = "onnx.Constant"() <{value = dense<[0.1, 0.3]> : tensor<2xf16>}> : () -> tensor<2xf16>
  %nu = "onnx.Constant"() <{value = dense<[0.9, 0.7]> : tensor<2xf16>}> : () -> tensor<2xf16>
  %p, %n = wkv.token_shift %x state(%s) : (tensor<1x1x2xf16>, tensor<1x2xf16>) -> (tensor<1x1x2xf16>, tensor<1x2xf16>)
  %xm = "onnx.Mul"(%x, %mu) : (tensor<1x1x2xf16>, tensor<2xf16>) -> tensor<1x1x2xf16>
  %sn = "onnx.Mul"(%p, %nu) : (tensor<1x1x2xf16>, tensor<2xf16>) -> tensor<1x1x2xf16>
  %y = "onnx.Add"(%xm, %sn) : (tensor<1x1x2xf16>, tensor<1x1x2xf16>) -> tensor<1x1x2xf16>
  return %y : tensor<1x1x2xf16>
}

// -----

// Weights that do not add up to one, constant or not, a weight below zero that is
// no value of the graph, and a difference alone.
// CHECK-LABEL: @refused
// CHECK-NOT: wkv.mix
// CHECK: return
func.func @refused(%x: tensor<1x1x4xf32>, %s: tensor<1x4xf32>, %m: tensor<4xf32>, %l: tensor<4xf32>) -> (tensor<1x1x4xf32>, tensor<1x1x4xf32>, tensor<1x1x4xf32>, tensor<1x1x4xf32>) {
  %mu = "onnx.Constant"() <{value = dense<[0.25, 0.5, 0.75, 1.0]> : tensor<4xf32>}> : () -> tensor<4xf32>
  %nu = "onnx.Constant"() <{value = dense<[0.75, 0.5, 0.25, 0.01]> : tensor<4xf32>}> : () -> tensor<4xf32>
  %p, %n = wkv.token_shift %x state(%s) : (tensor<1x1x4xf32>, tensor<1x4xf32>) -> (tensor<1x1x4xf32>, tensor<1x4xf32>)
  %xm = "onnx.Mul"(%x, %mu) : (tensor<1x1x4xf32>, tensor<4xf32>) -> tensor<1x1x4xf32>
  %sn = "onnx.Mul"(%p, %nu) : (tensor<1x1x4xf32>, tensor<4xf32>) -> tensor<1x1x4xf32>
  %a = "onnx.Add"(%xm, %sn) : (tensor<1x1x4xf32>, tensor<1x1x4xf32>) -> tensor<1x1x4xf32>
  %d = "onnx.Sub"(%p, %x) : (tensor<1x1x4xf32>, tensor<1x1x4xf32>) -> tensor<1x1x4xf32>
  %dm = "onnx.Mul"(%d, %m) : (tensor<1x1x4xf32>, tensor<4xf32>) -> tensor<1x1x4xf32>
  %b = "onnx.Sub"(%x, %dm) : (tensor<1x1x4xf32>, tensor<1x1x4xf32>) -> tensor<1x1x4xf32>
  %xv = "onnx.Mul"(%x, %m) : (tensor<1x1x4xf32>, tensor<4xf32>) -> tensor<1x1x4xf32>
  %sv = "onnx.Mul"(%p, %l) : (tensor<1x1x4xf32>, tensor<4xf32>) -> tensor<1x1x4xf32>
  %c = "onnx.Add"(%xv, %sv) : (tensor<1x1x4xf32>, tensor<1x1x4xf32>) -> tensor<1x1x4xf32>
  return %a, %b, %c, %d : tensor<1x1x4xf32>, tensor<1x1x4xf32>, tensor<1x1x4xf32>, tensor<1x1x4xf32>
}
