// RUN: rwkv-opt %s -split-input-file -verify-diagnostics

func.func @wkv6_state(%r: tensor<1x1x2x4xf32>, %u: tensor<2x4xf32>, %s: tensor<1x2x4x3xf32>) {
  // expected-error @+1 {{C4: state must have shape [1, 2, 4, 4], got 'tensor<1x2x4x3xf32>'}}
  %y, %n = wkv.wkv6 receptance(%r) key(%r) value(%r) decay(%r) bonus(%u) init(%r) state(%s) : (tensor<1x1x2x4xf32>, tensor<1x1x2x4xf32>, tensor<1x1x2x4xf32>, tensor<1x1x2x4xf32>, tensor<2x4xf32>, tensor<1x1x2x4xf32>, tensor<1x2x4x3xf32>) -> (tensor<1x1x2x4xf32>, tensor<1x2x4x3xf32>)
  return
}

// -----

func.func @wkv7_rank(%r: tensor<1x2x4xf32>, %s: tensor<1x2x4x4xf32>) {
  // expected-error @+1 {{C1: key must have 4 dimensions}}
  %y, %n = wkv.wkv7 receptance(%r) decay(%r) key(%r) value(%r) a(%r) b(%r) init(%r) state(%s) : (tensor<1x2x4xf32>, tensor<1x2x4xf32>, tensor<1x2x4xf32>, tensor<1x2x4xf32>, tensor<1x2x4xf32>, tensor<1x2x4xf32>, tensor<1x2x4xf32>, tensor<1x2x4x4xf32>) -> (tensor<1x2x4xf32>, tensor<1x2x4x4xf32>)
  return
}

// -----

func.func @wkv4_decay(%k: tensor<1x3x8xf32>, %w: tensor<4xf32>, %u: tensor<8xf32>, %s: tensor<1x8xf32>) {
  // expected-error @+1 {{C2: decay must have shape [8]}}
  %y, %a, %b, %p = wkv.wkv4 key(%k) value(%k) decay(%w) bonus(%u) init(%k) state(%s, %s, %s) : (tensor<1x3x8xf32>, tensor<1x3x8xf32>, tensor<4xf32>, tensor<8xf32>, tensor<1x3x8xf32>, tensor<1x8xf32>, tensor<1x8xf32>, tensor<1x8xf32>) -> (tensor<1x3x8xf32>, tensor<1x8xf32>, tensor<1x8xf32>, tensor<1x8xf32>)
  return
}

// -----

func.func @shift_state(%x: tensor<1x3x8xf32>, %s: tensor<1x4xf32>) {
  // expected-error @+1 {{C2: state must have shape [1, 8]}}
  %y, %n = wkv.token_shift %x state(%s) : (tensor<1x3x8xf32>, tensor<1x4xf32>) -> (tensor<1x3x8xf32>, tensor<1x4xf32>)
  return
}

// -----

func.func @mix_mu(%x: tensor<1x3x8xf32>, %mu: tensor<4xf32>) {
  // expected-error @+1 {{C2: mu must broadcast to}}
  %y = wkv.mix %x, %x by %mu : tensor<1x3x8xf32>, tensor<4xf32> -> tensor<1x3x8xf32>
  return
}

// -----

func.func @mix_targets(%x: tensor<1x3x8xf32>, %mu: tensor<8xf32>) {
  // expected-error @+1 {{C1: y must have the type of x}}
  %y = wkv.mix %x, %x by %mu : tensor<1x3x8xf32>, tensor<8xf32> -> tensor<1x5x1x3x8xf32>
  return
}

// -----

func.func @shift_state(%x: tensor<1x3x8xf32>, %s: tensor<1x8xf32>) {
  // expected-error @+1 {{C2: new_state must have type 'tensor<1x8xf32>', got 'tensor<1x8xf16>'}}
  %y, %n = wkv.token_shift %x state(%s) : (tensor<1x3x8xf32>, tensor<1x8xf32>) -> (tensor<1x3x8xf32>, tensor<1x8xf16>)
  return
}

// -----

func.func @norm_scale(%x: tensor<1x4x8xf32>, %s: tensor<4xf32>) {
  // expected-error @+1 {{C1: scale must have the shape of the last axes of 'tensor<1x4x8xf32>', got 'tensor<4xf32>'}}
  %y = wkv.layer_norm %x scale(%s : tensor<4xf32>) {epsilon = 1.0e-5 : f64} : tensor<1x4x8xf32>
  return
}

// -----

func.func @lora_down(%x: tensor<1x8xf32>, %w: tensor<2x8xf32>) {
  // expected-error @+1 {{C2: down must have shape [8, 8], got 'tensor<2x8xf32>'}}
  %y = wkv.lora none %x, %w, %w : tensor<1x8xf32>, tensor<2x8xf32>, tensor<2x8xf32> -> tensor<1x8xf32>
  return
}

// -----

func.func @lora_rank(%x: tensor<1x2xf32>, %w: tensor<2x2xf32>) {
  // expected-error @+1 {{C5: expected a rank below 2 and 2, got 2}}
  %y = wkv.lora none %x, %w, %w : tensor<1x2xf32>, tensor<2x2xf32>, tensor<2x2xf32> -> tensor<1x2xf32>
  return
}

// -----

func.func @shift_length(%x: tensor<1x3x8xf32>, %s: tensor<1x8xf32>, %n: tensor<1xi64>) {
  // expected-error @+1 {{operand #2 must be}}
  %y, %m = wkv.token_shift %x state(%s) length(%n) : (tensor<1x3x8xf32>, tensor<1x8xf32>, tensor<1xi64>) -> (tensor<1x3x8xf32>, tensor<1x8xf32>)
  return
}

// -----

func.func @chunk(%h: tensor<1x32x2x4xf32>, %s: tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32> {
  // expected-error@below {{C0: chunk must be a positive multiple of 16, got 24}}
  %y, %n = wkv.wkv7 receptance(%h) decay(%h) key(%h) value(%h) a(%h) b(%h) init(%h) state(%s) {chunk = 24 : i64} : (tensor<1x32x2x4xf32>, tensor<1x32x2x4xf32>, tensor<1x32x2x4xf32>, tensor<1x32x2x4xf32>, tensor<1x32x2x4xf32>, tensor<1x32x2x4xf32>, tensor<1x32x2x4xf32>, tensor<1x2x4x4xf32>) -> (tensor<1x32x2x4xf32>, tensor<1x2x4x4xf32>)
  return %n : tensor<1x2x4x4xf32>
}
