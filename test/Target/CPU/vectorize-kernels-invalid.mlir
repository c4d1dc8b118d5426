// RUN: rwkv-opt %s -cpu-vectorize-kernels -verify-diagnostics

func.func @tensors(%x: tensor<8xf32>, %y: tensor<8xf32>) -> tensor<8xf32> {
  // expected-error@below {{'linalg.copy' op must be on buffers before it becomes loops}}
  %0 = linalg.copy ins(%x : tensor<8xf32>) outs(%y : tensor<8xf32>) -> tensor<8xf32>
  return %0 : tensor<8xf32>
}
