//===- RerollScans.cpp - Loops over tokens out of unrolled code -----------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ScanSupport.h"
#include "TokenAlignment.h"
#include "mlir/Analysis/TopologicalSortUtils.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "rwkvc/Dialect/ONNX/IR/ONNX.h"
#include "rwkvc/Dialect/ONNX/Transforms/Passes.h"
#include "rwkvc/Dialect/ONNX/Transforms/RandomLeaves.h"

namespace rwkvc::onnx {
#define GEN_PASS_DEF_REROLLSCANS
#include "rwkvc/Dialect/ONNX/Transforms/Passes.h.inc"
} // namespace rwkvc::onnx

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::onnx;

static RankedTensorType getType(Value value) {
  return cast<RankedTensorType>(value.getType());
}

namespace {

/// Builds the Scan for one aligned collection.
class ScanBuilder {
public:
  ScanBuilder(const TokenCollection &collection, TokenAlignment &alignment,
              unsigned root)
      : collection(collection), alignment(alignment), root(root),
        b(collection.result.getLoc(), collection.result.getDefiningOp()) {}

  /// The Scan, or null where the first token does something else.
  ScanOp build();
  ArrayRef<unsigned> getCarried() const { return carried; }

private:
  Value addScanInput(const AlignedValue &value);
  Value emit(unsigned number);
  bool checkFirstToken();

  const TokenCollection &collection;
  TokenAlignment &alignment;
  unsigned root;
  ImplicitLocOpBuilder b;
  SmallVector<unsigned> carried, scanned;
  SmallVector<Value> operands;
  SmallVector<int64_t> axes;
  ScanOp scan;
  DenseMap<unsigned, Value> emitted;
  DenseMap<Operation *, Operation *> clones;
};

} // namespace

/// The tensor whose token t is the aligned value's.
Value ScanBuilder::addScanInput(const AlignedValue &value) {
  if (value.kind == AlignedValue::Kind::Slice)
    return value.source;
  RankedTensorType type = getType(value.source);
  int64_t size = type.getDimSize(value.axis);
  Value first =
      createReshape(b, value.values[0], resize(type, value.axis, 1).getShape());
  Value others = createSlice(b, value.source, value.axis, 0, size - 1);
  return createConcat(b, {first, others}, value.axis);
}

/// The body's value for the aligned value \p number.
Value ScanBuilder::emit(unsigned number) {
  if (Value known = emitted.lookup(number))
    return known;
  const AlignedValue &value = alignment.getValues()[number];
  if (value.kind == AlignedValue::Kind::Invariant)
    return emitted[number] = value.values[1];
  assert(value.kind == AlignedValue::Kind::Op && "arguments are known");
  Operation *example = value.getExample();
  IRMapping map;
  for (auto [operand, own] : llvm::zip(value.operands, example->getOperands()))
    if (operand)
      map.map(own, emit(*operand));
  Operation *&clone = clones[example];
  if (!clone)
    clone = b.clone(*example, map);
  return emitted[number] = clone->getResult(
             cast<OpResult>(value.values[1]).getResultNumber());
}

ScanOp ScanBuilder::build() {
  SmallVector<Type> results;
  for (auto [number, value] : llvm::enumerate(alignment.getValues())) {
    if (value.kind == AlignedValue::Kind::Carried) {
      carried.push_back(number);
      results.push_back(value.values[1].getType());
    }
    if (value.kind == AlignedValue::Kind::Slice ||
        value.kind == AlignedValue::Kind::Shifted)
      scanned.push_back(number);
  }
  for (unsigned number : carried) {
    const AlignedValue &value = alignment.getValues()[number];
    Value initial = value.values[0];
    // An exporter that folds a multiplication by the empty state leaves no
    // trace of it.
    if (!initial) {
      RankedTensorType type = getType(value.values[1]);
      initial =
          ConstantOp::create(b, type,
                             cast<ElementsAttr>(DenseElementsAttr::get(
                                 type, b.getZeroAttr(type.getElementType()))));
    }
    operands.push_back(initial);
  }
  for (unsigned number : scanned) {
    operands.push_back(addScanInput(alignment.getValues()[number]));
    axes.push_back(alignment.getValues()[number].axis);
  }
  RankedTensorType type = getType(collection.result);
  results.push_back(type);
  OperationState state(b.getLoc(), ScanOp::getOperationName());
  state.addOperands(operands);
  state.addTypes(results);
  state.addAttribute("num_scan_inputs", b.getI64IntegerAttr(scanned.size()));
  state.addAttribute("scan_input_axes", b.getDenseI64ArrayAttr(axes));
  state.addAttribute("scan_output_axes",
                     b.getDenseI64ArrayAttr({collection.axis}));
  Region *region = state.addRegion();
  Block &body = region->emplaceBlock();
  scan = cast<ScanOp>(b.create(state));

  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(&body);
  for (auto [number, initial] : llvm::zip(carried, operands))
    emitted[number] = body.addArgument(initial.getType(), b.getLoc());
  for (auto [number, source, axis] : llvm::zip(
           scanned, ArrayRef(operands).drop_front(carried.size()), axes)) {
    Value argument = body.addArgument(
        resize(getType(source), axis, std::nullopt), b.getLoc());
    emitted[number] = createReshape(
        b, argument,
        getType(alignment.getValues()[number].values[1]).getShape());
  }
  SmallVector<Value> yielded;
  for (unsigned number : carried)
    yielded.push_back(emit(*alignment.getValues()[number].update));
  yielded.push_back(createReshape(
      b, emit(root), resize(type, collection.axis, std::nullopt).getShape()));
  YieldOp::create(b, yielded);
  if (checkFirstToken())
    return scan;
  scan.erase();
  return {};
}

/// Where the graph computes the first token's values in another way, whether
/// they are what the body computes.
bool ScanBuilder::checkFirstToken() {
  SmallVector<unsigned> different;
  for (auto [number, value] : llvm::enumerate(alignment.getValues()))
    if (value.firstDiffers && value.values[0])
      different.push_back(number);
  if (different.empty())
    return llvm::all_of(carried, [&](unsigned number) {
      return static_cast<bool>(alignment.getValues()[number].values[0]);
    });
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPoint(scan);
  Operation *before = scan->getPrevNode();
  Block &body = scan.getBody().front();
  IRMapping map;
  for (auto [i, argument] : llvm::enumerate(body.getArguments())) {
    Value operand = scan->getOperand(i);
    if (i >= carried.size()) {
      OperationState gather(b.getLoc(), GatherOp::getOperationName());
      auto index = RankedTensorType::get({}, b.getI64Type());
      Value zero = ConstantOp::create(
          b, index,
          cast<ElementsAttr>(DenseElementsAttr::get(index, int64_t(0))));
      gather.addOperands({operand, zero});
      gather.addTypes(argument.getType());
      gather.addAttribute("axis",
                          b.getI64IntegerAttr(axes[i - carried.size()]));
      operand = b.create(gather)->getResult(0);
    }
    map.map(argument, operand);
  }
  for (Operation &op : body.without_terminator())
    b.clone(op, map);
  RandomLeaves leaves;
  SmallVector<Value> own, rerolled;
  for (const AlignedValue &value : alignment.getValues()) {
    if (value.source)
      leaves.add(value.source);
    if (value.kind == AlignedValue::Kind::Invariant)
      leaves.add(value.values[1]);
    else if (value.kind != AlignedValue::Kind::Op &&
             value.kind != AlignedValue::Kind::Slice)
      leaves.add(value.values[0]);
  }
  for (unsigned number : different) {
    own.push_back(alignment.getValues()[number].values[0]);
    rerolled.push_back(map.lookupOrDefault(emitted.lookup(number)));
  }
  auto expected = evaluateRegion(own, leaves.get());
  auto computed = evaluateRegion(rerolled, leaves.get());
  bool same = succeeded(expected) && succeeded(computed);
  for (size_t i = 0; same && i < own.size(); ++i)
    same = agree((*expected)[i].data, (*computed)[i].data);
  while (scan->getPrevNode() != before)
    scan->getPrevNode()->erase();
  return same;
}

/// Whether \p op is computed from \p value, in the same block.
static bool isComputedFrom(Operation *op, Value value) {
  SmallVector<Operation *> worklist{op};
  DenseSet<Operation *> seen;
  while (!worklist.empty()) {
    bool found = false;
    worklist.pop_back_val()->walk([&](Operation *nested) {
      for (Value operand : nested->getOperands()) {
        found |= operand == value;
        Operation *source = operand.getDefiningOp();
        // Nothing before the value can depend on it.
        if (source && source->getBlock() == op->getBlock() &&
            !source->isBeforeInBlock(value.getDefiningOp()) &&
            seen.insert(source).second)
          worklist.push_back(source);
      }
    });
    if (found)
      return true;
  }
  return false;
}

namespace {

struct RerollScansPass : onnx::impl::RerollScansBase<RerollScansPass> {
  void runOnOperation() override {
    for (auto func : getOperation().getOps<func::FuncOp>())
      if (!func.isExternal() && func.getBody().hasOneBlock())
        reroll(func.getBody().front());
  }

  void reroll(Block &block) {
    SmallVector<TokenCollection> collections;
    for (Operation &op : block)
      if (std::optional<TokenCollection> collection = findCollection(&op))
        collections.push_back(std::move(*collection));
    bool changed = false;
    for (const TokenCollection &collection : collections) {
      TokenAlignment alignment(collection.pieces.size());
      std::optional<unsigned> root = alignment.align(collection.pieces);
      if (!root || !alignment.hasDependence())
        continue;
      ScanBuilder builder(collection, alignment, *root);
      ScanOp scan = builder.build();
      if (!scan)
        continue;
      SmallVector<Value> lasts; // all of them, before uses change
      for (unsigned number : builder.getCarried()) {
        Value last = alignment.findLast(*alignment.getValues()[number].update);
        // A tensor that the scan takes may itself need a final state.
        bool isUsable = last && last.getDefiningOp() &&
                        last.getParentBlock() == &block &&
                        !isComputedFrom(scan, last);
        lasts.push_back(isUsable ? last : Value());
      }
      for (auto [last, state] : llvm::zip(lasts, scan->getResults()))
        if (last)
          last.replaceAllUsesWith(state);
      Value result = collection.result;
      result.replaceAllUsesWith(scan->getResults().back());
      ++numRerolled;
      changed = true;
    }
    // A final state may have been used before the last token's output.
    if (changed)
      sortTopologically(&block);
  }
};

} // namespace
