//===- Gather.cpp - Lowering of onnx gathers ------------------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Support.h"

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::lowering;

namespace {

FailureOr<Value> lowerGather(Lowering &b, onnx::GatherOp op,
                             onnx::GatherOp::Adaptor in) {
  RankedTensorType data = tensorType(in.getData()), type = b.resultType();
  RankedTensorType indices = tensorType(in.getIndices());
  std::optional<int64_t> axis = normalizeAxis(op.getAxis(), data.getRank());
  if (!axis)
    return b.refuse("axis " + Twine(op.getAxis()) +
                    " is out of range for rank " + Twine(data.getRank()));
  int64_t size = data.getDimSize(*axis);
  if (type.getNumElements() == 0)
    return emptyTensor(b, type);
  if (size == 0)
    return b.refuse("axis " + Twine(*axis) + " of its data is empty");
  if (indices.getNumElements() == 1) {
    // One index, as for a token's row of the embedding: a slice.
    std::optional<SmallVector<int64_t>> known =
        getConstantInts(op.getIndices());
    Value at;
    if (known) {
      int64_t index = known->front();
      if (index < -size || index >= size)
        return b.refuse("index " + Twine(index) + " is out of range for size " +
                        Twine(size));
      at = indexConstant(b, index < 0 ? index + size : index);
    } else {
      Value scalar = tensor::ExtractOp::create(
          b, reshape(b, in.getIndices(), {}), ValueRange{});
      at = safeIndex(b, scalar, size);
    }
    return reshape(b, sliceAt(b, in.getData(), *axis, at), type.getShape());
  }
  int64_t count = indices.getRank();
  return generate(b, type,
                  [&](ImplicitLocOpBuilder &b, ValueRange at) -> Value {
                    Value scalar = tensor::ExtractOp::create(
                        b, in.getIndices(), at.slice(*axis, count));
                    SmallVector<Value> source(at.take_front(*axis));
                    source.push_back(safeIndex(b, scalar, size));
                    llvm::append_range(source, at.drop_front(*axis + count));
                    return tensor::ExtractOp::create(b, in.getData(), source);
                  });
}

FailureOr<Value> lowerGatherElements(Lowering &b, onnx::GatherElementsOp op,
                                     onnx::GatherElementsOp::Adaptor in) {
  RankedTensorType data = tensorType(in.getData()), type = b.resultType();
  std::optional<int64_t> axis = normalizeAxis(op.getAxis(), data.getRank());
  if (!axis || type.getRank() != data.getRank())
    return b.refuse("axis " + Twine(op.getAxis()) +
                    " is out of range, or data and indices differ in rank");
  for (int64_t i = 0; i < type.getRank(); ++i)
    if (i != *axis && type.getDimSize(i) > data.getDimSize(i))
      return b.refuse("its indices are larger than its data in axis " +
                      Twine(i));
  if (type.getNumElements() == 0)
    return emptyTensor(b, type);
  if (data.getDimSize(*axis) == 0)
    return b.refuse("axis " + Twine(*axis) + " of its data is empty");
  return elementwise(
      b, in.getIndices(), type,
      [&](ImplicitLocOpBuilder &b, ValueRange x) -> Value {
        SmallVector<Value> source;
        for (int64_t i = 0; i < type.getRank(); ++i)
          source.push_back(i == *axis
                               ? safeIndex(b, x[0], data.getDimSize(i))
                               : linalg::IndexOp::create(b, i).getResult());
        return tensor::ExtractOp::create(b, in.getData(), source);
      });
}

FailureOr<Value> lowerGatherND(Lowering &b, onnx::GatherNDOp op,
                               onnx::GatherNDOp::Adaptor in) {
  RankedTensorType data = tensorType(in.getData()), type = b.resultType();
  RankedTensorType indices = tensorType(in.getIndices());
  int64_t batch = op.getBatchDims();
  if (indices.getRank() < 1 || batch < 0 || batch >= indices.getRank() ||
      batch + indices.getShape().back() > data.getRank())
    return b.refuse("its indices do not fit its data");
  int64_t depth = indices.getShape().back(), lead = indices.getRank() - 1;
  if (type.getNumElements() == 0)
    return emptyTensor(b, type);
  if (data.getNumElements() == 0)
    return b.refuse("its data is empty");
  return generate(
      b, type, [&](ImplicitLocOpBuilder &b, ValueRange at) -> Value {
        SmallVector<Value> source(at.take_front(batch));
        SmallVector<Value> tuple(at.take_front(lead));
        tuple.push_back(Value());
        for (int64_t i = 0; i < depth; ++i) {
          tuple.back() = indexConstant(b, i);
          Value scalar = tensor::ExtractOp::create(b, in.getIndices(), tuple);
          source.push_back(safeIndex(b, scalar, data.getDimSize(batch + i)));
        }
        llvm::append_range(source, at.drop_front(lead));
        return tensor::ExtractOp::create(b, in.getData(), source);
      });
}

FailureOr<Value> lowerOneHot(Lowering &b, onnx::OneHotOp op,
                             onnx::OneHotOp::Adaptor in) {
  RankedTensorType type = b.resultType();
  std::optional<int64_t> axis = normalizeAxis(op.getAxis(), type.getRank());
  if (!axis || tensorType(in.getIndices()).getRank() + 1 != type.getRank() ||
      tensorType(in.getValues()).getNumElements() != 2)
    return b.refuse("its axis, indices or values do not fit");
  int64_t depth = type.getDimSize(*axis);
  SmallVector<int64_t> shape(type.getShape());
  shape[*axis] = 1;
  bool isUnsigned = lowering::isUnsigned(op.getIndices());
  return elementwise(
      b, reshape(b, in.getIndices(), shape), type,
      [&](ImplicitLocOpBuilder &b, ValueRange x) -> Value {
        Arith a{b};
        Value index = castScalar(b, x[0], b.getI64Type(), isUnsigned, false);
        Value zero = a.constant(index, 0);
        index = a.select(a.compare(Arith::Less, index, zero),
                         a.add(index, a.constant(index, double(depth))), index);
        Value here = arith::IndexCastOp::create(
            b, b.getI64Type(), linalg::IndexOp::create(b, *axis));
        Value hot = a.compare(Arith::Equal, index, here);
        auto value = [&](int64_t i) -> Value {
          return tensor::ExtractOp::create(b, in.getValues(),
                                           ValueRange{indexConstant(b, i)});
        };
        return a.select(hot, value(1), value(0));
      });
}

} // namespace

void lowering::addGatherLowerings(LoweringSet &set) {
  set.add<onnx::GatherOp>(lowerGather);
  set.add<onnx::GatherElementsOp>(lowerGatherElements);
  set.add<onnx::GatherNDOp>(lowerGatherND);
  set.add<onnx::OneHotOp>(lowerOneHot);
}
