// RUN: rwkv-opt %s --gpu-lower-kernels=target=spirv --split-input-file --verify-diagnostics

#shared = #gpu.address_space<workgroup>
gpu.module @kernels {
  gpu.func @halves(%i: index) workgroup(%s: memref<512xf16, #shared>) kernel {
    // expected-error @+1 {{has a matrix of type '!gpu.mma_matrix<16x16xf16, "AOp">'; devices know 16x8, 8x16 and 16x16 f32}}
    %a = gpu.subgroup_mma_load_matrix %s[%i] {leadDimension = 24 : index} : memref<512xf16, #shared> -> !gpu.mma_matrix<16x16xf16, "AOp">
    gpu.return
  }
}

// -----

#shared = #gpu.address_space<workgroup>
gpu.module @kernels {
  gpu.func @dimensions(%i: index) workgroup(%s: memref<16x24xf32, #shared>) kernel {
    // expected-error @+1 {{takes its matrix from memory of several dimensions; devices know one}}
    %a = gpu.subgroup_mma_load_matrix %s[%i, %i] {leadDimension = 24 : index} : memref<16x24xf32, #shared> -> !gpu.mma_matrix<16x8xf32, "AOp">
    gpu.return
  }
}

// -----

#shared = #gpu.address_space<workgroup>
gpu.module @kernels {
  gpu.func @product(%i: index) workgroup(%s: memref<512xf32, #shared>) kernel {
    %a = gpu.subgroup_mma_load_matrix %s[%i] {leadDimension = 24 : index} : memref<512xf32, #shared> -> !gpu.mma_matrix<16x16xf32, "COp">
    // expected-error @+1 {{is known for devices as a sum only}}
    %b = gpu.subgroup_mma_elementwise mulf %a, %a : (!gpu.mma_matrix<16x16xf32, "COp">, !gpu.mma_matrix<16x16xf32, "COp">) -> !gpu.mma_matrix<16x16xf32, "COp">
    gpu.return
  }
}

// -----

#shared = #gpu.address_space<workgroup>
gpu.module @kernels {
  gpu.func @carried(%i: index, %x: f32) workgroup(%s: memref<512xf32, #shared>) kernel {
    %a = gpu.subgroup_mma_constant_matrix %x : !gpu.mma_matrix<16x8xf32, "AOp">
    %b = gpu.subgroup_mma_load_matrix %s[%i] {leadDimension = 24 : index} : memref<512xf32, #shared> -> !gpu.mma_matrix<8x16xf32, "BOp">
    %c = gpu.subgroup_mma_load_matrix %s[%i] {leadDimension = 24 : index} : memref<512xf32, #shared> -> !gpu.mma_matrix<16x16xf32, "COp">
    // expected-error @+1 {{takes a matrix that is not read from memory just before; devices without matrix units need that}}
    %d = gpu.subgroup_mma_compute %a, %b, %c : !gpu.mma_matrix<16x8xf32, "AOp">, !gpu.mma_matrix<8x16xf32, "BOp"> -> !gpu.mma_matrix<16x16xf32, "COp">
    gpu.return
  }
}
