# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The process that a runtime lives in: reads requests from standard input, answers on standard output, a JSON line each.

run.py starts it. Whatever the runtime prints goes to standard error. Every request {"do": NAME, …} is a method of Worker.
"""

import ctypes
import importlib
import json
import os
import pathlib
import resource
import signal
import sys
import time
import traceback

import numpy as np

import models
import peers

PR_SET_PDEATHSIG = 1


def memory():
    """Of this process, in bytes: resident now, and at most; and what now is no part of a file."""
    fields = {}
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        name, _, value = line.partition(":")
        fields[name] = value
    return {
        name: int(fields[key].split()[0]) * 1024
        for name, key in (("now", "VmRSS"), ("peak", "VmHWM"), ("anonymous", "RssAnon"))
    }


class Worker:
    """What run.py can ask for. Every method returns the reply."""

    def start(self, peer, model, folder, output, options, threads):
        idle = memory()
        module = importlib.import_module(f"peers.{peer}")
        self.peer = module.Peer(models.find(model), folder, output, options, threads)
        start = time.perf_counter()
        versions = self.peer.start()
        seconds = time.perf_counter() - start
        element = self.peer.element_bytes
        return {
            "versions": versions,
            "seconds": seconds,
            "idle": idle,
            "element_bytes": element,
            "compares": self.peer.compares,
            "notes": self.peer.notes,
        }

    def prepare(self):
        self.peer.output.mkdir(parents=True, exist_ok=True)
        start = time.perf_counter()
        weights, code = self.peer.prepare()
        seconds = time.perf_counter() - start
        peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) * 1024
        if not self.peer.prepares:
            seconds = peak = None
        sizes = [sum(file.stat().st_size for file in files if file.exists()) for files in (weights, code)]
        return {"seconds": seconds, "peak": peak, "weights": sizes[0], "code": sizes[1]}

    def load(self, use):
        start = time.perf_counter()
        self.peer.load(use)
        return {"seconds": time.perf_counter() - start}

    def check(self, use, tokens, reference, write):
        """The logits after the tokens: saves them, or returns their largest difference from the saved ones over the
        largest of those."""
        if not self.peer.compares:
            return {"error": None}
        self.peer.reset()
        if use == "prefill":
            logits = self.peer.prefill(tokens)
        else:
            for token in tokens:
                logits = self.peer.step(token)
        logits = np.array(logits, np.float32).ravel()
        self.peer.reset()
        if write:
            np.save(reference, logits)
            return {"error": 0.0}
        expected = np.load(reference)
        if logits.shape != expected.shape:
            raise RuntimeError(f"{len(logits)} logits, expected {len(expected)}")
        return {"error": float(np.abs(logits - expected).max() / np.abs(expected).max())}

    def first(self, tokens):
        """The first token after a prompt."""
        start = time.perf_counter()
        token = int(np.argmax(self.peer.prefill(tokens)))
        return {"seconds": time.perf_counter() - start, "token": token}

    def reset(self):
        self.token = 0
        self.peer.reset()
        return {}

    def decode(self, prompt, warmup, count):
        """Greedy: feeds prompt from the empty state, or goes on where the last call ended; returns each token's time."""
        if prompt:
            self.peer.reset()
            for token in prompt:
                logits = self.peer.step(token)
            self.token = int(np.argmax(logits))
        tokens, times = [], []
        for number in range(warmup + count):
            start = time.perf_counter()
            token = int(np.argmax(self.peer.step(self.token)))
            if number >= warmup:
                times.append(time.perf_counter() - start)
            tokens.append(self.token)
            self.token = token
        return {"seconds": times, "tokens": tokens}

    def prefill(self, warmup, tokens):
        for part in filter(None, (warmup, tokens)):
            self.peer.reset()
            start = time.perf_counter()
            self.peer.prefill(part)
        return {"seconds": time.perf_counter() - start}

    def extend(self, tokens, block):
        """Feeds tokens to the present text, in blocks; the time is None if they were skipped."""
        start = time.perf_counter()
        if self.peer.skip(len(tokens)):
            return {"seconds": None}
        for first in range(0, len(tokens), block):
            logits = self.peer.prefill(tokens[first : first + block])
        self.token = int(np.argmax(logits))
        return {"seconds": time.perf_counter() - start}

    def memory(self):
        return memory()


def main():
    # Ends with run.py, also while it is stopped.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    worker = Worker()
    for line in sys.stdin:
        request = json.loads(line)
        try:
            reply = getattr(worker, request.pop("do"))(**request)
        except peers.Absent as error:
            reply = {"absent": str(error)}
        except Exception as error:  # whatever the runtime raises is its result
            traceback.print_exc()
            reply = {"failed": f"{type(error).__name__}: {error}"[:1000]}
        channel.write(json.dumps(reply) + "\n")
        channel.flush()


if __name__ == "__main__":
    main()
