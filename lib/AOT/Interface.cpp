//===- Interface.cpp - How callers know a model ---------------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "rwkvc/AOT/Interface.h"
#include "mlir/IR/DialectResourceBlobManager.h"
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
  // Booleans take a byte each in memory, indices what a pointer does.
  unsigned bits = type.getElementType().isIndex()
                      ? IndexType::kInternalStorageBitWidth
                      : type.getElementTypeBitWidth();
  return type.getNumElements() * llvm::divideCeil(bits, 8);
}

StringRef aot::stringifyFunctionKind(FunctionKind kind) {
  switch (kind) {
  case FunctionKind::Graph:
    return "graph";
  case FunctionKind::Step:
    return "step";
  case FunctionKind::Prefill:
    return "prefill";
  case FunctionKind::Unpack:
    return "unpack";
  case FunctionKind::Pack:
    return "pack";
  }
  llvm_unreachable("no such kind");
}

std::optional<FunctionKind> aot::symbolizeFunctionKind(StringRef name) {
  for (FunctionKind kind :
       {FunctionKind::Graph, FunctionKind::Step, FunctionKind::Prefill,
        FunctionKind::Unpack, FunctionKind::Pack})
    if (name == stringifyFunctionKind(kind))
      return kind;
  return std::nullopt;
}

int64_t Interface::getInputArgument(int64_t index) const {
  // States are given as outputs only.
  int64_t number = 0;
  for (int64_t i = 0; i < index; ++i)
    number += !findStateOfInput(i);
  return number;
}

int64_t Interface::getOutputArgument(int64_t index) const {
  return getInputArgument(inputs.size()) + index;
}

int64_t Interface::getBatch() const {
  if (isConversion())
    return texts;
  return kind == FunctionKind::Graph ? 0
                                     : inputs[tokenInput].type.getDimSize(0);
}

int64_t Interface::getBlock() const {
  if (kind == FunctionKind::Prefill)
    return inputs[tokenInput].type.getDimSize(1);
  return kind == FunctionKind::Step ? 1 : 0;
}

FailureOr<SmallVector<func::FuncOp>> aot::getEntries(ModuleOp module) {
  SmallVector<func::FuncOp> entries;
  for (auto func : module.getOps<func::FuncOp>())
    if (!func.isExternal() &&
        (func.getName() == kEntryName || func->hasAttr(wkv::kFormAttr)))
      entries.push_back(func);
  if (entries.empty())
    return module.emitError() << "the module has no function @" << kEntryName;
  return entries;
}

/// Reads what marks the inputs and outputs of a derived form.
static LogicalResult readForm(func::FuncOp entry, Interface &interface) {
  auto form = entry->getAttrOfType<StringAttr>(wkv::kFormAttr);
  std::optional<FunctionKind> kind =
      form ? symbolizeFunctionKind(form.getValue()) : std::nullopt;
  if (!kind || *kind == FunctionKind::Graph)
    return entry.emitError() << "attribute '" << wkv::kFormAttr
                             << "' must be \"step\", \"prefill\", "
                                "\"unpack\" or \"pack\"";
  interface.kind = *kind;
  if (interface.isConversion()) {
    auto texts = entry->getAttrOfType<IntegerAttr>(wkv::kTextsAttr);
    if (!texts || texts.getInt() < 1)
      return entry.emitError() << "attribute '" << wkv::kTextsAttr
                               << "' must say of how many texts states are "
                                  "converted";
    interface.texts = texts.getInt();
    return success();
  }
  for (unsigned i = 0; i < entry.getNumArguments(); ++i) {
    if (entry.getArgAttr(i, wkv::kTokensAttr))
      interface.tokenInput = i;
    else if (entry.getArgAttr(i, wkv::kLengthAttr))
      interface.lengthInput = i;
    else if (!interface.findStateOfInput(i))
      return entry.emitError()
             << "input " << i << " ('" << interface.inputs[i].name
             << "') is neither tokens, length nor a state";
  }
  for (unsigned i = 0; i < entry.getNumResults(); ++i) {
    if (entry.getResultAttr(i, wkv::kLogitsAttr))
      interface.logitsOutput = i;
    else if (!interface.findStateOfOutput(i))
      return entry.emitError()
             << "output " << i << " ('" << interface.outputs[i].name
             << "') is neither the logits nor a state";
  }
  return success();
}

/// Checks shapes and types of a derived form; see rwkvc-rt/abi.h.
static LogicalResult verifyForm(func::FuncOp entry,
                                const Interface &interface) {
  if (interface.isConversion())
    return success();
  bool isBlock = interface.kind == FunctionKind::Prefill;
  int64_t rank = isBlock ? 2 : 1;
  if (interface.tokenInput < 0 || interface.logitsOutput < 0)
    return entry.emitError() << "a derived form must mark its tokens and its "
                                "logits";
  RankedTensorType tokens = interface.inputs[interface.tokenInput].type;
  RankedTensorType logits = interface.outputs[interface.logitsOutput].type;
  if (tokens.getRank() != rank || !tokens.getElementType().isInteger() ||
      tokens.getElementTypeBitWidth() < 8)
    return entry.emitError() << "tokens must be integers of "
                             << (isBlock ? "[batch, block]" : "[batch]")
                             << ", but are " << tokens;
  if (isBlock != (interface.lengthInput >= 0))
    return entry.emitError() << "only a block of tokens takes a length";
  if (isBlock) {
    RankedTensorType length = interface.inputs[interface.lengthInput].type;
    if (length.getRank() != 0 || !length.getElementType().isInteger(64))
      return entry.emitError()
             << "the length must be tensor<i64>, but is " << length;
  }
  ArrayRef<int64_t> leading = logits.getShape().drop_back();
  if (logits.getRank() < 2 || !isa<FloatType>(logits.getElementType()) ||
      (leading != tokens.getShape() &&
       leading != tokens.getShape().take_front()))
    return entry.emitError()
           << "logits must be floats of "
           << (isBlock ? "[batch, vocabulary] or [batch, block, vocabulary]"
                       : "[batch, vocabulary]")
           << " with the tokens' batch and block, but are " << logits
           << " for tokens " << tokens;
  for (const StateDescription &state : interface.states)
    if (interface.inputs[state.input].type !=
        interface.outputs[state.output].type)
      return entry.emitError()
             << "state '" << interface.inputs[state.input].name << "' is "
             << interface.inputs[state.input].type << " on entry and "
             << interface.outputs[state.output].type << " on return";
  return success();
}

/// The forms work on one canonical state, whichever is called.
static LogicalResult verifySameStates(func::FuncOp entry, const Interface &a,
                                      const Interface &b) {
  auto isSame = [&](const StateDescription &x, const StateDescription &y) {
    return a.inputs[x.input].name == b.inputs[y.input].name &&
           a.inputs[x.input].type == b.inputs[y.input].type &&
           x.initial == y.initial;
  };
  if (llvm::equal(a.states, b.states, isSame))
    return success();
  return entry.emitError() << "its states differ from those of the other form";
}

FailureOr<Interface> aot::describeEntry(func::FuncOp entry) {
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
      if (state.output < 0 || state.output >= entry.getNumResults())
        return entry.emitError() << "input " << i << " ('" << input->name
                                 << "') is a state without an output";
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
  if (entry->hasAttr(wkv::kFormAttr)) {
    if (failed(readForm(entry, interface)) ||
        failed(verifyForm(entry, interface)))
      return failure();
    return interface;
  }
  auto module = entry->getParentOfType<ModuleOp>();
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
  NamedAttrList entries(
      {b.getNamedAttr("kind",
                      b.getStringAttr(stringifyFunctionKind(interface.kind))),
       b.getNamedAttr("inputs", tensors(interface.inputs)),
       b.getNamedAttr("outputs", tensors(interface.outputs)),
       b.getNamedAttr("states", b.getArrayAttr(states)),
       b.getNamedAttr("token_input", b.getI64IntegerAttr(interface.tokenInput)),
       b.getNamedAttr("length_input",
                      b.getI64IntegerAttr(interface.lengthInput)),
       b.getNamedAttr("logits_output",
                      b.getI64IntegerAttr(interface.logitsOutput))});
  if (interface.skipsPadding)
    entries.set("skips_padding", b.getUnitAttr());
  if (interface.isConversion())
    entries.set("texts", b.getI64IntegerAttr(interface.texts));
  return entries.getDictionary(context);
}

FailureOr<Interface> aot::readInterface(Operation *entry, StringRef attrName) {
  auto attr = entry->getAttrOfType<DictionaryAttr>(attrName);
  if (!attr)
    return entry->emitError() << "attribute '" << attrName
                              << "' is missing; run rwkvc-describe-interface "
                                 "on the imported model";
  auto malformed = [&](StringRef what) {
    return entry->emitError() << "attribute '" << attrName << "': " << what
                              << " is missing or malformed";
  };
  Interface interface;
  auto kind = attr.getAs<StringAttr>("kind");
  auto symbol = kind ? symbolizeFunctionKind(kind.getValue()) : std::nullopt;
  if (!symbol)
    return malformed("kind");
  interface.kind = *symbol;
  auto readTensors =
      [&](StringRef key,
          SmallVector<TensorDescription> &list) -> LogicalResult {
    auto entries = attr.getAs<ArrayAttr>(key);
    if (!entries)
      return malformed(key);
    for (Attribute element : entries) {
      auto dictionary = dyn_cast<DictionaryAttr>(element);
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
  for (Attribute element : states) {
    auto dictionary = dyn_cast<DictionaryAttr>(element);
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
      return entry->emitError()
             << "attribute '" << attrName << "': state '"
             << interface.inputs[input.getInt()].name << "' is " << before
             << " on entry and " << after << " on return";
    interface.states.push_back(
        {input.getInt(), output.getInt(), initial.getValueAsDouble()});
  }
  auto readIndex = [&](StringRef key, size_t size, int64_t &index) {
    auto value = attr.getAs<IntegerAttr>(key);
    if (value && value.getInt() != -1 && !inRange(value, size))
      return false;
    index = value ? value.getInt() : -1;
    return true;
  };
  if (!readIndex("token_input", interface.inputs.size(),
                 interface.tokenInput) ||
      !readIndex("length_input", interface.inputs.size(),
                 interface.lengthInput) ||
      !readIndex("logits_output", interface.outputs.size(),
                 interface.logitsOutput))
    return malformed("an index");
  interface.skipsPadding = attr.contains("skips_padding");
  if (auto texts = attr.getAs<IntegerAttr>("texts"))
    interface.texts = texts.getInt();
  if (interface.isConversion())
    return interface.texts > 0 ? FailureOr<Interface>(interface)
                               : malformed("texts");
  if (interface.kind != FunctionKind::Graph && interface.tokenInput < 0)
    return malformed("token_input");
  return interface;
}

void aot::setServed(Operation *entry, const Served &served) {
  Builder b(entry->getContext());
  entry->setAttr(kServedInterfaceAttr,
                 toAttribute(served.interface, b.getContext()));
  entry->setAttr(kServedInputsAttr, b.getDenseI64ArrayAttr(served.inputs));
  entry->setAttr(kServedOutputsAttr, b.getDenseI64ArrayAttr(served.outputs));
}

FailureOr<SmallVector<std::pair<func::FuncOp, Interface>>>
aot::readEntries(ModuleOp module) {
  FailureOr<SmallVector<func::FuncOp>> entries = getEntries(module);
  if (failed(entries))
    return failure();
  SmallVector<std::pair<func::FuncOp, Interface>> read;
  for (func::FuncOp entry : *entries) {
    FailureOr<Interface> interface = readInterface(entry);
    if (failed(interface))
      return failure();
    read.emplace_back(entry, std::move(*interface));
  }
  return read;
}

FailureOr<std::optional<Served>> aot::readServed(Operation *entry) {
  if (!entry->hasAttr(kServedInterfaceAttr))
    return std::optional<Served>();
  FailureOr<Interface> interface = readInterface(entry, kServedInterfaceAttr);
  if (failed(interface))
    return failure();
  Served served{std::move(*interface), {}, {}};
  auto read = [&](StringRef name, size_t size, SmallVector<int64_t> &list) {
    auto attr = entry->getAttrOfType<DenseI64ArrayAttr>(name);
    if (attr)
      llvm::append_range(list, attr.asArrayRef());
    SmallVector<int64_t> sorted(list);
    llvm::sort(sorted);
    return llvm::equal(sorted, llvm::seq<int64_t>(0, size));
  };
  if (!read(kServedInputsAttr, served.interface.inputs.size(), served.inputs) ||
      !read(kServedOutputsAttr, served.interface.outputs.size(),
            served.outputs))
    return entry->emitError()
           << "attributes '" << kServedInputsAttr << "' and '"
           << kServedOutputsAttr
           << "' must name each input and output of the served function once";
  return std::optional<Served>(std::move(served));
}

/// Weights start at multiples of this.
static constexpr int64_t kWeightAlignment = 64;

std::string aot::nameWeight(ElementsAttr value, size_t number) {
  std::string name = ("w" + Twine(number)).str();
  if (auto resource = dyn_cast<DenseResourceElementsAttr>(value))
    name += "." + resource.getRawHandle().getKey().str();
  return name;
}

int64_t aot::getNextOffset(const WeightDescription &weight) {
  return llvm::alignTo(weight.offset +
                           getNumBytes(weight.value.getShapedType()),
                       kWeightAlignment);
}

void aot::setWeights(ModuleOp module, ArrayRef<WeightDescription> weights,
                     int64_t size) {
  Builder b(module.getContext());
  SmallVector<Attribute> list;
  for (const WeightDescription &weight : weights)
    list.push_back(b.getDictionaryAttr(
        {b.getNamedAttr("name", b.getStringAttr(weight.name)),
         b.getNamedAttr("offset", b.getI64IntegerAttr(weight.offset)),
         b.getNamedAttr("value", weight.value)}));
  module->setAttr(kWeightsAttr, b.getArrayAttr(list));
  module->setAttr(kWeightsSizeAttr, b.getI64IntegerAttr(size));
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

WeightsRange aot::findRange(ModuleOp module) {
  std::optional<int64_t> first;
  int64_t end = 0;
  for (const WeightDescription &weight : readWeights(module)) {
    first = std::min(first.value_or(weight.offset), weight.offset);
    end = std::max(end, getNextOffset(weight));
  }
  int64_t offset = first.value_or(0);
  return {offset, end - offset};
}

namespace {

struct DescribeInterfacePass
    : aot::impl::DescribeInterfaceBase<DescribeInterfacePass> {
  void runOnOperation() override {
    FailureOr<SmallVector<func::FuncOp>> entries = getEntries(getOperation());
    if (failed(entries))
      return signalPassFailure();
    std::optional<Interface> form;
    for (func::FuncOp entry : *entries) {
      // Once the graph's function has been described it may have lost what
      // only ONNX knows, whether an integer is unsigned for instance.
      bool isForm = entry->hasAttr(wkv::kFormAttr);
      if (!isForm && entry->hasAttr(kInterfaceAttr))
        continue;
      FailureOr<Interface> interface = describeEntry(entry);
      isForm &= succeeded(interface) && !interface->isConversion();
      if (failed(interface) ||
          (isForm && form &&
           failed(verifySameStates(entry, *interface, *form))))
        return signalPassFailure();
      entry->setAttr(kInterfaceAttr, toAttribute(*interface, &getContext()));
      if (isForm)
        form = *interface;
    }
  }
};

} // namespace
