//===- LowerSequences.cpp - Sequences of tensors as tensors ---------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Exporters of scripted models keep lists of tensors as ONNX sequences. There
// is no type for them: the importer leaves their operators as onnx.Custom on
// unranked tensors, and here they become operators on tensors.
//
//===----------------------------------------------------------------------===//

#include "ScanSupport.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Pass/PassManager.h"
#include "rwkvc/Dialect/ONNX/Transforms/Passes.h"

namespace rwkvc::onnx {
#define GEN_PASS_DEF_LOWERSEQUENCES
#include "rwkvc/Dialect/ONNX/Transforms/Passes.h.inc"
} // namespace rwkvc::onnx

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::onnx;
using namespace rwkvc::onnx::evaluation;

static CustomOp getNode(Value value, StringRef type) {
  auto op = value.getDefiningOp<CustomOp>();
  return op && op.getDomain().empty() && op.getOpType() == type ? op
                                                                : CustomOp();
}

static bool isSequenceOp(CustomOp op) {
  StringRef type = op.getOpType();
  return op.getDomain().empty() &&
         (type.starts_with("Sequence") || type.ends_with("Sequence"));
}

static int64_t getInteger(CustomOp op, StringRef name, int64_t otherwise) {
  auto attribute = op.getAttrs().getAs<IntegerAttr>(name);
  return attribute ? attribute.getInt() : otherwise;
}

/// Operand \p index of \p op, null where it is left out.
static Value getOptional(CustomOp op, unsigned index) {
  return index < op->getNumOperands() && !isNone(op->getOperand(index))
             ? op->getOperand(index)
             : Value();
}

/// The tensors of a sequence that is built of single ones, or none.
static std::optional<SmallVector<Value>> getElements(Value sequence) {
  SmallVector<CustomOp> inserts; // last first
  while (CustomOp insert = getNode(sequence, "SequenceInsert")) {
    inserts.push_back(insert);
    sequence = insert->getOperand(0);
  }
  SmallVector<Value> elements;
  if (CustomOp construct = getNode(sequence, "SequenceConstruct"))
    elements = llvm::to_vector(construct->getOperands());
  else if (!getNode(sequence, "SequenceEmpty"))
    return std::nullopt;
  for (CustomOp insert : llvm::reverse(inserts)) {
    auto size = static_cast<int64_t>(elements.size()), at = size;
    if (Value position = getOptional(insert, 2)) {
      auto number = getConstantIntegers(position);
      if (!number || number->size() != 1)
        return std::nullopt;
      at = number->front() + (number->front() < 0 ? size : 0);
    }
    if (at < 0 || at > size)
      return std::nullopt;
    elements.insert(elements.begin() + at, insert->getOperand(1));
  }
  return elements;
}

/// What splits a tensor into \p sequence, one index each; null if nothing does.
static CustomOp getSplit(Value sequence) {
  CustomOp split = getNode(sequence, "SplitToSequence");
  if (!split)
    return {};
  Value sizes = getOptional(split, 1);
  auto known = sizes ? getConstantIntegers(sizes) : Shape{1};
  return known && llvm::all_equal(*known) && known->front() == 1 ? split
                                                                 : CustomOp();
}

template <typename OpT>
static Value create(ImplicitLocOpBuilder &b, Type type, ValueRange operands,
                    std::optional<int64_t> axis = std::nullopt) {
  OperationState state(b.getLoc(), OpT::getOperationName());
  state.addOperands(operands);
  state.addTypes(type);
  if (axis)
    state.addAttribute("axis", b.getI64IntegerAttr(*axis));
  return b.create(state)->getResult(0);
}

static Type getUnranked(Value like) {
  return UnrankedTensorType::get(getElementTypeOrSelf(like.getType()));
}

static Value createScalar(ImplicitLocOpBuilder &b, int64_t number) {
  auto type = RankedTensorType::get({}, b.getI64Type());
  return ConstantOp::create(
      b, type, cast<ElementsAttr>(DenseElementsAttr::get(type, number)));
}

/// One of a sequence.
static Value lowerAt(CustomOp op, ImplicitLocOpBuilder &b) {
  Value sequence = op->getOperand(0), position = op->getOperand(1);
  if (CustomOp split = getSplit(sequence)) {
    // An index of one dimension leaves one in the result.
    if (getOptional(split, 1) || getInteger(split, "keepdims", 1) != 0)
      position = create<ReshapeOp>(b, getUnranked(position),
                                   {position, createIntegers(b, 1)});
    return create<GatherOp>(b, op->getResult(0).getType(),
                            {split->getOperand(0), position},
                            getInteger(split, "axis", 0));
  }
  auto elements = getElements(sequence);
  auto number = getConstantIntegers(position);
  if (!elements || !number || number->size() != 1)
    return {};
  auto size = static_cast<int64_t>(elements->size());
  int64_t at = number->front() + (number->front() < 0 ? size : 0);
  return at >= 0 && at < size ? (*elements)[at] : Value();
}

/// How many a sequence has.
static Value lowerLength(CustomOp op, ImplicitLocOpBuilder &b) {
  if (CustomOp split = getSplit(op->getOperand(0))) {
    auto type = UnrankedTensorType::get(b.getI64Type());
    Value shape = create<ShapeOp>(b, type, split->getOperand(0));
    return create<GatherOp>(
        b, op->getResult(0).getType(),
        {shape, createScalar(b, getInteger(split, "axis", 0))}, 0);
  }
  auto elements = getElements(op->getOperand(0));
  return elements ? createScalar(b, elements->size()) : Value();
}

/// \p elements, and \p rows behind them if there are any, as \p join joins.
static Value joinElements(CustomOp join, ImplicitLocOpBuilder &b,
                          ArrayRef<Value> elements, Value rows = {}) {
  int64_t axis = getInteger(join, "axis", 0);
  SmallVector<Value> pieces(elements);
  if (getInteger(join, "new_axis", 0) != 0)
    for (Value &piece : pieces)
      piece = create<UnsqueezeOp>(b, getUnranked(piece),
                                  {piece, createIntegers(b, axis)});
  if (rows)
    pieces.push_back(rows);
  if (pieces.empty())
    return {};
  return create<ConcatOp>(b, join->getResult(0).getType(), pieces, axis);
}

/// What a ConcatFromSequence of the rows of a tensor, of known shape, is.
static Value joinRows(CustomOp join, ImplicitLocOpBuilder &b) {
  Value rows = join->getOperand(0);
  RankedTensorType type = getStaticType(rows);
  bool isNew = getInteger(join, "new_axis", 0) != 0;
  std::optional<int64_t> axis =
      type && type.getRank() > 0
          ? normalizeAxis(getInteger(join, "axis", 0), type.getRank() - !isNew)
          : std::nullopt;
  if (!axis)
    return {};
  // The rows' axis goes where it shall be, or before the one it extends.
  Shape shape(type.getShape()), order;
  shape.erase(shape.begin());
  shape.insert(shape.begin() + *axis, type.getDimSize(0));
  for (int64_t i = 1; i < type.getRank(); ++i)
    order.push_back(i);
  order.insert(order.begin() + *axis, 0);
  OperationState state(b.getLoc(), TransposeOp::getOperationName());
  state.addOperands(rows);
  state.addTypes(type.clone(shape));
  state.addAttribute("perm", b.getDenseI64ArrayAttr(order));
  Value moved = b.create(state)->getResult(0);
  if (isNew)
    return moved;
  shape[*axis] *= shape[*axis + 1];
  shape.erase(shape.begin() + *axis + 1);
  return createReshape(b, moved, shape);
}

/// What each step appends to state \p number of \p loop, a sequence that
/// nothing else reads and that is joined behind the loop; empty if it is none.
static SmallVector<CustomOp> getInserts(LoopOp loop, unsigned number) {
  Block &body = loop.getBody().front();
  Value value = body.getArgument(number + 2);
  SmallVector<CustomOp> inserts;
  while (value.hasOneUse() &&
         value.use_begin()->getOwner() != body.getTerminator()) {
    Operation *user = *value.user_begin();
    CustomOp insert = user->getNumResults() == 1
                          ? getNode(user->getResult(0), "SequenceInsert")
                          : CustomOp();
    if (!insert || insert->getBlock() != &body || getOptional(insert, 2) ||
        insert->getOperand(0) != value ||
        !isa<TensorType>(insert->getOperand(1).getType()))
      return {};
    inserts.push_back(insert);
    value = insert->getResult(0);
  }
  bool isJoined =
      llvm::all_of(loop->getResult(number).getUses(), [](OpOperand &use) {
        Operation *user = use.getOwner();
        return user->getNumResults() == 1 &&
               getNode(user->getResult(0), "ConcatFromSequence");
      });
  bool isYielded = value.hasOneUse() &&
                   body.getTerminator()->getOperand(number + 1) == value;
  if (!isYielded || !isJoined || !getElements(loop.getVInitial()[number]))
    return {};
  return inserts;
}

/// \p rows [steps, tokens of a step, ...] as [tokens, ...].
static Value mergeSteps(ImplicitLocOpBuilder &b, Value rows) {
  OperationState state(b.getLoc(), ShapeOp::getOperationName());
  state.addOperands(rows);
  state.addTypes(UnrankedTensorType::get(b.getI64Type()));
  state.addAttribute("start", b.getI64IntegerAttr(2));
  Value rest = b.create(state)->getResult(0);
  Value shape =
      create<ConcatOp>(b, getUnranked(rest), {createIntegers(b, -1), rest}, 0);
  return create<ReshapeOp>(b, getUnranked(rows), {rows, shape});
}

/// Makes a state that \p inserts append to an output, which is returned.
static Value collect(LoopOp &loop, unsigned number,
                     ArrayRef<CustomOp> inserts) {
  Block &body = loop.getBody().front();
  Operation *yield = body.getTerminator();
  Value row = inserts.front()->getOperand(1);
  ImplicitLocOpBuilder b(loop.getLoc(), yield);
  if (inserts.size() > 1) {
    SmallVector<Value> pieces;
    for (CustomOp insert : inserts)
      pieces.push_back(create<UnsqueezeOp>(
          b, getUnranked(row), {insert->getOperand(1), createIntegers(b, 0)}));
    row = create<ConcatOp>(b, getUnranked(row), pieces, 0);
  }
  yield->eraseOperand(number + 1);
  yield->insertOperands(yield->getNumOperands(), row);
  for (CustomOp insert : llvm::reverse(inserts))
    insert->erase();
  body.eraseArgument(number + 2);

  SmallVector<Value> operands(loop->getOperands());
  operands.erase(operands.begin() + number + 2);
  SmallVector<Type> types(loop->getResultTypes());
  types.erase(types.begin() + number);
  types.push_back(getUnranked(row));
  OperationState state(loop.getLoc(), LoopOp::getOperationName());
  state.addOperands(operands);
  state.addTypes(types);
  state.addAttributes(loop->getAttrs());
  state.addRegion()->takeBody(loop.getBody());
  b.setInsertionPoint(loop);
  auto changed = cast<LoopOp>(b.create(state));
  for (unsigned i = 0; i < loop->getNumResults(); ++i)
    if (i != number)
      loop->getResult(i).replaceAllUsesWith(
          changed->getResult(i - (i > number)));
  Value rows = changed->getResults().back();
  if (inserts.size() > 1)
    rows = mergeSteps(b, rows);
  loop->getResult(number).replaceAllUsesWith(rows);
  loop.erase();
  loop = changed;
  return rows;
}

namespace {

struct LowerSequencesPass : onnx::impl::LowerSequencesBase<LowerSequencesPass> {
  void runOnOperation() override;

private:
  void replace(CustomOp op, Value value) {
    op->getResult(0).replaceAllUsesWith(value);
    op->erase();
    ++numLowered;
  }
  void lowerStates(LoopOp loop);
  void lowerNode(CustomOp op);

  /// What joins rows that a loop collects, whose shape is to be found.
  SmallVector<CustomOp> joins;
};

} // namespace

void LowerSequencesPass::lowerStates(LoopOp loop) {
  for (unsigned i = 0; i < loop.getVInitial().size();) {
    SmallVector<CustomOp> inserts = getInserts(loop, i);
    if (inserts.empty()) {
      ++i;
      continue;
    }
    SmallVector<Value> before = *getElements(loop.getVInitial()[i]);
    Value rows = collect(loop, i, inserts);
    ++numLowered;
    for (Operation *user : llvm::make_early_inc_range(rows.getUsers())) {
      auto join = cast<CustomOp>(user);
      if (!before.empty()) {
        // The rows, joined, behind what the sequence started with.
        ImplicitLocOpBuilder b(join.getLoc(), join.getOperation());
        auto rest = cast<CustomOp>(b.clone(*join));
        rest->getResult(0).setType(getUnranked(rows));
        replace(join, joinElements(join, b, before, rest->getResult(0)));
        join = rest;
      }
      joins.push_back(join);
    }
  }
}

void LowerSequencesPass::lowerNode(CustomOp op) {
  if (op->getNumOperands() == 0 || llvm::is_contained(joins, op))
    return;
  ImplicitLocOpBuilder b(op.getLoc(), op.getOperation());
  Value value;
  StringRef type = op.getOpType();
  if (type == "SequenceAt" && op->getNumOperands() == 2)
    value = lowerAt(op, b);
  else if (type == "SequenceLength")
    value = lowerLength(op, b);
  else if (type == "ConcatFromSequence")
    if (auto elements = getElements(op->getOperand(0)))
      value = joinElements(op, b, *elements);
  if (value)
    replace(op, value);
}

void LowerSequencesPass::runOnOperation() {
  joins.clear();
  auto find = [&] {
    SmallVector<CustomOp> nodes;
    getOperation().walk([&](CustomOp op) {
      if (isSequenceOp(op))
        nodes.push_back(op);
    });
    return nodes;
  };
  if (find().empty())
    return;
  SmallVector<LoopOp> loops;
  getOperation().walk([&](LoopOp loop) { loops.push_back(loop); });
  for (LoopOp loop : loops)
    lowerStates(loop);
  for (CustomOp op : find())
    lowerNode(op);
  SmallVector<CustomOp> left = find();
  for (CustomOp op : llvm::reverse(left))
    if (op.use_empty())
      op.erase();
  if (!joins.empty()) {
    OpPassManager shapes(getOperation()->getName());
    shapes.addPass(onnx::createSimplifyShapes());
    if (failed(runPipeline(shapes, getOperation())))
      return signalPassFailure();
  }
  for (CustomOp join : joins) {
    ImplicitLocOpBuilder b(join.getLoc(), join.getOperation());
    if (Value value = joinRows(join, b))
      replace(join, value);
  }
  // The function may return such a value, whose type is known now.
  for (auto func : getOperation().getOps<func::FuncOp>())
    if (!func.isExternal())
      func.setType(FunctionType::get(
          func.getContext(), func.getArgumentTypes(),
          func.getBody().back().getTerminator()->getOperandTypes()));
  for (CustomOp op : find()) {
    // What a sequence starts with is seldom at fault.
    if (op.getOpType() == "SequenceEmpty" ||
        op.getOpType() == "SequenceConstruct")
      continue;
    op->emitError() << "cannot lower node '" << getNodeName(op) << "' ("
                    << op.getOpType()
                    << "): sequences are supported where their tensors are "
                       "known one by one, are the slices of one tensor, or "
                       "are appended in each step of a loop and joined behind "
                       "it; stack the tensors instead";
    return signalPassFailure();
  }
}
