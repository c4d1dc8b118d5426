//===- WKVInterfaces.td - Interfaces of the wkv dialect -------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_DIALECT_WKV_IR_WKVINTERFACES_TD
#define RWKVC_DIALECT_WKV_IR_WKVINTERFACES_TD

include "mlir/IR/OpBase.td"

def WKV_RecurrenceOpInterface : OpInterface<"RecurrenceOpInterface"> {
  let description = [{
    A recurrence over tokens with an explicit state. A pass asks this interface
    and never which RWKV version an op belongs to.
  }];
  let cppNamespace = "::rwkvc::wkv";
  let methods = [
    InterfaceMethod<"Number of tokens T.", "int64_t", "getNumTokens">,
    InterfaceMethod<"Number of heads H; 1 where the state is a vector.",
                    "int64_t", "getNumHeads">,
    InterfaceMethod<[{
      Whether operand number `operand` may have one row that all sequences and
      tokens share, in place of one for each.
    }], "bool", "mayShareOverTokens", (ins "unsigned":$operand),
    [{
      return $_op.getOperandRole(operand) ==
             ::rwkvc::wkv::OperandRole::TokenOrFixed;
    }]>,
    InterfaceMethod<"The old state, one value per tensor.",
                    "::llvm::SmallVector<::mlir::Value>", "getStates">,
    InterfaceMethod<"The new state, in the order of getStates.",
                    "::llvm::SmallVector<::mlir::Value>", "getNewStates">,
    InterfaceMethod<[{
      Number of leading tokens that count, tensor<i64>; null: all of them.
    }], "::mlir::Value", "getNumValidTokens", (ins), [{
      return $_op.getLength();
    }]>,
    InterfaceMethod<[{
      What tells the states of the op apart, in the order of getStates; empty
      where there is only one.
    }], "::llvm::SmallVector<::llvm::StringRef>", "getStateNames">,
    InterfaceMethod<[{
      Value of every element of the states before the first token.
    }], "::llvm::SmallVector<double>", "getInitialStates">,
    InterfaceMethod<"What operand `number` holds.", "::rwkvc::wkv::OperandRole",
                    "getOperandRole", (ins "unsigned":$number)>,
    InterfaceMethod<[{
      Whether the new states depend on operand `number`, beside the old ones.
    }], "bool", "entersState", (ins "unsigned":$number)>,
    InterfaceMethod<[{
      Appends one token's law: from the values of token `t` (the op's operands
      that depend on the token, without their T axis) and `states` build the
      output, [B, H, V] or [B, C], and the new states as linalg on tensors. `token`
      is an index.
    }], "::llvm::SmallVector<::mlir::Value>", "buildStep",
    (ins "::mlir::OpBuilder &":$builder, "::mlir::Value":$token,
         "::mlir::ValueRange":$states)>,
    InterfaceMethod<[{
      Appends the states in the layout that buildBlockStep and buildChunk work on,
      for more than a few tokens: value elements are the last axis.
    }], "::llvm::SmallVector<::mlir::Value>", "packStates",
    (ins "::mlir::OpBuilder &":$builder, "::mlir::ValueRange":$states), [{}], [{
      return ::llvm::to_vector(states);
    }]>,
    InterfaceMethod<[{
      The inverse of packStates; writes over `states`.
    }], "::llvm::SmallVector<::mlir::Value>", "unpackStates",
    (ins "::mlir::OpBuilder &":$builder, "::mlir::ValueRange":$packed,
         "::mlir::ValueRange":$states), [{}], [{
      return ::llvm::to_vector(packed);
    }]>,
    InterfaceMethod<[{
      buildStep on packed states: one token among several.
    }], "::llvm::SmallVector<::mlir::Value>", "buildBlockStep",
    (ins "::mlir::OpBuilder &":$builder, "::mlir::Value":$token,
         "::mlir::ValueRange":$packed), [{}], [{
      return $_op.buildStep(builder, token, packed);
    }]>,
    InterfaceMethod<[{
      Appends the law of `length` tokens at once, from `first` (an index) on, on
      packed states: the same function as so many steps, for any operands.
      Gives the output, [B, length, H, V] or [B, length, C], and the new packed
      states. `length` must suit getChunkGranularity.
    }], "::llvm::SmallVector<::mlir::Value>", "buildChunk",
    (ins "::mlir::OpBuilder &":$builder, "::mlir::Value":$first,
         "int64_t":$length, "::mlir::ValueRange":$packed)>,
    InterfaceMethod<[{
      Work per token of one sequence, in chunks of `length` or, for 0, one token
      after the other.
    }], "::rwkvc::wkv::WorkPerToken", "estimateWork", (ins "int64_t":$length)>,
    InterfaceMethod<"What the length of a chunk must be a multiple of.",
                    "int64_t", "getChunkGranularity">,
    InterfaceMethod<[{
      Tokens that are computed at once, or none: one after the other.
    }], "std::optional<int64_t>", "getChunkLength", (ins), [{
      return $_op.getChunk();
    }]>,
    InterfaceMethod<"Sets, or with 0 removes, the chunk length.", "void",
                    "setChunkLength", (ins "int64_t":$length), [{
      if (length)
        $_op.setChunk(length);
      else
        $_op.removeChunkAttr();
    }]>
  ];
}

#endif // RWKVC_DIALECT_WKV_IR_WKVINTERFACES_TD
