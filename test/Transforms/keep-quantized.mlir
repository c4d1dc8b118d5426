// RUN: rwkv-opt %s -rwkvc-keep-quantized -canonicalize -cse -split-input-file | FileCheck %s

// One zero point for all: subtracted at compile time; with it the numbers, 4 to 11, fit 4 bits. Scales by column.
// CHECK-LABEL: func.func @columns(
// CHECK-DAG:   %[[NUMBERS:.*]] = arith.constant dense<{{.*}}> : tensor<1x16x2xi8>
// CHECK-DAG:   %[[SCALES:.*]] = arith.constant dense<[5.000000e-01, 2.500000e-01]> : tensor<2xf32>
// CHECK:       linalg.generic {{.*}} ins(%{{.*}}, %{{.*}}, %[[NUMBERS]], %[[SCALES]] :
// CHECK-NOT:   subi
// CHECK:         arith.shli
// CHECK:       return
func.func @columns(%x: tensor<3x32xf32>, %y: tensor<3x2xf32>) -> tensor<3x2xf32> {
  %q = arith.constant dense<[[4, 11], [5, 10], [6, 9], [7, 8], [4, 11], [5, 10], [6, 9], [7, 8], [4, 11], [5, 10], [6, 9], [7, 8],
    [4, 11], [5, 10], [6, 9], [7, 8], [4, 11], [5, 10], [6, 9], [7, 8], [4, 11], [5, 10], [6, 9], [7, 8], [4, 11], [5, 10], [6, 9],
    [7, 8], [4, 11], [5, 10], [6, 9], [7, 8]]> : tensor<32x2xi8>
  %s = arith.constant dense<[[0.5, 0.25]]> : tensor<1x2xf32>
  %z = arith.constant dense<8> : tensor<1x2xi8>
  %e = tensor.empty() : tensor<32x2xf32>
  %w = linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (d0, d1)>, affine_map<(d0, d1) -> (0, d1)>, affine_map<(d0, d1) -> (0, d1)>, affine_map<(d0, d1) -> (d0, d1)>],
                       iterator_types = ["parallel", "parallel"]}
      ins(%q, %s, %z : tensor<32x2xi8>, tensor<1x2xf32>, tensor<1x2xi8>) outs(%e : tensor<32x2xf32>) {
  ^bb0(%a: i8, %b: f32, %c: i8, %d: f32):
    %i = arith.extui %a : i8 to i32
    %j = arith.extui %c : i8 to i32
    %k = arith.subi %i, %j : i32
    %f = arith.sitofp %k : i32 to f32
    %r = arith.mulf %f, %b : f32
    linalg.yield %r : f32
  } -> tensor<32x2xf32>
  %0 = linalg.matmul ins(%x, %w : tensor<3x32xf32>, tensor<32x2xf32>) outs(%y : tensor<3x2xf32>) -> tensor<3x2xf32>
  return %0 : tensor<3x2xf32>
}

// -----

// Blocks of 16 along the rows of a matrix that is stored by columns, with zero points of their own. Both products read the
// same numbers.
// CHECK-LABEL: func.func @blocks(
// CHECK-DAG:   %[[NUMBERS:.*]] = arith.constant dense<{{.*}}> : tensor<2x16x1xi8>
// CHECK-DAG:   %[[SCALES:.*]] = arith.constant dense<{{\[\[}}5.000000e-01], [2.500000e-01]]> : tensor<2x1xf16>
// CHECK-DAG:   %[[ZEROS:.*]] = arith.constant dense<{{\[\[}}100], [-56]]> : tensor<2x1xi8>
// CHECK:       linalg.generic {{.*}} ins(%{{.*}}, %[[NUMBERS]], %[[SCALES]], %[[ZEROS]] :
// CHECK:         arith.extui
// CHECK:         arith.extui
// CHECK:         arith.subi
// CHECK:       linalg.generic {{.*}} ins(%{{.*}}, %[[NUMBERS]], %[[SCALES]], %[[ZEROS]] :
func.func @blocks(%x: tensor<3x32xf32>, %y: tensor<3x1xf32>, %u: tensor<32xf32>, %v: tensor<1xf32>) -> (tensor<3x1xf32>, tensor<1xf32>) {
  %q = arith.constant dense<[[[4, 201, 5, 6, 7, 8, 9, 0, 1, 2, 3, 4, 5, 6, 7, 8], [200, 1, 5, 6, 7, 8, 9, 0, 1, 2, 3, 4, 5, 6, 7, 8]]]> : tensor<1x2x16xi8>
  %s = arith.constant dense<[[[0.5], [0.25]]]> : tensor<1x2x1xf16>
  %z = arith.constant dense<[[[100], [200]]]> : tensor<1x2x1xi8>
  %e = tensor.empty() : tensor<1x2x16xf32>
  %w3 = linalg.generic {indexing_maps = [affine_map<(d0, d1, d2) -> (d0, d1, d2)>, affine_map<(d0, d1, d2) -> (d0, d1, 0)>, affine_map<(d0, d1, d2) -> (d0, d1, 0)>,
                                         affine_map<(d0, d1, d2) -> (d0, d1, d2)>], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%q, %s, %z : tensor<1x2x16xi8>, tensor<1x2x1xf16>, tensor<1x2x1xi8>) outs(%e : tensor<1x2x16xf32>) {
  ^bb0(%a: i8, %b: f16, %c: i8, %d: f32):
    %i = arith.extui %a : i8 to i32
    %j = arith.extui %c : i8 to i32
    %k = arith.subi %i, %j : i32
    %f = arith.sitofp %k : i32 to f32
    %t = arith.extf %b : f16 to f32
    %r = arith.mulf %f, %t : f32
    linalg.yield %r : f32
  } -> tensor<1x2x16xf32>
  %w = tensor.collapse_shape %w3 [[0], [1, 2]] : tensor<1x2x16xf32> into tensor<1x32xf32>
  %0 = linalg.generic {indexing_maps = [affine_map<(d0, d1, d2) -> (d0, d2)>, affine_map<(d0, d1, d2) -> (d1, d2)>,
                                        affine_map<(d0, d1, d2) -> (d0, d1)>],
                       iterator_types = ["parallel", "parallel", "reduction"]}
      ins(%x, %w : tensor<3x32xf32>, tensor<1x32xf32>) outs(%y : tensor<3x1xf32>) {
  ^bb0(%a: f32, %b: f32, %c: f32):
    %p = arith.mulf %a, %b : f32
    %r = arith.addf %c, %p : f32
    linalg.yield %r : f32
  } -> tensor<3x1xf32>
  %1 = linalg.matvec ins(%w, %u : tensor<1x32xf32>, tensor<32xf32>) outs(%v : tensor<1xf32>) -> tensor<1xf32>
  return %0, %1 : tensor<3x1xf32>, tensor<1xf32>
}

// -----

// A table with a scale for each row: the row's numbers are read and widened. Elsewhere, something else reads the matrix, or
// each summed row has a scale.
// CHECK-LABEL: func.func @table(
// CHECK:       tensor.extract_slice %{{.*}}[%{{.*}}, 0, 0] [1, 1, 4] [1, 1, 1] : tensor<2x1x4xi8>
// CHECK:       tensor.extract_slice %{{.*}}[%{{.*}}] [1] [1] : tensor<2xf32>
// CHECK:       return
// CHECK-LABEL: func.func @stay(
// CHECK:       %[[W:.*]] = linalg.generic {{.*}} tensor<2x4xi8>
// CHECK:       linalg.matvec ins(%[[W]],
// CHECK:       %[[V:.*]] = linalg.generic {{.*}} tensor<2x4xi8>
// CHECK:       linalg.vecmat ins(%{{.*}}, %[[V]]
func.func @table(%t: i64) -> tensor<4xf32> {
  %q = arith.constant dense<[[1, 2, 3, 4], [5, 6, 7, 100]]> : tensor<2x4xi8>
  %s = arith.constant dense<[[0.5], [0.25]]> : tensor<2x1xf32>
  %e = tensor.empty() : tensor<2x4xf32>
  %w = linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (d0, d1)>, affine_map<(d0, d1) -> (d0, 0)>, affine_map<(d0, d1) -> (d0, d1)>],
                       iterator_types = ["parallel", "parallel"]} ins(%q, %s : tensor<2x4xi8>, tensor<2x1xf32>) outs(%e : tensor<2x4xf32>) {
  ^bb0(%a: i8, %b: f32, %d: f32):
    %i = arith.extsi %a : i8 to i32
    %f = arith.sitofp %i : i32 to f32
    %r = arith.mulf %f, %b : f32
    linalg.yield %r : f32
  } -> tensor<2x4xf32>
  %at = arith.index_cast %t : i64 to index
  %0 = tensor.extract_slice %w[%at, 0] [1, 4] [1, 1] : tensor<2x4xf32> to tensor<4xf32>
  return %0 : tensor<4xf32>
}
func.func @stay(%u: tensor<4xf32>, %v: tensor<2xf32>, %y: tensor<4xf32>) -> (tensor<2xf32>, tensor<2x4xf32>, tensor<4xf32>) {
  %q = arith.constant dense<[[1, 2, 3, 4], [5, 6, 7, 8]]> : tensor<2x4xi8>
  %s = arith.constant dense<[[0.5], [0.25]]> : tensor<2x1xf32>
  %e = tensor.empty() : tensor<2x4xf32>
  %w = linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (d0, d1)>, affine_map<(d0, d1) -> (d0, 0)>, affine_map<(d0, d1) -> (d0, d1)>],
                       iterator_types = ["parallel", "parallel"]} ins(%q, %s : tensor<2x4xi8>, tensor<2x1xf32>) outs(%e : tensor<2x4xf32>) {
  ^bb0(%a: i8, %b: f32, %d: f32):
    %i = arith.extsi %a : i8 to i32
    %f = arith.sitofp %i : i32 to f32
    %r = arith.mulf %f, %b : f32
    linalg.yield %r : f32
  } -> tensor<2x4xf32>
  %0 = linalg.matvec ins(%w, %u : tensor<2x4xf32>, tensor<4xf32>) outs(%v : tensor<2xf32>) -> tensor<2xf32>
  %q2 = arith.constant dense<[[1, 2, 3, 5], [5, 6, 7, 8]]> : tensor<2x4xi8>
  %w2 = linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (d0, d1)>, affine_map<(d0, d1) -> (d0, 0)>, affine_map<(d0, d1) -> (d0, d1)>],
                       iterator_types = ["parallel", "parallel"]} ins(%q2, %s : tensor<2x4xi8>, tensor<2x1xf32>) outs(%e : tensor<2x4xf32>) {
  ^bb0(%a: i8, %b: f32, %d: f32):
    %i = arith.extsi %a : i8 to i32
    %f = arith.sitofp %i : i32 to f32
    %r = arith.mulf %f, %b : f32
    linalg.yield %r : f32
  } -> tensor<2x4xf32>
  %1 = linalg.vecmat ins(%v, %w2 : tensor<2xf32>, tensor<2x4xf32>) outs(%y : tensor<4xf32>) -> tensor<4xf32>
  return %0, %w, %1 : tensor<2xf32>, tensor<2x4xf32>, tensor<4xf32>
}
