// RUN: rwkv-opt %s -wkv-tile-norms | FileCheck %s
// RUN: rwkv-opt %s -wkv-tile-norms=rows=3 | FileCheck %s --check-prefix=THREE
// RUN: not rwkv-opt %s -wkv-tile-norms=rows=0 2>&1 | FileCheck %s --check-prefix=NONE

// NONE: error: rows=0: expected at least 1

// The tokens, the last axis before the channels, in parts of 8.
// CHECK-LABEL: func.func @tokens(
// CHECK-SAME:    %[[X:[^:]*]]: tensor<2x24x16xf32>
// CHECK:       scf.forall (%[[T:.*]]) = (0) to (24) step (8) shared_outs(%[[O:.*]] = %{{.*}}) -> (tensor<2x24x16xf32>)
// CHECK:         %[[PART:.*]] = tensor.extract_slice %[[X]][0, %[[T]], 0] [2, 8, 16] [1, 1, 1]
// CHECK:         %[[N:.*]] = wkv.layer_norm %[[PART]] scale
// CHECK:         tensor.parallel_insert_slice %[[N]] into %[[O]][0, %[[T]], 0] [2, 8, 16] [1, 1, 1]
// THREE-LABEL: func.func @tokens(
// THREE:         step (3)
func.func @tokens(%x: tensor<2x24x16xf32>, %scale: tensor<16xf32>) -> tensor<2x24x16xf32> {
  %0 = wkv.layer_norm %x scale(%scale : tensor<16xf32>) {epsilon = 1.0e-05 : f64} : tensor<2x24x16xf32>
  return %0 : tensor<2x24x16xf32>
}

// 22 is a multiple of no other number up to 8: parts are of one size.
// CHECK-LABEL: func.func @uneven(
// CHECK:         step (2)
// THREE-LABEL: func.func @uneven(
// THREE:         step (2)
func.func @uneven(%x: tensor<22x16xf32>, %bias: tensor<16xf32>) -> tensor<22x16xf32> {
  %0 = wkv.layer_norm %x bias(%bias : tensor<16xf32>) {epsilon = 1.0e-05 : f64} : tensor<22x16xf32>
  return %0 : tensor<22x16xf32>
}

// One token, few tokens, and heads.
// CHECK-LABEL: func.func @stay(
// CHECK-NOT:   scf.forall
// CHECK:       return
func.func @stay(%x: tensor<1x1x16xf32>, %y: tensor<8x16xf32>, %z: tensor<24x2x8xf32>, %scale: tensor<16xf32>,
                %heads: tensor<2x8xf32>) -> (tensor<1x1x16xf32>, tensor<8x16xf32>, tensor<24x2x8xf32>) {
  %0 = wkv.layer_norm %x scale(%scale : tensor<16xf32>) {epsilon = 1.0e-05 : f64} : tensor<1x1x16xf32>
  %1 = wkv.layer_norm %y scale(%scale : tensor<16xf32>) {epsilon = 1.0e-05 : f64} : tensor<8x16xf32>
  %2 = wkv.layer_norm %z scale(%heads : tensor<2x8xf32>) {epsilon = 1.0e-05 : f64} : tensor<24x2x8xf32>
  return %0, %1, %2 : tensor<1x1x16xf32>, tensor<8x16xf32>, tensor<24x2x8xf32>
}
