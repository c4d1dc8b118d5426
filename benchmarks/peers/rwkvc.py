# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""This compiler. Options: quantize, a format of rwkvc's; arguments, a list for its command line (default: --mcpu=native);
device, what runs the model, as rwkv-run --device names it (default: what the model has code for)."""

import pathlib
import sys

import peers

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "python"))


# Of most matrices; those of low-rank projections are wider in int4.
ELEMENT_BITS = {None: 32, "bf16": 16, "fp16": 16, "int8": 8.5, "int4": 4.5}


class Peer(peers.Peer):
    def start(self):
        import rwkvc

        self.rwkvc = rwkvc
        self.arguments = list(self.options.get("arguments", ["--mcpu=native"]))
        quantize = self.options.get("quantize")
        self.element_bytes = ELEMENT_BITS[quantize] / 8
        if quantize:
            self.arguments.append(f"--quantize={quantize}")
        return {}

    @property
    def library(self):
        return self.output / "model.so"

    def prepare(self):
        self.rwkvc.compile(self.folder / "model.onnx", self.library, arguments=self.arguments)
        return [self.library.with_suffix(".safetensors")], [self.library]

    def load(self, use):
        self.rwkvc.set_num_threads(self.threads)
        self.sequence = self.rwkvc.load(self.library, device=self.options.get("device")).sequence()
        self.reset, self.step, self.prefill = self.sequence.reset, self.sequence.step, self.sequence.prefill
