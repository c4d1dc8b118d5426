//===- devices.cpp - Test of models on devices ----------------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// devices FOLDER DEVICE: FOLDER holds the models plain, forms, texts, scoring,
// blocks, steps and converting of make_model.py, with code for processors and
// for DEVICE. Both must give the same. Prints what is wrong; the last line is
// "ok".
//
//===----------------------------------------------------------------------===//

#include "rwkvc-rt/rwkvc-rt.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

static int failures = 0;

#define CHECK(condition)                                                       \
  do {                                                                         \
    if (!(condition)) {                                                        \
      std::printf("line %d: %s is false; last error: %s\n", __LINE__,          \
                  #condition, rwkvrt_last_error());                            \
      ++failures;                                                              \
    }                                                                          \
  } while (false)

/// \p call fails with \p status and a message that contains \p text.
#define CHECK_FAILS(call, expected, text)                                      \
  do {                                                                         \
    CHECK((call) == (expected));                                               \
    CHECK(std::strstr(rwkvrt_last_error(), text));                             \
  } while (false)

using ModelPtr = std::unique_ptr<rwkvrt_model, decltype(&rwkvrt_model_free)>;
using SequencePtr =
    std::unique_ptr<rwkvrt_sequence, decltype(&rwkvrt_sequence_free)>;

static std::string folder;
static const char *device;

static ModelPtr load(const char *name, const char *where) {
  rwkvrt_model *model = nullptr;
  std::string path = folder + "/" + name + "/model.so";
  if (rwkvrt_model_load_on(path.c_str(), where, &model) != RWKVRT_OK) {
    std::printf("cannot load: %s\n", rwkvrt_last_error());
    std::exit(1);
  }
  return {model, rwkvrt_model_free};
}

static SequencePtr create(const ModelPtr &model) {
  rwkvrt_sequence *sequence = nullptr;
  CHECK(rwkvrt_sequence_create(model.get(), &sequence) == RWKVRT_OK);
  return {sequence, rwkvrt_sequence_free};
}

static SequencePtr clone(const SequencePtr &sequence) {
  rwkvrt_sequence *copy = nullptr;
  CHECK(rwkvrt_sequence_clone(sequence.get(), &copy) == RWKVRT_OK);
  return {copy, rwkvrt_sequence_free};
}

/// Texts of their own: \p n tokens each, text by text.
static std::vector<int64_t> makeTokens(size_t batch, size_t n) {
  std::vector<int64_t> tokens(batch * n);
  for (size_t i = 0; i < tokens.size(); ++i)
    tokens[i] = static_cast<int64_t>(i * i * 7 + i * 31) % 256;
  return tokens;
}

static std::vector<float> prefill(const SequencePtr &sequence,
                                  const std::vector<int64_t> &tokens,
                                  size_t batch) {
  const float *logits = nullptr;
  CHECK(rwkvrt_sequence_prefill(sequence.get(), tokens.data(),
                                tokens.size() / batch, &logits) == RWKVRT_OK);
  if (!logits)
    return {};
  return std::vector<float>(logits, logits + 256 * batch);
}

static std::vector<float> step(const SequencePtr &sequence, int64_t token) {
  const float *logits = nullptr;
  CHECK(rwkvrt_sequence_step(sequence.get(), token, &logits) == RWKVRT_OK);
  if (!logits)
    return {};
  return std::vector<float>(logits, logits + 256);
}

static bool areNear(const std::vector<float> &a, const std::vector<float> &b) {
  return a.size() == b.size() && !a.empty() &&
         std::equal(a.begin(), a.end(), b.begin(), [](float x, float y) {
           return std::fabs(x - y) <= 1e-5f + 1e-5f * std::fabs(y);
         });
}

/// All states, one after the other.
static std::vector<float> statesOf(const ModelPtr &model,
                                   const SequencePtr &sequence) {
  std::vector<float> all;
  for (uint32_t i = 0; i < rwkvrt_model_num_states(model.get()); ++i) {
    const auto *data =
        static_cast<float *>(rwkvrt_sequence_state(sequence.get(), i));
    CHECK(data);
    size_t count = rwkvrt_tensor_elements(rwkvrt_model_state(model.get(), i));
    if (data)
      all.insert(all.end(), data, data + count);
  }
  return all;
}

static double distance(const SequencePtr &a, const SequencePtr &b) {
  double result = -1;
  CHECK(rwkvrt_sequence_compare(a.get(), b.get(), &result) == RWKVRT_OK);
  return result;
}

/// Blocks, steps and all logits give what the processor gives.
static void testForms() {
  for (auto [name, batch] : {std::pair<const char *, size_t>{"plain", 1},
                             {"forms", 1},
                             {"texts", 3},
                             {"scoring", 3},
                             {"blocks", 1},
                             {"steps", 1}}) {
    ModelPtr here = load(name, "cpu"), there = load(name, device);
    CHECK(rwkvrt_model_level(here.get()) != nullptr);
    CHECK(rwkvrt_model_level(there.get()) == nullptr);
    CHECK(std::strcmp(rwkvrt_model_device(here.get()), "cpu") == 0);
    CHECK(std::strncmp(rwkvrt_model_device(there.get()), device,
                       std::strlen(device)) == 0);
    for (size_t n : {1, 3, 8, 9, 17, 65}) {
      std::vector<int64_t> tokens = makeTokens(batch, n);
      SequencePtr a = create(here), b = create(there);
      std::vector<float> logits = prefill(a, tokens, batch);
      CHECK(areNear(prefill(b, tokens, batch), logits));
      CHECK(areNear(statesOf(there, b), statesOf(here, a)));
      // Again, from the state that was looked at; without logits.
      CHECK(rwkvrt_sequence_prefill(a.get(), tokens.data(), n, nullptr) ==
            RWKVRT_OK);
      CHECK(rwkvrt_sequence_prefill(b.get(), tokens.data(), n, nullptr) ==
            RWKVRT_OK);
      CHECK(areNear(statesOf(there, b), statesOf(here, a)));
      std::vector<float> rows(batch * n * 256), got(rows.size());
      CHECK(rwkvrt_sequence_prefill_logits(a.get(), tokens.data(), n,
                                           rows.data()) == RWKVRT_OK);
      CHECK(rwkvrt_sequence_prefill_logits(b.get(), tokens.data(), n,
                                           got.data()) == RWKVRT_OK);
      CHECK(areNear(got, rows));
      CHECK(rwkvrt_sequence_reset(b.get()) == RWKVRT_OK);
      CHECK(areNear(prefill(b, tokens, batch), logits));
    }
  }
}

/// States go to copies, files and the host's memory, and back.
static void testStates() {
  ModelPtr here = load("forms", "cpu"), there = load("forms", device);
  SequencePtr a = create(there), processor = create(here);
  std::vector<float> empty = statesOf(there, a);
  CHECK(empty.size() == 128 && empty[0] == 0 && empty[127] == -1e30f);
  step(a, 's');
  step(processor, 's');
  SequencePtr b = clone(a);
  CHECK(distance(a, b) == 0);
  std::vector<float> logits = step(a, 't');
  CHECK(distance(a, b) > 0.01);
  CHECK(step(b, 't') == logits);
  SequencePtr c = clone(b);
  CHECK(distance(b, c) == 0);
  rwkvrt_sequence *untouched = clone(create(there)).release();
  rwkvrt_sequence_free(untouched);

  // Files of the one are files of the other.
  std::string file = folder + "/device-state";
  CHECK(rwkvrt_sequence_save(c.get(), file.c_str()) == RWKVRT_OK);
  logits = step(c, 'u');
  CHECK(rwkvrt_sequence_load(processor.get(), file.c_str()) == RWKVRT_OK);
  CHECK(areNear(step(processor, 'u'), logits));
  CHECK(rwkvrt_sequence_load(a.get(), file.c_str()) == RWKVRT_OK);
  CHECK(step(a, 'u') == logits);
  CHECK(distance(a, c) == 0);

  // What the caller writes counts.
  auto *s = static_cast<float *>(rwkvrt_sequence_state(a.get(), 0));
  auto *same = static_cast<float *>(rwkvrt_sequence_state(a.get(), 1));
  CHECK(s && same && reinterpret_cast<uintptr_t>(s) % 64 == 0);
  CHECK(rwkvrt_sequence_state(a.get(), 2) == nullptr);
  std::fill_n(s, 64, 2.0f);
  b = clone(a);
  step(a, 'x');
  step(b, 'x');
  CHECK(distance(a, b) == 0);
  s = static_cast<float *>(rwkvrt_sequence_state(a.get(), 0));
  CHECK(s[0] == 2.0f); // 2 / 2 + 1: make_model.py lets "x" stand out
  CHECK(distance(a, c) > 0.1);

  // What is refused changes nothing.
  const float *unused;
  int64_t wrong[] = {1, 2, 300};
  CHECK_FAILS(rwkvrt_sequence_prefill(b.get(), wrong, 3, &unused),
              RWKVRT_INVALID_ARGUMENT, "token 300 at position 2");
  CHECK_FAILS(rwkvrt_sequence_load(b.get(), (folder + "/none").c_str()),
              RWKVRT_IO_ERROR, "/none");
  CHECK(distance(a, b) == 0);
}

/// The file's own signature, and conversions of its states.
static void testGraph() {
  ModelPtr here = load("converting", "cpu"), there = load("converting", device);
  std::vector<float> logits[2], states[2];
  for (const ModelPtr *model : {&here, &there}) {
    bool isDevice = model == &there;
    float s[2][64] = {}, m[2][64], out[256];
    std::fill_n(m[0], 64, -1e30f);
    int64_t token = 'a';
    int32_t count = 0;
    const void *inputs[] = {&token, s[0], m[0]};
    void *outputs[] = {nullptr, s[1], m[1], nullptr}; // two are not wanted
    CHECK(rwkvrt_model_run(model->get(), inputs, outputs) == RWKVRT_OK);
    CHECK(s[0][1] == 0 && m[0][1] == -1e30f);
    token = 'b';
    const void *next[] = {&token, s[1], nullptr}; // in place, two ways
    void *last[] = {out, s[1], m[1], &count};
    CHECK(rwkvrt_model_run(model->get(), next, last) == RWKVRT_OK);
    CHECK(count == 'b');
    logits[isDevice].assign(out, out + 256);

    SequencePtr sequence = create(*model);
    prefill(sequence, makeTokens(3, 4), 3);
    const void *given[] = {s[1], m[1]};
    float back[2][64];
    void *got[] = {back[0], back[1]};
    CHECK(rwkvrt_sequence_unpack(sequence.get(), 1, given) == RWKVRT_OK);
    CHECK(rwkvrt_sequence_pack(sequence.get(), 1, got) == RWKVRT_OK);
    CHECK(std::memcmp(back[0], s[1], sizeof s[1]) == 0);
    CHECK(std::memcmp(back[1], m[1], sizeof m[1]) == 0);
    prefill(sequence, makeTokens(3, 1), 3);
    states[isDevice] = statesOf(*model, sequence);
    for (size_t text : {0, 2}) {
      CHECK(rwkvrt_sequence_pack(sequence.get(), text, got) == RWKVRT_OK);
      CHECK(back[0][3] == states[isDevice][text * 64 + 3]);
    }
    token = 1000;
    CHECK_FAILS(rwkvrt_model_run(model->get(), next, last),
                RWKVRT_INVALID_ARGUMENT, "value 1000 is out of range");
  }
  CHECK(areNear(logits[1], logits[0]));
  CHECK(areNear(states[1], states[0]));
}

/// Sequences, and calls of the graph, on threads of their own.
static void testThreads() {
  ModelPtr model = load("forms", device);
  constexpr int count = 4;
  std::vector<std::vector<float>> expected(count), got(count);
  auto work = [&](int i, std::vector<float> &result) {
    rwkvrt_sequence *sequence = nullptr;
    if (rwkvrt_sequence_create(model.get(), &sequence) != RWKVRT_OK)
      return;
    const float *logits = nullptr;
    float s[64] = {}, m[64] = {}, out[256];
    rwkvrt_status status = RWKVRT_OK;
    for (int step = 0; step < 50 && status == RWKVRT_OK; ++step) {
      int64_t token = (step * 7 + i * 31) % 256;
      const void *inputs[] = {&token, nullptr, nullptr};
      void *outputs[] = {out, s, m, nullptr};
      status = rwkvrt_sequence_step(sequence, token, &logits);
      if (status == RWKVRT_OK)
        status = rwkvrt_model_run(model.get(), inputs, outputs);
    }
    std::vector<int64_t> tokens = makeTokens(1, 40 + i);
    if (status == RWKVRT_OK &&
        rwkvrt_sequence_prefill(sequence, tokens.data(), tokens.size(),
                                &logits) == RWKVRT_OK) {
      result.assign(logits, logits + 256);
      result.insert(result.end(), out, out + 256);
    }
    rwkvrt_sequence_free(sequence);
  };
  for (int i = 0; i < count; ++i)
    work(i, expected[i]);
  std::vector<std::thread> threads;
  for (int i = 0; i < count; ++i)
    threads.emplace_back(work, i, std::ref(got[i]));
  for (std::thread &thread : threads)
    thread.join();
  for (int i = 0; i < count; ++i)
    CHECK(got[i].size() == 512 && got[i] == expected[i]);
  CHECK(expected[0] != expected[1]);
}

int main(int argc, char **argv) {
  if (argc != 3)
    return 2;
  folder = argv[1];
  device = argv[2];
  testForms();
  testStates();
  testGraph();
  testThreads();
  std::printf(failures ? "%d failures\n" : "ok\n", failures);
  return failures != 0;
}
