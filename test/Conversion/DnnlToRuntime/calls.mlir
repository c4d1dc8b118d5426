// RUN: rwkv-opt %s --split-input-file --convert-dnnl-to-runtime | FileCheck %s
// RUN: rwkv-opt %s --split-input-file --convert-dnnl-to-runtime --convert-scf-to-cf --expand-strided-metadata --lower-affine --finalize-memref-to-llvm --convert-func-to-llvm --convert-arith-to-llvm --convert-cf-to-llvm --reconcile-unrealized-casts | mlir-translate-22 --mlir-to-llvmir --split-input-file | FileCheck %s --check-prefix=LLVM

// The declaration, then for each call a slot and a description.
// CHECK-DAG: func.func private @rwkvrt_dnnl_matmul(!llvm.ptr, !llvm.ptr, !llvm.ptr, !llvm.ptr, !llvm.ptr, !llvm.ptr, !llvm.ptr) -> i32
// CHECK-DAG: llvm.mlir.global internal @[[SLOT:rwkvrt_dnnl_slot[_0-9]*]]() {{.*}}: !llvm.ptr
// CHECK-DAG: llvm.mlir.global internal constant @[[DESC:rwkvrt_dnnl_desc[_0-9]*]]()
// CHECK-DAG: llvm.mlir.global internal constant @{{.*}}("/blocks.0/MatMul\00")
// CHECK-LABEL: func.func @one
// CHECK-DAG: %[[S:.*]] = llvm.mlir.addressof @[[SLOT]] : !llvm.ptr
// CHECK-DAG: %[[D:.*]] = llvm.mlir.addressof @[[DESC]] : !llvm.ptr
// CHECK-DAG: %[[A:.*]] = memref.extract_aligned_pointer_as_index %arg0
// CHECK-DAG: %[[IA:.*]] = arith.index_cast %[[A]] : index to i64
// CHECK-DAG: %[[PA:.*]] = llvm.inttoptr %[[IA]] : i64 to !llvm.ptr
// CHECK: %[[NONE:.*]] = llvm.mlir.zero
// CHECK: %[[NONE2:.*]] = llvm.mlir.zero
// CHECK: call @rwkvrt_dnnl_matmul(%[[S]], %[[D]], %[[PA]], %{{.*}}, %{{.*}}, %[[NONE]], %[[NONE2]])
// CHECK-NOT: dnnl.matmul
// CHECK: llvm.func @rwkvrt_dnnl_release(!llvm.ptr)
// CHECK: llvm.func internal @rwkvrt_dnnl_exit
// CHECK: %[[E:.*]] = llvm.mlir.addressof @[[SLOT]]
// CHECK: llvm.call @rwkvrt_dnnl_release(%[[E]])
// CHECK: llvm.mlir.global_dtors dtors = [@rwkvrt_dnnl_exit]

// struct_size 368, rank 2, flags ACCUMULATE | CONSTANT_B, float32, a transposed.
// LLVM: constant { i32, i32, i32, i32, ptr, { i32, i32, [6 x i64], [6 x i64] }, { i32, i32, [6 x i64], [6 x i64] }, { i32, i32, [6 x i64], [6 x i64] }, [8 x i32] } { i32 368, i32 2, i32 3, i32 0, ptr @rwkvrt_dnnl_where, { i32, i32, [6 x i64], [6 x i64] } { i32 1, i32 0, [6 x i64] [i64 8, i64 4, i64 0, i64 0, i64 0, i64 0], [6 x i64] [i64 1, i64 8, i64 0, i64 0, i64 0, i64 0] }, { i32, i32, [6 x i64], [6 x i64] } { i32 1, i32 0, [6 x i64] [i64 4, i64 6, i64 0, i64 0, i64 0, i64 0], [6 x i64] [i64 6, i64 1, {{.*}}
// LLVM: @llvm.global_dtors = appending global
func.func @one(%a: memref<4x8xf32>, %b: memref<4x6xf32>, %c: memref<8x6xf32>) {
  dnnl.matmul transpose_a accumulate constant_b ins(%a, %b : memref<4x8xf32>, memref<4x6xf32>) outs(%c : memref<8x6xf32>) loc("/blocks.0/MatMul")
  return
}

// -----

// Leading strides and offsets go into the description and the pointers.
// CHECK-LABEL: func.func @strided
// CHECK-NOT: memref.alloc
// CHECK: memref.extract_aligned_pointer_as_index %arg0
// CHECK: memref.extract_strided_metadata %arg0
// CHECK: memref.extract_aligned_pointer_as_index %arg1
// CHECK: arith.constant 3
// CHECK: call @rwkvrt_dnnl_matmul
func.func @strided(%a: memref<2x8x4xbf16, strided<[100, 12, 1], offset: ?>>, %b: memref<2x4x6xbf16, strided<[24, 1, 4], offset: 3>>, %c: memref<2x8x6xf32>) {
  dnnl.matmul ins(%a, %b : memref<2x8x4xbf16, strided<[100, 12, 1], offset: ?>>, memref<2x4x6xbf16, strided<[24, 1, 4], offset: 3>>) outs(%c : memref<2x8x6xf32>)
  return
}

// -----

// Strides that oneDNN does not take: copies around the call.
// CHECK-LABEL: func.func @copies
// CHECK: %[[A:.*]] = memref.alloc() {{.*}} : memref<8x4xf32>
// CHECK: memref.copy %arg0, %[[A]]
// CHECK: %[[C:.*]] = memref.alloc() {{.*}} : memref<8x6xf32>
// CHECK-NOT: memref.copy
// CHECK: call @rwkvrt_dnnl_matmul
// CHECK: memref.copy %[[C]], %arg2
// CHECK-DAG: memref.dealloc %[[A]]
// CHECK-DAG: memref.dealloc %[[C]]
func.func @copies(%a: memref<8x4xf32, strided<[?, ?], offset: ?>>, %b: memref<4x6xf32>, %c: memref<8x6xf32, strided<[24, 2]>>) {
  dnnl.matmul ins(%a, %b : memref<8x4xf32, strided<[?, ?], offset: ?>>, memref<4x6xf32>) outs(%c : memref<8x6xf32, strided<[24, 2]>>)
  return
}

// -----

// CHECK-LABEL: func.func @copy_sum
// CHECK: %[[C:.*]] = memref.alloc
// CHECK: memref.copy %arg2, %[[C]]
// CHECK: call @rwkvrt_dnnl_matmul
// CHECK: memref.copy %[[C]], %arg2
func.func @copy_sum(%a: memref<8x4xf32>, %b: memref<4x6xf32>, %c: memref<8x6xf32, strided<[24, 2]>>) {
  dnnl.matmul accumulate ins(%a, %b : memref<8x4xf32>, memref<4x6xf32>) outs(%c : memref<8x6xf32, strided<[24, 2]>>)
  return
}

// -----

// Memory of one run cannot be constant: the second call has no flag.
// LLVM: @rwkvrt_dnnl_desc = internal constant {{.*}} { i32 368, i32 2, i32 2, i32 0,
// LLVM: @rwkvrt_dnnl_desc_{{[0-9]+}} = internal constant {{.*}} { i32 368, i32 2, i32 0, i32 0,
memref.global "private" constant @weight : memref<4x6xf32> = dense<1.0>
// CHECK-LABEL: func.func @constant
func.func @constant(%a: memref<8x4xf32>, %c: memref<8x6xf32>) {
  %w = memref.get_global @weight : memref<4x6xf32>
  dnnl.matmul constant_b ins(%a, %w : memref<8x4xf32>, memref<4x6xf32>) outs(%c : memref<8x6xf32>)
  %t = memref.alloc() : memref<24xf32>
  %v = memref.expand_shape %t [[0, 1]] output_shape [4, 6] : memref<24xf32> into memref<4x6xf32>
  dnnl.matmul constant_b ins(%a, %v : memref<8x4xf32>, memref<4x6xf32>) outs(%c : memref<8x6xf32>)
  memref.dealloc %t : memref<24xf32>
  return
}

// -----

// Post-ops go into the description: 3 logistic, 262 the sum with a row, 7 the product. An operand with gaps is copied.
// LLVM: { i32 368, i32 2, i32 0, i32 3, ptr {{.*}}, [8 x i32] [i32 3, i32 262, i32 7, i32 0, i32 0, i32 0, i32 0, i32 0] }
// CHECK-LABEL: func.func @post
// CHECK: %[[DENSE:.*]] = memref.alloc() {{.*}} : memref<8x6xf32>
// CHECK: memref.copy %arg4, %[[DENSE]]
// CHECK: memref.extract_aligned_pointer_as_index %arg3
// CHECK: %[[ROW:.*]] = llvm.inttoptr
// CHECK: memref.extract_aligned_pointer_as_index %[[DENSE]]
// CHECK: %[[FACTOR:.*]] = llvm.inttoptr
// CHECK: call @rwkvrt_dnnl_matmul({{.*}}, %[[ROW]], %[[FACTOR]])
// CHECK: memref.dealloc %[[DENSE]]
func.func @post(%a: memref<8x4xf32>, %b: memref<4x6xf32>, %c: memref<8x6xf32>, %row: memref<6xf32>, %y: memref<8x6xf32, strided<[12, 1]>>) {
  dnnl.matmul ins(%a, %b : memref<8x4xf32>, memref<4x6xf32>) outs(%c : memref<8x6xf32>) post(logistic, add %row : memref<6xf32>, mul %y : memref<8x6xf32, strided<[12, 1]>>)
  return
}

// -----

// Nothing to do, nothing declared.
// CHECK-LABEL: func.func @none
// CHECK-NOT: rwkvrt
func.func @none() {
  return
}
