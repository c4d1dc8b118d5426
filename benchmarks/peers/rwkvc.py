# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""This compiler. Options: arguments, a list for rwkvc's command line (default: --mcpu=native)."""

import pathlib
import sys

import peers

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "python"))


class Peer(peers.Peer):
    def start(self):
        import rwkvc

        self.rwkvc = rwkvc
        return {}

    @property
    def library(self):
        return self.output / "model.so"

    def prepare(self):
        self.rwkvc.compile(
            self.folder / "model.onnx", self.library, arguments=self.options.get("arguments", ["--mcpu=native"])
        )
        return [self.library.with_suffix(".safetensors")], [self.library]

    def load(self, use):
        self.rwkvc.set_num_threads(self.threads)
        self.sequence = self.rwkvc.load(self.library).sequence()
        self.reset, self.step, self.prefill = self.sequence.reset, self.sequence.step, self.sequence.prefill
