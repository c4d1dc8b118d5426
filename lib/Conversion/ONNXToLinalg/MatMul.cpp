//===- MatMul.cpp - Lowering of onnx matrix products ----------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Support.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::lowering;

static int64_t product(ArrayRef<int64_t> sizes) {
  int64_t result = 1;
  for (int64_t size : sizes)
    result *= size;
  return result;
}

/// A matrix product with loops over \p shape and a last one over the summed
/// axis; batch axes of the operands are broadcast.
static Value broadcastProduct(ImplicitLocOpBuilder &b, ValueRange inputs,
                              ArrayRef<AffineMap> inputMaps, Value zero,
                              ArrayRef<int64_t> shape, Body combine) {
  int64_t rank = shape.size();
  SmallVector<AffineMap> maps(inputMaps);
  maps.push_back(b.getMultiDimIdentityMap(rank + 1).dropResult(rank));
  SmallVector<utils::IteratorType> kinds(rank, utils::IteratorType::parallel);
  kinds.push_back(utils::IteratorType::reduction);
  auto type = RankedTensorType::get(shape, zero.getType());
  return linalg::GenericOp::create(
             b, type, inputs, filledTensor(b, type, zero), maps, kinds,
             [&](OpBuilder &nested, Location loc, ValueRange args) {
               ImplicitLocOpBuilder inner(loc, nested);
               linalg::YieldOp::create(inner, combine(inner, args));
             })
      .getResult(0);
}

/// The map of a matrix operand of broadcastProduct; \p row and \p column are
/// the loops of its last two axes.
static AffineMap operandMap(ImplicitLocOpBuilder &b, RankedTensorType type,
                            ArrayRef<int64_t> shape, int64_t row,
                            int64_t column) {
  int64_t rank = shape.size();
  SmallVector<int64_t> loops(shape);
  loops.push_back(0);
  int64_t batch = type.getRank() - 2;
  SmallVector<AffineExpr> exprs;
  for (int64_t i = 0; i < batch; ++i) {
    int64_t loop = rank - 2 - batch + i;
    exprs.push_back(type.getDimSize(i) == 1 && shape[loop] != 1
                        ? b.getAffineConstantExpr(0)
                        : b.getAffineDimExpr(loop));
  }
  exprs.push_back(row < 0 ? b.getAffineConstantExpr(0)
                          : b.getAffineDimExpr(row));
  exprs.push_back(column < 0 ? b.getAffineConstantExpr(0)
                             : b.getAffineDimExpr(column));
  return AffineMap::get(rank + 1, 0, exprs, b.getContext());
}

/// Gives a vector operand of a matrix product its second axis.
static Value asMatrix(ImplicitLocOpBuilder &b, Value value, bool isLeft) {
  RankedTensorType type = tensorType(value);
  if (type.getRank() != 1)
    return value;
  int64_t size = type.getDimSize(0);
  return reshape(b, value,
                 isLeft ? ArrayRef<int64_t>{1, size}
                        : ArrayRef<int64_t>{size, 1});
}

Value lowering::matmul(ImplicitLocOpBuilder &b, Value lhs, Value rhs,
                       RankedTensorType type, bool transposeA,
                       bool transposeB) {
  lhs = asMatrix(b, lhs, true);
  rhs = asMatrix(b, rhs, false);
  RankedTensorType left = tensorType(lhs), right = tensorType(rhs);
  ArrayRef<int64_t> a = left.getShape(), w = right.getShape();
  int64_t rows = a[a.size() - (transposeA ? 1 : 2)];
  int64_t inner = a[a.size() - (transposeA ? 2 : 1)];
  int64_t columns = w[w.size() - (transposeB ? 2 : 1)];
  ArrayRef<int64_t> leftBatch = a.drop_back(2), rightBatch = w.drop_back(2);
  Type compute = computeType(type.getElementType());
  Value zero = constant(b, compute, 0);
  Value result;
  // Rows of all batches are rows of one matrix when the right side is one.
  if (product(rightBatch) == 1 && (!transposeA || product(leftBatch) == 1)) {
    int64_t m = product(leftBatch) * rows;
    lhs = reshape(b, lhs,
                  transposeA ? ArrayRef<int64_t>{inner, m}
                             : ArrayRef<int64_t>{m, inner});
    rhs = reshape(b, rhs,
                  transposeB ? ArrayRef<int64_t>{columns, inner}
                             : ArrayRef<int64_t>{inner, columns});
    auto out = RankedTensorType::get({m, columns}, compute);
    SmallVector<Value> init{filledTensor(b, out, zero)};
    SmallVector<Value> inputs{lhs, rhs};
    if (transposeA && transposeB) {
      inputs[0] = transpose(b, lhs, {1, 0});
      transposeA = false;
    }
    if (transposeA)
      result = linalg::MatmulTransposeAOp::create(b, b.getLoc(), TypeRange{out},
                                                  inputs, init)
                   ->getResult(0);
    else if (transposeB)
      result = linalg::MatmulTransposeBOp::create(b, b.getLoc(), TypeRange{out},
                                                  inputs, init)
                   ->getResult(0);
    else
      result = linalg::MatmulOp::create(b, TypeRange{out}, inputs, init)
                   .getResult(0);
  } else if (leftBatch == rightBatch && !transposeA && !transposeB) {
    int64_t n = product(leftBatch);
    lhs = reshape(b, lhs, {n, rows, inner});
    rhs = reshape(b, rhs, {n, inner, columns});
    auto out = RankedTensorType::get({n, rows, columns}, compute);
    result =
        linalg::BatchMatmulOp::create(b, TypeRange{out}, ValueRange{lhs, rhs},
                                      ValueRange{filledTensor(b, out, zero)})
            .getResult(0);
  } else {
    SmallVector<int64_t> shape;
    int64_t batch = std::max(leftBatch.size(), rightBatch.size());
    for (int64_t i = 0; i < batch; ++i) {
      int64_t l = i + int64_t(leftBatch.size()) - batch;
      int64_t r = i + int64_t(rightBatch.size()) - batch;
      int64_t size = l < 0 ? rightBatch[r] : leftBatch[l];
      shape.push_back(size == 1 && r >= 0 ? rightBatch[r] : size);
    }
    shape.append({rows, columns});
    int64_t m = batch, n = batch + 1, k = batch + 2;
    result = broadcastProduct(
        b, {lhs, rhs},
        {operandMap(b, left, shape, transposeA ? k : m, transposeA ? m : k),
         operandMap(b, right, shape, transposeB ? n : k, transposeB ? k : n)},
        zero, shape, [&](ImplicitLocOpBuilder &b, ValueRange x) {
          Arith arith{b};
          auto wide = [&](Value v) {
            return castScalar(b, v, compute, false, false);
          };
          return arith.add(x[2], arith.mul(wide(x[0]), wide(x[1])));
        });
  }
  result = castElements(b, result, type.getElementType());
  return reshape(b, result, type.getShape());
}

Value lowering::matmulInteger(ImplicitLocOpBuilder &b, Value lhs, Value rhs,
                              Value lhsZero, Value rhsZero, bool lhsUnsigned,
                              bool rhsUnsigned, ArrayRef<int64_t> shape) {
  lhs = asMatrix(b, lhs, true);
  rhs = asMatrix(b, rhs, false);
  ArrayRef<int64_t> a = tensorType(lhs).getShape();
  ArrayRef<int64_t> w = tensorType(rhs).getShape();
  auto scalar = [](Value zero) {
    return !zero || tensorType(zero).getNumElements() == 1;
  };
  // One matrix on the right: fold the batches of the left into its rows.
  if (w.size() == 2 && a.size() > 2 && scalar(lhsZero)) {
    lhs = reshape(b, lhs, {product(a.drop_back()), a.back()});
    a = tensorType(lhs).getShape();
  }
  int64_t batch = std::max(a.size(), w.size()) - 2;
  SmallVector<int64_t> loops;
  for (int64_t i = 0; i < batch; ++i) {
    int64_t l = i + int64_t(a.size()) - 2 - batch;
    int64_t r = i + int64_t(w.size()) - 2 - batch;
    int64_t size = l < 0 ? w[r] : a[l];
    loops.push_back(size == 1 && r >= 0 ? w[r] : size);
  }
  int64_t m = batch, n = batch + 1, k = batch + 2;
  loops.append({a[a.size() - 2], w.back()});
  SmallVector<Value> inputs{lhs, rhs};
  SmallVector<AffineMap> maps{operandMap(b, tensorType(lhs), loops, m, k),
                              operandMap(b, tensorType(rhs), loops, k, n)};
  // Zero points: one, one for each row of A, or one for each column of B.
  auto addZero = [&](Value zero, bool isLeft) {
    RankedTensorType type = tensorType(zero);
    if (type.getNumElements() == 1)
      zero = reshape(b, zero, {1, 1});
    else if (type.getRank() == 1)
      zero = reshape(b, zero,
                     isLeft ? ArrayRef<int64_t>{type.getDimSize(0), 1}
                            : ArrayRef<int64_t>{1, type.getDimSize(0)});
    type = tensorType(zero);
    bool one = type.getNumElements() == 1;
    inputs.push_back(zero);
    maps.push_back(operandMap(b, type, loops, isLeft && !one ? m : -1,
                              !isLeft && !one ? n : -1));
  };
  if (lhsZero)
    addZero(lhsZero, true);
  if (rhsZero)
    addZero(rhsZero, false);
  Value result = broadcastProduct(
      b, inputs, maps, constant(b, b.getI32Type(), 0), loops,
      [&](ImplicitLocOpBuilder &b, ValueRange x) {
        Arith arith{b};
        auto wide = [&](Value v, bool isUnsigned) {
          return castScalar(b, v, b.getI32Type(), isUnsigned, false);
        };
        Value left = wide(x[0], lhsUnsigned), right = wide(x[1], rhsUnsigned);
        if (lhsZero)
          left = arith.sub(left, wide(x[2], lhsUnsigned));
        if (rhsZero)
          right = arith.sub(right, wide(x[lhsZero ? 3 : 2], rhsUnsigned));
        return arith.add(x.back(), arith.mul(left, right));
      });
  return reshape(b, result, shape);
}

namespace {

FailureOr<Value> lowerMatMul(Lowering &b, onnx::MatMulOp op,
                             onnx::MatMulOp::Adaptor in) {
  // Weights are often stored transposed; read them where they are.
  if (auto swap = op.getB().getDefiningOp<onnx::TransposeOp>()) {
    RankedTensorType weights =
        dyn_cast<RankedTensorType>(swap.getData().getType());
    std::optional<ArrayRef<int64_t>> perm = swap.getPerm();
    if (weights && weights.hasStaticShape() && weights.getRank() == 2 &&
        (!perm || *perm == ArrayRef<int64_t>{1, 0}))
      return matmul(b, in.getA(), b.lowered(swap.getData()), b.resultType(),
                    false, true);
  }
  return matmul(b, in.getA(), in.getB(), b.resultType());
}

FailureOr<Value> lowerGemm(Lowering &b, onnx::GemmOp op,
                           onnx::GemmOp::Adaptor in) {
  RankedTensorType type = b.resultType();
  double alpha = op.getAlpha().convertToDouble();
  double beta = op.getBeta().convertToDouble();
  bool hasC = !onnx::isNone(op.getC()) && beta != 0;
  Type compute = computeType(type.getElementType());
  Value result = matmul(b, in.getA(), in.getB(), type.clone(compute),
                        op.getTransA() != 0, op.getTransB() != 0);
  if (alpha == 1 && !hasC)
    return castElements(b, result, type.getElementType());
  SmallVector<Value> inputs{result};
  if (hasC)
    inputs.push_back(in.getC());
  bool isUnsigned = lowering::isUnsigned(op.getA());
  auto scale = [&](Arith &a, Value x, double factor) {
    if (factor == 1)
      return x;
    if (isa<FloatType>(x.getType()))
      return a.mul(x, a.constant(x, factor));
    Value wide = castScalar(a.b, x, a.b.getF64Type(), isUnsigned, false);
    return castScalar(a.b, a.mul(wide, a.constant(wide, factor)), x.getType(),
                      false, isUnsigned);
  };
  return floatElementwise(
      b, inputs, type, [&](ImplicitLocOpBuilder &b, ValueRange x) {
        Arith a{b, isUnsigned};
        Value sum = scale(a, x[0], alpha);
        return hasC ? a.add(sum, scale(a, x[1], beta)) : sum;
      });
}

FailureOr<Value> lowerMatMulInteger(Lowering &b, onnx::MatMulIntegerOp op,
                                    onnx::MatMulIntegerOp::Adaptor in) {
  auto given = [](Value value) {
    return onnx::isNone(value) ? Value() : value;
  };
  return matmulInteger(b, in.getA(), in.getB(), given(in.getAZeroPoint()),
                       given(in.getBZeroPoint()), isUnsigned(op.getA()),
                       isUnsigned(op.getB()), b.resultType().getShape());
}

FailureOr<Value> lowerQLinearMatMul(Lowering &b, onnx::QLinearMatMulOp op,
                                    onnx::QLinearMatMulOp::Adaptor in) {
  RankedTensorType type = b.resultType();
  Value sum = matmulInteger(b, in.getA(), in.getB(), in.getAZeroPoint(),
                            in.getBZeroPoint(), isUnsigned(op.getA()),
                            isUnsigned(op.getB()), type.getShape());
  // A vector of scales belongs to the rows of A or the columns of B.
  auto flat = [&](Value value, bool rows) {
    RankedTensorType own = tensorType(value);
    if (own.getNumElements() == 1)
      return reshape(b, value, {});
    return own.getRank() == 1 && rows
               ? reshape(b, value, {own.getDimSize(0), 1})
               : value;
  };
  bool outUnsigned = isUnsigned(op.getY());
  Type out = type.getElementType();
  return elementwise(
      b,
      {sum, flat(in.getAScale(), true), flat(in.getBScale(), false),
       flat(in.getYScale(), true), flat(in.getYZeroPoint(), true)},
      type, [&](ImplicitLocOpBuilder &b, ValueRange x) {
        Arith a{b};
        auto wide = [&](Value v) {
          return castScalar(b, v, b.getF32Type(), false, false);
        };
        Value factor = a.div(a.mul(wide(x[1]), wide(x[2])), wide(x[3]));
        Value scaled = math::RoundEvenOp::create(b, a.mul(wide(x[0]), factor));
        Value zero = castScalar(b, x[4], b.getF32Type(), outUnsigned, false);
        return castScalar(b, a.add(scaled, zero), out, false, outUnsigned);
      });
}

/// Loops of an einsum by letter; the axes of `...` are capital letters that the
/// equation does not use.
FailureOr<Value> lowerEinsum(Lowering &b, onnx::EinsumOp op,
                             onnx::EinsumOp::Adaptor in) {
  std::string text;
  for (char c : op.getEquation())
    if (!isspace(c))
      text += c;
  auto [left, right] = StringRef(text).split("->");
  bool explicitOutput = StringRef(text).contains("->");
  SmallVector<StringRef> terms;
  left.split(terms, ',');
  if (terms.size() != in.getInputs().size())
    return b.refuse("equation '" + op.getEquation() + "' has " +
                    Twine(terms.size()) + " terms for " +
                    Twine(in.getInputs().size()) + " inputs");
  // A loop is a letter, or -1 - n for the n-th axis from the end of `...`.
  SmallVector<SmallVector<int>> axes;
  int ellipsis = 0;
  auto parse = [&](StringRef term, int rank, SmallVector<int> &loops) {
    StringRef letters = term;
    size_t dots = term.find("...");
    int extra = 0;
    if (dots != StringRef::npos)
      extra = rank < 0 ? ellipsis : rank - int(term.size() - 3);
    if (extra < 0)
      return false;
    for (size_t i = 0; i < letters.size(); ++i) {
      if (i == dots) {
        for (int e = extra; e > 0; --e)
          loops.push_back(-e);
        i += 2;
        continue;
      }
      if (!llvm::isAlpha(letters[i]))
        return false;
      loops.push_back(letters[i]);
    }
    if (rank >= 0)
      ellipsis = std::max(ellipsis, extra);
    return rank < 0 || int(loops.size()) == rank;
  };
  for (auto [term, input] : llvm::zip_equal(terms, in.getInputs()))
    if (!parse(term, tensorType(input).getRank(), axes.emplace_back()))
      return b.refuse("term '" + term + "' of equation '" + op.getEquation() +
                      "' does not fit its input");
  SmallVector<int> out;
  if (explicitOutput) {
    if (!parse(right, -1, out))
      return b.refuse("the output of equation '" + op.getEquation() +
                      "' is malformed");
  } else {
    for (int e = ellipsis; e > 0; --e)
      out.push_back(-e);
    for (char c = 'A'; c <= 'z'; ++c)
      if (llvm::count(left, c) == 1 && llvm::isAlpha(c))
        out.push_back(c);
  }
  SmallVector<int> loops(out);
  llvm::DenseMap<int, int64_t> sizes;
  for (auto [own, input] : llvm::zip_equal(axes, in.getInputs()))
    for (auto [loop, size] : llvm::zip(own, tensorType(input).getShape())) {
      if (!llvm::is_contained(loops, loop))
        loops.push_back(loop);
      int64_t &known = sizes.try_emplace(loop, size).first->second;
      if (known != size && known != 1 && size != 1)
        return b.refuse("sizes " + Twine(known) + " and " + Twine(size) +
                        " of equation '" + op.getEquation() + "' differ");
      known = std::max(known, size);
    }
  SmallVector<AffineMap> maps;
  auto addMap = [&](ArrayRef<int> own, ArrayRef<int64_t> shape) {
    SmallVector<AffineExpr> exprs;
    for (auto [loop, size] : llvm::zip(own, shape))
      exprs.push_back(
          size == 1 && sizes[loop] != 1
              ? b.getAffineConstantExpr(0)
              : b.getAffineDimExpr(llvm::find(loops, loop) - loops.begin()));
    maps.push_back(AffineMap::get(loops.size(), 0, exprs, b.getContext()));
  };
  RankedTensorType type = b.resultType();
  for (int loop : out)
    if (!sizes.count(loop))
      return b.refuse("the output of equation '" + op.getEquation() +
                      "' has an axis that no input has");
  if (out.size() != size_t(type.getRank()))
    return b.refuse("equation '" + op.getEquation() +
                    "' does not give the rank of the result");
  for (auto [own, input] : llvm::zip_equal(axes, in.getInputs()))
    addMap(own, tensorType(input).getShape());
  addMap(out, type.getShape());
  SmallVector<utils::IteratorType> kinds(out.size(),
                                         utils::IteratorType::parallel);
  kinds.resize(loops.size(), utils::IteratorType::reduction);
  Type compute = computeType(type.getElementType());
  RankedTensorType sumType = type.clone(compute);
  Value sum =
      linalg::GenericOp::create(
          b, sumType, in.getInputs(),
          filledTensor(b, sumType, constant(b, compute, 0)), maps, kinds,
          [&](OpBuilder &nested, Location loc, ValueRange args) {
            ImplicitLocOpBuilder inner(loc, nested);
            Arith a{inner};
            Value factor;
            for (Value arg : args.drop_back()) {
              arg = castScalar(inner, arg, compute, false, false);
              factor = factor ? a.mul(factor, arg) : arg;
            }
            linalg::YieldOp::create(inner, a.add(args.back(), factor));
          })
          .getResult(0);
  return castElements(b, sum, type.getElementType());
}

} // namespace

void lowering::addMatMulLowerings(LoweringSet &set) {
  set.add<onnx::MatMulOp>(lowerMatMul);
  set.add<onnx::GemmOp>(lowerGemm);
  set.add<onnx::MatMulIntegerOp>(lowerMatMulInteger);
  set.add<onnx::QLinearMatMulOp>(lowerQLinearMatMul);
  set.add<onnx::EinsumOp>(lowerEinsum);
}
