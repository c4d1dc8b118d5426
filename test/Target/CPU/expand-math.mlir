// RUN: rwkv-opt %s -cpu-expand-math | FileCheck %s

// CHECK-LABEL: func.func @vectors
// CHECK-NOT:   math.{{exp|tanh|erf|log}}
// CHECK:       math.fma
// CHECK-NOT:   math.{{exp|tanh|erf|log}}
// CHECK:       return
func.func @vectors(%x: vector<8xf32>) -> (vector<8xf32>, vector<8xf32>, vector<8xf32>, vector<8xf32>, vector<8xf32>, vector<8xf32>) {
  %0 = math.exp %x : vector<8xf32>
  %1 = math.tanh %x : vector<8xf32>
  %2 = math.erf %x : vector<8xf32>
  %3 = math.log %x : vector<8xf32>
  %4 = math.log1p %x : vector<8xf32>
  %5 = math.expm1 %x : vector<8xf32>
  return %0, %1, %2, %3, %4, %5 : vector<8xf32>, vector<8xf32>, vector<8xf32>, vector<8xf32>, vector<8xf32>, vector<8xf32>
}

// Half types are computed in single precision.
// CHECK-LABEL: func.func @half
// CHECK:       arith.extf {{.*}} : f16 to f32
// CHECK-NOT:   math.exp
// CHECK:       arith.truncf {{.*}} : f32 to f16
func.func @half(%x: f16) -> f16 {
  %0 = math.exp %x : f16
  return %0 : f16
}

// Double precision and functions whose approximation is coarse stay calls.
// CHECK-LABEL: func.func @calls
// CHECK:       math.exp {{.*}} : f64
// CHECK:       math.sin {{.*}} : f32
// CHECK:       math.cos {{.*}} : f32
// CHECK:       math.powf {{.*}} : f32
func.func @calls(%d: f64, %x: f32) -> (f64, f32, f32, f32) {
  %0 = math.exp %d : f64
  %1 = math.sin %x : f32
  %2 = math.cos %x : f32
  %3 = math.powf %x, %x : f32
  return %0, %1, %2, %3 : f64, f32, f32, f32
}

// CHECK-LABEL: func.func @casts
// CHECK:       %[[S:.*]] = arith.extf %{{.*}} : vector<8xbf16> to vector<8xf32>
// CHECK:       arith.extf %[[S]] : vector<8xf32> to vector<8xf64>
// CHECK:       %[[T:.*]] = arith.truncf %{{.*}} : f64 to f32
// CHECK:       arith.truncf %[[T]] : f32 to bf16
// CHECK:       arith.extf %{{.*}} : f16 to f64
func.func @casts(%x: vector<8xbf16>, %y: f64, %z: f16) -> (vector<8xf64>, bf16, f64) {
  %0 = arith.extf %x : vector<8xbf16> to vector<8xf64>
  %1 = arith.truncf %y : f64 to bf16
  %2 = arith.extf %z : f16 to f64
  return %0, %1, %2 : vector<8xf64>, bf16, f64
}
