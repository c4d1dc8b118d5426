//===- WeightRecipe.cpp - Which weights get which format ------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "rwkvc/Transforms/WeightRecipe.h"
#include "rwkvc/Transforms/Passes.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/GlobPattern.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/MemoryBuffer.h"

using namespace rwkvc;

/// Tables have rows of 8 bits where matrices have 4. Low-rank projections are
/// small, and errors in them weigh more.
static constexpr llvm::StringLiteral kFourBitRecipe = R"([
  {"use": "table", "format": "$8"},
  {"max-rank": 256, "format": "$8"},
  {"format": "$4"}
])";

/// A matrix of low rank is so many times longer than wide at least. Square ones
/// and those of channel mixes, four times as long, are not.
static constexpr int64_t kLowRankRatio = 4;

static llvm::Expected<WeightRule> parseRule(const llvm::json::Value &value) {
  const llvm::json::Object *object = value.getAsObject();
  if (!object)
    return llvm::createStringError("expected an object");
  WeightRule rule;
  bool hasFormat = false;
  for (const auto &[key, entry] : *object) {
    llvm::StringRef name(key);
    std::optional<llvm::StringRef> text = entry.getAsString();
    auto expected = [&](const llvm::Twine &what) {
      return llvm::createStringError("'" + name + "': expected " + what);
    };
    if (name == "match" || name == "node") {
      if (!text)
        return expected("a pattern, as \"*att.receptance*\"");
      (name == "match" ? rule.match : rule.node) = text->str();
      auto pattern = llvm::GlobPattern::create(*text);
      if (!pattern)
        return llvm::createStringError(
            "'" + name + "': '" + *text +
            "' is no pattern: " + llvm::toString(pattern.takeError()));
    } else if (name == "format") {
      if (!text ||
          (*text != "keep" && !llvm::is_contained(getWeightFormats(), *text)))
        return expected("one of " + llvm::join(getWeightFormats(), ", ") +
                        ", or keep" +
                        (text ? ", not '" + text->str() + "'" : ""));
      rule.format = *text == "keep" ? "" : text->str();
      hasFormat = true;
    } else if (name == "use") {
      if (text != "table" && text != "product")
        return expected("table or product");
      rule.isTable = *text == "table";
    } else if (name == "max-rank") {
      std::optional<int64_t> rank = entry.getAsInteger();
      if (!rank || *rank < 1)
        return expected("a number of at least 1");
      rule.maxRank = *rank;
    } else {
      return llvm::createStringError(
          "'" + name +
          "' is unknown; a rule has match, node, use, max-rank and format");
    }
  }
  if (!hasFormat)
    return llvm::createStringError("'format' is missing");
  return rule;
}

llvm::Expected<WeightRecipe> WeightRecipe::parse(llvm::StringRef text,
                                                 llvm::StringRef name) {
  llvm::Expected<llvm::json::Value> value = llvm::json::parse(text);
  if (!value)
    return llvm::createStringError("recipe '" + name +
                                   "': " + llvm::toString(value.takeError()));
  const llvm::json::Array *list = value->getAsArray();
  if (!list)
    return llvm::createStringError("recipe '" + name +
                                   "': expected a list of rules");
  WeightRecipe recipe;
  for (const llvm::json::Value &entry : *list) {
    llvm::Expected<WeightRule> rule = parseRule(entry);
    if (!rule)
      return llvm::createStringError("recipe '" + name + "': rule " +
                                     llvm::Twine(recipe.rules.size() + 1) +
                                     ": " + llvm::toString(rule.takeError()));
    recipe.rules.push_back(std::move(*rule));
  }
  return recipe;
}

llvm::Expected<WeightRecipe> WeightRecipe::load(llvm::StringRef path) {
  auto file = llvm::MemoryBuffer::getFile(path);
  if (!file)
    return llvm::createStringError(
        "recipe '" + path + "' cannot be read: " + file.getError().message());
  return parse((*file)->getBuffer(), path);
}

llvm::Expected<WeightRecipe> WeightRecipe::get(llvm::StringRef format) {
  if (!llvm::is_contained(getWeightFormats(), format))
    return llvm::createStringError(
        "format '" + format + "' of weights: expected one of " +
        llvm::join(getWeightFormats(), ", ") + ", or a recipe's file, .json");
  std::string text = ("[{\"format\": \"" + format + "\"}]").str();
  if (format.ends_with("4")) {
    llvm::StringRef kind = format.drop_back();
    text.clear();
    for (char c : kFourBitRecipe)
      text += c == '$' ? kind.str() : std::string(1, c);
  }
  return parse(text, format);
}

llvm::Expected<WeightRecipe> WeightRecipe::parseOption(llvm::StringRef option) {
  return option.ends_with(".json") ? load(option) : get(option);
}

bool rwkvc::matchesGlob(llvm::StringRef pattern, llvm::StringRef name) {
  return llvm::cantFail(llvm::GlobPattern::create(pattern)).match(name);
}

std::optional<size_t> WeightRecipe::findRule(const WeightTraits &weight,
                                             llvm::StringRef tensor) const {
  auto [rank, size] = std::minmax(weight.rows, weight.columns);
  for (auto [number, rule] : llvm::enumerate(rules)) {
    if (rule.isTable && *rule.isTable != weight.isTable)
      continue;
    if (rule.maxRank != 0 &&
        (weight.isTable || rank > rule.maxRank || rank * kLowRankRatio >= size))
      continue;
    llvm::StringRef pattern = rule.node;
    bool isNode = pattern.empty() ||
                  llvm::any_of(weight.nodes, [&](llvm::StringRef node) {
                    return matchesGlob(pattern, node);
                  });
    if (isNode && (rule.match.empty() || matchesGlob(rule.match, tensor)))
      return number;
  }
  return std::nullopt;
}
