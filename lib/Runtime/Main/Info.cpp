//===- Info.cpp - rwkv-run --info -----------------------------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Modes.h"

#include <cstdio>

using namespace rwkvrt::cli;

std::string rwkvrt::cli::describe(const rwkvrt_tensor_info &tensor) {
  std::string text = std::string(rwkvrt_dtype_name(tensor.dtype)) + " [";
  for (int32_t i = 0; i < tensor.rank; ++i)
    text += (i ? ", " : "") + std::to_string(tensor.dims[i]);
  return text + "]";
}

std::string rwkvrt::cli::describeMachine(const rwkvrt_model *model) {
  const rwkvrt_level_info *level = rwkvrt_model_level(model);
  if (!level)
    return rwkvrt_model_device(model);
  return std::to_string(rwkvrt_get_num_threads()) + " threads, code for " +
         level->name;
}

const rwkvrt_function_info &rwkvrt::cli::graphOf(const rwkvrt_model *model) {
  if (const auto *graph = rwkvrt_model_find_function(model, RWKVRT_GRAPH))
    return *graph;
  fail("model '%s' was compiled without the file's own signature; compile it "
       "with --forms=original,...",
       rwkvrt_model_get_info(model)->name);
}

static unsigned long long ull(uint64_t number) { return number; }

/// Function \p number of \p model .
static void printFunction(const rwkvrt_model_info &model, uint32_t number) {
  const rwkvrt_function_info &info = model.functions[number];
  if (info.kind == RWKVRT_GRAPH)
    std::printf("  the file's own signature");
  else if (info.kind == RWKVRT_STEP)
    std::printf("  step: one token");
  else if (info.kind == RWKVRT_UNPACK)
    std::printf("  unpack: the file's own states to those of a sequence");
  else if (info.kind == RWKVRT_PACK)
    std::printf("  pack: a sequence's states to the file's own");
  else
    std::printf("  prefill: blocks of %s%lld tokens",
                info.flags & RWKVRT_FUNCTION_SKIPS_PADDING ? "up to " : "",
                static_cast<long long>(info.block));
  bool converts = info.kind == RWKVRT_UNPACK || info.kind == RWKVRT_PACK;
  if (info.batch > 1)
    std::printf(converts ? " of %lld texts" : " of each of %lld texts",
                static_cast<long long>(info.batch));
  if (info.kind == RWKVRT_PREFILL)
    std::printf(", logits of %s", info.outputs[info.logits_output].rank == 3
                                      ? "all tokens"
                                      : "the last one");
  std::printf("; workspace %llu bytes", ull(info.workspace_size));
  for (uint32_t i = 0; i < model.num_devices; ++i)
    std::printf("; %s: %u launches", model.devices[i].name,
                model.devices[i].functions[number].num_launches);
  std::printf("\n");
}

static void printSignature(const rwkvrt_function_info &info) {
  std::printf("inputs     %u\n", info.num_inputs);
  for (uint32_t i = 0; i < info.num_inputs; ++i) {
    const rwkvrt_tensor_info &input = info.inputs[i];
    std::printf("  %s: %s", input.name, describe(input).c_str());
    if (static_cast<int32_t>(i) == info.token_input)
      std::printf(", token");
    if (input.index_limit)
      std::printf(", 0 to %lld", static_cast<long long>(input.index_limit - 1));
    std::printf("\n");
  }
  std::printf("outputs    %u\n", info.num_outputs);
  for (uint32_t i = 0; i < info.num_outputs; ++i)
    std::printf(
        "  %s: %s%s\n", info.outputs[i].name, describe(info.outputs[i]).c_str(),
        static_cast<int32_t>(i) == info.logits_output ? ", logits" : "");
  size_t bytes = 0;
  for (uint32_t i = 0; i < info.num_states; ++i)
    bytes += rwkvrt_tensor_bytes(&info.outputs[info.states[i].output]);
  std::printf("states     %u, %zu bytes\n", info.num_states, bytes);
  for (uint32_t i = 0; i < info.num_states; ++i) {
    const rwkvrt_state_info &state = info.states[i];
    std::printf("  %s -> %s: %s, starts at %g\n", info.inputs[state.input].name,
                info.outputs[state.output].name,
                describe(info.outputs[state.output]).c_str(), state.initial);
  }
}

/// The states that step and prefill share.
static void printSequence(const rwkvrt_model *model) {
  size_t bytes = 0;
  uint32_t count = rwkvrt_model_num_states(model);
  for (uint32_t i = 0; i < count; ++i)
    bytes += rwkvrt_tensor_bytes(rwkvrt_model_state(model, i));
  std::printf("sequence   %u states, %zu bytes\n", count, bytes);
  for (uint32_t i = 0; i < count; ++i) {
    const rwkvrt_tensor_info &state = *rwkvrt_model_state(model, i);
    std::printf("  %s: %s\n", state.name, describe(state).c_str());
  }
}

void rwkvrt::cli::printInfo(const rwkvrt_model *model) {
  const rwkvrt_model_info &info = *rwkvrt_model_get_info(model);
  std::printf("model      %s\n", info.name);
  std::printf("made by    %s\n", info.producer);
  std::printf("target     %s\n", info.target);
  std::printf("code for   ");
  for (uint32_t i = 0; i < info.num_levels; ++i)
    std::printf("%s%s%s", i ? ", " : "", info.levels[i].name,
                &info.levels[i] == rwkvrt_model_level(model) ? " (in use)"
                                                             : "");
  for (uint32_t i = 0; i < info.num_devices; ++i)
    std::printf("%s%s", i || info.num_levels ? ", " : "", info.devices[i].name);
  std::printf("\n");
  std::printf("runs on    %s\n", rwkvrt_model_device(model));
  const char *file = rwkvrt_model_weights_path(model);
  if (info.weights_size == 0)
    std::printf("weights    none\n");
  else
    std::printf("weights    %llu bytes, %s\n", ull(info.weights_size),
                file ? file : "embedded");
  if (info.num_levels && info.num_devices)
    std::printf("  for processors: %llu bytes\n",
                ull(info.levels_weights.size));
  for (uint32_t i = 0; i < info.num_devices; ++i)
    std::printf("  for %s, %u kernels: %llu bytes\n", info.devices[i].name,
                info.devices[i].num_kernels, ull(info.devices[i].weights.size));
  std::printf("functions  %u\n", info.num_functions);
  for (uint32_t i = 0; i < info.num_functions; ++i)
    printFunction(info, i);
  if (const auto *graph = rwkvrt_model_find_function(model, RWKVRT_GRAPH))
    printSignature(*graph);
  if (rwkvrt_model_find_function(model, RWKVRT_STEP) ||
      rwkvrt_model_find_function(model, RWKVRT_PREFILL))
    printSequence(model);
}
