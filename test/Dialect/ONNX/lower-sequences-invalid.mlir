// RUN: rwkv-opt %s --split-input-file --verify-diagnostics --onnx-lower-sequences

// Where in the order the second tensor goes is not known.
func.func @position(%x: tensor<4xf32>, %i: tensor<i64>) -> tensor<*xf32> {
  %s = "onnx.Custom"(%x) <{domain = "", op_type = "SequenceConstruct", attrs = {}}> {onnx_node_name = "start"} : (tensor<4xf32>) -> tensor<*xf32>
  // expected-error @below {{cannot lower node 'insert' (SequenceInsert): sequences are supported where}}
  %q = "onnx.Custom"(%s, %x, %i) <{domain = "", op_type = "SequenceInsert", attrs = {}}> {onnx_node_name = "insert"} : (tensor<*xf32>, tensor<4xf32>, tensor<i64>) -> tensor<*xf32>
  %c = "onnx.Custom"(%q) <{domain = "", op_type = "ConcatFromSequence", attrs = {axis = 0 : i64}}> : (tensor<*xf32>) -> tensor<*xf32>
  return %c : tensor<*xf32>
}

// -----

// Each step reads the sequence that it appends to.
func.func @reads(%y: tensor<4xf32>) -> tensor<*xf32> {
  %count = "onnx.Constant"() <{value = dense<3> : tensor<i64>}> : () -> tensor<i64>
  %none = "onnx.NoValue"() : () -> none
  %s = "onnx.Custom"(%y) <{domain = "", op_type = "SequenceConstruct", attrs = {}}> : (tensor<4xf32>) -> tensor<*xf32>
  %r = "onnx.Loop"(%count, %none, %s) ({
  ^bb0(%i: tensor<i64>, %c: tensor<i1>, %q: tensor<*xf32>):
    // expected-error @below {{cannot lower node 'old' (SequenceAt)}}
    %e = "onnx.Custom"(%q, %i) <{domain = "", op_type = "SequenceAt", attrs = {}}> {onnx_node_name = "old"} : (tensor<*xf32>, tensor<i64>) -> tensor<4xf32>
    %q1 = "onnx.Custom"(%q, %e) <{domain = "", op_type = "SequenceInsert", attrs = {}}> : (tensor<*xf32>, tensor<4xf32>) -> tensor<*xf32>
    "onnx.Yield"(%c, %q1) : (tensor<i1>, tensor<*xf32>) -> ()
  }) : (tensor<i64>, none, tensor<*xf32>) -> tensor<*xf32>
  %all = "onnx.Custom"(%r) <{domain = "", op_type = "ConcatFromSequence", attrs = {axis = 0 : i64}}> : (tensor<*xf32>) -> tensor<*xf32>
  return %all : tensor<*xf32>
}
