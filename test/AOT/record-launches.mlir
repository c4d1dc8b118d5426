// RUN: rwkv-opt %s --rwkvc-record-launches --split-input-file --verify-diagnostics | FileCheck %s

// CHECK-LABEL: func.func private @step
// CHECK-SAME:    rwkvc.launches = [
// The token, with nothing added; the offset that the kernel adds is not in the address, the other one is.
// CHECK-SAME:      {arguments = array<i64: 2, 0, 0, 0, 0, 256, 0, 0, 320, 1, 0, 64, 4, 0, 7>, groups = 3 : i64, kernel = "kernel_0"}
// CHECK-SAME:      {arguments = array<i64: 3, 0, 0, 3, 1, 0>, for_logits, groups = 1 : i64, kernel = "kernel_1"}]
#global = #gpu.address_space<global>
module attributes {gpu.container_module} {
  func.func @step(%token: memref<1xi32>, %logits: memref<16xf32>, %state: memref<8xf32>, %weights: memref<1024xi8>, %workspace: memref<512xi8>) attributes {wkv.form = "step", rwkvc.interface = {
      inputs = [{name = "token", type = tensor<1xi32>}, {name = "in", type = tensor<8xf32>}], kind = "graph", length_input = -1 : i64, logits_output = 0 : i64,
      outputs = [{name = "logits", type = tensor<16xf32>}, {name = "out", type = tensor<8xf32>}], states = [{initial = 0.0 : f64, input = 1 : i64, output = 1 : i64}], token_input = 0 : i64}} {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %c3 = arith.constant 3 : index
    %c7 = arith.constant 7 : index
    %c64 = arith.constant 64 : index
    %c256 = arith.constant 256 : index
    %w = memref.view %weights[%c256][] : memref<1024xi8> to memref<4x16xf32>
    %row = memref.subview %w[1, 0] [1, 16] [1, 1] : memref<4x16xf32> to memref<16xf32, strided<[1], offset: 16>>
    %any = memref.cast %row : memref<16xf32, strided<[1], offset: 16>> to memref<16xf32, strided<[1], offset: ?>>
    %x = memref.view %workspace[%c64][] : memref<512xi8> to memref<8xf32>
    %0 = memref.memory_space_cast %token : memref<1xi32> to memref<1xi32, #global>
    %1 = memref.memory_space_cast %row : memref<16xf32, strided<[1], offset: 16>> to memref<16xf32, strided<[1], offset: 16>, #global>
    %2 = memref.memory_space_cast %any : memref<16xf32, strided<[1], offset: ?>> to memref<16xf32, strided<[1], offset: ?>, #global>
    %3 = memref.memory_space_cast %x : memref<8xf32> to memref<8xf32, #global>
    gpu.launch_func @kernels::@kernel_0 blocks in (%c3, %c1, %c1) threads in (%c64, %c1, %c1) args(%0 : memref<1xi32, #global>, %1 : memref<16xf32, strided<[1], offset: 16>, #global>, %2 : memref<16xf32, strided<[1], offset: ?>, #global>, %3 : memref<8xf32, #global>, %c7 : index)
    %place = memref.extract_aligned_pointer_as_index %logits : memref<16xf32> -> index
    %isWanted = arith.cmpi ne, %place, %c0 : index
    scf.if %isWanted {
      %4 = memref.memory_space_cast %logits : memref<16xf32> to memref<16xf32, #global>
      %5 = memref.memory_space_cast %state : memref<8xf32> to memref<8xf32, #global>
      gpu.launch_func @kernels::@kernel_1 blocks in (%c1, %c1, %c1) threads in (%c64, %c1, %c1) args(%4 : memref<16xf32, #global>, %5 : memref<8xf32, #global>)
    }
    return
  }
  gpu.module @kernels {
    gpu.func @kernel_0(%a: memref<1xi32, #global>, %b: memref<16xf32, strided<[1], offset: 16>, #global>, %c: memref<16xf32, strided<[1], offset: ?>, #global>, %d: memref<8xf32, #global>, %n: index) kernel {
      gpu.return
    }
    gpu.func @kernel_1(%a: memref<16xf32, #global>, %b: memref<8xf32, #global>) kernel {
      gpu.return
    }
  }
}

// -----

func.func @main(%x: memref<8xf32>, %weights: memref<0xi8>, %workspace: memref<0xi8>) attributes {rwkvc.interface = {
    inputs = [], kind = "graph", length_input = -1 : i64, logits_output = -1 : i64, outputs = [{name = "x", type = tensor<8xf32>}], states = [], token_input = -1 : i64}} {
  // expected-error @+1 {{cannot be done by a list of kernels}}
  linalg.exp ins(%x : memref<8xf32>) outs(%x : memref<8xf32>)
  return
}
