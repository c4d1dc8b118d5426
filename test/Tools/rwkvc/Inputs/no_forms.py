# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""no_forms.py FOLDER: writes sum.onnx, a graph without token and state, and scaled.onnx, a recurrence over tokens that also
has an input that is neither."""

import pathlib
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FOLDER = pathlib.Path(sys.argv[1])


def save(name, nodes, inputs, outputs, constants=()):
    values = [
        [helper.make_tensor_value_info(key, kind, shape) for key, (kind, shape) in group.items()]
        for group in (inputs, outputs)
    ]
    initializers = [numpy_helper.from_array(value, key) for key, value in constants]
    graph = helper.make_graph(nodes, name, *values, initializers)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), FOLDER / f"{name}.onnx")


node = helper.make_node
matrix = (TensorProto.FLOAT, [2, 3])
save("sum", [node("Add", ["x", "y"], ["z"])], {"x": matrix, "y": matrix}, {"z": matrix})

state = (TensorProto.FLOAT, [1, 4])
save(
    "scaled",
    [
        node("Gather", ["table", "token"], ["x"]),
        node("Mul", ["state_in", "half"], ["faded"]),
        node("Add", ["x", "faded"], ["state_out"]),
        node("Mul", ["state_out", "scale"], ["scaled"]),
        node("MatMul", ["scaled", "head"], ["logits"]),
    ],
    {"token": (TensorProto.INT64, [1]), "state_in": state, "scale": (TensorProto.FLOAT, [1])},
    {"logits": (TensorProto.FLOAT, [1, 8]), "state_out": state},
    [
        ("table", np.arange(32, dtype=np.float32).reshape(8, 4)),
        ("head", np.arange(32, dtype=np.float32).reshape(4, 8)),
        ("half", np.array([0.5], np.float32)),
    ],
)
