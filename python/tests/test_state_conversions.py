# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The file's own states to those of sequences and back: tokens by either, in turns, against one of them alone."""

import pathlib
import tempfile
import unittest

import numpy as np
import onnxruntime
from state_spellings import make_model
from test_batched_files import move_batch_last
from test_export import random_checkpoint
from test_forms import difference
from test_sequence_ops import ROOT, export, rwkvc

DATA = ROOT / "test" / "data"
# Names and separate rows, packed rows, split rows, other axes, half precision, quantised weights.
FILES = {
    "v4_hf_rec_o14_fp32_seeded": 1e-5,
    "v4_rwkvonnx_rec_o17_fp32_safe_seeded": 1e-5,
    "v51_fasterrwkv_rec_o17_fp16": 1e-2,
    "v52_rwkvmobile_rec_o17_dynint8": 1e-2,
    "v6_rwkvpytorch_rec_o18_fp32_dynbatch": 1e-5,
    "v7_rwkvmobile_rec_o17_fp32_lpnorm_seeded": 1e-5,
    "v7_rwkvmobile_rec_ortextended_seeded": 1e-5,
    "v7_rwkvpip_rec_o17_fp32_seeded": 1e-5,
}
# See state_spellings.py.
SPELLINGS = ("key", "shift+layers", "tokens", "half-scaled", "inside+packed-swapped")


class StateConversions(unittest.TestCase):
    def compile(self, model, *arguments, **options):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        path = pathlib.Path(folder.name) / "m.so"
        return rwkvc.load(rwkvc.compile(model, path, arguments=arguments, threads=False, **options))

    def run_graph(self, model, state, tokens):
        """A token of each of the graph's texts; the logits [texts, vocabulary] and the new state."""
        graph = model.functions["graph"]
        tokens = np.asarray(tokens, graph.token_input.dtype).reshape(graph.token_input.shape)
        found = model.run({graph.token_input.name: tokens, **state})
        logits = found[graph.logits_output.name].reshape(-1, model.vocabulary_size)
        state = {s.input.name: found[s.output.name].reshape(s.input.shape) for s in model.states}
        return logits, state

    def check(self, model, rtol, texts=1):
        """texts: how many the graph computes. Others of the sequence go on by themselves."""
        tokens = np.random.default_rng(3).integers(model.vocabulary_size, size=(model.batch, 24))
        expected, mixed = model.sequence(), model.sequence()
        first = model.batch - texts  # the last texts take turns
        state, by_graph = {}, True
        for i, row in enumerate(tokens.T):
            want = expected.prefill(row[:, None])
            if i % 6 == 0 and i > 0:
                by_graph = not by_graph
                if by_graph:
                    state = mixed.pack(first)
                else:
                    mixed.unpack(state, first)
            found = mixed.prefill(row[:, None])
            if by_graph:
                found[first:], state = self.run_graph(model, state, row[first:])
            self.assertLess(difference(found, want), rtol, f"token {i}")

    def test_files(self):
        for name, rtol in FILES.items():
            with self.subTest(name):
                dims = {"batch_size": 1} if "dynbatch" in name else None
                for batch in (1, 3):
                    self.check(self.compile(DATA / f"{name}.onnx", f"--batch={batch}", dims=dims), rtol)

    def test_there_and_back(self):
        """What a token reads survives, bit by bit where no type is narrower."""
        for name in FILES:
            with self.subTest(name):
                dims = {"batch_size": 1} if "dynbatch" in name else None
                model = self.compile(DATA / f"{name}.onnx", dims=dims)
                first, second = model.sequence(), model.sequence()
                state = {}
                for token in (1, 2, 3):
                    _, state = self.run_graph(model, state, [token])
                first.unpack(state)
                second.unpack(first.pack())
                self.assertEqual(first.difference(second), 0)
                self.assertGreater(first.difference(model.sequence()), 0)

    def test_files_over_several_texts(self):
        for version in ((4, 0), (5, 2), (6, 0), (7, 0)):
            exported = export.export_model(random_checkpoint(version), batch=2)
            for graph in (exported, move_batch_last(exported)):
                for batch in (2, 5):
                    with self.subTest(version=version, batch=batch):
                        self.check(self.compile(graph, f"--batch={batch}"), 1e-4, texts=2)

    def test_a_packed_state_of_several_texts(self):
        path = DATA / "v6_rwkvpytorch_rec_o18_fp32_dynbatch.onnx"
        for batch in (3, 4):
            with self.subTest(batch=batch):
                self.check(self.compile(path, f"--batch={batch}", dims={"batch_size": 3}), 1e-5, texts=3)

    def test_files_over_several_tokens(self):
        rng = np.random.default_rng(4)
        for version in ((4, 0), (6, 0), (7, 0)):
            with self.subTest(version=version):
                model = self.compile(export.export_model(random_checkpoint(version), batch=2, tokens=3))
                tokens = rng.integers(model.vocabulary_size, size=(2, 9))
                expected, mixed = model.sequence(), model.sequence()
                want = expected.prefill(tokens)
                found = model.run({"token": tokens[:, :3]})
                mixed.unpack({name.removeprefix("new_"): a for name, a in found.items() if name != "logits"})
                mixed.prefill(tokens[:, 3:6])
                found = model.run({"token": tokens[:, 6:], **mixed.pack()})
                self.assertLess(difference(found["logits"][:, -1], want), 1e-4)

    def check_graph(self, model, graph, tokens, rtol):
        """The file's own signature against onnxruntime, from the same states."""
        session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
        function = model.functions["graph"]
        shape = function.token_input.shape
        state = {s.input.name: np.full(s.input.shape, s.initial, s.input.dtype) for s in model.states}
        for now in tokens.reshape(-1, *shape):
            feed = {"token": now, **state}
            names = [output.name for output in session.get_outputs()]
            expected = dict(zip(names, session.run(names, feed)))
            found = model.run(feed)
            for name, value in expected.items():
                self.assertLess(difference(found[name].reshape(value.shape), value), rtol, name)
            state = {s.input.name: expected[s.output.name] for s in model.states}

    def check_spellings(self, version):
        """Whatever the file keeps, the sequence's state is the one of the plain file, and the file's own stays its own."""
        tokens = np.random.default_rng(5).integers(32, size=16)
        plain = self.compile(make_model(f"{version}-plain")).sequence()
        plain.prefill(tokens)
        for spelling in SPELLINGS:
            with self.subTest(version=version, spelling=spelling):
                graph = make_model(f"{version}-{spelling}")
                model = self.compile(graph)
                text = model.sequence()
                text.prefill(tokens)
                # A factor of the key alone changes the model: the epsilon behind it counts for more.
                rtol = 2e-3 if spelling == "key" else 1e-6
                for name, value in plain.states().items():
                    self.assertLess(difference(text.states()[name], value), rtol, name)
                self.check_graph(model, graph, tokens, 1e-3 if "half" in spelling else 1e-5)
                if spelling != "tokens":
                    self.check(model, 1e-2 if "half" in spelling else 1e-5)

    def test_spellings_of_v4(self):
        self.check_spellings("v4")

    def test_spellings_of_v52(self):
        self.check_spellings("v52")

    def test_spellings_of_v6(self):
        self.check_spellings("v6")

    def test_spellings_of_v7(self):
        self.check_spellings("v7")

    def test_refused(self):
        graph = export.export_model(random_checkpoint((6, 0)))
        model = self.compile(graph, "--batch=2")
        text = model.sequence()
        state = text.pack()
        name = "state_1_wkv"
        for wrong, error, message in (
            ({"state": state[name]}, ValueError, "no state 'state'; the graph has state_0_att_shift, "),
            ({name: state[name][0]}, ValueError, f"input '{name}': expected shape"),
            ({name: state[name].astype(np.float64)}, TypeError, f"input '{name}': expected an array of float32"),
        ):
            with self.assertRaisesRegex(error, message):
                text.unpack(wrong)
        message = r"text 2: a call converts the states of 1, and the sequence has 2"
        with self.assertRaisesRegex(rwkvc.ModelError, message):
            text.unpack(state, 2)
        with self.assertRaisesRegex(rwkvc.ModelError, message):
            text.pack(2)
        model = self.compile(graph, "--forms=step")
        self.assertEqual(set(model.functions), {"step"})
        with self.assertRaisesRegex(rwkvc.ModelError, "has no states of the file's own signature"):
            model.sequence().pack()

    def test_a_model_without_forms(self):
        """Its sequences have the file's own states."""
        model = self.compile(export.export_model(random_checkpoint((6, 0))), "--forms=original")
        self.assertEqual(set(model.functions), {"graph"})
        text = model.sequence()
        want = [text.step(token) for token in (4, 5, 6)]
        _, state = self.run_graph(model, {}, [4])
        text.unpack(state)
        np.testing.assert_array_equal(text.step(5), want[1])
        found, _ = self.run_graph(model, text.pack(), [6])
        np.testing.assert_array_equal(found[0], want[2])


if __name__ == "__main__":
    unittest.main()
