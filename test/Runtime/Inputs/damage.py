# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Cuts and changes a record in many places. The tool may find a difference or refuse the file; it may pass only where
the change is in a field that says nothing about the data (times, names of other members, flags), and never crashes.

damage.py RECORD COMMAND...
"""

import pathlib
import random
import subprocess
import sys


def main():
    record = pathlib.Path(sys.argv[1])
    content = record.read_bytes()
    damaged = record.with_name("damaged.npz")
    choose = random.Random(1)
    cuts = [content[: choose.randrange(len(content))] for _ in range(20)]
    flips = []
    for _ in range(60):
        changed = bytearray(content)
        changed[choose.randrange(len(content))] ^= 1 << choose.randrange(8)
        flips.append(bytes(changed))
    passed = 0
    for number, data in enumerate(cuts + flips):
        damaged.write_bytes(data)
        done = subprocess.run([*sys.argv[2:], damaged], capture_output=True, text=True)
        if done.returncode not in (0, 1, 2):
            sys.exit(f"variant {number}: exit status {done.returncode}: {done.stderr}")
        passed += done.returncode == 0
        if done.returncode == 0 and number < len(cuts):
            sys.exit(f"variant {number}: cut short, and passed")
    if passed > len(flips) // 4:
        sys.exit(f"{passed} of {len(flips)} changed records passed")


if __name__ == "__main__":
    main()
