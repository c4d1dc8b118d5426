# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes a model with a weight of external data: external.py CASE FILE, where CASE tells what is wrong with it."""

import os
import pathlib
import sys

import numpy as np
from onnx import TensorProto, helper

case, path = sys.argv[1], pathlib.Path(sys.argv[2])
folder = path.parent
folder.mkdir(exist_ok=True)
data = b"abc" + np.arange(300, dtype=np.float32).tobytes()
pathlib.Path("secret").write_bytes(data)
location, entries = f"{case}.data", {"offset": "3", "length": "1200"}

if case == "missing":
    location = "none.data"
elif case == "parent":
    location = "../secret"
elif case == "absolute":
    location = str(pathlib.Path("secret").absolute())
elif case == "link":
    (folder / location).symlink_to(pathlib.Path("secret").absolute())
elif case == "folder":
    pathlib.Path("elsewhere").mkdir()
    pathlib.Path("elsewhere/w.data").write_bytes(data)
    (folder / "sub").symlink_to(pathlib.Path("elsewhere").absolute())
    location = "sub/w.data"
elif case == "inside":
    (folder / "real.data").write_bytes(data)
    (folder / location).symlink_to("real.data")
elif case == "fifo":
    location = "fifo"
    os.mkfifo(folder / location)
else:
    (folder / location).write_bytes(data[:1000] if case == "short" else data)
    if case == "length":
        entries["length"] = "1196"
    elif case == "offset":
        entries["offset"] = "-3"
    elif case == "wrap":
        entries["offset"] = str(2**64 - 1)

weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[300], data_location=TensorProto.EXTERNAL)
for key, value in {"location": location, **entries}.items():
    weight.external_data.add(key=key, value=value)
value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [300]) for name in "xy"]
graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "g", value[:1], value[1:], [weight])
path.write_bytes(
    helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
)
