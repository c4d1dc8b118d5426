//===- Lifting.cpp - From one token to many -------------------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "rwkvc/Dialect/WKV/Transforms/Lifting.h"
#include "Forms.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Transforms/RegionUtils.h"
#include "rwkvc/Dialect/WKV/IR/WKV.h"

using namespace mlir;
using namespace rwkvc::wkv;

/// The values that \p op reads, in its regions too.
static llvm::SetVector<Value> getReadValues(Operation *op) {
  llvm::SetVector<Value> values(op->operand_begin(), op->operand_end());
  getUsedValuesDefinedAbove(op->getRegions(), values);
  return values;
}

Lifting::Lifting(OpBuilder &builder, int64_t batch, int64_t numTokens,
                 Value length)
    : builder(builder), batch(batch), numTokens(numTokens), window(numTokens),
      length(length) {}

//===----------------------------------------------------------------------===//
// Analysis
//===----------------------------------------------------------------------===//

void Lifting::markVarying(Block &block) {
  for (Operation &op : block) {
    if (isa<RecurrenceOpInterface, TokenShiftOp>(op)) {
      varying.insert(op.result_begin(), op.result_end());
      continue;
    }
    if (llvm::none_of(getReadValues(&op), [&](Value v) { return varies(v); }))
      continue;
    varying.insert(op.result_begin(), op.result_end());
    // What a loop carries is taken to vary; its counter does not.
    for (Region &region : op.getRegions())
      for (Block &nested : region) {
        bool isLoop = nested.getNumArguments() == op.getNumResults() + 1;
        for (BlockArgument argument :
             nested.getArguments().drop_front(isLoop ? 1 : 0))
          varying.insert(argument);
        markVarying(nested);
      }
  }
}

void Lifting::analyze(Block &block, ValueRange varyingArgs) {
  varying.insert(varyingArgs.begin(), varyingArgs.end());
  markVarying(block);
}

void Lifting::need(Value value, int64_t tokens) {
  int64_t &known = needs[value];
  known = std::max(known, std::min(tokens, numTokens));
}

void Lifting::propagateNeeds(Block &block) {
  for (Operation &op : llvm::reverse(block)) {
    int64_t tokens = 0;
    for (Value result : op.getResults())
      tokens = std::max(tokens, needs.lookup(result));
    if (isa<RecurrenceOpInterface>(op))
      tokens = numTokens;
    else if (auto shift = dyn_cast<TokenShiftOp>(op))
      // The row to keep, or the one before those that are read.
      tokens = needs.lookup(shift.getShifted()) + 1;
    if (tokens > 0)
      for (Value value : getReadValues(&op))
        need(value, tokens);
  }
}

//===----------------------------------------------------------------------===//
// Points
//===----------------------------------------------------------------------===//

/// The first of the last \p tokens valid tokens, an index.
Value Lifting::getStart(int64_t tokens) {
  Value &start = starts[tokens];
  if (!start) {
    OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPointAfterValue(length);
    Location loc = length.getLoc();
    Value count = arith::IndexCastOp::create(
        builder, loc, builder.getIndexType(),
        tensor::ExtractOp::create(builder, loc, length, ValueRange()));
    Value zero = arith::ConstantIndexOp::create(builder, loc, 0);
    Value taken = arith::ConstantIndexOp::create(builder, loc, tokens);
    start = arith::MaxSIOp::create(
        builder, loc, arith::SubIOp::create(builder, loc, count, taken), zero);
  }
  return start;
}

Value Lifting::getLength() {
  if (window == numTokens || !length)
    return length;
  Value &rest = lengths[window];
  if (!rest) {
    Value start = getStart(window);
    OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPointAfterValue(start);
    Location loc = length.getLoc();
    Value count = tensor::ExtractOp::create(builder, loc, length, ValueRange());
    start =
        arith::IndexCastOp::create(builder, loc, builder.getI64Type(), start);
    count = arith::SubIOp::create(builder, loc, count, start);
    rest = tensor::FromElementsOp::create(
        builder, loc, RankedTensorType::get({}, builder.getI64Type()), count);
  }
  return rest;
}

/// From the last \p from tokens the last \p to.
Value Lifting::takeLast(Value value, int64_t from, int64_t to) {
  Location loc = value.getLoc();
  auto type = cast<RankedTensorType>(value.getType());
  SmallVector<int64_t> shape{batch, from};
  llvm::append_range(shape, type.getShape().drop_front());
  value = reshapeTensor(builder, loc, value, type.clone(shape));
  SmallVector<OpFoldResult> offsets(shape.size(), builder.getIndexAttr(0));
  SmallVector<OpFoldResult> strides(shape.size(), builder.getIndexAttr(1));
  Value start = getStart(to);
  if (from != numTokens)
    start = arith::SubIOp::create(builder, loc, start, getStart(from));
  offsets[1] = start;
  shape[1] = to;
  SmallVector<OpFoldResult> sizes;
  for (int64_t size : shape)
    sizes.push_back(builder.getIndexAttr(size));
  value = tensor::ExtractSliceOp::create(builder, loc, type.clone(shape), value,
                                         offsets, sizes, strides);
  SmallVector<int64_t> flat{batch * to};
  llvm::append_range(flat, type.getShape().drop_front());
  return reshapeTensor(builder, loc, value, type.clone(flat));
}

//===----------------------------------------------------------------------===//
// Values
//===----------------------------------------------------------------------===//

RankedTensorType Lifting::getLiftedType(Type type) const {
  SmallVector<int64_t> shape{getNumPoints()};
  if (auto tensor = dyn_cast<RankedTensorType>(type)) {
    llvm::append_range(shape, tensor.getShape());
    return tensor.clone(shape);
  }
  return RankedTensorType::get(shape, type);
}

/// \p value, common to all points, at each of them.
Value Lifting::repeat(Value value, Type type) {
  Location loc = value.getLoc();
  RankedTensorType full = getLiftedType(type);
  Value empty = tensor::EmptyOp::create(builder, loc, full.getShape(),
                                        full.getElementType());
  if (value.getDefiningOp<tensor::EmptyOp>())
    return empty;
  if (auto fill = value.getDefiningOp<linalg::FillOp>())
    return linalg::FillOp::create(builder, loc, fill.value(), empty)
        .getResult(0);
  if (!isa<RankedTensorType>(type))
    return linalg::FillOp::create(builder, loc, value, empty).getResult(0);
  return linalg::BroadcastOp::create(builder, loc, value, empty,
                                     ArrayRef<int64_t>{0})
      ->getResult(0);
}

Value Lifting::getLiftedAt(Value value, int64_t tokens) {
  auto [at, known] = lifted.lookup(value);
  assert(known && "the value has not been lifted");
  if (at == tokens)
    return known;
  // Parts may be taken inside of a region: those are not kept.
  bool isOutside =
      builder.getInsertionBlock()->isEntryBlock() &&
      isa<FunctionOpInterface>(builder.getInsertionBlock()->getParentOp());
  if (!isOutside)
    return takeLast(known, at, tokens);
  Value &part = parts[{value, tokens}];
  if (!part)
    part = takeLast(known, at, tokens);
  return part;
}

Value Lifting::getLifted(Value value) {
  if (!varies(value))
    return repeat(getCommon(value), value.getType());
  return getLiftedAt(value, window);
}

void Lifting::setLifted(Value argument, Value value) {
  lifted[argument] = {window, value};
}

InFlightDiagnostic Lifting::refuse(Operation *op) {
  return emitRemark(op->getLoc())
         << op->getName() << " cannot be computed for several tokens at once: ";
}

//===----------------------------------------------------------------------===//
// Ops
//===----------------------------------------------------------------------===//

LogicalResult Lifting::liftOp(Operation *op) {
  llvm::SetVector<Value> read = getReadValues(op);
  bool ownsState = isa<RecurrenceOpInterface, TokenShiftOp>(op);
  for (Value value : read)
    if (!ownsState && states.contains(value))
      return refuse(op) << "it reads a state";
  if (!ownsState && llvm::none_of(read, [&](Value v) { return varies(v); })) {
    builder.clone(*op, common);
    return success();
  }
  // Inside of a region all is at the points of the op around it.
  if (op->getBlock()->isEntryBlock() &&
      isa<FunctionOpInterface>(op->getParentOp())) {
    window = 0;
    for (Value result : op->getResults())
      window = std::max(window, needs.lookup(result));
    if (isa<RecurrenceOpInterface>(op))
      window = numTokens;
    else if (auto shift = dyn_cast<TokenShiftOp>(op))
      window = std::min(numTokens, needs.lookup(shift.getShifted()) + 1);
    if (window == 0)
      return success();
  }
  FailureOr<SmallVector<Value>> results = SmallVector<Value>();
  if (auto *rules = dyn_cast_or_null<LiftingDialectInterface>(
          op->getDialect()
              ? op->getDialect()
                    ->getRegisteredInterface<LiftingDialectInterface>()
              : nullptr))
    results = rules->lift(op, *this);
  else
    results = liftStructuredOp(op, *this);
  if (failed(results))
    return failure();
  if (results->size() != op->getNumResults())
    return refuse(op) << "no rule is known for it";
  for (auto [result, value] : llvm::zip_equal(op->getResults(), *results))
    if (value)
      setLifted(result, value);
  return success();
}

LogicalResult Lifting::liftBlock(Block &block) {
  for (Operation &op : block.without_terminator())
    if (failed(liftOp(&op)))
      return failure();
  return success();
}
