//===- Explain.h - What was recognised in a model ---------------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_DIALECT_WKV_TRANSFORMS_EXPLAIN_H
#define RWKVC_DIALECT_WKV_TRANSFORMS_EXPLAIN_H

#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/raw_ostream.h"
#include <map>
#include <string>
#include <vector>

namespace rwkvc::wkv {

/// What raising made of a model. Filled from the IR after the raise phase.
struct Explanation {
  std::map<std::string, unsigned> raised;    ///< wkv op name -> count
  std::map<std::string, unsigned> leftovers; ///< onnx op name -> count
  /// One sentence for each state that no recurrence or shift accounts for.
  std::vector<std::string> reasons;
};

Explanation explain(mlir::ModuleOp module);

/// For people: a short table and the reasons.
void printText(const Explanation &explanation, llvm::raw_ostream &os);

/// {"raised": {...}, "leftovers": {...}, "reasons": [...]}
void printJSON(const Explanation &explanation, llvm::raw_ostream &os);

} // namespace rwkvc::wkv

#endif // RWKVC_DIALECT_WKV_TRANSFORMS_EXPLAIN_H
