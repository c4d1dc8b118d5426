# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""fat_binary.py MODEL

Lists the images of the fat binary that an artefact holds, from NVIDIA's headers of it: a magic number, a version, the
sizes of the header and of the whole; then for each image its kind, sizes and compute capability.
"""

import struct
import sys

MAGIC = 0xBA55ED50
KINDS = {1: "ptx", 2: "elf"}

data = open(sys.argv[1], "rb").read()
start = data.index(struct.pack("<IHH", MAGIC, 1, 16))
at = start + 16
end = at + struct.unpack_from("<Q", data, start + 8)[0]
while at < end:
    kind, _, header_size, size = struct.unpack_from("<HHIQ", data, at)
    print(f"{KINDS[kind]} for sm_{struct.unpack_from('<I', data, at + 28)[0]}")
    at += header_size + size
