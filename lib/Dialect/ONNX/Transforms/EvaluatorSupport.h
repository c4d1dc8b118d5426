//===- EvaluatorSupport.h - Shared by the evaluator's sources ---*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_LIB_DIALECT_ONNX_TRANSFORMS_EVALUATORSUPPORT_H
#define RWKVC_LIB_DIALECT_ONNX_TRANSFORMS_EVALUATORSUPPORT_H

#include "rwkvc/Dialect/ONNX/IR/ONNX.h"
#include "rwkvc/Dialect/ONNX/Transforms/Evaluator.h"
#include <functional>

namespace rwkvc::onnx::evaluation {

using Shape = llvm::SmallVector<int64_t>;

/// Largest tensor that is evaluated: keeps a malformed shape from exhausting
/// the memory.
inline constexpr int64_t kMaxElements = int64_t(1) << 28;

/// The largest magnitude up to which double holds every integer.
inline constexpr double kMaxExactInteger = 9007199254740992.0; // 2^53

//===----------------------------------------------------------------------===//
// Geometry
//===----------------------------------------------------------------------===//

/// Number of elements, or nothing for a negative or too large one.
std::optional<int64_t> countElements(llvm::ArrayRef<int64_t> shape);

/// Row-major strides.
Shape getStrides(llvm::ArrayRef<int64_t> shape);

/// normalizeAxis of several; sorted, without repetition.
std::optional<Shape> normalizeAxes(llvm::ArrayRef<int64_t> axes, int64_t rank);

/// The axes that a Reduce op with the given `axes` operand reduces.
std::optional<Shape> getReducedAxes(std::optional<llvm::ArrayRef<int64_t>> axes,
                                    bool noopWithEmptyAxes, int64_t rank);

std::optional<Shape> broadcastShapes(llvm::ArrayRef<int64_t> a,
                                     llvm::ArrayRef<int64_t> b);

/// Whether \p from broadcasts to exactly \p to.
bool broadcastsTo(llvm::ArrayRef<int64_t> from, llvm::ArrayRef<int64_t> to);

/// Integers of \p tensor, saturated; nothing when null or a value is not whole.
std::optional<Shape> getIntegers(const HostTensor *tensor);

/// For each axis of the data, the first index that Slice takes, its step and
/// the number of elements.
struct SliceRange {
  int64_t start = 0, step = 1, size = 0;
};
std::optional<llvm::SmallVector<SliceRange>>
getSliceRanges(llvm::ArrayRef<int64_t> shape, llvm::ArrayRef<int64_t> starts,
               llvm::ArrayRef<int64_t> ends,
               std::optional<llvm::ArrayRef<int64_t>> axes,
               std::optional<llvm::ArrayRef<int64_t>> steps);

/// Pads before and after each axis, from Pad's operands.
struct PadRange {
  int64_t before = 0, after = 0;
};
std::optional<llvm::SmallVector<PadRange>>
getPadRanges(int64_t rank, llvm::ArrayRef<int64_t> pads,
             std::optional<llvm::ArrayRef<int64_t>> axes);

/// The permutation of a Transpose: its attribute, or the reversal.
std::optional<Shape> getPermutation(TransposeOp op, int64_t rank);

/// An Einsum without ellipses: one letter per axis.
struct EinsumTerms {
  llvm::SmallVector<std::string> inputs;
  std::string output;
};
std::optional<EinsumTerms> parseEinsum(llvm::StringRef equation,
                                       size_t numInputs);

/// MatMul's operands seen as batches of matrices.
struct MatMulGeometry {
  Shape batch, result;
  int64_t rows = 1, inner = 1, columns = 1;
};
std::optional<MatMulGeometry> getMatMulGeometry(llvm::ArrayRef<int64_t> a,
                                                llvm::ArrayRef<int64_t> b);

/// Shapes of the results of convolutions, linear attention and custom ops.
std::optional<llvm::SmallVector<Shape>>
inferSequenceOp(mlir::Operation *op, llvm::ArrayRef<OperandFacts> operands);

//===----------------------------------------------------------------------===//
// Iteration
//===----------------------------------------------------------------------===//

/// Calls \p fn(index, offsets) for every index of \p shape in row-major order;
/// offsets[k] is the offset that the k-th strides give.
void forEachIndex(
    llvm::ArrayRef<int64_t> shape, llvm::ArrayRef<Shape> strides,
    llvm::function_ref<void(int64_t, llvm::ArrayRef<int64_t>)> fn);

/// Strides of a tensor of shape \p from read at indices of \p to; 0 where it is
/// broadcast.
Shape getBroadcastStrides(llvm::ArrayRef<int64_t> from,
                          llvm::ArrayRef<int64_t> to);

/// A tensor seen around one axis: [outer][size][inner].
struct AxisView {
  int64_t outer = 1, size = 1, inner = 1;
};
AxisView viewAxis(llvm::ArrayRef<int64_t> shape, int64_t axis);

//===----------------------------------------------------------------------===//
// Evaluations
//===----------------------------------------------------------------------===//

inline bool isFloat(mlir::Type type) {
  return llvm::isa<mlir::FloatType>(type);
}
inline bool isBool(mlir::Type type) { return type.isInteger(1); }

/// Smallest and largest value of an integer type.
std::pair<double, double> getIntegerRange(mlir::Type type);

/// Rounds to the element type. \p movesData: the values come unchanged from
/// operands, so that a saturated int64 is still what it stands for.
mlir::LogicalResult roundToElementType(HostTensor &tensor, bool movesData);

/// \p value as an element of the integer type: wraps around.
double wrapInteger(double value, mlir::Type type);

/// Half to even, within the range of the integer type.
double saturate(double value, mlir::Type type);

inline double toDouble(const llvm::APFloat &value) {
  return value.convertToFloat();
}

/// One evaluation. The shapes of the outputs are set and their data allocated.
struct Evaluation {
  mlir::Operation *op;
  llvm::ArrayRef<const HostTensor *> inputs;
  llvm::SmallVector<HostTensor> outputs;

  const HostTensor *getOptional(unsigned i) const {
    return i < inputs.size() ? inputs[i] : nullptr;
  }
  /// Operand \p i; shape rules have checked that it is there.
  const HostTensor &in(unsigned i) const { return *inputs[i]; }
  HostTensor &out(unsigned i = 0) { return outputs[i]; }
};

/// How each op computes its outputs.
class EvaluationTable {
public:
  using Function = std::function<mlir::LogicalResult(Evaluation &)>;

  template <typename OpTy, typename F> void add(F function) {
    functions[mlir::TypeID::get<OpTy>()] = [function](Evaluation &e) {
      return function(llvm::cast<OpTy>(e.op), e);
    };
  }
  const Function *find(mlir::Operation *op) const {
    auto it = functions.find(op->getName().getTypeID());
    return it == functions.end() ? nullptr : &it->second;
  }

private:
  llvm::DenseMap<mlir::TypeID, Function> functions;
};

void addElementwiseEvaluations(EvaluationTable &table);
void addIndexingEvaluations(EvaluationTable &table);
void addMatrixEvaluations(EvaluationTable &table);
void addMovementEvaluations(EvaluationTable &table);
void addQuantizationEvaluations(EvaluationTable &table);
void addReductionEvaluations(EvaluationTable &table);

/// Whether evaluate() knows the op.
bool hasEvaluation(mlir::Operation *op);

/// Whether \p op only moves elements of its operands.
bool isDataMovement(mlir::Operation *op);

} // namespace rwkvc::onnx::evaluation

#endif // RWKVC_LIB_DIALECT_ONNX_TRANSFORMS_EVALUATORSUPPORT_H
