# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Blocks of tokens, single tokens and mixtures of both, of every version, against the float64 reference."""

import pathlib
import tempfile
import unittest

import numpy as np
from test_export import random_checkpoint
from test_sequence_ops import export, reference, rwkvc

RTOL = 1e-5  # of the largest logit or state element


def difference(found, expected):
    """Largest relative to the tensor's largest element. No number never agrees."""
    error = np.abs(found.astype(np.float64) - expected).max() / np.abs(expected).max()
    return error if np.isfinite(error) else np.inf


def expected_states(model, state):
    """The reference's state under the names of the compiled model's."""
    names = {}
    for layer, parts in enumerate(state):
        names[f"shift.{2 * layer}"], names[f"shift.{2 * layer + 1}"] = parts["att_shift"], parts["ffn_shift"]
        wkv = zip(("num", "den", "max"), parts["wkv"]) if model.major == 4 else [("", parts["wkv"])]
        names |= {f"wkv.{layer}.{name}".rstrip("."): value for name, value in wkv}
    return names


def compute_expected(model, tokens):
    """The reference's last logits and its states, of each row of tokens."""
    truth = [model.forward(row, form="recurrent") for row in tokens]
    return np.stack([rows[-1] for rows, _ in truth]), [expected_states(model, state) for _, state in truth]


def find_worst(sequence, found, expected):
    """(name, difference) of the logits found or the state of sequence that is farthest from compute_expected's."""
    logits, states = expected
    errors = {"logits": difference(found, logits)}
    for name, value in sequence.states().items():
        want = np.stack([state[name] for state in states])
        errors[name] = difference(value.reshape(want.shape), want)
    return max(errors.items(), key=lambda error: error[1])


class Forms(unittest.TestCase):
    def check(self, version, batch, lengths):
        rng = np.random.default_rng(7)
        weights = random_checkpoint(version)
        model = reference.RWKV(weights, np.float64)
        worst = 0.0
        with tempfile.TemporaryDirectory() as folder:
            path = rwkvc.compile(
                export.export_model(weights),
                pathlib.Path(folder) / "m.so",
                arguments=[f"--batch={batch}"],
                threads=False,
            )
            compiled = rwkvc.load(path)
            for n in lengths:
                tokens = rng.integers(model.n_vocab, size=(batch, n))
                expected = compute_expected(model, tokens)
                cuts = np.sort(rng.integers(1, n, size=3)) if n > 3 else []
                for pieces in ([tokens], np.split(tokens, cuts, axis=1)):
                    sequence = compiled.sequence()
                    for piece in pieces:
                        if piece.size:
                            found = sequence.prefill(piece)
                    name, error = find_worst(sequence, found, expected)
                    worst = max(worst, error)
                    self.assertLess(error, RTOL, f"{name} after {n} tokens in {len(pieces)} pieces")
        print(f"v{version[0]}.{version[1]}, batch {batch}, n {lengths}: largest relative error {worst:.1e}", flush=True)

    def test_against_reference(self):
        for version in ((4, 0), (5, 1), (5, 2), (6, 0), (7, 0)):
            for batch, lengths in ((1, (1, 2, 3, 7, 64, 65, 1000, 4096)), (3, (1, 2, 3, 7, 64, 65, 130))):
                with self.subTest(version=version, batch=batch):
                    self.check(version, batch, lengths)


if __name__ == "__main__":
    unittest.main()
