//===- CustomOps.cpp - WKV operators of other ONNX domains ----------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "rwkvc/Dialect/WKV/IR/CustomOps.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/MemoryBuffer.h"
#include <mutex>

using namespace rwkvc::wkv;
using llvm::Error;
using llvm::Expected;
using llvm::StringRef;
using llvm::Twine;

static Error makeError(const Twine &message) {
  return llvm::createStringError(llvm::inconvertibleErrorCode(), message);
}

//===----------------------------------------------------------------------===//
// The registry
//===----------------------------------------------------------------------===//

namespace {

struct LawInfo {
  StringRef name;
  std::vector<StringRef> operands; ///< that an operator must have
  std::vector<StringRef> optional; ///< zero where it has none
  std::vector<StringRef> states;
};

const LawInfo &getLaw(CustomOpLaw law) {
  static const LawInfo laws[] = {
      {"wkv4", {"key", "value", "decay", "bonus"}, {}, {"num", "den", "max"}},
      {"wkv6", {"receptance", "key", "value", "decay"}, {"bonus"}, {"state"}},
      {"wkv7",
       {"receptance", "decay", "key", "value", "a", "b"},
       {},
       {"state"}}};
  return laws[static_cast<unsigned>(law)];
}

struct Registry {
  std::mutex mutex;
  std::vector<CustomOpSignature> ops;
};

/// What exporters are known to write: that of rwkv-qualcomm, whose output comes
/// as [T, H, 1, V] and in later versions packed with the state.
std::vector<CustomOpSignature> makeKnownOps() {
  const std::string token = "BTHK", value = "BTHV", out = "TH1V|BTH1V";
  std::vector<CustomOpValue> wkv7{{"receptance", token}, {"decay", token},
                                  {"key", token},        {"value", value},
                                  {"a", token},          {"b", token},
                                  {"state", "BHVK"}};
  return {{"rwkv",
           "wkv6",
           CustomOpLaw::Wkv6,
           CustomOpDecay::Factor,
           {{"key", token},
            {"value", value},
            {"receptance", token},
            {"state", "BHKV"},
            {"bonus", "HK|H"},
            {"decay", "BTHK|HK|H"}},
           {{"output", out}, {"state", "BHKV"}}},
          {"rwkv",
           "wkv7",
           CustomOpLaw::Wkv7,
           CustomOpDecay::Factor,
           wkv7,
           {{"output", out}, {"state", "BHVK"}}},
          {"rwkv",
           "wkv7",
           CustomOpLaw::Wkv7,
           CustomOpDecay::Factor,
           wkv7,
           {{"packed", ""}}},
          {"rwkv",
           "wkv7_output_x",
           CustomOpLaw::Wkv7,
           CustomOpDecay::Factor,
           {{"packed", ""}},
           {{"output", out}}},
          {"rwkv",
           "wkv7_output_state",
           CustomOpLaw::Wkv7,
           CustomOpDecay::Factor,
           {{"packed", ""}},
           {{"state", "BHVK"}}}};
}

Registry &getRegistry() {
  static auto *registry = new Registry{{}, makeKnownOps()};
  return *registry;
}

std::optional<unsigned> findRole(const std::vector<CustomOpValue> &values,
                                 StringRef role) {
  for (auto [i, value] : llvm::enumerate(values))
    if (value.role == role)
      return static_cast<unsigned>(i);
  return std::nullopt;
}

std::string nameOf(const CustomOpSignature &op) {
  return op.domain + "::" + op.name;
}

Error checkLayout(const CustomOpSignature &op, const CustomOpValue &value) {
  if (value.role == "packed" || value.role == "ignored")
    return Error::success();
  StringRef letters = op.law == CustomOpLaw::Wkv4 ? "BTC1" : "BTHKV1";
  llvm::SmallVector<StringRef> alternatives;
  StringRef(value.layout).split(alternatives, '|');
  for (StringRef layout : alternatives) {
    std::string seen;
    for (char c : layout)
      if (!letters.contains(c) || (c != '1' && StringRef(seen).contains(c)))
        return makeError(nameOf(op) + ": layout '" + layout + "' of '" +
                         value.role + "': expected letters of " + letters +
                         ", each once");
      else
        seen += c;
    if (layout.empty())
      return makeError(nameOf(op) + ": '" + value.role +
                       "' has no layout; expected as in key:BTHK");
  }
  return Error::success();
}

Error checkRoles(const CustomOpSignature &op,
                 const std::vector<CustomOpValue> &values, StringRef kind,
                 llvm::ArrayRef<StringRef> known) {
  llvm::StringSet<> seen;
  for (const CustomOpValue &value : values) {
    if (!llvm::is_contained(known, value.role))
      return makeError(nameOf(op) + ": " + kind + " of role '" + value.role +
                       "'; " + getLaw(op.law).name + " has " +
                       llvm::join(known, ", "));
    if (value.role != "ignored" && !seen.insert(value.role).second)
      return makeError(nameOf(op) + ": two " + kind + "s of role '" +
                       value.role + "'");
    if (Error error = checkLayout(op, value))
      return error;
  }
  return Error::success();
}

Error check(const CustomOpSignature &op) {
  if (op.domain.empty() || op.domain == "ai.onnx" || op.name.empty())
    return makeError("custom op '" + nameOf(op) +
                     "': expected a domain other than ONNX's, and a name");
  const LawInfo &law = getLaw(op.law);
  std::vector<StringRef> results{"output", "packed"};
  llvm::append_range(results, law.states);
  std::vector<StringRef> operands = law.operands;
  llvm::append_range(operands, law.optional);
  llvm::append_range(operands, law.states);
  operands.insert(operands.end(), {"ignored", "packed"});
  if (Error error = checkRoles(op, op.operands, "operand", operands))
    return error;
  if (Error error = checkRoles(op, op.results, "result", results))
    return error;
  if (op.isUnpack()) {
    if (op.operands.size() != 1 || op.results.size() != 1 ||
        op.findResult("packed") || op.law == CustomOpLaw::Wkv4)
      return makeError(nameOf(op) + ": expected one operand, packed, and one "
                                    "result, output or state, of a law with "
                                    "one state");
    return Error::success();
  }
  for (StringRef role : llvm::concat<const StringRef>(law.operands, law.states))
    if (!op.findOperand(role))
      return makeError(nameOf(op) + ": no operand of role '" + role + "'");
  if (!op.findResult("output") && !op.findResult("packed"))
    return makeError(nameOf(op) + ": no result of role output or packed");
  if (op.findResult("packed") &&
      (op.results.size() != 1 || op.law == CustomOpLaw::Wkv4))
    return makeError(nameOf(op) + ": a packed result is the only one, of a law "
                                  "with one state");
  return Error::success();
}

} // namespace

std::optional<unsigned> CustomOpSignature::findOperand(StringRef role) const {
  return findRole(operands, role);
}
std::optional<unsigned> CustomOpSignature::findResult(StringRef role) const {
  return findRole(results, role);
}

Error rwkvc::wkv::registerCustomOp(CustomOpSignature signature) {
  if (Error error = check(signature))
    return error;
  Registry &registry = getRegistry();
  std::lock_guard<std::mutex> guard(registry.mutex);
  llvm::erase_if(registry.ops, [&](const CustomOpSignature &op) {
    return op.domain == signature.domain && op.name == signature.name &&
           op.operands.size() == signature.operands.size() &&
           op.results.size() == signature.results.size();
  });
  registry.ops.push_back(std::move(signature));
  return Error::success();
}

std::optional<CustomOpSignature> rwkvc::wkv::findCustomOp(StringRef domain,
                                                          StringRef name,
                                                          unsigned numOperands,
                                                          unsigned numResults) {
  Registry &registry = getRegistry();
  std::lock_guard<std::mutex> guard(registry.mutex);
  for (const CustomOpSignature &op : registry.ops)
    if (op.domain == domain && op.name == name &&
        op.operands.size() == numOperands && op.results.size() == numResults)
      return op;
  return std::nullopt;
}

std::vector<CustomOpSignature> rwkvc::wkv::getCustomOps() {
  Registry &registry = getRegistry();
  std::lock_guard<std::mutex> guard(registry.mutex);
  return registry.ops;
}

//===----------------------------------------------------------------------===//
// JSON
//===----------------------------------------------------------------------===//

static Error readValues(const llvm::json::Object &entry, StringRef key,
                        std::vector<CustomOpValue> &values) {
  const llvm::json::Array *list = entry.getArray(key);
  if (!list)
    return makeError("'" + key + "' is missing or no list");
  for (const llvm::json::Value &item : *list) {
    std::optional<StringRef> text = item.getAsString();
    if (!text)
      return makeError("'" + key + "': expected strings as \"key:BTHK\"");
    auto [role, layout] = text->split(':');
    values.push_back({role.str(), layout.str()});
  }
  return Error::success();
}

static Expected<CustomOpSignature>
readSignature(const llvm::json::Value &item) {
  const llvm::json::Object *entry = item.getAsObject();
  if (!entry)
    return makeError("expected an object");
  static constexpr StringRef kKeys[] = {"domain", "name",     "law",
                                        "decay",  "operands", "results"};
  for (const auto &[key, value] : *entry)
    if (!llvm::is_contained(kKeys, StringRef(key)))
      return makeError("unknown key '" + StringRef(key) + "'; expected " +
                       llvm::join(llvm::ArrayRef<StringRef>(kKeys), ", "));
  CustomOpSignature op;
  std::string law, decay = "factor";
  for (auto [key, target, required] :
       {std::tuple(StringRef("domain"), &op.domain, true),
        std::tuple(StringRef("name"), &op.name, true),
        std::tuple(StringRef("law"), &law, true),
        std::tuple(StringRef("decay"), &decay, false)}) {
    if (std::optional<StringRef> text = entry->getString(key))
      *target = text->str();
    else if (required || entry->get(key))
      return makeError("'" + key + "' is missing or no string");
  }
  bool isKnown = false;
  for (CustomOpLaw each :
       {CustomOpLaw::Wkv4, CustomOpLaw::Wkv6, CustomOpLaw::Wkv7})
    if (getLaw(each).name == law)
      op.law = each, isKnown = true;
  if (!isKnown)
    return makeError("law '" + law + "'; expected wkv4, wkv6 or wkv7");
  static const llvm::StringMap<CustomOpDecay> decays = {
      {"factor", CustomOpDecay::Factor},
      {"log", CustomOpDecay::Log},
      {"exp_exp", CustomOpDecay::ExpExp},
      {"exp_sigmoid", CustomOpDecay::ExpSigmoid}};
  auto found = decays.find(decay);
  if (found == decays.end())
    return makeError("decay '" + decay +
                     "'; expected factor, log, exp_exp or exp_sigmoid");
  op.decay = found->second;
  if (Error error = readValues(*entry, "operands", op.operands))
    return error;
  if (Error error = readValues(*entry, "results", op.results))
    return error;
  return op;
}

Error rwkvc::wkv::loadCustomOps(StringRef path) {
  auto buffer = llvm::MemoryBuffer::getFile(path, /*IsText=*/true);
  if (!buffer)
    return makeError(
        path + ": cannot read the custom ops: " + buffer.getError().message());
  Expected<llvm::json::Value> json = llvm::json::parse((*buffer)->getBuffer());
  if (!json)
    return makeError(path + ": " + llvm::toString(json.takeError()));
  const llvm::json::Object *root = json->getAsObject();
  const llvm::json::Array *list = root ? root->getArray("custom_ops") : nullptr;
  if (!list)
    return makeError(path + ": expected an object with a list 'custom_ops'");
  for (auto [i, item] : llvm::enumerate(*list)) {
    Expected<CustomOpSignature> op = readSignature(item);
    Error error = op ? registerCustomOp(std::move(*op)) : op.takeError();
    if (error)
      return makeError(path + ": custom_ops[" + Twine(i) +
                       "]: " + llvm::toString(std::move(error)));
  }
  return Error::success();
}

//===----------------------------------------------------------------------===//
// Shapes
//===----------------------------------------------------------------------===//

static int64_t count(Shape shape) {
  int64_t product = 1;
  for (int64_t size : shape)
    product *= size;
  return product;
}

static std::string print(Shape shape) {
  std::string text;
  for (int64_t size : shape)
    text += (text.empty() ? "" : ", ") + std::to_string(size);
  return "[" + text + "]";
}

static int64_t sizeOf(char letter, const CustomOpSizes &sizes) {
  auto it = sizes.find(letter);
  return it == sizes.end() ? 1 : it->second;
}

/// Whether each axis of \p shape is one or several letters of \p layout, or
/// part of one: both are ways to group the same row-major elements.
static bool alignsWith(Shape shape, StringRef layout,
                       const CustomOpSizes &sizes) {
  llvm::SmallVector<int64_t> bounds{1};
  for (char c : llvm::reverse(layout))
    bounds.push_back(bounds.back() * sizeOf(c, sizes));
  int64_t low = 1;
  for (int64_t size : llvm::reverse(shape)) {
    int64_t high = low * size;
    bool isCut = llvm::any_of(
        bounds, [&](int64_t bound) { return low < bound && bound < high; });
    if (isCut &&
        (!llvm::is_contained(bounds, low) || !llvm::is_contained(bounds, high)))
      return false;
    low = high;
  }
  return true;
}

Expected<std::string> rwkvc::wkv::chooseLayout(StringRef layout,
                                               const CustomOpSizes &sizes,
                                               Shape shape, const Twine &what) {
  llvm::SmallVector<StringRef> alternatives;
  layout.split(alternatives, '|');
  std::string expected;
  for (StringRef alternative : alternatives) {
    int64_t product = 1;
    std::string text;
    for (char c : alternative) {
      product *= sizeOf(c, sizes);
      text += (text.empty() ? "" : ", ") +
              (c == '1' ? std::string("1")
                        : std::string(1, c) + "=" +
                              std::to_string(sizeOf(c, sizes)));
    }
    if (product > 0 && product == count(shape) &&
        alignsWith(shape, alternative, sizes))
      return alternative.str();
    expected += (expected.empty() ? "[" : " or [") + text + "]";
  }
  return makeError(what + " has shape " + print(shape) + ", expected " +
                   expected + " or the same with axes merged or split");
}

/// Reads the sizes of the letters of \p layout off the axes of \p shape, which
/// may lack leading axes or have further ones of size one.
static Error readAxes(StringRef layout, Shape shape, CustomOpSizes &sizes,
                      StringRef role) {
  size_t n = layout.size();
  llvm::SmallVector<int64_t> axes(shape);
  while (axes.size() > n && axes.front() == 1)
    axes.erase(axes.begin());
  while (axes.size() < n && axes.size() + 1 >= n)
    axes.insert(axes.begin(), 1);
  if (axes.size() != n)
    return makeError("operand '" + role + "' has shape " + print(shape) +
                     ", expected an axis for each letter of " + layout +
                     ", of which the first may be missing");
  for (auto [letter, size] : llvm::zip(layout, axes))
    if (letter != '1')
      sizes[letter] = size;
  return Error::success();
}

static Expected<CustomOpSizes> solvePacked(const CustomOpSignature &op,
                                           Shape shape) {
  CustomOpSizes sizes;
  if (shape.size() < 3 || shape[shape.size() - 2] <= shape.back())
    return makeError("operand 'packed' has shape " + print(shape) +
                     ", expected [H, T+V, K] or [B, H, T+V, K] with V = K and "
                     "at least one token");
  sizes['K'] = sizes['V'] = shape.back();
  sizes['T'] = shape[shape.size() - 2] - shape.back();
  sizes['H'] = shape[shape.size() - 3];
  sizes['B'] = count(shape.drop_back(3));
  return sizes;
}

Expected<CustomOpSizes> rwkvc::wkv::solveSizes(const CustomOpSignature &op,
                                               llvm::ArrayRef<Shape> operands) {
  if (op.isUnpack())
    return solvePacked(op, operands.front());
  CustomOpSizes sizes;
  for (StringRef role : getLaw(op.law).states) {
    unsigned index = *op.findOperand(role);
    StringRef layout = StringRef(op.operands[index].layout).split('|').first;
    CustomOpSizes own;
    if (Error error = readAxes(layout, operands[index], own, role))
      return error;
    for (auto [letter, size] : own)
      if (!sizes.insert({letter, size}).second && sizes[letter] != size)
        return makeError(
            "operand '" + role + "' has shape " + print(operands[index]) +
            ", expected " + std::string(1, letter) + "=" +
            std::to_string(sizes[letter]) + " as in the other states");
  }
  // What is left (T, and V of a state without it) follows from one operand that
  // has it as its only unknown.
  for (bool changed = true; changed;) {
    changed = false;
    for (auto [value, shape] : llvm::zip(op.operands, operands)) {
      if (value.role == "ignored")
        continue;
      StringRef layout = StringRef(value.layout).split('|').first;
      int64_t known = 1;
      std::string unknown;
      for (char c : layout)
        if (c != '1' && !sizes.count(c))
          unknown += c;
        else
          known *= sizeOf(c, sizes);
      // Alternatives may leave it out, so only those without any can tell.
      if (unknown.size() != 1 || layout.size() != value.layout.size())
        continue;
      if (known == 0 || count(shape) % known != 0)
        return makeError("operand '" + value.role + "' has shape " +
                         print(shape) + ", expected a multiple of " +
                         std::to_string(known) + " elements");
      sizes[unknown[0]] = count(shape) / known;
      changed = true;
    }
  }
  if (op.findResult("packed") && sizeOf('K', sizes) != sizeOf('V', sizes))
    return makeError("its result is packed, but keys have " +
                     std::to_string(sizeOf('K', sizes)) + " and values " +
                     std::to_string(sizeOf('V', sizes)) +
                     " elements; expected as many");
  for (auto [value, shape] : llvm::zip(op.operands, operands))
    if (value.role != "ignored")
      if (auto layout = chooseLayout(value.layout, sizes, shape,
                                     "operand '" + value.role + "'");
          !layout)
        return layout.takeError();
  return sizes;
}

llvm::SmallVector<int64_t>
rwkvc::wkv::getResultShape(const CustomOpSignature &op, unsigned index,
                           const CustomOpSizes &sizes,
                           llvm::ArrayRef<Shape> operands) {
  const CustomOpValue &result = op.results[index];
  auto get = [&](StringRef layout) {
    llvm::SmallVector<int64_t> shape;
    for (char c : layout)
      shape.push_back(sizeOf(c, sizes));
    return shape;
  };
  if (result.role == "packed" || (op.isUnpack() && result.role == "state")) {
    // Like the state, or the packed tensor: with or without a leading axis.
    bool hasBatch =
        operands[op.isUnpack() ? 0 : *op.findOperand("state")].size() > 3;
    llvm::SmallVector<int64_t> shape{sizeOf('B', sizes), sizeOf('H', sizes),
                                     sizeOf('V', sizes), sizeOf('K', sizes)};
    if (result.role == "packed")
      shape[2] += sizeOf('T', sizes);
    if (!hasBatch)
      shape.erase(shape.begin());
    return shape;
  }
  if (result.role != "output")
    return llvm::SmallVector<int64_t>(operands[*op.findOperand(result.role)]);
  llvm::SmallVector<StringRef> alternatives;
  StringRef(result.layout).split(alternatives, '|');
  for (StringRef layout : alternatives)
    if (sizeOf('B', sizes) == 1 || layout.contains('B'))
      return get(layout);
  return get(alternatives.front());
}
