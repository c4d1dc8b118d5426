# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What the exceptions of this package have in common."""


class Error(Exception):
    """The compiler or the runtime refused something; the text says what and why."""
