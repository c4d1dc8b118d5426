//===- DispatchKernels.cpp - Calls of kernels -----------------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "rwkvc/AOT/Interface.h"
#include "rwkvc/Target/CPU/Passes.h"
#include <map>

namespace rwkvc::cpu {
#define GEN_PASS_DEF_DISPATCHKERNELS
#include "rwkvc/Target/CPU/Passes.h.inc"
} // namespace rwkvc::cpu

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::cpu;

/// The runtime's loop over threads; see rwkvc-rt/abi.h.
static constexpr llvm::StringLiteral kParallelFor = "rwkvrt_parallel_for";

/// Arguments of a parallel kernel ahead of its own: the range of iterations.
static unsigned numLeading(LLVM::LLVMFuncOp kernel) {
  return kernel->hasAttr(kParallelUnitsAttr) ? 2 : 0;
}

namespace {

/// A kernel that is called through a task.
struct Kernel {
  /// One for each level; without levels the only one.
  SmallVector<LLVM::LLVMFuncOp> definitions;
  bool isParallel = false;
  /// Arguments that a definition reads, and room for them.
  SmallVector<unsigned> used;
  LLVM::LLVMStructType context;
  int64_t index = -1; ///< in the tables of the levels
};

struct DispatchKernelsPass
    : cpu::impl::DispatchKernelsBase<DispatchKernelsPass> {
  void runOnOperation() override {
    frames.clear(); // of the module before
    kernels.clear();
    numTableEntries = 0;
    levels = llvm::to_vector(getOperation().getOps<ModuleOp>());
    pointer = LLVM::LLVMPointerType::get(&getContext());
    auto i64 = IntegerType::get(&getContext(), 64);
    entryType = LLVM::LLVMStructType::getLiteral(&getContext(), {pointer, i64});
    SymbolTable symbols(getOperation());
    // Without the tasks, which call kernels themselves.
    SmallVector<LLVM::LLVMFuncOp> functions(
        getOperation().getOps<LLVM::LLVMFuncOp>());
    for (LLVM::LLVMFuncOp func : functions)
      if (failed(dispatchCalls(func, symbols)))
        return signalPassFailure();
    for (ModuleOp level : levels)
      addTable(level);
  }

  LogicalResult dispatchCalls(LLVM::LLVMFuncOp func, SymbolTable &symbols) {
    SmallVector<std::pair<LLVM::CallOp, Kernel *>> calls;
    func.walk([&](LLVM::CallOp call) {
      auto callee = call.getCallee()
                        ? symbols.lookup<LLVM::LLVMFuncOp>(*call.getCallee())
                        : nullptr;
      if (Kernel *kernel = callee ? findKernel(callee) : nullptr)
        calls.emplace_back(call, kernel);
    });
    bool isEntry = func->hasAttr(aot::kInterfaceAttr);
    if (!levels.empty() && !calls.empty() && !isEntry)
      return calls.front().first.emitError()
             << "calls a kernel of several levels from a function that callers "
                "do not know, '"
             << func.getName() << "'";
    if (!levels.empty() && isEntry)
      addCodeArgument(func);
    for (auto [call, kernel] : calls)
      dispatch(call, *kernel, symbols);
    return success();
  }

  /// A last argument for the level's table.
  void addCodeArgument(LLVM::LLVMFuncOp func) {
    LLVM::LLVMFunctionType type = func.getFunctionType();
    SmallVector<Type> parameters(type.getParams());
    parameters.push_back(pointer);
    func.setFunctionType(
        LLVM::LLVMFunctionType::get(type.getReturnType(), parameters));
    if (ArrayAttr attributes = func.getArgAttrsAttr()) {
      SmallVector<Attribute> all(attributes.getValue());
      all.push_back(DictionaryAttr::get(&getContext()));
      func.setArgAttrsAttr(ArrayAttr::get(&getContext(), all));
    }
    if (!func.isExternal())
      func.getBody().addArgument(pointer, func.getLoc());
  }

  /// Null for what is called directly.
  Kernel *findKernel(LLVM::LLVMFuncOp callee) {
    auto [entry, isNew] = kernels.try_emplace(callee);
    Kernel &kernel = entry->second;
    if (!isNew)
      return kernel.definitions.empty() ? nullptr : &kernel;
    SmallVector<LLVM::LLVMFuncOp> definitions;
    if (callee->hasAttr(kParallelUnitsAttr)) {
      definitions.push_back(callee);
    } else if (callee.isExternal()) {
      for (ModuleOp level : levels)
        if (auto found = level.lookupSymbol<LLVM::LLVMFuncOp>(callee.getName()))
          definitions.push_back(found);
    }
    if (definitions.empty() ||
        (callee.isExternal() && definitions.size() != levels.size()))
      return nullptr;
    kernel.definitions = definitions;
    kernel.isParallel = llvm::any_of(definitions, numLeading);
    SmallVector<Type> types;
    unsigned number = callee.getNumArguments() - numLeading(callee);
    for (unsigned i = 0; i < number; ++i) {
      if (llvm::all_of(definitions, [&](LLVM::LLVMFuncOp func) {
            return func.getArgument(numLeading(func) + i).use_empty();
          }))
        continue;
      kernel.used.push_back(i);
      types.push_back(callee.getArgumentTypes()[numLeading(callee) + i]);
    }
    kernel.context = LLVM::LLVMStructType::getLiteral(&getContext(), types);
    for (LLVM::LLVMFuncOp definition : definitions)
      addTask(definition, kernel);
    if (callee.isExternal())
      kernel.index = numTableEntries++;
    return &kernel;
  }

  static std::string taskName(LLVM::LLVMFuncOp kernel) {
    return (kernel.getName() + "_task").str();
  }

  void addTask(LLVM::LLVMFuncOp definition, const Kernel &kernel) {
    OpBuilder at(definition);
    ImplicitLocOpBuilder b(definition.getLoc(), at);
    auto type =
        LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(&getContext()),
                                    {pointer, b.getI64Type(), b.getI64Type()});
    auto task = LLVM::LLVMFuncOp::create(b, taskName(definition), type);
    task.setLinkage(LLVM::Linkage::Internal);
    Block *block = task.addEntryBlock(b);
    b.setInsertionPointToStart(block);
    SmallVector<Value> arguments;
    if (numLeading(definition))
      arguments = {block->getArgument(1), block->getArgument(2)};
    unsigned next = 0;
    for (unsigned i = 0;
         i < definition.getNumArguments() - numLeading(definition); ++i) {
      Type element = definition.getArgumentTypes()[numLeading(definition) + i];
      if (next == kernel.used.size() || kernel.used[next] != i) {
        arguments.push_back(LLVM::PoisonOp::create(b, element));
        continue;
      }
      arguments.push_back(LLVM::LoadOp::create(
          b, element, field(b, block->getArgument(0), kernel.context, next++)));
    }
    LLVM::CallOp::create(b, definition, arguments);
    LLVM::ReturnOp::create(b, ValueRange());
  }

  void dispatch(LLVM::CallOp call, const Kernel &kernel, SymbolTable &symbols) {
    ImplicitLocOpBuilder b(call.getLoc(), call);
    bool hasLevels = kernel.index >= 0;
    ValueRange operands = call.getArgOperands();
    ValueRange arguments = hasLevels ? operands : operands.drop_front(2);
    Value storage = getStorage(call, kernel.context);
    for (auto [i, number] : llvm::enumerate(kernel.used))
      LLVM::StoreOp::create(b, arguments[number],
                            field(b, storage, kernel.context, i));
    Value task, units;
    if (hasLevels) {
      Value table =
          call->getParentOfType<LLVM::LLVMFuncOp>().getArguments().back();
      Value entry = LLVM::GEPOp::create(
          b, pointer, entryType, table,
          ArrayRef<LLVM::GEPArg>{static_cast<int32_t>(kernel.index)});
      task = LLVM::LoadOp::create(b, pointer, field(b, entry, entryType, 0));
      if (kernel.isParallel)
        units = LLVM::LoadOp::create(b, b.getI64Type(),
                                     field(b, entry, entryType, 1));
    } else {
      task = LLVM::AddressOfOp::create(b, pointer,
                                       taskName(kernel.definitions.front()));
      units = operands[1];
    }
    if (kernel.isParallel) {
      LLVM::CallOp::create(b, getParallelFor(symbols),
                           ValueRange{task, storage, units});
    } else {
      Value zero = LLVM::ConstantOp::create(b, b.getI64Type(), 0);
      Value one = LLVM::ConstantOp::create(b, b.getI64Type(), 1);
      auto type = LLVM::LLVMFunctionType::get(
          LLVM::LLVMVoidType::get(&getContext()),
          {pointer, b.getI64Type(), b.getI64Type()});
      LLVM::CallOp::create(b, type, ValueRange{task, storage, zero, one});
    }
    call.erase();
    ++numCalls;
  }

  Value field(ImplicitLocOpBuilder &b, Value base, LLVM::LLVMStructType type,
              int64_t index) {
    return LLVM::GEPOp::create(
        b, pointer, type, base,
        ArrayRef<LLVM::GEPArg>{0, static_cast<int32_t>(index)});
  }

  /// Room for the arguments in the caller's frame. One of each type is enough:
  /// the runtime returns when all threads are done.
  Value getStorage(LLVM::CallOp call, LLVM::LLVMStructType context) {
    auto func = call->getParentOfType<LLVM::LLVMFuncOp>();
    Value &storage = frames[{func, context}];
    if (!storage) {
      auto b = ImplicitLocOpBuilder::atBlockBegin(call.getLoc(),
                                                  &func.getBody().front());
      Value one = LLVM::ConstantOp::create(b, b.getI64Type(), 1);
      storage = LLVM::AllocaOp::create(b, pointer, context, one);
    }
    return storage;
  }

  /// Tasks and numbers of iterations of \p level.
  void addTable(ModuleOp level) {
    SmallVector<LLVM::LLVMFuncOp> definitions(numTableEntries);
    for (const auto &[callee, kernel] : kernels)
      if (kernel.index >= 0)
        definitions[kernel.index] = level.lookupSymbol<LLVM::LLVMFuncOp>(
            cast<LLVM::LLVMFuncOp>(callee).getName());
    auto b = ImplicitLocOpBuilder::atBlockEnd(level.getLoc(), level.getBody());
    auto type = LLVM::LLVMArrayType::get(entryType, definitions.size());
    auto table = LLVM::GlobalOp::create(b, type, /*isConstant=*/true,
                                        LLVM::Linkage::External, kKernelTable,
                                        Attribute());
    b.setInsertionPointToStart(b.createBlock(&table.getInitializerRegion()));
    Value value = LLVM::UndefOp::create(b, type);
    for (auto [i, definition] : llvm::enumerate(definitions)) {
      auto units = definition->getAttrOfType<IntegerAttr>(kParallelUnitsAttr);
      Value task = LLVM::AddressOfOp::create(b, pointer, taskName(definition));
      Value count = LLVM::ConstantOp::create(b, b.getI64Type(),
                                             units ? units.getInt() : 1);
      auto position = static_cast<int64_t>(i);
      value = LLVM::InsertValueOp::create(b, value, task,
                                          ArrayRef<int64_t>{position, 0});
      value = LLVM::InsertValueOp::create(b, value, count,
                                          ArrayRef<int64_t>{position, 1});
    }
    LLVM::ReturnOp::create(b, value);
  }

  LLVM::LLVMFuncOp getParallelFor(SymbolTable &symbols) {
    if (auto func = symbols.lookup<LLVM::LLVMFuncOp>(kParallelFor))
      return func;
    OpBuilder b(&getContext());
    auto type =
        LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(&getContext()),
                                    {pointer, pointer, b.getI64Type()});
    auto func = LLVM::LLVMFuncOp::create(b, getOperation().getLoc(),
                                         kParallelFor, type);
    symbols.insert(func, getOperation().getBody()->begin());
    return func;
  }

  SmallVector<ModuleOp> levels;
  std::map<Operation *, Kernel> kernels; ///< none: called directly
  int64_t numTableEntries = 0;
  LLVM::LLVMPointerType pointer;
  LLVM::LLVMStructType entryType; ///< of the tables
  llvm::DenseMap<std::pair<Operation *, Type>, Value> frames;
};

} // namespace
