// RUN: rwkv-opt %s -wkv-tile-recurrences | FileCheck %s
// RUN: rwkv-opt %s -wkv-tile-recurrences=max-tiles=8 | FileCheck %s --check-prefix=FEW


// One sequence and one head; with few tiles, several heads in turn.
// CHECK-LABEL: @wkv7
// CHECK-SAME: %[[I:[a-z0-9]+]]: tensor<2x32x12x64xf32>, %[[S:[a-z0-9]+]]: tensor<2x12x64x64xf32>
// CHECK: scf.forall (%[[B:.*]], %[[H:.*]]) in (2, 12) shared_outs(%[[Y:.*]] = %[[I]], %[[N:.*]] = %[[S]])
// CHECK: tensor.extract_slice %[[N]][%[[B]], %[[H]], 0, 0] [1, 1, 64, 64] [1, 1, 1, 1]
// CHECK: wkv.wkv7 {{.*}} -> (tensor<1x32x1x64xf32>, tensor<1x1x64x64xf32>)
// FEW-LABEL: @wkv7
// FEW: scf.forall {{.*}} = (0) to (12) step (2)
// FEW: scf.for
// FEW: wkv.wkv7 {{.*}} -> (tensor<1x32x1x64xf32>, tensor<1x1x64x64xf32>)
func.func @wkv7(%h: tensor<2x32x12x64xf32>, %i: tensor<2x32x12x64xf32>, %s: tensor<2x12x64x64xf32>) -> (tensor<2x32x12x64xf32>, tensor<2x12x64x64xf32>) {
  %y, %n = wkv.wkv7 receptance(%h) decay(%h) key(%h) value(%h) a(%h) b(%h) init(%i) state(%s) : (tensor<2x32x12x64xf32>, tensor<2x32x12x64xf32>, tensor<2x32x12x64xf32>, tensor<2x32x12x64xf32>, tensor<2x32x12x64xf32>, tensor<2x32x12x64xf32>, tensor<2x32x12x64xf32>, tensor<2x12x64x64xf32>) -> (tensor<2x32x12x64xf32>, tensor<2x12x64x64xf32>)
  return %y, %n : tensor<2x32x12x64xf32>, tensor<2x12x64x64xf32>
}

// Long rows of values are split in the recurrent form, not in the chunked one.
// CHECK-LABEL: @wkv6
// CHECK: scf.forall {{.*}} = (0, 0) to (2, 128) step (1, 64)
// CHECK: wkv.wkv6 {{.*}} -> (tensor<1x32x1x64xf32>, tensor<1x1x16x64xf32>)
// CHECK: scf.forall {{.*}} in (2)
// CHECK: wkv.wkv6 {{.*}} {chunk = 16 : i64} {{.*}} -> (tensor<1x32x1x128xf32>, tensor<1x1x16x128xf32>)
func.func @wkv6(%h: tensor<1x32x2x16xf32>, %v: tensor<1x32x2x128xf32>, %u: tensor<2x16xf32>, %s: tensor<1x2x16x128xf32>) -> (tensor<1x32x2x128xf32>, tensor<1x2x16x128xf32>) {
  %y, %n = wkv.wkv6 receptance(%h) key(%h) value(%v) decay(%h) bonus(%u) init(%v) state(%s) : (tensor<1x32x2x16xf32>, tensor<1x32x2x16xf32>, tensor<1x32x2x128xf32>, tensor<1x32x2x16xf32>, tensor<2x16xf32>, tensor<1x32x2x128xf32>, tensor<1x2x16x128xf32>) -> (tensor<1x32x2x128xf32>, tensor<1x2x16x128xf32>)
  %z, %m = wkv.wkv6 receptance(%h) key(%h) value(%v) decay(%h) bonus(%u) init(%y) state(%n) {chunk = 16 : i64} : (tensor<1x32x2x16xf32>, tensor<1x32x2x16xf32>, tensor<1x32x2x128xf32>, tensor<1x32x2x16xf32>, tensor<2x16xf32>, tensor<1x32x2x128xf32>, tensor<1x2x16x128xf32>) -> (tensor<1x32x2x128xf32>, tensor<1x2x16x128xf32>)
  return %z, %m : tensor<1x32x2x128xf32>, tensor<1x2x16x128xf32>
}

// One token, and what is a single tile, stay whole.
// CHECK-LABEL: @whole
// CHECK-NOT: scf.forall
// CHECK: return
func.func @whole(%h: tensor<1x1x2x8xf32>, %s: tensor<1x2x8x8xf32>, %k: tensor<1x4x16xf32>, %c: tensor<16xf32>, %t: tensor<1x16xf32>) -> (tensor<1x2x8x8xf32>, tensor<1x4x16xf32>) {
  %y, %n = wkv.wkv7 receptance(%h) decay(%h) key(%h) value(%h) a(%h) b(%h) init(%h) state(%s) : (tensor<1x1x2x8xf32>, tensor<1x1x2x8xf32>, tensor<1x1x2x8xf32>, tensor<1x1x2x8xf32>, tensor<1x1x2x8xf32>, tensor<1x1x2x8xf32>, tensor<1x1x2x8xf32>, tensor<1x2x8x8xf32>) -> (tensor<1x1x2x8xf32>, tensor<1x2x8x8xf32>)
  %z, %a, %b, %p = wkv.wkv4 key(%k) value(%k) decay(%c) bonus(%c) init(%k) state(%t, %t, %t) : (tensor<1x4x16xf32>, tensor<1x4x16xf32>, tensor<16xf32>, tensor<16xf32>, tensor<1x4x16xf32>, tensor<1x16xf32>, tensor<1x16xf32>, tensor<1x16xf32>) -> (tensor<1x4x16xf32>, tensor<1x16xf32>, tensor<1x16xf32>, tensor<1x16xf32>)
  return %n, %z : tensor<1x2x8x8xf32>, tensor<1x4x16xf32>
}
