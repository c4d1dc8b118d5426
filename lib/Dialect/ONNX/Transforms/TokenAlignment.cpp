//===- TokenAlignment.cpp - One program per token, side by side -----------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "TokenAlignment.h"
#include "ScanSupport.h"
#include "mlir/IR/Block.h"

using namespace mlir;
using namespace rwkvc::onnx;
using namespace rwkvc::onnx::evaluation;

/// Two tokens are no evidence of a loop.
static constexpr int64_t kMinTokens = 3;

static std::optional<ArrayRef<int64_t>> getStaticShape(Value value) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  if (!type || !type.hasStaticShape())
    return std::nullopt;
  return type.getShape();
}

//===----------------------------------------------------------------------===//
// Collections
//===----------------------------------------------------------------------===//

/// The row-major numbers of the elements of the data that \p op writes at
/// indices \p numbers, in the order of its updates' elements.
static std::optional<Shape> getWrittenElements(Operation *op,
                                               ArrayRef<int64_t> numbers) {
  auto data = getStaticShape(op->getOperand(0));
  auto updates = getStaticShape(op->getOperand(2));
  auto indices = getStaticShape(op->getOperand(1));
  if (!data || !updates || !indices)
    return std::nullopt;
  Shape strides = getStrides(*data), written;
  auto at = [&](int64_t index, unsigned axis) -> std::optional<int64_t> {
    if (index < 0)
      index += (*data)[axis];
    if (index < 0 || index >= (*data)[axis])
      return std::nullopt;
    return index * strides[axis];
  };
  if (auto scatter = dyn_cast<ScatterNDOp>(op)) {
    if (scatter.getReduction() != "none" || indices->empty())
      return std::nullopt;
    int64_t depth = indices->back(), inner = 1;
    if (depth < 1 || depth > static_cast<int64_t>(data->size()))
      return std::nullopt;
    for (int64_t size : data->drop_front(depth))
      inner *= size;
    for (size_t row = 0; row + depth <= numbers.size(); row += depth) {
      int64_t base = 0;
      for (int64_t i = 0; i < depth; ++i) {
        std::optional<int64_t> offset = at(numbers[row + i], i);
        if (!offset)
          return std::nullopt;
        base += *offset;
      }
      for (int64_t i = 0; i < inner; ++i)
        written.push_back(base + i);
    }
    return written;
  }
  auto scatter = dyn_cast<ScatterElementsOp>(op);
  auto axis =
      scatter ? normalizeAxis(scatter.getAxis(), data->size()) : std::nullopt;
  if (!axis || scatter.getReduction() != "none")
    return std::nullopt;
  Shape others = strides;
  others[*axis] = 0;
  bool valid = true;
  forEachIndex(*updates, {others}, [&](int64_t i, ArrayRef<int64_t> offsets) {
    std::optional<int64_t> along = at(numbers[i], *axis);
    valid &= along.has_value();
    written.push_back(offsets[0] + along.value_or(0));
  });
  return valid ? std::optional(written) : std::nullopt;
}

static std::optional<Shape> getWrittenElements(Operation *op) {
  std::optional<Shape> numbers = getConstantIntegers(op->getOperand(1));
  return numbers ? getWrittenElements(op, *numbers) : std::nullopt;
}

/// Whether \p written are the elements of \p shape at one index of \p axis, in
/// order; returns the index.
static std::optional<int64_t>
matchIndex(ArrayRef<int64_t> written, ArrayRef<int64_t> shape, int64_t axis) {
  AxisView view = viewAxis(shape, axis);
  if (static_cast<int64_t>(written.size()) != view.outer * view.inner ||
      written.empty())
    return std::nullopt;
  int64_t index = written[0] / view.inner;
  if (index >= view.size)
    return std::nullopt;
  for (auto [i, element] : llvm::enumerate(written)) {
    int64_t outer = static_cast<int64_t>(i) / view.inner;
    int64_t inner = static_cast<int64_t>(i) % view.inner;
    if (element != (outer * view.size + index) * view.inner + inner)
      return std::nullopt;
  }
  return index;
}

std::optional<int64_t> rwkvc::onnx::getWrittenIndex(Operation *scatter,
                                                    ArrayRef<int64_t> indices,
                                                    int64_t axis) {
  auto shape = getStaticShape(scatter->getOperand(0));
  std::optional<Shape> written = getWrittenElements(scatter, indices);
  return shape && written ? matchIndex(*written, *shape, axis) : std::nullopt;
}

static std::optional<TokenCollection> findScattered(Operation *op) {
  auto shape = getStaticShape(op->getResult(0));
  std::optional<Shape> written = getWrittenElements(op);
  if (!shape || !written || llvm::any_of(op->getUsers(), [&](Operation *user) {
        return user->getName() == op->getName() &&
               user->getOperand(0) == op->getResult(0);
      }))
    return std::nullopt;
  for (int64_t axis = 0; axis < static_cast<int64_t>(shape->size()); ++axis) {
    int64_t size = (*shape)[axis];
    if (size < kMinTokens || !matchIndex(*written, *shape, axis))
      continue;
    TokenCollection collection{op->getResult(0), axis, {}};
    collection.pieces.resize(size);
    int64_t missing = size;
    for (Operation *write = op; write && missing > 0;
         write = write->getOperand(0).getDefiningOp()) {
      if (write->getName() != op->getName())
        break;
      std::optional<Shape> part = getWrittenElements(write);
      std::optional<int64_t> index =
          part ? matchIndex(*part, *shape, axis) : std::nullopt;
      if (!index)
        break;
      // A later write of the same piece has been seen first.
      if (!collection.pieces[*index]) {
        collection.pieces[*index] = write->getOperand(2);
        --missing;
      }
    }
    if (missing == 0)
      return collection;
  }
  return std::nullopt;
}

std::optional<TokenCollection> rwkvc::onnx::findCollection(Operation *op) {
  if (isa<ScatterNDOp, ScatterElementsOp>(op))
    return findScattered(op);
  auto concat = dyn_cast<ConcatOp>(op);
  auto shape = concat ? getStaticShape(op->getResult(0)) : std::nullopt;
  if (!shape)
    return std::nullopt;
  auto axis = normalizeAxis(concat.getAxis(), shape->size());
  if (!axis || op->getNumOperands() < kMinTokens ||
      (*shape)[*axis] != static_cast<int64_t>(op->getNumOperands()) ||
      !llvm::all_equal(op->getOperandTypes()))
    return std::nullopt;
  return TokenCollection{op->getResult(0), *axis,
                         llvm::to_vector(op->getOperands())};
}

//===----------------------------------------------------------------------===//
// Slices
//===----------------------------------------------------------------------===//

namespace {

/// One index of an axis of \p source.
struct TokenSlice {
  Value source;
  int64_t axis, index;
};

} // namespace

/// Whether \p value is one index of an axis of extent \p numTokens.
static std::optional<TokenSlice> findSlice(Value value, int64_t numTokens) {
  Operation *op = value.getDefiningOp();
  if (!op || !isa<GatherOp, SliceOp, SplitOp>(op))
    return std::nullopt;
  Value source = op->getOperand(0);
  auto shape = getStaticShape(source), own = getStaticShape(value);
  if (!shape || !own)
    return std::nullopt;
  if (auto gather = dyn_cast<GatherOp>(op)) {
    auto index = getConstantIntegers(gather.getIndices());
    auto axis = normalizeAxis(gather.getAxis(), shape->size());
    if (!index || index->size() != 1 || !axis || (*shape)[*axis] != numTokens)
      return std::nullopt;
    int64_t at = (*index)[0] < 0 ? (*index)[0] + numTokens : (*index)[0];
    return TokenSlice{source, *axis, at};
  }
  if (shape->size() != own->size())
    return std::nullopt;
  std::optional<int64_t> axis;
  for (auto [i, sizes] : llvm::enumerate(llvm::zip(*shape, *own))) {
    auto [full, taken] = sizes;
    if (full == taken)
      continue;
    if (axis || taken != 1 || full != numTokens)
      return std::nullopt;
    axis = i;
  }
  if (!axis)
    return std::nullopt;
  if (auto split = dyn_cast<SplitOp>(op)) {
    int64_t index = 0;
    for (Value output : split.getOutputs()) {
      if (output == value)
        return TokenSlice{source, *axis, index};
      auto part = getStaticShape(output);
      if (!part)
        return std::nullopt;
      index += (*part)[*axis];
    }
    return std::nullopt;
  }
  auto slice = cast<SliceOp>(op);
  auto starts = getConstantIntegers(slice.getStarts());
  auto ends = getConstantIntegers(slice.getEnds());
  auto axes = getConstantIntegers(slice.getAxes());
  auto steps = getConstantIntegers(slice.getSteps());
  if (!starts || !ends || (!axes && !isNone(slice.getAxes())) ||
      (!steps && !isNone(slice.getSteps())))
    return std::nullopt;
  auto ranges = getSliceRanges(
      *shape, *starts, *ends,
      axes ? std::optional<ArrayRef<int64_t>>(*axes) : std::nullopt,
      steps ? std::optional<ArrayRef<int64_t>>(*steps) : std::nullopt);
  if (!ranges)
    return std::nullopt;
  for (auto [i, range] : llvm::enumerate(*ranges))
    if (static_cast<int64_t>(i) != *axis && range.step != 1)
      return std::nullopt;
  return TokenSlice{source, *axis, (*ranges)[*axis].start};
}

//===----------------------------------------------------------------------===//
// Alignment
//===----------------------------------------------------------------------===//

/// The operands of \p value's op, none where its tokens have been collected.
static ValueRange getSources(Value value) {
  Operation *op = value.getDefiningOp();
  return op && !findCollection(op) ? ValueRange(op->getOperands())
                                   : ValueRange();
}

int64_t TokenAlignment::getLevel(Value value) {
  SmallVector<Value> stack{value};
  while (!stack.empty()) {
    Value current = stack.back();
    if (levels.contains(current)) {
      stack.pop_back();
      continue;
    }
    if (std::optional<TokenSlice> slice = findSlice(current, numTokens)) {
      // What the first token reads of later ones it read before the loop.
      levels[current] = inFirstToken && slice->index > 0 ? -1 : slice->index;
      continue;
    }
    int64_t level = -1;
    bool isReady = true;
    for (Value source : getSources(current)) {
      auto it = levels.find(source);
      if (it == levels.end()) {
        stack.push_back(source);
        isReady = false;
      } else {
        level = std::max(level, it->second);
      }
    }
    if (isReady)
      levels[current] = level;
  }
  return levels.lookup(value);
}

/// Whether two ops do the same to their operands.
static bool areAlike(Operation *x, Operation *y) {
  if (x->getName() != y->getName() ||
      x->getNumOperands() != y->getNumOperands() ||
      x->getResultTypes() != y->getResultTypes() || x->getNumRegions() > 0)
    return false;
  auto attributes = [](Operation *op) {
    NamedAttrList list(op->getAttrDictionary());
    list.erase(kNodeNameAttr);
    return list.getDictionary(op->getContext());
  };
  return attributes(x) == attributes(y);
}

/// Whether the values of the previous token are computed from one other value
/// of it and from constants: that belongs to the token that uses it.
bool TokenAlignment::isPreviousUnary(ArrayRef<Value> tuple) {
  Operation *first = tuple[0] ? tuple[0].getDefiningOp() : nullptr;
  // The second token follows on the first, whose values may be constants.
  Operation *op = (tuple[2] ? tuple[2] : tuple[1]).getDefiningOp();
  if (!op || (tuple[0] &&
              (!first || (!isa<ConstantOp>(first) && !areAlike(first, op)))))
    return false;
  Value dependent;
  for (Value operand : op->getOperands()) {
    if (getLevel(operand) < 0 || operand == dependent)
      continue;
    if (dependent)
      return false;
    dependent = operand;
  }
  return static_cast<bool>(dependent);
}

std::optional<unsigned> TokenAlignment::visit(SmallVector<Value> tuple) {
  Value key = tuple[1];
  if (!key)
    return std::nullopt;
  if (auto it = numbers.find(key); it != numbers.end()) {
    AlignedValue &known = values[it->second];
    for (auto [own, other] : llvm::zip(known.values, tuple))
      if (own && other && own != other)
        return std::nullopt;
    // A value may be met first where the first token's is not seen.
    if (Value first = tuple[0]; first && !known.values[0]) {
      std::optional<TokenSlice> slice = findSlice(first, numTokens);
      if ((known.kind == AlignedValue::Kind::Invariant && first != key) ||
          (known.kind == AlignedValue::Kind::Slice &&
           (!slice || slice->source != known.source ||
            slice->axis != known.axis || slice->index != 0)))
        return std::nullopt;
      known.values[0] = first;
      known.firstDiffers |= known.kind == AlignedValue::Kind::Op;
    }
    return it->second;
  }
  unsigned number = values.size();
  AlignedValue value;
  value.values = tuple;
  bool isSame = true, isCurrent = true, isPrevious = true;
  for (auto [t, v] : llvm::enumerate(tuple)) {
    if (!v)
      continue;
    isSame &= v == key;
    if (t > 0) {
      isCurrent &= getLevel(v) == static_cast<int64_t>(t);
      isPrevious &= getLevel(v) == static_cast<int64_t>(t) - 1;
    }
    if (v.getType() != key.getType())
      return std::nullopt;
  }
  if (isSame) {
    value.kind = AlignedValue::Kind::Invariant;
    values.push_back(std::move(value));
    numbers[key] = number;
    return number;
  }
  if (!isCurrent && !isPrevious)
    return std::nullopt;
  // Slices of one tensor, at this token or the one before it.
  if (std::optional<TokenSlice> slice = findSlice(key, numTokens)) {
    int64_t shift = slice->index - 1;
    bool isSlice = shift == 0 || shift == -1;
    for (auto [t, v] : llvm::enumerate(tuple)) {
      if (t == 0 && shift == -1) {
        isSlice &= static_cast<bool>(v);
        continue;
      }
      std::optional<TokenSlice> other =
          v ? findSlice(v, numTokens) : std::nullopt;
      isSlice &= !v || (other && other->source == slice->source &&
                        other->axis == slice->axis &&
                        other->index == static_cast<int64_t>(t) + shift);
    }
    if (isSlice) {
      value.kind =
          shift == 0 ? AlignedValue::Kind::Slice : AlignedValue::Kind::Shifted;
      value.source = slice->source;
      value.axis = slice->axis;
      values.push_back(std::move(value));
      numbers[key] = number;
      return number;
    }
  }
  if (isPrevious && !isPreviousUnary(tuple)) {
    value.kind = AlignedValue::Kind::Carried;
    values.push_back(std::move(value));
    numbers[key] = number;
    pendingCarried.push_back(number);
    return number;
  }
  // One op for each token.
  Operation *example = key.getDefiningOp();
  unsigned result = example ? cast<OpResult>(key).getResultNumber() : 0;
  for (auto [t, v] : llvm::enumerate(tuple)) {
    Operation *op = v ? v.getDefiningOp() : nullptr;
    bool alike = op && example && areAlike(op, example) &&
                 cast<OpResult>(v).getResultNumber() == result;
    if (t == 0 && v && !alike)
      value.firstDiffers = true;
    else if (v && !alike)
      return std::nullopt;
  }
  value.kind = AlignedValue::Kind::Op;
  values.push_back(std::move(value));
  numbers[key] = number;
  if (!visitOperands(number))
    return std::nullopt;
  return number;
}

bool TokenAlignment::visitOperands(unsigned number) {
  Operation *example = values[number].getExample();
  for (unsigned i = 0; i < example->getNumOperands(); ++i) {
    if (isNone(example->getOperand(i))) {
      values[number].operands.push_back(std::nullopt);
      continue;
    }
    SmallVector<Value> tuple;
    for (auto [t, v] : llvm::enumerate(values[number].values))
      tuple.push_back(v && !(t == 0 && values[number].firstDiffers)
                          ? v.getDefiningOp()->getOperand(i)
                          : Value());
    std::optional<unsigned> operand = visit(std::move(tuple));
    if (!operand)
      return false;
    values[number].operands.push_back(operand);
  }
  return true;
}

std::optional<unsigned> TokenAlignment::align(ArrayRef<Value> pieces) {
  inFirstToken = true;
  getLevel(pieces[0]);
  inFirstToken = false;
  std::optional<unsigned> root = visit(llvm::to_vector(pieces));
  while (root && !pendingCarried.empty()) {
    unsigned number = pendingCarried.pop_back_val();
    // The value for the next token; that of the last one is not known yet.
    SmallVector<Value> next(llvm::drop_begin(values[number].values));
    next.push_back(Value());
    std::optional<unsigned> update = visit(std::move(next));
    if (!update)
      return std::nullopt;
    values[number].update = update;
  }
  return root;
}

bool TokenAlignment::hasDependence() const {
  return llvm::any_of(values, [](const AlignedValue &value) {
    return value.kind == AlignedValue::Kind::Carried ||
           value.kind == AlignedValue::Kind::Shifted;
  });
}

Value TokenAlignment::findLast(unsigned number) {
  const AlignedValue &value = values[number];
  if (value.values.back())
    return value.values.back();
  if (value.kind == AlignedValue::Kind::Invariant)
    return value.values[1];
  if (value.kind == AlignedValue::Kind::Slice) {
    for (Operation *user : value.source.getUsers())
      for (Value result : user->getResults()) {
        std::optional<TokenSlice> slice = findSlice(result, numTokens);
        if (slice && slice->source == value.source &&
            slice->axis == value.axis && slice->index == numTokens - 1 &&
            result.getType() == value.values[1].getType())
          return result;
      }
    return {};
  }
  if (value.kind != AlignedValue::Kind::Op)
    return {};
  auto [it, inserted] = lasts.try_emplace(number);
  if (!inserted)
    return it->second;
  Operation *example = value.getExample();
  SmallVector<Value> operands;
  Value dependent;
  for (auto [i, operand] : llvm::enumerate(value.operands)) {
    Value last = operand ? findLast(*operand) : example->getOperand(i);
    if (!last)
      return {};
    operands.push_back(last);
    if (operand && values[*operand].kind != AlignedValue::Kind::Invariant)
      dependent = last;
  }
  if (!dependent)
    return {};
  for (Operation *user : dependent.getUsers())
    if (areAlike(user, example) && llvm::equal(user->getOperands(), operands)) {
      Value last =
          user->getResult(cast<OpResult>(value.values[1]).getResultNumber());
      lasts[number] = last;
      return last;
    }
  return {};
}
