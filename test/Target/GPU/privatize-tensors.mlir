// RUN: rwkv-opt %s --pass-pipeline='builtin.module(func.func(gpu-privatize-tensors{max-elements=4}))' | FileCheck %s

// What a thread writes for itself; not what is large, what a loop fills part
// by part, and what is outside of a loop over threads.
// CHECK-LABEL: @threads
// CHECK: tensor.empty() : tensor<2xf32>
// CHECK: scf.forall
// CHECK: bufferization.alloc_tensor() {memory_space = #gpu.address_space<private>} : tensor<4xf32>
// CHECK: tensor.empty() : tensor<5xf32>
// CHECK: %[[PARTS:.*]] = tensor.empty() : tensor<3xf32>
// CHECK: scf.for {{.*}} iter_args(%{{.*}} = %[[PARTS]])
// CHECK: scf.forall
// CHECK: tensor.empty() : tensor<1xf32>
func.func @threads(%out: tensor<64xf32>, %v: f32) -> (tensor<64xf32>, tensor<64xf32>, tensor<2xf32>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c3 = arith.constant 3 : index
  %outside = tensor.empty() : tensor<2xf32>
  %r = scf.forall (%j) in (64) shared_outs(%o = %out) -> (tensor<64xf32>) {
    %e4 = tensor.empty() : tensor<4xf32>
    %f4 = linalg.fill ins(%v : f32) outs(%e4 : tensor<4xf32>) -> tensor<4xf32>
    %e5 = tensor.empty() : tensor<5xf32>
    %f5 = linalg.fill ins(%v : f32) outs(%e5 : tensor<5xf32>) -> tensor<5xf32>
    %e3 = tensor.empty() : tensor<3xf32>
    %f3 = scf.for %t = %c0 to %c3 step %c1 iter_args(%p = %e3) -> (tensor<3xf32>) {
      %q = tensor.insert %v into %p[%t] : tensor<3xf32>
      scf.yield %q : tensor<3xf32>
    }
    %a = tensor.extract %f4[%c1] : tensor<4xf32>
    %b = tensor.extract %f5[%c1] : tensor<5xf32>
    %c = tensor.extract %f3[%c1] : tensor<3xf32>
    %ab = arith.addf %a, %b : f32
    %abc = arith.addf %ab, %c : f32
    %part = tensor.extract_slice %o[%j] [1] [1] : tensor<64xf32> to tensor<1xf32>
    %new = tensor.insert %abc into %part[%c0] : tensor<1xf32>
    scf.forall.in_parallel {
      tensor.parallel_insert_slice %new into %o[%j] [1] [1] : tensor<1xf32> into tensor<64xf32>
    }
  } {mapping = [#gpu.thread<linear_dim_0>]}
  %s = scf.forall (%j) in (64) shared_outs(%o = %r) -> (tensor<64xf32>) {
    %e1 = tensor.empty() : tensor<1xf32>
    %f1 = linalg.fill ins(%v : f32) outs(%e1 : tensor<1xf32>) -> tensor<1xf32>
    scf.forall.in_parallel {
      tensor.parallel_insert_slice %f1 into %o[%j] [1] [1] : tensor<1xf32> into tensor<64xf32>
    }
  }
  return %r, %s, %outside : tensor<64xf32>, tensor<64xf32>, tensor<2xf32>
}
