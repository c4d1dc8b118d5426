//===- Shape.cpp - Lowering of onnx ops that move elements ----------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Support.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::lowering;

namespace {

/// Adds an op that keeps the elements in order; its result type says the shape.
template <typename OpT> void addReshape(LoweringSet &set) {
  set.add<OpT>(
      [](Lowering &b, OpT, typename OpT::Adaptor in) -> FailureOr<Value> {
        Value input = in.getOperands()[0];
        RankedTensorType type = b.resultType();
        if (tensorType(input).getNumElements() != type.getNumElements())
          return b.refuse("it makes " + Twine(type.getNumElements()) +
                          " elements of " +
                          Twine(tensorType(input).getNumElements()));
        return reshape(b, input, type.getShape());
      });
}

std::optional<int64_t> axisOf(Lowering &b, int64_t axis, int64_t rank) {
  std::optional<int64_t> normal = normalizeAxis(axis, rank);
  if (!normal)
    (void)b.refuse("axis " + Twine(axis) + " is out of range for rank " +
                   Twine(rank));
  return normal;
}

FailureOr<Value> lowerTranspose(Lowering &b, onnx::TransposeOp op,
                                onnx::TransposeOp::Adaptor in) {
  int64_t rank = tensorType(in.getData()).getRank();
  SmallVector<int64_t> perm;
  if (std::optional<ArrayRef<int64_t>> given = op.getPerm())
    perm.assign(given->begin(), given->end());
  else
    perm = llvm::to_vector(llvm::reverse(llvm::seq<int64_t>(0, rank)));
  SmallVector<bool> seen(rank);
  for (int64_t axis : perm)
    if (axis < 0 || axis >= rank || std::exchange(seen[axis], true))
      return b.refuse("perm is not a permutation of its axes");
  if (int64_t(perm.size()) != rank)
    return b.refuse("perm has " + Twine(perm.size()) + " axes for rank " +
                    Twine(rank));
  return transpose(b, in.getData(), perm);
}

FailureOr<Value> lowerConcat(Lowering &b, onnx::ConcatOp op,
                             onnx::ConcatOp::Adaptor in) {
  RankedTensorType type = b.resultType();
  std::optional<int64_t> axis = axisOf(b, op.getAxis(), type.getRank());
  if (!axis)
    return failure();
  int64_t size = 0;
  for (Value input : in.getInputs()) {
    SmallVector<int64_t> shape(tensorType(input).getShape());
    if (int64_t(shape.size()) != type.getRank())
      return b.refuse("its inputs have different ranks");
    size += shape[*axis];
    shape[*axis] = type.getDimSize(*axis);
    if (ArrayRef<int64_t>(shape) != type.getShape())
      return b.refuse("its inputs differ in more than axis " + Twine(*axis));
  }
  if (size != type.getDimSize(*axis))
    return b.refuse("its inputs do not add up to the size of the result");
  return concatenate(b, in.getInputs(), *axis, type);
}

FailureOr<SmallVector<Value>> lowerSplit(Lowering &b, onnx::SplitOp op,
                                         onnx::SplitOp::Adaptor in) {
  RankedTensorType from = tensorType(in.getInput());
  std::optional<int64_t> axis = axisOf(b, op.getAxis(), from.getRank());
  if (!axis)
    return failure();
  std::optional<SmallVector<int64_t>> sizes;
  if (!onnx::isNone(op.getSplit())) {
    sizes = getConstantInts(op.getSplit());
    if (!sizes)
      return b.refuse("its split sizes are computed while the model runs; they "
                      "must be constant");
  } else {
    int64_t parts = op.getNumResults(), total = from.getDimSize(*axis);
    int64_t each = llvm::divideCeil(total, parts);
    sizes.emplace();
    for (int64_t i = 0; i < parts; ++i, total -= each)
      sizes->push_back(std::clamp<int64_t>(total, 0, each));
  }
  if (sizes->size() != op.getNumResults())
    return b.refuse("it has " + Twine(sizes->size()) + " sizes for " +
                    Twine(op.getNumResults()) + " outputs");
  SmallVector<OpFoldResult> offsets(from.getRank(), b.getIndexAttr(0));
  SmallVector<OpFoldResult> strides(from.getRank(), b.getIndexAttr(1));
  SmallVector<Value> results;
  int64_t offset = 0;
  for (int64_t size : *sizes) {
    SmallVector<int64_t> shape(from.getShape());
    shape[*axis] = size;
    if (size < 0 || offset + size > from.getDimSize(*axis))
      return b.refuse("its split sizes do not fit axis " + Twine(*axis));
    offsets[*axis] = b.getIndexAttr(offset);
    offset += size;
    auto part = RankedTensorType::get(shape, from.getElementType());
    results.push_back(part.getNumElements() == 0
                          ? emptyTensor(b, part)
                          : tensor::ExtractSliceOp::create(
                                b, part, in.getInput(), offsets,
                                getAsIndexOpFoldResult(b.getContext(), shape),
                                strides)
                                .getResult());
  }
  return results;
}

/// Whether \p op ends \p size behind its start, wherever that is.
bool hasSize(onnx::SliceOp op, int64_t size) {
  auto sum = onnx::skipShapeViews(op.getEnds()).getDefiningOp<onnx::AddOp>();
  if (!sum)
    return false;
  Value start = onnx::skipShapeViews(op.getStarts());
  for (auto [from, by] :
       {std::pair(sum.getA(), sum.getB()), std::pair(sum.getB(), sum.getA())})
    if (auto number = getConstantInts(onnx::skipShapeViews(by));
        onnx::skipShapeViews(from) == start && number && number->size() == 1 &&
        number->front() == size)
      return true;
  return false;
}

/// A slice along one axis from a computed start. Its size is known by its type;
/// a start that leaves no room for it, which no valid run has, is moved.
FailureOr<Value> lowerSliceFrom(Lowering &b, onnx::SliceOp op,
                                onnx::SliceOp::Adaptor in, int64_t axis) {
  RankedTensorType from = tensorType(in.getData()), type = b.resultType();
  SmallVector<int64_t> shape(from.getShape());
  shape[axis] = type.getRank() == from.getRank() ? type.getDimSize(axis) : -1;
  if (ArrayRef(shape) != type.getShape() || shape[axis] > from.getDimSize(axis))
    return b.refuse("its result does not fit its operand");
  int64_t room = from.getDimSize(axis) - shape[axis];
  Value start = arith::IndexCastOp::create(
      b, b.getIndexType(),
      tensor::ExtractOp::create(b, reshape(b, in.getStarts(), {}),
                                ValueRange{}));
  Arith a{b};
  Value zero = indexConstant(b, 0);
  start =
      a.select(a.compare(Arith::Less, start, zero),
               a.add(start, indexConstant(b, from.getDimSize(axis))), start);
  start = a.max(a.min(start, indexConstant(b, room)), zero);
  SmallVector<OpFoldResult> offsets(from.getRank(), b.getIndexAttr(0));
  offsets[axis] = start;
  SmallVector<OpFoldResult> strides(from.getRank(), b.getIndexAttr(1));
  return tensor::ExtractSliceOp::create(
             b, type, in.getData(), offsets,
             getAsIndexOpFoldResult(b.getContext(), shape), strides)
      .getResult();
}

FailureOr<Value> lowerSlice(Lowering &b, onnx::SliceOp op,
                            onnx::SliceOp::Adaptor in) {
  RankedTensorType from = tensorType(in.getData()), type = b.resultType();
  int64_t rank = from.getRank();
  auto starts = getConstantInts(op.getStarts());
  auto ends = getConstantInts(op.getEnds());
  if (!starts && !ends && tensorType(in.getStarts()).getNumElements() == 1) {
    auto axes = onnx::isNone(op.getAxes())
                    ? std::optional(SmallVector<int64_t>{0})
                    : getConstantInts(op.getAxes());
    auto by = onnx::isNone(op.getSteps()) ? std::optional<double>(1)
                                          : getConstantNumber(op.getSteps());
    auto axis = axes && axes->size() == 1 ? normalizeAxis(axes->front(), rank)
                                          : std::nullopt;
    if (axis && by == 1.0 && *axis < type.getRank() &&
        hasSize(op, type.getDimSize(*axis)))
      return lowerSliceFrom(b, op, in, *axis);
  }
  std::optional<SmallVector<int64_t>> axes, steps;
  if (!onnx::isNone(op.getAxes()))
    axes = getConstantInts(op.getAxes());
  else if (starts)
    axes = llvm::to_vector(llvm::seq<int64_t>(0, starts->size()));
  if (!onnx::isNone(op.getSteps()))
    steps = getConstantInts(op.getSteps());
  else if (starts)
    steps = SmallVector<int64_t>(starts->size(), 1);
  if (!starts || !ends || !axes || !steps)
    return b.refuse("its starts, ends, axes or steps are computed while the "
                    "model runs; they must be constant");
  if (ends->size() != starts->size() || axes->size() != starts->size() ||
      steps->size() != starts->size())
    return b.refuse("its starts, ends, axes and steps differ in length");
  SmallVector<int64_t> first(rank, 0), step(rank, 1), shape(from.getShape());
  bool backwards = false;
  for (size_t i = 0; i < starts->size(); ++i) {
    std::optional<int64_t> axis = axisOf(b, (*axes)[i], rank);
    if (!axis)
      return failure();
    int64_t size = from.getDimSize(*axis), by = (*steps)[i];
    if (by == 0)
      return b.refuse("a step is 0");
    auto bound = [&](int64_t value, int64_t low, int64_t high) {
      return std::clamp(value < 0 ? value + size : value, low, high);
    };
    int64_t begin, end;
    if (by > 0) {
      begin = bound((*starts)[i], 0, size);
      end = bound((*ends)[i], 0, size);
      shape[*axis] = end > begin ? (end - begin - 1) / by + 1 : 0;
      // A step past the end selects one element like any other.
      by = std::min(by, std::max<int64_t>(size, 1));
    } else {
      backwards = true;
      begin = bound((*starts)[i], 0, std::max<int64_t>(size - 1, 0));
      end = bound((*ends)[i], -1, size - 1);
      by = std::max(by, -std::max<int64_t>(size, 1));
      shape[*axis] = begin > end ? (begin - end - 1) / -by + 1 : 0;
    }
    first[*axis] = begin;
    step[*axis] = by;
  }
  if (ArrayRef<int64_t>(shape) != type.getShape())
    return b.refuse("its bounds do not give the shape of the result");
  if (type.getNumElements() == 0)
    return emptyTensor(b, type);
  if (shape == from.getShape() && !backwards)
    return in.getData();
  if (!backwards)
    return tensor::ExtractSliceOp::create(
               b, type, in.getData(),
               getAsIndexOpFoldResult(b.getContext(), first),
               getAsIndexOpFoldResult(b.getContext(), shape),
               getAsIndexOpFoldResult(b.getContext(), step))
        .getResult();
  return generate(
      b, type, [&](ImplicitLocOpBuilder &b, ValueRange at) -> Value {
        SmallVector<Value> indices;
        for (auto [index, begin, by] : llvm::zip_equal(at, first, step)) {
          Value scaled = arith::MulIOp::create(b, index, indexConstant(b, by));
          indices.push_back(
              arith::AddIOp::create(b, scaled, indexConstant(b, begin)));
        }
        return tensor::ExtractOp::create(b, in.getData(), indices);
      });
}

/// Where padding in \p mode takes the element of position \p index - \p before
/// from, along an axis of \p size.
Value paddedIndex(ImplicitLocOpBuilder &b, Value index, int64_t before,
                  int64_t size, StringRef mode) {
  Arith a{b};
  Value at = a.sub(index, indexConstant(b, before));
  Value zero = indexConstant(b, 0), last = indexConstant(b, size - 1);
  if (mode == "edge")
    return a.min(a.max(at, zero), last);
  int64_t period = mode == "wrap" ? size : std::max<int64_t>(2 * (size - 1), 1);
  Value modulus = indexConstant(b, period);
  Value rest = arith::RemSIOp::create(b, at, modulus);
  rest =
      a.select(a.compare(Arith::Less, rest, zero), a.add(rest, modulus), rest);
  if (mode == "wrap")
    return rest;
  return a.select(a.compare(Arith::Greater, rest, last), a.sub(modulus, rest),
                  rest);
}

FailureOr<Value> lowerPad(Lowering &b, onnx::PadOp op,
                          onnx::PadOp::Adaptor in) {
  RankedTensorType from = tensorType(in.getData()), type = b.resultType();
  int64_t rank = from.getRank();
  auto pads = getConstantInts(op.getPads());
  std::optional<SmallVector<int64_t>> axes;
  if (onnx::isNone(op.getAxes()))
    axes = llvm::to_vector(llvm::seq<int64_t>(0, rank));
  else
    axes = getConstantInts(op.getAxes());
  if (!pads || !axes)
    return b.refuse("its pads or axes are computed while the model runs; they "
                    "must be constant");
  if (pads->size() != 2 * axes->size())
    return b.refuse("it has " + Twine(pads->size()) + " pads for " +
                    Twine(axes->size()) + " axes");
  SmallVector<int64_t> before(rank, 0), after(rank, 0);
  for (size_t i = 0; i < axes->size(); ++i) {
    std::optional<int64_t> axis = axisOf(b, (*axes)[i], rank);
    if (!axis)
      return failure();
    before[*axis] = (*pads)[i];
    after[*axis] = (*pads)[axes->size() + i];
  }
  for (int64_t i = 0; i < rank; ++i)
    if (before[i] + from.getDimSize(i) + after[i] != type.getDimSize(i))
      return b.refuse("its pads do not give the shape of the result");
  if (type.getNumElements() == 0)
    return emptyTensor(b, type);
  StringRef mode = op.getMode();
  if (mode == "edge" || mode == "reflect" || mode == "wrap") {
    if (from.getNumElements() == 0)
      return b.refuse("there is no element to pad with");
    return generate(
        b, type, [&](ImplicitLocOpBuilder &b, ValueRange at) -> Value {
          SmallVector<Value> indices;
          for (auto [axis, index] : llvm::enumerate(at))
            indices.push_back(before[axis] == 0 && after[axis] == 0
                                  ? index
                                  : paddedIndex(b, index, before[axis],
                                                from.getDimSize(axis), mode));
          return tensor::ExtractOp::create(b, in.getData(), indices);
        });
  }
  if (mode != "constant")
    return b.refuse("mode '" + mode +
                    "' is unknown; constant, edge, reflect and wrap are known");
  Type element = type.getElementType();
  Value filler = constant(b, element, 0);
  if (!onnx::isNone(op.getConstantValue())) {
    if (tensorType(in.getConstantValue()).getNumElements() != 1)
      return b.refuse("its constant value is no scalar");
    filler = tensor::ExtractOp::create(b, reshape(b, in.getConstantValue(), {}),
                                       ValueRange{});
  }
  // A negative pad cuts.
  SmallVector<int64_t> source(rank), target(rank), shape(rank);
  for (int64_t i = 0; i < rank; ++i) {
    source[i] = std::max<int64_t>(-before[i], 0);
    target[i] = std::max<int64_t>(before[i], 0);
    shape[i] = from.getDimSize(i) + std::min<int64_t>(before[i], 0) +
               std::min<int64_t>(after[i], 0);
  }
  Value result = filledTensor(b, type, filler);
  if (llvm::any_of(shape, [](int64_t size) { return size <= 0; }))
    return result;
  SmallVector<OpFoldResult> strides(rank, b.getIndexAttr(1));
  SmallVector<OpFoldResult> sizes =
      getAsIndexOpFoldResult(b.getContext(), shape);
  Value part = in.getData();
  if (shape != from.getShape())
    part = tensor::ExtractSliceOp::create(
        b, RankedTensorType::get(shape, element), part,
        getAsIndexOpFoldResult(b.getContext(), source), sizes, strides);
  return tensor::InsertSliceOp::create(
             b, part, result, getAsIndexOpFoldResult(b.getContext(), target),
             sizes, strides)
      .getResult();
}

FailureOr<Value> lowerTile(Lowering &b, onnx::TileOp op,
                           onnx::TileOp::Adaptor in) {
  RankedTensorType from = tensorType(in.getInput()), type = b.resultType();
  if (type.getNumElements() == 0)
    return emptyTensor(b, type);
  SmallVector<int64_t> split, repeated;
  for (auto [size, total] : llvm::zip_equal(from.getShape(), type.getShape())) {
    if (total % size != 0)
      return b.refuse("a size of the result is no multiple of the input's");
    split.append({1, size});
    repeated.append({total / size, size});
  }
  Value parts = reshape(b, in.getInput(), split);
  return reshape(b, broadcastTo(b, parts, repeated), type.getShape());
}

FailureOr<Value> lowerDepthToSpace(Lowering &b, onnx::DepthToSpaceOp op,
                                   onnx::DepthToSpaceOp::Adaptor in) {
  RankedTensorType from = tensorType(in.getInput()), type = b.resultType();
  int64_t block = op.getBlocksize();
  if (from.getRank() != 4 || block < 1 ||
      from.getDimSize(1) % (block * block) != 0)
    return b.refuse("it needs rank 4 and channels that the block divides");
  int64_t n = from.getDimSize(0), c = from.getDimSize(1) / (block * block);
  int64_t h = from.getDimSize(2), w = from.getDimSize(3);
  bool depthFirst = op.getMode() == "DCR";
  Value x = depthFirst ? reshape(b, in.getInput(), {n, block, block, c, h, w})
                       : reshape(b, in.getInput(), {n, c, block, block, h, w});
  x = depthFirst ? transpose(b, x, {0, 3, 4, 1, 5, 2})
                 : transpose(b, x, {0, 1, 4, 2, 5, 3});
  return reshape(b, x, type.getShape());
}

FailureOr<Value> lowerSpaceToDepth(Lowering &b, onnx::SpaceToDepthOp op,
                                   onnx::SpaceToDepthOp::Adaptor in) {
  RankedTensorType from = tensorType(in.getInput()), type = b.resultType();
  int64_t block = op.getBlocksize();
  if (from.getRank() != 4 || block < 1 || from.getDimSize(2) % block != 0 ||
      from.getDimSize(3) % block != 0)
    return b.refuse("it needs rank 4 and sizes that the block divides");
  Value x = reshape(b, in.getInput(),
                    {from.getDimSize(0), from.getDimSize(1),
                     from.getDimSize(2) / block, block,
                     from.getDimSize(3) / block, block});
  x = op.getMode() == "DCR" ? transpose(b, x, {0, 3, 5, 1, 2, 4})
                            : transpose(b, x, {0, 1, 3, 5, 2, 4});
  return reshape(b, x, type.getShape());
}

FailureOr<Value> lowerTrilu(Lowering &b, onnx::TriluOp op,
                            onnx::TriluOp::Adaptor in) {
  RankedTensorType type = b.resultType();
  int64_t rank = type.getRank();
  if (rank < 2)
    return b.refuse("it needs rank 2 or more");
  Value diagonal = constant(b, b.getI64Type(), 0);
  if (!onnx::isNone(op.getK())) {
    if (tensorType(in.getK()).getNumElements() != 1)
      return b.refuse("k is no scalar");
    diagonal =
        tensor::ExtractOp::create(b, reshape(b, in.getK(), {}), ValueRange{});
  }
  diagonal = arith::IndexCastOp::create(b, b.getIndexType(), diagonal);
  return elementwise(
      b, in.getInput(), type, [&](ImplicitLocOpBuilder &b, ValueRange x) {
        Arith a{b};
        Value row = linalg::IndexOp::create(b, rank - 2);
        Value column = linalg::IndexOp::create(b, rank - 1);
        Value kept = a.compare(op.getUpper() ? Arith::GreaterOrEqual
                                             : Arith::LessOrEqual,
                               a.sub(column, row), diagonal);
        return a.select(kept, x[0], a.constant(x[0], 0));
      });
}

FailureOr<Value> lowerRange(Lowering &b, onnx::RangeOp op,
                            onnx::RangeOp::Adaptor in) {
  RankedTensorType type = b.resultType();
  Type element = type.getElementType();
  for (Value value : in.getOperands())
    if (tensorType(value).getNumElements() != 1)
      return b.refuse("its operands must be scalars");
  Type compute = computeType(element);
  return elementwise(
      b, {reshape(b, in.getStart(), {}), reshape(b, in.getDelta(), {})}, type,
      [&](ImplicitLocOpBuilder &b, ValueRange x) {
        Arith a{b};
        Value step = arith::IndexCastOp::create(b, b.getI64Type(),
                                                linalg::IndexOp::create(b, 0));
        step = castScalar(b, step, compute, false, false);
        Value start = castScalar(b, x[0], compute, false, false);
        Value delta = castScalar(b, x[1], compute, false, false);
        return castScalar(b, a.add(start, a.mul(step, delta)), element, false,
                          false);
      });
}

Value intsConstant(Lowering &b, ArrayRef<int64_t> values) {
  return arith::ConstantOp::create(
      b, DenseIntElementsAttr::get(b.resultType(), values));
}

FailureOr<Value> lowerConstantOfShape(Lowering &b, onnx::ConstantOfShapeOp op,
                                      onnx::ConstantOfShapeOp::Adaptor) {
  RankedTensorType type = b.resultType();
  Type element = type.getElementType();
  if (!op.getValue())
    return filledTensor(b, type, constant(b, element, 0));
  auto value = dyn_cast<DenseElementsAttr>(*op.getValue());
  if (!value || value.getNumElements() != 1)
    return b.refuse("its value must be one number");
  TypedAttr scalar;
  if (isa<FloatType>(element))
    scalar = b.getFloatAttr(element, *value.value_begin<APFloat>());
  else
    scalar = b.getIntegerAttr(element, *value.value_begin<APInt>());
  return filledTensor(b, type, arith::ConstantOp::create(b, scalar));
}

FailureOr<SmallVector<Value>> lowerDropout(Lowering &b, onnx::DropoutOp op,
                                           onnx::DropoutOp::Adaptor in) {
  if (!onnx::isNone(op.getTrainingMode())) {
    std::optional<SmallVector<int64_t>> mode =
        getConstantInts(op.getTrainingMode());
    std::optional<double> ratio;
    if (!onnx::isNone(op.getRatio()))
      ratio = getConstantNumber(op.getRatio());
    if (!(mode && mode->size() == 1 && mode->front() == 0) && ratio != 0.0)
      return b.refuse("it is in training mode; export the model for inference");
  }
  Value mask;
  if (!op.getMask().use_empty())
    mask = filledTensor(b, b.resultType(1), constant(b, b.getI1Type(), 1));
  return SmallVector<Value>{in.getData(), mask};
}

} // namespace

void lowering::addShapeLowerings(LoweringSet &set) {
  addReshape<onnx::FlattenOp>(set);
  addReshape<onnx::ReshapeOp>(set);
  addReshape<onnx::SqueezeOp>(set);
  addReshape<onnx::UnsqueezeOp>(set);
  set.add<onnx::IdentityOp>(
      [](Lowering &, onnx::IdentityOp, onnx::IdentityOp::Adaptor in) {
        return in.getInput();
      });
  set.add<onnx::ExpandOp>([](Lowering &b, onnx::ExpandOp,
                             onnx::ExpandOp::Adaptor in) -> FailureOr<Value> {
    if (failed(b.checkBroadcast(in.getInput(), b.resultType())))
      return failure();
    return broadcastTo(b, in.getInput(), b.resultType().getShape());
  });
  set.add<onnx::SizeOp>(
      [](Lowering &b, onnx::SizeOp, onnx::SizeOp::Adaptor in) {
        return intsConstant(b, tensorType(in.getData()).getNumElements());
      });
  set.add<onnx::ShapeOp>(
      [](Lowering &b, onnx::ShapeOp op, onnx::ShapeOp::Adaptor in) {
        ArrayRef<int64_t> shape = tensorType(in.getData()).getShape();
        int64_t rank = shape.size();
        auto bound = [&](int64_t at) {
          return std::clamp<int64_t>(at < 0 ? at + rank : at, 0, rank);
        };
        int64_t begin = bound(op.getStart());
        int64_t end = std::max(begin, bound(op.getEnd().value_or(rank)));
        return intsConstant(b, shape.slice(begin, end - begin));
      });
  set.add<onnx::ConcatOp>(lowerConcat);
  set.add<onnx::ConstantOfShapeOp>(lowerConstantOfShape);
  set.add<onnx::DepthToSpaceOp>(lowerDepthToSpace);
  set.add<onnx::DropoutOp>(lowerDropout);
  set.add<onnx::PadOp>(lowerPad);
  set.add<onnx::RangeOp>(lowerRange);
  set.add<onnx::SliceOp>(lowerSlice);
  set.add<onnx::SpaceToDepthOp>(lowerSpaceToDepth);
  set.add<onnx::SplitOp>(lowerSplit);
  set.add<onnx::TileOp>(lowerTile);
  set.add<onnx::TransposeOp>(lowerTranspose);
  set.add<onnx::TriluOp>(lowerTrilu);
}
