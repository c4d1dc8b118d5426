// RUN: rwkv-opt %s --convert-wkv-to-linalg | FileCheck %s

// One token needs no loop, and the state is the destination of its update.
// CHECK-LABEL: @wkv7_step
// CHECK-SAME: %[[S:[a-z0-9]+]]: tensor<1x2x4x4xf32>
// CHECK-NOT: scf.for
// CHECK: linalg.generic {{.*}} outs(%[[S]] :
func.func @wkv7_step(%h: tensor<1x1x2x4xf32>, %s: tensor<1x2x4x4xf32>) -> (tensor<1x1x2x4xf32>, tensor<1x2x4x4xf32>) {
  %y, %n = wkv.wkv7 receptance(%h) decay(%h) key(%h) value(%h) a(%h) b(%h) init(%h) state(%s) : (tensor<1x1x2x4xf32>, tensor<1x1x2x4xf32>, tensor<1x1x2x4xf32>, tensor<1x1x2x4xf32>, tensor<1x1x2x4xf32>, tensor<1x1x2x4xf32>, tensor<1x1x2x4xf32>, tensor<1x2x4x4xf32>) -> (tensor<1x1x2x4xf32>, tensor<1x2x4x4xf32>)
  return %y, %n : tensor<1x1x2x4xf32>, tensor<1x2x4x4xf32>
}

// CHECK-LABEL: @wkv6_tokens
// CHECK: scf.for
// CHECK-NOT: wkv.
func.func @wkv6_tokens(%h: tensor<1x5x2x4xf32>, %w: tensor<1x1x2x4xf32>, %u: tensor<2x4xf32>, %s: tensor<1x2x4x4xf32>) -> (tensor<1x5x2x4xf32>, tensor<1x2x4x4xf32>) {
  %y, %n = wkv.wkv6 receptance(%h) key(%h) value(%h) decay(%w) bonus(%u) init(%h) state(%s) : (tensor<1x5x2x4xf32>, tensor<1x5x2x4xf32>, tensor<1x5x2x4xf32>, tensor<1x1x2x4xf32>, tensor<2x4xf32>, tensor<1x5x2x4xf32>, tensor<1x2x4x4xf32>) -> (tensor<1x5x2x4xf32>, tensor<1x2x4x4xf32>)
  return %y, %n : tensor<1x5x2x4xf32>, tensor<1x2x4x4xf32>
}

// Only the leading tokens that count are run through.
// CHECK-LABEL: @wkv6_length
// CHECK-SAME: %[[N:[a-z0-9]+]]: tensor<i64>
// CHECK: %[[E:.*]] = tensor.extract %[[N]][]
// CHECK: %[[I:.*]] = arith.index_cast %[[E]]
// CHECK: scf.for {{.*}} to %[[I]]
func.func @wkv6_length(%h: tensor<1x5x2x4xf32>, %u: tensor<2x4xf32>, %n: tensor<i64>, %s: tensor<1x2x4x4xf32>) -> (tensor<1x5x2x4xf32>, tensor<1x2x4x4xf32>) {
  %y, %m = wkv.wkv6 receptance(%h) key(%h) value(%h) decay(%h) bonus(%u) length(%n) init(%h) state(%s) : (tensor<1x5x2x4xf32>, tensor<1x5x2x4xf32>, tensor<1x5x2x4xf32>, tensor<1x5x2x4xf32>, tensor<2x4xf32>, tensor<i64>, tensor<1x5x2x4xf32>, tensor<1x2x4x4xf32>) -> (tensor<1x5x2x4xf32>, tensor<1x2x4x4xf32>)
  return %y, %m : tensor<1x5x2x4xf32>, tensor<1x2x4x4xf32>
}

// Whole chunks first, then what is left, up to the length.
// CHECK-LABEL: @wkv6_chunks
// CHECK: %[[E:.*]] = tensor.extract
// CHECK: %[[I:.*]] = arith.index_cast %[[E]]
// CHECK: %[[REST:.*]] = arith.remui %[[I]], %c16
// CHECK: %[[WHOLE:.*]] = arith.subi %[[I]], %[[REST]]
// CHECK: scf.for {{.*}} = %c0 to %[[WHOLE]] step %c16
// CHECK: scf.for {{.*}} = %[[WHOLE]] to %[[I]] step %c1
func.func @wkv6_chunks(%h: tensor<1x40x2x4xf32>, %u: tensor<2x4xf32>, %n: tensor<i64>, %s: tensor<1x2x4x4xf32>) -> (tensor<1x40x2x4xf32>, tensor<1x2x4x4xf32>) {
  %y, %m = wkv.wkv6 receptance(%h) key(%h) value(%h) decay(%h) bonus(%u) length(%n) init(%h) state(%s) {chunk = 16 : i64} : (tensor<1x40x2x4xf32>, tensor<1x40x2x4xf32>, tensor<1x40x2x4xf32>, tensor<1x40x2x4xf32>, tensor<2x4xf32>, tensor<i64>, tensor<1x40x2x4xf32>, tensor<1x2x4x4xf32>) -> (tensor<1x40x2x4xf32>, tensor<1x2x4x4xf32>)
  return %y, %m : tensor<1x40x2x4xf32>, tensor<1x2x4x4xf32>
}

// The state of v7 is turned over for the whole block, so that values lie side by side.
// CHECK-LABEL: @wkv7_block
// CHECK-SAME: %[[S:[a-z0-9]+]]: tensor<1x2x4x8xf32>
// CHECK: %[[P:.*]] = linalg.generic {{.*}} ins(%[[S]] : {{.*}}) outs(%{{.*}} : tensor<1x2x8x4xf32>)
// CHECK: %[[L:.*]]:2 = scf.for {{.*}} iter_args(%{{.*}} = %{{.*}}, %{{.*}} = %[[P]])
// CHECK: linalg.generic {{.*}} ins(%[[L]]#1 : tensor<1x2x8x4xf32>) outs(%[[S]] :
func.func @wkv7_block(%h: tensor<1x3x2x8xf32>, %v: tensor<1x3x2x4xf32>, %s: tensor<1x2x4x8xf32>) -> (tensor<1x3x2x4xf32>, tensor<1x2x4x8xf32>) {
  %y, %m = wkv.wkv7 receptance(%h) decay(%h) key(%h) value(%v) a(%h) b(%h) init(%v) state(%s) : (tensor<1x3x2x8xf32>, tensor<1x3x2x8xf32>, tensor<1x3x2x8xf32>, tensor<1x3x2x4xf32>, tensor<1x3x2x8xf32>, tensor<1x3x2x8xf32>, tensor<1x3x2x4xf32>, tensor<1x2x4x8xf32>) -> (tensor<1x3x2x4xf32>, tensor<1x2x4x8xf32>)
  return %y, %m : tensor<1x3x2x4xf32>, tensor<1x2x4x8xf32>
}

// A single row: the sums have no dimension left.
// CHECK-LABEL: @norm_row
// CHECK: linalg.generic
// CHECK-NOT: wkv.
func.func @norm_row(%x: tensor<8xf32>) -> tensor<8xf32> {
  %y = wkv.layer_norm %x {epsilon = 1.0e-5 : f64} : tensor<8xf32>
  return %y : tensor<8xf32>
}
