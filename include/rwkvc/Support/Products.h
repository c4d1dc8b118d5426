//===- Products.h - Matrix products among linalg ops ------------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_SUPPORT_PRODUCTS_H
#define RWKVC_SUPPORT_PRODUCTS_H

#include "mlir/IR/Block.h"

namespace rwkvc {

/// Whether \p body , of a linalg op with two inputs and one output, is
/// c + a * b in floating point, with a and b widened to the type of c if they
/// have another one.
bool isProductBody(mlir::Block &body);

} // namespace rwkvc

#endif // RWKVC_SUPPORT_PRODUCTS_H
