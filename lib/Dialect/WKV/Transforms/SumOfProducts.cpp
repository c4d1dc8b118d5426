//===- SumOfProducts.cpp - Tensors as sums of indexed products ------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "rwkvc/Dialect/WKV/Transforms/SumOfProducts.h"
#include "mlir/IR/Matchers.h"
#include "mlir/IR/TypeUtilities.h"
#include "rwkvc/Dialect/ONNX/IR/ONNX.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::wkv;

/// Products of sums grow; a recurrence has at most a handful of terms.
static constexpr unsigned kMaxTerms = 16;

using Form = std::optional<SumOfProducts>;

//===----------------------------------------------------------------------===//
// Digits
//===----------------------------------------------------------------------===//

static unsigned digitLimit(const SumOfProducts &form) {
  unsigned limit = 0;
  for (auto [digit, unused] : form.sizes)
    if (digit != kTokenDigit)
      limit = std::max(limit, digit + 1);
  return limit;
}

static unsigned freshDigit(SumOfProducts &form, int64_t size) {
  unsigned digit = digitLimit(form);
  form.sizes[digit] = size;
  return digit;
}

void SumOfProducts::split(unsigned digit, int64_t lowSize) {
  unsigned high = freshDigit(*this, sizes[digit] / lowSize);
  unsigned low = freshDigit(*this, lowSize);
  auto replace = [&](auto &list) {
    auto *it = llvm::find(list, digit);
    if (it == list.end())
      return;
    *it = high;
    list.insert(it + 1, low);
  };
  for (auto &dim : dims)
    replace(dim);
  for (Term &term : terms) {
    replace(term.sums);
    for (Factor &factor : term.factors) {
      auto it = factor.strides.find(digit);
      if (it == factor.strides.end())
        continue;
      int64_t stride = it->second;
      factor.strides.erase(it);
      factor.strides[high] = stride * lowSize;
      factor.strides[low] = stride;
    }
  }
  sizes.erase(digit);
}

SmallVector<unsigned> SumOfProducts::outputDigits() const {
  SmallVector<unsigned> digits;
  for (const auto &dim : dims)
    llvm::append_range(digits, dim);
  return digits;
}

static int64_t sizeOf(const SumOfProducts &form, ArrayRef<unsigned> digits) {
  int64_t size = 1;
  for (unsigned digit : digits)
    size *= form.sizes.lookup(digit);
  return size;
}

/// Regroups the digits of \p form into dimensions of \p shape, splitting where
/// a boundary falls inside a digit. Fails where sizes do not divide.
static bool regroup(SumOfProducts &form, ArrayRef<int64_t> shape) {
  SmallVector<SmallVector<unsigned, 2>, 4> dims;
  unsigned next = 0;
  for (int64_t size : shape) {
    SmallVector<unsigned, 2> dim;
    int64_t have = 1;
    while (have < size) {
      SmallVector<unsigned> digits = form.outputDigits();
      if (next >= digits.size())
        return false;
      int64_t own = form.sizes[digits[next]], want = size / have;
      if (size % have != 0)
        return false;
      if (own > want) {
        if (own % want != 0)
          return false;
        form.split(digits[next], own / want);
        digits = form.outputDigits();
      }
      dim.push_back(digits[next]);
      have *= form.sizes[digits[next]];
      ++next;
    }
    if (have != size)
      return false;
    dims.push_back(dim);
  }
  form.dims = std::move(dims);
  return true;
}

/// Gives every digit of \p form a number of at least \p base.
static void renumber(SumOfProducts &form, unsigned base) {
  DenseMap<unsigned, unsigned> map;
  DenseMap<unsigned, int64_t> sizes;
  SmallVector<unsigned> digits;
  for (auto [digit, unused] : form.sizes)
    digits.push_back(digit);
  llvm::sort(digits);
  for (unsigned digit : digits) {
    map[digit] = digit == kTokenDigit ? digit : base++;
    sizes[map[digit]] = form.sizes[digit];
  }
  for (auto &dim : form.dims)
    for (unsigned &digit : dim)
      digit = map[digit];
  for (Term &term : form.terms) {
    for (unsigned &digit : term.sums)
      digit = map[digit];
    for (Factor &factor : term.factors) {
      std::map<unsigned, int64_t> strides;
      for (auto [digit, stride] : factor.strides)
        strides[map[digit]] = stride;
      factor.strides = std::move(strides);
    }
  }
  form.sizes = std::move(sizes);
}

/// Number from which one operand's digits are counted, so that digits which
/// splitting adds to the other one stay below.
static unsigned disjointBase(const SumOfProducts &form) {
  return digitLimit(form) + 1000;
}

/// Renames digit \p from of \p form to \p to, which the other form owns.
static void renameDigit(SumOfProducts &form, unsigned from, unsigned to) {
  if (from == to)
    return;
  for (auto &dim : form.dims)
    for (unsigned &digit : dim)
      if (digit == from)
        digit = to;
  for (Term &term : form.terms)
    for (Factor &factor : term.factors) {
      auto it = factor.strides.find(from);
      if (it == factor.strides.end())
        continue;
      factor.strides[to] += it->second;
      factor.strides.erase(from);
    }
  form.sizes[to] = form.sizes[from];
  form.sizes.erase(from);
}

/// Makes dimension \p a of \p x and \p b of \p y use the same digits; digits of
/// the two forms are disjoint before. A size of one broadcasts.
static bool unify(SumOfProducts &x, unsigned a, SumOfProducts &y, unsigned b) {
  if (x.dims[a].empty() || y.dims[b].empty())
    return true;
  if (sizeOf(x, x.dims[a]) != sizeOf(y, y.dims[b]))
    return false;
  for (unsigned i = 0; i < std::max(x.dims[a].size(), y.dims[b].size()); ++i) {
    if (i >= x.dims[a].size() || i >= y.dims[b].size())
      return false;
    int64_t sx = x.sizes[x.dims[a][i]], sy = y.sizes[y.dims[b][i]];
    // The outer digits must agree; the larger one is split below the other.
    if (sx > sy) {
      if (sx % sy != 0)
        return false;
      x.split(x.dims[a][i], sx / sy);
    } else if (sy > sx) {
      if (sy % sx != 0)
        return false;
      y.split(y.dims[b][i], sy / sx);
    }
    unsigned own = y.dims[b][i], target = x.dims[a][i];
    renameDigit(y, own, target);
  }
  return true;
}

//===----------------------------------------------------------------------===//
// Operators
//===----------------------------------------------------------------------===//

static ArrayRef<int64_t> staticShape(Value value) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  return type && type.hasStaticShape() ? type.getShape() : ArrayRef<int64_t>();
}

static bool isStatic(Value value) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  return type && type.hasStaticShape();
}

static bool isFloat(Value value) {
  return isa<FloatType>(getElementTypeOrSelf(value.getType()));
}

/// The one element of a constant with one element.
static std::optional<double> scalarConstant(Value value) {
  DenseElementsAttr attr;
  if (!matchPattern(value, m_Constant(&attr)) || attr.getNumElements() != 1 ||
      !isa<FloatType>(attr.getElementType()))
    return std::nullopt;
  return (*attr.value_begin<APFloat>()).convertToDouble();
}

static std::optional<SmallVector<int64_t>> constantInts(Value value) {
  DenseElementsAttr attr;
  if (!matchPattern(value, m_Constant(&attr)) ||
      !isa<IntegerType>(attr.getElementType()))
    return std::nullopt;
  SmallVector<int64_t> values;
  for (const APInt &v : attr.getValues<APInt>())
    values.push_back(v.getSExtValue());
  return values;
}

/// Adds leading dimensions of size one.
static void padRank(SumOfProducts &form, unsigned rank) {
  while (form.dims.size() < rank)
    form.dims.insert(form.dims.begin(), SmallVector<unsigned, 2>());
}

static void appendSizes(SumOfProducts &into, const SumOfProducts &from) {
  for (auto [digit, size] : from.sizes)
    into.sizes[digit] = size;
}

/// Lets two forms of at most \p rank dimensions have the same digits in each.
static bool align(SumOfProducts &x, SumOfProducts &y, unsigned rank) {
  padRank(x, rank);
  padRank(y, rank);
  renumber(y, disjointBase(x));
  for (unsigned i = 0; i < rank; ++i)
    if (!unify(x, i, y, i))
      return false;
  return true;
}

/// Product of two forms, dimension by dimension. The digits of \p contracted
/// dimensions (same index in both) are summed over and leave the result.
static Form multiply(SumOfProducts x, SumOfProducts y, unsigned rank) {
  if (x.terms.size() * y.terms.size() > kMaxTerms)
    return std::nullopt;
  if (!align(x, y, rank))
    return std::nullopt;
  SumOfProducts result;
  appendSizes(result, x);
  appendSizes(result, y);
  for (unsigned i = 0; i < rank; ++i)
    result.dims.push_back(x.dims[i].empty() ? y.dims[i] : x.dims[i]);
  for (const Term &a : x.terms)
    for (const Term &b : y.terms) {
      Term term = a;
      term.coefficient *= b.coefficient;
      llvm::append_range(term.factors, b.factors);
      llvm::append_range(term.sums, b.sums);
      result.terms.push_back(std::move(term));
    }
  return result;
}

static Form sum(SumOfProducts x, SumOfProducts y, double sign, unsigned rank) {
  if (x.terms.size() + y.terms.size() > kMaxTerms)
    return std::nullopt;
  if (!align(x, y, rank))
    return std::nullopt;
  SumOfProducts result = x;
  appendSizes(result, y);
  for (unsigned i = 0; i < rank; ++i)
    if (result.dims[i].empty())
      result.dims[i] = y.dims[i];
  for (Term term : y.terms) {
    term.coefficient *= sign;
    result.terms.push_back(std::move(term));
  }
  return result;
}

/// Sums over dimension \p dim. A dimension of size one only disappears.
static void contract(SumOfProducts &form, unsigned dim) {
  for (unsigned digit : form.dims[dim])
    for (Term &term : form.terms) {
      bool used = llvm::any_of(term.factors, [&](const Factor &factor) {
        return factor.strides.count(digit);
      });
      // A term that does not depend on the digit is counted once for each
      // value.
      if (used)
        term.sums.push_back(digit);
      else
        term.coefficient *= form.sizes[digit];
    }
  form.dims[dim].clear();
}

static Form matmul(SumOfProducts x, SumOfProducts y) {
  unsigned rx = x.dims.size(), ry = y.dims.size();
  if (rx == 0 || ry == 0)
    return std::nullopt;
  // x[..., m, k] and y[..., k, n] become [..., m, k, n].
  if (rx == 1)
    x.dims.insert(x.dims.begin(), SmallVector<unsigned, 2>());
  if (ry == 1)
    y.dims.push_back({});
  unsigned rank = std::max(x.dims.size(), y.dims.size()) + 1;
  x.dims.push_back({});
  y.dims.insert(y.dims.end() - 2, SmallVector<unsigned, 2>());
  Form result = multiply(std::move(x), std::move(y), rank);
  if (!result)
    return result;
  contract(*result, rank - 2);
  result->dims.erase(result->dims.begin() + rank - 2);
  if (ry == 1)
    result->dims.pop_back();
  if (rx == 1)
    result->dims.erase(result->dims.end() - (ry == 1 ? 1 : 2));
  return result;
}

/// Takes elements [start, start + size) of dimension \p dim.
static bool restrict(SumOfProducts &form, unsigned dim, int64_t start,
                     int64_t size) {
  int64_t full = sizeOf(form, form.dims[dim]);
  if (start == 0 && size == full)
    return true;
  if (form.dims[dim].size() != 1 || start < 0 || size < 1 ||
      start + size > full)
    return false;
  unsigned digit = form.dims[dim][0];
  for (Term &term : form.terms)
    for (Factor &factor : term.factors) {
      auto it = factor.strides.find(digit);
      if (it != factor.strides.end())
        factor.offset += start * it->second;
    }
  form.sizes[digit] = size;
  if (size > 1)
    return true;
  for (Term &term : form.terms)
    for (Factor &factor : term.factors)
      factor.strides.erase(digit);
  form.sizes.erase(digit);
  form.dims[dim].clear();
  return true;
}

//===----------------------------------------------------------------------===//
// Analysis
//===----------------------------------------------------------------------===//

SumOfProductsAnalysis::SumOfProductsAnalysis(ArrayRef<Value> roots)
    : roots(roots.begin(), roots.end()) {}

std::optional<unsigned>
SumOfProductsAnalysis::findRoot(const Term &term) const {
  for (auto [i, factor] : llvm::enumerate(term.factors))
    if (roots.contains(factor.atom))
      return i;
  return std::nullopt;
}

bool SumOfProductsAnalysis::isLive(Value value) {
  const Form &form = get(value);
  return form && llvm::any_of(form->terms, [&](const Term &term) {
           return findRoot(term).has_value();
         });
}

const Form &SumOfProductsAnalysis::get(Value value) {
  auto it = forms.find(value);
  if (it != forms.end())
    return it->second;
  Form form;
  if (isStatic(value) && isFloat(value))
    form = compute(value);
  return forms[value] = std::move(form);
}

SumOfProducts SumOfProductsAnalysis::atom(Value value) {
  SumOfProducts form;
  ArrayRef<int64_t> shape = staticShape(value);
  Term term;
  Factor factor{value, 0, {}};
  int64_t stride = 1;
  form.dims.resize(shape.size());
  for (int64_t i = shape.size() - 1; i >= 0; --i) {
    if (shape[i] > 1) {
      unsigned digit = freshDigit(form, shape[i]);
      form.dims[i].push_back(digit);
      factor.strides[digit] = stride;
    }
    stride *= shape[i];
  }
  term.factors.push_back(factor);
  form.terms.push_back(term);
  return form;
}

Form SumOfProductsAnalysis::computeScanInput(BlockArgument argument) {
  auto scan = dyn_cast<onnx::ScanOp>(argument.getOwner()->getParentOp());
  if (!scan)
    return std::nullopt;
  unsigned states = scan->getNumOperands() - scan.getNumScanInputs();
  if (argument.getArgNumber() < states)
    return std::nullopt;
  unsigned index = argument.getArgNumber() - states;
  Form form = get(scan->getOperand(argument.getArgNumber()));
  auto axis =
      form ? onnx::getInputAxis(scan, index, form->dims.size()) : std::nullopt;
  if (!axis || onnx::isInputReversed(scan, index) ||
      form->dims[*axis].size() != 1)
    return std::nullopt;
  unsigned digit = form->dims[*axis][0];
  form->dims[*axis].clear();
  renameDigit(*form, digit, kTokenDigit);
  form->dims.erase(form->dims.begin() + *axis);
  return form;
}

Form SumOfProductsAnalysis::computeScanOutput(OpResult result) {
  auto scan = dyn_cast<onnx::ScanOp>(result.getOwner());
  if (!scan)
    return std::nullopt;
  unsigned states = scan->getNumOperands() - scan.getNumScanInputs();
  if (result.getResultNumber() < states)
    return std::nullopt;
  Value yielded = scan.getBody().front().getTerminator()->getOperand(
      result.getResultNumber());
  if (!isStatic(yielded) || !isFloat(yielded))
    return std::nullopt;
  Form form = get(yielded);
  ArrayRef<int64_t> shape = staticShape(result);
  unsigned index = result.getResultNumber() - states;
  auto axis = onnx::getOutputAxis(scan, index, shape.size());
  if (!form || !axis || onnx::isOutputReversed(scan, index) ||
      form->dims.size() + 1 != shape.size())
    return std::nullopt;
  int64_t tokens = shape[*axis];
  form->sizes.erase(kTokenDigit);
  unsigned digit = freshDigit(*form, tokens);
  form->dims.insert(form->dims.begin() + *axis,
                    SmallVector<unsigned, 2>{digit});
  Block &body = scan.getBody().front();
  for (Term &term : form->terms)
    for (Factor &factor : term.factors) {
      auto it = factor.strides.find(kTokenDigit);
      if (it != factor.strides.end()) {
        int64_t stride = it->second;
        factor.strides.erase(it);
        factor.strides[digit] = stride;
      } else if (factor.atom.getParentBlock() == &body) {
        factor.strides[digit] = kTokenStride;
      }
    }
  return form;
}

Form SumOfProductsAnalysis::compute(Value value) {
  Operation *op = value.getDefiningOp();
  if (roots.contains(value))
    return atom(value);
  if (!op) {
    Form form = computeScanInput(cast<BlockArgument>(value));
    return form ? form : atom(value);
  }
  if (isa<onnx::ScanOp>(op)) {
    Form form = computeScanOutput(cast<OpResult>(value));
    return form ? form : atom(value);
  }
  if (std::optional<double> scalar = scalarConstant(value)) {
    SumOfProducts form;
    form.dims.resize(staticShape(value).size());
    form.terms.push_back(Term{*scalar, {}, {}});
    return form;
  }
  bool live = llvm::any_of(op->getOperands(), [&](Value operand) {
    return isStatic(operand) && isFloat(operand) && isLive(operand);
  });
  unsigned rank = staticShape(value).size();
  auto form = [&](Value operand) { return *get(operand); };
  Form result =
      llvm::TypeSwitch<Operation *, Form>(op)
          .Case<onnx::IdentityOp>(
              [&](auto op) -> Form { return form(op.getInput()); })
          .Case<onnx::CastOp, onnx::CastLikeOp>([&](auto op) -> Form {
            if (!isFloat(op.getInput()))
              return std::nullopt;
            return form(op.getInput());
          })
          .Case<onnx::ReshapeOp, onnx::SqueezeOp, onnx::UnsqueezeOp,
                onnx::FlattenOp>([&](Operation *op) -> Form {
            SumOfProducts f = form(op->getOperand(0));
            if (!regroup(f, staticShape(value)))
              return std::nullopt;
            return f;
          })
          .Case<onnx::TransposeOp>([&](onnx::TransposeOp op) -> Form {
            SumOfProducts f = form(op.getData()), r = f;
            for (unsigned i = 0; i < rank; ++i)
              r.dims[i] =
                  f.dims[op.getPerm() ? (*op.getPerm())[i] : rank - 1 - i];
            return r;
          })
          .Case<onnx::ExpandOp>([&](onnx::ExpandOp op) -> Form {
            SumOfProducts f = form(op.getInput());
            padRank(f, rank);
            for (auto [dim, size] : llvm::zip(f.dims, staticShape(value)))
              if (dim.empty() && size > 1)
                dim.push_back(freshDigit(f, size));
            return f;
          })
          .Case<onnx::NegOp>([&](onnx::NegOp op) -> Form {
            SumOfProducts f = form(op.getX());
            for (Term &term : f.terms)
              term.coefficient = -term.coefficient;
            return f;
          })
          .Case<onnx::MulOp>([&](onnx::MulOp op) -> Form {
            return multiply(form(op.getA()), form(op.getB()), rank);
          })
          .Case<onnx::DivOp>([&](onnx::DivOp op) -> Form {
            std::optional<double> scalar = scalarConstant(op.getB());
            if (!scalar || *scalar == 0.0)
              return std::nullopt;
            SumOfProducts f = form(op.getA());
            for (Term &term : f.terms)
              term.coefficient /= *scalar;
            padRank(f, rank);
            return f;
          })
          .Case<onnx::AddOp>([&](onnx::AddOp op) -> Form {
            if (!live)
              return std::nullopt;
            return sum(form(op.getA()), form(op.getB()), 1.0, rank);
          })
          .Case<onnx::SubOp>([&](onnx::SubOp op) -> Form {
            if (!live)
              return std::nullopt;
            return sum(form(op.getA()), form(op.getB()), -1.0, rank);
          })
          .Case<onnx::MatMulOp>([&](onnx::MatMulOp op) -> Form {
            // A product with a sum is opened only where a root is inside: what
            // projects an activation stays one value.
            SumOfProducts a = form(op.getA()), b = form(op.getB());
            ArrayRef<int64_t> shape = staticShape(op.getA());
            if (!live && (shape.empty() || shape.back() != 1))
              return std::nullopt;
            return matmul(std::move(a), std::move(b));
          })
          .Case<onnx::ReduceSumOp>([&](onnx::ReduceSumOp op) -> Form {
            std::optional<SmallVector<int64_t>> axes;
            if (!onnx::isNone(op.getAxes()))
              axes = constantInts(op.getAxes());
            if (!live || !axes)
              return std::nullopt;
            SumOfProducts f = form(op.getData());
            for (int64_t axis : *axes)
              contract(f, axis < 0 ? axis + f.dims.size() : axis);
            if (!op.getKeepdims() && !regroup(f, staticShape(value)))
              return std::nullopt;
            return f;
          })
          .Case<onnx::GatherOp>([&](onnx::GatherOp op) -> Form {
            std::optional<SmallVector<int64_t>> index =
                constantInts(op.getIndices());
            if (!index || index->size() != 1)
              return std::nullopt;
            SumOfProducts f = form(op.getData());
            int64_t axis = op.getAxis(), own = f.dims.size();
            axis = axis < 0 ? axis + own : axis;
            int64_t size = sizeOf(f, f.dims[axis]);
            int64_t at = (*index)[0] < 0 ? (*index)[0] + size : (*index)[0];
            if (!restrict(f, axis, at, 1) || !regroup(f, staticShape(value)))
              return std::nullopt;
            return f;
          })
          .Case<onnx::SliceOp>([&](onnx::SliceOp op) -> Form {
            auto starts = constantInts(op.getStarts());
            std::optional<SmallVector<int64_t>> axes, steps;
            if (!onnx::isNone(op.getAxes()))
              axes = constantInts(op.getAxes());
            if (!onnx::isNone(op.getSteps()))
              steps = constantInts(op.getSteps());
            if (!starts || (!onnx::isNone(op.getAxes()) && !axes) ||
                (steps &&
                 llvm::any_of(*steps, [](int64_t s) { return s != 1; })))
              return std::nullopt;
            SumOfProducts f = form(op.getData());
            for (auto [i, start] : llvm::enumerate(*starts)) {
              int64_t axis = axes ? (*axes)[i] : i;
              axis = axis < 0 ? axis + f.dims.size() : axis;
              int64_t size = sizeOf(f, f.dims[axis]);
              start = start < 0 ? std::max<int64_t>(0, start + size)
                                : std::min(start, size);
              if (!restrict(f, axis, start, staticShape(value)[axis]))
                return std::nullopt;
            }
            return f;
          })
          .Case<onnx::SplitOp>([&](onnx::SplitOp op) -> Form {
            SumOfProducts f = form(op.getInput());
            int64_t axis = op.getAxis();
            axis = axis < 0 ? axis + f.dims.size() : axis;
            int64_t start = 0;
            for (Value part : op.getOutputs()) {
              if (!isStatic(part))
                return std::nullopt;
              if (part == value)
                break;
              start += staticShape(part)[axis];
            }
            if (!restrict(f, axis, start, staticShape(value)[axis]))
              return std::nullopt;
            return f;
          })
          .Default([](Operation *) -> Form { return std::nullopt; });
  // What is no sum of products is an atom, also where it depends on a root.
  return result ? result : atom(value);
}
