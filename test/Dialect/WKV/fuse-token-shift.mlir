// RUN: rwkv-opt %s -wkv-fuse-token-shift | FileCheck %s
// RUN: rwkv-opt %s -wkv-fuse-token-shift=max-targets=1 | FileCheck %s --check-prefix=ONE

// The difference is computed once; a weight for all channels is not indexed by them.
// ONE-LABEL:   func.func @two
// ONE-COUNT-2:   wkv.mix
// CHECK-LABEL: func.func @two
// CHECK:         %[[S:.*]], %{{.*}} = wkv.token_shift %[[X:[a-z0-9]+]]
// CHECK-NOT:     wkv.mix
// CHECK:         %[[Y:.*]]:2 = linalg.generic {{.*}} ins(%[[X]], %[[S]], %{{.*}}, %{{.*}} : tensor<1x7x8xf32>, tensor<1x7x8xf32>, tensor<8xf32>, tensor<1xf32>)
// CHECK-NEXT:    ^bb0(%[[A:[a-z0-9_]+]]: f32, %[[B:[a-z0-9_]+]]: f32, %[[M0:[a-z0-9_]+]]: f32, %[[M1:[a-z0-9_]+]]: f32,
// CHECK-NEXT:      %[[D:.*]] = arith.subf %[[B]], %[[A]]
// CHECK-NEXT:      %[[P0:.*]] = arith.mulf %[[D]], %[[M0]]
// CHECK-NEXT:      %[[Y0:.*]] = arith.addf %[[A]], %[[P0]]
// CHECK-NEXT:      %[[P1:.*]] = arith.mulf %[[D]], %[[M1]]
// CHECK-NEXT:      %[[Y1:.*]] = arith.addf %[[A]], %[[P1]]
// CHECK-NEXT:      linalg.yield %[[Y0]], %[[Y1]]
// CHECK:         return %[[Y]]#0, %[[Y]]#1
func.func @two(%x: tensor<1x7x8xf32>, %old: tensor<1x8xf32>, %m0: tensor<8xf32>, %m1: tensor<1xf32>)
    -> (tensor<1x7x8xf32>, tensor<1x7x8xf32>, tensor<1x8xf32>) {
  %s, %new = wkv.token_shift %x state(%old) : (tensor<1x7x8xf32>, tensor<1x8xf32>) -> (tensor<1x7x8xf32>, tensor<1x8xf32>)
  %0 = wkv.mix %x, %s by %m0 : tensor<1x7x8xf32>, tensor<8xf32> -> tensor<1x7x8xf32>
  %1 = wkv.mix %x, %s by %m1 : tensor<1x7x8xf32>, tensor<1xf32> -> tensor<1x7x8xf32>
  return %0, %1, %new : tensor<1x7x8xf32>, tensor<1x7x8xf32>, tensor<1x8xf32>
}

// Half precision is computed in 32 bits.
// CHECK-LABEL: func.func @half
// CHECK:         linalg.generic
// CHECK:           arith.subf {{.*}} : f32
// CHECK-COUNT-2:   arith.truncf {{.*}} : f32 to f16
func.func @half(%x: tensor<1x1x8xf16>, %s: tensor<1x1x8xf16>, %m0: tensor<8xf16>, %m1: tensor<8xf16>)
    -> (tensor<1x1x8xf16>, tensor<1x1x8xf16>) {
  %0 = wkv.mix %x, %s by %m0 : tensor<1x1x8xf16>, tensor<8xf16> -> tensor<1x1x8xf16>
  %1 = wkv.mix %x, %s by %m1 : tensor<1x1x8xf16>, tensor<8xf16> -> tensor<1x1x8xf16>
  return %0, %1 : tensor<1x1x8xf16>, tensor<1x1x8xf16>
}

// Refused: one mix alone, weights that follow from the other mix, and several targets at once.
// CHECK-LABEL: func.func @refused
// CHECK-NOT:     linalg.generic
// CHECK-COUNT-4: wkv.mix
func.func @refused(%x: tensor<1x1x8xf32>, %s: tensor<1x1x8xf32>, %z: tensor<1x1x8xf32>, %m0: tensor<8xf32>,
                   %m5: tensor<5x1x1x8xf32>) -> (tensor<1x1x8xf32>, tensor<1x1x8xf32>, tensor<5x1x1x8xf32>) {
  %0 = wkv.mix %x, %s by %m0 : tensor<1x1x8xf32>, tensor<8xf32> -> tensor<1x1x8xf32>
  %1 = wkv.mix %x, %s by %0 : tensor<1x1x8xf32>, tensor<1x1x8xf32> -> tensor<1x1x8xf32>
  %2 = wkv.mix %x, %z by %m0 : tensor<1x1x8xf32>, tensor<8xf32> -> tensor<1x1x8xf32>
  %3 = wkv.mix %x, %s by %m5 : tensor<1x1x8xf32>, tensor<5x1x1x8xf32> -> tensor<5x1x1x8xf32>
  return %1, %2, %3 : tensor<1x1x8xf32>, tensor<1x1x8xf32>, tensor<5x1x1x8xf32>
}
