# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""host.py RUNTIME MODEL: one token through the C API, by ctypes, which hides the runtime's symbols from others."""

import ctypes
import sys

runtime = ctypes.CDLL(sys.argv[1])
runtime.rwkvrt_last_error.restype = ctypes.c_char_p
runtime.rwkvrt_model_vocabulary_size.restype = ctypes.c_size_t


def require(status):
    if status:
        sys.exit(runtime.rwkvrt_last_error().decode())


model, sequence, logits = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.POINTER(ctypes.c_float)()
require(runtime.rwkvrt_model_load(sys.argv[2].encode(), ctypes.byref(model)))
require(runtime.rwkvrt_sequence_create(model, ctypes.byref(sequence)))
require(runtime.rwkvrt_sequence_step(sequence, ctypes.c_int64(120), ctypes.byref(logits)))
count = runtime.rwkvrt_model_vocabulary_size(model)
print(f"{count} logits, largest {max(logits[:count]):.3f}")
runtime.rwkvrt_sequence_free(sequence)
runtime.rwkvrt_model_free(model)
assert runtime.rwkvrt_model_load(b"nowhere.so", ctypes.byref(model)) != 0
print(runtime.rwkvrt_last_error().decode())
