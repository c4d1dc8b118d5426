//===- PackMatrices.cpp - Matrices as kernels read them -------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "BodyAnalysis.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/SCF/Transforms/TileUsingInterface.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/IndexingUtils.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/Matchers.h"
#include "rwkvc/Support/Constants.h"
#include "rwkvc/Support/Products.h"
#include "rwkvc/Support/Reshapes.h"
#include "rwkvc/Target/CPU/Passes.h"

namespace rwkvc::cpu {
#define GEN_PASS_DEF_PACKMATRICES
#include "rwkvc/Target/CPU/Passes.h.inc"
} // namespace rwkvc::cpu

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::cpu;

/// Columns that fill no part are made a multiple of this; a matrix that has
/// fewer stays.
static constexpr int64_t kColumnUnit = 8;

namespace {

/// A product and its loop over the columns of its constants.
struct Product {
  linalg::LinalgOp op;
  unsigned column;                   ///< the loop
  int64_t width;                     ///< columns of a part
  SmallVector<unsigned, 2> matrices; ///< numbers of the constant operands
};

/// Columns of a product from `first` on, in parts of equal width. Of a last
/// part that is wider than what is left, the others are zero.
struct ColumnRange {
  int64_t first, size, width;

  int64_t parts() const { return llvm::divideCeil(size, width); }
};

/// Some columns of a constant, of which an iteration of a parallel loop needs
/// no others.
struct Slice {
  tensor::ExtractSliceOp op;
  Value number; ///< of the part that is read, times `factor`
  int64_t factor, width;
};

/// How a constant is packed.
struct Layout {
  Attribute constant;
  unsigned axis;                 ///< is split into parts
  int64_t width;                 ///< of a part
  std::optional<unsigned> group; ///< the axis that goes last, if any

  using Key = std::tuple<Attribute, unsigned, int64_t, std::optional<unsigned>>;
  Key key() const { return {constant, axis, width, group}; }
  RankedTensorType type() const {
    return cast<RankedTensorType>(cast<TypedAttr>(constant).getType());
  }
};

/// How many columns of a constant go together where slices of it are read.
using Widths = llvm::DenseMap<Attribute, int64_t>;

} // namespace

static RankedTensorType tensorType(Value value) {
  return cast<RankedTensorType>(value.getType());
}

static Attribute getConstant(Value value) {
  Attribute constant;
  return isa<RankedTensorType>(value.getType()) &&
                 matchPattern(value, m_Constant(&constant))
             ? constant
             : Attribute();
}

/// Whether \p map indexes one axis by \p loop , and no other expression has it.
static bool isSimpleIn(AffineMap map, unsigned loop) {
  return llvm::count_if(map.getResults(),
                        [&](AffineExpr expr) {
                          return expr.isFunctionOfDim(loop);
                        }) == 1 &&
         findAxis(map, loop);
}

/// \p op as columns of a constant that follow the number of an iteration, where
/// they do not lie one behind another as they are.
static std::optional<Slice> match(tensor::ExtractSliceOp op) {
  auto type = dyn_cast<RankedTensorType>(op.getSource().getType());
  Attribute constant = getConstant(op.getSource());
  int64_t axis = type ? type.getRank() - 1 : 0;
  if (!constant || !hasRawBytes(constant) || axis < 1 ||
      op.getResultType().getRank() != type.getRank() ||
      !op->getParentOfType<scf::ForallOp>() || !op.hasUnitStride() ||
      ShapedType::isDynamic(op.getStaticSize(axis)))
    return std::nullopt;
  for (int64_t i = 0; i < axis; ++i)
    if (op.getStaticOffset(i) != 0 || op.getStaticSize(i) != type.getDimSize(i))
      return std::nullopt;
  Slice slice{op, {}, 1, op.getStaticSize(axis)};
  if (!op.isDynamicOffset(axis) || type.getDimSize(axis) % slice.width != 0)
    return std::nullopt;
  auto place = op.getDynamicOffset(axis).getDefiningOp<arith::MulIOp>();
  APInt factor;
  if (!place || !matchPattern(place.getRhs(), m_ConstantInt(&factor)) ||
      factor.getSExtValue() % slice.width != 0)
    return std::nullopt;
  slice.number = place.getLhs();
  slice.factor = factor.getSExtValue() / slice.width;
  return slice;
}

/// \p op as a product of something with constants whose columns are those of
/// the result, in parts of \p columns unless \p widths says otherwise.
static std::optional<Product> match(linalg::LinalgOp op, int64_t columns,
                                    const Widths &widths) {
  if (!op.hasPureTensorSemantics() || op.hasIndexSemantics() ||
      op.getNumDpsInits() != 1 || op.getNumReductionLoops() == 0 ||
      op->getParentOfType<scf::ForallOp>() ||
      llvm::any_of(op.getStaticLoopRanges(), ShapedType::isDynamic))
    return std::nullopt;
  SmallVector<AffineMap> maps = op.getIndexingMapsArray();
  SmallVector<utils::IteratorType> kinds = op.getIteratorTypesArray();
  std::optional<Product> found;
  for (unsigned loop = 0; loop < kinds.size(); ++loop) {
    if (kinds[loop] != utils::IteratorType::parallel ||
        !isSimpleIn(maps.back(), loop))
      continue;
    Product product{op, loop, 0, {}};
    bool isMatch = true;
    for (unsigned i = 0; i < op.getNumDpsInputs() && isMatch; ++i) {
      if (!maps[i].isFunctionOfDim(loop))
        continue;
      Attribute value = getConstant(op->getOperand(i));
      isMatch = value && isSimpleIn(maps[i], loop) && hasRawBytes(value);
      product.matrices.push_back(i);
      product.width = std::max(product.width, widths.lookup(value));
    }
    if (product.width == 0)
      product.width = columns;
    int64_t size = op.getStaticLoopRanges()[loop];
    if (!isMatch || product.matrices.empty() ||
        (size % product.width != 0 && size < kColumnUnit))
      continue;
    // Two loops that would do: not a product with a matrix.
    if (found)
      return std::nullopt;
    found = product;
  }
  return found;
}

/// Copies \p count numbers of two rows to \p to , in turns. Returns what
/// follows them.
template <typename T>
static char *interleave(const char *first, const char *second, int64_t count,
                        char *to) {
  for (int64_t i = 0; i < count; ++i) {
    std::memcpy(to + 2 * i * sizeof(T), first + i * sizeof(T), sizeof(T));
    std::memcpy(to + (2 * i + 1) * sizeof(T), second + i * sizeof(T),
                sizeof(T));
  }
  return to + 2 * count * sizeof(T);
}

/// Copies numbers of type T with these strides, in elements, to \p to , the
/// last axis fastest. Returns what follows them.
template <typename T>
static char *copyStrided(const char *from, ArrayRef<int64_t> shape,
                         ArrayRef<int64_t> strides, char *to) {
  if (shape.empty()) {
    std::memcpy(to, from, sizeof(T));
    return to + sizeof(T);
  }
  if (shape.size() == 1 && strides[0] == 1) {
    std::memcpy(to, from, shape[0] * sizeof(T));
    return to + shape[0] * sizeof(T);
  }
  if (shape.size() == 2 && strides[0] == 1 && shape[1] == 2)
    return interleave<T>(from, from + strides[1] * sizeof(T), shape[0], to);
  for (int64_t i = 0; i < shape[0]; ++i)
    to = copyStrided<T>(from + i * strides[0] * sizeof(T), shape.drop_front(),
                        strides.drop_front(), to);
  return to;
}

/// \p bytes of a row-major tensor whose axis \p axis has \p size elements and
/// not \p shape says, with zeros behind them.
static void padAxis(SmallVectorImpl<char> &bytes, ArrayRef<int64_t> shape,
                    unsigned axis, int64_t size, int64_t elementSize) {
  int64_t inner = computeProduct(shape.drop_front(axis + 1)) * elementSize;
  int64_t outer = computeProduct(shape.take_front(axis));
  SmallVector<char> padded(outer * shape[axis] * inner, 0);
  for (int64_t i = 0; i < outer; ++i)
    std::memcpy(padded.data() + i * shape[axis] * inner,
                bytes.data() + i * size * inner, size * inner);
  bytes = std::move(padded);
}

/// Columns \p range of the source of \p layout , split into parts: the parts
/// first, then the other axes, then the columns of a part, and last the group.
static BoxReader pack(const Layout &layout, ColumnRange range) {
  RankedTensorType type = layout.type();
  unsigned rank = type.getRank(), axis = layout.axis;
  int64_t elementSize = type.getElementTypeBitWidth() / 8;
  return [=, source = layout.constant,
          group = layout.group](const Box &box, MutableArrayRef<char> target) {
    // The box of the source, with all of each part.
    Box from{SmallVector<int64_t, 4>(rank), SmallVector<int64_t, 4>(rank)};
    unsigned next = 1, inPart = rank - (group ? 1 : 0);
    for (unsigned i = 0; i < rank; ++i) {
      unsigned of = i == group ? rank : i == axis ? 0 : next++;
      from.offsets[i] = box.offsets[of];
      from.sizes[i] = box.sizes[of];
    }
    int64_t skipped = from.offsets[axis] * range.width;
    int64_t size = from.sizes[axis] * range.width;
    from.offsets[axis] = range.first + skipped;
    from.sizes[axis] = std::min(size, range.size - skipped);
    SmallVector<char> bytes;
    bytes.resize_for_overwrite(from.getNumElements() * elementSize);
    readBox(source, from, bytes);
    if (int64_t present = std::exchange(from.sizes[axis], size);
        present != size)
      padAxis(bytes, from.sizes, axis, present, elementSize);

    SmallVector<int64_t> strides = computeStrides(from.sizes);
    SmallVector<int64_t> steps{range.width * strides[axis]};
    for (unsigned i = 0; i < rank; ++i)
      if (i != axis && i != group)
        steps.push_back(strides[i]);
    steps.push_back(strides[axis]);
    if (group)
      steps.push_back(strides[*group]);
    const char *first =
        bytes.data() + box.offsets[inPart] * strides[axis] * elementSize;
    switch (elementSize) {
    case 1:
      return (void)copyStrided<uint8_t>(first, box.sizes, steps, target.data());
    case 2:
      return (void)copyStrided<uint16_t>(first, box.sizes, steps,
                                         target.data());
    case 4:
      return (void)copyStrided<uint32_t>(first, box.sizes, steps,
                                         target.data());
    default:
      assert(elementSize == 8 && "numbers have 1, 2, 4 or 8 bytes");
      return (void)copyStrided<uint64_t>(first, box.sizes, steps,
                                         target.data());
    }
  };
}

/// What pack() depends on.
static Attribute describe(const Layout &layout, ColumnRange range) {
  Builder b(layout.constant.getContext());
  int64_t group = layout.group ? static_cast<int64_t>(*layout.group) : -1;
  return b.getArrayAttr(
      {b.getStringAttr("packed"), layout.constant,
       b.getDenseI64ArrayAttr(
           {layout.axis, group, range.first, range.size, range.width})});
}

namespace {

struct PackMatricesPass : cpu::impl::PackMatricesBase<PackMatricesPass> {
  using PackMatricesBase::PackMatricesBase;

  LogicalResult initialize(MLIRContext *context) override {
    if (columns < 1)
      return emitError(UnknownLoc::get(context))
             << "columns=" << int64_t(columns) << ": expected at least 1";
    return success();
  }

  void runOnOperation() override {
    packed.clear();
    SmallVector<Slice> slices;
    Widths widths;
    llvm::DenseMap<Attribute, int64_t> uses = countConstantUses(getOperation());
    getOperation().walk([&](Operation *op) {
      auto read = dyn_cast<tensor::ExtractSliceOp>(op);
      if (std::optional<Slice> found = read ? match(read) : std::nullopt) {
        slices.push_back(*found);
        widths.try_emplace(getConstant(read.getSource()), found->width);
      }
      auto product = dyn_cast<linalg::LinalgOp>(op);
      if (product && product.hasPureTensorSemantics() &&
          product.getNumDpsInits() == 1 && op->hasAttr(kSkipZerosAttr))
        for (Value input : product.getDpsInputs())
          if (Attribute constant = getConstant(input))
            widths.try_emplace(constant, findRowWidth(product, input));
    });
    SmallVector<Product> products;
    getOperation().walk([&](linalg::LinalgOp op) {
      if (std::optional<Product> found = match(op, columns, widths))
        products.push_back(*found);
    });
    keepConsistent(products, slices, uses);
    for (Product &product : products)
      rewrite(product);
    for (Slice &slice : slices)
      rewrite(slice);
  }

  /// The width of parts of a product with \p matrix , rows of which may be
  /// skipped: as many columns as divide all of them and leave threads something
  /// to share.
  int64_t findRowWidth(linalg::LinalgOp product, Value matrix) {
    int64_t size = computeProduct(tensorType(product->getResult(0)).getShape());
    int64_t width =
        findGroupLoop(product)
            ? int64_t(groupColumns)
            : rowBytes * 8 / tensorType(matrix).getElementTypeBitWidth();
    width = std::min(width, size / minParts);
    for (width = width / columns * columns; width > columns; width -= columns)
      if (size % width == 0)
        return width;
    return columns;
  }

  /// Drops what reads a constant that something else needs as it is, or in
  /// another layout: it would be there twice.
  void keepConsistent(SmallVector<Product> &products,
                      SmallVector<Slice> &slices,
                      const llvm::DenseMap<Attribute, int64_t> &uses) {
    while (true) {
      llvm::DenseMap<Layout::Key, int64_t> taken;
      for (Product &product : products)
        for (unsigned i : product.matrices)
          ++taken[getLayout(product, i).key()];
      for (Slice &slice : slices)
        ++taken[getLayout(slice).key()];
      auto isShared = [&](const Layout &layout) {
        return taken[layout.key()] != uses.lookup(layout.constant);
      };
      size_t before = products.size() + slices.size();
      llvm::erase_if(products, [&](Product &product) {
        return llvm::any_of(product.matrices, [&](unsigned i) {
          return isShared(getLayout(product, i));
        });
      });
      llvm::erase_if(slices,
                     [&](Slice &slice) { return isShared(getLayout(slice)); });
      if (products.size() + slices.size() == before)
        return;
    }
  }

  static Layout getLayout(Product &product, unsigned operand) {
    AffineMap map = product.op.getIndexingMapsArray()[operand];
    std::optional<unsigned> group = findGroupLoop(product.op);
    return {getConstant(product.op->getOperand(operand)),
            *findAxis(map, product.column), product.width,
            group ? findAxis(map, *group) : std::nullopt};
  }

  static Layout getLayout(Slice &slice) {
    Value source = slice.op.getSource();
    unsigned last = tensorType(source).getRank() - 1;
    return {getConstant(source), last, slice.width, std::nullopt};
  }

  /// The columns of a product, those that fill no part as a narrower one.
  static SmallVector<ColumnRange, 2> getRanges(Product &product) {
    int64_t size = product.op.getStaticLoopRanges()[product.column];
    int64_t rest = size % product.width;
    int64_t ofRest = llvm::alignTo(rest, kColumnUnit);
    SmallVector<ColumnRange, 2> ranges;
    if (rest != size)
      ranges.push_back({0, size - rest, product.width});
    if (rest != 0)
      ranges.push_back({size - rest, rest, ofRest});
    return ranges;
  }

  /// What \p op reads of \p range of a constant.
  ElementsAttr getPacked(Operation *op, const Layout &layout,
                         ColumnRange range) {
    ElementsAttr &result = packed[{layout.key(), range.first}];
    if (result)
      return result;
    RankedTensorType type = layout.type();
    SmallVector<int64_t> shape{range.parts()};
    for (unsigned i = 0; i < type.getRank(); ++i)
      if (i != layout.axis && i != layout.group)
        shape.push_back(type.getDimSize(i));
    shape.push_back(range.width);
    if (layout.group)
      shape.push_back(type.getDimSize(*layout.group));
    llvm::Expected<ElementsAttr> made =
        makeConstant(type.clone(shape), "packed", pack(layout, range),
                     describe(layout, range));
    if (made)
      return result = *made;
    op->emitWarning()
        << "reads its weights in the order of the file, as another cannot be "
           "written: "
        << toString(made.takeError());
    return nullptr;
  }

  void rewrite(Product &product);
  void rewrite(Slice &slice);
  Value multiply(ImplicitLocOpBuilder &b, Product &product, ColumnRange range,
                 ArrayRef<ElementsAttr> constants, Value place);
  bool isTiled(ColumnRange range) const {
    return range.parts() > 2 || (range.parts() == 2 && range.width > columns);
  }
  int64_t chooseRows(int64_t numRows, int64_t numParts) const;
  void tile(IRRewriter &rewriter, linalg::GenericOp product, Value start);

  llvm::DenseMap<std::pair<Layout::Key, int64_t>, ElementsAttr> packed;
};

} // namespace

/// Rows of an iteration, of \p numRows beside \p numParts ; 0: all of them.
int64_t PackMatricesPass::chooseRows(int64_t numRows, int64_t numParts) const {
  int64_t most = rows;
  if (most <= 0)
    return 0;
  if (numParts * ((numRows + most - 1) / most) < minIterations)
    most /= 2;
  // Each iteration has as many.
  for (int64_t count = most; count > most / 2; --count)
    if (count < numRows && numRows % count == 0)
      return count;
  return 0;
}

/// Makes \p product a parallel loop over its parts. One at a time: two that are
/// read side by side take up to half as long again. Sums start from \p start in
/// each iteration, where there is such a number, and not from memory that was
/// filled before.
void PackMatricesPass::tile(IRRewriter &rewriter, linalg::GenericOp product,
                            Value start) {
  SmallVector<OpFoldResult> sizes(product.getNumLoops(),
                                  rewriter.getIndexAttr(0));
  sizes[0] = rewriter.getIndexAttr(1);
  SmallVector<int64_t> ranges = product.getStaticLoopRanges();
  for (unsigned loop = 1; loop + 1 < sizes.size(); ++loop)
    if (product.getIteratorTypesArray()[loop] == utils::IteratorType::parallel)
      sizes[loop] =
          rewriter.getIndexAttr(chooseRows(ranges[loop], ranges.front()));
  scf::SCFTilingOptions options;
  options.setTileSizes(sizes);
  options.setLoopType(scf::SCFTilingOptions::LoopType::ForallOp);
  rewriter.setInsertionPoint(product);
  FailureOr<scf::SCFTilingResult> tiled = scf::tileUsingSCF(
      rewriter, cast<TilingInterface>(product.getOperation()), options);
  assert(succeeded(tiled) && "a linalg op of static shape can be tiled");
  if (start) {
    auto inner = cast<linalg::GenericOp>(tiled->tiledOps.front());
    OpOperand &init = inner.getDpsInitsMutable()[0];
    rewriter.setInsertionPoint(inner);
    auto fill =
        linalg::FillOp::create(rewriter, inner.getLoc(), start, init.get());
    rewriter.modifyOpInPlace(inner, [&] { init.set(fill.getResult(0)); });
  }
  rewriter.replaceOp(product, tiled->replacements);
}

/// The product of the columns \p range , in \p place , which has as many as all
/// their parts.
Value PackMatricesPass::multiply(ImplicitLocOpBuilder &b, Product &product,
                                 ColumnRange range,
                                 ArrayRef<ElementsAttr> constants,
                                 Value place) {
  linalg::LinalgOp op = product.op;
  // Loops: over the parts, the old ones but that over columns, over the columns
  // of a part.
  unsigned numLoops = op.getNumLoops() + 1;
  std::optional<unsigned> group = findGroupLoop(op);
  AffineExpr part = b.getAffineDimExpr(0);
  AffineExpr inPart = b.getAffineDimExpr(numLoops - 1);
  SmallVector<AffineExpr> loops;
  SmallVector<utils::IteratorType> kinds{utils::IteratorType::parallel};
  for (auto [loop, kind] : llvm::enumerate(op.getIteratorTypesArray())) {
    if (loop == product.column) {
      loops.push_back(inPart);
      continue;
    }
    loops.push_back(b.getAffineDimExpr(kinds.size()));
    kinds.push_back(kind);
  }
  kinds.push_back(utils::IteratorType::parallel);

  SmallVector<AffineMap> maps;
  SmallVector<Value> operands(op->getOperands());
  for (auto [i, map] : llvm::enumerate(op.getIndexingMapsArray())) {
    SmallVector<AffineExpr> exprs;
    for (AffineExpr expr : map.getResults())
      exprs.push_back(expr.replaceDims(loops));
    if (auto *matrix = llvm::find(product.matrices, i);
        matrix != product.matrices.end()) {
      std::optional<unsigned> groupAxis =
          group ? findAxis(map, *group) : std::nullopt;
      SmallVector<AffineExpr> packedExprs{part};
      for (auto [axis, expr] : llvm::enumerate(exprs))
        if (axis != *findAxis(map, product.column) && axis != groupAxis)
          packedExprs.push_back(expr);
      packedExprs.push_back(inPart);
      if (groupAxis)
        packedExprs.push_back(exprs[*groupAxis]);
      exprs = packedExprs;
      operands[i] = arith::ConstantOp::create(
          b, constants[std::distance(product.matrices.begin(), matrix)]);
    } else if (i + 1 == operands.size()) {
      unsigned axis = *findAxis(map, product.column);
      exprs.insert(exprs.begin() + axis, part);
    }
    maps.push_back(AffineMap::get(numLoops, 0, exprs, b.getContext()));
  }
  // Filled by parts, while each is in a cache.
  Value start;
  if (auto fill = place.getDefiningOp<linalg::FillOp>();
      fill && isTiled(range)) {
    start = fill.getInputs()[0];
    place = fill.getOutputs()[0];
  }
  // The result's columns, seen as parts.
  unsigned axis = *findAxis(op.getIndexingMapsArray().back(), product.column);
  operands.back() = splitAxis(b, place, axis, range.width);
  auto result = linalg::GenericOp::create(b, operands.back().getType(),
                                          ValueRange(operands).drop_back(),
                                          operands.back(), maps, kinds);
  IRMapping mapping;
  op->getRegion(0).cloneInto(&result.getRegion(), mapping);
  for (StringRef name : {kSkipZerosAttr, kBlockSumsAttr})
    if (Attribute number = op->getAttr(name))
      result->setAttr(name, number);
  auto whole = tensor::CollapseShapeOp::create(
      b, place.getType(), result.getResult(0),
      operands.back()
          .getDefiningOp<tensor::ExpandShapeOp>()
          .getReassociationIndices());
  IRRewriter rewriter(b);
  if (isTiled(range))
    tile(rewriter, result, start);
  return whole;
}

void PackMatricesPass::rewrite(Product &product) {
  linalg::LinalgOp op = product.op;
  SmallVector<ColumnRange, 2> ranges = getRanges(product);
  SmallVector<SmallVector<ElementsAttr>> constants;
  for (ColumnRange range : ranges) {
    constants.emplace_back();
    for (unsigned i : product.matrices) {
      constants.back().push_back(getPacked(op, getLayout(product, i), range));
      if (!constants.back().back())
        return;
    }
  }
  IRRewriter rewriter(op);
  ImplicitLocOpBuilder b(op.getLoc(), rewriter);
  Value place = op.getDpsInits()[0];
  RankedTensorType type = tensorType(place);
  unsigned axis = *findAxis(op.getIndexingMapsArray().back(), product.column);
  if (ranges.size() == 1 && ranges[0].size % ranges[0].width == 0) {
    place = multiply(b, product, ranges[0], constants[0], place);
    rewriter.replaceOp(op, place);
    ++numProducts;
    return;
  }
  SmallVector<OpFoldResult> zeros(type.getRank(), b.getIndexAttr(0)),
      ones(type.getRank(), b.getIndexAttr(1));
  auto makeRoom = [&](int64_t size) -> Value {
    SmallVector<int64_t> shape(type.getShape());
    shape[axis] = size;
    return tensor::EmptyOp::create(b, shape, type.getElementType());
  };
  // Each range is filled by itself where all is.
  Value start;
  if (auto fill = place.getDefiningOp<linalg::FillOp>()) {
    start = fill.getInputs()[0];
    place = fill.getOutputs()[0];
  }
  for (auto [range, matrices] : llvm::zip_equal(ranges, constants)) {
    int64_t size = range.parts() * range.width;
    SmallVector<OpFoldResult> offsets(zeros),
        sizes = getAsIndexOpFoldResult(b.getContext(), type.getShape());
    offsets[axis] = b.getIndexAttr(range.first);
    sizes[axis] = b.getIndexAttr(range.size);
    Value part;
    if (start) {
      part = linalg::FillOp::create(b, start, makeRoom(size)).getResult(0);
    } else {
      part = tensor::ExtractSliceOp::create(b, place, offsets, sizes, ones);
      if (size != range.size) {
        Value zero = arith::ConstantOp::create(
            b, cast<TypedAttr>(b.getZeroAttr(type.getElementType())));
        Value room =
            linalg::FillOp::create(b, zero, makeRoom(size)).getResult(0);
        part = tensor::InsertSliceOp::create(b, part, room, zeros, sizes, ones);
      }
    }
    part = multiply(b, product, range, matrices, part);
    if (size != range.size)
      part = tensor::ExtractSliceOp::create(b, part, zeros, sizes, ones);
    place = tensor::InsertSliceOp::create(b, part, place, offsets, sizes, ones);
  }
  rewriter.replaceOp(op, place);
  ++numProducts;
}

void PackMatricesPass::rewrite(Slice &slice) {
  Layout layout = getLayout(slice);
  ElementsAttr constant =
      getPacked(slice.op, layout,
                {0, layout.type().getDimSize(layout.axis), layout.width});
  if (!constant)
    return;
  IRRewriter rewriter(slice.op);
  ImplicitLocOpBuilder b(slice.op.getLoc(), rewriter);
  auto type = cast<RankedTensorType>(constant.getType());
  Value number = slice.number, source;
  if (slice.factor != 1)
    number = arith::MulIOp::create(
        b, number, arith::ConstantIndexOp::create(b, slice.factor));
  SmallVector<OpFoldResult> offsets(type.getRank(), b.getIndexAttr(0)),
      sizes = getAsIndexOpFoldResult(b.getContext(), type.getShape()),
      strides(type.getRank(), b.getIndexAttr(1));
  offsets[0] = number;
  sizes[0] = b.getIndexAttr(1);
  {
    OpBuilder::InsertionGuard guard(b);
    Operation *loop = slice.op->getParentOfType<scf::ForallOp>();
    while (auto outer = loop->getParentOfType<scf::ForallOp>())
      loop = outer;
    b.setInsertionPoint(loop);
    source = arith::ConstantOp::create(b, constant);
  }
  rewriter.replaceOpWithNewOp<tensor::ExtractSliceOp>(
      slice.op, slice.op.getResultType(), source, offsets, sizes, strides);
  ++numSlices;
}
