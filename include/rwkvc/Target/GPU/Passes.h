//===- Passes.h - Code generation for GPUs ----------------------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_TARGET_GPU_PASSES_H
#define RWKVC_TARGET_GPU_PASSES_H

#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"

namespace rwkvc::gpu {

#define GEN_PASS_DECL
#include "rwkvc/Target/GPU/Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "rwkvc/Target/GPU/Passes.h.inc"

/// Name of the module with a device's kernels.
inline constexpr llvm::StringLiteral kKernelsName = "kernels";
/// Of a `scf.execute_region`: one workgroup runs what is in it. At the end of a
/// kernel it is the last one of that kernel's.
inline constexpr llvm::StringLiteral kChainAttr = "gpu.chain";
/// Of a lowered kernel: threads of a workgroup, and bytes that they share.
inline constexpr llvm::StringLiteral kThreadsAttr = "gpu.threads";
inline constexpr llvm::StringLiteral kSharedBytesAttr = "gpu.shared_bytes";

} // namespace rwkvc::gpu

#endif // RWKVC_TARGET_GPU_PASSES_H
