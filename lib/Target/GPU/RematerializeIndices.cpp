//===- RematerializeIndices.cpp - Indices computed where they are used ----===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "mlir/IR/IRMapping.h"
#include "rwkvc/Target/GPU/Passes.h"

namespace rwkvc::gpu {
#define GEN_PASS_DEF_REMATERIALIZEINDICES
#include "rwkvc/Target/GPU/Passes.h.inc"
} // namespace rwkvc::gpu

using namespace mlir;
using namespace rwkvc;

static bool hasBarrier(Operation *op) {
  return op->walk([](mlir::gpu::BarrierOp) { return WalkResult::interrupt(); })
      .wasInterrupted();
}

/// Whether \p op gives an index or a condition, and may as well be computed
/// elsewhere.
static bool isIndex(Operation *op) {
  return op->getNumRegions() == 0 && op->getNumResults() == 1 &&
         op->getResult(0).getType().isIntOrIndex() && isMemoryEffectFree(op) &&
         !op->hasTrait<OpTrait::ConstantLike>();
}

namespace {

struct RematerializeIndicesPass
    : rwkvc::gpu::impl::RematerializeIndicesBase<RematerializeIndicesPass> {
  using RematerializeIndicesBase::RematerializeIndicesBase;

  void runOnOperation() override {
    llvm::DenseMap<Value, Value> known;
    visit(getOperation().getBody().front(), known);
    // What is not used any more, last first.
    SmallVector<Operation *> ops;
    getOperation().walk([&](Operation *op) { ops.push_back(op); });
    for (Operation *op : llvm::reverse(ops))
      if (isOpTriviallyDead(op))
        op->erase();
  }

  /// Gives each operation of \p block values of its own stretch of code, where
  /// no barrier is; \p known are those that there are.
  void visit(Block &block, llvm::DenseMap<Value, Value> known) {
    for (Operation &op : llvm::make_early_inc_range(block)) {
      if (isIndex(&op)) {
        known[op.getResult(0)] = op.getResult(0);
        continue;
      }
      OpBuilder b(&op);
      for (OpOperand &operand : op.getOpOperands())
        operand.set(get(operand.get(), known, b));
      if (op.getNumRegions() == 0) {
        if (isa<mlir::gpu::BarrierOp>(op))
          known.clear();
        continue;
      }
      bool isSplit = hasBarrier(&op);
      for (Region &region : op.getRegions())
        for (Block &inner : region)
          visit(inner, isSplit ? llvm::DenseMap<Value, Value>() : known);
      if (isSplit)
        known.clear();
    }
  }

  Value get(Value value, llvm::DenseMap<Value, Value> &known, OpBuilder &b) {
    Operation *def = value.getDefiningOp();
    if (!def || !isIndex(def))
      return value;
    if (Value found = known.lookup(value))
      return found;
    IRMapping mapping;
    for (Value operand : def->getOperands())
      mapping.map(operand, get(operand, known, b));
    Value made = b.clone(*def, mapping)->getResult(0);
    ++numCopies;
    known[made] = made;
    known[value] = made;
    return made;
  }
};

} // namespace
