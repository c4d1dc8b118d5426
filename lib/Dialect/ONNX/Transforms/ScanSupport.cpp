//===- ScanSupport.cpp - Shared by the passes on loops over tokens --------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ScanSupport.h"

using namespace mlir;
using namespace rwkvc::onnx;
using namespace rwkvc::onnx::evaluation;

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

static Value createSlice(ImplicitLocOpBuilder &b, Value value, int64_t axis,
                         int64_t start, int64_t end, int64_t step,
                         int64_t size) {
  OperationState state(b.getLoc(), SliceOp::getOperationName());
  state.addOperands({value, createIntegers(b, start), createIntegers(b, end),
                     createIntegers(b, axis), createIntegers(b, step)});
  state.addTypes(resize(cast<RankedTensorType>(value.getType()), axis, size));
  return b.create(state)->getResult(0);
}

Value rwkvc::onnx::createSlice(ImplicitLocOpBuilder &b, Value value,
                               int64_t axis, int64_t start, int64_t size) {
  return ::createSlice(b, value, axis, start, start + size, 1, size);
}

Value rwkvc::onnx::createReverse(ImplicitLocOpBuilder &b, Value value,
                                 int64_t axis) {
  int64_t size = cast<RankedTensorType>(value.getType()).getDimSize(axis);
  return ::createSlice(b, value, axis, -1, -size - 1, -1, size);
}

Value rwkvc::onnx::createConcat(ImplicitLocOpBuilder &b, ValueRange values,
                                int64_t axis) {
  if (values.size() == 1)
    return values.front();
  int64_t size = 0;
  for (Type type : values.getTypes())
    size += cast<RankedTensorType>(type).getDimSize(axis);
  OperationState state(b.getLoc(), ConcatOp::getOperationName());
  state.addOperands(values);
  state.addTypes(
      resize(cast<RankedTensorType>(values.front().getType()), axis, size));
  state.addAttribute("axis", b.getI64IntegerAttr(axis));
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

std::optional<int64_t> rwkvc::onnx::getStepOffset(LoopOp loop, Value value) {
  int64_t offset = 0;
  while (value != loop.getBody().getArgument(0)) {
    Operation *op = value.getDefiningOp();
    if (!op)
      return std::nullopt;
    unsigned counted = 0;
    if (isa<AddOp, SubOp, MulOp>(op)) {
      auto number = getConstantIntegers(op->getOperand(1));
      // The constant of a sum or product may come first.
      if (!number && !isa<SubOp>(op)) {
        number = getConstantIntegers(op->getOperand(0));
        counted = 1;
      }
      if (!number || number->size() != 1 ||
          (isa<MulOp>(op) && number->front() != 1))
        return std::nullopt;
      if (!isa<MulOp>(op))
        offset += isa<SubOp>(op) ? -number->front() : number->front();
    } else if (!isShapeView(op) && !isa<CastOp>(op)) {
      return std::nullopt;
    }
    value = op->getOperand(counted);
  }
  return offset;
}

std::optional<LoopGrowth> rwkvc::onnx::getGrowth(LoopOp loop, unsigned number) {
  RankedTensorType initial = getStaticType(loop.getVInitial()[number]);
  Block &body = loop.getBody().front();
  Value value = body.getArgument(number + 2);
  LoopGrowth growth;
  // From the state through the concatenations to what is yielded.
  while (initial && value.hasOneUse()) {
    OpOperand &use = *value.use_begin();
    if (use.getOwner() == body.getTerminator())
      return use.getOperandNumber() == number + 1 && !growth.pieces.empty()
                 ? std::optional(growth)
                 : std::nullopt;
    auto concat = dyn_cast<ConcatOp>(use.getOwner());
    if (!concat || concat->getBlock() != &body)
      return std::nullopt;
    auto axis = normalizeAxis(concat.getAxis(), initial.getRank());
    unsigned last = concat->getNumOperands() - 1, at = use.getOperandNumber();
    bool isFirst = growth.concats.empty();
    if (!axis || last == 0 || (at != 0 && at != last) ||
        (!isFirst && (*axis != growth.axis || (at != 0) != growth.atFront)))
      return std::nullopt;
    growth.axis = *axis;
    growth.atFront = at != 0;
    ValueRange added = concat->getOperands();
    added = growth.atFront ? added.drop_back() : added.drop_front();
    for (Value piece : added) {
      RankedTensorType type = getStaticType(piece);
      if (!type || type.getRank() != initial.getRank() ||
          resize(type, *axis, 1) != resize(initial, *axis, 1))
        return std::nullopt;
      growth.extent += type.getDimSize(*axis);
    }
    growth.pieces.insert(growth.atFront ? growth.pieces.begin()
                                        : growth.pieces.end(),
                         added.begin(), added.end());
    growth.concats.push_back(concat);
    value = concat->getResult(0);
  }
  return std::nullopt;
}
