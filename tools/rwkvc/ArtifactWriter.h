//===- ArtifactWriter.h - From the last phase to files ----------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_TOOLS_RWKVC_ARTIFACTWRITER_H
#define RWKVC_TOOLS_RWKVC_ARTIFACTWRITER_H

#include "Options.h"
#include "mlir/IR/BuiltinOps.h"
#include "rwkvc/AOT/ModelInfo.h"
#include "rwkvc/AOT/WeightsFile.h"
#include "rwkvc/Target/TargetInfo.h"

namespace rwkvc {

class Progress;

/// Folder of the runtime's libraries, from that of this program.
std::string findRuntimeDir();

/// Writes a file that is there when all of it is.
llvm::Error
writeFile(llvm::StringRef path,
          llvm::function_ref<llvm::Error(llvm::raw_pwrite_stream &)> write);

/// A model for its targets.
struct Models {
  mlir::ModuleOp processor;            ///< null: none
  std::vector<mlir::ModuleOp> devices; ///< in the options' order
};

/// Makes code, or its text, and the weights file of a model.
class ArtifactWriter {
public:
  /// \p targets : processors, the least first; known when something is written.
  ArtifactWriter(const DriverOptions &options,
                 const std::vector<TargetInfo> &targets,
                 mlir::MLIRContext &context, Progress &progress)
      : options(options), targets(targets), context(context),
        progress(progress) {}

  /// Begins to write the weights, which phases to come leave as they are; does
  /// nothing where it has.
  llvm::Error startWeights(const Models &models);
  /// Of what the last phase gives; devices have a model each.
  llvm::Error write(const Models &models);

private:
  /// The model's functions, or a level's kernels, in LLVM IR. Each has a
  /// context, so that they can be compiled at once.
  struct Part {
    const TargetInfo *target;
    std::unique_ptr<llvm::LLVMContext> context; // outlives the module
    std::unique_ptr<llvm::Module> module;
    /// File, unless one is made of all parts.
    llvm::SmallVector<char, 0> object;
  };

  llvm::Error finishWeights();
  llvm::Error compileForDevice(mlir::ModuleOp module, const DeviceInfo &device,
                               llvm::ArrayRef<aot::FunctionInfo> functions);
  llvm::Error translate(const Models &models, std::vector<Part> &parts);
  llvm::Error generateCode(std::vector<Part> &parts);
  llvm::Error emitText(llvm::Module *module);
  llvm::Error makeBinary(llvm::ArrayRef<Part> parts, aot::PendingFile &file);

  const DriverOptions &options;
  const std::vector<TargetInfo> &targets;
  mlir::MLIRContext &context;
  Progress &progress;
  aot::ModelInfo info;
  /// While they are written, and then their file.
  std::unique_ptr<aot::WeightsWriter> weightsWriter;
  std::optional<aot::PendingFile> weightsFile;
};

} // namespace rwkvc

#endif // RWKVC_TOOLS_RWKVC_ARTIFACTWRITER_H
