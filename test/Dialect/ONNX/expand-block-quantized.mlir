// RUN: rwkv-opt %s -onnx-expand-block-quantized -split-input-file -verify-diagnostics | FileCheck %s

// Rows 0 and 1 of the matrix: numbers 0 to 15 and 15 down to 0; zero points 3 and 4.
// CHECK-LABEL: func.func @zeros(
// CHECK-SAME:    %[[X:.*]]: tensor<1x16xf32>
// CHECK-DAG:   %[[NUMBERS:.*]] = "onnx.Constant"() <{value = dense<{{\[\[}}0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15], [15, 14, 13, {{.*}} : tensor<2x16xui8>}>
// CHECK-DAG:   %[[SCALES:.*]] = "onnx.Constant"() <{value = dense<{{\[\[}}5.000000e-01], [2.500000e-01]]> : tensor<2x1xf32>}>
// CHECK-DAG:   %[[ZEROS:.*]] = "onnx.Constant"() <{value = dense<{{\[\[}}3], [4]]> : tensor<2x1xui8>}>
// CHECK:       %[[W:.*]] = "onnx.DequantizeLinear"(%[[NUMBERS]], %[[SCALES]], %[[ZEROS]]) <{axis = 1 : i64, block_size = 16 : i64
// CHECK:       %[[T:.*]] = "onnx.Transpose"(%[[W]]) <{perm = array<i64: 1, 0>}>
// CHECK:       %[[Y:.*]] = "onnx.MatMul"(%[[X]], %[[T]])
// CHECK:       "onnx.Add"(%[[Y]],
func.func @zeros(%x: tensor<1x16xf32>, %bias: tensor<2xf32>) -> tensor<1x2xf32> {
  %none = "onnx.NoValue"() : () -> none
  %b = "onnx.Constant"() <{value = dense<[[[16, 50, 84, 118, 152, 186, 220, 254]], [[239, 205, 171, 137, 103, 69, 35, 1]]]> : tensor<2x1x8xui8>}> : () -> tensor<2x1x8xui8>
  %s = "onnx.Constant"() <{value = dense<[0.5, 0.25]> : tensor<2xf32>}> : () -> tensor<2xf32>
  %z = "onnx.Constant"() <{value = dense<[3, 4]> : tensor<2xui8>}> : () -> tensor<2xui8>
  %y = "onnx.Custom"(%x, %b, %s, %z, %none, %bias) <{domain = "com.microsoft", op_type = "MatMulNBits", attrs = {K = 16 : i64, N = 2 : i64, bits = 4 : i64, block_size = 16 : i64}}>
      : (tensor<1x16xf32>, tensor<2x1x8xui8>, tensor<2xf32>, tensor<2xui8>, none, tensor<2xf32>) -> tensor<1x2xf32>
  return %y : tensor<1x2xf32>
}

// -----

// The last block of 16 is longer than the row of 24: scales for blocks of 8. Without zero points: half of the range.
// CHECK-LABEL: func.func @short(
// CHECK-DAG:   dense<{{\[\[}}5.000000e-01, 5.000000e-01, 2.500000e-01]]> : tensor<1x3xf32>
// CHECK-DAG:   dense<128> : tensor<1x3xui8>
// CHECK:       block_size = 8 : i64
func.func @short(%x: tensor<1x24xf32>) -> tensor<1x1xf32> {
  %b = "onnx.Constant"() <{value = dense<7> : tensor<1x2x16xui8>}> : () -> tensor<1x2x16xui8>
  %s = "onnx.Constant"() <{value = dense<[0.5, 0.25]> : tensor<2xf32>}> : () -> tensor<2xf32>
  %y = "onnx.Custom"(%x, %b, %s) <{domain = "com.microsoft", op_type = "MatMulNBits", attrs = {K = 24 : i64, N = 1 : i64, bits = 8 : i64, block_size = 16 : i64}}>
      : (tensor<1x24xf32>, tensor<1x2x16xui8>, tensor<2xf32>) -> tensor<1x1xf32>
  return %y : tensor<1x1xf32>
}

// -----

func.func @variable(%x: tensor<1x16xf32>, %b: tensor<2x1x8xui8>) -> tensor<1x2xf32> {
  %s = "onnx.Constant"() <{value = dense<0.5> : tensor<2xf32>}> : () -> tensor<2xf32>
  // expected-error @below {{MatMulNBits: its numbers must be a constant}}
  %y = "onnx.Custom"(%x, %b, %s) <{domain = "com.microsoft", op_type = "MatMulNBits", attrs = {K = 16 : i64, N = 2 : i64, bits = 4 : i64, block_size = 16 : i64}}>
      : (tensor<1x16xf32>, tensor<2x1x8xui8>, tensor<2xf32>) -> tensor<1x2xf32>
  return %y : tensor<1x2xf32>
}

// -----

func.func @size(%x: tensor<1x16xf32>) -> tensor<1x2xf32> {
  %s = "onnx.Constant"() <{value = dense<0.5> : tensor<2xf32>}> : () -> tensor<2xf32>
  %b = "onnx.Constant"() <{value = dense<7> : tensor<2x1x4xui8>}> : () -> tensor<2x1x4xui8>
  // expected-error @below {{MatMulNBits: its numbers have 8 elements; expected 16}}
  %y = "onnx.Custom"(%x, %b, %s) <{domain = "com.microsoft", op_type = "MatMulNBits", attrs = {K = 16 : i64, N = 2 : i64, bits = 4 : i64, block_size = 16 : i64}}>
      : (tensor<1x16xf32>, tensor<2x1x4xui8>, tensor<2xf32>) -> tensor<1x2xf32>
  return %y : tensor<1x2xf32>
}

// -----

func.func @floats(%x: tensor<1x16xf32>) -> tensor<1x2xf32> {
  %b = "onnx.Constant"() <{value = dense<7> : tensor<2x1x8xui8>}> : () -> tensor<2x1x8xui8>
  %s = "onnx.Constant"() <{value = dense<0.5> : tensor<2xf32>}> : () -> tensor<2xf32>
  // expected-error @below {{MatMulNBits: zero points in floating point are not supported; quantise with integers}}
  %y = "onnx.Custom"(%x, %b, %s, %s) <{domain = "com.microsoft", op_type = "MatMulNBits", attrs = {K = 16 : i64, N = 2 : i64, bits = 4 : i64, block_size = 16 : i64}}>
      : (tensor<1x16xf32>, tensor<2x1x8xui8>, tensor<2xf32>, tensor<2xf32>) -> tensor<1x2xf32>
  return %y : tensor<1x2xf32>
}

// -----

func.func @bits(%x: tensor<1x16xf32>, %b: tensor<2x1x8xui8>, %s: tensor<2xf32>) -> tensor<1x2xf32> {
  // expected-error @below {{MatMulNBits: expected N, K and block_size of at least 1 and bits of 2, 4 or 8}}
  %y = "onnx.Custom"(%x, %b, %s) <{domain = "com.microsoft", op_type = "MatMulNBits", attrs = {K = 16 : i64, N = 2 : i64, bits = 3 : i64, block_size = 16 : i64}}>
      : (tensor<1x16xf32>, tensor<2x1x8xui8>, tensor<2xf32>) -> tensor<1x2xf32>
  return %y : tensor<1x2xf32>
}

// -----

func.func @groups(%x: tensor<1x16xf32>, %b: tensor<2x1x8xui8>, %s: tensor<2xf32>, %g: tensor<16xi32>) -> tensor<1x2xf32> {
  %none = "onnx.NoValue"() : () -> none
  // expected-error @below {{MatMulNBits: groups of rows (g_idx) are not supported}}
  %y = "onnx.Custom"(%x, %b, %s, %none, %g) <{domain = "com.microsoft", op_type = "MatMulNBits", attrs = {K = 16 : i64, N = 2 : i64, bits = 4 : i64, block_size = 16 : i64}}>
      : (tensor<1x16xf32>, tensor<2x1x8xui8>, tensor<2xf32>, none, tensor<16xi32>) -> tensor<1x2xf32>
  return %y : tensor<1x2xf32>
}

// -----

// Two numbers in each byte of a row; the zero point of the second block is in the high bits.
// CHECK-LABEL: func.func @gather(
// CHECK-SAME:    %[[I:.*]]: tensor<1x3xi64>
// CHECK-DAG:   %[[NUMBERS:.*]] = "onnx.Constant"() <{value = dense<{{\[\[}}0, 1, 2, 3, 4, 5, 6, 7], [15, 14, 13, 12, 11, 10, 9, 8]]> : tensor<2x8xui8>}>
// CHECK-DAG:   %[[SCALES:.*]] = "onnx.Constant"() <{value = dense<{{\[\[}}5.000000e-01, 2.500000e-01], [1.000000e+00, 2.000000e+00]]> : tensor<2x2xf32>}>
// CHECK-DAG:   %[[ZEROS:.*]] = "onnx.Constant"() <{value = dense<{{\[\[}}3, 1], [4, 2]]> : tensor<2x2xui8>}>
// CHECK:       %[[W:.*]] = "onnx.DequantizeLinear"(%[[NUMBERS]], %[[SCALES]], %[[ZEROS]]) <{axis = 1 : i64, block_size = 4 : i64
// CHECK:       "onnx.Gather"(%[[W]], %[[I]]) <{axis = 0 : i64}>
func.func @gather(%i: tensor<1x3xi64>) -> tensor<1x3x8xf32> {
  %t = "onnx.Constant"() <{value = dense<[[16, 50, 84, 118], [239, 205, 171, 137]]> : tensor<2x4xui8>}> : () -> tensor<2x4xui8>
  %s = "onnx.Constant"() <{value = dense<[[0.5, 0.25], [1.0, 2.0]]> : tensor<2x2xf32>}> : () -> tensor<2x2xf32>
  %z = "onnx.Constant"() <{value = dense<[[19], [36]]> : tensor<2x1xui8>}> : () -> tensor<2x1xui8>
  %y = "onnx.Custom"(%t, %i, %s, %z) <{domain = "com.microsoft", op_type = "GatherBlockQuantized", attrs = {block_size = 4 : i64}}>
      : (tensor<2x4xui8>, tensor<1x3xi64>, tensor<2x2xf32>, tensor<2x1xui8>) -> tensor<1x3x8xf32>
  return %y : tensor<1x3x8xf32>
}

// -----

// Numbers of 4 bits by their type have a byte each, and no zero point of their own.
// CHECK-LABEL: func.func @typed(
// CHECK-SAME:    %[[T:[^:]*]]: tensor<2x8xui8>, %[[I:[^:]*]]: tensor<3xi64>, %[[S:[^:]*]]: tensor<2x2xf32>
// CHECK:       %[[NONE:.*]] = "onnx.NoValue"
// CHECK:       %[[W:.*]] = "onnx.DequantizeLinear"(%[[T]], %[[S]], %[[NONE]]) <{axis = 1 : i64, block_size = 4 : i64
// CHECK:       "onnx.Gather"(%[[W]], %[[I]])
func.func @typed(%t: tensor<2x8xui8>, %i: tensor<3xi64>, %s: tensor<2x2xf32>) -> tensor<3x8xf32> {
  %y = "onnx.Custom"(%t, %i, %s) <{domain = "com.microsoft", op_type = "GatherBlockQuantized", attrs = {block_size = 4 : i64, gather_axis = -2 : i64, quantize_axis = -1 : i64}}>
      : (tensor<2x8xui8>, tensor<3xi64>, tensor<2x2xf32>) -> tensor<3x8xf32>
  return %y : tensor<3x8xf32>
}

// -----

func.func @axis(%t: tensor<2x8xui8>, %i: tensor<3xi64>, %s: tensor<2x2xf32>) -> tensor<2x3xf32> {
  // expected-error @below {{GatherBlockQuantized: expected a matrix of which rows are gathered (gather_axis 0) with blocks along them (quantize_axis 1)}}
  %y = "onnx.Custom"(%t, %i, %s) <{domain = "com.microsoft", op_type = "GatherBlockQuantized", attrs = {block_size = 4 : i64, gather_axis = 1 : i64}}>
      : (tensor<2x8xui8>, tensor<3xi64>, tensor<2x2xf32>) -> tensor<2x3xf32>
  return %y : tensor<2x3xf32>
}

// -----

func.func @rest(%t: tensor<2x8xui8>, %i: tensor<3xi64>, %s: tensor<2x1xf32>) -> tensor<3x8xf32> {
  // expected-error @below {{GatherBlockQuantized: its rows of 8 numbers are no whole blocks of 128}}
  %y = "onnx.Custom"(%t, %i, %s) <{domain = "com.microsoft", op_type = "GatherBlockQuantized", attrs = {}}>
      : (tensor<2x8xui8>, tensor<3xi64>, tensor<2x1xf32>) -> tensor<3x8xf32>
  return %y : tensor<3x8xf32>
}

// -----

func.func @variableTable(%t: tensor<2x4xui8>, %i: tensor<3xi64>) -> tensor<3x8xf32> {
  %s = "onnx.Constant"() <{value = dense<0.5> : tensor<2x2xf32>}> : () -> tensor<2x2xf32>
  // expected-error @below {{GatherBlockQuantized: its numbers must be a constant}}
  %y = "onnx.Custom"(%t, %i, %s) <{domain = "com.microsoft", op_type = "GatherBlockQuantized", attrs = {block_size = 4 : i64}}>
      : (tensor<2x4xui8>, tensor<3xi64>, tensor<2x2xf32>) -> tensor<3x8xf32>
  return %y : tensor<3x8xf32>
}

// -----

func.func @bitsOfTable(%t: tensor<2x8xui8>, %i: tensor<3xi64>, %s: tensor<2x2xf32>) -> tensor<3x8xf32> {
  // expected-error @below {{GatherBlockQuantized: expected block_size of at least 1 and bits of 2, 4 or 8}}
  %y = "onnx.Custom"(%t, %i, %s) <{domain = "com.microsoft", op_type = "GatherBlockQuantized", attrs = {bits = 5 : i64, block_size = 4 : i64}}>
      : (tensor<2x8xui8>, tensor<3xi64>, tensor<2x2xf32>) -> tensor<3x8xf32>
  return %y : tensor<3x8xf32>
}
