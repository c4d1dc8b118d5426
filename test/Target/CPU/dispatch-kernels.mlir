// RUN: rwkv-opt %s -cpu-dispatch-kernels | FileCheck %s
// RUN: rwkv-opt %s -cpu-dispatch-kernels | mlir-translate -mlir-to-llvmir -o /dev/null

// CHECK:      llvm.func @rwkvrt_parallel_for(!llvm.ptr, !llvm.ptr, i64)

// One task for all calls of a kernel; it unpacks what the caller put into its frame,
// the arguments that the kernel reads.
// CHECK-LABEL: llvm.func internal @kernel_task(
// CHECK-SAME:    %[[CONTEXT:.*]]: !llvm.ptr, %[[BEGIN:.*]]: i64, %[[END:.*]]: i64)
// CHECK:         %[[F0:.*]] = llvm.getelementptr %[[CONTEXT]][0, 0] : (!llvm.ptr) -> !llvm.ptr, !llvm.struct<(ptr, f32)>
// CHECK-NEXT:    %[[X:.*]] = llvm.load %[[F0]] : !llvm.ptr -> !llvm.ptr
// CHECK-NEXT:    %[[F1:.*]] = llvm.getelementptr %[[CONTEXT]][0, 1]
// CHECK-NEXT:    %[[S:.*]] = llvm.load %[[F1]] : !llvm.ptr -> f32
// CHECK-NEXT:    %[[NONE:.*]] = llvm.mlir.poison : i64
// CHECK-NEXT:    llvm.call @kernel(%[[BEGIN]], %[[END]], %[[X]], %[[S]], %[[NONE]])
// CHECK-NEXT:    llvm.return
// CHECK-NOT:   _task(
llvm.func internal @kernel(%begin: i64, %end: i64, %x: !llvm.ptr, %s: f32, %n: i64) attributes {cpu.parallel_units = 16 : i64} {
  llvm.store %s, %x : f32, !llvm.ptr
  llvm.return
}
llvm.func internal @plain(%x: !llvm.ptr) {
  llvm.return
}

// The frame has room for one set of arguments: the runtime returns when all threads are done.
// CHECK-LABEL: llvm.func @main(
// CHECK-SAME:    %[[A:.*]]: !llvm.ptr, %[[B:.*]]: !llvm.ptr, %[[C:.*]]: f32)
// CHECK:         %[[FRAME:.*]] = llvm.alloca %{{.*}} x !llvm.struct<(ptr, f32)>
// CHECK-NOT:     llvm.alloca
// CHECK:         llvm.store %[[A]]
// CHECK:         llvm.store %[[C]]
// CHECK:         %[[TASK:.*]] = llvm.mlir.addressof @kernel_task
// CHECK:         llvm.call @rwkvrt_parallel_for(%[[TASK]], %[[FRAME]], %{{.*}}) : (!llvm.ptr, !llvm.ptr, i64) -> ()
// CHECK:         llvm.store %[[B]]
// CHECK:         llvm.call @rwkvrt_parallel_for(
// CHECK:         llvm.call @plain(%[[A]])
llvm.func @main(%a: !llvm.ptr, %b: !llvm.ptr, %c: f32) {
  %c0 = llvm.mlir.constant(0 : i64) : i64
  %c16 = llvm.mlir.constant(16 : i64) : i64
  llvm.call @kernel(%c0, %c16, %a, %c, %c0) : (i64, i64, !llvm.ptr, f32, i64) -> ()
  llvm.call @kernel(%c0, %c16, %b, %c, %c0) : (i64, i64, !llvm.ptr, f32, i64) -> ()
  llvm.call @plain(%a) : (!llvm.ptr) -> ()
  llvm.return
}
