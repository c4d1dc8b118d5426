// RUN: rwkv-opt %s -rwkvc-expand-math -split-input-file | FileCheck %s
// RUN: rwkv-opt %s -rwkvc-expand-math=has-library=false -verify-diagnostics -split-input-file | FileCheck %s --check-prefix=BARE

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

// -----

// Functions whose approximation is coarse stay calls where there is a library.
// CHECK-LABEL: func.func @coarse
// CHECK:       math.sin {{.*}} : f32
// CHECK:       math.cos {{.*}} : f32
// CHECK:       math.powf {{.*}} : f32
// CHECK:       math.tan {{.*}} : f16
// BARE-LABEL:  func.func @coarse
// BARE-NOT:    math.{{sin|cos|tan|pow|exp|log}}
// BARE:        return
func.func @coarse(%x: f32, %h: f16) -> (f32, f32, f32, f16) {
  %0 = math.sin %x : f32
  %1 = math.cos %x : f32
  %2 = math.powf %x, %x : f32
  %3 = math.tan %h : f16
  return %0, %1, %2, %3 : f32, f32, f32, f16
}

// -----

// So does double precision.
// CHECK-LABEL: func.func @double
// CHECK:       math.exp {{.*}} : f64
func.func @double(%d: f64) -> f64 {
  // expected-error@+1 {{the target has no function for 'math.exp' of 'f64'; compute it in single precision in the file, or compile for a target that has one}}
  %0 = math.exp %d : f64
  return %0 : f64
}
