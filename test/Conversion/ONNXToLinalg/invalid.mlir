// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// RUN: rwkv-opt %s --convert-onnx-to-linalg -split-input-file -verify-diagnostics

func.func @dynamic(%a: tensor<?x8xf32>) -> tensor<?x8xf32> {
  // expected-error @+1 {{cannot lower node 'exp_3' (Exp): operand 0 has no static shape; fix the symbolic dimensions with --dim NAME=N}}
  %0 = "onnx.Exp"(%a) {onnx_node_name = "exp_3"} : (tensor<?x8xf32>) -> tensor<?x8xf32>
  return %0 : tensor<?x8xf32>
}

// -----

func.func @unknown(%a: tensor<8xf32>) -> tensor<8xf32> {
  // expected-error @+1 {{cannot lower node 'n' (Custom): no lowering is known for operator 'Frobnicate' of domain 'org.example'}}
  %0 = "onnx.Custom"(%a) <{domain = "org.example", op_type = "Frobnicate", attrs = {}}> {onnx_node_name = "n"} : (tensor<8xf32>) -> tensor<8xf32>
  return %0 : tensor<8xf32>
}

// -----

// Every refused node is reported, not only the first.
func.func @two(%a: tensor<8xf32>, %x: tensor<1xi64>, %s: tensor<1xi64>) -> (tensor<1xf32>, tensor<4xf32>) {
  // expected-error @+1 {{its axes are computed while the model runs; they must be constant}}
  %0 = "onnx.ReduceSum"(%a, %x) : (tensor<8xf32>, tensor<1xi64>) -> tensor<1xf32>
  %none = "onnx.NoValue"() : () -> none
  // expected-error @+1 {{its starts, ends, axes or steps are computed while the model runs; they must be constant}}
  %1 = "onnx.Slice"(%a, %s, %x, %none, %none) : (tensor<8xf32>, tensor<1xi64>, tensor<1xi64>, none, none) -> tensor<4xf32>
  return %0, %1 : tensor<1xf32>, tensor<4xf32>
}

// -----

func.func @wrong_shape(%a: tensor<8xf32>) -> tensor<9xf32> {
  %s = "onnx.Constant"() <{value = dense<9> : tensor<1xi64>}> : () -> tensor<1xi64>
  // expected-error @+1 {{it makes 9 elements of 8}}
  %0 = "onnx.Reshape"(%a, %s) : (tensor<8xf32>, tensor<1xi64>) -> tensor<9xf32>
  return %0 : tensor<9xf32>
}

// -----

func.func @no_broadcast(%a: tensor<8xf32>, %b: tensor<3xf32>) -> tensor<8xf32> {
  // expected-error @+1 {{operand 1 does not broadcast to the shape of the result}}
  %0 = "onnx.Add"(%a, %b) : (tensor<8xf32>, tensor<3xf32>) -> tensor<8xf32>
  return %0 : tensor<8xf32>
}

// -----

func.func @training(%a: tensor<8xf32>) -> tensor<8xf32> {
  %none = "onnx.NoValue"() : () -> none
  %t = "onnx.Constant"() <{value = dense<true> : tensor<i1>}> : () -> tensor<i1>
  // expected-error @+1 {{it is in training mode; export the model for inference}}
  %0:2 = "onnx.Dropout"(%a, %none, %t) : (tensor<8xf32>, none, tensor<i1>) -> (tensor<8xf32>, none)
  return %0#0 : tensor<8xf32>
}

// -----

// A node inside of a body is the one that is named.
func.func @inside(%s: tensor<8xf32>, %x: tensor<5x8xf32>) -> tensor<8xf32> {
  %0 = "onnx.Scan"(%s, %x) <{num_scan_inputs = 1 : i64}> ({
  ^bb0(%a: tensor<8xf32>, %b: tensor<8xf32>):
    // expected-error @+1 {{no lowering is known for operator 'Frobnicate'}}
    %1 = "onnx.Custom"(%a, %b) <{domain = "org.example", op_type = "Frobnicate", attrs = {}}> : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
    "onnx.Yield"(%1) : (tensor<8xf32>) -> ()
  }) : (tensor<8xf32>, tensor<5x8xf32>) -> tensor<8xf32>
  return %0 : tensor<8xf32>
}
