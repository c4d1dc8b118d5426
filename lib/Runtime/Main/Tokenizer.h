//===- Tokenizer.h - Text to tokens and back --------------------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_LIB_RUNTIME_MAIN_TOKENIZER_H
#define RWKVC_LIB_RUNTIME_MAIN_TOKENIZER_H

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace rwkvrt::cli {

class Tokenizer {
public:
  virtual ~Tokenizer() = default;
  virtual std::vector<int64_t> encode(std::string_view text) const = 0;
  /// The token's bytes, perhaps a part of a character; "" for no such token.
  virtual std::string decode(int64_t token) const = 0;
  /// Whether \p token ends the text.
  virtual bool isEnd(int64_t token) const = 0;
};

/// One token per byte.
std::unique_ptr<Tokenizer> makeByteTokenizer();

/// The tokenizer of the RWKV "World" models: the longest match at each
/// position. Lines of the vocabulary file: number, Python literal of the text
/// or bytes, length in bytes. Token 0, which the file does not list, ends a
/// text.
std::unique_ptr<Tokenizer> makeWorldTokenizer(const std::string &path);

} // namespace rwkvrt::cli

#endif // RWKVC_LIB_RUNTIME_MAIN_TOKENIZER_H
