//===- InitAll.cpp - Registers all dialects and passes --------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "rwkvc/InitAll.h"
#include "rwkvc/AOT/Passes.h"
#include "rwkvc/Conversion/Passes.h"
#include "rwkvc/Dialect/Dnnl/IR/Dnnl.h"
#include "rwkvc/Dialect/Dnnl/Transforms/Passes.h"
#include "rwkvc/Dialect/ONNX/IR/ONNX.h"
#include "rwkvc/Dialect/ONNX/Transforms/Passes.h"
#include "rwkvc/Dialect/WKV/IR/WKV.h"
#include "rwkvc/Dialect/WKV/Transforms/Lifting.h"
#include "rwkvc/Dialect/WKV/Transforms/Passes.h"
#include "rwkvc/Pipelines/Pipelines.h"
#include "rwkvc/Target/CPU/Passes.h"
#include "rwkvc/Target/GPU/Passes.h"
#include "rwkvc/Transforms/Passes.h"

void rwkvc::registerAllDialects(mlir::DialectRegistry &registry) {
  registry.insert<dnnl::DnnlDialect, onnx::ONNXDialect, wkv::WKVDialect>();
  wkv::registerLiftingInterfaces(registry);
}

void rwkvc::registerAllPasses() {
  onnx::registerRWKVCONNXPasses();
  wkv::registerRWKVCWKVPasses();
  dnnl::registerRWKVCDnnlPasses();
  registerRWKVCConversionPasses();
  registerRWKVCTransformsPasses();
  aot::registerRWKVCAOTPasses();
  cpu::registerRWKVCCPUPasses();
  rwkvc::gpu::registerRWKVCGPUPasses();
  registerPipelines();
}
