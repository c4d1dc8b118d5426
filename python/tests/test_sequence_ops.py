# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""WKV operators of other domains, LinearAttention and CausalConvWithState: compiled, against float64 numpy."""

import json
import pathlib
import subprocess
import sys
import tempfile
import unittest
from unittest import mock

import numpy as np
import onnx
import onnx.inliner
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from test_export import random_checkpoint

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "python"))

import rwkvc  # noqa: E402  (needs the path above)
from rwkvc import export, reference  # noqa: E402
from rwkvc.compiler import find_driver  # noqa: E402

FLOAT, HALF, DOUBLE = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE
ATOL = 2e-5


def make_model(nodes, inputs, outputs, constants=(), domains=(), value_info=(), opset=17):
    """inputs: name -> array; outputs: name -> (type, shape); constants: name -> array."""
    infos = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in inputs.items()
    ]
    results = [helper.make_tensor_value_info(name, *type) for name, type in outputs.items()]
    tensors = [numpy_helper.from_array(array, name) for name, array in dict(constants).items()]
    graph = helper.make_graph(nodes, "graph", infos, results, tensors, value_info=list(value_info))
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=13 if opset > 23 else 9)


def expand(model, operator):
    """With the operator's function inlined, as some tools leave it."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    # The library's inliner wants types of constants and of operands that are left out, and attributes written out.
    changed.graph.value_info.add().name = ""
    for tensor in changed.graph.initializer:
        changed.graph.value_info.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    (node,) = (node for node in changed.graph.node if node.op_type == operator)
    given = {attribute.name for attribute in node.attribute}
    for name, attribute in onnx.defs.get_schema(operator, 27, "").attributes.items():
        if name not in given and not attribute.required:
            node.attribute.append(attribute.default_value)
    return onnx.inliner.inline_selected_functions(changed, [("", operator)], inline_schema_functions=True)


class Numbers:
    """Random operands of a recurrence, in float32 or another type, and float64 for the reference."""

    def __init__(self, T, H, K, V=None, seed=0, dtype=np.float32):
        self.random = np.random.default_rng(seed)
        V = V or K
        self.r, self.k = self.normal(T, H, K), self.normal(T, H, K)
        self.v = self.normal(T, H, V)
        self.lw = -np.exp(self.normal(T, H, K) - 1)
        self.u, self.S = self.normal(H, K), self.normal(H, K, V)
        kk = self.normal(T, H, K)
        kk /= np.linalg.norm(kk, axis=-1, keepdims=True)
        self.a, self.b = -kk, kk * reference.sigmoid(self.normal(T, H, K))
        for name, array in vars(self).items():
            if isinstance(array, np.ndarray):
                setattr(self, name, array.astype(dtype))

    def normal(self, *shape):
        return self.random.normal(0, 1, shape)

    def wide(self, *names):
        return [getattr(self, name).astype(np.float64) for name in names]

    def wkv6(self, lw=None):
        r, k, v, own, u, S = self.wide("r", "k", "v", "lw", "u", "S")
        return reference.wkv6_recurrent(r, k, v, own if lw is None else lw.astype(np.float64), u, S)

    def wkv7(self, lw=None):
        r, k, v, own, a, b, S = self.wide("r", "k", "v", "lw", "a", "b", "S")
        lw = own if lw is None else lw.astype(np.float64)
        return reference.wkv7_recurrent(r, lw, k, v, a, b, S.swapaxes(1, 2))


class Compiling(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def compile(self, model, *arguments, name="model"):
        return rwkvc.load(rwkvc.compile(model, self.folder / f"{name}.so", arguments=arguments, threads=False))

    def check(self, model, inputs, expected, *arguments, raised=None, atol=ATOL):
        """expected: name -> array. raised: how often each op of the wkv dialect must be there."""
        found = self.compile(model, *arguments).run(inputs)
        for name, array in expected.items():
            error = np.abs(found[name].astype(np.float64) - array.reshape(found[name].shape)).max(initial=0)
            self.assertLess(error, atol, name)
        path = self.folder / "model.onnx"
        onnx.save(model, path)
        command = [find_driver(), path, "--explain=json", "-q", *arguments]
        report = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        self.assertEqual({k: v for k, v in report["raised"].items() if "decay" not in k}, raised)
        return report

    def refuse(self, model, message, *arguments):
        with self.assertRaisesRegex(rwkvc.CompileError, message):
            self.compile(model, *arguments)


# -- operators of other domains ----------------------------------------------------------------------------------------


def decay_nodes(name):
    """w = exp(-exp(x)), as exporters compute it before the operator."""
    names = [name + suffix for suffix in ("_logit", "_e", "_n", "")]
    return [helper.make_node(op, [x], [y]) for op, x, y in zip(("Exp", "Neg", "Exp"), names, names[1:])]


class Qualcomm(Compiling):
    """The operators of the domain `rwkv`, in the shapes that its exporters give them."""

    def test_wkv6(self):
        for T, style in ((1, "rows"), (7, "rows"), (7, "heads"), (4, "column")):
            with self.subTest(T=T, style=style):
                n = Numbers(T, 4, 8)
                shape = {"rows": (T * 4, 8), "heads": (T, 4, 8), "column": (T, 4, 8, 1)}[style]
                logit = np.log(-n.lw)
                inputs = {"k": n.k, "v": n.v, "r": n.r, "w_logit": logit}
                inputs = {name: array.reshape(shape) for name, array in inputs.items()}
                inputs["state_in"] = n.S[None] if T != 4 else n.S
                node = helper.make_node(
                    "wkv6", ["k", "v", "r", "state_in", "u", "w"], ["y", "state_out"], "att", domain="rwkv"
                )
                outputs = {"y": (FLOAT, [T, 4, 1, 8]), "state_out": (FLOAT, inputs["state_in"].shape)}
                u = {"u": n.u.reshape(4, 8, 1)}
                model = make_model([*decay_nodes("w"), node], inputs, outputs, u, ["rwkv"])
                y, S = n.wkv6(-np.exp(logit))
                report = self.check(model, inputs, {"y": y, "state_out": S}, raised={"wkv.wkv6": 1})
                self.assertEqual(report["raised"]["wkv.decay"], 1)

    def test_wkv6_in_head_groups(self):
        T, H, G = 3, 8, 4
        n = Numbers(T, H, 4)
        inputs = {"k": n.k, "v": n.v, "r": n.r, "w": np.exp(n.lw), "state_in": n.S[None]}
        nodes = [
            helper.make_node("Split", [name, "sizes"], [f"{name}{i}" for i in range(G)], axis=1) for name in inputs
        ]
        nodes += [
            helper.make_node(
                "wkv6",
                [f"k{i}", f"v{i}", f"r{i}", f"state_in{i}", f"u{i}", f"w{i}"],
                [f"y{i}", f"s{i}"],
                domain="rwkv",
            )
            for i in range(G)
        ]
        nodes += [
            helper.make_node("Concat", [f"y{i}" for i in range(G)], ["y"], axis=1),
            helper.make_node("Concat", [f"s{i}" for i in range(G)], ["state_out"], axis=1),
        ]
        constants = {f"u{i}": n.u[2 * i : 2 * i + 2] for i in range(G)} | {"sizes": np.full(G, H // G)}
        outputs = {"y": (FLOAT, [T, H, 1, 4]), "state_out": (FLOAT, [1, H, 4, 4])}
        model = make_model(nodes, inputs, outputs, constants, ["rwkv"])
        y, S = n.wkv6()
        self.check(model, inputs, {"y": y, "state_out": S}, raised={"wkv.wkv6": 1})

    def wkv7_model(self, n, T, packed, declared=True, dtype=FLOAT, opset_import=True):
        H, N = n.S.shape[0], n.S.shape[1]
        state = n.S.swapaxes(1, 2)[None].copy()
        inputs = {name: getattr(n, name) for name in "rkvab"} | {"w": np.exp(n.lw).astype(n.r.dtype)}
        inputs["state_in"] = state
        operands = ["r", "w", "k", "v", "a", "b", "state_in"]
        if packed:
            nodes = [
                helper.make_node("wkv7", operands, ["both"], "att", domain="rwkv"),
                helper.make_node("wkv7_output_x", ["both"], ["x"], domain="rwkv"),
                helper.make_node("wkv7_output_state", ["both"], ["state_out"], domain="rwkv"),
            ]
        else:
            nodes = [helper.make_node("wkv7", operands, ["x", "state_out"], "att", domain="rwkv")]
        nodes.append(helper.make_node("Transpose", ["x"], ["y"], perm=[2, 0, 1, 3]))
        infos = []
        if declared:
            infos = [helper.make_tensor_value_info("x", dtype, [T, H, 1, N])]
            infos += [helper.make_tensor_value_info("both", dtype, [1, H, T + N, N])] * packed
        outputs = {"y": (dtype, [1, T, H, N]), "state_out": (dtype, [1, H, N, N])}
        domains = ["rwkv"] if opset_import else []
        return make_model(nodes, inputs, outputs, (), domains, infos), inputs

    def test_wkv7(self):
        for T in (1, 6):
            for packed in (True, False):
                for declared in (True, False):
                    with self.subTest(T=T, packed=packed, declared=declared):
                        n = Numbers(T, 3, 8)
                        model, inputs = self.wkv7_model(n, T, packed, declared)
                        y, S = n.wkv7()
                        self.check(model, inputs, {"y": y, "state_out": S}, raised={"wkv.wkv7": 1})

    def test_several_sequences(self):
        B, T, H, N = 2, 3, 2, 4
        parts = [Numbers(T, H, N, seed=seed) for seed in range(B)]
        inputs = {name: np.stack([getattr(n, name) for n in parts]) for name in "rkvab"}
        inputs |= {"w": np.exp(np.stack([n.lw for n in parts]))}
        inputs |= {"s_in": np.stack([n.S.swapaxes(1, 2) for n in parts])}
        node = helper.make_node("wkv7", ["r", "w", "k", "v", "a", "b", "s_in"], ["y", "s_out"], domain="rwkv")
        outputs = {"y": (FLOAT, [B, T, H, 1, N]), "s_out": (FLOAT, [B, H, N, N])}
        model = make_model([node], inputs, outputs, (), ["rwkv"])
        results = [n.wkv7() for n in parts]
        expected = {"y": np.stack([y for y, _ in results]), "s_out": np.stack([S for _, S in results])}
        self.check(model, inputs, expected, raised={"wkv.wkv7": 1})

    def test_packed_result_that_is_kept(self):
        n = Numbers(5, 2, 4)
        inputs = {name: getattr(n, name) for name in "rkvab"} | {"w": np.exp(n.lw), "s": n.S.swapaxes(1, 2).copy()}
        node = helper.make_node("wkv7", ["r", "w", "k", "v", "a", "b", "s"], ["both"], domain="rwkv")
        model = make_model([node], inputs, {"both": (FLOAT, [2, 9, 4])}, (), ["rwkv"])
        y, S = n.wkv7()
        expected = np.concatenate([y.swapaxes(0, 1), S], axis=1)
        self.check(model, inputs, {"both": expected}, raised={"wkv.wkv7": 1})

    def test_unpack_alone(self):
        both = np.random.default_rng(0).normal(size=(1, 2, 9, 4)).astype(np.float32)
        nodes = [
            helper.make_node("wkv7_output_x", ["both"], ["x"], domain="rwkv"),
            helper.make_node("wkv7_output_state", ["both"], ["s"], domain="rwkv"),
        ]
        outputs = {"x": (FLOAT, [5, 2, 1, 4]), "s": (FLOAT, [1, 2, 4, 4])}
        model = make_model(nodes, {"both": both}, outputs, (), ["rwkv"])
        self.check(model, {"both": both}, {"x": both[0, :, :5].swapaxes(0, 1), "s": both[:, :, 5:]}, raised={})

    def test_half_precision(self):
        n = Numbers(4, 2, 8, dtype=np.float16)
        model, inputs = self.wkv7_model(n, 4, True, dtype=HALF)
        y, S = n.wkv7(np.log(np.exp(n.lw).astype(np.float16).astype(np.float64)))
        self.check(model, inputs, {"y": y, "state_out": S}, raised={"wkv.wkv7": 1}, atol=2e-2)

    def test_file_without_the_domain_s_version(self):
        n = Numbers(2, 2, 4)
        model, inputs = self.wkv7_model(n, 2, False, opset_import=False)
        y, S = n.wkv7()
        self.check(model, inputs, {"y": y, "state_out": S}, raised={"wkv.wkv7": 1})

    def test_shapes_that_do_not_fit(self):
        n = Numbers(3, 2, 4)
        model, inputs = self.wkv7_model(n, 3, False)
        for name, shape, message in (
            ("w", [3, 4, 2], r"node 'att'.*operand 'decay' has shape \[3, 4, 2\], expected \[B=1, T=3, H=2, K=4\]"),
            ("a", [2, 2, 4], r"operand 'a' has shape \[2, 2, 4\]"),
            ("state_in", [8, 4], r"operand 'state' has shape \[8, 4\], expected an axis for each letter"),
        ):
            with self.subTest(name):
                changed = onnx.ModelProto()
                changed.CopyFrom(model)
                for value in changed.graph.input:
                    if value.name == name:
                        value.CopyFrom(helper.make_tensor_value_info(name, FLOAT, shape))
                self.refuse(changed, message)
        # Declared otherwise than it can be.
        del model.graph.value_info[:]
        model.graph.value_info.append(helper.make_tensor_value_info("x", FLOAT, [3, 2, 2, 4]))
        self.refuse(model, r"result 'output' has shape \[3, 2, 2, 4\]")


class WholeModel(Compiling):
    """A v6 model whose recurrences are custom nodes: both forms are derived from it."""

    def test_v6(self):
        def custom_wkv6(exporter, layer, r, k, v, decay, bonus):
            H, N = exporter.heads, exporter.head_size
            name = f"state_{layer}_wkv"
            S = exporter.b.state(name, [H, N, N])
            r, k, v, decay = (exporter.b.reshape(x, 1, H, N) for x in (r, k, v, decay))
            y, S = exporter.b.op("wkv6", k, v, r, S, bonus, decay, outputs=2, domain="rwkv")
            exporter.b.keep(name, S)
            return y

        def custom_wkv6_in_head_groups(exporter, layer, *rows):
            """A node, and a state of the file, for each head; the nodes in the other order."""
            b, N, outputs = exporter.b, exporter.head_size, []
            for h in reversed(range(exporter.heads)):
                *parts, bonus = (
                    b.op("Slice", x, b.shape(h * n), b.shape(h * n + n), b.shape(x_axis))
                    for x, n, x_axis in (*((x, N, 1) for x in rows[:4]), (rows[4], 1, 0))
                )
                r, k, v, decay = (b.reshape(x, 1, 1, N) for x in parts)
                name = f"state_{layer}_wkv_{h}"
                y, S = b.op("wkv6", k, v, r, b.state(name, [1, N, N]), bonus, decay, outputs=2, domain="rwkv")
                b.keep(name, S)
                outputs.insert(0, y)
            return b.op("Concat", *(b.reshape(y, 1, N) for y in outputs), axis=1)

        weights = random_checkpoint((6, 0))
        tokens = list(range(20))
        expected, _ = reference.RWKV(weights, np.float64).forward(tokens)
        for spelling in (custom_wkv6, custom_wkv6_in_head_groups):
            with self.subTest(spelling.__name__):
                with mock.patch.object(export._Exporter, "wkv6", spelling):
                    model = self.compile(export.export_model(weights), name=spelling.__name__)
                self.assertEqual(set(model.functions), {"graph", "step", "prefill", "unpack", "pack"})
                text = model.sequence()
                text.set_shortest_block(1)
                np.testing.assert_allclose(text.prefill(tokens, all_logits=True), expected, rtol=1e-3, atol=1e-4)
                state = text.states()
                self.assertEqual([x.shape for n, x in state.items() if "wkv" in n], [(1, 2, 8, 8)] * 2)
                text.reset()
                np.testing.assert_allclose(np.stack([text.step(t) for t in tokens]), expected, rtol=1e-3, atol=1e-4)

    def test_shared_heads(self):
        """Query heads that share one of keys and values: one state, of which the file has one copy."""
        for rule in ("linear", "gated", "delta", "gated_delta"):

            def attention(exporter, layer, r, k, v, decay, bonus, rule=rule):
                b, N = exporter.b, exporter.head_size
                name = f"state_{layer}_wkv"
                first = [b.op("Slice", x, b.shape(0), b.shape(N), b.shape(1)) for x in (k, v, decay)]
                k, v, decay = (b.reshape(x, 1, 1, N) for x in first)
                k = b.op("Tanh", b.op("Mul", k, b.scalar(0.3)))
                g = b.op("Log", decay) if "gated" in rule else ""
                beta = b.op("Sigmoid", b.reshape(b.op("ReduceMax", v), 1, 1, 1)) if "delta" in rule else ""
                S = b.state(name, [1, 1, N, N])
                rows = [b.reshape(r, 1, 1, -1), k, v, S, g, beta]
                heads = {"q_num_heads": exporter.heads, "kv_num_heads": 1}
                y, S = b.op("LinearAttention", *rows, outputs=2, update_rule=rule, **heads)
                b.keep(name, S)
                return b.reshape(y, 1, -1)

            with self.subTest(rule=rule):
                with mock.patch.object(export._Exporter, "wkv6", attention):
                    graph = export.export_model(random_checkpoint((6, 0)), opset=27)
                model = self.compile(graph, name=rule)
                self.assertEqual(set(model.functions), {"graph", "step", "prefill", "unpack", "pack"})
                state = {name: np.zeros(x.input.shape, np.float32) for x in model.states for name in [x.input.name]}
                text, turns, steps = model.sequence(), model.sequence(), model.sequence()
                for i, token in enumerate(range(12)):
                    found = model.run({"token": np.array([token]), **state})
                    state = {x.input.name: found[x.output.name] for x in model.states}
                    logits = steps.step(token)
                    np.testing.assert_allclose(logits, found["logits"][0], rtol=1e-4, atol=1e-4)
                    # In turns: the file's own signature, a step from what it left.
                    if i % 2:
                        turns.unpack(state)
                    else:
                        np.testing.assert_allclose(turns.step(token), logits, rtol=1e-4, atol=1e-4)
                np.testing.assert_allclose(text.prefill(list(range(12))), logits, rtol=1e-4, atol=1e-4)
                for name, value in text.pack().items():
                    np.testing.assert_allclose(value, state[name], rtol=1e-4, atol=1e-4)


class Registry(Compiling):
    """Operators that a JSON file describes."""

    def write(self, **entry):
        path = self.folder / "ops.json"
        path.write_text(json.dumps({"custom_ops": [{"domain": "org.example", "name": "op", **entry}]}))
        return f"--custom-ops={path}"

    def test_batch_layouts_and_logit(self):
        # Three sequences, head-major operands, v6's logit; the state is [B, H, V, K].
        B, T, H, K, V = 3, 5, 2, 4, 6
        parts = [Numbers(T, H, K, V, seed=seed) for seed in range(B)]
        logit = np.stack([np.log(-n.lw) for n in parts])
        inputs = {
            "w": logit.transpose(0, 2, 1, 3),
            "state_in": np.stack([n.S for n in parts]).swapaxes(2, 3),
            **{name: np.stack([getattr(n, name) for n in parts]).transpose(0, 2, 1, 3) for name in "rkv"},
        }
        inputs = {name: np.ascontiguousarray(array) for name, array in inputs.items()}
        flag = self.write(
            law="wkv6",
            decay="exp_exp",
            operands=["receptance:BHTK", "decay:BHTK", "ignored", "key:BHTK", "value:BHTV", "bonus:HK", "state:BHVK"],
            results=["state:BHVK", "output:BTHV"],
        )
        node = helper.make_node(
            "op", ["r", "w", "length", "k", "v", "u", "state_in"], ["state_out", "y"], domain="org.example"
        )
        constants = {"u": parts[0].u, "length": np.array([T])}
        outputs = {"y": (FLOAT, [B, T, H, V]), "state_out": (FLOAT, inputs["state_in"].shape)}
        model = make_model([node], inputs, outputs, constants, ["org.example"])
        for n in parts:
            n.u = parts[0].u
        results = [n.wkv6() for n in parts]
        expected = {
            "y": np.stack([y for y, _ in results]),
            "state_out": np.stack([S for _, S in results]).swapaxes(2, 3),
        }
        self.check(model, inputs, expected, flag, raised={"wkv.wkv6": 1})

    def test_static_decays(self):
        # v5.2 has a decay for each key element, v5.1 one for each head.
        for shape in ((2, 4), (2,)):
            with self.subTest(shape):
                n = Numbers(3, 2, 4)
                lw = (n.lw[0] if len(shape) == 2 else n.lw[0, :, 0]).astype(np.float32)
                flag = self.write(
                    law="wkv6",
                    decay="log",
                    operands=["receptance:THK", "key:THK", "value:THV", "decay:HK|H", "state:HKV"],
                    results=["output:THV", "state:HKV"],
                )
                inputs = {"r": n.r, "k": n.k, "v": n.v, "s_in": n.S}
                node = helper.make_node("op", ["r", "k", "v", "w", "s_in"], ["y", "s_out"], domain="org.example")
                outputs = {"y": (FLOAT, n.v.shape), "s_out": (FLOAT, n.S.shape)}
                model = make_model([node], inputs, outputs, {"w": lw}, ["org.example"])
                n.u = 0 * n.u
                y, S = n.wkv6(lw if len(shape) == 2 else lw[:, None])
                self.check(model, inputs, {"y": y, "s_out": S}, flag, raised={"wkv.wkv6": 1})

    def test_wkv7_logit(self):
        n = Numbers(4, 2, 8)
        logit = n.normal(4, 2, 8).astype(np.float32)
        flag = self.write(
            law="wkv7",
            decay="exp_sigmoid",
            operands=[f"{role}:BTHK" for role in ("receptance", "decay", "key")]
            + ["value:BTHV", "a:BTHK", "b:BTHK", "state:BHVK"],
            results=["output:BTHV", "state:BHVK"],
        )
        # [B, T, C], as the kernels of the training code take them.
        inputs = {name: getattr(n, name).reshape(1, 4, 16) for name in "rkvab"} | {"w": logit.reshape(1, 4, 16)}
        inputs["s_in"] = n.S.swapaxes(1, 2)[None].copy()
        node = helper.make_node("op", ["r", "w", "k", "v", "a", "b", "s_in"], ["x", "s_out"], domain="org.example")
        nodes = [node, helper.make_node("Reshape", ["x", "shape"], ["y"])]
        outputs = {"y": (FLOAT, [1, 4, 16]), "s_out": (FLOAT, inputs["s_in"].shape)}
        model = make_model(nodes, inputs, outputs, {"shape": np.array([1, 4, 16])}, ["org.example"])
        y, S = n.wkv7(-np.exp(-0.5) * reference.sigmoid(logit.astype(np.float64)))
        self.check(model, inputs, {"y": y, "s_out": S}, flag, raised={"wkv.wkv7": 1})

    def test_wkv4(self):
        T, C = 6, 8
        random = np.random.default_rng(0)
        k, v, lw, u = (random.normal(size=shape).astype(np.float32) for shape in ((T, C), (T, C), C, C))
        states = np.stack([random.normal(size=C), np.exp(random.normal(size=C)), random.normal(size=C)])
        states = states.astype(np.float32)
        for decay, given in (("log", -np.exp(lw)), ("exp_exp", lw), ("factor", np.exp(-np.exp(lw)))):
            with self.subTest(decay):
                flag = self.write(
                    law="wkv4",
                    decay=decay,
                    operands=["decay:C", "bonus:C", "key:BTC", "value:BTC", "num:BC", "den:BC", "max:BC"],
                    results=["output:BTC", "num:BC", "den:BC", "max:BC"],
                )
                inputs = {"k": k, "v": v} | {f"s{i}_in": states[i : i + 1] for i in range(3)}
                node = helper.make_node(
                    "op", ["w", "u", *inputs], ["y", "s0_out", "s1_out", "s2_out"], domain="org.example"
                )
                outputs = {"y": (FLOAT, [T, C])} | {f"s{i}_out": (FLOAT, [1, C]) for i in range(3)}
                info = [helper.make_tensor_value_info("y", FLOAT, [T, C])]
                model = make_model([node], inputs, outputs, {"w": given, "u": u}, ["org.example"], info)
                wide = [x.astype(np.float64) for x in (k, v, lw, u, states)]
                y, S = reference.wkv4_recurrent(wide[0], wide[1], -np.exp(wide[2]), wide[3], wide[4])
                expected = {"y": y} | {f"s{i}_out": S[i] for i in range(3)}
                self.check(model, inputs, expected, flag, raised={"wkv.wkv4": 1})

    def test_refused_files(self):
        n = Numbers(1, 2, 4)
        model = make_model([helper.make_node("Abs", ["x"], ["y"])], {"x": n.r}, {"y": (FLOAT, n.r.shape)})
        good = {"law": "wkv6", "operands": [f"{x}:BTHK" for x in ("receptance", "key", "decay")]}
        good["operands"] += ["value:BTHV", "state:BHKV"]
        good["results"] = ["output:BTHV", "state:BHKV"]
        for change, message in (
            ({"law": "wkv9"}, r"ops.json: custom_ops\[0\]: law 'wkv9'; expected wkv4, wkv6 or wkv7"),
            ({"decay": "linear"}, "decay 'linear'; expected factor"),
            ({"shape": []}, "unknown key 'shape'"),
            ({"domain": "ai.onnx"}, "expected a domain other than ONNX's"),
            ({"operands": good["operands"][:-1]}, "org.example::op: no operand of role 'state'"),
            ({"operands": [*good["operands"], "keys:BTHK"]}, "operand of role 'keys'; wkv6 has receptance"),
            ({"operands": [*good["operands"], "key:BTHK"]}, "two operands of role 'key'"),
            ({"operands": [*good["operands"], "bonus:HQ"]}, "layout 'HQ' of 'bonus': expected letters of BTHKV1"),
            ({"operands": [*good["operands"], "bonus"]}, "'bonus' has no layout"),
            ({"results": ["state:BHKV"]}, "no result of role output or packed"),
            ({"results": "output"}, "'results' is missing or no list"),
        ):
            with self.subTest(message):
                self.refuse(model, message, self.write(**{**good, **change}))
        self.refuse_state_without_batch()
        (self.folder / "text.json").write_text("{")
        self.refuse(model, "text.json: ", f"--custom-ops={self.folder / 'text.json'}")
        self.refuse(model, "none.json: cannot read", f"--custom-ops={self.folder / 'none.json'}")

    def refuse_state_without_batch(self):
        n = Numbers(2, 2, 4)
        flag = self.write(
            law="wkv6",
            operands=["receptance:BHK", "key:BHK", "value:BHV", "decay:BHK", "state:HKV"],
            results=["output:BHV", "state:HKV"],
        )
        inputs = {"r": n.r, "k": n.k, "v": n.v, "w": np.exp(n.lw), "s_in": n.S}
        node = helper.make_node("op", list(inputs), ["y", "s_out"], "att", domain="org.example")
        outputs = {"y": (FLOAT, n.v.shape), "s_out": (FLOAT, n.S.shape)}
        model = make_model([node], inputs, outputs, (), ["org.example"])
        self.refuse(model, "node 'att'.*layout 'HKV' of 'state' lacks the letter B, which is 2", flag)

    def test_unknown_operator_mentions_the_registry(self):
        x = np.zeros(4, np.float32)
        node = helper.make_node("wkv9", ["x"], ["y"], "the_node", domain="rwkv")
        model = make_model([node], {"x": x}, {"y": (FLOAT, [4])}, (), ["rwkv"])
        self.refuse(model, "'the_node'.*'wkv9' of domain 'rwkv'.*--custom-ops")


# -- LinearAttention and CausalConvWithState ---------------------------------------------------------------------------


class LinearAttention(Compiling):
    def model(self, rule, n, B=2, T=5, Hq=4, Hkv=2, K=4, V=6, decay=None, beta=None, past=True, scale=0.0, kind=FLOAT):
        dtype = helper.tensor_dtype_to_np_dtype(kind)
        inputs = {
            "q": n.normal(B, T, Hq * K),
            "k": n.normal(B, T, Hkv * K) / 2,
            "v": n.normal(B, T, Hkv * V),
            **({"s_in": n.normal(B, Hkv, K, V)} if past else {}),
            **({"g": -np.exp(n.normal(B, T, decay))} if decay else {}),
            **({"beta": reference.sigmoid(n.normal(B, T, beta))} if beta else {}),
        }
        inputs = {name: array.astype(dtype) for name, array in inputs.items()}
        names = ["q", "k", "v", *(x if x in inputs else "" for x in ("s_in", "g", "beta"))]
        node = helper.make_node(
            "LinearAttention", names, ["y", "s_out"], q_num_heads=Hq, kv_num_heads=Hkv, scale=scale, update_rule=rule
        )
        outputs = {"y": (kind, [B, T, Hq * V]), "s_out": (kind, [B, Hkv, K, V])}
        return make_model([node], inputs, outputs, opset=27), inputs

    def test_rules(self):
        n = Numbers(1, 1, 1, seed=3)
        for rule, law, options in (
            ("linear", "wkv6", {}),
            ("linear", "wkv6", {"Hkv": 4, "past": False, "T": 1}),
            ("gated", "wkv6", {"decay": 8, "Hkv": 2}),
            ("gated", "wkv6", {"decay": 4, "Hkv": 4, "scale": 1.0}),
            ("gated", "wkv6", {"decay": 4, "Hq": 1, "Hkv": 1, "T": 1, "B": 1}),
            ("delta", "wkv7", {"beta": 2}),
            ("delta", "wkv7", {"beta": 1, "Hkv": 4}),
            ("gated_delta", "wkv7", {"decay": 2, "beta": 1}),
            ("gated_delta", "wkv7", {"decay": 16, "beta": 4, "Hkv": 4, "past": False}),
            ("gated_delta", "wkv7", {"decay": 1, "beta": 1, "Hkv": 1, "T": 1}),
        ):
            with self.subTest(rule=rule, **options):
                model, inputs = self.model(rule, n, **options)
                # In float64 the reference's numbers, which it computes in float32, would be no better.
                expected = dict(zip(("y", "s_out"), ReferenceEvaluator(model).run(None, inputs)))
                self.check(model, inputs, expected, raised={"wkv." + law: 1})
                inlined = expand(model, "LinearAttention")
                self.assertNotEqual(inlined.graph.node[-1].op_type, "LinearAttention")
                self.check(inlined, inputs, expected, raised={"wkv." + law: 1})

    def test_half_precision(self):
        model, inputs = self.model("gated_delta", Numbers(1, 1, 1), decay=2, beta=2, kind=HALF)
        expected = dict(zip(("y", "s_out"), ReferenceEvaluator(model).run(None, inputs)))
        expected = {name: array.astype(np.float64) for name, array in expected.items()}
        self.check(model, inputs, expected, raised={"wkv.wkv7": 1}, atol=2e-2)

    def late_model(self, n, T, pad):
        """v6 on the operator: keys, values and decays one token late; the bonus is added outside."""
        H, N = n.u.shape
        C = H * N
        rows = {name: getattr(n, name).reshape(1, T, C) for name in "rkv"}
        inputs = {**rows, "g": n.lw.reshape(1, T, C), "s_in": n.S[None]}
        nodes = []
        for name in ("k", "v", "g"):
            if pad:
                nodes.append(helper.make_node("Pad", [name, "before"], [name + "1"]))
            else:
                nodes.append(helper.make_node("Concat", ["zero", name], [name + "1"], axis=1))
        nodes += [
            helper.make_node("Concat", ["r", "zero"], ["r1"], axis=1),
            helper.make_node(
                "LinearAttention",
                ["r1", "k1", "v1", "s_in", "g1"],
                ["o1", "s_out"],
                "att",
                q_num_heads=H,
                kv_num_heads=H,
                scale=1.0,
                update_rule="gated",
            ),
            helper.make_node("Slice", ["o1", "first", "last", "axis"], ["o"]),
            helper.make_node("Mul", ["r", "k"], ["rk"]),
            helper.make_node("Mul", ["rk", "u"], ["ruk"]),
            helper.make_node("Reshape", ["ruk", "heads"], ["ruk_h"]),
            helper.make_node("ReduceSum", ["ruk_h", "last_axis"], ["sum"], keepdims=1),
            helper.make_node("Reshape", ["v", "heads"], ["v_h"]),
            helper.make_node("Mul", ["sum", "v_h"], ["now_h"]),
            helper.make_node("Reshape", ["now_h", "flat"], ["now"]),
            helper.make_node("Add", ["o", "now"], ["y"]),
        ]
        constants = {
            "zero": np.zeros((1, 1, C), np.float32),
            "before": np.array([0, 1, 0, 0, 0, 0]),
            "u": n.u.reshape(C),
            "first": np.array([0]),
            "last": np.array([T]),
            "axis": np.array([1]),
            "last_axis": np.array([-1]),
            "heads": np.array([1, T, H, N]),
            "flat": np.array([1, T, C]),
        }
        outputs = {"y": (FLOAT, [1, T, C]), "s_out": (FLOAT, [1, H, N, N])}
        return make_model(nodes, inputs, outputs, constants, opset=27), inputs

    def test_v6_one_token_late(self):
        for T in (1, 6):
            for pad in (False, True):
                with self.subTest(T=T, pad=pad):
                    n = Numbers(T, 2, 8)
                    model, inputs = self.late_model(n, T, pad)
                    y, S = n.wkv6()
                    path = self.folder / "raised.mlir"
                    self.check(model, inputs, {"y": y, "s_out": S}, raised={"wkv.wkv6": 1})
                    rwkvc.compile(model, path, arguments=["--emit=after-raise"])
                    self.assertRegex(path.read_text(), rf"wkv.wkv6 receptance\(.*tensor<1x{T}x2x8xf32>")
                    # The token of zeros and the bonus outside are gone.
                    self.assertNotIn("onnx.ReduceSum", path.read_text())


class CausalConv(Compiling):
    def model(self, n, kernel, weight=None, bias=False, past=True, B=2, C=6, L=5, constant=True, **attributes):
        weight = n.normal(C, 1, kernel).astype(np.float32) if weight is None else weight
        inputs = {"x": n.normal(B, C, L).astype(np.float32)}
        constants = {"w": weight} if constant else {}
        inputs |= {} if constant else {"w": weight}
        if bias:
            constants["b"] = n.normal(C).astype(np.float32)
        if past:
            inputs["s_in"] = n.normal(B, C, kernel - 1).astype(np.float32)
        node = helper.make_node(
            "CausalConvWithState",
            ["x", "w", "b" if bias else "", "s_in" if past else ""],
            ["y", "s_out"],
            **attributes,
        )
        outputs = {"y": (FLOAT, [B, C, L]), "s_out": (FLOAT, [B, C, kernel - 1])}
        model = make_model([node], inputs, outputs, constants, opset=27)
        return model, inputs, dict(zip(("y", "s_out"), ReferenceEvaluator(model).run(None, inputs)))

    def test_token_shift(self):
        n = Numbers(1, 1, 1)
        mu = reference.sigmoid(n.normal(6)).astype(np.float32)
        mix = np.stack([mu, 1 - mu], axis=-1)[:, None]
        for options, raised in (
            ({"weight": mix}, {"wkv.token_shift": 1, "wkv.mix": 1}),
            ({"weight": mix, "L": 1}, {"wkv.token_shift": 1, "wkv.mix": 1}),
            ({"weight": mix, "past": False}, {"wkv.token_shift": 1, "wkv.mix": 1}),
            ({"weight": mix, "constant": False}, {"wkv.token_shift": 1}),
            ({"bias": True, "activation": "silu"}, {"wkv.token_shift": 1}),
        ):
            with self.subTest(**{k: v for k, v in options.items() if k != "weight"}):
                model, inputs, expected = self.model(n, 2, **options)
                self.check(model, inputs, expected, raised=raised)
                self.check(expand(model, "CausalConvWithState"), inputs, expected, raised=raised)

    def test_other_kernels(self):
        n = Numbers(1, 1, 1)
        for kernel, options in (
            (4, {"bias": True}),
            (3, {"past": False, "activation": "swish"}),
            (5, {"L": 2}),
            (1, {"past": False}),
            (4, {"constant": False}),
        ):
            with self.subTest(kernel=kernel, **options):
                model, inputs, expected = self.model(n, kernel, **options)
                self.check(model, inputs, expected, raised={})
                self.check(expand(model, "CausalConvWithState"), inputs, expected, raised={})


if __name__ == "__main__":
    unittest.main()
