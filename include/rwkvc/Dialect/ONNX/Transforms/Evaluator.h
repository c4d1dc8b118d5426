//===- Evaluator.h - Reference evaluation of the onnx dialect ---*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Computes onnx ops in float64. Slow and plain: what folding and the check of a
// raised replacement compare against.
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_DIALECT_ONNX_TRANSFORMS_EVALUATOR_H
#define RWKVC_DIALECT_ONNX_TRANSFORMS_EVALUATOR_H

#include "mlir/IR/BuiltinAttributeInterfaces.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Value.h"
#include "llvm/ADT/DenseMap.h"
#include <optional>
#include <vector>

namespace rwkvc::onnx {

class IfOp;
class LoopOp;
class SliceOp;

/// A tensor in host memory, row-major. Every element type is held as double, so
/// integers are exact up to 2^53; 2^63 stands for the largest int64.
struct HostTensor {
  llvm::SmallVector<int64_t> shape;
  std::vector<double> data;
  mlir::Type elementType;

  int64_t getRank() const { return static_cast<int64_t>(shape.size()); }
  int64_t getNumElements() const { return static_cast<int64_t>(data.size()); }
};

struct EvaluatorOptions {
  /// Round every result to its element type, as an op of that type would: what
  /// folding needs. Otherwise floats stay float64 throughout. With it, integer
  /// results that double cannot hold exactly are failures.
  bool roundToType = false;
  /// A Scan that is left after maxSteps, if it has more: the rest of its
  /// outputs is NaN, and its states are those of the last step that was made.
  mlir::Operation *cutScan = nullptr;
  int64_t maxSteps = 0;
};

/// The elements of \p attr: dense or a dense resource, of any type of the onnx
/// dialect. Fails for int64 values that double cannot hold.
mlir::FailureOr<HostTensor> readElements(mlir::ElementsAttr attr);

/// The attribute with the elements of \p tensor, rounded to its element type:
/// dense when equal everywhere, boolean or at most 1 KiB, else a dense
/// resource called \p name .
mlir::FailureOr<mlir::ElementsAttr>
writeElements(const HostTensor &tensor, llvm::StringRef name = "folded");

/// Evaluates one op. \p inputs has one entry per operand, null where the
/// operand is left out. Fails, without a diagnostic, for an op that has no
/// evaluation and for operands that the op does not allow.
mlir::FailureOr<llvm::SmallVector<HostTensor>>
evaluate(mlir::Operation *op, llvm::ArrayRef<const HostTensor *> inputs,
         const EvaluatorOptions &options = {});

/// Evaluates \p outputs from the values in \p inputs, which take precedence
/// over definitions, and from constants. Fails when it meets another block
/// argument or an op that cannot be evaluated. A null output gives an empty
/// tensor.
mlir::FailureOr<llvm::SmallVector<HostTensor>>
evaluateRegion(llvm::ArrayRef<mlir::Value> outputs,
               const llvm::DenseMap<mlir::Value, HostTensor> &inputs,
               const EvaluatorOptions &options = {});

/// What a shape rule knows of an operand. All absent for an omitted operand.
struct OperandFacts {
  std::optional<llvm::SmallVector<int64_t>> shape;
  const HostTensor *value = nullptr;
};

/// The static shapes of the results of \p op. Fails where they do not follow
/// from the facts, the op has no rule, or the operands contradict each other.
mlir::FailureOr<llvm::SmallVector<llvm::SmallVector<int64_t>>>
inferResultShapes(mlir::Operation *op, llvm::ArrayRef<OperandFacts> operands);

/// Gives the arguments of the bodies of a Scan or Loop the static shapes of
/// what they take. Returns how many had none.
unsigned inferBodyArguments(mlir::Operation *op);

/// Gives the results of a Scan, Loop or If the static shapes of what its bodies
/// yield. Returns how many had none.
unsigned inferFromBodies(mlir::Operation *op);

/// The number of steps of a \p loop that only counts, if it is known.
std::optional<int64_t> getTripCount(LoopOp loop);

/// The branch of \p choice that a constant condition takes, else null.
mlir::Region *getTakenBranch(IfOp choice);

/// The shape of \p slice where it takes `data[i : i + n]` along one axis, i
/// being the step number of a loop that stays inside of the data; else nothing.
std::optional<llvm::SmallVector<int64_t>> getStepSliceShape(SliceOp slice);

} // namespace rwkvc::onnx

#endif // RWKVC_DIALECT_ONNX_TRANSFORMS_EVALUATOR_H
