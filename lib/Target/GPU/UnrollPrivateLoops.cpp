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

/// Whether which element of a thread's own memory \p op accesses may depend on
/// \p loop .
static bool isPrivateAccess(Operation *op, scf::ForOp loop) {
  auto isPrivate = [](MemRefType type) {
    auto space =
        dyn_cast_if_present<mlir::gpu::AddressSpaceAttr>(type.getMemorySpace());
    return space && space.getValue() == mlir::gpu::AddressSpace::Private;
  };
  auto varies = [&](ValueRange indices) {
    return llvm::any_of(indices, [&](Value index) {
      return !loop.isDefinedOutsideOfLoop(index);
    });
  };
  if (auto load = dyn_cast<memref::LoadOp>(op))
    return isPrivate(load.getMemRefType()) && varies(load.getIndices());
  if (auto store = dyn_cast<memref::StoreOp>(op))
    return isPrivate(store.getMemRefType()) && varies(store.getIndices());
  return false;
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
        return isPrivateAccess(op, loop) ? WalkResult::interrupt()
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
