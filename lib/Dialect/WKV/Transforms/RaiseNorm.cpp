//===- RaiseNorm.cpp - Recognise normalisations ---------------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Exporters spell a norm with any of a dozen operators. Instead of listing
// them, the region between a value and a quotient of it is evaluated on inputs
// of several magnitudes, and compared with the norms it may be.
//
//===----------------------------------------------------------------------===//

#include "RaiseRecurrence.h"
#include "rwkvc/Dialect/ONNX/IR/ONNX.h"
#include "rwkvc/Dialect/WKV/IR/WKV.h"
#include "rwkvc/Dialect/WKV/Transforms/Passes.h"
#include "llvm/ADT/SetVector.h"
#include <cmath>

namespace rwkvc::wkv {
#define GEN_PASS_DEF_RAISENORM
#include "rwkvc/Dialect/WKV/Transforms/Passes.h.inc"
} // namespace rwkvc::wkv

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::wkv;

namespace {

bool mayBePartOfNorm(Operation *op) {
  return isa<onnx::ReduceMeanOp, onnx::ReduceSumOp, onnx::ReduceL2Op,
             onnx::ReduceSumSquareOp, onnx::SubOp, onnx::AddOp, onnx::MulOp,
             onnx::DivOp, onnx::PowOp, onnx::SqrtOp, onnx::ReciprocalOp,
             onnx::ClipOp, onnx::MaxOp, onnx::ExpandOp, onnx::IdentityOp,
             onnx::CastOp, onnx::AbsOp, onnx::MeanVarianceNormalizationOp,
             onnx::LpNormalizationOp>(op);
}

bool isReduction(Operation *op) {
  return isa<onnx::ReduceMeanOp, onnx::ReduceSumOp, onnx::ReduceL2Op,
             onnx::ReduceSumSquareOp, onnx::MeanVarianceNormalizationOp,
             onnx::LpNormalizationOp>(op);
}

bool mayEndNorm(Operation *op) {
  return isa<onnx::DivOp, onnx::MulOp, onnx::MeanVarianceNormalizationOp,
             onnx::LpNormalizationOp>(op);
}

/// Values between \p end and its deepest source that every path passes: the
/// possible inputs of a norm, nearest first.
SmallVector<Value> findInputs(Operation *end) {
  // Candidates are operands of reductions and what they are computed from by
  // one elementwise step; each is tested by cutting the region there.
  llvm::SetVector<Value> candidates;
  llvm::SetVector<Operation *> seen;
  SmallVector<Operation *> worklist{end};
  auto type = end->getResult(0).getType();
  while (!worklist.empty() && seen.size() < 16) {
    Operation *op = worklist.pop_back_val();
    if (!seen.insert(op))
      continue;
    for (Value operand : op->getOperands()) {
      Operation *def = operand.getDefiningOp();
      if (onnx::isNone(operand) || isa_and_nonnull<onnx::ConstantOp>(def))
        continue;
      if (operand.getType() == type)
        candidates.insert(operand);
      if (def && mayBePartOfNorm(def))
        worklist.push_back(def);
    }
  }
  return candidates.takeVector();
}

/// Whether everything that \p end depends on passes through \p input.
bool isCut(Operation *end, Value input, bool &reduces) {
  llvm::SetVector<Operation *> region;
  SmallVector<Operation *> worklist{end};
  reduces = false;
  while (!worklist.empty()) {
    Operation *op = worklist.pop_back_val();
    if (!region.insert(op))
      continue;
    reduces |= isReduction(op);
    if (!mayBePartOfNorm(op) || region.size() > 24)
      return false;
    for (Value operand : op->getOperands()) {
      Operation *def = operand.getDefiningOp();
      if (operand == input || onnx::isNone(operand) ||
          isa_and_nonnull<onnx::ConstantOp>(def))
        continue;
      if (!def)
        return false;
      worklist.push_back(def);
    }
  }
  return true;
}

enum class Kind { LayerNorm, L2Max, L2Add, L2Root };

struct Norm {
  Kind kind;
  double epsilon;
};

double apply(const Norm &norm, ArrayRef<double> row, unsigned i) {
  double mean = 0.0, squares = 0.0, n = row.size();
  if (norm.kind == Kind::LayerNorm) {
    for (double x : row)
      mean += x / n;
    for (double x : row)
      squares += (x - mean) * (x - mean) / n;
    return (row[i] - mean) / std::sqrt(squares + norm.epsilon);
  }
  for (double x : row)
    squares += x * x;
  double length = std::sqrt(squares);
  if (norm.kind == Kind::L2Max)
    return row[i] / std::max(length, norm.epsilon);
  if (norm.kind == Kind::L2Add)
    return row[i] / (length + norm.epsilon);
  return row[i] / std::sqrt(squares + norm.epsilon);
}

struct Samples {
  std::vector<Array> inputs, outputs;
  int64_t rowSize;
};

/// Inputs from large to small, where the epsilons show.
std::optional<Samples> sample(Value input, Value output) {
  auto type = cast<RankedTensorType>(input.getType());
  Samples samples;
  samples.rowSize = type.getShape().back();
  for (double magnitude : {3.0, 1e-2, 1e-4, 1e-7, 1e-13}) {
    RandomLeaves leaves;
    leaves.add(input);
    Array data = leaves.get().find(input)->second.data;
    // No row is centred by accident.
    for (double &x : data)
      x = (x + 0.25) * magnitude;
    leaves.set(input, data);
    auto result = onnx::evaluateRegion({output}, leaves.get());
    if (failed(result) || (*result)[0].data.size() != data.size())
      return std::nullopt;
    samples.inputs.push_back(data);
    const auto &values = (*result)[0].data;
    samples.outputs.emplace_back(values.begin(), values.end());
  }
  return samples;
}

bool fits(const Norm &norm, const Samples &samples) {
  for (auto [input, output] : llvm::zip(samples.inputs, samples.outputs))
    for (size_t i = 0; i < input.size(); ++i) {
      size_t start = i - i % samples.rowSize;
      double expected =
          apply(norm, ArrayRef<double>(input).slice(start, samples.rowSize),
                i - start);
      if (!(std::abs(expected - output[i]) <=
            1e-6 * std::max(1e-6, std::abs(expected))))
        return false;
    }
  return true;
}

/// Solves each kind's epsilon from an output of the smallest inputs, where it
/// dominates, and keeps the kind that fits everywhere.
std::optional<Norm> identify(const Samples &samples) {
  for (size_t k = samples.inputs.size(); k-- > 0;) {
    ArrayRef<double> row(samples.inputs[k].data(), samples.rowSize);
    double y = samples.outputs[k][0];
    if (!std::isfinite(y) || y == 0.0)
      continue;
    double mean = 0.0, variance = 0.0, squares = 0.0;
    for (double x : row)
      mean += x / row.size();
    for (double x : row) {
      variance += (x - mean) * (x - mean) / row.size();
      squares += x * x;
    }
    double centred = (row[0] - mean) / y, ratio = row[0] / y;
    for (Norm norm : {Norm{Kind::LayerNorm, centred * centred - variance},
                      Norm{Kind::L2Max, std::abs(ratio)},
                      Norm{Kind::L2Add, std::abs(ratio) - std::sqrt(squares)},
                      Norm{Kind::L2Root, ratio * ratio - squares}})
      if (norm.epsilon >= 0.0 && fits(norm, samples))
        return norm;
  }
  return std::nullopt;
}

struct RaiseNormPass : wkv::impl::RaiseNormBase<RaiseNormPass> {
  void runOnOperation() override {
    SmallVector<Operation *> ends;
    getOperation().walk([&](Operation *op) {
      if (mayEndNorm(op))
        ends.push_back(op);
    });
    for (Operation *end : ends)
      raise(end);
  }

  void raise(Operation *end) {
    Value output = end->getResult(0);
    auto type = dyn_cast<RankedTensorType>(output.getType());
    if (output.use_empty() || !type || !type.hasStaticShape() ||
        type.getRank() == 0 || type.getShape().back() < 2 ||
        !isa<FloatType>(type.getElementType()))
      return;
    for (Value input : findInputs(end)) {
      bool reduces = false;
      if (!isCut(end, input, reduces) || !reduces)
        continue;
      std::optional<Samples> samples = sample(input, output);
      std::optional<Norm> norm = samples ? identify(*samples) : std::nullopt;
      if (!norm)
        continue;
      OpBuilder b(end);
      APFloat epsilon(norm->epsilon);
      Value raised;
      if (norm->kind == Kind::LayerNorm)
        raised = LayerNormOp::create(b, end->getLoc(), type, input, epsilon);
      else
        raised =
            L2NormOp::create(b, end->getLoc(), type, input,
                             norm->kind == Kind::L2Max   ? L2NormBound::Max
                             : norm->kind == Kind::L2Add ? L2NormBound::Add
                                                         : L2NormBound::Root,
                             epsilon);
      output.replaceAllUsesWith(raised);
      ++numNorms;
      return;
    }
  }
};

} // namespace
