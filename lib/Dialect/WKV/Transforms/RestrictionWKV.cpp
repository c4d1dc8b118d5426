//===- RestrictionWKV.cpp - wkv ops that treat tokens and texts alike -----===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Restriction.h"

using namespace mlir;
using namespace rwkvc::wkv;

LogicalResult Restriction::restrictMix(MixOp op) {
  int64_t lead =
      tensorType(op.getY()).getRank() - tensorType(op.getX()).getRank();
  Place place = placeOf(op.getX());
  if (place.kind == Place::Common)
    place = placeOf(op.getShifted());
  Value x = get(op.getX(), place), shifted = get(op.getShifted(), place);
  // mu is aligned with the last axes; one row serves all.
  Place muPlace = place.kind == Place::Rows ? Place() : place;
  if (place.kind == Place::Rows) {
    int64_t dim = place.dim + lead - tensorType(op.getY()).getRank() +
                  tensorType(op.getMu()).getRank();
    if (dim >= 0 && tensorType(op.getMu()).getDimSize(dim) != 1)
      muPlace = place.at(dim);
  }
  Value mu = get(op.getMu(), muPlace);
  if (!x || !shifted || !mu || place.kind == Place::State)
    return refuse(op) << "combines different " << unit << "s' values";
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
    return refuse(op) << "combines different " << unit << "s' values";
  SmallVector<Value> operands{mapping.lookup(op->getOperand(0))};
  for (Value parameter : op->getOperands().drop_front()) {
    if (placeOf(parameter).kind != Place::Common)
      return refuse(op) << "has a parameter that depends on a " << unit;
    operands.push_back(mapping.lookup(parameter));
  }
  Value result = op->getResult(0);
  set(result,
      clone(b, op, typeAt(result.getType(), place), operands)->getResult(0),
      place);
  return success();
}
