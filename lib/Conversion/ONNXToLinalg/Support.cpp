//===- Support.cpp - What the onnx lowerings share ------------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Support.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Utils/ReshapeOpsUtils.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "mlir/IR/Matchers.h"
#include <cmath>

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::lowering;

//===----------------------------------------------------------------------===//
// Lowering
//===----------------------------------------------------------------------===//

LogicalResult Lowering::refuse(const Twine &reason) {
  if (refusals)
    (*refusals)[op] = reason.str();
  return rewriter.notifyMatchFailure(op, reason);
}

RankedTensorType Lowering::resultType(unsigned index) const {
  return cast<RankedTensorType>(
      converter.convertType(op->getResult(index).getType()));
}

LogicalResult Lowering::checkStatic() {
  auto ok = [](Type type) {
    if (isa<NoneType>(type))
      return true;
    auto tensor = dyn_cast<RankedTensorType>(type);
    return tensor && tensor.hasStaticShape();
  };
  for (auto [index, value] : llvm::enumerate(op->getOperands()))
    if (!ok(value.getType()))
      return refuse("operand " + Twine(index) +
                    " has no static shape; fix the symbolic dimensions with "
                    "--dim NAME=N");
  for (OpResult result : op->getResults())
    if (!ok(result.getType()) && !result.use_empty())
      return refuse("result " + Twine(result.getResultNumber()) +
                    " has no static shape; fix the symbolic dimensions with "
                    "--dim NAME=N");
  return success();
}

LogicalResult Lowering::checkBroadcast(ValueRange inputs,
                                       RankedTensorType type) {
  for (auto [index, input] : llvm::enumerate(inputs)) {
    auto from = dyn_cast<RankedTensorType>(input.getType());
    int64_t lead = from ? type.getRank() - from.getRank() : -1;
    bool fits = lead >= 0;
    for (int64_t i = 0; fits && i < from.getRank(); ++i)
      fits = from.getDimSize(i) == 1 ||
             from.getDimSize(i) == type.getDimSize(lead + i);
    if (!fits)
      return refuse("operand " + Twine(index) +
                    " does not broadcast to the shape of the result");
  }
  return success();
}

Value Lowering::lowered(Value value) {
  if (Value mapped = rewriter.getRemappedValue(value))
    return mapped;
  Type type = converter.convertType(value.getType());
  return UnrealizedConversionCastOp::create(*this, type, value).getResult(0);
}

Value Lowering::original(Value value, Type type) {
  if (type == value.getType())
    return value;
  return UnrealizedConversionCastOp::create(*this, type, value).getResult(0);
}

//===----------------------------------------------------------------------===//
// Types and constants
//===----------------------------------------------------------------------===//

RankedTensorType lowering::tensorType(Value value) {
  return cast<RankedTensorType>(value.getType());
}

bool lowering::isUnsigned(Value value) {
  Type type = getElementTypeOrSelf(value.getType());
  return type.isUnsignedInteger() || type.isInteger(1);
}

Type lowering::computeType(Type type) {
  if (type.isF16() || type.isBF16())
    return Float32Type::get(type.getContext());
  return type;
}

std::optional<SmallVector<int64_t>> lowering::getConstantInts(Value value) {
  ElementsAttr attr;
  if (!matchPattern(value, m_Constant(&attr)))
    return std::nullopt;
  auto type = dyn_cast<IntegerType>(attr.getElementType());
  if (!type)
    return std::nullopt;
  bool zeroExtend = type.isUnsigned() || type.getWidth() == 1;
  SmallVector<int64_t> result;
  if (auto dense = dyn_cast<DenseElementsAttr>(attr)) {
    for (const APInt &number : dense.getValues<APInt>())
      result.push_back(zeroExtend ? int64_t(number.getZExtValue())
                                  : number.getSExtValue());
    return result;
  }
  auto resource = dyn_cast<DenseResourceElementsAttr>(attr);
  AsmResourceBlob *blob =
      resource ? resource.getRawHandle().getBlob() : nullptr;
  unsigned bytes = llvm::divideCeil(type.getWidth(), 8);
  if (!blob || bytes > 8 ||
      blob->getData().size() != bytes * size_t(attr.getNumElements()))
    return std::nullopt;
  const char *data = blob->getData().data();
  for (int64_t i = 0, e = attr.getNumElements(); i < e; ++i) {
    uint64_t bits = 0;
    memcpy(&bits, data + i * bytes, bytes);
    result.push_back(zeroExtend || bytes == 8
                         ? int64_t(bits)
                         : llvm::SignExtend64(bits, bytes * 8));
  }
  return result;
}

std::optional<double> lowering::getConstantNumber(Value value) {
  DenseElementsAttr attr;
  if (!matchPattern(value, m_Constant(&attr)) || !attr.isSplat())
    return std::nullopt;
  if (isa<FloatType>(attr.getElementType())) {
    APFloat number = attr.getSplatValue<APFloat>();
    bool lost;
    number.convert(APFloat::IEEEdouble(), APFloat::rmNearestTiesToEven, &lost);
    return number.convertToDouble();
  }
  std::optional<SmallVector<int64_t>> ints = getConstantInts(value);
  if (!ints || ints->empty())
    return std::nullopt;
  return double(ints->front());
}

Value lowering::constant(ImplicitLocOpBuilder &b, Type type, double value) {
  if (isa<FloatType>(type))
    return arith::ConstantOp::create(b, b.getFloatAttr(type, value));
  return arith::ConstantOp::create(b, b.getIntegerAttr(type, int64_t(value)));
}

Value lowering::indexConstant(ImplicitLocOpBuilder &b, int64_t value) {
  return arith::ConstantIndexOp::create(b, value);
}

//===----------------------------------------------------------------------===//
// Scalar arithmetic
//===----------------------------------------------------------------------===//

static bool isFloat(Value value) { return isa<FloatType>(value.getType()); }

Value Arith::add(Value x, Value y) {
  if (isFloat(x))
    return arith::AddFOp::create(b, x, y);
  return arith::AddIOp::create(b, x, y);
}

Value Arith::sub(Value x, Value y) {
  if (isFloat(x))
    return arith::SubFOp::create(b, x, y);
  return arith::SubIOp::create(b, x, y);
}

Value Arith::mul(Value x, Value y) {
  if (isFloat(x))
    return arith::MulFOp::create(b, x, y);
  return arith::MulIOp::create(b, x, y);
}

// Dividing an integer by 0, or the least one by -1, traps on some processors.
Value Arith::div(Value x, Value y) {
  if (isFloat(x))
    return arith::DivFOp::create(b, x, y);
  Value zero = constant(x, 0), one = constant(x, 1);
  Value isZero = compare(Equal, y, zero);
  if (isUnsigned)
    return select(isZero, zero,
                  arith::DivUIOp::create(b, x, select(isZero, one, y)));
  Value isMinusOne = compare(Equal, y, constant(x, -1));
  Value special = arith::OrIOp::create(b, isZero, isMinusOne);
  Value quotient = arith::DivSIOp::create(b, x, select(special, one, y));
  return select(isZero, zero, select(isMinusOne, sub(zero, x), quotient));
}

Value Arith::rem(Value x, Value y) {
  if (isFloat(x))
    return arith::RemFOp::create(b, x, y);
  Value one = constant(x, 1);
  Value special = compare(Equal, y, constant(x, 0));
  if (isUnsigned)
    return arith::RemUIOp::create(b, x, select(special, one, y));
  special =
      arith::OrIOp::create(b, special, compare(Equal, y, constant(x, -1)));
  return arith::RemSIOp::create(b, x, select(special, one, y));
}

Value Arith::max(Value x, Value y) {
  if (isFloat(x))
    return arith::MaximumFOp::create(b, x, y);
  if (isUnsigned)
    return arith::MaxUIOp::create(b, x, y);
  return arith::MaxSIOp::create(b, x, y);
}

Value Arith::min(Value x, Value y) {
  if (isFloat(x))
    return arith::MinimumFOp::create(b, x, y);
  if (isUnsigned)
    return arith::MinUIOp::create(b, x, y);
  return arith::MinSIOp::create(b, x, y);
}

Value Arith::abs(Value x) {
  if (isFloat(x))
    return math::AbsFOp::create(b, x);
  return isUnsigned ? x : math::AbsIOp::create(b, x).getResult();
}

Value Arith::compare(Order order, Value x, Value y) {
  using F = arith::CmpFPredicate;
  using I = arith::CmpIPredicate;
  static constexpr F floats[] = {F::OLT, F::OLE, F::OGT,
                                 F::OGE, F::OEQ, F::UNE};
  static constexpr I signedInts[] = {I::slt, I::sle, I::sgt,
                                     I::sge, I::eq,  I::ne};
  static constexpr I unsignedInts[] = {I::ult, I::ule, I::ugt,
                                       I::uge, I::eq,  I::ne};
  if (isFloat(x))
    return arith::CmpFOp::create(b, floats[order], x, y);
  return arith::CmpIOp::create(
      b, isUnsigned ? unsignedInts[order] : signedInts[order], x, y);
}

Value Arith::select(Value condition, Value x, Value y) {
  return arith::SelectOp::create(b, condition, x, y);
}

Value Arith::sqrt(Value x) { return math::SqrtOp::create(b, x); }
Value Arith::exp(Value x) { return math::ExpOp::create(b, x); }
Value Arith::tanh(Value x) { return math::TanhOp::create(b, x); }

Value Arith::sigmoid(Value x) {
  Value one = constant(x, 1);
  return div(one, add(one, exp(arith::NegFOp::create(b, x))));
}

Value Arith::softplus(Value x) {
  Value tail = math::Log1pOp::create(b, exp(arith::NegFOp::create(b, abs(x))));
  return add(max(x, constant(x, 0)), tail);
}

static Value floatToInt(ImplicitLocOpBuilder &b, Value value, Type type,
                        bool toUnsigned) {
  value = castFloat(b, value, computeType(value.getType()));
  auto compute = cast<FloatType>(value.getType());
  unsigned width = type.getIntOrFloatBitWidth();
  // The conversion is undefined out of range: bring the number into it first,
  // with the greatest bound that the float type can hold exactly.
  APSInt low(width, toUnsigned), high(width, toUnsigned);
  low = APSInt::getMinValue(width, toUnsigned);
  high = APSInt::getMaxValue(width, toUnsigned);
  APFloat lowFloat(compute.getFloatSemantics());
  APFloat highFloat(compute.getFloatSemantics());
  lowFloat.convertFromAPInt(low, !toUnsigned, APFloat::rmTowardZero);
  highFloat.convertFromAPInt(high, !toUnsigned, APFloat::rmTowardZero);
  auto bound = [&](const APFloat &number) -> Value {
    return arith::ConstantOp::create(b, b.getFloatAttr(compute, number));
  };
  Value isNaN =
      arith::CmpFOp::create(b, arith::CmpFPredicate::UNO, value, value);
  value = arith::SelectOp::create(b, isNaN, constant(b, compute, 0), value);
  value = arith::MaximumFOp::create(b, value, bound(lowFloat));
  value = arith::MinimumFOp::create(b, value, bound(highFloat));
  if (toUnsigned)
    return arith::FPToUIOp::create(b, type, value);
  return arith::FPToSIOp::create(b, type, value);
}

Value lowering::castScalar(ImplicitLocOpBuilder &b, Value value, Type type,
                           bool fromUnsigned, bool toUnsigned) {
  Type from = value.getType();
  if (from == type)
    return value;
  Arith a{b};
  if (type.isInteger(1))
    return a.compare(Arith::NotEqual, value, a.constant(value, 0));
  fromUnsigned |= from.isInteger(1);
  if (isa<FloatType>(from)) {
    if (isa<FloatType>(type))
      return castFloat(b, value, type);
    return floatToInt(b, value, type, toUnsigned);
  }
  if (isa<FloatType>(type)) {
    if (fromUnsigned)
      return arith::UIToFPOp::create(b, type, value);
    return arith::SIToFPOp::create(b, type, value);
  }
  if (from.getIntOrFloatBitWidth() > type.getIntOrFloatBitWidth())
    return arith::TruncIOp::create(b, type, value);
  if (fromUnsigned)
    return arith::ExtUIOp::create(b, type, value);
  return arith::ExtSIOp::create(b, type, value);
}

//===----------------------------------------------------------------------===//
// Tensors
//===----------------------------------------------------------------------===//

Value lowering::emptyTensor(ImplicitLocOpBuilder &b, RankedTensorType type) {
  return tensor::EmptyOp::create(b, type.getShape(), type.getElementType());
}

Value lowering::filledTensor(ImplicitLocOpBuilder &b, RankedTensorType type,
                             Value scalar) {
  return linalg::FillOp::create(b, ValueRange{scalar},
                                ValueRange{emptyTensor(b, type)})
      .getResult(0);
}

AffineMap lowering::broadcastMap(MLIRContext *context, RankedTensorType type,
                                 ArrayRef<int64_t> shape) {
  int64_t lead = int64_t(shape.size()) - type.getRank();
  SmallVector<AffineExpr> exprs;
  for (int64_t i = 0; i < type.getRank(); ++i)
    exprs.push_back(type.getDimSize(i) == 1 && shape[lead + i] != 1
                        ? getAffineConstantExpr(0, context)
                        : getAffineDimExpr(lead + i, context));
  return AffineMap::get(shape.size(), 0, exprs, context);
}

Value lowering::elementwise(ImplicitLocOpBuilder &b, ValueRange inputs,
                            RankedTensorType type, Body body) {
  SmallVector<AffineMap> maps;
  for (Value input : inputs)
    maps.push_back(
        broadcastMap(b.getContext(), tensorType(input), type.getShape()));
  maps.push_back(b.getMultiDimIdentityMap(type.getRank()));
  SmallVector<utils::IteratorType> kinds(type.getRank(),
                                         utils::IteratorType::parallel);
  return linalg::GenericOp::create(
             b, type, inputs, emptyTensor(b, type), maps, kinds,
             [&](OpBuilder &nested, Location loc, ValueRange args) {
               ImplicitLocOpBuilder inner(loc, nested);
               linalg::YieldOp::create(inner, body(inner, args.drop_back()));
             })
      .getResult(0);
}

Value lowering::floatElementwise(ImplicitLocOpBuilder &b, ValueRange inputs,
                                 RankedTensorType type, Body body) {
  return elementwise(
      b, inputs, type, [&](ImplicitLocOpBuilder &b, ValueRange args) -> Value {
        SmallVector<Value> wide;
        for (Value arg : args)
          wide.push_back(isFloat(arg)
                             ? castFloat(b, arg, computeType(arg.getType()))
                             : arg);
        Value result = body(b, wide);
        return isFloat(result) ? castFloat(b, result, type.getElementType())
                               : result;
      });
}

Value lowering::generate(ImplicitLocOpBuilder &b, RankedTensorType type,
                         Body body) {
  return elementwise(b, {}, type,
                     [&](ImplicitLocOpBuilder &b, ValueRange) -> Value {
                       SmallVector<Value> indices;
                       for (int64_t i = 0; i < type.getRank(); ++i)
                         indices.push_back(linalg::IndexOp::create(b, i));
                       return body(b, indices);
                     });
}

Value lowering::castElements(ImplicitLocOpBuilder &b, Value input, Type type,
                             bool fromUnsigned, bool toUnsigned) {
  RankedTensorType from = tensorType(input);
  if (from.getElementType() == type)
    return input;
  return elementwise(b, input, from.clone(type),
                     [&](ImplicitLocOpBuilder &b, ValueRange args) {
                       return castScalar(b, args[0], type, fromUnsigned,
                                         toUnsigned);
                     });
}

Value lowering::reshape(ImplicitLocOpBuilder &b, Value input,
                        ArrayRef<int64_t> shape) {
  RankedTensorType from = tensorType(input);
  if (from.getShape() == shape)
    return input;
  auto to = RankedTensorType::get(shape, from.getElementType());
  if (from.getNumElements() != to.getNumElements())
    return input;
  if (to.getNumElements() == 0)
    return emptyTensor(b, to);
  if (auto groups = getReassociationIndicesForReshape(from, to)) {
    if (from.getRank() > to.getRank())
      return tensor::CollapseShapeOp::create(b, to, input, *groups);
    if (from.getRank() < to.getRank())
      return tensor::ExpandShapeOp::create(b, to, input, *groups);
  }
  auto flat =
      RankedTensorType::get({from.getNumElements()}, from.getElementType());
  auto all = [](int64_t rank) {
    return SmallVector<ReassociationIndices>{
        llvm::to_vector<2>(llvm::seq<int64_t>(0, rank))};
  };
  if (from.getRank() == 0)
    input = tensor::ExpandShapeOp::create(b, flat, input,
                                          ArrayRef<ReassociationIndices>{});
  else if (from.getRank() > 1)
    input =
        tensor::CollapseShapeOp::create(b, flat, input, all(from.getRank()));
  if (to.getRank() == 0)
    return tensor::CollapseShapeOp::create(b, to, input,
                                           ArrayRef<ReassociationIndices>{});
  if (to.getRank() == 1)
    return input;
  return tensor::ExpandShapeOp::create(b, to, input, all(to.getRank()));
}

Value lowering::broadcastTo(ImplicitLocOpBuilder &b, Value input,
                            ArrayRef<int64_t> shape) {
  RankedTensorType from = tensorType(input);
  if (from.getShape() == shape)
    return input;
  auto to = RankedTensorType::get(shape, from.getElementType());
  if (from.getNumElements() == to.getNumElements())
    return reshape(b, input, shape);
  return elementwise(b, input, to, [](ImplicitLocOpBuilder &, ValueRange args) {
    return args[0];
  });
}

Value lowering::transpose(ImplicitLocOpBuilder &b, Value input,
                          ArrayRef<int64_t> perm) {
  RankedTensorType from = tensorType(input);
  SmallVector<int64_t> shape;
  for (int64_t axis : perm)
    shape.push_back(from.getDimSize(axis));
  // Moving axes of size 1 alone keeps the order of the elements.
  int64_t last = -1;
  bool keepsOrder = true;
  for (int64_t axis : perm) {
    if (from.getDimSize(axis) == 1)
      continue;
    keepsOrder &= axis > last;
    last = axis;
  }
  if (keepsOrder)
    return reshape(b, input, shape);
  auto to = RankedTensorType::get(shape, from.getElementType());
  SmallVector<AffineExpr> exprs(perm.size());
  for (auto [position, axis] : llvm::enumerate(perm))
    exprs[axis] = b.getAffineDimExpr(position);
  SmallVector<AffineMap> maps{
      AffineMap::get(perm.size(), 0, exprs, b.getContext()),
      b.getMultiDimIdentityMap(perm.size())};
  SmallVector<utils::IteratorType> kinds(perm.size(),
                                         utils::IteratorType::parallel);
  return linalg::GenericOp::create(
             b, to, input, emptyTensor(b, to), maps, kinds,
             [](OpBuilder &nested, Location loc, ValueRange args) {
               linalg::YieldOp::create(nested, loc, args[0]);
             })
      .getResult(0);
}

namespace {
/// Offsets, sizes and strides that select one position along an axis.
struct Position {
  SmallVector<OpFoldResult> offsets, sizes, strides;

  Position(OpBuilder &b, ArrayRef<int64_t> shape, int64_t axis, Value offset)
      : offsets(shape.size(), b.getIndexAttr(0)),
        strides(shape.size(), b.getIndexAttr(1)) {
    for (int64_t size : shape)
      sizes.push_back(b.getIndexAttr(size));
    offsets[axis] = getAsOpFoldResult(offset);
    sizes[axis] = b.getIndexAttr(1);
  }
};
} // namespace

Value lowering::sliceAt(ImplicitLocOpBuilder &b, Value input, int64_t axis,
                        Value offset) {
  RankedTensorType type = tensorType(input);
  Position at(b, type.getShape(), axis, offset);
  SmallVector<int64_t> shape(type.getShape());
  shape.erase(shape.begin() + axis);
  auto slice = RankedTensorType::get(shape, type.getElementType());
  if (slice.getNumElements() == 0)
    return emptyTensor(b, slice);
  return tensor::ExtractSliceOp::create(b, slice, input, at.offsets, at.sizes,
                                        at.strides);
}

Value lowering::insertAt(ImplicitLocOpBuilder &b, Value slice, Value into,
                         int64_t axis, Value offset) {
  if (tensorType(into).getNumElements() == 0)
    return into;
  Position at(b, tensorType(into).getShape(), axis, offset);
  return tensor::InsertSliceOp::create(b, slice, into, at.offsets, at.sizes,
                                       at.strides);
}

Value lowering::carryOn(ImplicitLocOpBuilder &b, Value value, Value carried) {
  if (value == carried)
    return value;
  return bufferization::MaterializeInDestinationOp::create(b, carried.getType(),
                                                           value, carried)
      .getResult();
}

Value lowering::concatenate(ImplicitLocOpBuilder &b, ValueRange inputs,
                            int64_t axis, RankedTensorType type) {
  if (inputs.size() == 1)
    return inputs[0];
  SmallVector<OpFoldResult> offsets(type.getRank(), b.getIndexAttr(0));
  SmallVector<OpFoldResult> strides(type.getRank(), b.getIndexAttr(1));
  Value result = emptyTensor(b, type);
  int64_t offset = 0;
  for (Value input : inputs) {
    RankedTensorType part = tensorType(input);
    if (part.getNumElements() == 0)
      continue;
    offsets[axis] = b.getIndexAttr(offset);
    offset += part.getDimSize(axis);
    result = tensor::InsertSliceOp::create(
        b, input, result, offsets,
        getAsIndexOpFoldResult(b.getContext(), part.getShape()), strides);
  }
  return result;
}

Value lowering::reduce(ImplicitLocOpBuilder &b, ValueRange inputs,
                       ArrayRef<int64_t> axes, Value init, bool keep,
                       Body combine) {
  RankedTensorType type = tensorType(inputs[0]);
  Type accumulator = init.getType();
  SmallVector<utils::IteratorType> kinds(type.getRank(),
                                         utils::IteratorType::parallel);
  for (int64_t axis : axes)
    kinds[axis] = utils::IteratorType::reduction;
  SmallVector<AffineExpr> exprs;
  SmallVector<int64_t> shape, kept(type.getShape());
  for (int64_t i = 0; i < type.getRank(); ++i) {
    if (kinds[i] == utils::IteratorType::reduction) {
      kept[i] = 1;
      continue;
    }
    exprs.push_back(b.getAffineDimExpr(i));
    shape.push_back(type.getDimSize(i));
  }
  SmallVector<AffineMap> maps;
  for (Value input : inputs)
    maps.push_back(
        broadcastMap(b.getContext(), tensorType(input), type.getShape()));
  maps.push_back(AffineMap::get(type.getRank(), 0, exprs, b.getContext()));
  auto result = RankedTensorType::get(shape, accumulator);
  Value reduced =
      linalg::GenericOp::create(
          b, result, inputs, filledTensor(b, result, init), maps, kinds,
          [&](OpBuilder &nested, Location loc, ValueRange args) {
            ImplicitLocOpBuilder inner(loc, nested);
            SmallVector<Value> values;
            for (Value arg : args.drop_back())
              values.push_back(
                  isFloat(arg) && isa<FloatType>(accumulator)
                      ? castFloat(inner, arg, computeType(arg.getType()))
                      : arg);
            values.push_back(args.back());
            linalg::YieldOp::create(inner, combine(inner, values));
          })
          .getResult(0);
  return keep ? reshape(b, reduced, kept) : reduced;
}

Value lowering::mean(ImplicitLocOpBuilder &b, Value input,
                     ArrayRef<int64_t> axes) {
  RankedTensorType type = tensorType(input);
  Type compute = computeType(type.getElementType());
  double count = 1;
  for (int64_t axis : axes)
    count *= double(type.getDimSize(axis));
  Value sum = reduce(b, input, axes, constant(b, compute, 0), true,
                     [](ImplicitLocOpBuilder &b, ValueRange args) -> Value {
                       return arith::AddFOp::create(b, args[1], args[0]);
                     });
  return elementwise(b, sum, tensorType(sum),
                     [&](ImplicitLocOpBuilder &b, ValueRange args) -> Value {
                       return arith::DivFOp::create(
                           b, args[0], constant(b, compute, count));
                     });
}

Value lowering::safeIndex(ImplicitLocOpBuilder &b, Value scalar, int64_t size) {
  Arith a{b};
  Value wide = castScalar(b, scalar, b.getI64Type(), false, false);
  Value zero = a.constant(wide, 0);
  Value wrapped = a.add(wide, a.constant(wide, double(size)));
  wide = a.select(a.compare(Arith::Less, wide, zero), wrapped, wide);
  wide = a.min(a.max(wide, zero), a.constant(wide, double(size - 1)));
  return arith::IndexCastOp::create(b, b.getIndexType(), wide);
}
