//===- DriverLibrary.h - Drivers' libraries, opened on demand ---*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_LIB_RUNTIME_GPU_DRIVERLIBRARY_H
#define RWKVC_LIB_RUNTIME_GPU_DRIVERLIBRARY_H

#include "../Support.h"

#include <initializer_list>

namespace rwkvrt::gpu {

/// A driver's library. It stays open for good: drivers have threads and exit
/// handlers of their own.
class DriverLibrary {
public:
  /// Opens the first of \p names that is there.
  explicit DriverLibrary(std::initializer_list<const char *> names);

  /// Null if the library has no such function.
  void *lookUp(const char *function) const;

  /// Sets \p entry to the library's function; throws if it has none.
  template <typename Function>
  void find(Function *&entry, const char *function) const {
    entry = reinterpret_cast<Function *>(lookUp(function));
    if (!entry)
      failMissing(function);
  }

private:
  [[noreturn]] void failMissing(const char *function) const;

  void *handle = nullptr;
  const char *name = nullptr;
};

/// A compiler's log in one line; of a long one the end, which tells the errors.
std::string shortenLog(const std::string &log);

} // namespace rwkvrt::gpu

#endif // RWKVC_LIB_RUNTIME_GPU_DRIVERLIBRARY_H
