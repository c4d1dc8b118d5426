//===- KernelSchedule.h - How a kernel is laid over vectors -----*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_LIB_TARGET_CPU_KERNELSCHEDULE_H
#define RWKVC_LIB_TARGET_CPU_KERNELSCHEDULE_H

#include "CommonFactor.h"
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

/// How processors add products of four integers of 8 bits in each lane, or of
/// two of bf16. Each has the instructions of those before it.
enum class DotProducts {
  Generic,  ///< by no instruction of its own
  AVX2,     ///< by two, of which the first adds pairs in 16 bits
  AVX512BW, ///< the same with wider registers
  VNNI,     ///< by one
  BF16,     ///< by one, and of two of bf16 by another
  AMX       ///< the same, and many of both kinds at once, in tiles
};
std::optional<DotProducts> symbolizeDotProducts(llvm::StringRef name);

struct Schedule {
  llvm::SmallVector<int64_t> ranges;
  llvm::SmallVector<bool> isReduction;
  llvm::SmallVector<Access> accesses; ///< one per operand of the op
  /// For each output whether every step of the reductions has elements of its
  /// own in it, which are updated in passing; other outputs are accumulators.
  llvm::SmallVector<bool> isStreamed;
  /// How each output folds a new value in, where the lanes are a reduction or
  /// sums have several chains.
  llvm::SmallVector<mlir::vector::CombiningKind> combiners;

  unsigned lane = 0;  ///< the loop in vector lanes
  int64_t lanes = 1;  ///< elements of a vector
  int64_t unroll = 1; ///< vectors side by side
  /// Partial sums of an accumulator, each of every so many-th term, so that few
  /// accumulators do not wait for themselves.
  int64_t chains = 1;
  /// A reduction of two or four iterations that lie side by side in memory:
  /// lanes hold all, and their products are added in one instruction, of bf16
  /// to the sum itself and of integers to one with a common factor. -1: none.
  int64_t group = -1;
  /// A parallel loop outside the lanes whose first `needed` iterations are
  /// enough; a few more may be done. -1: none.
  int64_t limited = -1;
  mlir::Value needed;
  int64_t row = -1; ///< a parallel loop of which `rows` iterations go together;
                    ///< the last ones are fewer where they do not divide it
  int64_t rows = 1;
  /// Whether rows, as many as kTileSize divides, go through AMX's tiles: sums
  /// of kTileSize rows and columns, to which the products of as many pairs of
  /// bf16 are added at once, or of a block's groups of integers with a common
  /// factor.
  bool hasTiles = false;
  static constexpr int64_t kTileSize = 16;
  /// Iterations of the outermost reduction that are done for all rows before
  /// the next, so that the matrix stays in a cache between them. 0: all.
  int64_t depth = 0;
  /// Input that every tile of rows reads from end to end: meanwhile what
  /// follows in memory is fetched, which comes next. -1: none.
  int64_t ahead = -1;
  /// Matrix that is read once, from end to end, between so many other
  /// instructions that a processor would not ask for enough of it by itself:
  /// it is fetched ahead, by so many bytes. -1: none.
  int64_t fetched = -1;
  int64_t fetchedAhead = 0;
  /// Whether matrices of which each element is read once are fetched past the
  /// larger caches.
  bool isStreaming = false;
  /// Matrix-vector product with the matrix's rows along the lanes: so many rows
  /// are read side by side, each from end to end of a chunk of the lanes, which
  /// is how the hardware prefetches best. 0: tiles of accumulators.
  int64_t streams = 0;
  int64_t chunk = 0;
  /// Input whose zeros make steps of the streamed reduction needless. -1: none.
  int64_t skipped = -1;
  /// Inputs of a sum with a common factor where groups of which all are zero
  /// are needless; empty: none.
  llvm::SmallVector<unsigned, 2> skippedGroups;
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
  /// How many of \p left rows, fewer than `rows`, go together.
  int64_t countRows(int64_t left) const;
  /// Whether products of pairs of bf16 are added to a sum.
  bool addsPairs() const { return group >= 0 && !common; }
  /// Members of a group.
  int64_t groupSize() const { return group < 0 ? 1 : ranges[group]; }
};

/// The schedule of \p op for registers of \p vectorBits and \p dotProducts , or
/// none where it cannot be vectorised.
std::optional<Schedule> schedule(mlir::linalg::GenericOp op, int64_t vectorBits,
                                 DotProducts dotProducts);

/// Has \p schedule do no more of parallel \p loop than \p needed iterations and
/// a few, where that is outside the lanes and its last tiles are all alike.
void limitLoop(Schedule &schedule, unsigned loop, mlir::Value needed);

/// Lowers \p op by \p schedule to loops before it and erases it. With \p begin
/// and \p end only that range of units().
void emitVectorLoops(mlir::OpBuilder &builder, mlir::linalg::GenericOp op,
                     const Schedule &schedule, DotProducts dotProducts,
                     mlir::Value begin, mlir::Value end);

} // namespace rwkvc::cpu

#endif // RWKVC_LIB_TARGET_CPU_KERNELSCHEDULE_H
