//===- WKV.cpp - The wkv dialect ------------------------------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "rwkvc/Dialect/WKV/IR/WKV.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace rwkvc::wkv;

#include "rwkvc/Dialect/WKV/IR/WKVEnums.cpp.inc"
#include "rwkvc/Dialect/WKV/IR/WKVInterfaces.cpp.inc"
#include "rwkvc/Dialect/WKV/IR/WKVOpsDialect.cpp.inc"

#define GET_ATTRDEF_CLASSES
#include "rwkvc/Dialect/WKV/IR/WKVAttributes.cpp.inc"

#define GET_OP_CLASSES
#include "rwkvc/Dialect/WKV/IR/WKVOps.cpp.inc"

void WKVDialect::initialize() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "rwkvc/Dialect/WKV/IR/WKVAttributes.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "rwkvc/Dialect/WKV/IR/WKVOps.cpp.inc"
      >();
}

/// Checks that \p value is a tensor of shape \p expected; \p rule names the
/// constraint of the op's description.
static LogicalResult checkShape(Operation *op, StringRef rule, StringRef name,
                                Value value, ArrayRef<int64_t> expected) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  if (type && type.getShape() == expected)
    return success();
  return op->emitOpError() << rule << ": " << name << " must have shape ["
                           << expected << "], got " << value.getType();
}

/// Shape of \p value if it is ranked with \p rank dimensions.
static FailureOr<ArrayRef<int64_t>> ranked(Operation *op, StringRef rule,
                                           StringRef name, Value value,
                                           int64_t rank) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  if (type && type.getRank() == rank)
    return type.getShape();
  op->emitOpError() << rule << ": " << name << " must have " << rank
                    << " dimensions, got " << value.getType();
  return failure();
}

/// C0: the length of a chunk suits the law.
static LogicalResult checkChunk(RecurrenceOpInterface op) {
  std::optional<int64_t> length = op.getChunkLength();
  int64_t unit = op.getChunkGranularity();
  if (!length || (*length > 0 && *length % unit == 0))
    return success();
  return op->emitOpError() << "C0: chunk must be a positive multiple of "
                           << unit << ", got " << *length;
}

LogicalResult Wkv4Op::verify() {
  if (failed(checkChunk(*this)))
    return failure();
  auto shape = ranked(*this, "C1", "key", getKey(), 3);
  if (failed(shape))
    return failure();
  SmallVector<int64_t> channels{(*shape)[2]}, state{(*shape)[0], (*shape)[2]};
  if (failed(checkShape(*this, "C1", "value", getValue(), *shape)) ||
      failed(checkShape(*this, "C1", "y", getY(), *shape)) ||
      failed(checkShape(*this, "C2", "decay", getDecay(), channels)) ||
      failed(checkShape(*this, "C2", "bonus", getBonus(), channels)))
    return failure();
  for (Value value : llvm::concat<Value>(getStates(), getNewStates()))
    if (failed(checkShape(*this, "C3", "a state", value, state)))
      return failure();
  return success();
}

LogicalResult Wkv6Op::verify() {
  if (failed(checkChunk(*this)))
    return failure();
  auto key = ranked(*this, "C1", "key", getKey(), 4);
  if (failed(key))
    return failure();
  auto value = ranked(*this, "C1", "value", getValue(), 4);
  if (failed(value))
    return failure();
  auto decay = ranked(*this, "C2", "decay", getDecay(), 4);
  if (failed(decay))
    return failure();
  int64_t b = (*key)[0], t = (*key)[1], h = (*key)[2], k = (*key)[3];
  int64_t v = (*value)[3];
  bool fixed = (*decay)[0] == 1 && (*decay)[1] == 1;
  if (failed(checkShape(*this, "C1", "receptance", getReceptance(), *key)) ||
      failed(checkShape(*this, "C1", "value", getValue(), {b, t, h, v})) ||
      failed(checkShape(*this, "C1", "y", getY(), {b, t, h, v})) ||
      failed(checkShape(*this, "C2", "decay", getDecay(),
                        {fixed ? 1 : b, fixed ? 1 : t, h, k})) ||
      failed(checkShape(*this, "C3", "bonus", getBonus(), {h, k})))
    return failure();
  if (failed(checkShape(*this, "C4", "state", getState(), {b, h, k, v})))
    return failure();
  return checkShape(*this, "C4", "new_state", getNewState(), {b, h, k, v});
}

LogicalResult Wkv7Op::verify() {
  if (failed(checkChunk(*this)))
    return failure();
  auto key = ranked(*this, "C1", "key", getKey(), 4);
  if (failed(key))
    return failure();
  auto value = ranked(*this, "C1", "value", getValue(), 4);
  if (failed(value))
    return failure();
  int64_t b = (*key)[0], t = (*key)[1], h = (*key)[2], k = (*key)[3];
  int64_t v = (*value)[3];
  if (failed(checkShape(*this, "C1", "receptance", getReceptance(), *key)) ||
      failed(checkShape(*this, "C1", "decay", getDecay(), *key)) ||
      failed(checkShape(*this, "C1", "a", getA(), *key)) ||
      failed(checkShape(*this, "C1", "b", getB(), *key)) ||
      failed(checkShape(*this, "C1", "value", getValue(), {b, t, h, v})) ||
      failed(checkShape(*this, "C1", "y", getY(), {b, t, h, v})) ||
      failed(checkShape(*this, "C2", "state", getState(), {b, h, v, k})))
    return failure();
  return checkShape(*this, "C2", "new_state", getNewState(), {b, h, v, k});
}

LogicalResult TokenShiftOp::verify() {
  auto x = ranked(*this, "C1", "x", getX(), 3);
  if (failed(x))
    return failure();
  if (getShifted().getType() != getX().getType())
    return emitOpError() << "C1: shifted must have type " << getX().getType()
                         << ", got " << getShifted().getType();
  if (getNewState().getType() != getState().getType())
    return emitOpError() << "C2: new_state must have type "
                         << getState().getType() << ", got "
                         << getNewState().getType();
  return checkShape(*this, "C2", "state", getState(), {(*x)[0], (*x)[2]});
}

LogicalResult MixOp::verify() {
  auto x = dyn_cast<RankedTensorType>(getX().getType());
  auto y = dyn_cast<RankedTensorType>(getY().getType());
  auto mu = dyn_cast<RankedTensorType>(getMu().getType());
  if (!x || !y || !mu || x.getRank() == 0)
    return emitOpError("C1: expected ranked tensors, x with an axis or more");
  ArrayRef<int64_t> shape = y.getShape();
  if (x.getElementType() != y.getElementType() ||
      (shape != x.getShape() &&
       (shape.empty() || shape.drop_front() != x.getShape())))
    return emitOpError() << "C1: y must have the type of x, " << x
                         << ", or one more leading axis, got " << y;
  bool broadcasts = mu.getRank() <= y.getRank();
  for (auto [own, full] :
       llvm::zip(llvm::reverse(mu.getShape()), llvm::reverse(shape)))
    broadcasts &= own == 1 || own == full;
  if (!broadcasts)
    return emitOpError() << "C2: mu must broadcast to " << y << ", got " << mu;
  return success();
}

LogicalResult LayerNormOp::verify() {
  auto x = dyn_cast<RankedTensorType>(getX().getType());
  if (!x || x.getRank() == 0)
    return emitOpError() << "C1: x must have one dimension or more, got "
                         << getX().getType();
  auto check = [&](StringRef name, Value value) -> LogicalResult {
    if (!value)
      return success();
    auto type = dyn_cast<RankedTensorType>(value.getType());
    if (type && type.getRank() > 0 && type.getRank() <= x.getRank() &&
        type.getShape() == x.getShape().take_back(type.getRank()))
      return success();
    return emitOpError() << "C1: " << name
                         << " must have the shape of the last axes of " << x
                         << ", got " << value.getType();
  };
  if (failed(check("scale", getScale())))
    return failure();
  return check("bias", getBias());
}

void LayerNormOp::build(OpBuilder &builder, OperationState &state, Value x,
                        Value scale, Value bias, double epsilon,
                        double rootEpsilon) {
  build(builder, state, x.getType(), x, scale, bias,
        builder.getF64FloatAttr(epsilon), builder.getF64FloatAttr(rootEpsilon));
}

LogicalResult LoraOp::verify() {
  auto x = dyn_cast<RankedTensorType>(getX().getType());
  if (!x || x.getRank() == 0)
    return emitOpError() << "C1: x must have one dimension or more, got "
                         << getX().getType();
  auto down = ranked(*this, "C2", "down", getDown(), 2);
  if (failed(down))
    return failure();
  auto up = ranked(*this, "C3", "up", getUp(), 2);
  if (failed(up))
    return failure();
  int64_t width = x.getShape().back();
  int64_t rank = (*down)[getTransposeDown() ? 0 : 1];
  int64_t channels = (*up)[getTransposeUp() ? 0 : 1];
  SmallVector<int64_t> shape(x.getShape().drop_back());
  shape.push_back(channels);
  auto matrix = [](int64_t rows, int64_t columns, bool transposed) {
    return transposed ? SmallVector<int64_t>{columns, rows}
                      : SmallVector<int64_t>{rows, columns};
  };
  if (failed(checkShape(*this, "C1", "y", getY(), shape)) ||
      failed(checkShape(*this, "C2", "down", getDown(),
                        matrix(width, rank, getTransposeDown()))) ||
      failed(checkShape(*this, "C3", "up", getUp(),
                        matrix(rank, channels, getTransposeUp()))) ||
      (getBias() &&
       failed(checkShape(*this, "C4", "bias", getBias(), {channels}))))
    return failure();
  if (rank >= width || rank >= channels)
    return emitOpError() << "C5: expected a rank below " << width << " and "
                         << channels << ", got " << rank;
  return success();
}
