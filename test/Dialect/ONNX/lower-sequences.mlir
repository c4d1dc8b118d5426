// RUN: rwkv-opt %s --split-input-file --onnx-lower-sequences | FileCheck %s

// Appended in a loop, after one tensor before it, and stacked along another axis
// than the first: a collected output, moved where its shape is known.
// CHECK-LABEL: @appended
// CHECK-SAME: %[[Y:[a-z0-9]+]]: tensor<4xf32>
// CHECK: %[[R:.*]] = "onnx.Loop"(%{{.*}}, %{{.*}}) ({
// CHECK-NEXT: ^bb0(%{{.*}}: tensor<i64>, %{{.*}}: tensor<i1>):
// CHECK-NEXT: %[[E:.*]] = "onnx.Exp"(%[[Y]])
// CHECK-NEXT: "onnx.Yield"(%{{.*}}, %[[E]])
// CHECK-NEXT: {onnx_node_name = "loop"} : (tensor<i64>, none) -> tensor<3x4xf32>
// CHECK: %[[MOVED:.*]] = "onnx.Transpose"(%[[R]]) <{perm = array<i64: 1, 0>}> : (tensor<3x4xf32>) -> tensor<4x3xf32>
// CHECK: %[[FIRST:.*]] = "onnx.Unsqueeze"(%[[Y]], {{.*}} -> tensor<4x1xf32>
// CHECK: %[[ALL:.*]] = "onnx.Concat"(%[[FIRST]], %[[MOVED]]) <{axis = 1 : i64}> : (tensor<4x1xf32>, tensor<4x3xf32>)
// CHECK: return %[[ALL]]
func.func @appended(%y: tensor<4xf32>) -> tensor<*xf32> {
  %count = "onnx.Constant"() <{value = dense<3> : tensor<i64>}> : () -> tensor<i64>
  %none = "onnx.NoValue"() : () -> none
  %s = "onnx.Custom"(%y) <{domain = "", op_type = "SequenceConstruct", attrs = {}}> : (tensor<4xf32>) -> tensor<*xf32>
  %r = "onnx.Loop"(%count, %none, %s) ({
  ^bb0(%i: tensor<i64>, %c: tensor<i1>, %q: tensor<*xf32>):
    %e = "onnx.Exp"(%y) : (tensor<4xf32>) -> tensor<4xf32>
    %q1 = "onnx.Custom"(%q, %e) <{domain = "", op_type = "SequenceInsert", attrs = {}}> : (tensor<*xf32>, tensor<4xf32>) -> tensor<*xf32>
    "onnx.Yield"(%c, %q1) : (tensor<i1>, tensor<*xf32>) -> ()
  }) {onnx_node_name = "loop"} : (tensor<i64>, none, tensor<*xf32>) -> tensor<*xf32>
  %all = "onnx.Custom"(%r) <{domain = "", op_type = "ConcatFromSequence", attrs = {axis = 1 : i64, new_axis = 1 : i64}}> : (tensor<*xf32>) -> tensor<*xf32>
  return %all : tensor<*xf32>
}

// -----

// Two in each step, in order, joined along an axis that they have; the function
// returns what has a shape now.
// CHECK-LABEL: @two
// CHECK-SAME: -> tensor<2x18xf32>
// CHECK: %[[R:.*]] = "onnx.Loop"
// CHECK: %[[A:.*]] = "onnx.Unsqueeze"(%[[FIRST:[a-z0-9]+]], {{.*}} -> tensor<1x2x3xf32>
// CHECK: %[[E:.*]] = "onnx.Unsqueeze"(%{{.*}} -> tensor<1x2x3xf32>
// CHECK: %[[ROWS:.*]] = "onnx.Concat"(%[[A]], %[[E]]) <{axis = 0 : i64}>
// CHECK: "onnx.Yield"(%{{.*}}, %[[ROWS]])
// CHECK: -> tensor<3x2x2x3xf32>
// CHECK: %[[ALL:.*]] = "onnx.Reshape"(%[[R]], %{{.*}} -> tensor<6x2x3xf32>
// CHECK: %[[MOVED:.*]] = "onnx.Transpose"(%[[ALL]]) <{perm = array<i64: 1, 0, 2>}>
// CHECK: %[[Y:.*]] = "onnx.Reshape"(%[[MOVED]], %{{.*}} -> tensor<2x18xf32>
// CHECK: return %[[Y]]
func.func @two(%y: tensor<2x3xf32>) -> tensor<*xf32> {
  %count = "onnx.Constant"() <{value = dense<3> : tensor<i64>}> : () -> tensor<i64>
  %none = "onnx.NoValue"() : () -> none
  %s = "onnx.Custom"() <{domain = "", op_type = "SequenceEmpty", attrs = {}}> : () -> tensor<*xf32>
  %r = "onnx.Loop"(%count, %none, %s) ({
  ^bb0(%i: tensor<i64>, %c: tensor<i1>, %q: tensor<*xf32>):
    %e = "onnx.Exp"(%y) : (tensor<2x3xf32>) -> tensor<2x3xf32>
    %q1 = "onnx.Custom"(%q, %y) <{domain = "", op_type = "SequenceInsert", attrs = {}}> : (tensor<*xf32>, tensor<2x3xf32>) -> tensor<*xf32>
    %q2 = "onnx.Custom"(%q1, %e) <{domain = "", op_type = "SequenceInsert", attrs = {}}> : (tensor<*xf32>, tensor<2x3xf32>) -> tensor<*xf32>
    "onnx.Yield"(%c, %q2) : (tensor<i1>, tensor<*xf32>) -> ()
  }) : (tensor<i64>, none, tensor<*xf32>) -> tensor<*xf32>
  %all = "onnx.Custom"(%r) <{domain = "", op_type = "ConcatFromSequence", attrs = {axis = 1 : i64}}> : (tensor<*xf32>) -> tensor<*xf32>
  return %all : tensor<*xf32>
}

// -----

// Elements and the number of a split tensor; joined ones need no new axis.
// CHECK-LABEL: @split
// CHECK-SAME: %[[X:[a-z0-9]+]]: tensor<3x4xf32>, %[[I:[a-z0-9]+]]: tensor<i64>
// CHECK-NOT: Sequence
// CHECK: %[[S:.*]] = "onnx.Shape"(%[[X]])
// CHECK: %[[N:.*]] = "onnx.Gather"(%[[S]], %{{.*}}) <{axis = 0 : i64}>
// CHECK: %[[AT:.*]] = "onnx.Reshape"(%[[I]]
// CHECK: %[[E:.*]] = "onnx.Gather"(%[[X]], %[[AT]]) <{axis = 0 : i64}>
// CHECK: %[[C:.*]] = "onnx.Concat"(%[[E]], %[[X]], %[[E]]) <{axis = -2 : i64}>
// CHECK: return %[[N]], %[[C]]
func.func @split(%x: tensor<3x4xf32>, %i: tensor<i64>) -> (tensor<i64>, tensor<*xf32>) {
  %none = "onnx.NoValue"() : () -> none
  %first = "onnx.Constant"() <{value = dense<0> : tensor<i64>}> : () -> tensor<i64>
  %s = "onnx.Custom"(%x, %none) <{domain = "", op_type = "SplitToSequence", attrs = {axis = 0 : i64}}> : (tensor<3x4xf32>, none) -> tensor<*xf32>
  %n = "onnx.Custom"(%s) <{domain = "", op_type = "SequenceLength", attrs = {}}> : (tensor<*xf32>) -> tensor<i64>
  %e = "onnx.Custom"(%s, %i) <{domain = "", op_type = "SequenceAt", attrs = {}}> : (tensor<*xf32>, tensor<i64>) -> tensor<*xf32>
  %q = "onnx.Custom"() <{domain = "", op_type = "SequenceEmpty", attrs = {}}> : () -> tensor<*xf32>
  %q1 = "onnx.Custom"(%q, %x) <{domain = "", op_type = "SequenceInsert", attrs = {}}> : (tensor<*xf32>, tensor<3x4xf32>) -> tensor<*xf32>
  %q2 = "onnx.Custom"(%q1, %e) <{domain = "", op_type = "SequenceInsert", attrs = {}}> : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %q3 = "onnx.Custom"(%q2, %e, %first) <{domain = "", op_type = "SequenceInsert", attrs = {}}> : (tensor<*xf32>, tensor<*xf32>, tensor<i64>) -> tensor<*xf32>
  %c = "onnx.Custom"(%q3) <{domain = "", op_type = "ConcatFromSequence", attrs = {axis = -2 : i64}}> : (tensor<*xf32>) -> tensor<*xf32>
  return %n, %c : tensor<i64>, tensor<*xf32>
}
