//===- CustomOp.cpp - A plugin that registers a WKV operator --------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "mlir/Tools/Plugins/PassPlugin.h"
#include "rwkvc/Dialect/WKV/IR/CustomOps.h"

static void registerOps() {
  using namespace rwkvc::wkv;
  CustomOpSignature op{"org.example",
                       "finch",
                       CustomOpLaw::Wkv6,
                       CustomOpDecay::Log,
                       {{"state", "HKV"},
                        {"receptance", "THK"},
                        {"key", "THK"},
                        {"value", "THV"},
                        {"decay", "THK"},
                        {"bonus", "HK"}},
                       {{"state", "HKV"}, {"output", "THV"}}};
  llvm::cantFail(registerCustomOp(std::move(op)));
}

extern "C" LLVM_ATTRIBUTE_WEAK mlir::PassPluginLibraryInfo
mlirGetPassPluginInfo() {
  return {MLIR_PLUGIN_API_VERSION, "custom-op", "1.0", registerOps};
}
