// RUN: rwkv-opt %s -wkv-pad-token-shifts -split-input-file | FileCheck %s

// The norm is computed in the shape of the shift, and what else reads it reads the padded tensor.
// CHECK-LABEL: func.func @norm(
// CHECK-SAME:    %[[R:[^:]*]]: tensor<4x8xf32>, %{{[^:]*}}: tensor<8xf32>, %[[S:[^:]*]]: tensor<1x8xf32>
// CHECK-DAG:   %[[X:.*]] = tensor.expand_shape %[[R]] {{.*}} into tensor<1x4x8xf32>
// CHECK-DAG:   %[[E:.*]] = tensor.empty() : tensor<1x5x8xf32>
// CHECK-DAG:   %[[START:.*]] = tensor.insert_slice %[[S]] into %[[E]][0, 0, 0] [1, 1, 8] [1, 1, 1]
// CHECK:       %[[N:.*]] = wkv.layer_norm %[[X]] {{.*}} : tensor<1x4x8xf32>
// CHECK:       %[[ALL:.*]] = tensor.insert_slice %[[N]] into %[[START]][0, 1, 0] [1, 4, 8] [1, 1, 1]
// CHECK-DAG:   %[[TOKENS:.*]] = tensor.extract_slice %[[ALL]][0, 1, 0] [1, 4, 8] [1, 1, 1]
// CHECK-DAG:   %[[SHIFTED:.*]] = tensor.extract_slice %[[ALL]][0, 0, 0] [1, 4, 8] [1, 1, 1]
// CHECK-DAG:   %[[FLAT:.*]] = tensor.collapse_shape %[[TOKENS]]
// CHECK-DAG:   %[[KEPT:.*]] = tensor.extract_slice %[[ALL]][0, 4, 0] [1, 1, 8] [1, 1, 1]
// CHECK:       return %[[FLAT]], %[[SHIFTED]], %[[KEPT]]
func.func @norm(%x: tensor<4x8xf32>, %scale: tensor<8xf32>, %state: tensor<1x8xf32>)
    -> (tensor<4x8xf32>, tensor<1x4x8xf32>, tensor<1x8xf32>) {
  %0 = wkv.layer_norm %x scale(%scale : tensor<8xf32>) {epsilon = 1.0e-05 : f64} : tensor<4x8xf32>
  %1 = tensor.expand_shape %0 [[0, 1], [2]] output_shape [1, 4, 8] : tensor<4x8xf32> into tensor<1x4x8xf32>
  %shifted, %kept = wkv.token_shift %1 state(%state) : (tensor<1x4x8xf32>, tensor<1x8xf32>) -> (tensor<1x4x8xf32>, tensor<1x8xf32>)
  return %0, %shifted, %kept : tensor<4x8xf32>, tensor<1x4x8xf32>, tensor<1x8xf32>
}

// -----

// Of %length tokens, the last one's row is kept.
// CHECK-LABEL: func.func @length(
// CHECK-SAME:    %[[L:[^:]*]]: tensor<i64>
// CHECK:       %[[N:.*]] = tensor.extract %[[L]][]
// CHECK:       %[[AT:.*]] = arith.index_cast %[[N]]
// CHECK:       tensor.extract_slice %{{.*}}[0, %[[AT]], 0] [1, 1, 8] [1, 1, 1]
func.func @length(%x: tensor<1x4x8xf32>, %state: tensor<1x8xf32>, %length: tensor<i64>)
    -> (tensor<1x4x8xf32>, tensor<1x8xf32>) {
  %e = tensor.empty() : tensor<1x4x8xf32>
  %0 = linalg.exp ins(%x : tensor<1x4x8xf32>) outs(%e : tensor<1x4x8xf32>) -> tensor<1x4x8xf32>
  %shifted, %kept = wkv.token_shift %0 state(%state) length(%length) : (tensor<1x4x8xf32>, tensor<1x8xf32>, tensor<i64>) -> (tensor<1x4x8xf32>, tensor<1x8xf32>)
  return %shifted, %kept : tensor<1x4x8xf32>, tensor<1x8xf32>
}

// -----

// The reshape of a state that is there moves before the norm.
// CHECK-LABEL: func.func @reshaped_state(
// CHECK-SAME:    %{{[^:]*}}: tensor<1x4x8xf32>, %{{[^:]*}}: tensor<8xf32>, %[[S:[^:]*]]: tensor<8xf32>
// CHECK:       tensor.expand_shape %[[S]]
// CHECK:       wkv.layer_norm
// CHECK-NOT:   wkv.token_shift
func.func @reshaped_state(%x: tensor<1x4x8xf32>, %scale: tensor<8xf32>, %state: tensor<8xf32>) -> tensor<1x4x8xf32> {
  %0 = wkv.layer_norm %x scale(%scale : tensor<8xf32>) {epsilon = 1.0e-05 : f64} : tensor<1x4x8xf32>
  %s = tensor.expand_shape %state [[0, 1]] output_shape [1, 8] : tensor<8xf32> into tensor<1x8xf32>
  %shifted, %kept = wkv.token_shift %0 state(%s) : (tensor<1x4x8xf32>, tensor<1x8xf32>) -> (tensor<1x4x8xf32>, tensor<1x8xf32>)
  return %shifted : tensor<1x4x8xf32>
}

// -----

// One token, several texts, rows that are an argument, a state of another type, a state that comes later.
// CHECK-LABEL: func.func @stay(
// CHECK-COUNT-5: wkv.token_shift
// CHECK-NOT:   tensor.insert_slice
func.func @stay(%x: tensor<1x1x8xf32>, %y: tensor<2x4x8xf32>, %z: tensor<1x4x8xf32>,
                %s: tensor<1x8xf32>, %s2: tensor<2x8xf32>, %h: tensor<1x8xf16>) {
  %e1 = tensor.empty() : tensor<1x1x8xf32>
  %0 = linalg.exp ins(%x : tensor<1x1x8xf32>) outs(%e1 : tensor<1x1x8xf32>) -> tensor<1x1x8xf32>
  %shifted0, %kept0 = wkv.token_shift %0 state(%s) : (tensor<1x1x8xf32>, tensor<1x8xf32>) -> (tensor<1x1x8xf32>, tensor<1x8xf32>)
  %e2 = tensor.empty() : tensor<2x4x8xf32>
  %1 = linalg.exp ins(%y : tensor<2x4x8xf32>) outs(%e2 : tensor<2x4x8xf32>) -> tensor<2x4x8xf32>
  %shifted1, %kept1 = wkv.token_shift %1 state(%s2) : (tensor<2x4x8xf32>, tensor<2x8xf32>) -> (tensor<2x4x8xf32>, tensor<2x8xf32>)
  %shifted2, %kept2 = wkv.token_shift %z state(%s) : (tensor<1x4x8xf32>, tensor<1x8xf32>) -> (tensor<1x4x8xf32>, tensor<1x8xf32>)
  %e = tensor.empty() : tensor<1x4x8xf32>
  %2 = linalg.exp ins(%z : tensor<1x4x8xf32>) outs(%e : tensor<1x4x8xf32>) -> tensor<1x4x8xf32>
  %shifted3, %kept3 = wkv.token_shift %2 state(%h) : (tensor<1x4x8xf32>, tensor<1x8xf16>) -> (tensor<1x4x8xf32>, tensor<1x8xf16>)
  %es = tensor.empty() : tensor<1x8xf32>
  %late = linalg.exp ins(%s : tensor<1x8xf32>) outs(%es : tensor<1x8xf32>) -> tensor<1x8xf32>
  %shifted4, %kept4 = wkv.token_shift %2 state(%late) : (tensor<1x4x8xf32>, tensor<1x8xf32>) -> (tensor<1x4x8xf32>, tensor<1x8xf32>)
  return
}
