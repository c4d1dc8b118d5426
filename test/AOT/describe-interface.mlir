// RUN: rwkv-opt %s -split-input-file -rwkvc-describe-interface -verify-diagnostics | FileCheck %s

// Names, types, states and roles; what the file does not name is numbered.
// CHECK:      rwkvc.interface = {
// CHECK-SAME: inputs = [{index_limit = 256 : i64, name = "token", type = tensor<1xi64>},
// CHECK-SAME:           {name = "state", type = tensor<4xf32>}, {name = "input_2", type = tensor<2xi1>}]
// CHECK-SAME: logits_output = 0
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
// CHECK: rwkvc.interface = {inputs = [], logits_output = -1 : i64, outputs = [{{.*}}], states = [], token_input = -1 : i64}
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
