//===- RoundActivations.cpp - Products of bf16 with bf16 ------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/Matchers.h"
#include "rwkvc/Support/Constants.h"
#include "rwkvc/Support/Products.h"
#include "rwkvc/Support/Reshapes.h"
#include "rwkvc/Target/CPU/Passes.h"

namespace rwkvc::cpu {
#define GEN_PASS_DEF_ROUNDACTIVATIONS
#include "rwkvc/Target/CPU/Passes.h.inc"
} // namespace rwkvc::cpu

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::cpu;

namespace {

/// sum + activation * matrix, over one loop. The matrix is a constant of bf16.
struct Product {
  linalg::GenericOp op;
  unsigned activation, matrix; ///< numbers of the operands
  unsigned loop;               ///< the reduction
  Attribute constant;          ///< the matrix
};

} // namespace

static std::optional<Product> match(linalg::GenericOp op) {
  if (!op.hasPureTensorSemantics() || op.hasIndexSemantics() ||
      op.getNumDpsInputs() != 2 || op.getNumDpsInits() != 1 ||
      op.getNumReductionLoops() != 1 || !isProductBody(*op.getBody()) ||
      !op.getRegionOutputArgs()[0].getType().isF32() ||
      op->getParentOfType<scf::ForallOp>())
    return std::nullopt;
  SmallVector<unsigned> reductions;
  op.getReductionDims(reductions);
  Product product{op, 0, 1, reductions.front(), {}};
  if (!getElementTypeOrSelf(op.getInputs()[1]).isBF16())
    std::swap(product.activation, product.matrix);
  Value activation = op.getInputs()[product.activation];
  SmallVector<AffineMap> maps = op.getIndexingMapsArray();
  int64_t size = op.getStaticLoopRanges()[product.loop];
  if (ShapedType::isDynamic(size) || size % 2 != 0 ||
      !getElementTypeOrSelf(op.getInputs()[product.matrix]).isBF16() ||
      !isa<RankedTensorType>(activation.getType()) ||
      !getElementTypeOrSelf(activation).isF32() ||
      matchPattern(activation, m_Constant()) ||
      !matchPattern(op.getInputs()[product.matrix],
                    m_Constant(&product.constant)) ||
      !hasRawBytes(product.constant) ||
      !llvm::all_of(maps,
                    [](AffineMap map) {
                      return map.isProjectedPermutation(
                          /*allowZeroInResults=*/true);
                    }) ||
      !findAxis(maps[product.activation], product.loop) ||
      !findAxis(maps[product.matrix], product.loop))
    return std::nullopt;
  return product;
}

/// \p activation rounded to bf16.
static Value round(ImplicitLocOpBuilder &b, Value activation) {
  auto type = cast<RankedTensorType>(activation.getType());
  Value room = tensor::EmptyOp::create(b, type.getShape(), b.getBF16Type());
  AffineMap all = b.getMultiDimIdentityMap(type.getRank());
  SmallVector<utils::IteratorType> parallel(type.getRank(),
                                            utils::IteratorType::parallel);
  return linalg::GenericOp::create(
             b, room.getType(), activation, room, ArrayRef<AffineMap>{all, all},
             parallel,
             [](OpBuilder &nested, Location loc, ValueRange args) {
               Value rounded = arith::TruncFOp::create(
                   nested, loc, nested.getBF16Type(), args[0]);
               linalg::YieldOp::create(nested, loc, rounded);
             })
      .getResult(0);
}

static void rewrite(const Product &product) {
  linalg::GenericOp op = product.op;
  IRRewriter rewriter(op);
  ImplicitLocOpBuilder b(op.getLoc(), rewriter);
  SmallVector<AffineMap> maps = op.getIndexingMapsArray();
  SmallVector<Value> inputs(op.getInputs());
  Value &activation = inputs[product.activation];
  activation =
      splitAxis(b, round(b, activation),
                *findAxis(maps[product.activation], product.loop), {2});
  inputs[product.matrix] = arith::ConstantOp::create(
      b, splitAxis(cast<ElementsAttr>(product.constant),
                   *findAxis(maps[product.matrix], product.loop), 2));

  // The last loop has the two of a pair.
  unsigned numLoops = op.getNumLoops() + 1;
  for (AffineMap &map : maps) {
    SmallVector<AffineExpr> exprs;
    for (AffineExpr expr : map.getResults()) {
      exprs.push_back(expr);
      if (expr == b.getAffineDimExpr(product.loop))
        exprs.push_back(b.getAffineDimExpr(numLoops - 1));
    }
    map = AffineMap::get(numLoops, 0, exprs, b.getContext());
  }
  SmallVector<utils::IteratorType> kinds = op.getIteratorTypesArray();
  kinds.push_back(utils::IteratorType::reduction);
  rewriter.replaceOpWithNewOp<linalg::GenericOp>(
      op, op.getResultTypes(), inputs, op.getOutputs(), maps, kinds,
      [](OpBuilder &nested, Location loc, ValueRange args) {
        ImplicitLocOpBuilder body(loc, nested);
        Type f32 = body.getF32Type();
        Value term = arith::MulFOp::create(
            body, arith::ExtFOp::create(body, f32, args[0]),
            arith::ExtFOp::create(body, f32, args[1]));
        linalg::YieldOp::create(
            body, ValueRange{arith::AddFOp::create(body, args.back(), term)});
      });
}

namespace {

struct RoundActivationsPass
    : cpu::impl::RoundActivationsBase<RoundActivationsPass> {
  using RoundActivationsBase::RoundActivationsBase;

  void runOnOperation() override {
    SmallVector<Product> products;
    llvm::DenseMap<Attribute, int64_t> taken,
        uses = countConstantUses(getOperation());
    getOperation().walk([&](linalg::GenericOp op) {
      if (std::optional<Product> found = match(op)) {
        products.push_back(*found);
        ++taken[found->constant];
      }
    });
    // All functions compute with a matrix in the same way.
    for (const Product &product : products)
      if (taken[product.constant] == uses[product.constant]) {
        rewrite(product);
        ++numProducts;
      }
  }
};

} // namespace
