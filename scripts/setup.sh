#!/usr/bin/env bash
# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# Brings a bare Debian 12 (as root, or a user with sudo) to a built rwkvc: Debian packages, a Python environment in
# .venv, the build in build/. What is already there is kept, so a second run only builds what changed.
#
#   PYTHON=...      Python >= 3.10 for .venv (default: Debian's)
#   RWKVC_JOBS=N    parallel compile jobs (default: one per core)
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(
  libmlir-22-dev mlir-22-tools llvm-22-dev llvm-22-tools clang-22 lld-22 libomp-22-dev clang-format-22 clang-tidy-22
  ccache ninja-build libprotobuf-dev protobuf-compiler zlib1g-dev g++ python3-venv pkg-config
  valgrind ocl-icd-libopencl1)

say() { printf '%(%H:%M:%S)T  %s\n' -1 "$*"; }

# quietly LOG command...: runs it with its output in LOG, shows the end of LOG if it fails.
quietly() {
  local log=$1
  shift
  if ! "$@" >"$log" 2>&1 </dev/null; then
    printf 'error: "%s" failed; the end of %s:\n' "$*" "$log" >&2
    tail -n 40 "$log" >&2
    exit 1
  fi
}

install_debian_packages() {
  local missing=() package root=()
  for package in "${packages[@]}"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
      printf 'error: run as root, or install first: %s\n' "${missing[*]}" >&2
      exit 1
    fi
    root=(sudo)
  fi
  say "installing ${#missing[@]} Debian packages"
  quietly build/setup-apt.log "${root[@]}" apt-get update -q
  quietly build/setup-apt.log "${root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -q --no-install-recommends "${missing[@]}"
}

install_python_packages() {
  local python=${PYTHON:-/usr/bin/python3} wanted
  wanted=$("$python" --version)$(cat scripts/requirements.txt)
  [ "$(cat .venv/installed 2>/dev/null)" != "$wanted" ] || return 0
  say "installing Python packages in .venv"
  quietly build/setup-python.log "$python" -m venv --clear .venv
  quietly build/setup-python.log .venv/bin/pip install -q --disable-pip-version-check -r scripts/requirements.txt
  printf '%s' "$wanted" >.venv/installed
}

configure() {
  say "configuring build/"
  quietly build/setup-configure.log .venv/bin/cmake -G Ninja -S . -B build -DCMAKE_BUILD_TYPE=Release \
    -DCMAKE_C_COMPILER=clang-22 -DCMAKE_CXX_COMPILER=clang++-22 -DCMAKE_PREFIX_PATH="$PWD/.venv" \
    -DRWKVC_PYTHON="$PWD/.venv/bin/python"
}

build() {
  say "building (the first time takes a few minutes)"
  # One line per tenth of the work; everything goes to the log.
  if ! NINJA_STATUS='[%f/%t] ' ninja -C build ${RWKVC_JOBS:+-j"$RWKVC_JOBS"} </dev/null 2>&1 |
    tee build/setup-build.log |
    awk '/^\[[0-9]+\/[0-9]+\]/ { split(substr($1, 2), n, "[/\\]]"); tenth = int(10 * n[1] / n[2])
           if (tenth > shown) { shown = tenth; printf "          %s of %s steps\n", n[1], n[2]; fflush() } }'; then
    printf 'error: the build failed; from build/setup-build.log:\n' >&2
    grep -nE 'error:|FAILED:' build/setup-build.log | head -n 20 >&2 || tail -n 40 build/setup-build.log >&2
    exit 1
  fi
}

if ! command -v dpkg-query >/dev/null; then
  echo 'error: this script sets up Debian 12; on another system see docs/GettingStarted.md' >&2
  exit 1
fi
mkdir -p build
install_debian_packages
install_python_packages
configure
build
say "rwkvc is built: build/bin"
