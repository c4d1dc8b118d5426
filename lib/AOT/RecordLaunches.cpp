//===- RecordLaunches.cpp - Functions as lists of launches ----------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/IR/Matchers.h"
#include "mlir/Interfaces/ViewLikeInterface.h"
#include "rwkvc/AOT/Interface.h"
#include "rwkvc/AOT/Launches.h"
#include "rwkvc/AOT/Passes.h"

namespace rwkvc::aot {
#define GEN_PASS_DEF_RECORDLAUNCHES
#include "rwkvc/AOT/Passes.h.inc"
} // namespace rwkvc::aot

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::aot;

/// What the arguments of an entry are, as callers know it.
static SmallVector<LaunchArgument> getPlaces(const Interface &interface) {
  SmallVector<LaunchArgument> places;
  for (int64_t i = 0, e = interface.inputs.size(); i < e; ++i)
    if (!interface.findStateOfInput(i))
      places.push_back({LaunchArgument::Input, i, 0});
  for (int64_t i = 0, e = interface.outputs.size(); i < e; ++i)
    places.push_back({LaunchArgument::Output, i, 0});
  places.push_back({LaunchArgument::Weights, 0, 0});
  places.push_back({LaunchArgument::Workspace, 0, 0});
  return places;
}

namespace {

struct RecordLaunchesPass : aot::impl::RecordLaunchesBase<RecordLaunchesPass> {
  using RecordLaunchesBase::RecordLaunchesBase;

  void runOnOperation() override {
    auto entries = readEntries(getOperation());
    if (failed(entries))
      return signalPassFailure();
    for (auto &[entry, interface] : *entries)
      if (failed(record(entry, getPlaces(interface))))
        return signalPassFailure();
  }

  LogicalResult record(func::FuncOp entry, ArrayRef<LaunchArgument> places) {
    if (entry.getNumArguments() != places.size())
      return entry.emitError("takes other arguments than rwkvc-entry-abi, "
                             "rwkvc-externalize-weights and rwkvc-plan-memory "
                             "give it");
    SmallVector<Launch> launches;
    auto result = entry.walk<WalkOrder::PreOrder>([&](Operation *op) {
      if (auto launch = dyn_cast<mlir::gpu::LaunchFuncOp>(op)) {
        auto recorded = read(launch, places);
        if (failed(recorded))
          return WalkResult::interrupt();
        launches.push_back(std::move(*recorded));
        return WalkResult::advance();
      }
      // What is left of the rest decides about logits alone.
      if (isa<func::FuncOp, scf::IfOp>(op) || isMemoryEffectFree(op) ||
          op->hasTrait<OpTrait::IsTerminator>())
        return WalkResult::advance();
      op->emitOpError("cannot be done by a list of kernels");
      return WalkResult::interrupt();
    });
    if (result.wasInterrupted())
      return failure();
    numLaunches += launches.size();
    entry.eraseBody();
    entry.setPrivate(); // as declarations are
    setLaunches(entry, launches);
    return success();
  }

  static FailureOr<Launch> read(mlir::gpu::LaunchFuncOp op,
                                ArrayRef<LaunchArgument> places) {
    Launch launch;
    launch.kernel = op.getKernelName().getValue().str();
    APInt groups;
    if (!matchPattern(op.getGridSizeX(), m_ConstantInt(&groups)))
      return op.emitOpError("has no constant number of workgroups");
    launch.numGroups = groups.getSExtValue();
    launch.isForLogits = op->getParentOfType<scf::IfOp>() != nullptr;
    for (Value operand : op.getKernelOperands()) {
      auto argument = resolve(operand, places);
      if (failed(argument))
        return op.emitOpError("depends on what is not known before the call");
      launch.arguments.push_back(*argument);
    }
    return launch;
  }

  /// The address or number that a kernel is given for \p value . A buffer's
  /// type with a constant offset means that the kernel adds it.
  static FailureOr<LaunchArgument> resolve(Value value,
                                           ArrayRef<LaunchArgument> places) {
    auto type = dyn_cast<MemRefType>(value.getType());
    if (!type) {
      APInt number;
      if (!matchPattern(value, m_ConstantInt(&number)))
        return failure();
      return LaunchArgument{LaunchArgument::Number, 0, number.getSExtValue()};
    }
    bool addsOffset = ShapedType::isDynamic(type.getStridesAndOffset().second);
    int64_t bytes = 0;
    for (; Operation *def = value.getDefiningOp();) {
      auto view = dyn_cast<ViewLikeOpInterface>(def);
      if (!view)
        return failure();
      // The first offset that is known is the whole one, from the last view.
      if (addsOffset) {
        auto [strides, offset] =
            cast<MemRefType>(value.getType()).getStridesAndOffset();
        if (!ShapedType::isDynamic(offset)) {
          bytes += offset * getElementBytes(value);
          addsOffset = false;
        }
      }
      if (auto part = dyn_cast<memref::ViewOp>(def)) {
        std::optional<int64_t> shift = getConstantIntValue(part.getByteShift());
        if (!shift || addsOffset)
          return failure();
        bytes += *shift;
      }
      value = view.getViewSource();
    }
    if (addsOffset)
      return failure();
    LaunchArgument place = places[cast<BlockArgument>(value).getArgNumber()];
    place.value = bytes;
    return place;
  }

  static int64_t getElementBytes(Value buffer) {
    return llvm::divideCeil(
        getElementTypeOrSelf(buffer.getType()).getIntOrFloatBitWidth(), 8);
  }
};

} // namespace
