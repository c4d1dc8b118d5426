//===- SinkScalars.cpp - Scalars that kernels read themselves -------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "mlir/Dialect/SCF/Utils/Utils.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/Interfaces/ViewLikeInterface.h"
#include "mlir/Transforms/RegionUtils.h"
#include "rwkvc/AOT/Interface.h"
#include "rwkvc/Target/GPU/Passes.h"
#include "rwkvc/Transforms/Kernels.h"

namespace rwkvc::gpu {
#define GEN_PASS_DEF_SINKSCALARS
#include "rwkvc/Target/GPU/Passes.h.inc"
} // namespace rwkvc::gpu

using namespace mlir;
using namespace rwkvc;

namespace {

/// Bytes of a function's argument.
struct Place {
  Value argument;
  int64_t begin = 0, end = std::numeric_limits<int64_t>::max();

  /// Those that \p value , a buffer, may lie in.
  explicit Place(Value value) {
    for (; auto view = value.getDefiningOp<ViewLikeOpInterface>();
         value = view.getViewSource()) {
      auto part = dyn_cast<memref::ViewOp>(view.getOperation());
      std::optional<int64_t> shift =
          part ? getConstantIntValue(part.getByteShift()) : std::nullopt;
      if (!shift || !part.getType().hasStaticShape())
        continue;
      begin = *shift;
      end = begin + aot::getNumBytes(part.getType());
    }
    argument = value;
  }

  bool overlaps(const Place &other) const {
    return argument == other.argument && begin < other.end && other.begin < end;
  }
};

struct SinkScalarsPass : rwkvc::gpu::impl::SinkScalarsBase<SinkScalarsPass> {
  using SinkScalarsBase::SinkScalarsBase;

  void runOnOperation() override {
    auto entries = aot::getEntries(getOperation());
    if (failed(entries))
      return signalPassFailure();
    for (func::FuncOp entry : *entries)
      if (!entry.isExternal() && (failed(unroll(entry)) || failed(sink(entry))))
        return signalPassFailure();
  }

  /// Whether \p op is run by the device as a whole: a kernel, or what decides
  /// by values that only the device knows.
  bool isForDevice(Operation *op) {
    if (isKernel(op) || isa<memref::CopyOp>(op))
      return true;
    if (auto loop = dyn_cast<scf::ForOp>(op))
      return !loop.getStaticTripCount();
    if (auto condition = dyn_cast<scf::IfOp>(op))
      return dependsOnMemory(condition.getCondition());
    return isa<scf::WhileOp>(op);
  }

  LogicalResult unroll(func::FuncOp entry) {
    SmallVector<scf::ForOp> loops;
    entry.walk<WalkOrder::PreOrder>([&](Operation *op) {
      if (isForDevice(op))
        return WalkResult::skip();
      if (auto loop = dyn_cast<scf::ForOp>(op))
        loops.push_back(loop);
      return WalkResult::advance();
    });
    for (scf::ForOp loop : llvm::reverse(loops)) {
      if (failed(loopUnrollFull(loop)))
        return loop.emitError("cannot be unrolled into launches of kernels");
      ++numUnrolled;
    }
    return success();
  }

  LogicalResult sink(func::FuncOp entry) {
    SmallVector<Operation *> kernels;
    entry.walk<WalkOrder::PreOrder>([&](Operation *op) {
      if (!isForDevice(op))
        return WalkResult::advance();
      kernels.push_back(op);
      return WalkResult::skip();
    });
    for (Operation *kernel : kernels)
      if (failed(sinkInto(kernel)))
        return failure();
    return success();
  }

  /// Whether \p value , of the function, is not known before it is called.
  bool dependsOnMemory(Value value) {
    Operation *def = value.getDefiningOp();
    if (!def)
      return false;
    auto [known, isNew] = depends.try_emplace(def, false);
    if (!isNew)
      return known->second;
    bool result = isa<memref::LoadOp>(def) ||
                  llvm::any_of(def->getOperands(), [&](Value operand) {
                    return dependsOnMemory(operand);
                  });
    return depends[def] = result;
  }

  LogicalResult sinkInto(Operation *kernel) {
    llvm::SetVector<Value> used(kernel->getOperands().begin(),
                                kernel->getOperands().end());
    getUsedValuesDefinedAbove(kernel->getRegions(), used);
    llvm::SetVector<Operation *> slice;
    std::function<LogicalResult(Value)> add = [&](Value value) {
      Operation *def = value.getDefiningOp();
      if (!dependsOnMemory(value) || slice.contains(def))
        return success();
      if (!isa<memref::LoadOp, ViewLikeOpInterface>(def) &&
          (!isMemoryEffectFree(def) || def->getNumRegions() != 0))
        return LogicalResult(def->emitError(
            "a kernel depends on what the device computes in a way that it "
            "cannot read itself"));
      for (Value operand : def->getOperands())
        if (failed(add(operand)))
          return failure();
      if (auto load = dyn_cast<memref::LoadOp>(def);
          load && mayBeWrittenBefore(load, kernel))
        return LogicalResult(load.emitError(
            "is of memory that is written before the kernel which needs it"));
      slice.insert(def);
      return success();
    };
    for (Value value : used)
      if (failed(add(value)))
        return failure();
    if (slice.empty() && (isKernel(kernel) || isa<memref::CopyOp>(kernel)))
      return success();
    OpBuilder b(kernel);
    auto region = dyn_cast<scf::ExecuteRegionOp>(kernel->getParentOp());
    if (!region) {
      region = scf::ExecuteRegionOp::create(b, kernel->getLoc(), TypeRange());
      region.setNoInline(true);
      Block *body = b.createBlock(&region.getRegion());
      scf::YieldOp::create(b, kernel->getLoc());
      kernel->moveBefore(body->getTerminator());
      b.setInsertionPoint(kernel);
    }
    IRMapping mapping;
    for (Operation *op : slice)
      b.clone(*op, mapping);
    kernel->walk([&](Operation *op) {
      for (OpOperand &operand : op->getOpOperands())
        operand.set(mapping.lookupOrDefault(operand.get()));
    });
    numSunk += slice.size();
    return success();
  }

  /// Whether something between \p load and \p kernel may write what it reads.
  static bool mayBeWrittenBefore(memref::LoadOp load, Operation *kernel) {
    Operation *end = load->getBlock()->findAncestorOpInBlock(*kernel);
    if (!end)
      return true;
    Place read(load.getMemref());
    auto writes = [&](Operation *op) {
      auto effects = getEffectsRecursively(op);
      return !effects || llvm::any_of(*effects, [&](auto &effect) {
        return isa<MemoryEffects::Write>(effect.getEffect()) &&
               (!effect.getValue() || Place(effect.getValue()).overlaps(read));
      });
    };
    for (Operation *op = load->getNextNode(); op != end; op = op->getNextNode())
      if (writes(op))
        return true;
    // What is before the kernel in the same region.
    for (Operation *inner = kernel; inner != end; inner = inner->getParentOp())
      for (Operation &op : *inner->getBlock()) {
        if (&op == inner)
          break;
        if (writes(&op))
          return true;
      }
    return false;
  }

  llvm::DenseMap<Operation *, bool> depends;
};

} // namespace
