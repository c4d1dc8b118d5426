//===- EmitVectorLoops.cpp - A scheduled kernel as loops ------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "BodyAnalysis.h"
#include "Emitter.h"
#include "mlir/Analysis/SliceAnalysis.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::cpu;

Emitter::Emitter(OpBuilder &builder, linalg::GenericOp op, const Schedule &s,
                 DotProducts dotProducts)
    : b(op.getLoc(), builder), op(op), s(s), dotProducts(dotProducts),
      ivs(s.ranges.size()), rows(s.rows) {
  Value zero = index(0);
  for (Value &iv : ivs)
    iv = zero;
  for (const Access &access : s.accesses)
    bases.push_back(access.isScalar ? access.operand : flatten(access.operand));
  if (s.common && s.common->zero && s.common->dots.empty())
    sumBlocks();
}

void Emitter::emit(Value begin, Value end) {
  this->begin = begin;
  this->end = end;
  if (!s.skippedGroups.empty())
    return emitWithoutZeros();
  emitOuter(s.outerLoops(), 0);
}

Value Emitter::flatten(Value buffer) {
  auto type = cast<MemRefType>(buffer.getType());
  int64_t offset = 0, size = 1;
  SmallVector<int64_t> strides;
  (void)type.getStridesAndOffset(strides, offset);
  for (auto [extent, stride] : llvm::zip_equal(type.getShape(), strides))
    size += (extent - 1) * stride;
  OpFoldResult start = b.getIndexAttr(offset);
  if (ShapedType::isDynamic(offset))
    start = memref::ExtractStridedMetadataOp::create(b, buffer).getOffset();
  auto layout =
      StridedLayoutAttr::get(b.getContext(), offset, ArrayRef<int64_t>{1});
  auto flat = MemRefType::get(size, type.getElementType(),
                              offset == 0 ? MemRefLayoutAttrInterface()
                                          : MemRefLayoutAttrInterface(layout));
  return memref::ReinterpretCastOp::create(
      b, flat, buffer, start, ArrayRef<OpFoldResult>{b.getIndexAttr(size)},
      ArrayRef<OpFoldResult>{b.getIndexAttr(1)});
}

Emitter::Values
Emitter::loop(Value from, Value to, int64_t step, ValueRange carried,
              llvm::function_ref<Values(Value, ValueRange)> body) {
  auto loop = scf::ForOp::create(
      b, from, to, index(step), carried,
      [&](OpBuilder &nested, Location loc, Value iv, ValueRange values) {
        OpBuilder::InsertionGuard guard(b);
        b.setInsertionPoint(nested.getInsertionBlock(),
                            nested.getInsertionPoint());
        Values results = body(iv, values);
        scf::YieldOp::create(b, results);
      });
  b.setInsertionPointAfter(loop);
  return Values(loop.getResults());
}

void Emitter::loop(Value from, Value to, int64_t step,
                   llvm::function_ref<void(Value)> body) {
  loop(from, to, step, {}, [&](Value iv, ValueRange) {
    body(iv);
    return Values();
  });
}

void Emitter::emitOuter(ArrayRef<unsigned> loops, unsigned level) {
  if (level == loops.size())
    return emitLanes(/*isOutermost=*/level == 0);
  unsigned d = loops[level];
  bool isRow = static_cast<int64_t>(d) == s.row;
  int64_t step = isRow ? s.rows : 1, full = s.ranges[d] / step * step;
  bool isLimited = static_cast<int64_t>(d) == s.limited;
  if (level == 0 && begin) {
    Value last = end;
    if (isLimited)
      last = arith::MinUIOp::create(
          b, end, arith::CeilDivUIOp::create(b, s.needed, index(step)));
    return loop(begin, last, 1, [&](Value unit) {
      ivs[d] = scaled(unit, step);
      emitOuter(loops, level + 1);
    });
  }
  auto body = [&](Value iv) {
    ivs[d] = iv;
    emitOuter(loops, level + 1);
  };
  auto all = [&] {
    if (isLimited)
      return emitNeeded(d, step, body);
    loop(index(0), index(full), step, body);
    for (int64_t first = full; first < s.ranges[d]; first += rows) {
      rows = s.countRows(s.ranges[d] - first);
      body(index(first));
    }
    rows = s.rows;
  };
  if (!isRow || !s.depth)
    return all();
  int64_t steps = s.ranges[s.reductionLoops().front()];
  loop(index(0), index(steps), s.depth, [&](Value first) {
    firstStep = first;
    endStep = add(first, index(s.depth));
    if (steps % s.depth != 0)
      endStep = arith::MinUIOp::create(b, endStep, index(steps));
    all();
  });
  firstStep = endStep = nullptr;
}

void Emitter::emitNeeded(unsigned d, int64_t step,
                         llvm::function_ref<void(Value)> body) {
  int64_t left = s.ranges[d] % step;
  if (left == 0)
    return loop(index(0), s.needed, step, body);
  // The last tile is smaller; a few of its kind do for what is left of any
  // number, and stay within the range.
  Value full = arith::SubIOp::create(
      b, s.needed, arith::RemUIOp::create(b, s.needed, index(step)));
  loop(index(0), full, step, body);
  rows = left;
  loop(full, s.needed, left, body);
  rows = s.rows;
}

void Emitter::emitLanes(bool isOutermost) {
  if (s.isReduction[s.lane])
    return emitLaneReduction();
  if (s.streams)
    return emitStreams(isOutermost);
  int64_t tile = s.lanes * s.unroll, size = s.ranges[s.lane];
  int64_t full = size / tile;
  auto fullTile = [&](Value base) {
    ivs[s.lane] = base;
    emitTile(s.unroll, s.lanes);
  };
  if (isOutermost && begin)
    return loop(begin, end, 1, [&](Value unit) {
      if (size % tile == 0)
        return fullTile(scaled(unit, tile));
      Value isFull = arith::CmpIOp::create(b, arith::CmpIPredicate::ult, unit,
                                           index(full));
      auto choice = scf::IfOp::create(b, isFull, /*withElseRegion=*/true);
      b.setInsertionPointToStart(choice.thenBlock());
      fullTile(scaled(unit, tile));
      b.setInsertionPointToStart(choice.elseBlock());
      emitRemainder(full * tile);
      b.setInsertionPointAfter(choice);
    });
  loop(index(0), index(full * tile), tile, fullTile);
  emitRemainder(full * tile);
}

void Emitter::emitRemainder(int64_t start) {
  int64_t size = s.ranges[s.lane];
  int64_t vectorEnd = size - size % s.lanes;
  if (start < vectorEnd)
    loop(index(start), index(vectorEnd), s.lanes, [&](Value base) {
      ivs[s.lane] = base;
      emitTile(1, s.lanes);
    });
  if (vectorEnd < size)
    loop(index(vectorEnd), index(size), 1, [&](Value base) {
      ivs[s.lane] = base;
      emitTile(1, 1);
    });
}

void Emitter::emitTile(int64_t unroll, int64_t lanes) {
  if (s.addsPairs() && fillsTiles())
    return emitTiles();
  // Accumulators are read before the reductions and written after them;
  // streamed outputs in each step.
  Values accumulators;
  forEachOutput(unroll, [&](unsigned output, int64_t row, int64_t part) {
    if (!s.isStreamed[output])
      accumulators.push_back(
          loadOutput(output, row, part, lanes,
                     /*isRead=*/!s.reductionLoops().empty()));
  });
  bool isFull = unroll == s.unroll && rows == s.rows;
  bool fetches = s.ahead >= 0 && unroll == s.unroll &&
                 (rows == s.rows || s.limited == s.row);
  auto step = [&](ValueRange carried) {
    if (fetches)
      fetchAhead(s.reductionLoops());
    Values values, sums;
    unsigned next = 0;
    forEachOutput(unroll, [&](unsigned output, int64_t row, int64_t part) {
      values.push_back(s.isStreamed[output]
                           ? loadOutput(output, row, part, lanes, false)
                           : carried[next++]);
    });
    Values results = evaluate(values, unroll, lanes);
    next = 0;
    forEachOutput(unroll, [&](unsigned output, int64_t row, int64_t part) {
      Value result = results[next++];
      if (s.isStreamed[output])
        store(op.getNumDpsInputs() + output, row, part, result);
      else
        sums.push_back(result);
    });
    return sums;
  };
  SmallVector<unsigned> reductions = s.reductionLoops();
  Values results;
  if (reductions.empty())
    results = step(accumulators);
  else if (s.common)
    results = emitReductions(
        ArrayRef(reductions).drop_back(), accumulators, [&](ValueRange sums) {
          if (fetches)
            fetchAhead(ArrayRef(reductions).drop_back());
          return emitCommonFactor(reductions.back(), sums, unroll, lanes);
        });
  else if (isFull && s.chains > 1)
    results = emitChains(reductions.front(), accumulators, lanes, step);
  else
    results = emitReductions(reductions, accumulators, step);
  unsigned next = 0;
  forEachOutput(unroll, [&](unsigned output, int64_t row, int64_t part) {
    if (!s.isStreamed[output])
      store(op.getNumDpsInputs() + output, row, part, results[next++]);
  });
}

Value Emitter::loadOutput(unsigned output, int64_t row, int64_t part,
                          int64_t lanes, bool isRead) {
  if (!isRead && op.getRegionOutputArgs()[output].use_empty())
    return Value();
  return load(op.getNumDpsInputs() + output, row, part, lanes);
}

Emitter::Values
Emitter::emitReductions(ArrayRef<unsigned> loops, ValueRange carried,
                        llvm::function_ref<Values(ValueRange)> body,
                        int64_t size) {
  if (loops.empty())
    return body(carried);
  if (visitsList && loops[0] == s.reductionLoops().back())
    return visitListed(carried, body);
  Value first = index(0), end = index(s.ranges[loops[0]]);
  if (firstStep && loops[0] == s.reductionLoops().front()) {
    first = firstStep;
    end = endStep;
  }
  int64_t step = loops.size() == 1 ? size : 1;
  return loop(first, end, step, carried, [&](Value iv, ValueRange values) {
    ivs[loops[0]] = iv;
    return emitReductions(loops.drop_front(), values, body, size);
  });
}

Emitter::Values
Emitter::emitChains(unsigned reduction, ValueRange carried, int64_t lanes,
                    llvm::function_ref<Values(ValueRange)> body) {
  size_t count = carried.size();
  Values sums(carried);
  for (int64_t chain = 1; chain < s.chains; ++chain)
    for (size_t i = 0; i < count; ++i)
      sums.push_back(broadcast(neutral(i / s.unroll), lanes));
  sums = loop(index(0), index(s.ranges[reduction]), s.chains, sums,
              [&](Value iv, ValueRange values) {
                Values results;
                for (int64_t chain = 0; chain < s.chains; ++chain) {
                  ivs[reduction] = chain ? add(iv, index(chain)) : iv;
                  llvm::append_range(results,
                                     body(values.slice(chain * count, count)));
                }
                return results;
              });
  for (int64_t half = s.chains / 2; half > 0; half /= 2)
    for (size_t i = 0; i < half * count; ++i)
      sums[i] = vector::makeArithReduction(b, b.getLoc(),
                                           s.combiners[i % count / s.unroll],
                                           sums[i], sums[i + half * count]);
  sums.resize(count);
  return sums;
}

void Emitter::emitLaneReduction() {
  int64_t tile = s.lanes * s.unroll, size = s.ranges[s.lane];
  int64_t full = size - size % tile, vectorEnd = size - size % s.lanes;
  Values vectors;
  forEachOutput(s.unroll, [&](unsigned output, int64_t, int64_t) {
    vectors.push_back(broadcast(neutral(output), s.lanes));
  });
  vectors =
      emitReductions(s.reductionLoops(), vectors, [&](ValueRange carried) {
        Values sums = loop(index(0), index(full), tile, carried,
                           [&](Value base, ValueRange values) {
                             ivs[s.lane] = base;
                             return evaluate(Values(values), s.unroll, s.lanes);
                           });
        if (full == vectorEnd)
          return sums;
        // The first accumulator of each row takes the rest.
        Values firsts;
        for (unsigned i = 0; i < sums.size(); i += s.unroll)
          firsts.push_back(sums[i]);
        firsts = loop(index(full), index(vectorEnd), s.lanes, firsts,
                      [&](Value base, ValueRange values) {
                        ivs[s.lane] = base;
                        return evaluate(Values(values), 1, s.lanes);
                      });
        for (auto [i, value] : llvm::enumerate(firsts))
          sums[i * s.unroll] = value;
        return sums;
      });
  Values totals;
  for (unsigned output = 0, next = 0; output < op.getNumDpsInits(); ++output)
    for (int64_t row = 0; row < rows; ++row, next += s.unroll) {
      vector::CombiningKind kind = s.combiners[output];
      Value sum = vectors[next];
      for (int64_t part = 1; part < s.unroll; ++part)
        sum = vector::makeArithReduction(b, b.getLoc(), kind, sum,
                                         vectors[next + part]);
      Value old = load(op.getNumDpsInputs() + output, row, 0, 1);
      Value total = vector::ReductionOp::create(b, kind, sum);
      totals.push_back(
          vector::makeArithReduction(b, b.getLoc(), kind, total, old));
    }
  if (vectorEnd < size)
    totals =
        emitReductions(s.reductionLoops(), totals, [&](ValueRange carried) {
          return loop(index(vectorEnd), index(size), 1, carried,
                      [&](Value iv, ValueRange values) {
                        ivs[s.lane] = iv;
                        return evaluate(Values(values), 1, 1);
                      });
        });
  unsigned next = 0;
  forEachOutput(1, [&](unsigned output, int64_t row, int64_t) {
    store(op.getNumDpsInputs() + output, row, 0, totals[next++]);
  });
}

void Emitter::forEachOutput(
    int64_t unroll, llvm::function_ref<void(unsigned, int64_t, int64_t)> fn) {
  for (unsigned output = 0; output < op.getNumDpsInits(); ++output)
    for (int64_t row = 0; row < rows; ++row)
      for (int64_t part = 0; part < unroll; ++part)
        fn(output, row, part);
}

Value Emitter::neutral(unsigned output) {
  SmallVector<Operation *, 4> combiners;
  (void)matchReduction(op.getRegionOutputArgs(), output, combiners);
  return arith::ConstantOp::create(b, *arith::getNeutralElement(combiners[0]));
}

Value Emitter::broadcast(Value value, int64_t lanes) {
  if (lanes == 1 || isa<VectorType>(value.getType()))
    return value;
  return vector::BroadcastOp::create(b, VectorType::get(lanes, value.getType()),
                                     value);
}

Value Emitter::loopIndex(unsigned d, int64_t row, int64_t part, int64_t lanes) {
  if (static_cast<int64_t>(d) == s.row && row)
    return add(ivs[d], index(row));
  if (d == s.lane && part)
    return add(ivs[d], index(part * lanes));
  return ivs[d];
}

Value Emitter::elementNumber(unsigned operand, int64_t row, int64_t part,
                             int64_t lanes) {
  const Access &access = s.accesses[operand];
  // What the members of a tile differ by is a constant, which folds into the
  // address.
  int64_t constant = access.constant;
  if (s.row >= 0)
    constant += row * access.strides[s.row];
  constant += part * lanes * access.strides[s.lane];
  Value number;
  for (unsigned d = 0; d < ivs.size(); ++d)
    if (access.strides[d] != 0 && s.ranges[d] > 1) {
      Value term = scaled(ivs[d], access.strides[d]);
      number = number ? add(number, term) : term;
    }
  if (!number)
    return index(constant);
  return constant ? add(number, index(constant)) : number;
}

Value Emitter::load(unsigned operand, int64_t row, int64_t part,
                    int64_t lanes) {
  const Access &access = s.accesses[operand];
  if (access.isScalar)
    return access.operand;
  Value number = elementNumber(operand, row, part, lanes);
  int64_t stride = access.strides[s.lane];
  Type element = cast<MemRefType>(bases[operand].getType()).getElementType();
  if (lanes == 1 || stride == 0)
    return memref::LoadOp::create(b, bases[operand], number);
  auto type = VectorType::get(lanes, element);
  if (stride == 1) {
    fetchNext(operand, part, type, number);
    return vector::LoadOp::create(b, type, bases[operand], number);
  }
  // As bits: LLVM would build a vector of bf16 by way of float, and narrow
  // that by a call.
  bool asBits = element.isBF16();
  Values elements;
  for (int64_t i = 0; i < lanes; ++i) {
    Value loaded = memref::LoadOp::create(b, bases[operand],
                                          add(number, index(i * stride)));
    elements.push_back(
        asBits ? arith::BitcastOp::create(b, b.getI16Type(), loaded) : loaded);
  }
  if (!asBits)
    return vector::FromElementsOp::create(b, type, elements);
  return arith::BitcastOp::create(
      b, type,
      vector::FromElementsOp::create(b, VectorType::get(lanes, b.getI16Type()),
                                     elements));
}

void Emitter::store(unsigned operand, int64_t row, int64_t part, Value value) {
  int64_t lanes = 1;
  if (auto type = dyn_cast<VectorType>(value.getType()))
    lanes = type.getNumElements();
  Value number = elementNumber(operand, row, part, lanes);
  if (lanes == 1)
    memref::StoreOp::create(b, value, bases[operand], number);
  else
    vector::StoreOp::create(b, value, bases[operand], number);
}

Emitter::Values Emitter::evaluate(const Values &accumulators, int64_t unroll,
                                  int64_t lanes, Part which) {
  Values results(accumulators.size());
  llvm::SetVector<Operation *> ops = getOps(which);
  bool hasPairs = s.addsPairs() || (s.group >= 0 && which == Part::Terms);
  // Members share what does not depend on what they differ by.
  llvm::DenseMap<std::tuple<unsigned, int64_t, int64_t>, Value> loads;
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t part = 0; part < unroll; ++part) {
      IRMapping mapping;
      for (unsigned i = 0; i < op.getNumDpsInputs(); ++i) {
        auto isNeeded = [&](Operation *user) {
          return ops.contains(user) ||
                 (which != Part::Terms && which != Part::Zero &&
                  user == op.getBody()->getTerminator());
        };
        BlockArgument argument = op.getRegionInputArgs()[i];
        if (llvm::none_of(argument.getUsers(), isNeeded) &&
            (which != Part::Zero || argument != s.common->zero))
          continue;
        const Access &access = s.accesses[i];
        bool perRow = s.row >= 0 && access.strides[s.row] != 0;
        bool perPart = access.strides[s.lane] != 0;
        Value &value = loads[{i, perRow ? row : -1, perPart ? part : -1}];
        if (!value && !preloaded.empty())
          value = preloaded[i];
        if (!value)
          value = hasPairs ? loadGroups(i, row, part, lanes)
                           : load(i, row, part, lanes);
        mapping.map(argument, value);
      }
      auto slot = [&](unsigned output) {
        return (output * rows + row) * unroll + part;
      };
      for (unsigned i = 0; i < op.getNumDpsInits(); ++i)
        if (accumulators[slot(i)])
          mapping.map(op.getRegionOutputArgs()[i], accumulators[slot(i)]);
      if (s.addsPairs()) {
        Value x = mapping.lookup(op.getRegionInputArgs()[0]);
        Value y = mapping.lookup(op.getRegionInputArgs()[1]);
        results[slot(0)] = addPairs(accumulators[slot(0)], x, y);
        continue;
      }
      if (which == Part::Total)
        mapping.map(s.common->rest, partials[slot(0)]);
      for (Operation *each : ops)
        if (which == Part::Terms && subtractsZero(each))
          mapping.map(each->getResult(0),
                      mapping.lookupOrDefault(each->getOperand(0)));
        else
          clone(*each, mapping, row, part, hasPairs ? 2 * lanes : lanes);
      if (which == Part::Zero) {
        results[slot(0)] =
            broadcast(mapping.lookupOrDefault(s.common->zero), lanes);
        continue;
      }
      if (which == Part::Terms) {
        results[slot(0)] = accumulators[slot(0)];
        addTerms(s.common->summed, mapping, results[slot(0)]);
        continue;
      }
      for (auto [i, value] :
           llvm::enumerate(op.getBody()->getTerminator()->getOperands()))
        results[slot(i)] = broadcast(mapping.lookupOrDefault(value), lanes);
    }
  return results;
}

llvm::SetVector<Operation *> Emitter::getSlice(Value value, Operation *except) {
  llvm::SetVector<Operation *> ops;
  BackwardSliceOptions options;
  options.filter = [&](Operation *each) {
    return each->getBlock() == op.getBody() && each != except;
  };
  if (Operation *def = value.getDefiningOp();
      def && def->getBlock() == op.getBody()) {
    (void)getBackwardSlice(def, &ops, options);
    ops.insert(def);
  }
  return ops;
}

llvm::SetVector<Operation *> Emitter::getOps(Part which) {
  llvm::SetVector<Operation *> ops;
  if (which == Part::All) {
    for (Operation &each : op.getBody()->without_terminator())
      ops.insert(&each);
    return ops;
  }
  Value root = which == Part::Terms   ? s.common->summed
               : which == Part::Total ? s.common->factor
                                      : s.common->zero;
  ops = getSlice(root, which == Part::Terms && s.common->zero
                           ? s.common->zero.getDefiningOp()
                           : nullptr);
  if (which == Part::Total) {
    ops.insert(s.common->product);
    ops.insert(s.common->sum);
  } else if (which == Part::Terms) {
    // Sums of terms are added one by one.
    forEachTerm(
        s.common->summed, op.getBody(), [](Value) {},
        [&](Operation *sum) { ops.remove(sum); });
  }
  return ops;
}

void Emitter::clone(Operation &inner, IRMapping &mapping, int64_t row,
                    int64_t part, int64_t lanes) {
  if (auto indexOp = dyn_cast<linalg::IndexOp>(inner)) {
    Value value = loopIndex(indexOp.getDim(), row, part, lanes);
    if (indexOp.getDim() == s.lane && lanes > 1) {
      auto type = VectorType::get(lanes, b.getIndexType());
      value = arith::AddIOp::create(b, broadcast(value, lanes),
                                    vector::StepOp::create(b, type));
    }
    mapping.map(indexOp.getResult(), value);
    return;
  }
  if (auto load = dyn_cast<memref::LoadOp>(inner)) {
    Values indices;
    for (Value i : load.getIndices())
      indices.push_back(mapping.lookupOrDefault(i));
    bool follows =
        !indices.empty() && isa<VectorType>(indices.back().getType());
    Value buffer = mapping.lookupOrDefault(load.getMemRef());
    if (follows) {
      indices.back() = loopIndex(s.lane, row, part, lanes);
      mapping.map(load.getResult(),
                  vector::LoadOp::create(b,
                                         VectorType::get(lanes, load.getType()),
                                         buffer, indices)
                      .getResult());
    } else {
      mapping.map(load.getResult(),
                  memref::LoadOp::create(b, buffer, indices).getResult());
    }
    return;
  }
  bool varies = llvm::any_of(inner.getOperands(), [&](Value operand) {
    return isa<VectorType>(mapping.lookupOrDefault(operand).getType());
  });
  IRMapping wide;
  if (varies)
    for (Value operand : inner.getOperands())
      wide.map(operand, broadcast(mapping.lookupOrDefault(operand), lanes));
  Operation *copy = b.clone(inner, varies ? wide : mapping);
  // One rounding for a * b + c; order of operations is never changed.
  if (auto fast = dyn_cast<arith::ArithFastMathInterface>(copy);
      fast && isa<arith::AddFOp, arith::SubFOp, arith::MulFOp>(copy))
    copy->setAttr(fast.getFastMathAttrName(),
                  arith::FastMathFlagsAttr::get(
                      b.getContext(), arith::FastMathFlags::contract));
  for (auto [result, value] :
       llvm::zip_equal(inner.getResults(), copy->getResults())) {
    if (varies)
      value.setType(VectorType::get(lanes, result.getType()));
    mapping.map(result, value);
  }
}

void cpu::emitVectorLoops(OpBuilder &builder, linalg::GenericOp op,
                          const Schedule &schedule, DotProducts dotProducts,
                          Value begin, Value end) {
  builder.setInsertionPoint(op);
  Emitter(builder, op, schedule, dotProducts).emit(begin, end);
  op.erase();
}
