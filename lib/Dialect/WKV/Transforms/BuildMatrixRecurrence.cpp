//===- BuildMatrixRecurrence.cpp - From matches to ops --------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "MatrixRecurrence.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "rwkvc/Dialect/ONNX/IR/ONNX.h"
#include "rwkvc/Dialect/WKV/IR/WKV.h"

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::wkv;

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
    int64_t size = it == factor.strides.end() ? 1 : coordinates.size(name);
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
    block *= coordinates.size(name);
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
    sizes.push_back(coordinates.size(name));
  for (int64_t name : order) {
    auto *it = llvm::find_if(digits, [&](auto d) { return d.second == name; });
    shape.push_back(it == digits.end() ? 1 : coordinates.size(name));
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
  Type element = getElementType();
  SmallVector<int64_t> order;
  if (shape.size() > 2 && shape[1] != 1)
    order.push_back(kTokenName);
  llvm::append_range(order, first);
  llvm::append_range(order, second);
  SmallVector<int64_t> full;
  for (int64_t name : order)
    full.push_back(coordinates.size(name));
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
  product = reshapeTo(b, product, shape);
  // A static decay or bonus is expanded and scaled here, not for each token.
  if (llvm::all_of(group.factors, [](const Factor &factor) {
        return factor.atom.getDefiningOp<onnx::ConstantOp>();
      })) {
    auto value = onnx::evaluateRegion({product}, RandomLeaves().get());
    if (succeeded(value))
      if (Value constant = floatConstant(
              b, cast<RankedTensorType>(product.getType()), (*value)[0].data))
        return constant;
  }
  return product;
}

Type MatrixRecurrence::getElementType() const {
  Type read = getElementTypeOrSelf(state.getType());
  Type own = getElementTypeOrSelf(update.getType());
  return own.getIntOrFloatBitWidth() > read.getIntOrFloatBitWidth() ? own
                                                                    : read;
}

Value MatrixRecurrence::restore(ImplicitLocOpBuilder &b, Value value,
                                ArrayRef<int64_t> from, ArrayRef<int64_t> order,
                                Value to) {
  SmallVector<int64_t> sizes, perm;
  for (int64_t name : from)
    sizes.push_back(coordinates.size(name));
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
  int64_t T = coordinates.tokens;
  SmallVector<int64_t> keyShape{1, T, H, K}, valueShape{1, T, H, V};
  // A decay that all tokens share stays one row.
  SmallVector<int64_t> decayShape{1, 1, H, K};
  if (hasRemoval() || dependsOnToken(decay))
    decayShape[1] = T;
  Value r = materialize(b, receptance, heads, keys, keyShape);
  Value k = materialize(b, key, heads, keys, keyShape);
  Value v = materialize(b, value, heads, values, valueShape);
  Value w = materialize(b, decay, heads, keys, decayShape);
  if (!r || !k || !v || !w)
    return {};
  // The state in the law's layout.
  SmallVector<int64_t> layout(heads.begin(), heads.end());
  llvm::append_range(layout, hasRemoval() ? values : keys);
  llvm::append_range(layout, hasRemoval() ? keys : values);
  Value initial = scan ? scan->getOperand(scanState) : state;
  Factor whole{initial, offset, {}};
  for (auto [stride, size] : coordinates.sizes)
    whole.strides[static_cast<unsigned>(stride)] = stride;
  Value s = materializeFactor(b, whole, layout);
  if (!s)
    return {};
  s = reshapeTo(b, s, {1, H, hasRemoval() ? V : K, hasRemoval() ? K : V});
  Type element = getElementType();
  if (element.getIntOrFloatBitWidth() < 32)
    element = b.getF32Type();
  s = scaleBy(b, castTo(b, s, element), stateScale / opScale);
  Type yType = RankedTensorType::get(valueShape, getElementTypeOrSelf(v));
  Value y = tensor::EmptyOp::create(b, valueShape, getElementTypeOrSelf(v));
  if (hasRemoval()) {
    Value aValue = materialize(b, a, heads, keys, keyShape);
    Value bValue = materialize(b, this->b, heads, keys, keyShape);
    if (!aValue || !bValue)
      return {};
    op =
        Wkv7Op::create(b, yType, s.getType(), r, w, k, v, aValue, bValue, y, s);
  } else {
    Group none{0.0, {}};
    Value u = materialize(b, bonus ? *bonus : none, heads, keys, {H, K});
    if (!u)
      return {};
    op = Wkv6Op::create(b, yType, s.getType(), r, k, v, w, u, y, s);
  }
  SmallVector<int64_t> readAxes;
  if (scan)
    readAxes.push_back(kTokenName);
  llvm::append_range(readAxes, heads);
  llvm::append_range(readAxes, values);
  Value next = scaleBy(b, op->getResult(1), opScale);
  return {restore(b, next, layout, updateOrder, getFinalState()),
          restore(b, op->getResult(0), readAxes, readOrder, read)};
}

//===----------------------------------------------------------------------===//
// Checking
//===----------------------------------------------------------------------===//

/// Each step of a scan does the same: more of them show nothing new, but cost
/// as much as a state each.
static constexpr int64_t kCheckedSteps = 4;

/// Whether two results agree; where one is NaN, not computed, the other must
/// be. None where others than \p numKnown are computed.
static std::optional<bool>
agreeWhereKnown(ArrayRef<double> x, ArrayRef<double> y, int64_t numKnown) {
  if (x.size() != y.size())
    return false;
  Array knownX, knownY;
  for (auto [a, b] : llvm::zip(x, y)) {
    if (std::isnan(a) != std::isnan(b))
      return std::nullopt;
    if (std::isnan(a))
      continue;
    knownX.push_back(a);
    knownY.push_back(b);
  }
  if (static_cast<int64_t>(knownX.size()) != numKnown)
    return std::nullopt;
  return agree(knownX, knownY);
}

bool MatrixRecurrence::check(Value newUpdate, Value newRead) {
  if (scan && coordinates.tokens > kCheckedSteps)
    if (auto checked = checkSteps(newUpdate, newRead, kCheckedSteps))
      return *checked;
  // All tokens: what is behind the scan mixes them.
  return checkSteps(newUpdate, newRead, coordinates.tokens).value_or(false);
}

std::optional<bool> MatrixRecurrence::checkSteps(Value newUpdate, Value newRead,
                                                 int64_t numSteps) {
  RandomLeaves leaves;
  leaves.add(scan ? skipReshapes(scan->getOperand(scanState)) : state);
  auto addAll = [&](const auto &factors) {
    for (const Factor &factor : factors)
      leaves.add(factor.atom);
  };
  for (const Group *group : {&decay, &key, &value, &receptance, &a, &this->b})
    addAll(group->factors);
  if (bonus)
    addAll(bonus->factors);
  onnx::EvaluatorOptions options;
  options.cutScan = scan;
  options.maxSteps = numSteps;
  auto before =
      onnx::evaluateRegion({getFinalState(), read}, leaves.get(), options);
  // All but the tensor that the output is written into.
  SmallVector<Value> inputs(op->getOperands());
  inputs.erase(inputs.end() - 2);
  auto operands = onnx::evaluateRegion(inputs, leaves.get());
  if (failed(before) || failed(operands))
    return false;
  int64_t H = coordinates.count(heads), K = coordinates.count(keys);
  int64_t V = coordinates.count(values);
  // Row t of operand i, which may be the same for all tokens.
  auto row = [&](unsigned i, int64_t t, int64_t size) {
    const Array &data = (*operands)[i].data;
    if (static_cast<int64_t>(data.size()) == size)
      return data;
    return Array(data.begin() + t * size, data.begin() + (t + 1) * size);
  };
  StepResult step;
  step.states.push_back(operands->back().data);
  Array y;
  for (int64_t t = 0; t < numSteps; ++t) {
    const Array &s = step.states[0];
    step =
        hasRemoval()
            ? evaluateWkv7(row(0, t, H * K), row(1, t, H * K), row(2, t, H * K),
                           row(3, t, H * V), row(4, t, H * K), row(5, t, H * K),
                           s, H, K, V)
            : evaluateWkv6(row(0, t, H * K), row(1, t, H * K), row(2, t, H * V),
                           row(3, t, H * K), row(4, 0, H * K), s, H, K, V);
    y.insert(y.end(), step.y.begin(), step.y.end());
  }
  int64_t numRead = y.size();
  y.resize(coordinates.tokens * H * V,
           std::numeric_limits<double>::quiet_NaN());
  leaves.set(op->getResult(0), y);
  leaves.set(op->getResult(1), step.states[0]);
  auto after =
      onnx::evaluateRegion({newUpdate, newRead}, leaves.get(), options);
  if (failed(after))
    return false;
  auto states = agreeWhereKnown((*before)[0].data, (*after)[0].data,
                                (*before)[0].getNumElements());
  auto rows = agreeWhereKnown((*before)[1].data, (*after)[1].data, numRead);
  if (!states || !rows)
    return std::nullopt;
  return *states && *rows;
}
