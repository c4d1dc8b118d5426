//===- Elementwise.cpp - Lowering of elementwise onnx ops -----------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Support.h"
#include <cmath>

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::lowering;

namespace {

/// Adds an op on floats; \p fn is (Arith &, op, operands) -> Value, computed in
/// f32 for the 16-bit types.
template <typename OpT, typename Fn> void addFloat(LoweringSet &set, Fn fn) {
  set.add<OpT>(
      [fn](Lowering &b, OpT op, typename OpT::Adaptor in) -> FailureOr<Value> {
        if (failed(b.checkBroadcast(in.getOperands(), b.resultType())))
          return failure();
        return floatElementwise(b, in.getOperands(), b.resultType(),
                                [&](ImplicitLocOpBuilder &b, ValueRange args) {
                                  Arith a{b};
                                  return fn(a, op, args);
                                });
      });
}

/// Adds an op on numbers of any type whose operands have one element type.
template <typename OpT, typename Fn> void addNumeric(LoweringSet &set, Fn fn) {
  set.add<OpT>(
      [fn](Lowering &b, OpT op, typename OpT::Adaptor in) -> FailureOr<Value> {
        if (failed(b.checkBroadcast(in.getOperands(), b.resultType())))
          return failure();
        bool isUnsigned = lowering::isUnsigned(op->getOperand(0));
        return floatElementwise(b, in.getOperands(), b.resultType(),
                                [&](ImplicitLocOpBuilder &b, ValueRange args) {
                                  Arith a{b, isUnsigned};
                                  return fn(a, op, args);
                                });
      });
}

/// The same for a MLIR op with one operand.
template <typename OpT, typename MathOp> void addMath(LoweringSet &set) {
  addFloat<OpT>(set, [](Arith &a, OpT, ValueRange x) -> Value {
    return MathOp::create(a.b, x[0]);
  });
}

/// Adds a comparison.
template <typename OpT> void addCompare(LoweringSet &set, Arith::Order order) {
  addNumeric<OpT>(set, [order](Arith &a, OpT, ValueRange x) {
    return a.compare(order, x[0], x[1]);
  });
}

/// Adds a bitwise or logical op.
template <typename OpT, typename ArithOp> void addBitwise(LoweringSet &set) {
  addNumeric<OpT>(set, [](Arith &a, OpT, ValueRange x) -> Value {
    return ArithOp::create(a.b, x[0], x[1]);
  });
}

Value isNaN(Arith &a, Value x) {
  return arith::CmpFOp::create(a.b, arith::CmpFPredicate::UNO, x, x);
}

/// alpha * (exp(x) - 1).
Value scaledExpM1(Arith &a, Value x, double alpha) {
  return a.mul(a.constant(x, alpha), math::ExpM1Op::create(a.b, x));
}

/// max(0, min(1, alpha * x + beta)).
Value hardSigmoid(Arith &a, Value x, double alpha, double beta) {
  Value line = a.add(a.mul(a.constant(x, alpha), x), a.constant(x, beta));
  return a.max(a.constant(x, 0), a.min(a.constant(x, 1), line));
}

Value sign(Arith &a, Value x) {
  Value zero = a.constant(x, 0), one = a.constant(x, 1);
  Value positive = a.compare(Arith::Greater, x, zero);
  if (a.isUnsigned)
    return a.select(positive, one, zero);
  Value negative = a.compare(Arith::Less, x, zero);
  // Keeps zeros and NaN.
  return a.select(positive, one, a.select(negative, a.constant(x, -1), x));
}

Value modulo(Arith &a, Value x, Value y, bool truncated) {
  Value rest = a.rem(x, y);
  if (truncated || a.isUnsigned)
    return rest;
  // The result takes the sign of the divisor, a zero one too.
  Value zero = a.constant(x, 0);
  Value nonZero = a.compare(Arith::NotEqual, rest, zero);
  Value restNegative = a.compare(Arith::Less, rest, zero);
  Value divisorNegative = a.compare(Arith::Less, y, zero);
  Value differ = arith::XOrIOp::create(a.b, restNegative, divisorNegative);
  Value adjust = arith::AndIOp::create(a.b, nonZero, differ);
  Value result = a.select(adjust, a.add(rest, y), rest);
  if (isa<FloatType>(x.getType()))
    result = a.select(a.compare(Arith::Equal, result, zero),
                      math::CopySignOp::create(a.b, zero, y), result);
  return result;
}

Value shift(Arith &a, Value x, Value y, bool left) {
  Value zero = a.constant(x, 0);
  unsigned width = x.getType().getIntOrFloatBitWidth();
  // As an unsigned number a negative amount is out of range too.
  Value inRange =
      Arith{a.b, true}.compare(Arith::Less, y, a.constant(y, double(width)));
  Value amount = a.select(inRange, y, zero);
  if (left)
    return a.select(inRange, arith::ShLIOp::create(a.b, x, amount), zero);
  if (a.isUnsigned)
    return a.select(inRange, arith::ShRUIOp::create(a.b, x, amount), zero);
  Value fill = arith::ShRSIOp::create(a.b, x, a.constant(x, width - 1));
  return a.select(inRange, arith::ShRSIOp::create(a.b, x, amount), fill);
}

void addActivations(LoweringSet &set) {
  addFloat<onnx::EluOp>(set, [](Arith &a, onnx::EluOp op, ValueRange x) {
    Value curve = scaledExpM1(a, x[0], op.getAlpha().convertToDouble());
    return a.select(a.compare(Arith::Less, x[0], a.constant(x[0], 0)), curve,
                    x[0]);
  });
  addFloat<onnx::SeluOp>(set, [](Arith &a, onnx::SeluOp op, ValueRange x) {
    Value curve = scaledExpM1(a, x[0], op.getAlpha().convertToDouble());
    Value gamma = a.constant(x[0], op.getGamma().convertToDouble());
    Value negative = a.compare(Arith::LessOrEqual, x[0], a.constant(x[0], 0));
    return a.mul(gamma, a.select(negative, curve, x[0]));
  });
  addFloat<onnx::HardSigmoidOp>(
      set, [](Arith &a, onnx::HardSigmoidOp op, ValueRange x) {
        return hardSigmoid(a, x[0], op.getAlpha().convertToDouble(),
                           op.getBeta().convertToDouble());
      });
  addFloat<onnx::HardSwishOp>(
      set, [](Arith &a, onnx::HardSwishOp, ValueRange x) {
        return a.mul(x[0], hardSigmoid(a, x[0], 1.0 / 6, 0.5));
      });
  addFloat<onnx::LeakyReluOp>(
      set, [](Arith &a, onnx::LeakyReluOp op, ValueRange x) {
        Value alpha = a.constant(x[0], op.getAlpha().convertToDouble());
        return a.select(a.compare(Arith::Less, x[0], a.constant(x[0], 0)),
                        a.mul(alpha, x[0]), x[0]);
      });
  addNumeric<onnx::PReluOp>(set, [](Arith &a, onnx::PReluOp, ValueRange x) {
    return a.select(a.compare(Arith::Less, x[0], a.constant(x[0], 0)),
                    a.mul(x[1], x[0]), x[0]);
  });
  addFloat<onnx::ThresholdedReluOp>(
      set, [](Arith &a, onnx::ThresholdedReluOp op, ValueRange x) {
        Value alpha = a.constant(x[0], op.getAlpha().convertToDouble());
        return a.select(a.compare(Arith::Greater, x[0], alpha), x[0],
                        a.constant(x[0], 0));
      });
  addNumeric<onnx::ReluOp>(set, [](Arith &a, onnx::ReluOp, ValueRange x) {
    return a.max(x[0], a.constant(x[0], 0));
  });
  addFloat<onnx::SigmoidOp>(set, [](Arith &a, onnx::SigmoidOp, ValueRange x) {
    return a.sigmoid(x[0]);
  });
  addFloat<onnx::SwishOp>(set, [](Arith &a, onnx::SwishOp op, ValueRange x) {
    Value alpha = a.constant(x[0], op.getAlpha().convertToDouble());
    return a.mul(x[0], a.sigmoid(a.mul(alpha, x[0])));
  });
  addFloat<onnx::SoftplusOp>(set, [](Arith &a, onnx::SoftplusOp, ValueRange x) {
    return a.softplus(x[0]);
  });
  addFloat<onnx::SoftsignOp>(set, [](Arith &a, onnx::SoftsignOp, ValueRange x) {
    return a.div(x[0], a.add(a.constant(x[0], 1), a.abs(x[0])));
  });
  addFloat<onnx::MishOp>(set, [](Arith &a, onnx::MishOp, ValueRange x) {
    return a.mul(x[0], a.tanh(a.softplus(x[0])));
  });
  addFloat<onnx::GeluOp>(set, [](Arith &a, onnx::GeluOp op, ValueRange x) {
    return gelu(a.b, x[0], op.getApproximate() == "tanh");
  });
}

void addUnary(LoweringSet &set) {
  addMath<onnx::CeilOp, math::CeilOp>(set);
  addMath<onnx::CosOp, math::CosOp>(set);
  addMath<onnx::ErfOp, math::ErfOp>(set);
  addMath<onnx::ExpOp, math::ExpOp>(set);
  addMath<onnx::FloorOp, math::FloorOp>(set);
  addMath<onnx::LogOp, math::LogOp>(set);
  addMath<onnx::RoundOp, math::RoundEvenOp>(set);
  addMath<onnx::SinOp, math::SinOp>(set);
  addMath<onnx::SqrtOp, math::SqrtOp>(set);
  addMath<onnx::TanOp, math::TanOp>(set);
  addMath<onnx::TanhOp, math::TanhOp>(set);
  addNumeric<onnx::AbsOp>(
      set, [](Arith &a, onnx::AbsOp, ValueRange x) { return a.abs(x[0]); });
  addNumeric<onnx::NegOp>(set,
                          [](Arith &a, onnx::NegOp, ValueRange x) -> Value {
                            if (isa<FloatType>(x[0].getType()))
                              return arith::NegFOp::create(a.b, x[0]);
                            return a.sub(a.constant(x[0], 0), x[0]);
                          });
  addFloat<onnx::ReciprocalOp>(set,
                               [](Arith &a, onnx::ReciprocalOp, ValueRange x) {
                                 return a.div(a.constant(x[0], 1), x[0]);
                               });
  addNumeric<onnx::SignOp>(
      set, [](Arith &a, onnx::SignOp, ValueRange x) { return sign(a, x[0]); });
  auto complement = [](Arith &a, auto, ValueRange x) -> Value {
    return arith::XOrIOp::create(a.b, x[0], a.constant(x[0], -1));
  };
  addNumeric<onnx::NotOp>(set, complement);
  addNumeric<onnx::BitwiseNotOp>(set, complement);
  addFloat<onnx::IsNaNOp>(set, [](Arith &a, onnx::IsNaNOp, ValueRange x) {
    return isNaN(a, x[0]);
  });
  addFloat<onnx::IsInfOp>(
      set, [](Arith &a, onnx::IsInfOp op, ValueRange x) -> Value {
        double inf = std::numeric_limits<double>::infinity();
        Value result = constant(a.b, a.b.getI1Type(), 0);
        for (auto [wanted, value] : {std::pair(op.getDetectPositive(), inf),
                                     std::pair(op.getDetectNegative(), -inf)})
          if (wanted)
            result = arith::OrIOp::create(
                a.b, result,
                a.compare(Arith::Equal, x[0], a.constant(x[0], value)));
        return result;
      });
}

/// Adds a fold over any number of operands.
template <typename OpT, typename Fn> void addVariadic(LoweringSet &set, Fn fn) {
  addNumeric<OpT>(set, [fn](Arith &a, OpT, ValueRange x) {
    Value result = x[0];
    for (Value next : x.drop_front())
      result = fn(a, result, next);
    return result;
  });
}

FailureOr<Value> lowerPow(Lowering &b, onnx::PowOp op,
                          onnx::PowOp::Adaptor in) {
  std::optional<double> exponent = getConstantNumber(op.getY());
  bool exponentUnsigned = isUnsigned(op.getY());
  RankedTensorType type = b.resultType();
  if (failed(b.checkBroadcast(in.getOperands(), type)))
    return failure();
  Type base = type.getElementType();
  bool isInt = isa<IntegerType>(base);
  if (exponent && (*exponent == 2 || *exponent == 3)) {
    Value x = broadcastTo(b, in.getX(), type.getShape());
    return floatElementwise(
        b, x, type, [&](ImplicitLocOpBuilder &b, ValueRange x) {
          Arith a{b};
          Value square = a.mul(x[0], x[0]);
          return *exponent == 2 ? square : a.mul(square, x[0]);
        });
  }
  // Powers of integers go through double, as C's pow does.
  Type compute = isInt ? b.getF64Type() : computeType(base);
  return elementwise(
      b, {in.getX(), in.getY()}, type,
      [&](ImplicitLocOpBuilder &b, ValueRange x) -> Value {
        Value power = math::PowFOp::create(
            b, castScalar(b, x[0], compute, false, false),
            castScalar(b, x[1], compute, exponentUnsigned, false));
        return castScalar(b, power, base, false, false);
      });
}

FailureOr<Value> lowerClip(Lowering &b, onnx::ClipOp op,
                           onnx::ClipOp::Adaptor in) {
  bool hasMin = !onnx::isNone(op.getMin()), hasMax = !onnx::isNone(op.getMax());
  SmallVector<Value> inputs{in.getInput()};
  for (Value bound : {in.getMin(), in.getMax()}) {
    if (onnx::isNone(bound))
      continue;
    if (tensorType(bound).getNumElements() != 1)
      return b.refuse("the bounds of Clip must be scalars");
    inputs.push_back(reshape(b, bound, {}));
  }
  bool isUnsigned = lowering::isUnsigned(op.getInput());
  return floatElementwise(b, inputs, b.resultType(),
                          [&](ImplicitLocOpBuilder &b, ValueRange x) {
                            Arith a{b, isUnsigned};
                            Value result = x[0];
                            if (hasMin)
                              result = a.max(result, x[1]);
                            if (hasMax)
                              result = a.min(result, x.back());
                            return result;
                          });
}

void addBinary(LoweringSet &set) {
  addBitwise<onnx::AndOp, arith::AndIOp>(set);
  addBitwise<onnx::OrOp, arith::OrIOp>(set);
  addBitwise<onnx::XorOp, arith::XOrIOp>(set);
  addBitwise<onnx::BitwiseAndOp, arith::AndIOp>(set);
  addBitwise<onnx::BitwiseOrOp, arith::OrIOp>(set);
  addCompare<onnx::EqualOp>(set, Arith::Equal);
  addCompare<onnx::GreaterOp>(set, Arith::Greater);
  addCompare<onnx::GreaterOrEqualOp>(set, Arith::GreaterOrEqual);
  addCompare<onnx::LessOp>(set, Arith::Less);
  addCompare<onnx::LessOrEqualOp>(set, Arith::LessOrEqual);
  auto add = [](Arith &a, Value x, Value y) { return a.add(x, y); };
  addVariadic<onnx::AddOp>(set, add);
  addVariadic<onnx::SumOp>(set, add);
  addVariadic<onnx::SubOp>(
      set, [](Arith &a, Value x, Value y) { return a.sub(x, y); });
  addVariadic<onnx::MulOp>(
      set, [](Arith &a, Value x, Value y) { return a.mul(x, y); });
  addVariadic<onnx::DivOp>(
      set, [](Arith &a, Value x, Value y) { return a.div(x, y); });
  addVariadic<onnx::MaxOp>(
      set, [](Arith &a, Value x, Value y) { return a.max(x, y); });
  addVariadic<onnx::MinOp>(
      set, [](Arith &a, Value x, Value y) { return a.min(x, y); });
  addFloat<onnx::MeanOp>(set, [](Arith &a, onnx::MeanOp, ValueRange x) {
    Value sum = x[0];
    for (Value next : x.drop_front())
      sum = a.add(sum, next);
    return a.div(sum, a.constant(sum, double(x.size())));
  });
  addNumeric<onnx::ModOp>(set, [](Arith &a, onnx::ModOp op, ValueRange x) {
    return modulo(a, x[0], x[1], op.getFmod() != 0);
  });
  addNumeric<onnx::BitShiftOp>(
      set, [](Arith &a, onnx::BitShiftOp op, ValueRange x) {
        return shift(a, x[0], x[1], op.getDirection() == "LEFT");
      });
  set.add<onnx::PowOp>(lowerPow);
  set.add<onnx::ClipOp>(lowerClip);
  set.add<onnx::WhereOp>([](Lowering &b, onnx::WhereOp,
                            onnx::WhereOp::Adaptor in) -> FailureOr<Value> {
    if (failed(b.checkBroadcast(in.getOperands(), b.resultType())))
      return failure();
    return elementwise(b, in.getOperands(), b.resultType(),
                       [](ImplicitLocOpBuilder &b, ValueRange x) -> Value {
                         return arith::SelectOp::create(b, x[0], x[1], x[2]);
                       });
  });
}

} // namespace

Value lowering::gelu(ImplicitLocOpBuilder &b, Value x, bool approximate) {
  Arith a{b};
  Value one = a.constant(x, 1), half = a.constant(x, 0.5);
  Value inner;
  if (approximate) {
    Value cube = a.mul(a.constant(x, 0.044715), a.mul(x, a.mul(x, x)));
    inner = a.tanh(a.mul(a.constant(x, std::sqrt(2 / M_PI)), a.add(x, cube)));
  } else {
    inner = math::ErfOp::create(b, a.mul(x, a.constant(x, M_SQRT1_2)));
  }
  return a.mul(a.mul(half, x), a.add(one, inner));
}

void lowering::addElementwiseLowerings(LoweringSet &set) {
  addActivations(set);
  addUnary(set);
  addBinary(set);
}
