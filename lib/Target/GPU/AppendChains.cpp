//===- AppendChains.cpp - Chains that a kernel's last workgroup runs ------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "rwkvc/AOT/Interface.h"
#include "rwkvc/Target/GPU/Passes.h"
#include "rwkvc/Transforms/Kernels.h"
#include "rwkvc/Transforms/Passes.h"

namespace rwkvc::gpu {
#define GEN_PASS_DEF_APPENDCHAINS
#include "rwkvc/Target/GPU/Passes.h.inc"
} // namespace rwkvc::gpu

using namespace mlir;
using namespace rwkvc;

static bool isChain(Operation *op) {
  return isa<scf::ExecuteRegionOp>(op) && op->hasAttr(rwkvc::gpu::kChainAttr);
}

namespace {

struct AppendChainsPass : rwkvc::gpu::impl::AppendChainsBase<AppendChainsPass> {
  using AppendChainsBase::AppendChainsBase;

  void runOnOperation() override {
    auto entries = aot::getEntries(getOperation());
    if (failed(entries))
      return signalPassFailure();
    for (func::FuncOp entry : *entries)
      if (!entry.isExternal() && entry->hasAttr(aot::kWorkspaceSizeAttr))
        append(entry);
  }

  void append(func::FuncOp entry) {
    // Chains, and the kernel that each follows.
    SmallVector<std::pair<scf::ExecuteRegionOp, Operation *>> pairs;
    entry.walk([&](scf::ExecuteRegionOp chain) {
      if (!isChain(chain))
        return;
      Operation *before = chain->getPrevNode();
      while (before && isMemoryEffectFree(before))
        before = before->getPrevNode();
      if (before && !isChain(before) &&
          (isKernel(before) || isa<scf::ExecuteRegionOp>(before)))
        pairs.emplace_back(chain, before);
    });
    if (pairs.empty())
      return;
    int64_t first = extendWorkspace(entry, 4 * pairs.size());
    auto b = ImplicitLocOpBuilder::atBlockBegin(entry.getLoc(),
                                                &entry.getBody().front());
    auto getCounters = [&](int64_t number, int64_t count) -> Value {
      return memref::ViewOp::create(
          b, MemRefType::get({count}, b.getI32Type()),
          entry.getArguments().back(),
          arith::ConstantIndexOp::create(b, first + 4 * number), ValueRange());
    };
    Value all = getCounters(0, pairs.size());
    SmallVector<Value> counters;
    for (size_t i = 0; i < pairs.size(); ++i)
      counters.push_back(getCounters(i, 1));
    clear(all, b, entry);
    for (auto [pair, counter] : llvm::zip_equal(pairs, counters))
      append(pair.first, pair.second, counter);
    numAppended += pairs.size();
  }

  /// Makes room for \p numBytes in the workspace; returns where.
  static int64_t extendWorkspace(func::FuncOp entry, int64_t numBytes) {
    Builder b(entry.getContext());
    BlockArgument workspace = entry.getArguments().back();
    int64_t offset = llvm::alignTo(
        entry->getAttrOfType<IntegerAttr>(aot::kWorkspaceSizeAttr).getInt(),
        64);
    workspace.setType(MemRefType::get({offset + numBytes}, b.getI8Type()));
    SmallVector<Type> types(entry.getBody().getArgumentTypes());
    entry.setFunctionType(b.getFunctionType(types, {}));
    entry->setAttr(aot::kWorkspaceSizeAttr,
                   b.getI64IntegerAttr(offset + numBytes));
    return offset;
  }

  /// Sets the counters to zero where the function begins, in its first chain if
  /// it begins with one.
  static void clear(Value counters, ImplicitLocOpBuilder &b,
                    func::FuncOp entry) {
    Value zero = arith::ConstantOp::create(b, b.getI32IntegerAttr(0));
    for (Operation &op : entry.getBody().front()) {
      if (isMemoryEffectFree(&op))
        continue;
      if (isChain(&op))
        b.setInsertionPointToStart(&op.getRegion(0).front());
      break;
    }
    linalg::FillOp::create(b, zero, counters);
  }

  static void append(scf::ExecuteRegionOp chain, Operation *kernel,
                     Value counter) {
    ImplicitLocOpBuilder b(chain.getLoc(), chain);
    auto region = scf::ExecuteRegionOp::create(b, TypeRange());
    region.setNoInline(true);
    b.createBlock(&region.getRegion());
    auto end = scf::YieldOp::create(b);
    if (kernel->hasAttr(kIndependentAttr))
      region->setAttr(kIndependentAttr, b.getUnitAttr());
    moveKernelsBefore(kernel, end);
    chain->moveBefore(end);
    b.setInsertionPointToStart(&chain.getRegion().front());
    Value one = arith::ConstantOp::create(b, b.getI32IntegerAttr(1));
    memref::AtomicRMWOp::create(
        b, arith::AtomicRMWKind::addi, one, counter,
        ValueRange{arith::ConstantIndexOp::create(b, 0)});
  }
};

} // namespace
