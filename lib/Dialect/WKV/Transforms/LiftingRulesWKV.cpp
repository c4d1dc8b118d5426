//===- LiftingRulesWKV.cpp - How wkv ops are computed at many points ------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Forms.h"
#include "LiftingRules.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "rwkvc/Dialect/WKV/IR/WKV.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace rwkvc::wkv;

using Lifted = FailureOr<SmallVector<Value>>;

static RankedTensorType tensorType(Value value) {
  return cast<RankedTensorType>(value.getType());
}

/// \p value, [1, 1, ..] for one token, as [B, T, ..].
static Value getRows(Value value, Lifting &lifting) {
  SmallVector<int64_t> shape(tensorType(value).getShape());
  shape[0] = lifting.getBatch();
  shape[1] = lifting.getNumTokens();
  return reshapeTensor(lifting.getBuilder(), value.getLoc(),
                       lifting.getLifted(value),
                       tensorType(value).clone(shape));
}

/// [B, T, ..] at the points, for a value that is [1, 1, ..] for one token.
static Value asPoints(Value rows, Value value, Lifting &lifting) {
  return reshapeTensor(lifting.getBuilder(), value.getLoc(), rows,
                       lifting.getLiftedType(value.getType()));
}

/// Whether \p value is for one token of one sequence.
static bool isOneRow(Value value) {
  ArrayRef<int64_t> shape = tensorType(value).getShape();
  return shape.size() >= 2 && shape[0] == 1 && shape[1] == 1;
}

static Lifted liftRecurrence(RecurrenceOpInterface op, Lifting &lifting) {
  OpBuilder &b = lifting.getBuilder();
  SmallVector<Value> operands;
  SmallVector<Type> types;
  for (OpOperand &operand : op->getOpOperands()) {
    Value value = operand.get();
    OperandRole role = op.getOperandRole(operand.getOperandNumber());
    bool hasRows = role == OperandRole::Token || role == OperandRole::Output ||
                   role == OperandRole::TokenOrFixed;
    if (hasRows && !isOneRow(value)) {
      lifting.refuse(op) << "it runs over several tokens or sequences";
      return failure();
    }
    switch (role) {
    case OperandRole::Token:
      operands.push_back(getRows(value, lifting));
      break;
    case OperandRole::TokenOrFixed:
      operands.push_back(lifting.varies(value) ? getRows(value, lifting)
                                               : lifting.getCommon(value));
      break;
    case OperandRole::Parameter:
      if (lifting.varies(value)) {
        lifting.refuse(op) << "operand " << operand.getOperandNumber()
                           << " depends on the token";
        return failure();
      }
      operands.push_back(lifting.getCommon(value));
      break;
    case OperandRole::Length:
      lifting.refuse(op) << "it has a length already";
      return failure();
    case OperandRole::Output: {
      if (Value length = lifting.getLength())
        operands.push_back(length);
      SmallVector<int64_t> shape(tensorType(value).getShape());
      shape[0] = lifting.getBatch();
      shape[1] = lifting.getNumTokens();
      operands.push_back(tensor::EmptyOp::create(
          b, op.getLoc(), shape, tensorType(value).getElementType()));
      types.push_back(operands.back().getType());
      break;
    }
    case OperandRole::State: {
      Value state = lifting.getState(value);
      if (!state) {
        lifting.refuse(op) << "its state is no argument";
        return failure();
      }
      operands.push_back(state);
      types.push_back(state.getType());
      break;
    }
    }
  }
  Operation *rows = clone(b, op, types, operands);
  for (OpResult result : op->getResults().drop_front())
    lifting.setState(result, rows->getResult(result.getResultNumber()));
  SmallVector<Value> results(op->getNumResults());
  results[0] = asPoints(rows->getResult(0), op->getResult(0), lifting);
  return results;
}

static Lifted liftShift(TokenShiftOp op, Lifting &lifting) {
  Value state = lifting.getState(op.getState());
  if (!state || !isOneRow(op.getX()) || op.getLength()) {
    lifting.refuse(op) << (state ? "it runs over several tokens or sequences"
                                 : "its state is no argument");
    return failure();
  }
  Value x = getRows(op.getX(), lifting);
  auto rows =
      TokenShiftOp::create(lifting.getBuilder(), op.getLoc(), x.getType(),
                           state.getType(), x, state, lifting.getLength());
  lifting.setState(op.getNewState(), rows.getNewState());
  return SmallVector<Value>{
      asPoints(rows.getShifted(), op.getShifted(), lifting), Value()};
}

/// The values at the points, [N, ..], without axes of size one before the last
/// \p numKept: such rows need no reshapes on their way from op to op.
static Value getSqueezed(Value value, int64_t numKept, Lifting &lifting) {
  RankedTensorType type = tensorType(value);
  SmallVector<int64_t> shape{lifting.getNumPoints()};
  for (auto [i, size] : llvm::enumerate(type.getShape()))
    if (size != 1 || static_cast<int64_t>(i) >= type.getRank() - numKept)
      shape.push_back(size);
  return reshapeTensor(lifting.getBuilder(), value.getLoc(),
                       lifting.getLifted(value), type.clone(shape));
}

/// Ops over the last axes, whatever comes before them. Operands but the first
/// are parameters.
static Lifted liftRowWise(Operation *op, Lifting &lifting) {
  int64_t numOwnAxes = 1;
  for (Value parameter : op->getOperands().drop_front())
    if (isa<LayerNormOp>(op))
      numOwnAxes = std::max(numOwnAxes, tensorType(parameter).getRank());
  SmallVector<Value> operands{
      getSqueezed(op->getOperand(0), numOwnAxes, lifting)};
  for (Value parameter : op->getOperands().drop_front()) {
    if (lifting.varies(parameter)) {
      lifting.refuse(op) << "a parameter depends on the token";
      return failure();
    }
    operands.push_back(lifting.getCommon(parameter));
  }
  OpBuilder &b = lifting.getBuilder();
  Value result = op->getResult(0);
  SmallVector<int64_t> shape(tensorType(operands[0]).getShape());
  shape.back() = tensorType(result).getShape().back();
  Value rows =
      clone(b, op, tensorType(result).clone(shape), operands)->getResult(0);
  return SmallVector<Value>{reshapeTensor(
      b, op->getLoc(), rows, lifting.getLiftedType(result.getType()))};
}

/// Exchanges the first two axes.
static Value exchangeAxes(OpBuilder &b, Location loc, Value value) {
  SmallVector<int64_t> shape(tensorType(value).getShape());
  auto order = llvm::to_vector(llvm::seq<int64_t>(0, shape.size()));
  std::swap(order[0], order[1]);
  std::swap(shape[0], shape[1]);
  Value empty = tensor::EmptyOp::create(b, loc, shape,
                                        tensorType(value).getElementType());
  return linalg::TransposeOp::create(b, loc, value, empty, order)->getResult(0);
}

static Value liftMix(MixOp op, Lifting &lifting) {
  OpBuilder &b = lifting.getBuilder();
  Location loc = op.getLoc();
  RankedTensorType x = tensorType(op.getX()), y = tensorType(op.getY()),
                   mu = tensorType(op.getMu());
  bool hasTargets = y.getRank() > x.getRank();
  bool varies = lifting.varies(op.getMu());
  // mu's axes: the target, those of x, each perhaps left out.
  SmallVector<int64_t> own(mu.getShape());
  int64_t targets = 1;
  if (mu.getRank() > x.getRank()) {
    targets = own.front();
    own.erase(own.begin());
  }
  own.insert(own.begin(), x.getRank() - own.size(), 1);
  // A row needs no axes of size one before its last.
  SmallVector<int64_t> rows(x.getShape());
  if (llvm::all_of(x.getShape().drop_back(),
                   [](int64_t size) { return size == 1; })) {
    rows = {rows.back()};
    own = {own.back()};
  }
  auto atPoints = [&](ArrayRef<int64_t> shape, RankedTensorType type) {
    SmallVector<int64_t> all{lifting.getNumPoints()};
    llvm::append_range(all, shape);
    return type.clone(all);
  };
  Value weights =
      varies ? lifting.getLifted(op.getMu()) : lifting.getCommon(op.getMu());
  SmallVector<int64_t> shape(own);
  if (hasTargets)
    shape.insert(shape.begin(), targets);
  if (varies)
    shape.insert(shape.begin(), lifting.getNumPoints());
  else if (hasTargets)
    shape.insert(shape.begin() + 1, 1);
  weights = reshapeTensor(b, loc, weights, mu.clone(shape));
  if (varies && hasTargets)
    weights = exchangeAxes(b, loc, weights);
  RankedTensorType rowType = atPoints(rows, x);
  Value left = reshapeTensor(b, loc, lifting.getLifted(op.getX()), rowType);
  Value right =
      reshapeTensor(b, loc, lifting.getLifted(op.getShifted()), rowType);
  SmallVector<int64_t> full(rowType.getShape());
  if (hasTargets)
    full.insert(full.begin(), y.getDimSize(0));
  Value mixed = MixOp::create(b, loc, y.clone(full), left, right, weights);
  if (hasTargets)
    mixed = exchangeAxes(b, loc, mixed);
  return reshapeTensor(b, loc, mixed, lifting.getLiftedType(y));
}

namespace {

struct WKVLifting : LiftingDialectInterface {
  using LiftingDialectInterface::LiftingDialectInterface;

  FailureOr<SmallVector<Value>> lift(Operation *op,
                                     Lifting &lifting) const override {
    return TypeSwitch<Operation *, Lifted>(op)
        .Case([&](RecurrenceOpInterface op) {
          return liftRecurrence(op, lifting);
        })
        .Case([&](TokenShiftOp op) { return liftShift(op, lifting); })
        .Case(
            [&](MixOp op) { return SmallVector<Value>{liftMix(op, lifting)}; })
        .Case<DecayOp, LayerNormOp, L2NormOp, LoraOp>(
            [&](Operation *op) { return liftRowWise(op, lifting); })
        .Default([](Operation *) { return SmallVector<Value>(); });
  }
};

} // namespace

void rwkvc::wkv::registerWKVLifting(DialectRegistry &registry) {
  registry.addExtension(+[](MLIRContext *, WKVDialect *dialect) {
    dialect->addInterfaces<WKVLifting>();
  });
}
