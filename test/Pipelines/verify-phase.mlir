// RUN: rwkv-opt %s -o /dev/null '-rwkvc-verify-phase=phase=after-raise dialects=func,arith,onnx'
// RUN: not rwkv-opt %s '-rwkvc-verify-phase=phase=llvm dialects=llvm,arith' 2>&1 | FileCheck %s

// The first op that does not belong is named, with the phase and what it allows.
// CHECK: verify-phase.mlir:[[#@LINE+1]]:1: error: op 'func.func' is left at the end of phase 'llvm', which allows only the dialects llvm, arith; no pass lowered it
func.func @main(%x: f32) -> f32 {
  %0 = arith.addf %x, %x : f32
  return %0 : f32
}
