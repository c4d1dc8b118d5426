//===- Loops.cpp - Iterations of loops ------------------------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "rwkvc/Support/Loops.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
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
