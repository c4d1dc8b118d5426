//===- Interface.h - How callers know a model -------------------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The attributes that carry the artefact's description through the phases, and
// their readable form. A model has up to five functions that callers know: the
// file's own graph, @main, and the derived forms and conversions of states,
// which have the attribute `wkv.form`.
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_AOT_INTERFACE_H
#define RWKVC_AOT_INTERFACE_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/BuiltinTypes.h"
#include <optional>
#include <string>

namespace rwkvc::aot {

/// Name of the function that the importer makes of the model's graph.
inline constexpr llvm::StringLiteral kEntryName = "main";
/// Of a function: its description, and the bytes of its workspace.
inline constexpr llvm::StringLiteral kInterfaceAttr = "rwkvc.interface";
inline constexpr llvm::StringLiteral kWorkspaceSizeAttr =
    "rwkvc.workspace_size";
/// Of a function that callers of another one are led to: the description of
/// that one, and which input and output of it each of its own is.
inline constexpr llvm::StringLiteral kServedInterfaceAttr =
    "rwkvc.served_interface";
inline constexpr llvm::StringLiteral kServedInputsAttr = "rwkvc.served_inputs";
inline constexpr llvm::StringLiteral kServedOutputsAttr =
    "rwkvc.served_outputs";
/// Of the module: the weights, and the bytes of their file's data section.
inline constexpr llvm::StringLiteral kWeightsAttr = "rwkvc.weights";
inline constexpr llvm::StringLiteral kWeightsSizeAttr = "rwkvc.weights_size";

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

enum class FunctionKind {
  Graph,   ///< the file's own signature
  Step,    ///< one token of each sequence
  Prefill, ///< a block of tokens of each sequence
  Unpack,  ///< from the file's states to those of the forms
  Pack     ///< and back
};
/// "graph", "step", "prefill", "unpack" or "pack".
llvm::StringRef stringifyFunctionKind(FunctionKind kind);
std::optional<FunctionKind> symbolizeFunctionKind(llvm::StringRef name);

/// What callers know of one function.
struct Interface {
  FunctionKind kind = FunctionKind::Graph;
  llvm::SmallVector<TensorDescription> inputs, outputs;
  llvm::SmallVector<StateDescription> states;
  /// -1: not known, or none. Only a prefill takes a length.
  int64_t tokenInput = -1, lengthInput = -1, logitsOutput = -1;
  /// Whether a call takes as long as its tokens do, not as a full block.
  bool skipsPadding = false;
  /// Texts whose states a conversion takes; 0 for other functions.
  int64_t texts = 0;

  bool isConversion() const {
    return kind == FunctionKind::Unpack || kind == FunctionKind::Pack;
  }
  /// The state that output \p index continues, or null.
  const StateDescription *findStateOfOutput(int64_t index) const;
  const StateDescription *findStateOfInput(int64_t index) const;

  /// The numbers of the arguments that input \p index , which is no state, and
  /// output \p index are after rwkvc-entry-abi.
  int64_t getInputArgument(int64_t index) const;
  int64_t getOutputArgument(int64_t index) const;

  /// Sequences of one call, and tokens of each; 0 for the file's own graph,
  /// whose axes may mean anything. A conversion takes no tokens.
  int64_t getBatch() const;
  int64_t getBlock() const;
};

/// How a function is called in place of another one, whose tensors have the
/// same elements in whatever shape.
struct Served {
  Interface interface; ///< of that one
  /// Which of its inputs and outputs each input and output is.
  llvm::SmallVector<int64_t> inputs, outputs;
};

/// The functions that callers know: @main and those with a form that are there,
/// in the module's order. Reports an error at \p module if there is none.
mlir::FailureOr<llvm::SmallVector<mlir::func::FuncOp>>
getEntries(mlir::ModuleOp module);

/// Reads the interface off the attributes and types of an entry.
mlir::FailureOr<Interface> describeEntry(mlir::func::FuncOp entry);

/// The attribute form, and back. Reading reports a missing or malformed
/// attribute at \p entry.
mlir::DictionaryAttr toAttribute(const Interface &interface,
                                 mlir::MLIRContext *context);
mlir::FailureOr<Interface>
readInterface(mlir::Operation *entry,
              llvm::StringRef attrName = kInterfaceAttr);

/// getEntries() with the interface of each.
mlir::FailureOr<llvm::SmallVector<std::pair<mlir::func::FuncOp, Interface>>>
readEntries(mlir::ModuleOp module);

/// The same of how \p entry serves callers of another function; none where it
/// does not.
void setServed(mlir::Operation *entry, const Served &served);
mlir::FailureOr<std::optional<Served>> readServed(mlir::Operation *entry);

/// One entry of the weights file.
struct WeightDescription {
  std::string name;
  int64_t offset = 0; ///< bytes from the start of the data section
  mlir::ElementsAttr value;
};

/// The name in the file of \p value , its weight \p number : unique, and as the
/// model's file names it where a resource knows.
std::string nameWeight(mlir::ElementsAttr value, size_t number);

/// Where the weight after \p weight starts: each is on a cache line.
int64_t getNextOffset(const WeightDescription &weight);

/// The weights that \p module reads, as `rwkvc-externalize-weights` lists them;
/// empty if it did not run. Setting them tells the bytes of the data section
/// too, which may hold others.
llvm::SmallVector<WeightDescription> readWeights(mlir::ModuleOp module);
void setWeights(mlir::ModuleOp module,
                llvm::ArrayRef<WeightDescription> weights, int64_t size);

/// Bytes of the data section.
struct WeightsRange {
  int64_t offset = 0, size = 0;
};
/// Those that the weights of \p module lie in.
WeightsRange findRange(mlir::ModuleOp module);

/// Bytes of \p value in memory: row-major, without padding.
int64_t getNumBytes(mlir::ShapedType type);

} // namespace rwkvc::aot

#endif // RWKVC_AOT_INTERFACE_H
