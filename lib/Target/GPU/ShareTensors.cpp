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
    for (scf::ForallOp loop : loops) {
      copySlices(loop);
      share(loop);
    }
  }

  /// Lets loops in \p loop work on copies of what they update in place.
  void copySlices(scf::ForallOp loop) {
    for (auto slice : llvm::make_early_inc_range(
             loop.getBody()->getOps<tensor::ExtractSliceOp>())) {
      RankedTensorType type = slice.getType();
      OpOperand *writeBack = type.hasStaticShape() &&
                                     countBytes(type) <= maxBytes &&
                                     isCarried(slice)
                                 ? findWriteBack(slice)
                                 : nullptr;
      if (!writeBack)
        continue;
      OpBuilder b(&getContext());
      b.setInsertionPointAfter(slice);
      Location loc = slice.getLoc();
      auto empty = tensor::EmptyOp::create(b, loc, type, ValueRange());
      auto copy =
          linalg::CopyOp::create(b, loc, slice.getResult(), empty.getResult());
      slice.getResult().replaceAllUsesExcept(copy.getResult(0), copy);
      b.setInsertionPointAfterValue(writeBack->get());
      auto back =
          linalg::CopyOp::create(b, loc, writeBack->get(), slice.getResult());
      writeBack->set(back.getResult(0));
    }
  }

  static int64_t countBytes(RankedTensorType type) {
    return llvm::divideCeil(
        type.getNumElements() * type.getElementTypeBitWidth(), 8);
  }

  /// Tensors of an iteration of \p loop , which a workgroup is to compute, as
  /// long as there is memory: first what loops in it carry, the longest lived.
  void share(scf::ForallOp loop) {
    SmallVector<tensor::EmptyOp> carried, inside;
    loop.walk<WalkOrder::PreOrder>([&](Operation *op) {
      if (auto inner = dyn_cast<scf::ForallOp>(op);
          inner && rwkvc::gpu::isThreadLoop(inner))
        return WalkResult::skip();
      auto empty = dyn_cast<tensor::EmptyOp>(op);
      if (!empty || !empty.getType().hasStaticShape())
        return WalkResult::advance();
      if (isCarried(empty))
        carried.push_back(empty);
      else if (auto around = empty->getParentOfType<scf::ForOp>();
               around && loop->isProperAncestor(around))
        inside.push_back(empty);
      return WalkResult::advance();
    });
    int64_t bytes = 0;
    carried.append(inside);
    for (tensor::EmptyOp op : carried) {
      RankedTensorType type = op.getType();
      int64_t size = countBytes(type);
      if (bytes + size > maxBytes)
        continue;
      bytes += size;
      IRRewriter rewriter(op);
      auto own = bufferization::AllocTensorOp::create(rewriter, op.getLoc(),
                                                      type, ValueRange());
      own.setMemorySpaceAttr(mlir::gpu::AddressSpaceAttr::get(
          &getContext(), mlir::gpu::AddressSpace::Workgroup));
      rewriter.replaceOp(op, own);
      ++numShared;
    }
  }
};

} // namespace
