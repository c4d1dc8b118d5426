//===- Prepare.cpp - Brings a model's protobuf to one form ----------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Prepare.h"
#include "rwkvc/Support/Constants.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/Path.h"
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/stubs/logging.h>
#include <google/protobuf/wire_format_lite.h>
#include <queue>

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::import;
using llvm::StringRef;
using llvm::Twine;
using ::onnx::AttributeProto;
using ::onnx::GraphProto;
using ::onnx::ModelProto;
using ::onnx::NodeProto;
using ::onnx::TensorProto;

std::string rwkvc::import::describe(const NodeProto &node) {
  std::string name = node.name();
  if (name.empty() && node.output_size())
    name = node.output(0);
  return "node '" + name + "' (" + node.op_type() + ")";
}

//===----------------------------------------------------------------------===//
// Reading
//===----------------------------------------------------------------------===//

namespace {

/// The model's file as the place of external data; no file has such a name.
constexpr StringRef kModelFile("\0", 1);

/// Data of a tensor from this size on stays in the file.
constexpr int64_t kMaxParsedBytes = 1 << 16;

/// Copies a serialised model but for large raw data, which becomes external
/// data: the library would copy all of it to memory.
class RawDataRemover {
public:
  explicit RawDataRemover(StringRef model)
      : stream(model.data(), static_cast<int>(model.size())), input(&stream) {}

  /// The copy; none where this is no valid message.
  std::optional<std::string> run() {
    std::string result;
    if (!copy(Message::Model, result))
      return std::nullopt;
    return result;
  }

private:
  enum class Message { Model, Graph, Node, Attribute, Tensor };
  using Wire = google::protobuf::internal::WireFormatLite;

  /// The message in \p field of \p message , if it may have raw data.
  static std::optional<Message> getChild(Message message, int field) {
    if (message == Message::Model && field == ModelProto::kGraphFieldNumber)
      return Message::Graph;
    if (message == Message::Graph && field == GraphProto::kNodeFieldNumber)
      return Message::Node;
    if (message == Message::Graph &&
        field == GraphProto::kInitializerFieldNumber)
      return Message::Tensor;
    if (message == Message::Node && field == NodeProto::kAttributeFieldNumber)
      return Message::Attribute;
    if (message == Message::Attribute && field == AttributeProto::kGFieldNumber)
      return Message::Graph;
    if (message == Message::Attribute && field == AttributeProto::kTFieldNumber)
      return Message::Tensor;
    return std::nullopt;
  }

  bool copy(Message message, std::string &result) {
    google::protobuf::io::StringOutputStream output(&result);
    google::protobuf::io::CodedOutputStream coded(&output);
    TensorProto place;
    while (uint32_t tag = input.ReadTag()) {
      if (Wire::GetTagWireType(tag) != Wire::WIRETYPE_LENGTH_DELIMITED) {
        if (!Wire::SkipField(&input, tag, &coded))
          return false;
        continue;
      }
      int size = 0, field = Wire::GetTagFieldNumber(tag);
      if (!input.ReadVarintSizeAsInt(&size))
        return false;
      std::string contents;
      if (message == Message::Tensor && size > kMaxParsedBytes &&
          field == TensorProto::kRawDataFieldNumber) {
        place.set_data_location(TensorProto::EXTERNAL);
        auto add = [&](const char *key, std::string value) {
          auto *entry = place.add_external_data();
          entry->set_key(key);
          entry->set_value(std::move(value));
        };
        add("location", kModelFile.str());
        add("offset", std::to_string(input.CurrentPosition()));
        add("length", std::to_string(size));
        if (!input.Skip(size))
          return false;
        continue;
      }
      if (std::optional<Message> child = getChild(message, field)) {
        auto [limit, depth] = input.IncrementRecursionDepthAndPushLimit(size);
        if (depth < 0 || !copy(*child, contents) ||
            !input.DecrementRecursionDepthAndPopLimit(limit))
          return false;
      } else if (!input.ReadString(&contents, size)) {
        return false;
      }
      coded.WriteTag(tag);
      coded.WriteVarint32(static_cast<uint32_t>(contents.size()));
      coded.WriteString(contents);
    }
    // Fields of a message that follow one another are one message, and of those
    // that are there twice the last counts: the tensor may say where its data
    // is, too.
    coded.WriteString(place.SerializeAsString());
    return input.ConsumedEntireMessage();
  }

  google::protobuf::io::ArrayInputStream stream;
  google::protobuf::io::CodedInputStream input;
};

} // namespace

FailureOr<std::unique_ptr<ModelProto>>
rwkvc::import::parseModel(StringRef path, Location file, TensorReader &reader) {
  auto buffer = llvm::MemoryBuffer::getFile(path, /*IsText=*/false,
                                            /*RequiresNullTerminator=*/false);
  if (!buffer)
    return emitError(file) << "cannot read the model: "
                           << buffer.getError().message();
  size_t size = (*buffer)->getBufferSize();
  if (size == 0)
    return emitError(file) << "the model file is empty";
  if (size > std::numeric_limits<int>::max())
    return emitError(file)
           << "the model file has " << size
           << " bytes, but an ONNX file cannot exceed 2 GiB; save the weights "
              "as external data (onnx.save with save_as_external_data=True)";
  auto model = std::make_unique<ModelProto>();
  {
    google::protobuf::LogSilencer silence;
    std::optional<std::string> light =
        RawDataRemover((*buffer)->getBuffer()).run();
    if (!light || !model->ParseFromString(*light))
      return emitError(file)
             << "this is not an ONNX model, or it is damaged or cut short: its "
             << size << " bytes are no valid protobuf";
  }
  if (!model->has_graph() || !model->has_ir_version())
    return emitError(file) << "this is not an ONNX model: it has no "
                           << (model->has_graph() ? "IR version" : "graph");
  reader.addFile(kModelFile, std::move(*buffer));
  return model;
}

static void
normalizeDomains(google::protobuf::RepeatedPtrField<NodeProto> &nodes) {
  for (NodeProto &node : nodes) {
    if (node.domain() == "ai.onnx")
      node.clear_domain();
    for (AttributeProto &attribute : *node.mutable_attribute()) {
      if (attribute.has_g())
        normalizeDomains(*attribute.mutable_g()->mutable_node());
      for (GraphProto &graph : *attribute.mutable_graphs())
        normalizeDomains(*graph.mutable_node());
    }
  }
}

static void normalizeDomains(
    google::protobuf::RepeatedPtrField<::onnx::OperatorSetIdProto> &opsets) {
  for (::onnx::OperatorSetIdProto &opset : opsets)
    if (opset.domain() == "ai.onnx")
      opset.clear_domain();
}

/// The version of the default domain in \p opsets, or 0.
static int64_t
getOpset(const google::protobuf::RepeatedPtrField<::onnx::OperatorSetIdProto>
             &opsets) {
  for (const ::onnx::OperatorSetIdProto &opset : opsets)
    if (opset.domain().empty())
      return opset.version();
  return 0;
}

static LogicalResult checkOpset(int64_t version, const Twine &what,
                                Location file) {
  if (version < kOldestOpset)
    return emitError(file)
           << what << " uses ONNX operator set " << version << ", but "
           << kOldestOpset << " to " << kNewestOpset
           << " are supported; export the model anew or convert "
              "it with onnx.version_converter";
  if (version > kNewestOpset)
    return emitError(file) << what << " uses ONNX operator set " << version
                           << ", newer than the newest supported one, "
                           << kNewestOpset
                           << "; export it with opset_version=" << kNewestOpset;
  return success();
}

FailureOr<int64_t> rwkvc::import::checkVersions(ModelProto &model,
                                                Location file) {
  if (model.ir_version() > ::onnx::IR_VERSION)
    return emitError(file) << "the model has ONNX IR version "
                           << model.ir_version() << ", but versions up to "
                           << static_cast<int>(::onnx::IR_VERSION)
                           << " are supported; export it with an older onnx";
  normalizeDomains(*model.mutable_opset_import());
  normalizeDomains(*model.mutable_graph()->mutable_node());
  for (::onnx::FunctionProto &function : *model.mutable_functions()) {
    if (function.domain() == "ai.onnx")
      function.clear_domain();
    normalizeDomains(*function.mutable_opset_import());
    normalizeDomains(*function.mutable_node());
    int64_t version = getOpset(function.opset_import());
    if (version &&
        failed(checkOpset(version, "function '" + function.name() + "'", file)))
      return failure();
  }
  int64_t version = getOpset(model.opset_import());
  if (!version)
    return emitError(file) << "the model names no operator set of ONNX; "
                              "expected an opset_import of domain ''";
  if (failed(checkOpset(version, "the model", file)))
    return failure();
  return version;
}

//===----------------------------------------------------------------------===//
// Weights
//===----------------------------------------------------------------------===//

namespace {

class WeightTaker {
public:
  WeightTaker(ModelProto &model, TensorReader &reader, Weights &weights)
      : model(model), graph(*model.mutable_graph()), reader(reader),
        weights(weights) {}

  LogicalResult run();

private:
  /// Takes \p tensor as weight \p name if it is large; else makes it inline.
  FailureOr<bool> take(TensorProto &tensor, const Twine &what, StringRef name);
  void addInput(const TensorProto &tensor, const std::string &name);
  /// A new name for a tensor of a body.
  std::string makeName(const std::string &base);
  LogicalResult takeFromGraph(GraphProto &body, bool isMain);
  LogicalResult takeFromAttributes(NodeProto &node, bool inFunction);
  LogicalResult refuseSparse(const Twine &what) {
    return emitError(reader.getLoc())
           << what
           << " is a sparse tensor, which is not supported; store it "
              "densely";
  }

  ModelProto &model;
  GraphProto &graph;
  TensorReader &reader;
  Weights &weights;
  unsigned counter = 0;
};

FailureOr<bool> WeightTaker::take(TensorProto &tensor, const Twine &what,
                                  StringRef name) {
  FailureOr<int64_t> size = reader.getByteSize(tensor, what);
  if (failed(size))
    return failure();
  if (*size <= kMaxDenseBytes) {
    // Read for its checks.
    if (failed(reader.makeInline(tensor, what)) ||
        failed(reader.read(tensor, what, /*take=*/false)))
      return failure();
    return false;
  }
  FailureOr<TensorData> data = reader.read(tensor, what, /*take=*/true);
  if (failed(data))
    return failure();
  if (!weights.try_emplace(name, std::move(*data)).second)
    return emitError(reader.getLoc())
           << what << " has a name that another tensor has; names must differ";
  return true;
}

void WeightTaker::addInput(const TensorProto &tensor, const std::string &name) {
  ::onnx::ValueInfoProto *input = graph.add_input();
  input->set_name(name);
  auto *type = input->mutable_type()->mutable_tensor_type();
  type->set_elem_type(tensor.data_type());
  type->mutable_shape();
  for (int64_t dim : tensor.dims())
    type->mutable_shape()->add_dim()->set_dim_value(dim);
}

std::string WeightTaker::makeName(const std::string &base) {
  std::string name;
  do
    name = base + "#" + std::to_string(counter++);
  while (weights.count(name));
  return name;
}

LogicalResult WeightTaker::takeFromAttributes(NodeProto &node,
                                              bool inFunction) {
  for (AttributeProto &attribute : *node.mutable_attribute()) {
    std::string what =
        "attribute '" + attribute.name() + "' of " + describe(node);
    if (attribute.has_sparse_tensor() || attribute.sparse_tensors_size())
      return refuseSparse(what);
    if (attribute.has_t() &&
        failed(reader.makeInline(*attribute.mutable_t(), what)))
      return failure();
    for (TensorProto &tensor : *attribute.mutable_tensors())
      if (failed(reader.makeInline(tensor, what)))
        return failure();
    if (attribute.has_g()) {
      if (inFunction) {
        for (TensorProto &tensor :
             *attribute.mutable_g()->mutable_initializer())
          if (failed(reader.makeInline(tensor,
                                       "initializer '" + tensor.name() + "'")))
            return failure();
        for (NodeProto &nested : *attribute.mutable_g()->mutable_node())
          if (failed(takeFromAttributes(nested, true)))
            return failure();
      } else if (failed(takeFromGraph(*attribute.mutable_g(), false))) {
        return failure();
      }
    }
  }
  return success();
}

/// The value of a Constant node if it is a tensor.
TensorProto *getConstantTensor(NodeProto &node) {
  if (node.op_type() != "Constant" || !node.domain().empty() ||
      node.output_size() != 1 || node.attribute_size() != 1 ||
      !node.attribute(0).has_t())
    return nullptr;
  return node.mutable_attribute(0)->mutable_t();
}

LogicalResult WeightTaker::takeFromGraph(GraphProto &body, bool isMain) {
  for (const ::onnx::SparseTensorProto &sparse : body.sparse_initializer())
    return refuseSparse("initializer '" + sparse.values().name() + "'");
  google::protobuf::RepeatedPtrField<TensorProto> initializers;
  initializers.Swap(body.mutable_initializer());
  google::protobuf::RepeatedPtrField<NodeProto> nodes;
  nodes.Swap(body.mutable_node());
  llvm::StringSet<> names;
  auto refer = [&](const std::string &output, const std::string &weight) {
    NodeProto *identity = body.add_node();
    identity->set_op_type("Identity");
    identity->set_name(output);
    identity->add_input(weight);
    identity->add_output(output);
  };
  for (TensorProto &tensor : initializers) {
    std::string what = "initializer '" + tensor.name() + "'";
    if (tensor.name().empty() || !names.insert(tensor.name()).second)
      return emitError(reader.getLoc())
             << what
             << (tensor.name().empty() ? " has no name"
                                       : " is there more than once");
    std::string name = isMain ? tensor.name() : makeName(tensor.name());
    FailureOr<bool> taken = take(tensor, what, name);
    if (failed(taken))
      return failure();
    if (!*taken) {
      *body.add_initializer() = std::move(tensor);
      continue;
    }
    addInput(tensor, name);
    if (!isMain)
      refer(tensor.name(), name);
  }
  for (NodeProto &node : nodes) {
    if (TensorProto *tensor = getConstantTensor(node)) {
      std::string output = node.output(0);
      // A weight of the main graph keeps its name.
      std::string name = isMain ? output : makeName(output);
      FailureOr<bool> taken =
          take(*tensor, "the value of " + describe(node), name);
      if (failed(taken))
        return failure();
      if (*taken) {
        addInput(*tensor, name);
        if (!isMain)
          refer(output, name);
        continue;
      }
    } else if (failed(takeFromAttributes(node, false))) {
      return failure();
    }
    *body.add_node() = std::move(node);
  }
  return success();
}

LogicalResult WeightTaker::run() {
  for (::onnx::FunctionProto &function : *model.mutable_functions())
    for (NodeProto &node : *function.mutable_node())
      if (failed(takeFromAttributes(node, true)))
        return failure();
  // A graph input with an initializer is a constant.
  llvm::StringSet<> constants;
  for (const TensorProto &tensor : graph.initializer())
    constants.insert(tensor.name());
  google::protobuf::RepeatedPtrField<::onnx::ValueInfoProto> inputs;
  inputs.Swap(graph.mutable_input());
  for (::onnx::ValueInfoProto &input : inputs)
    if (!constants.contains(input.name()))
      *graph.add_input() = std::move(input);
  return takeFromGraph(graph, true);
}

} // namespace

LogicalResult rwkvc::import::takeWeights(ModelProto &model,
                                         TensorReader &reader,
                                         Weights &weights) {
  return WeightTaker(model, reader, weights).run();
}

//===----------------------------------------------------------------------===//
// Order
//===----------------------------------------------------------------------===//

static void collectUses(const NodeProto &node, llvm::StringSet<> &inner,
                        llvm::SmallVectorImpl<StringRef> &uses) {
  for (const std::string &input : node.input())
    if (!input.empty() && !inner.contains(input))
      uses.push_back(input);
  auto collectGraph = [&](const GraphProto &graph) {
    for (const ::onnx::ValueInfoProto &input : graph.input())
      inner.insert(input.name());
    for (const TensorProto &tensor : graph.initializer())
      inner.insert(tensor.name());
    for (const NodeProto &nested : graph.node())
      for (const std::string &output : nested.output())
        inner.insert(output);
    for (const NodeProto &nested : graph.node())
      collectUses(nested, inner, uses);
    for (const ::onnx::ValueInfoProto &output : graph.output())
      if (!inner.contains(output.name()))
        uses.push_back(output.name());
  };
  for (const AttributeProto &attribute : node.attribute()) {
    if (attribute.has_g())
      collectGraph(attribute.g());
    for (const GraphProto &graph : attribute.graphs())
      collectGraph(graph);
  }
}

llvm::SmallVector<StringRef>
rwkvc::import::getUsedNames(const NodeProto &node) {
  llvm::SmallVector<StringRef> uses;
  llvm::StringSet<> inner;
  collectUses(node, inner, uses);
  return uses;
}

LogicalResult rwkvc::import::sortNodes(GraphProto &graph, Location file) {
  int count = graph.node_size();
  llvm::StringMap<int> producers;
  for (int i = 0; i < count; ++i)
    for (const std::string &output : graph.node(i).output()) {
      if (output.empty())
        continue;
      auto [it, isNew] = producers.try_emplace(output, i);
      if (!isNew)
        return emitError(file)
               << "value '" << output << "' is computed by "
               << describe(graph.node(it->second)) << " and by "
               << describe(graph.node(i)) << "; names must differ";
    }
  std::vector<llvm::SmallVector<int, 2>> users(count);
  std::vector<int> missing(count, 0);
  bool sorted = true;
  llvm::StringSet<> given;
  for (const ::onnx::ValueInfoProto &input : graph.input())
    given.insert(input.name());
  for (const TensorProto &tensor : graph.initializer())
    given.insert(tensor.name());
  for (int i = 0; i < count; ++i)
    for (StringRef name : getUsedNames(graph.node(i))) {
      if (auto it = producers.find(name); it != producers.end()) {
        users[it->second].push_back(i);
        ++missing[i];
        sorted &= it->second < i;
      } else if (!given.contains(name)) {
        return emitError(file)
               << describe(graph.node(i)) << " uses value '" << name
               << "', which is no input or initializer of the graph and "
                  "computed by no node";
      }
    }
  if (sorted)
    return success();
  // The first in the file goes first.
  std::priority_queue<int, std::vector<int>, std::greater<>> ready;
  for (int i = 0; i < count; ++i)
    if (!missing[i])
      ready.push(i);
  std::vector<int> order;
  for (; !ready.empty();) {
    int next = ready.top();
    ready.pop();
    order.push_back(next);
    for (int user : users[next])
      if (!--missing[user])
        ready.push(user);
  }
  if (static_cast<int>(order.size()) < count) {
    // From a node that waits, back to what it waits for, until one comes again.
    int at = 0;
    while (!missing[at])
      ++at;
    llvm::MapVector<int, int> seen;
    while (!seen.count(at)) {
      seen[at] = 0;
      for (StringRef name : getUsedNames(graph.node(at)))
        if (auto it = producers.find(name);
            it != producers.end() && missing[it->second]) {
          at = it->second;
          break;
        }
    }
    return emitError(file) << "the graph has a cycle through "
                           << describe(graph.node(at))
                           << "; expected that nodes depend on earlier ones";
  }
  google::protobuf::RepeatedPtrField<NodeProto> nodes;
  nodes.Swap(graph.mutable_node());
  for (int i : order)
    *graph.add_node() = std::move(*nodes.Mutable(i));
  return success();
}

//===----------------------------------------------------------------------===//
// Dimensions
//===----------------------------------------------------------------------===//

LogicalResult rwkvc::import::bindDimensions(ModelProto &model,
                                            const Weights &weights,
                                            const ImportOptions &options,
                                            ImportReport &report,
                                            Location file) {
  GraphProto &graph = *model.mutable_graph();
  llvm::MapVector<std::string, int64_t, llvm::StringMap<unsigned>> sizes;
  for (const auto &[name, size] : options.dims)
    if (size < 1)
      return emitError(file) << "dimension '" << name << "' is given the size "
                             << size << "; expected at least 1";
  for (::onnx::ValueInfoProto &input : *graph.mutable_input()) {
    if (weights.count(input.name()) || !input.type().has_tensor_type())
      continue;
    auto *shape = input.mutable_type()->mutable_tensor_type()->mutable_shape();
    for (int axis = 0; axis < shape->dim_size(); ++axis) {
      auto *dim = shape->mutable_dim(axis);
      if (dim->has_dim_value()) {
        if (dim->dim_value() < 0)
          return emitError(file)
                 << "input '" << input.name() << "' has a negative dimension, "
                 << dim->dim_value();
        continue;
      }
      if (!dim->has_dim_param() || dim->dim_param().empty())
        dim->set_dim_param(input.name() + "." + std::to_string(axis));
      auto given = options.dims.find(dim->dim_param());
      int64_t size = given == options.dims.end() ? 1 : given->second;
      const std::string &name = dim->dim_param();
      if (sizes.insert({name, size}).second && given == options.dims.end())
        report.defaultedDims.emplace_back(name, size);
      dim->set_dim_value(size);
    }
  }
  for (const auto &[name, size] : options.dims) {
    if (sizes.contains(name.str()))
      continue;
    std::string known;
    for (const auto &[other, unused] : sizes)
      known += (known.empty() ? "'" : ", '") + other + "'";
    return emitError(file) << "the model's inputs have no symbolic dimension '"
                           << name << "'; they have "
                           << (known.empty() ? "none" : known);
  }
  // Elsewhere a symbol may stand for anything that inference finds out.
  auto bind = [&](::onnx::ValueInfoProto &value) {
    if (!value.type().has_tensor_type() ||
        !value.type().tensor_type().has_shape())
      return;
    for (auto &dim : *value.mutable_type()
                          ->mutable_tensor_type()
                          ->mutable_shape()
                          ->mutable_dim()) {
      if (dim.has_dim_value() && dim.dim_value() >= 0)
        continue;
      auto it = sizes.find(dim.dim_param());
      if (it == sizes.end())
        dim.Clear();
      else
        dim.set_dim_value(it->second);
    }
  };
  for (::onnx::ValueInfoProto &value : *graph.mutable_output())
    bind(value);
  for (::onnx::ValueInfoProto &value : *graph.mutable_value_info())
    bind(value);
  return success();
}
