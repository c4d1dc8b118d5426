//===- api.cpp - Test of the runtime's C API ------------------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// api FOLDER: FOLDER holds the models plain, half, other, retrained, failing,
// extra and huge, and with derived forms forms, texts, scoring, blocks, steps
// and breaking, made by make_model.py. Prints what is wrong; the last line is
// "ok".
//
//===----------------------------------------------------------------------===//

#include "rwkvc-rt/rwkvc-rt.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <mutex>
#include <set>
#include <string>
#include <sys/resource.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
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
  CHECK(rwkvrt_model_num_states(model) == 2);
  CHECK(std::strcmp(rwkvrt_model_state(model, 1)->name, "m_out") == 0);
  CHECK(rwkvrt_model_state(model, 2) == nullptr);
  CHECK(rwkvrt_model_batch(model) == 1);
  CHECK(rwkvrt_model_find_function(model, RWKVRT_GRAPH)->num_states == 2);
  CHECK(rwkvrt_model_find_function(model, RWKVRT_STEP) == nullptr);
  CHECK(rwkvrt_model_find_function(model, RWKVRT_PACK) == nullptr);
  CHECK(rwkvrt_model_find_function(model, 5) == nullptr);
  CHECK(rwkvrt_model_find_function(model, -1) == nullptr);
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
              "token 256 is out of range, expected 0 to 255");
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
              RWKVRT_INVALID_ARGUMENT, "is out of range");

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

/// Texts of their own for each of a model's: \p n tokens each, text by text.
static std::vector<int64_t> makeTokens(size_t batch, size_t n) {
  std::vector<int64_t> tokens(batch * n);
  for (size_t i = 0; i < tokens.size(); ++i)
    tokens[i] = static_cast<int64_t>(i * i * 7 + i * 31) % 256;
  return tokens;
}

/// Sequences of one model on threads of their own do not disturb each other.
static void testSequencesAtOnce(const char *name) {
  rwkvrt_model *model = load(name);
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
    std::vector<int64_t> tokens = makeTokens(1, 100 + i);
    if (rwkvrt_sequence_prefill(sequence, tokens.data(), tokens.size(),
                                &logits) != RWKVRT_OK)
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
  std::set<std::thread::id> threads;
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
            pieces->threads.insert(std::this_thread::get_id());
          },
          &pieces, n);
      std::sort(pieces.all.begin(), pieces.all.end());
      int64_t next = 0;
      for (auto [begin, end] : pieces.all) {
        CHECK(begin == next && end > begin);
        next = end;
      }
      CHECK(next == std::max<int64_t>(n, 0));
      CHECK(static_cast<int>(pieces.threads.size()) <= threads);
      // A loop that one thread runs is no region: those inside may be split.
      CHECK(pieces.threads.size() <= 1 ||
            pieces.nested == static_cast<int>(pieces.all.size()));
    }
  }
  CHECK_FAILS(rwkvrt_set_num_threads(-3), RWKVRT_INVALID_ARGUMENT,
              "-3 threads");
  CHECK(rwkvrt_set_num_threads(0) == RWKVRT_OK);
  CHECK(rwkvrt_get_num_threads() == standard);
}

/// Many short loops, each with the results of the one before; false if an
/// index was left out or taken twice.
static bool runChain(int64_t n, int length) {
  auto body = [](void *context, int64_t begin, int64_t end) {
    auto &values = *static_cast<std::vector<int64_t> *>(context);
    for (; begin < end; ++begin)
      values[begin] = 3 * values[begin] + begin;
  };
  // The loop alone, and two more beside one of a single index and an empty one.
  std::vector<int64_t> values[4] = {std::vector<int64_t>(n),
                                    std::vector<int64_t>(1),
                                    std::vector<int64_t>(2 * n),
                                    {}};
  std::vector<rwkvrt_loop> loops;
  for (std::vector<int64_t> &one : values)
    loops.push_back({body, &one, static_cast<int64_t>(one.size())});
  for (int i = 0; i < length; ++i)
    if (i % 2)
      rwkvrt_parallel_loops(loops.data(), 4);
    else
      for (const rwkvrt_loop &loop : loops)
        rwkvrt_parallel_for(loop.body, loop.ctx, loop.n);
  for (const std::vector<int64_t> &one : values)
    for (size_t index = 0; index < one.size(); ++index) {
      int64_t expected = 0;
      for (int i = 0; i < length; ++i)
        expected = 3 * expected + static_cast<int64_t>(index);
      if (one[index] != expected)
        return false;
    }
  return true;
}

static void testThreadPool() {
  CHECK(rwkvrt_set_num_threads(4) == RWKVRT_OK);
  CHECK(runChain(50, 30));
  for (int i = 0; i < 2000; ++i)
    CHECK(runChain(1 + i % 97, 10));

  // Several threads come in, soon even if the machine has much else to do.
  auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  Pieces pieces;
  while (pieces.threads.size() < 2 && std::chrono::steady_clock::now() < end)
    rwkvrt_parallel_for(
        [](void *context, int64_t, int64_t) {
          std::this_thread::sleep_for(std::chrono::milliseconds(1));
          auto *pieces = static_cast<Pieces *>(context);
          std::lock_guard<std::mutex> guard(pieces->lock);
          pieces->threads.insert(std::this_thread::get_id());
        },
        &pieces, 8);
  CHECK(pieces.threads.size() >= 2);

  // So do several callers.
  std::atomic<int> wrong{0};
  std::vector<std::thread> callers;
  for (int i = 0; i < 3; ++i)
    callers.emplace_back([&] {
      for (int i = 0; i < 300; ++i)
        wrong += !runChain(40, 10);
    });
  for (std::thread &caller : callers)
    caller.join();
  CHECK(wrong == 0);

  // A child of the process makes its own threads.
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0)
    std::exit(runChain(50, 30) ? 0 : 1);
  int status = -1;
  CHECK(waitpid(child, &status, 0) == child && status == 0);
  CHECK(rwkvrt_set_num_threads(0) == RWKVRT_OK);
}

static std::vector<float> prefill(rwkvrt_sequence *sequence,
                                  const std::vector<int64_t> &tokens,
                                  size_t batch) {
  const float *logits = nullptr;
  CHECK(rwkvrt_sequence_prefill(sequence, tokens.data(), tokens.size() / batch,
                                &logits) == RWKVRT_OK);
  return std::vector<float>(logits, logits + 256 * batch);
}

/// Tokens of each text from \p first on.
static std::vector<int64_t> slice(const std::vector<int64_t> &tokens,
                                  size_t batch, size_t first, size_t count) {
  std::vector<int64_t> result;
  for (size_t text = 0; text < batch; ++text) {
    auto begin = tokens.begin() + text * (tokens.size() / batch) + first;
    result.insert(result.end(), begin, begin + count);
  }
  return result;
}

/// Blocks, steps and mixtures give the same, bit by bit in these models.
static void testForms() {
  for (auto [name, batch] : {std::pair<const char *, size_t>{"plain", 1},
                             {"forms", 1},
                             {"texts", 3},
                             {"scoring", 3},
                             {"blocks", 1},
                             {"steps", 1}}) {
    rwkvrt_model *model = load(name);
    CHECK(rwkvrt_model_batch(model) == batch);
    CHECK(rwkvrt_model_vocabulary_size(model) == 256);
    for (size_t n : {1, 2, 3, 7, 8, 9, 16, 17, 65}) {
      std::vector<int64_t> tokens = makeTokens(batch, n);
      rwkvrt_sequence *stepped = create(model);
      std::vector<float> rows(batch * n * 256), logits, got(rows.size());
      for (size_t i = 0; i < n; ++i) {
        logits = prefill(stepped, slice(tokens, batch, i, 1), batch);
        for (size_t text = 0; text < batch; ++text)
          std::copy_n(&logits[text * 256], 256, &rows[(text * n + i) * 256]);
      }
      for (size_t shortest : {0, 1, 5}) {
        rwkvrt_sequence *sequence = create(model);
        CHECK(rwkvrt_sequence_set_shortest_block(sequence, shortest) ==
              RWKVRT_OK);
        CHECK(prefill(sequence, tokens, batch) == logits);
        CHECK(distance(sequence, stepped) == 0);
        CHECK(rwkvrt_sequence_reset(sequence) == RWKVRT_OK);
        CHECK(rwkvrt_sequence_prefill_logits(sequence, tokens.data(), n,
                                             got.data()) == RWKVRT_OK);
        CHECK(got == rows);
        CHECK(distance(sequence, stepped) == 0);
        // In two parts, with a copy and a file between them.
        CHECK(rwkvrt_sequence_reset(sequence) == RWKVRT_OK);
        size_t first = n / 2;
        if (first)
          prefill(sequence, slice(tokens, batch, 0, first), batch);
        rwkvrt_sequence *copy = nullptr, *loaded = create(model);
        std::string file = folder + "/part";
        CHECK(rwkvrt_sequence_clone(sequence, &copy) == RWKVRT_OK);
        CHECK(rwkvrt_sequence_save(sequence, file.c_str()) == RWKVRT_OK);
        CHECK(rwkvrt_sequence_load(loaded, file.c_str()) == RWKVRT_OK);
        for (rwkvrt_sequence *rest : {sequence, copy, loaded}) {
          CHECK(prefill(rest, slice(tokens, batch, first, n - first), batch) ==
                logits);
          CHECK(distance(rest, stepped) == 0);
          rwkvrt_sequence_free(rest);
        }
      }
      rwkvrt_sequence_free(stepped);
    }
    rwkvrt_model_free(model);
  }
}

/// The forms and the file's own signature do not share a state.
static void testFormsAndGraph() {
  rwkvrt_model *forms = load("forms"), *plain = load("plain");
  CHECK(rwkvrt_model_find_function(forms, RWKVRT_PREFILL)->block == 8);
  CHECK(rwkvrt_model_find_input(forms, "s_in") == 1);
  CHECK(rwkvrt_model_find_state(forms, "s_in") == -1);
  CHECK(rwkvrt_model_find_state(forms, "wkv.1") == 1);
  rwkvrt_sequence *a = create(forms), *b = create(plain);
  std::vector<float> expected = feed(b, "same");
  CHECK(feed(a, "same") == expected);
  int64_t token = 's';
  float s[64] = {}, m[64], logits[256];
  std::fill_n(m, 64, -1e30f);
  const void *inputs[] = {&token, nullptr, nullptr};
  void *outputs[] = {logits, s, m, nullptr};
  for (char c : std::string("same")) {
    token = c;
    CHECK(rwkvrt_model_run(forms, inputs, outputs) == RWKVRT_OK);
  }
  CHECK(std::equal(expected.begin(), expected.end(), logits));
  std::string file = folder + "/own";
  CHECK(rwkvrt_sequence_save(b, file.c_str()) == RWKVRT_OK);
  CHECK_FAILS(rwkvrt_sequence_load(a, file.c_str()), RWKVRT_MISMATCH,
              "other states");

  rwkvrt_model *blocks = load("blocks");
  CHECK(rwkvrt_model_find_input(blocks, "token") == -1);
  CHECK_FAILS(rwkvrt_model_run(blocks, inputs, outputs),
              RWKVRT_INVALID_ARGUMENT, "without the file's own signature");
  rwkvrt_sequence_free(a);
  rwkvrt_sequence_free(b);
  for (rwkvrt_model *used : {forms, plain, blocks})
    rwkvrt_model_free(used);
}

/// What is refused leaves the state as it was; what breaks says so.
static void testPrefillErrors() {
  rwkvrt_model *model = load("texts");
  rwkvrt_sequence *a = create(model), *before = nullptr;
  std::vector<int64_t> tokens = makeTokens(3, 20);
  prefill(a, tokens, 3);
  CHECK(rwkvrt_sequence_clone(a, &before) == RWKVRT_OK);
  const float *logits = nullptr;
  tokens[2 * 20 + 18] = 256;
  CHECK_FAILS(rwkvrt_sequence_prefill(a, tokens.data(), 20, &logits),
              RWKVRT_INVALID_ARGUMENT,
              "token 256 at position 18 of text 2 is out of range, expected 0 "
              "to 255");
  tokens[19] = -1;
  std::vector<float> rows(3 * 20 * 256);
  CHECK_FAILS(rwkvrt_sequence_prefill_logits(a, tokens.data(), 20, rows.data()),
              RWKVRT_INVALID_ARGUMENT, "token -1 at position 19 of text 0");
  CHECK_FAILS(rwkvrt_sequence_prefill(a, tokens.data(), 0, &logits),
              RWKVRT_INVALID_ARGUMENT, "0 tokens: expected at least 1");
  CHECK_FAILS(rwkvrt_sequence_prefill(a, tokens.data(), SIZE_MAX / 2, &logits),
              RWKVRT_INVALID_ARGUMENT, "tokens: expected at least 1");
  CHECK_FAILS(rwkvrt_sequence_prefill(a, nullptr, 1, &logits),
              RWKVRT_INVALID_ARGUMENT, "'tokens' is NULL");
  CHECK_FAILS(rwkvrt_sequence_prefill(nullptr, tokens.data(), 1, &logits),
              RWKVRT_INVALID_ARGUMENT, "'sequence' is NULL");
  CHECK_FAILS(rwkvrt_sequence_prefill_logits(a, tokens.data(), 1, nullptr),
              RWKVRT_INVALID_ARGUMENT, "'logits' is NULL");
  CHECK_FAILS(rwkvrt_sequence_step(a, 1, &logits), RWKVRT_INVALID_ARGUMENT,
              "computes 3 texts at once");
  CHECK(distance(a, before) == 0);
  CHECK(rwkvrt_sequence_prefill(a, tokens.data(), 5, nullptr) == RWKVRT_OK);
  rwkvrt_sequence_free(a);
  rwkvrt_sequence_free(before);

  rwkvrt_model *breaking = load("breaking");
  rwkvrt_sequence *b = create(breaking);
  CHECK(rwkvrt_sequence_step(b, 1, &logits) == RWKVRT_OK);
  CHECK_FAILS(rwkvrt_sequence_prefill(b, tokens.data(), 8, &logits),
              RWKVRT_RUN_FAILED, "'recurrence' failed with status 5");
  rwkvrt_sequence_free(b);
  rwkvrt_model_free(model);
  rwkvrt_model_free(breaking);
}

/// The file's states become those of a text and the other way round.
static void testConversions() {
  for (auto [name, text] : {std::pair<const char *, size_t>{"converting", 1},
                            {"converting", 2},
                            {"plain", 0}}) {
    rwkvrt_model *model = load(name);
    size_t batch = rwkvrt_model_batch(model);
    rwkvrt_sequence *a = create(model), *before = nullptr;
    CHECK(rwkvrt_sequence_prefill(a, makeTokens(batch, 5).data(), 5, nullptr) ==
          RWKVRT_OK);
    CHECK(rwkvrt_sequence_clone(a, &before) == RWKVRT_OK);
    alignas(64) float s[64], m[64], s2[64], m2[64];
    for (int i = 0; i < 64; ++i)
      s[i] = static_cast<float>(i), m[i] = static_cast<float>(-i);
    const void *states[] = {s, m};
    void *back[] = {s2, m2};
    CHECK(rwkvrt_sequence_unpack(a, text, states) == RWKVRT_OK);
    for (size_t i = 0; i < batch; ++i) {
      CHECK(rwkvrt_sequence_pack(i == text ? a : before, i, back) == RWKVRT_OK);
      const auto *own =
          static_cast<const float *>(rwkvrt_sequence_state(a, 0)) + 64 * i;
      CHECK(std::memcmp(own, s2, sizeof s2) == 0);
      CHECK((std::memcmp(s, s2, sizeof s) == 0) == (i == text));
      CHECK((std::memcmp(m, m2, sizeof m) == 0) == (i == text));
    }
    CHECK_FAILS(rwkvrt_sequence_unpack(a, batch, states),
                RWKVRT_INVALID_ARGUMENT, "a call converts the states of 1");
    CHECK_FAILS(rwkvrt_sequence_pack(a, SIZE_MAX, back),
                RWKVRT_INVALID_ARGUMENT, "a call converts the states of 1");
    CHECK_FAILS(rwkvrt_sequence_unpack(nullptr, text, states),
                RWKVRT_INVALID_ARGUMENT, "'sequence' is NULL");
    CHECK_FAILS(rwkvrt_sequence_pack(a, text, nullptr), RWKVRT_INVALID_ARGUMENT,
                "'states' is NULL");
    states[1] = nullptr;
    CHECK_FAILS(rwkvrt_sequence_unpack(a, text, states),
                RWKVRT_INVALID_ARGUMENT, "state 'm_in' is NULL");
    back[0] = reinterpret_cast<char *>(s2) + 1;
    CHECK_FAILS(rwkvrt_sequence_pack(a, text, back), RWKVRT_INVALID_ARGUMENT,
                "is not aligned");
    rwkvrt_sequence_free(a);
    rwkvrt_sequence_free(before);
    rwkvrt_model_free(model);
  }
  rwkvrt_model *model = load("forms");
  rwkvrt_sequence *a = create(model);
  const void *states[] = {nullptr, nullptr};
  CHECK_FAILS(rwkvrt_sequence_unpack(a, 0, states), RWKVRT_INVALID_ARGUMENT,
              "has no states of the file's own signature that could be");
  rwkvrt_sequence_free(a);
  rwkvrt_model_free(model);
}

int main(int argc, char **argv) {
  folder = argc > 1 ? argv[1] : ".";
  testNames();
  testSteps();
  testGraphInterface();
  testVariants();
  testStateFiles();
  testSequencesAtOnce("plain");
  testSequencesAtOnce("forms");
  testForms();
  testFormsAndGraph();
  testPrefillErrors();
  testConversions();
  testParallelFor();
  testThreadPool();
  std::printf(failures ? "%d failures\n" : "ok\n", failures);
  return failures != 0;
}
