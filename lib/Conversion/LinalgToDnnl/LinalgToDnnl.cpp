//===- LinalgToDnnl.cpp - linalg to dnnl ----------------------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "rwkvc/Conversion/LinalgToDnnl/LinalgToDnnl.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Linalg/IR/LinalgInterfaces.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Matchers.h"
#include "mlir/Interfaces/FunctionInterfaces.h"
#include "mlir/Transforms/WalkPatternRewriteDriver.h"
#include "rwkvc/Conversion/Passes.h"
#include "rwkvc/Dialect/Dnnl/IR/Dnnl.h"
#include "rwkvc/Support/Products.h"

namespace rwkvc {
#define GEN_PASS_DEF_CONVERTLINALGTODNNLPASS
#include "rwkvc/Conversion/Passes.h.inc"
} // namespace rwkvc

using namespace mlir;
using namespace rwkvc;

namespace {

/// A linalg op seen as a matrix product: which input is the left side of the
/// result as it is stored, and how the inputs are stored.
struct Product {
  OpOperand *a, *b, *c;
  bool transposeA, transposeB;
  int64_t m, n;
  int64_t flops;
};

/// Whether \p value is a constant, or a part or other shape of one that needs
/// no copy: it then has the same address in every run.
bool isConstantInPlace(Value value) {
  if (matchPattern(value, m_Constant()))
    return true;
  Operation *op = value.getDefiningOp();
  if (!op)
    return false;
  if (isa<tensor::CollapseShapeOp, tensor::ExpandShapeOp, tensor::CastOp>(op))
    return isConstantInPlace(op->getOperand(0));
  // Offsets that vary would name another part each time.
  auto slice = dyn_cast<tensor::ExtractSliceOp>(op);
  return slice && slice.getOffsets().empty() && slice.getSizes().empty() &&
         slice.getStrides().empty() && isConstantInPlace(slice.getSource());
}

/// The tensor that \p value fills with zeros, by linalg.fill or another op that
/// does the same; null if it does not.
Value getZeroed(Value value) {
  auto op = value.getDefiningOp<linalg::LinalgOp>();
  if (!op || op.getNumDpsInits() != 1 ||
      op.getNumParallelLoops() != op.getNumLoops())
    return {};
  Value filler = op.getBlock()->getTerminator()->getOperand(0);
  if (auto argument = dyn_cast<BlockArgument>(filler);
      argument && argument.getOwner() == op.getBlock())
    filler = op.getMatchingOpOperand(argument)->get();
  if (isa<ShapedType>(filler.getType()) ||
      !matchPattern(filler, m_AnyZeroFloat()))
    return {};
  return op.getDpsInits().front();
}

/// Reads \p op as a product; the failure says why it is none.
FailureOr<Product> matchProduct(linalg::LinalgOp op, RewriterBase &rewriter) {
  auto refuse = [&](const Twine &reason) {
    return rewriter.notifyMatchFailure(op, reason);
  };
  // Threads are busy with other iterations, and a call has its costs.
  if (op->getParentOfType<scf::ForallOp>())
    return refuse("part of a parallel loop");
  if (!op.hasPureTensorSemantics() || op.getNumDpsInputs() != 2 ||
      op.getNumDpsInits() != 1)
    return refuse("not two tensors and a destination");
  OpOperand *inputs[] = {op.getDpsInputOperand(0), op.getDpsInputOperand(1)};
  OpOperand *c = op.getDpsInitOperand(0);
  SmallVector<RankedTensorType> types;
  for (OpOperand *operand : {inputs[0], inputs[1], c}) {
    auto type = dyn_cast<RankedTensorType>(operand->get().getType());
    if (!type)
      return refuse("an operand is a scalar");
    types.push_back(type);
  }

  FailureOr<linalg::ContractionDimensions> dims =
      linalg::inferContractionDims(op);
  if (failed(dims) || dims->m.size() != 1 || dims->n.size() != 1 ||
      dims->k.size() != 1 || dims->batch.size() + 3 != op.getNumLoops())
    return refuse("not one row, one column and one summed loop");
  if (!isProductBody(*op.getBlock()))
    return refuse("the body is not c + a * b");

  Type element = types[0].getElementType(), sum = types[2].getElementType();
  if (types[1].getElementType() != element)
    return refuse("operands of mixed types");
  if (!element.isF32() && !element.isBF16() && !element.isF16())
    return refuse("element type");
  if (sum != element && !sum.isF32())
    return refuse("type of the sums");
  int64_t rank = types[2].getRank();
  if (rank > dnnl::MatmulOp::kMaxRank)
    return refuse("too many batch dimensions");
  for (RankedTensorType type : types)
    if (!type.hasStaticShape() || type.getRank() != rank)
      return refuse("dynamic shape or broadcast operand");

  // Each map must list the batch loops in one order, then its two matrix loops.
  SmallVector<AffineMap> maps = op.getIndexingMapsArray();
  auto loop = [&](unsigned map, int64_t position) {
    return maps[map].getDimPosition(position);
  };
  for (AffineMap map : maps)
    if (!map.isProjectedPermutation())
      return refuse("a map is not a permutation of loops");
  for (int64_t i = 0; i < rank - 2; ++i)
    if (!llvm::is_contained(dims->batch, loop(2, i)) ||
        loop(0, i) != loop(2, i) || loop(1, i) != loop(2, i))
      return refuse("batch dimensions are not leading");
  // The left operand is the one that has the loop of the result's rows.
  unsigned left = loop(2, rank - 2) == dims->m.front() ? 0 : 1;
  Product product;
  product.a = inputs[left];
  product.b = inputs[1 - left];
  product.c = c;
  unsigned k = dims->k.front();
  product.transposeA = loop(left, rank - 2) == k;
  product.transposeB = loop(1 - left, rank - 1) == k;
  ArrayRef<int64_t> shape = types[2].getShape();
  product.m = shape[rank - 2];
  product.n = shape[rank - 1];
  double flops = 2.0 * op.getStaticLoopRanges()[k];
  for (int64_t size : shape)
    flops *= size;
  product.flops = static_cast<int64_t>(std::min(flops, 0x1p62));
  return product;
}

struct ConvertProduct : OpInterfaceRewritePattern<linalg::LinalgOp> {
  ConvertProduct(MLIRContext *context, LinalgToDnnlOptions options,
                 llvm::function_ref<void(bool)> count = nullptr)
      : OpInterfaceRewritePattern(context), options(options), count(count) {}

  LogicalResult matchAndRewrite(linalg::LinalgOp op,
                                PatternRewriter &rewriter) const override {
    FailureOr<Product> product = matchProduct(op, rewriter);
    if (failed(product))
      return failure();
    int64_t rows = std::max<int64_t>(options.minRows, 2);
    // An empty product has no work: it stays, whatever the threshold.
    bool large = product->m >= rows && product->n >= rows &&
                 product->flops >= std::max<int64_t>(options.minFlops, 1);
    if (count)
      count(large);
    if (!large)
      return rewriter.notifyMatchFailure(op, "too small");

    Value destination = product->c->get();
    bool accumulate = true;
    if (Value zeroed = getZeroed(destination)) {
      accumulate = false;
      destination = zeroed;
    } else if (matchPattern(destination, m_AnyZeroFloat())) {
      accumulate = false;
      auto type = cast<RankedTensorType>(destination.getType());
      destination = tensor::EmptyOp::create(
          rewriter, op.getLoc(), type.getShape(), type.getElementType());
    }
    Value b = product->b->get();
    rewriter.replaceOpWithNewOp<dnnl::MatmulOp>(
        op, destination.getType(), product->a->get(), b, destination,
        ValueRange{}, product->transposeA, product->transposeB, accumulate,
        options.packConstants && isConstantInPlace(b), ArrayAttr{});
    return success();
  }

  LinalgToDnnlOptions options;
  llvm::function_ref<void(bool)> count;
};

struct ConvertLinalgToDnnlPass
    : rwkvc::impl::ConvertLinalgToDnnlPassBase<ConvertLinalgToDnnlPass> {
  using ConvertLinalgToDnnlPassBase::ConvertLinalgToDnnlPassBase;

  void runOnOperation() override {
    auto count = [&](bool large) { ++(large ? numConverted : numSmall); };
    RewritePatternSet patterns(&getContext());
    patterns.add<ConvertProduct>(
        &getContext(), LinalgToDnnlOptions{minFlops, minRows, packConstants},
        count);
    // One look at each op: what is left behind stays as it was.
    walkAndApplyPatterns(getOperation(), std::move(patterns));
  }
};

} // namespace

void rwkvc::populateLinalgToDnnlPatterns(RewritePatternSet &patterns,
                                         const LinalgToDnnlOptions &options) {
  patterns.add<ConvertProduct>(patterns.getContext(), options);
}
