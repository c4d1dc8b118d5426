#!/usr/bin/env bash
# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# Installs the runtimes that benchmarks/run.py compares with, from PyPI, in benchmarks/.venv. One that cannot be installed is
# left out with a line that says so, and the benchmark reports it as absent.
#
#   benchmarks/setup.sh                 all
#   benchmarks/setup.sh llama.cpp iree  only these: onnxruntime, llama.cpp, rwkv, iree
#
#   PYTHON=...       Python >= 3.10 (default: Debian's)
#   RWKVC_JOBS=N     parallel compile jobs of llama.cpp, which PyPI has as source only (default: one per core)
set -euo pipefail
cd "$(dirname "$0")"

[ -x .venv/bin/python ] || "${PYTHON:-/usr/bin/python3}" -m venv .venv
absent=0

# install NAME package...: with its output in .venv/NAME.log
install() {
  local name=$1 log=.venv/$1.log
  shift
  printf '%(%H:%M:%S)T  %s\n' -1 "$name"
  if ! .venv/bin/pip install --disable-pip-version-check "$@" >"$log" 2>&1; then
    printf 'absent: %s; the end of benchmarks/%s:\n' "$name" "$log"
    tail -n 5 "$log"
    absent=$((absent + 1))
  fi
}

install base 'numpy>=1.26' 'onnx>=1.18' matplotlib
for name in "${@:-onnxruntime iree llama.cpp rwkv}"; do
  for peer in $name; do
    case $peer in
    onnxruntime) install "$peer" 'onnxruntime>=1.20' onnx-ir ;; # onnx-ir: its quantiser's
    iree) install "$peer" iree-base-compiler iree-base-runtime ;;
    llama.cpp)
      # llama.cpp may use all that this processor has, as rwkvc does with --mcpu=native.
      CMAKE_BUILD_PARALLEL_LEVEL=${RWKVC_JOBS:-$(nproc)} \
        CMAKE_ARGS='-DCMAKE_BUILD_TYPE=Release -DGGML_NATIVE=ON -DMTMD_BUILD=OFF -DLLAVA_BUILD=OFF' \
        install "$peer" gguf llama-cpp-python
      ;;
    rwkv) install "$peer" rwkv torch ;; # torch brings its CUDA libraries: 3 GB to download, also for a CPU
    *)
      printf 'error: %s: expected onnxruntime, iree, llama.cpp or rwkv\n' "$peer" >&2
      exit 2
      ;;
    esac
  done
done
printf '%d absent\n' "$absent"
