# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Runs a model with the code of each level that this machine has.

levels.py MODEL LEVEL,... ARGUMENT...

MODEL is a library or, with a '/', a program that contains its model. At least the first level must be there, and
without RWKVC_ISA the last one that is must be used.
"""

import os
import subprocess
import sys


def run(command, level):
    environment = {name: value for name, value in os.environ.items() if name != "RWKVC_ISA"}
    if level:
        environment["RWKVC_ISA"] = level
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def main():
    model, levels, *arguments = sys.argv[1:]
    command = [model] if "/" in model else ["rwkv-run", model]
    usable = [level for level in levels.split(",") if run([*command, "--info"], level).returncode == 0]
    assert usable and usable[0] == levels.split(",")[0], usable
    assert f"{usable[-1]} (in use)" in run([*command, "--info"], None).stdout
    for level in usable:
        done = run([*command, *arguments], level)
        assert done.returncode == 0, f"{level}: {done.stdout[-200:]}{done.stderr}"


if __name__ == "__main__":
    main()
