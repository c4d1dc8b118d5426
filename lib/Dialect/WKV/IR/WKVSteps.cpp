//===- WKVSteps.cpp - One token of each recurrence as linalg --------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// RecurrenceOpInterface for the three recurrences. A step is written so that
// bufferization can update the state in place: the new state is a generic whose
// destination is the old one.
//
//===----------------------------------------------------------------------===//

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "rwkvc/Dialect/WKV/IR/WKV.h"

using namespace mlir;
using namespace rwkvc::wkv;

namespace {

/// Builds the generics of one step; all arithmetic is in the state's type.
class StepBuilder {
public:
  StepBuilder(OpBuilder &builder, Location loc, Value state)
      : builder(builder), loc(loc),
        element(cast<RankedTensorType>(state.getType()).getElementType()) {}

  /// Row \p token of a [B, T, ...] tensor, without the T axis. Where T is 1 but
  /// the recurrence runs over more tokens, pass the constant 0.
  Value row(Value tensor, Value token) {
    auto type = cast<RankedTensorType>(tensor.getType());
    if (type.getShape()[1] == 1)
      token = arith::ConstantIndexOp::create(builder, loc, 0);
    int64_t rank = type.getRank();
    SmallVector<OpFoldResult> offsets(rank, builder.getIndexAttr(0));
    SmallVector<OpFoldResult> strides(rank, builder.getIndexAttr(1));
    SmallVector<OpFoldResult> sizes;
    SmallVector<int64_t> shape(type.getShape());
    for (int64_t size : shape)
      sizes.push_back(builder.getIndexAttr(size));
    offsets[1] = getAsOpFoldResult(token);
    sizes[1] = builder.getIndexAttr(1);
    shape.erase(shape.begin() + 1);
    return tensor::ExtractSliceOp::create(
        builder, loc, RankedTensorType::get(shape, type.getElementType()),
        tensor, offsets, sizes, strides);
  }

  using Body = llvm::function_ref<Value(ImplicitLocOpBuilder &, ValueRange)>;

  /// A generic over \p numDims loops, those in \p reduced being reductions. The
  /// loops of each operand and of \p init are \p maps, the last one init's. The
  /// body sees every operand in the state's type, init last.
  Value generic(ValueRange inputs, Value init,
                ArrayRef<SmallVector<unsigned>> maps, unsigned numDims,
                ArrayRef<unsigned> reduced, Body body) {
    SmallVector<AffineMap> affine;
    for (const SmallVector<unsigned> &dims : maps) {
      SmallVector<AffineExpr> exprs;
      for (unsigned dim : dims)
        exprs.push_back(builder.getAffineDimExpr(dim));
      affine.push_back(AffineMap::get(numDims, 0, exprs, builder.getContext()));
    }
    SmallVector<utils::IteratorType> kinds(numDims,
                                           utils::IteratorType::parallel);
    for (unsigned dim : reduced)
      kinds[dim] = utils::IteratorType::reduction;
    auto build = [&](OpBuilder &nested, Location nestedLoc, ValueRange args) {
      ImplicitLocOpBuilder b(nestedLoc, nested);
      SmallVector<Value> values;
      for (Value arg : args)
        values.push_back(extend(b, arg));
      Value result = body(b, values);
      linalg::YieldOp::create(b, truncate(b, result, args.back().getType()));
    };
    return linalg::GenericOp::create(builder, loc, init.getType(), inputs, init,
                                     affine, kinds, build)
        .getResult(0);
  }

  Value empty(ArrayRef<int64_t> shape) {
    return tensor::EmptyOp::create(builder, loc, shape, element);
  }
  Value zeros(ArrayRef<int64_t> shape) {
    Value zero = arith::ConstantOp::create(builder, loc,
                                           builder.getFloatAttr(element, 0.0));
    return linalg::FillOp::create(builder, loc, zero, empty(shape))
        .getResult(0);
  }

private:
  Value extend(ImplicitLocOpBuilder &b, Value value) {
    if (value.getType().getIntOrFloatBitWidth() <
        element.getIntOrFloatBitWidth())
      return arith::ExtFOp::create(b, element, value);
    return truncate(b, value, element);
  }
  Value truncate(ImplicitLocOpBuilder &b, Value value, Type type) {
    if (value.getType() == type)
      return value;
    return arith::TruncFOp::create(b, type, value);
  }

  OpBuilder &builder;
  Location loc;
  Type element;
};

Value add(ImplicitLocOpBuilder &b, Value x, Value y) {
  return arith::AddFOp::create(b, x, y);
}
Value sub(ImplicitLocOpBuilder &b, Value x, Value y) {
  return arith::SubFOp::create(b, x, y);
}
Value mul(ImplicitLocOpBuilder &b, Value x, Value y) {
  return arith::MulFOp::create(b, x, y);
}
Value exp(ImplicitLocOpBuilder &b, Value x) {
  return math::ExpOp::create(b, x);
}

ArrayRef<int64_t> shapeOf(Value value) {
  return cast<RankedTensorType>(value.getType()).getShape();
}

/// The role of operand \p number of \p op, whose operands begin with \p inputs.
template <typename OpTy>
OperandRole roleOf(OpTy op, unsigned number, ArrayRef<OperandRole> inputs) {
  if (number < inputs.size())
    return inputs[number];
  unsigned output = op.getDpsInitOperand(0)->getOperandNumber();
  if (number < output)
    return OperandRole::Length;
  return number == output ? OperandRole::Output : OperandRole::State;
}

// Loops of the matrix-state recurrences: batch, head, row and column of S.
constexpr unsigned B = 0, H = 1, I = 2, J = 3;

} // namespace

//===----------------------------------------------------------------------===//
// wkv4
//===----------------------------------------------------------------------===//

int64_t Wkv4Op::getNumTokens() { return shapeOf(getKey())[1]; }
int64_t Wkv4Op::getNumHeads() { return 1; }
SmallVector<Value> Wkv4Op::getStates() {
  return {getNum(), getDen(), getMax()};
}
SmallVector<Value> Wkv4Op::getNewStates() {
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

SmallVector<Value> Wkv4Op::buildStep(OpBuilder &builder, Value token,
                                     ValueRange states) {
  StepBuilder step(builder, getLoc(), states[0]);
  Value key = step.row(getKey(), token), value = step.row(getValue(), token);
  ArrayRef<int64_t> shape = shapeOf(states[0]);
  SmallVector<unsigned> full{0, 1}, channel{1};
  Value y = step.generic(
      {key, value, getBonus(), states[0], states[1], states[2]},
      step.empty(shape), {full, full, channel, full, full, full, full}, 2, {},
      [](ImplicitLocOpBuilder &b, ValueRange a) {
        Value now = add(b, a[2], a[0]);
        Value q = arith::MaximumFOp::create(b, a[5], now);
        Value past = exp(b, sub(b, a[5], q));
        now = exp(b, sub(b, now, q));
        Value num = add(b, mul(b, past, a[3]), mul(b, now, a[1]));
        Value den = add(b, mul(b, past, a[4]), now);
        return Value(arith::DivFOp::create(b, num, den));
      });
  Value next = step.generic(
      {key, getDecay(), states[2]}, step.empty(shape),
      {full, channel, full, full}, 2, {},
      [](ImplicitLocOpBuilder &b, ValueRange a) {
        return Value(arith::MaximumFOp::create(b, add(b, a[2], a[1]), a[0]));
      });
  // num and den: e^(max + decay - next) old + e^(key - next) (value or 1).
  auto update = [&](Value old, Value factor) {
    SmallVector<Value> inputs{key, getDecay(), states[2], next};
    SmallVector<SmallVector<unsigned>> maps{full, channel, full, full};
    if (factor) {
      inputs.push_back(factor);
      maps.push_back(full);
    }
    maps.push_back(full);
    return step.generic(inputs, old, maps, 2, {},
                        [&](ImplicitLocOpBuilder &b, ValueRange a) {
                          Value past = exp(b, sub(b, add(b, a[2], a[1]), a[3]));
                          Value now = exp(b, sub(b, a[0], a[3]));
                          if (factor)
                            now = mul(b, now, a[4]);
                          return add(b, mul(b, past, a.back()), now);
                        });
  };
  Value num = update(states[0], value), den = update(states[1], Value());
  return {y, num, den, next};
}

//===----------------------------------------------------------------------===//
// wkv6
//===----------------------------------------------------------------------===//

int64_t Wkv6Op::getNumTokens() { return shapeOf(getKey())[1]; }
int64_t Wkv6Op::getNumHeads() { return shapeOf(getKey())[2]; }
SmallVector<Value> Wkv6Op::getStates() { return {getState()}; }
SmallVector<Value> Wkv6Op::getNewStates() { return {getNewState()}; }

SmallVector<StringRef> Wkv6Op::getStateNames() { return {""}; }
SmallVector<double> Wkv6Op::getInitialStates() { return {0.0}; }
OperandRole Wkv6Op::getOperandRole(unsigned number) {
  using Role = OperandRole;
  return roleOf(*this, number,
                {Role::Token, Role::Token, Role::Token, Role::TokenOrFixed,
                 Role::Parameter});
}

SmallVector<Value> Wkv6Op::buildStep(OpBuilder &builder, Value token,
                                     ValueRange states) {
  StepBuilder step(builder, getLoc(), states[0]);
  Value r = step.row(getReceptance(), token), k = step.row(getKey(), token);
  Value v = step.row(getValue(), token), w = step.row(getDecay(), token);
  ArrayRef<int64_t> s = shapeOf(states[0]);
  // A static decay has one row for every sequence; drop its batch axis.
  SmallVector<unsigned> full{B, H, I, J}, row{B, H, I}, column{B, H, J};
  SmallVector<unsigned> decay = row;
  if (shapeOf(w)[0] == 1 && s[0] != 1) {
    w = tensor::CollapseShapeOp::create(
        builder, getLoc(), w, ArrayRef<ReassociationIndices>{{0, 1}, {2}});
    decay = {H, I};
  }
  // The bonus is of rank one: (sum_i r u k) v, added to r^T S.
  Value bonus = step.generic(
      {r, getBonus(), k}, step.zeros({s[0], s[1]}), {row, {H, I}, row, {B, H}},
      3, {I}, [](ImplicitLocOpBuilder &b, ValueRange a) {
        return add(b, mul(b, mul(b, a[0], a[1]), a[2]), a[3]);
      });
  Value start = step.generic(
      {bonus, v}, step.empty({s[0], s[1], s[3]}),
      {{0, 1}, {0, 1, 2}, {0, 1, 2}}, 3, {},
      [](ImplicitLocOpBuilder &b, ValueRange a) { return mul(b, a[0], a[1]); });
  Value y = step.generic({r, states[0]}, start, {row, full, column}, 4, {I},
                         [](ImplicitLocOpBuilder &b, ValueRange a) {
                           return add(b, mul(b, a[0], a[1]), a[2]);
                         });
  Value next =
      step.generic({w, k, v}, states[0], {decay, row, column, full}, 4, {},
                   [](ImplicitLocOpBuilder &b, ValueRange a) {
                     return add(b, mul(b, a[0], a[3]), mul(b, a[1], a[2]));
                   });
  return {y, next};
}

//===----------------------------------------------------------------------===//
// wkv7
//===----------------------------------------------------------------------===//

int64_t Wkv7Op::getNumTokens() { return shapeOf(getKey())[1]; }
int64_t Wkv7Op::getNumHeads() { return shapeOf(getKey())[2]; }
SmallVector<Value> Wkv7Op::getStates() { return {getState()}; }
SmallVector<Value> Wkv7Op::getNewStates() { return {getNewState()}; }

SmallVector<StringRef> Wkv7Op::getStateNames() { return {""}; }
SmallVector<double> Wkv7Op::getInitialStates() { return {0.0}; }
OperandRole Wkv7Op::getOperandRole(unsigned number) {
  using Role = OperandRole;
  return roleOf(*this, number,
                {Role::Token, Role::Token, Role::Token, Role::Token,
                 Role::Token, Role::Token});
}

SmallVector<Value> Wkv7Op::buildStep(OpBuilder &builder, Value token,
                                     ValueRange states) {
  StepBuilder step(builder, getLoc(), states[0]);
  Value r = step.row(getReceptance(), token), w = step.row(getDecay(), token);
  Value k = step.row(getKey(), token), v = step.row(getValue(), token);
  Value a = step.row(getA(), token), b = step.row(getB(), token);
  ArrayRef<int64_t> s = shapeOf(states[0]);
  SmallVector<unsigned> full{B, H, I, J}, row{B, H, I}, column{B, H, J};
  auto matvec = [&](Value state, Value vector) {
    return step.generic({state, vector}, step.zeros({s[0], s[1], s[2]}),
                        {full, column, row}, 4, {J},
                        [](ImplicitLocOpBuilder &b, ValueRange x) {
                          return add(b, mul(b, x[0], x[1]), x[2]);
                        });
  };
  Value removed = matvec(states[0], a);
  Value next = step.generic({w, removed, b, v, k}, states[0],
                            {column, row, column, row, column, full}, 4, {},
                            [](ImplicitLocOpBuilder &bd, ValueRange x) {
                              Value kept = mul(bd, x[5], x[0]);
                              return add(bd, add(bd, kept, mul(bd, x[1], x[2])),
                                         mul(bd, x[3], x[4]));
                            });
  return {matvec(next, r), next};
}
