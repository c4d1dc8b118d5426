//===- ThreadLoops.cpp - Parallel loops over threads ----------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ThreadLoops.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/Transforms/Transforms.h"
#include "mlir/Dialect/Utils/IndexingUtils.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "rwkvc/Support/Loops.h"

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::gpu;

bool rwkvc::gpu::isThreadLoop(scf::ForallOp loop) {
  std::optional<ArrayAttr> mapping = loop.getMapping();
  return mapping && !mapping->empty() &&
         llvm::all_of(*mapping, llvm::IsaPred<mlir::gpu::GPUThreadMappingAttr>);
}

/// Lets one thread compute what is in \p loop .
static void serialize(scf::ForallOp loop, Threads &threads) {
  SmallVector<Operation *> ops;
  loop.walk([&](Operation *op) {
    if (op != loop &&
        isa<linalg::GenericOp, scf::ForallOp, memref::AllocOp>(op))
      ops.push_back(op);
  });
  for (Operation *op : ops) {
    ImplicitLocOpBuilder b(op->getLoc(), op);
    if (auto generic = dyn_cast<linalg::GenericOp>(op)) {
      Threads one{
          threads.func, 1, arith::ConstantIndexOp::create(b, 0), {}, {}};
      emitShares(generic, chooseShares(generic, 1, 1, /*units=*/nullptr), one,
                 nullptr);
    } else if (auto inner = dyn_cast<scf::ForallOp>(op)) {
      IRRewriter rewriter(b.getContext());
      rewriter.setInsertionPoint(inner);
      (void)scf::forallToForLoop(rewriter, inner);
    } else {
      // Memory of a function's own is given once.
      b.setInsertionPointToStart(&threads.func.getBody().front());
      auto own =
          memref::AllocaOp::create(b, cast<memref::AllocOp>(op).getType());
      op->replaceAllUsesWith(own);
      op->erase();
    }
  }
}

void rwkvc::gpu::emitThreadLoop(scf::ForallOp loop, Threads &threads,
                                Value group) {
  serialize(loop, threads);
  int64_t numIterations = computeProduct(*countIterations(loop));
  IRRewriter rewriter(loop.getContext());
  ImplicitLocOpBuilder b(loop.getLoc(), loop);
  auto constant = [&](int64_t value) -> Value {
    return arith::ConstantIndexOp::create(b, value);
  };
  Value first = threads.index;
  if (group)
    first = arith::AddIOp::create(
        b, first, arith::MulIOp::create(b, group, constant(threads.count)));
  if (!group && numIterations > threads.count) {
    auto turns = scf::ForOp::create(b, first, constant(numIterations),
                                    constant(threads.count));
    loop->moveBefore(turns.getBody()->getTerminator());
    first = turns.getInductionVar();
  } else if (numIterations % threads.count != 0) {
    Value isThere = arith::CmpIOp::create(b, arith::CmpIPredicate::ult, first,
                                          constant(numIterations));
    auto branch = scf::IfOp::create(b, isThere, /*withElseRegion=*/false);
    loop->moveBefore(branch.thenYield());
  }
  rewriter.setInsertionPoint(loop);
  inlineIteration(rewriter, loop, first);
}
