//===- SkipZeroRows.cpp - Rows of matrices that zeros multiply ------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/IR/Matchers.h"
#include "rwkvc/Support/Products.h"
#include "rwkvc/Support/Reshapes.h"
#include "rwkvc/Target/CPU/Passes.h"

namespace rwkvc::cpu {
#define GEN_PASS_DEF_SKIPZEROROWS
#include "rwkvc/Target/CPU/Passes.h.inc"
} // namespace rwkvc::cpu

using namespace mlir;
using namespace rwkvc;

/// Whether \p value of a body is zero for about half of all inputs or more, as
/// rectified values are and what is proportional to them.
static bool isRectified(Value value) {
  Operation *def = value.getDefiningOp();
  if (isa_and_nonnull<arith::MulFOp>(def))
    return llvm::any_of(def->getOperands(), isRectified);
  if (isa_and_nonnull<arith::ExtFOp, arith::TruncFOp>(def))
    return isRectified(def->getOperand(0));
  auto isZero = [](Value operand) {
    return matchPattern(operand, m_AnyZeroFloat());
  };
  if (isa_and_nonnull<arith::MaximumFOp, arith::MaxNumFOp>(def))
    return llvm::any_of(def->getOperands(), isZero);
  auto select = dyn_cast_or_null<arith::SelectOp>(def);
  auto compare =
      select ? select.getCondition().getDefiningOp<arith::CmpFOp>() : nullptr;
  return compare && llvm::any_of(compare->getOperands(), isZero) &&
         (isZero(select.getTrueValue()) || isZero(select.getFalseValue()));
}

/// Whether an op computed the elements of \p tensor so.
static bool isRectifiedTensor(Value tensor) {
  auto result = dyn_cast<OpResult>(getReshapeSource(tensor));
  auto op = result ? dyn_cast<linalg::LinalgOp>(result.getOwner()) : nullptr;
  return op && op.getNumReductionLoops() == 0 &&
         isRectified(op.getBlock()->getTerminator()->getOperand(
             result.getResultNumber()));
}

/// The operand of \p op , a product of one row with a constant matrix, that is
/// the row.
static std::optional<unsigned> findRow(linalg::LinalgOp op) {
  if (!op.hasPureTensorSemantics() || op.getNumDpsInputs() != 2 ||
      op.getNumDpsInits() != 1 || op.getNumReductionLoops() != 1 ||
      !isProductBody(*op.getBlock()))
    return std::nullopt;
  SmallVector<int64_t> ranges = op.getStaticLoopRanges();
  SmallVector<AffineMap> maps = op.getIndexingMapsArray();
  if (llvm::count_if(ranges, [](int64_t range) { return range != 1; }) != 2)
    return std::nullopt;
  for (unsigned matrix : {1u, 0u}) {
    auto type = dyn_cast<RankedTensorType>(op->getOperand(matrix).getType());
    bool hasAll = type && type.getElementTypeBitWidth() >= 16 &&
                  matchPattern(op->getOperand(matrix), m_Constant());
    for (auto [loop, range] : llvm::enumerate(ranges)) {
      bool isSum =
          op.getIteratorTypesArray()[loop] == utils::IteratorType::reduction;
      if (range != 1)
        hasAll &= maps[matrix].isFunctionOfDim(loop) &&
                  maps[1 - matrix].isFunctionOfDim(loop) == isSum;
    }
    if (hasAll)
      return 1 - matrix;
  }
  return std::nullopt;
}

namespace {

struct SkipZeroRowsPass : cpu::impl::SkipZeroRowsBase<SkipZeroRowsPass> {
  using SkipZeroRowsBase::SkipZeroRowsBase;

  void runOnOperation() override {
    getOperation().walk([&](linalg::LinalgOp op) {
      std::optional<unsigned> row = findRow(op);
      if (!row || !isRectifiedTensor(op->getOperand(*row)))
        return;
      op->setAttr(cpu::kSkipZerosAttr,
                  Builder(&getContext()).getI64IntegerAttr(*row));
      ++numProducts;
    });
  }
};

} // namespace
