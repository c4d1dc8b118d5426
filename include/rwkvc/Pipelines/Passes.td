//===- Passes.td - What pipelines add between phases ----------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_PIPELINES_PASSES_TD
#define RWKVC_PIPELINES_PASSES_TD

include "mlir/Pass/PassBase.td"

def VerifyPhase : Pass<"rwkvc-verify-phase", "::mlir::ModuleOp"> {
  let summary = "Check that only the dialects of a phase are left";
  let description = [{
    Reports the first op whose dialect does not belong to the phase, with the
    phase's name and dialects. Changes nothing.
  }];
  let options = [
    Option<"phase", "phase", "std::string", /*default=*/"",
           "Name of the phase that is closed, for the message">,
    ListOption<"dialects", "dialects", "std::string",
               "Namespaces of the dialects that may be left">
  ];
}

#endif // RWKVC_PIPELINES_PASSES_TD
