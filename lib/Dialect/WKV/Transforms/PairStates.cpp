//===- PairStates.cpp - Which output continues which input ----------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "rwkvc/Dialect/ONNX/IR/ONNX.h"
#include "rwkvc/Dialect/WKV/IR/WKV.h"
#include "rwkvc/Dialect/WKV/Transforms/Passes.h"

namespace rwkvc::wkv {
#define GEN_PASS_DEF_PAIRSTATES
#include "rwkvc/Dialect/WKV/Transforms/Passes.h.inc"
} // namespace rwkvc::wkv

using namespace mlir;
using namespace rwkvc;

/// Name of a state without the words that tell its old value from its new one,
/// so that "state3_in" and "state3_out", or "x_last_0" and "x_next_0", agree.
static std::string stem(StringRef name) {
  SmallVector<StringRef> words;
  name.split(words, '_', -1, false);
  std::string result;
  for (StringRef word : words) {
    if (llvm::is_contained({"in", "out", "input", "output", "last", "next",
                            "new", "old", "past", "present"},
                           word.lower()))
      continue;
    result += result.empty() ? "" : "_";
    result += word;
  }
  return result;
}

/// Whether \p op gives elements of its first operand.
static bool isView(Operation *op) {
  return onnx::isShapeView(op) ||
         isa<onnx::CastOp, onnx::TransposeOp, onnx::GatherOp, onnx::SliceOp>(
             op);
}

/// Whether \p state, a state input or what is read of it, enters a Max together
/// with a computed value: the running maximum of v4's recurrence. Of an input
/// from which parts are cut all do, or it is more than that.
static bool entersMaximum(Value state) {
  SmallVector<Value> worklist{state}, parts;
  for (unsigned i = 0; i < worklist.size() && i < 64; ++i)
    for (Operation *user : worklist[i].getUsers()) {
      if (isa<onnx::MaxOp>(user))
        return true;
      bool cut = isa<onnx::GatherOp, onnx::SliceOp, onnx::SplitOp>(user) &&
                 user->getOperand(0) == worklist[i];
      // max(pp, u + k) and max(pp + w, k): at most one addition in between.
      if (cut)
        llvm::append_range(parts, user->getResults());
      else if (isView(user) || (isa<onnx::AddOp>(user) && i == 0))
        llvm::append_range(worklist, user->getResults());
    }
  return !parts.empty() && llvm::all_of(parts, entersMaximum);
}

namespace {

struct PairStatesPass : wkv::impl::PairStatesBase<PairStatesPass> {
  void runOnOperation() override {
    for (auto func : getOperation().getOps<func::FuncOp>())
      if (!func.isExternal() && func.isPublic())
        run(func);
  }

  void run(func::FuncOp func) {
    Builder builder(&getContext());
    auto argName = [&](unsigned i) {
      auto attr = func.getArgAttrOfType<StringAttr>(i, "onnx.name");
      return attr ? attr.getValue() : StringRef();
    };
    auto resultName = [&](unsigned i) {
      auto attr = func.getResultAttrOfType<StringAttr>(i, "onnx.name");
      return attr ? attr.getValue() : StringRef();
    };
    FunctionType type = func.getFunctionType();
    unsigned numArgs = type.getNumInputs(), numResults = type.getNumResults();
    SmallVector<int64_t> pair(numArgs, -1);
    SmallVector<bool> taken(numResults, false);
    auto isState = [&](Type t) {
      auto tensor = dyn_cast<RankedTensorType>(t);
      return tensor && isa<FloatType>(tensor.getElementType());
    };
    // Exporters drop axes of size one from a state on its way out.
    auto holdsSame = [&](Type a, Type b) {
      if (a == b)
        return true;
      auto x = cast<RankedTensorType>(a), y = dyn_cast<RankedTensorType>(b);
      return y && x.getElementType() == y.getElementType() &&
             x.hasStaticShape() && y.hasStaticShape() &&
             x.getNumElements() == y.getNumElements();
    };
    // By name, where each stem stands for one input and one output.
    llvm::StringMap<SmallVector<unsigned>> byStem;
    for (unsigned i = 0; i < numResults; ++i)
      byStem[stem(resultName(i))].push_back(i);
    for (unsigned i = 0; i < numArgs; ++i) {
      auto it = byStem.find(stem(argName(i)));
      if (argName(i).empty() || it == byStem.end() || it->second.size() != 1)
        continue;
      unsigned j = it->second[0];
      if (!taken[j] && isState(type.getInput(i)) &&
          holdsSame(type.getInput(i), type.getResult(j))) {
        pair[i] = j;
        taken[j] = true;
      }
    }
    // The rest by type and order, never across a type's count: outputs of one
    // type that outnumber the inputs are not all states.
    llvm::MapVector<Type,
                    std::pair<SmallVector<unsigned>, SmallVector<unsigned>>>
        byType;
    for (unsigned i = 0; i < numArgs; ++i)
      if (pair[i] < 0 && isState(type.getInput(i)))
        byType[type.getInput(i)].first.push_back(i);
    for (unsigned j = 0; j < numResults; ++j)
      if (!taken[j] && isState(type.getResult(j)))
        byType[type.getResult(j)].second.push_back(j);
    for (auto &[unused, lists] : byType)
      if (lists.first.size() == lists.second.size())
        for (auto [i, j] : llvm::zip(lists.first, lists.second)) {
          pair[i] = j;
          taken[j] = true;
        }

    for (unsigned i = 0; i < numArgs; ++i) {
      if (pair[i] < 0)
        continue;
      ++numPaired;
      func.setArgAttr(i, wkv::kStateAttr, builder.getI64IntegerAttr(pair[i]));
      if (entersMaximum(func.getArgument(i)))
        func.setArgAttr(i, wkv::kInitialAttr,
                        builder.getF64FloatAttr(wkv::kEmptyMaximum));
    }
    markTokenAndLogits(func, taken);
  }

  /// The token is the integer input that indexes a constant table; the logits
  /// are the only output that continues no state, if it holds floats.
  void markTokenAndLogits(func::FuncOp func, ArrayRef<bool> taken) {
    Builder builder(&getContext());
    for (BlockArgument argument : func.getArguments()) {
      if (!isa<IntegerType>(getElementTypeOrSelf(argument.getType())))
        continue;
      SmallVector<Value> worklist{argument};
      for (unsigned i = 0; i < worklist.size() && i < 16; ++i)
        for (OpOperand &use : worklist[i].getUses()) {
          auto gather = dyn_cast<onnx::GatherOp>(use.getOwner());
          if (gather && use.get() == gather.getIndices()) {
            auto table = dyn_cast<RankedTensorType>(gather.getData().getType());
            if (!table || !gather.getData().getDefiningOp<onnx::ConstantOp>())
              continue;
            unsigned number = argument.getArgNumber();
            func.setArgAttr(
                number, wkv::kIndexLimitAttr,
                builder.getI64IntegerAttr(table.getDimSize(gather.getAxis())));
            getOperation()->setAttr(wkv::kTokenInputAttr,
                                    builder.getI64IntegerAttr(number));
          } else if (isView(use.getOwner())) {
            worklist.push_back(use.getOwner()->getResult(0));
          }
        }
    }
    int64_t logits = llvm::find(taken, false) - taken.begin();
    if (llvm::count(taken, false) == 1 &&
        isa<FloatType>(getElementTypeOrSelf(func.getResultTypes()[logits])))
      getOperation()->setAttr(wkv::kLogitsOutputAttr,
                              builder.getI64IntegerAttr(logits));
  }
};

} // namespace
