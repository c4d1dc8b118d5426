//===- Import.h - ONNX files to the onnx dialect ----------------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The form that an import has is described in docs/ImportForm.md.
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_IMPORT_IMPORT_H
#define RWKVC_IMPORT_IMPORT_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/DialectRegistry.h"
#include "mlir/IR/OwningOpRef.h"
#include "llvm/ADT/StringMap.h"
#include <string>
#include <utility>
#include <vector>

namespace rwkvc {

/// Attribute of an argument or result of the imported function: its ONNX name.
inline constexpr llvm::StringLiteral kONNXNameAttr = "onnx.name";

struct ImportOptions {
  /// Sizes, at least 1, of the symbolic dimensions of the graph's inputs, by
  /// name; a dimension without a name is called INPUT.AXIS. Naming a dimension
  /// that the model does not have is an error. Those not given become 1.
  llvm::StringMap<int64_t> dims;
};

/// What an import decided by itself.
struct ImportReport {
  /// Symbolic dimensions not given in the options, with the size they got, in
  /// the order of their first use.
  std::vector<std::pair<std::string, int64_t>> defaultedDims;
};

/// Reads the ONNX model in the file \p path into a module with one public
/// function "main" on ops of the onnx dialect.
///
/// Weights larger than 1 KiB are dense resources whose bytes are the mapped
/// weight file, or what the protobuf reader holds of the model file; they stay
/// alive with the resource, that is with \p context.
///
/// Returns null after an error at a location that names the file. With no
/// \p report, a remark names each dimension that became 1.
mlir::OwningOpRef<mlir::ModuleOp>
importONNXFile(llvm::StringRef path, mlir::MLIRContext &context,
               const ImportOptions &options = {},
               ImportReport *report = nullptr);

/// The dialects that an import uses.
void registerImportDialects(mlir::DialectRegistry &registry);

/// Registers the translation --import-onnx with its options.
void registerImportTranslation();

} // namespace rwkvc

#endif // RWKVC_IMPORT_IMPORT_H
