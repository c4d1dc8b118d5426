//===- Sequence.cpp - A text's state, token by token ----------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Model.h"

#include "ElementTypes.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <tuple>

using namespace rwkvrt;

rwkvrt_sequence::rwkvrt_sequence(ModelRef modelRef)
    : model(std::move(modelRef)) {
  for (uint32_t i = 0; i < numStates(); ++i)
    states.push_back(allocateBuffer(stateBytes(i)));
  reset();
}

size_t rwkvrt_sequence::stateBytes(uint32_t state) const {
  return rwkvrt_tensor_bytes(&model->holder().stateTensor(state));
}

void *rwkvrt_sequence::stateOf(uint32_t state, size_t text) const {
  return states[state].get() +
         stateBytes(state) / model->holder().batch() * text;
}

void rwkvrt_sequence::readStates() const {
  if (hostIsCurrent)
    return;
  onDevice->download(states);
  hostIsCurrent = true;
}

void rwkvrt_sequence::writeStates(bool whole) {
  if (!whole)
    readStates();
  hostIsCurrent = true;
  deviceIsCurrent = false;
}

void rwkvrt_sequence::moveToDevice() {
  if (!onDevice)
    onDevice =
        std::make_unique<gpu::SequenceMemory>(*model->device, model->holder());
  if (!deviceIsCurrent)
    onDevice->upload(states);
  deviceIsCurrent = true;
}

void rwkvrt_sequence::reset() {
  writeStates(/*whole=*/true);
  const Function &holder = model->holder();
  for (uint32_t i = 0; i < holder.info.num_states; ++i) {
    double initial = holder.info.states[i].initial;
    if (initial == 0) {
      std::memset(states[i].get(), 0, stateBytes(i));
      continue;
    }
    const rwkvrt_tensor_info &tensor = holder.stateTensor(i);
    size_t count = countElements(tensor);
    for (size_t k = 0; k < count; ++k)
      storeFloat(tensor.dtype, states[i].get(), k, initial);
  }
}

Arguments::Arguments(const Function &function,
                     const std::vector<Buffer> &states)
    : function(function), inputs(function.info.num_inputs),
      outputs(function.info.num_outputs) {
  const rwkvrt_function_info &info = function.info;
  auto allocate = [&](size_t size) -> void * {
    memory.push_back(allocateBuffer(size));
    return memory.back().get();
  };
  for (uint32_t i = 0; i < info.num_outputs; ++i) {
    int32_t state = function.stateOfOutput[i];
    outputs[i] = state < 0 ? allocate(rwkvrt_tensor_bytes(&info.outputs[i]))
                           : states[state].get();
  }
  logits = outputs[info.logits_output];
  tokens = allocate(rwkvrt_tensor_bytes(&function.tokens()));
  length = static_cast<int64_t *>(allocate(sizeof *length));
  inputs[info.token_input] = tokens;
  if (info.length_input >= 0)
    inputs[info.length_input] = length;
}

Arguments::Arguments(const Function &function, std::unique_ptr<gpu::Form> bound)
    : function(function), tokens(bound->tokens()), length(bound->length()),
      logits(bound->logits()), form(std::move(bound)) {}

/// Throws unless the function takes tokens and the states, and gives logits.
static void requireFeedable(const Function &function, const char *model) {
  const rwkvrt_function_info &info = function.info;
  if (info.kind != RWKVRT_GRAPH)
    return; // derived forms do
  if (info.token_input < 0)
    fail(RWKVRT_INVALID_ARGUMENT,
         "model '%s': which input takes the token is not known", model);
  if (info.logits_output < 0)
    fail(RWKVRT_INVALID_ARGUMENT,
         "model '%s': which output holds the logits is not known", model);
  const rwkvrt_tensor_info &token = function.tokens();
  if (countElements(token) != 1)
    fail(RWKVRT_INVALID_ARGUMENT,
         "model '%s' takes %zu tokens at once in '%s', not one", model,
         countElements(token), token.name);
  std::string others;
  for (int32_t i = 0; i < static_cast<int32_t>(info.num_inputs); ++i)
    if (i != info.token_input && function.stateOfInput[i] < 0)
      others += (others.empty() ? "'" : ", '") +
                std::string(info.inputs[i].name) + "'";
  if (!others.empty())
    fail(RWKVRT_INVALID_ARGUMENT,
         "model '%s' has inputs that are neither token nor state: %s", model,
         others.c_str());
}

/// Throws unless each of the \p batch texts' \p n tokens is one.
static void checkTokens(const Function &function, const int64_t *tokens,
                        size_t batch, size_t n) {
  const rwkvrt_tensor_info &input = function.tokens();
  for (size_t i = 0; i < batch * n; ++i) {
    auto token = static_cast<long long>(tokens[i]);
    int64_t stored;
    bool fits = token >= 0 && storeInteger(input.dtype, &stored, 0, token);
    if (fits && (input.index_limit == 0 || token < input.index_limit))
      continue;
    std::string where;
    if (n > 1)
      where += " at position " + std::to_string(i % n);
    if (batch > 1)
      where += " of text " + std::to_string(i / n);
    if (input.index_limit == 0)
      fail(RWKVRT_INVALID_ARGUMENT, "token %lld%s does not fit input '%s' (%s)",
           token, where.c_str(), input.name, rwkvrt_dtype_name(input.dtype));
    fail(RWKVRT_INVALID_ARGUMENT,
         "token %lld%s is out of range, expected 0 to %lld", token,
         where.c_str(), static_cast<long long>(input.index_limit - 1));
  }
}

/// Whether the logits of a function lie in memory as callers get them.
static bool showsLogits(const Function &function) {
  return function.logits().dtype == RWKVRT_F32 &&
         (!function.givesAllLogits() || function.batch() == 1);
}

namespace {
/// Feeds tokens to a sequence.
class Feed {
public:
  /// Which logits are asked for.
  enum class Logits { None, Last, All };

  /// Refuses what cannot be fed and gets all memory; computes nothing. \p
  /// tokens are [batch, n].
  Feed(rwkvrt_sequence &sequence, const int64_t *tokens, size_t n,
       Logits wanted);

  /// \p rows: where the logits after every token go, [batch, n, V], if all are
  /// wanted.
  void run(float *rows = nullptr);
  /// Logits after the last token, [batch, V].
  const float *lastLogits();

private:
  /// What one call of a function computes.
  struct Piece {
    Arguments &arguments;
    size_t first, length; ///< tokens of each text
    size_t numRows;       ///< the last tokens, whose logits are needed
  };
  Piece pieceAt(size_t first) const;
  void call(const Piece &piece);
  /// Position in the last call's logits of those after token \p row of a text.
  size_t positionOf(size_t text, size_t row) const;
  void copyLogits(size_t text, size_t row, float *to) const;

  rwkvrt_sequence &sequence;
  const Model &model;
  const int64_t *tokens;
  size_t n, batch, vocabulary;
  const Logits wanted;
  std::unique_ptr<Workspace> workspace;
  Arguments *step = nullptr, *block = nullptr; ///< null: not to be used
  size_t shortest = 0, longest = 0;            ///< tokens of a block
  const Arguments *last = nullptr;
  size_t lastLength = 0;
};
} // namespace

Feed::Feed(rwkvrt_sequence &fed, const int64_t *tokenIds, size_t count,
           Logits wantedLogits)
    : sequence(fed), model(*fed.model), tokens(tokenIds), n(count),
      batch(model.holder().batch()), vocabulary(model.vocabularySize()),
      wanted(wantedLogits) {
  requireFeedable(model.holder(), model.info.name);
  if (n == 0 || n > SIZE_MAX / sizeof(int64_t) / batch)
    fail(RWKVRT_INVALID_ARGUMENT, "%zu tokens: expected at least 1", n);
  checkTokens(model.holder(), tokens, batch, n);
  bool needsAllLogits = wanted == Logits::All;
  const Function *single = model.findStep(), *many = model.find(RWKVRT_PREFILL);
  if (many) {
    // A block reads all weights once, each step does. Where it costs as much as
    // a full one however few tokens count, one of 64 tokens costs some eight
    // steps of a large model.
    bool isFull =
        model.device || !(many->info.flags & RWKVRT_FUNCTION_SKIPS_PADDING);
    shortest = std::max<size_t>(2, isFull ? many->block() / 8 + 1 : 0);
    if (sequence.shortestBlock)
      shortest = sequence.shortestBlock;
    if (single && (n < shortest || (needsAllLogits && !many->givesAllLogits())))
      many = nullptr;
  }
  if (model.device)
    sequence.moveToDevice();
  for (auto [function, kept, used] :
       {std::tuple{single, &sequence.step, &step},
        std::tuple{many, &sequence.block, &block}}) {
    if (!function)
      continue;
    if (!*kept && model.device)
      *kept = std::make_unique<Arguments>(
          *function, std::make_unique<gpu::Form>(*model.device, *function,
                                                 *sequence.onDevice));
    else if (!*kept)
      *kept = std::make_unique<Arguments>(*function, sequence.states);
    *used = kept->get();
    if (!showsLogits(*function))
      sequence.logits.resize(batch * vocabulary);
  }
  if (many)
    longest = needsAllLogits && !many->givesAllLogits() ? 1 : many->block();
  workspace = std::make_unique<Workspace>(model);
  size_t first = 0;
  while (model.device && first < n) {
    Piece piece = pieceAt(first);
    piece.arguments.form->record(piece.numRows > 0);
    first += piece.length;
  }
}

Feed::Piece Feed::pieceAt(size_t first) const {
  size_t remaining = n - first;
  bool isBlock = block && (!step || remaining >= shortest);
  size_t length = isBlock ? std::min(longest, remaining) : 1;
  bool needsLast = wanted == Logits::Last && length == remaining;
  return {isBlock ? *block : *step, first, length,
          wanted == Logits::All ? length : needsLast};
}

void Feed::call(const Piece &piece) {
  Arguments &arguments = piece.arguments;
  const Function &function = arguments.function;
  size_t stride = function.block();
  int32_t dtype = function.tokens().dtype;
  for (size_t text = 0; text < batch; ++text)
    for (size_t i = 0; i < stride; ++i)
      storeInteger(dtype, arguments.tokens, text * stride + i,
                   i < piece.length ? tokens[text * n + piece.first + i] : 0);
  *arguments.length = static_cast<int64_t>(piece.length);
  last = &arguments;
  lastLength = piece.length;
  if (arguments.form) {
    sequence.hostIsCurrent = false;
    arguments.form->run(piece.length - piece.numRows, piece.numRows);
    return;
  }
  std::vector<void *> outputs = arguments.outputs;
  if (piece.numRows == 0)
    outputs[function.info.logits_output] = nullptr;
  model.call(function, arguments.inputs.data(), outputs.data(),
             workspace->data());
}

size_t Feed::positionOf(size_t text, size_t row) const {
  const Function &function = last->function;
  return vocabulary *
         (function.givesAllLogits() ? text * function.block() + row : text);
}

void Feed::copyLogits(size_t text, size_t row, float *to) const {
  const rwkvrt_tensor_info &tensor = last->function.logits();
  size_t position = positionOf(text, row);
  for (size_t i = 0; i < vocabulary; ++i)
    to[i] =
        static_cast<float>(loadFloat(tensor.dtype, last->logits, position + i));
}

void Feed::run(float *rows) {
  for (size_t first = 0; first < n; first += lastLength) {
    call(pieceAt(first));
    if (!rows)
      continue;
    for (size_t text = 0; text < batch; ++text)
      for (size_t i = 0; i < lastLength; ++i)
        copyLogits(text, i, rows + (text * n + first + i) * vocabulary);
  }
}

const float *Feed::lastLogits() {
  const Function &function = last->function;
  if (showsLogits(function))
    return static_cast<const float *>(last->logits) +
           positionOf(0, lastLength - 1);
  for (size_t text = 0; text < batch; ++text)
    copyLogits(text, lastLength - 1, &sequence.logits[text * vocabulary]);
  return sequence.logits.data();
}

rwkvrt_status rwkvrt_sequence_create(const rwkvrt_model *model,
                                     rwkvrt_sequence **sequence) {
  return guard([&] {
    requireNotNull(model, "model");
    requireNotNull(sequence, "sequence");
    *sequence = new rwkvrt_sequence(model->model);
  });
}

rwkvrt_status rwkvrt_sequence_clone(const rwkvrt_sequence *sequence,
                                    rwkvrt_sequence **copy) {
  return guard([&] {
    requireNotNull(sequence, "sequence");
    requireNotNull(copy, "copy");
    auto made = std::make_unique<rwkvrt_sequence>(sequence->model);
    if (sequence->hostIsCurrent) {
      for (uint32_t i = 0; i < made->numStates(); ++i)
        std::memcpy(made->states[i].get(), sequence->states[i].get(),
                    made->stateBytes(i));
    } else {
      made->onDevice = std::make_unique<gpu::SequenceMemory>(
          *made->model->device, made->model->holder());
      made->onDevice->copy(*sequence->onDevice);
      made->deviceIsCurrent = true;
      made->hostIsCurrent = false;
    }
    made->shortestBlock = sequence->shortestBlock;
    *copy = made.release();
  });
}

void rwkvrt_sequence_free(rwkvrt_sequence *sequence) { delete sequence; }

rwkvrt_status rwkvrt_sequence_reset(rwkvrt_sequence *sequence) {
  return guard([&] {
    requireNotNull(sequence, "sequence");
    sequence->reset();
  });
}

rwkvrt_status rwkvrt_sequence_step(rwkvrt_sequence *sequence, int64_t token,
                                   const float **logits) {
  return guard([&] {
    requireNotNull(sequence, "sequence");
    size_t batch = sequence->model->holder().batch();
    if (batch != 1)
      fail(RWKVRT_INVALID_ARGUMENT,
           "model '%s' computes %zu texts at once and needs a token of each: "
           "use rwkvrt_sequence_prefill()",
           sequence->model->info.name, batch);
    Feed feed(*sequence, &token, 1,
              logits ? Feed::Logits::Last : Feed::Logits::None);
    feed.run();
    if (logits)
      *logits = feed.lastLogits();
  });
}

rwkvrt_status rwkvrt_sequence_prefill(rwkvrt_sequence *sequence,
                                      const int64_t *tokens, size_t n,
                                      const float **logits) {
  return guard([&] {
    requireNotNull(sequence, "sequence");
    requireNotNull(tokens, "tokens");
    Feed feed(*sequence, tokens, n,
              logits ? Feed::Logits::Last : Feed::Logits::None);
    feed.run();
    if (logits)
      *logits = feed.lastLogits();
  });
}

rwkvrt_status rwkvrt_sequence_prefill_logits(rwkvrt_sequence *sequence,
                                             const int64_t *tokens, size_t n,
                                             float *logits) {
  return guard([&] {
    requireNotNull(sequence, "sequence");
    requireNotNull(tokens, "tokens");
    requireNotNull(logits, "logits");
    Feed(*sequence, tokens, n, Feed::Logits::All).run(logits);
  });
}

rwkvrt_status rwkvrt_sequence_set_shortest_block(rwkvrt_sequence *sequence,
                                                 size_t tokens) {
  return guard([&] {
    requireNotNull(sequence, "sequence");
    sequence->shortestBlock = tokens;
  });
}

void *rwkvrt_sequence_state(rwkvrt_sequence *sequence, uint32_t state) {
  if (!sequence || state >= sequence->states.size())
    return nullptr;
  rwkvrt_status status = guard([&] { sequence->writeStates(/*whole=*/false); });
  return status == RWKVRT_OK ? sequence->states[state].get() : nullptr;
}

/// The file's own states, of which the caller has one tensor each; throws
/// unless
/// \p sequence has any for \p text, or \p tensors are not usable.
static const Function *findConversion(const rwkvrt_sequence &sequence,
                                      rwkvrt_function_kind kind, size_t text,
                                      const void *const *tensors) {
  const Model &model = *sequence.model;
  const Function *graph = model.find(RWKVRT_GRAPH);
  const Function *conversion = model.find(kind);
  bool areOwn = graph == &model.holder();
  if (!graph || graph->info.num_states == 0 || (!conversion && !areOwn))
    fail(RWKVRT_INVALID_ARGUMENT,
         "model '%s' has no states of the file's own signature that could be "
         "converted; they are where it was compiled with that signature",
         model.info.name);
  size_t texts = areOwn ? 1 : static_cast<size_t>(conversion->info.batch);
  size_t batch = model.holder().batch();
  if (texts > batch || text > batch - texts)
    fail(RWKVRT_INVALID_ARGUMENT,
         "text %zu: a call converts the states of %zu, and the sequence has "
         "%zu",
         text, texts, batch);
  requireNotNull(tensors, "states");
  for (uint32_t i = 0; i < graph->info.num_states; ++i) {
    const rwkvrt_state_info &state = graph->info.states[i];
    checkPointer(tensors[i],
                 kind == RWKVRT_UNPACK ? graph->info.inputs[state.input]
                                       : graph->info.outputs[state.output],
                 "state");
  }
  return conversion;
}

rwkvrt_status rwkvrt_sequence_unpack(rwkvrt_sequence *sequence, size_t text,
                                     const void *const *states) {
  return guard([&] {
    requireNotNull(sequence, "sequence");
    const Function *unpack =
        findConversion(*sequence, RWKVRT_UNPACK, text, states);
    // Also where all are replaced: the call may fail.
    sequence->writeStates(/*whole=*/false);
    if (!unpack) {
      for (uint32_t i = 0; i < sequence->numStates(); ++i)
        std::memmove(sequence->states[i].get(), states[i],
                     sequence->stateBytes(i));
      return;
    }
    std::vector<void *> inputs, outputs;
    for (uint32_t i = 0; i < unpack->info.num_inputs; ++i)
      // The compiled function reads it only; its type has no const.
      inputs.push_back(const_cast<void *>(states[i]));
    for (uint32_t i = 0; i < unpack->info.num_outputs; ++i)
      outputs.push_back(sequence->stateOf(i, text));
    Workspace workspace(*sequence->model);
    sequence->model->call(*unpack, inputs.data(), outputs.data(),
                          workspace.data());
  });
}

rwkvrt_status rwkvrt_sequence_pack(const rwkvrt_sequence *sequence, size_t text,
                                   void *const *states) {
  return guard([&] {
    requireNotNull(sequence, "sequence");
    const Function *pack = findConversion(*sequence, RWKVRT_PACK, text, states);
    sequence->readStates();
    if (!pack) {
      for (uint32_t i = 0; i < sequence->numStates(); ++i)
        std::memmove(states[i], sequence->states[i].get(),
                     sequence->stateBytes(i));
      return;
    }
    std::vector<void *> inputs;
    for (uint32_t i = 0; i < pack->info.num_inputs; ++i)
      inputs.push_back(sequence->stateOf(i, text));
    Workspace workspace(*sequence->model);
    sequence->model->call(*pack, inputs.data(), states, workspace.data());
  });
}

static double difference(double a, double b) {
  if (a == b || (std::isnan(a) && std::isnan(b)))
    return 0;
  double distance = std::fabs(a - b);
  return std::isnan(distance) ? std::numeric_limits<double>::infinity()
                              : distance;
}

rwkvrt_status rwkvrt_sequence_compare(const rwkvrt_sequence *a,
                                      const rwkvrt_sequence *b,
                                      double *max_abs_difference) {
  return guard([&] {
    requireNotNull(a, "a");
    requireNotNull(b, "b");
    requireNotNull(max_abs_difference, "max_abs_difference");
    if (a->model != b->model)
      fail(RWKVRT_MISMATCH, "the sequences belong to different models");
    a->readStates();
    b->readStates();
    double largest = 0;
    for (uint32_t i = 0; i < a->numStates(); ++i) {
      const rwkvrt_tensor_info &tensor = a->model->holder().stateTensor(i);
      size_t count = countElements(tensor);
      for (size_t k = 0; k < count; ++k) {
        const void *dataA = a->states[i].get(), *dataB = b->states[i].get();
        largest = std::max(
            largest, isFloat(tensor.dtype)
                         ? difference(loadFloat(tensor.dtype, dataA, k),
                                      loadFloat(tensor.dtype, dataB, k))
                         : difference(static_cast<double>(
                                          loadInteger(tensor.dtype, dataA, k)),
                                      static_cast<double>(loadInteger(
                                          tensor.dtype, dataB, k))));
      }
    }
    *max_abs_difference = largest;
  });
}
