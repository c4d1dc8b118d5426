//===- Emitter.h - Loops over vectors in the making -------------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_LIB_TARGET_CPU_EMITTER_H
#define RWKVC_LIB_TARGET_CPU_EMITTER_H

#include "KernelSchedule.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace rwkvc::cpu {

/// Lowers an op by its schedule. Parts of it have files of their own:
/// EmitStreams.cpp, EmitCommonFactor.cpp, EmitDotProducts.cpp, EmitTiles.cpp,
/// EmitNonzero.cpp and EmitPrefetches.cpp.
class Emitter {
public:
  Emitter(mlir::OpBuilder &builder, mlir::linalg::GenericOp op,
          const Schedule &s, DotProducts dotProducts);

  void emit(mlir::Value begin, mlir::Value end);

private:
  using Values = llvm::SmallVector<mlir::Value>;

  /// What of the body is computed: all of it, or, of a sum with a common
  /// factor, the inner sum, what is done with it, or the zero point.
  enum class Part { All, Terms, Total, Zero };

  mlir::Value index(int64_t value) {
    return mlir::arith::ConstantIndexOp::create(b, value);
  }
  mlir::Value add(mlir::Value x, mlir::Value y) {
    return mlir::arith::AddIOp::create(b, x, y);
  }
  mlir::Value scaled(mlir::Value x, int64_t factor) {
    return factor == 1 ? x : mlir::arith::MulIOp::create(b, x, index(factor));
  }

  /// The elements of \p buffer from its first one on, as one dimension.
  mlir::Value flatten(mlir::Value buffer);

  Values loop(mlir::Value from, mlir::Value to, int64_t step,
              mlir::ValueRange carried,
              llvm::function_ref<Values(mlir::Value, mlir::ValueRange)> body);
  void loop(mlir::Value from, mlir::Value to, int64_t step,
            llvm::function_ref<void(mlir::Value)> body);

  void emitOuter(llvm::ArrayRef<unsigned> loops, unsigned level);
  /// \p body for as much of the limited loop \p d as is needed, and not much
  /// more, \p step iterations at a time.
  void emitNeeded(unsigned d, int64_t step,
                  llvm::function_ref<void(mlir::Value)> body);

  void emitLanes(bool isOutermost);

  /// Chunks of the lanes; in each, several steps of the reduction side by side.
  void emitStreams(bool isOutermost);

  /// Numbers of what is not zero, and after those of what may be read then, as
  /// many as are fetched ahead.
  struct NonzeroList {
    mlir::Value numbers, count;
    int64_t ahead = 0;

    explicit operator bool() const { return static_cast<bool>(numbers); }
  };
  /// Room for so many elements.
  mlir::Value allocate(int64_t size, mlir::Type element);
  mlir::Value loadNumber(mlir::Value numbers, mlir::Value at);
  void storeNumber(mlir::Value number, mlir::Value numbers, mlir::Value at);
  /// \p found , and one more if \p x is not zero.
  mlir::Value addIfNonzero(mlir::Value found, mlir::Value x);
  /// Adds what is fetched beyond a list of numbers below \p total : the first
  /// of what follows in memory, most likely of the same numbers.
  void appendAhead(const NonzeroList &list, int64_t total);
  /// Fetches so many elements of \p input from the present iteration's on.
  void prefetchRun(unsigned input, int64_t elements);
  /// How many times so many bits are fetched ahead; \p most at most.
  static int64_t countAhead(int64_t bits, int64_t fetchedBytes, int64_t most);

  /// Whether \p input has a row of lanes for each step of \p reduction .
  bool isMatrixOfSteps(unsigned input, unsigned reduction) const;
  /// The steps of \p reduction that have something to add.
  NonzeroList listSteps(unsigned reduction);
  /// Fetches what \p size steps of \p reduction from the one at \p next of the
  /// list on will read, those that are as far ahead.
  void prefetchSteps(unsigned reduction, const NonzeroList &list,
                     mlir::Value next, int64_t size);

  /// Two forms of the loops, of which the kernel takes one by how many groups
  /// are not zero: those by their list, or all.
  void emitWithoutZeros();
  /// Lists the groups of all blocks in `groups`.
  void listGroups();
  /// Elements of \p input that a tile reads of each group; 0: it has none.
  int64_t groupElements(unsigned input) const;
  /// \p body for the present block's groups on the list.
  Values visitListed(mlir::ValueRange carried,
                     llvm::function_ref<Values(mlir::ValueRange)> body);

  /// Adds \p steps of \p reduction to the outputs in [from, to).
  void emitStreamBlock(mlir::Value from, mlir::Value to, unsigned reduction,
                       const Values &steps);

  /// The lanes from \p start on: single vectors, then single elements.
  void emitRemainder(int64_t start);

  /// `rows` x \p unroll vectors of the outputs, with parallel lanes.
  void emitTile(int64_t unroll, int64_t lanes);

  /// The number of the present tile of rows, and how many of them there are.
  std::pair<mlir::Value, mlir::Value> countRowTiles();
  /// Fetches, in a step of \p reductions in a full tile, its share of what
  /// comes after the present part of the matrix. To the second-level cache: the
  /// first has the tile.
  /// Steps of the last reduction take \p size iterations.
  void fetchAhead(llvm::ArrayRef<unsigned> reductions, int64_t size = 1);

  /// Whether `rows` go through AMX's tiles.
  bool fillsTiles() const {
    return s.hasTiles && rows % Schedule::kTileSize == 0;
  }
  /// `rows` times the tile's columns of products of pairs, by AMX.
  void emitTiles();
  /// \p sums plus what sumDots() adds up over \p loop , by AMX: products of
  /// numbers less \p zero , with a sign, or as they are if it is none.
  Values addTiles(unsigned loop, Values sums, int64_t lanes,
                  std::optional<int64_t> zero);
  /// The numbers of \p dot less \p zero , for all of \p loop and the tile's
  /// columns.
  mlir::Value loadTile(const DotTerm &dot, unsigned loop, int64_t lanes,
                       int64_t zero);

  /// Adds to \p sums the sum over \p loop of what the common factor multiplies,
  /// times the factor.
  Values emitCommonFactor(unsigned loop, mlir::ValueRange sums, int64_t unroll,
                          int64_t lanes);

  bool subtractsZero(mlir::Operation *each);

  /// Where the kernel begins, adds up what weights of each block are multiplied
  /// with.
  void sumBlocks();

  /// Subtracts the zero point of a block, times the sum of what weights are
  /// multiplied with, from \p terms .
  void subtractZeros(Values &terms, int64_t unroll, int64_t lanes);

  /// The sums over \p loop of the products of groups of four, less the zero
  /// point's share, for the \p count members of the tile.
  Values sumDots(unsigned loop, unsigned count, int64_t unroll, int64_t lanes);
  /// \p sum plus the products of the pairs of bf16 in \p x and \p y .
  mlir::Value addPairs(mlir::Value sum, mlir::Value x, mlir::Value y);
  /// What the sums of dot products of numbers less \p bias start from: the
  /// bias less the zero point, times the sums of the block's activations.
  /// Empty where that is nothing.
  Values startSums(unsigned count, int64_t unroll, int64_t lanes, int64_t bias);
  /// The numbers of \p dot , for one member of the tile.
  mlir::Value computeNumbers(const DotTerm &dot, int64_t row, int64_t part,
                             int64_t lanes);

  /// The present value of an output; null where nothing reads it.
  mlir::Value loadOutput(unsigned output, int64_t row, int64_t part,
                         int64_t lanes, bool isRead);

  /// \p body in all \p loops; in the last one for each \p size iterations.
  Values emitReductions(llvm::ArrayRef<unsigned> loops,
                        mlir::ValueRange carried,
                        llvm::function_ref<Values(mlir::ValueRange)> body,
                        int64_t size = 1);

  /// emitReductions over \p reduction with several partial sums, of which the
  /// first one takes \p carried .
  Values emitChains(unsigned reduction, mlir::ValueRange carried, int64_t lanes,
                    llvm::function_ref<Values(mlir::ValueRange)> body);

  /// `rows` elements of the outputs, with the lanes summed up.
  void emitLaneReduction();

  void forEachOutput(int64_t unroll,
                     llvm::function_ref<void(unsigned, int64_t, int64_t)> fn);

  mlir::Value neutral(unsigned output);

  /// \p element , as a vector if \p type is one.
  static mlir::Type cloneType(mlir::Type type, mlir::Type element) {
    auto vector = mlir::dyn_cast<mlir::VectorType>(type);
    return vector ? vector.clone(element) : element;
  }

  mlir::Value broadcast(mlir::Value value, int64_t lanes);

  /// The present value of loop \p d for one member of the tile.
  mlir::Value loopIndex(unsigned d, int64_t row, int64_t part, int64_t lanes);

  mlir::Value elementNumber(unsigned operand, int64_t row, int64_t part,
                            int64_t lanes);

  mlir::Value load(unsigned operand, int64_t row, int64_t part, int64_t lanes);

  /// Fetches the line of element \p number of \p operand, which is read once,
  /// to the first-level cache.
  void prefetchOnce(unsigned operand, mlir::Value number);

  /// Fetches ahead what follows \p type at \p number of operand \p operand , if
  /// that is fetched and \p part begins a line.
  void fetchNext(unsigned operand, int64_t part, mlir::VectorType type,
                 mlir::Value number);

  /// A group of an operand without lanes, as one number.
  mlir::Value loadGroup(unsigned operand, int64_t row, int64_t part,
                        int64_t lanes);

  /// All members of the group for \p lanes values of the lane loop, side by
  /// side.
  mlir::Value loadGroups(unsigned operand, int64_t row, int64_t part,
                         int64_t lanes);

  void store(unsigned operand, int64_t row, int64_t part, mlir::Value value);

  /// The body for every member of the tile; \p accumulators are the outputs'
  /// present values in the order of forEachOutput.
  Values evaluate(const Values &accumulators, int64_t unroll, int64_t lanes,
                  Part which = Part::All);

  /// The ops of the body that \p which needs but for the terminator, in order.
  llvm::SetVector<mlir::Operation *> getOps(Part which);

  /// The ops of the body that \p value comes from, in order.
  llvm::SetVector<mlir::Operation *>
  getSlice(mlir::Value value, mlir::Operation *except = nullptr);

  /// Adds the terms of \p value to \p total .
  void addTerms(mlir::Value value, mlir::IRMapping &mapping,
                mlir::Value &total);

  void clone(mlir::Operation &inner, mlir::IRMapping &mapping, int64_t row,
             int64_t part, int64_t lanes);

  mlir::ImplicitLocOpBuilder b;
  mlir::linalg::GenericOp op;
  const Schedule &s;
  DotProducts dotProducts;
  Values ivs;      ///< index of each loop, of the tile's first member
  Values bases;    ///< operands as one-dimensional buffers, or scalars
  Values partials; ///< sums that a common factor multiplies, while it does
  /// Of what a common zero point multiplies, if there is one.
  mlir::Value blockSums;
  /// Groups to visit, if zeros are skipped, and how many there are before each
  /// block.
  NonzeroList groups;
  mlir::Value groupsBefore;
  bool visitsList = false; ///< and not all groups, at present
  Values preloaded;        ///< inputs that need no load at present, or empty
  mlir::Value begin, end;
  /// Of the outermost reduction, where it has parts.
  mlir::Value firstStep, endStep;
  int64_t rows; ///< iterations of the row loop that go together at present
};

} // namespace rwkvc::cpu

#endif // RWKVC_LIB_TARGET_CPU_EMITTER_H
