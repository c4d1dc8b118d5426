# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes a model in ONNX's textual form as an ONNX file: onnx-text.py IN OUT. The model is not checked."""

import pathlib
import sys

import onnx
import onnx.parser

onnx.save(onnx.parser.parse_model(pathlib.Path(sys.argv[1]).read_text()), sys.argv[2])
