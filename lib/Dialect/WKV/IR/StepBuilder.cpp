//===- StepBuilder.cpp - Tokens of a recurrence as linalg -----------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "StepBuilder.h"
#include "rwkvc/Support/Scalars.h"

using namespace mlir;
using namespace rwkvc::wkv;

namespace {

/// A slice of rows along the second axis.
struct Rows {
  SmallVector<OpFoldResult> offsets, sizes, strides;
};

} // namespace

static Rows sliceRows(OpBuilder &b, Value tensor, OpFoldResult first,
                      int64_t count) {
  Rows slice;
  for (auto [i, size] : llvm::enumerate(shapeOf(tensor))) {
    slice.offsets.push_back(i == 1 ? first : b.getIndexAttr(0));
    slice.sizes.push_back(b.getIndexAttr(i == 1 ? count : size));
    slice.strides.push_back(b.getIndexAttr(1));
  }
  return slice;
}

Value StepBuilder::row(Value tensor, OpFoldResult token) {
  if (shapeOf(tensor)[1] == 1)
    token = builder.getIndexAttr(0);
  Rows slice = sliceRows(builder, tensor, token, 1);
  SmallVector<int64_t> shape(shapeOf(tensor));
  shape.erase(shape.begin() + 1);
  auto type = cast<RankedTensorType>(tensor.getType());
  return tensor::ExtractSliceOp::create(
      builder, loc, RankedTensorType::get(shape, type.getElementType()), tensor,
      slice.offsets, slice.sizes, slice.strides);
}

Value StepBuilder::rows(Value tensor, OpFoldResult first, int64_t count) {
  Rows slice = sliceRows(builder, tensor, first, count);
  return tensor::ExtractSliceOp::create(builder, loc, tensor, slice.offsets,
                                        slice.sizes, slice.strides);
}

Value StepBuilder::insertRow(Value row, Value into, OpFoldResult token) {
  return insertRows(row, into, token);
}

Value StepBuilder::insertRows(Value rows, Value into, OpFoldResult first) {
  auto from = cast<RankedTensorType>(rows.getType());
  Type type = cast<RankedTensorType>(into.getType()).getElementType();
  int64_t rank = shapeOf(into).size();
  int64_t count = from.getRank() == rank ? from.getDimSize(1) : 1;
  if (from.getElementType() != type) {
    Dims identity = llvm::to_vector(llvm::seq<unsigned>(0, from.getRank()));
    Value target = tensor::EmptyOp::create(builder, loc, from.getShape(), type);
    rows = generic(rows, target, {identity, identity}, from.getRank(), {},
                   [](ImplicitLocOpBuilder &, ValueRange a) {
                     return SmallVector<Value>{a[0]};
                   })[0];
  }
  Rows slice = sliceRows(builder, into, first, count);
  return tensor::InsertSliceOp::create(builder, loc, rows, into, slice.offsets,
                                       slice.sizes, slice.strides);
}

SmallVector<Value> StepBuilder::generic(ValueRange inputs, ValueRange inits,
                                        ArrayRef<Dims> maps, unsigned numDims,
                                        ArrayRef<unsigned> reduced, Body body) {
  SmallVector<AffineMap> affine;
  for (const Dims &dims : maps) {
    SmallVector<AffineExpr> exprs;
    for (unsigned dim : dims)
      exprs.push_back(builder.getAffineDimExpr(dim));
    affine.push_back(AffineMap::get(numDims, 0, exprs, builder.getContext()));
  }
  SmallVector<utils::IteratorType> kinds(numDims,
                                         utils::IteratorType::parallel);
  for (unsigned dim : reduced)
    kinds[dim] = utils::IteratorType::reduction;
  auto build = [&](OpBuilder &nested, Location nestedLoc, ValueRange args) {
    ImplicitLocOpBuilder b(nestedLoc, nested);
    SmallVector<Value> values;
    for (Value arg : args)
      values.push_back(castFloat(b, arg, element));
    SmallVector<Value> results = body(b, values);
    for (auto [result, init] :
         llvm::zip_equal(results, args.take_back(inits.size())))
      result = castFloat(b, result, init.getType());
    linalg::YieldOp::create(b, results);
  };
  return SmallVector<Value>(
      linalg::GenericOp::create(builder, loc, TypeRange(inits), inputs, inits,
                                affine, kinds, build)
          .getResults());
}

Value StepBuilder::empty(ArrayRef<int64_t> shape) {
  return tensor::EmptyOp::create(builder, loc, shape, element);
}

Value StepBuilder::filled(ArrayRef<int64_t> shape, double value) {
  return linalg::FillOp::create(builder, loc, constant(value), empty(shape))
      .getResult(0);
}

Value StepBuilder::constant(double value) {
  return arith::ConstantOp::create(builder, loc,
                                   builder.getFloatAttr(element, value));
}

Value StepBuilder::index(int64_t value) {
  return arith::ConstantIndexOp::create(builder, loc, value);
}
