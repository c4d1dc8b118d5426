//===- Modes.h - What rwkv-run can do with a model --------------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_LIB_RUNTIME_MAIN_MODES_H
#define RWKVC_LIB_RUNTIME_MAIN_MODES_H

#include "CommandLine.h"

#include <chrono>
#include <memory>
#include <string>

namespace rwkvrt::cli {

struct FreeModel {
  void operator()(rwkvrt_model *model) const { rwkvrt_model_free(model); }
};
struct FreeSequence {
  void operator()(rwkvrt_sequence *sequence) const {
    rwkvrt_sequence_free(sequence);
  }
};
using ModelPtr = std::unique_ptr<rwkvrt_model, FreeModel>;
using SequencePtr = std::unique_ptr<rwkvrt_sequence, FreeSequence>;

/// A new sequence, with the state that --load-state names.
SequencePtr makeSequence(const rwkvrt_model *model, const Options &options);

/// The function with the file's own signature; the model must have it.
const rwkvrt_function_info &graphOf(const rwkvrt_model *model);

/// What runs the model, "2 threads, code for x86-64-v3" or a device.
std::string describeMachine(const rwkvrt_model *model);

/// Token ids that the model takes are below this.
int64_t tokenLimit(const rwkvrt_model *model);

class Stopwatch {
public:
  double seconds() const {
    return std::chrono::duration<double>(Clock::now() - start).count();
  }

private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point start = Clock::now();
};

/// "float32 [1, 64]"
std::string describe(const rwkvrt_tensor_info &tensor);

void printInfo(const rwkvrt_model *model);
void generate(const rwkvrt_model *model, const Options &options,
              double loadSeconds);
void benchmark(const rwkvrt_model *model, const Options &options,
               double loadSeconds);
/// Whether blocks of tokens give what single tokens give.
bool checkForms(const rwkvrt_model *model, const Options &options);
/// Whether all outputs agree.
bool check(const rwkvrt_model *model, const Options &options);

} // namespace rwkvrt::cli

#endif // RWKVC_LIB_RUNTIME_MAIN_MODES_H
