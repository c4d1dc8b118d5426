//===- ExternalizeWeights.cpp - Constants to the weights file -------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "mlir/IR/DialectResourceBlobManager.h"
#include "rwkvc/AOT/Interface.h"
#include "rwkvc/AOT/Passes.h"
#include "rwkvc/Support/Constants.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/StringMap.h"

namespace rwkvc::aot {
#define GEN_PASS_DEF_EXTERNALIZEWEIGHTS
#include "rwkvc/AOT/Passes.h.inc"
} // namespace rwkvc::aot

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::aot;

namespace {

struct ExternalizeWeightsPass
    : aot::impl::ExternalizeWeightsBase<ExternalizeWeightsPass> {
  using ExternalizeWeightsBase::ExternalizeWeightsBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    FailureOr<SmallVector<func::FuncOp>> entries = getEntries(module);
    if (failed(entries))
      return signalPassFailure();
    // All functions read the same weights, perhaps in other shapes.
    llvm::MapVector<Attribute, int64_t> offsets;
    llvm::StringMap<int64_t> places;
    SmallVector<WeightDescription> listed;
    llvm::MapVector<func::FuncOp, SmallVector<arith::ConstantOp>> constants;
    int64_t end = 0;
    for (func::FuncOp entry : *entries) {
      SmallVector<arith::ConstantOp> &own = constants[entry];
      entry.walk([&](arith::ConstantOp op) {
        if (!isWeight(op))
          return;
        own.push_back(op);
        auto [place, isNew] =
            places.try_emplace(identifyConstant(op.getValue()), end);
        offsets.insert({op.getValue(), place->second});
        if (!isNew)
          return;
        auto value = cast<ElementsAttr>(op.getValue());
        listed.push_back({nameWeight(value, listed.size()), end, value});
        end = getNextOffset(listed.back());
      });
    }
    setWeights(module, listed, end);
    numMoved += listed.size();
    numBytes += end;
    for (auto &[entry, own] : constants)
      replace(entry, own, offsets, end);
  }

  bool isWeight(arith::ConstantOp op) {
    auto type = dyn_cast<RankedTensorType>(op.getType());
    auto value = dyn_cast<ElementsAttr>(op.getValue());
    // A splat is cheaper as an immediate.
    return type && value && type.hasStaticShape() &&
           getNumBytes(type) >= minBytes &&
           (splats || !(isa<DenseElementsAttr>(value) &&
                        cast<DenseElementsAttr>(value).isSplat()));
  }

  void replace(func::FuncOp entry, ArrayRef<arith::ConstantOp> constants,
               const llvm::MapVector<Attribute, int64_t> &offsets,
               int64_t end) {
    Block &block = entry.getBody().front();
    Location loc = entry.getLoc();
    OpBuilder b = OpBuilder::atBlockBegin(&block);
    Value weights = block.addArgument(MemRefType::get(end, b.getI8Type()), loc);
    llvm::DenseMap<Attribute, Value> views;
    for (arith::ConstantOp op : constants) {
      Value &tensor = views[op.getValue()];
      if (!tensor) {
        auto type = cast<RankedTensorType>(op.getType());
        Value offset = arith::ConstantIndexOp::create(
            b, op.getLoc(), offsets.find(op.getValue())->second);
        Value view = memref::ViewOp::create(
            b, op.getLoc(),
            MemRefType::get(type.getShape(), type.getElementType()), weights,
            offset, ValueRange());
        tensor = bufferization::ToTensorOp::create(b, op.getLoc(), type, view,
                                                   /*restrict=*/true,
                                                   /*writable=*/false);
      }
      op.replaceAllUsesWith(tensor);
    }
    // Last, since the first constant may be where the builder inserts.
    for (arith::ConstantOp op : constants)
      op.erase();
    entry.setFunctionType(
        FunctionType::get(&getContext(), block.getArgumentTypes(), {}));
  }
};

} // namespace
