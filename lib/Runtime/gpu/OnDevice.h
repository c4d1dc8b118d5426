//===- OnDevice.h - Models and sequences on a device ------------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_LIB_RUNTIME_GPU_ONDEVICE_H
#define RWKVC_LIB_RUNTIME_GPU_ONDEVICE_H

#include "Device.h"

#include <mutex>

namespace rwkvrt {
struct Function;
class MappedWeights;
} // namespace rwkvrt

namespace rwkvrt::gpu {

class Call;

/// A model's code on a device, and the weights that it reads.
class DeviceModel {
public:
  /// Copies weights from \p weights, all of the model's; pages of \p mapped are
  /// given back.
  DeviceModel(Choice choice, const rwkvrt_model_info &info, const void *weights,
              const MappedWeights *mapped);
  ~DeviceModel();

  Device &device() const { return *choice.device; }
  const rwkvrt_device_info &code() const { return *choice.code; }
  const rwkvrt_device_function &codeOf(const Function &function) const;
  Address weightsAddress() const { return weights.address(); }

  /// Calls a function with the host's memory; every input and every state has
  /// a buffer. Any number of threads may call at once.
  void call(const Function &function, void *const *inputs,
            void *const *outputs) const;

  const rwkvrt_model_info &info;

private:
  Choice choice;
  Memory weights;
  // As many of a kind as have run at once.
  mutable std::mutex callsLock;
  mutable std::vector<std::unique_ptr<Call>> calls[RWKVRT_PACK + 1];
};

/// A function bound to the memory that it works on.
class BoundFunction {
public:
  /// \p outputs: an address each. \p inputs: those of states are not used.
  BoundFunction(const DeviceModel &model, const Function &function,
                std::vector<Address> inputs, std::vector<Address> outputs);

  /// Makes what replay() needs, unless it is there.
  void record(Queue &queue, bool withLogits);
  void replay(Queue &queue, bool withLogits) const;

private:
  uint64_t resolve(const rwkvrt_argument &argument) const;
  /// Without launches for the logits there is one recording for both.
  std::unique_ptr<Recording> &recordingFor(bool withLogits);

  const DeviceModel &model;
  const rwkvrt_device_function &code;
  Memory workspace;
  std::vector<Address> inputs, outputs;
  bool hasLogitsLaunches = false;
  std::unique_ptr<Recording> recordings[2];
};

/// A sequence's states on a device, and its queue.
class SequenceMemory {
public:
  SequenceMemory(const DeviceModel &model, const Function &holder);

  void upload(const std::vector<Buffer> &from);
  void download(const std::vector<Buffer> &to);
  void copy(const SequenceMemory &from);

  const std::unique_ptr<Queue> queue;
  std::vector<Memory> states;

private:
  const DeviceModel &model;
  std::vector<size_t> sizes;
};

/// A function that feeds tokens to a sequence.
class Form {
public:
  Form(const DeviceModel &model, const Function &function,
       SequenceMemory &sequence);

  // In the host's memory: what run() takes and gives.
  void *tokens() const { return host.data(); }
  int64_t *length() const {
    return reinterpret_cast<int64_t *>(host.data() + lengthOffset);
  }
  void *logits() const { return host.data() + logitsOffset; }

  /// Makes what run() with or without rows needs, unless it is there.
  void record(bool withLogits);
  /// Computes; gets the logits after \p numRows tokens of each text, from
  /// \p firstRow on, or none. A function that gives one row gives it for any.
  void run(size_t firstRow, size_t numRows);

private:
  const DeviceModel &model;
  const Function &function;
  Queue &queue;
  const size_t lengthOffset, logitsOffset;
  HostMemory host;
  Memory arguments; ///< tokens and length, as in the host's memory
  std::vector<Memory> otherOutputs;
  Address logitsAddress = 0;
  std::unique_ptr<BoundFunction> bound;
};

} // namespace rwkvrt::gpu

#endif // RWKVC_LIB_RUNTIME_GPU_ONDEVICE_H
