//===- EvaluateMovement.cpp - Evaluation of ops that move data ------------===//
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

LogicalResult copyData(Evaluation &e) {
  e.out().data = e.in(0).data;
  return success();
}

/// out[i] = in[base + i . strides].
void copyStrided(const HostTensor &in, int64_t base, const Shape &strides,
                 HostTensor &out) {
  forEachIndex(out.shape, strides, [&](int64_t i, ArrayRef<int64_t> offsets) {
    out.data[i] = in.data[base + offsets[0]];
  });
}

LogicalResult evaluateTranspose(TransposeOp op, Evaluation &e) {
  Shape own = getStrides(e.in(0).shape), strides;
  Shape permutation = *getPermutation(op, e.in(0).getRank());
  for (int64_t axis : permutation)
    strides.push_back(own[axis]);
  copyStrided(e.in(0), 0, strides, e.out());
  return success();
}

LogicalResult evaluateExpand(ExpandOp, Evaluation &e) {
  copyStrided(e.in(0), 0, getBroadcastStrides(e.in(0).shape, e.out().shape),
              e.out());
  return success();
}

LogicalResult evaluateConcat(ConcatOp op, Evaluation &e) {
  int64_t axis = *normalizeAxis(op.getAxis(), e.out().getRank());
  AxisView whole = viewAxis(e.out().shape, axis);
  int64_t position = 0;
  for (const HostTensor *input : e.inputs) {
    int64_t block = input->shape[axis] * whole.inner;
    for (int64_t o = 0; o < whole.outer; ++o)
      std::copy_n(input->data.begin() + o * block, block,
                  e.out().data.begin() + o * whole.size * whole.inner +
                      position * whole.inner);
    position += input->shape[axis];
  }
  return success();
}

LogicalResult evaluateSplit(SplitOp op, Evaluation &e) {
  int64_t axis = *normalizeAxis(op.getAxis(), e.in(0).getRank());
  AxisView whole = viewAxis(e.in(0).shape, axis);
  int64_t position = 0;
  for (HostTensor &output : e.outputs) {
    int64_t block = output.shape[axis] * whole.inner;
    for (int64_t o = 0; o < whole.outer; ++o)
      std::copy_n(e.in(0).data.begin() + o * whole.size * whole.inner +
                      position * whole.inner,
                  block, output.data.begin() + o * block);
    position += output.shape[axis];
  }
  return success();
}

std::optional<Shape> optionalIntegers(const Evaluation &e, unsigned i) {
  return getIntegers(e.getOptional(i));
}

LogicalResult evaluateSlice(SliceOp, Evaluation &e) {
  auto axes = optionalIntegers(e, 3), steps = optionalIntegers(e, 4);
  std::optional<ArrayRef<int64_t>> givenAxes, givenSteps;
  if (axes)
    givenAxes = *axes;
  if (steps)
    givenSteps = *steps;
  auto ranges = getSliceRanges(e.in(0).shape, *getIntegers(&e.in(1)),
                               *getIntegers(&e.in(2)), givenAxes, givenSteps);
  Shape own = getStrides(e.in(0).shape), strides;
  int64_t base = 0;
  for (auto [range, stride] : llvm::zip(*ranges, own)) {
    base += range.start * stride;
    // A long step over one element must not overflow.
    strides.push_back(range.size > 1 ? range.step * stride : 0);
  }
  copyStrided(e.in(0), base, strides, e.out());
  return success();
}

/// Index into an axis of \p size for an index that may lie outside, or -1.
int64_t reflectIndex(StringRef mode, int64_t index, int64_t size) {
  if (index >= 0 && index < size)
    return index;
  if (mode == "edge" && size > 0)
    return std::clamp<int64_t>(index, 0, size - 1);
  if (mode == "wrap" && size > 0)
    return ((index % size) + size) % size;
  if (mode == "reflect" && size > 1) {
    int64_t period = 2 * (size - 1);
    int64_t folded = ((index % period) + period) % period;
    return std::min(folded, period - folded);
  }
  return -1;
}

LogicalResult evaluatePad(PadOp op, Evaluation &e) {
  auto axes = optionalIntegers(e, 3);
  std::optional<ArrayRef<int64_t>> given;
  if (axes)
    given = *axes;
  const HostTensor &in = e.in(0);
  auto ranges = *getPadRanges(in.getRank(), *getIntegers(&e.in(1)), given);
  StringRef mode = op.getMode();
  bool isConstant = mode == "constant";
  if (!isConstant && mode != "edge" && mode != "wrap" && mode != "reflect")
    return failure();
  const HostTensor *fill = e.getOptional(2);
  Shape own = getStrides(in.shape), outStrides = getStrides(e.out().shape);
  for (int64_t i = 0, n = e.out().getNumElements(); i < n; ++i) {
    int64_t rest = i, offset = 0;
    bool isInside = true;
    for (int64_t axis = 0; axis < in.getRank() && isInside; ++axis) {
      int64_t index = rest / outStrides[axis] - ranges[axis].before;
      rest %= outStrides[axis];
      index = reflectIndex(mode, index, in.shape[axis]);
      isInside = index >= 0;
      offset += index * own[axis];
    }
    if (!isInside && !isConstant)
      return failure();
    e.out().data[i] = isInside ? in.data[offset]
                      : fill   ? fill->data.front()
                               : 0.0;
  }
  return success();
}

LogicalResult evaluateTile(TileOp, Evaluation &e) {
  const HostTensor &in = e.in(0);
  // Seen as [repeats, size] per axis, a tile is a broadcast.
  Shape shape, strides, own = getStrides(in.shape);
  for (auto [size, total, stride] : llvm::zip(in.shape, e.out().shape, own)) {
    shape.append({size == 0 ? 0 : total / size, size});
    strides.append({0, stride});
  }
  forEachIndex(shape, strides, [&](int64_t i, ArrayRef<int64_t> offsets) {
    e.out().data[i] = in.data[offsets[0]];
  });
  return success();
}

LogicalResult evaluateDropout(DropoutOp, Evaluation &e) {
  const HostTensor *training = e.getOptional(2);
  if (training && (training->data.empty() || training->data.front() != 0.0))
    return failure(); // random
  std::fill(e.out(1).data.begin(), e.out(1).data.end(), 1.0);
  return copyData(e);
}

LogicalResult evaluateShape(ShapeOp op, Evaluation &e) {
  int64_t rank = e.in(0).getRank();
  auto start = static_cast<int64_t>(op.getStart());
  start = std::clamp<int64_t>(start < 0 ? start + rank : start, 0, rank);
  for (auto [i, size] : llvm::enumerate(e.out().data))
    size = static_cast<double>(e.in(0).shape[start + i]);
  return success();
}

LogicalResult evaluateConstantOfShape(ConstantOfShapeOp op, Evaluation &e) {
  double value = 0.0;
  if (ElementsAttr attr = op.getValueAttr()) {
    FailureOr<HostTensor> tensor = readElements(attr);
    if (failed(tensor) || tensor->getNumElements() != 1)
      return failure();
    value = tensor->data.front();
  }
  std::fill(e.out().data.begin(), e.out().data.end(), value);
  return success();
}

LogicalResult evaluateRange(RangeOp, Evaluation &e) {
  double start = e.in(0).data.front(), step = e.in(2).data.front();
  for (auto [i, value] : llvm::enumerate(e.out().data))
    value = start + static_cast<double>(i) * step;
  return success();
}

template <typename... OpTys> void copies(EvaluationTable &table) {
  (table.add<OpTys>([](OpTys, Evaluation &e) { return copyData(e); }), ...);
}

} // namespace

void evaluation::addMovementEvaluations(EvaluationTable &table) {
  copies<FlattenOp, IdentityOp, ReshapeOp, SqueezeOp, UnsqueezeOp>(table);
  table.add<ConcatOp>(evaluateConcat);
  table.add<ConstantOfShapeOp>(evaluateConstantOfShape);
  table.add<DropoutOp>(evaluateDropout);
  table.add<ExpandOp>(evaluateExpand);
  table.add<PadOp>(evaluatePad);
  table.add<RangeOp>(evaluateRange);
  table.add<ShapeOp>(evaluateShape);
  table.add<SizeOp>([](SizeOp, Evaluation &e) {
    e.out().data.front() = static_cast<double>(e.in(0).getNumElements());
    return success();
  });
  table.add<SliceOp>(evaluateSlice);
  table.add<SplitOp>(evaluateSplit);
  table.add<TileOp>(evaluateTile);
  table.add<TransposeOp>(evaluateTranspose);
}
