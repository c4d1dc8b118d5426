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

void rwkvrt::cli::printInfo(const rwkvrt_model *model) {
  const rwkvrt_model_info &info = *rwkvrt_model_get_info(model);
  std::printf("model      %s\n", info.name);
  std::printf("made by    %s\n", info.producer);
  std::printf("target     %s\n", info.target);
  const char *file = rwkvrt_model_weights_path(model);
  if (info.weights_size == 0)
    std::printf("weights    none\n");
  else
    std::printf("weights    %llu bytes, %s\n",
                static_cast<unsigned long long>(info.weights_size),
                file ? file : "embedded");
  std::printf("workspace  %llu bytes a call\n",
              static_cast<unsigned long long>(info.workspace_size));

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
