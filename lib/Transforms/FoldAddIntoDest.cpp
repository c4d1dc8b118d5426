//===- FoldAddIntoDest.cpp - Sums that begin at what is added -------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Matchers.h"
#include "rwkvc/Support/Reshapes.h"
#include "rwkvc/Transforms/Passes.h"

namespace rwkvc {
#define GEN_PASS_DEF_FOLDADDINTODEST
#include "rwkvc/Transforms/Passes.h.inc"
} // namespace rwkvc

using namespace mlir;
using namespace rwkvc;

static bool isView(Operation *op) {
  return isReshape(op) ||
         isa_and_nonnull<tensor::ExtractSliceOp, tensor::CastOp>(op);
}

/// Whether \p op adds two tensors of one shape, element by element, and does
/// nothing else.
static bool isSum(linalg::GenericOp op) {
  if (!op.hasPureTensorSemantics() || op.getNumDpsInputs() != 2 ||
      op.getNumDpsInits() != 1 || op.getNumReductionLoops() != 0 ||
      !llvm::all_of(op.getIndexingMapsArray(),
                    [](AffineMap map) { return map.isIdentity(); }))
    return false;
  Block &body = *op.getBlock();
  auto add = body.getTerminator()->getOperand(0).getDefiningOp<arith::AddFOp>();
  if (!add || !llvm::hasSingleElement(body.without_terminator()))
    return false;
  Value first = body.getArgument(0), second = body.getArgument(1);
  return (add.getLhs() == first && add.getRhs() == second) ||
         (add.getLhs() == second && add.getRhs() == first);
}

namespace {

/// A product behind reshapes: what reshapes it, from its result outwards.
struct Term {
  linalg::LinalgOp product;
  SmallVector<Operation *> reshapes;
};

} // namespace

/// Whether \p value, on which a product's sums begin, is zero everywhere.
static bool isZero(Value value) {
  if (auto fill = value.getDefiningOp<linalg::FillOp>())
    return matchPattern(fill.value(), m_AnyZeroFloat());
  return matchPattern(value, m_AnyZeroFloat());
}

/// Reads \p value as a product whose sums begin at zero and that nothing else
/// uses.
static FailureOr<Term> matchTerm(Value value) {
  Term term;
  Operation *op = skipReshapes(value, term.reshapes);
  term.product = dyn_cast_or_null<linalg::LinalgOp>(op);
  if (!term.product || !op->hasOneUse() ||
      !term.product.hasPureTensorSemantics() ||
      !linalg::isaContractionOpInterface(term.product) ||
      !isZero(term.product.getDpsInits()[0]))
    return failure();
  // Narrow sums would round at each step to the precision of the larger addend.
  Type element = getElementTypeOrSelf(value.getType());
  if (!element.isF32() && !element.isF64())
    return failure();
  return term;
}

/// Whether nothing but \p sum needs what \p addend holds, once \p product
/// begins: only then may the product overwrite it.
static bool endsBefore(Value addend, Operation *product, Operation *sum) {
  while (isView(addend.getDefiningOp()))
    addend = addend.getDefiningOp()->getOperand(0);
  // Arguments and constants are not ours to write, nor, in a loop, what its
  // other iterations see.
  Operation *def = addend.getDefiningOp();
  if (!isa_and_nonnull<linalg::LinalgOp>(def) ||
      def->getBlock() != product->getBlock())
    return false;
  SmallVector<Value> views{addend};
  while (!views.empty()) {
    for (OpOperand &use : views.pop_back_val().getUses()) {
      Operation *user = use.getOwner();
      if (user == sum)
        continue;
      if (isView(user)) {
        views.push_back(user->getResult(0));
        continue;
      }
      // What is updated by others has two successors, one of them a copy.
      auto style = dyn_cast<DestinationStyleOpInterface>(user);
      Operation *ancestor = product->getBlock()->findAncestorOpInBlock(*user);
      if (!ancestor || !ancestor->isBeforeInBlock(product) || !style ||
          style.isDpsInit(&use))
        return false;
    }
  }
  return true;
}

namespace {

struct FoldAddIntoDestPass
    : rwkvc::impl::FoldAddIntoDestBase<FoldAddIntoDestPass> {
  void runOnOperation() override {
    SmallVector<linalg::GenericOp> sums;
    getOperation().walk([&](linalg::GenericOp op) {
      if (isSum(op))
        sums.push_back(op);
    });
    for (linalg::GenericOp sum : sums) {
      Value left = sum.getInputs()[0], right = sum.getInputs()[1];
      if (fold(sum, left, right) || fold(sum, right, left))
        ++numFolded;
    }
  }

  /// Lets the product \p value begin at \p addend, if it is one that may.
  static bool fold(linalg::GenericOp sum, Value value, Value addend) {
    FailureOr<Term> term = matchTerm(value);
    if (failed(term) || addend == value ||
        addend.getType() != value.getType() ||
        sum.getResult(0).getType() != value.getType())
      return false;
    Operation *product = term->product;
    if (product->getBlock() != sum->getBlock())
      return false;
    // A product may wait for its addend, as nothing else waits for it.
    Operation *def = addend.getDefiningOp();
    Operation *start = def && def->getBlock() == product->getBlock() &&
                               product->isBeforeInBlock(def)
                           ? sum
                           : product;
    if (!endsBefore(addend, start, sum))
      return false;
    if (start == sum) {
      product->moveBefore(sum);
      for (Operation *op : term->reshapes)
        op->moveBefore(sum);
    }

    IRRewriter rewriter(product);
    OpOperand &init = term->product.getDpsInitsMutable()[0];
    init.set(undoReshapes(rewriter, term->reshapes, addend));
    rewriter.replaceOp(sum, value);
    return true;
  }
};

} // namespace
