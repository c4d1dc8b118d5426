// RUN: rwkv-opt %s --split-input-file --wkv-restrict-to-text --canonicalize --cse -verify-diagnostics | FileCheck %s

// The texts' axis is found in a look-up, a product, a shift and among the heads
// of a recurrence, whose bonus repeats the heads for each text.
// CHECK-LABEL: module @two
// CHECK: func.func @step(%[[T:[a-z0-9]+]]: tensor<1xi64> {onnx.name = "tokens", wkv.tokens}
// CHECK-SAME: %[[S0:[a-z0-9]+]]: tensor<1x8xf32>
// CHECK-SAME: %[[S1:[a-z0-9]+]]: tensor<1x2x4x4xf32>
// CHECK-SAME: -> (tensor<1x8xf32> {onnx.name = "logits", wkv.logits}, tensor<1x8xf32> {onnx.name = "shift.0"}, tensor<1x2x4x4xf32> {onnx.name = "wkv.0"})
// CHECK-SAME: attributes {wkv.form = "step", wkv.texts = 2 : i64}
// CHECK-DAG: %[[U:.*]] = arith.constant dense<{{\[}}[1.000000e+00, {{.*}}], [2.000000e+00, {{.*}}]]> : tensor<2x4xf32>
// CHECK: tensor.extract %[[T]]
// CHECK: wkv.token_shift %{{.*}} state(%[[S0]]) : (tensor<1x1x8xf32>
// CHECK: linalg.matmul ins(%{{.*}} : tensor<1x8xf32>, tensor<8x8xf32>)
// CHECK: wkv.wkv6 {{.*}} bonus(%[[U]]) {{.*}} state(%[[S1]]) : (tensor<1x1x2x4xf32>
// CHECK: return
#map = affine_map<(d0, d1, d2) -> (d0, d1, d2)>
module @two {
  func.func @step(%t: tensor<2xi64> {onnx.name = "tokens", wkv.tokens}, %s0: tensor<2x8xf32> {onnx.name = "shift.0", wkv.state = 1 : i64},
                  %s1: tensor<1x4x4x4xf32> {onnx.name = "wkv.0", wkv.state = 2 : i64})
      -> (tensor<2x8xf32> {onnx.name = "logits", wkv.logits}, tensor<2x8xf32> {onnx.name = "shift.0"}, tensor<1x4x4x4xf32> {onnx.name = "wkv.0"})
      attributes {wkv.form = "step"} {
    %zero = arith.constant 0.0 : f32
    %table = arith.constant dense<[[0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7], [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7]]> : tensor<2x8xf32>
    %u = arith.constant dense<[[1.0, 1.1, 1.2, 1.3], [2.0, 2.1, 2.2, 2.3], [1.0, 1.1, 1.2, 1.3], [2.0, 2.1, 2.2, 2.3]]> : tensor<4x4xf32>
    %w = arith.constant dense<0.25> : tensor<8x8xf32>
    %e = tensor.empty() : tensor<2x1x8xf32>
    %x = linalg.generic {indexing_maps = [#map], iterator_types = ["parallel", "parallel", "parallel"]} outs(%e : tensor<2x1x8xf32>) {
    ^bb0(%o: f32):
      %i = linalg.index 0 : index
      %j = linalg.index 2 : index
      %id = tensor.extract %t[%i] : tensor<2xi64>
      %at = arith.index_cast %id : i64 to index
      %v = tensor.extract %table[%at, %j] : tensor<2x8xf32>
      linalg.yield %v : f32
    } -> tensor<2x1x8xf32>
    %h, %n = wkv.token_shift %x state(%s0) : (tensor<2x1x8xf32>, tensor<2x8xf32>) -> (tensor<2x1x8xf32>, tensor<2x8xf32>)
    %r = tensor.collapse_shape %h [[0, 1], [2]] : tensor<2x1x8xf32> into tensor<2x8xf32>
    %y0 = tensor.empty() : tensor<2x8xf32>
    %y1 = linalg.fill ins(%zero : f32) outs(%y0 : tensor<2x8xf32>) -> tensor<2x8xf32>
    %p = linalg.matmul ins(%r, %w : tensor<2x8xf32>, tensor<8x8xf32>) outs(%y1 : tensor<2x8xf32>) -> tensor<2x8xf32>
    %flat = tensor.collapse_shape %p [[0, 1]] : tensor<2x8xf32> into tensor<16xf32>
    %k = tensor.expand_shape %flat [[0, 1, 2, 3]] output_shape [1, 1, 4, 4] : tensor<16xf32> into tensor<1x1x4x4xf32>
    %init = tensor.empty() : tensor<1x1x4x4xf32>
    %y, %n1 = wkv.wkv6 receptance(%k) key(%k) value(%k) decay(%k) bonus(%u) init(%init) state(%s1) : (tensor<1x1x4x4xf32>, tensor<1x1x4x4xf32>, tensor<1x1x4x4xf32>, tensor<1x1x4x4xf32>, tensor<4x4xf32>, tensor<1x1x4x4xf32>, tensor<1x4x4x4xf32>) -> (tensor<1x1x4x4xf32>, tensor<1x4x4x4xf32>)
    %rows = tensor.collapse_shape %y [[0, 1, 2, 3]] : tensor<1x1x4x4xf32> into tensor<16xf32>
    %l = tensor.expand_shape %rows [[0, 1]] output_shape [2, 8] : tensor<16xf32> into tensor<2x8xf32>
    return %l, %n, %n1 : tensor<2x8xf32>, tensor<2x8xf32>, tensor<1x4x4x4xf32>
  }
}

// -----

// One text is left alone.
// CHECK-LABEL: module @one
// CHECK: attributes {wkv.form = "step"} {
module @one {
  func.func @step(%t: tensor<1xf32> {wkv.tokens}, %s: tensor<1x1xf32> {wkv.state = 1 : i64}) -> (tensor<1x1xf32> {wkv.logits}, tensor<1x1xf32>)
      attributes {wkv.form = "step"} {
    %x = tensor.expand_shape %t [[0, 1, 2]] output_shape [1, 1, 1] : tensor<1xf32> into tensor<1x1x1xf32>
    %h, %n = wkv.token_shift %x state(%s) : (tensor<1x1x1xf32>, tensor<1x1xf32>) -> (tensor<1x1x1xf32>, tensor<1x1xf32>)
    %l = tensor.collapse_shape %h [[0], [1, 2]] : tensor<1x1x1xf32> into tensor<1x1xf32>
    return %l, %n : tensor<1x1xf32>, tensor<1x1xf32>
  }
}

// -----

// What is refused, and then stays: one text that is treated apart, the last one
// too,
// CHECK-LABEL: module @apart
// CHECK: func.func @step(%{{.*}}: tensor<3xf32>
module @apart {
  func.func @step(%t: tensor<3xf32> {wkv.tokens}, %s: tensor<3x1xf32> {wkv.state = 1 : i64}) -> (tensor<1x1xf32> {wkv.logits}, tensor<3x1xf32>)
      attributes {wkv.form = "step"} {
    %x = tensor.expand_shape %t [[0, 1, 2]] output_shape [3, 1, 1] : tensor<3xf32> into tensor<3x1x1xf32>
    %h, %n = wkv.token_shift %x state(%s) : (tensor<3x1x1xf32>, tensor<3x1xf32>) -> (tensor<3x1x1xf32>, tensor<3x1xf32>)
    // expected-remark @+1 {{no step for one text from 3 texts: tensor.extract_slice treats the text at position 2 apart}}
    %l = tensor.extract_slice %h[2, 0, 0] [1, 1, 1] [1, 1, 1] : tensor<3x1x1xf32> to tensor<1x1xf32>
    return %l, %n : tensor<1x1xf32>, tensor<3x1xf32>
  }
}

// -----

// a sum over texts,
// CHECK-LABEL: module @sum
// CHECK: func.func @step(%{{.*}}: tensor<3xf32>
module @sum {
  func.func @step(%t: tensor<3xf32> {wkv.tokens}, %s: tensor<3x1xf32> {wkv.state = 1 : i64}) -> (tensor<1x1xf32> {wkv.logits}, tensor<3x1xf32>)
      attributes {wkv.form = "step"} {
    %x = tensor.expand_shape %t [[0, 1, 2]] output_shape [3, 1, 1] : tensor<3xf32> into tensor<3x1x1xf32>
    %h, %n = wkv.token_shift %x state(%s) : (tensor<3x1x1xf32>, tensor<3x1xf32>) -> (tensor<3x1x1xf32>, tensor<3x1xf32>)
    %sc = arith.constant dense<0.0> : tensor<f32>
    // expected-remark @+1 {{no step for one text from 3 texts: linalg.reduce sums over texts}}
    %l = linalg.reduce { arith.addf } ins(%t : tensor<3xf32>) outs(%sc : tensor<f32>) dimensions = [0]
    %r = tensor.expand_shape %l [] output_shape [1, 1] : tensor<f32> into tensor<1x1xf32>
    return %r, %n : tensor<1x1xf32>, tensor<3x1xf32>
  }
}

// -----

// a parameter that differs from text to text,
// CHECK-LABEL: module @parameter
// CHECK: func.func @step(%{{.*}}: tensor<2xf32>
#id = affine_map<(d0, d1) -> (d0, d1)>
module @parameter {
  func.func @step(%t: tensor<2xf32> {wkv.tokens}, %s: tensor<2x1xf32> {wkv.state = 1 : i64}) -> (tensor<2x1xf32> {wkv.logits}, tensor<2x1xf32>)
      attributes {wkv.form = "step"} {
    %c = arith.constant dense<[[1.0], [2.0]]> : tensor<2x1xf32>
    %x = tensor.expand_shape %t [[0, 1, 2]] output_shape [2, 1, 1] : tensor<2xf32> into tensor<2x1x1xf32>
    %h, %n = wkv.token_shift %x state(%s) : (tensor<2x1x1xf32>, tensor<2x1xf32>) -> (tensor<2x1x1xf32>, tensor<2x1xf32>)
    %rows = tensor.collapse_shape %h [[0], [1, 2]] : tensor<2x1x1xf32> into tensor<2x1xf32>
    // expected-remark @+1 {{no step for one text from 2 texts: linalg.generic has an operand that differs from position to position}}
    %l = linalg.generic {indexing_maps = [#id, #id, #id], iterator_types = ["parallel", "parallel"]} ins(%rows, %c : tensor<2x1xf32>, tensor<2x1xf32>) outs(%rows : tensor<2x1xf32>) {
    ^bb0(%a: f32, %b: f32, %o: f32):
      %m = arith.mulf %a, %b : f32
      linalg.yield %m : f32
    } -> tensor<2x1xf32>
    return %l, %n : tensor<2x1xf32>, tensor<2x1xf32>
  }
}

// -----

// a bonus that does, texts that are tokens of one another,
// CHECK-LABEL: module @bonus
// CHECK: func.func @step(%{{.*}}: tensor<2xf32>
module @bonus {
  func.func @step(%t: tensor<2xf32> {wkv.tokens}, %s: tensor<1x2x1x1xf32> {wkv.state = 1 : i64}) -> (tensor<2x1xf32> {wkv.logits}, tensor<1x2x1x1xf32>)
      attributes {wkv.form = "step"} {
    %u = arith.constant dense<[[1.0], [2.0]]> : tensor<2x1xf32>
    %k = tensor.expand_shape %t [[0, 1, 2, 3]] output_shape [1, 1, 2, 1] : tensor<2xf32> into tensor<1x1x2x1xf32>
    %init = tensor.empty() : tensor<1x1x2x1xf32>
    // expected-remark @+1 {{no step for one text from 2 texts: wkv.wkv6 has an operand, number 4, whose rows are not those of the texts}}
    %y, %n = wkv.wkv6 receptance(%k) key(%k) value(%k) decay(%k) bonus(%u) init(%init) state(%s) : (tensor<1x1x2x1xf32>, tensor<1x1x2x1xf32>, tensor<1x1x2x1xf32>, tensor<1x1x2x1xf32>, tensor<2x1xf32>, tensor<1x1x2x1xf32>, tensor<1x2x1x1xf32>) -> (tensor<1x1x2x1xf32>, tensor<1x2x1x1xf32>)
    %l = tensor.collapse_shape %y [[0, 1, 2], [3]] : tensor<1x1x2x1xf32> into tensor<2x1xf32>
    return %l, %n : tensor<2x1xf32>, tensor<1x2x1x1xf32>
  }
}

// -----

// CHECK-LABEL: module @tokens
// CHECK: func.func @step(%{{.*}}: tensor<2xf32>
module @tokens {
  func.func @step(%t: tensor<2xf32> {wkv.tokens}, %s: tensor<1x1xf32> {wkv.state = 1 : i64}) -> (tensor<2x1xf32> {wkv.logits}, tensor<1x1xf32>)
      attributes {wkv.form = "step"} {
    %x = tensor.expand_shape %t [[0, 1, 2]] output_shape [1, 2, 1] : tensor<2xf32> into tensor<1x2x1xf32>
    // expected-remark @+1 {{no step for one text from 2 texts: wkv.token_shift does not shift the rows of the texts}}
    %h, %n = wkv.token_shift %x state(%s) : (tensor<1x2x1xf32>, tensor<1x1xf32>) -> (tensor<1x2x1xf32>, tensor<1x1xf32>)
    %l = tensor.collapse_shape %h [[0, 1], [2]] : tensor<1x2x1xf32> into tensor<2x1xf32>
    return %l, %n : tensor<2x1xf32>, tensor<1x1xf32>
  }
}

// -----

// and logits that are not one row for each.
// CHECK-LABEL: module @logits
// CHECK: func.func @step(%{{.*}}: tensor<2xf32>
module @logits {
  // expected-remark @+1 {{no step for one text from 2 texts: result 0 is not one row for each}}
  func.func @step(%t: tensor<2xf32> {wkv.tokens}, %s: tensor<2x1xf32> {wkv.state = 1 : i64}) -> (tensor<1x2xf32> {wkv.logits}, tensor<2x1xf32>)
      attributes {wkv.form = "step"} {
    %x = tensor.expand_shape %t [[0, 1, 2]] output_shape [2, 1, 1] : tensor<2xf32> into tensor<2x1x1xf32>
    %h, %n = wkv.token_shift %x state(%s) : (tensor<2x1x1xf32>, tensor<2x1xf32>) -> (tensor<2x1x1xf32>, tensor<2x1xf32>)
    %l = tensor.collapse_shape %h [[0, 1], [2]] : tensor<2x1x1xf32> into tensor<2x1xf32>
    %e = tensor.empty() : tensor<1x2xf32>
    %r = linalg.transpose ins(%l : tensor<2x1xf32>) outs(%e : tensor<1x2xf32>) permutation = [1, 0]
    return %r, %n : tensor<1x2xf32>, tensor<2x1xf32>
  }
}
