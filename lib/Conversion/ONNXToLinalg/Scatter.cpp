//===- Scatter.cpp - Lowering of onnx scatters ----------------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Support.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::lowering;

namespace {

/// A box of positions in a tensor, with a stride along each axis.
struct Box {
  SmallVector<int64_t> offsets, sizes, strides;
};

/// The box whose positions, in row-major order, are \p points: tuples of
/// \p depth numbers, one after another. Nothing when they form no box.
std::optional<Box> findBox(ArrayRef<int64_t> points, int64_t depth,
                           ArrayRef<int64_t> shape) {
  int64_t count = depth ? points.size() / depth : 0;
  if (count == 0)
    return std::nullopt;
  SmallVector<int64_t> wrapped(points);
  Box box;
  int64_t total = 1;
  for (int64_t k = 0; k < depth; ++k) {
    SmallVector<int64_t> values;
    for (int64_t i = 0; i < count; ++i) {
      int64_t &value = wrapped[i * depth + k];
      if (value < 0)
        value += shape[k];
      if (value < 0 || value >= shape[k])
        return std::nullopt;
      values.push_back(value);
    }
    llvm::sort(values);
    values.erase(llvm::unique(values), values.end());
    int64_t stride = values.size() > 1 ? values[1] - values[0] : 1;
    for (size_t i = 1; i < values.size(); ++i)
      if (values[i] - values[i - 1] != stride)
        return std::nullopt;
    box.offsets.push_back(values.front());
    box.sizes.push_back(values.size());
    box.strides.push_back(stride);
    total *= values.size();
  }
  if (total != count)
    return std::nullopt;
  for (int64_t i = 0; i < count; ++i) {
    int64_t rest = i;
    for (int64_t k = depth - 1; k >= 0; --k) {
      if (wrapped[i * depth + k] !=
          box.offsets[k] + (rest % box.sizes[k]) * box.strides[k])
        return std::nullopt;
      rest /= box.sizes[k];
    }
  }
  return box;
}

Value insertBox(Lowering &b, Value updates, Value data, const Box &box) {
  auto attrs = [&](ArrayRef<int64_t> values) {
    return getAsIndexOpFoldResult(b.getContext(), values);
  };
  return tensor::InsertSliceOp::create(b, reshape(b, updates, box.sizes), data,
                                       attrs(box.offsets), attrs(box.sizes),
                                       attrs(box.strides));
}

/// Joins an old and a new element as the attribute `reduction` says.
Value join(Arith &a, StringRef reduction, Value old, Value update) {
  if (reduction == "add")
    return a.add(old, update);
  if (reduction == "mul")
    return a.mul(old, update);
  return reduction == "max" ? a.max(old, update) : a.min(old, update);
}

bool isKnownReduction(StringRef reduction) {
  return llvm::is_contained({"none", "add", "mul", "max", "min"}, reduction);
}

FailureOr<Value> lowerScatterND(Lowering &b, onnx::ScatterNDOp op,
                                onnx::ScatterNDOp::Adaptor in) {
  RankedTensorType type = b.resultType();
  RankedTensorType indices = tensorType(in.getIndices());
  StringRef reduction = op.getReduction();
  if (!isKnownReduction(reduction))
    return b.refuse("reduction '" + reduction + "' is unknown");
  int64_t depth = indices.getRank() ? indices.getShape().back() : 0;
  if (depth < 1 || depth > type.getRank())
    return b.refuse("its indices do not fit its data");
  int64_t count = indices.getNumElements() / depth;
  ArrayRef<int64_t> shape = type.getShape(), rest = shape.drop_front(depth);
  if (tensorType(in.getUpdates()).getNumElements() !=
      count * RankedTensorType::get(rest, b.getI1Type()).getNumElements())
    return b.refuse("its updates do not fit its indices and data");
  if (type.getNumElements() == 0 ||
      tensorType(in.getUpdates()).getNumElements() == 0)
    return in.getData();
  if (reduction == "none") {
    std::optional<SmallVector<int64_t>> points =
        getConstantInts(op.getIndices());
    if (points)
      if (std::optional<Box> box = findBox(*points, depth, shape)) {
        box->offsets.append(rest.size(), 0);
        llvm::append_range(box->sizes, rest);
        box->strides.append(rest.size(), 1);
        return insertBox(b, in.getUpdates(), in.getData(), *box);
      }
  }
  SmallVector<int64_t> updateShape{count};
  llvm::append_range(updateShape, rest);
  Value updates = reshape(b, in.getUpdates(), updateShape);
  Value tuples = reshape(b, in.getIndices(), {count, depth});
  bool isUnsigned = lowering::isUnsigned(op.getData());
  auto slice = RankedTensorType::get(rest, type.getElementType());
  auto loop = scf::ForOp::create(
      b, indexConstant(b, 0), indexConstant(b, count), indexConstant(b, 1),
      in.getData(),
      [&](OpBuilder &nested, Location loc, Value iv, ValueRange carried) {
        ImplicitLocOpBuilder b(loc, nested);
        SmallVector<OpFoldResult> offsets, sizes,
            strides(type.getRank(), b.getIndexAttr(1));
        for (int64_t k = 0; k < depth; ++k) {
          Value scalar = tensor::ExtractOp::create(
              b, tuples, ValueRange{iv, indexConstant(b, k)});
          offsets.push_back(safeIndex(b, scalar, shape[k]));
          sizes.push_back(b.getIndexAttr(1));
        }
        for (int64_t size : rest) {
          offsets.push_back(b.getIndexAttr(0));
          sizes.push_back(b.getIndexAttr(size));
        }
        Value update = sliceAt(b, updates, 0, iv);
        if (reduction != "none") {
          Value old = tensor::ExtractSliceOp::create(b, slice, carried[0],
                                                     offsets, sizes, strides);
          update = floatElementwise(b, {old, update}, slice,
                                    [&](ImplicitLocOpBuilder &b, ValueRange x) {
                                      Arith a{b, isUnsigned};
                                      return join(a, reduction, x[0], x[1]);
                                    });
        }
        Value next = tensor::InsertSliceOp::create(b, update, carried[0],
                                                   offsets, sizes, strides);
        scf::YieldOp::create(b, next);
      });
  return loop.getResult(0);
}

FailureOr<Value> lowerScatterElements(Lowering &b, onnx::ScatterElementsOp op,
                                      onnx::ScatterElementsOp::Adaptor in) {
  RankedTensorType type = b.resultType();
  RankedTensorType indices = tensorType(in.getIndices());
  StringRef reduction = op.getReduction();
  if (!isKnownReduction(reduction))
    return b.refuse("reduction '" + reduction + "' is unknown");
  int64_t rank = type.getRank();
  std::optional<int64_t> axis = normalizeAxis(op.getAxis(), rank);
  if (!axis || indices.getRank() != rank ||
      indices.getShape() != tensorType(in.getUpdates()).getShape())
    return b.refuse("its axis, indices or updates do not fit its data");
  for (int64_t i = 0; i < rank; ++i)
    if (i != *axis && indices.getDimSize(i) > type.getDimSize(i))
      return b.refuse("its indices are larger than its data in axis " +
                      Twine(i));
  if (indices.getNumElements() == 0)
    return in.getData();
  if (type.getNumElements() == 0)
    return b.refuse("its data is empty");
  if (reduction == "none")
    if (std::optional<SmallVector<int64_t>> known =
            getConstantInts(op.getIndices())) {
      // Each index with the other coordinates of its place.
      SmallVector<int64_t> points;
      SmallVector<int64_t> place(rank, 0);
      for (int64_t index : *known) {
        llvm::append_range(points, place);
        points[points.size() - rank + *axis] = index;
        for (int64_t i = rank - 1; i >= 0; --i) {
          if (++place[i] < indices.getDimSize(i))
            break;
          place[i] = 0;
        }
      }
      if (std::optional<Box> box = findBox(points, rank, type.getShape()))
        return insertBox(b, in.getUpdates(), in.getData(), *box);
    }
  bool isUnsigned = lowering::isUnsigned(op.getData());
  SmallVector<Value> low(rank, indexConstant(b, 0)), high,
      step(rank, indexConstant(b, 1));
  for (int64_t size : indices.getShape())
    high.push_back(indexConstant(b, size));
  scf::LoopNest nest = scf::buildLoopNest(
      b, b.getLoc(), low, high, step, in.getData(),
      [&](OpBuilder &nested, Location loc, ValueRange at,
          ValueRange carried) -> scf::ValueVector {
        ImplicitLocOpBuilder b(loc, nested);
        SmallVector<Value> place(at);
        Value scalar = tensor::ExtractOp::create(b, in.getIndices(), at);
        place[*axis] = safeIndex(b, scalar, type.getDimSize(*axis));
        Value update = tensor::ExtractOp::create(b, in.getUpdates(), at);
        if (reduction != "none") {
          Value old = tensor::ExtractOp::create(b, carried[0], place);
          Arith a{b, isUnsigned};
          update = join(a, reduction, old, update);
        }
        return {tensor::InsertOp::create(b, update, carried[0], place)};
      });
  return nest.results[0];
}

} // namespace

void lowering::addScatterLowerings(LoweringSet &set) {
  set.add<onnx::ScatterNDOp>(lowerScatterND);
  set.add<onnx::ScatterElementsOp>(lowerScatterElements);
}
