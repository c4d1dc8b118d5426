//===- TileTokenShifts.cpp - Norm, shift and mixes by rows ----------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Dominance.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/Transforms/RegionUtils.h"
#include "rwkvc/Dialect/WKV/IR/WKV.h"
#include "rwkvc/Dialect/WKV/Transforms/Passes.h"
#include "rwkvc/Support/MathExtras.h"
#include "rwkvc/Support/Reshapes.h"
#include "rwkvc/Support/Scalars.h"

namespace rwkvc::wkv {
#define GEN_PASS_DEF_TILETOKENSHIFTS
#include "rwkvc/Dialect/WKV/Transforms/Passes.h.inc"
} // namespace rwkvc::wkv

using namespace mlir;
using namespace rwkvc;

static RankedTensorType tensorType(Value value) {
  return cast<RankedTensorType>(value.getType());
}

/// Whether \p value, one of \p type 's channels or of one number for all of
/// them, does not depend on the token.
static bool isRow(Value value) {
  ArrayRef<int64_t> shape = tensorType(value).getShape();
  return llvm::all_of(shape.drop_back(),
                      [](int64_t size) { return size == 1; });
}

/// \p value with the shape of \p type, of rank 2 or 3, where its elements have
/// the same order; [B T, D] for [B, T, D] or the other way.
static Value reshapeRows(ImplicitLocOpBuilder &b, Value value,
                         RankedTensorType type) {
  if (value.getType() == type)
    return value;
  SmallVector<ReassociationIndices> groups{{0, 1}, {2}};
  if (type.getRank() == 3)
    return tensor::ExpandShapeOp::create(b, type, value, groups);
  return tensor::CollapseShapeOp::create(b, type, value, groups);
}

/// Whether `reshapeRows` goes between \p type and the tokens \p rows.
static bool areRows(RankedTensorType type, RankedTensorType rows) {
  return type == rows ||
         (type.getRank() == 2 && rows.getRank() == 3 &&
          type.getDimSize(0) == rows.getDimSize(0) * rows.getDimSize(1) &&
          type.getDimSize(1) == rows.getDimSize(2));
}

namespace {

/// A norm, the shift of its result, and interpolations between the two.
struct NormedShift {
  wkv::LayerNormOp norm;
  wkv::TokenShiftOp shift;
  SmallVector<wkv::MixOp> mixes;
  /// Whether something else needs the norm's result.
  bool keepsRows = false;
};

struct TileTokenShiftsPass
    : wkv::impl::TileTokenShiftsBase<TileTokenShiftsPass> {
  using TileTokenShiftsBase::TileTokenShiftsBase;

  LogicalResult initialize(MLIRContext *context) override {
    if (rows < 2)
      return emitError(UnknownLoc::get(context))
             << "rows=" << int64_t(rows) << ": expected at least 2";
    return success();
  }

  void runOnOperation() override {
    SmallVector<wkv::TokenShiftOp> shifts;
    getOperation().walk([&](wkv::TokenShiftOp op) {
      if (!op->getParentOfType<scf::ForallOp>())
        shifts.push_back(op);
    });
    IRRewriter rewriter(&getContext());
    for (wkv::TokenShiftOp op : shifts)
      if (std::optional<NormedShift> found = match(op))
        tile(rewriter, *found);
    // The norms and shifts that nothing needs any more.
    (void)runRegionDCE(rewriter, getOperation()->getRegions());
  }

  std::optional<NormedShift> match(wkv::TokenShiftOp op);
  void tile(IRRewriter &rewriter, NormedShift &found);
};

} // namespace

/// Adds to \p found the interpolations of \p shifted , seen through reshapes;
/// false where something else reads it.
static bool collectMixes(Value shifted, NormedShift &found,
                         DominanceInfo &dominance) {
  RankedTensorType tokens = tensorType(found.shift.getX());
  bool areAll = true;
  for (OpOperand &use : shifted.getUses()) {
    Operation *user = use.getOwner();
    if (isReshape(user)) {
      areAll &= collectMixes(user->getResult(0), found, dominance);
      continue;
    }
    auto mix = dyn_cast<wkv::MixOp>(user);
    if (mix && mix.getShifted() == shifted && mix.getX() != shifted &&
        mix.getX().getType() == mix.getY().getType() &&
        getReshapeSource(mix.getX()) == found.norm.getY() &&
        areRows(tensorType(mix.getY()), tokens) && isRow(mix.getMu()) &&
        dominance.properlyDominates(mix.getMu(), found.norm) &&
        mix->getBlock() == found.norm->getBlock())
      found.mixes.push_back(mix);
    else
      areAll = false;
  }
  return areAll;
}

/// Whether anything but \p shift and \p mixes reads \p value , seen through
/// reshapes.
static bool hasOtherReader(Value value, const NormedShift &found) {
  Operation *shift = wkv::TokenShiftOp(found.shift);
  return llvm::any_of(value.getUsers(), [&](Operation *user) {
    if (isReshape(user))
      return hasOtherReader(user->getResult(0), found);
    return user != shift && !llvm::is_contained(found.mixes, user);
  });
}

std::optional<NormedShift> TileTokenShiftsPass::match(wkv::TokenShiftOp op) {
  NormedShift found;
  found.shift = op;
  found.norm = getReshapeSource(op.getX()).getDefiningOp<wkv::LayerNormOp>();
  RankedTensorType tokens = tensorType(op.getX());
  if (!found.norm || found.norm->getBlock() != op->getBlock() ||
      !tokens.hasStaticShape() ||
      !areRows(tensorType(found.norm.getY()), tokens))
    return std::nullopt;
  for (Value affine : {found.norm.getScale(), found.norm.getBias()})
    if (affine && tensorType(affine).getRank() != 1)
      return std::nullopt;
  // What the tokens of one text are split into; one part alone is no loop.
  int64_t texts = tokens.getDimSize(0), length = tokens.getDimSize(1);
  int64_t count = largestDivisor(length, rows);
  if (count == length ? texts == 1 : count == 1)
    return std::nullopt;
  if (!hoistReshapes(op.getState(), found.norm))
    return std::nullopt;
  DominanceInfo dominance;
  found.keepsRows = !collectMixes(op.getShifted(), found, dominance);
  if (found.mixes.empty())
    return std::nullopt;
  llvm::sort(found.mixes,
             [](wkv::MixOp a, wkv::MixOp b) { return a->isBeforeInBlock(b); });
  found.keepsRows |= length == 1 || hasOtherReader(found.norm.getY(), found);
  return found;
}

/// A row of [1, D] in the type of \p tokens : \p kept of the state, or, where
/// there is one, \p row unless \p isFirst .
static Value chooseRow(ImplicitLocOpBuilder &b, RankedTensorType tokens,
                       Value kept, Value row, Value isFirst) {
  Type element = tokens.getElementType();
  if (!row && tensorType(kept).getElementType() == element)
    return kept;
  SmallVector<Value> inputs{kept};
  if (row)
    inputs.push_back(row);
  Value place =
      tensor::EmptyOp::create(b, tensorType(kept).getShape(), element);
  SmallVector<AffineMap> maps(inputs.size() + 1, b.getMultiDimIdentityMap(2));
  SmallVector<utils::IteratorType> kinds(2, utils::IteratorType::parallel);
  return linalg::GenericOp::create(
             b, place.getType(), inputs, place, maps, kinds,
             [&](OpBuilder &nested, Location loc, ValueRange args) {
               ImplicitLocOpBuilder body(loc, nested);
               Value chosen = castFloat(body, args[0], element);
               if (row)
                 chosen = arith::SelectOp::create(nested, loc, isFirst, chosen,
                                                  args[1]);
               linalg::YieldOp::create(nested, loc, chosen);
             })
      .getResult(0);
}

/// The norm of \p found , of \p part of what it reads.
static Value normalise(ImplicitLocOpBuilder &b, const NormedShift &found,
                       Value part) {
  Operation *original = wkv::LayerNormOp(found.norm);
  auto norm = cast<wkv::LayerNormOp>(b.clone(*original));
  norm.getXMutable().assign(part);
  norm.getY().setType(tensorType(part));
  return norm.getY();
}

/// The part of [B, T, D] \p source that starts at \p text and \p token .
static Value extractPart(ImplicitLocOpBuilder &b, Value source,
                         OpFoldResult text, OpFoldResult token,
                         RankedTensorType type) {
  SmallVector<int64_t> shape(type.getShape());
  // Of one row only the channels may be left.
  if (type.getRank() == 2)
    shape.insert(shape.begin() + 1, 1);
  return tensor::ExtractSliceOp::create(
      b, type, source,
      SmallVector<OpFoldResult>{text, token, b.getIndexAttr(0)},
      getAsIndexOpFoldResult(b.getContext(), shape),
      SmallVector<OpFoldResult>(3, b.getIndexAttr(1)));
}

/// The length of \p shift as an index.
static Value getLength(ImplicitLocOpBuilder &b, wkv::TokenShiftOp shift) {
  if (Value length = shift.getLength())
    return arith::IndexCastOp::create(
        b, b.getIndexType(),
        tensor::ExtractOp::create(b, length, ValueRange()));
  return arith::ConstantIndexOp::create(b,
                                        tensorType(shift.getX()).getDimSize(1));
}

void TileTokenShiftsPass::tile(IRRewriter &rewriter, NormedShift &found) {
  wkv::TokenShiftOp shift = found.shift;
  RankedTensorType tokens = tensorType(shift.getX());
  int64_t texts = tokens.getDimSize(0), length = tokens.getDimSize(1);
  int64_t channels = tokens.getDimSize(2);
  int64_t count = largestDivisor(length, rows), parts = length / count;
  rewriter.setInsertionPoint(found.norm);
  ImplicitLocOpBuilder b(shift.getLoc(), rewriter);
  Value x = reshapeRows(b, found.norm.getX(), tokens);
  SmallVector<Value> mus;
  for (wkv::MixOp mix : found.mixes) {
    Value mu = mix.getMu();
    if (int64_t rank = tensorType(mu).getRank(); rank > 1)
      mu = tensor::CollapseShapeOp::create(
          b, mu,
          SmallVector<ReassociationIndices>{
              llvm::to_vector<2>(llvm::seq<int64_t>(0, rank))});
    mus.push_back(mu);
  }

  // What the loop gives: the interpolations, and all rows or, of each part,
  // that which the new state might be.
  RankedTensorType kept = tokens.clone({texts, parts, channels});
  SmallVector<RankedTensorType> types(found.mixes.size(), tokens);
  types.push_back(found.keepsRows ? tokens : kept);
  SmallVector<Value> places;
  for (RankedTensorType type : types)
    places.push_back(
        tensor::EmptyOp::create(b, type.getShape(), type.getElementType()));
  Value keptLength = found.keepsRows ? Value() : getLength(b, shift);

  SmallVector<OpFoldResult> from(2, b.getIndexAttr(0)),
      step(2, b.getIndexAttr(1));
  SmallVector<OpFoldResult> to{b.getIndexAttr(texts), b.getIndexAttr(parts)};
  auto loop = scf::ForallOp::create(b, from, to, step, places,
                                    /*mapping=*/std::nullopt);
  Value text = loop.getInductionVar(0), number = loop.getInductionVar(1);
  b.setInsertionPoint(loop.getTerminator());
  Value token = arith::MulIOp::create(b, number,
                                      arith::ConstantIndexOp::create(b, count));
  RankedTensorType part = tokens.clone({1, count, channels});
  RankedTensorType row = tokens.clone({1, channels});
  SmallVector<OpFoldResult> first{text, b.getIndexAttr(0)};
  Value state = tensor::ExtractSliceOp::create(
      b, tensorType(shift.getState()).clone(row.getShape()), shift.getState(),
      first, getAsIndexOpFoldResult(b.getContext(), row.getShape()),
      SmallVector<OpFoldResult>(2, b.getIndexAttr(1)));
  Value normalised, isFirst;
  if (parts > 1) {
    Value zero = arith::ConstantIndexOp::create(b, 0);
    Value one = arith::ConstantIndexOp::create(b, 1);
    Value before =
        arith::MaxSIOp::create(b, arith::SubIOp::create(b, token, one), zero);
    normalised = normalise(b, found, extractPart(b, x, text, before, row));
    isFirst = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, number, zero);
  }
  Value predecessor = chooseRow(b, tokens, state, normalised, isFirst);
  Value norm = normalise(b, found, extractPart(b, x, text, token, part));
  Value partLength;
  if (!found.keepsRows) {
    // The row is only read of the part in which the tokens end.
    Value rest = arith::SubIOp::create(b, keptLength, token);
    rest =
        arith::MaxSIOp::create(b, rest, arith::ConstantIndexOp::create(b, 1));
    rest = arith::MinSIOp::create(b, rest,
                                  arith::ConstantIndexOp::create(b, count));
    rest = arith::IndexCastOp::create(b, b.getI64Type(), rest);
    partLength = tensor::FromElementsOp::create(
        b, RankedTensorType::get({}, b.getI64Type()), rest);
  }
  auto shifted = wkv::TokenShiftOp::create(b, part, predecessor.getType(), norm,
                                           predecessor, partLength);
  SmallVector<Value> results;
  for (Value mu : mus)
    results.push_back(
        wkv::MixOp::create(b, part, norm, shifted.getShifted(), mu));
  // With an axis of tokens, as the place has one.
  results.push_back(
      found.keepsRows
          ? norm
          : Value(tensor::ExpandShapeOp::create(
                b, tokens.clone({1, 1, channels}), shifted.getNewState(),
                ArrayRef<ReassociationIndices>{{0, 1}, {2}})));
  b.setInsertionPointToEnd(loop.getTerminator().getBody());
  for (auto [result, place, type] :
       llvm::zip_equal(results, loop.getRegionIterArgs(), types)) {
    OpFoldResult at = type == kept ? number : token;
    SmallVector<int64_t> shape{1, type == kept ? 1 : count, channels};
    tensor::ParallelInsertSliceOp::create(
        b, result, place,
        SmallVector<OpFoldResult>{text, at, b.getIndexAttr(0)},
        getAsIndexOpFoldResult(b.getContext(), shape),
        SmallVector<OpFoldResult>(3, b.getIndexAttr(1)));
  }

  b.setInsertionPointAfter(loop);
  for (auto [mix, result] :
       llvm::zip_equal(found.mixes, loop.getResults().drop_back()))
    rewriter.replaceOp(mix, reshapeRows(b, result, tensorType(mix.getY())));
  ++numTiled;
  Value last = loop.getResults().back();
  if (found.keepsRows) {
    rewriter.replaceOp(found.norm,
                       reshapeRows(b, last, tensorType(found.norm.getY())));
    return;
  }
  // As the state of a shift of the one row that is kept.
  Value end = arith::DivSIOp::create(
      b,
      arith::SubIOp::create(b, keptLength,
                            arith::ConstantIndexOp::create(b, 1)),
      arith::ConstantIndexOp::create(b, count));
  Value keptRow = extractPart(b, last, b.getIndexAttr(0), end,
                              tokens.clone({texts, 1, channels}));
  auto newState = wkv::TokenShiftOp::create(b, keptRow.getType(),
                                            shift.getNewState().getType(),
                                            keptRow, shift.getState());
  rewriter.replaceAllUsesWith(shift.getNewState(), newState.getNewState());
}
