//===- FoldEmbeddingNorm.cpp - The norm behind the embedding table --------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "mlir/Analysis/SliceAnalysis.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Matchers.h"
#include "rwkvc/Dialect/WKV/IR/WKV.h"
#include "rwkvc/Dialect/WKV/Transforms/Passes.h"
#include "rwkvc/Support/Constants.h"
#include "llvm/Support/Endian.h"
#include <array>
#include <cmath>
#include <vector>

namespace rwkvc::wkv {
#define GEN_PASS_DEF_FOLDEMBEDDINGNORM
#include "rwkvc/Dialect/WKV/Transforms/Passes.h.inc"
} // namespace rwkvc::wkv

using namespace mlir;
using namespace rwkvc;

/// Reads and writes elements of one type; 32 bits directly, since tables are
/// large.
namespace {
class Codec {
public:
  explicit Codec(FloatType type)
      : semantics(type.getFloatSemantics()), width(type.getWidth()),
        isSingle(type.isF32()) {}

  /// Those that follow one another.
  void read(const char *data, MutableArrayRef<double> numbers) const {
    if (isSingle)
      for (auto [i, number] : llvm::enumerate(numbers))
        number = llvm::bit_cast<float>(
            llvm::support::endian::read32le(data + 4 * i));
    else
      for (auto [i, number] : llvm::enumerate(numbers))
        number = readOne(data, i);
  }

  /// Writes them from element \p first on.
  void write(char *data, int64_t first, ArrayRef<double> numbers) const {
    if (isSingle)
      for (auto [i, number] : llvm::enumerate(numbers))
        llvm::support::endian::write32le(
            data + 4 * (first + i),
            llvm::bit_cast<uint32_t>(static_cast<float>(number)));
    else
      for (auto [i, number] : llvm::enumerate(numbers))
        writeOne(data, first + i, number);
  }

private:
  double readOne(const char *data, int64_t i) const {
    APInt bits(width, 0);
    for (unsigned byte = 0; byte < width / 8; ++byte)
      bits.insertBits(static_cast<uint8_t>(data[i * (width / 8) + byte]),
                      8 * byte, 8);
    APFloat value(semantics, bits);
    bool lost;
    value.convert(APFloat::IEEEdouble(), APFloat::rmNearestTiesToEven, &lost);
    return value.convertToDouble();
  }

  void writeOne(char *data, int64_t i, double number) const {
    APFloat value(number);
    bool lost;
    value.convert(semantics, APFloat::rmNearestTiesToEven, &lost);
    APInt bits = value.bitcastToAPInt();
    for (unsigned byte = 0; byte < width / 8; ++byte)
      data[i * (width / 8) + byte] =
          static_cast<char>(bits.extractBitsAsZExtValue(8, 8 * byte));
  }

  const llvm::fltSemantics &semantics;
  unsigned width;
  bool isSingle;
};

/// A norm of rows that are read from a constant table.
struct Match {
  wkv::LayerNormOp norm;
  OpOperand *tableUse;
  arith::ConstantOp table;
  RankedTensorType type; ///< of the table, rows by width
};
} // namespace

/// The values of \p value, a constant of \p width elements; \p otherwise where
/// there is none.
static std::optional<SmallVector<double>> readRow(Value value, int64_t width,
                                                  double otherwise) {
  if (!value)
    return SmallVector<double>(width, otherwise);
  Attribute attr;
  if (!matchPattern(value, m_Constant(&attr)))
    return std::nullopt;
  auto elements = cast<ElementsAttr>(attr);
  if (elements.getNumElements() != width)
    return std::nullopt;
  Codec codec(cast<FloatType>(elements.getElementType()));
  if (auto dense = dyn_cast<DenseElementsAttr>(attr);
      dense && dense.isSplat()) {
    double number;
    codec.read(dense.getRawData().data(), number);
    return SmallVector<double>(width, number);
  }
  std::optional<ArrayRef<char>> bytes = getRawBytes(attr);
  if (!bytes)
    return std::nullopt;
  SmallVector<double> row(width);
  codec.read(bytes->data(), row);
  return row;
}

/// The operand by which \p slice reads whole rows of a matrix.
static OpOperand *matchSlice(tensor::ExtractSliceOp slice) {
  RankedTensorType source = slice.getSourceType();
  if (source.getRank() != 2 ||
      !isConstantIntValue(slice.getMixedOffsets()[1], 0) ||
      !isConstantIntValue(slice.getMixedSizes()[1], source.getDimSize(1)) ||
      !isConstantIntValue(slice.getMixedStrides()[1], 1))
    return nullptr;
  return &slice.getSourceMutable();
}

/// The operand by which \p op reads rows of a matrix, whose numbers do not
/// depend on the place within the row.
static OpOperand *matchGather(linalg::GenericOp op) {
  if (op.getNumResults() != 1 || op.getNumReductionLoops() != 0 ||
      !op.getIndexingMapsArray().back().isIdentity() || op.getNumLoops() == 0)
    return nullptr;
  unsigned last = op.getNumLoops() - 1;
  auto isLast = [&](Operation *inner) {
    auto index = dyn_cast_or_null<linalg::IndexOp>(inner);
    return index && index.getDim() == last;
  };
  auto extract = op.getBody()
                     ->getTerminator()
                     ->getOperand(0)
                     .getDefiningOp<tensor::ExtractOp>();
  if (!extract || extract->getBlock() != op.getBody() ||
      extract.getIndices().size() != 2 ||
      !isLast(extract.getIndices()[1].getDefiningOp()))
    return nullptr;
  auto rows = cast<RankedTensorType>(extract.getTensor().getType());
  auto result = cast<RankedTensorType>(op.getResult(0).getType());
  if (rows.getDimSize(1) != result.getShape().back())
    return nullptr;
  // Operands of the op may vary along the row too.
  BackwardSliceOptions options;
  options.inclusive = true;
  options.omitBlockArguments = true;
  options.filter = [&](Operation *inner) {
    return inner->getBlock() == op.getBody();
  };
  SetVector<Operation *> slice;
  if (failed(getBackwardSlice(extract.getIndices()[0], &slice, options)) ||
      llvm::any_of(slice, isLast))
    return nullptr;
  auto variesAlongRow = [&](Value value) {
    auto argument = dyn_cast<BlockArgument>(value);
    return argument && argument.getOwner() == op.getBody() &&
           (argument.getArgNumber() >= op.getNumDpsInputs() ||
            op.getMatchingIndexingMap(op.getMatchingOpOperand(argument))
                .isFunctionOfDim(last));
  };
  if (variesAlongRow(extract.getIndices()[0]) ||
      llvm::any_of(slice, [&](Operation *inner) {
        return llvm::any_of(inner->getOperands(), variesAlongRow);
      }))
    return nullptr;
  return &extract.getTensorMutable();
}

static std::optional<Match> match(wkv::LayerNormOp norm) {
  Value rows = norm.getX();
  while (rows.hasOneUse() && rows.getDefiningOp() &&
         isa<tensor::ExpandShapeOp, tensor::CollapseShapeOp, tensor::CastOp>(
             rows.getDefiningOp()))
    rows = rows.getDefiningOp()->getOperand(0);
  OpOperand *use = nullptr;
  if (auto slice = rows.getDefiningOp<tensor::ExtractSliceOp>())
    use = matchSlice(slice);
  else if (auto gather = rows.getDefiningOp<linalg::GenericOp>())
    use = matchGather(gather);
  if (!use || !rows.hasOneUse())
    return std::nullopt;
  auto table = use->get().getDefiningOp<arith::ConstantOp>();
  auto type = cast<RankedTensorType>(use->get().getType());
  // Along the rows, and of the type that the table keeps.
  auto normalised = cast<RankedTensorType>(norm.getX().getType());
  if (!table || !type.hasStaticShape() ||
      !isa<FloatType>(type.getElementType()) ||
      normalised.getElementType() != type.getElementType() ||
      normalised.getShape().back() != type.getDimSize(1))
    return std::nullopt;
  return Match{norm, use, table, type};
}

namespace {

struct FoldEmbeddingNormPass
    : wkv::impl::FoldEmbeddingNormBase<FoldEmbeddingNormPass> {
  using FoldEmbeddingNormBase::FoldEmbeddingNormBase;

  void runOnOperation() override {
    SmallVector<Match> matches;
    getOperation().walk([&](wkv::LayerNormOp norm) {
      if (std::optional<Match> found = match(norm))
        matches.push_back(*found);
    });
    for (Match &found : matches)
      fold(found);
  }

  /// Whether anything but the gather reads the table, through any constant.
  bool isShared(Match &found) {
    int64_t uses = 0;
    Attribute value = found.table.getValue();
    getOperation().walk([&](arith::ConstantOp other) {
      if (other.getValue() == value)
        uses += llvm::range_size(other->getUses());
    });
    return uses != 1;
  }

  void fold(Match &found) {
    int64_t width = found.type.getDimSize(1);
    std::optional<SmallVector<double>> scale =
        readRow(found.norm.getScale(), width, 1.0);
    std::optional<SmallVector<double>> bias =
        readRow(found.norm.getBias(), width, 0.0);
    int64_t bytes = *getRawSize(found.type);
    if (!hasRawBytes(found.table.getValue()) || width == 0 || !scale || !bias ||
        bytes > maxBytes || isShared(found))
      return;
    ElementsAttr folded = evaluate(found, *scale, *bias);
    if (!folded)
      return;
    OpBuilder b(found.table);
    found.tableUse->set(
        arith::ConstantOp::create(b, found.table.getLoc(), folded));
    found.table.erase();
    found.norm.replaceAllUsesWith(found.norm.getX());
    found.norm.erase();
    ++numFolded;
    numBytes += bytes;
  }

  /// The table with each row normalised; null where there is no room for it.
  ElementsAttr evaluate(Match &found, ArrayRef<double> scale,
                        ArrayRef<double> bias) {
    std::string name =
        deriveName(getTensorNames(found.table.getValue()), "normalised");
    llvm::Expected<ElementsAttr> folded =
        makeConstant(found.type, name, normalise(found, scale, bias));
    if (folded)
      return *folded;
    found.norm.emitWarning()
        << "is computed for every token: its table of "
        << *getRawSize(found.type)
        << " bytes cannot be written: " << toString(folded.takeError());
    return nullptr;
  }

  static BoxReader normalise(Match &found, ArrayRef<double> scale,
                             ArrayRef<double> bias) {
    return [table = found.table.getValue(), type = found.type,
            epsilon = found.norm.getEpsilon().convertToDouble(),
            rootEpsilon = found.norm.getRootEpsilon().convertToDouble(),
            scale = SmallVector<double>(scale),
            bias = SmallVector<double>(bias)](const Box &box,
                                              MutableArrayRef<char> to) {
      Codec codec(cast<FloatType>(type.getElementType()));
      int64_t width = type.getDimSize(1), next = 0;
      // Sums of several rows at once: each add waits for the one before it.
      constexpr int64_t kRows = 8;
      std::vector<double> values(kRows * width);
      SmallVector<char> from;
      for (int64_t first = 0; first < box.sizes[0]; first += kRows) {
        int64_t count = std::min(kRows, box.sizes[0] - first);
        from.resize_for_overwrite(count * width *
                                  type.getElementTypeBitWidth() / 8);
        readBox(table, Box{{box.offsets[0] + first, 0}, {count, width}}, from);
        codec.read(from.data(),
                   MutableArrayRef(values).take_front(count * width));
        std::array<double, kRows> means{}, squares{};
        for (int64_t i = 0; i < width; ++i)
          for (int64_t r = 0; r < kRows; ++r)
            means[r] += values[r * width + i];
        for (double &mean : means)
          mean /= width;
        for (int64_t i = 0; i < width; ++i)
          for (int64_t r = 0; r < kRows; ++r) {
            double value = values[r * width + i] -= means[r];
            squares[r] += value * value;
          }
        for (int64_t r = 0; r < count; ++r) {
          double inverse =
              1.0 / (std::sqrt(squares[r] / width + epsilon) + rootEpsilon);
          auto row = MutableArrayRef(values).slice(r * width + box.offsets[1],
                                                   box.sizes[1]);
          for (auto [i, value] : llvm::enumerate(row)) {
            int64_t column = box.offsets[1] + i;
            value = value * inverse * scale[column] + bias[column];
          }
          codec.write(to.data(), next, row);
          next += row.size();
        }
      }
    };
  }
};

} // namespace
