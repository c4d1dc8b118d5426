# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""ONNX Runtime on its CPU provider: the one-token file to decode, the file with Scan for prompts.

States stay in buffers of the runtime's; the outputs of a call are the inputs of the next.
"""

import numpy as np

import peers


class Peer(peers.Peer):
    prepares = False

    def start(self):
        peers.require("onnxruntime")
        import onnxruntime

        self.runtime = onnxruntime
        return peers.versions_of("onnxruntime")

    def prepare(self):
        files = [self.folder / "model.onnx", self.folder / "model.data"]
        return files[1:], files[:1]

    def load(self, use):
        options = self.runtime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        file = self.folder / ("model.onnx" if use == "decode" else "sequence.onnx")
        self.session = self.runtime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        logits = next(value for value in self.session.get_outputs() if value.name == "logits")
        self.logits = self.runtime.OrtValue.ortvalue_from_numpy(np.empty(logits.shape, np.float32))
        self.reset()

    def reset(self):
        """Two sets of buffers for the states, which take turns."""
        shapes = {value.name: value.shape for value in self.session.get_inputs() if value.name != "token"}
        new = self.runtime.OrtValue.ortvalue_from_numpy
        sets = [
            {
                name: new(np.full(shape, -1e30 if name.endswith("_pp") else 0, np.float32))
                for name, shape in shapes.items()
            }
            for _ in range(2)
        ]
        self.bindings = []
        for old, following in (sets, sets[::-1]):
            binding = self.session.io_binding()
            binding.bind_ortvalue_output("logits", self.logits)
            for name, value in old.items():
                binding.bind_ortvalue_input(name, value)
                binding.bind_ortvalue_output("new_" + name, following[name])
            self.bindings.append(binding)

    def feed(self, tokens):
        self.bindings[0].bind_cpu_input("token", tokens)
        self.session.run_with_iobinding(self.bindings[0])
        self.bindings.reverse()
        return self.logits.numpy().reshape(-1)

    def step(self, token):
        return self.feed(np.array([token], np.int64))

    def prefill(self, tokens):
        return self.feed(np.array([tokens], np.int64))
