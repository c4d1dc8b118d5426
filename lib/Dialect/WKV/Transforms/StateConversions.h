//===- StateConversions.h - The file's states and the ops' ------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_LIB_DIALECT_WKV_TRANSFORMS_STATECONVERSIONS_H
#define RWKVC_LIB_DIALECT_WKV_TRANSFORMS_STATECONVERSIONS_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include <string>

namespace rwkvc::wkv {

/// Names of the functions, and values of kFormAttr on them.
inline constexpr llvm::StringLiteral kUnpackName = "unpack";
inline constexpr llvm::StringLiteral kPackName = "pack";

/// A state of an op of the file's function.
struct CanonicalState {
  std::string name;
  mlir::Value old, next;
  double initial = 0.0;
  bool isConstant = false; ///< the file always starts with the empty state
};

/// Adds @unpack, from the file's states to \p states, and @pack, the way back,
/// to the module of \p main, whose states are those of \p numTexts texts.
/// Nothing where the file has none.
void addStateConversions(mlir::func::FuncOp main,
                         llvm::ArrayRef<CanonicalState> states,
                         int64_t numTexts);

/// Where texts lie in a state: text n of N has elements (o N + n) inner + i of
/// dimension `dim`.
struct TextAxis {
  int64_t dim = 0, outer = 1, inner = 1;
};

/// Makes the texts the first axis of canonical state \p number in @unpack and
/// @pack of \p module, where these are there.
void moveTextsFirst(mlir::ModuleOp module, unsigned number,
                    const TextAxis &axis, int64_t numTexts);

} // namespace rwkvc::wkv

#endif // RWKVC_LIB_DIALECT_WKV_TRANSFORMS_STATECONVERSIONS_H
