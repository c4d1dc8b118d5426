//===- Types.cpp - Types of the values of a model -------------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Prepare.h"
#include "onnx/defs/schema.h"
#include "onnx/shape_inference/implementation.h"
#include "llvm/ADT/StringSet.h"

using namespace mlir;
using namespace rwkvc::import;
using ::onnx::AttributeProto;
using ::onnx::GraphProto;
using ::onnx::NodeProto;

std::string rwkvc::import::tidy(llvm::StringRef message) {
  std::string text;
  for (char c : message.trim())
    text += c == '\n' ? ' ' : c;
  return text;
}

static bool hasBodies(const GraphProto &graph) {
  return llvm::any_of(graph.node(), [](const NodeProto &node) {
    return llvm::any_of(node.attribute(), [](const AttributeProto &attribute) {
      return attribute.has_g();
    });
  });
}

void rwkvc::import::inferTypes(::onnx::ModelProto &model) {
  // What computed shapes give, onnx-infer-shapes finds later, but not in
  // bodies. The library keeps a message for every element of every vector.
  ::onnx::ShapeInferenceOptions options(/*check_type=*/false, /*error_mode=*/0,
                                        /*data_prop=*/hasBodies(model.graph()));
  ::onnx::shape_inference::InferShapes(
      model, ::onnx::OpSchemaRegistry::Instance(), options);
}

std::string rwkvc::import::explainInference(const ::onnx::ModelProto &model) {
  try {
    ::onnx::ModelProto copy = model;
    ::onnx::ShapeInferenceOptions strict(/*check_type=*/true, /*error_mode=*/1);
    ::onnx::shape_inference::InferShapes(
        copy, ::onnx::OpSchemaRegistry::Instance(), strict);
  } catch (const std::exception &exception) {
    // One line for each node; the first is the cause.
    llvm::StringRef message = exception.what();
    message.consume_front("[ShapeInferenceError] Inference error(s): ");
    return tidy(message.split('\n').first);
  }
  return "an operator that it depends on has no known result types";
}

static void dropTypes(GraphProto &graph, bool keepInputs) {
  llvm::StringSet<> custom;
  for (NodeProto &node : *graph.mutable_node()) {
    for (AttributeProto &attribute : *node.mutable_attribute()) {
      if (!attribute.has_g())
        continue;
      GraphProto &body = *attribute.mutable_g();
      bool isLoop = node.op_type() == "Loop" && node.domain().empty();
      // Of a loop's states the library infers no shape: what the file says may
      // be all there is.
      dropTypes(body, /*keepInputs=*/isLoop);
      // It takes these two from the operands, which the node may leave out.
      if (isLoop && body.input_size() >= 2)
        for (auto [i, type] : {std::pair(0, ::onnx::TensorProto::INT64),
                               std::pair(1, ::onnx::TensorProto::BOOL)}) {
          auto *tensor =
              body.mutable_input(i)->mutable_type()->mutable_tensor_type();
          tensor->set_elem_type(type);
          tensor->mutable_shape();
        }
    }
    if (isCustomOp(node) ||
        !::onnx::OpSchemaRegistry::Schema(
            node.op_type(), std::numeric_limits<int>::max(), node.domain()))
      custom.insert(node.output().begin(), node.output().end());
  }
  google::protobuf::RepeatedPtrField<::onnx::ValueInfoProto> values;
  values.Swap(graph.mutable_value_info());
  for (::onnx::ValueInfoProto &value : values)
    if (custom.contains(value.name()))
      *graph.add_value_info() = std::move(value);
  for (::onnx::ValueInfoProto &output : *graph.mutable_output())
    if (!custom.contains(output.name()))
      output.clear_type();
  if (!keepInputs)
    for (::onnx::ValueInfoProto &input : *graph.mutable_input())
      input.clear_type();
}

void rwkvc::import::dropDeclaredTypes(GraphProto &graph) {
  dropTypes(graph, /*keepInputs=*/true);
}

LogicalResult rwkvc::import::compareOutputTypes(
    GraphProto &graph,
    const google::protobuf::RepeatedPtrField<::onnx::ValueInfoProto> &declared,
    Location file) {
  for (auto [output, expected] : llvm::zip(*graph.mutable_output(), declared)) {
    if (!expected.type().has_tensor_type())
      continue;
    if (!output.type().has_tensor_type()) {
      // Inference could not tell: the file is all that is known.
      *output.mutable_type() = expected.type();
      continue;
    }
    const auto &is = output.type().tensor_type();
    const auto &says = expected.type().tensor_type();
    if (says.elem_type() && is.elem_type() != says.elem_type())
      return emitError(file)
             << "output '" << output.name() << "' is declared with elements of "
             << getElementTypeName(says.elem_type()) << ", but is computed as "
             << getElementTypeName(is.elem_type());
    if (!is.has_shape() || !says.has_shape())
      continue;
    auto print = [](const ::onnx::TensorShapeProto &shape) {
      std::string text;
      for (const auto &dim : shape.dim())
        text += (text.empty() ? "" : ", ") +
                (dim.has_dim_value() ? std::to_string(dim.dim_value()) : "?");
      return "[" + text + "]";
    };
    bool equal = is.shape().dim_size() == says.shape().dim_size();
    for (int i = 0; equal && i < is.shape().dim_size(); ++i)
      equal = !is.shape().dim(i).has_dim_value() ||
              !says.shape().dim(i).has_dim_value() ||
              is.shape().dim(i).dim_value() == says.shape().dim(i).dim_value();
    if (!equal)
      emitWarning(file) << "output '" << output.name()
                        << "' is declared with shape " << print(says.shape())
                        << ", but is computed with shape " << print(is.shape())
                        << ", which holds";
  }
  return success();
}
