//===- DriverLibrary.cpp - Drivers' libraries, opened on demand -----------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "DriverLibrary.h"

#include <dlfcn.h>

using namespace rwkvrt;
using namespace rwkvrt::gpu;

DriverLibrary::DriverLibrary(std::initializer_list<const char *> names) {
  std::string reason;
  for (const char *candidate : names) {
    name = candidate;
    handle = dlopen(candidate, RTLD_NOW | RTLD_LOCAL);
    if (handle)
      return;
    const char *why = dlerror();
    // The first is the newest; why others are missing says less.
    if (reason.empty())
      reason = why ? why : candidate;
  }
  fail(RWKVRT_MISMATCH, "no driver: %s", reason.c_str());
}

void *DriverLibrary::lookUp(const char *function) const {
  return dlsym(handle, function);
}

void DriverLibrary::failMissing(const char *function) const {
  fail(RWKVRT_MISMATCH, "the driver is too old: %s has no %s", name, function);
}

std::string gpu::shortenLog(const std::string &log) {
  constexpr size_t most = 1200;
  std::string line;
  for (char c : log) {
    bool isSpace = c == '\n' || c == '\r' || c == '\t' || c == ' ' || c == '\0';
    if (!isSpace)
      line += c;
    else if (!line.empty() && line.back() != ' ')
      line += ' ';
  }
  while (!line.empty() && line.back() == ' ')
    line.pop_back();
  return line.size() <= most ? line : "..." + line.substr(line.size() - most);
}
