// RUN: rwkv-opt %s -cpu-pack-matrices=columns=2 -split-input-file | FileCheck %s
// RUN: not rwkv-opt %s -cpu-pack-matrices=columns=0 -split-input-file 2>&1 | FileCheck %s --check-prefix=NONE

// NONE: error: columns=0: expected at least 1

// Two parts of two columns, each with all rows; the result is seen by parts.
// CHECK-DAG: #[[X:.*]] = affine_map<(d0, d1, d2, d3) -> (d1, d2)>
// CHECK-DAG: #[[W:.*]] = affine_map<(d0, d1, d2, d3) -> (d0, d2, d3)>
// CHECK-DAG: #[[Y:.*]] = affine_map<(d0, d1, d2, d3) -> (d1, d0, d3)>
// CHECK-LABEL: func.func @rows(
// CHECK-SAME:    %[[IN:[^:]*]]: tensor<1x3xf32>, %[[OUT:[^:]*]]: tensor<1x4xf32>
// CHECK-DAG:   %[[P:.*]] = arith.constant dense<{{\[\[\[}}0.0{{.*}}, 1.0{{[^]]*}}], [1.0{{[^,]*}}e+01, 1.1{{.*}}], [2.0{{.*}}, 2.1{{[^]]*}}]], {{\[\[}}2.0{{[^,]*}}, 3.0{{[^]]*}}], [1.2{{.*}}, 1.3{{.*}}], [2.2{{.*}}, 2.3{{.*}}]]]> : tensor<2x3x2xf32>
// CHECK-DAG:   %[[PARTS:.*]] = tensor.expand_shape %[[OUT]] {{\[\[}}0], [1, 2]] output_shape [1, 2, 2]
// CHECK:       %[[R:.*]] = linalg.generic {indexing_maps = [#[[X]], #[[W]], #[[Y]]], iterator_types = ["parallel", "parallel", "reduction", "parallel"]}
// CHECK-SAME:    ins(%[[IN]], %[[P]] : tensor<1x3xf32>, tensor<2x3x2xf32>) outs(%[[PARTS]] : tensor<1x2x2xf32>)
// CHECK:       tensor.collapse_shape %[[R]] {{\[\[}}0], [1, 2]]
func.func @rows(%x: tensor<1x3xf32>, %y: tensor<1x4xf32>) -> tensor<1x4xf32> {
  %w = arith.constant dense<[[0.0, 1.0, 2.0, 3.0], [10.0, 11.0, 12.0, 13.0], [20.0, 21.0, 22.0, 23.0]]> : tensor<3x4xf32>
  %0 = linalg.matmul ins(%x, %w : tensor<1x3xf32>, tensor<3x4xf32>) outs(%y : tensor<1x4xf32>) -> tensor<1x4xf32>
  return %0 : tensor<1x4xf32>
}

// -----

// One matrix in two functions, stored by columns; it is packed once for both.
// CHECK-LABEL: func.func @step(
// CHECK:       arith.constant dense<{{\[\[\[}}0.0{{[^,]*}}, 1.0{{[^]]*}}], [1.0{{[^,]*}}e+01, 1.1{{.*}}], [2.0{{.*}}, 2.1{{[^]]*}}]]]> : tensor<1x3x2xf32>
// CHECK-LABEL: func.func @prefill(
// CHECK:       tensor<1x3x2xf32>
#x = affine_map<(d0, d1, d2) -> (d0, d2)>
#w = affine_map<(d0, d1, d2) -> (d1, d2)>
#y = affine_map<(d0, d1, d2) -> (d0, d1)>
func.func @step(%x: tensor<1x3xf32>, %y: tensor<1x2xf32>) -> tensor<1x2xf32> {
  %w = arith.constant dense<[[0.0, 10.0, 20.0], [1.0, 11.0, 21.0]]> : tensor<2x3xf32>
  %0 = linalg.generic {indexing_maps = [#x, #w, #y], iterator_types = ["parallel", "parallel", "reduction"]}
      ins(%x, %w : tensor<1x3xf32>, tensor<2x3xf32>) outs(%y : tensor<1x2xf32>) {
  ^bb0(%a: f32, %b: f32, %c: f32):
    %p = arith.mulf %a, %b : f32
    %s = arith.addf %c, %p : f32
    linalg.yield %s : f32
  } -> tensor<1x2xf32>
  return %0 : tensor<1x2xf32>
}
func.func @prefill(%x: tensor<5x3xf32>, %y: tensor<5x2xf32>) -> tensor<5x2xf32> {
  %w = arith.constant dense<[[0.0, 10.0, 20.0], [1.0, 11.0, 21.0]]> : tensor<2x3xf32>
  %0 = linalg.generic {indexing_maps = [#x, #w, #y], iterator_types = ["parallel", "parallel", "reduction"]}
      ins(%x, %w : tensor<5x3xf32>, tensor<2x3xf32>) outs(%y : tensor<5x2xf32>) {
  ^bb0(%a: f32, %b: f32, %c: f32):
    %p = arith.mulf %a, %b : f32
    %s = arith.addf %c, %p : f32
    linalg.yield %s : f32
  } -> tensor<5x2xf32>
  return %0 : tensor<5x2xf32>
}

// -----

// Numbers and scales alike.
// CHECK-LABEL: func.func @quantized(
// CHECK:       linalg.generic {{.*}} ins(%{{.*}}, %{{.*}}, %{{.*}} : tensor<1x2x2xf32>, tensor<2x2x2x2xi8>, tensor<2x2x2xbf16>) outs(%{{.*}} : tensor<1x2x2xf32>)
func.func @quantized(%x: tensor<1x2x2xf32>, %y: tensor<1x4xf32>) -> tensor<1x4xf32> {
  %q = arith.constant dense<[[[1, 2, 3, 4], [5, 6, 7, 8]], [[-1, -2, -3, -4], [-5, -6, -7, -8]]]> : tensor<2x2x4xi8>
  %s = arith.constant dense<[[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]]> : tensor<2x4xbf16>
  %0 = linalg.generic {indexing_maps = [affine_map<(d0, d1, d2, d3) -> (d0, d2, d3)>, affine_map<(d0, d1, d2, d3) -> (d2, d3, d1)>,
                                        affine_map<(d0, d1, d2, d3) -> (d2, d1)>, affine_map<(d0, d1, d2, d3) -> (d0, d1)>],
                       iterator_types = ["parallel", "parallel", "reduction", "reduction"]}
      ins(%x, %q, %s : tensor<1x2x2xf32>, tensor<2x2x4xi8>, tensor<2x4xbf16>) outs(%y : tensor<1x4xf32>) {
  ^bb0(%a: f32, %b: i8, %c: bf16, %d: f32):
    %n = arith.sitofp %b : i8 to f32
    %p = arith.mulf %a, %n : f32
    %f = arith.extf %c : bf16 to f32
    %t = arith.mulf %p, %f : f32
    %r = arith.addf %d, %t : f32
    linalg.yield %r : f32
  } -> tensor<1x4xf32>
  return %0 : tensor<1x4xf32>
}

// -----

// Columns beyond the parts are a product of their own, whose last columns are zeros: in a part of a sum's start, and where
// that is a constant, filled by itself.
// CHECK-LABEL: func.func @rest(
// CHECK-SAME:    %[[IN:[^:]*]]: tensor<1x2xf32>, %[[OUT:[^:]*]]: tensor<1x9xf32>
// CHECK:       %[[MAIN:.*]] = tensor.extract_slice %[[OUT]][0, 0] [1, 8] [1, 1] : tensor<1x9xf32> to tensor<1x8xf32>
// CHECK:       tensor.expand_shape %[[MAIN]] {{.*}} output_shape [1, 4, 2]
// CHECK:       scf.forall
// CHECK:       %[[Y:.*]] = tensor.insert_slice %{{.*}} into %[[OUT]][0, 0] [1, 8] [1, 1]
// CHECK:       %[[REST:.*]] = tensor.extract_slice %[[Y]][0, 8] [1, 1] [1, 1] : tensor<1x9xf32> to tensor<1x1xf32>
// CHECK:       %[[ZERO:.*]] = linalg.fill {{.*}} : tensor<1x8xf32>
// CHECK:       %[[WIDE:.*]] = tensor.insert_slice %[[REST]] into %[[ZERO]][0, 0] [1, 1] [1, 1]
// CHECK:       %[[P:.*]] = arith.constant dense<{{\[\[\[}}8.0{{[^,]*}}, 0.0{{[^,]*}}, {{.*}}], [1.8{{[^,]*}}e+01, 0.0{{[^,]*}}, {{.*}}]]]> : tensor<1x2x8xf32>
// CHECK:       %[[R:.*]] = linalg.generic {{.*}} ins(%[[IN]], %[[P]] : tensor<1x2xf32>, tensor<1x2x8xf32>)
// CHECK:       %[[NARROW:.*]] = tensor.extract_slice %{{.*}}[0, 0] [1, 1] [1, 1] : tensor<1x8xf32> to tensor<1x1xf32>
// CHECK:       tensor.insert_slice %[[NARROW]] into %[[Y]][0, 8] [1, 1] [1, 1]
// CHECK-LABEL: func.func @rest_filled(
// CHECK:       %[[ALL:.*]] = tensor.empty() : tensor<1x9xf32>
// CHECK:       linalg.fill {{.*}} : tensor<1x8xf32>
// CHECK:       scf.forall
// CHECK:       tensor.insert_slice %{{.*}} into %[[ALL]][0, 0] [1, 8] [1, 1]
// CHECK:       linalg.fill {{.*}} : tensor<1x8xf32>
// CHECK:       linalg.generic {{.*}} : tensor<1x2xf32>, tensor<1x2x8xf32>)
func.func @rest(%x: tensor<1x2xf32>, %y: tensor<1x9xf32>) -> tensor<1x9xf32> {
  %w = arith.constant dense<[[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0], [10.0, 11.0, 12.0, 13.0, 14.0, 15.0, 16.0, 17.0, 18.0]]> : tensor<2x9xf32>
  %0 = linalg.matmul ins(%x, %w : tensor<1x2xf32>, tensor<2x9xf32>) outs(%y : tensor<1x9xf32>) -> tensor<1x9xf32>
  return %0 : tensor<1x9xf32>
}
func.func @rest_filled(%x: tensor<1x2xf32>) -> tensor<1x9xf32> {
  %w = arith.constant dense<[[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0], [10.0, 11.0, 12.0, 13.0, 14.0, 15.0, 16.0, 17.0, 18.0]]> : tensor<2x9xf32>
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<1x9xf32>
  %y = linalg.fill ins(%zero : f32) outs(%e : tensor<1x9xf32>) -> tensor<1x9xf32>
  %0 = linalg.matmul ins(%x, %w : tensor<1x2xf32>, tensor<2x9xf32>) outs(%y : tensor<1x9xf32>) -> tensor<1x9xf32>
  return %0 : tensor<1x9xf32>
}

// -----

// Refused: a matrix whose rows are read elsewhere, three columns and parts of two, a matrix that is no constant.
// CHECK-LABEL: func.func @stay(
// CHECK-NOT:   tensor.expand_shape
// CHECK:       return
func.func @stay(%x: tensor<1x3xf32>, %v: tensor<3x4xf32>, %y: tensor<1x4xf32>, %z: tensor<1x3xf32>)
    -> (tensor<1x4xf32>, tensor<1x4xf32>, tensor<1x3xf32>, tensor<1x4xf32>) {
  %w = arith.constant dense<[[0.0, 1.0, 2.0, 3.0], [10.0, 11.0, 12.0, 13.0], [20.0, 21.0, 22.0, 23.0]]> : tensor<3x4xf32>
  %0 = linalg.matmul ins(%x, %w : tensor<1x3xf32>, tensor<3x4xf32>) outs(%y : tensor<1x4xf32>) -> tensor<1x4xf32>
  %row = tensor.extract_slice %w[1, 0] [1, 4] [1, 1] : tensor<3x4xf32> to tensor<1x4xf32>
  %odd = arith.constant dense<[[0.0, 1.0, 2.0], [10.0, 11.0, 12.0], [20.0, 21.0, 22.0]]> : tensor<3x3xf32>
  %1 = linalg.matmul ins(%x, %odd : tensor<1x3xf32>, tensor<3x3xf32>) outs(%z : tensor<1x3xf32>) -> tensor<1x3xf32>
  %2 = linalg.matmul ins(%x, %v : tensor<1x3xf32>, tensor<3x4xf32>) outs(%y : tensor<1x4xf32>) -> tensor<1x4xf32>
  return %0, %row, %1, %2 : tensor<1x4xf32>, tensor<1x4xf32>, tensor<1x3xf32>, tensor<1x4xf32>
}

// -----

// More than two parts become a parallel loop.
// CHECK-LABEL: func.func @pairs(
// CHECK:       scf.forall (%[[P:.*]]) in (4) shared_outs(%{{.*}} = %{{.*}}) -> (tensor<1x4x2xf32>)
// CHECK-DAG:     tensor.extract_slice %{{.*}}[%[[P]], 0, 0] [1, 1, 2] [1, 1, 1] : tensor<4x1x2xf32>
// CHECK-DAG:     tensor.extract_slice %{{.*}}[0, %[[P]], 0] [1, 1, 2] [1, 1, 1] : tensor<1x4x2xf32>
// CHECK:         linalg.generic
// CHECK:         tensor.parallel_insert_slice
func.func @pairs(%x: tensor<1x1xf32>, %y: tensor<1x8xf32>) -> tensor<1x8xf32> {
  %w = arith.constant dense<[[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]]> : tensor<1x8xf32>
  %0 = linalg.matmul ins(%x, %w : tensor<1x1xf32>, tensor<1x8xf32>) outs(%y : tensor<1x8xf32>) -> tensor<1x8xf32>
  return %0 : tensor<1x8xf32>
}
// CHECK-LABEL: func.func @single(
// CHECK:       scf.forall (%{{.*}}) in (3)
func.func @single(%x: tensor<1x1xf32>, %y: tensor<1x6xf32>) -> tensor<1x6xf32> {
  %w = arith.constant dense<[[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]]> : tensor<1x6xf32>
  %0 = linalg.matmul ins(%x, %w : tensor<1x1xf32>, tensor<1x6xf32>) outs(%y : tensor<1x6xf32>) -> tensor<1x6xf32>
  return %0 : tensor<1x6xf32>
}

// -----

// The two rows of a pair, which products of integers are summed over, lie side by side.
// CHECK-LABEL: func.func @pair_of_rows(
// CHECK:       arith.constant dense<{{\[\[\[\[}}1, 3], [2, 4]]], {{\[\[\[}}10, 30], [20, 40]]]]> : tensor<2x1x2x2xi8>
func.func @pair_of_rows(%x: tensor<1x1x2xi16>, %y: tensor<1x4xi32>) -> tensor<1x4xi32> {
  %w = arith.constant dense<[[[1, 2, 10, 20], [3, 4, 30, 40]]]> : tensor<1x2x4xi8>
  %0 = linalg.generic {indexing_maps = [affine_map<(m, n, k, two) -> (m, k, two)>, affine_map<(m, n, k, two) -> (k, two, n)>,
                                        affine_map<(m, n, k, two) -> (m, n)>],
                       iterator_types = ["parallel", "parallel", "reduction", "reduction"]}
      ins(%x, %w : tensor<1x1x2xi16>, tensor<1x2x4xi8>) outs(%y : tensor<1x4xi32>) {
  ^bb0(%a: i16, %b: i8, %c: i32):
    %na = arith.extsi %a : i16 to i32
    %nb = arith.extsi %b : i8 to i32
    %p = arith.muli %na, %nb : i32
    %s = arith.addi %c, %p : i32
    linalg.yield %s : i32
  } -> tensor<1x4xi32>
  return %0 : tensor<1x4xi32>
}

// -----

// What each iteration of a parallel loop reads of a constant lies together, here and where another function multiplies with all of it.
// CHECK-LABEL: func.func @slices(
// CHECK-SAME:    %[[X:[^:]*]]: tensor<4xf32>
// CHECK:       %[[PARTS:.*]] = arith.constant dense<{{\[\[\[}}0.0{{[^,]*}}, 1.0{{[^]]*}}], [1.0{{[^,]*}}e+01, 1.1{{[^]]*}}]], {{\[\[}}2.0{{[^,]*}}, 3.0{{[^]]*}}], [1.2{{[^,]*}}, 1.3{{[^]]*}}]]]> : tensor<2x2x2xf32>
// CHECK:       scf.forall (%[[I:.*]]) in (2)
// CHECK:         tensor.extract_slice %[[PARTS]][%[[I]], 0, 0] [1, 2, 2] [1, 1, 1] : tensor<2x2x2xf32> to tensor<2x2xf32>
// CHECK-LABEL: func.func @whole(
// CHECK:       linalg.generic {{.*}} ins(%{{.*}}, %{{.*}} : tensor<3x2xf32>, tensor<2x2x2xf32>)
func.func @slices(%x: tensor<4xf32>) -> tensor<4xf32> {
  %w = arith.constant dense<[[0.0, 1.0, 2.0, 3.0], [10.0, 11.0, 12.0, 13.0]]> : tensor<2x4xf32>
  %c2 = arith.constant 2 : index
  %0 = scf.forall (%i) in (2) shared_outs(%y = %x) -> tensor<4xf32> {
    %start = arith.muli %i, %c2 : index
    %part = tensor.extract_slice %w[0, %start] [2, 2] [1, 1] : tensor<2x4xf32> to tensor<2x2xf32>
    %own = tensor.extract_slice %y[%start] [2] [1] : tensor<4xf32> to tensor<2xf32>
    %sum = linalg.reduce ins(%part : tensor<2x2xf32>) outs(%own : tensor<2xf32>) dimensions = [0]
      (%a: f32, %b: f32) {
        %s = arith.addf %a, %b : f32
        linalg.yield %s : f32
      }
    scf.forall.in_parallel {
      tensor.parallel_insert_slice %sum into %y[%start] [2] [1] : tensor<2xf32> into tensor<4xf32>
    }
  }
  return %0 : tensor<4xf32>
}
func.func @whole(%x: tensor<3x2xf32>, %y: tensor<3x4xf32>) -> tensor<3x4xf32> {
  %w = arith.constant dense<[[0.0, 1.0, 2.0, 3.0], [10.0, 11.0, 12.0, 13.0]]> : tensor<2x4xf32>
  %0 = linalg.matmul ins(%x, %w : tensor<3x2xf32>, tensor<2x4xf32>) outs(%y : tensor<3x4xf32>) -> tensor<3x4xf32>
  return %0 : tensor<3x4xf32>
}

// -----

// Refused: slices of different widths.
// CHECK-LABEL: func.func @widths(
// CHECK:       tensor.extract_slice %{{.*}}[0, %{{.*}}] [2, 2] [1, 1] : tensor<2x4xf32> to tensor<2x2xf32>
// CHECK:       tensor.extract_slice %{{.*}}[0, %{{.*}}] [2, 1] [1, 1] : tensor<2x4xf32> to tensor<2x1xf32>
func.func @widths(%x: tensor<4xf32>) -> tensor<4xf32> {
  %w = arith.constant dense<[[0.0, 1.0, 2.0, 3.0], [10.0, 11.0, 12.0, 13.0]]> : tensor<2x4xf32>
  %c2 = arith.constant 2 : index
  %0 = scf.forall (%i) in (2) shared_outs(%y = %x) -> tensor<4xf32> {
    %start = arith.muli %i, %c2 : index
    %two = tensor.extract_slice %w[0, %start] [2, 2] [1, 1] : tensor<2x4xf32> to tensor<2x2xf32>
    %one = tensor.extract_slice %w[0, %start] [2, 1] [1, 1] : tensor<2x4xf32> to tensor<2x1xf32>
    %own = tensor.extract_slice %y[%start] [2] [1] : tensor<4xf32> to tensor<2xf32>
    %sum = linalg.generic {indexing_maps = [affine_map<(k, n) -> (k, n)>, affine_map<(k, n) -> (k, 0)>, affine_map<(k, n) -> (n)>],
                           iterator_types = ["reduction", "parallel"]}
        ins(%two, %one : tensor<2x2xf32>, tensor<2x1xf32>) outs(%own : tensor<2xf32>) {
    ^bb0(%a: f32, %b: f32, %c: f32):
      %s = arith.addf %a, %c : f32
      %t = arith.addf %b, %s : f32
      linalg.yield %t : f32
    } -> tensor<2xf32>
    scf.forall.in_parallel {
      tensor.parallel_insert_slice %sum into %y[%start] [2] [1] : tensor<2xf32> into tensor<4xf32>
    }
  }
  return %0 : tensor<4xf32>
}
