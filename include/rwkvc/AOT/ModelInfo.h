//===- ModelInfo.h - A compiled model's description of itself ---*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_AOT_MODELINFO_H
#define RWKVC_AOT_MODELINFO_H

#include "rwkvc/AOT/Interface.h"
#include "rwkvc/AOT/Launches.h"
#include "rwkvc/Target/DeviceInfo.h"
#include "llvm/IR/Module.h"
#include "llvm/Support/Error.h"
#include <vector>

namespace rwkvc::aot {

/// A function of the artefact.
struct FunctionInfo {
  std::string symbol; ///< of the lowered function
  Interface interface;
  int64_t workspaceSize = 0; ///< bytes
  /// The interface of another function that this one serves too.
  std::optional<Served> served;
};

/// A processor that the artefact has code for.
struct LevelInfo {
  std::string name;
  uint64_t features = 0; ///< as in rwkvrt_level_info
};

/// A device that the artefact has code for.
struct DeviceCode {
  std::string name, chip;
  int32_t kind = 0;     ///< rwkvrt_device_kind
  WeightsRange weights; ///< that it reads
  std::vector<DeviceKernel> kernels;
  /// Of each function, in the order of the functions.
  std::vector<std::vector<Launch>> launches;
  std::vector<int64_t> workspaceSizes;
  llvm::SmallVector<char, 0> image;
};

/// What the artefact says of itself besides its functions.
struct ModelInfo {
  std::string name;        ///< a C identifier; part of the exported symbol
  std::string target;      ///< triple
  std::string weightsFile; ///< file name beside the artefact; empty: none
  int64_t weightsSize = 0; ///< bytes
  WeightsRange processorWeights; ///< that code for processors reads
  uint64_t weightsHash = 0;
  /// File whose bytes from `embedOffset` on are put into the code as weights;
  /// empty: not embedded.
  std::string embedFile;
  int64_t embedOffset = 0;
  std::vector<LevelInfo> levels; ///< the least first
  /// Whether each level has kernels of its own, in the table that the functions
  /// take as last argument.
  bool hasTables = false;
  std::vector<DeviceCode> devices; ///< the most wanted first
};

/// Lists the functions of \p module, in the LLVM dialect, that callers know.
mlir::FailureOr<std::vector<FunctionInfo>> readFunctions(mlir::ModuleOp module);

/// Reads what \p module , in the form that the last phase gives it for a
/// device, says of its kernels and of \p functions .
mlir::LogicalResult readDeviceCode(mlir::ModuleOp module,
                                   llvm::ArrayRef<FunctionInfo> functions,
                                   DeviceCode &code);

/// Adds run functions and the constant `rwkvrt_model_info` of rwkvc-rt/abi.h to
/// \p module, which \p functions have been lowered to unless they are for
/// devices alone, and makes all else internal. The constant is
/// `rwkvc_model_<name>`, and `rwkvc_model` too where
/// \p isWholeProgram.
void emitModelInfo(llvm::Module &module, llvm::ArrayRef<FunctionInfo> functions,
                   const ModelInfo &info, bool isWholeProgram);

/// Makes all of \p kernels , which a level's module has been lowered to,
/// internal but for the table, so that it can be linked to what
/// `emitModelInfo` makes, and for what another level shares.
void prepareKernels(llvm::Module &kernels, const ModelInfo &info,
                    const LevelInfo &level);

/// Puts \p kernels into the module of their level's base, which they share
/// others with. Each function keeps the processor that it is for.
llvm::Error joinKernels(llvm::Module &base,
                        std::unique_ptr<llvm::Module> kernels);
/// Makes internal what levels in the module of their base, which are all there
/// by now, share with it.
void closeKernels(llvm::Module &base);

/// \p name with all that no C identifier may have replaced by '_'.
std::string toIdentifier(llvm::StringRef name);

} // namespace rwkvc::aot

#endif // RWKVC_AOT_MODELINFO_H
