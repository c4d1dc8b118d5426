// RUN: rwkv-opt %s --onnx-fold-constants --split-input-file | FileCheck %s
// RUN: rwkv-opt %s --onnx-fold-constants=max-bytes=16 --split-input-file | FileCheck %s --check-prefix=SMALL

// One rounding to float32 at the end of an op.
// CHECK-LABEL: func.func @arithmetic
// CHECK-SAME: -> tensor<3xf32>
// CHECK-NEXT: %[[C:.*]] = "onnx.Constant"() <{value = dense<[1.000000e-01, 2.718281{{.*}}, 0.333333343]> : tensor<3xf32>}> {onnx_node_name = "div"}
// CHECK-NEXT: return %[[C]]
func.func @arithmetic() -> tensor<3xf32> {
  %a = "onnx.Constant"() {value = dense<[0.1, 2.71828182, 1.0]> : tensor<3xf32>} : () -> tensor<3xf32>
  %b = "onnx.Constant"() {value = dense<[1.0, 1.0, 3.0]> : tensor<3xf32>} : () -> tensor<3xf32>
  %0 = "onnx.Div"(%a, %b) {onnx_node_name = "div"} : (tensor<3xf32>, tensor<3xf32>) -> tensor<3xf32>
  return %0 : tensor<3xf32>
}

// -----

// Shape and Size need the type only. Half precision rounds to half.
// CHECK-LABEL: func.func @shape
// CHECK-DAG: %[[S:.*]] = "onnx.Constant"() <{value = dense<[4, 8]> : tensor<2xi64>}>
// CHECK-DAG: %[[N:.*]] = "onnx.Constant"() <{value = dense<32> : tensor<i64>}>
// CHECK-DAG: %[[H:.*]] = "onnx.Constant"() <{value = dense<3.332520e-01> : tensor<f16>}>
// CHECK: return %[[S]], %[[N]], %[[H]]
func.func @shape(%x: tensor<1x4x8xf32>) -> (tensor<2xi64>, tensor<i64>, tensor<f16>) {
  %0 = "onnx.Shape"(%x) {start = 1 : i64} : (tensor<1x4x8xf32>) -> tensor<2xi64>
  %1 = "onnx.Size"(%x) : (tensor<1x4x8xf32>) -> tensor<i64>
  %three = "onnx.Constant"() {value = dense<3.0> : tensor<f16>} : () -> tensor<f16>
  %2 = "onnx.Reciprocal"(%three) : (tensor<f16>) -> tensor<f16>
  return %0, %1, %2 : tensor<2xi64>, tensor<i64>, tensor<f16>
}

// -----

// A result above the limit stays an op.
// CHECK-LABEL: func.func @limit
// CHECK: dense<[0, 1, 2, 3]> : tensor<4xi64>
// SMALL-LABEL: func.func @limit
// SMALL: "onnx.Range"
func.func @limit() -> tensor<4xi64> {
  %zero = "onnx.Constant"() {value = dense<0> : tensor<i64>} : () -> tensor<i64>
  %four = "onnx.Constant"() {value = dense<4> : tensor<i64>} : () -> tensor<i64>
  %one = "onnx.Constant"() {value = dense<1> : tensor<i64>} : () -> tensor<i64>
  %0 = "onnx.Range"(%zero, %four, %one) : (tensor<i64>, tensor<i64>, tensor<i64>) -> tensor<4xi64>
  return %0 : tensor<4xi64>
}

// -----

// A weight does not grow: tiled 4096 times it stays as it is, unless a splat.
// CHECK-LABEL: func.func @enlarging
// CHECK: "onnx.Expand"
// CHECK: dense<1.500000e+00> : tensor<4096x2xf32>
// CHECK-NOT: "onnx.Expand"
// CHECK: return
func.func @enlarging() -> (tensor<4096x2xf32>, tensor<4096x2xf32>) {
  %row = "onnx.Constant"() {value = dense<[1.0, 2.0]> : tensor<2xf32>} : () -> tensor<2xf32>
  %same = "onnx.Constant"() {value = dense<1.5> : tensor<2xf32>} : () -> tensor<2xf32>
  %shape = "onnx.Constant"() {value = dense<[4096, 2]> : tensor<2xi64>} : () -> tensor<2xi64>
  %0 = "onnx.Expand"(%row, %shape) : (tensor<2xf32>, tensor<2xi64>) -> tensor<4096x2xf32>
  %1 = "onnx.Expand"(%same, %shape) : (tensor<2xf32>, tensor<2xi64>) -> tensor<4096x2xf32>
  return %0, %1 : tensor<4096x2xf32>, tensor<4096x2xf32>
}

// -----

// Larger results become resources, whose bytes are those of the elements.
// CHECK-LABEL: func.func @resource
// CHECK: "onnx.Constant"() <{value = dense_resource<[[NAME:folded.*]]> : tensor<160xi64>}>
// CHECK: [[NAME]]: "0x4000000000000000000000000100000000000000
func.func @resource() -> tensor<160xi64> {
  %zero = "onnx.Constant"() {value = dense<0> : tensor<i64>} : () -> tensor<i64>
  %end = "onnx.Constant"() {value = dense<160> : tensor<i64>} : () -> tensor<i64>
  %one = "onnx.Constant"() {value = dense<1> : tensor<i64>} : () -> tensor<i64>
  %0 = "onnx.Range"(%zero, %end, %one) : (tensor<i64>, tensor<i64>, tensor<i64>) -> tensor<160xi64>
  return %0 : tensor<160xi64>
}

// -----

// What cannot be evaluated stays: a division by zero, an index outside, int64
// results that float64 does not hold, an operand that is not constant.
// CHECK-LABEL: func.func @kept
// CHECK: "onnx.Div"
// CHECK: "onnx.Gather"
// CHECK: "onnx.Add"
// CHECK: "onnx.Sub"
func.func @kept(%x: tensor<2xi64>) -> (tensor<2xi64>, tensor<1xi64>, tensor<1xi64>, tensor<2xi64>) {
  %a = "onnx.Constant"() {value = dense<[1, 2]> : tensor<2xi64>} : () -> tensor<2xi64>
  %zero = "onnx.Constant"() {value = dense<0> : tensor<2xi64>} : () -> tensor<2xi64>
  %five = "onnx.Constant"() {value = dense<5> : tensor<1xi64>} : () -> tensor<1xi64>
  %large = "onnx.Constant"() {value = dense<9223372036854775807> : tensor<1xi64>} : () -> tensor<1xi64>
  %0 = "onnx.Div"(%a, %zero) : (tensor<2xi64>, tensor<2xi64>) -> tensor<2xi64>
  %1 = "onnx.Gather"(%a, %five) {axis = 0 : i64} : (tensor<2xi64>, tensor<1xi64>) -> tensor<1xi64>
  %2 = "onnx.Add"(%large, %five) : (tensor<1xi64>, tensor<1xi64>) -> tensor<1xi64>
  %3 = "onnx.Sub"(%x, %a) : (tensor<2xi64>, tensor<2xi64>) -> tensor<2xi64>
  return %0, %1, %2, %3 : tensor<2xi64>, tensor<1xi64>, tensor<1xi64>, tensor<2xi64>
}
