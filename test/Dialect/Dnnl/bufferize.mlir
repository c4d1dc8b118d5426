// RUN: rwkv-opt %s --one-shot-bufferize="bufferize-function-boundaries function-boundary-type-conversion=identity-layout-map" --split-input-file | FileCheck %s

// The old contents are not read: they need not be kept, and nothing is copied.
// CHECK-LABEL: func @overwrite
// CHECK-NOT: memref.alloc
// CHECK-NOT: memref.copy
// CHECK: dnnl.matmul transpose_b constant_b ins(%arg0, %arg1 : memref<8x4xf32>, memref<6x4xf32>) outs(%arg2 : memref<8x6xf32>)
// CHECK-NOT: memref.copy
// CHECK: return %arg2
func.func @overwrite(%a: tensor<8x4xf32>, %b: tensor<6x4xf32>, %c: tensor<8x6xf32>) -> tensor<8x6xf32> {
  %r = dnnl.matmul transpose_b constant_b ins(%a, %b : tensor<8x4xf32>, tensor<6x4xf32>) outs(%c : tensor<8x6xf32>) -> tensor<8x6xf32>
  return %r : tensor<8x6xf32>
}

// -----

// The old contents are still needed: a new buffer, without a copy of them.
// CHECK-LABEL: func @kept
// CHECK: %[[NEW:.*]] = memref.alloc
// CHECK-NOT: memref.copy
// CHECK: dnnl.matmul ins({{.*}}) outs(%[[NEW]]
func.func @kept(%a: tensor<8x4xf32>, %b: tensor<4x6xf32>, %c: tensor<8x6xf32>) -> (tensor<8x6xf32>, tensor<8x6xf32>) {
  %r = dnnl.matmul ins(%a, %b : tensor<8x4xf32>, tensor<4x6xf32>) outs(%c : tensor<8x6xf32>) -> tensor<8x6xf32>
  return %r, %c : tensor<8x6xf32>, tensor<8x6xf32>
}

// -----

// CHECK-LABEL: func @accumulate
// CHECK: %[[NEW:.*]] = memref.alloc
// CHECK: memref.copy %arg2, %[[NEW]]
// CHECK: dnnl.matmul accumulate ins({{.*}}) outs(%[[NEW]]
func.func @accumulate(%a: tensor<8x4xf32>, %b: tensor<4x6xf32>, %c: tensor<8x6xf32>) -> (tensor<8x6xf32>, tensor<8x6xf32>) {
  %r = dnnl.matmul accumulate ins(%a, %b : tensor<8x4xf32>, tensor<4x6xf32>) outs(%c : tensor<8x6xf32>) -> tensor<8x6xf32>
  return %r, %c : tensor<8x6xf32>, tensor<8x6xf32>
}

// -----

// An operand may not be overwritten while it is read.
// CHECK-LABEL: func @square
// CHECK: %[[NEW:.*]] = memref.alloc
// CHECK: dnnl.matmul ins(%arg0, %arg0 : {{.*}}) outs(%[[NEW]]
func.func @square(%a: tensor<4x4xf32>) -> tensor<4x4xf32> {
  %r = dnnl.matmul ins(%a, %a : tensor<4x4xf32>, tensor<4x4xf32>) outs(%a : tensor<4x4xf32>) -> tensor<4x4xf32>
  return %r : tensor<4x4xf32>
}

// -----

// A loop that carries the sums updates them in place.
// CHECK-LABEL: func @loop
// CHECK-NOT: memref.alloc
// CHECK: scf.for {{.*}} iter_args(%[[SUM:.*]] = %arg2)
// CHECK-NEXT: dnnl.matmul accumulate ins(%arg0, %arg1 {{.*}}) outs(%[[SUM]]
// CHECK-NEXT: scf.yield %[[SUM]]
func.func @loop(%a: tensor<8x4xf32>, %b: tensor<4x6xf32>, %c: tensor<8x6xf32>) -> tensor<8x6xf32> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c3 = arith.constant 3 : index
  %r = scf.for %i = %c0 to %c3 step %c1 iter_args(%old = %c) -> tensor<8x6xf32> {
    %n = dnnl.matmul accumulate ins(%a, %b : tensor<8x4xf32>, tensor<4x6xf32>) outs(%old : tensor<8x6xf32>) -> tensor<8x6xf32>
    scf.yield %n : tensor<8x6xf32>
  }
  return %r : tensor<8x6xf32>
}

// -----

// A constant that has to be copied has no lasting address.
// CHECK-LABEL: func @constants
// CHECK: %[[W:.*]] = memref.get_global
// CHECK: dnnl.matmul constant_b ins(%arg0, %[[W]]
// CHECK: %[[COPY:.*]] = memref.alloc() {{.*}}: memref<1x4x6xf32>
// CHECK: dnnl.matmul ins(%arg0, %
func.func @constants(%a: tensor<8x4xf32>, %c: tensor<8x6xf32>, %d: tensor<8x6xf32>) -> (tensor<8x6xf32>, tensor<8x6xf32>) {
  %w = arith.constant dense<2.5> : tensor<4x6xf32>
  %r = dnnl.matmul constant_b ins(%a, %w : tensor<8x4xf32>, tensor<4x6xf32>) outs(%c : tensor<8x6xf32>) -> tensor<8x6xf32>
  %all = arith.constant dense<1.5> : tensor<2x4x8xf32>
  %part = tensor.extract_slice %all[1, 0, 0] [1, 4, 6] [1, 1, 1] : tensor<2x4x8xf32> to tensor<1x4x6xf32>
  %flat = tensor.collapse_shape %part [[0, 1, 2]] : tensor<1x4x6xf32> into tensor<24xf32>
  %v = tensor.expand_shape %flat [[0, 1]] output_shape [4, 6] : tensor<24xf32> into tensor<4x6xf32>
  %s = dnnl.matmul constant_b ins(%a, %v : tensor<8x4xf32>, tensor<4x6xf32>) outs(%d : tensor<8x6xf32>) -> tensor<8x6xf32>
  return %r, %s : tensor<8x6xf32>, tensor<8x6xf32>
}

// -----

// What is added is read: it stays as it is, and the result has memory of its own.
// CHECK-LABEL: func @post
// CHECK: %[[NEW:.*]] = memref.alloc
// CHECK-NOT: memref.copy
// CHECK: dnnl.matmul ins({{.*}}) outs(%[[NEW]] : {{.*}}) post(relu, add %arg2 : memref<8x6xf32>)
func.func @post(%a: tensor<8x4xf32>, %b: tensor<4x6xf32>, %c: tensor<8x6xf32>) -> tensor<8x6xf32> {
  %r = dnnl.matmul ins(%a, %b : tensor<8x4xf32>, tensor<4x6xf32>) outs(%c : tensor<8x6xf32>) post(relu, add %c : tensor<8x6xf32>) -> tensor<8x6xf32>
  return %r : tensor<8x6xf32>
}
