// RUN: rwkv-opt %s --convert-wkv-to-linalg --canonicalize | FileCheck %s

// CHECK-DAG: #[[FULL:.*]] = affine_map<(d0, d1, d2, d3) -> (d0, d1, d2, d3)>
// CHECK-DAG: #[[ROW:.*]] = affine_map<(d0, d1, d2, d3) -> (d1, d2, d3)>
// CHECK-DAG: #[[MU:.*]] = affine_map<(d0, d1, d2, d3) -> (d0, 0, 0, d3)>

// With one token a shift costs nothing.
// CHECK-LABEL: @shift_one
// CHECK-NOT: wkv.
// CHECK-NOT: linalg
// CHECK: return
func.func @shift_one(%x: tensor<1x1x8xf32>, %s: tensor<1x8xf32>) -> (tensor<1x1x8xf32>, tensor<1x8xf32>) {
  %y, %n = wkv.token_shift %x state(%s) : (tensor<1x1x8xf32>, tensor<1x8xf32>) -> (tensor<1x1x8xf32>, tensor<1x8xf32>)
  return %y, %n : tensor<1x1x8xf32>, tensor<1x8xf32>
}

// CHECK-LABEL: @shift_cast
// CHECK: arith.truncf
// CHECK: arith.extf
func.func @shift_cast(%x: tensor<1x3x8xf16>, %s: tensor<1x8xf32>) -> (tensor<1x3x8xf16>, tensor<1x8xf32>) {
  %y, %n = wkv.token_shift %x state(%s) : (tensor<1x3x8xf16>, tensor<1x8xf32>) -> (tensor<1x3x8xf16>, tensor<1x8xf32>)
  return %y, %n : tensor<1x3x8xf16>, tensor<1x8xf32>
}

// The row to keep is the last one that counts.
// CHECK-LABEL: @shift_length
// CHECK-SAME: %[[X:[a-z0-9]+]]: tensor<1x3x8xf32>, %{{.*}}: tensor<1x8xf32>, %[[N:[a-z0-9]+]]: tensor<i64>
// CHECK: %[[E:.*]] = tensor.extract %[[N]][]
// CHECK: %[[I:.*]] = arith.index_cast %[[E]]
// CHECK: %[[L:.*]] = arith.subi %[[I]], %{{.*}}
// CHECK: tensor.extract_slice %[[X]][0, %[[L]], 0] [1, 1, 8]
func.func @shift_length(%x: tensor<1x3x8xf32>, %s: tensor<1x8xf32>, %n: tensor<i64>) -> (tensor<1x3x8xf32>, tensor<1x8xf32>) {
  %y, %m = wkv.token_shift %x state(%s) length(%n) : (tensor<1x3x8xf32>, tensor<1x8xf32>, tensor<i64>) -> (tensor<1x3x8xf32>, tensor<1x8xf32>)
  return %y, %m : tensor<1x3x8xf32>, tensor<1x8xf32>
}

// Several targets read one x; the axis of mu that is repeated is not loaded again.
// CHECK-LABEL: @mix_targets
// CHECK: linalg.generic {indexing_maps = [#[[ROW]], #[[ROW]], #[[MU]], #[[FULL]]]
func.func @mix_targets(%x: tensor<2x3x8xf16>, %mu: tensor<5x1x1x8xf16>) -> tensor<5x2x3x8xf16> {
  %y = wkv.mix %x, %x by %mu : tensor<2x3x8xf16>, tensor<5x1x1x8xf16> -> tensor<5x2x3x8xf16>
  return %y : tensor<5x2x3x8xf16>
}

// One root and one division for each row.
// CHECK-LABEL: @norm
// CHECK: linalg.generic {{.*}} iterator_types = ["parallel", "parallel"]}
// CHECK: math.sqrt
// CHECK: arith.divf
// CHECK: linalg.generic {{.*}} iterator_types = ["parallel", "parallel", "parallel"]}
// CHECK-NOT: arith.divf
// CHECK: return
func.func @norm(%x: tensor<1x2x8xf32>, %s: tensor<2x8xf32>, %b: tensor<8xf32>) -> tensor<1x2x8xf32> {
  %y = wkv.layer_norm %x scale(%s : tensor<2x8xf32>) bias(%b : tensor<8xf32>) {epsilon = 1.0e-5 : f64} : tensor<1x2x8xf32>
  return %y : tensor<1x2x8xf32>
}

// Half precision sums in float32; the matrices stay as they are.
// CHECK-LABEL: @lora
// CHECK-SAME: %{{.*}}: tensor<1x3x8xf16>, %[[DOWN:[a-z0-9]+]]: tensor<2x8xf16>, %[[UP:[a-z0-9]+]]: tensor<2x6xf16>
// CHECK: linalg.matmul indexing_maps = {{.*}} ins(%{{.*}}, %[[DOWN]] : tensor<3x8xf16>, tensor<2x8xf16>) outs(%{{.*}} : tensor<3x2xf32>)
// CHECK: math.tanh
// CHECK: linalg.matmul ins(%{{.*}}, %[[UP]] : tensor<3x2xf16>, tensor<2x6xf16>) outs(%{{.*}} : tensor<3x6xf32>)
// CHECK: arith.addf
// CHECK-NOT: wkv.
func.func @lora(%x: tensor<1x3x8xf16>, %down: tensor<2x8xf16>, %up: tensor<2x6xf16>, %b: tensor<6xf16>) -> tensor<1x3x6xf16> {
  %y = wkv.lora tanh %x, %down, %up bias(%b : tensor<6xf16>) {transpose_down} : tensor<1x3x8xf16>, tensor<2x8xf16>, tensor<2x6xf16> -> tensor<1x3x6xf16>
  return %y : tensor<1x3x6xf16>
}
