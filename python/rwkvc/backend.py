# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""An ONNX backend that compiles: the interface of onnx.backend.base, for programs and tests written against it.

    import rwkvc.backend
    outputs = rwkvc.backend.run_model(onnx.load("model.onnx"), inputs)

    backend_test = onnx.backend.test.BackendTest(rwkvc.backend, __name__)  # ONNX's own tests

The compiler needs sizes at compile time, a backend gets them with the inputs: a model that leaves dimensions open, or
takes what says a size (axes, pads, repeats, a trip count) as an input, is compiled at its first run for these sizes,
and again for others.
"""

from __future__ import annotations

import functools
import pathlib
import re
import tempfile
import weakref
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnx.backend.base
import onnx.inliner
from onnx import numpy_helper

from .compiler import CompileError, compile
from .runtime import Model, load

OPSETS = range(11, 29)  # the operator sets that the compiler claims
# The element types that it claims.
TYPES = frozenset(
    np.dtype(kind)
    for kind in (
        *(np.float16, np.float32, np.float64, ml_dtypes.bfloat16, np.bool_),
        *(np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64),
    )
)


# -- what the compiler claims ------------------------------------------------------------------------------------------


@functools.cache
def operators() -> frozenset[str]:
    """Operators of ONNX's default domain that have an op in the compiler's dialect."""
    lines = (pathlib.Path(__file__).parent / "onnx_ops.txt").read_text().splitlines()
    return frozenset({line.split("#")[0].strip() for line in lines} - {""} | {"Constant"})


def _all_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in [attribute.g] if attribute.HasField("g") else attribute.graphs:
                yield from _all_nodes(inner)


def _is_claimed_type(number: int) -> bool:
    """Whether the element type with this number in ONNX is claimed; 0 says none."""
    if number in (onnx.TensorProto.UNDEFINED, onnx.TensorProto.STRING):
        return not number
    return onnx.helper.tensor_dtype_to_np_dtype(number) in TYPES


def _type_name(number: int) -> str:
    return onnx.TensorProto.DataType.Name(number).lower()


def _update_opset(model: onnx.ModelProto) -> onnx.ModelProto | None:
    """The model in an operator set of OPSETS; None if its operators are different there."""
    version = next((opset.version for opset in model.opset_import if opset.domain in ("", "ai.onnx")), OPSETS[0])
    if version in OPSETS:
        return model

    def since(node: onnx.NodeProto, version: int) -> int:
        return onnx.defs.get_schema(node.op_type, version, "").since_version

    if version > OPSETS[-1] or any(
        node.domain or since(node, version) != since(node, OPSETS[0]) for node in _all_nodes(model.graph)
    ):
        return None
    updated = onnx.ModelProto()
    updated.CopyFrom(model)
    for opset in updated.opset_import:
        if opset.domain in ("", "ai.onnx"):
            opset.version = OPSETS[0]
    return updated


def _unclaimed_node(node: onnx.NodeProto) -> str | None:
    # Domains that are not ONNX's have no list: what the compiler knows of them it compiles.
    if node.domain.startswith("ai.onnx.") or (node.domain in ("", "ai.onnx") and node.op_type not in operators()):
        return f"domain {node.domain}" if node.domain not in ("", "ai.onnx") else f"operator {node.op_type}"
    for attribute in node.attribute:
        if attribute.name == "training_mode" and attribute.i:
            return "training"
        if attribute.name in ("to", "dtype", "output_dtype") and not _is_claimed_type(attribute.i):
            return f"element type {_type_name(attribute.i)}"
    return None


def why_unclaimed(model: onnx.ModelProto) -> str | None:
    """Why the compiler does not claim to compile the model; None if it does.

    It claims graphs of tensors of TYPES, of operators() or functions of such, that do not train.
    """
    if _update_opset(model) is None:
        versions = [opset.version for opset in model.opset_import if opset.domain in ("", "ai.onnx")]
        return f"operator set {versions[0]}"
    for value in (*model.graph.input, *model.graph.output):
        kind = value.type.WhichOneof("value")
        if kind != "tensor_type":
            return (kind or "untyped").removesuffix("_type")
        if not _is_claimed_type(value.type.tensor_type.elem_type):
            return f"element type {_type_name(value.type.tensor_type.elem_type)}"
    reasons = [reason for node in _all_nodes(model.graph) if (reason := _unclaimed_node(node))]
    if not reasons:
        return None
    listed = [("", name) for name in operators()]
    try:
        expanded = onnx.inliner.inline_selected_functions(model, listed, exclude=True, inline_schema_functions=True)
    except Exception:  # of whatever kind the library's binding makes: the model cannot be expanded
        return reasons[0]
    inner = [reason for node in _all_nodes(expanded.graph) if (reason := _unclaimed_node(node))]
    if not inner:
        return None
    return reasons[0] if inner[0] in reasons else f"function of {inner[0]}"


def _trains(model: onnx.ModelProto, inputs: Mapping[str, np.ndarray]) -> bool:
    """Whether an operator gets training_mode as an operand that is true."""
    for node in _all_nodes(model.graph):
        if node.op_type == "Dropout" and len(node.input) > 2 and node.input[2] in inputs:
            if bool(inputs[node.input[2]]):
                return True
    return False


def _unsupported(reason: str) -> Exception:
    """What ONNX's test runner takes for a test that this backend leaves out."""
    from onnx.backend.test.runner import BackendIsNotSupposedToImplementIt  # loads all of the runner

    return BackendIsNotSupposedToImplementIt(f"rwkvc does not claim this: {reason}")


# -- compile and run ---------------------------------------------------------------------------------------------------


def _constant_candidates(inputs: Mapping[str, np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
    """What to make constant, by attempt: nothing; operands behind the first that may say sizes; the first too."""
    yield {}
    says_sizes = {name: array for name, array in inputs.items() if array.ndim < 2}
    behind = {
        name: array
        for number, (name, array) in enumerate(inputs.items())
        if number and name in says_sizes and array.dtype.kind in "iub"
    }
    if behind:
        yield behind
    if says_sizes and says_sizes.keys() != behind.keys():
        yield says_sizes


class CompiledModel(onnx.backend.base.BackendRep):
    """A model that was compiled, or will be at its first run if it needs sizes that come with the inputs.

    constant_inputs: the inputs that the code of the last run has as constants, because they say a size
    """

    def __init__(self, model: onnx.ModelProto, options: Mapping[str, Any]):
        self._model = model
        # It runs where it is compiled.
        self._options = {"cpu": "native", **options}
        initializers = {tensor.name for tensor in model.graph.initializer}
        self._inputs = [value for value in model.graph.input if value.name not in initializers]
        self._outputs = [value.name for value in model.graph.output]
        self._folder = tempfile.TemporaryDirectory(prefix="rwkvc-")
        weakref.finalize(self, self._folder.cleanup)
        self._compiled: dict[Any, Model | CompileError] = {}
        self.constant_inputs: tuple[str, ...] = ()
        if not any(self._is_open(value) for value in self._inputs):
            self._compile({}, {})

    @staticmethod
    def _is_open(value: onnx.ValueInfoProto) -> bool:
        shape = value.type.tensor_type
        return not shape.HasField("shape") or any(not dim.HasField("dim_value") for dim in shape.shape.dim)

    @staticmethod
    def _needs_sizes(error: CompileError) -> bool:
        return error.status > 0 and bool(re.search("static shape|must be constant|in training mode", str(error)))

    def _sizes(self, inputs: Mapping[str, np.ndarray]) -> dict[str, tuple[int, ...]]:
        """Shapes of the inputs that the model leaves open."""
        return {value.name: inputs[value.name].shape for value in self._inputs if self._is_open(value)}

    def _compile(self, constants: Mapping[str, np.ndarray], sizes: Mapping[str, tuple[int, ...]]) -> Model | None:
        """The model compiled for these, once; None if it needs more sizes, and why in self._refusal."""
        key = tuple((name, array.tobytes()) for name, array in constants.items()), tuple(sizes.items())
        if key not in self._compiled:
            try:
                path = pathlib.Path(self._folder.name) / f"model{len(self._compiled)}.so"
                compiled = load(compile(self._specialise(constants, sizes), path, **self._options))
            except CompileError as error:
                if not self._needs_sizes(error):
                    raise
                compiled = error
            self._compiled[key] = compiled
        compiled = self._compiled[key]
        if not isinstance(compiled, CompileError):
            return compiled
        self._refusal = compiled
        return None

    def _specialise(self, constants: Mapping[str, np.ndarray], sizes: Mapping[str, tuple[int, ...]]) -> onnx.ModelProto:
        model = self._model
        if not constants and not sizes:
            return model
        model = onnx.ModelProto()
        model.CopyFrom(self._model)
        kept = []
        for value in self._model.graph.input:
            if value.name in constants:
                continue
            kept.append(onnx.ValueInfoProto())
            kept[-1].CopyFrom(value)
            if value.name in sizes:
                shape = kept[-1].type.tensor_type.shape
                del shape.dim[:]
                shape.dim.extend(onnx.TensorShapeProto.Dimension(dim_value=size) for size in sizes[value.name])
        del model.graph.input[:]
        model.graph.input.extend(kept)
        model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in constants.items())
        return model

    def run(self, inputs: Mapping[str, Any] | Sequence[Any], **kwargs: Any) -> tuple[np.ndarray, ...]:
        """Outputs in the graph's order. inputs: by name, or in the graph's order, without the initializers."""
        if not isinstance(inputs, Mapping):
            if len(inputs) != len(self._inputs):
                raise ValueError(f"expected {len(self._inputs)} inputs, got {len(inputs)}")
            inputs = {value.name: array for value, array in zip(self._inputs, inputs)}
        missing = [value.name for value in self._inputs if value.name not in inputs]
        if missing:
            raise ValueError(f"input '{missing[0]}' is missing")
        inputs = {name: np.asarray(array) for name, array in inputs.items()}
        if _trains(self._model, inputs):
            raise _unsupported("training")
        for constants in _constant_candidates(inputs):
            model = self._compile(constants, self._sizes(inputs))
            if model:
                break
        else:
            raise self._refusal
        self.constant_inputs = tuple(constants)
        outputs = model.run({name: array for name, array in inputs.items() if name not in constants})
        return tuple(outputs[name] for name in self._outputs)


class Backend(onnx.backend.base.Backend):
    """Compiles ONNX models for this machine's processor."""

    @classmethod
    def is_compatible(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> bool:
        """Whether the compiler claims the model."""
        return cls.supports_device(device) and why_unclaimed(model) is None

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> CompiledModel:
        """Compiles the model. kwargs: those of rwkvc.compile; others are ignored, as the interface asks.

        Raises BackendIsNotSupposedToImplementIt, a unittest.SkipTest, for what is not claimed, and CompileError.
        """
        if not cls.supports_device(device):
            raise ValueError(f"device '{device}': only CPU is there")
        onnx.checker.check_model(model)
        reason = why_unclaimed(model)
        if reason:
            raise _unsupported(reason)
        known = ("dims", "opt_level", "threads", "cpu", "arguments", "timeout")
        options = {"opt_level": 1, "threads": False, "arguments": ["--forms=original"]} | {
            key: kwargs[key] for key in known if key in kwargs
        }
        return CompiledModel(_update_opset(model), options)

    @classmethod
    def run_node(
        cls, node: onnx.NodeProto, inputs: Any, device: str = "CPU", outputs_info: Any = None, **kwargs: Any
    ) -> tuple[np.ndarray, ...]:
        """Runs one operator. opset_version: the operator set that it is of; default: the newest."""
        super().run_node(node, inputs, device, outputs_info, **kwargs)
        names = list(dict.fromkeys(name for name in node.input if name))
        if not isinstance(inputs, Mapping):
            if len(inputs) != len(names):
                raise ValueError(f"expected {len(names)} inputs, got {len(inputs)}")
            inputs = dict(zip(names, inputs))
        arrays = {name: np.asarray(array) for name, array in inputs.items()}
        infos = [
            onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
            for name, a in arrays.items()
        ]
        results = [name for name in node.output if name]
        outputs = [onnx.helper.make_empty_tensor_value_info(name) for name in results]
        graph = onnx.helper.make_graph([node], node.op_type or "node", infos, outputs)
        version = kwargs.pop("opset_version", min(onnx.defs.onnx_opset_version(), OPSETS[-1]))
        model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", version)])
        inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
        return cls.run_model(inferred, arrays, device, **kwargs)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        return device.partition(":")[0] == "CPU"


# The interface as a module, which is what ONNX's test runner is given.
is_compatible = Backend.is_compatible
prepare = Backend.prepare
run_model = Backend.run_model
run_node = Backend.run_node
supports_device = Backend.supports_device
