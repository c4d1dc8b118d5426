//===- Benchmark.cpp - rwkv-run --bench -----------------------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Modes.h"

#include <algorithm>
#include <cstdio>

using namespace rwkvrt::cli;

/// The value that the fraction \p p of the sorted \p values does not exceed.
static double percentile(const std::vector<double> &values, double p) {
  auto rank = static_cast<size_t>(p * static_cast<double>(values.size()));
  return values[std::min(rank, values.size() - 1)];
}

void rwkvrt::cli::benchmark(const rwkvrt_model *model, const Options &options,
                            double loadSeconds) {
  const rwkvrt_model_info &info = *rwkvrt_model_get_info(model);
  SequencePtr sequence = makeSequence(model, options);
  auto vocabulary = static_cast<int64_t>(rwkvrt_model_vocabulary_size(model));
  if (info.token_input >= 0 && info.inputs[info.token_input].index_limit > 0)
    vocabulary = info.inputs[info.token_input].index_limit;
  // Spread over the vocabulary: text does not repeat one embedding either.
  auto tokenAt = [&](int64_t i) {
    return vocabulary > 0 ? i % vocabulary * 7919 % vocabulary : 0;
  };
  const float *logits;
  // Brings weights, caches and threads to the state that lasts.
  int64_t warmup = std::min<int64_t>(options.benchTokens, 8);
  for (int64_t i = 0; i < warmup; ++i)
    require(rwkvrt_sequence_step(sequence.get(), tokenAt(i), &logits));

  std::vector<double> times;
  Stopwatch total;
  for (int64_t i = 0; i < options.benchTokens; ++i) {
    Stopwatch one;
    require(rwkvrt_sequence_step(sequence.get(), tokenAt(warmup + i), &logits));
    times.push_back(one.seconds());
  }
  double seconds = total.seconds();
  std::sort(times.begin(), times.end());
  double rate = static_cast<double>(options.benchTokens) / seconds;
  double p50 = percentile(times, 0.5) * 1e6,
         p99 = percentile(times, 0.99) * 1e6;
  auto tokens = static_cast<long long>(options.benchTokens);
  std::printf("%lld tokens with %d threads: %.1f tokens/s; per token p50 %.1f "
              "us, p99 %.1f us\n",
              tokens, rwkvrt_get_num_threads(), rate, p50, p99);
  std::printf("{\"tokens\": %lld, \"threads\": %d, \"tokens_per_s\": %.3f, "
              "\"p50_us\": %.3f, \"p99_us\": %.3f, \"load_ms\": %.3f}\n",
              tokens, rwkvrt_get_num_threads(), rate, p50, p99,
              loadSeconds * 1e3);
}
