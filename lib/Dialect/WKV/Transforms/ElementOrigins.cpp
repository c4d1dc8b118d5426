//===- ElementOrigins.cpp - Where elements are copied from ----------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ElementOrigins.h"
#include "RaiseRecurrence.h"
#include "rwkvc/Dialect/ONNX/IR/ONNX.h"
#include "llvm/ADT/MapVector.h"
#include <cmath>

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::wkv;

bool rwkvc::wkv::movesElements(Operation *op) {
  if (isa<onnx::CastOp>(op))
    return getFloatShape(op->getOperand(0)) && getFloatShape(op->getResult(0));
  return isa<onnx::ConcatOp, onnx::FlattenOp, onnx::GatherOp, onnx::IdentityOp,
             onnx::PadOp, onnx::ReshapeOp, onnx::ScatterElementsOp,
             onnx::ScatterNDOp, onnx::SliceOp, onnx::SplitOp, onnx::SqueezeOp,
             onnx::TransposeOp, onnx::UnsqueezeOp, onnx::ExpandOp>(op);
}

SmallVector<OpOperand *> rwkvc::wkv::getMovedOperands(Operation *op) {
  SmallVector<OpOperand *> operands;
  for (OpOperand &operand : op->getOpOperands()) {
    unsigned i = operand.getOperandNumber();
    if (i == 0 || isa<onnx::ConcatOp>(op) ||
        (i == 2 && isa<onnx::ScatterNDOp, onnx::ScatterElementsOp>(op)))
      operands.push_back(&operand);
  }
  return operands;
}

static bool isZero(Value value) {
  std::optional<Array> data = readConstant(value);
  return data && llvm::all_of(*data, [](double x) { return x == 0.0; });
}

std::optional<std::vector<Origin>>
rwkvc::wkv::traceElements(Value value, llvm::function_ref<bool(Value)> isSource,
                          bool scales) {
  if (!getFloatShape(value))
    return std::nullopt;
  // Sources, each with the number of its first element; zero means zero.
  llvm::MapVector<Value, int64_t> sources;
  llvm::SmallDenseSet<Value> seen;
  SmallVector<Value> worklist{value};
  int64_t next = 1;
  bool isScaled = false;
  RandomLeaves numbers, ones;
  while (!worklist.empty()) {
    Value current = worklist.pop_back_val();
    if (!seen.insert(current).second)
      continue;
    Operation *op = current.getDefiningOp();
    bool stop = isSource && isSource(current);
    if (!stop && op && isa<onnx::ConstantOp>(op)) {
      if (!isZero(current))
        return std::nullopt;
      continue;
    }
    if (!stop && op && movesElements(op)) {
      for (OpOperand *operand : getMovedOperands(op))
        worklist.push_back(operand->get());
      // A pad fills with its third operand.
      if (isa<onnx::PadOp>(op) && op->getNumOperands() > 2 &&
          !onnx::isNone(op->getOperand(2)) && !isZero(op->getOperand(2)))
        return std::nullopt;
      // Adding or multiplying into a tensor moves nothing.
      auto reduction = op->getAttrOfType<StringAttr>("reduction");
      if (reduction && reduction.getValue() != "none")
        return std::nullopt;
      continue;
    }
    std::optional<Scaling> scaling;
    if (!stop && scales)
      scaling = getScaling(op);
    if (scaling) {
      isScaled = true;
      worklist.push_back(scaling->operand->get());
      continue;
    }
    std::optional<ArrayRef<int64_t>> shape = getFloatShape(current);
    if (!shape)
      return std::nullopt;
    int64_t count = ShapedType::getNumElements(*shape);
    Array data(count);
    for (int64_t i = 0; i < count; ++i)
      data[i] = static_cast<double>(next + i);
    numbers.set(current, data);
    ones.set(current, Array(count, 1.0));
    sources[current] = next;
    next += count;
  }
  auto result = onnx::evaluateRegion({value}, numbers.get());
  if (failed(result))
    return std::nullopt;
  // Every element is a number times a scale, or 1 times it.
  Array factors;
  if (isScaled) {
    auto scaled = onnx::evaluateRegion({value}, ones.get());
    if (failed(scaled))
      return std::nullopt;
    factors = std::move((*scaled)[0].data);
  }
  // Sources are in ascending order of their numbers.
  std::vector<Origin> origins;
  origins.reserve((*result)[0].data.size());
  auto list = sources.takeVector();
  for (auto [i, number] : llvm::enumerate((*result)[0].data)) {
    double scale = isScaled && factors[i] != 0.0 ? factors[i] : 1.0;
    auto n = static_cast<int64_t>(std::llround(number / scale));
    if (n == 0) {
      origins.push_back({});
      continue;
    }
    auto *it = std::prev(
        llvm::upper_bound(list, n, [](int64_t key, const auto &entry) {
          return key < entry.second;
        }));
    origins.push_back({it->first, n - it->second, scale});
  }
  return origins;
}

Value rwkvc::wkv::getContiguousSource(ArrayRef<Origin> origins,
                                      int64_t &start) {
  if (origins.empty() || !origins[0].source)
    return {};
  start = origins[0].index;
  for (auto [i, origin] : llvm::enumerate(origins))
    if (origin.source != origins[0].source ||
        origin.index != start + static_cast<int64_t>(i))
      return {};
  return origins[0].source;
}
