# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""math_accuracy.py CC FOLDER

Compiles exp, tanh and the others that rwkvc-expand-math expands, runs them over single-precision numbers of every size
and both signs, and compares with double precision. Prints the largest error in units in the last place (ulp) of the
result and where it is; the allowed errors stand below. Results below the smallest normal number may be flushed to zero,
and the logarithm of an argument below it is not held to anything.
"""

import argparse
import ctypes
import math
import pathlib
import subprocess
import sys

import numpy as np

# Function, double-precision reference, allowed error in ulp.
FUNCTIONS = (
    ("exp", np.exp, 5.0),
    ("expm1", np.expm1, 5.0),
    ("tanh", np.tanh, 5.0),
    ("erf", np.vectorize(math.erf, otypes=[np.float64]), 5.0),
    ("log", np.log, 2.0),
    ("log1p", np.log1p, 3.0),
)
# Argument and result that must be met exactly; nan equals nan.
INF, NAN = math.inf, math.nan
EXACT = {
    "exp": (
        (0.0, 1.0),
        (-0.0, 1.0),
        (INF, INF),
        (-INF, 0.0),
        (-1e30, 0.0),
        (-104.0, 0.0),
        (-1e4, 0.0),
        (100.0, INF),
        (NAN, NAN),
    ),
    "expm1": ((0.0, 0.0), (INF, INF), (-INF, -1.0), (-1e30, -1.0), (NAN, NAN)),
    "tanh": ((0.0, 0.0), (INF, 1.0), (-INF, -1.0), (1e30, 1.0), (-1e30, -1.0), (NAN, NAN)),
    "erf": ((0.0, 0.0), (INF, 1.0), (-INF, -1.0), (1e30, 1.0), (-1e30, -1.0), (NAN, NAN)),
    "log": ((1.0, 0.0), (0.0, -INF), (INF, INF), (-1.0, NAN), (-INF, NAN), (NAN, NAN)),
    "log1p": ((0.0, 0.0), (-1.0, -INF), (INF, INF), (-2.0, NAN), (NAN, NAN)),
}
SMALLEST_NORMAL = 2.0**-126
GENERIC = """
func.func @f_{name}(%x: memref<{size}xf32>, %y: memref<{size}xf32>) attributes {{llvm.emit_c_interface}} {{
  linalg.generic {{indexing_maps = [affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>], iterator_types = ["parallel"]}}
      ins(%x : memref<{size}xf32>) outs(%y : memref<{size}xf32>) {{
  ^bb0(%a: f32, %o: f32):
    %r = math.{name} %a : f32
    linalg.yield %r : f32
  }}
  return
}}
"""


def arguments():
    """Every 4093rd finite number by its bits, so of every size; and dense where the functions bend."""
    bits = np.arange(0, 0x7F800000, 4093 * 16, dtype=np.uint32)
    sizes = bits.view(np.float32)
    dense = np.linspace(0.0, 110.0, 60001, dtype=np.float32)
    fine = np.linspace(0.0, 4.0, 60001, dtype=np.float32)
    positive = np.concatenate([sizes, dense, fine])
    return np.concatenate([positive, -positive])


def run(command, text):
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stderr[-4000:]}")
    return done.stdout


def build(cc, folder, size):
    source = "".join(GENERIC.format(name=name, size=size) for name, _, _ in FUNCTIONS)
    lowered = run(["rwkv-opt", "-cpu-vectorize-kernels", "-rwkvc-to-llvm"], source)
    for name, _, _ in FUNCTIONS:
        if f"llvm.call @{name}" in lowered:
            sys.exit(f"{name} is still a call of the C library")
    (folder / "math.ll").write_text(run(["mlir-translate", "-mlir-to-llvmir"], lowered))
    library = folder / "math.so"
    run(
        [
            cc,
            "-O2",
            "-march=native",
            "-Wno-override-module",
            "-shared",
            "-fPIC",
            f"{folder}/math.ll",
            "-lm",
            "-o",
            f"{library}",
        ],
        None,
    )
    return ctypes.CDLL(str(library))


def call(library, name, x):
    y = np.empty_like(x)
    descriptors = [np.array([a.ctypes.data, a.ctypes.data, 0, a.size, 1], np.int64) for a in (x, y)]
    getattr(library, f"_mlir_ciface_f_{name}")(*(ctypes.c_void_p(d.ctypes.data) for d in descriptors))
    return y


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("cc")
    parser.add_argument("folder", type=pathlib.Path)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    x = arguments()
    specials = np.array([argument for pairs in EXACT.values() for argument, _ in pairs], np.float32)
    # The last elements are run by scalar code.
    x = np.concatenate([specials, x, specials[:7]])
    library = build(options.cc, options.folder, x.size)
    failed = False
    for name, reference, allowed in FUNCTIONS:
        got = call(library, name, x)
        with np.errstate(all="ignore"):
            wanted = reference(x.astype(np.float64))
            rounded = wanted.astype(np.float32)
            ulp = np.spacing(np.maximum(np.abs(rounded), np.float32(SMALLEST_NORMAL)).astype(np.float32)).astype(
                np.float64
            )
            error = np.abs(got.astype(np.float64) - wanted) / ulp
        # Overflow, and arguments where the function is not defined, must agree; near zero flushing is allowed.
        special = ~np.isfinite(rounded)
        error[special] = np.where(
            (got[special] == rounded[special]) | (np.isnan(got[special]) & np.isnan(rounded[special])), 0.0, np.inf
        )
        flushed = (np.abs(wanted) < SMALLEST_NORMAL) & (got == 0.0)
        error[flushed] = 0.0
        if name == "log":
            error[(np.abs(x) < SMALLEST_NORMAL) & (x != 0.0)] = 0.0
        error[np.isnan(error)] = np.inf
        worst = int(np.argmax(error))
        wrong = [] if error[worst] <= allowed else [f"more than {allowed:g} ulp at {np.sum(error > allowed)} arguments"]
        for argument, result in EXACT[name]:
            value = call(library, name, np.full(x.size, argument, np.float32))[[0, -1]]
            if not all(v == result or (np.isnan(v) and np.isnan(result)) for v in value):
                wrong.append(
                    f"{name}({argument:g}) = {value[0]:g} (vector), {value[1]:g} (scalar) instead of {result:g}"
                )
        at = f"at {x[worst]!r}: {got[worst]!r} for {wanted[worst]!r}"
        print(f"{name}: max error {error[worst]:.2f} ulp of {allowed:g} allowed over {x.size} arguments, {at}")
        for text in wrong:
            print(f"{name}: WRONG: {text}")
        failed |= bool(wrong)
    print("FAIL" if failed else "PASS")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
