//===- api.cpp - Test of the runtime's C API ------------------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// api FOLDER: FOLDER holds the models plain, half, other, retrained, failing,
// extra and huge, made by make_model.py. Prints what is wrong; the last line is
// "ok".
//
//===----------------------------------------------------------------------===//

#include "rwkvc-rt/rwkvc-rt.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <mutex>
#include <string>
#include <sys/resource.h>
#include <thread>
#include <utility>
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

static std::string folder;

static rwkvrt_model *load(const char *name) {
  rwkvrt_model *model = nullptr;
  std::string path = folder + "/" + name + "/model.so";
  if (rwkvrt_model_load(path.c_str(), &model) != RWKVRT_OK) {
    std::printf("cannot load: %s\n", rwkvrt_last_error());
    std::exit(1);
  }
  return model;
}

static rwkvrt_sequence *create(const rwkvrt_model *model) {
  rwkvrt_sequence *sequence = nullptr;
  CHECK(rwkvrt_sequence_create(model, &sequence) == RWKVRT_OK);
  return sequence;
}

static std::vector<float> feed(rwkvrt_sequence *sequence,
                               const std::string &text) {
  const float *logits = nullptr;
  for (unsigned char token : text)
    CHECK(rwkvrt_sequence_step(sequence, token, &logits) == RWKVRT_OK);
  return std::vector<float>(logits, logits + 256);
}

static double distance(const rwkvrt_sequence *a, const rwkvrt_sequence *b) {
  double result = -1;
  CHECK(rwkvrt_sequence_compare(a, b, &result) == RWKVRT_OK);
  return result;
}

static std::string contentOf(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

static void write(const std::string &path, const std::string &content) {
  std::ofstream(path, std::ios::binary) << content;
}

static void testNames() {
  rwkvrt_model *model = load("plain");
  CHECK(rwkvrt_model_vocabulary_size(model) == 256);
  CHECK(rwkvrt_model_find_input(model, "m_in") == 2);
  CHECK(rwkvrt_model_find_input(model, "logits") == -1);
  CHECK(rwkvrt_model_find_output(model, "count") == 3);
  CHECK(rwkvrt_model_find_state(model, "s_in") == 0);
  CHECK(rwkvrt_model_find_state(model, "m_out") == 1);
  CHECK(rwkvrt_model_find_state(model, "token") == -1);
  CHECK(rwkvrt_model_get_info(model)->num_states == 2);
  rwkvrt_model_free(model);
}

static void testSteps() {
  rwkvrt_model *model = load("plain");
  rwkvrt_sequence *a = create(model);
  rwkvrt_model_free(model); // the sequence keeps what it needs
  rwkvrt_sequence *b = nullptr;
  feed(a, "some text");
  CHECK(rwkvrt_sequence_clone(a, &b) == RWKVRT_OK);
  CHECK(distance(a, b) == 0);
  std::vector<float> logits = feed(a, "!");
  CHECK(distance(a, b) > 0.01);
  CHECK(feed(b, "!") == logits);
  CHECK(distance(a, b) == 0);
  CHECK(rwkvrt_sequence_reset(a) == RWKVRT_OK);
  auto *m = static_cast<float *>(rwkvrt_sequence_state(a, 1));
  CHECK(m && m[0] == -1e30f && m[63] == -1e30f);
  CHECK(reinterpret_cast<uintptr_t>(m) % 64 == 0);
  CHECK(rwkvrt_sequence_state(a, 2) == nullptr);
  feed(a, "some text!");
  CHECK(distance(a, b) == 0);
  m[5] = NAN;
  CHECK(std::isinf(distance(a, b)));

  const float *unused;
  CHECK_FAILS(rwkvrt_sequence_step(a, 256, &unused), RWKVRT_INVALID_ARGUMENT,
              "'token': value 256");
  CHECK_FAILS(rwkvrt_sequence_step(a, -1, &unused), RWKVRT_INVALID_ARGUMENT,
              "token -1");
  CHECK_FAILS(rwkvrt_sequence_step(nullptr, 1, &unused),
              RWKVRT_INVALID_ARGUMENT, "'sequence' is NULL");
  CHECK(rwkvrt_sequence_step(a, 1, nullptr) == RWKVRT_OK);
  rwkvrt_sequence_free(a);
  rwkvrt_sequence_free(b);
}

static void testGraphInterface() {
  rwkvrt_model *model = load("plain");
  rwkvrt_sequence *sequence = create(model);
  std::vector<float> expected = feed(sequence, "ab");

  alignas(8) float s[2][64] = {}, m[2][64], logits[256];
  std::fill_n(m[0], 64, -1e30f);
  int64_t token = 'a';
  int32_t count = 0;
  const void *inputs[] = {&token, s[0], m[0]};
  void *outputs[] = {nullptr, s[1], m[1], nullptr}; // two are not wanted
  CHECK(rwkvrt_model_run(model, inputs, outputs) == RWKVRT_OK);
  CHECK(s[0][1] == 0 && m[0][1] == -1e30f);
  token = 'b';
  const void *next[] = {&token, s[1], nullptr}; // in place, two ways
  void *last[] = {logits, s[1], m[1], &count};
  CHECK(rwkvrt_model_run(model, next, last) == RWKVRT_OK);
  CHECK(std::equal(expected.begin(), expected.end(), logits));
  CHECK(std::memcmp(s[1], rwkvrt_sequence_state(sequence, 0), sizeof s[1]) ==
        0);
  CHECK(count == 'b');

  const void *noToken[] = {nullptr, s[0], m[0]};
  CHECK_FAILS(rwkvrt_model_run(model, noToken, last), RWKVRT_INVALID_ARGUMENT,
              "input 'token' is NULL");
  void *noState[] = {logits, nullptr, m[1], &count};
  CHECK_FAILS(rwkvrt_model_run(model, inputs, noState), RWKVRT_INVALID_ARGUMENT,
              "output 's_out' is NULL");
  void *odd[] = {reinterpret_cast<char *>(logits) + 1, s[1], m[1], &count};
  CHECK_FAILS(rwkvrt_model_run(model, inputs, odd), RWKVRT_INVALID_ARGUMENT,
              "'logits' is not aligned");
  token = 1000;
  CHECK_FAILS(rwkvrt_model_run(model, inputs, last), RWKVRT_INVALID_ARGUMENT,
              "'token': value 1000 is out of range, expected 0 to 255");
  rwkvrt_sequence_free(sequence);
  rwkvrt_model_free(model);
}

/// Other types of token and logits, a failing function, an input too many, a
/// workspace that no machine has.
static void testVariants() {
  rwkvrt_model *plain = load("plain"), *half = load("half");
  rwkvrt_sequence *a = create(plain), *b = create(half);
  std::vector<float> exact = feed(a, "xyz"), rounded = feed(b, "xyz");
  for (size_t i = 0; i < exact.size(); ++i)
    CHECK(std::fabs(exact[i] - rounded[i]) <= std::fabs(exact[i]) / 2048);
  CHECK(exact != rounded);
  double unused;
  CHECK_FAILS(rwkvrt_sequence_compare(a, b, &unused), RWKVRT_MISMATCH,
              "different models");
  CHECK_FAILS(rwkvrt_sequence_step(b, int64_t(1) << 40, nullptr),
              RWKVRT_INVALID_ARGUMENT, "does not fit");

  rwkvrt_model *failing = load("failing");
  rwkvrt_sequence *c = create(failing);
  CHECK_FAILS(rwkvrt_sequence_step(c, 1, nullptr), RWKVRT_RUN_FAILED,
              "'recurrence' failed with status 7");
  rwkvrt_model *extra = load("extra");
  rwkvrt_sequence *d = create(extra);
  CHECK_FAILS(rwkvrt_sequence_step(d, 1, nullptr), RWKVRT_INVALID_ARGUMENT,
              "neither token nor state: 'temperature'");
  rwkvrt_model *huge = load("huge");
  rwkvrt_sequence *e = create(huge);
  CHECK_FAILS(rwkvrt_sequence_step(e, 1, nullptr), RWKVRT_OUT_OF_MEMORY,
              "out of memory");
  for (rwkvrt_sequence *sequence : {a, b, c, d, e})
    rwkvrt_sequence_free(sequence);
  for (rwkvrt_model *model : {plain, half, failing, extra, huge})
    rwkvrt_model_free(model);
}

static void testStateFiles() {
  rwkvrt_model *model = load("plain"), *other = load("other");
  rwkvrt_model *retrained = load("retrained");
  rwkvrt_sequence *a = create(model), *b = create(model), *c = create(other);
  rwkvrt_sequence *d = create(retrained);
  std::string file = folder + "/state", damaged = folder + "/damaged";
  feed(a, "to be saved");
  CHECK(rwkvrt_sequence_save(a, file.c_str()) == RWKVRT_OK);
  CHECK(rwkvrt_sequence_load(b, file.c_str()) == RWKVRT_OK);
  CHECK(distance(a, b) == 0);
  CHECK_FAILS(rwkvrt_sequence_load(c, file.c_str()), RWKVRT_MISMATCH,
              "other states");
  CHECK_FAILS(rwkvrt_sequence_load(d, file.c_str()), RWKVRT_MISMATCH,
              "other weights");
  CHECK_FAILS(rwkvrt_sequence_load(b, (folder + "/none").c_str()),
              RWKVRT_IO_ERROR, "/none: cannot read the state: No such file");
  CHECK_FAILS(rwkvrt_sequence_load(b, folder.c_str()), RWKVRT_BAD_FILE,
              "not a file");

  std::string content = contentOf(file);
  for (size_t i = 0; i < content.size(); i += 7) {
    std::string changed = content;
    changed[i] ^= 0x10;
    write(damaged, changed);
    CHECK(rwkvrt_sequence_load(b, damaged.c_str()) != RWKVRT_OK);
    write(damaged, content.substr(0, i));
    CHECK_FAILS(rwkvrt_sequence_load(b, damaged.c_str()), RWKVRT_BAD_FILE,
                "damaged");
  }
  write(damaged, content + "x");
  CHECK_FAILS(rwkvrt_sequence_load(b, damaged.c_str()), RWKVRT_BAD_FILE,
              "damaged");
  std::filesystem::remove(damaged);
  CHECK(distance(a, b) == 0);

  // No room: the old file stays, nothing else is left behind.
  feed(a, "more");
  auto countFiles = [&] {
    auto begin = std::filesystem::directory_iterator(folder);
    return std::distance(begin, std::filesystem::directory_iterator());
  };
  auto before = countFiles();
  rlimit old, small;
  getrlimit(RLIMIT_FSIZE, &old);
  small = old;
  small.rlim_cur = 300;
  std::signal(SIGXFSZ, SIG_IGN);
  setrlimit(RLIMIT_FSIZE, &small);
  rwkvrt_status status = rwkvrt_sequence_save(a, file.c_str());
  setrlimit(RLIMIT_FSIZE, &old);
  CHECK(status == RWKVRT_IO_ERROR);
  CHECK(std::strstr(rwkvrt_last_error(), "/state: cannot save the state: "
                                         "File too large"));
  CHECK(countFiles() == before);
  CHECK(contentOf(file) == content);
  CHECK_FAILS(rwkvrt_sequence_save(a, "/dev/null"), RWKVRT_IO_ERROR,
              "not a file");
  CHECK_FAILS(rwkvrt_sequence_save(a, (folder + "/none/state").c_str()),
              RWKVRT_IO_ERROR, "No such file");
  for (rwkvrt_sequence *sequence : {a, b, c, d})
    rwkvrt_sequence_free(sequence);
  for (rwkvrt_model *used : {model, other, retrained})
    rwkvrt_model_free(used);
}

/// Sequences of one model on threads of their own do not disturb each other.
static void testSequencesAtOnce() {
  rwkvrt_model *model = load("plain");
  constexpr int count = 4;
  std::vector<std::vector<float>> expected(count), got(count);
  auto work = [&](int i, std::vector<float> &result) {
    rwkvrt_sequence *sequence = nullptr;
    if (rwkvrt_sequence_create(model, &sequence) != RWKVRT_OK)
      return;
    const float *logits = nullptr;
    for (int step = 0; step < 200; ++step)
      if (rwkvrt_sequence_step(sequence, (step * 7 + i * 31) % 256, &logits) !=
          RWKVRT_OK)
        return;
    result.assign(logits, logits + 256);
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
    CHECK(got[i].size() == 256 && got[i] == expected[i]);
  CHECK(expected[0] != expected[1]);
  rwkvrt_model_free(model);
}

namespace {
struct Pieces {
  std::mutex lock;
  std::vector<std::pair<int64_t, int64_t>> all;
  std::atomic<int> nested{0};
};
} // namespace

static void testParallelFor() {
  int32_t standard = rwkvrt_get_num_threads();
  CHECK(standard >= 1);
  for (int32_t threads : {1, 2, 3, 7}) {
    CHECK(rwkvrt_set_num_threads(threads) == RWKVRT_OK);
    CHECK(rwkvrt_get_num_threads() == threads);
    for (int64_t n : {-1, 0, 1, 2, 3, 6, 7, 8, 100}) {
      Pieces pieces;
      rwkvrt_parallel_for(
          [](void *context, int64_t begin, int64_t end) {
            auto *pieces = static_cast<Pieces *>(context);
            // A loop inside runs as one piece on this thread.
            rwkvrt_parallel_for(
                [](void *context, int64_t begin, int64_t end) {
                  if (begin == 0 && end == 10)
                    ++static_cast<Pieces *>(context)->nested;
                },
                pieces, 10);
            std::lock_guard<std::mutex> guard(pieces->lock);
            pieces->all.emplace_back(begin, end);
          },
          &pieces, n);
      std::sort(pieces.all.begin(), pieces.all.end());
      int64_t next = 0, shortest = n, longest = 0;
      for (auto [begin, end] : pieces.all) {
        CHECK(begin == next && end > begin);
        next = end;
        shortest = std::min(shortest, end - begin);
        longest = std::max(longest, end - begin);
      }
      CHECK(next == std::max<int64_t>(n, 0));
      CHECK(n <= 0 || longest - shortest <= 1);
      CHECK(static_cast<int64_t>(pieces.all.size()) <= threads);
      CHECK(threads == 1 || n <= 1 || pieces.all.size() > 1);
      // A loop of one index is no region, and the inner one may be split.
      CHECK(n == 1 || pieces.nested == static_cast<int>(pieces.all.size()));
    }
  }
  CHECK_FAILS(rwkvrt_set_num_threads(-3), RWKVRT_INVALID_ARGUMENT,
              "-3 threads");
  CHECK(rwkvrt_set_num_threads(0) == RWKVRT_OK);
  CHECK(rwkvrt_get_num_threads() == standard);
}

int main(int argc, char **argv) {
  folder = argc > 1 ? argv[1] : ".";
  testNames();
  testSteps();
  testGraphInterface();
  testVariants();
  testStateFiles();
  testSequencesAtOnce();
  testParallelFor();
  std::printf(failures ? "%d failures\n" : "ok\n", failures);
  return failures != 0;
}
