//===- RaisePipeline.cpp - The raise phase --------------------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/Passes.h"
#include "rwkvc/Dialect/ONNX/Transforms/Passes.h"
#include "rwkvc/Dialect/WKV/Transforms/Passes.h"

void rwkvc::wkv::buildRaisePipeline(mlir::OpPassManager &pm) {
  pm.addPass(onnx::createLoopsToScans());
  pm.addPass(createRecoverSequenceOps());
  pm.addPass(onnx::createInlineSingleTrips());
  pm.addPass(onnx::createUnrollSteps());
  pm.addPass(onnx::createRerollScans());
  pm.addPass(onnx::createHoistFromScans());
  pm.addPass(createPairStates());
  pm.addPass(createRaiseCustomOps());
  pm.addPass(createRaiseSequenceOps());
  pm.addPass(createRaiseRecurrence());
  pm.addPass(createDistributeScans());
  pm.addPass(createJoinHeads());
  // Decays are found through the recurrences and mixes through the shifts, the
  // rest anywhere; what a raised value replaces is dead.
  pm.addPass(createRaiseDecay());
  pm.addPass(createRaiseTokenShift());
  pm.addPass(createRaiseMix());
  pm.addPass(createRaiseLora());
  pm.addPass(createRaiseNorm());
  pm.addPass(createFoldNormAffine());
  pm.addPass(createJoinHeadNorms());
  pm.addPass(mlir::createCanonicalizerPass());
  pm.addPass(mlir::createCSEPass());
}
