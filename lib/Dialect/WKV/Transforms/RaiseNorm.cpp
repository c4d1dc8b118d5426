//===- RaiseNorm.cpp - Recognise normalisations ---------------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Exporters spell a norm with any of a dozen operators. Instead of listing
// them, the region between a value and a quotient of it is evaluated on inputs
// of several magnitudes, and compared with the norms it may be. Operators that
// are a norm as such are taken by their definition; in either case the
// replacement is compared with the original on numbers of its own.
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

int64_t countElements(Value value) {
  return cast<RankedTensorType>(value.getType()).getNumElements();
}

bool mayBePartOfNorm(Operation *op) {
  return isa<onnx::ReduceMeanOp, onnx::ReduceSumOp, onnx::ReduceL2Op,
             onnx::ReduceSumSquareOp, onnx::SubOp, onnx::AddOp, onnx::MulOp,
             onnx::DivOp, onnx::PowOp, onnx::SqrtOp, onnx::ReciprocalOp,
             onnx::ClipOp, onnx::MaxOp, onnx::ExpandOp, onnx::CastOp,
             onnx::AbsOp, onnx::MeanVarianceNormalizationOp,
             onnx::LpNormalizationOp>(op) ||
         onnx::isShapeView(op);
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

/// Values that the norm which ends at \p end may be of, deepest first: then
/// a constant factor before the norm becomes part of its epsilon.
SmallVector<Value> findInputs(Operation *end) {
  llvm::SetVector<Value> candidates;
  llvm::SetVector<Operation *> seen;
  SmallVector<Operation *> worklist{end};
  Value output = end->getResult(0);
  // In breadth, so that what was found last is farthest away.
  for (unsigned i = 0; i < worklist.size() && i < 24; ++i)
    for (Value operand : worklist[i]->getOperands()) {
      Operation *def = operand.getDefiningOp();
      if (onnx::isNone(operand) || isa_and_nonnull<onnx::ConstantOp>(def))
        continue;
      std::optional<ArrayRef<int64_t>> shape = getFloatShape(operand);
      if (shape && countElements(operand) == countElements(output) &&
          getElementTypeOrSelf(operand.getType()) ==
              getElementTypeOrSelf(output.getType()))
        candidates.insert(operand);
      if (def && mayBePartOfNorm(def) && seen.insert(def))
        worklist.push_back(def);
    }
  SmallVector<Value> inputs = candidates.takeVector();
  std::reverse(inputs.begin(), inputs.end());
  return inputs;
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
      // Only the data of a view; its shape operand is a constant.
      if (onnx::isShapeView(op) && operand != op->getOperand(0))
        return false;
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
  double rootEpsilon = 0.0; // layer norm only
};

Array apply(const Norm &norm, ArrayRef<double> row) {
  double mean = 0.0, squares = 0.0, n = row.size();
  if (norm.kind == Kind::LayerNorm) {
    for (double x : row)
      mean += x / n;
    for (double x : row)
      squares += (x - mean) * (x - mean) / n;
  } else {
    for (double x : row)
      squares += x * x;
  }
  double length = std::sqrt(squares), divisor = 0.0;
  switch (norm.kind) {
  case Kind::LayerNorm:
    divisor = std::sqrt(squares + norm.epsilon) + norm.rootEpsilon;
    break;
  case Kind::L2Max:
    divisor = std::max(length, norm.epsilon);
    break;
  case Kind::L2Add:
    divisor = length + norm.epsilon;
    break;
  case Kind::L2Root:
    divisor = std::sqrt(squares + norm.epsilon);
    break;
  }
  Array result;
  for (double x : row)
    result.push_back((x - mean) / divisor);
  return result;
}

struct Samples {
  std::vector<Array> inputs, outputs;
  int64_t rowSize;
};

/// Inputs from large to small, where the epsilons show. Those of another
/// \p seed are independent.
std::optional<Samples> sample(Value input, Value output, unsigned seed) {
  Samples samples;
  samples.rowSize = getFloatShape(output)->back();
  RandomLeaves random;
  for (unsigned i = 0; i < seed * 1000; ++i)
    random.next();
  for (double magnitude : {3.0, 1e-2, 1e-4, 1e-7, 1e-13}) {
    Array data(countElements(input));
    // No row is centred by accident.
    for (double &x : data)
      x = (random.next() + 0.25) * magnitude;
    RandomLeaves leaves;
    leaves.set(input, data);
    auto result = onnx::evaluateRegion({output}, leaves.get());
    if (failed(result) || (*result)[0].data.size() != data.size())
      return std::nullopt;
    samples.inputs.push_back(std::move(data));
    samples.outputs.push_back(std::move((*result)[0].data));
  }
  return samples;
}

bool fits(const Norm &norm, const Samples &samples) {
  for (auto [input, output] : llvm::zip(samples.inputs, samples.outputs))
    for (size_t start = 0; start < input.size(); start += samples.rowSize) {
      Array row =
          apply(norm, ArrayRef<double>(input).slice(start, samples.rowSize));
      for (auto [i, expected] : llvm::enumerate(row))
        if (!(std::abs(expected - output[start + i]) <=
              1e-6 * std::max(1e-6, std::abs(expected))))
          return false;
    }
  return true;
}

/// The first row of sample \p k: mean, variance, sum of squares.
struct Moments {
  double mean = 0.0, variance = 0.0, squares = 0.0;
  Moments(const Samples &samples, size_t k) {
    ArrayRef<double> row(samples.inputs[k].data(), samples.rowSize);
    for (double x : row)
      mean += x / row.size();
    for (double x : row) {
      variance += (x - mean) * (x - mean) / row.size();
      squares += x * x;
    }
  }
};

/// Solves each kind's epsilon from an output of the smallest inputs, where it
/// dominates, and keeps the kind that fits everywhere.
std::optional<Norm> identify(const Samples &samples) {
  for (size_t k = samples.inputs.size(); k-- > 0;) {
    double x = samples.inputs[k][0], y = samples.outputs[k][0];
    if (!std::isfinite(y) || y == 0.0)
      continue;
    Moments m(samples, k);
    double centred = (x - m.mean) / y, ratio = x / y;
    for (Norm norm : {Norm{Kind::LayerNorm, centred * centred - m.variance},
                      Norm{Kind::L2Max, std::abs(ratio)},
                      Norm{Kind::L2Add, std::abs(ratio) - std::sqrt(m.squares)},
                      Norm{Kind::L2Root, ratio * ratio - m.squares}})
      if (norm.epsilon >= 0.0 && fits(norm, samples))
        return norm;
  }
  // (x - mean) / (sqrt(v + e) + f): two inputs give the two epsilons.
  Moments large(samples, 1), small(samples, 2);
  auto root = [&](size_t k, const Moments &m) {
    return (samples.inputs[k][0] - m.mean) / samples.outputs[k][0];
  };
  double g1 = root(1, large), g2 = root(2, small), difference = g1 - g2;
  double sum = (large.variance - small.variance) / difference;
  double inner = (sum - difference) / 2;
  Norm norm{Kind::LayerNorm, inner * inner - small.variance, g2 - inner};
  if (norm.epsilon >= 0.0 && norm.rootEpsilon >= 0.0 && fits(norm, samples))
    return norm;
  return std::nullopt;
}

struct RaiseNormPass : wkv::impl::RaiseNormBase<RaiseNormPass> {
  void runOnOperation() override {
    SmallVector<Operation *> ops, ends;
    getOperation().walk([&](Operation *op) {
      if (isa<onnx::LayerNormalizationOp, onnx::InstanceNormalizationOp,
              onnx::GroupNormalizationOp>(op))
        ops.push_back(op);
      else if (mayEndNorm(op))
        ends.push_back(op);
    });
    for (Operation *op : ops)
      raiseOperator(op);
    for (Operation *end : ends)
      raiseRegion(end);
  }

  void raiseRegion(Operation *end);
  void raiseOperator(Operation *op);
};

} // namespace

void RaiseNormPass::raiseRegion(Operation *end) {
  Value output = end->getResult(0);
  std::optional<ArrayRef<int64_t>> shape = getFloatShape(output);
  if (output.use_empty() || !shape || shape->empty() || shape->back() < 2)
    return;
  for (Value input : findInputs(end)) {
    bool reduces = false;
    if (!isCut(end, input, reduces) || !reduces)
      continue;
    std::optional<Samples> samples = sample(input, output, 0);
    std::optional<Norm> norm = samples ? identify(*samples) : std::nullopt;
    if (!norm)
      continue;
    std::optional<Samples> others = sample(input, output, 1);
    if (!others || !fits(*norm, *others)) {
      ++numRejected;
      continue;
    }
    OpBuilder builder(end);
    ImplicitLocOpBuilder b(end->getLoc(), builder);
    Value x = reshapeTo(b, input, *shape);
    Value raised;
    if (norm->kind == Kind::LayerNorm)
      raised = LayerNormOp::create(b, x, Value(), Value(), norm->epsilon,
                                   norm->rootEpsilon);
    else
      raised = L2NormOp::create(b, x.getType(), x,
                                norm->kind == Kind::L2Max   ? L2NormBound::Max
                                : norm->kind == Kind::L2Add ? L2NormBound::Add
                                                            : L2NormBound::Root,
                                APFloat(norm->epsilon));
    output.replaceAllUsesWith(raised);
    ++numNorms;
    return;
  }
}

/// A scale or bias for each channel as one for each element of a row group:
/// [groups, per group] times \p repeat elements each.
static Value expandParameter(ImplicitLocOpBuilder &b, Value parameter,
                             int64_t groups, int64_t width, int64_t repeat) {
  if (repeat == 1)
    return reshapeTo(b, parameter, {groups, width});
  std::optional<Array> own = readConstant(parameter);
  if (!own)
    return {};
  Array data;
  for (double x : *own)
    data.insert(data.end(), repeat, x);
  auto element = getElementTypeOrSelf(parameter.getType());
  return floatConstant(b, RankedTensorType::get({groups, width}, element),
                       data);
}

void RaiseNormPass::raiseOperator(Operation *op) {
  Value x = op->getOperand(0), scale = op->getOperand(1);
  Value bias = op->getOperand(2), y = op->getResult(0);
  std::optional<ArrayRef<int64_t>> shape = getFloatShape(x);
  if (!shape || x.getType() != y.getType() || countElements(x) == 0 ||
      !getFloatShape(scale) || (!onnx::isNone(bias) && !getFloatShape(bias)) ||
      llvm::any_of(llvm::drop_begin(op->getResults()),
                   [](Value extra) { return !extra.use_empty(); }))
    return;
  auto rank = static_cast<int64_t>(shape->size());
  int64_t count = countElements(x);
  // The rows that are normalised are [.., groups, width].
  int64_t groups = 1, width = 1, repeat = 1;
  double epsilon = 0.0;
  SmallVector<int64_t> rows;
  if (auto norm = dyn_cast<onnx::LayerNormalizationOp>(op)) {
    auto axis = static_cast<int64_t>(norm.getAxis());
    axis += axis < 0 ? rank : 0;
    if (axis < 0 || axis >= rank)
      return;
    for (int64_t size : shape->drop_front(axis))
      width *= size;
    rows.assign(shape->begin(), shape->begin() + axis);
    rows.push_back(width);
    epsilon = norm.getEpsilon().convertToDouble();
  } else {
    if (rank < 3)
      return;
    groups = (*shape)[1];
    if (auto norm = dyn_cast<onnx::GroupNormalizationOp>(op)) {
      groups = static_cast<int64_t>(norm.getNumGroups());
      epsilon = norm.getEpsilon().convertToDouble();
    } else {
      epsilon = cast<onnx::InstanceNormalizationOp>(op)
                    .getEpsilon()
                    .convertToDouble();
    }
    if (groups < 1 || (*shape)[1] % groups != 0)
      return;
    width = count / (*shape)[0] / groups;
    repeat = width / ((*shape)[1] / groups);
    rows = {(*shape)[0], 1, groups, width};
  }
  OpBuilder builder(op);
  ImplicitLocOpBuilder b(op->getLoc(), builder);
  auto parameter = [&](Value value, double neutral) -> std::optional<Value> {
    if (onnx::isNone(value))
      return Value();
    std::optional<Array> data = readConstant(value);
    if (data && llvm::all_of(*data, [&](double v) { return v == neutral; }))
      return Value();
    if (countElements(value) * repeat != groups * width)
      return std::nullopt;
    Value expanded = isa<onnx::LayerNormalizationOp>(op)
                         ? reshapeTo(b, value, {width})
                         : expandParameter(b, value, groups, width, repeat);
    return expanded ? std::optional<Value>(expanded) : std::nullopt;
  };
  std::optional<Value> scaleRow = parameter(scale, 1.0);
  std::optional<Value> biasRow = parameter(bias, 0.0);
  if (width < 2 || !scaleRow || !biasRow)
    return;
  // Compare with the law on random values of all that is no constant.
  RandomLeaves leaves;
  for (Value value : {x, scale, bias})
    if (!onnx::isNone(value))
      leaves.add(value);
  SmallVector<Value> values{y, x};
  values.push_back(*scaleRow);
  values.push_back(*biasRow);
  auto result = onnx::evaluateRegion(values, leaves.get());
  bool same = succeeded(result);
  if (same) {
    const Array &expected = (*result)[0].data, &input = (*result)[1].data;
    const Array &factor = (*result)[2].data, &offset = (*result)[3].data;
    Array own;
    for (int64_t start = 0; start < count; start += width)
      llvm::append_range(own,
                         apply({Kind::LayerNorm, epsilon},
                               ArrayRef<double>(input).slice(start, width)));
    for (int64_t i = 0; i < count; ++i) {
      if (!factor.empty())
        own[i] *= factor[i % static_cast<int64_t>(factor.size())];
      if (!offset.empty())
        own[i] += offset[i % static_cast<int64_t>(offset.size())];
    }
    same = agree(expected, own);
  }
  if (!same) {
    ++numRejected;
    return;
  }
  Value raised = LayerNormOp::create(b, reshapeTo(b, x, rows), *scaleRow,
                                     *biasRow, epsilon);
  y.replaceAllUsesWith(reshapeTo(b, raised, *shape));
  ++numNorms;
}
