//===- Products.cpp - Tiles of products for a workgroup -------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Products.h"
#include "ThreadShares.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/SCF/Utils/Utils.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
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
/// Terms of the sums, and numbers of both sides, in shared memory at once.
static constexpr int64_t kTermsAtOnce = 32, kMaxNumbersAtOnce = 6144;
/// Values that a thread has fetched for the next ones.
static constexpr int64_t kMaxFetched = 32;
/// Terms of an iteration.
static constexpr int64_t kTermsOfIteration = 4;
/// Terms that neighbouring threads read if memory has them side by side.
static constexpr int64_t kNeighbouringTerms = 8;

namespace {

/// What a value of a body depends on.
enum Dependence : unsigned { None = 0, Rows = 1, Columns = 2, Both = 3 };

/// Dependences of the values of an op's body.
class Dependences {
public:
  Dependences(linalg::GenericOp op, const ProductTiles &tiles) {
    for (OpOperand *input : op.getDpsInputOperands()) {
      AffineMap map = op.getMatchingIndexingMap(input);
      auto isFunctionOf = [&](unsigned loop) {
        return map.isFunctionOfDim(loop);
      };
      unsigned mask = None;
      if (llvm::any_of(tiles.rows.loops, isFunctionOf))
        mask |= Rows;
      if (llvm::any_of(tiles.columns.loops, isFunctionOf))
        mask |= Columns;
      masks[op.getMatchingBlockArgument(input)] = mask;
      if (op.isScalar(input))
        outer.insert(op.getMatchingBlockArgument(input));
    }
    for (Value output : op.getRegionOutputArgs())
      masks[output] = Both;
    for (Operation &inner : op.getBody()->without_terminator())
      add(&inner);
  }

  void add(Operation *inner) {
    unsigned mask = None;
    bool isOuter = true;
    for (Value operand : inner->getOperands()) {
      mask |= get(operand);
      isOuter &= isOutside(operand);
    }
    for (Value result : inner->getResults()) {
      masks[result] = mask;
      if (isOuter)
        outer.insert(result);
    }
  }

  unsigned get(Value value) const { return masks.lookup(value); }
  /// Whether \p value is the same in each iteration.
  bool isOutside(Value value) const {
    return !masks.contains(value) || outer.contains(value);
  }

private:
  DenseMap<Value, unsigned> masks;
  DenseSet<Value> outer;
};

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

int64_t rwkvc::gpu::countProductThreads(linalg::GenericOp op,
                                        int64_t wantedThreads) {
  std::optional<ProductTiles> tiles = matchProduct(op, wantedThreads);
  if (!tiles)
    return 0;
  int64_t numElements = tiles->rows.size * tiles->columns.size;
  return std::max(
      numElements / kElementsOfThread,
      std::min<int64_t>(numElements / kMinElementsOfThread, kMinThreads));
}

std::optional<ProductTiles> rwkvc::gpu::chooseTiles(linalg::GenericOp op,
                                                    int64_t numThreads,
                                                    int64_t wantedThreads) {
  std::optional<ProductTiles> tiles = matchProduct(op, wantedThreads);
  if (!tiles)
    return std::nullopt;
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
  Dependences deps(op, *tiles);
  FactorGrouper(op, deps).run();
  findFactors(op, deps, *tiles);
  int64_t numbers = 0, fetched = 0;
  for (const ProductSide *side : {&rows, &columns}) {
    numbers += side->inTile() * static_cast<int64_t>(side->factors.size());
    fetched += side->inTile() * static_cast<int64_t>(side->inputs.size());
  }
  tiles->atOnce =
      std::min<int64_t>(kTermsAtOnce, llvm::PowerOf2Ceil(tiles->numTerms));
  while (tiles->atOnce > 1 &&
         (tiles->atOnce * numbers > kMaxNumbersAtOnce ||
          tiles->atOnce * fetched > kMaxFetched * numThreads))
    tiles->atOnce /= 2;
  // All threads fetch some.
  for (const ProductSide *side : {&rows, &columns})
    if (side->inTile() * tiles->atOnce < numThreads)
      return std::nullopt;
  return tiles;
}

namespace {

/// Makes the code of one product.
class ProductEmitter {
public:
  ProductEmitter(linalg::GenericOp genericOp, const ProductTiles &itsTiles,
                 Threads &itsThreads)
      : op(genericOp), tiles(itsTiles), threads(itsThreads), b(op.getLoc(), op),
        deps(op, tiles), ranges(op.getStaticLoopRanges()), ivs(ranges.size()) {}

  void emit(Value tile);

private:
  /// A side, and where this workgroup and this thread are on it.
  struct Place {
    const ProductSide *side = nullptr;
    Value first;                 ///< of the tile
    Value thread;                ///< this one's number along the side
    SmallVector<Value> memories; ///< shared, of the factors
    SmallVector<int64_t> offsets;
    int64_t stride = 0; ///< of a term in shared memory
  };

  Value constant(int64_t value) {
    return arith::ConstantIndexOp::create(b, value);
  }
  Value apply(AffineExpr expr, ArrayRef<OpFoldResult> values) {
    return affine::makeComposedAffineApply(b, b.getLoc(), expr, values);
  }
  /// Sets the indices of \p loops from the number of an iteration.
  void setLoops(ArrayRef<unsigned> loops, Value number);
  SmallVector<Value> getIndices(OpOperand &operand);
  void placeFactors();
  void setElement(const Place &place, Value element);
  Value getOwn(const Place &place, int64_t number);
  SmallVector<Value> fetch(Value firstTerm);
  void share(ValueRange fetched);
  void forEachShared(const Place &place,
                     function_ref<void(Value element, Value term)> callback);
  SmallVector<Value> computeBody(ValueRange sums, Value term);
  SmallVector<Value> multiply(ValueRange sums, int64_t count);
  SmallVector<Value> computeSums();
  void forEachOwn(function_ref<void(OpOperand &output)> callback);
  void computeTile(Value tile);

  linalg::GenericOp op;
  const ProductTiles &tiles;
  Threads &threads;
  ImplicitLocOpBuilder b;
  Dependences deps;
  SmallVector<int64_t> ranges;
  SmallVector<Value> ivs; ///< of the op's loops
  std::array<Place, 2> places;
};

} // namespace

void ProductEmitter::setLoops(ArrayRef<unsigned> loops, Value number) {
  AffineExpr d0 = b.getAffineDimExpr(0);
  for (unsigned loop : llvm::reverse(loops)) {
    if (loop == loops.front()) {
      ivs[loop] = number;
      break;
    }
    ivs[loop] = apply(d0 % ranges[loop], {number});
    number = apply(d0.floorDiv(ranges[loop]), {number});
  }
}

SmallVector<Value> ProductEmitter::getIndices(OpOperand &operand) {
  AffineMap map = op.getMatchingIndexingMap(&operand);
  SmallVector<Value> indices;
  for (AffineExpr expr : map.getResults())
    indices.push_back(affine::makeComposedAffineApply(
        b, b.getLoc(), AffineMap::get(map.getNumDims(), 0, expr),
        getAsOpFoldResult(ivs)));
  return indices;
}

/// Gives the factors their places in memory that the workgroup shares. Products
/// of a kernel follow each other and take the same.
void ProductEmitter::placeFactors() {
  SmallVector<std::pair<Type, int64_t>> sizes;
  for (Place &place : places) {
    // Threads that write terms side by side do so in different banks.
    place.stride = place.side->inTile() +
                   (place.side->areTermsNeighbours ? kColumnsOfThread : 0);
    for (Value factor : place.side->factors) {
      auto *known = llvm::find_if(
          sizes, [&](auto &size) { return size.first == factor.getType(); });
      if (known == sizes.end())
        known = &sizes.emplace_back(factor.getType(), 0);
      place.offsets.push_back(known->second);
      known->second += place.stride * tiles.atOnce;
    }
  }
  auto space = mlir::gpu::AddressSpaceAttr::get(
      b.getContext(), mlir::gpu::AddressSpace::Workgroup);
  auto findMemory = [&](Type type) {
    return llvm::find_if(threads.factors, [type](Value memory) {
      return cast<MemRefType>(memory.getType()).getElementType() == type;
    });
  };
  for (auto [type, size] : sizes) {
    auto memoryType =
        MemRefType::get({size}, type, MemRefLayoutAttrInterface(), space);
    auto *known = findMemory(type);
    if (known == threads.factors.end())
      threads.factors.push_back(
          threads.func.addWorkgroupAttribution(memoryType, b.getLoc()));
    else if (cast<MemRefType>(known->getType()).getNumElements() < size)
      known->setType(memoryType);
  }
  for (Place &place : places)
    for (Value factor : place.side->factors)
      place.memories.push_back(*findMemory(factor.getType()));
}

/// Sets the loops of a side for an element of the tile; what is beyond the end
/// takes the last one.
void ProductEmitter::setElement(const Place &place, Value element) {
  AffineExpr d0 = b.getAffineDimExpr(0), d1 = b.getAffineDimExpr(1);
  Value number = apply(d0 + d1, {place.first, element});
  if (place.side->size % place.side->inTile() != 0)
    number = arith::MinUIOp::create(b, number, constant(place.side->size - 1));
  setLoops(place.side->loops, number);
}

/// The element of the tile that is this thread's with number \p number .
Value ProductEmitter::getOwn(const Place &place, int64_t number) {
  AffineExpr d0 = b.getAffineDimExpr(0);
  return apply(d0 * place.side->ofThread + number, {place.thread});
}

/// Calls \p callback with what this thread fetches for all.
void ProductEmitter::forEachShared(const Place &place,
                                   function_ref<void(Value, Value)> callback) {
  AffineExpr d0 = b.getAffineDimExpr(0);
  int64_t inTile = place.side->inTile();
  int64_t terms = place.side->areTermsNeighbours
                      ? std::min(kNeighbouringTerms, tiles.atOnce)
                      : 1;
  for (int64_t done = 0; done < inTile * tiles.atOnce; done += threads.count) {
    AffineExpr number = d0 + done;
    AffineExpr group = number.floorDiv(terms);
    Value element = apply(group % inTile, {threads.index});
    Value term =
        apply(group.floorDiv(inTile) * terms + number % terms, {threads.index});
    callback(element, term);
  }
}

/// Reads what both sides' factors are computed from, for the terms from
/// \p firstTerm on.
SmallVector<Value> ProductEmitter::fetch(Value firstTerm) {
  SmallVector<Value> fetched;
  AffineExpr d0 = b.getAffineDimExpr(0), d1 = b.getAffineDimExpr(1);
  for (const Place &place : places)
    forEachShared(place, [&](Value element, Value term) {
      setElement(place, element);
      Value number = apply(d0 + d1, {firstTerm, term});
      if (tiles.numTerms % tiles.atOnce != 0)
        number =
            arith::MinUIOp::create(b, number, constant(tiles.numTerms - 1));
      setLoops(tiles.reductions, number);
      for (OpOperand *input : place.side->inputs)
        fetched.push_back(
            memref::LoadOp::create(b, input->get(), getIndices(*input)));
    });
  return fetched;
}

/// Computes the factors from what was fetched, and writes them to shared
/// memory.
void ProductEmitter::share(ValueRange fetched) {
  AffineExpr d0 = b.getAffineDimExpr(0), d1 = b.getAffineDimExpr(1);
  for (const Place &place : places)
    forEachShared(place, [&](Value element, Value term) {
      IRMapping mapping;
      for (OpOperand *input : op.getDpsInputOperands())
        if (op.isScalar(input))
          mapping.map(op.getMatchingBlockArgument(input), input->get());
      for (OpOperand *input : place.side->inputs) {
        mapping.map(op.getMatchingBlockArgument(input), fetched.front());
        fetched = fetched.drop_front();
      }
      // Ops that are not for this side are dead, or find no operands.
      for (Operation &inner : op.getBody()->without_terminator())
        if (llvm::all_of(inner.getOperands(), [&](Value operand) {
              return mapping.contains(operand) ||
                     operand.getParentBlock() != op.getBody();
            }))
          b.clone(inner, mapping);
      for (auto [factor, memory, offset] :
           llvm::zip_equal(place.side->factors, place.memories, place.offsets))
        memref::StoreOp::create(
            b, mapping.lookup(factor), memory,
            apply(d0 * place.stride + d1 + offset, {term, element}));
    });
}

/// Adds term number \p term of those in shared memory to this thread's sums.
SmallVector<Value> ProductEmitter::computeBody(ValueRange sums, Value term) {
  AffineExpr d0 = b.getAffineDimExpr(0), d1 = b.getAffineDimExpr(1);
  DenseMap<std::pair<Value, int64_t>, Value> known;
  for (const Place &place : places)
    for (auto [factor, memory, offset] :
         llvm::zip_equal(place.side->factors, place.memories, place.offsets))
      for (int64_t i = 0; i < place.side->ofThread; ++i)
        known[{factor, i}] = memref::LoadOp::create(
            b, memory,
            apply(d0 * place.stride + d1 + offset, {term, getOwn(place, i)}));
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

/// Adds the \p count terms in shared memory to this thread's sums.
SmallVector<Value> ProductEmitter::multiply(ValueRange sums, int64_t count) {
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

/// Computes this thread's sums of the tile.
SmallVector<Value> ProductEmitter::computeSums() {
  SmallVector<Value> carried;
  forEachOwn([&](OpOperand &output) {
    carried.push_back(
        memref::LoadOp::create(b, output.get(), getIndices(output)));
  });
  size_t numSums = carried.size();
  auto getSums = [&] { return ValueRange(carried).take_front(numSums); };
  auto getFetched = [&] { return ValueRange(carried).drop_front(numSums); };
  llvm::append_range(carried, fetch(constant(0)));
  int64_t last = llvm::alignDown(tiles.numTerms - 1, tiles.atOnce);
  if (last > 0) {
    auto loop = scf::ForOp::create(b, constant(0), constant(last),
                                   constant(tiles.atOnce), carried);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(loop.getBody());
    llvm::copy(loop.getRegionIterArgs(), carried.begin());
    share(getFetched());
    mlir::gpu::BarrierOp::create(b);
    // The next terms are on their way while these are multiplied.
    SmallVector<Value> fetched = fetch(arith::AddIOp::create(
        b, loop.getInductionVar(), constant(tiles.atOnce)));
    SmallVector<Value> results = multiply(getSums(), tiles.atOnce);
    mlir::gpu::BarrierOp::create(b);
    llvm::append_range(results, fetched);
    scf::YieldOp::create(b, results);
    llvm::copy(loop.getResults(), carried.begin());
  }
  share(getFetched());
  mlir::gpu::BarrierOp::create(b);
  SmallVector<Value> results = multiply(getSums(), tiles.numTerms - last);
  mlir::gpu::BarrierOp::create(b);
  return results;
}

/// Calls \p callback with the loops set to each of this thread's elements.
void ProductEmitter::forEachOwn(function_ref<void(OpOperand &)> callback) {
  for (int64_t row = 0; row < tiles.rows.ofThread; ++row)
    for (int64_t column = 0; column < tiles.columns.ofThread; ++column) {
      setElement(places[0], getOwn(places[0], row));
      setElement(places[1], getOwn(places[1], column));
      callback(*op.getDpsInitOperand(0));
    }
}

void ProductEmitter::computeTile(Value tile) {
  AffineExpr d0 = b.getAffineDimExpr(0), d1 = b.getAffineDimExpr(1);
  int64_t numColumns = tiles.columns.numTiles();
  places[0].first =
      apply(d0.floorDiv(numColumns) * tiles.rows.inTile(), {tile});
  places[1].first = apply(d0 % numColumns * tiles.columns.inTile(), {tile});
  SmallVector<Value> sums = computeSums();
  // What is beyond the end is the last element again, and one thread's.
  auto isThere = [&](const Place &place, int64_t number) -> Value {
    if (place.side->size % place.side->inTile() == 0)
      return nullptr;
    return arith::CmpIOp::create(
        b, arith::CmpIPredicate::ult,
        apply(d0 + d1, {place.first, getOwn(place, number)}),
        constant(place.side->size));
  };
  int64_t number = 0;
  forEachOwn([&](OpOperand &output) {
    OpBuilder::InsertionGuard guard(b);
    for (Value condition :
         {isThere(places[0], number / tiles.columns.ofThread),
          isThere(places[1], number % tiles.columns.ofThread)})
      if (condition) {
        auto branch = scf::IfOp::create(b, condition, /*withElseRegion=*/false);
        b.setInsertionPointToStart(branch.thenBlock());
      }
    memref::StoreOp::create(b, sums[number++], output.get(),
                            getIndices(output));
  });
}

void ProductEmitter::emit(Value tile) {
  AffineExpr d0 = b.getAffineDimExpr(0);
  Value zero = constant(0);
  ivs.assign(ranges.size(), zero);
  int64_t inRow = tiles.columns.threads;
  places[0].side = &tiles.rows;
  places[0].thread = apply(d0.floorDiv(inRow), {threads.index});
  places[1].side = &tiles.columns;
  places[1].thread = apply(d0 % inRow, {threads.index});
  placeFactors();
  if (!tile && tiles.numTiles() > 1) {
    auto loop =
        scf::ForOp::create(b, zero, constant(tiles.numTiles()), constant(1));
    b.setInsertionPointToStart(loop.getBody());
    tile = loop.getInductionVar();
  }
  computeTile(tile ? tile : zero);
}

void rwkvc::gpu::emitTiles(linalg::GenericOp op, const ProductTiles &tiles,
                           Threads &threads, Value tile) {
  ProductEmitter(op, tiles, threads).emit(tile);
}
