// RUN: rwkv-opt %s --split-input-file --wkv-join-heads --canonicalize | FileCheck %s

// Two groups of one head, in the order of their rows; the second layer, which
// depends on the first, has a recurrence of its own.
// CHECK-LABEL: @groups
// CHECK-SAME: %[[X:[a-z0-9]+]]: tensor<1x1x2x4xf32>, %[[S:[a-z0-9]+]]: tensor<1x2x4x4xf32>
// CHECK-DAG: %[[U:.*]] = "onnx.Constant"() <{value = dense<{{\[\[}}1.000000e+00, 1.000000e+00, 1.000000e+00, 1.000000e+00], [2.000000e+00, 2.000000e+00, 2.000000e+00, 2.000000e+00]]> : tensor<2x4xf32>}>
// CHECK: %[[Y:.*]], %[[N:.*]] = wkv.wkv6 receptance(%[[X]]) key(%[[X]]) value(%[[X]]) decay(%[[X]]) bonus(%[[U]]) init(%{{.*}}) state(%[[S]])
// CHECK: wkv.wkv6 {{.*}} -> (tensor<1x1x2x4xf32>, tensor<1x2x4x4xf32>)
// CHECK-NOT: wkv.wkv6
// CHECK-NOT: onnx.Concat
// CHECK: return %{{.*}}, %[[N]], %{{.*}}
func.func @groups(%x: tensor<1x1x2x4xf32>, %s: tensor<1x2x4x4xf32>, %z: tensor<1x2x4x4xf32>) -> (tensor<1x1x2x4xf32>, tensor<1x2x4x4xf32>, tensor<1x2x4x4xf32>) {
  %sizes = "onnx.Constant"() <{value = dense<1> : tensor<2xi64>}> : () -> tensor<2xi64>
  %u0 = "onnx.Constant"() <{value = dense<1.0> : tensor<1x4xf32>}> : () -> tensor<1x4xf32>
  %u1 = "onnx.Constant"() <{value = dense<2.0> : tensor<1x4xf32>}> : () -> tensor<1x4xf32>
  %u = "onnx.Constant"() <{value = dense<3.0> : tensor<2x4xf32>}> : () -> tensor<2x4xf32>
  %h:2 = "onnx.Split"(%x, %sizes) <{axis = 2 : i64}> : (tensor<1x1x2x4xf32>, tensor<2xi64>) -> (tensor<1x1x1x4xf32>, tensor<1x1x1x4xf32>)
  %p:2 = "onnx.Split"(%s, %sizes) <{axis = 1 : i64}> : (tensor<1x2x4x4xf32>, tensor<2xi64>) -> (tensor<1x1x4x4xf32>, tensor<1x1x4x4xf32>)
  %e = tensor.empty() : tensor<1x1x1x4xf32>
  %y1, %n1 = wkv.wkv6 receptance(%h#1) key(%h#1) value(%h#1) decay(%h#1) bonus(%u1) init(%e) state(%p#1) : (tensor<1x1x1x4xf32>, tensor<1x1x1x4xf32>, tensor<1x1x1x4xf32>, tensor<1x1x1x4xf32>, tensor<1x4xf32>, tensor<1x1x1x4xf32>, tensor<1x1x4x4xf32>) -> (tensor<1x1x1x4xf32>, tensor<1x1x4x4xf32>)
  %y0, %n0 = wkv.wkv6 receptance(%h#0) key(%h#0) value(%h#0) decay(%h#0) bonus(%u0) init(%e) state(%p#0) : (tensor<1x1x1x4xf32>, tensor<1x1x1x4xf32>, tensor<1x1x1x4xf32>, tensor<1x1x1x4xf32>, tensor<1x4xf32>, tensor<1x1x1x4xf32>, tensor<1x1x4x4xf32>) -> (tensor<1x1x1x4xf32>, tensor<1x1x4x4xf32>)
  %y = "onnx.Concat"(%y0, %y1) <{axis = 2 : i64}> : (tensor<1x1x1x4xf32>, tensor<1x1x1x4xf32>) -> tensor<1x1x2x4xf32>
  %n = "onnx.Concat"(%n0, %n1) <{axis = 1 : i64}> : (tensor<1x1x4x4xf32>, tensor<1x1x4x4xf32>) -> tensor<1x2x4x4xf32>
  %e2 = tensor.empty() : tensor<1x1x2x4xf32>
  %y2, %n2 = wkv.wkv6 receptance(%y) key(%y) value(%y) decay(%y) bonus(%u) init(%e2) state(%z) : (tensor<1x1x2x4xf32>, tensor<1x1x2x4xf32>, tensor<1x1x2x4xf32>, tensor<1x1x2x4xf32>, tensor<2x4xf32>, tensor<1x1x2x4xf32>, tensor<1x2x4x4xf32>) -> (tensor<1x1x2x4xf32>, tensor<1x2x4x4xf32>)
  return %y2, %n, %n2 : tensor<1x1x2x4xf32>, tensor<1x2x4x4xf32>, tensor<1x2x4x4xf32>
}

// -----

// Heads whose rows are no parts of one tensor follow as their states do.
// CHECK-LABEL: @apart
// CHECK: %[[OLD:.*]] = "onnx.Concat"(%{{.*}}, %{{.*}}) <{axis = 1 : i64}> : (tensor<1x1x4x4xf32>, tensor<1x2x4x4xf32>)
// CHECK: %[[Y:.*]], %[[N:.*]] = wkv.wkv7 {{.*}} state(%[[OLD]])
// CHECK-NOT: wkv.wkv7
// CHECK: %[[N0:.*]] = "onnx.Slice"(%[[N]],
// CHECK: %[[N1:.*]] = "onnx.Slice"(%[[N]],
// CHECK: return %{{.*}}, %[[N0]], %[[N1]]
func.func @apart(%x: tensor<1x3x1x4xf32>, %z: tensor<1x3x2x4xf32>, %s: tensor<1x1x4x4xf32>, %t: tensor<1x2x4x4xf32>) -> (tensor<1x3x2x4xf32>, tensor<1x1x4x4xf32>, tensor<1x2x4x4xf32>) {
  %e = tensor.empty() : tensor<1x3x1x4xf32>
  %e2 = tensor.empty() : tensor<1x3x2x4xf32>
  %y1, %n1 = wkv.wkv7 receptance(%z) decay(%z) key(%z) value(%z) a(%z) b(%z) init(%e2) state(%t) : (tensor<1x3x2x4xf32>, tensor<1x3x2x4xf32>, tensor<1x3x2x4xf32>, tensor<1x3x2x4xf32>, tensor<1x3x2x4xf32>, tensor<1x3x2x4xf32>, tensor<1x3x2x4xf32>, tensor<1x2x4x4xf32>) -> (tensor<1x3x2x4xf32>, tensor<1x2x4x4xf32>)
  %y0, %n0 = wkv.wkv7 receptance(%x) decay(%x) key(%x) value(%x) a(%x) b(%x) init(%e) state(%s) : (tensor<1x3x1x4xf32>, tensor<1x3x1x4xf32>, tensor<1x3x1x4xf32>, tensor<1x3x1x4xf32>, tensor<1x3x1x4xf32>, tensor<1x3x1x4xf32>, tensor<1x3x1x4xf32>, tensor<1x1x4x4xf32>) -> (tensor<1x3x1x4xf32>, tensor<1x1x4x4xf32>)
  %sum = "onnx.Add"(%x, %y0) : (tensor<1x3x1x4xf32>, tensor<1x3x1x4xf32>) -> tensor<1x3x1x4xf32>
  %y = "onnx.Mul"(%sum, %y1) : (tensor<1x3x1x4xf32>, tensor<1x3x2x4xf32>) -> tensor<1x3x2x4xf32>
  return %y, %n0, %n1 : tensor<1x3x2x4xf32>, tensor<1x1x4x4xf32>, tensor<1x2x4x4xf32>
}

// -----

// Other tokens, other sizes, and one decay for all tokens.
// CHECK-LABEL: @unlike
// CHECK-COUNT-3: wkv.wkv6
func.func @unlike(%x: tensor<1x1x1x4xf32>, %z: tensor<1x3x1x4xf32>, %v: tensor<1x1x1x8xf32>, %s: tensor<1x1x4x4xf32>, %t: tensor<1x1x4x8xf32>, %u: tensor<1x4xf32>) -> (tensor<1x1x1x4xf32>, tensor<1x3x1x4xf32>, tensor<1x1x1x8xf32>) {
  %e = tensor.empty() : tensor<1x1x1x4xf32>
  %e3 = tensor.empty() : tensor<1x3x1x4xf32>
  %e8 = tensor.empty() : tensor<1x1x1x8xf32>
  %y0, %n0 = wkv.wkv6 receptance(%x) key(%x) value(%x) decay(%x) bonus(%u) init(%e) state(%s) : (tensor<1x1x1x4xf32>, tensor<1x1x1x4xf32>, tensor<1x1x1x4xf32>, tensor<1x1x1x4xf32>, tensor<1x4xf32>, tensor<1x1x1x4xf32>, tensor<1x1x4x4xf32>) -> (tensor<1x1x1x4xf32>, tensor<1x1x4x4xf32>)
  %y1, %n1 = wkv.wkv6 receptance(%z) key(%z) value(%z) decay(%x) bonus(%u) init(%e3) state(%s) : (tensor<1x3x1x4xf32>, tensor<1x3x1x4xf32>, tensor<1x3x1x4xf32>, tensor<1x1x1x4xf32>, tensor<1x4xf32>, tensor<1x3x1x4xf32>, tensor<1x1x4x4xf32>) -> (tensor<1x3x1x4xf32>, tensor<1x1x4x4xf32>)
  %y2, %n2 = wkv.wkv6 receptance(%x) key(%x) value(%v) decay(%x) bonus(%u) init(%e8) state(%t) : (tensor<1x1x1x4xf32>, tensor<1x1x1x4xf32>, tensor<1x1x1x8xf32>, tensor<1x1x1x4xf32>, tensor<1x4xf32>, tensor<1x1x1x8xf32>, tensor<1x1x4x8xf32>) -> (tensor<1x1x1x8xf32>, tensor<1x1x4x8xf32>)
  return %y0, %y1, %y2 : tensor<1x1x1x4xf32>, tensor<1x3x1x4xf32>, tensor<1x1x1x8xf32>
}
