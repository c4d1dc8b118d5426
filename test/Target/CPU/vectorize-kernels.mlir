// RUN: rwkv-opt %s -cpu-vectorize-kernels -canonicalize -cse | FileCheck %s
// RUN: rwkv-opt %s -cpu-vectorize-kernels=vector-bits=128 -canonicalize -cse | FileCheck %s --check-prefix=BITS128

#v = affine_map<(d0) -> (d0)>
#k = affine_map<(n, k) -> (k)>
#n = affine_map<(n, k) -> (n)>
#nk = affine_map<(n, k) -> (n, k)>
#kn = affine_map<(n, k) -> (k, n)>

// Two vectors side by side, and single elements for the rest.
// CHECK-LABEL: func.func @elementwise
// BITS128-LABEL: func.func @elementwise
// CHECK-COUNT-2: vector.load {{.*}} vector<8xf32>
// CHECK-COUNT-2: vector.store {{.*}} vector<8xf32>
// CHECK:         scf.for %{{.*}} = %c16 to %c20 step %c1
// CHECK:           memref.load
// CHECK:           memref.store
// BITS128:       vector.load {{.*}} vector<4xf32>
func.func @elementwise(%x: memref<20xf32>, %y: memref<20xf32>) {
  linalg.generic {indexing_maps = [#v, #v], iterator_types = ["parallel"]}
      ins(%x : memref<20xf32>) outs(%y : memref<20xf32>) {
  ^bb0(%a: f32, %o: f32):
    %r = arith.mulf %a, %a : f32
    linalg.yield %r : f32
  }
  return
}

// Fewer elements than lanes: the vector becomes as short. Below four there is nothing to gain.
// CHECK-LABEL: func.func @short
// CHECK:       vector.load {{.*}} vector<4xf32>
// CHECK-LABEL: func.func @too_short
// CHECK-NOT:   vector
func.func @short(%x: memref<5xf32>, %y: memref<5xf32>) {
  linalg.copy ins(%x : memref<5xf32>) outs(%y : memref<5xf32>)
  return
}
func.func @too_short(%x: memref<3xf32>, %y: memref<3xf32>) {
  linalg.copy ins(%x : memref<3xf32>) outs(%y : memref<3xf32>)
  return
}

// A reduction over rows keeps vector accumulators; each row's element is loaded once for all of them. Two accumulators
// have four partial sums each.
// CHECK-LABEL: func.func @lane_parallel
// CHECK:       %[[Y:.*]]:8 = scf.for %{{.*}} = %c0 to %c16 step %c4
// CHECK-COUNT-4: memref.load
// CHECK-NOT:     memref.load
// CHECK:         arith.mulf {{.*}} fastmath<contract> : vector<8xf32>
// CHECK:         arith.addf {{.*}} fastmath<contract> : vector<8xf32>
// CHECK:         scf.yield
// CHECK-DAG:   %[[A:.*]] = arith.addf %[[Y]]#0, %[[Y]]#4
// CHECK-DAG:   %[[B:.*]] = arith.addf %[[Y]]#2, %[[Y]]#6
// CHECK:       %[[SUM:.*]] = arith.addf %[[A]], %[[B]]
// CHECK:       vector.store %[[SUM]]
func.func @lane_parallel(%x: memref<16xf32>, %w: memref<16x16xf32>, %y: memref<16xf32>) {
  linalg.vecmat ins(%x, %w : memref<16xf32>, memref<16x16xf32>) outs(%y : memref<16xf32>)
  return
}

// A large matrix is fetched ahead, a line for each two vectors of 32 bytes; a small one, as above, is there already.
// CHECK-LABEL: func.func @large_matrix
// CHECK:         memref.prefetch %{{.*}}[%{{.*}}], read, locality<3>, data : memref<4096xf32>
// CHECK-NEXT:    vector.load
// CHECK-NOT:     memref.prefetch
// CHECK:         vector.load
// CHECK:         scf.yield
func.func @large_matrix(%x: memref<256xf32>, %w: memref<256x16xf32>, %y: memref<16xf32>) {
  linalg.vecmat ins(%x, %w : memref<256xf32>, memref<256x16xf32>) outs(%y : memref<16xf32>)
  return
}

// A matrix of 4 KB, which the next iteration's follows: that is fetched, and not what comes 8 KB further on.
// CHECK-LABEL: func.func @slices
// CHECK:       scf.for
// CHECK:           %[[PLACE:.*]] = arith.muli %{{.*}}, %c16
// CHECK:           %[[NEXT:.*]] = arith.addi %[[PLACE]], %c1024
// CHECK-NEXT:      memref.prefetch %{{.*}}[%[[NEXT]]], read, locality<3>, data
func.func @slices(%x: memref<64xf32>, %w: memref<4x64x16xf32>, %y: memref<4x16xf32>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c4 = arith.constant 4 : index
  scf.for %i = %c0 to %c4 step %c1 {
    %part = memref.subview %w[%i, 0, 0] [1, 64, 16] [1, 1, 1] : memref<4x64x16xf32> to memref<64x16xf32, strided<[16, 1], offset: ?>>
    %row = memref.subview %y[%i, 0] [1, 16] [1, 1] : memref<4x16xf32> to memref<16xf32, strided<[1], offset: ?>>
    linalg.vecmat ins(%x, %part : memref<64xf32>, memref<64x16xf32, strided<[16, 1], offset: ?>>)
                  outs(%row : memref<16xf32, strided<[1], offset: ?>>)
  }
  return
}

// A reduction along the lanes: vectors, a horizontal sum to which the old value is added, then single elements.
// CHECK-LABEL: func.func @lane_reduction
// CHECK:       vector.load {{.*}} vector<8xf32>
// CHECK:       %[[OLD:.*]] = memref.load
// CHECK:       %[[SUM:.*]] = vector.reduction <add>, %{{.*}} : vector<8xf32> into f32
// CHECK:       arith.addf %[[SUM]], %[[OLD]] : f32
// CHECK:       scf.for %{{.*}} = %c16 to %c21 step %c1 iter_args
// CHECK:         memref.load
// CHECK:       memref.store
func.func @lane_reduction(%x: memref<21xf32>, %w: memref<4x21xf32>, %y: memref<4xf32>) {
  linalg.matvec ins(%w, %x : memref<4x21xf32>, memref<21xf32>) outs(%y : memref<4xf32>)
  return
}

// A wide matrix is streamed: eight rows side by side over a chunk of columns, then the remaining rows one by one.
// Half-precision weights are widened in registers.
// CHECK-LABEL: func.func @streamed
// CHECK:       scf.for %{{.*}} = %c0 to %c4 step %c1
// CHECK:         scf.for %{{.*}} = %c0 to %c16 step %c8
// CHECK-COUNT-8: memref.load
// CHECK:           scf.for %{{.*}} step %c8
// CHECK-COUNT-8:     vector.load {{.*}} vector<8xf16>
// CHECK:             vector.store
// CHECK:         scf.for %{{.*}} = %c16 to %c20 step %c1
// CHECK:           vector.load {{.*}} vector<8xf16>
// CHECK-NEXT:      arith.extf {{.*}} : vector<8xf16> to vector<8xf32>
func.func @streamed(%x: memref<20xf32>, %w: memref<20x256xf16>, %y: memref<256xf32>) {
  linalg.generic {indexing_maps = [#k, #kn, #n], iterator_types = ["parallel", "reduction"]}
      ins(%x, %w : memref<20xf32>, memref<20x256xf16>) outs(%y : memref<256xf32>) {
  ^bb0(%a: f32, %h: f16, %o: f32):
    %b = arith.extf %h : f16 to f32
    %p = arith.mulf %a, %b : f32
    %r = arith.addf %o, %p : f32
    linalg.yield %r : f32
  }
  return
}

// Rows of a table, picked by a number that does not depend on the lane.
// CHECK-LABEL: func.func @gather_rows
// CHECK:       %[[T:.*]] = memref.load %{{.*}} : memref<3xi64>
// CHECK:       %[[I:.*]] = arith.index_cast %[[T]] : i64 to index
// CHECK-COUNT-2: vector.load %{{.*}}[%[[I]], %{{.*}}] : memref<50x16xf32>, vector<8xf32>
func.func @gather_rows(%table: memref<50x16xf32>, %t: memref<3xi64>, %y: memref<3x16xf32>) {
  linalg.generic {indexing_maps = [#n, #nk], iterator_types = ["parallel", "parallel"]}
      ins(%t : memref<3xi64>) outs(%y : memref<3x16xf32>) {
  ^bb0(%a: i64, %o: f32):
    %i = arith.index_cast %a : i64 to index
    %j = linalg.index 1 : index
    %v = memref.load %table[%i, %j] : memref<50x16xf32>
    linalg.yield %v : f32
  }
  return
}

// Each lane from a place of its own: scalar loops.
// CHECK-LABEL: func.func @gather_elements
// CHECK-NOT:   vector
// CHECK:       scf.for
// CHECK:         memref.load %{{.*}} : memref<50xf32>
func.func @gather_elements(%table: memref<50xf32>, %t: memref<16xi64>, %y: memref<16xf32>) {
  linalg.generic {indexing_maps = [#v, #v], iterator_types = ["parallel"]}
      ins(%t : memref<16xi64>) outs(%y : memref<16xf32>) {
  ^bb0(%a: i64, %o: f32):
    %i = arith.index_cast %a : i64 to index
    %v = memref.load %table[%i] : memref<50xf32>
    linalg.yield %v : f32
  }
  return
}

// Booleans take a byte in memory but a bit in a vector: scalar loops.
// CHECK-LABEL: func.func @booleans
// CHECK-NOT:   vector
// CHECK:       memref.store %{{.*}} : memref<16xi1>
func.func @booleans(%x: memref<16xf32>, %y: memref<16xi1>) {
  linalg.generic {indexing_maps = [#v, #v], iterator_types = ["parallel"]}
      ins(%x : memref<16xf32>) outs(%y : memref<16xi1>) {
  ^bb0(%a: f32, %o: i1):
    %r = arith.cmpf une, %a, %a : f32
    linalg.yield %r : i1
  }
  return
}

// Control flow in the body, an index that is not linear, a dynamic size: scalar loops.
// CHECK-LABEL: func.func @control_flow
// CHECK-NOT:   vector
// CHECK:       scf.if
func.func @control_flow(%x: memref<16xf32>, %y: memref<16xf32>) {
  %zero = arith.constant 0.0 : f32
  linalg.generic {indexing_maps = [#v, #v], iterator_types = ["parallel"]}
      ins(%x : memref<16xf32>) outs(%y : memref<16xf32>) {
  ^bb0(%a: f32, %o: f32):
    %c = arith.cmpf olt, %a, %zero : f32
    %r = scf.if %c -> f32 {
      %e = math.exp %a : f32
      scf.yield %e : f32
    } else {
      scf.yield %a : f32
    }
    linalg.yield %r : f32
  }
  return
}
// CHECK-LABEL: func.func @not_linear
// CHECK-NOT:   vector
// CHECK:       memref.store
func.func @not_linear(%x: memref<4xf32>, %y: memref<16xf32>) {
  linalg.generic {indexing_maps = [affine_map<(d0) -> (d0 mod 4)>, #v], iterator_types = ["parallel"]}
      ins(%x : memref<4xf32>) outs(%y : memref<16xf32>) {
  ^bb0(%a: f32, %o: f32):
    linalg.yield %a : f32
  }
  return
}
// CHECK-LABEL: func.func @dynamic
// CHECK-NOT:   vector
// CHECK:       memref.store
func.func @dynamic(%x: memref<?xf32>, %y: memref<?xf32>) {
  linalg.copy ins(%x : memref<?xf32>) outs(%y : memref<?xf32>)
  return
}

// A body that is no plain sum along its reduction must stay in order: lanes go along the other loop, gathered.
// CHECK-LABEL: func.func @ordered
// CHECK-NOT:   vector.reduction
// CHECK:       vector.from_elements
// CHECK-NOT:   vector.reduction
// CHECK:       return
func.func @ordered(%w: memref<8x21xf32>, %y: memref<8xf32>) {
  linalg.generic {indexing_maps = [#nk, #n], iterator_types = ["parallel", "reduction"]}
      ins(%w : memref<8x21xf32>) outs(%y : memref<8xf32>) {
  ^bb0(%a: f32, %o: f32):
    %p = arith.mulf %o, %a : f32
    %r = arith.addf %p, %a : f32
    linalg.yield %r : f32
  }
  return
}

#blocks = affine_map<(n, k, j) -> (k, j)>
#numbers = affine_map<(n, k, j) -> (k, j, n)>
#scales = affine_map<(n, k, j) -> (k, n)>
#columns = affine_map<(n, k, j) -> (n)>

// What does not change along the inner sum leaves it: once for each block the scale is loaded, widened and multiplied
// with.
// CHECK-LABEL: func.func @common_factor
// CHECK:       scf.for {{.*}} iter_args(%[[Y:.*]] = %{{.*}}) -> (vector<8xf32>)
// CHECK:         %[[SUM:.*]] = scf.for {{.*}} iter_args(%[[S:.*]] = %{{.*}}) -> (vector<8xf32>)
// CHECK-NOT:       bf16
// CHECK:           %[[N:.*]] = arith.sitofp %{{.*}} : vector<8xi8> to vector<8xf32>
// CHECK:           %[[P:.*]] = arith.mulf %{{.*}}, %[[N]] fastmath<contract>
// CHECK:           %[[T:.*]] = arith.addf %[[S]], %[[P]] fastmath<contract>
// CHECK:           scf.yield %[[T]]
// CHECK:         %[[SCALE:.*]] = arith.extf %{{.*}} : vector<8xbf16> to vector<8xf32>
// CHECK:         %[[TERM:.*]] = arith.mulf %[[SUM]], %[[SCALE]] fastmath<contract>
// CHECK:         arith.addf %[[Y]], %[[TERM]] fastmath<contract>
func.func @common_factor(%x: memref<3x4xf32>, %q: memref<3x4x8xi8>, %s: memref<3x8xbf16>, %y: memref<8xf32>) {
  linalg.generic {indexing_maps = [#blocks, #numbers, #scales, #columns], iterator_types = ["parallel", "reduction", "reduction"]}
      ins(%x, %q, %s : memref<3x4xf32>, memref<3x4x8xi8>, memref<3x8xbf16>) outs(%y : memref<8xf32>) {
  ^bb0(%a: f32, %b: i8, %c: bf16, %d: f32):
    %n = arith.sitofp %b : i8 to f32
    %p = arith.mulf %a, %n : f32
    %f = arith.extf %c : bf16 to f32
    %t = arith.mulf %p, %f : f32
    %r = arith.addf %d, %t : f32
    linalg.yield %r : f32
  }
  return
}

// Several terms that the factor multiplies are added one by one; a factor that changes along the inner sum stays in it.
// CHECK-LABEL: func.func @common_factor_of_terms
// CHECK:       scf.for
// CHECK:       %[[SUM:.*]] = scf.for {{.*}} iter_args(%[[S:.*]] = %{{.*}}) -> (vector<8xf32>)
// CHECK:         %[[P0:.*]] = arith.mulf
// CHECK:         %[[P1:.*]] = arith.mulf
// CHECK:         %[[T0:.*]] = arith.addf %[[S]], %[[P0]]
// CHECK:         %[[T1:.*]] = arith.addf %[[T0]], %[[P1]]
// CHECK:         scf.yield %[[T1]]
// CHECK:       arith.mulf %{{.*}}, %[[SUM]]
// CHECK-LABEL: func.func @changing_factor
// CHECK:       scf.for
// CHECK:         scf.for {{.*}} iter_args(%[[S:.*]] = %{{.*}}) -> (vector<8xf32>)
// CHECK:           %[[P:.*]] = arith.mulf
// CHECK:           %[[T:.*]] = arith.mulf %{{.*}}, %[[P]]
// CHECK:           arith.addf %[[S]], %[[T]]
func.func @common_factor_of_terms(%x: memref<3x4xf32>, %q: memref<3x4x8xf32>, %s: memref<3x8xf32>, %y: memref<8xf32>) {
  linalg.generic {indexing_maps = [#blocks, #blocks, #numbers, #scales, #columns], iterator_types = ["parallel", "reduction", "reduction"]}
      ins(%x, %x, %q, %s : memref<3x4xf32>, memref<3x4xf32>, memref<3x4x8xf32>, memref<3x8xf32>) outs(%y : memref<8xf32>) {
  ^bb0(%a: f32, %e: f32, %b: f32, %c: f32, %d: f32):
    %p = arith.mulf %a, %b : f32
    %m = math.absf %b : f32
    %g = arith.mulf %e, %m : f32
    %h = arith.addf %p, %g : f32
    %t = arith.mulf %c, %h : f32
    %r = arith.addf %t, %d : f32
    linalg.yield %r : f32
  }
  return
}
func.func @changing_factor(%x: memref<3x4xf32>, %q: memref<3x4x8xf32>, %y: memref<8xf32>) {
  linalg.generic {indexing_maps = [#blocks, #numbers, #columns], iterator_types = ["parallel", "reduction", "reduction"]}
      ins(%x, %q : memref<3x4xf32>, memref<3x4x8xf32>) outs(%y : memref<8xf32>) {
  ^bb0(%a: f32, %b: f32, %d: f32):
    %p = arith.mulf %a, %b : f32
    %t = arith.mulf %a, %p : f32
    %r = arith.addf %d, %t : f32
    linalg.yield %r : f32
  }
  return
}

// Two rows side by side: lanes hold both, whose products are added before anything else. The activation's pair is
// broadcast as one number. Where the two do not lie side by side, they are two steps of a sum.
// CHECK-LABEL: func.func @pairs
// CHECK:       scf.for {{.*}} iter_args(%[[Y:.*]] = %{{.*}}) -> (vector<8xf32>)
// CHECK:         %[[SUM:.*]] = scf.for {{.*}} iter_args(%[[S:.*]] = %{{.*}}) -> (vector<8xi32>)
// CHECK-DAG:       %[[PAIR:.*]] = vector.load %{{.*}} : {{.*}}, vector<2xi16>
// CHECK-DAG:       vector.bitcast %[[PAIR]] : vector<2xi16> to vector<1xi32>
// CHECK-DAG:       %[[ALL:.*]] = vector.bitcast %{{.*}} : vector<8xi32> to vector<16xi16>
// CHECK-DAG:       vector.load %{{.*}} : {{.*}}, vector<16xi8>
// CHECK:           %[[P:.*]] = arith.muli %{{.*}}, %{{.*}} : vector<16xi32>
// CHECK:           %[[A:.*]], %[[B:.*]] = vector.deinterleave %[[P]] : vector<16xi32> -> vector<8xi32>
// CHECK:           %[[AB:.*]] = arith.addi %[[A]], %[[B]]
// CHECK:           arith.addi %[[S]], %[[AB]]
// CHECK:         %[[F:.*]] = arith.sitofp %[[SUM]] : vector<8xi32> to vector<8xf32>
// CHECK:         arith.mulf %[[F]],
// A zero point is subtracted from a block's sum, as it is times the sum of the activations, which is computed once.
// CHECK-LABEL: func.func @pairs_with_zeros
// CHECK:       %[[SUMS:.*]] = memref.alloca() {alignment = 64 : i64} : memref<3xi32>
// CHECK:       scf.for %[[BLOCK:.*]] = %{{.*}} to %{{.*}} step %{{.*}} {
// CHECK:         %[[ROWS:.*]] = vector.load %{{.*}} : {{.*}}, vector<8xi16>
// CHECK:         %[[WIDE:.*]] = arith.extsi %[[ROWS]] : vector<8xi16> to vector<8xi32>
// CHECK:         %[[SUM:.*]] = vector.reduction <add>, %[[WIDE]] : vector<8xi32> into i32
// CHECK:         memref.store %[[SUM]], %[[SUMS]][%[[BLOCK]]]
// CHECK-NOT:   arith.subi
// CHECK:       vector.deinterleave %{{.*}} : vector<16xi32> -> vector<8xi32>
// CHECK:       %[[OFBLOCK:.*]] = memref.load %[[SUMS]]
// CHECK:       %[[ALL:.*]] = vector.broadcast %[[OFBLOCK]] : i32 to vector<8xi32>
// CHECK:       %[[ZW:.*]] = arith.extui %{{.*}} : vector<8xi8> to vector<8xi32>
// CHECK:       %[[LESS:.*]] = arith.muli %[[ALL]], %[[ZW]]
// CHECK:       arith.subi %{{.*}}, %[[LESS]] : vector<8xi32>
// Where the activations are written in the same function, or there are several rows, it is subtracted from the weights; it is there
// twice, for both of a pair.
// CHECK-LABEL: func.func @written_with_zeros
// CHECK-NOT:   memref.alloca
// CHECK:       arith.subi %{{.*}}, %{{.*}} : vector<16xi16>
// CHECK-LABEL: func.func @rows_with_zeros
// CHECK-NOT:   memref.alloca
// CHECK:       %[[Z:.*]] = vector.load %{{.*}} : {{.*}}, vector<8xi8>
// CHECK:       vector.interleave %[[Z]], %[[Z]] : vector<8xi8> -> vector<16xi8>
// CHECK:       arith.subi %{{.*}}, %{{.*}} : vector<16xi16>
// CHECK:       vector.deinterleave %{{.*}} : vector<16xi32> -> vector<8xi32>
// CHECK-LABEL: func.func @pairs_apart
// CHECK-NOT:   vector.deinterleave
// CHECK:       return
#pairs = affine_map<(n, b, k, two) -> (b, k, two)>
#side_by_side = affine_map<(n, b, k, two) -> (b, k, n, two)>
#apart = affine_map<(n, b, k, two) -> (b, k, two, n)>
#scale = affine_map<(n, b, k, two) -> (b, n)>
#sum = affine_map<(n, b, k, two) -> (n)>
func.func @pairs(%x: memref<3x4x2xi16>, %q: memref<3x4x8x2xi8>, %s: memref<3x8xf32>, %y: memref<8xf32>) {
  linalg.generic {indexing_maps = [#pairs, #side_by_side, #scale, #sum], iterator_types = ["parallel", "reduction", "reduction", "reduction"]}
      ins(%x, %q, %s : memref<3x4x2xi16>, memref<3x4x8x2xi8>, memref<3x8xf32>) outs(%y : memref<8xf32>) {
  ^bb0(%a: i16, %b: i8, %c: f32, %d: f32):
    %na = arith.extsi %a : i16 to i32
    %nb = arith.extsi %b : i8 to i32
    %p = arith.muli %na, %nb : i32
    %f = arith.sitofp %p : i32 to f32
    %t = arith.mulf %f, %c : f32
    %r = arith.addf %d, %t : f32
    linalg.yield %r : f32
  }
  return
}
func.func @pairs_with_zeros(%x: memref<3x4x2xi16>, %q: memref<3x4x24x2xi8>, %s: memref<3x24xf32>, %z: memref<3x24xi8>, %y: memref<24xf32>) {
  linalg.generic {indexing_maps = [#pairs, #side_by_side, #scale, #scale, #sum], iterator_types = ["parallel", "reduction", "reduction", "reduction"]}
      ins(%x, %q, %s, %z : memref<3x4x2xi16>, memref<3x4x24x2xi8>, memref<3x24xf32>, memref<3x24xi8>) outs(%y : memref<24xf32>) {
  ^bb0(%a: i16, %b: i8, %c: f32, %i: i8, %d: f32):
    %number = arith.extui %b : i8 to i16
    %zero = arith.extui %i : i8 to i16
    %w = arith.subi %number, %zero : i16
    %na = arith.extsi %a : i16 to i32
    %nb = arith.extsi %w : i16 to i32
    %p = arith.muli %na, %nb : i32
    %f = arith.sitofp %p : i32 to f32
    %t = arith.mulf %f, %c : f32
    %r = arith.addf %d, %t : f32
    linalg.yield %r : f32
  }
  return
}
func.func @written_with_zeros(%x: memref<3x4x2xi16>, %q: memref<3x4x24x2xi8>, %s: memref<3x24xf32>, %z: memref<3x24xi8>, %y: memref<24xf32>) {
  %one = arith.constant 1 : i16
  linalg.fill ins(%one : i16) outs(%x : memref<3x4x2xi16>)
  linalg.generic {indexing_maps = [#pairs, #side_by_side, #scale, #scale, #sum], iterator_types = ["parallel", "reduction", "reduction", "reduction"]}
      ins(%x, %q, %s, %z : memref<3x4x2xi16>, memref<3x4x24x2xi8>, memref<3x24xf32>, memref<3x24xi8>) outs(%y : memref<24xf32>) {
  ^bb0(%a: i16, %b: i8, %c: f32, %i: i8, %d: f32):
    %number = arith.extui %b : i8 to i16
    %zero = arith.extui %i : i8 to i16
    %w = arith.subi %number, %zero : i16
    %na = arith.extsi %a : i16 to i32
    %nb = arith.extsi %w : i16 to i32
    %p = arith.muli %na, %nb : i32
    %f = arith.sitofp %p : i32 to f32
    %t = arith.mulf %f, %c : f32
    %r = arith.addf %d, %t : f32
    linalg.yield %r : f32
  }
  return
}
#rows_of_pairs = affine_map<(m, n, b, k, two) -> (m, b, k, two)>
#shared_pairs = affine_map<(m, n, b, k, two) -> (b, k, n, two)>
#shared_scale = affine_map<(m, n, b, k, two) -> (b, n)>
#rows_sum = affine_map<(m, n, b, k, two) -> (m, n)>
func.func @rows_with_zeros(%x: memref<4x3x4x2xi16>, %q: memref<3x4x24x2xi8>, %s: memref<3x24xf32>, %z: memref<3x24xi8>, %y: memref<4x24xf32>) {
  linalg.generic {indexing_maps = [#rows_of_pairs, #shared_pairs, #shared_scale, #shared_scale, #rows_sum], iterator_types = ["parallel", "parallel", "reduction", "reduction", "reduction"]}
      ins(%x, %q, %s, %z : memref<4x3x4x2xi16>, memref<3x4x24x2xi8>, memref<3x24xf32>, memref<3x24xi8>) outs(%y : memref<4x24xf32>) {
  ^bb0(%a: i16, %b: i8, %c: f32, %i: i8, %d: f32):
    %number = arith.extui %b : i8 to i16
    %zero = arith.extui %i : i8 to i16
    %w = arith.subi %number, %zero : i16
    %na = arith.extsi %a : i16 to i32
    %nb = arith.extsi %w : i16 to i32
    %p = arith.muli %na, %nb : i32
    %f = arith.sitofp %p : i32 to f32
    %t = arith.mulf %f, %c : f32
    %r = arith.addf %d, %t : f32
    linalg.yield %r : f32
  }
  return
}
func.func @pairs_apart(%x: memref<3x4x2xi16>, %q: memref<3x4x2x8xi8>, %s: memref<3x8xf32>, %y: memref<8xf32>) {
  linalg.generic {indexing_maps = [#pairs, #apart, #scale, #sum], iterator_types = ["parallel", "reduction", "reduction", "reduction"]}
      ins(%x, %q, %s : memref<3x4x2xi16>, memref<3x4x2x8xi8>, memref<3x8xf32>) outs(%y : memref<8xf32>) {
  ^bb0(%a: i16, %b: i8, %c: f32, %d: f32):
    %na = arith.extsi %a : i16 to i32
    %nb = arith.extsi %b : i8 to i32
    %p = arith.muli %na, %nb : i32
    %f = arith.sitofp %p : i32 to f32
    %t = arith.mulf %f, %c : f32
    %r = arith.addf %d, %t : f32
    linalg.yield %r : f32
  }
  return
}

// A sum of integers that may not fit into their 32 bits is one of floating-point numbers.
// CHECK-LABEL: func.func @wide_integers
// CHECK:       %{{.*}} = scf.for {{.*}} -> (vector<8xf32>)
// CHECK:         %{{.*}} = scf.for {{.*}} -> (vector<8xf32>)
// CHECK:           arith.sitofp %{{.*}} : vector<8xi32> to vector<8xf32>
func.func @wide_integers(%q: memref<3x4x8xi32>, %s: memref<3x8xf32>, %y: memref<8xf32>) {
  linalg.generic {indexing_maps = [#numbers, #scales, #columns], iterator_types = ["parallel", "reduction", "reduction"]}
      ins(%q, %s : memref<3x4x8xi32>, memref<3x8xf32>) outs(%y : memref<8xf32>) {
  ^bb0(%b: i32, %c: f32, %d: f32):
    %n = arith.sitofp %b : i32 to f32
    %t = arith.mulf %n, %c : f32
    %r = arith.addf %d, %t : f32
    linalg.yield %r : f32
  }
  return
}

// Rows that have nothing but scalars in common, as the parts of a packed matrix, are read from end to end: all four
// vectors of two parts, and not two of four.
// CHECK-LABEL: func.func @packed
// CHECK:       scf.for %{{.*}} = %c0 to %c4 step %c2
// CHECK-NOT:     scf.for {{.*}} step %c16
// CHECK:         scf.for {{.*}} -> (vector<8xf32>, vector<8xf32>, vector<8xf32>, vector<8xf32>, vector<8xf32>, vector<8xf32>, vector<8xf32>, vector<8xf32>)
func.func @packed(%x: memref<64xf32>, %w: memref<4x64x32xf32>, %y: memref<4x32xf32>) {
  linalg.generic {indexing_maps = [affine_map<(p, k, n) -> (k)>, affine_map<(p, k, n) -> (p, k, n)>, affine_map<(p, k, n) -> (p, n)>],
                  iterator_types = ["parallel", "reduction", "parallel"]}
      ins(%x, %w : memref<64xf32>, memref<4x64x32xf32>) outs(%y : memref<4x32xf32>) {
  ^bb0(%a: f32, %b: f32, %c: f32):
    %p = arith.mulf %a, %b : f32
    %s = arith.addf %c, %p : f32
    linalg.yield %s : f32
  }
  return
}

// A row that has many zeros: a list of the others, and of the first of them once more in the part that follows in
// memory; four rows of the matrix at a time, while those 8 KB further down the list are fetched.
// CHECK-LABEL: func.func @zeros
// CHECK:       %[[LIST:.*]] = memref.alloca() {alignment = 64 : i64} : memref<528xi32>
// CHECK:       %[[COUNT:.*]] = scf.for %[[I:.*]] = %c0 to %c512 step %c1 iter_args(%[[FOUND:.*]] = %c0)
// CHECK-NEXT:    %[[NUMBER:.*]] = arith.index_cast %[[I]] : index to i32
// CHECK-NEXT:    memref.store %[[NUMBER]], %[[LIST]][%[[FOUND]]]
// CHECK:         arith.cmpf une
// CHECK:       scf.for %[[J:.*]] = %c0 to %c16 step %c1
// CHECK:         %[[IS_LISTED:.*]] = arith.cmpi ult, %[[J]], %[[COUNT]]
// CHECK:         %[[STEP:.*]] = arith.select %[[IS_LISTED]], %{{.*}}, %c0
// CHECK-NEXT:    %[[NEXT:.*]] = arith.addi %[[STEP]], %c512
// CHECK-NEXT:    %[[END:.*]] = arith.addi %[[COUNT]], %[[J]]
// CHECK-NEXT:    %[[NUMBER:.*]] = arith.index_cast %[[NEXT]] : index to i32
// CHECK-NEXT:    memref.store %[[NUMBER]], %[[LIST]][%[[END]]]
// CHECK:       scf.for %[[K:.*]] = %c0 to %{{.*}} step %c4
// CHECK:         %[[AHEAD:.*]] = arith.addi %[[K]], %c16
// CHECK-NEXT:    %[[NUMBER:.*]] = memref.load %[[LIST]][%[[AHEAD]]]
// CHECK-NEXT:    %[[ROW:.*]] = arith.index_cast %[[NUMBER]] : i32 to index
// CHECK-NEXT:    %[[PLACE:.*]] = arith.muli %[[ROW]], %c128
// CHECK-NEXT:    memref.prefetch %{{.*}}[%[[PLACE]]], read, locality<3>, data
func.func @zeros(%x: memref<512xf32>, %w: memref<512x128xf32>, %y: memref<128xf32>) {
  linalg.generic {indexing_maps = [#k, #kn, #n], iterator_types = ["parallel", "reduction"], cpu.skip_zeros = 0 : i64}
      ins(%x, %w : memref<512xf32>, memref<512x128xf32>) outs(%y : memref<128xf32>) {
  ^bb0(%a: f32, %b: f32, %c: f32):
    %p = arith.mulf %a, %b : f32
    %s = arith.addf %c, %p : f32
    linalg.yield %s : f32
  }
  return
}

// Pairs of a row that has many zeros: a list of those that are not, of all blocks, and how many there are before each
// block. If three fifths of them are zero, the others are visited, and fetched 16 KB further down the list; else all.
// CHECK-LABEL: func.func @zero_pairs
// CHECK-DAG:   %[[LIST:.*]] = memref.alloca() {alignment = 64 : i64} : memref<1536xi32>
// CHECK-DAG:   %[[BEFORE:.*]] = memref.alloca() {alignment = 64 : i64} : memref<65xi32>
// CHECK:       %[[COUNT:.*]] = scf.for %[[BLOCK:.*]] = %c0 to %c64 step %c1
// CHECK:         scf.for %[[PAIR:.*]] = %c0 to %c16 step %c1
// CHECK:           vector.load %{{.*}} : {{.*}}, vector<2xi16>
// CHECK:           arith.cmpi ne, %{{.*}}, %c0_i32 : i32
// CHECK:         memref.store %{{.*}}, %[[BEFORE]]
// CHECK:       scf.for %{{.*}} = %c0 to %c512 step %c1
// CHECK:       %[[FEW:.*]] = arith.cmpi ule, %[[COUNT]], %c409
// CHECK:       scf.if %[[FEW]] {
// CHECK:         scf.for %[[BLOCK:.*]] = %c0 to %c64 step %c1
// CHECK:           memref.load %[[BEFORE]][%[[BLOCK]]]
// CHECK:           memref.load %[[BEFORE]]
// CHECK:           scf.for %[[I:.*]] = %{{.*}} to %{{.*}} step %c1
// CHECK:             %[[AHEAD:.*]] = arith.addi %[[I]], %c512
// CHECK:             memref.load %[[LIST]][%[[AHEAD]]]
// CHECK:             memref.prefetch %{{.*}}, read, locality<3>, data
// CHECK-NOT:         memref.prefetch
// CHECK:             memref.load %[[LIST]][%[[I]]]
// CHECK:             vector.deinterleave
// CHECK:       } else {
// CHECK-NOT:     memref.load %[[LIST]]
// CHECK:         scf.for %{{.*}} = %c0 to %c64 step %c1
// CHECK:           scf.for %{{.*}} = %c0 to %c16 step %c1
// CHECK:             memref.prefetch
// CHECK:             vector.deinterleave
// Not of several rows, nor of one that the same function writes.
// CHECK-LABEL: func.func @zero_pairs_of_rows
// CHECK-NOT:   scf.if
// CHECK-LABEL: func.func @written_pairs
// CHECK-NOT:   scf.if
// CHECK:       return
#row = affine_map<(m, n, b, k, two) -> (m, b, k, two)>
#matrix = affine_map<(m, n, b, k, two) -> (b, k, n, two)>
#of_block = affine_map<(m, n, b, k, two) -> (b, n)>
#result = affine_map<(m, n, b, k, two) -> (m, n)>
func.func @zero_pairs(%x: memref<1x64x16x2xi16>, %q: memref<64x16x16x2xi8>, %s: memref<64x16xf32>, %y: memref<1x16xf32>) {
  linalg.generic {indexing_maps = [#row, #matrix, #of_block, #result],
                  iterator_types = ["parallel", "parallel", "reduction", "reduction", "reduction"], cpu.skip_zeros = 0 : i64}
      ins(%x, %q, %s : memref<1x64x16x2xi16>, memref<64x16x16x2xi8>, memref<64x16xf32>) outs(%y : memref<1x16xf32>) {
  ^bb0(%a: i16, %b: i8, %c: f32, %d: f32):
    %na = arith.extsi %a : i16 to i32
    %nb = arith.extsi %b : i8 to i32
    %p = arith.muli %na, %nb : i32
    %f = arith.sitofp %p : i32 to f32
    %t = arith.mulf %f, %c : f32
    %r = arith.addf %d, %t : f32
    linalg.yield %r : f32
  }
  return
}
func.func @zero_pairs_of_rows(%x: memref<4x64x16x2xi16>, %q: memref<64x16x16x2xi8>, %s: memref<64x16xf32>, %y: memref<4x16xf32>) {
  linalg.generic {indexing_maps = [#row, #matrix, #of_block, #result],
                  iterator_types = ["parallel", "parallel", "reduction", "reduction", "reduction"], cpu.skip_zeros = 0 : i64}
      ins(%x, %q, %s : memref<4x64x16x2xi16>, memref<64x16x16x2xi8>, memref<64x16xf32>) outs(%y : memref<4x16xf32>) {
  ^bb0(%a: i16, %b: i8, %c: f32, %d: f32):
    %na = arith.extsi %a : i16 to i32
    %nb = arith.extsi %b : i8 to i32
    %p = arith.muli %na, %nb : i32
    %f = arith.sitofp %p : i32 to f32
    %t = arith.mulf %f, %c : f32
    %r = arith.addf %d, %t : f32
    linalg.yield %r : f32
  }
  return
}
func.func @written_pairs(%x: memref<1x64x16x2xi16>, %q: memref<64x16x16x2xi8>, %s: memref<64x16xf32>, %y: memref<1x16xf32>, %n: i16) {
  linalg.fill ins(%n : i16) outs(%x : memref<1x64x16x2xi16>)
  linalg.generic {indexing_maps = [#row, #matrix, #of_block, #result],
                  iterator_types = ["parallel", "parallel", "reduction", "reduction", "reduction"], cpu.skip_zeros = 0 : i64}
      ins(%x, %q, %s : memref<1x64x16x2xi16>, memref<64x16x16x2xi8>, memref<64x16xf32>) outs(%y : memref<1x16xf32>) {
  ^bb0(%a: i16, %b: i8, %c: f32, %d: f32):
    %na = arith.extsi %a : i16 to i32
    %nb = arith.extsi %b : i8 to i32
    %p = arith.muli %na, %nb : i32
    %f = arith.sitofp %p : i32 to f32
    %t = arith.mulf %f, %c : f32
    %r = arith.addf %d, %t : f32
    linalg.yield %r : f32
  }
  return
}

// A product of many rows: six at a time with two vectors, and the last two together. Sixteen columns are two vectors.
// Meanwhile the next part of the matrix, 1024 elements further on, is fetched: 6 of them in each of 3 x 64 steps.
// CHECK-LABEL: func.func @many_rows
// CHECK:       scf.for %[[PART:.*]] = %c0 to %c2 step %c1
// CHECK:         scf.for %[[ROW:.*]] = %c0 to %c18 step %c6
// CHECK:           scf.for %[[K:.*]] = %c0 to %c64 {{.*}} -> (vector<8xf32>, vector<8xf32>, vector<8xf32>, vector<8xf32>, vector<8xf32>, vector<8xf32>, vector<8xf32>, vector<8xf32>, vector<8xf32>, vector<8xf32>, vector<8xf32>, vector<8xf32>)
// CHECK-DAG:         %[[TILE:.*]] = arith.divui %[[ROW]], %c6
// CHECK-DAG:         %[[NEXT:.*]] = arith.addi %{{.*}}, %c1024
// CHECK-DAG:         %[[DONE:.*]] = arith.muli %[[TILE]], %c64
// CHECK:             %[[STEP:.*]] = arith.addi %[[DONE]], %[[K]]
// CHECK:             %[[SHARE:.*]] = arith.muli %[[STEP]], %c6
// CHECK:             %[[PLACE:.*]] = arith.addi %[[NEXT]], %[[SHARE]]
// CHECK:             memref.prefetch %{{.*}}[%[[PLACE]]], read, locality<2>, data
// CHECK:         scf.for {{.*}} -> (vector<8xf32>, vector<8xf32>, vector<8xf32>, vector<8xf32>)
// CHECK-NOT:       memref.prefetch
// CHECK:       return
func.func @many_rows(%x: memref<20x64xf32>, %w: memref<2x64x16xf32>, %y: memref<20x2x16xf32>) {
  linalg.generic {indexing_maps = [affine_map<(p, m, k, n) -> (m, k)>, affine_map<(p, m, k, n) -> (p, k, n)>,
                                   affine_map<(p, m, k, n) -> (m, p, n)>],
                  iterator_types = ["parallel", "parallel", "reduction", "parallel"]}
      ins(%x, %w : memref<20x64xf32>, memref<2x64x16xf32>) outs(%y : memref<20x2x16xf32>) {
  ^bb0(%a: f32, %b: f32, %c: f32):
    %p = arith.mulf %a, %b : f32
    %s = arith.addf %c, %p : f32
    linalg.yield %s : f32
  }
  return
}

// A matrix of 384 KB, which all rows read: a part of at most 128 KB for all of them, then the next, which is fetched.
// CHECK-LABEL: func.func @deep
// CHECK:       scf.for %{{.*}} = %c0 to %c2 step %c1
// CHECK:         scf.for %[[FIRST:.*]] = %c0 to %c6144 step %c2048
// CHECK-NEXT:      %[[END:.*]] = arith.addi %[[FIRST]], %c2048
// CHECK-NEXT:      scf.for %{{.*}} = %c0 to %c18 step %c6
// CHECK:             scf.for %{{.*}} = %[[FIRST]] to %[[END]] step %c1 iter_args
// CHECK:               memref.prefetch
// CHECK:           scf.for %{{.*}} = %[[FIRST]] to %[[END]] step %c1 iter_args
func.func @deep(%x: memref<20x6144xf32>, %w: memref<2x6144x16xf32>, %y: memref<20x2x16xf32>) {
  linalg.generic {indexing_maps = [affine_map<(p, m, k, n) -> (m, k)>, affine_map<(p, m, k, n) -> (p, k, n)>,
                                   affine_map<(p, m, k, n) -> (m, p, n)>],
                  iterator_types = ["parallel", "parallel", "reduction", "parallel"]}
      ins(%x, %w : memref<20x6144xf32>, memref<2x6144x16xf32>) outs(%y : memref<20x2x16xf32>) {
  ^bb0(%a: f32, %b: f32, %c: f32):
    %p = arith.mulf %a, %b : f32
    %s = arith.addf %c, %p : f32
    linalg.yield %s : f32
  }
  return
}

// Sums of 16 bits would be rounded in between.
// CHECK-LABEL: func.func @deep_half
// CHECK-NOT:   step %c2048
// CHECK:       scf.for %{{.*}} = %c0 to %c6144 step %c1 iter_args
func.func @deep_half(%x: memref<20x6144xf16>, %w: memref<2x6144x32xf16>, %y: memref<20x2x32xf16>) {
  linalg.generic {indexing_maps = [affine_map<(p, m, k, n) -> (m, k)>, affine_map<(p, m, k, n) -> (p, k, n)>,
                                   affine_map<(p, m, k, n) -> (m, p, n)>],
                  iterator_types = ["parallel", "parallel", "reduction", "parallel"]}
      ins(%x, %w : memref<20x6144xf16>, memref<2x6144x32xf16>) outs(%y : memref<20x2x32xf16>) {
  ^bb0(%a: f16, %b: f16, %c: f16):
    %p = arith.mulf %a, %b : f16
    %s = arith.addf %c, %p : f16
    linalg.yield %s : f16
  }
  return
}
