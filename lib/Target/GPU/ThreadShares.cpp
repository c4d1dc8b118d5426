//===- ThreadShares.cpp - How threads share a linalg op -------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ThreadShares.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "rwkvc/Support/Loops.h"

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::gpu;

int64_t rwkvc::gpu::getStride(linalg::GenericOp op, OpOperand &operand,
                              unsigned loop) {
  auto type = dyn_cast<MemRefType>(operand.get().getType());
  if (!type)
    return 0;
  auto [strides, offset] = type.getStridesAndOffset();
  int64_t total = 0;
  for (auto [expr, stride] :
       llvm::zip(op.getMatchingIndexingMap(&operand).getResults(), strides))
    if (expr.isFunctionOfDim(loop))
      total += stride;
  return total;
}

SmallVector<Value> rwkvc::gpu::getIndices(ImplicitLocOpBuilder &b,
                                          linalg::GenericOp op,
                                          OpOperand &operand,
                                          ArrayRef<Value> ivs) {
  AffineMap map = op.getMatchingIndexingMap(&operand);
  SmallVector<Value> indices;
  for (AffineExpr expr : map.getResults())
    indices.push_back(affine::makeComposedAffineApply(
        b, b.getLoc(), AffineMap::get(map.getNumDims(), 0, expr),
        getAsOpFoldResult(ivs)));
  return indices;
}

/// The operand with the most elements, which decides how memory is read.
static OpOperand &findLargest(linalg::GenericOp op) {
  auto count = [](OpOperand &operand) -> int64_t {
    auto type = dyn_cast<MemRefType>(operand.get().getType());
    return type ? type.getNumElements() : 0;
  };
  OpOperand *largest = &op->getOpOperand(0);
  for (OpOperand &operand : op->getOpOperands())
    if (count(operand) > count(*largest))
      largest = &operand;
  return *largest;
}

Shares rwkvc::gpu::chooseShares(linalg::GenericOp op, int64_t numThreads,
                                int64_t maxThreads, const MatrixUnits *units) {
  Shares s;
  if (numThreads > 1)
    s.tiles = chooseTiles(op, numThreads, maxThreads, units);
  s.ranges = op.getStaticLoopRanges();
  op.getParallelDims(s.parallel);
  op.getReductionDims(s.reductions);
  OpOperand &largest = findLargest(op);
  llvm::stable_sort(s.parallel, [&](unsigned a, unsigned b) {
    // What it does not depend on changes last.
    auto key = [&](unsigned loop) {
      int64_t stride = getStride(op, largest, loop);
      return stride == 0 ? std::numeric_limits<int64_t>::max() : stride;
    };
    return key(a) > key(b);
  });
  for (unsigned loop : s.parallel)
    s.numElements *= s.ranges[loop];
  bool isStreamed = llvm::any_of(op.getDpsInitsMutable(), [&](OpOperand &init) {
    return llvm::any_of(s.reductions, [&](unsigned loop) {
      return op.getMatchingIndexingMap(&init).isFunctionOfDim(loop);
    });
  });
  if (s.tiles || s.reductions.empty() || isStreamed)
    return s;
  unsigned split = s.reductions.front();
  for (unsigned loop : s.reductions)
    if (s.ranges[loop] > s.ranges[split])
      split = loop;
  // Each thread should have a few terms.
  int64_t ways = 1;
  while (ways * 2 <= numThreads && ways * 8 <= s.ranges[split] &&
         s.numElements * ways * 2 <= maxThreads)
    ways *= 2;
  if (ways == 1)
    return s;
  auto combiners = findCombiners(op);
  if (!combiners)
    return s;
  s.combiners = std::move(*combiners);
  s.ways = ways;
  s.split = split;
  int64_t ofSum = getStride(op, largest, split);
  int64_t ofElement =
      s.parallel.empty() ? 0 : getStride(op, largest, s.parallel.back());
  s.areNeighboursOfSum = ofElement == 0 || (ofSum != 0 && ofSum < ofElement);
  return s;
}

namespace {

/// Makes the code of one linalg op.
class Emitter {
public:
  Emitter(linalg::GenericOp genericOp, const Shares &chosenShares,
          Threads &itsThreads)
      : op(genericOp), s(chosenShares), threads(itsThreads), b(op.getLoc(), op),
        ivs(s.ranges.size()) {}

  void emit(Value group);

private:
  Value constant(int64_t value) {
    return arith::ConstantIndexOp::create(b, value);
  }
  Value apply(AffineExpr expr, ArrayRef<OpFoldResult> values) {
    return affine::makeComposedAffineApply(b, b.getLoc(), expr, values);
  }
  SmallVector<Value> getIndices(OpOperand &operand) {
    return rwkvc::gpu::getIndices(b, op, operand, ivs);
  }
  /// Whether an output is one sum, and not an element of its own for each step
  /// of the reductions.
  bool isAccumulated(unsigned output) {
    AffineMap map = op.getMatchingIndexingMap(op.getDpsInitOperand(output));
    return !s.reductions.empty() &&
           llvm::none_of(s.reductions, [&](unsigned loop) {
             return map.isFunctionOfDim(loop);
           });
  }
  Value load(OpOperand &operand);
  void store(Value value, unsigned output) {
    OpOperand &init = *op.getDpsInitOperand(output);
    memref::StoreOp::create(b, value, init.get(), getIndices(init));
  }
  void computeElement(Value element, Value way, Value isOwn);
  SmallVector<Value> reduce(unsigned depth, Value way, ValueRange sums);
  SmallVector<Value> computeBody(ValueRange sums);
  Value combine(unsigned output, Value lhs, Value rhs);
  Value getExchange(unsigned output, Type type);
  Value exchange(unsigned output, Value sum, Value way);

  linalg::GenericOp op;
  const Shares &s;
  Threads &threads;
  ImplicitLocOpBuilder b;
  SmallVector<Value> ivs; ///< of the op's loops
};

} // namespace

Value Emitter::load(OpOperand &operand) {
  if (op.isScalar(&operand))
    return operand.get();
  return memref::LoadOp::create(b, operand.get(), getIndices(operand));
}

/// One iteration of the op, from the sums so far to the new ones.
SmallVector<Value> Emitter::computeBody(ValueRange sums) {
  IRMapping mapping;
  Block *body = op.getBody();
  for (OpOperand *operand : op.getDpsInputOperands())
    if (BlockArgument argument = op.getMatchingBlockArgument(operand);
        !argument.use_empty())
      mapping.map(argument, load(*operand));
  unsigned next = 0;
  for (auto [i, argument] : llvm::enumerate(op.getRegionOutputArgs())) {
    if (isAccumulated(i))
      mapping.map(argument, sums[next++]);
    else if (!argument.use_empty())
      mapping.map(argument, load(*op.getDpsInitOperand(i)));
  }
  for (Operation &inner : body->without_terminator()) {
    if (auto index = dyn_cast<linalg::IndexOp>(inner))
      mapping.map(index.getResult(), ivs[index.getDim()]);
    else
      b.clone(inner, mapping);
  }
  SmallVector<Value> results;
  for (auto [i, yielded] :
       llvm::enumerate(body->getTerminator()->getOperands())) {
    Value value = mapping.lookupOrDefault(yielded);
    if (isAccumulated(i))
      results.push_back(value);
    else
      store(value, i);
  }
  return results;
}

/// The loops over reductions from number \p depth on.
SmallVector<Value> Emitter::reduce(unsigned depth, Value way, ValueRange sums) {
  if (depth == s.reductions.size())
    return computeBody(sums);
  unsigned dim = s.reductions[depth];
  bool isSplit = s.ways > 1 && dim == s.split;
  // How many terms there are is known where all threads have as many.
  bool isEven = isSplit && s.ranges[dim] % s.ways == 0;
  int64_t count = isEven ? s.ranges[dim] / s.ways : s.ranges[dim];
  bool isStrided = isSplit && !isEven;
  auto loop =
      scf::ForOp::create(b, isStrided ? way : constant(0), constant(count),
                         constant(isStrided ? s.ways : 1), sums);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(loop.getBody());
  ivs[dim] = loop.getInductionVar();
  // Neighbouring threads have neighbouring terms, or each has its own side by
  // side, several of which are read at once.
  AffineExpr term = b.getAffineDimExpr(0), own = b.getAffineDimExpr(1);
  if (isEven)
    ivs[dim] =
        apply(s.areNeighboursOfSum ? term * s.ways + own : own * count + term,
              {ivs[dim], way});
  SmallVector<Value> results = reduce(depth + 1, way, loop.getRegionIterArgs());
  if (!sums.empty())
    scf::YieldOp::create(b, results);
  return SmallVector<Value>(loop.getResults());
}

Value Emitter::combine(unsigned output, Value lhs, Value rhs) {
  Operation *combiner = s.combiners[output];
  IRMapping mapping;
  mapping.map(combiner->getOperand(0), lhs);
  mapping.map(combiner->getOperand(1), rhs);
  return b.clone(*combiner, mapping)->getResult(0);
}

/// Memory of the workgroup for numbers of output \p output ; two outputs never
/// have the same.
Value Emitter::getExchange(unsigned output, Type type) {
  auto sameType = [&](Operation *other) {
    return other->getResult(0).getType() == type;
  };
  auto skip =
      llvm::count_if(ArrayRef(s.combiners).take_front(output), sameType);
  for (auto [known, memory] : threads.exchange)
    if (known == type && skip-- == 0)
      return memory;
  auto space = mlir::gpu::AddressSpaceAttr::get(
      b.getContext(), mlir::gpu::AddressSpace::Workgroup);
  Value memory = threads.func.addWorkgroupAttribution(
      MemRefType::get({threads.count}, type, MemRefLayoutAttrInterface(),
                      space),
      b.getLoc());
  threads.exchange.emplace_back(type, memory);
  return memory;
}

/// Adds up what the threads of an element have; the first one gets the whole.
Value Emitter::exchange(unsigned output, Value sum, Value way) {
  Value memory = getExchange(output, sum.getType());
  memref::StoreOp::create(b, sum, memory, threads.index);
  mlir::gpu::BarrierOp::create(b);
  int64_t distance = s.areNeighboursOfSum ? 1 : threads.count / s.ways;
  AffineExpr d0 = b.getAffineDimExpr(0);
  for (int64_t half = s.ways / 2; half >= 1; half /= 2) {
    Value takesPart = arith::CmpIOp::create(b, arith::CmpIPredicate::ult, way,
                                            constant(half));
    auto branch = scf::IfOp::create(b, takesPart, /*withElseRegion=*/false);
    {
      OpBuilder::InsertionGuard guard(b);
      b.setInsertionPointToStart(branch.thenBlock());
      Value own = memref::LoadOp::create(b, memory, threads.index);
      Value other = memref::LoadOp::create(
          b, memory, apply(d0 + half * distance, {threads.index}));
      memref::StoreOp::create(b, combine(output, own, other), memory,
                              threads.index);
    }
    mlir::gpu::BarrierOp::create(b);
  }
  return memref::LoadOp::create(b, memory, threads.index);
}

/// Computes \p element , of which this thread is number \p way , and writes it
/// if \p isOwn ; both are null if the element is this thread's alone.
void Emitter::computeElement(Value element, Value way, Value isOwn) {
  Value rest = element;
  AffineExpr d0 = b.getAffineDimExpr(0);
  for (unsigned loop : llvm::reverse(s.parallel)) {
    if (loop == s.parallel.front()) {
      ivs[loop] = rest;
      break;
    }
    ivs[loop] = apply(d0 % s.ranges[loop], {rest});
    rest = apply(d0.floorDiv(s.ranges[loop]), {rest});
  }
  SmallVector<unsigned> outputs;
  SmallVector<Value> sums;
  for (unsigned i = 0, e = op.getNumDpsInits(); i < e; ++i) {
    if (!isAccumulated(i))
      continue;
    outputs.push_back(i);
    if (s.ways == 1)
      sums.push_back(load(*op.getDpsInitOperand(i)));
    else
      sums.push_back(arith::ConstantOp::create(
          b, *arith::getNeutralElement(s.combiners[i])));
  }
  sums = reduce(0, way, sums);
  for (auto [sum, output] : llvm::zip_equal(sums, outputs)) {
    if (s.ways == 1) {
      store(sum, output);
      continue;
    }
    Value whole = exchange(output, sum, way);
    auto branch = scf::IfOp::create(b, isOwn, /*withElseRegion=*/false);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(branch.thenBlock());
    store(combine(output, load(*op.getDpsInitOperand(output)), whole), output);
  }
}

void Emitter::emit(Value group) {
  int64_t atOnce = s.elementsOf(threads.count);
  Value first =
      group ? arith::MulIOp::create(b, group, constant(atOnce)) : Value();
  AffineExpr d0 = b.getAffineDimExpr(0), d1 = b.getAffineDimExpr(1);
  Value own = threads.index, way;
  if (s.ways > 1) {
    int64_t inner = s.areNeighboursOfSum ? s.ways : atOnce;
    Value low = apply(d0 % inner, {threads.index});
    Value high = apply(d0.floorDiv(inner), {threads.index});
    own = s.areNeighboursOfSum ? high : low;
    way = s.areNeighboursOfSum ? low : high;
  }
  int64_t numRounds = llvm::divideCeil(s.numElements, atOnce);
  if (!first && numRounds > 1) {
    auto loop = scf::ForOp::create(b, constant(0), constant(numRounds * atOnce),
                                   constant(atOnce));
    b.setInsertionPointToStart(loop.getBody());
    first = loop.getInductionVar();
  }
  Value element = first ? apply(d0 + d1, {first, own}) : own;
  Value isThere;
  if (s.numElements % atOnce != 0)
    isThere = arith::CmpIOp::create(b, arith::CmpIPredicate::ult, element,
                                    constant(s.numElements));
  if (s.ways == 1) {
    if (isThere) {
      auto branch = scf::IfOp::create(b, isThere, /*withElseRegion=*/false);
      b.setInsertionPointToStart(branch.thenBlock());
    }
    computeElement(element, nullptr, nullptr);
    return;
  }
  Value isOwn =
      arith::CmpIOp::create(b, arith::CmpIPredicate::eq, way, constant(0));
  // All threads meet, so those beyond the end compute the last one again.
  if (isThere) {
    isOwn = arith::AndIOp::create(b, isOwn, isThere);
    element = arith::MinUIOp::create(b, element, constant(s.numElements - 1));
  }
  computeElement(element, way, isOwn);
}

void rwkvc::gpu::emitShares(linalg::GenericOp op, const Shares &shares,
                            Threads &threads, Value group) {
  if (shares.tiles)
    emitTiles(op, *shares.tiles, threads, group);
  else if (shares.numElements > 0)
    Emitter(op, shares, threads).emit(group);
  op.erase();
}
