// RUN: rwkv-opt %s -rwkvc-fuse-into-parallel-loops -canonicalize -split-input-file | FileCheck %s
// RUN: rwkv-opt %s -rwkvc-fuse-into-parallel-loops=max-product-size=256 -canonicalize -split-input-file \
// RUN:   | FileCheck %s --check-prefix=SMALL

#row = affine_map<(d0) -> (d0)>
#mat = affine_map<(d0, d1) -> (d0, d1)>

// A loop over 4 heads of 8 channels takes in the exponential before it, through the reshape to heads, and the gate
// behind it.
// CHECK-LABEL: func.func @around(
// CHECK-SAME:    %[[X:[^:]*]]: tensor<32xf32>, %[[G:[^:]*]]: tensor<32xf32>)
// CHECK-NOT:   linalg
// CHECK:       %[[Y:.*]] = scf.forall (%[[H:.*]]) in (4) shared_outs(%[[O:.*]] = %{{.*}}) -> (tensor<32xf32>) {
// CHECK:         %[[AT:.*]] = arith.muli %[[H]]
// CHECK:         tensor.extract_slice %[[X]][%[[AT]]] [8]
// CHECK:         linalg.generic
// CHECK:           math.exp
// CHECK:         linalg.generic
// CHECK:           arith.negf
// CHECK:         tensor.extract_slice %[[G]]
// CHECK:         linalg.generic
// CHECK:           arith.mulf
// CHECK:         tensor.parallel_insert_slice %{{.*}} into %[[O]]{{.*}} : tensor<8xf32> into tensor<32xf32>
// CHECK-NOT:   linalg
// CHECK:       return %[[Y]]
func.func @around(%x: tensor<32xf32>, %gate: tensor<32xf32>) -> tensor<32xf32> {
  %flat = tensor.empty() : tensor<32xf32>
  %0 = linalg.generic {indexing_maps = [#row, #row], iterator_types = ["parallel"]}
      ins(%x : tensor<32xf32>) outs(%flat : tensor<32xf32>) {
  ^bb0(%a: f32, %b: f32):
    %r = math.exp %a : f32
    linalg.yield %r : f32
  } -> tensor<32xf32>
  %1 = tensor.expand_shape %0 [[0, 1]] output_shape [4, 8] : tensor<32xf32> into tensor<4x8xf32>
  %heads = tensor.empty() : tensor<4x8xf32>
  %2 = scf.forall (%h) in (4) shared_outs(%o = %heads) -> (tensor<4x8xf32>) {
    %in = tensor.extract_slice %1[%h, 0] [1, 8] [1, 1] : tensor<4x8xf32> to tensor<1x8xf32>
    %out = tensor.extract_slice %o[%h, 0] [1, 8] [1, 1] : tensor<4x8xf32> to tensor<1x8xf32>
    %y = linalg.generic {indexing_maps = [#mat, #mat], iterator_types = ["parallel", "parallel"]}
        ins(%in : tensor<1x8xf32>) outs(%out : tensor<1x8xf32>) {
    ^bb0(%a: f32, %b: f32):
      %r = arith.negf %a : f32
      linalg.yield %r : f32
    } -> tensor<1x8xf32>
    scf.forall.in_parallel {
      tensor.parallel_insert_slice %y into %o[%h, 0] [1, 8] [1, 1] : tensor<1x8xf32> into tensor<4x8xf32>
    }
  }
  %3 = tensor.collapse_shape %2 [[0, 1]] : tensor<4x8xf32> into tensor<32xf32>
  %4 = linalg.generic {indexing_maps = [#row, #row, #row], iterator_types = ["parallel"]}
      ins(%3, %gate : tensor<32xf32>, tensor<32xf32>) outs(%flat : tensor<32xf32>) {
  ^bb0(%a: f32, %g: f32, %b: f32):
    %r = arith.mulf %a, %g : f32
    linalg.yield %r : f32
  } -> tensor<32xf32>
  return %4 : tensor<32xf32>
}

// -----

#mat = affine_map<(d0, d1) -> (d0, d1)>
#first = affine_map<(d0, d1) -> (d0)>

// A norm over the channels of a head moves in with its sum; the filled destination of the sum is made anew in each
// iteration.
// CHECK-LABEL: func.func @norm(
// CHECK-NOT:   linalg
// CHECK:       scf.forall
// CHECK:         linalg.fill {{.*}} -> tensor<1xf32>
// CHECK:         linalg.generic {{.*}}["parallel", "reduction"]
// CHECK:         linalg.generic {{.*}}["parallel", "parallel"]
// CHECK:         tensor.parallel_insert_slice
// CHECK-NOT:   linalg
// CHECK:       return
func.func @norm(%x: tensor<4x8xf32>) -> tensor<4x8xf32> {
  %zero = arith.constant 0.0 : f32
  %heads = tensor.empty() : tensor<4x8xf32>
  %0 = scf.forall (%h) in (4) shared_outs(%o = %heads) -> (tensor<4x8xf32>) {
    %in = tensor.extract_slice %x[%h, 0] [1, 8] [1, 1] : tensor<4x8xf32> to tensor<1x8xf32>
    scf.forall.in_parallel {
      tensor.parallel_insert_slice %in into %o[%h, 0] [1, 8] [1, 1] : tensor<1x8xf32> into tensor<4x8xf32>
    }
  }
  %place = tensor.empty() : tensor<4xf32>
  %none = linalg.fill ins(%zero : f32) outs(%place : tensor<4xf32>) -> tensor<4xf32>
  %sum = linalg.generic {indexing_maps = [#mat, #first], iterator_types = ["parallel", "reduction"]}
      ins(%0 : tensor<4x8xf32>) outs(%none : tensor<4xf32>) {
  ^bb0(%a: f32, %b: f32):
    %s = arith.mulf %a, %a : f32
    %r = arith.addf %s, %b : f32
    linalg.yield %r : f32
  } -> tensor<4xf32>
  %1 = linalg.generic {indexing_maps = [#mat, #first, #mat], iterator_types = ["parallel", "parallel"]}
      ins(%0, %sum : tensor<4x8xf32>, tensor<4xf32>) outs(%heads : tensor<4x8xf32>) {
  ^bb0(%a: f32, %n: f32, %b: f32):
    %r = arith.divf %a, %n : f32
    linalg.yield %r : f32
  } -> tensor<4x8xf32>
  return %1 : tensor<4x8xf32>
}

// -----

#mat = affine_map<(d0, d1) -> (d0, d1)>

// What is read outside too becomes one more result. The position within the tensor stays what it was.
// CHECK-LABEL: func.func @shared(
// CHECK:       %[[R:.*]]:2 = scf.forall (%[[H:.*]]) in (4)
// CHECK:           arith.index_cast %[[H]]
// CHECK-DAG:     tensor.parallel_insert_slice
// CHECK-DAG:     tensor.parallel_insert_slice
// CHECK:       return %[[R]]#1, %[[R]]#0
func.func @shared() -> (tensor<4x8xf32>, tensor<4x8xf32>) {
  %heads = tensor.empty() : tensor<4x8xf32>
  %0 = linalg.generic {indexing_maps = [#mat], iterator_types = ["parallel", "parallel"]}
      outs(%heads : tensor<4x8xf32>) {
  ^bb0(%b: f32):
    %i = linalg.index 0 : index
    %n = arith.index_cast %i : index to i32
    %r = arith.sitofp %n : i32 to f32
    linalg.yield %r : f32
  } -> tensor<4x8xf32>
  %1 = scf.forall (%h) in (4) shared_outs(%o = %heads) -> (tensor<4x8xf32>) {
    %in = tensor.extract_slice %0[%h, 0] [1, 8] [1, 1] : tensor<4x8xf32> to tensor<1x8xf32>
    scf.forall.in_parallel {
      tensor.parallel_insert_slice %in into %o[%h, 0] [1, 8] [1, 1] : tensor<1x8xf32> into tensor<4x8xf32>
    }
  }
  return %0, %1 : tensor<4x8xf32>, tensor<4x8xf32>
}

// -----

#row = affine_map<(d0) -> (d0)>
#mat = affine_map<(d0, d1) -> (d0, d1)>
#second = affine_map<(d0, d1) -> (d1)>

// A product with a matrix stays before the loop, and a sum over what several iterations compute stays behind it.
// CHECK-LABEL: func.func @refused(
// CHECK:       %[[P:.*]] = linalg.generic {{.*}}["parallel", "reduction"]
// CHECK:       %[[Y:.*]] = scf.forall
// CHECK-NOT:     linalg
// CHECK:         tensor.parallel_insert_slice
// CHECK:       %[[S:.*]] = linalg.generic {{.*}}["reduction"]} ins(%[[Y]]
// CHECK:       return %[[S]]

// A small product may move in: its 32 x 8 multiplications are shared out.
// SMALL-LABEL: func.func @refused(
// SMALL:       scf.forall
// SMALL:         linalg.generic {{.*}}["parallel", "reduction"]} ins(%{{.*}} : tensor<8x8xf32>, tensor<8xf32>)
func.func @refused(%x: tensor<8xf32>) -> tensor<f32> {
  %w = arith.constant dense<0.5> : tensor<32x8xf32>
  %zero = arith.constant 0.0 : f32
  %flat = tensor.empty() : tensor<32xf32>
  %none = linalg.fill ins(%zero : f32) outs(%flat : tensor<32xf32>) -> tensor<32xf32>
  %0 = linalg.generic {indexing_maps = [#mat, #second, affine_map<(d0, d1) -> (d0)>],
                       iterator_types = ["parallel", "reduction"]}
      ins(%w, %x : tensor<32x8xf32>, tensor<8xf32>) outs(%none : tensor<32xf32>) {
  ^bb0(%a: f32, %c: f32, %b: f32):
    %p = arith.mulf %a, %c : f32
    %r = arith.addf %p, %b : f32
    linalg.yield %r : f32
  } -> tensor<32xf32>
  %1 = scf.forall (%h) = (0) to (32) step (8) shared_outs(%o = %flat) -> (tensor<32xf32>) {
    %in = tensor.extract_slice %0[%h] [8] [1] : tensor<32xf32> to tensor<8xf32>
    scf.forall.in_parallel {
      tensor.parallel_insert_slice %in into %o[%h] [8] [1] : tensor<8xf32> into tensor<32xf32>
    }
  }
  %place = tensor.empty() : tensor<f32>
  %start = linalg.fill ins(%zero : f32) outs(%place : tensor<f32>) -> tensor<f32>
  %2 = linalg.generic {indexing_maps = [#row, affine_map<(d0) -> ()>], iterator_types = ["reduction"]}
      ins(%1 : tensor<32xf32>) outs(%start : tensor<f32>) {
  ^bb0(%a: f32, %b: f32):
    %r = arith.addf %a, %b : f32
    linalg.yield %r : f32
  } -> tensor<f32>
  return %2 : tensor<f32>
}

// -----

#row = affine_map<(d0) -> (d0)>

// The sum needs something that is computed outside from the loop's result, so it cannot be in the loop itself.
// CHECK-LABEL: func.func @convex(
// CHECK:       %[[Y:.*]] = scf.forall
// CHECK-NOT:     linalg
// CHECK:       %[[S:.*]] = tensor.pad %[[Y]]
// CHECK:       linalg.generic
// CHECK:         arith.addf
func.func @convex(%x: tensor<32xf32>) -> tensor<32xf32> {
  %zero = arith.constant 0.0 : f32
  %flat = tensor.empty() : tensor<32xf32>
  %0 = scf.forall (%h) = (0) to (32) step (8) shared_outs(%o = %flat) -> (tensor<32xf32>) {
    %in = tensor.extract_slice %x[%h] [8] [1] : tensor<32xf32> to tensor<8xf32>
    scf.forall.in_parallel {
      tensor.parallel_insert_slice %in into %o[%h] [8] [1] : tensor<8xf32> into tensor<32xf32>
    }
  }
  %padded = tensor.pad %0 low[1] high[0] {
  ^bb0(%i: index):
    tensor.yield %zero : f32
  } : tensor<32xf32> to tensor<33xf32>
  %shifted = tensor.extract_slice %padded[0] [32] [1] : tensor<33xf32> to tensor<32xf32>
  %1 = linalg.generic {indexing_maps = [#row, #row, #row], iterator_types = ["parallel"]}
      ins(%0, %shifted : tensor<32xf32>, tensor<32xf32>) outs(%flat : tensor<32xf32>) {
  ^bb0(%a: f32, %c: f32, %b: f32):
    %r = arith.addf %a, %c : f32
    linalg.yield %r : f32
  } -> tensor<32xf32>
  return %1 : tensor<32xf32>
}

// -----

#row = affine_map<(d0) -> (d0)>
#mat = affine_map<(d0, d1) -> (d0, d1)>

// The reshape of the updated state stays outside: the state's own tensor remains the destination.
// CHECK-LABEL: func.func @state(
// CHECK-SAME:    %{{[^:]*}}: tensor<32xf32>, %[[S:[^:]*]]: tensor<4x8xf32>)
// CHECK:       %[[Y:.*]]:2 = scf.forall {{.*}} shared_outs(%{{.*}} = %[[S]], %{{.*}} = %{{.*}}) -> (tensor<4x8xf32>, tensor<4x8xf32>)
// CHECK:           math.exp
// CHECK:       tensor.collapse_shape %[[Y]]#0
func.func @state(%x: tensor<32xf32>, %state: tensor<4x8xf32>) -> (tensor<4x8xf32>, tensor<32xf32>) {
  %heads = tensor.empty() : tensor<4x8xf32>
  %0:2 = scf.forall (%h) in (4) shared_outs(%s = %state, %o = %heads) -> (tensor<4x8xf32>, tensor<4x8xf32>) {
    %in = tensor.extract_slice %s[%h, 0] [1, 8] [1, 1] : tensor<4x8xf32> to tensor<1x8xf32>
    %y = linalg.generic {indexing_maps = [#mat], iterator_types = ["parallel", "parallel"]}
        outs(%in : tensor<1x8xf32>) {
    ^bb0(%b: f32):
      %r = arith.negf %b : f32
      linalg.yield %r : f32
    } -> tensor<1x8xf32>
    scf.forall.in_parallel {
      tensor.parallel_insert_slice %y into %s[%h, 0] [1, 8] [1, 1] : tensor<1x8xf32> into tensor<4x8xf32>
      tensor.parallel_insert_slice %y into %o[%h, 0] [1, 8] [1, 1] : tensor<1x8xf32> into tensor<4x8xf32>
    }
  }
  %1 = linalg.generic {indexing_maps = [#mat, #mat], iterator_types = ["parallel", "parallel"]}
      ins(%0#1 : tensor<4x8xf32>) outs(%heads : tensor<4x8xf32>) {
  ^bb0(%a: f32, %b: f32):
    %r = math.exp %a : f32
    linalg.yield %r : f32
  } -> tensor<4x8xf32>
  %2 = tensor.collapse_shape %0#0 [[0, 1]] : tensor<4x8xf32> into tensor<32xf32>
  return %1, %2 : tensor<4x8xf32>, tensor<32xf32>
}

// -----

#row = affine_map<(d0) -> (d0)>

// Iterations of unequal size are left alone.
// CHECK-LABEL: func.func @uneven(
// CHECK:       linalg.generic
// CHECK:         math.exp
// CHECK:       scf.forall
func.func @uneven(%x: tensor<30xf32>) -> tensor<30xf32> {
  %flat = tensor.empty() : tensor<30xf32>
  %0 = linalg.generic {indexing_maps = [#row, #row], iterator_types = ["parallel"]}
      ins(%x : tensor<30xf32>) outs(%flat : tensor<30xf32>) {
  ^bb0(%a: f32, %b: f32):
    %r = math.exp %a : f32
    linalg.yield %r : f32
  } -> tensor<30xf32>
  %1 = scf.forall (%h) = (0) to (30) step (8) shared_outs(%o = %flat) -> (tensor<30xf32>) {
    %n = affine.min affine_map<(d0) -> (8, 30 - d0)>(%h)
    %in = tensor.extract_slice %0[%h] [%n] [1] : tensor<30xf32> to tensor<?xf32>
    scf.forall.in_parallel {
      tensor.parallel_insert_slice %in into %o[%h] [%n] [1] : tensor<?xf32> into tensor<30xf32>
    }
  }
  return %1 : tensor<30xf32>
}

// -----

#row = affine_map<(d0) -> (d0)>

// An index counts over the whole tensor: in an iteration, from where its part begins.
// CHECK-LABEL: func.func @index(
// CHECK:       scf.forall (%[[I:.*]]) = (0) to (32) step (8)
// CHECK:         linalg.generic
// CHECK:           %[[N:.*]] = linalg.index 0
// CHECK:           arith.addi %[[N]], %[[I]]
func.func @index() -> tensor<32xi32> {
  %flat = tensor.empty() : tensor<32xi32>
  %0 = linalg.generic {indexing_maps = [#row], iterator_types = ["parallel"]} outs(%flat : tensor<32xi32>) {
  ^bb0(%b: i32):
    %i = linalg.index 0 : index
    %n = arith.index_cast %i : index to i32
    linalg.yield %n : i32
  } -> tensor<32xi32>
  %1 = scf.forall (%h) = (0) to (32) step (8) shared_outs(%o = %flat) -> (tensor<32xi32>) {
    %in = tensor.extract_slice %0[%h] [8] [1] : tensor<32xi32> to tensor<8xi32>
    scf.forall.in_parallel {
      tensor.parallel_insert_slice %in into %o[%h] [8] [1] : tensor<8xi32> into tensor<32xi32>
    }
  }
  return %1 : tensor<32xi32>
}

// -----

#flat = affine_map<(d0) -> (d0)>

// A loop over numbers of parts splits an axis as one over their first elements does.
// CHECK-LABEL: func.func @numbered_parts(
// CHECK-NOT:   linalg
// CHECK:       scf.forall (%[[I:.*]]) in (4)
// CHECK:         linalg.generic
// CHECK:           arith.negf
// CHECK:         linalg.generic
// CHECK:           math.exp
// CHECK:         %[[AT:.*]] = arith.muli %[[I]], %c8
// CHECK:         tensor.parallel_insert_slice %{{.*}} into %{{.*}}[%[[AT]]] [8] [1]
// CHECK-NOT:   linalg
// CHECK:       return
func.func @numbered_parts(%x: tensor<32xf32>) -> tensor<32xf32> {
  %c8 = arith.constant 8 : index
  %e = tensor.empty() : tensor<32xf32>
  %0 = scf.forall (%i) in (4) shared_outs(%o = %e) -> (tensor<32xf32>) {
    %t = arith.muli %i, %c8 : index
    %in = tensor.extract_slice %x[%t] [8] [1] : tensor<32xf32> to tensor<8xf32>
    %out = tensor.extract_slice %o[%t] [8] [1] : tensor<32xf32> to tensor<8xf32>
    %y = linalg.generic {indexing_maps = [#flat, #flat], iterator_types = ["parallel"]}
        ins(%in : tensor<8xf32>) outs(%out : tensor<8xf32>) {
    ^bb0(%a: f32, %b: f32):
      %r = arith.negf %a : f32
      linalg.yield %r : f32
    } -> tensor<8xf32>
    scf.forall.in_parallel {
      tensor.parallel_insert_slice %y into %o[%t] [8] [1] : tensor<8xf32> into tensor<32xf32>
    }
  }
  %1 = linalg.generic {indexing_maps = [#flat, #flat], iterator_types = ["parallel"]}
      ins(%0 : tensor<32xf32>) outs(%e : tensor<32xf32>) {
  ^bb0(%a: f32, %b: f32):
    %r = math.exp %a : f32
    linalg.yield %r : f32
  } -> tensor<32xf32>
  return %1 : tensor<32xf32>
}
