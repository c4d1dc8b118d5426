# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""pow_accuracy.py CC FOLDER

Compiles pow as rwkvc-expand-math expands it where there is no library, compares it with NumPy's for all pairs of special
numbers, and prints the largest relative error for others.
"""

import ctypes
import pathlib
import subprocess
import sys

import numpy as np

SPECIAL = [0, -0.0, 1, -1, 2, -2, 3, 7, -3, 0.5, -0.5, 1.5, 1e30, np.inf, -np.inf, np.nan]
ALLOWED = 5e-6
POW = """
func.func @power(%x: memref<{n}xf32>, %y: memref<{n}xf32>, %z: memref<{n}xf32>) attributes {{llvm.emit_c_interface}} {{
  %begin = arith.constant 0 : index
  %step = arith.constant 1 : index
  %end = arith.constant {n} : index
  scf.for %i = %begin to %end step %step {{
    %a = memref.load %x[%i] : memref<{n}xf32>
    %b = memref.load %y[%i] : memref<{n}xf32>
    %r = math.powf %a, %b : f32
    memref.store %r, %z[%i] : memref<{n}xf32>
  }}
  return
}}
"""


def run(command, text=""):
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stderr[-4000:]}")
    return done.stdout


def main():
    cc, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    x, y = (grid.ravel().astype(np.float32) for grid in np.meshgrid(SPECIAL, SPECIAL))
    random = np.random.default_rng(0)
    x = np.concatenate([x, random.uniform(0.001, 10, 100000).astype(np.float32)])
    y = np.concatenate([y, random.uniform(-4, 4, 100000).astype(np.float32)])
    lowered = run(["rwkv-opt", "-rwkvc-expand-math=has-library=false", "-rwkvc-to-llvm"], POW.format(n=x.size))
    (folder / "pow.ll").write_text(run(["mlir-translate", "-mlir-to-llvmir"], lowered))
    library = folder / "pow.so"
    run([cc, "-O2", "-Wno-override-module", "-shared", "-fPIC", f"{folder}/pow.ll", "-lm", "-o", f"{library}"])
    got = np.zeros_like(x)
    memrefs = [np.array([a.ctypes.data, a.ctypes.data, 0, a.size, 1], np.int64) for a in (x, y, got)]
    ctypes.CDLL(str(library))._mlir_ciface_power(*(ctypes.c_void_p(m.ctypes.data) for m in memrefs))
    with np.errstate(all="ignore"):
        wanted = np.power(x, y)
        error = np.abs(got / np.power(x.astype(np.float64), y) - 1)
    same = (got == wanted) | (np.isnan(got) & np.isnan(wanted))
    bad = [f"pow({a:g}, {b:g}) = {g:g} instead of {w:g}" for a, b, g, w in zip(x, y, got, wanted)]
    bad = [text for text, ok in zip(bad, same | (error <= ALLOWED)) if not ok]
    print("\n".join(bad[:20]))
    print(f"pow: max relative error {error[len(SPECIAL) ** 2 :].max():.2e}: {'FAIL' if bad else 'PASS'}")


main()
