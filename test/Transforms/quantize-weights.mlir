// RUN: rwkv-opt %s -rwkvc-quantize-weights="format=int8 min-elements=1" -split-input-file | FileCheck %s --check-prefixes=CHECK,INT8
// RUN: rwkv-opt %s -rwkvc-quantize-weights="format=%S/Inputs/int4.json min-elements=1" -split-input-file | FileCheck %s --check-prefixes=CHECK,INT4
// RUN: rwkv-opt %s -rwkvc-quantize-weights="format=bf16 min-elements=1" -split-input-file | FileCheck %s --check-prefix=BF16
// RUN: rwkv-opt %s -rwkvc-quantize-weights="format=int4 min-elements=1" -split-input-file | FileCheck %s --check-prefix=LOW
// RUN: rwkv-opt %s -rwkvc-quantize-weights="format=uint8 min-elements=1" -split-input-file | FileCheck %s --check-prefix=UINT8
// RUN: rwkv-opt %s -rwkvc-quantize-weights="format=%S/Inputs/uint4.json min-elements=1" -split-input-file | FileCheck %s --check-prefix=UINT4
// RUN: not rwkv-opt %s -rwkvc-quantize-weights=format=int3 -split-input-file 2>&1 | FileCheck %s --check-prefix=NONE

// NONE: error: format 'int3' of weights: expected one of bf16, fp16, int8, int4, uint8, uint4, or a recipe's file, .json

// Rows 0 to 31 of the first column are 127 down to 96, those of the second -4 to 3.75: the scales are 1 and 1/16 for
// int8 (4/127, rounded up), and for int4 -127/8 and half as much for the second column's lower extreme.
// INT8-DAG: #[[X:.*]] = affine_map<(d0, d1, d2, d3) -> (d0, d2, d3)>
// INT8-DAG: #[[Q:.*]] = affine_map<(d0, d1, d2, d3) -> (d2, d3, d1)>
// INT8-DAG: #[[S:.*]] = affine_map<(d0, d1, d2, d3) -> (d2, d1)>
// INT8-DAG: #[[Y:.*]] = affine_map<(d0, d1, d2, d3) -> (d0, d1)>
// INT8-LABEL: func.func @columns(
// INT8-SAME:    %[[IN:[^:]*]]: tensor<3x32xf32>, %[[OUT:[^:]*]]: tensor<3x2xf32>
// INT8-DAG:   %[[NUMBERS:.*]] = arith.constant dense<{{\[\[}}[127, -126], [126, -118], [125, -110],
// INT8-DAG:   %[[SCALES:.*]] = arith.constant dense<{{\[\[}}1.000000e+00, 3.173830e-02]]> : tensor<1x2xbf16>
// INT8-DAG:   %[[BLOCKS:.*]] = tensor.expand_shape %[[IN]] {{\[\[}}0], [1, 2]] output_shape [3, 1, 32]
// INT8:       linalg.generic {indexing_maps = [#[[X]], #[[Q]], #[[S]], #[[Y]]], iterator_types = ["parallel", "parallel", "reduction", "reduction"]}
// INT8-SAME:    ins(%[[BLOCKS]], %[[NUMBERS]], %[[SCALES]] : tensor<3x1x32xf32>, tensor<1x32x2xi8>, tensor<1x2xbf16>) outs(%[[OUT]] : tensor<3x2xf32>)
// INT8:       ^bb0(%[[A:.*]]: f32, %[[B:.*]]: i8, %[[C:.*]]: bf16, %[[D:.*]]: f32):
// INT8:         %[[N:.*]] = arith.sitofp %[[B]] : i8 to f32
// INT8:         %[[P:.*]] = arith.mulf %[[A]], %[[N]]
// INT8:         %[[SCALE:.*]] = arith.extf %[[C]] : bf16 to f32
// INT8:         %[[T:.*]] = arith.mulf %[[P]], %[[SCALE]]
// INT8:         arith.addf %[[D]], %[[T]]
// INT4-DAG: #[[LO:.*]] = affine_map<(d0, d1, d2, d3) -> (d0, d2, 0, d3)>
// INT4-DAG: #[[HI:.*]] = affine_map<(d0, d1, d2, d3) -> (d0, d2, 1, d3)>
// INT4-LABEL: func.func @columns(
// INT4-SAME:    %[[IN:[^:]*]]: tensor<3x32xf32>
// INT4-DAG:   %[[HALVES:.*]] = tensor.expand_shape %[[IN]] {{\[\[}}0], [1, 2, 3]] output_shape [3, 1, 2, 16]
// INT4:       linalg.generic {indexing_maps = [#[[LO]], #[[HI]],
// INT4-SAME:    ins(%[[HALVES]], %[[HALVES]], %{{.*}}, %{{.*}} : tensor<3x1x2x16xf32>, tensor<3x1x2x16xf32>, tensor<1x16x2xi8>, tensor<1x2xbf16>)
// INT4:         %[[E:.*]] = arith.extsi %{{.*}} : i8 to i16
// INT4:         %[[L:.*]] = arith.shli %[[E]], %c12
// INT4:         arith.shrsi %[[L]], %c12
// INT4:         arith.shrsi %[[E]], %c4
// BF16-LABEL: func.func @columns(
// BF16:       %[[W:.*]] = arith.constant dense<{{.*}}> : tensor<32x2xbf16>
// BF16:       linalg.generic {{.*}} ins(%{{.*}}, %[[W]] : tensor<3x32xf32>, tensor<32x2xbf16>)
// BF16:         arith.extf %{{.*}} : bf16 to f32
// Of low rank: 8 bits.
// LOW-LABEL:  func.func @columns(
// LOW:        tensor<1x32x2xi8>
// The first column reaches from 0 to 127, the second from -4 to 3.75 with its zero at 132.
// UINT8-LABEL: func.func @columns(
// UINT8-DAG:  %[[SCALES:.*]] = arith.constant dense<{{\[\[}}4.980470e-01, 3.039550e-02]]> : tensor<1x2xbf16>
// UINT8-DAG:  %[[ZEROS:.*]] = arith.constant dense<{{\[\[}}0, -124]]> : tensor<1x2xi8>
// UINT8:      linalg.generic {{.*}} ins(%{{.*}}, %{{.*}}, %[[SCALES]], %[[ZEROS]] : tensor<3x1x32xf32>, tensor<1x32x2xi8>, tensor<1x2xbf16>, tensor<1x2xi8>)
// UINT8:      ^bb0(%[[A:.*]]: f32, %[[B:.*]]: i8, %[[C:.*]]: bf16, %[[Z:.*]]: i8, %[[D:.*]]: f32):
// UINT8-DAG:    %[[NUMBER:.*]] = arith.extui %[[B]] : i8 to i32
// UINT8-DAG:    %[[ZERO:.*]] = arith.extui %[[Z]] : i8 to i32
// UINT8:        %[[I:.*]] = arith.subi %[[NUMBER]], %[[ZERO]]
// UINT8:        arith.sitofp %[[I]]
// All of the first column is far from 0.
// UINT4-LABEL: func.func @columns(
// UINT4:      arith.constant dense<{{\[\[}}-47, 8]]> : tensor<1x2xi8>
// UINT4:      linalg.generic
// UINT4:        %[[E:.*]] = arith.extui %{{.*}} : i8 to i32
// UINT4:        arith.andi %[[E]], %c15
// UINT4:        arith.shrui %[[E]], %c4
// UINT4:        arith.extsi %{{.*}} : i8 to i32
func.func @columns(%x: tensor<3x32xf32>, %y: tensor<3x2xf32>) -> tensor<3x2xf32> {
  %w = arith.constant dense<[[127.0, -4.0], [126.0, -3.75], [125.0, -3.5], [124.0, -3.25], [123.0, -3.0], [122.0, -2.75],
    [121.0, -2.5], [120.0, -2.25], [119.0, -2.0], [118.0, -1.75], [117.0, -1.5], [116.0, -1.25], [115.0, -1.0],
    [114.0, -0.75], [113.0, -0.5], [112.0, -0.25], [111.0, 0.0], [110.0, 0.25], [109.0, 0.5], [108.0, 0.75], [107.0, 1.0],
    [106.0, 1.25], [105.0, 1.5], [104.0, 1.75], [103.0, 2.0], [102.0, 2.25], [101.0, 2.5], [100.0, 2.75], [99.0, 3.0],
    [98.0, 3.25], [97.0, 3.5], [96.0, 3.75]]> : tensor<32x2xf32>
  %0 = linalg.matmul ins(%x, %w : tensor<3x32xf32>, tensor<32x2xf32>) outs(%y : tensor<3x2xf32>) -> tensor<3x2xf32>
  return %0 : tensor<3x2xf32>
}

// -----

// The same bytes for a matrix that is stored by columns, in both functions.
// INT8-LABEL: func.func @transposed(
// INT8:       arith.constant dense<{{\[\[}}[127], [126], [125],
// INT8-LABEL: func.func @shared(
// INT8:       arith.constant dense<{{\[\[}}[127], [126], [125],
func.func @transposed(%x: tensor<3x32xf32>, %y: tensor<3x1xf32>) -> tensor<3x1xf32> {
  %w = arith.constant dense<[[127.0, 126.0, 125.0, 124.0, 123.0, 122.0, 121.0, 120.0, 119.0, 118.0, 117.0, 116.0, 115.0,
    114.0, 113.0, 112.0, 111.0, 110.0, 109.0, 108.0, 107.0, 106.0, 105.0, 104.0, 103.0, 102.0, 101.0, 100.0, 99.0,
    98.0, 97.0, 96.0]]> : tensor<1x32xf32>
  %0 = linalg.generic {indexing_maps = [affine_map<(d0, d1, d2) -> (d0, d2)>, affine_map<(d0, d1, d2) -> (d1, d2)>,
                                        affine_map<(d0, d1, d2) -> (d0, d1)>],
                       iterator_types = ["parallel", "parallel", "reduction"]}
      ins(%x, %w : tensor<3x32xf32>, tensor<1x32xf32>) outs(%y : tensor<3x1xf32>) {
  ^bb0(%a: f32, %b: f32, %c: f32):
    %p = arith.mulf %a, %b : f32
    %s = arith.addf %c, %p : f32
    linalg.yield %s : f32
  } -> tensor<3x1xf32>
  return %0 : tensor<3x1xf32>
}
func.func @shared(%x: tensor<32xf32>, %y: tensor<1xf32>) -> tensor<1xf32> {
  %w = arith.constant dense<[[127.0, 126.0, 125.0, 124.0, 123.0, 122.0, 121.0, 120.0, 119.0, 118.0, 117.0, 116.0, 115.0,
    114.0, 113.0, 112.0, 111.0, 110.0, 109.0, 108.0, 107.0, 106.0, 105.0, 104.0, 103.0, 102.0, 101.0, 100.0, 99.0,
    98.0, 97.0, 96.0]]> : tensor<1x32xf32>
  %0 = linalg.matvec ins(%w, %x : tensor<1x32xf32>, tensor<32xf32>) outs(%y : tensor<1xf32>) -> tensor<1xf32>
  return %0 : tensor<1xf32>
}

// -----

// Refused: rows that are no multiple of 32, numbers that are not finite, one value for all, another use beside the
// product, sums of f16.
// CHECK-LABEL: func.func @stay(
// CHECK-NOT:   xi8>
// CHECK:       return
func.func @stay(%x: tensor<1x2xf32>, %z: tensor<1x32xf32>, %h: tensor<1x32xf16>, %y: tensor<1x2xf32>, %yh: tensor<1x2xf16>)
    -> (tensor<1x2xf32>, tensor<1x2xf32>, tensor<1x2xf32>, tensor<1x2xf32>, tensor<1x2xf32>, tensor<1x2xf16>) {
  %few = arith.constant dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>
  %0 = linalg.matmul ins(%x, %few : tensor<1x2xf32>, tensor<2x2xf32>) outs(%y : tensor<1x2xf32>) -> tensor<1x2xf32>
  %nan = arith.constant dense<[[0x7FC00000, 2.0], [3.0, 4.0], [1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [1.0, 2.0],
    [1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [1.0, 2.0],
    [1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [1.0, 2.0],
    [1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [1.0, 2.0]]> : tensor<32x2xf32>
  %1 = linalg.matmul ins(%z, %nan : tensor<1x32xf32>, tensor<32x2xf32>) outs(%y : tensor<1x2xf32>) -> tensor<1x2xf32>
  %splat = arith.constant dense<2.0> : tensor<32x2xf32>
  %2 = linalg.matmul ins(%z, %splat : tensor<1x32xf32>, tensor<32x2xf32>) outs(%y : tensor<1x2xf32>) -> tensor<1x2xf32>
  %two = arith.constant dense<[[9.0, 2.0], [3.0, 4.0], [1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [1.0, 2.0],
    [1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [1.0, 2.0],
    [1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [1.0, 2.0],
    [1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [1.0, 2.0]]> : tensor<32x2xf32>
  %3 = linalg.matmul ins(%z, %two : tensor<1x32xf32>, tensor<32x2xf32>) outs(%y : tensor<1x2xf32>) -> tensor<1x2xf32>
  %4 = linalg.generic {indexing_maps = [affine_map<(d0, d1, d2) -> (d0, d2)>, affine_map<(d0, d1, d2) -> (d2, d1)>,
                                        affine_map<(d0, d1, d2) -> (d0, d1)>],
                       iterator_types = ["parallel", "parallel", "reduction"]}
      ins(%z, %two : tensor<1x32xf32>, tensor<32x2xf32>) outs(%y : tensor<1x2xf32>) {
  ^bb0(%a: f32, %b: f32, %c: f32):
    %p = arith.maximumf %a, %b : f32
    %s = arith.addf %c, %p : f32
    linalg.yield %s : f32
  } -> tensor<1x2xf32>
  %half = arith.constant dense<[[9.0, 2.0], [3.0, 4.0], [1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [1.0, 2.0],
    [1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [1.0, 2.0],
    [1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [1.0, 2.0],
    [1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [1.0, 2.0]]> : tensor<32x2xf16>
  %5 = linalg.matmul ins(%h, %half : tensor<1x32xf16>, tensor<32x2xf16>) outs(%yh : tensor<1x2xf16>) -> tensor<1x2xf16>
  return %0, %1, %2, %3, %4, %5 : tensor<1x2xf32>, tensor<1x2xf32>, tensor<1x2xf32>, tensor<1x2xf32>, tensor<1x2xf32>, tensor<1x2xf16>
}
