//===- rwkv-plugin.cpp - Our dialects and passes for a stock mlir-opt -----===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// mlir-opt-22 --load-dialect-plugin=librwkv-plugin.so \
//             --load-pass-plugin=librwkv-plugin.so --pass-pipeline=...
//
// Links no MLIR library: every MLIR symbol comes from the host's libMLIR.so, so
// that there is one TypeID for each op.
//
//===----------------------------------------------------------------------===//

#include "mlir/Tools/Plugins/DialectPlugin.h"
#include "mlir/Tools/Plugins/PassPlugin.h"
#include "rwkvc/InitAll.h"

extern "C" LLVM_ATTRIBUTE_WEAK mlir::DialectPluginLibraryInfo
mlirGetDialectPluginInfo() {
  return {MLIR_PLUGIN_API_VERSION, "rwkvc", "0.1.0",
          [](mlir::DialectRegistry *registry) {
            rwkvc::registerAllDialects(*registry);
          }};
}

extern "C" LLVM_ATTRIBUTE_WEAK mlir::PassPluginLibraryInfo
mlirGetPassPluginInfo() {
  return {MLIR_PLUGIN_API_VERSION, "rwkvc", "0.1.0",
          [] { rwkvc::registerAllPasses(); }};
}
