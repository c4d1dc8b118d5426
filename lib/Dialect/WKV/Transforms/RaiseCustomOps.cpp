//===- RaiseCustomOps.cpp - WKV operators of other domains ----------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "RaiseSequenceOps.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "rwkvc/Dialect/WKV/IR/CustomOps.h"
#include "rwkvc/Dialect/WKV/IR/WKV.h"
#include "rwkvc/Dialect/WKV/Transforms/Passes.h"
#include <cmath>
#include <limits>

namespace rwkvc::wkv {
#define GEN_PASS_DEF_RAISECUSTOMOPS
#include "rwkvc/Dialect/WKV/Transforms/Passes.h.inc"
} // namespace rwkvc::wkv

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::wkv;

namespace {

/// What a packed tensor holds: the output [B, T, H, V] and the state
/// [B, H, V, K] or [B, H, K, V], as the law has it.
struct Parts {
  Value output, state;
};

/// Replaces one node.
class CustomOpRaiser {
public:
  CustomOpRaiser(onnx::CustomOp op, CustomOpSignature signature,
                 DenseMap<Value, Parts> &packed)
      : op(op), signature(std::move(signature)), packed(packed),
        b(op.getLoc(), op) {}

  LogicalResult run();

private:
  LogicalResult refuse(const Twine &reason) {
    return op.emitError() << "operator '" << op.getOpType() << "' of domain '"
                          << op.getDomain() << "': " << reason
                          << ", by the registry of custom ops";
  }
  /// Fails unless \p layout has a letter for each size above one of the values
  /// with role \p role.
  LogicalResult checkLetters(StringRef role, StringRef layout);
  LogicalResult readShapes();
  LogicalResult checkResults();
  LogicalResult unpack();

  /// Operand \p role as a tensor with an axis for each letter of \p target, of
  /// size one where it does not depend on it. Null where the node has none.
  Value get(StringRef role, StringRef target);
  Value transposed(Value value, StringRef from, StringRef to);
  Value expanded(Value value, StringRef target);
  /// The decay in the form that the law takes.
  Value getDecay(StringRef target);
  SmallVector<int64_t> sizesOf(StringRef letters);
  int64_t sizeOf(char letter) {
    auto it = sizes.find(letter);
    return it == sizes.end() ? 1 : it->second;
  }

  void buildWkv4();
  void buildMatrixLaw();
  /// Gives the result \p role the value, whose axes are \p letters.
  void setResult(StringRef role, Value value, StringRef letters);
  void setPacked(Parts parts);

  onnx::CustomOp op;
  CustomOpSignature signature;
  DenseMap<Value, Parts> &packed;
  ImplicitLocOpBuilder b;
  CustomOpSizes sizes;
  SmallVector<Shape> shapes;
  Type element; // in which the law is computed
};

struct RaiseCustomOpsPass : wkv::impl::RaiseCustomOpsBase<RaiseCustomOpsPass> {
  void runOnOperation() override {
    SmallVector<onnx::CustomOp> ops;
    getOperation().walk([&](onnx::CustomOp op) { ops.push_back(op); });
    DenseMap<Value, Parts> packed;
    SmallVector<Operation *> raised;
    for (onnx::CustomOp op : ops) {
      auto signature = findCustomOp(op.getDomain(), op.getOpType(),
                                    op.getNumOperands(), op.getNumResults());
      if (!signature)
        continue;
      bool isUnpack = signature->isUnpack();
      if (failed(CustomOpRaiser(op, std::move(*signature), packed).run()))
        return signalPassFailure();
      raised.push_back(op);
      if (!isUnpack)
        ++numRecurrences;
    }
    for (Operation *op : llvm::reverse(raised))
      op->erase();
  }
};

} // namespace

static std::string withoutOnes(StringRef layout) {
  std::string letters;
  for (char c : layout)
    if (c != '1')
      letters += c;
  return letters;
}

SmallVector<int64_t> CustomOpRaiser::sizesOf(StringRef letters) {
  SmallVector<int64_t> result;
  for (char c : letters)
    result.push_back(sizeOf(c));
  return result;
}

//===----------------------------------------------------------------------===//
// Checks
//===----------------------------------------------------------------------===//

LogicalResult CustomOpRaiser::checkLetters(StringRef role, StringRef layout) {
  bool isVector = signature.law == CustomOpLaw::Wkv4;
  StringRef letters = role == "output" ? (isVector ? "BTC" : "BTHV")
                      : isVector       ? "BC"
                                       : "BHKV";
  for (char c : letters)
    if (sizeOf(c) > 1 && !layout.contains(c))
      return refuse("layout '" + layout + "' of '" + role +
                    "' lacks the letter " + Twine(c) + ", which is " +
                    Twine(sizeOf(c)));
  return success();
}

LogicalResult CustomOpRaiser::readShapes() {
  for (auto [value, operand] : llvm::zip(signature.operands, op.getInputs())) {
    auto type = dyn_cast<RankedTensorType>(operand.getType());
    if (value.role == "ignored") {
      shapes.push_back({});
      continue;
    }
    if (!type || !type.hasStaticShape() ||
        !isa<FloatType>(type.getElementType()))
      return refuse("operand '" + value.role +
                    "' must be a float tensor of known shape");
    shapes.push_back(type.getShape());
  }
  llvm::Expected<CustomOpSizes> solved = solveSizes(signature, shapes);
  if (!solved)
    return refuse(llvm::toString(solved.takeError()));
  sizes = std::move(*solved);
  for (StringRef role : {"state", "num", "den", "max"})
    if (auto index = signature.findOperand(role))
      if (failed(checkLetters(
              role, cantFail(chooseLayout(signature.operands[*index].layout,
                                          sizes, shapes[*index], role)))))
        return failure();
  return success();
}

LogicalResult CustomOpRaiser::checkResults() {
  for (auto [index, value] : llvm::enumerate(signature.results)) {
    Value result = op->getResult(index);
    if (onnx::isNone(result))
      continue;
    auto type = dyn_cast<RankedTensorType>(result.getType());
    if (!type || !type.hasStaticShape() ||
        !isa<FloatType>(type.getElementType()))
      return refuse("result '" + value.role +
                    "' must be a float tensor of known shape");
    if (value.role == "packed") {
      if (type.getNumElements() !=
          sizeOf('B') * sizeOf('H') * (sizeOf('T') + sizeOf('V')) * sizeOf('K'))
        return refuse("result 'packed' does not hold the output and the state");
      continue;
    }
    auto layout = chooseLayout(value.layout, sizes, type.getShape(),
                               "result '" + value.role + "'");
    if (!layout)
      return refuse(llvm::toString(layout.takeError()));
    if (failed(checkLetters(value.role, *layout)))
      return failure();
  }
  return success();
}

//===----------------------------------------------------------------------===//
// Operands
//===----------------------------------------------------------------------===//

Value CustomOpRaiser::transposed(Value value, StringRef from, StringRef to) {
  SmallVector<int64_t> perm;
  for (char c : to)
    if (size_t at = from.find(c); at != StringRef::npos)
      perm.push_back(static_cast<int64_t>(at));
  return transposeTo(b, value, perm);
}

Value CustomOpRaiser::get(StringRef role, StringRef target) {
  std::optional<unsigned> index = signature.findOperand(role);
  if (!index || onnx::isNone(op.getInputs()[*index]))
    return Value();
  std::string layout = withoutOnes(cantFail(chooseLayout(
      signature.operands[*index].layout, sizes, shapes[*index], "operand")));
  // Sizes of one may stand anywhere.
  Value value = castTo(b, op.getInputs()[*index], element);
  value = transposed(reshapeTo(b, value, sizesOf(layout)), layout, target);
  SmallVector<int64_t> shape;
  for (char c : target)
    shape.push_back(StringRef(layout).contains(c) ? sizeOf(c) : 1);
  return reshapeTo(b, value, shape);
}

Value CustomOpRaiser::expanded(Value value, StringRef target) {
  SmallVector<int64_t> shape = sizesOf(target);
  if (typeOf(value).getShape() == ArrayRef<int64_t>(shape))
    return value;
  OperationState state(b.getLoc(), onnx::ExpandOp::getOperationName());
  state.addOperands({value, intConstant(b, shape)});
  state.addTypes(typeOf(value).clone(shape));
  return b.create(state)->getResult(0);
}

Value CustomOpRaiser::getDecay(StringRef target) {
  Value decay = get("decay", target);
  auto unary = [&](StringRef name, Value value) {
    OperationState state(b.getLoc(), name);
    state.addOperands(value);
    state.addTypes(value.getType());
    return b.create(state)->getResult(0);
  };
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  auto byLaw = [&](DecayLaw law, double scale) -> Value {
    return DecayOp::create(b, decay.getType(), decay, law, APFloat(scale),
                           APFloat(-kInfinity), APFloat(kInfinity));
  };
  Value factor;
  switch (signature.decay) {
  case CustomOpDecay::Factor:
    factor = decay;
    break;
  case CustomOpDecay::Log:
    if (signature.law == CustomOpLaw::Wkv4)
      return decay;
    return unary(onnx::ExpOp::getOperationName(), decay);
  case CustomOpDecay::ExpExp:
    if (signature.law == CustomOpLaw::Wkv4)
      return unary(onnx::NegOp::getOperationName(),
                   unary(onnx::ExpOp::getOperationName(), decay));
    factor = byLaw(DecayLaw::ExpExp, 1.0);
    break;
  case CustomOpDecay::ExpSigmoid:
    factor = byLaw(DecayLaw::ExpSigmoid, std::exp(-0.5));
    break;
  }
  if (signature.law == CustomOpLaw::Wkv4)
    return unary(onnx::LogOp::getOperationName(), factor);
  return factor;
}

//===----------------------------------------------------------------------===//
// Results
//===----------------------------------------------------------------------===//

void CustomOpRaiser::setResult(StringRef role, Value value, StringRef letters) {
  std::optional<unsigned> index = signature.findResult(role);
  if (!index || onnx::isNone(op->getResult(*index)))
    return;
  Value result = op->getResult(*index);
  std::string layout =
      withoutOnes(cantFail(chooseLayout(signature.results[*index].layout, sizes,
                                        typeOf(result).getShape(), "result")));
  // What the layout leaves out has size one.
  std::string kept;
  for (char c : letters)
    if (StringRef(layout).contains(c))
      kept += c;
  value = transposed(reshapeTo(b, value, sizesOf(kept)), kept, layout);
  value = reshapeTo(b, value, typeOf(result).getShape());
  result.replaceAllUsesWith(castTo(b, value, typeOf(result).getElementType()));
}

void CustomOpRaiser::setPacked(Parts parts) {
  Value result = op->getResult(*signature.findResult("packed"));
  Value rows = transposeTo(b, parts.output, {0, 2, 1, 3}); // [B, H, T, V]
  Value value = concat(b, {rows, parts.state}, 2);
  value = reshapeTo(b, value, typeOf(result).getShape());
  value = castTo(b, value, typeOf(result).getElementType());
  result.replaceAllUsesWith(value);
  packed[value] = parts;
}

LogicalResult CustomOpRaiser::unpack() {
  Value source = op.getInputs()[0];
  StringRef stateLetters = signature.law == CustomOpLaw::Wkv7 ? "BHVK" : "BHKV";
  auto found = packed.find(source);
  Parts parts;
  if (found != packed.end()) {
    parts = found->second;
  } else {
    SmallVector<int64_t> shape{sizeOf('B'), sizeOf('H'),
                               sizeOf('T') + sizeOf('V'), sizeOf('K')};
    Value rows = reshapeTo(b, source, shape);
    parts.output =
        transposeTo(b, slice(b, rows, 2, 0, sizeOf('T')), {0, 2, 1, 3});
    parts.state = slice(b, rows, 2, sizeOf('T'), shape[2]);
  }
  setResult("output", parts.output, "BTHV");
  setResult("state", parts.state, stateLetters);
  return success();
}

//===----------------------------------------------------------------------===//
// Laws
//===----------------------------------------------------------------------===//

void CustomOpRaiser::buildWkv4() {
  Value key = get("key", "BTC"), value = get("value", "BTC");
  Value decay = expanded(getDecay("C"), "C");
  Value bonus = expanded(get("bonus", "C"), "C");
  SmallVector<Value> states;
  for (StringRef name : {"num", "den", "max"})
    states.push_back(get(name, "BC"));
  Value init = tensor::EmptyOp::create(b, sizesOf("BTC"), element);
  auto law =
      Wkv4Op::create(b, init.getType(), states[0].getType(),
                     states[1].getType(), states[2].getType(), key, value,
                     decay, bonus, init, states[0], states[1], states[2]);
  setResult("output", law.getY(), "BTC");
  setResult("num", law.getNewNum(), "BC");
  setResult("den", law.getNewDen(), "BC");
  setResult("max", law.getNewMax(), "BC");
}

void CustomOpRaiser::buildMatrixLaw() {
  bool isDelta = signature.law == CustomOpLaw::Wkv7;
  StringRef stateLetters = isDelta ? "BHVK" : "BHKV";
  auto getRow = [&](StringRef role) {
    return expanded(get(role, "BTHK"), "BTHK");
  };
  Value receptance = getRow("receptance"), key = getRow("key");
  Value value = expanded(get("value", "BTHV"), "BTHV");
  Value state = get("state", stateLetters);
  Value init = tensor::EmptyOp::create(b, sizesOf("BTHV"), element);
  Value decay = getDecay("BTHK");
  Parts parts;
  if (isDelta) {
    decay = expanded(decay, "BTHK");
    auto law =
        Wkv7Op::create(b, init.getType(), state.getType(), receptance, decay,
                       key, value, getRow("a"), getRow("b"), init, state);
    parts = {law.getY(), law.getNewState()};
  } else {
    // A decay of all tokens stays one.
    bool isFixed =
        typeOf(decay).getDimSize(0) * typeOf(decay).getDimSize(1) == 1;
    if (isFixed)
      decay = reshapeTo(
          b,
          expanded(reshapeTo(b, decay, typeOf(decay).getShape().drop_front(2)),
                   "HK"),
          {1, 1, sizeOf('H'), sizeOf('K')});
    else
      decay = expanded(decay, "BTHK");
    Value bonus = get("bonus", "HK");
    bonus = bonus ? expanded(bonus, "HK") : splat(b, sizesOf("HK"), element, 0);
    auto law = Wkv6Op::create(b, init.getType(), state.getType(), receptance,
                              key, value, decay, bonus, init, state);
    parts = {law.getY(), law.getNewState()};
  }
  if (signature.findResult("packed")) {
    setPacked(parts);
    return;
  }
  setResult("output", parts.output, "BTHV");
  setResult("state", parts.state, stateLetters);
}

LogicalResult CustomOpRaiser::run() {
  if (failed(readShapes()) || failed(checkResults()))
    return failure();
  // States and what enters them are at least float32.
  element = b.getF32Type();
  for (auto [value, operand] : llvm::zip(signature.operands, op.getInputs()))
    if (value.role != "ignored" && typeOf(operand).getElementType().isF64())
      element = b.getF64Type();
  if (signature.isUnpack())
    return unpack();
  if (signature.law == CustomOpLaw::Wkv4)
    buildWkv4();
  else
    buildMatrixLaw();
  return success();
}
