//===- RecurrenceLaws.cpp - The recurrences in float64 --------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "rwkvc/Dialect/WKV/Transforms/RecurrenceLaws.h"
#include <algorithm>
#include <cmath>

using namespace rwkvc::wkv;

StepResult rwkvc::wkv::evaluateWkv6(const Array &r, const Array &k,
                                    const Array &v, const Array &decay,
                                    const Array &bonus, const Array &state,
                                    int64_t heads, int64_t keys,
                                    int64_t values) {
  StepResult result{Array(heads * values, 0.0), {state}};
  for (int64_t h = 0; h < heads; ++h)
    for (int64_t i = 0; i < keys; ++i)
      for (int64_t j = 0; j < values; ++j) {
        int64_t key = h * keys + i, value = h * values + j;
        int64_t s = key * values + j;
        double kv = k[key] * v[value];
        result.y[value] += r[key] * (state[s] + bonus[key] * kv);
        result.states[0][s] = decay[key] * state[s] + kv;
      }
  return result;
}

StepResult rwkvc::wkv::evaluateWkv7(const Array &r, const Array &decay,
                                    const Array &k, const Array &v,
                                    const Array &a, const Array &b,
                                    const Array &state, int64_t heads,
                                    int64_t keys, int64_t values) {
  StepResult result{Array(heads * values, 0.0), {state}};
  for (int64_t h = 0; h < heads; ++h)
    for (int64_t i = 0; i < values; ++i) {
      int64_t value = h * values + i;
      const double *old = &state[value * keys];
      double *next = &result.states[0][value * keys];
      double removed = 0.0;
      for (int64_t j = 0; j < keys; ++j)
        removed += old[j] * a[h * keys + j];
      for (int64_t j = 0; j < keys; ++j) {
        int64_t key = h * keys + j;
        next[j] = old[j] * decay[key] + removed * b[key] + v[value] * k[key];
        result.y[value] += next[j] * r[key];
      }
    }
  return result;
}

StepResult rwkvc::wkv::evaluateWkv4(const Array &k, const Array &v,
                                    const Array &decay, const Array &bonus,
                                    const Array &num, const Array &den,
                                    const Array &max) {
  StepResult result{Array(k.size()), {num, den, max}};
  for (size_t c = 0; c < k.size(); ++c) {
    double q = std::max(max[c], bonus[c] + k[c]);
    double past = std::exp(max[c] - q), now = std::exp(bonus[c] + k[c] - q);
    result.y[c] = (past * num[c] + now * v[c]) / (past * den[c] + now);
    q = std::max(max[c] + decay[c], k[c]);
    past = std::exp(max[c] + decay[c] - q);
    now = std::exp(k[c] - q);
    result.states[0][c] = past * num[c] + now * v[c];
    result.states[1][c] = past * den[c] + now;
    result.states[2][c] = q;
  }
  return result;
}
