//===- Reduction.cpp - Lowering of onnx reductions ------------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Support.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include <limits>

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::lowering;

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

/// The axes a reduction folds; fails when they are not constant or wrong.
template <typename OpT>
FailureOr<SmallVector<int64_t>> getAxes(Lowering &b, OpT op) {
  int64_t rank = tensorType(op.getData()).getRank();
  SmallVector<int64_t> axes;
  if (!onnx::isNone(op.getAxes())) {
    std::optional<SmallVector<int64_t>> ints = getConstantInts(op.getAxes());
    if (!ints)
      return b.refuse("its axes are computed while the model runs; they must "
                      "be constant");
    for (int64_t axis : *ints) {
      std::optional<int64_t> normal = normalizeAxis(axis, rank);
      if (!normal)
        return b.refuse("axis " + Twine(axis) + " is out of range for rank " +
                        Twine(rank));
      if (!llvm::is_contained(axes, *normal))
        axes.push_back(*normal);
    }
  }
  if (axes.empty() && !op.getNoopWithEmptyAxes())
    axes = llvm::to_vector(llvm::seq<int64_t>(0, rank));
  return axes;
}

/// The least (or greatest) value of \p type, which max (or min) starts from.
Value extreme(ImplicitLocOpBuilder &b, Type type, bool isUnsigned, bool least) {
  if (isa<FloatType>(type))
    return constant(b, type, least ? -kInf : kInf);
  unsigned width = type.getIntOrFloatBitWidth();
  APInt value = least ? APSInt::getMinValue(width, isUnsigned)
                      : APSInt::getMaxValue(width, isUnsigned);
  return arith::ConstantOp::create(b, b.getIntegerAttr(type, value));
}

/// One reduction: what is done with an element, how they are joined, and what
/// is done with the result.
struct Rule {
  enum Start { Zero, One, Least, Greatest } start = Zero;
  std::function<Value(Arith &, Value)> before;
  std::function<Value(Arith &, Value, Value)> join;
  std::function<Value(Arith &, Value, double)> after;
};

template <typename OpT> void addReduction(LoweringSet &set, Rule rule) {
  set.add<OpT>([rule](Lowering &b, OpT op,
                      typename OpT::Adaptor in) -> FailureOr<Value> {
    FailureOr<SmallVector<int64_t>> axes = getAxes(b, op);
    if (failed(axes))
      return failure();
    RankedTensorType from = tensorType(in.getData());
    RankedTensorType type = b.resultType();
    Type compute = computeType(type.getElementType());
    bool isUnsigned = lowering::isUnsigned(op.getData());
    double count = 1;
    for (int64_t axis : *axes)
      count *= double(from.getDimSize(axis));
    Value init = rule.start == Rule::Zero  ? constant(b, compute, 0)
                 : rule.start == Rule::One ? constant(b, compute, 1)
                                           : extreme(b, compute, isUnsigned,
                                                     rule.start == Rule::Least);
    Value result = reduce(
        b, in.getData(), *axes, init, false,
        [&](ImplicitLocOpBuilder &b, ValueRange x) {
          Arith a{b, isUnsigned};
          return rule.join(a, x[1], rule.before ? rule.before(a, x[0]) : x[0]);
        });
    if (rule.after)
      result = elementwise(b, result, tensorType(result),
                           [&](ImplicitLocOpBuilder &b, ValueRange x) {
                             Arith a{b, isUnsigned};
                             return rule.after(a, x[0], count);
                           });
    return reshape(b, castElements(b, result, type.getElementType()),
                   type.getShape());
  });
}

Value add(Arith &a, Value x, Value y) { return a.add(x, y); }
Value square(Arith &a, Value x) { return a.mul(x, x); }

/// Square root of a sum, which of integers is taken in double.
Value root(Arith &a, Value x, double) {
  Type type = x.getType();
  if (isa<FloatType>(type))
    return a.sqrt(x);
  Value wide = castScalar(a.b, x, a.b.getF64Type(), a.isUnsigned, a.isUnsigned);
  return castScalar(a.b, a.sqrt(wide), type, a.isUnsigned, a.isUnsigned);
}

Value logarithm(Arith &a, Value x, double) {
  return math::LogOp::create(a.b, x);
}

FailureOr<Value> lowerLogSumExp(Lowering &b, onnx::ReduceLogSumExpOp op,
                                onnx::ReduceLogSumExpOp::Adaptor in) {
  FailureOr<SmallVector<int64_t>> axes = getAxes(b, op);
  if (failed(axes))
    return failure();
  RankedTensorType type = b.resultType();
  Type compute = computeType(type.getElementType());
  Value top = reduce(b, in.getData(), *axes, constant(b, compute, -kInf), true,
                     [](ImplicitLocOpBuilder &b, ValueRange x) {
                       return Arith{b}.max(x[1], x[0]);
                     });
  // An infinite maximum would give inf - inf; exp needs no shift then.
  top = elementwise(
      b, top, tensorType(top), [](ImplicitLocOpBuilder &b, ValueRange x) {
        Arith a{b};
        Value infinite =
            a.compare(Arith::Equal, a.abs(x[0]), a.constant(x[0], kInf));
        return a.select(infinite, a.constant(x[0], 0), x[0]);
      });
  Value sum = reduce(b, {in.getData(), top}, *axes, constant(b, compute, 0),
                     true, [](ImplicitLocOpBuilder &b, ValueRange x) {
                       Arith a{b};
                       return a.add(x[2], a.exp(a.sub(x[0], x[1])));
                     });
  Value result = elementwise(b, {sum, top}, tensorType(sum),
                             [](ImplicitLocOpBuilder &b, ValueRange x) {
                               Value log = math::LogOp::create(b, x[0]);
                               return Arith{b}.add(log, x[1]);
                             });
  return reshape(b, castElements(b, result, type.getElementType()),
                 type.getShape());
}

/// Values and positions of the best elements along \p axis, without it. Where
/// \p taken is given, elements marked there do not count.
std::pair<Value, Value> findBest(ImplicitLocOpBuilder &b, Value input,
                                 Value taken, int64_t axis, bool greatest,
                                 bool lastOfEqual, bool isUnsigned) {
  RankedTensorType type = tensorType(input);
  SmallVector<int64_t> shape(type.getShape());
  shape.erase(shape.begin() + axis);
  auto values = RankedTensorType::get(shape, type.getElementType());
  auto places = RankedTensorType::get(shape, b.getI64Type());
  SmallVector<utils::IteratorType> kinds(type.getRank(),
                                         utils::IteratorType::parallel);
  kinds[axis] = utils::IteratorType::reduction;
  AffineMap all = b.getMultiDimIdentityMap(type.getRank());
  AffineMap rest = all.dropResult(axis);
  SmallVector<Value> inputs{input};
  SmallVector<AffineMap> maps{all};
  if (taken) {
    inputs.push_back(taken);
    maps.push_back(all);
  }
  maps.append(2, rest);
  Value noValue = filledTensor(
      b, values, extreme(b, type.getElementType(), isUnsigned, greatest));
  Value noPlace = filledTensor(b, places, constant(b, b.getI64Type(), -1));
  auto found = linalg::GenericOp::create(
      b, TypeRange{values, places}, inputs, ValueRange{noValue, noPlace}, maps,
      kinds, [&](OpBuilder &nested, Location loc, ValueRange args) {
        ImplicitLocOpBuilder inner(loc, nested);
        Arith a{inner, isUnsigned};
        Value x = args[0], best = args[args.size() - 2], place = args.back();
        Value index = arith::IndexCastOp::create(
            inner, inner.getI64Type(), linalg::IndexOp::create(inner, axis));
        Arith::Order order =
            greatest ? (lastOfEqual ? Arith::GreaterOrEqual : Arith::Greater)
                     : (lastOfEqual ? Arith::LessOrEqual : Arith::Less);
        Value better = a.compare(order, x, best);
        // NaN beats every number, as numpy has it.
        if (isa<FloatType>(x.getType())) {
          Value nan =
              arith::CmpFOp::create(inner, arith::CmpFPredicate::UNO, x, x);
          Value number = arith::CmpFOp::create(inner, arith::CmpFPredicate::ORD,
                                               best, best);
          better = arith::OrIOp::create(
              inner, better, arith::AndIOp::create(inner, nan, number));
        }
        // The first element that counts is taken whatever it is.
        Value first = Arith{inner}.compare(Arith::Less, place,
                                           constant(inner, place.getType(), 0));
        better = arith::OrIOp::create(inner, better, first);
        if (taken)
          better = arith::AndIOp::create(
              inner, better,
              arith::XOrIOp::create(inner, args[1], a.constant(args[1], 1)));
        linalg::YieldOp::create(inner,
                                ValueRange{a.select(better, x, best),
                                           a.select(better, index, place)});
      });
  return {found.getResult(0), found.getResult(1)};
}

template <typename OpT> void addArg(LoweringSet &set, bool greatest) {
  set.add<OpT>([greatest](Lowering &b, OpT op,
                          typename OpT::Adaptor in) -> FailureOr<Value> {
    RankedTensorType from = tensorType(in.getData());
    std::optional<int64_t> axis = normalizeAxis(op.getAxis(), from.getRank());
    if (!axis)
      return b.refuse("axis " + Twine(op.getAxis()) +
                      " is out of range for rank " + Twine(from.getRank()));
    Value place =
        findBest(b, in.getData(), Value(), *axis, greatest,
                 op.getSelectLastIndex() != 0, isUnsigned(op.getData()))
            .second;
    return reshape(b, place, b.resultType().getShape());
  });
}

FailureOr<SmallVector<Value>> lowerTopK(Lowering &b, onnx::TopKOp op,
                                        onnx::TopKOp::Adaptor in) {
  RankedTensorType from = tensorType(in.getX());
  std::optional<int64_t> axis = normalizeAxis(op.getAxis(), from.getRank());
  if (!axis)
    return b.refuse("axis " + Twine(op.getAxis()) +
                    " is out of range for rank " + Twine(from.getRank()));
  RankedTensorType values = b.resultType(0), places = b.resultType(1);
  int64_t k = values.getDimSize(*axis);
  if (k > from.getDimSize(*axis))
    return b.refuse("it asks for " + Twine(k) + " of " +
                    Twine(from.getDimSize(*axis)) + " elements");
  bool isUnsigned = lowering::isUnsigned(op.getX());
  RankedTensorType mask = from.clone(b.getI1Type());
  SmallVector<Value> init{emptyTensor(b, values), emptyTensor(b, places),
                          filledTensor(b, mask, constant(b, b.getI1Type(), 0))};
  auto loop = scf::ForOp::create(
      b, indexConstant(b, 0), indexConstant(b, k), indexConstant(b, 1), init,
      [&](OpBuilder &nested, Location loc, Value iv, ValueRange carried) {
        ImplicitLocOpBuilder b(loc, nested);
        auto [best, place] = findBest(b, in.getX(), carried[2], *axis,
                                      op.getLargest() != 0, false, isUnsigned);
        SmallVector<int64_t> kept(from.getShape());
        kept[*axis] = 1;
        Value taken = elementwise(
            b, {carried[2], reshape(b, place, kept)}, mask,
            [&](ImplicitLocOpBuilder &b, ValueRange x) -> Value {
              Value index = arith::IndexCastOp::create(
                  b, b.getI64Type(), linalg::IndexOp::create(b, *axis));
              return arith::OrIOp::create(
                  b, x[0], Arith{b}.compare(Arith::Equal, index, x[1]));
            });
        scf::YieldOp::create(
            b, ValueRange{insertAt(b, best, carried[0], *axis, iv),
                          insertAt(b, place, carried[1], *axis, iv),
                          carryOn(b, taken, carried[2])});
      });
  return SmallVector<Value>{loop.getResult(0), loop.getResult(1)};
}

FailureOr<Value> lowerCumSum(Lowering &b, onnx::CumSumOp op,
                             onnx::CumSumOp::Adaptor in) {
  RankedTensorType type = b.resultType();
  std::optional<SmallVector<int64_t>> ints = getConstantInts(op.getAxis());
  if (!ints || ints->size() != 1)
    return b.refuse("its axis is computed while the model runs; it must be "
                    "constant");
  std::optional<int64_t> axis = normalizeAxis(ints->front(), type.getRank());
  if (!axis)
    return b.refuse("axis " + Twine(ints->front()) +
                    " is out of range for rank " + Twine(type.getRank()));
  int64_t size = type.getDimSize(*axis);
  Type compute = computeType(type.getElementType());
  SmallVector<int64_t> shape(type.getShape());
  shape.erase(shape.begin() + *axis);
  auto slice = RankedTensorType::get(shape, compute);
  SmallVector<Value> init{filledTensor(b, slice, constant(b, compute, 0)),
                          emptyTensor(b, type)};
  auto loop = scf::ForOp::create(
      b, indexConstant(b, 0), indexConstant(b, size), indexConstant(b, 1), init,
      [&](OpBuilder &nested, Location loc, Value iv, ValueRange carried) {
        ImplicitLocOpBuilder b(loc, nested);
        Value at = iv;
        if (op.getReverse())
          at = arith::SubIOp::create(b, indexConstant(b, size - 1), iv);
        Value x = castElements(b, sliceAt(b, in.getX(), *axis, at), compute);
        Value sum = elementwise(b, {carried[0], x}, slice,
                                [](ImplicitLocOpBuilder &b, ValueRange x) {
                                  return Arith{b}.add(x[0], x[1]);
                                });
        Value out = castElements(b, op.getExclusive() ? carried[0] : sum,
                                 type.getElementType());
        // The old sum is read before the new one takes its place.
        Value written = insertAt(b, out, carried[1], *axis, at);
        scf::YieldOp::create(b,
                             ValueRange{carryOn(b, sum, carried[0]), written});
      });
  return loop.getResult(1);
}

} // namespace

void lowering::addReductionLowerings(LoweringSet &set) {
  auto absolute = [](Arith &a, Value x) { return a.abs(x); };
  addReduction<onnx::ReduceSumOp>(set, {Rule::Zero, nullptr, add, nullptr});
  addReduction<onnx::ReduceMeanOp>(
      set, {Rule::Zero, nullptr, add, [](Arith &a, Value x, double count) {
              return a.div(x, a.constant(x, count));
            }});
  addReduction<onnx::ReduceProdOp>(
      set, {Rule::One, nullptr,
            [](Arith &a, Value x, Value y) { return a.mul(x, y); }, nullptr});
  addReduction<onnx::ReduceMaxOp>(
      set, {Rule::Least, nullptr,
            [](Arith &a, Value x, Value y) { return a.max(x, y); }, nullptr});
  addReduction<onnx::ReduceMinOp>(
      set, {Rule::Greatest, nullptr,
            [](Arith &a, Value x, Value y) { return a.min(x, y); }, nullptr});
  addReduction<onnx::ReduceL1Op>(set, {Rule::Zero, absolute, add, nullptr});
  addReduction<onnx::ReduceL2Op>(set, {Rule::Zero, square, add, root});
  addReduction<onnx::ReduceSumSquareOp>(set,
                                        {Rule::Zero, square, add, nullptr});
  addReduction<onnx::ReduceLogSumOp>(set,
                                     {Rule::Zero, nullptr, add, logarithm});
  set.add<onnx::ReduceLogSumExpOp>(lowerLogSumExp);
  addArg<onnx::ArgMaxOp>(set, true);
  addArg<onnx::ArgMinOp>(set, false);
  set.add<onnx::TopKOp>(lowerTopK);
  set.add<onnx::CumSumOp>(lowerCumSum);
}
