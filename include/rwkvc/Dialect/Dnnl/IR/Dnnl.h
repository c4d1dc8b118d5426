//===- Dnnl.h - The dnnl dialect --------------------------------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_DIALECT_DNNL_IR_DNNL_H
#define RWKVC_DIALECT_DNNL_IR_DNNL_H

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/Dialect/Bufferization/IR/BufferizableOpInterface.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/Interfaces/DestinationStyleOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "rwkvc/Dialect/Dnnl/IR/DnnlEnums.h.inc"
#include "rwkvc/Dialect/Dnnl/IR/DnnlOpsDialect.h.inc"

#define GET_ATTRDEF_CLASSES
#include "rwkvc/Dialect/Dnnl/IR/DnnlAttributes.h.inc"

namespace rwkvc::dnnl {
/// Whether \p op takes an operand beside the product.
inline bool isBinary(PostOp op) {
  return op == PostOp::Add || op == PostOp::Mul;
}
} // namespace rwkvc::dnnl

#define GET_OP_CLASSES
#include "rwkvc/Dialect/Dnnl/IR/DnnlOps.h.inc"

#endif // RWKVC_DIALECT_DNNL_IR_DNNL_H
