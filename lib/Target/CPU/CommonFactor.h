//===- CommonFactor.h - Factors that leave a sum ----------------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_LIB_TARGET_CPU_COMMONFACTOR_H
#define RWKVC_LIB_TARGET_CPU_COMMONFACTOR_H

#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include <optional>

namespace rwkvc::cpu {

struct Schedule;

/// A term of a sum in groups of four: an activation of 8 bits with a sign times
/// a number of 8 bits without one.
struct DotTerm {
  unsigned input;      ///< the activation
  mlir::Value numbers; ///< i8, in the body
  int64_t largest;     ///< that a number may be
};

/// A sum over two loops whose terms have a factor that the inner one does not
/// change, as a block's scale is: what it multiplies is summed by itself, in
/// integers where it is a widened integer.
struct CommonFactor {
  mlir::Operation *product = nullptr; ///< factor times the rest
  mlir::Operation *sum = nullptr;     ///< the accumulator plus the product
  mlir::Value factor, rest;           ///< operands of the product
  mlir::Value summed; ///< the integer that the rest is, or the rest
  /// What every term of the sum subtracts from its weight, a block's zero
  /// point; null where terms are added as they are. The sum is that of terms
  /// without it, less the zero point times the sum of what weights are
  /// multiplied with: inputs `multiplied`, one for each term.
  mlir::Value zero;
  llvm::SmallVector<unsigned, 2> multiplied;
  /// What the sum consists of where its groups have four members; it is less
  /// `zero` times the sums of what numbers are multiplied with. Of those the
  /// sums over a block are input `blockSums`; -1: nobody knows, nor whether
  /// activations are from -127 to 127.
  llvm::SmallVector<DotTerm, 2> dots;
  int64_t blockSums = -1;
};

/// A factor that leaves the innermost of the reductions of \p s .
std::optional<CommonFactor> findFactor(mlir::linalg::GenericOp op,
                                       const Schedule &s);

/// Finds a zero point that terms of pairs have in common. Of one row, sums of
/// what it multiplies are small work; several rows would need as many, and
/// share weights from which it was subtracted.
void findZero(mlir::linalg::GenericOp op, Schedule &s);

/// Finds what groups of a row that has many zeros are read from, where those of
/// zeros only add nothing.
void findSkippedGroups(mlir::linalg::GenericOp op, Schedule &s);

/// The zero point of \p dots where it is one number, 0 if there is none, and
/// numbers less it fit 8 bits with a sign.
std::optional<int64_t> findSignedZero(const CommonFactor &dots);

/// Finds products of numbers without a sign, less one zero point, in the sum of
/// groups of four; false if its terms are others.
bool findDots(mlir::linalg::GenericOp op, Schedule &s);

} // namespace rwkvc::cpu

#endif // RWKVC_LIB_TARGET_CPU_COMMONFACTOR_H
