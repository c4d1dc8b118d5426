// RUN: rwkv-opt %s --split-input-file --wkv-raise-lora --canonicalize | FileCheck %s

// CHECK-LABEL: @decay
// CHECK-SAME: %[[X:[a-z0-9]+]]: tensor<1x1x8xf32>
// CHECK: %[[Y:.*]] = wkv.lora tanh %[[X]], %{{.*}}, %{{.*}} bias(%{{.*}} : tensor<6xf32>) : tensor<1x1x8xf32>, tensor<8x2xf32>, tensor<2x6xf32> -> tensor<1x1x6xf32>
// CHECK: return %[[Y]]
func.func @decay(%x: tensor<1x1x8xf32>) -> tensor<1x1x6xf32> {
  %w1 = "onnx.Constant"() <{value = dense<0.25> : tensor<8x2xf32>}> : () -> tensor<8x2xf32>
  %w2 = "onnx.Constant"() <{value = dense<[[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [0.0, 1.0, 0.0, 1.0, 0.0, 1.0]]> : tensor<2x6xf32>}> : () -> tensor<2x6xf32>
  %w0 = "onnx.Constant"() <{value = dense<[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]> : tensor<6xf32>}> : () -> tensor<6xf32>
  %0 = "onnx.MatMul"(%x, %w1) : (tensor<1x1x8xf32>, tensor<8x2xf32>) -> tensor<1x1x2xf32>
  %1 = "onnx.Tanh"(%0) : (tensor<1x1x2xf32>) -> tensor<1x1x2xf32>
  %2 = "onnx.MatMul"(%1, %w2) : (tensor<1x1x2xf32>, tensor<2x6xf32>) -> tensor<1x1x6xf32>
  %y = "onnx.Add"(%w0, %2) : (tensor<6xf32>, tensor<1x1x6xf32>) -> tensor<1x1x6xf32>
  return %y : tensor<1x1x6xf32>
}

// -----

// As a Gemm with transposed weights, and a matrix to the left of a vector.
// CHECK-LABEL: @spellings
// CHECK: wkv.lora none %{{.*}}, %{{.*}}, %{{.*}} {transpose_down, transpose_up} : tensor<3x8xf32>, tensor<2x8xf32>, tensor<6x2xf32> -> tensor<3x6xf32>
// CHECK: wkv.lora sigmoid %{{.*}}, %{{.*}}, %{{.*}} {transpose_down, transpose_up} : tensor<8xf32>, tensor<2x8xf32>, tensor<6x2xf32> -> tensor<6xf32>
// CHECK-NOT: onnx.MatMul
func.func @spellings(%x: tensor<3x8xf32>, %v: tensor<8xf32>) -> (tensor<3x6xf32>, tensor<6xf32>) {
  %none = "onnx.NoValue"() : () -> none
  %down = "onnx.Constant"() <{value = dense<[[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0], [0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0]]> : tensor<2x8xf32>}> : () -> tensor<2x8xf32>
  %up = "onnx.Constant"() <{value = dense<[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [1.0, 0.0], [0.0, 1.0], [2.0, 1.0]]> : tensor<6x2xf32>}> : () -> tensor<6x2xf32>
  %0 = "onnx.Gemm"(%x, %down, %none) <{transB = 1 : i64}> : (tensor<3x8xf32>, tensor<2x8xf32>, none) -> tensor<3x2xf32>
  %t = "onnx.Transpose"(%up) <{perm = array<i64: 1, 0>}> : (tensor<6x2xf32>) -> tensor<2x6xf32>
  %1 = "onnx.MatMul"(%0, %t) : (tensor<3x2xf32>, tensor<2x6xf32>) -> tensor<3x6xf32>
  %2 = "onnx.MatMul"(%down, %v) : (tensor<2x8xf32>, tensor<8xf32>) -> tensor<2xf32>
  %3 = "onnx.Sigmoid"(%2) : (tensor<2xf32>) -> tensor<2xf32>
  %4 = "onnx.MatMul"(%up, %3) : (tensor<6x2xf32>, tensor<2xf32>) -> tensor<6xf32>
  return %1, %4 : tensor<3x6xf32>, tensor<6xf32>
}

// -----

// Not through a narrower space; a function that is none of the op's; the vector
// between is used elsewhere.
// CHECK-LABEL: @refused
// CHECK-NOT: wkv.lora
// CHECK: return
func.func @refused(%x: tensor<1x4xf32>) -> (tensor<1x4xf32>, tensor<1x4xf32>, tensor<1x4xf32>, tensor<1x2xf32>) {
  %wide = "onnx.Constant"() <{value = dense<0.25> : tensor<4x4xf32>}> : () -> tensor<4x4xf32>
  %w1 = "onnx.Constant"() <{value = dense<0.25> : tensor<4x2xf32>}> : () -> tensor<4x2xf32>
  %w2 = "onnx.Constant"() <{value = dense<0.5> : tensor<2x4xf32>}> : () -> tensor<2x4xf32>
  %0 = "onnx.MatMul"(%x, %wide) : (tensor<1x4xf32>, tensor<4x4xf32>) -> tensor<1x4xf32>
  %1 = "onnx.MatMul"(%0, %wide) : (tensor<1x4xf32>, tensor<4x4xf32>) -> tensor<1x4xf32>
  %2 = "onnx.MatMul"(%x, %w1) : (tensor<1x4xf32>, tensor<4x2xf32>) -> tensor<1x2xf32>
  %3 = "onnx.Relu"(%2) : (tensor<1x2xf32>) -> tensor<1x2xf32>
  %4 = "onnx.MatMul"(%3, %w2) : (tensor<1x2xf32>, tensor<2x4xf32>) -> tensor<1x4xf32>
  %5 = "onnx.MatMul"(%x, %w1) : (tensor<1x4xf32>, tensor<4x2xf32>) -> tensor<1x2xf32>
  %6 = "onnx.MatMul"(%5, %w2) : (tensor<1x2xf32>, tensor<2x4xf32>) -> tensor<1x4xf32>
  return %1, %4, %6, %5 : tensor<1x4xf32>, tensor<1x4xf32>, tensor<1x4xf32>, tensor<1x2xf32>
}
