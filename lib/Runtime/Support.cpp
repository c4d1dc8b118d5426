//===- Support.cpp - Errors and memory of the runtime ---------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Support.h"

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace rwkvrt {

// A plain array: usable when memory is short, and nothing to destroy when a
// thread ends.
static thread_local char lastError[2048];

void setLastError(const char *message) noexcept {
  std::snprintf(lastError, sizeof lastError, "%s", message);
}

void fail(rwkvrt_status status, const char *format, ...) {
  char text[sizeof lastError];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  throw Error{status, text};
}

std::string systemError(int number) {
  char text[256];
  // The GNU variant, which may return a constant instead of filling the buffer.
  return strerror_r(number, text, sizeof text);
}

uint64_t hashBytes(const void *data, size_t size, uint64_t hash) {
  const auto *bytes = static_cast<const unsigned char *>(data);
  for (size_t i = 0; i < size; ++i)
    hash = (hash ^ bytes[i]) * 0x100000001b3u;
  return hash;
}

void FreeBuffer::operator()(std::byte *data) const { std::free(data); }

size_t alignedSize(size_t size) {
  if (size > SIZE_MAX - alignment)
    throw std::bad_alloc();
  return (size + alignment - 1) / alignment * alignment;
}

Buffer allocateScratch(size_t size) {
  size = alignedSize(size ? size : 1);
  auto *data = static_cast<std::byte *>(std::aligned_alloc(alignment, size));
  if (!data)
    throw std::bad_alloc();
  return Buffer(data);
}

Buffer allocateBuffer(size_t size) {
  Buffer buffer = allocateScratch(size);
  std::memset(buffer.get(), 0, size ? size : 1);
  return buffer;
}

} // namespace rwkvrt

using namespace rwkvrt;

const char *rwkvrt_last_error(void) { return lastError; }

const char *rwkvrt_status_name(rwkvrt_status status) {
  switch (status) {
  case RWKVRT_OK:
    return "success";
  case RWKVRT_INVALID_ARGUMENT:
    return "invalid argument";
  case RWKVRT_IO_ERROR:
    return "input/output error";
  case RWKVRT_BAD_FILE:
    return "bad file";
  case RWKVRT_MISMATCH:
    return "mismatch";
  case RWKVRT_OUT_OF_MEMORY:
    return "out of memory";
  case RWKVRT_RUN_FAILED:
    return "run failed";
  }
  return "unknown status";
}
