# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Files that compute several texts, over one token and over several: every function against the float64 reference."""

import pathlib
import tempfile
import unittest

import numpy as np
import onnx
from onnx import helper
from test_export import random_checkpoint
from test_forms import compute_expected, difference, find_worst
from test_sequence_ops import export, reference, rwkvc

RTOL = 1e-4  # of the largest value; v6 with random weights, in float32: onnxruntime is off by 5e-5
VERSIONS = ((4, 0), (5, 1), (5, 2), (6, 0), (7, 0))


def move_batch_last(model):
    """The same model with the texts as the last axis of its state inputs and outputs."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    graph = changed.graph
    for values, node_of in (
        (graph.input, lambda name, perm: helper.make_node("Transpose", [name], [name + "_first"], perm=perm)),
        (graph.output, lambda name, perm: helper.make_node("Transpose", [name + "_first"], [name], perm=perm)),
    ):
        for value in values:
            if value.name in ("token", "logits"):
                continue
            dims = [d.dim_value for d in value.type.tensor_type.shape.dim]
            for node in graph.node:
                for names in (node.input, node.output):
                    for i, name in enumerate(names):
                        if name == value.name:
                            names[i] = name + "_first"
            last = [*range(1, len(dims)), 0]
            is_input = values is graph.input
            node = node_of(value.name, [len(dims) - 1, *range(len(dims) - 1)] if is_input else last)
            graph.node.insert(0, node) if is_input else graph.node.append(node)
            value.CopyFrom(helper.make_tensor_value_info(value.name, onnx.TensorProto.FLOAT, [dims[i] for i in last]))
    onnx.checker.check_model(changed, full_check=True)
    return changed


class BatchedFiles(unittest.TestCase):
    def compile(self, model, *arguments):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        path = pathlib.Path(folder.name) / "m.so"
        compiled = rwkvc.load(rwkvc.compile(model, path, arguments=["--prefill-block=8", *arguments], threads=False))
        self.assertEqual(set(compiled.functions), {"graph", "step", "prefill", "unpack", "pack"})
        return compiled

    def check_sequence(self, compiled, model, n=21):
        """Blocks and steps, for as many texts as the compiled model has."""
        tokens = np.random.default_rng(7).integers(model.n_vocab, size=(compiled.batch, n))
        expected = compute_expected(model, tokens)
        for pieces in ([tokens], np.split(tokens, n, axis=1), np.split(tokens, [1, 9, 11], axis=1)):
            sequence = compiled.sequence()
            for piece in pieces:
                found = sequence.prefill(piece)
            name, error = find_worst(sequence, found, expected)
            self.assertLess(error, RTOL, f"{name} after {n} tokens in {len(pieces)} pieces")

    def check_graph(self, compiled, model, batch, tokens):
        """Three calls of the file's own function, which hand the state on."""
        ids = np.random.default_rng(8).integers(model.n_vocab, size=(batch, 3 * tokens))
        expected = np.stack([model.forward(row, form="recurrent")[0] for row in ids])
        state = {}
        for call in range(3):
            part = ids[:, call * tokens : (call + 1) * tokens]
            found = compiled.run({"token": part if tokens > 1 else part[:, 0], **state})
            state = {name.removeprefix("new_"): array for name, array in found.items() if name != "logits"}
            want = expected[:, call * tokens : (call + 1) * tokens]
            self.assertLess(difference(found["logits"].reshape(want.shape), want), RTOL)

    def check(self, version, batch, tokens, change=lambda model: model):
        weights = random_checkpoint(version)
        model = reference.RWKV(weights, np.float64)
        compiled = self.compile(change(export.export_model(weights, batch=batch, tokens=tokens)))
        self.assertEqual(compiled.batch, batch)  # without --batch: the file's own number
        self.check_sequence(compiled, model)
        self.check_graph(compiled, model, batch, tokens)

    def test_one_token(self):
        for version in VERSIONS:
            for batch in (2, 3):
                with self.subTest(version=version, batch=batch):
                    self.check(version, batch, 1)

    def test_several_tokens(self):
        for version in VERSIONS:
            for batch, tokens in ((1, 4), (2, 4), (3, 3), (3, 5)):
                with self.subTest(version=version, batch=batch, tokens=tokens):
                    self.check(version, batch, tokens)

    def test_states_with_the_batch_last(self):
        for version in VERSIONS:
            for batch, tokens in ((3, 1), (2, 4)):
                with self.subTest(version=version, batch=batch, tokens=tokens):
                    self.check(version, batch, tokens, move_batch_last)

    def test_other_numbers_of_texts(self):
        for version in VERSIONS:
            for batch in (1, 4):
                with self.subTest(version=version, batch=batch):
                    weights = random_checkpoint(version)
                    compiled = self.compile(export.export_model(weights, batch=2, tokens=3), f"--batch={batch}")
                    self.assertEqual(compiled.batch, batch)
                    self.check_sequence(compiled, reference.RWKV(weights, np.float64))


if __name__ == "__main__":
    unittest.main()
