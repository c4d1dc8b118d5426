//===- PrivatizeTensors.cpp - Temporaries of a thread ---------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ThreadLoops.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "rwkvc/Target/GPU/Passes.h"

namespace rwkvc::gpu {
#define GEN_PASS_DEF_PRIVATIZETENSORS
#include "rwkvc/Target/GPU/Passes.h.inc"
} // namespace rwkvc::gpu

using namespace mlir;
using namespace rwkvc;

/// Whether a loop fills \p op part by part: private memory is best known by
/// constant indices.
static bool isFilledByLoop(tensor::EmptyOp op) {
  return llvm::any_of(op->getUsers(), llvm::IsaPred<LoopLikeOpInterface>);
}

namespace {

struct PrivatizeTensorsPass
    : rwkvc::gpu::impl::PrivatizeTensorsBase<PrivatizeTensorsPass> {
  using PrivatizeTensorsBase::PrivatizeTensorsBase;

  void runOnOperation() override {
    IRRewriter rewriter(&getContext());
    SmallVector<tensor::EmptyOp> temporaries;
    getOperation().walk([&](scf::ForallOp loop) {
      if (rwkvc::gpu::isThreadLoop(loop))
        loop.walk([&](tensor::EmptyOp op) { temporaries.push_back(op); });
    });
    for (tensor::EmptyOp op : temporaries) {
      RankedTensorType type = op.getType();
      if (!type.hasStaticShape() || type.getNumElements() > maxElements ||
          isFilledByLoop(op))
        continue;
      rewriter.setInsertionPoint(op);
      auto own = bufferization::AllocTensorOp::create(rewriter, op.getLoc(),
                                                      type, ValueRange());
      own.setMemorySpaceAttr(mlir::gpu::AddressSpaceAttr::get(
          &getContext(), mlir::gpu::AddressSpace::Private));
      rewriter.replaceOp(op, own);
      ++numPrivatized;
    }
  }
};

} // namespace
