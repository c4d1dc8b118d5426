// RUN: rwkv-opt %s -wkv-tile-token-shifts -cse -split-input-file | FileCheck %s
// RUN: rwkv-opt %s -wkv-tile-token-shifts=rows=4 -cse -split-input-file | FileCheck %s --check-prefix=FOUR
// RUN: not rwkv-opt %s -wkv-tile-token-shifts=rows=1 -split-input-file 2>&1 | FileCheck %s --check-prefix=NONE

// NONE: error: rows=1: expected at least 2

// Each part normalises its own rows and the one before, and the state's row comes before the first. The row of the
// part in which the %length tokens end is the new state.
// CHECK-LABEL: func.func @norm(
// CHECK-SAME:    %[[ROWS:[^:]*]]: tensor<16x8xf32>, %{{[^:]*}}: tensor<8xf32>, %[[S:[^:]*]]: tensor<1x8xf32>, %[[M0:[^:]*]]: tensor<8xf32>, %[[M1:[^:]*]]: tensor<1x1xf32>, %[[L:[^:]*]]: tensor<i64>
// CHECK-DAG:   %[[X:.*]] = tensor.expand_shape %[[ROWS]]
// CHECK-DAG:   %[[MU1:.*]] = tensor.collapse_shape %[[M1]] {{.*}} into tensor<1xf32>
// CHECK-DAG:   %[[COUNT:.*]] = tensor.extract %[[L]][]
// CHECK-DAG:   %[[N:.*]] = arith.index_cast %[[COUNT]]
// CHECK:       %[[Y:.*]]:3 = scf.forall (%{{.*}}, %[[I:.*]]) in (1, 2) shared_outs({{.*}}) -> (tensor<1x16x8xf32>, tensor<1x16x8xf32>, tensor<1x2x8xf32>)
// CHECK:         %[[T:.*]] = arith.muli %[[I]], %c8
// CHECK:         %[[OLD:.*]] = tensor.extract_slice %[[S]]
// CHECK:         %[[BACK:.*]] = arith.subi %[[T]], %c1
// CHECK:         %[[BEFORE:.*]] = arith.maxsi %[[BACK]], %c0
// CHECK:         %[[PART0:.*]] = tensor.extract_slice %[[X]][%{{.*}}, %[[BEFORE]], 0] [1, 1, 8] [1, 1, 1]
// CHECK:         %[[NORM0:.*]] = wkv.layer_norm %[[PART0]]
// CHECK:         %[[FIRST:.*]] = arith.cmpi eq, %[[I]], %c0
// CHECK:         %[[ROW:.*]] = linalg.generic {{.*}} ins(%[[OLD]], %[[NORM0]]
// CHECK:           arith.select %[[FIRST]]
// CHECK:         %[[PART:.*]] = tensor.extract_slice %[[X]][%{{.*}}, %[[T]], 0] [1, 8, 8] [1, 1, 1]
// CHECK:         %[[NORM:.*]] = wkv.layer_norm %[[PART]]
// CHECK:         %[[REST:.*]] = arith.subi %[[N]], %[[T]]
// CHECK:         %[[LOW:.*]] = arith.maxsi %[[REST]], %c1
// CHECK:         %[[HIGH:.*]] = arith.minsi %[[LOW]], %c8
// CHECK:         %[[SHIFTED:.*]], %[[KEPT:.*]] = wkv.token_shift %[[NORM]] state(%[[ROW]]) length
// CHECK:         %[[MIX0:.*]] = wkv.mix %[[NORM]], %[[SHIFTED]] by %[[M0]]
// CHECK:         %[[MIX1:.*]] = wkv.mix %[[NORM]], %[[SHIFTED]] by %[[MU1]]
// CHECK:         %[[KEPT3:.*]] = tensor.expand_shape %[[KEPT]]
// CHECK:         scf.forall.in_parallel {
// CHECK:           tensor.parallel_insert_slice %[[MIX0]] into %{{.*}}[%{{.*}}, %[[T]], 0] [1, 8, 8] [1, 1, 1]
// CHECK:           tensor.parallel_insert_slice %[[MIX1]] into %{{.*}}[%{{.*}}, %[[T]], 0] [1, 8, 8] [1, 1, 1]
// CHECK:           tensor.parallel_insert_slice %[[KEPT3]] into %{{.*}}[%{{.*}}, %[[I]], 0] [1, 1, 8] [1, 1, 1]
// CHECK-DAG:   tensor.collapse_shape %[[Y]]#0
// CHECK-DAG:   tensor.collapse_shape %[[Y]]#1
// CHECK:       %[[LAST:.*]] = arith.subi %[[N]], %c1
// CHECK:       %[[END:.*]] = arith.divsi %[[LAST]], %c8
// CHECK:       %[[STATE:.*]] = tensor.extract_slice %[[Y]]#2[0, %[[END]], 0] [1, 1, 8] [1, 1, 1]
// CHECK:       wkv.token_shift %[[STATE]] state(%[[S]])
// CHECK-NOT:   wkv.layer_norm
// FOUR-LABEL:  func.func @norm(
// FOUR:        scf.forall (%{{.*}}, %{{.*}}) in (1, 4)
func.func @norm(%x: tensor<16x8xf32>, %scale: tensor<8xf32>, %state: tensor<1x8xf32>, %m0: tensor<8xf32>,
                %m1: tensor<1x1xf32>, %length: tensor<i64>) -> (tensor<16x8xf32>, tensor<16x8xf32>, tensor<1x8xf32>) {
  %0 = wkv.layer_norm %x scale(%scale : tensor<8xf32>) {epsilon = 1.0e-05 : f64} : tensor<16x8xf32>
  %1 = tensor.expand_shape %0 [[0, 1], [2]] output_shape [1, 16, 8] : tensor<16x8xf32> into tensor<1x16x8xf32>
  %shifted, %kept = wkv.token_shift %1 state(%state) length(%length) : (tensor<1x16x8xf32>, tensor<1x8xf32>, tensor<i64>) -> (tensor<1x16x8xf32>, tensor<1x8xf32>)
  %2 = tensor.collapse_shape %shifted [[0, 1], [2]] : tensor<1x16x8xf32> into tensor<16x8xf32>
  %3 = wkv.mix %0, %2 by %m0 : tensor<16x8xf32>, tensor<8xf32> -> tensor<16x8xf32>
  %4 = wkv.mix %0, %2 by %m1 : tensor<16x8xf32>, tensor<1x1xf32> -> tensor<16x8xf32>
  return %3, %4, %kept : tensor<16x8xf32>, tensor<16x8xf32>, tensor<1x8xf32>
}

// -----

// Few tokens of several texts: no row is normalised twice. The state is converted as the shift would.
// CHECK-LABEL: func.func @texts(
// CHECK:       scf.forall (%[[B:.*]], %{{.*}}) in (3, 1)
// CHECK:         %[[OLD:.*]] = tensor.extract_slice %{{.*}}[%[[B]], 0] [1, 8] [1, 1] : tensor<3x8xf16>
// CHECK:         %[[ROW:.*]] = linalg.generic {{.*}} ins(%[[OLD]]
// CHECK:           arith.extf
// CHECK:         wkv.layer_norm
// CHECK-NOT:     wkv.layer_norm
// CHECK:         wkv.token_shift %{{.*}} state(%[[ROW]])
func.func @texts(%x: tensor<3x4x8xf32>, %state: tensor<3x8xf16>, %mu: tensor<8xf32>) -> (tensor<3x4x8xf32>, tensor<3x8xf16>) {
  %0 = wkv.layer_norm %x {epsilon = 1.0e-05 : f64} : tensor<3x4x8xf32>
  %shifted, %kept = wkv.token_shift %0 state(%state) : (tensor<3x4x8xf32>, tensor<3x8xf16>) -> (tensor<3x4x8xf32>, tensor<3x8xf16>)
  %1 = wkv.mix %0, %shifted by %mu : tensor<3x4x8xf32>, tensor<8xf32> -> tensor<3x4x8xf32>
  return %1, %kept : tensor<3x4x8xf32>, tensor<3x8xf16>
}

// -----

// A mix by weights that follow from another one comes later, so the loop gives the rows too; the shift stays for it.
// CHECK-LABEL: func.func @dependent(
// CHECK:       %[[Y:.*]]:2 = scf.forall {{.*}} -> (tensor<1x16x8xf32>, tensor<1x16x8xf32>)
// CHECK-COUNT-1: wkv.mix
// CHECK:       scf.forall.in_parallel
// CHECK:       %[[S:.*]], %{{.*}} = wkv.token_shift %[[Y]]#1
// CHECK:       wkv.mix %[[Y]]#1, %[[S]] by %[[Y]]#0
func.func @dependent(%x: tensor<1x16x8xf32>, %state: tensor<1x8xf32>, %mu: tensor<8xf32>) -> (tensor<1x16x8xf32>, tensor<1x8xf32>) {
  %0 = wkv.layer_norm %x {epsilon = 1.0e-05 : f64} : tensor<1x16x8xf32>
  %shifted, %kept = wkv.token_shift %0 state(%state) : (tensor<1x16x8xf32>, tensor<1x8xf32>) -> (tensor<1x16x8xf32>, tensor<1x8xf32>)
  %1 = wkv.mix %0, %shifted by %mu : tensor<1x16x8xf32>, tensor<8xf32> -> tensor<1x16x8xf32>
  %2 = wkv.mix %0, %shifted by %1 : tensor<1x16x8xf32>, tensor<1x16x8xf32> -> tensor<1x16x8xf32>
  return %2, %kept : tensor<1x16x8xf32>, tensor<1x8xf32>
}

// -----

// Refused: one part of one text, a prime number of tokens, no interpolation, a norm of heads, a state from the norm.
// CHECK-LABEL: func.func @stay(
// CHECK-NOT:   scf.forall
// CHECK:       return
func.func @stay(%x: tensor<1x8x8xf32>, %p: tensor<1x13x8xf32>, %y: tensor<1x16x8xf32>, %state: tensor<1x8xf32>,
                %mu: tensor<8xf32>, %heads: tensor<16x8xf32>)
    -> (tensor<1x8x8xf32>, tensor<1x13x8xf32>, tensor<1x16x8xf32>, tensor<1x16x8xf32>, tensor<1x16x8xf32>) {
  %0 = wkv.layer_norm %x {epsilon = 1.0e-05 : f64} : tensor<1x8x8xf32>
  %s0, %k0 = wkv.token_shift %0 state(%state) : (tensor<1x8x8xf32>, tensor<1x8xf32>) -> (tensor<1x8x8xf32>, tensor<1x8xf32>)
  %m0 = wkv.mix %0, %s0 by %mu : tensor<1x8x8xf32>, tensor<8xf32> -> tensor<1x8x8xf32>
  %1 = wkv.layer_norm %p {epsilon = 1.0e-05 : f64} : tensor<1x13x8xf32>
  %s1, %k1 = wkv.token_shift %1 state(%state) : (tensor<1x13x8xf32>, tensor<1x8xf32>) -> (tensor<1x13x8xf32>, tensor<1x8xf32>)
  %m1 = wkv.mix %1, %s1 by %mu : tensor<1x13x8xf32>, tensor<8xf32> -> tensor<1x13x8xf32>
  %2 = wkv.layer_norm %y {epsilon = 1.0e-05 : f64} : tensor<1x16x8xf32>
  %s2, %k2 = wkv.token_shift %2 state(%state) : (tensor<1x16x8xf32>, tensor<1x8xf32>) -> (tensor<1x16x8xf32>, tensor<1x8xf32>)
  %3 = wkv.layer_norm %y scale(%heads : tensor<16x8xf32>) {epsilon = 1.0e-05 : f64} : tensor<1x16x8xf32>
  %s3, %k3 = wkv.token_shift %3 state(%state) : (tensor<1x16x8xf32>, tensor<1x8xf32>) -> (tensor<1x16x8xf32>, tensor<1x8xf32>)
  %m3 = wkv.mix %3, %s3 by %mu : tensor<1x16x8xf32>, tensor<8xf32> -> tensor<1x16x8xf32>
  %late = tensor.extract_slice %2[0, 0, 0] [1, 1, 8] [1, 1, 1] : tensor<1x16x8xf32> to tensor<1x8xf32>
  %4 = wkv.layer_norm %y {epsilon = 1.0e-06 : f64} : tensor<1x16x8xf32>
  %sum = arith.addf %late, %state : tensor<1x8xf32>
  %s4, %k4 = wkv.token_shift %4 state(%sum) : (tensor<1x16x8xf32>, tensor<1x8xf32>) -> (tensor<1x16x8xf32>, tensor<1x8xf32>)
  %m4 = wkv.mix %4, %s4 by %mu : tensor<1x16x8xf32>, tensor<8xf32> -> tensor<1x16x8xf32>
  return %m0, %m1, %s2, %m3, %m4 : tensor<1x8x8xf32>, tensor<1x13x8xf32>, tensor<1x16x8xf32>, tensor<1x16x8xf32>, tensor<1x16x8xf32>
}
