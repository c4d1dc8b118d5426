//===- UnshareDestinations.cpp - A destination for each op ----------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "rwkvc/Support/Reshapes.h"
#include "rwkvc/Transforms/Passes.h"

namespace rwkvc {
#define GEN_PASS_DEF_UNSHAREDESTINATIONS
#include "rwkvc/Transforms/Passes.h.inc"
} // namespace rwkvc

using namespace mlir;
using namespace rwkvc;

/// Whether \p value holds nothing that anybody computed.
static bool isBlank(Value value) {
  return isa_and_present<linalg::FillOp, tensor::EmptyOp>(
      getReshapeSource(value).getDefiningOp());
}

namespace {

struct UnshareDestinationsPass
    : rwkvc::impl::UnshareDestinationsBase<UnshareDestinationsPass> {
  void runOnOperation() override {
    SmallVector<OpOperand *> destinations;
    getOperation().walk([&](DestinationStyleOpInterface op) {
      for (OpOperand &init : op.getDpsInitsMutable())
        destinations.push_back(&init);
    });
    // An op comes after what it fills, so users are looked at last to first:
    // a cloned fill is given its own tensor.empty at once.
    for (OpOperand *destination : llvm::reverse(destinations))
      unshare(*destination);
  }

  void unshare(OpOperand &destination) {
    if (!isBlank(destination.get()))
      return;
    Operation *def = destination.get().getDefiningOp();
    if (!def->hasOneUse()) {
      OpBuilder b(destination.getOwner());
      def = b.clone(*def);
      destination.set(def->getResult(0));
      ++numCloned;
    }
    if (auto fill = dyn_cast<linalg::FillOp>(def))
      unshare(fill.getDpsInitsMutable()[0]);
    else if (isReshape(def))
      unshare(def->getOpOperand(0));
  }
};

} // namespace
