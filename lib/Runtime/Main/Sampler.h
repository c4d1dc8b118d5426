//===- Sampler.h - Choosing the next token ----------------------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_LIB_RUNTIME_MAIN_SAMPLER_H
#define RWKVC_LIB_RUNTIME_MAIN_SAMPLER_H

#include <cstddef>
#include <cstdint>
#include <random>
#include <utility>
#include <vector>

namespace rwkvrt::cli {

/// Temperature and nucleus (top-p) sampling. The same seed and logits give the
/// same tokens.
class Sampler {
public:
  Sampler(double temperature, double topP, uint64_t seed)
      : temperature(temperature), topP(topP), random(seed) {}

  /// Throws if the logits hold no finite maximum.
  int64_t choose(const float *logits, size_t count);

private:
  double temperature, topP;
  std::mt19937_64 random;
  std::vector<std::pair<double, int64_t>> candidates; ///< weight, token
};

} // namespace rwkvrt::cli

#endif // RWKVC_LIB_RUNTIME_MAIN_SAMPLER_H
