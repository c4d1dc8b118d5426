//===- WKVToLinalg.cpp - wkv to linalg ------------------------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "rwkvc/Conversion/WKVToLinalg/WKVToLinalg.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/Transforms/DialectConversion.h"
#include "rwkvc/Conversion/Passes.h"
#include "rwkvc/Dialect/WKV/IR/WKV.h"
#include "rwkvc/Support/Scalars.h"
#include <cmath>

namespace rwkvc {
#define GEN_PASS_DEF_CONVERTWKVTOLINALGPASS
#include "rwkvc/Conversion/Passes.h.inc"
} // namespace rwkvc

using namespace mlir;
using namespace rwkvc;

namespace {

RankedTensorType tensorType(Value value) {
  return cast<RankedTensorType>(value.getType());
}

Value emptyLike(ImplicitLocOpBuilder &b, RankedTensorType type) {
  return tensor::EmptyOp::create(b, type.getShape(), type.getElementType());
}

Value constant(ImplicitLocOpBuilder &b, Type type, double value) {
  return arith::ConstantOp::create(b, b.getFloatAttr(type, value));
}

/// The first \p count of \p rank loops; getMajorSubMap has no empty result.
AffineMap leadingLoops(ImplicitLocOpBuilder &b, unsigned rank, unsigned count) {
  if (count == 0)
    return AffineMap::get(rank, 0, b.getContext());
  return b.getMultiDimIdentityMap(rank).getMajorSubMap(count);
}

using Body = llvm::function_ref<Value(ImplicitLocOpBuilder &, ValueRange)>;

/// The loops of \p input aligned with the last of \p shape; an axis of size one
/// is repeated.
AffineMap trailingLoops(ImplicitLocOpBuilder &b, ArrayRef<int64_t> shape,
                        ArrayRef<int64_t> input) {
  unsigned rank = shape.size(), first = rank - input.size();
  SmallVector<AffineExpr> exprs;
  for (auto [i, size] : llvm::enumerate(input))
    exprs.push_back(size == 1 && shape[first + i] != 1
                        ? b.getAffineConstantExpr(0)
                        : b.getAffineDimExpr(first + i));
  return AffineMap::get(rank, 0, exprs, b.getContext());
}

/// An elementwise generic over \p type. Arithmetic is in \p compute. Operands
/// are aligned with the last axes; where \p leading says so, with the first
/// ones.
Value elementwise(ImplicitLocOpBuilder &b, ValueRange inputs,
                  RankedTensorType type, Type compute, Body body,
                  ArrayRef<unsigned> leading = {}) {
  unsigned rank = type.getRank();
  SmallVector<AffineMap> maps;
  for (auto [i, input] : llvm::enumerate(inputs)) {
    ArrayRef<int64_t> shape = tensorType(input).getShape();
    maps.push_back(llvm::is_contained(leading, i)
                       ? leadingLoops(b, rank, shape.size())
                       : trailingLoops(b, type.getShape(), shape));
  }
  maps.push_back(b.getMultiDimIdentityMap(rank));
  SmallVector<utils::IteratorType> kinds(rank, utils::IteratorType::parallel);
  return linalg::GenericOp::create(
             b, type, inputs, emptyLike(b, type), maps, kinds,
             [&](OpBuilder &nested, Location loc, ValueRange args) {
               ImplicitLocOpBuilder inner(loc, nested);
               SmallVector<Value> values;
               for (Value arg : args.drop_back())
                 values.push_back(castFloat(inner, arg, compute));
               linalg::YieldOp::create(inner,
                                       castFloat(inner, body(inner, values),
                                                 type.getElementType()));
             })
      .getResult(0);
}

/// \p value with elements of type \p element.
Value castElements(ImplicitLocOpBuilder &b, Value value, Type element) {
  RankedTensorType type = tensorType(value);
  if (type.getElementType() == element)
    return value;
  return elementwise(
      b, value, RankedTensorType::get(type.getShape(), element), element,
      [](ImplicitLocOpBuilder &, ValueRange args) { return args[0]; });
}

/// Norms and decays are computed in at least 32 bits.
Type computeType(RankedTensorType type) {
  Type element = type.getElementType();
  return element.getIntOrFloatBitWidth() < 32
             ? Float32Type::get(type.getContext())
             : element;
}

/// Sum over the last axis of body(elements of \p inputs).
Value sumLast(ImplicitLocOpBuilder &b, ValueRange inputs, Type compute,
              Body body) {
  RankedTensorType type = tensorType(inputs[0]);
  unsigned rank = type.getRank();
  Value init = tensor::EmptyOp::create(b, type.getShape().drop_back(), compute);
  init =
      linalg::FillOp::create(b, constant(b, compute, 0.0), init).getResult(0);
  SmallVector<AffineMap> maps;
  for (Value input : inputs)
    maps.push_back(leadingLoops(b, rank, tensorType(input).getRank()));
  maps.push_back(leadingLoops(b, rank, rank - 1));
  SmallVector<utils::IteratorType> kinds(rank, utils::IteratorType::parallel);
  kinds.back() = utils::IteratorType::reduction;
  return linalg::GenericOp::create(
             b, init.getType(), inputs, init, maps, kinds,
             [&](OpBuilder &nested, Location loc, ValueRange args) {
               ImplicitLocOpBuilder inner(loc, nested);
               SmallVector<Value> values;
               for (Value arg : args.drop_back())
                 values.push_back(castFloat(inner, arg, compute));
               linalg::YieldOp::create(
                   inner, Value(arith::AddFOp::create(
                              inner, body(inner, values), args.back())));
             })
      .getResult(0);
}

/// The number of tokens that count, as an index.
Value extractLength(ImplicitLocOpBuilder &b, Value length) {
  return arith::IndexCastOp::create(
      b, b.getIndexType(), tensor::ExtractOp::create(b, length, ValueRange()));
}

/// A recurrence as a loop over its chunks, if it has the chunked form, and one
/// over the tokens that are left; both end where the length says.
struct ConvertRecurrence
    : OpInterfaceRewritePattern<wkv::RecurrenceOpInterface> {
  using OpInterfaceRewritePattern::OpInterfaceRewritePattern;

  LogicalResult matchAndRewrite(wkv::RecurrenceOpInterface op,
                                PatternRewriter &rewriter) const override {
    ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    SmallVector<Value> states = op.getStates();
    Value init =
        cast<DestinationStyleOpInterface>(op.getOperation()).getDpsInits()[0];
    Value zero = arith::ConstantIndexOp::create(b, 0);
    int64_t tokens = op.getNumTokens();
    Value length = op.getNumValidTokens();
    if (tokens == 1 && !length) {
      SmallVector<Value> step = op.buildStep(rewriter, zero, states);
      step[0] = insertRows(b, init, step[0], zero);
      rewriter.replaceOp(op, step);
      return success();
    }
    Value end = length ? extractLength(b, length)
                       : arith::ConstantIndexOp::create(b, tokens);
    SmallVector<Value> carried{init};
    llvm::append_range(carried, op.packStates(rewriter, states));
    Value start = zero;
    int64_t chunk = op.getChunkLength().value_or(0);
    if (chunk > 0 && chunk <= tokens) {
      Value size = arith::ConstantIndexOp::create(b, chunk);
      start =
          arith::SubIOp::create(b, end, arith::RemUIOp::create(b, end, size));
      if (!length)
        start = arith::ConstantIndexOp::create(b, tokens - tokens % chunk);
      carried = loop(b, zero, start, size, carried,
                     [&](OpBuilder &nested, Value first, ValueRange packed) {
                       return op.buildChunk(nested, first, chunk, packed);
                     });
    }
    if (length || start == zero || tokens % chunk != 0)
      carried =
          loop(b, start, end, arith::ConstantIndexOp::create(b, 1), carried,
               [&](OpBuilder &nested, Value token, ValueRange packed) {
                 return op.buildBlockStep(nested, token, packed);
               });
    SmallVector<Value> results{carried[0]};
    llvm::append_range(
        results,
        op.unpackStates(rewriter, ArrayRef(carried).drop_front(), states));
    rewriter.replaceOp(op, results);
    return success();
  }

  /// A loop that carries the output and the packed states through \p body,
  /// which gives rows of the output and the next states.
  static SmallVector<Value>
  loop(ImplicitLocOpBuilder &b, Value from, Value to, Value step,
       ValueRange carried,
       llvm::function_ref<SmallVector<Value>(OpBuilder &, Value, ValueRange)>
           body) {
    auto loop = scf::ForOp::create(
        b, from, to, step, carried,
        [&](OpBuilder &nested, Location loc, Value first, ValueRange values) {
          ImplicitLocOpBuilder inner(loc, nested);
          SmallVector<Value> next = body(nested, first, values.drop_front());
          next[0] = insertRows(inner, values[0], next[0], first);
          scf::YieldOp::create(inner, next);
        });
    return SmallVector<Value>(loop.getResults());
  }

  /// Writes \p rows from row \p first of \p into on; a single row is without
  /// its T axis.
  static Value insertRows(ImplicitLocOpBuilder &b, Value into, Value rows,
                          Value first) {
    RankedTensorType type = tensorType(into);
    rows = castElements(b, rows, type.getElementType());
    int64_t rank = type.getRank();
    SmallVector<OpFoldResult> offsets(rank, b.getIndexAttr(0));
    SmallVector<OpFoldResult> strides(rank, b.getIndexAttr(1)), sizes;
    for (int64_t size : type.getShape())
      sizes.push_back(b.getIndexAttr(size));
    offsets[1] = getAsOpFoldResult(first);
    sizes[1] = b.getIndexAttr(tensorType(rows).getRank() == rank
                                  ? tensorType(rows).getDimSize(1)
                                  : 1);
    return tensor::InsertSliceOp::create(b, rows, into, offsets, sizes,
                                         strides);
  }
};

struct ConvertDecay : OpRewritePattern<wkv::DecayOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(wkv::DecayOp op,
                                PatternRewriter &rewriter) const override {
    ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    RankedTensorType type = tensorType(op.getLogit());
    Type compute = computeType(type);
    double scale = op.getScale().convertToDouble();
    double lower = op.getLower().convertToDouble();
    double upper = op.getUpper().convertToDouble();
    Value result = elementwise(
        b, op.getLogit(), type, compute,
        [&](ImplicitLocOpBuilder &b, ValueRange args) -> Value {
          Value x = args[0];
          if (std::isfinite(lower))
            x = arith::MaximumFOp::create(b, x, constant(b, compute, lower));
          if (std::isfinite(upper))
            x = arith::MinimumFOp::create(b, x, constant(b, compute, upper));
          Value rate;
          if (op.getLaw() == wkv::DecayLaw::ExpExp) {
            rate = math::ExpOp::create(b, x);
          } else {
            Value one = constant(b, compute, 1.0);
            Value e = math::ExpOp::create(b, arith::NegFOp::create(b, x));
            rate =
                arith::DivFOp::create(b, one, arith::AddFOp::create(b, one, e));
          }
          rate = arith::MulFOp::create(b, rate, constant(b, compute, -scale));
          return math::ExpOp::create(b, rate);
        });
    rewriter.replaceOp(op, result);
    return success();
  }
};

struct ConvertLayerNorm : OpRewritePattern<wkv::LayerNormOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(wkv::LayerNormOp op,
                                PatternRewriter &rewriter) const override {
    ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    RankedTensorType type = tensorType(op.getX());
    Type compute = computeType(type);
    double size = type.getShape().back();
    // Two passes: the mean first, then the centred squares, which do not
    // cancel.
    Value sum =
        sumLast(b, op.getX(), compute,
                [](ImplicitLocOpBuilder &, ValueRange a) { return a[0]; });
    auto centred = [&](ImplicitLocOpBuilder &b, Value x, Value sum) -> Value {
      Value mean =
          arith::MulFOp::create(b, sum, constant(b, compute, 1.0 / size));
      return arith::SubFOp::create(b, x, mean);
    };
    Value squares =
        sumLast(b, {op.getX(), sum}, compute,
                [&](ImplicitLocOpBuilder &b, ValueRange a) -> Value {
                  Value c = centred(b, a[0], a[1]);
                  return arith::MulFOp::create(b, c, c);
                });
    double epsilon = op.getEpsilon().convertToDouble();
    double rootEpsilon = op.getRootEpsilon().convertToDouble();
    // One root and one division per row, not per element.
    Value inverse = elementwise(
        b, squares, tensorType(squares), compute,
        [&](ImplicitLocOpBuilder &b, ValueRange a) -> Value {
          Value root =
              arith::MulFOp::create(b, a[0], constant(b, compute, 1.0 / size));
          root = arith::AddFOp::create(b, root, constant(b, compute, epsilon));
          root = math::SqrtOp::create(b, root);
          if (rootEpsilon != 0.0)
            root = arith::AddFOp::create(b, root,
                                         constant(b, compute, rootEpsilon));
          return arith::DivFOp::create(b, constant(b, compute, 1.0), root);
        });
    SmallVector<Value> inputs{op.getX(), sum, inverse};
    if (op.getScale())
      inputs.push_back(op.getScale());
    if (op.getBias())
      inputs.push_back(op.getBias());
    Value result = elementwise(
        b, inputs, type, compute,
        [&](ImplicitLocOpBuilder &b, ValueRange a) -> Value {
          Value y = arith::MulFOp::create(b, centred(b, a[0], a[1]), a[2]);
          if (op.getScale())
            y = arith::MulFOp::create(b, y, a[3]);
          if (op.getBias())
            y = arith::AddFOp::create(b, y, a.back());
          return y;
        },
        {1, 2});
    rewriter.replaceOp(op, result);
    return success();
  }
};

struct ConvertL2Norm : OpRewritePattern<wkv::L2NormOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(wkv::L2NormOp op,
                                PatternRewriter &rewriter) const override {
    ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    RankedTensorType type = tensorType(op.getX());
    Type compute = computeType(type);
    Value squares = sumLast(b, op.getX(), compute,
                            [](ImplicitLocOpBuilder &b, ValueRange a) -> Value {
                              return arith::MulFOp::create(b, a[0], a[0]);
                            });
    double epsilon = op.getEpsilon().convertToDouble();
    Value inverse = elementwise(
        b, squares, tensorType(squares), compute,
        [&](ImplicitLocOpBuilder &b, ValueRange a) -> Value {
          Value eps = constant(b, compute, epsilon), norm = a[0];
          if (op.getBound() == wkv::L2NormBound::Root)
            norm = arith::AddFOp::create(b, norm, eps);
          norm = math::SqrtOp::create(b, norm);
          if (op.getBound() == wkv::L2NormBound::Max)
            norm = arith::MaximumFOp::create(b, norm, eps);
          else if (op.getBound() == wkv::L2NormBound::Add)
            norm = arith::AddFOp::create(b, norm, eps);
          return arith::DivFOp::create(b, constant(b, compute, 1.0), norm);
        });
    Value result =
        elementwise(b, {op.getX(), inverse}, type, compute,
                    [](ImplicitLocOpBuilder &b, ValueRange a) -> Value {
                      return arith::MulFOp::create(b, a[0], a[1]);
                    },
                    {1});
    rewriter.replaceOp(op, result);
    return success();
  }
};

struct ConvertMix : OpRewritePattern<wkv::MixOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(wkv::MixOp op,
                                PatternRewriter &rewriter) const override {
    ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    RankedTensorType type = tensorType(op.getY());
    Value result = elementwise(
        b, {op.getX(), op.getShifted(), op.getMu()}, type, computeType(type),
        [](ImplicitLocOpBuilder &b, ValueRange a) -> Value {
          Value d = arith::SubFOp::create(b, a[1], a[0]);
          return arith::AddFOp::create(b, a[0],
                                       arith::MulFOp::create(b, d, a[2]));
        });
    rewriter.replaceOp(op, result);
    return success();
  }
};

struct ConvertTokenShift : OpRewritePattern<wkv::TokenShiftOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(wkv::TokenShiftOp op,
                                PatternRewriter &rewriter) const override {
    ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    RankedTensorType type = tensorType(op.getX());
    RankedTensorType row = tensorType(op.getState());
    ArrayRef<int64_t> shape = type.getShape();
    Type element = type.getElementType();
    if (shape[1] == 1) {
      // The predecessor of the only token is the state, seen with a T axis.
      SmallVector<ReassociationIndices> axes{{0, 1}, {2}};
      Value state = castElements(b, op.getState(), element);
      Value kept = tensor::CollapseShapeOp::create(
          b, RankedTensorType::get(row.getShape(), element), op.getX(), axes);
      rewriter.replaceOp(op,
                         {tensor::ExpandShapeOp::create(b, type, state, axes),
                          castElements(b, kept, row.getElementType())});
      return success();
    }
    auto index = [&](int64_t value) { return b.getIndexAttr(value); };
    SmallVector<OpFoldResult> strides(3, index(1)), start(3, index(0));
    SmallVector<OpFoldResult> one{index(shape[0]), index(1), index(shape[2])};
    SmallVector<OpFoldResult> last{index(0), index(shape[1] - 1), index(0)};
    if (op.getLength())
      last[1] = arith::SubIOp::create(b, extractLength(b, op.getLength()),
                                      arith::ConstantIndexOp::create(b, 1))
                    .getResult();
    Value shifted = tensor::InsertSliceOp::create(
        b, castElements(b, op.getState(), element), emptyLike(b, type), start,
        one, strides);
    SmallVector<OpFoldResult> rest{index(shape[0]), index(shape[1] - 1),
                                   index(shape[2])};
    Value head =
        tensor::ExtractSliceOp::create(b, op.getX(), start, rest, strides);
    SmallVector<OpFoldResult> second{index(0), index(1), index(0)};
    shifted =
        tensor::InsertSliceOp::create(b, head, shifted, second, rest, strides);
    Value kept = tensor::ExtractSliceOp::create(
        b, RankedTensorType::get(row.getShape(), element), op.getX(), last, one,
        strides);
    rewriter.replaceOp(op,
                       {shifted, castElements(b, kept, row.getElementType())});
    return success();
  }
};

/// Two matrix products over all rows at once, accumulated in at least 32 bits
/// and rounded to the element type between them, as the file's own would be.
struct ConvertLora : OpRewritePattern<wkv::LoraOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(wkv::LoraOp op,
                                PatternRewriter &rewriter) const override {
    ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    RankedTensorType type = tensorType(op.getX()),
                     yType = tensorType(op.getY());
    Type compute = computeType(yType);
    int64_t width = type.getShape().back();
    int64_t rows = width == 0 ? 0 : type.getNumElements() / width;
    Value x = reshape(b, op.getX(), {rows, width});
    Value hidden = product(b, x, op.getDown(), op.getTransposeDown(), compute);
    if (op.getActivation() != wkv::LoraActivation::None)
      hidden = elementwise(
          b, hidden, tensorType(hidden), compute,
          [&](ImplicitLocOpBuilder &b, ValueRange a) -> Value {
            if (op.getActivation() == wkv::LoraActivation::Tanh)
              return math::TanhOp::create(b, a[0]);
            Value one = constant(b, compute, 1.0);
            Value e = math::ExpOp::create(b, arith::NegFOp::create(b, a[0]));
            return arith::DivFOp::create(b, one,
                                         arith::AddFOp::create(b, one, e));
          });
    hidden = castElements(b, hidden, type.getElementType());
    Value y = product(b, hidden, op.getUp(), op.getTransposeUp(), compute);
    RankedTensorType flat = tensorType(y).clone(yType.getElementType());
    if (op.getBias())
      y = elementwise(b, {y, op.getBias()}, flat, compute,
                      [](ImplicitLocOpBuilder &b, ValueRange a) -> Value {
                        return arith::AddFOp::create(b, a[0], a[1]);
                      });
    y = castElements(b, y, yType.getElementType());
    rewriter.replaceOp(op, reshape(b, y, yType.getShape()));
    return success();
  }

  static Value product(ImplicitLocOpBuilder &b, Value x, Value weight,
                       bool transposed, Type compute) {
    int64_t columns = tensorType(weight).getShape()[transposed ? 0 : 1];
    auto out =
        RankedTensorType::get({tensorType(x).getDimSize(0), columns}, compute);
    Value init =
        linalg::FillOp::create(b, constant(b, compute, 0.0), emptyLike(b, out))
            .getResult(0);
    SmallVector<Value> inputs{x, weight}, inits{init};
    if (transposed)
      return linalg::MatmulTransposeBOp::create(b, b.getLoc(), TypeRange{out},
                                                inputs, inits)
          ->getResult(0);
    return linalg::MatmulOp::create(b, TypeRange{out}, inputs, inits)
        .getResult(0);
  }

  /// Between [.., N] and [rows, N].
  static Value reshape(ImplicitLocOpBuilder &b, Value value,
                       ArrayRef<int64_t> shape) {
    RankedTensorType type = tensorType(value);
    if (type.getShape() == shape)
      return value;
    auto result = RankedTensorType::get(shape, type.getElementType());
    // The axes before the last one are one group on the longer side.
    int64_t rank = std::max<int64_t>(type.getRank(), shape.size());
    int64_t groups = std::min<int64_t>(type.getRank(), shape.size());
    SmallVector<ReassociationIndices> grouping(groups);
    for (int64_t i = 0; i < rank; ++i)
      grouping[i == rank - 1 ? groups - 1 : 0].push_back(i);
    if (type.getRank() > result.getRank())
      return tensor::CollapseShapeOp::create(b, result, value, grouping);
    return tensor::ExpandShapeOp::create(b, result, value, grouping);
  }
};

struct ConvertWKVToLinalgPass
    : rwkvc::impl::ConvertWKVToLinalgPassBase<ConvertWKVToLinalgPass> {
  using ConvertWKVToLinalgPassBase::ConvertWKVToLinalgPassBase;

  void runOnOperation() override {
    ConversionTarget target(getContext());
    target.markUnknownOpDynamicallyLegal([&](Operation *op) {
      return !isa<wkv::WKVDialect>(op->getDialect()) ||
             (keepRecurrences && isa<wkv::RecurrenceOpInterface>(op));
    });
    RewritePatternSet patterns(&getContext());
    populateWKVToLinalgPatterns(patterns);
    if (failed(applyPartialConversion(getOperation(), target,
                                      std::move(patterns))))
      signalPassFailure();
  }
};

} // namespace

void rwkvc::populateWKVToLinalgPatterns(RewritePatternSet &patterns) {
  patterns.add<ConvertRecurrence, ConvertDecay, ConvertLayerNorm, ConvertL2Norm,
               ConvertMix, ConvertTokenShift, ConvertLora>(
      patterns.getContext());
}
