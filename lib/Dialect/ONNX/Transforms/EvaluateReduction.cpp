//===- EvaluateReduction.cpp - Evaluation of reductions and norms ---------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "EvaluatorSupport.h"
#include <cmath>
#include <numeric>

using namespace mlir;
using namespace rwkvc::onnx;
using namespace rwkvc::onnx::evaluation;

namespace {

//===----------------------------------------------------------------------===//
// Reductions over axes
//===----------------------------------------------------------------------===//

/// Calls \p step(accumulator, element) over the elements that each output
/// element reduces, which start as \p initial. Twice where a reduction needs
/// two passes over the data.
void accumulate(const HostTensor &in, ArrayRef<int64_t> axes,
                std::vector<double> &out,
                llvm::function_ref<void(double &, double)> step) {
  Shape strides(in.getRank(), 0);
  int64_t stride = 1;
  for (int64_t axis = in.getRank() - 1; axis >= 0; --axis) {
    if (llvm::is_contained(axes, axis))
      continue;
    strides[axis] = stride;
    stride *= in.shape[axis];
  }
  forEachIndex(in.shape, strides, [&](int64_t i, ArrayRef<int64_t> offsets) {
    step(out[offsets[0]], in.data[i]);
  });
}

Shape getAxesOf(const Evaluation &e, bool noopWithEmptyAxes) {
  auto axes = getIntegers(e.getOptional(1));
  std::optional<ArrayRef<int64_t>> given;
  if (axes)
    given = *axes;
  return *getReducedAxes(given, noopWithEmptyAxes, e.in(0).getRank());
}

/// Adds a reduction that folds elements into an accumulator and finishes it;
/// \p finish gets the number of elements, too.
template <typename OpTy>
void reduction(EvaluationTable &table, double initial,
               void (*step)(double &, double),
               double (*finish)(double, double) = nullptr) {
  table.add<OpTy>([=](OpTy op, Evaluation &e) -> LogicalResult {
    Shape axes = getAxesOf(e, op.getNoopWithEmptyAxes() != 0);
    HostTensor &out = e.out();
    double start = initial;
    // An empty maximum of integers is their smallest, not -inf.
    if (isa<IntegerType>(out.elementType)) {
      auto [lowest, highest] = getIntegerRange(out.elementType);
      start = std::clamp(start, lowest, highest);
    }
    std::fill(out.data.begin(), out.data.end(), start);
    accumulate(e.in(0), axes, out.data, step);
    if (!finish)
      return success();
    double count = 1.0;
    for (int64_t axis : axes)
      count *= static_cast<double>(e.in(0).shape[axis]);
    bool isInteger = !isFloat(out.elementType);
    for (double &value : out.data) {
      value = finish(value, count);
      if (isInteger)
        value = std::trunc(value);
    }
    return success();
  });
}

LogicalResult evaluateLogSumExp(ReduceLogSumExpOp op, Evaluation &e) {
  Shape axes = getAxesOf(e, op.getNoopWithEmptyAxes() != 0);
  HostTensor &out = e.out();
  // Subtract the largest, so that the exponentials stay finite.
  std::vector<double> largest(out.data.size(), -INFINITY);
  accumulate(e.in(0), axes, largest,
             [](double &acc, double x) { acc = std::max(acc, x); });
  for (double &x : largest)
    if (!std::isfinite(x))
      x = 0.0;
  std::fill(out.data.begin(), out.data.end(), 0.0);
  const double *first = out.data.data();
  accumulate(e.in(0), axes, out.data, [&](double &acc, double x) {
    acc += std::exp(x - largest[&acc - first]);
  });
  for (auto [value, offset] : llvm::zip(out.data, largest))
    value = std::log(value) + offset;
  return success();
}

void addReductions(EvaluationTable &table) {
  auto add = [](double &acc, double x) { acc += x; };
  auto addAbs = [](double &acc, double x) { acc += std::abs(x); };
  auto addSquare = [](double &acc, double x) { acc += x * x; };
  reduction<ReduceSumOp>(table, 0.0, add);
  reduction<ReduceL1Op>(table, 0.0, addAbs);
  reduction<ReduceSumSquareOp>(table, 0.0, addSquare);
  reduction<ReduceL2Op>(table, 0.0, addSquare,
                        [](double x, double) { return std::sqrt(x); });
  reduction<ReduceLogSumOp>(table, 0.0, add,
                            [](double x, double) { return std::log(x); });
  reduction<ReduceMeanOp>(table, 0.0, add,
                          [](double x, double count) { return x / count; });
  reduction<ReduceProdOp>(table, 1.0, [](double &acc, double x) { acc *= x; });
  // NaN wins, as in numpy.
  auto max = [](double &acc, double x) {
    acc = std::isnan(acc) || acc > x ? acc : x;
  };
  auto min = [](double &acc, double x) {
    acc = std::isnan(acc) || acc < x ? acc : x;
  };
  reduction<ReduceMaxOp>(table, -INFINITY, max);
  reduction<ReduceMinOp>(table, INFINITY, min);
  table.add<ReduceLogSumExpOp>(evaluateLogSumExp);
}

//===----------------------------------------------------------------------===//
// Along one axis
//===----------------------------------------------------------------------===//

/// One line along an axis.
struct Line {
  const double *in;
  double *out;
  int64_t size, stride;
  double &operator[](int64_t i) const { return out[i * stride]; }
  double get(int64_t i) const { return in[i * stride]; }
};

LogicalResult forEachLine(Evaluation &e, int64_t axis,
                          llvm::function_ref<void(const Line &)> fn) {
  AxisView view = viewAxis(e.in(0).shape, axis);
  for (int64_t o = 0; o < view.outer; ++o)
    for (int64_t i = 0; i < view.inner; ++i) {
      int64_t base = o * view.size * view.inner + i;
      fn({e.in(0).data.data() + base, e.out().data.data() + base, view.size,
          view.inner});
    }
  return success();
}

LogicalResult evaluateSoftmax(int64_t axis, bool isLog, Evaluation &e) {
  return forEachLine(
      e, *normalizeAxis(axis, e.in(0).getRank()), [&](const Line &line) {
        double largest = -INFINITY, sum = 0.0;
        for (int64_t i = 0; i < line.size; ++i)
          largest = std::max(largest, line.get(i));
        for (int64_t i = 0; i < line.size; ++i)
          sum += std::exp(line.get(i) - largest);
        for (int64_t i = 0; i < line.size; ++i) {
          double shifted = line.get(i) - largest;
          line[i] = isLog ? shifted - std::log(sum) : std::exp(shifted) / sum;
        }
      });
}

LogicalResult evaluateLpNormalization(LpNormalizationOp op, Evaluation &e) {
  auto p = static_cast<int64_t>(op.getP());
  if (p != 1 && p != 2)
    return failure();
  int64_t axis = *normalizeAxis(op.getAxis(), e.in(0).getRank());
  return forEachLine(e, axis, [&](const Line &line) {
    double norm = 0.0;
    for (int64_t i = 0; i < line.size; ++i) {
      double x = line.get(i);
      norm += p == 1 ? std::abs(x) : x * x;
    }
    if (p == 2)
      norm = std::sqrt(norm);
    for (int64_t i = 0; i < line.size; ++i)
      line[i] = norm == 0.0 ? 0.0 : line.get(i) / norm;
  });
}

LogicalResult evaluateCumSum(CumSumOp op, Evaluation &e) {
  auto axes = getIntegers(e.getOptional(1));
  if (!axes || axes->size() != 1)
    return failure();
  auto axis = normalizeAxis(axes->front(), e.in(0).getRank());
  if (!axis)
    return failure();
  bool isExclusive = op.getExclusive() != 0, isReverse = op.getReverse() != 0;
  return forEachLine(e, *axis, [&](const Line &line) {
    double sum = 0.0;
    for (int64_t i = 0; i < line.size; ++i) {
      int64_t at = isReverse ? line.size - 1 - i : i;
      double before = sum;
      sum += line.get(at);
      line[at] = isExclusive ? before : sum;
    }
  });
}

/// ArgMax and ArgMin: \p sign turns the one into the other.
LogicalResult evaluateArgument(int64_t axis, bool takeLast, double sign,
                               Evaluation &e) {
  AxisView view =
      viewAxis(e.in(0).shape, *normalizeAxis(axis, e.in(0).getRank()));
  for (int64_t o = 0; o < view.outer; ++o)
    for (int64_t i = 0; i < view.inner; ++i) {
      const double *line = e.in(0).data.data() + o * view.size * view.inner + i;
      int64_t best = 0;
      for (int64_t k = 1; k < view.size; ++k) {
        double x = sign * line[k * view.inner],
               y = sign * line[best * view.inner];
        if (x > y || (takeLast && x == y))
          best = k;
      }
      e.out().data[o * view.inner + i] = static_cast<double>(best);
    }
  return success();
}

LogicalResult evaluateTopK(TopKOp op, Evaluation &e) {
  AxisView view =
      viewAxis(e.in(0).shape, *normalizeAxis(op.getAxis(), e.in(0).getRank()));
  AxisView kept =
      viewAxis(e.out().shape, *normalizeAxis(op.getAxis(), e.in(0).getRank()));
  double sign = op.getLargest() ? 1.0 : -1.0;
  std::vector<int64_t> order(view.size);
  for (int64_t o = 0; o < view.outer; ++o)
    for (int64_t i = 0; i < view.inner; ++i) {
      const double *line = e.in(0).data.data() + o * view.size * view.inner + i;
      std::iota(order.begin(), order.end(), 0);
      // Equal elements keep their order, as ONNX asks. NaN has no place.
      for (int64_t k = 0; k < view.size; ++k)
        if (std::isnan(line[k * view.inner]))
          return failure();
      llvm::sort(order, [&](int64_t a, int64_t b) {
        double x = sign * line[a * view.inner], y = sign * line[b * view.inner];
        return x > y || (x == y && a < b);
      });
      for (int64_t k = 0; k < kept.size; ++k) {
        int64_t at = (o * kept.size + k) * view.inner + i;
        e.out(0).data[at] = line[order[k] * view.inner];
        e.out(1).data[at] = static_cast<double>(order[k]);
      }
    }
  return success();
}

//===----------------------------------------------------------------------===//
// Normalisation
//===----------------------------------------------------------------------===//

struct Moments {
  double mean = 0.0, variance = 0.0, meanSquare = 0.0;
};

Moments getMoments(ArrayRef<double> row) {
  Moments moments;
  auto count = static_cast<double>(row.size());
  for (double x : row) {
    moments.mean += x / count;
    moments.meanSquare += x * x / count;
  }
  for (double x : row)
    moments.variance += (x - moments.mean) * (x - moments.mean) / count;
  return moments;
}

/// Calls \p fn(index of the row, its offset, its elements) for rows of \p size.
void forEachRow(
    const HostTensor &in, int64_t size,
    llvm::function_ref<void(int64_t, int64_t, ArrayRef<double>)> fn) {
  if (size == 0)
    return;
  for (int64_t at = 0; at < in.getNumElements(); at += size)
    fn(at / size, at, ArrayRef<double>(in.data).slice(at, size));
}

/// Multiplies by operand 1 and adds operand 2, where there.
void applyScaleAndBias(Evaluation &e) {
  HostTensor &out = e.out();
  for (unsigned k : {1u, 2u}) {
    const HostTensor *operand = e.getOptional(k);
    if (!operand)
      continue;
    forEachIndex(out.shape, getBroadcastStrides(operand->shape, out.shape),
                 [&](int64_t i, ArrayRef<int64_t> offsets) {
                   double x = operand->data[offsets[0]];
                   out.data[i] = k == 1 ? out.data[i] * x : out.data[i] + x;
                 });
  }
}

int64_t getRowSize(const HostTensor &in, int64_t axis) {
  return *countElements(ArrayRef<int64_t>(in.shape).drop_front(
      *normalizeAxis(axis, in.getRank())));
}

LogicalResult evaluateLayerNorm(LayerNormalizationOp op, Evaluation &e) {
  double epsilon = toDouble(op.getEpsilon());
  forEachRow(e.in(0), getRowSize(e.in(0), op.getAxis()),
             [&](int64_t row, int64_t at, ArrayRef<double> data) {
               Moments moments = getMoments(data);
               double scale = 1.0 / std::sqrt(moments.variance + epsilon);
               e.out(1).data[row] = moments.mean;
               e.out(2).data[row] = scale;
               for (auto [i, x] : llvm::enumerate(data))
                 e.out().data[at + i] = (x - moments.mean) * scale;
             });
  applyScaleAndBias(e);
  return success();
}

LogicalResult evaluateRMSNorm(RMSNormalizationOp op, Evaluation &e) {
  double epsilon = toDouble(op.getEpsilon());
  forEachRow(e.in(0), getRowSize(e.in(0), op.getAxis()),
             [&](int64_t, int64_t at, ArrayRef<double> data) {
               double square = getMoments(data).meanSquare;
               for (auto [i, x] : llvm::enumerate(data))
                 e.out().data[at + i] = x / std::sqrt(square + epsilon);
             });
  applyScaleAndBias(e);
  return success();
}

/// InstanceNormalization is GroupNormalization with a group for each channel.
LogicalResult evaluateGroupNorm(int64_t groups, double epsilon, Evaluation &e) {
  const HostTensor &in = e.in(0);
  int64_t channels = in.shape[1];
  int64_t perChannel =
      *countElements(ArrayRef<int64_t>(in.shape).drop_front(2));
  if (groups == 0)
    return success(); // no channels, no elements
  forEachRow(in, channels / groups * perChannel,
             [&](int64_t, int64_t at, ArrayRef<double> data) {
               Moments moments = getMoments(data);
               double scale = 1.0 / std::sqrt(moments.variance + epsilon);
               for (auto [i, x] : llvm::enumerate(data)) {
                 int64_t channel = (at + i) / perChannel % channels;
                 e.out().data[at + i] =
                     (x - moments.mean) * scale * e.in(1).data[channel] +
                     e.in(2).data[channel];
               }
             });
  return success();
}

LogicalResult evaluateMeanVariance(MeanVarianceNormalizationOp op,
                                   Evaluation &e) {
  const HostTensor &in = e.in(0);
  auto axes = normalizeAxes(op.getAxes(), in.getRank());
  if (!axes)
    return failure();
  double count = 1.0;
  Shape kept = in.shape;
  for (int64_t axis : *axes) {
    count *= static_cast<double>(in.shape[axis]);
    kept[axis] = 1;
  }
  std::vector<double> mean(*countElements(kept), 0.0), square(mean);
  accumulate(in, *axes, mean, [&](double &acc, double x) { acc += x / count; });
  Shape strides = getBroadcastStrides(kept, in.shape);
  auto forEach = [&](llvm::function_ref<void(int64_t, int64_t)> fn) {
    forEachIndex(in.shape, strides, [&](int64_t i, ArrayRef<int64_t> offsets) {
      fn(i, offsets[0]);
    });
  };
  forEach([&](int64_t i, int64_t at) {
    double centred = in.data[i] - mean[at];
    square[at] += centred * centred / count;
  });
  // The function's body adds this to the standard deviation.
  constexpr double kEpsilon = 1e-9;
  forEach([&](int64_t i, int64_t at) {
    e.out().data[i] =
        (in.data[i] - mean[at]) / (std::sqrt(square[at]) + kEpsilon);
  });
  return success();
}

LogicalResult evaluateBatchNorm(BatchNormalizationOp op, Evaluation &e) {
  double epsilon = toDouble(op.getEpsilon());
  AxisView view = viewAxis(e.in(0).shape, 1);
  for (int64_t i = 0, n = e.in(0).getNumElements(); i < n; ++i) {
    int64_t channel = i / view.inner % view.size;
    e.out().data[i] = (e.in(0).data[i] - e.in(3).data[channel]) /
                          std::sqrt(e.in(4).data[channel] + epsilon) *
                          e.in(1).data[channel] +
                      e.in(2).data[channel];
  }
  e.out(1).data = e.in(3).data;
  e.out(2).data = e.in(4).data;
  return success();
}

} // namespace

void evaluation::addReductionEvaluations(EvaluationTable &table) {
  addReductions(table);
  table.add<ArgMaxOp>([](ArgMaxOp op, Evaluation &e) {
    return evaluateArgument(op.getAxis(), op.getSelectLastIndex() != 0, 1.0, e);
  });
  table.add<ArgMinOp>([](ArgMinOp op, Evaluation &e) {
    return evaluateArgument(op.getAxis(), op.getSelectLastIndex() != 0, -1.0,
                            e);
  });
  table.add<BatchNormalizationOp>(evaluateBatchNorm);
  table.add<CumSumOp>(evaluateCumSum);
  table.add<GroupNormalizationOp>([](GroupNormalizationOp op, Evaluation &e) {
    return evaluateGroupNorm(op.getNumGroups(), toDouble(op.getEpsilon()), e);
  });
  table.add<InstanceNormalizationOp>([](InstanceNormalizationOp op,
                                        Evaluation &e) {
    return evaluateGroupNorm(e.in(0).shape[1], toDouble(op.getEpsilon()), e);
  });
  table.add<LayerNormalizationOp>(evaluateLayerNorm);
  table.add<LogSoftmaxOp>([](LogSoftmaxOp op, Evaluation &e) {
    return evaluateSoftmax(op.getAxis(), true, e);
  });
  table.add<LpNormalizationOp>(evaluateLpNormalization);
  table.add<MeanVarianceNormalizationOp>(evaluateMeanVariance);
  table.add<RMSNormalizationOp>(evaluateRMSNorm);
  table.add<SoftmaxOp>([](SoftmaxOp op, Evaluation &e) {
    return evaluateSoftmax(op.getAxis(), false, e);
  });
  table.add<TopKOp>(evaluateTopK);
}
