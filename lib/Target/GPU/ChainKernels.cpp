//===- ChainKernels.cpp - Small kernels in one workgroup ------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "rwkvc/AOT/Interface.h"
#include "rwkvc/Support/Loops.h"
#include "rwkvc/Target/GPU/Passes.h"
#include "rwkvc/Transforms/Kernels.h"

namespace rwkvc::gpu {
#define GEN_PASS_DEF_CHAINKERNELS
#include "rwkvc/Target/GPU/Passes.h.inc"
} // namespace rwkvc::gpu

using namespace mlir;
using namespace rwkvc;

namespace {

struct ChainKernelsPass : rwkvc::gpu::impl::ChainKernelsBase<ChainKernelsPass> {
  using ChainKernelsBase::ChainKernelsBase;

  void runOnOperation() override {
    auto entries = aot::getEntries(getOperation());
    if (failed(entries))
      return signalPassFailure();
    for (func::FuncOp entry : *entries)
      if (!entry.isExternal())
        entry.walk([&](Block *block) {
          if (isa<func::FuncOp, scf::IfOp>(block->getParentOp()))
            chain(*block);
        });
  }

  /// Whether \p op is what one workgroup should run: elements, and few sums.
  bool isSmall(Operation *op) const {
    if (auto copy = dyn_cast<memref::CopyOp>(op)) {
      auto type = cast<MemRefType>(copy.getSource().getType());
      return type.hasStaticShape() && type.getNumElements() <= maxWork;
    }
    if (auto region = dyn_cast<scf::ExecuteRegionOp>(op))
      return llvm::all_of(region.getRegion().front().without_terminator(),
                          [&](Operation &inner) {
                            return isMemoryEffectFree(&inner) ||
                                   isa<memref::LoadOp>(inner) ||
                                   isSmall(&inner);
                          });
    auto linalg = dyn_cast<linalg::LinalgOp>(op);
    if (!linalg || !isKernel(op) || estimateWork(op) > maxWork)
      return false;
    int64_t numSums = 1;
    for (auto [range, kind] : llvm::zip_equal(linalg.getStaticLoopRanges(),
                                              linalg.getIteratorTypesArray()))
      if (kind == utils::IteratorType::parallel)
        numSums *= range;
    return linalg.getNumReductionLoops() == 0 || numSums <= maxSums;
  }

  void chain(Block &block) {
    SmallVector<Operation *> kernels;
    auto finish = [&] {
      if (!kernels.empty())
        wrap(kernels);
      kernels.clear();
    };
    for (Operation &op : llvm::make_early_inc_range(block)) {
      if (isSmall(&op)) {
        kernels.push_back(&op);
        continue;
      }
      // Views and the like move ahead of the chain.
      if (isMemoryEffectFree(&op) && !op.hasTrait<OpTrait::IsTerminator>()) {
        if (!kernels.empty())
          op.moveBefore(kernels.front());
        continue;
      }
      finish();
    }
    finish();
  }

  void wrap(ArrayRef<Operation *> kernels) {
    OpBuilder b(kernels.front());
    auto region =
        scf::ExecuteRegionOp::create(b, kernels.front()->getLoc(), TypeRange());
    region.setNoInline(true);
    region->setAttr(rwkvc::gpu::kChainAttr, b.getUnitAttr());
    b.createBlock(&region.getRegion());
    auto end = scf::YieldOp::create(b, region.getLoc());
    for (Operation *kernel : kernels)
      moveKernelsBefore(kernel, end);
    ++numChains;
    numChained += kernels.size();
  }
};

} // namespace
