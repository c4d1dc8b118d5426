//===- Model.h - Loaded models and sequences --------------------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_LIB_RUNTIME_MODEL_H
#define RWKVC_LIB_RUNTIME_MODEL_H

#include "Support.h"

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

  std::string path;
  const void *data = nullptr; ///< the data section

private:
  MappedWeights() = default;
  void *mapping = nullptr;
  size_t mappedSize = 0;
};

/// Throws unless \p info can be used safely. \p origin names it in messages.
void checkModelInfo(const rwkvrt_model_info &info, const std::string &origin);

/// Elements of \p tensor; throws if there are too many to address.
size_t countElements(const rwkvrt_tensor_info &tensor);

struct Model {
  Model(Library library, const rwkvrt_model_info &info,
        const std::string &origin, const std::string &folder);
  ~Model();

  /// Calls the compiled function; every output has a buffer.
  void call(void *const *inputs, void *const *outputs) const;

  const rwkvrt_tensor_info &stateTensor(uint32_t state) const {
    return info.outputs[info.states[state].output];
  }

  Library library; // first: info lies in it
  const rwkvrt_model_info &info;
  std::unique_ptr<MappedWeights> weights; ///< null = embedded or none
  const void *weightsData;
  std::vector<int32_t> stateOfInput, stateOfOutput; ///< -1 = not a state

private:
  // As many as calls have run at once; the last one used is the warmest.
  mutable std::mutex workspacesLock;
  mutable std::vector<Buffer> workspaces;
};

using ModelRef = std::shared_ptr<const Model>;

} // namespace rwkvrt

struct rwkvrt_model {
  rwkvrt::ModelRef model;
};

struct rwkvrt_sequence {
  explicit rwkvrt_sequence(rwkvrt::ModelRef model);

  void reset();
  size_t stateBytes(uint32_t state) const;

  rwkvrt::ModelRef model;
  std::vector<rwkvrt::Buffer> states;       ///< one per state
  std::vector<rwkvrt::Buffer> otherOutputs; ///< those that are not states
  rwkvrt::Buffer token;
  std::vector<float> logits;
  std::vector<void *> inputs, outputs; ///< arguments of the compiled function
};

#endif // RWKVC_LIB_RUNTIME_MODEL_H
