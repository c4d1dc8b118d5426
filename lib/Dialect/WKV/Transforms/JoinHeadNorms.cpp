//===- JoinHeadNorms.cpp - Group norm written out for each head -----------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ElementOrigins.h"
#include "RaiseRecurrence.h"
#include "rwkvc/Dialect/ONNX/IR/ONNX.h"
#include "rwkvc/Dialect/WKV/IR/WKV.h"
#include "rwkvc/Dialect/WKV/Transforms/Passes.h"

namespace rwkvc::wkv {
#define GEN_PASS_DEF_JOINHEADNORMS
#include "rwkvc/Dialect/WKV/Transforms/Passes.h.inc"
} // namespace rwkvc::wkv

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::wkv;

namespace {

struct JoinHeadNormsPass : wkv::impl::JoinHeadNormsBase<JoinHeadNormsPass> {
  void runOnOperation() override {
    SmallVector<onnx::ConcatOp> concats;
    getOperation().walk([&](onnx::ConcatOp op) { concats.push_back(op); });
    for (onnx::ConcatOp op : concats)
      join(op);
  }

  /// The one norm that all elements of \p part are from.
  static LayerNormOp findNorm(Value part) {
    return onnx::skipShapeViews(part).getDefiningOp<LayerNormOp>();
  }

  void join(onnx::ConcatOp concat) {
    SmallVector<LayerNormOp> norms;
    for (Value part : concat->getOperands()) {
      LayerNormOp norm = findNorm(part);
      if (!norm)
        return;
      norms.push_back(norm);
    }
    LayerNormOp first = norms.front();
    auto heads = static_cast<int64_t>(norms.size());
    std::optional<ArrayRef<int64_t>> shape = getFloatShape(first.getX());
    std::optional<ArrayRef<int64_t>> result =
        getFloatShape(concat->getResult(0));
    if (heads < 2 || !shape || !result)
      return;
    int64_t width = shape->back(), total = ShapedType::getNumElements(*shape);
    // One row for each head and sequence: several rows of one head would be
    // interleaved otherwise than [.., H, N].
    if (total != width)
      return;
    SmallVector<Value> inputs;
    Array scale, bias;
    auto append = [&](Value parameter, double neutral, Array &all) {
      if (!parameter) {
        all.insert(all.end(), width, neutral);
        return true;
      }
      std::optional<Array> own = readConstant(parameter);
      if (!own || static_cast<int64_t>(own->size()) != width)
        return false;
      llvm::append_range(all, *own);
      return true;
    };
    Value source;
    int64_t next = 0;
    for (LayerNormOp norm : norms) {
      auto origins = traceElements(norm.getX());
      int64_t start = 0;
      Value own = origins ? getContiguousSource(*origins, start) : Value();
      if (!own || norm.getX().getType() != first.getX().getType() ||
          norm.getEpsilon() != first.getEpsilon() ||
          norm.getRootEpsilon() != first.getRootEpsilon() ||
          (source && own != source) || start != next ||
          !append(norm.getScale(), 1.0, scale) ||
          !append(norm.getBias(), 0.0, bias))
        return;
      source = own;
      next = start + width;
    }
    if (ShapedType::getNumElements(*getFloatShape(source)) != next ||
        ShapedType::getNumElements(*result) != next)
      return;
    OpBuilder builder(concat);
    ImplicitLocOpBuilder b(concat.getLoc(), builder);
    Type element = getElementTypeOrSelf(first.getX().getType());
    auto parameter = [&](const Array &data, double neutral) -> Value {
      if (llvm::all_of(data, [&](double x) { return x == neutral; }))
        return {};
      return floatConstant(b, RankedTensorType::get({heads, width}, element),
                           data);
    };
    Value x = reshapeTo(b, castTo(b, source, element), {1, 1, heads, width});
    Value joined =
        LayerNormOp::create(b, x, parameter(scale, 1.0), parameter(bias, 0.0),
                            first.getEpsilon().convertToDouble(),
                            first.getRootEpsilon().convertToDouble());
    concat->getResult(0).replaceAllUsesWith(reshapeTo(b, joined, *result));
    ++numJoined;
  }
};

} // namespace
