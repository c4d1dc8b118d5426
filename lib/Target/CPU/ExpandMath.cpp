//===- ExpandMath.cpp - Transcendental functions as arithmetic ------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

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
    populateMathF32ExpansionPatterns(patterns, isExpanded);
    populateMathPolynomialApproximationPatterns(patterns, isExpanded);
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns))))
      signalPassFailure();
  }
};

} // namespace
