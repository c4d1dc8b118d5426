#!/usr/bin/env bash
# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# Sets up and runs every check: lint, Python tests, lit tests of the compiler, numerics of real models. All run,
# whichever fails;
# the exit status tells whether one did.
#
#   RWKVC_TEST_MODELS=DIR   also use the models in DIR/onnx and DIR/weights
#   RWKVC_TIDY=1            also run clang-tidy (slow); RWKVC_TIDY_MINUTES caps it
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh

passed=0
failed=()
check() {
  local name=$1 start=$SECONDS
  shift
  printf '\n==== %s\n' "$name"
  if "$@"; then
    passed=$((passed + 1))
  else
    failed+=("$name")
  fi
  printf '==== %s: %d s\n' "$name" "$((SECONDS - start))"
}

check "lint" utils/lint
check "Python tests" .venv/bin/python -m unittest discover -s python/tests
check "compiler tests" ninja -C build check-rwkvc
check "numerics of real models" .venv/bin/python test/python/numerics.py

printf '\n'
[ ${#failed[@]} -eq 0 ] || printf 'failed: %s\n' "${failed[@]}"
printf '%d passed, %d failed\n' "$passed" "${#failed[@]}"
[ ${#failed[@]} -eq 0 ]
