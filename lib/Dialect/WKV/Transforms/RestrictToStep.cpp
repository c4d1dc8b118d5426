//===- RestrictToStep.cpp - One token from a fixed number -----------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Forms.h"
#include "Restriction.h"
#include "rwkvc/Dialect/WKV/Transforms/Passes.h"

namespace rwkvc::wkv {
#define GEN_PASS_DEF_RESTRICTTOSTEP
#include "rwkvc/Dialect/WKV/Transforms/Passes.h.inc"
} // namespace rwkvc::wkv

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::wkv;

namespace {

/// Tokens are handed on from one to the next by recurrences and token shifts.
class TokenRestriction : public Restriction {
public:
  TokenRestriction(func::FuncOp from, int64_t numTokens)
      : Restriction(from, numTokens, "token", /*lastCounts=*/true) {}

private:
  LogicalResult addArgument(BlockArgument argument, Block &body) override;
  FailureOr<Value> takeResult(unsigned number, Value value) override;
  LogicalResult restrictRecurrence(RecurrenceOpInterface op) override;
  LogicalResult restrictShift(TokenShiftOp op) override;

  int64_t batch = 1;
};

} // namespace

LogicalResult TokenRestriction::restrictRecurrence(RecurrenceOpInterface op) {
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

LogicalResult TokenRestriction::restrictShift(TokenShiftOp op) {
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

LogicalResult TokenRestriction::addArgument(BlockArgument argument,
                                            Block &body) {
  auto type = cast<RankedTensorType>(argument.getType());
  Location loc = argument.getLoc();
  if (!from.getArgAttr(argument.getArgNumber(), kTokensAttr)) {
    set(argument, body.addArgument(type, loc), Place{Place::State});
    return success();
  }
  // Sequences come before tokens, as in recurrences: a wrong guess would not
  // agree with these.
  int64_t dim = type.getRank() - 1;
  while (dim >= 0 && type.getDimSize(dim) != numUnits)
    --dim;
  if (dim < 0)
    return emitRemark(from.getLoc())
           << "no step: the tokens are " << type
           << ", but recurrences run over " << numUnits << " tokens";
  batch = type.getNumElements() / numUnits;
  Place place{Place::Rows, dim};
  Value tokens = body.addArgument(type.clone({batch}), loc);
  set(argument, reshapeTensor(b, from.getLoc(), tokens, typeAt(type, place)),
      place);
  return success();
}

FailureOr<Value> TokenRestriction::takeResult(unsigned number, Value value) {
  Value result = mapping.lookup(value);
  if (!from.getResultAttr(number, kLogitsAttr))
    return result;
  Place place = placeOf(value);
  auto type = tensorType(result);
  int64_t last = type.getShape().back();
  if ((place.kind != Place::Last && place.kind != Place::Rows) ||
      type.getNumElements() != batch * last) {
    refuse(from.front().getTerminator())
        << "has logits that are not one row for each token, nor the last one's";
    return failure();
  }
  return reshapeTensor(b, from.getLoc(), result, type.clone({batch, last}));
}

namespace {

struct RestrictToStepPass : wkv::impl::RestrictToStepBase<RestrictToStepPass> {
  void runOnOperation() override {
    auto from = getOperation().lookupSymbol<func::FuncOp>(kStepName);
    auto form = from ? from->getAttrOfType<StringAttr>(kFormAttr) : nullptr;
    if (!form || form.getValue() != kSequenceForm)
      return;
    int64_t numTokens = 0;
    from.walk([&](Operation *op) {
      if (auto recurrence = dyn_cast<RecurrenceOpInterface>(op))
        numTokens = recurrence.getNumTokens();
      else if (auto shift = dyn_cast<TokenShiftOp>(op))
        numTokens = shift.getX().getType().getDimSize(1);
    });
    if (numTokens < 1)
      return;
    FailureOr<func::FuncOp> step = TokenRestriction(from, numTokens).run();
    if (succeeded(step)) {
      getOperation().insert(std::next(from->getIterator()), *step);
      ++numSteps;
    }
    from.erase();
  }
};

} // namespace
