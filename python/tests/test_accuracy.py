# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""rwkvc.accuracy: a bundled model against itself in fewer bits, limits, and what is refused."""

import contextlib
import io
import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "python"))

import rwkvc  # noqa: E402  (needs the path above)
from rwkvc import accuracy  # noqa: E402
from rwkvc.compiler import find_driver  # noqa: E402

DATA = ROOT / "test" / "data"
MODEL = "v7_rwkvpip_rec_o17_fp32_seeded"
TEXT = b"The quick brown fox jumps over the lazy dog."


class Accuracy(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name)
        cls.models = {
            "fp32": cls.build("fp32", MODEL),
            "int8": cls.build("int8", MODEL, "--quantize=int8"),
            "int4": cls.build("int4", MODEL, "--quantize=int4"),
            "other": cls.build("other", "v4_hf_rec_o14_fp32_seeded"),
        }
        (cls.folder / "text").write_bytes(TEXT)

    @classmethod
    def build(cls, name, model, *arguments):
        library = cls.folder / f"{name}.so"
        subprocess.run([find_driver(), "-q", DATA / f"{model}.onnx", "-o", library, *arguments], check=True)
        return library

    def compare(self, name):
        return accuracy.compare(rwkvc.load(self.models["fp32"]), rwkvc.load(self.models[name]), list(TEXT))

    def run_main(self, *arguments):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = accuracy.main([str(argument) for argument in arguments])
        return status, out.getvalue(), err.getvalue()

    def test_same_model(self):
        found = self.compare("fp32")
        self.assertEqual(found.tokens, len(TEXT))
        self.assertEqual(found.perplexity, found.reference_perplexity)
        self.assertEqual((found.kl, found.max_logits_error, found.same_best), (0, 0, 1))
        self.assertEqual(set(found.state_errors.values()), {0})

    def test_fewer_bits_err_more(self):
        eight, four = self.compare("int8"), self.compare("int4")
        self.assertGreater(eight.logits_error, 0)
        self.assertGreater(four.logits_error, 2 * eight.logits_error)
        self.assertGreater(four.kl, eight.kl)
        self.assertGreaterEqual(eight.max_logits_error, eight.logits_error)
        self.assertEqual(len(eight.state_errors), 9)
        for name, error in eight.state_errors.items():
            self.assertGreater(error, 0, name)
            self.assertGreaterEqual(four.state_errors[name], error, name)

    def test_limits(self):
        text = ("--text", self.folder / "text")
        status, out, err = self.run_main(self.models["fp32"], self.models["int8"], *text, "--max-kl", 1)
        self.assertEqual((status, err), (0, ""))
        self.assertRegex(out, r"perplexity +\d")
        status, _, err = self.run_main(self.models["fp32"], self.models["int4"], *text, "--max-logits-error", 1e-3)
        self.assertEqual(status, 1)
        self.assertRegex(err, r"error of logits \S+ is beyond 0.001")

    def test_refused(self):
        tokens = self.folder / "tokens"
        cases = {
            "1 2 three": "expected numbers of tokens",
            "1 2 300": "token 300: the model has 256",
            "1": "1 tokens; expected at least 2",
        }
        for text, message in cases.items():
            tokens.write_text(text)
            status, _, err = self.run_main(self.models["fp32"], self.models["int8"], "--tokens", tokens)
            self.assertEqual(status, 1)
            self.assertIn(message, err)
        tokens.write_text("1, 2")
        status, _, err = self.run_main(self.models["fp32"], self.models["other"], "--tokens", tokens)
        self.assertEqual(status, 1)
        self.assertIn("different states", err)


if __name__ == "__main__":
    unittest.main()
