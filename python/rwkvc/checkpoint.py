# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Reading RWKV checkpoints: safetensors files with the tensor names of the training checkpoints."""

import json
import pathlib
import re
import struct

import numpy as np


class CheckpointError(ValueError):
    """The checkpoint cannot be used; the message names the file or tensor, what was expected and what to do."""


def _bf16_to_f32(raw):
    return (np.frombuffer(raw, "<u2").astype("<u4") << 16).view("<f4")


# How each safetensors element type of a weight becomes an array; bf16 is the upper half of a float32.
_DECODERS = {
    "F64": lambda raw: np.frombuffer(raw, "<f8"),
    "F32": lambda raw: np.frombuffer(raw, "<f4"),
    "F16": lambda raw: np.frombuffer(raw, "<f2"),
    "BF16": _bf16_to_f32,
}


def _read_header(path, size, file):
    """Returns the header's entries and the offset of the data section."""
    if size < 8:
        raise CheckpointError(f"{path}: not a safetensors file: only {size} bytes long")
    (length,) = struct.unpack("<Q", file.read(8))
    if length > size - 8:
        raise CheckpointError(f"{path}: not a safetensors file, or truncated: header of {length} bytes in {size} bytes")
    try:
        header = json.loads(file.read(length))
    except ValueError as error:
        raise CheckpointError(f"{path}: not a safetensors file: its header is not JSON ({error})") from error
    if not isinstance(header, dict):
        raise CheckpointError(f"{path}: not a safetensors file: its header is not a JSON object")
    header.pop("__metadata__", None)
    return header, 8 + length


def load_checkpoint(path):
    """Maps a safetensors checkpoint: tensor name -> float array in the file's own precision (bf16 as float32).

    The file is mapped, not read, so that only the tensors used are paged in.
    """
    path = pathlib.Path(path)
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            header, start = _read_header(path, size, file)
        data = np.memmap(path, np.uint8, "r") if size else None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error
    weights = {}
    for name, entry in header.items():
        try:
            kind, shape = entry["dtype"], tuple(entry["shape"])
            begin, end = (start + int(offset) for offset in entry["data_offsets"])
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{path}: tensor '{name}': malformed header entry {entry!r}") from error
        if kind not in _DECODERS:
            known = ", ".join(_DECODERS)
            raise CheckpointError(f"{path}: tensor '{name}': element type {kind}; expected one of {known}")
        if not start <= begin <= end <= size:
            raise CheckpointError(f"{path}: tensor '{name}': data lies outside the file; is the file truncated?")
        try:
            weights[name] = _DECODERS[kind](data[begin:end]).reshape(shape)
        except (TypeError, ValueError) as error:
            message = f"{end - begin} bytes do not hold {kind} elements of shape {list(shape)}"
            raise CheckpointError(f"{path}: tensor '{name}': {message}") from error
    return weights


def detect_version(weights):
    """The architecture by its tensors, never by a version string: (4, 0), (5, 1), (5, 2), (6, 0) or (7, 0)."""
    if "blocks.0.att.r_k" in weights:
        return 7, 0
    if "blocks.0.att.time_maa_x" in weights:
        return 6, 0
    if "blocks.0.att.ln_x.weight" in weights:
        return 5, 2 if "blocks.0.att.gate.weight" in weights else 1
    if "blocks.0.att.time_mix_k" in weights:
        return 4, 0
    raise CheckpointError(
        "not an RWKV v4, v5, v6 or v7 checkpoint: no tensor 'blocks.0.att.r_k', '.time_maa_x', '.ln_x.weight' or "
        "'.time_mix_k'; expected the tensor names of the official training checkpoints"
    )


def count_layers(weights):
    layers = {int(m.group(1)) for m in map(re.compile(r"blocks\.(\d+)\.").match, weights) if m}
    if layers != set(range(len(layers))):
        raise CheckpointError(f"blocks are not numbered 0 to {len(layers) - 1}: found {sorted(layers)}")
    return len(layers)
