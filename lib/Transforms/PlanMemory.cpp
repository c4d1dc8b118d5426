//===- PlanMemory.cpp - One workspace for all buffers ---------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "mlir/Dialect/Bufferization/Transforms/BufferViewFlowAnalysis.h"
#include "mlir/Dialect/Utils/IndexingUtils.h"
#include "mlir/Interfaces/LoopLikeInterface.h"
#include "rwkvc/AOT/Interface.h"
#include "rwkvc/Support/Loops.h"
#include "rwkvc/Transforms/Passes.h"
#include "llvm/ADT/MapVector.h"

namespace rwkvc {
#define GEN_PASS_DEF_PLANMEMORY
#include "rwkvc/Transforms/Passes.h.inc"
} // namespace rwkvc

using namespace mlir;
using namespace rwkvc;

static constexpr int64_t kAlignment = 64;

namespace {

/// A buffer, or the buffers of all iterations of a parallel loop together, with
/// the first and the last operation during which it is in use.
struct Buffer {
  memref::AllocOp alloc;
  scf::ForallOp loop; ///< instead of alloc
  int64_t size, first, last;
  int64_t offset = 0;

  bool isAliveWith(const Buffer &other) const {
    return first <= other.last && other.first <= last;
  }
};

using Buffers = SmallVector<Buffer>;

/// Numbers operations in the order of the text; an operation that contains
/// others ends with the last of them.
class Positions {
public:
  explicit Positions(func::FuncOp func) {
    int64_t next = 0;
    func.walk([&](Operation *op, const WalkStage &stage) {
      if (stage.isBeforeAllRegions())
        begin[op] = next++;
      if (stage.isAfterAllRegions())
        end[op] = next - 1;
    });
  }

  /// Extends the life of \p buffer over \p op.
  void use(Buffer &buffer, Operation *op) const {
    buffer.first = std::min(buffer.first, begin.lookup(op));
    buffer.last = std::max(buffer.last, end.lookup(op));
  }

private:
  llvm::DenseMap<Operation *, int64_t> begin, end;
};

/// The outermost parallel loop around \p op, or null.
scf::ForallOp getParallelLoop(Operation *op) {
  scf::ForallOp loop;
  while ((op = op->getParentOp()))
    if (auto parallel = dyn_cast<scf::ForallOp>(op))
      loop = parallel;
  return loop;
}

struct PlanMemoryPass : rwkvc::impl::PlanMemoryBase<PlanMemoryPass> {
  void runOnOperation() override {
    auto entries = aot::getEntries(getOperation());
    if (failed(entries))
      return signalPassFailure();
    for (func::FuncOp entry : *entries) {
      llvm::MapVector<Operation *, Buffers> inLoops;
      FailureOr<Buffers> buffers = collect(entry, inLoops);
      if (failed(buffers))
        return signalPassFailure();
      int64_t size = assign(*buffers);
      numBytes += size;
      rewrite(entry, *buffers, inLoops, size);
      entry->setAttr(aot::kWorkspaceSizeAttr,
                     Builder(&getContext()).getI64IntegerAttr(size));
    }
  }

  /// The buffers of \p entry; those of parallel loops, which are placed within
  /// one iteration's share, go to \p inLoops and are there as one for each
  /// loop.
  FailureOr<Buffers> collect(func::FuncOp entry,
                             llvm::MapVector<Operation *, Buffers> &inLoops) {
    Positions positions(entry);
    BufferViewFlowAnalysis aliases(entry);
    Buffers buffers;
    WalkResult walk = entry.walk([&](memref::AllocOp alloc) {
      // In another space, a thread's own memory for instance, it stays.
      if (alloc.getType().getMemorySpace())
        return WalkResult::advance();
      FailureOr<Buffer> buffer = getBuffer(alloc, aliases, positions);
      if (failed(buffer))
        return WalkResult::interrupt();
      if (buffer->last < 0)
        return WalkResult::advance();
      numUnsharedBytes += llvm::alignTo(buffer->size, kAlignment);
      ++numBuffers;
      if (scf::ForallOp loop = getParallelLoop(alloc))
        inLoops[loop].push_back(*buffer);
      else
        buffers.push_back(*buffer);
      return WalkResult::advance();
    });
    if (walk.wasInterrupted())
      return failure();
    for (auto &[op, parts] : inLoops) {
      auto loop = cast<scf::ForallOp>(op);
      std::optional<SmallVector<int64_t>> counts = countIterations(loop);
      if (!counts)
        return loop.emitError("buffers in a parallel loop of dynamic bounds "
                              "cannot be planned");
      Buffer share{
          {}, loop, assign(parts) * computeProduct(*counts), INT64_MAX, -1};
      positions.use(share, loop);
      buffers.push_back(share);
    }
    return buffers;
  }

  static FailureOr<Buffer> getBuffer(memref::AllocOp alloc,
                                     BufferViewFlowAnalysis &aliases,
                                     const Positions &positions) {
    if (!alloc.getType().hasStaticShape()) {
      alloc.emitError("a buffer of dynamic size cannot be planned");
      return failure();
    }
    Buffer buffer{alloc, {}, aot::getNumBytes(alloc.getType()), INT64_MAX, -1};
    SmallVector<Operation *> users;
    for (Value alias : aliases.resolve(alloc.getResult())) {
      if (auto argument = dyn_cast<BlockArgument>(alias);
          argument &&
          argument.getOwner()->getParentOp()->isProperAncestor(alloc) &&
          isa<LoopLikeOpInterface>(argument.getOwner()->getParentOp())) {
        alloc.emitError("a buffer that a loop carries into its next "
                        "iteration cannot be planned");
        return failure();
      }
      llvm::append_range(users, alias.getUsers());
    }
    if (users.empty())
      return buffer;
    // Each run of the innermost block that has all uses has a buffer of its
    // own.
    Block *block = alloc->getBlock();
    while (llvm::any_of(users, [&](Operation *user) {
      return !block->findAncestorOpInBlock(*user);
    }))
      block = block->getParentOp()->getBlock();
    if (block != alloc->getBlock())
      positions.use(buffer, block->findAncestorOpInBlock(*alloc));
    for (Operation *user : users)
      positions.use(buffer, block->findAncestorOpInBlock(*user));
    return buffer;
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
    }
    return end;
  }

  void rewrite(func::FuncOp entry, ArrayRef<Buffer> buffers,
               llvm::MapVector<Operation *, Buffers> &inLoops, int64_t size) {
    Block &block = entry.getBody().front();
    OpBuilder b(&getContext());
    Value workspace =
        block.addArgument(MemRefType::get(size, b.getI8Type()), entry.getLoc());
    for (const Buffer &buffer : buffers) {
      if (buffer.alloc) {
        place(buffer, workspace, Value());
        continue;
      }
      // One view for the whole loop, so that offsets in it are small numbers
      // that do not depend on where in the workspace it is.
      scf::ForallOp loop = buffer.loop;
      b.setInsertionPoint(loop);
      Location loc = loop.getLoc();
      Value share = memref::ViewOp::create(
          b, loc, MemRefType::get(buffer.size, b.getI8Type()), workspace,
          arith::ConstantIndexOp::create(b, loc, buffer.offset), ValueRange());
      int64_t count = computeProduct(*countIterations(loop));
      int64_t part = count ? buffer.size / count : 0;
      b.setInsertionPointToStart(loop.getBody());
      Value start =
          arith::MulIOp::create(b, loc, countIteration(b, loop),
                                arith::ConstantIndexOp::create(b, loc, part));
      for (const Buffer &inner : inLoops[loop])
        place(inner, share, start);
    }
    entry.walk([](memref::AllocOp unused) {
      if (!unused.getType().getMemorySpace())
        unused.erase();
    });
    entry.setFunctionType(
        FunctionType::get(&getContext(), block.getArgumentTypes(), {}));
  }

  /// Makes \p buffer a view of \p memory, at its offset from \p start on.
  static void place(const Buffer &buffer, Value memory, Value start) {
    memref::AllocOp alloc = buffer.alloc;
    OpBuilder b(alloc);
    Location loc = alloc.getLoc();
    Value offset = arith::ConstantIndexOp::create(b, loc, buffer.offset);
    if (start)
      offset = arith::AddIOp::create(b, loc, start, offset);
    Value view = memref::ViewOp::create(b, loc, alloc.getType(), memory, offset,
                                        ValueRange());
    alloc.replaceAllUsesWith(view);
    alloc.erase();
  }

  /// The number of the present iteration of \p loop, counted from 0.
  static Value countIteration(OpBuilder &b, scf::ForallOp loop) {
    Location loc = loop.getLoc();
    Value number;
    for (auto [iv, from, to, step] :
         llvm::zip_equal(loop.getInductionVars(), loop.getMixedLowerBound(),
                         loop.getMixedUpperBound(), loop.getMixedStep())) {
      int64_t first = *getConstantIntValue(from),
              end = *getConstantIntValue(to);
      int64_t stride = *getConstantIntValue(step);
      auto constant = [&](int64_t value) -> Value {
        return arith::ConstantIndexOp::create(b, loc, value);
      };
      Value digit = iv;
      if (first != 0)
        digit = arith::SubIOp::create(b, loc, digit, constant(first));
      if (stride != 1)
        digit = arith::DivUIOp::create(b, loc, digit, constant(stride));
      if (number)
        digit = arith::AddIOp::create(
            b, loc, digit,
            arith::MulIOp::create(
                b, loc, number,
                constant(llvm::divideCeilSigned(end - first, stride))));
      number = digit;
    }
    return number;
  }
};

} // namespace
