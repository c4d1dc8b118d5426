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
// CHECK-NOT:   kernel_task(
// CHECK-NOT:   plain_task(
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

// A group of independent kernels is one region: a loop for each, those of one thread with one iteration. Calls of one
// kernel have frames of their own.
// CHECK-NOT:   @group
// CHECK-LABEL: llvm.func @step(
// CHECK-SAME:    %[[A:.*]]: !llvm.ptr, %[[B:.*]]: !llvm.ptr, %[[C:.*]]: f32)
// CHECK-DAG:     %[[LOOPS:.*]] = llvm.alloca %{{.*}} x !llvm.array<3 x struct<(ptr, ptr, i64)>>
// CHECK-DAG:     %[[F0:.*]] = llvm.alloca %{{.*}} x !llvm.struct<(ptr, f32)>
// CHECK-DAG:     %[[F1:.*]] = llvm.alloca %{{.*}} x !llvm.struct<(ptr, f32)>
// CHECK:         %[[E0:.*]] = llvm.getelementptr %[[LOOPS]][0, 0]
// CHECK:         llvm.store %{{.*}}, %[[E0]]
// CHECK:         %[[COUNT:.*]] = llvm.mlir.constant(3 : i32)
// CHECK:         llvm.call @rwkvrt_parallel_loops(%[[LOOPS]], %[[COUNT]]) : (!llvm.ptr, i32) -> ()
// CHECK-NOT:     llvm.call @kernel
// CHECK-NOT:     llvm.call @single
// Where nothing is parallel, calls are calls.
// CHECK:         llvm.call @plain(%[[A]])
// CHECK-NEXT:    llvm.call @plain(%[[B]])
// CHECK-NEXT:    llvm.return
llvm.func internal @single(%x: !llvm.ptr) {
  %zero = llvm.mlir.constant(0.0 : f32) : f32
  llvm.store %zero, %x : f32, !llvm.ptr
  llvm.return
}
llvm.func @step(%a: !llvm.ptr, %b: !llvm.ptr, %c: f32) {
  llvm.call @group(%a, %b, %c) : (!llvm.ptr, !llvm.ptr, f32) -> ()
  llvm.call @group_0(%a, %b) : (!llvm.ptr, !llvm.ptr) -> ()
  llvm.return
}
llvm.func internal @group(%a: !llvm.ptr, %b: !llvm.ptr, %c: f32) attributes {rwkvc.independent} {
  %c0 = llvm.mlir.constant(0 : i64) : i64
  %c16 = llvm.mlir.constant(16 : i64) : i64
  llvm.call @kernel(%c0, %c16, %a, %c, %c0) : (i64, i64, !llvm.ptr, f32, i64) -> ()
  llvm.call @single(%b) : (!llvm.ptr) -> ()
  llvm.call @kernel(%c0, %c16, %b, %c, %c0) : (i64, i64, !llvm.ptr, f32, i64) -> ()
  llvm.return
}
llvm.func internal @group_0(%a: !llvm.ptr, %b: !llvm.ptr) attributes {rwkvc.independent} {
  llvm.call @plain(%a) : (!llvm.ptr) -> ()
  llvm.call @plain(%b) : (!llvm.ptr) -> ()
  llvm.return
}
