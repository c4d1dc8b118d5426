# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Intel's OpenCL for processors, from the Python environment: it runs in tests what is made for GPUs."""

import pathlib

# A pass of its compiler that only saves memory now and then crashes. The vectoriser
# takes two thirds of the time to compile kernels.
COMPILER = {
    "CL_CONFIG_LLVM_OPTIONS": "-opt-disable=sycl-kernel-reduce-cross-barrier-values -opt-bisect-verbose=0",
    "CL_CONFIG_USE_VECTORIZER": "False",
}


def library(prefix):
    """Where a Python environment has it."""
    return str(pathlib.Path(prefix) / "lib" / "libintelocl.so")


def environment(prefix):
    """The variables that have both loaders in use, Debian's and Khronos', find it and no other."""
    return {"OCL_ICD_VENDORS": library(prefix), "OCL_ICD_FILENAMES": library(prefix), **COMPILER}
