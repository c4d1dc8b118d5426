# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes models with integers of 4 bits."""

import onnx
from onnx import TensorProto, helper


def save(name, nodes, initializers=(), kind=TensorProto.FLOAT, inputs=()):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, *rest) for name, *rest in inputs],
        [helper.make_tensor_value_info("y", kind, [3, 1])],
        list(initializers),
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)]), name)


# -8, 7 and 1; 15, 8 and 1.
signed = helper.make_tensor("q", TensorProto.INT4, [1, 3], b"\x78\x01", raw=True)
unsigned = helper.make_tensor("q", TensorProto.UINT4, [1, 3], b"\x8f\x01", raw=True)
typed = helper.make_tensor("q", TensorProto.INT4, [1, 3], [-8, 7, 1])
scale = helper.make_tensor("s", TensorProto.FLOAT, [], [0.5])
move = helper.make_node("Transpose", ["q"], ["t"])
widen = helper.make_node("DequantizeLinear", ["t", "s"], ["y"])
for name, tensor in {"signed": signed, "unsigned": unsigned, "typed": typed}.items():
    save(f"{name}.onnx", [move, widen], [tensor, scale])
save("output.onnx", [helper.make_node("Transpose", ["q"], ["y"])], [signed], TensorProto.INT4)
save("input.onnx", [widen], [scale], inputs=[("t", TensorProto.INT4, [3, 1])])
round_to = [
    helper.make_node("QuantizeLinear", ["x", "s"], ["t"], output_dtype=TensorProto.INT4),
    widen,
]
save("round.onnx", round_to, [scale], inputs=[("x", TensorProto.FLOAT, [3, 1])])
