// RUN: rwkv-opt %s --split-input-file --wkv-raise-norm --canonicalize | FileCheck %s

// CHECK-LABEL: @layer_norm
// CHECK: wkv.layer_norm %{{.*}} {epsilon = 9.999999{{[0-9]*}}E-6 : f64}
// CHECK-NOT: onnx.Sqrt
func.func @layer_norm(%x: tensor<2x16xf32>) -> tensor<2x16xf32> {
  %eps = "onnx.Constant"() <{value = dense<1.0e-5> : tensor<f32>}> : () -> tensor<f32>
  %axes = "onnx.Constant"() <{value = dense<-1> : tensor<1xi64>}> : () -> tensor<1xi64>
  %mean = "onnx.ReduceMean"(%x, %axes) <{keepdims = 1 : i64}> : (tensor<2x16xf32>, tensor<1xi64>) -> tensor<2x1xf32>
  %c = "onnx.Sub"(%x, %mean) : (tensor<2x16xf32>, tensor<2x1xf32>) -> tensor<2x16xf32>
  %sq = "onnx.Mul"(%c, %c) : (tensor<2x16xf32>, tensor<2x16xf32>) -> tensor<2x16xf32>
  %var = "onnx.ReduceMean"(%sq, %axes) <{keepdims = 1 : i64}> : (tensor<2x16xf32>, tensor<1xi64>) -> tensor<2x1xf32>
  %ve = "onnx.Add"(%var, %eps) : (tensor<2x1xf32>, tensor<f32>) -> tensor<2x1xf32>
  %sd = "onnx.Sqrt"(%ve) : (tensor<2x1xf32>) -> tensor<2x1xf32>
  %y = "onnx.Div"(%c, %sd) : (tensor<2x16xf32>, tensor<2x1xf32>) -> tensor<2x16xf32>
  return %y : tensor<2x16xf32>
}

// -----

// CHECK-LABEL: @l2_norm
// CHECK: wkv.l2_norm max
func.func @l2_norm(%x: tensor<2x16xf32>) -> tensor<2x16xf32> {
  %eps = "onnx.Constant"() <{value = dense<1.0e-12> : tensor<f32>}> : () -> tensor<f32>
  %none = "onnx.NoValue"() : () -> none
  %axes = "onnx.Constant"() <{value = dense<-1> : tensor<1xi64>}> : () -> tensor<1xi64>
  %norm = "onnx.ReduceL2"(%x, %axes) <{keepdims = 1 : i64}> : (tensor<2x16xf32>, tensor<1xi64>) -> tensor<2x1xf32>
  %bound = "onnx.Clip"(%norm, %eps, %none) : (tensor<2x1xf32>, tensor<f32>, none) -> tensor<2x1xf32>
  %y = "onnx.Div"(%x, %bound) : (tensor<2x16xf32>, tensor<2x1xf32>) -> tensor<2x16xf32>
  return %y : tensor<2x16xf32>
}

// -----

// Not centred twice: the variance is of x + 1, which is no layer norm of x alone
// but the quotient divides x itself.
// CHECK-LABEL: @other
// CHECK-NOT: wkv.
// CHECK: onnx.Div
func.func @other(%x: tensor<2x16xf32>) -> tensor<2x16xf32> {
  %axes = "onnx.Constant"() <{value = dense<-1> : tensor<1xi64>}> : () -> tensor<1xi64>
  %mean = "onnx.ReduceMean"(%x, %axes) <{keepdims = 1 : i64}> : (tensor<2x16xf32>, tensor<1xi64>) -> tensor<2x1xf32>
  %y = "onnx.Div"(%x, %mean) : (tensor<2x16xf32>, tensor<2x1xf32>) -> tensor<2x16xf32>
  return %y : tensor<2x16xf32>
}

// -----

// Operators that are a norm; unit scales and zero biases are none.
// CHECK-LABEL: @operators
// CHECK: wkv.layer_norm %{{.*}} scale(%{{.*}} : tensor<8xf32>) {epsilon = {{.*}}} : tensor<1x1x8xf32>
// CHECK: wkv.layer_norm %{{.*}} {epsilon = {{.*}}} : tensor<1x1x4x8xf32>
// CHECK: wkv.layer_norm %{{.*}} scale(%{{.*}} : tensor<2x4xf32>) bias(%{{.*}} : tensor<2x4xf32>) {epsilon = {{.*}}} : tensor<1x1x2x4xf32>
// CHECK-NOT: Normalization
func.func @operators(%x: tensor<1x1x8xf32>, %h: tensor<1x4x1x8xf32>, %c: tensor<1x8x1xf32>) -> (tensor<1x1x8xf32>, tensor<1x4x1x8xf32>, tensor<1x8x1xf32>) {
  %w = "onnx.Constant"() <{value = dense<[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]> : tensor<8xf32>}> : () -> tensor<8xf32>
  %b = "onnx.Constant"() <{value = dense<0.0> : tensor<8xf32>}> : () -> tensor<8xf32>
  %one = "onnx.Constant"() <{value = dense<1.0> : tensor<4xf32>}> : () -> tensor<4xf32>
  %zero = "onnx.Constant"() <{value = dense<0.0> : tensor<4xf32>}> : () -> tensor<4xf32>
  %y, %m, %i = "onnx.LayerNormalization"(%x, %w, %b) <{axis = -1 : i64, epsilon = 1.0e-5 : f32}> : (tensor<1x1x8xf32>, tensor<8xf32>, tensor<8xf32>) -> (tensor<1x1x8xf32>, none, none)
  %z = "onnx.InstanceNormalization"(%h, %one, %zero) <{epsilon = 6.4e-4 : f32}> : (tensor<1x4x1x8xf32>, tensor<4xf32>, tensor<4xf32>) -> tensor<1x4x1x8xf32>
  %g = "onnx.GroupNormalization"(%c, %w, %w) <{num_groups = 2 : i64, epsilon = 6.4e-4 : f32}> : (tensor<1x8x1xf32>, tensor<8xf32>, tensor<8xf32>) -> tensor<1x8x1xf32>
  return %y, %z, %g : tensor<1x1x8xf32>, tensor<1x4x1x8xf32>, tensor<1x8x1xf32>
}

// -----

// The mean that the operator gives as well is used.
// CHECK-LABEL: @statistics
// CHECK: onnx.LayerNormalization
func.func @statistics(%x: tensor<1x8xf32>) -> (tensor<1x8xf32>, tensor<1x1xf32>) {
  %w = "onnx.Constant"() <{value = dense<1.0> : tensor<8xf32>}> : () -> tensor<8xf32>
  %none = "onnx.NoValue"() : () -> none
  %y, %m, %i = "onnx.LayerNormalization"(%x, %w, %none) <{axis = -1 : i64, epsilon = 1.0e-5 : f32}> : (tensor<1x8xf32>, tensor<8xf32>, none) -> (tensor<1x8xf32>, tensor<1x1xf32>, none)
  return %y, %m : tensor<1x8xf32>, tensor<1x1xf32>
}

// -----

// A division before the norm and an epsilon beside the root: both epsilons are
// those of the undivided row, 64 and 8 times as large.
// CHECK-LABEL: @divided
// CHECK-SAME: %[[X:[a-z0-9]+]]: tensor<2x8xf32>
// CHECK: wkv.layer_norm %[[X]] {epsilon = 6.39999{{[0-9]*}}E-4 : f64, root_epsilon = 7.99999{{[0-9]*}}E-5 : f64} : tensor<2x8xf32>
// CHECK-NOT: onnx.Div
func.func @divided(%x: tensor<2x8xf32>) -> tensor<2x8xf32> {
  %eight = "onnx.Constant"() <{value = dense<8.0> : tensor<f32>}> : () -> tensor<f32>
  %eps = "onnx.Constant"() <{value = dense<1.0e-5> : tensor<f32>}> : () -> tensor<f32>
  %axes = "onnx.Constant"() <{value = dense<-1> : tensor<1xi64>}> : () -> tensor<1xi64>
  %d = "onnx.Div"(%x, %eight) : (tensor<2x8xf32>, tensor<f32>) -> tensor<2x8xf32>
  %mean = "onnx.ReduceMean"(%d, %axes) <{keepdims = 1 : i64}> : (tensor<2x8xf32>, tensor<1xi64>) -> tensor<2x1xf32>
  %c = "onnx.Sub"(%d, %mean) : (tensor<2x8xf32>, tensor<2x1xf32>) -> tensor<2x8xf32>
  %sq = "onnx.Mul"(%c, %c) : (tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<2x8xf32>
  %var = "onnx.ReduceMean"(%sq, %axes) <{keepdims = 1 : i64}> : (tensor<2x8xf32>, tensor<1xi64>) -> tensor<2x1xf32>
  %ve = "onnx.Add"(%var, %eps) : (tensor<2x1xf32>, tensor<f32>) -> tensor<2x1xf32>
  %sd = "onnx.Sqrt"(%ve) : (tensor<2x1xf32>) -> tensor<2x1xf32>
  %se = "onnx.Add"(%sd, %eps) : (tensor<2x1xf32>, tensor<f32>) -> tensor<2x1xf32>
  %y = "onnx.Div"(%c, %se) : (tensor<2x8xf32>, tensor<2x1xf32>) -> tensor<2x8xf32>
  return %y : tensor<2x8xf32>
}
