//===- GatherQuantized.cpp - Rows of quantised tables ---------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "rwkvc/Dialect/ONNX/IR/ONNX.h"
#include "rwkvc/Dialect/ONNX/Transforms/Passes.h"

namespace rwkvc::onnx {
#define GEN_PASS_DEF_GATHERQUANTIZED
#include "rwkvc/Dialect/ONNX/Transforms/Passes.h.inc"
} // namespace rwkvc::onnx

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::onnx;

/// \p constant of N elements as N x 1.
static Value makeColumn(ImplicitLocOpBuilder &b, Value constant, int64_t rows) {
  auto type = cast<RankedTensorType>(constant.getType());
  Value shape = ConstantOp::create(
      b, RankedTensorType::get(2, b.getI64Type()),
      DenseElementsAttr::get(RankedTensorType::get(2, b.getI64Type()),
                             ArrayRef<int64_t>{rows, 1}));
  return ReshapeOp::create(b, type.clone({rows, 1}), constant, shape,
                           /*allowzero=*/0);
}

/// Gathers rows of what \p op gathers from, dequantised, before that is done.
static bool sink(GatherOp op) {
  auto wide = op.getData().getDefiningOp<DequantizeLinearOp>();
  auto type = dyn_cast<RankedTensorType>(op.getOutput().getType());
  auto indices = dyn_cast<RankedTensorType>(op.getIndices().getType());
  if (!wide || !type || !indices || !wide.getX().getDefiningOp<ConstantOp>())
    return false;
  auto table = dyn_cast<RankedTensorType>(wide.getX().getType());
  auto scale = dyn_cast<RankedTensorType>(wide.getXScale().getType());
  if (!table || table.getRank() != 2 || !scale || !scale.hasStaticShape() ||
      op.getAxis() != 0)
    return false;
  ImplicitLocOpBuilder b(op.getLoc(), op);
  Value scales = wide.getXScale(), zeros = wide.getXZeroPoint();
  int64_t block = wide.getBlockSize(), axis = indices.getRank();
  int64_t scaleAxis = wide.getAxis() < 0 ? wide.getAxis() + 2 : wide.getAxis();
  bool isOne = block == 0 && scale.getNumElements() == 1;
  if (!isOne && block == 0 && scaleAxis == 0) {
    // A scale for each row is one block.
    scales = makeColumn(b, scales, table.getDimSize(0));
    if (!isNone(zeros))
      zeros = makeColumn(b, zeros, table.getDimSize(0));
    block = table.getDimSize(1);
  } else if (block != 0 && scaleAxis == 0) {
    return false; // blocks of rows
  }
  auto gather = [&](Value from) -> Value {
    auto source = cast<RankedTensorType>(from.getType());
    SmallVector<int64_t> shape(indices.getShape());
    shape.push_back(source.getDimSize(1));
    return GatherOp::create(b, source.clone(shape), from, op.getIndices(),
                            /*axis=*/0);
  };
  if (block != 0) {
    scales = gather(scales);
    if (!isNone(zeros))
      zeros = gather(zeros);
  }
  op.getOutput().replaceAllUsesWith(
      DequantizeLinearOp::create(b, type, gather(wide.getX()), scales, zeros,
                                 axis, block, wide.getOutputDtype()));
  op.erase();
  return true;
}

namespace {

struct GatherQuantizedPass
    : onnx::impl::GatherQuantizedBase<GatherQuantizedPass> {
  void runOnOperation() override {
    SmallVector<GatherOp> gathers;
    getOperation().walk([&](GatherOp op) { gathers.push_back(op); });
    for (GatherOp op : gathers)
      numGathers += sink(op);
  }
};

} // namespace
