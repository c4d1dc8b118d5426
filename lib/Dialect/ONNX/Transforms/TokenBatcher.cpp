//===- TokenBatcher.cpp - One op for all tokens ---------------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "rwkvc/Dialect/ONNX/Transforms/TokenBatcher.h"
#include "ScanSupport.h"

using namespace mlir;
using namespace rwkvc::onnx;
using namespace rwkvc::onnx::evaluation;

static RankedTensorType getType(Value value) {
  return cast<RankedTensorType>(value.getType());
}

/// Whether the result's elements depend on the operands' elements at the same
/// index only; shapes broadcast.
static bool isElementwise(Operation *op) {
  return isa<AbsOp, AddOp, AndOp, CastOp, CastLikeOp, CeilOp, ClipOp, DivOp,
             EqualOp, ErfOp, ExpOp, FloorOp, GeluOp, GreaterOp,
             GreaterOrEqualOp, HardSigmoidOp, IdentityOp, LessOp, LessOrEqualOp,
             LogOp, MaxOp, MinOp, MulOp, NegOp, NotOp, OrOp, PowOp,
             ReciprocalOp, ReluOp, RoundOp, SigmoidOp, SignOp, SoftplusOp,
             SqrtOp, SubOp, SumOp, TanhOp, WhereOp>(op);
}

Value TokenBatcher::reshape(Value value, ArrayRef<int64_t> shape) {
  return createReshape(b, value, shape);
}

Value TokenBatcher::transpose(Value value, ArrayRef<int64_t> perm) {
  RankedTensorType type = getType(value);
  Shape shape;
  for (int64_t axis : perm)
    shape.push_back(type.getDimSize(axis));
  // Where only axes of one element pass each other, elements stay in order.
  Shape large;
  for (int64_t axis : perm)
    if (type.getDimSize(axis) != 1)
      large.push_back(axis);
  if (llvm::is_sorted(large))
    return reshape(value, shape);
  OperationState state(b.getLoc(), TransposeOp::getOperationName());
  state.addOperands(value);
  state.addTypes(type.clone(shape));
  state.addAttribute("perm", b.getDenseI64ArrayAttr(perm));
  return b.create(state)->getResult(0);
}

Value TokenBatcher::moveToFront(Value value, int64_t axis) {
  Shape perm{axis};
  for (int64_t i = 0; i < getType(value).getRank(); ++i)
    if (i != axis)
      perm.push_back(i);
  return transpose(value, perm);
}

Value TokenBatcher::moveFromFront(Value value, int64_t axis) {
  Shape perm;
  for (int64_t i = 1; i < getType(value).getRank(); ++i)
    perm.push_back(i);
  perm.insert(perm.begin() + axis, 0);
  return transpose(value, perm);
}

Value TokenBatcher::get(Value value) {
  if (Value known = lookup(value))
    return known;
  RankedTensorType type = getType(value);
  Shape shape(type.getShape());
  shape.insert(shape.begin(), numTokens);
  OperationState state(b.getLoc(), ExpandOp::getOperationName());
  state.addOperands({value, createIntegers(b, shape)});
  state.addTypes(type.clone(shape));
  return values[value] = b.create(state)->getResult(0);
}

/// The batched \p value with axes of size one behind that of tokens, so that
/// its own are the last of \p rank.
Value TokenBatcher::alignRank(Value value, int64_t rank) {
  Value batched = lookup(value);
  if (!batched)
    return value;
  Shape shape(getType(batched).getShape());
  int64_t missing = rank + 1 - static_cast<int64_t>(shape.size());
  if (missing > 0)
    shape.insert(shape.begin() + 1, missing, 1);
  return reshape(batched, shape);
}

/// \p op on \p operands, with results over all tokens.
Operation *TokenBatcher::rebuild(Operation *op, ValueRange operands) {
  OperationState state(op->getLoc(), op->getName());
  state.addOperands(operands);
  for (Type type : op->getResultTypes()) {
    auto tensor = dyn_cast<RankedTensorType>(type);
    if (!tensor) {
      state.addTypes(type);
      continue;
    }
    Shape shape(tensor.getShape());
    shape.insert(shape.begin(), numTokens);
    state.addTypes(tensor.clone(shape));
  }
  state.addAttributes(op->getAttrDictionary().getValue());
  return b.create(state);
}

LogicalResult TokenBatcher::batchElementwise(Operation *op) {
  int64_t rank = getType(op->getResult(0)).getRank();
  SmallVector<Value> operands;
  for (Value operand : op->getOperands())
    operands.push_back(alignRank(operand, rank));
  set(op->getResult(0), rebuild(op, operands)->getResult(0));
  return success();
}

/// Products with several matrices that all tokens share, as v6 has for its
/// mixes: the tokens become rows, so that each matrix is multiplied once.
bool TokenBatcher::batchRows(Operation *op) {
  Value x = lookup(op->getOperand(0));
  if (!x || lookup(op->getOperand(1)))
    return false;
  ArrayRef<int64_t> own = getType(op->getOperand(0)).getShape();
  ArrayRef<int64_t> matrices = getType(op->getOperand(1)).getShape();
  if (matrices.size() < 3 || own.size() != matrices.size() ||
      own.drop_back(2) != matrices.drop_back(2))
    return false;
  // [tokens, matrices, rows, ...] to [matrices, tokens * rows, ...].
  auto axis = static_cast<int64_t>(own.size()) - 2;
  Shape shape(own), result(getType(op->getResult(0)).getShape());
  shape[axis] *= numTokens;
  Value rows = reshape(moveFromFront(x, axis), shape);
  shape.back() = result.back();
  OperationState state(op->getLoc(), op->getName());
  state.addOperands({rows, op->getOperand(1)});
  state.addTypes(getType(op->getResult(0)).clone(shape));
  state.addAttributes(op->getAttrDictionary().getValue());
  result.insert(result.begin() + axis, numTokens);
  set(op->getResult(0),
      moveToFront(reshape(b.create(state)->getResult(0), result), axis));
  return true;
}

LogicalResult TokenBatcher::batchMatMul(Operation *op) {
  if (batchRows(op))
    return success();
  // A vector is a matrix of one row or column.
  SmallVector<Value> operands(op->getOperands());
  Shape result(getType(op->getResult(0)).getShape());
  int64_t rank = 2;
  for (Value operand : operands)
    rank = std::max(rank, getType(operand).getRank());
  for (auto [i, operand] : llvm::enumerate(operands)) {
    RankedTensorType type = getType(operand);
    Value batched = lookup(operand);
    Shape shape(type.getShape());
    if (type.getRank() == 1)
      shape.insert(i == 0 ? shape.begin() : shape.end(), 1);
    if (batched) {
      shape.insert(shape.begin(), rank - shape.size(), 1);
      shape.insert(shape.begin(), numTokens);
    }
    operand = reshape(batched ? batched : operand, shape);
  }
  auto x = getMatMulGeometry(getType(operands[0]).getShape(),
                             getType(operands[1]).getShape());
  if (!x)
    return failure();
  OperationState state(op->getLoc(), op->getName());
  state.addOperands(operands);
  state.addTypes(getType(op->getResult(0)).clone(x->result));
  state.addAttributes(op->getAttrDictionary().getValue());
  result.insert(result.begin(), numTokens);
  set(op->getResult(0), reshape(b.create(state)->getResult(0), result));
  return success();
}

/// Ops that work along axes of their first operand, which move by one.
LogicalResult TokenBatcher::batchAlongAxis(Operation *op) {
  int64_t rank = getType(op->getOperand(0)).getRank();
  SmallVector<Value> operands(op->getOperands());
  auto shiftAxes = [&](unsigned index) {
    Shape axes;
    if (isNone(operands[index])) {
      // Left out, the axes are the first ones of a slice, or all of a sum.
      int64_t count =
          isa<SliceOp>(op) ? getType(op->getOperand(1)).getNumElements() : rank;
      for (int64_t axis = 0; axis < count; ++axis)
        axes.push_back(axis + 1);
    } else {
      std::optional<Shape> known = getConstantIntegers(operands[index]);
      if (!known)
        return failure();
      for (int64_t axis : *known)
        axes.push_back(axis < 0 ? axis : axis + 1);
    }
    operands[index] = createIntegers(b, axes);
    return success();
  };
  bool isConcat = isa<ConcatOp>(op);
  for (auto [i, operand] : llvm::enumerate(operands)) {
    if (isConcat || i == 0)
      operand = get(operand);
    else if (lookup(operand))
      return failure();
  }
  if (isa<SliceOp>(op) && failed(shiftAxes(3)))
    return failure();
  if (isa<ReduceSumOp, ReduceMeanOp, ReduceMaxOp, ReduceMinOp, ReduceL2Op,
          ReduceSumSquareOp>(op)) {
    if (op->getAttrOfType<IntegerAttr>("noop_with_empty_axes") &&
        op->getAttrOfType<IntegerAttr>("noop_with_empty_axes").getInt() != 0)
      return failure();
    if (failed(shiftAxes(1)))
      return failure();
  }
  Operation *batched = rebuild(op, operands);
  if (auto axis = op->getAttrOfType<IntegerAttr>("axis");
      axis && axis.getInt() >= 0)
    batched->setAttr("axis", b.getI64IntegerAttr(axis.getInt() + 1));
  for (auto [result, all] : llvm::zip(op->getResults(), batched->getResults()))
    if (!isNone(result))
      set(result, all);
  return success();
}

LogicalResult TokenBatcher::batch(Operation *op) {
  auto isStaticOrNone = [](Type type) {
    auto tensor = dyn_cast<RankedTensorType>(type);
    return isa<NoneType>(type) || (tensor && tensor.hasStaticShape());
  };
  bool isStatic = llvm::all_of(op->getOperandTypes(), isStaticOrNone) &&
                  llvm::all_of(op->getResultTypes(), isStaticOrNone);
  if (op->getNumOperands() == 0 || op->getNumResults() == 0 || !isStatic ||
      isa<NoneType>(op->getResult(0).getType()))
    return failure();
  b.setLoc(op->getLoc());
  if (isElementwise(op))
    return batchElementwise(op);
  if (isa<MatMulOp>(op))
    return batchMatMul(op);
  if (isa<ReshapeOp, SqueezeOp, UnsqueezeOp, FlattenOp>(op)) {
    if (!lookup(op->getOperand(0)))
      return failure();
    Shape shape(getType(op->getResult(0)).getShape());
    shape.insert(shape.begin(), numTokens);
    set(op->getResult(0), reshape(lookup(op->getOperand(0)), shape));
    return success();
  }
  if (auto op2 = dyn_cast<TransposeOp>(op)) {
    auto perm = getPermutation(op2, getType(op->getOperand(0)).getRank());
    if (!perm)
      return failure();
    Shape shifted{0};
    for (int64_t axis : *perm)
      shifted.push_back(axis + 1);
    set(op->getResult(0), transpose(get(op->getOperand(0)), shifted));
    return success();
  }
  if (isa<ConcatOp, GatherOp, LayerNormalizationOp, LpNormalizationOp,
          ReduceL2Op, ReduceMaxOp, ReduceMeanOp, ReduceMinOp, ReduceSumOp,
          ReduceSumSquareOp, SliceOp, SoftmaxOp, SplitOp>(op))
    return batchAlongAxis(op);
  return failure();
}
