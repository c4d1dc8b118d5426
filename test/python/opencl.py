# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Intel's OpenCL for processors, from the Python environment: it runs in tests what is made for GPUs."""

import pathlib

# The vectoriser takes two thirds of the time to compile kernels, and other optimisations a third of the rest;
# numerics.py and test/Integration/opencl.test run with these. A pass that only saves memory now and then crashes.
VECTORIZER = "CL_CONFIG_USE_VECTORIZER"
OPTIONS = "CL_CONFIG_LLVM_OPTIONS"
OPTIMIZED = "-opt-disable=sycl-kernel-reduce-cross-barrier-values -opt-bisect-verbose=0"
PLAIN = "-opt-bisect-limit=0 -opt-bisect-verbose=0"


def library(prefix):
    """Where a Python environment has it."""
    return str(pathlib.Path(prefix) / "lib" / "libintelocl.so")


def environment(prefix, options=PLAIN):
    """The variables that have both loaders in use, Debian's and Khronos', find it and no other."""
    name = library(prefix)
    return {"OCL_ICD_VENDORS": name, "OCL_ICD_FILENAMES": name, VECTORIZER: "False", OPTIONS: options}
