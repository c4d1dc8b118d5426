// RUN: rwkv-opt %s --pass-pipeline='builtin.module(gpu.module(gpu.func(gpu-rematerialize-indices)))' | FileCheck %s

gpu.module @kernels {
  // CHECK-LABEL: gpu.func @kernel
  // CHECK:         %[[I:.*]] = gpu.thread_id
  // CHECK-NEXT:    %[[J:.*]] = arith.addi %[[I]], %c32
  // CHECK-NEXT:    memref.store %{{.*}}, %{{.*}}[%[[J]]]
  // CHECK-NEXT:    gpu.barrier
  // CHECK-NEXT:    %[[I1:.*]] = gpu.thread_id
  // CHECK-NEXT:    %[[J1:.*]] = arith.addi %[[I1]], %c32
  // CHECK-NEXT:    memref.load %{{.*}}[%[[J1]]]
  // CHECK-NEXT:    scf.for
  // In a loop with a barrier nothing is known but the number of the iteration.
  // CHECK-NEXT:      %[[I2:.*]] = gpu.thread_id
  // CHECK-NEXT:      %[[J2:.*]] = arith.addi %[[I2]], %c32
  // CHECK-NEXT:      memref.store %{{.*}}, %{{.*}}[%[[J2]]]
  // CHECK-NEXT:      gpu.barrier
  // CHECK-NEXT:    }
  // A condition without one knows what is before it.
  // CHECK-NEXT:    %[[I3:.*]] = gpu.thread_id
  // CHECK-NEXT:    %[[IS:.*]] = arith.cmpi eq, %[[I3]]
  // CHECK-NEXT:    scf.if %[[IS]] {
  // CHECK-NEXT:      memref.store %{{.*}}, %{{.*}}[%[[I3]]]
  gpu.func @kernel(%x: memref<64xf32>) kernel {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %c32 = arith.constant 32 : index
    %v = arith.constant 1.0 : f32
    %i = gpu.thread_id x
    %j = arith.addi %i, %c32 : index
    %is = arith.cmpi eq, %i, %c0 : index
    memref.store %v, %x[%j] : memref<64xf32>
    gpu.barrier
    %w = memref.load %x[%j] : memref<64xf32>
    scf.for %n = %c0 to %c32 step %c1 {
      memref.store %w, %x[%j] : memref<64xf32>
      gpu.barrier
    }
    scf.if %is {
      memref.store %w, %x[%i] : memref<64xf32>
    }
    gpu.return
  }
}
