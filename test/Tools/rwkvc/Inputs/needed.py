# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""needed.py PROGRAM [--copy-to ROOT]

Lists by ldd what a program loads; fails if that is more than the C library's own parts. Copies them below ROOT.
"""

import argparse
import pathlib
import re
import shutil
import subprocess
import sys

C_LIBRARY = re.compile(r"(lib(c|m|dl|pthread|rt)\.so\.\d|ld-linux.*\.so\.\d|linux-vdso\.so\.\d)")

parser = argparse.ArgumentParser()
parser.add_argument("program", type=pathlib.Path)
parser.add_argument("--copy-to", type=pathlib.Path)
options = parser.parse_args()
text = subprocess.run(["ldd", options.program], capture_output=True, text=True, check=True).stdout
foreign = []
for line in text.splitlines():
    words = line.split()
    name = pathlib.Path(words[0]).name
    if not C_LIBRARY.fullmatch(name):
        foreign.append(line.strip())
    paths = [word for word in words if word.startswith("/")]
    if options.copy_to and paths:
        # Where the loader looks for it: under the same name.
        target = options.copy_to / paths[-1].lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(paths[-1], target)
print(text)
if foreign:
    sys.exit("not part of the C library: " + "; ".join(foreign))
