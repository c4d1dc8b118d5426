//===- Support.h - What the onnx lowerings share -------------- -*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_LIB_CONVERSION_ONNXTOLINALG_SUPPORT_H
#define RWKVC_LIB_CONVERSION_ONNXTOLINALG_SUPPORT_H

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/Transforms/DialectConversion.h"
#include "rwkvc/Conversion/ONNXToLinalg/ONNXToLinalg.h"
#include "rwkvc/Dialect/ONNX/IR/ONNX.h"
#include "rwkvc/Support/Scalars.h"
#include <functional>
#include <optional>

namespace rwkvc::lowering {

using mlir::ArrayRef;
using mlir::FailureOr;
using mlir::ImplicitLocOpBuilder;
using mlir::RankedTensorType;
using mlir::SmallVector;
using mlir::Type;
using mlir::Value;
using mlir::ValueRange;

/// The builder of one op's lowering: knows its location, its converted result
/// types and how to say why it cannot be lowered.
class Lowering : public ImplicitLocOpBuilder {
public:
  Lowering(mlir::Operation *op, mlir::ConversionPatternRewriter &rewriter,
           const mlir::TypeConverter &converter, RefusalMap *refusals)
      : ImplicitLocOpBuilder(op->getLoc(), rewriter), rewriter(rewriter),
        converter(converter), op(op), refusals(refusals) {}

  /// Notes that the op cannot be lowered because of \p reason.
  mlir::LogicalResult refuse(const llvm::Twine &reason);

  /// The lowered type of result \p index.
  RankedTensorType resultType(unsigned index = 0) const;

  /// Fails unless every operand and every used result is absent or a tensor of
  /// static shape.
  mlir::LogicalResult checkStatic();

  /// Fails unless each of \p inputs broadcasts to \p type as numpy does.
  mlir::LogicalResult checkBroadcast(ValueRange inputs, RankedTensorType type);

  /// \p value, whose type the conversion may change, as a value of its lowered
  /// type; and back.
  Value lowered(Value value);
  Value original(Value value, Type type);

  mlir::ConversionPatternRewriter &rewriter;
  const mlir::TypeConverter &converter;

private:
  mlir::Operation *op;
  RefusalMap *refusals;
};

/// A pattern around one lowering function; the function returns the values of
/// the results, null for one that has no use.
template <typename OpT>
class OpLowering : public mlir::OpConversionPattern<OpT> {
public:
  using Adaptor = typename OpT::Adaptor;
  using Function =
      std::function<FailureOr<SmallVector<Value>>(Lowering &, OpT, Adaptor)>;

  OpLowering(const mlir::TypeConverter &converter, mlir::MLIRContext *context,
             Function function, RefusalMap *refusals)
      : mlir::OpConversionPattern<OpT>(converter, context),
        function(std::move(function)), refusals(refusals) {}

  mlir::LogicalResult
  matchAndRewrite(OpT op, Adaptor adaptor,
                  mlir::ConversionPatternRewriter &rewriter) const override {
    Lowering lowering(op, rewriter, *this->getTypeConverter(), refusals);
    if (mlir::failed(lowering.checkStatic()))
      return mlir::failure();
    FailureOr<SmallVector<Value>> values = function(lowering, op, adaptor);
    if (mlir::failed(values))
      return mlir::failure();
    for (auto [result, value] : llvm::zip_equal(op->getResults(), *values))
      if (!value && !result.use_empty())
        return lowering.refuse("it uses an output that has no meaning when the "
                               "model only runs (training)");
    for (auto [index, value] : llvm::enumerate(*values))
      if (value && value.getType() != lowering.resultType(index))
        return lowering.refuse("its operands do not give the type of result " +
                               llvm::Twine(index));
    rewriter.replaceOp(op, *values);
    return mlir::success();
  }

private:
  Function function;
  RefusalMap *refusals;
};

/// Collects lowerings of ops as patterns.
class LoweringSet {
public:
  LoweringSet(const mlir::TypeConverter &converter,
              mlir::RewritePatternSet &patterns, RefusalMap *refusals)
      : converter(converter), patterns(patterns), refusals(refusals) {}

  /// \p fn is (Lowering &, OpT, OpT::Adaptor) -> FailureOr<Value>, Value or
  /// FailureOr<SmallVector<Value>>.
  template <typename OpT, typename Fn> void add(Fn fn) {
    using Adaptor = typename OpT::Adaptor;
    using Result = std::invoke_result_t<Fn, Lowering &, OpT, Adaptor>;
    typename OpLowering<OpT>::Function function;
    if constexpr (std::is_same_v<Result, FailureOr<SmallVector<Value>>>)
      function = fn;
    else
      function = [fn](Lowering &b, OpT op,
                      Adaptor in) -> FailureOr<SmallVector<Value>> {
        FailureOr<Value> value = fn(b, op, in);
        if (mlir::failed(value))
          return mlir::failure();
        return SmallVector<Value>{*value};
      };
    patterns.add<OpLowering<OpT>>(converter, patterns.getContext(),
                                  std::move(function), refusals);
  }

private:
  const mlir::TypeConverter &converter;
  mlir::RewritePatternSet &patterns;
  RefusalMap *refusals;
};

void addCastLowerings(LoweringSet &set);
void addComMicrosoftLowerings(LoweringSet &set);
void addControlFlowLowerings(LoweringSet &set);
void addConvolutionLowerings(LoweringSet &set);
void addElementwiseLowerings(LoweringSet &set);
void addGatherLowerings(LoweringSet &set);
void addMatMulLowerings(LoweringSet &set);
void addNormalizationLowerings(LoweringSet &set);
void addQuantizationLowerings(LoweringSet &set);
void addReductionLowerings(LoweringSet &set);
void addScatterLowerings(LoweringSet &set);
void addShapeLowerings(LoweringSet &set);

//===----------------------------------------------------------------------===//
// Types and constants
//===----------------------------------------------------------------------===//

/// The ranked tensor type of \p value.
RankedTensorType tensorType(Value value);

/// Whether \p value, still of its type in the onnx dialect, holds unsigned
/// integers or booleans.
bool isUnsigned(Value value);

/// The type that \p type is computed in: f32 for f16 and bf16, else itself.
Type computeType(Type type);

/// The integers of a constant; nothing when \p value is not one.
std::optional<SmallVector<int64_t>> getConstantInts(Value value);

/// The only number in a constant, however often repeated.
std::optional<double> getConstantNumber(Value value);

using onnx::normalizeAxis;
using rwkvc::castFloat;

/// A scalar constant of \p type (float, integer or index).
Value constant(ImplicitLocOpBuilder &b, Type type, double value);
Value indexConstant(ImplicitLocOpBuilder &b, int64_t value);

//===----------------------------------------------------------------------===//
// Scalar arithmetic for the bodies
//===----------------------------------------------------------------------===//

/// Arithmetic on scalars by the type of the operands. Integer division and
/// remainder are defined for every divisor; max and min propagate NaN.
struct Arith {
  ImplicitLocOpBuilder &b;
  bool isUnsigned = false;

  enum Order { Less, LessOrEqual, Greater, GreaterOrEqual, Equal, NotEqual };

  Value constant(Value like, double value) {
    return lowering::constant(b, like.getType(), value);
  }
  Value add(Value x, Value y);
  Value sub(Value x, Value y);
  Value mul(Value x, Value y);
  Value div(Value x, Value y);
  /// Remainder with the sign of the dividend.
  Value rem(Value x, Value y);
  Value max(Value x, Value y);
  Value min(Value x, Value y);
  Value abs(Value x);
  Value compare(Order order, Value x, Value y);
  Value select(Value condition, Value x, Value y);
  Value sqrt(Value x);
  Value exp(Value x);
  /// 1 / (1 + exp(-x)).
  Value sigmoid(Value x);
  Value tanh(Value x);
  /// ln(1 + exp(x)) without overflow.
  Value softplus(Value x);
};

/// \p value as \p type by the rules of ONNX Cast. A number outside of an
/// integer type's range becomes the nearest one in it, NaN becomes 0.
Value castScalar(ImplicitLocOpBuilder &b, Value value, Type type,
                 bool fromUnsigned, bool toUnsigned);

//===----------------------------------------------------------------------===//
// Tensors
//===----------------------------------------------------------------------===//

using Body = llvm::function_ref<Value(ImplicitLocOpBuilder &, ValueRange)>;

Value emptyTensor(ImplicitLocOpBuilder &b, RankedTensorType type);
/// A tensor with \p scalar in every place.
Value filledTensor(ImplicitLocOpBuilder &b, RankedTensorType type,
                   Value scalar);

/// The map that reads a tensor of \p type, broadcast as numpy does, in a loop
/// nest over \p shape: as many results as \p type has dimensions.
mlir::AffineMap broadcastMap(mlir::MLIRContext *context, RankedTensorType type,
                             ArrayRef<int64_t> shape);

/// \p body for each element of \p type, operands broadcast.
Value elementwise(ImplicitLocOpBuilder &b, ValueRange inputs,
                  RankedTensorType type, Body body);

/// The same with f16 and bf16 operands widened to f32 and the result narrowed
/// back.
Value floatElementwise(ImplicitLocOpBuilder &b, ValueRange inputs,
                       RankedTensorType type, Body body);

/// A tensor whose element at indices `i` is \p body of `i`.
Value generate(ImplicitLocOpBuilder &b, RankedTensorType type, Body body);

/// \p input with elements of \p type.
Value castElements(ImplicitLocOpBuilder &b, Value input, Type type,
                   bool fromUnsigned = false, bool toUnsigned = false);

/// Same elements in row-major order, another shape; \p input itself when the
/// shape has another number of elements, which no valid model asks for.
Value reshape(ImplicitLocOpBuilder &b, Value input, ArrayRef<int64_t> shape);
Value broadcastTo(ImplicitLocOpBuilder &b, Value input,
                  ArrayRef<int64_t> shape);
Value transpose(ImplicitLocOpBuilder &b, Value input, ArrayRef<int64_t> perm);

/// The slice at \p offset along \p axis of size 1, without that axis.
Value sliceAt(ImplicitLocOpBuilder &b, Value input, int64_t axis, Value offset);
/// Writes \p slice, which lacks \p axis, at \p offset along it.
Value insertAt(ImplicitLocOpBuilder &b, Value slice, Value into, int64_t axis,
               Value offset);

/// Writes \p value over \p carried, a loop's value of the same type, so that
/// every step of the loop works in one buffer.
Value carryOn(ImplicitLocOpBuilder &b, Value value, Value carried);

/// Joins tensors of the same element type along \p axis.
Value concatenate(ImplicitLocOpBuilder &b, ValueRange inputs, int64_t axis,
                  RankedTensorType type);

/// Folds \p axes of the first input: acc = combine(elements..., acc), starting
/// from \p init whose type is the accumulator's. Other inputs are broadcast to
/// the first; f16 and bf16 elements reach \p combine as f32. The result lacks
/// the axes, or has size 1 there when \p keep.
Value reduce(ImplicitLocOpBuilder &b, ValueRange inputs, ArrayRef<int64_t> axes,
             Value init, bool keep, Body combine);

/// Mean over \p axes, size 1 kept there, in the compute type.
Value mean(ImplicitLocOpBuilder &b, Value input, ArrayRef<int64_t> axes);

/// An index tensor's element as an index into a dimension of \p size: negative
/// ones count from the end, and what is still outside is moved inside, so that
/// no access leaves the tensor.
Value safeIndex(ImplicitLocOpBuilder &b, Value scalar, int64_t size);

/// Sums of products A x B by the rules of ONNX MatMul with the element type of
/// \p type; f16 and bf16 are summed in f32. \p transposeB: the last two axes of
/// a two-dimensional \p rhs are swapped.
Value matmul(ImplicitLocOpBuilder &b, Value lhs, Value rhs,
             RankedTensorType type, bool transposeA = false,
             bool transposeB = false);

/// The int32 product of MatMulInteger; null zero points count as 0.
Value matmulInteger(ImplicitLocOpBuilder &b, Value lhs, Value rhs,
                    Value lhsZero, Value rhsZero, bool lhsUnsigned,
                    bool rhsUnsigned, ArrayRef<int64_t> shape);

/// (x - mean) / sqrt(variance + epsilon) over \p axes, in the compute type.
/// With
/// \p centre false: x / sqrt(mean of squares + epsilon). The statistics, of
/// size 1 along the axes, are stored where asked for.
Value normalize(ImplicitLocOpBuilder &b, Value input, ArrayRef<int64_t> axes,
                double epsilon, bool centre = true, Value *mean = nullptr,
                Value *invStdDev = nullptr);

/// x * scale + bias in the compute type, narrowed to \p type; null operands are
/// left out.
Value scaleAndShift(ImplicitLocOpBuilder &b, Value input, Value scale,
                    Value bias, RankedTensorType type);

/// x, y_scale, y_zero_point of DynamicQuantizeLinear.
struct DynamicQuantized {
  Value values, scale, zeroPoint;
};
DynamicQuantized dynamicQuantize(ImplicitLocOpBuilder &b, Value input);

/// Gelu with the error function, or by tanh when \p approximate.
Value gelu(ImplicitLocOpBuilder &b, Value x, bool approximate);

} // namespace rwkvc::lowering

#endif // RWKVC_LIB_CONVERSION_ONNXTOLINALG_SUPPORT_H
