# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Imports every model of a folder and compares it with what onnx reads: real_models.py FOLDER.

Names and types of inputs and outputs, every weight above 1 KiB byte for byte, and that all types are static after
onnx-simplify-shapes.
"""

import pathlib
import re
import subprocess
import sys

import onnx
from onnx import numpy_helper


def run(command, **more):
    return subprocess.run(command, capture_output=True, text=True, check=True, **more).stdout


def check(path):
    model = onnx.load(path)
    graph = model.graph
    dims = {d.dim_param for i in graph.input for d in i.type.tensor_type.shape.dim if d.dim_param}
    text = run(["rwkv-translate", "--import-onnx", str(path), *(f"--onnx-dim={d}=4" for d in dims if d == "seq")])
    body, _, resources = text.partition("{-#")
    signature = re.search(r"func.func @main\((.*)\) -> \((.*)\) \{", body)
    tensors = {t.name: t for t in graph.initializer}
    for given, values in ((signature[1], graph.input), (signature[2], graph.output)):
        names = [v.name for v in values if v.name not in tensors]
        assert re.findall(r'onnx.name = "([^"]*)"', given) == names, "names of inputs or outputs"
    for node in graph.node:
        if node.op_type == "Constant":
            tensors[node.output[0]] = next((a.t for a in node.attribute if a.name == "value"), None)
    blobs = re.findall(r'^\s*("[^"]*"|[\w.$-]+): "0x([0-9A-F]+)"', resources, re.M)
    blobs = {name.strip('"'): bytes.fromhex(data)[4:] for name, data in blobs}
    uses = re.findall(r'dense_resource<("[^"]*"|[^>]*)> : tensor<([^>]*)>\}> \{onnx_node_name = "([^"]*)"', body)
    for blob, kind, name in uses:
        array = numpy_helper.to_array(tensors[name])
        assert [int(d) for d in kind.split("x")[:-1]] == list(array.shape), f"shape of {name}"
        assert array.tobytes() == blobs[blob.strip('"')], f"bytes of {name}"
    assert uses
    simple = run(["rwkv-opt", "--onnx-simplify-shapes", "--mlir-elide-resource-strings-if-larger=8"], input=text)
    dynamic = [line for line in simple.splitlines() if re.search(r"tensor<(\*|[^>]*\?)", line)]
    assert not dynamic, f"not static: {dynamic[0]}"
    return len(uses)


def main():
    paths = sorted(pathlib.Path(sys.argv[1]).glob("*.onnx"))
    failed = 0
    for path in paths:
        try:
            print(f"{path.name}: {check(path)} weights agree")
        except (AssertionError, KeyError, subprocess.CalledProcessError) as error:
            print(f"{path.name}: {error!r} {getattr(error, 'stderr', '')}")
            failed += 1
    return failed > 0 or not paths


if __name__ == "__main__":
    sys.exit(main())
