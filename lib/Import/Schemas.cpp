//===- Schemas.cpp - Operators that the ONNX library cannot infer ---------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Types of the results of the operators that onnxruntime's optimiser writes and
// ONNXToLinalg lowers, and of the registry of custom ops, registered with the
// ONNX library so that its shape inference passes through them.
//
//===----------------------------------------------------------------------===//

#include "Prepare.h"
#include "onnx/defs/schema.h"
#include "rwkvc/Dialect/WKV/IR/CustomOps.h"
#include "llvm/ADT/StringSet.h"
#include <limits>
#include <mutex>

using ::onnx::InferenceContext;
using ::onnx::OpSchema;
using ::onnx::TensorProto;
using ::onnx::TensorShapeProto;

namespace {

int64_t getInt(InferenceContext &ctx, const char *name, int64_t fallback) {
  const ::onnx::AttributeProto *attribute = ctx.getAttribute(name);
  return attribute ? attribute->i() : fallback;
}

void sameAsFirst(InferenceContext &ctx, size_t output = 0) {
  ::onnx::propagateElemTypeFromInputToOutput(ctx, 0, output);
  if (::onnx::hasInputShape(ctx, 0))
    ::onnx::propagateShapeFromInputToOutput(ctx, 0, output);
}

/// A statistic of float32 over the axes from \p axis on.
void statistic(InferenceContext &ctx, size_t output, int64_t axis) {
  if (output >= ctx.getNumOutputs())
    return;
  ::onnx::updateOutputElemType(ctx, output, TensorProto::FLOAT);
  if (!::onnx::hasInputShape(ctx, 0))
    return;
  TensorShapeProto shape = ::onnx::getInputShape(ctx, 0);
  if (axis < 0)
    axis += shape.dim_size();
  for (int i = 0; i < shape.dim_size(); ++i)
    if (i >= axis)
      shape.mutable_dim(i)->set_dim_value(1);
  ::onnx::updateOutputShape(ctx, output, shape);
}

/// [Simplified]LayerNormalization: y, mean unless simplified, 1 / deviation.
void inferNorm(InferenceContext &ctx) {
  sameAsFirst(ctx);
  int64_t axis = getInt(ctx, "axis", -1);
  statistic(ctx, 1, axis);
  statistic(ctx, 2, axis);
}

/// Skip[Simplified]LayerNormalization: y, mean, 1 / deviation, the sum.
void inferSkipNorm(InferenceContext &ctx) {
  sameAsFirst(ctx);
  statistic(ctx, 1, -1);
  statistic(ctx, 2, -1);
  if (ctx.getNumOutputs() > 3)
    sameAsFirst(ctx, 3);
}

/// The shape of input \p left times input \p right, as numpy's matmul.
void inferProduct(InferenceContext &ctx, size_t left, size_t right,
                  bool transposeLeft = false, bool transposeRight = false) {
  if (!::onnx::hasInputShape(ctx, left) || !::onnx::hasInputShape(ctx, right))
    return;
  TensorShapeProto a = ::onnx::getInputShape(ctx, left);
  TensorShapeProto b = ::onnx::getInputShape(ctx, right);
  int rankA = a.dim_size(), rankB = b.dim_size();
  if (rankA == 0 || rankB == 0)
    fail_shape_inference("a factor of the matrix product is a scalar");
  if (transposeLeft && rankA > 1)
    a.mutable_dim()->SwapElements(rankA - 1, rankA - 2);
  if (transposeRight && rankB > 1)
    b.mutable_dim()->SwapElements(rankB - 1, rankB - 2);
  TensorShapeProto batchA, batchB, shape;
  for (int i = 0; i < rankA - 2; ++i)
    *batchA.add_dim() = a.dim(i);
  for (int i = 0; i < rankB - 2; ++i)
    *batchB.add_dim() = b.dim(i);
  ::onnx::bidirectionalBroadcastShapeInference(batchA, batchB, shape);
  if (rankA > 1)
    *shape.add_dim() = a.dim(rankA - 2);
  if (rankB > 1)
    *shape.add_dim() = b.dim(rankB - 1);
  ::onnx::updateOutputShape(ctx, 0, shape);
}

void inferFusedMatMul(InferenceContext &ctx) {
  ::onnx::propagateElemTypeFromInputToOutput(ctx, 0, 0);
  if (!getInt(ctx, "transBatchA", 0) && !getInt(ctx, "transBatchB", 0))
    inferProduct(ctx, 0, 1, getInt(ctx, "transA", 0), getInt(ctx, "transB", 0));
}

void inferFusedGemm(InferenceContext &ctx) {
  ::onnx::propagateElemTypeFromInputToOutput(ctx, 0, 0);
  inferProduct(ctx, 0, 1, getInt(ctx, "transA", 0), getInt(ctx, "transB", 0));
}

/// Quantised products give numbers of the type of their scale, input 2.
void inferQuantizedProduct(InferenceContext &ctx) {
  ::onnx::propagateElemTypeFromInputToOutput(ctx, 2, 0);
  inferProduct(ctx, 0, 1);
}

/// MatMulNBits: the last dimension becomes N.
void inferBlockProduct(InferenceContext &ctx) {
  ::onnx::propagateElemTypeFromInputToOutput(ctx, 0, 0);
  if (!::onnx::hasInputShape(ctx, 0))
    return;
  TensorShapeProto shape = ::onnx::getInputShape(ctx, 0);
  if (shape.dim_size() == 0)
    fail_shape_inference("the left factor of the matrix product is a scalar");
  shape.mutable_dim(shape.dim_size() - 1)->set_dim_value(getInt(ctx, "N", 0));
  ::onnx::updateOutputShape(ctx, 0, shape);
}

/// GatherBlockQuantized: rows of a table in the type of its scales; a byte of
/// it has several numbers.
void inferBlockGather(InferenceContext &ctx) {
  ::onnx::propagateElemTypeFromInputToOutput(ctx, 2, 0);
  if (!::onnx::hasNInputShapes(ctx, 2))
    return;
  const TensorShapeProto &table = ::onnx::getInputShape(ctx, 0),
                         &indices = ::onnx::getInputShape(ctx, 1);
  int64_t axis = getInt(ctx, "gather_axis", 0), rank = table.dim_size();
  if (axis < 0)
    axis += rank;
  if (axis < 0 || axis >= rank)
    fail_shape_inference("gather_axis is no axis of the table");
  TensorShapeProto shape;
  for (int64_t i = 0; i < rank; ++i) {
    if (i == axis) {
      for (const auto &dim : indices.dim())
        *shape.add_dim() = dim;
      continue;
    }
    auto *dim = shape.add_dim();
    *dim = table.dim(i);
    if (i == rank - 1 && dim->has_dim_value() &&
        ctx.getInputType(0)->tensor_type().elem_type() == TensorProto::UINT8)
      dim->set_dim_value(dim->dim_value() *
                         (8 / std::max<int64_t>(getInt(ctx, "bits", 4), 1)));
  }
  ::onnx::updateOutputShape(ctx, 0, shape);
}

void add(const char *name, const char *domain, int inputs, int outputs,
         ::onnx::InferenceFunction infer) {
  OpSchema schema;
  schema.SetName(name).SetDomain(domain).SinceVersion(1);
  schema.AllowUncheckedAttributes();
  for (int i = 0; i < inputs; ++i)
    schema.Input(i, "input" + std::to_string(i), "", "T" + std::to_string(i),
                 OpSchema::Optional);
  for (int i = 0; i < outputs; ++i)
    schema.Output(i, "output" + std::to_string(i), "", "U" + std::to_string(i),
                  i ? OpSchema::Optional : OpSchema::Single);
  for (int i = 0; i < inputs; ++i)
    schema.TypeConstraint("T" + std::to_string(i),
                          OpSchema::all_tensor_types_ir4(), "");
  for (int i = 0; i < outputs; ++i)
    schema.TypeConstraint("U" + std::to_string(i),
                          OpSchema::all_tensor_types_ir4(), "");
  schema.TypeAndShapeInferenceFunction(std::move(infer));
  ::onnx::RegisterSchema(std::move(schema), 0, /*fail_duplicate_schema=*/false);
}

/// Results of a custom op: elements of the value or of the state, and shapes by
/// the registry where the operands' are known.
void inferCustomOp(InferenceContext &ctx,
                   const rwkvc::wkv::CustomOpSignature &op) {
  bool isKnown = true;
  std::vector<llvm::SmallVector<int64_t>> storage(op.operands.size());
  for (size_t i = 0; i < storage.size(); ++i) {
    isKnown &= ::onnx::hasInputShape(ctx, i);
    if (!isKnown)
      break;
    for (const auto &dim : ::onnx::getInputShape(ctx, i).dim()) {
      isKnown &= dim.has_dim_value();
      storage[i].push_back(dim.dim_value());
    }
  }
  for (size_t i = 0; i < op.results.size(); ++i) {
    llvm::StringRef role = op.results[i].role;
    bool isState = role != "output" && role != "packed";
    size_t like = op.isUnpack() ? 0 : *op.findOperand(isState ? role : "value");
    ::onnx::propagateElemTypeFromInputToOutput(ctx, like, i);
  }
  if (!isKnown)
    return;
  std::vector<rwkvc::wkv::Shape> shapes(storage.begin(), storage.end());
  auto sizes = rwkvc::wkv::solveSizes(op, shapes);
  if (!sizes) {
    // -wkv-raise-custom-ops reports it, with the node.
    llvm::consumeError(sizes.takeError());
    return;
  }
  for (size_t i = 0; i < op.results.size(); ++i) {
    TensorShapeProto shape;
    for (int64_t size : rwkvc::wkv::getResultShape(op, i, *sizes, shapes))
      shape.add_dim()->set_dim_value(size);
    ::onnx::updateOutputShape(ctx, i, shape);
  }
}

/// A schema for all operators of one name.
void addCustomOp(const std::string &domain, const std::string &name) {
  auto &versions = ::onnx::OpSchemaRegistry::DomainToVersionRange::Instance();
  if (!versions.Map().count(domain))
    versions.AddDomainToVersion(domain, 1, 1);
  OpSchema schema;
  schema.SetName(name).SetDomain(domain).SinceVersion(1);
  schema.AllowUncheckedAttributes();
  schema.Input(0, "inputs", "", "T", OpSchema::Variadic, false);
  schema.Output(0, "outputs", "", "T", OpSchema::Variadic, false);
  schema.TypeConstraint("T", OpSchema::all_tensor_types_ir4(), "");
  schema.TypeAndShapeInferenceFunction([=](InferenceContext &ctx) {
    if (auto op = rwkvc::wkv::findCustomOp(domain, name, ctx.getNumInputs(),
                                           ctx.getNumOutputs()))
      inferCustomOp(ctx, *op);
  });
  ::onnx::RegisterSchema(std::move(schema), 0, /*fail_duplicate_schema=*/false);
}

} // namespace

bool rwkvc::import::isCustomOp(const ::onnx::NodeProto &node) {
  return wkv::findCustomOp(node.domain(), node.op_type(), node.input_size(),
                           node.output_size())
      .has_value();
}

void rwkvc::import::registerCustomOps(::onnx::ModelProto &model) {
  llvm::StringSet<> imported, domains;
  for (const auto &opset : model.opset_import())
    imported.insert(opset.domain());
  for (const wkv::CustomOpSignature &op : wkv::getCustomOps()) {
    // Some tools drop what the file says of foreign domains.
    if (domains.insert(op.domain).second && !imported.contains(op.domain)) {
      auto *opset = model.add_opset_import();
      opset->set_domain(op.domain);
      opset->set_version(1);
    }
    if (!::onnx::OpSchemaRegistry::Schema(
            op.name, std::numeric_limits<int>::max(), op.domain))
      addCustomOp(op.domain, op.name);
  }
}

void rwkvc::import::registerSchemas() {
  static std::once_flag once;
  std::call_once(once, [] {
    auto first = [](InferenceContext &ctx) { sameAsFirst(ctx); };
    // The only schema of the standard that infers nothing.
    if (const OpSchema *found = ::onnx::OpSchemaRegistry::Schema(
            "GroupNormalization", kNewestOpset);
        found && !found->has_type_and_shape_inference_function()) {
      OpSchema schema = *found;
      schema.TypeAndShapeInferenceFunction(first);
      ::onnx::DeregisterSchema(schema.Name(), schema.SinceVersion(), "");
      ::onnx::RegisterSchema(std::move(schema));
    }
    constexpr const char *kDomain = "com.microsoft";
    auto &versions = ::onnx::OpSchemaRegistry::DomainToVersionRange::Instance();
    if (!versions.Map().count(kDomain))
      versions.AddDomainToVersion(kDomain, 1, 1);
    add("LayerNormalization", kDomain, 3, 3, inferNorm);
    add("SimplifiedLayerNormalization", kDomain, 2, 2, inferNorm);
    // onnxruntime writes this one into the domain of ONNX.
    add("SimplifiedLayerNormalization", "", 2, 2, inferNorm);
    add("SkipLayerNormalization", kDomain, 5, 4, inferSkipNorm);
    add("SkipSimplifiedLayerNormalization", kDomain, 4, 4, inferSkipNorm);
    add("Gelu", kDomain, 1, 1, first);
    add("QuickGelu", kDomain, 1, 1, first);
    add("BiasGelu", kDomain, 2, 1, first);
    add("FastGelu", kDomain, 2, 1, first);
    add("FusedMatMul", kDomain, 2, 1, inferFusedMatMul);
    add("FusedGemm", kDomain, 3, 1, inferFusedGemm);
    add("DynamicQuantizeMatMul", kDomain, 5, 1, inferQuantizedProduct);
    add("MatMulNBits", kDomain, 6, 1, inferBlockProduct);
    add("GatherBlockQuantized", kDomain, 4, 1, inferBlockGather);
    add("MatMulIntegerToFloat", kDomain, 7, 1, inferQuantizedProduct);
  });
}
