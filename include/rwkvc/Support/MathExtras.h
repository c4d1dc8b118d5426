//===- MathExtras.h - Arithmetic on sizes -----------------------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_SUPPORT_MATHEXTRAS_H
#define RWKVC_SUPPORT_MATHEXTRAS_H

#include <algorithm>
#include <cstdint>

namespace rwkvc {

/// The largest divisor of \p size , at least 1, that is at most \p limit , at
/// least 1: the size of equal tiles.
inline int64_t largestDivisor(int64_t size, int64_t limit) {
  int64_t divisor = std::min(size, limit);
  while (size % divisor != 0)
    --divisor;
  return divisor;
}

} // namespace rwkvc

#endif // RWKVC_SUPPORT_MATHEXTRAS_H
