# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes models with one fault each, and files that are no models: malformed.py FOLDER."""

import pathlib
import sys

from onnx import TensorProto, helper

F32, COMPLEX = TensorProto.FLOAT, TensorProto.COMPLEX64


def value(name, dims=(2, 3), element=F32):
    return helper.make_tensor_value_info(name, element, dims)


def tensor(name, dims, element=F32, **fields):
    return TensorProto(name=name, dims=dims, data_type=element, **fields)


def model(nodes, initializers=(), inputs=None, outputs=None, opset=17, ir=8):
    graph = helper.make_graph(nodes, "g", inputs or [value("x")], outputs or [value("y")], list(initializers))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir)


def node(op, inputs, outputs, **attributes):
    return helper.make_node(op, inputs.split(), outputs.split(), name=f"the_{op}", **attributes)


def negative():
    made = model([node("Add", "x x", "y")], inputs=[value("x", (2, 3))])
    made.graph.input[0].type.tensor_type.shape.dim[0].dim_value = -4
    return made


def no_shape():
    made = model([node("Add", "x x", "y")])
    made.graph.input[0].type.tensor_type.ClearField("shape")
    return made


def no_opset():
    made = model([node("Exp", "x", "y")])
    del made.opset_import[:]
    return made


def sparse():
    made = model([node("Add", "x w", "y")])
    made.graph.sparse_initializer.add().values.CopyFrom(tensor("w", [1], float_data=[1]))
    return made


ADD, RAW = [node("Add", "x w", "y")], {"raw_data": b"\0" * 24}
CASES = {
    "cyclic": lambda: model([node("Add", "x b", "a"), node("Mul", "a x", "b"), node("Exp", "b", "y")]),
    "unsorted": lambda: model([node("Exp", "a", "y"), node("Neg", "x", "a")]),
    "unknown-op": lambda: model([node("Frobnicate", "x", "y")]),
    "missing-input": lambda: model([node("Add", "x nowhere", "y")]),
    "missing-output": lambda: model([node("Exp", "x", "z")]),
    "duplicate": lambda: model([node("Exp", "x", "y"), node("Neg", "x", "y")]),
    "duplicate-initializer": lambda: model(ADD, [tensor("w", [2, 3], **RAW)] * 2),
    "negative-shape": lambda: model(ADD, [tensor("w", [-2, 3], **RAW)]),
    "overflow": lambda: model(ADD, [tensor("w", [2**40, 2**40], **RAW)]),
    "huge": lambda: model(ADD, [tensor("w", [2**20, 2**20], **RAW)]),
    "little-data": lambda: model(ADD, [tensor("w", [2, 3], float_data=[1, 2])]),
    "no-data": lambda: model(ADD, [tensor("w", [2, 3])]),
    "bool": lambda: model([node("Not", "w", "y")], [tensor("w", [2], TensorProto.BOOL, raw_data=b"\1\7")]),
    "string": lambda: model([node("Identity", "w", "y")], [tensor("w", [1], TensorProto.STRING, string_data=[b"a"])]),
    "float8": lambda: model(
        [node("Cast", "x", "a", to=TensorProto.FLOAT8E4M3FN), node("Cast", "a", "y", to=F32)], opset=19
    ),
    "complex-input": lambda: model(
        [node("Identity", "x", "y")], inputs=[value("x", element=COMPLEX)], outputs=[value("y", element=COMPLEX)]
    ),
    "optional": lambda: model(
        [node("Optional", "x", "o"), node("OptionalHasElement", "o", "y")],
        outputs=[value("y", (), TensorProto.BOOL)],
    ),
    "sequence": lambda: model(
        [node("SequenceConstruct", "x", "y")],
        outputs=[helper.make_tensor_sequence_value_info("y", TensorProto.FLOAT, None)],
    ),
    "sparse": sparse,
    "negative-input": negative,
    "no-shape": no_shape,
    "huge-input": lambda: model([node("Exp", "x", "y")], inputs=[value("x", (2**40, 2**40))]),
    "bad-attribute": lambda: model([node("Transpose", "x", "y", frob=1)]),
    "bad-types": lambda: model([node("Add", "x i", "y")], inputs=[value("x"), value("i", element=TensorProto.INT8)]),
    "bad-shapes": lambda: model([node("MatMul", "x x", "a"), node("Add", "a x", "y")]),
    "output-type": lambda: model([node("Shape", "x", "y")]),
    "output-shape": lambda: model([node("Exp", "x", "y")], outputs=[value("y", (9, 9))]),
    "old-opset": lambda: model([node("Exp", "x", "y")], opset=10),
    "new-opset": lambda: model([node("Exp", "x", "y")], opset=99),
    "new-ir": lambda: model([node("Exp", "x", "y")], ir=99),
    "no-opset": no_opset,
}

folder = pathlib.Path(sys.argv[1])
for name, build in CASES.items():
    (folder / f"{name}.onnx").write_bytes(build().SerializeToString())
good = model([node("Exp", "x", "y")]).SerializeToString()
(folder / "empty.onnx").write_bytes(b"")
(folder / "cut.onnx").write_bytes(good[:-3])
(folder / "text.onnx").write_text("This is no model.\n")
(folder / "archive.onnx").write_bytes(b"PK\3\4" + bytes(100))
(folder / "tensor.onnx").write_bytes(tensor("w", [1], float_data=[1]).SerializeToString())
