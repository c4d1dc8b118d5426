//===- TileNorms.cpp - Norms by rows --------------------------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "rwkvc/Dialect/WKV/IR/WKV.h"
#include "rwkvc/Dialect/WKV/Transforms/Passes.h"
#include "rwkvc/Support/MathExtras.h"

namespace rwkvc::wkv {
#define GEN_PASS_DEF_TILENORMS
#include "rwkvc/Dialect/WKV/Transforms/Passes.h.inc"
} // namespace rwkvc::wkv

using namespace mlir;
using namespace rwkvc;

/// The axis of the tokens, the last before the channels that has several
/// elements; none where the norm is of another kind.
static std::optional<int64_t> findTokens(wkv::LayerNormOp op) {
  auto type = cast<RankedTensorType>(op.getX().getType());
  auto rankOf = [](Value affine) {
    return affine ? cast<RankedTensorType>(affine.getType()).getRank() : 0;
  };
  // A norm of heads, whose affine part has the heads too, belongs to a
  // recurrence.
  if (!type.hasStaticShape() ||
      std::max(rankOf(op.getScale()), rankOf(op.getBias())) != 1)
    return std::nullopt;
  for (int64_t axis = type.getRank() - 2; axis >= 0; --axis)
    if (type.getDimSize(axis) != 1)
      return axis;
  return std::nullopt;
}

namespace {

struct TileNormsPass : wkv::impl::TileNormsBase<TileNormsPass> {
  using TileNormsBase::TileNormsBase;

  LogicalResult initialize(MLIRContext *context) override {
    if (rows < 1)
      return emitError(UnknownLoc::get(context))
             << "rows=" << int64_t(rows) << ": expected at least 1";
    return success();
  }

  void runOnOperation() override {
    SmallVector<wkv::LayerNormOp> norms;
    getOperation().walk([&](wkv::LayerNormOp op) {
      if (!op->getParentOfType<scf::ForallOp>())
        norms.push_back(op);
    });
    IRRewriter rewriter(&getContext());
    for (wkv::LayerNormOp op : norms)
      if (std::optional<int64_t> axis = findTokens(op))
        tile(rewriter, op, *axis);
  }

  void tile(IRRewriter &rewriter, wkv::LayerNormOp op, int64_t axis) {
    auto type = cast<RankedTensorType>(op.getX().getType());
    int64_t count = largestDivisor(type.getDimSize(axis), rows);
    if (count == type.getDimSize(axis))
      return;
    rewriter.setInsertionPoint(op);
    ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    Value place =
        tensor::EmptyOp::create(b, type.getShape(), type.getElementType());
    auto loop = scf::ForallOp::create(
        b, ArrayRef<OpFoldResult>{b.getIndexAttr(0)},
        ArrayRef<OpFoldResult>{b.getIndexAttr(type.getDimSize(axis))},
        ArrayRef<OpFoldResult>{b.getIndexAttr(count)}, place,
        /*mapping=*/std::nullopt);
    SmallVector<int64_t> shape(type.getShape());
    shape[axis] = count;
    SmallVector<OpFoldResult> offsets(type.getRank(), b.getIndexAttr(0)),
        sizes = getAsIndexOpFoldResult(b.getContext(), shape),
        strides(type.getRank(), b.getIndexAttr(1));
    offsets[axis] = loop.getInductionVar(0);
    b.setInsertionPoint(loop.getTerminator());
    Value part = tensor::ExtractSliceOp::create(b, type.clone(shape), op.getX(),
                                                offsets, sizes, strides);
    auto norm = cast<wkv::LayerNormOp>(b.clone(*op));
    norm.getXMutable().assign(part);
    norm.getY().setType(type.clone(shape));
    b.setInsertionPointToEnd(loop.getTerminator().getBody());
    tensor::ParallelInsertSliceOp::create(
        b, norm.getY(), loop.getRegionIterArgs()[0], offsets, sizes, strides);
    rewriter.replaceOp(op, loop.getResult(0));
    ++numTiled;
  }
};

} // namespace
