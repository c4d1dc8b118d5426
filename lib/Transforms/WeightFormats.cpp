//===- WeightFormats.cpp - Matrices in fewer bits -------------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "WeightFormats.h"
#include "llvm/ADT/APFloat.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/bit.h"
#include "llvm/Support/Parallel.h"
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <vector>

using namespace mlir;
using namespace rwkvc;

template <typename T> static T readAs(const char *from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

/// The 16 bits of \p value in \p semantics , rounded to nearest even.
static uint16_t round16(float value, const llvm::fltSemantics &semantics) {
  llvm::APFloat number(value);
  bool losesInfo = false;
  number.convert(semantics, llvm::APFloat::rmNearestTiesToEven, &losesInfo);
  return static_cast<uint16_t>(number.bitcastToAPInt().getZExtValue());
}

static float fromBF16(uint16_t bits) {
  return llvm::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

static float fromHalf(uint16_t bits) {
  return llvm::APFloat(llvm::APFloat::IEEEhalf(), llvm::APInt(16, bits))
      .convertToFloat();
}

/// The least bf16 that is not below \p value, which is not negative.
static uint16_t roundUpToBF16(float value) {
  auto bits = llvm::bit_cast<uint32_t>(value);
  return static_cast<uint16_t>((bits + 0xffff) >> 16);
}

static uint16_t roundToBF16(float value) {
  return round16(value, llvm::APFloat::BFloat());
}

void MatrixView::readRow(int64_t row, MutableArrayRef<float> values) const {
  int64_t size = element.getIntOrFloatBitWidth() / 8;
  const char *from = bytes.data() + row * rowStride * size;
  int64_t step = columnStride * size;
  for (float &value : values) {
    if (element.isF32())
      value = readAs<float>(from);
    else if (element.isF64())
      value = static_cast<float>(readAs<double>(from));
    else if (element.isBF16())
      value = fromBF16(readAs<uint16_t>(from));
    else
      value = fromHalf(readAs<uint16_t>(from));
    from += step;
  }
}

float MatrixView::findLargest() const {
  std::vector<float> largest(rows);
  llvm::parallelFor(0, rows, [&](size_t row) {
    SmallVector<float> values(columns);
    readRow(row, values);
    for (float value : values)
      largest[row] = std::max(largest[row],
                              std::isnan(value) ? INFINITY : std::fabs(value));
  });
  return rows == 0 ? 0.0f : *llvm::max_element(largest);
}

void rwkvc::encode16(const MatrixView &matrix, Type element,
                     MutableArrayRef<char> target) {
  const llvm::fltSemantics &semantics =
      cast<FloatType>(element).getFloatSemantics();
  llvm::parallelFor(0, matrix.rows, [&](size_t row) {
    SmallVector<float> values(matrix.columns);
    matrix.readRow(row, values);
    char *to = target.data() + row * matrix.columns * 2;
    for (float value : values) {
      uint16_t bits = round16(value, semantics);
      std::memcpy(to, &bits, 2);
      to += 2;
    }
  });
}

namespace {

/// A block's numbers and scale for a column.
struct Quantized {
  std::array<int8_t, kBlockRows> numbers;
  uint16_t scale; ///< bf16
};

} // namespace

/// Rounds \p values to multiples of \p scale from \p lowest to \p highest ;
/// returns the sum of squared errors.
static float roundTo(ArrayRef<float> values, float scale, int lowest,
                     int highest, MutableArrayRef<int8_t> numbers) {
  float inverse = scale != 0.0f ? 1.0f / scale : 0.0f, error = 0.0f;
  for (auto [value, number] : llvm::zip_equal(values, numbers)) {
    // A tiny scale has no finite inverse.
    float quotient = std::isfinite(inverse) ? value * inverse : value / scale;
    int rounded = static_cast<int>(
        std::nearbyint(std::clamp<float>(quotient, lowest, highest)));
    number = static_cast<int8_t>(rounded);
    float difference = value - rounded * scale;
    error += difference * difference;
  }
  return error;
}

static Quantized quantize8(ArrayRef<float> values) {
  float largest = 0.0f;
  for (float value : values)
    largest = std::max(largest, std::fabs(value));
  Quantized result;
  result.scale = roundUpToBF16(largest / 127.0f);
  roundTo(values, fromBF16(result.scale), -127, 127, result.numbers);
  return result;
}

static Quantized quantize4(ArrayRef<float> values) {
  float extreme = 0.0f;
  for (float value : values)
    if (std::fabs(value) > std::fabs(extreme))
      extreme = value;
  // There is one more number below zero than above, so the scale has the sign
  // that makes the extreme one negative. A shorter grid may fit the others
  // better.
  Quantized best, candidate;
  float least = INFINITY;
  for (float steps : {8.0f, 7.6f, 7.2f, 6.8f}) {
    candidate.scale = roundToBF16(-extreme / steps);
    float error =
        roundTo(values, fromBF16(candidate.scale), -8, 7, candidate.numbers);
    if (error < least) {
      least = error;
      best = candidate;
    }
  }
  return best;
}

/// Calls \p quantize for each column of each block of rows, and \p store with
/// the block, the column and what that gave.
static void forEachBlock(
    const MatrixView &matrix, Quantized (*quantize)(ArrayRef<float>),
    llvm::function_ref<void(int64_t, int64_t, const Quantized &)> store) {
  int64_t columns = matrix.columns;
  llvm::parallelFor(0, matrix.rows / kBlockRows, [&](size_t block) {
    std::vector<float> rows(kBlockRows * columns);
    for (int64_t row = 0; row < kBlockRows; ++row)
      matrix.readRow(
          block * kBlockRows + row,
          MutableArrayRef<float>(rows).slice(row * columns, columns));
    std::array<float, kBlockRows> values;
    for (int64_t column = 0; column < columns; ++column) {
      for (int64_t row = 0; row < kBlockRows; ++row)
        values[row] = rows[row * columns + column];
      store(block, column, quantize(values));
    }
  });
}

static void storeScale(MutableArrayRef<char> scales, int64_t position,
                       uint16_t scale) {
  std::memcpy(scales.data() + 2 * position, &scale, 2);
}

void rwkvc::encode8(const MatrixView &matrix, MutableArrayRef<char> numbers,
                    MutableArrayRef<char> scales) {
  int64_t columns = matrix.columns;
  forEachBlock(matrix, quantize8,
               [&](int64_t block, int64_t column, const Quantized &quantized) {
                 for (int64_t row = 0; row < kBlockRows; ++row)
                   numbers[(block * kBlockRows + row) * columns + column] =
                       quantized.numbers[row];
                 storeScale(scales, block * columns + column, quantized.scale);
               });
}

void rwkvc::encode4(const MatrixView &matrix, MutableArrayRef<char> numbers,
                    MutableArrayRef<char> scales) {
  int64_t columns = matrix.columns, half = kBlockRows / 2;
  forEachBlock(matrix, quantize4,
               [&](int64_t block, int64_t column, const Quantized &quantized) {
                 for (int64_t row = 0; row < half; ++row) {
                   int low = quantized.numbers[row] & 15;
                   int high = quantized.numbers[half + row] & 15;
                   numbers[(block * half + row) * columns + column] =
                       static_cast<char>(low | high << 4);
                 }
                 storeScale(scales, block * columns + column, quantized.scale);
               });
}
