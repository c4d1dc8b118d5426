//===- Passes.h - Code generation for CPUs ----------------------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_TARGET_CPU_PASSES_H
#define RWKVC_TARGET_CPU_PASSES_H

#include "mlir/Dialect/AMX/AMXDialect.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"

namespace rwkvc::cpu {

#define GEN_PASS_DECL
#include "rwkvc/Target/CPU/Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "rwkvc/Target/CPU/Passes.h.inc"

/// Function attribute: iterations of a parallel kernel's outermost loop. Its
/// first two arguments are the range of iterations to run.
inline constexpr llvm::StringLiteral kParallelUnitsAttr = "cpu.parallel_units";
/// Of a level's module: width of the processor's vector registers.
inline constexpr llvm::StringLiteral kVectorBitsAttr = "cpu.vector_bits";
/// Of a level's module: the level that it takes all other kernels from.
inline constexpr llvm::StringLiteral kBaseAttr = "cpu.base";
/// Of a level's module: how the processor adds products of integers of 8 bits,
/// as the option of cpu-vectorize-kernels says it.
inline constexpr llvm::StringLiteral kDotProductsAttr = "cpu.dot_products";
/// Of a level's module: the bytes of weights from which they are fetched past
/// the processor's larger caches.
inline constexpr llvm::StringLiteral kStreamedBytesAttr = "cpu.streamed_bytes";
/// Symbol of a level's table of kernels.
inline constexpr llvm::StringLiteral kKernelTable = "rwkvc_kernels";

/// Attribute of a product of a row with a matrix: the number of the operand
/// that is the row, of which many elements are zero.
inline constexpr llvm::StringLiteral kSkipZerosAttr = "cpu.skip_zeros";

/// Attribute of a product of blocks of integers: the number of an operand, the
/// sums of the integers of each block that weights are multiplied with, which
/// are from -127 to 127. The body does without; a zero point that its terms
/// have in common needs it.
inline constexpr llvm::StringLiteral kBlockSumsAttr = "cpu.block_sums";

} // namespace rwkvc::cpu

#endif // RWKVC_TARGET_CPU_PASSES_H
