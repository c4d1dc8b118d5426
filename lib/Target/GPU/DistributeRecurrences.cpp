//===- DistributeRecurrences.cpp - Recurrences for threads ----------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/SCF/Transforms/TileUsingInterface.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "rwkvc/Dialect/WKV/IR/WKV.h"
#include "rwkvc/Target/GPU/Passes.h"

namespace rwkvc::gpu {
#define GEN_PASS_DEF_DISTRIBUTERECURRENCES
#include "rwkvc/Target/GPU/Passes.h.inc"
} // namespace rwkvc::gpu

using namespace mlir;
using namespace rwkvc;

namespace {

struct DistributeRecurrencesPass
    : rwkvc::gpu::impl::DistributeRecurrencesBase<DistributeRecurrencesPass> {
  using DistributeRecurrencesBase::DistributeRecurrencesBase;

  void runOnOperation() override {
    SmallVector<wkv::RecurrenceOpInterface> ops;
    getOperation().walk([&](wkv::RecurrenceOpInterface op) {
      // In chunks it is products of matrices.
      if (op.getNumTokens() >= minTokens && !op.getChunkLength())
        ops.push_back(op);
    });
    IRRewriter rewriter(&getContext());
    for (wkv::RecurrenceOpInterface op : ops)
      if (failed(distribute(rewriter, op)))
        return signalPassFailure();
  }

  static mlir::gpu::MappingId getMappingId(unsigned loop) {
    auto first = static_cast<uint64_t>(mlir::gpu::MappingId::LinearDim0);
    return static_cast<mlir::gpu::MappingId>(first + loop);
  }

  LogicalResult distribute(IRRewriter &rewriter,
                           wkv::RecurrenceOpInterface op) {
    auto tiled = cast<TilingInterface>(op.getOperation());
    SmallVector<int64_t> tiles;
    SmallVector<Attribute> mapping;
    int64_t numThreads = 1;
    for (const Range &range : tiled.getIterationDomain(rewriter)) {
      std::optional<int64_t> size = getConstantIntValue(range.size);
      if (!size || *size == 0)
        return success();
      numThreads *= *size;
      tiles.push_back(*size > 1 ? 1 : 0);
      if (*size > 1)
        mapping.push_back(mlir::gpu::GPUThreadMappingAttr::get(
            rewriter.getContext(), getMappingId(mapping.size())));
    }
    if (mapping.empty())
      return success();
    int64_t numElements = 0;
    for (Value state : op.getStates())
      numElements += cast<RankedTensorType>(state.getType()).getNumElements();
    if (numElements / numThreads > maxElements)
      return success();
    scf::SCFTilingOptions options;
    options.setTileSizes(getAsIndexOpFoldResult(rewriter.getContext(), tiles));
    options.setLoopType(scf::SCFTilingOptions::LoopType::ForallOp);
    options.setMapping(mapping);
    rewriter.setInsertionPoint(op);
    FailureOr<scf::SCFTilingResult> result =
        scf::tileUsingSCF(rewriter, tiled, options);
    if (failed(result))
      return op.emitOpError("cannot be split");
    rewriter.replaceOp(op, result->replacements);
    privatizeStates(rewriter,
                    cast<wkv::RecurrenceOpInterface>(result->tiledOps.front()));
    ++numDistributed;
    return success();
  }

  /// Lets \p op work on copies of its states that are its thread's alone.
  static void privatizeStates(IRRewriter &rewriter,
                              wkv::RecurrenceOpInterface op) {
    rewriter.setInsertionPoint(op);
    for (OpOperand &operand : op->getOpOperands()) {
      if (op.getOperandRole(operand.getOperandNumber()) !=
          wkv::OperandRole::State)
        continue;
      auto own = bufferization::AllocTensorOp::create(
          rewriter, op.getLoc(),
          cast<RankedTensorType>(operand.get().getType()), ValueRange(),
          operand.get());
      own.setMemorySpaceAttr(mlir::gpu::AddressSpaceAttr::get(
          rewriter.getContext(), mlir::gpu::AddressSpace::Private));
      operand.set(own);
    }
  }
};

} // namespace
