# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Damages a model in many places and imports each: fuzz.py MODEL SEED COUNT.

Every import must succeed or end with status 1 and an error that names the file; a crash fails.
"""

import pathlib
import random
import subprocess
import sys

original = pathlib.Path(sys.argv[1]).read_bytes()
seed, count = int(sys.argv[2]), int(sys.argv[3])
path = pathlib.Path("damaged.onnx")
imported = refused = 0
for number in range(seed, seed + count):
    generator = random.Random(number)
    data = bytearray(original)
    kind = generator.choice(["cut", "flip", "write", "erase"])
    if kind == "cut":
        del data[generator.randrange(len(data)) :]
    elif kind == "erase":
        start = generator.randrange(len(data))
        del data[start : start + generator.randrange(64)]
    else:
        for _ in range(generator.randint(1, 8)):
            at = generator.randrange(len(data))
            data[at] = data[at] ^ (1 << generator.randrange(8)) if kind == "flip" else generator.randrange(256)
    path.write_bytes(data)
    command = ["rwkv-translate", "--import-onnx", str(path), "--mlir-elide-elementsattrs-if-larger=8", "-o", "out.mlir"]
    run = subprocess.run(command, capture_output=True, timeout=60)
    if run.returncode == 0:
        imported += 1
    elif run.returncode == 1 and run.stderr.startswith(b"damaged.onnx:0:0: "):
        refused += 1
    else:
        print(f"number {number} ({kind}): status {run.returncode}: {run.stderr[-2000:]!r}")
        sys.exit(1)
print(f"{imported} imported, {refused} refused")
assert refused > 0
