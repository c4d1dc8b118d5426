//===- Explain.cpp - What was recognised in a model -----------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "rwkvc/Dialect/WKV/Transforms/Explain.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "rwkvc/Dialect/ONNX/IR/ONNX.h"
#include "rwkvc/Dialect/WKV/IR/WKV.h"
#include "llvm/ADT/DenseSet.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/JSON.h"

using namespace mlir;
using namespace rwkvc;

/// Whether a recurrence reads \p state, directly or through onnx ops that only
/// move elements.
static bool feedsRecurrence(Value state) {
  SmallVector<Value> worklist{state};
  llvm::DenseSet<Value> seen;
  while (!worklist.empty()) {
    Value value = worklist.pop_back_val();
    if (!seen.insert(value).second)
      continue;
    for (Operation *user : value.getUsers()) {
      if (isa<wkv::RecurrenceOpInterface>(user))
        return true;
      if (isa<onnx::ReshapeOp, onnx::TransposeOp, onnx::SliceOp, onnx::CastOp,
              onnx::GatherOp, onnx::SplitOp, onnx::SqueezeOp, onnx::UnsqueezeOp,
              onnx::IdentityOp, onnx::ScatterNDOp>(user))
        llvm::append_range(worklist, user->getResults());
    }
  }
  return false;
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
  for (auto func : module.getOps<func::FuncOp>())
    for (BlockArgument argument : func.getArguments()) {
      unsigned number = argument.getArgNumber();
      if (!func.getArgAttr(number, kStateAttr))
        continue;
      // A vector state is a token shift's row unless it is one of v4's.
      auto type = dyn_cast<RankedTensorType>(argument.getType());
      unsigned large = llvm::count_if(type.getShape(),
                                      [](int64_t size) { return size > 1; });
      if (large < 2 || feedsRecurrence(argument))
        continue;
      auto name = func.getArgAttrOfType<StringAttr>(number, "onnx.name");
      result.reasons.push_back(llvm::formatv(
          "state '{0}' {1}: its update equals no recurrence law, so it is "
          "compiled as the ONNX operators that the file has",
          name ? name.getValue() : "", argument.getType()));
    }
  return result;
}

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
