//===- OnDevice.cpp - Models and sequences on a device --------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "OnDevice.h"

#include "../Model.h"

#include <algorithm>

using namespace rwkvrt;
using namespace rwkvrt::gpu;

static size_t bytesOf(const rwkvrt_tensor_info &tensor) {
  return rwkvrt_tensor_bytes(&tensor);
}

/// Runs \p work, which uses \p queue, and waits. If it fails, with \p status,
/// nothing is left running on memory that may be freed next.
template <typename Work>
static void onQueue(const rwkvrt_model_info &info, Queue &queue,
                    rwkvrt_status status, Work &&work) {
  try {
    work();
    queue.finish();
  } catch (Error &error) {
    queue.abandon();
    error.status = status;
    error.message =
        "model '" + std::string(info.name) + "' on " + error.message;
    throw;
  } catch (...) {
    queue.abandon();
    throw;
  }
}

namespace rwkvrt::gpu {
/// A function with memory of its own for all inputs and outputs.
class Call {
public:
  Call(const DeviceModel &model, const Function &function)
      : model(model), function(function), queue(model.device().makeQueue()) {
    const rwkvrt_function_info &info = function.info;
    std::vector<Address> inputs(info.num_inputs), outputs(info.num_outputs);
    auto place = [&](const rwkvrt_tensor_info &tensor) {
      memory.emplace_back(model.device(), bytesOf(tensor));
      return memory.back().address();
    };
    for (uint32_t i = 0; i < info.num_inputs; ++i)
      if (function.stateOfInput[i] < 0)
        inputs[i] = place(info.inputs[i]);
    for (uint32_t i = 0; i < info.num_outputs; ++i)
      outputs[i] = place(info.outputs[i]);
    inputAddresses = inputs;
    outputAddresses = outputs;
    bound = std::make_unique<BoundFunction>(model, function, std::move(inputs),
                                            std::move(outputs));
  }

  void run(void *const *inputs, void *const *outputs) {
    const rwkvrt_function_info &info = function.info;
    bool withLogits =
        info.logits_output < 0 || outputs[info.logits_output] != nullptr;
    bound->record(*queue, withLogits);
    onQueue(model.info, *queue, RWKVRT_RUN_FAILED, [&] {
      for (uint32_t i = 0; i < info.num_inputs; ++i)
        if (function.stateOfInput[i] < 0)
          queue->upload(inputAddresses[i], inputs[i], bytesOf(info.inputs[i]));
      for (uint32_t i = 0; i < info.num_outputs; ++i)
        if (function.stateOfOutput[i] >= 0)
          queue->upload(outputAddresses[i], outputs[i],
                        bytesOf(info.outputs[i]));
      bound->replay(*queue, withLogits);
      for (uint32_t i = 0; i < info.num_outputs; ++i)
        if (outputs[i])
          queue->download(outputs[i], outputAddresses[i],
                          bytesOf(info.outputs[i]));
    });
  }

private:
  const DeviceModel &model;
  const Function &function;
  std::unique_ptr<Queue> queue;
  std::vector<Memory> memory;
  std::vector<Address> inputAddresses, outputAddresses;
  std::unique_ptr<BoundFunction> bound;
};
} // namespace rwkvrt::gpu

DeviceModel::DeviceModel(Choice chosen, const rwkvrt_model_info &info,
                         const void *source, const MappedWeights *mapped)
    : info(info), choice(std::move(chosen)),
      weights(*choice.device, code().weights.size) {
  // Pieces, so that the weights are not twice in the host's memory.
  constexpr uint64_t pieceSize = 64 << 20;
  std::unique_ptr<Queue> queue = device().makeQueue();
  const auto *begin =
      static_cast<const std::byte *>(source) + code().weights.offset;
  for (uint64_t done = 0; done < code().weights.size; done += pieceSize) {
    const auto *piece = begin + done;
    size_t size = std::min(pieceSize, code().weights.size - done);
    onQueue(info, *queue, RWKVRT_IO_ERROR,
            [&] { queue->upload(weights.address() + done, piece, size); });
    if (mapped)
      mapped->giveBack(piece, size);
  }
}

DeviceModel::~DeviceModel() = default;

const rwkvrt_device_function &
DeviceModel::codeOf(const Function &function) const {
  return choice.code->functions[&function.info - info.functions];
}

void DeviceModel::call(const Function &function, void *const *inputs,
                       void *const *outputs) const {
  std::vector<std::unique_ptr<Call>> &idle = calls[function.info.kind];
  std::unique_ptr<Call> call;
  {
    std::lock_guard<std::mutex> lock(callsLock);
    if (!idle.empty()) {
      call = std::move(idle.back());
      idle.pop_back();
    }
  }
  if (!call)
    call = std::make_unique<Call>(*this, function);
  call->run(inputs, outputs);
  std::lock_guard<std::mutex> lock(callsLock);
  idle.push_back(std::move(call));
}

BoundFunction::BoundFunction(const DeviceModel &model, const Function &function,
                             std::vector<Address> inputAddresses,
                             std::vector<Address> outputAddresses)
    : model(model), code(model.codeOf(function)),
      workspace(model.device(), code.workspace_size),
      inputs(std::move(inputAddresses)), outputs(std::move(outputAddresses)) {
  for (const rwkvrt_state_info *state = function.info.states,
                               *end = state + function.info.num_states;
       state != end; ++state)
    inputs[state->input] = outputs[state->output];
  for (uint32_t i = 0; i < code.num_launches; ++i)
    hasLogitsLaunches |= code.launches[i].flags & RWKVRT_LAUNCH_FOR_LOGITS;
}

uint64_t BoundFunction::resolve(const rwkvrt_argument &argument) const {
  switch (argument.kind) {
  case RWKVRT_ARG_WEIGHTS:
    return model.weightsAddress() +
           (argument.value - model.code().weights.offset);
  case RWKVRT_ARG_WORKSPACE:
    return workspace.address() + argument.value;
  case RWKVRT_ARG_INPUT:
    return inputs[argument.index] + argument.value;
  case RWKVRT_ARG_OUTPUT:
    return outputs[argument.index] + argument.value;
  default:
    return argument.value;
  }
}

std::unique_ptr<Recording> &BoundFunction::recordingFor(bool withLogits) {
  return recordings[withLogits || !hasLogitsLaunches];
}

void BoundFunction::record(Queue &queue, bool withLogits) {
  std::unique_ptr<Recording> &recording = recordingFor(withLogits);
  if (recording)
    return;
  std::vector<Launch> launches;
  for (uint32_t i = 0; i < code.num_launches; ++i) {
    const rwkvrt_launch &launch = code.launches[i];
    if (!withLogits && (launch.flags & RWKVRT_LAUNCH_FOR_LOGITS))
      continue;
    Launch bound{launch.kernel, launch.groups, {}};
    uint32_t count = model.code().kernels[launch.kernel].num_arguments;
    for (uint32_t k = 0; k < count; ++k)
      bound.arguments.push_back({launch.arguments[k].kind != RWKVRT_ARG_NUMBER,
                                 resolve(launch.arguments[k])});
    launches.push_back(std::move(bound));
  }
  recording = queue.record(launches);
}

void BoundFunction::replay(Queue &queue, bool withLogits) const {
  queue.replay(*recordings[withLogits || !hasLogitsLaunches]);
}

SequenceMemory::SequenceMemory(const DeviceModel &model, const Function &holder)
    : queue(model.device().makeQueue()), model(model) {
  for (uint32_t i = 0; i < holder.info.num_states; ++i) {
    sizes.push_back(bytesOf(holder.stateTensor(i)));
    states.emplace_back(model.device(), sizes.back());
  }
}

void SequenceMemory::upload(const std::vector<Buffer> &from) {
  onQueue(model.info, *queue, RWKVRT_RUN_FAILED, [&] {
    for (size_t i = 0; i < states.size(); ++i)
      queue->upload(states[i].address(), from[i].get(), sizes[i]);
  });
}

void SequenceMemory::download(const std::vector<Buffer> &to) {
  onQueue(model.info, *queue, RWKVRT_RUN_FAILED, [&] {
    for (size_t i = 0; i < states.size(); ++i)
      queue->download(to[i].get(), states[i].address(), sizes[i]);
  });
}

void SequenceMemory::copy(const SequenceMemory &from) {
  onQueue(model.info, *queue, RWKVRT_RUN_FAILED, [&] {
    for (size_t i = 0; i < states.size(); ++i)
      queue->copy(states[i].address(), from.states[i].address(), sizes[i]);
  });
}

Form::Form(const DeviceModel &model, const Function &function,
           SequenceMemory &sequence)
    : model(model), function(function), queue(*sequence.queue),
      lengthOffset(alignedSize(bytesOf(function.tokens()))),
      logitsOffset(lengthOffset + alignment),
      host(model.device(), logitsOffset + bytesOf(function.logits())),
      arguments(model.device(), logitsOffset) {
  const rwkvrt_function_info &info = function.info;
  std::vector<Address> inputs(info.num_inputs), outputs(info.num_outputs);
  inputs[info.token_input] = arguments.address();
  if (info.length_input >= 0)
    inputs[info.length_input] = arguments.address() + lengthOffset;
  for (uint32_t i = 0; i < info.num_outputs; ++i) {
    int32_t state = function.stateOfOutput[i];
    if (state < 0)
      otherOutputs.emplace_back(model.device(), bytesOf(info.outputs[i]));
    outputs[i] = state < 0 ? otherOutputs.back().address()
                           : sequence.states[state].address();
  }
  logitsAddress = outputs[info.logits_output];
  bound = std::make_unique<BoundFunction>(model, function, std::move(inputs),
                                          std::move(outputs));
}

void Form::record(bool withLogits) { bound->record(queue, withLogits); }

void Form::run(size_t firstRow, size_t numRows) {
  onQueue(model.info, queue, RWKVRT_RUN_FAILED, [&] {
    queue.upload(arguments.address(), host.data(), logitsOffset);
    bound->replay(queue, numRows > 0);
    if (numRows == 0)
      return;
    const rwkvrt_tensor_info &tensor = function.logits();
    auto get = [&](size_t offset, size_t size) {
      queue.download(host.data() + logitsOffset + offset,
                     logitsAddress + offset, size);
    };
    if (!function.givesAllLogits())
      return get(0, bytesOf(tensor));
    size_t text = bytesOf(tensor) / function.batch();
    size_t row = text / function.block();
    for (size_t i = 0; i < function.batch(); ++i)
      get(i * text + firstRow * row, numRows * row);
  });
}
