//===- FuseEpilogues.cpp - Elementwise ops become post-ops ----------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/Matchers.h"
#include "rwkvc/Dialect/Dnnl/Transforms/Passes.h"
#include "rwkvc/Support/Reshapes.h"

namespace rwkvc::dnnl {
#define GEN_PASS_DEF_FUSEEPILOGUES
#include "rwkvc/Dialect/Dnnl/Transforms/Passes.h.inc"
} // namespace rwkvc::dnnl

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::dnnl;

namespace {

/// The body of an elementwise op read as functions applied to one of its
/// arguments, one after the other.
class Epilogue {
public:
  explicit Epilogue(linalg::GenericOp op) : op(op), body(*op.getBlock()) {}

  /// Whether the whole body is such a chain from \p start.
  bool match(BlockArgument start) {
    value = start;
    while (value != body.getTerminator()->getOperand(0))
      if (!matchUnary() && !matchBinary())
        return false;
    auto isFree = [](Operation &inner) {
      return matchPattern(&inner, m_Constant());
    };
    return value != start && value.hasOneUse() &&
           numMatched ==
               llvm::count_if(body.without_terminator(), std::not_fn(isFree));
  }

  SmallVector<PostOp> functions;
  SmallVector<OpOperand *> others; ///< of binary functions, in their order

private:
  bool advance(PostOp function, Operation *result, int64_t numOps) {
    functions.push_back(function);
    value = result->getResult(0);
    numMatched += numOps;
    return true;
  }

  bool matchUnary();
  bool matchBinary();
  bool isUsable(OpOperand &other);

  linalg::GenericOp op;
  Block &body;
  Value value; ///< what the functions so far result in
  int64_t numMatched = 0;
};

/// The only user of \p op's result, if it is an \p Op.
template <typename Op> Op onlyUser(Operation *op) {
  return op->hasOneUse() ? dyn_cast<Op>(*op->user_begin()) : Op();
}

/// The operand of the commutative \p op beside \p value.
Value beside(Operation *op, Value value) {
  return op->getOperand(op->getOperand(0) == value ? 1 : 0);
}

/// 1 + exp(-x), where \p negation is -x.
arith::AddFOp matchLogisticDivisor(arith::NegFOp negation) {
  auto power = onlyUser<math::ExpOp>(negation);
  auto sum = power ? onlyUser<arith::AddFOp>(power) : arith::AddFOp();
  return sum && matchPattern(beside(sum, power.getResult()), m_OneFloat())
             ? sum
             : arith::AddFOp();
}

} // namespace

bool Epilogue::matchUnary() {
  SmallVector<Operation *> users(value.getUsers());
  if (users.size() == 2 && users[0] == users[1])
    return isa<arith::MulFOp>(users[0]) && advance(PostOp::Square, users[0], 1);

  // x / (1 + exp(-x)), or x times the inverse.
  auto logistic = [&](Operation *user) {
    auto negation = dyn_cast<arith::NegFOp>(user);
    auto sum = negation ? matchLogisticDivisor(negation) : arith::AddFOp();
    auto quotient = sum ? onlyUser<arith::DivFOp>(sum) : arith::DivFOp();
    return quotient && quotient.getRhs() == sum.getResult() ? quotient
                                                            : arith::DivFOp();
  };
  if (users.size() == 2)
    for (Operation *user : users) {
      arith::DivFOp quotient = logistic(user);
      if (!quotient)
        continue;
      if (quotient.getLhs() == value)
        return advance(PostOp::Swish, quotient, 4);
      auto product = onlyUser<arith::MulFOp>(quotient);
      return product && matchPattern(quotient.getLhs(), m_OneFloat()) &&
             beside(product, quotient.getResult()) == value &&
             advance(PostOp::Swish, product, 5);
    }
  if (users.size() != 1)
    return false;
  if (arith::DivFOp quotient = logistic(users[0]))
    return matchPattern(quotient.getLhs(), m_OneFloat()) &&
           advance(PostOp::Logistic, quotient, 4);
  if (isa<math::TanhOp>(users[0]))
    return advance(PostOp::Tanh, users[0], 1);
  return isa<arith::MaximumFOp, arith::MaxNumFOp>(users[0]) &&
         matchPattern(beside(users[0], value), m_AnyZeroFloat()) &&
         advance(PostOp::Relu, users[0], 1);
}

bool Epilogue::matchBinary() {
  if (!value.hasOneUse())
    return false;
  Operation *user = *value.user_begin();
  if (!isa<arith::AddFOp, arith::MulFOp>(user))
    return false;
  auto other = dyn_cast<BlockArgument>(beside(user, value));
  if (!other || other.getOwner() != &body || !other.hasOneUse())
    return false;
  OpOperand &operand = op->getOpOperand(other.getArgNumber());
  if (!op.isDpsInput(&operand) || !isUsable(operand))
    return false;
  others.push_back(&operand);
  return advance(isa<arith::AddFOp>(user) ? PostOp::Add : PostOp::Mul, user, 1);
}

/// Whether \p other has the result's shape or is a row of it, and f32.
bool Epilogue::isUsable(OpOperand &other) {
  auto type = dyn_cast<RankedTensorType>(other.get().getType());
  if (!type || !type.getElementType().isF32())
    return false;
  AffineMap map = op.getMatchingIndexingMap(&other);
  unsigned loops = op.getNumLoops();
  return map.isIdentity() ||
         (map.getNumResults() == 1 &&
          map.getResult(0) == getAffineDimExpr(loops - 1, op.getContext()));
}

namespace {

struct FuseEpiloguesPass : dnnl::impl::FuseEpiloguesBase<FuseEpiloguesPass> {
  void runOnOperation() override {
    SmallVector<linalg::GenericOp> ops;
    getOperation()->walk([&](linalg::GenericOp op) {
      if (op.hasPureTensorSemantics() && op.getNumDpsInits() == 1 &&
          op.getNumReductionLoops() == 0 && op.getNumLoops() > 1 &&
          op.getMatchingIndexingMap(op.getDpsInitOperand(0)).isIdentity())
        ops.push_back(op);
    });
    for (linalg::GenericOp op : ops)
      for (OpOperand *input : op.getDpsInputOperands())
        if (fuse(op, *input)) {
          ++numFused;
          break;
        }
  }

  /// Applies \p op in the product that is its operand \p input, if it can be.
  static bool fuse(linalg::GenericOp op, OpOperand &input) {
    Value value = input.get();
    if (!value.hasOneUse() || !op.getMatchingIndexingMap(&input).isIdentity() ||
        value.getType() != op.getResult(0).getType())
      return false;
    SmallVector<Operation *> reshapes;
    auto product = dyn_cast_or_null<MatmulOp>(skipReshapes(value, reshapes));
    if (!product || !product->hasOneUse() ||
        product->getBlock() != op->getBlock())
      return false;
    Epilogue epilogue(op);
    if (!epilogue.match(op.getMatchingBlockArgument(&input)))
      return false;

    auto shape = cast<RankedTensorType>(product.getC().getType()).getShape();
    for (OpOperand *other : epilogue.others) {
      auto type = cast<RankedTensorType>(other->get().getType());
      // A row is one of the product only if the reshapes leave rows alone.
      if (!op.getMatchingIndexingMap(other).isIdentity() &&
          (shape.size() != 2 || type.getShape().back() != shape.back()))
        return false;
    }
    SmallVector<PostOp> functions = product.getPostOpList();
    llvm::append_range(functions, epilogue.functions);
    if (static_cast<int64_t>(functions.size()) > MatmulOp::kMaxPostOps ||
        llvm::count_if(functions, isBinary) > MatmulOp::kMaxOthers)
      return false;
    rewrite(op, product, reshapes, epilogue.others, functions);
    op.replaceAllUsesWith(ValueRange{value});
    op.erase();
    return true;
  }

  static void rewrite(linalg::GenericOp op, MatmulOp product,
                      ArrayRef<Operation *> reshapes,
                      ArrayRef<OpOperand *> others,
                      ArrayRef<PostOp> functions) {
    // Nobody waits for the product but its epilogue, whose other operands may
    // come later than it.
    if (!others.empty()) {
      product->moveBefore(op);
      for (Operation *reshape : reshapes)
        reshape->moveBefore(op);
    }
    OpBuilder builder(product);
    for (OpOperand *other : others) {
      Value operand = other->get();
      if (op.getMatchingIndexingMap(other).isIdentity())
        operand = undoReshapes(builder, reshapes, operand);
      product.getOthersMutable().append(operand);
    }
    product.setPostOpsAttr(builder.getArrayAttr(
        llvm::map_to_vector(functions, [&](PostOp function) -> Attribute {
          return PostOpAttr::get(builder.getContext(), function);
        })));
    product->setLoc(builder.getFusedLoc({product.getLoc(), op.getLoc()}));
  }
};

} // namespace
