//===- Cast.cpp - Lowering of onnx casts ----------------------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Support.h"

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::lowering;

namespace {

Value lowerCast(Lowering &b, Value from, Value input, Value result) {
  return castElements(b, input, b.resultType().getElementType(),
                      isUnsigned(from), isUnsigned(result));
}

} // namespace

void lowering::addCastLowerings(LoweringSet &set) {
  set.add<onnx::CastOp>(
      [](Lowering &b, onnx::CastOp op, onnx::CastOp::Adaptor in) {
        return lowerCast(b, op.getInput(), in.getInput(), op.getOutput());
      });
  set.add<onnx::CastLikeOp>(
      [](Lowering &b, onnx::CastLikeOp op, onnx::CastLikeOp::Adaptor in) {
        return lowerCast(b, op.getInput(), in.getInput(), op.getOutput());
      });
}
