# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Small models with random weights whose files keep the states in other ways than a recurrence has them."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from test_export import export, random_checkpoint


class ScaledExporter(export._Exporter):
    """Exports states that are `factor` times the usual ones, with the factor inside of the layers.

    rows: which of receptance, key and value carry it, the receptance as its inverse. In v4 a key that does is e^k, which is
    added to both sums; without, both are multiplied before and behind the law. shift: the factor of token shifts.
    """

    def __init__(self, weights, factor, rows=("receptance", "key"), shift=None, tokens=1):
        super().__init__(weights, export.GROUP_NORM_EPS, tokens=tokens)
        self.factor, self.scaled, self.shift_factor = factor, rows, shift

    def times(self, x, factor):
        return self.b.op("Mul", x, self.b.scalar(float(factor)))

    def recur(self, states, dims, rows, step):
        factor = self.factor
        if self.major == 4:
            return super().recur(states, dims, rows, self.inside if "key" in self.scaled else self.around(step))
        factors = {"receptance": 1 / factor, "key": factor, "value": factor}
        rows = list(rows)
        for place, name in enumerate(factors):
            if name in self.scaled:
                rows[place] = self.times(rows[place], factors[name])
        return super().recur(states, dims, rows, step)

    def around(self, step):
        """v4's step with the factor before and behind it."""

        def scaled(states, k, v):
            *sums, pp = states
            y, (*sums, pp) = step([self.times(s, 1 / self.factor) for s in sums] + [pp], k, v)
            return y, [self.times(s, self.factor) for s in sums] + [pp]

        return scaled

    def inside(self, states, k, v):
        """v4's step with the factor in what is added, and nowhere else."""
        b, (aa, bb, pp) = self.b, states
        bonus = b.vector(f"{b.scope}time_first", self.att_width)
        log_decay = b.weight(b.scope + "log_decay", -np.exp(b.take(b.scope + "time_decay", self.att_width)))

        def weigh(past, now):
            q = b.op("Max", past, now)
            e1, e2 = (b.op("Exp", b.op("Sub", e, q)) for e in (past, now))
            e2 = self.times(e2, self.factor)
            return b.op("Add", b.op("Mul", e1, aa), b.op("Mul", e2, v)), b.op("Add", b.op("Mul", e1, bb), e2), q

        n, d, _ = weigh(pp, b.op("Add", k, bonus))
        return b.op("Div", n, d), list(weigh(b.op("Add", pp, log_decay), k))

    def shift(self, state, x):
        if not self.shift_factor:
            return super().shift(state, x)
        b, last = self.b, self.tokens - 1
        previous = self.times(b.state(state, [self.batch, self.width]), 1 / self.shift_factor)
        if self.tokens == 1:
            b.keep(state, self.times(x, self.shift_factor))
            return previous
        b.keep(
            state, self.times(b.op("Gather", x, b.weight(f"index.{last}", last, np.int64), axis=1), self.shift_factor)
        )
        earlier = b.op("Slice", x, b.shape(0), b.shape(last), b.shape(1))
        return b.op("Concat", b.op("Unsqueeze", previous, b.shape(1)), earlier, axis=1)


# -- rewrites of a file -------------------------------------------------------------------------------------------------


class Rewriter:
    """Puts nodes between the states of a model and its layers."""

    def __init__(self, model):
        self.model, self.graph, self.count = model, model.graph, 0
        self.before, self.after = [], []

    def constant(self, value):
        self.count += 1
        tensor = numpy_helper.from_array(np.asarray(value), f"rewrite.const.{self.count}")
        self.graph.initializer.append(tensor)
        return tensor.name

    def op(self, nodes, kind, *inputs, **attributes):
        self.count += 1
        nodes.append(helper.make_node(kind, list(inputs), [f"rewrite.{self.count}"], **attributes))
        return nodes[-1].output[0]

    def states(self):
        return [value for value in self.graph.input if value.name != "token"]

    def reads(self, name, value):
        """All nodes read value instead of name."""
        for node in self.graph.node:
            for i, operand in enumerate(node.input):
                if operand == name:
                    node.input[i] = value

    def writes(self, name):
        """Renames the value that is the output name, which is then free."""
        self.count += 1
        inner = f"rewrite.{self.count}"
        for node in self.graph.node:
            for outputs in (node.output, node.input):
                for i, value in enumerate(outputs):
                    if value == name:
                        outputs[i] = inner
        return inner

    def finish(self):
        nodes = [*self.before, *self.graph.node, *self.after]
        del self.graph.node[:]
        self.graph.node.extend(nodes)
        return self.model


def dims_of(value):
    return [d.dim_value for d in value.type.tensor_type.shape.dim]


def rewrite(model, scale=1.0, perm=None, only="", half=False):
    """States in another order of axes, scaled outside of the layers, or in half precision."""
    r = Rewriter(model)
    for value in r.states():
        if only not in value.name or (value.name.endswith("_pp") and scale != 1.0):
            continue
        dims, name, output = dims_of(value), value.name, "new_" + value.name
        own = list(range(len(dims)))
        if perm and len(perm) == len(dims):
            own = perm
        inverse = [own.index(i) for i in range(len(dims))]
        inner, held = r.writes(output), name
        stored = [dims[i] for i in own]
        if half:
            held = r.op(r.before, "Cast", held, to=TensorProto.FLOAT)
            inner = r.op(r.after, "Cast", inner, to=TensorProto.FLOAT16)
        if scale != 1.0:
            held = r.op(r.before, "Mul", held, r.constant(np.float32(1 / scale)))
            inner = r.op(r.after, "Div", inner, r.constant((np.float16 if half else np.float32)(1 / scale)))
        if own != list(range(len(dims))):
            held = r.op(r.before, "Transpose", held, perm=inverse)
            inner = r.op(r.after, "Transpose", inner, perm=own)
        # Reads are renamed in the layers only: the new nodes are in lists of their own.
        r.reads(name, held)
        r.after.append(helper.make_node("Identity", [inner], [output]))
        kind = TensorProto.FLOAT16 if half else TensorProto.FLOAT
        for values, n in ((r.graph.input, name), (r.graph.output, output)):
            for other in values:
                if other.name == n:
                    other.CopyFrom(helper.make_tensor_value_info(n, kind, stored))
    return r.finish()


def pack(model, scale=1.0, swap=False, by_layer=False):
    """All states as one tensor, [elements] or [layers, elements], scaled as a whole; swap: matrices transposed in it."""
    r = Rewriter(model)
    states = r.states()
    layers = 1 + max(int(value.name.split("_")[1]) for value in states)
    shape = [layers, -1] if by_layer else [-1]
    total = sum(int(np.prod(dims_of(value))) for value in states)
    shape[-1] = total // shape[0] if by_layer else total
    whole = "state"
    if scale != 1.0:
        whole = r.op(r.before, "Mul", whole, r.constant(np.float32(1 / scale)))
    rows, parts, start = [], [], 0
    for value in states:
        layer = int(value.name.split("_")[1])
        dims, size = dims_of(value), int(np.prod(dims_of(value)))
        if by_layer:
            if layer == len(rows):
                rows.append([])
                start = 0
                row = r.op(r.before, "Gather", whole, r.constant(np.int64(layer)), axis=0)
        else:
            row = whole
        ends = [r.constant(np.array([n], np.int64)) for n in (start, start + size, 0)]
        held = r.op(r.before, "Slice", row, *ends)
        held = r.op(r.before, "Reshape", held, r.constant(np.array(dims, np.int64)))
        inner = r.writes("new_" + value.name)
        if swap and len(dims) > 2:
            perm = [*range(len(dims) - 2), len(dims) - 1, len(dims) - 2]
            held = r.op(r.before, "Transpose", held, perm=perm)
            inner = r.op(r.after, "Transpose", inner, perm=perm)
        r.reads(value.name, held)
        parts.append(r.op(r.after, "Reshape", inner, r.constant(np.array([-1], np.int64))))
        if by_layer:
            rows[-1].append(parts[-1])
        start += size
    if by_layer:
        joined = [r.op(r.after, "Concat", *row, axis=0) for row in rows]
        joined = [r.op(r.after, "Unsqueeze", row, r.constant(np.array([0], np.int64))) for row in joined]
        packed = r.op(r.after, "Concat", *joined, axis=0)
    else:
        packed = r.op(r.after, "Concat", *parts, axis=0)
    if scale != 1.0:
        packed = r.op(r.after, "Mul", packed, r.constant(np.float32(scale)))
    r.after.append(helper.make_node("Identity", [packed], ["new_state"]))
    keep = [value for value in r.graph.input if value.name == "token"]
    del r.graph.input[:]
    r.graph.input.extend([*keep, helper.make_tensor_value_info("state", TensorProto.FLOAT, shape)])
    logits = [value for value in r.graph.output if value.name == "logits"]
    del r.graph.output[:]
    r.graph.output.extend([*logits, helper.make_tensor_value_info("new_state", TensorProto.FLOAT, shape)])
    return r.finish()


VERSIONS = {"v4": (4, 0), "v51": (5, 1), "v52": (5, 2), "v6": (6, 0), "v7": (7, 0)}

# Factors inside of the layers, in the places that a law has for them.
INSIDE = {
    "inside": {"factor": 0.3},
    "key": {"factor": 0.125, "rows": ("key",)},
    "value": {"factor": 4.0, "rows": ("value", "receptance")},
    "receptance": {"factor": 0.125, "rows": ("receptance",)},
    "shift": {"factor": 2.0, "rows": (), "shift": 4.0},
    "tokens": {"factor": 2.0, "shift": 4.0, "tokens": 4},
}
# What is between the layers and the states of the file.
OUTSIDE = {
    "outside": lambda model: rewrite(model, scale=0.3),
    "transposed": lambda model: rewrite(model, scale=8.0, perm=[2, 0, 1]),
    "half": lambda model: rewrite(model, half=True),
    "half-scaled": lambda model: rewrite(model, scale=8.0, half=True),
    "packed": pack,
    "packed-scaled": lambda model: pack(model, scale=8.0),
    "packed-swapped": lambda model: pack(model, scale=8.0, swap=True),
    "layers": lambda model: pack(model, scale=0.3, by_layer=True),
}


def make_model(name):
    """The model of a name such as v6-plain, v6-key, v6-packed-scaled or v6-key+packed-scaled."""
    version, spelling = name.split("-", 1)
    weights = random_checkpoint(VERSIONS[version])
    inside, _, outside = spelling.partition("+")
    if inside in INSIDE:
        model = ScaledExporter(weights, **INSIDE[inside]).build("scaled", export.MINIMUM_OPSET)
    else:
        model, outside = export.export_model(weights), inside
    return OUTSIDE[outside](model) if outside and outside != "plain" else model
