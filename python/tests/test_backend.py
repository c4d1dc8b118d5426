# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""rwkvc.backend under ONNX's own test runner, on a sample; test/python/node_tests.py runs all."""

import pathlib
import sys
import unittest
import warnings

import numpy as np
import onnx
import onnx.backend.test
from onnx import helper

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "python"))

from rwkvc import CompileError, backend  # noqa: E402  (needs the path above)

# Claimed, with constant operands, of a function, with control flow; and one that is not claimed.
SAMPLE = "add_bcast|matmul_4d|layer_normalization_2d_axis1|slice_neg|celu|loop11|softmax_axis_1|maxpool_1d_default"


def load_sample():
    """name -> method, of the cases in SAMPLE that run here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # cases compute infinities and NaN on purpose
        with np.errstate(all="ignore"):
            runner = onnx.backend.test.BackendTest(backend, __name__)
    return {
        name: method
        for case in runner.include(rf"^test_({SAMPLE})_cpu$").test_cases.values()
        for name, method in vars(case).items()
        if name.startswith("test_") and not getattr(method, "__unittest_skip__", False)
    }


ONNXSample = type("ONNXSample", (unittest.TestCase,), load_sample())


def make_model(nodes, inputs, outputs, opset=21):
    infos = [[helper.make_tensor_value_info(*value) for value in values] for values in (inputs, outputs)]
    graph = helper.make_graph(nodes, "graph", *infos)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


FLOAT, INT64 = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64


class Interface(unittest.TestCase):
    def test_devices(self):
        self.assertTrue(backend.supports_device("CPU"))
        self.assertFalse(backend.supports_device("CUDA:0"))
        model = make_model([helper.make_node("Abs", ["x"], ["y"])], [("x", FLOAT, [2])], [("y", FLOAT, [2])])
        with self.assertRaisesRegex(ValueError, "CUDA"):
            backend.prepare(model, "CUDA")

    def test_open_dimensions(self):
        model = make_model([helper.make_node("Abs", ["x"], ["y"])], [("x", FLOAT, ["n", 2])], [("y", FLOAT, ["n", 2])])
        prepared = backend.prepare(model)
        for rows in (1, 3):
            x = np.full((rows, 2), -1.5, np.float32)
            np.testing.assert_array_equal(prepared.run([x])[0], np.abs(x))

    def test_operand_that_says_a_shape(self):
        model = make_model(
            [helper.make_node("Reshape", ["x", "shape"], ["y"])],
            [("x", FLOAT, [2, 3]), ("shape", INT64, [2])],
            [("y", FLOAT, [None, None])],
        )
        prepared = backend.prepare(model)
        x = np.arange(6, dtype=np.float32).reshape(2, 3)
        for shape in ([3, 2], [6, 1], [3, 2]):
            np.testing.assert_array_equal(prepared.run({"x": x, "shape": np.array(shape)})[0], x.reshape(shape))
            self.assertEqual(prepared.constant_inputs, ("shape",))

    def test_run_node(self):
        x = np.array([[1, -2], [3, 4]], np.float32)
        (y,) = backend.run_node(helper.make_node("ReduceSum", ["x"], ["y"], keepdims=0), [x])
        self.assertEqual(y.shape, ())
        self.assertEqual(y, 6)
        (y,) = backend.run_node(helper.make_node("Softmax", ["x"], ["y"]), [x], opset_version=11)
        np.testing.assert_allclose(y.sum(axis=1), 1, rtol=1e-6)

    def test_claims(self):
        pool = make_model(
            [helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[1])],
            [("x", FLOAT, [1, 1, 4])],
            [("y", FLOAT, [1, 1, 4])],
        )
        self.assertEqual(backend.why_unclaimed(pool), "operator MaxPool")
        self.assertFalse(backend.is_compatible(pool))
        with self.assertRaisesRegex(unittest.SkipTest, "operator MaxPool"):
            backend.prepare(pool)
        text = make_model(
            [helper.make_node("Identity", ["x"], ["y"])],
            [("x", onnx.TensorProto.STRING, [1])],
            [("y", onnx.TensorProto.STRING, [1])],
        )
        self.assertEqual(backend.why_unclaimed(text), "element type string")
        mode = make_model(
            [helper.make_node("Dropout", ["x", "", "mode"], ["y"])],
            [("x", FLOAT, [4]), ("mode", onnx.TensorProto.BOOL, [])],
            [("y", FLOAT, [4])],
        )
        with self.assertRaisesRegex(unittest.SkipTest, "training"):
            backend.run_model(mode, [np.ones(4, np.float32), np.array(True)])

    def test_other_domains_get_the_compiler_s_answer(self):
        node = helper.make_node("Mystery", ["x"], ["y"], "the_node", domain="somewhere")
        model = make_model([node], [("x", FLOAT, [4])], [("y", FLOAT, [4])])
        model.opset_import.append(helper.make_opsetid("somewhere", 1))
        with self.assertRaisesRegex(CompileError, "the_node"):
            backend.prepare(model)

    def test_refused_inputs(self):
        model = make_model([helper.make_node("Abs", ["x"], ["y"])], [("x", FLOAT, [2])], [("y", FLOAT, [2])])
        prepared = backend.prepare(model)
        with self.assertRaisesRegex(ValueError, "expected 1 inputs, got 2"):
            prepared.run([np.ones(2, np.float32)] * 2)
        with self.assertRaisesRegex(ValueError, "input 'x' is missing"):
            prepared.run({})
        with self.assertRaisesRegex(TypeError, "float32, got float64"):
            prepared.run([np.ones(2)])


if __name__ == "__main__":
    unittest.main()
