# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes a model of 40 functions that each call the next one twice: 2^40 nodes when inlined."""

import sys

from onnx import TensorProto, helper

opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
functions = []
for i in range(40):
    op, domain = (f"f{i + 1}", "local") if i < 39 else ("Exp", "")
    nodes = [helper.make_node(op, [a], [b], domain=domain) for a, b in (("x", "t"), ("t", "y"))]
    functions.append(helper.make_function("local", f"f{i}", ["x"], ["y"], nodes, opsets))
values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in "xy"]
graph = helper.make_graph([helper.make_node("f0", ["x"], ["y"], domain="local")], "g", values[:1], values[1:])
model = helper.make_model(graph, functions=functions, opset_imports=opsets, ir_version=8)
with open(sys.argv[1], "wb") as file:
    file.write(model.SerializeToString())
