# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes a vocabulary file with every kind of literal that repr() gives; "abc" and "ab" overlap, "~" is not in it."""

import sys

TEXTS = [
    "a",
    "b",
    "x",
    "ab",
    "abc",
    " ",
    "\n",
    "\t",
    "\\",
    "'",
    '"',
    "'\"",
    "é",
    "\x80",
    "\u200b",
    "\U0001f600",
    b"\xe4",
]

with open(sys.argv[1], "w", encoding="utf-8") as file:
    for number, text in enumerate(TEXTS, 1):
        size = len(text) if isinstance(text, bytes) else len(text.encode())
        file.write(f"{number} {text!r} {size}\n")
