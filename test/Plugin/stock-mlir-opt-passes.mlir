// The passes on buffers and the code generation in a stock mlir-opt, alone and as a pipeline of phases.
//
// RUN: mlir-opt %s --load-dialect-plugin=%rwkvc_lib/rwkv-plugin.so --load-pass-plugin=%rwkvc_lib/rwkv-plugin.so \
// RUN:   --pass-pipeline='builtin.module(rwkvc-outline-kernels,cpu-vectorize-kernels{vector-bits=512})' | FileCheck %s
// RUN: mlir-opt %s --load-dialect-plugin=%rwkvc_lib/rwkv-plugin.so --load-pass-plugin=%rwkvc_lib/rwkv-plugin.so \
// RUN:   --pass-pipeline='builtin.module(rwkvc-to-before-llvm,rwkvc-to-llvm)' | FileCheck %s --check-prefix=LLVM

// CHECK: func.func private @kernel_0
// CHECK: vector.load {{.*}} vector<16xf32>
// LLVM:  llvm.func @main
// LLVM:  vector<8xf32>
func.func @main(%x: memref<32xf32>, %y: memref<32xf32>) {
  linalg.exp ins(%x : memref<32xf32>) outs(%y : memref<32xf32>)
  return
}
