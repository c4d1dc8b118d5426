//===- Interface.cpp - How callers know a model ---------------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "rwkvc/AOT/Interface.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "rwkvc/AOT/Passes.h"
#include "rwkvc/Dialect/WKV/IR/WKV.h"

namespace rwkvc::aot {
#define GEN_PASS_DEF_DESCRIBEINTERFACE
#include "rwkvc/AOT/Passes.h.inc"
} // namespace rwkvc::aot

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::aot;

const StateDescription *Interface::findStateOfOutput(int64_t index) const {
  const auto *it = llvm::find_if(
      states, [&](const StateDescription &s) { return s.output == index; });
  return it == states.end() ? nullptr : it;
}

const StateDescription *Interface::findStateOfInput(int64_t index) const {
  const auto *it = llvm::find_if(
      states, [&](const StateDescription &s) { return s.input == index; });
  return it == states.end() ? nullptr : it;
}

int64_t aot::getNumBytes(ShapedType type) {
  // Booleans take a byte each in memory.
  return type.getNumElements() *
         llvm::divideCeil(type.getElementTypeBitWidth(), 8);
}

FailureOr<Interface> aot::describeEntry(ModuleOp module) {
  auto entry = module.lookupSymbol<func::FuncOp>(kEntryName);
  if (!entry || entry.isExternal())
    return module.emitError() << "the module has no function @" << kEntryName;
  auto describe = [&](Type type, StringAttr name, StringRef kind,
                      unsigned number) -> FailureOr<TensorDescription> {
    auto tensor = dyn_cast<RankedTensorType>(type);
    if (!tensor || !tensor.hasStaticShape())
      return entry.emitError()
             << kind << " " << number << " ('" << (name ? name.getValue() : "")
             << "') must be a tensor of static shape, but is " << type;
    TensorDescription result;
    result.name =
        name ? name.getValue().str() : (kind + "_" + Twine(number)).str();
    result.type = tensor;
    return result;
  };
  Interface interface;
  for (auto [i, type] : llvm::enumerate(entry.getArgumentTypes())) {
    auto input = describe(
        type, entry.getArgAttrOfType<StringAttr>(i, "onnx.name"), "input", i);
    if (failed(input))
      return failure();
    if (auto limit =
            entry.getArgAttrOfType<IntegerAttr>(i, wkv::kIndexLimitAttr))
      input->indexLimit = limit.getInt();
    interface.inputs.push_back(*input);
    if (auto output = entry.getArgAttrOfType<IntegerAttr>(i, wkv::kStateAttr)) {
      StateDescription state;
      state.input = i;
      state.output = output.getInt();
      if (auto initial =
              entry.getArgAttrOfType<FloatAttr>(i, wkv::kInitialAttr))
        state.initial = initial.getValueAsDouble();
      interface.states.push_back(state);
    }
  }
  for (auto [i, type] : llvm::enumerate(entry.getResultTypes())) {
    auto output =
        describe(type, entry.getResultAttrOfType<StringAttr>(i, "onnx.name"),
                 "output", i);
    if (failed(output))
      return failure();
    interface.outputs.push_back(*output);
  }
  if (auto token = module->getAttrOfType<IntegerAttr>(wkv::kTokenInputAttr))
    interface.tokenInput = token.getInt();
  if (auto logits = module->getAttrOfType<IntegerAttr>(wkv::kLogitsOutputAttr))
    interface.logitsOutput = logits.getInt();
  return interface;
}

DictionaryAttr aot::toAttribute(const Interface &interface,
                                MLIRContext *context) {
  Builder b(context);
  auto tensors = [&](ArrayRef<TensorDescription> list) {
    SmallVector<Attribute> entries;
    for (const TensorDescription &tensor : list) {
      NamedAttrList entry;
      entry.set("name", b.getStringAttr(tensor.name));
      entry.set("type", TypeAttr::get(tensor.type));
      if (tensor.indexLimit)
        entry.set("index_limit", b.getI64IntegerAttr(tensor.indexLimit));
      entries.push_back(entry.getDictionary(context));
    }
    return b.getArrayAttr(entries);
  };
  SmallVector<Attribute> states;
  for (const StateDescription &state : interface.states)
    states.push_back(b.getDictionaryAttr(
        {b.getNamedAttr("input", b.getI64IntegerAttr(state.input)),
         b.getNamedAttr("output", b.getI64IntegerAttr(state.output)),
         b.getNamedAttr("initial", b.getF64FloatAttr(state.initial))}));
  return b.getDictionaryAttr(
      {b.getNamedAttr("inputs", tensors(interface.inputs)),
       b.getNamedAttr("outputs", tensors(interface.outputs)),
       b.getNamedAttr("states", b.getArrayAttr(states)),
       b.getNamedAttr("token_input", b.getI64IntegerAttr(interface.tokenInput)),
       b.getNamedAttr("logits_output",
                      b.getI64IntegerAttr(interface.logitsOutput))});
}

FailureOr<Interface> aot::readInterface(ModuleOp module) {
  auto attr = module->getAttrOfType<DictionaryAttr>(kInterfaceAttr);
  if (!attr)
    return module.emitError() << "module attribute '" << kInterfaceAttr
                              << "' is missing; run rwkvc-describe-interface "
                                 "on the imported model";
  auto malformed = [&](StringRef what) {
    return module.emitError() << "module attribute '" << kInterfaceAttr
                              << "': " << what << " is missing or malformed";
  };
  Interface interface;
  auto readTensors =
      [&](StringRef key,
          SmallVector<TensorDescription> &list) -> LogicalResult {
    auto entries = attr.getAs<ArrayAttr>(key);
    if (!entries)
      return malformed(key);
    for (Attribute entry : entries) {
      auto dictionary = dyn_cast<DictionaryAttr>(entry);
      auto name = dictionary ? dictionary.getAs<StringAttr>("name") : nullptr;
      auto type = dictionary ? dictionary.getAs<TypeAttr>("type") : nullptr;
      auto tensor =
          type ? dyn_cast<RankedTensorType>(type.getValue()) : nullptr;
      if (!name || !tensor)
        return malformed(key);
      auto limit = dictionary.getAs<IntegerAttr>("index_limit");
      list.push_back({name.str(), tensor, limit ? limit.getInt() : 0});
    }
    return success();
  };
  if (failed(readTensors("inputs", interface.inputs)) ||
      failed(readTensors("outputs", interface.outputs)))
    return failure();
  auto states = attr.getAs<ArrayAttr>("states");
  if (!states)
    return malformed("states");
  auto inRange = [](IntegerAttr index, size_t size) {
    return index && index.getInt() >= 0 &&
           index.getInt() < static_cast<int64_t>(size);
  };
  for (Attribute entry : states) {
    auto dictionary = dyn_cast<DictionaryAttr>(entry);
    auto input = dictionary ? dictionary.getAs<IntegerAttr>("input") : nullptr;
    auto output =
        dictionary ? dictionary.getAs<IntegerAttr>("output") : nullptr;
    auto initial =
        dictionary ? dictionary.getAs<FloatAttr>("initial") : nullptr;
    if (!initial || !inRange(input, interface.inputs.size()) ||
        !inRange(output, interface.outputs.size()))
      return malformed("states");
    // One buffer serves both sides, whatever axes of one element they have.
    RankedTensorType before = interface.inputs[input.getInt()].type;
    RankedTensorType after = interface.outputs[output.getInt()].type;
    if (before.getElementType() != after.getElementType() ||
        before.getNumElements() != after.getNumElements())
      return module.emitError()
             << "module attribute '" << kInterfaceAttr << "': state '"
             << interface.inputs[input.getInt()].name << "' is " << before
             << " on entry and " << after << " on return";
    interface.states.push_back(
        {input.getInt(), output.getInt(), initial.getValueAsDouble()});
  }
  auto token = attr.getAs<IntegerAttr>("token_input");
  auto logits = attr.getAs<IntegerAttr>("logits_output");
  interface.tokenInput = token ? token.getInt() : -1;
  interface.logitsOutput = logits ? logits.getInt() : -1;
  return interface;
}

SmallVector<WeightDescription> aot::readWeights(ModuleOp module) {
  SmallVector<WeightDescription> weights;
  auto list = module->getAttrOfType<ArrayAttr>(kWeightsAttr);
  for (Attribute entry : list ? list.getValue() : ArrayRef<Attribute>()) {
    auto dictionary = cast<DictionaryAttr>(entry);
    weights.push_back({dictionary.getAs<StringAttr>("name").str(),
                       dictionary.getAs<IntegerAttr>("offset").getInt(),
                       dictionary.getAs<ElementsAttr>("value")});
  }
  return weights;
}

namespace {

struct DescribeInterfacePass
    : aot::impl::DescribeInterfaceBase<DescribeInterfacePass> {
  void runOnOperation() override {
    FailureOr<Interface> interface = describeEntry(getOperation());
    if (failed(interface))
      return signalPassFailure();
    getOperation()->setAttr(kInterfaceAttr,
                            toAttribute(*interface, &getContext()));
  }
};

} // namespace
