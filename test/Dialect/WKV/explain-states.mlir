// RUN: rwkv-opt %s --split-input-file --wkv-explain-states -verify-diagnostics -o /dev/null

// Kept by a shift: nothing to say.
module {
  func.func @shift(%x: tensor<1x1x8xf32>, %s: tensor<1x8xf32> {onnx.name = "s", wkv.state = 1 : i64}) -> (tensor<1x1x8xf32>, tensor<1x8xf32>) {
    %p, %n = wkv.token_shift %x state(%s) : (tensor<1x1x8xf32>, tensor<1x8xf32>) -> (tensor<1x1x8xf32>, tensor<1x8xf32>)
    return %p, %n : tensor<1x1x8xf32>, tensor<1x8xf32>
  }
}

// -----

// expected-remark @+1 {{state 's' tensor<2x4x4xf32>: onnx.Tanh on the way to its new value is not linear in the old one}}
module {
  func.func @tanh(%w: tensor<2x4x4xf32>, %s: tensor<2x4x4xf32> {onnx.name = "s", wkv.state = 0 : i64}) -> tensor<2x4x4xf32> {
    %t = "onnx.Tanh"(%s) : (tensor<2x4x4xf32>) -> tensor<2x4x4xf32>
    %n = "onnx.Add"(%t, %w) : (tensor<2x4x4xf32>, tensor<2x4x4xf32>) -> tensor<2x4x4xf32>
    return %n : tensor<2x4x4xf32>
  }
}

// -----

// expected-remark @+1 {{its update is linear: 2 term(s) with the old state, 0 with the old state summed, 1 without; wkv.wkv6 has 1, 0 and 1}}
module {
  func.func @twice(%w: tensor<2x4x4xf32>, %kv: tensor<2x4x4xf32>, %s: tensor<2x4x4xf32> {onnx.name = "s", wkv.state = 0 : i64}) -> tensor<2x4x4xf32> {
    %a = "onnx.Mul"(%s, %w) : (tensor<2x4x4xf32>, tensor<2x4x4xf32>) -> tensor<2x4x4xf32>
    %b = "onnx.Add"(%s, %a) : (tensor<2x4x4xf32>, tensor<2x4x4xf32>) -> tensor<2x4x4xf32>
    %n = "onnx.Add"(%b, %kv) : (tensor<2x4x4xf32>, tensor<2x4x4xf32>) -> tensor<2x4x4xf32>
    return %n : tensor<2x4x4xf32>
  }
}

// -----

// v4 without its running maximum.
// expected-remark @+1 {{the nearest law, wkv.wkv4, keeps a running maximum beside its two sums}}
module {
  func.func @vector(%w: tensor<8xf32>, %kv: tensor<8xf32>, %s: tensor<8xf32> {onnx.name = "aa", wkv.state = 0 : i64}) -> tensor<8xf32> {
    %a = "onnx.Mul"(%s, %w) : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
    %n = "onnx.Add"(%a, %kv) : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
    return %n : tensor<8xf32>
  }
}

// -----

// expected-remark @+1 {{its new value does not depend on its old one, and is not the row that the next token reads in its place}}
module {
  func.func @replaced(%x: tensor<4x2xf32>, %s: tensor<2x4xf32> {onnx.name = "s", wkv.state = 1 : i64}) -> (tensor<2x4xf32>, tensor<2x4xf32>) {
    %y = "onnx.Tanh"(%s) : (tensor<2x4xf32>) -> tensor<2x4xf32>
    %a = "onnx.Tanh"(%x) : (tensor<4x2xf32>) -> tensor<4x2xf32>
    %n = "onnx.Transpose"(%a) <{perm = array<i64: 1, 0>}> : (tensor<4x2xf32>) -> tensor<2x4xf32>
    return %y, %n : tensor<2x4xf32>, tensor<2x4xf32>
  }
}
