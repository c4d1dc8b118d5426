// RUN: rwkv-opt %s -rwkvc-fuse-elementwise | FileCheck %s

#v = affine_map<(d0) -> (d0)>
#row = affine_map<(d0, d1) -> (d0)>
#col = affine_map<(d0, d1) -> (d1)>
#mat = affine_map<(d0, d1) -> (d0, d1)>

// Named ops become generic, and a chain over equally many points is one op.
// CHECK-LABEL: func.func @chain
// CHECK:       linalg.generic
// CHECK:         math.exp
// CHECK-NEXT:    arith.negf
// CHECK-NOT:   linalg.generic
func.func @chain(%x: tensor<8xf32>) -> tensor<8xf32> {
  %e = tensor.empty() : tensor<8xf32>
  %0 = linalg.exp ins(%x : tensor<8xf32>) outs(%e : tensor<8xf32>) -> tensor<8xf32>
  %1 = linalg.negf ins(%0 : tensor<8xf32>) outs(%e : tensor<8xf32>) -> tensor<8xf32>
  return %1 : tensor<8xf32>
}

// The exponential of 8 elements would be computed 64 times.
// CHECK-LABEL: func.func @recomputed
// CHECK:       linalg.generic
// CHECK:         math.exp
// CHECK-NEXT:    linalg.yield
// CHECK:       linalg.generic
// CHECK:         arith.mulf
func.func @recomputed(%x: tensor<8xf32>, %s: tensor<8x8xf32>) -> tensor<8x8xf32> {
  %e = tensor.empty() : tensor<8xf32>
  %0 = linalg.exp ins(%x : tensor<8xf32>) outs(%e : tensor<8xf32>) -> tensor<8xf32>
  %e1 = tensor.empty() : tensor<8x8xf32>
  %1 = linalg.generic {indexing_maps = [#row, #mat, #mat], iterator_types = ["parallel", "parallel"]}
      ins(%0, %s : tensor<8xf32>, tensor<8x8xf32>) outs(%e1 : tensor<8x8xf32>) {
  ^bb0(%a: f32, %b: f32, %c: f32):
    %r = arith.mulf %a, %b : f32
    linalg.yield %r : f32
  } -> tensor<8x8xf32>
  return %1 : tensor<8x8xf32>
}

// Two users: one op each, none computes the exponential again.
// CHECK-LABEL: func.func @shared
// CHECK-COUNT-1: math.exp
// CHECK-NOT:   math.exp
// CHECK:       return
func.func @shared(%x: tensor<8xf32>) -> (tensor<8xf32>, tensor<8xf32>) {
  %e = tensor.empty() : tensor<8xf32>
  %0 = linalg.exp ins(%x : tensor<8xf32>) outs(%e : tensor<8xf32>) -> tensor<8xf32>
  %1 = linalg.negf ins(%0 : tensor<8xf32>) outs(%e : tensor<8xf32>) -> tensor<8xf32>
  %2 = linalg.abs ins(%0 : tensor<8xf32>) outs(%e : tensor<8xf32>) -> tensor<8xf32>
  return %1, %2 : tensor<8xf32>, tensor<8xf32>
}

// Half-precision weights are widened inside every product that reads them; no widened copy is left.
// CHECK-LABEL: func.func @cast
// CHECK:       linalg.generic {{.*}} ins(%{{[^:]*}} : tensor<8xf32>, tensor<8x8xf16>)
// CHECK:         arith.extf
// CHECK:       linalg.generic {{.*}} ins(%{{[^:]*}} : tensor<8xf32>, tensor<8x8xf16>)
// CHECK:         arith.extf
// CHECK-NOT:   tensor<8x8xf32>
// CHECK:       return
func.func @cast(%x: tensor<8xf32>, %w: tensor<8x8xf16>, %y0: tensor<8xf32>, %y1: tensor<8xf32>)
    -> (tensor<8xf32>, tensor<8xf32>) {
  %e = tensor.empty() : tensor<8x8xf32>
  %0 = linalg.generic {indexing_maps = [#mat, #mat], iterator_types = ["parallel", "parallel"]}
      ins(%w : tensor<8x8xf16>) outs(%e : tensor<8x8xf32>) {
  ^bb0(%a: f16, %b: f32):
    %r = arith.extf %a : f16 to f32
    linalg.yield %r : f32
  } -> tensor<8x8xf32>
  %1 = linalg.vecmat ins(%x, %0 : tensor<8xf32>, tensor<8x8xf32>) outs(%y0 : tensor<8xf32>) -> tensor<8xf32>
  %2 = linalg.vecmat ins(%1, %0 : tensor<8xf32>, tensor<8x8xf32>) outs(%y1 : tensor<8xf32>) -> tensor<8xf32>
  return %1, %2 : tensor<8xf32>, tensor<8xf32>
}

// CHECK-LABEL: func.func @fill
// CHECK:       linalg.fill
func.func @fill(%x: f32) -> tensor<8xf32> {
  %e = tensor.empty() : tensor<8xf32>
  %0 = linalg.fill ins(%x : f32) outs(%e : tensor<8xf32>) -> tensor<8xf32>
  return %0 : tensor<8xf32>
}

// A reshape between elementwise ops moves behind them; a product keeps its two axes.
// CHECK-LABEL: func.func @reshape
// CHECK:       %[[P:.*]] = linalg.generic {{.*}} iterator_types = ["parallel", "parallel", "reduction"]}
// CHECK:       %[[E:.*]] = tensor.expand_shape %[[P]]
// CHECK:       linalg.generic {{.*}} ins(%[[E]]
// CHECK-NEXT:  ^bb0
// CHECK-NEXT:    math.exp
// CHECK-NEXT:    arith.negf
// CHECK-NEXT:    linalg.yield
func.func @reshape(%a: tensor<2x8xf32>, %w: tensor<8x8xf32>, %o: tensor<2x8xf32>) -> tensor<2x4x2xf32> {
  %e = tensor.empty() : tensor<2x8xf32>
  %p = linalg.matmul ins(%a, %w : tensor<2x8xf32>, tensor<8x8xf32>) outs(%o : tensor<2x8xf32>) -> tensor<2x8xf32>
  %0 = linalg.exp ins(%p : tensor<2x8xf32>) outs(%e : tensor<2x8xf32>) -> tensor<2x8xf32>
  %1 = tensor.expand_shape %0 [[0], [1, 2]] output_shape [2, 4, 2] : tensor<2x8xf32> into tensor<2x4x2xf32>
  %e1 = tensor.empty() : tensor<2x4x2xf32>
  %2 = linalg.negf ins(%1 : tensor<2x4x2xf32>) outs(%e1 : tensor<2x4x2xf32>) -> tensor<2x4x2xf32>
  return %2 : tensor<2x4x2xf32>
}

// Rows that are gathered by their index: its axis stays one, so that the reshape stays behind the op.
// CHECK-LABEL: func.func @gathered(
// CHECK:         %[[ROWS:.*]] = linalg.generic
// CHECK:           linalg.index 1
// CHECK:         tensor.expand_shape %[[ROWS]]
// CHECK-NOT:     affine.apply
// CHECK:         return
func.func @gathered(%table: tensor<256x64xf32>, %rows: tensor<8xindex>) -> tensor<8x2x32xf32> {
  %0 = tensor.empty() : tensor<8x64xf32>
  %1 = linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (d0)>, affine_map<(d0, d1) -> (d0, d1)>], iterator_types = ["parallel", "parallel"]}
      ins(%rows : tensor<8xindex>) outs(%0 : tensor<8x64xf32>) {
  ^bb0(%row: index, %out: f32):
    %column = linalg.index 1 : index
    %x = tensor.extract %table[%row, %column] : tensor<256x64xf32>
    linalg.yield %x : f32
  } -> tensor<8x64xf32>
  %2 = tensor.expand_shape %1 [[0], [1, 2]] output_shape [8, 2, 32] : tensor<8x64xf32> into tensor<8x2x32xf32>
  return %2 : tensor<8x2x32xf32>
}
