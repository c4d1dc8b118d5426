// RUN: rwkv-opt %s --split-input-file --wkv-expose-states -verify-diagnostics | FileCheck %s --implicit-check-not=@step

// No step is built, and the file's own function stays:
// CHECK: func.func @main

// What is refused: the state is read by another op as well,
#map = affine_map<(d0, d1) -> (d0, d1)>
module attributes {wkv.token_input = 0 : i64, wkv.logits_output = 0 : i64} {
  func.func @main(%t: tensor<1xi64>, %s: tensor<1x4xf32> {onnx.name = "row", wkv.state = 1 : i64})
      -> (tensor<1x4xf32>, tensor<1x4xf32>) {
    %x = tensor.empty() : tensor<1x1x4xf32>
    %h, %n = wkv.token_shift %x state(%s) : (tensor<1x1x4xf32>, tensor<1x4xf32>) -> (tensor<1x1x4xf32>, tensor<1x4xf32>)
    %c = tensor.collapse_shape %h [[0], [1, 2]] : tensor<1x1x4xf32> into tensor<1x4xf32>
    // expected-remark @+1 {{only the file's own form is compiled: input 'row' is a state, but is also read by linalg.generic}}
    %l = linalg.generic {indexing_maps = [#map, #map], iterator_types = ["parallel", "parallel"]} ins(%s : tensor<1x4xf32>) outs(%c : tensor<1x4xf32>) {
    ^bb0(%a: f32, %o: f32):
      %r = arith.addf %a, %o : f32
      linalg.yield %r : f32
    } -> tensor<1x4xf32>
    return %l, %n : tensor<1x4xf32>, tensor<1x4xf32>
  }
}

// -----

// the new state goes elsewhere than the old one came from,
module attributes {wkv.token_input = 0 : i64, wkv.logits_output = 0 : i64} {
  func.func @main(%t: tensor<1xi64>, %s: tensor<2x4xf32> {onnx.name = "rows", wkv.state = 1 : i64})
      -> (tensor<1x1x4xf32>, tensor<2x4xf32>) {
    %x = tensor.empty() : tensor<1x1x4xf32>
    %row = tensor.extract_slice %s[0, 0] [1, 4] [1, 1] : tensor<2x4xf32> to tensor<1x4xf32>
    // expected-remark @+1 {{only the file's own form is compiled: input 'rows' is the state of wkv.token_shift, but its next value is not that op's new state}}
    %h, %n = wkv.token_shift %x state(%row) : (tensor<1x1x4xf32>, tensor<1x4xf32>) -> (tensor<1x1x4xf32>, tensor<1x4xf32>)
    %r = tensor.insert_slice %n into %s[1, 0] [1, 4] [1, 1] : tensor<1x4xf32> into tensor<2x4xf32>
    return %h, %r : tensor<1x1x4xf32>, tensor<2x4xf32>
  }
}

// -----

// the state is computed, or not one constant,
module attributes {wkv.token_input = 0 : i64, wkv.logits_output = 0 : i64} {
  func.func @main(%t: tensor<1xi64>, %s: tensor<1x4xf32> {wkv.state = 1 : i64}) -> (tensor<1x1x4xf32>, tensor<1x4xf32>) {
    %x = tensor.empty() : tensor<1x1x4xf32>
    %e = math.exp %s : tensor<1x4xf32>
    // expected-remark @+1 {{only the file's own form is compiled: the state of wkv.token_shift is computed by math.exp, not moved from a state input or one constant}}
    %h, %n = wkv.token_shift %x state(%e) : (tensor<1x1x4xf32>, tensor<1x4xf32>) -> (tensor<1x1x4xf32>, tensor<1x4xf32>)
    return %h, %n : tensor<1x1x4xf32>, tensor<1x4xf32>
  }
}

// -----

module attributes {wkv.token_input = 0 : i64, wkv.logits_output = 0 : i64} {
  func.func @main(%t: tensor<1xi64>) -> tensor<1x1x2xf32> {
    %x = tensor.empty() : tensor<1x1x2xf32>
    %e = arith.constant dense<[[0.0, 1.0]]> : tensor<1x2xf32>
    // expected-remark @+1 {{only the file's own form is compiled: the state of wkv.token_shift is computed by arith.constant, not moved from a state input or one constant}}
    %h, %n = wkv.token_shift %x state(%e) : (tensor<1x1x2xf32>, tensor<1x2xf32>) -> (tensor<1x1x2xf32>, tensor<1x2xf32>)
    return %h : tensor<1x1x2xf32>
  }
}

// -----

// there is an input of another kind,
module attributes {wkv.token_input = 0 : i64, wkv.logits_output = 0 : i64} {
  // expected-remark @+1 {{only the file's own form is compiled: input 'mask' is neither the token nor a state}}
  func.func @main(%t: tensor<1xi64>, %m: tensor<1x4xf32> {onnx.name = "mask"}, %s: tensor<1x4xf32> {wkv.state = 1 : i64})
      -> (tensor<1x1x4xf32>, tensor<1x4xf32>) {
    %x = tensor.empty() : tensor<1x1x4xf32>
    %h, %n = wkv.token_shift %x state(%s) : (tensor<1x1x4xf32>, tensor<1x4xf32>) -> (tensor<1x1x4xf32>, tensor<1x4xf32>)
    return %h, %n : tensor<1x1x4xf32>, tensor<1x4xf32>
  }
}

// -----

// the new state is another multiple of what the file keeps than the old one was,
#map = affine_map<(d0, d1) -> (d0, d1)>
#number = affine_map<(d0, d1) -> ()>
module attributes {wkv.token_input = 0 : i64, wkv.logits_output = 0 : i64} {
  func.func @main(%t: tensor<1xi64>, %s: tensor<1x4xf32> {onnx.name = "row", wkv.state = 1 : i64})
      -> (tensor<1x1x4xf32>, tensor<1x4xf32>) {
    %x = tensor.empty() : tensor<1x1x4xf32>
    %e = tensor.empty() : tensor<1x4xf32>
    %eighth = arith.constant dense<1.25e-01> : tensor<f32>
    %old = linalg.generic {indexing_maps = [#map, #number, #map], iterator_types = ["parallel", "parallel"]} ins(%s, %eighth : tensor<1x4xf32>, tensor<f32>) outs(%e : tensor<1x4xf32>) {
    ^bb0(%a: f32, %b: f32, %o: f32):
      %r = arith.mulf %a, %b : f32
      linalg.yield %r : f32
    } -> tensor<1x4xf32>
    // expected-remark @+1 {{only the file's own form is compiled: input 'row' times 1.250000e-01 is the state of wkv.token_shift, but its next value is that op's new state times 7.000000e+00}}
    %h, %n = wkv.token_shift %x state(%old) : (tensor<1x1x4xf32>, tensor<1x4xf32>) -> (tensor<1x1x4xf32>, tensor<1x4xf32>)
    %seven = arith.constant 7.0 : f32
    %new = linalg.generic {indexing_maps = [#map, #map], iterator_types = ["parallel", "parallel"]} ins(%n : tensor<1x4xf32>) outs(%e : tensor<1x4xf32>) {
    ^bb0(%a: f32, %o: f32):
      %r = arith.mulf %seven, %a : f32
      linalg.yield %r : f32
    } -> tensor<1x4xf32>
    return %h, %new : tensor<1x1x4xf32>, tensor<1x4xf32>
  }
}

// -----

// or of heads that started alike, but get other keys, only one is kept,
module attributes {wkv.token_input = 0 : i64, wkv.logits_output = 0 : i64} {
  func.func @main(%t: tensor<1xi64>, %s: tensor<1x1x4x4xf32> {onnx.name = "heads", wkv.state = 1 : i64})
      -> (tensor<1x1x2x4xf32>, tensor<1x1x4x4xf32>) {
    %k = tensor.empty() : tensor<1x1x2x4xf32>
    %w = arith.constant dense<0.5> : tensor<1x1x2x4xf32>
    %u = arith.constant dense<0.5> : tensor<2x4xf32>
    %ss = tensor.concat dim(1) %s, %s : (tensor<1x1x4x4xf32>, tensor<1x1x4x4xf32>) -> tensor<1x2x4x4xf32>
    // expected-remark @+1 {{only the file's own form is compiled: input 'heads' is the state of wkv.wkv6, but its next value is not that op's new state}}
    %y, %n = wkv.wkv6 receptance(%k) key(%k) value(%k) decay(%w) bonus(%u) init(%k) state(%ss) : (tensor<1x1x2x4xf32>, tensor<1x1x2x4xf32>, tensor<1x1x2x4xf32>, tensor<1x1x2x4xf32>, tensor<2x4xf32>, tensor<1x1x2x4xf32>, tensor<1x2x4x4xf32>) -> (tensor<1x1x2x4xf32>, tensor<1x2x4x4xf32>)
    %first = tensor.extract_slice %n[0, 0, 0, 0] [1, 1, 4, 4] [1, 1, 1, 1] : tensor<1x2x4x4xf32> to tensor<1x1x4x4xf32>
    return %y, %first : tensor<1x1x2x4xf32>, tensor<1x1x4x4xf32>
  }
}

// -----

// or an op runs within a loop.
module attributes {wkv.token_input = 0 : i64, wkv.logits_output = 0 : i64} {
  func.func @main(%t: tensor<1xi64>, %s: tensor<1x4xf32> {wkv.state = 1 : i64}) -> (tensor<1x4xf32>, tensor<1x4xf32>) {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %x = tensor.empty() : tensor<1x1x4xf32>
    %r = scf.for %i = %c0 to %c1 step %c1 iter_args(%a = %s) -> tensor<1x4xf32> {
      // expected-remark @+1 {{only the file's own form is compiled: wkv.token_shift runs inside of scf.for}}
      %h, %n = wkv.token_shift %x state(%a) : (tensor<1x1x4xf32>, tensor<1x4xf32>) -> (tensor<1x1x4xf32>, tensor<1x4xf32>)
      scf.yield %n : tensor<1x4xf32>
    }
    return %r, %r : tensor<1x4xf32>, tensor<1x4xf32>
  }
}

// -----

//
module {
  func.func @main(%t: tensor<1xi64>) -> tensor<1xi64> {
    return %t : tensor<1xi64>
  }
}
