// RUN: rwkv-opt %s -split-input-file -rwkvc-entry-abi | FileCheck %s

// A state is updated in the buffer of its output; other outputs have buffers of their own and may be written early.
// CHECK-LABEL: func.func @main(
// CHECK-SAME:    %[[TOKEN:[^:]*]]: memref<1xi64>, %[[LOGITS:[^:]*]]: memref<4xf32>, %[[STATE:[^:]*]]: memref<4xf32>)
// CHECK-DAG:     bufferization.to_tensor %[[TOKEN]] restrict : memref<1xi64>
// CHECK-DAG:     %[[OLD:.*]] = bufferization.to_tensor %[[STATE]] restrict writable
// CHECK:         %[[NEW:.*]] = linalg.add ins(%[[OLD]], %[[OLD]]
// CHECK-NOT:     bufferization.alloc_tensor
// CHECK:         bufferization.materialize_in_destination %{{.*}} in restrict writable %[[LOGITS]]
// CHECK-NEXT:    bufferization.materialize_in_destination %[[NEW]] in writable %[[STATE]]
// CHECK-NEXT:    return
func.func @main(%t: tensor<1xi64> {onnx.name = "token"}, %s: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) attributes {rwkvc.interface = {kind = "graph", inputs = [{name = "token", type = tensor<1xi64>}, {name = "s", type = tensor<4xf32>}],
    outputs = [{name = "logits", type = tensor<4xf32>}, {name = "s'", type = tensor<4xf32>}],
    states = [{input = 1 : i64, output = 1 : i64, initial = 0.0 : f64}]}} {
  %e = tensor.empty() : tensor<4xf32>
  %0 = linalg.exp ins(%s : tensor<4xf32>) outs(%e : tensor<4xf32>) -> tensor<4xf32>
  %1 = linalg.add ins(%s, %s : tensor<4xf32>, tensor<4xf32>) outs(%e : tensor<4xf32>) -> tensor<4xf32>
  return %0, %1 : tensor<4xf32>, tensor<4xf32>
}

// -----

// Two states that change places: both old values are copied before either buffer is written, and so is the output
// that is an old state.
// CHECK-LABEL: func.func @main(
// CHECK-SAME:    %[[Y:[^:]*]]: memref<4xf32>, %[[A:[^:]*]]: memref<4xf32>, %[[B:[^:]*]]: memref<4xf32>)
// CHECK-DAG:     %[[OLDA:.*]] = bufferization.to_tensor %[[A]] restrict writable
// CHECK-DAG:     %[[OLDB:.*]] = bufferization.to_tensor %[[B]] restrict writable
// CHECK:         %[[Y1:.*]] = bufferization.alloc_tensor() copy(%[[OLDA]])
// CHECK-NEXT:    %[[A1:.*]] = bufferization.alloc_tensor() copy(%[[OLDB]])
// CHECK-NEXT:    %[[B1:.*]] = bufferization.alloc_tensor() copy(%[[OLDA]])
// CHECK-NEXT:    bufferization.materialize_in_destination %[[Y1]] in restrict writable %[[Y]]
// CHECK-NEXT:    bufferization.materialize_in_destination %[[A1]] in writable %[[A]]
// CHECK-NEXT:    bufferization.materialize_in_destination %[[B1]] in writable %[[B]]
func.func @main(%a: tensor<4xf32>, %b: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>) attributes {rwkvc.interface = {kind = "graph", inputs = [{name = "a", type = tensor<4xf32>}, {name = "b", type = tensor<4xf32>}],
    outputs = [{name = "y", type = tensor<4xf32>}, {name = "a'", type = tensor<4xf32>}, {name = "b'", type = tensor<4xf32>}],
    states = [{input = 0 : i64, output = 1 : i64, initial = 0.0 : f64}, {input = 1 : i64, output = 2 : i64, initial = 0.0 : f64}]}} {
  return %a, %b, %a : tensor<4xf32>, tensor<4xf32>, tensor<4xf32>
}

// -----

// The old state is found through views, loops and the destinations of ops too.
// CHECK-LABEL: func.func @main(
// CHECK-COUNT-3: bufferization.alloc_tensor() copy
// CHECK-NOT:     bufferization.alloc_tensor
func.func @main(%s: tensor<2x2xf32>) -> (tensor<2x2xf32>, tensor<4xf32>, tensor<2x2xf32>, tensor<2x2xf32>) attributes {rwkvc.interface = {kind = "graph", inputs = [{name = "s", type = tensor<2x2xf32>}],
    outputs = [{name = "s'", type = tensor<2x2xf32>}, {name = "v", type = tensor<4xf32>},
               {name = "l", type = tensor<2x2xf32>}, {name = "d", type = tensor<2x2xf32>}],
    states = [{input = 0 : i64, output = 0 : i64, initial = 0.0 : f64}]}} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %one = arith.constant 1.0 : f32
  %v = tensor.collapse_shape %s [[0, 1]] : tensor<2x2xf32> into tensor<4xf32>
  %l = scf.for %i = %c0 to %c1 step %c1 iter_args(%acc = %s) -> tensor<2x2xf32> {
    %n = tensor.insert %one into %acc[%i, %i] : tensor<2x2xf32>
    scf.yield %n : tensor<2x2xf32>
  }
  %d = linalg.fill ins(%one : f32) outs(%s : tensor<2x2xf32>) -> tensor<2x2xf32>
  return %s, %v, %l, %d : tensor<2x2xf32>, tensor<4xf32>, tensor<2x2xf32>, tensor<2x2xf32>
}

// -----

// A state that leaves without an axis it came with: its buffer is seen as either.
// CHECK-LABEL: func.func @main(
// CHECK-SAME:    %[[S:[^:]*]]: memref<1x4xf32>)
// CHECK-NEXT:    %[[T:.*]] = bufferization.to_tensor %[[S]] restrict writable : memref<1x4xf32> to tensor<1x4xf32>
// CHECK:         tensor.{{collapse|expand}}_shape %[[T]] {{.*}} : tensor<1x4xf32> into
func.func @main(%s: tensor<1x1x4xf32>) -> tensor<1x4xf32> attributes {rwkvc.interface = {kind = "graph", inputs = [{name = "s", type = tensor<1x1x4xf32>}], outputs = [{name = "s'", type = tensor<1x4xf32>}],
    states = [{input = 0 : i64, output = 0 : i64, initial = 0.0 : f64}]}} {
  %e = tensor.empty() : tensor<1x1x4xf32>
  %0 = linalg.exp ins(%s : tensor<1x1x4xf32>) outs(%e : tensor<1x1x4xf32>) -> tensor<1x1x4xf32>
  %1 = tensor.collapse_shape %0 [[0, 1], [2]] : tensor<1x1x4xf32> into tensor<1x4xf32>
  return %1 : tensor<1x4xf32>
}

// -----

// The interface tells unsigned integers from signed ones, code does not.
// CHECK-LABEL: func.func @main(
// CHECK-SAME:    %{{[^:]*}}: memref<4xi8>, %{{[^:]*}}: memref<4xi8>)
func.func @main(%x: tensor<4xi8>) -> tensor<4xi8> attributes {rwkvc.interface = {kind = "graph", inputs = [{name = "x", type = tensor<4xui8>}], outputs = [{name = "y", type = tensor<4xui8>}], states = []}} {
  %e = tensor.empty() : tensor<4xi8>
  %0 = linalg.add ins(%x, %x : tensor<4xi8>, tensor<4xi8>) outs(%e : tensor<4xi8>) -> tensor<4xi8>
  return %0 : tensor<4xi8>
}

// -----

// A state that takes another's value on one branch may come to lie in the other's buffer.
// CHECK-LABEL: func.func @main(
// CHECK:         %[[CHOSEN:.*]] = scf.if
// CHECK:         %[[COPY:.*]] = bufferization.alloc_tensor() copy(%[[CHOSEN]])
// CHECK-NEXT:    bufferization.materialize_in_destination %[[COPY]] in writable
func.func @main(%t: tensor<i1>, %a: tensor<4xf32>, %b: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) attributes {rwkvc.interface = {kind = "graph", inputs = [{name = "c", type = tensor<i1>}, {name = "a", type = tensor<4xf32>}, {name = "b", type = tensor<4xf32>}],
    outputs = [{name = "a'", type = tensor<4xf32>}, {name = "b'", type = tensor<4xf32>}],
    states = [{input = 1 : i64, output = 0 : i64, initial = 0.0 : f64},
              {input = 2 : i64, output = 1 : i64, initial = 0.0 : f64}]}} {
  %c = tensor.extract %t[] : tensor<i1>
  %0 = scf.if %c -> (tensor<4xf32>) {
    scf.yield %a : tensor<4xf32>
  } else {
    scf.yield %b : tensor<4xf32>
  }
  return %0, %b : tensor<4xf32>, tensor<4xf32>
}

// -----

// Each function that callers know gets buffers; others keep their signature.
// CHECK-LABEL: func.func @main(%{{.*}}: memref<4xf32>, %{{.*}}: memref<4xf32>)
// CHECK-LABEL: func.func @step(%{{.*}}: memref<1xi64>, %{{.*}}: memref<1x4xf32>, %{{.*}}: memref<1x4xf32>)
// CHECK-SAME:    wkv.form = "step"
// CHECK-LABEL: func.func private @other(%{{.*}}: tensor<4xf32>)
func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> attributes {rwkvc.interface = {kind = "graph",
    inputs = [{name = "x", type = tensor<4xf32>}], outputs = [{name = "y", type = tensor<4xf32>}], states = []}} {
  return %x : tensor<4xf32>
}
func.func @step(%t: tensor<1xi64>, %s: tensor<1x4xf32>) -> (tensor<1x4xf32>, tensor<1x4xf32>)
    attributes {wkv.form = "step", rwkvc.interface = {kind = "step",
    inputs = [{name = "tokens", type = tensor<1xi64>}, {name = "s", type = tensor<1x4xf32>}],
    outputs = [{name = "logits", type = tensor<1x4xf32>}, {name = "s", type = tensor<1x4xf32>}],
    states = [{input = 1 : i64, output = 1 : i64, initial = 0.0 : f64}], token_input = 0 : i64, logits_output = 0 : i64}} {
  %e = tensor.empty() : tensor<1x4xf32>
  %0 = linalg.exp ins(%s : tensor<1x4xf32>) outs(%e : tensor<1x4xf32>) -> tensor<1x4xf32>
  return %0, %s : tensor<1x4xf32>, tensor<1x4xf32>
}
func.func private @other(%x: tensor<4xf32>) -> tensor<4xf32> {
  return %x : tensor<4xf32>
}

// -----

// An output's reshapes are done to its buffer; a state's are not.
// CHECK-LABEL: func.func @main(
// CHECK-SAME:    %[[Y:[^ :]*]]: memref<4xf32>, %[[STATE:[^ :]*]]: memref<4xf32>)
// CHECK:         %[[E:.*]] = linalg.exp
// CHECK:         %[[VIEW:.*]] = memref.expand_shape %[[Y]] {{\[\[}}0, 1]] output_shape [2, 2] : memref<4xf32> into memref<2x2xf32>
// CHECK:         bufferization.materialize_in_destination %[[E]] in restrict writable %[[VIEW]]
// CHECK:         bufferization.materialize_in_destination %{{.*}} in writable %[[STATE]] : (tensor<4xf32>, memref<4xf32>)
func.func @main(%s: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) attributes {rwkvc.interface = {kind = "graph", inputs = [{name = "s", type = tensor<4xf32>}],
    outputs = [{name = "y", type = tensor<4xf32>}, {name = "s'", type = tensor<4xf32>}],
    states = [{input = 0 : i64, output = 1 : i64, initial = 0.0 : f64}]}} {
  %e = tensor.empty() : tensor<2x2xf32>
  %x = tensor.expand_shape %s [[0, 1]] output_shape [2, 2] : tensor<4xf32> into tensor<2x2xf32>
  %0 = linalg.exp ins(%x : tensor<2x2xf32>) outs(%e : tensor<2x2xf32>) -> tensor<2x2xf32>
  %1 = linalg.add ins(%x, %0 : tensor<2x2xf32>, tensor<2x2xf32>) outs(%e : tensor<2x2xf32>) -> tensor<2x2xf32>
  %y = tensor.collapse_shape %0 [[0, 1]] : tensor<2x2xf32> into tensor<4xf32>
  %t = tensor.collapse_shape %1 [[0, 1]] : tensor<2x2xf32> into tensor<4xf32>
  return %y, %t : tensor<4xf32>, tensor<4xf32>
}
