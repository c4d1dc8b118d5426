// RUN: rwkv-opt %s -split-input-file -verify-diagnostics --convert-dnnl-to-runtime

func.func @tensor(%a: tensor<8x4xf32>, %b: tensor<4x6xf32>, %c: tensor<8x6xf32>) -> tensor<8x6xf32> {
  // expected-error @+1 {{must be bufferized before its conversion to a runtime call}}
  %r = dnnl.matmul ins(%a, %b : tensor<8x4xf32>, tensor<4x6xf32>) outs(%c : tensor<8x6xf32>) -> tensor<8x6xf32>
  return %r : tensor<8x6xf32>
}

// -----

func.func @dynamic(%a: memref<?x4xf32>, %b: memref<4x6xf32>, %c: memref<?x6xf32>) {
  // expected-error @+1 {{needs static shapes for a runtime call, got 'memref<?x4xf32>'}}
  dnnl.matmul ins(%a, %b : memref<?x4xf32>, memref<4x6xf32>) outs(%c : memref<?x6xf32>)
  return
}

// -----

func.func @memory_space(%a: memref<8x4xf32, 3>, %b: memref<4x6xf32>, %c: memref<8x6xf32>) {
  // expected-error @+1 {{needs operands in the default memory space for a runtime call, got 'memref<8x4xf32, 3>'}}
  dnnl.matmul ins(%a, %b : memref<8x4xf32, 3>, memref<4x6xf32>) outs(%c : memref<8x6xf32>)
  return
}

// -----

// expected-error @+1 {{the name 'rwkvrt_dnnl_matmul' belongs to the runtime}}
func.func private @rwkvrt_dnnl_matmul(f32)
func.func @name(%a: memref<8x4xf32>, %b: memref<4x6xf32>, %c: memref<8x6xf32>) {
  dnnl.matmul ins(%a, %b : memref<8x4xf32>, memref<4x6xf32>) outs(%c : memref<8x6xf32>)
  return
}
