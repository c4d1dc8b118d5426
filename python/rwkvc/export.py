# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Exports an RWKV checkpoint (v4, v5.1, v5.2, v6, v7) as an ONNX graph with explicit state.

    python -m rwkvc.export model.safetensors -o model.onnx

Graph interface, all float32 but the token:
  token   int64[1]                          -> logits float[1, vocabulary]
  state_<layer>_att_shift  [1, width]       -> new_state_<layer>_att_shift
  state_<layer>_wkv        [heads, N, N]    -> new_state_<layer>_wkv         v5, v6: (key, value); v7: (value, key)
  state_<layer>_aa, _bb, _pp  [1, width]    -> new_state_<layer>_aa, ...     v4 in place of _wkv
  state_<layer>_ffn_shift  [1, width]       -> new_state_<layer>_ffn_shift
The empty state is all zeros, except _pp: -1e30.

For several texts (--batch B) token, logits and rows have B in place of 1, and _wkv is [B, heads, N, N]. For several tokens
(--tokens T) token is [B, T] and the logits are [B, T, vocabulary]. For T a number the loop over tokens is unrolled; for a
name the file leaves their number open, and the loop is a Scan. With --last-logits the logits are [B, vocabulary].
"""

import argparse
import math
import pathlib
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from rwkvc.checkpoint import CheckpointError, count_layers, detect_version, load_checkpoint
from rwkvc.reference import GROUP_NORM_EPS, L2_NORM_EPS, LAYER_NORM_EPS, V4_EMPTY, V7_DECAY_SCALE

MINIMUM_OPSET = 18  # ReduceL2 and Split in their present form
INLINE_LIMIT = 256 << 20  # bytes of weights above which they go to an external data file by default


class _Builder:
    """Appends nodes to a graph; every method returns the name of the value it made."""

    def __init__(self, weights):
        self.weights = weights
        self.nodes, self.inputs, self.outputs = [], [], []
        self.initializers = {}
        self.scope = ""

    def take(self, name, *shape):
        """A checkpoint tensor in float64, checked against and reshaped to shape (-1 = any extent)."""
        if name not in self.weights:
            raise CheckpointError(f"tensor '{name}' is missing; expected shape {list(shape)}")
        value = np.asarray(self.weights[name], np.float64)
        try:
            return value.reshape(shape)
        except ValueError as error:
            found = list(value.shape)
            raise CheckpointError(f"tensor '{name}' has shape {found}; expected {list(shape)}") from error

    def weight(self, name, value, dtype=np.float32):
        """An initializer; one array is stored once however often it is asked for."""
        if name not in self.initializers:
            self.initializers[name] = numpy_helper.from_array(np.asarray(value, dtype, order="C"), name)
        return name

    def vector(self, name, *shape):
        """A checkpoint tensor as an initializer of exactly this shape."""
        return self.weight(name, self.take(name, *shape))

    def scalar(self, value):
        return self.weight(f"const.{value!r}", np.float32(value))

    def shape(self, *dims):
        return self.weight("shape." + "x".join(map(str, dims)), np.array(dims), np.int64)

    def op(self, kind, *args, outputs=1, **attributes):
        base = f"{self.scope}{kind}_{len(self.nodes)}"
        names = [base] if outputs == 1 else [f"{base}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(args), names, name=base, **attributes))
        return names[0] if outputs == 1 else names

    def linear(self, x, name, rows, columns):
        """x @ W.T for the (out, in) weight of a torch Linear layer."""
        return self.op("MatMul", x, self.weight(name + ".transposed", self.take(name, rows, columns).T))

    def matmul(self, x, name, rows, columns):
        return self.op("MatMul", x, self.vector(name, rows, columns))

    def layer_norm(self, x, prefix, width):
        scale, bias = (self.vector(f"{prefix}.{part}", width) for part in ("weight", "bias"))
        return self.op("LayerNormalization", x, scale, bias, axis=-1, epsilon=LAYER_NORM_EPS)

    def silu(self, x):
        return self.op("Mul", x, self.op("Sigmoid", x))

    def reshape(self, x, *dims):
        return self.op("Reshape", x, self.shape(*dims))

    def state(self, name, dims):
        """Declares the state pair (name, new_<name>) and returns the input's name."""
        for values, value in ((self.inputs, name), (self.outputs, "new_" + name)):
            values.append(helper.make_tensor_value_info(value, TensorProto.FLOAT, dims))
        return name

    def keep(self, name, value):
        """Makes value the new value of the state called name."""
        self.nodes.append(helper.make_node("Identity", [value], ["new_" + name], name="new_" + name))


class _Exporter:
    def __init__(self, weights, group_norm_eps, batch=1, tokens=1, last_logits=False):
        self.b = _Builder(weights)
        self.batch, self.tokens, self.last_logits = batch, tokens, last_logits
        self.open = isinstance(tokens, str)
        # The axes before a row of channels, and before heads.
        self.rows = [batch] if tokens == 1 else [batch, -1 if self.open else tokens]
        self.lead = [] if self.rows == [1] else self.rows
        self.texts = [] if batch == 1 else [batch]  # the axes before the heads of one token
        self.major, self.minor = detect_version(weights)
        self.eps = group_norm_eps
        self.layers = count_layers(weights)
        self.vocabulary, self.width = self.extents("emb.weight")
        _, self.att_width = self.extents("blocks.0.att.output.weight")
        self.ffn_width, _ = self.extents("blocks.0.ffn.key.weight")
        self.heads = 1 if self.major == 4 else self.count_heads()
        self.head_size = self.att_width // self.heads
        if self.heads * self.head_size != self.att_width:
            raise CheckpointError(f"{self.heads} heads do not divide the attention width {self.att_width}")

    def extents(self, name):
        """Rows and columns of a matrix whose extents define the model's."""
        if name not in self.b.weights:
            raise CheckpointError(f"tensor '{name}' is missing; expected a matrix")
        shape = self.b.weights[name].shape
        if len(shape) != 2 or 0 in shape:
            raise CheckpointError(f"tensor '{name}' has shape {list(shape)}; expected a matrix")
        return shape

    def count_heads(self):
        name = {(5, 1): "time_decay", (5, 2): "time_faaaa", (6, 0): "time_faaaa", (7, 0): "r_k"}
        name = "blocks.0.att." + name[self.major, self.minor]
        if name not in self.b.weights or not self.b.weights[name].ndim:
            raise CheckpointError(f"tensor '{name}' is missing or a scalar; its first dimension counts the heads")
        return self.b.weights[name].shape[0]

    # -- token shift ---------------------------------------------------------------------------------------------

    def shift(self, state, x):
        """Declares a token-shift state; returns the previous token's row and keeps the present one."""
        b = self.b
        last = -1 if self.open else self.tokens - 1
        previous = b.state(state, [self.batch, self.width])
        if self.tokens == 1:
            b.keep(state, x)
            return previous
        b.keep(state, self.at(x, last))
        earlier = b.op("Slice", x, b.shape(0), b.shape(last), b.shape(1))
        return b.op("Concat", b.op("Unsqueeze", previous, b.shape(1)), earlier, axis=1)

    def at(self, x, token):
        """The rows of one of several tokens."""
        return self.b.op("Gather", x, self.b.weight(f"index.{token}", token, np.int64), axis=1)

    def lerp(self, x, previous, name):
        """v4, v5: mu weighs the present token. x*mu + previous*(1 - mu)."""
        b = self.b
        mu = b.take(name, self.width)
        now = b.op("Mul", x, b.weight(name, mu))
        return b.op("Add", now, b.op("Mul", previous, b.weight(name + ".complement", 1 - mu)))

    def delta_lerp(self, x, delta, mu):
        """v6, v7: mu weighs the previous token. x + (previous - x)*mu."""
        return self.b.op("Add", x, self.b.op("Mul", delta, mu))

    def recur(self, states, dims, rows, step):
        """Takes the states called so through all tokens: step(states, a token's rows) -> (output, new states)."""
        b, outputs = self.b, []
        values = [b.state(name, dims) for name in states]
        if self.open:
            *values, y = self.scan(values, rows, step)
            for name, value in zip(states, values):
                b.keep(name, value)
            return y
        for t in range(self.tokens):
            now = rows if self.tokens == 1 else [self.at(x, t) for x in rows]
            y, values = step(values, *now)
            outputs.append(y)
        for name, value in zip(states, values):
            b.keep(name, value)
        if self.tokens == 1:
            return outputs[0]
        return b.op("Concat", *(b.reshape(y, self.batch, 1, self.att_width) for y in outputs), axis=1)

    def scan(self, states, rows, step):
        """The same as one node: the states after all tokens, then the outputs."""
        b, scope, outer = self.b, self.b.scope, self.b.nodes
        b.nodes, b.scope = [], scope + "scan."
        inputs = [
            f"{b.scope}{kind}_{i}" for kind, values in (("state", states), ("row", rows)) for i in range(len(values))
        ]
        y, values = step(inputs[: len(states)], *inputs[len(states) :])
        outputs = [*values, b.reshape(y, self.batch, self.att_width)]
        # Shapes follow from the outer graph's.
        declared = (
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in n] for n in (inputs, outputs)
        )
        body = helper.make_graph(b.nodes, b.scope + "body", *declared)
        b.nodes, b.scope = outer, scope
        return b.op(
            "Scan",
            *states,
            *rows,
            outputs=len(outputs),
            body=body,
            num_scan_inputs=len(rows),
            scan_input_axes=[1] * len(rows),
            scan_output_axes=[1],
        )

    # -- time mixing ---------------------------------------------------------------------------------------------

    def time_mix_v4(self, x, layer, p):
        b, C, D = self.b, self.att_width, self.width
        previous = self.shift(f"state_{layer}_att_shift", x)
        r, k, v = (
            b.linear(self.lerp(x, previous, f"{p}time_mix_{n}"), f"{p}{full}.weight", C, D)
            for n, full in (("r", "receptance"), ("k", "key"), ("v", "value"))
        )
        log_decay = b.weight(p + "log_decay", -np.exp(b.take(p + "time_decay", C)))

        def weigh(sums, past, now, v):
            """Both sums with the exponents past and now, scaled by their maximum: nothing overflows."""
            q = b.op("Max", past, now)
            e1, e2 = (b.op("Exp", b.op("Sub", e, q)) for e in (past, now))
            numerator = b.op("Add", b.op("Mul", e1, sums[0]), b.op("Mul", e2, v))
            return numerator, b.op("Add", b.op("Mul", e1, sums[1]), e2), q

        def step(states, k, v):
            *sums, pp = states
            numerator, denominator, _ = weigh(sums, pp, b.op("Add", k, b.vector(p + "time_first", C)), v)
            return b.op("Div", numerator, denominator), weigh(sums, b.op("Add", pp, log_decay), k, v)

        names = [f"state_{layer}_{n}" for n in ("aa", "bb", "pp")]
        y = b.op("Mul", b.op("Sigmoid", r), self.recur(names, [self.batch, C], [k, v], step))
        return b.linear(y, p + "output.weight", D, C)

    def wkv6(self, layer, r, k, v, decay, bonus):
        """v5's and v6's recurrence on rows; the output reads the old state. S: (H, key, value).

        The decay is a weight (H, N or 1, 1) or, in v6, rows.
        """
        b, H, N, texts = self.b, self.heads, self.head_size, self.texts

        def step(states, r, k, v, decay=decay):
            if self.major == 6:
                decay = b.reshape(decay, *texts, H, N, 1)
            kv = b.op("MatMul", b.reshape(k, *texts, H, N, 1), b.reshape(v, *texts, H, 1, N))
            read = b.op("Add", states[0], b.op("Mul", bonus, kv))
            S = b.op("Add", b.op("Mul", decay, states[0]), kv)
            return b.op("MatMul", b.reshape(r, *texts, H, 1, N), read), [S]

        rows = [r, k, v] + ([decay] if self.major == 6 else [])
        return self.recur([f"state_{layer}_wkv"], [*texts, H, N, N], rows, step)

    def head_norm(self, y, p):
        """Group norm with one group per head, written as a LayerNormalization over the head; -> rows."""
        b, H, N, C = self.b, self.heads, self.head_size, self.att_width
        ones = b.weight(f"ones.{N}", np.ones(N))
        y = b.op("LayerNormalization", b.reshape(y, *self.lead, H, N), ones, axis=-1, epsilon=self.eps)
        y = b.op("Mul", b.reshape(y, *self.rows, C), b.vector(p + "ln_x.weight", C))
        return b.op("Add", y, b.vector(p + "ln_x.bias", C))

    def time_mix_v5(self, x, layer, p):
        b, C, D, H = self.b, self.att_width, self.width, self.heads
        previous = self.shift(f"state_{layer}_att_shift", x)
        r, k, v = (
            b.linear(self.lerp(x, previous, f"{p}time_mix_{n}"), f"{p}{full}.weight", C, D)
            for n, full in (("r", "receptance"), ("k", "key"), ("v", "value"))
        )
        per_head = 1 if self.minor == 1 else self.head_size
        decay = np.exp(-np.exp(b.take(p + "time_decay", H, per_head, 1)))
        # The bonus of v5.1 is stored as a logarithm, that of v5.2 is not.
        bonus = np.exp(b.take(p + "time_first", H, 1, 1)) if self.minor == 1 else None
        bonus = b.take(p + "time_faaaa", H, per_head, 1) if bonus is None else bonus
        y = self.wkv6(layer, r, k, v, b.weight(p + "decay", decay), b.weight(p + "bonus", bonus))
        y = self.head_norm(y, p)
        if self.minor == 2:
            gate = b.linear(self.lerp(x, previous, p + "time_mix_g"), p + "gate.weight", C, D)
            y = b.op("Mul", y, b.silu(gate))
        return b.linear(y, p + "output.weight", D, C)

    def time_mix_v6(self, x, layer, p):
        b, C, D = self.b, self.att_width, self.width
        delta = b.op("Sub", self.shift(f"state_{layer}_att_shift", x), x)
        _, five_ranks = self.extents(p + "time_maa_w1")
        rank = five_ranks // 5
        z = self.delta_lerp(x, delta, b.vector(p + "time_maa_x", D))
        z = b.op("Tanh", b.matmul(z, p + "time_maa_w1", D, 5 * rank))
        if self.lead:
            z = b.op("Transpose", b.reshape(z, -1, 5, rank), perm=[1, 0, 2])
        else:
            z = b.reshape(z, 5, 1, rank)
        z = b.op("MatMul", z, b.vector(p + "time_maa_w2", 5, rank, D))
        mixed = {}
        for n, part in zip("wkvrg", b.op("Split", z, outputs=5, axis=0, num_outputs=5)):
            mu = b.op("Add", b.reshape(part, *self.rows, D), b.vector(p + "time_maa_" + n, D))
            mixed[n] = self.delta_lerp(x, delta, mu)
        _, decay_rank = self.extents(p + "time_decay_w1")
        w = b.op("Tanh", b.matmul(mixed["w"], p + "time_decay_w1", D, decay_rank))
        w = b.op("Add", b.matmul(w, p + "time_decay_w2", decay_rank, C), b.vector(p + "time_decay", C))
        decay = b.op("Exp", b.op("Neg", b.op("Exp", w)))
        r, k, v, g = (
            b.linear(mixed[n], f"{p}{full}.weight", C, D)
            for n, full in (("r", "receptance"), ("k", "key"), ("v", "value"), ("g", "gate"))
        )
        y = self.wkv6(layer, r, k, v, decay, b.vector(p + "time_faaaa", self.heads, self.head_size, 1))
        y = b.op("Mul", self.head_norm(y, p), b.silu(g))
        return b.linear(y, p + "output.weight", D, C)

    def lora(self, x, p, name, width_in, activation=None):
        """activation(x @ name1) @ name2, -> rows."""
        b = self.b
        _, rank = self.extents(f"{p}{name}1")
        x = b.matmul(x, f"{p}{name}1", width_in, rank)
        x = b.op(activation, x) if activation else x
        return b.matmul(x, f"{p}{name}2", rank, self.att_width)

    def time_mix_v7(self, x, layer, p):
        b, C, D, H, N = self.b, self.att_width, self.width, self.heads, self.head_size
        delta = b.op("Sub", self.shift(f"state_{layer}_att_shift", x), x)
        mixed = {n: self.delta_lerp(x, delta, b.vector(f"{p}x_{n}", D)) for n in "rwkvag"}
        r, k, v = (
            b.linear(mixed[n], f"{p}{full}.weight", C, D)
            for n, full in (("r", "receptance"), ("k", "key"), ("v", "value"))
        )

        def gate(name, activation=None):
            chain = self.lora(mixed[name], p, name, D, activation)
            return b.op("Sigmoid", b.op("Add", chain, b.vector(f"{p}{name}0", C)))

        decay = b.op("Exp", b.op("Mul", gate("w", "Tanh"), b.scalar(-V7_DECAY_SCALE)))
        rate = gate("a")  # the in-context learning rate
        if layer == 0:
            self.v_first = v
        else:
            v = b.op("Add", v, b.op("Mul", b.op("Sub", self.v_first, v), gate("v")))
        lead, texts = self.lead, self.texts
        removal = b.reshape(b.op("Mul", k, b.vector(p + "k_k", C)), *lead, H, N)
        norm = b.op("ReduceL2", removal, b.shape(-1), keepdims=1)
        removal = b.op("Div", removal, b.op("Max", norm, b.scalar(L2_NORM_EPS)))
        scale = b.op("Mul", b.op("Sub", rate, b.scalar(1.0)), b.vector(p + "k_a", C))
        k = b.op("Mul", k, b.op("Add", scale, b.scalar(1.0)))

        def step(states, r, k, v, decay, removal, back):
            (S,) = states
            sa = b.op("MatMul", S, b.reshape(b.op("Neg", removal), *texts, H, N, 1))
            S = b.op("Mul", S, b.reshape(decay, *texts, H, 1, N))
            S = b.op("Add", S, b.op("MatMul", sa, b.reshape(back, *texts, H, 1, N)))
            S = b.op("Add", S, b.op("MatMul", b.reshape(v, *texts, H, N, 1), b.reshape(k, *texts, H, 1, N)))
            return b.op("MatMul", S, b.reshape(r, *texts, H, N, 1)), [S]

        back = b.op("Mul", removal, b.reshape(rate, *lead, H, N))
        rows = [r, k, v, decay, removal, back]
        y = self.head_norm(self.recur([f"state_{layer}_wkv"], [*texts, H, N, N], rows, step), p)
        rk = b.op("Mul", b.reshape(b.op("Mul", r, k), *lead, H, N), b.vector(p + "r_k", H, N))
        bonus = b.op("Mul", b.op("ReduceSum", rk, b.shape(-1), keepdims=1), b.reshape(v, *lead, H, N))
        y = b.op("Add", y, b.reshape(bonus, *self.rows, C))
        y = b.op("Mul", y, self.lora(mixed["g"], p, "g", D, "Sigmoid"))
        return b.linear(y, p + "output.weight", D, C)

    # -- channel mixing ------------------------------------------------------------------------------------------

    def channel_mix(self, x, layer, p):
        b, D, F = self.b, self.width, self.ffn_width
        previous = self.shift(f"state_{layer}_ffn_shift", x)
        if self.major >= 6:
            delta = b.op("Sub", previous, x)
            prefix = p + ("x_" if self.major == 7 else "time_maa_")
            mix = {n: self.delta_lerp(x, delta, b.vector(prefix + n, D)) for n in ("k" if self.major == 7 else "kr")}
        else:
            mix = {n: self.lerp(x, previous, f"{p}time_mix_{n}") for n in "kr"}
        k = b.op("Relu", b.linear(mix["k"], p + "key.weight", F, D))
        y = b.linear(b.op("Mul", k, k), p + "value.weight", D, F)
        if "r" in mix:
            y = b.op("Mul", b.op("Sigmoid", b.linear(mix["r"], p + "receptance.weight", D, D)), y)
        return y

    # -- the graph -----------------------------------------------------------------------------------------------

    def build(self, name, opset):
        b = self.b
        rows = [self.batch, self.tokens] if self.open else self.rows
        b.inputs.append(helper.make_tensor_value_info("token", TensorProto.INT64, rows))
        shape = [*(rows[:1] if self.last_logits else rows), self.vocabulary]
        b.outputs.append(helper.make_tensor_value_info("logits", TensorProto.FLOAT, shape))
        x = b.op("Gather", b.vector("emb.weight", self.vocabulary, self.width), "token", axis=0)
        x = b.layer_norm(x, "blocks.0.ln0", self.width)
        time_mix = {4: self.time_mix_v4, 5: self.time_mix_v5, 6: self.time_mix_v6, 7: self.time_mix_v7}[self.major]
        for layer in range(self.layers):
            block = f"blocks.{layer}."
            b.scope = block + "att."
            x = b.op("Add", x, time_mix(b.layer_norm(x, block + "ln1", self.width), layer, b.scope))
            b.scope = block + "ffn."
            x = b.op("Add", x, self.channel_mix(b.layer_norm(x, block + "ln2", self.width), layer, b.scope))
        b.scope = ""
        if self.last_logits and len(self.rows) > 1:
            x = self.at(x, -1)
        x = b.linear(b.layer_norm(x, "ln_out", self.width), "head.weight", self.vocabulary, self.width)
        b.nodes.append(helper.make_node("Identity", [x], ["logits"], name="logits"))
        graph = helper.make_graph(b.nodes, name, b.inputs, b.outputs)
        opsets = [helper.make_opsetid("", opset)]
        model = helper.make_model(graph, opset_imports=opsets, producer_name="rwkvc.export")
        model.ir_version = min(model.ir_version, helper.find_min_ir_version_for(opsets, ignore_unknown=True))
        helper.set_model_props(
            model, {"rwkv.version": f"{self.major}.{self.minor}", "rwkv.group_norm_eps": repr(self.eps)}
        )
        # Last, for the helpers copy; and one by one, for all of them may take half of the memory.
        for tensor in list(b.initializers):
            model.graph.initializer.append(b.initializers.pop(tensor))
        return model


def export_model(
    weights, group_norm_eps=GROUP_NORM_EPS, opset=MINIMUM_OPSET, name="rwkv", batch=1, tokens=1, last_logits=False
):
    """The ONNX model of a checkpoint (tensor name -> array) for so many tokens of each of so many texts.

    See the module's text for its interface. tokens: a number, or the name of a dimension that stays open
    group_norm_eps is not in the checkpoint: BlinkDL's inference code uses 64e-5, rwkv.cpp uses 1e-5 for v5.
    """
    if opset < MINIMUM_OPSET:
        raise ValueError(f"opset {opset}: the exporter writes opset {MINIMUM_OPSET} or newer")
    if not (group_norm_eps > 0 and math.isfinite(group_norm_eps)):
        raise ValueError(f"group norm epsilon {group_norm_eps}: expected a positive number")
    if tokens == "" or batch < 1 or (isinstance(tokens, int) and tokens < 1):
        raise ValueError(f"{tokens} tokens of {batch} texts: expected at least 1, or a name for the number of tokens")
    return _Exporter(weights, group_norm_eps, batch, tokens, last_logits).build(name, opset)


def empty_state(model):
    """The state to start from, as the feed of an exported model's state inputs: name -> array."""
    state = {}
    for value in model.graph.input:
        if value.name == "token":
            continue
        dims = [d.dim_value for d in value.type.tensor_type.shape.dim]
        state[value.name] = np.full(dims, V4_EMPTY if value.name.endswith("_pp") else 0, np.float32)
    return state


def save_model(model, path, external_data=None):
    """Writes the model; with external_data (default: if large) its weights go to `<path stem>.data` beside it."""
    path = pathlib.Path(path)
    if external_data is None:
        external_data = sum(len(t.raw_data) for t in model.graph.initializer) > INLINE_LIMIT
    if not external_data:
        onnx.save_model(model, path)
        return
    data = path.with_suffix(".data")
    data.unlink(missing_ok=True)  # onnx appends to a file that exists
    onnx.save_model(model, path, save_as_external_data=True, location=data.name, size_threshold=1024)


def export_file(
    source,
    target,
    group_norm_eps=GROUP_NORM_EPS,
    opset=MINIMUM_OPSET,
    external_data=None,
    batch=1,
    tokens=1,
    last_logits=False,
):
    """Exports the checkpoint file source as the ONNX file target and returns the model's (major, minor) version."""
    weights = load_checkpoint(source)
    try:
        model = export_model(weights, group_norm_eps, opset, pathlib.Path(source).stem, batch, tokens, last_logits)
    except CheckpointError as error:
        raise CheckpointError(f"{source}: {error}") from error
    save_model(model, target, external_data)
    return detect_version(weights)


def main(arguments=None):
    parser = argparse.ArgumentParser(
        prog="python -m rwkvc.export",
        description="Export an RWKV checkpoint (safetensors, v4 to v7) as an ONNX graph.",
    )
    parser.add_argument("checkpoint", help="safetensors file with the tensor names of the training checkpoints")
    parser.add_argument("-o", "--output", required=True, help="ONNX file to write")
    parser.add_argument(
        "--group-norm-eps",
        type=float,
        default=GROUP_NORM_EPS,
        help="epsilon of the per-head group norm, v5 to v7 (default %(default)s; rwkv.cpp uses 1e-5 for v5)",
    )
    parser.add_argument("--opset", type=int, default=MINIMUM_OPSET, help="ONNX opset, default and least %(default)s")
    parser.add_argument("--batch", type=int, default=1, help="texts that the graph computes at once (default 1)")
    parser.add_argument(
        "--tokens",
        type=lambda text: int(text) if text.lstrip("-").isdigit() else text,
        default=1,
        help="tokens of each: a number, of which the loop is unrolled, or a name for any number, by Scan (default 1)",
    )
    parser.add_argument("--last-logits", action="store_true", help="logits after the last of several tokens only")
    parser.add_argument(
        "--external-data",
        action=argparse.BooleanOptionalAction,
        help="write the weights to OUTPUT's name with .data (default: if they exceed 256 MiB)",
    )
    options = parser.parse_args(arguments)
    try:
        version = export_file(
            options.checkpoint,
            options.output,
            options.group_norm_eps,
            options.opset,
            options.external_data,
            options.batch,
            options.tokens,
            options.last_logits,
        )
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    of = "one token" if options.tokens == 1 else f"{options.tokens} tokens"
    of += f" of {options.batch} texts" if options.batch > 1 else ""
    print(f"{options.output}: RWKV v{version[0]}.{version[1]}, {of}, from {options.checkpoint}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
