# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes a model with weights above 1 KiB inside of bodies and of a function, inline and external, and of one name."""

import sys

import numpy as np
from onnx import TensorProto, helper, numpy_helper


def value(name):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [300])


def weight(name, fill, external):
    tensor = numpy_helper.from_array(np.full(300, fill, np.float32), name)
    if external:
        with open(f"{name}.{fill}.data", "wb") as file:
            file.write(tensor.raw_data)
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=f"{name}.{fill}.data")
    return tensor


def branch(name, fill, external):
    node = helper.make_node("Constant", [], ["k"], value=weight("", fill + 1, external))
    nodes = [node, helper.make_node("Add", ["x", "w"], ["a"]), helper.make_node("Mul", ["a", "k"], ["b"])]
    return helper.make_graph(nodes, name, [], [value("b")], [weight("w", fill, external)])


call = helper.make_node("scale", ["chosen"], ["y"], domain="local")
choose = helper.make_node("If", ["c"], ["chosen"], then_branch=branch("t", 2, True), else_branch=branch("e", 4, False))
opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
body = [helper.make_node("Constant", [], ["k"], value=weight("", 6, True)), helper.make_node("Mul", ["x", "k"], ["y"])]
function = helper.make_function("local", "scale", ["x"], ["y"], body, opsets[:1])
inputs = [value("x"), helper.make_tensor_value_info("c", TensorProto.BOOL, [])]
graph = helper.make_graph([choose, call], "g", inputs, [value("y")])
model = helper.make_model(graph, functions=[function], opset_imports=opsets, ir_version=8)
with open(sys.argv[1], "wb") as file:
    file.write(model.SerializeToString())
