#!/usr/bin/env python3
# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compiles real models, runs them and compares every recorded output; prints a markdown table.

Two routes: ONNX files as exporters wrote them, against outputs recorded beside them (.npz); and checkpoints exported by
rwkvc.export, against logits of rwkv.cpp and of the official RWKV package. Models come from test/data and, if the
environment variable RWKVC_TEST_MODELS is set, from the folders onnx/ and weights/ in it. What is allowed and expected
stands in tolerances.json beside this file. Files with open dimensions are checked for one token and with the sizes of each
recorded run. Exit status: 0 all passed, 1 something failed, 2 nothing could be run.
"""

import argparse
import concurrent.futures
import fnmatch
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

import numpy as np
import onnx
import opencl

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "python"))

from rwkvc import export, reference  # noqa: E402  (needs the path above)
from rwkvc.checkpoint import CheckpointError, load_checkpoint  # noqa: E402

PROMPT = b'"in the '  # the tokens of the recorded logits; the first three are rwkv.cpp's test prompt
COLUMNS = (
    "model",
    "WKV ops / layers",
    "left as plain ONNX",
    "max abs error",
    "allowed",
    "argmax",
    "compile s",
    "result",
)
COMMAND_LIMIT_S = 600
# What rwkv-run calls the devices that rwkvc makes code for.
DEVICES = {"cpu": "cpu", "spirv": "opencl", "nvptx": "cuda", "amdgpu": "hip"}


class Failed(Exception):
    """This model fails; the text says why."""


def first_match(table, name, what):
    for pattern, value in table.items():
        if fnmatch.fnmatchcase(name, pattern):
            return value
    raise Failed(f"tolerances.json: no pattern of '{what}' matches '{name}'; add one")


def run(command):
    """Runs a tool and returns its standard output; a failure carries the tool's last words."""
    try:
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=COMMAND_LIMIT_S)
    except subprocess.TimeoutExpired:
        raise Failed(f"{command[0].name} took longer than {COMMAND_LIMIT_S} s") from None
    return done


def last_words(done):
    lines = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower()]
    return " / ".join((errors or lines)[-3:])[-400:] or "no output"


# -- what the compiler says --------------------------------------------------------------------------------------------


def parse_explain(text):
    """The JSON object that `rwkvc --explain=json` prints, possibly after other lines."""
    start = text.find("{")
    if start < 0:
        raise Failed("rwkvc --explain=json printed no JSON object")
    try:
        return json.JSONDecoder().raw_decode(text[start:])[0]
    except ValueError as error:
        raise Failed(f"rwkvc --explain=json printed malformed JSON: {error}") from error


def counts(report, key):
    """report[key] as name -> count; it may be such an object or a list of {op, count, ...}."""
    if key not in report:
        raise Failed(f"rwkvc --explain=json: key '{key}' is missing; found {sorted(report)}")
    entries = report[key]
    if isinstance(entries, dict):
        return {name: count if isinstance(count, int) else len(count) for name, count in entries.items()}
    found = {}
    for entry in entries:
        name = entry.get("op", "?") if isinstance(entry, dict) else str(entry)
        found[name] = found.get(name, 0) + (entry.get("count", 1) if isinstance(entry, dict) else 1)
    return found


def compile_model(tools, model, library, dimensions, arguments=()):
    """Compiles; returns (number of WKV recurrences, text of the leftovers, seconds)."""
    command = [tools["rwkvc"], model, "-o", library, "--explain=json", *tools["compile"], *arguments]
    for dimension in model_dimensions(model):
        if dimension in dimensions:
            command += ["--dim", f"{dimension}={dimensions[dimension]}"]
    start = time.monotonic()
    done = run(command)
    seconds = time.monotonic() - start
    if done.returncode:
        raise Failed(f"rwkvc exit status {done.returncode}: {last_words(done)}")
    report = parse_explain(done.stdout)
    raised = sum(count for name, count in counts(report, "raised").items() if re.fullmatch(r"wkv\.wkv\d+", name))
    left = counts(report, "leftovers")
    most = sorted(left, key=lambda name: -left[name])[:3]
    text = f"{sum(left.values())}" + (": " + ", ".join(f"{left[n]} {n}" for n in most) if most else "")
    return raised, text + (", …" if len(left) > 3 else ""), seconds


def check_run(tools, library, record, atol, logits):
    """Replays the recorded runs. Returns (max abs error, whether the logits' argmax is equal, whether all passed)."""
    # Argmax only: every finite error is allowed, the comparison below decides.
    allowed = "1e30" if atol is None else repr(atol)
    done = run([tools["rwkv-run"], library, "--check", record, "--atol", allowed, *tools["run"]])
    closing = re.search(r"max abs error (\S+) over (\d+) outputs: (PASS|FAIL)", done.stdout)
    if not closing:
        raise Failed(f"rwkv-run exit status {done.returncode}, no closing line: {last_words(done)}")
    if (closing[3] == "PASS") != (done.returncode == 0):
        raise Failed(f"rwkv-run says {closing[3]} but has exit status {done.returncode}")
    if int(closing[2]) == 0:
        raise Failed("rwkv-run compared no output")
    name = re.compile(rf"(?<![\w.]){re.escape(logits)}(?![\w.])")
    lines = [line for line in done.stdout.splitlines() if "argmax" in line and name.search(line)]
    if not lines:
        raise Failed(f"rwkv-run --check printed no argmax line for the logits '{logits}'")
    equal = all(re.search(r"argmax\W+(equal|yes|ok|same|true)\b", line) for line in lines)
    return float(closing[1]), equal, closing[3] == "PASS"


# -- what the model file says ------------------------------------------------------------------------------------------


def model_dimensions(path):
    model = onnx.load(path, load_external_data=False)
    shapes = (value.type.tensor_type.shape.dim for value in model.graph.input)
    return sorted({dim.dim_param for shape in shapes for dim in shape if dim.dim_param})


def weights_kind(path):
    """fp32, fp16 or int8: the type that most weights have."""
    model = onnx.load(path, load_external_data=False)
    tensors = list(model.graph.initializer)
    for node in model.graph.node:
        tensors += [a.t for a in node.attribute if node.op_type == "Constant" and a.name == "value"]
    elements = {}
    for tensor in tensors:
        elements[tensor.data_type] = elements.get(tensor.data_type, 0) + int(np.prod(tensor.dims))
    kinds = {onnx.TensorProto.FLOAT16: "fp16", onnx.TensorProto.INT8: "int8", onnx.TensorProto.UINT8: "int8"}
    return kinds.get(max(elements, key=elements.get, default=None), "fp32")


def logits_name(record):
    """The recorded output that holds the logits: the one equal to the first rows of logits_all."""
    with np.load(record) as data:
        for key in ("tokens", "logits_all"):
            if key not in data:
                raise Failed(f"{record.name}: key '{key}' is missing")
        outputs = [key for key in data if key.startswith("run0/out/")]
        if not outputs:
            raise Failed(f"{record.name}: no key 'run0/out/<output>'; nothing to compare")
        rows = data["logits_all"]
        for key in outputs:
            if data[key].size % rows.shape[1]:
                continue
            value = data[key].reshape(-1, rows.shape[1]).astype(np.float32)
            if np.array_equal(value, rows[: len(value)]):
                return key.removeprefix("run0/out/")
    raise Failed(f"{record.name}: no output of run 0 equals the first rows of 'logits_all'")


def sequence_runs(record):
    """The runs batch<B>_seq<T>/ of a record as {(B, T): keys}: one call with other sizes, from the empty state."""
    runs = {}
    with np.load(record) as data:
        for key in data:
            if sizes := re.match(r"batch(\d+)_seq(\d+)/", key):
                runs.setdefault((int(sizes[1]), int(sizes[2])), []).append(key)
    return runs


# -- the two routes ----------------------------------------------------------------------------------------------------


def check_model(tools, model, record, layers, atol, folder, logits, dimensions):
    """One table row, without the name."""
    library = folder / (record.stem + ".so")
    raised, left, seconds = compile_model(tools, model, library, dimensions)
    error, equal, passed = check_run(tools, library, record, atol, logits)
    why = [] if raised == layers else [f"{raised} WKV ops for {layers} layers"]
    why += [] if equal else ["argmax differs"]
    why += [] if passed else ["error too large"]
    allowed = "argmax" if atol is None else f"{atol:g}"
    cells = [f"{raised} / {layers}", left, f"{error:.2e}", allowed, "equal" if equal else "differs", f"{seconds:.1f}"]
    return [*cells, "PASS" if not why else "FAIL: " + ", ".join(why)]


def check_file(tools, table, model, folder):
    record = model.with_suffix(".npz")
    if not record.exists():
        raise Failed(f"{record.name} is missing beside the model")
    atol = table["atol_by_name"].get(model.stem, table["atol_by_weights"][weights_kind(model)])
    layers, dimensions = (first_match(table[key], model.stem, key) for key in ("layers", "dimensions"))
    return check_model(tools, model, record, layers, atol, folder, logits_name(record), dimensions)


def check_sequence(sizes):
    """The check of a file with open dimensions on its recorded run of `sizes`, (batch, tokens)."""

    def check(tools, table, model, folder):
        whole = model.with_suffix(".npz")
        record = folder / f"{model.stem}-{sizes[0]}x{sizes[1]}.npz"
        with np.load(whole) as data:
            runs = {re.sub(r"^[^/]*", "run0", key): data[key] for key in sequence_runs(whole)[sizes]}
        np.savez_compressed(record, **runs)
        atol = table["atol_by_name"].get(model.stem, table["atol_by_weights"][weights_kind(model)])
        layers = first_match(table["layers"], model.stem, "layers")
        dimensions = {"batch": sizes[0], "seq": sizes[1]}
        return check_model(tools, model, record, layers, atol, folder, logits_name(whole), dimensions)

    return check


def reference_runs(weights, eps, logits):
    """The runs of PROMPT in the .npz layout: states of the float64 reference, logits as given."""
    model = reference.RWKV(weights, np.float64, eps)
    state, record = model.init_state(), {"tokens": np.frombuffer(PROMPT, np.uint8), "logits_all": logits}

    def tensors(prefix):
        for i, layer in enumerate(state):
            matrices = dict(zip(("aa", "bb", "pp"), layer["wkv"])) if model.major == 4 else {"wkv": layer["wkv"]}
            for name, value in {"att_shift": layer["att_shift"], **matrices, "ffn_shift": layer["ffn_shift"]}.items():
                yield f"{prefix}state_{i}_{name}", (value if name == "wkv" else value[None]).astype(np.float32)

    for t, token in enumerate(PROMPT):
        record[f"run{t}/in/token"] = np.array([token], np.int64)
        record.update(tensors(f"run{t}/in/"))
        _, state = model.step(token, state)
        record[f"run{t}/out/logits"] = logits[t : t + 1]
        record.update(tensors(f"run{t}/out/new_"))
    return record


def check_checkpoint(tools, table, checkpoint, folder):
    entry = table["checkpoints"][checkpoint.stem]
    eps = entry.get("group_norm_eps", reference.GROUP_NORM_EPS)
    logits8 = checkpoint.with_name(entry.get("logits8", checkpoint.stem + ".logits8.npy"))
    if not logits8.exists():
        raise Failed(f"{logits8.name} is missing beside the checkpoint")
    logits = np.load(logits8)
    if "expected" in entry:
        expected = checkpoint.with_name(entry["expected"])
        if not expected.exists():
            raise Failed(f"{expected.name} is missing beside the checkpoint")
        logits[2] = np.fromfile(expected, "<f4")  # after the prompt `"in`
    model = folder / (checkpoint.stem + ".onnx")
    try:
        export.export_file(checkpoint, model, eps)
        record = model.with_suffix(".npz")
        np.savez_compressed(record, **reference_runs(load_checkpoint(checkpoint), eps, logits))
    except CheckpointError as error:
        raise Failed(f"export: {error}") from error
    atol, dimensions = table["checkpoint_atol"], first_match(table["dimensions"], model.stem, "dimensions")
    return check_model(tools, model, record, entry["layers"], atol, folder, logits_name(record), dimensions)


# -- the table ---------------------------------------------------------------------------------------------------------


def find_jobs(table, only):
    """(name, check, path) of every model; a file found in two places is checked once."""
    models = os.environ.get("RWKVC_TEST_MODELS")
    if models and not pathlib.Path(models).is_dir():
        sys.exit(f"error: RWKVC_TEST_MODELS={models}: no such folder")
    data = ROOT / "test" / "data"
    extra = [pathlib.Path(models)] if models else []
    jobs = {}
    for folder in [data, *(path / "onnx" for path in extra)]:
        for path in sorted(folder.glob("*.onnx")):
            if any(fnmatch.fnmatchcase(path.stem, pattern) for pattern in table["files"]):
                jobs.setdefault(path.stem, (check_file, path))
                record = path.with_suffix(".npz")
                for batch, tokens in sequence_runs(record) if record.exists() else ():
                    name = f"{path.stem}, batch {batch}, {tokens} tokens"
                    jobs.setdefault(name, (check_sequence((batch, tokens)), path))
    for folder in [data, *(path / "weights" for path in extra)]:
        for path in sorted(folder.glob("*.safetensors")):
            if path.stem in table["checkpoints"]:
                jobs.setdefault(path.stem + " (exported)", (check_checkpoint, path))
    return [(name, *job) for name, job in jobs.items() if only in name]


def report(columns, rows):
    """Prints the table and its closing line; the exit status. A result is PASS, or "none: " with what is allowed to miss."""
    print()
    for row in (columns, ["---"] * len(columns), *rows):
        print("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |")
    failed = sum(row[-1] != "PASS" and not row[-1].startswith("none: ") for row in rows)
    print(f"\n{len(rows) - failed} passed, {failed} failed")
    return 1 if failed else 0


def find_tools(bindir, target="cpu"):
    """The programs, and their arguments for what is to run the models."""
    tools = {name: bindir / name for name in ("rwkvc", "rwkv-run")}
    missing = [str(path) for path in tools.values() if not os.access(path, os.X_OK)]
    if missing:
        print(f"error: not found: {', '.join(missing)}; build the project or give its folder by --bindir")
        sys.exit(2)
    if target == "spirv":
        for name, value in opencl.environment(sys.prefix, opencl.OPTIMIZED).items():
            os.environ.setdefault(name, value)
    tools["compile"] = [] if target == "cpu" else [f"--target={target}"]
    tools["device"] = DEVICES[target.partition(":")[0]]
    tools["run"] = [f"--device={tools['device']}"]
    return tools


def add_target(parser):
    parser.add_argument(
        "--target", default="cpu", help="what runs the models, as rwkvc --target says it: cpu, spirv, nvptx:sm_90, ..."
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bindir", type=pathlib.Path, default=ROOT / "build" / "bin", help="where rwkvc is")
    parser.add_argument("--only", default="", metavar="TEXT", help="only models whose name contains TEXT")
    parser.add_argument("--keep", type=pathlib.Path, metavar="DIR", help="keep the compiled models in DIR")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), metavar="N", help="models at one time")
    add_target(parser)
    options = parser.parse_args()
    table = json.loads(pathlib.Path(__file__).with_name("tolerances.json").read_text())
    tools = find_tools(options.bindir.resolve(), options.target)
    jobs = find_jobs(table, options.only)
    if not jobs:
        print(f"error: no model's name contains '{options.only}'")
        return 2
    rows = [None] * len(jobs)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or pathlib.Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)

        def run_job(job):
            name, check, path = job
            try:
                return [name, *check(tools, table, path, folder)]
            except Failed as failure:
                return [name, *["-"] * (len(COLUMNS) - 2), f"FAIL: {failure}"]

        with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
            running = {pool.submit(run_job, job): number for number, job in enumerate(jobs)}
            for done, future in enumerate(concurrent.futures.as_completed(running), 1):
                row = rows[running[future]] = future.result()
                print(f"[{done}/{len(jobs)}] {row[0]}: {row[-1]}", flush=True)
    return report(COLUMNS, rows)


if __name__ == "__main__":
    sys.exit(main())
