//===- CodeGen.h - LLVM IR to machine code ----------------------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_TARGET_CODEGEN_H
#define RWKVC_TARGET_CODEGEN_H

#include "rwkvc/Target/DeviceInfo.h"
#include "rwkvc/Target/TargetInfo.h"
#include "llvm/IR/Module.h"
#include "llvm/Support/raw_ostream.h"

namespace rwkvc {

/// Sets the module's triple and data layout; before anything depends on sizes.
void prepareModule(llvm::Module &module, const TargetInfo &target);

/// Runs LLVM's optimiser at \p level, 0 to 3. Modules of different contexts may
/// be optimised at once, with a machine each.
void optimizeModule(llvm::Module &module, llvm::TargetMachine &machine,
                    unsigned level);

/// Moves the contents of \p source , of any context, into \p target.
llvm::Error linkModule(llvm::Module &target,
                       std::unique_ptr<llvm::Module> source);

enum class CodeKind { Assembly, Object };

/// Writes position-independent machine code; from several threads, likewise.
llvm::Error emitCode(llvm::Module &module, llvm::TargetMachine &machine,
                     CodeKind kind, llvm::raw_pwrite_stream &os);

/// Sets the module's triple and data layout for \p device , and makes kernels
/// of those of its functions that \p kernels lists.
void prepareKernels(llvm::Module &module, const DeviceInfo &device,
                    const llvm::TargetMachine &machine,
                    llvm::ArrayRef<DeviceKernel> kernels);

/// Writes the device's assembly, or what its runtime loads: SPIR-V, PTX, or an
/// AMD code object, which the linker lld makes.
llvm::Error emitKernels(llvm::Module &module, const DeviceInfo &device,
                        llvm::TargetMachine &machine, CodeKind kind,
                        llvm::SmallVectorImpl<char> &code);

} // namespace rwkvc

#endif // RWKVC_TARGET_CODEGEN_H
