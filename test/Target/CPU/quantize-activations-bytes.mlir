// RUN: rwkv-opt %s -cpu-quantize-activations=bits=8 -split-input-file | FileCheck %s
// RUN: not rwkv-opt %s -cpu-quantize-activations=bits=4 -split-input-file 2>&1 | FileCheck %s --check-prefix=BITS

// BITS: error: bits=4: expected 8 or 16

#x = affine_map<(m, n, b, k) -> (m, b, k)>
#w = affine_map<(m, n, b, k) -> (b, k, n)>
#s = affine_map<(m, n, b, k) -> (b, n)>
#y = affine_map<(m, n, b, k) -> (m, n)>

// Rows go in groups of four; numbers with a sign become numbers without one, less a zero point, and what that is multiplied
// with, the sums of a block's activations, is an operand.
// CHECK-DAG: #[[X:.*]] = affine_map<(d0, d1, d2, d3, d4) -> (d0, d2, d3, d4)>
// CHECK-DAG: #[[W:.*]] = affine_map<(d0, d1, d2, d3, d4) -> (d2, d3, d4, d1)>
// CHECK-LABEL: func.func @int8(
// CHECK-SAME:    %[[IN:[^:]*]]: tensor<3x1x4xf32>
// CHECK:       %[[UNITS:.*]] = linalg.generic {{.*}} ins(%[[IN]] : {{.*}} outs({{.*}} : tensor<3x1xi32>)
// CHECK:       %[[NUMBERS:.*]] = linalg.generic {{.*}} ins(%[[IN]], %[[UNITS]] : {{.*}} outs({{.*}} : tensor<3x1x4xi8>)
// CHECK:         arith.fptosi %{{.*}} : f32 to i8
// CHECK:       %[[SUMS:.*]] = linalg.generic {{.*}} ins(%[[NUMBERS]] : {{.*}} outs({{.*}} : tensor<3x1xi16>)
// CHECK:         arith.addi
// CHECK:       %[[FOURS:.*]] = tensor.expand_shape %[[NUMBERS]] {{.*}} : tensor<3x1x4xi8> into tensor<3x1x1x4xi8>
// CHECK:       linalg.generic {indexing_maps = [#[[X]], #[[W]], {{.*}} ins(%[[FOURS]], %{{.*}}, %{{.*}}, %[[UNITS]], %[[SUMS]] : {{.*}}tensor<1x1x4x2xi8>
// CHECK-SAME:    cpu.block_sums = 4
// CHECK:       ^bb0(%[[A:.*]]: i8, %[[B:.*]]: i8, %{{.*}}: bf16, %{{.*}}: i32, %{{.*}}: i16, %{{.*}}: f32):
// CHECK:         %[[N:.*]] = arith.addi %[[B]], %{{.*}} : i8
// CHECK:         %[[WN:.*]] = arith.extui %[[N]] : i8 to i32
// CHECK:         %[[ZERO:.*]] = arith.constant 128 : i32
// CHECK:         %[[Q:.*]] = arith.subi %[[WN]], %[[ZERO]]
// CHECK:         %[[WA:.*]] = arith.extsi %[[A]] : i8 to i32
// CHECK:         arith.muli %[[WA]], %[[Q]]
func.func @int8(%x: tensor<3x1x4xf32>, %y: tensor<3x2xf32>) -> tensor<3x2xf32> {
  %q = arith.constant dense<[[[1, 2], [3, 4], [5, 6], [7, 8]]]> : tensor<1x4x2xi8>
  %s = arith.constant dense<[[1.0, 2.0]]> : tensor<1x2xbf16>
  %0 = linalg.generic {indexing_maps = [#x, #w, #s, #y], iterator_types = ["parallel", "parallel", "reduction", "reduction"]}
      ins(%x, %q, %s : tensor<3x1x4xf32>, tensor<1x4x2xi8>, tensor<1x2xbf16>) outs(%y : tensor<3x2xf32>) {
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

// Both halves of a byte, without shifts that copy the sign, and with one zero point.
// CHECK-LABEL: func.func @int4(
// CHECK:       ^bb0(%[[X:[^:]*]]: i8, %[[E:[^:]*]]: i8, %[[B:[^:]*]]: i8,
// CHECK:         %[[MASK:.*]] = arith.constant 15 : i8
// CHECK:         %[[L:.*]] = arith.andi %[[B]], %[[MASK]] : i8
// CHECK:         %[[EIGHT:.*]] = arith.constant 8 : i8
// CHECK:         %[[LOW:.*]] = arith.xori %[[L]], %[[EIGHT]] : i8
// CHECK:         %[[WL:.*]] = arith.extui %[[LOW]] : i8 to i32
// CHECK:         %[[ZERO:.*]] = arith.constant 8 : i32
// CHECK:         arith.subi %[[WL]], %[[ZERO]]
// CHECK:         %[[H:.*]] = arith.shrui %[[B]], %{{.*}} : i8
// CHECK:         %[[HIGH:.*]] = arith.xori %[[H]], %{{.*}} : i8
// CHECK:         %[[WH:.*]] = arith.extui %[[HIGH]] : i8 to i32
// CHECK:         arith.subi %[[WH]], %[[ZERO]]
func.func @int4(%x: tensor<1x1x2x4xf32>, %y: tensor<1x2xf32>) -> tensor<1x2xf32> {
  %q = arith.constant dense<[[[1, 2], [3, 4], [5, 6], [7, 8]]]> : tensor<1x4x2xi8>
  %s = arith.constant dense<[[1.0, 2.0]]> : tensor<1x2xbf16>
  %c4 = arith.constant 4 : i16
  %c12 = arith.constant 12 : i16
  %0 = linalg.generic {indexing_maps = [#low, #high, #w, #s, #y], iterator_types = ["parallel", "parallel", "reduction", "reduction"]}
      ins(%x, %x, %q, %s : tensor<1x1x2x4xf32>, tensor<1x1x2x4xf32>, tensor<1x4x2xi8>, tensor<1x2xbf16>) outs(%y : tensor<1x2xf32>) {
  ^bb0(%a: f32, %e: f32, %b: i8, %c: bf16, %d: f32):
    %byte = arith.extsi %b : i8 to i16
    %up = arith.shli %byte, %c12 : i16
    %low = arith.shrsi %up, %c12 : i16
    %high = arith.shrsi %byte, %c4 : i16
    %fl = arith.sitofp %low : i16 to f32
    %p = arith.mulf %a, %fl : f32
    %fh = arith.sitofp %high : i16 to f32
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

#low = affine_map<(m, n, b, k) -> (m, b, 0, k)>
#high = affine_map<(m, n, b, k) -> (m, b, 1, k)>
#w = affine_map<(m, n, b, k) -> (b, k, n)>
#s = affine_map<(m, n, b, k) -> (b, n)>
#y = affine_map<(m, n, b, k) -> (m, n)>

// Zero points of the file stay what is subtracted.
// CHECK-LABEL: func.func @uint4(
// CHECK:       ^bb0(%[[X:[^:]*]]: i8, %[[E:[^:]*]]: i8, %[[B:[^:]*]]: i8, %{{.*}}: bf16, %[[ZERO:[^:]*]]: i8,
// CHECK:         %[[L:.*]] = arith.andi %[[B]], %{{.*}} : i8
// CHECK:         %[[WL:.*]] = arith.extui %[[L]] : i8 to i32
// CHECK:         %[[WZ:.*]] = arith.extsi %[[ZERO]] : i8 to i32
// CHECK:         arith.subi %[[WL]], %[[WZ]]
// CHECK:         %[[H:.*]] = arith.shrui %[[B]], %{{.*}} : i8
// CHECK:         %[[WH:.*]] = arith.extui %[[H]] : i8 to i32
// CHECK:         arith.subi %[[WH]], %[[WZ]]
func.func @uint4(%x: tensor<1x1x2x4xf32>, %y: tensor<1x2xf32>) -> tensor<1x2xf32> {
  %q = arith.constant dense<[[[1, 2], [3, 4], [5, 6], [7, 8]]]> : tensor<1x4x2xi8>
  %s = arith.constant dense<[[1.0, 2.0]]> : tensor<1x2xbf16>
  %z = arith.constant dense<[[3, 4]]> : tensor<1x2xi8>
  %c15 = arith.constant 15 : i32
  %c4 = arith.constant 4 : i32
  %0 = linalg.generic {indexing_maps = [#low, #high, #w, #s, #s, #y], iterator_types = ["parallel", "parallel", "reduction", "reduction"]}
      ins(%x, %x, %q, %s, %z : tensor<1x1x2x4xf32>, tensor<1x1x2x4xf32>, tensor<1x4x2xi8>, tensor<1x2xbf16>, tensor<1x2xi8>) outs(%y : tensor<1x2xf32>) {
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

// Two rows in a block make no group of four: 16 bits.
// CHECK-LABEL: func.func @short(
// CHECK-NOT:   f32 to i8
// CHECK:       arith.fptosi %{{.*}} : f32 to i16
// CHECK-NOT:   cpu.block_sums
func.func @short(%x: tensor<1x2x2xf32>, %y: tensor<1x2xf32>) -> tensor<1x2xf32> {
  %q = arith.constant dense<[[[1, 2], [3, 4]], [[5, 6], [7, 8]]]> : tensor<2x2x2xi8>
  %s = arith.constant dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>
  %0 = linalg.generic {indexing_maps = [#x, #w, #s, #y], iterator_types = ["parallel", "parallel", "reduction", "reduction"]}
      ins(%x, %q, %s : tensor<1x2x2xf32>, tensor<2x2x2xi8>, tensor<2x2xf32>) outs(%y : tensor<1x2xf32>) {
  ^bb0(%a: f32, %b: i8, %c: f32, %d: f32):
    %n = arith.sitofp %b : i8 to f32
    %p = arith.mulf %a, %n : f32
    %t = arith.mulf %p, %c : f32
    %r = arith.addf %d, %t : f32
    linalg.yield %r : f32
  } -> tensor<1x2xf32>
  return %0 : tensor<1x2xf32>
}
