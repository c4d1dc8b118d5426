//===- InitAll.h - Registers all dialects and passes ------------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_INITALL_H
#define RWKVC_INITALL_H

#include "mlir/IR/DialectRegistry.h"

namespace rwkvc {

/// Adds the dialects of rwkvc: onnx and wkv.
void registerAllDialects(mlir::DialectRegistry &registry);

/// Registers every pass and pipeline of rwkvc. Call once per process.
void registerAllPasses();

} // namespace rwkvc

#endif // RWKVC_INITALL_H
