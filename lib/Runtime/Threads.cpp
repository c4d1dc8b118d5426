//===- Threads.cpp - Parallel loops of models -----------------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Support.h"
#include "ThreadPool.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

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

/// The process' pool. Its memory stays, for other threads may be in a loop when
/// the process ends.
class ProcessPool {
public:
  ProcessPool() {
    makePool();
    // Threads do not live on in a child of the process.
    pthread_atfork(nullptr, nullptr, [] { makePool(); });
  }
  ~ProcessPool() { pool->stop(); }
  ThreadPool *operator->() const { return pool; }

private:
  static void makePool() { pool = new ThreadPool(usableProcessors()); }

  static ThreadPool *pool;
};

ThreadPool *ProcessPool::pool = nullptr;

} // namespace

void rwkvrt_parallel_loops(const rwkvrt_loop *loops, int32_t count) {
  int32_t threads = rwkvrt_get_num_threads();
  if (threads > 1) {
    static ProcessPool pool;
    if (pool->run(loops, count, threads))
      return;
  }
  for (int32_t i = 0; i < count; ++i)
    if (loops[i].n > 0)
      loops[i].body(loops[i].ctx, 0, loops[i].n);
}

void rwkvrt_parallel_for(void (*body)(void *ctx, int64_t begin, int64_t end),
                         void *ctx, int64_t n) {
  rwkvrt_loop loop = {body, ctx, n};
  rwkvrt_parallel_loops(&loop, 1);
}
