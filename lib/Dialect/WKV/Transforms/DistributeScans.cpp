//===- DistributeScans.cpp - From one token to all tokens -----------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "RaiseRecurrence.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/IRMapping.h"
#include "rwkvc/Dialect/ONNX/IR/ONNX.h"
#include "rwkvc/Dialect/ONNX/Transforms/TokenBatcher.h"
#include "rwkvc/Dialect/WKV/IR/WKV.h"
#include "rwkvc/Dialect/WKV/Transforms/Passes.h"

namespace rwkvc::wkv {
#define GEN_PASS_DEF_DISTRIBUTESCANS
#include "rwkvc/Dialect/WKV/Transforms/Passes.h.inc"
} // namespace rwkvc::wkv

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::wkv;

static RankedTensorType getType(Value value) {
  return cast<RankedTensorType>(value.getType());
}

/// The operand that \p op only reshapes, casts or multiplies by a number, or
/// null.
static OpOperand *getViewed(Operation *op) {
  if (op && (onnx::isShapeView(op) || isa<onnx::CastOp>(op)))
    return &op->getOpOperand(0);
  std::optional<Scaling> scaling = getScaling(op);
  return scaling ? scaling->operand : nullptr;
}

/// The ops from \p value down to \p source that are views, the one nearest to
/// the source last; none where there are others between them.
static std::optional<SmallVector<Operation *>> getViews(Value value,
                                                        Value source) {
  SmallVector<Operation *> views;
  while (value != source) {
    Operation *op = value.getDefiningOp();
    OpOperand *viewed = getViewed(op);
    if (!viewed)
      return std::nullopt;
    views.push_back(op);
    value = viewed->get();
  }
  return views;
}

/// What \p value is a view of.
static Value skipViews(Value value) {
  while (OpOperand *viewed = getViewed(value.getDefiningOp()))
    value = viewed->get();
  return value;
}

/// What \p views multiply by.
static double getFactor(ArrayRef<Operation *> views) {
  double factor = 1.0;
  for (Operation *view : views)
    if (std::optional<Scaling> scaling = getScaling(view))
      factor *= scaling->factor;
  return factor;
}

namespace {

class ScanDistributor {
public:
  explicit ScanDistributor(onnx::ScanOp scan)
      : scan(scan), body(scan.getBody().front()), b(scan.getLoc(), scan),
        numStates(scan->getNumOperands() - scan.getNumScanInputs()) {}

  /// The values that replace the results of the scan, or failure.
  FailureOr<SmallVector<Value>> run();

private:
  std::optional<int64_t> getNumTokens();
  LogicalResult matchStates();
  LogicalResult distribute(RecurrenceOpInterface op,
                           onnx::TokenBatcher &batcher);
  Value replay(ArrayRef<Operation *> views, Value source);

  onnx::ScanOp scan;
  Block &body;
  ImplicitLocOpBuilder b;
  unsigned numStates;
  /// By state: the recurrence's number for it, and the new state.
  struct Link {
    SmallVector<Operation *> before, after;
    Value newState;
  };
  DenseMap<OpOperand *, unsigned> stateOperands; // of recurrences -> state
  SmallVector<Link> links;
  DenseSet<Operation *> stateViews;
  IRMapping newStates;
};

} // namespace

std::optional<int64_t> ScanDistributor::getNumTokens() {
  if (scan.getNumScanInputs() < 1 || !onnx::isForward(scan))
    return std::nullopt;
  auto isStatic = [](Type type) {
    auto tensor = dyn_cast<RankedTensorType>(type);
    return tensor && tensor.hasStaticShape();
  };
  if (!llvm::all_of(scan->getOperandTypes(), isStatic) ||
      !llvm::all_of(scan->getResultTypes(), isStatic))
    return std::nullopt;
  std::optional<int64_t> numTokens;
  for (unsigned i = numStates; i < scan->getNumOperands(); ++i) {
    RankedTensorType type = getType(scan->getOperand(i));
    auto axis = onnx::getInputAxis(scan, i - numStates, type.getRank());
    if (!axis || (numTokens && type.getDimSize(*axis) != *numTokens))
      return std::nullopt;
    numTokens = type.getDimSize(*axis);
  }
  for (unsigned i = numStates; i < scan->getNumResults(); ++i)
    if (int64_t rank = getType(scan->getResult(i)).getRank();
        !onnx::getOutputAxis(scan, i - numStates, rank))
      return std::nullopt;
  return numTokens;
}

/// Finds for every state the recurrence that carries it on.
LogicalResult ScanDistributor::matchStates() {
  links.resize(numStates);
  for (auto op : body.getOps<RecurrenceOpInterface>()) {
    if (op.getNumTokens() != 1)
      return failure();
    for (auto [old, next] : llvm::zip(op.getStates(), op.getNewStates())) {
      auto argument = dyn_cast<BlockArgument>(skipViews(old));
      if (!argument || argument.getOwner() != &body ||
          argument.getArgNumber() >= numStates)
        return failure();
      unsigned state = argument.getArgNumber();
      Value yielded = body.getTerminator()->getOperand(state);
      auto before = getViews(old, argument), after = getViews(yielded, next);
      // The views of one token lead to the next one's, and vanish there.
      if (!before || !after || links[state].newState ||
          dropRounding(getFactor(*before) * getFactor(*after)) != 1.0)
        return failure();
      links[state] = {*before, *after, next};
      stateViews.insert(before->begin(), before->end());
      for (OpOperand &operand : op->getOpOperands())
        if (operand.get() == old)
          stateOperands[&operand] = state;
    }
  }
  // Nothing else may read a state, old or new: only the last token's is known
  // after the loop.
  auto isOnlyYielded = [&](Value value, unsigned state) {
    return llvm::all_of(value.getUses(), [&](OpOperand &use) {
      return llvm::is_contained(links[state].after, use.getOwner()) ||
             (use.getOwner() == body.getTerminator() &&
              use.getOperandNumber() == state);
    });
  };
  for (unsigned i = 0; i < numStates; ++i) {
    if (!links[i].newState || !isOnlyYielded(links[i].newState, i) ||
        !llvm::all_of(links[i].after, [&](Operation *view) {
          return isOnlyYielded(view->getResult(0), i);
        }))
      return failure();
    for (OpOperand &use : body.getArgument(i).getUses())
      if (!stateViews.contains(use.getOwner()) && !stateOperands.contains(&use))
        return failure();
  }
  for (Operation *view : stateViews)
    for (OpOperand &use : view->getResult(0).getUses())
      if (!stateViews.contains(use.getOwner()) && !stateOperands.contains(&use))
        return failure();
  return success();
}

/// The \p views, given nearest to the source last, of another source.
Value ScanDistributor::replay(ArrayRef<Operation *> views, Value source) {
  for (Operation *view : llvm::reverse(views)) {
    IRMapping map;
    map.map(getViewed(view)->get(), source);
    source = b.clone(*view, map)->getResult(0);
  }
  return source;
}

LogicalResult ScanDistributor::distribute(RecurrenceOpInterface op,
                                          onnx::TokenBatcher &batcher) {
  auto destination = cast<DestinationStyleOpInterface>(op.getOperation());
  SmallVector<Value> operands;
  SmallVector<Type> types(op->getResultTypes());
  // [T, B, 1, ...] to [B, T, ...].
  auto toTokens = [&](Value batched) {
    batched = batcher.moveFromFront(batched, 1);
    SmallVector<int64_t> shape(getType(batched).getShape());
    shape.erase(shape.begin() + 2);
    return batcher.reshape(batched, shape);
  };
  for (OpOperand &operand : op->getOpOperands()) {
    Value value = operand.get();
    if (auto it = stateOperands.find(&operand); it != stateOperands.end()) {
      operands.push_back(
          replay(links[it->second].before, scan->getOperand(it->second)));
      continue;
    }
    if (destination.isDpsInit(&operand)) { // the output, not a state
      SmallVector<int64_t> shape(getType(value).getShape());
      shape[1] = batcher.getNumTokens();
      types[0] = getType(value).clone(shape);
      operands.push_back(
          tensor::EmptyOp::create(b, shape, getType(value).getElementType()));
      continue;
    }
    // Parameters of all tokens have no axis for them.
    bool hasTokens = getType(value).getRank() >= 3;
    if (!hasTokens || !batcher.lookup(value)) {
      if (batcher.lookup(value))
        return failure();
      bool mayShare = op.mayShareOverTokens(operand.getOperandNumber());
      operands.push_back(hasTokens && !mayShare ? toTokens(batcher.get(value))
                                                : value);
      continue;
    }
    operands.push_back(toTokens(batcher.lookup(value)));
  }
  IRMapping map;
  map.map(op->getOperands(), operands);
  Operation *all = b.clone(*op, map);
  for (auto [result, type] : llvm::zip(all->getResults(), types))
    result.setType(type);
  SmallVector<int64_t> shape(getType(all->getResult(0)).getShape());
  shape.insert(shape.begin() + 2, 1);
  batcher.set(
      op->getResult(0),
      batcher.moveToFront(batcher.reshape(all->getResult(0), shape), 1));
  for (auto [own, replaced] : llvm::zip(
           op.getNewStates(), cast<RecurrenceOpInterface>(all).getNewStates()))
    newStates.map(own, replaced);
  return success();
}

FailureOr<SmallVector<Value>> ScanDistributor::run() {
  std::optional<int64_t> numTokens = getNumTokens();
  if (!numTokens || failed(matchStates()))
    return failure();
  onnx::TokenBatcher batcher(b, *numTokens);
  for (unsigned i = numStates; i < scan->getNumOperands(); ++i) {
    Value input = scan->getOperand(i);
    auto axis =
        onnx::getInputAxis(scan, i - numStates, getType(input).getRank());
    batcher.set(body.getArgument(i), batcher.moveToFront(input, *axis));
  }
  for (Operation &op : llvm::make_early_inc_range(body.without_terminator())) {
    if (stateViews.contains(&op))
      continue;
    b.setLoc(op.getLoc());
    if (auto recurrence = dyn_cast<RecurrenceOpInterface>(op)) {
      if (failed(distribute(recurrence, batcher)))
        return failure();
      continue;
    }
    bool varies = llvm::any_of(op.getOperands(), [&](Value operand) {
      return batcher.lookup(operand) || newStates.contains(operand);
    });
    if (!varies) {
      op.moveBefore(scan);
      continue;
    }
    // Views of a new state go to the terminator.
    if (llvm::any_of(links, [&](const Link &link) {
          return llvm::is_contained(link.after, &op);
        }))
      continue;
    if (failed(batcher.batch(&op)))
      return failure();
  }
  SmallVector<Value> results;
  for (auto [i, yielded] :
       llvm::enumerate(body.getTerminator()->getOperands())) {
    Value result = scan->getResult(i);
    if (i < numStates) {
      results.push_back(
          replay(links[i].after, newStates.lookup(links[i].newState)));
      continue;
    }
    auto axis =
        onnx::getOutputAxis(scan, i - numStates, getType(result).getRank());
    results.push_back(batcher.moveFromFront(batcher.get(yielded), *axis));
  }
  return results;
}

namespace {

struct DistributeScansPass
    : wkv::impl::DistributeScansBase<DistributeScansPass> {
  void runOnOperation() override {
    SmallVector<onnx::ScanOp> scans;
    getOperation().walk([&](onnx::ScanOp scan) { scans.push_back(scan); });
    for (onnx::ScanOp scan : scans) {
      Operation *before = scan->getPrevNode();
      auto results = ScanDistributor(scan).run();
      if (succeeded(results)) {
        scan->replaceAllUsesWith(*results);
        scan.erase();
        ++numDistributed;
        continue;
      }
      // What was built is dead.
      while (Operation *last = scan->getPrevNode()) {
        if (last == before || !last->use_empty())
          break;
        last->erase();
      }
    }
  }
};

} // namespace
