//===- Passes.h - Passes that shape the compiled artefact -------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_AOT_PASSES_H
#define RWKVC_AOT_PASSES_H

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"

namespace rwkvc::aot {

#define GEN_PASS_DECL
#include "rwkvc/AOT/Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "rwkvc/AOT/Passes.h.inc"

} // namespace rwkvc::aot

#endif // RWKVC_AOT_PASSES_H
