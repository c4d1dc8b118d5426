//===- ExpandMath.cpp - Transcendental functions as arithmetic ------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Math/Transforms/Passes.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"
#include "rwkvc/Transforms/Passes.h"

#include <cmath>

namespace rwkvc {
#define GEN_PASS_DEF_EXPANDMATH
#include "rwkvc/Transforms/Passes.h.inc"
} // namespace rwkvc

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

/// pow by exp and log, with C's results for what is not finite, zero and
/// negative. MLIR's own expansion has no negative bases.
struct ExpandPow : OpRewritePattern<math::PowFOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(math::PowFOp op,
                                PatternRewriter &rewriter) const override {
    if (!getElementTypeOrSelf(op.getType()).isF32())
      return failure();
    ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    Value base = op.getLhs(), exponent = op.getRhs();
    auto constant = [&](float value) -> Value {
      TypedAttr attr = b.getF32FloatAttr(value);
      if (auto vector = dyn_cast<VectorType>(op.getType()))
        attr = DenseElementsAttr::get(vector, attr);
      return arith::ConstantOp::create(b, attr);
    };
    auto compare = [&](arith::CmpFPredicate predicate, Value lhs,
                       Value rhs) -> Value {
      return arith::CmpFOp::create(b, predicate, lhs, rhs);
    };
    auto isInteger = [&](Value value) {
      return compare(arith::CmpFPredicate::OEQ, math::TruncOp::create(b, value),
                     value);
    };
    Value one = constant(1), zero = constant(0);
    Value size = math::AbsFOp::create(b, base);
    Value power = math::ExpOp::create(
        b, arith::MulFOp::create(b, exponent, math::LogOp::create(b, size)));
    auto choose = [&](Value condition, Value value) {
      power = arith::SelectOp::create(b, condition, value, power);
    };
    // -1 to an infinite power, where the product is 0 times infinity.
    choose(compare(arith::CmpFPredicate::OEQ, size, one), one);
    Value isWhole = isInteger(exponent);
    Value isEven = isInteger(arith::MulFOp::create(b, exponent, constant(0.5)));
    choose(arith::CmpIOp::create(b, arith::CmpIPredicate::ugt, isWhole, isEven),
           math::CopySignOp::create(b, power, base));
    Value isRoot = compare(arith::CmpFPredicate::OLT, base, zero);
    isRoot = arith::AndIOp::create(
        b, isRoot,
        compare(arith::CmpFPredicate::OLT, size, constant(INFINITY)));
    isRoot = arith::AndIOp::create(b, isRoot,
                                   compare(arith::CmpFPredicate::ONE,
                                           math::TruncOp::create(b, exponent),
                                           exponent));
    choose(isRoot, constant(NAN));
    choose(compare(arith::CmpFPredicate::UNO, exponent, exponent), exponent);
    choose(compare(arith::CmpFPredicate::OEQ, base, one), one);
    choose(compare(arith::CmpFPredicate::OEQ, exponent, zero), one);
    rewriter.replaceOp(op, power);
    return success();
  }
};

/// Functions whose approximation is within a few units in the last place.
static bool isPrecise(StringRef name) {
  return llvm::is_contained(
      {math::ExpOp::getOperationName(), math::ExpM1Op::getOperationName(),
       math::TanhOp::getOperationName(), math::ErfOp::getOperationName(),
       math::LogOp::getOperationName(), math::Log1pOp::getOperationName()},
      name);
}

/// Functions whose approximation loses more.
static bool isCoarse(StringRef name) {
  return llvm::is_contained(
      {math::SinOp::getOperationName(), math::CosOp::getOperationName(),
       math::TanOp::getOperationName(), math::PowFOp::getOperationName()},
      name);
}

/// Functions that a library computes, and no instruction.
static bool isLibraryCall(Operation *op) {
  return isPrecise(op->getName().getStringRef()) ||
         isCoarse(op->getName().getStringRef()) ||
         isa<math::Exp2Op, math::Log2Op, math::Log10Op, math::CbrtOp,
             math::AsinOp, math::AcosOp, math::AtanOp, math::Atan2Op,
             math::SinhOp, math::CoshOp, math::AsinhOp, math::AcoshOp,
             math::AtanhOp, math::ErfcOp, math::FPowIOp>(op);
}

struct ExpandMathPass : rwkvc::impl::ExpandMathBase<ExpandMathPass> {
  using ExpandMathBase::ExpandMathBase;

  void runOnOperation() override {
    auto isExpanded = [this](StringRef name) {
      return isPrecise(name) || (!hasLibrary && isCoarse(name));
    };
    RewritePatternSet patterns(&getContext());
    patterns.add<SplitCast<arith::ExtFOp>, SplitCast<arith::TruncFOp>>(
        &getContext());
    populateMathF32ExpansionPatterns(patterns, isExpanded);
    populateMathPolynomialApproximationPatterns(patterns, isExpanded);
    if (!hasLibrary) {
      math::populateExpansionPatterns(patterns, {"tan"});
      patterns.add<ExpandPow>(&getContext());
    }
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns))))
      return signalPassFailure();
    getOperation()->walk([&](Operation *op) {
      if (!isLibraryCall(op))
        return;
      ++numLeft;
      if (hasLibrary)
        return;
      InFlightDiagnostic diag = op->emitError();
      diag << "the target has no function for '" << op->getName() << "' of "
           << op->getResult(0).getType()
           << "; compute it in single precision in the file, or compile for a "
              "target that has one (--target=cpu or spirv)";
      signalPassFailure();
    });
  }
};

} // namespace
