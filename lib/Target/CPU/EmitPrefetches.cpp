//===- EmitPrefetches.cpp - What a kernel fetches ahead -------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Caches.h"
#include "Emitter.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::cpu;

/// Cache lines that a step of a tile fetches though there may be less to fetch.
static constexpr int64_t kMostLinesAhead = 2;

std::pair<Value, Value> Emitter::countRowTiles() {
  auto divide = [&](Value value, int64_t size) -> Value {
    return arith::DivUIOp::create(b, value, index(size));
  };
  if (s.limited != s.row)
    return {divide(ivs[s.row], s.rows), index(s.ranges[s.row] / s.rows)};
  // The small ones of emitNeeded() too.
  int64_t left = s.ranges[s.row] % s.rows;
  Value whole = divide(s.needed, s.rows);
  if (left == 0)
    return {divide(ivs[s.row], s.rows),
            arith::CeilDivUIOp::create(b, s.needed, index(s.rows))};
  Value start = scaled(whole, s.rows);
  Value rest = arith::CeilDivUIOp::create(
      b, arith::SubIOp::create(b, s.needed, start), index(left));
  Value number =
      rows == s.rows
          ? divide(ivs[s.row], s.rows)
          : add(whole,
                divide(arith::SubIOp::create(b, ivs[s.row], start), left));
  return {number, add(whole, rest)};
}

void Emitter::fetchAhead(ArrayRef<unsigned> reductions, int64_t size) {
  const Access &access = s.accesses[s.ahead];
  int64_t tile = s.lanes * s.unroll;
  int64_t count = s.ranges[s.lane] / tile;
  auto [rowTile, numRowTiles] = countRowTiles();
  Value number = add(scaled(rowTile, count),
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
    if (d == reductions.back() && size > 1) {
      step = arith::DivUIOp::create(b, step, index(size));
      steps = llvm::divideCeil(steps, size);
    }
    number = add(scaled(number, steps), step);
    count *= steps;
  }
  int64_t elements = llvm::divideCeil(s.elementsAhead(), count);
  int64_t least = llvm::divideCeil(elements, s.ranges[s.row] / s.rows);
  Value share = arith::CeilDivUIOp::create(b, index(elements), numRowTiles);
  first = add(first, arith::MulIOp::create(b, number, share));
  Value buffer = bases[s.ahead];
  int64_t bits = cast<MemRefType>(buffer.getType()).getElementTypeBitWidth();
  int64_t perLine = kLineBytes * 8 / bits;
  auto fetch = [&](Value at) {
    memref::PrefetchOp::create(b, buffer, add(first, at), /*isWrite=*/false,
                               /*localityHint=*/2, /*isDataCache=*/true);
  };
  // With fewer rows each fetches more.
  bool hasMore = s.limited == s.row;
  if (hasMore && elements <= kMostLinesAhead * perLine) {
    least = elements;
    hasMore = false;
  }
  for (int64_t at = 0; at < least; at += perLine)
    fetch(index(at));
  if (hasMore)
    loop(index(llvm::alignTo(least, perLine)), share, perLine, fetch);
}

void Emitter::prefetchOnce(unsigned operand, Value number) {
  memref::PrefetchOp::create(b, bases[operand], number, /*isWrite=*/false,
                             /*localityHint=*/s.isStreaming ? 0 : 3,
                             /*isDataCache=*/true);
}

void Emitter::fetchNext(unsigned operand, int64_t part, VectorType type,
                        Value number) {
  int64_t bits = type.getElementTypeBitWidth();
  int64_t bytes = type.getNumElements() * bits / 8;
  if (visitsList || operand != s.fetched || part * bytes % kLineBytes != 0)
    return;
  prefetchOnce(operand, add(number, index(s.fetchedAhead * 8 / bits)));
}
