//===- UnrollSteps.cpp - Scans that take several tokens in each step ------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ScanSupport.h"
#include "TokenAlignment.h"
#include "mlir/IR/IRMapping.h"
#include "rwkvc/Dialect/ONNX/Transforms/Passes.h"

namespace rwkvc::onnx {
#define GEN_PASS_DEF_UNROLLSTEPS
#include "rwkvc/Dialect/ONNX/Transforms/Passes.h.inc"
} // namespace rwkvc::onnx

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::onnx;
using namespace rwkvc::onnx::evaluation;

/// More ops than a file of some thousand tokens has.
static constexpr int64_t kMaxOps = int64_t(1) << 18;

namespace {

class StepUnroller {
public:
  explicit StepUnroller(ScanOp scan)
      : scan(scan), body(scan.getBody().front()),
        numStates(scan->getNumOperands() - scan.getNumScanInputs()),
        b(scan.getLoc(), scan) {}

  /// Fails, and changes nothing, unless each step is several tokens alike.
  LogicalResult run();

private:
  bool matchInputs();
  bool matchOutputs();
  void unrollStep(int64_t step, SmallVectorImpl<Value> &states);
  Value takeInput(unsigned input, int64_t step);
  Value takeToken(Operation *op, int64_t step);
  bool isOneLoop();

  ScanOp scan;
  Block &body;
  unsigned numStates;
  ImplicitLocOpBuilder b;
  int64_t numSteps = 0, tokensPerStep = 0;
  SmallVector<int64_t> inputAxes;
  SmallVector<ConcatOp> concats;                    ///< by output
  SmallVector<SmallVector<Value>> rows;             ///< by output, of all steps
  SmallVector<std::optional<HostTensor>> constants; ///< by input
  DenseMap<Value, Value> flat; ///< inputs with one axis of tokens
};

} // namespace

bool StepUnroller::matchInputs() {
  if (scan.getNumScanInputs() == 0 || !isForward(scan))
    return false;
  for (unsigned i = numStates; i < scan->getNumOperands(); ++i) {
    RankedTensorType type = getStaticType(scan->getOperand(i));
    auto axis =
        type ? getInputAxis(scan, i - numStates, type.getRank()) : std::nullopt;
    if (!axis)
      return false;
    inputAxes.push_back(*axis);
    numSteps = type.getDimSize(*axis);
    // Such as the number of the step.
    std::optional<HostTensor> known;
    auto constant = scan->getOperand(i).getDefiningOp<ConstantOp>();
    if (constant && type.getRank() == 1)
      if (auto elements = readElements(constant.getValue());
          succeeded(elements))
        known = std::move(*elements);
    constants.push_back(std::move(known));
  }
  auto isStatic = [](Value value) {
    return static_cast<bool>(getStaticType(value));
  };
  return llvm::all_of(body.getArguments(), isStatic) &&
         llvm::all_of(scan->getResults(), isStatic);
}

/// Whether each output is made of as many pieces in each step.
bool StepUnroller::matchOutputs() {
  Operation *yield = body.getTerminator();
  for (unsigned i = numStates; i < scan->getNumResults(); ++i) {
    auto concat = yield->getOperand(i).getDefiningOp<ConcatOp>();
    RankedTensorType type = getStaticType(yield->getOperand(i));
    if (!concat || !type || concat->getBlock() != &body)
      return false;
    auto axis = normalizeAxis(concat.getAxis(), type.getRank());
    auto stacked = getOutputAxis(scan, i - numStates, type.getRank() + 1);
    int64_t count = concat->getNumOperands();
    if (!axis || axis != stacked || count < 2 ||
        type.getDimSize(*axis) != count ||
        (tokensPerStep && tokensPerStep != count))
      return false;
    tokensPerStep = count;
    concats.push_back(concat);
  }
  return tokensPerStep > 1 && tokensPerStep * numSteps > 2 &&
         static_cast<int64_t>(body.getOperations().size()) <=
             kMaxOps / numSteps;
}

static Value createIndex(ImplicitLocOpBuilder &b, int64_t index) {
  auto type = RankedTensorType::get({}, b.getI64Type());
  return ConstantOp::create(
      b, type, cast<ElementsAttr>(DenseElementsAttr::get(type, index)));
}

static Value createGather(ImplicitLocOpBuilder &b, Value source, int64_t axis,
                          int64_t index) {
  OperationState state(b.getLoc(), GatherOp::getOperationName());
  state.addOperands({source, createIndex(b, index)});
  state.addTypes(resize(getStaticType(source), axis, std::nullopt));
  state.addAttribute("axis", b.getI64IntegerAttr(axis));
  return b.create(state)->getResult(0);
}

/// What the body takes of \p input in a step.
Value StepUnroller::takeInput(unsigned input, int64_t step) {
  Value source = scan->getOperand(numStates + input);
  return createGather(b, source, inputAxes[input], step);
}

/// The token that \p op takes of an input [steps, tokens of a step, ...], or
/// null.
Value StepUnroller::takeToken(Operation *op, int64_t step) {
  auto gather = dyn_cast<GatherOp>(op);
  auto argument =
      gather ? dyn_cast<BlockArgument>(gather.getData()) : BlockArgument();
  auto number =
      gather ? getConstantIntegers(gather.getIndices()) : std::nullopt;
  if (!argument || argument.getOwner() != &body || !number ||
      number->size() != 1 || argument.getArgNumber() < numStates ||
      inputAxes[argument.getArgNumber() - numStates] != 0 ||
      gather.getAxis() != 0)
    return {};
  RankedTensorType type = getStaticType(argument);
  if (type.getRank() == 0 || type.getDimSize(0) != tokensPerStep)
    return {};
  Value &tokens = flat[argument];
  if (!tokens) {
    // The pairs are mostly a view of the tokens.
    Value source = scan->getOperand(argument.getArgNumber());
    while (auto view = source.getDefiningOp<ReshapeOp>()) {
      if (!getStaticType(view.getData()))
        break;
      source = view.getData();
    }
    tokens = createReshape(
        b, source, resize(type, 0, numSteps * tokensPerStep).getShape());
  }
  int64_t index = number->front() + (number->front() < 0 ? tokensPerStep : 0);
  Value token = createGather(b, tokens, 0, step * tokensPerStep + index);
  return createReshape(b, token,
                       getStaticType(gather->getResult(0)).getShape());
}

/// \p op, of integers, as a constant, where its operands are.
static Value foldIntegers(ImplicitLocOpBuilder &b, Operation *op) {
  if (op->getNumResults() != 1 || op->getNumRegions() > 0 ||
      !getElementTypeOrSelf(op->getResult(0).getType()).isInteger() ||
      !llvm::all_of(op->getOperands(), [](Value operand) {
        return isNone(operand) || operand.getDefiningOp<ConstantOp>();
      }))
    return {};
  auto value =
      evaluateRegion({op->getResult(0)}, DenseMap<Value, HostTensor>());
  if (failed(value) ||
      value->front().elementType != getElementTypeOrSelf(op->getResult(0)))
    return {};
  auto elements = writeElements(value->front());
  return succeeded(elements)
             ? ConstantOp::create(b, op->getResult(0).getType(), *elements)
             : Value();
}

/// Adds the ops of a step, which take \p states and leave the next ones there.
void StepUnroller::unrollStep(int64_t step, SmallVectorImpl<Value> &states) {
  IRMapping map;
  for (unsigned i = 0; i < numStates; ++i)
    map.map(body.getArgument(i), states[i]);
  for (auto [input, known] : llvm::enumerate(constants)) {
    BlockArgument argument = body.getArgument(numStates + input);
    if (known) {
      HostTensor number{{}, {known->data[step]}, known->elementType};
      if (auto elements = writeElements(number); succeeded(elements))
        map.map(argument, ConstantOp::create(b, argument.getType(), *elements));
    }
    if (!map.contains(argument))
      map.map(argument, takeInput(input, step));
  }
  for (Operation &op : body.without_terminator()) {
    if (Value token = takeToken(&op, step)) {
      map.map(op.getResult(0), token);
      continue;
    }
    Operation *clone = b.clone(op, map);
    if (Value constant = foldIntegers(b, clone)) {
      map.map(op.getResult(0), constant);
      clone->erase();
    }
  }
  for (auto [concat, list] : llvm::zip(concats, rows))
    for (Value piece : concat->getOperands())
      list.push_back(map.lookupOrDefault(piece));
  Operation *yield = body.getTerminator();
  for (unsigned i = 0; i < numStates; ++i)
    states[i] = map.lookupOrDefault(yield->getOperand(i));
}

/// Whether the tokens of all steps do the same, each after the one before it.
bool StepUnroller::isOneLoop() {
  return llvm::all_of(rows, [](ArrayRef<Value> pieces) {
    TokenAlignment alignment(pieces.size());
    return alignment.align(pieces) && alignment.hasDependence();
  });
}

LogicalResult StepUnroller::run() {
  if (!matchInputs() || !matchOutputs())
    return failure();
  rows.resize(concats.size());
  Operation *before = scan->getPrevNode();
  SmallVector<Value> states(scan->getOperands().take_front(numStates));
  for (int64_t step = 0; step < numSteps; ++step)
    unrollStep(step, states);
  if (!isOneLoop()) {
    while (scan->getPrevNode() != before)
      scan->getPrevNode()->erase();
    return failure();
  }
  for (auto [concat, list] : llvm::zip(concats, rows)) {
    RankedTensorType type = getStaticType(concat->getResult(0));
    int64_t axis = *normalizeAxis(concat.getAxis(), type.getRank());
    Value all = createConcat(b, list, axis);
    Value stacked = scan->getResult(states.size());
    for (Operation *user : llvm::make_early_inc_range(stacked.getUsers()))
      if (isa<ReshapeOp>(user) &&
          user->getResult(0).getType() == all.getType()) {
        user->getResult(0).replaceAllUsesWith(all);
        user->erase();
      }
    states.push_back(createReshape(b, all, getStaticType(stacked).getShape()));
  }
  scan->replaceAllUsesWith(states);
  scan->erase();
  return success();
}

namespace {

struct UnrollStepsPass : onnx::impl::UnrollStepsBase<UnrollStepsPass> {
  void runOnOperation() override {
    SmallVector<ScanOp> scans;
    getOperation().walk([&](ScanOp scan) { scans.push_back(scan); });
    for (ScanOp scan : scans)
      if (succeeded(StepUnroller(scan).run()))
        ++numUnrolled;
  }
};

} // namespace
