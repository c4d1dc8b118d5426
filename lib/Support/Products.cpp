//===- Products.cpp - Matrix products among linalg ops --------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "rwkvc/Support/Products.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;

/// What \p value widens to the sum's type, or \p value.
static Value skipExtension(Value value) {
  auto extension = value.getDefiningOp<arith::ExtFOp>();
  return extension ? extension.getIn() : value;
}

bool rwkvc::isProductBody(Block &body) {
  Value sum = body.getTerminator()->getOperand(0);
  Value c = body.getArguments().back();
  auto add = sum.getDefiningOp<arith::AddFOp>();
  if (!add || !llvm::is_contained(add->getOperands(), c))
    return false;
  Value term = add.getLhs() == c ? add.getRhs() : add.getLhs();
  auto multiply = term.getDefiningOp<arith::MulFOp>();
  if (!multiply)
    return false;
  Value a = skipExtension(multiply.getLhs());
  Value b = skipExtension(multiply.getRhs());
  if (a == body.getArgument(1))
    std::swap(a, b);
  return a == body.getArgument(0) && b == body.getArgument(1);
}

std::optional<unsigned> rwkvc::findAxis(AffineMap map, unsigned loop) {
  return map.getResultPosition(getAffineDimExpr(loop, map.getContext()));
}
