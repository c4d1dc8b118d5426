//===- BodyAnalysis.cpp - What a linalg body computes ---------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "BodyAnalysis.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/Matchers.h"
#include "rwkvc/Support/Products.h"
#include "rwkvc/Transforms/Passes.h"

using namespace mlir;
using namespace rwkvc;

void cpu::forEachTerm(Value value, Block *body,
                      llvm::function_ref<void(Value)> visit,
                      llvm::function_ref<void(Operation *)> visitSum) {
  Operation *sum = value.getDefiningOp();
  if (!isa_and_nonnull<arith::AddFOp, arith::AddIOp>(sum) ||
      !sum->hasOneUse() || sum->getBlock() != body)
    return visit(value);
  visitSum(sum);
  forEachTerm(sum->getOperand(0), body, visit, visitSum);
  forEachTerm(sum->getOperand(1), body, visit, visitSum);
}

bool cpu::changesAlong(linalg::GenericOp op, Value value, unsigned loop) {
  if (auto argument = dyn_cast<BlockArgument>(value)) {
    if (argument.getOwner() != op.getBody())
      return false;
    OpOperand *operand = op.getMatchingOpOperand(argument);
    return op.isDpsInit(operand) ||
           op.getMatchingIndexingMap(operand).isFunctionOfDim(loop);
  }
  Operation *def = value.getDefiningOp();
  if (def->getBlock() != op.getBody())
    return false;
  if (auto index = dyn_cast<linalg::IndexOp>(def))
    return index.getDim() == loop;
  return llvm::any_of(def->getOperands(), [&](Value operand) {
    return changesAlong(op, operand, loop);
  });
}

std::optional<int64_t> cpu::countSignificantBits(Value value) {
  int64_t width = value.getType().getIntOrFloatBitWidth();
  if (isa<BlockArgument>(value))
    return width;
  Operation *def = value.getDefiningOp();
  if (APInt constant; matchPattern(value, m_ConstantInt(&constant)))
    return constant.getSignificantBits();
  if (auto extension = dyn_cast<arith::ExtSIOp>(def))
    return countSignificantBits(extension.getIn());
  if (auto extension = dyn_cast<arith::ExtUIOp>(def))
    return extension.getIn().getType().getIntOrFloatBitWidth() + 1;
  if (isa<arith::AndIOp>(def)) {
    APInt mask;
    if (!matchPattern(def->getOperand(1), m_ConstantInt(&mask)) ||
        mask.isNegative())
      return std::nullopt;
    return mask.getActiveBits() + 1;
  }
  if (!isa<arith::ShLIOp, arith::ShRSIOp, arith::ShRUIOp, arith::MulIOp,
           arith::AddIOp, arith::SubIOp>(def))
    return std::nullopt;
  std::optional<int64_t> left = countSignificantBits(def->getOperand(0));
  if (isa<arith::ShLIOp, arith::ShRSIOp, arith::ShRUIOp>(def)) {
    APInt amount;
    // What is shifted in from above must be copies of the sign.
    if (!left || !matchPattern(def->getOperand(1), m_ConstantInt(&amount)) ||
        (isa<arith::ShRUIOp>(def) &&
         !def->getOperand(0).getDefiningOp<arith::ExtUIOp>()))
      return std::nullopt;
    int64_t shift = amount.getLimitedValue(width);
    return isa<arith::ShLIOp>(def) ? std::min(width, *left + shift)
                                   : std::max<int64_t>(1, *left - shift);
  }
  std::optional<int64_t> right = countSignificantBits(def->getOperand(1));
  if (!left || !right)
    return std::nullopt;
  int64_t bits =
      isa<arith::MulIOp>(def) ? *left + *right : std::max(*left, *right) + 1;
  return std::min(width, bits);
}

std::optional<unsigned> cpu::findGroupLoop(linalg::LinalgOp op) {
  std::optional<unsigned> found;
  // What says how much of a loop is needed is not multiplied.
  int64_t numInputs = op.getNumDpsInputs() - op->hasAttr(kNeededAttr);
  bool isProduct = numInputs == 2 && op.getNumDpsInits() == 1 &&
                   isProductBody(*op.getBlock());
  for (auto [loop, kind] : llvm::enumerate(op.getIteratorTypesArray())) {
    int64_t size = op.getStaticLoopRanges()[loop];
    if (kind != utils::IteratorType::reduction || (size != 2 && size != 4))
      continue;
    unsigned count = 0;
    bool isGroup = true;
    for (OpOperand *input : op.getDpsInputOperands()) {
      AffineMap map = op.getMatchingIndexingMap(input);
      if (!map.isFunctionOfDim(loop))
        continue;
      Type element = getElementTypeOrSelf(input->get().getType());
      bool isSmall =
          (element.isInteger() && element.getIntOrFloatBitWidth() > 1) ||
          (element.isBF16() && isProduct);
      isSmall &= element.getIntOrFloatBitWidth() * size <= 32;
      isGroup &= isSmall &&
                 map.getResultPosition(getAffineDimExpr(loop, op.getContext()));
      ++count;
    }
    if (isGroup && count >= 2)
      found = loop;
  }
  return found;
}

int64_t cpu::findLargest(Value value) {
  Operation *def = value.getDefiningOp();
  APInt number;
  if (!def || def->getNumOperands() != 2 ||
      !matchPattern(def->getOperand(1), m_ConstantInt(&number)))
    return 255;
  int64_t right = number.getZExtValue(), left = findLargest(def->getOperand(0));
  if (isa<arith::AndIOp>(def))
    return std::min(left, right);
  if (isa<arith::ShRUIOp>(def))
    return left >> right;
  if (isa<arith::XOrIOp>(def))
    return (int64_t(2) << llvm::Log2_64(std::max(left, right) | 1)) - 1;
  return 255;
}
