// RUN: rwkv-opt %s --onnx-simplify-shapes --split-input-file | FileCheck %s

// What torch exports for x.view(x.shape[0], heads, -1).
// CHECK-LABEL: func.func @view
// CHECK-SAME: (%[[X:.*]]: tensor<1x64xf32>) -> tensor<1x2x32xf32>
// CHECK-NEXT: %[[S:.*]] = "onnx.Constant"() <{value = dense<[1, 2, -1]> : tensor<3xi64>}>
// CHECK-NEXT: %[[R:.*]] = "onnx.Reshape"(%[[X]], %[[S]]) {{.*}} -> tensor<1x2x32xf32>
// CHECK-NEXT: return %[[R]]
func.func @view(%x: tensor<1x64xf32>) -> tensor<*xf32> {
  %zero = "onnx.Constant"() {value = dense<0> : tensor<i64>} : () -> tensor<i64>
  %axes = "onnx.Constant"() {value = dense<0> : tensor<1xi64>} : () -> tensor<1xi64>
  %heads = "onnx.Constant"() {value = dense<2> : tensor<1xi64>} : () -> tensor<1xi64>
  %rest = "onnx.Constant"() {value = dense<-1> : tensor<1xi64>} : () -> tensor<1xi64>
  %0 = "onnx.Shape"(%x) : (tensor<1x64xf32>) -> tensor<?xi64>
  %1 = "onnx.Gather"(%0, %zero) {axis = 0 : i64} : (tensor<?xi64>, tensor<i64>) -> tensor<*xi64>
  %2 = "onnx.Unsqueeze"(%1, %axes) : (tensor<*xi64>, tensor<1xi64>) -> tensor<*xi64>
  %3 = "onnx.Concat"(%2, %heads, %rest) {axis = 0 : i64} : (tensor<*xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<*xi64>
  %4 = "onnx.Reshape"(%x, %3) : (tensor<1x64xf32>, tensor<*xi64>) -> tensor<*xf32>
  return %4 : tensor<*xf32>
}

// -----

// What it exports for state[1] = x: the index arithmetic becomes one constant.
// CHECK-LABEL: func.func @assign
// CHECK-SAME: (%[[S:.*]]: tensor<3x4xf32>, %[[X:.*]]: tensor<4xf32>) -> tensor<3x4xf32>
// CHECK-NEXT: %[[I:.*]] = "onnx.Constant"() <{value = dense<{{\[\[}}1, 0], [1, 1], [1, 2], [1, 3]]> : tensor<4x2xi64>}>
// CHECK-NEXT: "onnx.ScatterND"(%[[S]], %[[I]], %[[X]])
// CHECK-NEXT: return
func.func @assign(%s: tensor<3x4xf32>, %x: tensor<4xf32>) -> tensor<*xf32> {
  %zero = "onnx.Constant"() {value = dense<0> : tensor<i64>} : () -> tensor<i64>
  %one = "onnx.Constant"() {value = dense<1> : tensor<i64>} : () -> tensor<i64>
  %last = "onnx.Constant"() {value = dense<-1> : tensor<1xi64>} : () -> tensor<1xi64>
  %row = "onnx.Constant"() {value = dense<1> : tensor<1x1xi64>} : () -> tensor<1x1xi64>
  %rank = "onnx.Constant"() {value = dense<2> : tensor<1xi64>} : () -> tensor<1xi64>
  %minus = "onnx.Constant"() {value = dense<-1> : tensor<i64>} : () -> tensor<i64>
  %wanted = "onnx.Constant"() {value = dense<[4, -1]> : tensor<2xi64>} : () -> tensor<2xi64>
  %shape = "onnx.Shape"(%s) : (tensor<3x4xf32>) -> tensor<2xi64>
  %columns = "onnx.Gather"(%shape, %one) {axis = 0 : i64} : (tensor<2xi64>, tensor<i64>) -> tensor<i64>
  %range = "onnx.Range"(%zero, %columns, %one) : (tensor<i64>, tensor<i64>, tensor<i64>) -> tensor<?xi64>
  %column = "onnx.Unsqueeze"(%range, %last) : (tensor<?xi64>, tensor<1xi64>) -> tensor<?x1xi64>
  %ones = "onnx.ConstantOfShape"(%rank) {value = dense<1> : tensor<1xi64>} : (tensor<1xi64>) -> tensor<?xi64>
  %negative = "onnx.Mul"(%ones, %minus) : (tensor<?xi64>, tensor<i64>) -> tensor<?xi64>
  %isOpen = "onnx.Equal"(%wanted, %negative) : (tensor<2xi64>, tensor<?xi64>) -> tensor<?xi1>
  %target = "onnx.Where"(%isOpen, %ones, %wanted) : (tensor<?xi1>, tensor<?xi64>, tensor<2xi64>) -> tensor<?xi64>
  %rows = "onnx.Expand"(%row, %target) : (tensor<1x1xi64>, tensor<?xi64>) -> tensor<?x?xi64>
  %indices = "onnx.Concat"(%rows, %column) {axis = -1 : i64} : (tensor<?x?xi64>, tensor<?x1xi64>) -> tensor<?x?xi64>
  %0 = "onnx.ScatterND"(%s, %indices, %x) : (tensor<3x4xf32>, tensor<?x?xi64>, tensor<4xf32>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

// -----

// CHECK-LABEL: func.func @no_ops
// CHECK-SAME: (%[[X:.*]]: tensor<1x4xf32>) -> tensor<1x4xf32>
// CHECK-NEXT: return %[[X]]
func.func @no_ops(%x: tensor<1x4xf32>) -> tensor<1x4xf32> {
  %none = "onnx.NoValue"() : () -> none
  %shape = "onnx.Constant"() {value = dense<[-1, 4]> : tensor<2xi64>} : () -> tensor<2xi64>
  %begin = "onnx.Constant"() {value = dense<0> : tensor<1xi64>} : () -> tensor<1xi64>
  %end = "onnx.Constant"() {value = dense<9223372036854775807> : tensor<1xi64>} : () -> tensor<1xi64>
  %axis = "onnx.Constant"() {value = dense<1> : tensor<1xi64>} : () -> tensor<1xi64>
  %pads = "onnx.Constant"() {value = dense<0> : tensor<4xi64>} : () -> tensor<4xi64>
  %0 = "onnx.Cast"(%x) {to = 1 : i64} : (tensor<1x4xf32>) -> tensor<1x4xf32>
  %1 = "onnx.Reshape"(%0, %shape) : (tensor<1x4xf32>, tensor<2xi64>) -> tensor<*xf32>
  %2 = "onnx.Identity"(%1) : (tensor<*xf32>) -> tensor<*xf32>
  %3:2 = "onnx.Dropout"(%2, %none, %none) : (tensor<*xf32>, none, none) -> (tensor<*xf32>, none)
  %4 = "onnx.Slice"(%3#0, %begin, %end, %axis, %none) : (tensor<*xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, none) -> tensor<*xf32>
  %5 = "onnx.Pad"(%4, %pads, %none, %none) : (tensor<*xf32>, tensor<4xi64>, none, none) -> tensor<1x4xf32>
  %6 = "onnx.Transpose"(%5) {perm = array<i64: 0, 1>} : (tensor<1x4xf32>) -> tensor<1x4xf32>
  return %6 : tensor<1x4xf32>
}

// -----

// Neither a reversal nor a rotation nor a swap of axes is without effect.
// CHECK-LABEL: func.func @effects
// CHECK: "onnx.Slice"
// CHECK: "onnx.Pad"
// CHECK: "onnx.Transpose"
// CHECK: "onnx.Cast"
func.func @effects(%x: tensor<4x4xf32>) -> tensor<4x4xf16> {
  %none = "onnx.NoValue"() : () -> none
  %begin = "onnx.Constant"() {value = dense<-1> : tensor<1xi64>} : () -> tensor<1xi64>
  %end = "onnx.Constant"() {value = dense<-9223372036854775807> : tensor<1xi64>} : () -> tensor<1xi64>
  %axis = "onnx.Constant"() {value = dense<0> : tensor<1xi64>} : () -> tensor<1xi64>
  %pads = "onnx.Constant"() {value = dense<[1, 0, -1, 0]> : tensor<4xi64>} : () -> tensor<4xi64>
  %0 = "onnx.Slice"(%x, %begin, %end, %axis, %begin) : (tensor<4x4xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<*xf32>
  %1 = "onnx.Pad"(%0, %pads, %none, %none) : (tensor<*xf32>, tensor<4xi64>, none, none) -> tensor<4x4xf32>
  %2 = "onnx.Transpose"(%1) {perm = array<i64: 1, 0>} : (tensor<4x4xf32>) -> tensor<4x4xf32>
  %3 = "onnx.Cast"(%2) {to = 10 : i64} : (tensor<4x4xf32>) -> tensor<4x4xf16>
  return %3 : tensor<4x4xf16>
}

// -----

// An If on a constant becomes the branch that it takes, which folds on.
// CHECK-LABEL: func.func @known_branch
// CHECK-SAME: (%[[X:.*]]: tensor<1x4xf32>
// CHECK-NOT: onnx.If
// CHECK: %[[Y:.*]] = "onnx.Exp"(%[[X]])
// CHECK-NOT: onnx.Squeeze
// CHECK: return %[[Y]] : tensor<1x4xf32>
func.func @known_branch(%x: tensor<1x4xf32>) -> tensor<*xf32> {
  %none = "onnx.NoValue"() : () -> none
  %one = "onnx.Constant"() {value = dense<1> : tensor<i64>} : () -> tensor<i64>
  %four = "onnx.Constant"() {value = dense<4> : tensor<i64>} : () -> tensor<i64>
  %c = "onnx.Equal"(%one, %four) : (tensor<i64>, tensor<i64>) -> tensor<i1>
  // The else branch comes first.
  %0 = "onnx.If"(%c) ({
    %2 = "onnx.Not"(%c) : (tensor<i1>) -> tensor<i1>
    %3 = "onnx.If"(%2) ({
      "onnx.Yield"(%x) : (tensor<1x4xf32>) -> ()
    }, {
      %4 = "onnx.Exp"(%x) : (tensor<1x4xf32>) -> tensor<*xf32>
      "onnx.Yield"(%4) : (tensor<*xf32>) -> ()
    }) : (tensor<i1>) -> tensor<*xf32>
    "onnx.Yield"(%3) : (tensor<*xf32>) -> ()
  }, {
    %1 = "onnx.Squeeze"(%x, %none) : (tensor<1x4xf32>, none) -> tensor<4xf32>
    "onnx.Yield"(%1) : (tensor<4xf32>) -> ()
  }) : (tensor<i1>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

// -----

// CHECK-LABEL: func.func @open_branch
// CHECK: "onnx.If"
func.func @open_branch(%x: tensor<4xf32>, %c: tensor<i1>) -> tensor<*xf32> {
  %0 = "onnx.If"(%c) ({
    "onnx.Yield"(%x) : (tensor<4xf32>) -> ()
  }, {
    %1 = "onnx.Exp"(%x) : (tensor<4xf32>) -> tensor<4xf32>
    "onnx.Yield"(%1) : (tensor<4xf32>) -> ()
  }) : (tensor<i1>) -> tensor<*xf32>
  // CHECK: return %{{.*}} : tensor<4xf32>
  return %0 : tensor<*xf32>
}
