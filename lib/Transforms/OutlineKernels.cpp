//===- OutlineKernels.cpp - A function for each kernel --------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "mlir/Dialect/Linalg/Utils/Utils.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/Interfaces/ViewLikeInterface.h"
#include "mlir/Transforms/RegionUtils.h"
#include "rwkvc/AOT/Interface.h"
#include "rwkvc/Transforms/Kernels.h"
#include "rwkvc/Transforms/Passes.h"

namespace rwkvc {
#define GEN_PASS_DEF_OUTLINEKERNELS
#include "rwkvc/Transforms/Passes.h.inc"
} // namespace rwkvc

using namespace mlir;
using namespace rwkvc;

/// \p type with a dynamic offset where it has one that is not zero.
static Type withoutOffset(Type type) {
  auto memref = dyn_cast<MemRefType>(type);
  int64_t offset = 0;
  SmallVector<int64_t> strides;
  if (!memref || failed(memref.getStridesAndOffset(strides, offset)) ||
      offset == 0)
    return type;
  return MemRefType::get(
      memref.getShape(), memref.getElementType(),
      StridedLayoutAttr::get(type.getContext(), ShapedType::kDynamic, strides),
      memref.getMemorySpace());
}

/// Whether the copy is one move of memory; any other is a kernel.
static bool isOnePiece(memref::CopyOp copy) {
  auto source = cast<MemRefType>(copy.getSource().getType());
  auto target = cast<MemRefType>(copy.getTarget().getType());
  return source.areTrailingDimsContiguous(source.getRank()) &&
         target.areTrailingDimsContiguous(target.getRank());
}

namespace {

struct OutlineKernelsPass
    : rwkvc::impl::OutlineKernelsBase<OutlineKernelsPass> {
  using OutlineKernelsBase::OutlineKernelsBase;

  void runOnOperation() override {
    auto entries = aot::getEntries(getOperation());
    if (failed(entries))
      return signalPassFailure();
    SymbolTable symbols(getOperation());
    unsigned number = 0;
    for (func::FuncOp entry : *entries)
      outlineAll(entry, number, symbols);
    numKernels += number;
  }

  /// \p number counts on over all functions.
  void outlineAll(func::FuncOp entry, unsigned &number, SymbolTable &symbols) {
    SmallVector<memref::CopyOp> copies;
    entry.walk([&](memref::CopyOp copy) {
      if (keepRegions || !isOnePiece(copy))
        copies.push_back(copy);
    });
    for (memref::CopyOp copy : copies) {
      OpBuilder b(copy);
      linalg::makeMemRefCopyOp(b, copy.getLoc(), copy.getSource(),
                               copy.getTarget());
      copy.erase();
    }
    SmallVector<Operation *> ops;
    SmallVector<scf::ExecuteRegionOp> groups;
    entry.walk<WalkOrder::PreOrder>([&](Operation *op) {
      if (auto region = dyn_cast<scf::ExecuteRegionOp>(op);
          region && region->hasAttr(kIndependentAttr))
        groups.push_back(region);
      bool isRegion = keepRegions && isa<scf::ExecuteRegionOp>(op);
      if (!isRegion && !isKernel(op))
        return WalkResult::advance();
      ops.push_back(op);
      return WalkResult::skip();
    });
    for (Operation *op : ops) {
      bool isRegion = isa<scf::ExecuteRegionOp>(op);
      bool areIndependent = op->hasAttr(kIndependentAttr);
      func::FuncOp func =
          outline(op, ("kernel_" + Twine(number++)).str(), symbols);
      if (isRegion)
        inlineRegion(func, areIndependent);
    }
    if (keepRegions)
      return;
    for (scf::ExecuteRegionOp group : groups)
      // The table numbers them.
      inlineRegion(outline(group, "group", symbols), /*areIndependent=*/true);
  }

  /// Replaces the one region of \p func by what is in it.
  void inlineRegion(func::FuncOp func, bool areIndependent) {
    if (areIndependent)
      func->setAttr(kIndependentAttr, UnitAttr::get(&getContext()));
    Block &body = func.getBody().front();
    moveKernelsBefore(*body.getOps<scf::ExecuteRegionOp>().begin(),
                      body.getTerminator());
  }

  func::FuncOp outline(Operation *op, StringRef name, SymbolTable &symbols) {
    OpBuilder b(op);
    Location loc = op->getLoc();
    llvm::SetVector<Value> used(op->getOperands().begin(),
                                op->getOperands().end());
    getUsedValuesDefinedAbove(op->getRegions(), used);
    SmallVector<Value> inputs, operands;
    SmallVector<Operation *> constants;
    for (Value value : used) {
      if (Operation *def = value.getDefiningOp();
          def && def->hasTrait<OpTrait::ConstantLike>()) {
        constants.push_back(def);
        continue;
      }
      inputs.push_back(value);
      // Inside a region, types of views follow from those of what they view; so
      // do those of calls.
      bool isFixed =
          !isa<linalg::LinalgOp>(op) &&
          (!keepRegions || llvm::any_of(value.getUsers(), [&](Operation *user) {
            return op->isProperAncestor(user) && isa<ViewLikeOpInterface>(user);
          }));
      Type type = isFixed ? value.getType() : withoutOffset(value.getType());
      operands.push_back(type == value.getType()
                             ? value
                             : memref::CastOp::create(b, loc, type, value));
    }
    auto type = b.getFunctionType(TypeRange(ValueRange(operands)), {});
    auto kernel = func::FuncOp::create(loc, name, type);
    kernel.setPrivate();
    symbols.insert(kernel);
    Block *block = kernel.addEntryBlock();
    IRMapping mapping;
    for (auto [input, argument] : llvm::zip(inputs, block->getArguments()))
      mapping.map(input, argument);
    auto inner = OpBuilder::atBlockBegin(block);
    for (Operation *constant : constants)
      inner.clone(*constant, mapping);
    inner.clone(*op, mapping);
    func::ReturnOp::create(inner, loc);
    func::CallOp::create(b, loc, kernel, operands);
    op->erase();
    return kernel;
  }
};

} // namespace
