//===- WeightUses.cpp - What reads a constant matrix ----------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "WeightUses.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/Matchers.h"
#include "rwkvc/Support/Products.h"
#include "rwkvc/Support/Reshapes.h"
#include "rwkvc/Support/Scalars.h"

using namespace mlir;
using namespace rwkvc;

//===----------------------------------------------------------------------===//
// Matching
//===----------------------------------------------------------------------===//

unsigned Product::getSumAxis() const {
  linalg::LinalgOp linalgOp = op;
  return *findAxis(linalgOp.getIndexingMapsArray()[matrix], sum);
}

unsigned Product::getColumnAxis() const {
  linalg::LinalgOp linalgOp = op;
  return *findAxis(linalgOp.getIndexingMapsArray()[matrix], column);
}

std::optional<Product> rwkvc::matchProduct(linalg::LinalgOp op,
                                           unsigned matrix) {
  Product product{op, matrix, 0, 0};
  if (!op.hasPureTensorSemantics() || op.getNumDpsInputs() != 2 ||
      op.getNumDpsInits() != 1 || op->getNumOperands() != 3 ||
      op.getNumReductionLoops() != 1 ||
      llvm::any_of(op.getStaticLoopRanges(), ShapedType::isDynamic) ||
      !isProductBody(*op.getBlock()))
    return std::nullopt;
  auto result = dyn_cast<RankedTensorType>(op->getResult(0).getType());
  auto other = dyn_cast<RankedTensorType>(product.getOther().getType());
  auto type = dyn_cast<RankedTensorType>(product.getMatrix().getType());
  if (!result || !other || !type || type.getRank() != 2 ||
      !result.getElementType().isF32() ||
      !isa<FloatType>(type.getElementType()))
    return std::nullopt;
  SmallVector<AffineMap> maps = op.getIndexingMapsArray();
  AffineMap ofOther = maps[1 - matrix];
  for (AffineExpr expr : maps[matrix].getResults()) {
    auto dim = dyn_cast<AffineDimExpr>(expr);
    if (!dim)
      return std::nullopt;
    bool isSum = op.getIteratorTypesArray()[dim.getPosition()] ==
                 utils::IteratorType::reduction;
    (isSum ? product.sum : product.column) = dim.getPosition();
  }
  if (product.sum == product.column || !findAxis(ofOther, product.sum) ||
      ofOther.isFunctionOfDim(product.column) ||
      !findAxis(maps.back(), product.column) ||
      !findAxis(maps[matrix], product.sum) ||
      !findAxis(maps[matrix], product.column))
    return std::nullopt;
  return product;
}

/// Whether \p index comes from an integer, as a token does, and not from loops
/// alone.
static bool isFromData(Value index) {
  if (isa<IntegerType>(index.getType()))
    return !matchPattern(index, m_Constant());
  Operation *def = index.getDefiningOp();
  return def && isa<arith::ArithDialect>(def->getDialect()) &&
         llvm::any_of(def->getOperands(), isFromData);
}

OpOperand *rwkvc::matchTableRead(Operation *op) {
  OpOperand *table = nullptr;
  Value row;
  if (auto slice = dyn_cast<tensor::ExtractSliceOp>(op)) {
    RankedTensorType source = slice.getSourceType();
    if (source.getRank() != 2 || !slice.getResultType().hasStaticShape() ||
        !isConstantIntValue(slice.getMixedOffsets()[1], 0) ||
        !isConstantIntValue(slice.getMixedSizes()[1], source.getDimSize(1)) ||
        !llvm::all_of(slice.getMixedStrides(), isOneInteger))
      return nullptr;
    row = dyn_cast<Value>(slice.getMixedOffsets()[0]);
    table = &slice.getSourceMutable();
  } else if (auto extract = dyn_cast<tensor::ExtractOp>(op)) {
    if (extract.getIndices().size() != 2)
      return nullptr;
    row = extract.getIndices()[0];
    table = &extract.getTensorMutable();
  }
  if (!table || !row || !isFromData(row))
    return nullptr;
  auto type = cast<RankedTensorType>(table->get().getType());
  return type.hasStaticShape() && isa<FloatType>(type.getElementType())
             ? table
             : nullptr;
}

//===----------------------------------------------------------------------===//
// Loops over blocks
//===----------------------------------------------------------------------===//

namespace {

/// The loops of an op of which one runs over blocks and another one, behind it,
/// over what is in a block.
class BlockLoops {
public:
  BlockLoops(linalg::LinalgOp op, unsigned split)
      : op(op), split(split), context(op->getContext()) {}

  /// Loop \p old as it is numbered now; the split one is that over blocks.
  AffineExpr loop(unsigned old) const {
    return getAffineDimExpr(old > split ? old + 1 : old, context);
  }
  AffineExpr inBlock() const { return getAffineDimExpr(split + 1, context); }
  AffineMap map(ArrayRef<AffineExpr> exprs) const {
    linalg::LinalgOp linalgOp = op;
    return AffineMap::get(linalgOp.getNumLoops() + 1, 0, exprs, context);
  }
  /// \p old , in which the split axis, if it has one, became \p inside the
  /// block.
  AffineMap remap(AffineMap old, ArrayRef<AffineExpr> inside) const {
    SmallVector<AffineExpr> exprs;
    for (AffineExpr expr : old.getResults()) {
      SmallVector<AffineExpr> dims;
      for (unsigned d = 0; d < old.getNumDims(); ++d)
        dims.push_back(loop(d));
      exprs.push_back(expr.replaceDims(dims));
      if (auto dim = dyn_cast<AffineDimExpr>(expr);
          dim && dim.getPosition() == split)
        llvm::append_range(exprs, inside);
    }
    return map(exprs);
  }
  SmallVector<utils::IteratorType> kinds() const {
    linalg::LinalgOp linalgOp = op;
    SmallVector<utils::IteratorType> kinds = linalgOp.getIteratorTypesArray();
    kinds.insert(kinds.begin() + split + 1, kinds[split]);
    return kinds;
  }

private:
  linalg::LinalgOp op;
  unsigned split;
  MLIRContext *context;
};

/// Builds the body of what reads numbers.
struct Decoder {
  ImplicitLocOpBuilder &b;
  const EncodedMatrix &matrix;

  Value toF32(Value value) const {
    return convertScalarToDtype(b, b.getLoc(), value, b.getF32Type(),
                                /*isUnsignedCast=*/false);
  }
  Value toI32(Value value, bool isUnsigned) const {
    return convertScalarToDtype(b, b.getLoc(), value, b.getI32Type(),
                                isUnsigned);
  }
  Value constant(int32_t value) const {
    return arith::ConstantOp::create(b, b.getI32IntegerAttr(value));
  }

  /// \p number , in 32 bits or with a sign, less the zero point.
  Value subtract(Value number, Value zero) const {
    if (zero)
      number = arith::SubIOp::create(
          b, toI32(number, /*isUnsigned=*/false),
          toI32(zero, matrix.isUnsigned && !matrix.hasNibbles));
    return toF32(number);
  }

  /// A number of a byte less the zero point, which may be null.
  Value byte(Value number, Value zero) const {
    if (zero)
      return subtract(toI32(number, matrix.isUnsigned), zero);
    return convertScalarToDtype(b, b.getLoc(), number, b.getF32Type(),
                                matrix.isUnsigned);
  }

  /// The same for the two numbers of a byte.
  std::pair<Value, Value> nibbles(Value byte, Value zero) const {
    Value low, high;
    if (matrix.isUnsigned) {
      Value wide = toI32(byte, /*isUnsigned=*/true);
      low = arith::AndIOp::create(b, wide, constant(15));
      high = arith::ShRUIOp::create(b, wide, constant(4));
    } else {
      // With their signs, in 16 bits: products with numbers of as many need no
      // more.
      auto shift = [&](int16_t value) -> Value {
        return arith::ConstantOp::create(b, b.getI16IntegerAttr(value));
      };
      Value wide = arith::ExtSIOp::create(b, b.getI16Type(), byte);
      low = arith::ShLIOp::create(b, wide, shift(12));
      low = arith::ShRSIOp::create(b, low, shift(12));
      high = arith::ShRSIOp::create(b, wide, shift(4));
    }
    return {subtract(low, zero), subtract(high, zero)};
  }
};

} // namespace

//===----------------------------------------------------------------------===//
// Products
//===----------------------------------------------------------------------===//

void rwkvc::rewriteProduct(const Product &product,
                           const EncodedMatrix &matrix) {
  linalg::LinalgOp op = product.op;
  IRRewriter rewriter(op);
  ImplicitLocOpBuilder b(op.getLoc(), rewriter);
  SmallVector<AffineMap> maps = op.getIndexingMapsArray();
  AffineMap ofOther = maps[1 - product.matrix], ofResult = maps.back();
  Value numbers = arith::ConstantOp::create(b, matrix.numbers.value);
  Value place = op.getDpsInits()[0], other = product.getOther();
  Type type = place.getType();

  if (!matrix.scales.value) {
    AffineExpr row = b.getAffineDimExpr(product.sum);
    AffineMap ofMatrix = matrix.numbers.map.replaceDimsAndSymbols(
        {row, b.getAffineConstantExpr(0), b.getAffineDimExpr(product.column)},
        {}, op.getNumLoops(), 0);
    auto result = linalg::GenericOp::create(
        b, type, ValueRange{other, numbers}, place,
        ArrayRef<AffineMap>{ofOther, ofMatrix, ofResult},
        op.getIteratorTypesArray(),
        [&](OpBuilder &nested, Location loc, ValueRange args) {
          ImplicitLocOpBuilder body(loc, nested);
          Decoder decode{body, matrix};
          Value term = arith::MulFOp::create(body, decode.toF32(args[0]),
                                             decode.toF32(args[1]));
          term = arith::AddFOp::create(body, args[2], term);
          linalg::YieldOp::create(body, term);
        });
    rewriter.replaceOp(op, result);
    return;
  }

  BlockLoops loops(op, product.sum);
  SmallVector<Value> inputs;
  SmallVector<AffineMap> newMaps;
  unsigned axis = *findAxis(ofOther, product.sum);
  if (matrix.hasNibbles) {
    Value halves = splitAxis(b, other, axis, {2, matrix.blockRows / 2});
    for (int64_t half : {0, 1}) {
      inputs.push_back(halves);
      newMaps.push_back(loops.remap(
          ofOther, {b.getAffineConstantExpr(half), loops.inBlock()}));
    }
  } else {
    inputs.push_back(splitAxis(b, other, axis, {matrix.blockRows}));
    newMaps.push_back(loops.remap(ofOther, loops.inBlock()));
  }
  size_t first = inputs.size();
  auto addPart = [&](const EncodedPart &part) {
    AffineMap map = part.map.replaceDimsAndSymbols(
        {loops.loop(product.sum), loops.inBlock(), loops.loop(product.column)},
        {}, op.getNumLoops() + 1, 0);
    newMaps.push_back(map);
  };
  inputs.push_back(numbers);
  addPart(matrix.numbers);
  inputs.push_back(arith::ConstantOp::create(b, matrix.scales.value));
  addPart(matrix.scales);
  if (matrix.zeros.value) {
    inputs.push_back(arith::ConstantOp::create(b, matrix.zeros.value));
    addPart(matrix.zeros);
  }
  newMaps.push_back(loops.remap(ofResult, {}));
  auto result = linalg::GenericOp::create(
      b, type, inputs, place, newMaps, loops.kinds(),
      [&](OpBuilder &nested, Location loc, ValueRange args) {
        ImplicitLocOpBuilder body(loc, nested);
        Decoder decode{body, matrix};
        auto multiply = [&](Value x, Value number) -> Value {
          return arith::MulFOp::create(body, decode.toF32(x), number);
        };
        Value zero = matrix.zeros.value ? args[first + 2] : Value();
        Value term;
        if (matrix.hasNibbles) {
          auto [low, high] = decode.nibbles(args[first], zero);
          Value one = multiply(args[0], low);
          term = arith::AddFOp::create(body, one, multiply(args[1], high));
        } else {
          term = multiply(args[0], decode.byte(args[first], zero));
        }
        Value scale = decode.toF32(args[first + 1]);
        term = arith::MulFOp::create(body, term, scale);
        term = arith::AddFOp::create(body, args.back(), term);
        linalg::YieldOp::create(body, term);
      });
  rewriter.replaceOp(op, result);
}

//===----------------------------------------------------------------------===//
// Tables
//===----------------------------------------------------------------------===//

/// The element that \p numbers, \p scale and \p zero make, of \p type.
static Value decodeElement(ImplicitLocOpBuilder &b, const EncodedMatrix &table,
                           ValueRange parts, Type type) {
  Decoder decode{b, table};
  if (!table.scales.value)
    return castFloat(b, parts[0], type);
  Value value = decode.byte(parts[0], parts.size() > 2 ? parts[2] : Value());
  value = arith::MulFOp::create(b, value, decode.toF32(parts[1]));
  return castFloat(b, value, type);
}

static SmallVector<const EncodedPart *> getParts(const EncodedMatrix &matrix) {
  SmallVector<const EncodedPart *> parts{&matrix.numbers};
  for (const EncodedPart *part : {&matrix.scales, &matrix.zeros})
    if (part->value)
      parts.push_back(part);
  return parts;
}

/// Whole rows: those of the numbers are read instead, and widened.
static void rewriteSlice(tensor::ExtractSliceOp slice,
                         const EncodedMatrix &table) {
  IRRewriter rewriter(slice);
  ImplicitLocOpBuilder b(slice.getLoc(), rewriter);
  RankedTensorType result = slice.getResultType();
  int64_t count = *getConstantIntValue(slice.getMixedSizes()[0]);
  int64_t width = slice.getSourceType().getDimSize(1);
  // Loops over rows of the table, blocks of a row and elements of a block.
  AffineExpr loops[] = {b.getAffineDimExpr(1), b.getAffineDimExpr(2),
                        b.getAffineDimExpr(0)};
  SmallVector<Value> inputs;
  SmallVector<AffineMap> maps;
  for (const EncodedPart *part : getParts(table)) {
    Value constant = arith::ConstantOp::create(b, part->value);
    SmallVector<OpFoldResult> offsets, sizes;
    for (auto [expr, size] : llvm::zip_equal(
             part->map.getResults(), part->value.getShapedType().getShape())) {
      bool isRow = expr == b.getAffineDimExpr(2);
      offsets.push_back(isRow ? slice.getMixedOffsets()[0]
                              : OpFoldResult(b.getIndexAttr(0)));
      sizes.push_back(b.getIndexAttr(isRow ? count : size));
    }
    SmallVector<OpFoldResult> strides(offsets.size(), b.getIndexAttr(1));
    inputs.push_back(
        tensor::ExtractSliceOp::create(b, constant, offsets, sizes, strides));
    maps.push_back(part->map.replaceDimsAndSymbols(loops, {}, 3, 0));
  }
  maps.push_back(b.getMultiDimIdentityMap(3));
  RankedTensorType blocks =
      result.clone({count, width / table.blockRows, table.blockRows});
  Value place =
      tensor::EmptyOp::create(b, blocks.getShape(), blocks.getElementType());
  SmallVector<utils::IteratorType> kinds(3, utils::IteratorType::parallel);
  Value rows = linalg::GenericOp::create(
                   b, blocks, inputs, place, maps, kinds,
                   [&](OpBuilder &nested, Location loc, ValueRange args) {
                     ImplicitLocOpBuilder body(loc, nested);
                     linalg::YieldOp::create(
                         body, decodeElement(body, table, args.drop_back(),
                                             result.getElementType()));
                   })
                   .getResult(0);
  SmallVector<ReassociationIndices> groups{{0, 1, 2}};
  if (result.getRank() == 2)
    groups = {{0}, {1, 2}};
  rewriter.replaceOpWithNewOp<tensor::CollapseShapeOp>(slice, result, rows,
                                                       groups);
}

/// The loop of \p op that runs along the rows from which \p extract reads, if
/// it can be split into blocks.
static std::optional<unsigned> findRowLoop(linalg::GenericOp op,
                                           tensor::ExtractOp extract) {
  auto index = extract.getIndices()[1].getDefiningOp<linalg::IndexOp>();
  auto type = cast<RankedTensorType>(extract.getTensor().getType());
  if (!index || !op.hasPureTensorSemantics() || op.getNumDpsInits() != 1)
    return std::nullopt;
  // The op is replaced: nothing else that is to be rewritten may be in it.
  if (llvm::count_if(*op.getBody(), [](Operation &inner) {
        return matchTableRead(&inner);
      }) != 1)
    return std::nullopt;
  unsigned loop = index.getDim();
  bool isSimple = llvm::all_of(op.getIndexingMapsArray(), [&](AffineMap map) {
    return llvm::all_of(map.getResults(), [&](AffineExpr expr) {
      return !expr.isFunctionOfDim(loop) || isa<AffineDimExpr>(expr);
    });
  });
  if (!isSimple || op.getStaticLoopRanges()[loop] != type.getDimSize(1) ||
      op.getIteratorTypesArray()[loop] != utils::IteratorType::parallel ||
      llvm::any_of(op->getOperandTypes(), [](Type operand) {
        auto shaped = dyn_cast<RankedTensorType>(operand);
        return shaped && !shaped.hasStaticShape();
      }))
    return std::nullopt;
  return loop;
}

/// Splits \p loop of \p op into blocks of \p size ; \p mapping receives what
/// became of the values of its body. Replaces the op.
static linalg::GenericOp splitLoop(IRRewriter &rewriter, linalg::GenericOp op,
                                   unsigned loop, int64_t size,
                                   IRMapping &mapping) {
  rewriter.setInsertionPoint(op);
  ImplicitLocOpBuilder b(op.getLoc(), rewriter);
  BlockLoops loops(op, loop);
  SmallVector<Value> operands;
  SmallVector<AffineMap> maps;
  for (auto [operand, map] :
       llvm::zip_equal(op->getOperands(), op.getIndexingMapsArray())) {
    std::optional<unsigned> axis = findAxis(map, loop);
    operands.push_back(axis ? splitAxis(b, operand, *axis, size) : operand);
    maps.push_back(loops.remap(map, loops.inBlock()));
  }
  auto result = linalg::GenericOp::create(
      b, operands.back().getType(), ArrayRef(operands).drop_back(),
      operands.back(), maps, loops.kinds(),
      [&](OpBuilder &nested, Location loc, ValueRange args) {
        ImplicitLocOpBuilder body(loc, nested);
        mapping.map(op.getBody()->getArguments(), args);
        for (Operation &inner : *op.getBody()) {
          auto index = dyn_cast<linalg::IndexOp>(inner);
          if (!index) {
            body.clone(inner, mapping);
            continue;
          }
          unsigned old = index.getDim();
          Value now = linalg::IndexOp::create(body, old > loop ? old + 1 : old);
          if (old == loop) {
            Value width = arith::ConstantIndexOp::create(body, size);
            now = arith::MulIOp::create(body, now, width);
            now = arith::AddIOp::create(
                body, now, linalg::IndexOp::create(body, loop + 1));
          }
          mapping.map(index.getResult(), now);
        }
      });
  unsigned axis = *findAxis(op.getIndexingMapsArray().back(), loop);
  SmallVector<ReassociationIndices> groups;
  for (unsigned i = 0, next = 0;
       i < op.getIndexingMapsArray().back().getNumResults(); ++i) {
    groups.push_back({next++});
    if (i == axis)
      groups.back().push_back(next++);
  }
  rewriter.replaceOpWithNewOp<tensor::CollapseShapeOp>(
      op, op.getResult(0).getType(), result.getResult(0), groups);
  return result;
}

/// Single elements. Where a loop runs along the row it becomes one over blocks
/// and one in a block, whose elements are read side by side.
static void rewriteElement(tensor::ExtractOp extract,
                           const EncodedMatrix &table) {
  IRRewriter rewriter(extract);
  auto op = dyn_cast<linalg::GenericOp>(extract->getParentOp());
  std::optional<unsigned> loop =
      op && table.scales.value ? findRowLoop(op, extract) : std::nullopt;
  if (loop && findAxis(op.getIndexingMapsArray().back(), *loop)) {
    IRMapping mapping;
    op = splitLoop(rewriter, op, *loop, table.blockRows, mapping);
    extract =
        mapping.lookup(extract.getResult()).getDefiningOp<tensor::ExtractOp>();
  } else {
    loop.reset();
  }
  // Constants stand outside of bodies.
  rewriter.setInsertionPoint(op ? op.getOperation() : extract.getOperation());
  SmallVector<Value> constants;
  for (const EncodedPart *part : getParts(table))
    constants.push_back(
        arith::ConstantOp::create(rewriter, extract.getLoc(), part->value));
  rewriter.setInsertionPoint(extract);
  ImplicitLocOpBuilder b(extract.getLoc(), rewriter);
  Value block, inBlock, row = extract.getIndices()[0];
  if (loop) {
    block = linalg::IndexOp::create(b, *loop);
    inBlock = linalg::IndexOp::create(b, *loop + 1);
  } else if (table.blockRows == 1) {
    block = extract.getIndices()[1];
  } else {
    Value size = arith::ConstantIndexOp::create(b, table.blockRows);
    block = arith::DivUIOp::create(b, extract.getIndices()[1], size);
    inBlock = arith::RemUIOp::create(b, extract.getIndices()[1], size);
  }
  Value places[] = {block, inBlock, row};
  SmallVector<Value> parts;
  for (auto [part, constant] : llvm::zip_equal(getParts(table), constants)) {
    SmallVector<Value> indices;
    for (AffineExpr expr : part->map.getResults())
      indices.push_back(places[cast<AffineDimExpr>(expr).getPosition()]);
    parts.push_back(tensor::ExtractOp::create(b, constant, indices));
  }
  rewriter.replaceOp(extract,
                     decodeElement(b, table, parts, extract.getType()));
}

void rwkvc::rewriteTableRead(Operation *read, const EncodedMatrix &table) {
  assert(!table.hasNibbles && "elements of a table have a byte each");
  if (auto slice = dyn_cast<tensor::ExtractSliceOp>(read))
    return rewriteSlice(slice, table);
  rewriteElement(cast<tensor::ExtractOp>(read), table);
}
