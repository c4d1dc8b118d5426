//===- Progress.h - What the compiler is doing ------------------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_TOOLS_RWKVC_PROGRESS_H
#define RWKVC_TOOLS_RWKVC_PROGRESS_H

#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/Process.h"
#include "llvm/Support/raw_ostream.h"

#include <chrono>
#include <string>

namespace rwkvc {

/// One line per step on standard error.
class Progress {
public:
  Progress(bool quiet, unsigned numSteps)
      : quiet(quiet), numSteps(numSteps), start(now()) {}

  void step(const llvm::Twine &what) {
    finish();
    ++number;
    stepStart = now();
    isOpen = true;
    line = llvm::formatv("[{0}/{1}] {2,-44}", number, numSteps, what.str());
    percent = -1;
    if (!quiet)
      llvm::errs() << line;
  }
  /// Shows on a terminal what part of the step is done.
  void update(double part) {
    int now = static_cast<int>(100.0 * part);
    if (quiet || now == percent ||
        !llvm::sys::Process::StandardErrIsDisplayed())
      return;
    percent = now;
    llvm::errs() << llvm::formatv("\r{0}{1,7} %", line, percent);
  }
  /// Ends the line of a step with its time, or with \p instead.
  void finish(llvm::StringRef instead = "") {
    if (isOpen && !quiet) {
      if (percent >= 0)
        llvm::errs() << "\r" << line;
      if (instead.empty())
        llvm::errs() << llvm::formatv("{0,7:f2} s\n", now() - stepStart);
      else
        llvm::errs() << instead << "\n";
    }
    isOpen = false;
  }
  void note(const llvm::Twine &text) {
    finish();
    if (!quiet)
      llvm::errs() << text << "\n";
  }
  double elapsed() const { return now() - start; }

private:
  static double now() {
    return std::chrono::duration<double>(
               std::chrono::steady_clock::now().time_since_epoch())
        .count();
  }
  bool quiet, isOpen = false;
  unsigned numSteps, number = 0;
  int percent = -1; ///< that is shown; -1: none
  std::string line; ///< of the step
  double start, stepStart = 0.0;
};

} // namespace rwkvc

#endif // RWKVC_TOOLS_RWKVC_PROGRESS_H
