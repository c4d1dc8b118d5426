# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A recurrence op of the wkv dialect alone, compiled to a library and called on numpy arrays."""

import ctypes
import pathlib
import re
import subprocess

import numpy as np

PARALLEL_FOR = """
typedef void (*Task)(void *, long, long);
void rwkvrt_parallel_for(Task task, void *context, long units) {
  for (long unit = units; unit-- > 0;)
    task(context, unit, unit + 1);
}
"""
NUMPY = {"f32": np.float32, "f64": np.float64}
PHASES = ("after-wkv", "before-bufferize", "after-bufferize", "before-llvm", "llvm")


def run(command, text=None):
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))[:300]}\n{done.stderr[-4000:]}")
    return done.stdout


def tensor(shape, element):
    return f"tensor<{''.join(f'{n}x' for n in shape)}{element}>"


class Recurrence:
    """`law` is wkv4, wkv6 or wkv7. Operands are named as in the op's assembly; `static` gives wkv6 one decay for all
    tokens, `length` an operand that counts the valid tokens."""

    def __init__(self, law, batch, tokens, heads, keys, values=None, element="f32", static=False, length=False):
        self.law, self.element = law, element
        values = values or keys
        rows = (batch, tokens, heads, keys)
        columns = (batch, tokens, heads, values)
        if law == "wkv4":
            width = heads * keys
            columns = (batch, tokens, width)
            self.operands = {"key": columns, "value": columns, "decay": (width,), "bonus": (width,)}
            self.states = [(batch, width)] * 3
        elif law == "wkv6":
            decay = (1, 1, heads, keys) if static else rows
            self.operands = {"receptance": rows, "key": rows, "value": columns, "decay": decay, "bonus": (heads, keys)}
            self.states = [(batch, heads, keys, values)]
        else:
            self.operands = dict.fromkeys(("receptance", "decay", "key"), rows)
            self.operands |= {"value": columns, "a": rows, "b": rows}
            self.states = [(batch, heads, values, keys)]
        self.output, self.length = columns, length

    def module(self, attributes=""):
        states = [f"s{i}" for i in range(len(self.states))]
        arguments = [f'%{n}: {tensor(s, self.element)} {{onnx.name = "{n}"}}' for n, s in self.operands.items()]
        if self.length:
            arguments.append('%length: tensor<i64> {onnx.name = "length"}')
        state_types = [tensor(s, self.element) for s in self.states]
        for i, (name, kind) in enumerate(zip(states, state_types)):
            arguments.append(f'%{name}: {kind} {{onnx.name = "{name}", wkv.state = {i + 1} : i64}}')
        y = tensor(self.output, self.element)
        types = [tensor(s, self.element) for s in self.operands.values()] + ["tensor<i64>"] * self.length + [y]
        results = [y, *state_types]
        named = [f'{t} {{onnx.name = "out{i}"}}' for i, t in enumerate(results)]
        operands = " ".join(f"{n}(%{n})" for n in self.operands) + " length(%length)" * self.length
        values = ", ".join(f"%r{i}" for i in range(len(results)))
        return f"""func.func @main({", ".join(arguments)}) -> ({", ".join(named)}) {{
  %init = tensor.empty() : {y}
  {values} = wkv.{self.law} {operands} init(%init) state({", ".join("%" + n for n in states)}) {attributes}
      : ({", ".join(types + state_types)}) -> ({", ".join(results)})
  return {values} : {", ".join(results)}
}}
"""

    def build(self, cc, folder, name, attributes="", passes=(), options="", flags=()):
        """Compiles to a library in `folder` and loads it. `passes` run on the wkv op, `options` go to every phase."""
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        phases = [f"-rwkvc-to-{phase}={options}" for phase in PHASES]
        lowered = run(["rwkv-opt", "-rwkvc-describe-interface", *passes, *phases], self.module(attributes))
        size = int(re.search(r"rwkvc.workspace_size = (\d+)", lowered)[1])
        ir = run(["mlir-translate", "-mlir-to-llvmir"], lowered)
        ir = re.sub(r"^define (void @kernel)", r"define internal \1", ir, flags=re.M)
        (folder / f"{name}.ll").write_text(ir)
        (folder / "parallel_for.c").write_text(PARALLEL_FOR)
        library = folder / f"{name}.so"
        command = [cc, "-O2", "-march=native", "-ffp-contract=off", "-Wno-override-module", "-shared", "-fPIC", *flags]
        run([*command, folder / f"{name}.ll", folder / "parallel_for.c", "-lm", "-o", library])
        self.main, self.workspace = ctypes.CDLL(str(library)).main, np.zeros(size + 64, np.uint8)
        self.main.restype = None

    def call(self, operands, states, length=None):
        """Runs the op; the arrays of `states` are updated. Returns y, which starts as NaN."""
        y = np.full(self.output, np.nan, NUMPY[self.element])
        arrays = [operands[n] for n in self.operands]
        if self.length:
            arrays.append(np.array(length, np.int64))
        arrays += [y, *states]
        self.run(self.arguments(arrays))
        return y

    def arguments(self, arrays):
        start = -self.workspace.ctypes.data % 64
        self.arrays = [*arrays, np.zeros(0, np.uint8), self.workspace[start:]]
        words = []
        for array in self.arrays:
            words += [
                array.ctypes.data,
                array.ctypes.data,
                0,
                *array.shape,
                *(s // array.itemsize for s in array.strides),
            ]
        return [ctypes.c_int64(word) for word in words]

    def run(self, arguments):
        self.main(*arguments)
