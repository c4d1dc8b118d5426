//===- DispatchKernels.cpp - Calls of kernels -----------------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "mlir/IR/IRMapping.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "rwkvc/AOT/Interface.h"
#include "rwkvc/Target/CPU/Passes.h"
#include "rwkvc/Transforms/Passes.h"
#include <map>

namespace rwkvc::cpu {
#define GEN_PASS_DEF_DISPATCHKERNELS
#include "rwkvc/Target/CPU/Passes.h.inc"
} // namespace rwkvc::cpu

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::cpu;

/// The runtime's loops over threads; see rwkvc-rt/abi.h.
static constexpr llvm::StringLiteral kParallelFor = "rwkvrt_parallel_for";
static constexpr llvm::StringLiteral kParallelLoops = "rwkvrt_parallel_loops";

/// Arguments of a parallel kernel ahead of its own: the range of iterations.
static unsigned numLeading(LLVM::LLVMFuncOp kernel) {
  return kernel->hasAttr(kParallelUnitsAttr) ? 2 : 0;
}

/// Arguments after those.
static unsigned numParameters(LLVM::LLVMFuncOp kernel) {
  return kernel.getNumArguments() - numLeading(kernel);
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

struct Call {
  LLVM::CallOp op;
  Kernel *kernel;
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
      if (!func->hasAttr(kIndependentAttr) &&
          failed(dispatchCalls(func, symbols)))
        return signalPassFailure();
    for (LLVM::LLVMFuncOp func : functions)
      if (func->hasAttr(kIndependentAttr))
        symbols.erase(func);
    for (ModuleOp level : levels)
      addTable(level);
  }

  LogicalResult dispatchCalls(LLVM::LLVMFuncOp func, SymbolTable &symbols) {
    SmallVector<LLVM::CallOp> groups;
    auto getCallee = [&](LLVM::CallOp call) {
      return call.getCallee()
                 ? symbols.lookup<LLVM::LLVMFuncOp>(*call.getCallee())
                 : nullptr;
    };
    func.walk([&](LLVM::CallOp call) {
      LLVM::LLVMFuncOp callee = getCallee(call);
      if (callee && callee->hasAttr(kIndependentAttr))
        groups.push_back(call);
    });
    SmallVector<SmallVector<Call>> regions;
    llvm::SmallPtrSet<Operation *, 16> inRegions;
    for (LLVM::CallOp group : groups) {
      SmallVector<LLVM::CallOp> members = inlineGroup(group, getCallee(group));
      // Where nothing is parallel, a region costs more than it saves.
      if (llvm::none_of(members, [&](LLVM::CallOp call) {
            return isParallel(getCallee(call));
          }))
        continue;
      SmallVector<Call> &region = regions.emplace_back();
      for (LLVM::CallOp call : members)
        if (Kernel *kernel = findKernel(getCallee(call), /*isGrouped=*/true)) {
          region.push_back({call, kernel});
          inRegions.insert(call);
        }
    }
    func.walk([&](LLVM::CallOp call) {
      LLVM::LLVMFuncOp callee = getCallee(call);
      if (!callee || inRegions.contains(call))
        return;
      Kernel *kernel = findKernel(callee, /*isGrouped=*/false);
      if (kernel && (kernel->isParallel || kernel->index >= 0))
        regions.push_back({{call, kernel}});
    });
    bool isEntry = func->hasAttr(aot::kInterfaceAttr);
    if (!levels.empty() && !regions.empty() && !isEntry)
      return regions.front().front().op.emitError()
             << "calls a kernel of several levels from a function that callers "
                "do not know, '"
             << func.getName() << "'";
    if (!levels.empty() && isEntry)
      addCodeArgument(func);
    for (ArrayRef<Call> region : regions)
      dispatch(region, symbols);
    return success();
  }

  /// The kernel \p name of \p level , which may be its base's.
  LLVM::LLVMFuncOp lookup(ModuleOp level, StringRef name) {
    if (auto found = level.lookupSymbol<LLVM::LLVMFuncOp>(name))
      return found;
    auto base = level->getAttrOfType<StringAttr>(kBaseAttr);
    for (ModuleOp other : levels)
      if (base && other.getName() == base.getValue())
        return other.lookupSymbol<LLVM::LLVMFuncOp>(name);
    return nullptr;
  }

  /// Replaces a call of \p callee, a group of kernels, by the calls in it.
  static SmallVector<LLVM::CallOp> inlineGroup(LLVM::CallOp group,
                                               LLVM::LLVMFuncOp callee) {
    OpBuilder b(group);
    IRMapping mapping;
    mapping.map(callee.getArguments(), group.getArgOperands());
    SmallVector<LLVM::CallOp> calls;
    for (Operation &op : callee.getBody().front().without_terminator())
      if (auto call = dyn_cast<LLVM::CallOp>(b.clone(op, mapping)))
        calls.push_back(call);
    group.erase();
    return calls;
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

  /// Whether \p callee runs on several threads, on one level at least.
  bool isParallel(LLVM::LLVMFuncOp callee) {
    return callee->hasAttr(kParallelUnitsAttr) ||
           (callee.isExternal() && llvm::any_of(levels, [&](ModuleOp level) {
              LLVM::LLVMFuncOp found = lookup(level, callee.getName());
              return found && found->hasAttr(kParallelUnitsAttr);
            }));
  }

  /// Null for what can only be called directly. A kernel of one thread has a
  /// task if it is in a group.
  Kernel *findKernel(LLVM::LLVMFuncOp callee, bool isGrouped) {
    Kernel &kernel = kernels[callee];
    if (!kernel.definitions.empty())
      return &kernel;
    SmallVector<LLVM::LLVMFuncOp> definitions;
    if (callee->hasAttr(kParallelUnitsAttr) ||
        (isGrouped && !callee.isExternal())) {
      definitions.push_back(callee);
    } else if (callee.isExternal()) {
      for (ModuleOp level : levels)
        if (LLVM::LLVMFuncOp found = lookup(level, callee.getName()))
          definitions.push_back(found);
    }
    if (definitions.empty() ||
        (callee.isExternal() && definitions.size() != levels.size()))
      return nullptr;
    kernel.definitions = definitions;
    kernel.isParallel = llvm::any_of(definitions, numLeading);
    SmallVector<Type> types;
    for (unsigned i = 0; i < numParameters(callee); ++i) {
      if (llvm::all_of(definitions, [&](LLVM::LLVMFuncOp func) {
            return func.getArgument(numLeading(func) + i).use_empty();
          }))
        continue;
      kernel.used.push_back(i);
      types.push_back(callee.getArgumentTypes()[numLeading(callee) + i]);
    }
    kernel.context = LLVM::LLVMStructType::getLiteral(&getContext(), types);
    llvm::SmallPtrSet<Operation *, 4> haveTasks;
    for (LLVM::LLVMFuncOp definition : definitions)
      if (haveTasks.insert(definition).second)
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
    for (unsigned i = 0; i < numParameters(definition); ++i) {
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

  /// One call of the runtime for all \p calls, which follow each other.
  void dispatch(ArrayRef<Call> calls, SymbolTable &symbols) {
    LLVM::CallOp last = calls.back().op;
    ImplicitLocOpBuilder b(last.getLoc(), last);
    auto i64 = b.getI64Type();
    SmallVector<std::array<Value, 3>> loops;
    for (auto [number, call] : llvm::enumerate(calls)) {
      const Kernel &kernel = *call.kernel;
      OperandRange operands = call.op->getOperands();
      Value context = getStorage(call.op, kernel.context, number);
      unsigned numRange =
          operands.size() - numParameters(kernel.definitions.front());
      for (auto [i, used] : llvm::enumerate(kernel.used))
        LLVM::StoreOp::create(b, operands[numRange + used],
                              field(b, context, kernel.context, i));
      Value task, units;
      if (kernel.index >= 0) {
        Value table =
            call.op->getParentOfType<LLVM::LLVMFuncOp>().getArguments().back();
        Value entry = LLVM::GEPOp::create(
            b, pointer, entryType, table,
            ArrayRef<LLVM::GEPArg>{static_cast<int32_t>(kernel.index)});
        task = LLVM::LoadOp::create(b, pointer, field(b, entry, entryType, 0));
        units = LLVM::LoadOp::create(b, i64, field(b, entry, entryType, 1));
      } else {
        task = LLVM::AddressOfOp::create(b, pointer,
                                         taskName(kernel.definitions.front()));
        units = kernel.isParallel
                    ? operands[1]
                    : LLVM::ConstantOp::create(b, i64, 1).getResult();
      }
      loops.push_back({task, context, units});
    }
    ++numRegions;
    numCalls += calls.size();
    if (calls.size() > 1) {
      auto loopType = LLVM::LLVMStructType::getLiteral(&getContext(),
                                                       {pointer, pointer, i64});
      Value storage =
          getStorage(last, LLVM::LLVMArrayType::get(loopType, calls.size()), 0);
      for (auto [i, loop] : llvm::enumerate(loops))
        for (auto [j, value] : llvm::enumerate(loop))
          LLVM::StoreOp::create(
              b, value,
              LLVM::GEPOp::create(
                  b, pointer, loopType, storage,
                  ArrayRef<LLVM::GEPArg>{static_cast<int32_t>(i),
                                         static_cast<int32_t>(j)}));
      Value count = LLVM::ConstantOp::create(
          b, b.getI32Type(), static_cast<int32_t>(calls.size()));
      LLVM::CallOp::create(
          b, getRuntime(kParallelLoops, {pointer, b.getI32Type()}, symbols),
          ValueRange{storage, count});
    } else if (calls.front().kernel->isParallel) {
      LLVM::CallOp::create(
          b, getRuntime(kParallelFor, {pointer, pointer, i64}, symbols),
          ValueRange(loops.front()));
    } else {
      auto [task, context, units] = loops.front();
      Value zero = LLVM::ConstantOp::create(b, i64, 0);
      Value one = LLVM::ConstantOp::create(b, i64, 1);
      auto type = LLVM::LLVMFunctionType::get(
          LLVM::LLVMVoidType::get(&getContext()), {pointer, i64, i64});
      LLVM::CallOp::create(b, type, ValueRange{task, context, zero, one});
    }
    for (const Call &call : calls)
      call.op->erase();
  }

  Value field(ImplicitLocOpBuilder &b, Value base, LLVM::LLVMStructType type,
              int64_t index) {
    return LLVM::GEPOp::create(
        b, pointer, type, base,
        ArrayRef<LLVM::GEPArg>{0, static_cast<int32_t>(index)});
  }

  /// Room in the caller's frame, for the arguments of kernel \p index of a
  /// region. One of each type is enough: the runtime returns when all threads
  /// are done.
  Value getStorage(LLVM::CallOp call, Type type, size_t index) {
    auto func = call->getParentOfType<LLVM::LLVMFuncOp>();
    Value &storage = frames[{func, type, index}];
    if (!storage) {
      auto b = ImplicitLocOpBuilder::atBlockBegin(call.getLoc(),
                                                  &func.getBody().front());
      Value one = LLVM::ConstantOp::create(b, b.getI64Type(), 1);
      storage = LLVM::AllocaOp::create(b, pointer, type, one);
    }
    return storage;
  }

  /// Lets \p level refer to the task of \p definition , which is its base's.
  static void shareTask(ModuleOp level, LLVM::LLVMFuncOp definition) {
    auto task =
        definition->getParentOfType<ModuleOp>().lookupSymbol<LLVM::LLVMFuncOp>(
            taskName(definition));
    task.setLinkage(LLVM::Linkage::External);
    task.setVisibility_(LLVM::Visibility::Hidden);
    auto b = OpBuilder::atBlockBegin(level.getBody());
    auto declared = LLVM::LLVMFuncOp::create(b, task.getLoc(), task.getName(),
                                             task.getFunctionType());
    declared.setVisibility_(LLVM::Visibility::Hidden);
  }

  /// Tasks and numbers of iterations of \p level.
  void addTable(ModuleOp level) {
    SmallVector<LLVM::LLVMFuncOp> definitions(numTableEntries);
    for (const auto &[callee, kernel] : kernels)
      if (kernel.index >= 0)
        definitions[kernel.index] =
            lookup(level, cast<LLVM::LLVMFuncOp>(callee).getName());
    auto b = ImplicitLocOpBuilder::atBlockEnd(level.getLoc(), level.getBody());
    auto type = LLVM::LLVMArrayType::get(entryType, definitions.size());
    auto table = LLVM::GlobalOp::create(b, type, /*isConstant=*/true,
                                        LLVM::Linkage::External, kKernelTable,
                                        Attribute());
    b.setInsertionPointToStart(b.createBlock(&table.getInitializerRegion()));
    Value value = LLVM::UndefOp::create(b, type);
    for (auto [i, definition] : llvm::enumerate(definitions)) {
      if (definition->getParentOp() != level)
        shareTask(level, definition);
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

  LLVM::LLVMFuncOp getRuntime(StringRef name, ArrayRef<Type> parameters,
                              SymbolTable &symbols) {
    if (auto func = symbols.lookup<LLVM::LLVMFuncOp>(name))
      return func;
    OpBuilder b(&getContext());
    auto type = LLVM::LLVMFunctionType::get(
        LLVM::LLVMVoidType::get(&getContext()), parameters);
    auto func =
        LLVM::LLVMFuncOp::create(b, getOperation().getLoc(), name, type);
    symbols.insert(func, getOperation().getBody()->begin());
    return func;
  }

  SmallVector<ModuleOp> levels;
  std::map<Operation *, Kernel> kernels; ///< none: called directly
  int64_t numTableEntries = 0;
  LLVM::LLVMPointerType pointer;
  LLVM::LLVMStructType entryType; ///< of the tables
  llvm::DenseMap<std::tuple<Operation *, Type, size_t>, Value> frames;
};

} // namespace
