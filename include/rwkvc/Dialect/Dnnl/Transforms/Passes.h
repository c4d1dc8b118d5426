//===- Passes.h - Passes of the dnnl dialect --------------------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_DIALECT_DNNL_TRANSFORMS_PASSES_H
#define RWKVC_DIALECT_DNNL_TRANSFORMS_PASSES_H

#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Pass/Pass.h"
#include "rwkvc/Dialect/Dnnl/IR/Dnnl.h"

namespace rwkvc::dnnl {

#define GEN_PASS_DECL
#include "rwkvc/Dialect/Dnnl/Transforms/Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "rwkvc/Dialect/Dnnl/Transforms/Passes.h.inc"

} // namespace rwkvc::dnnl

#endif // RWKVC_DIALECT_DNNL_TRANSFORMS_PASSES_H
