# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Exported graphs, run by onnxruntime, against the numpy reference and recorded logits."""

import contextlib
import io
import json
import os
import pathlib
import struct
import sys
import tempfile
import unittest

import numpy as np
import onnx
import onnxruntime

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "python"))

from rwkvc import export, reference  # noqa: E402  (needs the path above)
from rwkvc.checkpoint import CheckpointError, detect_version, load_checkpoint  # noqa: E402

DATA = ROOT / "test" / "data"
TOKENS = list(b'"in the ')
ATOL = 1e-4
EPS = reference.GROUP_NORM_EPS


def random_checkpoint(version, seed=0):
    """An untrained 2-layer checkpoint with every tensor of the version, of lively size."""
    rng = np.random.default_rng(seed)
    D, H, N, F, V, R = 16, 2, 8, 24, 32, 4
    major, minor = version

    def normal(*shape, scale=0.5):
        return rng.normal(0, scale, shape).astype(np.float32)

    def norm(name, width):
        return {name + ".weight": 1 + normal(width), name + ".bias": normal(width)}

    weights = {"emb.weight": normal(V, D), "head.weight": normal(V, D), **norm("ln_out", D)}
    weights.update(norm("blocks.0.ln0", D))
    for layer in range(2):
        att = {name + ".weight": normal(D, D) for name in ("receptance", "key", "value", "output")}
        att.update({} if major == 4 else norm("ln_x", D))
        if major in (4, 5):
            att.update({"time_mix_" + n: rng.random((1, 1, D), np.float32) for n in "rkvg"})
        if (major, minor) >= (5, 2) and major < 7:
            att.update({"gate.weight": normal(D, D), "time_faaaa": normal(H, N)})
        if major == 4:
            att.update(time_decay=normal(D), time_first=normal(D))
        elif (major, minor) == (5, 1):
            att.update(time_decay=normal(H), time_first=normal(H))
        elif major == 5:
            att.update(time_decay=normal(H, N))
        elif major == 6:
            att.update({"time_maa_" + n: normal(1, 1, D) for n in "xwkvrg"})
            att.update(time_maa_w1=normal(D, 5 * R), time_maa_w2=normal(5, R, D), time_decay=normal(1, 1, D))
            att.update(time_decay_w1=normal(D, R), time_decay_w2=normal(R, D))
        else:
            att.update({"x_" + n: normal(1, 1, D) for n in "rwkvag"}, r_k=normal(H, N))
            att.update({n: normal(1, 1, D) for n in ("w0", "a0", "v0", "k_k", "k_a")})
            att.update({n + "1": normal(D, R) for n in "wavg"}, **{n + "2": normal(R, D) for n in "wavg"})
        ffn = {"key.weight": normal(F, D), "value.weight": normal(D, F)}
        if major == 7:
            ffn["x_k"] = normal(1, 1, D)
        else:
            mix = "time_maa_" if major == 6 else "time_mix_"
            ffn.update({mix + n: rng.random((1, 1, D), np.float32) for n in "kr"})
            ffn["receptance.weight"] = normal(D, D)
        for part, tensors in (("att", att), ("ffn", ffn)):
            weights.update({f"blocks.{layer}.{part}.{n}": x for n, x in tensors.items()})
        weights.update(norm(f"blocks.{layer}.ln1", D) | norm(f"blocks.{layer}.ln2", D))
    return weights


def run_model(model, tokens):
    """Logits of all tokens from the empty state, by onnxruntime; model is a ModelProto or a path."""
    source = model.SerializeToString() if isinstance(model, onnx.ModelProto) else str(model)
    session = onnxruntime.InferenceSession(source, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    if not isinstance(model, onnx.ModelProto):
        model = onnx.load(model, load_external_data=False)
    state, rows = export.empty_state(model), []
    for token in tokens:
        out = dict(zip(names, session.run(names, {"token": np.array([token], np.int64), **state})))
        rows.append(out["logits"][0])
        state = {name: out["new_" + name] for name in state}
    return np.stack(rows), state


def write_safetensors(path, tensors):
    """name -> (dtype name, shape, bytes)."""
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, (kind, shape, data) in tensors.items():
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(t[2] for t in tensors.values()))


class ExportTest(unittest.TestCase):
    def assert_close(self, actual, expected):
        """Within ATOL, relative to the largest value where that exceeds 1."""
        self.assertLessEqual(np.abs(actual - expected).max(), ATOL * max(1, np.abs(expected).max()))

    def test_every_version_equals_the_reference(self):
        for version in ((4, 0), (5, 1), (5, 2), (6, 0), (7, 0)):
            for eps in (EPS, 1e-5):
                with self.subTest(version=version, eps=eps):
                    weights = random_checkpoint(version)
                    self.assertEqual(detect_version(weights), version)
                    model = export.export_model(weights, eps)
                    onnx.checker.check_model(model, full_check=True)
                    actual, state = run_model(model, range(12))
                    expected, last = reference.RWKV(weights, np.float64, eps).forward_token_by_token(range(12))
                    self.assert_close(actual, expected)
                    self.assert_close(state["state_1_ffn_shift"][0], last[1]["ffn_shift"])
                    if version != (4, 0):
                        self.assert_close(state["state_1_wkv"], last[1]["wkv"])

    def test_any_number_of_tokens(self):
        for version in ((4, 0), (5, 1), (5, 2), (6, 0), (7, 0)):
            for batch in (1, 2):
                with self.subTest(version=version, batch=batch):
                    weights = random_checkpoint(version)
                    model = export.export_model(weights, batch=batch, tokens="T", last_logits=batch == 2)
                    onnx.checker.check_model(model, full_check=True)
                    session = onnxruntime.InferenceSession(
                        model.SerializeToString(), providers=["CPUExecutionProvider"]
                    )
                    tokens = np.random.default_rng(1).integers(0, 32, (batch, 12))
                    state, logits = export.empty_state(model), []
                    for part in np.split(tokens, [5, 6], axis=1):
                        found = session.run(None, {"token": part, **state})
                        out = dict(zip([value.name for value in session.get_outputs()], found))
                        state = {name: out["new_" + name] for name in state}
                        logits.append(out["logits"])
                    for text in range(batch):
                        expected, _ = reference.RWKV(weights, np.float64).forward_token_by_token(tokens[text])
                        if batch == 2:
                            self.assert_close(np.stack([rows[text] for rows in logits]), expected[[4, 5, 11]])
                        else:
                            self.assert_close(np.concatenate([rows[text] for rows in logits]), expected)

    def test_recorded_logits(self):
        for name in ("seeded-v4-L3C64", "seeded-v7-L3C64H4", "tiny-rwkv-7v0-834K"):
            with self.subTest(name):
                weights = load_checkpoint(DATA / f"{name}.safetensors")
                actual, _ = run_model(export.export_model(weights), TOKENS)
                self.assert_close(actual, np.load(DATA / f"{name}.logits8.npy"))
        self.assert_close(actual[2], np.fromfile(DATA / "expected-logits-7v0-834K.bin", "<f4"))

    def test_recorded_logits_of_the_larger_collection(self):
        folder = os.environ.get("RWKVC_TEST_MODELS")
        if not folder:
            self.skipTest("RWKVC_TEST_MODELS is not set")
        folder = pathlib.Path(folder) / "weights"
        names = {"tiny-rwkv-4v0-660K": EPS, "tiny-rwkv-6v0-3m-deqQ5_1-first3": EPS}
        names |= {"tiny-rwkv-5v1-730K": 1e-5, "tiny-rwkv-5v2-730K": 1e-5}
        for name, eps in names.items():
            with self.subTest(name):
                actual, _ = run_model(export.export_model(load_checkpoint(folder / f"{name}.safetensors"), eps), TOKENS)
                suffix = ".eps1e-5.logits8.npy" if eps == 1e-5 else ".logits8.npy"
                self.assert_close(actual, np.load(folder / (name + suffix)))
                if "6v0" not in name:
                    expected = folder / f"expected-logits-{name.removeprefix('tiny-rwkv-')}.bin"
                    self.assert_close(actual[2], np.fromfile(expected, "<f4"))

    def test_command_line_and_external_data(self):
        with tempfile.TemporaryDirectory() as folder:
            out = pathlib.Path(folder) / "model.onnx"
            source = str(DATA / "seeded-v7-L3C64H4.safetensors")
            for _ in range(2):  # the second run replaces the files of the first
                with contextlib.redirect_stdout(io.StringIO()):
                    self.assertEqual(export.main([source, "-o", str(out), "--external-data"]), 0)
            data = out.with_suffix(".data").stat().st_size
            self.assertLess(data, 700_000)
            self.assertGreater(data, 500_000)
            actual, _ = run_model(out, TOKENS)
            self.assert_close(actual, np.load(DATA / "seeded-v7-L3C64H4.logits8.npy"))

    def test_reduced_precision_checkpoint(self):
        weights = random_checkpoint((7, 0))
        tensors = {}
        for number, (name, x) in enumerate(weights.items()):
            half = (x.view(np.uint32) >> 16).astype(np.uint16)
            weights[name] = (half.astype(np.uint32) << 16).view(np.float32) if number % 2 else x.astype(np.float16)
            stored = ("BF16", half) if number % 2 else ("F16", x.astype(np.float16))
            tensors[name] = (stored[0], list(x.shape), stored[1].tobytes())
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "half.safetensors"
            write_safetensors(path, tensors)
            loaded = load_checkpoint(path)
            for name, x in weights.items():
                np.testing.assert_array_equal(loaded[name], x, name)


class RefusalTest(unittest.TestCase):
    def refuse(self, message, call):
        with self.assertRaisesRegex(CheckpointError, message):
            call()

    def test_unusable_tensors(self):
        key = "blocks.1.att.key.weight"
        for version in ((4, 0), (7, 0)):
            weights = random_checkpoint(version)
            without = {n: x for n, x in weights.items() if n != key}
            self.refuse(f"tensor '{key}' is missing", lambda w=without: export.export_model(w))
            wrong = weights | {key: weights[key][1:]}
            self.refuse(rf"tensor '{key}' has shape \[15, 16\]; expected", lambda w=wrong: export.export_model(w))
        gap = {n: x for n, x in random_checkpoint((7, 0)).items() if not n.startswith("blocks.0.")}
        self.refuse("not an RWKV", lambda: export.export_model(gap))
        self.refuse("not an RWKV", lambda: export.export_model({"model.embed_tokens.weight": np.zeros((2, 2))}))
        skip = {n.replace("blocks.1.", "blocks.2."): x for n, x in random_checkpoint((7, 0)).items()}
        self.refuse("blocks are not numbered", lambda: export.export_model(skip))

    def test_unusable_options(self):
        weights = random_checkpoint((7, 0))
        with self.assertRaisesRegex(ValueError, "opset 17"):
            export.export_model(weights, opset=17)
        with self.assertRaisesRegex(ValueError, "epsilon"):
            export.export_model(weights, group_norm_eps=0.0)
        for tokens in (0, ""):
            with self.assertRaisesRegex(ValueError, "tokens of 1 texts"):
                export.export_model(weights, tokens=tokens)

    def test_malformed_files(self):
        whole = (DATA / "seeded-v4-L3C64.safetensors").read_bytes()
        length = struct.unpack("<Q", whole[:8])[0]
        cases = {
            "empty": (b"", "0 bytes long"),
            "truncated header": (whole[:100], "truncated"),
            "truncated data": (whole[:-100], "tensor '.*': data lies outside the file"),
            "not JSON": (whole[:8] + b"x" * length + whole[8 + length :], "not JSON"),
            "huge header": (b"\xff" * 16, "not a safetensors file"),
        }
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "bad.safetensors"
            for name, (data, message) in cases.items():
                with self.subTest(name):
                    path.write_bytes(data)
                    self.refuse(message, lambda: load_checkpoint(path))
            write_safetensors(path, {"blocks.0.att.r_k": ("F32", [2, 3], bytes(8))})
            self.refuse("do not hold F32 elements", lambda: load_checkpoint(path))
            write_safetensors(path, {"blocks.0.att.r_k": ("I64", [1], bytes(8))})
            self.refuse("element type I64; expected", lambda: load_checkpoint(path))
            missing = str(pathlib.Path(folder) / "none.safetensors")
            errors = io.StringIO()
            with contextlib.redirect_stderr(errors):
                self.assertEqual(export.main([missing, "-o", str(path) + ".onnx"]), 1)
            self.assertIn("none.safetensors: cannot be read", errors.getvalue())


class ReferenceTest(unittest.TestCase):
    def test_parallel_equals_recurrent(self):
        tokens = np.random.default_rng(1).integers(0, 32, 70)
        for version in ((4, 0), (5, 1), (5, 2), (6, 0), (7, 0)):
            with self.subTest(version=version):
                model = reference.RWKV(random_checkpoint(version), np.float64)
                parallel, _ = model.forward(tokens, chunk=32)
                recurrent, _ = model.forward_token_by_token(tokens)
                np.testing.assert_allclose(parallel, recurrent, atol=1e-9)


if __name__ == "__main__":
    unittest.main()
