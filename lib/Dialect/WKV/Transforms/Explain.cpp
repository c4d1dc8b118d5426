//===- Explain.cpp - What was recognised in a model -----------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "rwkvc/Dialect/WKV/Transforms/Explain.h"
#include "ElementOrigins.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "rwkvc/Dialect/ONNX/IR/ONNX.h"
#include "rwkvc/Dialect/WKV/IR/WKV.h"
#include "rwkvc/Dialect/WKV/Transforms/Passes.h"
#include "rwkvc/Dialect/WKV/Transforms/SumOfProducts.h"
#include "llvm/ADT/DenseSet.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/JSON.h"

using namespace mlir;
using namespace rwkvc;
using wkv::Factor, wkv::SumOfProducts, wkv::SumOfProductsAnalysis, wkv::Term;

namespace {

/// Why the states of one function that nothing accounts for were left.
class Diagnosis {
public:
  explicit Diagnosis(func::FuncOp func) : func(func) {}
  bool hasBody() { return !func.isExternal() && func.getBody().hasOneBlock(); }
  /// Empty where a recurrence or a token shift keeps \p state.
  std::string explain(BlockArgument state, unsigned result);

private:
  /// The first op that uses \p state through ops that only move elements: a
  /// recurrence or token shift if there is one.
  Operation *findReader(Value state);
  std::string explainUpdate(BlockArgument state, Value update);
  std::string explainForm(BlockArgument state, const SumOfProducts &form);
  bool dependsOn(Value value, Value source);

  /// Normal forms with all states as roots, made when the first is needed.
  SumOfProductsAnalysis &getForms();

  func::FuncOp func;
  std::optional<SumOfProductsAnalysis> forms;
};

} // namespace

SumOfProductsAnalysis &Diagnosis::getForms() {
  if (forms)
    return *forms;
  SmallVector<Value> states;
  for (BlockArgument argument : func.getArguments())
    if (func.getArgAttr(argument.getArgNumber(), wkv::kStateAttr))
      states.push_back(argument);
  forms.emplace(states);
  // In program order, so that the analysis does not recurse deeply.
  for (Operation &op : func.getBody().front())
    for (Value result : op.getResults())
      forms->get(result);
  return *forms;
}

static unsigned countLargeDims(Value value) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  return type ? llvm::count_if(type.getShape(),
                               [](int64_t size) { return size > 1; })
              : 0;
}

/// The op with the name of its ONNX node.
static std::string describe(Operation *op) {
  StringRef node = onnx::getNodeName(op), name = op->getName().getStringRef();
  if (node.empty() || node == name)
    return name.str();
  return (name + " (node '" + node + "')").str();
}

Operation *Diagnosis::findReader(Value state) {
  SmallVector<Value> worklist{state};
  llvm::DenseSet<Value> seen;
  Operation *other = nullptr;
  while (!worklist.empty()) {
    Value value = worklist.pop_back_val();
    if (!seen.insert(value).second)
      continue;
    for (Operation *user : value.getUsers()) {
      if (isa<wkv::RecurrenceOpInterface, wkv::TokenShiftOp>(user))
        return user;
      if (wkv::movesElements(user))
        llvm::append_range(worklist, user->getResults());
      else if (!other && !user->hasTrait<OpTrait::IsTerminator>())
        other = user;
    }
  }
  return other;
}

bool Diagnosis::dependsOn(Value value, Value source) {
  SmallVector<Value> worklist{value};
  llvm::DenseSet<Value> seen;
  while (!worklist.empty()) {
    Value current = worklist.pop_back_val();
    if (current == source)
      return true;
    Operation *op = current.getDefiningOp();
    if (op && seen.insert(current).second)
      llvm::append_range(worklist, op->getOperands());
  }
  return false;
}

std::string Diagnosis::explainForm(BlockArgument state,
                                   const SumOfProducts &form) {
  unsigned kept = 0, removed = 0, added = 0;
  for (const Term &term : form.terms) {
    bool live = llvm::any_of(term.factors,
                             [&](const Factor &f) { return f.atom == state; });
    ++(!live ? added : term.sums.empty() ? kept : removed);
  }
  std::string terms =
      llvm::formatv("its update is linear: {0} term(s) with the old state, {1} "
                    "with the old state summed, {2} without",
                    kept, removed, added);
  if (countLargeDims(state) < 2)
    return terms +
           "; the nearest law, wkv.wkv4, keeps a running maximum beside "
           "its two sums";
  if (kept == 1 && added == 1 && removed <= 1)
    return terms +
           llvm::formatv(", as in {0}, but its factors do not split into a "
                         "decay, a key and a value, or no output reads it as "
                         "that law does",
                         removed ? "wkv.wkv7" : "wkv.wkv6")
               .str();
  return terms + "; wkv.wkv6 has 1, 0 and 1, wkv.wkv7 has 1, 1 and 1";
}

std::string Diagnosis::explainUpdate(BlockArgument state, Value update) {
  if (!dependsOn(update, state))
    return "its new value does not depend on its old one, and is not the row "
           "that the next token reads in its place";
  SumOfProductsAnalysis &analysis = getForms();
  // Back to the op that hides the state from the analysis.
  Value value = update;
  while (Operation *op = value.getDefiningOp()) {
    if (analysis.isLive(value))
      break;
    auto next = llvm::find_if(op->getOperands(), [&](Value operand) {
      return dependsOn(operand, state);
    });
    if (next == op->getOperands().end())
      break;
    if (*next == state || analysis.isLive(*next))
      return describe(op) +
             " on the way to its new value is not linear in the old one, and "
             "the whole is not wkv.wkv4";
    value = *next;
  }
  const std::optional<SumOfProducts> &form = analysis.get(value);
  if (value != update || !form)
    return "its new value is not linear in the old one, and not wkv.wkv4";
  return explainForm(state, *form);
}

std::string Diagnosis::explain(BlockArgument state, unsigned result) {
  if (!dyn_cast<RankedTensorType>(state.getType()) ||
      !cast<RankedTensorType>(state.getType()).hasStaticShape())
    return "its shape is not known";
  Operation *reader = findReader(state);
  if (isa_and_nonnull<wkv::RecurrenceOpInterface, wkv::TokenShiftOp>(reader))
    return {};
  if (!reader)
    return "nothing is computed from it";
  if (reader->getNumRegions() > 0)
    return describe(reader) + " carries it; its body is compiled as it is";
  // What the output is a copy of.
  Value update = func.getBody().front().getTerminator()->getOperand(result);
  while (Operation *op = update.getDefiningOp()) {
    if (!wkv::movesElements(op))
      break;
    // What is written into a tensor, not the tensor.
    update = op->getOperand(
        isa<onnx::ScatterNDOp, onnx::ScatterElementsOp>(op) ? 2 : 0);
  }
  return explainUpdate(state, update);
}

wkv::Explanation wkv::explain(ModuleOp module) {
  Explanation result;
  module.walk([&](Operation *op) {
    if (isa_and_nonnull<WKVDialect>(op->getDialect()))
      ++result.raised[op->getName().getStringRef().str()];
    else if (isa_and_nonnull<onnx::ONNXDialect>(op->getDialect()) &&
             !isa<onnx::ConstantOp, onnx::NoValueOp, onnx::YieldOp>(op))
      ++result.leftovers[op->getName().getStringRef().str()];
  });
  for (auto func : module.getOps<func::FuncOp>()) {
    Diagnosis diagnosis(func);
    for (BlockArgument argument : func.getArguments()) {
      unsigned number = argument.getArgNumber();
      auto output = func.getArgAttrOfType<IntegerAttr>(number, kStateAttr);
      if (!output || !diagnosis.hasBody())
        continue;
      std::string reason = diagnosis.explain(argument, output.getInt());
      if (reason.empty())
        continue;
      auto name = func.getArgAttrOfType<StringAttr>(number, "onnx.name");
      result.reasons.push_back(llvm::formatv(
          "state '{0}' {1}: {2}; it is compiled as the ONNX operators that the "
          "file has",
          name ? name.getValue() : "", argument.getType(), reason));
    }
  }
  return result;
}

namespace rwkvc::wkv {
#define GEN_PASS_DEF_EXPLAINSTATES
#include "rwkvc/Dialect/WKV/Transforms/Passes.h.inc"
} // namespace rwkvc::wkv

namespace {

struct ExplainStatesPass : wkv::impl::ExplainStatesBase<ExplainStatesPass> {
  void runOnOperation() override {
    for (const std::string &reason : wkv::explain(getOperation()).reasons)
      getOperation().emitRemark() << reason;
    markAllAnalysesPreserved();
  }
};

} // namespace

void wkv::printText(const Explanation &explanation, raw_ostream &os) {
  os << "Recognised:\n";
  for (const auto &[name, count] : explanation.raised)
    os << llvm::formatv("  {0,5}  {1}\n", count, name);
  os << "Left as plain ONNX:\n";
  for (const auto &[name, count] : explanation.leftovers)
    os << llvm::formatv("  {0,5}  {1}\n", count, name);
  for (const std::string &reason : explanation.reasons)
    os << "Note: " << reason << "\n";
}

void wkv::printJSON(const Explanation &explanation, raw_ostream &os) {
  auto counts = [](const std::map<std::string, unsigned> &map) {
    llvm::json::Object object;
    for (const auto &[name, count] : map)
      object[name] = count;
    return object;
  };
  llvm::json::Array reasons;
  for (const std::string &reason : explanation.reasons)
    reasons.push_back(reason);
  os << llvm::json::Value(
            llvm::json::Object{{"raised", counts(explanation.raised)},
                               {"leftovers", counts(explanation.leftovers)},
                               {"reasons", std::move(reasons)}})
     << "\n";
}
