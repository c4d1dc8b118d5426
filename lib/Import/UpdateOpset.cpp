//===- UpdateOpset.cpp - Nodes of older operator sets ---------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Node by node, because the library's version converter copies the whole model
// with its weights and gives up on all of it where one node has no adapter.
// The table holds every operator with a typed op whose operands, attributes or
// meaning changed since operator set 11; test/Import/schema-changes.test
// compares it with the schemas.
//
//===----------------------------------------------------------------------===//

#include "Prepare.h"
#include "llvm/ADT/STLExtras.h"

using namespace rwkvc::import;
using ::onnx::AttributeProto;
using ::onnx::NodeProto;
using ::onnx::TensorProto;
using Nodes = google::protobuf::RepeatedPtrField<NodeProto>;

namespace {

class OpsetUpdater {
public:
  explicit OpsetUpdater(int64_t from) : from(from) {}
  void run(Nodes &list);

private:
  using Update = void (OpsetUpdater::*)(NodeProto &);
  /// An operator, the first operator set with its new form, how to reach it.
  struct Entry {
    const char *opType;
    int64_t changedIn;
    Update update;
  };
  static const Entry kTable[];

  /// Adds a node in front of the one being updated. Returns its output's name.
  std::string add(const char *opType, llvm::ArrayRef<std::string> inputs,
                  llvm::function_ref<void(NodeProto &)> configure = nullptr);
  std::string addInts(llvm::ArrayRef<int64_t> values);
  AttributeProto *find(NodeProto &node, llvm::StringRef name);
  void erase(NodeProto &node, llvm::StringRef name);
  static void setInt(NodeProto &node, const char *name, int64_t value);

  void attributeToOperand(NodeProto &node, const char *name);
  void axesToOperand(NodeProto &node) { attributeToOperand(node, "axes"); }
  void splitToOperand(NodeProto &node) { attributeToOperand(node, "split"); }
  void countOutputs(NodeProto &node);
  void dropRatio(NodeProto &node) { erase(node, "ratio"); }
  void softmax(NodeProto &node);
  void batchNormalization(NodeProto &node);
  void groupNormalization(NodeProto &node);

  int64_t from;
  Nodes *result = nullptr;
  /// Prefix of new names and how many there are.
  std::string base;
  unsigned counter = 0;
};

const OpsetUpdater::Entry OpsetUpdater::kTable[] = {
    {"Dropout", 12, &OpsetUpdater::dropRatio},
    {"Squeeze", 13, &OpsetUpdater::axesToOperand},
    {"Unsqueeze", 13, &OpsetUpdater::axesToOperand},
    {"ReduceSum", 13, &OpsetUpdater::axesToOperand},
    {"ReduceL1", 18, &OpsetUpdater::axesToOperand},
    {"ReduceL2", 18, &OpsetUpdater::axesToOperand},
    {"ReduceLogSum", 18, &OpsetUpdater::axesToOperand},
    {"ReduceLogSumExp", 18, &OpsetUpdater::axesToOperand},
    {"ReduceMax", 18, &OpsetUpdater::axesToOperand},
    {"ReduceMean", 18, &OpsetUpdater::axesToOperand},
    {"ReduceMin", 18, &OpsetUpdater::axesToOperand},
    {"ReduceProd", 18, &OpsetUpdater::axesToOperand},
    {"ReduceSumSquare", 18, &OpsetUpdater::axesToOperand},
    {"Split", 13, &OpsetUpdater::splitToOperand},
    {"Split", 18, &OpsetUpdater::countOutputs},
    {"Softmax", 13, &OpsetUpdater::softmax},
    {"LogSoftmax", 13, &OpsetUpdater::softmax},
    {"BatchNormalization", 14, &OpsetUpdater::batchNormalization},
    {"GroupNormalization", 21, &OpsetUpdater::groupNormalization},
};

AttributeProto *OpsetUpdater::find(NodeProto &node, llvm::StringRef name) {
  for (AttributeProto &attribute : *node.mutable_attribute())
    if (attribute.name() == name)
      return &attribute;
  return nullptr;
}

void OpsetUpdater::erase(NodeProto &node, llvm::StringRef name) {
  auto *attributes = node.mutable_attribute();
  for (int i = attributes->size() - 1; i >= 0; --i)
    if (attributes->Get(i).name() == name)
      attributes->DeleteSubrange(i, 1);
}

void OpsetUpdater::setInt(NodeProto &node, const char *name, int64_t value) {
  AttributeProto *attribute = node.add_attribute();
  attribute->set_name(name);
  attribute->set_type(AttributeProto::INT);
  attribute->set_i(value);
}

std::string OpsetUpdater::add(const char *opType,
                              llvm::ArrayRef<std::string> inputs,
                              llvm::function_ref<void(NodeProto &)> configure) {
  NodeProto *node = result->Add();
  node->set_op_type(opType);
  std::string name = base + ".opset." + std::to_string(counter++);
  node->set_name(name);
  for (const std::string &input : inputs)
    node->add_input(input);
  node->add_output(name);
  if (configure)
    configure(*node);
  return name;
}

std::string OpsetUpdater::addInts(llvm::ArrayRef<int64_t> values) {
  return add("Constant", {}, [&](NodeProto &node) {
    AttributeProto *attribute = node.add_attribute();
    attribute->set_name("value");
    attribute->set_type(AttributeProto::TENSOR);
    TensorProto *tensor = attribute->mutable_t();
    tensor->set_data_type(TensorProto::INT64);
    tensor->add_dims(static_cast<int64_t>(values.size()));
    tensor->mutable_int64_data()->Add(values.begin(), values.end());
  });
}

void OpsetUpdater::attributeToOperand(NodeProto &node, const char *name) {
  AttributeProto *attribute = find(node, name);
  if (!attribute || node.input_size() != 1)
    return;
  if (!attribute->ref_attr_name().empty()) {
    // In a function: whatever its caller gives.
    AttributeProto reference = *attribute;
    reference.set_name("value_ints");
    node.add_input(add("Constant", {}, [&](NodeProto &constant) {
      *constant.add_attribute() = std::move(reference);
    }));
  } else if (attribute->ints_size() ||
             llvm::StringRef(node.op_type()).ends_with("queeze")) {
    // No axes of a reduction mean all, as does no operand.
    node.add_input(addInts(
        llvm::ArrayRef(attribute->ints().data(), attribute->ints_size())));
  }
  erase(node, name);
}

void OpsetUpdater::countOutputs(NodeProto &node) {
  if (node.input_size() < 2 || node.input(1).empty())
    setInt(node, "num_outputs", node.output_size());
}

/// Before 13: over all dimensions from `axis` on, which is 1 unless given.
void OpsetUpdater::softmax(NodeProto &node) {
  if (node.input_size() != 1 || node.output_size() != 1)
    return; // the checker refuses it
  AttributeProto *given = find(node, "axis");
  if (given && (given->i() == -1 || !given->ref_attr_name().empty()))
    return;
  int64_t axis = given ? given->i() : 1;
  std::string data = node.input(0);
  std::string matrix = add("Flatten", {data}, [&](NodeProto &flatten) {
    setInt(flatten, "axis", axis);
  });
  std::string shape = add("Shape", {data});
  std::string normal =
      add(node.op_type().c_str(), {matrix},
          [&](NodeProto &softmax) { setInt(softmax, "axis", -1); });
  node.set_op_type("Reshape");
  node.clear_attribute();
  node.set_input(0, normal);
  node.add_input(shape);
}

/// Before 14 further outputs meant training.
void OpsetUpdater::batchNormalization(NodeProto &node) {
  bool training = false;
  for (int i = 1; i < node.output_size(); ++i)
    training |= !node.output(i).empty();
  if (training)
    setInt(node, "training_mode", 1);
  if (node.output_size() > 3)
    node.mutable_output()->DeleteSubrange(3, node.output_size() - 3);
}

/// Before 21 scale and bias were per group, now they are per channel.
void OpsetUpdater::groupNormalization(NodeProto &node) {
  AttributeProto *groups = find(node, "num_groups");
  if (!groups || node.input_size() != 3)
    return;
  std::string channels = add("Shape", {node.input(0)}, [](NodeProto &shape) {
    setInt(shape, "start", 1);
    setInt(shape, "end", 2);
  });
  std::string size = add("Div", {channels, addInts({groups->i()})});
  std::string repeat =
      add("Concat", {addInts({1}), size},
          [](NodeProto &concat) { setInt(concat, "axis", 0); });
  for (int i : {1, 2}) {
    std::string column = add("Unsqueeze", {node.input(i), addInts({1})});
    std::string matrix = add("Expand", {column, repeat});
    node.set_input(i, add("Reshape", {matrix, addInts({-1})}));
  }
}

void OpsetUpdater::run(Nodes &list) {
  Nodes nodes;
  nodes.Swap(&list);
  Nodes *outer = result;
  for (NodeProto &node : nodes) {
    for (AttributeProto &attribute : *node.mutable_attribute()) {
      if (attribute.has_g())
        run(*attribute.mutable_g()->mutable_node());
      for (::onnx::GraphProto &graph : *attribute.mutable_graphs())
        run(*graph.mutable_node());
    }
    result = &list;
    base = node.output_size() ? node.output(0) : node.name();
    if (node.domain().empty())
      for (const Entry &entry : kTable)
        if (from < entry.changedIn && node.op_type() == entry.opType)
          (this->*entry.update)(node);
    *list.Add() = std::move(node);
  }
  result = outer;
}

} // namespace

void rwkvc::import::updateOpset(::onnx::ModelProto &model, int64_t from) {
  auto setNewest =
      [](google::protobuf::RepeatedPtrField<::onnx::OperatorSetIdProto>
             &opsets) {
        int64_t old = 0;
        for (::onnx::OperatorSetIdProto &opset : opsets)
          if (opset.domain().empty()) {
            old = opset.version();
            opset.set_version(kNewestOpset);
          }
        return old;
      };
  for (::onnx::FunctionProto &function : *model.mutable_functions()) {
    int64_t version = setNewest(*function.mutable_opset_import());
    OpsetUpdater(version ? version : from).run(*function.mutable_node());
  }
  setNewest(*model.mutable_opset_import());
  OpsetUpdater(from).run(*model.mutable_graph()->mutable_node());
}
