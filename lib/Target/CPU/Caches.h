//===- Caches.h - Sizes that all our processors have in common --*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_LIB_TARGET_CPU_CACHES_H
#define RWKVC_LIB_TARGET_CPU_CACHES_H

#include <cstdint>

namespace rwkvc::cpu {

/// Bytes that memory is fetched in.
inline constexpr int64_t kLineBytes = 64;
/// How far ahead of what it reads from end to end a product with a vector
/// fetches, to the first-level cache: elements of floats, which take as long to
/// multiply whatever their width, and bytes of integers. Memory is some hundred
/// nanoseconds away, and hardware that reads ahead stops at the end of each
/// page. Measured on Zen 5.
inline constexpr int64_t kFetchFloatsAhead = 3072, kFetchIntegersAhead = 12288;
/// The same, in bytes, by a list of rows, and of groups of integers.
inline constexpr int64_t kFetchRowsAhead = 8192, kFetchGroupsAhead = 16384;
/// Addresses that are equal modulo this compete for the same few lines of a
/// first-level cache: 64 sets, on all processors that have 4 KB pages.
inline constexpr int64_t kWayBytes = 64 * kLineBytes;
/// What may stay in the second level to be read again and again: a part, for it
/// has 256 KB at least and holds other operands as well.
inline constexpr int64_t kSharedBytes = 128 * 1024;

} // namespace rwkvc::cpu

#endif // RWKVC_LIB_TARGET_CPU_CACHES_H
