//===- QuantizeActivations.cpp - Integer products with integer weights ----===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "BodyAnalysis.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
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

/// A block whose largest magnitude is smaller is zero.
static constexpr double kSmallestBlock = 1e-30;

namespace {

/// An integer weight as a number from 0 to 255, less what a block has in
/// common.
struct Number {
  Value value; ///< in the body; at most `bias` below zero
  Value zero;  ///< in the body, or null
  int64_t bias = 0;
};

/// An activation times an integer weight.
struct Term {
  unsigned activation; ///< number of the operand
  Value weight;        ///< integer in the body, with a sign unless it is a
                       ///< number of the matrix
  bool isUnsigned;
  std::optional<Number> number; ///< the weight, where that can be
};

/// acc + factor * sum of terms, over blocks and over what is in a block, the
/// loop that the factor does not depend on.
struct BlockProduct {
  linalg::GenericOp op;
  unsigned inBlock, column; ///< loops
  SmallVector<Term, 2> terms;
  Value factor;
  SmallVector<unsigned, 2> constants; ///< operands that have the column's axis
  /// Of integers for activations. Processors multiply two of 16 bits, or four
  /// of 8 bits, in each lane.
  int64_t bits = 16;

  int64_t groupSize() const { return 32 / bits; }
  /// Activations are from -largest to largest times a scale.
  int64_t largest() const { return (int64_t(1) << (bits - 1)) - 1; }

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
    terms.push_back({activation.getArgNumber(), weight, isUnsigned, {}});
    return true;
  }
  return false;
}

/// Whether \p value of a body is from 0 to 255.
static bool isByte(Value value) {
  Operation *def = value.getDefiningOp();
  APInt number;
  if (isa_and_nonnull<arith::ExtUIOp>(def))
    return def->getOperand(0).getType().getIntOrFloatBitWidth() <= 8;
  if (isa_and_nonnull<arith::AndIOp>(def))
    return matchPattern(def->getOperand(1), m_ConstantInt(&number)) &&
           number.ule(255);
  return isa_and_nonnull<arith::ShRUIOp>(def) && isByte(def->getOperand(0));
}

/// \p term 's weight as a number of 8 bits without a sign.
static std::optional<Number> findNumber(linalg::GenericOp op, const Term &term,
                                        unsigned inBlock) {
  Value weight = term.weight;
  if (term.isUnsigned)
    return weight.getType().isInteger(8) ? std::optional(Number{weight, {}})
                                         : std::nullopt;
  if (isByte(weight))
    return Number{weight, {}};
  if (auto less = weight.getDefiningOp<arith::SubIOp>();
      less && isByte(less.getLhs()) &&
      !changesAlong(op, less.getRhs(), inBlock))
    return Number{less.getLhs(), less.getRhs()};
  std::optional<int64_t> bits = countSignificantBits(weight);
  if (!bits || *bits > 8)
    return std::nullopt;
  return Number{weight, {}, int64_t(1) << (*bits - 1)};
}

/// \p op as a product of blocks, for activations of \p bits where that can be
/// and else 16.
static std::optional<BlockProduct> match(linalg::GenericOp op, int64_t bits) {
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
  int64_t numSummed = product.terms.size() * ranges[*inBlock];
  product.inBlock = *inBlock;
  product.column = *column;
  for (Term &term : product.terms)
    term.number = findNumber(op, term, *inBlock);
  if (bits == 8 && ranges[*inBlock] % 4 == 0 &&
      llvm::all_of(product.terms,
                   [](const Term &term) { return term.number.has_value(); }))
    product.bits = bits;
  if (ranges[*inBlock] % product.groupSize() != 0)
    return std::nullopt;
  int64_t bitsOfSum = product.bits + llvm::Log2_64_Ceil(numSummed);
  for (const Term &term : product.terms) {
    std::optional<int64_t> ofWeight = countSignificantBits(term.weight);
    if (ofWeight && term.isUnsigned)
      ++*ofWeight;
    AffineMap map = maps[term.activation];
    auto type =
        dyn_cast<RankedTensorType>(op->getOperand(term.activation).getType());
    // The block's sum must fit into 32 bits.
    if (!ofWeight || *ofWeight > 16 || *ofWeight + bitsOfSum > 32 ||
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

namespace {

/// Activations in integers: x = numbers * units.
struct Quantized {
  Value numbers; ///< integers, in the activation's shape
  Value units;   ///< bits of a f32, of each block
  Value sums;    ///< of the numbers of each block; null for pairs
};

struct QuantizeActivationsPass
    : cpu::impl::QuantizeActivationsBase<QuantizeActivationsPass> {
  using QuantizeActivationsBase::QuantizeActivationsBase;

  LogicalResult initialize(MLIRContext *context) override {
    if (bits != 8 && bits != 16)
      return emitError(UnknownLoc::get(context))
             << "bits=" << int64_t(bits) << ": expected 8 or 16";
    return success();
  }

  void runOnOperation() override {
    SmallVector<BlockProduct> products;
    llvm::DenseMap<Attribute, int64_t> taken,
        uses = countConstantUses(getOperation());
    getOperation().walk([&](linalg::GenericOp op) {
      if (std::optional<BlockProduct> found = match(op, bits))
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
  Type f32 = b.getF32Type(), integer = b.getIntegerType(product.bits);
  double most = product.largest();
  auto constant = [](ImplicitLocOpBuilder &body, double value) -> Value {
    return arith::ConstantOp::create(body, body.getF32FloatAttr(value));
  };
  // The largest magnitude, which is `most` units. As bits, the order of
  // magnitudes is that of integers, and what is no number is above all.
  Type bits = b.getI32Type();
  Value start = tensor::EmptyOp::create(b, shape, bits);
  Value none = arith::ConstantOp::create(b, b.getI32IntegerAttr(0));
  start = linalg::FillOp::create(b, none, start).getResult(0);
  Value units =
      linalg::GenericOp::create(
          b, start.getType(), x, start, ArrayRef<AffineMap>{all, ofBlock},
          kinds,
          [&](OpBuilder &nested, Location loc, ValueRange args) {
            ImplicitLocOpBuilder body(loc, nested);
            Value size =
                math::AbsFOp::create(body, castFloat(body, args[0], f32));
            size = arith::MulFOp::create(body, size, constant(body, 1 / most));
            size = arith::BitcastOp::create(body, bits, size);
            linalg::YieldOp::create(
                body, ValueRange{arith::MaxSIOp::create(body, args[1], size)});
          })
          .getResult(0);
  Value room = tensor::EmptyOp::create(b, type.getShape(), integer);
  Value numbers =
      linalg::GenericOp::create(
          b, room.getType(), ValueRange{x, units}, room,
          ArrayRef<AffineMap>{all, ofBlock, all}, parallel,
          [&](OpBuilder &nested, Location loc, ValueRange args) {
            ImplicitLocOpBuilder body(loc, nested);
            Value unit = arith::BitcastOp::create(body, f32, args[1]);
            Value isZero =
                arith::CmpFOp::create(body, arith::CmpFPredicate::OLT, unit,
                                      constant(body, kSmallestBlock / most));
            Value scale =
                arith::DivFOp::create(body, constant(body, 1.0), unit);
            scale = arith::SelectOp::create(body, isZero, constant(body, 0.0),
                                            scale);
            Value number = arith::MulFOp::create(
                body, castFloat(body, args[0], f32), scale);
            number = math::RoundEvenOp::create(body, number);
            // All numbers are in range but for what is none, which becomes one;
            // its block's unit is none.
            Value least = constant(body, -most);
            Value isNumber = arith::CmpFOp::create(
                body, arith::CmpFPredicate::OGT, number, least);
            number = arith::SelectOp::create(body, isNumber, number, least);
            linalg::YieldOp::create(body, ValueRange{arith::FPToSIOp::create(
                                              body, integer, number)});
          })
          .getResult(0);
  if (product.bits != 8)
    return {numbers, units, {}};
  // In 16 bits where they fit.
  int64_t size = 1;
  for (auto [axis, kind] : llvm::enumerate(kinds))
    if (kind == utils::IteratorType::reduction)
      size *= type.getDimSize(axis);
  Type ofSum =
      size * product.largest() <= 32767 ? b.getI16Type() : b.getI32Type();
  Value sums = tensor::EmptyOp::create(b, shape, ofSum);
  Value zero = arith::ConstantOp::create(b, b.getIntegerAttr(ofSum, 0));
  sums = linalg::FillOp::create(b, zero, sums).getResult(0);
  sums =
      linalg::GenericOp::create(
          b, sums.getType(), numbers, sums, ArrayRef<AffineMap>{all, ofBlock},
          kinds,
          [&](OpBuilder &nested, Location loc, ValueRange args) {
            ImplicitLocOpBuilder body(loc, nested);
            Value number = arith::ExtSIOp::create(body, ofSum, args[0]);
            linalg::YieldOp::create(
                body, ValueRange{arith::AddIOp::create(body, args[1], number)});
          })
          .getResult(0);
  return {numbers, units, sums};
}

namespace {

/// Computes values of a body with as few bits as they need.
struct Narrower {
  ImplicitLocOpBuilder &b;
  int64_t width;
  llvm::function_ref<Value(Value)> compute; ///< gives what is not narrowed

  Value constant(int64_t value) const {
    return arith::ConstantOp::create(
        b, b.getIntegerAttr(b.getIntegerType(width),
                            APInt(width, value, /*isSigned=*/false,
                                  /*implicitTrunc=*/true)));
  }
  Value narrow(Value value) const;
  Value shiftSigns(Value value) const;
};

} // namespace

/// The low bits of \p value , in ops of as many bits where they yield the same.
Value Narrower::narrow(Value value) const {
  Type type = b.getIntegerType(width);
  Operation *def = value.getDefiningOp();
  APInt number;
  if (matchPattern(value, m_ConstantInt(&number)))
    return constant(number.sextOrTrunc(width).getSExtValue());
  if (isa_and_nonnull<arith::ExtSIOp, arith::ExtUIOp>(def)) {
    Value in = compute(def->getOperand(0));
    int64_t own = in.getType().getIntOrFloatBitWidth();
    if (own > width)
      return arith::TruncIOp::create(b, type, in);
    if (own == width)
      return in;
    return b.create(b.getLoc(), def->getName().getIdentifier(), in, type)
        ->getResult(0);
  }
  bool isExact = isa_and_nonnull<arith::AddIOp, arith::SubIOp, arith::MulIOp,
                                 arith::AndIOp>(def);
  if (isa_and_nonnull<arith::ShLIOp, arith::ShRSIOp, arith::ShRUIOp>(def) &&
      matchPattern(def->getOperand(1), m_ConstantInt(&number)) &&
      number.ult(width)) {
    // All bits that come down must be there.
    std::optional<int64_t> bits = countSignificantBits(def->getOperand(0));
    bool isUnsigned = def->getOperand(0).getDefiningOp<arith::ExtUIOp>();
    isExact =
        isa<arith::ShLIOp>(def) ||
        (bits && (isa<arith::ShRSIOp>(def) ? *bits <= width
                                           : isUnsigned && *bits <= width + 1));
  }
  if (!isExact) {
    Value wide = compute(value);
    return wide.getType() == type ? wide
                                  : arith::TruncIOp::create(b, type, wide);
  }
  Value left = narrow(def->getOperand(0)), right = narrow(def->getOperand(1));
  return b
      .create(b.getLoc(), def->getName().getIdentifier(),
              ValueRange{left, right}, type)
      ->getResult(0);
}

/// \p value , which has a sign, plus what makes the least one zero. Of some
/// bits of a number that is their highest bit turned over, without a shift
/// that copies it.
Value Narrower::shiftSigns(Value value) const {
  int64_t bits = *countSignificantBits(value);
  int64_t bias = int64_t(1) << (bits - 1);
  APInt up, down;
  if (auto shift = value.getDefiningOp<arith::ShRSIOp>();
      shift && matchPattern(shift.getRhs(), m_ConstantInt(&down))) {
    Value in = shift.getLhs(), part;
    if (auto left = in.getDefiningOp<arith::ShLIOp>();
        left && matchPattern(left.getRhs(), m_ConstantInt(&up)) && up == down)
      part = arith::AndIOp::create(b, narrow(left.getLhs()),
                                   constant(2 * bias - 1));
    else if (countSignificantBits(in) == width && down.ult(width))
      part =
          arith::ShRUIOp::create(b, narrow(in), constant(down.getZExtValue()));
    if (part)
      return arith::XOrIOp::create(b, part, constant(bias));
  }
  return arith::AddIOp::create(b, narrow(value), constant(bias));
}

void QuantizeActivationsPass::rewrite(BlockProduct &product) {
  linalg::GenericOp op = product.op;
  IRRewriter rewriter(op);
  ImplicitLocOpBuilder b(op.getLoc(), rewriter);
  Quantized activation = quantize(b, product);

  // Rows of a block go in groups, of which the last loop has the members.
  unsigned numLoops = op.getNumLoops() + 1;
  int64_t groupSize = product.groupSize();
  AffineExpr member = b.getAffineDimExpr(numLoops - 1);
  SmallVector<utils::IteratorType> kinds = op.getIteratorTypesArray();
  kinds.push_back(utils::IteratorType::reduction);
  SmallVector<AffineMap> oldMaps = op.getIndexingMapsArray();
  auto remap = [&](AffineMap map) {
    SmallVector<AffineExpr> exprs;
    for (AffineExpr expr : map.getResults()) {
      exprs.push_back(expr);
      if (expr == b.getAffineDimExpr(product.inBlock))
        exprs.push_back(member);
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
      numbers = splitAxis(b, activation.numbers, axis, groupSize);
    inputs[term.activation] = numbers;
  }
  for (unsigned i : product.constants) {
    std::optional<unsigned> axis = findAxis(oldMaps[i], product.inBlock);
    ElementsAttr value;
    if (!axis || !matchPattern(inputs[i], m_Constant(&value)))
      continue;
    inputs[i] =
        arith::ConstantOp::create(b, splitAxis(value, *axis, groupSize));
  }
  SmallVector<AffineExpr> ofUnits;
  for (auto [expr, isInBlock] :
       llvm::zip_equal(oldMaps[product.terms.front().activation].getResults(),
                       findBlockAxes(product)))
    if (!isInBlock)
      ofUnits.push_back(expr);
  unsigned numOld = inputs.size();
  for (Value ofBlock : {activation.units, activation.sums})
    if (ofBlock) {
      inputs.push_back(ofBlock);
      maps.insert(maps.end() - 1,
                  AffineMap::get(numLoops, 0, ofUnits, b.getContext()));
    }

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
        auto computeAll = [&](Value value) { return compute(compute, value); };
        Narrower narrower{body, product.bits, computeAll};
        // One for all terms that have it in common.
        llvm::SmallDenseMap<int64_t, Value> biases;
        auto computeZero = [&](const Number &number) -> Value {
          if (number.zero) {
            Value zero = compute(compute, number.zero);
            if (!zero.getType().isInteger(32))
              zero = arith::ExtSIOp::create(body, i32, zero);
            return zero;
          }
          Value &bias = biases[number.bias];
          if (!bias)
            bias = arith::ConstantOp::create(
                body, body.getI32IntegerAttr(number.bias));
          return bias;
        };
        auto computeWeight = [&](const Term &term) -> Value {
          if (product.bits == 8) {
            const Number &number = *term.number;
            Value value = number.bias ? narrower.shiftSigns(number.value)
                                      : narrower.narrow(number.value);
            value = arith::ExtUIOp::create(body, i32, value);
            return number.zero || number.bias
                       ? arith::SubIOp::create(body, value, computeZero(number))
                       : value;
          }
          Value weight = term.weight.getType().isInteger(32)
                             ? narrower.narrow(term.weight)
                             : compute(compute, term.weight);
          if (term.isUnsigned)
            return arith::ExtUIOp::create(body, i32, weight);
          return arith::ExtSIOp::create(body, i32, weight);
        };
        Value sum;
        for (const Term &term : product.terms) {
          Value weight = computeWeight(term);
          Value x = arith::ExtSIOp::create(body, i32, args[term.activation]);
          Value next = arith::MulIOp::create(body, x, weight);
          sum = sum ? arith::AddIOp::create(body, sum, next) : next;
        }
        Value unit =
            arith::BitcastOp::create(body, body.getF32Type(), args[numOld]);
        Value factor =
            arith::MulFOp::create(body, compute(compute, product.factor), unit);
        Value total = arith::SIToFPOp::create(body, body.getF32Type(), sum);
        total = arith::MulFOp::create(body, total, factor);
        total = arith::AddFOp::create(body, args.back(), total);
        linalg::YieldOp::create(body, total);
      });
  if (activation.sums)
    result->setAttr(kBlockSumsAttr, b.getI64IntegerAttr(numOld + 1));
  rewriter.replaceOp(op, result);
  ++numProducts;
}
