//===- LiftingRules.h - How ops are computed at many points -----*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_LIB_DIALECT_WKV_TRANSFORMS_LIFTINGRULES_H
#define RWKVC_LIB_DIALECT_WKV_TRANSFORMS_LIFTINGRULES_H

#include "rwkvc/Dialect/WKV/Transforms/Lifting.h"

namespace rwkvc::wkv {

/// Adds the rules of the wkv dialect.
void registerWKVLifting(mlir::DialectRegistry &registry);

} // namespace rwkvc::wkv

#endif // RWKVC_LIB_DIALECT_WKV_TRANSFORMS_LIFTINGRULES_H
