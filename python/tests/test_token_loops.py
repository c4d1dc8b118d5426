# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Recurrences over several tokens as exporters spell the loop: unrolled, Scan, Loop; compiled, against float64 numpy."""

import numpy as np
from onnx import TensorProto, helper
from test_sequence_ops import FLOAT, Compiling, Numbers, make_model, reference

H, N = 3, 4  # heads, and elements of each


def nodes_of(lines, prefix=""):
    """Nodes from lines "output = Op input, input key=value"; names without a dot are local to the prefix."""
    nodes = []
    for line in lines:
        output, rest = line.split(" = ")
        op, *words = rest.replace(",", "").split()
        attributes = dict(word.split("=") for word in words if "=" in word)
        names = [word if "." in word else prefix + word for word in [*words, output] if "=" not in word]
        attributes = {key: int(value) for key, value in attributes.items()}
        nodes.append(helper.make_node(op, names[:-1], names[-1:], **attributes))
    return nodes


class Law:
    """One token's step: from the tokens' tensors and the states `s0`, ... to `y` and the new states `n0`, ..."""

    tokens, parameters, states, steps = {}, {}, {}, ()
    raised = ""

    def expected(self):
        raise NotImplementedError


class Wkv6(Law):
    """v6, its decay computed from the logit within the loop."""

    raised = "wkv.wkv6"
    steps = (
        "e = Exp lt",
        "m = Neg e",
        "w = Exp m",
        "k1 = Unsqueeze kt, c.last",
        "v1 = Unsqueeze vt, c.one",
        "r1 = Unsqueeze rt, c.one",
        "w1 = Unsqueeze w, c.last",
        "kv = MatMul k1, v1",
        "ukv = Mul c.u, kv",
        "sum = Add s0, ukv",
        "row = MatMul r1, sum",
        "y = Squeeze row, c.one",
        "sw = Mul s0, w1",
        "n0 = Add kv, sw",
    )

    def __init__(self, T):
        self.n = n = Numbers(T, H, N)
        self.tokens = {"r": n.r, "k": n.k, "v": n.v, "l": np.log(-n.lw)}
        self.parameters = {"c.u": n.u[:, :, None]}
        self.states = [n.S]

    def expected(self):
        y, S = self.n.wkv6()
        return y, [S]


class LowRankWkv6(Wkv6):
    """v6 whose four vectors are one batched product of low rank within the loop, the matrices' axis first."""

    steps = (
        "h = Tanh zt",
        "flat = MatMul h, c.low",
        "parts = Reshape flat, c.parts",
        "rt = Gather parts, c.0 axis=0",
        "kt = Gather parts, c.1 axis=0",
        "vt = Gather parts, c.2 axis=0",
        "lt = Gather parts, c.3 axis=0",
        *Wkv6.steps,
    )

    def __init__(self, T, rank=2):
        super().__init__(T)
        z, low = self.n.normal(T, 4, 1, rank).astype(np.float32), self.n.normal(4, rank, H * N).astype(np.float32)
        self.tokens = {"z": z}
        self.parameters |= {"c.low": low, "c.parts": np.array([4, H, N])}
        parts = (np.tanh(z.astype(np.float64)) @ low).reshape(T, 4, H, N)
        self.n.r, self.n.k, self.n.v = (parts[:, i] for i in range(3))
        self.n.lw = -np.exp(parts[:, 3])


class Wkv7(Law):
    """v7 in its N^3 form; the output reads the new state."""

    raised = "wkv.wkv7"
    steps = (
        "a1 = Unsqueeze at, c.last",
        "b1 = Unsqueeze bt, c.one",
        "ab = MatMul a1, b1",
        "sab = MatMul s0, ab",
        "w1 = Unsqueeze wt, c.one",
        "sw = Mul s0, w1",
        "v1 = Unsqueeze vt, c.last",
        "k1 = Unsqueeze kt, c.one",
        "vk = MatMul v1, k1",
        "kept = Add sw, sab",
        "n0 = Add kept, vk",
        "r1 = Unsqueeze rt, c.last",
        "column = MatMul n0, r1",
        "y = Squeeze column, c.last",
    )

    def __init__(self, T):
        self.n = n = Numbers(T, H, N)
        self.tokens = {"r": n.r, "k": n.k, "v": n.v, "a": n.a, "b": n.b, "w": np.exp(n.lw)}
        self.states = [np.ascontiguousarray(n.S.swapaxes(1, 2))]

    def expected(self):
        y, S = self.n.wkv7()
        return y, [S]


class Wkv4(Law):
    """v4 with its running maximum."""

    raised = "wkv.wkv4"
    steps = (
        "uk = Add c.u, kt",
        "q = Max s2, uk",
        "ds = Sub s2, q",
        "es = Exp ds",
        "dk = Sub uk, q",
        "ek = Exp dk",
        "na = Mul es, s0",
        "nv = Mul ek, vt",
        "num = Add na, nv",
        "nb = Mul es, s1",
        "den = Add nb, ek",
        "y = Div num, den",
        "ws = Add s2, c.w",
        "n2 = Max ws, kt",
        "fs = Sub ws, n2",
        "gs = Exp fs",
        "fk = Sub kt, n2",
        "gk = Exp fk",
        "ma = Mul gs, s0",
        "mv = Mul gk, vt",
        "n0 = Add ma, mv",
        "mb = Mul gs, s1",
        "n1 = Add mb, gk",
    )

    def __init__(self, T):
        random = np.random.default_rng(4)
        k, v = random.normal(0, 1, (2, T, H * N)).astype(np.float32)
        self.tokens = {"k": k, "v": v}
        w, u = -np.exp(random.normal(0, 1, H * N)).astype(np.float32), random.normal(0, 1, H * N).astype(np.float32)
        self.parameters = {"c.w": w, "c.u": u}
        self.states = list(random.normal(0, 1, (3, H * N)).astype(np.float32))
        self.states[1] = np.abs(self.states[1]) + 1  # a sum of exponentials

    def expected(self):
        numbers = [self.tokens["k"], self.tokens["v"], self.parameters["c.w"], self.parameters["c.u"]]
        states = tuple(state.astype(np.float64) for state in self.states)
        return reference.wkv4_recurrent(*(x.astype(np.float64) for x in numbers), states)


def infos(arrays):
    return [helper.make_tensor_value_info(name, FLOAT, array.shape) for name, array in arrays.items()]


class TokenLoops(Compiling):
    T = 5

    def check_law(self, law, nodes, constants=(), stated=True):
        """Checks a graph from the law's tokens and `state<i>` to `y` and `next<i>`."""
        inputs = dict(law.tokens)
        y, states = law.expected()
        outputs = {"y": (FLOAT, y.shape)}
        expected = {"y": y}
        if stated:
            inputs |= {f"state{i}_in": state for i, state in enumerate(law.states)}
            outputs |= {f"state{i}_out": (FLOAT, state.shape) for i, state in enumerate(law.states)}
            expected |= {f"state{i}_out": state for i, state in enumerate(states)}
        index = {f"c.{t}": np.array(t) for t in range(self.T)}
        axes = {"c.last": np.array([-1]), "c.one": np.array([1]), "c.first": np.array([0])}
        model = make_model(nodes, inputs, outputs, law.parameters | index | axes | dict(constants), opset=18)
        self.check(model, inputs, expected, raised={law.raised: 1})

    def unrolled(self, law, initial):
        """Nodes, names of the outputs and of the last states."""
        nodes, rows, states = [], [], initial
        for t in range(self.T):
            prefix = f"t{t}/"
            nodes += [helper.make_node("Gather", [name, f"c.{t}"], [f"{prefix}{name}t"], axis=0) for name in law.tokens]
            nodes += [helper.make_node("Identity", [name], [f"{prefix}s{i}"]) for i, name in enumerate(states)]
            nodes += nodes_of(law.steps, prefix)
            rows.append(f"{prefix}y")
            states = [f"{prefix}n{i}" for i in range(len(states))]
        return nodes, rows, states

    def given(self, law):
        return [f"state{i}_in" for i in range(len(law.states))]

    def name_states(self, names):
        return [helper.make_node("Identity", [name], [f"state{i}_out"]) for i, name in enumerate(names)]

    def test_unrolled(self):
        for law in (Wkv4, Wkv6, LowRankWkv6, Wkv7):
            law = law(self.T)
            with self.subTest(law=law.raised):
                nodes, rows, states = self.unrolled(law, self.given(law))
                nodes += [helper.make_node("Unsqueeze", [row, "c.first"], [row + "u"]) for row in rows]
                nodes.append(helper.make_node("Concat", [row + "u" for row in rows], ["y"], axis=0))
                self.check_law(law, nodes + self.name_states(states))

    def test_unrolled_from_empty_state_into_a_buffer(self):
        for law in (Wkv4, Wkv6, Wkv7):
            law = law(self.T)
            with self.subTest(law=law.raised):
                law.states = [np.zeros_like(state) for state in law.states]
                if law.raised == "wkv.wkv4":
                    law.states[2] -= np.float32(1e30)
                else:
                    law.n.S = np.zeros_like(law.n.S)
                constants = {f"c.s{i}": state for i, state in enumerate(law.states)}
                nodes, rows, _ = self.unrolled(law, list(constants))
                constants["c.out"] = np.zeros(law.expected()[0].shape, np.float32)
                buffer = "c.out"
                for t, row in enumerate(rows):
                    constants[f"c.at{t}"] = np.array([[t]])
                    result = "y" if t == self.T - 1 else f"o{t}"
                    nodes.append(helper.make_node("Unsqueeze", [row, "c.first"], [row + "u"]))
                    nodes.append(helper.make_node("ScatterND", [buffer, f"c.at{t}", row + "u"], [result]))
                    buffer = result
                self.check_law(law, nodes, constants, stated=False)

    def body(self, law, arguments, results):
        """A graph of one step. arguments: infos before the tokens' or instead of them; results: their names."""
        shapes = {"y": law.expected()[0].shape[1:]} | {f"n{i}": s.shape for i, s in enumerate(law.states)}
        outputs = [
            helper.make_tensor_value_info(name, FLOAT, shapes[name])
            if name in shapes
            else helper.make_tensor_value_info(name, TensorProto.BOOL, [])
            for name in results
        ]
        return nodes_of(law.steps), arguments, outputs

    def test_scan(self):
        for law in (Wkv4, Wkv6, LowRankWkv6, Wkv7):
            law = law(self.T)
            with self.subTest(law=law.raised):
                states = {f"s{i}": state for i, state in enumerate(law.states)}
                tokens = {f"{name}t": array[0] for name, array in law.tokens.items()}
                nodes, arguments, outputs = self.body(
                    law, infos(states | tokens), [f"n{i}" for i in range(len(states))] + ["y"]
                )
                scan = helper.make_node(
                    "Scan",
                    [*self.given(law), *law.tokens],
                    [f"state{i}_out" for i in range(len(states))] + ["y"],
                    num_scan_inputs=len(tokens),
                    body=helper.make_graph(nodes, "body", arguments, outputs),
                )
                self.check_law(law, [scan])

    def test_loop(self):
        for law in (Wkv4, Wkv6, LowRankWkv6, Wkv7):
            law = law(self.T)
            with self.subTest(law=law.raised):
                states = {f"s{i}": state for i, state in enumerate(law.states)}
                arguments = [
                    helper.make_tensor_value_info("i", TensorProto.INT64, []),
                    helper.make_tensor_value_info("go", TensorProto.BOOL, []),
                    *infos(states),
                ]
                results = ["more", *(f"n{i}" for i in range(len(states))), "y"]
                nodes, arguments, outputs = self.body(law, arguments, results)
                gathers = [helper.make_node("Gather", [name, "i"], [f"{name}t"], axis=0) for name in law.tokens]
                more = helper.make_node("Identity", ["go"], ["more"])
                loop = helper.make_node(
                    "Loop",
                    ["c.count", "c.true", *self.given(law)],
                    [f"state{i}_out" for i in range(len(states))] + ["y"],
                    body=helper.make_graph([*gathers, *nodes, more], "body", arguments, outputs),
                )
                constants = {"c.count": np.array(self.T), "c.true": np.array(True)}
                self.check_law(law, [loop], constants)

    def grown(self, law, steps, start, axis=0, result="y", gather=("i",), before=()):
        """A Loop whose last state starts as `start`; `steps` compute its next value `grown` from it, `outs`, and `y`."""
        states = {f"s{i}": state for i, state in enumerate(law.states)}
        numbers = [("i", TensorProto.INT64), ("go", TensorProto.BOOL)]
        shape = list(law.expected()[0].shape)
        shape[0] = None
        rows = helper.make_tensor_value_info("outs", FLOAT, shape[1 : axis + 1] + [None] + shape[axis + 1 :])
        arguments = [*(helper.make_tensor_value_info(*number, []) for number in numbers), *infos(states), rows]
        results = ["more", *(f"n{i}" for i in range(len(states)))]
        nodes, arguments, outputs = self.body(law, arguments, results)
        outputs.append(helper.make_tensor_value_info("grown", FLOAT, None))
        gathers = [helper.make_node("Gather", [name, gather[-1]], [f"{name}t"], axis=0) for name in law.tokens]
        nodes = [*nodes_of(gather[:-1]), *gathers, *nodes, *nodes_of(steps)]
        nodes.append(helper.make_node("Identity", ["go"], ["more"]))
        return helper.make_node(
            "Loop",
            ["c.count", "c.true", *(before or self.given(law)), start],
            [f"state{i}_out" for i in range(len(states))] + [result],
            body=helper.make_graph(nodes, "body", arguments, outputs),
        )

    def test_loop_that_grows_its_output(self):
        for law in (Wkv4, Wkv6, Wkv7):
            law = law(self.T)
            y = law.expected()[0]
            constants = {"c.count": np.array(self.T), "c.true": np.array(True)}
            steps = ("yu = Unsqueeze y, c.first", "grown = Concat outs, yu axis=0")
            with self.subTest(law=law.raised, axis=0):
                constants["c.start"] = np.zeros((0, *y.shape[1:]), np.float32)
                self.check_law(law, [self.grown(law, steps, "c.start")], constants)
            with self.subTest(law=law.raised, axis=1):
                steps = ("yu = Unsqueeze y, c.one", "grown = Concat outs, yu axis=1")
                constants["c.start"] = np.zeros((y.shape[1], 0, *y.shape[2:]), np.float32)
                loop = self.grown(law, steps, "c.start", axis=1, result="rows")
                order = [1, 0, *range(2, y.ndim)]
                self.check_law(law, [loop, helper.make_node("Transpose", ["rows"], ["y"], perm=order)], constants)

    def test_loop_that_grows_its_output_from_the_front(self):
        law = Wkv6(self.T)
        constants = {"c.count": np.array(self.T), "c.true": np.array(True), "c.start": np.zeros((0, H, N), np.float32)}
        constants |= {"c.reversed": np.arange(self.T)[::-1].copy()}
        steps = ("yu = Unsqueeze y, c.first", "grown = Concat yu, outs axis=0")
        loop = self.grown(law, steps, "c.start", result="rows")
        self.check_law(law, [loop, helper.make_node("Gather", ["rows", "c.reversed"], ["y"], axis=0)], constants)

    def test_loop_that_grows_its_output_from_the_first_row(self):
        # The first token is computed before the loop, as it is; the loop counts from the second one.
        law = Wkv7(self.T)
        nodes = [helper.make_node("Gather", [name, "c.0"], [f"p/{name}t"], axis=0) for name in law.tokens]
        nodes.append(helper.make_node("Identity", ["state0_in"], ["p/s0"]))
        nodes += nodes_of((*law.steps, "start = Unsqueeze y, c.first"), "p/")
        steps = ("yu = Unsqueeze y, c.first", "grown = Concat outs, yu axis=0")
        loop = self.grown(law, steps, "p/start", gather=("j = Add i, c.1", "j"), before=["p/n0"])
        constants = {"c.count": np.array(self.T - 1), "c.true": np.array(True)}
        self.check_law(law, [*nodes, loop], constants)

    def test_loop_that_reads_what_it_grows_is_refused(self):
        law = Wkv6(self.T)
        constants = {"c.count": np.array(self.T), "c.true": np.array(True), "c.start": np.zeros((0, H, N), np.float32)}
        steps = ("yu = Unsqueeze y, c.first", "rows = Concat outs, yu axis=0", "grown = Exp rows")
        loop = self.grown(law, steps, "c.start")
        inputs = law.tokens | {"state0_in": law.n.S}
        constants |= law.parameters | {"c.last": np.array([-1]), "c.one": np.array([1]), "c.first": np.array([0])}
        model = make_model([loop], inputs, {"y": (FLOAT, law.expected()[0].shape)}, constants, opset=18)
        self.refuse(model, "state.*changes")

    def two_tokens(self, law):
        """Nodes of two tokens, given as `a/<token>t` and `b/<token>t`, from the first states to the last, and `pair`."""
        second = [helper.make_node("Identity", [f"a/n{i}"], [f"b/s{i}"]) for i in range(len(law.states))]
        nodes = [*nodes_of(law.steps, "a/"), *second, *nodes_of(law.steps, "b/")]
        nodes += [helper.make_node("Unsqueeze", [f"{p}/y", "c.first"], [f"{p}/yu"]) for p in "ab"]
        nodes += [helper.make_node("Identity", [f"b/n{i}"], [f"n{i}"]) for i in range(len(law.states))]
        return [*(helper.make_node("Identity", [f"s{i}"], [f"a/s{i}"]) for i in range(len(law.states))), *nodes]

    def test_loop_of_two_tokens(self):
        self.T = 6
        for law in (Wkv4, Wkv6, Wkv7):
            law = law(self.T)
            with self.subTest(law=law.raised):
                constants = {"c.count": np.array(self.T // 2), "c.true": np.array(True), "c.two": np.array(2)}
                constants["c.start"] = np.zeros((0, *law.expected()[0].shape[1:]), np.float32)
                loop = self.grown(law, (), "c.start")
                body = loop.attribute[0].g
                taken = nodes_of(("a.i = Mul i, c.two", "b.i = Add a.i, c.1"))
                for p in "ab":
                    taken += [helper.make_node("Gather", [x, f"{p}.i"], [f"{p}/{x}t"], axis=0) for x in law.tokens]
                more = helper.make_node("Identity", ["go"], ["more"])
                del body.node[:]
                grown = helper.make_node("Concat", ["outs", "a/yu", "b/yu"], ["grown"], axis=0)
                body.node.extend([*taken, *self.two_tokens(law), grown, more])
                self.check_law(law, [loop], constants)
            with self.subTest(law=law.raised, sequence=True):
                inserts = nodes_of(("first = SequenceInsert outs, a/y", "grown = SequenceInsert first, b/y"))
                del body.node[:]
                body.node.extend([*taken, *self.two_tokens(law), *inserts, more])
                for value in (body.input[-1], body.output[-1]):
                    value.CopyFrom(helper.make_tensor_sequence_value_info(value.name, FLOAT, None))
                loop.input[-1], loop.output[-1] = "seq", "rows"
                empty = helper.make_node("SequenceEmpty", [], ["seq"])
                join = helper.make_node("ConcatFromSequence", ["rows"], ["y"], axis=0, new_axis=1)
                self.check_law(law, [empty, loop, join], constants)

    def test_scan_over_pairs(self):
        self.T = 6
        for law in (Wkv4, Wkv6, Wkv7):
            law = law(self.T)
            with self.subTest(law=law.raised):
                states = {f"s{i}": state for i, state in enumerate(law.states)}
                pairs = {name: x.reshape(-1, 2, *x.shape[1:]) for name, x in law.tokens.items()}
                arguments = infos(states | {f"{name}p": x[0] for name, x in pairs.items()})
                _, _, outputs = self.body(law, arguments, [f"n{i}" for i in range(len(states))])
                y = law.expected()[0]
                outputs.append(helper.make_tensor_value_info("pair", FLOAT, [2, *y.shape[1:]]))
                nodes = []
                for p, index in (("a", 0), ("b", 1)):
                    for x in law.tokens:
                        nodes.append(helper.make_node("Gather", [f"{x}p", f"c.{index}"], [f"{p}/{x}t"], axis=0))
                nodes += [*self.two_tokens(law), helper.make_node("Concat", ["a/yu", "b/yu"], ["pair"], axis=0)]
                scan = helper.make_node(
                    "Scan",
                    [*self.given(law), *(f"{name}_pairs" for name in pairs)],
                    [f"state{i}_out" for i in range(len(states))] + ["rows"],
                    num_scan_inputs=len(pairs),
                    body=helper.make_graph(nodes, "body", arguments, outputs),
                )
                constants = {f"c.{name}": np.array(x.shape) for name, x in pairs.items()}
                constants["c.y"] = np.array(y.shape)
                before = [helper.make_node("Reshape", [name, f"c.{name}"], [f"{name}_pairs"]) for name in pairs]
                after = helper.make_node("Reshape", ["rows", "c.y"], ["y"])
                constants |= {f"c.{t}": np.array(t) for t in range(2)}
                self.check_law(law, [*before, scan, after], constants)

    def sequence_loop(self, law, rows, split=False):
        """A Loop that appends `rows` to a sequence in each step; it takes the tokens from sequences, or by Gather."""
        states = {f"s{i}": state for i, state in enumerate(law.states)}
        arguments = [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            *infos(states),
            helper.make_tensor_sequence_value_info("outs", FLOAT, None),
        ]
        nodes, arguments, outputs = self.body(law, arguments, ["more", *(f"n{i}" for i in range(len(states)))])
        outputs.append(helper.make_tensor_sequence_value_info("appended", FLOAT, None))
        if split:
            tokens = [helper.make_node("SequenceAt", [f"{name}s", "i"], [f"{name}t"]) for name in law.tokens]
        else:
            tokens = [helper.make_node("Gather", [name, "i"], [f"{name}t"], axis=0) for name in law.tokens]
        nodes += nodes_of(("yu = Unsqueeze y, c.first", f"appended = SequenceInsert outs, {rows}"))
        loop = helper.make_node(
            "Loop",
            ["count" if split else "c.count", "c.true", *self.given(law), "seq"],
            [f"state{i}_out" for i in range(len(states))] + ["rows"],
            body=helper.make_graph(
                [*tokens, *nodes, helper.make_node("Identity", ["go"], ["more"])], "body", arguments, outputs
            ),
        )
        splits = [helper.make_node("SplitToSequence", [x], [f"{x}s"], axis=0, keepdims=0) for x in law.tokens]
        splits.append(helper.make_node("SequenceLength", [f"{next(iter(law.tokens))}s"], ["count"]))
        return [*(splits if split else []), helper.make_node("SequenceEmpty", [], ["seq"]), loop]

    def test_loop_over_a_sequence(self):
        constants = {"c.count": np.array(self.T), "c.true": np.array(True)}
        cases = (("y", 0, 1, False), ("y", 0, 1, True), ("y", 1, 1, False), ("yu", 0, 0, True), ("yu", 1, 0, False))
        for law in (Wkv4, Wkv6, Wkv7):
            law = law(self.T)
            for rows, axis, new_axis, split in cases:
                with self.subTest(law=law.raised, rows=rows, axis=axis, new_axis=new_axis, split=split):
                    shape = law.expected()[0].shape
                    nodes = self.sequence_loop(law, rows, split)
                    attributes = {"axis": axis, "new_axis": new_axis}
                    nodes.append(helper.make_node("ConcatFromSequence", ["rows"], ["joined"], **attributes))
                    order = [1, 0, *range(2, len(shape))]
                    if (axis, new_axis) == (1, 1):
                        nodes.append(helper.make_node("Transpose", ["joined"], ["y"], perm=order))
                    else:
                        nodes.append(helper.make_node("Reshape", ["joined", "c.shape"], ["y"]))
                    self.check_law(law, nodes, constants | {"c.shape": np.array(shape)})

    def test_unrolled_into_a_sequence(self):
        for law in (Wkv4, Wkv6, Wkv7):
            law = law(self.T)
            with self.subTest(law=law.raised):
                nodes, rows, states = self.unrolled(law, self.given(law))
                # The last row goes in first: positions count.
                nodes.append(helper.make_node("SequenceConstruct", [rows[0], rows[-1]], ["seq1"]))
                for t in range(1, self.T - 1):
                    nodes.append(helper.make_node("SequenceInsert", [f"seq{t}", rows[t], "c.minus"], [f"seq{t + 1}"]))
                last = f"seq{self.T - 1}"
                nodes.append(helper.make_node("ConcatFromSequence", [last], ["y"], axis=0, new_axis=1))
                self.check_law(law, nodes + self.name_states(states), {"c.minus": np.array(-1)})

    def test_sequence_of_unknown_order_is_refused(self):
        law = Wkv6(self.T)
        nodes = self.sequence_loop(law, "y")
        body = nodes[-1].attribute[0].g
        (insert,) = (node for node in body.node if node.op_type == "SequenceInsert")
        insert.input.append("i")
        nodes.append(helper.make_node("ConcatFromSequence", ["rows"], ["y"], axis=0, new_axis=1))
        inputs = law.tokens | {"state0_in": law.n.S}
        constants = {"c.count": np.array(self.T), "c.true": np.array(True)} | law.parameters
        constants |= {"c.last": np.array([-1]), "c.one": np.array([1]), "c.first": np.array([0])}
        model = make_model(nodes, inputs, {"y": (FLOAT, law.expected()[0].shape)}, constants, opset=18)
        self.refuse(model, "Sequence.*sequences are supported where")

    def test_a_state_that_is_used_otherwise_stays_a_loop(self):
        # The output multiplies the state by itself: no law, but still a model.
        law = Wkv6(self.T)
        law.steps = (*law.steps[:10], "s2 = Mul s0, s0", "row = MatMul r1, s2", *law.steps[11:])
        states, ys = law.n.S.astype(np.float64), []
        for t in range(self.T):
            r, k, v, lw = (getattr(law.n, name)[t].astype(np.float64) for name in ("r", "k", "v", "lw"))
            ys.append(np.einsum("hk,hkv->hv", r, states * states))
            states = np.exp(lw)[:, :, None] * states + k[:, :, None] * v[:, None, :]
        nodes, rows, last = self.unrolled(law, self.given(law))
        nodes += [helper.make_node("Unsqueeze", [row, "c.first"], [row + "u"]) for row in rows]
        nodes.append(helper.make_node("Concat", [row + "u" for row in rows], ["y"], axis=0))
        law.raised, law.expected = None, lambda: (np.array(ys), [states])
        inputs = law.tokens | {"state0_in": law.n.S}
        outputs = {"y": (FLOAT, [self.T, H, N]), "state0_out": (FLOAT, [H, N, N])}
        constants = {f"c.{t}": np.array(t) for t in range(self.T)} | law.parameters
        constants |= {"c.last": np.array([-1]), "c.one": np.array([1]), "c.first": np.array([0])}
        model = make_model([*nodes, *self.name_states(last)], inputs, outputs, constants, opset=18)
        self.check(model, inputs, {"y": np.array(ys), "state0_out": states}, raised={})
