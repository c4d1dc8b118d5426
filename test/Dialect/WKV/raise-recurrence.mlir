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
