//===- FuseElementwise.cpp - Elementwise fusion without recomputation -----===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "mlir/Dialect/Linalg/Transforms/Transforms.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
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

/// Whether an elementwise op lies at either end of \p operand: reshapes move
/// out from between those, and products keep the form that they have, as do ops
/// whose body asks for its indices.
static bool isReshapeOfElementwise(OpOperand *operand) {
  auto isElementwise = [](Operation *op) {
    auto linalg = dyn_cast_or_null<linalg::LinalgOp>(op);
    return linalg && linalg.getNumReductionLoops() == 0 &&
           linalg.getNumParallelLoops() > 0 &&
           linalg.hasPureTensorSemantics() && !linalg.hasIndexSemantics();
  };
  Operation *producer = operand->get().getDefiningOp();
  Operation *owner = operand->getOwner();
  if (isa<tensor::ExpandShapeOp, tensor::CollapseShapeOp>(owner))
    return isElementwise(producer) && producer->hasOneUse();
  return isElementwise(owner) &&
         isa_and_nonnull<tensor::ExpandShapeOp, tensor::CollapseShapeOp>(
             producer);
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
    linalg::populateFoldReshapeOpsByExpansionPatterns(patterns,
                                                      isReshapeOfElementwise);
    // Reshapes that meet become one, which can move on.
    tensor::ExpandShapeOp::getCanonicalizationPatterns(patterns, &getContext());
    tensor::CollapseShapeOp::getCanonicalizationPatterns(patterns,
                                                         &getContext());
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns))))
      signalPassFailure();
  }
};

} // namespace
