//===- ShapeRules.cpp - Static shapes of results --------------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// One rule per op gives the shapes of its results. Inference uses the rules on
// types, and the evaluator to allocate its outputs: what a rule accepts has the
// ranks and sizes that the evaluation relies on.
//
//===----------------------------------------------------------------------===//

#include "EvaluatorSupport.h"
#include "llvm/ADT/TypeSwitch.h"
#include <cmath>
#include <map>

using namespace mlir;
using namespace rwkvc::onnx;
using namespace rwkvc::onnx::evaluation;

namespace {

using Shapes = std::optional<SmallVector<Shape>>;

Shapes one(std::optional<Shape> shape) {
  if (!shape)
    return std::nullopt;
  return SmallVector<Shape>{std::move(*shape)};
}

/// The rules. Each returns nothing where the shapes do not follow.
class Rules {
public:
  Rules(Operation *op, ArrayRef<OperandFacts> operands)
      : op(op), operands(operands) {}

  Shapes apply();

private:
  const Shape *shape(unsigned i) const {
    return i < operands.size() && operands[i].shape ? &*operands[i].shape
                                                    : nullptr;
  }
  std::optional<Shape> ints(unsigned i) const {
    return i < operands.size() ? getIntegers(operands[i].value) : std::nullopt;
  }
  bool isOmitted(unsigned i) const {
    return i >= op->getNumOperands() || isNone(op->getOperand(i));
  }
  /// Whether operand \p i is left out or has one element.
  bool isScalarOrOmitted(unsigned i) const {
    return isOmitted(i) || (shape(i) && countElements(*shape(i)) == 1);
  }
  /// Whether operand \p i is left out or broadcasts to \p to.
  bool fits(unsigned i, ArrayRef<int64_t> to) const {
    return isOmitted(i) || (shape(i) && broadcastsTo(*shape(i), to));
  }
  /// Whether operand \p i has shape [size].
  bool isVector(unsigned i, int64_t size) const {
    return shape(i) && *shape(i) == Shape{size};
  }

  Shapes sameAsFirst() const { return one(shape(0) ? *shape(0) : nothing()); }
  static std::optional<Shape> nothing() { return std::nullopt; }

  Shapes broadcastAll() const;
  Shapes alongAxis(int64_t axis) const;
  Shapes normalization(int64_t axis, bool hasStatistics) const;
  Shapes channelNormalization(int64_t groups) const;
  Shapes reduction(bool keepDims, bool noopWithEmptyAxes) const;
  Shapes argument(int64_t axis, bool keepDims) const;
  Shapes quantization(unsigned scale, unsigned zeroPoint, int64_t axis,
                      int64_t blockSize) const;

  Shapes rule(ConcatOp op) const;
  Shapes rule(ConstantOfShapeOp op) const;
  Shapes rule(CumSumOp op) const;
  Shapes rule(EinsumOp op) const;
  Shapes rule(ExpandOp op) const;
  Shapes rule(FlattenOp op) const;
  Shapes rule(GatherElementsOp op) const;
  Shapes rule(GatherNDOp op) const;
  Shapes rule(GatherOp op) const;
  Shapes rule(GemmOp op) const;
  Shapes rule(OneHotOp op) const;
  Shapes rule(PadOp op) const;
  Shapes rule(RangeOp op) const;
  Shapes rule(ReshapeOp op) const;
  Shapes rule(ScatterElementsOp op) const;
  Shapes rule(ScatterNDOp op) const;
  Shapes rule(ShapeOp op) const;
  Shapes rule(SliceOp op) const;
  Shapes rule(SplitOp op) const;
  Shapes rule(SqueezeOp op) const;
  Shapes rule(TileOp op) const;
  Shapes rule(TopKOp op) const;
  Shapes rule(TransposeOp op) const;
  Shapes rule(UnsqueezeOp op) const;
  Shapes matMul(unsigned a, unsigned b) const;

  Operation *op;
  ArrayRef<OperandFacts> operands;
};

Shapes Rules::broadcastAll() const {
  Shape result;
  if (operands.empty())
    return std::nullopt;
  for (unsigned i = 0; i < operands.size(); ++i) {
    auto next = shape(i) ? broadcastShapes(result, *shape(i)) : nothing();
    if (!next)
      return std::nullopt;
    result = std::move(*next);
  }
  return one(result);
}

Shapes Rules::alongAxis(int64_t axis) const {
  return shape(0) && normalizeAxis(axis, shape(0)->size()) ? sameAsFirst()
                                                           : std::nullopt;
}

Shapes Rules::normalization(int64_t axis, bool hasStatistics) const {
  if (!shape(0) || !fits(1, *shape(0)) || !fits(2, *shape(0)) || isOmitted(1))
    return std::nullopt;
  auto first = normalizeAxis(axis, shape(0)->size());
  if (!first)
    return std::nullopt;
  Shape statistics = *shape(0);
  std::fill(statistics.begin() + *first, statistics.end(), 1);
  if (!hasStatistics)
    return sameAsFirst();
  return SmallVector<Shape>{*shape(0), statistics, statistics};
}

/// InstanceNormalization (one group per channel: 0) and GroupNormalization.
Shapes Rules::channelNormalization(int64_t groups) const {
  if (!shape(0) || shape(0)->size() < 2)
    return std::nullopt;
  int64_t channels = (*shape(0))[1];
  if (!isVector(1, channels) || !isVector(2, channels) || groups < 0 ||
      (groups > 0 && channels % groups != 0))
    return std::nullopt;
  return sameAsFirst();
}

Shapes Rules::reduction(bool keepDims, bool noopWithEmptyAxes) const {
  std::optional<Shape> axes = ints(1);
  if (!shape(0) || (!axes && !isOmitted(1)))
    return std::nullopt;
  std::optional<ArrayRef<int64_t>> given;
  if (axes)
    given = *axes;
  auto reduced = getReducedAxes(given, noopWithEmptyAxes, shape(0)->size());
  if (!reduced)
    return std::nullopt;
  Shape result;
  for (auto [axis, size] : llvm::enumerate(*shape(0))) {
    if (!llvm::is_contained(*reduced, static_cast<int64_t>(axis)))
      result.push_back(size);
    else if (keepDims)
      result.push_back(1);
  }
  return one(result);
}

Shapes Rules::argument(int64_t axis, bool keepDims) const {
  auto normal = shape(0) ? normalizeAxis(axis, shape(0)->size()) : std::nullopt;
  if (!normal || (*shape(0))[*normal] == 0)
    return std::nullopt;
  Shape result = *shape(0);
  if (keepDims)
    result[*normal] = 1;
  else
    result.erase(result.begin() + *normal);
  return one(result);
}

Shapes Rules::quantization(unsigned scale, unsigned zeroPoint, int64_t axis,
                           int64_t blockSize) const {
  if (!shape(0) || !shape(scale) ||
      (!isOmitted(zeroPoint) &&
       (!shape(zeroPoint) || *shape(zeroPoint) != *shape(scale))))
    return std::nullopt;
  if (countElements(*shape(scale)) == 1 && blockSize == 0)
    return sameAsFirst();
  auto normal = normalizeAxis(axis, shape(0)->size());
  if (!normal)
    return std::nullopt;
  if (blockSize == 0)
    return isVector(scale, (*shape(0))[*normal]) ? sameAsFirst() : std::nullopt;
  if (blockSize < 0)
    return std::nullopt;
  Shape expected = *shape(0);
  expected[*normal] = (expected[*normal] + blockSize - 1) / blockSize;
  return *shape(scale) == expected ? sameAsFirst() : std::nullopt;
}

Shapes Rules::rule(ConcatOp concat) const {
  if (operands.empty() || !shape(0))
    return std::nullopt;
  Shape result = *shape(0);
  auto axis = normalizeAxis(concat.getAxis(), result.size());
  if (!axis)
    return std::nullopt;
  for (unsigned i = 1; i < operands.size(); ++i) {
    if (!shape(i) || shape(i)->size() != result.size())
      return std::nullopt;
    for (auto [d, size] : llvm::enumerate(*shape(i))) {
      if (static_cast<int64_t>(d) == *axis)
        result[d] += size;
      else if (result[d] != size)
        return std::nullopt;
    }
  }
  return one(result);
}

Shapes Rules::rule(ConstantOfShapeOp) const {
  auto result = ints(0);
  return result && countElements(*result) ? one(result) : std::nullopt;
}

Shapes Rules::rule(CumSumOp) const {
  auto axis = ints(1);
  // Inference does not need the axis, evaluation checks it.
  return !axis || axis->size() == 1 ? sameAsFirst() : std::nullopt;
}

Shapes Rules::rule(EinsumOp einsum) const {
  auto terms = parseEinsum(einsum.getEquation(), operands.size());
  if (!terms)
    return std::nullopt;
  std::map<char, int64_t> sizes;
  for (auto [i, term] : llvm::enumerate(terms->inputs)) {
    if (!shape(i) || shape(i)->size() != term.size())
      return std::nullopt;
    for (auto [letter, size] : llvm::zip(term, *shape(i)))
      if (sizes.try_emplace(letter, size).first->second != size)
        return std::nullopt;
  }
  Shape result;
  for (char letter : terms->output) {
    auto it = sizes.find(letter);
    if (it == sizes.end())
      return std::nullopt;
    result.push_back(it->second);
  }
  return one(result);
}

Shapes Rules::rule(ExpandOp) const {
  auto target = ints(1);
  if (!shape(0) || !target ||
      llvm::any_of(*target, [](int64_t size) { return size < 0; }))
    return std::nullopt;
  return one(broadcastShapes(*shape(0), *target));
}

Shapes Rules::rule(FlattenOp flatten) const {
  if (!shape(0))
    return std::nullopt;
  int64_t rank = shape(0)->size();
  auto axis = static_cast<int64_t>(flatten.getAxis());
  if (axis < 0)
    axis += rank;
  if (axis < 0 || axis > rank) // the rank itself is allowed
    return std::nullopt;
  auto rows = countElements(ArrayRef<int64_t>(*shape(0)).take_front(axis));
  auto columns = countElements(ArrayRef<int64_t>(*shape(0)).drop_front(axis));
  return rows && columns ? one(Shape{*rows, *columns}) : std::nullopt;
}

Shapes Rules::rule(GatherOp gather) const {
  auto axis = shape(0) && shape(1)
                  ? normalizeAxis(gather.getAxis(), shape(0)->size())
                  : std::nullopt;
  if (!axis)
    return std::nullopt;
  ArrayRef<int64_t> data = *shape(0);
  Shape result(data.take_front(*axis));
  result.append(shape(1)->begin(), shape(1)->end());
  llvm::append_range(result, data.drop_front(*axis + 1));
  return one(result);
}

Shapes Rules::rule(GatherElementsOp gather) const {
  if (!shape(0) || !shape(1) || shape(0)->size() != shape(1)->size())
    return std::nullopt;
  auto axis = normalizeAxis(gather.getAxis(), shape(0)->size());
  if (!axis)
    return std::nullopt;
  for (auto [d, size] : llvm::enumerate(*shape(1)))
    if (static_cast<int64_t>(d) != *axis && size > (*shape(0))[d])
      return std::nullopt;
  return one(*shape(1));
}

Shapes Rules::rule(GatherNDOp gather) const {
  if (!shape(0) || !shape(1) || shape(1)->empty())
    return std::nullopt;
  ArrayRef<int64_t> data = *shape(0), indices = *shape(1);
  auto batch = static_cast<int64_t>(gather.getBatchDims());
  int64_t depth = indices.back();
  if (batch < 0 || depth < 1 ||
      batch + depth > static_cast<int64_t>(data.size()) ||
      batch >= static_cast<int64_t>(indices.size()) ||
      data.take_front(batch) != indices.take_front(batch))
    return std::nullopt;
  Shape result(indices.drop_back());
  llvm::append_range(result, data.drop_front(batch + depth));
  return one(result);
}

Shapes Rules::rule(GemmOp gemm) const {
  if (!shape(0) || !shape(1) || shape(0)->size() != 2 || shape(1)->size() != 2)
    return std::nullopt;
  Shape a = *shape(0), b = *shape(1);
  if (gemm.getTransA())
    std::swap(a[0], a[1]);
  if (gemm.getTransB())
    std::swap(b[0], b[1]);
  Shape result{a[0], b[1]};
  return a[1] == b[0] && fits(2, result) ? one(result) : std::nullopt;
}

Shapes Rules::matMul(unsigned a, unsigned b) const {
  if (!shape(a) || !shape(b))
    return std::nullopt;
  auto geometry = getMatMulGeometry(*shape(a), *shape(b));
  return geometry ? one(geometry->result) : std::nullopt;
}

Shapes Rules::rule(OneHotOp oneHot) const {
  auto depth = ints(1);
  if (!shape(0) || !depth || depth->size() != 1 || depth->front() < 0 ||
      !isVector(2, 2))
    return std::nullopt;
  auto axis = normalizeAxis(oneHot.getAxis(), shape(0)->size() + 1);
  if (!axis)
    return std::nullopt;
  Shape result = *shape(0);
  result.insert(result.begin() + *axis, depth->front());
  return one(result);
}

Shapes Rules::rule(PadOp) const {
  auto pads = ints(1), axes = ints(3);
  if (!shape(0) || !pads || (!axes && !isOmitted(3)) || !isScalarOrOmitted(2))
    return std::nullopt;
  std::optional<ArrayRef<int64_t>> given;
  if (axes)
    given = *axes;
  auto ranges = getPadRanges(shape(0)->size(), *pads, given);
  if (!ranges)
    return std::nullopt;
  Shape result;
  for (auto [size, range] : llvm::zip(*shape(0), *ranges)) {
    result.push_back(size + range.before + range.after);
    if (result.back() < 0)
      return std::nullopt;
  }
  return one(result);
}

Shapes Rules::rule(RangeOp) const {
  double values[3];
  for (unsigned i = 0; i < 3; ++i) {
    if (operands.size() != 3 || !operands[i].value ||
        operands[i].value->getNumElements() != 1)
      return std::nullopt;
    values[i] = operands[i].value->data.front();
  }
  double count = std::ceil((values[1] - values[0]) / values[2]);
  if (!(count < static_cast<double>(kMaxElements))) // also NaN
    return std::nullopt;
  return one(Shape{std::max<int64_t>(0, static_cast<int64_t>(count))});
}

Shapes Rules::rule(ReshapeOp reshape) const {
  auto target = ints(1);
  auto count = shape(0) ? countElements(*shape(0)) : std::nullopt;
  if (!target || !count)
    return std::nullopt;
  int64_t inferred = -1;
  for (auto [i, size] : llvm::enumerate(*target)) {
    if (size == 0 && !reshape.getAllowzero()) {
      if (i >= shape(0)->size())
        return std::nullopt;
      size = (*shape(0))[i];
    } else if (size == -1) {
      if (inferred >= 0)
        return std::nullopt;
      inferred = i;
      size = 1;
    }
  }
  auto known = countElements(*target);
  if (!known)
    return std::nullopt;
  if (inferred >= 0) {
    if (*known == 0 || *count % *known != 0)
      return std::nullopt;
    (*target)[inferred] = *count / *known;
  } else if (*known != *count) {
    return std::nullopt;
  }
  return one(target);
}

Shapes Rules::rule(ScatterElementsOp scatter) const {
  // Inference from the data alone would hide what evaluation cannot do.
  if (!shape(0) || !shape(1) || !shape(2) || *shape(1) != *shape(2) ||
      shape(0)->size() != shape(1)->size())
    return std::nullopt;
  auto axis = normalizeAxis(scatter.getAxis(), shape(0)->size());
  if (!axis)
    return std::nullopt;
  for (auto [d, size] : llvm::enumerate(*shape(1)))
    if (static_cast<int64_t>(d) != *axis && size > (*shape(0))[d])
      return std::nullopt;
  return sameAsFirst();
}

Shapes Rules::rule(ScatterNDOp) const {
  if (!shape(0) || !shape(1) || !shape(2) || shape(1)->empty())
    return std::nullopt;
  ArrayRef<int64_t> data = *shape(0), indices = *shape(1);
  int64_t depth = indices.back();
  if (depth < 1 || depth > static_cast<int64_t>(data.size()))
    return std::nullopt;
  Shape updates(indices.drop_back());
  llvm::append_range(updates, data.drop_front(depth));
  return updates == *shape(2) ? sameAsFirst() : std::nullopt;
}

Shapes Rules::rule(ShapeOp shapeOp) const {
  if (!shape(0))
    return std::nullopt;
  int64_t rank = shape(0)->size();
  auto bound = [&](int64_t at) {
    return std::clamp<int64_t>(at < 0 ? at + rank : at, 0, rank);
  };
  int64_t start = bound(shapeOp.getStart());
  int64_t end = shapeOp.getEnd() ? bound(*shapeOp.getEnd()) : rank;
  return one(Shape{std::max<int64_t>(0, end - start)});
}

Shapes Rules::rule(SliceOp slice) const {
  auto starts = ints(1), ends = ints(2), axes = ints(3), steps = ints(4);
  if (!starts && !ends)
    return one(getStepSliceShape(slice));
  if (!shape(0) || !starts || !ends || (!axes && !isOmitted(3)) ||
      (!steps && !isOmitted(4)))
    return std::nullopt;
  std::optional<ArrayRef<int64_t>> givenAxes, givenSteps;
  if (axes)
    givenAxes = *axes;
  if (steps)
    givenSteps = *steps;
  auto ranges =
      getSliceRanges(*shape(0), *starts, *ends, givenAxes, givenSteps);
  if (!ranges)
    return std::nullopt;
  Shape result;
  for (const SliceRange &range : *ranges)
    result.push_back(range.size);
  return one(result);
}

Shapes Rules::rule(SplitOp split) const {
  auto axis = shape(0) ? normalizeAxis(split.getAxis(), shape(0)->size())
                       : std::nullopt;
  auto sizes = ints(1);
  if (!axis || (!sizes && !isOmitted(1)))
    return std::nullopt;
  int64_t total = (*shape(0))[*axis];
  int64_t count = split.getNumResults();
  if (!sizes) {
    // Equal parts, the last one smaller.
    if (count == 0)
      return std::nullopt;
    int64_t part = (total + count - 1) / count;
    sizes.emplace();
    for (int64_t i = 0; i < count; ++i)
      sizes->push_back(std::clamp<int64_t>(total - i * part, 0, part));
  }
  int64_t sum = 0;
  SmallVector<Shape> results;
  for (int64_t size : *sizes) {
    if (size < 0 || size > total)
      return std::nullopt;
    sum += size;
    results.push_back(*shape(0));
    results.back()[*axis] = size;
  }
  if (sum != total || static_cast<int64_t>(results.size()) != count)
    return std::nullopt;
  return results;
}

Shapes Rules::rule(SqueezeOp) const {
  auto axes = ints(1);
  if (!shape(0) || (!axes && !isOmitted(1)))
    return std::nullopt;
  if (axes) {
    axes = normalizeAxes(*axes, shape(0)->size());
    if (!axes)
      return std::nullopt;
  }
  Shape result;
  for (auto [i, size] : llvm::enumerate(*shape(0))) {
    if (axes && !llvm::is_contained(*axes, static_cast<int64_t>(i)))
      result.push_back(size);
    else if (size != 1 && axes)
      return std::nullopt;
    else if (size != 1)
      result.push_back(size);
  }
  return one(result);
}

Shapes Rules::rule(TileOp) const {
  auto repeats = ints(1);
  if (!shape(0) || !repeats || repeats->size() != shape(0)->size())
    return std::nullopt;
  Shape result;
  for (auto [size, count] : llvm::zip(*shape(0), *repeats)) {
    if (count < 0 || count > kMaxElements)
      return std::nullopt;
    result.push_back(size * count);
  }
  return one(result);
}

Shapes Rules::rule(TopKOp topK) const {
  auto k = ints(1);
  auto axis =
      shape(0) ? normalizeAxis(topK.getAxis(), shape(0)->size()) : std::nullopt;
  if (!axis || !k || k->size() != 1 || k->front() < 0 ||
      k->front() > (*shape(0))[*axis])
    return std::nullopt;
  Shape result = *shape(0);
  result[*axis] = k->front();
  return SmallVector<Shape>{result, result};
}

Shapes Rules::rule(TransposeOp transpose) const {
  auto permutation =
      shape(0) ? getPermutation(transpose, shape(0)->size()) : std::nullopt;
  if (!permutation)
    return std::nullopt;
  Shape result;
  for (int64_t axis : *permutation)
    result.push_back((*shape(0))[axis]);
  return one(result);
}

Shapes Rules::rule(UnsqueezeOp) const {
  auto axes = ints(1);
  if (!shape(0) || !axes)
    return std::nullopt;
  size_t count = axes->size();
  axes = normalizeAxes(*axes, shape(0)->size() + count);
  if (!axes || axes->size() != count)
    return std::nullopt;
  Shape result = *shape(0);
  for (int64_t axis : *axes) // ascending: each is final when inserted
    result.insert(result.begin() + axis, 1);
  return one(result);
}

Shapes Rules::apply() {
  return llvm::TypeSwitch<Operation *, Shapes>(op)
      .Case<AbsOp, BitwiseNotOp, CastOp, CastLikeOp, CeilOp, CosOp, EluOp,
            ErfOp, ExpOp, FloorOp, GeluOp, HardSigmoidOp, HardSwishOp,
            IdentityOp, IsInfOp, IsNaNOp, LeakyReluOp, LogOp,
            MeanVarianceNormalizationOp, MishOp, NegOp, NotOp, ReciprocalOp,
            ReluOp, RoundOp, SeluOp, SigmoidOp, SignOp, SinOp, SoftplusOp,
            SoftsignOp, SqrtOp, SwishOp, TanOp, TanhOp, ThresholdedReluOp>(
          [&](auto) { return sameAsFirst(); })
      .Case<AddOp, AndOp, BitShiftOp, BitwiseAndOp, BitwiseOrOp, DivOp, EqualOp,
            GreaterOp, GreaterOrEqualOp, LessOp, LessOrEqualOp, MaxOp, MeanOp,
            MinOp, ModOp, MulOp, OrOp, PowOp, SubOp, SumOp, WhereOp, XorOp>(
          [&](auto) { return broadcastAll(); })
      .Case<ReduceL1Op, ReduceL2Op, ReduceLogSumOp, ReduceLogSumExpOp,
            ReduceMaxOp, ReduceMeanOp, ReduceMinOp, ReduceProdOp, ReduceSumOp,
            ReduceSumSquareOp>([&](auto reduce) {
        return reduction(reduce.getKeepdims() != 0,
                         reduce.getNoopWithEmptyAxes() != 0);
      })
      .Case<ArgMaxOp, ArgMinOp>([&](auto arg) {
        return argument(arg.getAxis(), arg.getKeepdims() != 0);
      })
      .Case<SoftmaxOp, LogSoftmaxOp, LpNormalizationOp>(
          [&](auto op) { return alongAxis(op.getAxis()); })
      .Case<ConcatOp, ConstantOfShapeOp, CumSumOp, EinsumOp, ExpandOp,
            FlattenOp, GatherElementsOp, GatherNDOp, GatherOp, GemmOp, OneHotOp,
            PadOp, RangeOp, ReshapeOp, ScatterElementsOp, ScatterNDOp, ShapeOp,
            SliceOp, SplitOp, SqueezeOp, TileOp, TopKOp, TransposeOp,
            UnsqueezeOp>([&](auto op) { return rule(op); })
      .Case([&](BatchNormalizationOp norm) -> Shapes {
        if (!shape(0) || shape(0)->size() < 2 || norm.getTrainingMode())
          return std::nullopt;
        Shape channels{(*shape(0))[1]};
        for (unsigned i = 1; i < 5; ++i)
          if (!isVector(i, channels.front()))
            return std::nullopt;
        return SmallVector<Shape>{*shape(0), channels, channels};
      })
      .Case([&](ClipOp) {
        return isScalarOrOmitted(1) && isScalarOrOmitted(2) ? sameAsFirst()
                                                            : std::nullopt;
      })
      .Case([&](DequantizeLinearOp op) {
        return quantization(1, 2, op.getAxis(), op.getBlockSize());
      })
      .Case([&](QuantizeLinearOp op) {
        return quantization(1, 2, op.getAxis(), op.getBlockSize());
      })
      .Case([&](DropoutOp) -> Shapes {
        if (!shape(0))
          return std::nullopt;
        return SmallVector<Shape>{*shape(0), *shape(0)};
      })
      .Case([&](DynamicQuantizeLinearOp) -> Shapes {
        if (!shape(0))
          return std::nullopt;
        return SmallVector<Shape>{*shape(0), {}, {}};
      })
      .Case([&](GroupNormalizationOp norm) -> Shapes {
        auto groups = static_cast<int64_t>(norm.getNumGroups());
        return groups > 0 ? channelNormalization(groups) : std::nullopt;
      })
      .Case([&](InstanceNormalizationOp) { return channelNormalization(0); })
      .Case([&](LayerNormalizationOp norm) {
        return normalization(norm.getAxis(), true);
      })
      .Case([&](RMSNormalizationOp norm) {
        return normalization(norm.getAxis(), false);
      })
      .Case([&](MatMulOp) { return matMul(0, 1); })
      .Case([&](MatMulIntegerOp) { return matMul(0, 1); })
      .Case([&](QLinearMatMulOp) { return matMul(0, 3); })
      .Case([&](PReluOp) {
        return shape(0) && !isOmitted(1) && fits(1, *shape(0)) ? sameAsFirst()
                                                               : std::nullopt;
      })
      .Case([&](SizeOp) -> Shapes {
        return shape(0) ? one(Shape{}) : std::nullopt;
      })
      .Case([&](TriluOp) {
        return shape(0) && shape(0)->size() >= 2 && isScalarOrOmitted(1)
                   ? sameAsFirst()
                   : std::nullopt;
      })
      .Default([&](Operation *op) { return inferSequenceOp(op, operands); });
}

} // namespace

FailureOr<SmallVector<SmallVector<int64_t>>>
rwkvc::onnx::inferResultShapes(Operation *op, ArrayRef<OperandFacts> operands) {
  if (operands.size() != op->getNumOperands())
    return failure();
  Shapes shapes = Rules(op, operands).apply();
  if (!shapes)
    return failure();
  for (const Shape &shape : *shapes)
    if (!countElements(shape))
      return failure();
  return std::move(*shapes);
}
