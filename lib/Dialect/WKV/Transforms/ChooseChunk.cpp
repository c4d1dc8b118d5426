//===- ChooseChunk.cpp - The form of each recurrence ----------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "rwkvc/Dialect/WKV/IR/WKV.h"
#include "rwkvc/Dialect/WKV/Transforms/Passes.h"

namespace rwkvc::wkv {
#define GEN_PASS_DEF_CHOOSECHUNK
#include "rwkvc/Dialect/WKV/Transforms/Passes.h.inc"
} // namespace rwkvc::wkv

using namespace mlir;
using namespace rwkvc;

/// Lengths worth a try: with more tokens the products within a chunk outgrow
/// those with the state, which they save.
static constexpr int64_t kLengths[] = {16, 32, 64, 128};

namespace {

struct ChooseChunkPass : wkv::impl::ChooseChunkBase<ChooseChunkPass> {
  using ChooseChunkBase::ChooseChunkBase;

  void runOnOperation() override {
    if (form != "auto" && form != "recurrent" && form != "chunked") {
      getOperation().emitError() << "unknown form '" << form
                                 << "': expected auto, recurrent or chunked";
      return signalPassFailure();
    }
    WalkResult walk = getOperation().walk([&](wkv::RecurrenceOpInterface op) {
      return failed(choose(op)) ? WalkResult::interrupt()
                                : WalkResult::advance();
    });
    if (walk.wasInterrupted())
      signalPassFailure();
  }

  LogicalResult choose(wkv::RecurrenceOpInterface op) {
    int64_t unit = op.getChunkGranularity();
    if (chunkLength < 0 || chunkLength % unit != 0)
      return op->emitOpError()
             << "cannot be computed in chunks of " << chunkLength.getValue()
             << " tokens: expected a multiple "
             << "of " << unit;
    int64_t best = 0;
    double lowest = cost(op, 0);
    bool fits = false;
    SmallVector<int64_t> lengths(std::begin(kLengths), std::end(kLengths));
    if (chunkLength > 0)
      lengths = {chunkLength};
    for (int64_t length : lengths) {
      if (form == "recurrent" || length > op.getNumTokens())
        continue;
      fits = true;
      double perToken = cost(op, length);
      if (perToken < lowest || (form == "chunked" && best == 0)) {
        best = length;
        lowest = perToken;
      }
    }
    op.setChunkLength(best);
    ++(best ? numChunked : numRecurrent);
    if (form != "recurrent" && !fits)
      ++numShort;
    return success();
  }

  double cost(wkv::RecurrenceOpInterface op, int64_t length) {
    wkv::WorkPerToken work = op.estimateWork(length);
    return work.passes + work.products / productRate;
  }
};

} // namespace
