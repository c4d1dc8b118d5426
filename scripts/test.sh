#!/usr/bin/env bash
# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# Sets up and runs every check: lint, Python tests, lit tests of the compiler, numerics (on an OpenCL device too), forms and
# quantised weights of real models. All run, whichever fails; the exit status tells whether one did, and the last line is
# "N passed, N failed".
#
#   RWKVC_TEST_MODELS=DIR   also use the models in DIR/onnx and DIR/weights
#   RWKVC_NODE_TESTS=all    run all of ONNX's node tests, not a sample
#   RWKVC_TIDY=1            also run clang-tidy, on what changed (all: a quarter of an hour); RWKVC_TIDY_MINUTES caps it
#   RWKVC_MINUTES=N         without that cap, clang-tidy takes what is left of N minutes since the start, one at least
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh

# As test/lit.cfg.py does for its tests: what is freed is overwritten at once. The IR is verified after each pass in these
# and for each real model; elsewhere after each phase.
export GLIBC_TUNABLES=glibc.malloc.tcache_count=0:glibc.malloc.perturb=165
verify_each=RWKVC_OPTIONS=--verify-each

passed=0
failed=0
names=()
mkdir -p build/check

# Counts what a check's log says: of lit, or a closing line "N passed, N failed" like this script's own.
# A check without any such line, as lint is, counts as one.
count() {
  awk -v status="$2" '
    /^ *(Passed|Expectedly Failed) *: *[0-9]+/ { split($0, part, ":"); good += part[2] }
    /^ *(Failed|Unresolved|Timed Out|Unexpectedly Passed) *: *[0-9]+/ { split($0, part, ":"); bad += part[2] }
    /^[0-9]+ passed, [0-9]+ failed$/ { good += $1; bad += $3 }
    END { if (status != 0 && !bad) bad = 1
          if (status == 0 && !good) good = 1
          print good + 0, bad + 0 }' "$1"
}

check() {
  local name=$1 start=$SECONDS status=0 log=build/check/${1// /-}.log good bad
  shift
  printf '\n==== %s\n' "$name"
  "$@" 2>&1 | tee "$log" || status=1
  read -r good bad < <(count "$log" "$status")
  passed=$((passed + good))
  failed=$((failed + bad))
  [ "$bad" -eq 0 ] || names+=("$name")
  printf '==== %s: %d passed, %d failed, %d s\n' "$name" "$good" "$bad" "$((SECONDS - start))"
}

check "lint" env RWKVC_TIDY=0 utils/lint
check "Python tests" .venv/bin/python test/python/unit_tests.py
check "compiler tests" ninja -C build check-rwkvc
check "numerics of real models" env "$verify_each" .venv/bin/python test/python/numerics.py
if [ -e .venv/lib/libintelocl.so ]; then
  check "numerics on an OpenCL device" env "$verify_each" .venv/bin/python test/python/numerics.py --target=spirv
  check "quantised weights on an OpenCL device" .venv/bin/python test/python/quantized.py --target=spirv --formats=bf16,fp16,int4
else
  echo "numerics and quantised weights on an OpenCL device are left out: Intel's OpenCL for processors is not installed"
fi
check "forms of real models" .venv/bin/python test/python/forms.py
check "quantised weights" .venv/bin/python test/python/quantized.py
check "quantised files" .venv/bin/python test/python/quantized_files.py
check "ONNX's node tests" .venv/bin/python test/python/node_tests.py $([ "${RWKVC_NODE_TESTS:-}" = all ] || echo --sample)
if [ "${RWKVC_TIDY:-0}" = 1 ]; then
  if [ -n "${RWKVC_MINUTES:-}" ] && [ -z "${RWKVC_TIDY_MINUTES:-}" ]; then
    left=$((RWKVC_MINUTES - (SECONDS + 59) / 60))
    export RWKVC_TIDY_MINUTES=$((left > 1 ? left : 1))
  fi
  check "clang-tidy" python3 utils/tidy.py
fi

# What failed stands at the end, where a log that is cut still has it.
for name in "${names[@]}"; do
  printf '\n---- failed: %s\n' "$name"
  grep -aE 'FAIL|error:|Error' "build/check/${name// /-}.log" | cut -c1-500 | tail -n 20 || true
done
printf '\n%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
