#!/usr/bin/env python3
# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes an RWKV model with the shapes of a released one and seeded weights, as a one-token ONNX file.

Speed depends on shapes, not on what the weights say; these keep activations of order one for any number of tokens.

    benchmarks/synthetic.py rwkv7-0.1B -o rwkv7-0.1B.onnx
    benchmarks/synthetic.py rwkv7-0.1B --layers 2 --width 128 --tokens 256 -o small.onnx
"""

import argparse
import dataclasses
import pathlib
import statistics
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "python"))
HEAD_SIZE = 64


@dataclasses.dataclass(frozen=True)
class Shape:
    """What determines a model's tensors.

    ranks: of v7's decay, in-context learning rate, value residual and gate; of v6's interpolations and decay
    hidden: width of the channel mix over that of the model
    zeros: about how much of the channel mix's squared ReLU is zero; trained models have more than the half that is chance
    """

    version: int
    layers: int
    width: int
    tokens: int
    ranks: tuple = ()
    hidden: float = 4
    zeros: float = 0.5


SHAPES = {
    "rwkv4-169M": Shape(4, 12, 768, 50277),
    "rwkv6-1.6B": Shape(6, 24, 2048, 65536, (32, 64), 3.5),
    "rwkv7-0.1B": Shape(7, 12, 768, 65536, (64, 64, 32, 128)),
    "rwkv7-0.4B": Shape(7, 24, 1024, 65536, (64, 64, 32, 128)),
    "rwkv7-1.5B": Shape(7, 24, 2048, 65536, (96, 96, 64, 256)),
}


class _Maker:
    """Seeded tensors of a model; matrices [out, in] are normal with a deviation of in^-0.5."""

    def __init__(self, shape, seed):
        self.shape = shape
        self.generator = np.random.default_rng(seed)

    def normal(self, *extents, scale=1.0, mean=0.0):
        values = self.generator.standard_normal(extents, dtype=np.float32)
        values *= np.float32(scale)
        values += np.float32(mean)
        return values

    def matrix(self, rows, columns, scale=1.0):
        return self.normal(rows, columns, scale=scale * columns**-0.5)

    def row(self, **options):
        return self.normal(1, 1, self.shape.width, **options)

    def share(self):
        """Of the present or the previous token in an interpolation."""
        return self.generator.random((1, 1, self.shape.width), dtype=np.float32)

    def norm(self, name):
        width = self.shape.width
        return {
            f"{name}.weight": self.normal(width, scale=0.1, mean=1),
            f"{name}.bias": self.normal(width, scale=0.1),
        }

    def heads(self, scale):
        return self.normal(self.shape.width // HEAD_SIZE, HEAD_SIZE, scale=scale)

    def projections(self, *names):
        width = self.shape.width
        return {f"{name}.weight": self.matrix(width, width, scale=0.5) for name in names}

    def low_rank(self, first, second, rank):
        """Two matrices as the checkpoints hold them: [in, out]."""
        width = self.shape.width
        return {first: self.matrix(rank, width).T, second: self.matrix(width, rank).T}

    def time_mix_v4(self, layer):
        width = self.shape.width
        return {
            **{f"time_mix_{name}": self.share() for name in "kvr"},
            "time_decay": self.normal(width, mean=-1),
            "time_first": self.normal(width, scale=0.5),
            **self.projections("receptance", "key", "value", "output"),
        }

    def time_mix_v6(self, layer):
        mix, decay = self.shape.ranks
        width = self.shape.width
        return {
            **{f"time_maa_{name}": self.share() for name in "xwkvrg"},
            "time_maa_w1": self.matrix(5 * mix, width).T,
            "time_maa_w2": self.normal(5, mix, width, scale=0.1 * mix**-0.5),
            "time_decay": self.row(scale=0.5, mean=-2),
            **self.low_rank("time_decay_w1", "time_decay_w2", decay),
            "time_faaaa": self.heads(0.3),
            **self.projections("receptance", "key", "value", "gate", "output"),
            **self.norm("ln_x"),
        }

    def time_mix_v7(self, layer):
        tensors = {f"x_{name}": self.share() for name in "rwkvag"}
        for name, rank, mean in zip("wavg", self.shape.ranks, (-2, 0, 0, None)):
            if name == "v" and layer == 0:
                continue
            if mean is not None:
                tensors[f"{name}0"] = self.row(scale=0.5, mean=mean)
            tensors |= self.low_rank(f"{name}1", f"{name}2", rank)
        return {
            **tensors,
            "k_k": self.row(scale=0.1, mean=0.8),
            "k_a": self.row(scale=0.1, mean=0.8),
            "r_k": self.heads(0.2),
            **self.projections("receptance", "key", "value", "output"),
            **self.norm("ln_x"),
        }

    def channel_mix(self):
        width = self.shape.width
        hidden = int(self.shape.hidden * width)
        names = {4: ("time_mix_k", "time_mix_r"), 6: ("time_maa_k", "time_maa_r"), 7: ("x_k",)}[self.shape.version]
        tensors = {name: self.share() for name in names}
        tensors["key.weight"] = self.matrix(hidden, width)
        tensors["value.weight"] = self.matrix(width, hidden, scale=0.5)
        if self.shape.version < 7:
            tensors["receptance.weight"] = self.matrix(width, width)
        return tensors

    def make(self):
        shape = self.shape
        weights = {"emb.weight": self.normal(shape.tokens, shape.width, scale=0.5)}
        weights["head.weight"] = self.matrix(shape.tokens, shape.width)
        weights |= self.norm("ln_out")
        time_mix = {4: self.time_mix_v4, 6: self.time_mix_v6, 7: self.time_mix_v7}[shape.version]
        for layer in range(shape.layers):
            block = f"blocks.{layer}"
            for name in ("ln1", "ln2") if layer else ("ln0", "ln1", "ln2"):
                weights |= self.norm(f"{block}.{name}")
            weights |= {f"{block}.att.{name}": tensor for name, tensor in time_mix(layer).items()}
            weights |= {f"{block}.ffn.{name}": tensor for name, tensor in self.channel_mix().items()}
            # What the bias of the norm gives every key lies so many deviations below zero.
            bias = weights[f"{block}.ln2.bias"]
            shift = np.float32(statistics.NormalDist().inv_cdf(shape.zeros))
            weights[f"{block}.ffn.key.weight"] -= shift * bias / (bias @ bias)
        return weights


def make_weights(shape, seed=0):
    """A checkpoint as in rwkvc.checkpoint: tensor names of the training code to float32 arrays."""
    if shape.width % HEAD_SIZE or shape.layers < 1 or shape.tokens < 1:
        raise ValueError(f"{shape}: the width must be a multiple of {HEAD_SIZE}, layers and tokens positive")
    if not 0 < shape.zeros < 1:
        raise ValueError(f"{shape}: the share of zeros must be above 0 and below 1")
    return _Maker(shape, seed).make()


def main():
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("name", nargs="?", choices=sorted(SHAPES), default="rwkv7-0.1B", help="shapes of which release")
    parser.add_argument("--layers", type=int, help="layers, instead of the release's")
    parser.add_argument("--width", type=int, help=f"width, a multiple of {HEAD_SIZE}, instead of the release's")
    parser.add_argument("--tokens", type=int, help="size of the vocabulary, instead of the release's")
    parser.add_argument("--zeros", type=float, help="share of zeros in the squared ReLU, instead of one half")
    parser.add_argument("--seed", type=int, default=0, help="of the weights")
    parser.add_argument("-o", "--output", required=True, help="ONNX file to write; large weights go beside it")
    options = parser.parse_args()
    # Here, for other programs take only the weights.
    from rwkvc.export import export_model, save_model

    changes = {name: getattr(options, name) for name in ("layers", "width", "tokens", "zeros")}
    changes = {name: value for name, value in changes.items() if value is not None}
    try:
        weights = make_weights(dataclasses.replace(SHAPES[options.name], **changes), options.seed)
    except ValueError as error:
        parser.error(str(error))
    save_model(export_model(weights, name=pathlib.Path(options.output).stem), options.output)


if __name__ == "__main__":
    main()
