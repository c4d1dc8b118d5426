// RUN: rwkv-opt %s --split-input-file --wkv-expose-states --canonicalize --cse | FileCheck %s
// RUN: rwkv-opt %s --split-input-file --wkv-expose-states --wkv-restrict-to-text --canonicalize --cse | FileCheck %s --check-prefix=FIRST

// A row of a packed state in half precision, which is read after another row was
// written: neither conversion computes that row, whose value is not the state's.
// CHECK-LABEL: module @packed
// CHECK: func.func @unpack(%[[S:[a-z0-9]+]]: tensor<1x3x4xf16> {onnx.name = "packed"}) -> (tensor<1x4xf32> {onnx.name = "shift.0"})
// CHECK-SAME: attributes {wkv.form = "unpack", wkv.texts = 1 : i64}
// CHECK-NOT: tensor.insert_slice
// CHECK: %[[ROW:.*]] = tensor.extract_slice %[[S]][0, 1, 0] [1, 1, 4]
// CHECK: %[[WIDE:.*]] = linalg.generic {{.*}} ins(%[[ROW]] : tensor<1x4xf16>)
// CHECK: arith.extf
// CHECK: return %[[WIDE]]
// CHECK: func.func @pack(%[[N:[a-z0-9]+]]: tensor<1x4xf32> {onnx.name = "shift.0"}) -> (tensor<1x3x4xf16> {onnx.name = "packed_out"})
// CHECK-SAME: attributes {wkv.form = "pack", wkv.texts = 1 : i64}
// CHECK: %[[NARROW:.*]] = linalg.generic {{.*}} ins(%[[N]] : tensor<1x4xf32>)
// CHECK: %[[ZERO:.*]] = linalg.fill {{.*}} -> tensor<1x3x4xf16>
// CHECK: %[[R:.*]] = tensor.insert_slice %[[NARROW]] into %[[ZERO]][0, 1, 0]
// CHECK: return %[[R]]
#id = affine_map<(d0, d1) -> (d0, d1)>
module @packed attributes {wkv.token_input = 0 : i64, wkv.logits_output = 0 : i64} {
  func.func @main(%t: tensor<1x1xi64> {onnx.name = "id", wkv.index_limit = 9 : i64},
                  %s: tensor<1x3x4xf16> {onnx.name = "packed", wkv.state = 1 : i64})
      -> (tensor<1x1x4xf32>, tensor<1x3x4xf16> {onnx.name = "packed_out"}) {
    %x = tensor.empty() : tensor<1x1x4xf32>
    %other = arith.constant dense<1.0> : tensor<1x4xf16>
    %other1 = math.exp %other : tensor<1x4xf16>
    %s1 = tensor.insert_slice %other1 into %s[0, 0, 0] [1, 1, 4] [1, 1, 1] : tensor<1x4xf16> into tensor<1x3x4xf16>
    %row = tensor.extract_slice %s1[0, 1, 0] [1, 1, 4] [1, 1, 1] : tensor<1x3x4xf16> to tensor<1x4xf16>
    %e = tensor.empty() : tensor<1x4xf32>
    %wide = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%row : tensor<1x4xf16>) outs(%e : tensor<1x4xf32>) {
    ^bb0(%a: f16, %o: f32):
      %w = arith.extf %a : f16 to f32
      linalg.yield %w : f32
    } -> tensor<1x4xf32>
    %h, %n = wkv.token_shift %x state(%wide) : (tensor<1x1x4xf32>, tensor<1x4xf32>) -> (tensor<1x1x4xf32>, tensor<1x4xf32>)
    %f = tensor.empty() : tensor<1x4xf16>
    %narrow = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%n : tensor<1x4xf32>) outs(%f : tensor<1x4xf16>) {
    ^bb0(%a: f32, %o: f16):
      %w = arith.truncf %a : f32 to f16
      linalg.yield %w : f16
    } -> tensor<1x4xf16>
    %r = tensor.insert_slice %narrow into %s1[0, 1, 0] [1, 1, 4] [1, 1, 1] : tensor<1x4xf16> into tensor<1x3x4xf16>
    return %h, %r : tensor<1x1x4xf32>, tensor<1x3x4xf16>
  }
}

// -----

// An eighth of a packed state's other half, and a third of the row that is none
// of a state: only the state is scaled.
// CHECK-LABEL: module @scaled
// CHECK: func.func @step(%{{.*}}: tensor<1x4xf32> {onnx.name = "shift.0"
// CHECK: func.func @unpack(%[[S:[a-z0-9]+]]: tensor<2x4xf32> {onnx.name = "rows"}) -> (tensor<1x4xf32> {onnx.name = "shift.0"})
// CHECK: %[[ALL:.*]] = linalg.generic {{.*}} ins(%[[S]] : tensor<2x4xf32>)
// CHECK: arith.mulf %{{.*}}, %cst
// CHECK: %[[ROW:.*]] = tensor.extract_slice %[[ALL]][1, 0] [1, 4]
// CHECK: return %[[ROW]]
// CHECK: func.func @pack(%[[N:[a-z0-9]+]]: tensor<1x4xf32> {onnx.name = "shift.0"})
// CHECK: %[[NEW:.*]] = linalg.generic {{.*}} ins(%[[N]] : tensor<1x4xf32>)
// CHECK: arith.divf %{{.*}}, %cst
// CHECK-NOT: linalg.generic
// CHECK: tensor.insert_slice %[[NEW]]
// CHECK: return
#id2 = affine_map<(d0, d1) -> (d0, d1)>
module @scaled attributes {wkv.token_input = 0 : i64, wkv.logits_output = 0 : i64} {
  func.func @main(%t: tensor<1xi64> {onnx.name = "id", wkv.index_limit = 9 : i64},
                  %s: tensor<2x4xf32> {onnx.name = "rows", wkv.state = 1 : i64})
      -> (tensor<1x1x4xf32>, tensor<2x4xf32> {onnx.name = "rows_out"}) {
    %x = tensor.empty() : tensor<1x1x4xf32>
    %eighth = arith.constant 1.25e-01 : f32
    %e2 = tensor.empty() : tensor<2x4xf32>
    %e = tensor.empty() : tensor<1x4xf32>
    %all = linalg.generic {indexing_maps = [#id2, #id2], iterator_types = ["parallel", "parallel"]} ins(%s : tensor<2x4xf32>) outs(%e2 : tensor<2x4xf32>) {
    ^bb0(%a: f32, %o: f32):
      %w = arith.mulf %a, %eighth : f32
      linalg.yield %w : f32
    } -> tensor<2x4xf32>
    %row = tensor.extract_slice %all[1, 0] [1, 4] [1, 1] : tensor<2x4xf32> to tensor<1x4xf32>
    %h, %n = wkv.token_shift %x state(%row) : (tensor<1x1x4xf32>, tensor<1x4xf32>) -> (tensor<1x1x4xf32>, tensor<1x4xf32>)
    %new = linalg.generic {indexing_maps = [#id2, #id2], iterator_types = ["parallel", "parallel"]} ins(%n : tensor<1x4xf32>) outs(%e : tensor<1x4xf32>) {
    ^bb0(%a: f32, %o: f32):
      %w = arith.divf %a, %eighth : f32
      linalg.yield %w : f32
    } -> tensor<1x4xf32>
    %one = arith.constant dense<1.0> : tensor<1x4xf32>
    %other = math.exp %one : tensor<1x4xf32>
    %third = linalg.generic {indexing_maps = [#id2, #id2], iterator_types = ["parallel", "parallel"]} ins(%other : tensor<1x4xf32>) outs(%e : tensor<1x4xf32>) {
    ^bb0(%a: f32, %o: f32):
      %w = arith.mulf %a, %eighth : f32
      linalg.yield %w : f32
    } -> tensor<1x4xf32>
    %s1 = tensor.insert_slice %third into %all[0, 0] [1, 4] [1, 1] : tensor<1x4xf32> into tensor<2x4xf32>
    %r = tensor.insert_slice %new into %s1[1, 0] [1, 4] [1, 1] : tensor<1x4xf32> into tensor<2x4xf32>
    return %h, %r : tensor<1x1x4xf32>, tensor<2x4xf32>
  }
}

// -----

// A recurrence whose heads are those of two texts, which change faster than the
// file's own heads do: the state of each text becomes contiguous.
// FIRST-LABEL: module @texts
// FIRST: func.func @step({{.*}}: tensor<1x2x1x1xf32> {onnx.name = "wkv.0"
// FIRST: func.func @unpack(%[[S:[a-z0-9]+]]: tensor<4xf32> {onnx.name = "heads"}) -> (tensor<2x2x1x1xf32> {onnx.name = "wkv.0"})
// FIRST-SAME: wkv.texts = 2 : i64
// FIRST: %[[V:.*]] = tensor.expand_shape %[[S]] {{.*}} : tensor<4xf32> into tensor<2x2x1xf32>
// FIRST: %[[T:.*]] = linalg.transpose ins(%[[V]] : tensor<2x2x1xf32>) {{.*}} permutation = [1, 0, 2]
// FIRST: return
// FIRST: func.func @pack(%[[C:[a-z0-9]+]]: tensor<2x2x1x1xf32> {onnx.name = "wkv.0"}) -> tensor<4xf32>
// FIRST: linalg.transpose {{.*}} permutation = [1, 0, 2]
// FIRST: return %{{.*}} : tensor<4xf32>
#rows = affine_map<(d0, d1) -> (d0)>
#table = affine_map<(d0, d1) -> (d0, d1)>
#swap = affine_map<(d0, d1) -> (d1, d0)>
module @texts attributes {wkv.token_input = 0 : i64, wkv.logits_output = 0 : i64} {
  func.func @main(%t: tensor<2xf32> {onnx.name = "id"}, %s: tensor<4xf32> {onnx.name = "heads", wkv.state = 1 : i64})
      -> (tensor<2x2xf32>, tensor<4xf32>) {
    %e = tensor.empty() : tensor<2x2xf32>
    %x = linalg.generic {indexing_maps = [#rows, #swap], iterator_types = ["parallel", "parallel"]} ins(%t : tensor<2xf32>) outs(%e : tensor<2x2xf32>) {
    ^bb0(%a: f32, %o: f32):
      linalg.yield %a : f32
    } -> tensor<2x2xf32>
    %flat = tensor.collapse_shape %x [[0, 1]] : tensor<2x2xf32> into tensor<4xf32>
    %k = tensor.expand_shape %flat [[0, 1, 2, 3]] output_shape [1, 1, 4, 1] : tensor<4xf32> into tensor<1x1x4x1xf32>
    %init = tensor.empty() : tensor<1x1x4x1xf32>
    %s0 = tensor.expand_shape %s [[0, 1, 2, 3]] output_shape [1, 4, 1, 1] : tensor<4xf32> into tensor<1x4x1x1xf32>
    %y, %n = wkv.wkv7 receptance(%k) decay(%k) key(%k) value(%k) a(%k) b(%k) init(%init) state(%s0) : (tensor<1x1x4x1xf32>, tensor<1x1x4x1xf32>, tensor<1x1x4x1xf32>, tensor<1x1x4x1xf32>, tensor<1x1x4x1xf32>, tensor<1x1x4x1xf32>, tensor<1x1x4x1xf32>, tensor<1x4x1x1xf32>) -> (tensor<1x1x4x1xf32>, tensor<1x4x1x1xf32>)
    %s1 = tensor.collapse_shape %n [[0, 1, 2, 3]] : tensor<1x4x1x1xf32> into tensor<4xf32>
    %l0 = tensor.collapse_shape %y [[0, 1, 2, 3]] : tensor<1x1x4x1xf32> into tensor<4xf32>
    %l1 = tensor.expand_shape %l0 [[0, 1]] output_shape [2, 2] : tensor<4xf32> into tensor<2x2xf32>
    %l = linalg.generic {indexing_maps = [#swap, #table], iterator_types = ["parallel", "parallel"]} ins(%l1 : tensor<2x2xf32>) outs(%e : tensor<2x2xf32>) {
    ^bb0(%a: f32, %o: f32):
      linalg.yield %a : f32
    } -> tensor<2x2xf32>
    return %l, %s1 : tensor<2x2xf32>, tensor<4xf32>
  }
}

// -----

// No state of the file, nothing to convert.
// CHECK-LABEL: module @stateless
// CHECK: func.func @step
// CHECK-NOT: @unpack
// CHECK-NOT: @pack
module @stateless attributes {wkv.token_input = 0 : i64, wkv.logits_output = 0 : i64} {
  func.func @main(%t: tensor<1x1xi64> {onnx.name = "id"}) -> tensor<1x1x4xf32> {
    %x = tensor.empty() : tensor<1x1x4xf32>
    %zeros = arith.constant dense<0.0> : tensor<1x4xf32>
    %h, %n = wkv.token_shift %x state(%zeros) : (tensor<1x1x4xf32>, tensor<1x4xf32>) -> (tensor<1x1x4xf32>, tensor<1x4xf32>)
    return %h : tensor<1x1x4xf32>
  }
}
