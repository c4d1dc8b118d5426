//===- EmitStreams.cpp - Rows of a matrix side by side --------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Caches.h"
#include "Emitter.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::cpu;

void Emitter::emitStreams(bool isOutermost) {
  int64_t size = s.ranges[s.lane];
  unsigned reduction = s.reductionLoops()[0];
  int64_t steps = s.ranges[reduction];
  auto chunk = [&](Value unit) {
    Value from = scaled(unit, s.chunk);
    Value to = add(from, index(s.chunk));
    if (size % s.chunk != 0)
      to = arith::MinUIOp::create(b, to, index(size));
    Value count = index(steps), list;
    int64_t ahead = 0;
    if (s.skipped >= 0) {
      ahead = stepsAhead(reduction);
      count = listNonzero(reduction, ahead, list);
    }
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
          prefetchSteps(reduction, list, add(iv, index(ahead)), size);
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

bool Emitter::isMatrixOfSteps(unsigned input, unsigned reduction) const {
  const Access &access = s.accesses[input];
  return !access.isScalar && access.strides[s.lane] == 1 &&
         access.strides[reduction] != 0;
}

int64_t Emitter::stepsAhead(unsigned reduction) {
  int64_t bits = 0;
  for (unsigned input = 0; input < op.getNumDpsInputs(); ++input)
    if (isMatrixOfSteps(input, reduction))
      bits += s.chunk *
              cast<MemRefType>(bases[input].getType()).getElementTypeBitWidth();
  int64_t steps = kFetchAhead * 8 / std::max<int64_t>(bits, 1);
  return llvm::alignTo(std::clamp<int64_t>(steps, 1, s.ranges[reduction]),
                       s.streams);
}

Value Emitter::listNonzero(unsigned reduction, int64_t ahead, Value &list) {
  auto type = MemRefType::get(s.ranges[reduction] + ahead, b.getIndexType());
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
  // What is fetched beyond the last: the next part's first, most likely.
  loop(index(0), index(ahead), 1, [&](Value iv) {
    Value isListed =
        arith::CmpIOp::create(b, arith::CmpIPredicate::ult, iv, count[0]);
    Value step = arith::SelectOp::create(
        b, isListed, memref::LoadOp::create(b, list, iv), index(0));
    memref::StoreOp::create(b, add(step, index(s.ranges[reduction])), list,
                            add(count[0], iv));
  });
  return count[0];
}

void Emitter::prefetchSteps(unsigned reduction, Value list, Value next,
                            int64_t size) {
  ivs[s.lane] = index(0);
  for (int64_t i = 0; i < size; ++i) {
    ivs[reduction] = memref::LoadOp::create(b, list, add(next, index(i)));
    for (unsigned input = 0; input < op.getNumDpsInputs(); ++input) {
      if (!isMatrixOfSteps(input, reduction))
        continue;
      Value number = elementNumber(input, 0, 0, 1);
      int64_t bits =
          cast<MemRefType>(bases[input].getType()).getElementTypeBitWidth();
      for (int64_t at = 0; at < s.chunk; at += kLineBytes * 8 / bits)
        memref::PrefetchOp::create(b, bases[input], add(number, index(at)),
                                   /*isWrite=*/false, /*localityHint=*/3,
                                   /*isDataCache=*/true);
    }
  }
}

void Emitter::emitStreamBlock(Value from, Value to, unsigned reduction,
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
