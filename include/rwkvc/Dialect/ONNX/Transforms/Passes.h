//===- Passes.h - Passes of the onnx dialect --------------------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_DIALECT_ONNX_TRANSFORMS_PASSES_H
#define RWKVC_DIALECT_ONNX_TRANSFORMS_PASSES_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"

namespace rwkvc::onnx {

#define GEN_PASS_DECL
#include "rwkvc/Dialect/ONNX/Transforms/Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "rwkvc/Dialect/ONNX/Transforms/Passes.h.inc"

} // namespace rwkvc::onnx

#endif // RWKVC_DIALECT_ONNX_TRANSFORMS_PASSES_H
