//===- KernelSchedule.cpp - How a kernel is laid over vectors -------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "KernelSchedule.h"
#include "BodyAnalysis.h"
#include "Caches.h"
#include "mlir/Dialect/Linalg/Transforms/Transforms.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/Matchers.h"
#include "rwkvc/Support/Loops.h"
#include "rwkvc/Target/CPU/Passes.h"
#include "llvm/ADT/DenseSet.h"
#include "llvm/ADT/StringSwitch.h"

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::cpu;

/// Vector accumulators that a tile holds in registers, but for large products.
static constexpr int64_t kMaxAccumulators = 8;
/// Body size above which unrolling an elementwise kernel only spills.
static constexpr unsigned kLargeBody = 12;
/// Rows of a matrix read side by side; each keeps a broadcast in a register.
static constexpr int64_t kStreams = 8;
/// The same where rows between them are skipped.
static constexpr int64_t kSkippingStreams = 4;
/// Bytes of a matrix that is fetched ahead at least.
static constexpr int64_t kMinFetchedBytes = 2048;
/// How far ahead, in bytes, at least: what memory gives a thread while it waits
/// for some of it.
static constexpr int64_t kMinFetchedAhead = 4096;
/// Rows that go together where fewer are left than AMX's tiles have.
static constexpr int64_t kMaxRowsLeft = 8;
/// Lanes of a chunk at most: its accumulators stay in the first-level cache.
static constexpr int64_t kMaxChunk = 1024;

SmallVector<unsigned> Schedule::outerLoops() const {
  SmallVector<unsigned> loops;
  for (unsigned d = 0; d < ranges.size(); ++d)
    if (!isReduction[d] && d != lane && static_cast<int64_t>(d) != row &&
        ranges[d] > 1)
      loops.push_back(d);
  if (row >= 0)
    loops.push_back(row);
  return loops;
}

SmallVector<unsigned> Schedule::reductionLoops() const {
  SmallVector<unsigned> loops;
  for (unsigned d = 0; d < ranges.size(); ++d)
    if (isReduction[d] && d != lane && static_cast<int64_t>(d) != group &&
        ranges[d] > 1)
      loops.push_back(d);
  return loops;
}

int64_t Schedule::elementsAhead() const {
  unsigned first = reductionLoops().front();
  return accesses[ahead].strides[first] * (depth ? depth : ranges[first]);
}

int64_t Schedule::units() const {
  SmallVector<unsigned> outer = outerLoops();
  if (!outer.empty())
    return ranges[outer[0]] /
           (static_cast<int64_t>(outer[0]) == row ? rows : 1);
  if (isReduction[lane])
    return 1;
  return llvm::divideCeil(ranges[lane], streams ? chunk : unroll * lanes);
}

int64_t Schedule::countRows(int64_t left) const {
  if (!hasTiles)
    return left;
  return left >= kTileSize ? kTileSize : std::min(left, kMaxRowsLeft);
}

/// Adds \p factor * \p expr to the strides and the constant; false where the
/// expression is not linear.
static bool addLinear(AffineExpr expr, int64_t factor, Access &access) {
  if (auto dim = dyn_cast<AffineDimExpr>(expr)) {
    access.strides[dim.getPosition()] += factor;
    return true;
  }
  if (auto constant = dyn_cast<AffineConstantExpr>(expr)) {
    access.constant += factor * constant.getValue();
    return true;
  }
  auto binary = dyn_cast<AffineBinaryOpExpr>(expr);
  if (!binary)
    return false;
  if (expr.getKind() == AffineExprKind::Add)
    return addLinear(binary.getLHS(), factor, access) &&
           addLinear(binary.getRHS(), factor, access);
  auto scale = dyn_cast<AffineConstantExpr>(binary.getRHS());
  return expr.getKind() == AffineExprKind::Mul && scale &&
         addLinear(binary.getLHS(), factor * scale.getValue(), access);
}

static std::optional<Access> analyzeAccess(linalg::GenericOp op,
                                           OpOperand &operand) {
  Access access;
  access.operand = operand.get();
  access.strides.assign(op.getNumLoops(), 0);
  auto type = dyn_cast<MemRefType>(operand.get().getType());
  if (!type) {
    access.isScalar = true;
    return access;
  }
  // Booleans take a byte in memory but a bit in a vector.
  if (!type.hasStaticShape() || type.getElementType().isInteger(1))
    return std::nullopt;
  int64_t offset = 0;
  SmallVector<int64_t> strides;
  if (failed(type.getStridesAndOffset(strides, offset)) ||
      llvm::is_contained(strides, ShapedType::kDynamic))
    return std::nullopt;
  AffineMap map = op.getMatchingIndexingMap(&operand);
  for (auto [expr, stride] : llvm::zip_equal(map.getResults(), strides))
    if (!addLinear(expr, stride, access))
      return std::nullopt;
  return access;
}

/// Whether the body can be computed for many values of loop \p lane at once:
/// only elementwise ops, and loads that do not depend on the lane or follow it.
static bool isBodyVectorizable(linalg::GenericOp op, unsigned lane) {
  llvm::DenseSet<Value> varying;
  for (OpOperand &operand : op->getOpOperands())
    if (op.getMatchingIndexingMap(&operand).isFunctionOfDim(lane) ||
        op.isDpsInit(&operand))
      varying.insert(op.getMatchingBlockArgument(&operand));
  for (Operation &inner : op.getBody()->without_terminator()) {
    if (auto index = dyn_cast<linalg::IndexOp>(inner)) {
      if (index.getDim() == lane)
        varying.insert(index);
      continue;
    }
    if (auto load = dyn_cast<memref::LoadOp>(inner)) {
      auto indices = load.getIndices();
      unsigned numVarying = llvm::count_if(
          indices, [&](Value index) { return varying.contains(index); });
      if (numVarying == 0)
        continue;
      auto last = indices.back().getDefiningOp<linalg::IndexOp>();
      auto type = load.getMemRefType();
      int64_t offset = 0;
      SmallVector<int64_t> strides;
      if (numVarying > 1 || !last || last.getDim() != lane ||
          type.getElementType().isInteger(1) ||
          failed(type.getStridesAndOffset(strides, offset)) ||
          strides.back() != 1)
        return false;
      varying.insert(load);
      continue;
    }
    if (inner.hasTrait<OpTrait::ConstantLike>())
      continue;
    if (!OpTrait::hasElementwiseMappableTraits(&inner) ||
        inner.getNumRegions() != 0)
      return false;
    if (llvm::any_of(inner.getOperands(),
                     [&](Value v) { return varying.contains(v); }))
      for (Value result : inner.getResults())
        varying.insert(result);
  }
  return true;
}

/// How vectors combine each output with a new value, where that is one reducing
/// op on the accumulator.
static std::optional<SmallVector<vector::CombiningKind>>
findCombiningKinds(linalg::GenericOp op) {
  auto combiners = findCombiners(op);
  if (!combiners)
    return std::nullopt;
  SmallVector<vector::CombiningKind> kinds;
  for (Operation *combiner : *combiners) {
    auto kind = linalg::getCombinerOpKind(combiner);
    if (!kind)
      return std::nullopt;
    kinds.push_back(*kind);
  }
  return kinds;
}

/// Scalar operations of one iteration; a transcendental function is some tens
/// of them once expanded.
static int64_t bodyCost(linalg::GenericOp op) {
  int64_t cost = 0;
  for (Operation &inner : op.getBody()->without_terminator())
    cost += isa<math::MathDialect>(inner.getDialect()) ? 16 : 1;
  return std::max<int64_t>(cost, 1);
}

/// Relative time of the loads and stores with loop \p lane in the lanes.
static double laneCost(const Schedule &s, unsigned lane, int64_t lanes) {
  double cost = 0.0;
  for (const Access &access : s.accesses) {
    if (access.isScalar)
      continue;
    double touched = 1.0;
    for (unsigned d = 0; d < s.ranges.size(); ++d)
      if (access.strides[d] != 0)
        touched *= s.ranges[d];
    int64_t stride = access.strides[lane];
    bool isContiguous =
        stride == 1 ||
        (s.group >= 0 && stride == s.groupSize() && access.strides[s.group]);
    // Strided lanes are gathered one by one.
    cost += stride == 0 || isContiguous ? touched / lanes : touched;
  }
  // A horizontal sum, and its scalar store, for each result.
  if (s.isReduction[lane]) {
    double results = 1.0;
    for (unsigned d = 0; d < s.ranges.size(); ++d)
      if (!s.isReduction[d])
        results *= s.ranges[d];
    cost += 2.0 * results;
  }
  return cost;
}

/// Whether a group's members lie side by side in all that has them, those of
/// one value of loop \p lane next to those of the next.
static bool isInterleaved(const Schedule &s, unsigned lane) {
  return llvm::all_of(s.accesses, [&](const Access &access) {
    return access.isScalar || access.strides[s.group] == 0 ||
           (access.strides[s.group] == 1 &&
            (access.strides[lane] == 0 ||
             access.strides[lane] == s.groupSize()));
  });
}

/// Picks the loop for the lanes; false where none will do.
static bool chooseLane(linalg::GenericOp op, Schedule &s, int64_t vectorBits) {
  std::optional<SmallVector<vector::CombiningKind>> combiners =
      findCombiningKinds(op);
  double best = 0.0;
  bool found = false;
  for (unsigned d = 0; d < s.ranges.size(); ++d) {
    int64_t lanes = vectorBits / 32;
    // Groups have no remainder loop.
    while (lanes > s.ranges[d] || (s.group >= 0 && s.ranges[d] % lanes != 0))
      lanes /= 2;
    if (lanes < 4 || (s.isReduction[d] && !combiners) ||
        !isBodyVectorizable(op, d) ||
        (s.group >= 0 && (s.isReduction[d] || !isInterleaved(s, d))))
      continue;
    bool stores = llvm::all_of(
        ArrayRef<Access>(s.accesses).drop_front(op.getNumDpsInputs()),
        [&](const Access &a) {
          return a.strides[d] == (s.isReduction[d] ? 0 : 1);
        });
    double cost = laneCost(s, d, lanes);
    if (!stores || (found && cost >= best))
      continue;
    found = true;
    best = cost;
    s.lane = d;
    s.lanes = lanes;
  }
  if (found && s.isReduction[s.lane])
    s.combiners = *combiners;
  return found;
}

/// The largest divisor of \p n among 8, 4, 3, 2, 1 that is at most \p limit.
static int64_t divisor(int64_t n, int64_t limit) {
  for (int64_t candidate : {8, 4, 3, 2})
    if (candidate <= limit && n % candidate == 0)
      return candidate;
  return 1;
}

/// Whether iterations of the row loop have no vectors in common.
static bool sharesOnlyScalars(const Schedule &s) {
  return llvm::all_of(s.accesses, [&](const Access &access) {
    return access.isScalar || access.strides[s.lane] == 0 ||
           access.strides[s.row] != 0;
  });
}

/// Whether rows of \p access have groups of loop \p reduction side by side, the
/// same for all columns.
static bool hasRowsOfGroups(const Schedule &s, const Access &access,
                            unsigned reduction) {
  return access.strides[s.row] != 0 && access.strides[s.lane] == 0 &&
         access.strides[reduction] == s.groupSize() &&
         access.strides[s.group] == 1;
}

/// Whether a step of AMX is 16 pairs of bf16 of each row times one matrix.
static bool fitsTilesOfPairs(const Schedule &s) {
  SmallVector<unsigned> reductions = s.reductionLoops();
  if (!s.addsPairs() || reductions.size() != 1 ||
      s.ranges[reductions[0]] % Schedule::kTileSize != 0)
    return false;
  unsigned left = s.accesses[0].strides[s.row] != 0 ? 0 : 1;
  const Access &matrix = s.accesses[1 - left];
  return hasRowsOfGroups(s, s.accesses[left], reductions[0]) &&
         matrix.strides[s.row] == 0 && matrix.strides[s.lane] == 2 &&
         matrix.strides[s.group] == 1;
}

/// Whether a step of AMX is a block's integers of each row times one matrix.
static bool fitsTilesOfBytes(linalg::GenericOp op, const Schedule &s) {
  SmallVector<unsigned> reductions = s.reductionLoops();
  if (!s.common || s.common->dots.empty() ||
      s.ranges[reductions.back()] > Schedule::kTileSize ||
      (s.common->zero && s.common->blockSums < 0 && !findSignedZero(*s.common)))
    return false;
  return llvm::all_of(s.common->dots, [&](const DotTerm &dot) {
    return hasRowsOfGroups(s, s.accesses[dot.input], reductions.back()) &&
           !changesAlong(op, dot.numbers, s.row);
  });
}

/// Chooses AMX's tiles for rows; false where they do not fit. Sums of bf16 lie
/// in them two by two, which need four operands; those of a block leave them
/// for registers, of which each takes one.
static bool chooseTiles(linalg::GenericOp op, Schedule &s) {
  constexpr int64_t size = Schedule::kTileSize;
  int64_t numRows = s.ranges[s.row], numColumns = s.ranges[s.lane];
  bool ofPairs = fitsTilesOfPairs(s);
  if (numRows < size || numColumns % size != 0 || size % s.lanes != 0 ||
      (!ofPairs && !fitsTilesOfBytes(op, s)))
    return false;
  int64_t rows = ofPairs && numRows >= 2 * size ? 2 * size : size;
  int64_t columns = ofPairs && numColumns % (2 * size) == 0 ? 2 * size : size;
  // Threads need equal shares of an outermost loop.
  if (s.outerLoops().front() == s.row && numRows % rows != 0 &&
      isa<FunctionOpInterface>(op->getParentOp()))
    return false;
  s.hasTiles = true;
  s.rows = rows;
  s.unroll = columns / s.lanes;
  return true;
}

static void chooseTile(linalg::GenericOp op, Schedule &s, int64_t vectorBits,
                       DotProducts dotProducts) {
  int64_t vectors = s.ranges[s.lane] / s.lanes;
  bool reduces = llvm::is_contained(s.isReduction, true);
  if (!reduces) {
    bool large =
        llvm::range_size(op.getBody()->without_terminator()) > kLargeBody;
    s.unroll = large ? 1 : divisor(vectors, 2);
    return;
  }
  // The innermost parallel loop that some operand does not depend on.
  for (unsigned d = 0; d < s.ranges.size(); ++d)
    if (!s.isReduction[d] && d != s.lane && s.ranges[d] > 1 &&
        llvm::any_of(s.accesses, [&](const Access &a) {
          return !a.isScalar && a.strides[d] == 0;
        }))
      s.row = d;
  if (s.row >= 0 && dotProducts == DotProducts::AMX && chooseTiles(op, s))
    return;
  // What is updated in passing takes a register as well.
  int64_t limit = std::max<int64_t>(kMaxAccumulators / op.getNumDpsInits(), 1);
  if (s.row >= 0) {
    int64_t most = std::min<int64_t>(limit, 4);
    bool isShared = !sharesOnlyScalars(s);
    // Where each row has memory of its own, it is read from end to end.
    if (vectors <= limit && !isShared)
      most = std::min(most, limit / vectors);
    s.rows = divisor(s.ranges[s.row], most);
    // Rows of a product with a matrix: three quarters of the registers, which
    // leaves some for a row of the matrix, and the last rows together. Threads
    // need equal shares of an outermost loop.
    int64_t registers = vectorBits >= 512 ? 32 : 16;
    int64_t large = registers * 3 / 8;
    // Dot products need some for numbers and their signs, too, or for the two
    // of a pair.
    if (s.groupSize() == 4 || s.addsPairs())
      large = registers / 2 - 4;
    if (isShared && op.getNumDpsInits() == 1 && vectors % 2 == 0 &&
        s.ranges[s.row] >= large &&
        (s.outerLoops().front() != s.row ||
         !isa<FunctionOpInterface>(op->getParentOp()))) {
      s.rows = large;
      limit = 2 * large;
    }
    if (s.rows == 1)
      s.row = -1;
  }
  s.unroll = divisor(vectors, limit / s.rows);
  // An accumulator alone waits for itself; a remainder loop costs less.
  if (s.unroll == 1 && s.rows == 1 && vectors >= 4)
    s.unroll = 4;
}

/// Gives few accumulators several partial sums: an addition takes longer than
/// processors need to start the next one.
static void chooseChains(linalg::GenericOp op, Schedule &s) {
  SmallVector<unsigned> reductions = s.reductionLoops();
  if (s.row >= 0 || s.streams || s.common || s.isReduction[s.lane] ||
      reductions.size() != 1 || llvm::is_contained(s.isStreamed, true))
    return;
  auto combiners = findCombiningKinds(op);
  if (!combiners)
    return;
  int64_t count = s.unroll * op.getNumDpsInits();
  while (s.chains < 4 && s.chains * 2 * count <= kMaxAccumulators &&
         s.ranges[reductions[0]] % (s.chains * 2) == 0)
    s.chains *= 2;
  if (s.chains > 1)
    s.combiners = *combiners;
}

/// Bounds what several tiles of rows read of a matrix that is one tile wide.
static void chooseDepth(linalg::GenericOp op, Schedule &s) {
  SmallVector<unsigned> reductions = s.reductionLoops();
  if (s.row < 0 || s.isReduction[s.lane] || reductions.empty() ||
      s.ranges[s.row] <= s.rows || (s.common && reductions.size() < 2))
    return;
  // Sums lie in memory in between.
  for (auto [init, isStreamed] :
       llvm::zip_equal(op.getDpsInits(), s.isStreamed))
    if (isStreamed || getElementTypeOrSelf(init).getIntOrFloatBitWidth() < 32)
      return;
  int64_t bytes = 0;
  for (const Access &access : s.accesses) {
    if (access.isScalar || access.strides[s.row] != 0)
      continue;
    int64_t elements = 1;
    for (unsigned d = 0; d < s.ranges.size(); ++d)
      if (access.strides[d] != 0 && (s.isReduction[d] || d == s.lane))
        elements *= s.ranges[d];
    Type element = getElementTypeOrSelf(access.operand);
    bytes += elements * llvm::divideCeil(element.getIntOrFloatBitWidth(), 8);
  }
  int64_t parts = llvm::divideCeil(bytes, kSharedBytes);
  if (parts > 1)
    s.depth =
        llvm::alignTo(llvm::divideCeil(s.ranges[reductions[0]], parts),
                      s.hasTiles && s.addsPairs() ? Schedule::kTileSize : 1);
}

/// Whether another part lies behind the last of \p size elements of \p access .
static bool hasNextPart(const Schedule &s, const Access &access, int64_t size) {
  for (unsigned d : s.outerLoops())
    if (access.strides[d] == size)
      return true;
  auto view = access.operand.getDefiningOp<memref::SubViewOp>();
  int64_t offset = 0;
  SmallVector<int64_t> strides;
  if (!view ||
      failed(view.getSourceType().getStridesAndOffset(strides, offset)))
    return false;
  return llvm::any_of(llvm::zip_equal(view.getStaticOffsets(), strides),
                      [&](auto place) {
                        auto [start, stride] = place;
                        return ShapedType::isDynamic(start) && stride == size;
                      });
}

/// Rows that go over a part of a matrix several times leave memory idle: time
/// to fetch the next part.
static void chooseAhead(linalg::GenericOp op, Schedule &s) {
  SmallVector<unsigned> reductions = s.reductionLoops();
  if (s.row < 0 || s.isReduction[s.lane] || reductions.empty() ||
      s.ranges[s.row] < 2 * s.rows)
    return;
  for (unsigned input = 0; input < op.getNumDpsInputs(); ++input) {
    const Access &access = s.accesses[input];
    if (access.isScalar || access.strides[s.row] != 0 ||
        access.strides[s.lane] == 0)
      continue;
    int64_t size = 1, extent = 1;
    for (unsigned d = 0; d < s.ranges.size(); ++d)
      if (s.isReduction[d] || d == s.lane) {
        size *= s.ranges[d];
        extent += (s.ranges[d] - 1) * access.strides[d];
      }
    unsigned first = reductions.front();
    if (extent == size && access.strides[first] * s.ranges[first] == size &&
        (s.depth || hasNextPart(s, access, size)))
      s.ahead = input;
  }
}

/// A large matrix of which one vector reads each element once. It is fetched at
/// most one matrix ahead where another follows in memory, and a fourth of one
/// that stands alone, as nothing fetches what lies before the first place.
static void chooseFetched(linalg::GenericOp op, Schedule &s) {
  if ((s.row >= 0 && !sharesOnlyScalars(s)) || s.streams ||
      s.isReduction[s.lane] || s.reductionLoops().empty())
    return;
  int64_t largest = kMinFetchedBytes;
  for (unsigned input = 0; input < op.getNumDpsInputs(); ++input) {
    const Access &access = s.accesses[input];
    if (access.isScalar || access.strides[s.lane] == 0)
      continue;
    int64_t size = 1;
    for (unsigned d = 0; d < s.ranges.size(); ++d)
      if (access.strides[d] != 0)
        size *= s.ranges[d];
    Type element = getElementTypeOrSelf(access.operand);
    int64_t bytes = size * element.getIntOrFloatBitWidth() / 8;
    if (bytes < largest)
      continue;
    largest = bytes;
    s.fetched = input;
    s.fetchedAhead =
        element.isInteger()
            ? kFetchIntegersAhead
            : kFetchFloatsAhead * element.getIntOrFloatBitWidth() / 8;
    int64_t most = hasNextPart(s, access, size)
                       ? bytes
                       : std::max(bytes / s.rows / 4, kMinFetchedAhead);
    s.fetchedAhead = std::min(s.fetchedAhead, most);
  }
}

/// A product of a vector with a matrix too wide for one tile is streamed.
static void chooseStreams(linalg::GenericOp op, Schedule &s) {
  SmallVector<unsigned> reductions = s.reductionLoops();
  int64_t width = s.ranges[s.lane];
  if (s.isReduction[s.lane] || s.row >= 0 || reductions.size() != 1 ||
      op.getNumDpsInits() != 1 || s.isStreamed[0] ||
      width <= s.lanes * kMaxAccumulators)
    return;
  bool hasMatrix = llvm::any_of(s.accesses, [&](const Access &a) {
    return !a.isScalar && a.strides[s.lane] == 1 &&
           a.strides[reductions[0]] >= width;
  });
  if (!hasMatrix)
    return;
  s.streams = kStreams;
  // Enough chunks that threads get equal shares.
  s.chunk = llvm::alignTo(
      std::clamp<int64_t>(width / 8, 8 * s.lanes, kMaxChunk), s.lanes);
}

/// A product of a row that has many zeros with a matrix is streamed too.
static void chooseSkipping(linalg::GenericOp op, Schedule &s) {
  auto row = op->getAttrOfType<IntegerAttr>(kSkipZerosAttr);
  if (!row || row.getInt() < 0 || row.getInt() >= op.getNumDpsInputs() ||
      s.isReduction[s.lane] || s.group >= 0 || s.reductionLoops().size() != 1 ||
      op.getNumDpsInits() != 1 || s.isStreamed[0] ||
      s.accesses[row.getInt()].isScalar ||
      s.accesses[row.getInt()].strides[s.lane] != 0)
    return;
  s.skipped = row.getInt();
  s.row = -1;
  s.rows = s.unroll = 1;
  s.streams = kSkippingStreams;
  s.chunk = llvm::alignTo(s.ranges[s.lane], s.lanes);
}

/// Chooses lanes that hold groups, where there are any; false if not.
static bool chooseGroups(linalg::GenericOp op, Schedule &s,
                         int64_t vectorBits) {
  std::optional<unsigned> loop = findGroupLoop(op);
  if (!loop || llvm::is_contained(s.isStreamed, true) ||
      !llvm::all_of(
          op.getBody()->without_terminator(),
          llvm::IsaPred<arith::ExtSIOp, arith::ExtUIOp, arith::ExtFOp,
                        arith::TruncIOp, arith::ShLIOp, arith::ShRSIOp,
                        arith::ShRUIOp, arith::AndIOp, arith::XOrIOp,
                        arith::MulIOp, arith::AddIOp, arith::SubIOp,
                        arith::SIToFPOp, arith::MulFOp, arith::AddFOp,
                        arith::BitcastOp, arith::ConstantOp>))
    return false;
  Schedule grouped = s;
  grouped.group = *loop;
  if (!chooseLane(op, grouped, vectorBits))
    return false;
  if (op.getRegionInputArgs()[0].getType().isBF16()) {
    if (grouped.isReduction[grouped.lane] ||
        !op.getRegionOutputArgs()[0].getType().isF32())
      return false;
    s = grouped;
    return true;
  }
  grouped.common = findFactor(op, grouped);
  if (!grouped.common || grouped.common->summed == grouped.common->rest ||
      changesAlong(op, grouped.common->factor, *loop) ||
      (grouped.groupSize() == 4 && !findDots(op, grouped)))
    return false;
  s = grouped;
  return true;
}

std::optional<DotProducts> cpu::symbolizeDotProducts(StringRef name) {
  return llvm::StringSwitch<std::optional<DotProducts>>(name)
      .Case("generic", DotProducts::Generic)
      .Case("avx2", DotProducts::AVX2)
      .Case("avx512bw", DotProducts::AVX512BW)
      .Case("vnni", DotProducts::VNNI)
      .Case("bf16", DotProducts::BF16)
      .Case("amx", DotProducts::AMX)
      .Default(std::nullopt);
}

std::optional<Schedule> cpu::schedule(linalg::GenericOp op, int64_t vectorBits,
                                      DotProducts dotProducts) {
  Schedule s;
  s.ranges = op.getStaticLoopRanges();
  if (llvm::any_of(s.ranges, [](int64_t range) { return range <= 0; }))
    return std::nullopt;
  for (utils::IteratorType kind : op.getIteratorTypesArray())
    s.isReduction.push_back(kind == utils::IteratorType::reduction);
  for (OpOperand &operand : op->getOpOperands()) {
    std::optional<Access> access = analyzeAccess(op, operand);
    if (!access)
      return std::nullopt;
    s.accesses.push_back(*access);
  }
  // Every iteration of the parallel loops has an element of its own in each
  // output; so have all reductions, or none.
  for (const Access &output :
       ArrayRef<Access>(s.accesses).drop_front(op.getNumDpsInputs())) {
    bool isStreamed = false, isAccumulator = false;
    for (unsigned d = 0; d < s.ranges.size(); ++d) {
      if (s.ranges[d] <= 1)
        continue;
      bool moves = output.strides[d] != 0;
      if (!s.isReduction[d] && !moves)
        return std::nullopt;
      isStreamed |= s.isReduction[d] && moves;
      isAccumulator |= s.isReduction[d] && !moves;
    }
    if (isStreamed && isAccumulator)
      return std::nullopt;
    s.isStreamed.push_back(isStreamed);
  }
  s.work = bodyCost(op);
  for (int64_t range : s.ranges)
    s.work *= range;
  bool hasGroups = chooseGroups(op, s, vectorBits);
  if (!hasGroups && !chooseLane(op, s, vectorBits))
    return std::nullopt;
  chooseTile(op, s, vectorBits, dotProducts);
  chooseStreams(op, s);
  chooseSkipping(op, s);
  if (s.common && s.groupSize() == 2)
    findZero(op, s);
  if (s.common)
    findSkippedGroups(op, s);
  if (!hasGroups && s.reductionLoops().size() >= 2 && !s.isReduction[s.lane] &&
      !s.streams && !s.isStreamed[0])
    s.common = findFactor(op, s);
  chooseChains(op, s);
  chooseDepth(op, s);
  chooseAhead(op, s);
  chooseFetched(op, s);
  return s;
}

void cpu::limitLoop(Schedule &s, unsigned loop, Value needed) {
  bool isRow = static_cast<int64_t>(loop) == s.row;
  if (loop == s.lane || (isRow && s.hasTiles && s.ranges[loop] % s.rows != 0))
    return;
  s.limited = loop;
  s.needed = needed;
}
