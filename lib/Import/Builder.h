//===- Builder.h - Builds the onnx dialect from a protobuf ------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_LIB_IMPORT_BUILDER_H
#define RWKVC_LIB_IMPORT_BUILDER_H

#include "Prepare.h"

namespace rwkvc::import {

/// The module for \p model, which is prepared: sorted, of the newest operator
/// set, functions inlined, shapes inferred. Null after an error.
mlir::OwningOpRef<mlir::ModuleOp>
buildModule(::onnx::ModelProto &model, Weights &weights, TensorReader &reader);

} // namespace rwkvc::import

#endif // RWKVC_LIB_IMPORT_BUILDER_H
