//===- PadRows.cpp - Rows that do not evict each other --------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Caches.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "rwkvc/Target/CPU/Passes.h"
#include <numeric>

namespace rwkvc::cpu {
#define GEN_PASS_DEF_PADROWS
#include "rwkvc/Target/CPU/Passes.h.inc"
} // namespace rwkvc::cpu

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::cpu;

namespace {

struct PadRowsPass : cpu::impl::PadRowsBase<PadRowsPass> {
  using PadRowsBase::PadRowsBase;

  void runOnOperation() override {
    SmallVector<bufferization::AllocTensorOp> allocs;
    getOperation().walk(
        [&](bufferization::AllocTensorOp alloc) { allocs.push_back(alloc); });
    for (bufferization::AllocTensorOp alloc : allocs)
      if (std::optional<RankedTensorType> padded = getPadded(alloc))
        pad(alloc, *padded);
  }

  /// The type with rows a line or more longer, if they need it.
  std::optional<RankedTensorType>
  getPadded(bufferization::AllocTensorOp alloc) const {
    auto type = dyn_cast<RankedTensorType>(alloc.getType());
    if (!type || !type.hasStaticShape() || alloc.getCopy() ||
        !type.getElementType().isIntOrFloat())
      return std::nullopt;
    auto isMany = [](int64_t size) { return size != 1; };
    const int64_t *rows = llvm::find_if(type.getShape(), isMany);
    const int64_t *inRow =
        std::find_if(rows == type.getShape().end() ? rows : rows + 1,
                     type.getShape().end(), isMany);
    if (inRow == type.getShape().end() || *rows < minRows)
      return std::nullopt;
    int64_t bytes = llvm::divideCeil(type.getElementTypeBitWidth(), 8) *
                    std::accumulate(inRow + 1, type.getShape().end(),
                                    int64_t(1), std::multiplies<>());
    // With half of it two rows in turn, which still is too many of a tile's.
    if (*inRow * bytes % (kWayBytes / 2) != 0)
      return std::nullopt;
    SmallVector<int64_t> shape(type.getShape());
    shape[inRow - type.getShape().begin()] +=
        llvm::divideCeil(kLineBytes, bytes);
    return type.clone(shape);
  }

  void pad(bufferization::AllocTensorOp alloc, RankedTensorType padded) {
    OpBuilder b(alloc);
    Location loc = alloc.getLoc();
    RankedTensorType type = cast<RankedTensorType>(alloc.getType());
    Value all =
        bufferization::AllocTensorOp::create(b, loc, padded, ValueRange());
    SmallVector<OpFoldResult> zeros(type.getRank(), b.getIndexAttr(0));
    SmallVector<OpFoldResult> ones(type.getRank(), b.getIndexAttr(1));
    Value rows = tensor::ExtractSliceOp::create(
        b, loc, type, all, zeros,
        getAsIndexOpFoldResult(b.getContext(), type.getShape()), ones);
    alloc.replaceAllUsesWith(rows);
    alloc.erase();
    ++numPadded;
  }
};

} // namespace
