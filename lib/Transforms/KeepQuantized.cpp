//===- KeepQuantized.cpp - Quantised weights of the model's file ----------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "WeightUses.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/Matchers.h"
#include "rwkvc/Support/Constants.h"
#include "rwkvc/Support/Reshapes.h"
#include "rwkvc/Transforms/Passes.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/Parallel.h"
#include <numeric>

namespace rwkvc {
#define GEN_PASS_DEF_KEEPQUANTIZED
#include "rwkvc/Transforms/Passes.h.inc"
} // namespace rwkvc

using namespace mlir;
using namespace rwkvc;

namespace {

/// A constant operand of what dequantises, and how its element for an element
/// of the matrix is found: strides along the matrix's two axes, of which one
/// may count in blocks.
struct Source {
  Attribute value;
  int64_t strides[2] = {0, 0};
  int64_t blocks[2] = {1, 1}; ///< positions that share an element

  int64_t place(int64_t row, int64_t column) const {
    return row / blocks[0] * strides[0] + column / blocks[1] * strides[1];
  }
};

/// (number - zero) * scale for each element of a matrix.
struct Dequantized {
  Source numbers, scales, zeros; ///< zeros may be absent
  bool isUnsigned = false;
  int64_t shape[2] = {0, 0};

  /// Equal for the same matrix in all functions, which may have its constants
  /// in other shapes.
  std::string key() const {
    std::string text;
    llvm::raw_string_ostream os(text);
    os << isUnsigned << ' ' << shape[0] << ' ' << shape[1];
    for (const Source *source : {&numbers, &scales, &zeros}) {
      if (!source->value)
        continue;
      os << ' ' << source->strides[0] << ' ' << source->strides[1] << ' '
         << source->blocks[0] << ' ' << source->blocks[1] << ' '
         << identifyConstant(source->value);
    }
    return text;
  }
};

/// What reads a matrix, in all functions.
struct Uses {
  Dequantized matrix;
  SmallVector<Product> products;
  SmallVector<Operation *> reads;
  bool hasOthers = false;
};

/// Integers or their parameters in memory.
class Integers {
public:
  Integers(const Source &source, bool isUnsigned)
      : source(source), isUnsigned(isUnsigned) {
    if (std::optional<ArrayRef<char>> raw = getRawBytes(source.value))
      bytes = *raw;
    else
      splat = cast<DenseElementsAttr>(source.value).getRawData().front();
  }
  int operator()(int64_t row, int64_t column) const {
    char byte = bytes.empty() ? splat : bytes[source.place(row, column)];
    return isUnsigned ? static_cast<int>(static_cast<unsigned char>(byte))
                      : static_cast<int>(static_cast<signed char>(byte));
  }

private:
  const Source &source;
  bool isUnsigned;
  ArrayRef<char> bytes;
  char splat = 0;
};

} // namespace

/// \p value without a conversion to a wider type.
template <typename... Ops> static Value skip(Value value) {
  Operation *def = value.getDefiningOp();
  return isa_and_nonnull<Ops...>(def) ? def->getOperand(0) : value;
}

/// The constant behind reshapes of \p value that all functions share.
static Attribute getConstant(Value value) {
  Attribute constant;
  if (!matchPattern(getReshapeSource(value), m_Constant(&constant)))
    return nullptr;
  auto dense = dyn_cast<DenseElementsAttr>(constant);
  return getRawBytes(constant) || (dense && dense.isSplat()) ? constant
                                                             : nullptr;
}

/// The strides by which \p op reads its input \p index , of a matrix whose axes
/// are the loops \p axes .
static std::optional<Source>
readSource(linalg::GenericOp op, unsigned index,
           ArrayRef<SmallVector<unsigned, 2>> axes) {
  Value operand = op->getOperand(index);
  auto type = cast<RankedTensorType>(operand.getType());
  Source source;
  source.value = getConstant(operand);
  if (!source.value)
    return std::nullopt;
  AffineMap map = op.getIndexingMapsArray()[index];
  SmallVector<int64_t> strides(op.getNumLoops(), 0);
  int64_t stride = 1;
  for (int64_t i = type.getRank() - 1; i >= 0; --i) {
    AffineExpr expr = map.getResult(i);
    if (auto dim = dyn_cast<AffineDimExpr>(expr))
      strides[dim.getPosition()] = stride;
    else if (!isa<AffineConstantExpr>(expr) || type.getDimSize(i) != 1)
      return std::nullopt;
    stride *= type.getDimSize(i);
  }
  SmallVector<int64_t> ranges = op.getStaticLoopRanges();
  for (unsigned axis : {0u, 1u}) {
    ArrayRef<unsigned> loops = axes[axis];
    source.strides[axis] = strides[loops.front()];
    if (loops.size() == 1)
      continue;
    // Blocks and places in them: a number for each, or one for the block.
    int64_t inner = ranges[loops[1]];
    if (strides[loops[1]] == 0)
      source.blocks[axis] = inner;
    else if (strides[loops[0]] == inner * strides[loops[1]])
      source.strides[axis] = strides[loops[1]];
    else
      return std::nullopt;
  }
  return source;
}

/// \p value as what dequantises a constant matrix.
static std::optional<Dequantized> matchDequantized(Value value) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  auto op = getReshapeSource(value).getDefiningOp<linalg::GenericOp>();
  if (!type || type.getRank() != 2 || !type.hasStaticShape() || !op ||
      op.getNumReductionLoops() != 0 || op.getNumResults() != 1 ||
      op.hasIndexSemantics() || !op.hasPureTensorSemantics() ||
      !op.getIndexingMapsArray().back().isIdentity())
    return std::nullopt;
  // The loops of either axis of the matrix: of three, two are of one axis.
  SmallVector<int64_t> ranges = op.getStaticLoopRanges();
  SmallVector<SmallVector<unsigned, 2>> axes(2);
  int64_t size = 1;
  unsigned axis = 0;
  for (unsigned loop = 0; loop < ranges.size(); ++loop) {
    if (axis > 1)
      return std::nullopt;
    axes[axis].push_back(loop);
    size *= ranges[loop];
    if (size != type.getDimSize(axis) ||
        (loop + 1 < ranges.size() && ranges[loop + 1] == 1))
      continue;
    ++axis;
    size = 1;
  }
  if (axis != 2 || axes[0].size() > 2 || axes[1].size() > 2)
    return std::nullopt;
  // (number - zero) * scale, with conversions.
  Block &body = *op.getBody();
  Value result = skip<arith::TruncFOp>(body.getTerminator()->getOperand(0));
  auto multiply = result.getDefiningOp<arith::MulFOp>();
  if (!multiply)
    return std::nullopt;
  Value integer = multiply.getLhs();
  Operation *convert = integer.getDefiningOp();
  if (!isa_and_nonnull<arith::SIToFPOp, arith::UIToFPOp>(convert))
    return std::nullopt;
  integer = convert->getOperand(0);
  Value scale = skip<arith::ExtFOp>(multiply.getRhs()), zero;
  if (auto subtract = integer.getDefiningOp<arith::SubIOp>()) {
    integer = subtract.getLhs();
    zero = skip<arith::ExtSIOp, arith::ExtUIOp>(subtract.getRhs());
  }
  Dequantized matrix;
  matrix.isUnsigned =
      integer.getDefiningOp<arith::ExtUIOp>() || isa<arith::UIToFPOp>(convert);
  Value number = skip<arith::ExtSIOp, arith::ExtUIOp>(integer);
  auto read = [&](Value argument, Source &source) {
    auto input = dyn_cast<BlockArgument>(argument);
    if (!input || input.getOwner() != &body ||
        input.getArgNumber() >= op.getNumDpsInputs())
      return false;
    std::optional<Source> found = readSource(op, input.getArgNumber(), axes);
    if (found)
      source = *found;
    return found.has_value();
  };
  if (!number.getType().isInteger(8) || !read(number, matrix.numbers) ||
      !read(scale, matrix.scales) || !isa<FloatType>(scale.getType()) ||
      (zero && (!zero.getType().isInteger(8) || !read(zero, matrix.zeros))) ||
      !getRawBytes(matrix.numbers.value))
    return std::nullopt;
  llvm::copy(type.getShape(), matrix.shape);
  return matrix;
}

namespace {

/// A matrix with its axes told apart, and what its numbers need.
class Encoder {
public:
  Encoder(const Dequantized &matrix, unsigned sumAxis, Layout layout)
      : matrix(matrix), sum(sumAxis), layout(layout),
        rows(matrix.shape[sumAxis]), columns(matrix.shape[1 - sumAxis]),
        numbers(matrix.numbers, matrix.isUnsigned) {
    if (matrix.zeros.value)
      zeros.emplace(matrix.zeros, matrix.isUnsigned);
    // Blocks of the file that are longer repeat their scales.
    int64_t shared = matrix.scales.blocks[sum];
    isByColumn = matrix.scales.strides[sum] == 0;
    if (isByColumn)
      blockRows = rows % kBlockRows == 0 ? kBlockRows : rows;
    else
      blockRows = std::gcd(shared, kBlockRows);
  }

  /// False where each row or so has a scale of its own.
  bool isUsable() const {
    return isByColumn || (blockRows >= 8 && rows % blockRows == 0);
  }
  std::optional<EncodedMatrix> encode(Operation *user);

private:
  int number(int64_t row, int64_t column) const {
    return sum == 0 ? numbers(row, column) : numbers(column, row);
  }
  int zero(int64_t row, int64_t column) const {
    if (!zeros)
      return 0;
    return sum == 0 ? (*zeros)(row, column) : (*zeros)(column, row);
  }
  void measure();
  void writeNumbers(MutableArrayRef<char> bytes) const;
  void writeScales(MutableArrayRef<char> bytes) const;
  void writeZeros(MutableArrayRef<char> bytes) const;
  int64_t scaleBlocks() const { return isByColumn ? 1 : rows / blockRows; }
  int64_t scalePlace(int64_t block, int64_t column) const {
    return layout == Layout::ColumnsFirst ? column * scaleBlocks() + block
                                          : block * columns + column;
  }

  const Dequantized &matrix;
  unsigned sum;
  Layout layout;
  int64_t rows, columns, blockRows;
  bool isByColumn;
  Integers numbers;
  std::optional<Integers> zeros;
  // What is stored is the number less the bias, in so few bits.
  int bias = 0;
  bool hasZeros = false, isUnsigned = false, hasNibbles = false;
};

} // namespace

/// Whether all numbers fit 4 bits, and whether one zero point serves all.
void Encoder::measure() {
  int lowest = INT_MAX, highest = INT_MIN, first = zero(0, 0);
  std::vector<std::array<int, 4>> ranges(rows);
  llvm::parallelFor(0, rows, [&](size_t row) {
    std::array<int, 4> range{INT_MAX, INT_MIN, INT_MAX, INT_MIN};
    for (int64_t column = 0; column < columns; ++column) {
      int value = number(row, column), origin = zero(row, column);
      range = {std::min(range[0], value), std::max(range[1], value),
               std::min(range[2], origin), std::max(range[3], origin)};
    }
    ranges[row] = range;
  });
  bool isOne = true;
  for (const std::array<int, 4> &range : ranges) {
    lowest = std::min(lowest, range[0]);
    highest = std::max(highest, range[1]);
    isOne &= range[2] == first && range[3] == first;
  }
  auto fits = [](int low, int high, int least, int most) {
    return low >= least && high <= most;
  };
  bool isEven = blockRows % 2 == 0 && layout == Layout::ColumnsLast;
  isUnsigned = matrix.isUnsigned;
  if (isOne && fits(lowest - first, highest - first, -128, 127)) {
    bias = first;
    isUnsigned = false;
  }
  hasZeros = !isOne || (bias == 0 && first != 0);
  hasNibbles =
      isEven && (isUnsigned ? fits(lowest, highest, 0, 15)
                            : fits(lowest - bias, highest - bias, -8, 7));
  // A zero point of nibbles has a sign.
  for (const std::array<int, 4> &range : ranges)
    if (hasNibbles && hasZeros && range[3] > 127)
      hasNibbles = false;
}

void Encoder::writeNumbers(MutableArrayRef<char> bytes) const {
  int64_t perBlock = hasNibbles ? blockRows / 2 : blockRows;
  int64_t blocks = rows / blockRows;
  bool columnsFirst = layout == Layout::ColumnsFirst;
  llvm::parallelFor(0, blocks, [&](size_t block) {
    for (int64_t i = 0; i < perBlock; ++i)
      for (int64_t column = 0; column < columns; ++column) {
        int64_t row = block * blockRows + i;
        int value = number(row, column) - bias;
        if (hasNibbles)
          value = (value & 15) | ((number(row + perBlock, column) - bias) & 15)
                                     << 4;
        int64_t place = columnsFirst
                            ? (column * blocks + block) * perBlock + i
                            : (block * perBlock + i) * columns + column;
        bytes[place] = static_cast<char>(value);
      }
  });
}

void Encoder::writeScales(MutableArrayRef<char> bytes) const {
  auto elements = cast<ElementsAttr>(matrix.scales.value);
  int64_t size = elements.getElementType().getIntOrFloatBitWidth() / 8;
  std::optional<ArrayRef<char>> raw = getRawBytes(matrix.scales.value);
  for (int64_t block = 0; block < scaleBlocks(); ++block)
    for (int64_t column = 0; column < columns; ++column) {
      int64_t row = block * blockRows;
      ArrayRef<char> from;
      if (raw)
        from = raw->slice(size * (sum == 0 ? matrix.scales.place(row, column)
                                           : matrix.scales.place(column, row)),
                          size);
      else
        from = cast<DenseElementsAttr>(matrix.scales.value).getRawData();
      llvm::copy(from, bytes.begin() + size * scalePlace(block, column));
    }
}

void Encoder::writeZeros(MutableArrayRef<char> bytes) const {
  for (int64_t block = 0; block < scaleBlocks(); ++block)
    for (int64_t column = 0; column < columns; ++column)
      bytes[scalePlace(block, column)] =
          static_cast<char>(zero(block * blockRows, column));
}

std::optional<EncodedMatrix> Encoder::encode(Operation *user) {
  measure();
  MLIRContext *context = user->getContext();
  Builder b(context);
  EncodedMatrix result;
  result.blockRows = blockRows;
  result.isUnsigned = isUnsigned;
  result.hasNibbles = hasNibbles;
  AffineExpr block = b.getAffineDimExpr(0), row = b.getAffineDimExpr(1),
             column = b.getAffineDimExpr(2);
  std::string source = matrix.key();
  auto part = [&](ArrayRef<int64_t> inRows, ArrayRef<AffineExpr> exprs,
                  Type element, StringRef which,
                  llvm::function_ref<void(MutableArrayRef<char>)> fill) {
    SmallVector<int64_t> shape(inRows);
    SmallVector<AffineExpr> results(exprs);
    bool isFirst = layout == Layout::ColumnsFirst;
    shape.insert(isFirst ? shape.begin() : shape.end(), columns);
    results.insert(isFirst ? results.begin() : results.end(), column);
    EncodedPart made{nullptr, AffineMap::get(3, 0, results, context)};
    llvm::Expected<ElementsAttr> value = writeConstant(
        RankedTensorType::get(shape, element),
        deriveName(getTensorNames(matrix.numbers.value), "packed"), fill,
        b.getArrayAttr({b.getStringAttr("kept"), b.getStringAttr(which),
                        b.getStringAttr(source), b.getIndexAttr(sum),
                        b.getBoolAttr(isFirst)}));
    if (value)
      made.value = *value;
    else
      user->emitWarning()
          << "its weights are dequantised for every token, as they cannot be "
             "written in another order: "
          << toString(value.takeError());
    return made;
  };
  result.numbers =
      part({rows / blockRows, hasNibbles ? blockRows / 2 : blockRows},
           {block, row}, b.getI8Type(), "numbers",
           [&](MutableArrayRef<char> bytes) { writeNumbers(bytes); });
  SmallVector<int64_t> scaleShape;
  SmallVector<AffineExpr> scaleExprs;
  if (!isByColumn) {
    scaleShape.push_back(scaleBlocks());
    scaleExprs.push_back(block);
  }
  result.scales =
      part(scaleShape, scaleExprs,
           cast<ElementsAttr>(matrix.scales.value).getElementType(), "scales",
           [&](MutableArrayRef<char> bytes) { writeScales(bytes); });
  if (hasZeros)
    result.zeros =
        part(scaleShape, scaleExprs, b.getI8Type(), "zeros",
             [&](MutableArrayRef<char> bytes) { writeZeros(bytes); });
  bool isWhole = result.numbers.value && result.scales.value &&
                 (!hasZeros || result.zeros.value);
  return isWhole ? std::optional(result) : std::nullopt;
}

namespace {

struct KeepQuantizedPass : rwkvc::impl::KeepQuantizedBase<KeepQuantizedPass> {
  using KeepQuantizedBase::KeepQuantizedBase;

  void runOnOperation() override {
    llvm::StringMap<size_t> places;
    std::vector<Uses> all;
    getOperation().walk([&](linalg::GenericOp op) {
      if (op.getNumResults() != 1)
        return;
      SmallVector<Value> views{op.getResult(0)};
      // A reshape that leads to the matrix, or the op gives it.
      for (Operation *user : op->getUsers())
        if (isReshape(user))
          views.push_back(user->getResult(0));
      for (Value view : views) {
        std::optional<Dequantized> matrix = matchDequantized(view);
        if (!matrix)
          continue;
        auto [place, isNew] = places.try_emplace(matrix->key(), all.size());
        if (isNew)
          all.push_back({*matrix, {}, {}, false});
        collect(view, all[place->second]);
      }
    });
    for (Uses &uses : all)
      rewrite(uses);
  }

  /// Adds what reads \p matrix .
  static void collect(Value matrix, Uses &uses) {
    for (OpOperand &use : matrix.getUses()) {
      Operation *user = use.getOwner();
      if (isReshape(user))
        continue; // which is looked at by itself
      auto linalgOp = dyn_cast<linalg::LinalgOp>(user);
      std::optional<Product> product =
          linalgOp && use.getOperandNumber() < 2
              ? matchProduct(linalgOp, use.getOperandNumber())
              : std::nullopt;
      if (product)
        uses.products.push_back(*product);
      else if (matchTableRead(user) == &use)
        uses.reads.push_back(user);
      else
        uses.hasOthers = true;
    }
  }

  void rewrite(Uses &uses) {
    if (uses.hasOthers || (uses.products.empty() && uses.reads.empty()))
      return;
    unsigned sum = uses.reads.empty() ? uses.products.front().getSumAxis() : 1;
    for (const Product &product : uses.products)
      if (product.getSumAxis() != sum)
        return;
    // A table's rows are read one by one.
    Encoder encoder(uses.matrix, sum,
                    uses.reads.empty() ? Layout::ColumnsLast
                                       : Layout::ColumnsFirst);
    if (!encoder.isUsable())
      return;
    Operation *first = uses.reads.empty()
                           ? uses.products.front().op.getOperation()
                           : uses.reads.front();
    std::optional<EncodedMatrix> encoded = encoder.encode(first);
    if (!encoded)
      return;
    for (const Product &product : uses.products)
      rewriteProduct(product, *encoded);
    for (Operation *read : uses.reads)
      rewriteTableRead(read, *encoded);
    ++numMatrices;
  }
};

} // namespace
