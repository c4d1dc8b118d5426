//===- QuantizeWeights.cpp - Constant matrices in fewer bits --------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "WeightFormats.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/Matchers.h"
#include "rwkvc/Support/Constants.h"
#include "rwkvc/Support/Products.h"
#include "rwkvc/Transforms/Passes.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/StringExtras.h"
#include <vector>

namespace rwkvc {
#define GEN_PASS_DEF_QUANTIZEWEIGHTS
#include "rwkvc/Transforms/Passes.h.inc"
} // namespace rwkvc

using namespace mlir;
using namespace rwkvc;

namespace {

/// In the order of their names.
enum class Format { BF16, F16, Int8, Int4 };

constexpr StringRef kFormatNames[] = {"bf16", "fp16", "int8", "int4"};

std::optional<Format> parseFormat(StringRef name) {
  const auto *found = llvm::find(kFormatNames, name);
  if (found == std::end(kFormatNames))
    return std::nullopt;
  return static_cast<Format>(found - kFormatNames);
}

/// A matrix of low rank is so many times longer than wide at least. Square ones
/// and those of channel mixes, four times as long, are not.
constexpr int64_t kLowRankRatio = 4;

/// A constant as a matrix, whose rows a product sums over.
struct Source {
  Attribute value;
  Type element;
  unsigned rowAxis;
  int64_t rows, columns;

  /// Part of it, in \p bytes .
  MatrixView read(int64_t row, int64_t numRows, int64_t column,
                  int64_t numColumns, SmallVectorImpl<char> &bytes) const;
  /// The largest magnitude; infinite where an element is no number.
  float findLargest() const;
};

/// A product with a constant matrix.
struct Product {
  linalg::LinalgOp op;
  unsigned matrix;      ///< number of the constant operand
  unsigned sum, column; ///< loops over its rows and its columns
  Attribute value;      ///< of the constant

  Value getMatrix() const { return op->getOperand(matrix); }
  Value getOther() const { return op->getOperand(1 - matrix); }
  Source source() const;
};

/// A matrix in another format.
struct Encoded {
  Format format;
  ElementsAttr numbers, scales; ///< scales for integers only
};

} // namespace

ArrayRef<StringRef> rwkvc::getWeightFormats() { return kFormatNames; }

static std::optional<Product> match(linalg::LinalgOp op, unsigned matrix) {
  Product product{op, matrix, 0, 0, nullptr};
  if (!op.hasPureTensorSemantics() || op.getNumDpsInputs() != 2 ||
      op.getNumDpsInits() != 1 || op.getNumReductionLoops() != 1 ||
      llvm::any_of(op.getStaticLoopRanges(), ShapedType::isDynamic) ||
      !matchPattern(op->getOperand(matrix), m_Constant(&product.value)) ||
      !isProductBody(*op.getBlock()))
    return std::nullopt;
  auto result = dyn_cast<RankedTensorType>(op->getResult(0).getType());
  auto other = dyn_cast<RankedTensorType>(product.getOther().getType());
  auto type = dyn_cast<RankedTensorType>(product.getMatrix().getType());
  if (!result || !other || !type || type.getRank() != 2 ||
      !result.getElementType().isF32() ||
      !isa<FloatType>(type.getElementType()) || !hasRawBytes(product.value))
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

static std::optional<Product> match(linalg::LinalgOp op) {
  for (unsigned matrix : {1u, 0u})
    if (op->getNumOperands() == 3)
      if (std::optional<Product> product = match(op, matrix))
        return product;
  return std::nullopt;
}

Source Product::source() const {
  auto type = cast<RankedTensorType>(getMatrix().getType());
  linalg::LinalgOp linalgOp = op;
  AffineMap map = linalgOp.getIndexingMapsArray()[matrix];
  unsigned row = *findAxis(map, sum), col = *findAxis(map, column);
  return {value, type.getElementType(), row, type.getDimSize(row),
          type.getDimSize(col)};
}

MatrixView Source::read(int64_t row, int64_t numRows, int64_t column,
                        int64_t numColumns,
                        SmallVectorImpl<char> &bytes) const {
  Box box{{row, column}, {numRows, numColumns}};
  int64_t strides[] = {numColumns, 1};
  if (rowAxis == 1) {
    std::swap(box.offsets[0], box.offsets[1]);
    std::swap(box.sizes[0], box.sizes[1]);
    strides[0] = 1;
    strides[1] = numRows;
  }
  bytes.resize_for_overwrite(numRows * numColumns *
                             element.getIntOrFloatBitWidth() / 8);
  readBox(value, box, bytes);
  return {bytes, element, numRows, numColumns, strides[0], strides[1]};
}

float Source::findLargest() const {
  SmallVector<Piece> pieces =
      getPieces(cast<ElementsAttr>(value).getShapedType());
  std::vector<float> largest(pieces.size());
  forEachInOrder(pieces.size(), [&](size_t i) {
    SmallVector<char> room;
    int64_t count = pieces[i].box.getNumElements();
    largest[i] =
        MatrixView{
            readPiece(value, pieces[i], room), element, 1, count, count, 1}
            .findLargest();
  });
  releasePages(*value.getContext());
  return largest.empty() ? 0.0f : *llvm::max_element(largest);
}

/// Elements of \p source in \p format , which have no scales.
static BoxReader readNumbers(const Source &source, Type format) {
  return [=](const Box &box, MutableArrayRef<char> bytes) {
    SmallVector<char> room;
    size_t rowSize = 2 * box.sizes[1];
    for (int64_t at = 0; at < box.sizes[0]; at += kBlockRows) {
      int64_t rows = std::min(kBlockRows, box.sizes[0] - at);
      encode16(source.read(box.offsets[0] + at, rows, box.offsets[1],
                           box.sizes[1], room),
               format, bytes.slice(at * rowSize, rows * rowSize));
    }
  };
}

/// Blocks of \p source in \p format : their scales, or their numbers, with
/// \p rows to a block.
static BoxReader readBlocks(const Source &source, Format format, int64_t rows,
                            bool isScales) {
  return [=](const Box &box, MutableArrayRef<char> bytes) {
    int64_t columns = box.sizes.back();
    SmallVector<char> room, numbers(rows * columns), scales(2 * columns);
    char *to = bytes.data();
    for (int64_t block = 0; block < box.sizes[0]; ++block) {
      MatrixView view =
          source.read((box.offsets[0] + block) * kBlockRows, kBlockRows,
                      box.offsets.back(), columns, room);
      (format == Format::Int4 ? encode4 : encode8)(view, numbers, scales);
      ArrayRef<char> encoded =
          isScales ? scales
                   : ArrayRef<char>(numbers).slice(box.offsets[1] * columns,
                                                   box.sizes[1] * columns);
      to = llvm::copy(encoded, to);
    }
  };
}

namespace {

struct QuantizeWeightsPass
    : rwkvc::impl::QuantizeWeightsBase<QuantizeWeightsPass> {
  using QuantizeWeightsBase::QuantizeWeightsBase;

  LogicalResult initialize(MLIRContext *context) override {
    auto isKnown = [&](StringRef name) -> LogicalResult {
      if (parseFormat(name))
        return success();
      return emitError(UnknownLoc::get(context))
             << "format '" << name << "' of weights: expected one of "
             << llvm::join(getWeightFormats(), ", ");
    };
    return success(
        succeeded(isKnown(format)) &&
        (lowRankFormat.empty() || succeeded(isKnown(lowRankFormat))));
  }

  void runOnOperation() override {
    // All products with one matrix; a matrix that is used in another way by
    // some of them keeps its values in all, so that all functions agree.
    llvm::MapVector<Attribute, SmallVector<Product>> byMatrix;
    llvm::DenseMap<Attribute, int64_t> operands;
    getOperation().walk([&](linalg::LinalgOp op) {
      for (Value operand : op->getOperands()) {
        Attribute value;
        if (isa<RankedTensorType>(operand.getType()) &&
            matchPattern(operand, m_Constant(&value)))
          ++operands[value];
      }
      if (std::optional<Product> product = match(op))
        byMatrix[product->value].push_back(*product);
    });
    for (auto &[value, products] : byMatrix) {
      if (operands.lookup(value) != static_cast<int64_t>(products.size()))
        continue;
      std::optional<Encoded> encoded = encode(products);
      if (!encoded)
        continue;
      for (Product &product : products)
        rewrite(product, *encoded);
      ++numMatrices;
    }
  }

  /// The format for a matrix of that size, if it is to have one.
  std::optional<Format> chooseFormat(const Source &source) const {
    if (source.rows * source.columns < minElements)
      return std::nullopt;
    auto [rank, size] = std::minmax(source.rows, source.columns);
    bool isLowRank = rank <= maxRank && rank * kLowRankRatio < size;
    std::optional<Format> chosen = parseFormat(
        isLowRank && !lowRankFormat.empty() ? lowRankFormat : format);
    bool hasBlocks = *chosen == Format::Int8 || *chosen == Format::Int4;
    if (hasBlocks && source.rows % kBlockRows != 0)
      return std::nullopt;
    return chosen;
  }

  std::optional<Encoded> encode(ArrayRef<Product> products) {
    Source source = products.front().source();
    for (const Product &product : products)
      if (product.source().rowAxis != source.rowAxis)
        return std::nullopt;
    std::optional<Format> chosen = chooseFormat(source);
    if (!chosen || (source.element.getIntOrFloatBitWidth() <= 16 &&
                    (*chosen == Format::BF16 || *chosen == Format::F16)))
      return std::nullopt;
    // Beyond it, f16 is infinite; elsewhere this is no number.
    float limit = *chosen == Format::F16 ? 65504.0f : 3.0e38f;
    if (!(source.findLargest() <= limit))
      return std::nullopt;
    Builder b(&getContext());
    Encoded encoded{*chosen, nullptr, nullptr};
    auto make = [&](ArrayRef<int64_t> shape, Type element,
                    BoxReader read) -> ElementsAttr {
      llvm::Expected<ElementsAttr> made = makeConstant(
          RankedTensorType::get(shape, element), "quantized", std::move(read));
      if (made)
        return *made;
      products.front().op->emitWarning()
          << "its weights keep their format, as others cannot be written: "
          << toString(made.takeError());
      return nullptr;
    };
    int64_t blocks = source.rows / kBlockRows;
    if (*chosen == Format::BF16 || *chosen == Format::F16) {
      Type element =
          *chosen == Format::BF16 ? Type(b.getBF16Type()) : b.getF16Type();
      encoded.numbers = make({source.rows, source.columns}, element,
                             readNumbers(source, element));
      return encoded.numbers ? std::optional(encoded) : std::nullopt;
    }
    int64_t rows = *chosen == Format::Int4 ? kBlockRows / 2 : kBlockRows;
    encoded.numbers =
        make({blocks, rows, source.columns}, b.getI8Type(),
             readBlocks(source, *chosen, rows, /*isScales=*/false));
    encoded.scales = make({blocks, source.columns}, b.getBF16Type(),
                          readBlocks(source, *chosen, rows, /*isScales=*/true));
    return encoded.numbers && encoded.scales ? std::optional(encoded)
                                             : std::nullopt;
  }

  void rewrite(Product &product, const Encoded &encoded);
};

/// Loops of a product whose sum runs over blocks of rows and rows of a block.
class BlockLoops {
public:
  BlockLoops(const Product &product, MLIRContext *context)
      : product(product), context(context) {}

  /// Loop \p old as it is numbered now; the sum's is that over blocks.
  AffineExpr loop(unsigned old) const {
    return getAffineDimExpr(old > product.sum ? old + 1 : old, context);
  }
  AffineExpr inBlock() const {
    return getAffineDimExpr(product.sum + 1, context);
  }
  AffineMap map(ArrayRef<AffineExpr> exprs) const {
    linalg::LinalgOp op = product.op;
    return AffineMap::get(op.getNumLoops() + 1, 0, exprs, context);
  }
  /// \p old , in which the summed axis, if it has one, became \p inside the
  /// block.
  AffineMap remap(AffineMap old, ArrayRef<AffineExpr> inside) const {
    SmallVector<AffineExpr> exprs;
    for (AffineExpr expr : old.getResults()) {
      SmallVector<AffineExpr> dims;
      for (unsigned d = 0; d < old.getNumDims(); ++d)
        dims.push_back(loop(d));
      exprs.push_back(expr.replaceDims(dims));
      if (auto dim = dyn_cast<AffineDimExpr>(expr);
          dim && dim.getPosition() == product.sum)
        llvm::append_range(exprs, inside);
    }
    return map(exprs);
  }
  SmallVector<utils::IteratorType> kinds() const {
    linalg::LinalgOp op = product.op;
    SmallVector<utils::IteratorType> kinds = op.getIteratorTypesArray();
    kinds.insert(kinds.begin() + product.sum + 1,
                 utils::IteratorType::reduction);
    return kinds;
  }

private:
  const Product &product;
  MLIRContext *context;
};

} // namespace

/// \p value with axis \p axis split into the sizes \p inside, the last ones,
/// and what is left.
static Value splitAxis(ImplicitLocOpBuilder &b, Value value, unsigned axis,
                       ArrayRef<int64_t> inside) {
  auto type = cast<RankedTensorType>(value.getType());
  SmallVector<int64_t> shape;
  SmallVector<ReassociationIndices> groups;
  for (auto [i, size] : llvm::enumerate(type.getShape())) {
    ReassociationIndices &group = groups.emplace_back();
    group.push_back(shape.size());
    shape.push_back(size);
    if (i != axis)
      continue;
    for (int64_t part : inside) {
      shape[group.front()] /= part;
      group.push_back(shape.size());
      shape.push_back(part);
    }
  }
  return tensor::ExpandShapeOp::create(b, type.clone(shape), value, groups);
}

void QuantizeWeightsPass::rewrite(Product &product, const Encoded &encoded) {
  linalg::LinalgOp op = product.op;
  IRRewriter rewriter(op);
  ImplicitLocOpBuilder b(op.getLoc(), rewriter);
  SmallVector<AffineMap> maps = op.getIndexingMapsArray();
  AffineMap ofOther = maps[1 - product.matrix], ofResult = maps.back();
  Value numbers = arith::ConstantOp::create(b, encoded.numbers);
  Value place = op.getDpsInits()[0], other = product.getOther();
  Type type = place.getType(), sum = b.getF32Type();
  unsigned axis = *findAxis(ofOther, product.sum);
  BlockLoops loops(product, &getContext());
  auto widen = [&](OpBuilder &nested, Location loc, Value value) {
    return convertScalarToDtype(nested, loc, value, sum,
                                /*isUnsignedCast=*/false);
  };

  linalg::GenericOp result;
  if (!encoded.scales) {
    AffineMap ofMatrix = AffineMap::get(
        op.getNumLoops(), 0,
        {b.getAffineDimExpr(product.sum), b.getAffineDimExpr(product.column)},
        b.getContext());
    result = linalg::GenericOp::create(
        b, type, ValueRange{other, numbers}, place,
        ArrayRef<AffineMap>{ofOther, ofMatrix, ofResult},
        op.getIteratorTypesArray(),
        [&](OpBuilder &nested, Location loc, ValueRange args) {
          Value term =
              arith::MulFOp::create(nested, loc, widen(nested, loc, args[0]),
                                    widen(nested, loc, args[1]));
          term = arith::AddFOp::create(nested, loc, args[2], term);
          linalg::YieldOp::create(nested, loc, term);
        });
    rewriter.replaceOp(op, result);
    return;
  }
  Value scales = arith::ConstantOp::create(b, encoded.scales);
  AffineExpr block = loops.loop(product.sum),
             column = loops.loop(product.column);
  AffineMap ofNumbers = loops.map({block, loops.inBlock(), column});
  AffineMap ofScales = loops.map({block, column});
  bool isFour = encoded.format == Format::Int4;
  SmallVector<Value> inputs;
  SmallVector<AffineMap> newMaps;
  if (isFour) {
    Value halves = splitAxis(b, other, axis, {2, kBlockRows / 2});
    for (int64_t half : {0, 1}) {
      inputs.push_back(halves);
      newMaps.push_back(loops.remap(
          ofOther, {b.getAffineConstantExpr(half), loops.inBlock()}));
    }
  } else {
    inputs.push_back(splitAxis(b, other, axis, {kBlockRows}));
    newMaps.push_back(loops.remap(ofOther, loops.inBlock()));
  }
  llvm::append_range(inputs, ValueRange{numbers, scales});
  llvm::append_range(newMaps, ArrayRef<AffineMap>{ofNumbers, ofScales,
                                                  loops.remap(ofResult, {})});
  result = linalg::GenericOp::create(
      b, type, inputs, place, newMaps, loops.kinds(),
      [&](OpBuilder &nested, Location loc, ValueRange args) {
        ImplicitLocOpBuilder body(loc, nested);
        auto multiply = [&](Value x, Value number) -> Value {
          return arith::MulFOp::create(body, widen(nested, loc, x),
                                       widen(nested, loc, number));
        };
        Value term;
        if (isFour) {
          // The halves of the byte with their signs.
          auto constant = [&](int16_t value) -> Value {
            return arith::ConstantOp::create(body,
                                             body.getI16IntegerAttr(value));
          };
          Value byte = arith::ExtSIOp::create(body, body.getI16Type(), args[2]);
          Value low = arith::ShLIOp::create(body, byte, constant(12));
          low = arith::ShRSIOp::create(body, low, constant(12));
          Value high = arith::ShRSIOp::create(body, byte, constant(4));
          term = arith::AddFOp::create(body, multiply(args[0], low),
                                       multiply(args[1], high));
        } else {
          term = multiply(args[0], args[1]);
        }
        Value scale = widen(nested, loc, args[args.size() - 2]);
        term = arith::MulFOp::create(body, term, scale);
        term = arith::AddFOp::create(body, args.back(), term);
        linalg::YieldOp::create(body, term);
      });
  rewriter.replaceOp(op, result);
}
