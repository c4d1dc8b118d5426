// REQUIRES: x86
// RUN: rwkv-opt %s '-cpu-vectorize-kernels=vector-bits=512 dot-products=amx' -canonicalize -cse -split-input-file | FileCheck %s
// RUN: rwkv-opt %s '-cpu-vectorize-kernels=vector-bits=512 dot-products=bf16' -split-input-file | FileCheck %s --check-prefix=BF16
// RUN: rwkv-opt %s '-cpu-vectorize-kernels=vector-bits=512 dot-products=amx' -rwkvc-to-llvm | mlir-translate -mlir-to-llvmir | llc -mcpu=x86-64-v4 -mattr=-prefer-256-bit,+avx512vnni,+avx512bf16,+amx-bf16,+amx-int8 -O3 | FileCheck %s --check-prefix=ASM
// BF16-NOT: amx

#x = affine_map<(m, k, n, q) -> (m, k, q)>
#w = affine_map<(m, k, n, q) -> (k, n, q)>
#y = affine_map<(m, k, n, q) -> (m, n)>
#x_of_part = affine_map<(p, m, k, n, q) -> (m, k, q)>
#w_of_part = affine_map<(p, m, k, n, q) -> (p, k, n, q)>
#y_of_part = affine_map<(p, m, k, n, q) -> (m, p, n)>

// 32 rows of a part of 32 columns are four tiles of sums, to which a step adds the products of 16 pairs of rows of the
// matrix. 16 rows that are left are two tiles; what is left then goes as without tiles, eight rows at a time.
// CHECK-LABEL: func.func private @rows(
// CHECK-DAG:     %[[C16:.*]] = arith.constant 16 : index
// CHECK-DAG:     %[[C64:.*]] = arith.constant 64 : index
// CHECK-DAG:     %[[C96:.*]] = arith.constant 96 : index
// CHECK-DAG:     %[[C160:.*]] = arith.constant 160 : index
// CHECK-COUNT-4:   amx.tile_load %{{.*}}, %[[C96]] : memref<{{.*}}xf32{{.*}}> into !amx.tile<16x16xf32>
// CHECK:           scf.for {{.*}} step %[[C16]] iter_args({{.*}}) -> (!amx.tile<16x16xf32>, !amx.tile<16x16xf32>, !amx.tile<16x16xf32>, !amx.tile<16x16xf32>)
// CHECK-COUNT-2:     amx.tile_load %{{.*}}, %[[C64]] : memref<{{.*}}xbf16> into !amx.tile<16x32xbf16>
// CHECK:             amx.tile_load %{{.*}}, %[[C160]] : memref<{{.*}}xbf16> into !amx.tile<16x32xbf16>
// CHECK-COUNT-2:     amx.tile_mulf
// CHECK:             amx.tile_load %{{.*}}, %[[C160]] : memref<{{.*}}xbf16> into !amx.tile<16x32xbf16>
// CHECK-COUNT-2:     amx.tile_mulf
// CHECK:             scf.yield
// CHECK-COUNT-4:   amx.tile_store %{{.*}}, %[[C96]]
// CHECK-COUNT-2: amx.tile_load {{.*}} into !amx.tile<16x16xf32>
// CHECK-COUNT-2: amx.tile_mulf
// CHECK-COUNT-2: amx.tile_store{{.*}}
// CHECK-NOT:     amx
// CHECK-COUNT-16: llvm.call_intrinsic "llvm.x86.avx512bf16.dpbf16ps.512"
// CHECK-COUNT-2: llvm.call_intrinsic "llvm.x86.avx512bf16.dpbf16ps.512"
// CHECK-NOT:     llvm.call_intrinsic
// CHECK:         return
// ASM-LABEL: rows:
// ASM:         ldtilecfg
// ASM-COUNT-4: tdpbf16ps
// ASM:         tilerelease
func.func private @rows(%x: memref<89x80x2xbf16>, %w: memref<3x80x32x2xbf16>, %y: memref<89x3x32xf32>) {
  linalg.generic {indexing_maps = [#x_of_part, #w_of_part, #y_of_part],
                  iterator_types = ["parallel", "parallel", "reduction", "parallel", "reduction"]}
      ins(%x, %w : memref<89x80x2xbf16>, memref<3x80x32x2xbf16>) outs(%y : memref<89x3x32xf32>) {
  ^bb0(%a: bf16, %b: bf16, %c: f32):
    %wide_a = arith.extf %a : bf16 to f32
    %wide_b = arith.extf %b : bf16 to f32
    %term = arith.mulf %wide_a, %wide_b : f32
    %sum = arith.addf %c, %term : f32
    linalg.yield %sum : f32
  }
  return
}

// Tiles are for whole groups of 16 pairs, and for 16 rows at least.
// CHECK-LABEL: func.func private @few_pairs(
// CHECK-NOT:     amx
// CHECK:         return
func.func private @few_pairs(%x: memref<64x24x2xbf16>, %w: memref<24x32x2xbf16>, %y: memref<64x32xf32>) {
  linalg.generic {indexing_maps = [#x, #w, #y], iterator_types = ["parallel", "reduction", "parallel", "reduction"]}
      ins(%x, %w : memref<64x24x2xbf16>, memref<24x32x2xbf16>) outs(%y : memref<64x32xf32>) {
  ^bb0(%a: bf16, %b: bf16, %c: f32):
    %wide_a = arith.extf %a : bf16 to f32
    %wide_b = arith.extf %b : bf16 to f32
    %term = arith.mulf %wide_a, %wide_b : f32
    %sum = arith.addf %c, %term : f32
    linalg.yield %sum : f32
  }
  return
}

// CHECK-LABEL: func.func private @few_rows(
// CHECK-NOT:     amx
// CHECK:         return
func.func private @few_rows(%x: memref<15x16x2xbf16>, %w: memref<16x32x2xbf16>, %y: memref<15x32xf32>) {
  linalg.generic {indexing_maps = [#x, #w, #y], iterator_types = ["parallel", "reduction", "parallel", "reduction"]}
      ins(%x, %w : memref<15x16x2xbf16>, memref<16x32x2xbf16>) outs(%y : memref<15x32xf32>) {
  ^bb0(%a: bf16, %b: bf16, %c: f32):
    %wide_a = arith.extf %a : bf16 to f32
    %wide_b = arith.extf %b : bf16 to f32
    %term = arith.mulf %wide_a, %wide_b : f32
    %sum = arith.addf %c, %term : f32
    linalg.yield %sum : f32
  }
  return
}

// A block's sums of bytes leave the tile for registers, where they are scaled. A zero point in the middle gives numbers a
// sign, and these are the weights as they lie in memory.
#x_of_block = affine_map<(p, m, b, k, n, q) -> (m, b, k, q)>
#w_of_block = affine_map<(p, m, b, k, n, q) -> (p, b, k, n, q)>
#of_column = affine_map<(p, m, b, k, n, q) -> (p, b, n)>
#sums = affine_map<(p, m, b, k, n, q) -> (m, b)>
#y_of_block = affine_map<(p, m, b, k, n, q) -> (m, p, n)>
// CHECK-LABEL: func.func private @bytes(
// CHECK-NOT:     memref.alloca{{.*}}xi8
// CHECK:         %[[SUMS:.*]] = memref.alloca() {alignment = 64 : i64} : memref<256xi32>
// CHECK:         scf.for {{.*}} iter_args
// CHECK:           %[[NONE:.*]] = amx.tile_zero : !amx.tile<16x16xi32>
// CHECK:           %[[X:.*]] = amx.tile_load {{.*}} into !amx.tile<16x32xi8>
// CHECK:           %[[W:.*]] = amx.tile_load {{.*}} into !amx.tile<8x64xi8>
// CHECK:           %[[SUM:.*]] = amx.tile_muli %[[X]], %[[W]], %[[NONE]]
// CHECK:           amx.tile_store %[[SUMS]]{{.*}}, %[[SUM]]
// CHECK-COUNT-16:  vector.load %[[SUMS]]
// CHECK:           arith.sitofp
// CHECK-NOT:       arith.addi {{.*}}vector
// CHECK:           scf.yield
// CHECK:         return
// ASM-LABEL: bytes:
// ASM:         tdpbssd
func.func private @bytes(%x: memref<16x2x8x4xi8>, %w: memref<3x2x8x32x4xi8>, %s: memref<3x2x32xf32>,
                         %sum: memref<16x2xi16>, %y: memref<16x3x32xf32>) {
  %bias = arith.constant 128 : i32
  %byte_bias = arith.constant -128 : i8
  linalg.generic {indexing_maps = [#x_of_block, #w_of_block, #of_column, #sums, #y_of_block],
                  iterator_types = ["parallel", "parallel", "reduction", "reduction", "parallel", "reduction"],
                  cpu.block_sums = 3 : i64}
      ins(%x, %w, %s, %sum : memref<16x2x8x4xi8>, memref<3x2x8x32x4xi8>, memref<3x2x32xf32>, memref<16x2xi16>)
      outs(%y : memref<16x3x32xf32>) {
  ^bb0(%a: i8, %b: i8, %scale: f32, %unused: i16, %c: f32):
    %raised = arith.addi %b, %byte_bias : i8
    %wide_a = arith.extsi %a : i8 to i32
    %wide_b = arith.extui %raised : i8 to i32
    %weight = arith.subi %wide_b, %bias : i32
    %term = arith.muli %wide_a, %weight : i32
    %float = arith.sitofp %term : i32 to f32
    %scaled = arith.mulf %float, %scale : f32
    %total = arith.addf %c, %scaled : f32
    linalg.yield %total : f32
  }
  return
}

// Halves of bytes are taken apart into room on the stack.
// CHECK-LABEL: func.func private @halves_of_bytes(
// CHECK-DAG:     %[[NUMBERS:.*]] = memref.alloca() {alignment = 64 : i64} : memref<512xi8>
// CHECK-DAG:     %[[SEVEN:.*]] = arith.constant dense<7> : vector<64xi8>
// CHECK:         %[[LOW:.*]] = arith.andi {{.*}} : vector<64xi8>
// CHECK:         %[[NUMBER:.*]] = arith.subi %[[LOW]], %[[SEVEN]] : vector<64xi8>
// CHECK:         vector.store %[[NUMBER]], %[[NUMBERS]]
// CHECK-COUNT-7: vector.store {{.*}}, %[[NUMBERS]]
// CHECK:         amx.tile_load %[[NUMBERS]]{{.*}} into !amx.tile<8x64xi8>
// CHECK-NOT:     zext
// CHECK:         amx.tile_muli
// CHECK:         return
func.func private @halves_of_bytes(%x: memref<16x2x8x4xi8>, %w: memref<3x2x8x32x4xi8>, %s: memref<3x2x32xf32>,
                                   %y: memref<16x3x32xf32>) {
  %mask = arith.constant 15 : i8
  %bias = arith.constant 7 : i32
  linalg.generic {indexing_maps = [#x_of_block, #w_of_block, #of_column, #y_of_block],
                  iterator_types = ["parallel", "parallel", "reduction", "reduction", "parallel", "reduction"]}
      ins(%x, %w, %s : memref<16x2x8x4xi8>, memref<3x2x8x32x4xi8>, memref<3x2x32xf32>) outs(%y : memref<16x3x32xf32>) {
  ^bb0(%a: i8, %b: i8, %scale: f32, %c: f32):
    %low = arith.andi %b, %mask : i8
    %wide_a = arith.extsi %a : i8 to i32
    %wide_b = arith.extui %low : i8 to i32
    %weight = arith.subi %wide_b, %bias : i32
    %term = arith.muli %wide_a, %weight : i32
    %float = arith.sitofp %term : i32 to f32
    %scaled = arith.mulf %float, %scale : f32
    %total = arith.addf %c, %scaled : f32
    linalg.yield %total : f32
  }
  return
}

// Zero points of columns are subtracted in registers, times the sums of activations, and numbers have no sign.
// CHECK-LABEL: func.func private @zero_points(
// CHECK:         arith.muli {{.*}} : vector<16xi32>
// CHECK:         amx.tile_muli %{{.*}}, %{{.*}} zext, %{{.*}}
// CHECK:         arith.addi {{.*}} : vector<16xi32>
// CHECK:         return
// ASM-LABEL: zero_points:
// ASM:         tdpbsud
func.func private @zero_points(%x: memref<16x2x8x4xi8>, %w: memref<3x2x8x32x4xi8>, %s: memref<3x2x32xf32>,
                               %z: memref<3x2x32xi8>, %sum: memref<16x2xi16>, %y: memref<16x3x32xf32>) {
  linalg.generic {indexing_maps = [#x_of_block, #w_of_block, #of_column, #of_column, #sums, #y_of_block],
                  iterator_types = ["parallel", "parallel", "reduction", "reduction", "parallel", "reduction"],
                  cpu.block_sums = 4 : i64}
      ins(%x, %w, %s, %z, %sum
          : memref<16x2x8x4xi8>, memref<3x2x8x32x4xi8>, memref<3x2x32xf32>, memref<3x2x32xi8>, memref<16x2xi16>)
      outs(%y : memref<16x3x32xf32>) {
  ^bb0(%a: i8, %b: i8, %scale: f32, %zero: i8, %unused: i16, %c: f32):
    %wide_a = arith.extsi %a : i8 to i32
    %wide_b = arith.extui %b : i8 to i32
    %wide_zero = arith.extsi %zero : i8 to i32
    %weight = arith.subi %wide_b, %wide_zero : i32
    %term = arith.muli %wide_a, %weight : i32
    %float = arith.sitofp %term : i32 to f32
    %scaled = arith.mulf %float, %scale : f32
    %total = arith.addf %c, %scaled : f32
    linalg.yield %total : f32
  }
  return
}

// Where nobody knows the sums of activations, they are added up in registers.
// CHECK-LABEL: func.func private @unknown_sums(
// CHECK-NOT:     amx
func.func private @unknown_sums(%x: memref<16x2x8x4xi8>, %w: memref<3x2x8x32x4xi8>, %s: memref<3x2x32xf32>,
                                %z: memref<3x2x32xi8>, %y: memref<16x3x32xf32>) {
  linalg.generic {indexing_maps = [#x_of_block, #w_of_block, #of_column, #of_column, #y_of_block],
                  iterator_types = ["parallel", "parallel", "reduction", "reduction", "parallel", "reduction"]}
      ins(%x, %w, %s, %z : memref<16x2x8x4xi8>, memref<3x2x8x32x4xi8>, memref<3x2x32xf32>, memref<3x2x32xi8>)
      outs(%y : memref<16x3x32xf32>) {
  ^bb0(%a: i8, %b: i8, %scale: f32, %zero: i8, %c: f32):
    %wide_a = arith.extsi %a : i8 to i32
    %wide_b = arith.extui %b : i8 to i32
    %wide_zero = arith.extsi %zero : i8 to i32
    %weight = arith.subi %wide_b, %wide_zero : i32
    %term = arith.muli %wide_a, %weight : i32
    %float = arith.sitofp %term : i32 to f32
    %scaled = arith.mulf %float, %scale : f32
    %total = arith.addf %c, %scaled : f32
    linalg.yield %total : f32
  }
  return
}
