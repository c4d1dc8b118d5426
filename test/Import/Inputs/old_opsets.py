# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Imports operators in forms of older operator sets and compares their values with ONNX's reference evaluator.

The inputs are constants, so that onnx-simplify-shapes computes the result.
"""

import re
import subprocess
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

X = np.random.default_rng(11).standard_normal((2, 6, 3)).astype(np.float32) + 2
REDUCTIONS = ["L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare"]
# (operator, operator set, further inputs, attributes, number of outputs)
CASES = [(f"Reduce{r}", v, [], {"axes": [1], "keepdims": 0}, 1) for r in REDUCTIONS for v in (11, 13, 17)]
CASES = [c for c in CASES if c[0] != "ReduceSum" or c[1] < 13]
CASES += [(f"Reduce{r}", 11, [], {}, 1) for r in REDUCTIONS]
CASES += [
    ("ReduceSum", 13, [np.array([0, 2])], {"keepdims": 0}, 1),
    ("ReduceMean", 18, [np.array([-1])], {}, 1),
    ("Unsqueeze", 11, [], {"axes": [0, 4]}, 1),
    ("Unsqueeze", 13, [np.array([0, 4])], {}, 1),
    ("Split", 11, [], {"axis": 1, "split": [1, 3, 2]}, 3),
    ("Split", 11, [], {"axis": 2}, 3),
    ("Split", 13, [np.array([4, 2])], {"axis": 1}, 2),
    ("Split", 17, [], {"axis": 1}, 2),
    ("Split", 18, [], {"axis": 1, "num_outputs": 2}, 2),
    ("Softmax", 11, [], {}, 1),
    ("Softmax", 12, [], {"axis": 2}, 1),
    ("Softmax", 12, [], {"axis": -1}, 1),
    ("Softmax", 12, [], {"axis": -2}, 1),
    ("Softmax", 13, [], {"axis": 1}, 1),
    ("LogSoftmax", 11, [], {"axis": 1}, 1),
    ("LogSoftmax", 13, [], {}, 1),
    ("Dropout", 11, [], {"ratio": 0.25}, 1),
    ("Dropout", 12, [], {}, 1),
    ("BatchNormalization", 11, [np.float32([1, 2, 3, 4, 5, 6])] * 4, {"epsilon": 0.1}, 1),
    ("GroupNormalization", 18, [np.float32([1, 2]), np.float32([3, 4])], {"num_groups": 2}, 1),
    ("GroupNormalization", 21, [np.float32([1, 2, 3, 4, 5, 6])] * 2, {"num_groups": 3}, 1),
    ("Clip", 11, [np.float32(1.5), np.float32(2)], {}, 1),
    ("Pad", 11, [np.array([0, 1, 0, 0, 2, 1]), np.float32(7)], {}, 1),
]


def squeeze_cases():
    x = X[:1]
    yield x, ("Squeeze", 11, [], {"axes": [0]}, 1)
    yield x, ("Squeeze", 11, [], {}, 1)
    yield x, ("Squeeze", 13, [np.array([0])], {}, 1)


def reference(model, x, case):
    """The values by ONNX's evaluator, or written out where it lacks an old form."""
    op, opset, inputs, attributes, _ = case
    if op in ("Softmax", "LogSoftmax") and opset < 13:
        axis = attributes.get("axis", 1) % x.ndim
        rows = x.reshape(int(np.prod(x.shape[:axis])), -1).astype(np.float64)
        exp = np.exp(rows - rows.max(1, keepdims=True))
        y = (exp / exp.sum(1, keepdims=True)).reshape(x.shape)
        return [y if op == "Softmax" else np.log(y)]
    if op == "GroupNormalization":
        groups = x.reshape(x.shape[0], attributes["num_groups"], -1).astype(np.float64)
        y = (groups - groups.mean(2, keepdims=True)) / np.sqrt(groups.var(2, keepdims=True) + 1e-5)
        scale, bias = (np.repeat(i, x.shape[1] // len(i)).reshape(1, -1, 1) for i in inputs)
        return [y.reshape(x.shape) * scale + bias]
    if op == "Dropout":
        return [x]
    if op == "BatchNormalization":
        scale, bias, mean, variance = (i.reshape(1, -1, 1) for i in inputs)
        return [(x - mean) / np.sqrt(variance + attributes["epsilon"]) * scale + bias]
    return ReferenceEvaluator(model).run(None, {})


def build(index, x, case):
    """The node of a case with its inputs as initializers."""
    op, _, inputs, attributes, outputs = case
    names = [f"y{index}_{i}" for i in range(outputs)]
    tensors = [numpy_helper.from_array(v, f"x{index}_{i}") for i, v in enumerate([x, *inputs])]
    infos = []
    for name in names:
        info = helper.make_tensor_value_info(name, TensorProto.FLOAT, [])
        info.type.tensor_type.shape.dim.add()  # an output's shape may be wrong
        infos.append(info)
    return helper.make_node(op, [t.name for t in tensors], names, **attributes), tensors, infos


def model_of(parts, opset):
    nodes = [node for node, _, _ in parts]
    tensors = [tensor for _, tensors, _ in parts for tensor in tensors]
    infos = [info for _, _, infos in parts for info in infos]
    graph = helper.make_graph(nodes, "g", [], infos, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=7)


def fold(model):
    """The values of the outputs of a model of constants, as rwkvc folds them."""
    onnx.save(model, "case.onnx")
    imported = subprocess.run(["rwkv-translate", "--import-onnx", "case.onnx"], capture_output=True, text=True)
    assert imported.returncode == 0, imported.stderr
    command = ["rwkv-opt", "--onnx-simplify-shapes", "--mlir-print-elementsattrs-with-hex-if-larger=1"]
    folded = subprocess.run(command, input=imported.stdout, capture_output=True, text=True, check=True).stdout
    values = {}
    for name, data, kind in re.findall(
        r'(%\w+) = "onnx.Constant"\(\) <\{value = dense<(.*)> : tensor<(.*)>\}>', folded
    ):
        shape = [int(d) for d in kind.split("x")[:-1]]
        if data.startswith('"0x'):
            values[name] = np.frombuffer(bytes.fromhex(data[3:-1]), np.float32).reshape(shape)
        elif data.startswith("0x"):  # the bits of one number
            values[name] = np.full(shape, np.uint32(int(data, 16)).view(np.float32))
        elif kind.endswith("f32"):
            values[name] = np.full(shape, float(data), np.float32)
    results = re.search(r"return (.*) :", folded)[1].split(", ")
    missing = [r for r in results if r not in values]
    assert not missing, f"{missing} not folded:\n{folded}"
    return [values[r] for r in results]


def compare(got, expected):
    assert got.shape == expected.shape, f"shape {got.shape}, expected {expected.shape}"
    error = float((np.abs(got - expected) / (1 + np.abs(expected))).max())
    assert error < 1e-5, f"error {error}"


def main():
    failed = count = 0
    cases = [(X, c) for c in CASES] + list(squeeze_cases())
    for opset in sorted({case[1] for _, case in cases}):
        group = [(x, case) for x, case in cases if case[1] == opset]
        parts = [build(i, x, case) for i, (x, case) in enumerate(group)]
        values = fold(model_of(parts, opset))
        for (x, case), part in zip(group, parts, strict=True):
            count += 1
            expected = reference(model_of([part], opset), x, case)
            got, values = values[: len(expected)], values[len(expected) :]
            try:
                for pair in zip(got, expected, strict=True):
                    compare(*pair)
            except AssertionError as error:
                print(f"{case[0]} of operator set {opset} {case[3]}: {error}")
                failed += 1
    print(f"{count - failed} of {count} agree")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
