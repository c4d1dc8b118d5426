//===- VectorizeKernels.cpp - Kernels as loops over vectors ---------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "KernelSchedule.h"
#include "mlir/Dialect/Linalg/Transforms/Transforms.h"
#include "rwkvc/Target/CPU/Passes.h"

namespace rwkvc::cpu {
#define GEN_PASS_DEF_VECTORIZEKERNELS
#include "rwkvc/Target/CPU/Passes.h.inc"
} // namespace rwkvc::cpu

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::cpu;

namespace {

struct VectorizeKernelsPass
    : cpu::impl::VectorizeKernelsBase<VectorizeKernelsPass> {
  using VectorizeKernelsBase::VectorizeKernelsBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    IRRewriter rewriter(&getContext());
    for (auto func : module.getOps<func::FuncOp>()) {
      SmallVector<linalg::LinalgOp> ops;
      func.walk([&](linalg::LinalgOp op) { ops.push_back(op); });
      // Only a kernel's caller can hand out its iterations.
      bool isKernel = func.isPrivate() && ops.size() == 1 &&
                      ops[0]->getBlock() == &func.getBody().front();
      for (linalg::LinalgOp op : ops)
        if (failed(lower(rewriter, func, op, isKernel)))
          return signalPassFailure();
    }
    passUnits(module);
  }

  LogicalResult lower(IRRewriter &rewriter, func::FuncOp func,
                      linalg::LinalgOp op, bool isKernel) {
    if (!op.hasPureBufferSemantics())
      return op.emitOpError("must be on buffers before it becomes loops");
    rewriter.setInsertionPoint(op);
    auto generic = dyn_cast<linalg::GenericOp>(op.getOperation());
    if (!generic) {
      FailureOr<linalg::GenericOp> generalized =
          linalg::generalizeNamedOp(rewriter, op);
      if (failed(generalized))
        return op.emitOpError("has no form as linalg.generic");
      generic = *generalized;
    }
    std::optional<Schedule> plan = schedule(generic, vectorBits);
    if (!plan) {
      rewriter.setInsertionPoint(generic);
      if (failed(linalg::linalgOpToLoops(rewriter, generic)))
        return generic.emitOpError("cannot become loops");
      rewriter.eraseOp(generic);
      ++numScalar;
      return success();
    }
    ++numVectorized;
    Value begin, end;
    if (isKernel && minParallelWork > 0 && plan->work >= minParallelWork &&
        plan->units() > 1) {
      Type index = rewriter.getIndexType();
      (void)func.insertArgument(0, index, {}, op.getLoc());
      (void)func.insertArgument(1, index, {}, op.getLoc());
      begin = func.getArgument(0);
      end = func.getArgument(1);
      func->setAttr(kParallelUnitsAttr,
                    rewriter.getI64IntegerAttr(plan->units()));
      ++numParallel;
    }
    emitVectorLoops(rewriter, generic, *plan, begin, end);
    return success();
  }

  /// Calls of parallel kernels run all of their units.
  void passUnits(ModuleOp module) {
    SymbolTable symbols(module);
    module.walk([&](func::CallOp call) {
      auto callee = symbols.lookup<func::FuncOp>(call.getCallee());
      auto units = callee
                       ? callee->getAttrOfType<IntegerAttr>(kParallelUnitsAttr)
                       : nullptr;
      if (!units || call.getNumOperands() == callee.getNumArguments())
        return;
      OpBuilder b(call);
      Value range[] = {
          arith::ConstantIndexOp::create(b, call.getLoc(), 0),
          arith::ConstantIndexOp::create(b, call.getLoc(), units.getInt())};
      call->insertOperands(0, range);
    });
  }
};

} // namespace
