#!/usr/bin/env python3
# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What a model is on an NVIDIA or AMD GPU, as far as its code tells: launches, bytes moved, registers, spills, occupancy.

    benchmarks/synthetic.py rwkv7-0.1B -o rwkv7-0.1B.onnx
    benchmarks/kernels.py rwkv7-0.1B.onnx --chip sm_90
    benchmarks/kernels.py rwkv7-0.1B.onnx --chip gfx942

Launches and bytes are counted from the compiled code; registers and spills are ptxas's, or LLVM's for AMD. No GPU is needed and nothing is
run. Bytes are those that kernels' operands have (rwkvc-count-traffic): what stays in a cache or in shared memory counts
too, so it is an upper bound; the least is all weights, and a form's states, inputs and outputs, once.
"""

import argparse
import collections
import dataclasses
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]


@dataclasses.dataclass(frozen=True)
class Chip:
    """What a multiprocessor, compute unit or (RDNA) pair of these has, which is four parts with registers of their own."""

    target: str
    threads: int
    groups: int
    shared: int  # bytes
    registers: int  # of a part, in those of one thread
    warp: int  # threads
    unit: int  # registers of a thread come in so many
    reserved: int = 0  # bytes of shared memory for each workgroup

    def count_groups(self, threads, shared, registers):
        """Workgroups that run at once."""
        warps = -(-threads // self.warp)
        of_warp = -(-registers // self.unit) * self.unit * self.warp
        shared += self.reserved
        return min(
            self.groups,
            self.threads // (warps * self.warp),
            PARTS * (self.registers // of_warp) // warps,
            self.shared // shared if shared else self.groups,
        )


PARTS = 4
# CUDA's programming guide, "Compute Capabilities"; LLVM's AMDGPUBaseInfo.cpp, AMD's guides to its instruction sets.
NVIDIA = {"target": "nvptx", "registers": 16384, "warp": 32, "unit": 8, "reserved": 1 << 10}
CDNA = Chip("amdgpu", 2048, 16, 64 << 10, 512 * 64, 64, 8)
CHIPS = {
    "sm_80": Chip(threads=2048, groups=32, shared=164 << 10, **NVIDIA),
    "sm_90": Chip(threads=2048, groups=32, shared=228 << 10, **NVIDIA),
    "sm_100": Chip(threads=2048, groups=32, shared=228 << 10, **NVIDIA),
    "gfx90a": CDNA,
    "gfx942": CDNA,
    "gfx1100": Chip("amdgpu", 2048, 32, 128 << 10, 1536 * 32, 32, 24),
}
TRAFFIC = re.compile(
    r"@(\w+): \d+ kernels; bytes moved: (\d+) of weights, (\d+) of workspace, (\d+) of arguments, (\d+) within"
)
USAGE = re.compile(
    r"Compiling entry function '(\w+)'.*?(\d+) bytes spill stores, (\d+) bytes spill loads.*?Used (\d+) registers", re.S
)


def run(command):
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"error: {' '.join(map(str, command))} failed:\n{done.stderr.strip()[-2000:]}")
    return done


def read_launches(text):
    """{form: [(kernel, workgroups)]} and {kernel: (threads, shared bytes)}, of IR of the last phase."""
    forms, kernels = {}, {}
    for found in re.finditer(r"^ *func\.func private @(\w+)\(.*$", text, re.M):
        launches = re.findall(r'groups = (\d+) : i64, kernel = "(\w+)"', found[0])
        forms[found[1]] = [(kernel, int(groups)) for groups, kernel in launches]
    header = r"llvm\.func @(\w+)\([^\n]*gpu\.shared_bytes = (\d+) : i64, gpu\.threads = (\d+) : i64"
    for name, shared, threads in re.findall(header, text):
        kernels[name] = (int(threads), int(shared))
    return forms, kernels


def read_ptxas(code, chip):
    """{kernel: (bytes spilled, registers)} of PTX."""
    ptxas = shutil.which("ptxas") or shutil.which("ptxas", path="/usr/local/cuda/bin")
    if not ptxas:
        sys.exit("error: ptxas, of the CUDA toolkit, is not installed")
    log = run([ptxas, "-v", f"-arch={chip}", code, "-o", "/dev/null"]).stderr
    return {name: (int(stores) + int(loads), int(used)) for name, stores, loads, used in USAGE.findall(log)}


def read_metadata(code):
    """The same of AMD's assembly, where a spilled register is four bytes of a thread's own memory."""
    kernels = re.split(r"^  - (?=\.)", code.read_text().split("amdhsa.kernels:")[1], flags=re.M)[1:]
    usage = {}
    for kernel in kernels:
        fields = dict(re.findall(r"^ *\.(name|vgpr_count|vgpr_spill_count): +(\w+)$", kernel, re.M))
        usage[fields["name"]] = (4 * int(fields["vgpr_spill_count"]), int(fields["vgpr_count"]))
    return usage


def print_form(form, launches, kernels, usage, options):
    calls, groups = collections.Counter(), {}
    for kernel, count in launches:
        calls[kernel] += 1
        groups[kernel] = max(count, groups.get(kernel, 0))
    print(
        f"\n| {form}: kernel | launches | workgroups | threads | shared, bytes | registers | spilled, bytes |", end=""
    )
    print(" workgroups, threads at once |\n|" + "---|" * 8)
    for kernel, count in calls.items():
        threads, shared = kernels[kernel]
        spilled, registers = usage[kernel]
        fit = CHIPS[options.chip].count_groups(threads, shared, registers)
        cells = [kernel, count, groups[kernel], threads, shared, registers, spilled, f"{fit}, {fit * threads}"]
        print("| " + " | ".join(map(str, cells)) + " |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--chip", choices=CHIPS, default="sm_90")
    parser.add_argument("--forms", default="step,prefill", help="forms to show")
    parser.add_argument("--summary", action="store_true", help="the closing table only")
    parser.add_argument("--rwkvc", type=pathlib.Path, default=ROOT / "build" / "bin" / "rwkvc")
    parser.add_argument("--rwkvc-options", nargs="*", default=[], help="more options of the compiler")
    options = parser.parse_args()
    command = [options.rwkvc, options.model, f"--forms={options.forms}", *options.rwkvc_options]
    target = CHIPS[options.chip].target
    command.append(f"--target={target}:{options.chip}")
    with tempfile.TemporaryDirectory() as folder:
        ir, code = (pathlib.Path(folder) / name for name in ("model.mlir", "model.s"))
        counting = ["--emit=after-bufferize", "--insert-pass=after-bufferize:rwkvc-count-traffic"]
        traffic = {
            form: list(map(int, sizes)) for form, *sizes in TRAFFIC.findall(run([*command, *counting, "-o", ir]).stderr)
        }
        explained = run([*command, "--emit=llvm", "--explain=json", "-o", ir]).stdout
        forms, kernels = read_launches(ir.read_text())
        run([*command, "--emit=asm", "-o", code])
        usage = read_ptxas(code, options.chip) if target == "nvptx" else read_metadata(code)
    raised = json.loads(explained[explained.index("{") :])["raised"]
    layers = sum(count if isinstance(count, int) else len(count) for name, count in raised.items() if "wkv.wkv" in name)
    shown = [form for form in options.forms.split(",") if forms.get(form)]
    if not options.summary:
        for form in shown:
            print_form(form, forms[form], kernels, usage, options)
    print(
        "\n| form | launches | per layer | bytes moved | least | ratio | most registers | spilled, bytes |\n|"
        + "---|" * 8
    )
    # The form that reads no weight twice tells how many there are.
    once = min(traffic[form][0] for form in shown)
    for form in shown:
        weights, workspace, arguments, inside = traffic[form]
        least, moved = once + arguments, weights + workspace + arguments + inside
        most = max(usage[kernel][1] for kernel, _ in forms[form])
        spilled = sum(usage[kernel][0] for kernel in dict(forms[form]))
        cells = [form, len(forms[form]), f"{len(forms[form]) / layers:.1f}", moved, least]
        cells += [f"{moved / least:.3f}", most, spilled]
        print("| " + " | ".join(map(str, cells)) + " |")


if __name__ == "__main__":
    main()
