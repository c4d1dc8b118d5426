#!/usr/bin/env python3
# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes the files of a synthetic model that the runtimes read, and counts what a token of it costs.

models.py rwkv7-0.1B FOLDER
"""

import argparse
import dataclasses
import json
import pathlib

import numpy as np

import synthetic
from synthetic import HEAD_SIZE, make_weights

__all__ = ["HEAD_SIZE", "find", "make_weights"]


class Model(synthetic.Shape):
    """A shape, and what follows from it."""

    def states(self):
        """(name, extents, empty value) of the states in the order of the ONNX files' inputs."""
        wkv = (self.width // HEAD_SIZE, HEAD_SIZE, HEAD_SIZE)
        kinds = [("att_shift", (1, self.width), 0.0), ("wkv", wkv, 0.0), ("ffn_shift", (1, self.width), 0.0)]
        if self.version == 4:
            sums = [(name, (1, self.width), -1e30 if name == "pp" else 0.0) for name in ("aa", "bb", "pp")]
            kinds[1:2] = sums
        for layer in range(self.layers):
            for kind, extents, value in kinds:
                yield f"state_{layer}_{kind}", extents, value


def find(model):
    """The Model of a name, or of an object {"like": name, …} that changes some of its fields."""
    changes = {"like": model} if isinstance(model, str) else dict(model)
    changes.pop("name", None)
    like = changes.pop("like", None)
    if like not in synthetic.SHAPES:
        raise ValueError(f"no model like {like!r}; expected one of {', '.join(synthetic.SHAPES)}")
    fields = {field.name: getattr(synthetic.SHAPES[like], field.name) for field in dataclasses.fields(synthetic.Shape)}
    if changes.keys() - fields:
        raise ValueError(f"{', '.join(changes.keys() - fields)}: a model has {', '.join(fields)}")
    return Model(**(fields | {name: tuple(v) if isinstance(v, list) else v for name, v in changes.items()}))


def count(model, weights):
    """Elements that matter for speed, of the checkpoint's tensors: see docs/Benchmarks.md."""
    found = {"matrices": 0, "head": 0, "vectors": 0, "states": 0}
    for name, array in weights.items():
        if name == "emb.weight":
            found["vectors"] += model.width  # one row
        elif name == "head.weight":
            found["head"] += array.size
        elif np.squeeze(array).ndim > 1 and not name.endswith(("r_k", "time_faaaa")):
            found["matrices"] += array.size
        else:
            found["vectors"] += array.size
    found["vocabulary"] = model.tokens
    found["states"] = sum(int(np.prod(extents)) for _, extents, _ in model.states())
    return found


def write(model, folder):
    """model.onnx, one token; sequence.onnx, any number of tokens; both with their weights in model.data.
    counts.json: of elements."""
    # Here, for the runtimes' processes read this module and have no use for it.
    import onnx
    from rwkvc.export import export_model

    weights = make_weights(model)
    counts = count(model, weights)
    data = folder / "model.data"
    data.unlink(missing_ok=True)
    for name, options in (("model", {}), ("sequence", {"tokens": "T", "last_logits": True})):
        graph = export_model(weights, name=name, **options)
        if name == "model":
            save = {"save_as_external_data": True, "location": data.name, "size_threshold": 1024}
            onnx.save_model(graph, folder / "model.onnx", **save)
            # Not the messages themselves, which would keep the graph in memory.
            stored = {t.name: [(e.key, e.value) for e in t.external_data] for t in graph.graph.initializer}
        else:
            # The same weights, which the exporter names alike.
            for tensor in graph.graph.initializer:
                if stored.get(tensor.name):
                    tensor.ClearField("raw_data")
                    tensor.data_location = onnx.TensorProto.EXTERNAL
                    for key, value in stored[tensor.name]:
                        tensor.external_data.add(key=key, value=value)
            onnx.save_model(graph, folder / "sequence.onnx")
        del graph
    (folder / "counts.json").write_text(json.dumps(counts))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("model", help="a name of synthetic.py's, or an object as in configurations, in JSON")
    parser.add_argument("folder", type=pathlib.Path, help="where to write")
    options = parser.parse_args()
    model = json.loads(options.model) if options.model.startswith("{") else options.model
    try:
        found = find(model)
    except ValueError as error:
        parser.error(str(error))
    options.folder.mkdir(parents=True, exist_ok=True)
    write(found, options.folder)


if __name__ == "__main__":
    main()
