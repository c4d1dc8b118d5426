//===- BodyAnalysis.h - What a linalg body computes -------------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_LIB_TARGET_CPU_BODYANALYSIS_H
#define RWKVC_LIB_TARGET_CPU_BODYANALYSIS_H

#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include <optional>

namespace rwkvc::cpu {

/// Calls \p visit for every term of \p value of \p body , a sum of terms or
/// one, and \p visitSum for the sums.
void forEachTerm(mlir::Value value, mlir::Block *body,
                 llvm::function_ref<void(mlir::Value)> visit,
                 llvm::function_ref<void(mlir::Operation *)> visitSum);

/// Whether \p value of the body of \p op differs from step to step of \p loop .
bool changesAlong(mlir::linalg::GenericOp op, mlir::Value value, unsigned loop);

/// Bits of \p value , which a body computes from integer arguments with signs,
/// that are not copies of its sign; none where that is not known.
std::optional<int64_t> countSignificantBits(mlir::Value value);

/// A reduction of \p op that products of small numbers are summed over: two
/// iterations of at most 16 bits, bf16 among them, or four of 8; the last such
/// loop. Processors do so in few instructions where they lie side by side.
std::optional<unsigned> findGroupLoop(mlir::linalg::LinalgOp op);

/// The largest that \p value of a body, of 8 bits without a sign, may be.
int64_t findLargest(mlir::Value value);

} // namespace rwkvc::cpu

#endif // RWKVC_LIB_TARGET_CPU_BODYANALYSIS_H
