// RUN: rwkv-opt %s --pass-pipeline='builtin.module(gpu.module(gpu.func(gpu-unroll-private-loops{max-iterations=4}, canonicalize)))' | FileCheck %s

gpu.module @kernels {
  // Each element of private memory has an index of its own; that of the
  // device's memory may depend on the loop over tokens.
  // CHECK-LABEL: gpu.func @tokens
  // CHECK:         scf.for
  // CHECK:           memref.load %{{.*}}[%c0] : memref<3xf32, #gpu.address_space<private>>
  // CHECK:           memref.load %{{.*}}[%c1] : memref<3xf32, #gpu.address_space<private>>
  // CHECK:           memref.load %{{.*}}[%c2] : memref<3xf32, #gpu.address_space<private>>
  // CHECK-NOT:       scf.for
  // CHECK:         gpu.return
  gpu.func @tokens(%x: memref<4xf32>) kernel {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %c3 = arith.constant 3 : index
    %c4 = arith.constant 4 : index
    %own = memref.alloca() : memref<3xf32, #gpu.address_space<private>>
    scf.for %t = %c0 to %c4 step %c1 {
      %w = memref.load %x[%t] : memref<4xf32>
      scf.for %i = %c0 to %c3 step %c1 {
        %v = memref.load %own[%i] : memref<3xf32, #gpu.address_space<private>>
        %s = arith.addf %v, %w : f32
        memref.store %s, %own[%i] : memref<3xf32, #gpu.address_space<private>>
      }
    }
    gpu.return
  }

  // Too long, or over other memory.
  // CHECK-LABEL: gpu.func @others
  // CHECK-COUNT-2: scf.for
  gpu.func @others(%x: memref<5xf32>, %v: f32) kernel {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %c4 = arith.constant 4 : index
    %c5 = arith.constant 5 : index
    %own = memref.alloca() : memref<5xf32, #gpu.address_space<private>>
    scf.for %i = %c0 to %c5 step %c1 {
      memref.store %v, %own[%i] : memref<5xf32, #gpu.address_space<private>>
    }
    scf.for %i = %c0 to %c4 step %c1 {
      memref.store %v, %x[%i] : memref<5xf32>
    }
    %w = memref.load %own[%c0] : memref<5xf32, #gpu.address_space<private>>
    memref.store %w, %x[%c0] : memref<5xf32>
    gpu.return
  }
}
