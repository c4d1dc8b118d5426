// RUN: rwkv-opt %s --gpu-distribute-kernels --canonicalize --cse --split-input-file | FileCheck %s
// RUN: not rwkv-opt %s --gpu-distribute-kernels=group-size=48 --split-input-file 2>&1 | FileCheck %s --check-prefix=SIZE
// SIZE: group-size must be a power of two

// An element each, but for the threads beyond the end.
// CHECK-LABEL: func.func @main
// CHECK:         %[[X:.*]] = memref.memory_space_cast %arg0 : memref<1000xf32> to memref<1000xf32, #gpu.address_space<global>>
// CHECK:         gpu.launch_func @kernels::@elements blocks in (%c4, %c1, %c1) threads in (%c256, %c1, %c1) args(%[[X]] : {{.*}}, %{{.*}})
// CHECK:         gpu.func @elements({{.*}}) kernel attributes {known_block_size = array<i32: 256, 1, 1>} {
// CHECK-DAG:       %[[THREAD:.*]] = gpu.thread_id x
// CHECK-DAG:       %[[GROUP:.*]] = gpu.block_id x
// CHECK:           %[[FIRST:.*]] = arith.muli %[[GROUP]], %c256
// CHECK:           %[[I:.*]] = affine.apply #{{.*}}()[%[[FIRST]], %[[THREAD]]]
// CHECK:           %[[IS:.*]] = arith.cmpi ult, %[[I]], %c1000
// CHECK-NEXT:      scf.if %[[IS]] {
// CHECK-NEXT:        %[[V:.*]] = memref.load %{{.*}}[%[[I]]]
// CHECK-NEXT:        %[[E:.*]] = math.exp %[[V]]
// CHECK-NEXT:        memref.store %[[E]], %{{.*}}[%[[I]]]
// CHECK-NOT:       gpu.barrier
func.func @main(%x: memref<1000xf32>, %y: memref<1000xf32>) {
  call @elements(%x, %y) : (memref<1000xf32>, memref<1000xf32>) -> ()
  return
}
func.func private @elements(%x: memref<1000xf32>, %y: memref<1000xf32>) {
  linalg.exp ins(%x : memref<1000xf32>) outs(%y : memref<1000xf32>)
  return
}

// -----

// A matrix whose rows lie together: neighbours have parts of one sum. 64 rows
// for 32 threads each make eight workgroups.
// CHECK-LABEL: func.func @main
// CHECK:         gpu.launch_func @kernels::@rows blocks in (%c64, %c1, %c1) threads in (%c256, %c1, %c1)
// CHECK:         gpu.func @rows({{.*}}) workgroup(%[[SHARED:.*]] : memref<256xf32, #gpu.address_space<workgroup>>) kernel
// CHECK:           %[[SUM:.*]] = scf.for %{{.*}} = %c0 to %c4 step %c1 iter_args(%{{.*}} = %cst)
// CHECK:           memref.store %[[SUM]], %[[SHARED]][%[[THREAD:.*]]]
// CHECK-NEXT:      gpu.barrier
// CHECK:           scf.if
// CHECK:             memref.store %{{.*}}, %[[SHARED]][%[[THREAD]]]
// CHECK:           }
// CHECK-NEXT:      gpu.barrier
func.func @main(%w: memref<64x1024xf32>, %x: memref<1024xf32>, %y: memref<64xf32>) {
  call @rows(%w, %x, %y) : (memref<64x1024xf32>, memref<1024xf32>, memref<64xf32>) -> ()
  return
}
func.func private @rows(%w: memref<64x1024xf32>, %x: memref<1024xf32>, %y: memref<64xf32>) {
  linalg.matvec ins(%w, %x : memref<64x1024xf32>, memref<1024xf32>) outs(%y : memref<64xf32>)
  return
}

// -----

// Iterations of a parallel loop are workgroups; in them threads wait after each
// op, and one of them stores what is one value.
// CHECK-LABEL: func.func @main
// CHECK:         gpu.launch_func @kernels::@loop blocks in (%c12, %c1, %c1) threads in (%c64, %c1, %c1)
// CHECK:         gpu.func @loop
// CHECK-DAG:       %[[THREAD:.*]] = gpu.thread_id x
// CHECK-DAG:       %[[GROUP:.*]] = gpu.block_id x
// CHECK-DAG:       arith.remui %[[GROUP]], %c4
// CHECK:           memref.load
// CHECK:           math.exp
// CHECK:           memref.store
// CHECK-NEXT:      gpu.barrier
// CHECK:           %[[FIRST:.*]] = arith.cmpi eq, %[[THREAD]], %c0
// CHECK:           scf.if %[[FIRST]] {
// CHECK-NEXT:        memref.store %{{.*}}, %{{.*}}[%{{.*}}, %{{.*}}, %c0]
// CHECK-NEXT:      }
// CHECK-NEXT:      gpu.barrier
func.func @main(%x: memref<3x4x64xf32>) {
  call @loop(%x) : (memref<3x4x64xf32>) -> ()
  return
}
func.func private @loop(%x: memref<3x4x64xf32>) {
  %c0 = arith.constant 0 : index
  %one = arith.constant 1.0 : f32
  scf.forall (%i, %j) in (3, 4) {
    %row = memref.subview %x[%i, %j, 0] [1, 1, 64] [1, 1, 1] : memref<3x4x64xf32> to memref<64xf32, strided<[1], offset: ?>>
    linalg.exp ins(%row : memref<64xf32, strided<[1], offset: ?>>) outs(%row : memref<64xf32, strided<[1], offset: ?>>)
    memref.store %one, %x[%i, %j, %c0] : memref<3x4x64xf32>
  }
  return
}

// -----

// Members of a group have workgroups of their own in one launch.
// CHECK-LABEL: func.func @main
// CHECK:         gpu.launch_func @kernels::@group blocks in (%c6, %c1, %c1)
// CHECK:         gpu.func @group
// CHECK:           %[[GROUP:.*]] = gpu.block_id x
// CHECK:           arith.cmpi ult, %[[GROUP]], %c4
// CHECK:           scf.if
// CHECK:             math.exp
// CHECK:           } else {
// CHECK-NEXT:        arith.subi %[[GROUP]], %c4
// CHECK:             math.tanh
func.func @main(%x: memref<1024xf32>, %y: memref<512xf32>) {
  call @group(%x, %y) : (memref<1024xf32>, memref<512xf32>) -> ()
  return
}
func.func private @group(%x: memref<1024xf32>, %y: memref<512xf32>) attributes {rwkvc.independent} {
  linalg.exp ins(%x : memref<1024xf32>) outs(%x : memref<1024xf32>)
  linalg.tanh ins(%y : memref<512xf32>) outs(%y : memref<512xf32>)
  return
}

// -----

// What follows each other in a function is run by one workgroup.
// CHECK-LABEL: func.func @main
// CHECK:         gpu.launch_func @kernels::@chain blocks in (%c1, %c1, %c1)
// CHECK:         gpu.func @chain
// CHECK:           scf.for %{{.*}} = %c0 to %c1024 step %c256 {
// CHECK:             math.exp
// CHECK:           }
// CHECK-NEXT:      gpu.barrier
// CHECK-NEXT:      scf.for %{{.*}} = %c0 to %c1024 step %c256 {
// CHECK:             math.tanh
// CHECK:           }
// CHECK-NEXT:      gpu.barrier
func.func @main(%x: memref<1024xf32>) {
  call @chain(%x) : (memref<1024xf32>) -> ()
  return
}
func.func private @chain(%x: memref<1024xf32>) {
  linalg.exp ins(%x : memref<1024xf32>) outs(%x : memref<1024xf32>)
  linalg.tanh ins(%x : memref<1024xf32>) outs(%x : memref<1024xf32>)
  return
}

// -----

// A chain at the end is run by the workgroup that finds fifteen before it.
// CHECK-LABEL: func.func @main
// CHECK:         gpu.launch_func @kernels::@append blocks in (%c16, %c1, %c1) threads in (%c256, %c1, %c1)
// CHECK:         gpu.func @append({{.*}}) workgroup(%{{.*}} : memref<256xf32, {{.*}}>, %[[BEFORE:.*]] : memref<1xi32, #gpu.address_space<workgroup>>)
// CHECK:           %[[FIRST:.*]] = arith.cmpi eq, %thread_id_x, %c0
// CHECK-NEXT:      scf.if %[[FIRST]] {
// CHECK-NEXT:        %[[N:.*]] = memref.atomic_rmw addi %c1_i32, %{{.*}}[%c0]
// CHECK-NEXT:        memref.store %[[N]], %[[BEFORE]][%c0]
// CHECK-NEXT:      }
// CHECK-NEXT:      gpu.barrier
// CHECK-NEXT:      %[[FOUND:.*]] = memref.load %[[BEFORE]][%c0]
// CHECK-NEXT:      %[[LAST:.*]] = arith.cmpi eq, %[[FOUND]], %c15_i32
// CHECK-NEXT:      scf.if %[[LAST]] {
// CHECK:             math.exp
// CHECK:             gpu.barrier
func.func @main(%w: memref<64x256xf32>, %x: memref<256xf32>, %y: memref<64xf32>, %counter: memref<1xi32>) {
  call @append(%w, %x, %y, %counter) : (memref<64x256xf32>, memref<256xf32>, memref<64xf32>, memref<1xi32>) -> ()
  return
}
func.func private @append(%w: memref<64x256xf32>, %x: memref<256xf32>, %y: memref<64xf32>, %counter: memref<1xi32>) {
  %c0 = arith.constant 0 : index
  %one = arith.constant 1 : i32
  linalg.matvec ins(%w, %x : memref<64x256xf32>, memref<256xf32>) outs(%y : memref<64xf32>)
  scf.execute_region no_inline {
    %before = memref.atomic_rmw addi %one, %counter[%c0] : (i32, memref<1xi32>) -> i32
    linalg.exp ins(%y : memref<64xf32>) outs(%y : memref<64xf32>)
    scf.yield
  } {gpu.chain}
  return
}

// -----

// An iteration of a loop over threads is one thread's, without barriers in it;
// its buffer is memory of its own. The others wait behind the loop.
// CHECK-LABEL: func.func @main
// CHECK:         gpu.launch_func @kernels::@threads blocks in (%c2{{[^,]*}}, %c1{{[^,]*}}, %c1{{[^,]*}}) threads in (%c64
// CHECK-LABEL: gpu.func @threads
// CHECK:         %[[OWN:.*]] = memref.alloca() : memref<4xf32, #gpu.address_space<private>>
// CHECK:         scf.for
// CHECK-NEXT:      memref.store %{{.*}}, %[[OWN]]
// CHECK-NOT:     gpu.barrier
// CHECK:         scf.for
// CHECK-NEXT:      memref.load %[[OWN]]
// CHECK:         gpu.barrier
// CHECK:         memref.load
func.func @main(%x: memref<2x64xf32>, %y: memref<2x64xf32>) {
  call @threads(%x, %y) : (memref<2x64xf32>, memref<2x64xf32>) -> ()
  return
}
func.func private @threads(%x: memref<2x64xf32>, %y: memref<2x64xf32>) {
  %c0 = arith.constant 0 : index
  %one = arith.constant 1.0 : f32
  scf.forall (%h) in (2) {
    scf.forall (%j) in (64) {
      %own = memref.alloc() : memref<4xf32, #gpu.address_space<private>>
      linalg.fill ins(%one : f32) outs(%own : memref<4xf32, #gpu.address_space<private>>)
      %part = memref.subview %x[%h, %j] [1, 1] [1, 1] : memref<2x64xf32> to memref<f32, strided<[], offset: ?>>
      linalg.generic {indexing_maps = [affine_map<(d0) -> (d0)>, affine_map<(d0) -> ()>], iterator_types = ["reduction"]}
          ins(%own : memref<4xf32, #gpu.address_space<private>>) outs(%part : memref<f32, strided<[], offset: ?>>) {
      ^bb0(%in: f32, %out: f32):
        %sum = arith.addf %in, %out : f32
        linalg.yield %sum : f32
      }
    } {mapping = [#gpu.thread<linear_dim_0>]}
    %from = memref.subview %x[%h, 0] [1, 64] [1, 1] : memref<2x64xf32> to memref<64xf32, strided<[1], offset: ?>>
    %to = memref.subview %y[%h, 0] [1, 64] [1, 1] : memref<2x64xf32> to memref<64xf32, strided<[1], offset: ?>>
    linalg.exp ins(%from : memref<64xf32, strided<[1], offset: ?>>) outs(%to : memref<64xf32, strided<[1], offset: ?>>)
  }
  return
}

// -----

// In a chain the next operation waits for such a loop.
// CHECK-LABEL: gpu.func @chained
// CHECK:         math.exp
// CHECK:         memref.store
// CHECK:         gpu.barrier
// CHECK:         memref.load
// CHECK:         math.tanh
func.func @main(%x: memref<64xf32>, %y: memref<64xf32>) {
  call @chained(%x, %y) : (memref<64xf32>, memref<64xf32>) -> ()
  return
}
func.func private @chained(%x: memref<64xf32>, %y: memref<64xf32>) {
  scf.forall (%j) in (64) {
    %part = memref.subview %x[%j] [1] [1] : memref<64xf32> to memref<1xf32, strided<[1], offset: ?>>
    linalg.exp ins(%part : memref<1xf32, strided<[1], offset: ?>>) outs(%part : memref<1xf32, strided<[1], offset: ?>>)
  } {mapping = [#gpu.thread<linear_dim_0>]}
  linalg.tanh ins(%x : memref<64xf32>) outs(%y : memref<64xf32>)
  return
}

// -----

// A buffer of an iteration's own in memory that the workgroup shares.
// CHECK-LABEL: gpu.func @own_buffer
// CHECK-SAME:    workgroup(%[[OWN:.*]] : memref<64xf32, #gpu.address_space<workgroup>>)
// CHECK:         memref.store %{{.*}}, %[[OWN]][%[[I:.*]]]
// CHECK:         gpu.barrier
// CHECK:         memref.load %[[OWN]][%[[I]]]
// CHECK-NOT:     memref.alloc
func.func @main(%x: memref<12x64xf32>, %y: memref<12x64xf32>) {
  call @own_buffer(%x, %y) : (memref<12x64xf32>, memref<12x64xf32>) -> ()
  return
}
func.func private @own_buffer(%x: memref<12x64xf32>, %y: memref<12x64xf32>) {
  scf.forall (%head) in (12) {
    %own = memref.alloc() : memref<64xf32, #gpu.address_space<workgroup>>
    %in = memref.subview %x[%head, 0] [1, 64] [1, 1] : memref<12x64xf32> to memref<64xf32, strided<[1], offset: ?>>
    %out = memref.subview %y[%head, 0] [1, 64] [1, 1] : memref<12x64xf32> to memref<64xf32, strided<[1], offset: ?>>
    linalg.exp ins(%in : memref<64xf32, strided<[1], offset: ?>>) outs(%own : memref<64xf32, #gpu.address_space<workgroup>>)
    linalg.exp ins(%own : memref<64xf32, #gpu.address_space<workgroup>>) outs(%out : memref<64xf32, strided<[1], offset: ?>>)
  }
  return
}
