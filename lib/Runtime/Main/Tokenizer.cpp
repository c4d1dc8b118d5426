//===- Tokenizer.cpp - Text to tokens and back ----------------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Tokenizer.h"

#include "CommandLine.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <unordered_map>

using namespace rwkvrt::cli;

namespace {
class ByteTokenizer final : public Tokenizer {
public:
  std::vector<int64_t> encode(std::string_view text) const override {
    std::vector<int64_t> tokens;
    for (char c : text)
      tokens.push_back(static_cast<unsigned char>(c));
    return tokens;
  }
  std::string decode(int64_t token) const override {
    return token >= 0 && token < 256 ? std::string(1, static_cast<char>(token))
                                     : std::string();
  }
  bool isEnd(int64_t) const override { return false; }
};

class WorldTokenizer final : public Tokenizer {
public:
  explicit WorldTokenizer(const std::string &path);
  std::vector<int64_t> encode(std::string_view text) const override;
  std::string decode(int64_t token) const override {
    auto found = texts.find(token);
    return found == texts.end() ? std::string() : found->second;
  }
  bool isEnd(int64_t token) const override { return token == 0; }

private:
  void addLine(const std::string &line);

  struct Node {
    int64_t token = -1; ///< the token that ends here
  };
  static uint64_t edge(uint32_t node, char byte) {
    return static_cast<uint64_t>(node) << 8 | static_cast<unsigned char>(byte);
  }
  std::vector<Node> nodes{1};
  std::unordered_map<uint64_t, uint32_t> children; ///< by edge()
  std::unordered_map<int64_t, std::string> texts;
};
} // namespace

static void appendUtf8(std::string &text, uint32_t code) {
  auto add = [&](uint32_t byte) { text += static_cast<char>(byte); };
  if (code < 0x80) {
    add(code);
  } else if (code < 0x800) {
    add(0xc0 | code >> 6);
    add(0x80 | (code & 0x3f));
  } else if (code < 0x10000) {
    add(0xe0 | code >> 12);
    add(0x80 | (code >> 6 & 0x3f));
    add(0x80 | (code & 0x3f));
  } else {
    add(0xf0 | code >> 18);
    add(0x80 | (code >> 12 & 0x3f));
    add(0x80 | (code >> 6 & 0x3f));
    add(0x80 | (code & 0x3f));
  }
}

/// The text of a Python literal as repr() writes it: '…' or "…", or b'…'.
static bool parseLiteral(std::string_view literal, std::string &text) {
  bool bytes = !literal.empty() && literal[0] == 'b';
  if (bytes)
    literal.remove_prefix(1);
  if (literal.size() < 2 || (literal[0] != '\'' && literal[0] != '"') ||
      literal.back() != literal[0])
    return false;
  literal = literal.substr(1, literal.size() - 2);
  for (size_t i = 0; i < literal.size(); ++i) {
    if (literal[i] != '\\') {
      text += literal[i];
      continue;
    }
    if (++i == literal.size())
      return false;
    size_t digits = 0;
    switch (literal[i]) {
    case 'n':
      text += '\n';
      break;
    case 't':
      text += '\t';
      break;
    case 'r':
      text += '\r';
      break;
    case '\\':
    case '\'':
    case '"':
      text += literal[i];
      break;
    case 'x':
      digits = 2;
      break;
    case 'u':
      digits = 4;
      break;
    case 'U':
      digits = 8;
      break;
    default:
      return false;
    }
    if (digits == 0)
      continue;
    std::string number(literal.substr(i + 1, digits));
    char *end;
    unsigned long code = std::strtoul(number.c_str(), &end, 16);
    if (number.size() != digits || *end || code > 0x10ffff)
      return false;
    if (bytes)
      text += static_cast<char>(code);
    else
      appendUtf8(text, static_cast<uint32_t>(code));
    i += digits;
  }
  return true;
}

void WorldTokenizer::addLine(const std::string &line) {
  constexpr const char *form = "expected: number 'text' length";
  size_t first = line.find(' '), last = line.rfind(' ');
  if (first == std::string::npos || last <= first)
    fail("%s", form);
  char *end;
  errno = 0;
  long long token = std::strtoll(line.c_str(), &end, 10);
  if (end != line.c_str() + first || errno || token < 0)
    fail("%s", form);
  std::string text;
  if (!parseLiteral(std::string_view(line).substr(first + 1, last - first - 1),
                    text) ||
      text.empty())
    fail("%s", form);
  long long length = std::strtoll(line.c_str() + last + 1, &end, 10);
  if (*end || length != static_cast<long long>(text.size()))
    fail("the text has %zu bytes, not %s", text.size(),
         line.c_str() + last + 1);
  uint32_t node = 0;
  for (char c : text) {
    auto [child, isNew] = children.try_emplace(
        edge(node, c), static_cast<uint32_t>(nodes.size()));
    if (isNew)
      nodes.emplace_back();
    node = child->second;
  }
  nodes[node].token = token;
  if (!texts.emplace(token, std::move(text)).second)
    fail("token %lld appears twice", token);
}

WorldTokenizer::WorldTokenizer(const std::string &path) {
  std::string content = readFile("--vocab", path), line;
  size_t begin = 0;
  for (size_t number = 1; begin < content.size(); ++number) {
    size_t end = std::min(content.find('\n', begin), content.size());
    line = content.substr(begin, end - begin);
    begin = end + 1;
    if (!line.empty() && line.back() == '\r')
      line.pop_back();
    if (line.empty())
      continue;
    try {
      addLine(line);
    } catch (const Failure &failure) {
      fail("%s:%zu: %s", path.c_str(), number, failure.message.c_str());
    }
  }
  if (texts.empty())
    fail("%s: no tokens in it", path.c_str());
}

std::vector<int64_t> WorldTokenizer::encode(std::string_view text) const {
  std::vector<int64_t> tokens;
  for (size_t begin = 0; begin < text.size();) {
    int64_t token = -1;
    size_t next = begin;
    uint32_t node = 0;
    for (size_t i = begin; i < text.size(); ++i) {
      auto child = children.find(edge(node, text[i]));
      if (child == children.end())
        break;
      node = child->second;
      if (nodes[node].token >= 0) {
        token = nodes[node].token;
        next = i + 1;
      }
    }
    if (token < 0)
      fail("the vocabulary has no token for the byte 0x%02x at position %zu of "
           "the prompt",
           static_cast<unsigned char>(text[begin]), begin);
    tokens.push_back(token);
    begin = next;
  }
  return tokens;
}

std::unique_ptr<Tokenizer> rwkvrt::cli::makeByteTokenizer() {
  return std::make_unique<ByteTokenizer>();
}

std::unique_ptr<Tokenizer>
rwkvrt::cli::makeWorldTokenizer(const std::string &path) {
  return std::make_unique<WorldTokenizer>(path);
}
