//===- SelectForms.cpp - The functions that an artefact holds -------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "rwkvc/AOT/Interface.h"
#include "rwkvc/AOT/Passes.h"
#include "rwkvc/Dialect/WKV/IR/WKV.h"
#include "llvm/ADT/StringExtras.h"

namespace rwkvc::aot {
#define GEN_PASS_DEF_SELECTFORMS
#include "rwkvc/AOT/Passes.h.inc"
} // namespace rwkvc::aot

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::aot;

namespace {

struct SelectFormsPass : aot::impl::SelectFormsBase<SelectFormsPass> {
  using SelectFormsBase::SelectFormsBase;

  void runOnOperation() override {
    if (forms.empty())
      return eraseUselessConversions();
    FailureOr<SmallVector<func::FuncOp>> entries = getEntries(getOperation());
    if (failed(entries))
      return signalPassFailure();
    llvm::erase_if(*entries, isConversion);
    auto isWanted = [&](func::FuncOp entry) {
      auto form = entry->getAttrOfType<StringAttr>(wkv::kFormAttr);
      return llvm::is_contained(forms,
                                form ? form.getValue().str() : "original");
    };
    if (llvm::none_of(*entries, isWanted)) {
      getOperation().emitError()
          << "the model has none of the functions that were asked for: "
          << llvm::join(forms, ", ")
          << "; they are derived from graphs that take token ids and carry a "
             "state from token to token";
      return signalPassFailure();
    }
    for (func::FuncOp entry : *entries)
      if (!isWanted(entry)) {
        entry.erase();
        ++numRemoved;
      }
    eraseUselessConversions();
  }

  static bool isConversion(func::FuncOp entry) {
    auto form = entry->getAttrOfType<StringAttr>(wkv::kFormAttr);
    std::optional<FunctionKind> kind =
        form ? symbolizeFunctionKind(form.getValue()) : std::nullopt;
    return kind == FunctionKind::Unpack || kind == FunctionKind::Pack;
  }

  /// States are converted between the file's function and a derived form.
  void eraseUselessConversions() {
    FailureOr<SmallVector<func::FuncOp>> entries = getEntries(getOperation());
    if (failed(entries))
      return signalPassFailure();
    bool hasGraph = false, hasForm = false;
    for (func::FuncOp entry : *entries) {
      bool isForm = entry->hasAttr(wkv::kFormAttr);
      hasGraph |= !isForm;
      hasForm |= isForm && !isConversion(entry);
    }
    if (hasGraph && hasForm)
      return;
    for (func::FuncOp entry : *entries)
      if (isConversion(entry))
        entry.erase();
  }
};

} // namespace
