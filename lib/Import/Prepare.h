//===- Prepare.h - Brings a model's protobuf to one form --------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Steps on the protobuf before it becomes IR. All report errors at the model
// file; functions of the ONNX library that they call may throw std::exception.
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_LIB_IMPORT_PREPARE_H
#define RWKVC_LIB_IMPORT_PREPARE_H

#include "Tensors.h"
#include "rwkvc/Import/Import.h"

namespace rwkvc::import {

/// Range of operator sets that updateOpset brings to the newest.
inline constexpr int64_t kOldestOpset = 11, kNewestOpset = 28;

/// Weights taken out of the protobuf, by the name of their value.
using Weights = llvm::StringMap<TensorData>;

/// What the library says in \p message, in one line.
std::string tidy(llvm::StringRef message);

/// What messages call \p node.
std::string describe(const ::onnx::NodeProto &node);

/// Reads the protobuf in \p path. Large tensors stay in the file: they become
/// external data, of which \p reader knows the place.
mlir::FailureOr<std::unique_ptr<::onnx::ModelProto>>
parseModel(llvm::StringRef path, mlir::Location file, TensorReader &reader);

/// Checks versions, spells the default domain "" everywhere and returns the
/// model's operator set.
mlir::FailureOr<int64_t> checkVersions(::onnx::ModelProto &model,
                                       mlir::Location file);

/// Takes every tensor above kMaxDenseBytes out of the graph, which then has an
/// input of its name and type; so neither the checker nor the inliner copies
/// weights. Tensors in local functions stay (external ones are loaded): once
/// these are inlined, a second call takes them.
mlir::LogicalResult takeWeights(::onnx::ModelProto &model, TensorReader &reader,
                                Weights &weights);

/// Puts the nodes of \p graph in an order in which each follows those it uses.
/// Cycles, values computed twice and values computed nowhere are errors.
mlir::LogicalResult sortNodes(::onnx::GraphProto &graph, mlir::Location file);

/// Rewrites nodes of the default domain from operator set \p from to
/// kNewestOpset, in the graph and in functions (by their own operator sets).
void updateOpset(::onnx::ModelProto &model, int64_t from);

/// Gives symbolic dimensions of the graph's inputs their sizes.
mlir::LogicalResult bindDimensions(::onnx::ModelProto &model,
                                   const Weights &weights,
                                   const ImportOptions &options,
                                   ImportReport &report, mlir::Location file);

/// Drops the types that the file declares for values which inference finds out:
/// they may be stale. Those of the results of unknown and of custom operators
/// stay.
void dropDeclaredTypes(::onnx::GraphProto &graph);

/// Compares the inferred types of the outputs with those \p declared: other
/// elements are an error, another shape is a warning.
mlir::LogicalResult compareOutputTypes(
    ::onnx::GraphProto &graph,
    const google::protobuf::RepeatedPtrField<::onnx::ValueInfoProto> &declared,
    mlir::Location file);

/// Infers types and shapes of all values.
void inferTypes(::onnx::ModelProto &model);

/// Why inference could not tell a type, in one line.
std::string explainInference(const ::onnx::ModelProto &model);

/// Names that \p node uses, also from within its bodies.
llvm::SmallVector<llvm::StringRef> getUsedNames(const ::onnx::NodeProto &node);

/// Teaches the ONNX library the types that operators of onnxruntime's optimiser
/// and those without inference of their own give.
void registerSchemas();

/// Does so for the custom ops of the registry (CustomOps.h), and declares their
/// domains in \p model.
void registerCustomOps(::onnx::ModelProto &model);

/// Whether the registry knows the operator of \p node.
bool isCustomOp(const ::onnx::NodeProto &node);

} // namespace rwkvc::import

#endif // RWKVC_LIB_IMPORT_PREPARE_H
