//===- CloneKernels.cpp - Kernels for several processors ------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "BodyAnalysis.h"
#include "rwkvc/Target/CPU/Passes.h"

namespace rwkvc::cpu {
#define GEN_PASS_DEF_CLONEKERNELS
#include "rwkvc/Target/CPU/Passes.h.inc"
} // namespace rwkvc::cpu

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::cpu;

/// Whether a copy of \p func can stand elsewhere and be called by an address.
static bool isKernel(func::FuncOp func) {
  if (!func.isPrivate() || func.isExternal() || func.getNumResults() != 0)
    return false;
  std::optional<SymbolTable::UseRange> uses =
      SymbolTable::getSymbolUses(&func.getBody());
  return uses && uses->empty();
}

/// Whether \p kernel has products that processors add in instructions of their
/// own: of integers, but those that find addresses, or of pairs of bf16.
static bool addsProducts(func::FuncOp kernel) {
  return kernel
      .walk([](Operation *op) {
        auto product = dyn_cast<arith::MulIOp>(op);
        auto sum = dyn_cast<linalg::LinalgOp>(op);
        bool isFound = (product && !product.getType().isIndex()) ||
                       (sum && findGroupLoop(sum));
        return isFound ? WalkResult::interrupt() : WalkResult::advance();
      })
      .wasInterrupted();
}

namespace {

struct CloneKernelsPass : cpu::impl::CloneKernelsBase<CloneKernelsPass> {
  using CloneKernelsBase::CloneKernelsBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    if (levels.size() != vectorBits.size() ||
        (!dotProducts.empty() && levels.size() != dotProducts.size()) ||
        (!streamedBytes.empty() && levels.size() != streamedBytes.size())) {
      module.emitError("as many levels as widths of their registers, as "
                       "instructions for products, and as bytes of streamed "
                       "weights expected");
      return signalPassFailure();
    }
    SmallVector<int64_t> ofLevels(bases.begin(), bases.end());
    if (ofLevels.empty())
      ofLevels.assign(levels.size(), -1);
    bool areEarlier = ofLevels.size() == levels.size();
    for (size_t i = 0; i < ofLevels.size() && areEarlier; ++i)
      areEarlier = ofLevels[i] < static_cast<int64_t>(i) &&
                   (ofLevels[i] < 0 || ofLevels[ofLevels[i]] < 0);
    if (!areEarlier) {
      module.emitError("a base for each level expected, an earlier one without "
                       "a base or -1");
      return signalPassFailure();
    }
    SmallVector<func::FuncOp> kernels(
        llvm::make_filter_range(module.getOps<func::FuncOp>(), isKernel));
    auto b = OpBuilder::atBlockEnd(module.getBody());
    for (auto [i, name] : llvm::enumerate(levels)) {
      auto level = ModuleOp::create(b, module.getLoc(), name);
      level->setAttr(kVectorBitsAttr, b.getI64IntegerAttr(vectorBits[i]));
      if (!dotProducts.empty())
        level->setAttr(kDotProductsAttr, b.getStringAttr(dotProducts[i]));
      if (!streamedBytes.empty() && streamedBytes[i] > 0)
        level->setAttr(kStreamedBytesAttr,
                       b.getI64IntegerAttr(streamedBytes[i]));
      int64_t base = ofLevels[i];
      if (base >= 0)
        level->setAttr(kBaseAttr, b.getStringAttr(levels[base]));
      auto inner = OpBuilder::atBlockBegin(level.getBody());
      for (func::FuncOp kernel : kernels)
        if (base < 0 || addsProducts(kernel))
          inner.clone(*kernel);
    }
    for (func::FuncOp kernel : kernels)
      kernel.eraseBody();
    numKernels += kernels.size();
  }
};

} // namespace
