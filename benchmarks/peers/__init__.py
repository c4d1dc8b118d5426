# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The runtimes that benchmarks compare, one module each, which holds a class Peer.

A peer lives in a process of its own (worker.py), so that memory and load time are its own.
"""

import importlib.metadata
import importlib.util
import pathlib
import subprocess


class Absent(Exception):
    """The runtime is not installed, or cannot run the model; says why."""


def require(*packages):
    """Raises Absent unless all can be imported."""
    for package in packages:
        if not importlib.util.find_spec(package):
            raise Absent(f"the Python package {package} is not installed; see benchmarks/setup.sh")


def versions_of(*distributions):
    return {name: importlib.metadata.version(name) for name in distributions}


def run_tool(command):
    """Runs a compiler; its messages become the error."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in lines if "error" in line]
        raise RuntimeError(f"{pathlib.Path(command[0]).name}: " + "; ".join((errors or lines)[:3])[:600])


class Peer:
    """A runtime on one model.

    folder: of the model's files, as models.py makes them
    output: for files that the runtime's own conversion or compiler writes
    options: of the configuration, their meaning is the peer's
    """

    #: Bytes that an element of a weight matrix takes where the runtime reads it.
    element_bytes = 4
    #: Whether it converts or compiles models before they are loaded.
    prepares = True
    #: Whether its logits are the model's, to be compared with other peers'.
    compares = True
    #: What a reader must know of how this peer works, by use.
    notes = {}

    def __init__(self, model, folder, output, options, threads):
        self.model, self.folder, self.output = model, pathlib.Path(folder), pathlib.Path(output)
        self.options, self.threads = options, threads

    def start(self):
        """Imports the runtime and returns its versions; raises Absent."""
        raise NotImplementedError

    def prepare(self):
        """Converts or compiles the model. Returns ([files with weights], [other files]) that a user would ship."""
        raise NotImplementedError

    def load(self, use):
        """Brings the model to where the first token can be fed: for 'decode' or for 'prefill'."""
        raise NotImplementedError

    def reset(self):
        """Goes back to the empty state."""
        raise NotImplementedError

    def step(self, token):
        """Feeds a token; returns the logits as a float array [tokens]."""
        raise NotImplementedError

    def prefill(self, tokens):
        """Feeds a list of tokens; returns the logits after the last."""
        raise NotImplementedError

    def skip(self, tokens):
        """Puts the state where it is as large as after so many more tokens, without computing them, where that is
        needed and can be done; else returns False."""
        return False
