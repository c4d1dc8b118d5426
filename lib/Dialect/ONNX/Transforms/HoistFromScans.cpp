//===- HoistFromScans.cpp - What no state reaches, for all tokens ---------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ScanSupport.h"
#include "rwkvc/Dialect/ONNX/Transforms/Passes.h"
#include "rwkvc/Dialect/ONNX/Transforms/TokenBatcher.h"
#include "llvm/ADT/SetVector.h"

namespace rwkvc::onnx {
#define GEN_PASS_DEF_HOISTFROMSCANS
#include "rwkvc/Dialect/ONNX/Transforms/Passes.h.inc"
} // namespace rwkvc::onnx

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::onnx;
using namespace rwkvc::onnx::evaluation;

/// Whether \p op is a sum, a product or a movement: such an op may stay. Outer
/// products of all tokens would take far more memory than their factors.
static bool isCheap(Operation *op) {
  return isDataMovement(op) ||
         isa<AddOp, SubOp, MulOp, NegOp, MatMulOp, CastOp, CastLikeOp>(op);
}

namespace {

class ScanHoister {
public:
  explicit ScanHoister(ScanOp scan)
      : scan(scan), body(scan.getBody().front()), b(scan.getLoc(), scan),
        numStates(scan->getNumOperands() - scan.getNumScanInputs()) {}

  /// Returns how many ops were hoisted.
  unsigned run();

private:
  std::optional<int64_t> getAxis(unsigned input);
  void findHoisted();
  void dropUnusedInputs();
  void addInputs(ArrayRef<Value> used, TokenBatcher &batcher);

  ScanOp scan;
  Block &body;
  ImplicitLocOpBuilder b;
  unsigned numStates;
  llvm::SetVector<Operation *> hoisted; ///< in program order
};

} // namespace

/// The axis of tokens of scan input \p input; none where it is taken backwards.
std::optional<int64_t> ScanHoister::getAxis(unsigned input) {
  RankedTensorType type = getStaticType(scan->getOperand(numStates + input));
  if (!type || isInputReversed(scan, input))
    return std::nullopt;
  return getInputAxis(scan, input, type.getRank());
}

/// Ops that depend on tokens and on no state, if they are not cheap, and what
/// they are computed from.
void ScanHoister::findHoisted() {
  DenseSet<Value> ofToken, ofState;
  for (BlockArgument argument : body.getArguments())
    (argument.getArgNumber() < numStates ? ofState : ofToken).insert(argument);
  SmallVector<Operation *> candidates;
  for (Operation &op : body.without_terminator()) {
    bool state = op.getNumRegions() > 0, token = false;
    for (Value operand : op.getOperands()) {
      state |= ofState.contains(operand);
      token |= ofToken.contains(operand);
    }
    for (Value result : op.getResults())
      if (state)
        ofState.insert(result);
      else if (token)
        ofToken.insert(result);
    if (token && !state)
      candidates.push_back(&op);
  }
  DenseSet<Operation *> wanted;
  for (Operation *op : llvm::reverse(candidates))
    if (!isCheap(op) || llvm::any_of(op->getUsers(), [&](Operation *user) {
          return wanted.contains(user);
        }))
      wanted.insert(op);
  for (Operation *op : candidates)
    if (wanted.contains(op))
      hoisted.insert(op);
}

/// Replaces the scan by one that has the batched \p used as inputs as well.
void ScanHoister::addInputs(ArrayRef<Value> used, TokenBatcher &batcher) {
  SmallVector<int64_t> axes;
  for (unsigned i = 0; i < scan.getNumScanInputs(); ++i)
    axes.push_back(*getAxis(i));
  SmallVector<Value> operands(scan->getOperands());
  for (Value value : used) {
    operands.push_back(batcher.lookup(value));
    axes.push_back(0);
    value.replaceAllUsesWith(body.addArgument(value.getType(), value.getLoc()));
  }
  scan->setOperands(operands);
  scan.setNumScanInputs(axes.size());
  scan.setScanInputAxes(axes);
  scan.removeScanInputDirectionsAttr(); // all forward
}

/// An input that only hoisted ops used is none; one stays, for the length.
void ScanHoister::dropUnusedInputs() {
  SmallVector<int64_t> axes(*scan.getScanInputAxes());
  for (unsigned i = scan->getNumOperands(); i-- > numStates;) {
    if (axes.size() == 1 || !body.getArgument(i).use_empty())
      continue;
    body.eraseArgument(i);
    scan->eraseOperand(i);
    axes.erase(axes.begin() + (i - numStates));
  }
  scan.setNumScanInputs(axes.size());
  scan.setScanInputAxes(axes);
}

unsigned ScanHoister::run() {
  if (scan.getNumScanInputs() < 1)
    return 0;
  std::optional<int64_t> numTokens;
  for (unsigned i = 0; i < scan.getNumScanInputs(); ++i) {
    std::optional<int64_t> axis = getAxis(i);
    if (!axis)
      return 0;
    numTokens =
        cast<RankedTensorType>(scan->getOperand(numStates + i).getType())
            .getDimSize(*axis);
  }
  findHoisted();
  if (hoisted.empty())
    return 0;
  TokenBatcher batcher(b, *numTokens);
  for (unsigned i = 0; i < scan.getNumScanInputs(); ++i)
    batcher.set(
        body.getArgument(numStates + i),
        batcher.moveToFront(scan->getOperand(numStates + i), *getAxis(i)));
  // An op that has no form over several tokens stays, and what depends on it.
  SmallVector<Operation *> done;
  for (Operation *op : hoisted) {
    bool ready = llvm::all_of(op->getOperands(), [&](Value operand) {
      return batcher.lookup(operand) || operand.getParentBlock() != &body ||
             operand.getDefiningOp<ConstantOp>();
    });
    if (!ready)
      continue;
    for (Value operand : op->getOperands())
      if (operand.getParentBlock() == &body && !batcher.lookup(operand))
        operand.getDefiningOp()->moveBefore(scan);
    if (succeeded(batcher.batch(op)))
      done.push_back(op);
  }
  llvm::SetVector<Value> used;
  DenseSet<Operation *> gone(done.begin(), done.end());
  for (Operation *op : done)
    for (Value result : op->getResults())
      if (llvm::any_of(result.getUsers(),
                       [&](Operation *user) { return !gone.contains(user); }))
        used.insert(result);
  addInputs(used.getArrayRef(), batcher);
  for (Operation *op : llvm::reverse(done))
    op->erase();
  dropUnusedInputs();
  return done.size();
}

namespace {

struct HoistFromScansPass : onnx::impl::HoistFromScansBase<HoistFromScansPass> {
  void runOnOperation() override {
    SmallVector<ScanOp> scans;
    getOperation().walk([&](ScanOp scan) { scans.push_back(scan); });
    for (ScanOp scan : scans)
      numHoisted += ScanHoister(scan).run();
  }
};

} // namespace
