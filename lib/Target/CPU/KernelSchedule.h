//===- KernelSchedule.h - How a kernel is laid over vectors -----*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_LIB_TARGET_CPU_KERNELSCHEDULE_H
#define RWKVC_LIB_TARGET_CPU_KERNELSCHEDULE_H

#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include <optional>

namespace rwkvc::cpu {

/// Where an operand's element lies: base + constant + sum of stride * loop
/// index, in elements. Scalars have no strides.
struct Access {
  mlir::Value operand;
  bool isScalar = false;
  int64_t constant = 0;
  llvm::SmallVector<int64_t> strides;
};

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

/// How processors add products of four integers of 8 bits in each lane.
enum class DotProducts {
  Generic,  ///< by no instruction of its own
  AVX2,     ///< by two, of which the first adds pairs in 16 bits
  AVX512BW, ///< the same with wider registers
  VNNI      ///< by one
};
std::optional<DotProducts> symbolizeDotProducts(llvm::StringRef name);

/// Calls \p visit for every term of \p value of \p body , a sum of terms or
/// one, and \p visitSum for the sums.
void forEachTerm(mlir::Value value, mlir::Block *body,
                 llvm::function_ref<void(mlir::Value)> visit,
                 llvm::function_ref<void(mlir::Operation *)> visitSum);

struct Schedule {
  llvm::SmallVector<int64_t> ranges;
  llvm::SmallVector<bool> isReduction;
  llvm::SmallVector<Access> accesses; ///< one per operand of the op
  /// For each output whether every step of the reductions has elements of its
  /// own in it, which are updated in passing; other outputs are accumulators.
  llvm::SmallVector<bool> isStreamed;
  /// How each output folds a new value in, where the lanes are a reduction.
  llvm::SmallVector<mlir::vector::CombiningKind> combiners;

  unsigned lane = 0;  ///< the loop in vector lanes
  int64_t lanes = 1;  ///< elements of a vector
  int64_t unroll = 1; ///< vectors side by side
  /// A reduction of two or four iterations that lie side by side in memory:
  /// lanes hold all, and their products are added in one instruction. -1: none.
  int64_t group = -1;
  int64_t row = -1; ///< a parallel loop of which `rows` iterations go together;
                    ///< the last ones are fewer where they do not divide it
  int64_t rows = 1;
  /// Iterations of the outermost reduction that are done for all rows before
  /// the next, so that the matrix stays in a cache between them. 0: all.
  int64_t depth = 0;
  /// Input that every tile of rows reads from end to end: meanwhile what
  /// follows in memory is fetched, which comes next. -1: none.
  int64_t ahead = -1;
  /// Matrix-vector product with the matrix's rows along the lanes: so many rows
  /// are read side by side, each from end to end of a chunk of the lanes, which
  /// is how the hardware prefetches best. 0: tiles of accumulators.
  int64_t streams = 0;
  int64_t chunk = 0;
  /// Input whose zeros make steps of the streamed reduction needless. -1: none.
  int64_t skipped = -1;
  /// Of the innermost of reductionLoops(), if there is one.
  std::optional<CommonFactor> common;
  int64_t work = 0; ///< scalar operations of the whole kernel

  /// Parallel loops outside the lanes, outermost first; the row loop is last.
  llvm::SmallVector<unsigned> outerLoops() const;
  /// Elements of input `ahead` between two of those fetches' beginnings: what
  /// all rows read before they go on to what follows.
  int64_t elementsAhead() const;
  /// Reductions outside the lanes, outermost first.
  llvm::SmallVector<unsigned> reductionLoops() const;
  /// Iterations of the outermost loop.
  int64_t units() const;
  /// Members of a group.
  int64_t groupSize() const { return group < 0 ? 1 : ranges[group]; }
};

/// Whether \p value of the body of \p op differs from step to step of \p loop .
bool changesAlong(mlir::linalg::GenericOp op, mlir::Value value, unsigned loop);

/// Bits of \p value , which a body computes from integer arguments with signs,
/// that are not copies of its sign; none where that is not known.
std::optional<int64_t> countSignificantBits(mlir::Value value);

/// A reduction of \p op that products of small integers are summed over: two
/// iterations of at most 16 bits, or four of 8; the last such loop. Processors
/// do so in few instructions where they lie side by side.
std::optional<unsigned> findGroupLoop(mlir::linalg::LinalgOp op);

/// The schedule of \p op for registers of \p vectorBits, or none where it
/// cannot be vectorised.
std::optional<Schedule> schedule(mlir::linalg::GenericOp op,
                                 int64_t vectorBits);

/// Lowers \p op by \p schedule to loops before it and erases it. With \p begin
/// and \p end only that range of units().
void emitVectorLoops(mlir::OpBuilder &builder, mlir::linalg::GenericOp op,
                     const Schedule &schedule, DotProducts dotProducts,
                     mlir::Value begin, mlir::Value end);

} // namespace rwkvc::cpu

#endif // RWKVC_LIB_TARGET_CPU_KERNELSCHEDULE_H
