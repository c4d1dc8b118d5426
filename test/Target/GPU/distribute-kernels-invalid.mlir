// RUN: rwkv-opt %s --gpu-distribute-kernels --split-input-file --verify-diagnostics

func.func private @kernel(%x: memref<?xf32>) {
  // expected-error @+1 {{has no static size, which kernels of devices need}}
  linalg.exp ins(%x : memref<?xf32>) outs(%x : memref<?xf32>)
  return
}

// -----

func.func private @kernel(%x: memref<8xf32>, %n: index) {
  // expected-error @+1 {{has no constant number of iterations, or has results}}
  scf.forall (%i) in (%n) {
    linalg.exp ins(%x : memref<8xf32>) outs(%x : memref<8xf32>)
  }
  return
}
