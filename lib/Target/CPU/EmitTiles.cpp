//===- EmitTiles.cpp - Products of matrices in tiles ----------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Emitter.h"
#include "mlir/Dialect/AMX/AMXDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::cpu;

void Emitter::emitTiles() {
  constexpr int64_t size = Schedule::kTileSize;
  unsigned reduction = s.reductionLoops().front();
  unsigned output = op.getNumDpsInputs(), left = 0, right = 1;
  if (s.accesses[left].strides[s.row] == 0)
    std::swap(left, right);
  auto ofSums = amx::TileType::get({size, size}, b.getF32Type());
  auto ofPairs = amx::TileType::get({size, 2 * size}, b.getBF16Type());
  auto load = [&](amx::TileType type, unsigned operand, int64_t row,
                  int64_t column) -> Value {
    unsigned down = operand == right ? reduction : s.row;
    return amx::TileLoadOp::create(
        b, type, bases[operand],
        elementNumber(operand, row * size, column, size),
        index(s.accesses[operand].strides[down]));
  };

  int64_t numRows = rows / size, numColumns = s.unroll * s.lanes / size;
  Values sums;
  for (int64_t row = 0; row < numRows; ++row)
    for (int64_t column = 0; column < numColumns; ++column)
      sums.push_back(load(ofSums, output, row, column));
  auto addProducts = [&](ValueRange carried) {
    if (rows == s.rows && s.ahead >= 0)
      fetchAhead(reduction, size);
    Values matrix, results;
    for (int64_t column = 0; column < numColumns; ++column)
      matrix.push_back(load(ofPairs, right, 0, column));
    for (int64_t row = 0; row < numRows; ++row) {
      Value activations = load(ofPairs, left, row, 0);
      for (Value part : matrix)
        results.push_back(amx::TileMulFOp::create(b, ofSums, activations, part,
                                                  carried[results.size()]));
    }
    return results;
  };
  sums = emitReductions(reduction, sums, addProducts, size);
  for (int64_t row = 0; row < numRows; ++row)
    for (int64_t column = 0; column < numColumns; ++column)
      amx::TileStoreOp::create(b, bases[output],
                               elementNumber(output, row * size, column, size),
                               sums[row * numColumns + column],
                               index(s.accesses[output].strides[s.row]));
}

/// \p numbers less \p zero if that is an operand of the op, or null.
static BlockArgument findArgument(Value numbers, int64_t zero) {
  auto raised = numbers.getDefiningOp<arith::AddIOp>();
  APInt by;
  if (raised && matchPattern(raised.getRhs(), m_ConstantInt(&by)) &&
      by == static_cast<uint64_t>(zero))
    numbers = raised.getLhs();
  else if (zero != 0)
    return nullptr;
  return dyn_cast<BlockArgument>(numbers);
}

Value Emitter::loadTile(const DotTerm &dot, unsigned loop, int64_t lanes,
                        int64_t zero) {
  constexpr int64_t size = Schedule::kTileSize;
  int64_t steps = s.ranges[loop], bytes = size * s.groupSize();
  auto type = amx::TileType::get({steps, bytes}, b.getI8Type());
  // As they are in memory, or computed there.
  if (BlockArgument argument = findArgument(dot.numbers, zero)) {
    unsigned input = argument.getArgNumber();
    const Access &access = s.accesses[input];
    if (access.strides[s.lane] == s.groupSize() && access.strides[loop] != 0)
      return amx::TileLoadOp::create(b, type, bases[input],
                                     elementNumber(input, 0, 0, lanes),
                                     index(access.strides[loop]));
  }
  Value numbers = allocate(steps * bytes, b.getI8Type());
  auto vector = VectorType::get(lanes * s.groupSize(), b.getI8Type());
  Value less = arith::ConstantOp::create(
      b, DenseElementsAttr::get(vector, APInt(8, zero)));
  for (int64_t step = 0; step < steps; ++step) {
    ivs[loop] = index(step);
    for (int64_t part = 0; part * lanes < size; ++part) {
      Value computed = computeNumbers(dot, 0, part, lanes);
      if (zero)
        computed = arith::SubIOp::create(b, computed, less);
      vector::StoreOp::create(
          b, computed, numbers,
          index(step * bytes + part * lanes * s.groupSize()));
    }
  }
  ivs[loop] = index(0);
  return amx::TileLoadOp::create(b, type, numbers, index(0), index(bytes));
}

Emitter::Values Emitter::addTiles(unsigned loop, Values sums, int64_t lanes,
                                  std::optional<int64_t> zero) {
  constexpr int64_t size = Schedule::kTileSize;
  ivs[loop] = index(0);
  auto ofSums = amx::TileType::get({size, size}, b.getI32Type());
  auto ofRows =
      amx::TileType::get({size, s.ranges[loop] * s.groupSize()}, b.getI8Type());
  Value total = amx::TileZeroOp::create(b, ofSums);
  for (const DotTerm &dot : s.common->dots) {
    Value row = amx::TileLoadOp::create(
        b, ofRows, bases[dot.input], elementNumber(dot.input, 0, 0, lanes),
        index(s.accesses[dot.input].strides[s.row]));
    Value numbers = loadTile(dot, loop, lanes, zero.value_or(0));
    total = amx::TileMulIOp::create(b, ofSums, row, numbers, total,
                                    /*isZextLhs=*/false,
                                    /*isZextRhs=*/!zero);
  }
  Value stored = allocate(size * size, b.getI32Type());
  amx::TileStoreOp::create(b, stored, index(0), total, index(size));
  auto type = VectorType::get(lanes, b.getI32Type());
  for (auto [i, sum] : llvm::enumerate(sums))
    sum = add(sum, vector::LoadOp::create(b, type, stored, index(i * lanes)));
  return sums;
}
