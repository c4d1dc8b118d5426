// REQUIRES: x86
// RUN: rwkv-opt %s '-cpu-vectorize-kernels=vector-bits=256 dot-products=generic' -canonicalize | FileCheck %s --check-prefix=GENERIC
// RUN: rwkv-opt %s '-cpu-vectorize-kernels=vector-bits=256 dot-products=avx2' -canonicalize -cse | FileCheck %s --check-prefix=AVX2
// RUN: rwkv-opt %s '-cpu-vectorize-kernels=vector-bits=512 dot-products=vnni' -canonicalize -cse | FileCheck %s --check-prefix=VNNI
// RUN: not rwkv-opt %s -cpu-vectorize-kernels=dot-products=mmx 2>&1 | FileCheck %s --check-prefix=MMX
// RUN: rwkv-opt %s '-cpu-vectorize-kernels=vector-bits=256 dot-products=avx2' -rwkvc-to-llvm | mlir-translate -mlir-to-llvmir | llc -mcpu=x86-64-v3 -O3 | FileCheck %s --check-prefix=V3
// RUN: rwkv-opt %s '-cpu-vectorize-kernels=vector-bits=512 dot-products=avx512bw' -rwkvc-to-llvm | mlir-translate -mlir-to-llvmir | llc -mcpu=x86-64-v4 -mattr=-prefer-256-bit -O3 | FileCheck %s --check-prefix=V4
// RUN: rwkv-opt %s '-cpu-vectorize-kernels=vector-bits=512 dot-products=vnni' -rwkvc-to-llvm | mlir-translate -mlir-to-llvmir | llc -mcpu=x86-64-v4 -mattr=-prefer-256-bit,+avx512vnni -O3 | FileCheck %s --check-prefix=V4VNNI
// RUN: rwkv-opt %s '-cpu-vectorize-kernels=vector-bits=256 dot-products=vnni' -rwkvc-to-llvm | mlir-translate -mlir-to-llvmir | llc -mcpu=x86-64-v3 -mattr=+avxvnni -O3 | FileCheck %s --check-prefix=V3VNNI

// MMX: error: dot-products=mmx: expected generic, avx2, avx512bw, vnni, bf16 or amx

#x = affine_map<(b, k, n, q) -> (b, k, q)>
#w = affine_map<(b, k, n, q) -> (b, k, n, q)>
#s = affine_map<(b, k, n, q) -> (b, n)>
#l = affine_map<(b, k, n, q) -> (b)>
#y = affine_map<(b, k, n, q) -> (n)>

// Numbers of 8 bits. Sums start from the zero point times the sum of the activations. Without an instruction that adds all
// four, activations take the signs of numbers, for the sums of two magnitudes' products fit 16 bits. There are no zero points
// then.
// GENERIC-LABEL: func.func private @bytes(
// GENERIC-COUNT-2: vector.deinterleave
// VNNI-LABEL:  func.func private @bytes(
// VNNI:          %[[ZERO:.*]] = arith.constant -128 : i32
// VNNI:          scf.for
// VNNI:            %[[SUM:.*]] = memref.load %{{.*}} : memref<3xi16>
// VNNI:            %[[WIDE:.*]] = arith.extsi %[[SUM]] : i16 to i32
// VNNI:            %[[START:.*]] = arith.muli %[[WIDE]], %[[ZERO]]
// VNNI:            %[[ALL:.*]] = vector.broadcast %[[START]] : i32 to vector<16xi32>
// VNNI:            %[[SUMS:.*]]:2 = scf.for {{.*}} iter_args(%{{.*}} = %[[ALL]], %{{.*}} = %[[ALL]])
// VNNI:              vector.broadcast %{{.*}} : i32 to vector<16xi32>
// VNNI-COUNT-2:      llvm.call_intrinsic "llvm.x86.avx512.vpdpbusd.512"(%{{.*}}) : (vector<16xi32>, vector<64xi8>, vector<64xi8>) -> vector<16xi32>
// VNNI:            arith.sitofp %[[SUMS]]#0 : vector<16xi32> to vector<16xf32>
// AVX2-LABEL:  func.func private @bytes(
// AVX2-NOT:      arith.muli %{{.*}} : i32
// AVX2:          %[[SIGNED:.*]] = arith.xori
// AVX2:          %[[SIZE:.*]] = arith.maxsi %[[SIGNED]]
// AVX2:          %[[X:.*]] = llvm.call_intrinsic "llvm.x86.avx2.psign.b"(%{{.*}}, %[[SIGNED]])
// AVX2:          %[[PAIRS:.*]] = llvm.call_intrinsic "llvm.x86.avx2.pmadd.ub.sw"(%[[SIZE]], %[[X]])
// AVX2:          %[[SUM:.*]] = llvm.call_intrinsic "llvm.x86.avx2.pmadd.wd"(%[[PAIRS]]
// AVX2:          arith.addi %{{.*}}, %[[SUM]] : vector<8xi32>
// V3-LABEL: bytes:
// V3:         vpsignb
// V3:         vpmaddubsw
// V3:         vpmaddwd
// V4-LABEL: bytes:
// V4:         vpmaddubsw {{.*}}zmm
// V4:         vpmaddwd {{.*}}zmm
// V4VNNI-LABEL: bytes:
// V4VNNI-COUNT-2: vpdpbusd {{.*}}zmm
// V4VNNI-NOT: vpmadd
// V3VNNI-LABEL: bytes:
// V3VNNI:     {vex} vpdpbusd {{.*}}ymm
func.func private @bytes(%x: memref<3x8x4xi8>, %w: memref<3x8x32x4xi8>, %s: memref<3x32xf32>, %l: memref<3xf32>, %z: memref<3xi16>, %y: memref<32xf32>) {
  %c128 = arith.constant 128 : i32
  linalg.generic {indexing_maps = [#x, #w, #s, #l, #l, #y], iterator_types = ["reduction", "reduction", "parallel", "reduction"], cpu.block_sums = 4}
      ins(%x, %w, %s, %l, %z : memref<3x8x4xi8>, memref<3x8x32x4xi8>, memref<3x32xf32>, memref<3xf32>, memref<3xi16>) outs(%y : memref<32xf32>) {
  ^bb0(%a: i8, %b: i8, %c: f32, %u: f32, %i: i16, %d: f32):
    %n = arith.extui %b : i8 to i32
    %q = arith.subi %n, %c128 : i32
    %e = arith.extsi %a : i8 to i32
    %p = arith.muli %e, %q : i32
    %f = arith.mulf %c, %u : f32
    %g = arith.sitofp %p : i32 to f32
    %t = arith.mulf %g, %f : f32
    %r = arith.addf %d, %t : f32
    linalg.yield %r : f32
  }
  return
}

// Numbers of 4 bits need no halves. Whose sums of activations nobody gives has them added up.
// GENERIC-LABEL: func.func private @halves(
// AVX2-LABEL:  func.func private @halves(
// AVX2:          %[[ONES:.*]] = arith.constant dense<1> : vector<32xi8>
// AVX2:          scf.for {{.*}} -> (vector<16xi16>, vector<16xi16>, vector<16xi16>, vector<16xi16>, vector<16xi16>)
// AVX2-NOT:      scf.for
// AVX2:          llvm.call_intrinsic "llvm.x86.avx2.pmadd.ub.sw"(%[[ONES]], %{{.*}})
// VNNI-LABEL:  func.func private @halves(
// V3-LABEL: halves:
// V3:         vpmaddubsw
// V4VNNI-LABEL: halves:
// V4VNNI:     vpdpbusd {{.*}}zmm
func.func private @halves(%x: memref<3x4x4xi8>, %w: memref<3x4x32x4xi8>, %s: memref<3x32xf32>, %z: memref<3x32xi8>, %y: memref<32xf32>) {
  %c15 = arith.constant 15 : i8
  linalg.generic {indexing_maps = [#x, #w, #s, #s, #y], iterator_types = ["reduction", "reduction", "parallel", "reduction"]}
      ins(%x, %w, %s, %z : memref<3x4x4xi8>, memref<3x4x32x4xi8>, memref<3x32xf32>, memref<3x32xi8>) outs(%y : memref<32xf32>) {
  ^bb0(%a: i8, %b: i8, %c: f32, %i: i8, %d: f32):
    %low = arith.andi %b, %c15 : i8
    %n = arith.extui %low : i8 to i32
    %zero = arith.extsi %i : i8 to i32
    %q = arith.subi %n, %zero : i32
    %e = arith.extsi %a : i8 to i32
    %p = arith.muli %e, %q : i32
    %g = arith.sitofp %p : i32 to f32
    %t = arith.mulf %g, %c : f32
    %r = arith.addf %d, %t : f32
    linalg.yield %r : f32
  }
  return
}
