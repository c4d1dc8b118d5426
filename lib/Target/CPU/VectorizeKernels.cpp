//===- VectorizeKernels.cpp - Kernels as loops over vectors ---------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "KernelSchedule.h"
#include "mlir/Dialect/Linalg/Transforms/Transforms.h"
#include "mlir/Dialect/SCF/Transforms/Transforms.h"
#include "mlir/Dialect/Utils/IndexingUtils.h"
#include "rwkvc/AOT/Interface.h"
#include "rwkvc/Support/Loops.h"
#include "rwkvc/Target/CPU/Passes.h"
#include "rwkvc/Transforms/Passes.h"

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
    auto ownBits = module->getAttrOfType<IntegerAttr>(kVectorBitsAttr);
    registerBits = ownBits ? ownBits.getInt() : vectorBits;
    auto ownProducts = module->getAttrOfType<StringAttr>(kDotProductsAttr);
    StringRef products = ownProducts ? ownProducts.getValue() : dotProducts;
    std::optional<DotProducts> known = symbolizeDotProducts(products);
    if (!known) {
      module.emitError()
          << "dot-products=" << products
          << ": expected generic, avx2, avx512bw, vnni, bf16 or amx";
      return signalPassFailure();
    }
    instructions = *known;
    auto ownBytes = module->getAttrOfType<IntegerAttr>(kStreamedBytesAttr);
    int64_t leastStreamed = ownBytes ? ownBytes.getInt() : streamedBytes;
    auto outermost = module->getParentOfType<ModuleOp>();
    auto size = (outermost ? outermost : module)
                    ->getAttrOfType<IntegerAttr>(aot::kWeightsSizeAttr);
    isStreaming = leastStreamed > 0 && size && size.getInt() >= leastStreamed;
    for (auto func : module.getOps<func::FuncOp>()) {
      SmallVector<linalg::LinalgOp> ops;
      if (failed(lowerParallelLoops(rewriter, func)))
        return signalPassFailure();
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

  /// Takes off \p op what says how much of a loop is needed: the loop and the
  /// number.
  static std::optional<std::pair<unsigned, Value>>
  takeLimit(linalg::GenericOp op) {
    auto numbers = op->getAttrOfType<DenseI64ArrayAttr>(kNeededAttr);
    if (!numbers)
      return std::nullopt;
    auto loop = static_cast<unsigned>(numbers[0]);
    auto input = static_cast<unsigned>(numbers[1]);
    Value needed = op.getInputs()[input];
    SmallVector<AffineMap> maps = op.getIndexingMapsArray();
    maps.erase(maps.begin() + input);
    op.getInputsMutable().erase(input);
    op.setIndexingMapsAttr(
        Builder(op.getContext()).getAffineMapArrayAttr(maps));
    op.getBody()->eraseArgument(input);
    op->removeAttr(kNeededAttr);
    return std::pair(loop, needed);
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
    auto limit = takeLimit(generic);
    std::optional<Schedule> plan =
        schedule(generic, registerBits, instructions);
    if (!plan) {
      rewriter.setInsertionPoint(generic);
      if (failed(linalg::linalgOpToLoops(rewriter, generic)))
        return generic.emitOpError("cannot become loops");
      rewriter.eraseOp(generic);
      ++numScalar;
      return success();
    }
    plan->isStreaming = isStreaming;
    if (limit)
      limitLoop(*plan, limit->first, limit->second);
    ++numVectorized;
    Value begin, end;
    if (isKernel && minParallelWork > 0 && plan->work >= minParallelWork &&
        plan->units() > 1) {
      Type index = rewriter.getIndexType();
      (void)func.insertArgument(0, index, {}, generic.getLoc());
      (void)func.insertArgument(1, index, {}, generic.getLoc());
      begin = func.getArgument(0);
      end = func.getArgument(1);
      func->setAttr(kParallelUnitsAttr,
                    rewriter.getI64IntegerAttr(plan->units()));
      ++numParallel;
    }
    emitVectorLoops(rewriter, generic, *plan, instructions, begin, end);
    return success();
  }

  /// Makes scf.forall ops sequential loops. That of a kernel which does enough
  /// work runs over a range of its iterations.
  LogicalResult lowerParallelLoops(IRRewriter &rewriter, func::FuncOp func) {
    SmallVector<scf::ForallOp> loops;
    func.walk([&](scf::ForallOp loop) { loops.push_back(loop); });
    for (scf::ForallOp loop : loops) {
      bool isKernel =
          func.isPrivate() && loop->getParentOp() == func &&
          llvm::hasNItems(func.getBody().front().getOps<scf::ForallOp>(), 1);
      if (loop->getNumResults() != 0)
        return loop.emitOpError("must be on buffers before it becomes a loop");
      std::optional<SmallVector<int64_t>> counts = countIterations(loop);
      if (isKernel && counts && minParallelWork > 0 &&
          computeProduct(*counts) > 1 &&
          estimateWork(loop) >= minParallelWork) {
        runRange(rewriter, func, loop, *counts);
        ++numParallel;
        continue;
      }
      rewriter.setInsertionPoint(loop);
      if (failed(scf::forallToForLoop(rewriter, loop)))
        return loop.emitOpError("cannot become a loop");
    }
    return success();
  }

  /// Replaces \p loop, the kernel's, by one over the iterations that its two
  /// new leading arguments say.
  static void runRange(IRRewriter &rewriter, func::FuncOp func,
                       scf::ForallOp loop, ArrayRef<int64_t> counts) {
    Location loc = loop.getLoc();
    Type index = rewriter.getIndexType();
    (void)func.insertArgument(0, index, {}, loc);
    (void)func.insertArgument(1, index, {}, loc);
    func->setAttr(kParallelUnitsAttr,
                  rewriter.getI64IntegerAttr(computeProduct(counts)));
    rewriter.setInsertionPoint(loop);
    auto constant = [&](int64_t value) -> Value {
      return arith::ConstantIndexOp::create(rewriter, loc, value);
    };
    auto range = scf::ForOp::create(rewriter, loc, func.getArgument(0),
                                    func.getArgument(1), constant(1));
    rewriter.setInsertionPointToStart(range.getBody());
    inlineIteration(rewriter, loop, range.getInductionVar());
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

  int64_t registerBits = 0;
  DotProducts instructions = DotProducts::Generic;
  bool isStreaming = false;
};

} // namespace
