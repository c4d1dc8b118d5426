// REQUIRES: onednn
// RUN: rwkv-opt %s --pass-pipeline='builtin.module(func.func(convert-linalg-to-dnnl{min-flops=1000}),one-shot-bufferize,convert-dnnl-to-runtime,func.func(convert-linalg-to-loops),convert-scf-to-cf,expand-strided-metadata,lower-affine,convert-vector-to-llvm,finalize-memref-to-llvm,arith-expand{include-bf16=true},convert-math-to-llvm,convert-arith-to-llvm,convert-func-to-llvm,convert-cf-to-llvm,reconcile-unrealized-casts)' -o %t.mlir
// RUN: grep -c 'llvm.call @rwkvrt_dnnl_matmul' %t.mlir | FileCheck %s --check-prefix=CALLS
// RUN: mlir-runner-22 %t.mlir -e main --entry-point-result=void --shared-libs=%llvm_lib/libmlir_runner_utils.so,%llvm_lib/libmlir_c_runner_utils.so,%rwkvc_lib/librwkvc-rt-dnnl.so | FileCheck %s

// The same products twice: on tensors, which go to oneDNN, and on buffers, which
// become loops. Operands are of mixed sign and magnitude; the sums of each
// result are compared to the largest of them.
// CALLS: 8

func.func private @rwkvrt_dnnl_take_status() -> i32
func.func private @rwkvrt_dnnl_forget(!llvm.ptr, i64)
func.func private @rwkvrt_dnnl_packed_bytes() -> i64

// Values between -1 and 1 that differ from neighbour to neighbour.
func.func @value(%i: index, %seed: i32) -> f32 {
  %n = arith.index_cast %i : index to i32
  %p = arith.constant 7919 : i32
  %m = arith.constant 1009 : i32
  %half = arith.constant 504.0 : f32
  %x = arith.muli %n, %p : i32
  %y = arith.addi %x, %seed : i32
  %r = arith.remui %y, %m : i32
  %f = arith.uitofp %r : i32 to f32
  %c = arith.subf %f, %half : f32
  %v = arith.divf %c, %half : f32
  return %v : f32
}

func.func @fill(%to: memref<?xf32>, %seed: i32) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %n = memref.dim %to, %c0 : memref<?xf32>
  scf.for %i = %c0 to %n step %c1 {
    %v = func.call @value(%i, %seed) : (index, i32) -> f32
    memref.store %v, %to[%i] : memref<?xf32>
  }
  return
}

func.func @fill_bf16(%to: memref<?xbf16>, %seed: i32) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %n = memref.dim %to, %c0 : memref<?xbf16>
  scf.for %i = %c0 to %n step %c1 {
    %v = func.call @value(%i, %seed) : (index, i32) -> f32
    %w = arith.truncf %v : f32 to bf16
    memref.store %w, %to[%i] : memref<?xbf16>
  }
  return
}

// Prints whether the largest difference is at most %tolerance times the largest
// value, and that value rounded down.
func.func @compare(%x: memref<?xf32>, %y: memref<?xf32>, %tolerance: f32) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %zero = arith.constant 0.0 : f32
  %n = memref.dim %x, %c0 : memref<?xf32>
  %d, %m = scf.for %i = %c0 to %n step %c1 iter_args(%d = %zero, %m = %zero) -> (f32, f32) {
    %a = memref.load %x[%i] : memref<?xf32>
    %b = memref.load %y[%i] : memref<?xf32>
    %s = arith.subf %a, %b : f32
    %as = math.absf %s : f32
    %ab = math.absf %b : f32
    %nd = arith.maximumf %d, %as : f32
    %nm = arith.maximumf %m, %ab : f32
    scf.yield %nd, %nm : f32, f32
  }
  %limit = arith.mulf %tolerance, %m : f32
  %ok = arith.cmpf ole, %d, %limit : f32
  vector.print %ok : i1
  %whole = arith.fptosi %m : f32 to i32
  vector.print %whole : i32
  return
}

// CHECK: plain and accumulated
// CHECK-NEXT: 1
// CHECK-NEXT: {{[1-9][0-9]*}}
// CHECK-NEXT: 1
// CHECK-NEXT: {{[1-9][0-9]*}}
func.func @plain() {
  vector.print str "plain and accumulated\n"
  %s1 = arith.constant 17 : i32
  %s2 = arith.constant 23 : i32
  %tolerance = arith.constant 1.0e-6 : f32
  %zero = arith.constant 0.0 : f32
  %a = memref.alloc() : memref<33x70xf32>
  %b = memref.alloc() : memref<70x45xf32>
  %c = memref.alloc() : memref<33x45xf32>
  %d = memref.alloc() : memref<33x45xf32>
  %fa = memref.collapse_shape %a [[0, 1]] : memref<33x70xf32> into memref<2310xf32>
  %fb = memref.collapse_shape %b [[0, 1]] : memref<70x45xf32> into memref<3150xf32>
  %fc = memref.collapse_shape %c [[0, 1]] : memref<33x45xf32> into memref<1485xf32>
  %fd = memref.collapse_shape %d [[0, 1]] : memref<33x45xf32> into memref<1485xf32>
  %va = memref.cast %fa : memref<2310xf32> to memref<?xf32>
  %vb = memref.cast %fb : memref<3150xf32> to memref<?xf32>
  %vc = memref.cast %fc : memref<1485xf32> to memref<?xf32>
  %vd = memref.cast %fd : memref<1485xf32> to memref<?xf32>
  call @fill(%va, %s1) : (memref<?xf32>, i32) -> ()
  call @fill(%vb, %s2) : (memref<?xf32>, i32) -> ()
  // What is overwritten may be anything.
  call @fill(%vc, %s2) : (memref<?xf32>, i32) -> ()
  %ta = bufferization.to_tensor %a restrict : memref<33x70xf32> to tensor<33x70xf32>
  %tb = bufferization.to_tensor %b restrict : memref<70x45xf32> to tensor<70x45xf32>
  %e = tensor.empty() : tensor<33x45xf32>
  %i = linalg.fill ins(%zero : f32) outs(%e : tensor<33x45xf32>) -> tensor<33x45xf32>
  %r = linalg.matmul ins(%ta, %tb : tensor<33x70xf32>, tensor<70x45xf32>) outs(%i : tensor<33x45xf32>) -> tensor<33x45xf32>
  bufferization.materialize_in_destination %r in restrict writable %c : (tensor<33x45xf32>, memref<33x45xf32>) -> ()
  linalg.fill ins(%zero : f32) outs(%d : memref<33x45xf32>)
  linalg.matmul ins(%a, %b : memref<33x70xf32>, memref<70x45xf32>) outs(%d : memref<33x45xf32>)
  call @compare(%vc, %vd, %tolerance) : (memref<?xf32>, memref<?xf32>, f32) -> ()

  %tc = bufferization.to_tensor %c restrict writable : memref<33x45xf32> to tensor<33x45xf32>
  %s = linalg.matmul ins(%ta, %tb : tensor<33x70xf32>, tensor<70x45xf32>) outs(%tc : tensor<33x45xf32>) -> tensor<33x45xf32>
  bufferization.materialize_in_destination %s in restrict writable %c : (tensor<33x45xf32>, memref<33x45xf32>) -> ()
  linalg.matmul ins(%a, %b : memref<33x70xf32>, memref<70x45xf32>) outs(%d : memref<33x45xf32>)
  call @compare(%vc, %vd, %tolerance) : (memref<?xf32>, memref<?xf32>, f32) -> ()
  return
}

#MK = affine_map<(m, n, k) -> (m, k)>
#KM = affine_map<(m, n, k) -> (k, m)>
#NK = affine_map<(m, n, k) -> (n, k)>
#MN = affine_map<(m, n, k) -> (m, n)>
// CHECK: transposed
// CHECK-NEXT: 1
// CHECK-NEXT: {{[1-9][0-9]*}}
// CHECK-NEXT: 1
// CHECK-NEXT: {{[1-9][0-9]*}}
func.func @transposed() {
  vector.print str "transposed\n"
  %s1 = arith.constant 29 : i32
  %s2 = arith.constant 31 : i32
  %tolerance = arith.constant 1.0e-6 : f32
  %zero = arith.constant 0.0 : f32
  %a = memref.alloc() : memref<40x40xf32>
  %b = memref.alloc() : memref<24x40xf32>
  %c = memref.alloc() : memref<40x24xf32>
  %d = memref.alloc() : memref<40x24xf32>
  %fa = memref.collapse_shape %a [[0, 1]] : memref<40x40xf32> into memref<1600xf32>
  %fb = memref.collapse_shape %b [[0, 1]] : memref<24x40xf32> into memref<960xf32>
  %fc = memref.collapse_shape %c [[0, 1]] : memref<40x24xf32> into memref<960xf32>
  %fd = memref.collapse_shape %d [[0, 1]] : memref<40x24xf32> into memref<960xf32>
  %va = memref.cast %fa : memref<1600xf32> to memref<?xf32>
  %vb = memref.cast %fb : memref<960xf32> to memref<?xf32>
  %vc = memref.cast %fc : memref<960xf32> to memref<?xf32>
  %vd = memref.cast %fd : memref<960xf32> to memref<?xf32>
  call @fill(%va, %s1) : (memref<?xf32>, i32) -> ()
  call @fill(%vb, %s2) : (memref<?xf32>, i32) -> ()
  %ta = bufferization.to_tensor %a restrict : memref<40x40xf32> to tensor<40x40xf32>
  %tb = bufferization.to_tensor %b restrict : memref<24x40xf32> to tensor<24x40xf32>
  %e = tensor.empty() : tensor<40x24xf32>
  %i = linalg.fill ins(%zero : f32) outs(%e : tensor<40x24xf32>) -> tensor<40x24xf32>
  %r = linalg.contract indexing_maps = [#MK, #NK, #MN] ins(%ta, %tb : tensor<40x40xf32>, tensor<24x40xf32>) outs(%i : tensor<40x24xf32>) -> tensor<40x24xf32>
  bufferization.materialize_in_destination %r in restrict writable %c : (tensor<40x24xf32>, memref<40x24xf32>) -> ()
  linalg.fill ins(%zero : f32) outs(%d : memref<40x24xf32>)
  linalg.contract indexing_maps = [#MK, #NK, #MN] ins(%a, %b : memref<40x40xf32>, memref<24x40xf32>) outs(%d : memref<40x24xf32>)
  call @compare(%vc, %vd, %tolerance) : (memref<?xf32>, memref<?xf32>, f32) -> ()

  %s = linalg.contract indexing_maps = [#KM, #NK, #MN] ins(%ta, %tb : tensor<40x40xf32>, tensor<24x40xf32>) outs(%i : tensor<40x24xf32>) -> tensor<40x24xf32>
  bufferization.materialize_in_destination %s in restrict writable %c : (tensor<40x24xf32>, memref<40x24xf32>) -> ()
  linalg.fill ins(%zero : f32) outs(%d : memref<40x24xf32>)
  linalg.contract indexing_maps = [#KM, #NK, #MN] ins(%a, %b : memref<40x40xf32>, memref<24x40xf32>) outs(%d : memref<40x24xf32>)
  call @compare(%vc, %vd, %tolerance) : (memref<?xf32>, memref<?xf32>, f32) -> ()
  return
}

// CHECK: batched, rows of larger matrices
// CHECK-NEXT: 1
// CHECK-NEXT: {{[1-9][0-9]*}}
func.func @batched() {
  vector.print str "batched, rows of larger matrices\n"
  %s1 = arith.constant 37 : i32
  %s2 = arith.constant 41 : i32
  %tolerance = arith.constant 1.0e-6 : f32
  %zero = arith.constant 0.0 : f32
  %a = memref.alloc() : memref<5x16x48xf32>
  %b = memref.alloc() : memref<5x32x24xf32>
  %c = memref.alloc() : memref<5x16x24xf32>
  %d = memref.alloc() : memref<5x16x24xf32>
  %fa = memref.collapse_shape %a [[0, 1, 2]] : memref<5x16x48xf32> into memref<3840xf32>
  %fb = memref.collapse_shape %b [[0, 1, 2]] : memref<5x32x24xf32> into memref<3840xf32>
  %fc = memref.collapse_shape %c [[0, 1, 2]] : memref<5x16x24xf32> into memref<1920xf32>
  %fd = memref.collapse_shape %d [[0, 1, 2]] : memref<5x16x24xf32> into memref<1920xf32>
  %va = memref.cast %fa : memref<3840xf32> to memref<?xf32>
  %vb = memref.cast %fb : memref<3840xf32> to memref<?xf32>
  %vc = memref.cast %fc : memref<1920xf32> to memref<?xf32>
  %vd = memref.cast %fd : memref<1920xf32> to memref<?xf32>
  call @fill(%va, %s1) : (memref<?xf32>, i32) -> ()
  call @fill(%vb, %s2) : (memref<?xf32>, i32) -> ()
  %ta = bufferization.to_tensor %a restrict : memref<5x16x48xf32> to tensor<5x16x48xf32>
  %tb = bufferization.to_tensor %b restrict : memref<5x32x24xf32> to tensor<5x32x24xf32>
  %part = tensor.extract_slice %ta[0, 0, 9] [5, 16, 32] [1, 1, 1] : tensor<5x16x48xf32> to tensor<5x16x32xf32>
  %e = tensor.empty() : tensor<5x16x24xf32>
  %i = linalg.fill ins(%zero : f32) outs(%e : tensor<5x16x24xf32>) -> tensor<5x16x24xf32>
  %r = linalg.batch_matmul ins(%part, %tb : tensor<5x16x32xf32>, tensor<5x32x24xf32>) outs(%i : tensor<5x16x24xf32>) -> tensor<5x16x24xf32>
  bufferization.materialize_in_destination %r in restrict writable %c : (tensor<5x16x24xf32>, memref<5x16x24xf32>) -> ()
  %view = memref.subview %a[0, 0, 9] [5, 16, 32] [1, 1, 1] : memref<5x16x48xf32> to memref<5x16x32xf32, strided<[768, 48, 1], offset: 9>>
  linalg.fill ins(%zero : f32) outs(%d : memref<5x16x24xf32>)
  linalg.batch_matmul ins(%view, %b : memref<5x16x32xf32, strided<[768, 48, 1], offset: 9>>, memref<5x32x24xf32>) outs(%d : memref<5x16x24xf32>)
  call @compare(%vc, %vd, %tolerance) : (memref<?xf32>, memref<?xf32>, f32) -> ()
  return
}

// CHECK: bf16
// CHECK-NEXT: 1
// CHECK-NEXT: {{[1-9][0-9]*}}
func.func @bf16() {
  vector.print str "bf16\n"
  %s1 = arith.constant 43 : i32
  %s2 = arith.constant 47 : i32
  %tolerance = arith.constant 1.0e-6 : f32
  %zero = arith.constant 0.0 : f32
  %a = memref.alloc() : memref<32x64xbf16>
  %b = memref.alloc() : memref<64x48xbf16>
  %c = memref.alloc() : memref<32x48xf32>
  %d = memref.alloc() : memref<32x48xf32>
  %fa = memref.collapse_shape %a [[0, 1]] : memref<32x64xbf16> into memref<2048xbf16>
  %fb = memref.collapse_shape %b [[0, 1]] : memref<64x48xbf16> into memref<3072xbf16>
  %fc = memref.collapse_shape %c [[0, 1]] : memref<32x48xf32> into memref<1536xf32>
  %fd = memref.collapse_shape %d [[0, 1]] : memref<32x48xf32> into memref<1536xf32>
  %va = memref.cast %fa : memref<2048xbf16> to memref<?xbf16>
  %vb = memref.cast %fb : memref<3072xbf16> to memref<?xbf16>
  %vc = memref.cast %fc : memref<1536xf32> to memref<?xf32>
  %vd = memref.cast %fd : memref<1536xf32> to memref<?xf32>
  call @fill_bf16(%va, %s1) : (memref<?xbf16>, i32) -> ()
  call @fill_bf16(%vb, %s2) : (memref<?xbf16>, i32) -> ()
  %ta = bufferization.to_tensor %a restrict : memref<32x64xbf16> to tensor<32x64xbf16>
  %tb = bufferization.to_tensor %b restrict : memref<64x48xbf16> to tensor<64x48xbf16>
  %e = tensor.empty() : tensor<32x48xf32>
  %i = linalg.fill ins(%zero : f32) outs(%e : tensor<32x48xf32>) -> tensor<32x48xf32>
  %r = linalg.matmul ins(%ta, %tb : tensor<32x64xbf16>, tensor<64x48xbf16>) outs(%i : tensor<32x48xf32>) -> tensor<32x48xf32>
  bufferization.materialize_in_destination %r in restrict writable %c : (tensor<32x48xf32>, memref<32x48xf32>) -> ()
  linalg.fill ins(%zero : f32) outs(%d : memref<32x48xf32>)
  linalg.matmul ins(%a, %b : memref<32x64xbf16>, memref<64x48xbf16>) outs(%d : memref<32x48xf32>)
  call @compare(%vc, %vd, %tolerance) : (memref<?xf32>, memref<?xf32>, f32) -> ()
  return
}

// CHECK: strides of two elements
// CHECK-NEXT: 1
// CHECK-NEXT: {{[1-9][0-9]*}}
func.func @copied() {
  vector.print str "strides of two elements\n"
  %s1 = arith.constant 53 : i32
  %tolerance = arith.constant 1.0e-6 : f32
  %zero = arith.constant 0.0 : f32
  %a = memref.alloc() : memref<16x32xf32>
  %c = memref.alloc() : memref<16x32xf32>
  %d = memref.alloc() : memref<16x32xf32>
  %fa = memref.collapse_shape %a [[0, 1]] : memref<16x32xf32> into memref<512xf32>
  %fc = memref.collapse_shape %c [[0, 1]] : memref<16x32xf32> into memref<512xf32>
  %fd = memref.collapse_shape %d [[0, 1]] : memref<16x32xf32> into memref<512xf32>
  %va = memref.cast %fa : memref<512xf32> to memref<?xf32>
  %vc = memref.cast %fc : memref<512xf32> to memref<?xf32>
  %vd = memref.cast %fd : memref<512xf32> to memref<?xf32>
  call @fill(%va, %s1) : (memref<?xf32>, i32) -> ()
  linalg.fill ins(%zero : f32) outs(%c : memref<16x32xf32>)
  linalg.fill ins(%zero : f32) outs(%d : memref<16x32xf32>)
  %p = memref.subview %a[0, 0] [16, 16] [1, 2] : memref<16x32xf32> to memref<16x16xf32, strided<[32, 2]>>
  %q = memref.subview %c[0, 1] [16, 16] [1, 2] : memref<16x32xf32> to memref<16x16xf32, strided<[32, 2], offset: 1>>
  %r = memref.subview %d[0, 1] [16, 16] [1, 2] : memref<16x32xf32> to memref<16x16xf32, strided<[32, 2], offset: 1>>
  dnnl.matmul ins(%p, %p : memref<16x16xf32, strided<[32, 2]>>, memref<16x16xf32, strided<[32, 2]>>) outs(%q : memref<16x16xf32, strided<[32, 2], offset: 1>>)
  linalg.matmul ins(%p, %p : memref<16x16xf32, strided<[32, 2]>>, memref<16x16xf32, strided<[32, 2]>>) outs(%r : memref<16x16xf32, strided<[32, 2], offset: 1>>)
  call @compare(%vc, %vd, %tolerance) : (memref<?xf32>, memref<?xf32>, f32) -> ()
  return
}

func.func @with_constant(%a: memref<32x64xf32>, %b: memref<48x64xf32>, %c: memref<32x48xf32>) {
  dnnl.matmul transpose_b constant_b ins(%a, %b : memref<32x64xf32>, memref<48x64xf32>) outs(%c : memref<32x48xf32>)
  return
}

// A constant operand is read once: the second call gives the same result though
// its memory has changed, and a third, after the memory is forgotten, does not.
// Some processors' kernels pad the copy's 48 columns to 64.
// CHECK: constant
// CHECK-NEXT: 1
// CHECK-NEXT: {{[1-9][0-9]*}}
// CHECK-NEXT: {{12288|16384}}
// CHECK-NEXT: 1
// CHECK-NEXT: {{[1-9][0-9]*}}
// CHECK-NEXT: 0
// CHECK-NEXT: 0
// CHECK-NEXT: {{[1-9][0-9]*}}
func.func @constant() {
  vector.print str "constant\n"
  %s1 = arith.constant 59 : i32
  %s2 = arith.constant 61 : i32
  %s3 = arith.constant 67 : i32
  %tolerance = arith.constant 1.0e-6 : f32
  %zero = arith.constant 0.0 : f32
  %a = memref.alloc() : memref<32x64xf32>
  %b = memref.alloc() : memref<48x64xf32>
  %c = memref.alloc() : memref<32x48xf32>
  %d = memref.alloc() : memref<32x48xf32>
  %fa = memref.collapse_shape %a [[0, 1]] : memref<32x64xf32> into memref<2048xf32>
  %fb = memref.collapse_shape %b [[0, 1]] : memref<48x64xf32> into memref<3072xf32>
  %fc = memref.collapse_shape %c [[0, 1]] : memref<32x48xf32> into memref<1536xf32>
  %fd = memref.collapse_shape %d [[0, 1]] : memref<32x48xf32> into memref<1536xf32>
  %va = memref.cast %fa : memref<2048xf32> to memref<?xf32>
  %vb = memref.cast %fb : memref<3072xf32> to memref<?xf32>
  %vc = memref.cast %fc : memref<1536xf32> to memref<?xf32>
  %vd = memref.cast %fd : memref<1536xf32> to memref<?xf32>
  call @fill(%va, %s1) : (memref<?xf32>, i32) -> ()
  call @fill(%vb, %s2) : (memref<?xf32>, i32) -> ()
  linalg.fill ins(%zero : f32) outs(%d : memref<32x48xf32>)
  linalg.contract indexing_maps = [#MK, #NK, #MN] ins(%a, %b : memref<32x64xf32>, memref<48x64xf32>) outs(%d : memref<32x48xf32>)
  call @with_constant(%a, %b, %c) : (memref<32x64xf32>, memref<48x64xf32>, memref<32x48xf32>) -> ()
  call @compare(%vc, %vd, %tolerance) : (memref<?xf32>, memref<?xf32>, f32) -> ()
  %bytes = call @rwkvrt_dnnl_packed_bytes() : () -> i64
  vector.print %bytes : i64

  call @fill(%vb, %s3) : (memref<?xf32>, i32) -> ()
  call @with_constant(%a, %b, %c) : (memref<32x64xf32>, memref<48x64xf32>, memref<32x48xf32>) -> ()
  call @compare(%vc, %vd, %tolerance) : (memref<?xf32>, memref<?xf32>, f32) -> ()

  %address = memref.extract_aligned_pointer_as_index %b : memref<48x64xf32> -> index
  %number = arith.index_cast %address : index to i64
  %pointer = llvm.inttoptr %number : i64 to !llvm.ptr
  %size = arith.constant 12288 : i64
  call @rwkvrt_dnnl_forget(%pointer, %size) : (!llvm.ptr, i64) -> ()
  %left = call @rwkvrt_dnnl_packed_bytes() : () -> i64
  vector.print %left : i64
  call @with_constant(%a, %b, %c) : (memref<32x64xf32>, memref<48x64xf32>, memref<32x48xf32>) -> ()
  call @compare(%vc, %vd, %tolerance) : (memref<?xf32>, memref<?xf32>, f32) -> ()
  return
}

// CHECK: status
// CHECK-NEXT: 0
func.func @main() {
  call @plain() : () -> ()
  call @transposed() : () -> ()
  call @batched() : () -> ()
  call @bf16() : () -> ()
  call @copied() : () -> ()
  call @constant() : () -> ()
  vector.print str "status\n"
  %status = call @rwkvrt_dnnl_take_status() : () -> i32
  vector.print %status : i32
  return
}
