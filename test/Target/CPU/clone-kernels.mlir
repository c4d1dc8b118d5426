// RUN: rwkv-opt %s -cpu-clone-kernels="levels=small,large vector-bits=128,512" | FileCheck %s
// RUN: rwkv-opt %s -pass-pipeline='builtin.module(cpu-clone-kernels{levels=small,large vector-bits=128,512},builtin.module(cpu-vectorize-kernels))' \
// RUN:   | FileCheck %s --check-prefix=VECTOR
// RUN: not rwkv-opt %s -cpu-clone-kernels="levels=small,large vector-bits=128" 2>&1 | FileCheck %s --check-prefix=NUMBER
// RUN: not rwkv-opt %s -cpu-clone-kernels="levels=small,large vector-bits=128,512 streamed-bytes=1" 2>&1 | FileCheck %s --check-prefix=NUMBER
// NUMBER: error: as many levels as widths of their registers, as instructions for products, and as bytes of streamed weights expected
// RUN: rwkv-opt %s -cpu-clone-kernels="levels=small,large vector-bits=128,512 streamed-bytes=0,4096" | FileCheck %s --check-prefix=STREAMED
// STREAMED: module @small attributes {cpu.vector_bits = 128 : i64}
// STREAMED: module @large attributes {cpu.streamed_bytes = 4096 : i64,
// RUN: rwkv-opt %s -cpu-clone-kernels="levels=small,large,products vector-bits=128,512,512 bases=-1,-1,1" | FileCheck %s --check-prefix=BASE
// RUN: not rwkv-opt %s -cpu-clone-kernels="levels=small,large vector-bits=128,512 bases=1,-1" 2>&1 | FileCheck %s --check-prefix=LATER
// RUN: not rwkv-opt %s -cpu-clone-kernels="levels=a,b,c vector-bits=128,128,128 bases=-1,0,1" 2>&1 | FileCheck %s --check-prefix=LATER
// LATER: error: a base for each level expected, an earlier one without a base or -1

// CHECK:     func.func @main(
// CHECK:       call @kernel(
// CHECK:     func.func private @kernel(memref<64xf32>){{$}}
// CHECK-NOT: linalg.generic
// CHECK:     module @small attributes {cpu.vector_bits = 128 : i64} {
// CHECK:       func.func private @kernel(%{{.*}}: memref<64xf32>) {
// CHECK:         linalg.generic
// CHECK:     module @large attributes {cpu.vector_bits = 512 : i64} {
// CHECK:       func.func private @kernel(%{{.*}}: memref<64xf32>) {
// CHECK:         linalg.generic

// Its base's kernels serve a level but where integers are multiplied.
// BASE-LABEL: module @large attributes {cpu.vector_bits = 512 : i64} {
// BASE:         func.func private @kernel(
// BASE:         func.func private @product(
// BASE-LABEL: module @products attributes {cpu.base = "large", cpu.vector_bits = 512 : i64} {
// BASE-NOT:     func.func private @kernel(
// BASE:         func.func private @product(

// Each with its processor's registers.
// VECTOR: module @small
// VECTOR: vector<4xf32>
// VECTOR: module @large
// VECTOR: vector<16xf32>
func.func @main(%x: memref<64xf32>) -> index {
  call @kernel(%x) : (memref<64xf32>) -> ()
  call @caller(%x) : (memref<64xf32>) -> ()
  %0 = call @result() : () -> index
  return %0 : index
}
func.func private @kernel(%x: memref<64xf32>) {
  linalg.generic {indexing_maps = [affine_map<(i) -> (i)>], iterator_types = ["parallel"]} outs(%x : memref<64xf32>) {
  ^bb0(%o: f32):
    %s = arith.addf %o, %o : f32
    linalg.yield %s : f32
  }
  return
}

func.func private @product(%x: memref<64xi16>, %y: memref<i32>) {
  linalg.generic {indexing_maps = [affine_map<(i) -> (i)>, affine_map<(i) -> ()>], iterator_types = ["reduction"]}
      ins(%x : memref<64xi16>) outs(%y : memref<i32>) {
  ^bb0(%a: i16, %o: i32):
    %w = arith.extsi %a : i16 to i32
    %p = arith.muli %w, %w : i32
    %s = arith.addi %o, %p : i32
    linalg.yield %s : i32
  }
  return
}

// What returns a value or calls other functions is nothing that a table can lead to.
// CHECK-NOT: @caller
// CHECK-NOT: @result
func.func private @caller(%x: memref<64xf32>) {
  call @kernel(%x) : (memref<64xf32>) -> ()
  return
}
func.func private @result() -> index {
  %0 = arith.constant 1 : index
  return %0 : index
}
