// RUN: rwkv-opt %s -split-input-file -wkv-fold-embedding-norm | FileCheck %s
// RUN: rwkv-opt %s -split-input-file -wkv-fold-embedding-norm=max-bytes=16 | FileCheck %s --check-prefix=SMALL

// Both rows have the deviations +-1 +-3 times a factor; the norm divides by their root mean square.
// SMALL-LABEL: func.func @step
// SMALL:         wkv.layer_norm
// CHECK-LABEL: func.func @step
// CHECK:         %[[T:.*]] = arith.constant dense<{{\[\[}}-2.68328{{[0-9]*}}, -0.894427{{[0-9]*}}, 0.894427{{[0-9]*}}, 2.68328{{[0-9]*}}], [2.68328{{[0-9]*}}, 0.894427{{[0-9]*}}, -0.894427{{[0-9]*}}, -2.68328{{[0-9]*}}]]> : tensor<2x4xf32>
// CHECK:         %[[S:.*]] = tensor.extract_slice %[[T]][%{{.*}}, 0] [1, 4] [1, 1]
// CHECK:         %[[X:.*]] = tensor.expand_shape %[[S]]
// CHECK-NOT:     wkv.layer_norm
// CHECK:         return %[[X]], %[[X]]
func.func @step(%i: index) -> (tensor<1x4xf32>, tensor<1x4xf32>) {
  %table = arith.constant dense<[[0.0, 2.0, 4.0, 6.0], [9.0, 7.0, 5.0, 3.0]]> : tensor<2x4xf32>
  %scale = arith.constant dense<2.0> : tensor<4xf32>
  %row = tensor.extract_slice %table[%i, 0] [1, 4] [1, 1] : tensor<2x4xf32> to tensor<4xf32>
  %x = tensor.expand_shape %row [[0, 1]] output_shape [1, 4] : tensor<4xf32> into tensor<1x4xf32>
  %y = wkv.layer_norm %x scale(%scale : tensor<4xf32>) {epsilon = 0.0 : f64} : tensor<1x4xf32>
  return %y, %y : tensor<1x4xf32>, tensor<1x4xf32>
}

// -----

// Several tokens, gathered element by element, in half precision and with a bias.
// CHECK-LABEL: func.func @sequence
// CHECK:         dense<{{\[\[}}0.000000e+00, 2.000000e+00], [2.000000e+00, 0.000000e+00]]> : tensor<2x2xf16>
// CHECK-NOT:     wkv.layer_norm
func.func @sequence(%t: tensor<3xindex>) -> tensor<3x2xf16> {
  %table = arith.constant dense<[[-1.0, 1.0], [4.0, -4.0]]> : tensor<2x2xf16>
  %bias = arith.constant dense<1.0> : tensor<2xf16>
  %e = tensor.empty() : tensor<3x2xf16>
  %x = linalg.generic {indexing_maps = [affine_map<(t, c) -> (t)>, affine_map<(t, c) -> (t, c)>],
      iterator_types = ["parallel", "parallel"]} ins(%t : tensor<3xindex>) outs(%e : tensor<3x2xf16>) {
  ^bb0(%i: index, %o: f16):
    %c = linalg.index 1 : index
    %v = tensor.extract %table[%i, %c] : tensor<2x2xf16>
    linalg.yield %v : f16
  } -> tensor<3x2xf16>
  %y = wkv.layer_norm %x bias(%bias : tensor<2xf16>) {epsilon = 0.0 : f64} : tensor<3x2xf16>
  return %y : tensor<3x2xf16>
}

// -----

// The row itself is used as well: v7 files with the norm already folded.
// CHECK-LABEL: func.func @row_used
// CHECK:         wkv.layer_norm
func.func @row_used(%i: index) -> (tensor<4xf32>, tensor<4xf32>) {
  %table = arith.constant dense<[[0.0, 2.0, 4.0, 6.0], [9.0, 7.0, 5.0, 3.0]]> : tensor<2x4xf32>
  %row = tensor.extract_slice %table[%i, 0] [1, 4] [1, 1] : tensor<2x4xf32> to tensor<4xf32>
  %y = wkv.layer_norm %row {epsilon = 0.0 : f64} : tensor<4xf32>
  return %row, %y : tensor<4xf32>, tensor<4xf32>
}

// -----

// The head reads the table too, through a constant of its own.
// CHECK-LABEL: func.func @tied
// CHECK:         wkv.layer_norm
func.func @tied(%i: index, %h: tensor<1x4xf32>, %l: tensor<1x2xf32>) -> (tensor<4xf32>, tensor<1x2xf32>) {
  %table = arith.constant dense<[[0.0, 2.0, 4.0, 6.0], [9.0, 7.0, 5.0, 3.0]]> : tensor<2x4xf32>
  %head = arith.constant dense<[[0.0, 2.0, 4.0, 6.0], [9.0, 7.0, 5.0, 3.0]]> : tensor<2x4xf32>
  %row = tensor.extract_slice %table[%i, 0] [1, 4] [1, 1] : tensor<2x4xf32> to tensor<4xf32>
  %y = wkv.layer_norm %row {epsilon = 0.0 : f64} : tensor<4xf32>
  %logits = linalg.generic {indexing_maps = [affine_map<(a, b, c) -> (a, c)>, affine_map<(a, b, c) -> (b, c)>,
      affine_map<(a, b, c) -> (a, b)>], iterator_types = ["parallel", "parallel", "reduction"]}
      ins(%h, %head : tensor<1x4xf32>, tensor<2x4xf32>) outs(%l : tensor<1x2xf32>) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %p = arith.mulf %a, %b : f32
    %s = arith.addf %o, %p : f32
    linalg.yield %s : f32
  } -> tensor<1x2xf32>
  return %y, %logits : tensor<4xf32>, tensor<1x2xf32>
}

// -----

// Part of a row, groups of a row, a number that changes along the row, and a scale that is not known.
// CHECK-LABEL: func.func @other_rows
// CHECK-COUNT-4: wkv.layer_norm
func.func @other_rows(%i: index, %scale: tensor<4xf32>, %t: tensor<4xindex>)
    -> (tensor<2xf32>, tensor<2x2xf32>, tensor<4xf32>, tensor<4xf32>) {
  %t0 = arith.constant dense<[[0.0, 2.0, 4.0, 6.0], [9.0, 7.0, 5.0, 3.0]]> : tensor<2x4xf32>
  %part = tensor.extract_slice %t0[%i, 2] [1, 2] [1, 1] : tensor<2x4xf32> to tensor<2xf32>
  %y0 = wkv.layer_norm %part {epsilon = 0.0 : f64} : tensor<2xf32>
  %t1 = arith.constant dense<[[1.0, 2.0, 4.0, 6.0], [9.0, 7.0, 5.0, 3.0]]> : tensor<2x4xf32>
  %row1 = tensor.extract_slice %t1[%i, 0] [1, 4] [1, 1] : tensor<2x4xf32> to tensor<4xf32>
  %heads = tensor.expand_shape %row1 [[0, 1]] output_shape [2, 2] : tensor<4xf32> into tensor<2x2xf32>
  %y1 = wkv.layer_norm %heads {epsilon = 0.0 : f64} : tensor<2x2xf32>
  %t2 = arith.constant dense<[[2.0, 2.0, 4.0, 6.0], [9.0, 7.0, 5.0, 3.0]]> : tensor<2x4xf32>
  %e = tensor.empty() : tensor<4xf32>
  %mixed = linalg.generic {indexing_maps = [affine_map<(c) -> (c)>, affine_map<(c) -> (c)>],
      iterator_types = ["parallel"]} ins(%t : tensor<4xindex>) outs(%e : tensor<4xf32>) {
  ^bb0(%r: index, %o: f32):
    %c = linalg.index 0 : index
    %v = tensor.extract %t2[%r, %c] : tensor<2x4xf32>
    linalg.yield %v : f32
  } -> tensor<4xf32>
  %y2 = wkv.layer_norm %mixed {epsilon = 0.0 : f64} : tensor<4xf32>
  %t3 = arith.constant dense<[[3.0, 2.0, 4.0, 6.0], [9.0, 7.0, 5.0, 3.0]]> : tensor<2x4xf32>
  %row3 = tensor.extract_slice %t3[%i, 0] [1, 4] [1, 1] : tensor<2x4xf32> to tensor<4xf32>
  %y3 = wkv.layer_norm %row3 scale(%scale : tensor<4xf32>) {epsilon = 0.0 : f64} : tensor<4xf32>
  return %y0, %y1, %y2, %y3 : tensor<2xf32>, tensor<2x2xf32>, tensor<4xf32>, tensor<4xf32>
}
