//===- RaiseRecurrence.cpp - Recognise the WKV recurrences ----------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Where the matrix-state recurrences (v5 to v7) are looked for; the vector
// recurrence (v4) is in RaiseVectorRecurrence.cpp.
//
//===----------------------------------------------------------------------===//

#include "MatrixRecurrence.h"
#include "mlir/Analysis/TopologicalSortUtils.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "rwkvc/Dialect/ONNX/IR/ONNX.h"
#include "rwkvc/Dialect/WKV/IR/WKV.h"
#include "rwkvc/Dialect/WKV/Transforms/Passes.h"
#include "llvm/Support/Debug.h"

#define DEBUG_TYPE "wkv-raise-recurrence"

namespace rwkvc::wkv {
#define GEN_PASS_DEF_RAISERECURRENCE
#include "rwkvc/Dialect/WKV/Transforms/Passes.h.inc"
} // namespace rwkvc::wkv

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::wkv;

namespace {

struct RaiseRecurrencePass
    : wkv::impl::RaiseRecurrenceBase<RaiseRecurrencePass> {
  void runOnOperation() override {
    for (auto func : getOperation().getOps<func::FuncOp>()) {
      if (func.isExternal() || !func.getBody().hasOneBlock())
        continue;
      raiseMatrixRecurrences(func);
      Block &block = func.getBody().front();
      raiseVectors(block, getStatePairs(func));
      for (auto scan : block.getOps<onnx::ScanOp>())
        raiseVectors(scan.getBody().front(), getStatePairs(scan));
      sortTopologically(&block);
      eraseDeadOps(block);
    }
  }

  /// Erases what the recurrences took the place of, scans included.
  static void eraseDeadOps(Block &block) {
    Operation *previous = nullptr;
    for (Operation *op = block.getTerminator(); op; op = previous) {
      previous = op->getPrevNode();
      if (isOpTriviallyDead(op) || (isa<onnx::ScanOp>(op) && op->use_empty()))
        op->erase();
      else if (auto scan = dyn_cast<onnx::ScanOp>(op))
        eraseDeadOps(scan.getBody().front());
    }
  }
  void raiseVectors(Block &block, ArrayRef<StatePair> states) {
    RaiseCounts counts = raiseVectorRecurrences(block, states);
    numRecurrences += counts.raised;
    numRejected += counts.rejected;
  }
  void raiseMatrixRecurrences(func::FuncOp func);
};

} // namespace

/// How many sequences the model runs at once: the leading size of its tokens.
static int64_t getBatch(func::FuncOp func) {
  auto token = func->getParentOp()->getAttrOfType<IntegerAttr>(kTokenInputAttr);
  auto type =
      token
          ? dyn_cast<RankedTensorType>(func.getArgumentTypes()[token.getInt()])
          : nullptr;
  return type && type.getRank() > 0 ? type.getDimSize(0) : 1;
}

/// Number of dimensions with more than one element, without a leading one of
/// \p batch: of two rows for two sequences none is a matrix.
static unsigned numLargeDims(Value value, int64_t batch) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  if (!type || type.getRank() == 0)
    return 0;
  ArrayRef<int64_t> shape = type.getShape();
  if (shape[0] == batch)
    shape = shape.drop_front();
  return llvm::count_if(shape, [](int64_t size) { return size > 1; });
}

/// \p state with the texts, of which there are \p batch, as its first axis,
/// where that is all that reads it.
static Value moveTextsFirst(Value state, int64_t batch) {
  auto transpose = state.hasOneUse()
                       ? dyn_cast<onnx::TransposeOp>(*state.user_begin())
                       : nullptr;
  auto type =
      transpose ? dyn_cast<RankedTensorType>(transpose.getType()) : nullptr;
  bool moves = batch > 1 && type && type.getRank() > 1 &&
               type.getDimSize(0) == batch && transpose.getPerm() &&
               transpose.getPerm()->front() != 0;
  return moves ? transpose.getResult() : state;
}

/// Adds what \p user makes of all of \p value, by moving or scaling it.
static void appendViews(OpOperand &use, double scale,
                        SmallVectorImpl<ScaledValue> &views) {
  Operation *user = use.getOwner();
  std::optional<Scaling> scaling = getScaling(user);
  if (scaling && scaling->operand == &use)
    views.push_back({user->getResult(0), scale * scaling->factor});
  else if (use.getOperandNumber() == 0 && getFloatShape(user->getResult(0)) &&
           (onnx::isShapeView(user) ||
            isa<onnx::CastOp, onnx::TransposeOp>(user)))
    views.push_back({user->getResult(0), scale});
}

/// Adds the parts that are cut from \p whole, or from parts of it; false if
/// there are none.
static bool collectParts(ScaledValue whole,
                         SmallVectorImpl<ScaledValue> &parts) {
  bool isCut = false;
  SmallVector<ScaledValue> versions{whole};
  for (unsigned i = 0; i < versions.size(); ++i) {
    auto [value, scale] = versions[i];
    for (OpOperand &use : value.getUses()) {
      Operation *user = use.getOwner();
      if (use.getOperandNumber() == 0 &&
          isa<onnx::ScatterNDOp, onnx::ScatterElementsOp>(user)) {
        versions.push_back({user->getResult(0), scale});
      } else if (use.getOperandNumber() == 0 &&
                 isa<onnx::GatherOp, onnx::SliceOp, onnx::SplitOp>(user)) {
        isCut = true;
        for (Value part : user->getResults())
          if (!collectParts({part, scale}, parts))
            parts.push_back({part, scale});
      } else if (user->getNumResults() == 1) {
        appendViews(use, scale, versions);
      }
    }
  }
  return isCut;
}

/// Whether \p value or a view of it may be a matrix for each of several heads.
static bool isMatrix(Value value, int64_t batch) {
  SmallVector<ScaledValue> views{{value}};
  for (unsigned i = 0; i < views.size(); ++i) {
    Value view = views[i].value;
    if (numLargeDims(view, batch) >= 2)
      return true;
    for (OpOperand &use : view.getUses())
      if (use.getOwner()->getNumResults() == 1)
        appendViews(use, 1.0, views);
  }
  return false;
}

/// The tensors that matrix-state recurrences read: a state of its own, or the
/// parts that are cut from one packed tensor, also after others were written.
static SmallVector<ScaledValue> findMatrixStates(func::FuncOp func) {
  SmallVector<ScaledValue> states;
  int64_t batch = getBatch(func);
  for (BlockArgument argument : func.getArguments()) {
    if (!func.getArgAttr(argument.getArgNumber(), kStateAttr))
      continue;
    ScaledValue whole{moveTextsFirst(argument, batch)};
    SmallVector<ScaledValue> parts;
    if (!collectParts(whole, parts))
      parts.push_back(whole);
    for (ScaledValue part : parts)
      if (isMatrix(part.value, batch))
        states.push_back(part);
  }
  return states;
}

/// The states of \p scan that may be matrices, by number.
static SmallVector<unsigned> findMatrixStates(onnx::ScanOp scan,
                                              int64_t batch) {
  SmallVector<unsigned> states;
  unsigned count = scan->getNumOperands() - scan.getNumScanInputs();
  for (unsigned i = 0; i < count; ++i)
    if (numLargeDims(scan->getOperand(i), batch) >= 2 &&
        scan->getOperand(i).getType() ==
            scan.getBody().front().getArgument(i).getType() &&
        scan->getOperand(i).getType() == scan->getResult(i).getType())
      states.push_back(i);
  return states;
}

/// Whether \p value is computed from one of \p sources, all of one block.
static bool isComputedFrom(Value value, ArrayRef<Value> sources) {
  Operation *first = nullptr;
  for (Value source : sources)
    if (!first || source.getDefiningOp()->isBeforeInBlock(first))
      first = source.getDefiningOp();
  SmallVector<Value> worklist{value};
  llvm::SmallDenseSet<Value> seen;
  while (!worklist.empty()) {
    Value current = worklist.pop_back_val();
    Operation *op = current.getDefiningOp();
    if (llvm::is_contained(sources, current))
      return true;
    // Nothing before the first source can depend on it.
    if (op && seen.insert(current).second && !op->isBeforeInBlock(first))
      llvm::append_range(worklist, op->getOperands());
  }
  return false;
}

void RaiseRecurrencePass::raiseMatrixRecurrences(func::FuncOp func) {
  SmallVector<Value> states;
  DenseMap<Value, double> scales;
  for (auto [value, scale] : findMatrixStates(func)) {
    states.push_back(value);
    scales[value] = scale;
  }
  Block &block = func.getBody().front();
  std::vector<MatrixRecurrence> candidates;
  for (ScaledValue update : findStateUpdates(block, getStatePairs(func)))
    candidates.emplace_back(update);
  for (auto scan : block.getOps<onnx::ScanOp>())
    for (unsigned i : findMatrixStates(scan, getBatch(func))) {
      states.push_back(scan.getBody().front().getArgument(i));
      candidates.emplace_back(scan, i);
    }
  if (states.empty())
    return;
  auto visit = [&](SumOfProductsAnalysis &analysis) {
    // In program order, so that the analysis never recurses deeply.
    for (Operation &op : block) {
      if (auto scan = dyn_cast<onnx::ScanOp>(op))
        for (Operation &inner : scan.getBody().front())
          for (Value result : inner.getResults())
            analysis.get(result);
      for (Value result : op.getResults())
        analysis.get(result);
    }
  };
  SumOfProductsAnalysis analysis(states);
  visit(analysis);

  std::vector<MatrixRecurrence> found;
  SmallVector<Value> roots(states);
  for (MatrixRecurrence &recurrence : candidates) {
    if (!recurrence.matchUpdate(analysis, scales))
      continue;
    found.push_back(recurrence);
    roots.push_back(recurrence.getUpdate());
  }
  LLVM_DEBUG(llvm::dbgs() << found.size() << " state updates match\n");
  // Reads, with the updates as atoms beside the states.
  SumOfProductsAnalysis reads(roots);
  visit(reads);
  // What reads a state or an update, in program order: each recurrence looks at
  // its own readers only.
  DenseMap<Value, SmallVector<Value>> readers;
  for (Operation &op : block)
    for (Value result : op.getResults())
      if (const std::optional<SumOfProducts> &form = reads.get(result))
        for (const Term &term : form->terms)
          if (std::optional<unsigned> root = reads.findRoot(term)) {
            SmallVector<Value> &list = readers[term.factors[*root].atom];
            if (list.empty() || list.back() != result)
              list.push_back(result);
          }
  OpBuilder builder(func);
  for (MatrixRecurrence &recurrence : found) {
    bool matched = false;
    for (Value result :
         readers.lookup(recurrence.hasRemoval() ? recurrence.getUpdate()
                                                : recurrence.getState())) {
      if (result == recurrence.getFinalState() ||
          (matched && recurrence.hasBonus()))
        continue;
      MatrixRecurrence attempt = recurrence;
      if (!attempt.matchRead(result, reads) || (matched && !attempt.hasBonus()))
        continue;
      recurrence = attempt;
      matched = true;
      if (recurrence.hasRemoval() || recurrence.hasBonus())
        break;
    }
    if (!matched)
      continue;
    Operation *update = recurrence.getFinalState().getDefiningOp();
    Operation *read = recurrence.getRead().getDefiningOp();
    builder.setInsertionPoint(update->isBeforeInBlock(read) ? read : update);
    Operation *before = &*std::prev(builder.getInsertionPoint());
    auto [newUpdate, newRead] = recurrence.build(builder, read->getLoc());
    // An operand that the recurrence itself feeds would make a cycle.
    SmallVector<Value> replaced{recurrence.getFinalState(),
                                recurrence.getRead()};
    bool cyclic =
        newUpdate &&
        llvm::any_of(recurrence.getOp()->getOperands(), [&](Value operand) {
          return isComputedFrom(operand, replaced);
        });
    if (!newUpdate || cyclic || !recurrence.check(newUpdate, newRead)) {
      ++numRejected;
      Operation *end = &*builder.getInsertionPoint();
      while (end->getPrevNode() != before)
        end->getPrevNode()->erase();
      continue;
    }
    // The order of the block is mended by the pass at the end.
    recurrence.getFinalState().replaceAllUsesWith(newUpdate);
    recurrence.getRead().replaceAllUsesWith(newRead);
    ++numRecurrences;
  }
}
