//===- Evaluator.cpp - Reference evaluation of the onnx dialect -----------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "EvaluatorSupport.h"
#include "mlir/Transforms/RegionUtils.h"
#include <cmath>
#include <memory>

using namespace mlir;
using namespace rwkvc::onnx;
using namespace rwkvc::onnx::evaluation;

//===----------------------------------------------------------------------===//
// Iteration
//===----------------------------------------------------------------------===//

void evaluation::forEachIndex(
    ArrayRef<int64_t> shape, ArrayRef<Shape> strides,
    llvm::function_ref<void(int64_t, ArrayRef<int64_t>)> fn) {
  int64_t rank = static_cast<int64_t>(shape.size());
  Shape index(rank, 0), offsets(strides.size(), 0);
  int64_t count = countElements(shape).value_or(0);
  for (int64_t i = 0; i < count; ++i) {
    fn(i, offsets);
    for (int64_t axis = rank - 1; axis >= 0; --axis) {
      if (++index[axis] < shape[axis]) {
        for (auto [k, stride] : llvm::enumerate(strides))
          offsets[k] += stride[axis];
        break;
      }
      for (auto [k, stride] : llvm::enumerate(strides))
        offsets[k] -= stride[axis] * (shape[axis] - 1);
      index[axis] = 0;
    }
  }
}

Shape evaluation::getBroadcastStrides(ArrayRef<int64_t> from,
                                      ArrayRef<int64_t> to) {
  Shape strides(to.size(), 0), own = getStrides(from);
  size_t lead = to.size() - from.size();
  for (size_t i = 0; i < from.size(); ++i)
    strides[lead + i] = from[i] == 1 ? 0 : own[i];
  return strides;
}

AxisView evaluation::viewAxis(ArrayRef<int64_t> shape, int64_t axis) {
  AxisView view;
  for (auto [i, size] : llvm::enumerate(shape)) {
    int64_t &part = static_cast<int64_t>(i) < axis    ? view.outer
                    : static_cast<int64_t>(i) == axis ? view.size
                                                      : view.inner;
    part *= size;
  }
  return view;
}

//===----------------------------------------------------------------------===//
// Evaluation
//===----------------------------------------------------------------------===//

static const EvaluationTable &getTable() {
  static const EvaluationTable table = [] {
    EvaluationTable result;
    addElementwiseEvaluations(result);
    addIndexingEvaluations(result);
    addMatrixEvaluations(result);
    addMovementEvaluations(result);
    addQuantizationEvaluations(result);
    addReductionEvaluations(result);
    return result;
  }();
  return table;
}

bool evaluation::hasEvaluation(Operation *op) {
  return getTable().find(op) != nullptr;
}

bool evaluation::isDataMovement(Operation *op) {
  return isa<ConcatOp, ExpandOp, FlattenOp, GatherOp, GatherElementsOp,
             GatherNDOp, IdentityOp, ReshapeOp, SliceOp, SplitOp, SqueezeOp,
             TileOp, TransposeOp, UnsqueezeOp, WhereOp>(op);
}

/// Whether all integers of \p tensor are exact, saturated ones included.
static bool holdsExactIntegers(const HostTensor &tensor) {
  return isFloat(tensor.elementType) ||
         llvm::all_of(tensor.data, [](double value) {
           return std::abs(value) <= kMaxExactInteger;
         });
}

FailureOr<SmallVector<HostTensor>>
rwkvc::onnx::evaluate(Operation *op, ArrayRef<const HostTensor *> inputs,
                      const EvaluatorOptions &options) {
  const EvaluationTable::Function *function = getTable().find(op);
  if (!function || inputs.size() != op->getNumOperands())
    return failure();
  bool movesData = isDataMovement(op);
  SmallVector<OperandFacts> facts(inputs.size());
  for (auto [input, fact, operand] :
       llvm::zip(inputs, facts, op->getOperands())) {
    if (!input) {
      if (!isNone(operand))
        return failure();
      continue;
    }
    if (!input->elementType ||
        countElements(input->shape) != input->getNumElements() ||
        (options.roundToType && !movesData && !holdsExactIntegers(*input)))
      return failure();
    fact.shape = input->shape;
    fact.value = input;
  }
  FailureOr<SmallVector<Shape>> shapes = inferResultShapes(op, facts);
  if (failed(shapes) || shapes->size() != op->getNumResults())
    return failure();

  Evaluation evaluation{op, inputs, {}};
  for (auto [shape, result] : llvm::zip(*shapes, op->getResults())) {
    HostTensor &tensor = evaluation.outputs.emplace_back();
    std::optional<int64_t> count = countElements(shape);
    if (!count || *count > kMaxElements)
      return failure();
    tensor.shape = std::move(shape);
    tensor.data.resize(*count);
    // An output that the node leaves out has no type; it is float or unused.
    if (auto type = dyn_cast<ShapedType>(result.getType()))
      tensor.elementType = type.getElementType();
    else
      tensor.elementType = Float64Type::get(op->getContext());
  }
  if (failed((*function)(evaluation)))
    return failure();
  if (options.roundToType)
    for (HostTensor &tensor : evaluation.outputs)
      if (failed(roundToElementType(tensor, movesData)))
        return failure();
  return std::move(evaluation.outputs);
}

/// The values from outside that the body of \p scan uses.
static SmallVector<Value> getCaptured(ScanOp scan) {
  SetVector<Value> captured;
  getUsedValuesDefinedAbove(scan.getBody(), captured);
  captured.remove_if([](Value value) {
    return isNone(value) || value.getDefiningOp<ConstantOp>();
  });
  return captured.takeVector();
}

/// Whether operand \p index of \p scan is taken by token and the body does not
/// use it.
static bool isUnusedInput(ScanOp scan, unsigned index) {
  unsigned numStates = scan->getNumOperands() - scan.getNumScanInputs();
  return index >= numStates &&
         scan.getBody().front().getArgument(index).use_empty();
}

/// Runs the body of \p scan once per token. \p inputs are its operands, \p
/// outer what its body captures.
static FailureOr<SmallVector<HostTensor>>
evaluateScan(ScanOp scan, ArrayRef<const HostTensor *> inputs,
             const DenseMap<Value, HostTensor> &outer,
             const EvaluatorOptions &options) {
  Block &body = scan.getBody().front();
  size_t numStates = inputs.size() - scan.getNumScanInputs();
  if (scan.getNumScanInputs() < 1 ||
      static_cast<size_t>(scan.getNumScanInputs()) > inputs.size() ||
      !isForward(scan))
    return failure();
  SmallVector<int64_t> axes;
  std::optional<int64_t> numTokens;
  for (size_t i = numStates; i < inputs.size(); ++i) {
    if (!inputs[i]) {
      axes.push_back(0);
      continue;
    }
    auto axis = getInputAxis(scan, i - numStates, inputs[i]->getRank());
    if (!axis || (numTokens && *numTokens != inputs[i]->shape[*axis]))
      return failure();
    axes.push_back(*axis);
    numTokens = inputs[i]->shape[*axis];
  }
  if (!numTokens)
    return failure();
  SmallVector<HostTensor> results(scan->getNumResults());
  for (size_t i = 0; i < numStates; ++i)
    results[i] = *inputs[i];
  DenseMap<Value, HostTensor> values = outer;
  int64_t numSteps = options.cutScan == scan.getOperation()
                         ? std::min(*numTokens, options.maxSteps)
                         : *numTokens;
  for (int64_t t = 0; t < numSteps; ++t) {
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (!inputs[i])
        continue;
      HostTensor &argument = values[body.getArgument(i)];
      if (i < numStates) {
        argument = results[i];
        continue;
      }
      AxisView view = viewAxis(inputs[i]->shape, axes[i - numStates]);
      argument.elementType = inputs[i]->elementType;
      argument.shape = inputs[i]->shape;
      argument.shape.erase(argument.shape.begin() + axes[i - numStates]);
      argument.data.clear();
      for (int64_t o = 0; o < view.outer; ++o) {
        auto row = inputs[i]->data.begin() + (o * view.size + t) * view.inner;
        argument.data.insert(argument.data.end(), row, row + view.inner);
      }
    }
    auto step = evaluateRegion(
        llvm::to_vector(body.getTerminator()->getOperands()), values, options);
    if (failed(step) || step->size() != results.size())
      return failure();
    for (size_t i = 0; i < results.size(); ++i) {
      HostTensor &own = (*step)[i];
      if (i < numStates) {
        results[i] = std::move(own);
        continue;
      }
      HostTensor &all = results[i];
      auto axis = getOutputAxis(scan, i - numStates, own.getRank() + 1);
      if (!axis)
        return failure();
      if (t == 0) {
        all.elementType = own.elementType;
        all.shape = own.shape;
        all.shape.insert(all.shape.begin() + *axis, *numTokens);
        std::optional<int64_t> count = countElements(all.shape);
        if (!count || *count > kMaxElements)
          return failure();
        all.data.resize(*count, std::numeric_limits<double>::quiet_NaN());
      }
      AxisView view = viewAxis(all.shape, *axis);
      for (int64_t o = 0; o < view.outer; ++o)
        std::copy_n(own.data.begin() + o * view.inner, view.inner,
                    all.data.begin() + (o * view.size + t) * view.inner);
    }
  }
  return results;
}

FailureOr<SmallVector<HostTensor>>
rwkvc::onnx::evaluateRegion(ArrayRef<Value> outputs,
                            const DenseMap<Value, HostTensor> &inputs,
                            const EvaluatorOptions &options) {
  // Pointers stay valid while the map grows.
  DenseMap<Value, std::unique_ptr<HostTensor>> computed;
  auto find = [&](Value value) -> const HostTensor * {
    if (auto it = inputs.find(value); it != inputs.end())
      return &it->second;
    auto it = computed.find(value);
    return it == computed.end() ? nullptr : it->second.get();
  };

  // An op stays on the stack until its operands are computed.
  SmallVector<Value> stack;
  for (Value output : outputs)
    if (output)
      stack.push_back(output);
  while (!stack.empty()) {
    Value value = stack.back();
    if (find(value)) {
      stack.pop_back();
      continue;
    }
    Operation *op = value.getDefiningOp();
    if (!op)
      return failure();
    if (auto constant = dyn_cast<ConstantOp>(op)) {
      FailureOr<HostTensor> tensor = readElements(constant.getValue());
      if (failed(tensor))
        return failure();
      computed[value] = std::make_unique<HostTensor>(std::move(*tensor));
      continue;
    }
    auto scan = dyn_cast<ScanOp>(op);
    if (!scan && !hasEvaluation(op))
      return failure();
    SmallVector<const HostTensor *> operands;
    bool isReady = true;
    SmallVector<Value> captured;
    if (scan)
      captured = getCaptured(scan);
    for (Value outer : captured)
      if (!find(outer)) {
        stack.push_back(outer);
        isReady = false;
      }
    for (auto [i, operand] : llvm::enumerate(op->getOperands())) {
      bool isOmitted = isNone(operand) ||
                       (scan && isUnusedInput(scan, static_cast<unsigned>(i)));
      const HostTensor *tensor = isOmitted ? nullptr : find(operand);
      if (!tensor && !isOmitted) {
        // Shape and Size do not need the elements, but a tensor that cannot be
        // computed would be a hole in the check all the same.
        stack.push_back(operand);
        isReady = false;
      }
      operands.push_back(tensor);
    }
    if (!isReady)
      continue;
    FailureOr<SmallVector<HostTensor>> results;
    if (scan) {
      DenseMap<Value, HostTensor> outer;
      for (Value value : captured)
        outer[value] = *find(value);
      results = evaluateScan(scan, operands, outer, options);
    } else {
      results = evaluate(op, operands, options);
    }
    if (failed(results))
      return failure();
    for (auto [result, tensor] : llvm::zip(op->getResults(), *results))
      if (!inputs.contains(result))
        computed[result] = std::make_unique<HostTensor>(std::move(tensor));
  }

  SmallVector<HostTensor> tensors;
  for (Value output : outputs)
    tensors.push_back(output ? *find(output) : HostTensor());
  return tensors;
}
