// RUN: rwkv-opt %s -split-input-file -verify-diagnostics

func.func @mixed(%a: tensor<8x4xf32>, %b: tensor<4x6xf32>, %c: memref<8x6xf32>) {
  // expected-error @+1 {{C1: expected all operands to be tensors or all to be memrefs, got 'tensor<8x4xf32>', 'tensor<4x6xf32>' and 'memref<8x6xf32>'}}
  dnnl.matmul ins(%a, %b : tensor<8x4xf32>, tensor<4x6xf32>) outs(%c : memref<8x6xf32>)
  return
}

// -----

func.func @no_result(%a: tensor<8x4xf32>, %b: tensor<4x6xf32>, %c: tensor<8x6xf32>) {
  // expected-error @+1 {{C1: expected a result of type 'tensor<8x6xf32>'}}
  dnnl.matmul ins(%a, %b : tensor<8x4xf32>, tensor<4x6xf32>) outs(%c : tensor<8x6xf32>)
  return
}

// -----

func.func @element_types(%a: tensor<8x4xf32>, %b: tensor<4x6xbf16>, %c: tensor<8x6xf32>) {
  // expected-error @+1 {{C2: expected a and b to have one element type, got 'f32' and 'bf16'}}
  %r = dnnl.matmul ins(%a, %b : tensor<8x4xf32>, tensor<4x6xbf16>) outs(%c : tensor<8x6xf32>) -> tensor<8x6xf32>
  return
}

// -----

func.func @sum_type(%a: tensor<8x4xf16>, %b: tensor<4x6xf16>, %c: tensor<8x6xbf16>) {
  // expected-error @+1 {{C2: expected c to have elements of type 'f16' or f32, got 'bf16'}}
  %r = dnnl.matmul ins(%a, %b : tensor<8x4xf16>, tensor<4x6xf16>) outs(%c : tensor<8x6xbf16>) -> tensor<8x6xbf16>
  return
}

// -----

func.func @unknown_type(%a: tensor<8x4xf64>, %b: tensor<4x6xf64>, %c: tensor<8x6xf64>) {
  // expected-error @+1 {{operand #0 must be}}
  %r = dnnl.matmul ins(%a, %b : tensor<8x4xf64>, tensor<4x6xf64>) outs(%c : tensor<8x6xf64>) -> tensor<8x6xf64>
  return
}

// -----

func.func @ranks(%a: tensor<2x8x4xf32>, %b: tensor<4x6xf32>, %c: tensor<2x8x6xf32>) {
  // expected-error @+1 {{C3: expected equal ranks from 2 to 6}}
  %r = dnnl.matmul ins(%a, %b : tensor<2x8x4xf32>, tensor<4x6xf32>) outs(%c : tensor<2x8x6xf32>) -> tensor<2x8x6xf32>
  return
}

// -----

func.func @vector(%a: tensor<4xf32>) {
  // expected-error @+1 {{C3: expected equal ranks from 2 to 6}}
  %r = dnnl.matmul ins(%a, %a : tensor<4xf32>, tensor<4xf32>) outs(%a : tensor<4xf32>) -> tensor<4xf32>
  return
}

// -----

func.func @batches(%a: tensor<2x8x4xf32>, %b: tensor<3x4x6xf32>, %c: tensor<2x8x6xf32>) {
  // expected-error @+1 {{C4: expected dimension 0 of a, b and c to be equal}}
  %r = dnnl.matmul ins(%a, %b : tensor<2x8x4xf32>, tensor<3x4x6xf32>) outs(%c : tensor<2x8x6xf32>) -> tensor<2x8x6xf32>
  return
}

// -----

func.func @inner(%a: tensor<8x4xf32>, %b: tensor<4x6xf32>, %c: tensor<8x4xf32>) {
  // expected-error @+1 {{C5: expected a to have as many columns as b has rows, got 4 and 6}}
  %r = dnnl.matmul transpose_b ins(%a, %b : tensor<8x4xf32>, tensor<4x6xf32>) outs(%c : tensor<8x4xf32>) -> tensor<8x4xf32>
  return
}

// -----

func.func @outer(%a: tensor<8x4xf32>, %b: tensor<4x6xf32>, %c: tensor<6x8xf32>) {
  // expected-error @+1 {{C5: expected c to be 8x6, got 'tensor<6x8xf32>'}}
  %r = dnnl.matmul ins(%a, %b : tensor<8x4xf32>, tensor<4x6xf32>) outs(%c : tensor<6x8xf32>) -> tensor<6x8xf32>
  return
}

// -----

func.func @empty(%a: tensor<8x0xf32>, %b: tensor<0x6xf32>, %c: tensor<8x6xf32>) {
  // expected-error @+1 {{C6: expected no dimension of size 0, got 'tensor<8x0xf32>'}}
  %r = dnnl.matmul ins(%a, %b : tensor<8x0xf32>, tensor<0x6xf32>) outs(%c : tensor<8x6xf32>) -> tensor<8x6xf32>
  return
}

// -----

func.func @many(%a: tensor<8x4xf32>, %b: tensor<4x6xf32>, %c: tensor<8x6xf32>) {
  // expected-error @+1 {{C7: expected at most 8 functions after the product, 2 of them with an operand, got 3 and 3}}
  %r = dnnl.matmul ins(%a, %b : tensor<8x4xf32>, tensor<4x6xf32>) outs(%c : tensor<8x6xf32>)
    post(add %c : tensor<8x6xf32>, add %c : tensor<8x6xf32>, mul %c : tensor<8x6xf32>) -> tensor<8x6xf32>
  return
}

// -----

func.func @none(%a: tensor<8x4xf32>, %b: tensor<4x6xf32>, %c: tensor<8x6xf32>) {
  // expected-error @+1 {{C7: expected a function after the product}}
  %r = "dnnl.matmul"(%a, %b, %c) {post_ops = []} : (tensor<8x4xf32>, tensor<4x6xf32>, tensor<8x6xf32>) -> tensor<8x6xf32>
  return
}

// -----

func.func @missing(%a: tensor<8x4xf32>, %b: tensor<4x6xf32>, %c: tensor<8x6xf32>) {
  // expected-error @+1 {{C7: expected 1 operands for the functions after the product, got 0}}
  %r = "dnnl.matmul"(%a, %b, %c) {post_ops = [#dnnl<post_op relu>, #dnnl<post_op add>]} : (tensor<8x4xf32>, tensor<4x6xf32>, tensor<8x6xf32>) -> tensor<8x6xf32>
  return
}

// -----

func.func @mixed(%a: tensor<8x4xf32>, %b: tensor<4x6xf32>, %c: tensor<8x6xf32>, %m: memref<8x6xf32>) {
  // expected-error @+1 {{C1: expected all operands to be tensors or all to be memrefs}}
  %r = dnnl.matmul ins(%a, %b : tensor<8x4xf32>, tensor<4x6xf32>) outs(%c : tensor<8x6xf32>) post(add %m : memref<8x6xf32>) -> tensor<8x6xf32>
  return
}

// -----

func.func @column(%a: tensor<8x4xf32>, %b: tensor<4x6xf32>, %c: tensor<8x6xf32>, %col: tensor<8xf32>) {
  // expected-error @+1 {{C8: expected an operand of f32 with the shape of c or, beside a matrix, of one of its rows, got 'tensor<8xf32>' beside 'tensor<8x6xf32>'}}
  %r = dnnl.matmul ins(%a, %b : tensor<8x4xf32>, tensor<4x6xf32>) outs(%c : tensor<8x6xf32>) post(add %col : tensor<8xf32>) -> tensor<8x6xf32>
  return
}

// -----

func.func @batched_row(%a: tensor<2x8x4xf32>, %c: tensor<2x8x8xf32>, %row: tensor<8xf32>) {
  // expected-error @+1 {{C8: expected an operand of f32}}
  %r = dnnl.matmul transpose_b ins(%a, %a : tensor<2x8x4xf32>, tensor<2x8x4xf32>) outs(%c : tensor<2x8x8xf32>) post(add %row : tensor<8xf32>) -> tensor<2x8x8xf32>
  return
}

// -----

func.func @half(%a: tensor<8x4xf16>, %b: tensor<4x6xf16>, %c: tensor<8x6xf16>) {
  // expected-error @+1 {{C8: expected an operand of f32}}
  %r = dnnl.matmul ins(%a, %b : tensor<8x4xf16>, tensor<4x6xf16>) outs(%c : tensor<8x6xf16>) post(add %c : tensor<8x6xf16>) -> tensor<8x6xf16>
  return
}
