//===- Geometry.cpp - Shapes, axes and strides ----------------------------===//
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

std::optional<int64_t> evaluation::countElements(ArrayRef<int64_t> shape) {
  int64_t count = 1;
  // A zero anywhere makes the others irrelevant, but they must be sizes.
  bool isEmpty = false;
  for (int64_t size : shape) {
    if (size < 0)
      return std::nullopt;
    if (size == 0)
      isEmpty = true;
    else if (!isEmpty && llvm::MulOverflow(count, size, count))
      return std::nullopt;
  }
  return isEmpty ? 0 : count;
}

Shape evaluation::getStrides(ArrayRef<int64_t> shape) {
  Shape strides(shape.size(), 1);
  for (int64_t i = static_cast<int64_t>(shape.size()) - 2; i >= 0; --i)
    strides[i] = strides[i + 1] * shape[i + 1];
  return strides;
}

std::optional<Shape> evaluation::normalizeAxes(ArrayRef<int64_t> axes,
                                               int64_t rank) {
  Shape result;
  for (int64_t axis : axes) {
    auto normal = normalizeAxis(axis, rank);
    if (!normal)
      return std::nullopt;
    result.push_back(*normal);
  }
  llvm::sort(result);
  result.erase(llvm::unique(result), result.end());
  return result;
}

std::optional<Shape>
evaluation::getReducedAxes(std::optional<ArrayRef<int64_t>> axes,
                           bool noopWithEmptyAxes, int64_t rank) {
  if (axes && !axes->empty())
    return normalizeAxes(*axes, rank);
  Shape all;
  if (!noopWithEmptyAxes)
    for (int64_t i = 0; i < rank; ++i)
      all.push_back(i);
  return all;
}

std::optional<Shape> evaluation::broadcastShapes(ArrayRef<int64_t> a,
                                                 ArrayRef<int64_t> b) {
  Shape result(std::max(a.size(), b.size()));
  for (size_t i = 0; i < result.size(); ++i) {
    // Both are aligned at the end.
    int64_t x = i < a.size() ? a[a.size() - 1 - i] : 1;
    int64_t y = i < b.size() ? b[b.size() - 1 - i] : 1;
    if (x != y && x != 1 && y != 1)
      return std::nullopt;
    result[result.size() - 1 - i] = x == 1 ? y : x;
  }
  return result;
}

bool evaluation::broadcastsTo(ArrayRef<int64_t> from, ArrayRef<int64_t> to) {
  auto result = broadcastShapes(from, to);
  return result && ArrayRef<int64_t>(*result) == to;
}

std::optional<Shape> evaluation::getIntegers(const HostTensor *tensor) {
  if (!tensor)
    return std::nullopt;
  Shape result;
  for (double value : tensor->data) {
    if (std::trunc(value) != value) // also NaN
      return std::nullopt;
    result.push_back(value >= 0x1p63    ? std::numeric_limits<int64_t>::max()
                     : value <= -0x1p63 ? std::numeric_limits<int64_t>::min()
                                        : static_cast<int64_t>(value));
  }
  return result;
}

std::optional<SmallVector<SliceRange>>
evaluation::getSliceRanges(ArrayRef<int64_t> shape, ArrayRef<int64_t> starts,
                           ArrayRef<int64_t> ends,
                           std::optional<ArrayRef<int64_t>> axes,
                           std::optional<ArrayRef<int64_t>> steps) {
  auto rank = static_cast<int64_t>(shape.size());
  SmallVector<SliceRange> ranges(rank);
  for (auto [range, size] : llvm::zip(ranges, shape))
    range.size = size;
  size_t count = starts.size();
  if (ends.size() != count || (axes && axes->size() != count) ||
      (steps && steps->size() != count) || (!axes && count > shape.size()))
    return std::nullopt;
  llvm::SmallBitVector seen(rank);
  for (size_t i = 0; i < count; ++i) {
    auto axis = normalizeAxis(axes ? (*axes)[i] : i, rank);
    int64_t step = steps ? (*steps)[i] : 1;
    // The most negative step cannot be negated; it means the same as one more.
    step = std::max(step, -std::numeric_limits<int64_t>::max());
    if (!axis || step == 0 || seen.test(*axis))
      return std::nullopt;
    seen.set(*axis);
    int64_t size = shape[*axis];
    if (size == 0) {
      ranges[*axis] = {0, step, 0};
      continue;
    }
    // An end below the first element stays there, as a start does not.
    auto bound = [&](int64_t at, int64_t lowest, int64_t highest) {
      return std::clamp(at < 0 ? at + size : at, lowest, highest);
    };
    bool forward = step > 0;
    int64_t start = bound(starts[i], 0, forward ? size : size - 1);
    int64_t end = bound(ends[i], forward ? 0 : -1, forward ? size : size - 1);
    int64_t distance = forward ? end - start : start - end;
    int64_t length = distance <= 0 ? 0 : (distance - 1) / std::abs(step) + 1;
    ranges[*axis] = {start, step, length};
  }
  return ranges;
}

std::optional<SmallVector<PadRange>>
evaluation::getPadRanges(int64_t rank, ArrayRef<int64_t> pads,
                         std::optional<ArrayRef<int64_t>> axes) {
  size_t count = axes ? axes->size() : rank;
  if (pads.size() != 2 * count)
    return std::nullopt;
  SmallVector<PadRange> ranges(rank);
  for (size_t i = 0; i < count; ++i) {
    auto axis = normalizeAxis(axes ? (*axes)[i] : i, rank);
    if (!axis || std::abs(pads[i]) > kMaxElements ||
        std::abs(pads[count + i]) > kMaxElements)
      return std::nullopt;
    ranges[*axis] = {pads[i], pads[count + i]};
  }
  return ranges;
}

std::optional<Shape> evaluation::getPermutation(TransposeOp op, int64_t rank) {
  Shape result;
  if (!op.getPerm()) {
    for (int64_t i = rank - 1; i >= 0; --i)
      result.push_back(i);
    return result;
  }
  result.assign(op.getPerm()->begin(), op.getPerm()->end());
  llvm::SmallBitVector seen(rank);
  for (int64_t axis : result) {
    if (axis < 0 || axis >= rank || seen.test(axis))
      return std::nullopt;
    seen.set(axis);
  }
  if (!seen.all())
    return std::nullopt;
  return result;
}

std::optional<EinsumTerms> evaluation::parseEinsum(StringRef equation,
                                                   size_t numInputs) {
  std::string text;
  for (char c : equation)
    if (c != ' ')
      text += c;
  auto [left, right] = StringRef(text).split("->");
  EinsumTerms terms;
  SmallVector<StringRef> parts;
  left.split(parts, ',');
  for (StringRef part : parts)
    terms.inputs.push_back(part.str());
  auto isTerm = [](StringRef term) {
    return llvm::all_of(term, llvm::isAlpha);
  };
  if (terms.inputs.size() != numInputs || !isTerm(right) ||
      !llvm::all_of(terms.inputs, isTerm))
    return std::nullopt;
  if (StringRef(text).contains("->")) {
    terms.output = right.str();
    return terms;
  }
  // Implicit output: the letters that occur once, in alphabetic order.
  std::string all;
  for (const std::string &term : terms.inputs)
    all += term;
  llvm::sort(all);
  for (char letter : all)
    if (llvm::count(all, letter) == 1)
      terms.output += letter;
  return terms;
}

std::optional<MatMulGeometry>
evaluation::getMatMulGeometry(ArrayRef<int64_t> a, ArrayRef<int64_t> b) {
  if (a.empty() || b.empty())
    return std::nullopt;
  MatMulGeometry geometry;
  bool isVectorA = a.size() == 1, isVectorB = b.size() == 1;
  geometry.rows = isVectorA ? 1 : a[a.size() - 2];
  geometry.inner = a.back();
  geometry.columns = isVectorB ? 1 : b.back();
  if (geometry.inner != (isVectorB ? b[0] : b[b.size() - 2]))
    return std::nullopt;
  auto batch = broadcastShapes(a.drop_back(isVectorA ? 1 : 2),
                               b.drop_back(isVectorB ? 1 : 2));
  if (!batch)
    return std::nullopt;
  geometry.batch = *batch;
  geometry.result = *batch;
  if (!isVectorA)
    geometry.result.push_back(geometry.rows);
  if (!isVectorB)
    geometry.result.push_back(geometry.columns);
  return geometry;
}
