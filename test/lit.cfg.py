# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Configuration of the compiler's tests: IR in, IR out, checked by FileCheck."""

import ctypes
import os
import platform
import shutil
import sys

import lit.formats

sys.path.append(os.path.join(os.path.dirname(__file__), "python"))
import opencl

config.name = "rwkvc"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir", ".test"]
config.excludes = ["data", "python", "Inputs", "CMakeLists.txt"]
config.test_source_root = os.path.dirname(__file__)
config.test_exec_root = os.path.join(config.rwkvc_build, "test")

path = [os.path.join(config.rwkvc_build, "bin"), config.llvm_tools, config.environment.get("PATH", "")]
config.environment["PATH"] = os.pathsep.join(path)
# What is freed is overwritten at once, and what is allocated is not zero: a pass that reads either goes wrong.
config.environment["GLIBC_TUNABLES"] = "glibc.malloc.tcache_count=0:glibc.malloc.perturb=165"
# Which pass broke the IR, and not only in which phase.
config.environment["RWKVC_OPTIONS"] = "--verify-each"
if platform.libc_ver()[0] == "glibc":
    config.available_features.add("glibc")
config.substitutions.append(("%rwkvc_lib", os.path.join(config.rwkvc_build, "lib")))
config.substitutions.append(("%llvm_lib", config.llvm_lib))
config.substitutions.append(("%data", os.path.join(config.test_source_root, "data")))
config.substitutions.append(("%python", config.python))
# Tests compile their own sources in a command of its own (-c), so that ccache knows them, where Debian's is installed.
for name, compiler in (("%cc", config.cc), ("%cxx", config.cxx)):
    cached = os.path.join("/usr/lib/ccache", os.path.basename(compiler))
    config.substitutions.append((name, cached if os.path.exists(cached) else compiler))
config.environment.update({name: value for name, value in os.environ.items() if name.startswith(("CCACHE_", "XDG_"))})
config.substitutions.append(("%root", os.path.dirname(config.test_source_root)))
if "RWKVC_TEST_MODELS" in os.environ:
    config.environment["RWKVC_TEST_MODELS"] = os.environ["RWKVC_TEST_MODELS"]
    config.available_features.add("test-models")
    config.substitutions.append(("%test_models", os.environ["RWKVC_TEST_MODELS"]))
if config.onednn:
    config.available_features.add("onednn")
config.substitutions.append(("%cmake", config.cmake))
config.substitutions.append(("%build", config.rwkvc_build))
config.substitutions.append(("%llvm_include", config.llvm_include))
if os.geteuid() == 0 and not os.system("chroot / true 2>/dev/null"):
    config.available_features.add("chroot")
if platform.machine() == "x86_64":
    config.available_features.add("x86")
    with open("/proc/cpuinfo") as processor:
        if "avx512_bf16" in processor.read():
            config.available_features.add("avx512bf16")
python_environment = os.path.dirname(os.path.dirname(config.python))
try:
    ctypes.CDLL("libOpenCL.so.1")
    ctypes.CDLL(opencl.library(python_environment))
    config.available_features.add("opencl")
    config.environment.update(opencl.environment(python_environment))
    config.substitutions.append(("%optimized", f"env {opencl.OPTIONS}='{opencl.OPTIMIZED}'"))
    with open("/proc/self/maps") as maps:
        loader = next(line.split()[-1] for line in maps if "/libOpenCL.so" in line)
    config.substitutions.append(("%opencl", loader))
except OSError as error:
    lit_config.note(f"tests that need OpenCL are left out: {error}")
for feature, header in (
    ("cuda-headers", "/usr/local/cuda/include/cuda.h"),
    ("hip-headers", "/opt/rocm/include/hip/hip_runtime_api.h"),
    ("opencl-headers", "/usr/include/CL/cl.h"),
):
    if os.path.exists(header):
        config.available_features.add(feature)
for program in ("ptxas", "valgrind"):
    if shutil.which(program):
        config.available_features.add(program)
