//===- GroupKernels.cpp - Kernels that can run at once --------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "mlir/Interfaces/ViewLikeInterface.h"
#include "mlir/Transforms/RegionUtils.h"
#include "rwkvc/AOT/Interface.h"
#include "rwkvc/Support/Loops.h"
#include "rwkvc/Transforms/Kernels.h"
#include "rwkvc/Transforms/Passes.h"

namespace rwkvc {
#define GEN_PASS_DEF_GROUPKERNELS
#include "rwkvc/Transforms/Passes.h.inc"
} // namespace rwkvc

using namespace mlir;
using namespace rwkvc;

/// The buffer that \p value is a view of.
static Value getBuffer(Value value) {
  while (auto view = value.getDefiningOp<ViewLikeOpInterface>())
    value = view.getViewSource();
  return value;
}

namespace {

/// What an operation does to memory.
struct Accesses {
  llvm::SmallSetVector<Value, 4> reads, writes;
  bool isUnknown = false;

  explicit Accesses(Operation *op) {
    auto effects = getEffectsRecursively(op);
    if (!effects) {
      isUnknown = true;
      return;
    }
    for (const MemoryEffects::EffectInstance &effect : *effects) {
      Value value = effect.getValue();
      if (!value) {
        isUnknown = true;
        return;
      }
      Value buffer = getBuffer(value);
      Operation *owner = buffer.getParentBlock()->getParentOp();
      if (op->isAncestor(owner)) {
        // Its own, if it is a buffer at all; else it may be anything.
        isUnknown |= !buffer.getDefiningOp<memref::AllocOp>();
        continue;
      }
      if (isa<MemoryEffects::Read>(effect.getEffect()))
        reads.insert(buffer);
      else
        writes.insert(buffer);
    }
  }
};

/// An operation of a block, and when its turn is.
struct Entry {
  Operation *op;
  std::optional<Accesses> accesses; ///< none of what touches no memory
  int64_t step = 0;
};

struct GroupKernelsPass : rwkvc::impl::GroupKernelsBase<GroupKernelsPass> {
  using GroupKernelsBase::GroupKernelsBase;

  void runOnOperation() override {
    auto entries = aot::getEntries(getOperation());
    if (failed(entries))
      return signalPassFailure();
    for (func::FuncOp entry : *entries)
      group(entry.getBody().front());
  }

  void group(Block &block) {
    SmallVector<Entry> entries;
    int64_t numKernels = 0, work = 0;
    for (Operation &op : block.without_terminator()) {
      Entry &entry = entries.emplace_back(Entry{&op, std::nullopt});
      // A buffer is as good as there from the beginning.
      if (!isMemoryEffectFree(&op) && !isa<memref::AllocOp>(op))
        entry.accesses.emplace(&op);
      if (isKernel(&op)) {
        ++numKernels;
        work += estimateWork(&op);
      }
      if (isa<scf::ForOp, scf::IfOp>(op))
        for (Region &region : op.getRegions())
          for (Block &inner : region)
            group(inner);
    }
    if (numKernels < 2 || work / numKernels > maxMeanWork)
      return;
    findFirstSteps(entries);
    delaySmallKernels(entries);
    llvm::stable_sort(entries, [](const Entry &a, const Entry &b) {
      return a.step < b.step;
    });
    Operation *end = block.getTerminator();
    for (const Entry &entry : entries)
      entry.op->moveBefore(end);
    for (size_t i = 0; i < entries.size();) {
      SmallVector<Operation *> kernels;
      int64_t step = entries[i].step;
      for (; i < entries.size() && entries[i].step == step; ++i)
        if (isKernel(entries[i].op))
          kernels.push_back(entries[i].op);
      if (kernels.size() > 1)
        wrap(kernels);
    }
  }

  /// Gives each operation the first step at which all is done that it depends
  /// on. Even steps are for operations on memory, odd ones for views and the
  /// like, whose order in the text remains.
  static void findFirstSteps(MutableArrayRef<Entry> entries) {
    llvm::DenseMap<Operation *, int64_t> steps;
    // Per buffer, and of what touches an unknown one.
    llvm::DenseMap<Value, int64_t> lastReads, lastWrites;
    int64_t last = 0, lastUnknown = 0;
    for (Entry &entry : entries) {
      int64_t step = 1;
      auto waitFor = [&](int64_t other, int64_t distance) {
        step = std::max(step, other + distance);
      };
      llvm::SetVector<Value> used(entry.op->getOperands().begin(),
                                  entry.op->getOperands().end());
      getUsedValuesDefinedAbove(entry.op->getRegions(), used);
      for (Value value : used)
        if (auto found = steps.find(value.getDefiningOp());
            found != steps.end())
          waitFor(found->second, found->second % 2 == 0 || entry.accesses);
      if (entry.accesses) {
        const Accesses &accesses = *entry.accesses;
        waitFor(accesses.isUnknown ? last : lastUnknown, 2);
        for (Value buffer : accesses.reads)
          waitFor(lastWrites.lookup(buffer), 2);
        for (Value buffer : accesses.writes)
          waitFor(std::max(lastReads.lookup(buffer), lastWrites.lookup(buffer)),
                  2);
        step += step % 2;
        for (Value buffer : accesses.reads)
          lastReads[buffer] = std::max(lastReads[buffer], step);
        for (Value buffer : accesses.writes)
          lastWrites[buffer] = std::max(lastWrites[buffer], step);
        last = std::max(last, step);
        if (accesses.isUnknown)
          lastUnknown = step;
      }
      entry.step = steps[entry.op] = step;
    }
  }

  /// Moves views and small kernels, fills above all, to the last step at which
  /// they can be done: what is there early occupies memory until it is used.
  /// The large kernels stay, so that they wait together.
  void delaySmallKernels(MutableArrayRef<Entry> entries) const {
    // As before, seen from the end.
    llvm::DenseMap<Operation *, int64_t> steps;
    llvm::DenseMap<Value, int64_t> firstReads, firstWrites;
    int64_t firstUnknown = INT64_MAX;
    auto lower = [](llvm::DenseMap<Value, int64_t> &steps, Value buffer,
                    int64_t step) {
      int64_t &known = steps.try_emplace(buffer, step).first->second;
      known = std::min(known, step);
    };
    for (Entry &entry : llvm::reverse(entries)) {
      if (!entry.accesses) {
        int64_t use = INT64_MAX;
        for (Operation *user : entry.op->getUsers())
          if (auto found = steps.find(
                  entry.op->getBlock()->findAncestorOpInBlock(*user));
              found != steps.end())
            use = std::min(use, found->second);
        // Odd, and right before what is even.
        if (use != INT64_MAX)
          entry.step = use - (use % 2 == 0);
        steps[entry.op] = entry.step;
        continue;
      }
      const Accesses &accesses = *entry.accesses;
      int64_t use = firstUnknown;
      for (Value buffer : accesses.reads)
        use = std::min(use, firstWrites.lookup_or(buffer, INT64_MAX));
      for (Value buffer : accesses.writes)
        use = std::min({use, firstReads.lookup_or(buffer, INT64_MAX),
                        firstWrites.lookup_or(buffer, INT64_MAX)});
      if (isKernel(entry.op) && !accesses.isUnknown && use != INT64_MAX &&
          estimateWork(entry.op) < minLargeWork)
        entry.step = use - 2;
      steps[entry.op] = entry.step;
      for (Value buffer : accesses.reads)
        lower(firstReads, buffer, entry.step);
      for (Value buffer : accesses.writes)
        lower(firstWrites, buffer, entry.step);
      if (accesses.isUnknown)
        firstUnknown = std::min(firstUnknown, entry.step);
    }
  }

  void wrap(ArrayRef<Operation *> kernels) {
    OpBuilder b(kernels.front());
    auto region =
        scf::ExecuteRegionOp::create(b, kernels.front()->getLoc(), TypeRange());
    region.setNoInline(true);
    region->setAttr(kIndependentAttr, b.getUnitAttr());
    Block *body = b.createBlock(&region.getRegion());
    for (Operation *kernel : kernels)
      kernel->moveBefore(body, body->end());
    scf::YieldOp::create(b, region.getLoc());
    ++numGroups;
    numGrouped += kernels.size();
  }
};

} // namespace
