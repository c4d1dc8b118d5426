//===- EvaluateElementwise.cpp - Evaluation of elementwise ops ------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "EvaluatorSupport.h"
#include <cmath>

using namespace mlir;
using namespace rwkvc::onnx;
using namespace rwkvc::onnx::evaluation;

namespace {

LogicalResult mapUnary(Evaluation &e, llvm::function_ref<double(double)> fn) {
  llvm::transform(e.in(0).data, e.out().data.begin(), fn);
  return success();
}

/// Adds a function of one element.
template <typename OpTy>
void unary(EvaluationTable &table, double (*fn)(double)) {
  table.add<OpTy>([fn](OpTy, Evaluation &e) { return mapUnary(e, fn); });
}

/// Combines broadcast operands pairwise from the left.
LogicalResult mapVariadic(Evaluation &e,
                          llvm::function_ref<double(double, double)> combine) {
  HostTensor &out = e.out();
  for (auto [k, input] : llvm::enumerate(e.inputs)) {
    bool isFirst = k == 0;
    const double *data = input->data.data();
    forEachIndex(out.shape, getBroadcastStrides(input->shape, out.shape),
                 [&](int64_t i, ArrayRef<int64_t> offsets) {
                   double x = data[offsets[0]];
                   out.data[i] = isFirst ? x : combine(out.data[i], x);
                 });
  }
  return success();
}

/// Adds a function of two elements.
template <typename OpTy>
void binary(EvaluationTable &table, double (*fn)(double, double)) {
  table.add<OpTy>([fn](OpTy, Evaluation &e) { return mapVariadic(e, fn); });
}

/// Adds a function of two int64.
template <typename OpTy>
void bitwise(EvaluationTable &table, int64_t (*fn)(int64_t, int64_t)) {
  table.add<OpTy>([fn](OpTy, Evaluation &e) -> LogicalResult {
    for (const HostTensor *input : e.inputs)
      for (double value : input->data)
        if (!(std::abs(value) <= kMaxExactInteger))
          return failure();
    Type type = e.out().elementType;
    return mapVariadic(e, [&](double a, double b) {
      int64_t bits = fn(static_cast<int64_t>(a), static_cast<int64_t>(b));
      return wrapInteger(static_cast<double>(bits), type);
    });
  });
}

double sigmoid(double x) {
  if (x >= 0.0)
    return 1.0 / (1.0 + std::exp(-x));
  double power = std::exp(x); // does not overflow
  return power / (1.0 + power);
}

double softplus(double x) {
  return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x)));
}

/// NaN wins, as in numpy.
double maximum(double a, double b) { return std::isnan(a) || a > b ? a : b; }
double minimum(double a, double b) { return std::isnan(a) || a < b ? a : b; }

double integerPower(double base, double exponent) {
  return std::trunc(std::pow(base, exponent));
}

/// The remainder with the sign of the divisor.
double floorModulo(double a, double b) {
  double remainder = std::fmod(a, b);
  return remainder != 0.0 && (remainder < 0.0) != (b < 0.0) ? remainder + b
                                                            : remainder;
}

bool hasZero(const HostTensor &tensor) {
  return llvm::is_contained(tensor.data, 0.0);
}

LogicalResult evaluateDiv(DivOp, Evaluation &e) {
  if (isFloat(e.out().elementType))
    return mapVariadic(e, [](double a, double b) { return a / b; });
  if (hasZero(e.in(1)))
    return failure();
  return mapVariadic(e, [](double a, double b) { return std::trunc(a / b); });
}

LogicalResult evaluateMod(ModOp op, Evaluation &e) {
  if (!isFloat(e.out().elementType) && hasZero(e.in(1)))
    return failure();
  return op.getFmod() ? mapVariadic(e, [](double a,
                                          double b) { return std::fmod(a, b); })
                      : mapVariadic(e, floorModulo);
}

LogicalResult evaluateCast(Evaluation &e) {
  Type from = e.in(0).elementType, to = e.out().elementType;
  if (isFloat(to)) {
    e.out().data = e.in(0).data;
    return success();
  }
  if (!isa<IntegerType>(to))
    return failure();
  auto [lowest, highest] = getIntegerRange(to);
  for (auto [value, result] : llvm::zip(e.in(0).data, e.out().data)) {
    if (isBool(to)) {
      result = value != 0.0;
      continue;
    }
    double whole = std::trunc(value);
    // What a float out of range becomes depends on the machine.
    if (isFloat(from) && !(whole >= lowest && whole <= highest))
      return failure();
    result = wrapInteger(whole, to);
  }
  return success();
}

LogicalResult evaluateClip(ClipOp, Evaluation &e) {
  const HostTensor *lowest = e.getOptional(1), *highest = e.getOptional(2);
  return mapUnary(e, [&](double x) {
    if (lowest && x < lowest->data.front())
      x = lowest->data.front();
    if (highest && x > highest->data.front())
      x = highest->data.front();
    return x;
  });
}

LogicalResult evaluateWhere(WhereOp, Evaluation &e) {
  HostTensor &out = e.out();
  Shape strides[3];
  for (unsigned k = 0; k < 3; ++k)
    strides[k] = getBroadcastStrides(e.in(k).shape, out.shape);
  forEachIndex(out.shape, strides, [&](int64_t i, ArrayRef<int64_t> offsets) {
    out.data[i] = e.in(0).data[offsets[0]] != 0.0 ? e.in(1).data[offsets[1]]
                                                  : e.in(2).data[offsets[2]];
  });
  return success();
}

LogicalResult evaluatePRelu(PReluOp, Evaluation &e) {
  return mapVariadic(
      e, [](double x, double slope) { return x < 0 ? slope * x : x; });
}

LogicalResult evaluateBitShift(BitShiftOp op, Evaluation &e) {
  bool isLeft = op.getDirection() == "LEFT";
  auto type = dyn_cast<IntegerType>(e.out().elementType);
  if (!type)
    return failure();
  double width = type.getWidth();
  return mapVariadic(e, [&](double x, double count) {
    // A negative count shifts everything out, as one too large does.
    if (count < 0.0 || count > width)
      count = width;
    if (isLeft && count == width)
      return 0.0;
    double factor = std::exp2(isLeft ? count : -count);
    return wrapInteger(std::floor(x * factor), type);
  });
}

LogicalResult evaluateGelu(GeluOp op, Evaluation &e) {
  if (op.getApproximate() == "tanh")
    return mapUnary(e, [](double x) {
      double inner = std::sqrt(2.0 / M_PI) * (x + 0.044715 * x * x * x);
      return 0.5 * x * (1.0 + std::tanh(inner));
    });
  return mapUnary(e, [](double x) {
    return 0.5 * x * (1.0 + std::erf(x / std::sqrt(2.0)));
  });
}

LogicalResult evaluatePow(PowOp, Evaluation &e) {
  if (isFloat(e.out().elementType))
    return mapVariadic(e, [](double a, double b) { return std::pow(a, b); });
  return mapVariadic(e, integerPower);
}

void addActivations(EvaluationTable &table) {
  unary<HardSwishOp>(
      table, [](double x) { return x * std::clamp(x / 6.0 + 0.5, 0.0, 1.0); });
  unary<MishOp>(table, [](double x) { return x * std::tanh(softplus(x)); });
  unary<ReluOp>(table, [](double x) { return maximum(x, 0.0); });
  unary<SigmoidOp>(table, sigmoid);
  unary<SoftplusOp>(table, softplus);
  unary<SoftsignOp>(table, [](double x) { return x / (1.0 + std::abs(x)); });
  table.add<EluOp>([](EluOp op, Evaluation &e) {
    double alpha = toDouble(op.getAlpha());
    return mapUnary(
        e, [=](double x) { return x < 0.0 ? alpha * std::expm1(x) : x; });
  });
  table.add<GeluOp>(evaluateGelu);
  table.add<HardSigmoidOp>([](HardSigmoidOp op, Evaluation &e) {
    double alpha = toDouble(op.getAlpha()), beta = toDouble(op.getBeta());
    return mapUnary(
        e, [=](double x) { return std::clamp(alpha * x + beta, 0.0, 1.0); });
  });
  table.add<LeakyReluOp>([](LeakyReluOp op, Evaluation &e) {
    double alpha = toDouble(op.getAlpha());
    return mapUnary(e, [=](double x) { return x < 0.0 ? alpha * x : x; });
  });
  table.add<PReluOp>(evaluatePRelu);
  table.add<SeluOp>([](SeluOp op, Evaluation &e) {
    double alpha = toDouble(op.getAlpha()), gamma = toDouble(op.getGamma());
    return mapUnary(e, [=](double x) {
      return gamma * (x <= 0.0 ? alpha * std::expm1(x) : x);
    });
  });
  table.add<SwishOp>([](SwishOp op, Evaluation &e) {
    double alpha = toDouble(op.getAlpha());
    return mapUnary(e, [=](double x) { return x * sigmoid(alpha * x); });
  });
  table.add<ThresholdedReluOp>([](ThresholdedReluOp op, Evaluation &e) {
    double alpha = toDouble(op.getAlpha());
    return mapUnary(e, [=](double x) { return x > alpha ? x : 0.0; });
  });
}

void addPredicates(EvaluationTable &table) {
  binary<EqualOp>(table, [](double a, double b) -> double { return a == b; });
  binary<GreaterOp>(table, [](double a, double b) -> double { return a > b; });
  binary<GreaterOrEqualOp>(table,
                           [](double a, double b) -> double { return a >= b; });
  binary<LessOp>(table, [](double a, double b) -> double { return a < b; });
  binary<LessOrEqualOp>(table,
                        [](double a, double b) -> double { return a <= b; });
  binary<AndOp>(
      table, [](double a, double b) -> double { return a != 0.0 && b != 0.0; });
  binary<OrOp>(
      table, [](double a, double b) -> double { return a != 0.0 || b != 0.0; });
  binary<XorOp>(table, [](double a, double b) -> double {
    return (a != 0.0) != (b != 0.0);
  });
  unary<NotOp>(table, [](double x) -> double { return x == 0.0; });
  unary<IsNaNOp>(table, [](double x) -> double { return std::isnan(x); });
  table.add<IsInfOp>([](IsInfOp op, Evaluation &e) {
    bool negative = op.getDetectNegative(), positive = op.getDetectPositive();
    return mapUnary(e, [=](double x) -> double {
      return std::isinf(x) && (x < 0.0 ? negative : positive);
    });
  });
  table.add<WhereOp>(evaluateWhere);
  bitwise<BitwiseAndOp>(table, [](int64_t a, int64_t b) { return a & b; });
  bitwise<BitwiseOrOp>(table, [](int64_t a, int64_t b) { return a | b; });
  table.add<BitwiseNotOp>([](BitwiseNotOp, Evaluation &e) {
    Type type = e.out().elementType;
    return mapUnary(e, [&](double x) { return wrapInteger(-x - 1.0, type); });
  });
  table.add<BitShiftOp>(evaluateBitShift);
}

} // namespace

void evaluation::addElementwiseEvaluations(EvaluationTable &table) {
  unary<AbsOp>(table, [](double x) { return std::abs(x); });
  unary<CeilOp>(table, [](double x) { return std::ceil(x); });
  unary<CosOp>(table, [](double x) { return std::cos(x); });
  unary<ErfOp>(table, [](double x) { return std::erf(x); });
  unary<ExpOp>(table, [](double x) { return std::exp(x); });
  unary<FloorOp>(table, [](double x) { return std::floor(x); });
  unary<LogOp>(table, [](double x) { return std::log(x); });
  unary<NegOp>(table, [](double x) { return -x; });
  unary<ReciprocalOp>(table, [](double x) { return 1.0 / x; });
  // Half to even, in the default rounding mode.
  unary<RoundOp>(table, [](double x) { return std::nearbyint(x); });
  unary<SignOp>(table, [](double x) {
    return std::isnan(x) ? x : static_cast<double>((x > 0.0) - (x < 0.0));
  });
  unary<SinOp>(table, [](double x) { return std::sin(x); });
  unary<SqrtOp>(table, [](double x) { return std::sqrt(x); });
  unary<TanOp>(table, [](double x) { return std::tan(x); });
  unary<TanhOp>(table, [](double x) { return std::tanh(x); });
  binary<AddOp>(table, [](double a, double b) { return a + b; });
  binary<MaxOp>(table, maximum);
  binary<MinOp>(table, minimum);
  binary<MulOp>(table, [](double a, double b) { return a * b; });
  binary<SubOp>(table, [](double a, double b) { return a - b; });
  binary<SumOp>(table, [](double a, double b) { return a + b; });
  table.add<DivOp>(evaluateDiv);
  table.add<MeanOp>([](MeanOp, Evaluation &e) {
    LogicalResult result =
        mapVariadic(e, [](double a, double b) { return a + b; });
    for (double &value : e.out().data)
      value /= static_cast<double>(e.inputs.size());
    return result;
  });
  table.add<ModOp>(evaluateMod);
  table.add<PowOp>(evaluatePow);
  table.add<CastOp>([](CastOp, Evaluation &e) { return evaluateCast(e); });
  table.add<CastLikeOp>(
      [](CastLikeOp, Evaluation &e) { return evaluateCast(e); });
  table.add<ClipOp>(evaluateClip);
  addActivations(table);
  addPredicates(table);
}
