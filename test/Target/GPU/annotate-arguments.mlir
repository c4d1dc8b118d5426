// RUN: rwkv-opt %s --gpu-annotate-arguments | FileCheck %s

// The weights of both launches are at multiples of 32, the workspace's part at
// one of 16; the second argument is weights in one launch only. A number and a
// kernel that nothing launches have nothing.
#global = #gpu.address_space<global>
module attributes {gpu.container_module} {
  func.func private @step() attributes {rwkvc.launches = [
    {arguments = array<i64: 0, 0, 256, 0, 0, 64, 1, 0, 16, 4, 0, 7>, groups = 3 : i64, kernel = "kernel_0"},
    {arguments = array<i64: 0, 0, 96, 3, 1, 0, 1, 0, 128, 4, 0, 7>, groups = 3 : i64, kernel = "kernel_0"}]}
  gpu.module @kernels {
    // CHECK: gpu.func @kernel_0(%{{.*}}: memref<4xf32, #gpu.address_space<global>> {llvm.align = 32 : i64, llvm.noalias, llvm.readonly}, %{{.*}}: memref<4xf32, #gpu.address_space<global>> {llvm.align = 64 : i64}, %{{.*}}: memref<4xf32, #gpu.address_space<global>> {llvm.align = 16 : i64}, %{{.*}}: index) kernel
    gpu.func @kernel_0(%w: memref<4xf32, #global>, %x: memref<4xf32, #global>, %y: memref<4xf32, #global>, %n: index) kernel {
      gpu.return
    }
    // CHECK: gpu.func @kernel_1(%{{.*}}: memref<4xf32, #gpu.address_space<global>>) kernel
    gpu.func @kernel_1(%w: memref<4xf32, #global>) kernel {
      gpu.return
    }
  }
}
