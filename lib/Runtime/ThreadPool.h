//===- ThreadPool.h - Threads for many short loops --------------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_LIB_RUNTIME_THREADPOOL_H
#define RWKVC_LIB_RUNTIME_THREADPOOL_H

#include "rwkvc-rt/abi.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <pthread.h>
#include <sys/types.h>
#include <thread>
#include <vector>

namespace rwkvrt {

/// Threads that compute loops, of which a token has some dozens. Who calls
/// takes part and never waits for a thread to begin: one that comes late finds
/// nothing left to do. Threads that wait do so busily for a moment and then
/// sleep. Where other programs keep processors busy, fewer threads compute for
/// a while.
class ThreadPool {
public:
  /// Makes no thread: the first loop that needs one does. More threads than
  /// \p numProcessors never wait busily.
  explicit ThreadPool(int32_t numProcessors) : numProcessors(numProcessors) {}
  ThreadPool(const ThreadPool &) = delete;
  ThreadPool &operator=(const ThreadPool &) = delete;

  /// Runs \p count loops, independent of each other, over up to \p numThreads
  /// threads with the caller. False, and nothing is done, inside of a loop,
  /// while the pool has others to run, and if the caller is best off alone.
  bool run(const rwkvrt_loop *loops, int32_t count, int32_t numThreads);

  /// Ends the threads. Loops run on their callers alone from then on.
  void stop();

private:
  using Clock = std::chrono::steady_clock;

  /// A thread with its share of a loop's pieces, of which others take when
  /// theirs are done. In cache lines of its own; processors fetch two at once.
  struct alignas(128) Member {
    std::atomic<int64_t> nextPiece{0};
    int64_t endPiece = 0;
    std::atomic<bool> isAsleep{false};
    std::condition_variable wake;
    std::thread thread;       ///< none for the caller
    std::atomic<pid_t> id{0}; ///< the system's
  };

  int32_t grow(int32_t number);
  int32_t limit(int32_t number);
  int64_t countPieces(const rwkvrt_loop &loop) const;
  void open();
  void close();
  bool spins() const { return numThreads <= numProcessors; }
  void compute(int32_t own);
  void computePiece(int64_t piece) const;
  void serve(int32_t index, Member &self);
  bool waitForLoop(int32_t index, Member &self, uint64_t lastLoop);

  const int32_t numProcessors;

  // What there is to do. Changes only while no thread is inside.
  const rwkvrt_loop *loops = nullptr;
  int32_t numLoops = 0;
  int64_t mostPieces = 0;                       ///< of a loop
  std::vector<std::unique_ptr<Member>> members; ///< the first is the caller
  std::atomic<int32_t> numThreads{0};           ///< of them

  /// How many threads are inside, whether they may come in, whether the caller
  /// sleeps until they are out; above these the number of the loop.
  alignas(128) std::atomic<uint64_t> state{0};

  alignas(128) std::atomic<int32_t> numAsleep{0};
  std::atomic<bool> isStopping{false};
  std::mutex sleeping; ///< held to go to sleep and to wake
  std::condition_variable wakeCaller;

  std::mutex running; ///< held by the caller; what follows is its own
  pthread_t caller{}; ///< of the loop before
  Clock::time_point windowBegin{}, limitedUntil{};
  std::chrono::nanoseconds waitedBefore{}; ///< at the window's begin
  bool isCrowded = false; ///< processors were missed in the window before
  Clock::duration pause{};
  int32_t mostThreads = INT32_MAX; ///< until then
};

} // namespace rwkvrt

#endif // RWKVC_LIB_RUNTIME_THREADPOOL_H
