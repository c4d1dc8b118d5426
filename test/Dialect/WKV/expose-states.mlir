// RUN: rwkv-opt %s --split-input-file --wkv-expose-states | FileCheck %s

// A row of a packed state, read and replaced: the step has the row alone. What is
// not read by an op of the dialect may stay as it was.
// CHECK-LABEL: module @packed
// CHECK: func.func @main(
// CHECK-SAME: tensor<1x3x4xf32>
// CHECK: tensor.insert_slice
// CHECK: func.func @step(%{{.*}}: tensor<1xi64> {onnx.name = "tokens", wkv.index_limit = 9 : i64, wkv.tokens},
// CHECK-SAME: %[[S:[a-z0-9]+]]: tensor<1x4xf32> {onnx.name = "shift.0", wkv.state = 1 : i64})
// CHECK-SAME: -> (tensor<1x4xf32> {onnx.name = "logits", wkv.logits}, tensor<1x4xf32> {onnx.name = "shift.0"})
// CHECK-SAME: attributes {wkv.form = "step"}
// CHECK-NOT: tensor.insert_slice
// CHECK: %[[H:.*]], %[[N:.*]] = wkv.token_shift %{{.*}} state(%[[S]])
// CHECK: return %{{.*}}, %[[N]]
module @packed attributes {wkv.token_input = 0 : i64, wkv.logits_output = 0 : i64} {
  func.func @main(%t: tensor<1x1xi64> {onnx.name = "id", wkv.index_limit = 9 : i64},
                  %s: tensor<1x3x4xf32> {onnx.name = "packed", wkv.state = 1 : i64})
      -> (tensor<1x1x4xf32>, tensor<1x3x4xf32>) {
    %x = tensor.empty() : tensor<1x1x4xf32>
    %row = tensor.extract_slice %s[0, 1, 0] [1, 1, 4] [1, 1, 1] : tensor<1x3x4xf32> to tensor<1x4xf32>
    %h, %n = wkv.token_shift %x state(%row) : (tensor<1x1x4xf32>, tensor<1x4xf32>) -> (tensor<1x1x4xf32>, tensor<1x4xf32>)
    %r = tensor.insert_slice %n into %s[0, 1, 0] [1, 1, 4] [1, 1, 1] : tensor<1x4xf32> into tensor<1x3x4xf32>
    return %h, %r : tensor<1x1x4xf32>, tensor<1x3x4xf32>
  }
}

// -----

// States stacked along the last axis, one of them read after the other was
// replaced; the maximum starts from its own value.
// CHECK-LABEL: module @stacked
// CHECK: func.func @step(
// CHECK-SAME: %[[A:[a-z0-9]+]]: tensor<1x4xf32> {onnx.name = "wkv.0.num", wkv.state = 1 : i64}
// CHECK-SAME: %[[B:[a-z0-9]+]]: tensor<1x4xf32> {onnx.name = "wkv.0.den", wkv.state = 2 : i64}
// CHECK-SAME: %[[M:[a-z0-9]+]]: tensor<1x4xf32> {onnx.name = "wkv.0.max", wkv.initial = -1.000000e+30 : f64, wkv.state = 3 : i64}
// CHECK-SAME: %[[S:[a-z0-9]+]]: tensor<1x4xf32> {onnx.name = "shift.0", wkv.state = 4 : i64}
// CHECK: wkv.wkv4 {{.*}} state(%[[A]], %[[B]], %[[M]])
// CHECK: wkv.token_shift {{.*}} state(%[[S]])
#last = affine_map<(d0, d1) -> (d0, d1)>
module @stacked attributes {wkv.token_input = 0 : i64, wkv.logits_output = 1 : i64} {
  func.func @main(%t: tensor<1xi64>, %s: tensor<1x4x4xf32> {wkv.state = 0 : i64})
      -> (tensor<1x4x4xf32>, tensor<1x1x4xf32>) {
    %x = tensor.empty() : tensor<1x1x4xf32>
    %c = arith.constant dense<0.5> : tensor<4xf32>
    %num = tensor.extract_slice %s[0, 0, 0] [1, 4, 1] [1, 1, 1] : tensor<1x4x4xf32> to tensor<1x4xf32>
    %den = tensor.extract_slice %s[0, 0, 1] [1, 4, 1] [1, 1, 1] : tensor<1x4x4xf32> to tensor<1x4xf32>
    %max = tensor.extract_slice %s[0, 0, 2] [1, 4, 1] [1, 1, 1] : tensor<1x4x4xf32> to tensor<1x4xf32>
    %y, %num1, %den1, %max1 = wkv.wkv4 key(%x) value(%x) decay(%c) bonus(%c) init(%x) state(%num, %den, %max) : (tensor<1x1x4xf32>, tensor<1x1x4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<1x1x4xf32>, tensor<1x4xf32>, tensor<1x4xf32>, tensor<1x4xf32>) -> (tensor<1x1x4xf32>, tensor<1x4xf32>, tensor<1x4xf32>, tensor<1x4xf32>)
    %s1 = tensor.insert_slice %num1 into %s[0, 0, 0] [1, 4, 1] [1, 1, 1] : tensor<1x4xf32> into tensor<1x4x4xf32>
    %s2 = tensor.insert_slice %den1 into %s1[0, 0, 1] [1, 4, 1] [1, 1, 1] : tensor<1x4xf32> into tensor<1x4x4xf32>
    %s3 = tensor.insert_slice %max1 into %s2[0, 0, 2] [1, 4, 1] [1, 1, 1] : tensor<1x4xf32> into tensor<1x4x4xf32>
    %row = tensor.extract_slice %s3[0, 0, 3] [1, 4, 1] [1, 1, 1] : tensor<1x4x4xf32> to tensor<1x4xf32>
    %h, %n = wkv.token_shift %y state(%row) : (tensor<1x1x4xf32>, tensor<1x4xf32>) -> (tensor<1x1x4xf32>, tensor<1x4xf32>)
    %s4 = tensor.insert_slice %n into %s3[0, 0, 3] [1, 4, 1] [1, 1, 1] : tensor<1x4xf32> into tensor<1x4x4xf32>
    return %s4, %h : tensor<1x4x4xf32>, tensor<1x1x4xf32>
  }
}

// -----

// Transposed and in half precision in the file; the op's own form is kept.
// CHECK-LABEL: module @transposed
// CHECK: func.func @step(
// CHECK-SAME: %[[S:[a-z0-9]+]]: tensor<1x2x4x4xf32> {onnx.name = "wkv.0", wkv.state = 1 : i64}
// CHECK: %[[Y:.*]], %[[N:.*]] = wkv.wkv7 {{.*}} state(%[[S]])
// CHECK-NOT: arith.truncf
// CHECK: return %{{.*}}, %[[N]]
#id = affine_map<(b, h, i, j) -> (b, h, i, j)>
#tr = affine_map<(b, h, i, j) -> (b, h, j, i)>
module @transposed attributes {wkv.token_input = 0 : i64, wkv.logits_output = 0 : i64} {
  func.func @main(%t: tensor<1xi64>, %s: tensor<1x2x4x4xf16> {wkv.state = 1 : i64})
      -> (tensor<1x8xf32>, tensor<1x2x4x4xf16>) {
    %x = tensor.empty() : tensor<1x1x2x4xf32>
    %e32 = tensor.empty() : tensor<1x2x4x4xf32>
    %e16 = tensor.empty() : tensor<1x2x4x4xf16>
    %old = linalg.generic {indexing_maps = [#tr, #id], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%s : tensor<1x2x4x4xf16>) outs(%e32 : tensor<1x2x4x4xf32>) {
    ^bb0(%a: f16, %o: f32):
      %w = arith.extf %a : f16 to f32
      linalg.yield %w : f32
    } -> tensor<1x2x4x4xf32>
    %y, %n = wkv.wkv7 receptance(%x) decay(%x) key(%x) value(%x) a(%x) b(%x) init(%x) state(%old) : (tensor<1x1x2x4xf32>, tensor<1x1x2x4xf32>, tensor<1x1x2x4xf32>, tensor<1x1x2x4xf32>, tensor<1x1x2x4xf32>, tensor<1x1x2x4xf32>, tensor<1x1x2x4xf32>, tensor<1x2x4x4xf32>) -> (tensor<1x1x2x4xf32>, tensor<1x2x4x4xf32>)
    %new = linalg.generic {indexing_maps = [#id, #tr], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%n : tensor<1x2x4x4xf32>) outs(%e16 : tensor<1x2x4x4xf16>) {
    ^bb0(%a: f32, %o: f16):
      %w = arith.truncf %a : f32 to f16
      linalg.yield %w : f16
    } -> tensor<1x2x4x4xf16>
    %l = tensor.collapse_shape %y [[0], [1, 2, 3]] : tensor<1x1x2x4xf32> into tensor<1x8xf32>
    return %l, %new : tensor<1x8xf32>, tensor<1x2x4x4xf16>
  }
}

// -----

// A file without states starts from a constant; over several tokens the axes of
// tokens and logits stay.
// CHECK-LABEL: module @stateless
// CHECK: func.func @step(
// CHECK-SAME: tensor<1x3xi64> {onnx.name = "tokens", wkv.tokens}
// CHECK-SAME: %[[S:[a-z0-9]+]]: tensor<1x4xf32> {onnx.name = "shift.0", wkv.initial = 2.500000e-01 : f64, wkv.state = 1 : i64}
// CHECK-SAME: -> (tensor<1x3x4xf32> {onnx.name = "logits", wkv.logits}, tensor<1x4xf32> {onnx.name = "shift.0"})
// CHECK-SAME: attributes {wkv.form = "sequence"}
// CHECK: wkv.token_shift %{{.*}} state(%[[S]])
module @stateless attributes {wkv.token_input = 0 : i64, wkv.logits_output = 0 : i64} {
  func.func @main(%t: tensor<1x3xi64>) -> tensor<1x3x4xf32> {
    %x = tensor.empty() : tensor<1x3x4xf32>
    %z = arith.constant dense<0.25> : tensor<1x4xf32>
    %h, %n = wkv.token_shift %x state(%z) : (tensor<1x3x4xf32>, tensor<1x4xf32>) -> (tensor<1x3x4xf32>, tensor<1x4xf32>)
    return %h : tensor<1x3x4xf32>
  }
}

// -----

// Two query heads that share a state, of which the file has one copy.
// CHECK-LABEL: module @shared
// CHECK: func.func @step(%{{.*}}: tensor<1x2x4x4xf32> {onnx.name = "wkv.0"
// CHECK: func.func @unpack(%[[S:[a-z0-9]+]]: tensor<1x1x4x4xf32>) -> (tensor<1x2x4x4xf32> {onnx.name = "wkv.0"})
// CHECK: tensor.concat dim(1) %[[S]], %[[S]]
// CHECK: func.func @pack(%[[C:[a-z0-9]+]]: tensor<1x2x4x4xf32> {onnx.name = "wkv.0"}) -> tensor<1x1x4x4xf32>
// CHECK: tensor.extract_slice %[[C]][0, 0, 0, 0] [1, 1, 4, 4]
module @shared attributes {wkv.token_input = 0 : i64, wkv.logits_output = 0 : i64} {
  func.func @main(%t: tensor<1xi64>, %s: tensor<1x1x4x4xf32> {wkv.state = 1 : i64})
      -> (tensor<1x1x2x4xf32>, tensor<1x1x4x4xf32>) {
    %k = tensor.empty() : tensor<1x1x1x4xf32>
    %r = tensor.empty() : tensor<1x1x2x4xf32>
    %w = arith.constant dense<[[[[0.1, 0.2, 0.3, 0.4], [0.1, 0.2, 0.3, 0.4]]]]> : tensor<1x1x2x4xf32>
    %u = arith.constant dense<[[0.1, 0.2, 0.3, 0.4], [1.1, 1.2, 1.3, 1.4]]> : tensor<2x4xf32>
    %kk = tensor.concat dim(2) %k, %k : (tensor<1x1x1x4xf32>, tensor<1x1x1x4xf32>) -> tensor<1x1x2x4xf32>
    %ss = tensor.concat dim(1) %s, %s : (tensor<1x1x4x4xf32>, tensor<1x1x4x4xf32>) -> tensor<1x2x4x4xf32>
    %y, %n = wkv.wkv6 receptance(%r) key(%kk) value(%kk) decay(%w) bonus(%u) init(%r) state(%ss) : (tensor<1x1x2x4xf32>, tensor<1x1x2x4xf32>, tensor<1x1x2x4xf32>, tensor<1x1x2x4xf32>, tensor<2x4xf32>, tensor<1x1x2x4xf32>, tensor<1x2x4x4xf32>) -> (tensor<1x1x2x4xf32>, tensor<1x2x4x4xf32>)
    %first = tensor.extract_slice %n[0, 0, 0, 0] [1, 1, 4, 4] [1, 1, 1, 1] : tensor<1x2x4x4xf32> to tensor<1x1x4x4xf32>
    return %y, %first : tensor<1x1x2x4xf32>, tensor<1x1x4x4xf32>
  }
}
