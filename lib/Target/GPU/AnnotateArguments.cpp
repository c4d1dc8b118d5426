//===- AnnotateArguments.cpp - What is known of kernels' addresses --------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "rwkvc/AOT/Launches.h"
#include "rwkvc/Target/GPU/Passes.h"
#include <numeric>

namespace rwkvc::gpu {
#define GEN_PASS_DEF_ANNOTATEARGUMENTS
#include "rwkvc/Target/GPU/Passes.h.inc"
} // namespace rwkvc::gpu

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::aot;

/// What the runtime aligns buffers to (lib/Runtime/gpu/Device.h).
static constexpr int64_t kBufferAlignment = 64;

namespace {

/// Of one argument, over all launches.
struct Knowledge {
  int64_t alignment = kBufferAlignment;
  bool isWeights = true;

  void add(const LaunchArgument &argument) {
    alignment = std::gcd(alignment, argument.value);
    isWeights &= argument.kind == LaunchArgument::Weights;
  }
};

struct AnnotateArgumentsPass
    : rwkvc::gpu::impl::AnnotateArgumentsBase<AnnotateArgumentsPass> {
  void runOnOperation() override {
    llvm::StringMap<SmallVector<Knowledge>> kernels;
    for (auto entry : getOperation().getOps<func::FuncOp>()) {
      if (!entry->hasAttr(kLaunchesAttr))
        continue;
      auto launches = readLaunches(entry);
      if (failed(launches))
        return signalPassFailure();
      for (const Launch &launch : *launches) {
        auto &known = kernels[launch.kernel];
        known.resize(launch.arguments.size());
        for (auto [one, argument] : llvm::zip_equal(known, launch.arguments))
          one.add(argument);
      }
    }
    getOperation().walk([&](mlir::gpu::GPUFuncOp kernel) {
      for (auto [i, known] : llvm::enumerate(kernels.lookup(kernel.getName())))
        if (isa<MemRefType>(kernel.getArgumentTypes()[i]))
          annotate(kernel, i, known);
    });
  }

  void annotate(mlir::gpu::GPUFuncOp kernel, unsigned number,
                const Knowledge &known) {
    Builder b(&getContext());
    kernel.setArgAttr(number, LLVM::LLVMDialect::getAlignAttrName(),
                      b.getI64IntegerAttr(known.alignment));
    ++numAligned;
    if (!known.isWeights)
      return;
    kernel.setArgAttr(number, LLVM::LLVMDialect::getNoAliasAttrName(),
                      b.getUnitAttr());
    kernel.setArgAttr(number, LLVM::LLVMDialect::getReadonlyAttrName(),
                      b.getUnitAttr());
    ++numConstant;
  }
};

} // namespace
