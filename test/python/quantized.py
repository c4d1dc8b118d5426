#!/usr/bin/env python3
# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compiles real models with --quantize and compares their logits with those of the file's weights; prints a markdown table.

For each model and format: the same tokens go through both, a block and then one by one. The error is the distance of the
two rows of logits by the length of the reference's, the largest over all tokens; what is allowed stands in
tolerances.json. `rwkv-run --check-forms` verifies that the forms agree: as closely as those of unquantised weights, or
where activations are rounded too, to bf16 or integers of 16 bits or 8, as "quantized_forms_rtol" says. One float32 file of each
version, "quantized" there. Exit status: 0 all passed, 1 something failed, 2 nothing could be run.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import sys
import tempfile

import numpy as np
from numerics import (
    ROOT,
    Failed,
    add_target,
    find_jobs,
    find_tools,
    first_match,
    last_words,
    model_dimensions,
    report,
    run,
)

sys.path.insert(0, str(ROOT / "python"))
import rwkvc

COLUMNS = ("model", "format", "weights KB", "error", "allowed", "same best token", "forms", "allowed", "result")
# Of weights, and of the activations that they are multiplied with where it is not the default.
FORMATS = ("bf16", "fp16", "int8", "uint8", "int4", "uint4")
FORMATS += ("bf16/bf16", "int8/int8", "uint8/int8", "int4/int8", "uint4/int8")
BLOCK, STEPS = 48, 48


def compile_model(tools, table, model, format_name, folder):
    library = folder / f"{model.stem}-{(format_name or 'file').replace('/', '-')}.so"
    command = [tools["rwkvc"], "-q", model, "-o", library, "--forms=step,prefill", "--embed-weights=false"]
    command += tools["compile"] or ["--mcpu=native"]
    if format_name:
        weights, _, activations = format_name.partition("/")
        command.append(f"--quantize={weights}")
        if activations:
            command.append(f"--activations={activations}")
    dimensions = first_match(table["dimensions"], model.stem, "dimensions")
    for dimension in model_dimensions(model):
        if dimension in dimensions:
            command += ["--dim", f"{dimension}={dimensions[dimension]}"]
    done = run(command)
    if done.returncode:
        raise Failed(f"rwkvc exit status {done.returncode}: {last_words(done)}")
    return library


def compute_logits(tools, library):
    """Rows of logits after a block of tokens and after each of the tokens behind it."""
    model = rwkvc.load(library, device=tools["device"])
    tokens = np.random.default_rng(0).integers(0, min(model.vocabulary_size, 256), BLOCK + STEPS)
    text = model.sequence()
    rows = [text.prefill(tokens[:BLOCK])] + [text.step(token) for token in tokens[BLOCK:]]
    return np.stack(rows).astype(np.float64)


def weights_size(library):
    return library.with_suffix(".safetensors").stat().st_size


def compute_reference(tools, table, model, folder):
    """Logits of the file's own weights, and how many bytes these have."""
    library = compile_model(tools, table, model, None, folder)
    return compute_logits(tools, library), weights_size(library)


def check(tools, table, model, original, format_name, folder):
    """The row of a model, whose reference is `original` (a future), and a format; without the model's name."""
    forms_rtol = first_match(table["quantized_forms_rtol"], format_name, "quantized_forms_rtol")
    library = compile_model(tools, table, model, format_name, folder)
    logits = compute_logits(tools, library)
    reference, original_size = original.result()
    error = (np.linalg.norm(logits - reference, axis=1) / np.linalg.norm(reference, axis=1)).max()
    best = (logits.argmax(axis=1) == reference.argmax(axis=1)).mean()
    command = [tools["rwkv-run"], library, *tools["run"], "--check-forms", "1,7,64,65", "--rtol", repr(forms_rtol)]
    done = run(command)
    closing = re.search(r"largest relative error (\S+) over (\d+) comparisons: (PASS|FAIL)", done.stdout)
    if not closing or int(closing[2]) == 0:
        raise Failed(f"rwkv-run exit status {done.returncode}, no closing line: {last_words(done)}")
    allowed = first_match(table["quantized_error"], format_name, "quantized_error")
    size = weights_size(library)
    # A model that was trained in 16 bits may well be exact.
    passed = error <= allowed and size < original_size and closing[3] == "PASS" and done.returncode == 0
    return [
        format_name,
        f"{size / 1024:.0f}",
        f"{error:.2e}",
        f"{allowed:g}",
        f"{best:.0%}",
        closing[1],
        f"{forms_rtol:g}",
        "PASS" if passed else "FAIL",
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bindir", type=pathlib.Path, default=ROOT / "build" / "bin", help="where rwkvc is")
    parser.add_argument("--only", default="", metavar="TEXT", help="only models whose name contains TEXT")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), metavar="N", help="models at one time")
    parser.add_argument("--formats", default="", metavar="LIST", help="only these formats, as in bf16,int4")
    add_target(parser)
    options = parser.parse_args()
    # Devices multiply in floating point.
    known = [name for name in FORMATS if options.target == "cpu" or "/" not in name]
    formats = options.formats.split(",") if options.formats else known
    if unknown := [name for name in formats if name not in known]:
        print(f"error: no format '{unknown[0]}'; there are {', '.join(known)}")
        return 2
    table = json.loads(pathlib.Path(__file__).with_name("tolerances.json").read_text())
    tools = find_tools(options.bindir.resolve(), options.target)
    models = [path for _, _, path in find_jobs(table, options.only) if path.suffix == ".onnx"]
    models = [model for model in dict.fromkeys(models) if model.stem in table["quantized"]]
    if not models:
        print(f"error: no model's name contains '{options.only}'")
        return 2
    jobs = [(model, format_name) for model in models for format_name in formats]
    rows = []
    with (
        tempfile.TemporaryDirectory() as folder,
        concurrent.futures.ThreadPoolExecutor(options.jobs) as pool,
    ):
        folder = pathlib.Path(folder)
        # First in the pool's queue, so that nothing waits for what has not begun.
        originals = {model: pool.submit(compute_reference, tools, table, model, folder) for model in models}

        def run_job(job):
            model, format_name = job
            try:
                return [model.stem, *check(tools, table, model, originals[model], format_name, folder)]
            except Failed as failure:
                return [model.stem, format_name, *["-"] * (len(COLUMNS) - 3), f"FAIL: {failure}"]

        for done, row in enumerate(pool.map(run_job, jobs), 1):
            rows.append(row)
            print(f"[{done}/{len(jobs)}] {row[0]}, {row[1]}: {row[-1]}", flush=True)
    return report(COLUMNS, rows)


if __name__ == "__main__":
    sys.exit(main())
