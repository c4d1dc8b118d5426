// RUN: rwkv-opt %s -split-input-file -rwkvc-skip-padding | FileCheck %s

// Tokens of a block are followed through products, other shapes, slices of other axes and loops, in which parts of the
// block and single tokens are followed too. What has as many iterations but no tokens is done as before, and so are
// numbers of rows to read: all must be there.
// CHECK-LABEL: func.func @prefill(
// CHECK-SAME:    %[[TOKENS:[^:]*]]: memref<1x4xi64>, %[[LENGTH:[^:]*]]: memref<i64>
// CHECK-SAME:    skips_padding
// CHECK-NEXT:    %[[LOADED:.*]] = memref.load %[[LENGTH]][]
// CHECK-NEXT:    %[[N:.*]] = arith.index_cast %[[LOADED]]
// CHECK:         linalg.generic {{.*}} ins(%{{.*}} : tensor<4xi64>) outs
// CHECK-NOT:       rwkvc.needed
// CHECK:         linalg.generic {{.*}} ins(%{{[^,]*}}, %[[N]] : tensor<4xi64>, index) outs(%{{.*}} : tensor<4x8xf32>)
// CHECK-SAME:      rwkvc.needed = array<i64: 0, 1>
// CHECK:         linalg.generic {{.*}} ins(%{{.*}}, %{{.*}}, %[[N]] : tensor<4x8xf32>, tensor<8x4xf32>, index)
// CHECK-SAME:      rwkvc.needed = array<i64: 0, 2>
// CHECK:         scf.for %[[I:.*]] =
// CHECK-NOT:       rwkvc.needed
// CHECK:           scf.yield
// CHECK:         linalg.generic {{.*}} ins(%{{.*}}, %[[N]] : tensor<4x4xf32>, index)
// CHECK-SAME:      rwkvc.needed = array<i64: 0, 1>
// CHECK:         scf.forall (%[[PART:.*]]) in (2)
// CHECK:           %[[PLACE:.*]] = arith.muli %[[PART]]
// CHECK:           %[[LEFT:.*]] = arith.subi %[[N]], %[[PLACE]]
// CHECK:           %[[SOME:.*]] = arith.maxsi %[[LEFT]], %{{.*}}
// CHECK:           %[[HERE:.*]] = arith.minsi %[[SOME]], %{{.*}}
// CHECK:           linalg.generic {{.*}} ins(%{{.*}}, %[[HERE]] : tensor<2x4xf32>, index)
// CHECK:         linalg.generic {{.*}} ins(%{{.*}}, %[[N]] : tensor<4x4xf32>, index)
// CHECK-NEXT:    ^bb0
// CHECK-NOT:     rwkvc.needed
#row = affine_map<(d0, d1) -> (d0)>
#all = affine_map<(d0, d1) -> (d0, d1)>
#left = affine_map<(d0, d1, d2) -> (d0, d2)>
#right = affine_map<(d0, d1, d2) -> (d2, d1)>
#out = affine_map<(d0, d1, d2) -> (d0, d1)>
func.func @prefill(%tokens: memref<1x4xi64>, %length: memref<i64>, %logits: memref<1x4xf32>, %s: memref<4x4xf32>) attributes {wkv.form = "prefill", rwkvc.interface = {
    kind = "prefill", inputs = [{name = "tokens", type = tensor<1x4xi64>}, {name = "length", type = tensor<i64>}, {name = "s", type = tensor<4x4xf32>}],
    outputs = [{name = "logits", type = tensor<1x4xf32>}, {name = "s'", type = tensor<4x4xf32>}],
    states = [{input = 2 : i64, output = 1 : i64, initial = 0.0 : f64}], token_input = 0 : i64, length_input = 1 : i64, logits_output = 0 : i64}} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  %table = arith.constant dense<0.5> : tensor<9x8xf32>
  %w = arith.constant dense<0.25> : tensor<8x4xf32>
  %ids = bufferization.to_tensor %tokens restrict : memref<1x4xi64> to tensor<1x4xi64>
  %n = memref.load %length[] : memref<i64>
  %end = arith.index_cast %n : i64 to index
  %old = bufferization.to_tensor %s restrict writable : memref<4x4xf32> to tensor<4x4xf32>
  %flat = tensor.collapse_shape %ids [[0, 1]] : tensor<1x4xi64> into tensor<4xi64>
  %e8 = tensor.empty() : tensor<4x8xf32>
  %e4 = tensor.empty() : tensor<4xi64>
  %rowIds = linalg.generic {indexing_maps = [affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>], iterator_types = ["parallel"]} ins(%flat : tensor<4xi64>) outs(%e4 : tensor<4xi64>) {
  ^bb0(%id: i64, %o: i64):
    %c8 = arith.constant 8 : i64
    %i = arith.minsi %id, %c8 : i64
    linalg.yield %i : i64
  } -> tensor<4xi64>
  %x = linalg.generic {indexing_maps = [#row, #all], iterator_types = ["parallel", "parallel"]} ins(%rowIds : tensor<4xi64>) outs(%e8 : tensor<4x8xf32>) {
  ^bb0(%id: i64, %o: f32):
    %i = arith.index_cast %id : i64 to index
    %j = linalg.index 1 : index
    %v = tensor.extract %table[%i, %j] : tensor<9x8xf32>
    linalg.yield %v : f32
  } -> tensor<4x8xf32>
  %e = tensor.empty() : tensor<4x4xf32>
  %y = linalg.generic {indexing_maps = [#left, #right, #out], iterator_types = ["parallel", "parallel", "reduction"]} ins(%x, %w : tensor<4x8xf32>, tensor<8x4xf32>) outs(%e : tensor<4x4xf32>) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %p = arith.mulf %a, %b : f32
    %q = arith.addf %o, %p : f32
    linalg.yield %q : f32
  } -> tensor<4x4xf32>
  %r:2 = scf.for %t = %c0 to %end step %c1 iter_args(%rows = %e, %state = %old) -> (tensor<4x4xf32>, tensor<4x4xf32>) {
    %token = tensor.extract_slice %y[%t, 0] [1, 4] [1, 1] : tensor<4x4xf32> to tensor<4xf32>
    %new = linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (d1)>, #all], iterator_types = ["parallel", "parallel"]} ins(%token : tensor<4xf32>) outs(%state : tensor<4x4xf32>) {
    ^bb0(%a: f32, %o: f32):
      %p = arith.addf %o, %a : f32
      linalg.yield %p : f32
    } -> tensor<4x4xf32>
    %first = tensor.extract_slice %new[0, 0] [1, 4] [1, 1] : tensor<4x4xf32> to tensor<4xf32>
    %put = tensor.insert_slice %first into %rows[%t, 0] [1, 4] [1, 1] : tensor<4xf32> into tensor<4x4xf32>
    scf.yield %put, %new : tensor<4x4xf32>, tensor<4x4xf32>
  }
  %z = linalg.generic {indexing_maps = [#all, #all], iterator_types = ["parallel", "parallel"]} ins(%r#0 : tensor<4x4xf32>) outs(%e : tensor<4x4xf32>) {
  ^bb0(%a: f32, %o: f32):
    %p = arith.negf %a : f32
    linalg.yield %p : f32
  } -> tensor<4x4xf32>
  %parts = scf.forall (%part) in (2) shared_outs(%o = %e) -> (tensor<4x4xf32>) {
    %place = arith.muli %part, %c2 : index
    %in = tensor.extract_slice %z[%place, 0] [2, 4] [1, 1] : tensor<4x4xf32> to tensor<2x4xf32>
    %to = tensor.extract_slice %o[%place, 0] [2, 4] [1, 1] : tensor<4x4xf32> to tensor<2x4xf32>
    %done = linalg.generic {indexing_maps = [#all, #all], iterator_types = ["parallel", "parallel"]} ins(%in : tensor<2x4xf32>) outs(%to : tensor<2x4xf32>) {
    ^bb0(%a: f32, %b: f32):
      %p = math.exp %a : f32
      linalg.yield %p : f32
    } -> tensor<2x4xf32>
    scf.forall.in_parallel {
      tensor.parallel_insert_slice %done into %o[%place, 0] [2, 4] [1, 1] : tensor<2x4xf32> into tensor<4x4xf32>
    }
  }
  %end2 = linalg.generic {indexing_maps = [#all, #all], iterator_types = ["parallel", "parallel"]} ins(%parts : tensor<4x4xf32>) outs(%e : tensor<4x4xf32>) {
  ^bb0(%a: f32, %o: f32):
    %p = math.absf %a : f32
    linalg.yield %p : f32
  } -> tensor<4x4xf32>
  %last = arith.subi %end, %c1 : index
  %row = tensor.extract_slice %end2[%last, 0] [1, 4] [1, 1] : tensor<4x4xf32> to tensor<1x4xf32>
  // The state: four by four, and no tokens.
  %s2 = linalg.generic {indexing_maps = [#all, #all], iterator_types = ["parallel", "parallel"]} ins(%r#1 : tensor<4x4xf32>) outs(%e : tensor<4x4xf32>) {
  ^bb0(%a: f32, %o: f32):
    %p = arith.negf %a : f32
    linalg.yield %p : f32
  } -> tensor<4x4xf32>
  bufferization.materialize_in_destination %row in restrict writable %logits : (tensor<1x4xf32>, memref<1x4xf32>) -> ()
  bufferization.materialize_in_destination %s2 in writable %s : (tensor<4x4xf32>, memref<4x4xf32>) -> ()
  return
}

// -----

// Products of tokens with each other have two such loops, and sums over tokens need all: neither is limited.
// CHECK-LABEL: func.func @prefill(
// CHECK-NOT:     rwkvc.needed
// CHECK-NOT:     skips_padding
func.func @prefill(%tokens: memref<1x4xi64>, %length: memref<i64>, %logits: memref<1x4xi64>) attributes {wkv.form = "prefill", rwkvc.interface = {
    kind = "prefill", inputs = [{name = "tokens", type = tensor<1x4xi64>}, {name = "length", type = tensor<i64>}],
    outputs = [{name = "logits", type = tensor<1x4xi64>}],
    states = [], token_input = 0 : i64, length_input = 1 : i64, logits_output = 0 : i64}} {
  %ids = bufferization.to_tensor %tokens restrict : memref<1x4xi64> to tensor<1x4xi64>
  %flat = tensor.collapse_shape %ids [[0, 1]] : tensor<1x4xi64> into tensor<4xi64>
  %e = tensor.empty() : tensor<4x4xi64>
  %x = linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (d0)>, affine_map<(d0, d1) -> (d1)>, affine_map<(d0, d1) -> (d0, d1)>], iterator_types = ["parallel", "parallel"]} ins(%flat, %flat : tensor<4xi64>, tensor<4xi64>) outs(%e : tensor<4x4xi64>) {
  ^bb0(%a: i64, %b: i64, %o: i64):
    %p = arith.muli %a, %b : i64
    linalg.yield %p : i64
  } -> tensor<4x4xi64>
  %e1 = tensor.empty() : tensor<4xi64>
  %sum = linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (d0, d1)>, affine_map<(d0, d1) -> (d1)>, affine_map<(d0, d1) -> (d0)>], iterator_types = ["parallel", "reduction"]} ins(%x, %flat : tensor<4x4xi64>, tensor<4xi64>) outs(%e1 : tensor<4xi64>) {
  ^bb0(%a: i64, %b: i64, %o: i64):
    %p = arith.addi %o, %b : i64
    linalg.yield %p : i64
  } -> tensor<4xi64>
  %row = tensor.expand_shape %sum [[0, 1]] output_shape [1, 4] : tensor<4xi64> into tensor<1x4xi64>
  bufferization.materialize_in_destination %row in restrict writable %logits : (tensor<1x4xi64>, memref<1x4xi64>) -> ()
  return
}

// -----

// Of two texts the tokens in use are not the first ones.
// CHECK-LABEL: func.func @prefill(
// CHECK-NOT:     rwkvc.needed
func.func @prefill(%tokens: memref<2x4xi64>, %length: memref<i64>, %logits: memref<2x4xi64>) attributes {wkv.form = "prefill", rwkvc.interface = {
    kind = "prefill", inputs = [{name = "tokens", type = tensor<2x4xi64>}, {name = "length", type = tensor<i64>}],
    outputs = [{name = "logits", type = tensor<2x4xi64>}],
    states = [], token_input = 0 : i64, length_input = 1 : i64, logits_output = 0 : i64}} {
  %ids = bufferization.to_tensor %tokens restrict : memref<2x4xi64> to tensor<2x4xi64>
  %e = tensor.empty() : tensor<2x4xi64>
  %x = linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (d0, d1)>, affine_map<(d0, d1) -> (d0, d1)>], iterator_types = ["parallel", "parallel"]} ins(%ids : tensor<2x4xi64>) outs(%e : tensor<2x4xi64>) {
  ^bb0(%a: i64, %o: i64):
    %p = arith.addi %a, %a : i64
    linalg.yield %p : i64
  } -> tensor<2x4xi64>
  bufferization.materialize_in_destination %x in restrict writable %logits : (tensor<2x4xi64>, memref<2x4xi64>) -> ()
  return
}

// -----

// A body that reads the token of its iteration is along the tokens. What is no linalg.generic is not limited, and callers are not told that padding costs nothing.
// CHECK-LABEL: func.func @prefill(
// CHECK-NOT:     skips_padding
// CHECK:         rwkvc.needed
// CHECK:         linalg.matmul
func.func @prefill(%tokens: memref<1x4xi64>, %length: memref<i64>, %logits: memref<1x4xf32>) attributes {wkv.form = "prefill", rwkvc.interface = {
    kind = "prefill", inputs = [{name = "tokens", type = tensor<1x4xi64>}, {name = "length", type = tensor<i64>}],
    outputs = [{name = "logits", type = tensor<1x4xf32>}],
    states = [], token_input = 0 : i64, length_input = 1 : i64, logits_output = 0 : i64}} {
  %w = arith.constant dense<0.25> : tensor<8x4xf32>
  %ids = bufferization.to_tensor %tokens restrict : memref<1x4xi64> to tensor<1x4xi64>
  %flat = tensor.collapse_shape %ids [[0, 1]] : tensor<1x4xi64> into tensor<4xi64>
  %e8 = tensor.empty() : tensor<4x8xf32>
  %x = linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (d0, d1)>], iterator_types = ["parallel", "parallel"]} outs(%e8 : tensor<4x8xf32>) {
  ^bb0(%o: f32):
    %i = linalg.index 0 : index
    %a = tensor.extract %flat[%i] : tensor<4xi64>
    %p = arith.sitofp %a : i64 to f32
    linalg.yield %p : f32
  } -> tensor<4x8xf32>
  %e4 = tensor.empty() : tensor<4x4xf32>
  %y = linalg.matmul ins(%x, %w : tensor<4x8xf32>, tensor<8x4xf32>) outs(%e4 : tensor<4x4xf32>) -> tensor<4x4xf32>
  %row = tensor.extract_slice %y[0, 0] [1, 4] [1, 1] : tensor<4x4xf32> to tensor<1x4xf32>
  bufferization.materialize_in_destination %row in restrict writable %logits : (tensor<1x4xf32>, memref<1x4xf32>) -> ()
  return
}
