//===- ShareWeights.cpp - One weights file for two modules ----------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/Matchers.h"
#include "rwkvc/AOT/WeightsFile.h"
#include "llvm/ADT/StringMap.h"

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::aot;

/// New offsets of a module's weights, by the old ones.
using Offsets = llvm::DenseMap<int64_t, int64_t>;

/// Makes the views into the weights of \p entry , its last argument, follow
/// \p offsets in \p size bytes of data.
static LogicalResult moveViews(func::FuncOp entry, const Offsets &offsets,
                               int64_t size) {
  Block &block = entry.getBody().front();
  BlockArgument weights = block.getArguments().back();
  weights.setType(
      MemRefType::get(size, IntegerType::get(entry.getContext(), 8)));
  entry.setFunctionType(FunctionType::get(
      entry.getContext(), block.getArgumentTypes(), entry.getResultTypes()));
  for (OpOperand &use : weights.getUses()) {
    auto view = dyn_cast<memref::ViewOp>(use.getOwner());
    APInt offset;
    if (!view || !matchPattern(view.getByteShift(), m_ConstantInt(&offset)))
      return use.getOwner()->emitOpError()
             << "reads the weights otherwise than by a view of one of them; "
                "the processor's and the devices' cannot be put into one file";
    auto moved = offsets.find(offset.getSExtValue());
    if (moved == offsets.end())
      return view.emitOpError() << "is at byte " << offset.getSExtValue()
                                << " of the weights, where the attribute '"
                                << kWeightsAttr << "' lists none";
    OpBuilder b(view);
    view.getByteShiftMutable().assign(
        arith::ConstantIndexOp::create(b, view.getLoc(), moved->second));
  }
  return success();
}

LogicalResult aot::shareWeights(ModuleOp processor, ModuleOp devices) {
  ModuleOp modules[] = {processor, devices};
  SmallVector<WeightDescription> lists[] = {readWeights(processor),
                                            readWeights(devices)};
  llvm::StringMap<int64_t> counts;
  for (ArrayRef<WeightDescription> list : lists)
    for (const WeightDescription &weight : list)
      ++counts[identifyConstant(weight.value)];
  // In this order each module's are one range.
  SmallVector<WeightDescription> own[2], all;
  Offsets offsets[2];
  llvm::StringMap<size_t> placed;
  int64_t end = 0;
  auto place = [&](unsigned side, bool isShared) {
    for (const WeightDescription &weight : lists[side]) {
      std::string identity = identifyConstant(weight.value);
      if ((counts[identity] > 1) != isShared)
        continue;
      auto [number, isNew] = placed.try_emplace(identity, all.size());
      if (isNew) {
        all.push_back(
            {nameWeight(weight.value, all.size()), end, weight.value});
        end = getNextOffset(all.back());
      }
      const WeightDescription &moved = all[number->second];
      own[side].push_back(moved);
      offsets[side][weight.offset] = moved.offset;
    }
  };
  place(0, /*isShared=*/false);
  place(0, /*isShared=*/true);
  place(1, /*isShared=*/true);
  place(1, /*isShared=*/false);
  for (auto [side, module] : llvm::enumerate(modules)) {
    FailureOr<SmallVector<func::FuncOp>> entries = getEntries(module);
    if (failed(entries))
      return failure();
    setWeights(module, own[side], end);
    for (func::FuncOp entry : *entries)
      if (failed(moveViews(entry, offsets[side], end)))
        return failure();
  }
  return success();
}
