// RUN: rwkv-opt %s -split-input-file -verify-diagnostics -cpu-dispatch-kernels | FileCheck %s

// Each level has a table of tasks; what callers know takes the table, and calls through it.
// CHECK-LABEL: llvm.func @main(
// CHECK-SAME:    %[[X:.*]]: !llvm.ptr, %[[S:.*]]: f32, %[[CODE:.*]]: !llvm.ptr)
// CHECK:         %[[FRAME:.*]] = llvm.alloca %{{.*}} x !llvm.struct<(ptr)>

// Of several threads in one level: both say how many iterations they have.
// CHECK:         llvm.store %[[X]]
// CHECK:         %[[E0:.*]] = llvm.getelementptr %[[CODE]][0] : (!llvm.ptr) -> !llvm.ptr, !llvm.struct<(ptr, i64)>
// CHECK:         %[[T0:.*]] = llvm.load {{.*}} -> !llvm.ptr
// CHECK:         %[[U0:.*]] = llvm.load {{.*}} -> i64
// CHECK:         llvm.call @rwkvrt_parallel_for(%[[T0]], %[[FRAME]], %[[U0]])

// Of one thread in all: called directly.
// CHECK:         llvm.getelementptr %[[CODE]][1]
// CHECK:         %[[T1:.*]] = llvm.load {{.*}} -> !llvm.ptr
// CHECK-NOT:     rwkvrt_parallel_for
// CHECK:         llvm.call %[[T1]](%[[FRAME]], %{{.*}}, %{{.*}}) : !llvm.ptr, (!llvm.ptr, i64, i64) -> ()
llvm.func @main(%x: !llvm.ptr, %s: f32) attributes {rwkvc.interface = {}} {
  llvm.call @wide(%x, %s) : (!llvm.ptr, f32) -> ()
  llvm.call @plain(%x) : (!llvm.ptr) -> ()
  llvm.return
}
llvm.func @wide(!llvm.ptr, f32)
llvm.func @plain(!llvm.ptr)

// CHECK-LABEL: module @small
// CHECK:         llvm.func internal @wide_task(%[[CONTEXT:.*]]: !llvm.ptr, %[[BEGIN:.*]]: i64, %[[END:.*]]: i64)
// CHECK:         %[[A:.*]] = llvm.load
// CHECK:         %[[NONE:.*]] = llvm.mlir.poison : f32
// CHECK:         llvm.call @wide(%[[BEGIN]], %[[END]], %[[A]], %[[NONE]])
// CHECK:         llvm.mlir.global external constant @rwkvc_kernels() {{.*}} !llvm.array<2 x struct<(ptr, i64)>>
// CHECK:         llvm.mlir.addressof @wide_task
// CHECK:         llvm.mlir.constant(16 : i64)
// CHECK:         llvm.mlir.addressof @plain_task
// CHECK:         llvm.mlir.constant(1 : i64)
module @small attributes {cpu.vector_bits = 256 : i64} {
  llvm.func @use(!llvm.ptr)
  llvm.func @wide(%b: i64, %e: i64, %x: !llvm.ptr, %s: f32) attributes {cpu.parallel_units = 16 : i64} {
    llvm.call @use(%x) : (!llvm.ptr) -> ()
    llvm.return
  }
  llvm.func @plain(%x: !llvm.ptr) {
    llvm.call @use(%x) : (!llvm.ptr) -> ()
    llvm.return
  }
}
// CHECK-LABEL: module @large
// CHECK:         llvm.mlir.addressof @wide_task
// CHECK:         llvm.mlir.constant(1 : i64)
module @large attributes {cpu.vector_bits = 512 : i64} {
  llvm.func @use(!llvm.ptr)
  llvm.func @wide(%x: !llvm.ptr, %s: f32) {
    llvm.call @use(%x) : (!llvm.ptr) -> ()
    llvm.return
  }
  llvm.func @plain(%x: !llvm.ptr) {
    llvm.call @use(%x) : (!llvm.ptr) -> ()
    llvm.return
  }
}

// -----

// A level has its base's tasks where it has no kernel of its own.
// CHECK-LABEL: llvm.func @shared(
llvm.func @shared(%x: !llvm.ptr) attributes {rwkvc.interface = {}} {
  llvm.call @wide(%x) : (!llvm.ptr) -> ()
  llvm.call @product(%x) : (!llvm.ptr) -> ()
  llvm.return
}
llvm.func @wide(!llvm.ptr)
llvm.func @product(!llvm.ptr)
// CHECK-LABEL: module @base
// CHECK:         llvm.func hidden @wide_task(
// CHECK-NOT:     @wide_task(
// CHECK:         llvm.func internal @product_task(
// CHECK:         llvm.mlir.addressof @wide_task
// CHECK:         llvm.mlir.constant(16 : i64)
module @base {
  llvm.func @use(!llvm.ptr)
  llvm.func @wide(%b: i64, %e: i64, %x: !llvm.ptr) attributes {cpu.parallel_units = 16 : i64} {
    llvm.call @use(%x) : (!llvm.ptr) -> ()
    llvm.return
  }
  llvm.func @product(%x: !llvm.ptr) {
    llvm.call @use(%x) : (!llvm.ptr) -> ()
    llvm.return
  }
}
// CHECK-LABEL: module @products
// CHECK:         llvm.func hidden @wide_task(!llvm.ptr, i64, i64)
// CHECK:         llvm.func internal @product_task(
// CHECK:         llvm.mlir.addressof @wide_task
// CHECK:         llvm.mlir.constant(16 : i64)
// CHECK:         llvm.mlir.addressof @product_task
module @products attributes {cpu.base = "base"} {
  llvm.func @use(!llvm.ptr)
  llvm.func @product(%x: !llvm.ptr) {
    llvm.call @use(%x) : (!llvm.ptr) -> ()
    llvm.return
  }
}

// -----

// A function without a table to call through.
llvm.func @inner(%x: !llvm.ptr) {
  // expected-error@+1 {{calls a kernel of several levels from a function that callers do not know, 'inner'}}
  llvm.call @plain(%x) : (!llvm.ptr) -> ()
  llvm.return
}
llvm.func @plain(!llvm.ptr)
module @small {
  llvm.func @plain(%x: !llvm.ptr) {
    llvm.return
  }
}
