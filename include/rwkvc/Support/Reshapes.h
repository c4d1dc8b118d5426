//===- Reshapes.h - Chains of reshapes --------------------------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_SUPPORT_RESHAPES_H
#define RWKVC_SUPPORT_RESHAPES_H

#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace rwkvc {

/// Whether \p op is a tensor.expand_shape or tensor.collapse_shape.
bool isReshape(mlir::Operation *op);

/// What \p value is a reshape of, or \p value .
mlir::Value getReshapeSource(mlir::Value value);

/// The op behind the reshapes that lead to \p value, null for an argument. \p
/// reshapes receives them from that op outwards. Ends at a reshape with several
/// users.
mlir::Operation *
skipReshapes(mlir::Value value,
             llvm::SmallVectorImpl<mlir::Operation *> &reshapes);

/// \p value in the shape from which \p reshapes lead to its own.
mlir::Value undoReshapes(mlir::OpBuilder &builder,
                         llvm::ArrayRef<mlir::Operation *> reshapes,
                         mlir::Value value);

/// \p value with axis \p axis split into the sizes \p inside, the last ones,
/// and what is left.
mlir::Value splitAxis(mlir::ImplicitLocOpBuilder &b, mlir::Value value,
                      unsigned axis, llvm::ArrayRef<int64_t> inside);

/// \p constant with axis \p axis split into parts of \p inside elements and
/// what is left; the elements are the same.
mlir::ElementsAttr splitAxis(mlir::ElementsAttr constant, unsigned axis,
                             int64_t inside);

/// Sees to it that \p value is there before \p op : true if it is, or is a
/// reshape, which may move, of what is.
bool hoistReshapes(mlir::Value value, mlir::Operation *op);

} // namespace rwkvc

#endif // RWKVC_SUPPORT_RESHAPES_H
