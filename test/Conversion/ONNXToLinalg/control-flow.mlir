// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// RUN: rwkv-opt %s --convert-onnx-to-linalg | FileCheck %s

// CHECK-LABEL: func.func @scan
// CHECK: scf.for
// CHECK-SAME: iter_args
// CHECK: tensor.extract_slice %{{.*}}[%{{.*}}, 0] [1, 8] [1, 1]
// CHECK: arith.addf
// CHECK: tensor.insert_slice
// CHECK: bufferization.materialize_in_destination
// CHECK: scf.yield
func.func @scan(%s: tensor<8xf32>, %x: tensor<5x8xf32>) -> (tensor<8xf32>, tensor<5x8xf32>) {
  %0:2 = "onnx.Scan"(%s, %x) <{num_scan_inputs = 1 : i64}> ({
  ^bb0(%a: tensor<8xf32>, %b: tensor<8xf32>):
    %1 = "onnx.Add"(%a, %b) : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
    "onnx.Yield"(%1, %1) : (tensor<8xf32>, tensor<8xf32>) -> ()
  }) : (tensor<8xf32>, tensor<5x8xf32>) -> (tensor<8xf32>, tensor<5x8xf32>)
  return %0#0, %0#1 : tensor<8xf32>, tensor<5x8xf32>
}

// One step needs no loop.
// CHECK-LABEL: func.func @scan_one
// CHECK-NOT: scf.for
// CHECK: arith.addf
// CHECK-NOT: scf.for
// CHECK: return
func.func @scan_one(%s: tensor<8xf32>, %x: tensor<1x8xf32>) -> tensor<8xf32> {
  %0:2 = "onnx.Scan"(%s, %x) <{num_scan_inputs = 1 : i64}> ({
  ^bb0(%a: tensor<8xf32>, %b: tensor<8xf32>):
    %1 = "onnx.Add"(%a, %b) : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
    "onnx.Yield"(%1, %1) : (tensor<8xf32>, tensor<8xf32>) -> ()
  }) : (tensor<8xf32>, tensor<1x8xf32>) -> (tensor<8xf32>, tensor<1x8xf32>)
  return %0#0 : tensor<8xf32>
}

// CHECK-LABEL: func.func @loop_while
// CHECK: scf.while
// CHECK: arith.andi
// CHECK: scf.condition
// CHECK: scf.yield
func.func @loop_while(%m: tensor<i64>, %c: tensor<i1>, %s: tensor<f32>, %limit: tensor<f32>) -> tensor<f32> {
  %0 = "onnx.Loop"(%m, %c, %s) ({
  ^bb0(%i: tensor<i64>, %go: tensor<i1>, %a: tensor<f32>):
    %1 = "onnx.Add"(%a, %a) : (tensor<f32>, tensor<f32>) -> tensor<f32>
    %2 = "onnx.Less"(%1, %limit) : (tensor<f32>, tensor<f32>) -> tensor<i1>
    "onnx.Yield"(%2, %1) : (tensor<i1>, tensor<f32>) -> ()
  }) : (tensor<i64>, tensor<i1>, tensor<f32>) -> tensor<f32>
  return %0 : tensor<f32>
}

// The first region is the else branch.
// CHECK-LABEL: func.func @choose
// CHECK: scf.if
// CHECK: arith.addf
// CHECK: } else {
// CHECK: arith.mulf
func.func @choose(%c: tensor<i1>, %x: tensor<4xf32>) -> tensor<4xf32> {
  %0 = "onnx.If"(%c) ({
    %1 = "onnx.Mul"(%x, %x) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
    "onnx.Yield"(%1) : (tensor<4xf32>) -> ()
  }, {
    %1 = "onnx.Add"(%x, %x) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
    "onnx.Yield"(%1) : (tensor<4xf32>) -> ()
  }) : (tensor<i1>) -> tensor<4xf32>
  return %0 : tensor<4xf32>
}

// What a step collects may be the state before it: it is read before the state is written over.
// CHECK-LABEL: func.func @loop_collects_old_state
// CHECK: scf.for {{.*}} iter_args(%[[STATE:.*]] = %{{.*}}, %[[ALL:.*]] = %{{.*}})
// CHECK: tensor.insert_slice %[[STATE]] into %[[ALL]]
// CHECK: bufferization.materialize_in_destination %{{.*}} in %[[STATE]]
func.func @loop_collects_old_state(%s: tensor<8xf32>, %d: tensor<8xf32>) -> (tensor<8xf32>, tensor<3x8xf32>) {
  %none = "onnx.NoValue"() : () -> none
  %m = "onnx.Constant"() {value = dense<3> : tensor<i64>} : () -> tensor<i64>
  %0:2 = "onnx.Loop"(%m, %none, %s) ({
  ^bb0(%i: tensor<i64>, %c: tensor<i1>, %a: tensor<8xf32>):
    %1 = "onnx.Add"(%a, %d) : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
    "onnx.Yield"(%c, %1, %a) : (tensor<i1>, tensor<8xf32>, tensor<8xf32>) -> ()
  }) : (tensor<i64>, none, tensor<8xf32>) -> (tensor<8xf32>, tensor<3x8xf32>)
  return %0#0, %0#1 : tensor<8xf32>, tensor<3x8xf32>
}

// A slice of a size known from a computed start stays inside.
// CHECK-LABEL: func.func @slice_from
// CHECK: arith.minsi
// CHECK: %[[START:.*]] = arith.maxsi
// CHECK: tensor.extract_slice %{{.*}}[%[[START]], 0] [2, 3] [1, 1] : tensor<5x3xf32> to tensor<2x3xf32>
func.func @slice_from(%x: tensor<5x3xf32>, %i: tensor<1xi64>) -> tensor<2x3xf32> {
  %none = "onnx.NoValue"() : () -> none
  %two = "onnx.Constant"() {value = dense<2> : tensor<1xi64>} : () -> tensor<1xi64>
  %j = "onnx.Add"(%i, %two) : (tensor<1xi64>, tensor<1xi64>) -> tensor<1xi64>
  %0 = "onnx.Slice"(%x, %i, %j, %none, %none) : (tensor<5x3xf32>, tensor<1xi64>, tensor<1xi64>, none, none) -> tensor<2x3xf32>
  return %0 : tensor<2x3xf32>
}
