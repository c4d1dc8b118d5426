//===- Interface.h - How callers know a model -------------------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The module attributes that carry the artefact's description through the
// phases, and their readable form.
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_AOT_INTERFACE_H
#define RWKVC_AOT_INTERFACE_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/BuiltinTypes.h"
#include <optional>
#include <string>

namespace rwkvc::aot {

/// Name of the function that the importer makes of the model's graph.
inline constexpr llvm::StringLiteral kEntryName = "main";
inline constexpr llvm::StringLiteral kInterfaceAttr = "rwkvc.interface";
inline constexpr llvm::StringLiteral kWeightsAttr = "rwkvc.weights";
/// Bytes of the weights file's data section and of the workspace: the sizes of
/// the entry's last two arguments, once the passes have added them.
inline constexpr llvm::StringLiteral kWeightsSizeAttr = "rwkvc.weights_size";
inline constexpr llvm::StringLiteral kWorkspaceSizeAttr =
    "rwkvc.workspace_size";

/// A graph input or output as the ONNX file declares it.
struct TensorDescription {
  std::string name;
  mlir::RankedTensorType type;
  int64_t indexLimit = 0; ///< exclusive bound of an index input; 0: no index
};

/// A state: `input` of one call is `output` of the call before.
struct StateDescription {
  int64_t input = 0, output = 0;
  double initial = 0.0; ///< every element of the empty state
};

struct Interface {
  llvm::SmallVector<TensorDescription> inputs, outputs;
  llvm::SmallVector<StateDescription> states;
  int64_t tokenInput = -1, logitsOutput = -1; ///< -1: not known

  /// The state that output \p index continues, or null.
  const StateDescription *findStateOfOutput(int64_t index) const;
  const StateDescription *findStateOfInput(int64_t index) const;
};

/// Reads the interface off `@main` of an imported model.
mlir::FailureOr<Interface> describeEntry(mlir::ModuleOp module);

/// The attribute form, and back. Reading reports a missing or malformed
/// attribute at \p module.
mlir::DictionaryAttr toAttribute(const Interface &interface,
                                 mlir::MLIRContext *context);
mlir::FailureOr<Interface> readInterface(mlir::ModuleOp module);

/// One entry of the weights file.
struct WeightDescription {
  std::string name;
  int64_t offset = 0; ///< bytes from the start of the data section
  mlir::ElementsAttr value;
};

/// The weights that `rwkvc-externalize-weights` listed; empty if it did not
/// run.
llvm::SmallVector<WeightDescription> readWeights(mlir::ModuleOp module);

/// Bytes of \p value in memory: row-major, without padding.
int64_t getNumBytes(mlir::ShapedType type);

} // namespace rwkvc::aot

#endif // RWKVC_AOT_INTERFACE_H
