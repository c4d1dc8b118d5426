# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Python companion of the rwkvc compiler: checkpoint export to ONNX and a numpy reference of every RWKV version."""

__version__ = "0.1.0"
