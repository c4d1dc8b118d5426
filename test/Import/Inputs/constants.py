# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Imports constants in every way that ONNX can store them and compares each with its bytes."""

import re
import subprocess
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper

SMALL, LARGE = (3, 2), (40, 33)
TYPES = ["FLOAT", "FLOAT16", "BFLOAT16", "DOUBLE", "BOOL"]
TYPES += [f"{sign}INT{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)]
BYTES = {"FLOAT16": 2, "BFLOAT16": 2, "DOUBLE": 8, "BOOL": 1, "FLOAT": 4}


def element_bytes(name):
    return BYTES.get(name) or int(re.search(r"\d+", name)[0]) // 8


def random_bytes(name, shape, seed):
    """Raw data without NaN patterns, which the text form would not keep."""
    generator = np.random.default_rng(seed)
    count = int(np.prod(shape))
    if name == "BOOL":
        return generator.integers(0, 2, count, np.uint8).tobytes()
    if name == "BFLOAT16":
        return (generator.standard_normal(count).astype(np.float32).view(np.uint32) >> 16).astype(np.uint16).tobytes()
    if name in ("FLOAT", "FLOAT16", "DOUBLE"):
        return (
            generator.standard_normal(count)
            .astype(helper.tensor_dtype_to_np_dtype(getattr(TensorProto, name)))
            .tobytes()
        )
    return generator.bytes(count * element_bytes(name))


def tensor(label, name, shape, typed, seed):
    raw = random_bytes(name, shape, seed)
    proto = TensorProto(name=label, data_type=getattr(TensorProto, name), dims=shape)
    if not typed:
        proto.raw_data = raw
        return proto, raw
    field = {"FLOAT": "float_data", "DOUBLE": "double_data", "INT64": "int64_data"}.get(name, "int32_data")
    field = "uint64_data" if name in ("UINT32", "UINT64") else field
    storage = {"FLOAT": np.float32, "DOUBLE": np.float64, "BOOL": np.uint8, "FLOAT16": np.uint16, "BFLOAT16": np.uint16}
    storage = storage.get(name) or getattr(np, name.lower())
    getattr(proto, field).extend(np.frombuffer(raw, storage).tolist())
    return proto, raw


def translate(path, *more):
    return subprocess.run(
        ["rwkv-translate", "--import-onnx", path, *more], capture_output=True, text=True, check=True
    ).stdout


def main():
    expected, initializers, nodes, outputs = {}, [], [], []
    for i, name in enumerate(TYPES):
        for shape in (SMALL, LARGE):
            for typed in (False, True):
                for as_node in (False, True):
                    label = f"{name}_{shape[0]}_{'typed' if typed else 'raw'}_{'node' if as_node else 'init'}"
                    proto, raw = tensor(label, name, shape, typed, i)
                    expected[label] = (raw, shape, element_bytes(name))
                    if as_node:
                        nodes.append(helper.make_node("Constant", [], [label], value=proto))
                    else:
                        initializers.append(proto)
                    outputs.append(helper.make_tensor_value_info(label, proto.data_type, shape))
    graph = helper.make_graph(nodes, "g", [], outputs, initializers)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), "constants.onnx")
    # As bytes: dense values print as hexadecimal above one element, resources always do.
    text = translate("constants.onnx", "--mlir-print-elementsattrs-with-hex-if-larger=1")
    body, _, resources = text.partition("{-#")
    blobs = dict(re.findall(r'(\w+): "0x[0-9A-F]{8}([0-9A-F]*)"', resources))
    found = 0
    for line in body.splitlines():
        match = re.search(
            r'value = dense(_resource)?<(?:"0x([0-9A-F]*)"|(\w+))> : tensor<([^>]*)>.*onnx_node_name = "(\w+)"', line
        )
        if not match:
            continue
        is_resource, dense, key, printed_type, label = match.groups()
        raw, shape, size = expected.pop(label)
        assert (len(raw) > 1024) == bool(is_resource), f"{label}: wrong kind of attribute"
        assert printed_type.split("x")[:2] == [str(d) for d in shape], f"{label}: shape {printed_type}"
        value = bytes.fromhex(blobs[key] if is_resource else dense)
        if label.startswith("BOOL") and not is_resource:  # packed
            value = np.unpackbits(np.frombuffer(value, np.uint8), bitorder="little")[: len(raw)].tobytes()
        assert value == raw, f"{label}: the bytes differ"
        found += 1
    print(found, "constants agree; missing:", sorted(expected))
    return 1 if expected else 0


if __name__ == "__main__":
    sys.exit(main())
