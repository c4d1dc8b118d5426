//===- QuantizeActivations.cpp - Integer products with integer weights ----===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "KernelSchedule.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/Matchers.h"
#include "rwkvc/Support/Constants.h"
#include "rwkvc/Support/Products.h"
#include "rwkvc/Support/Reshapes.h"
#include "rwkvc/Support/Scalars.h"
#include "rwkvc/Target/CPU/Passes.h"
#include "llvm/ADT/MapVector.h"

namespace rwkvc::cpu {
#define GEN_PASS_DEF_QUANTIZEACTIVATIONS
#include "rwkvc/Target/CPU/Passes.h.inc"
} // namespace rwkvc::cpu

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::cpu;

/// Activations are from -kLargest to kLargest times a scale.
static constexpr int64_t kLargest = 32767, kActivationBits = 16;
/// A block whose largest magnitude is smaller is zero.
static constexpr double kSmallestBlock = 1e-30;

namespace {

/// An activation times an integer weight.
struct Term {
  unsigned activation; ///< number of the operand
  Value weight;        ///< integer in the body, with a sign unless it is a
                       ///< number of the matrix
  bool isUnsigned;
};

/// acc + factor * sum of terms, over blocks and over what is in a block, the
/// loop that the factor does not depend on.
struct BlockProduct {
  linalg::GenericOp op;
  unsigned inBlock, column; ///< loops
  SmallVector<Term, 2> terms;
  Value factor;
  SmallVector<unsigned, 2> constants; ///< operands that have the column's axis

  Value getActivation() const {
    linalg::GenericOp product = op;
    return product->getOperand(terms.front().activation);
  }
};

} // namespace

/// Adds the terms of \p sum to \p terms ; false if it is no sum of products of
/// an activation and an integer.
static bool collectTerms(linalg::GenericOp op, Value sum,
                         SmallVectorImpl<Term> &terms) {
  if (auto add = sum.getDefiningOp<arith::AddFOp>())
    return collectTerms(op, add.getLhs(), terms) &&
           collectTerms(op, add.getRhs(), terms);
  auto product = sum.getDefiningOp<arith::MulFOp>();
  if (!product)
    return false;
  for (unsigned i : {0u, 1u}) {
    Operation *number = product->getOperand(i).getDefiningOp();
    Value other = product->getOperand(1 - i);
    if (auto extension = other.getDefiningOp<arith::ExtFOp>())
      other = extension.getIn();
    auto activation = dyn_cast<BlockArgument>(other);
    if (!isa_and_nonnull<arith::SIToFPOp, arith::UIToFPOp>(number) ||
        !activation || activation.getOwner() != op.getBody() ||
        op.isDpsInit(op.getMatchingOpOperand(activation)))
      continue;
    Value weight = number->getOperand(0);
    bool isUnsigned = isa<arith::UIToFPOp>(number);
    if (isUnsigned && !isa<BlockArgument>(weight))
      return false;
    terms.push_back({activation.getArgNumber(), weight, isUnsigned});
    return true;
  }
  return false;
}

static std::optional<BlockProduct> match(linalg::GenericOp op) {
  if (!op.hasPureTensorSemantics() || op.hasIndexSemantics() ||
      op.getNumDpsInits() != 1 || op.getNumReductionLoops() != 2 ||
      op->getParentOfType<scf::ForallOp>() ||
      llvm::any_of(op.getStaticLoopRanges(), ShapedType::isDynamic))
    return std::nullopt;
  BlockProduct product;
  product.op = op;
  // The body.
  Value accumulator = op.getRegionOutputArgs()[0];
  auto sum = op.getBody()
                 ->getTerminator()
                 ->getOperand(0)
                 .getDefiningOp<arith::AddFOp>();
  if (!sum || !sum.getType().isF32() ||
      !llvm::is_contained(sum->getOperands(), accumulator))
    return std::nullopt;
  auto scaled = (sum.getLhs() == accumulator ? sum.getRhs() : sum.getLhs())
                    .getDefiningOp<arith::MulFOp>();
  if (!scaled)
    return std::nullopt;
  for (unsigned i : {0u, 1u}) {
    product.terms.clear();
    product.factor = scaled->getOperand(1 - i);
    if (collectTerms(op, scaled->getOperand(i), product.terms))
      break;
  }
  if (product.terms.empty() || !product.factor)
    return std::nullopt;
  auto scale = dyn_cast<BlockArgument>(product.factor);
  if (auto extension = product.factor.getDefiningOp<arith::ExtFOp>())
    scale = dyn_cast<BlockArgument>(extension.getIn());
  if (!scale || scale == accumulator)
    return std::nullopt;

  // The loops.
  SmallVector<AffineMap> maps = op.getIndexingMapsArray();
  AffineMap ofScale = maps[scale.getArgNumber()];
  std::optional<unsigned> inBlock, column;
  for (auto [loop, kind] : llvm::enumerate(op.getIteratorTypesArray())) {
    bool isScaled = ofScale.isFunctionOfDim(loop);
    if (kind == utils::IteratorType::reduction && !isScaled)
      inBlock = loop;
    if (kind == utils::IteratorType::parallel && isScaled)
      column = loop;
  }
  if (!inBlock || !column || !findAxis(maps.back(), *column))
    return std::nullopt;
  SmallVector<int64_t> ranges = op.getStaticLoopRanges();
  int64_t bits = kActivationBits +
                 llvm::Log2_64_Ceil(product.terms.size() * ranges[*inBlock]);
  product.inBlock = *inBlock;
  product.column = *column;
  if (ranges[*inBlock] % 2 != 0)
    return std::nullopt;
  for (const Term &term : product.terms) {
    std::optional<int64_t> ofWeight = countSignificantBits(term.weight);
    if (ofWeight && term.isUnsigned)
      ++*ofWeight;
    AffineMap map = maps[term.activation];
    auto type =
        dyn_cast<RankedTensorType>(op->getOperand(term.activation).getType());
    // The block's sum must fit into 32 bits.
    if (!ofWeight || *ofWeight > 16 || *ofWeight + bits > 32 ||
        term.weight.getType().getIntOrFloatBitWidth() > 32 || !type ||
        !isa<FloatType>(type.getElementType()) ||
        op->getOperand(term.activation) != product.getActivation() ||
        !findAxis(map, *inBlock) || map.isFunctionOfDim(*column))
      return std::nullopt;
  }
  // What has columns is constant; only numbers have rows of a block as well.
  for (unsigned i = 0; i < op.getNumDpsInputs(); ++i) {
    Attribute value;
    bool isActivation = llvm::any_of(
        product.terms, [&](const Term &term) { return term.activation == i; });
    if (isActivation)
      continue;
    if (!findAxis(maps[i], *column) ||
        !matchPattern(op->getOperand(i), m_Constant(&value)) ||
        !hasRawBytes(value) ||
        (maps[i].isFunctionOfDim(*inBlock) && !findAxis(maps[i], *inBlock)))
      return std::nullopt;
    product.constants.push_back(i);
  }
  return product;
}

/// \p constant with axis \p axis seen as pairs.
static ElementsAttr splitIntoPairs(ElementsAttr constant, unsigned axis) {
  auto type = cast<RankedTensorType>(constant.getType());
  SmallVector<int64_t> shape(type.getShape());
  shape[axis] /= 2;
  shape.insert(shape.begin() + axis + 1, 2);
  if (auto resource = dyn_cast<DenseResourceElementsAttr>(constant))
    return DenseResourceElementsAttr::get(type.clone(shape),
                                          resource.getRawHandle());
  return cast<DenseElementsAttr>(constant).reshape(type.clone(shape));
}

namespace {

/// Activations in integers: x = numbers * largest / kLargest.
struct Quantized {
  Value numbers; ///< i16, in the activation's shape
  Value largest; ///< f32, of each block
};

struct QuantizeActivationsPass
    : cpu::impl::QuantizeActivationsBase<QuantizeActivationsPass> {
  using QuantizeActivationsBase::QuantizeActivationsBase;

  void runOnOperation() override {
    SmallVector<BlockProduct> products;
    llvm::DenseMap<Attribute, int64_t> taken,
        uses = countConstantUses(getOperation());
    getOperation().walk([&](linalg::GenericOp op) {
      if (std::optional<BlockProduct> found = match(op))
        products.push_back(*found);
    });
    auto forEachConstant = [](const BlockProduct &product,
                              llvm::function_ref<void(Attribute)> visit) {
      linalg::GenericOp op = product.op;
      for (unsigned i : product.constants) {
        Attribute value;
        (void)matchPattern(op->getOperand(i), m_Constant(&value));
        visit(value);
      }
    };
    // All functions compute with a matrix in the same way.
    for (const BlockProduct &product : products)
      forEachConstant(product, [&](Attribute value) { ++taken[value]; });
    for (BlockProduct &product : products) {
      bool isShared = false;
      forEachConstant(product, [&](Attribute value) {
        isShared |= taken[value] != uses[value];
      });
      if (!isShared)
        rewrite(product);
    }
  }

  static Quantized quantize(ImplicitLocOpBuilder &b,
                            const BlockProduct &product);
  void rewrite(BlockProduct &product);
};

} // namespace

/// Which axes of the activation lie within a block.
static SmallVector<bool> findBlockAxes(const BlockProduct &product) {
  linalg::GenericOp op = product.op;
  SmallVector<AffineMap> maps = op.getIndexingMapsArray();
  SmallVector<bool> axes;
  for (AffineExpr expr : maps[product.terms.front().activation].getResults())
    axes.push_back(isa<AffineConstantExpr>(expr) ||
                   expr.isFunctionOfDim(product.inBlock));
  return axes;
}

Quantized QuantizeActivationsPass::quantize(ImplicitLocOpBuilder &b,
                                            const BlockProduct &product) {
  Value x = product.getActivation();
  auto type = cast<RankedTensorType>(x.getType());
  SmallVector<utils::IteratorType> kinds,
      parallel(type.getRank(), utils::IteratorType::parallel);
  SmallVector<int64_t> shape;
  SmallVector<AffineExpr> exprs;
  for (auto [axis, isInBlock] : llvm::enumerate(findBlockAxes(product))) {
    kinds.push_back(isInBlock ? utils::IteratorType::reduction
                              : utils::IteratorType::parallel);
    if (isInBlock)
      continue;
    shape.push_back(type.getDimSize(axis));
    exprs.push_back(b.getAffineDimExpr(axis));
  }
  AffineMap all = b.getMultiDimIdentityMap(type.getRank());
  AffineMap ofBlock = AffineMap::get(type.getRank(), 0, exprs, b.getContext());
  Type f32 = b.getF32Type();
  auto constant = [](ImplicitLocOpBuilder &body, double value) -> Value {
    return arith::ConstantOp::create(body, body.getF32FloatAttr(value));
  };
  Value start = tensor::EmptyOp::create(b, shape, f32);
  start = linalg::FillOp::create(b, constant(b, 0.0), start).getResult(0);
  Value largest =
      linalg::GenericOp::create(
          b, start.getType(), x, start, ArrayRef<AffineMap>{all, ofBlock},
          kinds,
          [&](OpBuilder &nested, Location loc, ValueRange args) {
            ImplicitLocOpBuilder body(loc, nested);
            Value size =
                math::AbsFOp::create(body, castFloat(body, args[0], f32));
            linalg::YieldOp::create(body, ValueRange{arith::MaximumFOp::create(
                                              body, args[1], size)});
          })
          .getResult(0);
  Value room = tensor::EmptyOp::create(b, type.getShape(), b.getI16Type());
  Value numbers =
      linalg::GenericOp::create(
          b, room.getType(), ValueRange{x, largest}, room,
          ArrayRef<AffineMap>{all, ofBlock, all}, parallel,
          [&](OpBuilder &nested, Location loc, ValueRange args) {
            ImplicitLocOpBuilder body(loc, nested);
            Value isZero =
                arith::CmpFOp::create(body, arith::CmpFPredicate::OLT, args[1],
                                      constant(body, kSmallestBlock));
            Value scale =
                arith::DivFOp::create(body, constant(body, kLargest), args[1]);
            scale = arith::SelectOp::create(body, isZero, constant(body, 0.0),
                                            scale);
            Value number = arith::MulFOp::create(
                body, castFloat(body, args[0], f32), scale);
            number = math::RoundEvenOp::create(body, number);
            // No number at all becomes one; its block's largest is none.
            number = arith::MaxNumFOp::create(body, number,
                                              constant(body, -kLargest));
            number = arith::MinNumFOp::create(body, number,
                                              constant(body, kLargest));
            linalg::YieldOp::create(body,
                                    ValueRange{arith::FPToSIOp::create(
                                        body, body.getI16Type(), number)});
          })
          .getResult(0);
  return {numbers, largest};
}

/// The low 16 bits of \p value of a body, in ops of as many bits where they
/// yield the same; \p compute gives what they read.
static Value narrow(ImplicitLocOpBuilder &b, Value value,
                    llvm::function_ref<Value(Value)> compute) {
  Type i16 = b.getIntegerType(kActivationBits);
  Operation *def = value.getDefiningOp();
  APInt number;
  if (matchPattern(value, m_ConstantInt(&number)))
    return arith::ConstantOp::create(
        b, b.getIntegerAttr(i16, number.sextOrTrunc(kActivationBits)));
  if (isa_and_nonnull<arith::ExtSIOp, arith::ExtUIOp>(def)) {
    Value in = compute(def->getOperand(0));
    int64_t width = in.getType().getIntOrFloatBitWidth();
    if (width > kActivationBits)
      return arith::TruncIOp::create(b, i16, in);
    if (width == kActivationBits)
      return in;
    return b.create(b.getLoc(), def->getName().getIdentifier(), in, i16)
        ->getResult(0);
  }
  bool isExact = isa_and_nonnull<arith::AddIOp, arith::SubIOp, arith::MulIOp,
                                 arith::AndIOp>(def);
  if (isa_and_nonnull<arith::ShLIOp, arith::ShRSIOp, arith::ShRUIOp>(def) &&
      matchPattern(def->getOperand(1), m_ConstantInt(&number)) &&
      number.ult(kActivationBits)) {
    // All bits that come down must be there.
    std::optional<int64_t> bits = countSignificantBits(def->getOperand(0));
    isExact = isa<arith::ShLIOp>(def) ||
              (bits && *bits <= kActivationBits &&
               (isa<arith::ShRSIOp>(def) ||
                def->getOperand(0).getDefiningOp<arith::ExtUIOp>()));
  }
  if (!isExact)
    return arith::TruncIOp::create(b, i16, compute(value));
  Value left = narrow(b, def->getOperand(0), compute);
  Value right = narrow(b, def->getOperand(1), compute);
  return b
      .create(b.getLoc(), def->getName().getIdentifier(),
              ValueRange{left, right}, i16)
      ->getResult(0);
}

void QuantizeActivationsPass::rewrite(BlockProduct &product) {
  linalg::GenericOp op = product.op;
  IRRewriter rewriter(op);
  ImplicitLocOpBuilder b(op.getLoc(), rewriter);
  Quantized activation = quantize(b, product);

  // Rows of a block go in pairs, of which the last loop has the two.
  unsigned numLoops = op.getNumLoops() + 1;
  AffineExpr two = b.getAffineDimExpr(numLoops - 1);
  SmallVector<utils::IteratorType> kinds = op.getIteratorTypesArray();
  kinds.push_back(utils::IteratorType::reduction);
  SmallVector<AffineMap> oldMaps = op.getIndexingMapsArray();
  auto remap = [&](AffineMap map) {
    SmallVector<AffineExpr> exprs;
    for (AffineExpr expr : map.getResults()) {
      exprs.push_back(expr);
      if (expr == b.getAffineDimExpr(product.inBlock))
        exprs.push_back(two);
    }
    return AffineMap::get(numLoops, 0, exprs, b.getContext());
  };
  SmallVector<Value> inputs(op.getInputs());
  SmallVector<AffineMap> maps;
  llvm::SmallDenseMap<unsigned, Value> split;
  for (auto [i, map] : llvm::enumerate(oldMaps))
    maps.push_back(remap(map));
  for (const Term &term : product.terms) {
    unsigned axis = *findAxis(oldMaps[term.activation], product.inBlock);
    Value &numbers = split[axis];
    if (!numbers)
      numbers = splitAxis(b, activation.numbers, axis, 2);
    inputs[term.activation] = numbers;
  }
  for (unsigned i : product.constants) {
    std::optional<unsigned> axis = findAxis(oldMaps[i], product.inBlock);
    ElementsAttr value;
    if (!axis || !matchPattern(inputs[i], m_Constant(&value)))
      continue;
    inputs[i] = arith::ConstantOp::create(b, splitIntoPairs(value, *axis));
  }
  SmallVector<AffineExpr> ofLargest;
  for (auto [expr, isInBlock] :
       llvm::zip_equal(oldMaps[product.terms.front().activation].getResults(),
                       findBlockAxes(product)))
    if (!isInBlock)
      ofLargest.push_back(expr);
  inputs.push_back(activation.largest);
  maps.insert(maps.end() - 1,
              AffineMap::get(numLoops, 0, ofLargest, b.getContext()));

  auto result = linalg::GenericOp::create(
      b, op.getResultTypes(), inputs, op.getOutputs(), maps, kinds,
      [&](OpBuilder &nested, Location loc, ValueRange args) {
        ImplicitLocOpBuilder body(loc, nested);
        IRMapping mapping;
        mapping.map(op.getRegionInputArgs(),
                    args.take_front(op.getNumDpsInputs()));
        Type i32 = body.getI32Type();
        // Only what the weights and the factor need is left.
        auto compute = [&](auto &self, Value value) -> Value {
          if (mapping.contains(value) || !value.getDefiningOp() ||
              value.getParentBlock() != op.getBody())
            return mapping.lookupOrDefault(value);
          for (Value operand : value.getDefiningOp()->getOperands())
            self(self, operand);
          body.clone(*value.getDefiningOp(), mapping);
          return mapping.lookup(value);
        };
        auto computeSmall = [&](Value value) {
          return narrow(body, value,
                        [&](Value own) { return compute(compute, own); });
        };
        Value sum;
        for (const Term &term : product.terms) {
          Value weight = term.weight.getType().isInteger(32)
                             ? computeSmall(term.weight)
                             : compute(compute, term.weight);
          if (term.isUnsigned)
            weight = arith::ExtUIOp::create(body, i32, weight);
          else
            weight = arith::ExtSIOp::create(body, i32, weight);
          Value x = arith::ExtSIOp::create(body, i32, args[term.activation]);
          Value next = arith::MulIOp::create(body, x, weight);
          sum = sum ? arith::AddIOp::create(body, sum, next) : next;
        }
        Value unit = arith::MulFOp::create(
            body, args[args.size() - 2],
            arith::ConstantOp::create(body,
                                      body.getF32FloatAttr(1.0 / kLargest)));
        Value factor =
            arith::MulFOp::create(body, compute(compute, product.factor), unit);
        Value total = arith::SIToFPOp::create(body, body.getF32Type(), sum);
        total = arith::MulFOp::create(body, total, factor);
        total = arith::AddFOp::create(body, args.back(), total);
        linalg::YieldOp::create(body, total);
      });
  rewriter.replaceOp(op, result);
  ++numProducts;
}
