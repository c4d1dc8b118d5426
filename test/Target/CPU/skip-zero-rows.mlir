// RUN: rwkv-opt %s -cpu-skip-zero-rows -split-input-file | FileCheck %s
// RUN: rwkv-opt %s -cpu-skip-zero-rows "-cpu-pack-matrices=columns=2 row-bytes=16 min-parts=2" -split-input-file | FileCheck %s --check-prefix=PACKED

#x = affine_map<(m, n, k) -> (m, k)>
#w = affine_map<(m, n, k) -> (k, n)>
#y = affine_map<(m, n, k) -> (m, n)>
#id = affine_map<(m, k) -> (m, k)>

// A squared ReLU times a matrix, which is stored in parts of four columns and not of two.
// CHECK-LABEL: func.func @rectified(
// CHECK:       linalg.generic {{.*}} ins(%{{.*}}, %{{.*}} : tensor<1x2xf32>, tensor<2x8xf32>) {{.*}} attrs = {cpu.skip_zeros = 0 : i64}
// PACKED-LABEL: func.func @rectified(
// PACKED:       scf.forall (%{{.*}}) in (2)
// PACKED:       linalg.generic {{.*}} : tensor<1x2xf32>, tensor<1x2x4xf32>) {{.*}} attrs = {cpu.skip_zeros = 0 : i64}
func.func @rectified(%k: tensor<1x2xf32>, %y: tensor<1x8xf32>) -> tensor<1x8xf32> {
  %zero = arith.constant 0.0 : f32
  %w = arith.constant dense<[[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], [0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5]]> : tensor<2x8xf32>
  %e = tensor.empty() : tensor<1x2xf32>
  %r = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%k : tensor<1x2xf32>) outs(%e : tensor<1x2xf32>) {
  ^bb0(%a: f32, %b: f32):
    %m = arith.maximumf %a, %zero : f32
    %s = arith.mulf %m, %m : f32
    linalg.yield %s : f32
  } -> tensor<1x2xf32>
  %0 = linalg.generic {indexing_maps = [#x, #w, #y], iterator_types = ["parallel", "parallel", "reduction"]}
      ins(%r, %w : tensor<1x2xf32>, tensor<2x8xf32>) outs(%y : tensor<1x8xf32>) {
  ^bb0(%a: f32, %b: f32, %c: f32):
    %p = arith.mulf %a, %b : f32
    %s = arith.addf %c, %p : f32
    linalg.yield %s : f32
  } -> tensor<1x8xf32>
  return %0 : tensor<1x8xf32>
}

// -----

// By way of a comparison, and narrowed; through a reshape.
// CHECK-LABEL: func.func @selected(
// CHECK:       linalg.vecmat {cpu.skip_zeros = 0 : i64}
func.func @selected(%k: tensor<1x2xf32>, %y: tensor<8xf32>) -> tensor<8xf32> {
  %zero = arith.constant 0.0 : f32
  %w = arith.constant dense<[[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], [0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5]]> : tensor<2x8xf16>
  %e = tensor.empty() : tensor<1x2xf16>
  %r = linalg.map ins(%k : tensor<1x2xf32>) outs(%e : tensor<1x2xf16>)
    (%a: f32, %b: f16) {
      %g = arith.cmpf ogt, %a, %zero : f32
      %m = arith.select %g, %a, %zero : f32
      %s = arith.truncf %m : f32 to f16
      linalg.yield %s : f16
    }
  %row = tensor.collapse_shape %r [[0, 1]] : tensor<1x2xf16> into tensor<2xf16>
  %0 = linalg.vecmat ins(%row, %w : tensor<2xf16>, tensor<2x8xf16>) outs(%y : tensor<8xf32>) -> tensor<8xf32>
  return %0 : tensor<8xf32>
}

// -----

#x = affine_map<(m, n, k) -> (m, k)>
#w = affine_map<(m, n, k) -> (k, n)>
#y = affine_map<(m, n, k) -> (m, n)>
#id = affine_map<(m, k) -> (m, k)>

// Integers in pairs, made of a rectified row: of the two operands that index all that is summed, the one without columns.
// CHECK-LABEL: func.func @integers(
// CHECK:       linalg.generic {{.*}} ins(%{{.*}}, %{{.*}}, %{{.*}} : tensor<1x2x2xi16>, tensor<2x2x8xi8>, tensor<8xf32>) {{.*}} attrs = {cpu.skip_zeros = 0 : i64}
// PACKED-LABEL: func.func @integers(
// PACKED:       linalg.generic {{.*}} : tensor<1x2x2xi16>, tensor<1x2x4x2xi8>, tensor<1x4xf32>) {{.*}} attrs = {cpu.skip_zeros = 0 : i64}
func.func @integers(%k: tensor<1x4xf32>, %unit: f32, %y: tensor<1x8xf32>) -> tensor<1x8xf32> {
  %zero = arith.constant 0.0 : f32
  %least = arith.constant -32767.0 : f32
  %w = arith.constant dense<[[[0, 1, 2, 3, 4, 5, 6, 7], [1, 2, 3, 4, 5, 6, 7, 8]], [[2, 3, 4, 5, 6, 7, 8, 9], [3, 4, 5, 6, 7, 8, 9, 0]]]> : tensor<2x2x8xi8>
  %scale = arith.constant dense<[0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5]> : tensor<8xf32>
  %e = tensor.empty() : tensor<1x4xf32>
  %n = tensor.empty() : tensor<1x4xi16>
  %r = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%k : tensor<1x4xf32>) outs(%e : tensor<1x4xf32>) {
  ^bb0(%a: f32, %b: f32):
    %m = arith.maximumf %a, %zero : f32
    linalg.yield %m : f32
  } -> tensor<1x4xf32>
  %numbers = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%r : tensor<1x4xf32>) outs(%n : tensor<1x4xi16>) {
  ^bb0(%a: f32, %b: i16):
    %m = arith.mulf %a, %unit : f32
    %rounded = math.roundeven %m : f32
    %is_number = arith.cmpf ogt, %rounded, %least : f32
    %number = arith.select %is_number, %rounded, %least : f32
    %integer = arith.fptosi %number : f32 to i16
    linalg.yield %integer : i16
  } -> tensor<1x4xi16>
  %pairs = tensor.expand_shape %numbers [[0], [1, 2]] output_shape [1, 2, 2] : tensor<1x4xi16> into tensor<1x2x2xi16>
  %0 = linalg.generic {indexing_maps = [affine_map<(m, n, k, two) -> (m, k, two)>, affine_map<(m, n, k, two) -> (k, two, n)>,
                                        affine_map<(m, n, k, two) -> (n)>, affine_map<(m, n, k, two) -> (m, n)>],
                       iterator_types = ["parallel", "parallel", "reduction", "reduction"]}
      ins(%pairs, %w, %scale : tensor<1x2x2xi16>, tensor<2x2x8xi8>, tensor<8xf32>) outs(%y : tensor<1x8xf32>) {
  ^bb0(%a: i16, %b: i8, %s: f32, %c: f32):
    %na = arith.extsi %a : i16 to i32
    %nb = arith.extsi %b : i8 to i32
    %p = arith.muli %na, %nb : i32
    %f = arith.sitofp %p : i32 to f32
    %t = arith.mulf %f, %s : f32
    %sum = arith.addf %c, %t : f32
    linalg.yield %sum : f32
  } -> tensor<1x8xf32>
  return %0 : tensor<1x8xf32>
}

// -----

#x = affine_map<(m, n, k) -> (m, k)>
#w = affine_map<(m, n, k) -> (k, n)>
#y = affine_map<(m, n, k) -> (m, n)>
#id = affine_map<(m, k) -> (m, k)>

// Refused: a value that is bounded by one and not by zero, several rows, a matrix that is no constant.
// CHECK-LABEL: func.func @stay(
// CHECK-NOT:   cpu.skip_zeros
func.func @stay(%k: tensor<1x2xf32>, %rows: tensor<3x2xf32>, %v: tensor<2x8xf32>, %y: tensor<1x8xf32>, %z: tensor<3x8xf32>)
    -> (tensor<1x8xf32>, tensor<3x8xf32>, tensor<1x8xf32>) {
  %zero = arith.constant 0.0 : f32
  %one = arith.constant 1.0 : f32
  %w = arith.constant dense<[[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], [0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5]]> : tensor<2x8xf32>
  %e = tensor.empty() : tensor<1x2xf32>
  %e3 = tensor.empty() : tensor<3x2xf32>
  %bounded = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%k : tensor<1x2xf32>) outs(%e : tensor<1x2xf32>) {
  ^bb0(%a: f32, %b: f32):
    %m = arith.maximumf %a, %one : f32
    linalg.yield %m : f32
  } -> tensor<1x2xf32>
  %r3 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%rows : tensor<3x2xf32>) outs(%e3 : tensor<3x2xf32>) {
  ^bb0(%a: f32, %b: f32):
    %m = arith.maximumf %a, %zero : f32
    linalg.yield %m : f32
  } -> tensor<3x2xf32>
  %r = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%k : tensor<1x2xf32>) outs(%e : tensor<1x2xf32>) {
  ^bb0(%a: f32, %b: f32):
    %m = arith.maximumf %a, %zero : f32
    linalg.yield %m : f32
  } -> tensor<1x2xf32>
  %0 = linalg.matmul ins(%bounded, %w : tensor<1x2xf32>, tensor<2x8xf32>) outs(%y : tensor<1x8xf32>) -> tensor<1x8xf32>
  %1 = linalg.matmul ins(%r3, %w : tensor<3x2xf32>, tensor<2x8xf32>) outs(%z : tensor<3x8xf32>) -> tensor<3x8xf32>
  %2 = linalg.matmul ins(%r, %v : tensor<1x2xf32>, tensor<2x8xf32>) outs(%y : tensor<1x8xf32>) -> tensor<1x8xf32>
  return %0, %1, %2 : tensor<1x8xf32>, tensor<3x8xf32>, tensor<1x8xf32>
}
