# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Checks the weights file of a model for processors and devices: shared_weights.py BOTH PROCESSOR DEVICE

BOTH must hold each weight of the two other files once, those that only one of them has at its end of the file, and
nothing else.
"""

import collections
import hashlib
import json
import pathlib
import sys


def read(path):
    """(offset, size, hash) of each weight, in order."""
    data = pathlib.Path(path).read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    weights = []
    for name, entry in header.items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            weights.append((begin, end - begin, hashlib.sha256(data[start + begin : start + end]).hexdigest()))
    assert weights == sorted(weights), f"{path}: weights are not in order"
    return weights


def main():
    both, processor, device = map(read, sys.argv[1:])
    counts = [collections.Counter(digest for _, _, digest in weights) for weights in (both, processor, device)]
    assert counts[0] == counts[1] | counts[2], "weights are missing, superfluous or there twice"
    end = 0
    for offset, size, _ in both:
        assert offset == -(-end // 64) * 64, f"weight at {offset}, expected after {end}"
        end = offset + size
    kinds = [(digest in counts[1]) + 2 * (digest in counts[2]) for _, _, digest in both]
    order = [1, 3, 2]  # for processors, for both, for devices
    assert kinds == sorted(kinds, key=order.index), f"ranges are not contiguous: {kinds}"
    sizes = [sum(size for (_, size, _), kind in zip(both, kinds) if kind == which) for which in order]
    print("bytes for processors {}, for both {}, for devices {}".format(*sizes))


main()
