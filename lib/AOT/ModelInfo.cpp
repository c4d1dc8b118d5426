//===- ModelInfo.cpp - A compiled model's description of itself -----------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "rwkvc/AOT/ModelInfo.h"
#include "mlir/Interfaces/FunctionInterfaces.h"
#include "rwkvc-rt/abi.h"
#include "rwkvc/Conversion/DnnlToRuntime/DnnlToRuntime.h"
#include "rwkvc/Target/CPU/Passes.h"
#include "rwkvc/Target/GPU/Passes.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/IR/IRBuilder.h"
#include "llvm/Linker/Linker.h"

using namespace rwkvc;
using namespace rwkvc::aot;

std::string aot::toIdentifier(llvm::StringRef name) {
  std::string result;
  for (char c : name)
    result += llvm::isAlnum(c) ? c : '_';
  if (result.empty() || llvm::isDigit(result[0]))
    result.insert(result.begin(), '_');
  return result;
}

static rwkvrt_dtype getDtype(mlir::Type type) {
  if (type.isF32())
    return RWKVRT_F32;
  if (type.isF16())
    return RWKVRT_F16;
  if (type.isBF16())
    return RWKVRT_BF16;
  if (type.isF64())
    return RWKVRT_F64;
  if (type.isInteger(1))
    return RWKVRT_BOOL;
  bool isUnsigned = type.isUnsignedInteger();
  switch (type.getIntOrFloatBitWidth()) {
  case 8:
    return isUnsigned ? RWKVRT_U8 : RWKVRT_I8;
  case 16:
    return isUnsigned ? RWKVRT_U16 : RWKVRT_I16;
  case 32:
    return isUnsigned ? RWKVRT_U32 : RWKVRT_I32;
  default:
    return isUnsigned ? RWKVRT_U64 : RWKVRT_I64;
  }
}

static rwkvrt_function_kind getKind(FunctionKind kind) {
  switch (kind) {
  case FunctionKind::Graph:
    return RWKVRT_GRAPH;
  case FunctionKind::Step:
    return RWKVRT_STEP;
  case FunctionKind::Prefill:
    return RWKVRT_PREFILL;
  case FunctionKind::Unpack:
    return RWKVRT_UNPACK;
  case FunctionKind::Pack:
    return RWKVRT_PACK;
  }
  llvm_unreachable("no such kind");
}

static_assert(int(LaunchArgument::Weights) == RWKVRT_ARG_WEIGHTS &&
                  int(LaunchArgument::Workspace) == RWKVRT_ARG_WORKSPACE &&
                  int(LaunchArgument::Input) == RWKVRT_ARG_INPUT &&
                  int(LaunchArgument::Output) == RWKVRT_ARG_OUTPUT &&
                  int(LaunchArgument::Number) == RWKVRT_ARG_NUMBER,
              "the numbers are those of abi.h");

/// Of the level's table of kernels in the artefact.
static std::string tableSymbol(const ModelInfo &info, const LevelInfo &level) {
  return "rwkvc_code_" + info.name + "_" + toIdentifier(level.name);
}

namespace {

/// Builds the constants of abi.h. Field order is that of the structures there.
class Emitter {
public:
  Emitter(llvm::Module &module, const ModelInfo &info)
      : module(module), context(module.getContext()), info(info),
        pointer(llvm::PointerType::getUnqual(context)),
        i32(llvm::Type::getInt32Ty(context)),
        i64(llvm::Type::getInt64Ty(context)) {}

  void emitInfo(llvm::ArrayRef<FunctionInfo> functions, bool isWholeProgram);

private:
  llvm::Constant *int32(int64_t v) { return llvm::ConstantInt::get(i32, v); }
  llvm::Constant *int64(int64_t v) { return llvm::ConstantInt::get(i64, v); }
  llvm::Constant *null() { return llvm::ConstantPointerNull::get(pointer); }

  llvm::GlobalVariable *global(llvm::Constant *value, const llvm::Twine &name) {
    auto *variable = new llvm::GlobalVariable(
        module, value->getType(), /*isConstant=*/true,
        llvm::GlobalValue::PrivateLinkage, value, name);
    return variable;
  }
  llvm::Constant *string(llvm::StringRef text) {
    return global(llvm::ConstantDataArray::getString(context, text), "text");
  }
  /// A constant array of equal structures, or null where there are none.
  llvm::Constant *array(llvm::ArrayRef<llvm::Constant *> elements,
                        const llvm::Twine &name) {
    if (elements.empty())
      return null();
    auto *type = llvm::ArrayType::get(elements[0]->getType(), elements.size());
    return global(llvm::ConstantArray::get(type, elements), name);
  }
  llvm::Constant *tensors(llvm::ArrayRef<TensorDescription> list,
                          const llvm::Twine &name) {
    llvm::SmallVector<llvm::Constant *> entries;
    for (const TensorDescription &tensor : list) {
      llvm::SmallVector<llvm::Constant *> dims;
      for (int64_t size : tensor.type.getShape())
        dims.push_back(int64(size));
      entries.push_back(llvm::ConstantStruct::getAnon(
          {string(tensor.name), int32(getDtype(tensor.type.getElementType())),
           int32(tensor.type.getRank()), array(dims, "dims"),
           int64(tensor.indexLimit)}));
    }
    return array(entries, name);
  }
  llvm::Function *createRun(FunctionKind kind);
  llvm::Function *emitRun(const FunctionInfo &function);
  llvm::Function *emitRun(const Served &served, llvm::Function *server);
  llvm::Constant *describe(const Interface &interface, int64_t workspaceSize,
                           llvm::Function *run);
  llvm::Constant *embedWeights();
  llvm::Constant *range(WeightsRange range);
  llvm::Constant *describe(const LevelInfo &level);
  llvm::Constant *describe(const DeviceCode &code);

  llvm::Module &module;
  llvm::LLVMContext &context;
  const ModelInfo &info;
  llvm::PointerType *pointer;
  llvm::Type *i32, *i64;
};

/// int32_t run(code, weights, inputs, outputs, workspace), still empty.
llvm::Function *Emitter::createRun(FunctionKind kind) {
  auto *type = llvm::FunctionType::get(
      i32, {pointer, pointer, pointer, pointer, pointer}, /*isVarArg=*/false);
  return llvm::Function::Create(
      type, llvm::Function::InternalLinkage,
      "rwkvc_run_" + stringifyFunctionKind(kind) + "_" + info.name, module);
}

/// One that calls the function, whose memref arguments are spread out as MLIR
/// does.
llvm::Function *Emitter::emitRun(const FunctionInfo &function) {
  const Interface &interface = function.interface;
  llvm::Function *entry = module.getFunction(function.symbol);
  // The name "main" is for programs.
  entry->setName("rwkvc_entry_" + stringifyFunctionKind(interface.kind));
  llvm::Function *run = createRun(interface.kind);
  llvm::IRBuilder<> b(llvm::BasicBlock::Create(context, "", run));
  llvm::SmallVector<llvm::Value *> arguments;
  auto pass = [&](llvm::Value *data, llvm::ArrayRef<int64_t> shape) {
    arguments.append({data, data, int64(0)});
    for (int64_t size : shape)
      arguments.push_back(int64(size));
    for (unsigned i = 0; i < shape.size(); ++i) {
      int64_t stride = 1;
      for (int64_t size : shape.drop_front(i + 1))
        stride *= size;
      arguments.push_back(int64(stride));
    }
  };
  auto element = [&](unsigned list, int64_t i) {
    llvm::Value *slot =
        b.CreateConstInBoundsGEP1_64(pointer, run->getArg(list), i);
    return b.CreateLoad(pointer, slot);
  };
  for (auto [i, input] : llvm::enumerate(interface.inputs))
    if (!interface.findStateOfInput(i))
      pass(element(2, i), input.type.getShape());
  for (auto [i, output] : llvm::enumerate(interface.outputs))
    pass(element(3, i), output.type.getShape());
  pass(run->getArg(1), {info.weightsSize});
  pass(run->getArg(4), {function.workspaceSize});
  if (info.hasTables)
    arguments.push_back(run->getArg(0));
  assert(arguments.size() == entry->arg_size() &&
         "the function was lowered otherwise");
  b.CreateCall(entry, arguments);
  llvm::Value *status = int32(0);
  // Calls of oneDNN note a failure, since they cannot return from the midst.
  if (module.getFunction(kDnnlMatmul))
    status = b.CreateCall(module.getOrInsertFunction(
        kDnnlTakeStatus, llvm::FunctionType::get(i32, false)));
  b.CreateRet(status);
  return run;
}

/// One that calls \p server with inputs and outputs in its order.
llvm::Function *Emitter::emitRun(const Served &served, llvm::Function *server) {
  if (llvm::is_sorted(served.inputs) && llvm::is_sorted(served.outputs))
    return server;
  llvm::Function *run = createRun(served.interface.kind);
  llvm::IRBuilder<> b(llvm::BasicBlock::Create(context, "", run));
  llvm::SmallVector<llvm::Value *> arguments(
      llvm::make_pointer_range(run->args()));
  auto arrange = [&](llvm::Value *&list, llvm::ArrayRef<int64_t> order) {
    llvm::Value *arranged =
        b.CreateAlloca(llvm::ArrayType::get(pointer, order.size()));
    for (auto [to, from] : llvm::enumerate(order))
      b.CreateStore(b.CreateLoad(pointer, b.CreateConstInBoundsGEP1_64(
                                              pointer, list, from)),
                    b.CreateConstInBoundsGEP1_64(pointer, arranged, to));
    list = arranged;
  };
  arrange(arguments[2], served.inputs);
  arrange(arguments[3], served.outputs);
  b.CreateRet(b.CreateCall(server, arguments));
  return run;
}

llvm::Constant *Emitter::embedWeights() {
  // The assembler copies the file: it never passes through LLVM IR.
  std::string symbol = "rwkvc_weights_" + info.name;
  std::string text;
  llvm::raw_string_ostream os(text);
  os << "\t.pushsection .rodata." << symbol << ",\"a\"\n\t.balign 64\n"
     << symbol << ":\n\t.incbin \"";
  for (char c : info.embedFile) {
    if (c == '"' || c == '\\')
      os << '\\';
    os << c;
  }
  os << "\", " << info.embedOffset << "\n\t.popsection\n";
  module.appendModuleInlineAsm(text);
  auto *variable = new llvm::GlobalVariable(
      module, llvm::Type::getInt8Ty(context), /*isConstant=*/true,
      llvm::GlobalValue::ExternalLinkage, nullptr, symbol);
  variable->setVisibility(llvm::GlobalValue::HiddenVisibility);
  return variable;
}

llvm::Constant *Emitter::range(WeightsRange range) {
  return llvm::ConstantStruct::getAnon(
      {int64(range.offset), int64(range.size)});
}

llvm::Constant *Emitter::describe(const Interface &interface,
                                  int64_t workspaceSize, llvm::Function *run) {
  llvm::SmallVector<llvm::Constant *> states;
  for (const StateDescription &state : interface.states)
    states.push_back(llvm::ConstantStruct::getAnon(
        {int32(state.input), int32(state.output),
         llvm::ConstantFP::get(llvm::Type::getDoubleTy(context),
                               state.initial)}));
  llvm::Constant *value = llvm::ConstantStruct::getAnon(
      {int32(getKind(interface.kind)), int32(interface.inputs.size()),
       int32(interface.outputs.size()), int32(interface.states.size()),
       tensors(interface.inputs, "inputs"),
       tensors(interface.outputs, "outputs"), array(states, "states"),
       int32(interface.tokenInput), int32(interface.lengthInput),
       int32(interface.logitsOutput),
       int32(interface.skipsPadding ? RWKVRT_FUNCTION_SKIPS_PADDING : 0),
       int64(interface.getBatch()), int64(interface.getBlock()),
       int64(workspaceSize),
       run ? static_cast<llvm::Constant *>(run) : null()});
  assert(module.getDataLayout().getTypeAllocSize(value->getType()) ==
             sizeof(rwkvrt_function_info) &&
         "the fields are not those of abi.h");
  return value;
}

llvm::Constant *Emitter::describe(const LevelInfo &level) {
  llvm::Constant *code = null();
  if (info.hasTables) {
    auto *table = new llvm::GlobalVariable(
        module, llvm::Type::getInt8Ty(context), /*isConstant=*/true,
        llvm::GlobalValue::ExternalLinkage, nullptr, tableSymbol(info, level));
    table->setVisibility(llvm::GlobalValue::HiddenVisibility);
    code = table;
  }
  return llvm::ConstantStruct::getAnon(
      {string(level.name), int64(static_cast<int64_t>(level.features)), code});
}

llvm::Constant *Emitter::describe(const DeviceCode &code) {
  llvm::StringMap<int64_t> numbers;
  llvm::SmallVector<llvm::Constant *> kernels, functions;
  for (const DeviceKernel &kernel : code.kernels) {
    numbers[kernel.name] = numbers.size();
    kernels.push_back(llvm::ConstantStruct::getAnon(
        {string(kernel.name), int32(kernel.numArguments),
         int32(kernel.numThreads), int32(kernel.sharedBytes), int32(0)}));
  }
  auto describeLaunches = [&](llvm::ArrayRef<Launch> list) {
    llvm::SmallVector<llvm::Constant *> launches;
    for (const Launch &launch : list) {
      llvm::SmallVector<llvm::Constant *> arguments;
      for (const LaunchArgument &argument : launch.arguments)
        arguments.push_back(llvm::ConstantStruct::getAnon(
            {int32(argument.kind), int32(argument.index),
             int64(argument.value)}));
      launches.push_back(llvm::ConstantStruct::getAnon(
          {int32(numbers.at(launch.kernel)), int32(launch.numGroups),
           int32(launch.isForLogits ? RWKVRT_LAUNCH_FOR_LOGITS : 0), int32(0),
           array(arguments, "arguments")}));
    }
    return array(launches, "launches");
  };
  for (auto [launches, workspaceSize] :
       llvm::zip_equal(code.launches, code.workspaceSizes))
    functions.push_back(llvm::ConstantStruct::getAnon(
        {int32(launches.size()), int32(0), int64(workspaceSize),
         describeLaunches(launches)}));
  llvm::GlobalVariable *image =
      global(llvm::ConstantDataArray::getRaw(
                 llvm::StringRef(code.image.data(), code.image.size()),
                 code.image.size(), llvm::Type::getInt8Ty(context)),
             "image");
  image->setAlignment(llvm::Align(16));
  return llvm::ConstantStruct::getAnon(
      {string(code.name), string(code.chip), int32(code.kind),
       int32(kernels.size()), array(kernels, "kernels"),
       array(functions, "device_functions"), image, int64(code.image.size()),
       range(code.weights)});
}

void Emitter::emitInfo(llvm::ArrayRef<FunctionInfo> functions,
                       bool isWholeProgram) {
  bool isForDevices = info.levels.empty();
  llvm::SmallVector<llvm::Constant *> entries;
  for (const FunctionInfo &function : functions) {
    llvm::Function *run = isForDevices ? nullptr : emitRun(function);
    if (const std::optional<Served> &served = function.served)
      entries.push_back(describe(served->interface, function.workspaceSize,
                                 run ? emitRun(*served, run) : nullptr));
    entries.push_back(
        describe(function.interface, function.workspaceSize, run));
  }
  llvm::SmallVector<llvm::Constant *> levels, devices;
  for (const LevelInfo &level : info.levels)
    levels.push_back(describe(level));
  for (const DeviceCode &code : info.devices)
    devices.push_back(describe(code));
  llvm::Constant *embedded = info.embedFile.empty() ? null() : embedWeights();
  llvm::SmallVector<llvm::Constant *> fields{
      int32(RWKVRT_ABI_VERSION),
      int32(sizeof(rwkvrt_model_info)),
      string(info.name),
      string("rwkvc " RWKVC_VERSION),
      string(info.target),
      int32(entries.size()),
      int32(sizeof(rwkvrt_function_info)),
      array(entries, "functions"),
      info.weightsFile.empty() ? null() : string(info.weightsFile),
      int64(info.weightsSize),
      int64(static_cast<int64_t>(info.weightsHash)),
      embedded,
      range(info.processorWeights),
      int32(levels.size()),
      int32(sizeof(rwkvrt_level_info)),
      array(levels, "levels"),
      int32(devices.size()),
      int32(sizeof(rwkvrt_device_info)),
      array(devices, "devices")};
  llvm::Constant *value = llvm::ConstantStruct::getAnon(fields);
  assert(module.getDataLayout().getTypeAllocSize(value->getType()) ==
             sizeof(rwkvrt_model_info) &&
         "the fields are not those of abi.h");
  auto *variable = new llvm::GlobalVariable(
      module, value->getType(), /*isConstant=*/true,
      llvm::GlobalValue::ExternalLinkage, value, "rwkvc_model_" + info.name);
  if (isWholeProgram)
    llvm::GlobalAlias::create("rwkvc_model", variable);
}

} // namespace

mlir::FailureOr<std::vector<FunctionInfo>>
aot::readFunctions(mlir::ModuleOp module) {
  std::vector<FunctionInfo> functions;
  for (auto function : module.getOps<mlir::FunctionOpInterface>()) {
    if (!function->hasAttr(kInterfaceAttr))
      continue;
    auto interface = readInterface(function);
    auto served = readServed(function);
    if (failed(interface) || failed(served))
      return mlir::failure();
    FunctionInfo info{function.getName().str(), std::move(*interface), 0,
                      std::move(*served)};
    if (auto size =
            function->getAttrOfType<mlir::IntegerAttr>(kWorkspaceSizeAttr))
      info.workspaceSize = size.getInt();
    functions.push_back(std::move(info));
  }
  if (functions.empty())
    return module.emitError()
           << "no function has the attribute '" << kInterfaceAttr << "'";
  return functions;
}

/// Whether callers of \p entry know what \p function says.
static bool isDescribedAs(mlir::Operation *entry,
                          const FunctionInfo &function) {
  auto interface = readInterface(entry);
  auto served = readServed(entry);
  mlir::MLIRContext *context = entry->getContext();
  auto areEqual = [&](Interface a, const Interface &b) {
    a.skipsPadding = b.skipsPadding; // processors alone do
    return toAttribute(a, context) == toAttribute(b, context);
  };
  return succeeded(interface) && succeeded(served) &&
         areEqual(*interface, function.interface) &&
         served->has_value() == function.served.has_value() &&
         (!*served ||
          (areEqual((*served)->interface, function.served->interface) &&
           (*served)->inputs == function.served->inputs &&
           (*served)->outputs == function.served->outputs));
}

mlir::LogicalResult aot::readDeviceCode(mlir::ModuleOp module,
                                        llvm::ArrayRef<FunctionInfo> functions,
                                        DeviceCode &code) {
  auto kernels = module.lookupSymbol<mlir::ModuleOp>(rwkvc::gpu::kKernelsName);
  if (!kernels)
    return module.emitError("has no kernels for a device");
  for (auto kernel : kernels.getOps<mlir::LLVM::LLVMFuncOp>()) {
    auto threads =
        kernel->getAttrOfType<mlir::IntegerAttr>(rwkvc::gpu::kThreadsAttr);
    auto shared =
        kernel->getAttrOfType<mlir::IntegerAttr>(rwkvc::gpu::kSharedBytesAttr);
    if (threads && shared)
      code.kernels.push_back({kernel.getName().str(), kernel.getNumArguments(),
                              threads.getInt(), shared.getInt()});
  }
  llvm::StringMap<DeviceKernel *> byName;
  for (DeviceKernel &kernel : code.kernels)
    byName[kernel.name] = &kernel;
  // Served interfaces are functions of their own to callers, in front.
  for (const FunctionInfo &function : functions) {
    mlir::Operation *entry = module.lookupSymbol(function.symbol);
    if (!entry || !isDescribedAs(entry, function))
      return module.emitError()
             << "function '" << function.symbol
             << "' takes or gives other tensors on processors than on devices";
    auto launches = readLaunches(entry);
    if (failed(launches))
      return mlir::failure();
    // Passes for devices may have made it larger.
    auto size = entry->getAttrOfType<mlir::IntegerAttr>(kWorkspaceSizeAttr);
    int64_t workspaceSize = size ? size.getInt() : 0;
    std::vector<Launch> list(launches->begin(), launches->end());
    for (const Launch &launch : list)
      if (DeviceKernel *kernel = byName.lookup(launch.kernel))
        kernel->maxGroups = std::max(kernel->maxGroups, launch.numGroups);
    if (const std::optional<Served> &served = function.served) {
      code.launches.push_back(list);
      for (Launch &launch : code.launches.back())
        for (LaunchArgument &argument : launch.arguments) {
          if (argument.kind == LaunchArgument::Input)
            argument.index = served->inputs[argument.index];
          else if (argument.kind == LaunchArgument::Output)
            argument.index = served->outputs[argument.index];
        }
      code.workspaceSizes.push_back(workspaceSize);
    }
    code.launches.push_back(std::move(list));
    code.workspaceSizes.push_back(workspaceSize);
  }
  return mlir::success();
}

static void makeInternal(llvm::Module &module) {
  for (llvm::Function &function : module)
    if (!function.isDeclaration() && !function.hasHiddenVisibility()) {
      function.setLinkage(llvm::GlobalValue::InternalLinkage);
      // A kernel inside the entry gains nothing, and LLVM's loop passes take
      // more than linear time in the size of the entry.
      function.addFnAttr(llvm::Attribute::NoInline);
    }
  // Lists for the linker, of destructors for instance, keep their linkage.
  for (llvm::GlobalVariable &variable : module.globals())
    if (!variable.isDeclaration() && !variable.hasAppendingLinkage())
      variable.setLinkage(llvm::GlobalValue::InternalLinkage);
}

void aot::prepareKernels(llvm::Module &kernels, const ModelInfo &info,
                         const LevelInfo &level) {
  makeInternal(kernels);
  // Profilers and debuggers tell levels apart by it.
  for (llvm::Function &function : kernels)
    if (function.hasLocalLinkage())
      function.setName(function.getName() + "." + toIdentifier(level.name));
  llvm::GlobalVariable *table =
      kernels.getGlobalVariable(cpu::kKernelTable, /*AllowInternal=*/true);
  table->setName(tableSymbol(info, level));
  table->setLinkage(llvm::GlobalValue::ExternalLinkage);
  table->setVisibility(llvm::GlobalValue::HiddenVisibility);
}

llvm::Error aot::joinKernels(llvm::Module &base,
                             std::unique_ptr<llvm::Module> kernels) {
  if (llvm::Linker::linkModules(base, std::move(kernels)))
    return llvm::createStringError("kernels of a level do not fit those of its "
                                   "base");
  return llvm::Error::success();
}

void aot::closeKernels(llvm::Module &base) {
  for (llvm::Function &function : base)
    if (!function.isDeclaration() && function.hasHiddenVisibility()) {
      function.setVisibility(llvm::GlobalValue::DefaultVisibility);
      function.setLinkage(llvm::GlobalValue::InternalLinkage);
    }
}

void aot::emitModelInfo(llvm::Module &module,
                        llvm::ArrayRef<FunctionInfo> functions,
                        const ModelInfo &info, bool isWholeProgram) {
  makeInternal(module);
  Emitter(module, info).emitInfo(functions, isWholeProgram);
}
