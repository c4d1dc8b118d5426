//===- ExpandMath.cpp - Transcendental functions as arithmetic ------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/Transforms/Passes.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"
#include "rwkvc/Target/CPU/Passes.h"

namespace rwkvc::cpu {
#define GEN_PASS_DEF_EXPANDMATH
#include "rwkvc/Target/CPU/Passes.h.inc"
} // namespace rwkvc::cpu

using namespace mlir;
using namespace rwkvc;

namespace {

/// A cast between bf16 and double precision in two steps: code generators know
/// only those between neighbours, and call functions that no C library has.
template <typename CastOp> struct SplitCast : OpRewritePattern<CastOp> {
  using OpRewritePattern<CastOp>::OpRewritePattern;

  LogicalResult matchAndRewrite(CastOp op,
                                PatternRewriter &rewriter) const override {
    auto is = [](Type type, bool half) {
      Type element = getElementTypeOrSelf(type);
      return half ? element.isBF16() : element.isF64();
    };
    Type from = op.getIn().getType(), to = op.getType();
    if (!(is(from, true) && is(to, false)) &&
        !(is(from, false) && is(to, true)))
      return failure();
    Type single = rewriter.getF32Type();
    if (auto vector = dyn_cast<VectorType>(to))
      single = vector.clone(single);
    Value between = CastOp::create(rewriter, op.getLoc(), single, op.getIn());
    rewriter.replaceOpWithNewOp<CastOp>(op, to, between);
    return success();
  }
};

struct ExpandMathPass : cpu::impl::ExpandMathBase<ExpandMathPass> {
  void runOnOperation() override {
    // Those whose approximation is within a few units in the last place; sin,
    // cos and pow lose more and stay calls.
    auto isExpanded = [](StringRef name) {
      return llvm::is_contained(
          {math::ExpOp::getOperationName(), math::ExpM1Op::getOperationName(),
           math::TanhOp::getOperationName(), math::ErfOp::getOperationName(),
           math::LogOp::getOperationName(), math::Log1pOp::getOperationName()},
          name);
    };
    RewritePatternSet patterns(&getContext());
    patterns.add<SplitCast<arith::ExtFOp>, SplitCast<arith::TruncFOp>>(
        &getContext());
    populateMathF32ExpansionPatterns(patterns, isExpanded);
    populateMathPolynomialApproximationPatterns(patterns, isExpanded);
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns))))
      signalPassFailure();
  }
};

} // namespace
