// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// RUN: rwkv-opt %s --convert-onnx-to-linalg | FileCheck %s

// Operands are read through broadcasting maps.
// CHECK: #[[$ROW:.*]] = affine_map<(d0, d1) -> (d1)>
// CHECK: #[[$COL:.*]] = affine_map<(d0, d1) -> (d0, 0)>

// CHECK-LABEL: func.func @add
// CHECK: linalg.generic
// CHECK-SAME: indexing_maps = [#{{.*}}, #[[$ROW]], #{{.*}}]
// CHECK: arith.addf
func.func @add(%a: tensor<4x8xf32>, %b: tensor<8xf32>) -> tensor<4x8xf32> {
  %0 = "onnx.Add"(%a, %b) : (tensor<4x8xf32>, tensor<8xf32>) -> tensor<4x8xf32>
  return %0 : tensor<4x8xf32>
}

// CHECK-LABEL: func.func @mul_column
// CHECK: linalg.generic
// CHECK-SAME: indexing_maps = [#{{.*}}, #[[$COL]], #{{.*}}]
func.func @mul_column(%a: tensor<4x8xf32>, %b: tensor<4x1xf32>) -> tensor<4x8xf32> {
  %0 = "onnx.Mul"(%a, %b) : (tensor<4x8xf32>, tensor<4x1xf32>) -> tensor<4x8xf32>
  return %0 : tensor<4x8xf32>
}

// 16-bit floats are computed in f32.
// CHECK-LABEL: func.func @exp_f16
// CHECK: arith.extf {{.*}} : f16 to f32
// CHECK: math.exp {{.*}} : f32
// CHECK: arith.truncf {{.*}} : f32 to f16
func.func @exp_f16(%a: tensor<8xf16>) -> tensor<8xf16> {
  %0 = "onnx.Exp"(%a) : (tensor<8xf16>) -> tensor<8xf16>
  return %0 : tensor<8xf16>
}

// Unsigned types are signless after the lowering, and keep their meaning.
// CHECK-LABEL: func.func @max_unsigned
// CHECK-SAME: (%{{.*}}: tensor<8xi8> {onnx.name = "a"}, %{{.*}}: tensor<8xi8>) -> tensor<8xi8>
// CHECK: arith.maxui
func.func @max_unsigned(%a: tensor<8xui8> {onnx.name = "a"}, %b: tensor<8xui8>) -> tensor<8xui8> {
  %0 = "onnx.Max"(%a, %b) : (tensor<8xui8>, tensor<8xui8>) -> tensor<8xui8>
  return %0 : tensor<8xui8>
}

// Integer division never traps.
// CHECK-LABEL: func.func @div_int
// CHECK: %[[SAFE:.*]] = arith.select
// CHECK: arith.divsi %{{.*}}, %[[SAFE]]
func.func @div_int(%a: tensor<8xi32>, %b: tensor<8xi32>) -> tensor<8xi32> {
  %0 = "onnx.Div"(%a, %b) : (tensor<8xi32>, tensor<8xi32>) -> tensor<8xi32>
  return %0 : tensor<8xi32>
}

// CHECK-LABEL: func.func @clip_without_min
// CHECK-NOT: onnx.NoValue
// CHECK-NOT: arith.maximumf
// CHECK: arith.minimumf
func.func @clip_without_min(%a: tensor<8xf32>, %max: tensor<f32>) -> tensor<8xf32> {
  %none = "onnx.NoValue"() : () -> none
  %0 = "onnx.Clip"(%a, %none, %max) : (tensor<8xf32>, none, tensor<f32>) -> tensor<8xf32>
  return %0 : tensor<8xf32>
}

// CHECK-LABEL: func.func @pow_two
// CHECK-NOT: math.powf
// CHECK: arith.mulf
func.func @pow_two(%a: tensor<8xf32>) -> tensor<8xf32> {
  %two = "onnx.Constant"() <{value = dense<2.0> : tensor<f32>}> : () -> tensor<f32>
  %0 = "onnx.Pow"(%a, %two) : (tensor<8xf32>, tensor<f32>) -> tensor<8xf32>
  return %0 : tensor<8xf32>
}

// Numbers outside of the range are brought into it before the conversion.
// CHECK-LABEL: func.func @cast_to_int
// CHECK: arith.maximumf
// CHECK: arith.minimumf
// CHECK: arith.fptosi
func.func @cast_to_int(%a: tensor<8xf32>) -> tensor<8xi32> {
  %0 = "onnx.Cast"(%a) <{to = 6 : i64}> : (tensor<8xf32>) -> tensor<8xi32>
  return %0 : tensor<8xi32>
}
