// RUN: rwkv-opt %s --split-input-file --transform-interpreter --canonicalize --cse | FileCheck %s

// Heads and value elements are split, key elements and tokens are not; each tile
// updates its part of the state in place.
// CHECK-LABEL: @wkv7
// CHECK-SAME: %[[I:[a-z0-9]+]]: tensor<1x3x4x8xf32>, %[[S:[a-z0-9]+]]: tensor<1x4x8x8xf32>
// CHECK: %[[R:.*]]:2 = scf.forall {{.*}} shared_outs(%[[Y:.*]] = %[[I]], %[[N:.*]] = %[[S]])
// CHECK-DAG: tensor.extract_slice %[[N]][0, %{{.*}}, %{{.*}}, 0] [1, 2, 4, 8] [1, 1, 1, 1]
// CHECK-DAG: tensor.extract_slice %[[Y]][0, 0, %{{.*}}, %{{.*}}] [1, 3, 2, 4] [1, 1, 1, 1]
// CHECK: %[[T:.*]], %[[M:.*]] = wkv.wkv7 {{.*}} -> (tensor<1x3x2x4xf32>, tensor<1x2x4x8xf32>)
// CHECK: tensor.parallel_insert_slice %[[T]] into %[[Y]]
// CHECK: tensor.parallel_insert_slice %[[M]] into %[[N]]
// CHECK: return %[[R]]#0, %[[R]]#1
func.func @wkv7(%h: tensor<1x3x4x8xf32>, %i: tensor<1x3x4x8xf32>, %s: tensor<1x4x8x8xf32>) -> (tensor<1x3x4x8xf32>, tensor<1x4x8x8xf32>) {
  %y, %n = wkv.wkv7 receptance(%h) decay(%h) key(%h) value(%h) a(%h) b(%h) init(%i) state(%s) : (tensor<1x3x4x8xf32>, tensor<1x3x4x8xf32>, tensor<1x3x4x8xf32>, tensor<1x3x4x8xf32>, tensor<1x3x4x8xf32>, tensor<1x3x4x8xf32>, tensor<1x3x4x8xf32>, tensor<1x4x8x8xf32>) -> (tensor<1x3x4x8xf32>, tensor<1x4x8x8xf32>)
  return %y, %n : tensor<1x3x4x8xf32>, tensor<1x4x8x8xf32>
}

module attributes {transform.with_named_sequence} {
  transform.named_sequence @__transform_main(%root: !transform.any_op {transform.readonly}) {
    %op = transform.structured.match ops{["wkv.wkv7"]} in %root : (!transform.any_op) -> !transform.any_op
    %tiled, %loop = transform.structured.tile_using_forall %op tile_sizes [0, 2, 4] : (!transform.any_op) -> (!transform.any_op, !transform.any_op)
    transform.yield
  }
}

// -----

// A static decay is the same for all sequences: the tile of two sequences reads its
// one row.
// CHECK-LABEL: @wkv6
// CHECK: scf.forall
// CHECK: tensor.extract_slice %{{.*}}[0, 0, %{{.*}}, 0] [1, 1, 2, 8] [1, 1, 1, 1] : tensor<1x1x4x8xf32>
// CHECK: wkv.wkv6 {{.*}} -> (tensor<2x1x2x8xf32>, tensor<2x2x8x8xf32>)
func.func @wkv6(%h: tensor<4x1x4x8xf32>, %w: tensor<1x1x4x8xf32>, %u: tensor<4x8xf32>, %i: tensor<4x1x4x8xf32>, %s: tensor<4x4x8x8xf32>) -> (tensor<4x1x4x8xf32>, tensor<4x4x8x8xf32>) {
  %y, %n = wkv.wkv6 receptance(%h) key(%h) value(%h) decay(%w) bonus(%u) init(%i) state(%s) : (tensor<4x1x4x8xf32>, tensor<4x1x4x8xf32>, tensor<4x1x4x8xf32>, tensor<1x1x4x8xf32>, tensor<4x8xf32>, tensor<4x1x4x8xf32>, tensor<4x4x8x8xf32>) -> (tensor<4x1x4x8xf32>, tensor<4x4x8x8xf32>)
  return %y, %n : tensor<4x1x4x8xf32>, tensor<4x4x8x8xf32>
}

module attributes {transform.with_named_sequence} {
  transform.named_sequence @__transform_main(%root: !transform.any_op {transform.readonly}) {
    %op = transform.structured.match ops{["wkv.wkv6"]} in %root : (!transform.any_op) -> !transform.any_op
    %tiled, %loop = transform.structured.tile_using_forall %op tile_sizes [2, 2, 0] : (!transform.any_op) -> (!transform.any_op, !transform.any_op)
    transform.yield
  }
}

// -----

// Channels of v4, in a sequential loop.
// CHECK-LABEL: @wkv4
// CHECK: scf.for
// CHECK: wkv.wkv4 {{.*}} -> (tensor<1x3x4xf32>, tensor<1x4xf32>, tensor<1x4xf32>, tensor<1x4xf32>)
func.func @wkv4(%k: tensor<1x3x16xf32>, %c: tensor<16xf32>, %s: tensor<1x16xf32>) -> (tensor<1x3x16xf32>, tensor<1x16xf32>, tensor<1x16xf32>, tensor<1x16xf32>) {
  %y, %a, %b, %p = wkv.wkv4 key(%k) value(%k) decay(%c) bonus(%c) init(%k) state(%s, %s, %s) : (tensor<1x3x16xf32>, tensor<1x3x16xf32>, tensor<16xf32>, tensor<16xf32>, tensor<1x3x16xf32>, tensor<1x16xf32>, tensor<1x16xf32>, tensor<1x16xf32>) -> (tensor<1x3x16xf32>, tensor<1x16xf32>, tensor<1x16xf32>, tensor<1x16xf32>)
  return %y, %a, %b, %p : tensor<1x3x16xf32>, tensor<1x16xf32>, tensor<1x16xf32>, tensor<1x16xf32>
}

module attributes {transform.with_named_sequence} {
  transform.named_sequence @__transform_main(%root: !transform.any_op {transform.readonly}) {
    %op = transform.structured.match ops{["wkv.wkv4"]} in %root : (!transform.any_op) -> !transform.any_op
    %tiled, %loop = transform.structured.tile_using_for %op tile_sizes [0, 4] : (!transform.any_op) -> (!transform.any_op, !transform.any_op)
    transform.yield
  }
}

// -----

// Every tile counts the same tokens.
// CHECK-LABEL: @wkv7_length
// CHECK-SAME: %[[N:[a-z0-9]+]]: tensor<i64>
// CHECK: scf.for
// CHECK: wkv.wkv7 {{.*}} length(%[[N]])
func.func @wkv7_length(%h: tensor<1x3x4x8xf32>, %s: tensor<1x4x8x8xf32>, %n: tensor<i64>) -> (tensor<1x3x4x8xf32>, tensor<1x4x8x8xf32>) {
  %y, %m = wkv.wkv7 receptance(%h) decay(%h) key(%h) value(%h) a(%h) b(%h) length(%n) init(%h) state(%s) : (tensor<1x3x4x8xf32>, tensor<1x3x4x8xf32>, tensor<1x3x4x8xf32>, tensor<1x3x4x8xf32>, tensor<1x3x4x8xf32>, tensor<1x3x4x8xf32>, tensor<i64>, tensor<1x3x4x8xf32>, tensor<1x4x8x8xf32>) -> (tensor<1x3x4x8xf32>, tensor<1x4x8x8xf32>)
  return %y, %m : tensor<1x3x4x8xf32>, tensor<1x4x8x8xf32>
}

module attributes {transform.with_named_sequence} {
  transform.named_sequence @__transform_main(%root: !transform.any_op {transform.readonly}) {
    %op = transform.structured.match ops{["wkv.wkv7"]} in %root : (!transform.any_op) -> !transform.any_op
    %tiled, %loop = transform.structured.tile_using_for %op tile_sizes [0, 2, 0] : (!transform.any_op) -> (!transform.any_op, !transform.any_op)
    transform.yield
  }
}
