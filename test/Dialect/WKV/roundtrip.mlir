// RUN: rwkv-opt %s | rwkv-opt | FileCheck %s
// RUN: rwkv-opt %s --mlir-print-op-generic | rwkv-opt --verify-roundtrip | FileCheck %s

// CHECK-LABEL: @ops
func.func @ops(%x: tensor<1x3x8xf32>, %s: tensor<1x8xf32>, %c: tensor<8xf32>, %h: tensor<1x3x2x4xf32>, %m: tensor<1x2x4x4xf32>, %u: tensor<2x4xf32>, %u4: tensor<4xf32>, %wd: tensor<8x2xf32>, %wu: tensor<8x2xf32>) {
  // CHECK: wkv.token_shift
  %shifted, %kept = wkv.token_shift %x state(%s) : (tensor<1x3x8xf32>, tensor<1x8xf32>) -> (tensor<1x3x8xf32>, tensor<1x8xf32>)
  // CHECK: wkv.mix
  %mix = wkv.mix %x, %shifted by %c : tensor<1x3x8xf32>, tensor<8xf32> -> tensor<1x3x8xf32>
  // CHECK: wkv.layer_norm %{{.*}} {epsilon = 1.000000e-05 : f64}
  %ln = wkv.layer_norm %mix {epsilon = 1.0e-5 : f64} : tensor<1x3x8xf32>
  // CHECK: wkv.lora tanh
  %lo = wkv.lora tanh %ln, %wd, %wu bias(%c : tensor<8xf32>) {transpose_up} : tensor<1x3x8xf32>, tensor<8x2xf32>, tensor<8x2xf32> -> tensor<1x3x8xf32>
  // CHECK: wkv.mix {{.*}} -> tensor<2x1x3x8xf32>
  %mixes = wkv.mix %x, %shifted by %x : tensor<1x3x8xf32>, tensor<1x3x8xf32> -> tensor<2x1x3x8xf32>
  // CHECK: wkv.layer_norm %{{.*}} scale(%{{.*}} : tensor<2x4xf32>) bias(%{{.*}} : tensor<4xf32>) {epsilon = 1.000000e-05 : f64, root_epsilon = 1.000000e-05 : f64}
  %gn = wkv.layer_norm %h scale(%u : tensor<2x4xf32>) bias(%u4 : tensor<4xf32>) {epsilon = 1.0e-5 : f64, root_epsilon = 1.0e-5 : f64} : tensor<1x3x2x4xf32>
  // CHECK: wkv.l2_norm max
  %l2 = wkv.l2_norm max %ln {epsilon = 1.0e-12 : f64} : tensor<1x3x8xf32>
  // CHECK: wkv.decay exp_sigmoid
  %w = wkv.decay exp_sigmoid %h {lower = 0xFFF0000000000000 : f64, scale = 0.606531 : f64, upper = 0x7FF0000000000000 : f64} : tensor<1x3x2x4xf32>
  // CHECK: wkv.wkv4
  %y4, %a, %b, %p = wkv.wkv4 key(%x) value(%l2) decay(%c) bonus(%c) init(%l2) state(%s, %s, %s) : (tensor<1x3x8xf32>, tensor<1x3x8xf32>, tensor<8xf32>, tensor<8xf32>, tensor<1x3x8xf32>, tensor<1x8xf32>, tensor<1x8xf32>, tensor<1x8xf32>) -> (tensor<1x3x8xf32>, tensor<1x8xf32>, tensor<1x8xf32>, tensor<1x8xf32>)
  // CHECK: wkv.wkv6
  %y6, %n6 = wkv.wkv6 receptance(%h) key(%h) value(%h) decay(%w) bonus(%u) init(%h) state(%m) : (tensor<1x3x2x4xf32>, tensor<1x3x2x4xf32>, tensor<1x3x2x4xf32>, tensor<1x3x2x4xf32>, tensor<2x4xf32>, tensor<1x3x2x4xf32>, tensor<1x2x4x4xf32>) -> (tensor<1x3x2x4xf32>, tensor<1x2x4x4xf32>)
  // CHECK: wkv.wkv7
  %y7, %n7 = wkv.wkv7 receptance(%h) decay(%w) key(%h) value(%h) a(%h) b(%h) init(%h) state(%n6) : (tensor<1x3x2x4xf32>, tensor<1x3x2x4xf32>, tensor<1x3x2x4xf32>, tensor<1x3x2x4xf32>, tensor<1x3x2x4xf32>, tensor<1x3x2x4xf32>, tensor<1x3x2x4xf32>, tensor<1x2x4x4xf32>) -> (tensor<1x3x2x4xf32>, tensor<1x2x4x4xf32>)
  return
}
