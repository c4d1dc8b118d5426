//===- Translation.cpp - The translation --import-onnx --------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "mlir/Tools/mlir-translate/Translation.h"
#include "rwkvc/Import/Import.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/SourceMgr.h"

using namespace mlir;

void rwkvc::registerImportTranslation() {
  static llvm::cl::list<std::string> dims(
      "onnx-dim", llvm::cl::value_desc("name=size"),
      llvm::cl::desc("Size of a symbolic dimension of the model's inputs"));
  TranslateToMLIRRegistration registration(
      "import-onnx", "read an ONNX model into the onnx dialect",
      [](llvm::SourceMgr &sources,
         MLIRContext *context) -> OwningOpRef<Operation *> {
        // Weights lie beside the file: its name is needed, not its bytes.
        llvm::StringRef path = sources.getMemoryBuffer(sources.getMainFileID())
                                   ->getBufferIdentifier();
        ImportOptions options;
        for (llvm::StringRef dim : dims) {
          auto [name, size] = dim.rsplit('=');
          int64_t value;
          if (name.empty() || size.getAsInteger(10, value)) {
            emitError(UnknownLoc::get(context))
                << "--onnx-dim=" << dim << ": expected name=size";
            return nullptr;
          }
          options.dims[name] = value;
        }
        OwningOpRef<ModuleOp> module = importONNXFile(path, *context, options);
        return OwningOpRef<Operation *>(module.release());
      },
      registerImportDialects);
}
