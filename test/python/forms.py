#!/usr/bin/env python3
# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compiles real models for one and for several texts and verifies that their functions agree; prints a markdown table.

For each model and batch: `rwkv-run --check-forms`, which compares a block of tokens with its tokens one by one, mixtures of
both, and the steps with the file's own signature. Models are the ONNX files of numerics.py, and small ones that keep their
states in other ways. What is allowed stands in tolerances.json; "forms_missing" there lists files that need not have derived
forms. Exit status: 0 all passed, 1 something failed, 2 nothing could be run.
"""

import argparse
import concurrent.futures
import fnmatch
import json
import os
import pathlib
import re
import sys
import tempfile
import time

import onnx
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
    weights_kind,
)

sys.path.insert(0, str(ROOT / "python" / "tests"))

from state_spellings import make_model  # noqa: E402  (needs the path above)

SPELLINGS = (
    "v4-key+layers",
    "v4-tokens",
    "v51-value+packed-swapped",
    "v52-inside+transposed",
    "v6-shift+packed-scaled",
    "v7-inside+packed-swapped",
    "v7-key+outside",
)
COLUMNS = ("model", "batch", "logits and states", "allowed", "code KB", "compile s", "result")
LENGTHS = "1,2,3,7,64,65,1000"


def check_forms(tools, table, model, batch, options, folder):
    """One table row, without the name."""
    library = folder / f"{model.stem}-{batch}.so"
    command = [
        tools["rwkvc"],
        model,
        "-o",
        library,
        f"--batch={batch}",
        f"--prefill-block={options.block}",
        "--mcpu=native",
        *tools["compile"],
    ]
    dimensions = first_match(table["dimensions"], model.stem, "dimensions")
    for dimension in model_dimensions(model):
        if dimension in dimensions:
            command += ["--dim", f"{dimension}={dimensions[dimension]}"]
    command += ["--all-logits"] if options.all_logits else []
    start = time.monotonic()
    done = run(command)
    seconds = time.monotonic() - start
    if done.returncode:
        raise Failed(f"rwkvc exit status {done.returncode}: {last_words(done)}")
    cells = [str(batch), "-", "-", f"{library.stat().st_size / 1024:.0f}", f"{seconds:.1f}"]
    info = run([tools["rwkv-run"], library, "--info"]).stdout
    if "prefill:" not in info:
        notes = [line for line in done.stderr.splitlines() if line.startswith("note:")]
        if any(fnmatch.fnmatchcase(model.stem, pattern) for pattern in table["forms_missing"]):
            return [*cells, "none: " + " / ".join(notes)]
        raise Failed("no derived forms: " + " / ".join(notes))
    rtol = table["forms_rtol"][weights_kind(model)]
    command = [tools["rwkv-run"], library, "--check-forms", options.lengths, "--rtol", repr(rtol), *tools["run"]]
    done = run([*command, "--seed", str(options.seed)])
    closing = re.search(r"largest relative error (\S+) over (\d+) comparisons: (PASS|FAIL)", done.stdout)
    if not closing or int(closing[2]) == 0:
        raise Failed(f"rwkv-run exit status {done.returncode}, no closing line: {last_words(done)}")
    if (closing[3] == "PASS") != (done.returncode == 0):
        raise Failed(f"rwkv-run says {closing[3]} but has exit status {done.returncode}")
    cells[1:3] = [closing[1], f"{rtol:g}"]
    worst = [line for line in done.stdout.splitlines() if line.endswith("  FAIL")]
    return [*cells, "PASS" if closing[3] == "PASS" else "FAIL: " + " / ".join(worst[:2])]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bindir", type=pathlib.Path, default=ROOT / "build" / "bin", help="where rwkvc is")
    parser.add_argument("--only", default="", metavar="TEXT", help="only models whose name contains TEXT")
    parser.add_argument("--lengths", default=LENGTHS, help=f"numbers of tokens (default {LENGTHS})")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 3], help="texts at once (default 1 3)")
    parser.add_argument("--block", type=int, default=64, help="tokens of a block (default 64)")
    parser.add_argument("--all-logits", action="store_true", help="compile for logits after every token")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), metavar="N", help="models at one time")
    add_target(parser)
    options = parser.parse_args()
    table = json.loads(pathlib.Path(__file__).with_name("tolerances.json").read_text())
    tools = find_tools(options.bindir.resolve(), options.target)
    models = list(dict.fromkeys(path for _, _, path in find_jobs(table, options.only) if path.suffix == ".onnx"))
    spellings = [name for name in SPELLINGS if options.only in name]
    if not models and not spellings:
        print(f"error: no model's name contains '{options.only}'")
        return 2
    with tempfile.TemporaryDirectory() as folder:
        for name in spellings:
            models.append(pathlib.Path(folder) / f"{name}.onnx")
            onnx.save(make_model(name), models[-1])
        # One of them is as good as several for the small ones.
        jobs = [(model, batch) for model in models for batch in options.batch[: 1 if model.stem in spellings else None]]
        rows = [None] * len(jobs)

        def run_job(model, batch):
            try:
                return [model.stem, *check_forms(tools, table, model, batch, options, pathlib.Path(folder))]
            except Failed as failure:
                return [model.stem, str(batch), *["-"] * (len(COLUMNS) - 3), f"FAIL: {failure}"]

        with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
            running = {pool.submit(run_job, *job): number for number, job in enumerate(jobs)}
            for done, future in enumerate(concurrent.futures.as_completed(running), 1):
                row = rows[running[future]] = future.result()
                print(f"[{done}/{len(jobs)}] {row[0]}, batch {row[1]}: {row[-1]}", flush=True)
    return report(COLUMNS, rows)


if __name__ == "__main__":
    sys.exit(main())
