//===- FoldNormAffine.cpp - Scale and bias of norms -----------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "RaiseRecurrence.h"
#include "rwkvc/Dialect/ONNX/IR/ONNX.h"
#include "rwkvc/Dialect/WKV/IR/WKV.h"
#include "rwkvc/Dialect/WKV/Transforms/Passes.h"

namespace rwkvc::wkv {
#define GEN_PASS_DEF_FOLDNORMAFFINE
#include "rwkvc/Dialect/WKV/Transforms/Passes.h.inc"
} // namespace rwkvc::wkv

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::wkv;

/// The last of the values that \p value alone becomes by reshapes and constants
/// multiplied or added, or null where there is no such step.
static Value followAffine(Value value) {
  std::optional<ArrayRef<int64_t>> shape = getFloatShape(value);
  if (!shape)
    return {};
  int64_t count = ShapedType::getNumElements(*shape);
  Type element = getElementTypeOrSelf(value.getType());
  Value last;
  while (value.hasOneUse()) {
    Operation *user = *value.user_begin();
    bool view = onnx::isShapeView(user);
    bool affine = isa<onnx::MulOp, onnx::AddOp, onnx::SubOp, onnx::DivOp>(user);
    if (affine) {
      unsigned own = value == user->getOperand(0) ? 0 : 1;
      affine = user->getOperand(1 - own).getDefiningOp<onnx::ConstantOp>() &&
               (own == 0 || !isa<onnx::DivOp>(user));
    }
    if (!view && !affine)
      break;
    Value result = user->getResult(0);
    std::optional<ArrayRef<int64_t>> next = getFloatShape(result);
    if (!next || ShapedType::getNumElements(*next) != count ||
        getElementTypeOrSelf(result.getType()) != element)
      break;
    value = result;
    if (affine)
      last = value;
  }
  return last;
}

/// The parameters of the last axes of \p shape that \p data repeats over the
/// others, as few axes as possible.
static ArrayRef<int64_t> findParameterShape(const Array &data,
                                            ArrayRef<int64_t> shape) {
  for (size_t rank = 1; rank < shape.size(); ++rank) {
    auto period =
        static_cast<size_t>(ShapedType::getNumElements(shape.take_back(rank)));
    bool repeats = true;
    for (size_t i = period; i < data.size() && repeats; ++i)
      repeats = data[i] == data[i - period];
    if (repeats)
      return shape.take_back(rank);
  }
  return shape;
}

namespace {

struct FoldNormAffinePass : wkv::impl::FoldNormAffineBase<FoldNormAffinePass> {
  void runOnOperation() override {
    SmallVector<LayerNormOp> norms;
    getOperation().walk([&](LayerNormOp op) { norms.push_back(op); });
    for (LayerNormOp norm : norms)
      fold(norm);
  }

  void fold(LayerNormOp norm) {
    Value end = followAffine(norm.getY());
    if (!end)
      return;
    SmallVector<int64_t> shape(*getFloatShape(norm.getX()));
    int64_t count = ShapedType::getNumElements(shape);
    auto evaluate = [&](const Array &data) -> std::optional<Array> {
      RandomLeaves leaves;
      leaves.set(norm.getY(), data);
      auto result = onnx::evaluateRegion({end}, leaves.get());
      if (failed(result))
        return std::nullopt;
      return std::move((*result)[0].data);
    };
    RandomLeaves random;
    Array numbers(count);
    for (double &x : numbers)
      x = random.next();
    auto bias = evaluate(Array(count, 0.0)),
         scale = evaluate(Array(count, 1.0));
    auto other = evaluate(numbers);
    if (!bias || !scale || !other)
      return;
    Array expected(count);
    for (int64_t i = 0; i < count; ++i) {
      (*scale)[i] -= (*bias)[i];
      expected[i] = (*scale)[i] * numbers[i] + (*bias)[i];
    }
    if (!agree(*other, expected)) {
      ++numRejected;
      return;
    }
    // What the norm has already comes first.
    auto merge = [&](Value parameter,
                     llvm::function_ref<void(double, int64_t)> combine) {
      if (!parameter)
        return true;
      std::optional<Array> own = readConstant(parameter);
      if (!own)
        return false;
      for (int64_t i = 0; i < count; ++i)
        combine((*own)[i % static_cast<int64_t>(own->size())], i);
      return true;
    };
    if (!merge(
            norm.getBias(),
            [&](double own, int64_t i) { (*bias)[i] += own * (*scale)[i]; }) ||
        !merge(norm.getScale(),
               [&](double own, int64_t i) { (*scale)[i] *= own; }))
      return;
    OpBuilder builder(end.getContext());
    builder.setInsertionPointAfter(end.getDefiningOp());
    ImplicitLocOpBuilder b(end.getLoc(), builder);
    // A norm of heads is on [.., 1, H, N], as the recurrences' outputs are.
    SmallVector<int64_t> large;
    for (int64_t size : ArrayRef<int64_t>(shape).drop_back())
      if (size != 1)
        large.push_back(size);
    bool ofHeads = findParameterShape(*scale, shape).size() > 1 ||
                   findParameterShape(*bias, shape).size() > 1;
    if (ofHeads && large.size() == 1)
      shape = {1, 1, large[0], shape.back()};
    Type element = getElementTypeOrSelf(norm.getX().getType());
    auto parameter = [&](const Array &data, double neutral) -> Value {
      if (llvm::all_of(data, [&](double x) { return x == neutral; }))
        return {};
      ArrayRef<int64_t> own = findParameterShape(data, shape);
      Array part(data.begin(), data.begin() + ShapedType::getNumElements(own));
      return floatConstant(b, RankedTensorType::get(own, element), part);
    };
    Value folded = LayerNormOp::create(
        b, reshapeTo(b, norm.getX(), shape), parameter(*scale, 1.0),
        parameter(*bias, 0.0), norm.getEpsilon().convertToDouble(),
        norm.getRootEpsilon().convertToDouble());
    end.replaceAllUsesWith(reshapeTo(b, folded, *getFloatShape(end)));
    ++numFolded;
  }
};

} // namespace
