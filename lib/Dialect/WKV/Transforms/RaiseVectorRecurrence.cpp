//===- RaiseVectorRecurrence.cpp - Recognise v4's recurrence --------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// v4 keeps three vectors per layer and updates them elementwise, in spellings
// that differ in more than the order of operands. So no pattern is matched: the
// region between three states and their updates is evaluated in float64 under
// each assignment of roles to the tensors that enter it, and the assignment
// whose results are the law's is the answer.
//
//===----------------------------------------------------------------------===//

#include "RaiseRecurrence.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "rwkvc/Dialect/ONNX/IR/ONNX.h"
#include "rwkvc/Dialect/WKV/IR/WKV.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/SetVector.h"
#include <cmath>

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::wkv;

/// A region with more leaves than this is no v4 recurrence.
static constexpr unsigned kMaxLeaves = 8;

static bool isElementwise(Operation *op) {
  return isa<onnx::AddOp, onnx::SubOp, onnx::MulOp, onnx::DivOp, onnx::ExpOp,
             onnx::MaxOp, onnx::NegOp, onnx::ReciprocalOp, onnx::CastOp,
             onnx::WhereOp, onnx::GreaterOp, onnx::GreaterOrEqualOp,
             onnx::LessOp, onnx::LessOrEqualOp>(op) ||
         onnx::isShapeView(op);
}

static bool isView(Operation *op) {
  return onnx::isShapeView(op) ||
         isa<onnx::CastOp, onnx::GatherOp, onnx::SliceOp, onnx::SplitOp,
             onnx::TransposeOp>(op);
}

static int64_t numElements(Value value) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  return type && type.hasStaticShape() ? type.getNumElements() : -1;
}

/// What \p value is a cast or reshape of: exporters cast one key or value
/// several times.
static Value skipViews(Value value) {
  while (Operation *op = value.getDefiningOp()) {
    if ((!onnx::isShapeView(op) && !isa<onnx::CastOp>(op)) ||
        !getFloatShape(op->getOperand(0)) ||
        numElements(op->getOperand(0)) != numElements(value))
      break;
    value = op->getOperand(0);
  }
  return value;
}

namespace {

/// A value read from a state: \p scale times part of the argument that the
/// terminator's operand \p result continues.
struct StateRead {
  unsigned result = 0;
  double scale = 1.0;
};

/// What the updates and the output of one layer are computed from.
struct LayerRegion {
  SmallVector<Value> states;  // values read from a state, one per update
  SmallVector<Value> updates; // their next values
  SmallVector<double> scales; // which make states of the updates
  SmallVector<Value> leaves;  // what else enters: keys, values, decay, bonus
  Value output;
};

/// Which leaf plays which part. A bonus may be a leaf of its own or already be
/// added to the key (then sumLeaf).
struct Roles {
  unsigned num, den, max;     // into states
  unsigned key, value, decay; // into leaves
  unsigned bonus;             // into leaves: u, or u + k
  bool bonusIncludesKey;
  // What is kept over the law's sums, and the output over the law's.
  double numScale = 1.0, denScale = 1.0, outputScale = 1.0;
};

class VectorRecurrence {
public:
  VectorRecurrence(const DenseMap<Value, StateRead> &stateReads)
      : stateReads(stateReads) {}

  /// Collects the region behind \p update, up to values that no state reaches.
  bool collect(Value update);
  /// Adds the output: the elementwise value behind the same states that is no
  /// update.
  const llvm::SetVector<Value> &getStates() const { return states; }
  const llvm::SetVector<Value> &getLeaves() const { return leaves; }
  const llvm::SetVector<Value> &getInner() const { return inner; }

private:
  bool dependsOnState(Value value);

  const DenseMap<Value, StateRead> &stateReads;
  llvm::SetVector<Value> states, leaves, inner;
  DenseMap<Value, bool> depends;
};

} // namespace

bool VectorRecurrence::dependsOnState(Value value) {
  if (stateReads.contains(value))
    return true;
  auto it = depends.find(value);
  if (it != depends.end())
    return it->second;
  Operation *op = value.getDefiningOp();
  bool result = false;
  // Regions are shallow; a deep chain of elementwise ops belongs to no state.
  depends[value] = false;
  if (op && isElementwise(op))
    result = llvm::any_of(op->getOperands(),
                          [&](Value v) { return dependsOnState(v); });
  return depends[value] = result;
}

bool VectorRecurrence::collect(Value update) {
  SmallVector<Value> worklist{update};
  while (!worklist.empty()) {
    Value value = worklist.pop_back_val();
    if (stateReads.contains(value)) {
      states.insert(value);
      continue;
    }
    if (onnx::isNone(value))
      continue;
    Operation *op = value.getDefiningOp();
    if (!op || !isElementwise(op) || !dependsOnState(value)) {
      value = skipViews(value);
      // Scalars such as the 1 of a reciprocal stay part of the region.
      if (numElements(value) > 1 &&
          isa<FloatType>(getElementTypeOrSelf(value.getType())))
        leaves.insert(value);
      continue;
    }
    if (inner.insert(value)) {
      auto operands = op->getOperands();
      if (onnx::isShapeView(op))
        operands = operands.take_front(1);
      llvm::append_range(worklist, operands);
    }
    if (inner.size() > 64)
      return false;
  }
  return leaves.size() <= kMaxLeaves;
}

namespace {

/// The region's tensors at random values; all have one element per channel and
/// text.
struct RegionValues {
  std::vector<Array> states, leaves;
  std::vector<Array> expected; // new states in the order of states, output

  /// The first \p count channels: enough to tell most assignments apart.
  RegionValues first(size_t count) const {
    RegionValues part = *this;
    for (auto *list : {&part.states, &part.leaves, &part.expected})
      for (Array &array : *list)
        array.resize(std::min(array.size(), count));
    return part;
  }
};

} // namespace

/// Reads the scales of \p roles off the values: what one token adds to both
/// sums is the law's times their scale. False where there are none.
static bool readScales(const RegionValues &values, Roles &roles) {
  const Array &key = values.leaves[roles.key];
  const Array &value = values.leaves[roles.value];
  const Array &decay = values.leaves[roles.decay];
  const Array &max = values.states[roles.max];
  Array zeros(key.size(), 0.0);
  auto advance = [&](const Array &num, const Array &den) {
    return evaluateWkv4(key, value, decay, zeros, num, den, max).states;
  };
  auto added = advance(zeros, zeros);
  auto kept = advance(values.states[roles.num], values.states[roles.den]);
  auto read = [&](unsigned sum, unsigned state) {
    size_t at = 0;
    for (size_t i = 1; i < key.size(); ++i)
      if (std::abs(added[sum][i]) > std::abs(added[sum][at]))
        at = i;
    double old = kept[sum][at] - added[sum][at];
    return dropRounding((values.expected[state][at] - old) / added[sum][at]);
  };
  roles.numScale = read(0, roles.num);
  roles.denScale = read(1, roles.den);
  auto isScale = [](double x) { return x != 0.0 && std::isfinite(x); };
  return isScale(roles.numScale) && isScale(roles.denScale);
}

static Array scaled(Array data, double factor) {
  for (double &x : data)
    x *= factor;
  return data;
}

/// Whether the region computes the law under \p roles; reads the scale of the
/// output off the values if \p readsOutput.
static bool matches(const RegionValues &values, Roles &roles,
                    bool readsOutput = false) {
  const Array &key = values.leaves[roles.key];
  Array bonus = values.leaves[roles.bonus];
  if (roles.bonusIncludesKey)
    for (auto [u, k] : llvm::zip(bonus, key))
      u -= k;
  StepResult step =
      evaluateWkv4(key, values.leaves[roles.value], values.leaves[roles.decay],
                   bonus, scaled(values.states[roles.num], 1 / roles.numScale),
                   scaled(values.states[roles.den], 1 / roles.denScale),
                   values.states[roles.max]);
  if (readsOutput)
    roles.outputScale = dropRounding(values.expected[3][0] / step.y[0]);
  return agree(values.expected[roles.num],
               scaled(step.states[0], roles.numScale)) &&
         agree(values.expected[roles.den],
               scaled(step.states[1], roles.denScale)) &&
         agree(values.expected[roles.max], step.states[2]) &&
         agree(values.expected[3], scaled(step.y, roles.outputScale));
}

/// Evaluates the region and what enters it; constants keep their values.
static std::optional<RegionValues> evaluate(const LayerRegion &region,
                                            RandomLeaves &random) {
  SmallVector<Value> outputs(region.updates);
  outputs.push_back(region.output);
  llvm::append_range(outputs, region.states);
  llvm::append_range(outputs, region.leaves);
  auto result = onnx::evaluateRegion(outputs, random.get());
  if (failed(result))
    return std::nullopt;
  RegionValues values;
  size_t size = (*result)[0].data.size();
  for (auto [i, tensor] : llvm::enumerate(*result)) {
    // What is no vector of channels plays no part. A parameter is the same for
    // all texts, which are rows of channels.
    size_t own = tensor.data.size();
    if (own != size && (i < 7 || own < 2 || size % own != 0))
      return std::nullopt;
    tensor.data.reserve(size);
    for (size_t k = own; k < size; ++k)
      tensor.data.push_back(tensor.data[k - own]);
    if (i < 3)
      tensor.data = scaled(std::move(tensor.data), region.scales[i]);
    auto &list = i < 4   ? values.expected
                 : i < 7 ? values.states
                         : values.leaves;
    list.push_back(std::move(tensor.data));
  }
  return values;
}

/// The bonus where \p sum is written as an addition of it and \p key, or null.
static Value findAddend(Value sum, Value key, int64_t numChannels) {
  auto add = sum.getDefiningOp<onnx::AddOp>();
  if (!add)
    return {};
  for (unsigned i : {0, 1})
    if (skipViews(add->getOperand(i)) == key &&
        numElements(add->getOperand(1 - i)) == numChannels)
      return add->getOperand(1 - i);
  return {};
}

/// Whether tensors have the sizes that their roles ask for: keys and values of
/// every text, parameters of none.
static bool fits(const LayerRegion &region, const Roles &roles) {
  int64_t size = numElements(region.states[0]);
  Value key = region.leaves[roles.key], bonus = region.leaves[roles.bonus];
  int64_t numChannels = numElements(region.leaves[roles.decay]);
  if (numElements(key) != size ||
      numElements(region.leaves[roles.value]) != size)
    return false;
  if (!roles.bonusIncludesKey)
    return numElements(bonus) == numChannels;
  return numChannels == size || findAddend(bonus, key, numChannels);
}

/// Tries all assignments on a few channels, and what fits on all of them with
/// other numbers.
static std::optional<Roles> findRoles(const LayerRegion &region) {
  RandomLeaves random, others;
  for (Value value : llvm::concat<const Value>(region.states, region.leaves)) {
    random.add(value);
    if (value.getDefiningOp<onnx::ConstantOp>())
      continue;
    Array numbers(numElements(value));
    for (double &x : numbers)
      x = random.next();
    others.set(value, numbers);
  }
  std::optional<RegionValues> all = evaluate(region, random);
  std::optional<RegionValues> check = evaluate(region, others);
  if (!all || !check)
    return std::nullopt;
  RegionValues few = all->first(8);
  unsigned n = region.leaves.size();
  unsigned order[] = {0, 1, 2};
  do {
    for (unsigned key = 0; key < n; ++key)
      for (unsigned value = 0; value < n; ++value)
        for (unsigned decay = 0; decay < n; ++decay)
          for (unsigned bonus = 0; bonus < n; ++bonus)
            for (bool includes : {false, true}) {
              Roles roles{order[0], order[1], order[2], key,
                          value,    decay,    bonus,    includes};
              if (key != value && key != decay && key != bonus &&
                  value != decay && value != bonus && decay != bonus &&
                  fits(region, roles) && readScales(few, roles) &&
                  matches(few, roles, /*readsOutput=*/true) &&
                  matches(*all, roles) && matches(*check, roles))
                return roles;
            }
  } while (std::next_permutation(order, order + 3));
  return std::nullopt;
}

/// \p value with \p shape and elements of type \p element.
static Value convert(ImplicitLocOpBuilder &b, Value value,
                     ArrayRef<int64_t> shape, Type element) {
  return reshapeTo(b, castTo(b, value, element), shape);
}

/// Makes a factor of \p value, the key's partner, one of the sum over values.
static Value takeFactor(Value value, Roles &roles) {
  std::optional<Scaling> scaling = getScaling(value.getDefiningOp());
  if (!scaling || holdsIntegers(scaling->operand->get()))
    return value;
  roles.numScale *= scaling->factor;
  roles.outputScale *= scaling->factor;
  return scaling->operand->get();
}

static void replace(const LayerRegion &region, Roles roles) {
  Operation *first = region.output.getDefiningOp();
  for (Value update : region.updates)
    if (update.getDefiningOp()->isBeforeInBlock(first))
      first = update.getDefiningOp();
  ImplicitLocOpBuilder b(region.output.getLoc(), first);
  int64_t numChannels = numElements(region.leaves[roles.decay]);
  int64_t batch = numElements(region.states[0]) / numChannels;
  Type element = getElementTypeOrSelf(region.states[0].getType());
  if (element.getIntOrFloatBitWidth() < 32)
    element = b.getF32Type();
  SmallVector<int64_t> tokens{batch, 1, numChannels}, channels{numChannels},
      state{batch, numChannels};
  Value key = convert(b, region.leaves[roles.key], tokens, element);
  Value value = takeFactor(region.leaves[roles.value], roles);
  value = convert(b, value, tokens, element);
  Value decay = convert(b, region.leaves[roles.decay], channels, element);
  Value bonus = region.leaves[roles.bonus];
  Value addend = roles.bonusIncludesKey
                     ? findAddend(bonus, region.leaves[roles.key], numChannels)
                     : Value();
  bonus = convert(b, addend ? addend : bonus, channels, element);
  if (roles.bonusIncludesKey && !addend)
    bonus = onnx::SubOp::create(b, bonus.getType(), bonus,
                                convert(b, key, channels, element));
  SmallVector<Value> states;
  for (auto [i, scale] :
       {std::pair(roles.num, roles.numScale),
        std::pair(roles.den, roles.denScale), std::pair(roles.max, 1.0)})
    states.push_back(scaleBy(b, convert(b, region.states[i], state, element),
                             dropRounding(1 / scale)));
  Type stateType = states[0].getType();
  Value init = tensor::EmptyOp::create(b, tokens, element);
  auto op = Wkv4Op::create(b, key.getType(), stateType, stateType, stateType,
                           key, value, decay, bonus, init, states[0], states[1],
                           states[2]);
  auto restore = [&](Value from, Value to, double scale) {
    auto type = cast<RankedTensorType>(to.getType());
    from = scaleBy(b, from, dropRounding(scale));
    to.replaceAllUsesWith(
        convert(b, from, type.getShape(), type.getElementType()));
  };
  auto restoreState = [&](Value from, unsigned i, double scale) {
    restore(from, region.updates[i], scale / region.scales[i]);
  };
  restore(op.getY(), region.output, roles.outputScale);
  restoreState(op.getNewNum(), roles.num, roles.numScale);
  restoreState(op.getNewDen(), roles.den, roles.denScale);
  restoreState(op.getNewMax(), roles.max, 1.0);
}

RaiseCounts rwkvc::wkv::raiseVectorRecurrences(Block &block,
                                               ArrayRef<StatePair> pairs) {
  RaiseCounts counts;
  // Values that are part of a state argument, through views only.
  DenseMap<Value, StateRead> stateReads;
  for (const auto &[argument, result] : pairs) {
    SmallVector<ScaledValue> worklist{{argument}};
    while (!worklist.empty()) {
      auto [value, scale] = worklist.pop_back_val();
      // A factor that all reads share is one of the file's.
      if (value.hasOneUse())
        if (std::optional<Scaling> scaling = getScaling(*value.user_begin());
            scaling && scaling->operand->get() == value) {
          worklist.push_back({scaling->operand->getOwner()->getResult(0),
                              scale * scaling->factor});
          continue;
        }
      bool viewed = false;
      for (Operation *user : value.getUsers()) {
        // A tensor that packs several states is still that after a write.
        bool written = isa<onnx::ScatterNDOp, onnx::ScatterElementsOp>(user);
        if ((isView(user) || written) && user->getOperand(0) == value) {
          viewed = true;
          for (Value view : user->getResults())
            worklist.push_back({view, scale});
        }
      }
      // Only the last view is what the recurrence reads; both may be used.
      if (!viewed || llvm::any_of(value.getUsers(), [](Operation *user) {
            return isa<onnx::AddOp, onnx::SubOp, onnx::MulOp, onnx::MaxOp>(
                user);
          }))
        stateReads[value] = {result, scale};
    }
  }
  // Updates by the states they read: a layer's three share one set.
  struct Layer {
    SmallVector<ScaledValue> updates;
    llvm::SetVector<Value> leaves, inner;
  };
  llvm::MapVector<Value, Layer> layers; // by first state, see below
  for (auto [update, scale] : findStateUpdates(block, pairs)) {
    VectorRecurrence region(stateReads);
    if (!update.getDefiningOp() || !region.collect(update) ||
        region.getStates().empty() || region.getInner().empty())
      continue;
    // num and den read the maximum as well, the maximum only itself: it names
    // the layer. It is the state that enters a Max.
    Value maximum;
    for (Value value : region.getInner())
      if (isa<onnx::MaxOp, onnx::WhereOp>(value.getDefiningOp())) {
        VectorRecurrence only(stateReads);
        if (only.collect(value) && only.getStates().size() == 1)
          maximum = only.getStates()[0];
      }
    if (!maximum)
      continue;
    Layer &layer = layers[maximum];
    layer.updates.push_back({update, scale});
    layer.leaves.insert(region.getLeaves().begin(), region.getLeaves().end());
    layer.inner.insert(region.getStates().begin(), region.getStates().end());
  }
  for (auto &[maximum, layer] : layers) {
    LayerRegion region;
    region.states.assign(layer.inner.begin(), layer.inner.end());
    if (region.states.size() != 3 || layer.updates.size() != 3)
      continue;
    // Order updates as the states they continue: by the argument's pair.
    // Roles are found by evaluation, so only the pairing must hold.
    SmallVector<ScaledValue> ordered;
    for (Value state : region.states) {
      Value end =
          block.getTerminator()->getOperand(stateReads.lookup(state).result);
      for (ScaledValue update : layer.updates) {
        // The update reaches this state's output through views and writes.
        llvm::SmallDenseSet<Value> seen;
        SmallVector<Value> worklist{end};
        bool reaches = false;
        while (!worklist.empty() && !reaches) {
          Value value = worklist.pop_back_val();
          if (!seen.insert(value).second)
            continue;
          reaches = value == update.value;
          Operation *op = value.getDefiningOp();
          if (op && !reaches &&
              isa<onnx::IdentityOp, onnx::CastOp, onnx::ReshapeOp,
                  onnx::SqueezeOp, onnx::UnsqueezeOp, onnx::TransposeOp,
                  onnx::ScatterNDOp, onnx::ScatterElementsOp, onnx::ConcatOp>(
                  op))
            llvm::append_range(worklist, op->getOperands());
          else if (std::optional<Scaling> scaling = getScaling(op))
            worklist.push_back(scaling->operand->get());
        }
        if (reaches && llvm::none_of(ordered, [&](ScaledValue other) {
              return other.value == update.value;
            })) {
          ordered.push_back(update);
          break;
        }
      }
    }
    if (ordered.size() != 3)
      continue;
    for (auto [state, update] : llvm::zip(region.states, ordered)) {
      region.updates.push_back(update.value);
      region.scales.push_back(
          dropRounding(stateReads.lookup(state).scale * update.scale));
    }
    // The output: a quotient of values of this region.
    for (Operation &op : block) {
      if (!isa<onnx::DivOp, onnx::MulOp>(op) || region.output)
        continue;
      Value candidate = op.getResult(0);
      if (numElements(candidate) != numElements(region.states[0]))
        continue;
      VectorRecurrence behind(stateReads);
      if (!behind.collect(candidate) || behind.getStates().size() != 3 ||
          !llvm::all_of(behind.getStates(), [&](Value s) {
            return llvm::is_contained(region.states, s);
          }))
        continue;
      LayerRegion attempt = region;
      attempt.output = candidate;
      auto leaves = layer.leaves;
      leaves.insert(behind.getLeaves().begin(), behind.getLeaves().end());
      attempt.leaves.assign(leaves.begin(), leaves.end());
      if (attempt.leaves.size() > kMaxLeaves)
        continue;
      if (std::optional<Roles> roles = findRoles(attempt)) {
        replace(attempt, *roles);
        region.output = candidate;
        ++counts.raised;
      }
    }
    if (!region.output)
      ++counts.rejected;
  }
  return counts;
}
