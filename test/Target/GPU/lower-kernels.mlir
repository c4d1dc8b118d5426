// RUN: rwkv-opt %s --gpu-lower-kernels=target=nvptx | FileCheck %s --check-prefixes=CHECK,NVPTX
// RUN: rwkv-opt %s --gpu-lower-kernels=target=amdgpu | FileCheck %s --check-prefixes=CHECK,AMDGPU
// RUN: rwkv-opt %s --gpu-lower-kernels=target=spirv | FileCheck %s --check-prefixes=CHECK,SPIRV
// RUN: not rwkv-opt %s --gpu-lower-kernels=target=vax 2>&1 | FileCheck %s --check-prefix=UNKNOWN
// UNKNOWN: target=vax: no kind of device has this name

#global = #gpu.address_space<global>

// CHECK-LABEL: module @kernels
// SPIRV-DAG:     llvm.func spir_funccc @_Z12get_local_idj(i32) -> i64
// SPIRV-DAG:     llvm.func spir_funccc @_Z7barrierj(i32) attributes {convergent}
// CHECK:         memref.global "private" @kernel_shared_0 : memref<32xf32, 3> = uninitialized
gpu.module @kernels {
  // An offset that is known is added by the kernel; another one is in the address.
  // CHECK:         func.func @kernel(%[[X:.*]]: memref<64xf32, strided<[1]>, 1>, %[[Y:.*]]: memref<64xf32, strided<[1]>, 1> {llvm.align = 16 : i64}, %{{.*}}: index)
  // CHECK-SAME:        gpu.shared_bytes = 128 : i64, gpu.threads = 32 : i64
  // CHECK-DAG:       memref.reinterpret_cast %[[X]] to offset: [16], sizes: [64], strides: [1]
  // CHECK-DAG:       memref.cast %[[Y]] : memref<64xf32, strided<[1]>, 1> to memref<64xf32, strided<[1], offset: ?>, 1>
  // CHECK-DAG:       memref.get_global @kernel_shared_0
  // NVPTX:           llvm.call_intrinsic "llvm.nvvm.read.ptx.sreg.tid.x"() : () -> i32
  // NVPTX:           llvm.call_intrinsic "llvm.nvvm.read.ptx.sreg.ctaid.x"
  // NVPTX:           llvm.call_intrinsic "llvm.nvvm.barrier.cta.sync.aligned.all"
  // AMDGPU:          llvm.call_intrinsic "llvm.amdgcn.workitem.id.x"() : () -> i32
  // AMDGPU:          llvm.call_intrinsic "llvm.amdgcn.workgroup.id.x"
  // AMDGPU:          fence
  // AMDGPU:          llvm.call_intrinsic "llvm.amdgcn.s.barrier"
  // SPIRV:           %[[ID:.*]] = llvm.call spir_funccc @_Z12get_local_idj
  // SPIRV-NEXT:      arith.index_castui %[[ID]] : i64 to index
  // SPIRV:           llvm.call spir_funccc @_Z7barrierj({{.*}}) {convergent}
  // CHECK:           return
  gpu.func @kernel(%x: memref<64xf32, strided<[1], offset: 16>, #global>, %y: memref<64xf32, strided<[1], offset: ?>, #global> {llvm.align = 16 : i64}, %n: index) workgroup(%s: memref<32xf32, #gpu.address_space<workgroup>>) kernel attributes {known_block_size = array<i32: 32, 1, 1>} {
    %i = gpu.thread_id x
    %g = gpu.block_id x
    %v = memref.load %x[%g] : memref<64xf32, strided<[1], offset: 16>, #global>
    memref.store %v, %s[%i] : memref<32xf32, #gpu.address_space<workgroup>>
    gpu.barrier
    %w = memref.load %s[%n] : memref<32xf32, #gpu.address_space<workgroup>>
    memref.store %w, %y[%i] : memref<64xf32, strided<[1], offset: ?>, #global>
    gpu.return
  }
}
