//===- CheckForms.cpp - rwkv-run --check-forms ----------------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A model's functions must agree: a block of tokens with its tokens one by one,
// any mixture of both, and the derived forms with the file's own signature.
//
//===----------------------------------------------------------------------===//

#include "../ElementTypes.h"
#include "Modes.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <random>

using namespace rwkvrt;
using namespace rwkvrt::cli;

namespace {

/// The largest difference of two tensors, over the largest value of the second.
/// What is not finite agrees with nothing: a model that computes NaN only would
/// pass otherwise.
struct Error {
  void add(double a, double b) {
    bool finite = std::isfinite(a) && std::isfinite(b);
    largest = std::max(largest, finite ? std::fabs(b) : 0.0);
    difference =
        std::max(difference, finite ? std::fabs(a - b)
                                    : std::numeric_limits<double>::infinity());
  }
  double relative() const { return difference == 0 ? 0 : difference / largest; }
  double difference = 0, largest = 0;
};

class FormsCheck {
public:
  FormsCheck(const rwkvrt_model *model, const Options &options)
      : model(model), options(options), batch(rwkvrt_model_batch(model)),
        vocabulary(rwkvrt_model_vocabulary_size(model)), random(options.seed) {}

  void run(size_t n);
  /// The first tokens of the longest length through the file's own signature.
  void runGraph(size_t n);
  /// Lets the file's own signature and the steps take turns on one state.
  void runConversions(size_t n);
  bool report() const;

private:
  /// Each text gets tokens of its own, [batch, n].
  std::vector<int64_t> makeTokens(size_t n);
  /// Tokens \p first to \p first + \p count of each text.
  std::vector<int64_t> part(const std::vector<int64_t> &tokens, size_t first,
                            size_t count) const;
  void feed(rwkvrt_sequence *sequence, const std::vector<int64_t> &tokens,
            std::vector<float> &logits) const;
  /// Compares and prints one line.
  void compare(const std::string &what, const std::vector<float> &logits,
               const std::vector<float> &expectedLogits,
               rwkvrt_sequence *sequence, rwkvrt_sequence *expected);
  void count(double error) {
    ++numComparisons;
    worst = std::max(worst, error);
  }
  const char *verdict(double error) const {
    return error <= options.rtol ? "" : "  FAIL";
  }

  const rwkvrt_model *model;
  const Options &options;
  size_t batch, vocabulary;
  std::mt19937_64 random;
  double worst = 0;
  size_t numComparisons = 0;
};

} // namespace

std::vector<int64_t> FormsCheck::makeTokens(size_t n) {
  std::vector<int64_t> tokens(batch * n);
  auto limit = static_cast<uint64_t>(tokenLimit(model));
  for (int64_t &token : tokens)
    token = static_cast<int64_t>(random() % limit);
  return tokens;
}

std::vector<int64_t> FormsCheck::part(const std::vector<int64_t> &tokens,
                                      size_t first, size_t count) const {
  size_t n = tokens.size() / batch;
  std::vector<int64_t> result;
  for (size_t text = 0; text < batch; ++text) {
    auto begin = tokens.begin() + static_cast<std::ptrdiff_t>(text * n + first);
    result.insert(result.end(), begin,
                  begin + static_cast<std::ptrdiff_t>(count));
  }
  return result;
}

void FormsCheck::feed(rwkvrt_sequence *sequence,
                      const std::vector<int64_t> &tokens,
                      std::vector<float> &logits) const {
  const float *result;
  require(rwkvrt_sequence_prefill(sequence, tokens.data(),
                                  tokens.size() / batch, &result));
  logits.assign(result, result + batch * vocabulary);
}

static double compareLogits(const std::vector<float> &a,
                            const std::vector<float> &b) {
  Error error;
  for (size_t i = 0; i < b.size(); ++i)
    error.add(a[i], b[i]);
  return error.relative();
}

void FormsCheck::compare(const std::string &what,
                         const std::vector<float> &logits,
                         const std::vector<float> &expectedLogits,
                         rwkvrt_sequence *sequence, rwkvrt_sequence *expected) {
  double logitsError = compareLogits(logits, expectedLogits), statesError = 0;
  const char *worstState = "";
  count(logitsError);
  for (uint32_t i = 0; i < rwkvrt_model_num_states(model); ++i) {
    const rwkvrt_tensor_info &tensor = *rwkvrt_model_state(model, i);
    const void *a = rwkvrt_sequence_state(sequence, i);
    const void *b = rwkvrt_sequence_state(expected, i);
    Error error;
    for (size_t k = 0; k < rwkvrt_tensor_elements(&tensor); ++k)
      error.add(loadFloat(tensor.dtype, a, k), loadFloat(tensor.dtype, b, k));
    count(error.relative());
    if (error.relative() >= statesError) {
      statesError = error.relative();
      worstState = tensor.name;
    }
  }
  std::printf("%s: relative error of logits %.3g, of states %.3g (%s)%s\n",
              what.c_str(), logitsError, statesError, worstState,
              verdict(std::max(logitsError, statesError)));
}

void FormsCheck::run(size_t n) {
  std::vector<int64_t> tokens = makeTokens(n);
  // What is to be compared uses blocks however short, so that they are tested.
  auto make = [&](size_t shortestBlock = 1) {
    rwkvrt_sequence *made;
    require(rwkvrt_sequence_create(model, &made));
    SequencePtr sequence(made);
    require(rwkvrt_sequence_set_shortest_block(made, shortestBlock));
    return sequence;
  };
  SequencePtr expected = make(SIZE_MAX);
  std::vector<float> expectedLogits, logits, expectedRows;
  // Logits of every token too, where blocks give them, while they are few
  // enough to be kept.
  const auto &block = *rwkvrt_model_find_function(model, RWKVRT_PREFILL);
  bool keepsRows = block.outputs[block.logits_output].rank == 3 &&
                   batch * n * vocabulary <= size_t(1) << 22;
  for (size_t i = 0; i < n; ++i) {
    feed(expected.get(), part(tokens, i, 1), expectedLogits);
    if (keepsRows)
      expectedRows.insert(expectedRows.end(), expectedLogits.begin(),
                          expectedLogits.end());
  }
  std::string name = "n = " + std::to_string(n);
  {
    SequencePtr sequence = make();
    feed(sequence.get(), tokens, logits);
    compare(name + ": at once", logits, expectedLogits, sequence.get(),
            expected.get());
  }
  if (keepsRows) {
    SequencePtr sequence = make();
    std::vector<float> rows(batch * n * vocabulary);
    require(rwkvrt_sequence_prefill_logits(sequence.get(), tokens.data(), n,
                                           rows.data()));
    Error error;
    for (size_t text = 0; text < batch; ++text)
      for (size_t i = 0; i < n; ++i)
        for (size_t k = 0; k < vocabulary; ++k)
          error.add(rows[(text * n + i) * vocabulary + k],
                    expectedRows[(i * batch + text) * vocabulary + k]);
    count(error.relative());
    std::printf("%s: logits of every token: relative error %.3g%s\n",
                name.c_str(), error.relative(), verdict(error.relative()));
  }
  // Pieces of random lengths, each at once or one by one.
  for (int split = 0; split < 2 && n > 1; ++split) {
    SequencePtr sequence = make();
    std::string pieces;
    size_t numPieces = 0;
    for (size_t first = 0; first < n;) {
      size_t length = 1 + random() % (n - first);
      bool atOnce = random() % 4 != 0;
      require(
          rwkvrt_sequence_set_shortest_block(sequence.get(), !atOnce ? SIZE_MAX
                                                             : split == 0 ? 1
                                                                          : 0));
      for (size_t i = 0; i < (atOnce ? 1 : length); ++i)
        feed(sequence.get(), part(tokens, first + i, atOnce ? length : 1),
             logits);
      if (++numPieces <= 8)
        pieces += (pieces.empty() ? "" : " ") + std::to_string(length) +
                  (atOnce ? "" : "x1");
      first += length;
    }
    if (numPieces > 8)
      pieces += " ...";
    compare(name + ": as " + pieces, logits, expectedLogits, sequence.get(),
            expected.get());
  }
}

namespace {
/// The file's own signature, one token of each of its texts at a time, on its
/// own states.
class Graph {
public:
  explicit Graph(const rwkvrt_model *model)
      : model(model), info(graphOf(model)),
        token(numTexts(info) * sizeof(int64_t)) {
    for (uint32_t i = 0; i < info.num_outputs; ++i) {
      // Doubles, for their alignment.
      buffers.emplace_back(
          rwkvrt_tensor_bytes(&info.outputs[i]) / sizeof(double) + 1);
      outputs.push_back(buffers.back().data());
    }
    for (uint32_t i = 0; i < info.num_states; ++i) {
      const rwkvrt_tensor_info &tensor = info.outputs[info.states[i].output];
      if (isFloat(tensor.dtype))
        for (size_t k = 0; k < rwkvrt_tensor_elements(&tensor); ++k)
          storeFloat(tensor.dtype, outputs[info.states[i].output], k,
                     info.states[i].initial);
    }
    inputs.resize(info.num_inputs);
    inputs[info.token_input] = token.data();
  }
  Graph(const Graph &) = delete;
  Graph &operator=(const Graph &) = delete;

  static size_t numTexts(const rwkvrt_function_info &info) {
    return rwkvrt_tensor_elements(&info.inputs[info.token_input]);
  }

  /// Whether it takes one token of one text, or of \p batch, and its states,
  /// and gives one row of logits for each.
  static bool isSteppable(const rwkvrt_function_info &info, size_t batch,
                          size_t vocabulary) {
    if (info.token_input < 0 || info.logits_output < 0 ||
        info.num_inputs != info.num_states + 1)
      return false;
    size_t texts = numTexts(info);
    return (texts == 1 || texts == batch) &&
           rwkvrt_tensor_elements(&info.outputs[info.logits_output]) ==
               texts * vocabulary;
  }

  /// Takes a token of each text, \p stride apart.
  void step(const int64_t *ids, size_t stride, float *logits) {
    for (size_t text = 0; text < numTexts(info); ++text)
      storeInteger(info.inputs[info.token_input].dtype, token.data(), text,
                   ids[text * stride]);
    require(rwkvrt_model_run(model, inputs.data(), outputs.data()));
    const rwkvrt_tensor_info &tensor = info.outputs[info.logits_output];
    for (size_t i = 0; i < rwkvrt_tensor_elements(&tensor); ++i)
      logits[i] = static_cast<float>(
          loadFloat(tensor.dtype, outputs[info.logits_output], i));
  }

  /// Hands the state over to texts of the sequence, and takes it from there.
  void unpackTo(rwkvrt_sequence *sequence, size_t text) {
    std::vector<const void *> states;
    for (uint32_t i = 0; i < info.num_states; ++i)
      states.push_back(outputs[info.states[i].output]);
    require(rwkvrt_sequence_unpack(sequence, text, states.data()));
  }
  void packFrom(const rwkvrt_sequence *sequence, size_t text) {
    std::vector<void *> states;
    for (uint32_t i = 0; i < info.num_states; ++i)
      states.push_back(outputs[info.states[i].output]);
    require(rwkvrt_sequence_pack(sequence, text, states.data()));
  }

private:
  const rwkvrt_model *model;
  const rwkvrt_function_info &info;
  std::vector<char> token;
  std::vector<std::vector<double>> buffers;
  std::vector<const void *>
      inputs; ///< a state's is NULL: it lies in its output
  std::vector<void *> outputs;
};
} // namespace

void FormsCheck::runGraph(size_t n) {
  const auto *graph = rwkvrt_model_find_function(model, RWKVRT_GRAPH);
  if (!graph || !Graph::isSteppable(*graph, batch, vocabulary)) {
    std::printf("the file's own signature: %s, not compared\n",
                graph ? "does not take one token at a time" : "not compiled");
    return;
  }
  std::vector<int64_t> tokens = makeTokens(n);
  std::vector<float> logits, expected(batch * vocabulary);
  rwkvrt_sequence *made;
  require(rwkvrt_sequence_create(model, &made));
  SequencePtr sequence(made);
  std::vector<std::unique_ptr<Graph>> graphs;
  size_t texts = Graph::numTexts(*graph); // of each
  for (size_t text = 0; text < batch; text += texts)
    graphs.push_back(std::make_unique<Graph>(model));
  double largest = 0;
  for (size_t i = 0; i < n; ++i) {
    feed(made, part(tokens, i, 1), logits);
    for (size_t text = 0; text < batch; text += texts)
      graphs[text / texts]->step(&tokens[text * n + i], n,
                                 &expected[text * vocabulary]);
    double error = compareLogits(logits, expected);
    count(error);
    largest = std::max(largest, error);
  }
  std::printf(
      "the file's own signature: relative error of logits %.3g over %zu "
      "tokens%s\n",
      largest, n, verdict(largest));
}

void FormsCheck::runConversions(size_t n) {
  const auto *graph = rwkvrt_model_find_function(model, RWKVRT_GRAPH);
  if (!graph || !rwkvrt_model_find_function(model, RWKVRT_UNPACK) ||
      !rwkvrt_model_find_function(model, RWKVRT_PACK) ||
      !Graph::isSteppable(*graph, batch, vocabulary))
    return;
  std::vector<int64_t> tokens = makeTokens(n);
  std::vector<float> logits(batch * vocabulary), expected;
  rwkvrt_sequence *steps, *mixed;
  require(rwkvrt_sequence_create(model, &steps));
  SequencePtr owner(steps);
  require(rwkvrt_sequence_create(model, &mixed));
  SequencePtr mixedOwner(mixed);
  size_t texts = Graph::numTexts(*graph); // of each
  std::vector<std::unique_ptr<Graph>> graphs;
  for (size_t text = 0; text < batch; text += texts)
    graphs.push_back(std::make_unique<Graph>(model));
  double largest = 0;
  // Four tokens by the one, four by the other.
  for (size_t i = 0; i < n; ++i) {
    feed(steps, part(tokens, i, 1), expected);
    bool byGraph = i / 4 % 2 == 0, hasTurned = i % 4 == 0 && i > 0;
    for (size_t text = 0; text < batch && hasTurned; text += texts)
      if (byGraph)
        graphs[text / texts]->packFrom(mixed, text);
      else
        graphs[text / texts]->unpackTo(mixed, text);
    for (size_t text = 0; text < batch && byGraph; text += texts)
      graphs[text / texts]->step(&tokens[text * n + i], n,
                                 &logits[text * vocabulary]);
    if (!byGraph)
      feed(mixed, part(tokens, i, 1), logits);
    double error = compareLogits(logits, expected);
    count(error);
    largest = std::max(largest, error);
  }
  std::printf("states converted every 4 tokens: relative error of logits %.3g "
              "over %zu tokens%s\n",
              largest, n, verdict(largest));
}

bool FormsCheck::report() const {
  bool passed = worst <= options.rtol;
  std::printf("largest relative error %.3g over %zu comparisons: %s\n", worst,
              numComparisons, passed ? "PASS" : "FAIL");
  return passed;
}

bool rwkvrt::cli::checkForms(const rwkvrt_model *model,
                             const Options &options) {
  if (!rwkvrt_model_find_function(model, RWKVRT_PREFILL))
    fail("model '%s' has no function for blocks of tokens, so there is nothing "
         "to compare; rwkvc says why when it compiles the model",
         rwkvrt_model_get_info(model)->name);
  std::printf("seed %llu, %zu text%s, %d threads\n",
              static_cast<unsigned long long>(options.seed),
              rwkvrt_model_batch(model),
              rwkvrt_model_batch(model) == 1 ? "" : "s of their own tokens",
              rwkvrt_get_num_threads());
  FormsCheck check(model, options);
  for (int64_t n : options.formLengths)
    check.run(static_cast<size_t>(n));
  size_t longest = static_cast<size_t>(*std::max_element(
      options.formLengths.begin(), options.formLengths.end()));
  check.runGraph(std::min<size_t>(32, longest));
  check.runConversions(std::min<size_t>(32, longest));
  return check.report();
}
