//===- Passes.h - What pipelines add between phases -------------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_PIPELINES_PASSES_H
#define RWKVC_PIPELINES_PASSES_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"

namespace rwkvc {

#define GEN_PASS_DECL
#include "rwkvc/Pipelines/Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "rwkvc/Pipelines/Passes.h.inc"

} // namespace rwkvc

#endif // RWKVC_PIPELINES_PASSES_H
