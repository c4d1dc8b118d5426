//===- Check.cpp - rwkv-run --check ---------------------------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "../ElementTypes.h"
#include "Modes.h"
#include "Npz.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <map>

using namespace rwkvrt;
using namespace rwkvrt::cli;

namespace {
/// One recorded call: tensor name to key in the archive.
struct Run {
  std::string label;
  bool optional = false; ///< recorded for shapes that may not be compiled
  std::map<std::string, std::string> inputs, outputs;
};

struct Comparison {
  double maxError = 0;
  bool passed = true;
  bool argmaxEqual = true; ///< of each row along the last dimension
};
} // namespace

/// The number after \p prefix at \p position, which moves behind it; -1 = none.
static int64_t takeNumber(const std::string &text, size_t &position,
                          const std::string &prefix) {
  if (text.compare(position, prefix.size(), prefix) != 0)
    return -1;
  size_t begin = position + prefix.size(), end = begin;
  while (end < text.size() && text[end] >= '0' && text[end] <= '9')
    ++end;
  if (end == begin || end - begin > 9)
    return -1;
  position = end;
  return std::stoll(text.substr(begin, end - begin));
}

/// The recorded calls in order: run<i>, then batch<B>_seq<T>.
static std::vector<Run> findRuns(const Npz &npz) {
  std::map<std::pair<int64_t, int64_t>, Run> runs; // plain runs: first is -1
  for (const std::string &key : npz.keys()) {
    size_t position = 0;
    int64_t first = -1, second = takeNumber(key, position, "run");
    if (second < 0) {
      first = takeNumber(key, position, "batch");
      second = first < 0 ? -1 : takeNumber(key, position, "_seq");
    }
    if (second < 0)
      continue;
    bool isInput = key.compare(position, 4, "/in/") == 0;
    if (!isInput && key.compare(position, 5, "/out/") != 0)
      continue;
    Run &run = runs[{first, second}];
    run.label = key.substr(0, position);
    run.optional = first >= 0;
    std::string name = key.substr(position + (isInput ? 4 : 5));
    (isInput ? run.inputs : run.outputs)[name] = key;
  }
  std::vector<Run> ordered;
  for (auto &[position, run] : runs)
    ordered.push_back(std::move(run));
  return ordered;
}

/// Equal but for dimensions of one.
static bool haveSameShape(const Array &array,
                          const rwkvrt_tensor_info &tensor) {
  std::vector<int64_t> a, b;
  for (int64_t dim : array.shape)
    if (dim != 1)
      a.push_back(dim);
  for (int32_t i = 0; i < tensor.rank; ++i)
    if (tensor.dims[i] != 1)
      b.push_back(tensor.dims[i]);
  return a == b;
}

static std::string describe(const Array &array) {
  return cli::describe({"", array.dtype,
                        static_cast<int32_t>(array.shape.size()),
                        array.shape.data(), 0});
}

/// One recorded tensor, which must be what the model has.
static Array readTensor(const Npz &npz, const std::string &key,
                        const rwkvrt_tensor_info &tensor) {
  Array array = npz.read(key);
  if (array.dtype != tensor.dtype || !haveSameShape(array, tensor))
    fail("'%s': recorded as %s, the model has %s", key.c_str(),
         describe(array).c_str(), cli::describe(tensor).c_str());
  return array;
}

static size_t argmax(int32_t dtype, const void *data, size_t begin,
                     size_t length) {
  size_t best = 0;
  for (size_t i = 1; i < length; ++i)
    if (loadFloat(dtype, data, begin + i) >
        loadFloat(dtype, data, begin + best))
      best = i;
  return best;
}

static Comparison compare(const rwkvrt_tensor_info &tensor, const void *actual,
                          const void *expected, const Options &options) {
  Comparison result;
  int32_t dtype = tensor.dtype;
  size_t count = rwkvrt_tensor_elements(&tensor);
  for (size_t i = 0; i < count; ++i) {
    if (!isFloat(dtype)) {
      int64_t a = loadInteger(dtype, actual, i);
      int64_t b = loadInteger(dtype, expected, i);
      result.maxError =
          std::max(result.maxError,
                   std::fabs(static_cast<double>(a) - static_cast<double>(b)));
      result.passed &= a == b;
      continue;
    }
    double a = loadFloat(dtype, actual, i), b = loadFloat(dtype, expected, i);
    if (a == b || (std::isnan(a) && std::isnan(b)))
      continue;
    double error = std::fabs(a - b);
    double allowed = options.atol + options.rtol * std::fabs(b);
    // A number against NaN or infinity is never near.
    if (!std::isfinite(a) || !std::isfinite(b))
      error = std::numeric_limits<double>::infinity();
    result.maxError = std::max(result.maxError, error);
    result.passed &= std::isfinite(error) && error <= allowed;
  }
  if (!isFloat(dtype) || count == 0)
    return result;
  size_t row =
      tensor.rank ? static_cast<size_t>(tensor.dims[tensor.rank - 1]) : 1;
  for (size_t begin = 0; begin < count; begin += row)
    result.argmaxEqual &= argmax(dtype, actual, begin, row) ==
                          argmax(dtype, expected, begin, row);
  return result;
}

/// The run's inputs in the model's order; empty if it is to be skipped.
static std::vector<Array> readInputs(const Npz &npz, const Run &run,
                                     const rwkvrt_model *model) {
  const rwkvrt_function_info &info = graphOf(model);
  for (const auto &[name, key] : run.inputs)
    if (rwkvrt_model_find_input(model, name.c_str()) < 0)
      fail("'%s': the model has no input '%s'", key.c_str(), name.c_str());
  std::vector<Array> inputs;
  for (uint32_t i = 0; i < info.num_inputs; ++i) {
    const rwkvrt_tensor_info &tensor = info.inputs[i];
    auto recorded = run.inputs.find(tensor.name);
    if (recorded == run.inputs.end())
      fail("'%s/in/%s' is missing: the model needs this input",
           run.label.c_str(), tensor.name);
    if (run.optional) {
      Array array = npz.read(recorded->second);
      if (!haveSameShape(array, tensor)) {
        std::printf("%s  skipped: '%s' is %s there, the model is compiled for "
                    "%s\n",
                    run.label.c_str(), tensor.name, describe(array).c_str(),
                    cli::describe(tensor).c_str());
        return {};
      }
    }
    inputs.push_back(readTensor(npz, recorded->second, tensor));
  }
  return inputs;
}

bool rwkvrt::cli::check(const rwkvrt_model *model, const Options &options) {
  const rwkvrt_function_info &info = graphOf(model);
  Npz npz(options.checkFile);
  double maxError = 0;
  size_t compared = 0;
  bool passed = true;
  for (const Run &run : findRuns(npz)) {
    for (const auto &[name, key] : run.outputs)
      if (rwkvrt_model_find_output(model, name.c_str()) < 0)
        fail("'%s': the model has no output '%s'", key.c_str(), name.c_str());
    std::vector<Array> inputs = readInputs(npz, run, model);
    if (inputs.size() != info.num_inputs)
      continue;
    if (run.outputs.empty())
      fail("'%s/out/…' is missing: no outputs are recorded for this run",
           run.label.c_str());

    std::vector<const void *> in;
    for (const Array &input : inputs)
      in.push_back(input.data.data());
    // Filled with ones: an output that the model forgets to write shows.
    std::vector<std::string> buffers;
    std::vector<void *> out;
    for (uint32_t i = 0; i < info.num_outputs; ++i)
      buffers.emplace_back(rwkvrt_tensor_bytes(&info.outputs[i]), '\xff');
    for (std::string &buffer : buffers)
      out.push_back(buffer.data());
    require(rwkvrt_model_run(model, in.data(), out.data()));

    for (uint32_t i = 0; i < info.num_outputs; ++i) {
      const rwkvrt_tensor_info &tensor = info.outputs[i];
      auto recorded = run.outputs.find(tensor.name);
      if (recorded == run.outputs.end()) {
        std::printf("%s  %s  not recorded, not compared\n", run.label.c_str(),
                    tensor.name);
        continue;
      }
      Array expected = readTensor(npz, recorded->second, tensor);
      Comparison result =
          compare(tensor, buffers[i].data(), expected.data.data(), options);
      std::printf("%s  %s  max abs error %.3g", run.label.c_str(), tensor.name,
                  result.maxError);
      if (isFloat(tensor.dtype))
        std::printf("  argmax %s", result.argmaxEqual ? "equal" : "differs");
      std::printf("%s\n", result.passed ? "" : "  FAIL");
      maxError = std::max(maxError, result.maxError);
      passed &= result.passed;
      ++compared;
    }
  }
  if (compared == 0)
    fail("%s: no recorded run that fits the model (keys run<i>/in/<name> and "
         "run<i>/out/<name>)",
         options.checkFile.c_str());
  std::printf("max abs error %.3g over %zu outputs: %s\n", maxError, compared,
              passed ? "PASS" : "FAIL");
  return passed;
}
