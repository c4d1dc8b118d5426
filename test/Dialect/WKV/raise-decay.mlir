// RUN: rwkv-opt %s --wkv-raise-decay --canonicalize | FileCheck %s

// exp(-exp(-softplus(-x) - 1/2)) is exp(-e^-1/2 sigmoid(x)).
// CHECK-LABEL: @softplus
// CHECK: wkv.decay exp_sigmoid %{{.*}} {{.*}}scale = 0.606530
// CHECK-NOT: onnx.Softplus
func.func @softplus(%x: tensor<1x1x2x8xf32>, %h: tensor<1x1x2x8xf32>, %s: tensor<1x2x8x8xf32>) -> (tensor<1x1x2x8xf32>, tensor<1x2x8x8xf32>) {
  %half = "onnx.Constant"() <{value = dense<0.5> : tensor<f32>}> : () -> tensor<f32>
  %0 = "onnx.Neg"(%x) : (tensor<1x1x2x8xf32>) -> tensor<1x1x2x8xf32>
  %1 = "onnx.Softplus"(%0) : (tensor<1x1x2x8xf32>) -> tensor<1x1x2x8xf32>
  %2 = "onnx.Neg"(%1) : (tensor<1x1x2x8xf32>) -> tensor<1x1x2x8xf32>
  %3 = "onnx.Sub"(%2, %half) : (tensor<1x1x2x8xf32>, tensor<f32>) -> tensor<1x1x2x8xf32>
  %4 = "onnx.Exp"(%3) : (tensor<1x1x2x8xf32>) -> tensor<1x1x2x8xf32>
  %5 = "onnx.Neg"(%4) : (tensor<1x1x2x8xf32>) -> tensor<1x1x2x8xf32>
  %w = "onnx.Exp"(%5) : (tensor<1x1x2x8xf32>) -> tensor<1x1x2x8xf32>
  %y, %n = wkv.wkv7 receptance(%h) decay(%w) key(%h) value(%h) a(%h) b(%h) init(%h) state(%s) : (tensor<1x1x2x8xf32>, tensor<1x1x2x8xf32>, tensor<1x1x2x8xf32>, tensor<1x1x2x8xf32>, tensor<1x1x2x8xf32>, tensor<1x1x2x8xf32>, tensor<1x1x2x8xf32>, tensor<1x2x8x8xf32>) -> (tensor<1x1x2x8xf32>, tensor<1x2x8x8xf32>)
  return %y, %n : tensor<1x1x2x8xf32>, tensor<1x2x8x8xf32>
}

// A decay that is neither law stays as it is.
// CHECK-LABEL: @sigmoid
// CHECK-NOT: wkv.decay
// CHECK: onnx.Sigmoid
func.func @sigmoid(%x: tensor<1x1x2x8xf32>, %h: tensor<1x1x2x8xf32>, %s: tensor<1x2x8x8xf32>) -> (tensor<1x1x2x8xf32>, tensor<1x2x8x8xf32>) {
  %w = "onnx.Sigmoid"(%x) : (tensor<1x1x2x8xf32>) -> tensor<1x1x2x8xf32>
  %y, %n = wkv.wkv7 receptance(%h) decay(%w) key(%h) value(%h) a(%h) b(%h) init(%h) state(%s) : (tensor<1x1x2x8xf32>, tensor<1x1x2x8xf32>, tensor<1x1x2x8xf32>, tensor<1x1x2x8xf32>, tensor<1x1x2x8xf32>, tensor<1x1x2x8xf32>, tensor<1x1x2x8xf32>, tensor<1x2x8x8xf32>) -> (tensor<1x1x2x8xf32>, tensor<1x2x8x8xf32>)
  return %y, %n : tensor<1x1x2x8xf32>, tensor<1x2x8x8xf32>
}
