//===- Generate.cpp - Generating text -------------------------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Modes.h"
#include "Sampler.h"
#include "Tokenizer.h"

#include <cerrno>
#include <cstdio>
#include <cstring>

using namespace rwkvrt::cli;

SequencePtr rwkvrt::cli::makeSequence(const rwkvrt_model *model,
                                      const Options &options) {
  rwkvrt_sequence *made;
  require(rwkvrt_sequence_create(model, &made));
  SequencePtr sequence(made);
  if (!options.loadState.empty())
    require(rwkvrt_sequence_load(made, options.loadState.c_str()));
  return sequence;
}

static std::unique_ptr<Tokenizer> makeTokenizer(size_t vocabularySize,
                                                const Options &options) {
  if (!options.vocabulary.empty())
    return makeWorldTokenizer(options.vocabulary);
  if (vocabularySize == 256)
    return makeByteTokenizer();
  return nullptr;
}

static void print(const std::string &text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() ||
      std::fflush(stdout) != 0)
    fail("cannot write to standard output: %s", std::strerror(errno));
}

static void reportSpeed(const char *what, int64_t tokens, double seconds) {
  std::fprintf(stderr, "%s: %lld tokens", what, static_cast<long long>(tokens));
  if (tokens > 0 && seconds > 0)
    std::fprintf(stderr, ", %.1f tokens/s",
                 static_cast<double>(tokens) / seconds);
  std::fprintf(stderr, "\n");
}

void rwkvrt::cli::generate(const rwkvrt_model *model, const Options &options,
                           double loadSeconds) {
  if (size_t batch = rwkvrt_model_batch(model); batch != 1)
    fail("the model computes %zu texts at once; to generate one, compile it "
         "with --batch=1",
         batch);
  size_t vocabularySize = rwkvrt_model_vocabulary_size(model);
  std::unique_ptr<Tokenizer> tokenizer = makeTokenizer(vocabularySize, options);
  std::vector<int64_t> prompt = options.tokens;
  if (options.hasPrompt) {
    if (!tokenizer)
      fail("the model has %zu tokens, so a text prompt needs their vocabulary: "
           "give --vocab FILE, or --tokens",
           vocabularySize);
    prompt = tokenizer->encode(options.prompt);
  }
  // Something has to be fed before the first logits; 0 separates texts.
  if (prompt.empty())
    prompt.push_back(0);

  SequencePtr sequence = makeSequence(model, options);
  Sampler sampler(options.temperature, options.topP, options.seed);
  Stopwatch promptTime;
  const float *logits = nullptr;
  require(rwkvrt_sequence_prefill(sequence.get(), prompt.data(), prompt.size(),
                                  &logits));
  double promptSeconds = promptTime.seconds(), firstSeconds = 0;

  Stopwatch generationTime;
  int64_t made = 0, stepped = 0;
  while (made < options.maxTokens) {
    int64_t token = sampler.choose(logits, vocabularySize);
    if (made++ == 0)
      firstSeconds = promptTime.seconds();
    if (tokenizer && tokenizer->isEnd(token))
      break;
    print(tokenizer ? tokenizer->decode(token)
                    : (made > 1 ? " " : "") + std::to_string(token));
    // The last token too, so that a saved state has seen the whole text.
    if (made == options.maxTokens && options.saveState.empty())
      break;
    require(rwkvrt_sequence_step(sequence.get(), token, &logits));
    ++stepped;
  }
  double generationSeconds = generationTime.seconds();
  print("\n");
  if (!options.saveState.empty())
    require(rwkvrt_sequence_save(sequence.get(), options.saveState.c_str()));

  std::fprintf(stderr, "loaded in %.1f ms; %s\n", loadSeconds * 1e3,
               describeMachine(model).c_str());
  reportSpeed("prompt", static_cast<int64_t>(prompt.size()), promptSeconds);
  if (made > 0)
    std::fprintf(stderr, "time to first token: %.2f ms\n", firstSeconds * 1e3);
  reportSpeed("generated", made, stepped > 0 ? generationSeconds : 0);
}
