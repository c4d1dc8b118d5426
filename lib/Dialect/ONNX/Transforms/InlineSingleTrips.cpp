//===- InlineSingleTrips.cpp - Scans over one element ---------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ScanSupport.h"
#include "mlir/IR/IRMapping.h"
#include "rwkvc/Dialect/ONNX/IR/ONNX.h"
#include "rwkvc/Dialect/ONNX/Transforms/Passes.h"

namespace rwkvc::onnx {
#define GEN_PASS_DEF_INLINESINGLETRIPS
#include "rwkvc/Dialect/ONNX/Transforms/Passes.h.inc"
} // namespace rwkvc::onnx

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::onnx;

/// Whether \p scan runs once and all types that inlining needs are static.
static bool isSingleTrip(onnx::ScanOp scan) {
  auto numInputs = static_cast<unsigned>(scan.getNumScanInputs());
  Block &body = scan.getBody().front();
  if (numInputs == 0 || numInputs > scan->getNumOperands() ||
      body.getNumArguments() != scan->getNumOperands() ||
      body.getTerminator()->getNumOperands() != scan->getNumResults())
    return false;
  unsigned numStates = scan->getNumOperands() - numInputs;
  for (unsigned i = 0; i < numInputs; ++i) {
    RankedTensorType type = getStaticType(scan->getOperand(numStates + i));
    RankedTensorType own = getStaticType(body.getArgument(numStates + i));
    if (!type || !own || own.getNumElements() != type.getNumElements())
      return false;
    auto axis = getInputAxis(scan, i, type.getRank());
    if (!axis || type.getDimSize(*axis) != 1)
      return false;
  }
  for (auto [i, result] : llvm::enumerate(scan->getResults())) {
    Value yielded = body.getTerminator()->getOperand(i);
    RankedTensorType type = getStaticType(result), own = getStaticType(yielded);
    if (!type || !own || type.getNumElements() != own.getNumElements() ||
        type.getElementType() != own.getElementType())
      return false;
  }
  for (unsigned i = 0; i < numStates; ++i)
    if (body.getArgument(i).getType() != scan->getOperand(i).getType())
      return false;
  return true;
}

namespace {

struct InlineSingleTripsPass
    : onnx::impl::InlineSingleTripsBase<InlineSingleTripsPass> {
  void runOnOperation() override {
    SmallVector<onnx::ScanOp> scans;
    getOperation().walk([&](onnx::ScanOp op) { scans.push_back(op); });
    for (onnx::ScanOp scan : scans)
      if (isSingleTrip(scan))
        inlineBody(scan);
  }

  void inlineBody(onnx::ScanOp scan) {
    OpBuilder builder(scan);
    ImplicitLocOpBuilder b(scan.getLoc(), builder);
    Block &body = scan.getBody().front();
    IRMapping map;
    // A scan input without its axis of length one has the same elements.
    for (auto [argument, operand] :
         llvm::zip(body.getArguments(), scan->getOperands()))
      map.map(argument,
              argument.getType() == operand.getType()
                  ? operand
                  : createReshape(
                        b, operand,
                        cast<RankedTensorType>(argument.getType()).getShape()));
    for (Operation &op : body.without_terminator())
      b.clone(op, map);
    for (auto [result, yielded] :
         llvm::zip(scan->getResults(), body.getTerminator()->getOperands()))
      result.replaceAllUsesWith(
          createReshape(b, map.lookupOrDefault(yielded),
                        cast<RankedTensorType>(result.getType()).getShape()));
    scan.erase();
    ++numInlined;
  }
};

} // namespace
