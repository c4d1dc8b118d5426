//===- driver-failures.cpp - Test of drivers that fail --------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// driver-failures FOLDER DEVICE DRIVER [STEP]: FOLDER holds the model
// converting of make_model.py, DRIVER is the library of fake-driver.cpp or of
// failing-opencl.cpp. Each of the calls that a program's work makes of the
// driver fails once, or with a STEP every so many of them. Prints what is
// wrong; the last line is "ok".
//
//===----------------------------------------------------------------------===//

#include "rwkvc-rt/rwkvc-rt.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <map>
#include <set>
#include <string>
#include <vector>

static int failures = 0;

#define CHECK(condition)                                                       \
  do {                                                                         \
    if (!(condition)) {                                                        \
      std::printf("line %d: %s is false (%s); last error: %s\n", __LINE__,     \
                  #condition, context.c_str(), rwkvrt_last_error());           \
      ++failures;                                                              \
    }                                                                          \
  } while (false)

static std::string context; ///< what is being tried, for messages
static std::string model, state;
static const char *device;
static int stepSize = 1;

static void (*fakeFail)(int call, int error);
static const char *(*fakeFailed)();
static int (*fakeLive)();
static const char *(*fakeMisuse)();
static void (*fakeMemory)(size_t);
static void (*fakeBreak)();

namespace {
/// An error of a driver, and what messages say of it.
struct Failure {
  int number;
  const char *text;
};
} // namespace

namespace {
/// What the calls of one run report.
struct Report {
  std::vector<rwkvrt_status> failed;
  std::string message;

  /// Whether the call succeeded.
  bool note(rwkvrt_status status) {
    if (status == RWKVRT_OK)
      return true;
    failed.push_back(status);
    message = rwkvrt_last_error();
    return false;
  }
};
} // namespace

/// Uses a sequence in all ways. After a failure the program takes a fresh start
/// with it, which must work.
static void useSequence(rwkvrt_sequence *sequence, Report &report,
                        std::vector<float> &results) {
  std::vector<int64_t> tokens = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10,
                                 1, 2, 3, 4, 5, 6, 7, 8, 9, 10,
                                 1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
  const float *logits = nullptr;
  float s[64], m[64];
  void *out[] = {s, m};
  const void *in[] = {s, m};
  rwkvrt_sequence *copy = nullptr;
  auto feed = [&](rwkvrt_sequence *fed) {
    return report.note(
        rwkvrt_sequence_prefill(fed, tokens.data(), 10, &logits));
  };
  bool worked = feed(sequence) && rwkvrt_sequence_state(sequence, 0) &&
                report.note(rwkvrt_sequence_prefill(sequence, tokens.data(), 1,
                                                    nullptr)) &&
                report.note(rwkvrt_sequence_save(sequence, state.c_str())) &&
                feed(sequence) &&
                report.note(rwkvrt_sequence_clone(sequence, &copy)) &&
                report.note(rwkvrt_sequence_pack(sequence, 1, out)) &&
                report.note(rwkvrt_sequence_unpack(sequence, 0, in)) &&
                report.note(rwkvrt_sequence_load(sequence, state.c_str())) &&
                feed(sequence) && feed(copy);
  // A state that cannot be had is no status, but a message.
  if (!worked && report.failed.empty())
    report.note(RWKVRT_RUN_FAILED);
  if (worked)
    results.assign(logits, logits + 3 * 256);
  rwkvrt_sequence_free(copy);
  if (!worked) {
    CHECK(rwkvrt_sequence_reset(sequence) == RWKVRT_OK);
    CHECK(rwkvrt_sequence_prefill(sequence, tokens.data(), 10, &logits) ==
          RWKVRT_OK);
  }
}

/// A program's work with a model.
static Report work(std::vector<float> &results) {
  Report report;
  rwkvrt_model *loaded = nullptr;
  if (!report.note(rwkvrt_model_load_on(model.c_str(), device, &loaded))) {
    CHECK(!loaded);
    return report;
  }
  rwkvrt_sequence *sequence = nullptr;
  if (report.note(rwkvrt_sequence_create(loaded, &sequence)))
    useSequence(sequence, report, results);
  rwkvrt_sequence_free(sequence);
  int64_t token = 5;
  float s[64] = {}, m[64] = {}, logits[256];
  const void *inputs[] = {&token, nullptr, nullptr};
  void *outputs[] = {logits, s, m, nullptr};
  for (void *wanted :
       {static_cast<void *>(logits), static_cast<void *>(nullptr)}) {
    outputs[0] = wanted;
    if (!report.note(rwkvrt_model_run(loaded, inputs, outputs)))
      CHECK(rwkvrt_model_run(loaded, inputs, outputs) == RWKVRT_OK);
  }
  rwkvrt_model_free(loaded);
  return report;
}

/// Lets calls of the driver fail, one in each run.
static void testFailures(Failure failure, const std::vector<float> &expected) {
  std::map<std::string, std::set<rwkvrt_status>> statuses;
  // Opening a device takes calls that come but once.
  for (int call = 1;; call += call < 40 ? 1 : stepSize) {
    fakeFail(call, failure.number);
    std::vector<float> results;
    context = "call " + std::to_string(call);
    Report report = work(results);
    std::string failed = fakeFailed();
    context += " " + failed;
    CHECK(fakeLive() == 0);
    CHECK(std::strcmp(fakeMisuse(), "") == 0);
    if (failed.empty()) {
      CHECK(report.failed.empty() && results == expected);
      CHECK(call > 50);
      break;
    }
    // Not all answers are needed, and if one device does not tell what it is
    // there may be another.
    bool isQuestion = false;
    for (const char *part :
         {"GetName", "GetAttribute", "GetDeviceProperties", "Info"})
      isQuestion |= failed.find(part) != std::string::npos;
    CHECK(report.failed.size() == 1 || (isQuestion && report.failed.empty()));
    if (report.failed.empty())
      continue;
    CHECK(isQuestion ||
          report.message.find(failure.text) != std::string::npos ||
          report.message.find("bytes of memory") != std::string::npos ||
          report.message.find("the driver has no") != std::string::npos);
    CHECK(report.message.find(std::string(device) + ":") != std::string::npos ||
          report.failed[0] == RWKVRT_MISMATCH);
    statuses[failed].insert(report.failed[0]);
    if (failures > 20)
      return;
  }
  fakeFail(0, 0);
  for (const auto &[name, found] : statuses) {
    std::printf("%s:", name.c_str());
    for (rwkvrt_status status : found)
      std::printf(" %s;", rwkvrt_status_name(status));
    std::printf("\n");
  }
}

/// Too little memory for one thing after the other.
static void testMemory(const std::vector<float> &expected) {
  bool worked = false;
  int count = 0;
  for (size_t size = 0; size < 200000; size += 1000) {
    fakeMemory(size);
    std::vector<float> results;
    context = std::to_string(size) + " bytes";
    // What it can do with less after a failure is not of interest.
    rwkvrt_model *loaded = nullptr;
    rwkvrt_sequence *sequence = nullptr;
    std::vector<int64_t> tokens(30);
    const float *logits = nullptr;
    rwkvrt_status status = rwkvrt_model_load_on(model.c_str(), device, &loaded);
    if (status == RWKVRT_OK)
      status = rwkvrt_sequence_create(loaded, &sequence);
    if (status == RWKVRT_OK)
      status = rwkvrt_sequence_prefill(sequence, tokens.data(), 10, &logits);
    CHECK(status == RWKVRT_OK || status == RWKVRT_OUT_OF_MEMORY);
    if (status != RWKVRT_OK)
      CHECK(std::strstr(rwkvrt_last_error(), "bytes of memory: "));
    CHECK(status != RWKVRT_OK || logits);
    CHECK(!worked || status == RWKVRT_OK);
    worked = status == RWKVRT_OK;
    count += !worked;
    rwkvrt_sequence_free(sequence);
    rwkvrt_model_free(loaded);
    CHECK(fakeLive() == 0);
  }
  CHECK(worked && count > 64);
  fakeMemory(size_t(1) << 30);
  std::vector<float> results;
  CHECK(work(results).failed.empty() && results == expected);
}

/// A kernel broke off: CUDA refuses everything in the context from then on.
static void testBrokenContext(const std::vector<float> &expected) {
  context = "broken context";
  rwkvrt_model *loaded = nullptr;
  rwkvrt_sequence *sequence = nullptr, *copy = nullptr;
  std::vector<int64_t> tokens(30);
  const float *logits = nullptr;
  CHECK(rwkvrt_model_load_on(model.c_str(), device, &loaded) == RWKVRT_OK);
  CHECK(rwkvrt_sequence_create(loaded, &sequence) == RWKVRT_OK);
  CHECK(rwkvrt_sequence_prefill(sequence, tokens.data(), 10, &logits) ==
        RWKVRT_OK);
  fakeBreak();
  for (int i = 0; i < 2; ++i)
    CHECK(rwkvrt_sequence_prefill(sequence, tokens.data(), 10, &logits) ==
          RWKVRT_RUN_FAILED);
  CHECK(!rwkvrt_sequence_state(sequence, 0));
  CHECK(std::strstr(rwkvrt_last_error(), "cannot copy"));
  CHECK(rwkvrt_sequence_clone(sequence, &copy) != RWKVRT_OK && !copy);
  CHECK(rwkvrt_sequence_reset(sequence) == RWKVRT_OK);
  CHECK(rwkvrt_sequence_prefill(sequence, tokens.data(), 10, &logits) ==
        RWKVRT_RUN_FAILED);
  rwkvrt_sequence_free(sequence);
  rwkvrt_model_free(loaded);
  CHECK(fakeLive() == 0);
  std::vector<float> results;
  CHECK(work(results).failed.empty() && results == expected);
}

int main(int argc, char **argv) {
  if (argc < 4)
    return 2;
  model = std::string(argv[1]) + "/converting/model.so";
  state = std::string(argv[1]) + "/failing-state";
  device = argv[2];
  void *driver = dlopen(argv[3], RTLD_NOW);
  if (!driver) {
    std::printf("%s\n", dlerror());
    return 1;
  }
  if (argc > 4)
    stepSize = std::atoi(argv[4]);
  auto set = [&](auto &function, const char *name) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(
        dlsym(driver, name));
  };
  set(fakeFail, "fake_fail");
  set(fakeFailed, "fake_failed");
  set(fakeLive, "fake_live");
  set(fakeMisuse, "fake_misuse");
  set(fakeMemory, "fake_memory");
  set(fakeBreak, "fake_break");
  std::vector<float> expected;
  context = "no failure";
  Report report = work(expected);
  CHECK(report.failed.empty() && expected.size() == 3 * 256);
  if (std::strcmp(device, "opencl") == 0) {
    testFailures({-5, "CL_OUT_OF_RESOURCES"}, expected);
  } else {
    testFailures({719, "made to fail"}, expected);
    testFailures({2, "made to fail"}, expected);
    testMemory(expected);
  }
  if (std::strcmp(device, "cuda") == 0)
    testBrokenContext(expected);
  std::printf(failures ? "%d failures\n" : "ok\n", failures);
  return failures != 0;
}
