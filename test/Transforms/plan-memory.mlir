// RUN: rwkv-opt %s -split-input-file -rwkvc-plan-memory -verify-diagnostics | FileCheck %s

// %a and %c are never in use at one time and share their bytes; %b overlaps both in time. Booleans take a byte.
// CHECK-LABEL: func.func @main(
// CHECK-SAME:    %{{.*}}: memref<64xf32>, %{{.*}}: memref<64xf32>, %[[W:.*]]: memref<512xi8>)
// CHECK-SAME:    rwkvc.workspace_size = 512
func.func @main(%in: memref<64xf32>, %out: memref<64xf32>) {
  // CHECK-DAG:  %[[A:.*]] = memref.view %[[W]][%c0{{[_0-9]*}}][] : memref<512xi8> to memref<64xf32>
  // CHECK-DAG:  %[[B:.*]] = memref.view %[[W]][%c256{{[_0-9]*}}][] : memref<512xi8> to memref<64xf32>
  // CHECK-DAG:  %[[C:.*]] = memref.view %[[W]][%c0{{[_0-9]*}}][] : memref<512xi8> to memref<64xf32>
  // CHECK-DAG:  %[[D:.*]] = memref.view %[[W]][%c256{{[_0-9]*}}][] : memref<512xi8> to memref<3xi1>
  %a = memref.alloc() : memref<64xf32>
  %b = memref.alloc() : memref<64xf32>
  %c = memref.alloc() : memref<64xf32>
  %d = memref.alloc() : memref<3xi1>
  // CHECK-NOT: memref.alloc
  %unused = memref.alloc() : memref<1024xf32>
  memref.copy %in, %a : memref<64xf32> to memref<64xf32>
  memref.copy %a, %b : memref<64xf32> to memref<64xf32>
  memref.copy %b, %c : memref<64xf32> to memref<64xf32>
  %t = arith.constant true
  %i = arith.constant 0 : index
  memref.store %t, %d[%i] : memref<3xi1>
  memref.copy %c, %out : memref<64xf32> to memref<64xf32>
  return
}

// -----

// A buffer lives as long as its views, and throughout a loop that uses it: no sharing here.
// CHECK-LABEL: func.func @main(
// CHECK-SAME:    rwkvc.workspace_size = 192
func.func @main(%in: memref<16xf32>, %out: memref<16xf32>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c4 = arith.constant 4 : index
  %a = memref.alloc() : memref<16xf32>
  %view = memref.expand_shape %a [[0, 1]] output_shape [4, 4] : memref<16xf32> into memref<4x4xf32>
  memref.copy %in, %a : memref<16xf32> to memref<16xf32>
  %b = memref.alloc() : memref<16xf32>
  scf.for %i = %c0 to %c4 step %c1 {
    %c = memref.alloc() : memref<16xf32>
    memref.copy %in, %c : memref<16xf32> to memref<16xf32>
    memref.copy %c, %b : memref<16xf32> to memref<16xf32>
  }
  memref.copy %b, %out : memref<16xf32> to memref<16xf32>
  %x = memref.load %view[%c0, %c1] : memref<4x4xf32>
  memref.store %x, %out[%c0] : memref<16xf32>
  return
}

// -----

// A plan for each function; the loader has one workspace for all of them.
// CHECK-LABEL: func.func @main(%{{.*}}: memref<16xf32>, %{{.*}}: memref<64xi8>)
// CHECK-SAME:    rwkvc.workspace_size = 64
// CHECK-LABEL: func.func @prefill(%{{.*}}: memref<64xf32>, %{{.*}}: memref<256xi8>)
// CHECK-SAME:    rwkvc.workspace_size = 256
func.func @main(%x: memref<16xf32>) {
  %a = memref.alloc() : memref<16xf32>
  memref.copy %x, %a : memref<16xf32> to memref<16xf32>
  memref.copy %a, %x : memref<16xf32> to memref<16xf32>
  return
}
func.func @prefill(%x: memref<64xf32>) attributes {wkv.form = "prefill"} {
  %a = memref.alloc() : memref<64xf32>
  memref.copy %x, %a : memref<64xf32> to memref<64xf32>
  memref.copy %a, %x : memref<64xf32> to memref<64xf32>
  return
}

// -----

func.func @main(%n: index, %in: f32) {
  %c0 = arith.constant 0 : index
  // expected-error@below {{a buffer of dynamic size cannot be planned}}
  %a = memref.alloc(%n) : memref<?xf32>
  memref.store %in, %a[%c0] : memref<?xf32>
  return
}

// -----

func.func @main(%in: memref<16xf32>, %out: memref<16xf32>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c4 = arith.constant 4 : index
  %r = scf.for %i = %c0 to %c4 step %c1 iter_args(%acc = %in) -> memref<16xf32> {
    // expected-error@below {{a buffer that a loop carries into its next iteration cannot be planned}}
    %next = memref.alloc() : memref<16xf32>
    memref.copy %acc, %next : memref<16xf32> to memref<16xf32>
    scf.yield %next : memref<16xf32>
  }
  memref.copy %r, %out : memref<16xf32> to memref<16xf32>
  return
}

// -----

// expected-error@below {{the module has no function @main}}
module {
}

// -----

// Each iteration of a parallel loop has a share for its buffers, 2 x 64 bytes since %a and %b are in use together and
// %c, of the same run of the inner loop, follows %b.
// CHECK-LABEL: func.func @main(
// CHECK-SAME:    %[[W:[^:]*]]: memref<768xi8>)
// CHECK-SAME:    rwkvc.workspace_size = 768
func.func @main(%in: memref<2x3x16xf32>) {
  // CHECK: %[[V:.*]] = memref.view %[[W]][%{{.*}}][] : memref<768xi8> to memref<768xi8>
  // CHECK: scf.forall (%[[I:.*]], %[[J:.*]]) in (2, 3)
  // CHECK:   %[[ROW:.*]] = arith.muli %[[I]], %c3
  // CHECK:   %[[N:.*]] = arith.addi %[[J]], %[[ROW]]
  // CHECK:   %[[START:.*]] = arith.muli %[[N]], %c128
  // CHECK-COUNT-3: memref.view %[[V]][%{{.*}}][] : memref<768xi8> to memref<16xf32>
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c4 = arith.constant 4 : index
  scf.forall (%i, %j) in (2, 3) {
    %row = memref.subview %in[%i, %j, 0] [1, 1, 16] [1, 1, 1] : memref<2x3x16xf32> to memref<16xf32, strided<[1], offset: ?>>
    %a = memref.alloc() : memref<16xf32>
    memref.copy %row, %a : memref<16xf32, strided<[1], offset: ?>> to memref<16xf32>
    scf.for %t = %c0 to %c4 step %c1 {
      %b = memref.alloc() : memref<16xf32>
      memref.copy %a, %b : memref<16xf32> to memref<16xf32>
      memref.copy %b, %a : memref<16xf32> to memref<16xf32>
      %c = memref.alloc() : memref<16xf32>
      memref.copy %a, %c : memref<16xf32> to memref<16xf32>
      memref.copy %c, %a : memref<16xf32> to memref<16xf32>
    }
    memref.copy %a, %row : memref<16xf32> to memref<16xf32, strided<[1], offset: ?>>
  }
  return
}

// -----

func.func @main(%n: index, %in: memref<16xf32>) {
  // expected-error@below {{buffers in a parallel loop of dynamic bounds cannot be planned}}
  scf.forall (%i) in (%n) {
    %a = memref.alloc() : memref<16xf32>
    memref.copy %in, %a : memref<16xf32> to memref<16xf32>
  }
  return
}

// -----

// A buffer in a space of its own is none of the workspace's.
// CHECK-LABEL: func.func @main(
// CHECK-SAME:    rwkvc.workspace_size = 0
// CHECK:         memref.alloc() : memref<64xf32, #gpu.address_space<private>>
func.func @main(%out: memref<64xf32>) {
  %own = memref.alloc() : memref<64xf32, #gpu.address_space<private>>
  memref.copy %own, %out : memref<64xf32, #gpu.address_space<private>> to memref<64xf32>
  return
}
