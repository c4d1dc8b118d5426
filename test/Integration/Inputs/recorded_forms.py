# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Feeds the recorded tokens of a model to its derived forms and compares the logits after every one with the recorded
ones. Arguments: the runtime's library, the compiled model (--all-logits), the .npz, the largest error allowed, and
"argmax" where only the likeliest token must agree."""

import ctypes
import sys

import numpy as np

runtime = ctypes.CDLL(sys.argv[1])
runtime.rwkvrt_last_error.restype = ctypes.c_char_p
runtime.rwkvrt_model_vocabulary_size.restype = ctypes.c_size_t


def call(name, *arguments):
    if getattr(runtime, name)(*arguments):
        sys.exit(f"{name}: {runtime.rwkvrt_last_error().decode()}")


model = ctypes.c_void_p()
call("rwkvrt_model_load", sys.argv[2].encode(), ctypes.byref(model))
size = runtime.rwkvrt_model_vocabulary_size(model)
record = np.load(sys.argv[3])
tokens, expected = record["tokens"].reshape(-1).astype(np.int64), record["logits_all"]
atol, argmax_only = float(sys.argv[4]), "argmax" in sys.argv[5:]
if len(tokens) != len(expected) or len(tokens) < 8 or expected.shape[1] != size:
    sys.exit("the record holds something else")


def new_sequence():
    sequence = ctypes.c_void_p()
    call("rwkvrt_sequence_create", model, ctypes.byref(sequence))
    return sequence


def pointer(array):
    return array.ctypes.data_as(ctypes.c_void_p)


def feed(sizes):
    """The logits after every token, with as many tokens per call as `sizes` says; 0 is one by the step."""
    sequence, rows, first = new_sequence(), [], 0
    for count in sizes:
        if count == 0:
            logits = ctypes.POINTER(ctypes.c_float)()
            call("rwkvrt_sequence_step", sequence, ctypes.c_int64(tokens[first]), ctypes.byref(logits))
            rows.append(np.ctypeslib.as_array(logits, (1, size)).copy())
        else:
            out = np.empty((count, size), np.float32)
            part = np.ascontiguousarray(tokens[first : first + count])
            call("rwkvrt_sequence_prefill_logits", sequence, pointer(part), ctypes.c_size_t(count), pointer(out))
            rows.append(out)
        first += max(count, 1)
    runtime.rwkvrt_sequence_free(sequence)
    return np.concatenate(rows)


n = len(tokens)
failed = False
for what, sizes in {"steps": [0] * n, "block": [n], "mixed": [3, 0, 2, 0, n - 7]}.items():
    logits = feed(sizes)
    error = np.abs(logits - expected).max()
    same = (logits.argmax(1) == expected.argmax(1)).all()
    bad = not same or not (argmax_only or error <= atol)
    failed |= bad
    print(f"{what}: {n} tokens, error {error:.3g}, argmax {'equal' if same else 'differs'}{'  FAIL' if bad else ''}")
sys.exit(1 if failed else 0)
