//===- Products.cpp - Tiles of products for a workgroup -------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "MatrixUnits.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/SCF/Utils/Utils.h"
#include "mlir/IR/IRMapping.h"
#include "rwkvc/AOT/Interface.h"
#include "llvm/ADT/EquivalenceClasses.h"

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::gpu;

/// Elements of its output that a thread should compute, where that makes no
/// fewer threads than a processor runs at once.
static constexpr int64_t kElementsOfThread = 16, kMinThreads = 128;
/// Of which at least so many must be left.
static constexpr int64_t kMinElementsOfThread = 4;
/// Neighbouring columns, and most rows, of a thread.
static constexpr int64_t kColumnsOfThread = 4, kMaxRowsOfThread = 8;
/// The same for a subgroup where matrix units compute them: one small matrix,
/// so that all units of a processor have one, and more threads fetch operands.
static constexpr int64_t kElementsOfSubgroup = kUnitSide * kUnitSide;
/// Terms of the sums, and numbers of both sides, in shared memory at once.
static constexpr int64_t kTermsAtOnce = 32, kMaxNumbersAtOnce = 6144;
/// Values that a thread has fetched for the next ones.
static constexpr int64_t kMaxFetched = 32;
/// Terms of an iteration.
static constexpr int64_t kTermsOfIteration = 4;

namespace {

/// Writes an op's body so that factors which depend on one side alone are
/// multiplied with each other first.
class FactorGrouper {
public:
  FactorGrouper(linalg::GenericOp genericOp, Dependences &itsDependences)
      : op(genericOp), deps(itsDependences) {}

  void run() {
    for (Operation &inner : llvm::make_early_inc_range(*op.getBody())) {
      auto product = dyn_cast<arith::MulFOp>(inner);
      if (!product || deps.get(product) != Both)
        continue;
      Value scale;
      for (auto [some, other] : {std::pair(product.getLhs(), product.getRhs()),
                                 std::pair(product.getRhs(), product.getLhs())})
        if (deps.get(some) == Both && deps.get(other) != Both &&
            canScale(some, other)) {
          b.setInsertionPoint(product);
          scale = multiply(some, other);
          break;
        }
      if (!scale)
        continue;
      product.replaceAllUsesWith(scale);
      product.erase();
    }
    addOneByOne();
    for (Operation &inner :
         llvm::make_early_inc_range(llvm::reverse(*op.getBody())))
      if (isOpTriviallyDead(&inner))
        inner.erase();
  }

private:
  bool isOneSided(Value factor, Value scale) const {
    unsigned mask = deps.get(factor) | deps.get(scale);
    return mask != Both;
  }
  /// Whether \p scale can be multiplied into the factors of \p value .
  bool canScale(Value value, Value scale) {
    Operation *def = value.getDefiningOp();
    if (!def || def->getBlock() != op.getBody() || !value.hasOneUse())
      return false;
    if (isa<arith::AddFOp>(def))
      return canScale(def->getOperand(0), scale) &&
             canScale(def->getOperand(1), scale);
    return isa<arith::MulFOp>(def) &&
           llvm::any_of(def->getOperands(), [&](Value factor) {
             return isOneSided(factor, scale) || canScale(factor, scale);
           });
  }
  template <typename OpType> Value create(Value lhs, Value rhs) {
    auto made = OpType::create(b, op.getLoc(), lhs, rhs);
    deps.add(made);
    return made;
  }
  Value multiply(Value value, Value scale) {
    Operation *def = value.getDefiningOp();
    Value lhs = def->getOperand(0), rhs = def->getOperand(1);
    if (isa<arith::AddFOp>(def))
      return create<arith::AddFOp>(multiply(lhs, scale), multiply(rhs, scale));
    if (isOneSided(lhs, scale))
      return create<arith::MulFOp>(create<arith::MulFOp>(lhs, scale), rhs);
    if (isOneSided(rhs, scale))
      return create<arith::MulFOp>(lhs, create<arith::MulFOp>(rhs, scale));
    if (canScale(lhs, scale))
      return create<arith::MulFOp>(multiply(lhs, scale), rhs);
    return create<arith::MulFOp>(lhs, multiply(rhs, scale));
  }
  /// Adds the two terms of a sum that is added to an output one by one, so that
  /// each is one instruction.
  void addOneByOne() {
    for (OpOperand &yielded : op.getBody()->getTerminator()->getOpOperands()) {
      auto sum = yielded.get().getDefiningOp<arith::AddFOp>();
      if (!sum)
        continue;
      Value output = sum.getLhs(), rest = sum.getRhs();
      if (!isa<BlockArgument>(output))
        std::swap(output, rest);
      auto terms = rest.getDefiningOp<arith::AddFOp>();
      if (!isa<BlockArgument>(output) || !terms || !terms->hasOneUse())
        continue;
      b.setInsertionPoint(sum);
      yielded.set(create<arith::AddFOp>(
          create<arith::AddFOp>(output, terms.getLhs()), terms.getRhs()));
    }
  }

  linalg::GenericOp op;
  Dependences &deps;
  OpBuilder b{op.getContext()};
};

} // namespace

/// The sides of \p op , if it is a sum of products whose body can be computed
/// for several elements at once, and has some for each of \p wantedThreads .
static std::optional<ProductTiles> matchProduct(linalg::GenericOp op,
                                                int64_t wantedThreads) {
  if (op.getNumDpsInits() != 1 || op.getNumReductionLoops() == 0)
    return std::nullopt;
  if (llvm::any_of(*op.getBody(), [](Operation &inner) {
        return isa<linalg::IndexOp>(inner) || inner.getNumRegions() > 0 ||
               !isMemoryEffectFree(&inner);
      }))
    return std::nullopt;
  OpOperand &output = *op.getDpsInitOperand(0);
  AffineMap outputMap = op.getMatchingIndexingMap(&output);
  SmallVector<int64_t> ranges = op.getStaticLoopRanges();
  ProductTiles tiles;
  op.getReductionDims(tiles.reductions);
  for (unsigned loop : tiles.reductions) {
    tiles.numTerms *= ranges[loop];
    if (outputMap.isFunctionOfDim(loop))
      return std::nullopt;
  }
  // Loops that an input depends on are of one side.
  SmallVector<unsigned> parallel;
  op.getParallelDims(parallel);
  llvm::erase_if(parallel, [&](unsigned loop) { return ranges[loop] == 1; });
  llvm::EquivalenceClasses<unsigned> sides;
  for (unsigned loop : parallel)
    sides.insert(loop);
  for (OpOperand *input : op.getDpsInputOperands()) {
    AffineMap map = op.getMatchingIndexingMap(input);
    std::optional<unsigned> first;
    for (unsigned loop : parallel) {
      if (!map.isFunctionOfDim(loop))
        continue;
      if (first)
        sides.unionSets(*first, loop);
      else
        first = loop;
    }
  }
  if (sides.getNumClasses() != 2)
    return std::nullopt;
  llvm::sort(parallel, [&](unsigned lhs, unsigned rhs) {
    return std::pair(getStride(op, output, rhs), lhs) <
           std::pair(getStride(op, output, lhs), rhs);
  });
  for (unsigned loop : parallel) {
    ProductSide &side =
        sides.isEquivalent(loop, parallel.back()) ? tiles.columns : tiles.rows;
    side.loops.push_back(loop);
    side.size *= ranges[loop];
  }
  if (tiles.rows.size < 4 || tiles.columns.size < 2 * kColumnsOfThread ||
      tiles.rows.size * tiles.columns.size <
          kMinElementsOfThread * wantedThreads)
    return std::nullopt;
  return tiles;
}

/// Finds the factors of each side, and what they are computed from.
static void findFactors(linalg::GenericOp op, const Dependences &deps,
                        ProductTiles &tiles) {
  auto getSide = [&](Value value) -> ProductSide & {
    return deps.get(value) == Rows ? tiles.rows : tiles.columns;
  };
  SetVector<Value> factors;
  for (Operation &inner : *op.getBody())
    if (inner.hasTrait<OpTrait::IsTerminator>() ||
        llvm::any_of(inner.getResults(),
                     [&](Value result) { return deps.get(result) == Both; }))
      for (Value operand : inner.getOperands())
        if (deps.get(operand) != Both && !deps.isOutside(operand))
          factors.insert(operand);
  for (Value factor : factors)
    getSide(factor).factors.push_back(factor);
  for (ProductSide *side : {&tiles.rows, &tiles.columns}) {
    SetVector<Value> needed(side->factors.begin(), side->factors.end());
    for (size_t i = 0; i < needed.size(); ++i)
      if (Operation *def = needed[i].getDefiningOp())
        for (Value operand : def->getOperands())
          if (!deps.isOutside(operand))
            needed.insert(operand);
    OpOperand *largest = nullptr;
    for (OpOperand *input : op.getDpsInputOperands()) {
      if (!needed.contains(op.getMatchingBlockArgument(input)))
        continue;
      side->inputs.push_back(input);
      auto count = [](OpOperand *operand) {
        return cast<MemRefType>(operand->get().getType()).getNumElements();
      };
      if (!largest || count(input) > count(largest))
        largest = input;
    }
    if (!largest || side->loops.empty())
      continue;
    int64_t ofTerm = getStride(op, *largest, tiles.reductions.back());
    int64_t ofElement = getStride(op, *largest, side->loops.back());
    side->areTermsNeighbours = ofTerm != 0 && ofTerm < ofElement;
  }
}

bool rwkvc::gpu::chooseTerms(ProductTiles &tiles, int64_t numbers,
                             int64_t maxNumbers, int64_t numThreads) {
  int64_t fetched = 0;
  for (const ProductSide *side : {&tiles.rows, &tiles.columns})
    fetched += side->inTile() * static_cast<int64_t>(side->inputs.size());
  tiles.atOnce =
      std::min<int64_t>(kTermsAtOnce, llvm::PowerOf2Ceil(tiles.numTerms));
  while (tiles.atOnce > 1 &&
         (tiles.atOnce * numbers > maxNumbers ||
          tiles.atOnce * fetched > kMaxFetched * numThreads))
    tiles.atOnce /= 2;
  // All threads fetch some.
  return llvm::none_of(std::array{&tiles.rows, &tiles.columns},
                       [&](const ProductSide *side) {
                         return side->inTile() * tiles.atOnce < numThreads;
                       });
}

int64_t rwkvc::gpu::countProductThreads(linalg::GenericOp op,
                                        int64_t wantedThreads,
                                        const MatrixUnits *units) {
  std::optional<ProductTiles> tiles = matchProduct(op, wantedThreads);
  if (!tiles)
    return 0;
  int64_t numElements = tiles->rows.size * tiles->columns.size;
  int64_t ofThread =
      units ? kElementsOfSubgroup / units->subgroupSize : kElementsOfThread;
  // A power of two, so that as many as are made of it leave some too.
  auto most = llvm::bit_floor<uint64_t>(numElements / kMinElementsOfThread);
  return std::min<int64_t>(most, std::max(numElements / ofThread, kMinThreads));
}

/// Numbers of 32 bits of the kernel's own buffers in shared memory.
static int64_t countOwnNumbers(linalg::GenericOp op) {
  int64_t bytes = 0;
  op->getParentOfType<FunctionOpInterface>().walk([&](memref::AllocOp alloc) {
    MemRefType type = alloc.getType();
    if (mlir::gpu::GPUDialect::hasWorkgroupMemoryAddressSpace(type))
      bytes += aot::getNumBytes(type);
  });
  return llvm::divideCeil(bytes, 4);
}

std::optional<ProductTiles> rwkvc::gpu::chooseTiles(linalg::GenericOp op,
                                                    int64_t numThreads,
                                                    int64_t wantedThreads,
                                                    const MatrixUnits *units) {
  std::optional<ProductTiles> tiles = matchProduct(op, wantedThreads);
  if (!tiles)
    return std::nullopt;
  Dependences deps(op, *tiles);
  FactorGrouper(op, deps).run();
  findFactors(op, deps, *tiles);
  if (units && chooseUnitTiles(op, deps, *units, numThreads, *tiles))
    return tiles;
  ProductSide &rows = tiles->rows, &columns = tiles->columns;
  columns.ofThread = kColumnsOfThread;
  auto shareColumns = [&](int64_t count) {
    columns.threads = std::min(count, numThreads);
    rows.threads = numThreads / columns.threads;
  };
  int64_t mostThreads =
      llvm::PowerOf2Ceil(llvm::divideCeil(columns.size, columns.ofThread));
  shareColumns(std::min<int64_t>(mostThreads, 16));
  // A thread should have two rows at least.
  while (rows.threads * 2 > rows.size && columns.threads < mostThreads)
    shareColumns(columns.threads * 2);
  rows.ofThread = std::min<int64_t>(
      llvm::PowerOf2Ceil(llvm::divideCeil(rows.size, rows.threads)),
      kMaxRowsOfThread);
  int64_t numbers = 0;
  for (const ProductSide *side : {&rows, &columns})
    numbers += side->inTile() * static_cast<int64_t>(side->factors.size());
  if (!chooseTerms(*tiles, numbers, kMaxNumbersAtOnce - countOwnNumbers(op),
                   numThreads))
    return std::nullopt;
  return tiles;
}

namespace {

/// Lets each thread compute neighbouring rows and columns, all with all.
class ThreadTiles : public ProductEmitter {
public:
  using ProductEmitter::ProductEmitter;

private:
  int64_t getPadding(const ProductSide &side) const override {
    // Threads that write terms side by side do so in different banks.
    return side.areTermsNeighbours ? kColumnsOfThread : 0;
  }
  SmallVector<Value> startSums() override;
  SmallVector<Value> multiply(ValueRange sums, int64_t count) override;
  void computeTile() override;
  SmallVector<Value> getOwn(const Place &place);
  SmallVector<Value> computeBody(ValueRange sums, Value term);
};

} // namespace

/// The elements of a side of the tile that are this thread's.
SmallVector<Value> ThreadTiles::getOwn(const Place &place) {
  AffineExpr d0 = b.getAffineDimExpr(0);
  int64_t inRow = tiles.columns.threads;
  AffineExpr thread =
      place.side == &tiles.rows ? d0.floorDiv(inRow) : d0 % inRow;
  SmallVector<Value> elements;
  for (int64_t i = 0; i < place.side->ofThread; ++i)
    elements.push_back(
        apply(thread * place.side->ofThread + i, {threads.index}));
  return elements;
}

SmallVector<Value> ThreadTiles::startSums() {
  SmallVector<Value> sums;
  for (Value row : getOwn(places[0]))
    for (Value column : getOwn(places[1]))
      sums.push_back(loadOutput(row, column));
  return sums;
}

/// Adds term number \p term of those in shared memory to this thread's sums.
SmallVector<Value> ThreadTiles::computeBody(ValueRange sums, Value term) {
  AffineExpr d0 = b.getAffineDimExpr(0), d1 = b.getAffineDimExpr(1);
  DenseMap<std::pair<Value, int64_t>, Value> known;
  for (const Place &place : places) {
    SmallVector<Value> own = getOwn(place);
    for (auto [factor, memory, offset] :
         llvm::zip_equal(place.side->factors, place.memories, place.offsets))
      for (auto [i, element] : llvm::enumerate(own))
        known[{factor, i}] = memref::LoadOp::create(
            b, memory, apply(d0 * place.stride + d1 + offset, {term, element}));
  }
  SmallVector<Value> results;
  for (int64_t row = 0; row < tiles.rows.ofThread; ++row)
    for (int64_t column = 0; column < tiles.columns.ofThread; ++column) {
      IRMapping mapping;
      for (OpOperand *input : op.getDpsInputOperands())
        if (op.isScalar(input))
          mapping.map(op.getMatchingBlockArgument(input), input->get());
      for (const Place &place : places)
        for (Value factor : place.side->factors)
          mapping.map(
              factor,
              known[{factor, place.side == &tiles.rows ? row : column}]);
      mapping.map(op.getRegionOutputArgs().front(), sums[results.size()]);
      for (Operation &inner : op.getBody()->without_terminator())
        if (llvm::any_of(inner.getResults(), [&](Value result) {
              return deps.get(result) == Both || deps.isOutside(result);
            }))
          b.clone(inner, mapping);
      results.push_back(mapping.lookupOrDefault(
          op.getBody()->getTerminator()->getOperand(0)));
    }
  return results;
}

SmallVector<Value> ThreadTiles::multiply(ValueRange sums, int64_t count) {
  auto loop =
      scf::ForOp::create(b, constant(0), constant(count), constant(1), sums);
  {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(loop.getBody());
    scf::YieldOp::create(
        b, computeBody(loop.getRegionIterArgs(), loop.getInductionVar()));
  }
  SmallVector<Value> results = loop.getResults();
  if (count > kTermsOfIteration && count % kTermsOfIteration == 0)
    (void)loopUnrollByFactor(loop, kTermsOfIteration);
  return results;
}

void ThreadTiles::computeTile() {
  SmallVector<Value> sums = computeSums();
  ValueRange left = sums;
  for (Value row : getOwn(places[0]))
    for (Value column : getOwn(places[1])) {
      storeOutput(left.front(), row, column);
      left = left.drop_front();
    }
}

void rwkvc::gpu::emitTiles(linalg::GenericOp op, const ProductTiles &tiles,
                           Threads &threads, Value tile) {
  if (tiles.units)
    emitUnitTiles(op, tiles, threads, tile);
  else
    ThreadTiles(op, tiles, threads).emit(tile);
}
