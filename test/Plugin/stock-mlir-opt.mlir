// RUN: mlir-opt %s --load-dialect-plugin=%rwkvc_lib/rwkv-plugin.so \
// RUN:   --load-pass-plugin=%rwkvc_lib/rwkv-plugin.so \
// RUN:   --pass-pipeline='builtin.module(convert-wkv-to-linalg)' | FileCheck %s

// CHECK: linalg.generic
// CHECK-NOT: wkv.mix
func.func @mix(%x: tensor<1x3x8xf32>, %mu: tensor<8xf32>) -> tensor<1x3x8xf32> {
  %y = wkv.mix %x, %x by %mu : tensor<1x3x8xf32>, tensor<8xf32> -> tensor<1x3x8xf32>
  return %y : tensor<1x3x8xf32>
}
