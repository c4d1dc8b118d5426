//===- ShareTensors.cpp - What a workgroup's loops carry ------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ThreadLoops.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "rwkvc/AOT/Interface.h"
#include "rwkvc/Target/GPU/Passes.h"

namespace rwkvc::gpu {
#define GEN_PASS_DEF_SHARETENSORS
#include "rwkvc/Target/GPU/Passes.h.inc"
} // namespace rwkvc::gpu

using namespace mlir;
using namespace rwkvc;

/// Whether \p value , or what is computed in its place, enters a loop that
/// computes with all of it in each iteration, and not with a part of it.
static bool isCarried(Value value) {
  return llvm::any_of(value.getUses(), [](OpOperand &use) {
    if (auto loop = dyn_cast<scf::ForOp>(use.getOwner())) {
      BlockArgument inside = loop.getTiedLoopRegionIterArg(&use);
      return inside &&
             llvm::any_of(inside.getUsers(), llvm::IsaPred<linalg::LinalgOp>);
    }
    auto op = dyn_cast<DestinationStyleOpInterface>(use.getOwner());
    return op && op.isDpsInit(&use) && isCarried(op.getTiedOpResult(&use));
  });
}

/// Whether \p write puts its source back where \p read takes from.
static bool isSamePlace(tensor::ExtractSliceOp read,
                        tensor::ParallelInsertSliceOp write) {
  return read.getSource() == write.getDest() &&
         read.getMixedOffsets() == write.getMixedOffsets() &&
         read.getMixedSizes() == write.getMixedSizes() &&
         read.getMixedStrides() == write.getMixedStrides();
}

/// Where what a loop makes of \p slice , through it and loops that follow, is
/// written back to the slice's place; null if that is not all that is done.
static OpOperand *findWriteBack(tensor::ExtractSliceOp slice) {
  Value value = slice.getResult();
  while (value.hasOneUse()) {
    OpOperand &use = *value.use_begin();
    if (auto loop = dyn_cast<scf::ForOp>(use.getOwner());
        loop && loop.getTiedLoopRegionIterArg(&use)) {
      value = loop.getTiedLoopResult(&use);
      continue;
    }
    auto write = dyn_cast<tensor::ParallelInsertSliceOp>(use.getOwner());
    return write && value != slice.getResult() &&
                   use.get() == write.getSource() && isSamePlace(slice, write)
               ? &use
               : nullptr;
  }
  return nullptr;
}

namespace {

struct ShareTensorsPass : rwkvc::gpu::impl::ShareTensorsBase<ShareTensorsPass> {
  using ShareTensorsBase::ShareTensorsBase;

  void runOnOperation() override {
    SmallVector<scf::ForallOp> loops;
    getOperation().walk<WalkOrder::PreOrder>([&](scf::ForallOp loop) {
      if (!rwkvc::gpu::isThreadLoop(loop))
        loops.push_back(loop);
      return WalkResult::skip();
    });
    for (scf::ForallOp loop : loops)
      share(loop);
  }

  /// Tensors of an iteration of \p loop , which a workgroup is to compute, as
  /// long as there is memory: first what loops in it carry, the longest lived.
  void share(scf::ForallOp loop) {
    int64_t left = maxBytes;
    copySlices(loop, left);
    SmallVector<tensor::EmptyOp> carried, inside;
    loop.walk<WalkOrder::PreOrder>([&](Operation *op) {
      if (auto inner = dyn_cast<scf::ForallOp>(op);
          inner && rwkvc::gpu::isThreadLoop(inner))
        return WalkResult::skip();
      auto empty = dyn_cast<tensor::EmptyOp>(op);
      if (!empty)
        return WalkResult::advance();
      if (isCarried(empty))
        carried.push_back(empty);
      else if (auto around = empty->getParentOfType<scf::ForOp>();
               around && loop->isProperAncestor(around))
        inside.push_back(empty);
      return WalkResult::advance();
    });
    carried.append(inside);
    for (tensor::EmptyOp op : carried) {
      IRRewriter rewriter(op);
      if (Value own = allocate(rewriter, op.getLoc(), op.getType(), left))
        rewriter.replaceOp(op, own);
    }
  }

  /// Lets loops in \p loop work on copies of what they update in place.
  void copySlices(scf::ForallOp loop, int64_t &left) {
    for (auto slice : llvm::make_early_inc_range(
             loop.getBody()->getOps<tensor::ExtractSliceOp>())) {
      OpOperand *writeBack = isCarried(slice) ? findWriteBack(slice) : nullptr;
      if (!writeBack)
        continue;
      OpBuilder b(&getContext());
      b.setInsertionPointAfter(slice);
      Location loc = slice.getLoc();
      Value own = allocate(b, loc, slice.getType(), left);
      if (!own)
        continue;
      auto copy = linalg::CopyOp::create(b, loc, slice.getResult(), own);
      slice.getResult().replaceAllUsesExcept(copy.getResult(0), copy);
      b.setInsertionPointAfterValue(writeBack->get());
      auto back =
          linalg::CopyOp::create(b, loc, writeBack->get(), slice.getResult());
      writeBack->set(back.getResult(0));
    }
  }

  /// A tensor in memory of the workgroup, of which \p left bytes are left; null
  /// if it does not fit.
  Value allocate(OpBuilder &b, Location loc, RankedTensorType type,
                 int64_t &left) {
    if (!type.hasStaticShape() || aot::getNumBytes(type) > left)
      return nullptr;
    left -= aot::getNumBytes(type);
    auto own = bufferization::AllocTensorOp::create(b, loc, type, ValueRange());
    own.setMemorySpaceAttr(mlir::gpu::AddressSpaceAttr::get(
        &getContext(), mlir::gpu::AddressSpace::Workgroup));
    ++numShared;
    return own;
  }
};

} // namespace
