//===- EmitStreams.cpp - Rows of a matrix side by side --------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Emitter.h"

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
    Value count = index(steps);
    NonzeroList list;
    if (s.skipped >= 0) {
      list = listSteps(reduction);
      count = list.count;
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
            number = loadNumber(list.numbers, number);
          numbers.push_back(number);
        }
        if (list)
          prefetchSteps(reduction, list, iv, size);
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
