// REQUIRES: x86
// RUN: rwkv-opt %s '-cpu-vectorize-kernels=vector-bits=512 dot-products=vnni' -canonicalize -cse | FileCheck %s --check-prefixes=ALL,BITS
// RUN: rwkv-opt %s '-cpu-vectorize-kernels=vector-bits=512 dot-products=bf16' -canonicalize -cse | FileCheck %s --check-prefixes=ALL,BF16
// RUN: rwkv-opt %s '-cpu-vectorize-kernels=vector-bits=512 dot-products=bf16' -rwkvc-to-llvm | mlir-translate -mlir-to-llvmir | llc -mcpu=x86-64-v4 -mattr=-prefer-256-bit,+avx512bf16 -O3 | FileCheck %s --check-prefix=ASM

#x = affine_map<(m, k, n, q) -> (m, k, q)>
#w = affine_map<(m, k, n, q) -> (k, n, q)>
#y = affine_map<(m, k, n, q) -> (m, n)>

// Products of pairs of bf16 are added to the sums in registers: by one instruction, or each half as a float. Two vectors of
// the matrix serve all rows.
// ALL-LABEL:  func.func private @rows(
// ALL:          %{{.*}}:4 = scf.for {{.*}} -> (vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>)
// ALL:            %[[PAIR:.*]] = vector.load %{{.*}} : memref<{{.*}}xbf16>, vector<2xbf16>
// ALL:            vector.broadcast %{{.*}} : i32 to vector<16xi32>
// ALL:            vector.load %{{.*}} : memref<{{.*}}xbf16>, vector<32xbf16>
// BITS:           arith.shli %{{.*}} : vector<16xi32>
// BITS:           arith.andi %{{.*}} : vector<16xi32>
// BITS:           arith.mulf %{{.*}} fastmath<contract> : vector<16xf32>
// BF16-COUNT-4:   llvm.call_intrinsic "llvm.x86.avx512bf16.dpbf16ps.512"(%{{.*}}) : (vector<16xf32>, vector<32xbf16>, vector<32xbf16>) -> vector<16xf32>
// ALL:            scf.yield
// ASM-LABEL: rows:
// ASM-COUNT-4: vdpbf16ps {{.*}}zmm
func.func private @rows(%x: memref<2x8x2xbf16>, %w: memref<8x32x2xbf16>, %y: memref<2x32xf32>) {
  linalg.generic {indexing_maps = [#x, #w, #y], iterator_types = ["parallel", "reduction", "parallel", "reduction"]}
      ins(%x, %w : memref<2x8x2xbf16>, memref<8x32x2xbf16>) outs(%y : memref<2x32xf32>) {
  ^bb0(%a: bf16, %b: bf16, %c: f32):
    %wide_a = arith.extf %a : bf16 to f32
    %wide_b = arith.extf %b : bf16 to f32
    %term = arith.mulf %wide_a, %wide_b : f32
    %sum = arith.addf %c, %term : f32
    linalg.yield %sum : f32
  }
  return
}
