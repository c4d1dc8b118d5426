//===- Model.cpp - Loading and calling models -----------------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Model.h"

#include "ElementTypes.h"
#include "rwkvc-rt/dnnl.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <unistd.h>

using namespace rwkvrt;

Function::Function(const rwkvrt_function_info &functionInfo)
    : info(functionInfo), stateOfInput(info.num_inputs, -1),
      stateOfOutput(info.num_outputs, -1) {
  for (uint32_t i = 0; i < info.num_states; ++i) {
    stateOfInput[info.states[i].input] = static_cast<int32_t>(i);
    stateOfOutput[info.states[i].output] = static_cast<int32_t>(i);
  }
}

size_t Function::batch() const {
  return info.kind == RWKVRT_GRAPH ? 1 : static_cast<size_t>(info.batch);
}

size_t Function::block() const {
  return info.kind == RWKVRT_GRAPH ? 1 : static_cast<size_t>(info.block);
}

bool Function::givesAllLogits() const {
  return info.kind == RWKVRT_PREFILL && logits().rank == 3;
}

Model::Model(Library openLibrary, const rwkvrt_model_info &modelInfo,
             const std::string &origin, const std::string &folder,
             const char *wish)
    : library(std::move(openLibrary)),
      info((checkModelInfo(modelInfo, origin), modelInfo)),
      weightsData(info.embedded_weights) {
  gpu::Choice choice = gpu::chooseDevice(info, origin, wish);
  if (!choice.device)
    level = &chooseLevel(info, origin);
  if (info.weights_file) {
    weights = std::make_unique<MappedWeights>(info, folder);
    weightsData = weights->data;
  }
  for (uint32_t i = 0; i < info.num_functions; ++i) {
    const rwkvrt_function_info &function = info.functions[i];
    functions[function.kind] = std::make_unique<Function>(function);
    if (!choice.device)
      workspaceSize = std::max<size_t>(workspaceSize, function.workspace_size);
  }
  if (!choice.device)
    return;
  try {
    device = std::make_unique<gpu::DeviceModel>(std::move(choice), info,
                                                weightsData, weights.get());
  } catch (Error &error) {
    error.message = origin + ": " + error.message;
    throw;
  }
}

Model::~Model() {
  if (!weights)
    return;
  // Other weights may be mapped at the same place later.
  if (auto *forget = reinterpret_cast<decltype(&rwkvrt_dnnl_forget)>(
          library.findFunction("rwkvrt_dnnl_forget")))
    forget(weightsData, info.weights_size);
}

const Function *Model::findStep() const {
  if (const Function *step = find(RWKVRT_STEP))
    return step;
  return find(RWKVRT_PREFILL) ? nullptr : find(RWKVRT_GRAPH);
}

const Function &Model::holder() const {
  const Function *step = findStep();
  return step ? *step : *find(RWKVRT_PREFILL);
}

size_t Model::vocabularySize() const {
  const Function &function = holder();
  if (function.info.logits_output < 0)
    return 0;
  const rwkvrt_tensor_info &logits = function.logits();
  // The file's own graph may spread the logits over any axes.
  return function.info.kind == RWKVRT_GRAPH
             ? countElements(logits)
             : static_cast<size_t>(logits.dims[logits.rank - 1]);
}

Workspace::Workspace(const Model &lender) : model(lender) {
  if (model.workspaceSize == 0)
    return;
  {
    std::lock_guard<std::mutex> lock(model.workspacesLock);
    if (!model.workspaces.empty()) {
      buffer = std::move(model.workspaces.back());
      model.workspaces.pop_back();
      return;
    }
    // So that giving it back needs no memory.
    model.workspaces.reserve(model.numWorkspaces + 1);
    ++model.numWorkspaces;
  }
  try {
    buffer = allocateScratch(model.workspaceSize);
  } catch (...) {
    std::lock_guard<std::mutex> lock(model.workspacesLock);
    --model.numWorkspaces;
    throw;
  }
}

Workspace::~Workspace() {
  if (!buffer)
    return;
  std::lock_guard<std::mutex> lock(model.workspacesLock);
  model.workspaces.push_back(std::move(buffer));
}

void Model::call(const Function &function, void *const *inputs,
                 void *const *outputs, void *workspace) const {
  if (device)
    return device->call(function, inputs, outputs);
  int32_t status =
      function.info.run(level->code, weightsData, inputs, outputs, workspace);
  if (status == 0)
    return;
  // Calls of kernel libraries are all that can fail.
  auto *getReason = reinterpret_cast<decltype(&rwkvrt_dnnl_last_error)>(
      library.findFunction("rwkvrt_dnnl_last_error"));
  fail(RWKVRT_RUN_FAILED, "model '%s' failed with status %d%s%s", info.name,
       status, getReason ? ": " : "", getReason ? getReason() : "");
}

static std::string folderOf(const std::string &path) {
  size_t slash = path.rfind('/');
  if (slash == std::string::npos)
    return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

static std::string programFolder() {
  char path[4096];
  ssize_t length = readlink("/proc/self/exe", path, sizeof path);
  if (length <= 0 || static_cast<size_t>(length) == sizeof path)
    fail(RWKVRT_IO_ERROR,
         "cannot find the program's folder, where the weights file belongs: %s",
         systemError(errno).c_str());
  return folderOf(std::string(path, static_cast<size_t>(length)));
}

rwkvrt_status rwkvrt_model_load(const char *path, rwkvrt_model **model) {
  return rwkvrt_model_load_on(path, nullptr, model);
}

rwkvrt_status rwkvrt_model_load_on(const char *path, const char *device,
                                   rwkvrt_model **model) {
  return guard([&] {
    requireNotNull(path, "path");
    requireNotNull(model, "model");
    Library library(path);
    const rwkvrt_model_info &info = library.getModelInfo(path);
    *model = new rwkvrt_model{std::make_shared<Model>(
        std::move(library), info, path, folderOf(path), device)};
  });
}

rwkvrt_status rwkvrt_model_from_info(const rwkvrt_model_info *info,
                                     const char *folder, rwkvrt_model **model) {
  return rwkvrt_model_from_info_on(info, folder, nullptr, model);
}

rwkvrt_status rwkvrt_model_from_info_on(const rwkvrt_model_info *info,
                                        const char *folder, const char *device,
                                        rwkvrt_model **model) {
  return guard([&] {
    requireNotNull(info, "info");
    requireNotNull(model, "model");
    std::string where;
    // The fields behind a foreign version's first ones are not to be read.
    if (info->abi_version == RWKVRT_ABI_VERSION && info->weights_file)
      where = folder ? folder : programFolder();
    *model = new rwkvrt_model{std::make_shared<Model>(
        Library(), *info, "built-in model", where, device)};
  });
}

void rwkvrt_model_free(rwkvrt_model *model) { delete model; }

const rwkvrt_model_info *rwkvrt_model_get_info(const rwkvrt_model *model) {
  return &model->model->info;
}

const rwkvrt_level_info *rwkvrt_model_level(const rwkvrt_model *model) {
  return model->model->level;
}

const char *rwkvrt_model_device(const rwkvrt_model *model) {
  const auto &device = model->model->device;
  return device ? device->device().description.c_str() : "cpu";
}

const char *rwkvrt_model_weights_path(const rwkvrt_model *model) {
  const auto &weights = model->model->weights;
  return weights ? weights->path.c_str() : nullptr;
}

static int32_t findTensor(const rwkvrt_tensor_info *tensors, uint32_t count,
                          const char *name) {
  for (uint32_t i = 0; i < count; ++i)
    if (std::strcmp(tensors[i].name, name) == 0)
      return static_cast<int32_t>(i);
  return -1;
}

const rwkvrt_function_info *
rwkvrt_model_find_function(const rwkvrt_model *model, int32_t kind) {
  if (kind < RWKVRT_GRAPH || kind > RWKVRT_PACK)
    return nullptr;
  const Function *function =
      model->model->find(static_cast<rwkvrt_function_kind>(kind));
  return function ? &function->info : nullptr;
}

int32_t rwkvrt_model_find_input(const rwkvrt_model *model, const char *name) {
  const Function *graph = model->model->find(RWKVRT_GRAPH);
  return graph ? findTensor(graph->info.inputs, graph->info.num_inputs, name)
               : -1;
}

int32_t rwkvrt_model_find_output(const rwkvrt_model *model, const char *name) {
  const Function *graph = model->model->find(RWKVRT_GRAPH);
  return graph ? findTensor(graph->info.outputs, graph->info.num_outputs, name)
               : -1;
}

int32_t rwkvrt_model_find_state(const rwkvrt_model *model, const char *name) {
  const Function &holder = model->model->holder();
  int32_t input = findTensor(holder.info.inputs, holder.info.num_inputs, name);
  if (input >= 0 && holder.stateOfInput[input] >= 0)
    return holder.stateOfInput[input];
  int32_t output =
      findTensor(holder.info.outputs, holder.info.num_outputs, name);
  return output >= 0 ? holder.stateOfOutput[output] : -1;
}

uint32_t rwkvrt_model_num_states(const rwkvrt_model *model) {
  return model->model->holder().info.num_states;
}

const rwkvrt_tensor_info *rwkvrt_model_state(const rwkvrt_model *model,
                                             uint32_t state) {
  const Function &holder = model->model->holder();
  return state < holder.info.num_states ? &holder.stateTensor(state) : nullptr;
}

size_t rwkvrt_model_batch(const rwkvrt_model *model) {
  return model->model->holder().batch();
}

size_t rwkvrt_model_vocabulary_size(const rwkvrt_model *model) {
  return model->model->vocabularySize();
}

size_t rwkvrt_tensor_elements(const rwkvrt_tensor_info *tensor) {
  return countElements(*tensor); // a loaded model's tensors can be counted
}
size_t rwkvrt_tensor_bytes(const rwkvrt_tensor_info *tensor) {
  return countElements(*tensor) * sizeOf(tensor->dtype);
}
size_t rwkvrt_dtype_size(int32_t dtype) { return sizeOf(dtype); }

const char *rwkvrt_dtype_name(int32_t dtype) {
  switch (dtype) {
  case RWKVRT_F32:
    return "float32";
  case RWKVRT_U8:
    return "uint8";
  case RWKVRT_I8:
    return "int8";
  case RWKVRT_U16:
    return "uint16";
  case RWKVRT_I16:
    return "int16";
  case RWKVRT_I32:
    return "int32";
  case RWKVRT_I64:
    return "int64";
  case RWKVRT_BOOL:
    return "bool";
  case RWKVRT_F16:
    return "float16";
  case RWKVRT_F64:
    return "float64";
  case RWKVRT_U32:
    return "uint32";
  case RWKVRT_U64:
    return "uint64";
  case RWKVRT_BF16:
    return "bfloat16";
  default:
    return "unknown";
  }
}

void rwkvrt::checkPointer(const void *pointer, const rwkvrt_tensor_info &tensor,
                          const char *kind) {
  if (!pointer)
    fail(RWKVRT_INVALID_ARGUMENT, "%s '%s' is NULL", kind, tensor.name);
  if (reinterpret_cast<uintptr_t>(pointer) % sizeOf(tensor.dtype) != 0)
    fail(RWKVRT_INVALID_ARGUMENT, "%s '%s' is not aligned to its %zu-byte %s",
         kind, tensor.name, sizeOf(tensor.dtype),
         rwkvrt_dtype_name(tensor.dtype));
}

static void checkIndices(const rwkvrt_tensor_info &tensor, const void *data) {
  size_t count = countElements(tensor);
  for (size_t i = 0; i < count; ++i) {
    int64_t value = loadInteger(tensor.dtype, data, i);
    if (value < 0 || value >= tensor.index_limit)
      fail(RWKVRT_INVALID_ARGUMENT,
           "input '%s': value %lld is out of range, expected 0 to %lld",
           tensor.name, static_cast<long long>(value),
           static_cast<long long>(tensor.index_limit - 1));
  }
}

rwkvrt_status rwkvrt_model_run(const rwkvrt_model *handle,
                               const void *const *inputs,
                               void *const *outputs) {
  return guard([&] {
    requireNotNull(handle, "model");
    const Model &model = *handle->model;
    const Function *graph = model.find(RWKVRT_GRAPH);
    if (!graph)
      fail(RWKVRT_INVALID_ARGUMENT,
           "model '%s' was compiled without the file's own signature; compile "
           "it with --forms=original,...",
           model.info.name);
    const rwkvrt_function_info &info = graph->info;
    if (info.num_inputs)
      requireNotNull(inputs, "inputs");
    if (info.num_outputs)
      requireNotNull(outputs, "outputs");

    std::vector<void *> in(info.num_inputs), out(info.num_outputs);
    std::vector<Buffer> unwanted;
    for (uint32_t i = 0; i < info.num_outputs; ++i) {
      out[i] = outputs[i];
      if (!out[i] && graph->stateOfOutput[i] < 0) {
        if (model.device)
          continue; // it has memory of its own
        unwanted.push_back(
            allocateBuffer(rwkvrt_tensor_bytes(&info.outputs[i])));
        out[i] = unwanted.back().get();
      }
      checkPointer(out[i], info.outputs[i], "output");
    }
    for (uint32_t i = 0; i < info.num_inputs; ++i) {
      if (graph->stateOfInput[i] < 0 || inputs[i])
        checkPointer(inputs[i], info.inputs[i], "input");
      if (info.inputs[i].index_limit > 0 && inputs[i])
        checkIndices(info.inputs[i], inputs[i]);
    }
    Workspace workspace(model);
    for (uint32_t i = 0; i < info.num_inputs; ++i) {
      int32_t state = graph->stateOfInput[i];
      if (state < 0)
        // The compiled function reads it only; its type has no const.
        in[i] = const_cast<void *>(inputs[i]);
      else if (inputs[i])
        std::memmove(out[info.states[state].output], inputs[i],
                     rwkvrt_tensor_bytes(&info.inputs[i]));
    }
    model.call(*graph, in.data(), out.data(), workspace.data());
  });
}
