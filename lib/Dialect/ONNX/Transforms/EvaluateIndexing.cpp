//===- EvaluateIndexing.cpp - Evaluation of gathers and scatters ----------===//
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

/// Indices into an axis of \p size; negative ones count from the end.
std::optional<Shape> getIndices(const HostTensor &tensor, int64_t size) {
  auto indices = getIntegers(&tensor);
  if (!indices)
    return std::nullopt;
  for (int64_t &index : *indices) {
    auto normal = normalizeAxis(index, size);
    if (!normal)
      return std::nullopt;
    index = *normal;
  }
  return indices;
}

LogicalResult evaluateGather(GatherOp op, Evaluation &e) {
  const HostTensor &data = e.in(0);
  AxisView view =
      viewAxis(data.shape, *normalizeAxis(op.getAxis(), data.getRank()));
  auto indices = getIndices(e.in(1), view.size);
  if (!indices)
    return failure();
  auto target = e.out().data.begin();
  for (int64_t o = 0; o < view.outer; ++o)
    for (int64_t index : *indices)
      target =
          std::copy_n(data.data.begin() + (o * view.size + index) * view.inner,
                      view.inner, target);
  return success();
}

/// For each element of \p indices its offset in \p data: its own index with the
/// one along \p axis replaced.
std::optional<Shape> getElementOffsets(const HostTensor &data,
                                       const HostTensor &indices,
                                       int64_t axis) {
  auto values = getIndices(indices, data.shape[axis]);
  if (!values)
    return std::nullopt;
  Shape strides = getStrides(data.shape);
  int64_t axisStride = strides[axis];
  strides[axis] = 0;
  forEachIndex(indices.shape, strides,
               [&](int64_t i, ArrayRef<int64_t> offsets) {
                 (*values)[i] = offsets[0] + (*values)[i] * axisStride;
               });
  return values;
}

LogicalResult evaluateGatherElements(GatherElementsOp op, Evaluation &e) {
  auto offsets = getElementOffsets(
      e.in(0), e.in(1), *normalizeAxis(op.getAxis(), e.in(0).getRank()));
  if (!offsets)
    return failure();
  for (auto [value, offset] : llvm::zip(e.out().data, *offsets))
    value = e.in(0).data[offset];
  return success();
}

/// The offset in a tensor of shape \p shape of each index tuple, which are the
/// rows of \p indices.
std::optional<Shape> getTupleOffsets(ArrayRef<int64_t> shape,
                                     const HostTensor &indices) {
  int64_t depth = indices.shape.back();
  auto values = getIntegers(&indices);
  if (!values)
    return std::nullopt;
  Shape strides = getStrides(shape), offsets;
  for (size_t i = 0; i < values->size(); i += depth) {
    int64_t offset = 0;
    for (int64_t d = 0; d < depth; ++d) {
      auto index = normalizeAxis((*values)[i + d], shape[d]);
      if (!index)
        return std::nullopt;
      offset += *index * strides[d];
    }
    offsets.push_back(offset);
  }
  return offsets;
}

/// Elements behind each index tuple of length \p depth.
int64_t getSliceSize(ArrayRef<int64_t> shape, int64_t depth) {
  return *countElements(shape.drop_front(depth));
}

LogicalResult evaluateGatherND(GatherNDOp op, Evaluation &e) {
  const HostTensor &data = e.in(0), &indices = e.in(1);
  auto batchDims = static_cast<int64_t>(op.getBatchDims());
  ArrayRef<int64_t> inner = ArrayRef<int64_t>(data.shape).drop_front(batchDims);
  auto offsets = getTupleOffsets(inner, indices);
  if (!offsets)
    return failure();
  int64_t slice = getSliceSize(inner, indices.shape.back());
  int64_t batches =
      *countElements(ArrayRef<int64_t>(data.shape).take_front(batchDims));
  int64_t batchSize = *countElements(inner);
  int64_t perBatch = batches == 0 ? 0 : offsets->size() / batches;
  auto target = e.out().data.begin();
  for (auto [i, offset] : llvm::enumerate(*offsets))
    target = std::copy_n(
        data.data.begin() + (i / perBatch) * batchSize + offset, slice, target);
  return success();
}

using Combine = double (*)(double, double);

/// What a Scatter's `reduction` does with the old and the new value.
Combine getCombine(StringRef reduction) {
  if (reduction == "none")
    return [](double, double update) { return update; };
  if (reduction == "add")
    return [](double old, double update) { return old + update; };
  if (reduction == "mul")
    return [](double old, double update) { return old * update; };
  if (reduction == "max")
    return [](double old, double update) { return std::fmax(old, update); };
  if (reduction == "min")
    return [](double old, double update) { return std::fmin(old, update); };
  return nullptr;
}

LogicalResult evaluateScatterElements(ScatterElementsOp op, Evaluation &e) {
  Combine combine = getCombine(op.getReduction());
  auto offsets = getElementOffsets(
      e.in(0), e.in(1), *normalizeAxis(op.getAxis(), e.in(0).getRank()));
  if (!combine || !offsets)
    return failure();
  e.out().data = e.in(0).data;
  for (auto [offset, update] : llvm::zip(*offsets, e.in(2).data))
    e.out().data[offset] = combine(e.out().data[offset], update);
  return success();
}

LogicalResult evaluateScatterND(ScatterNDOp op, Evaluation &e) {
  const HostTensor &data = e.in(0), &indices = e.in(1);
  Combine combine = getCombine(op.getReduction());
  auto offsets = getTupleOffsets(data.shape, indices);
  if (!combine || !offsets)
    return failure();
  int64_t slice = getSliceSize(data.shape, indices.shape.back());
  e.out().data = data.data;
  const double *update = e.in(2).data.data();
  for (int64_t offset : *offsets)
    for (int64_t i = 0; i < slice; ++i, ++update)
      e.out().data[offset + i] = combine(e.out().data[offset + i], *update);
  return success();
}

LogicalResult evaluateOneHot(OneHotOp op, Evaluation &e) {
  AxisView view =
      viewAxis(e.out().shape, *normalizeAxis(op.getAxis(), e.out().getRank()));
  double off = e.in(2).data[0], on = e.in(2).data[1];
  std::fill(e.out().data.begin(), e.out().data.end(), off);
  for (int64_t o = 0; o < view.outer; ++o)
    for (int64_t i = 0; i < view.inner; ++i) {
      double value = std::trunc(e.in(0).data[o * view.inner + i]);
      if (value < 0.0)
        value += static_cast<double>(view.size);
      // What is outside stays off.
      if (value >= 0.0 && value < static_cast<double>(view.size))
        e.out()
            .data[(o * view.size + static_cast<int64_t>(value)) * view.inner +
                  i] = on;
    }
  return success();
}

LogicalResult evaluateTrilu(TriluOp op, Evaluation &e) {
  const HostTensor &in = e.in(0), *k = e.getOptional(1);
  double diagonal = k ? k->data.front() : 0.0;
  int64_t columns = in.shape.back(), rows = in.shape[in.getRank() - 2];
  bool isUpper = op.getUpper() != 0;
  for (int64_t i = 0, n = in.getNumElements(); i < n; ++i) {
    auto row = static_cast<double>(i / columns % rows);
    auto column = static_cast<double>(i % columns);
    bool isKept = isUpper ? column >= row + diagonal : column <= row + diagonal;
    e.out().data[i] = isKept ? in.data[i] : 0.0;
  }
  return success();
}

} // namespace

void evaluation::addIndexingEvaluations(EvaluationTable &table) {
  table.add<GatherOp>(evaluateGather);
  table.add<GatherElementsOp>(evaluateGatherElements);
  table.add<GatherNDOp>(evaluateGatherND);
  table.add<OneHotOp>(evaluateOneHot);
  table.add<ScatterElementsOp>(evaluateScatterElements);
  table.add<ScatterNDOp>(evaluateScatterND);
  table.add<TriluOp>(evaluateTrilu);
}
