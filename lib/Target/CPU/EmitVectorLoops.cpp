//===- EmitVectorLoops.cpp - A scheduled kernel as loops ------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Caches.h"
#include "KernelSchedule.h"
#include "mlir/Analysis/SliceAnalysis.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::cpu;

namespace {

class Emitter {
public:
  Emitter(OpBuilder &builder, linalg::GenericOp op, const Schedule &s)
      : b(op.getLoc(), builder), op(op), s(s), ivs(s.ranges.size()),
        rows(s.rows) {
    Value zero = index(0);
    for (Value &iv : ivs)
      iv = zero;
    for (const Access &access : s.accesses)
      bases.push_back(access.isScalar ? access.operand
                                      : flatten(access.operand));
    if (s.common && s.common->zero)
      sumBlocks();
  }

  void emit(Value begin, Value end) {
    this->begin = begin;
    this->end = end;
    emitOuter(s.outerLoops(), 0);
  }

private:
  using Values = SmallVector<Value>;

  /// What of the body is computed: all of it, or, of a sum with a common
  /// factor, the inner sum, what is done with it, or the zero point.
  enum class Part { All, Terms, Total, Zero };

  Value index(int64_t value) {
    return arith::ConstantIndexOp::create(b, value);
  }
  Value add(Value x, Value y) { return arith::AddIOp::create(b, x, y); }
  Value scaled(Value x, int64_t factor) {
    return factor == 1 ? x : arith::MulIOp::create(b, x, index(factor));
  }

  /// The elements of \p buffer from its first one on, as one dimension.
  Value flatten(Value buffer) {
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
    auto flat =
        MemRefType::get(size, type.getElementType(),
                        offset == 0 ? MemRefLayoutAttrInterface()
                                    : MemRefLayoutAttrInterface(layout));
    return memref::ReinterpretCastOp::create(
        b, flat, buffer, start, ArrayRef<OpFoldResult>{b.getIndexAttr(size)},
        ArrayRef<OpFoldResult>{b.getIndexAttr(1)});
  }

  Values loop(Value from, Value to, int64_t step, ValueRange carried,
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
  void loop(Value from, Value to, int64_t step,
            llvm::function_ref<void(Value)> body) {
    loop(from, to, step, {}, [&](Value iv, ValueRange) {
      body(iv);
      return Values();
    });
  }

  void emitOuter(ArrayRef<unsigned> loops, unsigned level) {
    if (level == loops.size())
      return emitLanes(/*isOutermost=*/level == 0);
    unsigned d = loops[level];
    bool isRow = static_cast<int64_t>(d) == s.row;
    int64_t step = isRow ? s.rows : 1, full = s.ranges[d] / step * step;
    if (level == 0 && begin)
      return loop(begin, end, 1, [&](Value unit) {
        ivs[d] = scaled(unit, step);
        emitOuter(loops, level + 1);
      });
    auto body = [&](Value iv) {
      ivs[d] = iv;
      emitOuter(loops, level + 1);
    };
    auto all = [&] {
      loop(index(0), index(full), step, body);
      if (full == s.ranges[d])
        return;
      rows = s.ranges[d] - full;
      body(index(full));
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

  void emitLanes(bool isOutermost) {
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

  /// Chunks of the lanes; in each, several steps of the reduction side by side.
  void emitStreams(bool isOutermost) {
    int64_t size = s.ranges[s.lane];
    unsigned reduction = s.reductionLoops()[0];
    int64_t steps = s.ranges[reduction];
    auto chunk = [&](Value unit) {
      Value from = scaled(unit, s.chunk);
      Value to = add(from, index(s.chunk));
      if (size % s.chunk != 0)
        to = arith::MinUIOp::create(b, to, index(size));
      Value count = index(steps), list;
      if (s.skipped >= 0)
        count = listNonzero(reduction, list);
      Value full = count;
      if (s.skipped >= 0 || steps % s.streams != 0)
        full = arith::SubIOp::create(
            b, count, arith::RemUIOp::create(b, count, index(s.streams)));
      auto block = [&](int64_t size) {
        return [&, size](Value iv) {
          Values numbers;
          for (int64_t i = 0; i < size; ++i) {
            Value number = i ? add(iv, index(i)) : iv;
            if (list)
              number = memref::LoadOp::create(b, list, number);
            numbers.push_back(number);
          }
          if (list)
            prefetchSteps(reduction, list, add(iv, index(s.streams)), size);
          emitStreamBlock(from, to, reduction, numbers);
        };
      };
      loop(index(0), full, s.streams, block(s.streams));
      loop(full, count, 1, block(1));
    };
    if (isOutermost && begin)
      return loop(begin, end, 1, chunk);
    loop(index(0), index(llvm::divideCeil(size, s.chunk)), 1, chunk);
  }

  /// How many steps of \p reduction have something to add, and which, in
  /// \p list .
  Value listNonzero(unsigned reduction, Value &list) {
    // Room for what is fetched beyond the last.
    auto type =
        MemRefType::get(s.ranges[reduction] + s.streams, b.getIndexType());
    {
      // On the stack of the thread that runs the kernel, and once.
      OpBuilder::InsertionGuard guard(b);
      auto func = op->getParentOfType<FunctionOpInterface>();
      b.setInsertionPointToStart(&func.getFunctionBody().front());
      list = memref::AllocaOp::create(b, type);
    }
    Values count = loop(index(0), index(s.ranges[reduction]), 1, index(0),
                        [&](Value iv, ValueRange found) {
                          ivs[reduction] = iv;
                          memref::StoreOp::create(b, iv, list, found[0]);
                          Value x = load(s.skipped, 0, 0, 1);
                          Value zero = arith::ConstantOp::create(
                              b, cast<TypedAttr>(b.getZeroAttr(x.getType())));
                          Value isNonzero = arith::CmpFOp::create(
                              b, arith::CmpFPredicate::UNE, x, zero);
                          return Values{arith::SelectOp::create(
                              b, isNonzero, add(found[0], index(1)), found[0])};
                        });
    for (int64_t i = 0; i < s.streams; ++i)
      memref::StoreOp::create(b, index(0), list, add(count[0], index(i)));
    return count[0];
  }

  /// Fetches what \p size steps of \p reduction , those in \p list from \p next
  /// on, will read: memory that does not follow what was read before. To the
  /// second-level cache, which has more requests under way than the first.
  void prefetchSteps(unsigned reduction, Value list, Value next, int64_t size) {
    ivs[s.lane] = index(0);
    for (int64_t i = 0; i < size; ++i) {
      ivs[reduction] = memref::LoadOp::create(b, list, add(next, index(i)));
      for (unsigned input = 0; input < op.getNumDpsInputs(); ++input) {
        const Access &access = s.accesses[input];
        if (access.isScalar || access.strides[s.lane] != 1 ||
            access.strides[reduction] == 0)
          continue;
        Value number = elementNumber(input, 0, 0, 1);
        int64_t bits =
            cast<MemRefType>(bases[input].getType()).getElementTypeBitWidth();
        for (int64_t at = 0; at < s.chunk; at += kLineBytes * 8 / bits)
          memref::PrefetchOp::create(b, bases[input], add(number, index(at)),
                                     /*isWrite=*/false, /*localityHint=*/2,
                                     /*isDataCache=*/true);
      }
    }
  }

  /// Adds those steps of \p reduction to the outputs in [from, to).
  void emitStreamBlock(Value from, Value to, unsigned reduction,
                       const Values &steps) {
    // What does not depend on the lane is loaded ahead of the loop over it.
    int64_t count = steps.size();
    SmallVector<Values> uniform(count);
    for (int64_t step = 0; step < count; ++step) {
      ivs[reduction] = steps[step];
      for (unsigned i = 0; i < op.getNumDpsInputs(); ++i)
        uniform[step].push_back(s.accesses[i].strides[s.lane] == 0 &&
                                        !op.getRegionInputArgs()[i].use_empty()
                                    ? load(i, 0, 0, 1)
                                    : Value());
    }
    auto members = [&](int64_t lanes) {
      return [&, lanes](Value base) {
        ivs[s.lane] = base;
        unsigned output = op.getNumDpsInputs();
        Values sums{load(output, 0, 0, lanes)};
        for (int64_t step = 0; step < count; ++step) {
          ivs[reduction] = steps[step];
          preloaded = uniform[step];
          sums = evaluate(sums, 1, lanes);
        }
        preloaded.clear();
        store(output, 0, 0, sums[0]);
      };
    };
    if (s.ranges[s.lane] % s.lanes == 0)
      return loop(from, to, s.lanes, members(s.lanes));
    Value rest = arith::RemUIOp::create(b, arith::SubIOp::create(b, to, from),
                                        index(s.lanes));
    Value vectorEnd = arith::SubIOp::create(b, to, rest);
    loop(from, vectorEnd, s.lanes, members(s.lanes));
    loop(vectorEnd, to, 1, members(1));
  }

  /// The lanes from \p start on: single vectors, then single elements.
  void emitRemainder(int64_t start) {
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

  /// `rows` x \p unroll vectors of the outputs, with parallel lanes.
  void emitTile(int64_t unroll, int64_t lanes) {
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
    auto step = [&](ValueRange carried) {
      if (isFull && s.ahead >= 0)
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
            if (isFull && s.ahead >= 0)
              fetchAhead(ArrayRef(reductions).drop_back());
            return emitCommonFactor(reductions.back(), sums, unroll, lanes);
          });
    else
      results = emitReductions(reductions, accumulators, step);
    unsigned next = 0;
    forEachOutput(unroll, [&](unsigned output, int64_t row, int64_t part) {
      if (!s.isStreamed[output])
        store(op.getNumDpsInputs() + output, row, part, results[next++]);
    });
  }

  /// Fetches, in a step of \p reductions in a full tile, its share of what
  /// comes after the present part of the matrix. To the second-level cache: the
  /// first has the tile.
  void fetchAhead(ArrayRef<unsigned> reductions) {
    const Access &access = s.accesses[s.ahead];
    int64_t tile = s.lanes * s.unroll;
    int64_t count = s.ranges[s.row] / s.rows * (s.ranges[s.lane] / tile);
    Value number =
        add(scaled(arith::DivUIOp::create(b, ivs[s.row], index(s.rows)),
                   s.ranges[s.lane] / tile),
            arith::DivUIOp::create(b, ivs[s.lane], index(tile)));
    Value first = index(access.constant + s.elementsAhead());
    for (unsigned d = 0; d < ivs.size(); ++d)
      if (!s.isReduction[d] && d != s.lane && access.strides[d] != 0)
        first = add(first, scaled(ivs[d], access.strides[d]));
    for (unsigned d : reductions) {
      Value step = ivs[d];
      int64_t steps = s.ranges[d];
      if (firstStep && d == reductions.front()) {
        first = add(first, scaled(firstStep, access.strides[d]));
        step = arith::SubIOp::create(b, step, firstStep);
        steps = s.depth;
      }
      number = add(scaled(number, steps), step);
      count *= steps;
    }
    int64_t share = llvm::divideCeil(s.elementsAhead(), count);
    first = add(first, scaled(number, share));
    Value buffer = bases[s.ahead];
    int64_t bits = cast<MemRefType>(buffer.getType()).getElementTypeBitWidth();
    for (int64_t at = 0; at < share; at += kLineBytes * 8 / bits)
      memref::PrefetchOp::create(b, buffer, add(first, index(at)),
                                 /*isWrite=*/false, /*localityHint=*/2,
                                 /*isDataCache=*/true);
  }

  /// Adds to \p sums the sum over \p loop of what the common factor multiplies,
  /// times the factor.
  Values emitCommonFactor(unsigned loop, ValueRange sums, int64_t unroll,
                          int64_t lanes) {
    Type type = s.common->summed.getType();
    Value zero = broadcast(
        arith::ConstantOp::create(b, cast<TypedAttr>(b.getZeroAttr(type))),
        lanes);
    Values terms = emitReductions(
        loop, Values(sums.size(), zero), [&](ValueRange carried) {
          return evaluate(Values(carried), unroll, lanes, Part::Terms);
        });
    ivs[loop] = index(0);
    if (s.common->zero)
      subtractZeros(terms, unroll, lanes);
    if (s.common->summed != s.common->rest)
      for (Value &term : terms)
        term = arith::SIToFPOp::create(
            b, cloneType(term.getType(), s.common->rest.getType()), term);
    partials = terms;
    Values results = evaluate(Values(sums), unroll, lanes, Part::Total);
    partials.clear();
    return results;
  }

  bool subtractsZero(Operation *each) {
    return s.common->zero && isa<arith::SubIOp>(each) &&
           each->getOperand(1) == s.common->zero;
  }

  /// Where the kernel begins, adds up what weights of each block are multiplied
  /// with.
  void sumBlocks() {
    SmallVector<unsigned> reductions = s.reductionLoops();
    unsigned block = reductions[0], inBlock = reductions[1];
    auto func = op->getParentOfType<FunctionOpInterface>();
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(&func.getFunctionBody().front());
    Type type = s.common->summed.getType();
    blockSums =
        memref::AllocaOp::create(b, MemRefType::get(s.ranges[block], type));
    Values buffers;
    for (unsigned input : s.common->multiplied)
      buffers.push_back(flatten(s.accesses[input].operand));
    loop(index(0), index(s.ranges[block]), 1, [&](Value iv) {
      Value total;
      for (auto [input, buffer] :
           llvm::zip_equal(s.common->multiplied, buffers)) {
        const Access &access = s.accesses[input];
        Value first =
            add(scaled(iv, access.strides[block]), index(access.constant));
        Type element = cast<MemRefType>(buffer.getType()).getElementType();
        auto row = VectorType::get(2 * s.ranges[inBlock], element);
        Value all = vector::LoadOp::create(b, row, buffer, first);
        all = arith::ExtSIOp::create(b, row.clone(type), all);
        Value sum =
            vector::ReductionOp::create(b, vector::CombiningKind::ADD, all);
        total = total ? add(total, sum) : sum;
      }
      memref::StoreOp::create(b, total, blockSums, iv);
    });
  }

  /// Subtracts the zero point of a block, times the sum of what weights are
  /// multiplied with, from \p terms .
  void subtractZeros(Values &terms, int64_t unroll, int64_t lanes) {
    Value total =
        memref::LoadOp::create(b, blockSums, ivs[s.reductionLoops().front()]);
    total = broadcast(total, lanes);
    Values zeros = evaluate(Values(terms.size()), unroll, lanes, Part::Zero);
    for (auto [term, zero] : llvm::zip_equal(terms, zeros)) {
      if (zero.getType() != term.getType())
        zero = arith::ExtSIOp::create(b, term.getType(), zero);
      term =
          arith::SubIOp::create(b, term, arith::MulIOp::create(b, total, zero));
    }
  }

  /// The present value of an output; null where nothing reads it.
  Value loadOutput(unsigned output, int64_t row, int64_t part, int64_t lanes,
                   bool isRead) {
    if (!isRead && op.getRegionOutputArgs()[output].use_empty())
      return Value();
    return load(op.getNumDpsInputs() + output, row, part, lanes);
  }

  Values emitReductions(ArrayRef<unsigned> loops, ValueRange carried,
                        llvm::function_ref<Values(ValueRange)> body) {
    if (loops.empty())
      return body(carried);
    Value first = index(0), end = index(s.ranges[loops[0]]);
    if (firstStep && loops[0] == s.reductionLoops().front()) {
      first = firstStep;
      end = endStep;
    }
    return loop(first, end, 1, carried, [&](Value iv, ValueRange values) {
      ivs[loops[0]] = iv;
      return emitReductions(loops.drop_front(), values, body);
    });
  }

  /// `rows` elements of the outputs, with the lanes summed up.
  void emitLaneReduction() {
    int64_t tile = s.lanes * s.unroll, size = s.ranges[s.lane];
    int64_t full = size - size % tile, vectorEnd = size - size % s.lanes;
    Values vectors;
    forEachOutput(s.unroll, [&](unsigned output, int64_t, int64_t) {
      vectors.push_back(broadcast(neutral(output), s.lanes));
    });
    vectors =
        emitReductions(s.reductionLoops(), vectors, [&](ValueRange carried) {
          Values sums =
              loop(index(0), index(full), tile, carried,
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

  void forEachOutput(int64_t unroll,
                     llvm::function_ref<void(unsigned, int64_t, int64_t)> fn) {
    for (unsigned output = 0; output < op.getNumDpsInits(); ++output)
      for (int64_t row = 0; row < rows; ++row)
        for (int64_t part = 0; part < unroll; ++part)
          fn(output, row, part);
  }

  Value neutral(unsigned output) {
    SmallVector<Operation *, 4> combiners;
    (void)matchReduction(op.getRegionOutputArgs(), output, combiners);
    return arith::ConstantOp::create(b,
                                     *arith::getNeutralElement(combiners[0]));
  }

  /// \p element , as a vector if \p type is one.
  static Type cloneType(Type type, Type element) {
    auto vector = dyn_cast<VectorType>(type);
    return vector ? vector.clone(element) : element;
  }

  Value broadcast(Value value, int64_t lanes) {
    if (lanes == 1 || isa<VectorType>(value.getType()))
      return value;
    return vector::BroadcastOp::create(
        b, VectorType::get(lanes, value.getType()), value);
  }

  /// The present value of loop \p d for one member of the tile.
  Value loopIndex(unsigned d, int64_t row, int64_t part, int64_t lanes) {
    if (static_cast<int64_t>(d) == s.row && row)
      return add(ivs[d], index(row));
    if (d == s.lane && part)
      return add(ivs[d], index(part * lanes));
    return ivs[d];
  }

  Value elementNumber(unsigned operand, int64_t row, int64_t part,
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

  Value load(unsigned operand, int64_t row, int64_t part, int64_t lanes) {
    const Access &access = s.accesses[operand];
    if (access.isScalar)
      return access.operand;
    Value number = elementNumber(operand, row, part, lanes);
    int64_t stride = access.strides[s.lane];
    Type element = cast<MemRefType>(bases[operand].getType()).getElementType();
    if (lanes == 1 || stride == 0)
      return memref::LoadOp::create(b, bases[operand], number);
    auto type = VectorType::get(lanes, element);
    if (stride == 1)
      return vector::LoadOp::create(b, type, bases[operand], number);
    // As bits: LLVM would build a vector of bf16 by way of float, and narrow
    // that by a call.
    bool asBits = element.isBF16();
    Values elements;
    for (int64_t i = 0; i < lanes; ++i) {
      Value loaded = memref::LoadOp::create(b, bases[operand],
                                            add(number, index(i * stride)));
      elements.push_back(
          asBits ? arith::BitcastOp::create(b, b.getI16Type(), loaded)
                 : loaded);
    }
    if (!asBits)
      return vector::FromElementsOp::create(b, type, elements);
    return arith::BitcastOp::create(
        b, type,
        vector::FromElementsOp::create(
            b, VectorType::get(lanes, b.getI16Type()), elements));
  }

  /// Both members of the pair for \p lanes values of the lane loop, side by
  /// side.
  Value loadPairs(unsigned operand, int64_t row, int64_t part, int64_t lanes) {
    const Access &access = s.accesses[operand];
    // The same for both.
    if (access.isScalar || access.strides[s.pair] == 0) {
      Value value = load(operand, row, part, lanes);
      if (isa<VectorType>(value.getType()))
        value = vector::InterleaveOp::create(b, value, value);
      return value;
    }
    Value number = elementNumber(operand, row, part, lanes);
    Type element = cast<MemRefType>(bases[operand].getType()).getElementType();
    auto load = [&](int64_t size) -> Value {
      return vector::LoadOp::create(b, VectorType::get(size, element),
                                    bases[operand], number);
    };
    if (access.strides[s.lane] != 0)
      return load(2 * lanes);
    // The pair as one number, which can be broadcast.
    Type both = b.getIntegerType(2 * element.getIntOrFloatBitWidth());
    Value pair =
        vector::BitCastOp::create(b, VectorType::get(1, both), load(2));
    pair = vector::ExtractOp::create(b, pair, 0);
    pair = vector::BroadcastOp::create(b, VectorType::get(lanes, both), pair);
    return vector::BitCastOp::create(b, VectorType::get(2 * lanes, element),
                                     pair);
  }

  void store(unsigned operand, int64_t row, int64_t part, Value value) {
    int64_t lanes = 1;
    if (auto type = dyn_cast<VectorType>(value.getType()))
      lanes = type.getNumElements();
    Value number = elementNumber(operand, row, part, lanes);
    if (lanes == 1)
      memref::StoreOp::create(b, value, bases[operand], number);
    else
      vector::StoreOp::create(b, value, bases[operand], number);
  }

  /// The body for every member of the tile; \p accumulators are the outputs'
  /// present values in the order of forEachOutput.
  Values evaluate(const Values &accumulators, int64_t unroll, int64_t lanes,
                  Part which = Part::All) {
    Values results(accumulators.size());
    llvm::SetVector<Operation *> ops = getOps(which);
    bool hasPairs = s.pair >= 0 && which == Part::Terms;
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
            value = hasPairs ? loadPairs(i, row, part, lanes)
                             : load(i, row, part, lanes);
          mapping.map(argument, value);
        }
        auto slot = [&](unsigned output) {
          return (output * rows + row) * unroll + part;
        };
        for (unsigned i = 0; i < op.getNumDpsInits(); ++i)
          if (accumulators[slot(i)])
            mapping.map(op.getRegionOutputArgs()[i], accumulators[slot(i)]);
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

  /// The ops of the body that \p which needs but for the terminator, in order.
  llvm::SetVector<Operation *> getOps(Part which) {
    llvm::SetVector<Operation *> ops;
    if (which == Part::All) {
      for (Operation &each : op.getBody()->without_terminator())
        ops.insert(&each);
      return ops;
    }
    BackwardSliceOptions options;
    options.filter = [&](Operation *each) {
      return each->getBlock() == op.getBody() &&
             (which != Part::Terms || !s.common->zero ||
              each != s.common->zero.getDefiningOp());
    };
    Value root = which == Part::Terms   ? s.common->summed
                 : which == Part::Total ? s.common->factor
                                        : s.common->zero;
    if (Operation *def = root.getDefiningOp();
        def && def->getBlock() == op.getBody()) {
      (void)getBackwardSlice(def, &ops, options);
      ops.insert(def);
    }
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

  /// Adds the terms of \p value to \p total .
  void addTerms(Value value, IRMapping &mapping, Value &total) {
    int64_t lanes = 1;
    if (auto type = dyn_cast<VectorType>(total.getType()))
      lanes = type.getNumElements();
    auto addTerm = [&](Value term) {
      term = mapping.lookupOrDefault(term);
      if (s.pair >= 0) {
        auto members = vector::DeinterleaveOp::create(b, term);
        term = add(members.getRes1(), members.getRes2());
      }
      term = broadcast(term, lanes);
      if (isa<IntegerType>(getElementTypeOrSelf(term.getType()))) {
        total = add(total, term);
        return;
      }
      auto sum = arith::AddFOp::create(b, total, term);
      sum.setFastmath(arith::FastMathFlags::contract);
      total = sum;
    };
    forEachTerm(value, op.getBody(), addTerm, [](Operation *) {});
  }

  void clone(Operation &inner, IRMapping &mapping, int64_t row, int64_t part,
             int64_t lanes) {
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
        mapping.map(
            load.getResult(),
            vector::LoadOp::create(b, VectorType::get(lanes, load.getType()),
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

  ImplicitLocOpBuilder b;
  linalg::GenericOp op;
  const Schedule &s;
  Values ivs;       ///< index of each loop, of the tile's first member
  Values bases;     ///< operands as one-dimensional buffers, or scalars
  Values partials;  ///< sums that a common factor multiplies, while it does
  Value blockSums;  ///< of what a common zero point multiplies, if there is one
  Values preloaded; ///< inputs that need no load at present, or empty
  Value begin, end;
  Value firstStep, endStep; ///< of the outermost reduction, where it has parts
  int64_t rows; ///< iterations of the row loop that go together at present
};

} // namespace

void cpu::emitVectorLoops(OpBuilder &builder, linalg::GenericOp op,
                          const Schedule &schedule, Value begin, Value end) {
  builder.setInsertionPoint(op);
  Emitter(builder, op, schedule).emit(begin, end);
  op.erase();
}
