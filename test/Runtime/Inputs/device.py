# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""device.py MODEL DEVICE: the Python package runs a model of make_model.py on a device as on the processor."""

import sys

import numpy as np
import rwkvc

path, device = sys.argv[1:]
here, there = rwkvc.load(path, device="cpu"), rwkvc.load(path, device)
assert here.device == "cpu" and here.level == "x86-64", (here.device, here.level)
assert there.device.startswith(device + ":") and there.level is None, (there.device, there.level)
assert there.levels == ("x86-64",) and there.device_code == here.device_code, there.device_code

texts = [model.sequence() for model in (here, there)]
for tokens in ([1, 2, 3], [4], range(20)):
    logits = [text.prefill(tokens, all_logits=True) for text in texts]
    np.testing.assert_allclose(logits[1], logits[0], rtol=1e-5, atol=1e-5)
    states = [text.states() for text in texts]
    for name, state in states[0].items():
        np.testing.assert_allclose(states[1][name], state, rtol=1e-5, atol=1e-5)
copy = texts[1].clone()
for text in texts:
    text.states()["shift.0"][:] = 1
logits = [text.step(7) for text in texts]
np.testing.assert_allclose(logits[1], logits[0], rtol=1e-5, atol=1e-5)
assert copy.difference(texts[1]) > 0.1
results = [model.run({"token": [[5]]}) for model in (here, there)]
for name, array in results[0].items():
    np.testing.assert_allclose(results[1][name], array, rtol=1e-5, atol=1e-5)
try:
    rwkvc.load(path, device + ":99")
except rwkvc.ModelError as error:
    print(error)
