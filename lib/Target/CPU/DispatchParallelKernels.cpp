//===- DispatchParallelKernels.cpp - Kernels on the runtime's threads -----===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "rwkvc/Target/CPU/Passes.h"

namespace rwkvc::cpu {
#define GEN_PASS_DEF_DISPATCHPARALLELKERNELS
#include "rwkvc/Target/CPU/Passes.h.inc"
} // namespace rwkvc::cpu

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::cpu;

/// The runtime's loop over threads; see rwkvc-rt/abi.h.
static constexpr llvm::StringLiteral kParallelFor = "rwkvrt_parallel_for";

namespace {

struct DispatchParallelKernelsPass
    : cpu::impl::DispatchParallelKernelsBase<DispatchParallelKernelsPass> {
  void runOnOperation() override {
    frames.clear(); // of the module before
    ModuleOp module = getOperation();
    SymbolTable symbols(module);
    SmallVector<LLVM::CallOp> calls;
    module.walk([&](LLVM::CallOp call) {
      auto callee = call.getCallee()
                        ? symbols.lookup<LLVM::LLVMFuncOp>(*call.getCallee())
                        : nullptr;
      if (callee && callee->hasAttr(kParallelUnitsAttr))
        calls.push_back(call);
    });
    for (LLVM::CallOp call : calls)
      dispatch(call, symbols);
  }

  void dispatch(LLVM::CallOp call, SymbolTable &symbols) {
    auto kernel = symbols.lookup<LLVM::LLVMFuncOp>(*call.getCallee());
    ValueRange arguments = call.getArgOperands().drop_front(2);
    auto context = LLVM::LLVMStructType::getLiteral(
        &getContext(), SmallVector<Type>(arguments.getTypes()));
    LLVM::LLVMFuncOp task = getTask(kernel, context, symbols);
    ImplicitLocOpBuilder b(call.getLoc(), call);
    Value storage = getStorage(call, context);
    for (auto [i, argument] : llvm::enumerate(arguments))
      LLVM::StoreOp::create(b, argument, field(b, storage, context, i));
    LLVM::CallOp::create(b, getParallelFor(symbols),
                         ValueRange{LLVM::AddressOfOp::create(b, task), storage,
                                    call.getArgOperands()[1]});
    call.erase();
    ++numCalls;
  }

  static Value field(ImplicitLocOpBuilder &b, Value base,
                     LLVM::LLVMStructType type, int64_t index) {
    return LLVM::GEPOp::create(
        b, LLVM::LLVMPointerType::get(b.getContext()), type, base,
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
      storage = LLVM::AllocaOp::create(
          b, LLVM::LLVMPointerType::get(&getContext()), context, one);
    }
    return storage;
  }

  LLVM::LLVMFuncOp getTask(LLVM::LLVMFuncOp kernel,
                           LLVM::LLVMStructType context, SymbolTable &symbols) {
    std::string name = (kernel.getName() + "_task").str();
    if (auto task = symbols.lookup<LLVM::LLVMFuncOp>(name))
      return task;
    OpBuilder at(kernel);
    ImplicitLocOpBuilder b(kernel.getLoc(), at);
    auto type =
        LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(&getContext()),
                                    {LLVM::LLVMPointerType::get(&getContext()),
                                     b.getI64Type(), b.getI64Type()});
    auto task = LLVM::LLVMFuncOp::create(b, name, type);
    task.setLinkage(LLVM::Linkage::Internal);
    symbols.insert(task);
    Block *block = task.addEntryBlock(b);
    b.setInsertionPointToStart(block);
    SmallVector<Value> arguments{block->getArgument(1), block->getArgument(2)};
    for (auto [i, element] : llvm::enumerate(context.getBody()))
      arguments.push_back(LLVM::LoadOp::create(
          b, element, field(b, block->getArgument(0), context, i)));
    LLVM::CallOp::create(b, kernel, arguments);
    LLVM::ReturnOp::create(b, ValueRange());
    return task;
  }

  LLVM::LLVMFuncOp getParallelFor(SymbolTable &symbols) {
    if (auto func = symbols.lookup<LLVM::LLVMFuncOp>(kParallelFor))
      return func;
    OpBuilder b(&getContext());
    auto pointer = LLVM::LLVMPointerType::get(&getContext());
    auto type =
        LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(&getContext()),
                                    {pointer, pointer, b.getI64Type()});
    auto func = LLVM::LLVMFuncOp::create(b, getOperation().getLoc(),
                                         kParallelFor, type);
    symbols.insert(func, getOperation().getBody()->begin());
    return func;
  }

  llvm::DenseMap<std::pair<Operation *, Type>, Value> frames;
};

} // namespace
