// Every phase ends with the dialects it promises, and the pipelines of rwkv-opt compose.
//
// RUN: rwkv-opt %s -rwkvc-to-after-import | FileCheck %s --check-prefix=IMPORT
// RUN: rwkv-opt %s -rwkvc-to-after-import -rwkvc-to-after-raise -rwkvc-to-after-wkv -rwkvc-to-before-bufferize > %t.1
// RUN: FileCheck %s --check-prefix=LINALG < %t.1
// RUN: rwkv-opt %t.1 -rwkvc-to-after-bufferize > %t.2
// RUN: FileCheck %s --check-prefix=BUFFER < %t.2
// RUN: rwkv-opt %t.2 -rwkvc-to-before-llvm | FileCheck %s --check-prefix=VECTOR
// RUN: rwkv-opt %t.2 -rwkvc-to-before-llvm=vector-bits=128 | FileCheck %s --check-prefix=VECTOR128
// RUN: rwkv-opt %t.2 -rwkvc-to-before-llvm -rwkvc-to-llvm | FileCheck %s --check-prefix=LLVM
//
// A phase refuses what the one before it should have left behind.
// RUN: not rwkv-opt %s -rwkvc-to-after-bufferize 2>&1 | FileCheck %s --check-prefix=EARLY
// EARLY: error: {{.*}}

// IMPORT: onnx.Add
// LINALG: func.func @main(%{{.*}}: memref<16x1xf32>, %{{.*}}: memref<1x16xf32>, %{{.*}}: memref<16x16xf32>, %{{.*}}: memref<0xi8>)
// LINALG: linalg.generic
// LINALG-NOT: onnx.
// BUFFER: linalg.generic {{.*}} ins(%{{.*}} : memref<
// BUFFER-NOT: tensor.
// VECTOR-NOT: linalg.
// VECTOR: vector<8xf32>
// VECTOR128: vector<4xf32>
// LLVM: llvm.func @main
// LLVM: fadd {{.*}} vector<8xf32>
func.func @main(%x: tensor<16x1xf32> {onnx.name = "x"}, %y: tensor<1x16xf32> {onnx.name = "y"})
    -> (tensor<16x16xf32> {onnx.name = "z"}) {
  %0 = "onnx.Add"(%x, %y) : (tensor<16x1xf32>, tensor<1x16xf32>) -> tensor<16x16xf32>
  return %0 : tensor<16x16xf32>
}
