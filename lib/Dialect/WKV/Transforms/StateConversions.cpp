//===- StateConversions.cpp - The file's states and the ops' --------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Between a state input and the op that reads it elements are moved, and they
// may be converted to another type or scaled; so they are between the op and
// the output. What does so is copied into functions of their own. Other values
// that are moved along, such as a row that is written into a packed state, are
// of no interest: the elements of the states do not come from there.
//
//===----------------------------------------------------------------------===//

#include "StateConversions.h"
#include "Forms.h"
#include "TensorMovement.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/Transforms/RegionUtils.h"

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::wkv;

static constexpr llvm::StringLiteral kNameAttr = "onnx.name";

namespace {

/// Copies what moves elements from one block into another.
class Mover {
public:
  explicit Mover(OpBuilder &builder) : b(builder) {}

  void set(Value value, Value counterpart) { known.map(value, counterpart); }
  /// The counterparts of \p values, of which elements from elsewhere than the
  /// values that were set are 0.
  SmallVector<Value> move(Block &from, ArrayRef<Value> values);

private:
  void copy(Operation &op);
  Value get(Value value);

  OpBuilder &b;
  IRMapping known;                 ///< of what the states' elements are in
  DenseMap<Value, Value> unknowns; ///< of the rest
};

} // namespace

Value Mover::get(Value value) {
  if (Value counterpart = known.lookupOrNull(value))
    return counterpart;
  Value &counterpart = unknowns[value];
  if (counterpart)
    return counterpart;
  Operation *op = value.getDefiningOp();
  if (op && (op->hasTrait<OpTrait::ConstantLike>() || isa<tensor::EmptyOp>(op)))
    return counterpart = b.clone(*op)->getResult(0);
  // Filled, so that the weights do not contain it.
  auto type = dyn_cast<RankedTensorType>(value.getType());
  Location loc = value.getLoc();
  auto zero = cast<TypedAttr>(b.getZeroAttr(getElementTypeOrSelf(value)));
  counterpart = arith::ConstantOp::create(b, loc, zero);
  if (type) {
    Value empty =
        tensor::EmptyOp::create(b, loc, type.getShape(), type.getElementType());
    counterpart =
        linalg::FillOp::create(b, loc, counterpart, empty).getResult(0);
  }
  return counterpart;
}

void Mover::copy(Operation &op) {
  auto isKnown = [&](Value value) {
    Operation *source = value.getDefiningOp();
    return known.contains(value) ||
           (source && source->hasTrait<OpTrait::ConstantLike>());
  };
  auto insert = dyn_cast<tensor::InsertSliceOp>(op);
  if (insert && !isKnown(insert.getSource())) {
    if (isKnown(insert.getDest()))
      set(insert, get(insert.getDest()));
    return;
  }
  // A factor that is known makes no row a state.
  Value moved = getMovedValue(&op);
  if (moved ? !isKnown(moved) : llvm::none_of(op.getOperands(), isKnown))
    return;
  IRMapping operands;
  for (Value operand : op.getOperands())
    operands.map(operand, get(operand));
  llvm::SetVector<Value> captured;
  getUsedValuesDefinedAbove(op.getRegions(), captured);
  for (Value value : captured)
    operands.map(value, get(value));
  set(op.getResult(0), b.clone(op, operands)->getResult(0));
}

SmallVector<Value> Mover::move(Block &from, ArrayRef<Value> values) {
  DenseSet<Operation *> ops;
  SmallVector<Value> worklist(values);
  while (!worklist.empty()) {
    Value value = worklist.pop_back_val();
    Operation *op = value.getDefiningOp();
    if (op && !known.contains(value) && isMovement(op) && ops.insert(op).second)
      llvm::append_range(worklist, op->getOperands());
  }
  for (Operation &op : from)
    if (ops.contains(&op))
      copy(op);
  SmallVector<Value> results;
  for (Value value : values)
    results.push_back(get(value));
  return results;
}

/// A function in \p module, with an empty body for \p arguments.
static func::FuncOp addFunction(OpBuilder &b, ModuleOp module, StringRef name,
                                TypeRange arguments, ArrayAttr argAttrs,
                                int64_t numTexts) {
  auto function = func::FuncOp::create(module.getLoc(), name,
                                       b.getFunctionType(arguments, {}));
  module.push_back(function);
  function->setAttr(kFormAttr, b.getStringAttr(name));
  function->setAttr(kTextsAttr, b.getI64IntegerAttr(numTexts));
  b.setInsertionPointToStart(function.addEntryBlock());
  function.setArgAttrsAttr(argAttrs);
  return function;
}

static void finish(OpBuilder &b, func::FuncOp function, ValueRange results,
                   ArrayAttr attrs) {
  func::ReturnOp::create(b, function.getLoc(), results);
  function.setFunctionType(
      b.getFunctionType(function.getArgumentTypes(), results.getTypes()));
  function.setResAttrsAttr(attrs);
  eraseDeadOps(function.front());
}

void wkv::addStateConversions(func::FuncOp main,
                              ArrayRef<CanonicalState> states,
                              int64_t numTexts) {
  auto module = main->getParentOfType<ModuleOp>();
  OpBuilder b(main.getContext());
  auto nameAttrs = [&](Attribute name) -> Attribute {
    NamedAttrList attrs;
    if (name)
      attrs.set(kNameAttr, name);
    return attrs.getDictionary(b.getContext());
  };
  SmallVector<Value> inputs, outputs, canonical;
  SmallVector<Attribute> inputAttrs, outputAttrs, canonicalAttrs;
  Operation *ret = main.front().getTerminator();
  for (BlockArgument argument : main.getArguments()) {
    unsigned number = argument.getArgNumber();
    auto next = main.getArgAttrOfType<IntegerAttr>(number, kStateAttr);
    if (!next)
      continue;
    inputs.push_back(argument);
    outputs.push_back(ret->getOperand(next.getInt()));
    inputAttrs.push_back(nameAttrs(main.getArgAttr(number, kNameAttr)));
    outputAttrs.push_back(
        nameAttrs(main.getResultAttr(next.getInt(), kNameAttr)));
  }
  if (inputs.empty())
    return;
  for (const CanonicalState &state : states) {
    canonical.push_back(state.next);
    canonicalAttrs.push_back(nameAttrs(b.getStringAttr(state.name)));
  }
  ArrayAttr attrs = b.getArrayAttr(canonicalAttrs);

  func::FuncOp unpack =
      addFunction(b, module, kUnpackName, ValueRange(inputs).getTypes(),
                  b.getArrayAttr(inputAttrs), numTexts);
  Mover in(b);
  for (auto [input, argument] : llvm::zip(inputs, unpack.getArguments()))
    in.set(input, argument);
  SmallVector<Value> olds;
  for (const CanonicalState &state : states)
    olds.push_back(state.old);
  SmallVector<Value> results = in.move(main.front(), olds);
  for (auto [state, result] : llvm::zip(states, results))
    if (state.isConstant)
      result = arith::ConstantOp::create(
          b, main.getLoc(),
          DenseElementsAttr::get(
              cast<ShapedType>(state.next.getType()),
              b.getFloatAttr(getElementTypeOrSelf(state.next.getType()),
                             state.initial)));
  finish(b, unpack, results, attrs);

  func::FuncOp pack = addFunction(
      b, module, kPackName, ValueRange(canonical).getTypes(), attrs, numTexts);
  Mover out(b);
  for (auto [value, argument] : llvm::zip(canonical, pack.getArguments()))
    out.set(value, argument);
  finish(b, pack, out.move(main.front(), outputs), b.getArrayAttr(outputAttrs));
}

//===----------------------------------------------------------------------===//
// Texts
//===----------------------------------------------------------------------===//

/// \p value, [outside, N, inside] in all, as [N, outside, inside], or with
/// \p back from that to this.
static Value swapAxes(OpBuilder &b, Location loc, Value value, int64_t outside,
                      int64_t numTexts, bool back) {
  auto type = cast<RankedTensorType>(value.getType());
  int64_t inside = type.getNumElements() / outside / numTexts;
  SmallVector<int64_t> from{outside, numTexts, inside};
  SmallVector<int64_t> to{numTexts, outside, inside};
  if (back)
    std::swap(from, to);
  if (outside == 1)
    return value;
  value = reshapeTensor(b, loc, value, type.clone(from));
  Value empty = tensor::EmptyOp::create(b, loc, to, type.getElementType());
  SmallVector<int64_t> permutation{1, 0, 2};
  return linalg::TransposeOp::create(b, loc, value, empty, permutation)
      ->getResult(0);
}

void wkv::moveTextsFirst(ModuleOp module, unsigned number, const TextAxis &axis,
                         int64_t numTexts) {
  auto unpack = module.lookupSymbol<func::FuncOp>(kUnpackName);
  auto pack = module.lookupSymbol<func::FuncOp>(kPackName);
  if (!unpack || !pack)
    return;
  auto type = cast<RankedTensorType>(pack.getArgumentTypes()[number]);
  int64_t outside = axis.outer;
  for (int64_t size : type.getShape().take_front(axis.dim))
    outside *= size;
  SmallVector<int64_t> shape(type.getShape());
  shape[axis.dim] = axis.outer * axis.inner;
  // Of one text the first axis is 1.
  shape[0] = numTexts;
  RankedTensorType first = type.clone(shape);
  if (first == type)
    return;

  OpBuilder b(module.getContext());
  Operation *ret = unpack.front().getTerminator();
  b.setInsertionPoint(ret);
  Value result =
      swapAxes(b, ret->getLoc(), ret->getOperand(number), outside, numTexts,
               /*back=*/false);
  ret->setOperand(number, reshapeTensor(b, ret->getLoc(), result, first));
  unpack.setFunctionType(
      b.getFunctionType(unpack.getArgumentTypes(), ret->getOperandTypes()));

  b.setInsertionPointToStart(&pack.front());
  BlockArgument argument = pack.getArgument(number);
  SmallVector<OpOperand *> uses;
  for (OpOperand &use : argument.getUses())
    uses.push_back(&use);
  argument.setType(first);
  Value value = swapAxes(b, pack.getLoc(), argument, outside, numTexts,
                         /*back=*/true);
  value = reshapeTensor(b, pack.getLoc(), value, type);
  for (OpOperand *use : uses)
    use->set(value);
  pack.setFunctionType(b.getFunctionType(pack.front().getArgumentTypes(),
                                         pack.getResultTypes()));
}
