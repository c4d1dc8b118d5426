# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What another format of the weights costs: two compiled models on one text.

    python -m rwkvc.accuracy model-fp32.so model-int4.so --text book.txt --max-kl 0.01

Both read the same tokens one by one, each with its own state. Prints the perplexity of either, the divergence of their
predictions, the error of logits, and of each state, which tells the layer in which errors arise. Exit status: 0, 1 where
a limit is exceeded or a model cannot be run.
"""

from __future__ import annotations

import argparse
import math
import pathlib
import sys
from collections.abc import Sequence as Series
from dataclasses import dataclass, field

import numpy as np

from .errors import Error
from .runtime import Model, load

_BYTES = 256  # tokens of a model that reads bytes


@dataclass
class Accuracy:
    """Figures over all tokens of a text; errors are lengths of differences by lengths of the reference's vectors."""

    tokens: int
    perplexity: float  # of the compared model, after the first token
    reference_perplexity: float
    kl: float  # mean divergence of the predictions from the reference's, in nats
    max_kl: float
    same_best: float  # share of tokens after which both find the same token likeliest
    logits_error: float  # root of the mean of squares
    max_logits_error: float
    state_errors: dict[str, float] = field(default_factory=dict)  # by the states' names, the same mean


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max()
    return shifted - math.log(np.exp(shifted).sum())


def _relative_error(found: np.ndarray, expected: np.ndarray) -> float:
    # Of v4, maxima of nothing yet are -1e30 in both.
    length = float(np.linalg.norm(expected.astype(np.float64)))
    difference = float(np.linalg.norm(found.astype(np.float64) - expected.astype(np.float64)))
    return difference / length if length else float(difference > 0)


def _root_mean_square(values: Series[float]) -> float:
    return math.sqrt(sum(value * value for value in values) / len(values))


def compare(reference: Model, model: Model, tokens: Series[int]) -> Accuracy:
    """Runs both models on `tokens`."""
    if reference.vocabulary_size != model.vocabulary_size:
        raise Error(
            f"the models have {reference.vocabulary_size} and {model.vocabulary_size} tokens; expected forms of one model"
        )
    if len(tokens) < 2:
        raise Error(f"{len(tokens)} tokens; expected at least 2, as each is predicted by those before")
    texts = [reference.sequence(), model.sequence()]
    losses, divergences, errors, same = ([], []), [], [], []
    states: dict[str, list[float]] = {}
    for position, token in enumerate(tokens):
        rows = [np.asarray(text.step(int(token)), np.float64).reshape(-1) for text in texts]
        if not all(np.isfinite(row).all() for row in rows):
            raise Error(f"logits after token {position} are not finite")
        predictions = [_log_softmax(row) for row in rows]
        if position + 1 < len(tokens):
            for loss, prediction in zip(losses, predictions, strict=True):
                loss.append(-float(prediction[int(tokens[position + 1])]))
        divergences.append(float((np.exp(predictions[0]) * (predictions[0] - predictions[1])).sum()))
        errors.append(_relative_error(rows[1], rows[0]))
        same.append(rows[0].argmax() == rows[1].argmax())
        expected, found = (text.states() for text in texts)
        if list(expected) != list(found):
            raise Error("the models have different states; expected forms of one model")
        for name, value in expected.items():
            states.setdefault(name, []).append(_relative_error(found[name], value))
    return Accuracy(
        tokens=len(tokens),
        perplexity=math.exp(np.mean(losses[1])),
        reference_perplexity=math.exp(np.mean(losses[0])),
        kl=float(np.mean(divergences)),
        max_kl=max(divergences),
        same_best=float(np.mean(same)),
        logits_error=_root_mean_square(errors),
        max_logits_error=max(errors),
        state_errors={name: _root_mean_square(values) for name, values in states.items()},
    )


def _read_tokens(options: argparse.Namespace, vocabulary: int) -> list[int]:
    if options.text:
        if vocabulary > _BYTES:
            raise Error(f"the model has {vocabulary} tokens and does not read bytes; give their numbers by --tokens")
        tokens = list(options.text.read_bytes())
    else:
        words = options.tokens.read_text().replace(",", " ").split()
        if not all(word.isdecimal() for word in words):
            raise Error(f"{options.tokens}: expected numbers of tokens")
        tokens = [int(word) for word in words]
    tokens = tokens[: options.max_tokens]
    if tokens and max(tokens) >= vocabulary:
        raise Error(f"token {max(tokens)}: the model has {vocabulary}")
    return tokens


def _print(accuracy: Accuracy) -> None:
    print(f"tokens                {accuracy.tokens}")
    print(f"perplexity            {accuracy.reference_perplexity:.4f} -> {accuracy.perplexity:.4f}")
    print(f"KL divergence         {accuracy.kl:.3e} nats, largest {accuracy.max_kl:.3e}")
    print(f"same likeliest token  {accuracy.same_best:.1%}")
    print(f"error of logits       {accuracy.logits_error:.3e}, largest {accuracy.max_logits_error:.3e}")
    print("error of states")
    width = max(map(len, accuracy.state_errors), default=0)
    for name, error in accuracy.state_errors.items():
        print(f"  {name:{width}}  {error:.3e}")


def main(arguments: Series[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m rwkvc.accuracy", description=__doc__.splitlines()[0])
    parser.add_argument("reference", type=pathlib.Path, help="the compiled model to compare with, of float32 weights")
    parser.add_argument("model", type=pathlib.Path, help="the one that is judged")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--text", type=pathlib.Path, metavar="FILE", help="text, for models of 256 tokens (bytes)")
    source.add_argument("--tokens", type=pathlib.Path, metavar="FILE", help="numbers of tokens, in decimal")
    parser.add_argument("--max-tokens", type=int, metavar="N", help="read only the first N tokens")
    parser.add_argument("--max-kl", type=float, metavar="X", help="fail beyond this mean divergence, in nats")
    parser.add_argument("--max-logits-error", type=float, metavar="X", help="fail beyond this largest relative error")
    parser.add_argument("--max-perplexity", type=float, metavar="X", help="fail beyond X times the reference's")
    options = parser.parse_args(arguments)
    try:
        reference, model = load(options.reference), load(options.model)
        accuracy = compare(reference, model, _read_tokens(options, reference.vocabulary_size))
    except (Error, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    _print(accuracy)
    limits = [
        ("KL divergence", accuracy.kl, options.max_kl),
        ("error of logits", accuracy.max_logits_error, options.max_logits_error),
        ("ratio of perplexities", accuracy.perplexity / accuracy.reference_perplexity, options.max_perplexity),
    ]
    exceeded = [(what, value, limit) for what, value, limit in limits if limit is not None and not value <= limit]
    for what, value, limit in exceeded:
        print(f"error: {what} {value:.3e} is beyond {limit:g}", file=sys.stderr)
    return 1 if exceeded else 0


if __name__ == "__main__":
    sys.exit(main())
