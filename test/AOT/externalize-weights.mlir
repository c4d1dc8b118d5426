// RUN: rwkv-opt %s -allow-unregistered-dialect -rwkvc-externalize-weights -split-input-file | FileCheck %s
// RUN: rwkv-opt %s -allow-unregistered-dialect -rwkvc-externalize-weights=min-bytes=12 -split-input-file | FileCheck %s --check-prefix=SMALL
// RUN: not rwkv-opt %S/Inputs/no-entry.mlir -rwkvc-externalize-weights 2>&1 | FileCheck %s --check-prefix=ERROR

// Each value once, at a multiple of 64 bytes, in the order of its first use; booleans take a byte.
// CHECK:      rwkvc.weights = [{name = "w0.emb.weight", offset = 0 : i64, value = dense_resource<emb.weight> : tensor<65xf32>},
// CHECK-SAME:                  {name = "w1.bits", offset = 320 : i64, value = dense_resource<bits> : tensor<256xi1>},
// CHECK-SAME:                  {name = "w2", offset = 576 : i64,
// CHECK-SAME: rwkvc.weights_size = 832 : i64
// SMALL:      {name = "w3", offset = 832 : i64, value = dense<[1.000000e+00, 2.000000e+00, 3.000000e+00]> : tensor<3xf32>}
// SMALL-SAME: rwkvc.weights_size = 896 : i64
// CHECK-LABEL: func.func @main(
// CHECK-SAME:    %[[X:[^:]*]]: memref<1xi64>, %[[WEIGHTS:[^:]*]]: memref<832xi8>)
func.func @main(%x: memref<1xi64>) {
  // CHECK-DAG: %[[V0:.*]] = memref.view %[[WEIGHTS]][%c0{{.*}}][] : memref<832xi8> to memref<65xf32>
  // CHECK-DAG: %[[W0:.*]] = bufferization.to_tensor %[[V0]] restrict : memref<65xf32> to tensor<65xf32>
  // CHECK-DAG: %[[V1:.*]] = memref.view %[[WEIGHTS]][%c320{{.*}}][] : memref<832xi8> to memref<256xi1>
  // CHECK-DAG: %[[W1:.*]] = bufferization.to_tensor %[[V1]] restrict : memref<256xi1>
  // CHECK-DAG: %[[V2:.*]] = memref.view %[[WEIGHTS]][%c576{{.*}}][] : memref<832xi8> to memref<4x16xf32>
  // CHECK-DAG: %[[W2:.*]] = bufferization.to_tensor %[[V2]] restrict : memref<4x16xf32>
  // CHECK-DAG: %[[SPLAT:.*]] = arith.constant dense<1.000000e+00> : tensor<64xf32>
  // CHECK-DAG: %[[FEW:.*]] = arith.constant dense<[1.000000e+00, 2.000000e+00, 3.000000e+00]> : tensor<3xf32>
  // CHECK-NOT: arith.constant dense_resource
  %w = arith.constant dense_resource<emb.weight> : tensor<65xf32>
  %bits = arith.constant dense_resource<bits> : tensor<256xi1>
  %again = arith.constant dense_resource<emb.weight> : tensor<65xf32>
  %splat = arith.constant dense<1.0> : tensor<64xf32>
  %dense = arith.constant dense<[
    [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0, 15.0],
    [1.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0, 15.0],
    [2.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0, 15.0],
    [3.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0, 15.0]]> : tensor<4x16xf32>
  %few = arith.constant dense<[1.0, 2.0, 3.0]> : tensor<3xf32>
  // CHECK: "test.use"(%[[W0]], %[[W1]], %[[W0]], %[[SPLAT]], %[[W2]], %[[FEW]])
  "test.use"(%w, %bits, %again, %splat, %dense, %few)
      : (tensor<65xf32>, tensor<256xi1>, tensor<65xf32>, tensor<64xf32>, tensor<4x16xf32>, tensor<3xf32>) -> ()
  return
}

// -----

// Nothing to move: the argument is there all the same, so that the signature does not depend on the model.
// CHECK: rwkvc.weights = [], rwkvc.weights_size = 0 : i64
// CHECK: func.func @main(%{{.*}}: memref<0xi8>)
func.func @main() {
  return
}

// -----

// The functions of a model read the same bytes, also where they see other shapes.
// CHECK:      rwkvc.weights = [{name = "w0.shared", offset = 0 : i64, {{[^}]*}}}, {name = "w1.own", offset = 256 : i64, {{[^}]*}}}]
// CHECK-SAME: rwkvc.weights_size = 512 : i64
// CHECK-LABEL: func.func @main(%{{.*}}: memref<512xi8>)
// CHECK:         memref.view %{{.*}}[%c0{{.*}}][] : memref<512xi8> to memref<64xf32>
// CHECK-LABEL: func.func @step(%{{.*}}: memref<512xi8>)
// CHECK-DAG:     memref.view %{{.*}}[%c0{{.*}}][] : memref<512xi8> to memref<1x64xf32>
// CHECK-DAG:     memref.view %{{.*}}[%c256{{.*}}][] : memref<512xi8> to memref<64xf32>
func.func @main() {
  %w = arith.constant dense_resource<shared> : tensor<64xf32>
  "test.use"(%w) : (tensor<64xf32>) -> ()
  return
}
func.func @step() attributes {wkv.form = "step"} {
  %v = arith.constant dense_resource<own> : tensor<64xf32>
  %w = arith.constant dense_resource<shared> : tensor<1x64xf32>
  "test.use"(%v, %w) : (tensor<64xf32>, tensor<1x64xf32>) -> ()
  return
}

// ERROR: error: the module has no function @main
