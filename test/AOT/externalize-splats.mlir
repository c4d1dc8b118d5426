// RUN: rwkv-opt %s -allow-unregistered-dialect -rwkvc-externalize-weights='splats=true min-bytes=1' | FileCheck %s

// A number many times is another constant than the same number once; the same
// one in another shape is not.
// CHECK: rwkvc.weights = [{name = "w0", offset = 0 : i64, value = dense<0.000000e+00> : tensor<1x1xf32>}, {name = "w1", offset = 64 : i64, value = dense<0.000000e+00> : tensor<1x64xf32>}]
// CHECK-SAME: rwkvc.weights_size = 320 : i64
func.func @main() {
  %one = arith.constant dense<0.0> : tensor<1x1xf32>
  %many = arith.constant dense<0.0> : tensor<1x64xf32>
  %again = arith.constant dense<0.0> : tensor<64xf32>
  "test.use"(%one, %many, %again) : (tensor<1x1xf32>, tensor<1x64xf32>, tensor<64xf32>) -> ()
  return
}
