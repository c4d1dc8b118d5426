# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""amx_levels.py MODEL FEATURES

Lets a processor without AMX take MODEL's code for it, which test/Target/CPU/Inputs/amx.c then carries out: AMX is struck
from what the library says that its levels need. FEATURES is rwkvc-rt/x86-features.def.
"""

import pathlib
import re
import sys


def main():
    model, features = map(pathlib.Path, sys.argv[1:])
    names = re.findall(r'^RWKVRT_X86_(?:BIT|FEATURE)\("([^"]+)"', features.read_text(), re.M)
    amx = sum(1 << bit for bit, name in enumerate(names) if name.startswith("amx-"))
    data = bytearray(model.read_bytes())
    words = memoryview(data)[: len(data) // 8 * 8].cast("Q")
    # The level before, a rwkvrt_level_info of three words earlier, may lack bf16, and has no more.
    vnni, bf16 = (1 << names.index(name) for name in ("avx512vnni", "avx512bf16"))
    found = [
        i
        for i in range(3, len(words))
        if words[i] & amx == amx and words[i - 3] in (words[i] & ~amx, words[i] & ~amx & ~bf16)
    ]
    found = [i for i in found if words[i - 3] & vnni]
    assert len(found) == 1, found
    words[found[0]] &= ~amx
    model.write_bytes(data)


if __name__ == "__main__":
    main()
