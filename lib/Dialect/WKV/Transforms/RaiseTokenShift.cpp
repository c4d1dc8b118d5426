//===- RaiseTokenShift.cpp - Recognise token shift ------------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A token shift is a matter of which element goes where: part of a state is
// read, and the same part of the new state is a row x of this step. Both are
// traced element by element through whatever moves them, so that it does not
// matter whether a state has a tensor of its own or is one of many columns of a
// packed one. On both ways it may be multiplied by a number. Over several
// tokens the shifted tensor is that row followed by x without its last row.
//
//===----------------------------------------------------------------------===//

#include "ElementOrigins.h"
#include "RaiseRecurrence.h"
#include "mlir/Analysis/TopologicalSortUtils.h"
#include "rwkvc/Dialect/ONNX/IR/ONNX.h"
#include "rwkvc/Dialect/WKV/IR/WKV.h"
#include "rwkvc/Dialect/WKV/Transforms/Passes.h"
#include "llvm/ADT/BitVector.h"
#include "llvm/ADT/MapVector.h"

namespace rwkvc::wkv {
#define GEN_PASS_DEF_RAISETOKENSHIFT
#include "rwkvc/Dialect/WKV/Transforms/Passes.h.inc"
} // namespace rwkvc::wkv

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::wkv;

namespace {

using Positions = std::vector<int64_t>;

int64_t countElements(Value value) {
  return cast<RankedTensorType>(value.getType()).getNumElements();
}

bool isScatter(Operation *op) {
  return isa_and_nonnull<onnx::ScatterNDOp, onnx::ScatterElementsOp>(op);
}

/// A row that becomes part of the new state.
struct Row {
  BlockArgument state;
  OpOperand *use =
      nullptr;         // where the row, [batch, width], goes towards the result
  Positions positions; // of its elements in the state
  double scale = 1.0;  // of the state over the row
  Value x;             // the row is the last token of x
  int64_t batch = 0, tokens = 0, width = 0;
  Value old;                 // the same part of the old state, as a tensor
  SmallVector<Value> shifts; // values that are x shifted by one token
};

class TokenShifts {
public:
  explicit TokenShifts(func::FuncOp func) : func(func) {}

  void collectRows();
  void collectReads();
  /// Of rows that are one another's multiples keeps the one that is read.
  void dropMultiples();
  /// Rows whose x comes from their own old value, or, with others, in a circle,
  /// are no token shift.
  void dropCircles();
  unsigned replace();

private:
  /// Which element of a scatter's updates lands at which position of its data.
  const DenseMap<int64_t, int64_t> &getWrites(Operation *scatter);
  void collectRows(BlockArgument state, OpOperand &use, Positions positions,
                   double scale = 1.0);
  void addRow(BlockArgument state, OpOperand &use, Positions positions,
              double scale);
  std::optional<Row> matchRow(BlockArgument state, OpOperand &use,
                              Positions positions);
  /// Back to scatters and to what rows are the last token of, through factors.
  std::optional<std::vector<Origin>> trace(Value value);
  /// The state element that \p origin is a copy of, through scatters that do
  /// not overwrite it; otherwise \p origin.
  Origin resolve(Origin origin);
  std::optional<std::vector<Origin>> traceToStates(Value value);
  void matchRead(Value value, bool shifted);
  void matchRead(Row &row, Value value, ArrayRef<Origin> origins, bool shifted);

  func::FuncOp func;
  DenseMap<Operation *, DenseMap<int64_t, int64_t>> scatterWrites;
  DenseMap<Value, std::vector<Origin>> viewOrigins;
  std::vector<Row> rows;
  llvm::SmallDenseSet<Value> sources; // the rows' x
  // A state and the position of a row's first element -> numbers of the rows
  // that it is, of which one is the other times a number.
  DenseMap<std::pair<Value, int64_t>, SmallVector<unsigned, 1>> rowsAt;
};

} // namespace

//===----------------------------------------------------------------------===//
// Writes
//===----------------------------------------------------------------------===//

const DenseMap<int64_t, int64_t> &TokenShifts::getWrites(Operation *scatter) {
  auto [it, isNew] = scatterWrites.try_emplace(scatter);
  if (!isNew)
    return it->second;
  Value data = scatter->getOperand(0), updates = scatter->getOperand(2);
  auto reduction = scatter->getAttrOfType<StringAttr>("reduction");
  if (!getFloatShape(data) || !getFloatShape(updates) ||
      (reduction && reduction.getValue() != "none"))
    return it->second;
  RandomLeaves numbers;
  numbers.set(data, Array(countElements(data), 0.0));
  Array own(countElements(updates));
  for (auto [i, x] : llvm::enumerate(own))
    x = static_cast<double>(i + 1);
  numbers.set(updates, own);
  auto result = onnx::evaluateRegion({scatter->getResult(0)}, numbers.get());
  if (failed(result))
    return it->second;
  for (auto [position, number] : llvm::enumerate((*result)[0].data))
    if (number != 0.0)
      it->second[position] = static_cast<int64_t>(number) - 1;
  return it->second;
}

void TokenShifts::collectRows() {
  Operation *terminator = func.getBody().front().getTerminator();
  for (BlockArgument argument : func.getArguments()) {
    auto result =
        func.getArgAttrOfType<IntegerAttr>(argument.getArgNumber(), kStateAttr);
    if (!result || !getFloatShape(argument))
      continue;
    OpOperand &use = terminator->getOpOperand(result.getInt());
    if (!getFloatShape(use.get()) ||
        countElements(use.get()) != countElements(argument))
      continue;
    Positions positions(countElements(argument));
    for (auto [i, position] : llvm::enumerate(positions))
      position = static_cast<int64_t>(i);
    collectRows(argument, use, std::move(positions));
  }
}

void TokenShifts::collectRows(BlockArgument state, OpOperand &firstUse,
                              Positions positions, double scale) {
  OpOperand *use = &firstUse;
  while (true) {
    Operation *op = use->get().getDefiningOp();
    if (!op || llvm::all_of(positions, [](int64_t p) { return p < 0; }))
      return;
    if (isScatter(op)) {
      // What the updates overwrite is theirs; the data keeps the rest.
      const DenseMap<int64_t, int64_t> &writes = getWrites(op);
      OpOperand &updates = op->getOpOperand(2);
      if (writes.empty())
        return;
      Positions written(countElements(updates.get()), -1);
      for (auto [position, index] : writes) {
        written[index] = positions[position];
        positions[position] = -1;
      }
      collectRows(state, updates, std::move(written), scale);
      use = &op->getOpOperand(0);
      continue;
    }
    // Behind views there may be a concatenation, a scatter or a factor.
    Value source = use->get();
    while (Operation *def = source.getDefiningOp()) {
      if (isScatter(def) || isa<onnx::ConcatOp>(def) || !movesElements(def))
        break;
      source = def->getOperand(0);
    }
    Operation *def = source.getDefiningOp();
    bool isScaled = getScaling(def).has_value();
    if (!def || (!isScatter(def) && !isa<onnx::ConcatOp>(def)))
      addRow(state, *use, isScaled ? positions : std::move(positions), scale);
    if (std::optional<Scaling> scaling = getScaling(op)) {
      scale *= scaling->factor;
      use = scaling->operand;
      continue;
    }
    if (!def || (!isScaled && !isScatter(def) && !isa<onnx::ConcatOp>(def)))
      return;
    auto origins = traceElements(
        use->get(), [&](Value value) { return value != use->get(); });
    if (!origins)
      return;
    SmallVector<OpOperand *> operands = getMovedOperands(op);
    std::vector<Positions> parts;
    for (OpOperand *operand : operands)
      parts.emplace_back(countElements(operand->get()), -1);
    for (auto [position, origin] : llvm::zip(positions, *origins))
      for (auto [operand, part] : llvm::zip(operands, parts))
        if (origin.source == operand->get()) {
          part[origin.index] = position;
          break;
        }
    for (auto [operand, part] : llvm::drop_begin(llvm::zip(operands, parts)))
      collectRows(state, *operand, std::move(part), scale);
    positions = std::move(parts[0]);
    use = operands[0];
  }
}

void TokenShifts::addRow(BlockArgument state, OpOperand &firstUse,
                         Positions positions, double scale) {
  // A state whose texts are not its first axis has its rows before they are
  // transposed.
  OpOperand *use = &firstUse;
  std::optional<Row> row;
  while (!(row = matchRow(state, *use, positions))) {
    auto transpose = use->get().getDefiningOp<onnx::TransposeOp>();
    auto origins = transpose
                       ? traceElements(use->get(),
                                       [&](Value value) {
                                         return value == transpose.getData();
                                       })
                       : std::nullopt;
    if (!origins)
      return;
    Positions before(positions.size(), -1);
    for (auto [position, origin] : llvm::zip(positions, *origins))
      before[origin.index] = position;
    positions = std::move(before);
    use = &transpose->getOpOperand(0);
  }
  row->scale = scale;
  SmallVector<unsigned, 1> &others = rowsAt[{state, row->positions.front()}];
  if (llvm::any_of(others, [&](unsigned other) {
        return rows[other].scale == row->scale;
      }))
    return;
  others.push_back(rows.size());
  sources.insert(row->x);
  rows.push_back(std::move(*row));
}

/// The row, of which element i is at positions[i] of \p state, that \p use
/// reads.
std::optional<Row> TokenShifts::matchRow(BlockArgument state, OpOperand &use,
                                         Positions positions) {
  auto size = static_cast<int64_t>(positions.size());
  if (size == 0 || llvm::is_contained(positions, -1))
    return std::nullopt;
  Value source = use.get();
  while (Operation *def = source.getDefiningOp()) {
    std::optional<Scaling> scaling = getScaling(def);
    if (!scaling && !movesElements(def))
      break;
    source = scaling ? scaling->operand->get() : def->getOperand(0);
  }
  if (isa_and_nonnull<RecurrenceOpInterface>(source.getDefiningOp()))
    return std::nullopt;
  auto origins = traceElements(use.get());
  if (!origins || !origins->front().source)
    return std::nullopt;
  Value x = origins->front().source;
  int64_t total = countElements(x);
  std::optional<ArrayRef<int64_t>> shape = getFloatShape(x);
  if (isa<BlockArgument>(x) || total % size != 0 || shape->empty())
    return std::nullopt;
  Row row;
  row.state = state;
  row.use = &use;
  row.positions = std::move(positions);
  row.x = x;
  row.tokens = total / size;
  // With one token any grouping of the elements is a row.
  row.width = shape->back() == 1 ? size : shape->back();
  if (size % row.width != 0 ||
      (row.tokens > 1 &&
       (shape->size() < 2 || (*shape)[shape->size() - 2] != row.tokens)))
    return std::nullopt;
  row.batch = size / row.width;
  for (auto [i, origin] : llvm::enumerate(*origins)) {
    int64_t b = i / row.width, d = i % row.width;
    int64_t last = (b * row.tokens + row.tokens - 1) * row.width + d;
    if (origin.source != x || origin.index != last)
      return std::nullopt;
  }
  return row;
}

//===----------------------------------------------------------------------===//
// Reads
//===----------------------------------------------------------------------===//

std::optional<std::vector<Origin>> TokenShifts::trace(Value value) {
  return traceElements(
      value,
      [&](Value v) {
        return isScatter(v.getDefiningOp()) || sources.contains(v);
      },
      /*scales=*/true);
}

Origin TokenShifts::resolve(Origin origin) {
  while (origin.source) {
    Operation *op = origin.source.getDefiningOp();
    // A row is where traces end, be it a multiple of another value.
    if (!op || sources.contains(origin.source) ||
        (!movesElements(op) && !getScaling(op)))
      return origin;
    if (isScatter(op)) {
      const DenseMap<int64_t, int64_t> &writes = getWrites(op);
      if (writes.empty() || writes.contains(origin.index))
        return origin;
      origin.source = op->getOperand(0);
      continue;
    }
    auto [it, isNew] = viewOrigins.try_emplace(origin.source);
    if (isNew)
      if (auto origins = trace(origin.source))
        it->second = std::move(*origins);
    if (it->second.empty())
      return origin;
    double scale = origin.scale;
    origin = it->second[origin.index];
    origin.scale *= scale;
  }
  return origin;
}

std::optional<std::vector<Origin>> TokenShifts::traceToStates(Value value) {
  auto origins = trace(value);
  if (origins)
    for (Origin &origin : *origins)
      origin = resolve(origin);
  return origins;
}

void TokenShifts::collectReads() {
  llvm::SetVector<Value> derived;
  for (Row &row : rows)
    derived.insert(row.state);
  for (unsigned i = 0; i < derived.size(); ++i)
    for (OpOperand &use : derived[i].getUses()) {
      Operation *user = use.getOwner();
      std::optional<Scaling> scaling = getScaling(user);
      bool moved = (movesElements(user) &&
                    llvm::is_contained(getMovedOperands(user), &use)) ||
                   (scaling && scaling->operand == &use);
      // The data of a scatter goes on; what is written into it does not.
      if (moved && (!isScatter(user) || use.getOperandNumber() == 0))
        for (Value result : user->getResults())
          if (getFloatShape(result))
            derived.insert(result);
    }
  auto isUsed = [](Value value) {
    return llvm::any_of(value.getUsers(), [](Operation *user) {
      return !movesElements(user) && !user->hasTrait<OpTrait::IsTerminator>();
    });
  };
  // First the parts of the old state, then what is built from them.
  for (bool shifted : {false, true})
    for (Value value : derived)
      if (!isScatter(value.getDefiningOp()) && (!shifted || isUsed(value)))
        matchRead(value, shifted);
}

void TokenShifts::matchRead(Value value, bool shifted) {
  // A tensor that packs many rows is none of them.
  int64_t size = countElements(value);
  if (!llvm::any_of(rows, [&](const Row &row) {
        return size == row.batch * row.width * (shifted ? row.tokens : 1);
      }))
    return;
  auto origins = traceToStates(value);
  if (!origins || origins->empty() || !origins->front().source)
    return;
  auto it = rowsAt.find({origins->front().source, origins->front().index});
  if (it != rowsAt.end())
    for (unsigned number : it->second)
      matchRead(rows[number], value, *origins, shifted);
}

void TokenShifts::matchRead(Row &row, Value value, ArrayRef<Origin> origins,
                            bool shifted) {
  int64_t tokens = shifted ? row.tokens : 1;
  if (static_cast<int64_t>(origins.size()) != row.batch * row.width * tokens)
    return;
  for (auto [i, origin] : llvm::enumerate(origins)) {
    int64_t d = i % row.width, t = i / row.width % tokens;
    int64_t b = i / row.width / tokens;
    Origin expected =
        t == 0 ? Origin{row.state, row.positions[b * row.width + d], row.scale}
               : Origin{row.x, (b * tokens + t - 1) * row.width + d};
    if (origin.source != expected.source || origin.index != expected.index ||
        dropRounding(origin.scale * expected.scale) != 1.0)
      return;
  }
  if (shifted) {
    row.shifts.push_back(value);
    return;
  }
  // Of the state and of what it is cast to, the wider type is the better one.
  auto width = [](Value value) {
    return getElementTypeOrSelf(value.getType()).getIntOrFloatBitWidth();
  };
  if (!row.old || width(value) > width(row.old))
    row.old = value;
}

void TokenShifts::dropMultiples() {
  auto isScaledOnly = [](Value value) {
    return llvm::all_of(value.getUsers(), [](Operation *user) {
      return movesElements(user) || getScaling(user) ||
             user->hasTrait<OpTrait::IsTerminator>();
    });
  };
  for (auto &[place, numbers] : rowsAt)
    for (unsigned i = 0; i < numbers.size(); ++i)
      for (unsigned j = i + 1; j < numbers.size(); ++j) {
        // The second is the first without a factor.
        Row &scaled = rows[numbers[i]], &bare = rows[numbers[j]];
        bool isRead = !bare.shifts.empty() && bare.old;
        (isRead && llvm::all_of(scaled.shifts, isScaledOnly) ? scaled : bare)
            .shifts.clear();
      }
}

void TokenShifts::dropCircles() {
  llvm::erase_if(rows,
                 [](const Row &row) { return row.shifts.empty() || !row.old; });
  llvm::sort(rows, [](const Row &a, const Row &b) {
    Operation *x = a.x.getDefiningOp(), *y = b.x.getDefiningOp();
    return x != y && x->isBeforeInBlock(y);
  });
  // Which shifted rows each value depends on, in one walk.
  DenseMap<Value, llvm::BitVector> shiftedBits, bits;
  for (auto [i, row] : llvm::enumerate(rows))
    for (Value value : row.shifts)
      shiftedBits.try_emplace(value, llvm::BitVector(rows.size()))
          .first->second.set(i);
  // A state that is an argument is itself such a value.
  auto lookup = [&](Value value) {
    llvm::BitVector result = bits.lookup(value);
    if (result.empty())
      result.resize(rows.size());
    if (auto it = shiftedBits.find(value); it != shiftedBits.end())
      result |= it->second;
    return result;
  };
  for (Operation &op : func.getBody().front()) {
    llvm::BitVector all(rows.size());
    op.walk([&](Operation *inner) {
      for (Value operand : inner->getOperands())
        if (operand.getParentBlock() == &func.getBody().front())
          all |= lookup(operand);
    });
    if (all.any())
      for (Value result : op.getResults())
        bits[result] = all;
  }
  // A row of its own old value is none for others either.
  std::vector<Row> open;
  for (auto [i, row] : llvm::enumerate(rows)) {
    llvm::BitVector before = bits.lookup(row.x);
    if (before.empty() || !before.test(i))
      open.push_back(row);
  }
  if (open.size() != rows.size()) {
    rows = std::move(open);
    return dropCircles();
  }
  // Rows are in the order of their x: one may depend on earlier rows only.
  std::vector<Row> kept;
  for (auto [i, row] : llvm::enumerate(rows)) {
    llvm::BitVector later = bits.lookup(row.x);
    if (!later.empty() && later.find_next(static_cast<int>(i) - 1) >= 0)
      continue;
    kept.push_back(std::move(row));
  }
  rows = std::move(kept);
}

//===----------------------------------------------------------------------===//
// Replacement
//===----------------------------------------------------------------------===//

unsigned TokenShifts::replace() {
  for (Row &row : rows) {
    OpBuilder builder(func.getContext());
    builder.setInsertionPointAfter(row.x.getDefiningOp());
    ImplicitLocOpBuilder b(row.x.getLoc(), builder);
    Value old = reshapeTo(b, row.old, {row.batch, row.width});
    // One op for each element type in which the shifted rows are used.
    llvm::MapVector<Type, TokenShiftOp> ops;
    auto shift = [&](Type element) {
      TokenShiftOp &op = ops[element];
      if (!op) {
        Value x = reshapeTo(b, castTo(b, row.x, element),
                            {row.batch, row.tokens, row.width});
        op = TokenShiftOp::create(b, x.getType(), old.getType(), x, old);
      }
      return op;
    };
    for (Value value : row.shifts) {
      auto type = cast<RankedTensorType>(value.getType());
      Value shifted = reshapeTo(b, shift(type.getElementType()).getShifted(),
                                type.getShape());
      value.replaceUsesWithIf(shifted, [](OpOperand &use) {
        Operation *user = use.getOwner();
        return !movesElements(user) && !isa<TokenShiftOp>(user) &&
               !user->hasTrait<OpTrait::IsTerminator>();
      });
    }
    auto type = cast<RankedTensorType>(row.use->get().getType());
    Value kept = ops.begin()->second.getNewState();
    row.use->set(
        reshapeTo(b, castTo(b, kept, type.getElementType()), type.getShape()));
  }
  return rows.size();
}

/// Sequences that start from nothing: a zero row in place of the state's.
static unsigned raiseStateless(func::FuncOp func) {
  unsigned count = 0;
  SmallVector<Operation *> ops;
  func.walk([&](Operation *op) {
    if (isa<onnx::PadOp, onnx::ConcatOp>(op))
      ops.push_back(op);
  });
  for (Operation *op : ops) {
    Value value = op->getResult(0);
    std::optional<ArrayRef<int64_t>> shape = getFloatShape(value);
    if (!shape || shape->size() < 2 || countElements(value) == 0)
      continue;
    int64_t width = shape->back(), tokens = (*shape)[shape->size() - 2];
    if (tokens < 2)
      continue;
    auto origins = traceElements(value);
    // The second row is the first one of x.
    Value x = origins ? (*origins)[width].source : Value();
    if (!x || countElements(x) != countElements(value))
      continue;
    bool matches = true;
    for (auto [i, origin] : llvm::enumerate(*origins)) {
      bool first = static_cast<int64_t>(i) / width % tokens == 0;
      matches &= first ? !origin.source
                       : origin.source == x &&
                             origin.index == static_cast<int64_t>(i) - width;
    }
    if (!matches)
      continue;
    OpBuilder builder(op);
    ImplicitLocOpBuilder b(op->getLoc(), builder);
    Type element = getElementTypeOrSelf(value.getType());
    int64_t batch = countElements(value) / width / tokens;
    Value zeros =
        floatConstant(b, RankedTensorType::get({batch, width}, element),
                      Array(batch * width, 0.0));
    Value rows = reshapeTo(b, castTo(b, x, element), {batch, tokens, width});
    auto shift =
        TokenShiftOp::create(b, rows.getType(), zeros.getType(), rows, zeros);
    value.replaceAllUsesWith(reshapeTo(b, shift.getShifted(), *shape));
    ++count;
  }
  return count;
}

namespace {

struct RaiseTokenShiftPass
    : wkv::impl::RaiseTokenShiftBase<RaiseTokenShiftPass> {
  void runOnOperation() override {
    for (auto func : getOperation().getOps<func::FuncOp>()) {
      if (func.isExternal() || !func.getBody().hasOneBlock())
        continue;
      TokenShifts shifts(func);
      shifts.collectRows();
      shifts.collectReads();
      shifts.dropMultiples();
      shifts.dropCircles();
      numShifts += shifts.replace();
      numShifts += raiseStateless(func);
      sortTopologically(&func.getBody().front());
    }
  }
};

} // namespace
