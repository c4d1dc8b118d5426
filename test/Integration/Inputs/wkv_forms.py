# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""wkv_forms.py CC FOLDER [--all]

Both forms of every recurrence, compiled and run, against rwkvc.reference in float64 on the same operands: any number
of valid tokens of a block (whole chunks, a tail, nothing), one and three sequences, chunk lengths from 16 to 128, and
the hardest operands of each law. Prints the largest error of output and state relative to the largest value, over all
numbers of tokens, beside what is allowed; --all runs every chunk length with every batch.
"""

import argparse
import sys

import numpy as np
from rwkvc.reference import V7_DECAY_SCALE, wkv4_recurrent, wkv6_recurrent, wkv7_recurrent
from wkv_kernels import NUMPY, Recurrence

LENGTHS = (0, 1, 7, 16, 63, 64, 65, 130, 512)
HEADS, KEYS, VALUES = 2, 64, 24
CHUNKS = (16, 32, 64, 128)
# Allowed error, relative to the largest value; by law, operands and whether whole chunks are all that is computed. Token
# by token v4's running exponent is rounded at every token, more the larger the keys: the sums it stands for drift, while
# the output, their quotient, does not.
ALLOWED = {("wkv4", "slow", False): 1e-4, ("wkv4", "long keys", False): 5e-4, ("wkv4", "long keys", True): 2e-5}
ALLOWED_F32, ALLOWED_F64 = 5e-6, 1e-12


def normal(rng, shape, scale=1.0):
    return rng.standard_normal(shape) * scale


def operands_wkv4(rng, shapes, kind):
    decay = {"slow": -np.exp(normal(rng, shapes["decay"]) - 8), "none": np.zeros(shapes["decay"])}
    scale = {"long keys": 30.0}.get(kind, 1.0)
    return {
        "key": normal(rng, shapes["key"], scale),
        "value": normal(rng, shapes["value"]),
        "decay": decay.get(kind, -np.exp(normal(rng, shapes["decay"]))),
        "bonus": normal(rng, shapes["bonus"]),
    }


def operands_wkv6(rng, shapes, kind):
    shape = shapes["decay"]
    # Logarithms of the decays; "extreme" reaches e^-115, which is 0 in single precision, next to no decay at all.
    logs = {
        "random": -np.exp(normal(rng, shape) - 2),
        "none": np.zeros(shape),
        "strong": -rng.uniform(5, 20, shape),
        "extreme": -rng.choice([0.0, 1e-6, 1e-3, 0.5, 27.0, 90.0, 115.0], shape),
        # What a foreign graph may have: factors that are no decay.
        "any factor": np.zeros(shape),
    }[kind]
    decay = rng.uniform(-1.02, 1.02, shape) if kind == "any factor" else np.exp(logs)
    names = ("receptance", "key", "value", "bonus")
    return {"decay": decay} | {name: normal(rng, shapes[name]) for name in names}


def operands_wkv7(rng, shapes, kind):
    shape = shapes["decay"]
    logs = {
        "random": -V7_DECAY_SCALE * rng.uniform(0, 1, shape),
        "none": np.zeros(shape),
        "strong": np.full(shape, -V7_DECAY_SCALE),
        "repeated": np.zeros(shape),
        "any factor": np.zeros(shape),
    }[kind]
    removal = normal(rng, shapes["a"])
    rate = rng.uniform(0, 1, shapes["b"])
    if kind == "repeated":
        removal[:] = removal[:, :1]
        rate[:] = 1.0
    removal /= np.linalg.norm(removal, axis=-1, keepdims=True)
    factors = rng.uniform(-0.9, 0.9, shape) if kind == "any factor" else np.exp(logs)
    operands = {name: normal(rng, shapes[name]) for name in ("receptance", "key", "value")}
    return operands | {"decay": factors, "a": -removal, "b": removal * rate}


KINDS = {
    "wkv4": ("random", "slow", "none", "long keys"),
    "wkv5": ("random", "none", "extreme"),
    "wkv6": ("random", "none", "strong", "extreme", "any factor"),
    "wkv7": ("random", "none", "strong", "repeated", "any factor"),
}


def reference_wkv6(r, k, v, w, u, state):
    """The law itself, since the reference takes logarithms and these factors may have none."""
    y = np.empty_like(v)
    for t in range(len(r)):
        y[t] = np.einsum("hk,hkv->hv", r[t], state) + (r[t] * u * k[t]).sum(-1, keepdims=True) * v[t]
        state = w[t][..., None] * state + k[t][..., None] * v[t][:, None]
    return y, state


def reference_wkv7(r, w, k, v, a, b, state):
    y = np.empty_like(v)
    for t in range(len(r)):
        removed = np.einsum("hvk,hk->hv", state, a[t])
        state = state * w[t][:, None] + removed[..., None] * b[t][:, None] + v[t][..., None] * k[t][:, None]
        y[t] = np.einsum("hvk,hk->hv", state, r[t])
    return y, state


def reference(law, kind, operands, states, sequence, tokens):
    """Output and state of one sequence after `tokens` tokens, in float64."""
    o = {n: x.astype(np.float64) for n, x in operands.items()}
    o = {n: x[min(sequence, len(x) - 1)] if x.ndim > 2 else x for n, x in o.items()}
    state = [x[sequence].astype(np.float64) for x in states]
    if tokens == 0:
        return o["value"][:0], np.stack(state) if law == "wkv4" else state[0]
    rows = {n: x[:tokens] for n, x in o.items()}
    if law == "wkv4":
        return wkv4_recurrent(rows["key"], rows["value"], o["decay"], o["bonus"], np.stack(state))
    decay = np.broadcast_to(o["decay"][:tokens], (tokens, *o["decay"].shape[1:]))
    with np.errstate(divide="ignore"):
        logs = None if kind == "any factor" else np.log(decay)
    r, k, v = rows["receptance"], rows["key"], rows["value"]
    if law in ("wkv5", "wkv6"):
        run, w = (reference_wkv6, decay) if logs is None else (None, logs)
        if run:
            return run(r, k, v, w, o["bonus"], state[0])
        return wkv6_recurrent(r, k, v, w, o["bonus"], state[0])
    if logs is None:
        return reference_wkv7(r, decay, k, v, rows["a"], rows["b"], state[0])
    return wkv7_recurrent(r, logs, k, v, rows["a"], rows["b"], state[0])


def error(got, wanted):
    if wanted.size == 0:
        return 0.0
    largest = max(np.abs(wanted).max(), 1e-30)
    return float(np.nan_to_num(np.abs(got - wanted) / largest, nan=np.inf).max())


def state_error(law, states, sequence, wanted):
    if law != "wkv4":
        return error(states[0][sequence], wanted)
    # Sums with an exponent of their own: what they stand for, relative to the exact one of the channel.
    num, den, top = (x[sequence].astype(np.float64) for x in states)
    scale = np.exp(np.minimum(top - wanted[2], 80))
    return max(
        error(num * scale / wanted[1], wanted[0] / wanted[1]), error(den * scale / wanted[1], wanted[1] / wanted[1])
    )


class Checker:
    def __init__(self, cc, folder):
        self.cc, self.folder, self.failures, self.built = cc, folder, 0, 0

    def check(self, law, batch, chunk, element="f32", tokens=LENGTHS[-1], length=True, lengths=LENGTHS):
        name = "wkv6" if law == "wkv5" else law
        op = Recurrence(name, batch, tokens, HEADS, KEYS, VALUES, element, static=law == "wkv5", length=length)
        form = f"wkv-form=chunked wkv-chunk={chunk}" if chunk else "wkv-form=recurrent"
        op.build(self.cc, self.folder, f"{law}_{self.built}", options=form)
        self.built += 1
        for kind in KINDS[law]:
            rng = np.random.default_rng([batch, chunk, tokens])
            make = {"wkv4": operands_wkv4, "wkv7": operands_wkv7}.get(law, operands_wkv6)
            operands = make(rng, op.operands, kind)
            operands = {n: np.ascontiguousarray(x, NUMPY[element]) for n, x in operands.items()}
            start = [normal(rng, shape).astype(NUMPY[element]) for shape in op.states]
            if law == "wkv4":
                start = [start[0], np.abs(start[1]) + NUMPY[element](0.1), start[2]]
            worst_y = worst_state = 0.0
            for count in lengths:
                states = [x.copy() for x in start]
                y = op.call(operands, states, count)
                for b in range(batch):
                    wanted_y, wanted_state = reference(law, kind, operands, start, b, count)
                    worst_y = max(worst_y, error(y[b, :count], wanted_y))
                    worst_state = max(worst_state, state_error(law, states, b, wanted_state))
            whole = chunk > 0 and not any(count % chunk for count in lengths)
            allowed = ALLOWED.get((law, kind, whole), ALLOWED_F32) if element == "f32" else ALLOWED_F64
            verdict = "ok" if max(worst_y, worst_state) <= allowed else "WRONG"
            self.failures += verdict == "WRONG"
            shape = f"{element} batch {batch}, {'up to ' if length else ''}{max(lengths)} tokens"
            form = f"chunks of {chunk}" if chunk else "recurrent"
            print(
                f"{law} {kind}, {form}, {shape}: y {worst_y:.1e}, state {worst_state:.1e}, allowed {allowed:.0e}: {verdict}"
            )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("cc")
    parser.add_argument("folder")
    parser.add_argument("--all", action="store_true", help="every chunk length with every batch")
    parser.add_argument("--law", help="this one alone")
    options = parser.parse_args()
    checker = Checker(options.cc, options.folder)
    for law in KINDS:
        if options.law not in (None, law):
            continue
        for i, chunk in enumerate((0, *CHUNKS)):
            for batch in (1, 3) if options.all else ((1, 3)[i % 2],):
                checker.check(law, batch, chunk)
        checker.check(law, 1, 32, element="f64", lengths=(64, 130))
        # A length that is known at compile time: one token, a tail, whole chunks.
        for tokens in (1, 80, 96):
            checker.check(law, 2, 32, tokens=tokens, length=False, lengths=(tokens,))
    print("FAIL" if checker.failures else "PASS")
    return 1 if checker.failures else 0


if __name__ == "__main__":
    sys.exit(main())
