#!/usr/bin/env python3
# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compiles ONNX's own node tests and compares what the compiled code computes with their recorded outputs.

Beside them run cases of older operator sets (old_opsets.py). A case is claimed if its operators are in
utils/onnx_ops.txt or are functions of such operators, its values are tensors of the element types below, and it does
not train. A case of a set before 11 runs as one of 11 where its operators are the same there. The compiler needs sizes
at compile time: where a case passes what says a shape (axes, pads, repeats, a trip count) as an input of the graph and
the compiler refuses that, the input is made an initializer, as exporters write it, and the case counts as passed with
constant operands.

Exit status: 0 all claimed cases passed, 1 something failed, 2 nothing could be run.
"""

import argparse
import collections
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import warnings

import ml_dtypes
import numpy as np
import old_opsets
import onnx
from onnx import numpy_helper

ROOT = pathlib.Path(__file__).resolve().parents[2]
LIMIT_S = 120
HALVES = ("float16", "bfloat16")
OPSETS = range(11, 29)  # that the compiler claims
# numpy's element types that the compiler claims, with their names in `rwkv-run --info`.
TYPES = {
    np.dtype(kind): kind.__name__ if kind is not np.bool_ else "bool"
    for kind in (
        *(np.float16, np.float32, np.float64, np.bool_),
        *(np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64),
    )
}
TYPES[np.dtype(ml_dtypes.bfloat16)] = "bfloat16"


class Unclaimed(Exception):
    """The compiler does not claim to handle this case; the text says why."""


class Failed(Exception):
    """The case fails; the text says why."""


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


def all_nodes(graph):
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in [attribute.g] if attribute.HasField("g") else attribute.graphs:
                yield from all_nodes(inner)


def is_function(node, version):
    try:
        schema = onnx.defs.get_schema(node.op_type, version, "")
    except onnx.defs.SchemaError:
        return False
    return schema.has_function or schema.has_context_dependent_function


def raise_opset(model):
    """Makes a model of an operator set before OPSETS one of the first there. Returns whether that changes no operator."""
    (opset,) = (opset for opset in model.opset_import if opset.domain == "")

    def since(node, version):
        return onnx.defs.get_schema(node.op_type, version, "").since_version

    nodes = list(all_nodes(model.graph))
    if any(node.domain or since(node, opset.version) != since(node, OPSETS[0]) for node in nodes):
        return False
    opset.version = OPSETS[0]
    return True


def check_claimed(case, listed, expanded):
    """Returns the inputs and outputs, or raises Unclaimed.

    expanded: the same case with its functions expanded, if ONNX has it.
    """
    versions = {opset.domain: opset.version for opset in case.model.opset_import}
    if versions.get("", OPSETS[0]) not in OPSETS and not raise_opset(case.model):
        raise Unclaimed(f"operator set {versions['']}")
    for node in all_nodes(case.model.graph):
        if node.domain not in ("", "ai.onnx"):
            raise Unclaimed(f"domain {node.domain}")
        if node.op_type not in listed and not is_function(node, versions[""]):
            raise Unclaimed(f"operator {node.op_type}")
        if node.op_type not in listed and expanded and expanded is not case:
            inner = {node.op_type for node in all_nodes(expanded.model.graph)} - listed
            if inner:
                raise Unclaimed(f"function of operators {', '.join(sorted(inner))}")
        if any(a.name == "training_mode" and a.i for a in node.attribute):
            raise Unclaimed("training")
        if any(a.name in ("to", "dtype", "output_dtype") and not claimed_type(a.i) for a in node.attribute):
            raise Unclaimed("element type")
    for value in (*case.model.graph.input, *case.model.graph.output):
        kind = value.type.WhichOneof("value")
        if kind != "tensor_type":
            raise Unclaimed(kind.removesuffix("_type"))
    values, data = (case.model.graph.input, case.model.graph.output), case.data_sets[0]
    inputs, outputs = (to_arrays(*pair) for pair in zip(values, data))
    if trains(case, inputs):
        raise Unclaimed("training")
    return inputs, outputs


def claimed_type(number):
    """Whether the compiler claims the element type with this number in ONNX; 0 says none."""
    if not number or number == onnx.TensorProto.STRING:
        return not number
    return onnx.helper.tensor_dtype_to_np_dtype(number) in TYPES


def to_arrays(values, data):
    """name -> array of the graph's inputs or outputs."""
    found = {}
    for value, array in zip(values, data):
        array = numpy_helper.to_array(array) if isinstance(array, onnx.TensorProto) else np.asarray(array)
        if array.dtype not in TYPES:
            raise Unclaimed(f"element type {'string' if array.dtype.kind in 'OUS' else array.dtype.name}")
        found[value.name] = np.asarray(array, order="C")  # rwkv-run reads row-major arrays only
    return found


def trains(case, inputs):
    """Whether an operator of the case gets training_mode as an operand that is true."""
    for node in all_nodes(case.model.graph):
        if node.op_type == "Dropout" and len(node.input) > 2 and node.input[2]:
            if bool(inputs.get(node.input[2], False)):
                return True
    return False


# -- compile and run ---------------------------------------------------------------------------------------------------


def freeze(model, arrays):
    """A copy of the model in which these inputs are initializers."""
    frozen = onnx.ModelProto()
    frozen.CopyFrom(model)
    kept = [value for value in model.graph.input if value.name not in arrays]
    del frozen.graph.input[:]
    frozen.graph.input.extend(kept)
    frozen.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in arrays.items())
    return frozen


def frozen_inputs(inputs):
    """What to make constant, by attempt: nothing; operands behind the first that may say sizes; the first too."""
    says_sizes = {name: array for name, array in inputs.items() if array.ndim < 2}
    behind = {
        name: array
        for number, (name, array) in enumerate(inputs.items())
        if number and name in says_sizes and array.dtype.kind in "iub"
    }
    attempts = [{}]
    attempts += [chosen for chosen in (behind, says_sizes) if chosen and chosen not in attempts]
    return attempts


def run(command):
    try:
        return subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        raise Failed(f"{command[0].name} took longer than {LIMIT_S} s") from None


def last_words(done):
    lines = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
    errors = [line for line in lines if "error:" in line]
    text = re.sub(r"^.*?error: ", "", (errors or lines[-1:] or ["no output"])[0])
    return text if done.returncode >= 0 else f"signal {-done.returncode}: {text}"


def check_shapes(tools, library, arrays):
    """The outputs' shapes, which rwkv-run compares only up to dimensions of one."""
    info = run([tools["rwkv-run"], library, "--info"]).stdout.partition("\noutputs ")[2]
    for name, array in arrays.items():
        expected = f"{name}: {TYPES[array.dtype]} [{', '.join(map(str, array.shape))}]"
        if not re.search(rf"^  {re.escape(expected)}", info, re.MULTILINE):
            raise Failed(f"expected output '{expected}', found: {' '.join(info.split())[:200]}")


def check_case(tools, case, inputs, outputs, folder):
    """Returns the names of the inputs that were made constant."""
    model = case.model
    path = folder / (case.name + ".onnx")
    library = path.with_suffix(".so")
    refusals = []
    for frozen in frozen_inputs(inputs):
        onnx.save(freeze(model, frozen) if frozen else model, path)
        done = run([tools["rwkvc"], path, "--quiet", "-O", "1", "--threads=false", "-o", library])
        if done.returncode == 0:
            break
        refusals.append(last_words(done))
        if done.returncode < 0 or not re.search("static shape|must be constant", refusals[-1]):
            raise Failed(f"rwkvc: {refusals[-1]}")
    else:
        raise Failed(f"rwkvc: {refusals[-1]}")
    record = path.with_suffix(".npz")
    shown = {f"run0/in/{name}": array for name, array in inputs.items() if name not in frozen}
    np.savez(record, **shown, **{f"run0/out/{name}": array for name, array in outputs.items()})
    # Compiled code keeps 16-bit intermediates in float32: it may differ from ONNX's by rounding of the last place.
    units = [2 * float(ml_dtypes.finfo(a.dtype).eps) for a in outputs.values() if a.dtype.name in HALVES]
    rtol = max([case.rtol, *units])
    done = run([tools["rwkv-run"], library, "--check", record, "--atol", case.atol, "--rtol", rtol])
    if done.returncode or not done.stdout.rstrip().endswith("PASS"):
        raise Failed(f"rwkv-run: {last_words(done)}")
    check_shapes(tools, library, outputs)
    return list(frozen)


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


def find_tools(bindir):
    tools = {name: bindir / name for name in ("rwkvc", "rwkv-run")}
    missing = [str(path) for path in tools.values() if not os.access(path, os.X_OK)]
    if missing:
        print(f"error: not found: {', '.join(missing)}; build the project or give its folder by --bindir")
        sys.exit(2)
    return tools


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bindir", type=pathlib.Path, default=ROOT / "build" / "bin", help="where rwkvc is")
    parser.add_argument("--only", default="", metavar="REGEX", help="only cases whose name matches")
    parser.add_argument("--sample", action="store_true", help="only each operator's first case, and all of older sets")
    parser.add_argument("--table", type=pathlib.Path, metavar="FILE", help="write the table of results, in markdown")
    parser.add_argument("--keep", type=pathlib.Path, metavar="DIR", help="keep models and libraries in DIR")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), metavar="N", help="cases at one time")
    options = parser.parse_args()
    tools = find_tools(options.bindir.resolve())
    lines = (ROOT / "utils" / "onnx_ops.txt").read_text().splitlines()
    listed = {line.split("#")[0].strip() for line in lines} - {""} | {"Constant"}
    old_forms = old_opsets.load_cases()
    old_names = {case.name for case in old_forms}
    cases = load_cases() + old_forms
    operators = case_operators(cases)
    expanded = {base_name(case): case for case in cases if base_name(case) != case.name}
    rows, claimed, jobs = collections.defaultdict(list), set(), []
    for case in cases:
        if not re.search(options.only, case.name):
            continue
        try:
            data = check_claimed(case, listed, expanded.get(case.name))
            if not options.sample or operators[case.name] not in claimed or case.name in old_names:
                jobs.append((case, *data))
                claimed.add(operators[case.name])
        except Unclaimed as reason:
            rows[operators[case.name]].append((case.name, ("unclaimed", str(reason))))
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or pathlib.Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)

        def run_case(job):
            case, inputs, outputs = job
            try:
                return ("constant", "") if check_case(tools, case, inputs, outputs, folder) else ("passed", "")
            except Failed as failure:
                return "failed", str(failure).replace(str(folder) + "/", "")
            finally:
                for path in folder.glob(case.name + ".*") if not options.keep else ():
                    path.unlink()

        with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
            for number, ((case, *_), result) in enumerate(zip(jobs, pool.map(run_case, jobs)), 1):
                rows[operators[case.name]].append((case.name, result))
                if result[0] == "failed":
                    print(f"{case.name}: {result[1]}", flush=True)
                if number % 100 == 0:
                    print(f"[{number}/{len(jobs)}]", flush=True)
    if options.table:
        write_table(options.table, rows)
    kinds = collections.Counter(kind for entries in rows.values() for _, (kind, _) in entries)
    passed = kinds["passed"] + kinds["constant"]
    if not passed + kinds["failed"]:
        print("error: no claimed case of that name")
        return 2
    print(f"{kinds['unclaimed']} not claimed; {kinds['constant']} passed with shape operands made constant")
    print(f"{passed} passed, {kinds['failed']} failed")
    return 1 if kinds["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
