#!/usr/bin/env python3
# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Runs ONNX's own node tests through the backend rwkvc.backend: what compiled code computes against recorded outputs.

Beside them run cases of older operator sets (old_opsets.py). A case is claimed if the backend claims its model and its
data do not train. A case of a set before 11 runs as one of 11 where its operators are the same there. The compiler
needs sizes at compile time: where a case takes what says a size (axes, pads, repeats, a trip count) as an input of the
graph and the compiler refuses that, the backend makes the input a constant, as exporters write it, and the case counts
as passed with constant operands.

Exit status: 0 all claimed cases passed, 1 something failed, 2 nothing could be run.
"""

import argparse
import collections
import os
import pathlib
import re
import signal
import sys
import unittest
import warnings

import ml_dtypes
import numpy as np
import old_opsets
import onnx
from isolated import run_isolated
from onnx import numpy_helper

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "python"))

from rwkvc import CompileError, Error, backend  # noqa: E402  (needs the path above)
from rwkvc.compiler import find_driver  # noqa: E402

LIMIT_S = 120
HALVES = ("float16", "bfloat16")


# -- what a case is ----------------------------------------------------------------------------------------------------


def load_cases():
    """ONNX's node tests."""
    from onnx.backend.test import loader

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # cases compute infinities and NaN on purpose
        with np.errstate(all="ignore"):
            return loader.load_model_tests(kind="node")


def base_name(case):
    """The name of the case itself, for one in which ONNX has expanded the function."""
    return re.sub(r"_expanded(_function_\w+|_ver\d+)?$", "", case.name)


def case_operators(cases):
    """name -> the operator that the case is about: of a graph of several, the one that its name holds."""
    found = {}
    for case in cases:
        types = list(dict.fromkeys(node.op_type for node in case.model.graph.node))
        name = case.name.replace("_", "")
        named = [kind for kind in types if kind.lower() in name]
        others = [kind for kind in types if kind != "Constant"]
        found[case.name] = max(named, key=len) if named else (others or types)[0]
    # An expanded function belongs to the function's operator.
    return {name: found.get(base_name(case), found[name]) for name, case in zip(found, cases)}


# -- compile and run ---------------------------------------------------------------------------------------------------


def to_arrays(tensors):
    return [numpy_helper.to_array(t) if isinstance(t, onnx.TensorProto) else np.asarray(t) for t in tensors]


def compare(case, names, expected, found):
    """Returns what is wrong, or None."""
    # Compiled code keeps 16-bit intermediates in float32: it may differ from ONNX's by rounding of the last place.
    units = [2 * float(ml_dtypes.finfo(a.dtype).eps) for a in expected if a.dtype.name in HALVES]
    for name, right, array in zip(names, expected, found, strict=True):
        if array.dtype != right.dtype or array.shape != right.shape:
            wanted, got = (f"{a.dtype}{list(a.shape)}" for a in (right, array))
            return f"output '{name}': expected {wanted}, found {got}"
        if array.dtype.kind in "iub":
            wrong = array != right
        else:
            kind = np.float64 if array.dtype == np.float64 else np.float32  # 16 bits cannot hold the tolerances
            right, array = right.astype(kind), array.astype(kind)
            wrong = ~np.isclose(array, right, max([case.rtol, *units]), case.atol, equal_nan=True)
        if wrong.any():
            where = tuple(map(int, np.argwhere(wrong)[0]))
            return f"output '{name}' at {list(where)}: expected {right[where]}, found {array[where]}"
    return None


def run_case(case):
    """Returns (passed, constant, failed or unclaimed, text)."""
    signal.alarm(LIMIT_S)  # ends the process
    try:
        prepared = backend.prepare(case.model, timeout=LIMIT_S / 2)
        names, constants = [value.name for value in case.model.graph.output], False
        for inputs, outputs in case.data_sets:
            with np.errstate(all="ignore"):
                wrong = compare(case, names, to_arrays(outputs), prepared.run(to_arrays(inputs)))
            constants |= bool(prepared.constant_inputs)
            if wrong:
                return "failed", wrong
        return ("constant" if constants else "passed"), ""
    except unittest.SkipTest as skipped:
        return "unclaimed", str(skipped).partition(": ")[2]
    except CompileError as error:
        return "failed", f"rwkvc: {error}"
    except Error as error:
        return "failed", f"runtime: {error}"
    finally:
        signal.alarm(0)


def ended(case):
    return "failed", f"ended its process, or took longer than {LIMIT_S} s"


# -- the table ---------------------------------------------------------------------------------------------------------


def write_table(path, rows):
    """rows: operator -> list of (name, result)."""
    lines = [
        "# ONNX operators",
        "",
        "Generated by `test/python/node_tests.py --table docs/SupportedONNX.md`; do not edit.",
        "",
        f"ONNX {onnx.__version__}'s node tests, run on compiled code. A test is *claimed* if its values are tensors of",
        "the element types float16, bfloat16, float32, float64, bool and (u)int8 to (u)int64, it does not train, and its",
        "operators are those of the dialect or functions of them. *Constant* counts those of the passed that needed",
        "operands which say a shape as constants. Rows are the operators tests are about; functions that ONNX expands",
        "count with and without their expansion.",
        "",
        "| Operator | Passed | Constant | Claimed | Total | Not claimed, and failures |",
        "|---|---:|---:|---:|---:|---|",
    ]
    sums = collections.Counter()
    for operator in sorted(rows):
        count, notes = collections.Counter(), collections.Counter()
        for name, (kind, text) in rows[operator]:
            count[kind] += 1
            if kind in ("failed", "unclaimed"):
                notes[f"**{name}** {text[:120]}" if kind == "failed" else text] += 1
        sums.update(count)
        cells = [count["passed"] + count["constant"], count["constant"], len(rows[operator]) - count["unclaimed"]]
        note = "; ".join(text if number == 1 else f"{text} ({number})" for text, number in sorted(notes.items()))
        note = note.replace("|", "\\|")
        lines.append(f"| {operator} | " + " | ".join(map(str, cells)) + f" | {len(rows[operator])} | {note} |")
    total = sum(sums.values())
    lines += [
        "",
        f"Passed {sums['passed'] + sums['constant']} (constant operands: {sums['constant']}) of"
        f" {total - sums['unclaimed']} claimed, of {total} in all.",
        "",
    ]
    path.write_text("\n".join(lines))


def choose_sample(cases, operators):
    """Each operator's first claimed case, and all of older sets."""
    seen = set()
    for case in cases:
        old = case.name.startswith("opset")
        if (old or operators[case.name] not in seen) and backend.is_compatible(case.model):
            seen |= set() if old else {operators[case.name]}
            yield case


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bindir", type=pathlib.Path, help="where rwkvc is, if not in build/bin")
    parser.add_argument("--only", default="", metavar="REGEX", help="only cases whose name matches")
    parser.add_argument("--sample", action="store_true", help="only each operator's first case, and all of older sets")
    parser.add_argument("--table", type=pathlib.Path, metavar="FILE", help="write the table of results, in markdown")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), metavar="N", help="cases at one time")
    options = parser.parse_args()
    if options.bindir:
        os.environ["RWKVC"] = str(options.bindir.resolve() / "rwkvc")
    try:
        find_driver()
    except CompileError as error:
        print(f"error: {error}")
        return 2
    everything = load_cases() + old_opsets.load_cases()
    operators = case_operators(everything)
    cases = [case for case in everything if re.search(options.only, case.name)]
    if options.sample:
        cases = list(choose_sample(cases, operators))
    rows, kinds = collections.defaultdict(list), collections.Counter()
    results = run_isolated(run_case, cases, options.jobs, ended)
    for number, (case, result) in enumerate(zip(cases, results), 1):
        rows[operators[case.name]].append((case.name, result))
        kinds[result[0]] += 1
        if result[0] == "failed":
            print(f"{case.name}: {result[1]}", flush=True)
        if number % 100 == 0:
            print(f"[{number}/{len(cases)}]", flush=True)
    if options.table:
        write_table(options.table, rows)
    passed = kinds["passed"] + kinds["constant"]
    if not passed + kinds["failed"]:
        print("error: no claimed case of that name")
        return 2
    print(f"{kinds['unclaimed']} not claimed; {kinds['constant']} passed with shape operands made constant")
    print(f"{passed} passed, {kinds['failed']} failed")
    return 1 if kinds["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
