# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Feeds the same tokens to two compiled models and prints the largest difference of a logit or state, by the largest of
its tensor. Arguments: the folder of the Python package, the runtime's library, the models."""

import os
import sys

import numpy as np

sys.path.insert(0, sys.argv[1])
os.environ["RWKVC_RUNTIME"] = sys.argv[2]
import rwkvc  # noqa: E402

texts = [rwkvc.load(path).sequence() for path in sys.argv[3:5]]
tokens = np.random.default_rng(0).integers(texts[0].model.vocabulary_size, size=24)
worst = 0
for token in tokens:
    found = [{"logits": text.step(int(token)), **text.states()} for text in texts]
    for name, one in found[0].items():
        difference = np.abs(one - found[1][name]).max()
        worst = max(worst, difference / np.abs(one).max()) if difference else worst
print(
    f"{len(tokens)} tokens: largest difference {worst:.1e}" if worst else f"{len(tokens)} tokens: largest difference 0"
)
