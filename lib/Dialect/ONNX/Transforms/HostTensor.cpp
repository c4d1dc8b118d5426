//===- HostTensor.cpp - Tensors of the evaluator --------------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "EvaluatorSupport.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "rwkvc/Support/Constants.h"
#include "llvm/Support/MathExtras.h"
#include <cmath>
#include <cstring>

using namespace mlir;
using namespace rwkvc::onnx;
using namespace rwkvc::onnx::evaluation;

static const llvm::fltSemantics &getSemantics(Type type) {
  return cast<FloatType>(type).getFloatSemantics();
}

//===----------------------------------------------------------------------===//
// Reading
//===----------------------------------------------------------------------===//

namespace {

template <typename T> T load(const char *bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof(T));
  return value;
}

/// Appends \p count elements of type T at \p bytes.
template <typename T>
void readAll(const char *bytes, int64_t count, std::vector<double> &data) {
  for (int64_t i = 0; i < count; ++i)
    data[i] = static_cast<double>(load<T>(bytes + i * sizeof(T)));
}

/// As readAll, but only what survives the way through double.
template <typename T>
LogicalResult readExact(const char *bytes, int64_t count,
                        std::vector<double> &data) {
  for (int64_t i = 0; i < count; ++i) {
    T value = load<T>(bytes + i * sizeof(T));
    data[i] = static_cast<double>(value);
    // Exporters write the largest and smallest int64, or the negated largest,
    // for "to the end".
    if (std::is_signed_v<T> && (value == std::numeric_limits<T>::max() ||
                                value == std::numeric_limits<T>::min() ||
                                value == std::numeric_limits<T>::min() + 1))
      continue;
    if (std::abs(data[i]) > kMaxExactInteger)
      return failure();
  }
  return success();
}

/// float16 and bfloat16 by their fields; APFloat would dominate on weights.
double decodeSmallFloat(uint16_t bits, int exponentBits) {
  int mantissaBits = 15 - exponentBits;
  int exponent = (bits >> mantissaBits) & ((1 << exponentBits) - 1);
  int mantissa = bits & ((1 << mantissaBits) - 1);
  int bias = (1 << (exponentBits - 1)) - 1;
  double magnitude;
  if (exponent == (1 << exponentBits) - 1)
    magnitude = mantissa ? std::numeric_limits<double>::quiet_NaN()
                         : std::numeric_limits<double>::infinity();
  else if (exponent == 0)
    magnitude = std::ldexp(mantissa, 1 - bias - mantissaBits);
  else
    magnitude = std::ldexp(mantissa | (1 << mantissaBits),
                           exponent - bias - mantissaBits);
  return bits >> 15 ? -magnitude : magnitude;
}

LogicalResult readRaw(Type type, const char *bytes, int64_t count,
                      std::vector<double> &data) {
  if (type.isF32())
    return readAll<float>(bytes, count, data), success();
  if (type.isF64())
    return readAll<double>(bytes, count, data), success();
  if (type.isF16() || type.isBF16()) {
    int exponentBits = type.isF16() ? 5 : 8;
    for (int64_t i = 0; i < count; ++i)
      data[i] = decodeSmallFloat(load<uint16_t>(bytes + 2 * i), exponentBits);
    return success();
  }
  auto integer = dyn_cast<IntegerType>(type);
  if (!integer)
    return failure();
  bool isUnsigned = integer.isUnsigned();
  switch (integer.getWidth()) {
  case 1: // one byte each, as in ONNX files
    return readAll<uint8_t>(bytes, count, data), success();
  case 8:
    isUnsigned ? readAll<uint8_t>(bytes, count, data)
               : readAll<int8_t>(bytes, count, data);
    return success();
  case 16:
    isUnsigned ? readAll<uint16_t>(bytes, count, data)
               : readAll<int16_t>(bytes, count, data);
    return success();
  case 32:
    isUnsigned ? readAll<uint32_t>(bytes, count, data)
               : readAll<int32_t>(bytes, count, data);
    return success();
  case 64:
    return isUnsigned ? readExact<uint64_t>(bytes, count, data)
                      : readExact<int64_t>(bytes, count, data);
  default:
    return failure();
  }
}

/// Bytes that an element takes in an attribute, or 0 for unknown types.
int64_t getElementBytes(Type type) {
  return type.isIntOrFloat() ? (type.getIntOrFloatBitWidth() + 7) / 8 : 0;
}

} // namespace

FailureOr<HostTensor> rwkvc::onnx::readElements(ElementsAttr attr) {
  auto type = dyn_cast<RankedTensorType>(attr.getType());
  if (!type || !type.hasStaticShape())
    return failure();
  std::optional<int64_t> count = countElements(type.getShape());
  int64_t elementBytes = getElementBytes(type.getElementType());
  if (!count || *count > kMaxElements || elementBytes == 0)
    return failure();
  HostTensor tensor;
  tensor.shape.assign(type.getShape().begin(), type.getShape().end());
  tensor.elementType = type.getElementType();
  tensor.data.resize(*count);
  if (*count == 0)
    return tensor;
  auto dense = dyn_cast<DenseElementsAttr>(attr);
  if (dense && isBool(tensor.elementType)) { // packed in an attribute
    for (auto [i, value] : llvm::enumerate(dense.getValues<bool>()))
      tensor.data[i] = value;
    return tensor;
  }
  if (dense && dense.isSplat()) {
    if (failed(readRaw(tensor.elementType, dense.getRawData().data(), 1,
                       tensor.data)))
      return failure();
    std::fill(tensor.data.begin(), tensor.data.end(), tensor.data.front());
    return tensor;
  }
  std::optional<ArrayRef<char>> bytes = getRawBytes(attr);
  if (!bytes ||
      failed(readRaw(tensor.elementType, bytes->data(), *count, tensor.data)))
    return failure();
  return tensor;
}

//===----------------------------------------------------------------------===//
// Rounding and writing
//===----------------------------------------------------------------------===//

std::pair<double, double> evaluation::getIntegerRange(Type type) {
  auto integer = cast<IntegerType>(type);
  unsigned width = integer.getWidth();
  if (width == 1)
    return {0.0, 1.0};
  if (integer.isUnsigned())
    return {0.0, std::ldexp(1.0, width) - 1.0};
  return {-std::ldexp(1.0, width - 1), std::ldexp(1.0, width - 1) - 1.0};
}

double evaluation::saturate(double value, Type type) {
  auto [lowest, highest] = getIntegerRange(type);
  return std::clamp(std::nearbyint(value), lowest, highest);
}

double evaluation::wrapInteger(double value, Type type) {
  if (isBool(type))
    return value != 0.0;
  auto [lowest, highest] = getIntegerRange(type);
  if (value >= lowest && value <= highest)
    return value;
  double modulus = std::ldexp(1.0, cast<IntegerType>(type).getWidth());
  double wrapped = std::fmod(value, modulus); // exact
  if (wrapped < lowest)
    wrapped += modulus;
  else if (wrapped > highest)
    wrapped -= modulus;
  return wrapped;
}

static APFloat roundToSemantics(double value, Type type) {
  APFloat rounded(value);
  bool losesInfo;
  rounded.convert(getSemantics(type), APFloat::rmNearestTiesToEven, &losesInfo);
  return rounded;
}

LogicalResult evaluation::roundToElementType(HostTensor &tensor,
                                             bool movesData) {
  Type type = tensor.elementType;
  if (type.isF64())
    return success();
  if (type.isF32()) {
    for (double &value : tensor.data)
      value = static_cast<float>(value);
    return success();
  }
  if (isFloat(type)) {
    for (double &value : tensor.data) {
      APFloat rounded = roundToSemantics(value, type);
      bool losesInfo;
      rounded.convert(APFloat::IEEEdouble(), APFloat::rmNearestTiesToEven,
                      &losesInfo);
      value = rounded.convertToDouble();
    }
    return success();
  }
  if (!isa<IntegerType>(type))
    return failure();
  for (double &value : tensor.data) {
    if (std::isnan(value) || std::trunc(value) != value)
      return failure();
    if (movesData)
      continue;
    if (std::abs(value) > kMaxExactInteger)
      return failure();
    value = wrapInteger(value, type);
  }
  return success();
}

/// The bits of \p value in \p type, in the low end.
static uint64_t encode(double value, Type type) {
  if (type.isF64())
    return llvm::bit_cast<uint64_t>(value);
  if (type.isF32())
    return llvm::bit_cast<uint32_t>(static_cast<float>(value));
  if (isFloat(type))
    return roundToSemantics(value, type).bitcastToAPInt().getZExtValue();
  if (std::isnan(value))
    return 0;
  if (cast<IntegerType>(type).isUnsigned())
    return value <= 0.0      ? 0
           : value >= 0x1p64 ? ~uint64_t(0)
                             : static_cast<uint64_t>(value);
  if (value >= 0x1p63)
    return std::numeric_limits<int64_t>::max();
  return static_cast<uint64_t>(value <= -0x1p63
                                   ? std::numeric_limits<int64_t>::min()
                                   : static_cast<int64_t>(value));
}

FailureOr<ElementsAttr> rwkvc::onnx::writeElements(const HostTensor &tensor,
                                                   StringRef name) {
  std::optional<int64_t> count = countElements(tensor.shape);
  int64_t elementBytes = getElementBytes(tensor.elementType);
  if (!count || *count != tensor.getNumElements() || elementBytes == 0)
    return failure();
  auto type = RankedTensorType::get(tensor.shape, tensor.elementType);
  if (isBool(tensor.elementType)) {
    SmallVector<bool> values;
    for (double value : tensor.data)
      values.push_back(value != 0.0);
    return ElementsAttr(DenseElementsAttr::get(type, values));
  }
  // Bits, so that -0.0 is not taken for 0.0 nor one NaN for another number.
  std::vector<char> bytes(*count * elementBytes);
  bool isSplat = *count > 0;
  for (int64_t i = 0; i < *count; ++i) {
    // Little-endian hosts only, as everywhere where weights are mapped.
    uint64_t bits = encode(tensor.data[i], tensor.elementType);
    std::memcpy(bytes.data() + i * elementBytes, &bits, elementBytes);
    isSplat &= std::memcmp(bytes.data(), bytes.data() + i * elementBytes,
                           elementBytes) == 0;
  }
  if (isSplat)
    return ElementsAttr(DenseElementsAttr::getFromRawBuffer(
        type, ArrayRef<char>(bytes).take_front(elementBytes)));
  return copyConstant(type, name, bytes);
}
