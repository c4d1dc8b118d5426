//===- WKVTiling.cpp - Tiles of recurrences -------------------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// TilingInterface for the three recurrences. Column j of wkv6's state and row i
// of wkv7's are scans of their own that share the keys, so the loops of a tile
// are sequences, heads and value elements; of wkv4, sequences and channels.
//
//===----------------------------------------------------------------------===//

#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "rwkvc/Dialect/WKV/IR/WKV.h"

using namespace mlir;
using namespace rwkvc::wkv;

namespace {

/// For each dimension of an operand the loop that runs along it; kWhole where a
/// tile takes all of it.
constexpr int kWhole = -1;
using Dims = SmallVector<int, 4>;

// Loops of the matrix-state recurrences, and of wkv4.
constexpr int B = 0, H = 1, V = 2, C = 1;

Dims keyDims() { return {B, kWhole, H, kWhole}; }
Dims valueDims() { return {B, kWhole, H, V}; }

/// Adds the output's and the states' dimensions, and those of the length, which
/// stands before them where there is one.
template <typename OpTy>
SmallVector<Dims> withDestinations(OpTy op, SmallVector<Dims> inputs,
                                   ArrayRef<Dims> destinations) {
  if (op.getLength())
    inputs.emplace_back();
  llvm::append_range(inputs, destinations);
  return inputs;
}

SmallVector<Dims> getOperandDims(Wkv4Op op) {
  Dims rows{B, kWhole, C}, channels{C}, state{B, C};
  return withDestinations(op, {rows, rows, channels, channels},
                          {rows, state, state, state});
}

SmallVector<Dims> getOperandDims(Wkv6Op op) {
  return withDestinations(
      op, {keyDims(), keyDims(), valueDims(), keyDims(), {H, kWhole}},
      {valueDims(), {B, H, kWhole, V}});
}

SmallVector<Dims> getOperandDims(Wkv7Op op) {
  return withDestinations(
      op, {keyDims(), keyDims(), keyDims(), valueDims(), keyDims(), keyDims()},
      {valueDims(), {B, H, V, kWhole}});
}

struct Slice {
  SmallVector<OpFoldResult> offsets, sizes;
};

/// The part of \p tensor that the tile at \p offsets needs.
Slice getSlice(OpBuilder &b, Location loc, Value tensor, const Dims &dims,
               ArrayRef<OpFoldResult> offsets, ArrayRef<OpFoldResult> sizes) {
  auto type = cast<RankedTensorType>(tensor.getType());
  Slice slice;
  for (auto [i, loop] : llvm::enumerate(dims)) {
    // A static decay has one row for all sequences.
    bool whole = loop == kWhole || (loop == B && type.getDimSize(i) == 1);
    slice.offsets.push_back(whole ? OpFoldResult(b.getIndexAttr(0))
                                  : offsets[loop]);
    slice.sizes.push_back(whole ? tensor::getMixedSize(b, loc, tensor, i)
                                : sizes[loop]);
  }
  return slice;
}

/// The first operand dimension along which \p loop runs is that of the state,
/// which has every loop.
template <typename OpTy> SmallVector<Range> getDomain(OpTy op, OpBuilder &b) {
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPoint(op);
  Value state = op->getOperands().back();
  Dims dims = getOperandDims(op).back();
  SmallVector<Range> domain(llvm::count_if(dims, [](int d) { return d >= 0; }));
  for (auto [i, loop] : llvm::enumerate(dims))
    if (loop != kWhole)
      domain[loop] = {b.getIndexAttr(0),
                      tensor::getMixedSize(b, op.getLoc(), state, i),
                      b.getIndexAttr(1)};
  return domain;
}

template <typename OpTy>
FailureOr<TilingResult> tile(OpTy op, OpBuilder &b,
                             ArrayRef<OpFoldResult> offsets,
                             ArrayRef<OpFoldResult> sizes) {
  Location loc = op.getLoc();
  SmallVector<Value> operands;
  SmallVector<Operation *> slices;
  for (auto [operand, dims] :
       llvm::zip_equal(op->getOperands(), getOperandDims(op))) {
    if (dims.empty()) {
      operands.push_back(operand);
      continue;
    }
    Slice slice = getSlice(b, loc, operand, dims, offsets, sizes);
    SmallVector<OpFoldResult> strides(dims.size(), b.getIndexAttr(1));
    auto part = tensor::ExtractSliceOp::create(b, loc, operand, slice.offsets,
                                               slice.sizes, strides);
    operands.push_back(part);
    slices.push_back(part);
  }
  auto types = llvm::to_vector(
      llvm::map_range(ArrayRef<Value>(operands).take_back(op->getNumResults()),
                      [](Value value) { return value.getType(); }));
  Operation *tiled = clone(b, op, types, operands);
  return TilingResult{{tiled}, SmallVector<Value>(tiled->getResults()), slices};
}

/// A result's tile is that of the operand it is written into.
template <typename OpTy>
LogicalResult getResultTile(OpTy op, OpBuilder &b, unsigned number,
                            ArrayRef<OpFoldResult> offsets,
                            ArrayRef<OpFoldResult> sizes,
                            SmallVector<OpFoldResult> &resultOffsets,
                            SmallVector<OpFoldResult> &resultSizes) {
  OpOperand *init = op.getDpsInitOperand(number);
  Slice slice =
      getSlice(b, op.getLoc(), init->get(),
               getOperandDims(op)[init->getOperandNumber()], offsets, sizes);
  resultOffsets = slice.offsets;
  resultSizes = slice.sizes;
  return success();
}

SmallVector<utils::IteratorType> parallelLoops(unsigned count) {
  return SmallVector<utils::IteratorType>(count, utils::IteratorType::parallel);
}

} // namespace

//===----------------------------------------------------------------------===//
// wkv4
//===----------------------------------------------------------------------===//

SmallVector<utils::IteratorType> Wkv4Op::getLoopIteratorTypes() {
  return parallelLoops(2);
}
SmallVector<Range> Wkv4Op::getIterationDomain(OpBuilder &b) {
  return getDomain(*this, b);
}
FailureOr<TilingResult>
Wkv4Op::getTiledImplementation(OpBuilder &b, ArrayRef<OpFoldResult> offsets,
                               ArrayRef<OpFoldResult> sizes) {
  return tile(*this, b, offsets, sizes);
}
LogicalResult Wkv4Op::getResultTilePosition(
    OpBuilder &b, unsigned number, ArrayRef<OpFoldResult> offsets,
    ArrayRef<OpFoldResult> sizes, SmallVector<OpFoldResult> &resultOffsets,
    SmallVector<OpFoldResult> &resultSizes) {
  return getResultTile(*this, b, number, offsets, sizes, resultOffsets,
                       resultSizes);
}

//===----------------------------------------------------------------------===//
// wkv6
//===----------------------------------------------------------------------===//

SmallVector<utils::IteratorType> Wkv6Op::getLoopIteratorTypes() {
  return parallelLoops(3);
}
SmallVector<Range> Wkv6Op::getIterationDomain(OpBuilder &b) {
  return getDomain(*this, b);
}
FailureOr<TilingResult>
Wkv6Op::getTiledImplementation(OpBuilder &b, ArrayRef<OpFoldResult> offsets,
                               ArrayRef<OpFoldResult> sizes) {
  return tile(*this, b, offsets, sizes);
}
LogicalResult Wkv6Op::getResultTilePosition(
    OpBuilder &b, unsigned number, ArrayRef<OpFoldResult> offsets,
    ArrayRef<OpFoldResult> sizes, SmallVector<OpFoldResult> &resultOffsets,
    SmallVector<OpFoldResult> &resultSizes) {
  return getResultTile(*this, b, number, offsets, sizes, resultOffsets,
                       resultSizes);
}

//===----------------------------------------------------------------------===//
// wkv7
//===----------------------------------------------------------------------===//

SmallVector<utils::IteratorType> Wkv7Op::getLoopIteratorTypes() {
  return parallelLoops(3);
}
SmallVector<Range> Wkv7Op::getIterationDomain(OpBuilder &b) {
  return getDomain(*this, b);
}
FailureOr<TilingResult>
Wkv7Op::getTiledImplementation(OpBuilder &b, ArrayRef<OpFoldResult> offsets,
                               ArrayRef<OpFoldResult> sizes) {
  return tile(*this, b, offsets, sizes);
}
LogicalResult Wkv7Op::getResultTilePosition(
    OpBuilder &b, unsigned number, ArrayRef<OpFoldResult> offsets,
    ArrayRef<OpFoldResult> sizes, SmallVector<OpFoldResult> &resultOffsets,
    SmallVector<OpFoldResult> &resultSizes) {
  return getResultTile(*this, b, number, offsets, sizes, resultOffsets,
                       resultSizes);
}
