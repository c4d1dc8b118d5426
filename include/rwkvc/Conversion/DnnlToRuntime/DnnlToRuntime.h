//===- DnnlToRuntime.h - dnnl to calls of the runtime -----------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_CONVERSION_DNNLTORUNTIME_DNNLTORUNTIME_H
#define RWKVC_CONVERSION_DNNLTORUNTIME_DNNLTORUNTIME_H

#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinOps.h"

namespace rwkvc {

/// Whether \p module, after convert-dnnl-to-runtime, calls librwkvc-rt-dnnl and
/// must be linked with it.
bool callsDnnlRuntime(mlir::ModuleOp module);

/// The status (i32, 0 = success) of the dnnl calls that the thread has made
/// since this was last asked; null if \p module makes none. An entry function
/// ends with it and returns it.
mlir::Value takeDnnlStatus(mlir::OpBuilder &builder, mlir::Location loc,
                           mlir::ModuleOp module);

} // namespace rwkvc

#endif // RWKVC_CONVERSION_DNNLTORUNTIME_DNNLTORUNTIME_H
