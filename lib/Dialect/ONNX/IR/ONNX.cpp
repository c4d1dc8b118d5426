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
