//===- CustomOps.h - WKV operators of other ONNX domains --------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Exporters write a whole recurrence as one node of a domain of their own. This
// is the registry of such operators: which law they compute, and which operand
// plays which part in it. The importer takes the types of their results from
// it, and -wkv-raise-custom-ops replaces the nodes by ops of the wkv dialect.
//
// A plugin adds operators by registerCustomOp() in its registration callback;
// a user does so by a JSON file, see loadCustomOps() and docs/Plugins.md.
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_DIALECT_WKV_IR_CUSTOMOPS_H
#define RWKVC_DIALECT_WKV_IR_CUSTOMOPS_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/Error.h"
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace rwkvc::wkv {

/// The op of the wkv dialect that an operator computes.
enum class CustomOpLaw { Wkv4, Wkv6, Wkv7 };

/// How an operator takes the decay of a token.
enum class CustomOpDecay {
  Factor,    ///< w itself, between 0 and 1
  Log,       ///< ln w, at most 0
  ExpExp,    ///< x with w = exp(-exp(x)): v5's and v6's logit
  ExpSigmoid ///< x with w = exp(-e^-1/2 sigmoid(x)): v7's logit
};

/// One operand or result.
///
/// Roles of operands are the operand names of the law's op in WKVOps.td
/// (receptance, key, value, decay, bonus, a, b, state; num, den and max for
/// wkv4), `ignored` for what the law does not need, and `packed` for the only
/// operand of an operator that takes a packed result apart. Roles of results
/// are `output`, the states' names, and `packed`: output and state in one
/// tensor,
/// [.., H, T+V, K], the rows of the output before those of the state (V = K).
///
/// A layout says which sizes the elements have in row-major order, a letter for
/// each: B sequences, T tokens, H heads, K key and V value elements of a head,
/// C channels (wkv4), and 1. The tensor may have its axes merged, split or with
/// ones among them: [T*H, K] and [T, H, 1, K] are both "THK". B may be left out
/// where there is one sequence. Several layouts are alternatives, of which the
/// first that fits the tensor's size counts: "BTHK|HK|H" is a decay for each
/// token, or one for all, or one for a whole head. `packed` needs no layout.
///
/// A state is best described by all its letters ("BHKV"): its last axes say H,
/// K and V. Results that the file declares no shape for get that of the state
/// in the case of states, otherwise the axes of the layout.
struct CustomOpValue {
  std::string role, layout;
};

/// An operator. Several may have one name if the numbers of their operands or
/// results differ.
struct CustomOpSignature {
  std::string domain, name;
  CustomOpLaw law = CustomOpLaw::Wkv6;
  CustomOpDecay decay = CustomOpDecay::Factor;
  std::vector<CustomOpValue> operands, results;

  /// Index of the operand or result with \p role, or none.
  std::optional<unsigned> findOperand(llvm::StringRef role) const;
  std::optional<unsigned> findResult(llvm::StringRef role) const;
  /// Whether the operator takes a packed result apart.
  bool isUnpack() const { return findOperand("packed").has_value(); }
};

/// The sizes of a node, by letter of the layouts.
using CustomOpSizes = std::map<char, int64_t>;
using Shape = llvm::ArrayRef<int64_t>;

/// Adds an operator; one of the same domain, name and numbers of operands and
/// results is replaced. Fails if a role or layout is unknown, is missing for
/// the law, or is there twice.
llvm::Error registerCustomOp(CustomOpSignature signature);

/// Adds the operators of a JSON file:
///
///     {"custom_ops": [{
///       "domain": "org.example", "name": "wkv6", "law": "wkv6",
///       "decay": "exp_exp",
///       "operands": ["receptance:BTHK", "key:BTHK", "value:BTHV",
///                    "decay:BTHK", "bonus:HK", "state:BHKV"],
///       "results": ["output:BTHV", "state:BHKV"]}]}
///
/// `decay` is factor (the default), log, exp_exp or exp_sigmoid. The error
/// names the file and the entry.
llvm::Error loadCustomOps(llvm::StringRef path);

/// The operator of that name, or none.
std::optional<CustomOpSignature> findCustomOp(llvm::StringRef domain,
                                              llvm::StringRef name,
                                              unsigned numOperands,
                                              unsigned numResults);
/// All operators.
std::vector<CustomOpSignature> getCustomOps();

/// The sizes that the operands' shapes say, or why they do not fit.
llvm::Expected<CustomOpSizes> solveSizes(const CustomOpSignature &signature,
                                         llvm::ArrayRef<Shape> operands);

/// The alternative of \p layout that fits \p shape, or an error that says what
/// was expected. `what` names the tensor.
llvm::Expected<std::string> chooseLayout(llvm::StringRef layout,
                                         const CustomOpSizes &sizes,
                                         Shape shape, const llvm::Twine &what);

/// The shape of result \p index where the file declares none.
llvm::SmallVector<int64_t> getResultShape(const CustomOpSignature &signature,
                                          unsigned index,
                                          const CustomOpSizes &sizes,
                                          llvm::ArrayRef<Shape> operands);

} // namespace rwkvc::wkv

#endif // RWKVC_DIALECT_WKV_IR_CUSTOMOPS_H
