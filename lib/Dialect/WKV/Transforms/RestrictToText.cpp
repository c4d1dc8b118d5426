//===- RestrictToText.cpp - One text from a fixed number ------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Forms.h"
#include "Restriction.h"
#include "StateConversions.h"
#include "rwkvc/Dialect/WKV/Transforms/Passes.h"

namespace rwkvc::wkv {
#define GEN_PASS_DEF_RESTRICTTOTEXT
#include "rwkvc/Dialect/WKV/Transforms/Passes.h.inc"
} // namespace rwkvc::wkv

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::wkv;

namespace {

/// Texts have nothing to do with each other. Their axis is the first one of
/// tokens, states, recurrences and token shifts, or part of a recurrence's
/// heads, which have as little to do with each other.
class TextRestriction : public Restriction {
public:
  TextRestriction(func::FuncOp from, int64_t numTexts)
      : Restriction(from, numTexts, "text", /*lastCounts=*/false) {}

  /// After run(): makes the texts the first axis of the states that @unpack and
  /// @pack of \p module convert.
  void moveTexts(ModuleOp module);

private:
  LogicalResult addArgument(BlockArgument argument, Block &body) override;
  FailureOr<Value> takeResult(unsigned number, Value value) override;
  LogicalResult restrictRecurrence(RecurrenceOpInterface op) override;
  LogicalResult restrictShift(TokenShiftOp op) override;

  std::optional<Place> findTexts(RecurrenceOpInterface op);
  Value getOperand(RecurrenceOpInterface op, OpOperand &operand,
                   const Place &texts);
  /// The argument \p state, which only now turns out to have texts at
  /// \p place.
  Value getState(Value state, const Place &place);

  const Place first{Place::Rows, 0};
};

} // namespace

LogicalResult TextRestriction::addArgument(BlockArgument argument,
                                           Block &body) {
  auto type = cast<RankedTensorType>(argument.getType());
  bool isTokens =
      static_cast<bool>(from.getArgAttr(argument.getArgNumber(), kTokensAttr));
  if (isTokens && type.getShape() != ArrayRef<int64_t>(numUnits))
    return refuse(from.getLoc()) << "the tokens are " << type;
  // A state's axis is known where it is used.
  Place place = isTokens ? first : Place();
  set(argument, body.addArgument(typeAt(type, place), argument.getLoc()),
      place);
  return success();
}

FailureOr<Value> TextRestriction::takeResult(unsigned number, Value value) {
  bool isLogits = static_cast<bool>(from.getResultAttr(number, kLogitsAttr));
  Place place = isLogits ? first : placeOf(value);
  Value result = get(value, place);
  if (result && place.kind == Place::Rows)
    return result;
  refuse(from.getLoc()) << "result " << number << " is not one row for each";
  return failure();
}

Value TextRestriction::getState(Value state, const Place &place) {
  if (placeOf(state).kind == Place::Rows || !isa<BlockArgument>(state))
    return get(state, place);
  RankedTensorType type = tensorType(state);
  if (type.getDimSize(place.dim) != place.extent() * numUnits)
    return {};
  Value argument = mapping.lookup(state);
  argument.setType(typeAt(type, place));
  places[state] = place;
  return argument;
}

void TextRestriction::moveTexts(ModuleOp module) {
  unsigned number = 0;
  for (BlockArgument argument : from.getArguments()) {
    if (from.getArgAttr(argument.getArgNumber(), kTokensAttr))
      continue;
    Place place = placeOf(argument);
    moveTextsFirst(module, number++, {place.dim, place.outer, place.inner},
                   numUnits);
  }
}

/// Where \p op has the texts, in an operand for tokens.
std::optional<Place> TextRestriction::findTexts(RecurrenceOpInterface op) {
  for (OpOperand &operand : op->getOpOperands()) {
    Place place = placeOf(operand.get());
    if (op.getOperandRole(operand.getOperandNumber()) == OperandRole::Token &&
        place.kind == Place::Rows)
      return place == first || (place.dim == 2 && op.getNumHeads() > 1)
                 ? std::optional<Place>(place)
                 : std::nullopt;
  }
  return std::nullopt;
}

/// The counterpart of an operand of \p op, whose tokens have the \p texts.
Value TextRestriction::getOperand(RecurrenceOpInterface op, OpOperand &operand,
                                  const Place &texts) {
  Value value = operand.get();
  bool inHeads = texts.dim != 0;
  switch (op.getOperandRole(operand.getOperandNumber())) {
  case OperandRole::Token:
  case OperandRole::Output:
    return get(value, texts);
  case OperandRole::TokenOrFixed:
    return get(value,
               tensorType(value).getDimSize(texts.dim) == 1 ? Place() : texts);
  case OperandRole::State:
    return getState(value, texts.at(inHeads ? 1 : 0));
  case OperandRole::Parameter:
    return get(value, inHeads ? texts.at(0) : Place());
  case OperandRole::Length:
    return get(value, Place());
  }
  llvm_unreachable("no such role");
}

LogicalResult TextRestriction::restrictRecurrence(RecurrenceOpInterface op) {
  std::optional<Place> texts = findTexts(op);
  if (!texts)
    return refuse(op) << "has the texts neither as its first axis nor among "
                         "its heads";
  SmallVector<Value> operands;
  for (OpOperand &operand : op->getOpOperands()) {
    Value restricted = getOperand(op, operand, *texts);
    if (!restricted)
      return refuse(op) << "has an operand, number "
                        << operand.getOperandNumber()
                        << ", whose rows are not those of the texts";
    operands.push_back(restricted);
  }
  Place state = texts->at(texts->dim != 0 ? 1 : 0);
  SmallVector<Type> types{typeAt(op->getResult(0).getType(), *texts)};
  for (Type type : llvm::drop_begin(op->getResultTypes()))
    types.push_back(typeAt(type, state));
  Operation *copy = clone(b, op, types, operands);
  for (auto [result, value] : llvm::zip(op->getResults(), copy->getResults()))
    set(result, value, state);
  places[op->getResult(0)] = *texts;
  return success();
}

LogicalResult TextRestriction::restrictShift(TokenShiftOp op) {
  Value x = get(op.getX(), first), state = getState(op.getState(), first);
  if (!x || !state || op.getLength())
    return refuse(op) << "does not shift the rows of the texts";
  auto copy = TokenShiftOp::create(b, op.getLoc(), x.getType(), state.getType(),
                                   x, state);
  set(op.getShifted(), copy.getShifted(), first);
  set(op.getNewState(), copy.getNewState(), first);
  return success();
}

namespace {

struct RestrictToTextPass : wkv::impl::RestrictToTextBase<RestrictToTextPass> {
  void runOnOperation() override {
    auto from = getOperation().lookupSymbol<func::FuncOp>(kStepName);
    auto form = from ? from->getAttrOfType<StringAttr>(kFormAttr) : nullptr;
    // Forms that are there already agree on their texts.
    if (!form || form.getValue() != kStepForm ||
        getOperation().lookupSymbol(kPrefillName))
      return;
    int64_t numTexts = 1;
    for (BlockArgument argument : from.getArguments())
      if (from.getArgAttr(argument.getArgNumber(), kTokensAttr))
        numTexts = cast<RankedTensorType>(argument.getType()).getNumElements();
    if (numTexts < 2)
      return;
    TextRestriction restriction(from, numTexts);
    FailureOr<func::FuncOp> step = restriction.run();
    if (failed(step))
      return;
    restriction.moveTexts(getOperation());
    // Who builds forms for several texts again takes as many by default.
    (*step)->setAttr(kTextsAttr,
                     Builder(&getContext()).getI64IntegerAttr(numTexts));
    getOperation().insert(std::next(from->getIterator()), *step);
    from.erase();
    ++numRestricted;
  }
};

} // namespace
