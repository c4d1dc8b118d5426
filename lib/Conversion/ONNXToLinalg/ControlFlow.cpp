//===- ControlFlow.cpp - Lowering of Scan, Loop and If --------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Support.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::lowering;

namespace {

/// Moves the only block of \p body to the end of the block \p b builds in, with
/// \p arguments, of lowered types. Returns the lowered values that it yields.
SmallVector<Value> inlineBody(Lowering &b, Region &body, ValueRange arguments) {
  Block *block = &body.front();
  auto yield = cast<onnx::YieldOp>(block->getTerminator());
  SmallVector<Value> originals;
  for (auto [argument, value] :
       llvm::zip_equal(block->getArguments(), arguments))
    originals.push_back(b.original(value, argument.getType()));
  SmallVector<Value> outputs(yield.getOutputs());
  // A yielded block argument is gone once the block is inlined.
  for (Value &output : outputs)
    if (auto argument = dyn_cast<BlockArgument>(output);
        argument && argument.getOwner() == block)
      output = originals[argument.getArgNumber()];
  Block *into = b.getInsertionBlock();
  b.rewriter.inlineBlockBefore(block, into, b.getInsertionPoint(), originals);
  b.rewriter.eraseOp(yield);
  SmallVector<Value> results;
  for (Value output : outputs)
    results.push_back(b.lowered(output));
  return results;
}

bool isStatic(Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  return tensor && tensor.hasStaticShape();
}

/// Checks that a body has \p inputs arguments and \p outputs results, all of
/// static shape.
LogicalResult checkBody(Lowering &b, Region &body, size_t inputs,
                        size_t outputs) {
  if (!body.hasOneBlock())
    return b.refuse("its body is missing");
  Block &block = body.front();
  auto yield = dyn_cast<onnx::YieldOp>(block.getTerminator());
  if (!yield || block.getNumArguments() != inputs ||
      yield.getOutputs().size() != outputs)
    return b.refuse("its body needs " + Twine(inputs) + " inputs and " +
                    Twine(outputs) + " outputs");
  for (Type type : block.getArgumentTypes())
    if (!isStatic(type))
      return b.refuse("an input of its body has no static shape");
  for (Value output : yield.getOutputs())
    if (!isStatic(output.getType()))
      return b.refuse("an output of its body has no static shape");
  return success();
}

/// Checks that what a body yields for its state has the type it takes.
LogicalResult checkState(Lowering &b, Type given, Type taken, Type yielded) {
  if (given == taken && taken == yielded)
    return success();
  return b.refuse("a state changes its type between the steps");
}

/// Whether \p value is sure to have storage of its own once it is a buffer.
bool isFresh(Value value) {
  Operation *op = value.getDefiningOp();
  return isa_and_present<linalg::LinalgOp, onnx::AddOp, onnx::SubOp,
                         onnx::MulOp, onnx::DivOp, onnx::SumOp, onnx::MaxOp,
                         onnx::MinOp, onnx::ExpOp, onnx::WhereOp,
                         onnx::MatMulOp, onnx::GemmOp>(op);
}

/// Writes the first \p count of \p values over those the loop carried.
void carryStates(Lowering &b, MutableArrayRef<Value> values, ValueRange carried,
                 size_t count) {
  // One state may become another: read all before any is overwritten.
  for (size_t i = 0; i < count && count > 1; ++i)
    if (values[i] != carried[i] && !isFresh(values[i]))
      values[i] = bufferization::AllocTensorOp::create(b, tensorType(values[i]),
                                                       ValueRange{}, values[i]);
  for (size_t i = 0; i < count; ++i)
    values[i] = carryOn(b, values[i], carried[i]);
}

FailureOr<SmallVector<Value>> lowerScan(Lowering &b, onnx::ScanOp op,
                                        onnx::ScanOp::Adaptor in) {
  ValueRange operands = in.getInitialStateAndScanInputs();
  int64_t numInputs = op.getNumScanInputs();
  int64_t numStates = int64_t(operands.size()) - numInputs;
  int64_t numOutputs = int64_t(op.getNumResults()) - numStates;
  if (numInputs < 1 || numStates < 0 || numOutputs < 0)
    return b.refuse("its numbers of states and scanned inputs do not fit");
  if (failed(checkBody(b, op.getBody(), operands.size(), op.getNumResults())))
    return failure();
  Block &block = op.getBody().front();
  auto yield = cast<onnx::YieldOp>(block.getTerminator());
  for (int64_t i = 0; i < numStates; ++i)
    if (failed(checkState(b, op.getOperand(i).getType(),
                          block.getArgument(i).getType(),
                          yield.getOutputs()[i].getType())))
      return failure();
  int64_t steps = -1;
  SmallVector<int64_t> inputAxes, outputAxes;
  for (int64_t i = 0; i < numInputs; ++i) {
    RankedTensorType type = tensorType(operands[numStates + i]);
    std::optional<int64_t> axis = onnx::getInputAxis(op, i, type.getRank());
    if (!axis)
      return b.refuse("the axis of scanned input " + Twine(i) +
                      " is out of range");
    if (steps >= 0 && type.getDimSize(*axis) != steps)
      return b.refuse("its scanned inputs differ in length");
    steps = type.getDimSize(*axis);
    inputAxes.push_back(*axis);
  }
  SmallVector<Value> carried(operands.take_front(numStates));
  for (int64_t i = 0; i < numOutputs; ++i) {
    RankedTensorType type = b.resultType(numStates + i);
    std::optional<int64_t> axis = onnx::getOutputAxis(op, i, type.getRank());
    if (!axis || type.getDimSize(*axis) != steps)
      return b.refuse("scanned output " + Twine(i) + " does not fit its steps");
    outputAxes.push_back(*axis);
    carried.push_back(emptyTensor(b, type));
  }
  if (steps == 0)
    return carried;
  Value last = indexConstant(b, steps - 1);
  auto step = [&](Value iv, ValueRange state) {
    auto place = [&](bool isReversed) -> Value {
      if (!isReversed)
        return iv;
      return arith::SubIOp::create(b, last, iv);
    };
    SmallVector<Value> arguments(state.take_front(numStates));
    for (int64_t i = 0; i < numInputs; ++i)
      arguments.push_back(sliceAt(b, operands[numStates + i], inputAxes[i],
                                  place(onnx::isInputReversed(op, i))));
    SmallVector<Value> next = inlineBody(b, op.getBody(), arguments);
    for (int64_t i = 0; i < numOutputs; ++i) {
      Value &output = next[numStates + i];
      output = insertAt(b, output, state[numStates + i], outputAxes[i],
                        place(onnx::isOutputReversed(op, i)));
    }
    return next;
  };
  // One token: no loop.
  if (steps == 1) {
    Value zero = indexConstant(b, 0);
    return step(zero, carried);
  }
  auto loop =
      scf::ForOp::create(b, indexConstant(b, 0), indexConstant(b, steps),
                         indexConstant(b, 1), carried);
  if (carried.empty())
    b.rewriter.eraseOp(loop.getBody()->getTerminator());
  b.setInsertionPointToStart(loop.getBody());
  SmallVector<Value> next =
      step(loop.getInductionVar(), loop.getRegionIterArgs());
  carryStates(b, next, loop.getRegionIterArgs(), numStates);
  scf::YieldOp::create(b, next);
  return SmallVector<Value>(loop.getResults());
}

/// Whether \p value is a constant true, or the \p condition handed on.
bool staysTrue(Value value, Value condition) {
  while (auto identity = value.getDefiningOp<onnx::IdentityOp>())
    value = identity.getInput();
  if (condition && value == condition)
    return true;
  std::optional<SmallVector<int64_t>> known = getConstantInts(value);
  return known && known->size() == 1 && known->front() != 0;
}

/// The only element of \p tensor.
Value scalarOf(ImplicitLocOpBuilder &b, Value tensor) {
  return tensor::ExtractOp::create(b, reshape(b, tensor, {}), ValueRange{});
}

FailureOr<SmallVector<Value>> lowerLoop(Lowering &b, onnx::LoopOp op,
                                        onnx::LoopOp::Adaptor in) {
  ValueRange initial = in.getVInitial();
  size_t numStates = initial.size();
  size_t numOutputs = op.getNumResults() - numStates;
  if (op.getNumResults() < numStates)
    return b.refuse("it has fewer results than states");
  if (failed(checkBody(b, op.getBody(), numStates + 2, op.getNumResults() + 1)))
    return failure();
  Block &block = op.getBody().front();
  auto yield = cast<onnx::YieldOp>(block.getTerminator());
  for (size_t i = 0; i < numStates; ++i)
    if (failed(checkState(b, op.getVInitial()[i].getType(),
                          block.getArgument(i + 2).getType(),
                          yield.getOutputs()[i + 1].getType())))
      return failure();
  bool hasBound = !onnx::isNone(op.getM());
  bool hasCondition = !onnx::isNone(op.getCond());
  bool counted = hasBound &&
                 (!hasCondition || staysTrue(op.getCond(), Value())) &&
                 staysTrue(yield.getOutputs()[0], block.getArgument(1));
  std::optional<int64_t> steps;
  if (hasBound)
    if (auto known = getConstantInts(op.getM()); known && known->size() == 1)
      steps = std::max<int64_t>(known->front(), 0);
  if (numOutputs && !(counted && steps))
    return b.refuse("it collects outputs over a number of steps that is not "
                    "known before the model runs");
  RankedTensorType countType =
      cast<RankedTensorType>(block.getArgument(0).getType());
  RankedTensorType boolType =
      cast<RankedTensorType>(block.getArgument(1).getType());
  if (countType.getNumElements() != 1 || boolType.getNumElements() != 1)
    return b.refuse("the step number and condition must be scalars");
  Value always = constant(b, b.getI1Type(), 1);
  auto arguments = [&](Value iv, Value condition, ValueRange states) {
    Value count = arith::IndexCastOp::create(b, b.getI64Type(), iv);
    SmallVector<Value> result{filledTensor(b, countType, count),
                              filledTensor(b, boolType, condition)};
    llvm::append_range(result, states);
    return result;
  };
  Value zero = indexConstant(b, 0), one = indexConstant(b, 1);
  Value bound;
  if (steps)
    bound = indexConstant(b, *steps);
  else if (hasBound)
    bound =
        arith::IndexCastOp::create(b, b.getIndexType(), scalarOf(b, in.getM()));
  if (counted) {
    SmallVector<Value> carried(initial);
    for (size_t i = 0; i < numOutputs; ++i) {
      RankedTensorType type = b.resultType(numStates + i);
      if (type.getRank() < 1 || type.getDimSize(0) != *steps)
        return b.refuse("collected output " + Twine(i) +
                        " does not fit its steps");
      carried.push_back(emptyTensor(b, type));
    }
    auto loop = scf::ForOp::create(b, zero, bound, one, carried);
    if (carried.empty())
      b.rewriter.eraseOp(loop.getBody()->getTerminator());
    b.setInsertionPointToStart(loop.getBody());
    ValueRange state(loop.getRegionIterArgs());
    SmallVector<Value> next = inlineBody(
        b, op.getBody(),
        arguments(loop.getInductionVar(), always, state.take_front(numStates)));
    next.erase(next.begin());
    // First, because what is collected may be a state of the step before.
    for (size_t i = 0; i < numOutputs; ++i)
      next[numStates + i] =
          insertAt(b, next[numStates + i], state[numStates + i], 0,
                   loop.getInductionVar());
    carryStates(b, next, state, numStates);
    scf::YieldOp::create(b, next);
    return SmallVector<Value>(loop.getResults());
  }
  // The step number, whether to go on, and the states.
  SmallVector<Value> carried{zero,
                             hasCondition ? scalarOf(b, in.getCond()) : always};
  llvm::append_range(carried, initial);
  SmallVector<Type> types = llvm::to_vector(ValueRange(carried).getTypes());
  SmallVector<Location> locations(types.size(), b.getLoc());
  auto loop = scf::WhileOp::create(b, types, carried);
  Block *before =
      b.rewriter.createBlock(&loop.getBefore(), {}, types, locations);
  b.setInsertionPointToStart(before);
  Value goOn = before->getArgument(1);
  if (bound)
    goOn = arith::AndIOp::create(
        b, goOn, Arith{b}.compare(Arith::Less, before->getArgument(0), bound));
  scf::ConditionOp::create(b, goOn, before->getArguments());
  Block *after = b.rewriter.createBlock(&loop.getAfter(), {}, types, locations);
  b.setInsertionPointToStart(after);
  SmallVector<Value> next =
      inlineBody(b, op.getBody(),
                 arguments(after->getArgument(0), after->getArgument(1),
                           ValueRange(after->getArguments()).drop_front(2)));
  next[0] = scalarOf(b, next[0]);
  carryStates(b, MutableArrayRef(next).drop_front(),
              ValueRange(after->getArguments()).drop_front(2), numStates);
  next.insert(next.begin(),
              arith::AddIOp::create(b, after->getArgument(0), one));
  scf::YieldOp::create(b, next);
  return SmallVector<Value>(loop.getResults().drop_front(2));
}

FailureOr<SmallVector<Value>> lowerIf(Lowering &b, onnx::IfOp op,
                                      onnx::IfOp::Adaptor in) {
  SmallVector<Type> types;
  for (OpResult result : op->getResults()) {
    if (!isStatic(result.getType()))
      return b.refuse("result " + Twine(result.getResultNumber()) +
                      " has no static shape");
    types.push_back(b.resultType(result.getResultNumber()));
  }
  if (tensorType(in.getCond()).getNumElements() != 1)
    return b.refuse("its condition is no scalar");
  // A condition known now leaves one branch.
  std::optional<SmallVector<int64_t>> known = getConstantInts(op.getCond());
  SmallVector<Region *, 2> branches{&op.getThenBranch(), &op.getElseBranch()};
  if (known)
    branches.erase(branches.begin() + (known->front() ? 1 : 0));
  for (Region *branch : branches) {
    if (failed(checkBody(b, *branch, 0, op.getNumResults())))
      return failure();
    auto yield = cast<onnx::YieldOp>(branch->front().getTerminator());
    if (yield.getOperandTypes() != op->getResultTypes())
      return b.refuse("its branches give results of different types");
  }
  if (known)
    return inlineBody(b, *branches.front(), {});
  auto choice = scf::IfOp::create(b, types, scalarOf(b, in.getCond()),
                                  /*withElseRegion=*/true);
  for (auto [branch, block] :
       {std::pair(&op.getThenBranch(), choice.thenBlock()),
        std::pair(&op.getElseBranch(), choice.elseBlock())}) {
    if (!block->empty())
      b.rewriter.eraseOp(block->getTerminator());
    b.setInsertionPointToEnd(block);
    SmallVector<Value> results = inlineBody(b, *branch, {});
    scf::YieldOp::create(b, results);
  }
  return SmallVector<Value>(choice.getResults());
}

} // namespace

void lowering::addControlFlowLowerings(LoweringSet &set) {
  set.add<onnx::ScanOp>(lowerScan);
  set.add<onnx::LoopOp>(lowerLoop);
  set.add<onnx::IfOp>(lowerIf);
}
