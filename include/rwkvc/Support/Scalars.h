//===- Scalars.h - Casts of scalars -----------------------------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_SUPPORT_SCALARS_H
#define RWKVC_SUPPORT_SCALARS_H

#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace rwkvc {

/// \p value, a floating-point number, as one of \p type.
mlir::Value castFloat(mlir::ImplicitLocOpBuilder &b, mlir::Value value,
                      mlir::Type type);

} // namespace rwkvc

#endif // RWKVC_SUPPORT_SCALARS_H
