// RUN: rwkv-opt %s --pass-pipeline='builtin.module(func.func(dnnl-fuse-epilogues))' --split-input-file | FileCheck %s

#mat = affine_map<(d0, d1) -> (d0, d1)>
#swapped = affine_map<(d0, d1) -> (d1, d0)>
#row = affine_map<(d0, d1) -> (d1)>
#column = affine_map<(d0, d1) -> (d0)>

// CHECK-LABEL: func.func @relu_squared
// CHECK:         %[[P:.*]] = dnnl.matmul ins({{.*}}) outs(%arg2 : tensor<4x8xf32>) post(relu, square) -> tensor<4x8xf32>
// CHECK-NOT:     linalg.generic
// CHECK:         return %[[P]]
func.func @relu_squared(%a: tensor<4x8xf32>, %w: tensor<8x8xf32>, %c: tensor<4x8xf32>) -> tensor<4x8xf32> {
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<4x8xf32>
  %p = dnnl.matmul ins(%a, %w : tensor<4x8xf32>, tensor<8x8xf32>) outs(%c : tensor<4x8xf32>) -> tensor<4x8xf32>
  %s = linalg.generic {indexing_maps = [#mat, #mat], iterator_types = ["parallel", "parallel"]}
      ins(%p : tensor<4x8xf32>) outs(%e : tensor<4x8xf32>) {
  ^bb0(%x: f32, %out: f32):
    %0 = arith.maximumf %x, %zero : f32
    %1 = arith.mulf %0, %0 : f32
    linalg.yield %1 : f32
  } -> tensor<4x8xf32>
  return %s : tensor<4x8xf32>
}

// -----

#mat = affine_map<(d0, d1) -> (d0, d1)>

// Each function in the form that the importer gives it; the second op adds to what the first one made.
// CHECK-LABEL: func.func @functions
// CHECK:         dnnl.matmul accumulate ins({{.*}}) outs({{.*}}) post(logistic, swish, swish, tanh)
// CHECK-NOT:     linalg.generic
func.func @functions(%a: tensor<4x8xf32>, %w: tensor<8x8xf32>, %c: tensor<4x8xf32>) -> tensor<4x8xf32> {
  %one = arith.constant 1.0 : f32
  %e = tensor.empty() : tensor<4x8xf32>
  %p = dnnl.matmul accumulate ins(%a, %w : tensor<4x8xf32>, tensor<8x8xf32>) outs(%c : tensor<4x8xf32>) -> tensor<4x8xf32>
  %q = linalg.generic {indexing_maps = [#mat, #mat], iterator_types = ["parallel", "parallel"]}
      ins(%p : tensor<4x8xf32>) outs(%e : tensor<4x8xf32>) {
  ^bb0(%x: f32, %out: f32):
    %0 = arith.negf %x : f32
    %1 = math.exp %0 : f32
    %2 = arith.addf %1, %one : f32
    %3 = arith.divf %one, %2 : f32
    %4 = arith.negf %3 : f32
    %5 = math.exp %4 : f32
    %6 = arith.addf %one, %5 : f32
    %7 = arith.divf %one, %6 : f32
    %8 = arith.mulf %3, %7 : f32
    linalg.yield %8 : f32
  } -> tensor<4x8xf32>
  %s = linalg.generic {indexing_maps = [#mat, #mat], iterator_types = ["parallel", "parallel"]}
      ins(%q : tensor<4x8xf32>) outs(%e : tensor<4x8xf32>) {
  ^bb0(%x: f32, %out: f32):
    %0 = arith.negf %x : f32
    %1 = math.exp %0 : f32
    %2 = arith.addf %1, %one : f32
    %3 = arith.divf %x, %2 : f32
    %4 = math.tanh %3 : f32
    linalg.yield %4 : f32
  } -> tensor<4x8xf32>
  return %s : tensor<4x8xf32>
}

// -----

#cube = affine_map<(d0, d1, d2) -> (d0, d1, d2)>
#row = affine_map<(d0, d1, d2) -> (d2)>

// The product waits for what is combined with it, which takes the shape that the product has.
// CHECK-LABEL: func.func @combined
// CHECK:         %[[G:.*]] = math.tanh %arg3
// CHECK:         %[[FLAT:.*]] = tensor.collapse_shape %[[G]] {{\[\[}}0, 1], [2]] : tensor<1x4x8xf32> into tensor<4x8xf32>
// CHECK:         %[[P:.*]] = dnnl.matmul ins({{.*}}) outs({{.*}}) post(add %arg4 : tensor<8xf32>, mul %[[FLAT]] : tensor<4x8xf32>) -> tensor<4x8xf32>
// CHECK:         %[[S:.*]] = tensor.expand_shape %[[P]]
// CHECK-NOT:     linalg.generic
// CHECK:         return %[[S]]
func.func @combined(%a: tensor<4x8xf32>, %w: tensor<8x8xf32>, %c: tensor<4x8xf32>, %g: tensor<1x4x8xf32>, %bias: tensor<8xf32>) -> tensor<1x4x8xf32> {
  %e = tensor.empty() : tensor<1x4x8xf32>
  %p = dnnl.matmul ins(%a, %w : tensor<4x8xf32>, tensor<8x8xf32>) outs(%c : tensor<4x8xf32>) -> tensor<4x8xf32>
  %p3 = tensor.expand_shape %p [[0, 1], [2]] output_shape [1, 4, 8] : tensor<4x8xf32> into tensor<1x4x8xf32>
  %later = math.tanh %g : tensor<1x4x8xf32>
  %s = linalg.generic {indexing_maps = [#cube, #row, #cube, #cube], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%later, %bias, %p3 : tensor<1x4x8xf32>, tensor<8xf32>, tensor<1x4x8xf32>) outs(%e : tensor<1x4x8xf32>) {
  ^bb0(%y: f32, %b: f32, %x: f32, %out: f32):
    %0 = arith.addf %b, %x : f32
    %1 = arith.mulf %0, %y : f32
    linalg.yield %1 : f32
  } -> tensor<1x4x8xf32>
  return %s : tensor<1x4x8xf32>
}

// -----

#mat = affine_map<(d0, d1) -> (d0, d1)>

// Two readers of the product.
// CHECK-LABEL: func.func @shared
// CHECK-NOT:     post
// CHECK:         linalg.generic
func.func @shared(%a: tensor<4x8xf32>, %w: tensor<8x8xf32>, %c: tensor<4x8xf32>) -> (tensor<4x8xf32>, tensor<4x8xf32>) {
  %e = tensor.empty() : tensor<4x8xf32>
  %p = dnnl.matmul ins(%a, %w : tensor<4x8xf32>, tensor<8x8xf32>) outs(%c : tensor<4x8xf32>) -> tensor<4x8xf32>
  %s = linalg.generic {indexing_maps = [#mat, #mat], iterator_types = ["parallel", "parallel"]}
      ins(%p : tensor<4x8xf32>) outs(%e : tensor<4x8xf32>) {
  ^bb0(%x: f32, %out: f32):
    %0 = math.tanh %x : f32
    linalg.yield %0 : f32
  } -> tensor<4x8xf32>
  return %p, %s : tensor<4x8xf32>, tensor<4x8xf32>
}

// -----

#mat = affine_map<(d0, d1) -> (d0, d1)>

// A function that the op does not have, though the first is known; the product itself, unchanged.
// CHECK-LABEL: func.func @unknown
// CHECK-NOT:     post
// CHECK:         linalg.generic
// CHECK:         linalg.generic
func.func @unknown(%a: tensor<4x8xf32>, %w: tensor<8x8xf32>, %c: tensor<4x8xf32>) -> (tensor<4x8xf32>, tensor<4x8xf32>) {
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<4x8xf32>
  %p = dnnl.matmul ins(%a, %w : tensor<4x8xf32>, tensor<8x8xf32>) outs(%c : tensor<4x8xf32>) -> tensor<4x8xf32>
  %s = linalg.generic {indexing_maps = [#mat, #mat], iterator_types = ["parallel", "parallel"]}
      ins(%p : tensor<4x8xf32>) outs(%e : tensor<4x8xf32>) {
  ^bb0(%x: f32, %out: f32):
    %0 = arith.maximumf %x, %zero : f32
    %1 = math.sqrt %0 : f32
    linalg.yield %1 : f32
  } -> tensor<4x8xf32>
  %q = dnnl.matmul ins(%a, %w : tensor<4x8xf32>, tensor<8x8xf32>) outs(%c : tensor<4x8xf32>) -> tensor<4x8xf32>
  %t = linalg.generic {indexing_maps = [#mat, #mat], iterator_types = ["parallel", "parallel"]}
      ins(%q : tensor<4x8xf32>) outs(%e : tensor<4x8xf32>) {
  ^bb0(%x: f32, %out: f32):
    linalg.yield %x : f32
  } -> tensor<4x8xf32>
  return %s, %t : tensor<4x8xf32>, tensor<4x8xf32>
}

// -----

#mat = affine_map<(d0, d1) -> (d0, d1)>
#swapped = affine_map<(d0, d1) -> (d1, d0)>
#column = affine_map<(d0, d1) -> (d0)>

// The product transposed; a column, the same for all columns; a value subtracted; one of f16.
// CHECK-LABEL: func.func @operands
// CHECK-NOT:     post
// CHECK-COUNT-4: linalg.generic
func.func @operands(%a: tensor<8x8xf32>, %c: tensor<8x8xf32>, %y: tensor<8x8xf32>, %col: tensor<8xf32>, %h: tensor<8x8xf16>)
    -> (tensor<8x8xf32>, tensor<8x8xf32>, tensor<8x8xf32>, tensor<8x8xf16>) {
  %e = tensor.empty() : tensor<8x8xf32>
  %p = dnnl.matmul ins(%a, %a : tensor<8x8xf32>, tensor<8x8xf32>) outs(%c : tensor<8x8xf32>) -> tensor<8x8xf32>
  %s = linalg.generic {indexing_maps = [#swapped, #mat], iterator_types = ["parallel", "parallel"]}
      ins(%p : tensor<8x8xf32>) outs(%e : tensor<8x8xf32>) {
  ^bb0(%x: f32, %out: f32):
    %0 = math.tanh %x : f32
    linalg.yield %0 : f32
  } -> tensor<8x8xf32>
  %q = dnnl.matmul ins(%a, %a : tensor<8x8xf32>, tensor<8x8xf32>) outs(%c : tensor<8x8xf32>) -> tensor<8x8xf32>
  %t = linalg.generic {indexing_maps = [#mat, #column, #mat], iterator_types = ["parallel", "parallel"]}
      ins(%q, %col : tensor<8x8xf32>, tensor<8xf32>) outs(%e : tensor<8x8xf32>) {
  ^bb0(%x: f32, %z: f32, %out: f32):
    %0 = arith.addf %x, %z : f32
    linalg.yield %0 : f32
  } -> tensor<8x8xf32>
  %r = dnnl.matmul ins(%a, %a : tensor<8x8xf32>, tensor<8x8xf32>) outs(%c : tensor<8x8xf32>) -> tensor<8x8xf32>
  %u = linalg.generic {indexing_maps = [#mat, #mat, #mat], iterator_types = ["parallel", "parallel"]}
      ins(%r, %y : tensor<8x8xf32>, tensor<8x8xf32>) outs(%e : tensor<8x8xf32>) {
  ^bb0(%x: f32, %z: f32, %out: f32):
    %0 = arith.subf %x, %z : f32
    linalg.yield %0 : f32
  } -> tensor<8x8xf32>
  %e16 = tensor.empty() : tensor<8x8xf16>
  %o = dnnl.matmul ins(%h, %h : tensor<8x8xf16>, tensor<8x8xf16>) outs(%e16 : tensor<8x8xf16>) -> tensor<8x8xf16>
  %v = linalg.generic {indexing_maps = [#mat, #mat, #mat], iterator_types = ["parallel", "parallel"]}
      ins(%o, %h : tensor<8x8xf16>, tensor<8x8xf16>) outs(%e16 : tensor<8x8xf16>) {
  ^bb0(%x: f16, %z: f16, %out: f16):
    %0 = arith.addf %x, %z : f16
    linalg.yield %0 : f16
  } -> tensor<8x8xf16>
  return %s, %t, %u, %v : tensor<8x8xf32>, tensor<8x8xf32>, tensor<8x8xf32>, tensor<8x8xf16>
}

// -----

#cube = affine_map<(d0, d1, d2) -> (d0, d1, d2)>
#row = affine_map<(d0, d1, d2) -> (d2)>

// The last dimension of the sum is a part of the product's rows; a row beside a batch of matrices.
// CHECK-LABEL: func.func @rows
// CHECK-NOT:     post
// CHECK-COUNT-2: linalg.generic
func.func @rows(%a: tensor<4x8xf32>, %w: tensor<8x8xf32>, %c: tensor<4x8xf32>, %bias: tensor<4xf32>, %b: tensor<2x4x4xf32>) -> (tensor<4x2x4xf32>, tensor<2x4x4xf32>) {
  %e = tensor.empty() : tensor<4x2x4xf32>
  %p = dnnl.matmul ins(%a, %w : tensor<4x8xf32>, tensor<8x8xf32>) outs(%c : tensor<4x8xf32>) -> tensor<4x8xf32>
  %p3 = tensor.expand_shape %p [[0], [1, 2]] output_shape [4, 2, 4] : tensor<4x8xf32> into tensor<4x2x4xf32>
  %s = linalg.generic {indexing_maps = [#cube, #row, #cube], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%p3, %bias : tensor<4x2x4xf32>, tensor<4xf32>) outs(%e : tensor<4x2x4xf32>) {
  ^bb0(%x: f32, %z: f32, %out: f32):
    %0 = arith.addf %x, %z : f32
    linalg.yield %0 : f32
  } -> tensor<4x2x4xf32>
  %eb = tensor.empty() : tensor<2x4x4xf32>
  %q = dnnl.matmul ins(%b, %b : tensor<2x4x4xf32>, tensor<2x4x4xf32>) outs(%eb : tensor<2x4x4xf32>) -> tensor<2x4x4xf32>
  %t = linalg.generic {indexing_maps = [#cube, #row, #cube], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%q, %bias : tensor<2x4x4xf32>, tensor<4xf32>) outs(%eb : tensor<2x4x4xf32>) {
  ^bb0(%x: f32, %z: f32, %out: f32):
    %0 = arith.addf %x, %z : f32
    linalg.yield %0 : f32
  } -> tensor<2x4x4xf32>
  return %s, %t : tensor<4x2x4xf32>, tensor<2x4x4xf32>
}
