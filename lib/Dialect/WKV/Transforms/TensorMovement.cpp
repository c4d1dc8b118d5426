//===- TensorMovement.cpp - Where elements of a tensor come from ----------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "TensorMovement.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "mlir/IR/Matchers.h"
#include <cmath>
#include <map>

using namespace mlir;
using namespace rwkvc::wkv;

namespace {

ArrayRef<int64_t> shapeOf(Value value) {
  return cast<RankedTensorType>(value.getType()).getShape();
}

SmallVector<int64_t> rowMajorStrides(ArrayRef<int64_t> shape) {
  SmallVector<int64_t> strides(shape.size(), 1);
  for (int64_t i = static_cast<int64_t>(shape.size()) - 2; i >= 0; --i)
    strides[i] = strides[i + 1] * shape[i + 1];
  return strides;
}

bool isStatic(Value value) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  return type && type.hasStaticShape();
}

/// A result as a strided window of one operand: element (i, j, ..) of a tensor
/// of shape \p sizes is element offset + i strides[0] + j strides[1] + .. of
/// \p source, times \p factor.
struct View {
  Value source;
  SmallVector<int64_t> sizes, strides;
  int64_t offset = 0;
  double factor = 1.0;

  /// Merges dimensions that are traversed as one.
  void compress() {
    SmallVector<int64_t> newSizes, newStrides;
    for (auto [size, stride] : llvm::zip_equal(sizes, strides)) {
      if (size == 1)
        continue;
      if (!newSizes.empty() && newStrides.back() == stride * size) {
        newSizes.back() *= size;
        newStrides.back() = stride;
        continue;
      }
      newSizes.push_back(size);
      newStrides.push_back(stride);
    }
    sizes = std::move(newSizes);
    strides = std::move(newStrides);
  }
};

double toDouble(APFloat value) {
  bool lost = false;
  value.convert(APFloat::IEEEdouble(), APFloat::rmNearestTiesToEven, &lost);
  return value.convertToDouble();
}

/// The number that \p scalar, a value in the body of \p op, is in all its
/// points.
std::optional<double> numberIn(linalg::LinalgOp op, Value scalar) {
  while (Operation *def = scalar.getDefiningOp()) {
    if (!isa<arith::ExtFOp, arith::TruncFOp>(def))
      break;
    scalar = def->getOperand(0);
  }
  auto argument = dyn_cast<BlockArgument>(scalar);
  if (argument && argument.getOwner() == op.getBlock())
    scalar = op.getMatchingOpOperand(argument)->get();
  DenseElementsAttr elements;
  APFloat number(0.0);
  if (matchPattern(scalar, m_Constant(&elements))) {
    if (!elements.isSplat() || !isa<FloatType>(elements.getElementType()))
      return std::nullopt;
    return toDouble(elements.getSplatValue<APFloat>());
  }
  if (!isa<ShapedType>(scalar.getType()) &&
      matchPattern(scalar, m_ConstantFloat(&number)))
    return toDouble(number);
  return std::nullopt;
}

/// The input that a linalg op only moves, permuted or repeated; its values may
/// be converted to another float type and scaled by a constant.
std::optional<View> viewOfLinalg(linalg::LinalgOp op) {
  if (!op.hasPureTensorSemantics() || op.getNumDpsInits() != 1 ||
      op.getNumParallelLoops() != op.getNumLoops())
    return std::nullopt;
  Value yielded = op.getBlock()->getTerminator()->getOperand(0);
  View view;
  while (Operation *def = yielded.getDefiningOp()) {
    unsigned moved = 0;
    if (isa<arith::MulFOp, arith::DivFOp>(def)) {
      std::optional<double> number = numberIn(op, def->getOperand(1));
      if (!number && isa<arith::MulFOp>(def)) {
        number = numberIn(op, def->getOperand(0));
        moved = 1;
      }
      if (!number)
        return std::nullopt;
      view.factor *= isa<arith::MulFOp>(def) ? *number : 1.0 / *number;
    } else if (!isa<arith::ExtFOp, arith::TruncFOp>(def)) {
      return std::nullopt;
    }
    yielded = def->getOperand(moved);
  }
  if (view.factor == 0.0 || !std::isfinite(view.factor))
    return std::nullopt;
  auto argument = cast<BlockArgument>(yielded);
  if (argument.getOwner() != op.getBlock())
    return std::nullopt;
  OpOperand *source = op.getMatchingOpOperand(argument);
  AffineMap out = op.getMatchingIndexingMap(op.getDpsInitOperand(0));
  AffineMap in = op.getMatchingIndexingMap(source);
  SmallVector<int64_t> ranges = op.getStaticLoopRanges();
  if (!isStatic(source->get()) || !out.isPermutation() ||
      llvm::any_of(ranges, ShapedType::isDynamic))
    return std::nullopt;
  view.source = source->get();
  SmallVector<int64_t> loopStrides(ranges.size(), 0);
  for (auto [expr, stride] : llvm::zip_equal(
           in.getResults(), rowMajorStrides(shapeOf(view.source)))) {
    if (auto dim = dyn_cast<AffineDimExpr>(expr))
      loopStrides[dim.getPosition()] += stride;
    else if (auto constant = dyn_cast<AffineConstantExpr>(expr))
      view.offset += constant.getValue() * stride;
    else
      return std::nullopt;
  }
  for (unsigned i = 0; i < out.getNumResults(); ++i) {
    view.sizes.push_back(ranges[out.getDimPosition(i)]);
    view.strides.push_back(loopStrides[out.getDimPosition(i)]);
  }
  return view;
}

std::optional<View> viewOf(Operation *op) {
  if (!op || op->getNumResults() != 1 || !isStatic(op->getResult(0)))
    return std::nullopt;
  if (auto linalgOp = dyn_cast<linalg::LinalgOp>(op))
    return viewOfLinalg(linalgOp);
  if (op->getNumOperands() == 0 || !isStatic(op->getOperand(0)))
    return std::nullopt;
  View view;
  view.source = op->getOperand(0);
  if (isa<tensor::ExpandShapeOp, tensor::CollapseShapeOp, tensor::CastOp,
          tensor::ReshapeOp>(op)) {
    view.sizes = {
        cast<RankedTensorType>(view.source.getType()).getNumElements()};
    view.strides = {1};
    return view;
  }
  auto slice = dyn_cast<tensor::ExtractSliceOp>(op);
  if (!slice || !slice.getOffsets().empty() || !slice.getSizes().empty() ||
      !slice.getStrides().empty())
    return std::nullopt;
  view.sizes.assign(slice.getStaticSizes().begin(),
                    slice.getStaticSizes().end());
  view.strides = rowMajorStrides(shapeOf(view.source));
  for (auto [i, stride] : llvm::enumerate(view.strides)) {
    view.offset += slice.getStaticOffset(i) * stride;
    stride *= slice.getStaticStride(i);
  }
  return view;
}

/// A result whose consecutive lines consist of segments of several operands.
struct Lines {
  int64_t length = 1; ///< elements of a line
  /// What a line consists of.
  std::function<SmallVector<ElementRun, 4>(int64_t line)> segments;
};

std::optional<Lines> linesOfInsert(tensor::InsertSliceOp insert) {
  if (!insert.getOffsets().empty() || !insert.getSizes().empty() ||
      !insert.getStrides().empty() || !isStatic(insert.getDest()) ||
      llvm::any_of(insert.getStaticStrides(),
                   [](int64_t stride) { return stride != 1; }))
    return std::nullopt;
  SmallVector<int64_t> shape(shapeOf(insert.getDest()));
  SmallVector<int64_t> sizes(insert.getStaticSizes());
  SmallVector<int64_t> offsets(insert.getStaticOffsets());
  // Lines begin at the last dimension of which the slice is only a part.
  int64_t axis = static_cast<int64_t>(shape.size()) - 1, inner = 1;
  while (axis > 0 && sizes[axis] == shape[axis])
    inner *= shape[axis--];
  if (axis < 0)
    return std::nullopt;
  Lines lines;
  lines.length = shape[axis] * inner;
  Value source = insert.getSource(), dest = insert.getDest();
  int64_t first = offsets[axis] * inner, count = sizes[axis] * inner;
  lines.segments = [=, length = lines.length](int64_t line) {
    // The line's index in the outer dimensions of the slice.
    int64_t rest = line, inSlice = 0, factor = 1;
    bool inside = true;
    for (int64_t i = axis - 1; i >= 0; --i) {
      int64_t index = rest % shape[i] - offsets[i];
      rest /= shape[i];
      inside &= index >= 0 && index < sizes[i];
      inSlice += index * factor;
      factor *= sizes[i];
    }
    int64_t start = line * length;
    if (!inside)
      return SmallVector<ElementRun, 4>{{dest, start, length}};
    return SmallVector<ElementRun, 4>{
        {dest, start, first},
        {source, inSlice * count, count},
        {dest, start + first + count, length - first - count}};
  };
  return lines;
}

std::optional<Lines> linesOfConcat(tensor::ConcatOp concat) {
  if (!llvm::all_of(concat.getInputs(), isStatic))
    return std::nullopt;
  ArrayRef<int64_t> shape = shapeOf(concat.getResult());
  int64_t inner = 1;
  for (int64_t size : shape.drop_front(concat.getDim() + 1))
    inner *= size;
  Lines lines;
  lines.length = shape[concat.getDim()] * inner;
  SmallVector<Value> inputs(concat.getInputs());
  lines.segments = [=, axis = concat.getDim()](int64_t line) {
    SmallVector<ElementRun, 4> segments;
    for (Value input : inputs) {
      int64_t count = shapeOf(input)[axis] * inner;
      segments.push_back({input, line * count, count});
    }
    return segments;
  };
  return lines;
}

std::optional<Lines> linesOf(Operation *op) {
  if (!op || op->getNumResults() != 1 || !isStatic(op->getResult(0)))
    return std::nullopt;
  if (auto insert = dyn_cast<tensor::InsertSliceOp>(op))
    return linesOfInsert(insert);
  if (auto concat = dyn_cast<tensor::ConcatOp>(op))
    return linesOfConcat(concat);
  return std::nullopt;
}

class Tracer {
public:
  void trace(Value value, int64_t first, int64_t count, double factor = 1.0) {
    if (count <= 0)
      return;
    if (const View *view = getView(value))
      return traceView(*view, first, count, factor * view->factor);
    if (const Lines *lines = getLines(value)) {
      while (count > 0) {
        int64_t at = first % lines->length;
        int64_t taken = std::min(count, lines->length - at);
        traceLine(lines->segments(first / lines->length), at, taken, factor);
        first += taken;
        count -= taken;
      }
      return;
    }
    if (!runs.empty() && runs.back().source == value &&
        runs.back().first + runs.back().count == first &&
        runs.back().factor == factor)
      runs.back().count += count;
    else
      runs.push_back({value, first, count, factor});
  }

  SmallVector<ElementRun> runs;

private:
  void traceView(const View &view, int64_t first, int64_t count,
                 double factor) {
    bool contiguous = view.strides.empty() || view.strides.back() == 1;
    int64_t length = view.sizes.empty() ? 1 : view.sizes.back();
    while (count > 0) {
      int64_t rest = first, at = view.offset;
      for (int64_t i = static_cast<int64_t>(view.sizes.size()) - 1; i >= 0;
           --i) {
        at += rest % view.sizes[i] * view.strides[i];
        rest /= view.sizes[i];
      }
      int64_t taken = contiguous ? std::min(count, length - first % length) : 1;
      trace(view.source, at, taken, factor);
      first += taken;
      count -= taken;
    }
  }

  /// Elements \p at .. at + count - 1 of a line.
  void traceLine(ArrayRef<ElementRun> segments, int64_t at, int64_t count,
                 double factor) {
    for (const ElementRun &segment : segments) {
      if (count <= 0)
        return;
      if (at >= segment.count) {
        at -= segment.count;
        continue;
      }
      int64_t taken = std::min(count, segment.count - at);
      trace(segment.source, segment.first + at, taken, factor);
      count -= taken;
      at = 0;
    }
  }

  const View *getView(Value value) {
    auto [it, isNew] = views.try_emplace(value);
    if (isNew) {
      it->second = viewOf(value.getDefiningOp());
      if (it->second)
        it->second->compress();
    }
    return it->second ? &*it->second : nullptr;
  }
  const Lines *getLines(Value value) {
    auto [it, isNew] = lines.try_emplace(value);
    if (isNew)
      it->second = linesOf(value.getDefiningOp());
    return it->second ? &*it->second : nullptr;
  }

  // Maps whose nodes stay where they are while others are added.
  struct Less {
    bool operator()(Value a, Value b) const {
      return a.getAsOpaquePointer() < b.getAsOpaquePointer();
    }
  };
  std::map<Value, std::optional<View>, Less> views;
  std::map<Value, std::optional<Lines>, Less> lines;
};

/// Element \p index of raw row-major data.
std::optional<double> readFloat(ArrayRef<char> data, FloatType type,
                                int64_t index) {
  unsigned bytes = type.getWidth() / 8;
  if (type.getWidth() % 8 != 0 ||
      data.size() < static_cast<size_t>((index + 1) * bytes))
    return std::nullopt;
  APInt bits(type.getWidth(), 0);
  llvm::LoadIntFromMemory(
      bits, reinterpret_cast<const uint8_t *>(data.data()) + index * bytes,
      bytes);
  return toDouble(APFloat(type.getFloatSemantics(), bits));
}

/// The value of all elements of the run, each of which \p read gives.
template <typename Read>
std::optional<double> uniform(const ElementRun &run, Read read) {
  std::optional<double> value = read(run.first);
  for (int64_t i = run.first + 1; value && i < run.first + run.count; ++i)
    if (read(i) != value)
      return std::nullopt;
  return value;
}

std::optional<double> constantOf(const ElementRun &run) {
  auto type = cast<RankedTensorType>(run.source.getType());
  auto element = dyn_cast<FloatType>(type.getElementType());
  if (!element)
    return std::nullopt;
  Attribute attr;
  if (matchPattern(run.source, m_Constant(&attr))) {
    if (auto dense = dyn_cast<DenseElementsAttr>(attr)) {
      if (dense.isSplat())
        return toDouble(dense.getSplatValue<APFloat>());
      auto values = dense.getValues<APFloat>().begin();
      return uniform(run, [&](int64_t i) -> std::optional<double> {
        return toDouble(values[i]);
      });
    }
    auto resource = dyn_cast<DenseResourceElementsAttr>(attr);
    AsmResourceBlob *blob =
        resource ? resource.getRawHandle().getBlob() : nullptr;
    if (!blob)
      return std::nullopt;
    return uniform(
        run, [&](int64_t i) { return readFloat(blob->getData(), element, i); });
  }
  // linalg.fill and other ops that yield one scalar.
  auto op = run.source.getDefiningOp<linalg::LinalgOp>();
  if (!op)
    return std::nullopt;
  Value scalar = op.getBlock()->getTerminator()->getOperand(
      cast<OpResult>(run.source).getResultNumber());
  if (auto argument = dyn_cast<BlockArgument>(scalar);
      argument && argument.getOwner() == op.getBlock())
    scalar = op.getMatchingOpOperand(argument)->get();
  APFloat value(0.0);
  if (isa<ShapedType>(scalar.getType()) ||
      !matchPattern(scalar, m_ConstantFloat(&value)))
    return std::nullopt;
  return toDouble(value);
}

} // namespace

SmallVector<ElementRun> rwkvc::wkv::findRuns(Value value) {
  Tracer tracer;
  tracer.trace(value, 0,
               cast<RankedTensorType>(value.getType()).getNumElements());
  return std::move(tracer.runs);
}

bool rwkvc::wkv::isMovement(Operation *op) {
  return viewOf(op).has_value() || linesOf(op).has_value();
}

Value rwkvc::wkv::getMovedValue(Operation *op) {
  std::optional<View> view = viewOf(op);
  return view ? view->source : Value();
}

bool rwkvc::wkv::areInverse(double a, double b) {
  return std::abs(a * b - 1.0) <= 1e-6;
}

std::optional<double>
rwkvc::wkv::getUniformConstant(ArrayRef<ElementRun> runs) {
  std::optional<double> value;
  for (const ElementRun &run : runs) {
    std::optional<double> here = constantOf(run);
    if (here)
      here = *here * run.factor;
    if (!here || (value && *value != *here))
      return std::nullopt;
    value = here;
  }
  return value;
}
