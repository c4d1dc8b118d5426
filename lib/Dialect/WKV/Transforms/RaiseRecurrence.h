//===- RaiseRecurrence.h - Shared by the raising passes ---------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_LIB_DIALECT_WKV_TRANSFORMS_RAISERECURRENCE_H
#define RWKVC_LIB_DIALECT_WKV_TRANSFORMS_RAISERECURRENCE_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/Value.h"
#include "rwkvc/Dialect/ONNX/IR/ONNX.h"
#include "rwkvc/Dialect/ONNX/Transforms/Evaluator.h"
#include "rwkvc/Dialect/ONNX/Transforms/RandomLeaves.h"
#include "rwkvc/Dialect/WKV/Transforms/RecurrenceLaws.h"

namespace rwkvc::wkv {

using onnx::agree;
using onnx::RandomLeaves;

/// A state of a model or of a Scan: the terminator's operand \p result is the
/// next value of the argument.
struct StatePair {
  mlir::BlockArgument argument;
  unsigned result;
};

/// The states of \p func as wkv-pair-states found them, or those of \p scan.
llvm::SmallVector<StatePair> getStatePairs(mlir::func::FuncOp func);
llvm::SmallVector<StatePair> getStatePairs(onnx::ScanOp scan);

/// A value of which the file's own state is one or more parts, up to a factor.
struct ScaledValue {
  mlir::Value value;
  double scale = 1.0;
};

/// The values that a block computes as new states, without the reshapes, casts
/// and scatters that bring them into an output tensor; that holds them times
/// their scale.
llvm::SmallVector<ScaledValue>
findStateUpdates(mlir::Block &block, llvm::ArrayRef<StatePair> states);

/// What \p value is a reshape of.
mlir::Value skipReshapes(mlir::Value value);

/// Views in the onnx dialect; each is the value itself where nothing changes.
mlir::Value reshapeTo(mlir::ImplicitLocOpBuilder &b, mlir::Value value,
                      llvm::ArrayRef<int64_t> shape);
mlir::Value transposeTo(mlir::ImplicitLocOpBuilder &b, mlir::Value value,
                        llvm::ArrayRef<int64_t> perm);
mlir::Value castTo(mlir::ImplicitLocOpBuilder &b, mlir::Value value,
                   mlir::Type element);
mlir::Value intConstant(mlir::ImplicitLocOpBuilder &b,
                        llvm::ArrayRef<int64_t> values);

/// A constant of type \p type, each number rounded to its elements. Null where
/// they cannot hold one.
mlir::Value floatConstant(mlir::ImplicitLocOpBuilder &b,
                          mlir::RankedTensorType type, const Array &data);

/// The operand that \p op multiplies by a number, and the number; none where it
/// does more.
struct Scaling {
  mlir::OpOperand *operand;
  double factor;
};
std::optional<Scaling> getScaling(mlir::Operation *op);

/// Whether \p value is a Cast of integers, so that a number which it is
/// multiplied by is what one of them stands for.
bool holdsIntegers(mlir::Value value);

/// \p value times \p factor.
mlir::Value scaleBy(mlir::ImplicitLocOpBuilder &b, mlir::Value value,
                    double factor);

/// \p factor, or 1 where it is that but for the rounding of its parts.
double dropRounding(double factor);

/// The numbers of \p value if it is an onnx.Constant.
std::optional<Array> readConstant(mlir::Value value);

/// The shape of a float tensor with static shape, or none.
std::optional<llvm::ArrayRef<int64_t>> getFloatShape(mlir::Value value);

struct RaiseCounts {
  unsigned raised = 0, rejected = 0;
};

/// Raises v4's recurrence: three vector states, updated elementwise.
RaiseCounts raiseVectorRecurrences(mlir::Block &block,
                                   llvm::ArrayRef<StatePair> states);

} // namespace rwkvc::wkv

#endif // RWKVC_LIB_DIALECT_WKV_TRANSFORMS_RAISERECURRENCE_H
