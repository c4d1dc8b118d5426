//===- ProductEmitter.cpp - Code of a product's tiles ---------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ProductEmitter.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/IRMapping.h"

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::gpu;

/// Terms that neighbouring threads read if memory has them side by side.
static constexpr int64_t kNeighbouringTerms = 8;

Dependences::Dependences(linalg::GenericOp op, const ProductTiles &tiles) {
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

void Dependences::add(Operation *inner) {
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

/// Sets the indices of \p loops from the number of an iteration.
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

/// Memory of the workgroup for at least \p size factors of type \p type .
/// Products of a kernel follow each other and take the same.
Value ProductEmitter::reserve(Type type, int64_t size) {
  auto space = mlir::gpu::AddressSpaceAttr::get(
      b.getContext(), mlir::gpu::AddressSpace::Workgroup);
  auto memoryType =
      MemRefType::get({size}, type, MemRefLayoutAttrInterface(), space);
  auto *known = llvm::find_if(threads.factors, [type](Value memory) {
    return cast<MemRefType>(memory.getType()).getElementType() == type;
  });
  if (known == threads.factors.end())
    return threads.factors.emplace_back(
        threads.func.addWorkgroupAttribution(memoryType, b.getLoc()));
  if (cast<MemRefType>(known->getType()).getNumElements() < size)
    known->setType(memoryType);
  return *known;
}

/// Gives the factors their places in memory that the workgroup shares.
void ProductEmitter::placeFactors() {
  SmallVector<std::pair<Type, int64_t>> sizes;
  for (Place &place : places) {
    place.stride = place.side->inTile() + getPadding(*place.side);
    for (Value factor : place.side->factors) {
      auto *known = llvm::find_if(
          sizes, [&](auto &size) { return size.first == factor.getType(); });
      if (known == sizes.end())
        known = &sizes.emplace_back(factor.getType(), 0);
      place.offsets.push_back(known->second);
      known->second += place.stride * tiles.atOnce * countParts(factor);
    }
  }
  for (auto [type, size] : sizes)
    reserve(type, size);
  for (Place &place : places)
    for (Value factor : place.side->factors)
      place.memories.push_back(reserve(factor.getType(), 0));
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

/// Calls \p callback with what this thread fetches for all. All sizes are
/// powers of two, so that what differs between two calls is a constant, which
/// addresses take without another register.
void ProductEmitter::forEachShared(const Place &place,
                                   function_ref<void(Value, Value)> callback) {
  AffineExpr d0 = b.getAffineDimExpr(0);
  int64_t inTile = place.side->inTile();
  int64_t terms = place.side->areTermsNeighbours
                      ? std::min(kNeighbouringTerms, tiles.atOnce)
                      : 1;
  // Threads that have neighbouring terms of an element are a group.
  int64_t numGroups = threads.count / terms;
  AffineExpr group = d0.floorDiv(terms);
  for (int64_t done = 0; done < inTile * tiles.atOnce / terms;
       done += numGroups) {
    AffineExpr element = numGroups <= inTile ? group : group % inTile;
    AffineExpr term = numGroups <= inTile ? b.getAffineConstantExpr(0)
                                          : group.floorDiv(inTile);
    term = (term + done / inTile) * terms + d0 % terms;
    callback(apply(element + done % inTile, {threads.index}),
             apply(term, {threads.index}));
  }
}

/// Reads what both sides' factors are computed from, for the terms from
/// \p firstTerm on, a multiple of those at once.
SmallVector<Value> ProductEmitter::fetch(Value firstTerm) {
  SmallVector<Value> fetched;
  AffineExpr d0 = b.getAffineDimExpr(0), d1 = b.getAffineDimExpr(1);
  unsigned innermost = tiles.reductions.back();
  for (const Place &place : places)
    forEachShared(place, [&](Value element, Value term) {
      setElement(place, element);
      if (ranges[innermost] % tiles.atOnce == 0) {
        // The other loops are where the first term is.
        setLoops(tiles.reductions, firstTerm);
        ivs[innermost] = apply(d0 + d1, {ivs[innermost], term});
      } else {
        Value number = apply(d0 + d1, {firstTerm, term});
        if (tiles.numTerms % tiles.atOnce != 0)
          number =
              arith::MinUIOp::create(b, number, constant(tiles.numTerms - 1));
        setLoops(tiles.reductions, number);
      }
      for (OpOperand *input : place.side->inputs)
        fetched.push_back(
            memref::LoadOp::create(b, input->get(), getIndices(*input)));
    });
  return fetched;
}

/// Computes the factors of \p count terms from what was fetched, and writes
/// them to shared memory.
void ProductEmitter::share(ValueRange fetched, int64_t count) {
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
      Value isTerm;
      if (takesTermsBehind() && count < tiles.atOnce)
        isTerm = arith::CmpIOp::create(b, arith::CmpIPredicate::ult, term,
                                       constant(count));
      for (auto [factor, memory, offset] : llvm::zip_equal(
               place.side->factors, place.memories, place.offsets)) {
        Value value = mapping.lookup(factor);
        if (isTerm) {
          Value zero =
              arith::ConstantOp::create(b, b.getZeroAttr(value.getType()));
          value = arith::SelectOp::create(b, isTerm, value, zero);
        }
        for (auto [i, part] : llvm::enumerate(split(factor, value))) {
          int64_t first =
              offset + static_cast<int64_t>(i) * place.stride * tiles.atOnce;
          memref::StoreOp::create(
              b, part, memory,
              apply(d0 * place.stride + d1 + first, {term, element}));
        }
      }
    });
}

/// Computes the sums of the tile.
SmallVector<Value> ProductEmitter::computeSums() {
  SmallVector<Value> carried = startSums();
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
    share(getFetched(), tiles.atOnce);
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
  beforeLastTerms();
  share(getFetched(), tiles.numTerms - last);
  mlir::gpu::BarrierOp::create(b);
  SmallVector<Value> results = multiply(getSums(), tiles.numTerms - last);
  mlir::gpu::BarrierOp::create(b);
  return results;
}

/// Whether \p element of the tile is there, and not the last one again; null if
/// all tiles are whole.
Value ProductEmitter::isThere(const Place &place, Value element) {
  if (place.side->size % place.side->inTile() == 0)
    return nullptr;
  AffineExpr d0 = b.getAffineDimExpr(0), d1 = b.getAffineDimExpr(1);
  return arith::CmpIOp::create(b, arith::CmpIPredicate::ult,
                               apply(d0 + d1, {place.first, element}),
                               constant(place.side->size));
}

/// The output's element at \p row and \p column of the tile.
Value ProductEmitter::loadOutput(Value row, Value column) {
  setElement(places[0], row);
  setElement(places[1], column);
  OpOperand &output = *op.getDpsInitOperand(0);
  return memref::LoadOp::create(b, output.get(), getIndices(output));
}

/// Writes it, if it is there.
void ProductEmitter::storeOutput(Value value, Value row, Value column) {
  setElement(places[0], row);
  setElement(places[1], column);
  OpBuilder::InsertionGuard guard(b);
  for (Value condition : {isThere(places[0], row), isThere(places[1], column)})
    if (condition) {
      auto branch = scf::IfOp::create(b, condition, /*withElseRegion=*/false);
      b.setInsertionPointToStart(branch.thenBlock());
    }
  OpOperand &output = *op.getDpsInitOperand(0);
  memref::StoreOp::create(b, value, output.get(), getIndices(output));
}

void ProductEmitter::emit(Value tile) {
  AffineExpr d0 = b.getAffineDimExpr(0);
  Value zero = constant(0);
  ivs.assign(ranges.size(), zero);
  places[0].side = &tiles.rows;
  places[1].side = &tiles.columns;
  placeFactors();
  if (!tile && tiles.numTiles() > 1) {
    auto loop =
        scf::ForOp::create(b, zero, constant(tiles.numTiles()), constant(1));
    b.setInsertionPointToStart(loop.getBody());
    tile = loop.getInductionVar();
  }
  if (!tile)
    tile = zero;
  int64_t numColumns = tiles.columns.numTiles();
  places[0].first =
      apply(d0.floorDiv(numColumns) * tiles.rows.inTile(), {tile});
  places[1].first = apply(d0 % numColumns * tiles.columns.inTile(), {tile});
  computeTile();
}
