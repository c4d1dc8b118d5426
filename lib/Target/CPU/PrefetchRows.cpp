//===- PrefetchRows.cpp - Fetch the next iteration's rows early -----------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Caches.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "rwkvc/Target/CPU/Passes.h"

namespace rwkvc::cpu {
#define GEN_PASS_DEF_PREFETCHROWS
#include "rwkvc/Target/CPU/Passes.h.inc"
} // namespace rwkvc::cpu

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::cpu;

namespace {

/// A part of a buffer that moves along \p axis from iteration to iteration, \p
/// size contiguous elements.
struct Row {
  memref::SubViewOp view;
  int64_t axis, size;
  Value start; ///< of the axis, where it is this and the induction variable
};

struct PrefetchRowsPass : cpu::impl::PrefetchRowsBase<PrefetchRowsPass> {
  using PrefetchRowsBase::PrefetchRowsBase;

  void runOnOperation() override {
    getOperation().walk([&](scf::ForOp loop) {
      SmallVector<Row> rows;
      for (auto view : loop.getBody()->getOps<memref::SubViewOp>())
        if (std::optional<Row> row = matchRow(view, loop))
          rows.push_back(*row);
      if (!rows.empty())
        prefetch(loop, rows);
    });
  }

  /// Whether \p view is a short row at the iteration's place, not next to that
  /// of the iteration before: the hardware follows rows that are.
  std::optional<Row> matchRow(memref::SubViewOp view, scf::ForOp loop) {
    MemRefType source = view.getSourceType();
    int64_t offset = 0, axis = -1, size = 1;
    Value base;
    SmallVector<int64_t> strides;
    if (!loop.isDefinedOutsideOfLoop(view.getSource()) ||
        failed(source.getStridesAndOffset(strides, offset)) ||
        llvm::is_contained(strides, ShapedType::kDynamic) || strides.empty())
      return std::nullopt;
    for (auto [i, start] : llvm::enumerate(view.getMixedOffsets())) {
      auto value = dyn_cast<Value>(start);
      if (!value || loop.isDefinedOutsideOfLoop(value))
        continue;
      if (axis >= 0)
        return std::nullopt;
      axis = i;
      if (value == loop.getInductionVar())
        continue;
      auto sum = value.getDefiningOp<arith::AddIOp>();
      if (!sum ||
          !llvm::is_contained(sum->getOperands(), loop.getInductionVar()))
        return std::nullopt;
      base =
          sum.getLhs() == loop.getInductionVar() ? sum.getRhs() : sum.getLhs();
      if (!loop.isDefinedOutsideOfLoop(base))
        return std::nullopt;
    }
    if (axis < 0)
      return std::nullopt;
    for (auto [i, extent] : llvm::enumerate(view.getStaticSizes())) {
      bool isLast = i + 1 == strides.size();
      if (ShapedType::isDynamic(extent) || (!isLast && extent != 1))
        return std::nullopt;
      size *= extent;
    }
    int64_t bytes = llvm::divideCeil(source.getElementTypeBitWidth(), 8);
    if (strides.back() != 1 || strides[axis] == size ||
        size * bytes > maxRowBytes)
      return std::nullopt;
    return Row{view, axis, size, base};
  }

  void prefetch(scf::ForOp loop, ArrayRef<Row> rows) {
    ImplicitLocOpBuilder b(loop.getLoc(), &getContext());
    b.setInsertionPointToStart(loop.getBody());
    // The last iteration looks at its own rows once more.
    Value next =
        arith::AddIOp::create(b, loop.getInductionVar(), loop.getStep());
    Value isPast = arith::CmpIOp::create(b, arith::CmpIPredicate::sge, next,
                                         loop.getUpperBound());
    next = arith::SelectOp::create(b, isPast, loop.getInductionVar(), next);
    for (Row row : rows) {
      MemRefType source = row.view.getSourceType();
      int64_t perLine = kLineBytes * 8 / source.getElementTypeBitWidth();
      Value place =
          row.start ? arith::AddIOp::create(b, row.start, next) : next;
      SmallVector<Value> indices;
      for (auto [i, start] : llvm::enumerate(row.view.getMixedOffsets()))
        indices.push_back(static_cast<int64_t>(i) == row.axis
                              ? place
                              : getValueOrCreateConstantIndexOp(b, start));
      Value first = indices.back();
      for (int64_t at = 0; at < row.size; at += perLine) {
        if (at > 0)
          indices.back() = arith::AddIOp::create(
              b, first, arith::ConstantIndexOp::create(b, at));
        memref::PrefetchOp::create(b, row.view.getSource(), indices,
                                   /*isWrite=*/false, /*localityHint=*/3,
                                   /*isDataCache=*/true);
      }
      ++numRows;
    }
  }

  static Value getValueOrCreateConstantIndexOp(ImplicitLocOpBuilder &b,
                                               OpFoldResult value) {
    if (auto constant = getConstantIntValue(value))
      return arith::ConstantIndexOp::create(b, *constant);
    return cast<Value>(value);
  }
};

} // namespace
