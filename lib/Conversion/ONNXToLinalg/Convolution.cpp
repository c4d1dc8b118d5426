//===- Convolution.cpp - Lowering of onnx convolutions --------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A convolution is a sum over the kernel's positions of products of a strided
// slice of the padded data with the position's weights. Kernels are small in
// the models that this compiler is for: state-space and causal convolutions.
//
//===----------------------------------------------------------------------===//

#include "Support.h"

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::lowering;

/// More positions than any convolution of such a model has; each becomes ops.
static constexpr int64_t kMaxPositions = 1024;

/// Data [N, C, ...] with zeros around its spatial axes.
static Value pad(ImplicitLocOpBuilder &b, Value data,
                 ArrayRef<onnx::ConvAxis> axes) {
  RankedTensorType type = tensorType(data);
  SmallVector<int64_t> shape(type.getShape()), offsets(type.getRank(), 0);
  for (auto [i, axis] : llvm::enumerate(axes)) {
    shape[i + 2] += axis.before + axis.after;
    offsets[i + 2] = axis.before;
  }
  if (ArrayRef<int64_t>(shape) == type.getShape())
    return data;
  Value zero = constant(b, type.getElementType(), 0);
  return tensor::InsertSliceOp::create(
      b, data, filledTensor(b, type.clone(shape), zero),
      getAsIndexOpFoldResult(b.getContext(), offsets),
      getAsIndexOpFoldResult(b.getContext(), type.getShape()),
      SmallVector<OpFoldResult>(type.getRank(), b.getIndexAttr(1)));
}

static Value slice(ImplicitLocOpBuilder &b, Value value, RankedTensorType type,
                   ArrayRef<int64_t> offsets, ArrayRef<int64_t> sizes,
                   ArrayRef<int64_t> strides) {
  return tensor::ExtractSliceOp::create(
      b, type, value, getAsIndexOpFoldResult(b.getContext(), offsets),
      getAsIndexOpFoldResult(b.getContext(), sizes),
      getAsIndexOpFoldResult(b.getContext(), strides));
}

/// sum + x [N, G, C, ...] times w [G, M, C], over C: [N, G, M, ...].
static Value multiplyAdd(ImplicitLocOpBuilder &b, Value x, Value w, Value sum) {
  // Loops n, g, m, the spatial ones, and c.
  unsigned rank = tensorType(sum).getRank(), c = rank;
  MLIRContext *context = b.getContext();
  auto map = [&](ArrayRef<unsigned> loops) {
    SmallVector<AffineExpr> exprs;
    for (unsigned loop : loops)
      exprs.push_back(b.getAffineDimExpr(loop));
    return AffineMap::get(rank + 1, 0, exprs, context);
  };
  SmallVector<unsigned> data{0, 1, c}, out{0, 1, 2};
  for (unsigned i = 3; i < rank; ++i) {
    data.push_back(i);
    out.push_back(i);
  }
  SmallVector<AffineMap> maps{map(data), map({1, 2, c}), map(out)};
  SmallVector<utils::IteratorType> kinds(rank, utils::IteratorType::parallel);
  kinds.push_back(utils::IteratorType::reduction);
  return linalg::GenericOp::create(
             b, sum.getType(), ValueRange{x, w}, sum, maps, kinds,
             [](OpBuilder &nested, Location loc, ValueRange args) {
               ImplicitLocOpBuilder inner(loc, nested);
               Arith a{inner};
               Type type = args[2].getType();
               Value product = a.mul(castFloat(inner, args[0], type),
                                     castFloat(inner, args[1], type));
               linalg::YieldOp::create(inner, a.add(args[2], product));
             })
      .getResult(0);
}

static FailureOr<Value> lowerConv(Lowering &b, onnx::ConvOp op,
                                  onnx::ConvOp::Adaptor in) {
  RankedTensorType x = tensorType(in.getX()), w = tensorType(in.getW());
  RankedTensorType type = b.resultType();
  if (x.getRank() < 3)
    return b.refuse("its data has " + Twine(x.getRank()) +
                    " axes; expected batch, channels and one or more others");
  auto axes = onnx::getConvAxes(op, x.getShape(), w.getShape());
  if (!axes)
    return b.refuse("its weights and attributes do not fit its data");
  auto groups = static_cast<int64_t>(op.getGroup());
  int64_t batch = x.getDimSize(0), inner = w.getDimSize(1);
  int64_t outer = w.getDimSize(0) / groups;
  SmallVector<int64_t> shape{batch, groups, outer},
      result{batch, w.getDimSize(0)};
  int64_t positions = 1;
  for (const onnx::ConvAxis &axis : *axes) {
    shape.push_back(axis.size);
    result.push_back(axis.size);
    positions *= axis.kernel;
  }
  if (ArrayRef<int64_t>(result) != type.getShape())
    return b.refuse("its attributes do not give the shape of the result");
  bool hasBias = !onnx::isNone(op.getB());
  if (hasBias && tensorType(in.getB()).getShape() != ArrayRef(result[1]))
    return b.refuse("its bias does not have an element for each channel");
  if (positions > kMaxPositions)
    return b.refuse("its kernel has " + Twine(positions) +
                    " positions; up to " + Twine(kMaxPositions) +
                    " are supported");
  if (type.getNumElements() == 0)
    return emptyTensor(b, type);

  Value data = pad(b, in.getX(), *axes);
  SmallVector<int64_t> split{batch, groups, inner},
      weights{groups, outer, inner};
  llvm::append_range(split, tensorType(data).getShape().drop_front(2));
  llvm::append_range(weights, w.getShape().drop_front(2));
  data = reshape(b, data, split);
  Value kernel = reshape(b, in.getW(), weights);
  Type compute = computeType(type.getElementType());
  Value sum = filledTensor(b, RankedTensorType::get(shape, compute),
                           constant(b, compute, 0));
  SmallVector<int64_t> steps(3, 1), ones(weights.size(), 1);
  for (const onnx::ConvAxis &axis : *axes)
    steps.push_back(axis.stride);
  SmallVector<int64_t> sizes(shape);
  sizes[2] = inner;
  SmallVector<int64_t> one{groups, outer, inner};
  one.append(axes->size(), 1);
  auto oneType =
      RankedTensorType::get({groups, outer, inner}, w.getElementType());
  for (int64_t position = 0; position < positions; ++position) {
    SmallVector<int64_t> at(weights.size(), 0), from(split.size(), 0);
    int64_t rest = position;
    for (size_t i = axes->size(); i-- > 0;) {
      at[i + 3] = rest % (*axes)[i].kernel;
      from[i + 3] = at[i + 3] * (*axes)[i].dilation;
      rest /= (*axes)[i].kernel;
    }
    Value part = slice(b, data, x.clone(sizes), from, sizes, steps);
    sum = multiplyAdd(b, part, slice(b, kernel, oneType, at, one, ones), sum);
  }
  sum = reshape(b, sum, result);
  SmallVector<Value> inputs{sum};
  if (hasBias) {
    SmallVector<int64_t> channels(axes->size() + 1, 1);
    channels.front() = result[1];
    inputs.push_back(reshape(b, in.getB(), channels));
  }
  return elementwise(
      b, inputs, type, [&](ImplicitLocOpBuilder &b, ValueRange args) {
        Value value = args[0];
        if (args.size() > 1)
          value = Arith{b}.add(value, castFloat(b, args[1], compute));
        return castFloat(b, value, type.getElementType());
      });
}

void lowering::addConvolutionLowerings(LoweringSet &set) {
  set.add<onnx::ConvOp>(lowerConv);
}
