// RUN: rwkv-opt %s --convert-onnx-to-linalg | FileCheck %s

// One product for each position of the kernel, of a slice of the padded data.
// CHECK-LABEL: @depthwise
// CHECK: tensor.insert_slice %arg0 into %{{.*}}[0, 0, 2] [1, 4, 5] [1, 1, 1] : tensor<1x4x5xf32> into tensor<1x4x7xf32>
// CHECK-COUNT-3: linalg.generic {{.*}}"parallel", "parallel", "parallel", "parallel", "reduction"
func.func @depthwise(%x: tensor<1x4x5xf32>, %w: tensor<4x1x3xf32>, %b: tensor<4xf32>) -> tensor<1x4x5xf32> {
  %y = "onnx.Conv"(%x, %w, %b) <{group = 4 : i64, pads = array<i64: 2, 0>}> : (tensor<1x4x5xf32>, tensor<4x1x3xf32>, tensor<4xf32>) -> tensor<1x4x5xf32>
  return %y : tensor<1x4x5xf32>
}

// CHECK-LABEL: @strided
// CHECK: tensor.extract_slice %{{.*}}[0, 0, 0, 0, 3] [1, 1, 2, 2, 2] [1, 1, 1, 3, 2]
// CHECK: linalg.generic
// CHECK: arith.truncf
func.func @strided(%x: tensor<1x2x5x7xf16>, %w: tensor<3x2x1x2xf16>) -> tensor<1x3x2x2xf16> {
  %n = "onnx.NoValue"() : () -> none
  %y = "onnx.Conv"(%x, %w, %n) <{strides = array<i64: 3, 2>, dilations = array<i64: 1, 3>}> : (tensor<1x2x5x7xf16>, tensor<3x2x1x2xf16>, none) -> tensor<1x3x2x2xf16>
  return %y : tensor<1x3x2x2xf16>
}
