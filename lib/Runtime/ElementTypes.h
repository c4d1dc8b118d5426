//===- ElementTypes.h - Numbers of any element type -------------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Header-only, so that the command line, which sees only the C API of the
// shared runtime, can use it too.
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_LIB_RUNTIME_ELEMENTTYPES_H
#define RWKVC_LIB_RUNTIME_ELEMENTTYPES_H

#include "rwkvc-rt/abi.h"

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace rwkvrt {

inline float bitsToFloat(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
inline uint32_t floatToBits(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

inline float halfToFloat(uint16_t half) {
  uint32_t sign = (half & 0x8000u) << 16, magnitude = half & 0x7fffu;
  if (magnitude >= 0x7c00) // infinity and NaN
    return bitsToFloat(sign | 0x7f800000u | (magnitude & 0x3ffu) << 13);
  if (magnitude >= 0x400) // normal: other exponent bias
    return bitsToFloat(sign | ((magnitude << 13) + ((127 - 15) << 23)));
  float value = magnitude * 0x1p-24f;
  return sign ? -value : value;
}

/// Round to nearest, ties to even.
inline uint16_t floatToHalf(float value) {
  uint32_t bits = floatToBits(value);
  uint16_t sign = bits >> 16 & 0x8000u;
  bits &= 0x7fffffffu;
  if (bits > 0x7f800000u)
    return sign | 0x7e00u;
  if (bits >= 0x477ff000u) // rounds to 65536 or more
    return sign | 0x7c00u;
  if (bits < 0x38800000u) { // subnormal: let the addition round
    float shifted = bitsToFloat(bits) + 0.5f;
    return sign | static_cast<uint16_t>(floatToBits(shifted) - 0x3f000000u);
  }
  bits += 0xfffu + (bits >> 13 & 1) - ((127u - 15u) << 23);
  return sign | static_cast<uint16_t>(bits >> 13);
}

inline float bfloatToFloat(uint16_t value) {
  return bitsToFloat(static_cast<uint32_t>(value) << 16);
}

/// Round to nearest, ties to even.
inline uint16_t floatToBfloat(float value) {
  uint32_t bits = floatToBits(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u)
    return bits >> 16 | 0x40u;
  return (bits + 0x7fffu + (bits >> 16 & 1)) >> 16;
}

inline size_t sizeOf(int32_t dtype) {
  switch (dtype) {
  case RWKVRT_U8:
  case RWKVRT_I8:
  case RWKVRT_BOOL:
    return 1;
  case RWKVRT_U16:
  case RWKVRT_I16:
  case RWKVRT_F16:
  case RWKVRT_BF16:
    return 2;
  case RWKVRT_F32:
  case RWKVRT_I32:
  case RWKVRT_U32:
    return 4;
  case RWKVRT_F64:
  case RWKVRT_I64:
  case RWKVRT_U64:
    return 8;
  default:
    return 0;
  }
}

inline bool isFloat(int32_t dtype) {
  return dtype == RWKVRT_F16 || dtype == RWKVRT_BF16 || dtype == RWKVRT_F32 ||
         dtype == RWKVRT_F64;
}
inline bool isInteger(int32_t dtype) {
  return sizeOf(dtype) != 0 && !isFloat(dtype) && dtype != RWKVRT_BOOL;
}

template <typename T> T loadAs(const void *data, size_t index) {
  T value;
  std::memcpy(&value, static_cast<const char *>(data) + index * sizeof(T),
              sizeof(T));
  return value;
}
template <typename T> void storeAs(void *data, size_t index, T value) {
  std::memcpy(static_cast<char *>(data) + index * sizeof(T), &value, sizeof(T));
}

/// Element \p index of a floating-point tensor.
inline double loadFloat(int32_t dtype, const void *data, size_t index) {
  switch (dtype) {
  case RWKVRT_F16:
    return halfToFloat(loadAs<uint16_t>(data, index));
  case RWKVRT_BF16:
    return bfloatToFloat(loadAs<uint16_t>(data, index));
  case RWKVRT_F64:
    return loadAs<double>(data, index);
  default:
    return loadAs<float>(data, index);
  }
}

inline void storeFloat(int32_t dtype, void *data, size_t index, double value) {
  switch (dtype) {
  case RWKVRT_F16:
    return storeAs(data, index, floatToHalf(static_cast<float>(value)));
  case RWKVRT_BF16:
    return storeAs(data, index, floatToBfloat(static_cast<float>(value)));
  case RWKVRT_F64:
    return storeAs(data, index, value);
  default:
    return storeAs(data, index, static_cast<float>(value));
  }
}

/// Element \p index of an integer or bool tensor. Values of uint64 beyond int64
/// come out negative, which no valid index is.
inline int64_t loadInteger(int32_t dtype, const void *data, size_t index) {
  switch (dtype) {
  case RWKVRT_I8:
    return loadAs<int8_t>(data, index);
  case RWKVRT_U16:
    return loadAs<uint16_t>(data, index);
  case RWKVRT_I16:
    return loadAs<int16_t>(data, index);
  case RWKVRT_U32:
    return loadAs<uint32_t>(data, index);
  case RWKVRT_I32:
    return loadAs<int32_t>(data, index);
  case RWKVRT_U64:
  case RWKVRT_I64:
    return loadAs<int64_t>(data, index);
  default:
    return loadAs<uint8_t>(data, index);
  }
}

/// Stores \p value; false if the type cannot hold it.
inline bool storeInteger(int32_t dtype, void *data, size_t index,
                         int64_t value) {
  uint64_t bits = static_cast<uint64_t>(value);
  switch (sizeOf(dtype)) {
  case 1:
    storeAs(data, index, static_cast<uint8_t>(bits));
    break;
  case 2:
    storeAs(data, index, static_cast<uint16_t>(bits));
    break;
  case 4:
    storeAs(data, index, static_cast<uint32_t>(bits));
    break;
  default:
    storeAs(data, index, bits);
  }
  return loadInteger(dtype, data, index) == value;
}

} // namespace rwkvrt

#endif // RWKVC_LIB_RUNTIME_ELEMENTTYPES_H
