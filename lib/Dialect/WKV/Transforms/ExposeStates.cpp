//===- ExposeStates.cpp - A function over the states of the ops -----------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Forms.h"
#include "StateConversions.h"
#include "TensorMovement.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "rwkvc/Dialect/WKV/Transforms/Passes.h"

namespace rwkvc::wkv {
#define GEN_PASS_DEF_EXPOSESTATES
#include "rwkvc/Dialect/WKV/Transforms/Passes.h.inc"
} // namespace rwkvc::wkv

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::wkv;

static constexpr llvm::StringLiteral kNameAttr = "onnx.name";

namespace {

/// A state of an op, or of several shifts that read one row in several element
/// types.
struct Slot {
  std::string name;
  SmallVector<OpOperand *> reads;
  Value next;           ///< the new value, of the first op
  double initial = 0.0; ///< every element of the empty state
  SmallVector<ElementRun> runs;

  Operation *getOp() const { return reads.front()->getOwner(); }
};

class StateExposer {
public:
  explicit StateExposer(func::FuncOp main) : main(main) {}

  /// Adds @step to the module; fails after a remark that says why not.
  FailureOr<func::FuncOp> run();
  /// Whether there is a state to expose at all.
  bool isRecurrent();
  /// Says why nothing is derived from a graph that looks like a language model:
  /// it takes tokens and carries a state, in which nothing was recognised.
  void explainUnrecognised();
  unsigned getNumSlots() const { return slots.size(); }
  /// Adds @unpack and @pack.
  void addConversions();

private:
  InFlightDiagnostic refuse(Location loc) {
    return emitRemark(loc) << "only the file's own form is compiled: ";
  }
  std::string describe(BlockArgument argument) {
    auto name =
        main.getArgAttrOfType<StringAttr>(argument.getArgNumber(), kNameAttr);
    return ("input '" +
            (name ? name.getValue() : Twine(argument.getArgNumber())) + "'")
        .str();
  }
  bool isState(unsigned number) {
    return static_cast<bool>(
        main.getArgAttrOfType<IntegerAttr>(number, kStateAttr));
  }

  LogicalResult findSignature();
  LogicalResult findSlots();
  LogicalResult addShift(TokenShiftOp op);
  LogicalResult checkOrigin(Slot &slot);
  LogicalResult checkUpdate(const Slot &slot);
  ArrayRef<int64_t> getOriginals(RecurrenceOpInterface op);
  bool areCopies(const Slot &slot, int64_t first, int64_t second,
                 int64_t count);
  FailureOr<func::FuncOp> build();
  LogicalResult checkIndependence(func::FuncOp step, unsigned numOld);

  func::FuncOp main;
  BlockArgument token;
  Value logits;
  int64_t numTokens = 0;
  unsigned numShifts = 0, numRecurrences = 0;
  std::vector<Slot> slots;
  /// Which head each head of a recurrence is a copy of.
  llvm::DenseMap<Operation *, SmallVector<int64_t>> originals;
  /// What the result that continues an argument consists of.
  llvm::DenseMap<unsigned, SmallVector<ElementRun>> updates;
};

} // namespace

bool StateExposer::isRecurrent() {
  return main
      .walk([](Operation *op) {
        return isa<RecurrenceOpInterface, TokenShiftOp>(op)
                   ? WalkResult::interrupt()
                   : WalkResult::advance();
      })
      .wasInterrupted();
}

void StateExposer::explainUnrecognised() {
  bool hasState =
      llvm::any_of(main.getArguments(), [&](BlockArgument argument) {
        return isState(argument.getArgNumber());
      });
  if (hasState && main->getParentOfType<ModuleOp>()->hasAttr(kTokenInputAttr))
    refuse(main.getLoc()) << "neither a recurrence nor a token shift was "
                             "recognised; see --explain";
}

/// The token and the logits; no other input or output of another kind.
LogicalResult StateExposer::findSignature() {
  auto module = main->getParentOfType<ModuleOp>();
  auto tokenAttr = module->getAttrOfType<IntegerAttr>(kTokenInputAttr);
  auto logitsAttr = module->getAttrOfType<IntegerAttr>(kLogitsOutputAttr);
  auto isBelow = [](IntegerAttr attr, int64_t end) {
    return attr && attr.getInt() >= 0 && attr.getInt() < end;
  };
  if (!isBelow(tokenAttr, main.getNumArguments()))
    return refuse(main.getLoc()) << "no input is known to be the token";
  token = main.getArgument(tokenAttr.getInt());
  auto ret = cast<func::ReturnOp>(main.front().getTerminator());
  if (!isBelow(logitsAttr, ret.getNumOperands()))
    return refuse(main.getLoc()) << "no output is known to be the logits";
  logits = ret.getOperand(logitsAttr.getInt());
  auto isStatic = [](Value value) {
    auto type = dyn_cast<RankedTensorType>(value.getType());
    return type && type.hasStaticShape();
  };
  for (BlockArgument argument : main.getArguments()) {
    if (!isStatic(argument))
      return refuse(argument.getLoc())
             << describe(argument) << " has no static shape";
    if (argument == token)
      continue;
    auto next =
        main.getArgAttrOfType<IntegerAttr>(argument.getArgNumber(), kStateAttr);
    if (!next)
      return refuse(argument.getLoc())
             << describe(argument) << " is neither the token nor a state";
    if (next.getInt() < 0 || next.getInt() >= ret.getNumOperands() ||
        !isStatic(ret.getOperand(next.getInt())) ||
        cast<RankedTensorType>(ret.getOperand(next.getInt()).getType())
                .getNumElements() !=
            cast<RankedTensorType>(argument.getType()).getNumElements())
      return refuse(argument.getLoc())
             << describe(argument) << " has no next value of its size";
  }
  if (!isStatic(logits) ||
      cast<RankedTensorType>(logits.getType()).getRank() == 0)
    return refuse(main.getLoc()) << "the logits have no static shape";
  return success();
}

LogicalResult StateExposer::addShift(TokenShiftOp op) {
  // The same rows in another element type share the state.
  for (Slot &slot : slots) {
    auto other = dyn_cast<TokenShiftOp>(slot.getOp());
    if (other && other.getState() == op.getState() &&
        findRuns(other.getX()) == findRuns(op.getX())) {
      slot.reads.push_back(&op.getStateMutable());
      return success();
    }
  }
  Slot slot;
  slot.name = ("shift." + Twine(numShifts++)).str();
  slot.reads = {&op.getStateMutable()};
  slot.next = op.getNewState();
  slots.push_back(std::move(slot));
  return success();
}

LogicalResult StateExposer::findSlots() {
  Block &body = main.front();
  WalkResult nested = main.walk([&](Operation *op) {
    if (op->getBlock() == &body ||
        !isa<RecurrenceOpInterface, TokenShiftOp>(op))
      return WalkResult::advance();
    refuse(op->getLoc()) << op->getName() << " runs inside of "
                         << op->getParentOp()->getName();
    return WalkResult::interrupt();
  });
  if (nested.wasInterrupted())
    return failure();
  auto count = [&](Operation *op, int64_t tokens) -> LogicalResult {
    if (numTokens != 0 && numTokens != tokens)
      return refuse(op->getLoc()) << op->getName() << " runs over " << tokens
                                  << " tokens, others over " << numTokens;
    numTokens = tokens;
    return success();
  };
  for (Operation &op : body) {
    if (auto shift = dyn_cast<TokenShiftOp>(op)) {
      if (failed(count(shift, shift.getX().getType().getDimSize(1))) ||
          failed(addShift(shift)))
        return failure();
    } else if (auto recurrence = dyn_cast<RecurrenceOpInterface>(op)) {
      if (failed(count(recurrence, recurrence.getNumTokens())))
        return failure();
      std::string stem = ("wkv." + Twine(numRecurrences++)).str();
      SmallVector<OpOperand *> reads;
      for (OpOperand &operand : op.getOpOperands())
        if (recurrence.getOperandRole(operand.getOperandNumber()) ==
            OperandRole::State)
          reads.push_back(&operand);
      for (auto [read, next, name, initial] : llvm::zip_equal(
               reads, recurrence.getNewStates(), recurrence.getStateNames(),
               recurrence.getInitialStates())) {
        Slot slot;
        slot.name = name.empty() ? stem : stem + "." + name.str();
        slot.reads = {read};
        slot.next = next;
        slot.initial = initial;
        slots.push_back(std::move(slot));
      }
    }
  }
  return success();
}

/// The old state is moved here from state inputs, or is constant.
LogicalResult StateExposer::checkOrigin(Slot &slot) {
  slot.runs = findRuns(slot.reads.front()->get());
  bool isConstant = llvm::all_of(slot.runs, [](const ElementRun &run) {
    return !isa<BlockArgument>(run.source);
  });
  if (isConstant) {
    if (std::optional<double> value = getUniformConstant(slot.runs)) {
      slot.initial = *value;
      return success();
    }
  }
  for (const ElementRun &run : slot.runs) {
    auto argument = dyn_cast<BlockArgument>(run.source);
    if (argument && argument.getOwner() == &main.front() &&
        isState(argument.getArgNumber()))
      continue;
    InFlightDiagnostic diag = refuse(slot.getOp()->getLoc());
    diag << "the state of " << slot.getOp()->getName();
    if (argument)
      return diag << " comes from " << describe(argument)
                  << ", which is no state";
    return diag << " is computed by " << run.source.getDefiningOp()->getName()
                << ", not moved from a state input or one constant";
  }
  return success();
}

/// The elements of \p value with their factors, one by one; those of constants
/// are factors alone.
static std::vector<ElementRun> listElements(Value value) {
  std::vector<ElementRun> elements;
  for (const ElementRun &run : findRuns(value)) {
    Operation *op = run.source.getDefiningOp();
    bool isConstant = op && op->hasTrait<OpTrait::ConstantLike>();
    for (int64_t i = 0; i < run.count; ++i) {
      ElementRun element{run.source, run.first + i, 1, run.factor};
      std::optional<double> number =
          isConstant ? getUniformConstant(element) : std::nullopt;
      elements.push_back(number ? ElementRun{Value(), 0, 1, *number} : element);
    }
  }
  return elements;
}

/// The first head of \p op whose state is that of each head, if they were
/// before: several query heads may share one of keys and values.
ArrayRef<int64_t> StateExposer::getOriginals(RecurrenceOpInterface op) {
  SmallVector<int64_t> &heads = originals[op];
  if (!heads.empty())
    return heads;
  // [.., heads, row] each; the state is [B, heads, ., .].
  int64_t numHeads = op.getNumHeads();
  SmallVector<std::pair<std::vector<ElementRun>, int64_t>> inputs;
  for (OpOperand &operand : op->getOpOperands())
    if (op.entersState(operand.getOperandNumber()))
      inputs.push_back(
          {listElements(operand.get()),
           cast<RankedTensorType>(operand.get().getType()).getShape().back()});
  auto areEqual = [&](int64_t x, int64_t y) {
    return llvm::all_of(inputs, [&](const auto &input) {
      const auto &[elements, row] = input;
      int64_t size = elements.size();
      for (int64_t start = 0; start < size; start += numHeads * row)
        for (int64_t i = 0; i < row; ++i)
          if (!(elements[start + x * row + i] == elements[start + y * row + i]))
            return false;
      return true;
    });
  };
  for (int64_t head = 0; head < numHeads; ++head) {
    int64_t original = 0;
    while (original < head &&
           (heads[original] != original || !areEqual(original, head)))
      ++original;
    heads.push_back(original);
  }
  return heads;
}

/// Whether elements \p first .. of the state are \p second .. in a copy of the
/// same head.
bool StateExposer::areCopies(const Slot &slot, int64_t first, int64_t second,
                             int64_t count) {
  auto op = dyn_cast<RecurrenceOpInterface>(slot.getOp());
  auto type = cast<RankedTensorType>(slot.next.getType());
  if (!op || type.getRank() != 4)
    return false;
  ArrayRef<int64_t> heads = getOriginals(op);
  auto numHeads = static_cast<int64_t>(heads.size());
  int64_t size = type.getDimSize(2) * type.getDimSize(3);
  for (int64_t i = 0; i < count; ++i) {
    int64_t x = first + i, y = second + i;
    if (x % size != y % size || x / size / numHeads != y / size / numHeads ||
        heads[x / size % numHeads] != heads[y / size % numHeads])
      return false;
  }
  return true;
}

/// Where the old state was read from, the new one is found in the output, or
/// that of another head whose state is the same.
LogicalResult StateExposer::checkUpdate(const Slot &slot) {
  int64_t element = 0;
  for (const ElementRun &run : slot.runs) {
    int64_t end = element + run.count;
    auto argument = dyn_cast<BlockArgument>(run.source);
    if (!argument)
      return success();
    unsigned number = argument.getArgNumber();
    auto [it, isNew] = updates.try_emplace(number);
    if (isNew) {
      auto ret = main.front().getTerminator();
      it->second = findRuns(ret->getOperand(
          main.getArgAttrOfType<IntegerAttr>(number, kStateAttr).getInt()));
    }
    // The pieces of the output that cover first .. first + count - 1.
    int64_t position = 0;
    for (const ElementRun &piece : it->second) {
      int64_t from = std::max(position, run.first);
      int64_t to = std::min(position + piece.count, run.first + run.count);
      int64_t next = piece.first + from - position;
      int64_t old = element + from - run.first;
      if (from < to &&
          (piece.source != slot.next ||
           (next != old && !areCopies(slot, old, next, to - from)))) {
        InFlightDiagnostic diag = refuse(slot.getOp()->getLoc());
        diag << describe(argument) << " is the state of "
             << slot.getOp()->getName()
             << ", but its next value is not that op's new state";
        return diag;
      }
      if (from < to && !areInverse(piece.factor, run.factor))
        return refuse(slot.getOp()->getLoc())
               << describe(argument) << " times " << run.factor
               << " is the state of " << slot.getOp()->getName()
               << ", but its next value is that op's new state times "
               << piece.factor;
      position += piece.count;
    }
    element = end;
  }
  return success();
}

/// In \p step nothing may read what was the file's own state.
LogicalResult StateExposer::checkIndependence(func::FuncOp step,
                                              unsigned numOld) {
  for (BlockArgument argument : step.getArguments().take_front(numOld)) {
    if (argument.use_empty())
      continue;
    SmallVector<Value> worklist{argument};
    Operation *reader = nullptr;
    while (!worklist.empty() && !reader) {
      Value value = worklist.pop_back_val();
      for (Operation *user : value.getUsers())
        if (isMovement(user))
          llvm::append_range(worklist, user->getResults());
        else
          reader = user;
    }
    return refuse(reader ? reader->getLoc() : argument.getLoc())
           << describe(main.getArgument(argument.getArgNumber()))
           << " is a state, but is also read by "
           << (reader ? reader->getName().getStringRef()
                      : StringRef("the function's return"));
  }
  return success();
}

FailureOr<func::FuncOp> StateExposer::build() {
  IRMapping mapping;
  auto step = cast<func::FuncOp>(main->clone(mapping));
  step.setName(kStepName);
  main->getParentOfType<ModuleOp>().insert(std::next(main->getIterator()),
                                           step);
  Block &body = step.front();
  unsigned numOld = body.getNumArguments();
  OpBuilder b = OpBuilder::atBlockBegin(&body);
  Location loc = main.getLoc();

  SmallVector<Type> argTypes, resultTypes;
  SmallVector<Attribute> argAttrs, resultAttrs;
  // One token for each sequence; several in a row keep the file's axes.
  auto tokenType = cast<RankedTensorType>(token.getType());
  auto logitsType = cast<RankedTensorType>(logits.getType());
  if (numTokens == 1) {
    int64_t batch = tokenType.getNumElements();
    tokenType = tokenType.clone({batch});
    logitsType = logitsType.clone({batch, logitsType.getNumElements() / batch});
  }
  NamedAttrList tokenAttrs;
  tokenAttrs.set(kNameAttr, b.getStringAttr("tokens"));
  tokenAttrs.set(kTokensAttr, b.getUnitAttr());
  if (Attribute limit = main.getArgAttr(token.getArgNumber(), kIndexLimitAttr))
    tokenAttrs.set(kIndexLimitAttr, limit);
  argTypes.push_back(tokenType);
  argAttrs.push_back(tokenAttrs.getDictionary(b.getContext()));
  Value newToken = body.addArgument(tokenType, token.getLoc());
  mapping.lookup(Value(token))
      .replaceAllUsesWith(reshapeTensor(
          b, loc, newToken, cast<RankedTensorType>(token.getType())));

  Operation *oldReturn = body.getTerminator();
  b.setInsertionPoint(oldReturn);
  SmallVector<Value> results{
      reshapeTensor(b, loc, mapping.lookup(logits), logitsType)};
  NamedAttrList logitsAttrs;
  logitsAttrs.set(kNameAttr, b.getStringAttr("logits"));
  logitsAttrs.set(kLogitsAttr, b.getUnitAttr());
  resultAttrs.push_back(logitsAttrs.getDictionary(b.getContext()));
  for (const Slot &slot : slots) {
    Type type = slot.next.getType();
    Value state = body.addArgument(type, loc);
    for (OpOperand *read : slot.reads)
      mapping.lookup(read->getOwner())
          ->setOperand(read->getOperandNumber(), state);
    results.push_back(mapping.lookup(slot.next));
    NamedAttrList attrs;
    attrs.set(kNameAttr, b.getStringAttr(slot.name));
    resultAttrs.push_back(attrs.getDictionary(b.getContext()));
    attrs.set(kStateAttr, b.getI64IntegerAttr(results.size() - 1));
    if (slot.initial != 0.0)
      attrs.set(kInitialAttr, b.getF64FloatAttr(slot.initial));
    argTypes.push_back(type);
    argAttrs.push_back(attrs.getDictionary(b.getContext()));
  }
  func::ReturnOp::create(b, loc, results);
  oldReturn->erase();
  eraseDeadOps(body);
  if (failed(checkIndependence(step, numOld))) {
    step.erase();
    return failure();
  }
  body.eraseArguments(0, numOld);
  for (Value result : results)
    resultTypes.push_back(result.getType());
  step.setFunctionType(b.getFunctionType(argTypes, resultTypes));
  step.setArgAttrsAttr(b.getArrayAttr(argAttrs));
  step.setResAttrsAttr(b.getArrayAttr(resultAttrs));
  step->setAttr(kFormAttr,
                b.getStringAttr(numTokens == 1 ? kStepForm : kSequenceForm));
  return step;
}

void StateExposer::addConversions() {
  std::vector<CanonicalState> states;
  for (const Slot &slot : slots) {
    bool isConstant = llvm::none_of(slot.runs, [](const ElementRun &run) {
      return isa<BlockArgument>(run.source);
    });
    states.push_back({slot.name, slot.reads.front()->get(), slot.next,
                      slot.initial, isConstant});
  }
  addStateConversions(main, states,
                      cast<RankedTensorType>(token.getType()).getNumElements() /
                          numTokens);
}

FailureOr<func::FuncOp> StateExposer::run() {
  if (failed(findSignature()) || failed(findSlots()))
    return failure();
  for (Slot &slot : slots)
    if (failed(checkOrigin(slot)) || failed(checkUpdate(slot)))
      return failure();
  return build();
}

namespace {

struct ExposeStatesPass : wkv::impl::ExposeStatesBase<ExposeStatesPass> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    auto main = module.lookupSymbol<func::FuncOp>(kMainName);
    if (!main || !main.getBody().hasOneBlock() ||
        module.lookupSymbol(kStepName))
      return;
    StateExposer exposer(main);
    if (!exposer.isRecurrent())
      return exposer.explainUnrecognised();
    if (failed(exposer.run()))
      return;
    exposer.addConversions();
    numStates += exposer.getNumSlots();
  }
};

} // namespace
