//===- Loops.cpp - Iterations of loops ------------------------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "rwkvc/Support/Loops.h"
#include "mlir/Analysis/SliceAnalysis.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Utils/IndexingUtils.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;

std::optional<int64_t>
rwkvc::countIterations(OpFoldResult from, OpFoldResult to, OpFoldResult step) {
  auto first = getConstantIntValue(from), end = getConstantIntValue(to);
  auto stride = getConstantIntValue(step);
  if (!first || !end || !stride || *stride <= 0)
    return std::nullopt;
  return std::max<int64_t>(llvm::divideCeilSigned(*end - *first, *stride), 0);
}

std::optional<SmallVector<int64_t>> rwkvc::countIterations(scf::ForallOp loop) {
  SmallVector<int64_t> counts;
  for (auto [from, to, step] :
       llvm::zip_equal(loop.getMixedLowerBound(), loop.getMixedUpperBound(),
                       loop.getMixedStep())) {
    std::optional<int64_t> count = countIterations(from, to, step);
    if (!count)
      return std::nullopt;
    counts.push_back(*count);
  }
  return counts;
}

void rwkvc::inlineIteration(RewriterBase &rewriter, scf::ForallOp loop,
                            Value number) {
  Location loc = loop.getLoc();
  auto constant = [&](int64_t value) -> Value {
    return arith::ConstantIndexOp::create(rewriter, loc, value);
  };
  SmallVector<int64_t> counts = *countIterations(loop);
  SmallVector<OpFoldResult> starts = loop.getMixedLowerBound();
  SmallVector<OpFoldResult> steps = loop.getMixedStep();
  SmallVector<Value> ivs(counts.size());
  for (int64_t axis = counts.size() - 1; axis >= 0; --axis) {
    Value digit = number;
    if (axis > 0) {
      Value count = constant(counts[axis]);
      digit = arith::RemUIOp::create(rewriter, loc, number, count);
      number = arith::DivUIOp::create(rewriter, loc, number, count);
    }
    digit = arith::MulIOp::create(rewriter, loc, digit,
                                  constant(*getConstantIntValue(steps[axis])));
    ivs[axis] = arith::AddIOp::create(
        rewriter, loc, digit, constant(*getConstantIntValue(starts[axis])));
  }
  rewriter.eraseOp(loop.getTerminator());
  rewriter.inlineBlockBefore(loop.getBody(), rewriter.getInsertionBlock(),
                             rewriter.getInsertionPoint(), ivs);
  rewriter.eraseOp(loop);
}

std::optional<SmallVector<Operation *>>
rwkvc::findCombiners(linalg::GenericOp op) {
  SmallVector<Operation *> found;
  ArrayRef<BlockArgument> outputs = op.getRegionOutputArgs();
  for (unsigned i = 0; i < outputs.size(); ++i) {
    SmallVector<Operation *, 4> combiners;
    if (!matchReduction(outputs, i, combiners) || combiners.size() != 1 ||
        !arith::getNeutralElement(combiners.front()))
      return std::nullopt;
    found.push_back(combiners.front());
  }
  return found;
}

/// Iterations of \p op if it is a loop.
static int64_t estimateIterations(Operation *op) {
  constexpr int64_t unknown = 16;
  if (auto loop = dyn_cast<scf::ForallOp>(op)) {
    auto counts = rwkvc::countIterations(loop);
    return counts ? computeProduct(*counts) : unknown;
  }
  if (auto loop = dyn_cast<scf::ForOp>(op)) {
    auto trips = loop.getStaticTripCount();
    return trips ? trips->getSExtValue() : unknown;
  }
  return 1;
}

int64_t rwkvc::estimateWork(Operation *op) {
  int64_t total = 0;
  op->walk([&](linalg::LinalgOp inner) {
    int64_t work = std::max<int64_t>(
        llvm::range_size(inner.getBlock()->without_terminator()), 1);
    for (int64_t range : inner.getStaticLoopRanges())
      work *= std::max<int64_t>(range, 1);
    for (Operation *loop = inner; loop != op;) {
      loop = loop->getParentOp();
      work *= estimateIterations(loop);
    }
    total += work;
  });
  return total;
}
