# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""record.py MODEL.onnx OUT.npz DIM=SIZE...: what onnxruntime computes from random inputs, in the layout of rwkv-run's --check."""

import sys

import numpy as np
import onnxruntime

model, out, *dims = sys.argv[1:]
sizes = {name: int(size) for name, size in (dim.split("=") for dim in dims)}
session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
random = np.random.default_rng(1)
feeds = {}
for value in session.get_inputs():
    shape = [sizes.get(dim, 1) if isinstance(dim, str) else dim for dim in value.shape]
    if "int" in value.type:
        feeds[value.name] = random.integers(0, 200, shape).astype(value.type[7:-1])
    else:
        feeds[value.name] = (0.1 * random.standard_normal(shape)).astype(np.float32)
names = [value.name for value in session.get_outputs()]
arrays = {f"run0/in/{name}": array for name, array in feeds.items()}
for name, array in zip(names, session.run(names, feeds), strict=True):
    arrays[f"run0/out/{name}"] = array
np.savez(out, **arrays)
