// RUN: rwkv-opt %s --split-input-file --wkv-lift-to-sequence=block=4 -verify-diagnostics | FileCheck %s --implicit-check-not=@prefill

// The step stays. What a branch does must not depend on the token,
// CHECK-COUNT-5: func.func @step
func.func @step(%t: tensor<1xi64> {wkv.tokens}, %s: tensor<1x4xf32> {wkv.state = 1 : i64})
    -> (tensor<1x4xf32> {wkv.logits}, tensor<1x4xf32>) attributes {wkv.form = "step"} {
  %c0 = arith.constant 0 : index
  %zero = arith.constant 0 : i64
  %a = arith.constant dense<1.0> : tensor<1x1x4xf32>
  %b = arith.constant dense<2.0> : tensor<1x1x4xf32>
  %i = tensor.extract %t[%c0] : tensor<1xi64>
  %is = arith.cmpi eq, %i, %zero : i64
  // expected-remark @+1 {{scf.if cannot be computed for several tokens at once: its condition depends on the token}}
  %x = scf.if %is -> tensor<1x1x4xf32> {
    %m = math.exp %a : tensor<1x1x4xf32>
    scf.yield %m : tensor<1x1x4xf32>
  } else {
    scf.yield %b : tensor<1x1x4xf32>
  }
  %h, %n = wkv.token_shift %x state(%s) : (tensor<1x1x4xf32>, tensor<1x4xf32>) -> (tensor<1x1x4xf32>, tensor<1x4xf32>)
  %l = tensor.collapse_shape %h [[0, 1], [2]] : tensor<1x1x4xf32> into tensor<1x4xf32>
  return %l, %n : tensor<1x4xf32>, tensor<1x4xf32>
}

// -----

// nor where something is inserted;
func.func @step(%t: tensor<1xindex> {wkv.tokens}, %s: tensor<1x4xf32> {wkv.state = 1 : i64})
    -> (tensor<1x4xf32> {wkv.logits}, tensor<1x4xf32>) attributes {wkv.form = "step"} {
  %c0 = arith.constant 0 : index
  %a = arith.constant dense<1.0> : tensor<1x1x4xf32>
  %b = arith.constant dense<2.0> : tensor<1x1x1xf32>
  %i = tensor.extract %t[%c0] : tensor<1xindex>
  // expected-remark @+1 {{tensor.insert_slice cannot be computed for several tokens at once: where it inserts depends on the token}}
  %x = tensor.insert_slice %b into %a[0, 0, %i] [1, 1, 1] [1, 1, 1] : tensor<1x1x1xf32> into tensor<1x1x4xf32>
  %h, %n = wkv.token_shift %x state(%s) : (tensor<1x1x4xf32>, tensor<1x4xf32>) -> (tensor<1x1x4xf32>, tensor<1x4xf32>)
  %l = tensor.collapse_shape %h [[0, 1], [2]] : tensor<1x1x4xf32> into tensor<1x4xf32>
  return %l, %n : tensor<1x4xf32>, tensor<1x4xf32>
}

// -----

// a state is read by its op alone, the old one as the new one;
#map = affine_map<(a, b) -> (a, b)>
func.func @step(%t: tensor<1xf32> {wkv.tokens}, %s: tensor<1x1xf32> {wkv.state = 1 : i64})
    -> (tensor<1x1xf32> {wkv.logits}, tensor<1x1xf32>) attributes {wkv.form = "step"} {
  %x = tensor.expand_shape %t [[0, 1, 2]] output_shape [1, 1, 1] : tensor<1xf32> into tensor<1x1x1xf32>
  %h, %n = wkv.token_shift %x state(%s) : (tensor<1x1x1xf32>, tensor<1x1xf32>) -> (tensor<1x1x1xf32>, tensor<1x1xf32>)
  %l = tensor.collapse_shape %h [[0, 1], [2]] : tensor<1x1x1xf32> into tensor<1x1xf32>
  // expected-remark @+1 {{linalg.generic cannot be computed for several tokens at once: it reads a state}}
  %r = linalg.generic {indexing_maps = [#map, #map], iterator_types = ["parallel", "parallel"]} ins(%n : tensor<1x1xf32>) outs(%l : tensor<1x1xf32>) {
  ^bb0(%a: f32, %o: f32):
    %m = arith.addf %a, %o : f32
    linalg.yield %m : f32
  } -> tensor<1x1xf32>
  return %r, %n : tensor<1x1xf32>, tensor<1x1xf32>
}

// -----

// an op must have a rule;
func.func @step(%t: tensor<1xf32> {wkv.tokens}, %s: tensor<1x1xf32> {wkv.state = 1 : i64})
    -> (tensor<1x1xf32> {wkv.logits}, tensor<1x1xf32>) attributes {wkv.form = "step"} {
  // expected-remark @+1 {{bufferization.alloc_tensor cannot be computed for several tokens at once: no rule is known for it}}
  %c = bufferization.alloc_tensor() copy(%t) : tensor<1xf32>
  %x = tensor.expand_shape %c [[0, 1, 2]] output_shape [1, 1, 1] : tensor<1xf32> into tensor<1x1x1xf32>
  %h, %n = wkv.token_shift %x state(%s) : (tensor<1x1x1xf32>, tensor<1x1xf32>) -> (tensor<1x1x1xf32>, tensor<1x1xf32>)
  %l = tensor.collapse_shape %h [[0, 1], [2]] : tensor<1x1x1xf32> into tensor<1x1xf32>
  return %l, %n : tensor<1x1xf32>, tensor<1x1xf32>
}

// -----

// and the file must be for one sequence.
// expected-remark @+1 {{only one token at a time: the file is for several sequences}}
func.func @step(%t: tensor<2xf32> {wkv.tokens}, %s: tensor<2x1xf32> {wkv.state = 1 : i64})
    -> (tensor<2x1xf32> {wkv.logits}, tensor<2x1xf32>) attributes {wkv.form = "step"} {
  %x = tensor.expand_shape %t [[0, 1, 2]] output_shape [2, 1, 1] : tensor<2xf32> into tensor<2x1x1xf32>
  %h, %n = wkv.token_shift %x state(%s) : (tensor<2x1x1xf32>, tensor<2x1xf32>) -> (tensor<2x1x1xf32>, tensor<2x1xf32>)
  %l = tensor.collapse_shape %h [[0, 1], [2]] : tensor<2x1x1xf32> into tensor<2x1xf32>
  return %l, %n : tensor<2x1xf32>, tensor<2x1xf32>
}
