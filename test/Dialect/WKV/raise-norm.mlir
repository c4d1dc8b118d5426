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
