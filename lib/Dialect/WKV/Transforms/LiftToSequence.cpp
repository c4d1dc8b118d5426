//===- LiftToSequence.cpp - A block of tokens from a step -----------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Forms.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Linalg/Transforms/Transforms.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"
#include "rwkvc/Dialect/WKV/Transforms/Lifting.h"
#include "rwkvc/Dialect/WKV/Transforms/Passes.h"

namespace rwkvc::wkv {
#define GEN_PASS_DEF_LIFTTOSEQUENCE
#include "rwkvc/Dialect/WKV/Transforms/Passes.h.inc"
} // namespace rwkvc::wkv

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::wkv;

static constexpr llvm::StringLiteral kNameAttr = "onnx.name";

namespace {

/// What to build: \p block tokens of each sequence, of which a length counts,
/// or, where \p block is 0, one.
struct Target {
  int64_t batch = 1, block = 0;
  bool allLogits = false;

  bool isBlock() const { return block > 0; }
  int64_t getNumTokens() const { return isBlock() ? block : 1; }
};

class Lifter {
public:
  Lifter(func::FuncOp step, Target target)
      : step(step), target(target), builder(step.getContext()) {}

  /// The new function, outside of any module; fails after a remark.
  FailureOr<func::FuncOp> run();

private:
  LogicalResult addArguments();
  FailureOr<SmallVector<Value>> buildResults(Lifting &lifting);

  func::FuncOp step;
  Target target;
  OpBuilder builder;
  func::FuncOp form;
  SmallVector<Attribute> argAttrs;
  Value tokens, length;
  SmallVector<std::pair<Value, Value>> states;
};

} // namespace

/// Tokens, the length of a block, states of all sequences.
LogicalResult Lifter::addArguments() {
  Location loc = step.getLoc();
  Block *body = builder.createBlock(&form.getBody());
  for (BlockArgument argument : step.getArguments()) {
    unsigned number = argument.getArgNumber();
    auto type = dyn_cast<RankedTensorType>(argument.getType());
    if (!type || !type.hasStaticShape())
      return emitRemark(loc) << "only one token at a time: argument " << number
                             << " has no static shape";
    SmallVector<int64_t> shape(type.getShape());
    bool isTokens = static_cast<bool>(step.getArgAttr(number, kTokensAttr));
    if (isTokens ? type.getNumElements() != 1
                 : shape.empty() || shape.front() != 1)
      return emitRemark(loc)
             << "only one token at a time: the file is for several sequences";
    if (isTokens) {
      shape = {target.batch};
      if (target.isBlock())
        shape.push_back(target.block);
    } else {
      shape.front() = target.batch;
    }
    Value value = body->addArgument(type.clone(shape), argument.getLoc());
    argAttrs.push_back(step.getArgAttrDict(number));
    if (!isTokens) {
      states.emplace_back(argument, value);
      continue;
    }
    tokens = value;
    if (target.isBlock()) {
      length = body->addArgument(
          RankedTensorType::get({}, builder.getI64Type()), loc);
      NamedAttrList attrs;
      attrs.set(kNameAttr, builder.getStringAttr("length"));
      attrs.set(kLengthAttr, builder.getUnitAttr());
      argAttrs.push_back(attrs.getDictionary(builder.getContext()));
    }
  }
  return success();
}

FailureOr<SmallVector<Value>> Lifter::buildResults(Lifting &lifting) {
  auto ret = cast<func::ReturnOp>(step.front().getTerminator());
  SmallVector<Value> results;
  for (auto [i, value] : llvm::enumerate(ret.getOperands())) {
    if (!step.getResultAttr(i, kLogitsAttr)) {
      Value next = lifting.getState(value);
      if (!next) {
        emitRemark(step.getLoc())
            << "only one token at a time: result " << i
            << " is not the new state of a recurrence or token shift";
        return failure();
      }
      results.push_back(next);
      continue;
    }
    auto type = cast<RankedTensorType>(value.getType());
    bool all = target.allLogits && target.isBlock();
    SmallVector<int64_t> shape{target.batch};
    if (all)
      shape.push_back(target.block);
    shape.push_back(type.getShape().back());
    results.push_back(reshapeTensor(
        builder, step.getLoc(),
        lifting.getLiftedAt(value, all ? target.getNumTokens() : 1),
        type.clone(shape)));
  }
  return results;
}

FailureOr<func::FuncOp> Lifter::run() {
  Location loc = step.getLoc();
  form = func::FuncOp::create(loc, target.isBlock() ? kPrefillName : kStepName,
                              builder.getFunctionType({}, {}));
  OwningOpRef<func::FuncOp> owner(form);
  if (failed(addArguments()))
    return failure();
  Lifting lifting(builder, target.batch, target.getNumTokens(), length);
  Value logits;
  auto ret = cast<func::ReturnOp>(step.front().getTerminator());
  for (unsigned i = 0; i < ret.getNumOperands(); ++i)
    if (step.getResultAttr(i, kLogitsAttr))
      logits = ret.getOperand(i);
  BlockArgument tokenArgument;
  for (BlockArgument argument : step.getArguments())
    if (step.getArgAttr(argument.getArgNumber(), kTokensAttr))
      tokenArgument = argument;
  if (!logits || !tokenArgument) {
    emitRemark(loc) << "only one token at a time: the step has no arguments or "
                       "results marked as tokens and logits";
    return failure();
  }
  lifting.analyze(step.front(), ValueRange{tokenArgument});
  if (!lifting.varies(logits)) {
    emitRemark(loc) << "only one token at a time: the logits do not depend on "
                       "the token";
    return failure();
  }
  for (auto [argument, value] : states)
    lifting.setState(argument, value);
  lifting.need(logits, target.allLogits ? target.getNumTokens() : 1);
  lifting.propagateNeeds(step.front());
  lifting.setLifted(tokenArgument, reshapeTensor(builder, loc, tokens,
                                                 lifting.getLiftedType(
                                                     tokenArgument.getType())));
  if (failed(lifting.liftBlock(step.front())))
    return failure();
  FailureOr<SmallVector<Value>> results = buildResults(lifting);
  if (failed(results))
    return failure();
  func::ReturnOp::create(builder, loc, *results);

  Block &body = form.front();
  form.setFunctionType(builder.getFunctionType(
      body.getArgumentTypes(), ValueRange(*results).getTypes()));
  // Where a state's next value is among the results has not changed.
  form.setArgAttrsAttr(builder.getArrayAttr(argAttrs));
  if (ArrayAttr attrs = step.getResAttrsAttr())
    form.setResAttrsAttr(attrs);
  form->setAttr(kFormAttr, builder.getStringAttr(target.isBlock() ? kPrefillForm
                                                                  : kStepForm));
  eraseDeadOps(body);
  return owner.release();
}

/// Takes axes of size one out of loops: what was a row times a matrix for one
/// token is a matrix product then.
static void dropUnitAxes(func::FuncOp func) {
  MLIRContext *context = func.getContext();
  RewritePatternSet patterns(context);
  linalg::ControlDropUnitDims control;
  linalg::populateFoldUnitExtentDimsPatterns(patterns, control);
  for (Dialect *dialect : context->getLoadedDialects())
    if (isa<tensor::TensorDialect, linalg::LinalgDialect>(dialect))
      dialect->getCanonicalizationPatterns(patterns);
  tensor::CollapseShapeOp::getCanonicalizationPatterns(patterns, context);
  tensor::ExpandShapeOp::getCanonicalizationPatterns(patterns, context);
  linalg::FillOp::getCanonicalizationPatterns(patterns, context);
  // Where it stops early there are some such axes left.
  (void)applyPatternsGreedily(func, std::move(patterns));
}

namespace {

struct LiftToSequencePass : wkv::impl::LiftToSequenceBase<LiftToSequencePass> {
  using LiftToSequenceBase::LiftToSequenceBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    auto step = module.lookupSymbol<func::FuncOp>(kStepName);
    auto kind = step ? step->getAttrOfType<StringAttr>(kFormAttr) : nullptr;
    if (!kind || kind.getValue() != kStepForm ||
        module.lookupSymbol(kPrefillName))
      return;
    if (batch < 0 || block < 0) {
      module.emitError()
          << "the number of sequences and the block must be 0 or "
             "more, got "
          << batch << " and " << block;
      return signalPassFailure();
    }
    int64_t numTexts = batch;
    auto texts = step->getAttrOfType<IntegerAttr>(kTextsAttr);
    step->removeAttr(kTextsAttr);
    if (numTexts == 0)
      numTexts = texts ? texts.getInt() : 1;
    // What is in the way of one is in the way of the other.
    if (block > 0 && failed(add(step, {numTexts, block, allLogits})))
      return;
    if (numTexts > 1 && succeeded(add(step, {numTexts, 0, false})))
      step.erase();
  }

  LogicalResult add(func::FuncOp step, Target target) {
    FailureOr<func::FuncOp> form = Lifter(step, target).run();
    if (failed(form))
      return failure();
    dropUnitAxes(*form);
    getOperation().insert(std::next(step->getIterator()), *form);
    ++numForms;
    return success();
  }
};

} // namespace
