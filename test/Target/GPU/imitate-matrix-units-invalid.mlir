// RUN: rwkv-opt %s --gpu-lower-kernels="target=spirv matrix-units=mfma" --verify-diagnostics

// Memory for what threads tell each other is of a static size.
#shared = #gpu.address_space<workgroup>
!a = !gpu.mma_matrix<16x8xf32, "AOp">
!b = !gpu.mma_matrix<8x16xf32, "BOp">
!c = !gpu.mma_matrix<16x16xf32, "COp">
gpu.module @kernels {
  // expected-error @+1 {{multiplies small matrices, and has no known number of threads to imitate that}}
  gpu.func @kernel(%i: index) workgroup(%s: memref<512xf32, #shared>) kernel {
    %a = gpu.subgroup_mma_load_matrix %s[%i] {leadDimension = 24 : index, transpose} : memref<512xf32, #shared> -> !a
    %b = gpu.subgroup_mma_load_matrix %s[%i] {leadDimension = 24 : index} : memref<512xf32, #shared> -> !b
    %c = gpu.subgroup_mma_load_matrix %s[%i] {leadDimension = 24 : index} : memref<512xf32, #shared> -> !c
    %d = gpu.subgroup_mma_compute %a, %b, %c {a_transpose} : !a, !b -> !c
    gpu.return
  }
}
