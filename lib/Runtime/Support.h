//===- Support.h - Errors and memory of the runtime -------------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Inside the runtime failures are thrown as Error; guard() turns them into a
// status and a message where the C API begins.
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_LIB_RUNTIME_SUPPORT_H
#define RWKVC_LIB_RUNTIME_SUPPORT_H

#include "rwkvc-rt/rwkvc-rt.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <string>
#include <utility>

namespace rwkvrt {

struct Error {
  rwkvrt_status status;
  std::string message;
};

[[noreturn]] void fail(rwkvrt_status status, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/// Text of the system's error number, for messages.
std::string systemError(int number);

void setLastError(const char *message) noexcept;

/// Runs \p body of an API function and reports what it throws.
template <typename Body> rwkvrt_status guard(Body &&body) noexcept {
  try {
    std::forward<Body>(body)();
    return RWKVRT_OK;
  } catch (const Error &error) {
    setLastError(error.message.c_str());
    return error.status;
  } catch (const std::bad_alloc &) {
    setLastError("out of memory");
    return RWKVRT_OUT_OF_MEMORY;
  } catch (const std::exception &error) {
    setLastError(error.what());
    return RWKVRT_INVALID_ARGUMENT;
  }
}

/// Refuses a NULL argument of an API function.
template <typename T> void requireNotNull(const T *argument, const char *name) {
  if (!argument)
    fail(RWKVRT_INVALID_ARGUMENT, "argument '%s' is NULL", name);
}

/// 64-bit FNV-1a hash of \p size bytes, continuing from \p hash.
constexpr uint64_t fnvStart = 0xcbf29ce484222325u;
uint64_t hashBytes(const void *data, size_t size, uint64_t hash = fnvStart);

struct FreeBuffer {
  void operator()(std::byte *data) const;
};
/// 64-byte aligned memory.
using Buffer = std::unique_ptr<std::byte, FreeBuffer>;

constexpr size_t alignment = 64;
/// \p size rounded up to the alignment.
size_t alignedSize(size_t size);
/// At least one byte, so never null. Throws std::bad_alloc. Scratch memory has
/// any content, and takes no pages until it is used.
Buffer allocateScratch(size_t size);
/// The same, zeroed.
Buffer allocateBuffer(size_t size);

} // namespace rwkvrt

#endif // RWKVC_LIB_RUNTIME_SUPPORT_H
