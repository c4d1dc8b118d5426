# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What a device can do, by PyTorch: how fast it reads its memory, and its matrix products, cuBLAS's on NVIDIA's GPUs.

    device_limits.py --device=cuda [--megabytes=4096] [--seconds=0.3] [--size=8192]

Prints one line of JSON like rwkvc-limits: read_gbps, and gemm_gops of fp32 (full precision, no TF32), tf32, bf16 and fp16;
each the best of the runs that the time allows, three at least. Device: as PyTorch names it.
"""

import argparse
import json
import time

import torch


def best_of(work, seconds, synchronize):
    """Seconds of the fastest run."""
    work()
    synchronize()
    best, end, runs = float("inf"), time.perf_counter() + seconds, 0
    while runs < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        work()
        synchronize()
        best, runs = min(best, time.perf_counter() - start), runs + 1
    return best


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--threads", type=int, default=1, help="of the host; for a device that is one")
    parser.add_argument("--megabytes", type=int, default=4096, help="that are read")
    parser.add_argument("--seconds", type=float, default=0.3, help="for each figure")
    parser.add_argument("--size", type=int, default=8192, help="rows and columns of the matrices")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    is_gpu = device.type == "cuda"

    def synchronize():
        if is_gpu:
            torch.cuda.synchronize(device)

    data = torch.ones(options.megabytes << 18, device=device)
    seconds = best_of(data.sum, options.seconds, synchronize)
    limits = {
        "device": torch.cuda.get_device_name(device) if is_gpu else "cpu",
        "threads": options.threads,
        "torch": torch.__version__,
        "read_gbps": data.nbytes / seconds / 1e9,
        "gemm_gops": {},
    }
    del data
    for name, kind in {"fp32": "float32", "tf32": "float32", "bf16": "bfloat16", "fp16": "float16"}.items():
        if name == "tf32" and not is_gpu:
            continue
        torch.backends.cuda.matmul.allow_tf32 = name == "tf32"
        a = torch.ones(options.size, options.size, dtype=getattr(torch, kind), device=device)
        out = torch.empty_like(a)
        seconds = best_of(lambda a=a, out=out: torch.matmul(a, a, out=out), options.seconds, synchronize)
        limits["gemm_gops"][name] = 2 * options.size**3 / seconds / 1e9
    print(json.dumps(limits))


main()
