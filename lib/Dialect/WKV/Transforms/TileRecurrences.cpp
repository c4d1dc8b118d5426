//===- TileRecurrences.cpp - Recurrences by sequence and head -------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/SCF/Transforms/TileUsingInterface.h"
#include "rwkvc/Dialect/WKV/IR/WKV.h"
#include "rwkvc/Dialect/WKV/Transforms/Passes.h"
#include "rwkvc/Support/MathExtras.h"

namespace rwkvc::wkv {
#define GEN_PASS_DEF_TILERECURRENCES
#include "rwkvc/Dialect/WKV/Transforms/Passes.h.inc"
} // namespace rwkvc::wkv

using namespace mlir;
using namespace rwkvc;

/// The largest divisor of \p size that is at most \p limit; 0, for no split,
/// where it is 1 or all.
static int64_t getTileSize(int64_t size, int64_t limit) {
  int64_t divisor = largestDivisor(size, limit);
  return divisor == 1 || divisor == size ? 0 : divisor;
}

namespace {

struct TileRecurrencesPass
    : wkv::impl::TileRecurrencesBase<TileRecurrencesPass> {
  using TileRecurrencesBase::TileRecurrencesBase;

  void runOnOperation() override {
    SmallVector<wkv::RecurrenceOpInterface> ops;
    getOperation().walk([&](wkv::RecurrenceOpInterface op) {
      if (op.getNumTokens() >= minTokens)
        ops.push_back(op);
    });
    IRRewriter rewriter(&getContext());
    for (wkv::RecurrenceOpInterface op : ops)
      if (failed(tile(rewriter, op)))
        return signalPassFailure();
  }

  LogicalResult tile(IRRewriter &rewriter, wkv::RecurrenceOpInterface op) {
    auto tiled = cast<TilingInterface>(op.getOperation());
    SmallVector<int64_t> sizes, tiles;
    for (const Range &range : tiled.getIterationDomain(rewriter)) {
      std::optional<int64_t> size = getConstantIntValue(range.size);
      if (!size || *size == 0)
        return success();
      sizes.push_back(*size);
      tiles.push_back(*size == 1 ? 0 : 1);
    }
    // The last loop is that over value elements or channels.
    bool isMatrix = sizes.size() > 2;
    tiles.back() = isMatrix && op.getChunkLength()
                       ? 0
                       : getTileSize(sizes.back(), columns);
    SmallVector<int64_t> outer = tiles;
    auto countTiles = [&] {
      int64_t count = 1;
      for (auto [size, tile] : llvm::zip(sizes, outer))
        count *= tile ? size / tile : 1;
      return count;
    };
    if (countTiles() == 1)
      return success();
    // More than enough for all threads: several in turn, first of sequences.
    for (auto [size, tile] : llvm::zip(sizes, outer))
      for (int64_t parts = size; countTiles() > maxTiles && tile;) {
        do
          --parts;
        while (parts > 1 && size % parts != 0);
        tile = parts > 1 ? size / parts : 0;
      }
    if (countTiles() > 1 &&
        failed(split(rewriter, tiled, outer,
                     scf::SCFTilingOptions::LoopType::ForallOp)))
      return failure();
    for (auto [inner, all] : llvm::zip(tiles, outer))
      inner = inner == all ? 0 : inner;
    if (llvm::any_of(tiles, [](int64_t tile) { return tile > 0; }) &&
        failed(split(rewriter, tiled, tiles,
                     scf::SCFTilingOptions::LoopType::ForOp)))
      return failure();
    ++numTiled;
    return success();
  }

  /// Replaces \p op by a loop over tiles; \p op is then the op in the loop.
  static LogicalResult split(IRRewriter &rewriter, TilingInterface &op,
                             ArrayRef<int64_t> tiles,
                             scf::SCFTilingOptions::LoopType kind) {
    scf::SCFTilingOptions options;
    options.setTileSizes(getAsIndexOpFoldResult(rewriter.getContext(), tiles));
    options.setLoopType(kind);
    rewriter.setInsertionPoint(op);
    FailureOr<scf::SCFTilingResult> result =
        scf::tileUsingSCF(rewriter, op, options);
    if (failed(result))
      return op.emitOpError("cannot be split");
    rewriter.replaceOp(op, result->replacements);
    op = cast<TilingInterface>(result->tiledOps.front());
    return success();
  }
};

} // namespace
