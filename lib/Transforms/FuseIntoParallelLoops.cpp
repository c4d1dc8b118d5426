//===- FuseIntoParallelLoops.cpp - What surrounds a loop moves into it ----===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A parallel loop splits tensors along some of their axes. That split is
// followed from the loop's operands to the ops that compute them, and from its
// results to those that use them, for as long as each op needs only the part of
// its operands that belongs to the same iteration. All of them then become part
// of the loop.
//
//===----------------------------------------------------------------------===//

#include "AxisSplit.h"
#include "mlir/Analysis/TopologicalSortUtils.h"
#include "mlir/Dialect/Linalg/Transforms/Transforms.h"
#include "mlir/Dialect/Linalg/Utils/Utils.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/Matchers.h"
#include "rwkvc/Support/Reshapes.h"
#include "rwkvc/Transforms/Passes.h"
#include "llvm/ADT/MapVector.h"

namespace rwkvc {
#define GEN_PASS_DEF_FUSEINTOPARALLELLOOPS
#include "rwkvc/Transforms/Passes.h.inc"
} // namespace rwkvc

using namespace mlir;
using namespace rwkvc;

namespace {

/// Calls \p visit for every value that \p op or an op in it reads.
void forEachOperand(Operation *op, llvm::function_ref<void(Value)> visit) {
  op->walk([&](Operation *inner) {
    for (Value operand : inner->getOperands())
      visit(operand);
  });
}

bool isConstant(Value value) {
  Operation *def = getReshapeSource(value).getDefiningOp();
  return def && matchPattern(def, m_Constant());
}

/// Whether every element of \p op 's operands but small ones is read once, as
/// by elementwise ops and sums along values that were computed, or \p op is a
/// product with a matrix of at most \p maxProductSize multiplications. Larger
/// products are better off by themselves.
bool isStreaming(linalg::LinalgOp op, int64_t maxProductSize) {
  if (op.getNumReductionLoops() == 0)
    return true;
  SmallVector<int64_t> ranges = op.getStaticLoopRanges();
  int64_t size = 1;
  for (int64_t range : ranges)
    size *= range;
  if (size <= maxProductSize)
    return true;
  return llvm::any_of(op.getDpsInputOperands(), [&](OpOperand *input) {
    AffineMap map = op.getMatchingIndexingMap(input);
    for (auto [i, range] : llvm::enumerate(ranges))
      if (range > 1 && !map.isFunctionOfDim(i))
        return false;
    return !isConstant(input->get());
  });
}

/// The op that only makes or fills \p value, which each iteration can do for
/// itself instead of taking a part of what all share; null if there is none.
Operation *getFiller(Value value) {
  Operation *def = getReshapeSource(value).getDefiningOp();
  auto fill = dyn_cast_or_null<linalg::FillOp>(def);
  bool isPlace = isa_and_nonnull<tensor::EmptyOp>(
      fill ? getReshapeSource(fill.getOutputs()[0]).getDefiningOp() : def);
  return isPlace ? def : nullptr;
}

/// A parallel loop and what shall become part of it.
class Fusion {
public:
  Fusion(scf::ForallOp loop, int64_t maxProductSize)
      : loop(loop), maxProductSize(maxProductSize) {}

  /// Finds what can move in; false where there is nothing.
  bool grow();
  /// Builds the larger loop; what was fused is gone then.
  void rewrite(IRRewriter &rewriter);
  unsigned size() const { return members.size(); }

private:
  bool analyzeLoop();
  std::optional<Split> readPart(ArrayRef<OpFoldResult> offsets,
                                ArrayRef<OpFoldResult> sizes,
                                ArrayRef<OpFoldResult> strides,
                                ArrayRef<int64_t> shape) const;
  std::optional<Split> readSlice(tensor::ExtractSliceOp slice) const;
  std::optional<Split> getUseSplit(OpOperand &use) const;
  std::optional<Split> getLoopUses(Value value) const;

  bool isInside(Operation *op) const {
    return op == loop || members.contains(op);
  }
  bool splitsAllLoops(ArrayRef<AxisSplit> split) const;
  bool tryAdd(Operation *op, Value known, ArrayRef<AxisSplit> split);
  void dropTrailingReshapes();
  bool staysConvex(Operation *op) const;
  bool reaches(Operation *from, bool forward) const;

  SmallVector<OpFoldResult> getOffsets(ImplicitLocOpBuilder &b,
                                       ArrayRef<AxisSplit> split) const;
  SmallVector<int64_t> getTileShape(ArrayRef<int64_t> shape,
                                    ArrayRef<AxisSplit> split) const;
  Value getTile(ImplicitLocOpBuilder &b, Value value,
                ArrayRef<AxisSplit> split);
  void build(ImplicitLocOpBuilder &b, Operation *op);

  scf::ForallOp loop;
  int64_t maxProductSize;
  SmallVector<int64_t> bounds, steps;
  /// Splits of all results of members and of the loop.
  llvm::MapVector<Value, Split> splits;
  /// Members with the split of their loops, where they are linalg ops.
  llvm::MapVector<Operation *, Split> members;

  // While building.
  SmallVector<Value> ivs;
  DenseMap<Value, Value> tiles;
};

} // namespace

bool Fusion::analyzeLoop() {
  // Iterations that are threads already are not to grow.
  bool isMapped = loop.getMapping() && !loop.getMapping()->empty();
  if (!isMapped && !loop->getParentOfType<scf::ForallOp>() &&
      loop.getNumResults() > 0)
    for (auto [from, to, step] :
         llvm::zip_equal(loop.getMixedLowerBound(), loop.getMixedUpperBound(),
                         loop.getMixedStep())) {
      auto first = getConstantIntValue(from), end = getConstantIntValue(to);
      auto stride = getConstantIntValue(step);
      if (!first || *first != 0 || !end || !stride || *end % *stride != 0)
        return false;
      bounds.push_back(*end);
      steps.push_back(*stride);
    }
  if (bounds.empty())
    return false;
  for (auto [i, result] : llvm::enumerate(loop.getResults())) {
    SmallVector<Operation *> stores =
        loop.getCombiningOps(loop.getRegionIterArgs()[i]);
    auto store = stores.size() == 1
                     ? dyn_cast<tensor::ParallelInsertSliceOp>(stores.front())
                     : tensor::ParallelInsertSliceOp();
    if (!store || store.getSourceType().getRank() !=
                      cast<RankedTensorType>(result.getType()).getRank())
      return false;
    std::optional<Split> split =
        readPart(store.getMixedOffsets(), store.getMixedSizes(),
                 store.getMixedStrides(), shapeOf(result));
    if (!split)
      return false;
    splits[result] = *split;
  }
  return true;
}

/// The split that a slice stands for, if each axis is taken as a whole or one
/// step of an induction variable.
std::optional<Split> Fusion::readPart(ArrayRef<OpFoldResult> offsets,
                                      ArrayRef<OpFoldResult> sizes,
                                      ArrayRef<OpFoldResult> strides,
                                      ArrayRef<int64_t> shape) const {
  Split split;
  SmallVector<Value> variables(scf::ForallOp(loop).getInductionVars());
  for (auto [offset, size, stride, extent] :
       llvm::zip_equal(offsets, sizes, strides, shape)) {
    std::optional<int64_t> count = getConstantIntValue(size);
    if (!count || !isConstantIntValue(stride, 1))
      return std::nullopt;
    AxisSplit axis;
    if (!isConstantIntValue(offset, 0) || *count != extent) {
      auto value = dyn_cast<Value>(offset);
      if (!value)
        return std::nullopt;
      // An induction variable, or so many elements for each of its values.
      if (auto product = value.getDefiningOp<arith::MulIOp>())
        if (std::optional<int64_t> block =
                getConstantIntValue(product.getRhs())) {
          value = product.getLhs();
          axis.block = *block;
        }
      Value *found = llvm::find(variables, value);
      if (found == variables.end())
        return std::nullopt;
      axis.loop = std::distance(variables.begin(), found);
      if (*count != steps[axis.loop] * axis.block ||
          extent != bounds[axis.loop] * axis.block)
        return std::nullopt;
    }
    split.push_back(axis);
  }
  return split;
}

std::optional<Split> Fusion::readSlice(tensor::ExtractSliceOp slice) const {
  if (slice.getType().getRank() != slice.getSourceType().getRank())
    return std::nullopt;
  return readPart(slice.getMixedOffsets(), slice.getMixedSizes(),
                  slice.getMixedStrides(), slice.getSourceType().getShape());
}

/// How \p use, of a member or within the loop, splits its operand; none where
/// it needs more than a part.
std::optional<Split> Fusion::getUseSplit(OpOperand &use) const {
  Operation *user = use.getOwner();
  if (const auto *member = members.find(user); member != members.end()) {
    if (isReshape(user))
      return carryOver(user, splits.find(user->getResult(0))->second,
                       /*forward=*/false);
    auto op = cast<linalg::LinalgOp>(user);
    return getOperandSplit(op.getMatchingIndexingMap(&use), member->second);
  }
  auto slice = dyn_cast<tensor::ExtractSliceOp>(user);
  return slice ? readSlice(slice) : std::nullopt;
}

/// Whether every non-trivial loop has an axis of its own.
bool Fusion::splitsAllLoops(ArrayRef<AxisSplit> split) const {
  for (int i = 0, e = bounds.size(); i < e; ++i)
    if (llvm::count_if(
            split, [&](const AxisSplit &axis) { return axis.loop == i; }) != 1)
      return false;
  return true;
}

/// Whether an op outside lies on a path from \p from to, or with \p forward
/// unset from, what is inside.
bool Fusion::reaches(Operation *from, bool forward) const {
  Block *block = loop->getBlock();
  Operation *bound = loop;
  for (auto &[member, split] : members)
    if (forward ? bound->isBeforeInBlock(member)
                : member->isBeforeInBlock(bound))
      bound = member;
  DenseSet<Operation *> seen;
  SmallVector<Operation *> work;
  bool found = false;
  auto visit = [&](Operation *next, bool isFirst) {
    if (!next ||
        (forward ? bound->isBeforeInBlock(next) : next->isBeforeInBlock(bound)))
      return;
    if (isInside(next))
      found |= !isFirst;
    else if (seen.insert(next).second)
      work.push_back(next);
  };
  auto expandFrom = [&](Operation *op, bool isFirst) {
    if (forward) {
      for (Operation *user : op->getUsers())
        visit(block->findAncestorOpInBlock(*user), isFirst);
      return;
    }
    forEachOperand(op, [&](Value operand) {
      Operation *def = operand.getDefiningOp();
      if (def && !op->isAncestor(def))
        visit(block->findAncestorOpInBlock(*def), isFirst);
    });
  };
  expandFrom(from, /*isFirst=*/true);
  while (!work.empty() && !found)
    expandFrom(work.pop_back_val(), /*isFirst=*/false);
  return found;
}

/// Whether no op outside depends on the fusion with \p op and is needed by it.
bool Fusion::staysConvex(Operation *op) const {
  return !reaches(op, /*forward=*/true) && !reaches(op, /*forward=*/false);
}

/// Adds \p op if it can be split as \p known, one of its operands or its
/// results, is.
bool Fusion::tryAdd(Operation *op, Value known, ArrayRef<AxisSplit> split) {
  if (!op || isInside(op) || op->getBlock() != loop->getBlock())
    return false;
  bool forward = known.getDefiningOp() != op;
  Split loops;
  SmallVector<Split> results;
  if (isReshape(op)) {
    if (!cast<RankedTensorType>(op->getResult(0).getType()).hasStaticShape())
      return false;
    std::optional<Split> other = carryOver(op, split, forward);
    if (!other)
      return false;
    results.push_back(forward ? *other : Split(split));
    // The way back must lead to the same parts.
    std::optional<Split> back = carryOver(op, *other, !forward);
    if (!back || *back != split)
      return false;
  } else if (auto linalg = dyn_cast<linalg::GenericOp>(op)) {
    if (!linalg.hasPureTensorSemantics() ||
        !isStreaming(linalg, maxProductSize) ||
        llvm::any_of(linalg.getStaticLoopRanges(), ShapedType::isDynamic))
      return false;
    AffineMap map;
    if (forward) {
      for (OpOperand &operand : op->getOpOperands())
        if (operand.get() == known)
          map = linalg.getMatchingIndexingMap(&operand);
    } else {
      map = linalg.getIndexingMapMatchingResult(cast<OpResult>(known));
    }
    if (!map)
      return false;
    std::optional<Split> found = getLoopSplit(linalg, map, split);
    if (!found)
      return false;
    loops = *found;
    for (auto [axis, kind] :
         llvm::zip_equal(loops, linalg.getIteratorTypesArray()))
      if (!axis.isWhole() && kind != utils::IteratorType::parallel)
        return false;
    for (OpOperand &operand : op->getOpOperands()) {
      if (!isa<RankedTensorType>(operand.get().getType()))
        continue;
      std::optional<Split> needed =
          getOperandSplit(linalg.getMatchingIndexingMap(&operand), loops);
      const auto *inside = splits.find(operand.get());
      if (!needed || (inside != splits.end() && inside->second != *needed))
        return false;
    }
    for (OpResult result : op->getResults())
      results.push_back(
          *getOperandSplit(linalg.getIndexingMapMatchingResult(result), loops));
    // What the body reads by itself must come from outside.
    bool readsInside = false;
    forEachOperand(op, [&](Value value) {
      readsInside |= !llvm::is_contained(op->getOperands(), value) &&
                     splits.contains(value);
    });
    if (readsInside)
      return false;
  } else {
    return false;
  }
  for (auto [result, part] : llvm::zip_equal(op->getResults(), results)) {
    if (!splitsAllLoops(part))
      return false;
    for (OpOperand &use : result.getUses()) {
      Operation *user = use.getOwner();
      if (!isInside(user) && !loop->isProperAncestor(user))
        continue;
      std::optional<Split> needed = getUseSplit(use);
      if (!needed || *needed != part)
        return false;
    }
  }
  if (!staysConvex(op))
    return false;
  members[op] = loops;
  for (auto [result, part] : llvm::zip_equal(op->getResults(), results))
    splits[result] = part;
  return true;
}

bool Fusion::grow() {
  if (!analyzeLoop())
    return false;
  bool changed = true;
  while (changed) {
    changed = false;
    // Towards the users.
    for (size_t i = 0; i < splits.size(); ++i) {
      auto [value, split] = *(splits.begin() + i);
      SmallVector<Operation *> users(value.getUsers());
      for (Operation *user : users)
        changed |= tryAdd(user, value, split);
    }
    // Towards what is read, in the loop and by members.
    SmallVector<OpOperand *> reads;
    loop.getBody()->walk([&](tensor::ExtractSliceOp slice) {
      reads.push_back(&slice.getSourceMutable());
    });
    for (size_t i = 0; i < members.size(); ++i)
      for (OpOperand &operand : (members.begin() + i)->first->getOpOperands())
        reads.push_back(&operand);
    for (OpOperand *read : reads) {
      Operation *def = read->get().getDefiningOp();
      if (!def || isInside(def) || getFiller(read->get()))
        continue;
      if (std::optional<Split> split = getUseSplit(*read))
        changed |= tryAdd(def, read->get(), *split);
    }
  }
  dropTrailingReshapes();
  return llvm::any_of(
      members, [](auto &entry) { return isa<linalg::LinalgOp>(entry.first); });
}

/// Reshapes of results that nothing inside reads stay outside: within the loop
/// a state would no longer be written where it was read.
void Fusion::dropTrailingReshapes() {
  auto isTrailing = [&](auto &entry) {
    Operation *op = entry.first;
    return isReshape(op) && llvm::none_of(op->getUsers(), [&](Operation *user) {
             return isInside(user) || loop->isProperAncestor(user);
           });
  };
  for (auto *it = llvm::find_if(members, isTrailing); it != members.end();
       it = llvm::find_if(members, isTrailing)) {
    splits.erase(it->first->getResult(0));
    members.erase(it);
  }
}

SmallVector<OpFoldResult> Fusion::getOffsets(ImplicitLocOpBuilder &b,
                                             ArrayRef<AxisSplit> split) const {
  SmallVector<OpFoldResult> offsets;
  for (const AxisSplit &axis : split) {
    if (axis.isWhole()) {
      offsets.push_back(b.getIndexAttr(0));
      continue;
    }
    Value offset = ivs[axis.loop];
    if (axis.block != 1)
      offset = arith::MulIOp::create(
          b, offset, arith::ConstantIndexOp::create(b, axis.block));
    offsets.push_back(offset);
  }
  return offsets;
}

SmallVector<int64_t> Fusion::getTileShape(ArrayRef<int64_t> shape,
                                          ArrayRef<AxisSplit> split) const {
  SmallVector<int64_t> tile(shape);
  for (auto [size, axis] : llvm::zip_equal(tile, split))
    if (!axis.isWhole())
      size = steps[axis.loop] * axis.block;
  return tile;
}

/// The part of \p value that belongs to the iteration.
Value Fusion::getTile(ImplicitLocOpBuilder &b, Value value,
                      ArrayRef<AxisSplit> split) {
  if (Value tile = tiles.lookup(value))
    return tile;
  auto type = cast<RankedTensorType>(value.getType());
  SmallVector<int64_t> shape = getTileShape(type.getShape(), split);
  if (Operation *filler = getFiller(value)) {
    Value tile = tensor::EmptyOp::create(b, shape, type.getElementType());
    if (auto fill = dyn_cast<linalg::FillOp>(filler))
      tile = linalg::FillOp::create(b, fill.getInputs(), tile).getResult(0);
    return tile;
  }
  if (shape == type.getShape())
    return value;
  SmallVector<OpFoldResult> strides(shape.size(), b.getIndexAttr(1));
  return tensor::ExtractSliceOp::create(
      b, type.clone(shape), value, getOffsets(b, split),
      getAsIndexOpFoldResult(b.getContext(), shape), strides);
}

/// Lets the indices that \p op 's body asks for count from where those of all
/// iterations start, not from \p offsets.
static void offsetIndices(ImplicitLocOpBuilder &b, Operation *op,
                          ArrayRef<OpFoldResult> offsets) {
  OpBuilder::InsertionGuard guard(b);
  SmallVector<linalg::IndexOp> indices;
  op->walk([&](linalg::IndexOp index) { indices.push_back(index); });
  for (linalg::IndexOp index : indices) {
    auto offset = dyn_cast<Value>(offsets[index.getDim()]);
    if (!offset)
      continue;
    b.setInsertionPointAfter(index);
    auto sum = arith::AddIOp::create(b, index, offset);
    index.getResult().replaceAllUsesExcept(sum, sum);
  }
}

/// Builds the part of \p op that belongs to the iteration.
void Fusion::build(ImplicitLocOpBuilder &b, Operation *op) {
  b.setLoc(op->getLoc());
  Split &loops = members.find(op)->second;
  SmallVector<Value> operands;
  SmallVector<Type> types;
  for (OpOperand &operand : op->getOpOperands()) {
    Value value = operand.get();
    if (isa<RankedTensorType>(value.getType())) {
      Split split = *getUseSplit(operand);
      auto linalg = dyn_cast<linalg::LinalgOp>(op);
      // An output that is not read is a place and no value.
      if (linalg && linalg.isDpsInit(&operand) &&
          !linalg.payloadUsesValueFromOperand(&operand))
        value = tensor::EmptyOp::create(
            b, getTileShape(shapeOf(value), split),
            cast<RankedTensorType>(value.getType()).getElementType());
      else
        value = getTile(b, value, split);
    }
    operands.push_back(value);
  }
  for (OpResult result : op->getResults()) {
    auto type = cast<RankedTensorType>(result.getType());
    types.push_back(
        type.clone(getTileShape(type.getShape(), splits.find(result)->second)));
  }
  Operation *part = nullptr;
  if (auto reshape = dyn_cast<tensor::ExpandShapeOp>(op)) {
    part = tensor::ExpandShapeOp::create(b, types[0], operands[0],
                                         reshape.getReassociationIndices());
  } else if (auto reshape = dyn_cast<tensor::CollapseShapeOp>(op)) {
    part = tensor::CollapseShapeOp::create(b, types[0], operands[0],
                                           reshape.getReassociationIndices());
  } else {
    SmallVector<OpFoldResult> offsets;
    if (cast<linalg::LinalgOp>(op).hasIndexSemantics())
      offsets = getOffsets(b, loops);
    part = clone(b, op, types, operands);
    offsetIndices(b, part, offsets);
  }
  for (auto [result, tile] :
       llvm::zip_equal(op->getResults(), part->getResults()))
    tiles[result] = tile;
}

void Fusion::rewrite(IRRewriter &rewriter) {
  Block *block = loop->getBlock();
  SmallVector<Operation *> ordered;
  for (auto &[op, split] : members)
    ordered.push_back(op);
  llvm::sort(ordered,
             [](Operation *a, Operation *b) { return a->isBeforeInBlock(b); });
  Operation *last = loop->isBeforeInBlock(ordered.back()) ? ordered.back()
                                                          : loop.getOperation();
  Operation *first = loop->isBeforeInBlock(ordered.front())
                         ? loop.getOperation()
                         : ordered.front();
  Operation *before = first->getPrevNode();
  rewriter.setInsertionPointAfter(last);
  ImplicitLocOpBuilder b(loop.getLoc(), rewriter);

  // What is read outside is an output; a result that no longer is lives within
  // an iteration, if nothing but a place was given for it.
  SmallVector<Value> outputs, destinations;
  for (auto &[value, split] : splits) {
    bool isRead = llvm::any_of(value.getUsers(), [&](Operation *user) {
      return !isInside(user) && !loop->isProperAncestor(user);
    });
    auto result = cast<OpResult>(value);
    if (result.getOwner() == loop) {
      OpOperand *init = loop.getTiedOpOperand(result);
      BlockArgument argument = loop.getTiedBlockArgument(init);
      bool isLocal =
          init->get().getDefiningOp<tensor::EmptyOp>() &&
          llvm::all_of(argument.getUsers(), [](Operation *user) {
            return isa<tensor::ExtractSliceOp, tensor::ParallelInsertSliceOp>(
                user);
          });
      if (!isRead && isLocal)
        continue;
      destinations.push_back(init->get());
    } else if (isRead) {
      auto type = cast<RankedTensorType>(value.getType());
      destinations.push_back(
          tensor::EmptyOp::create(b, type.getShape(), type.getElementType()));
    } else {
      continue;
    }
    outputs.push_back(value);
  }

  auto fused = scf::ForallOp::create(
      b, loop.getMixedLowerBound(), loop.getMixedUpperBound(),
      loop.getMixedStep(), destinations, loop.getMapping());
  ivs = llvm::to_vector_of<Value>(fused.getInductionVars());
  b.setInsertionPoint(fused.getTerminator());
  DenseSet<Operation *> afterLoop;
  for (Operation *op : ordered)
    if (llvm::any_of(op->getOperands(), [&](Value operand) {
          Operation *def = operand.getDefiningOp();
          return def && (def == loop || afterLoop.contains(def));
        }))
      afterLoop.insert(op);
  for (Operation *op : ordered)
    if (!afterLoop.contains(op))
      build(b, op);

  IRMapping mapping;
  mapping.map(loop.getInductionVars(), fused.getInductionVars());
  for (auto [output, argument] :
       llvm::zip_equal(outputs, fused.getRegionIterArgs()))
    if (output.getDefiningOp() == loop)
      mapping.map(loop.getTiedBlockArgument(
                      loop.getTiedOpOperand(cast<OpResult>(output))),
                  argument);
  for (Operation &op : loop.getBody()->without_terminator())
    b.clone(op, mapping);
  // Slices of what is now computed in the iteration, or only needs a place in
  // it, give way to their like there.
  loop.getBody()->walk([&](tensor::ExtractSliceOp slice) {
    auto copy = cast<tensor::ExtractSliceOp>(
        mapping.lookup(slice.getResult()).getDefiningOp());
    Value tile = tiles.lookup(slice.getSource());
    if (auto argument = dyn_cast<BlockArgument>(slice.getSource());
        argument && argument.getOwner() == loop.getBody() &&
        !mapping.contains(argument)) {
      OpBuilder::InsertionGuard guard(b);
      b.setInsertionPoint(copy);
      tile = tensor::EmptyOp::create(b, slice.getType().getShape(),
                                     slice.getType().getElementType());
    }
    if (!tile)
      return;
    rewriter.replaceOp(copy, tile);
    mapping.map(slice.getResult(), tile);
  });
  for (OpResult result : loop.getResults()) {
    auto store = cast<tensor::ParallelInsertSliceOp>(loop.getCombiningOps(
        loop.getTiedBlockArgument(loop.getTiedOpOperand(result)))[0]);
    tiles[result] = mapping.lookupOrDefault(store.getSource());
  }
  for (Operation *op : ordered)
    if (afterLoop.contains(op))
      build(b, op);

  b.setLoc(loop.getLoc());
  SmallVector<SmallVector<OpFoldResult>> offsets;
  for (Value output : outputs)
    offsets.push_back(getOffsets(b, splits.find(output)->second));
  b.setInsertionPointToEnd(fused.getTerminator().getBody());
  for (auto [output, argument, start] :
       llvm::zip_equal(outputs, fused.getRegionIterArgs(), offsets)) {
    Value tile = tiles.lookup(output);
    SmallVector<OpFoldResult> strides(start.size(), b.getIndexAttr(1));
    tensor::ParallelInsertSliceOp::create(
        b, tile, argument, start,
        getAsIndexOpFoldResult(b.getContext(), shapeOf(tile)), strides);
  }
  for (auto [output, result] : llvm::zip_equal(outputs, fused.getResults()))
    rewriter.replaceUsesWithIf(output, result, [&](OpOperand &use) {
      Operation *user = use.getOwner();
      return !isInside(user) && !loop->isProperAncestor(user);
    });
  // Users before their operands; uses among what is fused vanish from the last
  // to the first.
  for (Operation *op : llvm::reverse(ordered))
    if (afterLoop.contains(op))
      rewriter.eraseOp(op);
  rewriter.eraseOp(loop);
  for (Operation *op : llvm::reverse(ordered))
    if (!afterLoop.contains(op))
      rewriter.eraseOp(op);
  // What reads the results between the first of the ops and the last comes
  // after the loop; the rest of the block is in order.
  Block::iterator start = before ? ++before->getIterator() : block->begin();
  sortTopologically(block, llvm::make_range(start, ++fused->getIterator()));
}

namespace {

struct FuseIntoParallelLoopsPass
    : rwkvc::impl::FuseIntoParallelLoopsBase<FuseIntoParallelLoopsPass> {
  using FuseIntoParallelLoopsBase::FuseIntoParallelLoopsBase;

  void runOnOperation() override {
    SmallVector<scf::ForallOp> loops;
    getOperation().walk([&](scf::ForallOp loop) { loops.push_back(loop); });
    IRRewriter rewriter(&getContext());
    for (scf::ForallOp loop : loops) {
      Fusion fusion(loop, maxProductSize);
      if (!fusion.grow())
        continue;
      numFused += fusion.size();
      ++numLoops;
      fusion.rewrite(rewriter);
    }
  }
};

} // namespace
