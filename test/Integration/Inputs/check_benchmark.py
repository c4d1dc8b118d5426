# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Checks what configs/smoke.json of the benchmark wrote: all figures of both runtimes, as many as rounds; logits that agree."""

import json
import sys

with open(sys.argv[1]) as file:
    results = json.load(file)
(part,) = results["parts"]
rounds = results["rounds"]
assert rounds == 2 and len(part["limits"]) == rounds and part["limits"][0]["read_gbps"] > 0, part["limits"]
assert set(part["figures"]) == {"rwkvc", "onnxruntime"}
counts = results["models"]["tiny"]["counts"]
assert counts["head"] == 512 * 128 and counts["matrices"] > 2 * 12 * 128 * 128, counts
tokens = [figures["decode_tokens"] for figures in part["figures"].values()]
assert tokens[0] == tokens[1], "greedy texts differ"
for name, figures in part["figures"].items():
    assert "failed" not in figures, figures
    for what in ("load_s", "first_token_s", "prefill_96_s"):
        assert len(figures[what]) == rounds and min(figures[what]) > 0, (name, what, figures[what])
    assert [len(times) for times in figures["decode_token_s"]] == [24] * rounds
    for what in ("startup", "decode", "prefill"):
        assert min(figures[f"{what}_peak_bytes"]) > 1e6, (name, what)
    for use in ("decode", "prefill"):
        assert figures[f"{use}_logits_error"] < 1e-4, (name, use, figures[f"{use}_logits_error"])
