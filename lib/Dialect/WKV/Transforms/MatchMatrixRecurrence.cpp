//===- MatchMatrixRecurrence.cpp - Compare with the laws ------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The matrix-state recurrences (v5 to v7) as laws on normal forms.
//
//===----------------------------------------------------------------------===//

#include "MatrixRecurrence.h"
#include "rwkvc/Dialect/ONNX/IR/ONNX.h"

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::wkv;

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

MatrixRecurrence::MatrixRecurrence(onnx::ScanOp scan, unsigned index)
    : update(scan.getBody().front().getTerminator()->getOperand(index)),
      scan(scan), scanState(index) {}

/// Whether the group's tensors exist where the op will be built.
bool MatrixRecurrence::isOutside(const Group &group) const {
  return !scan || llvm::none_of(group.factors, [&](const Factor &factor) {
    Value atom = factor.atom;
    return atom.getParentBlock() != scan->getBlock();
  });
}

bool MatrixRecurrence::dependsOnToken(const Group &group) const {
  return llvm::any_of(group.factors, [](const Factor &factor) {
    return factor.strides.count(kTokenName);
  });
}

bool MatrixRecurrence::matchUpdate(
    SumOfProductsAnalysis &analysis,
    const llvm::DenseMap<Value, double> &scales) {
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
  if (auto it = scales.find(state); it != scales.end())
    stateScale = dropRounding(1.0 / (it->second * updateScale));
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
  if (scan) {
    // The next token must find the state where this one did.
    if (state != scan.getBody().front().getArgument(scanState) || offset != 0 ||
        !llvm::is_sorted(updateOrder, std::greater<>()) ||
        coordinates.count(updateOrder) !=
            cast<RankedTensorType>(state.getType()).getNumElements())
      return false;
    name[kTokenDigit] = kTokenName;
    if (auto it = form->sizes.find(kTokenDigit); it != form->sizes.end())
      coordinates.tokens = it->second;
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
  decay = Group{dropRounding(kept->coefficient / stateScale),
                {factors.begin(), factors.end()}};
  outerCoefficient = added->coefficient;
  if (!removed)
    return true;
  // The removed part: the state summed along one axis.
  const Factor &source = removed->factors[*analysis.findRoot(*removed)];
  Removal r{dropRounding(removed->coefficient / stateScale), {}, {}};
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
    if (stride == kTokenStride) {
      if (form.sizes.lookup(digit) != coordinates.tokens)
        return false;
      name[digit] = kTokenName;
      continue;
    }
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
      name.size() != coordinates.sizes.size() + (scan ? 1 : 0))
    return false;
  // Keys are summed; of the rest, values are in one factor of the outer product
  // only, heads in all.
  Axis keyAxis, rest;
  for (auto &[digit, stride] : name)
    if (stride != kTokenName)
      (llvm::is_contained(live->sums, digit) ? keyAxis : rest)
          .push_back(stride);
  if (keyAxis.size() != live->sums.size())
    return false;
  llvm::sort(keyAxis, std::greater<>());
  llvm::sort(rest, std::greater<>());
  // The state of the op is that of a key without a constant factor.
  double readScale = live->coefficient / (readsNew ? 1.0 : stateScale);
  bool isInverse = dropRounding(readScale * outerCoefficient) == 1.0;
  double scale = outerCoefficient;
  if (!isInverse && llvm::any_of(outer, [](const Factor &factor) {
        return holdsIntegers(factor.atom);
      }))
    scale = 1.0;
  Group k{outerCoefficient / scale, {}}, v;
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
  Group receptanceGroup{dropRounding(readScale * scale), {r.begin(), r.end()}};

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
    for (const Group *group : {&receptanceGroup, &k, &v})
      for (const Factor &factor : group->factors) {
        auto *it = llvm::find_if(
            left, [&](const Factor &f) { return sameFactor(f, factor); });
        if (it == left.end())
          return false;
        left.erase(it);
      }
    if (llvm::any_of(left,
                     [&](const Factor &f) { return dependsOn(f, valueAxis); }))
      return false;
    bonusGroup =
        Group{dropRounding(free->coefficient / receptanceGroup.coefficient /
                           k.coefficient),
              {left.begin(), left.end()}};
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

  if (bonusGroup && dependsOnToken(*bonusGroup))
    return false;
  for (const Group *group : {&decay, &k, &v, &receptanceGroup, &a, &b})
    if (!isOutside(*group))
      return false;
  if (bonusGroup && !isOutside(*bonusGroup))
    return false;
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
  opScale = scale;
  read = candidate;
  return true;
}
