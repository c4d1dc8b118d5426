//===- EntryABI.cpp - Caller-owned buffers for the entry ------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Interfaces/DestinationStyleOpInterface.h"
#include "mlir/Interfaces/LoopLikeInterface.h"
#include "rwkvc/AOT/Interface.h"
#include "rwkvc/AOT/Passes.h"

namespace rwkvc::aot {
#define GEN_PASS_DEF_ENTRYABI
#include "rwkvc/AOT/Passes.h.inc"
} // namespace rwkvc::aot

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::aot;

/// Adds the block arguments in whose buffers \p value may come to lie: the
/// roots of its destination operands and views, along every branch.
static void collectRoots(Value value, SmallVectorImpl<BlockArgument> &roots) {
  while (Operation *op = value.getDefiningOp()) {
    unsigned number = cast<OpResult>(value).getResultNumber();
    if (auto destination = dyn_cast<DestinationStyleOpInterface>(op)) {
      value = destination.getTiedOpOperand(cast<OpResult>(value))->get();
    } else if (isa<tensor::ExpandShapeOp, tensor::CollapseShapeOp,
                   tensor::ExtractSliceOp, tensor::CastOp, tensor::ReshapeOp>(
                   op)) {
      value = op->getOperand(0);
    } else if (auto insert = dyn_cast<tensor::InsertOp>(op)) {
      value = insert.getDest();
    } else if (auto loop = dyn_cast<LoopLikeOpInterface>(op);
               loop && number < loop.getInits().size()) {
      value = loop.getInits()[number];
    } else if (auto branch = dyn_cast<scf::IfOp>(op)) {
      collectRoots(branch.thenYield().getOperand(number), roots);
      value = branch.elseYield().getOperand(number);
    } else {
      return;
    }
  }
  roots.push_back(cast<BlockArgument>(value));
}

/// \p value, static, with the shape of \p type: a state may lose axes of size
/// one on its way from input to output.
static Value viewAs(OpBuilder &b, Value value, Type type) {
  auto from = cast<RankedTensorType>(value.getType());
  auto to = cast<RankedTensorType>(type);
  if (from == to)
    return value;
  auto all = [](int64_t rank) {
    return SmallVector<ReassociationIndices>{
        llvm::to_vector<2>(llvm::seq<int64_t>(0, rank))};
  };
  Location loc = value.getLoc();
  if (from.getRank() > 1)
    value = tensor::CollapseShapeOp::create(b, loc, value, all(from.getRank()));
  if (to.getRank() > 1)
    value = tensor::ExpandShapeOp::create(b, loc, to, value, all(to.getRank()));
  return value;
}

/// Takes off reshapes from \p result and has \p buffer seen in the shape that
/// is left, in which the result can be computed there.
static void viewAsComputed(OpBuilder &b, Value &result, Value &buffer) {
  Location loc = result.getLoc();
  while (true) {
    if (auto collapse = result.getDefiningOp<tensor::CollapseShapeOp>()) {
      buffer = memref::ExpandShapeOp::create(
          b, loc, collapse.getSrcType().getShape(), buffer,
          collapse.getReassociationIndices());
      result = collapse.getSrc();
    } else if (auto expand = result.getDefiningOp<tensor::ExpandShapeOp>()) {
      buffer = memref::CollapseShapeOp::create(
          b, loc, buffer, expand.getReassociationIndices());
      result = expand.getSrc();
    } else {
      return;
    }
  }
}

static void eraseUnusedReshapes(Value value) {
  while (Operation *op = value.getDefiningOp()) {
    if (!op->use_empty() ||
        !isa<tensor::CollapseShapeOp, tensor::ExpandShapeOp>(op))
      return;
    value = op->getOperand(0);
    op->erase();
  }
}

namespace {

struct EntryABIPass : aot::impl::EntryABIBase<EntryABIPass> {
  void runOnOperation() override {
    auto entries = readEntries(getOperation());
    if (failed(entries))
      return signalPassFailure();
    for (auto &[entry, interface] : *entries) {
      if (failed(verify(entry, interface)))
        return signalPassFailure();
      convert(entry, interface);
    }
  }

  LogicalResult verify(func::FuncOp entry, const Interface &interface) {
    // Code works on signless integers; only the interface tells them apart.
    auto match = [](TypeRange types, ArrayRef<TensorDescription> tensors) {
      return llvm::equal(types, tensors, [](Type type, const auto &tensor) {
        RankedTensorType described = tensor.type;
        Type element = described.getElementType();
        if (auto integer = dyn_cast<IntegerType>(element))
          element = IntegerType::get(type.getContext(), integer.getWidth());
        return type == described.clone(element);
      });
    };
    if (!match(entry.getArgumentTypes(), interface.inputs) ||
        !match(entry.getResultTypes(), interface.outputs))
      return entry.emitError() << "its signature does not match the attribute '"
                               << kInterfaceAttr << "'";
    if (!entry.getBody().hasOneBlock())
      return entry.emitError() << "must have one block";
    return success();
  }

  void convert(func::FuncOp entry, const Interface &interface) {
    Block &block = entry.getBody().front();
    Location loc = entry.getLoc();
    OpBuilder b = OpBuilder::atBlockBegin(&block);
    unsigned numInputs = block.getNumArguments();
    auto bufferType = [](Type type) {
      auto tensor = cast<RankedTensorType>(type);
      return MemRefType::get(tensor.getShape(), tensor.getElementType());
    };
    // Which state's buffer each result may lie in, before arguments change.
    auto ret = cast<func::ReturnOp>(block.getTerminator());
    SmallVector<Value> results(ret.getOperands());
    SmallVector<bool> mustCopy;
    for (auto [k, result] : llvm::enumerate(results)) {
      SmallVector<BlockArgument> roots;
      collectRoots(result, roots);
      mustCopy.push_back(llvm::any_of(roots, [&](BlockArgument root) {
        const StateDescription *state =
            root.getOwner() == &block
                ? interface.findStateOfInput(root.getArgNumber())
                : nullptr;
        return state && state->output != static_cast<int64_t>(k);
      }));
    }

    for (unsigned i = 0; i < numInputs; ++i)
      if (!interface.findStateOfInput(i))
        block.addArgument(bufferType(block.getArgument(i).getType()), loc);
    SmallVector<Value> outputs;
    for (Type type : entry.getResultTypes())
      outputs.push_back(block.addArgument(bufferType(type), loc));
    unsigned next = numInputs;
    for (unsigned i = 0; i < numInputs; ++i) {
      BlockArgument input = block.getArgument(i);
      const StateDescription *state = interface.findStateOfInput(i);
      Value buffer =
          state ? outputs[state->output] : Value(block.getArgument(next++));
      Type type =
          state ? entry.getResultTypes()[state->output] : input.getType();
      Value tensor = bufferization::ToTensorOp::create(
          b, loc, type, buffer, /*restrict=*/true,
          /*writable=*/state != nullptr);
      input.replaceAllUsesWith(viewAs(b, tensor, input.getType()));
      numStates += state != nullptr;
    }

    b.setInsertionPoint(ret);
    results.assign(ret.operand_begin(), ret.operand_end());
    for (auto [k, result] : llvm::enumerate(results)) {
      if (!mustCopy[k])
        continue;
      result = bufferization::AllocTensorOp::create(
                   b, loc, cast<RankedTensorType>(result.getType()),
                   ValueRange(), /*copy=*/result)
                   .getResult();
      ++numCopies;
    }
    for (auto [k, result] : llvm::enumerate(results)) {
      // A state's buffer is read under its own tensor: nothing may be computed
      // in it ahead of the last read, which "restrict" would invite.
      bool isState = interface.findStateOfOutput(k) != nullptr;
      Value buffer = outputs[k];
      if (!isState)
        viewAsComputed(b, result, buffer);
      auto write = bufferization::MaterializeInDestinationOp::create(
          b, loc, TypeRange(), result, buffer);
      write.setRestrict(!isState);
      write.setWritable(true);
    }
    func::ReturnOp::create(b, loc);
    results.assign(ret.operand_begin(), ret.operand_end());
    ret.erase();
    for (Value result : results)
      eraseUnusedReshapes(result);
    block.eraseArguments(0, numInputs);
    entry.removeArgAttrsAttr();
    entry.removeResAttrsAttr();
    entry.setFunctionType(
        FunctionType::get(&getContext(), block.getArgumentTypes(), {}));
  }
};

} // namespace
