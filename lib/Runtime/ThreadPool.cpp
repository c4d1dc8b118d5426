//===- ThreadPool.cpp - Threads for many short loops ----------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ThreadPool.h"

#include <algorithm>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <utility>

using namespace rwkvrt;
using namespace std::chrono_literals;

// Of ThreadPool::state.
static constexpr uint64_t kInside = (uint64_t(1) << 16) - 1;
static constexpr uint64_t kOpen = uint64_t(1) << 16;
static constexpr uint64_t kCallerSleeps = uint64_t(1) << 17;
static constexpr uint64_t kNextLoop = uint64_t(1) << 18;

static uint64_t loopNumber(uint64_t state) { return state / kNextLoop; }

static thread_local bool isComputing = false;

/// Enough for threads of unequal speed to end together, and not more: each
/// piece enters the kernel anew, which may add up zero points' factors first.
static constexpr int64_t kPiecesPerThread = 8;
/// Longer than what a model computes between loops, shorter than what another
/// program would notice.
static constexpr auto kSpinTime = 100us;
/// A few turns of another program on a processor.
static constexpr auto kWindow = 10ms;
/// Processors, on the average over a window, that are missed.
static constexpr double kMissing = 0.2;
static constexpr auto kShortestPause = kWindow, kLongestPause = 500ms;

static void relax() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

/// Waits busily until \p isDone or \p limit is over; whether it is done.
template <typename IsDone, typename Duration>
static bool spin(IsDone isDone, Duration limit) {
  constexpr int checksPerLook = 64; // at the clock
  auto end = std::chrono::steady_clock::time_point();
  for (int i = 0; !isDone(); ++i) {
    relax();
    if (i % checksPerLook)
      continue;
    auto now = std::chrono::steady_clock::now();
    if (i == 0)
      end = now + limit;
    else if (now > end)
      return isDone();
  }
  return true;
}

/// How long a thread of this process that could compute had no processor; 0
/// where the system does not say.
static std::chrono::nanoseconds timeWithoutProcessor(pid_t thread) {
  char path[64], text[96] = {};
  std::snprintf(path, sizeof path, "/proc/self/task/%d/schedstat", thread);
  int file = ::open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0)
    return 0ns;
  ssize_t size = ::read(file, text, sizeof text - 1);
  ::close(file);
  if (size <= 0)
    return 0ns;
  // Two numbers, the time on a processor and this one; 0 where there is none.
  char *waited = nullptr;
  (void)std::strtoll(text, &waited, 10);
  return std::chrono::nanoseconds(std::strtoll(waited, nullptr, 10));
}

static pid_t getThread() { return static_cast<pid_t>(syscall(SYS_gettid)); }

//===----------------------------------------------------------------------===//
// The caller
//===----------------------------------------------------------------------===//

bool ThreadPool::run(const rwkvrt_loop *loops, int32_t count,
                     int32_t numThreads) {
  if (isComputing)
    return false;
  std::unique_lock<std::mutex> lock(running, std::try_to_lock);
  if (!lock)
    return false;
  int64_t most = 0;
  for (int32_t i = 0; i < count; ++i)
    most += std::max<int64_t>(loops[i].n, 0);
  if (most < 2)
    return false;
  numThreads = static_cast<int32_t>(std::min<int64_t>(numThreads, most));
  numThreads = limit(grow(numThreads));
  if (numThreads < 2)
    return false;
  this->loops = loops;
  numLoops = count;
  this->numThreads = numThreads;
  open();
  compute(0);
  close();
  return true;
}

/// Makes missing threads; returns how many of \p number there are.
int32_t ThreadPool::grow(int32_t number) {
  if (isStopping)
    return 1;
  if (static_cast<size_t>(number) <= members.size())
    return number;
  // Signals are for the program's own threads, but for a thread's own faults,
  // which would end the program before its handlers see them.
  sigset_t all, before;
  sigfillset(&all);
  for (int fault : {SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGSYS, SIGTRAP})
    sigdelset(&all, fault);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  try {
    members.reserve(number);
    while (members.size() < static_cast<size_t>(number)) {
      auto member = std::make_unique<Member>();
      auto index = static_cast<int32_t>(members.size());
      if (index)
        member->thread =
            std::thread(&ThreadPool::serve, this, index, std::ref(*member));
      members.push_back(std::move(member));
    }
  } catch (const std::exception &) {
    // The system has no more, and those that there are will do.
    number = static_cast<int32_t>(members.size());
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return number;
}

int64_t ThreadPool::countPieces(const rwkvrt_loop &loop) const {
  return std::clamp<int64_t>(loop.n, 0, mostPieces);
}

/// Gives all threads their shares and lets them in.
void ThreadPool::open() {
  int64_t number = numThreads, numPieces = 0;
  mostPieces = number * kPiecesPerThread;
  for (int32_t i = 0; i < numLoops; ++i)
    numPieces += countPieces(loops[i]);
  for (int32_t i = 0; i < number; ++i) {
    members[i]->nextPiece.store(numPieces * i / number,
                                std::memory_order_relaxed);
    members[i]->endPiece = numPieces * (i + 1) / number;
  }
  state += kNextLoop | kOpen;
  // Who falls asleep sees the new state first or is seen here.
  if (numAsleep == 0)
    return;
  for (int32_t i = 1; i < number; ++i) {
    if (!members[i]->isAsleep)
      continue;
    std::lock_guard<std::mutex> lock(sleeping);
    members[i]->wake.notify_one();
  }
}

/// Waits until nobody is inside.
void ThreadPool::close() {
  state -= kOpen;
  auto isEmpty = [&] { return (state & kInside) == 0; };
  if (isEmpty() || (spins() && spin(isEmpty, kSpinTime)))
    return;
  std::unique_lock<std::mutex> lock(sleeping);
  state |= kCallerSleeps;
  wakeCaller.wait(lock, isEmpty);
  state &= ~kCallerSleeps;
}

/// How many of \p number threads find processors. Where other programs need
/// them as well, fewer threads get more done: no loop has to wait for one that
/// waits for its turn. After a pause all try again.
int32_t ThreadPool::limit(int32_t number) {
  auto now = Clock::now();
  if (now >= limitedUntil)
    mostThreads = INT32_MAX;
  if (mostThreads == 1) {
    windowBegin = Clock::time_point();
    return 1;
  }
  number = std::min(number, mostThreads);
  bool isFirst = caller != pthread_self() || windowBegin == Clock::time_point();
  if (!isFirst && now < windowBegin + kWindow)
    return number;
  // A sample is enough of many.
  std::chrono::nanoseconds waited = timeWithoutProcessor(getThread());
  for (size_t i = 1; i < std::min<size_t>(members.size(), 8); ++i)
    waited += timeWithoutProcessor(members[i]->id);
  double missing = static_cast<double>((waited - waitedBefore).count()) /
                   std::chrono::nanoseconds(now - windowBegin).count();
  caller = pthread_self();
  windowBegin = now;
  waitedBefore = waited;
  if (isFirst)
    return number;
  bool wasCrowded = std::exchange(isCrowded, missing > kMissing);
  if (isCrowded && wasCrowded) {
    int32_t all = std::min(static_cast<int32_t>(members.size()), mostThreads);
    mostThreads = std::max(1, all - static_cast<int32_t>(std::ceil(missing)));
    pause =
        std::clamp<Clock::duration>(2 * pause, kShortestPause, kLongestPause);
    limitedUntil = now + pause;
  } else if (!isCrowded && mostThreads == INT32_MAX) {
    pause = Clock::duration::zero();
  }
  return std::min(number, mostThreads);
}

//===----------------------------------------------------------------------===//
// All threads
//===----------------------------------------------------------------------===//

/// Computes pieces of \p own share, then of the others'.
void ThreadPool::compute(int32_t own) {
  int32_t number = numThreads;
  isComputing = true;
  for (int32_t i = 0; i < number; ++i) {
    Member &owner = *members[(own + i) % number];
    while (owner.nextPiece.load(std::memory_order_relaxed) < owner.endPiece) {
      int64_t piece = owner.nextPiece.fetch_add(1, std::memory_order_relaxed);
      if (piece >= owner.endPiece)
        break;
      computePiece(piece);
    }
  }
  isComputing = false;
}

/// Pieces are numbered through all loops.
void ThreadPool::computePiece(int64_t piece) const {
  const rwkvrt_loop *loop = loops;
  int64_t number = countPieces(*loop);
  for (; piece >= number; number = countPieces(*++loop))
    piece -= number;
  loop->body(loop->ctx, loop->n * piece / number,
             loop->n * (piece + 1) / number);
}

void ThreadPool::serve(int32_t index, Member &self) {
  self.id = getThread();
  uint64_t lastLoop = 0;
  while (waitForLoop(index, self, lastLoop)) {
    uint64_t entered = state.fetch_add(1);
    lastLoop = loopNumber(entered);
    if ((entered & kOpen) && index < numThreads)
      compute(index);
    uint64_t left = state.fetch_sub(1);
    if ((left & kInside) == 1 && (left & kCallerSleeps)) {
      std::lock_guard<std::mutex> lock(sleeping);
      wakeCaller.notify_one();
    }
  }
}

/// Waits for a loop after \p lastLoop that has a share for the thread; false if
/// there will be none.
bool ThreadPool::waitForLoop(int32_t index, Member &self, uint64_t lastLoop) {
  auto isWanted = [&] {
    return isStopping || (loopNumber(state) != lastLoop && index < numThreads);
  };
  if (!spins() || !spin(isWanted, kSpinTime)) {
    std::unique_lock<std::mutex> lock(sleeping);
    ++numAsleep;
    self.isAsleep = true;
    self.wake.wait(lock, isWanted);
    self.isAsleep = false;
    --numAsleep;
  }
  return !isStopping;
}

void ThreadPool::stop() {
  if (isComputing) // a loop that ends the process
    return;
  std::lock_guard<std::mutex> lock(running);
  isStopping = true;
  for (std::unique_ptr<Member> &member : members) {
    if (!member->thread.joinable())
      continue;
    {
      std::lock_guard<std::mutex> lock(sleeping);
      member->wake.notify_one();
    }
    member->thread.join();
  }
}
