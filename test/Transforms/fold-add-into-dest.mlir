// RUN: rwkv-opt %s -rwkvc-fold-add-into-dest -canonicalize | FileCheck %s

#mat = affine_map<(d0, d1) -> (d0, d1)>
#swapped = affine_map<(d0, d1) -> (d1, d0)>
#cube = affine_map<(d0, d1, d2) -> (d0, d1, d2)>
#x = affine_map<(d0, d1, d2) -> (d0, d2)>
#w = affine_map<(d0, d1, d2) -> (d1, d2)>
#y = affine_map<(d0, d1, d2) -> (d0, d1)>

// The residual is read before the product begins, by what computes the product's input.
// CHECK-LABEL: func.func @residual
// CHECK-NOT:     linalg.fill
// CHECK:         %[[R:.*]] = linalg.exp
// CHECK:         %[[X:.*]] = linalg.tanh ins(%[[R]]
// CHECK:         %[[P:.*]] = linalg.matmul ins(%[[X]], %{{.*}}) outs(%[[R]] :
// CHECK-NOT:     linalg.generic
// CHECK:         return %[[P]]
func.func @residual(%a: tensor<4x8xf32>, %w: tensor<8x8xf32>) -> tensor<4x8xf32> {
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<4x8xf32>
  %r = linalg.exp ins(%a : tensor<4x8xf32>) outs(%e : tensor<4x8xf32>) -> tensor<4x8xf32>
  %x = linalg.tanh ins(%r : tensor<4x8xf32>) outs(%e : tensor<4x8xf32>) -> tensor<4x8xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<4x8xf32>) -> tensor<4x8xf32>
  %p = linalg.matmul ins(%x, %w : tensor<4x8xf32>, tensor<8x8xf32>) outs(%f : tensor<4x8xf32>) -> tensor<4x8xf32>
  %s = linalg.generic {indexing_maps = [#mat, #mat, #mat], iterator_types = ["parallel", "parallel"]}
      ins(%p, %r : tensor<4x8xf32>, tensor<4x8xf32>) outs(%e : tensor<4x8xf32>) {
  ^bb0(%b: f32, %c: f32, %d: f32):
    %0 = arith.addf %b, %c : f32
    linalg.yield %0 : f32
  } -> tensor<4x8xf32>
  return %s : tensor<4x8xf32>
}

// Reshapes on the way are undone for the residual; it is the sum's first operand, read through another shape, and the
// product is a generic op.
// CHECK-LABEL: func.func @reshaped
// CHECK:         %[[R:.*]] = linalg.exp {{.*}} -> tensor<1x4x8xf32>
// CHECK:         %[[X:.*]] = linalg.tanh
// CHECK:         %[[I:.*]] = tensor.collapse_shape %[[R]] {{\[\[}}0, 1], [2]] : tensor<1x4x8xf32> into tensor<4x8xf32>
// CHECK:         %[[P:.*]] = linalg.generic {{.*}} ins(%[[X]], %{{.*}}) outs(%[[I]] : tensor<4x8xf32>)
// CHECK:         %[[S:.*]] = tensor.expand_shape %[[P]]
// CHECK-NOT:     linalg.generic
// CHECK:         return %[[S]]
func.func @reshaped(%a: tensor<1x4x8xf32>, %w: tensor<8x8xf32>) -> tensor<1x4x8xf32> {
  %zero = arith.constant 0.0 : f32
  %e3 = tensor.empty() : tensor<1x4x8xf32>
  %e = tensor.empty() : tensor<4x8xf32>
  %r = linalg.exp ins(%a : tensor<1x4x8xf32>) outs(%e3 : tensor<1x4x8xf32>) -> tensor<1x4x8xf32>
  %flat = tensor.collapse_shape %r [[0, 1], [2]] : tensor<1x4x8xf32> into tensor<4x8xf32>
  %x = linalg.tanh ins(%flat : tensor<4x8xf32>) outs(%e : tensor<4x8xf32>) -> tensor<4x8xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<4x8xf32>) -> tensor<4x8xf32>
  %p = linalg.generic {indexing_maps = [#x, #w, #y], iterator_types = ["parallel", "parallel", "reduction"]}
      ins(%x, %w : tensor<4x8xf32>, tensor<8x8xf32>) outs(%f : tensor<4x8xf32>) {
  ^bb0(%b: f32, %c: f32, %d: f32):
    %0 = arith.mulf %b, %c : f32
    %1 = arith.addf %d, %0 : f32
    linalg.yield %1 : f32
  } -> tensor<4x8xf32>
  %p3 = tensor.expand_shape %p [[0, 1], [2]] output_shape [1, 4, 8] : tensor<4x8xf32> into tensor<1x4x8xf32>
  %s = linalg.generic {indexing_maps = [#cube, #cube, #cube], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%r, %p3 : tensor<1x4x8xf32>, tensor<1x4x8xf32>) outs(%e3 : tensor<1x4x8xf32>) {
  ^bb0(%b: f32, %c: f32, %d: f32):
    %0 = arith.addf %b, %c : f32
    linalg.yield %0 : f32
  } -> tensor<1x4x8xf32>
  return %s : tensor<1x4x8xf32>
}

// A product that comes first waits; of two products the second begins at the first one's result.
// CHECK-LABEL: func.func @two_products
// CHECK:         %[[F:.*]] = linalg.fill
// CHECK:         %[[Q:.*]] = linalg.matmul ins(%arg1, %arg2 : {{.*}}) outs(%[[F]] :
// CHECK:         %[[P:.*]] = linalg.matmul ins(%arg0, %arg2 : {{.*}}) outs(%[[Q]] :
// CHECK:         return %[[P]]
func.func @two_products(%a: tensor<4x8xf32>, %b: tensor<4x8xf32>, %w: tensor<8x8xf32>) -> tensor<4x8xf32> {
  %zero = arith.constant dense<0.0> : tensor<4x8xf32>
  %z = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<4x8xf32>
  %p = linalg.matmul ins(%a, %w : tensor<4x8xf32>, tensor<8x8xf32>) outs(%zero : tensor<4x8xf32>) -> tensor<4x8xf32>
  %f = linalg.fill ins(%z : f32) outs(%e : tensor<4x8xf32>) -> tensor<4x8xf32>
  %q = linalg.matmul ins(%b, %w : tensor<4x8xf32>, tensor<8x8xf32>) outs(%f : tensor<4x8xf32>) -> tensor<4x8xf32>
  %s = linalg.generic {indexing_maps = [#mat, #mat, #mat], iterator_types = ["parallel", "parallel"]}
      ins(%p, %q : tensor<4x8xf32>, tensor<4x8xf32>) outs(%e : tensor<4x8xf32>) {
  ^bb0(%i: f32, %j: f32, %k: f32):
    %0 = arith.addf %i, %j : f32
    linalg.yield %0 : f32
  } -> tensor<4x8xf32>
  return %s : tensor<4x8xf32>
}

// The residual would be overwritten before its last reader.
// CHECK-LABEL: func.func @read_later
// CHECK:         linalg.fill
// CHECK:         arith.addf
func.func @read_later(%a: tensor<4x8xf32>, %w: tensor<8x8xf32>) -> (tensor<4x8xf32>, tensor<4x8xf32>) {
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<4x8xf32>
  %r = linalg.exp ins(%a : tensor<4x8xf32>) outs(%e : tensor<4x8xf32>) -> tensor<4x8xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<4x8xf32>) -> tensor<4x8xf32>
  %p = linalg.matmul ins(%a, %w : tensor<4x8xf32>, tensor<8x8xf32>) outs(%f : tensor<4x8xf32>) -> tensor<4x8xf32>
  %s = linalg.generic {indexing_maps = [#mat, #mat, #mat], iterator_types = ["parallel", "parallel"]}
      ins(%p, %r : tensor<4x8xf32>, tensor<4x8xf32>) outs(%e : tensor<4x8xf32>) {
  ^bb0(%b: f32, %c: f32, %d: f32):
    %0 = arith.addf %b, %c : f32
    linalg.yield %0 : f32
  } -> tensor<4x8xf32>
  %t = linalg.tanh ins(%r : tensor<4x8xf32>) outs(%e : tensor<4x8xf32>) -> tensor<4x8xf32>
  return %s, %t : tensor<4x8xf32>, tensor<4x8xf32>
}

// The same, where the reader has a part of it.
// CHECK-LABEL: func.func @part_read_later
// CHECK:         linalg.fill
// CHECK:         arith.addf
func.func @part_read_later(%a: tensor<4x8xf32>, %w: tensor<8x8xf32>) -> (tensor<4x8xf32>, tensor<1x8xf32>) {
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<4x8xf32>
  %r = linalg.exp ins(%a : tensor<4x8xf32>) outs(%e : tensor<4x8xf32>) -> tensor<4x8xf32>
  %part = tensor.extract_slice %r[0, 0] [1, 8] [1, 1] : tensor<4x8xf32> to tensor<1x8xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<4x8xf32>) -> tensor<4x8xf32>
  %p = linalg.matmul ins(%a, %w : tensor<4x8xf32>, tensor<8x8xf32>) outs(%f : tensor<4x8xf32>) -> tensor<4x8xf32>
  %s = linalg.generic {indexing_maps = [#mat, #mat, #mat], iterator_types = ["parallel", "parallel"]}
      ins(%p, %r : tensor<4x8xf32>, tensor<4x8xf32>) outs(%e : tensor<4x8xf32>) {
  ^bb0(%b: f32, %c: f32, %d: f32):
    %0 = arith.addf %b, %c : f32
    linalg.yield %0 : f32
  } -> tensor<4x8xf32>
  return %s, %part : tensor<4x8xf32>, tensor<1x8xf32>
}

// An argument is the caller's.
// CHECK-LABEL: func.func @argument
// CHECK:         linalg.fill
// CHECK:         arith.addf
func.func @argument(%r: tensor<4x8xf32>, %a: tensor<4x8xf32>, %w: tensor<8x8xf32>) -> tensor<4x8xf32> {
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<4x8xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<4x8xf32>) -> tensor<4x8xf32>
  %p = linalg.matmul ins(%a, %w : tensor<4x8xf32>, tensor<8x8xf32>) outs(%f : tensor<4x8xf32>) -> tensor<4x8xf32>
  %s = linalg.generic {indexing_maps = [#mat, #mat, #mat], iterator_types = ["parallel", "parallel"]}
      ins(%p, %r : tensor<4x8xf32>, tensor<4x8xf32>) outs(%e : tensor<4x8xf32>) {
  ^bb0(%b: f32, %c: f32, %d: f32):
    %0 = arith.addf %b, %c : f32
    linalg.yield %0 : f32
  } -> tensor<4x8xf32>
  return %s : tensor<4x8xf32>
}

// The product reads the residual itself while it writes.
// CHECK-LABEL: func.func @own_input
// CHECK:         linalg.fill
// CHECK:         arith.addf
func.func @own_input(%a: tensor<4x8xf32>, %w: tensor<8x8xf32>) -> tensor<4x8xf32> {
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<4x8xf32>
  %r = linalg.exp ins(%a : tensor<4x8xf32>) outs(%e : tensor<4x8xf32>) -> tensor<4x8xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<4x8xf32>) -> tensor<4x8xf32>
  %p = linalg.matmul ins(%r, %w : tensor<4x8xf32>, tensor<8x8xf32>) outs(%f : tensor<4x8xf32>) -> tensor<4x8xf32>
  %s = linalg.generic {indexing_maps = [#mat, #mat, #mat], iterator_types = ["parallel", "parallel"]}
      ins(%p, %r : tensor<4x8xf32>, tensor<4x8xf32>) outs(%e : tensor<4x8xf32>) {
  ^bb0(%b: f32, %c: f32, %d: f32):
    %0 = arith.addf %b, %c : f32
    linalg.yield %0 : f32
  } -> tensor<4x8xf32>
  return %s : tensor<4x8xf32>
}

// Each iteration needs the residual as it was.
// CHECK-LABEL: func.func @in_loop
// CHECK:         scf.for
// CHECK:           linalg.fill
// CHECK:           arith.addf
func.func @in_loop(%a: tensor<4x8xf32>, %w: tensor<8x8xf32>, %n: index) -> tensor<4x8xf32> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<4x8xf32>
  %r = linalg.exp ins(%a : tensor<4x8xf32>) outs(%e : tensor<4x8xf32>) -> tensor<4x8xf32>
  %l = scf.for %i = %c0 to %n step %c1 iter_args(%x = %a) -> tensor<4x8xf32> {
    %f = linalg.fill ins(%zero : f32) outs(%e : tensor<4x8xf32>) -> tensor<4x8xf32>
    %p = linalg.matmul ins(%x, %w : tensor<4x8xf32>, tensor<8x8xf32>) outs(%f : tensor<4x8xf32>) -> tensor<4x8xf32>
    %s = linalg.generic {indexing_maps = [#mat, #mat, #mat], iterator_types = ["parallel", "parallel"]}
        ins(%p, %r : tensor<4x8xf32>, tensor<4x8xf32>) outs(%e : tensor<4x8xf32>) {
    ^bb0(%b: f32, %c: f32, %d: f32):
      %0 = arith.addf %b, %c : f32
      linalg.yield %0 : f32
    } -> tensor<4x8xf32>
    scf.yield %s : tensor<4x8xf32>
  }
  return %l : tensor<4x8xf32>
}

// Two readers of the product; another order of elements; more than a sum; sums of f16.
// CHECK-LABEL: func.func @not_a_sum
// CHECK:         linalg.fill
// CHECK:         linalg.generic
// CHECK:         linalg.fill
// CHECK:         linalg.generic
// CHECK:         linalg.fill
// CHECK:         linalg.generic
// CHECK:         linalg.fill
// CHECK:         linalg.generic
func.func @not_a_sum(%a: tensor<8x8xf32>, %w: tensor<8x8xf32>, %b: tensor<8x8xf16>)
    -> (tensor<8x8xf32>, tensor<8x8xf32>, tensor<8x8xf32>, tensor<8x8xf32>, tensor<8x8xf16>) {
  %zero = arith.constant 0.0 : f32
  %zero16 = arith.constant 0.0 : f16
  %e = tensor.empty() : tensor<8x8xf32>
  %e16 = tensor.empty() : tensor<8x8xf16>
  %r1 = linalg.exp ins(%a : tensor<8x8xf32>) outs(%e : tensor<8x8xf32>) -> tensor<8x8xf32>
  %f1 = linalg.fill ins(%zero : f32) outs(%e : tensor<8x8xf32>) -> tensor<8x8xf32>
  %p1 = linalg.matmul ins(%a, %w : tensor<8x8xf32>, tensor<8x8xf32>) outs(%f1 : tensor<8x8xf32>) -> tensor<8x8xf32>
  %s1 = linalg.generic {indexing_maps = [#mat, #mat, #mat], iterator_types = ["parallel", "parallel"]}
      ins(%p1, %r1 : tensor<8x8xf32>, tensor<8x8xf32>) outs(%e : tensor<8x8xf32>) {
  ^bb0(%i: f32, %j: f32, %k: f32):
    %0 = arith.addf %i, %j : f32
    linalg.yield %0 : f32
  } -> tensor<8x8xf32>
  %r2 = linalg.exp ins(%a : tensor<8x8xf32>) outs(%e : tensor<8x8xf32>) -> tensor<8x8xf32>
  %f2 = linalg.fill ins(%zero : f32) outs(%e : tensor<8x8xf32>) -> tensor<8x8xf32>
  %p2 = linalg.matmul ins(%a, %w : tensor<8x8xf32>, tensor<8x8xf32>) outs(%f2 : tensor<8x8xf32>) -> tensor<8x8xf32>
  %s2 = linalg.generic {indexing_maps = [#mat, #swapped, #mat], iterator_types = ["parallel", "parallel"]}
      ins(%p2, %r2 : tensor<8x8xf32>, tensor<8x8xf32>) outs(%e : tensor<8x8xf32>) {
  ^bb0(%i: f32, %j: f32, %k: f32):
    %0 = arith.addf %i, %j : f32
    linalg.yield %0 : f32
  } -> tensor<8x8xf32>
  %r3 = linalg.exp ins(%a : tensor<8x8xf32>) outs(%e : tensor<8x8xf32>) -> tensor<8x8xf32>
  %f3 = linalg.fill ins(%zero : f32) outs(%e : tensor<8x8xf32>) -> tensor<8x8xf32>
  %p3 = linalg.matmul ins(%a, %w : tensor<8x8xf32>, tensor<8x8xf32>) outs(%f3 : tensor<8x8xf32>) -> tensor<8x8xf32>
  %s3 = linalg.generic {indexing_maps = [#mat, #mat, #mat], iterator_types = ["parallel", "parallel"]}
      ins(%p3, %r3 : tensor<8x8xf32>, tensor<8x8xf32>) outs(%e : tensor<8x8xf32>) {
  ^bb0(%i: f32, %j: f32, %k: f32):
    %0 = arith.addf %i, %j : f32
    %1 = math.tanh %0 : f32
    linalg.yield %1 : f32
  } -> tensor<8x8xf32>
  %r4 = linalg.exp ins(%b : tensor<8x8xf16>) outs(%e16 : tensor<8x8xf16>) -> tensor<8x8xf16>
  %f4 = linalg.fill ins(%zero16 : f16) outs(%e16 : tensor<8x8xf16>) -> tensor<8x8xf16>
  %p4 = linalg.matmul ins(%b, %b : tensor<8x8xf16>, tensor<8x8xf16>) outs(%f4 : tensor<8x8xf16>) -> tensor<8x8xf16>
  %s4 = linalg.generic {indexing_maps = [#mat, #mat, #mat], iterator_types = ["parallel", "parallel"]}
      ins(%p4, %r4 : tensor<8x8xf16>, tensor<8x8xf16>) outs(%e16 : tensor<8x8xf16>) {
  ^bb0(%i: f16, %j: f16, %k: f16):
    %0 = arith.addf %i, %j : f16
    linalg.yield %0 : f16
  } -> tensor<8x8xf16>
  return %s1, %p1, %s2, %s3, %s4 : tensor<8x8xf32>, tensor<8x8xf32>, tensor<8x8xf32>, tensor<8x8xf32>, tensor<8x8xf16>
}
