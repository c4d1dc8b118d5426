// RUN: rwkv-opt %s -gpu-distribute-recurrences | FileCheck %s
// RUN: rwkv-opt %s -gpu-distribute-recurrences=max-elements=32 | FileCheck %s --check-prefix=FEW

// A thread for each value element, whose part of the state is its own. With
// room for fewer elements nothing is done.
// CHECK-LABEL: @wkv7
// CHECK-SAME: %[[H:[a-z0-9]+]]: tensor<1x8x1x64xf32>, %{{.*}}: tensor<1x8x1x64xf32>, %[[S:[a-z0-9]+]]: tensor<1x1x64x64xf32>
// CHECK: scf.forall (%[[J:.*]]) in (64) shared_outs(%{{.*}} = %{{.*}}, %[[N:.*]] = %[[S]])
// CHECK: %[[PART:.*]] = tensor.extract_slice %[[N]][0, 0, %[[J]], 0] [1, 1, 1, 64]
// CHECK: %[[OWN:.*]] = bufferization.alloc_tensor() copy(%[[PART]]) {memory_space = #gpu.address_space<private>}
// CHECK: wkv.wkv7 {{.*}} state(%[[OWN]]) {{.*}} -> (tensor<1x8x1x1xf32>, tensor<1x1x1x64xf32>)
// CHECK: } {mapping = [#gpu.thread<linear_dim_0>]}
// FEW-LABEL: @wkv7
// FEW-NOT: scf.forall
// FEW: return
func.func @wkv7(%h: tensor<1x8x1x64xf32>, %i: tensor<1x8x1x64xf32>, %s: tensor<1x1x64x64xf32>) -> (tensor<1x8x1x64xf32>, tensor<1x1x64x64xf32>) {
  %y, %n = wkv.wkv7 receptance(%h) decay(%h) key(%h) value(%h) a(%h) b(%h) init(%i) state(%s) : (tensor<1x8x1x64xf32>, tensor<1x8x1x64xf32>, tensor<1x8x1x64xf32>, tensor<1x8x1x64xf32>, tensor<1x8x1x64xf32>, tensor<1x8x1x64xf32>, tensor<1x8x1x64xf32>, tensor<1x1x64x64xf32>) -> (tensor<1x8x1x64xf32>, tensor<1x1x64x64xf32>)
  return %y, %n : tensor<1x8x1x64xf32>, tensor<1x1x64x64xf32>
}

// A channel has three numbers; each is its thread's own.
// CHECK-LABEL: @wkv4
// CHECK: scf.forall (%{{.*}}, %{{.*}}) in (2, 16)
// CHECK-COUNT-3: bufferization.alloc_tensor() copy(%{{.*}}) {memory_space = #gpu.address_space<private>} : tensor<1x1xf32>
// CHECK: wkv.wkv4
// CHECK: } {mapping = [#gpu.thread<linear_dim_0>, #gpu.thread<linear_dim_1>]}
func.func @wkv4(%k: tensor<2x4x16xf32>, %c: tensor<16xf32>, %t: tensor<2x16xf32>) -> tensor<2x4x16xf32> {
  %z, %a, %b, %p = wkv.wkv4 key(%k) value(%k) decay(%c) bonus(%c) init(%k) state(%t, %t, %t) : (tensor<2x4x16xf32>, tensor<2x4x16xf32>, tensor<16xf32>, tensor<16xf32>, tensor<2x4x16xf32>, tensor<2x16xf32>, tensor<2x16xf32>, tensor<2x16xf32>) -> (tensor<2x4x16xf32>, tensor<2x16xf32>, tensor<2x16xf32>, tensor<2x16xf32>)
  return %z : tensor<2x4x16xf32>
}

// In chunks they are products, and of one token all threads share the sums.
// CHECK-LABEL: @others
// CHECK-NOT: scf.forall
// CHECK: return
func.func @others(%h: tensor<1x32x1x16xf32>, %o: tensor<1x1x1x16xf32>, %u: tensor<1x16xf32>, %s: tensor<1x1x16x16xf32>) -> tensor<1x1x1x16xf32> {
  %y, %n = wkv.wkv6 receptance(%h) key(%h) value(%h) decay(%h) bonus(%u) init(%h) state(%s) {chunk = 16 : i64} : (tensor<1x32x1x16xf32>, tensor<1x32x1x16xf32>, tensor<1x32x1x16xf32>, tensor<1x32x1x16xf32>, tensor<1x16xf32>, tensor<1x32x1x16xf32>, tensor<1x1x16x16xf32>) -> (tensor<1x32x1x16xf32>, tensor<1x1x16x16xf32>)
  %z, %m = wkv.wkv6 receptance(%o) key(%o) value(%o) decay(%o) bonus(%u) init(%o) state(%n) : (tensor<1x1x1x16xf32>, tensor<1x1x1x16xf32>, tensor<1x1x1x16xf32>, tensor<1x1x1x16xf32>, tensor<1x16xf32>, tensor<1x1x1x16xf32>, tensor<1x1x16x16xf32>) -> (tensor<1x1x1x16xf32>, tensor<1x1x16x16xf32>)
  return %z : tensor<1x1x1x16xf32>
}
