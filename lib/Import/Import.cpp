//===- Import.cpp - ONNX files to the onnx dialect ------------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "rwkvc/Import/Import.h"
#include "Builder.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Verifier.h"
#include "onnx/checker.h"
#include "onnx/defs/schema.h"
#include "onnx/inliner/inliner.h"
#include "rwkvc/Dialect/ONNX/IR/ONNX.h"
#include "llvm/Support/MathExtras.h"
#include "llvm/Support/Path.h"
#include <map>
#include <optional>

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::import;
using llvm::StringRef;
using ::onnx::ModelProto;

namespace {

/// What the checker says, in one line with the node that it is about.
std::string tidyChecker(StringRef message) {
  auto [what, context] = message.split("\n\n==> Context: ");
  std::string text = tidy(what);
  if (!context.empty())
    text += " (" + tidy(context) + ")";
  return text;
}

void checkModel(const ModelProto &model) {
  ::onnx::checker::CheckerContext context;
  std::unordered_map<std::string, int> opsets;
  for (const ::onnx::OperatorSetIdProto &opset : model.opset_import())
    opsets[opset.domain()] = static_cast<int>(opset.version());
  context.set_ir_version(static_cast<int>(model.ir_version()));
  context.set_opset_imports(opsets);
  ::onnx::checker::LexicalScopeContext scope;
  ::onnx::checker::check_model_local_functions(model, context, scope);
  ::onnx::checker::check_graph(model.graph(), context, scope);
}

/// Gives the nodes that the standard defines as functions the attributes that
/// they leave to their defaults: the library's inliner binds only what is
/// there.
void addDefaultAttributes(ModelProto &model) {
  int version = 0;
  for (const ::onnx::OperatorSetIdProto &opset : model.opset_import())
    if (opset.domain().empty())
      version = static_cast<int>(opset.version());
  for (::onnx::NodeProto &node : *model.mutable_graph()->mutable_node()) {
    const ::onnx::OpSchema *schema = ::onnx::OpSchemaRegistry::Schema(
        node.op_type(), version, node.domain());
    if (!schema || !schema->HasFunction())
      continue;
    for (const auto &[name, attribute] : schema->attributes()) {
      bool given = llvm::any_of(
          node.attribute(), [&name = name](const ::onnx::AttributeProto &a) {
            return a.name() == name;
          });
      if (!given && attribute.default_value.has_type() &&
          attribute.default_value.type() != ::onnx::AttributeProto::UNDEFINED)
        *node.add_attribute() = attribute.default_value;
    }
  }
}

/// Declares the types of initializers and of omitted operands: the library's
/// inliner looks up each operand of a function among the declared values.
void declareOperands(::onnx::GraphProto &graph) {
  for (const ::onnx::TensorProto &tensor : graph.initializer()) {
    ::onnx::ValueInfoProto *value = graph.add_value_info();
    value->set_name(tensor.name());
    auto *type = value->mutable_type()->mutable_tensor_type();
    type->set_elem_type(tensor.data_type());
    for (int64_t dim : tensor.dims())
      type->mutable_shape()->add_dim()->set_dim_value(dim);
    type->mutable_shape();
  }
  graph.add_value_info()->set_name("");
}

/// Counts the nodes that a model of acyclic functions has once all are inlined;
/// a few functions that call each other twice can make up any number.
class InlinedSize {
public:
  explicit InlinedSize(const ModelProto &model) {
    for (const ::onnx::FunctionProto &function : model.functions())
      functions[getKey(function.domain(), function.name(), function.overload())]
          .first = &function;
  }

  uint64_t
  count(const google::protobuf::RepeatedPtrField<::onnx::NodeProto> &nodes) {
    uint64_t total = 0;
    for (const ::onnx::NodeProto &node : nodes) {
      uint64_t size = 1;
      for (const ::onnx::AttributeProto &attribute : node.attribute())
        if (attribute.has_g())
          size = llvm::SaturatingAdd(size, count(attribute.g().node()));
      auto callee = functions.find(
          getKey(node.domain(), node.op_type(), node.overload()));
      if (callee != functions.end()) {
        auto &[function, known] = callee->second;
        if (!known)
          known = count(function->node());
        size = llvm::SaturatingAdd(size, *known);
      }
      total = llvm::SaturatingAdd(total, size);
    }
    return total;
  }

private:
  static std::string getKey(const std::string &domain, const std::string &name,
                            const std::string &overload) {
    return domain + '\n' + name + '\n' + overload;
  }
  std::map<std::string,
           std::pair<const ::onnx::FunctionProto *, std::optional<uint64_t>>>
      functions;
};

/// More than any model in use, and within memory.
constexpr uint64_t kMaxNodes = 4000000;

/// Replaces calls of local functions and operators that the standard defines as
/// functions and that have no typed op.
void inlineFunctions(ModelProto &model, MLIRContext *context) {
  if (model.functions_size())
    ::onnx::inliner::InlineLocalFunctions(model);
  ::onnx::inliner::FunctionIdVector typed;
  for (RegisteredOperationName name : context->getRegisteredOperations())
    if (name.getDialectNamespace() == "onnx")
      typed.emplace_back("", name.stripDialect().str());
  addDefaultAttributes(model);
  declareOperands(*model.mutable_graph());
  auto others =
      ::onnx::inliner::FunctionIdSet::Create(std::move(typed), /*invert=*/true);
  ::onnx::inliner::InlineSelectedFunctions(model, *others, nullptr);
}

OwningOpRef<ModuleOp> importModel(StringRef path, Location file,
                                  const ImportOptions &options,
                                  ImportReport &report) {
  TensorReader reader(file, llvm::sys::path::parent_path(path));
  FailureOr<std::unique_ptr<ModelProto>> parsed =
      parseModel(path, file, reader);
  if (failed(parsed))
    return nullptr;
  ModelProto &model = **parsed;
  FailureOr<int64_t> opset = checkVersions(model, file);
  if (failed(opset))
    return nullptr;
  registerCustomOps(model);
  // Initializers need not be inputs, as in every later version.
  model.set_ir_version(std::max<int64_t>(model.ir_version(), 4));
  Weights weights;
  if (failed(takeWeights(model, reader, weights)) ||
      failed(sortNodes(*model.mutable_graph(), file)))
    return nullptr;
  const char *step = "the model is not valid ONNX: ";
  try {
    // First, because the checker refuses forms that are in use, such as the
    // group norm of operator set 18.
    updateOpset(model, *opset);
    checkModel(model);
    if (failed(bindDimensions(model, weights, options, report, file)))
      return nullptr;
    uint64_t size = InlinedSize(model).count(model.graph().node());
    if (size > kMaxNodes) {
      emitError(file) << "the model's local functions stand for " << size
                      << " nodes; expected at most " << kMaxNodes;
      return nullptr;
    }
    step = "functions of the model cannot be inlined: ";
    inlineFunctions(model, file.getContext());
    if (failed(takeWeights(model, reader, weights)))
      return nullptr;
    step = "shape inference failed: ";
    auto declared = model.graph().output();
    dropDeclaredTypes(*model.mutable_graph());
    inferTypes(model);
    if (failed(compareOutputTypes(*model.mutable_graph(), declared, file)))
      return nullptr;
  } catch (const std::exception &exception) {
    emitError(file) << step << tidyChecker(exception.what());
    return nullptr;
  }
  OwningOpRef<ModuleOp> module = buildModule(model, weights, reader);
  if (!module)
    return nullptr;
  // The verifier knows ops; users know nodes.
  std::string message;
  Location where = file;
  LogicalResult valid = success();
  {
    ScopedDiagnosticHandler handler(file.getContext(), [&](Diagnostic &d) {
      if (message.empty() && d.getSeverity() == DiagnosticSeverity::Error) {
        message = d.str();
        where = d.getLocation();
      }
      return success();
    });
    valid = verify(*module);
  }
  if (failed(valid)) {
    auto name = dyn_cast<NameLoc>(where);
    emitError(file) << "node '" << (name ? name.getName().getValue() : "?")
                    << "' is not supported: " << message;
    return nullptr;
  }
  return module;
}

} // namespace

void rwkvc::registerImportDialects(DialectRegistry &registry) {
  registry.insert<func::FuncDialect, onnx::ONNXDialect>();
}

OwningOpRef<ModuleOp> rwkvc::importONNXFile(StringRef path,
                                            MLIRContext &context,
                                            const ImportOptions &options,
                                            ImportReport *report) {
  context.loadDialect<func::FuncDialect, onnx::ONNXDialect>();
  Location file = FileLineColLoc::get(&context, path, 0, 0);
  registerSchemas();
  ImportReport own;
  OwningOpRef<ModuleOp> module =
      importModel(path, file, options, report ? *report : own);
  if (module && !report)
    for (const auto &[name, size] : own.defaultedDims)
      emitRemark(file) << "dimension '" << name << "' is not given and becomes "
                       << size;
  return module;
}
