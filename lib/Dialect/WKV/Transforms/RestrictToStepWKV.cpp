//===- RestrictToStepWKV.cpp - wkv ops over one token ---------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "RestrictToStep.h"

using namespace mlir;
using namespace rwkvc::wkv;

LogicalResult Restriction::restrictRecurrence(RecurrenceOpInterface op) {
  Place rows{Place::Rows, 1};
  SmallVector<Value> operands;
  for (OpOperand &operand : op->getOpOperands()) {
    Value value = operand.get();
    Place place;
    switch (op.getOperandRole(operand.getOperandNumber())) {
    case OperandRole::Token:
    case OperandRole::Output:
      place = rows;
      break;
    case OperandRole::TokenOrFixed:
      if (tensorType(value).getDimSize(1) != 1)
        place = rows;
      break;
    case OperandRole::State:
      place.kind = Place::State;
      break;
    case OperandRole::Parameter:
      break;
    case OperandRole::Length:
      return refuse(op) << "counts only some tokens";
    }
    Value restricted = get(value, place);
    if (!restricted)
      return refuse(op) << "has an operand, number "
                        << operand.getOperandNumber()
                        << ", whose rows are not those of the tokens";
    operands.push_back(restricted);
  }
  SmallVector<Type> types(op->getResultTypes());
  types[0] = typeAt(types[0], rows);
  Operation *copy = clone(b, op, types, operands);
  for (auto [result, value] : llvm::zip(op->getResults(), copy->getResults()))
    set(result, value, Place{Place::State});
  places[op->getResult(0)] = rows;
  return success();
}

LogicalResult Restriction::restrictShift(TokenShiftOp op) {
  Place rows{Place::Rows, 1};
  Value x = get(op.getX(), rows), state = get(op.getState(), {Place::State});
  if (!x || !state || op.getLength())
    return refuse(op) << "does not shift the rows of the tokens";
  auto copy = TokenShiftOp::create(b, op.getLoc(), x.getType(), state.getType(),
                                   x, state);
  set(op.getShifted(), copy.getShifted(), rows);
  set(op.getNewState(), copy.getNewState(), {Place::State});
  return success();
}

LogicalResult Restriction::restrictMix(MixOp op) {
  int64_t lead =
      tensorType(op.getY()).getRank() - tensorType(op.getX()).getRank();
  Place place = placeOf(op.getX());
  if (place.kind == Place::Common)
    place = placeOf(op.getShifted());
  Value x = get(op.getX(), place), shifted = get(op.getShifted(), place);
  // mu is aligned with the last axes; one row serves all tokens.
  Place muPlace = place.kind == Place::Rows ? Place() : place;
  if (place.kind == Place::Rows) {
    int64_t dim = place.dim + lead - tensorType(op.getY()).getRank() +
                  tensorType(op.getMu()).getRank();
    if (dim >= 0 && tensorType(op.getMu()).getDimSize(dim) != 1)
      muPlace = place.at(dim);
  }
  Value mu = get(op.getMu(), muPlace);
  if (!x || !shifted || !mu || place.kind == Place::State)
    return refuse(op) << "combines different tokens' values";
  Place to = place.kind == Place::Rows ? place.at(place.dim + lead) : place;
  set(op.getY(),
      MixOp::create(b, op.getLoc(), typeAt(op.getY().getType(), to), x, shifted,
                    mu),
      to);
  return success();
}

/// An op over the last \p numOwnAxes axes of its first operand; the others are
/// parameters.
LogicalResult Restriction::restrictRowWise(Operation *op, int64_t numOwnAxes) {
  Place place = placeOf(op->getOperand(0));
  if (place.kind == Place::State ||
      (place.kind == Place::Rows &&
       place.dim >= tensorType(op->getOperand(0)).getRank() - numOwnAxes))
    return refuse(op) << "combines different tokens' values";
  SmallVector<Value> operands{mapping.lookup(op->getOperand(0))};
  for (Value parameter : op->getOperands().drop_front()) {
    if (placeOf(parameter).kind != Place::Common)
      return refuse(op) << "has a parameter that depends on a token";
    operands.push_back(mapping.lookup(parameter));
  }
  Value result = op->getResult(0);
  set(result,
      clone(b, op, typeAt(result.getType(), place), operands)->getResult(0),
      place);
  return success();
}
