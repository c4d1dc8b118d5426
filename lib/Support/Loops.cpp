//===- Loops.cpp - Iterations of loops ------------------------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "rwkvc/Support/Loops.h"
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
