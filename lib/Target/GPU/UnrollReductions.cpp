//===- UnrollReductions.cpp - Several terms of a sum at once --------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "mlir/Analysis/SliceAnalysis.h"
#include "mlir/Dialect/SCF/Utils/Utils.h"
#include "rwkvc/Target/GPU/Passes.h"

namespace rwkvc::gpu {
#define GEN_PASS_DEF_UNROLLREDUCTIONS
#include "rwkvc/Target/GPU/Passes.h.inc"
} // namespace rwkvc::gpu

using namespace mlir;
using namespace rwkvc;

/// Whether \p op reads the device's memory, and not what a workgroup shares.
static bool isGlobalLoad(Operation *op) {
  auto load = dyn_cast<memref::LoadOp>(op);
  return load && !mlir::gpu::GPUDialect::hasWorkgroupMemoryAddressSpace(
                     load.getMemRefType());
}

/// Whether iterations of \p loop only read memory and pass on what they sum up.
static bool isReduction(scf::ForOp loop) {
  return loop.getNumRegionIterArgs() > 0 &&
         llvm::all_of(loop.getBody()->without_terminator(),
                      [](Operation &op) {
                        return isMemoryEffectFree(&op) || isGlobalLoad(&op);
                      }) &&
         llvm::any_of(*loop.getBody(),
                      [](Operation &op) { return isGlobalLoad(&op); });
}

/// Moves what \p loop reads, and what addresses need, before all else in its
/// body: assemblers keep much of the order.
static void hoistLoads(scf::ForOp loop) {
  SetVector<Operation *> first;
  BackwardSliceOptions options;
  options.inclusive = true;
  options.filter = [&](Operation *op) {
    return op->getBlock() == loop.getBody();
  };
  for (auto load : loop.getBody()->getOps<memref::LoadOp>())
    (void)getBackwardSlice(load.getOperation(), &first, options);
  Operation *end = nullptr;
  for (Operation &op :
       llvm::make_early_inc_range(loop.getBody()->without_terminator())) {
    if (!first.contains(&op))
      end = end ? end : &op;
    else if (end)
      op.moveBefore(end);
  }
}

namespace {

struct UnrollReductionsPass
    : rwkvc::gpu::impl::UnrollReductionsBase<UnrollReductionsPass> {
  using UnrollReductionsBase::UnrollReductionsBase;

  void runOnOperation() override {
    SmallVector<scf::ForOp> loops;
    getOperation().walk([&](scf::ForOp loop) {
      if (isReduction(loop))
        loops.push_back(loop);
    });
    for (scf::ForOp loop : loops) {
      std::optional<APInt> count = loop.getStaticTripCount();
      if (!count || count->ult(2))
        continue;
      uint64_t factor = std::min<uint64_t>(maxTerms, count->getZExtValue());
      // A rest would be a loop of its own.
      while (count->getZExtValue() % factor != 0)
        --factor;
      if (factor == 1)
        continue;
      // Where all terms are one iteration, there is no loop any more.
      auto unrolled = loopUnrollByFactor(loop, factor);
      if (failed(unrolled))
        continue;
      ++numUnrolled;
      if (unrolled->mainLoopOp)
        hoistLoads(*unrolled->mainLoopOp);
    }
  }
};

} // namespace
