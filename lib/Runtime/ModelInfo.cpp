//===- ModelInfo.cpp - Checks of a model's description --------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ElementTypes.h"
#include "Model.h"

#include <algorithm>
#include <cstring>
#include <initializer_list>

using namespace rwkvrt;

using ull = unsigned long long;

static constexpr int32_t maxRank = 64;
static constexpr uint32_t maxTensors = 1u << 20;
static constexpr uint32_t maxLaunches = 1u << 24, maxArguments = 1u << 12;

size_t rwkvrt::countElements(const rwkvrt_tensor_info &tensor) {
  size_t count = 1;
  bool overflow = false, empty = false;
  for (int32_t i = 0; i < tensor.rank; ++i) {
    empty |= tensor.dims[i] == 0;
    overflow |= __builtin_mul_overflow(
        count, static_cast<uint64_t>(tensor.dims[i]), &count);
  }
  if (empty)
    return 0;
  if (overflow || count > PTRDIFF_MAX / 8)
    fail(RWKVRT_BAD_FILE, "tensor '%s' has more elements than memory can hold",
         tensor.name);
  return count;
}

static void checkTensor(const rwkvrt_tensor_info &tensor, const char *kind,
                        uint32_t index, const char *origin) {
  if (!tensor.name)
    fail(RWKVRT_BAD_FILE, "%s: %s %u has no name", origin, kind, index);
  if (sizeOf(tensor.dtype) == 0)
    fail(RWKVRT_BAD_FILE, "%s: %s '%s' has the unknown element type %d", origin,
         kind, tensor.name, tensor.dtype);
  if (tensor.rank < 0 || tensor.rank > maxRank ||
      (tensor.rank > 0 && !tensor.dims))
    fail(RWKVRT_BAD_FILE, "%s: %s '%s' has no valid shape", origin, kind,
         tensor.name);
  for (int32_t i = 0; i < tensor.rank; ++i)
    if (tensor.dims[i] < 0)
      fail(RWKVRT_BAD_FILE, "%s: %s '%s' has the negative dimension %lld",
           origin, kind, tensor.name, static_cast<long long>(tensor.dims[i]));
  countElements(tensor);
  if (tensor.index_limit != 0 &&
      (tensor.index_limit < 0 || !isInteger(tensor.dtype)))
    fail(RWKVRT_BAD_FILE, "%s: %s '%s' has an invalid index limit", origin,
         kind, tensor.name);
}

static void checkStates(const rwkvrt_function_info &info, const char *origin) {
  std::vector<bool> inputUsed(info.num_inputs), outputUsed(info.num_outputs);
  for (uint32_t i = 0; i < info.num_states; ++i) {
    const rwkvrt_state_info &state = info.states[i];
    if (state.input < 0 || state.output < 0 ||
        static_cast<uint32_t>(state.input) >= info.num_inputs ||
        static_cast<uint32_t>(state.output) >= info.num_outputs ||
        inputUsed[state.input] || outputUsed[state.output])
      fail(RWKVRT_BAD_FILE, "%s: state %u has no valid input and output",
           origin, i);
    inputUsed[state.input] = outputUsed[state.output] = true;
    const rwkvrt_tensor_info &in = info.inputs[state.input];
    const rwkvrt_tensor_info &out = info.outputs[state.output];
    // Some exporters drop a unit dimension on the way; the data is the same.
    if (in.dtype != out.dtype || countElements(in) != countElements(out))
      fail(RWKVRT_BAD_FILE,
           "%s: state input '%s' and state output '%s' differ in type or size",
           origin, in.name, out.name);
    if (!isFloat(in.dtype) && state.initial != 0)
      fail(RWKVRT_BAD_FILE,
           "%s: state '%s' of integers starts with something else than 0",
           origin, in.name);
  }
}

static bool hasShape(const rwkvrt_tensor_info &tensor,
                     std::initializer_list<int64_t> dims) {
  return static_cast<size_t>(tensor.rank) == dims.size() &&
         std::equal(dims.begin(), dims.end(), tensor.dims);
}

/// Throws unless a derived form has the shapes that abi.h gives it.
static void checkForm(const rwkvrt_function_info &info, const char *origin) {
  bool isBlock = info.kind == RWKVRT_PREFILL;
  const char *kind = isBlock ? "prefill" : "step";
  auto refuse = [&](const char *what) {
    fail(RWKVRT_BAD_FILE, "%s: function '%s': invalid %s", origin, kind, what);
  };
  if (info.batch < 1 || info.block < 1 || (!isBlock && info.block != 1) ||
      info.block > INT32_MAX)
    refuse("number of texts or tokens");
  if (info.token_input < 0 || info.logits_output < 0 ||
      (info.length_input >= 0) != isBlock)
    refuse("tokens, length or logits");
  const rwkvrt_tensor_info &tokens = info.inputs[info.token_input];
  if (isBlock ? !hasShape(tokens, {info.batch, info.block})
              : !hasShape(tokens, {info.batch}))
    refuse("shape of the tokens");
  if (isBlock && (info.inputs[info.length_input].dtype != RWKVRT_I64 ||
                  info.inputs[info.length_input].rank != 0))
    refuse("type of the length");
  const rwkvrt_tensor_info &logits = info.outputs[info.logits_output];
  int64_t last = logits.rank ? logits.dims[logits.rank - 1] : 0;
  if (!hasShape(logits, {info.batch, last}) &&
      !(isBlock && hasShape(logits, {info.batch, info.block, last})))
    refuse("shape of the logits");
  // Every other tensor is a state: callers know no more.
  if (info.num_inputs != info.num_states + (isBlock ? 2 : 1) ||
      info.num_outputs != info.num_states + 1)
    refuse("inputs or outputs: not all are tokens, length, logits or states");
}

static bool haveSameType(const rwkvrt_tensor_info &a,
                         const rwkvrt_tensor_info &b) {
  return a.dtype == b.dtype && a.rank == b.rank &&
         std::equal(a.dims, a.dims + a.rank, b.dims);
}

/// Throws unless two derived forms can take turns on one state.
static void checkForms(const rwkvrt_function_info &a,
                       const rwkvrt_function_info &b, const char *origin) {
  const rwkvrt_tensor_info &tokensA = a.inputs[a.token_input];
  const rwkvrt_tensor_info &tokensB = b.inputs[b.token_input];
  const rwkvrt_tensor_info &logitsA = a.outputs[a.logits_output];
  const rwkvrt_tensor_info &logitsB = b.outputs[b.logits_output];
  bool same = a.batch == b.batch && a.num_states == b.num_states &&
              tokensA.dtype == tokensB.dtype &&
              tokensA.index_limit == tokensB.index_limit &&
              logitsA.dims[logitsA.rank - 1] == logitsB.dims[logitsB.rank - 1];
  for (uint32_t i = 0; same && i < a.num_states; ++i)
    same = haveSameType(a.outputs[a.states[i].output],
                        b.outputs[b.states[i].output]) &&
           a.states[i].initial == b.states[i].initial;
  if (!same)
    fail(
        RWKVRT_BAD_FILE,
        "%s: functions 'step' and 'prefill' differ in tokens, logits or states",
        origin);
}

/// Throws unless \p info converts between the states of \p graph and those of
/// \p form.
static void checkConversion(const rwkvrt_function_info &info,
                            const rwkvrt_function_info *graph,
                            const rwkvrt_function_info *form,
                            const char *origin) {
  bool unpacks = info.kind == RWKVRT_UNPACK;
  const char *kind = unpacks ? "unpack" : "pack";
  if (!graph || !form || graph->num_states == 0)
    fail(RWKVRT_BAD_FILE, "%s: function '%s' has no states to convert", origin,
         kind);
  auto numOwn = unpacks ? info.num_inputs : info.num_outputs;
  auto numCanonical = unpacks ? info.num_outputs : info.num_inputs;
  const auto *own = unpacks ? info.inputs : info.outputs;
  const auto *canonical = unpacks ? info.outputs : info.inputs;
  bool valid = info.batch >= 1 && info.block == 0 && info.num_states == 0 &&
               info.token_input < 0 && info.length_input < 0 &&
               info.logits_output < 0 && numOwn == graph->num_states &&
               numCanonical == form->num_states;
  for (uint32_t i = 0; valid && i < numOwn; ++i) {
    const rwkvrt_state_info &state = graph->states[i];
    valid = haveSameType(own[i], unpacks ? graph->inputs[state.input]
                                         : graph->outputs[state.output]);
  }
  // What belongs to one text has the same size.
  for (uint32_t i = 0; valid && i < numCanonical; ++i) {
    const rwkvrt_tensor_info &tensor = form->outputs[form->states[i].output];
    size_t size = countElements(canonical[i]), whole = countElements(tensor);
    auto texts = static_cast<size_t>(info.batch);
    auto all = static_cast<size_t>(form->batch);
    valid = canonical[i].dtype == tensor.dtype && size % texts == 0 &&
            whole % all == 0 && size / texts == whole / all;
  }
  if (!valid)
    fail(RWKVRT_BAD_FILE,
         "%s: function '%s' does not take the model's states or does not give "
         "them",
         origin, kind);
}

static void checkFunction(const rwkvrt_function_info &info,
                          const char *origin) {
  if (info.kind < RWKVRT_GRAPH || info.kind > RWKVRT_PACK)
    fail(RWKVRT_BAD_FILE, "%s: unknown kind %d of a function", origin,
         info.kind);
  if (info.num_inputs > maxTensors || info.num_outputs > maxTensors ||
      info.num_states > maxTensors || (info.num_inputs && !info.inputs) ||
      (info.num_outputs && !info.outputs) || (info.num_states && !info.states))
    fail(RWKVRT_BAD_FILE, "%s: invalid tables of inputs, outputs or states",
         origin);
  for (uint32_t i = 0; i < info.num_inputs; ++i)
    checkTensor(info.inputs[i], "input", i, origin);
  for (uint32_t i = 0; i < info.num_outputs; ++i)
    checkTensor(info.outputs[i], "output", i, origin);
  checkStates(info, origin);
  auto validIndex = [](int32_t index, uint32_t count) {
    return index == -1 || (index >= 0 && static_cast<uint32_t>(index) < count);
  };
  if (!validIndex(info.token_input, info.num_inputs) ||
      !validIndex(info.length_input, info.num_inputs) ||
      !validIndex(info.logits_output, info.num_outputs))
    fail(RWKVRT_BAD_FILE, "%s: invalid token input or logits output", origin);
  if (info.token_input >= 0 && !isInteger(info.inputs[info.token_input].dtype))
    fail(RWKVRT_BAD_FILE, "%s: token input '%s' does not hold integers", origin,
         info.inputs[info.token_input].name);
  if (info.logits_output >= 0 &&
      !isFloat(info.outputs[info.logits_output].dtype))
    fail(RWKVRT_BAD_FILE, "%s: logits output '%s' does not hold floats", origin,
         info.outputs[info.logits_output].name);
  if (info.workspace_size > PTRDIFF_MAX)
    fail(RWKVRT_BAD_FILE, "%s: needs %llu bytes of workspace", origin,
         static_cast<ull>(info.workspace_size));
  if (info.kind == RWKVRT_STEP || info.kind == RWKVRT_PREFILL)
    checkForm(info, origin);
}

/// Throws unless \p argument lies in what a launch of \p function may use.
static void checkArgument(const rwkvrt_argument &argument,
                          const rwkvrt_function_info &function,
                          const rwkvrt_device_function &code,
                          rwkvrt_range weights, const char *origin) {
  uint64_t first = 0, size = 0;
  bool valid = true;
  auto checkIndex = [&](const rwkvrt_tensor_info *tensors, uint32_t count) {
    valid = argument.index < count;
    if (valid)
      size = rwkvrt_tensor_bytes(&tensors[argument.index]);
  };
  switch (argument.kind) {
  case RWKVRT_ARG_WEIGHTS:
    first = weights.offset;
    size = weights.offset + weights.size;
    break;
  case RWKVRT_ARG_WORKSPACE:
    size = code.workspace_size;
    break;
  case RWKVRT_ARG_INPUT:
    checkIndex(function.inputs, function.num_inputs);
    break;
  case RWKVRT_ARG_OUTPUT:
    checkIndex(function.outputs, function.num_outputs);
    break;
  case RWKVRT_ARG_NUMBER:
    return;
  default:
    valid = false;
  }
  // At the end lies what has no elements.
  if (!valid || argument.value < first || argument.value > size)
    fail(RWKVRT_BAD_FILE,
         "%s: invalid argument of a kernel (kind %d, index %u, at %llu of %llu "
         "bytes)",
         origin, argument.kind, argument.index,
         static_cast<ull>(argument.value), static_cast<ull>(size));
}

static void checkRange(rwkvrt_range range, const rwkvrt_model_info &info,
                       const char *origin) {
  if (range.offset % alignment != 0 || range.offset > info.weights_size ||
      range.size > info.weights_size - range.offset)
    fail(RWKVRT_BAD_FILE,
         "%s: code cannot read %llu bytes at %llu of %llu bytes of weights",
         origin, static_cast<ull>(range.size), static_cast<ull>(range.offset),
         static_cast<ull>(info.weights_size));
}

static void checkDevice(const rwkvrt_device_info &device,
                        const rwkvrt_model_info &info, const char *origin) {
  if (!device.name || !device.chip || device.kind < RWKVRT_OPENCL ||
      device.kind > RWKVRT_HIP || !device.functions || !device.image ||
      device.image_size == 0 || (device.num_kernels && !device.kernels))
    fail(RWKVRT_BAD_FILE, "%s: incomplete description of code for a device",
         origin);
  checkRange(device.weights, info, origin);
  for (uint32_t i = 0; i < device.num_kernels; ++i) {
    const rwkvrt_kernel_info &kernel = device.kernels[i];
    if (!kernel.name || !*kernel.name || kernel.group_size == 0 ||
        kernel.num_arguments > maxArguments)
      fail(RWKVRT_BAD_FILE, "%s: invalid kernel %u for device '%s'", origin, i,
           device.name);
  }
  for (uint32_t i = 0; i < info.num_functions; ++i) {
    const rwkvrt_device_function &code = device.functions[i];
    if (code.workspace_size > PTRDIFF_MAX || code.num_launches > maxLaunches ||
        (code.num_launches && !code.launches))
      fail(RWKVRT_BAD_FILE, "%s: invalid function %u for device '%s'", origin,
           i, device.name);
    for (uint32_t k = 0; k < code.num_launches; ++k) {
      const rwkvrt_launch &launch = code.launches[k];
      if (launch.kernel >= device.num_kernels || launch.groups == 0 ||
          (launch.flags & ~RWKVRT_LAUNCH_FOR_LOGITS) != 0 ||
          (device.kernels[launch.kernel].num_arguments && !launch.arguments))
        fail(RWKVRT_BAD_FILE,
             "%s: invalid launch %u of function %u for device '%s'", origin, k,
             i, device.name);
      for (uint32_t a = 0; a < device.kernels[launch.kernel].num_arguments; ++a)
        checkArgument(launch.arguments[a], info.functions[i], code,
                      device.weights, origin);
    }
  }
}

void rwkvrt::checkModelInfo(const rwkvrt_model_info &info,
                            const std::string &origin) {
  const char *name = origin.c_str();
  if (info.abi_version != RWKVRT_ABI_VERSION ||
      info.struct_size != sizeof(rwkvrt_model_info))
    fail(RWKVRT_MISMATCH,
         "%s: made for version %u (%u bytes) of the runtime's interface, this "
         "runtime has version %u (%u bytes); compile the model again",
         name, info.abi_version, info.struct_size, RWKVRT_ABI_VERSION,
         static_cast<unsigned>(sizeof(rwkvrt_model_info)));
  if (!info.name || !info.producer || !info.target || !info.functions ||
      info.num_functions < 1 ||
      info.function_size != sizeof(rwkvrt_function_info) ||
      info.num_levels + info.num_devices == 0 ||
      (info.num_levels &&
       (!info.levels || info.level_size != sizeof(rwkvrt_level_info))) ||
      (info.num_devices &&
       (!info.devices || info.device_size != sizeof(rwkvrt_device_info))))
    fail(RWKVRT_BAD_FILE, "%s: incomplete model description", name);
  for (uint32_t i = 0; i < info.num_levels; ++i)
    if (!info.levels[i].name ||
        (info.levels[0].features & ~info.levels[i].features) != 0)
      fail(RWKVRT_BAD_FILE, "%s: invalid level %u", name, i);
  checkRange(info.levels_weights, info, name);
  const rwkvrt_function_info *found[RWKVRT_PACK + 1] = {};
  for (uint32_t i = 0; i < info.num_functions; ++i) {
    const rwkvrt_function_info &function = info.functions[i];
    checkFunction(function, name);
    if (info.num_levels && !function.run)
      fail(RWKVRT_BAD_FILE, "%s: incomplete model description", name);
    if (found[function.kind])
      fail(RWKVRT_BAD_FILE, "%s: two functions of kind %d", name,
           function.kind);
    found[function.kind] = &function;
  }
  if (found[RWKVRT_STEP] && found[RWKVRT_PREFILL])
    checkForms(*found[RWKVRT_STEP], *found[RWKVRT_PREFILL], name);
  for (const auto *function : {found[RWKVRT_UNPACK], found[RWKVRT_PACK]})
    if (function)
      checkConversion(*function, found[RWKVRT_GRAPH],
                      found[RWKVRT_STEP] ? found[RWKVRT_STEP]
                                         : found[RWKVRT_PREFILL],
                      name);
  for (uint32_t i = 0; i < info.num_devices; ++i)
    checkDevice(info.devices[i], info, name);
  if (info.weights_file &&
      (!*info.weights_file || std::strchr(info.weights_file, '/') ||
       info.embedded_weights))
    fail(RWKVRT_BAD_FILE, "%s: invalid name of the weights file", name);
  if (info.weights_size && !info.weights_file && !info.embedded_weights)
    fail(RWKVRT_BAD_FILE, "%s: weights are neither in a file nor embedded",
         name);
  if (info.embedded_weights &&
      reinterpret_cast<uintptr_t>(info.embedded_weights) % alignment != 0)
    fail(RWKVRT_BAD_FILE, "%s: embedded weights are not 64-byte aligned", name);
}
