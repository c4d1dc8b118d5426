//===- RecurrenceLaws.h - The recurrences in float64 ------------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The laws of the recurrence ops on plain arrays, for checking a replacement
// before it is made. One token; shapes as in the op descriptions with T = 1.
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_DIALECT_WKV_TRANSFORMS_RECURRENCELAWS_H
#define RWKVC_DIALECT_WKV_TRANSFORMS_RECURRENCELAWS_H

#include "llvm/ADT/ArrayRef.h"
#include <cstdint>
#include <vector>

namespace rwkvc::wkv {

using Array = std::vector<double>;

/// What one step gives: the output and the new state tensors in op order.
struct StepResult {
  Array y;
  std::vector<Array> states;
};

/// wkv6: r, k, decay, bonus are [heads, keys], v is [heads, values].
StepResult evaluateWkv6(const Array &r, const Array &k, const Array &v,
                        const Array &decay, const Array &bonus,
                        const Array &state, int64_t heads, int64_t keys,
                        int64_t values);

/// wkv7: r, decay, k, a, b are [heads, keys], v is [heads, values].
StepResult evaluateWkv7(const Array &r, const Array &decay, const Array &k,
                        const Array &v, const Array &a, const Array &b,
                        const Array &state, int64_t heads, int64_t keys,
                        int64_t values);

/// wkv4: every array has one element per channel; \p decay is a logarithm.
StepResult evaluateWkv4(const Array &k, const Array &v, const Array &decay,
                        const Array &bonus, const Array &num, const Array &den,
                        const Array &max);

} // namespace rwkvc::wkv

#endif // RWKVC_DIALECT_WKV_TRANSFORMS_RECURRENCELAWS_H
