//===- PlanMemory.cpp - One workspace for all buffers ---------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "mlir/Dialect/Bufferization/Transforms/BufferViewFlowAnalysis.h"
#include "mlir/Interfaces/LoopLikeInterface.h"
#include "rwkvc/AOT/Interface.h"
#include "rwkvc/Transforms/Passes.h"

namespace rwkvc {
#define GEN_PASS_DEF_PLANMEMORY
#include "rwkvc/Transforms/Passes.h.inc"
} // namespace rwkvc

using namespace mlir;
using namespace rwkvc;

static constexpr int64_t kAlignment = 64;

namespace {

/// A buffer, with the positions in the entry block of its first and last use.
struct Buffer {
  memref::AllocOp alloc;
  int64_t size, first, last;
  int64_t offset = 0;

  bool isAliveWith(const Buffer &other) const {
    return first <= other.last && other.first <= last;
  }
};

struct PlanMemoryPass : rwkvc::impl::PlanMemoryBase<PlanMemoryPass> {
  void runOnOperation() override {
    auto entries = aot::getEntries(getOperation());
    if (failed(entries))
      return signalPassFailure();
    for (func::FuncOp entry : *entries) {
      FailureOr<SmallVector<Buffer>> buffers = collect(entry);
      if (failed(buffers))
        return signalPassFailure();
      int64_t size = assign(*buffers);
      rewrite(entry, *buffers, size);
      entry->setAttr(aot::kWorkspaceSizeAttr,
                     Builder(&getContext()).getI64IntegerAttr(size));
    }
  }

  FailureOr<SmallVector<Buffer>> collect(func::FuncOp entry) {
    Block &block = entry.getBody().front();
    llvm::DenseMap<Operation *, int64_t> positions;
    for (auto [i, op] : llvm::enumerate(block))
      positions[&op] = i;
    BufferViewFlowAnalysis aliases(entry);
    SmallVector<Buffer> buffers;
    WalkResult walk = entry.walk([&](memref::AllocOp alloc) {
      if (!alloc.getType().hasStaticShape()) {
        alloc.emitError("a buffer of dynamic size cannot be planned");
        return WalkResult::interrupt();
      }
      Buffer buffer{alloc, aot::getNumBytes(alloc.getType()), INT64_MAX, -1};
      for (Value alias : aliases.resolve(alloc.getResult())) {
        if (auto argument = dyn_cast<BlockArgument>(alias);
            argument &&
            argument.getOwner()->getParentOp()->isProperAncestor(alloc) &&
            isa<LoopLikeOpInterface>(argument.getOwner()->getParentOp())) {
          alloc.emitError("a buffer that a loop carries into its next "
                          "iteration cannot be planned");
          return WalkResult::interrupt();
        }
        for (Operation *user : alias.getUsers()) {
          int64_t position =
              positions.lookup(block.findAncestorOpInBlock(*user));
          buffer.first = std::min(buffer.first, position);
          buffer.last = std::max(buffer.last, position);
        }
      }
      if (buffer.last >= 0)
        buffers.push_back(buffer);
      return WalkResult::advance();
    });
    if (walk.wasInterrupted())
      return failure();
    return buffers;
  }

  /// Large buffers first, each at the lowest offset that is free over its whole
  /// life. Returns the workspace's size.
  int64_t assign(MutableArrayRef<Buffer> buffers) {
    SmallVector<Buffer *> order;
    for (Buffer &buffer : buffers)
      order.push_back(&buffer);
    llvm::stable_sort(order, [](const Buffer *a, const Buffer *b) {
      return a->size > b->size;
    });
    SmallVector<Buffer *> placed; // by offset
    int64_t end = 0;
    for (Buffer *buffer : order) {
      int64_t offset = 0;
      for (const Buffer *other : placed)
        if (other->isAliveWith(*buffer)) {
          if (offset + buffer->size <= other->offset)
            break;
          offset = std::max<int64_t>(
              offset, llvm::alignTo(other->offset + other->size, kAlignment));
        }
      buffer->offset = offset;
      placed.insert(llvm::upper_bound(placed, buffer,
                                      [](const Buffer *a, const Buffer *b) {
                                        return a->offset < b->offset;
                                      }),
                    buffer);
      end = std::max<int64_t>(end,
                              llvm::alignTo(offset + buffer->size, kAlignment));
      ++numBuffers;
      numUnsharedBytes += llvm::alignTo(buffer->size, kAlignment);
    }
    numBytes += end;
    return end;
  }

  void rewrite(func::FuncOp entry, ArrayRef<Buffer> buffers, int64_t size) {
    Block &block = entry.getBody().front();
    OpBuilder b(&getContext());
    Value workspace =
        block.addArgument(MemRefType::get(size, b.getI8Type()), entry.getLoc());
    for (const Buffer &buffer : buffers) {
      memref::AllocOp alloc = buffer.alloc;
      b.setInsertionPoint(alloc);
      Location loc = alloc.getLoc();
      Value offset = arith::ConstantIndexOp::create(b, loc, buffer.offset);
      Value view = memref::ViewOp::create(b, loc, alloc.getType(), workspace,
                                          offset, ValueRange());
      alloc.replaceAllUsesWith(view);
      alloc.erase();
    }
    entry.walk([](memref::AllocOp unused) { unused.erase(); });
    entry.setFunctionType(
        FunctionType::get(&getContext(), block.getArgumentTypes(), {}));
  }
};

} // namespace
