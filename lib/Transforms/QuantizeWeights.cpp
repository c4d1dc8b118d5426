//===- QuantizeWeights.cpp - Constant matrices in fewer bits --------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "WeightFormats.h"
#include "WeightUses.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/Matchers.h"
#include "rwkvc/Support/Constants.h"
#include "rwkvc/Transforms/Passes.h"
#include "rwkvc/Transforms/WeightRecipe.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/ToolOutputFile.h"
#include <cstring>
#include <memory>
#include <mutex>
#include <set>

namespace rwkvc {
#define GEN_PASS_DEF_QUANTIZEWEIGHTS
#include "rwkvc/Transforms/Passes.h.inc"
} // namespace rwkvc

using namespace mlir;
using namespace rwkvc;

namespace {

/// What reads a constant, in all functions.
struct Weight {
  SmallVector<Product> products;
  SmallVector<OpOperand *> reads; ///< of rows, as of a table

  size_t size() const { return products.size() + reads.size(); }
  Operation *first() {
    return products.empty() ? reads.front()->getOwner()
                            : products.front().op.getOperation();
  }
};

/// A constant as a matrix, whose rows a product sums over.
struct Source {
  Attribute value;
  Type element;
  unsigned rowAxis;
  int64_t rows, columns;

  /// Part of it; in \p room where its bytes are not there.
  MatrixView read(int64_t row, int64_t numRows, int64_t column,
                  int64_t numColumns, SmallVectorImpl<char> &room) const;
  /// The largest magnitude; infinite where an element is no number.
  float findLargest() const;
  /// The relative error of it in \p format .
  double measureError(WeightFormat format) const;
};

/// How a weight lies in memory, and what the recipe sees of it.
struct Description {
  Source source;
  Layout layout;
  WeightTraits traits;
};

/// A line of the report.
struct Entry {
  std::string tensor;
  SmallVector<std::string> nodes; ///< that read it
  SmallVector<int64_t> shape;
  StringRef format; ///< empty: as it was
  double bits = 0.0, error = 0.0;
  std::string reason; ///< why it was kept
};

} // namespace

/// The names of the nodes that \p loc tells of.
static void collectNodes(Location loc, SmallVectorImpl<std::string> &nodes) {
  loc->walk([&](Location part) {
    if (auto name = dyn_cast<NameLoc>(part)) {
      std::string node = name.getName().str();
      if (!llvm::is_contained(nodes, node))
        nodes.push_back(node);
    }
    return WalkResult::advance();
  });
}

/// The type, and with it the strides, of a matrix or table.
static RankedTensorType getType(const Weight &weight) {
  return cast<RankedTensorType>(
      weight.products.empty() ? weight.reads.front()->get().getType()
                              : weight.products.front().getMatrix().getType());
}

/// None where not all products sum over the same axis, or over another one than
/// a table's rows have.
static std::optional<Description> describe(Attribute value,
                                           const Weight &weight) {
  RankedTensorType type = getType(weight);
  unsigned sum =
      weight.reads.empty() ? weight.products.front().getSumAxis() : 1;
  for (const Product &product : weight.products)
    if (product.getSumAxis() != sum)
      return std::nullopt;
  Description result;
  result.source = {value, type.getElementType(), sum, type.getDimSize(sum),
                   type.getDimSize(1 - sum)};
  // Rows of a table must lie side by side, and both uses read one constant.
  result.layout =
      weight.reads.empty() ? Layout::ColumnsLast : Layout::ColumnsFirst;
  llvm::append_range(result.traits.tensors, getTensorNames(value));
  for (const Product &product : weight.products)
    collectNodes(product.op->getLoc(), result.traits.nodes);
  for (OpOperand *read : weight.reads)
    collectNodes(read->getOwner()->getLoc(), result.traits.nodes);
  result.traits.isTable = !weight.reads.empty();
  result.traits.rows = result.source.rows;
  result.traits.columns = result.source.columns;
  return result;
}

MatrixView Source::read(int64_t row, int64_t numRows, int64_t column,
                        int64_t numColumns, SmallVectorImpl<char> &room) const {
  // Lines lie one after another, of rows or of columns.
  auto strides = [&](int64_t ofRows, int64_t ofColumns) {
    return rowAxis == 0 ? std::pair<int64_t, int64_t>(ofColumns, 1)
                        : std::pair<int64_t, int64_t>(1, ofRows);
  };
  int64_t size = element.getIntOrFloatBitWidth() / 8;
  if (std::optional<ArrayRef<char>> bytes = findRawBytes(value)) {
    auto [rowStride, columnStride] = strides(rows, columns);
    int64_t first = row * rowStride + column * columnStride;
    return {bytes->drop_front(first * size),
            element,
            numRows,
            numColumns,
            rowStride,
            columnStride};
  }
  Box box{{row, column}, {numRows, numColumns}};
  if (rowAxis == 1) {
    std::swap(box.offsets[0], box.offsets[1]);
    std::swap(box.sizes[0], box.sizes[1]);
  }
  room.resize_for_overwrite(numRows * numColumns * size);
  readBox(value, box, room);
  auto [rowStride, columnStride] = strides(numRows, numColumns);
  return {room, element, numRows, numColumns, rowStride, columnStride};
}

float Source::findLargest() const {
  SmallVector<Piece> pieces =
      getPieces(cast<ElementsAttr>(value).getShapedType());
  std::vector<float> largest(pieces.size());
  forEachInOrder(pieces.size(), [&](size_t i) {
    SmallVector<char> room;
    largest[i] = rwkvc::findLargest(readPiece(value, pieces[i], room), element);
  });
  releasePages(*value.getContext());
  return largest.empty() ? 0.0f : *llvm::max_element(largest);
}

double Source::measureError(WeightFormat format) const {
  size_t blocks = llvm::divideCeil(rows, kBlockRows);
  std::vector<WeightError> parts(blocks);
  forEachInOrder(blocks, [&](size_t block) {
    SmallVector<char> room;
    int64_t first = block * kBlockRows;
    parts[block] = rwkvc::measureError(
        read(first, std::min(kBlockRows, rows - first), 0, columns, room),
        format);
  });
  releasePages(*value.getContext());
  WeightError total;
  for (const WeightError &part : parts)
    total += part;
  return total.relative();
}

/// Copies the \p take bytes from \p skip on of each \p line bytes; returns what
/// follows them.
static char *copyLines(ArrayRef<char> from, int64_t line, int64_t skip,
                       int64_t take, char *to) {
  for (; !from.empty(); from = from.drop_front(line))
    to = llvm::copy(from.slice(skip, take), to);
  return to;
}

/// Elements of \p source in 16 bits.
static BoxReader readNumbers(const Source &source, Type format, Layout layout) {
  return [=](const Box &box, MutableArrayRef<char> bytes) {
    unsigned row = layout == Layout::ColumnsFirst ? 1 : 0;
    SmallVector<char> room;
    encode16(source.read(box.offsets[row], box.sizes[row], box.offsets[1 - row],
                         box.sizes[1 - row], room),
             format, layout, bytes);
  };
}

namespace {
enum class Part { Numbers, Scales, Zeros };

/// The scales and zero points of a matrix, which its numbers are computed with.
/// They are kept from then until they are read, so that one pass over the
/// source does for both; rows are those of the tensors.
class BlockScales {
public:
  BlockScales(int64_t rows, int64_t columns, bool hasZeros)
      : rows(rows), columns(columns), hasZeros(hasZeros),
        numUnread(rows * columns * (hasZeros ? 2 : 1)) {}

  /// Whether somebody is still to read them.
  bool areWanted() {
    std::lock_guard<std::mutex> lock(mutex);
    return numUnread > 0;
  }
  void keep(const Box &box, ArrayRef<uint16_t> newScales,
            ArrayRef<char> newZeros);
  /// Writes those of \p box ; false if they are not there.
  bool read(const Box &box, Part part, MutableArrayRef<char> bytes);

private:
  /// No scale: a NaN.
  static constexpr uint16_t kAbsent = 0xffff;

  int64_t rows, columns;
  bool hasZeros;
  std::mutex mutex;
  int64_t numUnread;
  std::vector<uint16_t> scales;
  std::vector<char> zeros;
};
} // namespace

void BlockScales::keep(const Box &box, ArrayRef<uint16_t> newScales,
                       ArrayRef<char> newZeros) {
  std::lock_guard<std::mutex> lock(mutex);
  if (numUnread <= 0)
    return;
  if (scales.empty()) {
    scales.assign(rows * columns, kAbsent);
    zeros.resize(hasZeros ? rows * columns : 0);
  }
  int64_t width = box.sizes[1];
  for (int64_t row = 0; row < box.sizes[0]; ++row) {
    int64_t at = (box.offsets[0] + row) * columns + box.offsets[1];
    llvm::copy(newScales.slice(row * width, width), scales.begin() + at);
    if (hasZeros)
      llvm::copy(newZeros.slice(row * width, width), zeros.begin() + at);
  }
}

bool BlockScales::read(const Box &box, Part part, MutableArrayRef<char> bytes) {
  std::lock_guard<std::mutex> lock(mutex);
  bool isThere = !scales.empty();
  char *to = bytes.data();
  for (int64_t row = 0; row < box.sizes[0] && isThere; ++row) {
    int64_t at = (box.offsets[0] + row) * columns + box.offsets[1];
    ArrayRef<uint16_t> line(scales.data() + at, box.sizes[1]);
    isThere = !llvm::is_contained(line, kAbsent);
    if (part == Part::Scales) {
      std::memcpy(to, line.data(), line.size() * sizeof(uint16_t));
      to += line.size() * sizeof(uint16_t);
    } else {
      to = llvm::copy(ArrayRef<char>(zeros.data() + at, box.sizes[1]), to);
    }
  }
  numUnread -= box.getNumElements();
  if (numUnread <= 0) {
    scales = {};
    zeros = {};
  }
  return isThere;
}

/// A part of the blocks of \p source in \p format . A little of the source at a
/// time, which is much larger than its scales.
static BoxReader readBlocks(const Source &source, WeightFormat format,
                            Layout layout, Part part,
                            std::shared_ptr<BlockScales> kept) {
  return [=](const Box &box, MutableArrayRef<char> bytes) {
    if (part != Part::Numbers && kept->read(box, part, bytes))
      return;
    bool columnsFirst = layout == Layout::ColumnsFirst;
    unsigned axis = columnsFirst ? 1 : 0; // of blocks; bytes are the next one
    unsigned columnAxis = columnsFirst ? 0 : box.sizes.size() - 1;
    int64_t perBlock = hasNibbles(format) ? kBlockRows / 2 : kBlockRows;
    bool isWhole = part != Part::Numbers || box.sizes[axis + 1] == perBlock;
    int64_t perScale = part == Part::Numbers  ? perBlock
                       : part == Part::Scales ? 2
                                              : 1;
    bool keeps = part == Part::Numbers && kept->areWanted();
    SmallVector<char> room, numbers, zeros;
    SmallVector<uint16_t> scales;
    MutableArrayRef<char> none;
    Box chunk = box;
    char *to = bytes.data();
    for (int64_t at = 0, step = columnsFirst ? 64 : 1; at < box.sizes[0];
         at += step) {
      chunk.offsets[0] = box.offsets[0] + at;
      chunk.sizes[0] = std::min(step, box.sizes[0] - at);
      int64_t blocks = chunk.sizes[axis], columns = chunk.sizes[columnAxis];
      MatrixView view =
          source.read(chunk.offsets[axis] * kBlockRows, blocks * kBlockRows,
                      chunk.offsets[columnAxis], columns, room);
      size_t size = blocks * columns * perScale;
      if (!isWhole)
        numbers.resize_for_overwrite(size);
      MutableArrayRef<char> made =
          isWhole ? MutableArrayRef<char>(to, size) : numbers;
      if (keeps) {
        scales.resize_for_overwrite(blocks * columns);
        zeros.resize_for_overwrite(hasZeros(format) ? blocks * columns : 0);
        encodeBlocks(view, format, layout, made,
                     {reinterpret_cast<char *>(scales.data()),
                      scales.size() * sizeof(uint16_t)},
                     zeros);
        kept->keep({{chunk.offsets[0], chunk.offsets[columnsFirst ? 1 : 2]},
                    {chunk.sizes[0], chunk.sizes[columnsFirst ? 1 : 2]}},
                   scales, zeros);
      } else {
        encodeBlocks(view, format, layout, part == Part::Numbers ? made : none,
                     part == Part::Scales ? made : none,
                     part == Part::Zeros ? made : none);
      }
      int64_t inner = columnsFirst ? 1 : columns;
      to = isWhole ? made.end()
                   : copyLines(numbers, perBlock * inner,
                               chunk.offsets[axis + 1] * inner,
                               chunk.sizes[axis + 1] * inner, to);
    }
  };
}

/// What \p part of \p source in \p format depends on.
static Attribute describe(const Source &source, WeightFormat format,
                          Layout layout, Part part) {
  Builder b(source.value.getContext());
  return b.getArrayAttr(
      {b.getStringAttr("quantized"), source.value,
       b.getDenseI64ArrayAttr({source.rowAxis, source.rows, source.columns,
                               static_cast<int64_t>(format),
                               static_cast<int64_t>(layout),
                               static_cast<int64_t>(part)})});
}

static double countBits(WeightFormat format) {
  if (!hasBlocks(format))
    return 16.0;
  return (hasNibbles(format) ? 4 : 8) +
         (16.0 + (hasZeros(format) ? 8 : 0)) / kBlockRows;
}

namespace {

struct QuantizeWeightsPass
    : rwkvc::impl::QuantizeWeightsBase<QuantizeWeightsPass> {
  using QuantizeWeightsBase::QuantizeWeightsBase;

  LogicalResult initialize(MLIRContext *context) override {
    llvm::Expected<WeightRecipe> parsed = WeightRecipe::parseOption(format);
    if (!parsed)
      return emitError(UnknownLoc::get(context))
             << toString(parsed.takeError());
    recipe = std::move(*parsed);
    return success();
  }

  void runOnOperation() override {
    entries.clear();
    seenTensors.clear();
    seenNodes.clear();
    isUsed.assign(recipe.getRules().size(), false);
    llvm::MapVector<Attribute, Weight> weights;
    getOperation().walk([&](Operation *op) {
      if (auto linalgOp = dyn_cast<linalg::LinalgOp>(op)) {
        for (unsigned matrix : {1u, 0u})
          if (std::optional<Product> product = matchConstant(linalgOp, matrix))
            return weights[getConstant(product->getMatrix())]
                .products.push_back(*product);
      } else if (OpOperand *read = matchTableRead(op)) {
        if (Attribute value = getConstant(read->get()))
          weights[value].reads.push_back(read);
      }
    });
    llvm::DenseMap<Attribute, int64_t> uses = countConstantUses(getOperation());
    for (auto &[value, weight] : weights) {
      auto type = cast<ElementsAttr>(value).getShapedType();
      if (type.getNumElements() < minElements)
        continue;
      Entry entry;
      entry.tensor = llvm::join(getTensorNames(value), "|");
      llvm::append_range(entry.shape, type.getShape());
      // Read in another way by some op, it would be there twice.
      bool isShared = uses.lookup(value) != static_cast<int64_t>(weight.size());
      std::optional<Description> description = describe(value, weight);
      if (description)
        entry.nodes = description->traits.nodes;
      if (!description || isShared)
        entry.reason = "it is read in different ways";
      else
        quantize(weight, *description, entry);
      entries.push_back(std::move(entry));
    }
    reportUnused();
    if (!report.empty() && failed(writeReport()))
      signalPassFailure();
  }

private:
  static Attribute getConstant(Value value) {
    Attribute constant;
    return matchPattern(value, m_Constant(&constant)) && hasRawBytes(constant)
               ? constant
               : Attribute();
  }

  static std::optional<Product> matchConstant(linalg::LinalgOp op,
                                              unsigned matrix) {
    std::optional<Product> product = matchProduct(op, matrix);
    return product && getConstant(product->getMatrix()) ? product
                                                        : std::nullopt;
  }

  /// The format for a weight; none if it is to stay. A matrix made from several
  /// tensors has the one with the most bits that one of them would have.
  std::optional<WeightFormat> chooseFormat(const Description &description) {
    std::optional<WeightFormat> chosen;
    seenNodes.insert(description.traits.nodes.begin(),
                     description.traits.nodes.end());
    for (const std::string &tensor : description.traits.tensors) {
      seenTensors.insert(tensor);
      std::optional<size_t> number =
          recipe.findRule(description.traits, tensor);
      if (!number)
        return std::nullopt;
      isUsed[*number] = true;
      std::optional<WeightFormat> own =
          symbolizeWeightFormat(recipe.getRules()[*number].format);
      if (!own)
        return std::nullopt;
      if (!chosen || countBits(*own) > countBits(*chosen))
        chosen = own;
    }
    return chosen;
  }

  /// Why the weight cannot have \p format ; empty if it can.
  static std::string refuse(const Description &description,
                            WeightFormat format) {
    const Source &source = description.source;
    if (!hasBlocks(format) && source.element.getIntOrFloatBitWidth() <= 16)
      return "it has 16 bits already";
    if (description.traits.isTable && hasNibbles(format))
      return "a table has rows of 16 or 8 bits";
    if (hasBlocks(format) && source.rows % kBlockRows != 0)
      return ("its " + Twine(source.rows) +
              " summed rows, or elements of a table's row, are no multiple "
              "of " +
              Twine(kBlockRows))
          .str();
    // Beyond it, f16 is infinite; elsewhere this is no number.
    float limit = format == WeightFormat::F16 ? 65504.0f : 3.0e38f;
    if (!(source.findLargest() <= limit))
      return "some elements are beyond the format's range, or not finite";
    return "";
  }

  void quantize(Weight &weight, const Description &description, Entry &entry) {
    std::optional<WeightFormat> chosen = chooseFormat(description);
    if (!chosen) {
      entry.reason = "no rule is for it, or one that keeps it";
      return;
    }
    entry.reason = refuse(description, *chosen);
    if (!entry.reason.empty()) {
      if (isNamed(description))
        weight.first()->emitWarning()
            << "weight '" << entry.tensor << "' keeps its format and is not "
            << stringifyWeightFormat(*chosen) << ": " << entry.reason;
      return;
    }
    std::optional<EncodedMatrix> encoded =
        encode(weight, description, *chosen, entry.tensor);
    if (!encoded) {
      entry.reason = "it cannot be written";
      return;
    }
    entry.format = stringifyWeightFormat(*chosen);
    entry.bits = countBits(*chosen);
    if (!report.empty())
      entry.error = description.source.measureError(*chosen);
    for (const Product &product : weight.products)
      rewriteProduct(product, *encoded);
    for (OpOperand *read : weight.reads)
      rewriteTableRead(read->getOwner(), *encoded);
    ++(weight.reads.empty() ? numMatrices : numTables);
  }

  /// Whether a rule is for this weight alone, and not for all there are.
  bool isNamed(const Description &description) const {
    return llvm::any_of(
        description.traits.tensors, [&](const std::string &tensor) {
          std::optional<size_t> number =
              recipe.findRule(description.traits, tensor);
          return number && recipe.getRules()[*number].hasNames();
        });
  }

  std::optional<EncodedMatrix> encode(Weight &weight,
                                      const Description &description,
                                      WeightFormat format, StringRef name);
  void reportUnused();
  LogicalResult writeReport();

  WeightRecipe recipe;
  SmallVector<bool> isUsed;                     ///< by the number of a rule
  std::set<std::string> seenTensors, seenNodes; ///< names to match
  SmallVector<Entry> entries;
};

} // namespace

std::optional<EncodedMatrix>
QuantizeWeightsPass::encode(Weight &weight, const Description &description,
                            WeightFormat format, StringRef name) {
  const Source &source = description.source;
  Layout layout = description.layout;
  bool columnsFirst = layout == Layout::ColumnsFirst;
  Builder b(&getContext());
  AffineExpr block = b.getAffineDimExpr(0), row = b.getAffineDimExpr(1),
             column = b.getAffineDimExpr(2);
  auto part = [&](ArrayRef<int64_t> rows, ArrayRef<AffineExpr> exprs,
                  Type element, Part which, BoxReader read) {
    SmallVector<int64_t> shape(rows);
    SmallVector<AffineExpr> results(exprs);
    shape.insert(columnsFirst ? shape.begin() : shape.end(), source.columns);
    results.insert(columnsFirst ? results.begin() : results.end(), column);
    EncodedPart made{nullptr, AffineMap::get(3, 0, results, &getContext())};
    llvm::Expected<ElementsAttr> value = makeConstant(
        RankedTensorType::get(shape, element), deriveName(name, "quantized"),
        std::move(read), describe(source, format, layout, which));
    if (value)
      made.value = *value;
    else
      weight.first()->emitWarning()
          << "its weights keep their format, as others cannot be written: "
          << toString(value.takeError());
    return made;
  };
  EncodedMatrix result;
  if (!hasBlocks(format)) {
    Type element =
        format == WeightFormat::BF16 ? Type(b.getBF16Type()) : b.getF16Type();
    result.numbers = part(source.rows, block, element, Part::Numbers,
                          readNumbers(source, element, layout));
    return result.numbers.value ? std::optional(result) : std::nullopt;
  }
  result.blockRows = kBlockRows;
  result.isUnsigned = hasZeros(format);
  result.hasNibbles = hasNibbles(format);
  int64_t blocks = source.rows / kBlockRows;
  int64_t bytes = result.hasNibbles ? kBlockRows / 2 : kBlockRows;
  auto kept = columnsFirst
                  ? std::make_shared<BlockScales>(source.columns, blocks,
                                                  hasZeros(format))
                  : std::make_shared<BlockScales>(blocks, source.columns,
                                                  hasZeros(format));
  auto read = [&](Part which) {
    return readBlocks(source, format, layout, which, kept);
  };
  result.numbers = part({blocks, bytes}, {block, row}, b.getI8Type(),
                        Part::Numbers, read(Part::Numbers));
  result.scales =
      part(blocks, block, b.getBF16Type(), Part::Scales, read(Part::Scales));
  if (hasZeros(format))
    result.zeros =
        part(blocks, block, b.getI8Type(), Part::Zeros, read(Part::Zeros));
  bool isWhole = result.numbers.value && result.scales.value &&
                 (!hasZeros(format) || result.zeros.value);
  return isWhole ? std::optional(result) : std::nullopt;
}

/// Says which patterns of the recipe decide nothing, and what they may mean.
void QuantizeWeightsPass::reportUnused() {
  for (size_t number = 0; number < recipe.getRules().size(); ++number) {
    const WeightRule &rule = recipe.getRules()[number];
    if (!rule.hasNames() || isUsed[number])
      continue;
    StringRef pattern = rule.match.empty() ? rule.node : rule.match;
    const std::set<std::string> &names =
        rule.match.empty() ? seenNodes : seenTensors;
    InFlightDiagnostic warning = emitWarning(getOperation().getLoc());
    warning << "rule " << number + 1 << " of the recipe, '" << pattern
            << "', decides for no weight";
    bool matches = llvm::any_of(names, [&](const std::string &name) {
      return matchesGlob(pattern, name);
    });
    if (matches) {
      warning << ": rules before it match first, or what else it says does "
                 "not hold";
      continue;
    }
    SmallVector<std::pair<unsigned, StringRef>> near;
    for (const std::string &name : names)
      near.push_back({pattern.edit_distance(name), name});
    llvm::sort(near);
    if (near.empty())
      continue;
    warning << "; names near to it: ";
    llvm::interleaveComma(ArrayRef(near).take_front(3), warning,
                          [&](auto &name) { warning << name.second; });
  }
}

LogicalResult QuantizeWeightsPass::writeReport() {
  auto refuse = [&](std::error_code error) {
    return emitError(getOperation().getLoc())
           << "the report '" << report
           << "' cannot be written: " << error.message();
  };
  std::error_code error;
  llvm::ToolOutputFile file(report, error, llvm::sys::fs::OF_Text);
  if (error)
    return refuse(error);
  llvm::json::OStream json(file.os(), /*IndentSize=*/1);
  json.array([&] {
    for (const Entry &entry : entries)
      json.object([&] {
        json.attribute("tensor", entry.tensor);
        json.attribute("nodes", llvm::json::Array(entry.nodes));
        json.attribute("shape", llvm::json::Array(entry.shape));
        if (entry.format.empty()) {
          json.attribute("format", nullptr);
          json.attribute("reason", entry.reason);
          return;
        }
        json.attribute("format", entry.format);
        json.attribute("bits", entry.bits);
        json.attribute("relative_error", entry.error);
      });
  });
  file.os() << "\n";
  file.os().flush();
  if (file.os().has_error()) {
    error = file.os().error();
    file.os().clear_error();
    return refuse(error);
  }
  file.keep();
  return success();
}
