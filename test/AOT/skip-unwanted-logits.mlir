// RUN: rwkv-opt %s -split-input-file -rwkvc-skip-unwanted-logits | FileCheck %s

// What only the logits need waits for their buffer; the state does not, nor what it shares with them.
// CHECK-LABEL: func.func @step(
// CHECK-SAME:    %[[TOKEN:[^:]*]]: memref<1xi64>, %[[LOGITS:[^:]*]]: memref<4xf32>, %[[STATE:[^:]*]]: memref<4xf32>)
// CHECK:         %[[OLD:.*]] = bufferization.to_tensor %[[STATE]]
// CHECK:         %[[NEW:.*]] = linalg.add ins(%[[OLD]], %[[OLD]]
// CHECK:         %[[PLACE:.*]] = memref.extract_aligned_pointer_as_index %[[LOGITS]]
// CHECK:         %[[WANTED:.*]] = arith.cmpi ne, %[[PLACE]], %{{.*}} : index
// CHECK-NEXT:    scf.if %[[WANTED]] {
// CHECK:           %[[NORM:.*]] = linalg.exp ins(%[[NEW]]
// CHECK:           %[[Y:.*]] = linalg.mul ins(%[[NORM]], %[[OLD]]
// CHECK-NEXT:      bufferization.materialize_in_destination %[[Y]] in restrict writable %[[LOGITS]]
// CHECK-NEXT:    }
// CHECK-NEXT:    bufferization.materialize_in_destination %[[NEW]] in writable %[[STATE]]
// CHECK-NEXT:    return
func.func @step(%t: memref<1xi64>, %logits: memref<4xf32>, %s: memref<4xf32>) attributes {wkv.form = "step", rwkvc.interface = {
    kind = "step", inputs = [{name = "token", type = tensor<1xi64>}, {name = "s", type = tensor<4xf32>}],
    outputs = [{name = "logits", type = tensor<4xf32>}, {name = "s'", type = tensor<4xf32>}],
    states = [{input = 1 : i64, output = 1 : i64, initial = 0.0 : f64}], token_input = 0 : i64, logits_output = 0 : i64}} {
  %old = bufferization.to_tensor %s restrict writable : memref<4xf32> to tensor<4xf32>
  %e = tensor.empty() : tensor<4xf32>
  %new = linalg.add ins(%old, %old : tensor<4xf32>, tensor<4xf32>) outs(%e : tensor<4xf32>) -> tensor<4xf32>
  %norm = linalg.exp ins(%new : tensor<4xf32>) outs(%e : tensor<4xf32>) -> tensor<4xf32>
  %y = linalg.mul ins(%norm, %old : tensor<4xf32>, tensor<4xf32>) outs(%e : tensor<4xf32>) -> tensor<4xf32>
  bufferization.materialize_in_destination %y in restrict writable %logits : (tensor<4xf32>, memref<4xf32>) -> ()
  bufferization.materialize_in_destination %new in writable %s : (tensor<4xf32>, memref<4xf32>) -> ()
  return
}

// -----

// Logits that are a state too are copied, and not computed in their buffer.
// CHECK-LABEL: func.func @step(
// CHECK-SAME:    %[[LOGITS:[^ :]*]]: memref<4xf32>, %[[STATE:[^:]*]]: memref<4xf32>)
// CHECK:         %[[BOTH:.*]] = linalg.exp
// CHECK:         scf.if
// CHECK:           %[[COPY:.*]] = linalg.copy ins(%[[BOTH]]
// CHECK-NEXT:      bufferization.materialize_in_destination %[[COPY]] in restrict writable %[[LOGITS]]
// CHECK:         bufferization.materialize_in_destination %[[BOTH]] in writable %[[STATE]]
func.func @step(%t: memref<1xi64>, %logits: memref<4xf32>, %s: memref<4xf32>) attributes {wkv.form = "step", rwkvc.interface = {
    kind = "step", inputs = [{name = "token", type = tensor<1xi64>}, {name = "s", type = tensor<4xf32>}],
    outputs = [{name = "logits", type = tensor<4xf32>}, {name = "s'", type = tensor<4xf32>}],
    states = [{input = 1 : i64, output = 1 : i64, initial = 0.0 : f64}], token_input = 0 : i64, logits_output = 0 : i64}} {
  %old = bufferization.to_tensor %s restrict writable : memref<4xf32> to tensor<4xf32>
  %e = tensor.empty() : tensor<4xf32>
  %both = linalg.exp ins(%old : tensor<4xf32>) outs(%e : tensor<4xf32>) -> tensor<4xf32>
  bufferization.materialize_in_destination %both in restrict writable %logits : (tensor<4xf32>, memref<4xf32>) -> ()
  bufferization.materialize_in_destination %both in writable %s : (tensor<4xf32>, memref<4xf32>) -> ()
  return
}

// -----

// Zeros that both sums begin with are not shared.
// CHECK-LABEL: func.func @step(
// CHECK:         scf.if
// CHECK:           %[[EMPTY:.*]] = tensor.empty
// CHECK:           %[[ZEROS:.*]] = linalg.fill {{.*}} outs(%[[EMPTY]]
// CHECK:           linalg.vecmat {{.*}} outs(%[[ZEROS]]
func.func @step(%t: memref<1xi64>, %logits: memref<4xf32>, %s: memref<4xf32>, %w: tensor<4x4xf32>) attributes {wkv.form = "step", rwkvc.interface = {
    kind = "step", inputs = [{name = "token", type = tensor<1xi64>}, {name = "s", type = tensor<4xf32>}],
    outputs = [{name = "logits", type = tensor<4xf32>}, {name = "s'", type = tensor<4xf32>}],
    states = [{input = 1 : i64, output = 1 : i64, initial = 0.0 : f64}], token_input = 0 : i64, logits_output = 0 : i64}} {
  %zero = arith.constant 0.0 : f32
  %old = bufferization.to_tensor %s restrict writable : memref<4xf32> to tensor<4xf32>
  %e = tensor.empty() : tensor<4xf32>
  %zeros = linalg.fill ins(%zero : f32) outs(%e : tensor<4xf32>) -> tensor<4xf32>
  %new = linalg.vecmat ins(%old, %w : tensor<4xf32>, tensor<4x4xf32>) outs(%zeros : tensor<4xf32>) -> tensor<4xf32>
  %y = linalg.vecmat ins(%new, %w : tensor<4xf32>, tensor<4x4xf32>) outs(%zeros : tensor<4xf32>) -> tensor<4xf32>
  bufferization.materialize_in_destination %y in restrict writable %logits : (tensor<4xf32>, memref<4xf32>) -> ()
  bufferization.materialize_in_destination %new in writable %s : (tensor<4xf32>, memref<4xf32>) -> ()
  return
}

// -----

// The old state is read before the new one is written, although the logits are the last output, and reshaped.
// CHECK-LABEL: func.func @step(
// CHECK:         scf.if
// CHECK:           linalg.mul
// CHECK:           memref.collapse_shape
// CHECK-NEXT:      bufferization.materialize_in_destination
// CHECK:         }
// CHECK-NEXT:    bufferization.materialize_in_destination %{{.*}} in writable
// CHECK-NEXT:    return
func.func @step(%t: memref<1xi64>, %s: memref<4xf32>, %logits: memref<1x4xf32>) attributes {wkv.form = "step", rwkvc.interface = {
    kind = "step", inputs = [{name = "token", type = tensor<1xi64>}, {name = "s", type = tensor<4xf32>}],
    outputs = [{name = "s'", type = tensor<4xf32>}, {name = "logits", type = tensor<1x4xf32>}],
    states = [{input = 1 : i64, output = 0 : i64, initial = 0.0 : f64}], token_input = 0 : i64, logits_output = 1 : i64}} {
  %old = bufferization.to_tensor %s restrict writable : memref<4xf32> to tensor<4xf32>
  %e = tensor.empty() : tensor<4xf32>
  %new = linalg.exp ins(%old : tensor<4xf32>) outs(%e : tensor<4xf32>) -> tensor<4xf32>
  %y = linalg.mul ins(%new, %old : tensor<4xf32>, tensor<4xf32>) outs(%e : tensor<4xf32>) -> tensor<4xf32>
  bufferization.materialize_in_destination %new in writable %s : (tensor<4xf32>, memref<4xf32>) -> ()
  %row = memref.collapse_shape %logits [[0, 1]] : memref<1x4xf32> into memref<4xf32>
  bufferization.materialize_in_destination %y in restrict writable %row : (tensor<4xf32>, memref<4xf32>) -> ()
  return
}

// -----

// Which output has the logits is not known.
// CHECK-LABEL: func.func @main(
// CHECK-NOT:     scf.if
func.func @main(%t: memref<1xi64>, %y: memref<4xf32>) attributes {rwkvc.interface = {
    kind = "graph", inputs = [{name = "t", type = tensor<1xi64>}], outputs = [{name = "y", type = tensor<4xf32>}], states = []}} {
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<4xf32>
  %0 = linalg.fill ins(%zero : f32) outs(%e : tensor<4xf32>) -> tensor<4xf32>
  bufferization.materialize_in_destination %0 in restrict writable %y : (tensor<4xf32>, memref<4xf32>) -> ()
  return
}
