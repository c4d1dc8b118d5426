//===- VerifyPhase.cpp - What may be left at the end of a phase -----------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "rwkvc/Pipelines/Passes.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSet.h"

namespace rwkvc {
#define GEN_PASS_DEF_VERIFYPHASE
#include "rwkvc/Pipelines/Passes.h.inc"
} // namespace rwkvc

using namespace mlir;
using namespace rwkvc;

namespace {

struct VerifyPhasePass : rwkvc::impl::VerifyPhaseBase<VerifyPhasePass> {
  using VerifyPhaseBase::VerifyPhaseBase;

  void runOnOperation() override {
    llvm::StringSet<> allowed;
    for (const std::string &dialect : dialects)
      allowed.insert(dialect);
    WalkResult walk =
        getOperation().walk<WalkOrder::PreOrder>([&](Operation *op) {
          if (op == getOperation() ||
              allowed.contains(op->getName().getDialectNamespace()))
            return WalkResult::advance();
          op->emitError() << "op '" << op->getName()
                          << "' is left at the end of phase '" << phase
                          << "', which allows only the dialects "
                          << llvm::join(dialects, ", ")
                          << "; no pass lowered it";
          return WalkResult::interrupt();
        });
    if (walk.wasInterrupted())
      return signalPassFailure();
    markAllAnalysesPreserved();
  }
};

} // namespace
