# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Cuts a model's library short in many places; each time the tool must refuse it: exit status 2, not a signal.

cut.py LIBRARY TOOL OPTION...
"""

import pathlib
import subprocess
import sys


def main():
    library, tool, *options = sys.argv[1:]
    library = pathlib.Path(library)
    content = library.read_bytes()
    cut = library.with_name("cut.so")
    sizes = {0, 1, 63, 64, 100, len(content) - 1, *range(0, len(content), len(content) // 20)}
    for size in sorted(sizes):
        cut.write_bytes(content[:size])
        done = subprocess.run([tool, cut, *options], capture_output=True, text=True)
        if done.returncode != 2 or "cut.so" not in done.stderr:
            sys.exit(f"cut to {size} bytes: exit status {done.returncode}: {done.stderr}")


if __name__ == "__main__":
    main()
