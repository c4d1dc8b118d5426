// RUN: rwkv-opt %s -rwkvc-outline-kernels | FileCheck %s
// RUN: rwkv-opt %s -rwkvc-outline-kernels -duplicate-function-elimination | FileCheck %s --check-prefix=MERGED
// RUN: not rwkv-opt %S/Inputs/no-entry.mlir -rwkvc-outline-kernels 2>&1 | FileCheck %s --check-prefix=ERROR

#id = affine_map<(d0) -> (d0)>

// CHECK-LABEL: func.func @main
// MERGED-LABEL: func.func @main
func.func @main(%w: memref<4096xi8>, %x: memref<8x4xf32>, %y: memref<8x4xf32>, %scale: f32) {
  %c0 = arith.constant 0 : index
  %c256 = arith.constant 256 : index
  %two = arith.constant 2.0 : f32
  %a = memref.view %w[%c0][] : memref<4096xi8> to memref<8xf32>
  %b = memref.view %w[%c256][] : memref<4096xi8> to memref<8xf32>
  // Constants go into the kernel, other values become its arguments.
  // CHECK: call @kernel_0(%[[A:.*]], %[[B:.*]], %{{.*}}) : (memref<8xf32>, memref<8xf32>, f32) -> ()
  // CHECK: call @kernel_1(%[[B]], %[[A]], %{{.*}}) : (memref<8xf32>, memref<8xf32>, f32) -> ()
  // Two layers with one kernel.
  // MERGED: call @[[KERNEL:kernel_[01]]](%[[A:.*]], %[[B:.*]], %{{.*}})
  // MERGED: call @[[KERNEL]](%[[B]], %[[A]], %{{.*}})
  linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel"]}
      ins(%a : memref<8xf32>) outs(%b : memref<8xf32>) {
  ^bb0(%p: f32, %q: f32):
    %r = arith.mulf %p, %two : f32
    %s = arith.mulf %r, %scale : f32
    linalg.yield %s : f32
  }
  linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel"]}
      ins(%b : memref<8xf32>) outs(%a : memref<8xf32>) {
  ^bb0(%p: f32, %q: f32):
    %r = arith.mulf %p, %two : f32
    %s = arith.mulf %r, %scale : f32
    linalg.yield %s : f32
  }
  // A copy of columns is a kernel; the static offset, which alone tells the two apart, becomes dynamic.
  // CHECK: call @kernel_2(%{{.*}}, %{{.*}}) : (memref<8x2xf32, strided<[4, 1]>>, memref<8x2xf32, strided<[4, 1], offset: ?>>)
  // MERGED: call @[[COPY:kernel_[23]]](
  // MERGED: call @[[COPY]](
  %s0 = memref.subview %x[0, 0] [8, 2] [1, 1] : memref<8x4xf32> to memref<8x2xf32, strided<[4, 1]>>
  %s1 = memref.subview %y[0, 1] [8, 2] [1, 1] : memref<8x4xf32> to memref<8x2xf32, strided<[4, 1], offset: 1>>
  %s2 = memref.subview %y[0, 2] [8, 2] [1, 1] : memref<8x4xf32> to memref<8x2xf32, strided<[4, 1], offset: 2>>
  memref.copy %s0, %s1 : memref<8x2xf32, strided<[4, 1]>> to memref<8x2xf32, strided<[4, 1], offset: 1>>
  memref.copy %s0, %s2 : memref<8x2xf32, strided<[4, 1]>> to memref<8x2xf32, strided<[4, 1], offset: 2>>
  // A copy in one piece stays.
  // CHECK: memref.copy %{{.*}}, %{{.*}} : memref<8x4xf32> to memref<8x4xf32>
  memref.copy %x, %y : memref<8x4xf32> to memref<8x4xf32>
  // A parallel loop is one kernel, with what is in it.
  // CHECK: call @kernel_4(%{{.*}}, %{{.*}}) : (memref<8x4xf32>, memref<8x4xf32>) -> ()
  scf.forall (%i) in (8) {
    %p = memref.subview %x[%i, 0] [1, 4] [1, 1] : memref<8x4xf32> to memref<4xf32, strided<[1], offset: ?>>
    %q = memref.subview %y[%i, 0] [1, 4] [1, 1] : memref<8x4xf32> to memref<4xf32, strided<[1], offset: ?>>
    linalg.copy ins(%p : memref<4xf32, strided<[1], offset: ?>>) outs(%q : memref<4xf32, strided<[1], offset: ?>>)
  }
  // Kernels that do not depend on each other become a function that calls them.
  // CHECK: call @group(%{{.*}}, %{{.*}}, %{{.*}}) : (memref<8xf32>, memref<8xf32>, memref<8x4xf32>) -> ()
  scf.execute_region no_inline {
    linalg.exp ins(%a : memref<8xf32>) outs(%b : memref<8xf32>)
    linalg.fill ins(%two : f32) outs(%y : memref<8x4xf32>)
    scf.yield
  } {rwkvc.independent}
  // CHECK-NOT: linalg.
  // CHECK:     return
  return
}

// The same kernel in another function of the model is the same function.
// MERGED-LABEL: func.func @step
// MERGED:         call @[[KERNEL]](%{{.*}}, %{{.*}}, %{{.*}})
func.func @step(%a: memref<8xf32>, %b: memref<8xf32>, %scale: f32) attributes {wkv.form = "step"} {
  %two = arith.constant 2.0 : f32
  linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel"]}
      ins(%a : memref<8xf32>) outs(%b : memref<8xf32>) {
  ^bb0(%p: f32, %q: f32):
    %r = arith.mulf %p, %two : f32
    %s = arith.mulf %r, %scale : f32
    linalg.yield %s : f32
  }
  return
}

// CHECK:       func.func private @kernel_0(%{{.*}}: memref<8xf32>, %{{.*}}: memref<8xf32>, %{{.*}}: f32)
// CHECK-NEXT:    arith.constant 2.0
// CHECK-NEXT:    linalg.generic
// CHECK:       func.func private @kernel_3(
// CHECK:       func.func private @kernel_4(
// CHECK-NEXT:    scf.forall
// CHECK:           linalg.copy
// MERGED-COUNT-5: func.func private @kernel
// MERGED-NOT:     func.func private @kernel

// ERROR: error: the module has no function @main
