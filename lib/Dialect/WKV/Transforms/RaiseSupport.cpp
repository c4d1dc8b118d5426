//===- RaiseSupport.cpp - Shared by the raising passes --------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "RaiseRecurrence.h"
#include "rwkvc/Dialect/ONNX/IR/ONNX.h"
#include "rwkvc/Dialect/WKV/IR/WKV.h"
#include <cmath>

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::wkv;

Value rwkvc::wkv::intConstant(ImplicitLocOpBuilder &b,
                              ArrayRef<int64_t> values) {
  auto type = RankedTensorType::get({static_cast<int64_t>(values.size())},
                                    b.getI64Type());
  return onnx::ConstantOp::create(
      b, type, cast<ElementsAttr>(DenseElementsAttr::get(type, values)));
}

Value rwkvc::wkv::skipReshapes(Value value) {
  while (Operation *op = value.getDefiningOp()) {
    if (!onnx::isShapeView(op) || !getFloatShape(op->getOperand(0)))
      break;
    value = op->getOperand(0);
  }
  return value;
}

Value rwkvc::wkv::reshapeTo(ImplicitLocOpBuilder &b, Value value,
                            ArrayRef<int64_t> shape) {
  auto type = cast<RankedTensorType>(value.getType());
  if (type.getShape() == shape)
    return value;
  // A reshape of a reshape is one of the first tensor.
  value = skipReshapes(value);
  if (value.getType() == type.clone(shape))
    return value;
  OperationState s(b.getLoc(), onnx::ReshapeOp::getOperationName());
  s.addOperands({value, intConstant(b, shape)});
  s.addTypes(type.clone(shape));
  return b.create(s)->getResult(0);
}

Value rwkvc::wkv::transposeTo(ImplicitLocOpBuilder &b, Value value,
                              ArrayRef<int64_t> perm) {
  if (llvm::equal(perm, llvm::seq<int64_t>(0, perm.size())))
    return value;
  auto type = cast<RankedTensorType>(value.getType());
  SmallVector<int64_t> shape;
  for (int64_t dim : perm)
    shape.push_back(type.getDimSize(dim));
  OperationState s(b.getLoc(), onnx::TransposeOp::getOperationName());
  s.addOperands(value);
  s.addTypes(type.clone(shape));
  s.addAttribute("perm", b.getDenseI64ArrayAttr(perm));
  return b.create(s)->getResult(0);
}

Value rwkvc::wkv::castTo(ImplicitLocOpBuilder &b, Value value, Type element) {
  auto type = cast<RankedTensorType>(value.getType());
  if (type.getElementType() == element)
    return value;
  // ONNX data type codes of the float types.
  int64_t code = element.isF32()   ? 1
                 : element.isF16() ? 10
                 : element.isF64() ? 11
                                   : 16;
  OperationState s(b.getLoc(), onnx::CastOp::getOperationName());
  s.addOperands(value);
  s.addTypes(type.clone(element));
  s.addAttribute("to", b.getI64IntegerAttr(code));
  return b.create(s)->getResult(0);
}

Value rwkvc::wkv::floatConstant(ImplicitLocOpBuilder &b, RankedTensorType type,
                                const Array &data) {
  onnx::HostTensor tensor;
  tensor.shape.assign(type.getShape().begin(), type.getShape().end());
  tensor.elementType = type.getElementType();
  tensor.data.assign(data.begin(), data.end());
  FailureOr<ElementsAttr> attr = onnx::writeElements(tensor);
  if (failed(attr))
    return {};
  return onnx::ConstantOp::create(b, attr->getType(), *attr);
}

std::optional<Array> rwkvc::wkv::readConstant(Value value) {
  auto constant = value.getDefiningOp<onnx::ConstantOp>();
  if (!constant)
    return std::nullopt;
  FailureOr<onnx::HostTensor> tensor = onnx::readElements(constant.getValue());
  if (failed(tensor))
    return std::nullopt;
  return std::move(tensor->data);
}

std::optional<Scaling> rwkvc::wkv::getScaling(Operation *op) {
  if (!isa_and_nonnull<onnx::MulOp, onnx::DivOp>(op))
    return std::nullopt;
  auto shape = getFloatShape(op->getResult(0));
  for (unsigned number : {1, 0}) {
    if (number == 0 && isa<onnx::DivOp>(op))
      break;
    OpOperand &other = op->getOpOperand(1 - number);
    std::optional<Array> data = readConstant(op->getOperand(number));
    if (!shape || !data || data->size() != 1 ||
        getFloatShape(other.get()) != shape)
      continue;
    double factor = isa<onnx::DivOp>(op) ? 1.0 / data->front() : data->front();
    if (factor != 0.0 && std::isfinite(factor))
      return Scaling{&other, factor};
  }
  return std::nullopt;
}

bool rwkvc::wkv::holdsIntegers(Value value) {
  auto cast = value.getDefiningOp<onnx::CastOp>();
  return cast && isa<IntegerType>(getElementTypeOrSelf(cast.getInput()));
}

Value rwkvc::wkv::scaleBy(ImplicitLocOpBuilder &b, Value value, double factor) {
  if (factor == 1.0)
    return value;
  auto type = cast<RankedTensorType>(value.getType());
  Value number = floatConstant(
      b, RankedTensorType::get({}, type.getElementType()), Array{factor});
  return onnx::MulOp::create(b, type, value, number);
}

double rwkvc::wkv::dropRounding(double factor) {
  return std::abs(factor - 1.0) <= 1e-6 ? 1.0 : factor;
}

std::optional<ArrayRef<int64_t>> rwkvc::wkv::getFloatShape(Value value) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  if (!type || !type.hasStaticShape() || !isa<FloatType>(type.getElementType()))
    return std::nullopt;
  return type.getShape();
}

SmallVector<StatePair> rwkvc::wkv::getStatePairs(func::FuncOp func) {
  SmallVector<StatePair> states;
  for (BlockArgument argument : func.getArguments())
    if (auto result = func.getArgAttrOfType<IntegerAttr>(
            argument.getArgNumber(), kStateAttr))
      states.push_back({argument, static_cast<unsigned>(result.getInt())});
  return states;
}

SmallVector<StatePair> rwkvc::wkv::getStatePairs(onnx::ScanOp scan) {
  SmallVector<StatePair> states;
  unsigned count = scan->getNumOperands() - scan.getNumScanInputs();
  for (unsigned i = 0; i < count; ++i)
    states.push_back({scan.getBody().front().getArgument(i), i});
  return states;
}

SmallVector<ScaledValue>
rwkvc::wkv::findStateUpdates(Block &block, ArrayRef<StatePair> states) {
  SmallVector<ScaledValue> updates, worklist;
  for (const StatePair &state : states)
    worklist.push_back({block.getTerminator()->getOperand(state.result)});
  llvm::SmallDenseSet<Value> seen;
  while (!worklist.empty()) {
    auto [value, scale] = worklist.pop_back_val();
    if (!seen.insert(value).second)
      continue;
    Operation *op = value.getDefiningOp();
    if (!op)
      continue;
    auto add = [&, scale = scale](Value operand, double factor = 1.0) {
      worklist.push_back({operand, scale * factor});
    };
    if (onnx::isShapeView(op) || isa<onnx::CastOp, onnx::TransposeOp>(op)) {
      add(op->getOperand(0));
    } else if (isa<onnx::ScatterNDOp, onnx::ScatterElementsOp>(op)) {
      add(op->getOperand(0)); // data: earlier writes
      add(op->getOperand(2)); // updates
    } else if (isa<onnx::ConcatOp>(op)) {
      for (Value operand : op->getOperands())
        add(operand);
    } else if (std::optional<Scaling> scaling = getScaling(op)) {
      add(scaling->operand->get(), scaling->factor);
    } else {
      updates.push_back({value, scale});
    }
  }
  return updates;
}
