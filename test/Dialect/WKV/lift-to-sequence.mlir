// RUN: rwkv-opt %s --split-input-file --wkv-lift-to-sequence=block=4 --canonicalize --cse | FileCheck %s
// RUN: rwkv-opt %s --split-input-file --wkv-lift-to-sequence="block=4 batch=3 all-logits" --canonicalize --cse | FileCheck %s --check-prefix=ALL
// RUN: rwkv-opt %s --split-input-file --wkv-lift-to-sequence="block=0 batch=2" --canonicalize --cse | FileCheck %s --check-prefix=STEP

// A layer of one kind each: a look-up, a shift, a mix, a product, a recurrence with
// a fixed decay, a head. The block's rows are those of a matrix product. What comes
// after the recurrence is for the last token alone.
// CHECK-DAG: #[[ID2:.*]] = affine_map<(d0, d1) -> (d0, d1)>
// CHECK-DAG: #[[ROW:.*]] = affine_map<(d0, d1) -> (d0)>
// CHECK-DAG: #[[A:.*]] = affine_map<(d0, d1, d2) -> (d0, d2)>
// CHECK-DAG: #[[B:.*]] = affine_map<(d0, d1, d2) -> (d2, d1)>
// CHECK-DAG: #[[C:.*]] = affine_map<(d0, d1, d2) -> (d0, d1)>
// CHECK-LABEL: module @layer
// CHECK: func.func @step(
// CHECK: func.func @prefill(
// CHECK-SAME: %[[T:[a-z0-9]+]]: tensor<1x4xi64> {onnx.name = "tokens", wkv.index_limit = 2 : i64, wkv.tokens}
// CHECK-SAME: %[[N:[a-z0-9]+]]: tensor<i64> {onnx.name = "length", wkv.length}
// CHECK-SAME: %[[S0:[a-z0-9]+]]: tensor<1x8xf32> {onnx.name = "shift.0", wkv.state = 1 : i64}
// CHECK-SAME: %[[S1:[a-z0-9]+]]: tensor<1x2x4x4xf32> {onnx.name = "wkv.0", wkv.state = 2 : i64}
// CHECK-SAME: -> (tensor<1x6xf32> {onnx.name = "logits", wkv.logits}, tensor<1x8xf32> {onnx.name = "shift.0"}, tensor<1x2x4x4xf32> {onnx.name = "wkv.0"})
// CHECK-SAME: attributes {wkv.form = "prefill"}
// CHECK-DAG: %[[TABLE:.*]] = arith.constant dense<{{.*}}> : tensor<2x8xf32>
// CHECK-DAG: %[[W:.*]] = arith.constant dense<{{.*}}> : tensor<8x8xf32>
// CHECK-DAG: %[[HEAD:.*]] = arith.constant dense<{{.*}}> : tensor<8x6xf32>
// CHECK-DAG: %[[DECAY:.*]] = arith.constant dense<{{.*}}> : tensor<1x1x2x4xf32>
// CHECK: %[[AT:.*]] = arith.index_cast
// CHECK: linalg.generic {indexing_maps = [#[[ROW]], #[[ID2]]], iterator_types = ["parallel", "parallel"]} ins(%{{.*}} : tensor<4xindex>)
// CHECK: %[[J:.*]] = linalg.index 1 : index
// CHECK: tensor.extract %[[TABLE]][%{{.*}}, %[[J]]]
// CHECK: wkv.token_shift %{{.*}} state(%[[S0]]) length(%[[N]]) : (tensor<1x4x8xf32>
// CHECK: linalg.fill {{.*}} -> tensor<4x8xf32>
// CHECK: linalg.generic {indexing_maps = [#[[A]], #[[B]], #[[C]]], iterator_types = ["parallel", "parallel", "reduction"]} ins(%{{.*}}, %[[W]] : tensor<4x8xf32>, tensor<8x8xf32>)
// CHECK: %[[Y:.*]], %{{.*}} = wkv.wkv6 {{.*}} decay(%[[DECAY]]) {{.*}} length(%[[N]]) {{.*}} state(%[[S1]]) : (tensor<1x4x2x4xf32>
// CHECK: tensor.extract_slice %{{.*}} to tensor<1x1x1x1x2x4xf32>
// CHECK: linalg.generic {{.*}} ins(%{{.*}}, %[[HEAD]] : tensor<8xf32>, tensor<8x6xf32>)

// ALL-LABEL: module @layer
// ALL: func.func @step(%{{.*}}: tensor<3xi64>
// ALL-SAME: tensor<3x2x4x4xf32> {onnx.name = "wkv.0"
// ALL-SAME: -> (tensor<3x6xf32>
// ALL-NOT: length(
// ALL: func.func @prefill(%{{.*}}: tensor<3x4xi64>
// ALL-SAME: -> (tensor<3x4x6xf32>
// ALL: linalg.generic {{.*}} tensor<12x8xf32>, tensor<8x8xf32>
// ALL: wkv.wkv6 {{.*}} : (tensor<3x4x2x4xf32>
// ALL: linalg.generic {{.*}} tensor<12x8xf32>, tensor<8x6xf32>

// STEP-LABEL: module @layer
// STEP: func.func @step(%{{.*}}: tensor<2xi64>
// STEP-NOT: length(
// STEP: linalg.generic {{.*}} tensor<2x8xf32>, tensor<8x8xf32>
// STEP: wkv.wkv6 {{.*}} : (tensor<2x1x2x4xf32>
// STEP-NOT: @prefill
module @layer {
func.func @step(%t: tensor<1xi64> {onnx.name = "tokens", wkv.index_limit = 2 : i64, wkv.tokens},
                %s0: tensor<1x8xf32> {onnx.name = "shift.0", wkv.state = 1 : i64},
                %s1: tensor<1x2x4x4xf32> {onnx.name = "wkv.0", wkv.state = 2 : i64})
    -> (tensor<1x6xf32> {onnx.name = "logits", wkv.logits}, tensor<1x8xf32> {onnx.name = "shift.0"}, tensor<1x2x4x4xf32> {onnx.name = "wkv.0"})
    attributes {wkv.form = "step"} {
  %table = arith.constant dense<[[0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7], [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7]]> : tensor<2x8xf32>
  %w = arith.constant dense<0.25> : tensor<8x8xf32>
  %head = arith.constant dense<0.125> : tensor<8x6xf32>
  %mu = arith.constant dense<0.75> : tensor<8xf32>
  %decay = arith.constant dense<0.9> : tensor<1x1x2x4xf32>
  %bonus = arith.constant dense<0.1> : tensor<2x4xf32>
  %zero = arith.constant 0.0 : f32
  %c1 = arith.constant 1 : i64
  %id = tensor.collapse_shape %t [] : tensor<1xi64> into tensor<i64>
  %i = tensor.extract %id[] : tensor<i64>
  %j = arith.minsi %i, %c1 : i64
  %at = arith.index_cast %j : i64 to index
  %x = tensor.extract_slice %table[%at, 0] [1, 8] [1, 1] : tensor<2x8xf32> to tensor<8xf32>
  %x3 = tensor.expand_shape %x [[0, 1, 2]] output_shape [1, 1, 8] : tensor<8xf32> into tensor<1x1x8xf32>
  %h, %n0 = wkv.token_shift %x3 state(%s0) : (tensor<1x1x8xf32>, tensor<1x8xf32>) -> (tensor<1x1x8xf32>, tensor<1x8xf32>)
  %m = wkv.mix %x3, %h by %mu : tensor<1x1x8xf32>, tensor<8xf32> -> tensor<1x1x8xf32>
  %row = tensor.collapse_shape %m [[0, 1], [2]] : tensor<1x1x8xf32> into tensor<1x8xf32>
  %e = tensor.empty() : tensor<1x8xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<1x8xf32>) -> tensor<1x8xf32>
  %k = linalg.matmul ins(%row, %w : tensor<1x8xf32>, tensor<8x8xf32>) outs(%f : tensor<1x8xf32>) -> tensor<1x8xf32>
  %k4 = tensor.expand_shape %k [[0], [1, 2, 3]] output_shape [1, 1, 2, 4] : tensor<1x8xf32> into tensor<1x1x2x4xf32>
  %init = tensor.empty() : tensor<1x1x2x4xf32>
  %y, %n1 = wkv.wkv6 receptance(%k4) key(%k4) value(%k4) decay(%decay) bonus(%bonus) init(%init) state(%s1) : (tensor<1x1x2x4xf32>, tensor<1x1x2x4xf32>, tensor<1x1x2x4xf32>, tensor<1x1x2x4xf32>, tensor<2x4xf32>, tensor<1x1x2x4xf32>, tensor<1x2x4x4xf32>) -> (tensor<1x1x2x4xf32>, tensor<1x2x4x4xf32>)
  %o = tensor.collapse_shape %y [[0, 1], [2, 3]] : tensor<1x1x2x4xf32> into tensor<1x8xf32>
  %le = tensor.empty() : tensor<1x6xf32>
  %lf = linalg.fill ins(%zero : f32) outs(%le : tensor<1x6xf32>) -> tensor<1x6xf32>
  %l = linalg.matmul ins(%o, %head : tensor<1x8xf32>, tensor<8x6xf32>) outs(%lf : tensor<1x6xf32>) -> tensor<1x6xf32>
  return %l, %n0, %n1 : tensor<1x6xf32>, tensor<1x8xf32>, tensor<1x2x4x4xf32>
}
}

// -----

// A shift after the last recurrence: two tokens are enough before it, one after.
// CHECK-LABEL: module @tail
// CHECK: func.func @prefill(
// CHECK-SAME: %[[N:[a-z0-9]+]]: tensor<i64>
// CHECK-SAME: %[[S0:[a-z0-9]+]]: tensor<1x8xf32>
// CHECK: arith.subi %{{.*}}, %c2
// CHECK: wkv.wkv4 {{.*}} length(%[[N]])
// CHECK: tensor.extract_slice %{{.*}} : tensor<1x4x1x1x8xf32> to tensor<1x2x1x1x8xf32>
// CHECK: wkv.l2_norm max %{{.*}} : tensor<2x
// CHECK: wkv.token_shift %{{.*}} length(%{{.*}}) : (tensor<1x2x8xf32>
// CHECK: tensor.extract_slice %{{.*}} : tensor<1x2x1x1x8xf32> to tensor<1x1x1x1x8xf32>
// CHECK: wkv.decay exp_exp %{{.*}} : tensor<1x
module @tail {
func.func @step(%t: tensor<1xf32> {wkv.tokens}, %num: tensor<1x8xf32> {wkv.state = 1 : i64}, %den: tensor<1x8xf32> {wkv.state = 2 : i64},
                %max: tensor<1x8xf32> {wkv.state = 3 : i64}, %s: tensor<1x8xf32> {wkv.state = 4 : i64})
    -> (tensor<1x8xf32> {wkv.logits}, tensor<1x8xf32>, tensor<1x8xf32>, tensor<1x8xf32>, tensor<1x8xf32>) attributes {wkv.form = "step"} {
  %c = arith.constant dense<0.5> : tensor<8xf32>
  %e = tensor.empty() : tensor<1x1x8xf32>
  %x = linalg.generic {indexing_maps = [affine_map<(a, b, c) -> (a)>, affine_map<(a, b, c) -> (a, b, c)>], iterator_types = ["parallel", "parallel", "parallel"]} ins(%t : tensor<1xf32>) outs(%e : tensor<1x1x8xf32>) {
  ^bb0(%a: f32, %o: f32):
    linalg.yield %a : f32
  } -> tensor<1x1x8xf32>
  %y, %n1, %n2, %n3 = wkv.wkv4 key(%x) value(%x) decay(%c) bonus(%c) init(%e) state(%num, %den, %max) : (tensor<1x1x8xf32>, tensor<1x1x8xf32>, tensor<8xf32>, tensor<8xf32>, tensor<1x1x8xf32>, tensor<1x8xf32>, tensor<1x8xf32>, tensor<1x8xf32>) -> (tensor<1x1x8xf32>, tensor<1x8xf32>, tensor<1x8xf32>, tensor<1x8xf32>)
  %z = wkv.l2_norm max %y {epsilon = 1.0e-5 : f64} : tensor<1x1x8xf32>
  %h, %n4 = wkv.token_shift %z state(%s) : (tensor<1x1x8xf32>, tensor<1x8xf32>) -> (tensor<1x1x8xf32>, tensor<1x8xf32>)
  %d = wkv.decay exp_exp %h {lower = 0xFFF0000000000000 : f64, scale = 1.0 : f64, upper = 0x7FF0000000000000 : f64} : tensor<1x1x8xf32>
  %l = tensor.collapse_shape %d [[0, 1], [2]] : tensor<1x1x8xf32> into tensor<1x8xf32>
  return %l, %n1, %n2, %n3, %n4 : tensor<1x8xf32>, tensor<1x8xf32>, tensor<1x8xf32>, tensor<1x8xf32>, tensor<1x8xf32>
}
}

// -----

// Several targets stay outermost in the mix. Loops and branches that do not depend
// on the token are kept; a tensor that a body reads is read at the point.
// ALL-LABEL: module @kept
// ALL: func.func @prefill(
// ALL: wkv.mix %{{.*}}, %{{.*}} by %{{.*}} : tensor<12x8xf32>, tensor<2x1x8xf32> -> tensor<2x12x8xf32>
// ALL: scf.for {{.*}} iter_args(%[[ACC:.*]] = %{{.*}}) -> (tensor<12x{{.*}}8xf32>)
// ALL: scf.if %{{.*}} -> (tensor<12x{{.*}}8xf32>)
// ALL: linalg.generic
// ALL: %[[P:.*]] = linalg.index 0
// ALL: tensor.extract %{{.*}}[%[[P]],
module @kept {
func.func @step(%t: tensor<1xf32> {wkv.tokens}, %s: tensor<1x8xf32> {wkv.state = 1 : i64})
    -> (tensor<1x8xf32> {wkv.logits}, tensor<1x8xf32>) attributes {wkv.form = "step"} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  %c7 = arith.constant 7 : index
  %mu = arith.constant dense<[[[[0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5]]], [[[0.25, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5]]]]> : tensor<2x1x1x8xf32>
  %e = tensor.empty() : tensor<1x1x8xf32>
  %x = linalg.generic {indexing_maps = [affine_map<(a, b, c) -> (a)>, affine_map<(a, b, c) -> (a, b, c)>], iterator_types = ["parallel", "parallel", "parallel"]} ins(%t : tensor<1xf32>) outs(%e : tensor<1x1x8xf32>) {
  ^bb0(%a: f32, %o: f32):
    linalg.yield %a : f32
  } -> tensor<1x1x8xf32>
  %h, %n = wkv.token_shift %x state(%s) : (tensor<1x1x8xf32>, tensor<1x8xf32>) -> (tensor<1x1x8xf32>, tensor<1x8xf32>)
  %m = wkv.mix %x, %h by %mu : tensor<1x1x8xf32>, tensor<2x1x1x8xf32> -> tensor<2x1x1x8xf32>
  %m1 = tensor.extract_slice %m[1, 0, 0, 0] [1, 1, 1, 8] [1, 1, 1, 1] : tensor<2x1x1x8xf32> to tensor<1x1x8xf32>
  %r = scf.for %i = %c0 to %c7 step %c1 iter_args(%acc = %m1) -> tensor<1x1x8xf32> {
    %even = arith.cmpi slt, %i, %c2 : index
    %b = scf.if %even -> tensor<1x1x8xf32> {
      %g = linalg.generic {indexing_maps = [affine_map<(a, b, c) -> (a, b, c)>], iterator_types = ["parallel", "parallel", "parallel"]} outs(%e : tensor<1x1x8xf32>) {
      ^bb0(%o: f32):
        %k = linalg.index 2 : index
        %back = arith.subi %c7, %k : index
        %v = tensor.extract %acc[%c0, %c0, %back] : tensor<1x1x8xf32>
        linalg.yield %v : f32
      } -> tensor<1x1x8xf32>
      scf.yield %g : tensor<1x1x8xf32>
    } else {
      scf.yield %acc : tensor<1x1x8xf32>
    }
    scf.yield %b : tensor<1x1x8xf32>
  }
  %l = tensor.collapse_shape %r [[0, 1], [2]] : tensor<1x1x8xf32> into tensor<1x8xf32>
  return %l, %n : tensor<1x8xf32>, tensor<1x8xf32>
}
}
