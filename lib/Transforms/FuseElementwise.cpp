//===- FuseElementwise.cpp - Elementwise fusion without recomputation -----===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "mlir/Dialect/Linalg/Transforms/Transforms.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"
#include "rwkvc/Transforms/Passes.h"

namespace rwkvc {
#define GEN_PASS_DEF_FUSEELEMENTWISE
#include "rwkvc/Transforms/Passes.h.inc"
} // namespace rwkvc

using namespace mlir;
using namespace rwkvc;

static bool isCast(linalg::LinalgOp op) {
  auto body = op.getBlock()->without_terminator();
  return llvm::hasSingleElement(body) && isa<CastOpInterface>(*body.begin());
}

static int64_t countPoints(linalg::LinalgOp op) {
  int64_t points = 1;
  for (int64_t range : op.getStaticLoopRanges())
    points =
        ShapedType::isDynamic(range) ? ShapedType::kDynamic : points * range;
  return points;
}

static bool isWorthFusing(OpOperand *operand) {
  auto producer = operand->get().getDefiningOp<linalg::LinalgOp>();
  auto consumer = dyn_cast<linalg::LinalgOp>(operand->getOwner());
  if (!producer || !consumer)
    return false;
  if (isCast(producer))
    return true;
  return producer->hasOneUse() &&
         countPoints(producer) == countPoints(consumer);
}

namespace {

struct FuseElementwisePass
    : rwkvc::impl::FuseElementwiseBase<FuseElementwisePass> {
  void runOnOperation() override {
    // Fusion works on generic ops. A fill stays what later passes know it by.
    IRRewriter rewriter(&getContext());
    getOperation().walk([&](linalg::LinalgOp op) {
      if (isa<linalg::GenericOp, linalg::FillOp>(op.getOperation()))
        return;
      rewriter.setInsertionPoint(op);
      (void)linalg::generalizeNamedOp(rewriter, op);
    });
    RewritePatternSet patterns(&getContext());
    linalg::populateElementwiseOpsFusionPatterns(patterns, isWorthFusing);
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns))))
      signalPassFailure();
  }
};

} // namespace
