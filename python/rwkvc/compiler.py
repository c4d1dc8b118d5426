# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Runs the compiler's driver."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from .errors import Error

if TYPE_CHECKING:
    import onnx

_PACKAGE = pathlib.Path(__file__).resolve().parent
# Where a tool may lie: installed in the package, or built in the source tree that holds the package.
_FOLDERS = (_PACKAGE / "bin", _PACKAGE.parents[1] / "build" / "bin")


class CompileError(Error):
    """rwkvc refused a model. The text is its error messages, which name file, node or tensor.

    diagnostic: everything that it printed on standard error
    status: its exit status; negative: ended by that signal
    """

    def __init__(self, message: str, diagnostic: str = "", status: int = 1):
        super().__init__(message)
        self.diagnostic = diagnostic
        self.status = status


def find_driver() -> pathlib.Path:
    """The program `rwkvc`: $RWKVC, else beside this package, in the tree's build/bin, or in PATH."""
    chosen = os.environ.get("RWKVC")
    if chosen:
        found = shutil.which(chosen)
        if not found:
            raise CompileError(f"RWKVC={chosen}: no such program")
        return pathlib.Path(found).resolve()
    for folder in _FOLDERS:
        if os.access(folder / "rwkvc", os.X_OK):
            return folder / "rwkvc"
    found = shutil.which("rwkvc")
    if not found:
        tried = ", ".join(map(str, _FOLDERS))
        raise CompileError(f"the program rwkvc is not in {tried} nor in PATH; build it, or name it in RWKVC")
    return pathlib.Path(found).resolve()


def compile(
    model: str | os.PathLike | onnx.ModelProto,
    output: str | os.PathLike | None = None,
    *,
    dims: Mapping[str, int] | None = None,
    opt_level: int = 2,
    threads: bool = True,
    cpu: str | None = None,
    arguments: Iterable[str] = (),
    timeout: float | None = None,
) -> pathlib.Path:
    """Compiles an ONNX model and returns the path of what was written.

    model: an ONNX file, or a model in memory, which then holds all its weights
    output: what to write; its suffix says which kind of artefact (.so, .o, .a, .s, .ll). Default: the shared library
        that `load` takes, beside the ONNX file. Its weights lie beside it, with the suffix .safetensors.
    dims: sizes of dimensions that the file leaves open, by name; others become 1
    opt_level: LLVM's, 0 to 3
    threads: whether large operations may use several
    cpu: an LLVM name, or "native" for this machine's, or several, the least first; default: any x86-64 with AVX2
    arguments: further ones of rwkvc's command line
    timeout: seconds after which to give up

    Raises CompileError with rwkvc's messages if it refuses the model, takes too long, or cannot be found.
    """
    in_memory = not isinstance(model, (str, os.PathLike))
    if output is None:
        if in_memory:
            raise ValueError("a model in memory needs an output to write")
        output = pathlib.Path(model).with_suffix(".so")
    output = pathlib.Path(output)
    command = [str(find_driver())]
    command += ["-o", str(output), "--quiet", f"-O{opt_level}", f"--threads={str(threads).lower()}"]
    command += [f"--dim={name}={size}" for name, size in (dims or {}).items()]
    command += [f"--mcpu={cpu}"] if cpu else []
    command += map(str, arguments)
    with tempfile.TemporaryDirectory(prefix="rwkvc-") as folder:
        if in_memory:
            path = pathlib.Path(folder) / "model.onnx"
            path.write_bytes(model.SerializeToString())
        else:
            path = pathlib.Path(model)
        try:
            done = subprocess.run([*command, "--", str(path)], capture_output=True, text=True, timeout=timeout)
        except subprocess.TimeoutExpired:
            raise CompileError(f"rwkvc took longer than {timeout:g} s for {path.name}") from None
        except OSError as error:
            raise CompileError(f"{command[0]}: {error.strerror}") from error
    if done.returncode:
        raise CompileError(_messages(done), done.stderr, done.returncode)
    return output


def _messages(done: subprocess.CompletedProcess) -> str:
    """The errors among what rwkvc printed, without its name."""
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    errors = [line.partition("error: ")[2] for line in lines if "error: " in line]
    text = "\n".join(errors or lines[-1:]) or "rwkvc failed and said nothing"
    return text if done.returncode > 0 else f"rwkvc was ended by signal {-done.returncode}: {text}"
