# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Runs compiled models on numpy arrays, through the runtime's C API (include/rwkvc-rt/rwkvc-rt.h)."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import pathlib
import shutil
import threading
import weakref
from collections.abc import Mapping
from collections.abc import Sequence as Series
from dataclasses import dataclass
from typing import Any

import numpy as np

from .errors import Error

_PACKAGE = pathlib.Path(__file__).resolve().parent
_LIBRARY = "librwkvc-rt.so"


class ModelError(Error):
    """The runtime refused a call. status: the name of its status, "bad file" for instance."""

    def __init__(self, message: str, status: str):
        super().__init__(message)
        self.status = status


# -- the C API ---------------------------------------------------------------------------------------------------------

ABI_VERSION = 8  # of include/rwkvc-rt/abi.h, whose structures follow


class _TensorInfo(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p),
        ("dtype", ctypes.c_int32),
        ("rank", ctypes.c_int32),
        ("dims", ctypes.POINTER(ctypes.c_int64)),
        ("index_limit", ctypes.c_int64),
    ]


class _StateInfo(ctypes.Structure):
    _fields_ = [("input", ctypes.c_int32), ("output", ctypes.c_int32), ("initial", ctypes.c_double)]


class _FunctionInfo(ctypes.Structure):
    _fields_ = [
        ("kind", ctypes.c_int32),
        ("num_inputs", ctypes.c_uint32),
        ("num_outputs", ctypes.c_uint32),
        ("num_states", ctypes.c_uint32),
        ("inputs", ctypes.POINTER(_TensorInfo)),
        ("outputs", ctypes.POINTER(_TensorInfo)),
        ("states", ctypes.POINTER(_StateInfo)),
        ("token_input", ctypes.c_int32),
        ("length_input", ctypes.c_int32),
        ("logits_output", ctypes.c_int32),
        ("flags", ctypes.c_uint32),
        ("batch", ctypes.c_int64),
        ("block", ctypes.c_int64),
        ("workspace_size", ctypes.c_uint64),
        ("run", ctypes.c_void_p),
    ]


class _LevelInfo(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("features", ctypes.c_uint64), ("code", ctypes.c_void_p)]


class _Range(ctypes.Structure):
    _fields_ = [("offset", ctypes.c_uint64), ("size", ctypes.c_uint64)]


class _DeviceInfo(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p),
        ("chip", ctypes.c_char_p),
        ("kind", ctypes.c_int32),
        ("num_kernels", ctypes.c_uint32),
        ("kernels", ctypes.c_void_p),
        ("functions", ctypes.c_void_p),
        ("image", ctypes.c_void_p),
        ("image_size", ctypes.c_uint64),
        ("weights", _Range),
    ]


class _ModelInfo(ctypes.Structure):
    _fields_ = [
        ("abi_version", ctypes.c_uint32),
        ("struct_size", ctypes.c_uint32),
        ("name", ctypes.c_char_p),
        ("producer", ctypes.c_char_p),
        ("target", ctypes.c_char_p),
        ("num_functions", ctypes.c_uint32),
        ("function_size", ctypes.c_uint32),
        ("functions", ctypes.POINTER(_FunctionInfo)),
        ("weights_file", ctypes.c_char_p),
        ("weights_size", ctypes.c_uint64),
        ("weights_hash", ctypes.c_uint64),
        ("embedded_weights", ctypes.c_void_p),
        ("levels_weights", _Range),
        ("num_levels", ctypes.c_uint32),
        ("level_size", ctypes.c_uint32),
        ("levels", ctypes.POINTER(_LevelInfo)),
        ("num_devices", ctypes.c_uint32),
        ("device_size", ctypes.c_uint32),
        ("devices", ctypes.POINTER(_DeviceInfo)),
    ]


_KINDS = ("graph", "step", "prefill", "unpack", "pack")  # rwkvrt_function_kind
_Handle = ctypes.c_void_p
_Status = ctypes.c_int
_Logits = ctypes.POINTER(ctypes.c_float)
_Tokens = ctypes.POINTER(ctypes.c_int64)
# name -> (result, arguments)
_FUNCTIONS = {
    "rwkvrt_last_error": (ctypes.c_char_p, ()),
    "rwkvrt_status_name": (ctypes.c_char_p, (_Status,)),
    "rwkvrt_dtype_name": (ctypes.c_char_p, (ctypes.c_int32,)),
    "rwkvrt_model_load_on": (_Status, (ctypes.c_char_p, ctypes.c_char_p, ctypes.POINTER(_Handle))),
    "rwkvrt_model_free": (None, (_Handle,)),
    "rwkvrt_model_get_info": (ctypes.POINTER(_ModelInfo), (_Handle,)),
    "rwkvrt_model_level": (ctypes.POINTER(_LevelInfo), (_Handle,)),
    "rwkvrt_model_device": (ctypes.c_char_p, (_Handle,)),
    "rwkvrt_model_num_states": (ctypes.c_uint32, (_Handle,)),
    "rwkvrt_model_state": (ctypes.POINTER(_TensorInfo), (_Handle, ctypes.c_uint32)),
    "rwkvrt_model_batch": (ctypes.c_size_t, (_Handle,)),
    "rwkvrt_model_vocabulary_size": (ctypes.c_size_t, (_Handle,)),
    "rwkvrt_model_run": (_Status, (_Handle, ctypes.POINTER(ctypes.c_void_p), ctypes.POINTER(ctypes.c_void_p))),
    "rwkvrt_sequence_create": (_Status, (_Handle, ctypes.POINTER(_Handle))),
    "rwkvrt_sequence_clone": (_Status, (_Handle, ctypes.POINTER(_Handle))),
    "rwkvrt_sequence_free": (None, (_Handle,)),
    "rwkvrt_sequence_reset": (_Status, (_Handle,)),
    "rwkvrt_sequence_step": (_Status, (_Handle, ctypes.c_int64, ctypes.POINTER(_Logits))),
    "rwkvrt_sequence_prefill": (_Status, (_Handle, _Tokens, ctypes.c_size_t, ctypes.POINTER(_Logits))),
    "rwkvrt_sequence_prefill_logits": (_Status, (_Handle, _Tokens, ctypes.c_size_t, _Logits)),
    "rwkvrt_sequence_set_shortest_block": (_Status, (_Handle, ctypes.c_size_t)),
    "rwkvrt_sequence_state": (ctypes.c_void_p, (_Handle, ctypes.c_uint32)),
    "rwkvrt_sequence_save": (_Status, (_Handle, ctypes.c_char_p)),
    "rwkvrt_sequence_load": (_Status, (_Handle, ctypes.c_char_p)),
    "rwkvrt_sequence_unpack": (_Status, (_Handle, ctypes.c_size_t, ctypes.POINTER(ctypes.c_void_p))),
    "rwkvrt_sequence_pack": (_Status, (_Handle, ctypes.c_size_t, ctypes.POINTER(ctypes.c_void_p))),
    "rwkvrt_sequence_compare": (_Status, (_Handle, _Handle, ctypes.POINTER(ctypes.c_double))),
    "rwkvrt_set_num_threads": (_Status, (ctypes.c_int32,)),
    "rwkvrt_get_num_threads": (ctypes.c_int32, ()),
}


def _find_library() -> str:
    """$RWKVC_RUNTIME, else beside this package, in the tree's build, beside rwkvc; else the loader's own search."""
    chosen = os.environ.get("RWKVC_RUNTIME")
    if chosen:
        return chosen
    folders = [_PACKAGE / "lib", _PACKAGE.parents[1] / "build" / "lib"]
    driver = shutil.which(os.environ.get("RWKVC") or "rwkvc")
    if driver:
        folders.append(pathlib.Path(driver).resolve().parents[1] / "lib")
    return next((str(folder / _LIBRARY) for folder in folders if (folder / _LIBRARY).is_file()), _LIBRARY)


@functools.cache
def _runtime() -> ctypes.CDLL:
    path = _find_library()
    try:
        library = ctypes.CDLL(path)
        for name, (result, arguments) in _FUNCTIONS.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError) as error:
        text = f"cannot load rwkvc's runtime {path}: {error}; build it, or name it in RWKVC_RUNTIME"
        raise ModelError(text, "input/output error") from error
    return library


def _require(status: int) -> None:
    if status:
        # The message is the calling thread's, so nothing may come between.
        message = _runtime().rwkvrt_last_error().decode(errors="replace")
        raise ModelError(message, _runtime().rwkvrt_status_name(status).decode())


# -- what a model takes and gives --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tensor:
    """An input or output of a model.

    index_limit: of inputs that index a table, as token ids do: values are 0 to index_limit - 1; 0 for other tensors
    """

    name: str
    dtype: np.dtype
    shape: tuple[int, ...]
    index_limit: int = 0


@dataclass(frozen=True)
class State:
    """A state that a model carries from one call to the next: two tensors of one type; initial fills the empty one."""

    input: Tensor
    output: Tensor
    initial: float


@dataclass(frozen=True)
class Function:
    """One of the functions of a model: the ONNX graph itself, or a form derived from it.

    batch, block: sequences, and most tokens of each, that a call computes; 0 for the graph, whose axes may mean anything
    token_input, logits_output: which tensors these are; None if that is not known
    """

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    states: tuple[State, ...]
    token_input: Tensor | None
    logits_output: Tensor | None
    batch: int
    block: int


def _numpy_type(number: int) -> np.dtype:
    name = _runtime().rwkvrt_dtype_name(number).decode()
    if name != "bfloat16":
        return np.dtype(name)
    try:
        import ml_dtypes
    except ImportError:
        raise ModelError("the model has bfloat16 tensors; install ml_dtypes to use them", "mismatch") from None
    return np.dtype(ml_dtypes.bfloat16)


def _read_tensors(infos: Any, count: int) -> tuple[Tensor, ...]:
    return tuple(
        Tensor(info.name.decode(), _numpy_type(info.dtype), tuple(info.dims[: info.rank]), info.index_limit)
        for info in infos[:count]
    )


def _read_function(info: _FunctionInfo) -> Function:
    inputs = _read_tensors(info.inputs, info.num_inputs)
    outputs = _read_tensors(info.outputs, info.num_outputs)
    return Function(
        inputs,
        outputs,
        tuple(State(inputs[s.input], outputs[s.output], s.initial) for s in info.states[: info.num_states]),
        inputs[info.token_input] if info.token_input >= 0 else None,
        outputs[info.logits_output] if info.logits_output >= 0 else None,
        info.batch,
        info.block,
    )


def _to_array(tensor: Tensor, value: Any) -> np.ndarray:
    """The value as the model takes it. An array must have the very type; numbers and lists are converted."""
    if hasattr(value, "dtype"):
        array = np.asarray(value, order="C")
        if array.dtype != tensor.dtype:
            raise TypeError(f"input '{tensor.name}': expected an array of {tensor.dtype}, got {array.dtype}")
    else:
        try:
            array = np.asarray(value, dtype=tensor.dtype, order="C")
        except (TypeError, ValueError, OverflowError) as error:
            raise TypeError(f"input '{tensor.name}': expected {tensor.dtype}: {error}") from error
    if array.shape != tensor.shape:
        raise ValueError(f"input '{tensor.name}': expected shape {list(tensor.shape)}, got {list(array.shape)}")
    return array


def _pointers(arrays: Series[np.ndarray]) -> ctypes.Array:
    return (ctypes.c_void_p * max(1, len(arrays)))(*(array.ctypes.data for array in arrays))


class Model:
    """A compiled model, by `load`. It is read-only: any number of threads may use one at once.

    name, producer, target: what the compiler wrote about it; target is the triple
    levels: processors that it has code for, the best last
    level: the one whose code is used here; the environment variable RWKVC_ISA may name another. None on a device
    device_code: what it has code for besides, the most wanted first
    device: what runs it here: "cpu", or a device's number and name, "cuda:0 NVIDIA A100" for instance
    functions: what it holds, by kind: "graph" is the ONNX file's own, "step" and "prefill" were derived from it,
        "unpack" and "pack" convert between its states and theirs
    inputs, outputs, states: those of the graph; empty if the model was compiled without
    sequence_states: what a sequence's state consists of
    batch: texts that a sequence computes at once
    vocabulary_size: number of logits; 0 if they are not known
    """

    def __init__(self, path: str | os.PathLike, device: str | None = None):
        runtime = _runtime()
        self.path = pathlib.Path(path)
        handle = _Handle()
        _require(runtime.rwkvrt_model_load_on(os.fsencode(path), (device or "").encode(), ctypes.byref(handle)))
        # Sequences hold their model in the runtime, so the order in which Python frees them does not matter.
        weakref.finalize(self, runtime.rwkvrt_model_free, handle)
        self._handle = handle
        info = runtime.rwkvrt_model_get_info(handle).contents
        if info.abi_version != ABI_VERSION:
            text = f"the runtime has binary interface {info.abi_version}, this package knows {ABI_VERSION}"
            raise ModelError(f"{path}: {text}; use those of one version", "mismatch")
        self.name, self.producer, self.target = (text.decode() for text in (info.name, info.producer, info.target))
        for count, size, structure in (
            (info.num_functions, info.function_size, _FunctionInfo),
            (info.num_levels, info.level_size, _LevelInfo),
            (info.num_devices, info.device_size, _DeviceInfo),
        ):
            if count and size != ctypes.sizeof(structure):
                raise ModelError(f"{path}: the runtime is of another version than this package", "mismatch")
        self.levels = tuple(level.name.decode() for level in info.levels[: info.num_levels])
        level = runtime.rwkvrt_model_level(handle)
        self.level: str | None = level.contents.name.decode() if level else None
        self.device_code = tuple(code.name.decode() for code in info.devices[: info.num_devices])
        self.device: str = runtime.rwkvrt_model_device(handle).decode(errors="replace")
        self.functions = {_KINDS[f.kind]: _read_function(f) for f in info.functions[: info.num_functions]}
        graph = self.functions.get("graph", Function((), (), (), None, None, 0, 0))
        self.inputs, self.outputs, self.states = graph.inputs, graph.outputs, graph.states
        count = runtime.rwkvrt_model_num_states(handle)
        self.sequence_states = tuple(
            _read_tensors(runtime.rwkvrt_model_state(handle, number), 1)[0] for number in range(count)
        )
        self.batch: int = runtime.rwkvrt_model_batch(handle)
        self.vocabulary_size: int = runtime.rwkvrt_model_vocabulary_size(handle)

    def __repr__(self) -> str:
        return f"<rwkvc.Model {self.name} ({self.path})>"

    def run(self, inputs: Mapping[str, Any] | Series[Any]) -> dict[str, np.ndarray]:
        """Calls the model through the ONNX graph's own interface.

        inputs: arrays by name, or in the graph's order. States may be left out of a mapping: they are empty then.
        Returns new arrays by name, the states' next values among them.

        Raises TypeError or ValueError for inputs of another type, shape, name or number, ModelError for what the
        runtime refuses, as a token out of range.
        """
        if "graph" not in self.functions:
            raise ModelError(f"{self.path}: compiled without the graph's own function; use a sequence", "mismatch")
        if not isinstance(inputs, Mapping):
            if len(inputs) != len(self.inputs):
                names = ", ".join(tensor.name for tensor in self.inputs)
                raise ValueError(f"expected {len(self.inputs)} inputs ({names}), got {len(inputs)}")
            inputs = {tensor.name: value for tensor, value in zip(self.inputs, inputs)}
        known = {tensor.name for tensor in self.inputs}
        for name in inputs:
            if name not in known:
                raise ValueError(f"no input '{name}'; the model has {', '.join(sorted(known)) or 'none'}")
        empty = {state.input.name: state.initial for state in self.states}
        arrays = []
        for tensor in self.inputs:
            if tensor.name in inputs:
                arrays.append(_to_array(tensor, inputs[tensor.name]))
            elif tensor.name in empty:
                arrays.append(np.full(tensor.shape, empty[tensor.name], tensor.dtype))
            else:
                raise ValueError(f"input '{tensor.name}' is missing")
        outputs = [np.empty(tensor.shape, tensor.dtype) for tensor in self.outputs]
        _require(_runtime().rwkvrt_model_run(self._handle, _pointers(arrays), _pointers(outputs)))
        return {tensor.name: array for tensor, array in zip(self.outputs, outputs)}

    def sequence(self) -> Sequence:
        """A new sequence with the empty state."""
        handle = _Handle()
        _require(_runtime().rwkvrt_sequence_create(self._handle, ctypes.byref(handle)))
        return Sequence(self, handle)


class Sequence:
    """One text's state, by `Model.sequence`. Calls from several threads wait for each other."""

    def __init__(self, model: Model, handle: _Handle):
        self.model = model
        self._handle = handle
        self._lock = threading.Lock()
        weakref.finalize(self, _runtime().rwkvrt_sequence_free, handle)

    def step(self, token: int) -> np.ndarray:
        """Feeds one token; returns the logits of the next, float32 [vocabulary_size].

        Raises ModelError for a token out of range, or a model that has no form for one token, or several texts.
        """
        logits = _Logits()
        with self._lock:
            _require(_runtime().rwkvrt_sequence_step(self._handle, int(token), ctypes.byref(logits)))
            return np.ctypeslib.as_array(logits, (self.model.vocabulary_size,)).copy()

    def prefill(self, tokens: Any, all_logits: bool = False) -> np.ndarray:
        """Feeds tokens, [n] or [batch, n]; returns the float32 logits after the last one, [vocabulary_size], with the
        axis of the batch if the tokens have it, and with one for the tokens if all_logits is set.

        The result is that of so many steps, up to rounding. Raises ModelError for a token out of range, named with its
        position, and then feeds none.
        """
        given = np.asarray(tokens)
        if given.dtype.kind not in "iu":
            raise TypeError(f"expected integer tokens, got {given.dtype}")
        rows = np.ascontiguousarray(np.atleast_2d(given), np.int64)
        batch, size = self.model.batch, self.model.vocabulary_size
        if rows.ndim != 2 or len(rows) != batch or not rows.size or not size:
            expected = "tokens [n]" if batch == 1 else f"tokens [{batch}, n]"
            reason = f"got shape {list(given.shape)}" if size else "for a model whose logits are known"
            raise ValueError(f"expected {expected} with n of at least 1, {reason}")
        pointer, count = rows.ctypes.data_as(_Tokens), rows.shape[1]
        with self._lock:
            if all_logits:
                found = np.empty((batch, count, size), np.float32)
                target = found.ctypes.data_as(_Logits)
                _require(_runtime().rwkvrt_sequence_prefill_logits(self._handle, pointer, count, target))
            else:
                logits = _Logits()
                _require(_runtime().rwkvrt_sequence_prefill(self._handle, pointer, count, ctypes.byref(logits)))
                found = np.ctypeslib.as_array(logits, (batch, size)).copy()
        return found if given.ndim == 2 else found[0]

    def set_shortest_block(self, tokens: int) -> None:
        """From how many tokens on a block is computed at once instead of stepped; 0 restores the default."""
        with self._lock:
            _require(_runtime().rwkvrt_sequence_set_shortest_block(self._handle, tokens))

    def reset(self) -> None:
        """Back to the empty state."""
        with self._lock:
            _require(_runtime().rwkvrt_sequence_reset(self._handle))

    def clone(self) -> Sequence:
        """An independent sequence that goes on from the same state."""
        handle = _Handle()
        with self._lock:
            _require(_runtime().rwkvrt_sequence_clone(self._handle, ctypes.byref(handle)))
        return Sequence(self.model, handle)

    def unpack(self, states: Mapping[str, Any], text: int = 0) -> None:
        """Takes the states of the ONNX graph's own signature, by the names of its state inputs; states that are left
        out are empty. They become the state of one text, or of as many from there on as the graph computes at once.

        Raises TypeError or ValueError for states of another type, shape or name, ModelError where there is no
        conversion.
        """
        known = {state.input.name: state for state in self.model.states}
        for name in states:
            if name not in known:
                raise ValueError(f"no state '{name}'; the graph has {', '.join(sorted(known)) or 'none'}")
        arrays = [
            _to_array(state.input, states[name])
            if name in states
            else np.full(state.input.shape, state.initial, state.input.dtype)
            for name, state in known.items()
        ]
        with self._lock:
            _require(_runtime().rwkvrt_sequence_unpack(self._handle, text, _pointers(arrays)))

    def pack(self, text: int = 0) -> dict[str, np.ndarray]:
        """The way back: new arrays by the names of the graph's state inputs, from which `Model.run` goes on."""
        arrays = [np.empty(state.output.shape, state.output.dtype) for state in self.model.states]
        with self._lock:
            _require(_runtime().rwkvrt_sequence_pack(self._handle, text, _pointers(arrays)))
        return {state.input.name: a.reshape(state.input.shape) for state, a in zip(self.model.states, arrays)}

    def save(self, path: str | os.PathLike) -> None:
        """Writes the state to a file, which holds the old or the new state at any time."""
        with self._lock:
            _require(_runtime().rwkvrt_sequence_save(self._handle, os.fsencode(path)))

    def load(self, path: str | os.PathLike) -> None:
        """Takes the state of a file that `save` wrote. What is refused leaves the state as it was."""
        with self._lock:
            _require(_runtime().rwkvrt_sequence_load(self._handle, os.fsencode(path)))

    def difference(self, other: Sequence) -> float:
        """The largest absolute difference between the two states; 0 if they are equal."""
        found = ctypes.c_double()
        first, second = sorted((self, other), key=id)  # one order for all, so that no two threads wait for each other
        with first._lock, second._lock if second is not first else contextlib.nullcontext():
            _require(_runtime().rwkvrt_sequence_compare(self._handle, other._handle, ctypes.byref(found)))
        return found.value

    def states(self) -> dict[str, np.ndarray]:
        """The state tensors by name. They are views: writing them changes the state, and they
        change with the next step. On a device they are those of a copy that the next step takes: ask again after it.

        Raises ModelError if the device fails.
        """
        found = {}
        for number, tensor in enumerate(self.model.sequence_states):
            size = int(np.prod(tensor.shape, dtype=np.int64)) * tensor.dtype.itemsize
            with self._lock:
                address = _runtime().rwkvrt_sequence_state(self._handle, number)
                if not address:
                    raise ModelError(_runtime().rwkvrt_last_error().decode(errors="replace"), "run failed")
            memory = (ctypes.c_char * size).from_address(address)
            memory.owner = self  # the views keep the sequence alive
            found[tensor.name] = np.frombuffer(memory, tensor.dtype).reshape(tensor.shape)
        return found


def load(path: str | os.PathLike, device: str | None = None) -> Model:
    """Loads a shared library that `compile` made. Its code runs with the program's rights: load what you trust.

    device: "cpu", "opencl", "cuda" or "hip", the last three also with a number, "cuda:1"; by default what the
        environment variable RWKVC_DEVICE names, else the best that the model has code for

    Raises ModelError for a file that is missing, damaged, or for another machine, device or version.
    """
    return Model(path, device)


def set_num_threads(threads: int) -> None:
    """Threads that one call of any model may use; 0 restores the default (see docs/RuntimeContract.md)."""
    _require(_runtime().rwkvrt_set_num_threads(threads))


def get_num_threads() -> int:
    return _runtime().rwkvrt_get_num_threads()
