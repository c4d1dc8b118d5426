//===- JoinHeads.cpp - One recurrence for those of groups of heads --------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Exporters write a layer's heads, or groups of them, as recurrences of their
// own, each with its part of the layer's tensors and state. Heads never
// interact, so these are one op over all heads, with one state.
//
//===----------------------------------------------------------------------===//

#include "ElementOrigins.h"
#include "RaiseSequenceOps.h"
#include "mlir/Analysis/TopologicalSortUtils.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "rwkvc/Dialect/WKV/IR/WKV.h"
#include "rwkvc/Dialect/WKV/Transforms/Passes.h"
#include "llvm/ADT/MapVector.h"

namespace rwkvc::wkv {
#define GEN_PASS_DEF_JOINHEADS
#include "rwkvc/Dialect/WKV/Transforms/Passes.h.inc"
} // namespace rwkvc::wkv

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::wkv;

/// The axis of the heads in operand \p number of \p op; none where it has none.
static std::optional<int64_t> getHeadAxis(RecurrenceOpInterface op,
                                          unsigned number) {
  OperandRole role = op.getOperandRole(number);
  if (role == OperandRole::Length)
    return std::nullopt;
  int64_t rank = typeOf(op->getOperand(number)).getRank();
  // [B, H, ., .]; [B, T, H, .] and [H, .].
  return role == OperandRole::State ? rank - 3 : rank - 2;
}

/// Whether the ops are alike but for the number of their heads.
static bool fit(RecurrenceOpInterface x, RecurrenceOpInterface y) {
  if (x->getName() != y->getName() || x->getAttrs() != y->getAttrs() ||
      x->getNumOperands() != y->getNumOperands())
    return false;
  for (unsigned i = 0; i < x->getNumOperands(); ++i) {
    RankedTensorType a = typeOf(x->getOperand(i)), b = typeOf(y->getOperand(i));
    std::optional<int64_t> axis = getHeadAxis(x, i);
    if (!axis || a.getRank() != b.getRank() ||
        a.getElementType() != b.getElementType())
      return false;
    for (int64_t dim = 0; dim < a.getRank(); ++dim)
      if (dim != *axis && a.getDimSize(dim) != b.getDimSize(dim))
        return false;
  }
  return true;
}

/// Whether \p op has heads, and nothing else than its heads tells it from
/// others.
static bool isCandidate(RecurrenceOpInterface op) {
  for (OpOperand &operand : op->getOpOperands()) {
    auto type = dyn_cast<RankedTensorType>(operand.get().getType());
    OperandRole role = op.getOperandRole(operand.getOperandNumber());
    bool isParameter = role == OperandRole::Parameter;
    if (role == OperandRole::Length || !type || !type.hasStaticShape() ||
        type.getRank() != (isParameter ? 2 : 4) ||
        (role == OperandRole::Output &&
         !operand.get().getDefiningOp<tensor::EmptyOp>()))
      return false;
  }
  return true;
}

namespace {

struct JoinHeadsPass : wkv::impl::JoinHeadsBase<JoinHeadsPass> {
  void runOnOperation() override {
    for (auto func : getOperation().getOps<func::FuncOp>())
      if (!func.isExternal() && func.getBody().hasOneBlock())
        run(func.getBody().front());
  }

  void run(Block &block);
  void join(ArrayRef<RecurrenceOpInterface> ops);
};

using Group = SmallVector<RecurrenceOpInterface, 4>;

} // namespace

/// Sorts \p group by the places where values of the ops begin, those that
/// \p getValue gives. False where these are no parts of one other value or,
/// with
/// \p ofArguments, of arguments.
static bool
sortByPlace(Group &group,
            llvm::function_ref<Value(RecurrenceOpInterface)> getValue,
            bool ofArguments = false) {
  SmallVector<std::pair<std::pair<unsigned, int64_t>, RecurrenceOpInterface>>
      places;
  Value whole;
  for (RecurrenceOpInterface op : group) {
    auto origins = traceElements(getValue(op));
    Value source = origins ? origins->front().source : Value();
    auto argument = dyn_cast_or_null<BlockArgument>(source);
    if (!source || (ofArguments ? !argument : whole && source != whole))
      return false;
    whole = source;
    places.push_back(
        {{ofArguments ? argument.getArgNumber() : 0, origins->front().index},
         op});
  }
  llvm::stable_sort(
      places, [](const auto &a, const auto &b) { return a.first < b.first; });
  for (auto [op, place] : llvm::zip(group, places))
    op = place.second;
  return true;
}

/// Sorts \p group as the heads are in the tensors that the ops read, otherwise
/// as their states are in the file.
static void sort(Group &group) {
  for (OpOperand &operand : group.front()->getOpOperands()) {
    unsigned number = operand.getOperandNumber();
    if (group.front().getOperandRole(number) == OperandRole::Token &&
        sortByPlace(group, [&](RecurrenceOpInterface op) {
          return op->getOperand(number);
        }))
      return;
  }
  sortByPlace(
      group,
      [](RecurrenceOpInterface op) -> Value { return op.getStates().front(); },
      /*ofArguments=*/true);
}

void JoinHeadsPass::run(Block &block) {
  // By the number of recurrences on the longest way to an op: those of one
  // depth do not depend on each other.
  DenseMap<Value, unsigned> depths;
  llvm::MapVector<unsigned, SmallVector<Group>> groups;
  for (Operation &op : block) {
    unsigned depth = 0;
    op.walk([&](Operation *inner) {
      for (Value operand : inner->getOperands())
        depth = std::max(depth, depths.lookup(operand));
    });
    auto recurrence = dyn_cast<RecurrenceOpInterface>(op);
    if (recurrence)
      ++depth;
    for (Value result : op.getResults())
      depths[result] = depth;
    if (!recurrence || !isCandidate(recurrence))
      continue;
    SmallVector<Group> &alike = groups[depth];
    auto *group = llvm::find_if(
        alike, [&](Group &group) { return fit(group.front(), recurrence); });
    if (group == alike.end())
      alike.push_back({recurrence});
    else
      group->push_back(recurrence);
  }
  bool isChanged = false;
  for (auto &[depth, alike] : groups)
    for (Group &group : alike)
      if (group.size() > 1) {
        sort(group);
        join(group);
        isChanged = true;
      }
  if (isChanged)
    sortTopologically(&block);
}

/// What all elements of \p value are, in their order, if they are all those of
/// one other value, looking no further than where \p isSource says so.
static Value findWhole(Value value,
                       llvm::function_ref<bool(Value)> isSource = nullptr) {
  auto origins = traceElements(value, isSource);
  int64_t start = 0;
  Value source = origins ? getContiguousSource(*origins, start) : Value();
  return source && start == 0 &&
                 typeOf(source).getNumElements() ==
                     typeOf(value).getNumElements()
             ? source
             : Value();
}

/// Whether \p value is part of a constant, or all of it.
static bool isConstant(Value value) {
  while (Operation *op = value.getDefiningOp()) {
    if (!movesElements(op) || getMovedOperands(op).size() != 1)
      break;
    value = op->getOperand(0);
  }
  return value.getDefiningOp<onnx::ConstantOp>() != nullptr;
}

/// The tensors \p parts side by side.
static Value joinParts(ImplicitLocOpBuilder &b, ArrayRef<Value> parts,
                       int64_t axis) {
  Value all = concat(b, parts, axis);
  RankedTensorType type = typeOf(all);
  Value joined;
  if (llvm::all_of(parts, isConstant)) {
    auto value = onnx::evaluateRegion({all}, RandomLeaves().get());
    if (succeeded(value))
      joined = floatConstant(b, type, (*value)[0].data);
  } else if (Value source = findWhole(all)) {
    joined =
        reshapeTo(b, castTo(b, source, type.getElementType()), type.getShape());
  }
  if (!joined)
    return all;
  all.getDefiningOp()->erase();
  return joined;
}

void JoinHeadsPass::join(ArrayRef<RecurrenceOpInterface> ops) {
  RecurrenceOpInterface first = ops.front();
  // The order of the block is mended at the end.
  ImplicitLocOpBuilder b(first.getLoc(), first->getBlock()->getTerminator());
  SmallVector<Value> operands;
  SmallVector<Type> types;
  for (OpOperand &operand : first->getOpOperands()) {
    unsigned number = operand.getOperandNumber();
    int64_t axis = *getHeadAxis(first, number);
    OperandRole role = first.getOperandRole(number);
    if (role == OperandRole::Output) {
      SmallVector<int64_t> shape(typeOf(operand.get()).getShape());
      shape[axis] = 0;
      for (RecurrenceOpInterface op : ops)
        shape[axis] += typeOf(op->getOperand(number)).getDimSize(axis);
      operands.push_back(tensor::EmptyOp::create(
          b, shape, typeOf(operand.get()).getElementType()));
    } else {
      SmallVector<Value> parts;
      for (RecurrenceOpInterface op : ops)
        parts.push_back(op->getOperand(number));
      operands.push_back(joinParts(b, parts, axis));
    }
    // Results are what the outputs and states become, in this order.
    if (role == OperandRole::Output || role == OperandRole::State)
      types.push_back(operands.back().getType());
  }
  IRMapping map;
  map.map(first->getOperands(), operands);
  Operation *joined = b.clone(*first, map);
  for (auto [result, type] : llvm::zip_equal(joined->getResults(), types))
    result.setType(type);

  llvm::SetVector<Value> views;
  for (auto [i, result] : llvm::enumerate(joined->getResults())) {
    int64_t axis = typeOf(result).getRank() - (i == 0 ? 2 : 3), start = 0;
    for (RecurrenceOpInterface op : ops) {
      Value part = op->getResult(i);
      int64_t end = start + typeOf(part).getDimSize(axis);
      Value own = slice(b, result, axis, start, end);
      part.replaceAllUsesWith(own);
      views.insert(own);
      start = end;
    }
  }
  for (RecurrenceOpInterface op : ops)
    op->erase();
  // What put the parts together is the whole.
  for (unsigned i = 0; i < views.size(); ++i)
    for (Operation *user : llvm::to_vector(views[i].getUsers())) {
      if (!movesElements(user) || user->getNumResults() != 1)
        continue;
      Value moved = user->getResult(0);
      Value whole = isa<onnx::ConcatOp>(user)
                        ? findWhole(moved,
                                    [&](Value value) {
                                      return value.getDefiningOp() == joined;
                                    })
                        : Value();
      if (!whole || whole.getDefiningOp() != joined) {
        views.insert(moved);
        continue;
      }
      whole = castTo(b, whole, typeOf(moved).getElementType());
      moved.replaceAllUsesWith(reshapeTo(b, whole, typeOf(moved).getShape()));
    }
  ++numJoined;
}
