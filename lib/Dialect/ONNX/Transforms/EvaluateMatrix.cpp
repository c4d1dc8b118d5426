//===- EvaluateMatrix.cpp - Evaluation of matrix products -----------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "EvaluatorSupport.h"
#include <cmath>

using namespace mlir;
using namespace rwkvc::onnx;
using namespace rwkvc::onnx::evaluation;

namespace {

/// C[rows, columns] = A[rows, inner] B[inner, columns], each contiguous.
void multiply(const double *a, const double *b, double *c, int64_t rows,
              int64_t inner, int64_t columns) {
  std::fill(c, c + rows * columns, 0.0);
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t k = 0; k < inner; ++k) {
      double x = a[i * inner + k];
      for (int64_t j = 0; j < columns; ++j)
        c[i * columns + j] += x * b[k * columns + j];
    }
}

/// numpy.matmul of \p a and \p b into \p out.
void matMul(const HostTensor &a, const HostTensor &b, HostTensor &out) {
  MatMulGeometry g = *getMatMulGeometry(a.shape, b.shape);
  auto batchOf = [](const HostTensor &tensor) {
    return ArrayRef<int64_t>(tensor.shape)
        .drop_back(tensor.getRank() == 1 ? 1 : 2);
  };
  Shape strides[] = {getBroadcastStrides(batchOf(a), g.batch),
                     getBroadcastStrides(batchOf(b), g.batch)};
  forEachIndex(g.batch, strides, [&](int64_t i, ArrayRef<int64_t> offsets) {
    multiply(a.data.data() + offsets[0] * g.rows * g.inner,
             b.data.data() + offsets[1] * g.inner * g.columns,
             out.data.data() + i * g.rows * g.columns, g.rows, g.inner,
             g.columns);
  });
}

LogicalResult evaluateGemm(GemmOp op, Evaluation &e) {
  auto transposed = [](const HostTensor &tensor, bool isTransposed) {
    HostTensor result = tensor;
    if (!isTransposed)
      return result;
    int64_t rows = tensor.shape[0], columns = tensor.shape[1];
    result.shape = {columns, rows};
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t j = 0; j < columns; ++j)
        result.data[j * rows + i] = tensor.data[i * columns + j];
    return result;
  };
  HostTensor &out = e.out();
  matMul(transposed(e.in(0), op.getTransA() != 0),
         transposed(e.in(1), op.getTransB() != 0), out);
  double alpha = toDouble(op.getAlpha()), beta = toDouble(op.getBeta());
  for (double &value : out.data)
    value *= alpha;
  if (const HostTensor *c = e.getOptional(2))
    forEachIndex(out.shape, getBroadcastStrides(c->shape, out.shape),
                 [&](int64_t i, ArrayRef<int64_t> offsets) {
                   out.data[i] += beta * c->data[offsets[0]];
                 });
  return success();
}

/// \p tensor less its zero point: one number, or one per row (\p axis is the
/// second to last) or column.
FailureOr<HostTensor> subtractZeroPoint(const HostTensor &tensor,
                                        const HostTensor *zeroPoint,
                                        int64_t axis) {
  HostTensor result = tensor;
  if (!zeroPoint)
    return result;
  Shape strides(tensor.getRank(), 0);
  auto normal = normalizeAxis(axis, tensor.getRank());
  if (zeroPoint->getNumElements() != 1) {
    if (zeroPoint->getRank() != 1 || !normal ||
        zeroPoint->shape[0] != tensor.shape[*normal])
      return failure();
    strides[*normal] = 1;
  }
  forEachIndex(tensor.shape, strides,
               [&](int64_t i, ArrayRef<int64_t> offsets) {
                 result.data[i] -= zeroPoint->data[offsets[0]];
               });
  return result;
}

LogicalResult evaluateMatMulInteger(MatMulIntegerOp, Evaluation &e) {
  auto a = subtractZeroPoint(e.in(0), e.getOptional(2), -2);
  auto b = subtractZeroPoint(e.in(1), e.getOptional(3), -1);
  if (failed(a) || failed(b))
    return failure();
  matMul(*a, *b, e.out());
  return success();
}

LogicalResult evaluateQLinearMatMul(QLinearMatMulOp, Evaluation &e) {
  auto a = subtractZeroPoint(e.in(0), &e.in(2), -2);
  auto b = subtractZeroPoint(e.in(3), &e.in(5), -1);
  Type type = e.out().elementType;
  // One scale per tensor; quantised per row or column is not evaluated.
  for (unsigned i : {1u, 4u, 6u, 7u})
    if (e.in(i).getNumElements() != 1)
      return failure();
  if (failed(a) || failed(b) || !isa<IntegerType>(type))
    return failure();
  matMul(*a, *b, e.out());
  double scale =
      e.in(1).data.front() * e.in(4).data.front() / e.in(6).data.front();
  for (double &value : e.out().data) {
    value =
        saturate(std::nearbyint(value * scale) + e.in(7).data.front(), type);
    if (std::isnan(value))
      return failure();
  }
  return success();
}

LogicalResult evaluateEinsum(EinsumOp op, Evaluation &e) {
  EinsumTerms terms = *parseEinsum(op.getEquation(), e.inputs.size());
  // All letters, those of the output first, so that the sums are innermost.
  std::string letters = terms.output;
  Shape sizes = e.out().shape;
  for (auto [term, input] : llvm::zip(terms.inputs, e.inputs))
    for (auto [letter, size] : llvm::zip(term, input->shape))
      if (letters.find(letter) == std::string::npos) {
        letters += letter;
        sizes.push_back(size);
      }
  auto count = countElements(sizes);
  if (!count || *count > kMaxElements)
    return failure();
  auto stridesOf = [&](StringRef term, ArrayRef<int64_t> shape) {
    Shape strides(letters.size(), 0);
    for (auto [letter, stride] : llvm::zip(term, getStrides(shape)))
      strides[letters.find(letter)] += stride; // a diagonal adds up
    return strides;
  };
  SmallVector<Shape> strides{stridesOf(terms.output, e.out().shape)};
  for (auto [term, input] : llvm::zip(terms.inputs, e.inputs))
    strides.push_back(stridesOf(term, input->shape));
  forEachIndex(sizes, strides, [&](int64_t, ArrayRef<int64_t> offsets) {
    double product = 1.0;
    for (auto [input, offset] : llvm::zip(e.inputs, offsets.drop_front()))
      product *= input->data[offset];
    e.out().data[offsets[0]] += product;
  });
  return success();
}

} // namespace

void evaluation::addMatrixEvaluations(EvaluationTable &table) {
  table.add<EinsumOp>(evaluateEinsum);
  table.add<GemmOp>(evaluateGemm);
  table.add<MatMulIntegerOp>(evaluateMatMulInteger);
  table.add<QLinearMatMulOp>(evaluateQLinearMatMul);
  table.add<MatMulOp>([](MatMulOp, Evaluation &e) {
    matMul(e.in(0), e.in(1), e.out());
    return success();
  });
}
