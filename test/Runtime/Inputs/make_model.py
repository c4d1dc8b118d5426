# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes what model.c needs into a folder, compiles it, and records calls computed in numpy (see model.c).

make_model.py FOLDER COMPILER ROOT [-DMACRO=VALUE...] [-DSEED=N]  ->  FOLDER/model.so, model.safetensors, runs.npz
"""

import json
import pathlib
import subprocess
import sys

import numpy as np

VOCABULARY, WIDTH = 256, 64


def weights(seed):
    table = np.random.default_rng(seed).standard_normal((VOCABULARY, WIDTH)).astype(np.float32) / 4
    table[:, 0] = np.arange(VOCABULARY) == ord("x")  # makes "x" stand out
    return table


def fnv(data):
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return value


def write_weights(folder, table):
    entry = {"w": {"dtype": "F32", "shape": list(table.shape), "data_offsets": [0, table.nbytes]}}
    header = json.dumps(entry).encode()
    header += b" " * (-(len(header) + 8) % 64)
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + table.tobytes())
    (folder / "model.h").write_text(
        f'#define WEIGHTS_FILE "model.safetensors"\n#define WEIGHTS_SIZE {table.nbytes}\n'
        f"#define WEIGHTS_HASH {fnv(header)}u\n"
    )
    values = ",".join(float(value).hex() + "f" for value in table.reshape(-1))
    (folder / "weights.inc").write_text(f"static const float embedded[] __attribute__((aligned(64))) = {{{values}}};\n")


def write_kernels(folder):
    """The code for OpenCL."""
    binary = folder / "kernels.spv"
    source = pathlib.Path(__file__).with_name("kernels.ll")
    subprocess.run(["llc", "-mtriple=spirv64-unknown-unknown", "-filetype=obj", source, "-o", binary], check=True)
    content = ",".join(map(str, binary.read_bytes()))
    (folder / "spirv.inc").write_text(
        f"static const unsigned char spirv[] __attribute__((aligned(4))) = {{{content}}};\n"
    )


def calls(table, tokens):
    """The record of feeding the tokens one by one."""
    s, m = np.zeros((1, WIDTH), np.float32), np.full((1, WIDTH), -1e30, np.float32)
    record = {"tokens": np.array(tokens, np.uint8)}
    for i, token in enumerate(tokens):
        record[f"run{i}/in/token"] = np.array([[token]], np.int64)
        record[f"run{i}/in/s_in"], record[f"run{i}/in/m_in"] = s[None], m
        s = s / np.float32(2) + table[token]
        m = np.maximum(m, s)
        record[f"run{i}/out/logits"] = (table @ s[0])[None]
        record[f"run{i}/out/s_out"], record[f"run{i}/out/m_out"] = s, m
        record[f"run{i}/out/count"] = np.array(token, np.int32)
    return record


def main():
    folder, compiler, root, *macros = sys.argv[1:]
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    seeds = [macro.removeprefix("-DSEED=") for macro in macros if macro.startswith("-DSEED=")]
    table = weights(int(seeds[-1]) if seeds else 1)
    write_weights(folder, table)
    if "-DOPENCL" in macros:
        write_kernels(folder)
    np.savez_compressed(folder / "runs.npz", **calls(table, list(b"in the ")))
    source = pathlib.Path(__file__).with_name("model.c")
    object_file = folder / "model.o"
    command = [compiler, "-c", "-fPIC", "-O1", "-fvisibility=hidden", f"-I{root}/include", f"-I{folder}"]
    subprocess.run([*command, *macros, source, "-o", object_file], check=True)
    subprocess.run([compiler, "-shared", object_file, "-o", folder / "model.so"], check=True)


if __name__ == "__main__":
    main()
