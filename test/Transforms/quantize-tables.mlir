// RUN: rwkv-opt %s -rwkvc-quantize-weights="format=int8 min-elements=1" -canonicalize -cse -split-input-file | FileCheck %s --check-prefixes=CHECK,INT8
// RUN: rwkv-opt %s -rwkvc-quantize-weights="format=int4 min-elements=1" -canonicalize -cse -split-input-file | FileCheck %s --check-prefixes=CHECK,INT8
// RUN: rwkv-opt %s -rwkvc-quantize-weights="format=fp16 min-elements=1" -canonicalize -cse -split-input-file | FileCheck %s --check-prefixes=FP16
// RUN: rwkv-opt %s -rwkvc-quantize-weights="format=%S/Inputs/int4.json min-elements=1" -split-input-file | FileCheck %s --check-prefix=FOUR

// A token's row, all elements of which are one block; and rows of several tokens, element by element.
// INT8-LABEL: func.func @rows(
// INT8-DAG:   %[[NUMBERS:.*]] = arith.constant dense<"0x828A92
// INT8-DAG:   %[[SCALES:.*]] = arith.constant dense<{{\[\[}}6.347650e-02], [1.269530e-01], [2.539060e-01], [5.078130e-01]]> : tensor<4x1xbf16>
// INT8:       %[[ROW:.*]] = arith.index_cast
// INT8:       tensor.extract_slice %[[NUMBERS]][%[[ROW]], 0, 0] [1, 1, 32] [1, 1, 1] : tensor<4x1x32xi8>
// INT8:       tensor.extract_slice %[[SCALES]][%[[ROW]], 0] [1, 1] [1, 1] : tensor<4x1xbf16>
// INT8:       linalg.generic
// INT8:         arith.sitofp
// INT8:         arith.extf
// INT8:         arith.mulf
// INT8:       tensor.collapse_shape %{{.*}} : tensor<1x1x32xf32> into tensor<32xf32>
// INT8:       linalg.generic {{.*}} iterator_types = ["parallel", "parallel", "parallel"]} ins(%{{.*}} : tensor<3xi64>) outs(%{{.*}} : tensor<3x1x32xf32>)
// INT8-DAG:     %[[PLACE:.*]] = linalg.index 2
// INT8:         tensor.extract %[[NUMBERS]][%[[AT:.*]], %c0, %[[PLACE]]]
// INT8:         tensor.extract %[[SCALES]][%[[AT]], %c0]
// FP16-LABEL: func.func @rows(
// FP16:       %[[TABLE:.*]] = arith.constant {{.*}} : tensor<4x32xf16>
// FP16:       tensor.extract_slice %[[TABLE]][%{{.*}}, 0] [1, 32] [1, 1] : tensor<4x32xf16>
// FP16:       arith.extf
// FP16:       tensor.extract %[[TABLE]][
// FP16-NEXT:  arith.extf
// A table has no rows of 4 bits.
// FOUR-LABEL: func.func @rows(
// FOUR-NOT:   xi8>
// FOUR:       return
func.func @rows(%t: i64, %ts: tensor<3xi64>, %y: tensor<3x32xf32>) -> (tensor<32xf32>, tensor<3x32xf32>) {
  %w = arith.constant dense<[[-8.00, -7.50, -7.00, -6.50, -6.00, -5.50, -5.00, -4.50, -4.00, -3.50, -3.00, -2.50, -2.00, -1.50, -1.00, -0.50, 0.00, 0.50, 1.00, 1.50, 2.00, 2.50, 3.00, 3.50, 4.00, 4.50, 5.00, 5.50, 6.00, 6.50, 7.00, 7.50],
    [-16.00, -15.00, -14.00, -13.00, -12.00, -11.00, -10.00, -9.00, -8.00, -7.00, -6.00, -5.00, -4.00, -3.00, -2.00, -1.00, 0.00, 1.00, 2.00, 3.00, 4.00, 5.00, 6.00, 7.00, 8.00, 9.00, 10.00, 11.00, 12.00, 13.00, 14.00, 15.00],
    [-32.00, -30.00, -28.00, -26.00, -24.00, -22.00, -20.00, -18.00, -16.00, -14.00, -12.00, -10.00, -8.00, -6.00, -4.00, -2.00, 0.00, 2.00, 4.00, 6.00, 8.00, 10.00, 12.00, 14.00, 16.00, 18.00, 20.00, 22.00, 24.00, 26.00, 28.00, 30.00],
    [-64.00, -60.00, -56.00, -52.00, -48.00, -44.00, -40.00, -36.00, -32.00, -28.00, -24.00, -20.00, -16.00, -12.00, -8.00, -4.00, 0.00, 4.00, 8.00, 12.00, 16.00, 20.00, 24.00, 28.00, 32.00, 36.00, 40.00, 44.00, 48.00, 52.00, 56.00, 60.00]]> : tensor<4x32xf32>
  %at = arith.index_cast %t : i64 to index
  %0 = tensor.extract_slice %w[%at, 0] [1, 32] [1, 1] : tensor<4x32xf32> to tensor<32xf32>
  %1 = linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (d0)>, affine_map<(d0, d1) -> (d0, d1)>],
                       iterator_types = ["parallel", "parallel"]} ins(%ts : tensor<3xi64>) outs(%y : tensor<3x32xf32>) {
  ^bb0(%a: i64, %b: f32):
    %row = arith.index_cast %a : i64 to index
    %col = linalg.index 1 : index
    %e = tensor.extract %w[%row, %col] : tensor<4x32xf32>
    linalg.yield %e : f32
  } -> tensor<3x32xf32>
  return %0, %1 : tensor<32xf32>, tensor<3x32xf32>
}

// -----

// An element at a place that no loop gives; the block is what a division says.
// INT8-LABEL: func.func @element(
// INT8:       %[[PLACE:.*]] = arith.remui %{{.*}}, %c32
// INT8:       tensor.extract %{{.*}}[%{{.*}}, %{{.*}}, %[[PLACE]]] : tensor<4x1x32xi8>
func.func @element(%t: i64, %col: index) -> f32 {
  %w = arith.constant dense<[[-8.00, -7.50, -7.00, -6.50, -6.00, -5.50, -5.00, -4.50, -4.00, -3.50, -3.00, -2.50, -2.00, -1.50, -1.00, -0.50, 0.00, 0.50, 1.00, 1.50, 2.00, 2.50, 3.00, 3.50, 4.00, 4.50, 5.00, 5.50, 6.00, 6.50, 7.00, 7.50],
    [-16.00, -15.00, -14.00, -13.00, -12.00, -11.00, -10.00, -9.00, -8.00, -7.00, -6.00, -5.00, -4.00, -3.00, -2.00, -1.00, 0.00, 1.00, 2.00, 3.00, 4.00, 5.00, 6.00, 7.00, 8.00, 9.00, 10.00, 11.00, 12.00, 13.00, 14.00, 15.00],
    [-32.00, -30.00, -28.00, -26.00, -24.00, -22.00, -20.00, -18.00, -16.00, -14.00, -12.00, -10.00, -8.00, -6.00, -4.00, -2.00, 0.00, 2.00, 4.00, 6.00, 8.00, 10.00, 12.00, 14.00, 16.00, 18.00, 20.00, 22.00, 24.00, 26.00, 28.00, 30.00],
    [-64.00, -60.00, -56.00, -52.00, -48.00, -44.00, -40.00, -36.00, -32.00, -28.00, -24.00, -20.00, -16.00, -12.00, -8.00, -4.00, 0.00, 4.00, 8.00, 12.00, 16.00, 20.00, 24.00, 28.00, 32.00, 36.00, 40.00, 44.00, 48.00, 52.00, 56.00, 60.00]]> : tensor<4x32xf32>
  %at = arith.index_cast %t : i64 to index
  %0 = tensor.extract %w[%at, %col] : tensor<4x32xf32>
  return %0 : f32
}

// -----

// A table that is the head as well: both read the same numbers, in rows.
// INT8-DAG: #[[Q:.*]] = affine_map<(d0, d1, d2) -> (d0, d1, d2)>
// INT8-DAG: #[[S:.*]] = affine_map<(d0, d1, d2) -> (d0, d1)>
// INT8-LABEL: func.func @tied(
// INT8-DAG:   %[[NUMBERS:.*]] = arith.constant dense<{{.*}}> : tensor<4x1x32xi8>
// INT8-DAG:   %[[SCALES:.*]] = arith.constant dense<{{.*}}> : tensor<4x1xbf16>
// INT8-NOT:   tensor<4x32xf32>
// INT8:       tensor.extract_slice %[[NUMBERS]]
// INT8:       linalg.generic {indexing_maps = [{{.*}}, #[[Q]], #[[S]], {{.*}}], iterator_types = ["parallel", "reduction", "reduction"]} ins(%{{.*}}, %[[NUMBERS]], %[[SCALES]]
func.func @tied(%t: i64, %y: tensor<4xf32>) -> tensor<4xf32> {
  %w = arith.constant dense<[[-8.00, -7.50, -7.00, -6.50, -6.00, -5.50, -5.00, -4.50, -4.00, -3.50, -3.00, -2.50, -2.00, -1.50, -1.00, -0.50, 0.00, 0.50, 1.00, 1.50, 2.00, 2.50, 3.00, 3.50, 4.00, 4.50, 5.00, 5.50, 6.00, 6.50, 7.00, 7.50],
    [-16.00, -15.00, -14.00, -13.00, -12.00, -11.00, -10.00, -9.00, -8.00, -7.00, -6.00, -5.00, -4.00, -3.00, -2.00, -1.00, 0.00, 1.00, 2.00, 3.00, 4.00, 5.00, 6.00, 7.00, 8.00, 9.00, 10.00, 11.00, 12.00, 13.00, 14.00, 15.00],
    [-32.00, -30.00, -28.00, -26.00, -24.00, -22.00, -20.00, -18.00, -16.00, -14.00, -12.00, -10.00, -8.00, -6.00, -4.00, -2.00, 0.00, 2.00, 4.00, 6.00, 8.00, 10.00, 12.00, 14.00, 16.00, 18.00, 20.00, 22.00, 24.00, 26.00, 28.00, 30.00],
    [-64.00, -60.00, -56.00, -52.00, -48.00, -44.00, -40.00, -36.00, -32.00, -28.00, -24.00, -20.00, -16.00, -12.00, -8.00, -4.00, 0.00, 4.00, 8.00, 12.00, 16.00, 20.00, 24.00, 28.00, 32.00, 36.00, 40.00, 44.00, 48.00, 52.00, 56.00, 60.00]]> : tensor<4x32xf32>
  %at = arith.index_cast %t : i64 to index
  %0 = tensor.extract_slice %w[%at, 0] [1, 32] [1, 1] : tensor<4x32xf32> to tensor<32xf32>
  %1 = linalg.matvec ins(%w, %0 : tensor<4x32xf32>, tensor<32xf32>) outs(%y : tensor<4xf32>) -> tensor<4xf32>
  return %1 : tensor<4xf32>
}

// -----

// Refused: a row that the data does not choose, a product that sums over the table's rows, another use.
// CHECK-LABEL: func.func @stay(
// CHECK-NOT:   xi8>
// CHECK:       return
func.func @stay(%i: index, %t: i64, %x: tensor<4xf32>, %y: tensor<32xf32>)
    -> (tensor<32xf32>, tensor<32xf32>, tensor<32xf32>, tensor<4x32xf32>) {
  %layers = arith.constant dense<[[-8.00, -7.50, -7.00, -6.50, -6.00, -5.50, -5.00, -4.50, -4.00, -3.50, -3.00, -2.50, -2.00, -1.50, -1.00, -0.50, 0.50, 0.50, 1.00, 1.50, 2.00, 2.50, 3.00, 3.50, 4.00, 4.50, 5.00, 5.50, 6.00, 6.50, 7.00, 7.50],
    [-16.00, -15.00, -14.00, -13.00, -12.00, -11.00, -10.50, -9.00, -8.00, -7.00, -6.00, -5.00, -4.00, -3.00, -2.00, -1.00, 0.50, 1.00, 2.00, 3.00, 4.00, 5.00, 6.00, 7.00, 8.00, 9.00, 10.50, 11.00, 12.00, 13.00, 14.00, 15.00],
    [-32.00, -30.50, -28.00, -26.00, -24.00, -22.00, -20.50, -18.00, -16.00, -14.00, -12.00, -10.50, -8.00, -6.00, -4.00, -2.00, 0.50, 2.00, 4.00, 6.00, 8.00, 10.50, 12.00, 14.00, 16.00, 18.00, 20.50, 22.00, 24.00, 26.00, 28.00, 30.50],
    [-64.00, -60.50, -56.00, -52.00, -48.00, -44.00, -40.50, -36.00, -32.00, -28.00, -24.00, -20.50, -16.00, -12.00, -8.00, -4.00, 0.50, 4.00, 8.00, 12.00, 16.00, 20.50, 24.00, 28.00, 32.00, 36.00, 40.50, 44.00, 48.00, 52.00, 56.00, 60.50]]> : tensor<4x32xf32>
  %0 = tensor.extract_slice %layers[%i, 0] [1, 32] [1, 1] : tensor<4x32xf32> to tensor<32xf32>
  %w = arith.constant dense<[[-8.00, -7.50, -7.00, -6.50, -6.00, -5.50, -5.00, -4.50, -4.00, -3.50, -3.00, -2.50, -2.00, -1.50, -1.00, -0.50, 0.00, 0.50, 1.00, 1.50, 2.00, 2.50, 3.00, 3.50, 4.00, 4.50, 5.00, 5.50, 6.00, 6.50, 7.00, 7.50],
    [-16.00, -15.00, -14.00, -13.00, -12.00, -11.00, -10.00, -9.00, -8.00, -7.00, -6.00, -5.00, -4.00, -3.00, -2.00, -1.00, 0.00, 1.00, 2.00, 3.00, 4.00, 5.00, 6.00, 7.00, 8.00, 9.00, 10.00, 11.00, 12.00, 13.00, 14.00, 15.00],
    [-32.00, -30.00, -28.00, -26.00, -24.00, -22.00, -20.00, -18.00, -16.00, -14.00, -12.00, -10.00, -8.00, -6.00, -4.00, -2.00, 0.00, 2.00, 4.00, 6.00, 8.00, 10.00, 12.00, 14.00, 16.00, 18.00, 20.00, 22.00, 24.00, 26.00, 28.00, 30.00],
    [-64.00, -60.00, -56.00, -52.00, -48.00, -44.00, -40.00, -36.00, -32.00, -28.00, -24.00, -20.00, -16.00, -12.00, -8.00, -4.00, 0.00, 4.00, 8.00, 12.00, 16.00, 20.00, 24.00, 28.00, 32.00, 36.00, 40.00, 44.00, 48.00, 52.00, 56.00, 60.00]]> : tensor<4x32xf32>
  %at = arith.index_cast %t : i64 to index
  %1 = tensor.extract_slice %w[%at, 0] [1, 32] [1, 1] : tensor<4x32xf32> to tensor<32xf32>
  %2 = linalg.vecmat ins(%x, %w : tensor<4xf32>, tensor<4x32xf32>) outs(%y : tensor<32xf32>) -> tensor<32xf32>
  return %0, %1, %2, %w : tensor<32xf32>, tensor<32xf32>, tensor<32xf32>, tensor<4x32xf32>
}
