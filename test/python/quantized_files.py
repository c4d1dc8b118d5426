#!/usr/bin/env python3
# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compiles real models whose weights are quantised in the ONNX file and compares them with onnxruntime; prints a table.

The files are made here from float32 models, those "quantized" in tolerances.json: by onnxruntime's own quantisers, and,
for what these do not write or need more packages for, by replacing the constant matrices of products. Every output of
each step is compared, from the empty state on; recurrences must be recognised as in the float32 file, and the derived
forms must agree. The weights must not be larger than the file's numbers ask for. Exit status: 0 all passed, 1 something
failed, 2 nothing could be run.
"""

import argparse
import concurrent.futures
import json
import logging
import os
import pathlib
import re
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime
from numerics import (
    ROOT,
    Failed,
    compile_model,
    find_jobs,
    find_tools,
    first_match,
    last_words,
    logits_name,
    report,
    run,
)
from onnx import TensorProto, helper, numpy_helper
from onnxruntime import quantization
from onnxruntime.capi import onnxruntime_pybind11_state as onnxruntime_errors

COLUMNS = ("model", "weights", "WKV ops", "weights KB", "float32 KB", "max abs error", "allowed", "forms", "result")
STEPS, BLOCK = 24, 32
MIN_ELEMENTS = 1024


# -- files that onnxruntime's quantisers write -------------------------------------------------------------------------


class Recorded(quantization.CalibrationDataReader):
    """The inputs of the recorded runs."""

    def __init__(self, record):
        with np.load(record) as data:
            runs = sorted({key.split("/")[0] for key in data if key.startswith("run")})
            self.feeds = iter([{k.split("/in/")[1]: data[k] for k in data if k.startswith(f"{r}/in/")} for r in runs])

    def get_next(self):
        return next(self.feeds, None)


def dynamic(per_channel, weight_type):
    def make(source, target):
        # Given a path, it writes beside the source.
        quantization.quantize_dynamic(onnx.load(source), target, per_channel=per_channel, weight_type=weight_type)

    return make


def static(source, target):
    model = onnx.load(source)
    weights = {tensor.name for tensor in model.graph.initializer}
    for number, node in enumerate(model.graph.node):
        node.name = node.name or f"node_{number}"
    quantization.quantize_static(
        model,
        target,
        Recorded(source.with_suffix(".npz")),
        quant_format=quantization.QuantFormat.QDQ,
        per_channel=True,
        # Not the products of the recurrence, which with a rounded state would be none.
        nodes_to_quantize=[
            node.name for node in model.graph.node if node.op_type == "MatMul" and node.input[1] in weights
        ],
    )


# -- files written here ------------------------------------------------------------------------------------------------


def quantize(matrix, bits, signed, zero):
    """Numbers, scale and zero point of each row of the last axis."""
    low, high = np.minimum(matrix.min(-1, keepdims=True), 0), np.maximum(matrix.max(-1, keepdims=True), 0)
    least, most = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
    if zero:
        scale = (high - low) / (most - least)
        origin = np.rint(least - low / np.where(scale == 0, 1, scale))
    else:
        scale = np.maximum(high, -low) / (most if signed else most // 2)
        origin = np.full_like(scale, 0 if signed else 1 << (bits - 1))
    scale = np.where(scale == 0, 1, scale).astype(np.float32)
    numbers = np.clip(np.rint(matrix / scale) + origin, least, most)
    return numbers.astype(np.int64), scale, np.clip(origin, least, most).astype(np.int64)


def pack(numbers, bits):
    """Numbers along the last axis in bytes, the first one in the low bits."""
    per_byte = 8 // bits
    padded = np.pad(numbers, [(0, 0)] * (numbers.ndim - 1) + [(0, -numbers.shape[-1] % per_byte)])
    parts = padded.reshape(*padded.shape[:-1], -1, per_byte) & ((1 << bits) - 1)
    return (parts << (bits * np.arange(per_byte))).sum(-1).astype(np.uint8)


def add_tensor(graph, name, array, kind=None):
    if kind in (TensorProto.INT4, TensorProto.UINT4):
        packed = pack(array.reshape(-1), 4).tobytes()
        graph.initializer.append(helper.make_tensor(name, kind, array.shape, packed, raw=True))
    else:
        graph.initializer.append(numpy_helper.from_array(array, name))
    return name


def dequantize(graph, name, matrix, axis, kind, block=0, zero=True, per_tensor=False):
    """Adds a DequantizeLinear that gives `matrix`, with scales along `axis`; returns its output."""
    bits = 4 if kind in (TensorProto.INT4, TensorProto.UINT4) else 8
    signed = kind in (TensorProto.INT8, TensorProto.INT4)
    if per_tensor:
        rows = matrix.reshape(1, -1)
    elif block:
        rows = np.moveaxis(matrix, axis, -1)
        rows = rows.reshape(*rows.shape[:-1], -1, block)
    else:
        rows = np.moveaxis(matrix, axis, 0).reshape(matrix.shape[axis], -1)
    numbers, scale, origin = quantize(rows, bits, signed, zero)
    if per_tensor:
        numbers, scale, origin = numbers.reshape(matrix.shape), scale.reshape(()), origin.reshape(())
    elif block:
        numbers = np.moveaxis(numbers.reshape(*numbers.shape[:-2], -1), -1, axis)
        scale, origin = (np.moveaxis(a[..., 0], -1, axis) for a in (scale, origin))
    else:
        others = [size for i, size in enumerate(matrix.shape) if i != axis]
        numbers = np.moveaxis(numbers.reshape(matrix.shape[axis], *others), 0, axis)
        scale, origin = scale.reshape(-1), origin.reshape(-1)
    if bits == 8:
        numbers, origin = (a.astype(np.int8 if signed else np.uint8) for a in (numbers, origin))
    inputs = [add_tensor(graph, f"{name}_numbers", numbers, kind), add_tensor(graph, f"{name}_scale", scale)]
    if zero or not signed:
        inputs.append(add_tensor(graph, f"{name}_zero", origin, kind))
    attributes = {"axis": axis, "block_size": block} if block else {} if per_tensor else {"axis": axis}
    return helper.make_node("DequantizeLinear", inputs, [f"{name}_wide"], **attributes)


def block_table(bits, zero, kind=None):
    """GatherBlockQuantized: packed in bytes, or with numbers of the type `kind`."""

    def table(graph, node, name, matrix):
        rows = matrix.reshape(len(matrix), -1, BLOCK)
        numbers, scale, origin = quantize(rows, bits, False, zero)
        numbers, scale, origin = numbers.reshape(matrix.shape), scale[..., 0], origin[..., 0]
        write = (lambda array: array) if kind else (lambda array: pack(array, bits))
        inputs = [
            add_tensor(graph, f"{name}_numbers", write(numbers), kind),
            node.input[1],
            add_tensor(graph, f"{name}_scale", scale),
        ]
        if zero:
            inputs.append(add_tensor(graph, f"{name}_zero", write(origin), kind))
        attributes = {"block_size": BLOCK} if kind else {"bits": bits, "block_size": BLOCK}
        name = node.name or f"{name}_gather"
        return [
            helper.make_node("GatherBlockQuantized", inputs, node.output, name, domain="com.microsoft", **attributes)
        ]

    return table


def blocked(kind, zero):
    def weight(graph, node, name, matrix):
        if matrix.shape[0] % BLOCK:
            return [node]
        added = dequantize(graph, name, matrix, 0, kind, BLOCK, zero)
        node.input[1] = added.output[0]
        return [added, node]

    return rewrite(weight, block_table(4, zero, kind) if kind == TensorProto.UINT4 else None, opset=21)


def per_axis(kind, per_tensor):
    def weight(graph, node, name, matrix):
        added = dequantize(graph, name, matrix, 1, kind, zero=True, per_tensor=per_tensor)
        node.input[1] = added.output[0]
        return [added, node]

    def table(graph, node, name, matrix):
        added = dequantize(graph, name, matrix, 0, kind, zero=True, per_tensor=per_tensor)
        node.input[0] = added.output[0]
        return [added, node]

    return rewrite(weight, table)


def block_product(bits, zero):
    def weight(graph, node, name, matrix):
        width, columns = matrix.shape
        rows = np.pad(matrix.T, [(0, 0), (0, -width % BLOCK)]).reshape(columns, -1, BLOCK)
        numbers, scale, origin = quantize(rows, bits, False, zero)
        inputs = [
            node.input[0],
            add_tensor(graph, f"{name}_numbers", pack(numbers, bits)),
            add_tensor(graph, f"{name}_scale", scale.reshape(-1)),
        ]
        if zero:
            inputs.append(add_tensor(graph, f"{name}_zero", pack(origin[..., 0], bits).reshape(-1)))
        attributes = {"K": width, "N": columns, "bits": bits, "block_size": BLOCK}
        return [helper.make_node("MatMulNBits", inputs, node.output, node.name, domain="com.microsoft", **attributes)]

    return rewrite(weight, block_table(bits, zero))


def rewrite(weight, table=None, opset=None):
    """Replaces constant matrices of MatMul, and tables of Gather."""

    def make(source, target):
        model = onnx.load(source)
        if opset and max(entry.version for entry in model.opset_import if not entry.domain) < opset:
            model = onnx.version_converter.convert_version(model, opset)
        graph = model.graph
        constants = {tensor.name: tensor for tensor in graph.initializer}
        nodes, done = [], {}
        for node in graph.node:
            index, change = {"MatMul": (1, weight), "Gather": (0, table)}.get(node.op_type, (0, None))
            tensor = constants.get(node.input[index]) if change else None
            if tensor is None or tensor.data_type != TensorProto.FLOAT or len(tensor.dims) != 2:
                nodes.append(node)
                continue
            matrix = numpy_helper.to_array(tensor)
            if matrix.size < MIN_ELEMENTS or (change is table and matrix.shape[0] < 256):
                nodes.append(node)
                continue
            done[tensor.name] = done.get(tensor.name, 0) + 1
            nodes += change(graph, node, f"{tensor.name}_{done[tensor.name]}", matrix)
        if not done:
            raise Failed("no constant matrix to replace")
        used = {name for node in nodes for name in node.input}
        kept = [tensor for tensor in graph.initializer if tensor.name in used or tensor.name not in done]
        del graph.node[:], graph.initializer[:]
        graph.node.extend(nodes)
        graph.initializer.extend(kept)
        if not any(entry.domain == "com.microsoft" for entry in model.opset_import):
            model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
        onnx.save(model, target)

    return make


KINDS = {
    "dynamic int8": dynamic(False, quantization.QuantType.QInt8),
    "dynamic uint8 per axis": dynamic(True, quantization.QuantType.QUInt8),
    "static QDQ": static,
    "QDQ uint8 per tensor": per_axis(TensorProto.UINT8, per_tensor=True),
    "QDQ int8 per axis": per_axis(TensorProto.INT8, per_tensor=False),
    "QDQ int4 blocks": blocked(TensorProto.INT4, zero=False),
    "QDQ uint4 blocks": blocked(TensorProto.UINT4, zero=True),
    "MatMulNBits 4": block_product(4, zero=False),
    "MatMulNBits 4, zeros": block_product(4, zero=True),
    "MatMulNBits 8": block_product(8, zero=True),
}


# -- comparison --------------------------------------------------------------------------------------------------------


def record_runs(model, record, logits, target):
    """Writes what onnxruntime gives step by step, in the layout of the recorded runs, to `target`."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(model), options)
    outputs = [value.name for value in session.get_outputs()]
    with np.load(record) as data:
        feeds = {key.removeprefix("run0/in/"): data[key] for key in data if key.startswith("run0/in/")}
    token = next(name for name, value in feeds.items() if value.dtype.kind == "i")
    states = [value.name for value in session.get_inputs() if value.name != token]
    runs = {}
    for step, number in enumerate(np.random.default_rng(0).integers(0, 256, STEPS)):
        feeds[token] = np.full_like(feeds[token], number)
        results = dict(zip(outputs, session.run(None, feeds)))
        runs.update({f"run{step}/in/{name}": value for name, value in feeds.items()})
        runs.update({f"run{step}/out/{name}": value for name, value in results.items()})
        following = [results[name] for name in outputs if name != logits]
        feeds = {token: feeds[token], **dict(zip(states, following, strict=True))}
    np.savez(target, **runs)


def compile_file(tools, table, model, source, library):
    """Compiles `source`, made from `model` or itself; returns (number of WKV recurrences, bytes of weights)."""
    dimensions = first_match(table["dimensions"], model.stem, "dimensions")
    raised, _, _ = compile_model(tools, source, library, dimensions, ["--embed-weights=false", "--mcpu=native"])
    return raised, library.with_suffix(".safetensors").stat().st_size


def check(tools, table, model, original, kind, folder):
    """The row of a model, compiled as `original` (a future), and a kind; without their names."""
    name = f"{model.stem}-{re.sub('[^a-z0-9]+', '-', kind.lower())}"
    source, library, record = (folder / (name + suffix) for suffix in (".onnx", ".so", ".npz"))
    KINDS[kind](model, source)
    logits = logits_name(model.with_suffix(".npz"))
    try:
        record_runs(source, model.with_suffix(".npz"), logits, record)
    except onnxruntime_errors.Fail as failure:
        # Nothing to compare with: it writes scales per axis for batches of matrices, for instance.
        return ["-"] * (len(COLUMNS) - 3) + [f"none: onnxruntime cannot run it: {str(failure).splitlines()[0][-120:]}"]
    raised, size = compile_file(tools, table, model, source, library)
    original_raised, original_size = original.result()
    allowed = first_match(table["quantized_files"], kind, "quantized_files")
    done = run([tools["rwkv-run"], library, "--check", record, "--atol", repr(allowed)])
    closing = re.search(r"max abs error (\S+) over (\d+) outputs: (PASS|FAIL)", done.stdout)
    if not closing or int(closing[2]) == 0:
        raise Failed(f"rwkv-run exit status {done.returncode}, no closing line: {last_words(done)}")
    forms = run([tools["rwkv-run"], library, "--check-forms", "1,7,64,65", "--rtol", repr(table["forms_rtol"]["int8"])])
    agreed = re.search(r"largest relative error (\S+) over (\d+) comparisons: (PASS|FAIL)", forms.stdout)
    if not agreed or int(agreed[2]) == 0:
        raise Failed(f"rwkv-run --check-forms: {last_words(forms)}")
    passed = closing[3] == agreed[3] == "PASS" and raised == original_raised and size < original_size
    kilobytes = [f"{size / 1024:.0f}", f"{original_size / 1024:.0f}"]
    found = f"{raised} of {original_raised}"
    return [found, *kilobytes, closing[1], f"{allowed:g}", agreed[1], "PASS" if passed else "FAIL"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bindir", type=pathlib.Path, default=ROOT / "build" / "bin", help="where rwkvc is")
    parser.add_argument("--only", default="", metavar="TEXT", help="only models whose name contains TEXT")
    parser.add_argument("--kind", default="", metavar="TEXT", help="only kinds of weights that contain TEXT")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), metavar="N", help="files at one time")
    options = parser.parse_args()
    logging.disable(logging.WARNING)  # of the quantisers: on preprocessing
    table = json.loads(pathlib.Path(__file__).with_name("tolerances.json").read_text())
    tools = find_tools(options.bindir.resolve())
    models = [path for _, _, path in find_jobs(table, options.only) if path.suffix == ".onnx"]
    models = [model for model in dict.fromkeys(models) if model.stem in table["quantized"]]
    jobs = [(model, kind) for model in models for kind in KINDS if options.kind in kind]
    if not jobs:
        print(f"error: no model's name contains '{options.only}', or no kind '{options.kind}'")
        return 2
    rows = []
    with (
        tempfile.TemporaryDirectory() as folder,
        concurrent.futures.ThreadPoolExecutor(options.jobs) as pool,
    ):
        folder = pathlib.Path(folder)
        # First in the pool's queue, so that nothing waits for what has not begun.
        originals = {
            model: pool.submit(compile_file, tools, table, model, model, folder / f"{model.stem}.so")
            for model in models
        }

        def run_job(job):
            model, kind = job
            try:
                return [model.stem, kind, *check(tools, table, model, originals[model], kind, folder)]
            except Failed as failure:
                return [model.stem, kind, *["-"] * (len(COLUMNS) - 3), f"FAIL: {failure}"]

        for done, row in enumerate(pool.map(run_job, jobs), 1):
            rows.append(row)
            print(f"[{done}/{len(jobs)}] {row[0]}, {row[1]}: {row[-1]}", flush=True)
    return report(COLUMNS, rows)


if __name__ == "__main__":
    sys.exit(main())
