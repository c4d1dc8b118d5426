//===- SequenceOpShapes.cpp - Shapes of operators over a sequence ---------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The shape rules of convolutions, linear attention and the custom ops of the
// registry; see ShapeRules.cpp.
//
//===----------------------------------------------------------------------===//

#include "EvaluatorSupport.h"
#include "rwkvc/Dialect/WKV/IR/CustomOps.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace rwkvc::onnx;
using namespace rwkvc::onnx::evaluation;

using Shapes = std::optional<SmallVector<Shape>>;

static Shapes infer(ConvOp op, ArrayRef<OperandFacts> operands) {
  if (!operands[0].shape || !operands[1].shape)
    return std::nullopt;
  const Shape &x = *operands[0].shape, &w = *operands[1].shape;
  auto axes = getConvAxes(op, x, w);
  if (!axes)
    return std::nullopt;
  Shape result{x[0], w[0]};
  for (const ConvAxis &axis : *axes)
    result.push_back(axis.size);
  return SmallVector<Shape>{result};
}

static Shapes infer(CausalConvWithStateOp, ArrayRef<OperandFacts> operands) {
  if (!operands[0].shape || !operands[1].shape ||
      operands[0].shape->size() != 3 || operands[1].shape->size() != 3 ||
      operands[1].shape->back() < 1)
    return std::nullopt;
  Shape state = *operands[0].shape;
  state[2] = operands[1].shape->back() - 1;
  return SmallVector<Shape>{*operands[0].shape, state};
}

static Shapes infer(LinearAttentionOp op, ArrayRef<OperandFacts> operands) {
  for (unsigned i = 0; i < 3; ++i)
    if (!operands[i].shape || operands[i].shape->size() != 3)
      return std::nullopt;
  auto heads = static_cast<int64_t>(op.getQNumHeads());
  auto kvHeads = static_cast<int64_t>(op.getKvNumHeads());
  const Shape &q = *operands[0].shape, &v = *operands[2].shape;
  if (heads < 1 || kvHeads < 1)
    return std::nullopt;
  int64_t keys = q[2] / heads, values = v[2] / kvHeads;
  return SmallVector<Shape>{{q[0], q[1], heads * values},
                            {q[0], kvHeads, keys, values}};
}

static Shapes infer(CustomOp op, ArrayRef<OperandFacts> operands) {
  auto signature =
      rwkvc::wkv::findCustomOp(op.getDomain(), op.getOpType(),
                               op->getNumOperands(), op->getNumResults());
  if (!signature)
    return std::nullopt;
  SmallVector<rwkvc::wkv::Shape> shapes;
  for (const OperandFacts &fact : operands) {
    if (!fact.shape)
      return std::nullopt;
    shapes.push_back(*fact.shape);
  }
  auto sizes = rwkvc::wkv::solveSizes(*signature, shapes);
  if (!sizes) {
    // -wkv-raise-custom-ops reports it.
    llvm::consumeError(sizes.takeError());
    return std::nullopt;
  }
  SmallVector<Shape> results;
  for (unsigned i = 0; i < op->getNumResults(); ++i)
    results.push_back(
        rwkvc::wkv::getResultShape(*signature, i, *sizes, shapes));
  return results;
}

Shapes
rwkvc::onnx::evaluation::inferSequenceOp(Operation *op,
                                         ArrayRef<OperandFacts> operands) {
  return llvm::TypeSwitch<Operation *, Shapes>(op)
      .Case<ConvOp, CausalConvWithStateOp, LinearAttentionOp, CustomOp>(
          [&](auto op) { return infer(op, operands); })
      .Default([](Operation *) -> Shapes { return std::nullopt; });
}
