// RUN: rwkv-opt %s --pass-pipeline='builtin.module(gpu.module(gpu.func(gpu-unroll-reductions{max-terms=4})))' | FileCheck %s

gpu.module @kernels {
  // Six terms are two of three, in the order of before; all are read first.
  // CHECK-LABEL: gpu.func @sum
  // CHECK:         scf.for %{{.*}} = %c0 to %c6 step %c3{{.*}} iter_args(%[[S:.*]] = %{{.*}})
  // CHECK:           %[[X0:.*]] = memref.load
  // CHECK:           %[[X1:.*]] = memref.load
  // CHECK:           %[[X2:.*]] = memref.load
  // CHECK-NEXT:      %[[S0:.*]] = arith.addf %[[S]], %[[X0]]
  // CHECK-NEXT:      %[[S1:.*]] = arith.addf %[[S0]], %[[X1]]
  // CHECK-NEXT:      %[[S2:.*]] = arith.addf %[[S1]], %[[X2]]
  // CHECK-NEXT:      scf.yield %[[S2]]
  gpu.func @sum(%x: memref<6xf32>, %y: memref<1xf32>) kernel {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %c6 = arith.constant 6 : index
    %zero = arith.constant 0.0 : f32
    %sum = scf.for %i = %c0 to %c6 step %c1 iter_args(%s = %zero) -> (f32) {
      %v = memref.load %x[%i] : memref<6xf32>
      %t = arith.addf %s, %v : f32
      scf.yield %t : f32
    }
    memref.store %sum, %y[%c0] : memref<1xf32>
    gpu.return
  }

  // What writes, what has a number of terms that is not known, or a prime one
  // above the limit, stays.
  // CHECK-LABEL: gpu.func @others
  // CHECK:         scf.for %{{.*}} = %c0 to %c6 step %c1
  // CHECK:         scf.for %{{.*}} = %c0 to %{{.*}} step %c1
  // CHECK:         scf.for %{{.*}} = %c0 to %c7 step %c1
  gpu.func @others(%x: memref<7xf32>, %y: memref<1xf32>, %n: index) kernel {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %c6 = arith.constant 6 : index
    %c7 = arith.constant 7 : index
    %zero = arith.constant 0.0 : f32
    %a = scf.for %i = %c0 to %c6 step %c1 iter_args(%s = %zero) -> (f32) {
      %v = memref.load %x[%i] : memref<7xf32>
      %t = arith.addf %s, %v : f32
      memref.store %t, %y[%c0] : memref<1xf32>
      scf.yield %t : f32
    }
    %b = scf.for %i = %c0 to %n step %c1 iter_args(%s = %a) -> (f32) {
      %v = memref.load %x[%i] : memref<7xf32>
      %t = arith.addf %s, %v : f32
      scf.yield %t : f32
    }
    %c = scf.for %i = %c0 to %c7 step %c1 iter_args(%s = %b) -> (f32) {
      %v = memref.load %x[%i] : memref<7xf32>
      %t = arith.addf %s, %v : f32
      scf.yield %t : f32
    }
    memref.store %c, %y[%c0] : memref<1xf32>
    gpu.return
  }

  // So does what sums up a tile in shared memory.
  // CHECK-LABEL: gpu.func @shared
  // CHECK:         scf.for %{{.*}} = %c0 to %c8 step %c1{{ }}
  gpu.func @shared(%y: memref<1xf32>) workgroup(%x: memref<8xf32, #gpu.address_space<workgroup>>) kernel {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %c8 = arith.constant 8 : index
    %zero = arith.constant 0.0 : f32
    %sum = scf.for %i = %c0 to %c8 step %c1 iter_args(%s = %zero) -> (f32) {
      %v = memref.load %x[%i] : memref<8xf32, #gpu.address_space<workgroup>>
      %t = arith.addf %s, %v : f32
      scf.yield %t : f32
    }
    memref.store %sum, %y[%c0] : memref<1xf32>
    gpu.return
  }
}
