// RUN: rwkv-opt %s --split-input-file --wkv-pair-states --wkv-raise-recurrence --canonicalize | FileCheck %s

// v6 with broadcast products, the state transposed by nobody.
// CHECK-LABEL: @diagonal
// CHECK: wkv.wkv6
// CHECK-NOT: onnx.MatMul
func.func @diagonal(%r: tensor<2x1x4xf32> {onnx.name = "r"}, %k: tensor<2x4x1xf32> {onnx.name = "k"}, %v: tensor<2x1x4xf32> {onnx.name = "v"}, %w: tensor<2x4x1xf32> {onnx.name = "w"}, %u: tensor<2x4x1xf32> {onnx.name = "u"}, %s: tensor<2x4x4xf32> {onnx.name = "s_in"}) -> (tensor<2x1x4xf32> {onnx.name = "y"}, tensor<2x4x4xf32> {onnx.name = "s_out"}) {
  %kv = "onnx.MatMul"(%k, %v) : (tensor<2x4x1xf32>, tensor<2x1x4xf32>) -> tensor<2x4x4xf32>
  %ukv = "onnx.Mul"(%kv, %u) : (tensor<2x4x4xf32>, tensor<2x4x1xf32>) -> tensor<2x4x4xf32>
  %sum = "onnx.Add"(%ukv, %s) : (tensor<2x4x4xf32>, tensor<2x4x4xf32>) -> tensor<2x4x4xf32>
  %y = "onnx.MatMul"(%r, %sum) : (tensor<2x1x4xf32>, tensor<2x4x4xf32>) -> tensor<2x1x4xf32>
  %sw = "onnx.Mul"(%s, %w) : (tensor<2x4x4xf32>, tensor<2x4x1xf32>) -> tensor<2x4x4xf32>
  %n = "onnx.Add"(%sw, %kv) : (tensor<2x4x4xf32>, tensor<2x4x4xf32>) -> tensor<2x4x4xf32>
  return %y, %n : tensor<2x1x4xf32>, tensor<2x4x4xf32>
}

// -----

// v7 in its N^3 form: the removal is one matrix, read after the update.
// CHECK-LABEL: @delta
// CHECK: wkv.wkv7
// CHECK-NOT: onnx.MatMul
func.func @delta(%r: tensor<2x4x1xf32> {onnx.name = "r"}, %w: tensor<2x1x4xf32> {onnx.name = "w"}, %k: tensor<2x1x4xf32> {onnx.name = "k"}, %v: tensor<2x4x1xf32> {onnx.name = "v"}, %a: tensor<2x4x1xf32> {onnx.name = "a"}, %b: tensor<2x1x4xf32> {onnx.name = "b"}, %s: tensor<2x4x4xf32> {onnx.name = "s_in"}) -> (tensor<2x4x1xf32> {onnx.name = "y"}, tensor<2x4x4xf32> {onnx.name = "s_out"}) {
  %ab = "onnx.MatMul"(%a, %b) : (tensor<2x4x1xf32>, tensor<2x1x4xf32>) -> tensor<2x4x4xf32>
  %sab = "onnx.MatMul"(%s, %ab) : (tensor<2x4x4xf32>, tensor<2x4x4xf32>) -> tensor<2x4x4xf32>
  %vk = "onnx.MatMul"(%v, %k) : (tensor<2x4x1xf32>, tensor<2x1x4xf32>) -> tensor<2x4x4xf32>
  %sw = "onnx.Mul"(%s, %w) : (tensor<2x4x4xf32>, tensor<2x1x4xf32>) -> tensor<2x4x4xf32>
  %n0 = "onnx.Sub"(%sw, %sab) : (tensor<2x4x4xf32>, tensor<2x4x4xf32>) -> tensor<2x4x4xf32>
  %n = "onnx.Add"(%n0, %vk) : (tensor<2x4x4xf32>, tensor<2x4x4xf32>) -> tensor<2x4x4xf32>
  %y = "onnx.MatMul"(%n, %r) : (tensor<2x4x4xf32>, tensor<2x4x1xf32>) -> tensor<2x4x1xf32>
  return %y, %n : tensor<2x4x1xf32>, tensor<2x4x4xf32>
}

// -----

// v4, with the bonus already added to the key.
// CHECK-LABEL: @vector
// CHECK: wkv.wkv4
// CHECK-NOT: onnx.Exp
func.func @vector(%k: tensor<8xf32> {onnx.name = "k"}, %v: tensor<8xf32> {onnx.name = "v"}, %w: tensor<8xf32> {onnx.name = "w"}, %u: tensor<8xf32> {onnx.name = "u"}, %a: tensor<8xf32> {onnx.name = "a_in"}, %b: tensor<8xf32> {onnx.name = "b_in"}, %p: tensor<8xf32> {onnx.name = "p_in"}) -> (tensor<8xf32> {onnx.name = "y"}, tensor<8xf32> {onnx.name = "a_out"}, tensor<8xf32> {onnx.name = "b_out"}, tensor<8xf32> {onnx.name = "p_out"}) {
  %uk = "onnx.Add"(%u, %k) : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  %q = "onnx.Max"(%p, %uk) : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  %d1 = "onnx.Sub"(%p, %q) : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  %e1 = "onnx.Exp"(%d1) : (tensor<8xf32>) -> tensor<8xf32>
  %d2 = "onnx.Sub"(%uk, %q) : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  %e2 = "onnx.Exp"(%d2) : (tensor<8xf32>) -> tensor<8xf32>
  %n1 = "onnx.Mul"(%e1, %a) : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  %n2 = "onnx.Mul"(%e2, %v) : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  %num = "onnx.Add"(%n1, %n2) : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  %m1 = "onnx.Mul"(%e1, %b) : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  %den = "onnx.Add"(%m1, %e2) : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  %y = "onnx.Div"(%num, %den) : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  %pw = "onnx.Add"(%p, %w) : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  %q2 = "onnx.Max"(%pw, %k) : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  %d3 = "onnx.Sub"(%pw, %q2) : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  %e3 = "onnx.Exp"(%d3) : (tensor<8xf32>) -> tensor<8xf32>
  %d4 = "onnx.Sub"(%k, %q2) : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  %e4 = "onnx.Exp"(%d4) : (tensor<8xf32>) -> tensor<8xf32>
  %a1 = "onnx.Mul"(%e3, %a) : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  %a2 = "onnx.Mul"(%e4, %v) : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  %an = "onnx.Add"(%a1, %a2) : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  %b1 = "onnx.Mul"(%e3, %b) : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  %bn = "onnx.Add"(%b1, %e4) : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  return %y, %an, %bn, %q2 : tensor<8xf32>, tensor<8xf32>, tensor<8xf32>, tensor<8xf32>
}

// -----

// For two texts: decay and bonus are the channels', the rest is each text's.
// CHECK-LABEL: @texts
// CHECK: wkv.wkv4 {{.*}} -> (tensor<2x1x8xf32>, tensor<2x8xf32>, tensor<2x8xf32>, tensor<2x8xf32>)
// CHECK-NOT: onnx.Exp
func.func @texts(%k: tensor<2x8xf32> {onnx.name = "k"}, %v: tensor<2x8xf32> {onnx.name = "v"}, %w: tensor<8xf32> {onnx.name = "w"}, %u: tensor<8xf32> {onnx.name = "u"}, %a: tensor<2x8xf32> {onnx.name = "a_in"}, %b: tensor<2x8xf32> {onnx.name = "b_in"}, %p: tensor<2x8xf32> {onnx.name = "p_in"}) -> (tensor<2x8xf32> {onnx.name = "y"}, tensor<2x8xf32> {onnx.name = "a_out"}, tensor<2x8xf32> {onnx.name = "b_out"}, tensor<2x8xf32> {onnx.name = "p_out"}) {
  %uk = "onnx.Add"(%u, %k) : (tensor<8xf32>, tensor<2x8xf32>) -> tensor<2x8xf32>
  %q = "onnx.Max"(%p, %uk) : (tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<2x8xf32>
  %d1 = "onnx.Sub"(%p, %q) : (tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<2x8xf32>
  %e1 = "onnx.Exp"(%d1) : (tensor<2x8xf32>) -> tensor<2x8xf32>
  %d2 = "onnx.Sub"(%uk, %q) : (tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<2x8xf32>
  %e2 = "onnx.Exp"(%d2) : (tensor<2x8xf32>) -> tensor<2x8xf32>
  %n1 = "onnx.Mul"(%e1, %a) : (tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<2x8xf32>
  %n2 = "onnx.Mul"(%e2, %v) : (tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<2x8xf32>
  %num = "onnx.Add"(%n1, %n2) : (tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<2x8xf32>
  %m1 = "onnx.Mul"(%e1, %b) : (tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<2x8xf32>
  %den = "onnx.Add"(%m1, %e2) : (tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<2x8xf32>
  %y = "onnx.Div"(%num, %den) : (tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<2x8xf32>
  %pw = "onnx.Add"(%p, %w) : (tensor<2x8xf32>, tensor<8xf32>) -> tensor<2x8xf32>
  %q2 = "onnx.Max"(%pw, %k) : (tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<2x8xf32>
  %d3 = "onnx.Sub"(%pw, %q2) : (tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<2x8xf32>
  %e3 = "onnx.Exp"(%d3) : (tensor<2x8xf32>) -> tensor<2x8xf32>
  %d4 = "onnx.Sub"(%k, %q2) : (tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<2x8xf32>
  %e4 = "onnx.Exp"(%d4) : (tensor<2x8xf32>) -> tensor<2x8xf32>
  %a1 = "onnx.Mul"(%e3, %a) : (tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<2x8xf32>
  %a2 = "onnx.Mul"(%e4, %v) : (tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<2x8xf32>
  %an = "onnx.Add"(%a1, %a2) : (tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<2x8xf32>
  %b1 = "onnx.Mul"(%e3, %b) : (tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<2x8xf32>
  %bn = "onnx.Add"(%b1, %e4) : (tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<2x8xf32>
  return %y, %an, %bn, %q2 : tensor<2x8xf32>, tensor<2x8xf32>, tensor<2x8xf32>, tensor<2x8xf32>
}

// -----

// The value is cast twice, by nodes of different names; the bonus is taken from
// the sum that adds it to the key.
// CHECK-LABEL: @vector_casts
// CHECK-SAME: %[[U:[a-z0-9]+]]: tensor<8xf32> {onnx.name = "u"
// CHECK: wkv.wkv4 {{.*}} bonus(%[[U]])
// CHECK-NOT: onnx.Exp
func.func @vector_casts(%k: tensor<8xf32> {onnx.name = "k"}, %v16: tensor<8xf16> {onnx.name = "v"}, %w: tensor<8xf32> {onnx.name = "w"}, %u: tensor<8xf32> {onnx.name = "u"}, %a: tensor<8xf32> {onnx.name = "a_in"}, %b: tensor<8xf32> {onnx.name = "b_in"}, %p: tensor<8xf32> {onnx.name = "p_in"}) -> (tensor<8xf32> {onnx.name = "y"}, tensor<8xf32> {onnx.name = "a_out"}, tensor<8xf32> {onnx.name = "b_out"}, tensor<8xf32> {onnx.name = "p_out"}) {
  %v = "onnx.Cast"(%v16) <{to = 1 : i64}> {onnx_node_name = "a"} : (tensor<8xf16>) -> tensor<8xf32>
  %w2 = "onnx.Cast"(%v16) <{to = 1 : i64}> {onnx_node_name = "b"} : (tensor<8xf16>) -> tensor<8xf32>
  %uk = "onnx.Add"(%u, %k) : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  %q = "onnx.Max"(%p, %uk) : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  %d1 = "onnx.Sub"(%p, %q) : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  %e1 = "onnx.Exp"(%d1) : (tensor<8xf32>) -> tensor<8xf32>
  %d2 = "onnx.Sub"(%uk, %q) : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  %e2 = "onnx.Exp"(%d2) : (tensor<8xf32>) -> tensor<8xf32>
  %n1 = "onnx.Mul"(%e1, %a) : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  %n2 = "onnx.Mul"(%e2, %v) : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  %num = "onnx.Add"(%n1, %n2) : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  %m1 = "onnx.Mul"(%e1, %b) : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  %den = "onnx.Add"(%m1, %e2) : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  %y = "onnx.Div"(%num, %den) : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  %pw = "onnx.Add"(%p, %w) : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  %q2 = "onnx.Max"(%pw, %k) : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  %d3 = "onnx.Sub"(%pw, %q2) : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  %e3 = "onnx.Exp"(%d3) : (tensor<8xf32>) -> tensor<8xf32>
  %d4 = "onnx.Sub"(%k, %q2) : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  %e4 = "onnx.Exp"(%d4) : (tensor<8xf32>) -> tensor<8xf32>
  %a1 = "onnx.Mul"(%e3, %a) : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  %a2 = "onnx.Mul"(%e4, %w2) : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  %an = "onnx.Add"(%a1, %a2) : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  %b1 = "onnx.Mul"(%e3, %b) : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  %bn = "onnx.Add"(%b1, %e4) : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  return %y, %an, %bn, %q2 : tensor<8xf32>, tensor<8xf32>, tensor<8xf32>, tensor<8xf32>
}

// -----

// The read is not linear in the state: it keeps its own meaning.
// CHECK-LABEL: @squashed
// CHECK-NOT: wkv.wkv
// CHECK: onnx.Tanh
func.func @squashed(%r: tensor<2x1x4xf32> {onnx.name = "r"}, %k: tensor<2x4x1xf32> {onnx.name = "k"}, %v: tensor<2x1x4xf32> {onnx.name = "v"}, %w: tensor<2x4x1xf32> {onnx.name = "w"}, %s: tensor<2x4x4xf32> {onnx.name = "s_in"}) -> (tensor<2x1x4xf32> {onnx.name = "y"}, tensor<2x4x4xf32> {onnx.name = "s_out"}) {
  %kv = "onnx.MatMul"(%k, %v) : (tensor<2x4x1xf32>, tensor<2x1x4xf32>) -> tensor<2x4x4xf32>
  %t = "onnx.Tanh"(%s) : (tensor<2x4x4xf32>) -> tensor<2x4x4xf32>
  %y = "onnx.MatMul"(%r, %t) : (tensor<2x1x4xf32>, tensor<2x4x4xf32>) -> tensor<2x1x4xf32>
  %sw = "onnx.Mul"(%s, %w) : (tensor<2x4x4xf32>, tensor<2x4x1xf32>) -> tensor<2x4x4xf32>
  %n = "onnx.Add"(%sw, %kv) : (tensor<2x4x4xf32>, tensor<2x4x4xf32>) -> tensor<2x4x4xf32>
  return %y, %n : tensor<2x1x4xf32>, tensor<2x4x4xf32>
}

// -----

// A key of one eighth, and so a state: the op's is eight times as large.
// CHECK-LABEL: @scaled_key
// CHECK-SAME: %[[R:[a-z0-9]+]]: tensor<2x1x4xf32> {onnx.name = "r"}, %[[K:[a-z0-9]+]]: tensor<2x4x1xf32>
// CHECK-DAG: %[[EIGHTH:.*]] = "onnx.Constant"() <{value = dense<1.250000e-01> : tensor<f32>}>
// CHECK-DAG: %[[EIGHT:.*]] = "onnx.Constant"() <{value = dense<8.000000e+00> : tensor<f32>}>
// CHECK-DAG: %[[READ:.*]] = "onnx.Mul"(%{{.*}}, %[[EIGHTH]]) : (tensor<2x4xf32>, tensor<f32>)
// CHECK-DAG: %[[REC:.*]] = "onnx.Reshape"(%[[READ]], {{.*}} -> tensor<1x1x2x4xf32>
// CHECK-DAG: %[[KEY:.*]] = "onnx.Reshape"(%[[K]], {{.*}} -> tensor<1x1x2x4xf32>
// CHECK-DAG: %[[OLD:.*]] = "onnx.Mul"(%{{.*}}, %[[EIGHT]]) : (tensor<1x2x4x4xf32>, tensor<f32>)
// CHECK: %{{.*}}, %[[NEW:.*]] = wkv.wkv6 receptance(%[[REC]]) key(%[[KEY]]) {{.*}} state(%[[OLD]])
// CHECK: "onnx.Mul"(%[[NEW]], %[[EIGHTH]])
func.func @scaled_key(%r: tensor<2x1x4xf32> {onnx.name = "r"}, %k: tensor<2x4x1xf32> {onnx.name = "k"}, %v: tensor<2x1x4xf32> {onnx.name = "v"}, %w: tensor<2x4x1xf32> {onnx.name = "w"}, %u: tensor<2x4x1xf32> {onnx.name = "u"}, %s: tensor<2x4x4xf32> {onnx.name = "s_in"}) -> (tensor<2x1x4xf32> {onnx.name = "y"}, tensor<2x4x4xf32> {onnx.name = "s_out"}) {
  %c = "onnx.Constant"() <{value = dense<8.0> : tensor<f32>}> : () -> tensor<f32>
  %k8 = "onnx.Div"(%k, %c) : (tensor<2x4x1xf32>, tensor<f32>) -> tensor<2x4x1xf32>
  %kv = "onnx.MatMul"(%k8, %v) : (tensor<2x4x1xf32>, tensor<2x1x4xf32>) -> tensor<2x4x4xf32>
  %ukv = "onnx.Mul"(%kv, %u) : (tensor<2x4x4xf32>, tensor<2x4x1xf32>) -> tensor<2x4x4xf32>
  %sum = "onnx.Add"(%ukv, %s) : (tensor<2x4x4xf32>, tensor<2x4x4xf32>) -> tensor<2x4x4xf32>
  %y = "onnx.MatMul"(%r, %sum) : (tensor<2x1x4xf32>, tensor<2x4x4xf32>) -> tensor<2x1x4xf32>
  %sw = "onnx.Mul"(%s, %w) : (tensor<2x4x4xf32>, tensor<2x4x1xf32>) -> tensor<2x4x4xf32>
  %n = "onnx.Add"(%sw, %kv) : (tensor<2x4x4xf32>, tensor<2x4x4xf32>) -> tensor<2x4x4xf32>
  return %y, %n : tensor<2x1x4xf32>, tensor<2x4x4xf32>
}

// -----

// The number that integers stand for is the key's own.
// CHECK-LABEL: @dequantized_key
// CHECK-SAME: %[[S:[a-z0-9]+]]: tensor<2x4x4xf32> {onnx.name = "s_in"
// CHECK: %[[STATE:.*]] = "onnx.Reshape"(%[[S]],
// CHECK: wkv.wkv6 {{.*}} state(%[[STATE]])
func.func @dequantized_key(%r: tensor<2x1x4xf32> {onnx.name = "r"}, %k: tensor<2x4x1xi32> {onnx.name = "k"}, %v: tensor<2x1x4xf32> {onnx.name = "v"}, %w: tensor<2x4x1xf32> {onnx.name = "w"}, %u: tensor<2x4x1xf32> {onnx.name = "u"}, %s: tensor<2x4x4xf32> {onnx.name = "s_in"}) -> (tensor<2x1x4xf32> {onnx.name = "y"}, tensor<2x4x4xf32> {onnx.name = "s_out"}) {
  %c = "onnx.Constant"() <{value = dense<0.03> : tensor<f32>}> : () -> tensor<f32>
  %kf = "onnx.Cast"(%k) <{to = 1 : i64}> : (tensor<2x4x1xi32>) -> tensor<2x4x1xf32>
  %kc = "onnx.Mul"(%kf, %c) : (tensor<2x4x1xf32>, tensor<f32>) -> tensor<2x4x1xf32>
  %kv = "onnx.MatMul"(%kc, %v) : (tensor<2x4x1xf32>, tensor<2x1x4xf32>) -> tensor<2x4x4xf32>
  %ukv = "onnx.Mul"(%kv, %u) : (tensor<2x4x4xf32>, tensor<2x4x1xf32>) -> tensor<2x4x4xf32>
  %sum = "onnx.Add"(%ukv, %s) : (tensor<2x4x4xf32>, tensor<2x4x4xf32>) -> tensor<2x4x4xf32>
  %y = "onnx.MatMul"(%r, %sum) : (tensor<2x1x4xf32>, tensor<2x4x4xf32>) -> tensor<2x1x4xf32>
  %sw = "onnx.Mul"(%s, %w) : (tensor<2x4x4xf32>, tensor<2x4x1xf32>) -> tensor<2x4x4xf32>
  %n = "onnx.Add"(%sw, %kv) : (tensor<2x4x4xf32>, tensor<2x4x4xf32>) -> tensor<2x4x4xf32>
  return %y, %n : tensor<2x1x4xf32>, tensor<2x4x4xf32>
}

// -----

// Two states in one flat tensor of half precision, of which the whole is scaled
// on the way in and out, and by rounded numbers: what they leave is decay.
// CHECK-LABEL: @packed_whole
// CHECK-NOT: onnx.MatMul
// CHECK: %[[LEFT:.*]] = "onnx.Constant"() <{value = dense<0.999755859> : tensor<f32>}>
// CHECK: %[[W:.*]] = "onnx.Mul"({{.*}}, %[[LEFT]]) : (tensor<2x2xf32>, tensor<f32>)
// CHECK-COUNT-2: wkv.wkv6 {{.*}} -> (tensor<1x1x2x2xf32>, tensor<1x2x2x2xf32>)
// CHECK-NOT: onnx.MatMul
func.func @packed_whole(%x: tensor<2x1x2xf32> {onnx.name = "x"}, %w: tensor<2x2x1xf32> {onnx.name = "w"}, %s: tensor<16xf16> {onnx.name = "s_in"}) -> (tensor<4xf32> {onnx.name = "y"}, tensor<16xf16> {onnx.name = "s_out"}) {
  %third = "onnx.Constant"() <{value = dense<0.3333> : tensor<f16>}> : () -> tensor<f16>
  %three = "onnx.Constant"() <{value = dense<3.0> : tensor<f32>}> : () -> tensor<f32>
  %0 = "onnx.Constant"() <{value = dense<0> : tensor<1xi64>}> : () -> tensor<1xi64>
  %8 = "onnx.Constant"() <{value = dense<8> : tensor<1xi64>}> : () -> tensor<1xi64>
  %one = "onnx.Constant"() <{value = dense<1> : tensor<1xi64>}> : () -> tensor<1xi64>
  %16 = "onnx.Constant"() <{value = dense<16> : tensor<1xi64>}> : () -> tensor<1xi64>
  %heads = "onnx.Constant"() <{value = dense<2> : tensor<3xi64>}> : () -> tensor<3xi64>
  %column = "onnx.Constant"() <{value = dense<[2, 2, 1]> : tensor<3xi64>}> : () -> tensor<3xi64>
  %flat = "onnx.Constant"() <{value = dense<8> : tensor<1xi64>}> : () -> tensor<1xi64>
  %row = "onnx.Constant"() <{value = dense<4> : tensor<1xi64>}> : () -> tensor<1xi64>
  %in = "onnx.Mul"(%s, %third) : (tensor<16xf16>, tensor<f16>) -> tensor<16xf16>
  %wide = "onnx.Cast"(%in) <{to = 1 : i64}> : (tensor<16xf16>) -> tensor<16xf32>
  %p0 = "onnx.Slice"(%wide, %0, %8, %0, %one) : (tensor<16xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<8xf32>
  %s0 = "onnx.Reshape"(%p0, %heads) : (tensor<8xf32>, tensor<3xi64>) -> tensor<2x2x2xf32>
  %k0 = "onnx.Reshape"(%x, %column) : (tensor<2x1x2xf32>, tensor<3xi64>) -> tensor<2x2x1xf32>
  %y0 = "onnx.MatMul"(%x, %s0) : (tensor<2x1x2xf32>, tensor<2x2x2xf32>) -> tensor<2x1x2xf32>
  %kv0 = "onnx.MatMul"(%k0, %x) : (tensor<2x2x1xf32>, tensor<2x1x2xf32>) -> tensor<2x2x2xf32>
  %sw0 = "onnx.Mul"(%s0, %w) : (tensor<2x2x2xf32>, tensor<2x2x1xf32>) -> tensor<2x2x2xf32>
  %n0 = "onnx.Add"(%sw0, %kv0) : (tensor<2x2x2xf32>, tensor<2x2x2xf32>) -> tensor<2x2x2xf32>
  %t = "onnx.Tanh"(%y0) : (tensor<2x1x2xf32>) -> tensor<2x1x2xf32>
  %p1 = "onnx.Slice"(%wide, %8, %16, %0, %one) : (tensor<16xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<8xf32>
  %s1 = "onnx.Reshape"(%p1, %heads) : (tensor<8xf32>, tensor<3xi64>) -> tensor<2x2x2xf32>
  %k1 = "onnx.Reshape"(%t, %column) : (tensor<2x1x2xf32>, tensor<3xi64>) -> tensor<2x2x1xf32>
  %y1 = "onnx.MatMul"(%t, %s1) : (tensor<2x1x2xf32>, tensor<2x2x2xf32>) -> tensor<2x1x2xf32>
  %kv1 = "onnx.MatMul"(%k1, %t) : (tensor<2x2x1xf32>, tensor<2x1x2xf32>) -> tensor<2x2x2xf32>
  %sw1 = "onnx.Mul"(%s1, %w) : (tensor<2x2x2xf32>, tensor<2x2x1xf32>) -> tensor<2x2x2xf32>
  %n1 = "onnx.Add"(%sw1, %kv1) : (tensor<2x2x2xf32>, tensor<2x2x2xf32>) -> tensor<2x2x2xf32>
  %f0 = "onnx.Reshape"(%n0, %flat) : (tensor<2x2x2xf32>, tensor<1xi64>) -> tensor<8xf32>
  %f1 = "onnx.Reshape"(%n1, %flat) : (tensor<2x2x2xf32>, tensor<1xi64>) -> tensor<8xf32>
  %all = "onnx.Concat"(%f0, %f1) <{axis = 0 : i64}> : (tensor<8xf32>, tensor<8xf32>) -> tensor<16xf32>
  %out = "onnx.Mul"(%all, %three) : (tensor<16xf32>, tensor<f32>) -> tensor<16xf32>
  %half = "onnx.Cast"(%out) <{to = 10 : i64}> : (tensor<16xf32>) -> tensor<16xf16>
  %y = "onnx.Reshape"(%y1, %row) : (tensor<2x1x2xf32>, tensor<1xi64>) -> tensor<4xf32>
  return %y, %half : tensor<4xf32>, tensor<16xf16>
}

// -----

// v4 with four times the usual sums, and so much of the value in one of them.
// CHECK-LABEL: @vector_scaled
// CHECK-SAME: %[[V:[a-z0-9]+]]: tensor<8xf32> {onnx.name = "v"}
// CHECK-DAG: %[[EIGHTH:.*]] = "onnx.Constant"() <{value = dense<1.250000e-01> : tensor<f32>}>
// CHECK-DAG: %[[QUARTER:.*]] = "onnx.Constant"() <{value = dense<2.500000e-01> : tensor<f32>}>
// CHECK-DAG: %[[NUM:.*]] = "onnx.Mul"(%{{.*}}, %[[EIGHTH]])
// CHECK-DAG: %[[DEN:.*]] = "onnx.Mul"(%{{.*}}, %[[QUARTER]])
// CHECK-DAG: %[[VALUE:.*]] = "onnx.Reshape"(%[[V]],
// CHECK: wkv.wkv4 {{.*}} value(%[[VALUE]]) {{.*}} state(%[[NUM]], %[[DEN]], %{{.*}})
// CHECK-NOT: onnx.Exp
func.func @vector_scaled(%k: tensor<8xf32> {onnx.name = "k"}, %v: tensor<8xf32> {onnx.name = "v"}, %w: tensor<8xf32> {onnx.name = "w"}, %u: tensor<8xf32> {onnx.name = "u"}, %a: tensor<8xf32> {onnx.name = "a_in"}, %b: tensor<8xf32> {onnx.name = "b_in"}, %p: tensor<8xf32> {onnx.name = "p_in"}) -> (tensor<8xf32> {onnx.name = "y"}, tensor<8xf32> {onnx.name = "a_out"}, tensor<8xf32> {onnx.name = "b_out"}, tensor<8xf32> {onnx.name = "p_out"}) {
  %four = "onnx.Constant"() <{value = dense<4.0> : tensor<f32>}> : () -> tensor<f32>
  %two = "onnx.Constant"() <{value = dense<2.0> : tensor<f32>}> : () -> tensor<f32>
  %vv = "onnx.Mul"(%v, %two) : (tensor<8xf32>, tensor<f32>) -> tensor<8xf32>
  %uk = "onnx.Add"(%u, %k) : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  %q = "onnx.Max"(%p, %uk) : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  %d1 = "onnx.Sub"(%p, %q) : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  %e1 = "onnx.Exp"(%d1) : (tensor<8xf32>) -> tensor<8xf32>
  %d2 = "onnx.Sub"(%uk, %q) : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  %e2 = "onnx.Exp"(%d2) : (tensor<8xf32>) -> tensor<8xf32>
  %e24 = "onnx.Mul"(%e2, %four) : (tensor<8xf32>, tensor<f32>) -> tensor<8xf32>
  %n1 = "onnx.Mul"(%e1, %a) : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  %n2 = "onnx.Mul"(%e24, %vv) : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  %num = "onnx.Add"(%n1, %n2) : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  %m1 = "onnx.Mul"(%e1, %b) : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  %den = "onnx.Add"(%m1, %e24) : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  %y = "onnx.Div"(%num, %den) : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  %pw = "onnx.Add"(%p, %w) : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  %q2 = "onnx.Max"(%pw, %k) : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  %d3 = "onnx.Sub"(%pw, %q2) : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  %e3 = "onnx.Exp"(%d3) : (tensor<8xf32>) -> tensor<8xf32>
  %d4 = "onnx.Sub"(%k, %q2) : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  %e4 = "onnx.Exp"(%d4) : (tensor<8xf32>) -> tensor<8xf32>
  %e44 = "onnx.Mul"(%e4, %four) : (tensor<8xf32>, tensor<f32>) -> tensor<8xf32>
  %a1 = "onnx.Mul"(%e3, %a) : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  %a2 = "onnx.Mul"(%e44, %vv) : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  %an = "onnx.Add"(%a1, %a2) : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  %b1 = "onnx.Mul"(%e3, %b) : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  %bn = "onnx.Add"(%b1, %e44) : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  return %y, %an, %bn, %q2 : tensor<8xf32>, tensor<8xf32>, tensor<8xf32>, tensor<8xf32>
}
