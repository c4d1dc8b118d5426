//===- CountTraffic.cpp - Bytes that the kernels move ---------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Interfaces/ViewLikeInterface.h"
#include "rwkvc/AOT/Interface.h"
#include "rwkvc/Support/Loops.h"
#include "rwkvc/Transforms/Passes.h"

namespace rwkvc {
#define GEN_PASS_DEF_COUNTTRAFFIC
#include "rwkvc/Transforms/Passes.h.inc"
} // namespace rwkvc

using namespace mlir;
using namespace rwkvc;

namespace {

struct Traffic {
  int64_t kernels = 0, weights = 0, workspace = 0, arguments = 0, local = 0;
};

struct CountTrafficPass : rwkvc::impl::CountTrafficBase<CountTrafficPass> {
  using CountTrafficBase::CountTrafficBase;

  void runOnOperation() override {
    auto entries = aot::getEntries(getOperation());
    if (failed(entries))
      return signalPassFailure();
    for (func::FuncOp entry : *entries) {
      Traffic traffic;
      entry.walk([&](Operation *op) {
        bool isInLoop = op->getParentOfType<scf::ForallOp>() != nullptr;
        if (isa<scf::ForallOp>(op) && !isInLoop)
          ++traffic.kernels;
        auto linalg = dyn_cast<linalg::LinalgOp>(op);
        auto copy = dyn_cast<memref::CopyOp>(op);
        bool isLibraryCall =
            op->getDialect() && op->getDialect()->getNamespace() == "dnnl";
        if (!linalg && !copy && !isLibraryCall)
          return;
        if (!isInLoop)
          traffic.kernels += countTrips(op);
        for (OpOperand &operand : op->getOpOperands())
          add(traffic, entry, operand.get(),
              countTrips(op) * countAccesses(op, operand));
      });
      report(entry, traffic);
    }
  }

  /// Times that the loops around \p op run it.
  int64_t countTrips(Operation *op) {
    int64_t trips = 1;
    for (Operation *parent = op->getParentOp(); parent;
         parent = parent->getParentOp()) {
      auto loop = dyn_cast<LoopLikeOpInterface>(parent);
      if (!loop)
        continue;
      auto lower = loop.getLoopLowerBounds(), upper = loop.getLoopUpperBounds(),
           steps = loop.getLoopSteps();
      if (!lower || !upper || !steps) {
        trips *= unknownTrips;
        continue;
      }
      for (auto [from, to, step] : llvm::zip_equal(*lower, *upper, *steps))
        trips *= countIterations(from, to, step).value_or(unknownTrips);
    }
    return trips;
  }

  /// An output that the body reads is moved twice; what it ignores, never.
  static int64_t countAccesses(Operation *op, OpOperand &operand) {
    if (auto linalg = dyn_cast<linalg::LinalgOp>(op)) {
      bool isRead = linalg.payloadUsesValueFromOperand(&operand);
      return linalg.isDpsInit(&operand) ? 1 + isRead : isRead;
    }
    auto effects = dyn_cast<MemoryEffectOpInterface>(op);
    if (!effects)
      return 1;
    SmallVector<MemoryEffects::EffectInstance> all;
    effects.getEffects(all);
    return llvm::count_if(all, [&](MemoryEffects::EffectInstance &effect) {
      return effect.getEffectValue<OpOperand *>() == &operand;
    });
  }

  static void add(Traffic &traffic, func::FuncOp entry, Value value,
                  int64_t accesses) {
    auto type = dyn_cast<MemRefType>(value.getType());
    if (!type || !type.hasStaticShape() ||
        !type.getElementType().isIntOrFloat())
      return;
    int64_t bytes =
        accesses * type.getNumElements() *
        llvm::divideCeil(type.getElementType().getIntOrFloatBitWidth(), 8);
    while (auto view = value.getDefiningOp<ViewLikeOpInterface>()) {
      // What an iteration keeps to itself is a view made in it.
      if (isa<memref::ViewOp>(view) && view->getParentOfType<scf::ForallOp>()) {
        traffic.local += bytes;
        return;
      }
      value = view.getViewSource();
    }
    // The two last arguments are the weights and the workspace.
    auto argument = dyn_cast<BlockArgument>(value);
    unsigned count = entry.getNumArguments();
    if (!argument || argument.getOwner() != &entry.getBody().front() ||
        argument.getArgNumber() + 1 == count)
      traffic.workspace += bytes;
    else if (argument.getArgNumber() + 2 == count)
      traffic.weights += bytes;
    else
      traffic.arguments += bytes;
  }

  void report(func::FuncOp entry, const Traffic &traffic) {
    entry.emitRemark() << "@" << entry.getName() << ": " << traffic.kernels
                       << " kernels; bytes moved: " << traffic.weights
                       << " of weights, " << traffic.workspace
                       << " of workspace, " << traffic.arguments
                       << " of arguments, " << traffic.local
                       << " within iterations of parallel loops";
    numKernels += traffic.kernels;
    numWeightBytes += traffic.weights;
    numWorkspaceBytes += traffic.workspace;
    numArgumentBytes += traffic.arguments;
    numLocalBytes += traffic.local;
    markAllAnalysesPreserved();
  }
};

} // namespace
