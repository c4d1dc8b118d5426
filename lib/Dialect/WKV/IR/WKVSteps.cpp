//===- WKVSteps.cpp - One token of each recurrence as linalg --------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// RecurrenceOpInterface for the three recurrences, one token at a time. A step
// is written so that bufferization can update the state in place, the new state
// being written to where the old one is, and so that the state is read as few
// times as the law allows: what sums over the state also updates it.
//
//===----------------------------------------------------------------------===//

#include "StepBuilder.h"
#include "rwkvc/Dialect/WKV/IR/WKV.h"

using namespace mlir;
using namespace rwkvc::wkv;

// Loops of the matrix-state recurrences: batch, head, row and column of S.
static constexpr unsigned B = 0, H = 1, I = 2, J = 3;

using Values = SmallVector<Value>;
using Dims = StepBuilder::Dims;

/// The role of operand \p number of \p op, whose operands begin with \p inputs.
template <typename OpTy>
static OperandRole roleOf(OpTy op, unsigned number,
                          ArrayRef<OperandRole> inputs) {
  if (number < inputs.size())
    return inputs[number];
  unsigned output = op.getDpsInitOperand(0)->getOperandNumber();
  if (number < output)
    return OperandRole::Length;
  return number == output ? OperandRole::Output : OperandRole::State;
}

//===----------------------------------------------------------------------===//
// wkv4
//===----------------------------------------------------------------------===//

int64_t Wkv4Op::getNumTokens() { return shapeOf(getKey())[1]; }
int64_t Wkv4Op::getNumHeads() { return 1; }
Values Wkv4Op::getStates() { return {getNum(), getDen(), getMax()}; }
Values Wkv4Op::getNewStates() {
  return {getNewNum(), getNewDen(), getNewMax()};
}

SmallVector<StringRef> Wkv4Op::getStateNames() { return {"num", "den", "max"}; }
SmallVector<double> Wkv4Op::getInitialStates() {
  return {0.0, 0.0, kEmptyMaximum};
}
OperandRole Wkv4Op::getOperandRole(unsigned number) {
  using Role = OperandRole;
  return roleOf(*this, number,
                {Role::Token, Role::Token, Role::Parameter, Role::Parameter});
}
// Not the bonus.
bool Wkv4Op::entersState(unsigned number) { return number < 3; }

Values Wkv4Op::buildStep(OpBuilder &builder, Value token, ValueRange states) {
  StepBuilder step(builder, getLoc(), states[0]);
  Value key = step.row(getKey(), token), value = step.row(getValue(), token);
  Dims full{0, 1}, channel{1};
  return step.generic(
      {key, value, getBonus(), getDecay()},
      {step.empty(shapeOf(states[0])), states[0], states[1], states[2]},
      {full, full, channel, channel, full, full, full, full}, 2, {},
      [](ImplicitLocOpBuilder &b, ValueRange a) -> Values {
        Value k = a[0], v = a[1], bonus = a[2], decay = a[3];
        Value num = a[5], den = a[6], max = a[7];
        Value now = add(b, bonus, k), q = maximum(b, max, now);
        Value past = exp(b, sub(b, max, q));
        now = exp(b, sub(b, now, q));
        Value y =
            arith::DivFOp::create(b, add(b, mul(b, past, num), mul(b, now, v)),
                                  add(b, mul(b, past, den), now));
        Value faded = add(b, max, decay), next = maximum(b, faded, k);
        past = exp(b, sub(b, faded, next));
        now = exp(b, sub(b, k, next));
        return {y, add(b, mul(b, past, num), mul(b, now, v)),
                add(b, mul(b, past, den), now), next};
      });
}

//===----------------------------------------------------------------------===//
// wkv6
//===----------------------------------------------------------------------===//

int64_t Wkv6Op::getNumTokens() { return shapeOf(getKey())[1]; }
int64_t Wkv6Op::getNumHeads() { return shapeOf(getKey())[2]; }
Values Wkv6Op::getStates() { return {getState()}; }
Values Wkv6Op::getNewStates() { return {getNewState()}; }

SmallVector<StringRef> Wkv6Op::getStateNames() { return {""}; }
SmallVector<double> Wkv6Op::getInitialStates() { return {0.0}; }
OperandRole Wkv6Op::getOperandRole(unsigned number) {
  using Role = OperandRole;
  return roleOf(*this, number,
                {Role::Token, Role::Token, Role::Token, Role::TokenOrFixed,
                 Role::Parameter});
}
// Neither the receptance nor the bonus.
bool Wkv6Op::entersState(unsigned number) { return number > 0 && number < 4; }

Values Wkv6Op::buildStep(OpBuilder &builder, Value token, ValueRange states) {
  StepBuilder step(builder, getLoc(), states[0]);
  Value r = step.row(getReceptance(), token), k = step.row(getKey(), token);
  Value v = step.row(getValue(), token), w = step.row(getDecay(), token);
  ArrayRef<int64_t> s = shapeOf(states[0]);
  // A static decay has one row for every sequence; drop its batch axis.
  Dims full{B, H, I, J}, row{B, H, I}, column{B, H, J}, decay = row;
  if (shapeOf(w)[0] == 1 && s[0] != 1) {
    w = tensor::CollapseShapeOp::create(
        builder, getLoc(), w, ArrayRef<ReassociationIndices>{{0, 1}, {2}});
    decay = {H, I};
  }
  // The bonus is of rank one: (sum_i r u k) v, added to r^T S.
  Value bonus = step.generic(
      {r, getBonus(), k}, step.zeros({s[0], s[1]}), {row, {H, I}, row, {B, H}},
      3, {I}, [](ImplicitLocOpBuilder &b, ValueRange a) -> Values {
        return {add(b, mul(b, mul(b, a[0], a[1]), a[2]), a[3])};
      })[0];
  Value start =
      step.generic({bonus, v}, step.empty({s[0], s[1], s[3]}),
                   {{0, 1}, {0, 1, 2}, {0, 1, 2}}, 3, {},
                   [](ImplicitLocOpBuilder &b, ValueRange a) -> Values {
                     return {mul(b, a[0], a[1])};
                   })[0];
  return step.generic(
      {r, w, k, v}, {start, states[0]}, {row, decay, row, column, column, full},
      4, {I}, [](ImplicitLocOpBuilder &b, ValueRange a) -> Values {
        Value y = add(b, mul(b, a[0], a[5]), a[4]);
        return {y, add(b, mul(b, a[1], a[5]), mul(b, a[2], a[3]))};
      });
}

//===----------------------------------------------------------------------===//
// wkv7
//===----------------------------------------------------------------------===//

int64_t Wkv7Op::getNumTokens() { return shapeOf(getKey())[1]; }
int64_t Wkv7Op::getNumHeads() { return shapeOf(getKey())[2]; }
Values Wkv7Op::getStates() { return {getState()}; }
Values Wkv7Op::getNewStates() { return {getNewState()}; }

SmallVector<StringRef> Wkv7Op::getStateNames() { return {""}; }
SmallVector<double> Wkv7Op::getInitialStates() { return {0.0}; }
OperandRole Wkv7Op::getOperandRole(unsigned number) {
  using Role = OperandRole;
  return roleOf(*this, number,
                {Role::Token, Role::Token, Role::Token, Role::Token,
                 Role::Token, Role::Token});
}
// Not the receptance.
bool Wkv7Op::entersState(unsigned number) { return number > 0 && number < 6; }

Values Wkv7Op::buildStep(OpBuilder &builder, Value token, ValueRange states) {
  StepBuilder step(builder, getLoc(), states[0]);
  Value r = step.row(getReceptance(), token), w = step.row(getDecay(), token);
  Value k = step.row(getKey(), token), v = step.row(getValue(), token);
  Value a = step.row(getA(), token), b = step.row(getB(), token);
  ArrayRef<int64_t> s = shapeOf(states[0]);
  Dims full{B, H, I, J}, row{B, H, I}, column{B, H, J};
  auto matvec = [&](Value state, Value vector) {
    return step.generic({state, vector}, step.zeros({s[0], s[1], s[2]}),
                        {full, column, row}, 4, {J},
                        [](ImplicitLocOpBuilder &b, ValueRange x) -> Values {
                          return {add(b, mul(b, x[0], x[1]), x[2])};
                        })[0];
  };
  Value removed = matvec(states[0], a);
  Value next =
      step.generic({w, removed, b, v, k}, states[0],
                   {column, row, column, row, column, full}, 4, {},
                   [](ImplicitLocOpBuilder &bd, ValueRange x) -> Values {
                     Value kept = mul(bd, x[5], x[0]);
                     return {add(bd, add(bd, kept, mul(bd, x[1], x[2])),
                                 mul(bd, x[3], x[4]))};
                   })[0];
  return {matvec(next, r), next};
}

/// The last two axes of \p from exchanged, in the place of \p into.
static Value transpose(StepBuilder &step, Value from, Value into) {
  return step.generic(
      from, into, {{B, H, J, I}, {B, H, I, J}}, 4, {},
      [](ImplicitLocOpBuilder &, ValueRange a) -> Values { return {a[0]}; })[0];
}

// Value elements next to each other: they are independent, so that vector lanes
// and threads along them never exchange anything.
Values Wkv7Op::packStates(OpBuilder &builder, ValueRange states) {
  StepBuilder step(builder, getLoc(), states[0]);
  ArrayRef<int64_t> s = shapeOf(states[0]);
  return {transpose(step, states[0], step.empty({s[0], s[1], s[3], s[2]}))};
}

Values Wkv7Op::unpackStates(OpBuilder &builder, ValueRange packed,
                            ValueRange states) {
  StepBuilder step(builder, getLoc(), packed[0]);
  return {transpose(step, packed[0], states[0])};
}

Values Wkv7Op::buildBlockStep(OpBuilder &builder, Value token,
                              ValueRange packed) {
  StepBuilder step(builder, getLoc(), packed[0]);
  Value r = step.row(getReceptance(), token), w = step.row(getDecay(), token);
  Value k = step.row(getKey(), token), v = step.row(getValue(), token);
  Value a = step.row(getA(), token), b = step.row(getB(), token);
  ArrayRef<int64_t> s = shapeOf(packed[0]);
  // Rows of the packed state are key elements, columns value elements.
  Dims full{B, H, I, J}, row{B, H, I}, column{B, H, J};
  Value removed = step.generic(
      {packed[0], a}, step.zeros({s[0], s[1], s[3]}), {full, row, column}, 4,
      {I}, [](ImplicitLocOpBuilder &b, ValueRange x) -> Values {
        return {add(b, mul(b, x[0], x[1]), x[2])};
      })[0];
  return step.generic(
      {w, b, k, r, removed, v}, {step.zeros({s[0], s[1], s[3]}), packed[0]},
      {row, row, row, row, column, column, column, full}, 4, {I},
      [](ImplicitLocOpBuilder &b, ValueRange x) -> Values {
        Value next = add(b, mul(b, x[7], x[0]), mul(b, x[1], x[4]));
        next = add(b, next, mul(b, x[2], x[5]));
        return {add(b, mul(b, x[3], next), x[6]), next};
      });
}
