//===- RaiseDecay.cpp - Recognise the law of a decay ----------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "RaiseRecurrence.h"
#include "rwkvc/Dialect/ONNX/IR/ONNX.h"
#include "rwkvc/Dialect/WKV/IR/WKV.h"
#include "rwkvc/Dialect/WKV/Transforms/Passes.h"
#include <cmath>
#include <limits>

namespace rwkvc::wkv {
#define GEN_PASS_DEF_RAISEDECAY
#include "rwkvc/Dialect/WKV/Transforms/Passes.h.inc"
} // namespace rwkvc::wkv

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::wkv;

namespace {

struct Law {
  DecayLaw kind;
  double scale;
  double lower = -std::numeric_limits<double>::infinity();
  double upper = std::numeric_limits<double>::infinity();
};

/// The operand through which a chain of unary functions continues: the only one
/// that is no scalar constant.
Value chainOperand(Operation *op) {
  if (!isa<onnx::ExpOp, onnx::NegOp, onnx::SigmoidOp, onnx::SoftplusOp,
           onnx::ClipOp, onnx::MulOp, onnx::AddOp, onnx::SubOp, onnx::DivOp,
           onnx::LogOp, onnx::ReciprocalOp, onnx::IdentityOp, onnx::CastOp>(op))
    return {};
  Value chain;
  for (Value operand : op->getOperands()) {
    if (onnx::isNone(operand))
      continue;
    auto constant = operand.getDefiningOp<onnx::ConstantOp>();
    if (constant && constant.getValue().getNumElements() == 1)
      continue;
    if (chain)
      return {};
    chain = operand;
  }
  return chain && chain.getType() == op->getResult(0).getType() ? chain
                                                                : Value();
}

constexpr double kFrom = -20.0, kTo = 20.0;

/// The chain from \p logit to \p decay at evenly spaced points of [kFrom, kTo],
/// or, for the check, at \p random ones.
std::optional<Array> sample(Value logit, Value decay, bool random,
                            Array &points) {
  std::optional<ArrayRef<int64_t>> shape = getFloatShape(logit);
  int64_t size = shape ? ShapedType::getNumElements(*shape) : 0;
  if (size < 8)
    return std::nullopt;
  RandomLeaves leaves;
  points.resize(size);
  for (int64_t i = 0; i < size; ++i) {
    double at = random ? (leaves.next() + 1.0) / 2.0
                       : static_cast<double>(i) / static_cast<double>(size - 1);
    points[i] = kFrom + (kTo - kFrom) * at;
  }
  leaves.set(logit, points);
  auto result = onnx::evaluateRegion({decay}, leaves.get());
  if (failed(result))
    return std::nullopt;
  return std::move((*result)[0].data);
}

double apply(const Law &law, double x) {
  x = std::min(std::max(x, law.lower), law.upper);
  double rate =
      law.kind == DecayLaw::ExpExp ? std::exp(x) : 1.0 / (1.0 + std::exp(-x));
  return std::exp(-law.scale * rate);
}

bool fits(const Law &law, const Array &points, const Array &values) {
  for (auto [x, y] : llvm::zip(points, values))
    if (!(std::abs(apply(law, x) - y) <= 1e-6))
      return false;
  return true;
}

/// The law that the samples follow: each is fitted at one point and then tested
/// at all of them. Bounds show as constant ends.
std::optional<Law> identify(const Array &points, const Array &values) {
  size_t n = points.size(), middle = n / 2;
  double x = points[middle], rate = -std::log(values[middle]);
  if (!(rate > 0.0) || !std::isfinite(rate))
    return std::nullopt;
  Law sigmoid{DecayLaw::ExpSigmoid, rate * (1.0 + std::exp(-x))};
  if (fits(sigmoid, points, values))
    return sigmoid;
  Law exponential{DecayLaw::ExpExp, rate / std::exp(x)};
  if (fits(exponential, points, values))
    return exponential;
  // exp(-scale exp(max(lower, min(x, upper)))): the ends give the bounds.
  double low = -std::log(values.front()), high = -std::log(values.back());
  if (low > 0.0)
    exponential.lower = std::log(low / exponential.scale);
  if (high > 0.0 && std::isfinite(high))
    exponential.upper = std::log(high / exponential.scale);
  if (exponential.lower < exponential.upper &&
      fits(exponential, points, values))
    return exponential;
  return std::nullopt;
}

struct RaiseDecayPass : wkv::impl::RaiseDecayBase<RaiseDecayPass> {
  void runOnOperation() override {
    SmallVector<Value> decays;
    getOperation().walk([&](Operation *op) {
      if (auto recurrence = dyn_cast<Wkv6Op>(op))
        decays.push_back(recurrence.getDecay());
      if (auto recurrence = dyn_cast<Wkv7Op>(op))
        decays.push_back(recurrence.getDecay());
    });
    for (Value decay : decays)
      raise(decay);
  }

  void raise(Value decay) {
    // Through the views that brought the factor into the recurrence's shape.
    while (Operation *op = decay.getDefiningOp()) {
      if (!onnx::isShapeView(op) && !isa<onnx::TransposeOp, onnx::CastOp>(op))
        break;
      decay = op->getOperand(0);
    }
    Value logit = decay;
    while (Operation *op = logit.getDefiningOp()) {
      Value next = chainOperand(op);
      if (!next)
        break;
      logit = next;
    }
    // From the far end: a chain may begin with functions that are not the
    // law's, such as the negation of a whole logit.
    SmallVector<Value> starts;
    for (Value value = decay; value != logit;
         value = chainOperand(value.getDefiningOp()))
      starts.push_back(chainOperand(value.getDefiningOp()));
    for (Value start : llvm::reverse(starts)) {
      Array points;
      std::optional<Array> values = sample(start, decay, false, points);
      if (!values)
        continue;
      std::optional<Law> law = identify(points, *values);
      if (!law)
        continue;
      values = sample(start, decay, true, points);
      if (!values || !fits(*law, points, *values)) {
        ++numRejected;
        continue;
      }
      OpBuilder b(decay.getDefiningOp());
      Value raised = DecayOp::create(b, decay.getLoc(), start.getType(), start,
                                     law->kind, APFloat(law->scale),
                                     APFloat(law->lower), APFloat(law->upper));
      decay.replaceAllUsesWith(raised);
      ++numDecays;
      return;
    }
  }
};

} // namespace
