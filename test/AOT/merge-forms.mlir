// RUN: rwkv-opt %s -split-input-file -rwkvc-describe-interface -rwkvc-merge-forms | FileCheck %s

// States in other shapes and another order: the step serves callers of @main.
// CHECK-LABEL: module attributes {test.name = "alike"
// CHECK-NOT: @main
// CHECK: func.func @step
// CHECK-SAME: rwkvc.interface = {{{.*}}kind = "step"
// CHECK-SAME: rwkvc.served_inputs = array<i64: 1, 2, 0>
// CHECK-SAME: rwkvc.served_interface = {inputs = [{name = "b", {{.*}}}, {index_limit = 8 : i64, name = "token", {{.*}}}, {name = "a", {{.*}}}], kind = "graph"
// CHECK-SAME: rwkvc.served_outputs = array<i64: 2, 0, 1>
// CHECK: func.func @unpack
// CHECK: func.func @pack
module attributes {test.name = "alike", wkv.token_input = 1 : i64, wkv.logits_output = 2 : i64} {
  func.func @main(%b: tensor<6xf32> {onnx.name = "b", wkv.state = 1 : i64},
      %t: tensor<1x1xi64> {onnx.name = "token", wkv.index_limit = 8 : i64},
      %a: tensor<4xf32> {onnx.name = "a", wkv.state = 0 : i64})
      -> (tensor<4xf32>, tensor<6xf32>, tensor<1x1x8xf32>) {
    %l = arith.constant dense<0.0> : tensor<1x1x8xf32>
    return %a, %b, %l : tensor<4xf32>, tensor<6xf32>, tensor<1x1x8xf32>
  }
  func.func @step(%t: tensor<1xi64> {wkv.tokens, wkv.index_limit = 8 : i64},
      %a: tensor<1x4xf32> {onnx.name = "shift.0", wkv.state = 1 : i64},
      %b: tensor<1x2x3xf32> {onnx.name = "wkv.0", wkv.state = 2 : i64})
      -> (tensor<1x8xf32> {wkv.logits}, tensor<1x4xf32>, tensor<1x2x3xf32>) attributes {wkv.form = "step"} {
    %l = arith.constant dense<0.0> : tensor<1x8xf32>
    return %l, %a, %b : tensor<1x8xf32>, tensor<1x4xf32>, tensor<1x2x3xf32>
  }
  func.func @unpack(%b: tensor<6xf32>, %a: tensor<4xf32>)
      -> (tensor<1x4xf32>, tensor<1x2x3xf32>) attributes {wkv.form = "unpack", wkv.texts = 1 : i64} {
    %0 = tensor.expand_shape %a [[0, 1]] output_shape [1, 4] : tensor<4xf32> into tensor<1x4xf32>
    %1 = tensor.expand_shape %b [[0, 1, 2]] output_shape [1, 2, 3] : tensor<6xf32> into tensor<1x2x3xf32>
    return %0, %1 : tensor<1x4xf32>, tensor<1x2x3xf32>
  }
  func.func @pack(%a: tensor<1x4xf32>, %b: tensor<1x2x3xf32>)
      -> (tensor<6xf32>, tensor<4xf32>) attributes {wkv.form = "pack", wkv.texts = 1 : i64} {
    %0 = tensor.collapse_shape %a [[0, 1]] : tensor<1x4xf32> into tensor<4xf32>
    %1 = tensor.collapse_shape %b [[0, 1, 2]] : tensor<1x2x3xf32> into tensor<6xf32>
    return %1, %0 : tensor<6xf32>, tensor<4xf32>
  }
}

// -----

// Elements in another order: both stay.
// CHECK-LABEL: module attributes {test.name = "transposed"
// CHECK: func.func @main
// CHECK: func.func @step
// CHECK-NOT: served
module attributes {test.name = "transposed", wkv.token_input = 0 : i64, wkv.logits_output = 0 : i64} {
  func.func @main(%t: tensor<1xi64>, %a: tensor<2x2xf32> {wkv.state = 1 : i64})
      -> (tensor<1x8xf32>, tensor<2x2xf32>) {
    %l = arith.constant dense<0.0> : tensor<1x8xf32>
    return %l, %a : tensor<1x8xf32>, tensor<2x2xf32>
  }
  func.func @step(%t: tensor<1xi64> {wkv.tokens}, %a: tensor<2x2xf32> {wkv.state = 1 : i64})
      -> (tensor<1x8xf32> {wkv.logits}, tensor<2x2xf32>) attributes {wkv.form = "step"} {
    %l = arith.constant dense<0.0> : tensor<1x8xf32>
    return %l, %a : tensor<1x8xf32>, tensor<2x2xf32>
  }
  func.func @unpack(%a: tensor<2x2xf32>) -> tensor<2x2xf32> attributes {wkv.form = "unpack", wkv.texts = 1 : i64} {
    %e = tensor.empty() : tensor<2x2xf32>
    %0 = linalg.transpose ins(%a : tensor<2x2xf32>) outs(%e : tensor<2x2xf32>) permutation = [1, 0]
    return %0 : tensor<2x2xf32>
  }
  func.func @pack(%a: tensor<2x2xf32>) -> tensor<2x2xf32> attributes {wkv.form = "pack", wkv.texts = 1 : i64} {
    %e = tensor.empty() : tensor<2x2xf32>
    %0 = linalg.transpose ins(%a : tensor<2x2xf32>) outs(%e : tensor<2x2xf32>) permutation = [1, 0]
    return %0 : tensor<2x2xf32>
  }
}

// -----

// More than logits and states: both stay.
// CHECK-LABEL: module attributes {test.name = "more"
// CHECK: func.func @main
// CHECK-NOT: served
module attributes {test.name = "more", wkv.token_input = 0 : i64, wkv.logits_output = 0 : i64} {
  func.func @main(%t: tensor<1xi64>, %a: tensor<1x4xf32> {wkv.state = 1 : i64})
      -> (tensor<1x8xf32>, tensor<1x4xf32>, tensor<1xi64>) {
    %l = arith.constant dense<0.0> : tensor<1x8xf32>
    return %l, %a, %t : tensor<1x8xf32>, tensor<1x4xf32>, tensor<1xi64>
  }
  func.func @step(%t: tensor<1xi64> {wkv.tokens}, %a: tensor<1x4xf32> {wkv.state = 1 : i64})
      -> (tensor<1x8xf32> {wkv.logits}, tensor<1x4xf32>) attributes {wkv.form = "step"} {
    %l = arith.constant dense<0.0> : tensor<1x8xf32>
    return %l, %a : tensor<1x8xf32>, tensor<1x4xf32>
  }
  func.func @unpack(%a: tensor<1x4xf32>) -> tensor<1x4xf32> attributes {wkv.form = "unpack", wkv.texts = 1 : i64} {
    return %a : tensor<1x4xf32>
  }
  func.func @pack(%a: tensor<1x4xf32>) -> tensor<1x4xf32> attributes {wkv.form = "pack", wkv.texts = 1 : i64} {
    return %a : tensor<1x4xf32>
  }
}
