//===- WKV.h - The wkv dialect ----------------------------------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_DIALECT_WKV_IR_WKV_H
#define RWKVC_DIALECT_WKV_IR_WKV_H

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/Interfaces/DestinationStyleOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "mlir/Interfaces/TilingInterface.h"

#include "rwkvc/Dialect/WKV/IR/WKVEnums.h.inc"

namespace rwkvc::wkv {

/// What an operand of a recurrence holds.
enum class OperandRole {
  Token,        ///< a row for each token, [B, T, ..]
  TokenOrFixed, ///< likewise, or one row for all of them, [1, 1, ..]
  Parameter,    ///< the same for all sequences and tokens
  Length,       ///< the number of tokens that count
  Output,       ///< what the output is written into, [B, T, ..]
  State,        ///< a state of each sequence, [B, ..]
};

/// What a form of a recurrence computes for a token.
struct WorkPerToken {
  double passes;   ///< operations of passes over vectors or the state
  double products; ///< multiply-adds of matrix products
};

/// Value of the empty running maximum (reference section 2: finite, so that no
/// difference is inf - inf).
inline constexpr double kEmptyMaximum = -1e30;

} // namespace rwkvc::wkv

#include "rwkvc/Dialect/WKV/IR/WKVInterfaces.h.inc"

#include "rwkvc/Dialect/WKV/IR/WKVOpsDialect.h.inc"

#define GET_ATTRDEF_CLASSES
#include "rwkvc/Dialect/WKV/IR/WKVAttributes.h.inc"

#define GET_OP_CLASSES
#include "rwkvc/Dialect/WKV/IR/WKVOps.h.inc"

namespace rwkvc::wkv {

/// Argument attribute: index of the result that is the new value of this state.
/// It has the same elements in the same order; its shape may differ in axes of
/// size one and the like.
inline constexpr llvm::StringLiteral kStateAttr = "wkv.state";
/// Argument attribute: every element of the empty state (absent means 0).
inline constexpr llvm::StringLiteral kInitialAttr = "wkv.initial";
/// Argument attribute: exclusive upper bound of an index input (token ids).
inline constexpr llvm::StringLiteral kIndexLimitAttr = "wkv.index_limit";
/// Module attributes: argument number of the token, result number of the
/// logits.
inline constexpr llvm::StringLiteral kTokenInputAttr = "wkv.token_input";
inline constexpr llvm::StringLiteral kLogitsOutputAttr = "wkv.logits_output";

/// Functions of a module: the graph as the file has it, and the derived forms
/// over the states of the ops: one token of each sequence, or a block of them.
inline constexpr llvm::StringLiteral kMainName = "main";
inline constexpr llvm::StringLiteral kStepName = "step";
inline constexpr llvm::StringLiteral kPrefillName = "prefill";
/// Function attribute: the texts that the file computes at once. On a step, of
/// which one is left; on a conversion, how many texts' states it takes.
inline constexpr llvm::StringLiteral kTextsAttr = "wkv.texts";
/// Function attribute of a derived form, and its values.
inline constexpr llvm::StringLiteral kFormAttr = "wkv.form";
inline constexpr llvm::StringLiteral kStepForm = "step";
inline constexpr llvm::StringLiteral kPrefillForm = "prefill";
/// Unit attributes of a form's arguments and result.
inline constexpr llvm::StringLiteral kTokensAttr = "wkv.tokens";
inline constexpr llvm::StringLiteral kLengthAttr = "wkv.length";
inline constexpr llvm::StringLiteral kLogitsAttr = "wkv.logits";

} // namespace rwkvc::wkv

#endif // RWKVC_DIALECT_WKV_IR_WKV_H
