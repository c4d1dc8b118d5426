//===- Passes.h - Target-independent passes on buffers ----------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_TRANSFORMS_PASSES_H
#define RWKVC_TRANSFORMS_PASSES_H

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"

namespace rwkvc {

#define GEN_PASS_DECL
#include "rwkvc/Transforms/Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "rwkvc/Transforms/Passes.h.inc"

/// Of a `scf.execute_region` of kernels, and of the function that it becomes:
/// no kernel in it depends on another.
inline constexpr llvm::StringLiteral kIndependentAttr = "rwkvc.independent";

/// Of a `linalg.generic`: the numbers of a parallel loop and of an input, a
/// scalar. Only so many of the loop's first iterations are needed, from none to
/// all; what the others yield, nobody reads.
inline constexpr llvm::StringLiteral kNeededAttr = "rwkvc.needed";

/// The formats that rwkvc-quantize-weights knows.
llvm::ArrayRef<llvm::StringRef> getWeightFormats();

} // namespace rwkvc

#endif // RWKVC_TRANSFORMS_PASSES_H
