//===- Passes.h - Passes of the wkv dialect ---------------------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_DIALECT_WKV_TRANSFORMS_PASSES_H
#define RWKVC_DIALECT_WKV_TRANSFORMS_PASSES_H

#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"
#include "mlir/Pass/PassManager.h"

namespace rwkvc::wkv {

#define GEN_PASS_DECL
#include "rwkvc/Dialect/WKV/Transforms/Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "rwkvc/Dialect/WKV/Transforms/Passes.h.inc"

/// The raise phase on an imported model: pairs states, recognises recurrences
/// and their decays, token shift and mixes, low-rank projections and norms.
/// Alive before: func, onnx; after: func, onnx, wkv and tensor.empty.
void buildRaisePipeline(mlir::OpPassManager &pm);

} // namespace rwkvc::wkv

#endif // RWKVC_DIALECT_WKV_TRANSFORMS_PASSES_H
