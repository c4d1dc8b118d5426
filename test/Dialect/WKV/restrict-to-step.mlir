// RUN: rwkv-opt %s --split-input-file --wkv-restrict-to-step --canonicalize --cse -verify-diagnostics | FileCheck %s

// The tokens' axis is found in a look-up, a product, a split into heads and a
// constant that repeats a row; the last token's row is the token's.
// CHECK-LABEL: module @one
// CHECK: func.func @step(%[[T:[a-z0-9]+]]: tensor<1xi64> {onnx.name = "tokens", wkv.tokens}
// CHECK-SAME: %[[S0:[a-z0-9]+]]: tensor<1x8xf32>
// CHECK-SAME: %[[S1:[a-z0-9]+]]: tensor<1x2x4x4xf32>
// CHECK-SAME: -> (tensor<1x8xf32> {onnx.name = "logits", wkv.logits}, tensor<1x8xf32> {onnx.name = "shift.0"}, tensor<1x2x4x4xf32> {onnx.name = "wkv.0"})
// CHECK-SAME: attributes {wkv.form = "step"}
// CHECK-DAG: arith.constant dense<{{.*}}> : tensor<1x8xf32>
// CHECK: wkv.token_shift %{{.*}} state(%[[S0]]) : (tensor<1x1x8xf32>
// CHECK: linalg.matmul ins(%{{.*}} : tensor<1x8xf32>, tensor<8x8xf32>)
// CHECK: %[[Y:.*]], %[[N:.*]] = wkv.wkv7 {{.*}} state(%[[S1]]) : (tensor<1x1x2x4xf32>
// CHECK-NOT: tensor<{{.*}}3x
// CHECK: return
#map = affine_map<(d0, d1, d2) -> (d0, d1, d2)>
#id = affine_map<(d0, d1) -> (d0, d1)>
module @one {
  func.func @step(%t: tensor<1x3xi64> {onnx.name = "tokens", wkv.tokens}, %s0: tensor<1x8xf32> {onnx.name = "shift.0", wkv.state = 1 : i64},
                  %s1: tensor<1x2x4x4xf32> {onnx.name = "wkv.0", wkv.state = 2 : i64})
      -> (tensor<8xf32> {onnx.name = "logits", wkv.logits}, tensor<1x8xf32> {onnx.name = "shift.0"}, tensor<1x2x4x4xf32> {onnx.name = "wkv.0"})
      attributes {wkv.form = "sequence"} {
    %c0 = arith.constant 0 : index
    %zero = arith.constant 0.0 : f32
    %table = arith.constant dense<[[0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7], [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7]]> : tensor<2x8xf32>
    %rows = arith.constant dense<[[0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7], [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7], [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]]> : tensor<3x8xf32>
    %w = arith.constant dense<0.25> : tensor<8x8xf32>
    %e = tensor.empty() : tensor<1x3x8xf32>
    %x = linalg.generic {indexing_maps = [#map], iterator_types = ["parallel", "parallel", "parallel"]} outs(%e : tensor<1x3x8xf32>) {
    ^bb0(%o: f32):
      %i = linalg.index 1 : index
      %j = linalg.index 2 : index
      %id = tensor.extract %t[%c0, %i] : tensor<1x3xi64>
      %at = arith.index_cast %id : i64 to index
      %v = tensor.extract %table[%at, %j] : tensor<2x8xf32>
      linalg.yield %v : f32
    } -> tensor<1x3x8xf32>
    %h, %n = wkv.token_shift %x state(%s0) : (tensor<1x3x8xf32>, tensor<1x8xf32>) -> (tensor<1x3x8xf32>, tensor<1x8xf32>)
    %r = tensor.collapse_shape %h [[0, 1], [2]] : tensor<1x3x8xf32> into tensor<3x8xf32>
    %y0 = tensor.empty() : tensor<3x8xf32>
    %y1 = linalg.fill ins(%zero : f32) outs(%y0 : tensor<3x8xf32>) -> tensor<3x8xf32>
    %p = linalg.matmul ins(%r, %w : tensor<3x8xf32>, tensor<8x8xf32>) outs(%y1 : tensor<3x8xf32>) -> tensor<3x8xf32>
    %q = linalg.generic {indexing_maps = [#id, #id, #id], iterator_types = ["parallel", "parallel"]} ins(%p, %rows : tensor<3x8xf32>, tensor<3x8xf32>) outs(%y0 : tensor<3x8xf32>) {
    ^bb0(%a: f32, %b: f32, %o: f32):
      %m = arith.addf %a, %b : f32
      linalg.yield %m : f32
    } -> tensor<3x8xf32>
    %k = tensor.expand_shape %q [[0, 1], [2, 3]] output_shape [1, 3, 2, 4] : tensor<3x8xf32> into tensor<1x3x2x4xf32>
    %init = tensor.empty() : tensor<1x3x2x4xf32>
    %y, %n1 = wkv.wkv7 receptance(%k) decay(%k) key(%k) value(%k) a(%k) b(%k) init(%init) state(%s1) : (tensor<1x3x2x4xf32>, tensor<1x3x2x4xf32>, tensor<1x3x2x4xf32>, tensor<1x3x2x4xf32>, tensor<1x3x2x4xf32>, tensor<1x3x2x4xf32>, tensor<1x3x2x4xf32>, tensor<1x2x4x4xf32>) -> (tensor<1x3x2x4xf32>, tensor<1x2x4x4xf32>)
    %flat = tensor.collapse_shape %y [[0], [1, 2], [3]] : tensor<1x3x2x4xf32> into tensor<1x6x4xf32>
    %g = wkv.layer_norm %flat {epsilon = 1.0e-5 : f64} : tensor<1x6x4xf32>
    %last = tensor.extract_slice %g[0, 4, 0] [1, 2, 4] [1, 1, 1] : tensor<1x6x4xf32> to tensor<2x4xf32>
    %l = tensor.collapse_shape %last [[0, 1]] : tensor<2x4xf32> into tensor<8xf32>
    return %l, %n, %n1 : tensor<8xf32>, tensor<1x8xf32>, tensor<1x2x4x4xf32>
  }
}

// -----

// What is refused: a token that is treated apart,
// CHECK-LABEL: module @apart
// CHECK-NOT: @step
module @apart {
  func.func @step(%t: tensor<3xf32> {wkv.tokens}, %s: tensor<1x1xf32> {wkv.state = 1 : i64}) -> (tensor<1xf32> {wkv.logits}, tensor<1x1xf32>)
      attributes {wkv.form = "sequence"} {
    %x = tensor.expand_shape %t [[0, 1, 2]] output_shape [1, 3, 1] : tensor<3xf32> into tensor<1x3x1xf32>
    %h, %n = wkv.token_shift %x state(%s) : (tensor<1x3x1xf32>, tensor<1x1xf32>) -> (tensor<1x3x1xf32>, tensor<1x1xf32>)
    // expected-remark @+1 {{no step from 3 tokens: tensor.extract_slice treats the token at position 1 apart}}
    %l = tensor.extract_slice %h[0, 1, 0] [1, 1, 1] [1, 1, 1] : tensor<1x3x1xf32> to tensor<1xf32>
    return %l, %n : tensor<1xf32>, tensor<1x1xf32>
  }
}

// -----

// a sum over tokens, values of different tokens in one op,
// CHECK-LABEL: module @sum
// CHECK-NOT: @step
module @sum {
  func.func @step(%t: tensor<3xf32> {wkv.tokens}, %s: tensor<1x1xf32> {wkv.state = 1 : i64}) -> (tensor<1xf32> {wkv.logits}, tensor<1x1xf32>)
      attributes {wkv.form = "sequence"} {
    %x = tensor.expand_shape %t [[0, 1, 2]] output_shape [1, 3, 1] : tensor<3xf32> into tensor<1x3x1xf32>
    %h, %n = wkv.token_shift %x state(%s) : (tensor<1x3x1xf32>, tensor<1x1xf32>) -> (tensor<1x3x1xf32>, tensor<1x1xf32>)
    %sc = arith.constant dense<0.0> : tensor<f32>
    // expected-remark @+1 {{no step from 3 tokens: linalg.reduce sums over tokens}}
    %l = linalg.reduce { arith.addf } ins(%t : tensor<3xf32>) outs(%sc : tensor<f32>) dimensions = [0]
    %r = tensor.expand_shape %l [] output_shape [1] : tensor<f32> into tensor<1xf32>
    return %r, %n : tensor<1xf32>, tensor<1x1xf32>
  }
}

// -----

// CHECK-LABEL: module @across
// CHECK-NOT: @step
#row = affine_map<(d0, d1) -> (d0, d1)>
#all = affine_map<(d0, d1) -> (d1)>
module @across {
  func.func @step(%t: tensor<3xf32> {wkv.tokens}, %s: tensor<1x1xf32> {wkv.state = 1 : i64}) -> (tensor<3x1xf32> {wkv.logits}, tensor<1x1xf32>)
      attributes {wkv.form = "sequence"} {
    %x = tensor.expand_shape %t [[0, 1, 2]] output_shape [1, 3, 1] : tensor<3xf32> into tensor<1x3x1xf32>
    %h, %n = wkv.token_shift %x state(%s) : (tensor<1x3x1xf32>, tensor<1x1xf32>) -> (tensor<1x3x1xf32>, tensor<1x1xf32>)
    %last = tensor.extract_slice %h[0, 2, 0] [1, 1, 1] [1, 1, 1] : tensor<1x3x1xf32> to tensor<1xf32>
    %rows = tensor.collapse_shape %h [[0, 1], [2]] : tensor<1x3x1xf32> into tensor<3x1xf32>
    // expected-remark @+1 {{no step from 3 tokens: linalg.generic combines different tokens' values}}
    %l = linalg.generic {indexing_maps = [#row, #all, #row], iterator_types = ["parallel", "parallel"]} ins(%rows, %last : tensor<3x1xf32>, tensor<1xf32>) outs(%rows : tensor<3x1xf32>) {
    ^bb0(%a: f32, %b: f32, %o: f32):
      %m = arith.addf %a, %b : f32
      linalg.yield %m : f32
    } -> tensor<3x1xf32>
    return %l, %n : tensor<3x1xf32>, tensor<1x1xf32>
  }
}

// -----

// or what differs from position to position.
// CHECK-LABEL: module @position
// CHECK-NOT: @step
#row = affine_map<(d0, d1) -> (d0, d1)>
module @position {
  func.func @step(%t: tensor<3xf32> {wkv.tokens}, %s: tensor<1x1xf32> {wkv.state = 1 : i64}) -> (tensor<3x1xf32> {wkv.logits}, tensor<1x1xf32>)
      attributes {wkv.form = "sequence"} {
    %x = tensor.expand_shape %t [[0, 1, 2]] output_shape [1, 3, 1] : tensor<3xf32> into tensor<1x3x1xf32>
    %h, %n = wkv.token_shift %x state(%s) : (tensor<1x3x1xf32>, tensor<1x1xf32>) -> (tensor<1x3x1xf32>, tensor<1x1xf32>)
    %rows = tensor.collapse_shape %h [[0, 1], [2]] : tensor<1x3x1xf32> into tensor<3x1xf32>
    %c = arith.constant dense<[[0.0], [1.0], [2.0]]> : tensor<3x1xf32>
    // expected-remark @+1 {{no step from 3 tokens: linalg.generic has an operand that differs from position to position}}
    %l = linalg.generic {indexing_maps = [#row, #row, #row], iterator_types = ["parallel", "parallel"]} ins(%rows, %c : tensor<3x1xf32>, tensor<3x1xf32>) outs(%rows : tensor<3x1xf32>) {
    ^bb0(%a: f32, %b: f32, %o: f32):
      %m = arith.addf %a, %b : f32
      linalg.yield %m : f32
    } -> tensor<3x1xf32>
    return %l, %n : tensor<3x1xf32>, tensor<1x1xf32>
  }
}

// -----

// CHECK-LABEL: module @index
// CHECK-NOT: @step
#row = affine_map<(d0, d1) -> (d0, d1)>
module @index {
  func.func @step(%t: tensor<3xf32> {wkv.tokens}, %s: tensor<1x1xf32> {wkv.state = 1 : i64}) -> (tensor<3x1xf32> {wkv.logits}, tensor<1x1xf32>)
      attributes {wkv.form = "sequence"} {
    %x = tensor.expand_shape %t [[0, 1, 2]] output_shape [1, 3, 1] : tensor<3xf32> into tensor<1x3x1xf32>
    %h, %n = wkv.token_shift %x state(%s) : (tensor<1x3x1xf32>, tensor<1x1xf32>) -> (tensor<1x3x1xf32>, tensor<1x1xf32>)
    %rows = tensor.collapse_shape %h [[0, 1], [2]] : tensor<1x3x1xf32> into tensor<3x1xf32>
    // expected-remark @+1 {{no step from 3 tokens: linalg.generic computes with the position of a token}}
    %l = linalg.generic {indexing_maps = [#row], iterator_types = ["parallel", "parallel"]} outs(%rows : tensor<3x1xf32>) {
    ^bb0(%o: f32):
      %i = linalg.index 0 : index
      %j = arith.index_cast %i : index to i32
      %f = arith.sitofp %j : i32 to f32
      %m = arith.addf %f, %o : f32
      linalg.yield %m : f32
    } -> tensor<3x1xf32>
    return %l, %n : tensor<3x1xf32>, tensor<1x1xf32>
  }
}

// -----

// Two sequences of three tokens, their rows in one axis for a while: a token of each.
// CHECK-LABEL: module @sequences
// CHECK: func.func @step(%{{.*}}: tensor<2xf32> {wkv.tokens}, %{{.*}}: tensor<2x4xf32> {wkv.state = 1 : i64}) -> (tensor<2x4xf32> {wkv.logits}
// CHECK: wkv.token_shift {{.*}} : (tensor<2x1x4xf32>, tensor<2x4xf32>)
// CHECK: linalg.matmul ins(%{{.*}} : tensor<2x4xf32>, tensor<4x4xf32>)
#bt = affine_map<(d0, d1, d2) -> (d0, d1)>
#full = affine_map<(d0, d1, d2) -> (d0, d1, d2)>
module @sequences {
  func.func @step(%t: tensor<2x3xf32> {wkv.tokens}, %s: tensor<2x4xf32> {wkv.state = 1 : i64}) -> (tensor<2x3x4xf32> {wkv.logits}, tensor<2x4xf32>)
      attributes {wkv.form = "sequence"} {
    %w = arith.constant dense<[[0.0, 1.0, 2.0, 3.0], [1.0, 1.0, 2.0, 3.0], [2.0, 1.0, 2.0, 3.0], [3.0, 1.0, 2.0, 3.0]]> : tensor<4x4xf32>
    %e = tensor.empty() : tensor<2x3x4xf32>
    %x = linalg.generic {indexing_maps = [#bt, #full], iterator_types = ["parallel", "parallel", "parallel"]} ins(%t : tensor<2x3xf32>) outs(%e : tensor<2x3x4xf32>) {
    ^bb0(%a: f32, %o: f32):
      linalg.yield %a : f32
    } -> tensor<2x3x4xf32>
    %h, %n = wkv.token_shift %x state(%s) : (tensor<2x3x4xf32>, tensor<2x4xf32>) -> (tensor<2x3x4xf32>, tensor<2x4xf32>)
    %rows = tensor.collapse_shape %h [[0, 1], [2]] : tensor<2x3x4xf32> into tensor<6x4xf32>
    %z = arith.constant dense<0.0> : tensor<6x4xf32>
    %y = linalg.matmul ins(%rows, %w : tensor<6x4xf32>, tensor<4x4xf32>) outs(%z : tensor<6x4xf32>) -> tensor<6x4xf32>
    %l = tensor.expand_shape %y [[0, 1], [2]] output_shape [2, 3, 4] : tensor<6x4xf32> into tensor<2x3x4xf32>
    return %l, %n : tensor<2x3x4xf32>, tensor<2x4xf32>
  }
}
