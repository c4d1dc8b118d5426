//===- MergeForms.cpp - One function for two ways to call it --------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "rwkvc/AOT/Interface.h"
#include "rwkvc/AOT/Passes.h"

namespace rwkvc::aot {
#define GEN_PASS_DEF_MERGEFORMS
#include "rwkvc/AOT/Passes.h.inc"
} // namespace rwkvc::aot

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::aot;

namespace {

/// Which argument each result of a function is, in another shape.
using Permutation = SmallVector<int64_t>;

struct MergeFormsPass : aot::impl::MergeFormsBase<MergeFormsPass> {
  void runOnOperation() override {
    auto entries = readEntries(getOperation());
    if (failed(entries))
      return signalPassFailure();
    llvm::DenseMap<FunctionKind, std::pair<func::FuncOp, Interface>> functions;
    for (auto &[entry, interface] : *entries)
      functions[interface.kind] = {entry, interface};
    for (FunctionKind kind : {FunctionKind::Graph, FunctionKind::Step,
                              FunctionKind::Unpack, FunctionKind::Pack})
      if (!functions.contains(kind))
        return;
    auto &[main, graph] = functions[FunctionKind::Graph];
    auto &[step, form] = functions[FunctionKind::Step];
    std::optional<Served> served = match(
        graph, form, findPermutation(functions[FunctionKind::Unpack].first),
        findPermutation(functions[FunctionKind::Pack].first));
    if (!served)
      return;
    setServed(step, *served);
    main.erase();
    ++numMerged;
  }

  /// None where \p conversion does more than to give each argument another
  /// shape.
  static std::optional<Permutation> findPermutation(func::FuncOp conversion) {
    if (conversion.getNumArguments() != conversion.getNumResults())
      return std::nullopt;
    Permutation permutation;
    llvm::SmallDenseSet<int64_t> taken;
    for (Value value : conversion.front().getTerminator()->getOperands()) {
      while (Operation *op = value.getDefiningOp()) {
        if (!isa<tensor::ExpandShapeOp, tensor::CollapseShapeOp>(op))
          return std::nullopt;
        value = op->getOperand(0);
      }
      permutation.push_back(cast<BlockArgument>(value).getArgNumber());
      if (!taken.insert(permutation.back()).second)
        return std::nullopt;
    }
    return permutation;
  }

  /// Whether both are one text's number or row, seen in whatever shape.
  static bool areAlike(RankedTensorType a, RankedTensorType b) {
    return a.getElementTypeBitWidth() == b.getElementTypeBitWidth() &&
           isa<FloatType>(a.getElementType()) ==
               isa<FloatType>(b.getElementType()) &&
           a.getNumElements() == b.getNumElements();
  }

  /// How callers of \p graph call a step with \p form .
  static std::optional<Served> match(const Interface &graph,
                                     const Interface &form,
                                     std::optional<Permutation> unpack,
                                     std::optional<Permutation> pack) {
    size_t numStates = graph.states.size();
    if (!unpack || !pack || unpack->size() != numStates ||
        form.states.size() != numStates ||
        graph.inputs.size() != numStates + 1 ||
        graph.outputs.size() != numStates + 1 || graph.tokenInput < 0 ||
        graph.logitsOutput < 0)
      return std::nullopt;
    RankedTensorType tokens = graph.inputs[graph.tokenInput].type;
    // The texts of several need not be in the same order on both sides.
    if (tokens.getNumElements() != 1 ||
        !areAlike(tokens, form.inputs[form.tokenInput].type) ||
        !areAlike(graph.outputs[graph.logitsOutput].type,
                  form.outputs[form.logitsOutput].type))
      return std::nullopt;
    Served served{graph, SmallVector<int64_t>(form.inputs.size()),
                  SmallVector<int64_t>(form.outputs.size())};
    served.inputs[form.tokenInput] = graph.tokenInput;
    served.outputs[form.logitsOutput] = graph.logitsOutput;
    for (auto [number, state] : llvm::enumerate(form.states)) {
      int64_t other = (*unpack)[number];
      if ((*pack)[other] != static_cast<int64_t>(number))
        return std::nullopt;
      served.inputs[state.input] = graph.states[other].input;
      served.outputs[state.output] = graph.states[other].output;
    }
    return served;
  }
};

} // namespace
