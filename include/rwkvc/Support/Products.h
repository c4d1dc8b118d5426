//===- Products.h - Matrix products among linalg ops ------------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_SUPPORT_PRODUCTS_H
#define RWKVC_SUPPORT_PRODUCTS_H

#include "mlir/IR/AffineMap.h"
#include "mlir/IR/Block.h"
#include <optional>

namespace rwkvc {

/// Whether \p body , of a linalg op with one output, is c + a * b in floating
/// point: a and b are its first inputs, widened to the type of c if they have
/// another one.
bool isProductBody(mlir::Block &body);

/// The axis of the tensor that \p map indexes by loop \p loop alone.
std::optional<unsigned> findAxis(mlir::AffineMap map, unsigned loop);

} // namespace rwkvc

#endif // RWKVC_SUPPORT_PRODUCTS_H
