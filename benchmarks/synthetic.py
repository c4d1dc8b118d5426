#!/usr/bin/env python3
# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes an RWKV-7 model with the shapes of a released one and seeded weights, as a one-token ONNX file.

Speed depends on shapes, not on what the weights say; these keep activations of order one for any number of tokens.

    benchmarks/synthetic.py 0.1B -o rwkv7-0.1B.onnx
    benchmarks/synthetic.py --layers 2 --width 128 --tokens 256 -o small.onnx
"""

import argparse
import pathlib
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "python"))
from rwkvc.export import export_model, save_model

# Layers, width, and ranks of decay, in-context learning rate, value residual and gate (x070 releases).
SIZES = {
    "0.1B": (12, 768, (64, 64, 32, 128)),
    "0.4B": (24, 1024, (64, 64, 32, 128)),
    "1.5B": (24, 2048, (96, 96, 64, 256)),
}
HEAD_SIZE = 64


def make_weights(layers, width, ranks, tokens, seed=0):
    """A checkpoint as in rwkvc.checkpoint: tensor names of the training code to float32 arrays.

    Matrices [out, in] are normal with a deviation of in^-0.5; ranks are those of SIZES.
    """
    generator = np.random.default_rng(seed)

    def normal(*shape, scale=1.0, mean=0.0):
        return generator.standard_normal(shape, dtype=np.float32) * np.float32(scale) + np.float32(mean)

    def matrix(rows, columns, scale=1.0):
        return normal(rows, columns, scale=scale * columns**-0.5)

    def norm(name):
        return {f"{name}.weight": normal(width, scale=0.1, mean=1), f"{name}.bias": normal(width, scale=0.1)}

    weights = {"emb.weight": normal(tokens, width, scale=0.5), "head.weight": matrix(tokens, width)} | norm("ln_out")
    for layer in range(layers):
        block = f"blocks.{layer}"
        for name in ("ln1", "ln2") if layer else ("ln0", "ln1", "ln2"):
            weights |= norm(f"{block}.{name}")
        att = f"{block}.att"
        for name in "rwkvag":
            weights[f"{att}.x_{name}"] = generator.random((1, 1, width), dtype=np.float32)
        for name, rank, bias in zip("wavg", ranks, (-2, 0, 0, None)):
            if name == "v" and layer == 0:
                continue
            if bias is not None:
                weights[f"{att}.{name}0"] = normal(1, 1, width, scale=0.5, mean=bias)
            weights[f"{att}.{name}1"] = matrix(rank, width).T
            weights[f"{att}.{name}2"] = matrix(width, rank).T
        weights[f"{att}.k_k"] = normal(1, 1, width, scale=0.1, mean=0.8)
        weights[f"{att}.k_a"] = normal(1, 1, width, scale=0.1, mean=0.8)
        weights[f"{att}.r_k"] = normal(width // HEAD_SIZE, HEAD_SIZE, scale=0.2)
        for name in ("receptance", "key", "value", "output"):
            weights[f"{att}.{name}.weight"] = matrix(width, width, scale=0.5)
        weights |= norm(f"{att}.ln_x")
        weights[f"{block}.ffn.x_k"] = generator.random((1, 1, width), dtype=np.float32)
        weights[f"{block}.ffn.key.weight"] = matrix(4 * width, width)
        weights[f"{block}.ffn.value.weight"] = matrix(width, 4 * width, scale=0.5)
    return weights


def main():
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("size", nargs="?", choices=sorted(SIZES), default="0.1B", help="shapes of which release")
    parser.add_argument("--layers", type=int, help="layers, instead of the release's")
    parser.add_argument("--width", type=int, help=f"width, a multiple of {HEAD_SIZE}, instead of the release's")
    parser.add_argument("--tokens", type=int, default=65536, help="size of the vocabulary")
    parser.add_argument("--seed", type=int, default=0, help="of the weights")
    parser.add_argument("-o", "--output", required=True, help="ONNX file to write; large weights go beside it")
    options = parser.parse_args()
    layers, width, ranks = SIZES[options.size]
    layers, width = options.layers or layers, options.width or width
    if width % HEAD_SIZE or layers < 1 or options.tokens < 1:
        parser.error(f"--width must be a multiple of {HEAD_SIZE}, --layers and --tokens positive")
    weights = make_weights(layers, width, ranks, options.tokens, options.seed)
    save_model(export_model(weights, name=pathlib.Path(options.output).stem), options.output)


if __name__ == "__main__":
    main()
