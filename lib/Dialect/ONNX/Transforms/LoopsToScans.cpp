//===- LoopsToScans.cpp - Loops that count through tokens -----------------===//
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
#define GEN_PASS_DEF_LOOPSTOSCANS
#include "rwkvc/Dialect/ONNX/Transforms/Passes.h.inc"
} // namespace rwkvc::onnx

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::onnx;
using namespace rwkvc::onnx::evaluation;

namespace {

/// Where token t is in a tensor outside of the loop: at t + offset of the axis.
struct StepAccess {
  int64_t axis, offset;
};

/// What the scan gives for a result of the loop that is no state.
struct ScanOutput {
  int64_t axis;
  RankedTensorType step; ///< without the axis
  std::optional<LoopGrowth> growth;
};

class LoopConverter {
public:
  LoopConverter(LoopOp loop, int64_t count)
      : loop(loop), body(loop.getBody().front()), count(count),
        numStates(loop.getVInitial().size()), b(loop.getLoc(), loop) {}

  /// Fails, and changes nothing, where a state changes its type.
  LogicalResult run();

private:
  bool isOutside(Value value) {
    return !loop.getBody().isAncestor(value.getParentRegion());
  }
  std::optional<StepAccess> getAccess(Operation *op);
  std::optional<int64_t> getCollectedAxis(unsigned state);
  std::optional<ScanOutput> getOutput(unsigned result);
  void addScanInput(Value source, StepAccess access);
  void addScanInputs();
  Operation *createScan();
  Value emitOutput(unsigned result, IRMapping &map);
  void fillBody(Block &block);
  Value getResult(unsigned result, Value output);

  LoopOp loop;
  Block &body;
  int64_t count;
  unsigned numStates;
  ImplicitLocOpBuilder b;
  /// By result of the loop; none for a state.
  SmallVector<std::optional<ScanOutput>> outputs;
  SmallVector<Value> inputs;
  SmallVector<int64_t> inputAxes;
  SmallVector<Operation *> slices; ///< that inputs replace, in their order
};

} // namespace

/// What \p op takes by the index that the loop counts from a tensor outside of
/// it.
std::optional<StepAccess> LoopConverter::getAccess(Operation *op) {
  if (!isa<GatherOp, SliceOp>(op) || !isOutside(op->getOperand(0)) ||
      !getStaticType(op->getResult(0)))
    return std::nullopt;
  RankedTensorType type = getStaticType(op->getOperand(0));
  std::optional<int64_t> axis, offset = getStepOffset(loop, op->getOperand(1));
  if (!type || !offset || *offset < 0)
    return std::nullopt;
  if (auto gather = dyn_cast<GatherOp>(op)) {
    RankedTensorType index = getStaticType(gather.getIndices());
    if (!index || index.getNumElements() != 1)
      return std::nullopt;
    axis = normalizeAxis(gather.getAxis(), type.getRank());
  } else {
    auto shape = getStepSliceShape(cast<SliceOp>(op));
    for (int64_t i = 0; shape && i < type.getRank(); ++i)
      if ((*shape)[i] != type.getDimSize(i))
        axis = i;
    if (!axis || (*shape)[*axis] != 1)
      return std::nullopt;
  }
  if (!axis || type.getDimSize(*axis) < count + *offset)
    return std::nullopt;
  return StepAccess{*axis, *offset};
}

/// The axis of a state that each step only writes its own index of.
std::optional<int64_t> LoopConverter::getCollectedAxis(unsigned state) {
  BlockArgument argument = body.getArgument(state + 2);
  Operation *scatter =
      body.getTerminator()->getOperand(state + 1).getDefiningOp();
  RankedTensorType type = getStaticType(argument);
  if (!type || !scatter || !isa<ScatterNDOp, ScatterElementsOp>(scatter) ||
      !argument.hasOneUse() || scatter->getOperand(0) != argument ||
      !scatter->getResult(0).hasOneUse())
    return std::nullopt;
  for (int64_t axis = 0; axis < type.getRank(); ++axis) {
    if (type.getDimSize(axis) != count)
      continue;
    bool writesStep = true;
    for (int64_t step : {int64_t(0), count / 2, count - 1}) {
      DenseMap<Value, HostTensor> leaves;
      leaves[body.getArgument(0)] = {
          {}, {static_cast<double>(step)}, b.getI64Type()};
      auto indices = evaluateRegion({scatter->getOperand(1)}, leaves);
      auto numbers =
          succeeded(indices) ? getIntegers(&indices->front()) : std::nullopt;
      writesStep &= numbers && getWrittenIndex(scatter, *numbers, axis) == step;
    }
    if (writesStep)
      return axis;
  }
  return std::nullopt;
}

std::optional<ScanOutput> LoopConverter::getOutput(unsigned result) {
  Value yielded = body.getTerminator()->getOperand(result + 1);
  if (result >= numStates)
    return ScanOutput{0, getStaticType(yielded), std::nullopt};
  if (std::optional<int64_t> axis = getCollectedAxis(result))
    return ScanOutput{*axis,
                      resize(getStaticType(yielded), *axis, std::nullopt),
                      std::nullopt};
  std::optional<LoopGrowth> growth = getGrowth(loop, result);
  if (!growth)
    return std::nullopt;
  // Several rows of one step stay a tensor of their own.
  RankedTensorType piece = getStaticType(growth->pieces.front());
  return ScanOutput{growth->axis,
                    growth->extent == 1
                        ? resize(piece, growth->axis, std::nullopt)
                        : resize(piece, growth->axis, growth->extent),
                    growth};
}

void LoopConverter::addScanInput(Value source, StepAccess access) {
  if (getStaticType(source).getDimSize(access.axis) != count)
    source = createSlice(b, source, access.axis, access.offset, count);
  inputs.push_back(source);
  inputAxes.push_back(access.axis);
}

void LoopConverter::addScanInputs() {
  for (Operation &op : body)
    if (std::optional<StepAccess> access = getAccess(&op)) {
      slices.push_back(&op);
      addScanInput(op.getOperand(0), *access);
    }
  // The counter is one more input: what else uses it finds it there.
  SmallVector<int64_t> steps(count);
  std::iota(steps.begin(), steps.end(), 0);
  addScanInput(createIntegers(b, steps), {0, 0});
}

/// The scan, its body still empty.
Operation *LoopConverter::createScan() {
  SmallVector<Value> operands;
  SmallVector<Type> states, collected;
  SmallVector<int64_t> outputAxes;
  for (auto [i, output] : llvm::enumerate(outputs)) {
    if (!output) {
      operands.push_back(loop.getVInitial()[i]);
      states.push_back(loop->getResult(i).getType());
      continue;
    }
    Shape shape(output->step.getShape());
    shape.insert(shape.begin() + output->axis, count);
    collected.push_back(output->step.clone(shape));
    outputAxes.push_back(output->axis);
  }
  llvm::append_range(operands, inputs);
  OperationState state(loop.getLoc(), ScanOp::getOperationName());
  state.addOperands(operands);
  state.addTypes(states);
  state.addTypes(collected);
  state.addAttribute("num_scan_inputs", b.getI64IntegerAttr(inputs.size()));
  state.addAttribute("scan_input_axes", b.getDenseI64ArrayAttr(inputAxes));
  state.addAttribute("scan_output_axes", b.getDenseI64ArrayAttr(outputAxes));
  state.addRegion()->emplaceBlock();
  return b.create(state);
}

/// What a step of the scan yields for a result of the loop that is no state.
Value LoopConverter::emitOutput(unsigned result, IRMapping &map) {
  Value next = body.getTerminator()->getOperand(result + 1);
  if (result >= numStates)
    return map.lookupOrDefault(next);
  const ScanOutput &output = *outputs[result];
  if (!output.growth)
    next = map.lookupOrDefault(next.getDefiningOp()->getOperand(2));
  else
    next = createConcat(b,
                        llvm::map_to_vector(output.growth->pieces,
                                            [&](Value piece) {
                                              return map.lookupOrDefault(piece);
                                            }),
                        output.axis);
  return createReshape(b, next, output.step.getShape());
}

void LoopConverter::fillBody(Block &block) {
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(&block);
  IRMapping map;
  DenseSet<Operation *> skipped(slices.begin(), slices.end());
  Operation *yield = body.getTerminator();
  for (unsigned i = 0; i < numStates; ++i) {
    if (!outputs[i])
      map.map(body.getArgument(i + 2),
              block.addArgument(body.getArgument(i + 2).getType(), b.getLoc()));
    else if (outputs[i]->growth)
      skipped.insert_range(outputs[i]->growth->concats);
    else
      skipped.insert(yield->getOperand(i + 1).getDefiningOp());
  }
  SmallVector<Value> tokens;
  for (auto [input, axis] : llvm::zip(inputs, inputAxes))
    tokens.push_back(block.addArgument(
        resize(getStaticType(input), axis, std::nullopt), b.getLoc()));
  map.map(body.getArgument(0), tokens.back());
  auto flag = RankedTensorType::get({}, b.getI1Type());
  map.map(body.getArgument(1),
          ConstantOp::create(b, flag,
                             cast<ElementsAttr>(DenseElementsAttr::get(
                                 flag, b.getBoolAttr(true)))));
  for (auto [op, token] : llvm::zip(slices, tokens))
    map.map(
        op->getResult(0),
        createReshape(b, token, getStaticType(op->getResult(0)).getShape()));
  for (Operation &op : body.without_terminator())
    if (!skipped.contains(&op))
      b.clone(op, map);
  SmallVector<Value> states, collected;
  for (unsigned i = 0; i < outputs.size(); ++i)
    if (outputs[i])
      collected.push_back(emitOutput(i, map));
    else
      states.push_back(map.lookupOrDefault(yield->getOperand(i + 1)));
  llvm::append_range(states, collected);
  YieldOp::create(b, states);
}

/// What a \p result of the loop that is no state is, from the scan's.
Value LoopConverter::getResult(unsigned result, Value output) {
  const std::optional<LoopGrowth> &growth = outputs[result]->growth;
  if (!growth)
    return output;
  int64_t axis = growth->axis;
  if (growth->atFront)
    output = createReverse(b, output, axis);
  Value initial = loop.getVInitial()[result];
  auto type = cast<RankedTensorType>(initial.getType());
  output = createReshape(b, output,
                         resize(type, axis, count * growth->extent).getShape());
  if (type.getDimSize(axis) == 0)
    return output;
  return growth->atFront ? createConcat(b, {output, initial}, axis)
                         : createConcat(b, {initial, output}, axis);
}

LogicalResult LoopConverter::run() {
  unsigned numCarried = 0;
  for (unsigned i = 0; i < loop->getNumResults(); ++i) {
    outputs.push_back(getOutput(i));
    numCarried += !outputs[i];
    Type next = body.getTerminator()->getOperand(i + 1).getType();
    if (!outputs[i] && next != body.getArgument(i + 2).getType())
      return failure();
  }
  addScanInputs();
  Operation *scan = createScan();
  fillBody(scan->getRegion(0).front());
  unsigned carried = 0, collected = numCarried;
  for (unsigned i = 0; i < outputs.size(); ++i)
    loop->getResult(i).replaceAllUsesWith(
        outputs[i] ? getResult(i, scan->getResult(collected++))
                   : scan->getResult(carried++));
  loop.erase();
  return success();
}

namespace {

struct LoopsToScansPass : onnx::impl::LoopsToScansBase<LoopsToScansPass> {
  void runOnOperation() override {
    SmallVector<LoopOp> loops;
    getOperation().walk([&](LoopOp loop) { loops.push_back(loop); });
    for (LoopOp loop : loops) {
      std::optional<int64_t> count = getTripCount(loop);
      auto isStatic = [](Type type) {
        auto tensor = dyn_cast<RankedTensorType>(type);
        return tensor && tensor.hasStaticShape();
      };
      if (!count || *count < 1 || isNone(loop.getM()) ||
          loop->getNumResults() == 0 ||
          !llvm::all_of(loop->getResultTypes(), isStatic) ||
          !llvm::all_of(loop.getVInitial().getTypes(), isStatic) ||
          !llvm::all_of(loop.getBody().getArgumentTypes(), isStatic))
        continue;
      if (succeeded(LoopConverter(loop, *count).run()))
        ++numConverted;
    }
  }
};

} // namespace
