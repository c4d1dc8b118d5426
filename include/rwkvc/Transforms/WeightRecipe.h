//===- WeightRecipe.h - Which weights get which format ----------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A list of rules, as JSON, of which the first one that matches a weight says
// its format (docs/WeightFormats.md).
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_TRANSFORMS_WEIGHTRECIPE_H
#define RWKVC_TRANSFORMS_WEIGHTRECIPE_H

#include "llvm/ADT/SmallVector.h"
#include "llvm/Support/Error.h"
#include <optional>
#include <string>

namespace rwkvc {

/// What a rule sees of a weight.
struct WeightTraits {
  /// Of the tensors it was made from.
  llvm::SmallVector<std::string> tensors;
  /// Of the nodes that read it.
  llvm::SmallVector<std::string> nodes;
  bool isTable = false;  ///< rows are read by their number
  int64_t rows, columns; ///< of the matrix that products sum over
};

struct WeightRule {
  std::string match; ///< a valid glob, of the tensor's name; empty: any
  std::string node;  ///< the same of a node that reads it
  std::optional<bool> isTable; ///< only tables, or only matrices
  int64_t maxRank = 0; ///< only matrices of at most this rank; 0: of any
  std::string format;  ///< empty: as in the file

  bool hasNames() const { return !match.empty() || !node.empty(); }
};

class WeightRecipe {
public:
  /// Reads the file \p path .
  static llvm::Expected<WeightRecipe> load(llvm::StringRef path);
  /// That of a format's name.
  static llvm::Expected<WeightRecipe> get(llvm::StringRef format);
  /// \p option is a format's name, or a file's, which ends in .json.
  static llvm::Expected<WeightRecipe> parseOption(llvm::StringRef option);

  llvm::ArrayRef<WeightRule> getRules() const { return rules; }

  /// The number of the first rule for the weight's tensor \p tensor .
  std::optional<size_t> findRule(const WeightTraits &weight,
                                 llvm::StringRef tensor) const;

private:
  static llvm::Expected<WeightRecipe> parse(llvm::StringRef text,
                                            llvm::StringRef name);
  llvm::SmallVector<WeightRule> rules;
};

/// Whether the valid glob \p pattern fits \p name .
bool matchesGlob(llvm::StringRef pattern, llvm::StringRef name);

} // namespace rwkvc

#endif // RWKVC_TRANSFORMS_WEIGHTRECIPE_H
