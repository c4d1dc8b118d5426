// RUN: rwkv-opt %s --split-input-file --wkv-raise-token-shift --canonicalize | FileCheck %s

// A state of its own; the row leaves through a reshape.
// CHECK-LABEL: @own_state
// CHECK-SAME: %[[X:[a-z0-9]+]]: tensor<8xf32>, %[[S:[a-z0-9]+]]: tensor<1x8xf32>
// CHECK: %[[T:.*]] = "onnx.Tanh"(%[[X]])
// CHECK: %[[ROW:.*]] = "onnx.Reshape"(%[[T]],
// CHECK: %[[SHIFTED:.*]], %[[KEPT:.*]] = wkv.token_shift %[[ROW]] state(%[[S]])
// CHECK: %[[P:.*]] = "onnx.Reshape"(%[[SHIFTED]],
// CHECK: "onnx.Sub"(%[[P]], %[[T]])
// CHECK: return %{{.*}}, %[[KEPT]]
func.func @own_state(%x: tensor<8xf32>, %s: tensor<1x8xf32> {wkv.state = 1 : i64}) -> (tensor<8xf32>, tensor<1x8xf32>) {
  %flat = "onnx.Constant"() <{value = dense<8> : tensor<1xi64>}> : () -> tensor<1xi64>
  %row = "onnx.Constant"() <{value = dense<[1, 8]> : tensor<2xi64>}> : () -> tensor<2xi64>
  %t = "onnx.Tanh"(%x) : (tensor<8xf32>) -> tensor<8xf32>
  %p = "onnx.Reshape"(%s, %flat) : (tensor<1x8xf32>, tensor<1xi64>) -> tensor<8xf32>
  %d = "onnx.Sub"(%p, %t) : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  %n = "onnx.Reshape"(%t, %row) : (tensor<8xf32>, tensor<2xi64>) -> tensor<1x8xf32>
  return %d, %n : tensor<8xf32>, tensor<1x8xf32>
}

// -----

// One row of a packed state, also after another row was written.
// CHECK-LABEL: @packed
// CHECK-COUNT-2: wkv.token_shift {{.*}} -> (tensor<1x1x4xf32>, tensor<1x4xf32>)
// CHECK-NOT: wkv.token_shift
func.func @packed(%x: tensor<1x4xf32>, %s: tensor<1x3x4xf32> {wkv.state = 1 : i64}) -> (tensor<1x4xf32>, tensor<1x3x4xf32>) {
  %zero = "onnx.Constant"() <{value = dense<0> : tensor<i64>}> : () -> tensor<i64>
  %two = "onnx.Constant"() <{value = dense<2> : tensor<i64>}> : () -> tensor<i64>
  %at0 = "onnx.Constant"() <{value = dense<[[[0, 0]]]> : tensor<1x1x2xi64>}> : () -> tensor<1x1x2xi64>
  %at2 = "onnx.Constant"() <{value = dense<[[[0, 2]]]> : tensor<1x1x2xi64>}> : () -> tensor<1x1x2xi64>
  %row = "onnx.Constant"() <{value = dense<[1, 1, 4]> : tensor<3xi64>}> : () -> tensor<3xi64>
  %a = "onnx.Tanh"(%x) : (tensor<1x4xf32>) -> tensor<1x4xf32>
  %p = "onnx.Gather"(%s, %zero) <{axis = 1 : i64}> : (tensor<1x3x4xf32>, tensor<i64>) -> tensor<1x4xf32>
  %d = "onnx.Sub"(%p, %a) : (tensor<1x4xf32>, tensor<1x4xf32>) -> tensor<1x4xf32>
  %u = "onnx.Reshape"(%a, %row) : (tensor<1x4xf32>, tensor<3xi64>) -> tensor<1x1x4xf32>
  %s1 = "onnx.ScatterND"(%s, %at0, %u) : (tensor<1x3x4xf32>, tensor<1x1x2xi64>, tensor<1x1x4xf32>) -> tensor<1x3x4xf32>
  %b = "onnx.Tanh"(%d) : (tensor<1x4xf32>) -> tensor<1x4xf32>
  %q = "onnx.Gather"(%s1, %two) <{axis = 1 : i64}> : (tensor<1x3x4xf32>, tensor<i64>) -> tensor<1x4xf32>
  %e = "onnx.Sub"(%q, %b) : (tensor<1x4xf32>, tensor<1x4xf32>) -> tensor<1x4xf32>
  %v = "onnx.Reshape"(%b, %row) : (tensor<1x4xf32>, tensor<3xi64>) -> tensor<1x1x4xf32>
  %s2 = "onnx.ScatterND"(%s1, %at2, %v) : (tensor<1x3x4xf32>, tensor<1x1x2xi64>, tensor<1x1x4xf32>) -> tensor<1x3x4xf32>
  return %e, %s2 : tensor<1x4xf32>, tensor<1x3x4xf32>
}

// -----

// The row that is read is not the one that is replaced.
// CHECK-LABEL: @other_row
// CHECK-NOT: wkv.token_shift
// CHECK: return
func.func @other_row(%x: tensor<1x4xf32>, %s: tensor<1x3x4xf32> {wkv.state = 1 : i64}) -> (tensor<1x4xf32>, tensor<1x3x4xf32>) {
  %one = "onnx.Constant"() <{value = dense<1> : tensor<i64>}> : () -> tensor<i64>
  %at0 = "onnx.Constant"() <{value = dense<[[[0, 0]]]> : tensor<1x1x2xi64>}> : () -> tensor<1x1x2xi64>
  %row = "onnx.Constant"() <{value = dense<[1, 1, 4]> : tensor<3xi64>}> : () -> tensor<3xi64>
  %a = "onnx.Tanh"(%x) : (tensor<1x4xf32>) -> tensor<1x4xf32>
  %p = "onnx.Gather"(%s, %one) <{axis = 1 : i64}> : (tensor<1x3x4xf32>, tensor<i64>) -> tensor<1x4xf32>
  %d = "onnx.Sub"(%p, %a) : (tensor<1x4xf32>, tensor<1x4xf32>) -> tensor<1x4xf32>
  %u = "onnx.Reshape"(%a, %row) : (tensor<1x4xf32>, tensor<3xi64>) -> tensor<1x1x4xf32>
  %s1 = "onnx.ScatterND"(%s, %at0, %u) : (tensor<1x3x4xf32>, tensor<1x1x2xi64>, tensor<1x1x4xf32>) -> tensor<1x3x4xf32>
  return %d, %s1 : tensor<1x4xf32>, tensor<1x3x4xf32>
}

// -----

// A row read after it was replaced is the present one.
// CHECK-LABEL: @read_after_write
// CHECK-NOT: wkv.token_shift
// CHECK: return
func.func @read_after_write(%x: tensor<1x4xf32>, %s: tensor<1x3x4xf32> {wkv.state = 1 : i64}) -> (tensor<1x4xf32>, tensor<1x3x4xf32>) {
  %zero = "onnx.Constant"() <{value = dense<0> : tensor<i64>}> : () -> tensor<i64>
  %at0 = "onnx.Constant"() <{value = dense<[[[0, 0]]]> : tensor<1x1x2xi64>}> : () -> tensor<1x1x2xi64>
  %row = "onnx.Constant"() <{value = dense<[1, 1, 4]> : tensor<3xi64>}> : () -> tensor<3xi64>
  %a = "onnx.Tanh"(%x) : (tensor<1x4xf32>) -> tensor<1x4xf32>
  %u = "onnx.Reshape"(%a, %row) : (tensor<1x4xf32>, tensor<3xi64>) -> tensor<1x1x4xf32>
  %s1 = "onnx.ScatterND"(%s, %at0, %u) : (tensor<1x3x4xf32>, tensor<1x1x2xi64>, tensor<1x1x4xf32>) -> tensor<1x3x4xf32>
  %p = "onnx.Gather"(%s1, %zero) <{axis = 1 : i64}> : (tensor<1x3x4xf32>, tensor<i64>) -> tensor<1x4xf32>
  %d = "onnx.Sub"(%p, %x) : (tensor<1x4xf32>, tensor<1x4xf32>) -> tensor<1x4xf32>
  return %d, %s1 : tensor<1x4xf32>, tensor<1x3x4xf32>
}

// -----

// A running average is computed from its own old value.
// CHECK-LABEL: @average
// CHECK-NOT: wkv.token_shift
// CHECK: return
func.func @average(%x: tensor<8xf32>, %s: tensor<8xf32> {wkv.state = 1 : i64}) -> (tensor<8xf32>, tensor<8xf32>) {
  %half = "onnx.Constant"() <{value = dense<0.5> : tensor<f32>}> : () -> tensor<f32>
  %a = "onnx.Add"(%x, %s) : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  %n = "onnx.Mul"(%a, %half) : (tensor<8xf32>, tensor<f32>) -> tensor<8xf32>
  %y = "onnx.Sub"(%s, %n) : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  return %y, %n : tensor<8xf32>, tensor<8xf32>
}

// -----

// The row is kept in another order than it is computed in.
// CHECK-LABEL: @transposed
// CHECK-NOT: wkv.token_shift
// CHECK: return
func.func @transposed(%x: tensor<2x4xf32>, %s: tensor<4x2xf32> {wkv.state = 1 : i64}) -> (tensor<4x2xf32>, tensor<4x2xf32>) {
  %a = "onnx.Tanh"(%x) : (tensor<2x4xf32>) -> tensor<2x4xf32>
  %n = "onnx.Transpose"(%a) <{perm = array<i64: 1, 0>}> : (tensor<2x4xf32>) -> tensor<4x2xf32>
  %y = "onnx.Sub"(%s, %n) : (tensor<4x2xf32>, tensor<4x2xf32>) -> tensor<4x2xf32>
  return %y, %n : tensor<4x2xf32>, tensor<4x2xf32>
}

// -----

// A float32 state of a half precision model: one op, no casts beside it.
// CHECK-LABEL: @half
// CHECK: wkv.token_shift {{.*}} : (tensor<1x1x8xf16>, tensor<1x8xf32>) -> (tensor<1x1x8xf16>, tensor<1x8xf32>)
// CHECK-NOT: onnx.Cast
func.func @half(%x: tensor<8xf16>, %s: tensor<8xf32> {wkv.state = 1 : i64}) -> (tensor<8xf16>, tensor<8xf32>) {
  %a = "onnx.Tanh"(%x) : (tensor<8xf16>) -> tensor<8xf16>
  %p = "onnx.Cast"(%s) <{to = 10 : i64}> : (tensor<8xf32>) -> tensor<8xf16>
  %d = "onnx.Sub"(%p, %a) : (tensor<8xf16>, tensor<8xf16>) -> tensor<8xf16>
  %n = "onnx.Cast"(%a) <{to = 1 : i64}> : (tensor<8xf16>) -> tensor<8xf32>
  return %d, %n : tensor<8xf16>, tensor<8xf32>
}

// -----

// Three tokens: the state, then x without its last row.
// CHECK-LABEL: @sequence
// CHECK: %[[T:.*]] = "onnx.Tanh"
// CHECK: %[[SHIFTED:.*]], %[[KEPT:.*]] = wkv.token_shift %[[T]] {{.*}} : (tensor<1x3x4xf32>, tensor<1x4xf32>)
// CHECK-NOT: onnx.Concat
// CHECK: "onnx.Sub"(%[[SHIFTED]], %[[T]])
// CHECK: return
func.func @sequence(%x: tensor<1x3x4xf32>, %s: tensor<1x1x4xf32> {wkv.state = 1 : i64}) -> (tensor<1x3x4xf32>, tensor<1x1x4xf32>) {
  %none = "onnx.NoValue"() : () -> none
  %zero = "onnx.Constant"() <{value = dense<0> : tensor<1xi64>}> : () -> tensor<1xi64>
  %last = "onnx.Constant"() <{value = dense<-1> : tensor<1xi64>}> : () -> tensor<1xi64>
  %end = "onnx.Constant"() <{value = dense<9223372036854775807> : tensor<1xi64>}> : () -> tensor<1xi64>
  %one = "onnx.Constant"() <{value = dense<1> : tensor<1xi64>}> : () -> tensor<1xi64>
  %a = "onnx.Tanh"(%x) : (tensor<1x3x4xf32>) -> tensor<1x3x4xf32>
  %head = "onnx.Slice"(%a, %zero, %last, %one, %none) : (tensor<1x3x4xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, none) -> tensor<1x2x4xf32>
  %p = "onnx.Concat"(%s, %head) <{axis = 1 : i64}> : (tensor<1x1x4xf32>, tensor<1x2x4xf32>) -> tensor<1x3x4xf32>
  %d = "onnx.Sub"(%p, %a) : (tensor<1x3x4xf32>, tensor<1x3x4xf32>) -> tensor<1x3x4xf32>
  %n = "onnx.Slice"(%a, %last, %end, %one, %none) : (tensor<1x3x4xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, none) -> tensor<1x1x4xf32>
  return %d, %n : tensor<1x3x4xf32>, tensor<1x1x4xf32>
}

// -----

// Without a state the first predecessor is zero; a negative pad drops the last
// row.
// CHECK-LABEL: @pad
// CHECK: wkv.token_shift %{{.*}} state(%{{.*}}) : (tensor<1x3x4xf32>, tensor<1x4xf32>)
// CHECK-NOT: onnx.Pad
func.func @pad(%x: tensor<1x3x4xf32>) -> tensor<1x3x4xf32> {
  %none = "onnx.NoValue"() : () -> none
  %pads = "onnx.Constant"() <{value = dense<[0, 1, 0, 0, -1, 0]> : tensor<6xi64>}> : () -> tensor<6xi64>
  %p = "onnx.Pad"(%x, %pads, %none, %none) : (tensor<1x3x4xf32>, tensor<6xi64>, none, none) -> tensor<1x3x4xf32>
  return %p : tensor<1x3x4xf32>
}

// -----

// Shifted by two is something else.
// CHECK-LABEL: @pad_two
// CHECK-NOT: wkv.token_shift
// CHECK: return
func.func @pad_two(%x: tensor<1x3x4xf32>) -> tensor<1x3x4xf32> {
  %none = "onnx.NoValue"() : () -> none
  %pads = "onnx.Constant"() <{value = dense<[0, 2, 0, 0, -2, 0]> : tensor<6xi64>}> : () -> tensor<6xi64>
  %p = "onnx.Pad"(%x, %pads, %none, %none) : (tensor<1x3x4xf32>, tensor<6xi64>, none, none) -> tensor<1x3x4xf32>
  return %p : tensor<1x3x4xf32>
}

// -----

// Rows of three texts, which are the last axis of the state.
// CHECK-LABEL: @texts_last
// CHECK-SAME: %{{[a-z0-9]+}}: tensor<3x8xf32>, %[[S:[a-z0-9]+]]: tensor<8x3xf32>
// CHECK: %[[OLD:.*]] = "onnx.Transpose"(%[[S]])
// CHECK: %{{.*}}, %[[KEPT:.*]] = wkv.token_shift %{{.*}} state(%[[OLD]]) : (tensor<3x1x8xf32>, tensor<3x8xf32>)
// CHECK: %[[N:.*]] = "onnx.Transpose"(%[[KEPT]])
// CHECK: return %{{.*}}, %[[N]]
func.func @texts_last(%x: tensor<3x8xf32>, %s: tensor<8x3xf32> {wkv.state = 1 : i64}) -> (tensor<3x8xf32>, tensor<8x3xf32>) {
  %t = "onnx.Tanh"(%x) : (tensor<3x8xf32>) -> tensor<3x8xf32>
  %p = "onnx.Transpose"(%s) <{perm = array<i64: 1, 0>}> : (tensor<8x3xf32>) -> tensor<3x8xf32>
  %d = "onnx.Sub"(%p, %t) : (tensor<3x8xf32>, tensor<3x8xf32>) -> tensor<3x8xf32>
  %n = "onnx.Transpose"(%t) <{perm = array<i64: 1, 0>}> : (tensor<3x8xf32>) -> tensor<8x3xf32>
  return %d, %n : tensor<3x8xf32>, tensor<8x3xf32>
}

// -----

// A state of four times the row, one packed with another row; the row itself is
// shifted. The other one is half of a value, and is read as it is.
// CHECK-LABEL: @scaled
// CHECK-SAME: %[[X:[a-z0-9]+]]: tensor<1x4xf32>
// CHECK-DAG: %[[FOUR:.*]] = "onnx.Constant"() <{value = dense<4.000000e+00> : tensor<f32>}>
// CHECK-DAG: %[[OLD:.*]] = "onnx.Div"(%{{.*}}, %[[FOUR]])
// CHECK-DAG: %[[T:.*]] = "onnx.Tanh"(%[[X]])
// CHECK-DAG: %[[ROW:.*]] = "onnx.Reshape"(%[[T]],
// CHECK: %[[SHIFTED:.*]], %[[KEPT:.*]] = wkv.token_shift %[[ROW]] state(%[[OLD]])
// CHECK: %[[H:.*]] = "onnx.Mul"({{.*}}) : (tensor<f32>, tensor<1x4xf32>)
// CHECK: %[[HALF:.*]] = "onnx.Reshape"(%[[H]],
// CHECK: wkv.token_shift %[[HALF]]
// CHECK: "onnx.Mul"(%[[KEPT]], %[[FOUR]])
// CHECK-NOT: wkv.token_shift
func.func @scaled(%x: tensor<1x4xf32>, %s: tensor<2x4xf32> {wkv.state = 1 : i64}) -> (tensor<1x4xf32>, tensor<2x4xf32>) {
  %four = "onnx.Constant"() <{value = dense<4.0> : tensor<f32>}> : () -> tensor<f32>
  %half = "onnx.Constant"() <{value = dense<0.5> : tensor<f32>}> : () -> tensor<f32>
  %sizes = "onnx.Constant"() <{value = dense<1> : tensor<2xi64>}> : () -> tensor<2xi64>
  %a:2 = "onnx.Split"(%s, %sizes) <{axis = 0 : i64}> : (tensor<2x4xf32>, tensor<2xi64>) -> (tensor<1x4xf32>, tensor<1x4xf32>)
  %p = "onnx.Div"(%a#0, %four) : (tensor<1x4xf32>, tensor<f32>) -> tensor<1x4xf32>
  %t = "onnx.Tanh"(%x) : (tensor<1x4xf32>) -> tensor<1x4xf32>
  %d = "onnx.Sub"(%t, %p) : (tensor<1x4xf32>, tensor<1x4xf32>) -> tensor<1x4xf32>
  %h = "onnx.Mul"(%half, %d) : (tensor<f32>, tensor<1x4xf32>) -> tensor<1x4xf32>
  %e = "onnx.Sub"(%h, %a#1) : (tensor<1x4xf32>, tensor<1x4xf32>) -> tensor<1x4xf32>
  %n = "onnx.Mul"(%t, %four) : (tensor<1x4xf32>, tensor<f32>) -> tensor<1x4xf32>
  %all = "onnx.Concat"(%n, %h) <{axis = 0 : i64}> : (tensor<1x4xf32>, tensor<1x4xf32>) -> tensor<2x4xf32>
  return %e, %all : tensor<1x4xf32>, tensor<2x4xf32>
}

// -----

// Over three tokens.
// CHECK-LABEL: @scaled_sequence
// CHECK: %[[OLD:.*]] = "onnx.Mul"(
// CHECK: %[[T:.*]] = "onnx.Tanh"(
// CHECK: %[[SHIFTED:.*]], %[[KEPT:.*]] = wkv.token_shift %[[T]] state(%[[OLD]])
// CHECK: "onnx.Sub"(%[[T]], %[[SHIFTED]])
// CHECK: "onnx.Div"(%[[KEPT]],
func.func @scaled_sequence(%x: tensor<1x3x4xf32>, %s: tensor<1x4xf32> {wkv.state = 1 : i64}) -> (tensor<1x3x4xf32>, tensor<1x4xf32>) {
  %c = "onnx.Constant"() <{value = dense<0.3> : tensor<1xf32>}> : () -> tensor<1xf32>
  %index = "onnx.Constant"() <{value = dense<2> : tensor<i64>}> : () -> tensor<i64>
  %zero = "onnx.Constant"() <{value = dense<0> : tensor<1xi64>}> : () -> tensor<1xi64>
  %one = "onnx.Constant"() <{value = dense<1> : tensor<1xi64>}> : () -> tensor<1xi64>
  %two = "onnx.Constant"() <{value = dense<2> : tensor<1xi64>}> : () -> tensor<1xi64>
  %p = "onnx.Mul"(%s, %c) : (tensor<1x4xf32>, tensor<1xf32>) -> tensor<1x4xf32>
  %t = "onnx.Tanh"(%x) : (tensor<1x3x4xf32>) -> tensor<1x3x4xf32>
  %first = "onnx.Unsqueeze"(%p, %one) : (tensor<1x4xf32>, tensor<1xi64>) -> tensor<1x1x4xf32>
  %rest = "onnx.Slice"(%t, %zero, %two, %one, %one) : (tensor<1x3x4xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<1x2x4xf32>
  %prev = "onnx.Concat"(%first, %rest) <{axis = 1 : i64}> : (tensor<1x1x4xf32>, tensor<1x2x4xf32>) -> tensor<1x3x4xf32>
  %d = "onnx.Sub"(%t, %prev) : (tensor<1x3x4xf32>, tensor<1x3x4xf32>) -> tensor<1x3x4xf32>
  %last = "onnx.Gather"(%t, %index) <{axis = 1 : i64}> : (tensor<1x3x4xf32>, tensor<i64>) -> tensor<1x4xf32>
  %n = "onnx.Div"(%last, %c) : (tensor<1x4xf32>, tensor<1xf32>) -> tensor<1x4xf32>
  return %d, %n : tensor<1x3x4xf32>, tensor<1x4xf32>
}

// -----

// Rows of a packed state that is scaled as a whole, before parts are read and
// after others were written.
// CHECK-LABEL: @scaled_whole
// CHECK: wkv.token_shift
// CHECK: wkv.token_shift
// CHECK-NOT: wkv.token_shift
func.func @scaled_whole(%x: tensor<1x4xf32>, %s: tensor<1x3x4xf32> {wkv.state = 1 : i64}) -> (tensor<1x4xf32>, tensor<1x3x4xf32>) {
  %eight = "onnx.Constant"() <{value = dense<8.0> : tensor<f32>}> : () -> tensor<f32>
  %zero = "onnx.Constant"() <{value = dense<0> : tensor<i64>}> : () -> tensor<i64>
  %two = "onnx.Constant"() <{value = dense<2> : tensor<i64>}> : () -> tensor<i64>
  %at0 = "onnx.Constant"() <{value = dense<[[[0, 0]]]> : tensor<1x1x2xi64>}> : () -> tensor<1x1x2xi64>
  %at2 = "onnx.Constant"() <{value = dense<[[[0, 2]]]> : tensor<1x1x2xi64>}> : () -> tensor<1x1x2xi64>
  %row = "onnx.Constant"() <{value = dense<[1, 1, 4]> : tensor<3xi64>}> : () -> tensor<3xi64>
  %s0 = "onnx.Div"(%s, %eight) : (tensor<1x3x4xf32>, tensor<f32>) -> tensor<1x3x4xf32>
  %a = "onnx.Tanh"(%x) : (tensor<1x4xf32>) -> tensor<1x4xf32>
  %p = "onnx.Gather"(%s0, %zero) <{axis = 1 : i64}> : (tensor<1x3x4xf32>, tensor<i64>) -> tensor<1x4xf32>
  %d = "onnx.Sub"(%p, %a) : (tensor<1x4xf32>, tensor<1x4xf32>) -> tensor<1x4xf32>
  %u = "onnx.Reshape"(%a, %row) : (tensor<1x4xf32>, tensor<3xi64>) -> tensor<1x1x4xf32>
  %s1 = "onnx.ScatterND"(%s0, %at0, %u) : (tensor<1x3x4xf32>, tensor<1x1x2xi64>, tensor<1x1x4xf32>) -> tensor<1x3x4xf32>
  %b = "onnx.Tanh"(%d) : (tensor<1x4xf32>) -> tensor<1x4xf32>
  %q = "onnx.Gather"(%s1, %two) <{axis = 1 : i64}> : (tensor<1x3x4xf32>, tensor<i64>) -> tensor<1x4xf32>
  %e = "onnx.Sub"(%q, %b) : (tensor<1x4xf32>, tensor<1x4xf32>) -> tensor<1x4xf32>
  %v = "onnx.Reshape"(%b, %row) : (tensor<1x4xf32>, tensor<3xi64>) -> tensor<1x1x4xf32>
  %s2 = "onnx.ScatterND"(%s1, %at2, %v) : (tensor<1x3x4xf32>, tensor<1x1x2xi64>, tensor<1x1x4xf32>) -> tensor<1x3x4xf32>
  %n = "onnx.Mul"(%s2, %eight) : (tensor<1x3x4xf32>, tensor<f32>) -> tensor<1x3x4xf32>
  return %e, %n : tensor<1x4xf32>, tensor<1x3x4xf32>
}
