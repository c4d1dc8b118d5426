// RUN: rwkv-opt %s -split-input-file -rwkvc-describe-interface -verify-diagnostics | FileCheck %s

// Names, types, states and roles; what the file does not name is numbered.
// CHECK-LABEL: func.func @main(
// CHECK-SAME: rwkvc.interface = {
// CHECK-SAME: inputs = [{index_limit = 256 : i64, name = "token", type = tensor<1xi64>},
// CHECK-SAME:           {name = "state", type = tensor<4xf32>}, {name = "input_2", type = tensor<2xi1>}]
// CHECK-SAME: kind = "graph", length_input = -1 : i64, logits_output = 0
// CHECK-SAME: outputs = [{name = "logits", type = tensor<8xf16>}, {name = "output_1", type = tensor<4xf32>}]
// CHECK-SAME: states = [{initial = -1.000000e+30 : f64, input = 1 : i64, output = 1 : i64}]
// CHECK-SAME: token_input = 0
module attributes {wkv.token_input = 0 : i64, wkv.logits_output = 0 : i64} {
  func.func @main(%t: tensor<1xi64> {onnx.name = "token", wkv.index_limit = 256 : i64},
      %s: tensor<4xf32> {onnx.name = "state", wkv.state = 1 : i64, wkv.initial = -1.0e+30 : f64},
      %u: tensor<2xi1>) -> (tensor<8xf16> {onnx.name = "logits"}, tensor<4xf32>) {
    %l = arith.constant dense<0.0> : tensor<8xf16>
    return %l, %s : tensor<8xf16>, tensor<4xf32>
  }
}

// -----

// A model without roles is a model still.
// CHECK-LABEL: func.func @main(
// CHECK-SAME: rwkvc.interface = {inputs = [], kind = "graph", length_input = -1 : i64, logits_output = -1 : i64, outputs = [{{.*}}], states = [], token_input = -1 : i64}
module {
  func.func @main() -> tensor<1xf32> {
    %l = arith.constant dense<0.0> : tensor<1xf32>
    return %l : tensor<1xf32>
  }
}

// -----

// expected-error@below {{the module has no function @main}}
module {
  func.func @other() {
    return
  }
}

// -----

// expected-error@below {{the module has no function @main}}
module {
  func.func private @main(tensor<1xf32>)
}

// -----

module {
  // expected-error@below {{input 0 ('tokens') must be a tensor of static shape, but is 'tensor<?xi64>'}}
  func.func @main(%t: tensor<?xi64> {onnx.name = "tokens"}) {
    return
  }
}

// -----

module {
  // expected-error@below {{input 1 ('') must be a tensor of static shape, but is 'f32'}}
  func.func @main(%t: tensor<1xf32>, %x: f32) {
    return
  }
}

// -----

module {
  // expected-error@below {{output 0 ('y') must be a tensor of static shape, but is 'tensor<?xf32>'}}
  func.func @main(%t: tensor<1xf32>) -> (tensor<?xf32> {onnx.name = "y"}) {
    %0 = tensor.cast %t : tensor<1xf32> to tensor<?xf32>
    return %0 : tensor<?xf32>
  }
}

// -----

// The derived forms tell their roles by attributes. @main keeps a description that it has.
// CHECK-LABEL: func.func @main(
// CHECK-SAME:    rwkvc.interface = {kept}
// CHECK-LABEL: func.func @step(
// CHECK-SAME:    rwkvc.interface = {inputs = [{index_limit = 256 : i64, name = "tokens", type = tensor<3xi32>},
// CHECK-SAME:                                 {name = "wkv.0", type = tensor<3x4xf32>}]
// CHECK-SAME:    kind = "step", length_input = -1 : i64, logits_output = 0
// CHECK-SAME:    states = [{initial = -1.000000e+30 : f64, input = 1 : i64, output = 1 : i64}], token_input = 0 : i64}
// CHECK-LABEL: func.func @prefill(
// CHECK-SAME:    rwkvc.interface = {inputs = [{index_limit = 256 : i64, name = "tokens", type = tensor<3x8xi32>},
// CHECK-SAME:                                 {name = "length", type = tensor<i64>}, {name = "wkv.0", type = tensor<3x4xf32>}]
// CHECK-SAME:    kind = "prefill", length_input = 1 : i64, logits_output = 0
// CHECK-SAME:    outputs = [{name = "logits", type = tensor<3x8x16xf32>},
func.func @main(%t: tensor<1xi64>) -> tensor<1xi64> attributes {rwkvc.interface = {kept}} {
  return %t : tensor<1xi64>
}
func.func @step(%t: tensor<3xi32> {onnx.name = "tokens", wkv.tokens, wkv.index_limit = 256 : i64},
    %s: tensor<3x4xf32> {onnx.name = "wkv.0", wkv.state = 1 : i64, wkv.initial = -1.0e+30 : f64})
    -> (tensor<3x16xf32> {onnx.name = "logits", wkv.logits}, tensor<3x4xf32> {onnx.name = "wkv.0"})
    attributes {wkv.form = "step"} {
  %l = arith.constant dense<0.0> : tensor<3x16xf32>
  return %l, %s : tensor<3x16xf32>, tensor<3x4xf32>
}
func.func @prefill(%t: tensor<3x8xi32> {onnx.name = "tokens", wkv.tokens, wkv.index_limit = 256 : i64},
    %n: tensor<i64> {onnx.name = "length", wkv.length},
    %s: tensor<3x4xf32> {onnx.name = "wkv.0", wkv.state = 1 : i64, wkv.initial = -1.0e+30 : f64})
    -> (tensor<3x8x16xf32> {onnx.name = "logits", wkv.logits}, tensor<3x4xf32> {onnx.name = "wkv.0"})
    attributes {wkv.form = "prefill"} {
  %l = arith.constant dense<0.0> : tensor<3x8x16xf32>
  return %l, %s : tensor<3x8x16xf32>, tensor<3x4xf32>
}

// -----

// Conversions have plain inputs and outputs, and say of how many texts.
// CHECK-LABEL: func.func @unpack(
// CHECK-SAME:    rwkvc.interface = {inputs = [{name = "s_in", type = tensor<4x3xf16>}], kind = "unpack",
// CHECK-SAME:    outputs = [{name = "wkv.0", type = tensor<3x4xf32>}], states = [], texts = 3 : i64, token_input = -1 : i64}
func.func @main(%s: tensor<4x3xf16>) -> tensor<4x3xf16> {
  return %s : tensor<4x3xf16>
}
func.func @unpack(%s: tensor<4x3xf16> {onnx.name = "s_in"}) -> (tensor<3x4xf32> {onnx.name = "wkv.0"})
    attributes {wkv.form = "unpack", wkv.texts = 3 : i64} {
  %l = arith.constant dense<0.0> : tensor<3x4xf32>
  return %l : tensor<3x4xf32>
}

// -----

// expected-error@below {{attribute 'wkv.texts' must say of how many texts states are converted}}
func.func @pack(%s: tensor<1x4xf32>) -> tensor<1x4xf32> attributes {wkv.form = "pack"} {
  return %s : tensor<1x4xf32>
}

// -----

// expected-error@below {{attribute 'wkv.form' must be "step", "prefill", "unpack" or "pack"}}
func.func @step(%t: tensor<1xi64> {wkv.tokens}) -> (tensor<1x4xf32> {wkv.logits}) attributes {wkv.form = "stop"} {
  %l = arith.constant dense<0.0> : tensor<1x4xf32>
  return %l : tensor<1x4xf32>
}

// -----

// expected-error@below {{input 1 ('input_1') is neither tokens, length nor a state}}
func.func @step(%t: tensor<1xi64> {wkv.tokens}, %x: tensor<2xf32>) -> (tensor<1x4xf32> {wkv.logits}) attributes {wkv.form = "step"} {
  %l = arith.constant dense<0.0> : tensor<1x4xf32>
  return %l : tensor<1x4xf32>
}

// -----

// expected-error@below {{tokens must be integers of [batch], but are 'tensor<1x1xi64>'}}
func.func @step(%t: tensor<1x1xi64> {wkv.tokens}) -> (tensor<1x4xf32> {wkv.logits}) attributes {wkv.form = "step"} {
  %l = arith.constant dense<0.0> : tensor<1x4xf32>
  return %l : tensor<1x4xf32>
}

// -----

// expected-error@below {{only a block of tokens takes a length}}
func.func @prefill(%t: tensor<1x8xi64> {wkv.tokens}) -> (tensor<1x4xf32> {wkv.logits}) attributes {wkv.form = "prefill"} {
  %l = arith.constant dense<0.0> : tensor<1x4xf32>
  return %l : tensor<1x4xf32>
}

// -----

// expected-error@below {{logits must be floats of [batch, vocabulary] with the tokens' batch and block, but are 'tensor<4xf32>' for tokens 'tensor<1xi64>'}}
func.func @step(%t: tensor<1xi64> {wkv.tokens}) -> (tensor<4xf32> {wkv.logits}) attributes {wkv.form = "step"} {
  %l = arith.constant dense<0.0> : tensor<4xf32>
  return %l : tensor<4xf32>
}

// -----

func.func @step(%t: tensor<1xi64> {wkv.tokens}, %s: tensor<1x4xf32> {wkv.state = 1 : i64})
    -> (tensor<1x4xf32> {wkv.logits}, tensor<1x4xf32>) attributes {wkv.form = "step"} {
  return %s, %s : tensor<1x4xf32>, tensor<1x4xf32>
}
// expected-error@below {{its states differ from those of the other form}}
func.func @prefill(%t: tensor<1x8xi64> {wkv.tokens}, %n: tensor<i64> {wkv.length}, %s: tensor<1x4xf64> {wkv.state = 1 : i64})
    -> (tensor<1x4xf64> {wkv.logits}, tensor<1x4xf64>) attributes {wkv.form = "prefill"} {
  return %s, %s : tensor<1x4xf64>, tensor<1x4xf64>
}
