//===- RaiseSupport.cpp - Shared by the raising passes --------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "RaiseRecurrence.h"
#include "rwkvc/Dialect/ONNX/IR/ONNX.h"
#include "rwkvc/Dialect/WKV/IR/WKV.h"

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

SmallVector<Value> rwkvc::wkv::findStateUpdates(Block &block,
                                                ArrayRef<StatePair> states) {
  SmallVector<Value> updates;
  SmallVector<Value> worklist;
  for (const StatePair &state : states)
    worklist.push_back(block.getTerminator()->getOperand(state.result));
  llvm::SmallDenseSet<Value> seen;
  while (!worklist.empty()) {
    Value value = worklist.pop_back_val();
    if (!seen.insert(value).second)
      continue;
    Operation *op = value.getDefiningOp();
    if (!op)
      continue;
    if (onnx::isShapeView(op) || isa<onnx::CastOp, onnx::TransposeOp>(op)) {
      worklist.push_back(op->getOperand(0));
    } else if (isa<onnx::ScatterNDOp, onnx::ScatterElementsOp>(op)) {
      worklist.push_back(op->getOperand(0)); // data: earlier writes
      worklist.push_back(op->getOperand(2)); // updates
    } else if (isa<onnx::ConcatOp>(op)) {
      llvm::append_range(worklist, op->getOperands());
    } else {
      updates.push_back(value);
    }
  }
  return updates;
}
