//===- Threads.cpp - Parallel loops over OpenMP ---------------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Uses the entry points that compilers emit for `#pragma omp parallel`. They
// are stable, and both LLVM's libomp and GCC's libgomp have them; which one
// serves is decided when the program is linked.
//
//===----------------------------------------------------------------------===//

#include "Support.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <sched.h>
#include <unistd.h>

extern "C" {
void GOMP_parallel(void (*fn)(void *), void *data, unsigned numThreads,
                   unsigned flags);
int omp_get_thread_num(void);
int omp_get_num_threads(void);
}

using namespace rwkvrt;

/// The first number of an environment variable such as OMP_NUM_THREADS=4,2.
static int32_t fromEnvironment(const char *variable) {
  const char *text = std::getenv(variable);
  if (!text)
    return 0;
  long value = std::strtol(text, nullptr, 10);
  return value >= 1 && value <= INT32_MAX ? static_cast<int32_t>(value) : 0;
}

static int32_t usableProcessors() {
  // Machines with more processors than the set can hold take the other way.
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof allowed, &allowed) == 0)
    if (int count = CPU_COUNT(&allowed))
      return count;
  long online = sysconf(_SC_NPROCESSORS_ONLN);
  return online >= 1 ? static_cast<int32_t>(online) : 1;
}

static int32_t defaultThreads() {
  if (int32_t threads = fromEnvironment("RWKVC_NUM_THREADS"))
    return threads;
  if (int32_t threads = fromEnvironment("OMP_NUM_THREADS"))
    return threads;
  return usableProcessors();
}

/// 0 = not set: the default, which is found out once.
static std::atomic<int32_t> chosenThreads{0};

int32_t rwkvrt_get_num_threads(void) {
  static const int32_t standard = defaultThreads();
  int32_t chosen = chosenThreads.load(std::memory_order_relaxed);
  return chosen ? chosen : standard;
}

rwkvrt_status rwkvrt_set_num_threads(int32_t threads) {
  return guard([&] {
    if (threads < 0 || threads > 4096)
      fail(RWKVRT_INVALID_ARGUMENT,
           "%d threads: expected 1 to 4096, or 0 for the default", threads);
    chosenThreads.store(threads, std::memory_order_relaxed);
  });
}

namespace {
struct Loop {
  void (*body)(void *, int64_t, int64_t);
  void *ctx;
  int64_t n;
};
} // namespace

static thread_local bool insideLoop = false;

/// One thread's piece: sizes differ by one at most.
static void runPiece(void *data) {
  const Loop &loop = *static_cast<const Loop *>(data);
  // OpenMP may give fewer threads than asked for.
  int64_t threads = omp_get_num_threads(), thread = omp_get_thread_num();
  int64_t size = loop.n / threads, longer = loop.n % threads;
  int64_t begin = thread * size + std::min(thread, longer);
  int64_t end = begin + size + (thread < longer ? 1 : 0);
  if (begin == end)
    return;
  insideLoop = true;
  loop.body(loop.ctx, begin, end);
  insideLoop = false;
}

void rwkvrt_parallel_for(void (*body)(void *ctx, int64_t begin, int64_t end),
                         void *ctx, int64_t n) {
  if (n <= 0)
    return;
  int64_t threads = std::min<int64_t>(rwkvrt_get_num_threads(), n);
  if (threads == 1 || insideLoop)
    return body(ctx, 0, n);
  Loop loop = {body, ctx, n};
  GOMP_parallel(runPiece, &loop, static_cast<unsigned>(threads), 0);
}
