//===- ScanSupport.cpp - Shared by the passes on loops over tokens --------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ScanSupport.h"

using namespace mlir;
using namespace rwkvc::onnx;

RankedTensorType rwkvc::onnx::getStaticType(Value value) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  return type && type.hasStaticShape() ? type : RankedTensorType();
}

std::optional<evaluation::Shape> rwkvc::onnx::getConstantIntegers(Value value) {
  auto constant = value.getDefiningOp<ConstantOp>();
  if (!constant)
    return std::nullopt;
  FailureOr<HostTensor> tensor = readElements(constant.getValue());
  if (failed(tensor))
    return std::nullopt;
  return evaluation::getIntegers(&*tensor);
}

Value rwkvc::onnx::createIntegers(ImplicitLocOpBuilder &b,
                                  ArrayRef<int64_t> values) {
  auto type = RankedTensorType::get({static_cast<int64_t>(values.size())},
                                    b.getI64Type());
  return ConstantOp::create(
      b, type, cast<ElementsAttr>(DenseElementsAttr::get(type, values)));
}

Value rwkvc::onnx::createReshape(ImplicitLocOpBuilder &b, Value value,
                                 ArrayRef<int64_t> shape) {
  auto type = cast<RankedTensorType>(value.getType());
  if (type.getShape() == shape)
    return value;
  OperationState state(b.getLoc(), ReshapeOp::getOperationName());
  state.addOperands({value, createIntegers(b, shape)});
  state.addTypes(type.clone(shape));
  return b.create(state)->getResult(0);
}

Value rwkvc::onnx::createPrefix(ImplicitLocOpBuilder &b, Value value,
                                int64_t axis, int64_t size) {
  OperationState state(b.getLoc(), SliceOp::getOperationName());
  state.addOperands({value, createIntegers(b, 0), createIntegers(b, size),
                     createIntegers(b, axis), createIntegers(b, 1)});
  state.addTypes(resize(cast<RankedTensorType>(value.getType()), axis, size));
  return b.create(state)->getResult(0);
}

RankedTensorType rwkvc::onnx::resize(RankedTensorType type, int64_t axis,
                                     std::optional<int64_t> size) {
  SmallVector<int64_t> shape(type.getShape());
  if (size)
    shape[axis] = *size;
  else
    shape.erase(shape.begin() + axis);
  return type.clone(shape);
}
