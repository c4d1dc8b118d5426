//===- SkipZeroRows.cpp - Rows of matrices that zeros multiply ------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "BodyAnalysis.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
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
using namespace rwkvc::cpu;

static bool isRectifiedTensor(Value tensor);

/// Whether \p value of a body is zero for about half of all inputs or more, as
/// rectified values are and what is proportional to them.
static bool isRectified(Value value) {
  if (auto argument = dyn_cast<BlockArgument>(value)) {
    auto op = dyn_cast<linalg::LinalgOp>(argument.getOwner()->getParentOp());
    return op && argument.getArgNumber() < op.getNumDpsInputs() &&
           isRectifiedTensor(op->getOperand(argument.getArgNumber()));
  }
  Operation *def = value.getDefiningOp();
  // Squares of squares are looked at once each.
  if (auto product = dyn_cast_or_null<arith::MulFOp>(def))
    return isRectified(product.getLhs()) ||
           (product.getLhs() != product.getRhs() &&
            isRectified(product.getRhs()));
  if (isa_and_nonnull<arith::ExtFOp, arith::TruncFOp, arith::FPToSIOp,
                      math::RoundEvenOp>(def))
    return isRectified(def->getOperand(0));
  auto isZero = [](Value operand) {
    return matchPattern(operand, m_AnyZeroFloat());
  };
  if (isa_and_nonnull<arith::MaximumFOp, arith::MaxNumFOp>(def))
    return llvm::any_of(def->getOperands(), isZero);
  auto select = dyn_cast_or_null<arith::SelectOp>(def);
  if (!select)
    return false;
  auto compare = select.getCondition().getDefiningOp<arith::CmpFOp>();
  if (compare && llvm::any_of(compare->getOperands(), isZero) &&
      (isZero(select.getTrueValue()) || isZero(select.getFalseValue())))
    return true;
  // What is no number has another in its place.
  return matchPattern(select.getFalseValue(), m_Constant()) &&
         isRectified(select.getTrueValue());
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
/// the row: of floats, or of integers in groups.
static std::optional<unsigned> findRow(linalg::LinalgOp op) {
  if (!op.hasPureTensorSemantics() || op.getNumDpsInits() != 1)
    return std::nullopt;
  SmallVector<int64_t> ranges = op.getStaticLoopRanges();
  SmallVector<utils::IteratorType> kinds = op.getIteratorTypesArray();
  SmallVector<unsigned> columns, summed;
  for (auto [loop, range] : llvm::enumerate(ranges))
    if (range != 1)
      (kinds[loop] == utils::IteratorType::parallel ? columns : summed)
          .push_back(loop);
  if (columns.size() != 1 || summed.empty())
    return std::nullopt;
  auto hasAxes = [&](unsigned input, bool hasColumns) {
    AffineMap map = op.getIndexingMapsArray()[input];
    return isa<RankedTensorType>(op->getOperand(input).getType()) &&
           map.isFunctionOfDim(columns[0]) == hasColumns &&
           llvm::all_of(summed, [&](unsigned loop) {
             return map.isFunctionOfDim(loop);
           });
  };
  bool isFloat = op.getNumDpsInputs() == 2 && summed.size() == 1 &&
                 isProductBody(*op.getBlock());
  if (!isFloat && !findGroupLoop(op))
    return std::nullopt;
  std::optional<unsigned> row;
  bool hasMatrix = false;
  for (unsigned i = 0; i < op.getNumDpsInputs(); ++i) {
    Type element = getElementTypeOrSelf(op->getOperand(i).getType());
    if (hasAxes(i, /*hasColumns=*/false) && (isFloat || element.isInteger()))
      row = i;
    else if (hasAxes(i, /*hasColumns=*/true))
      hasMatrix |= matchPattern(op->getOperand(i), m_Constant()) &&
                   (!isFloat || element.getIntOrFloatBitWidth() >= 16);
  }
  return hasMatrix ? row : std::nullopt;
}

namespace {

struct SkipZeroRowsPass : cpu::impl::SkipZeroRowsBase<SkipZeroRowsPass> {
  using SkipZeroRowsBase::SkipZeroRowsBase;

  void runOnOperation() override {
    getOperation().walk([&](linalg::LinalgOp op) {
      std::optional<unsigned> row = findRow(op);
      if (!row || !isRectifiedTensor(op->getOperand(*row)))
        return;
      op->setAttr(kSkipZerosAttr,
                  Builder(&getContext()).getI64IntegerAttr(*row));
      ++numProducts;
    });
  }
};

} // namespace
