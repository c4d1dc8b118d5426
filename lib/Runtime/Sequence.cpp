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

using namespace rwkvrt;

rwkvrt_sequence::rwkvrt_sequence(ModelRef modelRef)
    : model(std::move(modelRef)), inputs(model->info.num_inputs),
      outputs(model->info.num_outputs) {
  const rwkvrt_model_info &info = model->info;
  for (uint32_t i = 0; i < info.num_states; ++i) {
    states.push_back(allocateBuffer(stateBytes(i)));
    outputs[info.states[i].output] = states.back().get();
  }
  reset();
}

size_t rwkvrt_sequence::stateBytes(uint32_t state) const {
  return rwkvrt_tensor_bytes(&model->stateTensor(state));
}

void rwkvrt_sequence::reset() {
  for (uint32_t i = 0; i < model->info.num_states; ++i) {
    double initial = model->info.states[i].initial;
    if (initial == 0) {
      std::memset(states[i].get(), 0, stateBytes(i));
      continue;
    }
    const rwkvrt_tensor_info &tensor = model->stateTensor(i);
    size_t count = countElements(tensor);
    for (size_t k = 0; k < count; ++k)
      storeFloat(tensor.dtype, states[i].get(), k, initial);
  }
}

/// Throws unless the model takes one token and the states, and gives logits.
static void requireStep(const Model &model) {
  const rwkvrt_model_info &info = model.info;
  if (info.token_input < 0)
    fail(RWKVRT_INVALID_ARGUMENT,
         "model '%s': which input takes the token is not known", info.name);
  if (info.logits_output < 0)
    fail(RWKVRT_INVALID_ARGUMENT,
         "model '%s': which output holds the logits is not known", info.name);
  const rwkvrt_tensor_info &token = info.inputs[info.token_input];
  if (countElements(token) != 1)
    fail(RWKVRT_INVALID_ARGUMENT,
         "model '%s' takes %zu tokens at once in '%s', not one", info.name,
         countElements(token), token.name);
  std::string others;
  for (int32_t i = 0; i < static_cast<int32_t>(info.num_inputs); ++i)
    if (i != info.token_input && model.stateOfInput[i] < 0)
      others += (others.empty() ? "'" : ", '") +
                std::string(info.inputs[i].name) + "'";
  if (!others.empty())
    fail(RWKVRT_INVALID_ARGUMENT,
         "model '%s' has inputs that are neither token nor state: %s",
         info.name, others.c_str());
}

/// Buffers that only stepping needs; made once.
static void prepareStep(rwkvrt_sequence &sequence) {
  if (sequence.token)
    return;
  const rwkvrt_model_info &info = sequence.model->info;
  requireStep(*sequence.model);
  sequence.otherOutputs.clear(); // left over if memory ran out here before
  for (uint32_t i = 0; i < info.num_outputs; ++i) {
    if (sequence.model->stateOfOutput[i] >= 0)
      continue;
    sequence.otherOutputs.push_back(
        allocateBuffer(rwkvrt_tensor_bytes(&info.outputs[i])));
    sequence.outputs[i] = sequence.otherOutputs.back().get();
  }
  const rwkvrt_tensor_info &logits = info.outputs[info.logits_output];
  if (logits.dtype != RWKVRT_F32)
    sequence.logits.resize(countElements(logits));
  sequence.token = allocateBuffer(sizeof(int64_t));
  sequence.inputs[info.token_input] = sequence.token.get();
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
    for (uint32_t i = 0; i < made->model->info.num_states; ++i)
      std::memcpy(made->states[i].get(), sequence->states[i].get(),
                  made->stateBytes(i));
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
    prepareStep(*sequence);
    const rwkvrt_model_info &info = sequence->model->info;
    const rwkvrt_tensor_info &input = info.inputs[info.token_input];
    if (token < 0 ||
        !storeInteger(input.dtype, sequence->token.get(), 0, token))
      fail(RWKVRT_INVALID_ARGUMENT, "token %lld does not fit input '%s' (%s)",
           static_cast<long long>(token), input.name,
           rwkvrt_dtype_name(input.dtype));
    sequence->model->call(sequence->inputs.data(), sequence->outputs.data());
    if (!logits)
      return;
    const rwkvrt_tensor_info &output = info.outputs[info.logits_output];
    const void *data = sequence->outputs[info.logits_output];
    if (output.dtype == RWKVRT_F32) {
      *logits = static_cast<const float *>(data);
      return;
    }
    for (size_t i = 0; i < sequence->logits.size(); ++i)
      sequence->logits[i] =
          static_cast<float>(loadFloat(output.dtype, data, i));
    *logits = sequence->logits.data();
  });
}

void *rwkvrt_sequence_state(rwkvrt_sequence *sequence, uint32_t state) {
  return sequence && state < sequence->states.size()
             ? sequence->states[state].get()
             : nullptr;
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
    double largest = 0;
    for (uint32_t i = 0; i < a->model->info.num_states; ++i) {
      const rwkvrt_tensor_info &tensor = a->model->stateTensor(i);
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
