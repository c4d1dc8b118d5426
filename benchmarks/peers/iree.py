# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""IREE: the one-token file compiled for this machine's processor, weights in a file of their own.

Options: arguments, a list for iree-compile's command line.
"""

import pathlib
import sys

import numpy as np

import peers


class Peer(peers.Peer):
    # Its importer takes no Scan.
    notes = {"prefill": "token by token"}

    def start(self):
        peers.require("iree.compiler", "iree.runtime")
        from iree import runtime

        self.runtime = runtime
        return peers.versions_of("iree-base-compiler", "iree-base-runtime")

    @property
    def files(self):
        return self.output / "model.irpa", self.output / "model.vmfb"

    def prepare(self):
        weights, code = self.files
        source = code.with_suffix(".mlir")
        tools = pathlib.Path(sys.executable).parent
        peers.run_tool(
            [tools / "iree-import-onnx", self.folder / "model.onnx", "-o", source, "--externalize-params"]
            + ["--num-elements-threshold=1024", f"--save-params-to={weights}"]
        )
        peers.run_tool(
            [tools / "iree-compile", source, "-o", code, "--iree-hal-target-device=local"]
            + ["--iree-hal-local-target-device-backends=llvm-cpu", "--iree-llvmcpu-target-cpu=host"]
            + list(self.options.get("arguments", ()))
        )
        return [weights], [code]

    def load(self, use):
        weights, code = self.files
        runtime = self.runtime
        runtime.flags.parse_flags(f"--task_topology_group_count={self.threads}")
        config = runtime.Config("local-task")
        index = runtime.ParameterIndex()
        index.load(str(weights))
        parameters = runtime.create_io_parameters_module(config.vm_instance, index.create_provider("model"))
        compiled = runtime.VmModule.mmap(config.vm_instance, str(code))
        self.device = config.device
        self.call = runtime.load_vm_modules(parameters, compiled, config=config)[1]["model"]
        self.reset()

    def reset(self):
        self.states = [
            self.runtime.asdevicearray(self.device, np.full(shape, value, np.float32))
            for _, shape, value in self.model.states()
        ]

    def step(self, token):
        logits, *self.states = self.call(np.array([token], np.int64), *self.states)
        return logits.to_host().reshape(-1)

    def prefill(self, tokens):
        for token in tokens:
            logits = self.step(token)
        return logits
