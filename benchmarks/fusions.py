#!/usr/bin/env python3
# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What each fusion is worth: kernels, bytes moved and time, of a model compiled with none of them, then one more at a time.

    benchmarks/synthetic.py rwkv7-0.1B -o rwkv7-0.1B.onnx
    benchmarks/fusions.py rwkv7-0.1B.onnx

Kernels and bytes are counted from the compiled code (rwkvc-count-traffic) and are exact. Times are the best of several
rounds in which all variants run in turn, so that a machine's other work meets them alike; the spread is printed too.
"""

import argparse
import json
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
FUSIONS = (
    "wkv-fold-embedding-norm",
    "wkv-fuse-token-shift",
    "wkv-tile-token-shifts",
    "wkv-pad-token-shifts",
    "rwkvc-fuse-elementwise",
    "rwkvc-batch-products",
    "rwkvc-fold-add-into-dest",
    "wkv-tile-norms",
    "rwkvc-fuse-into-parallel-loops",
    "dnnl-fuse-epilogues",
    "cpu-pack-matrices",
    "rwkvc-group-kernels",
)
TRAFFIC = re.compile(
    r"@(\w+): (\d+) kernels; bytes moved: (\d+) of weights, (\d+) of workspace, (\d+) of arguments, (\d+) within"
)


def run(command):
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        sys.exit(f"error: {' '.join(map(str, command))} failed:\n{result.stderr.strip()}")
    return result


def compile_variant(options, skipped, target):
    """Compiles, to the shared library target if it is to be timed.

    Returns {form: (kernels, then bytes of weights, workspace, arguments and loops)}.
    """
    command = [options.rwkvc, options.model, "--forms=step,prefill", f"--prefill-block={options.block}"]
    command += options.rwkvc_options
    if skipped:
        command.append("--skip-pass=" + ",".join(skipped))
    counting = ["--emit=after-bufferize", "--insert-pass=after-bufferize:rwkvc-count-traffic"]
    text = run([*command, *counting, "-o", target.with_suffix(".mlir")]).stderr
    if options.rounds:
        run([*command, "-q", "-o", target])
    return {form: tuple(map(int, counts)) for form, *counts in TRAFFIC.findall(text)}


def measure(options, library):
    """(microseconds per token of step, tokens per second of prefill), of one run."""
    command = [options.rwkv_run, library, f"--bench={options.tokens}", f"--bench-prompt={options.prompt}"]
    if options.threads:
        command.append(f"--threads={options.threads}")
    line = run(command).stdout.strip().splitlines()[-1]
    values = json.loads(line)
    return values["p50_us"], values["prefill_tokens_per_s"]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("model", help="ONNX file")
    parser.add_argument("--rounds", type=int, default=5, help="timed runs of each variant; 0: count only")
    parser.add_argument("--tokens", type=int, default=32, help="tokens of step in a run")
    parser.add_argument("--prompt", type=int, default=256, help="tokens of prefill in a run")
    parser.add_argument("--block", type=int, default=64, help="tokens that prefill computes at once")
    parser.add_argument("--threads", type=int, help="of rwkv-run")
    parser.add_argument("--rwkvc-options", nargs="*", default=[], help="more options of the compiler")
    parser.add_argument("--rwkvc", default=str(ROOT / "build/bin/rwkvc"), help="compiler")
    parser.add_argument("--rwkv-run", default=str(ROOT / "build/bin/rwkv-run"), help="runner")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory(prefix="rwkvc-fusions-") as folder:
        variants = []
        for count in range(len(FUSIONS) + 1):
            target = pathlib.Path(folder) / f"variant{count}.so"
            print(f"compiling with {count} of {len(FUSIONS)} fusions", file=sys.stderr)
            counts = compile_variant(options, FUSIONS[count:], target)
            variants.append((("+ " + FUSIONS[count - 1]) if count else "none", target, counts, []))
        for number in range(options.rounds):
            print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
            for _, target, _, times in variants:
                times.append(measure(options, target))

    print("| fusions | step: kernels | workspace, KB | in loops, KB | ms per token (worst) |", end="")
    print(" prefill: kernels | workspace, MB | in loops, MB | tokens/s (worst) |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, _, counts, times in variants:
        step, prefill = counts["step"], counts["prefill"]
        latency = throughput = "–"
        if times:
            latencies, throughputs = zip(*times)
            latency = f"{min(latencies) / 1000:.3f} ({max(latencies) / 1000:.3f})"
            throughput = f"{max(throughputs):.0f} ({min(throughputs):.0f})"
        print(f"| {name} | {step[0]} | {step[2] / 1e3:.0f} | {step[4] / 1e3:.0f} | {latency} |", end="")
        print(f" {prefill[0]} | {prefill[2] / 1e6:.1f} | {prefill[4] / 1e6:.1f} | {throughput} |")


if __name__ == "__main__":
    main()
