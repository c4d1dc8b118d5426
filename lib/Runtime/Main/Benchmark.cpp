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

int64_t rwkvrt::cli::tokenLimit(const rwkvrt_model *model) {
  for (int32_t kind : {RWKVRT_STEP, RWKVRT_PREFILL, RWKVRT_GRAPH})
    if (const auto *function = rwkvrt_model_find_function(model, kind);
        function && function->token_input >= 0 &&
        function->inputs[function->token_input].index_limit > 0)
      return function->inputs[function->token_input].index_limit;
  return std::max<int64_t>(
      1, static_cast<int64_t>(rwkvrt_model_vocabulary_size(model)));
}

/// \p count tokens for each text, spread over the vocabulary: text does not
/// repeat one embedding either.
static std::vector<int64_t> makeTokens(const rwkvrt_model *model,
                                       int64_t count) {
  int64_t limit = tokenLimit(model);
  std::vector<int64_t> tokens(static_cast<size_t>(count) *
                              rwkvrt_model_batch(model));
  for (size_t i = 0; i < tokens.size(); ++i)
    tokens[i] = static_cast<int64_t>(i) % limit * 7919 % limit;
  return tokens;
}

/// \p text as a JSON string.
static std::string quote(const std::string &text) {
  std::string quoted = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\')
      quoted += '\\';
    if (static_cast<unsigned char>(c) >= ' ')
      quoted += c;
  }
  return quoted + "\"";
}

void rwkvrt::cli::benchmark(const rwkvrt_model *model, const Options &options,
                            double loadSeconds) {
  SequencePtr sequence = makeSequence(model, options);
  size_t batch = rwkvrt_model_batch(model);
  const float *logits;
  auto feed = [&](const int64_t *tokens, int64_t count) {
    require(rwkvrt_sequence_prefill(sequence.get(), tokens,
                                    static_cast<size_t>(count), &logits));
  };
  int64_t prompt = rwkvrt_model_find_function(model, RWKVRT_PREFILL)
                       ? options.benchPrompt
                       : 0;
  double promptSeconds = 0;
  if (prompt) {
    std::vector<int64_t> tokens = makeTokens(model, prompt);
    // Brings weights, caches and threads to the state that lasts.
    feed(tokens.data(), prompt);
    Stopwatch time;
    feed(tokens.data(), prompt);
    promptSeconds = time.seconds();
  }
  int64_t warmup = std::min<int64_t>(options.benchTokens, 8);
  std::vector<int64_t> tokens = makeTokens(model, warmup + options.benchTokens);
  for (int64_t i = 0; i < warmup; ++i)
    feed(&tokens[i * batch], 1);
  std::vector<double> times;
  Stopwatch total;
  for (int64_t i = 0; i < options.benchTokens; ++i) {
    Stopwatch one;
    feed(&tokens[(warmup + i) * batch], 1);
    times.push_back(one.seconds());
  }
  double seconds = total.seconds();
  std::sort(times.begin(), times.end());
  auto rate = [&](int64_t count, double time) {
    return static_cast<double>(count) * static_cast<double>(batch) / time;
  };
  double p50 = percentile(times, 0.5) * 1e6,
         p99 = percentile(times, 0.99) * 1e6;
  auto count = static_cast<long long>(options.benchTokens);
  const rwkvrt_level_info *level = rwkvrt_model_level(model);
  std::printf("%zu text%s, %s\n", batch, batch == 1 ? "" : "s",
              describeMachine(model).c_str());
  if (prompt)
    std::printf("prefill: %lld tokens, %.1f tokens/s\n",
                static_cast<long long>(prompt), rate(prompt, promptSeconds));
  else
    std::printf("prefill: no function for blocks of tokens\n");
  std::printf("decode:  %lld tokens, %.1f tokens/s; per token p50 %.1f us, p99 "
              "%.1f us\n",
              count, rate(count, seconds), p50, p99);
  std::printf("{\"batch\": %zu, \"threads\": %d, \"prefill_tokens\": %lld, "
              "\"prefill_tokens_per_s\": ",
              batch, rwkvrt_get_num_threads(), static_cast<long long>(prompt));
  if (prompt)
    std::printf("%.3f", rate(prompt, promptSeconds));
  else
    std::printf("null");
  std::printf(", \"decode_tokens\": %lld, \"decode_tokens_per_s\": %.3f, "
              "\"p50_us\": %.3f, \"p99_us\": %.3f, \"load_ms\": %.3f, "
              "\"device\": %s, \"level\": %s}\n",
              count, rate(count, seconds), p50, p99, loadSeconds * 1e3,
              quote(rwkvrt_model_device(model)).c_str(),
              level ? quote(level->name).c_str() : "null");
}
