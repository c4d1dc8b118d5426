# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Python companion of the rwkvc compiler.

    import rwkvc
    model = rwkvc.load(rwkvc.compile("model.onnx"))
    text = model.sequence()
    logits = text.prefill(prompt)
    logits = text.step(token)

`compile` and `load` are below; `rwkvc.export` writes checkpoints as ONNX files, `rwkvc.reference` computes every RWKV
version in numpy, `rwkvc.backend` is an ONNX backend.
"""

from .compiler import CompileError, compile
from .errors import Error
from .runtime import Function, Model, ModelError, Sequence, State, Tensor, get_num_threads, load, set_num_threads

__version__ = "0.1.0"
__all__ = [
    "CompileError",
    "Error",
    "Function",
    "Model",
    "ModelError",
    "Sequence",
    "State",
    "Tensor",
    "compile",
    "get_num_threads",
    "load",
    "set_num_threads",
]
