//===- UnrollPrivateLoops.cpp - A thread's memory as registers ------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "mlir/Dialect/SCF/Utils/Utils.h"
#include "rwkvc/Target/GPU/Passes.h"

namespace rwkvc::gpu {
#define GEN_PASS_DEF_UNROLLPRIVATELOOPS
#include "rwkvc/Target/GPU/Passes.h.inc"
} // namespace rwkvc::gpu

using namespace mlir;
using namespace rwkvc;

static bool isPrivate(MemRefType type) {
  auto space =
      dyn_cast_if_present<mlir::gpu::AddressSpaceAttr>(type.getMemorySpace());
  return space && space.getValue() == mlir::gpu::AddressSpace::Private;
}

/// The indices of the thread's own memory that \p op accesses.
static ValueRange getPrivateIndices(Operation *op) {
  if (auto load = dyn_cast<memref::LoadOp>(op))
    return isPrivate(load.getMemRefType()) ? load.getIndices() : ValueRange();
  if (auto store = dyn_cast<memref::StoreOp>(op))
    return isPrivate(store.getMemRefType()) ? store.getIndices() : ValueRange();
  return {};
}

/// Whether \p value is computed from the number of \p loop 's iteration. That
/// of a loop inside starts anew in each iteration.
static bool dependsOn(Value value, scf::ForOp loop) {
  if (value == loop.getInductionVar())
    return true;
  Operation *def = value.getDefiningOp();
  return def && loop->isProperAncestor(def) &&
         llvm::any_of(def->getOperands(),
                      [&](Value operand) { return dependsOn(operand, loop); });
}

namespace {

struct UnrollPrivateLoopsPass
    : rwkvc::gpu::impl::UnrollPrivateLoopsBase<UnrollPrivateLoopsPass> {
  using UnrollPrivateLoopsBase::UnrollPrivateLoopsBase;

  void runOnOperation() override {
    // Inner loops first.
    SmallVector<scf::ForOp> loops;
    getOperation().walk([&](scf::ForOp loop) {
      std::optional<APInt> count = loop.getStaticTripCount();
      if (!count || count->ugt(maxIterations))
        return;
      WalkResult found = loop.walk([&](Operation *op) {
        return llvm::any_of(getPrivateIndices(op),
                            [&](Value index) { return dependsOn(index, loop); })
                   ? WalkResult::interrupt()
                   : WalkResult::advance();
      });
      if (found.wasInterrupted())
        loops.push_back(loop);
    });
    for (scf::ForOp loop : loops)
      if (succeeded(loopUnrollFull(loop)))
        ++numUnrolled;
  }
};

} // namespace
