# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""BlinkDL's package rwkv on PyTorch. Options: strategy (default "cpu fp32")."""

import os

import numpy as np

import models
import peers


class Peer(peers.Peer):
    def start(self):
        peers.require("torch", "rwkv")
        os.environ["RWKV_JIT_ON"] = "1"
        os.environ["RWKV_CUDA_ON"] = "0"
        os.environ["RWKV_V7_ON"] = str(int(self.model.version == 7))
        import torch
        from rwkv.model import RWKV

        self.torch, self.make = torch, RWKV
        torch.set_num_threads(self.threads)
        self.strategy = self.options.get("strategy", "cpu fp32")
        self.element_bytes = 4 if "fp32" in self.strategy else 2
        return peers.versions_of("rwkv", "torch")

    @property
    def file(self):
        return self.output / "model.pth"

    def prepare(self):
        weights = models.make_weights(self.model).items()
        self.torch.save(
            {name: self.torch.from_numpy(np.ascontiguousarray(array)) for name, array in weights}, self.file
        )
        return [self.file], []

    def load(self, use):
        self.runtime = self.make(model=str(self.file.with_suffix("")), strategy=self.strategy)
        self.reset()

    def reset(self):
        self.state = None

    def step(self, token):
        return self.prefill([token])

    def prefill(self, tokens):
        logits, self.state = self.runtime.forward(tokens, self.state)
        return logits.float().numpy()
