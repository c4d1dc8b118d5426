//===- ONNX.cpp - The onnx dialect ----------------------------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "rwkvc/Dialect/ONNX/IR/ONNX.h"
#include "mlir/IR/Builders.h"

using namespace mlir;
using namespace rwkvc;

#include "rwkvc/Dialect/ONNX/IR/ONNXOpsDialect.cpp.inc"

#define GET_OP_CLASSES
#include "rwkvc/Dialect/ONNX/IR/ONNXOps.cpp.inc"

void onnx::ONNXDialect::initialize() {
  addOperations<
#define GET_OP_LIST
#include "rwkvc/Dialect/ONNX/IR/ONNXOps.cpp.inc"
      >();
}

OpFoldResult onnx::ConstantOp::fold(FoldAdaptor) { return getValueAttr(); }

llvm::StringRef onnx::getNodeName(Operation *op) {
  if (auto name = op->getAttrOfType<StringAttr>(kNodeNameAttr))
    return name.getValue();
  return op->getName().getStringRef();
}

bool onnx::isShapeView(Operation *op) {
  return isa_and_present<IdentityOp, ReshapeOp, SqueezeOp, UnsqueezeOp,
                         FlattenOp>(op);
}

Value onnx::skipShapeViews(Value value) {
  while (Operation *op = value.getDefiningOp()) {
    if (!isShapeView(op))
      break;
    value = op->getOperand(0);
  }
  return value;
}

std::optional<int64_t> onnx::normalizeAxis(int64_t axis, int64_t rank) {
  if (axis < -rank || axis >= rank)
    return std::nullopt;
  return axis < 0 ? axis + rank : axis;
}

using Numbers = std::optional<llvm::ArrayRef<int64_t>>;

/// Entry \p number of an attribute that is zeros where it is left out.
static int64_t getEntry(const Numbers &numbers, size_t number) {
  return numbers && number < numbers->size() ? (*numbers)[number] : 0;
}

std::optional<int64_t> onnx::getInputAxis(ScanOp scan, size_t number,
                                          int64_t rank) {
  return normalizeAxis(getEntry(scan.getScanInputAxes(), number), rank);
}

std::optional<int64_t> onnx::getOutputAxis(ScanOp scan, size_t number,
                                           int64_t rank) {
  return normalizeAxis(getEntry(scan.getScanOutputAxes(), number), rank);
}

bool onnx::isInputReversed(ScanOp scan, size_t number) {
  return getEntry(scan.getScanInputDirections(), number) != 0;
}

bool onnx::isOutputReversed(ScanOp scan, size_t number) {
  return getEntry(scan.getScanOutputDirections(), number) != 0;
}

bool onnx::isForward(ScanOp scan) {
  auto isForward = [](const Numbers &directions) {
    return !directions ||
           llvm::all_of(*directions, [](int64_t d) { return d == 0; });
  };
  return isForward(scan.getScanInputDirections()) &&
         isForward(scan.getScanOutputDirections());
}

std::optional<llvm::SmallVector<rwkvc::onnx::ConvAxis>>
rwkvc::onnx::getConvAxes(ConvOp op, llvm::ArrayRef<int64_t> data,
                         llvm::ArrayRef<int64_t> weights) {
  size_t count = data.size() - 2;
  auto group = static_cast<int64_t>(op.getGroup());
  if (data.size() < 3 || weights.size() != data.size() || group < 1 ||
      data[1] != weights[1] * group || weights[0] % group != 0)
    return std::nullopt;
  auto fits = [](const std::optional<llvm::ArrayRef<int64_t>> &list,
                 size_t size) { return !list || list->size() == size; };
  auto strides = op.getStrides(), dilations = op.getDilations();
  auto pads = op.getPads(), kernel = op.getKernelShape();
  if (!fits(strides, count) || !fits(dilations, count) ||
      !fits(kernel, count) || !fits(pads, 2 * count))
    return std::nullopt;
  llvm::StringRef mode = op.getAutoPad();
  llvm::SmallVector<ConvAxis> axes;
  for (size_t i = 0; i < count; ++i) {
    ConvAxis axis{weights[i + 2],
                  pads && mode == "NOTSET" ? (*pads)[i] : 0,
                  pads && mode == "NOTSET" ? (*pads)[count + i] : 0,
                  strides ? (*strides)[i] : 1,
                  dilations ? (*dilations)[i] : 1,
                  0};
    int64_t size = data[i + 2];
    if (axis.kernel < 1 || axis.stride < 1 || axis.dilation < 1 || size < 1 ||
        axis.before < 0 || axis.after < 0 ||
        (kernel && (*kernel)[i] != axis.kernel))
      return std::nullopt;
    int64_t reach = (axis.kernel - 1) * axis.dilation + 1;
    if (mode == "SAME_UPPER" || mode == "SAME_LOWER") {
      axis.size = (size + axis.stride - 1) / axis.stride;
      int64_t total =
          std::max<int64_t>((axis.size - 1) * axis.stride + reach - size, 0);
      axis.before = mode == "SAME_UPPER" ? total / 2 : total - total / 2;
      axis.after = total - axis.before;
    } else if (mode == "NOTSET" || mode == "VALID") {
      int64_t room = size + axis.before + axis.after - reach;
      if (room < 0)
        return std::nullopt;
      axis.size = room / axis.stride + 1;
    } else {
      return std::nullopt;
    }
    axes.push_back(axis);
  }
  return axes;
}
