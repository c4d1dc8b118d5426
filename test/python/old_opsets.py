# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Cases like ONNX's node tests, of operators in the forms that they had in older operator sets.

ONNX's own tests have each operator's newest form. Expected outputs are onnxruntime's, which still runs the old ones.
"""

import types

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

# (operator, operator set, shapes of the float inputs, number of outputs, attributes, operands as initializers)
FORMS = [
    ("Squeeze", 11, [(1, 3, 1, 4)], 1, {"axes": [0, -2]}, []),
    ("Squeeze", 11, [(1, 3, 1)], 1, {}, []),
    ("Unsqueeze", 11, [(3, 4)], 1, {"axes": [0, -1]}, []),
    ("Split", 11, [(2, 6)], 3, {"axis": 1}, []),
    ("Split", 11, [(2, 6)], 2, {"axis": -1, "split": [2, 4]}, []),
    ("Split", 13, [(2, 6)], 2, {"axis": 1}, [np.array([1, 5])]),
    ("Split", 17, [(4, 3)], 2, {}, []),
    ("Clip", 11, [(3, 4)], 1, {}, [np.float32(-0.5), np.float32(0.5)]),
    ("Clip", 12, [(3, 4)], 1, {}, [None, np.float32(0.5)]),
    ("Pad", 11, [(2, 3)], 1, {"mode": "constant"}, [np.array([0, 1, 2, 0]), np.float32(1.5)]),
    ("Pad", 11, [(3, 4)], 1, {}, [np.array([1, 0, -1, 0])]),
    ("Pad", 13, [(3, 4)], 1, {"mode": "reflect"}, [np.array([0, 1, 0, 2])]),
    ("Pad", 13, [(3, 4)], 1, {"mode": "edge"}, [np.array([1, 1, 0, 2])]),
    ("ReduceSum", 11, [(2, 3, 4)], 1, {"axes": [-1], "keepdims": 0}, []),
    ("ReduceSum", 11, [(2, 3, 4)], 1, {}, []),
    ("ReduceSum", 13, [(2, 3, 4)], 1, {"noop_with_empty_axes": 1}, []),
    ("ReduceMean", 11, [(2, 3, 4)], 1, {"axes": [1, 2], "keepdims": 1}, []),
    ("ReduceMean", 13, [(2, 3, 4)], 1, {"axes": [-1]}, []),
    ("ReduceMax", 12, [(2, 3, 4)], 1, {"axes": [0], "keepdims": 0}, []),
    ("ReduceMin", 13, [(2, 3, 4)], 1, {}, []),
    ("ReduceL2", 11, [(2, 3, 4)], 1, {"axes": [2]}, []),
    ("ReduceL1", 13, [(2, 3, 4)], 1, {"axes": [2], "keepdims": 0}, []),
    ("ReduceLogSumExp", 13, [(2, 3, 4)], 1, {"axes": [1]}, []),
    ("ReduceSumSquare", 13, [(2, 3, 4)], 1, {"axes": [0, 1]}, []),
    ("ReduceProd", 11, [(2, 3)], 1, {"axes": [1]}, []),
    ("Softmax", 11, [(2, 3, 4)], 1, {}, []),
    ("Softmax", 11, [(2, 3, 4)], 1, {"axis": 2}, []),
    ("Softmax", 12, [(2, 3, 4)], 1, {"axis": -2}, []),
    ("Softmax", 13, [(2, 3, 4)], 1, {"axis": 1}, []),
    ("LogSoftmax", 11, [(2, 3, 4)], 1, {"axis": 1}, []),
    ("Dropout", 11, [(3, 4)], 1, {"ratio": 0.3}, []),
    ("Dropout", 12, [(3, 4)], 1, {}, [np.float32(0.3)]),
    ("BatchNormalization", 11, [(2, 3, 4), (3,), (3,), (3,)], 1, {}, [np.array([1, 0.5, 2], np.float32)]),
    ("BatchNormalization", 14, [(2, 3, 4), (3,), (3,), (3,)], 1, {}, [np.array([1, 0.5, 2], np.float32)]),
    ("Gemm", 11, [(3, 4), (5, 4), (5,)], 1, {"transB": 1, "alpha": 0.5}, []),
    ("MatMul", 11, [(2, 3, 4), (4, 5)], 1, {}, []),
    ("Gather", 11, [(5, 4)], 1, {"axis": 0}, [np.array([0, -1, 3])]),
    ("ScatterElements", 11, [(3, 4)], 1, {"axis": 1}, [np.array([[1, 3]]), np.array([[9, 8]], np.float32)]),
    ("ScatterND", 11, [(3, 4)], 1, {}, [np.array([[2]]), np.ones((1, 4), np.float32)]),
    ("CumSum", 11, [(3, 4)], 1, {"exclusive": 1}, [np.array(1)]),
    ("TopK", 11, [(3, 4)], 2, {"axis": -1}, [np.array([2])]),
    ("ArgMax", 11, [(3, 4)], 1, {"axis": 1}, []),
    ("ArgMax", 12, [(3, 4)], 1, {"axis": 0, "select_last_index": 1}, []),
    ("Flatten", 11, [(2, 3, 4)], 1, {"axis": -1}, []),
    ("Reshape", 11, [(2, 3, 4)], 1, {}, [np.array([0, -1])]),
    ("Expand", 11, [(3, 1)], 1, {}, [np.array([2, 1, 4])]),
    ("Slice", 11, [(5, 4)], 1, {}, [np.array([4, 1]), np.array([-9, 3]), np.array([0, 1]), np.array([-2, 1])]),
    ("Einsum", 12, [(2, 3, 4), (2, 4, 5)], 1, {"equation": "bij,bjk->bik"}, []),
    ("Pow", 11, [(3, 4)], 1, {}, [np.float32(2)]),
    ("Mod", 11, [(3, 4)], 1, {"fmod": 1}, [np.float32(0.4)]),
    ("Equal", 11, [(3, 4), (4,)], 1, {}, []),
    ("Where", 11, [(3, 4), (4,)], 1, {}, []),
    ("DequantizeLinear", 11, [], 1, {}, []),
    ("QuantizeLinear", 11, [(3, 4)], 1, {}, [np.float32(0.1), np.uint8(128)]),
    ("DynamicQuantizeLinear", 11, [(3, 4)], 3, {}, []),
    ("HardSwish", 14, [(3, 4)], 1, {}, []),
    ("LayerNormalization", 17, [(2, 3, 4), (4,), (4,)], 1, {"axis": -1}, []),
]


def make_case(operator, opset, shapes, results, attributes, operands, name):
    random = np.random.default_rng(7)
    inputs = {f"x{i}": random.standard_normal(shape).astype(np.float32) for i, shape in enumerate(shapes)}
    if operator == "Where":
        inputs = {"condition": inputs["x0"] > 0, **inputs}
    if operator == "DequantizeLinear":
        inputs = {"x0": random.integers(-128, 128, (3, 4)).astype(np.int8)}
        operands = [np.float32(0.1), np.int8(3)]
    if operator == "BatchNormalization":
        inputs["x0"] *= 2
    names = [*inputs, *(f"c{i}" if value is not None else "" for i, value in enumerate(operands))]
    outputs = [f"y{i}" for i in range(results)]
    node = helper.make_node(operator, names, outputs, **attributes)
    constants = [numpy_helper.from_array(np.asarray(c), f"c{i}") for i, c in enumerate(operands) if c is not None]

    def infos(arrays):
        kinds = {key: helper.np_dtype_to_tensor_dtype(array.dtype) for key, array in arrays.items()}
        return [helper.make_tensor_value_info(key, kinds[key], array.shape) for key, array in arrays.items()]

    open_outputs = [helper.make_empty_tensor_value_info(key) for key in outputs]
    graph = helper.make_graph([node], name, infos(inputs), open_outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=7)
    typed = onnx.shape_inference.infer_shapes(model)
    session = onnxruntime.InferenceSession(typed.SerializeToString(), providers=["CPUExecutionProvider"])
    expected = dict(zip(outputs, session.run(None, inputs)))
    del model.graph.output[:]
    model.graph.output.extend(infos(expected))
    onnx.checker.check_model(model)
    data = [(list(inputs.values()), list(expected.values()))]
    return types.SimpleNamespace(name=name, model=model, data_sets=data, rtol=1e-3, atol=1e-6)


def load_cases():
    cases, seen = [], {}
    for operator, opset, *rest in FORMS:
        seen[operator, opset] = number = seen.get((operator, opset), 0) + 1
        name = f"opset{opset}_{operator.lower()}" + (f"_{number}" if number > 1 else "")
        cases.append(make_case(operator, opset, *rest, name))
    return cases
