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

/// \p value without ops that only change its shape or integer type.
static Value skipViews(Value value) {
  while (Operation *op = value.getDefiningOp()) {
    if (!isa<CastOp, IdentityOp, UnsqueezeOp, SqueezeOp, ReshapeOp>(op))
      break;
    value = op->getOperand(0);
  }
  return value;
}

namespace {

class LoopConverter {
public:
  LoopConverter(LoopOp loop, int64_t count)
      : loop(loop), body(loop.getBody().front()), count(count),
        numStates(loop.getVInitial().size()), b(loop.getLoc(), loop) {}

  void run();

private:
  bool isOutside(Value value) {
    return !loop.getBody().isAncestor(value.getParentRegion());
  }
  std::optional<int64_t> getStepAxis(Operation *op);
  std::optional<int64_t> getCollectedAxis(unsigned state);
  Value addScanInput(Value source, int64_t axis);

  LoopOp loop;
  Block &body;
  int64_t count;
  unsigned numStates;
  ImplicitLocOpBuilder b;
  SmallVector<Value> inputs;
  SmallVector<int64_t> inputAxes, outputAxes;
};

} // namespace

/// The axis along which \p op takes the index that the loop counts from a
/// tensor outside of it.
std::optional<int64_t> LoopConverter::getStepAxis(Operation *op) {
  if (!isa<GatherOp, SliceOp>(op) || !isOutside(op->getOperand(0)) ||
      !getStaticType(op->getResult(0)))
    return std::nullopt;
  RankedTensorType type = getStaticType(op->getOperand(0));
  if (!type || skipViews(op->getOperand(1)) != body.getArgument(0))
    return std::nullopt;
  std::optional<int64_t> axis;
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
  return axis && type.getDimSize(*axis) >= count ? axis : std::nullopt;
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

/// The number of the scan input with token t at index t of \p axis.
Value LoopConverter::addScanInput(Value source, int64_t axis) {
  if (getStaticType(source).getDimSize(axis) != count)
    source = createPrefix(b, source, axis, count);
  inputs.push_back(source);
  inputAxes.push_back(axis);
  return source;
}

void LoopConverter::run() {
  // States that only collect are outputs.
  SmallVector<std::optional<int64_t>> collected;
  SmallVector<Value> operands;
  SmallVector<Type> results;
  for (unsigned i = 0; i < numStates; ++i) {
    collected.push_back(getCollectedAxis(i));
    if (collected[i])
      continue;
    operands.push_back(loop.getVInitial()[i]);
    results.push_back(loop->getResult(i).getType());
  }
  unsigned numCarried = operands.size();
  for (unsigned i = 0; i < loop->getNumResults(); ++i) {
    if (i < numStates && !collected[i])
      continue;
    results.push_back(loop->getResult(i).getType());
    outputAxes.push_back(i < numStates ? *collected[i] : 0);
  }
  SmallVector<std::pair<Operation *, unsigned>> slices; // and their inputs
  for (Operation &op : body)
    if (std::optional<int64_t> axis = getStepAxis(&op)) {
      slices.push_back({&op, inputs.size()});
      addScanInput(op.getOperand(0), *axis);
    }
  // The counter is one more input: what else uses it finds it there.
  SmallVector<int64_t> steps(count);
  std::iota(steps.begin(), steps.end(), 0);
  addScanInput(createIntegers(b, steps), 0);

  llvm::append_range(operands, inputs);
  OperationState state(loop.getLoc(), ScanOp::getOperationName());
  state.addOperands(operands);
  state.addTypes(results);
  state.addAttribute("num_scan_inputs", b.getI64IntegerAttr(inputs.size()));
  state.addAttribute("scan_input_axes", b.getDenseI64ArrayAttr(inputAxes));
  state.addAttribute("scan_output_axes", b.getDenseI64ArrayAttr(outputAxes));
  Block &block = state.addRegion()->emplaceBlock();
  Operation *scan = b.create(state);

  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(&block);
  IRMapping map;
  for (unsigned i = 0; i < numStates; ++i)
    if (!collected[i])
      map.map(body.getArgument(i + 2),
              block.addArgument(body.getArgument(i + 2).getType(), b.getLoc()));
  for (auto [input, axis] : llvm::zip(inputs, inputAxes))
    block.addArgument(resize(getStaticType(input), axis, std::nullopt),
                      b.getLoc());
  map.map(body.getArgument(0), block.getArguments().back());
  auto flag = RankedTensorType::get({}, b.getI1Type());
  map.map(body.getArgument(1),
          ConstantOp::create(b, flag,
                             cast<ElementsAttr>(DenseElementsAttr::get(
                                 flag, b.getBoolAttr(true)))));
  for (auto [op, input] : slices)
    map.map(op->getResult(0),
            createReshape(b, block.getArgument(numCarried + input),
                          getStaticType(op->getResult(0)).getShape()));
  DenseSet<Operation *> skipped;
  for (auto [op, input] : slices)
    skipped.insert(op);
  SmallVector<Value> yielded, outputs;
  Operation *yield = body.getTerminator();
  for (unsigned i = 0; i < loop->getNumResults(); ++i)
    if (i < numStates && collected[i])
      skipped.insert(yield->getOperand(i + 1).getDefiningOp());
  for (Operation &op : body.without_terminator())
    if (!skipped.contains(&op))
      b.clone(op, map);
  for (unsigned i = 0; i < loop->getNumResults(); ++i) {
    Value next = yield->getOperand(i + 1);
    if (i >= numStates) {
      outputs.push_back(map.lookupOrDefault(next));
    } else if (!collected[i]) {
      yielded.push_back(map.lookupOrDefault(next));
    } else {
      Value update = next.getDefiningOp()->getOperand(2);
      outputs.push_back(createReshape(
          b, map.lookupOrDefault(update),
          resize(getStaticType(next), *collected[i], std::nullopt).getShape()));
    }
  }
  llvm::append_range(yielded, outputs);
  YieldOp::create(b, yielded);

  unsigned carried = 0, output = numCarried;
  for (unsigned i = 0; i < loop->getNumResults(); ++i)
    loop->getResult(i).replaceAllUsesWith(
        scan->getResult(i < numStates && !collected[i] ? carried++ : output++));
  loop.erase();
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
      LoopConverter(loop, *count).run();
      ++numConverted;
    }
  }
};

} // namespace
