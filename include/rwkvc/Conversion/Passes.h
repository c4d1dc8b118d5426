//===- Passes.h - Conversions between dialects ---------------- -*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_CONVERSION_PASSES_H
#define RWKVC_CONVERSION_PASSES_H

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"

namespace rwkvc {

#define GEN_PASS_DECL
#include "rwkvc/Conversion/Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "rwkvc/Conversion/Passes.h.inc"

} // namespace rwkvc

#endif // RWKVC_CONVERSION_PASSES_H
