//===- Forms.h - What the derived forms have in common ----------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_LIB_DIALECT_WKV_TRANSFORMS_FORMS_H
#define RWKVC_LIB_DIALECT_WKV_TRANSFORMS_FORMS_H

#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinTypes.h"
#include "rwkvc/Dialect/WKV/IR/WKV.h"

namespace rwkvc::wkv {

/// Value of kFormAttr on what has the states of a step but several tokens, in
/// the axes of the file; no artefact contains it.
inline constexpr llvm::StringLiteral kSequenceForm = "sequence";

/// \p value, of static shape, with the elements in their order and the shape of
/// \p type.
mlir::Value reshapeTensor(mlir::OpBuilder &b, mlir::Location loc,
                          mlir::Value value, mlir::RankedTensorType type);

/// Erases ops of \p block, from its end, whose results nobody reads.
void eraseDeadOps(mlir::Block &block);

} // namespace rwkvc::wkv

#endif // RWKVC_LIB_DIALECT_WKV_TRANSFORMS_FORMS_H
