//===- PadTokenShifts.cpp - Predecessors as a view ------------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "rwkvc/Dialect/WKV/IR/WKV.h"
#include "rwkvc/Dialect/WKV/Transforms/Passes.h"
#include "rwkvc/Support/Reshapes.h"

namespace rwkvc::wkv {
#define GEN_PASS_DEF_PADTOKENSHIFTS
#include "rwkvc/Dialect/WKV/Transforms/Passes.h.inc"
} // namespace rwkvc::wkv

using namespace mlir;
using namespace rwkvc;

/// The norm whose result is \p op 's tokens but for a reshape, if it can as
/// well compute it in their shape.
static wkv::LayerNormOp findNorm(wkv::TokenShiftOp op) {
  auto reshape = op.getX().getDefiningOp<tensor::ExpandShapeOp>();
  auto norm = reshape ? reshape.getSrc().getDefiningOp<wkv::LayerNormOp>()
                      : wkv::LayerNormOp();
  auto isRow = [](Value affine) {
    return !affine || cast<RankedTensorType>(affine.getType()).getRank() == 1;
  };
  if (!norm || !isRow(norm.getScale()) || !isRow(norm.getBias()) ||
      reshape.getReassociationIndices().back().size() != 1)
    return {};
  return norm;
}

/// Lets \p norm , found for \p op , compute its result in the shape of the
/// tokens, so that it can write them where they shall be.
static void normaliseInShape(IRRewriter &rewriter, wkv::TokenShiftOp op,
                             wkv::LayerNormOp norm) {
  auto reshape = op.getX().getDefiningOp<tensor::ExpandShapeOp>();
  SmallVector<ReassociationIndices> groups = reshape.getReassociationIndices();
  rewriter.setInsertionPoint(norm);
  Value x = tensor::ExpandShapeOp::create(
      rewriter, norm.getLoc(), reshape.getResultType(), norm.getX(), groups);
  auto same = cast<wkv::LayerNormOp>(rewriter.clone(*norm));
  same.getXMutable().assign(x);
  same.getY().setType(reshape.getResultType());
  rewriter.replaceOp(reshape, same.getY());
  rewriter.replaceOpWithNewOp<tensor::CollapseShapeOp>(
      norm, norm.getY().getType(), same.getY(), groups);
}

namespace {

struct PadTokenShiftsPass : wkv::impl::PadTokenShiftsBase<PadTokenShiftsPass> {
  void runOnOperation() override {
    SmallVector<wkv::TokenShiftOp> shifts;
    getOperation().walk([&](wkv::TokenShiftOp op) { shifts.push_back(op); });
    IRRewriter rewriter(&getContext());
    for (wkv::TokenShiftOp op : shifts) {
      // The rows must be computed by something that can as well write them
      // elsewhere, after the state is known.
      wkv::LayerNormOp norm = findNorm(op);
      Operation *def = norm ? norm : op.getX().getDefiningOp();
      if (!isCandidate(op) || !def || def->getBlock() != op->getBlock() ||
          !hoistReshapes(op.getState(), def))
        continue;
      if (norm)
        normaliseInShape(rewriter, op, norm);
      pad(rewriter, op);
      ++numPadded;
    }
  }

  /// Several tokens of one text, whose rows follow one another.
  static bool isCandidate(wkv::TokenShiftOp op) {
    auto type = cast<RankedTensorType>(op.getX().getType());
    auto state = cast<RankedTensorType>(op.getState().getType());
    return type.hasStaticShape() && type.getDimSize(0) == 1 &&
           type.getDimSize(1) > 1 &&
           type.getElementType() == state.getElementType();
  }

  static void pad(IRRewriter &rewriter, wkv::TokenShiftOp op) {
    Value x = op.getX();
    auto type = cast<RankedTensorType>(x.getType());
    ArrayRef<int64_t> shape = type.getShape();
    rewriter.setInsertionPoint(x.getDefiningOp());
    ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    auto index = [&](int64_t value) { return b.getIndexAttr(value); };
    SmallVector<OpFoldResult> strides(3, index(1)), first(3, index(0));
    SmallVector<OpFoldResult> row{index(shape[0]), index(1), index(shape[2])};
    SmallVector<OpFoldResult> second{index(0), index(1), index(0)};
    SmallVector<OpFoldResult> all =
        getAsIndexOpFoldResult(b.getContext(), shape);
    Value place = tensor::EmptyOp::create(
        b, ArrayRef<int64_t>{shape[0], shape[1] + 1, shape[2]},
        type.getElementType());
    Value start = tensor::InsertSliceOp::create(b, op.getState(), place, first,
                                                row, strides);

    b.setInsertionPointAfter(x.getDefiningOp());
    auto rows =
        tensor::InsertSliceOp::create(b, x, start, second, all, strides);
    Value tokens =
        tensor::ExtractSliceOp::create(b, type, rows, second, all, strides);
    rewriter.replaceAllUsesExcept(x, tokens, rows);
    Value shifted =
        tensor::ExtractSliceOp::create(b, type, rows, first, all, strides);

    // The last token's row lies as far behind the state's as there are tokens.
    b.setInsertionPoint(op);
    SmallVector<OpFoldResult> last{index(0), index(shape[1]), index(0)};
    if (op.getLength())
      last[1] = arith::IndexCastOp::create(
                    b, b.getIndexType(),
                    tensor::ExtractOp::create(b, op.getLength(), ValueRange()))
                    .getResult();
    Value kept = tensor::ExtractSliceOp::create(
        b, cast<RankedTensorType>(op.getState().getType()), rows, last, row,
        strides);
    rewriter.replaceOp(op, {shifted, kept});
  }
};

} // namespace
