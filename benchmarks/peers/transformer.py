# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A transformer with as many layers, channels, heads and tokens as the model, in ONNX Runtime's CPU provider.

Attention is the runtime's own kernel GroupQueryAttention, with rotary positions and a cache of keys and values that it writes in
place. A layer has the matrices of RWKV's: four for attention, two for a channel mix of four times the width. Weights are seeded and have
nothing to do with the model's, so only time and memory can be compared.

Options: longest, tokens of the cache (default 66000); computed: longer texts do not compute the cache, which would take hours, but
fill it (default 8192).
"""

import numpy as np

import models
import peers


class _Graph:
    """The nodes and seeded weights of the transformer."""

    def __init__(self, model, longest, helper):
        self.model, self.longest, self.helper = model, longest, helper
        self.generator = np.random.default_rng(0)
        self.nodes, self.weights = [], {}

    def op(self, kind, *args, outputs=(), **attributes):
        names = [f"{kind}_{len(self.nodes)}", *outputs]
        self.nodes.append(self.helper.make_node(kind, args, names, name=names[0], **attributes))
        return names[0]

    def weight(self, name, *extents, scale=1.0, mean=0.0):
        values = self.generator.standard_normal(extents, dtype=np.float32) * np.float32(scale) + np.float32(mean)
        self.weights[name] = values.astype(np.float32)
        return name

    def matrix(self, name, rows, columns):
        return self.weight(name, rows, columns, scale=rows**-0.5)

    def norm(self, x, name):
        width = self.model.width
        scale, bias = (
            self.weight(f"{name}.scale", width, scale=0.1, mean=1),
            self.weight(f"{name}.bias", width, scale=0.1),
        )
        return self.op("LayerNormalization", x, scale, bias, axis=-1, epsilon=1e-5)

    def build(self):
        model, width = self.model, self.model.width
        heads, half = width // models.HEAD_SIZE, models.HEAD_SIZE // 2
        angles = np.outer(np.arange(self.longest), 10000.0 ** (-np.arange(half) / half))
        self.weights |= {"cos": np.cos(angles).astype(np.float32), "sin": np.sin(angles).astype(np.float32)}
        x = self.op("Gather", self.weight("embedding", model.tokens, width), "token", axis=0)
        for layer in range(model.layers):
            y = self.norm(x, f"{layer}.attention.norm")
            rows = [self.op("MatMul", y, self.matrix(f"{layer}.{name}", width, width)) for name in "qkv"]
            cache = [f"{kind}_{layer}" for kind in ("key", "value")]
            y = self.op(
                "GroupQueryAttention",
                *rows,
                *cache,
                "last",
                "length",
                "cos",
                "sin",
                outputs=[f"new_{name}" for name in cache],
                domain="com.microsoft",
                num_heads=heads,
                kv_num_heads=heads,
                do_rotary=1,
            )
            x = self.op("Add", x, self.op("MatMul", y, self.matrix(f"{layer}.output", width, width)))
            y = self.op("MatMul", self.norm(x, f"{layer}.mix.norm"), self.matrix(f"{layer}.mix.in", width, 4 * width))
            x = self.op(
                "Add", x, self.op("MatMul", self.op("Relu", y), self.matrix(f"{layer}.mix.out", 4 * width, width))
            )
        self.weights["index"] = np.array(-1)
        x = self.norm(self.op("Gather", x, "index", axis=1), "norm")
        self.nodes.append(self.helper.make_node("MatMul", [x, self.matrix("head", width, model.tokens)], ["logits"]))


class Peer(peers.Peer):
    compares = False

    def start(self):
        peers.require("onnxruntime")
        import onnxruntime

        self.runtime = onnxruntime
        self.longest = self.options.get("longest", 66000)
        self.computed = self.options.get("computed", 8192)
        self.notes = {"lengths": f"after {self.computed} tokens the cache of keys and values is filled, not computed"}
        return peers.versions_of("onnxruntime")

    @property
    def file(self):
        return self.output / "transformer.onnx"

    def caches(self):
        shape = (1, self.model.width // models.HEAD_SIZE, self.longest, models.HEAD_SIZE)
        for layer in range(self.model.layers):
            for kind in ("key", "value"):
                yield f"{kind}_{layer}", shape

    def prepare(self):
        import onnx
        from onnx import TensorProto, helper, numpy_helper

        graph = _Graph(self.model, self.longest, helper)
        graph.build()
        inputs = [("token", TensorProto.INT64, [1, "T"]), ("last", TensorProto.INT32, [1])]
        inputs.append(("length", TensorProto.INT32, []))
        inputs += [(name, TensorProto.FLOAT, shape) for name, shape in self.caches()]
        outputs = [("logits", TensorProto.FLOAT, [1, self.model.tokens])]
        outputs += [(f"new_{name}", TensorProto.FLOAT, shape) for name, shape in self.caches()]
        infos = ([helper.make_tensor_value_info(*value) for value in values] for values in (inputs, outputs))
        weights = [numpy_helper.from_array(array, name) for name, array in graph.weights.items()]
        opsets = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
        model = helper.make_model(helper.make_graph(graph.nodes, "transformer", *infos, weights), opset_imports=opsets)
        model.ir_version = 10
        data = self.file.with_suffix(".data")
        data.unlink(missing_ok=True)
        onnx.save_model(model, self.file, save_as_external_data=True, location=data.name, size_threshold=1024)
        return [data], [self.file]

    def load(self, use):
        options = self.runtime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        self.session = self.runtime.InferenceSession(self.file, options, providers=["CPUExecutionProvider"])
        # Memory that is taken when it is written.
        self.cache = {name: np.zeros(shape, np.float32) for name, shape in self.caches()}
        self.logits = np.empty((1, self.model.tokens), np.float32)
        self.binding = self.session.io_binding()
        self.binding.bind_output("logits", "cpu", 0, np.float32, self.logits.shape, self.logits.ctypes.data)
        for name, array in self.cache.items():
            place = ("cpu", 0, np.float32, array.shape, array.ctypes.data)
            self.binding.bind_input(name, *place)
            self.binding.bind_output(f"new_{name}", *place)
        self.reset()

    def reset(self):
        self.length = 0

    def step(self, token):
        return self.prefill([token])

    def prefill(self, tokens):
        self.length += len(tokens)
        self.binding.bind_cpu_input("token", np.array([tokens], np.int64))
        self.binding.bind_cpu_input("last", np.array([self.length - 1], np.int32))
        self.binding.bind_cpu_input("length", np.array(self.length, np.int32))
        self.session.run_with_iobinding(self.binding)
        return self.logits[0]

    def skip(self, tokens):
        end = self.length + tokens
        if end <= self.computed:
            return False
        for array in self.cache.values():
            array[:, :, self.length : end] = 0.01
        self.length = end
        return True
