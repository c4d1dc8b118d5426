//===- BatchProducts.cpp - One product for all that read one tensor -------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/Matchers.h"
#include "rwkvc/Support/Constants.h"
#include "rwkvc/Support/Products.h"
#include "rwkvc/Transforms/Passes.h"
#include "llvm/ADT/MapVector.h"

namespace rwkvc {
#define GEN_PASS_DEF_BATCHPRODUCTS
#include "rwkvc/Transforms/Passes.h.inc"
} // namespace rwkvc

using namespace mlir;
using namespace rwkvc;

namespace {

/// A product of a tensor and a constant one, whose rows are independent of one
/// another.
struct Product {
  linalg::LinalgOp op;
  unsigned weight;     ///< number of the constant operand
  unsigned weightAxis; ///< axis of the constant that its rows are along
  unsigned resultAxis; ///< the same axis of the result
  Attribute value;     ///< of the constant
  Attribute start;     ///< what the sums begin at

  RankedTensorType weightType() const {
    return cast<RankedTensorType>(op->getOperand(weight).getType());
  }
};

using Batch = SmallVector<Product, 2>;

} // namespace

/// The loop over rows of operand \p weight: one that the result has too, and
/// the other operand has not.
static LogicalResult findRows(Product &product) {
  linalg::LinalgOp op = product.op;
  SmallVector<AffineMap> maps = op.getIndexingMapsArray();
  SmallVector<utils::IteratorType> kinds = op.getIteratorTypesArray();
  bool isFound = false;
  for (unsigned loop = 0; loop < kinds.size(); ++loop) {
    if (kinds[loop] != utils::IteratorType::parallel ||
        maps[1 - product.weight].isFunctionOfDim(loop))
      continue;
    auto ofWeight = findAxis(maps[product.weight], loop),
         ofResult = findAxis(maps.back(), loop);
    if (!ofWeight || !ofResult || isFound)
      return failure();
    product.weightAxis = *ofWeight;
    product.resultAxis = *ofResult;
    isFound = true;
  }
  return success(isFound);
}

static std::optional<Product> match(linalg::LinalgOp op) {
  if (!op.hasPureTensorSemantics() || op.hasIndexSemantics() ||
      op.getNumDpsInputs() != 2 || op.getNumDpsInits() != 1 ||
      op.getNumReductionLoops() == 0 || op->getNumOperands() != 3 ||
      llvm::any_of(op.getStaticLoopRanges(), ShapedType::isDynamic))
    return std::nullopt;
  Product product{op, 0, 0, 0, nullptr, nullptr};
  Attribute other;
  if (!matchPattern(op->getOperand(0), m_Constant(&product.value))) {
    product.weight = 1;
    if (!matchPattern(op->getOperand(1), m_Constant(&product.value)))
      return std::nullopt;
  } else if (matchPattern(op->getOperand(1), m_Constant(&other))) {
    return std::nullopt;
  }
  auto fill = op->getOperand(2).getDefiningOp<linalg::FillOp>();
  if (!fill || !matchPattern(fill.value(), m_Constant(&product.start)) ||
      failed(findRows(product)))
    return std::nullopt;
  return product;
}

/// Whether \p a and \p b are one and the same but for the constant and the
/// number of its rows.
static bool areAlike(const Product &a, const Product &b) {
  linalg::LinalgOp x = a.op, y = b.op;
  SmallVector<int64_t> rows(a.weightType().getShape()),
      others(b.weightType().getShape());
  if (x->getBlock() != y->getBlock() || x->getName() != y->getName() ||
      a.weight != b.weight ||
      x->getOperand(1 - a.weight) != y->getOperand(1 - b.weight) ||
      a.start != b.start || rows.size() != others.size() ||
      a.weightType().getElementType() != b.weightType().getElementType() ||
      x->getAttrDictionary() != y->getAttrDictionary())
    return false;
  rows[a.weightAxis] = others[a.weightAxis] = 0;
  return rows == others && OperationEquivalence::isRegionEquivalentTo(
                               &x->getRegion(0), &y->getRegion(0),
                               OperationEquivalence::IgnoreLocations);
}

/// The rows of all \p constants, along \p axis , one after another.
static BoxReader joinRows(ArrayAttr constants, unsigned axis) {
  return [=](const Box &box, MutableArrayRef<char> joined) {
    if (joined.empty())
      return;
    // Of each index of the axes before, the rows that each constant has.
    int64_t blocks =
        llvm::product_of(ArrayRef<int64_t>(box.sizes).take_front(axis));
    int64_t rowSize = joined.size() / blocks / box.sizes[axis];
    int64_t first = box.offsets[axis], end = first + box.sizes[axis], start = 0;
    SmallVector<char> part;
    for (Attribute constant : constants) {
      int64_t rows =
          cast<ElementsAttr>(constant).getShapedType().getDimSize(axis);
      int64_t from = std::max(first, start), to = std::min(end, start + rows);
      if (from < to) {
        Box own = box;
        own.offsets[axis] = from - start;
        own.sizes[axis] = to - from;
        int64_t length = (to - from) * rowSize;
        part.resize_for_overwrite(blocks * length);
        readBox(constant, own, part);
        for (int64_t block = 0; block < blocks; ++block)
          llvm::copy(ArrayRef<char>(part).slice(block * length, length),
                     joined.data() +
                         (block * box.sizes[axis] + from - first) * rowSize);
      }
      start += rows;
    }
  };
}

/// The type of the operands, or results, of a batch: \p type with the rows of
/// all along \p axis.
static RankedTensorType joinTypes(ArrayRef<Product> batch,
                                  RankedTensorType type, unsigned axis) {
  SmallVector<int64_t> shape(type.getShape());
  shape[axis] = 0;
  for (const Product &product : batch)
    shape[axis] += product.weightType().getDimSize(product.weightAxis);
  return type.clone(shape);
}

namespace {

struct BatchProductsPass : rwkvc::impl::BatchProductsBase<BatchProductsPass> {
  using BatchProductsBase::BatchProductsBase;

  void runOnOperation() override {
    SmallVector<Batch> batches = collect();
    // What the constants of a batch become, for all functions that have it.
    llvm::MapVector<ArrayAttr, SmallVector<Batch *>> byConstants;
    for (Batch &batch : batches)
      if (batch.size() > 1)
        byConstants[getConstants(batch)].push_back(&batch);
    llvm::DenseMap<Attribute, int64_t> uses = countUses();
    for (auto &[constants, alike] : byConstants) {
      // Constants that are needed by themselves too would be kept twice.
      int64_t count = alike.size();
      if (llvm::any_of(constants, [&](Attribute constant) {
            return uses.lookup(constant) != count;
          }))
        continue;
      ElementsAttr joined = join(*alike.front(), constants);
      if (!joined)
        continue;
      for (Batch *batch : alike)
        rewrite(*batch, joined);
    }
  }

  /// Products in the order of the module, alike ones together.
  SmallVector<Batch> collect() {
    SmallVector<Batch> batches;
    llvm::DenseMap<Value, SmallVector<unsigned>> byOperand;
    getOperation().walk([&](linalg::LinalgOp op) {
      std::optional<Product> product = match(op);
      if (!product || !hasRawBytes(product->value))
        return;
      numbers.try_emplace(product->value, numbers.size());
      SmallVector<unsigned> &candidates =
          byOperand[op->getOperand(1 - product->weight)];
      for (unsigned i : candidates)
        if (areAlike(batches[i].front(), *product))
          return batches[i].push_back(*product);
      candidates.push_back(batches.size());
      batches.push_back({*product});
    });
    return batches;
  }

  /// The constants, in an order that does not depend on the function.
  ArrayAttr getConstants(Batch &batch) {
    llvm::sort(batch, [&](const Product &a, const Product &b) {
      return numbers.lookup(a.value) < numbers.lookup(b.value);
    });
    SmallVector<Attribute> values;
    for (const Product &product : batch)
      values.push_back(product.value);
    return ArrayAttr::get(&getContext(), values);
  }

  llvm::DenseMap<Attribute, int64_t> countUses() {
    llvm::DenseMap<Attribute, int64_t> uses;
    getOperation().walk([&](arith::ConstantOp op) {
      uses[op.getValue()] += llvm::range_size(op->getUses());
    });
    return uses;
  }

  /// The constants of \p batch as one.
  ElementsAttr join(ArrayRef<Product> batch, ArrayAttr constants) {
    RankedTensorType type =
        joinTypes(batch, batch[0].weightType(), batch[0].weightAxis);
    int64_t bytes = 0;
    SmallVector<StringRef> names;
    for (const Product &product : batch) {
      bytes += *getRawSize(product.weightType());
      llvm::append_range(names, getTensorNames(product.value));
    }
    if (bytes > maxBytes)
      return nullptr;
    Builder b(&getContext());
    llvm::Expected<ElementsAttr> joined =
        makeConstant(type, deriveName(names, "batched"),
                     joinRows(constants, batch[0].weightAxis),
                     b.getArrayAttr({b.getStringAttr("batched"), constants,
                                     b.getIndexAttr(batch[0].weightAxis)}));
    if (joined)
      return *joined;
    batch[0].op->emitWarning()
        << "is not batched with those that read the same tensor: its weights "
           "cannot be written: "
        << toString(joined.takeError());
    return nullptr;
  }

  void rewrite(Batch &batch, ElementsAttr weights) {
    Operation *first = batch[0].op;
    for (const Product &product : batch)
      if (product.op->isBeforeInBlock(first))
        first = product.op;
    unsigned weight = batch[0].weight, axis = batch[0].resultAxis;
    IRRewriter rewriter(first);
    ImplicitLocOpBuilder b(first->getLoc(), rewriter);
    RankedTensorType type = joinTypes(
        batch, cast<RankedTensorType>(first->getResult(0).getType()), axis);
    SmallVector<Value> operands(first->getOperands());
    operands[weight] = arith::ConstantOp::create(b, weights);
    Value start = arith::ConstantOp::create(b, cast<TypedAttr>(batch[0].start));
    Value place =
        tensor::EmptyOp::create(b, type.getShape(), type.getElementType());
    operands[2] = linalg::FillOp::create(b, start, place).getResult(0);
    Value result = mlir::clone(rewriter, first, type, operands)->getResult(0);
    SmallVector<OpFoldResult> offsets(type.getRank(), b.getIndexAttr(0)),
        strides(type.getRank(), b.getIndexAttr(1));
    int64_t offset = 0;
    for (const Product &product : batch) {
      Operation *op = product.op;
      auto part = cast<RankedTensorType>(op->getResult(0).getType());
      offsets[axis] = b.getIndexAttr(offset);
      offset += part.getDimSize(axis);
      rewriter.replaceAllUsesWith(
          op->getResult(0),
          tensor::ExtractSliceOp::create(
              b, part, result, offsets,
              getAsIndexOpFoldResult(b.getContext(), part.getShape()),
              strides));
    }
    for (const Product &product : batch)
      rewriter.eraseOp(product.op);
    ++numBatches;
    numProducts += batch.size();
  }

  llvm::DenseMap<Attribute, unsigned> numbers; ///< constants by appearance
};

} // namespace
