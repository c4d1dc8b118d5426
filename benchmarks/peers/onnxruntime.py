# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""ONNX Runtime on its CPU provider: the one-token file to decode, the file with Scan for prompts.

States stay in buffers of the runtime's; the outputs of a call are the inputs of the next.

Options: quantize, what its own quantiser makes of products with a matrix: MatMulInteger, 8 bits and a scale for each
column, times activations of 8 bits; MatMulNBits, integers of `bits` (4) and a float32 scale for each block of 32.
"""

import numpy as np

import peers

BLOCK = 32


class Peer(peers.Peer):
    def start(self):
        peers.require("onnxruntime")
        import onnxruntime

        self.runtime = onnxruntime
        self.quantize, self.bits = self.options.get("quantize"), self.options.get("bits", 4)
        self.prepares = self.quantize is not None
        if self.quantize == "MatMulInteger":
            self.element_bytes = 1
        elif self.quantize == "MatMulNBits":
            peers.require("onnx_ir")
            self.element_bytes = self.bits / 8 + 4 / BLOCK
        elif self.quantize:
            raise ValueError(f"quantize: {self.quantize}: expected MatMulInteger or MatMulNBits")
        return peers.versions_of("onnxruntime")

    def file(self, name):
        return (self.output if self.quantize else self.folder) / f"{name}.onnx"

    def prepare(self):
        if not self.quantize:
            return [self.folder / "model.data"], [self.file("model")]
        for name in ("model", "sequence"):
            source = self.folder / f"{name}.onnx"
            if self.quantize == "MatMulInteger":
                from onnxruntime.quantization import quantize_dynamic

                options = {"op_types_to_quantize": ["MatMul"], "per_channel": True}
                quantize_dynamic(source, self.file(name), use_external_data_format=True, **options)
            else:
                import onnx
                from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

                # Activations of 8 bits, which is what its kernels are fastest with.
                options = {"block_size": BLOCK, "is_symmetric": True, "accuracy_level": 4}
                quantizer = MatMulNBitsQuantizer(onnx.load(source), bits=self.bits, **options)
                quantizer.process()
                quantizer.model.save_model_to_file(str(self.file(name)), use_external_data_format=True)
        return sorted(self.output.glob("model.onnx*")), []

    def load(self, use):
        options = self.runtime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        file = self.file("model" if use == "decode" else "sequence")
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
