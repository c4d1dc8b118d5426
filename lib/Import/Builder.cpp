//===- Builder.cpp - Builds the onnx dialect from a protobuf --------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Builder.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Builders.h"
#include "onnx/defs/schema.h"
#include "rwkvc/Dialect/ONNX/IR/ONNX.h"
#include "llvm/ADT/StringSet.h"

using namespace mlir;
using namespace rwkvc::import;
using llvm::StringRef;
using llvm::Twine;
using ::onnx::AttributeProto;
using ::onnx::GraphProto;
using ::onnx::NodeProto;
using ::onnx::OpSchema;
using ::onnx::TensorProto;
using ::onnx::TypeProto;

namespace {

/// What is known of the values of one graph.
struct Scope {
  llvm::StringMap<Value> values;
  llvm::StringMap<const TypeProto *> types;
};

class ModuleBuilder {
public:
  ModuleBuilder(::onnx::ModelProto &model, Weights &weights,
                TensorReader &reader)
      : model(model), weights(weights), reader(reader), file(reader.getLoc()),
        builder(reader.getLoc().getContext()) {}

  OwningOpRef<ModuleOp> run();

private:
  InFlightDiagnostic error() { return emitError(file); }
  /// The type of a value, null after an error. A sequence has none of its own
  /// in the dialect: where it is allowed, it is an unranked tensor of what it
  /// holds, until onnx-lower-sequences. Of what only moves elements, integers
  /// of 4 bits are in a byte each, as those of constants.
  Type convertType(const TypeProto &type, const Twine &what,
                   bool allowSequence = false, bool isMoved = false);
  Value lookup(StringRef name);
  /// Input \p index of \p node, null after an error.
  Value getOperand(const NodeProto &node, int index);
  Value getNone();
  Value addConstant(const TensorData &data, StringRef name);
  Location getLoc(const NodeProto &node);

  void enter(const GraphProto &graph);
  /// Builds what the outputs of \p graph need.
  FailureOr<SmallVector<Value>> buildBody(GraphProto &graph);
  LogicalResult buildNode(NodeProto &node);
  LogicalResult buildConstant(NodeProto &node);
  FailureOr<Attribute> convertAttribute(AttributeProto &attribute,
                                        const NodeProto &node);
  LogicalResult buildTypedNode(NodeProto &node, const OpSchema &schema);
  LogicalResult buildCustomNode(NodeProto &node);
  LogicalResult buildRegion(Operation *op, unsigned index, GraphProto &graph,
                            const NodeProto &node);
  LogicalResult checkOperandTypes(const NodeProto &node, const OpSchema &schema,
                                  ValueRange operands);
  SmallVector<Type> getBodyTypes(Operation *op, size_t count);
  void refineStates(rwkvc::onnx::LoopOp loop);
  LogicalResult bindResults(const NodeProto &node, Operation *op);

  ::onnx::ModelProto &model;
  Weights &weights;
  TensorReader &reader;
  Location file;
  OpBuilder builder;
  /// Innermost last.
  std::vector<Scope> scopes;
  Block *entry = nullptr;
  /// The last constant at the start of the function.
  Operation *lastConstant = nullptr;
  Value none;
};

Type ModuleBuilder::convertType(const TypeProto &type, const Twine &what,
                                bool allowSequence, bool isMoved) {
  if (allowSequence && type.has_sequence_type() &&
      type.sequence_type().elem_type().has_tensor_type())
    if (Type element = getElementType(
            type.sequence_type().elem_type().tensor_type().elem_type(),
            file.getContext()))
      return UnrankedTensorType::get(element);
  if (!type.has_tensor_type()) {
    error() << what << " is no tensor; only models of tensors are supported";
    return Type();
  }
  const TypeProto::Tensor &tensor = type.tensor_type();
  Type element = isMoved
                     ? getConstantType(tensor.elem_type(), file.getContext())
                     : getElementType(tensor.elem_type(), file.getContext());
  if (!element) {
    error() << what << " has element type "
            << getElementTypeName(tensor.elem_type())
            << ", which is not supported; expected float, float16, bfloat16, "
               "double, bool or an integer of 8 to 64 bits";
    return Type();
  }
  if (!tensor.has_shape())
    return UnrankedTensorType::get(element);
  SmallVector<int64_t> shape;
  for (const auto &dim : tensor.shape().dim())
    shape.push_back(dim.has_dim_value() && dim.dim_value() >= 0
                        ? dim.dim_value()
                        : ShapedType::kDynamic);
  return RankedTensorType::get(shape, element);
}

Location ModuleBuilder::getLoc(const NodeProto &node) {
  std::string name = node.name();
  if (name.empty() && node.output_size())
    name = node.output(0);
  return NameLoc::get(builder.getStringAttr(name), file);
}

Value ModuleBuilder::getNone() {
  if (!none) {
    OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPointToStart(entry);
    none = rwkvc::onnx::NoValueOp::create(builder, file, builder.getNoneType());
    if (!lastConstant)
      lastConstant = none.getDefiningOp();
  }
  return none;
}

/// A constant at the start of the function, where every body sees it.
Value ModuleBuilder::addConstant(const TensorData &data, StringRef name) {
  OpBuilder::InsertionGuard guard(builder);
  if (lastConstant)
    builder.setInsertionPointAfter(lastConstant);
  else
    builder.setInsertionPointToStart(entry);
  auto constant = rwkvc::onnx::ConstantOp::create(
      builder, NameLoc::get(builder.getStringAttr(name), file), data.type,
      getAttribute(data, name));
  constant->setAttr(rwkvc::onnx::kNodeNameAttr, builder.getStringAttr(name));
  lastConstant = constant;
  return constant;
}

Value ModuleBuilder::lookup(StringRef name) {
  for (Scope &scope : llvm::reverse(scopes))
    if (auto it = scope.values.find(name); it != scope.values.end())
      return it->second;
  if (auto it = weights.find(name); it != weights.end())
    return scopes.front().values[name] = addConstant(it->second, name);
  return Value();
}

Value ModuleBuilder::getOperand(const NodeProto &node, int index) {
  if (index >= node.input_size() || node.input(index).empty())
    return getNone();
  Value value = lookup(node.input(index));
  if (!value)
    error() << "input '" << node.input(index) << "' of " << describe(node)
            << " is not computed before it";
  return value;
}

void ModuleBuilder::enter(const GraphProto &graph) {
  Scope &scope = scopes.emplace_back();
  for (const auto *list :
       {&graph.value_info(), &graph.input(), &graph.output()})
    for (const ::onnx::ValueInfoProto &value : *list)
      if (value.type().value_case() != TypeProto::VALUE_NOT_SET)
        scope.types[value.name()] = &value.type();
}

FailureOr<SmallVector<Value>> ModuleBuilder::buildBody(GraphProto &graph) {
  // Backwards from the outputs: nodes come after what they use.
  llvm::StringSet<> needed;
  for (const ::onnx::ValueInfoProto &output : graph.output())
    needed.insert(output.name());
  llvm::BitVector live(graph.node_size());
  for (int i = graph.node_size() - 1; i >= 0; --i) {
    const NodeProto &node = graph.node(i);
    if (llvm::none_of(node.output(), [&](const std::string &output) {
          return needed.contains(output);
        }))
      continue;
    live.set(i);
    for (StringRef name : getUsedNames(node))
      needed.insert(name);
  }
  for (TensorProto &tensor : *graph.mutable_initializer()) {
    if (!needed.contains(tensor.name()))
      continue;
    FailureOr<TensorData> data = reader.read(
        tensor, "initializer '" + tensor.name() + "'", /*take=*/false);
    if (failed(data))
      return failure();
    scopes.back().values[tensor.name()] = addConstant(*data, tensor.name());
  }
  for (unsigned i : live.set_bits())
    if (failed(buildNode(*graph.mutable_node(i))))
      return failure();
  SmallVector<Value> results;
  for (const ::onnx::ValueInfoProto &output : graph.output()) {
    Value value = lookup(output.name());
    if (!value)
      return error() << "output '" << output.name()
                     << "' is not computed by any node";
    results.push_back(value);
  }
  return results;
}

LogicalResult ModuleBuilder::buildConstant(NodeProto &node) {
  AttributeProto *attribute = nullptr;
  for (AttributeProto &candidate : *node.mutable_attribute())
    if (StringRef(candidate.name()).starts_with("value") ||
        candidate.name() == "sparse_value")
      attribute = &candidate;
  std::string what = "the value of " + describe(node);
  if (!attribute || node.output_size() != 1)
    return error() << what << " is missing";
  TensorProto tensor;
  StringRef kind = attribute->name();
  if (kind == "value") {
    tensor = attribute->t();
  } else if (kind == "value_float" || kind == "value_floats") {
    tensor.set_data_type(TensorProto::FLOAT);
    if (kind == "value_float") {
      tensor.add_float_data(attribute->f());
    } else {
      tensor.add_dims(attribute->floats_size());
      *tensor.mutable_float_data() = attribute->floats();
    }
  } else if (kind == "value_int" || kind == "value_ints") {
    tensor.set_data_type(TensorProto::INT64);
    if (kind == "value_int") {
      tensor.add_int64_data(attribute->i());
    } else {
      tensor.add_dims(attribute->ints_size());
      *tensor.mutable_int64_data() = attribute->ints();
    }
  } else {
    return error() << what << " is given as '" << kind
                   << "', which is not supported; expected value, value_float, "
                      "value_floats, value_int or value_ints";
  }
  FailureOr<TensorData> data = reader.read(tensor, what, /*take=*/true);
  if (failed(data))
    return failure();
  std::string name = node.name().empty() ? node.output(0) : node.name();
  auto constant = rwkvc::onnx::ConstantOp::create(
      builder, getLoc(node), data->type, getAttribute(*data, node.output(0)));
  constant->setAttr(rwkvc::onnx::kNodeNameAttr, builder.getStringAttr(name));
  scopes.back().values[node.output(0)] = constant;
  return success();
}

FailureOr<Attribute> ModuleBuilder::convertAttribute(AttributeProto &attribute,
                                                     const NodeProto &node) {
  std::string what =
      "attribute '" + attribute.name() + "' of " + describe(node);
  auto strings = [&] {
    SmallVector<Attribute> values;
    for (const std::string &value : attribute.strings())
      values.push_back(builder.getStringAttr(value));
    return builder.getArrayAttr(values);
  };
  if (!attribute.ref_attr_name().empty())
    return error() << what << " refers to attribute '"
                   << attribute.ref_attr_name()
                   << "' of a function, but stands in none";
  switch (attribute.type()) {
  case AttributeProto::INT:
    return Attribute(builder.getI64IntegerAttr(attribute.i()));
  case AttributeProto::FLOAT:
    return Attribute(builder.getF32FloatAttr(attribute.f()));
  case AttributeProto::STRING:
    return Attribute(builder.getStringAttr(attribute.s()));
  case AttributeProto::INTS:
    return Attribute(builder.getDenseI64ArrayAttr(
        llvm::ArrayRef(attribute.ints().data(), attribute.ints_size())));
  case AttributeProto::FLOATS:
    return Attribute(builder.getDenseF32ArrayAttr(
        llvm::ArrayRef(attribute.floats().data(), attribute.floats_size())));
  case AttributeProto::STRINGS:
    return Attribute(strings());
  case AttributeProto::TENSOR: {
    FailureOr<TensorData> data =
        reader.read(*attribute.mutable_t(), what, /*take=*/true);
    if (failed(data))
      return failure();
    return Attribute(getAttribute(*data, node.name() + "." + attribute.name()));
  }
  default:
    return error() << what << " is of a kind that is not supported: "
                   << AttributeProto::AttributeType_Name(attribute.type());
  }
}

/// Types of the arguments of a body of \p op, by what the op is given.
SmallVector<Type> ModuleBuilder::getBodyTypes(Operation *op, size_t count) {
  SmallVector<Type> types(count);
  auto fill = [&](size_t at, Type type) {
    if (at < count)
      types[at] = type;
  };
  if (auto scan = dyn_cast<rwkvc::onnx::ScanOp>(op)) {
    ValueRange operands = scan.getInitialStateAndScanInputs();
    int64_t scanned = scan.getNumScanInputs();
    int64_t states = static_cast<int64_t>(operands.size()) - scanned;
    for (auto [i, operand] : llvm::enumerate(operands)) {
      int64_t which = static_cast<int64_t>(i) - states;
      auto tensor = dyn_cast<RankedTensorType>(operand.getType());
      if (which < 0) {
        fill(i, operand.getType());
      } else if (tensor) {
        auto axis = rwkvc::onnx::getInputAxis(scan, which, tensor.getRank());
        if (!axis)
          continue;
        SmallVector<int64_t> shape(tensor.getShape());
        shape.erase(shape.begin() + *axis);
        fill(i, RankedTensorType::get(shape, tensor.getElementType()));
      }
    }
  } else if (auto loop = dyn_cast<rwkvc::onnx::LoopOp>(op)) {
    fill(0, RankedTensorType::get({}, builder.getI64Type()));
    fill(1, RankedTensorType::get({}, builder.getI1Type()));
    for (auto [i, operand] : llvm::enumerate(loop.getVInitial()))
      fill(i + 2, operand.getType());
  }
  return types;
}

LogicalResult ModuleBuilder::buildRegion(Operation *op, unsigned index,
                                         GraphProto &graph,
                                         const NodeProto &node) {
  OpBuilder::InsertionGuard guard(builder);
  enter(graph);
  Block *block = builder.createBlock(&op->getRegion(index));
  SmallVector<Type> given = getBodyTypes(op, graph.input_size());
  for (auto [input, type] : llvm::zip(graph.input(), given)) {
    Type declared;
    if (input.type().has_tensor_type() &&
        input.type().tensor_type().elem_type()) {
      declared =
          convertType(input.type(), "input '" + input.name() +
                                        "' of the body of " + describe(node));
      if (!declared)
        return failure();
    }
    auto isStatic = [](Type t) {
      auto tensor = dyn_cast_if_present<RankedTensorType>(t);
      return tensor && tensor.hasStaticShape();
    };
    if (!declared || (type && !isStatic(declared)))
      declared = type;
    if (!declared)
      return error() << "input '" << input.name() << "' of the body of "
                     << describe(node) << " has no known type";
    scopes.back().values[input.name()] = block->addArgument(declared, file);
  }
  builder.setInsertionPointToEnd(block);
  FailureOr<SmallVector<Value>> results = buildBody(graph);
  if (failed(results))
    return failure();
  builder.setInsertionPointToEnd(block);
  rwkvc::onnx::YieldOp::create(builder, op->getLoc(), *results);
  scopes.pop_back();
  return success();
}

/// Refuses operands of different element types where \p schema wants one type.
LogicalResult ModuleBuilder::checkOperandTypes(const NodeProto &node,
                                               const OpSchema &schema,
                                               ValueRange operands) {
  llvm::StringMap<std::pair<int, Type>> types;
  for (auto [i, operand] : llvm::enumerate(operands)) {
    auto type = dyn_cast<TensorType>(operand.getType());
    size_t formal = std::min(i, schema.inputs().size() - 1);
    if (!type || !schema.inputs()[formal].GetIsHomogeneous())
      continue;
    auto [first, index] = std::pair(type.getElementType(), static_cast<int>(i));
    auto [it, isNew] =
        types.try_emplace(schema.inputs()[formal].GetTypeStr(), index, first);
    if (!isNew && it->second.second != first)
      return error() << "inputs '" << node.input(it->second.first) << "' and '"
                     << node.input(index) << "' of " << describe(node)
                     << " have elements of different types, "
                     << it->second.second << " and " << first
                     << "; expected one type";
  }
  return success();
}

/// Whether \p node gives elements of its operands and computes nothing, so that
/// it does not matter how many bits of a byte they take.
static bool onlyMoves(const NodeProto &node) {
  return llvm::is_contained({"Concat", "Expand", "Flatten", "Gather",
                             "Identity", "Reshape", "Slice", "Split", "Squeeze",
                             "Transpose", "Unsqueeze"},
                            node.op_type());
}

LogicalResult ModuleBuilder::buildTypedNode(NodeProto &node,
                                            const OpSchema &schema) {
  OperationState state(getLoc(node), ("onnx." + node.op_type()));
  bool variadicInput = !schema.inputs().empty() &&
                       schema.inputs().back().GetOption() == OpSchema::Variadic;
  int fixed = static_cast<int>(schema.inputs().size()) - variadicInput;
  for (int i = 0; i < std::max(fixed, node.input_size()); ++i) {
    Value value = getOperand(node, i);
    if (!value)
      return failure();
    if (auto custom = value.getDefiningOp<rwkvc::onnx::CustomOp>();
        custom && isa<NoneType>(value.getType()))
      return error() << "input '" << node.input(i) << "' of " << describe(node)
                     << " has no known type, because operator '"
                     << custom.getOpType() << "' of domain '"
                     << custom.getDomain()
                     << "' is unknown; add its type to the value_info of the "
                        "graph, or describe the operator by --custom-ops if it "
                        "computes a WKV recurrence";
    state.addOperands(value);
  }
  if (failed(checkOperandTypes(node, schema, state.operands)))
    return failure();
  bool variadicOutput =
      !schema.outputs().empty() &&
      schema.outputs().back().GetOption() == OpSchema::Variadic;
  int results = static_cast<int>(schema.outputs().size()) - variadicOutput;
  for (int i = 0; i < std::max(results, node.output_size()); ++i) {
    StringRef name = i < node.output_size() ? StringRef(node.output(i)) : "";
    auto it = scopes.back().types.find(name);
    if (it == scopes.back().types.end()) {
      // Left out, or the library could not tell.
      if (!name.empty())
        return error() << "the type of output '" << name << "' of "
                       << describe(node)
                       << " cannot be inferred: " << explainInference(model);
      state.addTypes(builder.getNoneType());
      continue;
    }
    Type type = convertType(*it->second,
                            "output '" + Twine(name) + "' of " + describe(node),
                            /*allowSequence=*/node.op_type() == "Loop",
                            /*isMoved=*/onlyMoves(node));
    if (!type)
      return failure();
    state.addTypes(type);
  }
  std::vector<std::pair<std::string, GraphProto *>> graphs;
  for (AttributeProto &attribute : *node.mutable_attribute()) {
    auto known = schema.attributes().find(attribute.name());
    if (known == schema.attributes().end())
      continue;
    if (attribute.has_g()) {
      graphs.emplace_back(attribute.name(), attribute.mutable_g());
      continue;
    }
    FailureOr<Attribute> converted = convertAttribute(attribute, node);
    if (failed(converted))
      return failure();
    state.addAttribute(attribute.name(), *converted);
  }
  // The dialect orders regions by the names of their attributes.
  llvm::sort(graphs);
  for (size_t i = 0; i < graphs.size(); ++i)
    state.addRegion();
  state.addAttribute(rwkvc::onnx::kNodeNameAttr,
                     cast<NameLoc>(state.location).getName());
  Operation *op = builder.create(state);
  for (auto [index, graph] : llvm::enumerate(graphs))
    if (failed(buildRegion(op, index, *graph.second, node)))
      return failure();
  if (auto loop = dyn_cast<rwkvc::onnx::LoopOp>(op))
    refineStates(loop);
  return bindResults(node, op);
}

/// Gives the final states of a loop the types of the initial ones, unless the
/// body is known to change them. Lowering refuses bodies that do.
void ModuleBuilder::refineStates(rwkvc::onnx::LoopOp loop) {
  Operation *yield = loop.getBody().front().getTerminator();
  if (yield->getNumOperands() == 0)
    return; // without its condition; lowering refuses it
  for (auto [initial, result, yielded] :
       llvm::zip(loop.getVInitial(), loop->getResults(),
                 yield->getOperands().drop_front())) {
    auto type = dyn_cast<RankedTensorType>(initial.getType());
    auto becomes = dyn_cast<TensorType>(yielded.getType());
    // A concatenation of unknown shape is larger than its parts.
    if (yielded.getDefiningOp<rwkvc::onnx::ConcatOp>())
      continue;
    if (type && becomes && type.getElementType() == becomes.getElementType() &&
        succeeded(verifyCompatibleShape(type, becomes)))
      result.setType(type);
  }
}

LogicalResult ModuleBuilder::buildCustomNode(NodeProto &node) {
  SmallVector<Value> operands;
  for (int i = 0; i < node.input_size(); ++i) {
    Value value = getOperand(node, i);
    if (!value)
      return failure();
    operands.push_back(value);
  }
  SmallVector<Type> types;
  for (const std::string &name : node.output()) {
    auto it = scopes.back().types.find(name);
    Type type = builder.getNoneType();
    if (!name.empty() && it != scopes.back().types.end()) {
      type =
          convertType(*it->second, "output '" + name + "' of " + describe(node),
                      /*allowSequence=*/node.domain().empty());
      if (!type)
        return failure();
    }
    types.push_back(type);
  }
  NamedAttrList attributes;
  for (AttributeProto &attribute : *node.mutable_attribute()) {
    FailureOr<Attribute> converted = convertAttribute(attribute, node);
    if (failed(converted))
      return failure();
    attributes.set(attribute.name(), *converted);
  }
  Location loc = getLoc(node);
  auto op = rwkvc::onnx::CustomOp::create(
      builder, loc, types, operands, node.domain(), node.op_type(),
      attributes.getDictionary(builder.getContext()));
  op->setAttr(rwkvc::onnx::kNodeNameAttr, cast<NameLoc>(loc).getName());
  return bindResults(node, op);
}

LogicalResult ModuleBuilder::bindResults(const NodeProto &node, Operation *op) {
  for (auto [name, result] : llvm::zip(node.output(), op->getResults()))
    if (!name.empty())
      scopes.back().values[name] = result;
  return success();
}

LogicalResult ModuleBuilder::buildNode(NodeProto &node) {
  if (!node.domain().empty())
    return buildCustomNode(node);
  if (node.op_type() == "Constant")
    return buildConstant(node);
  // A weight under another name.
  if (node.op_type() == "Identity" && node.input_size() == 1 &&
      node.output_size() == 1 && weights.count(node.input(0))) {
    scopes.back().values[node.output(0)] = lookup(node.input(0));
    return success();
  }
  OperationName name("onnx." + node.op_type(), builder.getContext());
  const OpSchema *schema = ::onnx::OpSchemaRegistry::Schema(
      node.op_type(), kNewestOpset, node.domain());
  if (name.isRegistered() && schema)
    return buildTypedNode(node, *schema);
  return buildCustomNode(node);
}

OwningOpRef<ModuleOp> ModuleBuilder::run() {
  GraphProto &graph = *model.mutable_graph();
  OwningOpRef<ModuleOp> module = ModuleOp::create(file);
  auto setString = [&](StringRef name, const std::string &value) {
    if (!value.empty())
      (*module)->setAttr(name, builder.getStringAttr(value));
  };
  setString("onnx.graph_name", graph.name());
  setString("onnx.producer_name", model.producer_name());
  setString("onnx.producer_version", model.producer_version());

  SmallVector<Type> types;
  SmallVector<DictionaryAttr> attributes;
  auto nameAttr = [&](const std::string &name) {
    return builder.getDictionaryAttr(builder.getNamedAttr(
        rwkvc::kONNXNameAttr, builder.getStringAttr(name)));
  };
  SmallVector<StringRef> names;
  for (const ::onnx::ValueInfoProto &input : graph.input()) {
    if (weights.count(input.name()))
      continue;
    std::string what = "input '" + input.name() + "'";
    Type type = convertType(input.type(), what);
    if (!type)
      return nullptr;
    auto tensor = dyn_cast<RankedTensorType>(type);
    if (!tensor || !tensor.hasStaticShape()) {
      error() << what << " has no shape; expected a fixed number of dimensions";
      return nullptr;
    }
    int64_t bytes = 8;
    for (int64_t dim : tensor.getShape())
      if (llvm::MulOverflow(bytes, dim, bytes)) {
        error() << what << " has a shape of more than 2^63 bytes";
        return nullptr;
      }
    types.push_back(type);
    attributes.push_back(nameAttr(input.name()));
    names.push_back(input.name());
  }
  builder.setInsertionPointToEnd(module->getBody());
  auto func = func::FuncOp::create(builder, file, "main",
                                   builder.getFunctionType(types, {}));
  func.setAllArgAttrs(attributes);
  entry = func.addEntryBlock();
  enter(graph);
  for (auto [name, argument] : llvm::zip(names, func.getArguments()))
    scopes.back().values[name] = argument;
  builder.setInsertionPointToEnd(entry);
  FailureOr<SmallVector<Value>> results = buildBody(graph);
  if (failed(results))
    return nullptr;
  builder.setInsertionPointToEnd(entry);
  func::ReturnOp::create(builder, file, *results);
  func.setType(builder.getFunctionType(types, ValueRange(*results).getTypes()));
  for (auto [i, output] : llvm::enumerate(graph.output())) {
    if (output.type().has_sequence_type()) {
      error() << "output '" << output.name()
              << "' is no tensor; join the sequence into one, as by "
                 "ConcatFromSequence";
      return nullptr;
    }
    // A caller expects two numbers in a byte.
    int64_t elementType = output.type().tensor_type().elem_type();
    if (getConstantType(elementType, file.getContext()) !=
            getElementType(elementType, file.getContext()) &&
        !convertType(output.type(), "output '" + Twine(output.name()) + "'"))
      return nullptr;
    if (isa<NoneType>((*results)[i].getType())) {
      error() << "the type of output '" << output.name() << "' is unknown";
      return nullptr;
    }
    func.setResultAttr(i, rwkvc::kONNXNameAttr,
                       builder.getStringAttr(output.name()));
  }
  return module;
}

} // namespace

OwningOpRef<ModuleOp> rwkvc::import::buildModule(::onnx::ModelProto &model,
                                                 Weights &weights,
                                                 TensorReader &reader) {
  return ModuleBuilder(model, weights, reader).run();
}
