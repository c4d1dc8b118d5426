#!/usr/bin/env bash
# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# Sets up, compiles a real RWKV-7 model (12 layers, 834 thousand weights, one token = one byte) and generates text.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh

model=test/data/v7_onnxrwkv_scan_o21_fp32_inlined.onnx
library=build/demo/rwkv7-tiny.so
mkdir -p build/demo
show() {
  printf '\n$ %s\n' "${*@Q}"
  "$@"
}
show build/bin/rwkvc "$model" --dim batch=1 --dim seq=1 -o "$library"
show build/bin/rwkv-run "$library" --prompt "in the " --temperature 0.5 --top-p 0.6
