//===- RaiseLora.cpp - Recognise low-rank projections ---------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Two products with constant matrices through a narrow vector. The products may
// be MatMul with the matrix on either side, or Gemm; the check evaluates both
// chains, so that sides, transpositions and reshapes need only be proposed
// here.
//
//===----------------------------------------------------------------------===//

#include "RaiseRecurrence.h"
#include "rwkvc/Dialect/ONNX/IR/ONNX.h"
#include "rwkvc/Dialect/WKV/IR/WKV.h"
#include "rwkvc/Dialect/WKV/Transforms/Passes.h"
#include <cmath>

namespace rwkvc::wkv {
#define GEN_PASS_DEF_RAISELORA
#include "rwkvc/Dialect/WKV/Transforms/Passes.h.inc"
} // namespace rwkvc::wkv

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::wkv;

namespace {

/// A product of a value with a constant matrix: result = input * matrix, on the
/// last axis.
struct Projection {
  Value input, matrix, bias;
  bool transposed = false; // the matrix is [outputs, inputs]
  int64_t inputs = 0, outputs = 0;
};

/// The constant [rows, columns] behind \p value, and whether it is transposed
/// on the way.
Value findMatrix(Value value, bool &transposed) {
  if (auto transpose = value.getDefiningOp<onnx::TransposeOp>()) {
    std::optional<ArrayRef<int64_t>> perm = transpose.getPerm();
    if (perm && *perm != ArrayRef<int64_t>{1, 0})
      return {};
    value = transpose.getData();
    transposed = !transposed;
  }
  std::optional<ArrayRef<int64_t>> shape = getFloatShape(value);
  if (!shape || shape->size() != 2 || !value.getDefiningOp<onnx::ConstantOp>())
    return {};
  return value;
}

std::optional<Projection> matchProjection(Value value) {
  Projection p;
  if (auto product = value.getDefiningOp<onnx::MatMulOp>()) {
    p.input = product.getA();
    p.matrix = findMatrix(product.getB(), p.transposed);
    std::optional<ArrayRef<int64_t>> shape = getFloatShape(product.getB());
    // A vector may also stand to the right of the matrix.
    if (!p.matrix && shape && shape->size() == 1) {
      p.input = product.getB();
      p.transposed = true;
      p.matrix = findMatrix(product.getA(), p.transposed);
    }
  } else if (auto product = value.getDefiningOp<onnx::GemmOp>()) {
    if (product.getTransA() || product.getAlpha().convertToDouble() != 1.0 ||
        product.getBeta().convertToDouble() != 1.0)
      return std::nullopt;
    p.input = product.getA();
    p.transposed = product.getTransB() != 0;
    p.matrix = findMatrix(product.getB(), p.transposed);
    if (!onnx::isNone(product.getC()))
      p.bias = product.getC();
  }
  if (!p.matrix || !getFloatShape(p.input) || !getFloatShape(value))
    return std::nullopt;
  ArrayRef<int64_t> shape = *getFloatShape(p.matrix);
  p.inputs = shape[p.transposed ? 1 : 0];
  p.outputs = shape[p.transposed ? 0 : 1];
  if (getFloatShape(p.input)->empty() ||
      getFloatShape(p.input)->back() != p.inputs ||
      getFloatShape(value)->back() != p.outputs)
    return std::nullopt;
  return p;
}

/// What is computed from \p value alone, or null.
Value getOnlyUse(Value value) {
  return value.hasOneUse() && (*value.user_begin())->getNumResults() == 1
             ? (*value.user_begin())->getResult(0)
             : Value();
}

struct Lora {
  Projection down, up;
  LoraActivation activation = LoraActivation::None;
  Value bias, end;
};

/// x down, activated, up and biased, in float64; \p x is [rows, D].
Array evaluateLora(const Lora &lora, const Array &x, const Array &down,
                   const Array &up, const Array &bias) {
  auto product = [](const Array &in, const Array &matrix, const Projection &p) {
    auto rows = static_cast<int64_t>(in.size()) / p.inputs;
    Array out(rows * p.outputs, 0.0);
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t i = 0; i < p.inputs; ++i)
        for (int64_t o = 0; o < p.outputs; ++o)
          out[r * p.outputs + o] +=
              in[r * p.inputs + i] *
              matrix[p.transposed ? o * p.inputs + i : i * p.outputs + o];
    return out;
  };
  Array hidden = product(x, down, lora.down);
  for (double &h : hidden) {
    if (lora.activation == LoraActivation::Tanh)
      h = std::tanh(h);
    else if (lora.activation == LoraActivation::Sigmoid)
      h = 1.0 / (1.0 + std::exp(-h));
  }
  Array y = product(hidden, up, lora.up);
  for (size_t i = 0; i < y.size() && !bias.empty(); ++i)
    y[i] += bias[i % bias.size()];
  return y;
}

struct RaiseLoraPass : wkv::impl::RaiseLoraBase<RaiseLoraPass> {
  void runOnOperation() override {
    SmallVector<Value> products;
    getOperation().walk([&](Operation *op) {
      if (isa<onnx::MatMulOp, onnx::GemmOp>(op))
        products.push_back(op->getResult(0));
    });
    for (Value product : products)
      raise(product);
  }

  void raise(Value product) {
    Lora lora;
    std::optional<Projection> up = matchProjection(product);
    if (!up)
      return;
    lora.up = *up;
    Value hidden = up->input;
    // Down from the narrow vector: reshapes, at most one activation.
    bool activated = false;
    std::optional<Projection> down;
    while (hidden.hasOneUse() && !(down = matchProjection(hidden))) {
      Operation *op = hidden.getDefiningOp();
      bool activation = isa_and_nonnull<onnx::TanhOp, onnx::SigmoidOp>(op);
      if ((!activation && !onnx::isShapeView(op)) || (activation && activated))
        return;
      if (activation) {
        activated = true;
        lora.activation = isa<onnx::TanhOp>(op) ? LoraActivation::Tanh
                                                : LoraActivation::Sigmoid;
      }
      hidden = op->getOperand(0);
      if (!getFloatShape(hidden) || getFloatShape(hidden)->empty() ||
          getFloatShape(hidden)->back() != up->inputs)
        return;
    }
    if (!hidden.hasOneUse() || !down || down->bias)
      return;
    lora.down = *down;
    int64_t rank = up->inputs, width = down->inputs, channels = up->outputs;
    Type element = getElementTypeOrSelf(down->input.getType());
    for (Value value : {down->matrix, up->matrix, product})
      if (getElementTypeOrSelf(value.getType()) != element)
        return;
    if (down->outputs != rank || rank >= width || rank >= channels)
      return;
    findBias(product, lora);
    if (!check(lora)) {
      ++numRejected;
      return;
    }
    Operation *end = lora.end.getDefiningOp();
    OpBuilder builder(end);
    ImplicitLocOpBuilder b(product.getLoc(), builder);
    SmallVector<int64_t> shape(*getFloatShape(down->input));
    shape.back() = channels;
    Value bias;
    if (lora.bias)
      bias = reshapeTo(b, lora.bias, {channels});
    Value y = LoraOp::create(b, RankedTensorType::get(shape, element),
                             down->input, down->matrix, up->matrix, bias,
                             lora.activation, down->transposed, up->transposed);
    lora.end.replaceAllUsesWith(reshapeTo(b, y, *getFloatShape(lora.end)));
    ++numLoras;
  }

  /// The constant that is added to the product, at once or by an Add that is
  /// its only use.
  void findBias(Value product, Lora &lora) {
    int64_t channels = lora.up.outputs;
    auto isBias = [&](Value value) {
      std::optional<ArrayRef<int64_t>> shape = getFloatShape(value);
      return shape && ShapedType::getNumElements(*shape) == channels &&
             value.getDefiningOp<onnx::ConstantOp>() &&
             getElementTypeOrSelf(value.getType()) ==
                 getElementTypeOrSelf(product.getType());
    };
    lora.end = product;
    if (lora.up.bias) {
      if (isBias(lora.up.bias))
        lora.bias = lora.up.bias;
      return;
    }
    Value next = getOnlyUse(product);
    // The check tells whether the bias meets the right elements.
    while (next && onnx::isShapeView(next.getDefiningOp()))
      next = getOnlyUse(next);
    auto sum = next ? next.getDefiningOp<onnx::AddOp>() : onnx::AddOp();
    if (!sum || !getFloatShape(next) ||
        ShapedType::getNumElements(*getFloatShape(next)) !=
            ShapedType::getNumElements(*getFloatShape(product)))
      return;
    for (Value operand : sum->getOperands())
      if (isBias(operand)) {
        lora.bias = operand;
        lora.end = next;
        return;
      }
  }

  static bool check(const Lora &lora) {
    RandomLeaves leaves;
    leaves.add(lora.down.input);
    SmallVector<Value> values{lora.end, lora.down.input, lora.down.matrix,
                              lora.up.matrix, lora.bias};
    auto result = onnx::evaluateRegion(values, leaves.get());
    if (failed(result))
      return false;
    const auto &r = *result;
    return agree(r[0].data, evaluateLora(lora, r[1].data, r[2].data, r[3].data,
                                         r[4].data));
  }
};

} // namespace
