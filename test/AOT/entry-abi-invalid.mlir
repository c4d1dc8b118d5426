// RUN: rwkv-opt %s -split-input-file -rwkvc-entry-abi -verify-diagnostics

// expected-error@below {{module attribute 'rwkvc.interface' is missing; run rwkvc-describe-interface on the imported model}}
module {
  func.func @main() {
    return
  }
}

// -----

// expected-error@below {{the module has no function @main}}
module attributes {rwkvc.interface = {inputs = [], outputs = [], states = []}} {
}

// -----

module attributes {rwkvc.interface = {inputs = [], outputs = [], states = []}} {
  // expected-error@below {{its signature does not match the module attribute 'rwkvc.interface'}}
  func.func @main(%x: tensor<1xf32>) {
    return
  }
}

// -----

module attributes {rwkvc.interface = {inputs = [{name = "x", type = tensor<1xf32>}], outputs = [], states = []}} {
  // expected-error@below {{its signature does not match the module attribute 'rwkvc.interface'}}
  func.func @main(%x: tensor<2xf32>) {
    return
  }
}

// -----

module attributes {rwkvc.interface = {inputs = [], outputs = [], states = []}} {
  // expected-error@below {{must have one block}}
  func.func @main() {
    cf.br ^next
  ^next:
    return
  }
}

// -----

// expected-error@below {{module attribute 'rwkvc.interface': inputs is missing or malformed}}
module attributes {rwkvc.interface = {outputs = [], states = []}} {
  func.func @main() {
    return
  }
}

// -----

// expected-error@below {{module attribute 'rwkvc.interface': states is missing or malformed}}
module attributes {rwkvc.interface = {inputs = [{name = "x", type = tensor<1xf32>}], outputs = [],
    states = [{input = 0 : i64, output = 0 : i64, initial = 0.0 : f64}]}} {
  func.func @main(%x: tensor<1xf32>) {
    return
  }
}

// -----

// A state must have one type on both sides, since it has one buffer.
// expected-error@below {{module attribute 'rwkvc.interface': state 's' is 'tensor<1xf32>' on entry and 'tensor<2xf32>' on return}}
module attributes {rwkvc.interface = {
    inputs = [{name = "s", type = tensor<1xf32>}], outputs = [{name = "s'", type = tensor<2xf32>}],
    states = [{input = 0 : i64, output = 0 : i64, initial = 0.0 : f64}]}} {
  func.func @main(%s: tensor<1xf32>) -> tensor<2xf32> {
    %0 = tensor.empty() : tensor<2xf32>
    return %0 : tensor<2xf32>
  }
}
