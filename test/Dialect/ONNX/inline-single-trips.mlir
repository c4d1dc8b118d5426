// RUN: rwkv-opt %s --onnx-inline-single-trips | FileCheck %s

// CHECK-LABEL: @once
// CHECK-SAME: %[[S:[a-z0-9]+]]: tensor<8xf32>, %[[X:[a-z0-9]+]]: tensor<2x1x4xf32>
// CHECK-NOT: onnx.Scan
// CHECK: %[[B:.*]] = "onnx.Reshape"(%[[X]], %{{.*}}) {{.*}} -> tensor<2x4xf32>
// CHECK: %[[N:.*]] = "onnx.Add"(%[[S]],
// CHECK: %[[Y:.*]] = "onnx.Reshape"(%[[N]], %{{.*}}) {{.*}} -> tensor<8x1xf32>
// CHECK: return %[[N]], %[[Y]]
func.func @once(%s: tensor<8xf32>, %x: tensor<2x1x4xf32>) -> (tensor<8xf32>, tensor<8x1xf32>) {
  %0:2 = "onnx.Scan"(%s, %x) <{num_scan_inputs = 1 : i64, scan_input_axes = array<i64: 1>, scan_output_axes = array<i64: 1>}> ({
  ^bb0(%a: tensor<8xf32>, %b: tensor<2x4xf32>):
    %flat = "onnx.Constant"() <{value = dense<8> : tensor<1xi64>}> : () -> tensor<1xi64>
    %c = "onnx.Reshape"(%b, %flat) : (tensor<2x4xf32>, tensor<1xi64>) -> tensor<8xf32>
    %1 = "onnx.Add"(%a, %c) : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
    "onnx.Yield"(%1, %1) : (tensor<8xf32>, tensor<8xf32>) -> ()
  }) : (tensor<8xf32>, tensor<2x1x4xf32>) -> (tensor<8xf32>, tensor<8x1xf32>)
  return %0#0, %0#1 : tensor<8xf32>, tensor<8x1xf32>
}

// CHECK-LABEL: @twice
// CHECK: onnx.Scan
func.func @twice(%s: tensor<8xf32>, %x: tensor<2x8xf32>) -> (tensor<8xf32>, tensor<2x8xf32>) {
  %0:2 = "onnx.Scan"(%s, %x) <{num_scan_inputs = 1 : i64}> ({
  ^bb0(%a: tensor<8xf32>, %b: tensor<8xf32>):
    %1 = "onnx.Add"(%a, %b) : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
    "onnx.Yield"(%1, %1) : (tensor<8xf32>, tensor<8xf32>) -> ()
  }) : (tensor<8xf32>, tensor<2x8xf32>) -> (tensor<8xf32>, tensor<2x8xf32>)
  return %0#0, %0#1 : tensor<8xf32>, tensor<2x8xf32>
}
