//===- Sampler.cpp - Choosing the next token ------------------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Sampler.h"

#include "CommandLine.h"

#include <algorithm>
#include <cmath>

using namespace rwkvrt::cli;

/// Likelier first; equal ones in the order of their numbers.
static bool isLess(const std::pair<double, int64_t> &a,
                   const std::pair<double, int64_t> &b) {
  return a.first != b.first ? a.first < b.first : a.second > b.second;
}

int64_t Sampler::choose(const float *logits, size_t count) {
  size_t best = 0;
  for (size_t i = 0; i < count; ++i) {
    if (std::isnan(logits[i]))
      fail("the model's logits are not numbers: logit %zu is NaN", i);
    if (logits[i] > logits[best])
      best = i;
  }
  if (!std::isfinite(logits[best]))
    fail("the model's logits are not finite: logit %zu is %g", best,
         static_cast<double>(logits[best]));
  if (temperature == 0 || topP == 0)
    return static_cast<int64_t>(best);

  double total = 0;
  candidates.clear();
  for (size_t i = 0; i < count; ++i) {
    double difference = static_cast<double>(logits[i]) - logits[best];
    double weight = std::exp(difference / temperature);
    total += weight;
    candidates.emplace_back(weight, static_cast<int64_t>(i));
  }
  // The likeliest go to the end, one by one, until they have the share topP. A
  // heap finds the few that are usually needed without sorting all.
  auto kept = candidates.end();
  double share = topP < 1 ? 0 : total;
  if (topP < 1) {
    std::make_heap(candidates.begin(), kept, isLess);
    while (share < topP * total && kept != candidates.begin()) {
      std::pop_heap(candidates.begin(), kept, isLess);
      share += (--kept)->first;
    }
  } else {
    kept = candidates.begin();
  }
  double remaining = static_cast<double>(random() >> 11) * 0x1p-53 * share;
  for (auto candidate = kept; candidate != candidates.end(); ++candidate) {
    remaining -= candidate->first;
    if (remaining < 0)
      return candidate->second;
  }
  return static_cast<int64_t>(best); // only by rounding
}
