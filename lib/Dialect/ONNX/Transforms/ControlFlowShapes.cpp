//===- ControlFlowShapes.cpp - Static shapes around bodies ----------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Shapes go into the bodies of Scan, Loop and If with what they take, and come
// out with what they yield.
//
//===----------------------------------------------------------------------===//

#include "ScanSupport.h"

using namespace mlir;
using namespace rwkvc::onnx;
using namespace rwkvc::onnx::evaluation;

namespace {

/// Gives \p value the static \p shape if its type allows. Returns whether it
/// had none.
bool refine(Value value, ArrayRef<int64_t> shape) {
  auto type = dyn_cast<TensorType>(value.getType());
  if (!type || getStaticType(value) ||
      failed(verifyCompatibleShape(type.hasRank() ? type.getShape() : shape,
                                   shape)))
    return false;
  value.setType(RankedTensorType::get(shape, type.getElementType()));
  return true;
}

bool refine(Value value, Value from) {
  RankedTensorType type = getStaticType(from);
  return type && refine(value, type.getShape());
}

Operation *getYield(Region &body) {
  return body.hasOneBlock() && body.front().mightHaveTerminator()
             ? body.front().getTerminator()
             : nullptr;
}

/// The number in a constant of one element.
std::optional<int64_t> getNumber(Value value) {
  auto constant = value.getDefiningOp<ConstantOp>();
  auto dense = constant ? dyn_cast<DenseIntElementsAttr>(constant.getValue())
                        : DenseIntElementsAttr();
  if (!dense || dense.getNumElements() != 1)
    return std::nullopt;
  APInt number = *dense.getValues<APInt>().begin();
  return number.getBitWidth() == 1 ? int64_t(number.getZExtValue())
                                   : number.getSExtValue();
}

/// The axis and length of scanned input \p index.
std::optional<std::pair<int64_t, int64_t>> getScanned(ScanOp scan,
                                                      unsigned index) {
  unsigned states = scan->getNumOperands() - scan.getNumScanInputs();
  RankedTensorType type = getStaticType(scan->getOperand(states + index));
  auto axis = type ? getInputAxis(scan, index, type.getRank()) : std::nullopt;
  if (!axis)
    return std::nullopt;
  return std::pair(*axis, type.getDimSize(*axis));
}

bool isWellFormed(ScanOp scan) {
  Operation *yield = getYield(scan.getBody());
  auto inputs = static_cast<int64_t>(scan.getNumScanInputs());
  int64_t states = int64_t(scan->getNumOperands()) - inputs;
  return yield && inputs > 0 && states >= 0 &&
         scan->getNumResults() >= size_t(states) &&
         yield->getNumOperands() == scan->getNumResults() &&
         scan.getBody().getNumArguments() == scan->getNumOperands();
}

bool isWellFormed(LoopOp loop) {
  Operation *yield = getYield(loop.getBody());
  size_t states = loop.getVInitial().size();
  return yield && loop.getBody().getNumArguments() == states + 2 &&
         loop->getNumResults() >= states &&
         yield->getNumOperands() == loop->getNumResults() + 1;
}

} // namespace

std::optional<int64_t> rwkvc::onnx::getTripCount(LoopOp loop) {
  Operation *yield = getYield(loop.getBody());
  if (!yield || yield->getNumOperands() == 0 || isNone(loop.getM()) ||
      loop.getBody().getNumArguments() < 2)
    return std::nullopt;
  auto isTrue = [](Value value) {
    std::optional<int64_t> number = getNumber(value);
    return number && *number != 0;
  };
  Value next = yield->getOperand(0);
  while (auto identity = next.getDefiningOp<IdentityOp>())
    next = identity.getInput();
  if ((!isNone(loop.getCond()) && !isTrue(loop.getCond())) ||
      (next != loop.getBody().getArgument(1) && !isTrue(next)))
    return std::nullopt;
  std::optional<int64_t> count = getNumber(loop.getM());
  return count ? std::optional(std::max<int64_t>(*count, 0)) : std::nullopt;
}

Region *rwkvc::onnx::getTakenBranch(IfOp choice) {
  std::optional<int64_t> known = getNumber(choice.getCond());
  if (!known)
    return nullptr;
  Region &branch = *known ? choice.getThenBranch() : choice.getElseBranch();
  Operation *yield = getYield(branch);
  return yield && yield->getNumOperands() == choice->getNumResults() ? &branch
                                                                     : nullptr;
}

std::optional<Shape> rwkvc::onnx::getStepSliceShape(SliceOp slice) {
  RankedTensorType type = getStaticType(slice.getData());
  RankedTensorType starts = getStaticType(slice.getStarts());
  if (!type || type.getRank() == 0 || !starts || starts.getNumElements() != 1 ||
      (!isNone(slice.getSteps()) && getNumber(slice.getSteps()) != 1))
    return std::nullopt;
  std::optional<int64_t> axis =
      isNone(slice.getAxes()) ? 0 : getNumber(slice.getAxes());
  if (axis)
    axis = normalizeAxis(*axis, type.getRank());
  auto loop = slice->getParentOfType<LoopOp>();
  std::optional<int64_t> count = loop ? getTripCount(loop) : std::nullopt;
  if (!axis || !count || !isWellFormed(loop))
    return std::nullopt;
  std::optional<int64_t> start = getStepOffset(loop, slice.getStarts());
  std::optional<int64_t> end = getStepOffset(loop, slice.getEnds());
  // Of the last step: as large as that of the first, and in bounds.
  if (!start || !end || *start < 0 || *end < *start ||
      *count > type.getDimSize(*axis) - *end + 1)
    return std::nullopt;
  Shape shape(type.getShape());
  shape[*axis] = *end - *start;
  return shape;
}

unsigned rwkvc::onnx::inferBodyArguments(Operation *op) {
  unsigned count = 0;
  if (auto scan = dyn_cast<ScanOp>(op); scan && isWellFormed(scan)) {
    unsigned inputs = scan.getNumScanInputs();
    unsigned states = scan->getNumOperands() - inputs;
    // The standard asks that states keep their shape.
    for (unsigned i = 0; i < states; ++i)
      count += refine(scan.getBody().getArgument(i), scan->getOperand(i));
    for (unsigned i = 0; i < inputs; ++i)
      if (auto scanned = getScanned(scan, i)) {
        Value operand = scan->getOperand(states + i);
        Shape shape(getStaticType(operand).getShape());
        shape.erase(shape.begin() + scanned->first);
        count += refine(scan.getBody().getArgument(states + i), shape);
      }
  }
  // A state may change its shape in a Loop; such a loop cannot be lowered, so
  // that nothing is lost by the assumption that none does.
  if (auto loop = dyn_cast<LoopOp>(op); loop && isWellFormed(loop))
    for (auto [i, value] : llvm::enumerate(loop.getVInitial()))
      count += refine(loop.getBody().getArgument(i + 2), value);
  return count;
}

unsigned rwkvc::onnx::inferFromBodies(Operation *op) {
  unsigned count = 0;
  if (auto scan = dyn_cast<ScanOp>(op); scan && isWellFormed(scan)) {
    Operation *yield = getYield(scan.getBody());
    unsigned states = scan->getNumOperands() - scan.getNumScanInputs();
    auto scanned = getScanned(scan, 0);
    for (auto [i, result] : llvm::enumerate(scan->getResults())) {
      if (i < states) {
        count += refine(result, scan->getOperand(i));
        continue;
      }
      RankedTensorType type = getStaticType(yield->getOperand(i));
      auto axis = type ? getOutputAxis(scan, i - states, type.getRank() + 1)
                       : std::nullopt;
      if (!axis || !scanned)
        continue;
      Shape shape(type.getShape());
      shape.insert(shape.begin() + *axis, scanned->second);
      count += refine(result, shape);
    }
  }
  if (auto loop = dyn_cast<LoopOp>(op); loop && isWellFormed(loop)) {
    Operation *yield = getYield(loop.getBody());
    size_t states = loop.getVInitial().size();
    std::optional<int64_t> steps = getTripCount(loop);
    for (auto [i, result] : llvm::enumerate(loop->getResults())) {
      RankedTensorType type = getStaticType(yield->getOperand(i + 1));
      if (!type)
        continue;
      if (i < states) {
        RankedTensorType initial = getStaticType(loop.getVInitial()[i]);
        std::optional<LoopGrowth> growth = getGrowth(loop, i);
        if (growth && steps) {
          Shape shape(initial.getShape());
          shape[growth->axis] += *steps * growth->extent;
          count += refine(result, shape);
        } else if (type == initial) {
          count += refine(result, type.getShape());
        }
      } else if (steps) {
        Shape shape{*steps};
        llvm::append_range(shape, type.getShape());
        count += refine(result, shape);
      }
    }
  }
  if (auto choice = dyn_cast<IfOp>(op)) {
    Operation *yes = getYield(choice.getThenBranch());
    Operation *no = getYield(choice.getElseBranch());
    if (!yes || !no || yes->getNumOperands() != op->getNumResults() ||
        no->getNumOperands() != op->getNumResults())
      return count;
    for (auto [i, result] : llvm::enumerate(op->getResults())) {
      RankedTensorType a = getStaticType(yes->getOperand(i));
      RankedTensorType b = getStaticType(no->getOperand(i));
      if (a && a == b)
        count += refine(result, a.getShape());
    }
  }
  return count;
}
