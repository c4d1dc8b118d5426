//===- ComMicrosoft.cpp - Lowering of onnxruntime's fused ops -------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// What onnxruntime's optimiser leaves in a saved model: operators of the domain
// com.microsoft, and its two norms that have no standard form in the domain of
// ONNX.
//
//===----------------------------------------------------------------------===//

#include "Support.h"
#include "llvm/ADT/StringMap.h"

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::lowering;

namespace {

/// Operands and attributes of an onnx.Custom, with what the node leaves out.
struct Node {
  Lowering &b;
  onnx::CustomOp op;
  ValueRange inputs;

  /// The lowered operand, null when left out.
  Value input(unsigned index) {
    if (index >= inputs.size() || onnx::isNone(inputs[index]))
      return Value();
    return inputs[index];
  }
  bool isUnsigned(unsigned index) {
    return lowering::isUnsigned(op.getInputs()[index]);
  }
  double number(StringRef name, double fallback) {
    Attribute attr = op.getAttrs().get(name);
    if (auto number = dyn_cast_if_present<FloatAttr>(attr))
      return number.getValueAsDouble();
    if (auto number = dyn_cast_if_present<IntegerAttr>(attr))
      return double(number.getInt());
    return fallback;
  }
  int64_t integer(StringRef name, int64_t fallback) {
    auto number = op.getAttrs().getAs<IntegerAttr>(name);
    return number ? number.getInt() : fallback;
  }
  StringRef string(StringRef name) {
    auto text = op.getAttrs().getAs<StringAttr>(name);
    return text ? text.getValue() : StringRef();
  }
  bool isUsed(unsigned index) {
    return index < op.getNumResults() && !op.getResult(index).use_empty();
  }
};

using Results = FailureOr<SmallVector<Value>>;

Results one(Node &node, Value value) {
  SmallVector<Value> results(node.op.getNumResults());
  results[0] = value;
  return results;
}

Value addAll(ImplicitLocOpBuilder &b, ValueRange terms, RankedTensorType type) {
  return floatElementwise(b, terms, type,
                          [](ImplicitLocOpBuilder &b, ValueRange x) {
                            Value sum = x[0];
                            for (Value next : x.drop_front())
                              sum = Arith{b}.add(sum, next);
                            return sum;
                          });
}

/// The four outputs of a norm: y, mean, 1 / deviation and the sum it is of.
Results norm(Node &node, Value input, ArrayRef<int64_t> axes, Value scale,
             Value bias, bool centre, double epsilon, Value sum) {
  Lowering &b = node.b;
  Value mean, inverse;
  Value normal = normalize(b, input, axes, epsilon, centre, &mean, &inverse);
  SmallVector<Value> results(node.op.getNumResults());
  results[0] = scaleAndShift(b, normal, scale, bias, b.resultType(0));
  // Simplified norms have no mean: their second output is the deviation.
  SmallVector<Value> rest;
  if (centre || sum)
    rest.push_back(mean);
  rest.append({inverse, sum});
  for (auto [index, value] : llvm::enumerate(rest)) {
    if (!value || !node.isUsed(index + 1))
      continue;
    RankedTensorType type = b.resultType(index + 1);
    results[index + 1] = reshape(
        b, castElements(b, value, type.getElementType()), type.getShape());
  }
  return results;
}

/// SkipLayerNormalization and SkipSimplifiedLayerNormalization.
Results lowerSkipNorm(Node &node, bool centre) {
  RankedTensorType type = tensorType(node.input(0));
  SmallVector<Value> terms{node.input(0), node.input(1)};
  if (Value bias = node.input(centre ? 4 : 3))
    terms.push_back(bias);
  Value sum = addAll(node.b, terms, type);
  return norm(node, sum, type.getRank() - 1, node.input(2),
              centre ? node.input(3) : Value(), centre,
              node.number("epsilon", 1e-12), sum);
}

/// LayerNormalization and SimplifiedLayerNormalization.
Results lowerNorm(Node &node, bool centre) {
  int64_t rank = tensorType(node.input(0)).getRank();
  std::optional<int64_t> axis = normalizeAxis(node.integer("axis", -1), rank);
  if (!axis)
    return node.b.refuse("its axis is out of range");
  return norm(node, node.input(0),
              llvm::to_vector(llvm::seq<int64_t>(*axis, rank)), node.input(1),
              centre ? node.input(2) : Value(), centre,
              node.number("epsilon", 1e-5), Value());
}

/// Elementwise with an optional bias as second operand.
Results lowerActivation(Node &node,
                        function_ref<Value(Arith &, Value)> activation) {
  SmallVector<Value> inputs{node.input(0)};
  if (Value bias = node.input(1))
    inputs.push_back(bias);
  return one(node, floatElementwise(node.b, inputs, node.b.resultType(0),
                                    [&](ImplicitLocOpBuilder &b, ValueRange x) {
                                      Arith a{b};
                                      Value sum = x.size() > 1
                                                      ? a.add(x[0], x[1])
                                                      : x[0];
                                      return activation(a, sum);
                                    }));
}

Results lowerFusedMatMul(Node &node) {
  Lowering &b = node.b;
  if (node.integer("transBatchA", 0) || node.integer("transBatchB", 0))
    return b.refuse("transBatchA and transBatchB are not supported");
  RankedTensorType type = b.resultType(0);
  auto transposed = [&](StringRef name, unsigned index) {
    return node.integer(name, 0) != 0 &&
           tensorType(node.input(index)).getRank() > 1;
  };
  double alpha = node.number("alpha", 1);
  Type compute = computeType(type.getElementType());
  Value product = matmul(b, node.input(0), node.input(1), type.clone(compute),
                         transposed("transA", 0), transposed("transB", 1));
  if (alpha == 1)
    return one(node, castElements(b, product, type.getElementType()));
  return one(node, floatElementwise(b, product, type,
                                    [&](ImplicitLocOpBuilder &b, ValueRange x) {
                                      Arith a{b};
                                      return a.mul(x[0],
                                                   a.constant(x[0], alpha));
                                    }));
}

Results lowerFusedGemm(Node &node) {
  Lowering &b = node.b;
  RankedTensorType type = b.resultType(0);
  StringRef activation = node.string("activation");
  if (!llvm::is_contained({"", "Relu", "Sigmoid", "Tanh", "LeakyRelu"},
                          activation))
    return b.refuse(
        "activation '" + activation +
        "' is not supported; Relu, LeakyRelu, Sigmoid and Tanh are");
  double alpha = node.number("alpha", 1), beta = node.number("beta", 1);
  double slope = node.number("activation_alpha", 0.01);
  Type compute = computeType(type.getElementType());
  SmallVector<Value> inputs{
      matmul(b, node.input(0), node.input(1), type.clone(compute),
             node.integer("transA", 0) != 0, node.integer("transB", 0) != 0)};
  if (Value bias = node.input(2))
    inputs.push_back(bias);
  return one(node,
             floatElementwise(
                 b, inputs, type, [&](ImplicitLocOpBuilder &b, ValueRange x) {
                   Arith a{b};
                   auto scaled = [&](Value v, double by) {
                     return by == 1 ? v : a.mul(v, a.constant(v, by));
                   };
                   Value y = scaled(x[0], alpha);
                   if (x.size() > 1)
                     y = a.add(y, scaled(x[1], beta));
                   Value zero = a.constant(y, 0);
                   if (activation == "Relu")
                     return a.max(y, zero);
                   if (activation == "Sigmoid")
                     return a.sigmoid(y);
                   if (activation == "Tanh")
                     return a.tanh(y);
                   if (activation == "LeakyRelu")
                     return a.select(a.compare(Arith::Less, y, zero),
                                     scaled(y, slope), y);
                   return y;
                 }));
}

/// The int32 product of two quantised matrices as numbers.
Results rescale(Node &node, Value product, Value leftScale, Value rightScale,
                Value bias) {
  auto scalar = [&](Value value) {
    return tensorType(value).getNumElements() == 1 ? reshape(node.b, value, {})
                                                   : value;
  };
  SmallVector<Value> inputs{product, scalar(leftScale), scalar(rightScale)};
  if (bias)
    inputs.push_back(bias);
  return one(node, floatElementwise(node.b, inputs, node.b.resultType(0),
                                    [](ImplicitLocOpBuilder &b, ValueRange x) {
                                      Arith a{b};
                                      Value y =
                                          castScalar(b, x[0], x[1].getType(),
                                                     false, false);
                                      y = a.mul(y, a.mul(x[1], x[2]));
                                      return x.size() > 3 ? a.add(y, x[3]) : y;
                                    }));
}

/// A float matrix, quantised now, times a quantised one.
Results lowerDynamicQuantizeMatMul(Node &node) {
  Lowering &b = node.b;
  DynamicQuantized left = dynamicQuantize(b, node.input(0));
  Value product = matmulInteger(b, left.values, node.input(1), left.zeroPoint,
                                node.input(3), true, node.isUnsigned(1),
                                b.resultType(0).getShape());
  return rescale(node, product, left.scale, node.input(2), node.input(4));
}

Results lowerMatMulIntegerToFloat(Node &node) {
  Value product = matmulInteger(
      node.b, node.input(0), node.input(1), node.input(4), node.input(5),
      node.isUnsigned(0), node.isUnsigned(1), node.b.resultType(0).getShape());
  return rescale(node, product, node.input(2), node.input(3), node.input(6));
}

/// Operators by name, with the number of operands that they cannot do without.
struct Entry {
  unsigned required;
  std::function<Results(Node &)> lower;
};

const llvm::StringMap<Entry> &entries() {
  static const llvm::StringMap<Entry> table = [] {
    llvm::StringMap<Entry> map;
    map["SkipLayerNormalization"] = {
        3, [](Node &n) { return lowerSkipNorm(n, true); }};
    map["SkipSimplifiedLayerNormalization"] = {
        3, [](Node &n) { return lowerSkipNorm(n, false); }};
    map["LayerNormalization"] = {2, [](Node &n) { return lowerNorm(n, true); }};
    map["SimplifiedLayerNormalization"] = {
        2, [](Node &n) { return lowerNorm(n, false); }};
    auto exact = [](Node &n) {
      return lowerActivation(
          n, [](Arith &a, Value x) { return gelu(a.b, x, false); });
    };
    map["Gelu"] = {1, exact};
    map["BiasGelu"] = {2, exact};
    map["FastGelu"] = {1, [](Node &n) {
                         return lowerActivation(n, [](Arith &a, Value x) {
                           return gelu(a.b, x, true);
                         });
                       }};
    map["QuickGelu"] = {1, [](Node &n) {
                          double alpha = n.number("alpha", 1.702);
                          return lowerActivation(n, [&](Arith &a, Value x) {
                            Value scaled = a.mul(x, a.constant(x, alpha));
                            return a.mul(x, a.sigmoid(scaled));
                          });
                        }};
    map["FusedMatMul"] = {2, lowerFusedMatMul};
    map["FusedGemm"] = {2, lowerFusedGemm};
    map["DynamicQuantizeMatMul"] = {3, lowerDynamicQuantizeMatMul};
    map["MatMulIntegerToFloat"] = {4, lowerMatMulIntegerToFloat};
    return map;
  }();
  return table;
}

Results lowerCustom(Lowering &b, onnx::CustomOp op,
                    onnx::CustomOp::Adaptor in) {
  StringRef domain = op.getDomain();
  auto entry =
      domain.empty() || domain == "ai.onnx" || domain == "com.microsoft"
          ? entries().find(op.getOpType())
          : entries().end();
  if (entry == entries().end())
    return b.refuse("no lowering is known for operator '" + op.getOpType() +
                    "' of domain '" + (domain.empty() ? "ai.onnx" : domain) +
                    "'; describe it by --custom-ops if it computes a WKV "
                    "recurrence, load a plugin that gives it a lowering, or "
                    "export the model without it");
  Node node{b, op, in.getInputs()};
  for (unsigned i = 0; i < entry->second.required; ++i)
    if (!node.input(i))
      return b.refuse("input " + Twine(i) + " is missing");
  if (op.getNumResults() == 0 || isa<NoneType>(op.getResult(0).getType()))
    return b.refuse("the type of its result is unknown");
  return entry->second.lower(node);
}

} // namespace

void lowering::addComMicrosoftLowerings(LoweringSet &set) {
  set.add<onnx::CustomOp>(lowerCustom);
}
