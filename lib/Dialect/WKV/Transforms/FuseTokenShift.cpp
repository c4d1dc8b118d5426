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
#include "rwkvc/Support/Scalars.h"
#include "llvm/ADT/MapVector.h"

namespace rwkvc::wkv {
#define GEN_PASS_DEF_FUSETOKENSHIFT
#include "rwkvc/Dialect/WKV/Transforms/Passes.h.inc"
} // namespace rwkvc::wkv

using namespace mlir;
using namespace rwkvc;

namespace {

struct FuseTokenShiftPass : wkv::impl::FuseTokenShiftBase<FuseTokenShiftPass> {
  using FuseTokenShiftBase::FuseTokenShiftBase;

  void runOnOperation() override {
    SmallVector<wkv::MixOp> mixes;
    getOperation().walk([&](wkv::MixOp op) { mixes.push_back(op); });
    // A token and its predecessor, at one place; where forms were derived there
    // may be a reshape between the shift and the mixes.
    llvm::MapVector<std::tuple<Value, Value, Block *>, SmallVector<wkv::MixOp>>
        groups;
    for (wkv::MixOp mix : mixes)
      if (mix.getY().getType() == mix.getX().getType())
        groups[{mix.getX(), mix.getShifted(), mix->getBlock()}].push_back(mix);
    for (auto &[key, candidates] : groups)
      while (true) {
        SmallVector<wkv::MixOp> group = select(candidates);
        if (group.size() < 2)
          break;
        llvm::erase_if(candidates, [&](wkv::MixOp mix) {
          return llvm::is_contained(group, mix);
        });
        join(group);
      }
  }

  /// Those of \p mixes, which are in the order of their block, that one op can
  /// compute where the first of them stands.
  SmallVector<wkv::MixOp> select(SmallVector<wkv::MixOp> mixes) {
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
          ImplicitLocOpBuilder body(loc, nested);
          Value x = castFloat(body, args[0], compute);
          Value shifted = castFloat(body, args[1], compute);
          Value difference = arith::SubFOp::create(nested, loc, shifted, x);
          SmallVector<Value> targets;
          for (size_t i = 0; i < group.size(); ++i) {
            Value mu = castFloat(body, args[2 + i], compute);
            Value step = arith::MulFOp::create(nested, loc, difference, mu);
            Value y = arith::AddFOp::create(nested, loc, x, step);
            targets.push_back(castFloat(body, y, type.getElementType()));
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
