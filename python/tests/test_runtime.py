# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""rwkvc.compile and rwkvc.load: bundled models against recorded runs, and what is refused."""

import gc
import os
import pathlib
import sys
import tempfile
import threading
import unittest
from unittest import mock

import ml_dtypes
import numpy as np
import onnx
from onnx import helper

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "python"))

import rwkvc  # noqa: E402  (needs the path above)

DATA = ROOT / "test" / "data"
# One of each kind of interface: split float32 states, fp16 with external data, packed state and open batch, Scan.
MODELS = {
    "v4_rwkvonnx_rec_o17_fp32_safe_seeded": 5e-5,
    "v51_fasterrwkv_rec_o17_fp16": 2e-2,
    "v6_rwkvpytorch_rec_o18_fp32_dynbatch": 5e-5,
    "v7_rwkvpip_rec_o17_fp32_seeded": 5e-5,
}
ONE_TOKEN = "v7_rwkvmobile_rec_o17_fp32_lpnorm_seeded"


def recorded_runs(path):
    """(inputs, outputs) of each recorded call."""
    with np.load(path) as record:
        for run in range(sum(name.startswith("run") and "/in/" in name for name in record)):
            found = [
                {name.split("/", 2)[2]: record[name] for name in record if name.startswith(f"run{run}/{side}/")}
                for side in ("in", "out")
            ]
            if found[0]:
                yield found


def make_graph(kind):
    """y = x + x beside x, in this element type."""
    x, y = (helper.make_tensor_value_info(name, kind, [2, size]) for name, size in (("x", 3), ("y", 6)))
    nodes = [helper.make_node("Add", ["x", "x"], ["sum"]), helper.make_node("Concat", ["sum", "x"], ["y"], axis=1)]
    graph = helper.make_graph(nodes, "doubling", [x], [y])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


class Compiled(unittest.TestCase):
    """With a folder of compiled models."""

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name)
        cls.library = rwkvc.compile(DATA / (ONE_TOKEN + ".onnx"), cls.folder / "one.so")


class RecordedRuns(Compiled):
    def test_outputs(self):
        for name, atol in MODELS.items():
            with self.subTest(name):
                model = rwkvc.load(rwkvc.compile(DATA / (name + ".onnx"), self.folder / (name + ".so")))
                runs = list(recorded_runs(DATA / (name + ".npz")))
                self.assertTrue(runs)
                for inputs, outputs in runs:
                    found = model.run(inputs)
                    self.assertEqual(list(found), [tensor.name for tensor in model.outputs])
                    for key, expected in outputs.items():
                        self.assertEqual(found[key].dtype, expected.dtype)
                        np.testing.assert_allclose(found[key], expected, rtol=0, atol=atol, err_msg=f"{name} {key}")

    def test_several_texts(self):
        path = DATA / (ONE_TOKEN + ".onnx")
        model = rwkvc.load(rwkvc.compile(path, self.folder / "two.so", arguments=["--batch=2", "--forms=prefill,step"]))
        self.assertEqual((model.batch, model.inputs, set(model.functions)), (2, (), {"step", "prefill"}))
        one, two = rwkvc.load(self.library), model.sequence()
        texts = np.array([list(b"in the "), list(b"of this")])
        expected = np.stack([one.sequence().prefill(text) for text in texts])
        np.testing.assert_allclose(two.prefill(texts), expected, rtol=1e-4, atol=1e-5)
        with self.assertRaisesRegex(ValueError, r"expected tokens \[2, n\]"):
            two.prefill(texts[0])
        with self.assertRaisesRegex(rwkvc.ModelError, "without the graph's own function"):
            model.run({})

    def test_open_dimensions(self):
        name = "v6_rwkvpytorch_rec_o18_fp32_dynbatch"
        model = rwkvc.load(rwkvc.compile(DATA / (name + ".onnx"), self.folder / "three.so", dims={"batch_size": 3}))
        inputs, outputs = next(recorded_runs(DATA / (name + ".npz")))
        found = model.run({key: np.concatenate([array] * 3) for key, array in inputs.items()})
        for key, expected in outputs.items():
            np.testing.assert_allclose(found[key], np.concatenate([expected] * 3), rtol=0, atol=5e-5)


class Sequences(Compiled):
    def setUp(self):
        self.model = rwkvc.load(self.library)
        self.graph = self.model.functions["graph"]

    def logits_by_run(self, tokens):
        """The same through the graph's own interface."""
        inputs = {}
        for token in tokens:
            shape = self.graph.token_input.shape
            outputs = self.model.run(
                {**inputs, self.graph.token_input.name: np.full(shape, token, self.graph.token_input.dtype)}
            )
            inputs = {state.input.name: outputs[state.output.name] for state in self.model.states}
        return outputs[self.graph.logits_output.name].ravel()

    def test_step_is_run(self):
        text = self.model.sequence()
        for token in b"in the ":
            logits = text.step(token)
        np.testing.assert_allclose(logits, self.logits_by_run(b"in the "), rtol=1e-6, atol=1e-6)
        self.assertEqual(logits.shape, (self.model.vocabulary_size,))

    def test_prefill_is_steps(self):
        self.assertEqual(set(self.model.functions), {"graph", "step", "prefill", "unpack", "pack"})
        tokens = np.frombuffer(b"in the beginning of this", np.uint8)
        stepped, text = self.model.sequence(), self.model.sequence()
        text.set_shortest_block(1)
        expected = np.stack([stepped.step(token) for token in tokens])
        np.testing.assert_allclose(text.prefill(tokens[:9], all_logits=True), expected[:9], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(text.prefill(tokens[None, 9:]), expected[None, -1], rtol=1e-4, atol=1e-5)
        self.assertLess(text.difference(stepped), 1e-4)

    def test_refused_prefill(self):
        text = self.model.sequence()
        for tokens, kind, message in (
            ([], TypeError, "integer tokens"),
            (np.zeros(0, int), ValueError, r"tokens \[n\] with n of at least 1, got shape \[0\]"),
            ([[1, 2], [3, 4]], ValueError, r"got shape \[2, 2\]"),
            ([0.5], TypeError, "integer tokens, got float64"),
            ([1, 2, 1 << 40], rwkvc.ModelError, "1099511627776"),
        ):
            with self.subTest(message), self.assertRaisesRegex(kind, message):
                text.prefill(tokens)
        self.assertEqual(text.difference(self.model.sequence()), 0)

    def test_clone_reset_and_compare(self):
        text = self.model.sequence()
        first = text.step(104)
        copy = text.clone()
        self.assertEqual(text.difference(copy), 0)
        text.step(105)
        self.assertGreater(text.difference(copy), 0)
        self.assertEqual(copy.difference(text), text.difference(copy))
        self.assertEqual(text.difference(text), 0)
        copy.reset()
        np.testing.assert_array_equal(copy.step(104), first)

    def test_state_files(self):
        text, other = self.model.sequence(), self.model.sequence()
        text.step(104)
        text.save(self.folder / "state")
        other.load(self.folder / "state")
        self.assertEqual(text.difference(other), 0)
        damaged = bytearray((self.folder / "state").read_bytes())
        damaged[-20] ^= 1
        (self.folder / "damaged").write_bytes(damaged)
        with self.assertRaisesRegex(rwkvc.ModelError, "damaged") as caught:
            other.load(self.folder / "damaged")
        self.assertEqual(caught.exception.status, "bad file")
        self.assertEqual(text.difference(other), 0)

    def test_states_are_views(self):
        text = self.model.sequence()
        text.step(104)
        saved = {name: array.copy() for name, array in text.states().items()}
        self.assertEqual(list(saved), [tensor.name for tensor in self.model.sequence_states])
        expected = text.step(105)
        for name, array in text.states().items():
            array[...] = saved[name]
        np.testing.assert_array_equal(text.step(105), expected)

    def test_lifetime(self):
        text = rwkvc.load(self.library).sequence()  # the model is the sequence's alone
        expected = self.model.sequence().step(104)
        gc.collect()
        np.testing.assert_array_equal(text.step(104), expected)
        views = text.states()
        copies = {name: array.copy() for name, array in views.items()}
        del text
        gc.collect()
        for name, array in views.items():
            np.testing.assert_array_equal(array, copies[name])

    def test_threads(self):
        expected, found = self.logits_by_run(b"in the "), [None] * 4

        def work(number):
            text = self.model.sequence()
            for token in b"in the ":
                found[number] = text.step(token)

        threads = [threading.Thread(target=work, args=[number]) for number in range(len(found))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for logits in found:
            np.testing.assert_allclose(logits, expected, rtol=1e-6, atol=1e-6)

    def test_refused_tokens(self):
        text = self.model.sequence()
        for token in (-1, self.graph.token_input.index_limit):
            with self.assertRaisesRegex(rwkvc.ModelError, f"{token} (is out of range|does not fit)") as caught:
                text.step(token)
            self.assertEqual(caught.exception.status, "invalid argument")

    def test_refused_inputs(self):
        token, state = self.graph.token_input.name, self.model.states[0].input
        right = {token: np.zeros(self.graph.token_input.shape, self.graph.token_input.dtype)}
        for inputs, kind, message in (
            ({}, ValueError, f"input '{token}' is missing"),
            ({**right, "tokne": 1}, ValueError, "no input 'tokne'; the model has .*" + token),
            (
                {token: np.zeros(self.graph.token_input.shape, np.int16)},
                TypeError,
                "expected an array of int32, got int16",
            ),
            ({token: [[0, 1, 2]]}, ValueError, f"input '{token}': expected shape .* got"),
            ({token: "x"}, TypeError, f"input '{token}'"),
            ({**right, state.name: np.zeros((1, 2), state.dtype)}, ValueError, r"expected shape .* got \[1, 2\]"),
            ([0], ValueError, rf"expected {len(self.model.inputs)} inputs \(.*\), got 1"),
        ):
            with self.subTest(message), self.assertRaisesRegex(kind, message):
                self.model.run(inputs)


class Types(Compiled):
    def test_element_types(self):
        for kind in (np.float32, np.float16, np.float64, ml_dtypes.bfloat16, np.int8, np.int64, np.uint8):
            dtype = np.dtype(kind)
            with self.subTest(dtype.name):
                proto = make_graph(helper.np_dtype_to_tensor_dtype(dtype))
                model = rwkvc.load(rwkvc.compile(proto, self.folder / f"{dtype.name}.so"))
                self.assertEqual(model.inputs, (rwkvc.Tensor("x", dtype, (2, 3)),))
                array = np.arange(6).reshape(2, 3).astype(dtype)
                found = model.run([array.T.copy().T])["y"]  # column-major: converted, not misread
                self.assertEqual(found.dtype, dtype)
                expected = np.concatenate([2 * array, array], axis=1)
                np.testing.assert_array_equal(found.astype(np.float64), expected.astype(np.float64))

    def test_bfloat16_without_ml_dtypes(self):
        library = rwkvc.compile(make_graph(onnx.TensorProto.BFLOAT16), self.folder / "half.so")
        with mock.patch.dict(sys.modules, {"ml_dtypes": None}):
            with self.assertRaisesRegex(rwkvc.ModelError, "install ml_dtypes"):
                rwkvc.load(library)

    def test_no_sequence_of_other_graphs(self):
        model = rwkvc.load(rwkvc.compile(make_graph(onnx.TensorProto.FLOAT), self.folder / "graph.so"))
        self.assertEqual((model.states, list(model.functions)), ((), ["graph"]))
        with self.assertRaisesRegex(rwkvc.ModelError, "token"):
            model.sequence().step(0)


class Refused(Compiled):
    def test_damaged_file(self):
        path = self.folder / "damaged.onnx"
        path.write_bytes((DATA / (ONE_TOKEN + ".onnx")).read_bytes()[:1000])
        with self.assertRaisesRegex(rwkvc.CompileError, "damaged.onnx") as caught:
            rwkvc.compile(path)
        self.assertEqual(caught.exception.status, 1)
        self.assertIn("error: ", caught.exception.diagnostic)
        self.assertFalse(path.with_suffix(".so").exists())

    def test_operator(self):
        x, y = (helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 1, 4, 4]) for name in "xy")
        node = helper.make_node("MaxPool", ["x"], ["y"], "the_pool", kernel_shape=[1, 1])
        graph = helper.make_graph([node], "pool", [x], [y])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        with self.assertRaisesRegex(rwkvc.CompileError, "the_pool"):
            rwkvc.compile(model, self.folder / "pool.so")

    def test_arguments(self):
        with self.assertRaisesRegex(rwkvc.CompileError, "--dim"):
            rwkvc.compile(DATA / (ONE_TOKEN + ".onnx"), self.folder / "x.so", dims={"batch": 0})
        with self.assertRaisesRegex(ValueError, "output"):
            rwkvc.compile(make_graph(onnx.TensorProto.FLOAT))
        with mock.patch.dict(os.environ, {"RWKVC": "/nowhere/rwkvc"}):
            with self.assertRaisesRegex(rwkvc.CompileError, "/nowhere/rwkvc"):
                rwkvc.compile(DATA / (ONE_TOKEN + ".onnx"), self.folder / "x.so")

    def test_load(self):
        (self.folder / "text.so").write_text("no library\n")
        lonely = self.folder / "alone" / "one.so"
        lonely.parent.mkdir()
        lonely.write_bytes(self.library.read_bytes())  # without its weights
        for path, status in (
            (self.folder / "none.so", "input/output error"),
            (self.folder / "text.so", "bad file"),
            (lonely, "input/output error"),
        ):
            with self.subTest(path.name), self.assertRaisesRegex(rwkvc.ModelError, path.stem) as caught:
                rwkvc.load(path)
            self.assertEqual(caught.exception.status, status)


class Threads(unittest.TestCase):
    def test_number(self):
        default = rwkvc.get_num_threads()
        rwkvc.set_num_threads(1)
        self.assertEqual(rwkvc.get_num_threads(), 1)
        rwkvc.set_num_threads(0)
        self.assertEqual(rwkvc.get_num_threads(), default)
        with self.assertRaises(rwkvc.ModelError):
            rwkvc.set_num_threads(-1)


if __name__ == "__main__":
    unittest.main()
