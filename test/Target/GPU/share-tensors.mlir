// RUN: rwkv-opt %s --pass-pipeline='builtin.module(func.func(gpu-share-tensors{max-bytes=32}))' | FileCheck %s
// RUN: rwkv-opt %s --pass-pipeline='builtin.module(func.func(gpu-share-tensors{max-bytes=12}))' | FileCheck %s --check-prefix=LESS

#id = affine_map<(i) -> (i)>

// First the state that a loop over chunks carries, by way of the copy in its place, then what its iterations write. Not
// what comes before the loop, what is filled part by part, what a thread has for itself, and what is outside.
// CHECK-LABEL: @chunks
// CHECK:       tensor.empty() : tensor<1xf32>
// CHECK:       scf.forall
// CHECK:         tensor.empty() : tensor<2xf32>
// CHECK:         %[[STATE:.*]] = bufferization.alloc_tensor() {memory_space = #gpu.address_space<workgroup>} : tensor<4xf32>
// CHECK:         linalg.copy {{.*}} outs(%[[STATE]]
// CHECK:         tensor.empty() : tensor<6xf32>
// CHECK:         scf.for
// CHECK:           bufferization.alloc_tensor() {memory_space = #gpu.address_space<workgroup>} : tensor<3xf32>
// CHECK:           scf.forall
// CHECK:             tensor.empty() : tensor<1xf32>

// The state does not fit, and stays.
// LESS-LABEL: @chunks
// LESS:         tensor.empty() : tensor<4xf32>
// LESS:         bufferization.alloc_tensor() {{.*}} : tensor<3xf32>
func.func @chunks(%states: tensor<12x4xf32>, %v: f32) -> (tensor<12x4xf32>, tensor<1xf32>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  %outside = tensor.empty() : tensor<1xf32>
  %r = scf.forall (%head) in (12) shared_outs(%o = %states) -> (tensor<12x4xf32>) {
    %e2 = tensor.empty() : tensor<2xf32>
    %before = linalg.fill ins(%v : f32) outs(%e2 : tensor<2xf32>) -> tensor<2xf32>
    %old = tensor.extract_slice %o[%head, 0] [1, 4] [1, 1] : tensor<12x4xf32> to tensor<4xf32>
    %e4 = tensor.empty() : tensor<4xf32>
    %state = linalg.copy ins(%old : tensor<4xf32>) outs(%e4 : tensor<4xf32>) -> tensor<4xf32>
    %e6 = tensor.empty() : tensor<6xf32>
    %s:2 = scf.for %t = %c0 to %c2 step %c1 iter_args(%carried = %state, %all = %e6) -> (tensor<4xf32>, tensor<6xf32>) {
      %e3 = tensor.empty() : tensor<3xf32>
      %f3 = linalg.fill ins(%v : f32) outs(%e3 : tensor<3xf32>) -> tensor<3xf32>
      %own = scf.forall (%j) in (3) shared_outs(%p = %f3) -> (tensor<3xf32>) {
        %e1 = tensor.empty() : tensor<1xf32>
        %f1 = linalg.fill ins(%v : f32) outs(%e1 : tensor<1xf32>) -> tensor<1xf32>
        scf.forall.in_parallel {
          tensor.parallel_insert_slice %f1 into %p[%j] [1] [1] : tensor<1xf32> into tensor<3xf32>
        }
      } {mapping = [#gpu.thread<linear_dim_0>]}
      %at = arith.muli %t, %c2 : index
      %filled = tensor.insert_slice %own into %all[%at] [3] [1] : tensor<3xf32> into tensor<6xf32>
      %next = linalg.generic {indexing_maps = [#id], iterator_types = ["parallel"]} outs(%carried : tensor<4xf32>) {
      ^bb0(%x: f32):
        %y = arith.mulf %x, %v : f32
        linalg.yield %y : f32
      } -> tensor<4xf32>
      scf.yield %next, %filled : tensor<4xf32>, tensor<6xf32>
    }
    %x = tensor.extract %before[%c0] : tensor<2xf32>
    %y = tensor.extract %s#1[%c0] : tensor<6xf32>
    %z = arith.addf %x, %y : f32
    %new = tensor.insert %z into %s#0[%c0] : tensor<4xf32>
    scf.forall.in_parallel {
      tensor.parallel_insert_slice %new into %o[%head, 0] [1, 4] [1, 1] : tensor<4xf32> into tensor<12x4xf32>
    }
  }
  return %r, %outside : tensor<12x4xf32>, tensor<1xf32>
}

// What loops update in place is copied into such memory, and back after the last of them. Not where the loop's result
// goes elsewhere as well.
// CHECK-LABEL: @in_place
// CHECK:         %[[SLICE:.*]] = tensor.extract_slice %{{.*}}[%{{.*}}, 0] [1, 4] [1, 1]
// CHECK-NEXT:    %[[OWN:.*]] = bufferization.alloc_tensor() {memory_space = #gpu.address_space<workgroup>} : tensor<4xf32>
// CHECK-NEXT:    %[[IN:.*]] = linalg.copy ins(%[[SLICE]] : tensor<4xf32>) outs(%[[OWN]] : tensor<4xf32>)
// CHECK-NEXT:    %[[FIRST:.*]] = scf.for {{.*}} iter_args(%{{.*}} = %[[IN]])
// CHECK:         %[[LAST:.*]] = scf.for {{.*}} iter_args(%{{.*}} = %[[FIRST]])
// CHECK:         %[[OUT:.*]] = linalg.copy ins(%[[LAST]] : tensor<4xf32>) outs(%[[SLICE]] : tensor<4xf32>)
// CHECK:         tensor.parallel_insert_slice %[[OUT]]
// CHECK-NOT:     linalg.copy
// LESS-LABEL: @in_place
// LESS-NOT:     linalg.copy
func.func @in_place(%states: tensor<12x4xf32>, %v: f32) -> (tensor<12x4xf32>, tensor<12x4xf32>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  %r:2 = scf.forall (%head) in (12) shared_outs(%o = %states, %p = %states) -> (tensor<12x4xf32>, tensor<12x4xf32>) {
    %old = tensor.extract_slice %o[%head, 0] [1, 4] [1, 1] : tensor<12x4xf32> to tensor<4xf32>
    %a = scf.for %t = %c0 to %c2 step %c1 iter_args(%carried = %old) -> (tensor<4xf32>) {
      %next = linalg.generic {indexing_maps = [#id], iterator_types = ["parallel"]} outs(%carried : tensor<4xf32>) {
      ^bb0(%x: f32):
        %y = arith.mulf %x, %v : f32
        linalg.yield %y : f32
      } -> tensor<4xf32>
      scf.yield %next : tensor<4xf32>
    }
    %b = scf.for %t = %c1 to %c2 step %c1 iter_args(%carried = %a) -> (tensor<4xf32>) {
      %next = linalg.generic {indexing_maps = [#id], iterator_types = ["parallel"]} outs(%carried : tensor<4xf32>) {
      ^bb0(%x: f32):
        %y = arith.addf %x, %v : f32
        linalg.yield %y : f32
      } -> tensor<4xf32>
      scf.yield %next : tensor<4xf32>
    }
    %other = tensor.extract_slice %p[%head, 0] [1, 4] [1, 1] : tensor<12x4xf32> to tensor<4xf32>
    %c = scf.for %t = %c0 to %c2 step %c1 iter_args(%carried = %other) -> (tensor<4xf32>) {
      %next = linalg.generic {indexing_maps = [#id], iterator_types = ["parallel"]} outs(%carried : tensor<4xf32>) {
      ^bb0(%x: f32):
        %y = arith.mulf %x, %v : f32
        linalg.yield %y : f32
      } -> tensor<4xf32>
      scf.yield %next : tensor<4xf32>
    }
    %last = arith.subi %c2, %head : index
    scf.forall.in_parallel {
      tensor.parallel_insert_slice %b into %o[%head, 0] [1, 4] [1, 1] : tensor<4xf32> into tensor<12x4xf32>
      tensor.parallel_insert_slice %c into %p[%last, 0] [1, 4] [1, 1] : tensor<4xf32> into tensor<12x4xf32>
    }
  }
  return %r#0, %r#1 : tensor<12x4xf32>, tensor<12x4xf32>
}
