#!/usr/bin/env python3
# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""RWKV-7's recurrence alone, compiled by rwkvc and in ONNX Runtime: time per token and layer, and that results agree.

    benchmarks/recurrence.py --heads 32

The graph is a Scan over the tokens of one text: its inputs are the rows of one layer (receptance, key, value, decay,
removal, return), and the state. Both run in turns; the best of all rounds counts.
"""

import argparse
import pathlib
import sys
import tempfile
import time

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "python"))

ROWS = ("r", "k", "v", "decay", "removal", "back")


def make_graph(heads, size, tokens, path):
    """Writes S <- S*decay + (S @ -removal) back^T + v k^T, y = S @ r, for each token (docs of wkv.wkv7)."""
    import onnx
    from onnx import TensorProto, helper

    nodes = []

    def op(kind, *inputs):
        nodes.append(helper.make_node(kind, list(inputs), [f"{kind}_{len(nodes)}"]))
        return nodes[-1].output[0]

    value, removal = (op("Reshape", name, "column") for name in ("v", "removal"))
    row = {name: op("Reshape", name, "row") for name in ("k", "decay", "back")}
    change = op("MatMul", "state", op("Neg", removal))
    state = op("Add", op("Mul", "state", row["decay"]), op("MatMul", change, row["back"]))
    state = op("Add", state, op("MatMul", value, row["k"]))
    y = op("Reshape", op("MatMul", state, op("Reshape", "r", "column")), "flat")

    def declare(names, shape=None):
        return [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in names]

    body = helper.make_graph(nodes, "body", declare(["state", *ROWS]), declare([state, y]))
    outer = [f"{name}s" for name in ROWS]
    scan = helper.make_node("Scan", ["s", *outer], ["new_s", "y"], body=body, num_scan_inputs=len(ROWS))
    shapes = {"column": [heads, size, 1], "row": [heads, 1, size], "flat": [heads * size]}
    graph = helper.make_graph(
        [scan],
        "wkv7",
        declare(["s"], [heads, size, size]) + declare(outer, [tokens, heads * size]),
        declare(["new_s"], [heads, size, size]) + declare(["y"], [tokens, heads * size]),
        [onnx.numpy_helper.from_array(np.array(shape, np.int64), name) for name, shape in shapes.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def make_inputs(heads, size, tokens):
    """Values as a model has them: decays below 1, removals of length 1, returns that are a part of them."""
    random = np.random.default_rng(0)
    shape = (tokens, heads, size)
    inputs = {name: random.standard_normal(shape, np.float32) for name in ("r", "k", "v")}
    inputs["decay"] = np.exp(-0.6 * random.random(shape, np.float32))
    removal = random.standard_normal(shape, np.float32)
    inputs["removal"] = removal / np.linalg.norm(removal, axis=-1, keepdims=True)
    inputs["back"] = inputs["removal"] * random.random(shape, np.float32)
    rows = {f"{name}s": np.ascontiguousarray(inputs[name].reshape(tokens, -1)) for name in ROWS}
    return {"s": np.zeros((heads, size, size), np.float32), **rows}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--heads", type=int, default=32, help="(default: 32, as in RWKV-7 1.5B)")
    parser.add_argument("--size", type=int, default=64, help="of a head (default: 64)")
    parser.add_argument("--tokens", type=int, default=512, help="of a call (default: 512)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()

    import onnxruntime
    import rwkvc

    inputs = make_inputs(options.heads, options.size, options.tokens)
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "wkv7.onnx"
        make_graph(options.heads, options.size, options.tokens, path)
        rwkvc.set_num_threads(options.threads)
        model = rwkvc.load(rwkvc.compile(path, path.with_suffix(".so"), cpu="native"))
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = options.threads
        session = onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
        runs = {
            "rwkvc": lambda: model.run(inputs),
            "onnxruntime": lambda: dict(zip(("new_s", "y"), session.run(["new_s", "y"], inputs))),
        }
        results = {name: run() for name, run in runs.items()}
        times = {name: [] for name in runs}
        for _ in range(options.rounds):
            for name, run in runs.items():
                begin = time.perf_counter()
                run()
                times[name].append((time.perf_counter() - begin) / options.tokens * 1e6)
    print(f"{options.heads} heads of {options.size}, {options.tokens} tokens, {options.threads} threads")
    for name, values in times.items():
        print(f"{name}: {min(values):.1f} us per token (worst {max(values):.1f})")
    print(f"ratio: {min(times['onnxruntime']) / min(times['rwkvc']):.1f}")
    error = max(
        np.abs(results["rwkvc"][name] - value).max() / np.abs(value).max()
        for name, value in results["onnxruntime"].items()
    )
    print(f"largest difference over largest value: {error:.1e}")
    if not error < 1e-4:
        sys.exit("error: the results differ by more than 1e-4")


if __name__ == "__main__":
    main()
