//===- SkipUnwantedLogits.cpp - Logits that the caller does not want ------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/Interfaces/DestinationStyleOpInterface.h"
#include "mlir/Interfaces/LoopLikeInterface.h"
#include "mlir/Interfaces/ViewLikeInterface.h"
#include "rwkvc/AOT/Interface.h"
#include "rwkvc/AOT/Passes.h"

namespace rwkvc::aot {
#define GEN_PASS_DEF_SKIPUNWANTEDLOGITS
#include "rwkvc/AOT/Passes.h.inc"
} // namespace rwkvc::aot

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::aot;

/// The operation that writes \p buffer , or null.
static bufferization::MaterializeInDestinationOp findWrite(Value buffer) {
  SmallVector<Operation *> users(buffer.getUsers());
  while (!users.empty()) {
    Operation *user = users.pop_back_val();
    if (auto write = dyn_cast<bufferization::MaterializeInDestinationOp>(user))
      return write;
    if (isa<ViewLikeOpInterface>(user))
      llvm::append_range(users, user->getUsers());
  }
  return nullptr;
}

/// What nothing but \p write needs, in order, and \p write .
static SmallVector<Operation *> findNeeded(Operation *write) {
  llvm::SmallPtrSet<Operation *, 32> needed{write};
  SmallVector<Operation *> ops{write};
  Block *block = write->getBlock();
  for (Operation &op :
       llvm::reverse(llvm::make_range(block->begin(), write->getIterator()))) {
    // What is read of arguments is theirs until it is read.
    if (op.use_empty() || isa<bufferization::ToTensorOp>(op) ||
        !llvm::all_of(op.getUsers(), [&](Operation *user) {
          return needed.contains(block->findAncestorOpInBlock(*user));
        }))
      continue;
    needed.insert(&op);
    ops.push_back(&op);
  }
  std::reverse(ops.begin(), ops.end());
  return ops;
}

namespace {

struct SkipUnwantedLogitsPass
    : aot::impl::SkipUnwantedLogitsBase<SkipUnwantedLogitsPass> {
  using SkipUnwantedLogitsBase::SkipUnwantedLogitsBase;

  void runOnOperation() override {
    auto entries = readEntries(getOperation());
    if (failed(entries))
      return signalPassFailure();
    for (auto &[entry, interface] : *entries) {
      if (interface.logitsOutput < 0)
        continue;
      BlockArgument logits = entry.getArgument(
          interface.getOutputArgument(interface.logitsOutput));
      if (auto write = findWrite(logits))
        guard(write, logits);
    }
  }

  /// Does what only \p write needs, and \p write , where \p logits are there.
  void guard(bufferization::MaterializeInDestinationOp write, Value logits) {
    SmallVector<Operation *> ops = findNeeded(write);
    ImplicitLocOpBuilder b(write.getLoc(), &getContext());
    // Where the last of it is computed: before states are written that it may
    // read. Views of the logits' buffer stand after that.
    Operation *last = write;
    for (Operation *op : ops)
      if (llvm::any_of(op->getResultTypes(), llvm::IsaPred<TensorType>))
        last = op;
    b.setInsertionPointAfter(last);
    Value place = memref::ExtractAlignedPointerAsIndexOp::create(b, logits);
    Value isWanted =
        arith::CmpIOp::create(b, arith::CmpIPredicate::ne, place,
                              arith::ConstantIndexOp::create(b, 0));
    auto choice = scf::IfOp::create(b, isWanted, /*withElseRegion=*/false);
    Operation *end = choice.thenBlock()->getTerminator();
    for (Operation *op : ops) {
      op->moveBefore(end);
      numGuarded += isa<DestinationStyleOpInterface, LoopLikeOpInterface>(op);
    }
    // What is computed in any case must not be computed in the logits' buffer.
    for (Operation *op : ops) {
      b.setInsertionPoint(op);
      if (auto loop = dyn_cast<LoopLikeOpInterface>(op))
        for (OpOperand &init : loop.getInitsMutable())
          init.set(own(b, init.get()));
      else if (auto destination = dyn_cast<DestinationStyleOpInterface>(op))
        for (OpOperand &init : destination.getDpsInitsMutable())
          if (isa<TensorType>(init.get().getType()))
            init.set(own(b, init.get()));
    }
    b.setInsertionPoint(write);
    write.getSourceMutable().set(own(b, write.getSource()));
  }

  /// \p tensor if the block that \p b is at computes it, else the same as a
  /// value of that block, which nothing else reads.
  static Value own(ImplicitLocOpBuilder &b, Value tensor) {
    if (tensor.getParentBlock() == b.getInsertionBlock())
      return tensor;
    Operation *def = tensor.getDefiningOp();
    if (isa_and_nonnull<tensor::EmptyOp>(def))
      return b.clone(*def)->getResult(0);
    if (auto fill = dyn_cast_or_null<linalg::FillOp>(def);
        fill && fill.getOutputs()[0].getDefiningOp<tensor::EmptyOp>()) {
      Value empty = own(b, fill.getOutputs()[0]);
      return linalg::FillOp::create(b, fill.getInputs(), empty).getResult(0);
    }
    auto type = cast<RankedTensorType>(tensor.getType());
    Value empty =
        tensor::EmptyOp::create(b, type.getShape(), type.getElementType());
    return linalg::CopyOp::create(b, tensor, empty).getResult(0);
  }
};

} // namespace
