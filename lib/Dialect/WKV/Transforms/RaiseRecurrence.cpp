//===- RaiseRecurrence.cpp - Recognise the WKV recurrences ----------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The matrix-state recurrences (v5 to v7) as laws on normal forms; the vector
// recurrence (v4) is in RaiseVectorRecurrence.cpp.
//
//===----------------------------------------------------------------------===//

#include "RaiseRecurrence.h"
#include "mlir/Analysis/TopologicalSortUtils.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "rwkvc/Dialect/ONNX/IR/ONNX.h"
#include "rwkvc/Dialect/ONNX/Transforms/Evaluator.h"
#include "rwkvc/Dialect/WKV/IR/WKV.h"
#include "rwkvc/Dialect/WKV/Transforms/Passes.h"
#include "rwkvc/Dialect/WKV/Transforms/RecurrenceLaws.h"
#include "rwkvc/Dialect/WKV/Transforms/SumOfProducts.h"
#include "llvm/Support/Debug.h"

#define DEBUG_TYPE "wkv-raise-recurrence"

namespace rwkvc::wkv {
#define GEN_PASS_DEF_RAISERECURRENCE
#include "rwkvc/Dialect/WKV/Transforms/Passes.h.inc"
} // namespace rwkvc::wkv

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::wkv;

namespace {

/// An axis of the state matrix: its digits by their stride in the state.
using Axis = SmallVector<int64_t, 2>; // strides, outermost (largest) first

/// A normal form whose digits are named by the state element stride they move:
/// the common coordinates of the state, its update and its read.
struct StateCoordinates {
  std::map<int64_t, int64_t> sizes; // stride -> number of values

  int64_t count(ArrayRef<int64_t> axis) const {
    int64_t n = 1;
    for (int64_t stride : axis)
      n *= sizes.at(stride);
    return n;
  }
};

/// Factors whose digits are state strides.
struct Group {
  double coefficient = 1.0;
  SmallVector<Factor, 2> factors; // keys of strides index `digits`
};

class MatrixRecurrence {
public:
  MatrixRecurrence(Value state, Value update) : state(state), update(update) {}

  /// Matches the update law; fills decay, outer product and removal.
  bool matchUpdate(SumOfProductsAnalysis &analysis);
  /// Matches \p read as the output of the law.
  bool matchRead(Value read, SumOfProductsAnalysis &analysis);
  /// Builds the op and returns the values that replace update and read.
  std::pair<Value, Value> build(OpBuilder &builder, Location loc);
  /// Whether op and original agree in float64 on random values.
  bool check(Value newUpdate, Value newRead);

  bool hasRemoval() const { return removal.has_value(); }
  bool hasBonus() const { return bonus.has_value(); }
  Value getUpdate() const { return update; }
  Value getRead() const { return read; }
  Operation *getOp() const { return op; }

private:
  bool toCoordinates(SumOfProducts &form, unsigned rootTerm,
                     SumOfProductsAnalysis &analysis,
                     std::map<unsigned, int64_t> &stride);
  static bool dependsOn(const Factor &factor, ArrayRef<int64_t> axis);
  Value materialize(ImplicitLocOpBuilder &b, const Group &group,
                    ArrayRef<int64_t> first, ArrayRef<int64_t> second,
                    ArrayRef<int64_t> shape);
  Value materializeFactor(ImplicitLocOpBuilder &b, const Factor &factor,
                          ArrayRef<int64_t> order);
  Value materializeConstant(ImplicitLocOpBuilder &b, const Factor &factor,
                            ArrayRef<int64_t> order);
  Value transpose(ImplicitLocOpBuilder &b, Value value, ArrayRef<int64_t> perm);
  /// From axes in the order \p from to the shape and order of \p to.
  Value restore(ImplicitLocOpBuilder &b, Value value, ArrayRef<int64_t> from,
                ArrayRef<int64_t> order, Value to);

  Value state, update, read;
  int64_t offset = 0; // of the state within its tensor
  StateCoordinates coordinates;
  SmallVector<int64_t> updateOrder, readOrder; // strides in dimension order
  Axis heads, keys, values;
  SmallVector<Factor> outer; // k and v of the update, not yet told apart
  double outerCoefficient = 1.0;
  Group decay, key, value, receptance;
  std::optional<Group> bonus;
  struct Removal {
    double coefficient;
    SmallVector<Factor> factors;
    std::map<int64_t, int64_t> sumOf; // marker of a summed digit -> stride
  };
  std::optional<Removal> removal;
  Group a, b;
  Operation *op = nullptr;
};

/// Marker of a summed digit that runs along the state axis of \p stride.
int64_t summed(int64_t stride) { return -1 - stride; }

} // namespace

//===----------------------------------------------------------------------===//
// Matching
//===----------------------------------------------------------------------===//

/// Rewrites the factors of \p term so that their digits are given by \p name.
static bool rename(Term &term, const std::map<unsigned, int64_t> &name,
                   SmallVectorImpl<Factor> &factors) {
  for (const Factor &factor : term.factors) {
    Factor renamed{factor.atom, factor.offset, {}};
    for (auto [digit, stride] : factor.strides) {
      auto it = name.find(digit);
      if (it == name.end())
        return false;
      // Markers are negative; map keys are unsigned and wrap consistently.
      renamed.strides[static_cast<unsigned>(it->second)] = stride;
    }
    factors.push_back(std::move(renamed));
  }
  return true;
}

/// Forgets the digits of \p factor along which its atom, if a constant, does
/// not change: exporters store a decay or bonus expanded to the state's shape.
static void dropInvariantDigits(Factor &factor,
                                const std::map<int64_t, int64_t> &sizes) {
  auto constant = factor.atom.getDefiningOp<onnx::ConstantOp>();
  if (!constant)
    return;
  FailureOr<onnx::HostTensor> tensor = onnx::readElements(constant.getValue());
  if (failed(tensor))
    return;
  SmallVector<std::pair<int64_t, int64_t>> digits; // stride, size
  for (auto [digit, stride] : factor.strides) {
    auto it = sizes.find(static_cast<int>(digit));
    if (it == sizes.end())
      return;
    digits.push_back({stride, it->second});
  }
  auto invariant = [&](int64_t stride) {
    SmallVector<int64_t> index(digits.size(), 0);
    while (true) {
      int64_t at = factor.offset, along = 0;
      for (auto [i, digit] : llvm::enumerate(digits)) {
        at += index[i] * digit.first;
        if (digit.first == stride)
          along = index[i];
      }
      if (tensor->data[at] != tensor->data[at - along * stride])
        return false;
      unsigned i = 0;
      while (i < index.size() && ++index[i] == digits[i].second)
        index[i++] = 0;
      if (i == index.size())
        return true;
    }
  };
  for (auto [stride, size] : digits)
    if (invariant(stride))
      for (auto it = factor.strides.begin(); it != factor.strides.end();)
        it = it->second == stride ? factor.strides.erase(it) : std::next(it);
}

static bool sameFactor(const Factor &x, const Factor &y) {
  return x.atom == y.atom && x.offset == y.offset && x.strides == y.strides;
}

bool MatrixRecurrence::dependsOn(const Factor &factor, ArrayRef<int64_t> axis) {
  return llvm::any_of(axis, [&](int64_t stride) {
    return factor.strides.count(static_cast<unsigned>(stride));
  });
}

bool MatrixRecurrence::matchUpdate(SumOfProductsAnalysis &analysis) {
  const std::optional<SumOfProducts> &form = analysis.get(update);
  if (!form || form->terms.size() < 2 || form->terms.size() > 3)
    return false;
  // The kept part: the state at the very element that is written.
  const Term *kept = nullptr, *added = nullptr, *removed = nullptr;
  for (const Term &term : form->terms) {
    std::optional<unsigned> root = analysis.findRoot(term);
    const Term *&slot = !root ? added : term.sums.empty() ? kept : removed;
    if (slot)
      return false;
    slot = &term;
  }
  if (!kept || !added || !added->sums.empty() ||
      (form->terms.size() == 3) != (removed != nullptr))
    return false;
  const Factor &root = kept->factors[*analysis.findRoot(*kept)];
  state = root.atom;
  offset = root.offset;
  std::map<unsigned, int64_t> name;
  for (unsigned digit : form->outputDigits()) {
    auto it = root.strides.find(digit);
    if (it == root.strides.end())
      return false;
    if (!coordinates.sizes.emplace(it->second, form->sizes.lookup(digit))
             .second)
      return false;
    name[digit] = it->second;
    updateOrder.push_back(it->second);
  }
  auto split = [&](const Term &term, SmallVectorImpl<Factor> &factors) {
    Term rest = term;
    if (std::optional<unsigned> i = analysis.findRoot(term))
      rest.factors.erase(rest.factors.begin() + *i);
    if (analysis.findRoot(rest) || !rename(rest, name, factors))
      return false;
    for (Factor &factor : factors)
      dropInvariantDigits(factor, coordinates.sizes);
    return true;
  };
  SmallVector<Factor> factors;
  if (!split(*kept, factors) || !split(*added, outer))
    return false;
  decay = Group{kept->coefficient, {factors.begin(), factors.end()}};
  outerCoefficient = added->coefficient;
  if (!removed)
    return true;
  // The removed part: the state summed along one axis.
  const Factor &source = removed->factors[*analysis.findRoot(*removed)];
  Removal r{removed->coefficient, {}, {}};
  if (source.atom != state || source.offset != offset)
    return false;
  for (auto [digit, stride] : source.strides) {
    bool isSum = llvm::is_contained(removed->sums, digit);
    if (!coordinates.sizes.count(stride) ||
        coordinates.sizes[stride] != form->sizes.lookup(digit) ||
        (!isSum && name[digit] != stride))
      return false;
    if (isSum) {
      name[digit] = summed(stride);
      r.sumOf[summed(stride)] = stride;
    }
  }
  if (r.sumOf.size() != removed->sums.size() || !split(*removed, r.factors))
    return false;
  removal = std::move(r);
  return true;
}

/// Strides of \p form's digits in state coordinates, from its root factor,
/// which addresses the state itself or the update.
static bool nameDigits(const SumOfProducts &form, const Factor &root,
                       const std::map<int64_t, int64_t> &rootToState,
                       const StateCoordinates &coordinates,
                       std::map<unsigned, int64_t> &name) {
  for (auto [digit, stride] : root.strides) {
    auto it = rootToState.find(stride);
    if (it == rootToState.end())
      return false;
    auto size = coordinates.sizes.find(it->second);
    if (size == coordinates.sizes.end() ||
        size->second != form.sizes.lookup(digit))
      return false;
    name[digit] = it->second;
  }
  return true;
}

bool MatrixRecurrence::matchRead(Value candidate,
                                 SumOfProductsAnalysis &analysis) {
  const std::optional<SumOfProducts> &form = analysis.get(candidate);
  if (!form || form->terms.empty() || form->terms.size() > 2)
    return false;
  const Term *live = nullptr, *free = nullptr;
  for (const Term &term : form->terms) {
    const Term *&slot = analysis.findRoot(term) ? live : free;
    if (slot)
      return false;
    slot = &term;
  }
  if (!live || live->sums.empty())
    return false;
  unsigned rootIndex = *analysis.findRoot(*live);
  const Factor &root = live->factors[rootIndex];
  bool readsNew = root.atom == update;
  if ((!readsNew && (root.atom != state || root.offset != offset)) ||
      readsNew != hasRemoval() || (free && readsNew))
    return false;
  // Where the root is the update, its own row-major strides name the digits.
  std::map<int64_t, int64_t> toState;
  if (readsNew) {
    int64_t stride = 1;
    for (int64_t s : llvm::reverse(updateOrder)) {
      toState[stride] = s;
      stride *= coordinates.sizes[s];
    }
  } else {
    for (auto [stride, size] : coordinates.sizes)
      toState[stride] = stride;
  }
  std::map<unsigned, int64_t> name;
  if (!nameDigits(*form, root, toState, coordinates, name) ||
      name.size() != coordinates.sizes.size())
    return false;
  // Keys are summed; of the rest, values are in one factor of the outer product
  // only, heads in all.
  Axis keyAxis, rest;
  for (auto &[digit, stride] : name)
    (llvm::is_contained(live->sums, digit) ? keyAxis : rest).push_back(stride);
  if (keyAxis.size() != live->sums.size())
    return false;
  llvm::sort(keyAxis, std::greater<>());
  llvm::sort(rest, std::greater<>());
  Group k{outerCoefficient, {}}, v;
  Axis headAxis, valueAxis;
  for (int64_t stride : rest) {
    bool inDecay = llvm::any_of(decay.factors, [&](const Factor &f) {
      return f.strides.count(static_cast<unsigned>(stride));
    });
    // A digit that some key factor also depends on is a head.
    bool withKey = llvm::any_of(outer, [&](const Factor &f) {
      return f.strides.count(static_cast<unsigned>(stride)) &&
             dependsOn(f, keyAxis);
    });
    (inDecay || withKey ? headAxis : valueAxis).push_back(stride);
  }
  for (const Factor &factor : outer) {
    bool isKey = dependsOn(factor, keyAxis);
    bool isValue = dependsOn(factor, valueAxis);
    if (isKey && isValue)
      return false;
    (isValue ? v : k).factors.push_back(factor);
  }
  if (k.factors.empty() || v.factors.empty())
    return false;
  if (llvm::any_of(decay.factors,
                   [&](const Factor &f) { return dependsOn(f, valueAxis); }))
    return false;

  // r: the factors beside the state.
  Term rest2 = *live;
  rest2.factors.erase(rest2.factors.begin() + rootIndex);
  SmallVector<Factor> r;
  if (analysis.findRoot(rest2) || !rename(rest2, name, r) ||
      llvm::any_of(r, [&](const Factor &f) { return dependsOn(f, valueAxis); }))
    return false;
  for (Factor &factor : r)
    dropInvariantDigits(factor, coordinates.sizes);
  Group receptanceGroup{live->coefficient, {r.begin(), r.end()}};

  std::optional<Group> bonusGroup;
  if (free) {
    // sum over keys of r u k v: what remains without r, k and v is u. Its sums
    // run over the same digits, as forms that were added share them only on
    // output; name them by the factors they have in common with k.
    std::map<unsigned, int64_t> freeName;
    for (auto &[digit, stride] : name)
      if (!llvm::is_contained(live->sums, digit))
        freeName[digit] = stride;
    for (unsigned digit : free->sums) {
      std::optional<int64_t> found = name.count(digit)
                                         ? std::optional<int64_t>(name[digit])
                                         : std::nullopt;
      for (const Factor &f : free->factors)
        for (const Factor &known : k.factors)
          if (!found && f.atom == known.atom && f.offset == known.offset &&
              f.strides.count(digit))
            for (auto [stride, own] : known.strides)
              if (own == f.strides.at(digit))
                found = static_cast<int>(stride);
      if (!found)
        return false;
      freeName[digit] = *found;
    }
    Term copy = *free;
    SmallVector<Factor> left;
    if (!rename(copy, freeName, left))
      return false;
    for (Factor &factor : left)
      dropInvariantDigits(factor, coordinates.sizes);
    double coefficient = free->coefficient / live->coefficient;
    for (const Group *group : {&receptanceGroup, &k, &v})
      for (const Factor &factor : group->factors) {
        auto *it = llvm::find_if(
            left, [&](const Factor &f) { return sameFactor(f, factor); });
        if (it == left.end())
          return false;
        left.erase(it);
      }
    coefficient /= outerCoefficient;
    if (llvm::any_of(left,
                     [&](const Factor &f) { return dependsOn(f, valueAxis); }))
      return false;
    bonusGroup = Group{coefficient, {left.begin(), left.end()}};
  }

  if (removal) {
    // (S a) b^T: a runs along the summed keys, b along the written ones.
    Group aGroup{removal->coefficient, {}}, bGroup;
    for (auto [marker, stride] : removal->sumOf)
      if (!llvm::is_contained(keyAxis, stride))
        return false;
    for (Factor factor : removal->factors) {
      bool isA = false;
      Factor renamed{factor.atom, factor.offset, {}};
      for (auto [digit, stride] : factor.strides) {
        int64_t marker = static_cast<int>(digit);
        isA |= marker < 0;
        renamed
            .strides[marker < 0 ? static_cast<unsigned>(-1 - marker) : digit] =
            stride;
      }
      if ((isA && dependsOn(factor, keyAxis)) || dependsOn(factor, valueAxis))
        return false;
      (isA ? aGroup : bGroup).factors.push_back(renamed);
    }
    if (aGroup.factors.empty() || bGroup.factors.empty())
      return false;
    a = aGroup;
    b = bGroup;
  }

  readOrder.clear();
  for (unsigned digit : form->outputDigits()) {
    if (!name.count(digit))
      return false;
    readOrder.push_back(name[digit]);
  }
  heads = headAxis;
  keys = keyAxis;
  values = valueAxis;
  key = k;
  value = v;
  receptance = receptanceGroup;
  bonus = bonusGroup;
  read = candidate;
  return true;
}

//===----------------------------------------------------------------------===//
// Building
//===----------------------------------------------------------------------===//

static ArrayRef<int64_t> shapeOf(Value value) {
  return cast<RankedTensorType>(value.getType()).getShape();
}

Value MatrixRecurrence::transpose(ImplicitLocOpBuilder &b, Value value,
                                  ArrayRef<int64_t> perm) {
  if (llvm::equal(perm, llvm::seq<int64_t>(0, perm.size())))
    return value;
  auto type = cast<RankedTensorType>(value.getType());
  SmallVector<int64_t> shape;
  for (int64_t dim : perm)
    shape.push_back(type.getShape()[dim]);
  OperationState s(b.getLoc(), onnx::TransposeOp::getOperationName());
  s.addOperands(value);
  s.addTypes(type.clone(shape));
  s.addAttribute("perm", b.getDenseI64ArrayAttr(perm));
  return b.create(s)->getResult(0);
}

/// The same for a constant, by reading its elements; null if it is none.
Value MatrixRecurrence::materializeConstant(ImplicitLocOpBuilder &b,
                                            const Factor &factor,
                                            ArrayRef<int64_t> order) {
  auto constant = factor.atom.getDefiningOp<onnx::ConstantOp>();
  if (!constant)
    return {};
  FailureOr<onnx::HostTensor> tensor = onnx::readElements(constant.getValue());
  if (failed(tensor))
    return {};
  onnx::HostTensor result;
  result.elementType = tensor->elementType;
  // Innermost dimension first, each repeating what is there at its stride.
  SmallVector<int64_t> offsets{factor.offset};
  for (int64_t name : llvm::reverse(order)) {
    auto it = factor.strides.find(static_cast<unsigned>(name));
    int64_t size = it == factor.strides.end() ? 1 : coordinates.sizes.at(name);
    result.shape.insert(result.shape.begin(), size);
    SmallVector<int64_t> inner = offsets;
    for (int64_t i = 1; i < size; ++i)
      for (int64_t offset : inner)
        offsets.push_back(offset + i * it->second);
  }
  for (int64_t offset : offsets)
    result.data.push_back(tensor->data[offset]);
  FailureOr<ElementsAttr> attr = onnx::writeElements(result);
  if (failed(attr))
    return {};
  return onnx::ConstantOp::create(b, attr->getType(), *attr);
}

/// The factor as a tensor with one dimension for each stride in \p order, of
/// size one where the factor does not depend on it. Null where that is no view.
Value MatrixRecurrence::materializeFactor(ImplicitLocOpBuilder &b,
                                          const Factor &factor,
                                          ArrayRef<int64_t> order) {
  SmallVector<std::pair<int64_t, int64_t>> digits; // stride in atom, in state
  for (auto [digit, stride] : factor.strides)
    digits.push_back({stride, static_cast<int>(digit)});
  llvm::sort(digits, std::greater<>());
  int64_t block = 1;
  if (Value constant = materializeConstant(b, factor, order))
    return constant;
  for (auto [stride, name] : llvm::reverse(digits)) {
    if (stride != block)
      return {};
    block *= coordinates.sizes.at(name);
  }
  Value value = factor.atom;
  int64_t total = 1;
  for (int64_t size : shapeOf(value))
    total *= size;
  if (factor.offset < 0 || factor.offset + block > total)
    return {};
  if (block != total) {
    value = reshapeTo(b, value, {total});
    auto type = cast<RankedTensorType>(value.getType());
    OperationState s(b.getLoc(), onnx::SliceOp::getOperationName());
    s.addOperands({value, intConstant(b, factor.offset),
                   intConstant(b, factor.offset + block), intConstant(b, 0),
                   intConstant(b, 1)});
    s.addTypes(type.clone(ArrayRef<int64_t>(block)));
    value = b.create(s)->getResult(0);
  }
  SmallVector<int64_t> sizes, perm, shape;
  for (auto [stride, name] : digits)
    sizes.push_back(coordinates.sizes.at(name));
  for (int64_t name : order) {
    auto *it = llvm::find_if(digits, [&](auto d) { return d.second == name; });
    shape.push_back(it == digits.end() ? 1 : coordinates.sizes.at(name));
    if (it != digits.end())
      perm.push_back(it - digits.begin());
  }
  value = transpose(b, reshapeTo(b, value, sizes), perm);
  return reshapeTo(b, value, shape);
}

/// Product of the group's factors over [\p first, \p second], with \p shape.
Value MatrixRecurrence::materialize(ImplicitLocOpBuilder &b, const Group &group,
                                    ArrayRef<int64_t> first,
                                    ArrayRef<int64_t> second,
                                    ArrayRef<int64_t> shape) {
  Type element = getElementTypeOrSelf(state.getType());
  SmallVector<int64_t> order(first.begin(), first.end());
  order.append(second.begin(), second.end());
  SmallVector<int64_t> full;
  for (int64_t name : order)
    full.push_back(coordinates.sizes.at(name));
  Value product;
  for (const Factor &factor : group.factors) {
    Value view = materializeFactor(b, factor, order);
    if (!view)
      return {};
    view = castTo(b, view, element);
    if (!product) {
      product = view;
      continue;
    }
    SmallVector<int64_t> merged;
    for (auto [x, y] : llvm::zip(shapeOf(product), shapeOf(view)))
      merged.push_back(std::max(x, y));
    product = onnx::MulOp::create(b, RankedTensorType::get(merged, element),
                                  product, view);
  }
  if (group.coefficient != 1.0 || !product) {
    auto type = RankedTensorType::get({}, element);
    APFloat number(group.coefficient);
    bool lost;
    number.convert(cast<FloatType>(element).getFloatSemantics(),
                   APFloat::rmNearestTiesToEven, &lost);
    Value scale = onnx::ConstantOp::create(
        b, type, cast<ElementsAttr>(DenseElementsAttr::get(type, number)));
    product = product
                  ? onnx::MulOp::create(b, product.getType(), product, scale)
                  : scale;
  }
  if (shapeOf(product) != ArrayRef<int64_t>(full)) {
    OperationState s(b.getLoc(), onnx::ExpandOp::getOperationName());
    s.addOperands({product, intConstant(b, full)});
    s.addTypes(RankedTensorType::get(full, element));
    product = b.create(s)->getResult(0);
  }
  return reshapeTo(b, product, shape);
}

Value MatrixRecurrence::restore(ImplicitLocOpBuilder &b, Value value,
                                ArrayRef<int64_t> from, ArrayRef<int64_t> order,
                                Value to) {
  SmallVector<int64_t> sizes, perm;
  for (int64_t name : from)
    sizes.push_back(coordinates.sizes.at(name));
  for (int64_t name : order)
    perm.push_back(llvm::find(from, name) - from.begin());
  value = transpose(b, reshapeTo(b, value, sizes), perm);
  value = reshapeTo(b, value, shapeOf(to));
  return castTo(b, value, getElementTypeOrSelf(to.getType()));
}

std::pair<Value, Value> MatrixRecurrence::build(OpBuilder &builder,
                                                Location loc) {
  ImplicitLocOpBuilder b(loc, builder);
  int64_t H = coordinates.count(heads), K = coordinates.count(keys);
  int64_t V = coordinates.count(values);
  SmallVector<int64_t> keyShape{1, 1, H, K}, valueShape{1, 1, H, V};
  Value r = materialize(b, receptance, heads, keys, keyShape);
  Value k = materialize(b, key, heads, keys, keyShape);
  Value v = materialize(b, value, heads, values, valueShape);
  Value w = materialize(b, decay, heads, keys, keyShape);
  if (!r || !k || !v || !w)
    return {};
  // The state in the law's layout.
  SmallVector<int64_t> layout(heads.begin(), heads.end());
  llvm::append_range(layout, hasRemoval() ? values : keys);
  llvm::append_range(layout, hasRemoval() ? keys : values);
  Factor whole{state, offset, {}};
  for (auto [stride, size] : coordinates.sizes)
    whole.strides[static_cast<unsigned>(stride)] = stride;
  Value s = materializeFactor(b, whole, layout);
  if (!s)
    return {};
  s = reshapeTo(b, s, {1, H, hasRemoval() ? V : K, hasRemoval() ? K : V});
  auto element = getElementTypeOrSelf(state.getType());
  if (element.getIntOrFloatBitWidth() < 32)
    s = castTo(b, s, b.getF32Type());
  Type yType = RankedTensorType::get(valueShape, getElementTypeOrSelf(v));
  if (hasRemoval()) {
    Value aValue = materialize(b, a, heads, keys, keyShape);
    Value bValue = materialize(b, this->b, heads, keys, keyShape);
    if (!aValue || !bValue)
      return {};
    op = Wkv7Op::create(b, yType, s.getType(), r, w, k, v, aValue, bValue, s);
  } else {
    Group none{0.0, {}};
    Value u = materialize(b, bonus ? *bonus : none, heads, keys, {H, K});
    if (!u)
      return {};
    op = Wkv6Op::create(b, yType, s.getType(), r, k, v, w, u, s);
  }
  SmallVector<int64_t> readAxes(heads.begin(), heads.end());
  llvm::append_range(readAxes, values);
  return {restore(b, op->getResult(1), layout, updateOrder, update),
          restore(b, op->getResult(0), readAxes, readOrder, read)};
}

//===----------------------------------------------------------------------===//
// Checking
//===----------------------------------------------------------------------===//

bool MatrixRecurrence::check(Value newUpdate, Value newRead) {
  RandomLeaves leaves;
  leaves.add(state);
  auto addAll = [&](const auto &factors) {
    for (const Factor &factor : factors)
      leaves.add(factor.atom);
  };
  for (const Group *group : {&decay, &key, &value, &receptance, &a, &this->b})
    addAll(group->factors);
  if (bonus)
    addAll(bonus->factors);
  auto before = onnx::evaluateRegion({update, read}, leaves.get());
  auto operands =
      onnx::evaluateRegion(llvm::to_vector(op->getOperands()), leaves.get());
  if (failed(before) || failed(operands))
    return false;
  auto data = [&](unsigned i) -> const Array & { return (*operands)[i].data; };
  int64_t H = coordinates.count(heads), K = coordinates.count(keys);
  int64_t V = coordinates.count(values);
  StepResult step = hasRemoval()
                        ? evaluateWkv7(data(0), data(1), data(2), data(3),
                                       data(4), data(5), data(6), H, K, V)
                        : evaluateWkv6(data(0), data(1), data(2), data(3),
                                       data(4), data(5), H, K, V);
  leaves.set(op->getResult(0), step.y);
  leaves.set(op->getResult(1), step.states[0]);
  auto after = onnx::evaluateRegion({newUpdate, newRead}, leaves.get());
  return succeeded(after) && agree((*before)[0].data, (*after)[0].data) &&
         agree((*before)[1].data, (*after)[1].data);
}

//===----------------------------------------------------------------------===//
// Pass
//===----------------------------------------------------------------------===//

namespace {

struct RaiseRecurrencePass
    : wkv::impl::RaiseRecurrenceBase<RaiseRecurrencePass> {
  void runOnOperation() override {
    for (auto func : getOperation().getOps<func::FuncOp>()) {
      if (func.isExternal() || !func.getBody().hasOneBlock())
        continue;
      raiseMatrixRecurrences(func);
      RaiseCounts counts = raiseVectorRecurrences(func);
      numRecurrences += counts.raised;
      numRejected += counts.rejected;
      sortTopologically(&func.getBody().front());
    }
  }

  void raiseMatrixRecurrences(func::FuncOp func);
};

} // namespace

/// Number of dimensions with more than one element.
static unsigned numLargeDims(Value value) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  return type ? llvm::count_if(type.getShape(),
                               [](int64_t size) { return size > 1; })
              : 0;
}

/// The tensors that matrix-state recurrences read: a state of its own, or the
/// parts that are cut from one packed tensor, also after others were written.
static SmallVector<Value> findMatrixStates(func::FuncOp func) {
  SmallVector<Value> states;
  for (BlockArgument argument : func.getArguments()) {
    if (!func.getArgAttr(argument.getArgNumber(), kStateAttr))
      continue;
    SmallVector<Value> versions{argument}, parts;
    for (unsigned i = 0; i < versions.size(); ++i)
      for (OpOperand &use : versions[i].getUses()) {
        Operation *user = use.getOwner();
        if (use.getOperandNumber() != 0)
          continue;
        if (isa<onnx::ScatterNDOp, onnx::ScatterElementsOp>(user))
          versions.push_back(user->getResult(0));
        else if (isa<onnx::GatherOp, onnx::SliceOp, onnx::SplitOp>(user))
          llvm::append_range(parts, user->getResults());
      }
    if (parts.empty())
      parts.push_back(argument);
    for (Value part : parts)
      if (numLargeDims(part) >= 2)
        states.push_back(part);
  }
  return states;
}

/// Whether \p value is computed from one of \p sources, all of one block.
static bool isComputedFrom(Value value, ArrayRef<Value> sources) {
  Operation *first = nullptr;
  for (Value source : sources)
    if (!first || source.getDefiningOp()->isBeforeInBlock(first))
      first = source.getDefiningOp();
  SmallVector<Value> worklist{value};
  llvm::SmallDenseSet<Value> seen;
  while (!worklist.empty()) {
    Value current = worklist.pop_back_val();
    Operation *op = current.getDefiningOp();
    if (llvm::is_contained(sources, current))
      return true;
    // Nothing before the first source can depend on it.
    if (op && seen.insert(current).second && !op->isBeforeInBlock(first))
      llvm::append_range(worklist, op->getOperands());
  }
  return false;
}

void RaiseRecurrencePass::raiseMatrixRecurrences(func::FuncOp func) {
  SmallVector<Value> states = findMatrixStates(func);
  if (states.empty())
    return;
  Block &block = func.getBody().front();
  auto visit = [&](SumOfProductsAnalysis &analysis) {
    // In program order, so that the analysis never recurses deeply.
    for (Operation &op : block)
      for (Value result : op.getResults())
        analysis.get(result);
  };
  SumOfProductsAnalysis analysis(states);
  visit(analysis);

  std::vector<MatrixRecurrence> found;
  SmallVector<Value> roots(states);
  for (Value update : findStateUpdates(func)) {
    MatrixRecurrence recurrence({}, update);
    if (!recurrence.matchUpdate(analysis))
      continue;
    found.push_back(recurrence);
    roots.push_back(update);
  }
  LLVM_DEBUG(llvm::dbgs() << found.size() << " state updates match\n");
  // Reads, with the updates as atoms beside the states.
  SumOfProductsAnalysis reads(roots);
  visit(reads);
  OpBuilder builder(func);
  for (MatrixRecurrence &recurrence : found) {
    bool matched = false;
    for (Operation &op : block) {
      for (Value result : op.getResults()) {
        if (result == recurrence.getUpdate() ||
            (matched && recurrence.hasBonus()))
          continue;
        MatrixRecurrence attempt = recurrence;
        if (!attempt.matchRead(result, reads) ||
            (matched && !attempt.hasBonus()))
          continue;
        recurrence = attempt;
        matched = true;
      }
      if (matched && (recurrence.hasRemoval() || recurrence.hasBonus()))
        break;
    }
    if (!matched)
      continue;
    Operation *update = recurrence.getUpdate().getDefiningOp();
    Operation *read = recurrence.getRead().getDefiningOp();
    builder.setInsertionPoint(update->isBeforeInBlock(read) ? read : update);
    Operation *before = &*std::prev(builder.getInsertionPoint());
    auto [newUpdate, newRead] = recurrence.build(builder, read->getLoc());
    // An operand that the recurrence itself feeds would make a cycle.
    SmallVector<Value> replaced{recurrence.getUpdate(), recurrence.getRead()};
    bool cyclic =
        newUpdate &&
        llvm::any_of(recurrence.getOp()->getOperands(), [&](Value operand) {
          return isComputedFrom(operand, replaced);
        });
    if (!newUpdate || cyclic || !recurrence.check(newUpdate, newRead)) {
      ++numRejected;
      Operation *end = &*builder.getInsertionPoint();
      while (end->getPrevNode() != before)
        end->getPrevNode()->erase();
      continue;
    }
    // The order of the block is mended by the pass at the end.
    recurrence.getUpdate().replaceAllUsesWith(newUpdate);
    recurrence.getRead().replaceAllUsesWith(newRead);
    ++numRecurrences;
  }
}
