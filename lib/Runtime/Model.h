//===- Model.h - Loaded models and sequences --------------------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_LIB_RUNTIME_MODEL_H
#define RWKVC_LIB_RUNTIME_MODEL_H

#include "Support.h"
#include "gpu/OnDevice.h"

#include <mutex>
#include <vector>

namespace rwkvrt {

/// A shared library that holds a model; closed at the end.
class Library {
public:
  Library() = default;
  /// Opens \p path, a file name. Refuses what the dynamic loader would crash
  /// on.
  explicit Library(const std::string &path);
  Library(Library &&other) noexcept
      : handle(std::exchange(other.handle, nullptr)) {}
  Library &operator=(Library &&other) noexcept {
    std::swap(handle, other.handle);
    return *this;
  }
  ~Library();

  /// The model description that the library exports.
  const rwkvrt_model_info &getModelInfo(const std::string &path) const;

  /// A function of this library or of one that it needs; in a program that
  /// holds its model, of the program's. Null if there is none.
  void *findFunction(const char *name) const;

private:
  void *handle = nullptr;
};

/// A weights file, mapped; unmapped at the end.
class MappedWeights {
public:
  /// Maps the file that belongs to \p info from \p folder.
  MappedWeights(const rwkvrt_model_info &info, const std::string &folder);
  MappedWeights(const MappedWeights &) = delete;
  MappedWeights &operator=(const MappedWeights &) = delete;
  ~MappedWeights();

  /// Tells the system that these bytes are not needed for now.
  void giveBack(const void *from, size_t size) const;

  std::string path;
  const void *data = nullptr; ///< the data section

private:
  MappedWeights() = default;
  void *mapping = nullptr;
  size_t mappedSize = 0;
};

/// Throws unless \p info can be used safely. \p origin names it in messages.
void checkModelInfo(const rwkvrt_model_info &info, const std::string &origin);

/// The level of a checked model to run: the last that this processor can, or
/// that of RWKVC_ISA. Throws if it can run none of those that there are.
const rwkvrt_level_info &chooseLevel(const rwkvrt_model_info &info,
                                     const std::string &origin);

/// Elements of \p tensor; throws if there are too many to address.
size_t countElements(const rwkvrt_tensor_info &tensor);

/// Throws unless \p pointer can be data of \p tensor, a \p kind in messages.
void checkPointer(const void *pointer, const rwkvrt_tensor_info &tensor,
                  const char *kind);

/// A function of a model, and what its tables say the other way round.
struct Function {
  explicit Function(const rwkvrt_function_info &info);

  /// Texts of one call and most tokens of each. The file's own graph, where it
  /// can be stepped at all, takes one token.
  size_t batch() const;
  size_t block() const;
  /// Whether logits come for every token of a block, not for the last alone.
  bool givesAllLogits() const;
  const rwkvrt_tensor_info &tokens() const {
    return info.inputs[info.token_input];
  }
  const rwkvrt_tensor_info &logits() const {
    return info.outputs[info.logits_output];
  }
  const rwkvrt_tensor_info &stateTensor(uint32_t state) const {
    return info.outputs[info.states[state].output];
  }

  const rwkvrt_function_info &info;
  std::vector<int32_t> stateOfInput, stateOfOutput; ///< -1 = not a state
};

struct Model {
  /// \p device: as rwkvrt_model_load_on() takes it.
  Model(Library library, const rwkvrt_model_info &info,
        const std::string &origin, const std::string &folder,
        const char *device);
  ~Model();

  /// Null if there is none.
  const Function *find(rwkvrt_function_kind kind) const {
    return functions[kind].get();
  }
  /// What takes one token at a time: a derived form, else the file's own graph;
  /// null if only blocks can be fed.
  const Function *findStep() const;
  /// The function whose states are those of sequences.
  const Function &holder() const;

  /// Logits of one token; 0 if they are not known.
  size_t vocabularySize() const;

  /// Calls a function with the host's memory; every output has a buffer, or on
  /// a device every state.
  void call(const Function &function, void *const *inputs, void *const *outputs,
            void *workspace) const;

  Library library; // first: info lies in it
  const rwkvrt_model_info &info;
  const rwkvrt_level_info *level = nullptr; ///< null on a device
  std::unique_ptr<MappedWeights> weights;   ///< null = embedded or none
  const void *weightsData;
  std::unique_ptr<gpu::DeviceModel> device; ///< null = the processor

private:
  friend class Workspace;
  std::unique_ptr<Function> functions[RWKVRT_PACK + 1];
  size_t workspaceSize = 0; ///< of the function that needs most; 0 on a device
  // As many as calls have run at once; the last one used is the warmest.
  mutable std::mutex workspacesLock;
  mutable std::vector<Buffer> workspaces;
  mutable size_t numWorkspaces = 0; ///< with those in use
};

using ModelRef = std::shared_ptr<const Model>;

/// Scratch memory for calls of any of a model's functions, borrowed from it.
class Workspace {
public:
  explicit Workspace(const Model &model);
  Workspace(const Workspace &) = delete;
  Workspace &operator=(const Workspace &) = delete;
  ~Workspace();
  void *data() const { return buffer.get(); }

private:
  const Model &model;
  Buffer buffer;
};

/// The arguments of a function, bound to the states of a sequence.
struct Arguments {
  Arguments(const Function &function, const std::vector<Buffer> &states);
  /// On a device, where only tokens, length and logits are the host's.
  Arguments(const Function &function, std::unique_ptr<gpu::Form> form);

  const Function &function;
  std::vector<void *> inputs, outputs;
  void *tokens;
  int64_t *length;
  const void *logits;
  std::unique_ptr<gpu::Form> form; ///< null = the processor

private:
  std::vector<Buffer> memory; ///< all but states
};

} // namespace rwkvrt

struct rwkvrt_model {
  rwkvrt::ModelRef model;
};

struct rwkvrt_sequence {
  explicit rwkvrt_sequence(rwkvrt::ModelRef model);

  void reset();
  uint32_t numStates() const { return model->holder().info.num_states; }
  size_t stateBytes(uint32_t state) const;
  /// The part of a state that belongs to \p text and those after it.
  void *stateOf(uint32_t state, size_t text) const;

  // On a device `states` is a copy, which these keep.
  /// Gets it to be read.
  void readStates() const;
  /// It will be changed, or if \p whole is set overwritten.
  void writeStates(bool whole);
  /// Brings the device's memory up to date; it will be changed.
  void moveToDevice();

  rwkvrt::ModelRef model;
  std::vector<rwkvrt::Buffer> states;                    ///< one per state
  std::unique_ptr<rwkvrt::gpu::SequenceMemory> onDevice; ///< null until used
  mutable bool hostIsCurrent = true;
  bool deviceIsCurrent = false;
  // Made by the first call that needs them.
  std::unique_ptr<rwkvrt::Arguments> step, block;
  std::vector<float> logits; ///< where the function's own cannot be shown
  size_t shortestBlock = 0;  ///< fewer tokens are stepped; 0 = the default
};

#endif // RWKVC_LIB_RUNTIME_MODEL_H
