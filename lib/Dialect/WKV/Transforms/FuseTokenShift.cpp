//===- FuseTokenShift.cpp - All interpolations of a token shift at once ---===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Dominance.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "rwkvc/Dialect/WKV/IR/WKV.h"
#include "rwkvc/Dialect/WKV/Transforms/Passes.h"

namespace rwkvc::wkv {
#define GEN_PASS_DEF_FUSETOKENSHIFT
#include "rwkvc/Dialect/WKV/Transforms/Passes.h.inc"
} // namespace rwkvc::wkv

using namespace mlir;
using namespace rwkvc;

/// \p value as an element of \p type.
static Value castTo(OpBuilder &b, Location loc, Value value, Type type) {
  unsigned from = value.getType().getIntOrFloatBitWidth();
  unsigned to = type.getIntOrFloatBitWidth();
  if (from < to)
    return arith::ExtFOp::create(b, loc, type, value);
  if (from > to)
    return arith::TruncFOp::create(b, loc, type, value);
  return value;
}

namespace {

struct FuseTokenShiftPass : wkv::impl::FuseTokenShiftBase<FuseTokenShiftPass> {
  using FuseTokenShiftBase::FuseTokenShiftBase;

  void runOnOperation() override {
    SmallVector<wkv::TokenShiftOp> shifts;
    getOperation().walk([&](wkv::TokenShiftOp op) { shifts.push_back(op); });
    for (wkv::TokenShiftOp shift : shifts)
      while (true) {
        SmallVector<wkv::MixOp> group = collect(shift);
        if (group.size() < 2)
          break;
        join(group);
      }
  }

  /// Mixes of \p shift that one op can compute where the first of them stands.
  SmallVector<wkv::MixOp> collect(wkv::TokenShiftOp shift) {
    SmallVector<wkv::MixOp> mixes;
    for (Operation *user : shift.getShifted().getUsers()) {
      auto mix = dyn_cast<wkv::MixOp>(user);
      if (mix && mix.getX() == shift.getX() &&
          mix.getShifted() == shift.getShifted() &&
          mix.getY().getType() == mix.getX().getType() &&
          mix->getBlock() == shift->getBlock() &&
          !llvm::is_contained(mixes, mix))
        mixes.push_back(mix);
    }
    llvm::sort(mixes, [](wkv::MixOp a, wkv::MixOp b) {
      return a->isBeforeInBlock(b);
    });
    DominanceInfo dominance;
    while (mixes.size() > 1) {
      SmallVector<wkv::MixOp> group;
      for (wkv::MixOp mix : mixes)
        if (dominance.properlyDominates(mix.getMu(), mixes.front()) &&
            static_cast<int64_t>(group.size()) < maxTargets)
          group.push_back(mix);
      if (group.size() > 1)
        return group;
      mixes.erase(mixes.begin());
    }
    return {};
  }

  void join(ArrayRef<wkv::MixOp> group) {
    wkv::MixOp first = group.front();
    ImplicitLocOpBuilder b(first.getLoc(), first);
    auto type = cast<RankedTensorType>(first.getX().getType());
    int64_t rank = type.getRank();
    // As the conversion of a single mix computes.
    Type compute = type.getElementType().getIntOrFloatBitWidth() < 32
                       ? b.getF32Type()
                       : type.getElementType();
    SmallVector<Value> inputs{first.getX(), first.getShifted()}, outputs;
    SmallVector<AffineMap> maps(2, b.getMultiDimIdentityMap(rank));
    for (wkv::MixOp mix : group) {
      auto mu = cast<RankedTensorType>(mix.getMu().getType());
      SmallVector<AffineExpr> exprs;
      for (auto [i, size] : llvm::enumerate(mu.getShape())) {
        int64_t axis = rank - mu.getRank() + static_cast<int64_t>(i);
        exprs.push_back(size == 1 && type.getDimSize(axis) != 1
                            ? b.getAffineConstantExpr(0)
                            : b.getAffineDimExpr(axis));
      }
      maps.push_back(AffineMap::get(rank, 0, exprs, b.getContext()));
      inputs.push_back(mix.getMu());
    }
    SmallVector<Type> types(group.size(), type);
    for (size_t i = 0; i < group.size(); ++i) {
      maps.push_back(b.getMultiDimIdentityMap(rank));
      outputs.push_back(
          tensor::EmptyOp::create(b, type.getShape(), type.getElementType()));
    }
    SmallVector<utils::IteratorType> kinds(rank, utils::IteratorType::parallel);
    auto joined = linalg::GenericOp::create(
        b, types, inputs, outputs, maps, kinds,
        [&](OpBuilder &nested, Location loc, ValueRange args) {
          Value x = castTo(nested, loc, args[0], compute);
          Value shifted = castTo(nested, loc, args[1], compute);
          Value difference = arith::SubFOp::create(nested, loc, shifted, x);
          SmallVector<Value> targets;
          for (size_t i = 0; i < group.size(); ++i) {
            Value mu = castTo(nested, loc, args[2 + i], compute);
            Value step = arith::MulFOp::create(nested, loc, difference, mu);
            Value y = arith::AddFOp::create(nested, loc, x, step);
            targets.push_back(castTo(nested, loc, y, type.getElementType()));
          }
          linalg::YieldOp::create(nested, loc, targets);
        });
    for (auto [mix, result] : llvm::zip_equal(group, joined.getResults())) {
      mix->replaceAllUsesWith(ValueRange(result));
      mix->erase();
    }
    ++numGroups;
    numMixes += group.size();
  }
};

} // namespace
