// RUN: rwkv-opt %s -cpu-quantize-activations -split-input-file | FileCheck %s

#x = affine_map<(m, n, b, k) -> (m, b, k)>
#low = affine_map<(m, n, b, k) -> (m, b, 0, k)>
#high = affine_map<(m, n, b, k) -> (m, b, 1, k)>
#w = affine_map<(m, n, b, k) -> (b, k, n)>
#s = affine_map<(m, n, b, k) -> (b, n)>
#y = affine_map<(m, n, b, k) -> (m, n)>

// The activations of a block become integers, and rows go in pairs; the sum of a block is an integer until it is scaled.
// CHECK-DAG: #[[BLOCK:.*]] = affine_map<(d0, d1, d2) -> (d0, d1)>
// CHECK-DAG: #[[X:.*]] = affine_map<(d0, d1, d2, d3, d4) -> (d0, d2, d3, d4)>
// CHECK-DAG: #[[W:.*]] = affine_map<(d0, d1, d2, d3, d4) -> (d2, d3, d4, d1)>
// CHECK-DAG: #[[S:.*]] = affine_map<(d0, d1, d2, d3, d4) -> (d2, d1)>
// CHECK-DAG: #[[L:.*]] = affine_map<(d0, d1, d2, d3, d4) -> (d0, d2)>
// CHECK-DAG: #[[Y:.*]] = affine_map<(d0, d1, d2, d3, d4) -> (d0, d1)>
// CHECK-LABEL: func.func @int8(
// CHECK-SAME:    %[[IN:[^:]*]]: tensor<3x2x4xf32>, %[[OUT:[^:]*]]: tensor<3x2xf32>
// CHECK:       %[[UNITS:.*]] = linalg.generic {{{.*}}iterator_types = ["parallel", "parallel", "reduction"]} ins(%[[IN]] : {{.*}} outs({{.*}} : tensor<3x2xi32>)
// CHECK:         math.absf
// CHECK:         arith.mulf
// CHECK:         arith.bitcast
// CHECK:         arith.maxsi
// CHECK:       %[[NUMBERS:.*]] = linalg.generic {{.*}} ins(%[[IN]], %[[UNITS]] : tensor<3x2x4xf32>, tensor<3x2xi32>) outs({{.*}} : tensor<3x2x4xi16>)
// CHECK:         math.roundeven
// CHECK:         arith.fptosi %{{.*}} : f32 to i16
// CHECK:       %[[PAIRS:.*]] = tensor.expand_shape %[[NUMBERS]] {{.*}} : tensor<3x2x4xi16> into tensor<3x2x2x2xi16>
// CHECK:       %[[W2:.*]] = arith.constant dense<{{\[\[\[\[}}1, 2], [3, 4]], {{.*}}> : tensor<2x2x2x2xi8>
// CHECK:       linalg.generic {indexing_maps = [#[[X]], #[[W]], #[[S]], #[[L]], #[[Y]]]
// CHECK-SAME:    iterator_types = ["parallel", "parallel", "reduction", "reduction", "reduction"]
// CHECK-SAME:    ins(%[[PAIRS]], %[[W2]], %{{.*}}, %[[UNITS]] : {{.*}} outs(%[[OUT]] : tensor<3x2xf32>)
// CHECK:       ^bb0(%[[A:.*]]: i16, %[[B:.*]]: i8, %[[C:.*]]: bf16, %[[G:.*]]: i32, %[[D:.*]]: f32):
// CHECK-DAG:     %[[NB:.*]] = arith.extsi %[[B]] : i8 to i32
// CHECK-DAG:     %[[NA:.*]] = arith.extsi %[[A]] : i16 to i32
// CHECK:         %[[P:.*]] = arith.muli %[[NA]], %[[NB]]
// CHECK:         %[[F:.*]] = arith.mulf %{{.*}}, %{{.*}} : f32
// CHECK:         %[[T:.*]] = arith.sitofp %[[P]] : i32 to f32
// CHECK:         %[[Q:.*]] = arith.mulf %[[T]], %{{.*}} : f32
// CHECK:         arith.addf %[[D]], %[[Q]]
func.func @int8(%x: tensor<3x2x4xf32>, %y: tensor<3x2xf32>) -> tensor<3x2xf32> {
  %q = arith.constant dense<[[[1, 2], [3, 4], [5, 6], [7, 8]], [[-1, -2], [-3, -4], [-5, -6], [-7, -8]]]> : tensor<2x4x2xi8>
  %s = arith.constant dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xbf16>
  %0 = linalg.generic {indexing_maps = [#x, #w, #s, #y], iterator_types = ["parallel", "parallel", "reduction", "reduction"]}
      ins(%x, %q, %s : tensor<3x2x4xf32>, tensor<2x4x2xi8>, tensor<2x2xbf16>) outs(%y : tensor<3x2xf32>) {
  ^bb0(%a: f32, %b: i8, %c: bf16, %d: f32):
    %n = arith.sitofp %b : i8 to f32
    %p = arith.mulf %a, %n : f32
    %f = arith.extf %c : bf16 to f32
    %t = arith.mulf %p, %f : f32
    %r = arith.addf %d, %t : f32
    linalg.yield %r : f32
  } -> tensor<3x2xf32>
  return %0 : tensor<3x2xf32>
}

// -----

#low = affine_map<(m, n, b, k) -> (m, b, 0, k)>
#high = affine_map<(m, n, b, k) -> (m, b, 1, k)>
#w = affine_map<(m, n, b, k) -> (b, k, n)>
#s = affine_map<(m, n, b, k) -> (b, n)>
#y = affine_map<(m, n, b, k) -> (m, n)>

// Both halves of a byte: one largest magnitude for all rows of the block, one sum.
// CHECK-LABEL: func.func @int4(
// CHECK-SAME:    %[[IN:[^:]*]]: tensor<1x1x2x2xf16>
// CHECK:       linalg.generic {{{.*}}iterator_types = ["parallel", "parallel", "reduction", "reduction"]} ins(%[[IN]] : {{.*}} outs({{.*}} : tensor<1x1xi32>)
// CHECK:       %[[PAIRS:.*]] = tensor.expand_shape {{.*}} : tensor<1x1x2x2xi16> into tensor<1x1x2x1x2xi16>
// CHECK:       linalg.generic {{.*}} ins(%[[PAIRS]], %[[PAIRS]], %{{.*}}, %{{.*}}, %{{.*}} : {{.*}}, tensor<1x1x2x2xi8>, tensor<1x2xbf16>, tensor<1x1xi32>)
// CHECK:         %[[LOW:.*]] = arith.extsi %{{.*}} : i16 to i32
// CHECK:         %[[P0:.*]] = arith.muli %{{.*}}, %[[LOW]]
// CHECK:         %[[HIGH:.*]] = arith.extsi %{{.*}} : i16 to i32
// CHECK:         %[[P1:.*]] = arith.muli %{{.*}}, %[[HIGH]]
// CHECK:         arith.addi %[[P0]], %[[P1]]
func.func @int4(%x: tensor<1x1x2x2xf16>, %y: tensor<1x2xf32>) -> tensor<1x2xf32> {
  %q = arith.constant dense<[[[1, 2], [3, 4]]]> : tensor<1x2x2xi8>
  %s = arith.constant dense<[[1.0, 2.0]]> : tensor<1x2xbf16>
  %c4 = arith.constant 4 : i16
  %c12 = arith.constant 12 : i16
  %0 = linalg.generic {indexing_maps = [#low, #high, #w, #s, #y], iterator_types = ["parallel", "parallel", "reduction", "reduction"]}
      ins(%x, %x, %q, %s : tensor<1x1x2x2xf16>, tensor<1x1x2x2xf16>, tensor<1x2x2xi8>, tensor<1x2xbf16>) outs(%y : tensor<1x2xf32>) {
  ^bb0(%a: f16, %e: f16, %b: i8, %c: bf16, %d: f32):
    %byte = arith.extsi %b : i8 to i16
    %up = arith.shli %byte, %c12 : i16
    %low = arith.shrsi %up, %c12 : i16
    %high = arith.shrsi %byte, %c4 : i16
    %fa = arith.extf %a : f16 to f32
    %fl = arith.sitofp %low : i16 to f32
    %p = arith.mulf %fa, %fl : f32
    %fe = arith.extf %e : f16 to f32
    %fh = arith.sitofp %high : i16 to f32
    %g = arith.mulf %fe, %fh : f32
    %h = arith.addf %p, %g : f32
    %f = arith.extf %c : bf16 to f32
    %t = arith.mulf %h, %f : f32
    %r = arith.addf %d, %t : f32
    linalg.yield %r : f32
  } -> tensor<1x2xf32>
  return %0 : tensor<1x2xf32>
}

// -----

#low = affine_map<(m, n, b, k) -> (m, b, 0, k)>
#high = affine_map<(m, n, b, k) -> (m, b, 1, k)>
#w = affine_map<(m, n, b, k) -> (b, k, n)>
#s = affine_map<(m, n, b, k) -> (b, n)>
#y = affine_map<(m, n, b, k) -> (m, n)>

// With zero points: they are subtracted in 16 bits, ahead of the products.
// CHECK-DAG: #[[Z:.*]] = affine_map<(d0, d1, d2, d3, d4) -> (d2, d1)>
// CHECK-LABEL: func.func @uint4(
// CHECK:       linalg.generic {indexing_maps = [{{.*}}, {{.*}}, {{.*}}, #[[Z]], #[[Z]], {{.*}}, {{.*}}]
// CHECK:       ^bb0(%[[X:[^:]*]]: i16, %[[E:[^:]*]]: i16, %[[B:[^:]*]]: i8, %{{.*}}: bf16, %[[ZERO:[^:]*]]: i8, %{{.*}}: i32, %{{.*}}: f32):
// CHECK:         %[[BYTE:.*]] = arith.extui %[[B]] : i8 to i16
// CHECK:         %[[L:.*]] = arith.andi %[[BYTE]], %{{.*}} : i16
// CHECK:         %[[ZL:.*]] = arith.extsi %[[ZERO]] : i8 to i16
// CHECK:         %[[DL:.*]] = arith.subi %[[L]], %[[ZL]] : i16
// CHECK:         %[[WL:.*]] = arith.extsi %[[DL]] : i16 to i32
// CHECK:         %[[XL:.*]] = arith.extsi %[[X]] : i16 to i32
// CHECK:         arith.muli %[[XL]], %[[WL]]
// CHECK:         %[[H:.*]] = arith.shrui %{{.*}}, %{{.*}} : i16
// CHECK:         arith.subi %[[H]], %{{.*}} : i16
// CHECK:         arith.sitofp %{{.*}} : i32 to f32
// CHECK-NOT:     arith.sitofp
func.func @uint4(%x: tensor<1x1x2x2xf32>, %y: tensor<1x2xf32>) -> tensor<1x2xf32> {
  %q = arith.constant dense<[[[1, 2], [3, 4]]]> : tensor<1x2x2xi8>
  %s = arith.constant dense<[[1.0, 2.0]]> : tensor<1x2xbf16>
  %z = arith.constant dense<[[3, 4]]> : tensor<1x2xi8>
  %c15 = arith.constant 15 : i32
  %c4 = arith.constant 4 : i32
  %0 = linalg.generic {indexing_maps = [#low, #high, #w, #s, #s, #y], iterator_types = ["parallel", "parallel", "reduction", "reduction"]}
      ins(%x, %x, %q, %s, %z : tensor<1x1x2x2xf32>, tensor<1x1x2x2xf32>, tensor<1x2x2xi8>, tensor<1x2xbf16>, tensor<1x2xi8>) outs(%y : tensor<1x2xf32>) {
  ^bb0(%a: f32, %e: f32, %b: i8, %c: bf16, %i: i8, %d: f32):
    %byte = arith.extui %b : i8 to i32
    %low = arith.andi %byte, %c15 : i32
    %high = arith.shrui %byte, %c4 : i32
    %zero = arith.extsi %i : i8 to i32
    %ls = arith.subi %low, %zero : i32
    %fl = arith.sitofp %ls : i32 to f32
    %hs = arith.subi %high, %zero : i32
    %fh = arith.sitofp %hs : i32 to f32
    %p = arith.mulf %a, %fl : f32
    %g = arith.mulf %e, %fh : f32
    %h = arith.addf %p, %g : f32
    %f = arith.extf %c : bf16 to f32
    %t = arith.mulf %h, %f : f32
    %r = arith.addf %d, %t : f32
    linalg.yield %r : f32
  } -> tensor<1x2xf32>
  return %0 : tensor<1x2xf32>
}

// -----

#x = affine_map<(m, n, b, k) -> (m, b, k)>
#w = affine_map<(m, n, b, k) -> (b, k, n)>
#s = affine_map<(m, n, b, k) -> (b, n)>
#y = affine_map<(m, n, b, k) -> (m, n)>

// Numbers without a sign or a zero point.
// CHECK-LABEL: func.func @unsigned(
// CHECK:       ^bb0(%[[X:[^:]*]]: i16, %[[B:[^:]*]]: i8,
// CHECK:         arith.extui %[[B]] : i8 to i32
// CHECK:         arith.sitofp %{{.*}} : i32 to f32
func.func @unsigned(%x: tensor<1x1x4xf32>, %y: tensor<1x2xf32>) -> tensor<1x2xf32> {
  %q = arith.constant dense<[[[1, 2], [3, 4], [5, 6], [7, 8]]]> : tensor<1x4x2xi8>
  %s = arith.constant dense<[[1.0, 2.0]]> : tensor<1x2xf32>
  %0 = linalg.generic {indexing_maps = [#x, #w, #s, #y], iterator_types = ["parallel", "parallel", "reduction", "reduction"]}
      ins(%x, %q, %s : tensor<1x1x4xf32>, tensor<1x4x2xi8>, tensor<1x2xf32>) outs(%y : tensor<1x2xf32>) {
  ^bb0(%a: f32, %b: i8, %c: f32, %d: f32):
    %n = arith.uitofp %b : i8 to f32
    %p = arith.mulf %a, %n : f32
    %t = arith.mulf %p, %c : f32
    %r = arith.addf %d, %t : f32
    linalg.yield %r : f32
  } -> tensor<1x2xf32>
  return %0 : tensor<1x2xf32>
}

// -----

// Refused: a matrix that something else reads too, numbers of 16 bits, whose sums do not fit, an odd number of rows in a block.
// CHECK-LABEL: func.func @stay(
// CHECK-NOT:   math.roundeven
// CHECK-LABEL: func.func @shared(
// CHECK-NOT:   math.roundeven
#x = affine_map<(m, n, b, k) -> (m, b, k)>
#w = affine_map<(m, n, b, k) -> (b, k, n)>
#s = affine_map<(m, n, b, k) -> (b, n)>
#y = affine_map<(m, n, b, k) -> (m, n)>
func.func @stay(%x: tensor<1x1x4xf32>, %z: tensor<1x1x3xf32>, %y: tensor<1x2xf32>)
    -> (tensor<1x2xf32>, tensor<1x2xf32>) {
  %wide = arith.constant dense<[[[1, 2], [3, 4], [5, 6], [7, 8]]]> : tensor<1x4x2xi16>
  %rows = arith.constant dense<[[[1, 2], [3, 4], [5, 6]]]> : tensor<1x3x2xi8>
  %s = arith.constant dense<[[1.0, 2.0]]> : tensor<1x2xf32>
  %0 = linalg.generic {indexing_maps = [#x, #w, #s, #y], iterator_types = ["parallel", "parallel", "reduction", "reduction"]}
      ins(%x, %wide, %s : tensor<1x1x4xf32>, tensor<1x4x2xi16>, tensor<1x2xf32>) outs(%y : tensor<1x2xf32>) {
  ^bb0(%a: f32, %b: i16, %c: f32, %d: f32):
    %n = arith.sitofp %b : i16 to f32
    %p = arith.mulf %a, %n : f32
    %t = arith.mulf %p, %c : f32
    %r = arith.addf %d, %t : f32
    linalg.yield %r : f32
  } -> tensor<1x2xf32>
  %1 = linalg.generic {indexing_maps = [#x, #w, #s, #y], iterator_types = ["parallel", "parallel", "reduction", "reduction"]}
      ins(%z, %rows, %s : tensor<1x1x3xf32>, tensor<1x3x2xi8>, tensor<1x2xf32>) outs(%y : tensor<1x2xf32>) {
  ^bb0(%a: f32, %b: i8, %c: f32, %d: f32):
    %n = arith.sitofp %b : i8 to f32
    %p = arith.mulf %a, %n : f32
    %t = arith.mulf %p, %c : f32
    %r = arith.addf %d, %t : f32
    linalg.yield %r : f32
  } -> tensor<1x2xf32>
  return %0, %1 : tensor<1x2xf32>, tensor<1x2xf32>
}
func.func @shared(%x: tensor<1x1x4xf32>, %y: tensor<1x2xf32>) -> (tensor<1x2xf32>, tensor<1x4x2xi8>) {
  %q = arith.constant dense<[[[1, 2], [3, 4], [5, 6], [7, 8]]]> : tensor<1x4x2xi8>
  %s = arith.constant dense<[[1.0, 2.0]]> : tensor<1x2xf32>
  %0 = linalg.generic {indexing_maps = [#x, #w, #s, #y], iterator_types = ["parallel", "parallel", "reduction", "reduction"]}
      ins(%x, %q, %s : tensor<1x1x4xf32>, tensor<1x4x2xi8>, tensor<1x2xf32>) outs(%y : tensor<1x2xf32>) {
  ^bb0(%a: f32, %b: i8, %c: f32, %d: f32):
    %n = arith.sitofp %b : i8 to f32
    %p = arith.mulf %a, %n : f32
    %t = arith.mulf %p, %c : f32
    %r = arith.addf %d, %t : f32
    linalg.yield %r : f32
  } -> tensor<1x2xf32>
  return %0, %q : tensor<1x2xf32>, tensor<1x4x2xi8>
}
