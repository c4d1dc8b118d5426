//===- CountRecurrences.cpp - A pass of one's own, as a plugin ------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// rwkvc MODEL.onnx -o MODEL.so --load-pass-plugin=./count-recurrences.so
//   --insert-pass=after-raise:count-recurrences
//
// Says of every recurrence how many tokens, heads and states it has. It asks
// the interface and so knows the recurrences of all RWKV versions, later ones
// too.
//
//===----------------------------------------------------------------------===//

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"
#include "mlir/Tools/Plugins/PassPlugin.h"
#include "rwkvc/Dialect/WKV/IR/WKV.h"

namespace {

struct CountRecurrencesPass
    : mlir::PassWrapper<CountRecurrencesPass,
                        mlir::OperationPass<mlir::ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(CountRecurrencesPass)

  llvm::StringRef getArgument() const override { return "count-recurrences"; }
  llvm::StringRef getDescription() const override {
    return "Report the recurrences of a model";
  }
  void getDependentDialects(mlir::DialectRegistry &registry) const override {
    registry.insert<rwkvc::wkv::WKVDialect>();
  }

  void runOnOperation() override {
    unsigned count = 0;
    getOperation()->walk([&](rwkvc::wkv::RecurrenceOpInterface op) {
      op.emitRemark() << "recurrence " << count++ << ": " << op->getName()
                      << ", tokens " << op.getNumTokens() << ", heads "
                      << op.getNumHeads() << ", states "
                      << op.getStates().size();
    });
    getOperation()->setAttr(
        "example.recurrences",
        mlir::IntegerAttr::get(mlir::IntegerType::get(&getContext(), 64),
                               count));
    markAllAnalysesPreserved();
  }
};

} // namespace

extern "C" LLVM_ATTRIBUTE_WEAK mlir::PassPluginLibraryInfo
mlirGetPassPluginInfo() {
  return {MLIR_PLUGIN_API_VERSION, "count-recurrences", "1.0",
          [] { mlir::PassRegistration<CountRecurrencesPass>(); }};
}
