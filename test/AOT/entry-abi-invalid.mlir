// RUN: rwkv-opt %s -split-input-file -rwkvc-entry-abi -verify-diagnostics

// expected-error@below {{attribute 'rwkvc.interface' is missing; run rwkvc-describe-interface on the imported model}}
func.func @main() {
  return
}

// -----

// expected-error@below {{the module has no function @main}}
module {
}

// -----

// expected-error@below {{its signature does not match the attribute 'rwkvc.interface'}}
func.func @main(%x: tensor<1xf32>) attributes {rwkvc.interface = {kind = "graph", inputs = [], outputs = [], states = []}} {
  return
}

// -----

// expected-error@below {{its signature does not match the attribute 'rwkvc.interface'}}
func.func @main(%x: tensor<2xf32>) attributes {rwkvc.interface = {kind = "graph", inputs = [{name = "x", type = tensor<1xf32>}], outputs = [], states = []}} {
  return
}

// -----

// expected-error@below {{must have one block}}
func.func @main() attributes {rwkvc.interface = {kind = "graph", inputs = [], outputs = [], states = []}} {
  cf.br ^next
^next:
  return
}

// -----

// expected-error@below {{attribute 'rwkvc.interface': inputs is missing or malformed}}
func.func @main() attributes {rwkvc.interface = {kind = "graph", outputs = [], states = []}} {
  return
}

// -----

// expected-error@below {{attribute 'rwkvc.interface': states is missing or malformed}}
func.func @main(%x: tensor<1xf32>) attributes {rwkvc.interface = {kind = "graph", inputs = [{name = "x", type = tensor<1xf32>}], outputs = [],
    states = [{input = 0 : i64, output = 0 : i64, initial = 0.0 : f64}]}} {
  return
}

// -----

// A state must have one type on both sides, since it has one buffer.
// expected-error@below {{attribute 'rwkvc.interface': state 's' is 'tensor<1xf32>' on entry and 'tensor<2xf32>' on return}}
func.func @main(%s: tensor<1xf32>) -> tensor<2xf32> attributes {rwkvc.interface = {kind = "graph", inputs = [{name = "s", type = tensor<1xf32>}], outputs = [{name = "s'", type = tensor<2xf32>}],
    states = [{input = 0 : i64, output = 0 : i64, initial = 0.0 : f64}]}} {
  %0 = tensor.empty() : tensor<2xf32>
  return %0 : tensor<2xf32>
}

// -----

// expected-error@below {{attribute 'rwkvc.interface': kind is missing or malformed}}
func.func @main() attributes {rwkvc.interface = {inputs = [], outputs = [], states = []}} {
  return
}

// -----

// expected-error@below {{attribute 'rwkvc.interface': an index is missing or malformed}}
func.func @main() attributes {rwkvc.interface = {kind = "graph", inputs = [], outputs = [], states = [], token_input = 0 : i64}} {
  return
}
